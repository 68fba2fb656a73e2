"""What a matrix is to be made of, and what is decided before any weight is computed: empty rows, structure, rounding.

Softmax and linear attention share these decisions and differ only in their weights.
"""

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from rankscope.arrays import FLOAT64, Array, Boolean, Float64, Storage
from rankscope.attention.kernels import Kernel
from rankscope.attention.masks import Mask
from rankscope.attention.operators import Diagonal, norm
from rankscope.attention.origin import Origin
from rankscope.attention.positions import Piece, Place, Position
from rankscope.attention.structure import Fact, Structure, blocks_of_mask, distinct, least, square
from rankscope.attention.subject import Pair
from rankscope.errors import error

EmptyRows = Literal["error", "zero", "drop", "uniform"]

ELEMENTARY: Final = 8
"""Units of roundoff that numpy's exp and log may lose: its vectorised kernels document less than 4 ulp, of 2u each."""


@dataclass(frozen=True, eq=False, repr=False)
class Request:
    """What a matrix is to be made of: queries and keys, or scores; mask (also evaluated, as `seen`), scale, storage,
    policy and origin; the position with what it may depend on; the kernel; and the values that the head mixes, if they
    are known.
    """

    tokens: Pair
    mask: Mask
    seen: Boolean
    scale: float
    storage: Storage
    empty_rows: EmptyRows
    origin: Origin
    position: Position
    place: Place
    kernel: Kernel
    scores: Float64 | None = None
    values: Float64 | None = None

    @property
    def places(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The places of queries and keys: the queries are the last of the keys."""
        rows, columns = self.seen.shape
        return np.arange(columns - rows, columns), np.arange(columns)

    @property
    def full(self) -> bool:
        """Whether the mask is known to hide nothing."""
        return "everything" in self.mask.facts


def turned(request: Request, piece: Piece) -> Pair:
    """Queries and keys as the position turns them on one piece of the plane."""
    pair, turn = request.tokens, request.position.turn
    i, j = request.places
    return pair if turn is None else Pair(turn(pair.left, piece.query(i)), turn(pair.right, piece.key(j)))


def policy_for(request: Request, empty: NDArray[np.bool_], why: str = "the mask shows it no key") -> EmptyRows:
    """What happens to empty rows: as asked, zero for a strict triangle, an error that lists them otherwise."""
    seen = request.seen
    if not empty.any() or request.empty_rows != "error":
        return request.empty_rows
    strict = square(seen.shape) and not np.diagonal(seen).any() and not (np.tril(seen).any() and np.triu(seen).any())
    if strict and np.array_equal(empty, ~seen.any(axis=1)):
        return "zero"
    raise error(
        "RS120",
        f"{named_rows(empty)} of {request.mask.label} attention: {why}",
        "choose --empty-rows zero, drop or uniform (empty_rows= in Python)",
    )


def named_rows(bad: NDArray[np.bool_]) -> str:
    """The rows that are marked, the first five by number."""
    rows = np.flatnonzero(bad)
    listed = ", ".join(str(i) for i in rows[:5]) + (", …" if len(rows) > 5 else "")
    return f"{'row' if len(rows) == 1 else f'{len(rows)} rows:'} {listed} (counted from 0)"


def structure_of(
    request: Request,
    seen: Boolean,
    diagonal: Diagonal,
    empty: NDArray[np.bool_],
    policy: EmptyRows,
    bounds: list[tuple[int, str]],
    row_sum: Fact[float | None],
    offdiagonal: tuple[int, str] | None = None,
) -> Structure:
    """What must be true of mask × kernel at this size.

    `bounds` are upper bounds of the rank that the kernel knows, `offdiagonal` one of every part beside the diagonal.
    """
    shape, kernel = seen.shape, request.origin.kernel
    zero_rows = int(np.count_nonzero(empty)) if policy == "zero" else 0
    unchanged = not empty.any() or policy == "zero"
    mask = request.mask if unchanged else Mask(f"{request.mask.label} with {policy} rows", request.mask.allows)
    blocks, side = blocks_of_mask(mask, seen)
    sign: Fact[int | None] = Fact(None, f"no theorem gives the sign for {mask.label} {kernel} attention")
    visible = int(np.count_nonzero(seen.any(axis=0)))
    bounds = [
        (min(shape), f"a matrix of {shape[0]} × {shape[1]}"),
        (visible, "the number of keys that are seen"),
        *bounds,
    ]
    if zero_rows:
        bounds.append((shape[0] - zero_rows, "the number of rows that are not zero"))
        row_sum = Fact(None, f"{zero_rows} rows see nothing and are zero")
        sign = Fact(0, f"{zero_rows} rows are zero") if square(shape) else sign
    beside = None if offdiagonal is None else Fact(offdiagonal[0], f"at most {offdiagonal[0]}: {offdiagonal[1]}")
    structure = Structure(shape, blocks, side, least(bounds), row_sum, sign, beside)
    labels = structure.blocks.value
    if labels is None or len(labels) == 0:
        return structure
    alone = np.bincount(labels)[labels] == 1
    zeros = int(np.count_nonzero(alone & (diagonal.sign == 0) & np.isfinite(diagonal.error)))
    if not structure.triangular:
        if not zeros:
            return structure
        because = f"diagonal blocks of size 1 that are zero: {zeros}"
        return replace(structure, rank_bound=least([*bounds, (shape[0] - 1, because)]), det_sign=Fact(0, because))
    shape_name = f"{side.value} triangular" if side.value in ("lower", "upper") else "triangular in a suitable order"
    if zeros:
        because = f"{shape_name} with {zeros} {'zero' if zeros == 1 else 'zeros'} on the diagonal"
        bounds.append((shape[0] - 1, because))
        return replace(structure, rank_bound=least(bounds), det_sign=Fact(0, because))
    if np.isinf(diagonal.error).any():
        return replace(structure, det_sign=Fact(None, "a diagonal entry is lost to cancellation or underflow"))
    because = f"{shape_name} with {'a positive' if (diagonal.sign > 0).all() else 'no zero on its'} diagonal"
    return replace(structure, det_sign=Fact(int(np.prod(diagonal.sign)), because))


def distinct_tokens(tokens: Pair, left: str, right: str) -> list[tuple[int, str]]:
    """Upper bounds of the rank of a matrix whose rows and columns depend on one token each."""
    return [
        (distinct(tokens.left), f"the number of distinct {left}"),
        (distinct(tokens.right), f"the number of distinct {right}"),
    ]


def finished(origin: Origin, policy: EmptyRows, empty: NDArray[np.bool_]) -> Origin:
    """The origin, with a note on what was done to empty rows."""
    if not empty.any():
        return origin
    done = {"zero": "kept as zero rows", "drop": "dropped", "uniform": "made uniform"}[policy]
    return replace(origin, notes=(*origin.notes, f"rows that see nothing: {int(np.count_nonzero(empty))}, {done}"))


def stored_away(weights: Array, storage: Storage) -> float:
    """A bound on the Frobenius norm of what rounding to `storage` changes: u·‖A‖_F + √(nm)·η."""
    return 0.0 if storage is FLOAT64 else storage.unit * norm(weights) + math.sqrt(weights.size) * storage.smallest


def summation(count: int) -> float:
    """Units of roundoff that numpy's pairwise sum of `count` numbers of one sign can lose: 8 accumulators over blocks
    of 128, then halving (`numpy.sum`, Notes).
    """
    return 20 + math.log2(max(count, 1))
