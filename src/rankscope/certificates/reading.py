"""A certificate is read as a stranger's: whatever is not exactly one is refused."""

import base64
import json
import math
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np

from rankscope.certificates.certificate import FORMAT, Certificate, seal
from rankscope.certificates.claims import CLAIMS, Claim, Count, Determinant, Minor, Rank, Smallest
from rankscope.certificates.matrix import COMPOSED, TYPES, WIDEST, Array, Numbers, numbers
from rankscope.certificates.refusal import malformed, require
from rankscope.errors import error

LONGEST: Final = 256 * 2**20
"""The most bytes that are read."""

DEEPEST: Final = 8
"""How deeply products and means may be nested."""

REAL: Final = (float, int)
ABSENT: Final = type(None)

TOP: Final[dict[str, tuple[type, ...]]] = {
    "certificate": (int,), "rankscope": (str,), "label": (str,), "matrix": (dict,), "claims": (list,), "sha256": (str,)
}  # fmt: skip
MATRIX: Final[dict[str, tuple[type, ...]]] = {
    "kind": (str,), "subject": (str,), "rows": (int,), "columns": (int,), "sha256": (str,), "arrays": (dict, ABSENT),
    "parts": (list,),
}  # fmt: skip
"""The fields of a certificate and of its matrix."""

FIELDS: Final[dict[type[Claim], dict[str, tuple[type, ...]]]] = {
    Rank: {"low": (int,), "high": (int,), "minor": (dict, ABSENT)},
    Determinant: {"sign": (int,), "low": (*REAL, ABSENT), "high": (*REAL, ABSENT)},
    Count: {"tolerance": REAL, "low": (int,), "high": (int,)},
    Smallest: {"low": REAL, "high": REAL},
}
"""The types of JSON of which the fields of a claim may be."""


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
        found = json.loads(content, object_pairs_hook=unique, parse_constant=refused, parse_float=shortest)
        if isinstance(found, dict) and "records" in found:
            raise malformed("it is the result of an analysis, which proves nothing: see --certificate")
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


def shortest(text: str) -> float:
    """A float64 from the digits that JSON has for it: a number that lies beside it would be another claim."""
    number = float(text)
    try:
        same = math.isfinite(number) and Decimal(repr(number)) == Decimal(text)
    except ArithmeticError:  # an exponent beyond those of Decimal
        same = False
    require(same, "it holds digits that no float64 has")
    return number


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
            if float in types:
                require(float(found[key]) == found[key], f"{key!r} is not a float64")
                found[key] = float(found[key])
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
        require(bool(parts) == (kind in COMPOSED), f"a matrix of the kind {kind} has no parts, or needs some")
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
