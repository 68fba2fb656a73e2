"""The rows of a matrix as distributions over keys."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankscope.arrays import FLOAT64, Array, Float64, Storage
from rankscope.lazy import cached_property


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """The rows of a matrix: weights (n × m), the number of keys each may see, and their storage precision.

    Rows that are not `whole` are not meant to sum to one, and are measured divided by their sums.
    """

    weights: Array
    support: NDArray[np.intp]
    storage: Storage
    whole: bool = True

    @cached_property
    def alive(self) -> NDArray[np.bool_]:
        """Rows with any weight at all."""
        return np.asarray(self.weights.any(axis=1))

    @cached_property
    def defects(self) -> Float64:
        """|Σ_j A_ij − 1| of each row; infinite where the sum overflows."""
        with np.errstate(over="ignore", invalid="ignore"):
            sums = np.abs(self.weights.sum(axis=1) - 1.0)
        return np.asarray(np.nan_to_num(sums, nan=np.inf, posinf=np.inf), dtype=np.float64)

    @cached_property
    def entropies(self) -> Float64:
        """−Σ_j p_j ln p_j of each row, divided by its sum first; 0·ln 0 is 0, and so is the entropy of an empty row."""
        logs = np.where(self.weights > 0, self.weights, 1.0)
        np.log(logs, out=logs)
        total = np.where(self.alive, self.weights.sum(axis=1), 1.0)
        return np.asarray(np.log(total) - np.einsum("ij,ij->i", self.weights, logs) / total, dtype=np.float64)

    @cached_property
    def not_stochastic(self) -> str:
        """Why the rows are not probability distributions; empty if they are, up to their storage precision."""
        slack = 16 * self.storage.unit + self.weights.shape[1] * (self.storage.smallest + FLOAT64.unit)
        if not np.isrealobj(self.weights):
            return "not stochastic: complex entries"
        if self.weights.min(initial=0.0) < 0:
            return f"not stochastic: {int(np.count_nonzero(self.weights < 0))} negative entries"
        if self.whole and (self.defects[self.alive] > slack).any():
            return f"not stochastic: rows sum to one only within {self.defects[self.alive].max():.2g}"
        return "" if self.alive.any() else "empty: no row has any weight"
