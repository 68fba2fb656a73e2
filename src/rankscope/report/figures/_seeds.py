"""Spectra that differ in their seeds alone: the range and the median at each index.

A value in the noise counts as less than any other, since nothing else is known of it. So a median is known where more
than half of the values are data, and a range that holds noise reaches down to where the noise begins.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rankscope.report.figures._curve import Array, Curve
from rankscope.report.figures._limits import floor_of
from rankscope.report.figures._noise import only
from rankscope.report.figures._tail import Stroke


class Spread(NamedTuple):
    """The least, the median and the greatest of several spectra at each index; NaN where it is not known.

    `least` is zero where some of the values are noise.
    """

    places: Array
    least: Array
    median: Array
    greatest: Array


def spread_of(curves: list[Curve]) -> Spread:
    """What several spectra span, over the indices that all of them have."""
    count = min(len(curve.values) for curve in curves)
    heights = np.sort([np.where(curve.data, curve.values, 0.0)[:count] for curve in curves], axis=0)
    known = heights[(len(curves) - 1) // 2] > 0
    any_known = heights[-1] > 0
    median = only(np.median(heights, axis=0), known)
    return Spread(curves[0].index[:count], only(heights[0], any_known), median, only(heights[-1], any_known))


def draw_spread(axes: Axes, line: Line2D, curves: list[Curve], floor: float) -> list[Stroke]:
    """Turn a line into the median of the curves, with a band for their range; below `floor` it is not drawn.

    Gives back how each curve is drawn where they are drawn one by one.
    """
    found = spread_of(curves)
    line.set_data(found.places, found.median)
    low = np.maximum(found.least, floor)
    band = axes.fill_between(
        found.places, low, found.greatest, color=line.get_color(), alpha=0.2, linewidth=0, zorder=2
    )
    band.set_gid("pale-band")
    markers = [line.get_marker(), *[""] * (len(curves) - 1)]
    thin = [Line2D([], [], color=line.get_color(), linestyle="-", marker=each, linewidth=0.6) for each in markers]
    return list(map(Stroke, curves, thin))


def lowest_drawn(axes: Axes, curves: list[Curve]) -> float:
    """Where bands end: at the noise of all curves, or at the end of the axis."""
    return max(floor_of(curves), axes.get_ylim()[0])
