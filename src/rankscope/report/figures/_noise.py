"""Values that are noise, as loose grey dots: what every figure of singular values draws below its curves."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rankscope.report import cells
from rankscope.report.figures._curve import Array, Curve, Flags
from rankscope.report.figures._text import PALE, Entry, remark

DOTS = 256  # noise says nothing more when more of it is drawn
NOISE = "values below their error bound"


def draw_noise(axes: Axes, curves: list[Curve], words: str) -> list[Entry]:
    """Loose grey dots where a value is below the bound of its error; nothing joins them, since nothing does."""
    places = np.concatenate([curve.index[curve.noise] for curve in curves])
    heights = np.concatenate([curve.values[curve.noise] for curve in curves])
    seen = heights >= axes.get_ylim()[0]
    if not heights.size:
        return []
    deeper = all(curve.truth.any() for curve in curves if curve.noise.any())
    lost = np.count_nonzero(~seen & (heights > 0) if deeper else ~seen)
    if not seen.any():
        dot = Line2D([], [], linestyle="", marker=".", markersize=2.5, color=PALE)
        return [Entry(dot, "", f"{words}: noise")] if deeper else [remark(f"{words} and below this axis: noise")]
    places, heights = places[seen], heights[seen]
    step = max(1, len(places) // DOTS)
    (dots,) = axes.plot(places[::step], heights[::step], ".", markersize=2.5, color=PALE, zorder=2, gid="grey-dots")
    note = f" ({lost} {'in the lower panel alone' if deeper else 'below this axis'})" if lost else ""
    return [Entry(dots, "", f"{words}: noise{note}")]


def only(numbers: Array, wanted: Flags) -> Array:
    """`numbers` with a gap where they are not wanted."""
    return np.where(wanted, numbers, np.nan)


def counted(flags: Flags) -> str:
    """`1 value`, `2 values`."""
    return cells.counted(int(flags.sum()), "value")
