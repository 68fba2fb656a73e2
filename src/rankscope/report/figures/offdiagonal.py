"""The ranks of the blocks beside the diagonal, A[k:, :k] and A[:k, k:], over the cut k.

Curve: the number of singular values above the tolerance of the numerical rank, for each cut that was counted. Causal
softmax attention needs as many states as there are tokens on the shorter side of the cut; a kernel with a state, or
with features, stops at their number, however long the sequence grows. Under a causal mask both have full rank, as long
as their diagonal has no zero; without one, features limit the rank of the whole matrix as well.

Dashed line: what the kernel allows at most, by a theorem.

Grey line: full rank, the number of tokens on the shorter side of the cut. It is broad, so that it is seen beside a
curve that follows it.

Shaded band: where the counts of cuts between those that were counted can lie, since from one cut to the next a block
loses a row and gains a column.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator

from rankscope.errors import error
from rankscope.records import Matrix, Record, Series, Table
from rankscope.report.figures._curve import label_of
from rankscope.report.figures._frame import index_ticks
from rankscope.report.figures._text import PALE, Entry, remark, write_legend, write_title

PLACE = 60
SIDES = {"offdiagonal_rank_lower": "below the diagonal", "offdiagonal_rank_upper": "above it"}
HALO = "#cfcfcf"
FEW = 8  # beyond this number, curves cannot be told apart by colour and dash


def suits(table: Table) -> list[str]:
    """Where the profile was asked for."""
    return ["offdiagonal"] if any(record.measure == "offdiagonal_rank" for record in table) else []


def draw(figure: Figure, table: Table) -> None:
    """Draw the profiles of `table` into `figure`.

    Raises:
        UsageError: RS003, the table holds no profile.
    """
    profiles = [series for series in table.series if series.name in SIDES and series.index]
    if not profiles:
        raise error("RS003", "the figure 'offdiagonal' of a result without profiles", "add -m offdiagonal_rank")
    matrices = {matrix.id: matrix for matrix in table.matrices}
    shown = [matrices[number] for number in dict.fromkeys(series.matrix for series in profiles)]
    axes = figure.add_subplot()
    write_title(axes, table, shown, what="Ranks beside the diagonal")
    entries = draw_few(axes, table, shown, profiles) if len(shown) <= FEW else draw_many(axes, profiles)
    sizes = sorted({matrix.rows for matrix in shown})
    entries += draw_full(axes, sizes)
    missing = len(table.matrices) - len(shown)
    entries += [remark(f"{missing} of {len(table.matrices)} matrices: no profile to draw")] if missing else []
    axes.set_xlim(0, sizes[-1])
    axes.set_ylim(0, None)
    axes.xaxis.set_major_locator(FixedLocator(index_ticks(sizes[-1])))
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("cut $k$")
    axes.set_ylabel("numerical rank of the block")
    write_legend(figure, axes, entries, single_column=any(entry.is_wide for entry in entries))


def draw_few(axes: Axes, table: Table, shown: Sequence[Matrix], profiles: Sequence[Series]) -> list[Entry]:
    """A colour, a dash and a marker for each matrix; the side above its diagonal is drawn thin and without markers."""
    entries = []
    for matrix in shown:
        own = [series for series in profiles if series.matrix == matrix.id]
        record = next(r for r in table.of(matrix) if r.measure == "offdiagonal_rank")
        (line,) = axes.plot(
            own[0].index, own[0].values, markevery=max(1, len(own[0].index) // 9), zorder=3, gid="curve"
        )
        for series in own[1:]:
            axes.plot(series.index, series.values, "-", color=line.get_color(), linewidth=0.7, marker="", gid="curve")
        if len(shown) == 1:
            for series in own:
                draw_between(axes, series, matrix.rows)
        several = len(shown) > 1
        entries.append(Entry(line, label_of(matrix) if several else "", facts(record, own, several)))
        bound = record.details.get("exact_high")
        if bound is not None:
            axes.axhline(bound, color=line.get_color(), linestyle=(0, (4, 3)), linewidth=0.8, gid="dashed-line")
    return entries


def facts(record: Record, own: Sequence[Series], several: bool) -> str:
    """What the legend says of one profile: the largest rank, and what the kernel allows."""
    if several:
        bound = record.details.get("exact_high")
        found = f"{record.low}" if record.low == record.high else f"{record.low} … {record.high}"
        return f": {found}" + ("" if bound is None else f", at most {bound} (dashed)")
    sides = ", ".join(f"{max(series.values):.0f} {SIDES[series.name]}" for series in own)
    allowed = f"; {record.because}" if record.because else ""
    return f"largest rank {sides}{allowed}"


def draw_between(axes: Axes, series: Series, size: int) -> None:
    """Where counts between the cuts can lie."""
    cuts, counts = [0, *series.index, size], [0.0, *series.values, 0.0]
    if len(series.index) >= size - 1:
        return
    places = np.arange(size + 1)
    after = np.searchsorted(cuts, places, side="left").clip(1, len(cuts) - 1)
    a, b = np.asarray(cuts)[after - 1], np.asarray(cuts)[after]
    m, n = np.asarray(counts)[after - 1], np.asarray(counts)[after]
    high = np.minimum(np.minimum(m + places - a, n + b - places), np.minimum(places, size - places))
    low = np.maximum(np.maximum(m - (places - a), n - (b - places)), 0)
    axes.fill_between(places, low, high, color=PALE, alpha=0.25, linewidth=0, zorder=1, gid="shaded-band")


def draw_many(axes: Axes, profiles: Sequence[Series]) -> list[Entry]:
    """Many profiles as thin lines."""
    line = Line2D([], [])
    for series in profiles:
        (line,) = axes.plot(series.index, series.values, "-", color=PALE, linewidth=0.6, marker="", zorder=2)
        line.set_gid("curve")
    largest = [max(series.values) for series in profiles]
    return [Entry(line, "", f"{len(profiles)} profiles, largest rank {min(largest):.0f} to {max(largest):.0f}")]


def draw_full(axes: Axes, sizes: Sequence[int]) -> list[Entry]:
    """The line of full rank for each size."""
    handle = Line2D([], [])
    for size in sizes:
        (handle,) = axes.plot([0, size / 2, size], [0, size // 2, 0], "-", color=HALO, marker="", zorder=1)
        handle.set(gid="grey-line", linewidth=5.0)
    return [Entry(handle, "", "full rank")]
