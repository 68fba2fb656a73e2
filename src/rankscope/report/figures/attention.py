"""The attention matrix itself: which query attends to which key; of a few matrices, beside their spectra.

Picture: a row for each query and a column for each key, the first query at the top. A large matrix is shown as means
over blocks of queries and keys. A colour tells how the weight compares with that of a query which attends to all keys
alike, 1/n: on a logarithmic scale, whose ends are sharpened at the colour bar where weights lie beyond them.

White cells: weights that are exactly zero, as those of keys that a mask hides.

Signed weights: some weights are negative, as a kernel without normalisation may give them. They are told from positive
ones by their colour, and the scale is logarithmic on both sides.

Curve: the singular values of the matrix, divided by the largest, as far as they exceed the bound of their error. One
that ends before the right edge does not show that rank is lost: a causal matrix of proved full rank may end there, too,
since float64 cannot tell its last values from rounding.

Shaded band: below the bound of the error of the arithmetic. Values there are noise.

Grey dots: values below the bound of their own error.

Grid: one small picture for each matrix, a row for each layer and a column for each head where these are known.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator

from rankscope.errors import error
from rankscope.records import Table
from rankscope.report.cells import folded, parted
from rankscope.report.figure import inscribe
from rankscope.report.figures._curve import (
    Curve,
    curves_of,
    label_of,
    reason_for_none,
    refusals,
    spectra_of,
)
from rankscope.report.figures._frame import frame, index_ticks
from rankscope.report.figures._limits import BAND, floor_of
from rankscope.report.figures._noise import counted, draw_noise, only
from rankscope.report.figures._panels import write_around, write_names
from rankscope.report.figures._picture import (
    Picture,
    colour_entries,
    draw_bar,
    first_of_seeds,
    mark,
    names_among,
    paint,
    picture_of,
    shown,
)
from rankscope.report.figures._text import (
    GREY,
    LINE,
    SMALL,
    WIDTH,
    Entry,
    common_facts,
    inscribe_folded,
    remark,
    shape_of,
)

PLACE = 5
FEW = 4  # so many have their spectra beside them
MOST = 144  # more pictures cannot be told apart on a page
MOST_ACROSS = 24  # heads beside each other
ACROSS = 4.5  # inches that a picture and a spectrum have together
SIDE = {1: 2.2, 2: 2.0, 3: 1.7, 4: 1.6}  # inches that a picture takes, by their number
REASON = 170.0  # points for the reason why a panel has no curve
LETTERS, LINES = 32, 4  # in each line of it, and lines


def suits(table: Table) -> list[str]:
    """In reports on matrices, as many as a page has room for; of several seeds the first is shown."""
    return ["attention"] if not table.over_depth and table.matrices else []


def draw(figure: Figure, table: Table) -> None:
    """Draw the pictures of `table` into `figure`.

    Raises:
        UsageError: RS003, the table holds no pictures.
    """
    if table.over_depth:
        raise error("RS003", "the figure 'attention' of a study of depth", "take the figure collapse")
    chosen = first_of_seeds(table)
    if len({matrix.stack for matrix in chosen}) > 1:  # a page has room for the heads of one stack
        chosen = [matrix for matrix in chosen if matrix.stack == chosen[0].stack]
    numbers = {matrix.id: matrix for matrix in chosen}
    found = [picture_of(each, numbers[each.matrix]) for each in table.series if shown(each) and each.matrix in numbers]
    if not found:
        check_some(table)
        if any(series.name == "attention" for series in table.series):
            given = "the figure 'attention' of weights beyond what colours can show"
            raise error("RS003", given, "divide them by a number that brings them near 1")
        raise error(
            "RS003",
            "the figure 'attention' of a result without pictures, which complex matrices never have",
            "analyse again with --figure attention -o FILE, or in Python with pictures=True",
        )
    if len(found) <= FEW:
        draw_few(figure, table, found)
    else:
        draw_many(figure, table, found)


def check_some(table: Table) -> None:
    """Refuse a table none of whose matrices could be measured.

    Raises:
        UsageError: RS003, with the first reason.
    """
    reasons = refusals(table)
    if table.matrices and all(matrix.id in reasons for matrix in table.matrices):
        first = reasons[table.matrices[0].id]
        raise error("RS003", f"the figure 'attention' of matrices that were refused, {first.code}", first.because)


def left_out(table: Table, found: Sequence[Picture]) -> list[Entry]:
    """Remarks on matrices that are not shown: further seeds, and those without a picture."""
    first = first_of_seeds(table)
    seeds = len(table.matrices) - len(first)
    missing = len(first) - len(found)
    entries = [remark(f"of several seeds the first: {seeds} matrices are not shown")] if seeds else []
    return entries + ([remark(f"{missing} of {len(first)} matrices: no picture to draw")] if missing else [])


# --- a few --------------------------------------------------------------------------------------------------------


def draw_few(figure: Figure, table: Table, found: Sequence[Picture]) -> None:
    """A row for each matrix: the picture at the left, its spectrum at the right."""
    several = len(found) > 1
    heights = [SIDE[len(found)] * min(max(each.matrix.rows / each.matrix.columns, 0.5), 1.0) for each in found]
    figure.set_figheight(1.3 + sum(heights) + 0.35 * len(found))
    widths = [SIDE[len(found)], ACROSS - SIDE[len(found)]]
    grid = figure.subplots(len(found), 2, squeeze=False, width_ratios=widths, height_ratios=heights)
    pictures, spectra = list(grid[:, 0]), list(grid[:, 1])
    colours = draw_bar(figure, pictures, found, sum(heights) + 0.35 * (len(found) - 1))
    curves = {curve.matrix.id: curve for curve in reversed(curves_of(table))}
    shown_curves = [curves[each.matrix.id] for each in found if each.matrix.id in curves]
    entries: dict[str, Entry] = {}
    for axes, right, each in zip(pictures, spectra, found, strict=True):
        rows, columns = each.matrix.rows, each.matrix.columns
        paint(axes, each, colours, (0.5, columns + 0.5, rows + 0.5, 0.5))
        axes.set_ylabel("query")
        axes.xaxis.set_major_locator(FixedLocator(few_ticks(columns)))
        axes.yaxis.set_major_locator(FixedLocator(few_ticks(rows)))
        curve = curves.get(each.matrix.id)
        if curve is None:
            write_reason(right, reason_for_none(each.matrix, None, spectra_of(table)))
        else:
            entries |= draw_spectrum(right, curve, shown_curves)
    pictures[-1].set_xlabel("key")
    for right in spectra[:-1]:
        right.set_xlabel("")
    mark(pictures[0], found)
    if several:
        write_names(pictures, names_among(found), WIDTH)
    listed = [*entries.values(), *colour_entries(found), *left_out(table, found)]
    name = f"Attention and its spectrum: {len(found)} matrices" if several else label_of(found[0].matrix)
    matrices = [each.matrix for each in found]
    title, facts = (name, shape_of(matrices)), common_facts(table, matrices)
    write_around(figure, pictures[0], pictures[-1], title, facts, listed, named=several)


def few_ticks(size: int) -> list[int]:
    """The first place, the last, and some between."""
    ticks = index_ticks(size)
    return ticks if len(ticks) <= 5 else [1, *ticks[2:-1:2], size]


def draw_spectrum(axes: Axes, curve: Curve, among: list[Curve]) -> dict[str, Entry]:
    """The spectrum of one matrix, with its noise shaded; gives back what the legend says of it.

    Its heights can be compared with those of the curves that it stands `among`.
    """
    bottom = frame(axes, [curve], among)
    axes.xaxis.set_major_locator(FixedLocator(few_ticks(curve.order)))
    axes.set_ylabel(r"$\sigma_i\,/\,\sigma_1$")
    marker = "o" if curve.order <= 64 else ""
    (line,) = axes.plot(curve.index, only(curve.values, curve.data), "-", color="#0072B2", marker=marker, gid="curve")
    line.set(markersize=2.5, zorder=3)
    entries = {"curve": Entry(line, "", "singular values")}
    floor = floor_of([curve])
    if floor > bottom:
        axes.axhspan(bottom, floor, color=BAND, linewidth=0, zorder=0, gid="shaded-band")
        entries["noise"] = Entry(Patch(facecolor=BAND), "", "below the error bound: noise")
    draw_noise(axes, [curve], "")
    if curve.zero.any():
        text = axes.annotate("", (1, 1), (-2, -3), "axes fraction", "offset points", ha="right", va="top")
        text.set(fontsize=SMALL, color=GREY)
        inscribe(text, f"{counted(curve.zero)} exactly 0", REASON)
    return entries


def write_reason(axes: Axes, reason: str) -> None:
    """In the place of a curve: why there is none."""
    axes.set_axis_off()
    lines = folded(reason, LETTERS)[:LINES]
    for row, line in enumerate(lines):
        place = (0, LINE * (len(lines) / 2 - row))
        text = axes.annotate("", (0.5, 0.5), place, "axes fraction", "offset points", color=GREY, ha="center")
        text.set_fontsize(SMALL)
        inscribe(text, line, REASON)


# --- many ---------------------------------------------------------------------------------------------------------


def draw_many(figure: Figure, table: Table, found: Sequence[Picture]) -> None:
    """Small pictures: a row for each layer and a column for each head, or one after the other with their names."""
    axes = figure.add_subplot(gid="grid")
    axes.set_frame_on(False)
    axes.tick_params(length=0)
    heads = by_layer_and_head(found)
    drawn, spots, entries = in_grid(axes, found, heads) if heads else wrapped(axes, found)
    count, across = (1 + max(places) for places in zip(*spots, strict=True))
    common, rests = told_apart(names_among(drawn))
    texts = [] if heads else [axes.text(0, 0, "", fontsize=6, va="bottom", color=GREY) for _ in drawn]
    lines = [inscribe_folded(text, name, 0.92 * WIDTH / across) for text, name in zip(texts, rests, strict=False)]
    label = max(lines, default=0) * min(0.24, 0.02 * across) + 0.04 * bool(lines)
    height = WIDTH / 72 / across * count * (1 + label)
    figure.set_figheight(1.6 + height)
    colours = draw_bar(figure, [axes], drawn, height)
    for (row, column), each in zip(spots, drawn, strict=True):
        top = row * (1 + label) + label
        paint(axes, each, colours, (column + 0.03, column + 0.97, top + 0.97, top + 0.03))
    axes.set_xlim(0, across)
    axes.set_ylim(count * (1 + label), 0)
    for (row, column), text in zip(spots, texts, strict=False):
        text.set_position((column + 0.03, row * (1 + label) + label))
    mark(axes, drawn)
    matrices = [each.matrix for each in drawn]
    title = f"Attention: {len(drawn)} {'heads' if heads else 'matrices'}", shape_of(matrices)
    shared = common.removesuffix("layer").removesuffix("head").strip()
    note = " · ".join(filter(None, (common_facts(table, matrices), shared)))
    entries = [*colour_entries(drawn), *entries, *left_out(table, found)]
    write_around(figure, axes, axes, title, note, entries, named=False)


def told_apart(names: list[str]) -> tuple[str, list[str]]:
    """The words that all names share, and what is left of each; a word before a number stays with it."""
    common, rests = parted(names)
    words = [rest.split() for rest in rests]
    bound = {one for each in words for one, after in pairwise(each) if after.replace(".", "").isdigit()}
    numbers = {word for each in words for word in each if word.replace(".", "").isdigit()}
    shared = [word for word in dict.fromkeys(words[0]) if all(word in each for each in words)]
    left_out = {word for word in shared if word not in bound | numbers}
    left = [[word for word in each if word not in left_out] for each in words]
    if not all(left):
        return common, rests
    return " ".join([*common.split(), *(word for word in shared if word in left_out)]), [
        " ".join(each) for each in left
    ]


Placed = tuple[list[Picture], list[tuple[int, int]], list[Entry]]


def in_grid(axes: Axes, found: Sequence[Picture], heads: dict[tuple[int, int], Picture]) -> Placed:
    """The heads by layer and head, as many as a page has room for: the first heads of the first layers."""
    columns = sorted({head for _, head in heads})[:MOST_ACROSS]
    rows = sorted({layer for layer, _ in heads})[: MOST // len(columns)]
    kept = {key: each for key, each in heads.items() if key[0] in rows and key[1] in columns}
    axes.set_xticks(np.arange(len(columns)) + 0.5, [str(head) for head in columns])
    axes.set_yticks(np.arange(len(rows)) + 0.5, [str(layer) for layer in rows])
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    words = [remark(f"{len(kept)} of {len(heads)} heads are shown")] if len(kept) < len(heads) else []
    others = len(found) - len(heads)
    words += [remark(f"{others} means and products are not shown")] if others else []
    return list(kept.values()), [(rows.index(layer), columns.index(head)) for layer, head in kept], words


def wrapped(axes: Axes, found: Sequence[Picture]) -> Placed:
    """One after the other, as many as a page has room for."""
    drawn = list(found[:MOST])
    across = max(3, round((1.6 * len(drawn)) ** 0.5))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("queries from top to bottom, keys from left to right", fontsize=SMALL)
    left = len(found) - len(drawn)
    words = [remark(f"the first {len(drawn)} of {len(found)} matrices are shown")] if left else []
    return drawn, [divmod(number, across) for number in range(len(drawn))], words


def by_layer_and_head(found: Sequence[Picture]) -> dict[tuple[int, int], Picture]:
    """The heads by layer and head; nothing unless each matrix but means and products has a place of its own."""
    heads = [each for each in found if each.series.over is None]
    places = {
        (each.series.layer or 0, each.series.head): each for each in heads if each.series.head is not None
    }  # fmt: skip
    return places if len(places) == len(heads) > 1 else {}
