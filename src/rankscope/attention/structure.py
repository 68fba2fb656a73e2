"""What must be true of a matrix, whatever its numbers: each fact with its reason.

Let query i point at every key that it sees. The strongly connected components of this graph, in a suitable order,
make the matrix block triangular, so that its determinant is the product of those of its diagonal blocks. Causal
attention is the case in which every block has size 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from rankscope.arrays import Array, Boolean
from rankscope.attention.masks import Mask
from rankscope.errors import error

Side = Literal["lower", "upper", "diagonal", "none"]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Fact(Generic[T]):
    """Something that is known, and why."""

    value: T
    because: str


@dataclass(frozen=True, eq=False, repr=False)
class Structure:
    """What is known of a matrix of `shape` before any factorisation.

    `blocks` labels each index with its diagonal block (None when not square), `side` is where entries may stand,
    `rank_bound` is an upper bound of the exact rank, `row_sum` the sum of every row if there is one,
    `det_sign` the sign of the determinant where a theorem gives it, and `offdiagonal_bound` an upper bound of the rank
    of every block A[k:, :k] and A[:k, k:], where the kernel knows one.
    """

    shape: tuple[int, int]
    blocks: Fact[NDArray[np.intp] | None]
    side: Fact[Side]
    rank_bound: Fact[int]
    row_sum: Fact[float | None]
    det_sign: Fact[int | None]
    offdiagonal_bound: Fact[int] | None = None

    @property
    def triangular(self) -> bool:
        """Whether every diagonal block has size 1, so that the determinant is the product of the diagonal."""
        labels = self.blocks.value
        return labels is not None and (len(labels) == 0 or int(labels.max()) + 1 == len(labels))


def square(shape: tuple[int, int]) -> bool:
    """Whether a shape is n × n."""
    return shape[0] == shape[1]


def blocks_of_mask(mask: Mask, seen: Boolean) -> tuple[Fact[NDArray[np.intp] | None], Fact[Side]]:
    """Blocks and side from the facts of a mask where they settle it, from the mask itself at this size otherwise.

    The facts are true at this size: `refuse_false_facts` has seen to it.
    """
    rows, columns = seen.shape
    if rows == columns and rows > 1:
        if {"lower", "upper"} <= mask.facts:
            because = f"{mask.label}: no query sees any key but its own"
            return Fact(np.arange(rows), because), Fact("diagonal", because)
        if "lower" in mask.facts:
            return Fact(np.arange(rows), f"{mask.label}: no query sees a later key"), lower("no query sees a later key")
        if "upper" in mask.facts:
            return Fact(np.arange(rows), f"{mask.label}: no query sees an earlier key"), upper(
                "no query sees an earlier key"
            )
        if "everything" in mask.facts:
            because = f"{mask.label}: every query sees every key"
            return Fact(np.zeros(rows, dtype=np.intp), because), Fact("none", because)
    return blocks_of_pattern(seen, f"{mask.label} at n = {columns}")


def refuse_false_facts(mask: Mask, seen: Boolean) -> None:
    """Refuse a mask whose facts are not true of what is seen (RS005): proofs rest on them."""
    if seen.shape[0] != seen.shape[1]:
        return
    false = {"lower": np.triu(seen, 1).any(), "upper": np.tril(seen, -1).any(), "everything": not seen.all()}
    for fact in sorted(mask.facts & false.keys()):
        if false[fact]:
            remedy = "leave the fact out: it is then derived from the mask itself"
            raise error("RS005", f"the mask {mask.label!r} claims {fact!r}, which is false at n = {len(seen)}", remedy)


def lower(because: str) -> Fact[Side]:
    """Lower triangular, and why."""
    return Fact("lower", f"lower triangular: {because}")


def upper(because: str) -> Fact[Side]:
    """Upper triangular, and why."""
    return Fact("upper", f"upper triangular: {because}")


def blocks_of_pattern(pattern: Boolean, name: str) -> tuple[Fact[NDArray[np.intp] | None], Fact[Side]]:
    """Blocks and side of a pattern of possibly non-zero entries, called `name` in the reasons."""
    rows, columns = pattern.shape
    above = bool(np.triu(pattern, 1).any())
    below = bool(np.tril(pattern, -1).any())
    side: Fact[Side]
    match above, below:
        case False, False:
            side = Fact("diagonal", f"diagonal: {name} has no entry off the diagonal")
        case False, True:
            side = lower(f"{name} has no entry above the diagonal")
        case True, False:
            side = upper(f"{name} has no entry below the diagonal")
        case _:
            side = Fact("none", f"{name} has entries on both sides of the diagonal")
    if rows != columns:
        return Fact(None, f"not square: {rows} × {columns}"), side
    labels = components(pattern)
    count = int(labels.max(initial=-1)) + 1
    return Fact(labels, f"{name}: {count} strongly connected components among {rows} indices"), side


def components(pattern: Boolean) -> NDArray[np.intp]:
    """The strongly connected component of each index, numbered by first appearance.

    Cuts that make the matrix block triangular as it stands are found first, in O(n²); only a block that is still not
    strongly connected needs a graph search.
    """
    size = len(pattern)
    if size == 0:
        return np.zeros(0, dtype=np.intp)
    indices = np.arange(size)
    last = np.where(pattern.any(axis=1), size - 1 - pattern[:, ::-1].argmax(axis=1), indices)
    first = np.where(pattern.any(axis=1), pattern.argmax(axis=1), indices)
    cut_below = np.maximum.accumulate(last)[:-1] < indices[1:]
    cut_above = np.minimum.accumulate(first[::-1])[::-1][1:] >= indices[1:]
    labels = np.concatenate([[0], np.cumsum(cut_below | cut_above)])
    offset = 0
    for label, width in enumerate(np.bincount(labels)):
        members = slice(offset, offset + int(width))
        offset += int(width)
        if width > 1 and not connected(pattern[members, members]):
            from scipy.sparse import csr_array
            from scipy.sparse.csgraph import connected_components

            inner = connected_components(csr_array(pattern[members, members]), connection="strong")[1]
            labels[members] = size * (label + 1) + inner
    appearance, inverse = np.unique(labels, return_inverse=True)
    order = np.full(len(appearance), size)
    np.minimum.at(order, inverse, indices)
    return np.argsort(np.argsort(order))[inverse].astype(np.intp)


def connected(pattern: Boolean) -> bool:
    """Whether every index reaches every other: both searches from the first index meet all."""
    return reaches_all(pattern) and reaches_all(pattern.T)


def reaches_all(pattern: Boolean) -> bool:
    """Whether a search from the first index meets all."""
    met = np.zeros(len(pattern), dtype=bool)
    met[0] = True
    front = np.array([0])
    while len(front):
        following = pattern[front].any(axis=0) & ~met
        met |= following
        front = np.flatnonzero(following)
    return bool(met.all())


def distinct(rows: Array) -> int:
    """The number of different rows, compared bit by bit after −0 is made 0."""
    return len({row.tobytes() for row in np.ascontiguousarray(rows + 0.0)})


def of_array(matrix: Array) -> Structure:
    """The structure of bare numbers, from their exact zero pattern and from rows or columns that are equal."""
    pattern = matrix != 0
    blocks, side = blocks_of_pattern(pattern, "the zero pattern of the array")
    rows, columns = matrix.shape
    bounds = [
        (min(rows, columns), f"a matrix of {rows} × {columns}"),
        (int(np.count_nonzero(pattern.any(axis=1))), "the number of non-zero rows"),
        (int(np.count_nonzero(pattern.any(axis=0))), "the number of non-zero columns"),
    ]
    structure = Structure((rows, columns), blocks, side, Fact(*min(bounds)), no_row_sum, Fact(None, "no theorem"))
    if structure.triangular:
        diagonal = np.diagonal(matrix)
        zeros = int(np.count_nonzero(diagonal == 0))
        because = (
            f"triangular with {zeros} zeros on the diagonal" if zeros else "triangular with no zero on its diagonal"
        )
        bounds.insert(0, (rows - (zeros > 0), because))
        sign = int(np.prod(np.sign(diagonal))) if np.isrealobj(matrix) else 0 if zeros else None
        return Structure((rows, columns), blocks, side, least(bounds), no_row_sum, Fact(sign, because))
    bounds.append((distinct(matrix), "the number of distinct rows"))
    bounds.append((distinct(matrix.T), "the number of distinct columns"))
    return Structure((rows, columns), blocks, side, least(bounds), no_row_sum, Fact(None, "no theorem"))


def separated(matrix: Array, unit: float) -> int:
    """How many rows differ from another one, but by no more than rounding: |a − b| ≤ 4u·max(|a|, |b|) in each entry.

    Rows are compared with their neighbours in the order of one projection, so that some may be missed.
    """
    if not matrix.size:
        return 0
    with np.errstate(over="ignore", invalid="ignore"):
        order = np.argsort(matrix @ np.cos(np.arange(matrix.shape[1])), kind="stable")
        first, second = matrix[order[:-1]], matrix[order[1:]]
        close = (np.abs(first - second) <= 4 * unit * np.maximum(np.abs(first), np.abs(second))).all(axis=1)
    return int(np.count_nonzero(close & (first != second).any(axis=1)))


no_row_sum: Fact[float | None] = Fact(None, "bare numbers: nothing says that rows sum to one")


def least(bounds: Sequence[tuple[int, str]]) -> Fact[int]:
    """The least of several upper bounds of the rank; of equal ones the first."""
    value, because = min(bounds, key=lambda bound: bound[0])
    return Fact(value, f"at most {value}: {because}")
