"""The arrays of a file that a stranger may have written: .npy, .npz and .safetensors, and nothing that runs code.

The usual readers trust what a file says about itself, so headers are parsed here, by one module for each format, and
numpy is given finished bytes only.

Opening lists the arrays; each is read and converted when it is asked for, so that one of a type that is not supported
does not keep the others from being read.
"""

from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Final

from rankscope.errors import error
from rankscope.generators.npy import open_npy
from rankscope.generators.npz import open_npz
from rankscope.generators.safetensors import open_safetensors
from rankscope.generators.stored import Archive, opened, where

PICKLES: Final = frozenset({".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle"})

READERS: Final[dict[str, Callable[[Path, BufferedReader, int], Archive]]] = {
    ".npy": open_npy,
    ".npz": open_npz,
    ".safetensors": open_safetensors,
}


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
