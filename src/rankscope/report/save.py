"""A result as a file: the suffix is the format, and an unknown one is refused before anything is computed."""

from pathlib import Path
from typing import Final

from rankscope.errors import error
from rankscope.records import Table
from rankscope.writing import atomic_write, check_folder

SUFFIXES: Final = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}
FIGURES: Final = (".png", ".svg")
DOCUMENTS: Final = (".pdf", ".html")


def main_figure(table: Table) -> str:
    """The figure that shows a result unless another is named."""
    return "collapse" if table.over_depth else "spectrum"


def takes_figure(path: Path) -> bool:
    """Whether a file of this suffix holds a figure."""
    return path.suffix.lower() in (*FIGURES, *DOCUMENTS)


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
        from rankscope.report.figure import help_of

        help_of(figure)


def to_text(table: Table, format: str) -> str:
    """The table as json, csv, markdown, latex, or as the table that people read."""
    if format == "json":
        return table.to_json()
    if format == "table":
        from rankscope.report.terminal import to_text

        return to_text(table) + "\n"
    from rankscope.report import table as shown

    return {"csv": shown.to_csv, "markdown": shown.to_markdown, "latex": shown.to_latex}[format](table)


def save(table: Table, path: Path, figure: str | None = None) -> None:
    """Write a table to `path`, whole or not at all."""
    check_target(path, figure)
    atomic_write(path, content(table, path.suffix.lower(), figure))


def content(table: Table, suffix: str, figure: str | None) -> bytes:
    """The bytes of a file with this suffix."""
    if suffix in SUFFIXES:
        return to_text(table, SUFFIXES[suffix]).encode()
    if suffix == ".parquet":
        from rankscope.report.table import to_parquet

        return to_parquet(table)
    if suffix in FIGURES or (suffix == ".pdf" and figure is not None):
        from rankscope.report.figure import draw, to_bytes

        return to_bytes(draw(figure or main_figure(table), table), suffix.removeprefix("."))
    from rankscope.report import document

    write = document.to_pdf if suffix == ".pdf" else document.to_html
    return write(table, to_text(table, "table"), figure or main_figure(table))
