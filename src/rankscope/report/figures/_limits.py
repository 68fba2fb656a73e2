"""The limits of a spectrum in a figure: the floor of noise, the tolerance of the rank, the true smallest value.

Each is a line or a band with words on it. Words stand where no curve passes; where there is no such place, they
move into the legend.
"""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from rankscope.report.figure import inscribe
from rankscope.report.figures._curve import Curve
from rankscope.report.figures._text import GREY, INK, SMALL, WIDTH, Entry, power, remark, scientific, span

BAND = "#ececec"
FEW = 8  # beyond this number, curves cannot be told apart by colour and dash


def draw_floor(axes: Axes, curves: list[Curve], bottom: float) -> list[Entry]:
    """The band in which values are noise; for several curves up to the highest of their bounds."""
    floor = max(curve.floor for curve in curves)
    if not floor:
        return []
    if floor <= bottom:
        return [remark(f"error bound {scientific(floor)}, below this axis")]
    if len(curves) == 1 and curves[0].bounds.min() < floor:
        bounds = np.concatenate([curves[0].bounds, curves[0].bounds[-1:]])
        left, right = axes.get_xlim()
        places = np.concatenate([[left], curves[0].index[1:], [right]])
        axes.fill_between(places, bottom, np.maximum(bounds, bottom), color=BAND, linewidth=0, zorder=0)
    else:
        axes.axhspan(bottom, floor, color=BAND, linewidth=0, zorder=0)
    early = max(np.count_nonzero(curve.data) for curve in curves) < max(curve.order for curve in curves) / 2
    hidden = any(curve.log_hidden is not None for curve in curves)  # those words stand at the right
    side = "right" if early and not hidden else "left"
    beside(axes, floor, side, below=True).set_text("below the error bound of the arithmetic: noise")
    return []


def draw_tolerance(axes: Axes, curves: list[Curve], bottom: float) -> list[Entry]:
    """The tolerance of the numerical rank, with its rule and the count."""
    limits = tolerances(curves)
    rules = {curve.rule for curve in curves if curve.tolerance} - {""}
    rule = f" (rule {rules.pop()})" if len(rules) == 1 else ""
    count = f": {ranks(curves)}" if ranks(curves) and not 1 < len(curves) <= FEW else ""
    if not limits:
        return [remark(ranks(curves))] if count else []
    if max(limits) <= bottom:
        return [remark(count, f"tolerance {scientific(max(limits))}{rule}, below this axis")]
    drawn = [
        axes.axhline(limit, color=INK, linestyle=(0, (5, 3)), linewidth=0.8 if len(curves) == 1 else 0.6, zorder=1)
        for limit in distinct(limits)
    ]
    word = "tolerance" if len(drawn) == 1 else "tolerances"
    sides = free_sides(axes, curves, max(limits))
    if not sides or max(limits) < max(curve.floor for curve in curves):  # no room for words at the line
        return [Entry(drawn[-1], f"{word}{rule}", count)]
    inscribe(beside(axes, max(limits), sides[0], below=False), f"{word}{rule}", 0.62 * WIDTH, count)
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
    part = curve.index < 0.6 * curve.order if side == "left" else curve.index > 0.4 * curve.order
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


def draw_hidden(axes: Axes, curves: list[Curve], bottom: float) -> None:
    """An arrow towards the true smallest value, where it lies in the noise or below the axis."""
    hidden = [(curve.log_hidden, curve) for curve in curves if curve.log_hidden is not None]
    if not hidden:
        return
    exponents = [exponent for exponent, _ in hidden]
    depth = max(exponent - math.log10(curve.largest) for exponent, curve in hidden) - math.log10(bottom)
    where = "far below this axis" if depth < -3 else "below this axis" if depth < 0 else "in the noise"
    powers = " to ".join(dict.fromkeys(power(exponent) for exponent in (min(exponents), max(exponents))))
    share = f"all {len(curves)}" if len(hidden) == len(curves) else f"{len(hidden)} of {len(curves)}"
    subject = r"true $\sigma_{\min}$" + (f" of {share} matrices" if len(curves) > 1 else "")
    value = "" if 1 < len(curves) <= FEW else f" = {powers}"  # a few: the legend has the numbers
    height = bottom * 10 ** max(depth, 0)
    order = max(curve.order for _, curve in hidden)
    first = min((int(curve.index[curve.noise][0]) for curve in curves if curve.noise.any()), default=order)
    left = order > max(curve.order for curve in curves) / 2  # the words stand to the left of the arrow
    text = axes.annotate(
        f"{subject}{value}, {where}",
        (first if left and first > order / 2 else order, height),
        (-7 if left else 7, 7),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize=SMALL,
        zorder=5,
    )
    text.set_path_effects([withStroke(linewidth=2, foreground=BAND)])
    tip = {"arrowstyle": "-|>,head_length=0.35,head_width=0.15", "color": INK, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (order, height), (0, 15), textcoords="offset points", arrowprops=tip, zorder=5)


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
