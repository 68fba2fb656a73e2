"""Cumulative singular values: which share of Σσ the first k of them have.

Curve: Σσᵢ over i ≤ k, divided by the sum of all, as in figure 1 of Linformer (Wang et al. 2020, arXiv 2006.04768),
where it is read at k = 128 of 512: the legend gives the share at a quarter of the values. It is a sum of σ. A curve
that rises early belongs to a matrix of few directions; one of n equal values is the diagonal.

Thin curve: the same of σ², the energy, which lies nowhere below it.

Dashed line: 90 %.

Dot: the measure energy_rank_90, the least number of values with 90 % of Σσ². It lies on the curve of the energy.

Grey line: a quarter of the values.

Shaded band: from the least to the greatest of several seeds; the curve is their median.

What to see: values below their error bound are noise, but add to every sum. The legend says which share of the sum they
have, so that a curve which ends in noise is not read as one that ends in zeros.
"""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, PercentFormatter

from rankscope.errors import error
from rankscope.records import Table
from rankscope.report.figures._curve import (
    Array,
    Curve,
    by_seed,
    check_spectra,
    curves_of,
    names_of,
    reasons_for_none,
    record_of,
)
from rankscope.report.figures._frame import index_ticks
from rankscope.report.figures._many import EMPHASIS, FEW, Family, as_bands, colour_among, families_of, has_bands
from rankscope.report.figures._text import INK, PALE, Entry, number, remark, scientific, write_legend, write_title
from rankscope.report.figures.spectrum import (
    apart,
    parts_of,
    without_curve,
    write_reasons,
)

PLACE = 20
PART = 0.9


def suits(table: Table) -> list[str]:
    """In every report on matrices."""
    return [] if table.over_depth else ["cumulative"]


def draw(figure: Figure, table: Table) -> None:
    """Draw the cumulative singular values of `table` into `figure`.

    Raises:
        UsageError: RS003, the table holds no spectra although it could, or only leading values, whose sum is not known.
    """
    if table.over_depth:
        raise error("RS003", "the figure 'cumulative' of a study of depth", "take the figure collapse")
    check_spectra(table)
    known = curves_of(table)
    curves = [curve for curve in known if len(curve.values) == curve.order]
    if known and not curves:
        given = "the figure 'cumulative' of spectra of which only the leading values are known"
        raise error("RS003", given, "take the figure spectrum")
    axes = figure.add_subplot()
    matrices = [curve.matrix for curve in curves] or table.matrices
    write_title(axes, table, matrices, what="Cumulative singular values")
    if not curves:
        write_reasons(axes, reasons_for_none(table))
        return
    order = frame(axes, curves)
    groups = by_seed(curves)
    if len(curves) == 1:
        entries = draw_one(axes, table, curves[0])
    elif len(groups) <= FEW:
        entries = draw_few(axes, groups)
    else:
        entries = draw_many(figure, axes, curves)
    entries += noise_of(curves) + draw_guides(axes, curves, order)
    short = len(known) - len(curves)
    entries += [remark(f"{short} spectra with leading values alone, whose sum is not known")] if short else []
    entries += without_curve(table, known)
    write_legend(figure, axes, entries, single_column=len(curves) > 1 or any(entry.is_wide for entry in entries))


def frame(axes: Axes, curves: Sequence[Curve]) -> int:
    """Set up the axes, from no value to the most that a matrix has, which comes back."""
    order = max(curve.order for curve in curves)
    axes.set_xlim(0, order)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(FixedLocator([0, *index_ticks(order)] if order < 16 else [0, *index_ticks(order)[1:]]))
    axes.yaxis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    axes.set_xlabel("number of values $k$")
    axes.set_ylabel(r"share  $\Sigma_{i\leq k}\,\sigma_i\,/\,\Sigma\,\sigma_i$  in %")
    return order


def shares(values: Array) -> Array:
    """The share of the sum that the first k values have, for k from 0 to all."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(sums / sums[-1])


def draw_one(axes: Axes, table: Table, curve: Curve) -> list[Entry]:
    """One matrix: the sum of σ, that of σ², and where each reaches 90 %."""
    places, parts = np.arange(curve.order + 1), shares(curve.values)
    energies = shares(np.square(curve.values))
    (line,) = axes.plot(places, parts, "-", marker="", zorder=3, gid="curve")
    (thin,) = axes.plot(places, energies, "--", marker="", color="#D55E00", linewidth=0.9, zorder=2, gid="thin-curve")
    least = int(np.searchsorted(parts, PART * (1 - 1e-12)))
    read = ", ".join([*at_quarter([curve]), f"90 % at k = {least}"])
    entries = [Entry(line, "", f"sum of σ: {read}"), Entry(thin, "", "sum of σ²")]
    record = record_of(curve.series, "energy_rank_90", table)
    if record is not None and record.value is not None:
        rank = int(record.value)
        (dot,) = axes.plot([rank], [energies[rank]], "o", color="#D55E00", markersize=4, zorder=4, gid="dot")
        entries.append(Entry(dot, "", f"energy_rank_90 = {rank} ({record.guarantee})"))
    elif record is not None:
        found = f"{number(float(record.low))} to {number(float(record.high))}" if record.low and record.high else ""
        entries.append(remark("", f"energy_rank_90 not known{': ' * bool(found)}{found}; {record.because}"))
    return entries


def draw_few(axes: Axes, groups: Sequence[list[Curve]]) -> list[Entry]:
    """A handful of matrices, each with its own colour, dash and marker; several seeds are a median and a band."""
    entries = []
    for place, (group, name) in enumerate(zip(groups, names_of(list(groups)), strict=True)):
        (line,) = axes.plot([], [], zorder=3, gid="curve")
        step = max(1, group[0].order // 9)
        line.set_markevery((step * (place + 1) // (len(groups) + 1), step))
        draw_spread(axes, line, group)
        facts = [*([f"{len(group)} seeds"] if len(group) > 1 else []), *at_quarter(group)]
        entries.append(Entry(line, name, ": " * bool(facts) + ", ".join(facts)))
    return entries


def draw_spread(axes: Axes, line: Line2D, group: Sequence[Curve]) -> None:
    """Turn a line into the median of the curves, with a band for their range."""
    parts = np.array([shares(curve.values) for curve in group])
    places = np.arange(group[0].order + 1)
    line.set_data(places, np.median(parts, axis=0))
    if len(group) > 1:
        band = axes.fill_between(places, parts.min(axis=0), parts.max(axis=0), color=line.get_color(), alpha=0.2)
        band.set(linewidth=0, zorder=2, gid="shaded-band")


def draw_many(figure: Figure, axes: Axes, curves: list[Curve]) -> list[Entry]:
    """Thin lines in the colours of their families; means over heads and products apart."""
    heads, aggregates = parts_of(curves)
    families = families_of(figure, axes, heads)
    banded = has_bands(heads)
    entries = []
    for family in families:
        draw_family(axes, family, banded=banded)
        many = f"{len(family.curves)} {'heads' if aggregates else 'matrices'}" + as_bands(family) * banded
        found = [*([many] if len(family.curves) > 1 else []), *at_quarter(family.curves)]
        found += ["coloured by layer"] if family.layered else []
        entries.append(Entry(family.sample, family.name, ": " * bool(family.name and found) + ", ".join(found)))
    for (name, group), (other, marker) in zip(apart(aggregates), cycle(EMPHASIS), strict=False):
        colour = colour_among(group, families, other)
        for curve in group:
            (line,) = axes.plot(np.arange(curve.order + 1), shares(curve.values), "-", color=colour, zorder=4)
            line.set(marker=marker, markersize=3, markevery=max(1, curve.order // 9), linewidth=1.4, gid="curve")
        entries.append(Entry(line, name, ": " * bool(at_quarter(group)) + "".join(at_quarter(group))))
    return entries


def draw_family(axes: Axes, family: Family, *, banded: bool) -> None:
    """The curves of one family: thin lines, or bands over the seeds with their medians."""
    if banded:
        for group, colour in family.bands:
            (line,) = axes.plot([], [], color=colour, linestyle=family.dash, marker="", linewidth=1.0, zorder=3)
            line.set_gid("curve")
            draw_spread(axes, line, group)
        return
    paths = [np.column_stack([np.arange(curve.order + 1), shares(curve.values)]) for curve in family.curves]
    lines = LineCollection(paths, linewidths=0.8 if family.trait else 0.6, colors=family.colours, zorder=3)
    lines.set(linestyles=family.dash, gid="curve")
    axes.add_collection(lines, autolim=False)


def at_quarter(group: Sequence[Curve]) -> list[str]:
    """`83.9 % at k = 128`, the share at a quarter of the values, or from the least to the greatest of several."""
    orders = {curve.order for curve in group}
    if min(orders) < 4:
        return []
    found = [shares(curve.values)[curve.order // 4] for curve in group]
    low, high = (f"{100 * each:.4g}" for each in (min(found), max(found)))
    place = str(orders.pop() // 4) if len(orders) == 1 else "n/4"
    return [f"{low if low == high else f'{low} to {high}'} % at k = {place}"]


def noise_of(curves: Sequence[Curve]) -> list[Entry]:
    """How many values are noise, and which share of the sum of one matrix they can have at most."""
    count = sum(int(curve.noise.sum()) for curve in curves)
    if not count:
        return []
    most = max(float((curve.values + curve.bounds)[curve.noise].sum() / curve.values.sum()) for curve in curves)
    of = " of a matrix" if len(curves) > 1 else ""
    what = f"{count} value{'s' * (count > 1)} below {'their' if count > 1 else 'its'} error bound"
    return [remark(f"noise: {what}, at most {percent(most)} of the sum{of}")]


def percent(part: float) -> str:
    """A share in percent, as a power of ten where it is small."""
    return f"{100 * part:.2g} %" if part >= 1e-5 or not part else f"{scientific(100 * part)} %"


def draw_guides(axes: Axes, curves: Sequence[Curve], order: int) -> list[Entry]:
    """The line of 90 %, and that of a quarter of the values where all matrices have as many."""
    line = axes.axhline(PART, color=INK, linestyle=(0, (5, 3)), linewidth=0.8, zorder=1, gid="dashed-line")
    entries = [Entry(line, "", "90 % of the sum")]
    if order >= 4 and {curve.order for curve in curves} == {order}:
        quarter = axes.axvline(order // 4, color=PALE, linewidth=0.8, zorder=1, gid="grey-line")
        entries.append(Entry(quarter, "", f"a quarter of the values: k = {order // 4}"))
    return entries
