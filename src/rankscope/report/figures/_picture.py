"""Pictures of matrices in a figure: what a table holds of them, the colours of weights, and what tells them apart."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LogNorm, Normalize, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogFormatterSciNotation

from rankscope.records import Matrix, Record, Series, Table
from rankscope.report.cells import number
from rankscope.report.figures._curve import Array, label_of
from rankscope.report.figures._text import GREY, SMALL, Entry, remark

DECADES = 4.0  # that the colours span at most
SIGNED_DECADES = 2.0  # on each side of zero
FAR = 100.0  # from this ratio on, powers of ten are ticks enough
BAR = 0.12  # inches across
LEAST, MOST = 1e-280, 1e280  # of the largest weight: logarithms of colours are taken in float64
RARE = 0.005  # the part of the weights that may lie beyond each end of the colours


class Picture(NamedTuple):
    """The means of the weights of one matrix, times the number of keys: 1 is the weight of uniform attention."""

    matrix: Matrix
    series: Series
    weights: Array


def first_of_seeds(table: Table) -> list[Matrix]:
    """The matrices, without those that differ from an earlier one in their seed alone."""
    rows: list[Record | Series] = [*table.records, *table.series]
    places = {row.matrix: (row.layer, row.head, row.over, row.seed) for row in reversed(rows)}
    found: dict[tuple[object, ...], Matrix] = {}
    for matrix in table.matrices:
        *place, seed = places.get(matrix.id, (None, None, None, None))
        found.setdefault((matrix.kind, *place, matrix.id if seed is None else None), matrix)
    return list(found.values())


def shown(series: Series) -> bool:
    """Whether a series is a picture with something in it, of weights that the colours of a figure can tell apart."""
    if series.name != "attention" or not series.values or not series.columns:
        return False
    largest = max(map(abs, series.values))
    return largest == 0 or LEAST <= largest <= MOST


def picture_of(series: Series, matrix: Matrix) -> Picture:
    """The picture that a series holds."""
    return Picture(matrix, series, np.asarray(series.values).reshape(-1, series.columns or 1) * matrix.columns)


# --- colours ------------------------------------------------------------------------------------------------------


class Colours(NamedTuple):
    """How weights become colours, from `low` to `high` in size, and at which ends of the bar there are more."""

    norm: Normalize
    map: Colormap
    low: float
    high: float
    extend: str


def colours_of(found: Sequence[Picture]) -> Colours:
    """The colours of weights: one decade to four, without the rarest; on both sides of zero if some are negative."""
    every = np.concatenate([each.weights.ravel() for each in found])
    sizes = np.sort(np.abs(every[every != 0]))
    signed = bool((every < 0).any())
    rare = int(RARE * len(sizes))
    high = float(sizes[len(sizes) - 1 - rare]) if len(sizes) else 1.0
    span = SIGNED_DECADES if signed else DECADES
    low = min(max(float(sizes[rare]) if len(sizes) else 0.0, high / 10**span), high / 10)
    over, under = bool((sizes > high).any()), bool((sizes < low).any())
    if signed:
        norm: Normalize = SymLogNorm(low, vmin=-high, vmax=high, base=10)
        return Colours(
            norm, matplotlib.colormaps["PuOr_r"].with_extremes(bad="white"), low, high, "both" if over else "neither"
        )
    extend = {(True, True): "both", (True, False): "max", (False, True): "min"}.get((over, under), "neither")
    return Colours(LogNorm(low, high), matplotlib.colormaps["cividis"].with_extremes(bad="white"), low, high, extend)


def draw_bar(figure: Figure, axes: Sequence[Axes], found: Sequence[Picture], height: float) -> Colours:
    """The colour bar beside some axes, which are so many inches high; gives back the colours that it shows."""
    colours = colours_of(found)
    scale = ScalarMappable(colours.norm, colours.map)
    aspect = 0.95 * height / BAR
    bar = figure.colorbar(scale, ax=list(axes), extend=colours.extend, pad=0.02, aspect=aspect, shrink=0.95)
    bar.set_label("weight / uniform weight", fontsize=SMALL)
    bar.outline.set_linewidth(0)
    bar.ax.tick_params(labelsize=7)
    signed = isinstance(colours.norm, SymLogNorm)
    ticks = [tick for tick in bar_ticks(colours) if not signed or tick > 2 * colours.low]
    bar.ax.yaxis.set_major_locator(FixedLocator([*(-tick for tick in ticks), 0.0, *ticks] if signed else ticks))
    bar.ax.yaxis.set_major_formatter(LogFormatterSciNotation(linthresh=colours.low if signed else None))
    if colours.high < FAR * colours.low:
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: number(tick)))
    bar.minorticks_off()
    return colours


def bar_ticks(colours: Colours) -> list[float]:
    """The powers of ten among the weights of the colours; below two decades twice and five times these as well."""
    first, last = math.floor(math.log10(colours.low)), math.ceil(math.log10(colours.high))
    steps = (1, 2, 5) if colours.high < FAR * colours.low else (1,)
    ticks = [float(f"{step}e{exponent}") for exponent in range(first, last + 1) for step in steps]
    return [tick for tick in ticks if colours.low <= tick <= colours.high]


def paint(axes: Axes, picture: Picture, colours: Colours, place: tuple[float, float, float, float]) -> None:
    """One picture at a place (left, right, bottom, top) of the axes. Each cell keeps its edges in every format."""
    weights = np.ma.masked_equal(picture.weights, 0.0)
    image = axes.imshow(weights, colours.map, colours.norm, extent=place, aspect="auto", interpolation="none")
    image.set(gid="picture", zorder=2)


def colour_entries(found: Sequence[Picture]) -> list[Entry]:
    """What the legend says of colours that the bar does not show, and of what a cell stands for."""
    entries = []
    if any((each.weights == 0).any() for each in found):
        entries.append(Entry(Patch(facecolor="white", edgecolor=GREY, linewidth=0.5), "", "exactly zero"))
    blocks = {block for each in found if (block := block_of(each)) != (1, 1)}
    if blocks:
        rows, columns = (max(sizes) for sizes in zip(*blocks, strict=True))
        entries.append(remark(f"means over blocks of up to {rows} × {columns}"))
    return entries


def block_of(picture: Picture) -> tuple[int, int]:
    """The rows and columns of the largest block of which a mean is shown."""
    rows, columns = picture.weights.shape
    return -(-picture.matrix.rows // rows), -(-picture.matrix.columns // columns)


def mark(axes: Axes, found: Sequence[Picture]) -> None:
    """Empty artists for the marks of a picture that are no artists of their own, so that they are explained."""
    marks = {
        "white-cells": any((each.weights == 0).any() for each in found),
        "signed-weights": any((each.weights < 0).any() for each in found),
    }
    for name, present in marks.items():
        if present:
            axes.plot([], [], linestyle="", marker="", gid=name)


# --- names --------------------------------------------------------------------------------------------------------


def names_among(found: Sequence[Picture]) -> list[str]:
    """The label of each matrix, with what tells it apart from others of the same label."""
    labels = [label_of(each.matrix) for each in found]
    names = []
    for each, label in zip(found, labels, strict=True):
        same = [features(other.matrix) for other, its in zip(found, labels, strict=True) if its == label]
        own = features(each.matrix)
        more = [own[name] for name in own if len({other[name] for other in same}) > 1]
        if same.count(own) > 1:
            more.append(f"matrix {each.matrix.id}")
        names.append(" ".join([label, *more]))
    return names


def features(matrix: Matrix) -> dict[str, str]:
    """What labels leave out, in words."""
    return {
        "shape": f"n {matrix.rows}" if matrix.rows == matrix.columns else f"{matrix.rows} × {matrix.columns}",
        "d": f"d {matrix.d}",
        "scale": f"scale {matrix.scale}",
        "dtype": matrix.dtype,
    }
