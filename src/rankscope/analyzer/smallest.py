"""The smallest singular value, where LAPACK prints noise: from the inverse of a triangular matrix in log scale.

A causal attention matrix of n = 512 has σ_min near 10^−141 and LAPACK prints 2e−20. The inverse is found by forward
substitution, which is accurate for each triangular system, with one exponent per column so that entries of 10^±1000
neither overflow nor vanish. Then 1/‖A⁻¹‖_F ≤ σ_min ≤ 1/‖A⁻¹v‖ for every unit vector v.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from rankscope.analyzer.determinant import LogDet
from rankscope.analyzer.spectrum import Spectrum
from rankscope.arrays import UNIT, Float64, power_of_two, scaled
from rankscope.attention.diagonal import diagonal
from rankscope.attention.operators import Diagonal, Operator
from rankscope.records import Guarantee

BLOCK: Final = 64
"""Rows substituted at a time; larger blocks move work from matrix products into short ones."""

GROWTH: Final = 400.0
"""Nats by which entries may grow inside one block: e^400 leaves half of float64's range for what is summed."""

RESOLVED: Final = 100.0
"""A singular value this many error bounds large is printed from LAPACK: its logarithm is then known to 1 %."""


@dataclass(frozen=True)
class Smallest:
    """log₁₀ of the smallest singular value with its bounds; `log10` is None when only bounds are known."""

    log10: float | None
    low: float | None
    high: float | None
    guarantee: Guarantee
    method: str
    because: str = ""


def smallest(operator: Operator, spectrum: Spectrum, determinant: LogDet) -> Smallest:
    """log₁₀ σ_min by the best of three routes: LAPACK above its error, substitution below, bounds otherwise."""
    count = min(operator.shape)
    if count == 0:
        return Smallest(None, None, None, "proved", "structure", "empty")
    if determinant.sign == 0 or operator.structure.rank_bound.value < count:
        return Smallest(
            None, None, None, "proved", "structure", "the smallest singular value is exactly zero: singular"
        )
    value, error = float(spectrum.values[-1]), float(spectrum.error[-1])
    shift = spectrum.exponent * math.log10(2)
    ceiling = math.log10(value + error) + shift if value + error > 0 else None
    if value > RESOLVED * error:
        logarithm = math.log10(value) + shift
        return Smallest(
            logarithm,
            math.log10(value - error) + shift,
            ceiling,
            spectrum.guarantee,
            "the last value of LAPACK's spectrum",
        )
    own = diagonal(operator)
    if operator.structure.triangular and operator.structure.side.value != "none" and own is not None:
        return of_triangle(operator, own, spectrum, determinant, ceiling)
    because = "below the error bound of the arithmetic, and the matrix is not triangular"
    return Smallest(None, None, ceiling, spectrum.guarantee, "the error bound of LAPACK's spectrum", because)


def of_triangle(
    operator: Operator, own: Diagonal, spectrum: Spectrum, determinant: LogDet, ceiling: float | None
) -> Smallest:
    """σ_min of a triangular matrix from its inverse; from the determinant's bounds where weights underflow."""
    lower = operator.matrix if operator.structure.side.value == "lower" else operator.matrix.T
    exponent = power_of_two(lower)
    found = inverse_norms(np.ascontiguousarray(scaled(lower, -exponent))) if np.isrealobj(lower) else None
    if found is not None:
        frobenius, spectral = (size - exponent * math.log(2) for size in found)
        slack = 8 * len(lower) * UNIT
        method = "inverse by substitution in log scale: 1/‖A⁻¹‖_F ≤ σ_min ≤ 1/‖A⁻¹v‖"
        low, value = (-(size + slack) / math.log(10) for size in (frobenius, spectral))
        return Smallest(value, low, value + 2 * slack / math.log(10), "estimated", method)
    size = len(lower)
    log_frobenius = math.log(spectrum.frobenius) + spectrum.exponent * math.log(2)
    low_bound = None
    if determinant.low is not None and size > 1:
        low_bound = (determinant.low + (size - 1) * (0.5 * math.log(size - 1) - log_frobenius)) / math.log(10)
    entry = float((own.log + own.error).min()) / math.log(10)
    high = entry if ceiling is None else min(entry, ceiling)
    method = "|det|·((n−1)/‖A‖_F²)^((n−1)/2) ≤ σ_min ≤ min|a_ii|"
    return Smallest(None, low_bound, high, "estimated", method, "the entries span more than float64 holds, so only bounds are known")


def inverse_norms(lower: Float64) -> tuple[float, float] | None:
    """log‖L⁻¹‖_F, and a lower bound of log‖L⁻¹‖₂ that power iteration has driven to it; None beyond float64's range.

    Column c of L⁻¹ is held as y·exp(scale_c) with y_c = 1 at first; columns are rescaled by powers of two as they grow.
    """
    size = len(lower)
    own = np.abs(np.diagonal(lower))
    if own.min() < 1e-290:
        return None
    growth = np.log(np.maximum(1.0, (np.abs(lower).sum(axis=1) - own) / own))
    if growth.max() > GROWTH:
        return None
    columns = np.zeros((size, size))
    scale = -np.log(own)
    start = 0
    while start < size:
        within = np.searchsorted(np.cumsum(growth[start : start + BLOCK]), GROWTH, side="right")
        stop = min(start + max(int(within), 1), size)
        block = columns[start:stop, :stop]
        block[:, :start] = -(lower[start:stop, :start] @ columns[:start, :start])
        block[:, start:] = np.diag(np.diagonal(lower)[start:stop])
        substitute(lower[start:stop, start:stop], block)
        exponent = np.frexp(np.abs(block).max(axis=0))[1]
        large = np.flatnonzero(exponent > 300)
        if len(large):
            columns[:stop, large] = np.ldexp(columns[:stop, large], -exponent[large])
            scale[large] += exponent[large] * math.log(2)
        start = stop
    top = np.abs(columns).max(axis=0)
    columns /= top
    scale += np.log(top)
    largest = float(scale.max())
    columns *= np.exp(scale - largest)
    squares = np.einsum("ij,ij->j", columns, columns)
    frobenius = 0.5 * math.log(math.fsum(squares))
    return largest + frobenius, largest + math.log(spectral_norm(columns, squares))


def substitute(lower: Float64, right: Float64) -> None:
    """Solve L·X = right in place, by halves down to single rows: plain forward substitution, mostly matrix products."""
    size = len(lower)
    if size == 1:
        right /= lower[0, 0]
        return
    half = size // 2
    substitute(lower[:half, :half], right[:half])
    right[half:] -= lower[half:, :half] @ right[:half]
    substitute(lower[half:, half:], right[half:])


def spectral_norm(matrix: Float64, squares: Float64) -> float:
    """A lower bound of ‖M‖₂ by power iteration on MᵀM, stopped when it no longer grows; `squares` of its columns."""
    vector = np.zeros(len(squares))
    vector[int(np.argmax(squares))] = 1.0
    best = 0.0
    for _ in range(100):
        image = matrix @ vector
        length = float(np.linalg.norm(image))
        if length <= best * (1 + UNIT):
            break
        best = length
        vector = matrix.T @ (image / length)
        vector /= np.linalg.norm(vector)
    return best
