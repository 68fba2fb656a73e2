"""Words around several panels: one title above them all, a name above each, one legend below.

All stand beside a panel, so that they move with it; what is wider than one takes no part in the layout, and an empty
line keeps its place.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from rankscope.report.figure import inscribe
from rankscope.report.figures._text import FOOT, GREY, LINE, SMALL, WIDTH, Entry, lines_of, write_legend


def write_names(panels: Sequence[Axes], names: Sequence[str], width: float) -> None:
    """The name of each panel above it, at most so many points wide."""
    for panel, name in zip(panels, names, strict=True):
        text = beside(panel, 1, 5)
        inscribe(text, name, width)
        text.set_in_layout(False)
        beside(panel, 1, 5).set_text(" ")


def write_around(
    figure: Figure, first: Axes, last: Axes, title: tuple[str, str], facts: str, entries: list[Entry], *, named: bool
) -> None:
    """A title (and what follows it uncut) and a line of facts above the `first` panel, the legend below the `last`.

    `named` says that the panels have names, above which the title stands.
    """
    above = 8 + LINE * named
    heading, note = beside(first, 1, above + LINE + 3), beside(first, 1, above)
    heading.set(fontsize=10.5, fontweight="bold")
    note.set(color=GREY)
    inscribe(heading, title[0], WIDTH, title[1])
    inscribe(note, facts, WIDTH)
    beside(first, 1, above + 2 * LINE).set_text(" ")
    heading.set_in_layout(False)
    note.set_in_layout(False)
    if not entries:
        return
    wide = any(entry.is_wide for entry in entries)
    for artist in write_legend(figure, last, entries, single_column=wide):
        artist.set_in_layout(False)
    beside(last, 0, -FOOT - LINE * lines_of(entries, single_column=wide)).set_text(" ")


def beside(axes: Axes, edge: int, points: float) -> Annotation:
    """An empty text at the left end of the upper edge (1) or the lower one (0) of a panel, so many points above it."""
    return axes.annotate("", (0, edge), (0, points), "axes fraction", "offset points", fontsize=SMALL)
