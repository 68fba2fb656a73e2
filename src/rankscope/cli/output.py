"""Results to stdout and to files, everything else to stderr."""

import gc
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rankscope.errors import InputError, error

if TYPE_CHECKING:
    from rankscope.study import Result, Study


def check_outputs(outputs: list[Path] | None, figure: str | None) -> list[Path]:
    """The files to write, refused now if they cannot be written later."""
    if figure is not None and not outputs:
        raise error(
            "RS003", f"--figure {figure} without a file", "add -o FILE with the suffix .png, .svg, .pdf or .html"
        )
    if outputs:
        from rankscope.report.save import check_target

        for path in outputs:
            check_target(path, figure)
    return outputs or []


def run_and_show(
    study: "Study",
    format: str,
    outputs: list[Path] | None,
    figure: str | None,
    *,
    quiet: bool,
    verbose: bool,
    timing: bool,
    workers: int | None,
) -> None:
    """Run a study, write its files, print its table; exit status 3 when a matrix had to be left out."""
    from rankscope.study import run

    paths = check_outputs(outputs, figure)
    gc.enable()
    result = run(study, workers=workers, timing=timing)
    if not quiet:
        show(result, format)
    for path in paths:
        result.save(path, figure=figure)
    tell(result, format, paths, verbose)
    if result.refused:
        sys.stdout.flush()
        sys.exit(InputError.exit_status)


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
    if verbose:
        for matrix in result.table.matrices:
            for record in result.table.of(matrix):
                seed = "" if record.seed is None else f" seed {record.seed}"
                how = f"{record.method}; {record.because}" if record.method else record.because
                print(f"{printable(matrix.label)}{seed} {record.measure} [{record.subject}]: {how}", file=sys.stderr)
