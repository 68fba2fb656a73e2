"""References that share no code with rankscope: exact rationals, balls, definitions in plain Python, closed forms.

A float64 is a rational number, so the matrix that is stored, and the softmax of scores that are stored, have exact
determinants, ranks and singular values. flint's rationals (`fmpq_mat`) give the first two without any error; its balls
(`arb_mat`) enclose the rest, and a ball that is too wide fails a test and never passes one. Each ball route is itself
compared with a second one, in mpmath or through an invariant that it does not use (see `test_oracles.py`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Final

import flint
import mpmath
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Float64 = NDArray[np.float64]
Boolean = NDArray[np.bool_]

EPS: Final = 2.0**-52
"""The distance from 1 to the next float64."""

UNIT: Final = 2.0**-53
"""The unit roundoff of float64."""

DIGITS_60: Final = 256
"""Bits of working precision that leave more than 60 decimal digits."""


def ball(value: float, radius: float = 0.0) -> Any:
    """A ball around a float."""
    return flint.arb(value, radius)


def added(balls: Iterable[Any]) -> Any:
    """The sum of balls."""
    return sum(balls, flint.arb(0))


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Ball arithmetic with this many bits."""
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = before


# ------------------------------------------------------------------------------------------------------------ matrices


def rational(matrix: Array) -> Any:
    """The stored floats as an exact rational matrix."""
    rows = [[flint.fmpq(*float(x).as_integer_ratio()) for x in row] for row in matrix]
    height, width = matrix.shape
    return flint.fmpq_mat(height, width, [x for row in rows for x in row])


def balls(matrix: Any) -> Any:
    """A rational matrix, or stored floats, as balls at the working precision."""
    return flint.arb_mat(rational(matrix) if isinstance(matrix, np.ndarray) else matrix)


def softmax(scores: Array, seen: Boolean) -> Any:
    """The softmax of the given float64 scores over the keys that are seen, as balls; zero rows where none is."""
    rows = []
    for values, mask in zip(scores.tolist(), seen.tolist(), strict=True):
        weights = [flint.arb(x).exp() if sees else flint.arb(0) for x, sees in zip(values, mask, strict=True)]
        total = sum(weights, flint.arb(0))
        rows.append([weight / total if any(mask) else weight for weight in weights])
    return flint.arb_mat(rows)


def normalised(left: Array, right: Array, seen: Boolean) -> Any:
    """left · rightᵀ of the given floats over what is seen, each row divided by its sum: exactly, in rationals."""
    products = (rational(left) * rational(right).transpose()).tolist()
    zero = flint.fmpq(0)
    rows = [[x if sees else zero for x, sees in zip(*each, strict=True)] for each in zip(products, seen, strict=True)]
    totals = [sum(row, zero) for row in rows]
    flat = [x / (total if total != 0 else 1) for row, total in zip(rows, totals, strict=True) for x in row]
    return flint.fmpq_mat(len(left), len(right), flat)


def log_determinant(matrix: Any) -> tuple[int, Any]:
    """The sign of the determinant and a ball around ln|det|, of balls or rationals; refuses a ball around zero."""
    determinant = flint.arb(matrix.det())
    if determinant == 0:
        return 0, None
    if determinant.contains(0):
        raise ArithmeticError("the determinant is not separated from zero: raise the precision")
    return (1 if determinant > 0 else -1), abs(determinant).log()


def singular_values(matrix: Any) -> list[Any]:
    """Balls around the singular values of a matrix of balls, in descending order.

    They are roots of the eigenvalues of AᵀA, enclosed by flint. Eigenvalues that cannot be told apart (multiple ones)
    are left to mpmath's own singular value decomposition, in 60 digits and with a radius of 50.
    """
    rows, columns = matrix.nrows(), matrix.ncols()
    gram = matrix.transpose() * matrix if columns <= rows else matrix * matrix.transpose()
    try:
        found = [root(value.real) for value in flint.acb_mat(gram).eig()]
    except ValueError:
        return singular_values_by_mpmath(matrix)
    return sorted(found, key=lambda value: float(value.mid()), reverse=True)


def root(ball: Any) -> Any:
    """The square root of a number that is not negative, of which a ball is known."""
    if ball > 0:
        return ball.sqrt()
    half = flint.arb(ball.abs_upper()).sqrt().abs_upper() / 2
    return half + flint.arb(0, half)


def singular_values_by_mpmath(matrix: Any) -> list[Any]:
    """The same by mpmath's QR iteration: the second route."""
    with mpmath.workdps(60):
        held = mpmath.matrix([[to_mpmath(x) for x in row] for row in matrix.tolist()])
        wide = held if held.rows >= held.cols else held.T
        found = [from_mpmath(x) for x in mpmath.svd_r(wide, compute_uv=False)]
    radius = max([abs(float(x.mid())) for x in found], default=0.0) * 1e-50
    return sorted((x + flint.arb(0, radius) for x in found), key=lambda x: float(x.mid()), reverse=True)


def to_mpmath(ball: Any) -> Any:
    """The midpoint of a ball, exactly."""
    mantissa, exponent = ball.mid().man_exp()
    return mpmath.ldexp(mpmath.mpf(int(mantissa)), int(exponent))


def from_mpmath(value: Any) -> Any:
    """A number of mpmath as an exact ball."""
    sign, mantissa, exponent, _ = mpmath.mpf(value)._mpf_
    return flint.arb((-1) ** sign * int(mantissa)) * flint.arb(2) ** int(exponent)


def spectral_norm(matrix: Any) -> Any:
    """A ball around ‖A‖₂, by squaring G = AAᵀ: ‖G^m‖_F lies between λ^m and √n·λ^m for the largest eigenvalue λ.

    m = 2^64 leaves ½·ln n/2^64. Each squaring doubles the relative radius, of which 384 bits leave 2^-319.
    """
    with precision(384):
        power = matrix * matrix.transpose()
        for _ in range(64):
            power = power * power
        spread = flint.arb(matrix.nrows()).log() / 4
        logarithm = frobenius(power).log() - spread + flint.arb(0, spread.abs_upper())
        return (logarithm / flint.arb(2) ** 65).exp()


def smallest_singular_value(matrix: Any) -> Any:
    """A ball around σ_min = 1 / ‖A⁻¹‖₂, from the inverse: small values lose no digits that way."""
    return 1 / spectral_norm(matrix.inv())


def log10(ball: Any) -> Any:
    """The decimal logarithm of a ball."""
    return ball.log() / flint.arb(10).log()


def frobenius(matrix: Any) -> Any:
    """A ball around the Frobenius norm."""
    return root(sum((x * x for row in matrix.tolist() for x in row), flint.arb(0)))


# --------------------------------------------------------------------------------------------------------- comparisons


def inside(low: float | None, truth: Any, high: float | None) -> bool:
    """Whether `truth`, a ball, lies between two floats for certain; a bound that is not known is no bound."""
    return bool((low is None or flint.arb(low) <= truth) and (high is None or truth <= flint.arb(high)))


def away(value: float, truth: Any) -> float:
    """An upper bound of |value − truth|."""
    return float((flint.arb(float(value)) - truth).abs_upper())


# ----------------------------------------------------------------------------------------------------------- matrices


def dyadic(random: np.random.Generator, *shape: int) -> Float64:
    """Normal numbers rounded to multiples of 1/16: with d a power of 4 and a scale that is a power of 2, scores of
    moderate size are then exact in float64, whatever computes them.
    """
    return np.asarray(np.round(random.standard_normal(shape) * 16) / 16, dtype=np.float64)


def full_mantissas(random: np.random.Generator, size: int, scale: float) -> tuple[Float64, Float64]:
    """Tokens of one number whose products are exact and use every bit: powers of two against normal numbers · scale.

    Unlike dyadic scores, the differences of these round.
    """
    queries = random.choice([-2.0, -1.0, 1.0, 2.0], (size, 1))
    return queries, np.asarray(random.standard_normal((size, 1)) * scale)


def exact_scores(queries: Float64, keys: Float64, scale: float) -> Float64:
    """scale · q kᵀ / √d in rationals; refuses scores that float64 does not hold, and d that is no square."""
    root = math.isqrt(queries.shape[1])
    if root**2 != queries.shape[1]:
        raise ArithmeticError("√d is not a whole number")
    products = (rational(queries) * rational(keys).transpose()).tolist()
    factor = Fraction(scale) / root
    exact = [[Fraction(int(x.p), int(x.q)) * factor for x in row] for row in products]
    held = np.array([[float(x) for x in row] for row in exact])
    if any(
        Fraction(float(h)) != x for row, line in zip(exact, held, strict=True) for x, h in zip(row, line, strict=True)
    ):
        raise ArithmeticError("scores are not exact in float64")
    return held


SEES: Final[dict[str, Callable[[int, int], bool]]] = {
    "bidirectional": lambda i, j: True,
    "causal": lambda i, j: j <= i,
    "anticausal": lambda i, j: not j < i,
    "prefix:2": lambda i, j: j in (0, 1) or j <= i,
    "window:2": lambda i, j: abs(i - j) in (0, 1),
}
"""Masks in plain Python."""


def seen_by(sees: Callable[[int, int], bool], rows: int, columns: int) -> Boolean:
    """A mask as a matrix, entry by entry; the queries are the last of the keys."""
    offset = columns - rows
    cells = [[sees(i + offset, j) for j in range(columns)] for i in range(rows)]
    return np.array(cells, dtype=np.bool_).reshape(rows, columns)


def hilbert(size: int) -> Float64:
    """1 / (i + j − 1)."""
    index = np.arange(1, size + 1)
    return 1.0 / (index[:, None] + index[None, :] - 1)


def uniform_causal(size: int) -> Float64:
    """The Cesàro matrix: row i is 1/i up to the diagonal."""
    return np.tril(np.ones((size, size))) / np.arange(1, size + 1)[:, None]


def uniform_causal_log_determinant(size: int) -> float:
    """−ln n!, correctly rounded from the exact integer."""
    with mpmath.workdps(60):
        return -float(mpmath.log(mpmath.mpf(math.factorial(size))))


# --------------------------------------------------------------------------------- definitions of measures, row by row


def entropy(weights: Sequence[float]) -> float:
    """−Σ p ln p over the positive weights."""
    return -math.fsum(p * math.log(p) for p in weights if p > 0)


def hoyer(weights: Sequence[float]) -> float:
    """(√N − l₁/l₂) / (√N − 1)."""
    root = math.sqrt(len(weights))
    return (root - math.fsum(weights) / math.hypot(*weights)) / (root - 1)


def l1_l2(weights: Sequence[float]) -> float:
    """(l₁/l₂) / √N."""
    return math.fsum(weights) / math.hypot(*weights) / math.sqrt(len(weights))


def gini(weights: Sequence[float]) -> float:
    """Half the relative mean absolute difference: Σ_i Σ_j |x_i − x_j| / (2 N Σ x), which sorts nothing."""
    differences = math.fsum(abs(a - b) for a in weights for b in weights)
    return differences / (2 * len(weights) * math.fsum(weights))


def dobrushin(rows: Sequence[Sequence[float]]) -> float:
    """½ max over pairs of rows of ‖A_i − A_k‖₁."""
    return max(math.fsum(abs(x - y) for x, y in zip(a, b, strict=True)) for a in rows for b in rows) / 2


def effective_rank(values: Sequence[float], power: int = 1) -> float:
    """exp of the entropy of σ^γ / Σσ^γ."""
    shares = [value**power for value in values]
    total = math.fsum(shares)
    return math.exp(entropy([share / total for share in shares]))


def stable_rank(values: Sequence[float]) -> float:
    """Σσ² / σ₁²."""
    return math.fsum(value**2 for value in values) / max(values) ** 2


def nuclear_rank(values: Sequence[float]) -> float:
    """Σσ / σ₁."""
    return math.fsum(values) / max(values)


def participation_ratio(values: Sequence[float]) -> float:
    """(Σσ)² / Σσ²."""
    return math.fsum(values) ** 2 / math.fsum(value**2 for value in values)


def energy_rank(values: Sequence[Fraction], share: Fraction) -> int:
    """The least r with Σ_{i≤r} σ_i² ≥ share · Σσ², exactly."""
    squares = [value**2 for value in sorted(values, reverse=True)]
    wanted = share * sum(squares)
    return next(r for r in range(1, len(squares) + 1) if sum(squares[:r]) >= wanted)


# ------------------------------------------------------------------------------------------------------------ rounding


def rounded(value: Fraction, bits: int, minimum: int) -> Fraction:
    """The nearest number with `bits` of significand and exponents from `minimum`, ties to even, in rationals."""
    if value == 0:
        return value
    exponent = minimum
    while abs(value) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    step = Fraction(2) ** (exponent - bits + 1)
    return round(value / step) * step  # round() of a Fraction is to the even neighbour


# --------------------------------------------------------------------------------------------------- exact spectra


def exact_singular_values(matrix: Any) -> list[Any]:
    """Balls around the singular values of a rational matrix, in descending order; zeros and multiplicities are exact.

    They are roots of the characteristic polynomial of AᵀA, which is known exactly: flint divides it into factors
    without multiple roots and encloses the roots of those. No vectors, no perturbation, no floating point.
    """
    rows, columns = matrix.nrows(), matrix.ncols()
    gram = matrix.transpose() * matrix if columns <= rows else matrix * matrix.transpose()
    whole, below = gram.numer_denom()
    if min(rows, columns) == 0:
        return []
    found = [
        flint.arb(0) if value == 0 else (value.real / flint.arb(below)).sqrt()
        for value, count in whole.charpoly().complex_roots()
        for _ in range(count)
    ]
    return sorted(found, key=lambda value: size_of(value), reverse=True)


def size_of(ball: Any) -> Fraction:
    """The midpoint of a ball as a rational number: floats would not tell 10^-400 from 0."""
    mantissa, exponent = ball.mid().man_exp()
    return int(mantissa) * Fraction(2) ** int(exponent)
