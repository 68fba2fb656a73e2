"""Singular values on a logarithmic axis, with the floor below which they are noise.

The curve shows the singular values, divided by the largest. In the shaded band a computed value is smaller than the
bound of its own error: what lies there is rounding, not the matrix, and is drawn as loose grey dots. A script that
counts such values, or multiplies them to a determinant, reports noise.

The dashed line is the tolerance of the numerical rank, which is the number of values above it. Where the true
smallest value is known by another way and lies in the band or below, an arrow says where. Values that are exactly
zero have no place on a logarithmic axis: the legend counts them.
"""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter, NullLocator

from rankscope.records import Table
from rankscope.report.figures._curve import Array, Curve, Flags, curves_of, names_of, reason_for_none
from rankscope.report.figures._limits import FEW, draw_floor, draw_hidden, draw_tolerance, tolerances
from rankscope.report.figures._text import (
    GREY,
    PALE,
    Entry,
    remark,
    signed,
    span,
    write_legend,
    write_title,
)

DOTS = 256  # noise says nothing more when more of it is drawn
FAR = 1e4  # a floor or a tolerance that lies this far below every value is named, not drawn


def draw(figure: Figure, table: Table) -> None:
    """Draw the spectra of `table` into `figure`."""
    axes = figure.add_subplot()
    curves = curves_of(table)
    write_title(axes, table, [curve.matrix for curve in curves] or table.matrices)
    if not curves:
        axes.set_axis_off()
        axes.text(0.5, 0.5, reason_for_none(table), ha="center", va="center", color=GREY, transform=axes.transAxes)
        return
    bottom = frame(axes, curves)
    if len(curves) == 1:
        entries = draw_one(axes, curves[0])
    elif len(curves) <= FEW:
        entries = draw_few(axes, curves)
    else:
        entries = draw_many(figure, axes, curves)
    entries += draw_floor(axes, curves, bottom) + draw_tolerance(axes, curves, bottom)
    draw_hidden(axes, curves, bottom)
    entries += without_curve(table, curves)
    write_legend(figure, axes, entries, single_column=len(curves) > 1 or any(entry.is_wide for entry in entries))


def frame(axes: Axes, curves: list[Curve]) -> float:
    """Set up the axes; the lower end of the vertical one lies a little below what is worth seeing."""
    lowest = min(float(curve.values[curve.data].min()) for curve in curves)
    floor = max(curve.floor for curve in curves)
    reached = any(curve.noise.any() or curve.log_hidden is not None for curve in curves)
    limits = [0.1, lowest / 2, *(limit / 3 for limit in tolerances(curves) if limit * FAR > lowest)]
    if floor and (reached or floor * FAR > lowest):
        limits.append(floor**1.25 if floor < 1e-4 else floor / 10)
    bottom = max(min(limits), 1e-300)
    order = max(curve.order for curve in curves)
    margin = max(0.5, 0.012 * order)
    axes.set_yscale("log")
    axes.set_ylim(bottom, min(bottom**-0.03, 4.0))
    axes.set_xlim(1 - margin, order + margin)
    axes.yaxis.set_major_locator(FixedLocator(power_ticks(bottom)))
    axes.yaxis.set_minor_locator(LogLocator(subs="all") if bottom > 1e-6 else NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(FixedLocator(index_ticks(order)))
    axes.set_xlabel("index $i$")
    axes.set_ylabel(r"singular value  $\sigma_i\,/\,\sigma_1$")
    return bottom


def power_ticks(bottom: float) -> list[float]:
    """Powers of ten from 1 down to `bottom`, at equal steps and at most ten of them."""
    decades = -math.log10(bottom)
    step = next(step for step in (1, 2, 5, 10, 20, 50) if decades / step < 10)
    return [10.0**-exponent for exponent in range(0, math.floor(decades) + 1, step)]


def index_ticks(order: int) -> list[int]:
    """The first index, the last, and round numbers between: eighths for orders like 512 and 768."""
    eighths = order % 64 == 0 or (order >= 8 and order.bit_count() == 1)
    step = order // 8 if eighths else max(1, round(float(f"{order / 6:.0e}")))
    between = [tick for tick in range(step, order - step // 2, step) if tick > 1 + step // 2]
    return [1, *between, order] if order > 1 else [1]


# --- curves -----------------------------------------------------------------------------------------------------


def draw_one(axes: Axes, curve: Curve) -> list[Entry]:
    """One spectrum with its noise."""
    marker = "o" if curve.order <= 64 else ""
    (line,) = axes.plot(curve.index, only(curve.values, curve.data), linestyle="-", marker=marker, zorder=3)
    entries = [Entry(line, "", f"{counted(curve.data)} above the error bound")]
    if curve.noise.any():
        entries.append(Entry(draw_noise(axes, [curve]), "", f"{counted(curve.noise)} below it: noise"))
    if curve.zero.any():
        entries.append(remark(f"{counted(curve.zero)} exactly 0: not on this axis"))
    if len(curve.values) < curve.order:
        entries.append(remark(f"only the leading {len(curve.values)} of {curve.order} values are known"))
    return entries


def draw_few(axes: Axes, curves: list[Curve]) -> list[Entry]:
    """A handful of spectra, each with its own colour, dash and marker."""
    entries = []
    for place, (curve, name) in enumerate(zip(curves, names_of(curves), strict=True)):
        step = max(1, len(curve.values) // 9)
        every = (step * (place + 1) // (len(curves) + 1), step)
        (line,) = axes.plot(curve.index, only(curve.values, curve.data), markevery=every, zorder=3)
        entries.append(Entry(line, name, facts(curve)))
    if any(curve.noise.any() for curve in curves):
        entries.append(Entry(draw_noise(axes, curves), "", "values below their error bound: noise"))
    return entries


def facts(curve: Curve) -> str:
    """What the legend says of one of several curves."""
    found = []
    if curve.rank and curve.rank.value is not None:
        found.append(f"numerical rank {span([curve.rank.value])} of {curve.order}")
    if curve.log_hidden is not None:
        found.append(f"true log₁₀ σₘᵢₙ = {signed(curve.log_hidden)}")
    if curve.zero.any():
        found.append(f"{curve.zero.sum()} exactly 0")
    if len(curve.values) < curve.order:
        found.append(f"leading {len(curve.values)}")
    return ": " + ", ".join(found) if found else ""


def draw_many(figure: Figure, axes: Axes, curves: list[Curve]) -> list[Entry]:
    """Thin lines, coloured by layer where there are several layers, with their median."""
    colours = colour_by_layer(figure, axes, [curve.series.layer for curve in curves])
    paths = [np.column_stack([curve.index, only(curve.values, curve.data)]) for curve in curves]
    axes.add_collection(LineCollection(paths, linewidths=0.6, colors=colours, zorder=3), autolim=False)
    sample = Line2D([], [], color=colours[len(curves) // 2], linewidth=0.8)
    zeros = sum(int(curve.zero.sum()) for curve in curves)
    entries = [Entry(sample, "", f"{len(curves)} spectra" + ", coloured by layer" * (len(set(colours)) > 1))]
    if len({len(curve.values) for curve in curves}) == 1:
        # A value in the noise counts as less than any other: where most are noise, the median is not known.
        median = np.median([np.where(curve.data, curve.values, 0.0) for curve in curves], axis=0)
        drawn = only(median, median > 0)
        (line,) = axes.plot(curves[0].index, drawn, color="black", linestyle="--", marker="", zorder=4)
        entries.append(Entry(line, "", "their median"))
    if any(curve.noise.any() for curve in curves):
        entries.append(Entry(draw_noise(axes, curves), "", "values below their error bound: noise"))
    if zeros:
        entries.append(remark(f"{zeros} values exactly 0: not on this axis"))
    return entries


def colour_by_layer(figure: Figure, axes: Axes, layers: Sequence[int | None]) -> list[str]:
    """The colour of each line, and a colour bar where there is more than one layer."""
    known = [layer for layer in layers if layer is not None]
    if len(known) < len(layers) or len(set(known)) == 1:
        return [PALE] * len(layers)
    # The yellow end of cividis is too pale for a thin line on white.
    steps = max(known) - min(known) + 1
    colours = ListedColormap(matplotlib.colormaps["cividis"](np.linspace(0.0, 0.9, steps)))
    scale = ScalarMappable(Normalize(min(known) - 0.5, max(known) + 0.5), colours)
    bar = figure.colorbar(scale, ax=axes, ticks=MaxNLocator(6, integer=True), shrink=0.6, aspect=18, pad=0.02)
    bar.set_label("layer")
    bar.outline.set_linewidth(0)
    return [to_hex(colour) for colour in scale.to_rgba(np.asarray(known))]


def draw_noise(axes: Axes, curves: list[Curve]) -> Line2D:
    """Loose grey dots where a value is below the bound of its error; nothing joins them, since nothing does."""
    places = np.concatenate([curve.index[curve.noise] for curve in curves])
    heights = np.concatenate([curve.values[curve.noise] for curve in curves])
    step = max(1, len(places) // DOTS)
    (dots,) = axes.plot(places[::step], heights[::step], linestyle="", marker=".", markersize=2.5, color=PALE, zorder=2)
    return dots


# --- small things -----------------------------------------------------------------------------------------------


def without_curve(table: Table, curves: list[Curve]) -> list[Entry]:
    """A remark on the matrices that have no curve."""
    missing = len({matrix.id for matrix in table.matrices} - {curve.matrix.id for curve in curves})
    return [remark(f"{missing} of {len(table.matrices)} matrices: no value to draw")] if missing else []


def only(numbers: Array, wanted: Flags) -> Array:
    """`numbers` with a gap where they are not wanted."""
    return np.where(wanted, numbers, np.nan)


def counted(flags: Flags) -> str:
    """`1 value`, `2 values`."""
    number = int(flags.sum())
    return f"{number} value" if number == 1 else f"{number} values"
