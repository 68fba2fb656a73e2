"""An array of a file that a stranger may have written, and what every format of such files does alike.

A header is a claim, and it is compared with the file's length before anything is allocated. Whatever reads a format
turns its header into a `Layout`; only then are the bytes read, and converted to numbers.

A name from a file is text: it stays as it is in `Stored.name`, never becomes a path, and is shown to people through
`displayed`.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from rankscope.arrays import STORAGES, Given, check_memory, from_bfloat16, given
from rankscope.errors import RankscopeError, error

LONGEST_NAME: Final = 120
DIMENSIONS: Final = 32  # numpy's limit before its version 2, and far more than layer × head × row × column
ENTRIES: Final = 2**40  # an array with a side of 0 takes no bytes, so no file's length bounds its other sides

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Stored:
    """One array of a file, not yet read.

    `name` is as in the file (without the `.npy` of an archive's member; empty for a .npy file). `read()` reads exactly
    this array and converts it exactly, as `rankscope.arrays.given` does and with the same errors.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Given]


@dataclass(frozen=True)
class Archive:
    """A file and its arrays, in the file's order; `metadata` is what a .safetensors file says about itself."""

    path: Path
    arrays: list[Stored]
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """How an array lies in its bytes: `size` of them from `start` on; `numbers` is None for a type that is not read."""

    shape: tuple[int, ...]
    dtype: str
    numbers: np.dtype[Any] | None
    start: int
    size: int
    order: Literal["C", "F"] = "C"


def displayed(name: str) -> str:
    r"""A name from a file, safe to show: what does not print is escaped, and 120 characters are the most.

    Control characters, terminal sequences, marks that turn the direction of text and lone surrogates do not print.
    Signs that mean something to one output only (`[`, `$`, `<`) stay: that output escapes them.

    >>> displayed("layer.3\x1b[2J")
    'layer.3\\x1b[2J'
    """
    signs = name[: LONGEST_NAME + 1]
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in signs)
    return shown if len(shown) <= LONGEST_NAME else shown[: LONGEST_NAME - 1] + "…"


def where(path: Path, name: str = "") -> str:
    """How a message names a file (never its folder), or an array of it."""
    file = f"'{displayed(path.name)}'"
    return f"the array '{displayed(name)}' of {file}" if name else file


def lying(what: str, how: str) -> RankscopeError:
    """The error for declared sizes that do not fit the file."""
    return error("RS202", f"{what} {how}", "write or download the file again")


def malformed(what: str, how: str) -> RankscopeError:
    """The error for a header that cannot be understood."""
    return error("RS203", f"{what} {how}", "write or download the file again")


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """The file at `path`, to be read only; what the system refuses is RS501."""
    remedy = "give the name of a file that exists and may be read"
    try:
        if path.is_dir():
            raise error("RS501", f"{where(path)} is a folder", "for the folder of a model there is rankscope model")
        if not path.is_file():  # a pipe would wait for ever, and a device has no length
            raise error("RS501", f"{where(path)} does not exist, or is not a file", remedy)
        with path.open("rb") as file:
            yield file
    except OSError as reason:
        raise error("RS501", f"cannot read {where(path)}: {reason.strerror}", remedy) from reason


def part(path: Path, what: str, layout: Layout) -> Bytes:
    """The bytes of an array that lies in its file as it is."""
    content = np.empty(layout.size, np.uint8)
    with opened(path) as file:
        file.seek(layout.start)
        if file.readinto(content.data) != layout.size:
            raise lying(what, "has become shorter since it was opened")
    return content


def converted(what: str, layout: Layout, load: Callable[[], Bytes]) -> Given:
    """The numbers, in float64, of the array that lies as `layout` in the bytes that `load` gives."""
    if layout.numbers is None:
        raise unsupported(what, layout.dtype)
    wide = 16 if layout.numbers.kind == "c" else 12 if layout.dtype == "bfloat16" else 8
    check_memory(layout.size + wide * math.prod(layout.shape), what, "save fewer rows or heads in one array")
    values = np.ndarray(layout.shape, layout.numbers, load().data, order=layout.order)
    with np.errstate(invalid="ignore"):  # converting a signalling NaN; `check_finite` refuses every NaN with its place
        if layout.dtype == "bfloat16":
            return Given(from_bfloat16(values.ravel()).reshape(layout.shape), STORAGES["bfloat16"])
        return given(values, what)


def unsupported(what: str, dtype: str) -> RankscopeError:
    """The error for an array whose entries are not read as numbers."""
    if dtype == "object":
        remedy = "save numbers, with numpy.save(FILE, numpy.array(rows, dtype=float))"
        return error("RS201", f"{what} holds pickled objects, which can run code and are never read", remedy)
    remedy = "save it as floating-point numbers or integers, or as bfloat16 in a .safetensors file"
    if dtype.startswith("F8_"):
        remedy = "convert it with .to(torch.bfloat16), which is exact, and save it again"
    return error("RS206", f"{what} holds entries of type {dtype}", remedy)


def shape_of(what: str, sides: list[Any] | tuple[Any, ...]) -> tuple[int, ...]:
    """A declared shape, if it is one that an array can have."""
    if len(sides) > DIMENSIONS or any(type(side) is not int for side in sides):
        raise malformed(what, f"has a shape that is not a list of at most {DIMENSIONS} whole numbers")
    if min(sides, default=0) < 0 or math.prod(side or 1 for side in sides) > ENTRIES:
        raise lying(what, "has a shape with a negative side, or with more than 2^40 entries")
    return tuple(sides)
