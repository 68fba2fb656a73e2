"""The arrays of a file that a stranger may have written: .npy, .npz and .safetensors, and nothing that runs code.

A header is a claim, and it is compared with the file's length before anything is allocated. The usual readers do this
late or not at all: numpy allocates what a header declares, takes trailing bytes, and gives back a member that is no
array as raw bytes; a zip archive says itself how far it unpacks. So headers are parsed here, and numpy is given
finished bytes only.

Opening lists the arrays; each is read and converted when it is asked for, so that one of a type that is not supported
does not keep the others from being read. A name from a file is text: it stays as it is in `Stored.name`, never becomes
a path, and is shown to people through `displayed`.
"""

import ast
import json
import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, Literal
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from rankscope.arrays import STORAGES, Given, available_memory, check_memory, from_bfloat16, given
from rankscope.errors import RankscopeError, error

LONGEST_NAME: Final = 120
MAGIC: Final = b"\x93NUMPY"
NPY_HEADER: Final = 10_000  # numpy's own limit: longer ones can exhaust the parser of Python literals
TENSOR_HEADER: Final = 100_000_000  # the reference implementation's own limit
TENSORS: Final = 10**6
DIMENSIONS: Final = 32  # numpy's limit before its version 2, and far more than layer × head × row × column
ENTRIES: Final = 2**40  # an array with a side of 0 takes no bytes, so no file's length bounds its other sides
MEMBERS: Final = 4096
DIRECTORY: Final = 1024 * MEMBERS  # zipfile spends a dozen times the directory's length before members can be counted
UNPACKED: Final = 8 * 2**30
RATIO: Final = 200
SMALL: Final = 2**20  # a member below this is harmless however well it packs, and small masks pack very well
PIECE: Final = 2**16

PICKLES: Final = frozenset({".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle"})

TENSOR_TYPES: Final = {"BOOL": "bool", "BF16": "bfloat16", "C64": "complex64"} | {
    f"{kind[0].upper()}{bits}": f"{kind}{bits}" for kind in ("float", "int", "uint") for bits in (8, 16, 32, 64)
}
del TENSOR_TYPES["F8"]

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


def open_archive(path: str | Path) -> Archive:
    """The arrays of a .npy, .npz or .safetensors file, listed but not read.

    RS501 is for a file that the system does not give, RS207 for another format, RS201 to RS206 for a file that is not
    what it says it is, RS301 for one that does not fit into memory.

    >>> import numpy, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     numpy.savez(f"{folder}/heads.npz", attention=numpy.eye(2, dtype="float32"))
    ...     [array] = open_archive(f"{folder}/heads.npz").arrays
    ...     array.name, array.shape, array.dtype, float(array.read().values.sum())
    ('attention', (2, 2), 'float32', 2.0)
    """
    path = Path(path)
    with opened(path) as file:
        suffix = path.suffix.lower()
        if suffix in PICKLES:
            remedy = "convert it once, where you trust it, with safetensors.torch.save_file(torch.load(FILE), NEW_FILE)"
            raise error("RS207", f"{where(path)} is of a format that can run code, and is never read", remedy)
        if suffix not in READERS:
            remedy = "give one of " + ", ".join(READERS)
            raise error("RS207", f"{where(path)} is of a format that is not read", remedy)
        length = file.seek(0, 2)
        file.seek(0)
        return READERS[suffix](path.absolute(), file, length)  # arrays are read later, perhaps from another folder


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


def open_npz(path: Path, file: BufferedReader, length: int) -> Archive:
    """The arrays of a .npz archive, whose directory is checked before anything is unpacked."""
    members = zip_directory(where(path), file, length)
    check_members(path, members, length)
    arrays = []
    for info in members:
        name = info.orig_filename.removesuffix(".npy")
        what = where(path, name)
        head = b""
        for piece in unpacked(what, file, info):
            head += piece
            if len(head) >= NPY_HEADER + 12:
                break
        if not head.startswith(MAGIC):
            raise error("RS205", f"{what} is not an array", "write the archive with numpy.savez")
        layout = npy_layout(what, head, info.file_size)
        read = partial(converted, what, layout, partial(member, path, what, info, layout.start))
        arrays.append(Stored(name, layout.shape, layout.dtype, read))
    return Archive(path, arrays)


def zip_directory(what: str, file: BufferedReader, length: int) -> list[ZipInfo]:
    """The directory of a zip archive; zipfile parses it, once it is known to be short and to end the file."""
    file.seek(max(0, length - 2**16 - 98))
    tail = bytes(76) + file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0:
        raise malformed(what, "is not a zip archive, or its end is missing")
    if end + 22 + int.from_bytes(tail[end + 20 : end + 22], "little") != len(tail):
        raise lying(what, "does not end where its directory ends")
    directory = tail[end + 12 : end + 16]
    if tail[end - 20 : end - 16] == b"PK\6\7":  # a large archive has a second, wider record before the first
        if tail[end - 76 : end - 72] != b"PK\6\6":
            raise malformed(what, "has two ends that do not belong together")
        directory = tail[end - 36 : end - 28]
    if (size := int.from_bytes(directory, "little")) > DIRECTORY:
        raise error("RS204", f"{what} has a directory of {size} bytes", "save fewer arrays in one archive")
    try:
        with ZipFile(file) as archive:
            return archive.infolist()
    except (BadZipFile, NotImplementedError, ValueError) as reason:
        raise malformed(what, f"has a damaged directory ({displayed(str(reason))})") from reason


def check_members(path: Path, members: list[ZipInfo], length: int) -> None:
    """Refuse an archive that unpacks beyond its limits, or whose members overlap, share a name or are no arrays."""
    most = min(UNPACKED, int(0.8 * available_memory()))
    total = sum(info.file_size for info in members)
    if len(members) > MEMBERS or total > most:
        came = f"{where(path)} unpacks to {len(members)} members and {total} bytes; {MEMBERS} and {most} are the most"
        raise error("RS204", came, "save fewer arrays in one archive, or a .safetensors file")
    if len({info.orig_filename for info in members}) < len(members):
        raise malformed(where(path), "has two members of the same name")
    end = 0
    for info in sorted(members, key=lambda info: info.header_offset):
        what = where(path, info.orig_filename)
        if info.header_offset < end or (end == 0 and info.header_offset > 0):
            raise lying(what, "overlaps another member, or is the first and has bytes before it")
        end = info.header_offset + 30 + len(info.orig_filename) + info.compress_size
        if end > length or (info.compress_type == ZIP_STORED and info.compress_size != info.file_size):
            raise lying(what, f"declares {info.compress_size} bytes that become {info.file_size}")
        if not info.orig_filename.endswith(".npy"):
            raise error("RS205", f"{what} is not an array", "write the archive with numpy.savez")
        if info.flag_bits & 1:
            raise malformed(what, "is encrypted")
        if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise error("RS207", f"{what} is packed in a way that is not read", "use numpy.savez_compressed")
        if info.file_size >= SMALL and info.file_size > RATIO * info.compress_size:
            came = f"{what} unpacks from {info.compress_size} to {info.file_size} bytes, more than {RATIO} times"
            raise error("RS204", came, "write the archive with numpy.savez, which does not compress")


def unpacked(what: str, file: BufferedReader, info: ZipInfo) -> Iterator[bytes]:
    """The content of one member in pieces of at most 64 KiB, however much it is: whoever takes them counts them.

    zipfile's own reader silently cuts off what goes beyond the declared size, so that a lie would not be seen.
    """
    file.seek(info.header_offset)
    local = file.read(30)
    if len(local) < 30 or local[:4] != b"PK\3\4":
        raise malformed(what, "is not where the directory says")
    file.seek(sum(struct.unpack("<HH", local[26:])), 1)
    left = info.compress_size
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while not inflater.eof:
        packed = inflater.unconsumed_tail
        if not packed:
            packed = file.read(min(left, PIECE))
            left -= len(packed)
        try:
            piece = packed if info.compress_type == ZIP_STORED else inflater.decompress(packed, PIECE)
        except zlib.error as reason:
            raise malformed(what, "is damaged: it cannot be unpacked") from reason
        if not packed and not piece:
            break
        yield piece
    if left or inflater.unused_data or inflater.eof != (info.compress_type == ZIP_DEFLATED):
        raise lying(what, "is not packed in as many bytes as it declares")


def member(path: Path, what: str, info: ZipInfo, start: int) -> Bytes:
    """The content of one member from `start` on, which must be as long as declared and have the declared checksum."""
    content = np.empty(info.file_size, np.uint8)
    length = checksum = 0
    with opened(path) as file:
        for piece in unpacked(what, file, info):
            if length + len(piece) > info.file_size:
                raise lying(what, f"unpacks to more than the {info.file_size} bytes that it declares")
            content[length : length + len(piece)] = np.frombuffer(piece, np.uint8)
            length += len(piece)
            checksum = zlib.crc32(piece, checksum)
    if length < info.file_size:
        raise lying(what, f"declares {info.file_size} bytes and unpacks to {length}")
    if checksum != info.CRC:
        raise malformed(what, "is damaged: its checksum is wrong")
    return content[start:]


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


READERS: Final[dict[str, Callable[[Path, BufferedReader, int], Archive]]] = {
    ".npy": open_npy,
    ".npz": open_npz,
    ".safetensors": open_safetensors,
}
