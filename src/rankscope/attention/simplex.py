"""Sparsemax and its kin: projections of scores onto the simplex, whose weights can be exactly zero.

α-entmax gives the weights (z_j − τ)_+^p with p = 1/(α − 1) and z = s/p, where τ makes them sum to one: sparsemax is
p = 1, 1.5-entmax p = 2. With the scores sorted, key k has weight exactly if Σ_{j<k} (z_j − z_k)^p < 1, so that whether
a weight is zero is decided without τ, and exactly: by rational arithmetic where floating point cannot tell.
"""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Final

import numpy as np

from rankscope.arrays import UNIT, Float64

SMALL: Final = 2.0**-20
"""Roots z_j − τ below this are recomputed in many digits: float64 would leave their logarithms too few."""

DIGITS: Final = 80
"""Decimal digits for them."""


def entmax_logs(scores: Float64, power: int) -> Float64:
    """The logarithms of the entmax weights of each row, −∞ where a weight is zero; −∞ stands for a hidden key.

    >>> np.exp(entmax_logs(np.array([[1.0, 0.5, -3.0]]), 1)).tolist()
    [[0.75, 0.25, 0.0]]
    """
    logs = np.full(scores.shape, -np.inf)
    for row in range(len(scores)):
        seen = np.flatnonzero(scores[row] > -np.inf)
        if len(seen):
            logs[row, seen] = of_row(scores[row, seen], power)
    return logs


def of_row(scores: Float64, power: int) -> Float64:
    """The log weights of one row of finite scores."""
    order = np.argsort(-scores, kind="stable")
    top = scores[order[0]]
    z = np.maximum((scores[order] - top) / power, -2.0)  # a key more than 1 below the first has no weight
    size = support_size(z, scores[order], power)
    inside = z[:size]
    roots = inside - threshold(inside, power)
    logs = np.log(np.maximum(roots, SMALL))
    small = np.flatnonzero(roots < SMALL)
    precise = {score: precise_log(scores[order[:size]], score, power) for score in set(scores[order[small]].tolist())}
    logs[small] = [precise[score] for score in scores[order[small]].tolist()]
    found = np.full(len(scores), -np.inf)
    found[order[:size]] = power * logs
    return found


def support_size(z: Float64, scores: Float64, power: int) -> int:
    """How many of the sorted keys have weight: those with Σ_{j<k} (z_j − z_k)^p < 1."""
    count = np.arange(1, len(z) + 1)
    first = np.cumsum(z)
    total = first - count * z if power == 1 else np.cumsum(z * z) - 2 * z * first + count * z * z
    doubt = 16 * UNIT * count * (count + 4)  # |z| ≤ 2: sums of `count` terms, each of at most 8
    size = int(np.count_nonzero(total < 1 - doubt))
    while size < len(z) and total[size] <= 1 + doubt[size]:
        tied = size > 0 and scores[size] == scores[size - 1]
        if not (tied or exactly_below(scores, size, power)):
            break
        size += 1
    return size


def exactly_below(scores: Float64, index: int, power: int) -> bool:
    """Whether Σ_{j<index} ((s_j − s_index)/p)^p < 1, in rational arithmetic."""
    own = Fraction(float(scores[index]))
    return sum(((Fraction(float(s)) - own) / power) ** power for s in scores[:index]) < 1


def threshold(z: Float64, power: int) -> float:
    """τ with Σ (z_j − τ)^p = 1 over the support, by Newton's method from below, where it converges at once."""
    tau = float(z[0]) - 1.0
    for _ in range(60):
        root = z - tau
        step = (float((root**power).sum()) - 1) / (power * float((root ** (power - 1)).sum()))
        tau += step
        if abs(step) <= 2 * UNIT * (1 + abs(tau)):
            break
    return tau


def precise_log(scores: Float64, score: float, power: int) -> float:
    """ln(z_j − τ) of a key of the support with this score, in many digits: from sums of z − z_j over the support."""
    own = Fraction(score)
    away = [(Fraction(float(s)) - own) / power for s in scores]
    size, first, second = len(away), Fraction(sum(away)), Fraction(sum(x * x for x in away))
    with localcontext() as context:
        context.prec = DIGITS
        if power == 1:
            return float(decimal((1 - first) / size).ln())
        # Σ (away + r)² = 1 for the root r: size·r² + 2·first·r + second − 1 = 0, of which r is the positive solution
        half, rest = decimal(first), decimal(1 - second)
        return float((rest / (half + (half * half + size * rest).sqrt())).ln())


def decimal(number: Fraction | int) -> Decimal:
    """A rational number in the digits of the context."""
    exact = Fraction(number)
    return Decimal(exact.numerator) / Decimal(exact.denominator)
