"""Files made for the tests, byte by byte where no library writes them, and what it takes to read them and compare."""

import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rankscope.arrays import Given
from rankscope.errors import RankscopeError
from rankscope.generators.files import open_archive
from rankscope.generators.stored import Archive

MIB = 2**20


# ---------------------------------------------------------------------------------------------------------- forging


def npy(header: object = None, payload: bytes = bytes(32), version: bytes = b"\1\0", **fields: object) -> bytes:
    """A .npy file of 2 × 2 float64 zeros, with other `fields`, or with `header` as its text."""
    text = repr({"descr": "<f8", "fortran_order": False, "shape": (2, 2), **fields}) if header is None else header
    raw = text if isinstance(text, bytes) else str(text).encode("latin-1")
    return b"\x93NUMPY" + version + len(raw).to_bytes(2 if version == b"\1\0" else 4, "little") + raw + payload


def npz(method: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    return archive([(f"{name}.npy", content) for name, content in members.items()], method)


def archive(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.comment = comment
            file.writestr(info, content, method)
    return buffer.getvalue()


FLAGS, METHOD, CHECKSUM, PACKED, SIZE, OFFSET = (8, "<H"), (10, "<H"), (16, "<I"), (20, "<I"), (24, "<I"), (42, "<I")


def directory(content: bytes, where: tuple[int, str], *values: int) -> bytes:
    """A zip archive in whose directory the field at `where` says `values`, one for each member."""
    forged, entry = bytearray(content), 0
    for value in values:
        entry = content.index(b"PK\1\2", entry + 1)
        struct.pack_into(where[1], forged, entry + where[0], value)
    return bytes(forged)


def tensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def tensor(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def deflated(content: bytes, end: int = zlib.Z_FINISH) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush(end)


def packed_as(packed: bytes) -> bytes:
    """An archive whose one member, a true .npy file, is packed as `packed`."""
    true = npz(8, a=TRUE_NPY)
    start, end = 30 + len("a.npy"), true.index(b"PK\1\2")
    forged = bytearray(true[:start] + packed + true[end:])
    struct.pack_into("<I", forged, len(forged) - 6, start + len(packed))
    return directory(bytes(forged), PACKED, len(packed))


TRUE_NPY = npy()

HOSTILE_NAMES = (
    "../../x",
    "/etc/passwd",
    "a\x1b[2Jb",
    "a\x00b",
    "[/]",
    "$\\foo$",
    "=HYPERLINK(1)",
    "\u202egnp.layer",
    "\x9b31m",
    "two\nlines",
)


# ------------------------------------------------------------------------------------------------------- true files

WRITERS: dict[str, Callable[[Path, NDArray[Any]], None]] = {
    "x.npy": lambda path, array: np.save(path, array),
    "stored.npz": lambda path, array: np.savez(path, x=array),
    "packed.npz": lambda path, array: np.savez_compressed(path, x=array),
}

NUMBERS = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "c16", "c8"]
SHAPES: list[tuple[int, ...]] = [(), (0,), (0, 3), (3, 0), (1,), (5,), (3, 4), (2, 3, 4), (2, 1, 3, 4)]


# ---------------------------------------------------------------------------------------------------------- reading


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read_all(path: Path) -> tuple[Archive, list[Given]]:
    opened = open_archive(path)
    return opened, [array.read() for array in opened.arrays]


def refused(path: Path) -> RankscopeError:
    with pytest.raises(RankscopeError) as caught:
        read_all(path)
    return caught.value


FROM_THE_SEAM = {"RS103", "RS104", "RS105"}  # a mutated type: numbers that float64 does not hold, or Booleans


def outcome(path: Path) -> str:
    """The code with which `path` is refused, or "read"; any other exception is a failure of the test."""
    try:
        opened, arrays = read_all(path)
    except RankscopeError as caught:
        reason = caught
    else:
        for stored, array in zip(opened.arrays, arrays, strict=True):
            assert array.values.shape == stored.shape
            assert array.values.dtype in (np.float64, np.complex128)
        return "read"
    assert reason.code.startswith("RS2") or reason.code in {"RS301", "RS501"} | FROM_THE_SEAM, str(reason)
    assert str(reason).isprintable()
    return reason.code


def same(values: NDArray[Any], reference: NDArray[Any]) -> bool:
    """Equal in shape and bit by bit, signs of zeros included; any NaN for any NaN (a conversion may quieten it)."""
    wide = np.complex128 if reference.dtype.kind == "c" else np.float64
    with np.errstate(invalid="ignore"):
        reference = np.ascontiguousarray(reference, dtype=wide).reshape(reference.shape)
    if values.shape != reference.shape or values.dtype != wide:
        return False
    bits, expected = (each.reshape(-1).view(np.uint64) for each in (values, reference))
    nan = np.isnan(reference.reshape(-1).view(np.float64))
    return bool(np.array_equal(bits[~nan], expected[~nan]) and np.isnan(values.reshape(-1).view(np.float64)[nan]).all())


def memory(function: Callable[[], object]) -> int:
    """The bytes that `function` held at its peak, numpy's arrays included."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def check_refusal(folder: Path, code: str, name: str, content: bytes, *, at_opening: bool) -> None:
    """The file is refused with its code and its name; where `at_opening`, before anything of it is listed."""
    reason = refused(written(folder, name, content))
    assert reason.code == code, str(reason)
    assert f"'{name}'" in reason.given
    assert str(folder) not in str(reason)
    if at_opening:
        with pytest.raises(RankscopeError, match=code):
            open_archive(folder / name)
    assert str(reason).isprintable()
