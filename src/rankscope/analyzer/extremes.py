"""The least and the greatest value that a rank can have when each singular value is known within an interval.

Entropy and participation ratio depend on σ/Σσ alone, and as a function of one σ_i rise up to a threshold m and fall
beyond it. So the least value is taken where the k largest are at their upper ends and the others at their lower ends,
for some k: exchanging any other choice towards such a one lowers it. An upper bound follows from any distribution q:
H(p) ≤ −Σ p_i ln q_i (Gibbs), and 1/Σp² ≤ Σq²/(Σpq)² (Cauchy and Schwarz); with q the values closest to m it is sharp.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from rankscope.arrays import UNIT, Float64

Range = tuple[float, float]

ROUNDING: Final = 8
"""Units of roundoff per term: each is a logarithm (≤ 4, as libraries state), a product and an addition."""


def ordered(low: Float64, high: Float64) -> tuple[Float64, Float64]:
    """Both ends of the intervals in descending order, and none negative: those of the sorted values."""
    return np.sort(np.maximum(low, 0.0))[::-1], np.sort(np.maximum(high, 0.0))[::-1]


def of_sum(low: Float64, high: Float64, power: int) -> Range:
    """Bounds of Σσ^γ / σ₁^γ = 1 + Σ_{i≥2} (σ_i/σ₁)^γ."""
    low, high = ordered(low, high)
    slack = ROUNDING * (len(low) + 4) * UNIT
    least = 1 + float(((low[1:] / high[0]) ** power).sum())
    most = 1 + float(((high[1:] / low[0]) ** power).sum()) if low[0] > 0 else float(len(low))
    return max(least * (1 - slack), 1.0), min(most * (1 + slack), float(len(low)))


def of_entropy(low: Float64, high: Float64, power: int) -> Range:
    """Bounds of exp(−Σ p ln p) with p = σ^γ/Σσ^γ."""
    low, high = (ends**power for ends in ordered(low, high))
    unit = ROUNDING * (len(low) + 8) * UNIT
    above, below, total = x_log_x(high), x_log_x(low), sums(high, low)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = 1 + np.abs(np.log(total)) + sums(np.abs(above), np.abs(below)) / total
        least = np.log(total) - sums(above, below) / total - unit * size
    inside = nearest_to(low, high, lambda s: float(s.sum()) / entropic(s))
    cost = -np.log(inside / inside.sum(), where=inside > 0, out=np.zeros_like(inside))
    most = -least_quotient(low, high, -cost)
    slack = unit * (1 + most)  # every cost is positive, so that no sum of them cancels
    return max(math.exp(float(np.nanmin(least)) - unit), 1.0), min(math.exp(most + slack), float(len(low)))


def of_participation(low: Float64, high: Float64) -> Range:
    """Bounds of (Σσ)² / Σσ²."""
    low, high = ordered(low, high)
    with np.errstate(divide="ignore", invalid="ignore"):
        least = sums(high, low) ** 2 / sums(high**2, low**2)
    inside = nearest_to(low, high, lambda s: float((s * s).sum() / s.sum()))
    shares = inside / inside.sum()
    quotient = least_quotient(low, high, shares)
    most = float((shares * shares).sum()) / quotient**2 if quotient > 0 else math.inf
    slack = ROUNDING * (len(low) + 8) * UNIT
    return max(float(np.nanmin(least)) * (1 - slack), 1.0), min(most * (1 + slack), float(len(low)))


def sums(first: Float64, second: Float64) -> Float64:
    """Σ_{i<k} first_i + Σ_{i≥k} second_i for k = 0 … n."""
    zero = np.zeros(1)
    totals = np.concatenate([zero, np.cumsum(first)]) + np.concatenate([np.cumsum(second[::-1])[::-1], zero])
    return np.asarray(totals)


def x_log_x(x: Float64) -> Float64:
    """x·ln x, which is 0 at 0."""
    return np.asarray(x * np.log(x, where=x > 0, out=np.zeros_like(x)))


def entropic(weights: Float64) -> float:
    """exp of the Shannon entropy of weights, normalised to sum to one."""
    return math.exp(-float(x_log_x(weights / weights.sum()).sum()))


def nearest_to(low: Float64, high: Float64, threshold: Callable[[Float64], float]) -> Float64:
    """The values in their intervals nearest to the threshold that they themselves have: where the rank is greatest.

    A few dozen steps suffice; whatever comes out makes a valid bound.
    """
    values = (low + high) / 2
    for _ in range(60):
        values, before = np.clip(threshold(values), low, high), values
        if np.array_equal(values, before):
            break
    return np.asarray(values)


def least_quotient(low: Float64, high: Float64, cost: Float64) -> float:
    """The least Σσ_i·c_i / Σσ_i over the intervals (Dinkelbach's iteration, which ends after finitely many steps)."""
    quotient = math.inf
    for _ in range(200):
        values = np.where(cost < quotient, high, low) if math.isfinite(quotient) else high
        total = float(values.sum())
        found = float((values * cost).sum()) / total if total > 0 else quotient
        if not found < quotient:
            return quotient
        quotient = found
    return -math.inf
