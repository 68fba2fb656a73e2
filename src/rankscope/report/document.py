"""A result as one file for a reader: the figure, how to read it, and the numbers, as PDF or as HTML.

The PDF is made by matplotlib alone: A4 pages, the numbers as they stand in a terminal of 80 columns. The HTML is one
file that loads nothing and runs nothing: the figure is drawn in it, its policy forbids the rest. Both hold the same
bytes whenever they are made of the same result, and neither trusts a label.
"""

import html
import textwrap
from io import BytesIO
from typing import TYPE_CHECKING, Final

from rankscope import __version__
from rankscope.records import Table
from rankscope.report.figure import (
    METADATA,
    columns,
    draw,
    fonts,
    help_of,
    painter,
    printable,
    reading_of,
    style,
    to_bytes,
    visible,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE: Final = "Rank of attention"
PAGE: Final = (8.27, 11.69)  # A4, in inches
LEFT: Final = 0.9
TOP: Final = 0.95
FIGURE: Final = (6.5, 4.1)
COLUMNS: Final = 80
ROWS: Final = 60  # lines of text on a page
LEADING: Final = 11.4  # points from one line to the next
CONTINUED: Final = "  ↳ "
MONOSPACE: Final = "DejaVu Sans Mono"

PAGE_STYLE: Final = """
:root { color-scheme: light dark; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif;
  color: #222; background: #fff; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; }
.drawing { padding: 0.75rem; border: 1px solid #ddd; border-radius: 6px; background: #fff; }
.drawing svg { display: block; width: 100%; height: auto; }
figcaption { margin-top: 0.75rem; color: #555; }
pre { overflow-x: auto; padding: 1rem; border-radius: 6px; background: #f4f4f4;
  font: 0.85rem/1.4 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
footer { margin-top: 2rem; font-size: 0.85rem; color: #666; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #161616; }
  pre { background: #232323; }
  .drawing { border-color: #444; }
  figcaption, footer { color: #aaa; }
}
@media print { pre { white-space: pre-wrap; } }
"""


def to_pdf(table: Table, text: str, name: str) -> bytes:
    """A PDF: the figure `name` of `table` and how to read it, then `text` on as many pages as it takes."""
    from matplotlib.backends.backend_pdf import PdfPages

    rows = [row for line in lines_of(text) for row in folded(printable(line, MONOSPACE))]
    pages = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
    buffer = BytesIO()
    with style(), PdfPages(buffer, metadata={**METADATA["pdf"], "Title": heading(table)}) as document:
        document.savefig(numbered(figure_page(table, name), 1, len(pages) + 1))
        for number, page in enumerate(pages, start=2):
            document.savefig(numbered(text_page(page), number, len(pages) + 1))
    return buffer.getvalue()


def to_html(table: Table, text: str, name: str) -> bytes:
    """One HTML file: the figure `name` of `table` as inline SVG, how to read it, and `text`."""
    svg = to_bytes(draw(name, table), "svg").decode()
    title = html.escape(heading(table))
    caption = "\n".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in reading_of(name).splitlines())
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{PAGE_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<figure>
<div class="drawing" role="img" aria-label="{html.escape(help_of(name))} {title}">
{svg[svg.index("<svg") :].strip()}
</div>
<figcaption>
{caption}
</figcaption>
</figure>
<pre>{html.escape(chr(10).join(lines_of(text)))}</pre>
<footer>rankscope {__version__}</footer>
</body>
</html>
"""
    return page.encode()


def heading(table: Table) -> str:
    """What the document is about, in one line."""
    if len(table.matrices) == 1:
        return f"{TITLE}: " + " ".join(visible(table.matrices[0].label[:200]).split())
    return f"{TITLE}: {len(table.matrices)} matrices"


def lines_of(text: str) -> list[str]:
    """The lines of a text, without anything that is not seen."""
    return [visible(line.expandtabs()).rstrip() for line in text.splitlines()]


def folded(line: str) -> list[str]:
    """A line in pieces of at most 80 columns; every piece after the first says that it continues the line."""
    pieces, width = [""], 0
    for character in line:
        if width + columns(character) > COLUMNS:
            pieces.append(CONTINUED)
            width = len(CONTINUED)
        pieces[-1] += character
        width += columns(character)
    return pieces


def figure_page(table: Table, name: str) -> "Figure":
    """The first page: a heading, the figure in the place that it asks for, and how to read it."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    page = Figure(figsize=FIGURE)
    painter(name)(page, table)
    width, height = page.get_size_inches()
    page.set_size_inches(PAGE)
    bottom = PAGE[1] - TOP - 0.45 - height
    place = (LEFT / PAGE[0], bottom / PAGE[1], width / PAGE[0], height / PAGE[1])
    page.set_layout_engine(ConstrainedLayoutEngine(rect=place))
    page.text(LEFT / PAGE[0], 1 - TOP / PAGE[1], TITLE, fontsize=14, fontweight="bold")
    rows = [row for paragraph in reading_of(name).splitlines() for row in (*textwrap.wrap(paragraph, 98), "")]
    for number, row in enumerate(rows):
        height_of_row = bottom - 0.35 - number * LEADING / 72
        page.text(LEFT / PAGE[0], height_of_row / PAGE[1], row, fontsize=8.5, color="#444444", parse_math=False)
    return page


def text_page(rows: list[str]) -> "Figure":
    """A page of text, line by line."""
    from matplotlib.figure import Figure

    page = Figure(figsize=PAGE)
    for number, row in enumerate(rows):
        height = PAGE[1] - TOP - number * LEADING / 72
        place = (LEFT / PAGE[0], height / PAGE[1])
        page.text(*place, row, fontfamily=fonts(MONOSPACE), fontsize=9, parse_math=False)
    return page


def numbered(page: "Figure", number: int, count: int) -> "Figure":
    """The page with its number."""
    note = f"rankscope {__version__} · page {number} of {count}"
    page.text(0.5, 0.5 / PAGE[1], note, ha="center", fontsize=8, color="#666666")
    return page
