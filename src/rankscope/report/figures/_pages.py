"""The pages of a PDF: the figure with its explanation, and lines of text as a terminal shows them.

matplotlib alone makes them, so that a report costs no further package. Every line is placed by itself: nothing flows,
nothing is lost.
"""

import textwrap
from io import BytesIO
from typing import Any

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from rankscope import __version__
from rankscope.errors import UsageError
from rankscope.records import Table
from rankscope.report.figure import METADATA, fonts, painter, printable, reading_of, style, without_figure

WIDTH, HEIGHT = 8.27, 11.69  # A4, in inches
FIGURE = (6.5, 4.1)
LEFT = 0.9
FOOT = 0.75  # text ends above the number of the page
TOP = HEIGHT - 0.95
LEADING = 11.4 / 72  # from one line to the next
ROWS = 60  # lines of text on a page
MONOSPACE = "DejaVu Sans Mono"


def drawable(line: str) -> str:
    """A line of text with a box for each character that the font of the pages cannot draw."""
    return printable(line, MONOSPACE)


def pdf(table: Table, rows: list[str], name: str, *, headline: str, title: str) -> bytes:
    """A PDF of the figure `name` of `table` under a `headline`, followed by the `rows`; `title` is its metadata."""
    parts = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
    buffer = BytesIO()
    with style():
        first = figure_page(table, name, headline)
        pages = [first, *continued(first), *map(text_page, parts)]
        with PdfPages(buffer, metadata={**METADATA["pdf"], "Title": title}) as document:
            for number, page in enumerate(pages, start=1):
                document.savefig(numbered(page, number, len(pages)))
    return buffer.getvalue()


def figure_page(table: Table, name: str, headline: str) -> Figure:
    """The first page: a headline, the figure in the size that it asks for, and how to read it."""
    page = Figure(figsize=FIGURE)
    try:
        painter(name)(page, table)
    except UsageError as refusal:  # the numbers of the following pages are worth having without a figure
        page.set_size_inches(WIDTH, HEIGHT)
        write(page, TOP, headline, fontsize=14, fontweight="bold")
        for number, row in enumerate(textwrap.wrap(without_figure(refusal), 98)):
            write(page, TOP - 0.4 - number * LEADING, row, fontsize=8.5, color="#444444")
        return page
    width, height = page.get_size_inches()
    page.set_size_inches(WIDTH, HEIGHT)
    bottom = TOP - 0.4 - height
    place = (LEFT / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT)
    page.set_layout_engine(ConstrainedLayoutEngine(rect=place))
    write(page, TOP, headline, fontsize=14, fontweight="bold")
    rows = [row for paragraph in reading_of(name, page).splitlines() for row in (*textwrap.wrap(paragraph, 98), "")]
    for number, row in enumerate(rows):
        write(page, bottom - 0.35 - number * LEADING, row, fontsize=8.5, color="#444444")
    return page


def continued(page: Figure) -> list[Figure]:
    """A second page with those paragraphs that a tall figure has pushed below the end of the first; they leave it."""
    rows = page.texts
    fitting = next((i for i, row in enumerate(rows) if row.get_text() and row.get_position()[1] < FOOT / HEIGHT), None)
    if fitting is None:
        return []
    while rows[fitting - 1].get_text() and fitting > 2:
        fitting -= 1
    following = Figure(figsize=(WIDTH, HEIGHT))
    for number, row in enumerate(rows[fitting:]):
        write(following, TOP - number * LEADING, row.get_text(), fontsize=8.5, color="#444444")
        row.remove()
    return [following]


def text_page(rows: list[str]) -> Figure:
    """A page of text, line by line."""
    page = Figure(figsize=(WIDTH, HEIGHT))
    for number, row in enumerate(rows):
        write(page, TOP - number * LEADING, row, fontsize=9, fontfamily=fonts(MONOSPACE))
    return page


def write(page: Figure, height: float, text: str, **font: Any) -> None:
    """Write one line at the left margin, `height` inches above the lower edge, never as a formula."""
    page.text(LEFT / WIDTH, height / HEIGHT, text, parse_math=False, **font)


def numbered(page: Figure, number: int, count: int) -> Figure:
    """The page with its number."""
    note = f"rankscope {__version__} · page {number} of {count}"
    page.text(0.5, 0.5 / HEIGHT, note, ha="center", fontsize=8, color="#666666")
    return page
