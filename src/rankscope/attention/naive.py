"""The same matrices written as their definitions, entry by entry: slow, plain, and the test of everything fast."""

import math
from collections.abc import Callable, Sequence

from rankscope.attention.masks import Mask

Rows = Sequence[Sequence[float]]


def softmax(q: Rows, k: Rows, mask: Mask, scale: float = 1.0) -> list[list[float]]:
    """exp(s_ij) / Σ_j exp(s_ij) with s_ij = scale · q_i·k_j / √d, over the keys that i sees.

    >>> from rankscope.attention.masks import causal
    >>> softmax([[0.0], [0.0]], [[0.0], [0.0]], causal())
    [[1.0, 0.0], [0.5, 0.5]]
    """
    return weighted(q, k, mask, lambda a, b: math.exp(scale * dot(a, b) / math.sqrt(len(a))))


def linear(q: Rows, k: Rows, mask: Mask, features: Callable[[Sequence[float]], Sequence[float]]) -> list[list[float]]:
    """φ(q_i)·φ(k_j) / Σ_j φ(q_i)·φ(k_j) over the keys that i sees; `features` maps one token."""
    return weighted(q, k, mask, lambda a, b: dot(features(a), features(b)))


def weighted(
    q: Rows, k: Rows, mask: Mask, weight: Callable[[Sequence[float], Sequence[float]], float]
) -> list[list[float]]:
    """Weights over the keys that each query sees, divided by their sum; the queries are the last of the keys."""
    offset = len(k) - len(q)
    matrix = []
    for i, query in enumerate(q):
        row = [weight(query, key) if mask.allows(i + offset, j) else 0.0 for j, key in enumerate(k)]
        total = math.fsum(row)
        matrix.append([value / total for value in row])
    return matrix


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    """The inner product, summed exactly."""
    return math.fsum(x * y for x, y in zip(a, b, strict=True))
