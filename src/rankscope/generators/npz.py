"""The arrays of a .npz archive: a zip archive, which says itself how far it unpacks, whose members are .npy files.

numpy's own reader gives back a member that is no array as raw bytes, and zipfile's cuts off what is more than declared;
so members are unpacked here.
"""

import struct
import zlib
from collections.abc import Iterator
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from rankscope.arrays import available_memory
from rankscope.errors import error
from rankscope.generators.npy import MAGIC, NPY_HEADER, npy_layout
from rankscope.generators.stored import Archive, Bytes, Stored, converted, displayed, lying, malformed, opened, where

MEMBERS: Final = 4096
DIRECTORY: Final = 1024 * MEMBERS  # zipfile spends a dozen times the directory's length before members can be counted
UNPACKED: Final = 8 * 2**30
RATIO: Final = 200
SMALL: Final = 2**20  # a member below this is harmless however well it packs, and small masks pack very well
PIECE: Final = 2**16


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
