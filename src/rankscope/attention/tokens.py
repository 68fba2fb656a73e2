"""Tokens as their mean and what is left of them, so that a residual is true however small.

Tokens X (n × width) are held as 1·m + R with the mean row m (1 × width) and a residual R whose rows add up to zero,
each with an exponent of its own. Every map of a network acts on m and on R without subtracting numbers that are nearly
equal: a linear map W takes R to R·W, a sum adds residuals; attention, normalisation and activations have their own
rules in `mixing.py` and `pointwise.py`. Residuals of 10^−100 000 keep as many digits as those of 1.

`noise` estimates the error of the residual in the Frobenius norm, and `drift` that of the mean: rounding errors enter
with the size that cancellation gives them, are passed on as a random direction would be, and are taken to be
independent. They are estimates and not bounds.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from rankscope.arrays import UNIT, Float64
from rankscope.attention.scaled import LOG10_2, NOTHING, Scaled, Size

LOST: Final = 2.0**-4
"""A part of the residual that rounding may change in one step before it counts as lost."""

BY_CHANCE: Final = 4.0
"""How much less than a random direction a map may stretch the mean before that counts as cancellation."""

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

    The residual is `lost` where rounding in one step was as large as itself; a noise that has only grown since it was
    small may exceed a residual that is cubed in every layer, and is then an error of its logarithm.

    >>> x = Tokens.of(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> x.mean.floats.tolist(), x.residual.floats.tolist()
    ([[2.0, 3.0]], [[-1.0, -1.0], [1.0, 1.0]])
    """

    mean: Scaled
    residual: Scaled
    noise: Size = NOTHING
    drift: Size = NOTHING
    lost: bool = False

    @staticmethod
    def of(x: Float64) -> "Tokens":
        """Tokens from an n × width array, which is taken to be exact."""
        whole = Scaled.of(x)
        mean = whole.mean(0)
        rest = Scaled.of(whole.values - mean.in_units(whole.exponent), whole.exponent)
        rounding = whole.size * UNIT if rest.values.any() else NOTHING
        return split(mean, rest, fresh=rounding, drift=rounding)

    @property
    def shape(self) -> tuple[int, int]:
        rows, width = self.residual.values.shape
        return rows, width

    @property
    def error(self) -> float:
        """The relative error of the residual."""
        return self.noise.over(self.residual.size)

    @property
    def mean_error(self) -> float:
        """The error of the mean, relative to the tokens."""
        return (self.drift * math.sqrt(self.shape[0])).over(
            self.mean.size * math.sqrt(self.shape[0]) + self.residual.size
        )

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

    @property
    def log10_residual(self) -> float:
        """log₁₀ of the Frobenius norm of the residual, divided by that of the tokens; −∞ where either is zero."""
        whole = self.log2_norm
        return (self.residual.log2_norm - whole) * LOG10_2 if math.isfinite(whole) else -math.inf

    def linear(self, by: Linear) -> "Tokens":
        """X·W + 1·b."""
        weights = Scaled.of(by.weights)
        mean, residual = self.mean @ weights, self.residual @ weights
        typical = weights.size * (1 / math.sqrt(self.shape[1]))
        drift = self.drift * typical
        likely = mean.size * self.drift.over(self.mean.size)
        drift = likely if drift.over(likely) < BY_CHANCE else drift
        drift = drift + self.mean.size * weights.size * UNIT
        if by.bias is not None:
            bias = Scaled.of(by.bias[None, :])
            mean, drift = mean + bias, drift + bias.size * UNIT
        passed = passed_on(self, self.noise * typical, residual)
        return split(mean, residual, passed, self.residual.size * weights.size * UNIT, drift, lost=self.lost)

    def __add__(self, other: "Tokens") -> "Tokens":
        residual = self.residual + other.residual
        drift = self.drift + other.drift + (self.mean.size + other.mean.size) * UNIT
        lost = any(x.lost and x.noise.over(residual.size) > LOST for x in (self, other))
        return split(self.mean + other.mean, residual, self.noise + other.noise, residual.size * UNIT, drift, lost=lost)

    def __mul__(self, factor: float) -> "Tokens":
        by = abs(factor)
        mean, residual = self.mean * factor, self.residual * factor
        noise = self.noise * by + residual.size * UNIT
        return Tokens(mean, residual, noise, self.drift * by + mean.size * UNIT, self.lost)


def split(
    mean: Scaled,
    residual: Scaled,
    passed: Size = NOTHING,
    fresh: Size = NOTHING,
    drift: Size = NOTHING,
    *,
    lost: bool = False,
) -> Tokens:
    """Tokens from any row and what stands beside it: the mean of the rest moves into the row.

    `passed` is the noise of the residual that is passed on, of tokens that may be `lost`; `fresh` is what rounding has
    just added.
    """
    rest = residual.mean(0)
    centred = residual - rest
    again = centred.mean(0)
    centred = centred - again  # what rounding of the first mean has left
    fresh = fresh + residual.size * UNIT
    gone = (lost and passed.over(centred.size) > LOST) or fresh.over(centred.size) > LOST
    noise = passed + fresh
    return Tokens(mean + (rest + again), centred, noise, drift + noise * (1 / len(residual.values)), gone)


def passed_on(tokens: Tokens, typical: Size, residual: Scaled) -> Size:
    """What a map makes of the noise of tokens: as much as of a random direction, and not much less than of the residual
    itself. What cancels, or dies, leaves the noise in what is left.
    """
    return typical.beside(residual.size * (LEAST_GROWTH * tokens.error))
