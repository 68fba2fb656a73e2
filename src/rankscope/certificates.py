"""Certificates: exact statements about one matrix, with the numbers that the matrix is made of.

A certificate is a small JSON file that holds the given numbers themselves (or their SHA-256, with the arrays beside it
in a .npz file) and claims about the exact matrix that they make. It holds no proof: whoever checks it makes a proof of
his own, so that nothing in it need be believed. It is sealed with the SHA-256 of its canonical JSON (sorted keys, no
spaces, ASCII), which tells damage from falsehood.

Whatever is read may come from a stranger: a key that stands twice or is not known, NaN, a number of the wrong type, an
array of the wrong length, and a digest that does not fit are all refused with RS209.
"""

import base64
import hashlib
import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from rankscope import __version__
from rankscope.errors import RankscopeError, error
from rankscope.writing import atomic_write

Array = NDArray[Any]
Kind = Literal["softmax", "products", "stored", "product", "mean"]

FORMAT: Final = 1
"""The version of the format."""

EMBEDDED: Final = 2**16
"""The most numbers that stand in the certificate itself."""

LONGEST: Final = 256 * 2**20
"""The most bytes that are read."""

WIDEST: Final = 2**20
"""The longest side of an array: one that has another side of zero takes no bytes, however long it is."""

DEEPEST: Final = 8
"""How deeply products and means may be nested."""

TYPES: Final[dict[str, dict[str, str]]] = {
    "softmax": {"log_weights": "<f8"},
    "products": {"left": "<f8", "right": "<f8", "seen": "|b1", "uniform": "|b1"},
    "stored": {"matrix": "<f8"},
    "product": {},
    "mean": {},
}
"""The arrays of each kind, in order, and the type of their entries."""

SUBJECTS: Final = {"softmax": "scores", "products": "factors", "stored": "stored"}
"""Which exact matrix a kind speaks of; a product or a mean speaks of the least of its parts, in this order."""


def malformed(what: str) -> RankscopeError:
    """The error for a certificate that is not one."""
    return error(
        "RS209", f"the certificate is malformed or was altered: {what}", "ask for the original, or make it anew"
    )


def require(condition: bool, what: str) -> None:
    """Refuse a certificate of which `what` is true unless the condition holds."""
    if not condition:
        raise malformed(what)


# -------------------------------------------------------------------------------------------------------------- claims


@dataclass(frozen=True)
class Minor:
    """A square submatrix whose determinant is said not to be zero: a hint, which is never trusted."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def __post_init__(self) -> None:
        require(len(self.rows) == len(self.columns), "a minor is not square")
        for each in (self.rows, self.columns):
            require(len(set(each)) == len(each), "a minor names a row or a column twice")
            require(min(each, default=0) >= 0, "a minor names a negative row or column")


@dataclass(frozen=True)
class Rank:
    """low ≤ rank ≤ high, exactly."""

    low: int
    high: int
    minor: Minor | None = None


@dataclass(frozen=True)
class Determinant:
    """The sign of the determinant, and low ≤ ln|det| ≤ high; a bound that is None says nothing.

    Sign 0 says that the matrix is singular, and has no bounds.
    """

    sign: int
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        require(self.sign in (-1, 0, 1), "the sign of a determinant is not −1, 0 or 1")
        require(self.sign != 0 or self.low is self.high is None, "a determinant of zero has bounds of its logarithm")


@dataclass(frozen=True)
class Count:
    """low ≤ #{σ > tolerance} ≤ high."""

    tolerance: float
    low: int
    high: int

    def __post_init__(self) -> None:
        require(self.tolerance >= 0, "a tolerance is negative")


@dataclass(frozen=True)
class Smallest:
    """low ≤ log₁₀ σ_min ≤ high, where σ_min is the last of the min(rows, columns) singular values."""

    low: float
    high: float


Claim = Rank | Determinant | Count | Smallest

CLAIMS: Final[dict[str, type[Claim]]] = {
    "rank": Rank,
    "determinant": Determinant,
    "count": Count,
    "smallest": Smallest,
}


REAL: Final = (float, int)
ABSENT: Final = type(None)
FIELDS: Final[dict[type[Claim], dict[str, tuple[type, ...]]]] = {
    Rank: {"low": (int,), "high": (int,), "minor": (dict, ABSENT)},
    Determinant: {"sign": (int,), "low": (*REAL, ABSENT), "high": (*REAL, ABSENT)},
    Count: {"tolerance": REAL, "low": (int,), "high": (int,)},
    Smallest: {"low": REAL, "high": REAL},
}
"""The types of JSON of which the fields of a claim may be."""


def named(claim: Claim) -> str:
    """The name of a claim in the format."""
    return next(name for name, made in CLAIMS.items() if isinstance(claim, made))


# ------------------------------------------------------------------------------------------------------------- numbers


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
        order = list(SUBJECTS.values())
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
            raise error(
                "RS210", f"the certificate's array {missing[0]!r} is missing", "give the file beside it (--input)"
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
    own = {name: np.ascontiguousarray(typed(arrays[name], dtype)) for name, dtype in TYPES[kind].items()}
    for name, array in own.items():
        require(max(array.shape) <= WIDEST, f"the array {name!r} has a side longer than {WIDEST}")
        absent = np.isnan(array) | (array == np.inf) if name == "log_weights" else ~np.isfinite(array)
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
    require(bool(parts) == (kind in ("product", "mean")), f"a matrix of the kind {kind} has no parts, or needs some")
    match kind:
        case "product":
            joined = all(a.columns == b.rows for a, b in pairwise(parts))
            require(joined, "the parts of a product do not fit together")
            return parts[0].rows, parts[-1].columns
        case "mean":
            require(len({(part.rows, part.columns) for part in parts}) == 1, "the parts of a mean differ in shape")
            return parts[0].rows, parts[0].columns
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


# --------------------------------------------------------------------------------------------------------- certificate


@dataclass(frozen=True, eq=False)
class Certificate:
    """Claims about one exact matrix, and the numbers that make it."""

    label: str
    matrix: Numbers
    claims: tuple[Claim, ...]
    version: str = field(default=__version__)

    def __post_init__(self) -> None:
        require(len(self.claims) > 0, "it claims nothing")
        minors = [claim.minor for claim in self.claims if isinstance(claim, Rank) and claim.minor is not None]
        for minor in minors:
            inside = (
                max(minor.rows, default=-1) < self.matrix.rows and max(minor.columns, default=-1) < self.matrix.columns
            )
            require(inside, "a minor names a row or a column that the matrix does not have")

    def text(self) -> str:
        """The certificate as canonical JSON, sealed with its digest."""
        matrix = self.matrix if self.matrix.size <= EMBEDDED else self.matrix.bare()
        content = {
            "certificate": FORMAT,
            "rankscope": self.version,
            "label": self.label,
            "matrix": written(matrix),
            "claims": [{"claim": named(claim), **asdict(claim)} for claim in self.claims],
        }
        return canonical({**content, "sha256": seal(content)}) + "\n"

    def write(self, path: str | Path) -> list[Path]:
        """Write the certificate, and large arrays beside it as .npz; the paths of what was written."""
        path = Path(path)
        beside = path.with_suffix(".npz")
        large = self.matrix.size > EMBEDDED
        if large and beside == path:
            raise error(
                "RS502", f"{path.name!r} is the name of the arrays' own file", "let the certificate end in .json"
            )
        atomic_write(path, self.text().encode("ascii"))
        if not large:
            return [path]
        content = io.BytesIO()
        arrays = {
            name: array.astype(np.uint8) if array.dtype == bool else array for name, array in self.matrix.flat().items()
        }
        np.savez(content, allow_pickle=False, **arrays)
        atomic_write(beside, content.getvalue())
        return [path, beside]


def canonical(content: object) -> str:
    """JSON with sorted keys, no spaces and ASCII letters only: one text for one content."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def seal(content: Mapping[str, object]) -> str:
    """The SHA-256 of a certificate's canonical JSON without its seal."""
    return hashlib.sha256(canonical({name: x for name, x in content.items() if name != "sha256"}).encode()).hexdigest()


def written(matrix: Numbers) -> dict[str, object]:
    """The numbers of a matrix as JSON."""
    arrays = matrix.arrays if matrix.arrays is None else {name: encoded(array) for name, array in matrix.arrays.items()}
    return {
        "kind": matrix.kind,
        "subject": matrix.subject,
        "rows": matrix.rows,
        "columns": matrix.columns,
        "sha256": matrix.sha256,
        "arrays": arrays,
        "parts": [written(part) for part in matrix.parts],
    }


def encoded(array: Array) -> dict[str, object]:
    """An array as JSON: its bytes, the last index fastest, in base64."""
    text = base64.b64encode(array.tobytes()).decode("ascii")
    return {"dtype": array.dtype.str, "shape": list(array.shape), "base64": text}


# ------------------------------------------------------------------------------------------------------------- reading


TOP: Final[dict[str, tuple[type, ...]]] = {
    "certificate": (int,), "rankscope": (str,), "label": (str,), "matrix": (dict,), "claims": (list,), "sha256": (str,)
}  # fmt: skip
MATRIX: Final[dict[str, tuple[type, ...]]] = {
    "kind": (str,), "subject": (str,), "rows": (int,), "columns": (int,), "sha256": (str,), "arrays": (dict, ABSENT),
    "parts": (list,),
}  # fmt: skip
"""The fields of a certificate and of its matrix."""


def read(path: str | Path) -> Certificate:
    """The certificate in a file; RS501 where the file cannot be read, RS209 where it is not a certificate."""
    path = Path(path)
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise error("RS501", f"{path.name!r} does not exist, or is not a file", "give a certificate (.json)")
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as reason:
        raise error("RS501", f"cannot read {path.name!r}: {reason.strerror}", "give a certificate (.json)") from reason
    return parse(content)


def parse(content: bytes | str) -> Certificate:
    """A certificate from its text, whose seal must fit; RS209 otherwise."""
    require(len(content) <= LONGEST, f"it has more than {LONGEST} bytes")
    try:
        found = json.loads(content, object_pairs_hook=unique, parse_constant=refused)
        fields = taken(found, TOP)
        require(fields["sha256"] == seal(found), "its digest does not fit")
    except (ValueError, RecursionError) as reason:
        raise malformed(f"it is not strict JSON ({type(reason).__name__})") from reason
    require(fields["certificate"] == FORMAT, f"its format is not {FORMAT}")
    claims = tuple(claim_of(each) for each in fields["claims"])
    return Certificate(fields["label"], matrix_of(fields["matrix"], DEEPEST), claims, fields["rankscope"])


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, unless a key stands in it twice."""
    found = dict(pairs)
    require(len(found) == len(pairs), "a key stands twice in one object")
    return found


def refused(constant: str) -> NoReturn:
    """NaN and infinities are not JSON."""
    raise malformed(f"it holds {constant}")


def taken(value: object, types: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """A JSON object with exactly these keys, whose values have exactly one of these types (True is no integer)."""
    if not isinstance(value, dict) or value.keys() != types.keys():
        raise malformed(f"an object does not have exactly the keys {', '.join(types)}")
    for name, allowed in types.items():
        require(type(value[name]) in allowed, f"{name!r} is of the wrong type")
    return value


def claim_of(value: object) -> Claim:
    """One claim; whole numbers may stand for floats."""
    name = value.get("claim") if isinstance(value, dict) else None
    require(isinstance(name, str) and name in CLAIMS, f"a claim is none of {', '.join(CLAIMS)}")
    made = CLAIMS[str(name)]
    found = {key: x for key, x in taken(value, {"claim": (str,), **FIELDS[made]}).items() if key != "claim"}
    for key, types in FIELDS[made].items():
        if int in types and found[key] is not None:
            require(abs(found[key]) <= (sys.float_info.max if float in types else WIDEST), f"{key!r} is out of range")
            found[key] = float(found[key]) if float in types else found[key]
    if found.get("minor") is not None:
        found["minor"] = minor_of(found["minor"])
    return made(**found)


def minor_of(value: object) -> Minor:
    """The hint of a claim about the rank."""
    found = taken(value, {"rows": (list,), "columns": (list,)})
    require(all(type(index) is int for each in found.values() for index in each), "a minor is not of whole numbers")
    return Minor(tuple(found["rows"]), tuple(found["columns"]))


def matrix_of(value: object, room: int) -> Numbers:
    """The numbers of a matrix, whose arrays must have the shape and the digest that are declared."""
    require(room > 0, f"products and means are nested more than {DEEPEST} deep")
    found = taken(value, MATRIX)
    kind = found["kind"]
    require(kind in TYPES, f"a matrix is of none of the kinds {', '.join(TYPES)}")
    require(min(found["rows"], found["columns"]) >= 0, "a matrix has a negative side")
    parts = tuple(matrix_of(part, room - 1) for part in found["parts"])
    if found["arrays"] is not None:
        taken(found["arrays"], dict.fromkeys(TYPES[kind], (dict,)))
        require(all(part.arrays is not None for part in parts), "a part lacks its arrays")
        made = numbers(
            kind, {name: decoded(found["arrays"][name], dtype) for name, dtype in TYPES[kind].items()}, parts
        )
    else:
        require(all(part.arrays is None for part in parts), "a part has arrays and the whole has none")
        require(
            bool(parts) == (kind in ("product", "mean")), f"a matrix of the kind {kind} has no parts, or needs some"
        )
        made = Numbers(kind, found["rows"], found["columns"], found["sha256"], None, parts)
    for name in ("subject", "rows", "columns", "sha256"):
        require(found[name] == getattr(made, name), f"the {name} of a matrix is not that of its numbers")
    return made


def decoded(value: object, dtype: str) -> Array:
    """An array from its bytes in base64."""
    found = taken(value, {"dtype": (str,), "shape": (list,), "base64": (str,)})
    require(found["dtype"] == dtype, f"an array of {found['dtype']} where {dtype} is needed")
    shape = found["shape"]
    require(all(type(side) is int and side >= 0 for side in shape) and len(shape) <= 2, "an array has no such shape")
    try:
        content = base64.b64decode(found["base64"], validate=True)
    except ValueError as reason:
        raise malformed("the entries of an array are not base64") from reason
    require(len(content) == math.prod(shape) * np.dtype(dtype).itemsize, "an array is not as long as its shape says")
    require(dtype != "|b1" or set(content) <= {0, 1}, "a mask holds more than zeros and ones")
    return np.frombuffer(content, dtype).reshape(shape)
