"""The ranks of the blocks beside the diagonal, A[k:, :k] and A[:k, k:], for every cut k.

They tell causal linear attention, whose blocks have at most as many dimensions as its state, from causal softmax, where
full rank cannot: both matrices have it. From one cut to the next a block loses a row and gains a column, so that the
number of singular values above any tolerance changes by at most one. A middle block of full rank therefore decides the
whole profile, and counts on a grid of cuts bound those between.

Counts come from a sketch Ψ[:, k:]·A[k:, :k]·Ω[:k] with few rows and columns, accumulated over k so that each entry of A
is used once. Since σ_i(ΨBΩ) ≤ ‖Ψ‖σ_i(B)‖Ω‖, what a sketch counts is certainly there.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from rankscope.analyzer.measure import measure, unknown
from rankscope.analyzer.needs import Blocks
from rankscope.analyzer.numerics import Numerics
from rankscope.analyzer.rank import Tolerance, chosen_tolerance, count_above
from rankscope.analyzer.spectrum import Spectrum, backward, singular_values_of
from rankscope.arrays import EPS, Array, Float64, Storage, scaled
from rankscope.records import Reading

CUTS: Final = 31
"""Cuts of the grid on which sketches are taken."""

SPARE: Final = 16
"""Rows and columns of a sketch beyond the rank that is expected."""

FEW: Final = 7
"""Cuts at which blocks are decomposed where their rank is too high for sketches to pay."""

SMALL: Final = 64
"""Matrices up to this size have every block decomposed."""


@dataclass(frozen=True)
class Side:
    """The profile of one triangle: the cuts that were counted, the counts, and an upper bound for all cuts."""

    cuts: list[int]
    counts: list[int]
    most: int
    method: str


@measure(group="rank", default=False)
def offdiagonal_rank(spectrum: Spectrum, numerics: Numerics, storage: Storage, blocks: Blocks) -> Reading:
    """The largest numerical rank of a block A[k:, :k] or A[:k, k:] beside the diagonal: how many states a recurrence
    needs to make this attention (the order of a semiseparable matrix, Dao and Gu 2024).

    The tolerance is that of `rank_numerical` for the whole matrix. The profile over k is kept as a series; the bounds
    hold for every cut. Kernels with a state bound the exact rank, too: `details` hold what is proved of it.
    """
    rows, columns = spectrum.shape
    if rows != columns:
        return unknown(f"not square: {rows} × {columns}")
    if rows < 2:
        return unknown("a matrix of one row has nothing beside its diagonal")
    if not (np.isfinite(spectrum.values).all() and np.isfinite(spectrum.error).all()):
        return unknown("the values overflow float64")
    rule, tolerance = chosen_tolerance(spectrum, numerics, storage)
    held = scaled(blocks.matrix, -spectrum.exponent)
    away = float(np.ldexp(blocks.away, -spectrum.exponent))
    sides = {}
    for name, part in triangles(held).items():
        bounds = [rows // 2, seen_across(part), *([] if blocks.bound is None else [blocks.bound])]
        sides[name] = profile(part, tolerance, away, min(bounds))
    best = max(sides, key=lambda name: max(sides[name].counts))
    value = max(sides[best].counts)
    high = max(side.most for side in sides.values())
    because = blocks.because if blocks.bound is not None else ""
    details = {"rule": rule, "tolerance": spectrum.absolute(tolerance.value), "side": best, "exact_high": blocks.bound}
    cut = cut_of(sides[best])
    below, before = slice(cut, rows), slice(0, cut)
    shown = blocks.minor(*((below, before) if best == "lower" else (before, below)), value)
    details |= {"exact_low": value if shown else None}
    if shown:
        because = f"exactly {value}: a minor of this order is not zero" if value == high else because
    series = {
        f"offdiagonal_rank_{name}": dict(zip(side.cuts, map(float, side.counts), strict=True))
        for name, side in sides.items()
    }
    return Reading(
        value, "estimated", f"σ > τ by the rule {rule}; {sides[best].method}", because, value, max(high, value),
        details=details, series=series,
    )  # fmt: skip


def cut_of(side: Side) -> int:
    """The cut with the largest count."""
    return side.cuts[int(np.argmax(side.counts))]


def triangles(matrix: Array) -> dict[str, Array]:
    """The matrix for the blocks below its diagonal, its transpose for those above; a triangle of zeros is left out."""
    below, above = bool(np.tril(matrix, -1).any()), bool(np.triu(matrix, 1).any())
    found = {"lower": matrix} if below or not above else {}
    return found | ({"upper": matrix.T} if above else {})


def seen_across(matrix: Array) -> int:
    """An upper bound of the rank of every block A[k:, :k]: its rows, or its columns, that are not zero."""
    size = len(matrix)
    entries = np.tril(matrix != 0, -1)
    rows, columns = np.zeros(size + 1, dtype=int), np.zeros(size + 1, dtype=int)
    present = np.flatnonzero(entries.any(axis=1))
    np.add.at(rows, entries[present].argmax(axis=1) + 1, 1)  # row i is in the blocks from its first entry to itself
    np.add.at(rows, present + 1, -1)
    present = np.flatnonzero(entries.any(axis=0))
    np.add.at(columns, present + 1, 1)
    np.add.at(columns, size - entries[::-1, present].argmax(axis=0), -1)
    return int(np.minimum(np.cumsum(rows), np.cumsum(columns)).max(initial=0))


def profile(matrix: Array, tolerance: Tolerance, away: float, bound: int) -> Side:
    """The counts of A[k:, :k] over cuts k, of which none exceeds the bound."""
    size = len(matrix)
    middle = size // 2
    if size <= SMALL:
        return counted(matrix, list(range(1, size)), tolerance, away, bound)
    center = count(matrix[middle:, :middle], tolerance, away)
    if center == middle:
        cuts = list(range(1, size))
        found = [min(k, size - k) for k in cuts]
        return Side(cuts, found, middle, "the middle block has full rank, and so has every other")
    expected = min(bound, center + SPARE)
    if 4 * (expected + SPARE) <= size:
        side = sketched(matrix, expected + SPARE, tolerance, away, bound)
        if side is not None:
            return corrected(side, matrix, {middle: center}, tolerance, away, bound)
    step = size // (FEW + 1)
    return counted(matrix, [step * (i + 1) for i in range(FEW)], tolerance, away, bound)


def count(block: Array, tolerance: Tolerance, away: float) -> int:
    """How many singular values of a block lie above the tolerance, beyond their error."""
    values = singular_values_of(block)
    errors = backward(values, max(block.shape), float(values.max(initial=0.0))) + away
    return int(np.count_nonzero(values - errors > tolerance.high))


def counted(matrix: Array, cuts: list[int], tolerance: Tolerance, away: float, bound: int) -> Side:
    """Counts from a decomposition of each block."""
    counts = [count(matrix[k:, :k], tolerance, away) for k in cuts]
    return Side(cuts, counts, most(cuts, counts, len(matrix), bound), f"{len(cuts)} blocks decomposed")


def sketched(matrix: Array, width: int, tolerance: Tolerance, away: float, bound: int) -> Side | None:
    """Counts from sketches of this width on a grid; None where one of them is full, so that more may be there."""
    size = len(matrix)
    cuts = np.unique(np.linspace(1, size - 1, CUTS).round().astype(int)).tolist()
    random = np.random.default_rng(0)
    left, right = random.standard_normal((width, size)), random.standard_normal((size, width))
    bar = tolerance.high * spectral_norm(left) * spectral_norm(right) * (1 + size * EPS)
    products, start, counts = np.zeros((size, width), dtype=matrix.dtype), 0, []
    for k in cuts:
        products[k:] += matrix[k:, start:k] @ right[start:k]
        start = k
        sketch = left[:, k:] @ products[k:]
        values = singular_values_of(sketch)
        noise = 2 * size * EPS * float(np.linalg.norm(left[:, k:])) * float(np.linalg.norm(products[k:]))
        counts.append(int(np.count_nonzero(values > bar + noise + away * width)))
        if width - SPARE // 2 < counts[-1] < bound:
            return None
    return Side(cuts, counts, most(cuts, counts, size, bound), f"sketches of {width} columns at {len(cuts)} cuts")


def corrected(side: Side, matrix: Array, known: dict[int, int], tolerance: Tolerance, away: float, bound: int) -> Side:
    """The profile of a sketch with the counts of blocks that were decomposed: the middle one and the one that leads."""
    lead = cut_of(side)
    exact = known | {lead: count(matrix[lead:, :lead], tolerance, away)}
    counts = dict(zip(side.cuts, side.counts, strict=True))
    merged = {k: max(counts.get(k, 0), exact.get(k, 0)) for k in sorted({*counts, *exact})}
    cuts, found = list(merged), list(merged.values())
    return Side(cuts, found, most(cuts, found, len(matrix), bound), side.method)


def spectral_norm(matrix: Float64) -> float:
    """The largest singular value, from the smaller Gram matrix."""
    gram = matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix
    return float(np.sqrt(np.linalg.eigvalsh(gram)[-1]))


def most(cuts: list[int], counts: list[int], size: int, bound: int) -> int:
    """The largest count that any cut can have, where counts of neighbouring cuts differ by at most one."""
    ends = [(0, 0), *zip(cuts, counts, strict=True), (size, 0)]
    between = max((b - a + m + n) // 2 for (a, m), (b, n) in pairwise(ends))
    return min(between, bound)


@measure(group="rank", default=False)
def rank_output(blocks: Blocks, numerics: Numerics) -> Reading:
    """The numerical rank of the head's output A·V: at most the size d_v of the values, whatever the rank of A.

    It needs values: those of an ensemble, or `v` of `rankscope.attention`. The tolerance is numpy's, n·eps·σ₁ of A·V.
    """
    values = blocks.values
    if values is None:
        return unknown("the values that the head mixes are not known")
    product = blocks.matrix @ values
    if not np.isfinite(product).all():
        return unknown("A·V overflows float64")
    found = singular_values_of(product)
    largest = float(found.max(initial=0.0))
    rounding = 2 * EPS * blocks.matrix.shape[1] * float(np.linalg.norm(blocks.matrix))
    moved = float(np.linalg.norm(values)) * (blocks.away + rounding)
    errors = backward(found, max(product.shape), largest) + moved
    relative = max(product.shape) * EPS if numerics.rtol is None else numerics.rtol
    first = float(errors[:1].sum())
    tolerance = Tolerance(relative * largest, relative * max(largest - first, 0.0), relative * (largest + first))
    reading = count_above(found, errors, tolerance)
    because = f"at most {values.shape[1]}: the size of the values"
    return replace(reading, method="σ > τ of A·V", because=reading.because or because, subject="stored")
