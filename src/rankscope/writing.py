"""Every artefact is written here: complete under its final name, or not at all.

The bytes go to a temporary file in the same folder, are flushed to the disk, and are then renamed. What was there
before stays until that moment. A device, a pipe or a folder is refused: renaming onto it would replace it.
"""

import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from rankscope.errors import error


def atomic_write(path: Path, content: bytes) -> None:
    """Write `content` to `path`; raises RS502 with the reason and leaves the earlier file as it was."""
    atomic_write_all({path: content})


def atomic_write_all(contents: Mapping[Path, bytes]) -> None:
    """Write several files that belong together: none is renamed before all are on the disk.

    Raises:
        StoreError: RS502, with the reason; a file that was not renamed yet is left as it was.
    """
    temporaries: dict[Path, tuple[Path, Path]] = {}
    try:
        for given, content in contents.items():
            with blamed(given):
                path = regular(given)
                temporary = path.with_name(f".{path.name[:40]}.tmp-{secrets.token_hex(8)}")
                temporaries[given] = temporary, path
                with temporary.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
        for given, (temporary, path) in temporaries.items():
            with blamed(given):
                temporary.replace(path)
                folder = os.open(path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
    finally:
        for temporary, _ in temporaries.values():
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def blamed(given: Path) -> Iterator[None]:
    """What the system refuses here is an error of this file."""
    try:
        yield
    except OSError as reason:
        raise refused(given, reason) from reason


def regular(given: Path) -> Path:
    """Where a file that is written under the name `given` stands; what is not a regular file is refused."""
    path = Path(os.path.realpath(given))
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return path
    if not stat.S_ISREG(mode):
        raise error("RS502", f"{str(given)!r} is not a regular file", "give the name of a file")
    return path


def check_folder(path: Path) -> None:
    """Refuse, before any work is done, a file in a folder that does not exist (RS502)."""
    if not path.parent.is_dir():
        raise error("RS502", f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}", "make it first")


def refused(path: Path, reason: OSError) -> Exception:
    """The error for a file that the system would not let us write."""
    return error(
        "RS502",
        f"cannot write {str(path)!r}: {reason.strerror}",
        "choose a folder that exists, is writable and has room",
    )
