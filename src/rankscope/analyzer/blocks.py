"""The ranks of the blocks beside the diagonal, A[k:, :k] and A[:k, k:], for every cut k.

They tell causal linear attention, whose blocks have at most as many dimensions as its state, from causal softmax, where
full rank cannot: both matrices have it. From one cut to the next a block loses a row and gains a column, so that the
number of singular values above any tolerance changes by at most one. A middle block of full rank therefore decides the
whole profile, and counts on a grid of cuts bound those between.

Counts come from sketches A[k:, :k]·Ω with few columns, accumulated over k so that each column of A meets Ω once. What
a sketch leaves out is measured, so that its counts are as certain as those of a decomposition.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from rankscope.analyzer.measure import measure, unknown
from rankscope.analyzer.needs import Blocks
from rankscope.analyzer.numerics import Numerics
from rankscope.analyzer.rank import Tolerance, chosen_tolerance, count_above
from rankscope.analyzer.spectrum import Spectrum, backward, singular_values_of
from rankscope.arrays import EPS, Array, Float64, Storage, power_of_two, scaled
from rankscope.attention.structure import distinct
from rankscope.records import Reading

CUTS: Final = 15
"""Cuts of the grid on which sketches are taken."""

SPARE: Final = 16
"""Columns of a sketch beyond the rank that is expected."""

FEW: Final = 7
"""Cuts at which blocks are decomposed where their rank is too high for sketches to pay."""

SMALL: Final = 64
"""Matrices up to this size have every block decomposed."""


@dataclass(frozen=True)
class Side:
    """The profile of one triangle: for each cut that was counted the least and the largest count, how they were found,
    and what no cut can exceed.
    """

    counts: dict[int, tuple[int, int]]
    method: str
    bound: int
    size: int

    @property
    def least(self) -> int:
        """The largest count that is certain."""
        return max(low for low, _ in self.counts.values())

    @property
    def most(self) -> int:
        """The largest count that any cut can have: neighbouring cuts differ by at most one."""
        ends = [(0, 0), *((cut, high) for cut, (_, high) in self.counts.items()), (self.size, 0)]
        between = max((b - a + m + n) // 2 for (a, m), (b, n) in pairwise(ends))
        return max(self.least, min(between, self.bound))

    @property
    def lead(self) -> int:
        """The cut with the largest count."""
        return max(self.counts, key=lambda cut: self.counts[cut][0])


@measure(group="rank", default=False)
def offdiagonal_rank(spectrum: Spectrum, numerics: Numerics, storage: Storage, blocks: Blocks) -> Reading:
    """The largest numerical rank of a block A[k:, :k] or A[:k, k:]: the states that a recurrence needs (Dao, Gu 2024).

    It is the order of a semiseparable matrix. The tolerance is that of `rank_numerical` for the whole matrix. The
    profile over k is kept as a series; `low` and `high` hold for every cut, and the value is the largest count found.
    `details` hold what a theorem and a proof say of the exact rank of the blocks.
    """
    rows, columns = spectrum.shape
    if rows != columns:
        return unknown(f"not square: {rows} × {columns}")
    if rows < 2:
        return unknown("a matrix of one row has nothing beside its diagonal")
    if not (np.isfinite(spectrum.values).all() and np.isfinite(spectrum.error).all()):
        return unknown("the values overflow float64")
    rule, chosen = chosen_tolerance(spectrum, numerics, storage)
    shift = power_of_two(blocks.matrix)
    held, away = scaled(blocks.matrix, -shift), float(scaled(blocks.away, -shift))
    ends = (float(scaled(end, spectrum.exponent - shift)) for end in (chosen.value, chosen.low, chosen.high))
    tolerance = Tolerance(*ends)
    sides = {}
    for name, part in triangles(held).items():
        bounds = [rows // 2, blocks.rank, seen_across(part), *([] if blocks.bound is None else [blocks.bound])]
        sides[name] = profile(part, tolerance, away, min(bounds))
    best = max(sides, key=lambda name: sides[name].least)
    value, high = sides[best].least, max(side.most for side in sides.values())
    below, before = slice(sides[best].lead, rows), slice(0, sides[best].lead)
    shown = blocks.minor(*((below, before) if best == "lower" else (before, below)), value)
    details = {"rule": rule, "tolerance": spectrum.absolute(chosen.value), "side": best}
    details |= {"exact_low": value if shown else None, "exact_high": blocks.bound}
    because = blocks.because if blocks.bound is not None else ""
    if high > value:
        because = f"{value} at a cut that was counted, and no more than {high} at any"
    elif shown:
        because = "; ".join(filter(None, [because, f"a minor of order {value} is not zero"]))
    series = {
        f"offdiagonal_rank_{name}": {cut: float(low) for cut, (low, _) in side.counts.items()}
        for name, side in sides.items()
    }
    method = f"σ > τ by the rule {rule}; {sides[best].method}"
    return Reading(value, "estimated", method, because, value, high, details=details, series=series)


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
        return counted(matrix, range(1, size), tolerance, away, bound)
    center = count(matrix, middle, tolerance, away)
    if center[0] == middle:
        every = {k: (middle - abs(k - middle), min(k, size - k)) for k in range(1, size)}
        return Side(every, "the middle block has full rank, and decides the others", bound, size)
    expected = min(bound, center[1] + SPARE)
    if 4 * (expected + SPARE) <= size:
        found = sketched(matrix, expected + SPARE, tolerance, away, bound)
        if found is not None:
            lead = max(found, key=lambda cut: found[cut][0])
            found |= {middle: center, lead: count(matrix, lead, tolerance, away)}
            method = f"sketches of {expected + SPARE} columns at {len(found)} cuts"
            return Side(dict(sorted(found.items())), method, bound, size)
    step = size // (FEW + 1)
    return counted(matrix, range(step, step * FEW + 1, step), tolerance, away, bound)


def count(matrix: Array, cut: int, tolerance: Tolerance, away: float) -> tuple[int, int]:
    """How many singular values of a block lie above the tolerance, at least and at most, within their errors."""
    block = matrix[cut:, :cut]
    values = singular_values_of(block)
    errors = backward(values, max(block.shape), float(values.max(initial=0.0))) + away
    return above(values - errors, tolerance.high), above(values + errors, max(tolerance.low, 0.0))


def counted(matrix: Array, cuts: Iterable[int], tolerance: Tolerance, away: float, bound: int) -> Side:
    """Counts from a decomposition of each block."""
    found = {cut: count(matrix, cut, tolerance, away) for cut in cuts}
    return Side(found, f"{len(found)} blocks decomposed", bound, len(matrix))


def sketched(
    matrix: Array, width: int, tolerance: Tolerance, away: float, bound: int
) -> dict[int, tuple[int, int]] | None:
    """Counts from sketches A[k:, :k]·Ω of this width on a grid; None where one of them does not hold all that counts.

    With Q an orthonormal basis of the sketch, σ_i(QᵀB) ≤ σ_i(B) ≤ σ_i(QᵀB) + ‖B − QQᵀB‖. The products accumulate over
    the cuts, so that each column of the matrix meets Ω once.
    """
    size = len(matrix)
    random = np.random.default_rng(0).standard_normal((size, width))
    products, start = np.zeros((size, width), dtype=matrix.dtype), 0
    found: dict[int, tuple[int, int]] = {}
    for k in np.unique(np.linspace(1, size - 1, CUTS).round().astype(int)).tolist():
        products[k:] += matrix[k:, start:k] @ random[start:k]
        start, block = k, matrix[k:, :k]
        basis = np.linalg.qr(products[k:])[0]
        inner = basis.conj().T @ block
        values = singular_values_of(np.asarray(np.linalg.qr(inner.conj().T, mode="r")))
        rounding = 4 * math.sqrt(size) * EPS * float(np.linalg.norm(inner))
        left = float(np.linalg.norm(block - basis @ inner)) + rounding + away
        errors = backward(values, size, float(values.max(initial=0.0))) + rounding + away
        low, most = above(values - errors, tolerance.high), min(k, size - k, bound)
        if left > tolerance.low and low < most:
            return None
        found[k] = low, min(most, above(values + errors + left, tolerance.low)) if left <= tolerance.low else most
    return found


def above(values: Float64, tolerance: float) -> int:
    """How many values lie above a tolerance."""
    return int(np.count_nonzero(values > tolerance))


@measure(group="rank", default=False)
def rank_output(blocks: Blocks, numerics: Numerics) -> Reading:
    """The numerical rank of the head's output A·V: at most the size d_v of the values, whatever the rank of A.

    It needs values: those of an ensemble, or `v` of `rankscope.attention`; A is taken as it is stored. The tolerance is
    numpy's, n·eps·σ₁ of A·V.
    """
    if blocks.values is None:
        return unknown("the values that the head mixes are not known")
    shift = power_of_two(blocks.matrix)
    matrix = scaled(blocks.matrix, -shift)
    values = scaled(blocks.values, -power_of_two(blocks.values))
    product = matrix @ values
    if not product.size:
        return Reading(0, "proved", "A·V", "empty", 0, 0, subject="stored")
    found = singular_values_of(product)
    bounds = {
        values.shape[1]: "the size of the values",
        min(distinct(values), distinct(values.T)): "the number of distinct values",
        blocks.rank: "the rank of the matrix",
    }
    bound = min(bounds)
    largest = float(found[0])
    terms = np.abs(matrix) ** 2 @ values**2  # roundings of sums of m terms, taken as √m·u of their root mean square
    rounding = EPS * math.sqrt(matrix.shape[1]) * math.sqrt(float(terms.sum()))
    errors = backward(found, max(product.shape), largest) + rounding
    found[bound:], errors[bound:] = 0.0, 0.0  # a theorem says so
    relative = max(product.shape) * EPS if numerics.rtol is None else numerics.rtol
    low, high = (relative * max(largest + sign * float(errors[0]), 0.0) for sign in (-1, 1))
    reading = count_above(found, errors, Tolerance(relative * largest, low, high))
    because = reading.because or f"at most {bound}: {bounds[bound]}"
    return replace(reading, method="σ > τ of A·V", because=because, subject="stored")
