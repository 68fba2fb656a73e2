"""How far tokens are from each other, how fast that falls with depth, and what has been published on it."""

import math
from typing import Any, Final

import numpy as np

from rankscope.analyzer.depth import History, Plain, depth_measure
from rankscope.analyzer.measure import unknown
from rankscope.analyzer.residual import Distance
from rankscope.arrays import UNIT
from rankscope.attention.block import Block
from rankscope.attention.scaled import Scaled
from rankscope.records import Reading

HARDLY: Final = 0.1
"""Decades by which a residual must change for the next change to be compared with it."""


@depth_measure("residual", default=True)
def log10_residual(distance: Distance) -> Reading:
    """log₁₀ ‖X − 1xᵀ‖_F / ‖X‖_F, x the mean of the tokens or as --centre says; --absolute does not divide."""
    return distance.reading("frobenius")


@depth_measure("residual")
def log10_residual_l1(distance: Distance) -> Reading:
    """The same in ‖·‖₁, the largest column sum of magnitudes."""
    return distance.reading("l1")


@depth_measure("residual")
def log10_residual_linf(distance: Distance) -> Reading:
    """The same in ‖·‖_∞, the largest row sum of magnitudes."""
    return distance.reading("linf")


@depth_measure("residual")
def log10_residual_composite(distance: Distance) -> Reading:
    """The same in √(‖·‖₁‖·‖_∞), the norm of Dong et al. 2021, which is none: the triangle inequality fails."""
    return distance.reading("composite")


@depth_measure("residual")
def log10_residual_spectral(distance: Distance) -> Reading:
    """The same in ‖·‖₂, the largest singular value."""
    return distance.reading("spectral")


@depth_measure("residual", default=True)
def log10_residual_naive(plain: Plain) -> Reading:
    """log₁₀ of the same residual of tokens as a script computes them, which stops at its rounding floor.

    The floor, `log10_floor` in `details`, is what rounding to the type and summing n weights and as many features as
    tokens have can lose of the norm of the tokens: 4u + (n + width + 8)·2⁻⁵³.
    """
    x = plain.values
    if x is None or not np.isfinite(x).all() or not x.any():
        return unknown("plain arithmetic failed: the tokens vanished, or overflowed")
    held = Scaled.of(x)
    row = held.values[:1] if plain.centre == "first" else held.values.mean(axis=0, keepdims=True)
    whole, rest = held.log10_norm, held - Scaled.of(row, held.exponent)
    by = 0.0 if plain.absolute else whole
    floor = math.log10(4 * plain.storage.unit + (sum(x.shape) + 8) * UNIT) + (whole if plain.absolute else 0.0)
    details = {"log10_floor": floor}
    if not rest.values.any():
        because = f"exactly zero in {plain.storage.name}, which means below rounding, not zero"
        return Reading(None, because=because, high=math.log10(plain.storage.unit) + whole - by, details=details)
    value, method = rest.log10_norm - by, f"plain arithmetic, kept in {plain.storage.name}"
    return Reading(value, "estimated", method, "at its rounding floor" if value < floor else "", details=details)


@depth_measure("rate", default=True)
def residual_order(history: History) -> Reading:
    """Δlog r_l / Δlog r_{l−1} of the residual r, by increments: 3 for pure attention, 1 for a geometric decay."""
    if len(history.logs) < 3:
        return unknown("needs two layers before it")
    last, middle, first = history.logs[-1], history.logs[-2], history.logs[-3]
    if last is None or middle is None or first is None:
        return unknown("a residual is not known")
    above, below = last - middle, middle - first
    slack = sum(history.errors[-2:]), sum(history.errors[-3:-1])
    if abs(below) <= max(slack[1], HARDLY):
        return unknown("the residual hardly changed in the layer before")
    ends = [(above + a * slack[0]) / (below + b * slack[1]) for a in (-1, 1) for b in (-1, 1)]
    return Reading(above / below, "estimated", "increments of log r", low=min(ends), high=max(ends))


@depth_measure("rate", default=True)
def residual_rate(history: History) -> Reading:
    """r_l / r_{l−1}: the factor of one layer, of a geometric decay the same in all."""
    if len(history.logs) < 2 or history.logs[-1] is None or history.logs[-2] is None:
        return unknown("needs the layer before it" if len(history.logs) < 2 else "a residual is not known")
    step = history.logs[-1] - history.logs[-2]
    slack = sum(history.errors[-2:])
    if abs(step) + slack > 300:
        low, high = (None, 1e-300) if step < 0 else (1e300, None)
        return Reading(None, because="beyond the range of float64", low=low, high=high, details={"log10": step})
    low, high = (10.0 ** (step + sign * slack) for sign in (-1, 1))
    return Reading(10.0**step, "estimated", "quotient of residuals", low=low, high=high, details={"log10": step})


@depth_measure("rate")
def log10_cubic_constant(history: History) -> Reading:
    """log₁₀ r_l / r_{l−1}³ of absolute residuals: the constant of the cubic law, as observed."""
    if len(history.absolute) < 2 or history.absolute[-1] is None or history.absolute[-2] is None:
        return unknown("needs the layer before it" if len(history.absolute) < 2 else "a residual is not known")
    value = history.absolute[-1] - 3 * history.absolute[-2]
    slack = history.errors[-1] + 3 * history.errors[-2]
    return Reading(value, "estimated", "absolute Frobenius residuals", low=value - slack, high=value + slack)


@depth_measure("rate")
def log10_dong_bound(history: History) -> Reading:
    """log₁₀ of (4γβH/√d)^((3^L−1)/2)·‖res(X)‖^(3^L) in √(‖·‖₁‖·‖_∞) with γ = 1, which the theorem leaves open.

    Theorem 2.3 of Dong et al. 2021, layer by layer: β = max_h ‖W_QK,h‖₁·‖W_h‖ of each. It is a bound of the absolute
    composite residual for some γ that depends on the attention, not for γ = 1: it is shown as published, beside what
    is measured.
    """
    if not history.bounds or history.bounds[-1] is None:
        return unknown(history.why_no_bound or "the residual before it is zero")
    method = "Theorem 2.3 of Dong et al. 2021 (arXiv 2103.03404) with γ = 1"
    return Reading(history.bounds[-1], "estimated", method, "γ is not known: not a proved bound")


def dong_step(bound: float, block: Block, scale: float) -> float:
    """The bound after one more layer: log₁₀(4βH·scale/√d) + 3·bound."""
    products = [
        (head.query.weights @ head.key.weights.T, head.value.weights @ head.output.weights) for head in block.heads
    ]
    beta = max(l1(qk) * math.sqrt(l1(v) * l1(v.T)) for qk, v in products)
    base = 4 * beta * len(block.heads) * scale / math.sqrt(block.heads[0].query.weights.shape[1])
    return (math.log10(base) if base else -math.inf) + 3 * bound


def l1(matrix: Any) -> float:
    """‖·‖₁, the largest column sum of magnitudes."""
    return float(np.abs(matrix).sum(axis=0).max())
