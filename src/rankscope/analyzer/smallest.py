"""The smallest singular value, where LAPACK prints noise: from the inverse of a triangular matrix in log scale.

A causal attention matrix of n = 512 has σ_min near 10^−141 and LAPACK prints 2e−20. The inverse X is found by forward
substitution, with one exponent per column so that entries of 10^±1000 neither overflow nor vanish. Then
1/‖X‖_F ≤ σ_min ≤ 1/‖Xv‖ for every unit vector v. Both bounds are moved outwards by what an entrywise error B of the
matrix, that of substitution included, can do to X: |δX| ≤ |X|B|X| to first order, whose norm is found in logarithms.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rankscope.analyzer.determinant import LogDet
from rankscope.analyzer.spectrum import Spectrum
from rankscope.arrays import EPS, SMALLEST, TINIEST, UNIT, Float64, power_of_two, scaled
from rankscope.attention.diagonal import diagonal
from rankscope.attention.distance import relative_error
from rankscope.attention.operators import Diagonal, Operator
from rankscope.records import Guarantee

Float32 = NDArray[np.float32]

BLOCK: Final = 64
"""Rows substituted at a time; larger blocks move work from matrix products into short ones."""

GROWTH: Final = 400.0
"""Nats by which entries may grow inside one block: e^400 leaves half of float64's range for what is summed."""

LARGE: Final = 400
"""The binary exponent from which a column is rescaled: with the growth of one more block it is still below 2^1000."""

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
    known = spectrum.logs[-1] if spectrum.logs else None
    if known is not None:
        return Smallest(sum(known) / 2, *known, spectrum.guarantee, spectrum.method)
    value, error = float(spectrum.values[-1]), float(spectrum.error[-1])
    if value + error == 0:
        return Smallest(None, None, None, spectrum.guarantee, spectrum.method, "the smallest singular value is zero")
    shift = spectrum.exponent * math.log(2)
    ceiling = math.log(value + error) + shift
    cancelled = abs(shift)
    if value > RESOLVED * error:
        low = math.log(value - error) + shift
        found = math.log(value) + shift
        method = spectrum.method if spectrum.guarantee == "enclosed" else "the last value of LAPACK's spectrum"
        return within(low, found, ceiling, spectrum.guarantee, method, cancelled=cancelled)
    own = diagonal(operator)
    if operator.structure.triangular and operator.structure.side.value != "none" and own is not None:
        return of_triangle(operator, own, spectrum, determinant, ceiling)
    because = "below the error bound of the arithmetic, and the matrix is not triangular"
    method = "the error bound of LAPACK's spectrum"
    return within(None, None, ceiling, spectrum.guarantee, method, because, cancelled=cancelled)


def within(
    low: float | None,
    found: float | None,
    high: float | None,
    guarantee: Guarantee,
    method: str,
    because: str = "",
    *,
    cancelled: float = 0.0,
) -> Smallest:
    """Natural logarithms as decimal ones, the bounds moved outwards by the rounding of the conversion.

    `cancelled` is the size of a summand that the logarithms no longer show.
    """
    decimal = [None if each is None else each / math.log(10) for each in (low, found, high)]
    bottom, middle, top = decimal
    largest = max((abs(each) for each in decimal if each is not None), default=0.0) + 2 * cancelled / math.log(10)
    slack = 8 * EPS * largest + 8 * EPS
    return Smallest(
        middle,
        None if bottom is None else bottom - slack,
        None if top is None else top + slack,
        guarantee,
        method,
        because,
    )


def of_triangle(
    operator: Operator, own: Diagonal, spectrum: Spectrum, determinant: LogDet, ceiling: float | None
) -> Smallest:
    """σ_min of a triangular matrix from its inverse; from the determinant where float64 cannot hold the entries."""
    lower = operator.matrix if operator.structure.side.value == "lower" else operator.matrix.T
    size = len(lower)
    exponent = power_of_two(lower)
    if np.isrealobj(lower) and math.isfinite(relative_error(operator)):
        held = np.ascontiguousarray(scaled(lower, -exponent))
        relative = relative_error(operator) + (size + 2) * UNIT
        found = inverse_norms(held, relative, scaled(TINIEST, -exponent).item())
        if found is not None:
            frobenius, spectral, slack = found
            method = "inverse by substitution in log scale: 1/‖A⁻¹‖_F ≤ σ_min ≤ 1/‖A⁻¹v‖"
            shift = exponent * math.log(2)
            slack += 8 * EPS * abs(shift)
            return within(shift - frobenius - slack, shift - spectral, shift - spectral + slack, "estimated", method)
    log_frobenius = math.log(spectrum.frobenius or SMALLEST) + spectrum.exponent * math.log(2)
    low = None
    if determinant.low is not None:
        low = determinant.low + (size - 1) * (0.5 * math.log(max(size - 1, 1)) - log_frobenius - size * UNIT)
    known = np.isfinite(own.error)
    diagonal_bounds = (own.log[known] + own.error[known]).tolist()
    high = min([*diagonal_bounds, *([] if ceiling is None else [ceiling])], default=None)
    method = "|det|·((n−1)/‖A‖_F²)^((n−1)/2) ≤ σ_min ≤ min|a_ii|"
    because = "no entrywise error is known" if np.isrealobj(lower) else "the entries are complex"
    if math.isfinite(relative_error(operator)) and np.isrealobj(lower):
        because = "float64 cannot carry the substitution, or errors of the entries grow too far in it"
    return within(low, None, high, "estimated", method, f"{because}, so that only bounds are known")


def inverse_norms(lower: Float64, entries: float, tiny: float) -> tuple[float, float, float] | None:
    """log‖L⁻¹‖_F, a lower bound of log‖L⁻¹‖₂ that power iteration has driven to it, and the relative error of both.

    Every entry of L is known to the relative error `entries` and the absolute error `tiny`, with what substitution
    adds. None where float64 cannot carry the substitution, or where the error reaches 10 %.

    Column c of L⁻¹ is held as y·exp(scale_c) with y_c = 1 at first; columns are rescaled by powers of two as they grow.
    """
    size = len(lower)
    own = np.abs(np.diagonal(lower))
    if own.min() < 1e-290:
        return None
    magnitudes = np.abs(lower)
    totals = magnitudes.sum(axis=1)
    growth = np.log(np.maximum(1.0, (totals - own) / own))
    if growth.max() > GROWTH:
        return None
    columns = np.zeros((size, size))
    logs = np.full((size, size), -np.inf, dtype=np.float32)
    flushed: Float32 | None = None
    sums = np.log(totals)
    scale = -np.log(own)
    start = 0
    while start < size:
        within_range = np.searchsorted(np.cumsum(growth[start : start + BLOCK]), GROWTH, side="right")
        stop = min(start + max(int(within_range), 1), size)
        block = columns[start:stop, :stop]
        block[:, :start] = -(lower[start:stop, :start] @ columns[:start, :start])
        block[:, start:] = np.diag(np.diagonal(lower)[start:stop])
        substitute(lower[start:stop, start:stop], block)
        with np.errstate(divide="ignore"):
            logs[start:stop, :stop] = np.log(np.abs(block)) + scale[:stop]
        exponent = np.frexp(np.abs(block).max(axis=0))[1]
        large = np.flatnonzero(exponent > LARGE)
        if len(large):
            columns[:stop, large] = np.ldexp(columns[:stop, large], -exponent[large])
            scale[large] += exponent[large] * math.log(2)
            flushed = np.full((size, size), -np.inf, dtype=np.float32) if flushed is None else flushed
            gone = sums[stop:, None] + math.log(TINIEST) + scale[large]
            flushed[stop:, large] = np.logaddexp(flushed[stop:, large], gone)
        start = stop
    magnitudes *= entries
    np.add(magnitudes, tiny, out=magnitudes, where=magnitudes > 0)
    error = propagated(logs, magnitudes, flushed)
    if error is None:
        return None
    top = np.maximum(columns.max(axis=0), -columns.min(axis=0))
    largest = float((scale + np.log(top)).max())
    columns *= np.exp(scale - largest)
    squares = np.einsum("ij,ij->j", columns, columns)
    frobenius = largest + 0.5 * math.log(math.fsum(squares))
    spectral = largest + math.log(spectral_norm(columns, squares))
    relative = 2 * math.exp(min(error - spectral, 1.0)) + 4 * size * UNIT + 8 * EPS * float(np.abs(scale).max())
    return (frobenius, spectral, relative) if relative < 0.1 else None


def propagated(inverse: Float32, errors: Float64, flushed: Float32 | None) -> float | None:
    """log of √n·‖ |X|(B|X| + F) ‖_∞, a bound of its 2-norm, for log|X| = `inverse` and entrywise errors B.

    F is the part of B|X| that rescaling flushed to zero (log F = `flushed`). Single precision is enough: the logarithm
    of an error bound is wanted to a per mille.
    """
    with np.errstate(divide="ignore"):
        bound = np.log(errors, out=errors).astype(np.float32)
    ones = np.zeros(len(inverse), dtype=np.float32)
    inner = log_times(bound, log_times(inverse, ones))
    if flushed is not None:
        inner = np.logaddexp(inner, log_times(flushed, ones))
    largest = float(log_times(inverse, inner).max()) + 0.5 * math.log(len(inverse))
    return largest if math.isfinite(largest) else None


def log_times(matrix: Float32, vector: Float32) -> Float32:
    """log(exp(matrix) @ exp(vector)), elementwise in and out, without overflow."""
    terms = matrix + vector
    top = terms.max(axis=1)
    top[np.isneginf(top)] = 0.0
    terms -= top[:, None]
    np.exp(terms, out=terms)
    with np.errstate(divide="ignore"):
        return np.asarray(top + np.log(terms.sum(axis=1)), dtype=np.float32)


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
