"""The eigenvalues in the complex plane, with the unit circle.

Dots: the eigenvalues. Those of a triangular matrix, as causal attention is, are its diagonal, so that all are real.
Others are what LAPACK computes, without an error bound: a matrix that is far from normal can have eigenvalues that move
a long way when its entries move a little.

Ring: λ₁, the eigenvalue of largest magnitude. Where no weight is negative and rows sum to one it is 1, and no other
eigenvalue lies outside the unit circle.

Grey circle: the unit circle.

Dashed circle: the circular law. The eigenvalues of a random Markov matrix beside λ₁ fill this disc evenly as n grows
(Bordenave, Caputo and Chafaï 2012, arXiv 0808.1502); its radius is ν/√n, with ν the standard deviation of the weights
divided by their mean.

Grey square: what the second panel shows once more, larger: the eigenvalues beside λ₁, where they are small beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle

from rankscope.errors import error
from rankscope.records import Matrix, Record, Series, Table
from rankscope.report.cells import counted
from rankscope.report.figure import inscribe
from rankscope.report.figures._curve import Array, label_of, record_of
from rankscope.report.figures._laws import weight_spread
from rankscope.report.figures._text import (
    GREY,
    INK,
    PALE,
    SMALL,
    WIDTH,
    Entry,
    remark,
    write_legend,
    write_title,
)

PLACE = 80
MOST = 4  # panels side by side
ACROSS = 5.9  # inches that panels may take together
NAME, APART = 0.22, 0.35  # inches above panels that have a name, and between one and the panel below it
SMALL_BULK = 0.4  # of the first panel: smaller ones are shown once more
LEAST = 1e-200  # an axis of matplotlib cannot show a much smaller range
COLOR = "#0072B2"
LAW = "#D55E00"


@dataclass(frozen=True)
class Plane:
    """The eigenvalues of one matrix, in descending magnitude, with what is known of them."""

    matrix: Matrix
    real: Array
    imaginary: Array
    record: Record | None
    radius: float | None


def suits(table: Table) -> list[str]:
    """Where the eigenvalues were asked for."""
    return ["eigenvalues"] if any(record.measure == "eigenvalues" for record in table) else []


def draw(figure: Figure, table: Table) -> None:
    """Draw the eigenvalues of the first matrices of `table` that have any into `figure`.

    Raises:
        UsageError: RS003, the table holds no eigenvalues, or larger ones than an axis can show.
    """
    planes = planes_of(table)
    if not planes:
        reasons = [record.because for record in table if record.measure == "eigenvalues" and record.because]
        remedy = f"no matrix has any: {reasons[0]}" if reasons else "add -m eigenvalues"
        raise error("RS003", "the figure 'eigenvalues' of a result without eigenvalues", remedy)
    shown = planes[:MOST]
    if max(reach(plane) for plane in shown) > 1e300:
        raise error("RS003", "the figure 'eigenvalues' of eigenvalues beyond 10^300", "divide the matrix by a number")
    host = figure.add_subplot()
    host.set_axis_off()
    write_title(host, table, [plane.matrix for plane in shown], what="Eigenvalues")
    zoomed = [is_zoomed(plane) for plane in shown]
    names = names_of(shown)
    for place, (plane, zoom) in enumerate(zip(shown, zoomed, strict=True)):
        whole, part = panels_of(figure, host, place, len(shown), any(zoomed))
        draw_panel(whole, plane, 1.1 * max(reach(plane), 1.0))
        if part is not None and zoom:
            half = 1.15 * max(reach(plane, 1), plane.radius or 0.0)
            square = Rectangle((-half, -half), 2 * half, 2 * half, fill=False, edgecolor=GREY, linewidth=0.7, zorder=2)
            square.set_gid("grey-square")
            whole.add_patch(square)
            draw_panel(part, plane, half)
        elif part is not None:
            part.set_axis_off()
        if len(shown) > 1:
            name = whole.set_title("", fontsize=SMALL, fontweight="normal")
            inscribe(name, names[place], 0.85 * WIDTH / len(shown))
    write_legend(figure, host, entries_of(table, planes, shown, names), single_column=True)


def planes_of(table: Table) -> list[Plane]:
    """The eigenvalues of each matrix that has any."""
    found = []
    imaginary = {key(each): each.values for each in table.series if each.name == "eigenvalues_imaginary"}
    matrices = {matrix.id: matrix for matrix in table.matrices}
    for series in table.series:
        if series.name == "eigenvalues_real" and series.values and key(series) in imaginary:
            matrix = matrices[series.matrix]
            record = record_of(series, "eigenvalues", table)
            spread = weight_spread(table, matrix)
            radius = None if spread is None else spread / math.sqrt(matrix.columns)
            real, other = np.asarray(series.values), np.asarray(imaginary[key(series)])
            found.append(Plane(matrix, real, other, record, radius))
    return found


def key(series: Series) -> tuple[int, int | None, int | None, str | None, int | None]:
    """What the two series of one matrix share."""
    return series.matrix, series.layer, series.head, series.over, series.seed


def magnitudes(plane: Plane) -> Array:
    """|λ|, in descending order."""
    return np.hypot(plane.real, plane.imaginary)


def reach(plane: Plane, start: int = 0) -> float:
    """The largest magnitude, without the first `start` eigenvalues."""
    return float(magnitudes(plane)[start:].max(initial=0.0))


def is_zoomed(plane: Plane) -> bool:
    """Whether the eigenvalues beside the first are so small in the panel of all that they are shown once more."""
    return LEAST < max(reach(plane, 1), plane.radius or 0.0) < SMALL_BULK * max(reach(plane), 1.0)


def panels_of(figure: Figure, host: Axes, place: int, count: int, zoom: bool) -> tuple[Axes, Axes | None]:
    """The panel of all eigenvalues, and that of the small ones: beside it for one matrix, else below it."""
    if count == 1:
        boxes = [(0.09, 0.0, 0.38, 1.0), (0.6, 0.0, 0.38, 1.0)] if zoom else [(0.2, 0.0, 0.6, 1.0)]
    else:
        side, rows = min(ACROSS / count - 0.5, 2.3), 2 if zoom else 1
        height = NAME + rows * side + (rows - 1) * APART
        figure.set_figheight(height + 1.9)
        column = (place + 0.5 / ACROSS * count) / count, side / ACROSS
        boxes = [(column[0], low / height, column[1], side / height) for low in (height - NAME - side, 0.0)[:rows]]
    made = [host.inset_axes(box) for box in boxes]
    made[0].set_ylabel("imaginary part" if place == 0 else "")
    made[-1].set_xlabel("real part")
    if count == 1:
        made[0].set_xlabel("real part")
    elif zoom:
        made[1].set_ylabel("imaginary part" if place == 0 else "")
    return made[0], made[1] if zoom else None


def draw_panel(axes: Axes, plane: Plane, half: float) -> None:
    """The eigenvalues whose parts are at most `half`, with the circles."""
    near = np.maximum(np.abs(plane.real), np.abs(plane.imaginary)) <= half
    size = 3.0 if np.count_nonzero(near) <= 64 else 2.0
    (dots,) = axes.plot(plane.real[near], plane.imaginary[near], linestyle="", marker="o", markersize=size, zorder=4)
    dots.set(color=COLOR, markeredgewidth=0, alpha=0.7, gid="dots")
    if near[0]:
        (first,) = axes.plot(plane.real[:1], plane.imaginary[:1], linestyle="", marker="o", markersize=7, zorder=5)
        first.set(color=INK, markerfacecolor="none", markeredgewidth=1.0, gid="ring")
    axes.add_patch(Circle((0, 0), 1.0, fill=False, edgecolor=PALE, linewidth=0.8, zorder=1, gid="grey-circle"))
    if plane.radius is not None:
        law = Circle((0, 0), plane.radius, fill=False, edgecolor=LAW, linestyle=(0, (5, 3)), linewidth=1.0, zorder=3)
        law.set_gid("dashed-circle")
        axes.add_patch(law)
    axes.set_xlim(-half, half)
    axes.set_ylim(-half, half)
    axes.set_aspect("equal", adjustable="box")
    axes.spines[["top", "right"]].set_visible(True)
    tick = 1.0 if 1 < half < 2 else float(f"{0.75 * half:.0e}")
    ends = [f"{each:g}".replace("-", "\N{MINUS SIGN}") for each in (-tick, tick)]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([-tick, 0, tick], [ends[0], "0" if len(ends[0]) < 6 else "", ends[1]])
    axes.axhline(0, color=PALE, linewidth=0.4, zorder=0)
    axes.axvline(0, color=PALE, linewidth=0.4, zorder=0)


def names_of(shown: Sequence[Plane]) -> list[str]:
    """The label of each matrix; those that share one are told apart by their seed, or else by their number."""
    labels = [label_of(plane.matrix) for plane in shown]
    seeds = [plane.record.seed if plane.record else None for plane in shown]
    names = []
    for plane, label, seed in zip(shown, labels, seeds, strict=True):
        shared = [other for other, each in zip(seeds, labels, strict=True) if each == label]
        told = seed is not None and len(set(shared)) == len(shared)
        apart = f"seed {seed}" if told else f"matrix {plane.matrix.id}"
        same = len(set(labels)) == 1  # the title has it
        names.append(label if len(shared) == 1 else apart if same else f"{label} {apart}")
    return names


def entries_of(table: Table, planes: Sequence[Plane], shown: Sequence[Plane], names: Sequence[str]) -> list[Entry]:
    """The legend: what each mark is, what is known of each matrix, and which are not shown."""
    dots = Line2D([], [], linestyle="", marker="o", markersize=3, color=COLOR, markeredgewidth=0)
    ring = Line2D([], [], linestyle="", marker="o", markersize=7, color=INK, markerfacecolor="none")
    circle = Line2D([], [], linestyle="-", marker="", color=PALE, linewidth=0.8)
    if len(shown) == 1:
        kind, ends = kind_of(shown[0]), ends_of(shown[0])
        entries = [Entry(dots, "", f"{counted(len(shown[0].real), 'eigenvalue')}{kind}"), Entry(ring, "", ends)]
    else:
        facts = [f": {ends_of(plane)}{kind_of(plane)}" for plane in shown]
        entries = [Entry(dots, "", "eigenvalues"), Entry(ring, "", "λ₁")]
        entries += [remark(fact, name) for name, fact in zip(names, facts, strict=True)]
    entries.append(Entry(circle, "", "unit circle"))
    entries += laws_of(shown)
    rest = len(planes) - len(shown)
    entries += [remark(f"the first {len(shown)} of {len(planes)} matrices; {rest} left out")] if rest else []
    missing = len({matrix.id for matrix in table.matrices} - {plane.matrix.id for plane in planes})
    reasons = {record.because for record in table if record.measure == "eigenvalues" and record.value is None}
    because = reasons.pop() if len(reasons) == 1 else ""
    if missing:
        words = f"{missing} of {len(table.matrices)} matrices without eigenvalues"
        entries.append(remark("", because, words + ": " * bool(because)))
    return entries


def kind_of(plane: Plane) -> str:
    """Whether all eigenvalues are real, and where they come from."""
    triangular = plane.record is not None and "triangular" in plane.record.method
    if triangular and not plane.imaginary.any():
        return ", all real: the diagonal of a triangular matrix"
    if triangular:
        return ": the diagonal of a triangular matrix"
    return (", all real" if not plane.imaginary.any() else "") + ", without an error bound"


def ends_of(plane: Plane) -> str:
    """The first eigenvalue, and the magnitude of the second."""
    real, imaginary = float(plane.real[0]), float(plane.imaginary[0])
    pair = " ± " if len(plane.real) > 1 and plane.imaginary[1] == -imaginary else " + " if imaginary > 0 else " − "
    first = f"λ₁ = {real:.4g}" + (f"{pair}{abs(imaginary):.4g}i" if imaginary else "")
    second = f", |λ₂| = {reach(plane, 1):.4g}" if len(plane.real) > 1 else ""
    return (first + second).replace("-", "\N{MINUS SIGN}")


def laws_of(shown: Sequence[Plane]) -> list[Entry]:
    """The radius of the circular law, and how many eigenvalues lie outside of it."""
    known = [plane for plane in shown if plane.radius is not None]
    if not known:
        return []
    line = Line2D([], [], linestyle=(0, (5, 3)), marker="", color=LAW, linewidth=1.0)
    radii = sorted({plane.radius or 0.0 for plane in known})
    words = f"{radii[0]:.4g}" if len(radii) == 1 else f"{radii[0]:.4g} to {radii[-1]:.4g}"
    outside = [int(np.count_nonzero(magnitudes(plane)[1:] > (plane.radius or 0.0))) for plane in known]
    count = ", ".join(map(str, outside))
    return [Entry(line, "", f"circular law, radius ν/√n = {words}: {count} eigenvalues beside λ₁ lie outside")]
