"""What is wrong with the words of a figure: cut at its edge, or written over each other."""

from itertools import combinations

from matplotlib.figure import Figure
from matplotlib.text import Text


def words_of(figure: Figure) -> list[Text]:
    """The texts that are seen: not those of axes that are switched off, nor of ticks beyond the ends of an axis."""
    hidden: set[int] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            off = not (axes.axison and axes.get_visible())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if off or not low <= tick.get_loc() <= high:
                    hidden |= {id(tick.label1), id(tick.label2)}
            if off:
                hidden |= {id(text) for text in axis.findobj()}
    return [
        text
        for text in figure.findobj(Text)
        if id(text) not in hidden and text.get_visible() and text.get_text().strip()
    ]


def said(figure: Figure) -> str:
    """Every word of a figure."""
    return "\n".join(text.get_text() for text in words_of(figure))


def badly_placed(figure: Figure) -> list[str]:
    """Words that are cut, and pairs of them that overlap by two pixels or more."""
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in words_of(figure)]
    found = [
        f"{text!r} is cut"
        for text, box in boxes
        if min(box.x0, box.y0) < 0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1
    ]
    for (one, a), (other, b) in combinations(boxes, 2):
        if min(min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)) >= 2:
            found.append(f"{one!r} and {other!r}")
    return found


def gids(figure: Figure) -> set[str]:
    """The marks of a figure."""
    return {gid for artist in figure.findobj() if (gid := artist.get_gid())}
