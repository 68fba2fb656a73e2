"""Singular values, each with a bound on its error.

LAPACK is backward stable: reduction to a bidiagonal matrix moves each value by at most p(m, n)·eps·σ₁, so that every
value below that bound is noise, whatever digits are printed. p grows slowly; we take p = 2√max(m, n), the probabilistic
size of accumulated rounding with a factor of 2 in hand. The values of the bidiagonal matrix then come from dqds, which
stops at a *relative* tolerance of up to 100·eps (`dbdsqr`, TOLMUL): nearly equal values have been seen to be off by
46 eps. Constants that are not proved make the bound *estimated*.
"""

import math
from dataclasses import dataclass
from functools import singledispatch
from typing import Final

import numpy as np

from rankscope.arrays import EPS, Array, Float64, power_of_two, scaled
from rankscope.attention.distance import distance
from rankscope.attention.operators import Dense, Factored, Operator, norm
from rankscope.errors import RankscopeError, error
from rankscope.records import Guarantee

BACKWARD: Final = 2.0
"""The constant c of p(m, n) = c·√max(m, n)."""

DQDS: Final = 100.0
"""The relative error of each value, in eps, that the last stage of LAPACK allows itself."""


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum:
    """The singular values of an m × n matrix, in descending order, times 2^exponent.

    `error` bounds the error of each value; `complete` says that all min(m, n) are here, and otherwise `tail` bounds
    the rest. `frobenius` is ‖A‖_F on the same scale. The exponent is 0 unless float64 could not hold the values.
    `logs` bounds log₁₀ of each value where all were asked for, and is None for those that are zero or not resolved.
    """

    values: Float64
    error: Float64
    shape: tuple[int, int]
    frobenius: float
    guarantee: Guarantee
    method: str
    complete: bool = True
    tail: float = 0.0
    exponent: int = 0
    logs: list[tuple[float, float] | None] | None = None

    @property
    def largest(self) -> float:
        return float(self.values[0]) if len(self.values) else 0.0

    def absolute(self, value: float) -> float | None:
        """A value of this spectrum in its true size; None when float64 cannot hold it."""
        if self.exponent == 0:
            return value
        size = math.log2(value) + self.exponent if value > 0 else 0.0
        return float(scaled(value, self.exponent)) if -1022 <= size < 1024 else None


@singledispatch
def spectrum(operator: Operator) -> Spectrum:
    """All singular values by LAPACK's values-only divide and conquer; |diagonal|, exactly, of a diagonal matrix.

    The matrix is first divided by a power of two, which is exact and keeps LAPACK in range. Values beyond a proved
    bound of the rank are exactly zero. The bound on each value adds the distance between the numbers that are held and
    the exact matrix (Weyl's inequality).
    """
    matrix = operator.matrix
    if operator.structure.side.value == "diagonal":
        return of_diagonal(operator)
    exponent = power_of_two(matrix)
    held = scaled(matrix, -exponent)
    away = math.ldexp(distance(operator), -exponent)
    values = singular_values_of(held)
    errors = backward(values, max(matrix.shape), float(values.max(initial=0.0))) + away
    rank = operator.structure.rank_bound.value
    values[rank:], errors[rank:] = 0.0, 0.0  # a theorem says so
    method = f"LAPACK gesdd, values only; error {BACKWARD:g}√n·eps·σ₁ + {DQDS:g}·eps·σ"
    return finished(values, errors, operator, norm(held), "estimated", method, exponent)


def backward(values: Float64, size: int, scale: float) -> Float64:
    """What LAPACK may have moved each value by: c·√n·eps·scale in the reduction, and 100·eps of itself in dqds."""
    return (BACKWARD * math.sqrt(size) * scale + DQDS * values) * EPS


def of_diagonal(operator: Operator) -> Spectrum:
    """The absolute values of a diagonal, sorted: exact, however far apart they are."""
    values = np.sort(np.abs(np.diagonal(operator.matrix)))[::-1]
    away = distance(operator)
    exponent = power_of_two(values)
    frobenius = math.ldexp(norm(scaled(values, -exponent)), min(exponent, 1022))
    rounded = np.iscomplexobj(operator.matrix)
    stored = isinstance(operator, Dense) and operator.definition is None
    guarantee: Guarantee = "proved" if stored and not rounded else "estimated"
    errors = np.full(len(values), away) + (2 * EPS * values if rounded else 0.0)
    return Spectrum(values, errors, operator.shape, frobenius, guarantee, "the diagonal of a diagonal matrix")


@spectrum.register
def _(operator: Factored) -> Spectrum:
    """Singular values of L·Rᵀ from the small product of two triangular QR factors; the rest are exactly zero."""
    values, found, exponent = factor_spectrum(operator.factors.left, operator.factors.right)
    values, found = scaled(values, exponent), scaled(found, exponent)
    missing = min(operator.shape) - len(values)
    padded = np.concatenate([values, np.zeros(missing)])
    errors = np.concatenate([found + distance(operator), np.zeros(missing)])
    method = f"QR of the two factors and LAPACK gesdd of {len(values)} × {len(values)}; the other values are zero"
    return finished(padded, errors, operator, norm(values), "estimated", method, 0)


def factor_spectrum(left: Float64, right: Float64) -> tuple[Float64, Float64, int]:
    """The non-zero singular values of left · rightᵀ divided by 2^e, bounds on their errors, and e.

    The product is not formed.

    left = Q₁R₁ and right = Q₂R₂ give the values of R₁R₂ᵀ. The backward errors of QR are relative to the norm of each
    factor; columns are first balanced by powers of two, which changes nothing else.
    """
    sizes = [np.frexp(np.abs(factor).max(axis=0, initial=0.0))[1] for factor in (left, right)]
    shift = (sizes[0] - sizes[1]) // 2
    common = int((sizes[0] - shift).max(initial=0))
    first, second = (
        np.asarray(np.linalg.qr(np.ldexp(factor, each - common), mode="r"))
        for factor, each in ((left, -shift), (right, shift))
    )
    values = singular_values_of(first @ second.T)
    scale = math.prod(float(singular_values_of(each).max(initial=0.0)) for each in (first, second))
    errors = backward(values, max(len(left), len(right), 1), scale)
    return values, errors, 2 * common


def singular_values_of(matrix: Array) -> Float64:
    """LAPACK's singular values of a finite matrix, in descending order.

    A wide matrix is decomposed as its transpose: the reduction by rows loses up to n·eps where that by columns loses
    √n·eps, and a matrix and its transpose should not differ.
    """
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else np.ascontiguousarray(matrix.T)
    try:
        return np.asarray(np.linalg.svd(tall, compute_uv=False), dtype=np.float64)
    except np.linalg.LinAlgError as reason:
        raise not_converged(matrix.shape, reason) from reason


def not_converged(shape: tuple[int, ...], reason: Exception) -> RankscopeError:
    """The error of a decomposition that LAPACK gave up."""
    return error("RS401", f"LAPACK's singular values of a {shape} matrix: {reason}", "try its transpose")


def singular_vectors(matrix: Float64) -> tuple[Float64, Float64, Float64]:
    """LAPACK's U, σ, V of a finite matrix of moderate size, with all m and n columns: A ≈ U·diag(σ)·Vᵀ."""
    tall = matrix.shape[0] >= matrix.shape[1]
    try:
        left, values, right = np.linalg.svd(matrix if tall else np.ascontiguousarray(matrix.T))
    except np.linalg.LinAlgError as reason:
        raise not_converged(matrix.shape, reason) from reason
    return (left, values, right.T) if tall else (right.T, values, left)


def finished(
    values: Float64,
    errors: Float64,
    operator: Operator,
    frobenius: float,
    guarantee: Guarantee,
    method: str,
    exponent: int,
) -> Spectrum:
    """The spectrum in its true size wherever float64 holds it, and with its exponent where it does not."""
    size = math.log2(frobenius) + exponent if frobenius > 0 else 0.0
    if -1010 < size < 1023.5:
        values, errors = scaled(values, exponent), scaled(errors, exponent)
        frobenius, exponent = float(scaled(frobenius, exponent)), 0
    return Spectrum(values, errors, operator.shape, frobenius, guarantee, method, exponent=exponent)
