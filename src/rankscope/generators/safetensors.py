"""The arrays of a .safetensors file: a header in JSON, and the bytes of the arrays one after the other."""

import json
import math
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import numpy as np

from rankscope.arrays import check_memory
from rankscope.errors import error
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
    where,
)

TENSOR_HEADER: Final = 100_000_000  # the reference implementation's own limit
TENSORS: Final = 10**6

TENSOR_TYPES: Final = {"BOOL": "bool", "BF16": "bfloat16", "C64": "complex64"} | {
    f"{kind[0].upper()}{bits}": f"{kind}{bits}" for kind in ("float", "int", "uint") for bits in (8, 16, 32, 64)
}
del TENSOR_TYPES["F8"]


def open_safetensors(path: Path, file: BufferedReader, length: int) -> Archive:
    """The arrays of a .safetensors file, whose data they must fill without overlap, hole or rest."""
    what = where(path)
    declared = int.from_bytes(file.read(8), "little")
    if declared > min(TENSOR_HEADER, length - 8):
        raise lying(what, f"has {length} bytes and a header of {declared}; {TENSOR_HEADER} are the most for a header")
    check_memory(40 * declared, f"the header of {what}", "save fewer arrays in one file")
    header = tensor_header(what, file.read(declared))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise malformed(what, "has metadata whose values are not all text")
    if len(header) > TENSORS:
        raise error("RS204", f"{what} has {len(header)} arrays; {TENSORS} are the most", "save several files")
    start = end = 8 + declared
    layouts = [(name, tensor_layout(where(path, name), entry, start, length)) for name, entry in header.items()]
    arrays = []
    for name, layout in sorted(layouts, key=lambda pair: (pair[1].start, pair[1].size)):
        what = where(path, name)
        if layout.start != end:
            raise lying(what, f"overlaps another array or leaves a hole: it begins at byte {layout.start}, not {end}")
        end += layout.size
        read = partial(converted, what, layout, partial(part, path, what, layout))
        arrays.append(Stored(name, layout.shape, layout.dtype, read))
    if end != length:
        raise lying(where(path), f"has {length - end} bytes after its last array")
    return Archive(path, arrays, metadata)


def tensor_header(what: str, text: bytes) -> dict[str, Any]:
    """The JSON object that a .safetensors file begins with.

    Python's parser takes NaN and any depth; both are refused by the types that the fields of a header have.
    """
    if text[:1] != b"{":
        raise malformed(what, "has a header that does not begin with '{'")
    try:
        header: dict[str, Any] = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as reason:
        raise malformed(what, f"has a header that is not strict JSON ({reason})") from reason
    return header


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, unless a key stands in it twice: readers differ in which one they believe."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def tensor_layout(what: str, entry: object, start: int, length: int) -> Layout:
    """What one entry of a .safetensors header says about the data, which begins at byte `start` of the file."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise malformed(what, "has an entry without exactly the keys dtype, shape and data_offsets")
    dtype, sides, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not isinstance(sides, list) or not isinstance(offsets, list):
        raise malformed(what, "has a dtype that is not text, or a shape or data_offsets that is not a list")
    if [type(offset) for offset in offsets] != [int, int]:
        raise malformed(what, "has data_offsets that are not two whole numbers")
    shape = shape_of(what, sides)
    begin, end = offsets
    if not 0 <= begin <= end <= length - start:
        raise lying(what, "lies outside the file")
    if dtype not in TENSOR_TYPES:
        return Layout(shape, displayed(dtype), None, start + begin, end - begin)
    name = TENSOR_TYPES[dtype]
    numbers = np.dtype("uint16" if name == "bfloat16" else name).newbyteorder("<")  # numpy has no bfloat16: its bits
    if (size := math.prod(shape) * numbers.itemsize) != end - begin:
        raise lying(what, f"declares {name} of shape {shape}, {size} bytes, and holds {end - begin}")
    return Layout(shape, name, numbers, start + begin, size)
