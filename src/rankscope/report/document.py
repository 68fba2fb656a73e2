"""A result as one file for a reader: the figure, how to read it, and the numbers, as PDF or as HTML.

The PDF is made by matplotlib alone: A4 pages, the numbers as they stand in a terminal of 80 columns. The HTML is one
file that loads nothing and runs nothing: the figure is drawn in it, its policy forbids the rest. Both hold the same
bytes whenever they are made of the same result, and neither trusts a label.
"""

import html
from typing import Final

from rankscope import __version__
from rankscope.errors import UsageError
from rankscope.records import Table
from rankscope.report.figure import columns, draw, help_of, reading_of, to_bytes, visible, without_figure

TITLE: Final = "Rank of attention"
COLUMNS: Final = 80
CONTINUED: Final = "  ↳ "

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
@media (min-width: 48rem) { pre { white-space: pre-wrap; overflow-wrap: anywhere; } }
@media print { pre { white-space: pre-wrap; overflow-wrap: anywhere; } }
"""


def to_pdf(table: Table, text: str, name: str) -> bytes:
    """A PDF: the figure `name` of `table` and how to read it, then `text` on as many pages as it takes."""
    from rankscope.report.figures import _pages

    rows = [row for line in lines_of(text) for row in folded(_pages.drawable(line))]
    return _pages.pdf(table, rows, name, headline="Rank collapse" if table.over_depth else TITLE, title=heading(table))


def to_html(table: Table, text: str, name: str) -> bytes:
    """One HTML file: the figure `name` of `table` as inline SVG, how to read it, and `text`."""
    title = html.escape(heading(table))
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
{figure_of(table, name, title)}
<pre>{html.escape(chr(10).join(lines_of(text)))}</pre>
<footer>rankscope {__version__}</footer>
</body>
</html>
"""
    return page.encode()


def figure_of(table: Table, name: str, title: str) -> str:
    """The figure as inline SVG with an explanation of the marks that are on it, or why there is no figure."""
    try:
        figure = draw(name, table)
    except UsageError as refusal:
        return f"<p>{html.escape(without_figure(refusal))}</p>"
    svg = to_bytes(figure, "svg").decode()
    caption = "\n".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in reading_of(name, figure).splitlines())
    return f"""<figure>
<div class="drawing" role="img" aria-label="{html.escape(help_of(name))} {title}">
{svg[svg.index("<svg") :].strip()}
</div>
<figcaption>
{caption}
</figcaption>
</figure>"""


def heading(table: Table) -> str:
    """What the document is about, in one line."""
    if len(table.matrices) == 1 and not table.over_depth:
        return f"{TITLE}: " + " ".join(visible(table.matrices[0].label[:200]).split())
    if table.over_depth:
        from rankscope.report.by_layer import heading as of_networks
        from rankscope.report.descent import networks

        return "Rank collapse with depth: " + " ".join(visible(of_networks(networks(table))[:200]).split())
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
