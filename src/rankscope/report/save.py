"""A result as a file: the suffix is the format, and an unknown one is refused before anything is computed."""

import glob
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rankscope.errors import error
from rankscope.records import Table
from rankscope.writing import atomic_write, atomic_write_all, check_folder

if TYPE_CHECKING:
    from rankscope.report.content import Content, Letters

Written = tuple[list[Path], list[str]]
"""The files that were written, and what their reader should know."""

SUFFIXES: Final = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}
FIGURES: Final = (".png", ".svg")
DOCUMENTS: Final = (".pdf", ".html")


def main_figure(table: Table) -> str:
    """The figure that shows a result unless another is named."""
    return "collapse" if table.over_depth else "spectrum"


def takes_figure(path: Path) -> bool:
    """Whether a file of this suffix holds a figure."""
    return path.suffix.lower() in (*FIGURES, *DOCUMENTS)


def wants_pictures(outputs: list[Path] | None, figure: str | None) -> bool:
    """Whether what is to be written shows the matrices themselves: a document, or the figure of that name."""
    drawn = figure is not None and figure.partition(":")[0] == "attention"
    return drawn or any(path.suffix.lower() in DOCUMENTS for path in outputs or [])


def check_target(path: Path, figure: str | None) -> None:
    """Refuse a suffix that says nothing, a missing package, or an unknown figure, before the work is done."""
    suffix = path.suffix.lower()
    if figure is not None and not takes_figure(path):
        raise error(
            "RS003", f"the figure {figure!r} in a file {suffix or 'without suffix'}", "choose .png, .svg, .pdf or .html"
        )
    if suffix not in (*SUFFIXES, *FIGURES, *DOCUMENTS, ".parquet"):
        known = " ".join((*SUFFIXES, ".parquet", *FIGURES, *DOCUMENTS))
        raise error("RS002", f"the output file {path.name!r}", f"end its name with one of {known}")
    check_folder(path)
    if suffix == ".parquet":
        import importlib.util

        if importlib.util.find_spec("pyarrow") is None:
            raise error("RS004", "a .parquet file without pyarrow", "install it with: pip install 'rankscope[parquet]'")
    if figure is not None:
        from rankscope.report.figure import help_of, painter

        (painter if ":" in figure else help_of)(figure)


def to_text(table: Table, format: str) -> str:
    """The table as json, csv, markdown, latex, or as the table that people read."""
    if format == "json":
        return table.to_json()
    if format == "table":
        from rankscope.report.terminal import to_text

        return to_text(table) + "\n"
    from rankscope.report import table as shown

    return {"csv": shown.to_csv, "markdown": shown.to_markdown, "latex": shown.to_latex}[format](table)


def save(table: Table, path: Path, figure: str | None = None) -> list[str]:
    """Write a table to `path`, whole or not at all; what its reader should know of the file."""
    check_target(path, figure)
    suffix = path.suffix.lower()
    if suffix in DOCUMENTS and (figure is None or suffix == ".html"):
        from rankscope.report.content import content_of

        return write_document(lambda letters: content_of([table], figure, text=letters), path)[1]
    atomic_write(path, content(table, suffix, figure))
    if not takes_figure(path):
        return []
    from rankscope.report.figure import lacking

    return lacking([table])


def content(table: Table, suffix: str, figure: str | None) -> bytes:
    """The bytes of a file with this suffix that holds a table, or a figure."""
    if suffix in SUFFIXES:
        return to_text(table, SUFFIXES[suffix]).encode()
    if suffix == ".parquet":
        from rankscope.report.table import to_parquet

        return to_parquet(table)
    from rankscope.report.figure import draw, to_bytes

    return to_bytes(draw(figure or main_figure(table), table), suffix)


def write_document(make: "Callable[[Letters], Content]", path: Path) -> Written:
    """Write a document: which files there are, and what their reader should know.

    Several pages as PNG are name-1.png, name-2.png …: all are on the disk before the first gets its name.
    """
    from rankscope.report import document

    suffix = path.suffix.lower()
    content = make("path" if suffix == ".html" else "none")
    notes = content.notes
    if suffix == ".html":
        files = {path: document.to_html(content)}
    elif suffix == ".pdf":
        made, found = document.to_pdf(content)
        files, notes = {path: made}, found or notes
    else:
        pages = document.to_png(content)
        several = len(pages) > 1
        files = {path.with_stem(f"{path.stem}-{i}") if several else path: page for i, page in enumerate(pages, 1)}
    atomic_write_all(files)
    if suffix == ".png":
        older = sorted(each.name for each in path.parent.glob(f"{glob.escape(path.stem)}-*.png") if each not in files)
        stale = [name for name in older if re.fullmatch(r"\d+\.png", name[len(path.stem) + 1 :])]
        notes = [*notes, f"{', '.join(stale)}: of an earlier report"] if stale else notes
    return list(files), notes
