"""The plane of entropy and rank: how evenly the rows spread their weight, and how many directions they span.

Points: a matrix each, the mean normalised entropy of its rows and its effective rank divided by the number of its
singular values. The two are different questions: rows that are all alike have rank 1 whatever their entropy is.

Layers: points are coloured by their layer.

Open points: matched random attention, the mean over its seeds; a thin line leads there from the matrix that it matches.

Crosses: what is known. Where each query has a key of its own, entropy is 0 and the effective rank full; where all have
the same key, entropy is 0 and the rank 1. Uniform attention over all keys has entropy 1 and rank 1; under a causal
mask, entropy is divided by that of the keys that a query sees, so that uniform rows differ and their rank is not 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator

from rankscope.errors import error
from rankscope.records import Matrix, Record, Table
from rankscope.report.figures._curve import label_of
from rankscope.report.figures._many import colours_of_layers
from rankscope.report.figures._text import GREY, PALE, SMALL, Entry, remark, write_legend, write_title
from rankscope.report.figures.spectrum import AGGREGATES

PLACE = 50
MEASURES = ("row_entropy_normalized", "effective_rank")
NARROW = 1 / 3  # of the range: where values fill less, the axis shows their surroundings alone
AROUND = 0.4  # of the breadth of the values, on each side
LEAST_ROOM = 0.02  # on each side, where they all but agree
LEAST = 4  # fewer matrices are better read from a table
STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#000000", "v"),
    ("#E69F00", "P"),
    ("#56B4E9", "X"),
    ("#882255", "<"),
)
"""Colour and marker of a group, as in the paper style; beyond them, points cannot be told apart."""


@dataclass(frozen=True)
class Point:
    """Where a matrix lies in the plane, where its null does, and the record of its effective rank."""

    matrix: Matrix
    entropy: float
    rank: float
    null: tuple[float, float] | None
    record: Record


def suits(table: Table) -> list[str]:
    """Where both measures were recorded of enough matrices."""
    measured = [{record.matrix for record in table if record.measure == measure} for measure in MEASURES]
    enough = len(measured[0] & measured[1]) >= LEAST and not table.over_depth
    return ["entropy-rank"] if enough else []


def draw(figure: Figure, table: Table) -> None:
    """Draw the matrices of `table` that have both measures into `figure`.

    Raises:
        UsageError: RS003, there is none.
    """
    points = points_of(table)
    if not points:
        given = "the figure 'entropy-rank' of a result in which no matrix has both an entropy and an effective rank"
        raise error("RS003", given, "add -m row_entropy_normalized,effective_rank")
    axes = figure.add_subplot()
    write_title(axes, table, [point.matrix for point in points], what="Entropy and rank")
    entries = draw_points(figure, axes, points) + draw_nulls(axes, points)
    views = [view_of(values, least) for values, least in zip(places_of(points), (0.03, 0.12), strict=True)]
    entries += draw_known(axes, points, views)
    missing = len(table.matrices) - len(points)
    entries += [remark(f"{missing} of {len(table.matrices)} matrices: no point to draw")] if missing else []
    axes.set_xlim(views[0])
    axes.set_ylim(views[1])
    for axis, view in zip((axes.xaxis, axes.yaxis), views, strict=True):
        axis.set_major_locator(FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1]) if is_whole(view) else MaxNLocator(6))
    parts = [name for name, view in zip(("entropy", "rank"), views, strict=True) if not is_whole(view)]
    entries += [remark(f"of the {' and the '.join(parts)}, a part of the range from 0 to 1 is shown")] if parts else []
    axes.set_xlabel("normalised entropy of the rows")
    axes.set_ylabel(r"effective rank $/\,\min(m, n)$")
    write_legend(figure, axes, entries, single_column=any(entry.is_wide for entry in entries))


def points_of(table: Table) -> list[Point]:
    """The matrices of which both measures are known; of several subjects the first is taken."""
    found = []
    records: dict[tuple[int, str], Record] = {}
    for record in table:
        records.setdefault((record.matrix, record.measure), record)
    for matrix in table.matrices:
        entropy, rank = (records.get((matrix.id, measure)) for measure in MEASURES)
        if entropy is None or rank is None or entropy.value is None or rank.value is None:
            continue
        size = min(matrix.rows, matrix.columns)
        nulls = entropy.null_mean, rank.null_mean
        null = None if nulls[0] is None or nulls[1] is None else (nulls[0], nulls[1] / size)
        found.append(Point(matrix, float(entropy), float(rank) / size, null, rank))
    return found


def places_of(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """Where the points and those of their nulls lie along each axis."""
    places = [*((each.entropy, each.rank) for each in points), *(each.null for each in points if each.null)]
    return [x for x, _ in places], [y for _, y in places]


def view_of(values: Sequence[float], margin: float) -> tuple[float, float]:
    """What an axis shows: from 0 to 1 with a margin, or where the values fill less than a third, their surroundings."""
    low, high = min(values), max(values)
    if high - low >= NARROW:
        return -margin, 1 + margin
    room = max(AROUND * (high - low), LEAST_ROOM)
    return max(low - room, -margin), min(high + room, 1 + margin)


def is_whole(view: tuple[float, float]) -> bool:
    """Whether an axis shows all that a measure can be."""
    return view[0] <= 0 and view[1] >= 1


# --- groups -------------------------------------------------------------------------------------------------------


def by_label(point: Point) -> str:
    """The label of a matrix."""
    return label_of(point.matrix)


def by_kind(point: Point) -> str:
    """The mask, kernel, position and ensemble of a matrix; a mean over heads or a product over layers is apart."""
    if point.record.over is not None:
        return AGGREGATES.get(point.record.over, point.record.over)
    matrix = point.matrix
    return " ".join(filter(None, (matrix.mask, matrix.kernel, matrix.position, matrix.ensemble)))


def grouped(points: Sequence[Point], name: Callable[[Point], str]) -> dict[str, list[Point]]:
    """The points by their name."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(name(point), []).append(point)
    return found


def groups_of(points: Sequence[Point]) -> dict[str, list[Point]]:
    """The points in groups that can be told apart: by label, else by kind, else one."""
    for name in (by_label, by_kind):
        groups = grouped(points, name)
        if len(groups) <= len(STYLES):
            return groups
    return {"": list(points)}


# --- marks --------------------------------------------------------------------------------------------------------


def draw_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> list[Entry]:
    """The points in colours of their layers where there are several, with a marker for each group, else in its own."""
    layered = [point for point in points if point.record.over is None and point.record.layer is not None]
    several = len({point.record.layer for point in layered}) > 1
    groups = grouped(points, by_kind) if several else groups_of(points)
    groups = groups if len(groups) <= len(STYLES) else {"": list(points)}
    colours = colours_of_layers(figure, axes, [point.record.layer for point in layered]) if several else []
    of_layer = {id(point): colour for point, colour in zip(layered, colours, strict=True)} if several else {}
    entries = []
    for (name, group), (colour, marker) in zip(groups.items(), STYLES, strict=False):
        for point in group:
            ink = of_layer.get(id(point), colour)
            (dot,) = axes.plot([point.entropy], [point.rank], linestyle="", marker=marker, color=ink, zorder=3)
            dot.set(markersize=4.5, markeredgewidth=0, gid="layers" if id(point) in of_layer else "points")
        colour = GREY if several and id(group[0]) in of_layer else colour
        handle = Line2D([], [], linestyle="", marker=marker, color=colour, markersize=4.5, markeredgewidth=0)
        count = f"{len(group)} matri{'x' if len(group) == 1 else 'ces'}"
        layers = ", coloured by layer" if id(group[0]) in of_layer else ""
        entries.append(Entry(handle, name, f"{': ' * bool(name)}{count}{layers}"))
    return entries


def draw_nulls(axes: Axes, points: Sequence[Point]) -> list[Entry]:
    """Matched random attention as open points, each joined to its matrix."""
    known = [(point, point.null) for point in points if point.null is not None]
    for point, (entropy, rank) in known:
        (line,) = axes.plot([point.entropy, entropy], [point.rank, rank], "-", color=PALE, linewidth=0.6, marker="")
        line.set_zorder(1)
        (ring,) = axes.plot([entropy], [rank], linestyle="", marker="o", color=GREY, markerfacecolor="white")
        ring.set(markersize=4, markeredgewidth=0.8, zorder=2, gid="open-points")
    if not known:
        return []
    handle = Line2D([], [], linestyle="-", linewidth=0.6, color=PALE, marker="o", markersize=4)
    handle.set(markerfacecolor="white", markeredgecolor=GREY)
    rest = len(points) - len(known)
    words = f", not known of {rest}" if rest else ""
    return [Entry(handle, "", f"matched random attention{words}")]


def draw_known(axes: Axes, points: Sequence[Point], views: Sequence[tuple[float, float]]) -> list[Entry]:
    """Crosses at what is known, as far as these matrices and the axes reach.

    Their words stand where no point can lie, or in the legend where the axes show a part alone.
    """
    shapes = {(point.matrix.rows, point.matrix.columns) for point in points}
    corners = []
    if all(rows <= columns for rows, columns in shapes):
        corners.append((0.0, 1.0, "a key of its own for each query", "left"))
    if len({min(shape) for shape in shapes}) == 1:
        least = 1 / min(next(iter(shapes)))
        corners.append((0.0, least, "one key for all queries", "left"))
        if any(point.matrix.mask in (None, "bidirectional") for point in points):
            corners.append((1.0, least, "uniform over all keys", "right"))
    entries = []
    for x, y, words, side in corners:
        if not all(low <= place <= high for place, (low, high) in zip((x, y), views, strict=True)):
            continue
        (cross,) = axes.plot([x], [y], linestyle="", marker="+", color=GREY, markersize=8, zorder=4, gid="crosses")
        cross.set_clip_on(False)
        if not all(map(is_whole, views)):
            entries.append(Entry(cross, "", f"{words}: entropy {x:.0f}"))
            continue
        place = (x, 1.045) if y == 1.0 else (x, -0.045)
        text = axes.annotate(words, place, ha=side, va="bottom" if y == 1.0 else "top", fontsize=SMALL, color=GREY)
        text.set_annotation_clip(False)
    return entries
