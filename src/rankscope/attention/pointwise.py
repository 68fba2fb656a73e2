"""What a network does to each token by itself, on tokens held as mean and residual: activations and normalisation.

The difference φ(m + r) − φ(m) and the change of a token's length are computed from r, never by subtraction.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from rankscope.arrays import UNIT, Float64
from rankscope.attention.scaled import Scaled
from rankscope.attention.tokens import Tokens, passed_on, relative, split
from rankscope.errors import error
from rankscope.registry import Registry

NODES: Final = 16
"""Points of Gauss and Legendre's rule: exact to rounding for the slope of GELU over a step of one."""


@dataclass(frozen=True)
class Activation:
    """A function of one number with its `slope`, and its Lipschitz constant.

    One that is piecewise linear with its corner at zero needs no integral: `corner` says so.
    """

    function: Callable[[Float64], Float64]
    slope: Callable[[Float64], Float64]
    lipschitz: float
    corner: bool = False


ACTIVATIONS: Final = Registry[Callable[[], Activation]]("activation")
activation = ACTIVATIONS
"""Decorator: register a function that makes an `Activation` under its own name."""


@activation
def relu() -> Activation:
    """max(x, 0): negative numbers become zero."""
    return Activation(lambda x: np.maximum(x, 0.0), lambda x: np.asarray(x > 0, dtype=np.float64), 1.0, corner=True)


@activation
def gelu() -> Activation:
    """x·Φ(x) with the normal distribution function Φ (Hendrycks and Gimpel 2016)."""
    root = math.sqrt(2)

    def cdf(x: Float64) -> Float64:
        from scipy.special import ndtr

        return np.asarray(ndtr(x))

    def slope(x: Float64) -> Float64:
        return np.asarray(cdf(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))

    steepest = float(slope(np.array([root]))[0])  # where the second derivative (2 − x²)·density vanishes
    return Activation(lambda x: x * cdf(x), slope, steepest)


def activated(tokens: Tokens, by: Activation) -> Tokens:
    """φ of every entry."""
    low, rest = tokens.mean, tokens.residual
    if by.corner:
        unit = rest.exponent
        at = low.in_units(unit)
        residual = Scaled.of(np.where(at >= 0, np.maximum(rest.values, -at), np.maximum(rest.values + at, 0.0)), unit)
        mean = Scaled.of(by.function(low.values), low.exponent)
        slopes = by.slope(at + rest.values)
    else:
        at, step = low.floats, rest.floats
        slopes = mean_slope(at, step, by)
        residual = Scaled.of(rest.values * slopes, rest.exponent)
        mean = Scaled.of(low.values * quotient(at, by), low.exponent)
    steepness = float(np.sqrt((slopes * slopes).mean()))
    error = passed_on(tokens.error, relative(steepness * rest.norm, rest.exponent, residual))
    return split(mean, residual, error, UNIT * steepness * rest.norm, rest.exponent, lost=tokens.lost)


def quotient(x: Float64, by: Activation) -> Float64:
    """φ(x)/x, and the slope at zero: a mean too small for float64 keeps its digits when it is multiplied by this."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(x == 0, by.slope(x), by.function(x) / x)


def mean_slope(at: Float64, step: Float64, by: Activation) -> Float64:
    """(φ(at + step) − φ(at)) / step: by quadrature of the slope for steps below one, by the difference beyond."""
    places, weights = np.polynomial.legendre.leggauss(NODES)
    found = np.zeros(step.shape)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        found += weight * by.slope(at + place * step)
    far = np.abs(step) > 1
    if far.any():
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.where(far, (by.function(at + step) - by.function(at)) / step, found)
    return found


Norm = Literal["layer", "rms"]


def normalised(tokens: Tokens, kind: Norm, epsilon: float) -> Tokens:
    """Each token divided by √(mean of its squares + ε), by "layer" after its own mean over features is subtracted.

    LayerNorm (Ba et al. 2016) and RMSNorm (Zhang and Sennrich 2019), without gain and bias.
    """
    low, rest = tokens.mean, tokens.residual
    if kind == "layer":
        low, rest = (Scaled.of(x.values - x.values.mean(axis=1, keepdims=True), x.exponent) for x in (low, rest))
    width = tokens.shape[1]
    unit = max(x.exponent for x in (low, rest) if x.values.any()) if low.values.any() or rest.values.any() else 0
    m, r = low.in_units(unit), rest.values  # r in its own units, 2^below times smaller
    below = rest.exponent - unit if rest.values.any() else 0
    small = math.ldexp(1.0, max(below, -2000))
    linear, square = 2 * (r @ m[0]) / width, (r * r).sum(axis=1) / width
    floor = epsilon * math.ldexp(1.0, -2 * max(min(unit, 500), -500))
    level = float((m * m).mean()) + small * small * float(square.mean()) + floor
    if level == 0:
        raise error("RS122", "tokens that are constant over their features", "give the norm an epsilon above 0")
    change = (
        linear + small * (square - square.mean())
    ) / level  # the mean square of token i is level·(1 + small·change)
    factor = shrinking(small * change) / small if below >= -900 else -change / 2
    short = small * change < -0.5  # tokens much shorter than others: their squares would cancel
    if short.any():
        squares = ((m + small * r[short]) ** 2).mean(axis=1) + floor
        lost = ((np.abs(m) + small * np.abs(r[short])) ** 2).mean(axis=1) * (4 * UNIT) ** 2
        if (squares <= lost).any():
            raise error(
                "RS122", "a token that is zero, or below the rounding of others", "give the norm an epsilon above 0"
            )
        factor[short] = (np.sqrt(level / squares) - 1) / small
    moved = Scaled.of(r * (1 + small * factor[:, None]) + factor[:, None] * m, rest.exponent)
    scale = 1 / math.sqrt(level)
    rounding = scale * 4 * UNIT * float(np.linalg.norm(np.abs(r) + np.abs(factor[:, None] * m)))
    found = Scaled(moved.values, moved.exponent - unit) * scale
    kept = passed_on(tokens.error, relative(rest.norm * scale, rest.exponent - unit, found))
    return split(Scaled.of(m) * scale, found, kept, rounding, rest.exponent - unit, lost=tokens.lost)


def shrinking(change: Float64) -> Float64:
    """(1 + x)^(−½) − 1; of no use for x near −1."""
    return np.asarray(np.expm1(np.log1p(np.maximum(change, -0.5)) * -0.5))
