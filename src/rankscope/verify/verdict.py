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
