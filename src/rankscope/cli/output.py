"""Results to stdout and to files, everything else to stderr."""

import gc
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rankscope.errors import InputError, error

if TYPE_CHECKING:
    from rankscope.result import Result
    from rankscope.study import Study


def check_outputs(outputs: list[Path] | None, figure: str | None) -> list[Path]:
    """The files to write, refused now if they cannot be written later."""
    if figure is not None and not outputs:
        raise error(
            "RS003", f"--figure {figure} without a file", "add -o FILE with the suffix .png, .svg, .pdf or .html"
        )
    if outputs:
        from rankscope.report.save import check_target, takes_figure

        some = any(map(takes_figure, outputs))
        for path in outputs:
            check_target(path, figure if takes_figure(path) or not some else None)
    return outputs or []


@dataclass(frozen=True, kw_only=True)
class Showing:
    """What becomes of a result: where it is printed and written, and which guarantee it must have.

    `command` is what was typed to make it.
    """

    command: str
    format: str
    outputs: list[Path] | None = None
    figure: str | None = None
    require: Literal["proved", "enclosed"] | None = None
    certificate: Path | None = None
    quiet: bool = False
    verbose: bool = False
    timing: bool = False


def run_and_show(study: "Study", showing: Showing, workers: int | None) -> None:
    """Run a study of matrices and show its result."""
    from rankscope.study import run

    show_result(lambda: run(study, workers=workers, timing=showing.timing), showing)


def show_result(made: Callable[[], "Result"], showing: Showing, before: Callable[[], object] = lambda: None) -> None:
    """Make a result, write its files, print its table; exit status 3 when something had to be left out.

    `before` is done when the files to write have been checked.
    """
    from rankscope.report.save import save, takes_figure

    paths = check_outputs(showing.outputs, showing.figure)
    if showing.certificate is not None:
        check_certificate(showing.certificate, paths)
    gc.enable()
    before()
    result = made()
    result = replace(result, table=replace(result.table, command=showing.command))
    if not showing.quiet:
        show(result, showing.format)
    for path in paths:
        for note in save(result.table, path, showing.figure if takes_figure(path) else None):
            print(f"rankscope: {note}", file=sys.stderr)
    if showing.certificate is not None:
        tell_certificates(result, showing.certificate)
    tell(result, showing.format, paths, showing.verbose)
    if result.refused:
        sys.stdout.flush()
        sys.exit(InputError.exit_status)
    if showing.require is not None:
        sys.stdout.flush()
        result.require(showing.require)


def check_certificate(path: Path, others: list[Path]) -> None:
    """Refuse a certificate that cannot be written, before anything is computed."""
    from rankscope.writing import check_folder

    if path.suffix.lower() != ".json":
        raise error("RS002", f"--certificate {path.name}", "give a name that ends in .json")
    if path in others:
        raise error("RS003", f"-o and --certificate with the same file {path.name}", "give two names")
    check_folder(path)


def tell_certificates(result: "Result", path: Path) -> None:
    """Write the certificates; say which files there are, and which of them decide nothing."""
    from rankscope.certificates import Rank

    for written in result.certify(path):
        print(f"rankscope: wrote {written.name}", file=sys.stderr)
    for number, each in result.certificates.items():
        if all(isinstance(claim, Rank) and claim.low < claim.high for claim in each.claims):
            text = f"the certificate of matrix {number} holds bounds of its rank and nothing that is decided"
            print(f"rankscope: {text}", file=sys.stderr)


def show(result: "Result", format: str) -> None:
    """Print the result on stdout; with colour only for a table on a terminal."""
    terminal = sys.stdout.isatty()
    if format == "table" and terminal:
        from rankscope.report.terminal import to_text

        text = to_text(result.table, max(shutil.get_terminal_size((80, 24)).columns, 60))
        if "NO_COLOR" not in os.environ:
            coloured(text)
            return
        text += "\n"
    else:
        from rankscope.report.save import to_text as formatted

        text = formatted(result.table, format)
    sys.stdout.buffer.write(text.encode())
    sys.stdout.flush()


def coloured(text: str) -> None:
    """The table with its groups in bold and its guarantees in colour."""
    from rich.console import Console
    from rich.text import Text

    styled = Text(text)
    styled.highlight_regex(r"(?m)^(rank|determinant|spectrum|rows|scores|more)$", "bold")
    styled.highlight_words(["proved"], "green")
    styled.highlight_words(["enclosed"], "cyan")
    styled.highlight_words(["estimated"], "dim")
    Console(highlight=False, soft_wrap=True).print(styled)


def tell(result: "Result", format: str, paths: list[Path], verbose: bool) -> None:
    """What the reader should know beside the result, on stderr."""
    from rankscope.report.cells import printable

    for note in result.notes:
        print(f"rankscope: {note}", file=sys.stderr)
    if (format == "csv" or any(path.suffix == ".csv" for path in paths)) and result.table.series:
        print(
            f"rankscope: CSV leaves out {len(result.table.series)} series (spectra); JSON holds them", file=sys.stderr
        )
    for record in result.refused:
        label = next(matrix.label for matrix in result.table.matrices if matrix.id == record.matrix)
        print(f"rankscope: {printable(label)} was not measured. {record.code}: {record.because}", file=sys.stderr)
    stopped = [note for record in result.table for note in record.details.get("tried", ()) if "not tried" in note]
    if stopped and not verbose:
        print("rankscope: some proofs were not tried; -v says which, and what they need", file=sys.stderr)
    if verbose:
        for matrix in result.table.matrices:
            for record in result.table.of(matrix):
                seed = "" if record.seed is None else f" seed {record.seed}"
                tried = (f"tried {note}" for note in record.details.get("tried", ()))
                how = "; ".join(part for part in (record.method, record.because, *tried) if part)
                print(f"{printable(matrix.label)}{seed} {record.measure} [{record.subject}]: {how}", file=sys.stderr)
