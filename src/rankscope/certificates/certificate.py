"""A certificate, and how it is written."""

import base64
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from rankscope import __version__
from rankscope.certificates.claims import Claim, Rank, named
from rankscope.certificates.matrix import Array, Numbers
from rankscope.certificates.refusal import require
from rankscope.errors import error
from rankscope.writing import atomic_write

FORMAT: Final = 1
"""The version of the format."""

EMBEDDED: Final = 2**16
"""The most numbers that stand in the certificate itself."""


@dataclass(frozen=True, eq=False)
class Certificate:
    """Claims about one exact matrix, and the numbers that make it."""

    label: str
    matrix: Numbers
    claims: tuple[Claim, ...]
    version: str = field(default=__version__)

    def __post_init__(self) -> None:
        require(len(self.claims) > 0, "it claims nothing")
        minors = [claim.minor for claim in self.claims if isinstance(claim, Rank) and claim.minor is not None]
        for minor in minors:
            inside = (
                max(minor.rows, default=-1) < self.matrix.rows and max(minor.columns, default=-1) < self.matrix.columns
            )
            require(inside, "a minor names a row or a column that the matrix does not have")

    def text(self) -> str:
        """The certificate as canonical JSON, sealed with its digest."""
        matrix = self.matrix if self.matrix.size <= EMBEDDED else self.matrix.bare()
        content = {
            "certificate": FORMAT,
            "rankscope": self.version,
            "label": self.label,
            "matrix": written(matrix),
            "claims": [{"claim": named(claim), **asdict(claim)} for claim in self.claims],
        }
        return canonical({**content, "sha256": seal(content)}) + "\n"

    def write(self, path: str | Path) -> list[Path]:
        """Write the certificate, and large arrays beside it as .npz; the paths of what was written."""
        path = Path(path)
        beside = path.with_suffix(".npz")
        large = self.matrix.size > EMBEDDED
        if large and beside == path:
            raise error(
                "RS502", f"{path.name!r} is the name of the arrays' own file", "let the certificate end in .json"
            )
        atomic_write(path, self.text().encode("ascii"))
        if not large:
            return [path]
        content = io.BytesIO()
        arrays = {
            name: array.astype(np.uint8) if array.dtype == bool else array for name, array in self.matrix.flat().items()
        }
        np.savez(content, allow_pickle=False, **arrays)
        atomic_write(beside, content.getvalue())
        return [path, beside]


def canonical(content: object) -> str:
    """JSON with sorted keys, no spaces and ASCII letters only: one text for one content."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def seal(content: Mapping[str, object]) -> str:
    """The SHA-256 of a certificate's canonical JSON without its seal."""
    return hashlib.sha256(canonical({name: x for name, x in content.items() if name != "sha256"}).encode()).hexdigest()


def written(matrix: Numbers) -> dict[str, object]:
    """The numbers of a matrix as JSON."""
    arrays = matrix.arrays if matrix.arrays is None else {name: encoded(array) for name, array in matrix.arrays.items()}
    return {
        "kind": matrix.kind,
        "subject": matrix.subject,
        "rows": matrix.rows,
        "columns": matrix.columns,
        "sha256": matrix.sha256,
        "arrays": arrays,
        "parts": [written(part) for part in matrix.parts],
    }


def encoded(array: Array) -> dict[str, object]:
    """An array as JSON: its bytes, the last index fastest, in base64."""
    text = base64.b64encode(array.tobytes()).decode("ascii")
    return {"dtype": array.dtype.str, "shape": list(array.shape), "base64": text}
