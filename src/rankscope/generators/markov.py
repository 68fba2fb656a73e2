"""Random Markov matrices: independent positive weights divided by their row sums, and the laws of their limits.

M_ij = X_ij / Σ_j X_ij with independent X ≥ 0 of mean m and standard deviation s. With ν = s/m the singular values of
√n·M tend to the quarter circle on [0, 2ν], of density √(4ν² − x²)/(πν²), beside one that tends to √n (Bordenave, Caputo
and Chafaï 2012, arXiv 0808.1502). They are the null model of attention without structure: softmax of independent
scores is the log-normal case.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rankscope.arrays import Float64
from rankscope.attention.origin import Limit
from rankscope.errors import error
from rankscope.registry import above_zero, nearest

BULK_MEAN: Final = 8 / (3 * math.pi)
"""The mean of the quarter circle for ν = 1, whose second moment is 1."""

BULK_RANK: Final = 2 * math.exp(4 / 3) / (3 * math.pi)
"""exp of the entropy of σ/Σσ, over n, for values that follow the quarter circle: m·exp(−E[x ln x]/m) = 0.80504…"""


@dataclass(frozen=True)
class Weights:
    """Independent positive weights: their logarithms, ν, and E[X ln X]/m − ln m."""

    logs: Callable[[Any, tuple[int, int]], Float64]
    nu: float
    divergence: float


def weights_of(name: str, parameter: float) -> Weights:
    """The weights called `name`, with their parameter: exponential, lognormal:SPREAD, gamma:SHAPE."""
    above_zero(f"markov:{name}", parameter)
    match name:
        case "exponential":
            if parameter != 1:
                raise error("RS002", f"markov:exponential:{parameter:g}", "leave the rate out: rows are divided")
            return Weights(lambda random, shape: np.log(random.standard_exponential(shape)), 1.0, 1 - np.euler_gamma)
        case "lognormal":
            variance = parameter * parameter
            spread = math.sqrt(math.expm1(variance)) if variance < 700 else math.inf
            return Weights(lambda random, shape: parameter * random.standard_normal(shape), spread, variance / 2)
        case "gamma":
            return Weights(
                lambda random, shape: log_gamma(random, parameter, shape),
                1 / math.sqrt(parameter),
                digamma(parameter + 1) - math.log(parameter),
            )
    raise error("RS001", f"there are no weights {name!r}", nearest(name, ["exponential", "lognormal", "gamma"]))


def log_gamma(random: Any, shape: float, size: tuple[int, int]) -> Float64:
    """Logarithms of Gamma weights, which underflow for small shapes: X = Y·U^(1/shape) with Y of shape + 1."""
    return np.asarray(np.log(random.standard_gamma(shape + 1, size)) + np.log1p(-random.random(size)) / shape)


def digamma(x: float) -> float:
    """ψ(x) for positive x: the recurrence ψ(x) = ψ(x + 1) − 1/x, then the asymptotic series."""
    total = 0.0
    while x < 10:
        total -= 1 / x
        x += 1
    inverse = 1 / (x * x)
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse / 240)))
    return total + math.log(x) - 1 / (2 * x) - series


def limits(weights: Weights, n: int) -> dict[str, Limit]:
    """What measures tend to as n grows, for square matrices; the leading value beside the bulk is counted in."""
    nu = weights.nu
    if not (n > 1 and nu > 0 and 4 * nu**2 < n):  # beyond, the bulk would overlap the value 1
        return {}
    bulk = math.sqrt(n) * BULK_MEAN * nu
    share = 1 / (1 + bulk)
    entropy = -share * math.log(share) + (1 - share) * (math.log(BULK_RANK * n) - math.log1p(-share))
    rows = math.log(n) - weights.divergence
    return {
        "sigma_max": Limit(1.0, "1"),
        "sv_ratio_1_2": Limit(math.sqrt(n) / (2 * nu), "√n/2ν"),
        "stable_rank": Limit(1 + nu**2, "1 + ν²"),
        "nuclear_rank": Limit(1 + bulk, "1 + 8ν√n/3π"),
        "participation_ratio": Limit((1 + bulk) ** 2 / (1 + nu**2), "(1 + 8ν√n/3π)²/(1 + ν²)"),
        "effective_rank": Limit(math.exp(entropy), "quarter circle and the value 1"),
        "logdet": Limit(n * (math.log(nu) - (1 + math.log(n)) / 2), "n(ln ν − ½ − ½ ln n)"),
        "row_entropy": Limit(rows, "ln n − E[X ln X]/m + ln m"),
        "row_entropy_normalized": Limit(rows / math.log(n), "1 − (E[X ln X]/m − ln m)/ln n"),
    }


def quarter_circle(x: Float64, nu: float) -> Float64:
    """The density √(4ν² − x²)/(πν²) of the singular values of √n·M on [0, 2ν]; its integral is one.

    >>> float(quarter_circle(np.array([0.0]), 1.0)[0]) == 2 / np.pi
    True
    """
    inside = np.maximum(4 * nu**2 - np.asarray(x) ** 2, 0.0)
    return np.asarray(np.where(x >= 0, np.sqrt(inside) / (np.pi * nu**2), 0.0))
