"""What may be said of a matrix: its rank, its determinant, and how many singular values are how large."""

from dataclasses import dataclass
from typing import Final

from rankscope.certificates.refusal import require


@dataclass(frozen=True)
class Minor:
    """A square submatrix whose determinant is said not to be zero: a hint, which is never trusted."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def __post_init__(self) -> None:
        require(len(self.rows) == len(self.columns), "a minor is not square")
        for each in (self.rows, self.columns):
            require(len(set(each)) == len(each), "a minor names a row or a column twice")
            require(min(each, default=0) >= 0, "a minor names a negative row or column")


@dataclass(frozen=True)
class Rank:
    """low ≤ rank ≤ high, exactly."""

    low: int
    high: int
    minor: Minor | None = None


@dataclass(frozen=True)
class Determinant:
    """The sign of the determinant, and low ≤ ln|det| ≤ high; a bound that is None says nothing.

    Sign 0 says that the matrix is singular, and has no bounds.
    """

    sign: int
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        require(self.sign in (-1, 0, 1), "the sign of a determinant is not −1, 0 or 1")
        require(self.sign != 0 or self.low is self.high is None, "a determinant of zero has bounds of its logarithm")


@dataclass(frozen=True)
class Count:
    """low ≤ #{σ > tolerance} ≤ high."""

    tolerance: float
    low: int
    high: int

    def __post_init__(self) -> None:
        require(self.tolerance >= 0, "a tolerance is negative")


@dataclass(frozen=True)
class Smallest:
    """low ≤ log₁₀ σ_min ≤ high, where σ_min is the last of the min(rows, columns) singular values."""

    low: float
    high: float


Claim = Rank | Determinant | Count | Smallest

CLAIMS: Final[dict[str, type[Claim]]] = {
    "rank": Rank,
    "determinant": Determinant,
    "count": Count,
    "smallest": Smallest,
}
"""The claims by their names in the format."""


def named(claim: Claim) -> str:
    """The name of a claim in the format."""
    return next(name for name, made in CLAIMS.items() if isinstance(claim, made))
