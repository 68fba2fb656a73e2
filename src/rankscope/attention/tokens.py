"""Tokens as their mean and what is left of them, so that a residual is true however small it is.

Tokens X (n × width) are held as 1·m + R with the mean row m (1 × width) and a residual R whose rows add up to zero,
each with an exponent of its own. Every map of a network acts on m and on R without subtracting numbers that are nearly
equal: a linear map W takes R to R·W, a sum adds residuals; attention, normalisation and activations have their own
rules in `mixing.py` and `pointwise.py`. Residuals of 10^−100 000 keep as many digits as those of 1.

`error` estimates the relative error of the residual in the Frobenius norm: rounding errors enter with the size that
cancellation gives them, are passed on as a random direction would be, and are taken to be independent. It is an
estimate and not a bound.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from rankscope.arrays import UNIT, Float64
from rankscope.attention.scaled import Scaled

LOST: Final = 2.0**-4
"""A part of the residual that rounding may change in one step before it counts as lost."""

LEAST_GROWTH: Final = 0.9
"""A map that favours the residual over a random direction is not trusted to lessen its error by more."""


@dataclass(frozen=True, eq=False, repr=False)
class Linear:
    """The map x ↦ x·weights + bias on rows."""

    weights: Float64
    bias: Float64 | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Tokens:
    """1·mean + residual: the mean is one row, the rows of the residual add up to zero.

    It is `lost` where rounding in one step was as large as the residual itself; an error that has only grown since it
    was small may exceed 1 in a residual that is cubed in every layer, and is then one of its logarithm.

    >>> x = Tokens.of(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> x.mean.floats.tolist(), x.residual.floats.tolist()
    ([[2.0, 3.0]], [[-1.0, -1.0], [1.0, 1.0]])
    """

    mean: Scaled
    residual: Scaled
    error: float = 0.0
    lost: bool = False

    @staticmethod
    def of(x: Float64) -> "Tokens":
        """Tokens from an n × width array, which is taken to be exact."""
        whole = Scaled.of(x)
        mean = whole.mean(0)
        found = split(mean, Scaled.of(whole.values - mean.in_units(whole.exponent), whole.exponent), 0.0)
        size = found.residual.log2_norm
        lost = UNIT * 2 ** min(whole.log2_norm - size, 60) if math.isfinite(size) else 0.0
        return Tokens(found.mean, found.residual, lost)

    @property
    def shape(self) -> tuple[int, int]:
        rows, width = self.residual.values.shape
        return rows, width

    @property
    def floats(self) -> Float64:
        """The tokens in float64, where a small residual is lost."""
        return np.asarray(self.mean.floats + self.residual.floats)

    @property
    def log2_norm(self) -> float:
        """The binary logarithm of the Frobenius norm of all tokens: n‖mean‖² + ‖residual‖², since R has mean zero."""
        logs = [self.mean.log2_norm + math.log2(self.shape[0]) / 2, self.residual.log2_norm]
        top = max(logs)
        return top + math.log2(sum(4.0 ** (each - top) for each in logs)) / 2 if math.isfinite(top) else top

    def linear(self, by: Linear) -> "Tokens":
        """X·W + 1·b."""
        weights = Scaled.of(by.weights)
        mean, residual = self.mean @ weights, self.residual @ weights
        if by.bias is not None:
            mean = mean + Scaled.of(by.bias[None, :])
        size, unit = self.residual.norm * weights.norm, self.residual.exponent + weights.exponent
        grown = relative(size / math.sqrt(self.shape[1]), unit, residual)
        error = passed_on(self.error, grown)
        return split(mean, residual, error, UNIT * size, unit, lost=self.lost)

    def __add__(self, other: "Tokens") -> "Tokens":
        residual = self.residual + other.residual
        parts = [relative(x.error * x.residual.norm, x.residual.exponent, residual) for x in (self, other)]
        lost = any(x.lost and part > LOST for x, part in zip((self, other), parts, strict=True))
        return split(self.mean + other.mean, residual, math.hypot(*parts) + UNIT, lost=lost)

    def __mul__(self, factor: float) -> "Tokens":
        error = self.error + UNIT * bool(factor != 1)
        return Tokens(self.mean * factor, self.residual * factor, error, self.lost)


def split(
    mean: Scaled, residual: Scaled, error: float, rounding: float = 0.0, unit: int = 0, *, lost: bool = False
) -> Tokens:
    """Tokens from any row and what stands beside it: the mean of the rest moves into the row.

    `error` is the relative error that is passed on; `rounding` · 2^unit is the norm of what rounding has just changed.
    """
    rest = residual.mean(0)
    centred = residual - rest
    again = centred.mean(0)
    centred = centred - again  # what rounding of the first mean has left
    fresh = relative(rounding, unit, centred) + relative(UNIT * residual.norm, residual.exponent, centred)
    return Tokens(mean + (rest + again), centred, error + fresh, lost or fresh > LOST)


def passed_on(error: float, grown: float) -> float:
    """What a map makes of a relative error: `grown` is the norm that it gives to a random direction, relative to the
    one that it has given to the residual. What cancels, or dies, leaves the error in what is left.
    """
    return error * max(LEAST_GROWTH, grown)


def relative(size: float, exponent: int, found: Scaled) -> float:
    """size · 2^exponent as a part of the norm of what was found; never beyond 2^60."""
    if not size:
        return 0.0
    norm = found.norm
    return float(2 ** min(math.log2(size) - math.log2(norm) + (exponent - found.exponent), 60.0)) if norm else 2.0**60
