"""A measure of every head of every layer, as a heat map; heads:MEASURE for another measure than effective_rank.

Each cell is a head, with its value where there is room; with several seeds it holds their mean. The first layer is the
uppermost. Means over heads and products over layers have no cell. The colours run from the least value to the greatest
that are shown: small differences look large where all values are close, so read the ends of the colour bar first.

Small numbers: the null of each head, which is the mean of matched random attention over its seeds.

Hatched cell: the value of this head is not known.

Triangle: a head that is unlike matched random attention, above it where the triangle points up, below it where it
points down; with several seeds, each of them is. It lies outside of the interval in which one more random matrix would
lie with a chance of 99.73 %, by the seeds of its null, were these normally distributed: of many heads, 1 of 370 then
lies outside by chance. Counts are not, and none is marked.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, MaxNLocator
from matplotlib.transforms import ScaledTranslation

from rankscope.errors import error
from rankscope.records import Number, Record, Table
from rankscope.registry import nearest
from rankscope.report.cells import counted
from rankscope.report.chance import side_of
from rankscope.report.figure import inscribe, width_of
from rankscope.report.figures._many import STACK, stack_of
from rankscope.report.figures._text import (
    GREY,
    INK,
    SMALL,
    WIDTH,
    Entry,
    common_facts,
    in_words,
    ink_on,
    inscribe_folded,
    remark,
    shape_of,
    write_heading,
    write_legend,
)

PLACE = 40
USUAL = ("effective_rank", "row_entropy_normalized")
LEAST = 4  # fewer heads are better read from a table
MOST = 4  # stacks beside one another
CELL, TALLEST = 0.3, 4.5  # inches of a cell, and of all of them, from top to bottom
WITH_NULL = 0.38  # inches of a cell that says its null as well
ACROSS = 340.0  # points that the cells of all stacks may take from left to right: a little less than there are

Place = tuple[int, int]


@dataclass
class Stack:
    """The records of one measure of the heads of one network, by their layer and head."""

    cells: dict[Place, list[Record]] = field(default_factory=dict)

    @property
    def layers(self) -> list[int]:
        """The layers that have a head, in ascending order."""
        return sorted({layer for layer, _ in self.cells})

    @property
    def heads(self) -> list[int]:
        """The heads that a layer has, in ascending order."""
        return sorted({head for _, head in self.cells})

    @property
    def means(self) -> dict[Place, float | None]:
        """The mean of each cell over the seeds whose value is known."""
        return {place: mean_of(record.value for record in cell) for place, cell in self.cells.items()}

    @property
    def nulls(self) -> dict[Place, float | None]:
        """The mean of matched random attention of each cell, over the seeds of which it is known."""
        return {place: mean_of(record.null_mean for record in cell) for place, cell in self.cells.items()}

    def side(self, place: Place) -> int:
        """1 where a head is far above its null, −1 where it is far below, 0 unless that is known of all seeds."""
        sides = {side_of(record) for record in self.cells[place]}
        return sides.pop() if len(sides) == 1 else 0


def mean_of(values: Iterable[Number]) -> float | None:
    """The mean of the values that are known, if any is."""
    known = [float(value) for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def suits(table: Table) -> list[str]:
    """The usual measures that were recorded, where there are enough heads with a layer for a map."""
    shown = []
    for measure in USUAL:
        places = {(record.layer, record.head) for record in table if record.measure == measure and is_head(record)}
        shown += [f"heads:{measure}"] if len(places) >= LEAST and not table.over_depth else []
    return shown


def draw(figure: Figure, table: Table, measure: str = "effective_rank") -> None:
    """Draw the map of a measure of `table` into `figure`.

    Raises:
        UsageError: RS003, the table holds no heads with a layer, not this measure of them, or too many stacks.
    """
    known = list(dict.fromkeys(record.measure for record in table if is_head(record)))
    if table.over_depth or not known:
        given = "the figure 'heads' of a result without heads that have a layer"
        raise error("RS003", given, "analyse a stack, as --layers 2 --heads 4 makes one")
    if measure not in known:
        given = f"the figure 'heads' of a result without {measure!r}"
        raise error("RS003", given, f"measure it with -m; {nearest(measure, known)}")
    stacks = stacks_of(table, measure)
    if len(stacks) > MOST:
        raise error("RS003", f"the figure 'heads' of {len(stacks)} stacks", f"analyse at most {MOST} of them at a time")
    host = figure.add_subplot()
    host.set_axis_off()
    shown = {record.matrix for stack in stacks.values() for cell in stack.cells.values() for record in cell}
    matrices = [each for each in table.matrices if each.id in shown]
    heads = counted(sum(len(stack.cells) for stack in stacks.values()), "head")
    name, more = in_words(measure).capitalize(), f" of {heads}{shape_of(matrices)}"
    write_heading(host, name, more, [common_facts(table, matrices)])
    values = [mean for stack in stacks.values() for mean in stack.means.values() if mean is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    limits = (low, high) if low < high else (low - 0.5, high + 0.5)  # one value has the colour in the middle
    scale = ScalarMappable(Normalize(*limits), matplotlib.colormaps["cividis"])
    rows = max(len(stack.layers) for stack in stacks.values())
    compared = any(null is not None for stack in stacks.values() for null in stack.nulls.values())
    height = max(min((WITH_NULL if compared else CELL) * rows, TALLEST), 0.6)
    figure.set_figheight(height + 1.9)
    for place, (name, stack) in enumerate(stacks.items()):
        left, width = (place + 0.12) / len(stacks), 0.86 / len(stacks)
        axes = host.inset_axes((left, 0.0, width, 1.0 if len(stacks) == 1 else 1 - 0.22 / height))
        draw_cells(axes, stack, scale, ACROSS / len(stacks) / len(stack.heads), 72 * height / len(stack.layers))
        axes.set_ylabel("" if place else "layer")
        if len(stacks) > 1:
            inscribe(axes.set_title("", fontsize=SMALL, fontweight="normal"), name, 0.8 * WIDTH / len(stacks))
    if values:
        # Ticks that do not depend on the height of the bar: the layout is computed with the words that are shown.
        ticks = MaxNLocator(5, steps=[1, 2, 5, 10]) if low < high else FixedLocator([low])
        bar = figure.colorbar(scale, ax=host, ticks=ticks, shrink=0.9, aspect=18 * min(height, 3.0) / 3.0, pad=0.02)
        unit = next((record.unit for record in table if record.measure == measure and record.unit), "")
        inscribe_folded(bar.ax.yaxis.label, in_words(measure) + f" ({unit})" * bool(unit), 72 * height + 60)
        bar.outline.set_linewidth(0)
    write_legend(figure, host, entries_of(list(stacks.values())), single_column=True)


def is_head(record: Record) -> bool:
    """Whether a record speaks of one head of a known layer."""
    return record.layer is not None and record.head is not None and record.over is None


def stacks_of(table: Table, measure: str) -> dict[str, Stack]:
    """The stacks of a result by what tells them apart, each with its heads; one matrix counts once.

    Raises:
        UsageError: RS003, two matrices of one seed have the same place.
    """
    matrices = {matrix.id: matrix for matrix in table.matrices}
    found: dict[tuple[object, ...], Stack] = {}
    taken = set()
    for record in table:
        if record.measure != measure or not is_head(record) or record.matrix in taken:
            continue
        taken.add(record.matrix)  # of several subjects the first
        stack = found.setdefault(stack_of(matrices[record.matrix]), Stack())
        cell = stack.cells.setdefault((record.layer or 0, record.head or 0), [])
        if any(other.seed == record.seed for other in cell):
            given = f"the figure 'heads' of several matrices that are head {record.head} of layer {record.layer}"
            raise error("RS003", given, "analyse them one by one")
        cell.append(record)
    differing = [place for place in range(len(STACK)) if len({each[place] for each in found}) > 1]
    return {" ".join(str(each[place]) for place in differing): stack for each, stack in found.items()}


def draw_cells(axes: Axes, stack: Stack, scale: ScalarMappable, width: float, height: float) -> None:
    """The cells of one stack, each `width` by `height` points, with their numbers where all have room."""
    layers, heads = stack.layers, stack.heads
    grid = np.full((len(layers), len(heads)), np.nan)
    for (layer, head), mean in stack.means.items():
        if mean is not None:
            grid[layers.index(layer), heads.index(head)] = mean
    axes.pcolormesh(
        np.ma.masked_invalid(grid),
        cmap=scale.cmap,
        clim=scale.get_clim(),
        edgecolors="white",
        linewidth=0.5,
        gid="cells",
    )
    axes.set_xlim(0, len(heads))
    axes.set_ylim(len(layers), 0)
    axes.set_xlabel("head")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for axis, names, points in ((axes.xaxis, heads, width), (axes.yaxis, layers, height)):
        step = max(1, math.ceil(16 / points))
        axis.set_ticks([place + 0.5 for place in range(0, len(names), step)], [str(each) for each in names[::step]])
    texts: list[Text] = []
    notes: list[Text] = []
    nulls = stack.nulls
    for place, mean in stack.means.items():
        row, column = layers.index(place[0]), heads.index(place[1])
        if mean is None:
            hatched = Rectangle((column, row), 1, 1, facecolor="white", edgecolor=GREY, hatch="////", linewidth=0.0)
            hatched.set_gid("hatched-cell")
            axes.add_patch(hatched)
            continue
        ink = ink_on(scale, mean)
        texts.append(axes.text(column + 0.5, row + 0.54, brief(mean), ha="center", va="center", color=ink, fontsize=7))
        if (null := nulls[place]) is not None:
            note = axes.text(column + 0.5, row + 0.74, f"null {brief(null)}", ha="center", va="center", color=ink)
            note.set(fontsize=6, gid="small-numbers")
            notes.append(note)
        draw_side(axes, stack.side(place), column + 1, row, ink, min(width, height))
    if any(width_of(text, text.get_text()) > width - 8 for text in texts) or height < 14:
        texts, removed = [], [*texts, *notes]
    elif any(width_of(note, note.get_text()) > width - 4 for note in notes) or height < 22:
        removed = notes
    else:
        removed = []
    for text in removed:
        text.remove()
    if notes and not removed:
        for text in texts:
            text.set_y(text.get_position()[1] - 0.2)


def draw_side(axes: Axes, side: int, right: float, top: float, ink: str, size: float) -> None:
    """A triangle in the upper right corner of a cell."""
    if side:
        (mark,) = axes.plot([right], [top], linestyle="", marker="^" if side > 0 else "v", color=ink, gid="triangle")
        mark.set(markersize=min(3.5, size / 4), markeredgewidth=0)
        mark.set_transform(
            mark.get_transform() + ScaledTranslation(-size / 5 / 72, -size / 5 / 72, axes.figure.dpi_scale_trans)
        )


def brief(value: float) -> str:
    """A number in at most three digits before and after the point, with a true minus sign."""
    whole = value == round(value) and abs(value) < 1e5
    text = f"{value:.0f}" if whole or 100 <= abs(value) < 1e5 else f"{value:#.3g}".removesuffix(".")
    return text.replace("-", "\N{MINUS SIGN}")


def entries_of(stacks: Sequence[Stack]) -> list[Entry]:
    """The legend: the ends of the range, seeds, what is marked, what is not known and what is not there."""
    entries = ends_of(stacks[0]) if len(stacks) == 1 else []
    cells = [cell for stack in stacks for cell in stack.cells.values()]
    most = max(len(cell) for cell in cells)
    lost = [
        record for cell in cells if any(r.value is not None for r in cell) for record in cell if record.value is None
    ]
    if most > 1:
        words = f"; not known, and no part of them: {len(lost)} of the values" if lost else ""
        entries.append(remark(f"means of {most} seeds{words}"))
    sides = [stack.side(place) for stack in stacks for place in stack.cells]
    for side, marker, where in ((1, "^", "above"), (-1, "v", "below")):
        if sides.count(side):
            mark = Line2D([], [], linestyle="", marker=marker, color=INK, markersize=4, markeredgewidth=0)
            count = sides.count(side)
            words = f"{count} of {len(sides)} heads {where} matched random attention"
            entries.append(Entry(mark, "", words))
    if not any(sides) and any(record.null_sd is not None for cell in cells for record in cell):
        entries.append(remark("no head is unlike matched random attention"))
    unknown = [cell for cell in cells if all(record.value is None for record in cell)]
    if unknown:
        reasons = {record.because for cell in unknown for record in cell}
        because = reasons.pop() if len(reasons) == 1 else ""
        patch = Patch(facecolor="white", edgecolor=GREY, hatch="////", linewidth=0.0)
        entries.append(
            Entry(patch, because, "", f"{len(unknown)} of {len(cells)} heads not known{': ' * bool(because)}")
        )
    empty = sum(len(stack.layers) * len(stack.heads) - len(stack.cells) for stack in stacks)
    return entries + ([remark(f"white: no head, in {empty} of {empty + len(cells)} places")] if empty else [])


def ends_of(stack: Stack) -> list[Entry]:
    """Where the least and the greatest value stand."""
    known = [(mean, place) for place, mean in stack.means.items() if mean is not None]
    if not known:
        return []
    (low, least), (high, greatest) = min(known), max(known)
    if low == high:
        return [remark(f"{brief(low)} wherever it is known")]
    where = (f"layer {layer} head {head}" for layer, head in (least, greatest))
    return [remark(f"least {brief(low)} in {next(where)}, greatest {brief(high)} in {next(where)}")]
