"""What a measure may ask of one matrix: each need is computed at most once, and raised to a proof where that is asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rankscope.analyzer.determinant import LogDet, logdet
from rankscope.analyzer.smallest import Smallest, smallest
from rankscope.analyzer.spectrum import Spectrum, factor_spectrum, spectrum
from rankscope.arrays import FLOAT64, Array, Float64, Storage
from rankscope.attention.diagonal import diagonal
from rankscope.attention.operators import Dense, Operator
from rankscope.attention.structure import Structure
from rankscope.errors import error


@dataclass(frozen=True)
class Numerics:
    """How ranks are counted: a rule by name or a relative tolerance `rtol` (times σ₁); by default the rule follows
    the storage: numpy's for float64, the storage error for anything stored in fewer bits.
    """

    rule: str | None = None
    rtol: float | None = None

    def __post_init__(self) -> None:
        if self.rtol is not None and not 0 <= self.rtol < 1:
            raise error("RS002", f"rtol = {self.rtol}", "give a relative tolerance of at least 0 and below 1")
        if self.rule is not None and self.rtol is not None:
            raise error(
                "RS003", f"--rule {self.rule} and --rtol {self.rtol} (rule= and rtol= in Python)", "give one of them"
            )


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """The rows of a matrix: weights (n × m), the number of keys each may see, and their storage precision."""

    weights: Array
    support: NDArray[np.intp]
    storage: Storage

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
        if (self.defects[self.alive] > slack).any():
            return f"not stochastic: rows sum to one only within {self.defects[self.alive].max():.2g}"
        return "" if self.alive.any() else "empty: no row has any weight"


@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """What is known of the scores: the singular values of q kᵀ up to a factor, with an error bound, their shape and
    the head size d; and the largest score that a query sees. `values` is None where queries and keys are not known.
    """

    values: Float64 | None
    error: Float64
    shape: tuple[int, int]
    d: int
    largest: float | None
    because: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Bounds:
    """What structure alone says of a matrix: itself, and a lower bound of the exact rank."""

    structure: Structure
    at_least: int


@dataclass(frozen=True, eq=False, repr=False)
class Needs:
    """Everything a measure may ask of one matrix, each computed at most once."""

    operator: Operator
    numerics: Numerics = field(default_factory=Numerics)

    @cached_property
    def spectrum(self) -> Spectrum:
        return spectrum(self.operator)

    @cached_property
    def logdet(self) -> LogDet:
        return logdet(self.operator, lambda: self.spectrum)

    @cached_property
    def smallest(self) -> Smallest:
        return smallest(self.operator, self.spectrum, self.logdet)

    @cached_property
    def rows(self) -> Rows:
        return Rows(self.operator.matrix, self.operator.support, self.operator.storage)

    @cached_property
    def scores(self) -> Scores:
        operator = self.operator
        if not isinstance(operator, Dense) or operator.scores is None:
            feature = operator.subject == "factors"
            because = "the kernel acts on features, not on scores" if feature else "the queries and keys are not given"
            return Scores(None, np.zeros(0), operator.shape, 0, None, because)
        pair = operator.scores
        values, error = factor_spectrum(pair.left, pair.right)
        return Scores(values, error, operator.shape, pair.left.shape[1], operator.max_logit)

    @cached_property
    def bounds(self) -> Bounds:
        structure = self.operator.structure
        own = diagonal(self.operator)
        if structure.det_sign.value:
            at_least = min(structure.shape)
        elif structure.triangular and own is not None:
            at_least = int(np.count_nonzero((own.sign != 0) & np.isfinite(own.error)))
        else:
            at_least = int(min(structure.shape) > 0 and self.operator.matrix.any())
        return Bounds(structure, at_least)

    def of(self, kind: type) -> Any:
        """The need of type `kind`."""
        return NEEDS[kind](self)


NEEDS: Final[Mapping[type, Callable[[Needs], Any]]] = {
    Spectrum: lambda needs: needs.spectrum,
    LogDet: lambda needs: needs.logdet,
    Smallest: lambda needs: needs.smallest,
    Rows: lambda needs: needs.rows,
    Scores: lambda needs: needs.scores,
    Bounds: lambda needs: needs.bounds,
    Storage: lambda needs: needs.operator.storage,
    Numerics: lambda needs: needs.numerics,
}
"""What a parameter of a measure may be annotated with, and where it comes from."""

BY_STRUCTURE: Final = {LogDet, Bounds}
"""Needs that structure gives for the exact subject, even where the stored numbers are a different matrix."""
