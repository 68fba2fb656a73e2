"""The lower panel of a spectrum: its last values once more, as deep as the true ones lie.

LAPACK's last values can be noise of 10⁻¹⁷ where the true ones fall to 10⁻¹⁴⁰ or 10⁻⁶⁰⁰. Where those were enclosed,
the last places are drawn again, with room for each. Heights are logarithms throughout: no value is ever formed, since
float64 could not hold it.
"""

import math
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from rankscope.report.figure import inscribe
from rankscope.report.figures._curve import Array, Curve, Flags, name_among
from rankscope.report.figures._text import GREY, PALE, SMALL, WIDTH, Entry, remark

HEIGHT: Final = 100.0  # points that the lower panel takes
AROUND: Final = 52.0  # and its heading, its ticks and its label
UPPER: Final = 190.0  # as high as a figure with one panel has its axes
FEW: Final = 64  # so many places can each have a mark
CONTEXT: Final = 5  # places before the noise
SEEN: Final = 0.01  # the part of the panel from which the width of an enclosure can be seen


class Stroke(NamedTuple):
    """A curve with a line to imitate: its colour, dash, marker and width."""

    curve: Curve
    line: Line2D


class Places(NamedTuple):
    """Which places the panel shows, and whether they are counted from the last of each curve."""

    first: float
    last: float
    from_last: bool

    def of(self, curve: Curve) -> Array:
        """Where the values of a curve stand."""
        return curve.index - len(curve.logs) if self.from_last else curve.index

    def shown(self, curve: Curve) -> Flags:
        """Those of its values that the panel has a place for."""
        return np.asarray(self.of(curve) >= self.first)


def add_panels(figure: Figure, curves: list[Curve]) -> tuple[Axes, Axes | None]:
    """The axes of a figure, and of the panel below where some of the curves have a true tail."""
    if not any(curve.truth.any() for curve in curves):
        return figure.add_subplot(), None
    figure.set_figheight(figure.get_figheight() + (HEIGHT + AROUND) / 72)
    grid = figure.add_gridspec(2, 1, height_ratios=[UPPER, HEIGHT])
    return figure.add_subplot(grid[0]), figure.add_subplot(grid[1], gid="lower-panel")


def draw_tail(axes: Axes, strokes: list[Stroke]) -> list[Entry]:
    """The tails of those curves that have one, each a line through its true values; what LAPACK returns as dots."""
    partly = any((stroke.curve.noise & ~stroke.curve.truth).any() for stroke in strokes)
    everything = [stroke.curve for stroke in strokes]
    strokes = [stroke for stroke in strokes if stroke.curve.truth.any()]
    curves = [stroke.curve for stroke in strokes]
    places = places_of(curves)
    low, high = depths(curves, places)
    margin = max(0.02 * (places.last - places.first), 0.15)
    axes.set_xlim(places.first - margin, places.last + margin)
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    name_axes(axes, curves, places, name_among(curves[0], everything) if len(curves) == 1 < len(everything) else "")
    for curve, line in strokes:
        trace(axes, curve, line, places, alone=len(strokes) == 1)
    dots = draw_returned(axes, curves, places)
    draw_bound(axes, curves, places, dots)
    return entries_of(axes, curves, partly=partly)


def entries_of(axes: Axes, curves: list[Curve], *, partly: bool) -> list[Entry]:
    """What the legend says of the lower panel; `partly` says that some values in the noise have no true one there."""
    known = sum(int(curve.truth.sum()) for curve in curves)
    missing = sum(int((curve.noise & ~curve.truth).sum()) for curve in curves)
    their = f"{known} of their" if partly else "their" if known > 1 else "its"
    marked = [line for line in axes.get_lines() if line.get_gid() == "open-marks"]
    colour = axes.get_lines()[0].get_color() if len(curves) == 1 else GREY
    marker = marked[0].get_marker() if marked else ""
    handle = Line2D([], [], color=colour, linestyle="-", linewidth=0.8, marker=marker, markerfacecolor="white")
    others = [remark(f"{missing} in the noise: exactly 0, or not resolved")] if missing else []
    what = f"{their} true {'values' if partly or known > 1 else 'value'}, enclosed: lower panel"
    return [Entry(handle, "", what), *others]


def places_of(curves: list[Curve]) -> Places:
    """From a few places before the first value in the noise to the last; counted from there if the curves differ."""
    from_last = len({len(curve.logs) for curve in curves}) > 1
    starts, ends = [], []
    for curve in curves:
        shift = len(curve.logs) if from_last else 0
        starts.append(max(1.0, float(curve.index[curve.truth][0]) - CONTEXT) - shift)
        ends.append(float(curve.index[~curve.zero][-1]) - shift)
    return Places(min(starts), max(ends), from_last)


def depths(curves: list[Curve], places: Places) -> tuple[float, float]:
    """The logarithms from which and to which the panel reaches."""
    ends = [bound_of(curves)]
    for curve in curves:
        shown = places.shown(curve)[: len(curve.logs)]
        ends += [float((curve.logs - curve.halves)[shown].min()), float((curve.logs + curve.halves)[shown].max())]
        ends.append(float(logs_of(curve)[curve.noise & (curve.values > 0)].min(initial=ends[0])))
    low, high = min(ends), max(ends)
    return low, 0.0 if high > low / 4 else high  # a deep panel may as well begin at 1


def bound_of(curves: list[Curve]) -> float:
    """The logarithm below which every curve of the panel is noise."""
    return math.log10(min(curve.floor for curve in curves))


def logs_of(curve: Curve) -> Array:
    """log10 of the values that LAPACK returns, where they are not zero."""
    return np.log10(curve.values, out=np.zeros_like(curve.values), where=curve.values > 0)


def name_axes(axes: Axes, curves: list[Curve], places: Places, name: str) -> None:
    """The heading, the labels and the ticks; `name` is that of the only curve of several that is in the panel."""
    first, last = round(places.first), round(places.last)
    which = f"The last {last - first + 1} values of each" if places.from_last else f"Indices {first} to {last}"
    words = "a line joins the true values" if len(curves) == 1 else "lines join the true values"
    heading = f"{which}: {words}, dots are what LAPACK returns"
    text = axes.annotate(heading, (0, 1), (0, 5), "axes fraction", "offset points", fontsize=SMALL, color=GREY)
    if name:
        inscribe(text, name, WIDTH, f", {heading[0].lower()}{heading[1:]}")
    axes.set_xlabel("index $i$, counted from the last" if places.from_last else "index $i$")
    axes.set_ylabel(r"$\sigma_i\,/\,\sigma_1$")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 4, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda exponent, _: rf"$\mathdefault{{10^{{{exponent:.0f}}}}}$"))
    axes.xaxis.set_major_locator(FixedLocator(place_ticks(first, last)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:.0f}".replace("-", "\N{MINUS SIGN}")))


def place_ticks(first: int, last: int) -> list[int]:
    """The last place, and round numbers before it."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if (last - first) / step < 10)
    between = range(-(-first // step) * step, last, step)
    return [*(tick for tick in between if last - tick > step / 2), last]


def trace(axes: Axes, curve: Curve, line: Line2D, places: Places, *, alone: bool) -> None:
    """A line through the true values; filled marks where LAPACK agrees, open ones where it returns noise."""
    known = places.shown(curve)[: len(curve.logs)]
    x, y, hidden = places.of(curve)[: len(curve.logs)], curve.logs, curve.truth[: len(curve.logs)]
    colour, width = line.get_color(), line.get_linewidth()
    marker = "o" if alone else line.get_marker()
    if np.count_nonzero(known) > FEW:
        marker = ""
    axes.plot(x[known], y[known], color=colour, linestyle=line.get_linestyle(), marker="", linewidth=width, zorder=3)
    if marker not in ("", "None", None):
        style: dict[str, Any] = {"color": colour, "linestyle": "", "marker": marker, "markersize": 4.0}
        axes.plot(x[known & ~hidden], y[known & ~hidden], zorder=4, gid="filled-marks", **style)
        axes.plot(x[hidden], y[hidden], zorder=4, markerfacecolor="white", gid="open-marks", **style)
    low, high = axes.get_ylim()
    wide = known & (curve.halves > SEEN * (high - low))
    if wide.any():
        ends = (y - curve.halves)[wide], (y + curve.halves)[wide]
        axes.vlines(x[wide], *ends, color=colour, linewidth=3 * width, alpha=0.35, zorder=2, gid="pale-bars")
    if alone and marker:
        both = hidden & (curve.values[: len(hidden)] > 0)
        tops = logs_of(curve)[: len(hidden)][both]
        axes.vlines(x[both], y[both], tops, color=PALE, linewidth=0.6, zorder=2, gid="distances")


def draw_returned(axes: Axes, curves: list[Curve], places: Places) -> Line2D:
    """What LAPACK returns in the place of the true values: grey dots, as in the upper panel."""
    wanted = [curve.noise & (curve.values > 0) for curve in curves]
    x = np.concatenate([places.of(curve)[flags] for curve, flags in zip(curves, wanted, strict=True)])
    y = np.concatenate([logs_of(curve)[flags] for curve, flags in zip(curves, wanted, strict=True)])
    size = 5.0 if len(x) <= FEW else 2.5
    (dots,) = axes.plot(x, y, ".", markersize=size, color=PALE, zorder=5, gid="returned-values")
    return dots


def draw_bound(axes: Axes, curves: list[Curve], places: Places, dots: Line2D) -> None:
    """The error bound of the arithmetic, where its name has room above its right end."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    floor, start = bound_of(curves), right - 0.25 * (right - left)
    x = np.linspace(start, right, 26)
    heights = [np.interp(x, places.of(curve)[: len(curve.logs)], curve.logs) for curve in curves]
    heights.append(np.asarray(dots.get_ydata())[np.asarray(dots.get_xdata()) > start])
    taken = np.concatenate(heights)
    if np.any((taken > floor - 0.01 * (high - low)) & (taken < floor + 0.2 * (high - low))):
        return
    axes.axhline(floor, color=PALE, linewidth=0.8, zorder=1, gid="grey-line")
    words = "error bound" if len(curves) == 1 else "least error bound"
    place: dict[str, Any] = {"xytext": (-2, 3), "textcoords": "offset points", "ha": "right"}
    axes.annotate(words, (1, floor), xycoords=axes.get_yaxis_transform(), fontsize=SMALL, color=GREY, **place)
