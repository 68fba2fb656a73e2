"""The laws of random matrices that figures are set against, in closed form: scipy.stats takes a second to import.

For a p × q matrix, p ≤ q, of independent entries of mean 0 and variance s²/q, the squared singular values divided by s²
follow Marchenko and Pastur's law of the ratio p/q as both grow, and their mean is 1. For a square matrix the singular
values then follow the quarter circle √(4s² − x²)/(πs²) on [0, 2s].
"""

import math
from dataclasses import dataclass

import numpy as np

from rankscope.records import Matrix, Table
from rankscope.report.figures._curve import Array


@dataclass(frozen=True)
class Law:
    """Marchenko and Pastur's law of singular values with the second moment `scale`², for p/q = `ratio` ≤ 1."""

    scale: float
    ratio: float = 1.0

    @property
    def edges(self) -> tuple[float, float]:
        """The least and the greatest value that has a density."""
        root = math.sqrt(self.ratio)
        return self.scale * (1 - root), self.scale * (1 + root)

    def density(self, x: Array) -> Array:
        """√((b² − x²)(x² − a²)) / (π·ratio·scale²·x) between the edges a and b; for a square √(b² − x²)/(π·scale²)."""
        low, high = self.edges
        upper = np.maximum(high**2 - x**2, 0.0)
        if low == 0.0:
            return np.asarray(np.where(x >= 0, np.sqrt(upper) / (math.pi * self.scale**2), 0.0))
        inside = np.maximum(x**2 - low**2, 0.0) * upper
        below = np.where(x > 0, x, 1.0) * math.pi * self.ratio * self.scale**2
        return np.asarray(np.where(x > 0, np.sqrt(inside) / below, 0.0))

    def below(self, x: Array) -> Array:
        """The share of values at most `x`: the integral of the density.

        With x² = s²(1 + r² − 2r cos t) and r² = ratio it is
        (2/π)·[sin t/2r + (1 + r²)t/4r² − (1 − r²)/2r² · atan((1 + r)/(1 − r) · tan(t/2))].
        """
        r = math.sqrt(self.ratio)
        cosine = (1 + r * r - (x / self.scale) ** 2) / (2 * r)
        angle = np.arccos(np.clip(np.where(x > 0, cosine, 1.0), -1.0, 1.0))
        slope = np.arctan2((1 + r) * np.sin(angle / 2), (1 - r) * np.cos(angle / 2))
        parts = np.sin(angle) / (2 * r) + ((1 + r * r) * angle / 2 - (1 - r * r) * slope) / (2 * r * r)
        return np.asarray(2 / math.pi * parts)

    def distance(self, values: Array) -> float:
        """Kolmogorov's distance: the greatest between the share of `values` at most x and that of the law, over x."""
        shares = self.below(np.sort(values))
        count = len(values)
        return float(max((np.arange(1, count + 1) / count - shares).max(), (shares - np.arange(count) / count).max()))


def weight_spread(table: Table, matrix: Matrix) -> float | None:
    """ν, the standard deviation of the weights over their mean, of a random Markov matrix.

    It is read from the limits that its measures are recorded with: √n/2ν of σ₁/σ₂, or 1 + ν² of the stable rank.
    """
    limits = {
        record.measure: float(record.details["limit"])
        for record in table.of(matrix)
        if record.details.get("limit") is not None
    }
    if limits.get("sv_ratio_1_2"):
        return math.sqrt(matrix.rows) / (2 * limits["sv_ratio_1_2"])
    return math.sqrt(limits["stable_rank"] - 1) if limits.get("stable_rank", 0.0) > 1 else None
