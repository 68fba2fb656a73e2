"""`rankscope verify`: every claim of a certificate proved anew, or not."""

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from rankscope.cli import options as o
from rankscope.errors import error

if TYPE_CHECKING:
    from rankscope.certificates import Certificate, Numbers
    from rankscope.verify import Verdicts

Certificates = Annotated[list[Path], typer.Argument(metavar="CERTIFICATE...", help="Certificates (.json).")]
Input = Annotated[
    Path | None,
    typer.Option(
        "--input",
        metavar="FILE",
        help="The numbers, where the certificate holds only their digest: the .npz file that was written beside it, "
        "or for a stored matrix any .npy, .npz or .safetensors file that holds it.",
    ),
]
Format = Annotated[Literal["table", "json"], typer.Option("--format", "-f", help="What is printed.")]


def verify(certificates: Certificates, input: Input = None, format: Format = "table", debug: o.Debug = False) -> None:
    """Prove every claim of a certificate anew, from its numbers alone: nothing that it says is believed.

    rankscope verify proof.json

    Ends with 0 if every claim is verified, with 1 if one is refuted or undecided, with 3 if a file is no certificate.
    """
    o.set_threads(1)
    from rankscope.certificates import read
    from rankscope.verify import verify as proved

    if input is not None and len(certificates) > 1:
        raise error("RS003", f"--input {input.name} for {len(certificates)} certificates", "check them one by one")
    verified = True
    for path in certificates:
        given = read(path)
        numbers = input if input is not None else beside(path, given)
        verdicts = proved(given, None if numbers is None else arrays_of(numbers, given.matrix))
        typer.echo(in_json(given, verdicts) if format == "json" else in_words(given, verdicts))
        verified = verified and verdicts.verified
    if not verified:
        sys.stdout.flush()
        sys.exit(1)


def beside(path: Path, certificate: "Certificate") -> Path | None:
    """The file that was written beside a certificate which holds no numbers itself, if it is still there."""
    numbers = path.with_suffix(".npz")
    return numbers if not certificate.matrix.size and numbers.is_file() else None


def arrays_of(path: Path, matrix: "Numbers") -> dict[str, Any]:
    """The arrays that a file has for a matrix: by their names, or for a stored matrix the one with its digest."""
    from rankscope.certificates import TYPES
    from rankscope.generators.files import open_archive

    arrays = open_archive(path).arrays
    named = {each.name: each for each in arrays}
    if matrix.kind != "stored":
        return {name: each.read().values for name, each in named.items()}
    for each in arrays:
        if each.shape[-2:] == (matrix.rows, matrix.columns):
            found = stored(each.read().values, matrix)
            if found is not None:
                return dict.fromkeys(TYPES["stored"], found)
    return {}


def stored(values: Any, matrix: "Numbers") -> Any:
    """The matrix of an array of matrices that has the digest of a stored one, if any has."""
    import numpy as np

    from rankscope.certificates import numbers

    for index in np.ndindex(values.shape[:-2]):
        real = np.isrealobj(values) and bool(np.isfinite(values[index]).all())
        if real and numbers("stored", {"matrix": values[index]}).sha256 == matrix.sha256:
            return values[index]
    return None


def in_words(certificate: "Certificate", verdicts: "Verdicts") -> str:
    """Each claim with its proof, and what all of them together say of which matrix."""
    blocks = [f"{each.verdict:<10} {claimed(each.claim)}\n{indented(each.because)}" for each in verdicts]
    return "\n".join([*blocks, concluded(certificate, verdicts)])


def indented(text: str) -> str:
    """Text in lines of at most 80 columns, below the claims."""
    return textwrap.fill(text, 80, initial_indent=" " * 11, subsequent_indent=" " * 11, break_on_hyphens=False)


def claimed(claim: Any) -> str:
    """A claim in a few words."""
    from rankscope.certificates import Count, Determinant, Rank

    match claim:
        case Rank(low, high):
            return f"rank {between(low, high)}"
        case Determinant(0):
            return "determinant zero"
        case Determinant(sign, low, high):
            return f"determinant {'+' if sign > 0 else '−'}, ln {between(low, high)}"
        case Count(tolerance, low, high):
            return f"singular values above {shown(tolerance)}: {between(low, high)}"
    return f"log₁₀ σ_min {between(claim.low, claim.high)}"


def between(low: float | None, high: float | None) -> str:
    """An interval, or its only number."""
    return shown(low) if low == high else f"in [{shown(low)}, {shown(high)}]"


def shown(number: float | None) -> str:
    """A number that is known, or a mark for one that is not; all its digits, with a true minus sign."""
    return "…" if number is None else str(number).removesuffix(".0").replace("-", "−")


MEANT: Final = {
    "softmax": "the exact softmax of the given scores",
    "shares": "the exact softmax of the given log weights",
    "sink": "the exact softmax of the given scores and a sink",
    "sink-shares": "the exact softmax of the given log weights and a sink",
    "weights": "the exponentials of the given log weights",
    "recurrence": "the exact attention of the given recurrence",
    "products": "the exact product of the given factors",
    "stored": "the numbers as they are stored",
    "product": "a product of matrices",
    "mean": "a mean of matrices",
    "concatenation": "matrices side by side",
}
"""Which exact matrix the numbers of each kind stand for."""


def concluded(certificate: "Certificate", verdicts: "Verdicts") -> str:
    """The last lines: whether all is verified, of which matrix; its name is its author's, and is not verified."""
    from rankscope.report.cells import printable

    matrix = certificate.matrix
    rest = [each.verdict for each in verdicts if each.verdict != "verified"]
    count = f"{len(verdicts)} claim{'s' if len(verdicts) > 1 else ''}"
    counted = ", ".join(f"{rest.count(each)} {each}" for each in ("refuted", "undecided") if each in rest)
    outcome = f"not verified: {counted} of {count}" if rest else f"verified: {count}"
    what = f"{outcome} on {MEANT[matrix.kind]}, {matrix.rows} × {matrix.columns}"
    named = f"sha256 {matrix.sha256[:16]}…, named by its author: {printable(certificate.label)}"
    return "\n".join(textwrap.fill(line, 80, subsequent_indent="  ") for line in (what, named))


def in_json(certificate: "Certificate", verdicts: "Verdicts") -> str:
    """The same for machines."""
    import json
    from dataclasses import asdict

    from rankscope.certificates import named

    matrix = certificate.matrix
    content = {
        "label": certificate.label,
        "kind": matrix.kind,
        "subject": matrix.subject,
        "rows": matrix.rows,
        "columns": matrix.columns,
        "sha256": matrix.sha256,
        "verified": all(each.verdict == "verified" for each in verdicts),
        "verdicts": [
            {
                "claim": {"claim": named(each.claim), **asdict(each.claim)},
                "verdict": each.verdict,
                "because": each.because,
            }
            for each in verdicts
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=True)
