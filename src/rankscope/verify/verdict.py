"""What becomes of a claim."""

from dataclasses import dataclass
from typing import Literal

from rankscope.certificates import Claim

Finding = Literal["verified", "refuted", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """What became of one claim, and why."""

    claim: Claim
    verdict: Finding
    because: str


class Verdicts(tuple[Verdict, ...]):
    """A verdict for each claim, in their order; true only if every claim is verified.

    >>> from rankscope.certificates import Rank
    >>> bool(Verdicts([Verdict(Rank(2, 2), "verified", ""), Verdict(Rank(1, 1), "refuted", "at least 2")]))
    False
    """

    @property
    def verified(self) -> bool:
        """Whether every claim is verified."""
        return all(each.verdict == "verified" for each in self)

    def __bool__(self) -> bool:
        return self.verified

    def __repr__(self) -> str:
        return "\n".join(f"{each.verdict}: {each.claim}; {each.because}" for each in self)
