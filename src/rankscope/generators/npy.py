"""The one array of a .npy file, or of a member of an archive.

numpy's own reader allocates what a header declares and takes trailing bytes, so the header is parsed here.
"""

import ast
import math
import re
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import numpy as np

from rankscope.generators.stored import (
    Archive,
    Layout,
    Stored,
    converted,
    displayed,
    lying,
    malformed,
    part,
    shape_of,
    unsupported,
    where,
)

MAGIC: Final = b"\x93NUMPY"
NPY_HEADER: Final = 10_000  # numpy's own limit: longer ones can exhaust the parser of Python literals


def open_npy(path: Path, file: BufferedReader, length: int) -> Archive:
    """The one array of a .npy file."""
    what = where(path)
    layout = npy_layout(what, file.read(NPY_HEADER + 12), length)
    if layout.numbers is None:
        raise unsupported(what, layout.dtype)
    read = partial(converted, what, layout, partial(part, path, what, layout))
    return Archive(path, [Stored("", layout.shape, layout.dtype, read)])


def npy_layout(what: str, head: bytes, length: int) -> Layout:
    """What the header at the beginning of `head` says about the `length` bytes of a .npy file."""
    if head[:6] != MAGIC[: len(head)]:
        raise malformed(what, "does not begin as a .npy file does")
    width = {b"\1\0": 2, b"\2\0": 4, b"\3\0": 4}.get(head[6:8], 0)
    start = 8 + width + (declared := int.from_bytes(head[8 : 8 + width], "little"))
    if declared > NPY_HEADER or start > len(head):
        raise lying(what, f"ends within its header, or declares {declared} bytes for it; {NPY_HEADER} are the most")
    if not width:
        raise malformed(what, f"is of version {head[6]}.{head[7]} of the .npy format; 1.0, 2.0 and 3.0 are known")
    try:  # version 3.0 is UTF-8, but only the names in a record, which is refused, are beyond ASCII
        header = ast.literal_eval(head[8 + width : start].decode("latin-1"))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as reason:
        raise malformed(what, f"has a header that is not a Python literal ({type(reason).__name__})") from reason
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise malformed(what, "has a header without exactly the keys descr, fortran_order and shape")
    if not isinstance(header["fortran_order"], bool) or not isinstance(header["shape"], tuple):
        raise malformed(what, "has a header whose fortran_order is not a bool, or whose shape is not a tuple")
    shape = shape_of(what, header["shape"])
    dtype, numbers = npy_type(header["descr"])
    size = math.prod(shape) * numbers.itemsize if numbers else 0
    if numbers and start + size != length:
        raise lying(what, f"declares {dtype} of shape {shape}, {size} bytes, and holds {length - start}")
    return Layout(shape, dtype, numbers, start, size, "F" if header["fortran_order"] else "C")


def npy_type(described: object) -> tuple[str, np.dtype[Any] | None]:
    """A number type by its name in a .npy header; numpy is asked only about names that can be numbers."""
    if not isinstance(described, str):
        return "structured", None
    if re.fullmatch("[<>=|]?O[0-9]*", described):
        return "object", None
    if re.fullmatch("[<>=|]?[biufc][0-9]{1,2}", described):
        try:
            numbers = np.dtype(described)
        except TypeError:  # such as a float of 3 bytes, or of 16 bytes on a machine that has none
            return described, None
        return numbers.newbyteorder("=").name, numbers
    return displayed(described), None
