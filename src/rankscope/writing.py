"""Every artefact is written here: complete under its final name, or not at all.

The bytes go to a temporary file in the same folder, are flushed to the disk, and are then renamed. What was there
before stays until that moment. A device, a pipe or a folder is refused: renaming onto it would replace it.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from rankscope.errors import error


def atomic_write(path: Path, content: bytes) -> None:
    """Write `content` to `path`; raises RS502 with the reason and leaves the earlier file as it was."""
    given, path = path, Path(os.path.realpath(path))
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except OSError as reason:
        raise refused(given, reason) from reason
    if not stat.S_ISREG(mode):
        raise error("RS502", f"{str(given)!r} is not a regular file", "give the name of a file")
    temporary = path.with_name(f".{path.name[:40]}.tmp-{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as reason:
        raise refused(given, reason) from reason
    finally:
        with suppress(OSError):
            temporary.unlink()


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
