"""The limits of a spectrum in a figure: the floor of noise, the tolerance of the rank, the true smallest value.

Each is a line or a band with words on it. Words stand where no line and no curve passes; where there is no such
place, they move into the legend.
"""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from rankscope.report.figure import printable, width_of
from rankscope.report.figures._curve import Curve
from rankscope.report.figures._room import HEIGHT, Room
from rankscope.report.figures._text import (
    GREY,
    INK,
    SMALL,
    WIDTH,
    Entry,
    inscribe_entry,
    power,
    remark,
    scientific,
    signed,
    span,
)

BAND = "#ececec"
TAN = "#f6e3c5"
FAR = 1e4  # a floor or a tolerance that lies this far below every value is named, not drawn
FREE = 0.6  # the part of the width, from either end, in which no curve may cross words on a line
BAR = 45.0  # points that a colour bar takes


def draw_limits(axes: Axes, curves: list[Curve], bottom: float, ranked: list[Curve], *, brief: bool) -> list[Entry]:
    """All limits; the ranks that are counted are those of the curves `ranked`, and none when `brief`."""
    floor = floor_of(curves)
    limits = distinct(tolerances(curves))
    bar = any(each.get_label() == "<colorbar>" for each in figure.axes) if (figure := axes.get_figure()) else False
    room = Room(axes, WIDTH - BAR * bar)
    if floor > bottom:
        room.line(floor, floor)
    if limits and limits[-1] > bottom:
        room.line(max(limits[0], bottom), limits[-1])
    entries = draw_floor(room, curves, bottom)
    entries += draw_hidden(room, curves, bottom, brief=brief)
    return draw_tolerance(room, curves, bottom, "" if brief else ranks(ranked)) + entries


def floor_of(curves: list[Curve]) -> float:
    """The height below which no curve has data: the floor of one, the least bound of any value of several."""
    return curves[0].floor if len(curves) == 1 else min(curve.least_bound for curve in curves)


def draw_floor(room: Room, curves: list[Curve], bottom: float) -> list[Entry]:
    """The band in which values are noise; for several curves up to the least of their bounds."""
    axes, floor = room.axes, floor_of(curves)
    if not floor:
        return []
    if floor <= bottom:
        return [remark(f"{'least ' * (len(curves) > 1)}error bound {scientific(floor)}, below this axis")]
    if len(curves) == 1 and curves[0].bounds.min() < floor:
        bounds = np.concatenate([curves[0].bounds, curves[0].bounds[-1:]])
        left, right = axes.get_xlim()
        places = np.concatenate([[left], curves[0].index[1:], [right]])
        heights = np.maximum(bounds, bottom)
        axes.fill_between(places, bottom, heights, color=BAND, linewidth=0, zorder=0, gid="shaded-band")
    else:
        axes.axhspan(bottom, floor, color=BAND, linewidth=0, zorder=0, gid="shaded-band")
    words = "below the error bound of the arithmetic: noise" if len(curves) == 1 else "below every error bound: noise"
    early = max(np.count_nonzero(curve.data) for curve in curves) < max(curve.order for curve in curves) / 2
    hidden = any(curve.log_hidden is not None for curve in curves)  # those words stand at the right
    for height in (floor, *(limit for limit in reversed(distinct(tolerances(curves))) if bottom < limit < floor)):
        side = "right" if early and not hidden else "left"
        share = room.share(words) + 9 / room.width
        left, right = (0.0, share) if side == "left" else (1 - share, 1.0)
        if room.words(room.points(height) - 13, room.points(height) - 2, left, right):
            beside(axes, height, side, below=True).set_text(words)
            return []
    return [Entry(Patch(facecolor=BAND), "", words)]


def draw_tolerance(room: Room, curves: list[Curve], bottom: float, counted: str) -> list[Entry]:
    """The tolerance of the numerical rank, with its rule and the count; a light band where tolerances differ."""
    axes, limits = room.axes, tolerances(curves)
    rules = {curve.rule for curve in curves if curve.tolerance} - {""}
    of, rule, end = (" (rule ", rules.pop(), ")") if len(rules) == 1 else ("", "", "")
    count = end + (f": {counted}" if counted else "")
    if not limits:
        return [remark(counted)] if counted else []
    greatest = max(limits)
    if greatest <= bottom:
        return [remark(f"{end}, below this axis{count[len(end) :]}", rule, f"tolerance {scientific(greatest)}{of}")]
    handle: Patch | Line2D = Patch(facecolor=TAN)
    if len(distinct(limits)) > 1:
        low = max(min(limits), bottom)
        axes.axhspan(low, greatest, color=TAN, alpha=0.8, linewidth=0, zorder=0.5, gid="light-band")
        words = f"tolerances {scientific(min(limits))} to {scientific(greatest)}{of}"
    else:
        handle = axes.axhline(greatest, color=INK, linestyle=(0, (5, 3)), linewidth=0.8, zorder=1, gid="dashed-line")
        words = f"tolerance{of}"
    entry = Entry(handle, rule, count, words)
    sides = free_sides(axes, curves, greatest)
    above = room.points(greatest)
    fits = width_of(Text(fontsize=SMALL), words + printable(rule) + count) <= FREE * WIDTH
    if not sides or not fits or greatest < floor_of(curves) or not room.words(above + 2, above + 13):
        return [entry]
    inscribe_entry(beside(axes, greatest, sides[0], below=False), entry, FREE * WIDTH)
    return []


def free_sides(axes: Axes, curves: list[Curve], height: float) -> list[str]:
    """At which ends of a horizontal line no curve crosses words that stand on it."""
    bottom, top = axes.get_ylim()
    ceiling = height * (top / bottom) ** 0.08
    if ceiling >= top:
        return []
    return [side for side in ("left", "right") if not any(meets(curve, side, height, ceiling) for curve in curves)]


def meets(curve: Curve, side: str, low: float, high: float) -> bool:
    """Whether a curve passes between two heights in the left or the right part of the figure."""
    part = curve.index < FREE * curve.order if side == "left" else curve.index > (1 - FREE) * curve.order
    inside = curve.values[part & curve.data]
    return bool(inside.size and inside.min() < high and inside.max() > low)


def beside(axes: Axes, height: float, side: str, *, below: bool) -> Text:
    """An empty text at an end of a horizontal line."""
    text = axes.annotate(
        "",
        (0 if side == "left" else 1, height),
        (5 if side == "left" else -5, -3 if below else 3),
        axes.get_yaxis_transform(),
        textcoords="offset points",
        ha=side,
        va="top" if below else "baseline",
        fontsize=SMALL,
        color=GREY if below else INK,
        zorder=5,
    )
    text.set_path_effects([withStroke(linewidth=2, foreground=BAND if below else "white")])
    return text


def draw_hidden(room: Room, curves: list[Curve], bottom: float, *, brief: bool) -> list[Entry]:
    """An arrow towards the smallest value, where it lies in the noise or below the axis; open for an estimate."""
    axes = room.axes
    hidden = [(curve.log_hidden, curve) for curve in curves if curve.log_hidden is not None]
    if not hidden:
        return []
    exponents = [exponent for exponent, _ in hidden]
    depth = max(exponent - math.log10(curve.largest) for exponent, curve in hidden) - math.log10(bottom)
    where = "far below this axis" if depth < -3 else "below this axis" if depth < 0 else "in the noise"
    if all(curve.truth.any() for _, curve in hidden):
        where = "see the lower panel"
    ends = (min(exponents), max(exponents))
    share = f"all {len(curves)}" if len(hidden) == len(curves) else f"{len(hidden)} of {len(curves)}"
    of = f" of {share} matrices" if len(curves) > 1 else ""
    estimated = any(curve.estimated for _, curve in hidden)
    true, equals = ("", "≈") if estimated else ("true ", "=")
    height = bottom * 10 ** max(depth, 0)
    order = max(curve.order for _, curve in hidden)
    head, mark = ("->", "open-arrow") if estimated else ("-|>", "arrow")
    tip = {"arrowstyle": f"{head},head_length=0.35,head_width=0.15", "color": INK, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (order, height), (0, 15), textcoords="offset points", arrowprops=tip, zorder=5, gid=mark)
    value = "" if brief else f" {equals} " + " to ".join(dict.fromkeys(map(power, ends)))
    words = rf"{true}$\sigma_{{\min}}${of}{value}, {where}"
    spot = spot_on_arrow(room, curves, order, height, words)
    if spot is None:
        exact = "" if brief else f" {equals} " + " to ".join(dict.fromkeys(map(signed, ends)))
        return [remark(f"arrow: {true}log₁₀ σₘᵢₙ{of}{exact}, {where}")]
    index, place, left = spot
    text = axes.annotate(
        words,
        (index, height),
        (-7 if left else 7, place + 6 - room.points(height)),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize=SMALL,
        zorder=5,
    )
    text.set_path_effects([withStroke(linewidth=2, foreground=BAND)])
    return []


def spot_on_arrow(
    room: Room, curves: list[Curve], order: int, height: float, words: str
) -> tuple[int, float, bool] | None:
    """The index and the height at which words on an arrow stand, and whether to its left; None where nothing is free.

    They stand in a row of their own, before the noise. Where that would cover a curve or a dot, they stand elsewhere in
    the noise, even in the row of other words; but figures of one panel, which are older, stay as they are.
    """
    left = order > max(curve.order for curve in curves) / 2
    first = min((int(curve.index[curve.noise][0]) for curve in curves if curve.noise.any()), default=order)
    start = first if left and first > order / 2 else order
    low, roof = room.points(height), room.points(floor_of(curves)) if floor_of(curves) else HEIGHT

    def breadth(index: int) -> tuple[float, float]:
        near, share = room.part(index) + (-7 if left else 7) / room.width, room.share(words)
        return (near - share, near) if left else (near, near + share)

    own = next((place for place in places(room, curves, height) if room.free(place, place + 12)), None)
    if own is None:
        return None
    spots = [(start, own), (order, roof - 13)]
    spots += [(index, place) for place in np.arange(low + 1, roof - 12, 2.0).tolist() for index in (start, order)]
    for index, place in spots:
        extent = (place, place + 12, *breadth(index))
        if not room.drawn(curves, *extent) and (place == own or room.free(*extent)):
            room.taken.append(extent)
            return index, place, left
    return None


def places(room: Room, curves: list[Curve], height: float) -> list[float]:
    """Heights, in points, at which words may stand on the arrow: at its tip, or above or below what is in the way."""
    low = room.points(height)
    above = sorted(high + 1 for _, high, *_ in room.taken if low < high < low + 24)
    roof = max(room.points(floor_of(curves)), low + 14) if floor_of(curves) else HEIGHT
    below = [one - 13 for one, *_ in room.taken if one <= low + 14]
    return [low + 1, *(place for place in above if place + 12 <= roof), *below]


def tolerances(curves: list[Curve]) -> list[float]:
    """The tolerances that are known, on the scale of the axis."""
    return [curve.tolerance for curve in curves if curve.tolerance]


def distinct(limits: list[float]) -> list[float]:
    """Those of the `limits` that can be told apart in a figure, in ascending order."""
    kept: list[float] = []
    for limit in sorted(limits):
        if not kept or limit > 2 * kept[-1]:
            kept.append(limit)
    return kept


def ranks(curves: list[Curve]) -> str:
    """The numerical ranks of the curves: `numerical rank 502 of 512`, `numerical ranks 498 to 512 of 512`."""
    found = [curve.rank.value for curve in curves if curve.rank and curve.rank.value is not None]
    if not found:
        return ""
    orders = {curve.order for curve in curves}
    plural = "s" if min(found) < max(found) else ""
    return f"numerical rank{plural} {span(found)}" + (f" of {orders.pop()}" if len(orders) == 1 else "")
