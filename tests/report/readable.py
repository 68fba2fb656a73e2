"""What every figure must be: its words stand inside of it and apart from one another."""

from itertools import combinations
from typing import cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(figure: Figure) -> list[Text]:
    """The texts that are seen: those of an axis that is switched off, and of ticks beyond its ends, are not."""
    off = set()
    for axes in cast(list[Axes], figure.findobj(Axes)):
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            beyond = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
            hidden = beyond if axes.axison else [axis]
            off |= {id(text) for each in hidden for text in each.findobj(Text)}
    found = [text for text in figure.findobj(Text) if id(text) not in off and isinstance(text, Text)]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def words(figure: Figure) -> str:
    """All that is written in a figure."""
    return "\n".join(text.get_text() for text in texts(figure))


def marks(figure: Figure) -> set[str]:
    """The gids of its artists."""
    return {gid for artist in figure.findobj() if (gid := artist.get_gid())}


def assert_readable(figure: Figure) -> None:
    """No word is cut, and none overlaps another."""
    figure.draw_without_rendering()
    boxes = {text: text.get_window_extent() for text in texts(figure)}
    for text, box in boxes.items():
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert inside, f"{text} is cut"
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        across, along = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, along) < 2, f"{one} and {other}"
