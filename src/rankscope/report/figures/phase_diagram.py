"""A measure over scale and d/n; phase-diagram:MEASURE for another measure than effective_rank.

Colours: the measure at each scale of the scores and each ratio of the head size to the number of tokens; the mean over
the matrices of a cell. Ranks are divided by full rank, so that 1 is full. Where colours change along one direction
alone, the other does not matter.

Numbers: the same as the colours, where there are few cells.

White cells: no matrix was measured there, or the value is not known.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from rankscope.errors import error
from rankscope.records import Table
from rankscope.report.figure import inscribe
from rankscope.report.figures._curve import Array
from rankscope.report.figures._panels import write_around, write_names
from rankscope.report.figures._sizes import (
    DEFAULT,
    Sample,
    agreed_sizes,
    is_geometric,
    is_rank,
    left_out,
    measure_shown,
    named,
    needed,
    samples_of,
    seeds_among,
    set_ticks,
    short_kinds,
)
from rankscope.report.figures._text import SMALL, WIDTH, Entry, in_words, ink_on, remark

PLACE = 35
MOST = 6  # panels
ACROSS = 3  # of them in a row
SHADES = 40  # so few that every format draws them as areas
WRITTEN = 18  # cells in a row of panels into which numbers fit


def suits(table: Table) -> list[str]:
    """Where both the scale and the ratio of the head size to the number of tokens are varied."""
    measure = measure_shown(table)
    if table.over_depth:
        return []
    xs, ys = axes_of(samples_of(table, measure))
    return [named("phase-diagram", measure)] if min(len(xs), len(ys)) > 1 else []


def place_of(sample: Sample) -> tuple[float, float] | None:
    """The scale and d/n of a matrix, if it has both."""
    matrix = sample.matrix
    if matrix.scale is None or matrix.d is None or not matrix.columns:
        return None
    return matrix.scale, matrix.d / matrix.columns


def axes_of(samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """The scales and the ratios that occur, in ascending order."""
    places = [place for each in samples if (place := place_of(each)) is not None]
    return sorted({x for x, _ in places}), sorted({y for _, y in places})


def draw(figure: Figure, table: Table, measure: str = DEFAULT) -> None:
    """Draw a measure of `table` in the plane of scale and d/n.

    Raises:
        UsageError: RS003, the table lacks the measure, or does not vary both.
    """
    samples = needed(table, "phase-diagram", measure)
    xs, ys = axes_of(samples)
    if min(len(xs), len(ys)) < 2:
        lacking = "d/n" if len(xs) > 1 else "the scale" if len(ys) > 1 else "the scale and d/n"
        given = f"the figure 'phase-diagram' of a result in which {lacking} is one alone"
        raise error("RS003", given, "vary both, as in rankscope compare --scale 0.5,1,2 --d 16,32,64")
    common, names = short_kinds(samples)
    kinds = list(names)[:MOST]
    full = is_rank(samples)
    cells = [cells_of([each for each in samples if each.kind == kind], xs, ys, full=full) for kind in kinds]
    across = min(len(kinds), ACROSS)
    rows = -(-len(kinds) // across)
    figure.set_figheight(figure.get_figheight() * (0.9 + 0.6 * (rows - 1)))
    panels = list(figure.subplots(rows, across, squeeze=False, sharex=True, sharey=True).ravel())
    used = panels[: len(kinds)]
    colours = colours_of(cells)
    for place, (panel, values) in enumerate(zip(used, cells, strict=True)):
        draw_cells(panel, xs, ys, values, colours)
        if len(xs) * across <= WRITTEN and len(ys) <= 12:
            write_numbers(panel, xs, ys, values, colours)
        if place + across >= len(kinds):
            panel.set_xlabel("scale of the scores")
            panel.tick_params(labelbottom=True)
    for panel in panels[len(kinds) :]:
        panel.set_visible(False)
    for panel in panels[::across]:
        panel.set_ylabel("$d\\,/\\,n$")
    bar = figure.colorbar(colours, ax=used, pad=0.02, aspect=24)
    inscribe(bar.ax.yaxis.label, in_words(measure), 150, " / full rank" if full else "")
    bar.outline.set_linewidth(0)
    several = len(kinds) > 1
    if several:
        write_names(used, [names[kind] for kind in kinds], 0.8 * WIDTH / across)
    facts = " · ".join(filter(None, (common, agreed_sizes(samples), seeds_among(samples))))
    entries = [*what_else(samples, cells, xs, ys), *left_out(table, measure)]
    if len(kinds) < len(names):
        entries.append(remark(f"the first {len(kinds)} of {len(names)} kinds of matrices are shown"))
    title = in_words(measure).capitalize(), " over scale and d/n"
    last = used[(len(used) - 1) // across * across]
    write_around(figure, used[0], last, title, facts, entries, named=several)


def colours_of(cells: Sequence[Array]) -> ScalarMappable:
    """The colours of all panels: from the least to the greatest value."""
    known = np.concatenate([each[np.isfinite(each)] for each in cells])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    room = 0.0 if high > low else 0.05 * abs(high) or 0.5
    return ScalarMappable(Normalize(low - room, high + room), matplotlib.colormaps["cividis"].resampled(SHADES))


def cells_of(samples: Sequence[Sample], xs: Sequence[float], ys: Sequence[float], *, full: bool) -> Array:
    """The mean in each cell, a row for each d/n; NaN where nothing is known."""
    found: dict[tuple[int, int], list[float]] = {}
    for each in samples:
        place = place_of(each)
        if place is not None and each.value is not None:
            spot = ys.index(place[1]), xs.index(place[0])
            found.setdefault(spot, []).append(each.value / each.order if full else each.value)
    cells = np.full((len(ys), len(xs)), np.nan)
    for spot, values in found.items():
        cells[spot] = math.fsum(values) / len(values)
    return cells


def draw_cells(axes: Axes, xs: Sequence[float], ys: Sequence[float], cells: Array, colours: ScalarMappable) -> None:
    """The cells of one panel, on logarithmic axes where values are geometric."""
    logs = is_geometric(xs), is_geometric(ys)
    edges = [edges_of(values, log=log) for values, log in zip((xs, ys), logs, strict=True)]
    mesh = axes.pcolormesh(*edges, np.ma.masked_invalid(cells), cmap=colours.cmap)
    mesh.set_norm(colours.norm)
    mesh.set(gid="colours", linewidth=0.2, edgecolor="face")
    if np.isnan(cells).any():
        axes.plot([], [], linestyle="", marker="", gid="white-cells")
    for name, axis, values, log, its in zip("xy", (axes.xaxis, axes.yaxis), (xs, ys), logs, edges, strict=True):
        axes.set(**{f"{name}scale": "log" if log else "linear", f"{name}lim": (its[0], its[-1])})
        set_ticks(axis, values, log=log)


def edges_of(values: Sequence[float], *, log: bool) -> list[float]:
    """Where cells end: in the middle between values, and as far beyond the first and the last."""
    places = [math.log(value) for value in values] if log else list(values)
    between = [(before + after) / 2 for before, after in pairwise(places)]
    ends = [2 * places[0] - between[0], *between, 2 * places[-1] - between[-1]]
    return [math.exp(end) for end in ends] if log else ends


def write_numbers(axes: Axes, xs: Sequence[float], ys: Sequence[float], cells: Array, colours: ScalarMappable) -> None:
    """The value of each cell in its middle."""
    for row, y in enumerate(ys):
        for column, x in enumerate(xs):
            value = float(cells[row, column])
            if math.isfinite(value):
                text = f"{value:.2f}" if abs(value) < 10 else f"{value:.3g}"
                axes.text(x, y, text.replace("-", "−"), ha="center", va="center", fontsize=SMALL - 1,
                          color=ink_on(colours, value), gid="numbers")  # fmt: skip


def what_else(
    samples: Sequence[Sample], cells: Sequence[Array], xs: Sequence[float], ys: Sequence[float]
) -> list[Entry]:
    """Remarks on cells that hold several sizes, and on matrices that have no cell or no value."""
    entries = []
    sizes: dict[tuple[float, float], set[int]] = {}
    for each in samples:
        place = place_of(each)
        if place is not None:
            sizes.setdefault(place, set()).add(each.matrix.columns)
    if any(len(found) > 1 for found in sizes.values()):
        entries.append(remark("cells of one d/n are means over several n"))
    empty = sum(int(np.isnan(each).sum()) for each in cells)
    if empty:
        entries.append(remark(f"{empty} of {len(cells) * len(xs) * len(ys)} cells have no value"))
    unknown = sum(each.value is None for each in samples)
    placeless = sum(place_of(each) is None for each in samples)
    entries += [remark(f"{unknown} values are not known")] if unknown else []
    return entries + ([remark(f"{placeless} matrices have no scale or no head size")] if placeless else [])
