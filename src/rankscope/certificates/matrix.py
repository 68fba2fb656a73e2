"""The numbers that make one exact matrix."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from rankscope.certificates.refusal import require
from rankscope.errors import error

Array = NDArray[Any]
Kind = Literal[
    "softmax",
    "shares",
    "sink",
    "sink-shares",
    "weights",
    "products",
    "recurrence",
    "stored",
    "product",
    "mean",
    "concatenation",
]

COMPOSED: Final = ("product", "mean", "concatenation")

WIDEST: Final = 2**20
"""The longest side of an array: one that has another side of zero takes no bytes, however long it is."""

TYPES: Final[dict[str, dict[str, str]]] = {
    "softmax": {"log_weights": "<f8"},
    "shares": {"log_weights": "<f8"},
    "sink": {"log_weights": "<f8", "sink": "<f8"},
    "sink-shares": {"log_weights": "<f8", "sink": "<f8"},
    "weights": {"log_weights": "<f8"},
    "products": {"left": "<f8", "right": "<f8", "seen": "|b1", "uniform": "|b1"},
    "recurrence": {"left": "<f8", "right": "<f8", "gates": "<f8", "erase": "<f8", "backward": "|b1"},
    "stored": {"matrix": "<f8"},
    "product": {},
    "mean": {},
    "concatenation": {},
}
"""The arrays of each kind, in order, and the type of their entries."""

SUBJECTS: Final = {
    "softmax": "scores",
    "sink": "scores",
    "products": "factors",
    "recurrence": "factors",
    "shares": "log weights",
    "sink-shares": "log weights",
    "weights": "log weights",
    "stored": "stored",
}
"""Which exact matrix a kind speaks of; a product or a mean speaks of the least of its parts, in this order."""


@dataclass(frozen=True, eq=False, repr=False)
class Numbers:
    """The numbers that make one exact matrix: arrays by name, or the parts of a product or a mean.

    `arrays` is None, in the parts too, where only the digest is known. Make one with `numbers`.
    """

    kind: Kind
    rows: int
    columns: int
    sha256: str
    arrays: Mapping[str, Array] | None
    parts: tuple["Numbers", ...] = ()

    @property
    def subject(self) -> str:
        """Which exact matrix is meant."""
        order = list(dict.fromkeys(SUBJECTS.values()))
        return SUBJECTS.get(self.kind) or max((part.subject for part in self.parts), key=order.index)

    @property
    def size(self) -> int:
        """How many numbers there are in all; none where only the digest is known."""
        return sum(array.size for array in self.flat().values())

    def flat(self, prefix: str = "") -> dict[str, Array]:
        """Every array in order; those of part i have names that begin with "i."."""
        found = {prefix + name: array for name, array in (self.arrays or {}).items()}
        for index, part in enumerate(self.parts):
            found |= part.flat(f"{prefix}{index}.")
        return found

    def bare(self) -> "Numbers":
        """The same without its arrays."""
        return replace(self, arrays=None, parts=tuple(part.bare() for part in self.parts))

    def filled(self, arrays: Mapping[str, Array], prefix: str = "") -> "Numbers":
        """The same with its arrays, which are refused (RS210) unless they are those of which the digest is known."""
        names = [prefix + name for name in TYPES[self.kind]]
        missing = [name for name in names if name not in arrays]
        if missing:
            given = f"{missing[0]!r} is not among the arrays that were given" if arrays else "its numbers are not in it"
            raise error(
                "RS210", f"the certificate cannot be checked: {given}", "give the .npz file beside it (--input)"
            )
        own = {name: typed(arrays[prefix + name], kind) for name, kind in TYPES[self.kind].items()}
        parts = [part.filled(arrays, f"{prefix}{index}.") for index, part in enumerate(self.parts)]
        found = numbers(self.kind, own, parts)
        if (found.sha256, found.rows, found.columns) != (self.sha256, self.rows, self.columns):
            raise error("RS210", "the arrays are not those of the certificate", "give the file beside it (--input)")
        return found


def numbers(kind: Kind, arrays: Mapping[str, Array], parts: Sequence[Numbers] = ()) -> Numbers:
    """Arrays, or parts, as the numbers of a matrix of this kind; RS209 where they do not fit together.

    >>> numbers("stored", {"matrix": np.eye(2)}).sha256[:16]
    '91c03f2a0de1cdd5'
    """
    require(arrays.keys() == TYPES[kind].keys(), f"a matrix of the kind {kind} has other arrays")
    own = {name: np.array(typed(arrays[name], dtype), order="C", copy=None) for name, dtype in TYPES[kind].items()}
    for name, array in own.items():
        require(max(array.shape, default=0) <= WIDEST, f"the array {name!r} has a side longer than {WIDEST}")
        absent = np.isnan(array) | (array == np.inf) if name in ("log_weights", "sink") else ~np.isfinite(array)
        require(not absent.any(), f"the array {name!r} holds entries that are not finite")
    rows, columns = shape_of(kind, {name: array.shape for name, array in own.items()}, parts)
    digest = hashlib.sha256()
    for array in [*own.values(), *(array for part in parts for array in part.flat().values())]:
        digest.update(repr(array.shape).encode())
        digest.update(array.tobytes())
    return Numbers(kind, rows, columns, digest.hexdigest(), own, tuple(parts))


def typed(array: Array, dtype: str) -> Array:
    """An array with entries of this type; zeros and ones become Booleans, and nothing else does."""
    array = np.asarray(array)
    if dtype == "|b1" and array.dtype != np.bool_:
        require(
            array.dtype.kind in "iuf" and bool(np.isin(array, (0, 1)).all()), "a mask holds more than zeros and ones"
        )
        return array.astype(np.bool_)
    require(array.dtype == dtype, f"an array of {array.dtype} where {dtype} is needed")
    return array


def shape_of(kind: Kind, shapes: Mapping[str, tuple[int, ...]], parts: Sequence[Numbers]) -> tuple[int, int]:
    """The shape of a matrix from those of its arrays or parts, which must fit together."""
    require(bool(parts) == (kind in COMPOSED), f"a matrix of the kind {kind} has no parts, or needs some")
    match kind:
        case "product":
            joined = all(a.columns == b.rows for a, b in pairwise(parts))
            require(joined, "the parts of a product do not fit together")
            return parts[0].rows, parts[-1].columns
        case "mean":
            require(len({(part.rows, part.columns) for part in parts}) == 1, "the parts of a mean differ in shape")
            return parts[0].rows, parts[0].columns
        case "concatenation":
            require(len({part.rows for part in parts}) == 1, "the parts of a concatenation differ in their rows")
            return parts[0].rows, sum(part.columns for part in parts)
        case "recurrence":
            (shape, *others), flag = [shapes[name] for name in ("left", "right", "gates", "erase")], shapes["backward"]
            together = len(shape) == 2 and all(other == shape for other in others) and flag == (1,)
            require(together, "the arrays of a recurrence do not fit together")
            return shape[0], shape[0]
        case "sink" | "sink-shares":
            shape = shapes["log_weights"]
            require(len(shape) == 2 and shapes["sink"] == shape[:1], "the sink does not have one entry for each row")
        case "products":
            shape = shapes["seen"]
            fits = [len(shapes[name]) == 2 for name in ("left", "right", "seen")]
            require(all(fits) and shapes["left"][1] == shapes["right"][1], "the factors do not fit together")
            require(shape == (shapes["left"][0], shapes["right"][0]), "the factors do not have the shape of the mask")
            require(shapes["uniform"] == shape[:1], "the uniform rows do not have the length of the mask")
        case _:
            (shape,) = shapes.values()
            require(len(shape) == 2, "a matrix does not have two dimensions")
    return shape[0], shape[1]
