"""What a network does to each token by itself, on tokens held as mean and residual: activations and normalisation.

The difference φ(m + r) − φ(m) and the change of a token's length are computed from r, never by subtraction.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from rankscope.arrays import TINIEST, UNIT, Float64
from rankscope.attention.scaled import FARTHEST, Scaled, Size
from rankscope.attention.tokens import Tokens, passed_on, split
from rankscope.errors import error
from rankscope.registry import Registry

NODES: Final = 16
"""Points of Gauss and Legendre's rule: exact to rounding for the slope of GELU over a step of one."""


@dataclass(frozen=True)
class Activation:
    """A function of one number, its `slope`, its value divided by the number (`share`), and its Lipschitz constant.

    One that is piecewise linear with its corner at zero needs no integral: `corner` says so. For others `terms` gives
    the size of the terms that the slope is made of, in units of their rounding.
    """

    function: Callable[[Float64], Float64]
    slope: Callable[[Float64], Float64]
    share: Callable[[Float64], Float64]
    lipschitz: float
    corner: bool = False
    terms: Callable[[Float64], Float64] = np.ones_like


ACTIVATIONS: Final = Registry[Callable[[], Activation]]("activation")
activation = ACTIVATIONS
"""Decorator: register a function that makes an `Activation` under its own name."""


@activation
def relu() -> Activation:
    """max(x, 0): negative numbers become zero."""

    def positive(x: Float64) -> Float64:
        return np.asarray(x > 0, dtype=np.float64)

    return Activation(lambda x: np.maximum(x, 0.0), positive, positive, 1.0, corner=True)


@activation
def gelu() -> Activation:
    """x·Φ(x) with the normal distribution function Φ (Hendrycks and Gimpel 2016)."""
    root = math.sqrt(2)

    def cdf(x: Float64) -> Float64:
        from scipy.special import ndtr

        return np.asarray(ndtr(x))

    def density(x: Float64) -> Float64:
        held = np.clip(x, -40.0, 40.0)
        return np.asarray(np.exp(-held * held / 2) / math.sqrt(2 * math.pi))

    def slope(x: Float64) -> Float64:
        return np.asarray(cdf(x) + np.clip(x, -40.0, 40.0) * density(x))

    def terms(x: Float64) -> Float64:
        held = np.clip(np.abs(x), 0.0, 40.0)
        return np.asarray((1 + held**2) * (cdf(x) + held * density(x)))

    steepest = float(slope(np.array([root]))[0])  # where the second derivative (2 − x²)·density vanishes
    return Activation(lambda x: x * cdf(x), slope, cdf, steepest, terms=terms)


def activated(tokens: Tokens, by: Activation) -> Tokens:
    """φ of every entry."""
    low, rest = tokens.mean, tokens.residual
    one = tokens.drift * (1 / math.sqrt(tokens.shape[1]))  # the error of an entry of the mean
    mean = Scaled.of(low.values * by.share(low.in_units(0)), low.exponent)
    if by.corner:
        unit = rest.exponent
        at = low.in_units(unit)
        residual = Scaled.of(np.where(at >= 0, np.maximum(rest.values, -at), np.maximum(rest.values + at, 0.0)), unit)
        mean = Scaled.of(by.function(low.values), low.exponent)
        slopes = by.slope(at + rest.values)
        turned = math.sqrt(np.count_nonzero(np.abs(at) < np.abs(rest.values)))  # entries that cross the corner
        fresh = one * turned + rest.size * (UNIT * rms(slopes))
    else:
        at, step = low.floats, rest.floats
        slopes = mean_slope(at, step, by)
        residual = Scaled.of(rest.values * slopes, rest.exponent)
        fresh = roundings(at, step, rest, by) + rest.size * one * 2.0
    passed = passed_on(tokens, tokens.noise * rms(slopes), residual)
    drift = tokens.drift * rms(by.slope(low.in_units(0))) + mean.size * UNIT
    drift = drift if by.corner else drift + low.size * (TINIEST / UNIT)
    return split(mean, residual, passed, fresh, drift, lost=tokens.lost)


def rms(x: Float64) -> float:
    """The root of the mean of squares."""
    return float(np.sqrt((x * x).mean()))


def roundings(at: Float64, step: Float64, rest: Scaled, by: Activation) -> Size:
    """What rounding does to the differences of an activation: to the terms of its slope, or, where steps are large, to
    its values; and what is lost where these are too small for float64.
    """
    far = np.abs(step) > 1
    near = np.where(far, 0.0, rest.values * (2 * UNIT * by.terms(at + 0 * step)))
    values = np.where(far, np.abs(by.function(at + step)) + np.abs(by.function(at)) + UNIT * np.abs(at), 0.0)
    tiny = rest.size * (TINIEST / UNIT)
    return (
        Size.of(float(np.linalg.norm(near)), rest.exponent) + Size.of(4 * UNIT * float(np.linalg.norm(values))) + tiny
    )


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


EVEN: Final = 500
"""Tokens below 2^−EVEN are nothing beside any ε, and above 2^EVEN any ε is nothing beside them."""

Norm = Literal["layer", "rms"]


def normalised(tokens: Tokens, kind: Norm, epsilon: float) -> Tokens:
    """Each token divided by √(mean of its squares + ε), by "layer" after its own mean over features is subtracted.

    LayerNorm (Ba et al. 2016) and RMSNorm (Zhang and Sennrich 2019), without gain and bias.
    """
    low, rest = tokens.mean, tokens.residual
    if kind == "layer":
        low, rest = (Scaled.of(x.values - x.values.mean(axis=1, keepdims=True), x.exponent) for x in (low, rest))
    width = tokens.shape[1]
    used = [x.exponent for x in (low, rest) if x.values.any()]
    unit = max(max(used, default=0), -EVEN)  # below, ε is all that counts
    m, r = low.in_units(unit), rest.values  # r in its own units, 2^below times smaller
    below = rest.exponent - unit if rest.values.any() else 0
    small = math.ldexp(1.0, max(below, -FARTHEST))
    linear, square = 2 * (r @ m[0]) / width, (r * r).sum(axis=1) / width
    floor = epsilon * math.ldexp(1.0, -2 * min(unit, EVEN))
    level = float((m * m).mean()) + small * small * float(square.mean()) + floor
    if level == 0:
        raise error("RS122", "tokens that are constant over their features", "give the norm an epsilon above 0")
    change = (linear + small * (square - square.mean())) / level  # token i has the mean square level·(1 + small·change)
    factor = shrinking(small * change) / small if below >= -900 else -change / 2
    short = small * change < -0.5  # tokens much shorter than others: their squares would cancel
    if short.any():
        squares = ((m + small * r[short]) ** 2).mean(axis=1) + floor
        lost = ((np.abs(m) + small * np.abs(r[short])) ** 2).mean(axis=1) * (4 * UNIT) ** 2
        if (squares <= lost).any():
            given = "a token that is zero, or below the rounding of others"
            raise error("RS122", given, "give the norm an epsilon above 0")
        factor[short] = (np.sqrt(level / squares) - 1) / small
    lengths = 1 + small * factor[:, None]  # by what each token is divided less, or more, than the others
    scale = 1 / math.sqrt(level)
    found = Scaled.of(scale * (r * lengths + factor[:, None] * m), rest.exponent - unit)
    before = np.linalg.norm(tokens.residual.in_units(rest.exponent), axis=1) if rest.values.any() else np.zeros(len(r))
    around = float(np.linalg.norm(tokens.mean.in_units(unit)))
    rounding = 4 * UNIT * scale * float(np.linalg.norm(lengths[:, 0] * before + np.abs(factor) * around))
    stretched = Size.of(scale * float(np.abs(lengths).max()), -unit)
    moved = tokens.drift * Size.of(scale * float(np.linalg.norm(factor)), rest.exponent - 2 * unit)
    passed = passed_on(tokens, tokens.noise * stretched, found) + moved
    passed = passed + found.size * (tokens.drift * Size.of(scale / math.sqrt(width), -unit)).over(Size.of(1.0))
    mean = low * Scaled(np.array(scale), -unit)
    drift = (
        tokens.drift * Size.of(scale, -unit) + mean.size * (4 * UNIT) + tokens.mean.size * Size.of(UNIT * scale, -unit)
    )
    return split(mean, found, passed, Size.of(rounding, rest.exponent - unit), drift, lost=tokens.lost)


def shrinking(change: Float64) -> Float64:
    """(1 + x)^(−½) − 1; of no use for x near −1."""
    return np.asarray(np.expm1(np.log1p(np.maximum(change, -0.5)) * -0.5))
