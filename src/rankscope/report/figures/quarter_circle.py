"""The singular values beside the first as a histogram, with the law that random matrices tend to.

Histogram: the singular values without the largest, σ₂ and what follows, times √n with n the number of keys. Where there
are several seeds, their values are pooled, and the largest of each is left out.

Curve: Marchenko and Pastur's law, which for a square matrix is the quarter circle √(4s² − x²)/(πs²). Nothing in it is
fitted beside the second moment: s² is the mean of the squares that are shown. Random Markov matrices, whose rows are
independent positive weights divided by their sums, have one singular value near 1, and the others follow the quarter
circle as n grows (Bordenave, Caputo and Chafaï 2012, arXiv 0808.1502).

Dashed line: the limit of theory for these weights, in which s is their standard deviation divided by their mean.
Nothing is fitted.

What to see: Kolmogorov's distance is the greatest difference between the share of values at most x and that of the
law, over all x. It needs no bins, and is a plain number and no test: singular values keep apart, so that it is much
smaller than for independent draws. Softmax attention of queries and keys is no matrix of independent entries, and its
values need not follow the curve.
"""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rankscope.errors import error
from rankscope.records import Table
from rankscope.report.figures._curve import (
    Array,
    Curve,
    by_seed,
    check_spectra,
    curves_of,
    reasons_for_none,
)
from rankscope.report.figures._laws import Law, weight_spread
from rankscope.report.figures._text import GREY, INK, Entry, remark, write_legend, write_title
from rankscope.report.figures.spectrum import without_curve, write_reasons

PLACE = 70
LEAST = 64  # a law of large matrices says little about smaller ones
POINTS = 513  # of the curve of a law
COLOR, FILL = "#D55E00", "#b9d4e7"


def suits(table: Table) -> list[str]:
    """Where one kind of random Markov matrix was analysed, and is large enough for its limit to be seen."""
    kinds = {matrix.kind for matrix in table.matrices}
    fit = all((each.ensemble or "").startswith("markov") and each.rows >= LEAST for each in table.matrices)
    return ["quarter-circle"] if len(kinds) == 1 and fit and not table.over_depth else []


def draw(figure: Figure, table: Table) -> None:
    """Draw the bulk of the singular values of `table` into `figure`.

    Raises:
        UsageError: RS003, the table holds no spectra although it could, or those of matrices that differ in more than
            their seed, too few values for a law, or values that no axis can show.
    """
    if table.over_depth:
        raise error("RS003", "the figure 'quarter-circle' of a study of depth", "take the figure collapse")
    check_spectra(table)
    curves = curves_of(table)
    axes = figure.add_subplot()
    write_title(axes, table, [curve.matrix for curve in curves] or table.matrices, what="Bulk of singular values")
    if not curves:
        write_reasons(axes, reasons_for_none(table))
        return
    groups = by_seed(curves)
    if len(groups) > 1:
        given = f"the figure 'quarter-circle' of {len(groups)} matrices that differ in more than their seed"
        raise error("RS003", given, "analyse one of them, with --seeds if need be")
    values, law = bulk_of(groups[0])
    matrix = groups[0][0].matrix
    spread = weight_spread(table, matrix)
    right = max(float(values.max()), law.edges[1], 2 * spread if spread else 0.0) * 1.04
    bars, where = np.histogram(values, bins=bins_of(len(values)), range=(0.0, right), density=True)
    axes.stairs(bars, where, fill=True, facecolor=FILL, edgecolor=GREY, linewidth=0.5, zorder=1, gid="histogram")
    places = np.union1d(np.linspace(0.0, right, POINTS), np.linspace(*law.edges, POINTS))
    (line,) = axes.plot(places, law.density(places), "-", color=COLOR, marker="", zorder=3, gid="curve")
    shape = "quarter circle" if matrix.rows == matrix.columns else "Marchenko and Pastur's law"
    entries = [
        Entry(Patch(facecolor=FILL, edgecolor=GREY, linewidth=0.5), "", counted(groups[0], values, law)),
        Entry(line, "", f"{shape}, s = {law.scale:.4g} from the second moment: distance {law.distance(values):.3g}"),
    ]
    if spread is not None:
        limit = Law(spread)
        (dashed,) = axes.plot(places, limit.density(places), color=INK, linestyle=(0, (5, 3)), linewidth=1.0, zorder=4)
        dashed.set(marker="", gid="dashed-line")
        entries.append(Entry(dashed, "", f"limit of theory, s = {spread:.4g}: distance {limit.distance(values):.3g}"))
    entries += remarks(groups[0], table, curves)
    axes.set_xlim(0, right)
    axes.set_ylim(0, max(float(bars.max()), 2 / math.pi / law.scale) * 1.08)
    axes.set_xlabel(r"singular value  $\sqrt{n}\,\sigma_i$,  $i \geq 2$")
    axes.set_ylabel("density")
    write_legend(figure, axes, entries, single_column=True)


def bulk_of(group: list[Curve]) -> tuple[Array, Law]:
    """√n·σᵢ of i ≥ 2 of all seeds, and the law of their second moment.

    Raises:
        UsageError: RS003, fewer than two values, values of which some are not known, only zeros, or far from 1.
    """
    first = group[0]
    if first.order < 3:
        given = f"the figure 'quarter-circle' of {first.order} singular value{'s' * (first.order > 1)}"
        raise error("RS003", given, "take a larger matrix")
    if any(len(curve.values) < curve.order for curve in group):
        given = "the figure 'quarter-circle' of a spectrum of which only the leading values are known"
        raise error("RS003", given, "take the figure spectrum")
    sizes = first.matrix.rows, first.matrix.columns
    values = np.concatenate([curve.values[1:] * curve.largest for curve in group]) * math.sqrt(first.matrix.columns)
    moment = math.sqrt(float(np.mean(np.square(values / values.max())))) * float(values.max()) if values.any() else 0.0
    if not moment:
        raise error("RS003", "the figure 'quarter-circle' of a matrix of rank 1", "take the figure spectrum")
    if not 1e-100 < moment < 1e100:
        given = f"the figure 'quarter-circle' of singular values of about {moment:.0e}"
        raise error("RS003", given, "multiply the matrix by a number that brings them near 1")
    return values, Law(moment, min(sizes) / max(sizes))


def bins_of(count: int) -> int:
    """How many bars: about the square root of the number of values, between 8 and 48."""
    return min(max(round(math.sqrt(count)), 8), 48)


def counted(group: list[Curve], values: Array, law: Law) -> str:
    """How many values are shown, and how many lie outside of the law."""
    low, high = law.edges
    beyond, short = int(np.count_nonzero(values > high)), int(np.count_nonzero(values < low))
    outside = [f"{beyond} beyond the end of the curve"] if beyond else []
    outside += [f"{short} below its beginning"] if short else []
    of = f" of {len(group)} seeds" if len(group) > 1 else ""
    return ", ".join([f"{len(values)} singular values{of}", *outside])


def remarks(group: list[Curve], table: Table, curves: list[Curve]) -> list[Entry]:
    """What is not in the histogram, and what is noise in it."""
    root = math.sqrt(group[0].matrix.columns)
    largest = [curve.largest * root for curve in group]
    low, high = f"{min(largest):.4g}", f"{max(largest):.4g}"
    found = [remark("left out: √n·σ₁ = " + (low if low == high else f"{low} to {high}"))]
    noise = sum(int(curve.noise[1:].sum()) for curve in group)
    if noise:
        found.append(remark(f"{noise} below their error bound: noise, drawn where it was computed"))
    return found + without_curve(table, curves)
