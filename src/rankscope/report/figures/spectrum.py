"""Singular values on a logarithmic axis, with the floor below which they are noise.

Curve: the singular values of a matrix, divided by the largest. Values that are exactly zero have no place on a
logarithmic axis: the legend counts them. Where there are too many matrices for a colour each, those have one colour
that share what the legend names, and heads of several layers the colour of their layer.

Pale band: from the least to the greatest value at each index, of matrices that differ in their seeds alone; the line
in it is their median. A value in the noise counts as less than any other, so that a band which holds noise reaches
down to where the noise begins.

Shaded band: a computed value that lies here is smaller than the bound of its own error, and the bound of every other
matrix of the figure. It is rounding, not the matrix. A script that counts such values, or multiplies them to a
determinant, reports noise.

Grey dots: values below the bound of their own error, which for one matrix of several can lie above the band. Nothing
joins them, since nothing does.

Dashed line: the tolerance of the numerical rank, which is the number of values above it.

Light band: the tolerances of the numerical ranks, from the least to the greatest of these matrices. The numerical
rank of a matrix is the number of its values above its own tolerance.

Arrow: the true smallest value is known by another way. It lies in the noise, or below the axis.

Open arrow: the head of this arrow is open and not filled. The smallest value is estimated by another way, and not
proved. The estimate lies in the noise, or below the axis.

Lower panel: the last values once more, on an axis that reaches the true ones, which were enclosed in multiprecision.
The line joins those; where LAPACK returns noise, its dots are grey and the marks of the true values open.

Pale bars: the true value is known less closely, and lies somewhere within.

Grey line: below it, in the lower panel, what LAPACK returns is smaller than the bound of its own error.
"""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from rankscope.errors import error
from rankscope.records import Table
from rankscope.report.figure import inscribe
from rankscope.report.figures._curve import (
    Curve,
    by_seed,
    check_spectra,
    curves_of,
    names_of,
    reasons_for_none,
)
from rankscope.report.figures._frame import frame
from rankscope.report.figures._limits import draw_limits, ranks
from rankscope.report.figures._many import (
    EMPHASIS,
    FEW,
    Family,
    are_alike,
    as_bands,
    colour_among,
    families_of,
    has_bands,
    telling,
)
from rankscope.report.figures._noise import NOISE, counted, draw_noise, only
from rankscope.report.figures._seeds import draw_spread, lowest_drawn, spread_of
from rankscope.report.figures._tail import Stroke, add_panels, draw_tail
from rankscope.report.figures._text import (
    GREY,
    LINE,
    SMALL,
    WIDTH,
    Entry,
    remark,
    signed,
    write_legend,
    write_title,
)

PLACE = 10
NAMED = 4  # so many means and products are named one by one
AGGREGATES = {
    "heads-mean": "means over heads",
    "heads-concatenated": "concatenations of heads",
    "layers-product": "products over layers",
}


def suits(table: Table) -> list[str]:
    """In every report on matrices."""
    return [] if table.over_depth else ["spectrum"]


def draw(figure: Figure, table: Table) -> None:
    """Draw the spectra of `table` into `figure`.

    Raises:
        UsageError: RS003, the table holds no spectra although it could.
    """
    if table.over_depth:
        raise error("RS003", "the figure 'spectrum' of a study of depth", "take the figure collapse")
    check_spectra(table)
    curves = curves_of(table)
    axes, lower = add_panels(figure, curves)
    write_title(axes, table, [curve.matrix for curve in curves] or table.matrices)
    if not curves:
        write_reasons(axes, reasons_for_none(table))
        return
    bottom = frame(axes, curves)
    groups = by_seed(curves)
    few = len(groups) <= FEW and len(curves) > 1
    if len(curves) == 1:
        entries, strokes = draw_one(axes, curves[0])
    elif few:
        entries, strokes = draw_few(axes, groups)
    else:
        entries, strokes = draw_many(figure, axes, curves)
    if lower is not None:
        entries += draw_tail(lower, strokes)
        figure.align_ylabels([axes, lower])
    brief = few and len(groups) == len(curves)  # the legend has the numbers of each
    heads = parts_of(curves)[0]
    counted_once = [] if few or telling(heads) else heads  # the legend counts those of each kind
    entries += draw_limits(axes, curves, bottom, counted_once, brief=brief)
    entries += without_curve(table, curves)
    several = len(curves) > 1 or any(entry.is_wide for entry in entries)
    write_legend(figure, lower or axes, entries, single_column=several)


def write_reasons(axes: Axes, reasons: list[str]) -> None:
    """In the place of curves: why there are none."""
    axes.set_axis_off()
    for row, reason in enumerate(reasons):
        place = (0, LINE * (len(reasons) / 2 - row))
        text = axes.annotate("", (0.5, 0.5), place, "axes fraction", "offset points", color=GREY, ha="center")
        text.set_fontsize(SMALL)
        inscribe(text, reason, WIDTH)


# --- curves -----------------------------------------------------------------------------------------------------


def draw_one(axes: Axes, curve: Curve) -> tuple[list[Entry], list[Stroke]]:
    """One spectrum with its noise."""
    marker = "o" if curve.order <= 64 else ""
    (line,) = axes.plot(curve.index, only(curve.values, curve.data), linestyle="-", marker=marker, zorder=3)
    line.set_gid("curve")
    entries = [Entry(line, "", f"{counted(curve.data)} above the error bound")]
    entries += draw_noise(axes, [curve], f"{counted(curve.noise)} below it")
    if curve.zero.any():
        entries.append(remark(f"{counted(curve.zero)} exactly 0: not on this axis"))
    if len(curve.values) < curve.order:
        entries.append(remark(f"only the leading {len(curve.values)} of {curve.order} values are known"))
    return entries, [Stroke(curve, line)]


def draw_few(axes: Axes, groups: list[list[Curve]]) -> tuple[list[Entry], list[Stroke]]:
    """A handful of spectra, each with its own colour, dash and marker; those that differ in the seed are a band."""
    entries: list[Entry] = []
    strokes: list[Stroke] = []
    floor = lowest_drawn(axes, [curve for group in groups for curve in group])
    for place, (group, name) in enumerate(zip(groups, names_of(groups), strict=True)):
        first = group[0]
        step = max(1, len(first.values) // 9)
        every = (step * (place + 1) // (len(groups) + 1), step)
        emphasis = 2.2 if first.series.over else 1.5
        (line,) = axes.plot(first.index, only(first.values, first.data), markevery=every, zorder=3, linewidth=emphasis)
        strokes += draw_spread(axes, line, group, floor) if len(group) > 1 else [Stroke(first, line)]
        line.set_gid(None if place else "curve")
        entries.append(Entry(line, name, facts(group)))
    return entries + draw_noise(axes, [curve for group in groups for curve in group], NOISE), strokes


def facts(group: list[Curve]) -> str:
    """What the legend says of one of several curves, or of those that differ in the seed."""
    found = [f"{len(group)} seeds (band) and their median"] if len(group) > 1 else []
    if ranks(group):
        found.append(ranks(group))
    if len(group) == 1 and group[0].log_hidden is not None:
        value = signed(group[0].log_hidden)
        found.append(f"log₁₀ σₘᵢₙ ≈ {value}" if group[0].estimated else f"true log₁₀ σₘᵢₙ = {value}")
    if any(curve.zero.any() for curve in group):
        found.append(f"{sum(int(curve.zero.sum()) for curve in group)} exactly 0")
    if any(len(curve.values) < curve.order for curve in group):
        found.append(f"leading {min(len(curve.values) for curve in group)}")
    return ": " + ", ".join(found) if found else ""


def parts_of(curves: list[Curve]) -> tuple[list[Curve], list[Curve]]:
    """The heads, and the means and products of them."""
    heads = [curve for curve in curves if curve.series.over is None]
    return (heads, [curve for curve in curves if curve.series.over]) if heads else (curves, [])


def draw_many(figure: Figure, axes: Axes, curves: list[Curve]) -> tuple[list[Entry], list[Stroke]]:
    """Thin lines in the colours of their families, the median of those of one kind; means and products apart."""
    heads, aggregates = parts_of(curves)
    families = families_of(figure, axes, heads)
    banded = has_bands(heads)
    strokes = [stroke for family in families for stroke in draw_family(axes, family, heads, banded=banded)]
    one = "head" if aggregates else "spectrum"
    entries = [Entry(each.sample, each.name, said_of(each, one, banded=banded)) for each in families]
    if not banded and are_alike(heads):
        (line,) = axes.plot(*spread_of(heads)[:3:2], color="black", linestyle="--", marker="", zorder=5)
        entries.append(Entry(line, "", f"median of the {len(heads)} heads" if aggregates else "their median"))
    named, others = draw_aggregates(axes, aggregates, families)
    entries += named + draw_noise(axes, curves, NOISE)
    zeros = sum(int(curve.zero.sum()) for curve in curves)
    if zeros:
        entries.append(remark(f"{zeros} values exactly 0: not on this axis"))
    return entries, [*strokes, *others]


def draw_family(axes: Axes, family: Family, heads: list[Curve], *, banded: bool) -> list[Stroke]:
    """The curves of one family: thin lines, or bands over the seeds with their medians."""
    if not banded:
        paths = [np.column_stack([curve.index, only(curve.values, curve.data)]) for curve in family.curves]
        lines = LineCollection(paths, linewidths=0.8 if family.trait else 0.6, colors=family.colours, zorder=3)
        lines.set(linestyles=family.dash, gid="curve")
        axes.add_collection(lines, autolim=False)
        return list(map(Stroke, family.curves, family.samples))
    strokes, floor = [], lowest_drawn(axes, heads)
    for group, colour in family.bands:
        (line,) = axes.plot([], [], color=colour, linestyle=family.dash, marker="", linewidth=1.0, zorder=3)
        line.set_gid("curve")
        strokes += draw_spread(axes, line, group, floor)
    return strokes


def said_of(family: Family, one: str, *, banded: bool) -> str:
    """What the legend says of a family: how many curves it has, how they are drawn, and its numerical ranks."""
    several = {"head": "heads", "spectrum": "spectra"}[one]
    found = [f"{len(family.curves)} {one if len(family.curves) == 1 else several}" + as_bands(family) * banded]
    found += ["coloured by layer"] if family.layered else []
    found += [ranks(family.curves)] if family.trait and ranks(family.curves) else []
    return ": " * bool(family.name) + ", ".join(found)


def draw_aggregates(axes: Axes, curves: list[Curve], families: Sequence[Family]) -> tuple[list[Entry], list[Stroke]]:
    """Means over heads and products over layers: each with its name, or where they are many, each kind."""
    entries, strokes = [], []
    for (name, group), (other, marker) in zip(apart(curves), cycle(EMPHASIS), strict=False):
        colour = colour_among(group, families, other)
        for curve in group:
            step = max(1, len(curve.values) // 9)
            heights = only(curve.values, curve.data)
            (line,) = axes.plot(curve.index, heights, "-", color=colour, marker=marker, markevery=step, zorder=4)
            line.set_linewidth(1.6 if len(group) == 1 else 1.0)
            line.set_markersize(3)
            strokes.append(Stroke(curve, line))
        one = len(by_seed(group)) == 1
        entries.append(Entry(line, name, facts(group) if one else f": {ranks(group)}" * bool(ranks(group))))
    return entries, strokes


def apart(curves: list[Curve]) -> list[tuple[str, list[Curve]]]:
    """Means over heads and products over layers by their names, or where they are many, by their kind."""
    named = by_seed(curves)
    if len(named) <= NAMED:
        return list(zip(names_of(named), named, strict=True))
    kinds = [[curve for curve in curves if curve.series.over == over] for over in dict.fromkeys(map(over_of, curves))]
    return [(kind_of(group), group) for group in kinds]


def kind_of(group: list[Curve]) -> str:
    """The name of a mean or a product, or of several of a kind."""
    over = over_of(group[0])
    return names_of([group])[0] if len(group) == 1 else f"{len(group)} {AGGREGATES.get(over, over)}"


def over_of(curve: Curve) -> str:
    """What a curve is a mean or a product over."""
    return curve.series.over or ""


# --- small things -----------------------------------------------------------------------------------------------


def without_curve(table: Table, curves: list[Curve]) -> list[Entry]:
    """A remark on the matrices that have no curve."""
    missing = len({matrix.id for matrix in table.matrices} - {curve.matrix.id for curve in curves})
    return [remark(f"{missing} of {len(table.matrices)} matrices: no value to draw")] if missing else []
