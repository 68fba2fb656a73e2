"""Rules of the numerical rank against the installed libraries, on thousands of matrices and at planted values.

A library counts the singular values that it computed, so its count is a fact only where none of them lies within the
error of the tolerance. There rankscope gives a value, and the two must agree; elsewhere it gives an interval, and the
library's count must lie in it. No library is at hand for MATLAB: its documented formula is evaluated in rationals.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Final

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray

import rankscope as rs
from rankscope.records import Record
from tests.oracles import EPS, Array, Float64, hilbert, rational, uniform_causal

Float32 = NDArray[np.float32]
Library = Callable[[Array], int]

DRAWS: Final = 100
"""Matrices of each family."""

EPS_FLOAT32: Final = 2.0**-23
"""The distance from 1 to the next float32."""

BACKWARD: Final = 2.0
"""LAPACK's reduction to a bidiagonal matrix moves each singular value by at most BACKWARD·√max(m, n)·eps·σ₁: it is
backward stable, rounding errors add up like a random walk, and a factor of 2 is in hand (`analyzer/spectrum.py`).
"""

DQDS: Final = 100.0
"""Its last stage leaves each value this many eps of itself: the stopping rule of `dbdsqr`, TOLMUL."""

APART: Final = 1024
"""Planted values stand so many eps, relatively, from the tolerance: five times the 2·DQDS eps that its last stage can
leave of the value and of σ₁ together. The reduction of a diagonal matrix has nothing to reduce, and rounds nothing.
"""

RARELY: Final = 0.02
"""The largest share of generic matrices that may be left undecided; the two tests of it derive what to expect."""


# ------------------------------------------------------------------------------------------------------- the libraries


def scipy_orth(matrix: Array) -> int:
    """The columns of an orthonormal basis of the range; documented rcond: eps·max(M, N)."""
    return int(scipy.linalg.orth(matrix).shape[1])


def scipy_null_space(matrix: Array) -> int:
    """What the null space leaves of the columns; the same rcond."""
    return int(matrix.shape[1] - scipy.linalg.null_space(matrix).shape[1])


def scipy_pinv(matrix: Array) -> int:
    """The rank that the pseudo-inverse was made with; documented rtol: max(M, N)·eps."""
    return int(scipy.linalg.pinv(matrix, return_rank=True)[1])


def numpy_rank(matrix: Array) -> int:
    return int(np.linalg.matrix_rank(matrix))


def torch_rank(matrix: Array) -> int:
    return int(torch.linalg.matrix_rank(torch.from_numpy(matrix)))


def matlab_formula(matrix: Array) -> int:
    """MATLAB's documentation of `rank`: singular values above max(size(A))·eps(norm(A)), where eps(x) is the distance
    from x to the next larger number; the values by gesvd, as in MATLAB, and compared without rounding.
    """
    found = scipy.linalg.svd(matrix, compute_uv=False, lapack_driver="gesvd").tolist()
    tolerance = max(matrix.shape) * (Fraction(math.nextafter(found[0], math.inf)) - Fraction(found[0]))
    return sum(Fraction(value) > tolerance for value in found)


def numerical_recipes_formula(matrix: Array) -> int:
    """Press et al., page 795, as numpy's documentation of `matrix_rank` writes it: S.max()·eps/2·√(m + n + 1)."""
    largest = np.linalg.svd(matrix, compute_uv=False).max()
    m, n = matrix.shape
    return int(np.linalg.matrix_rank(matrix, tol=largest * np.finfo(np.float64).eps / 2.0 * np.sqrt(m + n + 1.0)))


LIBRARIES: Final[dict[str, tuple[Library, ...]]] = {
    "numpy": (numpy_rank, scipy_orth, scipy_null_space, scipy_pinv),
    "torch": (torch_rank,),
    "matlab": (matlab_formula,),
    "numerical-recipes": (numerical_recipes_formula,),
}
"""Of float64 matrices."""

LIBRARIES_FLOAT32: Final[tuple[Library, ...]] = (torch_rank, numpy_rank, scipy_orth, scipy_null_space, scipy_pinv)
"""Of float32 matrices: each takes the eps of what it is given, and all are the rule torch-f32."""

TOLERANCES: Final[dict[str, Callable[[float, int, int], Fraction]]] = {
    "numpy": lambda largest, m, n: Fraction(largest) * max(m, n) / 2**52,
    "torch": lambda largest, m, n: Fraction(largest) * max(m, n) / 2**52,
    "torch-f32": lambda largest, m, n: Fraction(largest) * max(m, n) / 2**23,
    "matlab": lambda largest, m, n: max(m, n) * Fraction(math.ulp(largest)),
    "numerical-recipes": lambda largest, m, n: Fraction(largest) * Fraction(math.sqrt(m + n + 1)) / 2**53,
}
"""Where values are planted; which side of it each library counts them on is left to the library."""


# -------------------------------------------------------------------------------------------------------- the matrices


def orthonormal(random: np.random.Generator, size: int, count: int) -> Float64:
    return np.asarray(np.linalg.qr(random.standard_normal((size, count)))[0])


def with_values(random: np.random.Generator, rows: int, columns: int, values: Array) -> Float64:
    """A dense matrix with these singular values, up to the rounding of one product."""
    left, right = (orthonormal(random, size, len(values)) for size in (rows, columns))
    return np.asarray((left * values) @ right.T)


def repeated(draw: Callable[[np.random.Generator], Float64]) -> Callable[[np.random.Generator], Iterator[Float64]]:
    return lambda random: (draw(random) for _ in range(DRAWS))


def dense(random: np.random.Generator) -> Float64:
    rows, columns = random.integers(1, 41, 2)
    return random.standard_normal((rows, rows if random.random() < 0.5 else columns))


def triangular(random: np.random.Generator) -> Float64:
    size = int(random.integers(1, 41))
    return np.asarray(np.tril(random.standard_normal((size, size))))


def softmax(random: np.random.Generator, causal: bool) -> Float64:
    size, d = int(random.integers(1, 41)), int(random.integers(1, 17))
    queries, keys = random.standard_normal((2, size, d))
    scores = random.choice([0.1, 1.0, 4.0, 16.0]) * queries @ keys.T / math.sqrt(d)
    if causal:
        scores = np.where(np.tri(size, dtype=np.bool_), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def gapped(random: np.random.Generator) -> tuple[Float64, int]:
    """Values from 1e-3 to 1, then zeros, in sizes at which tolerances of n·eps clear the errors; and the rank.

    What comes out in place of a zero is off by BACKWARD·√n·eps·σ₁ in the reduction and by about eps·σ₁ in the product
    that makes the matrix: together below n/2·eps·σ₁ from n = 24 on (9.8 + 1 < 12), and MATLAB's tolerance is above.
    """
    rows, columns = random.integers(24, 41, 2)
    rank = int(random.integers(1, min(rows, columns) + 1))
    return with_values(random, rows, columns, 10.0 ** random.uniform(-3, 0, rank)), rank


def product(random: np.random.Generator) -> Float64:
    rows, columns, inner = random.integers(1, 41, 3)
    return np.asarray(random.standard_normal((rows, inner)) @ random.standard_normal((inner, columns)))


def integers(random: np.random.Generator) -> Float64:
    """A product of small integers: exactly deficient, in float32 too."""
    rows, columns, inner = random.integers(1, 41, 3)
    return np.asarray(random.integers(-9, 10, (rows, inner)) @ random.integers(-9, 10, (inner, columns)), np.float64)


def graded(random: np.random.Generator) -> Float64:
    """Values over 17 decades, on both sides of every tolerance and inside every error."""
    rows, columns = random.integers(1, 41, 2)
    return with_values(random, rows, columns, 10.0 ** random.uniform(-17, 0, min(rows, columns)))


def with_empty_rows(random: np.random.Generator) -> Float64:
    """Rows and columns of zeros: rankscope knows the zero values for certain, a library computes them."""
    matrix = dense(random)
    matrix[random.random(len(matrix)) < 0.3] = 0.0
    matrix[:, random.random(matrix.shape[1]) < 0.3] = 0.0
    return matrix


def diagonal(random: np.random.Generator) -> Float64:
    """Values over 17 decades once more, which rankscope now knows exactly."""
    return np.asarray(np.diag(10.0 ** random.uniform(-17, 0, int(random.integers(1, 41)))))


def well_known() -> Iterator[Float64]:
    """Identities, zeros, Hilbert and Cesàro matrices, uniform attention, bare diagonals."""
    for size in range(1, 41, 2):
        yield np.eye(size)
        yield np.zeros((size, 41 - size))
        yield hilbert(size)
        yield uniform_causal(size)
        yield np.full((size, 41 - size), 1.0 / size)
        yield np.eye(size, 41 - size) * float(size)


FAMILIES: Final[dict[str, Callable[[np.random.Generator], Iterable[Float64]]]] = {
    "dense": repeated(dense),
    "triangular": repeated(triangular),
    "causal softmax": repeated(lambda random: softmax(random, causal=True)),
    "bidirectional softmax": repeated(lambda random: softmax(random, causal=False)),
    "gapped": repeated(lambda random: gapped(random)[0]),
    "product": repeated(product),
    "integers": repeated(integers),
    "graded": repeated(graded),
    "diagonal": repeated(diagonal),
    "empty rows": repeated(with_empty_rows),
    "well known": lambda random: well_known(),
}


@functools.cache
def drawn(family: str) -> tuple[Float64, ...]:
    return tuple(FAMILIES[family](np.random.default_rng(list(FAMILIES).index(family))))


# ---------------------------------------------------------------------------------------------------- the comparisons


def agrees(found: Record, counted: int, library: str) -> None:
    """A count that is decided is the library's; an interval holds the library's."""
    assert found.low is not None
    assert found.high is not None
    assert (found.value is None) == (found.low < found.high)
    assert found.low <= counted <= found.high, (library, found.low, counted, found.high)
    assert found.value in (None, counted)


def compare(matrix: Float64) -> dict[str, float | None]:
    """What each rule counted, None where it did not decide; asserts that every library of it agrees."""
    operator, values = rs.matrix(matrix), {}
    for rule, libraries in LIBRARIES.items():
        found = rs.rank_numerical(operator, rule=rule)
        for library in libraries:
            agrees(found, library(matrix), f"{rule}: {library.__name__}")
        values[rule] = found.value
    return values


def compare_float32(matrix: Float32) -> float | None:
    """The same of torch-f32 and libraries in float32: here it is for us to tell whether these decide.

    Their values are off by BACKWARD and DQDS in eps of float32, 5e8 times our own error, and the tolerance by that of
    σ₁ and two roundings. Where a value lies within both of the tolerance, they may count it or not.
    """
    size, values = max(matrix.shape), np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    error = (BACKWARD * math.sqrt(size) * values[0] + DQDS * values) * EPS_FLOAT32
    tolerance = size * EPS_FLOAT32 * values[0]
    slack = tolerance * (BACKWARD * math.sqrt(size) + DQDS + 2) * EPS_FLOAT32
    surely, possibly = int((values - error > tolerance + slack).sum()), int((values + error > tolerance - slack).sum())
    for library in LIBRARIES_FLOAT32:
        counted = library(matrix)
        assert surely <= counted <= possibly, (library.__name__, surely, counted, possibly)
    found = rs.rank_numerical(matrix, rule="torch-f32")
    assert found.value == surely or surely < possibly, "what these decide, our smaller error decides too"
    return found.value if surely == possibly else None


@functools.cache
def compared(family: str) -> tuple[dict[str, float | None], ...]:
    """What each rule counted, for each matrix of a family, and for the nearest in float32."""
    return tuple({**compare(each), "torch-f32": compare_float32(each.astype(np.float32))} for each in drawn(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_rules_count_what_their_libraries_count(family: str) -> None:
    assert compared(family)


@pytest.mark.parametrize("family", ["dense", "gapped", "graded", "diagonal"])
def test_a_power_of_two_changes_no_count_here_and_none_in_a_library(family: str) -> None:
    random = np.random.default_rng(0)
    for matrix, values in list(zip(drawn(family), compared(family), strict=True))[::3]:
        shift = int(random.integers(-900, 901))
        scaled, scaled_float32 = np.ldexp(matrix, shift), np.ldexp(matrix.astype(np.float32), shift // 15)
        assert np.array_equal(np.ldexp(scaled, -shift), matrix), "exact, by the choice of the range"
        assert {**compare(scaled), "torch-f32": compare_float32(scaled_float32)} == values


@pytest.mark.parametrize("rule", TOLERANCES)
def test_undecided_counts_are_rare_on_normal_matrices(rule: str) -> None:
    """P(σ_min ≤ x) ≤ 2.35·√n·x for an n × n matrix of normal numbers (Sankar, Spielman and Teng 2006, theorem 3.3),
    and less for one that is not square.

    With x = τ + error ≤ (n + 2√n + 1)·eps·σ₁ and σ₁ ≤ 3√n, n = 40 leaves at most 4e-12 per matrix in float64, and
    0.002 in float32, whose eps it then is: RARELY is far from chance.
    """
    values = [each[rule] for each in compared("dense")]
    assert values.count(None) <= RARELY * len(values)


@pytest.mark.parametrize("rule", ["numpy", "torch", "matlab", "torch-f32"])
def test_undecided_counts_are_rare_on_deficient_matrices(rule: str) -> None:
    """`gapped` derives that none is to be expected, and its rank is known: most are deficient.

    Not for numerical-recipes: its √(2n + 1)/2·eps·σ₁ lies within the error 2√n·eps·σ₁ at any size.
    """
    random = np.random.default_rng(1)
    undecided = deficient = 0
    for _ in range(DRAWS):
        matrix, rank = gapped(random)
        found = rs.rank_numerical(matrix.astype(np.float32) if rule == "torch-f32" else matrix, rule=rule)
        assert found.value in (None, rank)
        undecided += found.value is None
        deficient += rank < min(matrix.shape)
    assert undecided <= RARELY * DRAWS
    assert deficient > DRAWS / 2


# ------------------------------------------------------------------------------------------------------ planted values


def counts(matrix: Float64, rule: str) -> set[int | None]:
    """What the rule and every library of it count."""
    held: Array = matrix.astype(np.float32) if rule == "torch-f32" else matrix
    libraries = LIBRARIES_FLOAT32 if rule == "torch-f32" else LIBRARIES[rule]
    return {rs.rank_numerical(held, rule=rule).value, *(library(held) for library in libraries)}


def planted(shape: tuple[int, int], values: Sequence[float | Fraction]) -> Float64:
    """A diagonal matrix, of which rankscope knows the values exactly, in numbers that float32 holds."""
    matrix = np.zeros(shape)
    np.fill_diagonal(matrix[: len(values), : len(values)], [float(np.float32(float(value))) for value in values])
    return matrix


def shapes(random: np.random.Generator) -> Iterator[tuple[tuple[int, int], float]]:
    """Shapes from 3 × 3 on, and a largest value between powers of two, where all tolerances are far apart."""
    for _ in range(20):
        rows, columns, shift = (int(each) for each in random.integers((3, 3, -9), (41, 41, 10)))
        yield (rows, columns), math.ldexp(float(np.float32(random.uniform(1.25, 1.9))), shift)


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("rule", TOLERANCES)
def test_a_value_planted_beside_the_tolerance_is_counted_as_the_libraries_count_it(rule: str, side: int) -> None:
    eps = EPS_FLOAT32 if rule == "torch-f32" else EPS
    for shape, largest in shapes(np.random.default_rng(2)):
        beside = TOLERANCES[rule](largest, *shape) * (1 + side * APART * Fraction(eps))
        matrix = np.zeros(shape)
        matrix[0, 0], matrix[1, 1] = largest, float(beside)
        assert counts(matrix, rule) == {1 + (side > 0)}, (shape, largest)


@pytest.mark.parametrize("size", [4, 12, 24, 40])
@pytest.mark.parametrize("rule", TOLERANCES)
def test_a_value_at_the_tolerance_is_not_counted(rule: str, size: int) -> None:
    """With σ₁ = 1 and 2n + 1 a square, all tolerances are numbers, and every step of a library is exact."""
    tolerance = TOLERANCES[rule](1.0, size, size)
    matrix = planted((size, size), [1.0, tolerance])
    assert matrix[1, 1] == tolerance
    assert counts(matrix, rule) == {1}


def test_where_libraries_contradict_one_another_the_count_is_not_decided() -> None:
    """A value at the tolerance, 40·eps, in a dense matrix: rounding, by 1 eps or so, makes each count it or not."""
    random, contradictions = np.random.default_rng(6), 0
    for _ in range(40):
        matrix = with_values(random, 40, 40, np.r_[np.linspace(1.0, 0.5, 39), 40 * EPS])
        found = rs.rank_numerical(matrix, rule="numpy")
        counted = {library(matrix) for rule in ("numpy", "torch") for library in LIBRARIES[rule]}
        assert counted <= {39, 40}
        contradictions += len(counted) > 1
        assert (found.value, found.low, found.high) == (None, 39, 40)
    assert contradictions > 0


DIFFERENT: Final = [pair for pair in itertools.combinations(TOLERANCES, 2) if pair != ("numpy", "torch")]


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_a_value_half_way_between_two_tolerances_is_counted_by_one_rule_only(first: str, second: str) -> None:
    for shape, largest in shapes(np.random.default_rng(3)):
        tolerances = {rule: TOLERANCES[rule](largest, *shape) for rule in (first, second)}
        lower, higher = sorted(tolerances, key=lambda rule: tolerances[rule])
        matrix = planted(shape, [largest, (tolerances[first] + tolerances[second]) / 2])
        assert (counts(matrix, lower), counts(matrix, higher)) == ({2}, {1}), (shape, largest)


def test_rules_differ_on_a_dense_matrix_as_their_libraries_do() -> None:
    """n = 160 and σ₁ = 1.99, all in eps: MATLAB's tolerance is 160, numpy's 160·1.99 = 318, that of numerical-recipes
    1.99/2·√321 = 18. The planted value, 239, is 79 from the nearest, and the error 2√160·1.99 = 50.
    """
    values = np.r_[1.99, np.linspace(1.0, 0.5, 158), 239 * EPS]
    matrix = with_values(np.random.default_rng(4), 160, 160, values)
    for rule in TOLERANCES:
        assert counts(matrix, rule) == {160 if rule in ("matlab", "numerical-recipes") else 159}, rule


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # τ in units of 1e-16: numpy 4·2.22 = 8.9, MATLAB too (σ₁ is a power of two), numerical-recipes 3·1.11 = 3.3
        ([1.0, 1e-8, 5e-16, 1e-17], {"numpy": 2, "torch": 2, "matlab": 2, "numerical-recipes": 3, "torch-f32": 1}),
        # numpy 4·2.22·3 = 26.6; MATLAB 4·eps(3) = 4·4.44 = 17.8; numerical-recipes 3·3·1.11 = 10: 24 is between
        ([3.0, 3e-3, 24e-16, 0.0], {"numpy": 2, "torch": 2, "matlab": 3, "numerical-recipes": 3, "torch-f32": 2}),
    ],
)
def test_rules_count_what_was_worked_out_by_hand(values: list[float], expected: dict[str, int]) -> None:
    assert {rule: counts(np.diag(values), rule) for rule in expected} == {rule: {n} for rule, n in expected.items()}


def test_matlabs_tolerance_is_not_decided_where_the_largest_value_may_be_a_power_of_two() -> None:
    """A = H·diag(1, 1/8, …, 1/8, 56·eps)·Hᵀ/64, H of Hadamard: numbers that float64 holds, with exactly these values.

    So τ = 64·eps and the rank is 63. A computed σ₁ just below 1 halves τ, and 56 − 16 (the error) is above 32.
    """
    signs = functools.reduce(np.kron, [np.array([[1.0, 1.0], [1.0, -1.0]])] * 6)
    values = np.r_[1.0, np.full(62, 0.125), 56 * EPS]
    matrix = (signs * values) @ signs.T / 64
    assert np.array_equal(signs.T @ signs, 64 * np.eye(64))
    assert rational(matrix) * rational(signs) == rational(signs * values)
    assert matlab_formula(np.diag(values)) == 63
    random = np.random.default_rng(5)
    for _ in range(100):
        found = rs.rank_numerical(matrix[random.permutation(64)][:, random.permutation(64)], rule="matlab")
        agrees(found, 63, "the exact count")
