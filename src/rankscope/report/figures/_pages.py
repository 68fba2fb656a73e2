"""The pages of a PDF: the figure with its explanation, and lines of text as a terminal shows them.

matplotlib alone makes them, so that a report costs no further package. Every line is placed by itself: nothing flows,
nothing is lost.
"""

import math
import textwrap
from io import BytesIO
from typing import Any, NamedTuple

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


class Form(NamedTuple):
    """How a figure and its explanation are set on a page, in inches, and the explanation in letters of a `size`."""

    top: float  # where the headline stands
    above: float  # from there to the figure
    below: float  # from the figure to the first line
    columns: int
    size: float  # in points
    leading: float
    between: float  # paragraphs, in addition

    def rows(self, paragraphs: list[str]) -> list[tuple[float, str]]:
        """The lines of an explanation, and how far each stands below the first."""
        rows: list[tuple[float, str]] = []
        for number, paragraph in enumerate(paragraphs):
            for row in textwrap.wrap(paragraph, self.columns):
                rows.append((len(rows) * self.leading + number * self.between, row))
        return rows

    def fits(self, paragraphs: list[str], height: float) -> bool:
        """Whether they have a place below a figure of that height."""
        start = self.top - self.above - height - self.below
        return all(start - depth >= FOOT for depth, _ in self.rows(paragraphs))


ROOMY = Form(top=TOP, above=0.4, below=0.35, columns=98, size=8.5, leading=LEADING, between=LEADING)
TIGHT = Form(top=TOP + 0.2, above=0.15, below=0.25, columns=114, size=8.0, leading=10.4 / 72, between=5.2 / 72)


def drawable(line: str) -> str:
    """A line of text with a box for each character that the font of the pages cannot draw."""
    return printable(line, MONOSPACE)


def pdf(table: Table, rows: list[str], name: str, *, headline: str, title: str) -> bytes:
    """A PDF of the figure `name` of `table` under a `headline`, followed by the `rows`; `title` is its metadata."""
    buffer = BytesIO()
    with style():
        first, rest = figure_page(table, name, headline)
        pages = [first, *text_pages(rows, rest)]
        with PdfPages(buffer, metadata={**METADATA["pdf"], "Title": title}) as document:
            for number, page in enumerate(pages, start=1):
                document.savefig(numbered(page, number, len(pages)))
    return buffer.getvalue()


def figure_page(table: Table, name: str, headline: str) -> tuple[Figure, list[str]]:
    """The first page: a headline, the figure in the size that it asks for, and how to read it.

    Below a tall figure the explanation is set tighter. Those paragraphs that even so have no place are returned.
    """
    page = Figure(figsize=FIGURE)
    try:
        painter(name)(page, table)
    except UsageError as refusal:  # the numbers of the following pages are worth having without a figure
        page.set_size_inches(WIDTH, HEIGHT)
        write(page, TOP, headline, fontsize=14, fontweight="bold")
        explain(page, TOP - 0.4, [without_figure(refusal)], ROOMY)
        return page, []
    width, height = page.get_size_inches()
    paragraphs = reading_of(name, page).splitlines()
    form = ROOMY if ROOMY.fits(paragraphs, height) else TIGHT
    count = next(count for count in range(len(paragraphs), -1, -1) if form.fits(paragraphs[:count], height))
    page.set_size_inches(WIDTH, HEIGHT)
    bottom = form.top - form.above - height
    place = (LEFT / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT)
    page.set_layout_engine(ConstrainedLayoutEngine(rect=place))
    write(page, form.top, headline, fontsize=14, fontweight="bold")
    explain(page, bottom - form.below, paragraphs[:count], form)
    return page, paragraphs[count:]


def explain(page: Figure, start: float, paragraphs: list[str], form: Form) -> None:
    """Write the paragraphs of an explanation, the first line `start` inches above the lower edge."""
    for depth, row in form.rows(paragraphs):
        write(page, start - depth, row, fontsize=form.size, color="#444444")


def text_pages(rows: list[str], paragraphs: list[str]) -> list[Figure]:
    """Pages of text, line by line, the first of them with what is left of an explanation above."""
    used = math.ceil(TIGHT.rows(paragraphs)[-1][0] / LEADING) + 3 if paragraphs else 0
    first, others = rows[: ROWS - used], rows[ROWS - used :]
    pages = [text_page(first, used)] if rows or paragraphs else []
    for page in pages:
        explain(page, TOP, paragraphs, TIGHT)
    return [*pages, *(text_page(others[start : start + ROWS]) for start in range(0, len(others), ROWS))]


def text_page(rows: list[str], used: int = 0) -> Figure:
    """A page of text, line by line, below as many lines as are `used`."""
    page = Figure(figsize=(WIDTH, HEIGHT))
    for number, row in enumerate(rows, start=used):
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
