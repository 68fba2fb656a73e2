"""The ways to hold one matrix, and how far the numbers that are held stand from the matrix that is meant.

The subject of an operator is the exact matrix that it speaks of: the softmax of given scores, the product of given
factors, or the stored numbers themselves. What is held in float64 differs from it by rounding, and every operator
carries a bound on that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Optional

import numpy as np
from numpy.typing import NDArray

from rankscope.arrays import FLOAT64, SMALLEST, UNIT, Array, Float64, Storage, power_of_two, scaled
from rankscope.attention.compose import of_concatenation, of_mean, of_product
from rankscope.attention.origin import Origin
from rankscope.attention.structure import Structure, of_array
from rankscope.attention.subject import Pair, Products, Recurrence, Weights
from rankscope.lazy import cached_property
from rankscope.records import Subject

if TYPE_CHECKING:
    from rankscope.attention.request import Request


@dataclass(frozen=True, eq=False, repr=False)
class Diagonal:
    """The diagonal of the subject in log space: log|a_ii|, sign, and a bound on the error of each logarithm.

    `formula` says where it comes from. A sign is 0 where the entry is exactly zero and its logarithm then −∞;
    an error of infinity means that neither sign nor logarithm is known.
    """

    log: Float64
    sign: NDArray[np.int64]
    error: Float64
    formula: str


TINY_NORM: Final = 2.0**-480
"""A norm below which the squares of entries, of which it is the sum, may have underflowed."""


def shown(operator: "Operator") -> str:
    """An operator in one line: what it is and its size, never its numbers."""
    rows, columns = operator.shape
    return f"<{type(operator).__name__} {operator.origin.label}, {rows} × {columns}, {operator.origin.dtype}>"


def as_array(operator: "Operator", dtype: Any = None, copy: bool | None = None) -> Array:
    """The numbers that are held, for numpy.asarray."""
    return np.array(operator.matrix, dtype=dtype, copy=copy)


@dataclass(frozen=True, eq=False, repr=False)
class Dense:
    """A matrix held as n² numbers.

    `distance` bounds the Frobenius norm of (held − subject), with what storage in fewer bits has added; `relative`
    bounds the relative error of each entry that did not underflow (infinite where there is no such bound).
    `diagonal` is the diagonal of the subject; `support` the number of keys each row may see; `scores` the pair whose
    product gave the scores, or the scores where they are no product, and `max_logit` their largest value, where they
    are known. `definition` holds the given numbers that make the subject exactly; it is None where the subject is what
    is stored, and `request` what was asked for, where it was.
    """

    matrix: Array
    structure: Structure
    subject: Subject
    diagonal: Diagonal
    support: NDArray[np.intp]
    storage: Storage = FLOAT64
    distance: float = 0.0
    relative: float = 0.0
    scores: Pair | Float64 | None = None
    max_logit: float | None = None
    origin: Origin = field(default_factory=Origin)
    definition: Weights | Products | Recurrence | None = None
    request: Optional["Request"] = None

    __repr__ = shown
    __array__ = as_array

    @property
    def shape(self) -> tuple[int, int]:
        return self.structure.shape


@dataclass(frozen=True, eq=False, repr=False)
class Factored:
    """A matrix held as a product left · rightᵀ of an n × m and a k × m factor: bidirectional linear attention."""

    factors: Pair
    structure: Structure
    subject: Subject
    support: NDArray[np.intp]
    distance: float
    definition: Products
    origin: Origin = field(default_factory=Origin)
    storage: Storage = FLOAT64
    request: Optional["Request"] = None

    __repr__ = shown
    __array__ = as_array

    @property
    def shape(self) -> tuple[int, int]:
        return self.structure.shape

    @cached_property
    def matrix(self) -> Array:
        return self.factors.left @ self.factors.right.T


@dataclass(frozen=True, eq=False, repr=False)
class Composition:
    """What a product, a mean and a concatenation share: their parts, and that structure passes through a rule."""

    parts: "tuple[Operator, ...]"
    origin: Origin = field(default_factory=Origin)
    rule: "ClassVar[staticmethod[[Sequence[Structure]], Structure]]"

    __repr__ = shown
    __array__ = as_array

    @cached_property
    def structure(self) -> Structure:
        return self.rule([part.structure for part in self.parts])

    @property
    def shape(self) -> tuple[int, int]:
        return self.structure.shape

    @property
    def subject(self) -> Subject:
        return weakest([part.subject for part in self.parts])

    @property
    def storage(self) -> Storage:
        return self.parts[0].storage


@dataclass(frozen=True, eq=False, repr=False)
class Product(Composition):
    """A product over layers, A_{L−1} … A_0: `parts` are in that order, the last layer first."""

    rule = staticmethod(of_product)

    @cached_property
    def matrix(self) -> Array:
        product = self.parts[0].matrix
        for part in self.parts[1:]:
            product = product @ part.matrix
        return product

    @cached_property
    def support(self) -> NDArray[np.intp]:
        return support_of(self.structure)


@dataclass(frozen=True, eq=False, repr=False)
class Mean(Composition):
    """The entrywise mean over heads: what a layer mixes tokens with on average."""

    rule = staticmethod(of_mean)

    @cached_property
    def matrix(self) -> Array:
        total = self.parts[0].matrix.copy()
        for part in self.parts[1:]:
            total += part.matrix
        return total / len(self.parts)

    @cached_property
    def support(self) -> NDArray[np.intp]:
        """The places that any part may see: those that are not zero, and at least those of each part."""
        nonzero = np.count_nonzero(self.matrix, axis=1)
        return np.asarray(np.max([nonzero, *(part.support for part in self.parts)], axis=0), dtype=np.intp)


@dataclass(frozen=True, eq=False, repr=False)
class Concatenation(Composition):
    """The matrices of several heads side by side, [A_1 … A_H]: what a layer with H heads mixes its values with.

    The output of the layer is [A_1 … A_H] times the stacked X W_h, so that its column space is all that can come out.
    """

    rule = staticmethod(of_concatenation)

    @cached_property
    def matrix(self) -> Array:
        return np.concatenate([part.matrix for part in self.parts], axis=1)

    @cached_property
    def support(self) -> NDArray[np.intp]:
        return np.asarray(np.sum([part.support for part in self.parts], axis=0), dtype=np.intp)


Operator = Dense | Factored | Product | Mean | Concatenation


def weakest(subjects: list[Subject]) -> Subject:
    """The subject of a composition: scores only if every part is, stored if any part is."""
    order: tuple[Subject, ...] = ("scores", "factors", "log weights", "stored")
    return max(subjects, key=order.index)


def support_of(structure: Structure) -> NDArray[np.intp]:
    """How many entries of each row may differ from zero: those of the side on which the matrix stands."""
    rows, columns = structure.shape
    match structure.side.value:
        case "lower":
            return np.minimum(np.arange(rows) + 1, columns)
        case "upper":
            return np.maximum(columns - np.arange(rows), 0)
        case "diagonal":
            return np.ones(rows, dtype=np.intp)
    return np.full(rows, columns, dtype=np.intp)


def from_array(matrix: Array, storage: Storage = FLOAT64, origin: Origin | None = None) -> Dense:
    """Bare numbers as an operator: subject "stored", structure from the exact zero pattern."""
    structure = of_array(matrix)
    entries = np.diagonal(matrix)
    magnitude = np.abs(entries)
    with np.errstate(divide="ignore"):
        log = np.log(magnitude)
    sign = np.sign(entries).astype(np.int64) if np.isrealobj(matrix) else (magnitude > 0).astype(np.int64)
    error = np.where(magnitude > 0, 8 * UNIT * np.abs(log) + (0 if np.isrealobj(matrix) else 4 * UNIT), 0.0)
    diagonal = Diagonal(log, sign, error, "log|a_ii| of the stored diagonal")
    return Dense(
        matrix,
        structure,
        "stored",
        diagonal,
        support_of(structure),
        storage,
        origin=origin or Origin(dtype=storage.name),
    )


def stored(operator: Operator) -> Dense:
    """The numbers that are held, as a matrix in their own right; found once for each operator."""
    found: Dense | None = operator.__dict__.get("stored")
    if found is None:
        request = operator.request if isinstance(operator, Dense | Factored) else None
        bare = from_array(operator.matrix, operator.storage, operator.origin)
        found = replace(bare, support=operator.support, request=request)
        operator.__dict__["stored"] = found
    return found


def stored_differs(operator: Operator) -> str:
    """Why the stored numbers have facts of their own (fewer bits than float64, underflow); empty if they have none."""
    if operator.subject == "stored" or not isinstance(operator, Dense):
        return ""
    if operator.storage is not FLOAT64:
        return f"the matrix is stored in {operator.storage.name}"
    labels = operator.structure.blocks.value
    if labels is not None and len(labels):
        alone = np.bincount(labels)[labels] == 1
        vanished = (np.abs(np.diagonal(operator.matrix)) < SMALLEST) & (operator.diagonal.sign != 0)
        lost = int(np.count_nonzero(alone & vanished))
        if lost:
            return f"underflow: {lost} diagonal weights are below the smallest float64 of full precision"
    return ""


def norm(matrix: Array) -> float:
    """The Frobenius norm, as one vector norm; infinite where it overflows, and never zero by underflow."""
    with np.errstate(over="ignore"):
        found = float(np.linalg.norm(matrix.ravel()))
    if found > TINY_NORM or not matrix.size:
        return found
    exponent = power_of_two(matrix)
    return float(scaled(float(np.linalg.norm(scaled(matrix, -exponent).ravel())), exponent))
