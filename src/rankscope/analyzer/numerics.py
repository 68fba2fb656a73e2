"""How ranks are counted, and what is to be proved."""

from dataclasses import dataclass
from typing import Final, Literal

from rankscope.errors import error

BUDGET: Final = 60.0
"""Seconds that the proofs of one matrix may cost."""


@dataclass(frozen=True)
class Numerics:
    """How ranks are counted: a rule by name or a relative tolerance `rtol` (times σ₁); by default the rule follows
    the storage: numpy's for float64, the storage error for anything stored in fewer bits.

    With `prove` every rank and determinant is raised to the strongest guarantee that `budget` seconds for each matrix
    allow; `spectrum` "exact" asks for every non-zero singular value, however small, and is a proof too.
    """

    rule: str | None = None
    rtol: float | None = None
    prove: bool = False
    budget: float = BUDGET
    spectrum: Literal["lapack", "exact"] = "lapack"

    @property
    def proves(self) -> bool:
        """Whether anything is to be proved."""
        return self.prove or self.spectrum == "exact"

    def __post_init__(self) -> None:
        if not self.budget >= 0:
            raise error("RS002", f"budget = {self.budget}", "give a number of seconds that is not negative")
        if self.spectrum not in ("lapack", "exact"):
            raise error("RS001", f"spectrum = {self.spectrum!r}", "give 'lapack' or 'exact'")
        if self.rtol is not None and not 0 <= self.rtol < 1:
            raise error("RS002", f"rtol = {self.rtol}", "give a relative tolerance of at least 0 and below 1")
        if self.rule is not None and self.rtol is not None:
            raise error(
                "RS003", f"--rule {self.rule} and --rtol {self.rtol} (rule= and rtol= in Python)", "give one of them"
            )


def numerics_of(
    rule: str | None, rtol: float | None, prove: bool, budget: float | None, spectrum: Literal["lapack", "exact"]
) -> Numerics:
    """How ranks are counted and what is to be proved; a budget for no proof is refused."""
    if budget is not None and not (prove or spectrum == "exact"):
        raise error(
            "RS003", f"a budget of {budget:g} seconds where nothing is to be proved", "add --prove (prove=True)"
        )
    return Numerics(rule, rtol, prove, BUDGET if budget is None else budget, spectrum)
