"""The smallest singular value against the inverse in multiprecision, far below what LAPACK can tell from zero."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.records import Record
from tests.oracles import (
    SEES,
    UNIT,
    Float64,
    balls,
    dyadic,
    exact_scores,
    full_mantissas,
    inside,
    log10,
    log_determinant,
    precision,
    seen_by,
    singular_values,
    smallest_singular_value,
    softmax,
)

HEAD = 4
BITS = 4096
"""Condition numbers here reach 10^400, and the eigenvalues of AᵀA square them: 800 digits are 2660 bits."""

SEEDS = st.integers(0, 2**32 - 1)
TRIANGLES = ["causal", "anticausal"]
SCALES = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]


def check(found: Record, truth: Any, size: int) -> None:
    """low ≤ log₁₀ σ_min ≤ high, no further apart than ‖·‖_F and ‖·‖₂ of the inverse, or than 1 % from LAPACK."""
    logarithm = log10(truth)
    assert inside(found.low, logarithm, found.high), (found.low, logarithm, found.high)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    width = 0.5 * math.log10(size) if "substitution" in found.method else 0.01
    assert found.high - found.low <= width + 64 * size * UNIT


def attend(seed: int, size: int, mask: str, scale: float) -> tuple[Any, Any]:
    queries, keys = dyadic(np.random.default_rng(seed), 2, size, HEAD)
    truth = softmax(exact_scores(queries, keys, scale), seen_by(SEES[mask], size, size))
    return single(attention(queries, keys, mask=mask, scale=scale)), truth


@settings(max_examples=120)
@given(SEEDS, st.integers(1, 10), st.sampled_from(TRIANGLES), st.sampled_from(SCALES))
def test_triangles_of_softmax_enclose_the_inverse_norm(seed: int, size: int, mask: str, scale: float) -> None:
    with precision(BITS):
        operator, truth = attend(seed, size, mask, scale)
        found = rs.log10_sigma_min(operator)
        value = smallest_singular_value(truth)
        if found.value is None:
            assert "span more than float64" in found.because
            assert float(np.abs(np.diagonal(operator.matrix)).min()) < 1e-200
            assert inside(found.low, log10(value), found.high)
        else:
            check(found, value, size)


@pytest.mark.deep
@settings(max_examples=1000)
@given(SEEDS, st.integers(1, 12), st.sampled_from(TRIANGLES), st.sampled_from([*SCALES, 128.0, 256.0]))
def test_many_triangles_of_softmax_enclose_the_inverse_norm(seed: int, size: int, mask: str, scale: float) -> None:
    with precision(4 * BITS):
        operator, truth = attend(seed, size, mask, scale)
        found = rs.log10_sigma_min(operator)
        value = smallest_singular_value(truth)
        assert inside(found.low, log10(value), found.high)
        if found.value is not None:
            check(found, value, size)


@settings(max_examples=40)
@given(SEEDS, st.integers(2, 7), st.sampled_from([128.0, 256.0]))
def test_bounds_hold_the_truth_of_the_scores_where_weights_underflow(seed: int, size: int, scale: float) -> None:
    with precision(4 * BITS):
        operator, truth = attend(seed, size, "causal", scale)
        found = rs.log10_sigma_min(operator)
        assert inside(found.low, log10(smallest_singular_value(truth)), found.high)
    if float(np.diagonal(operator.matrix).min()) == 0.0:
        assert found.value is None
        assert found.because
        assert found.high is not None


def test_an_underflowed_diagonal_has_both_bounds_and_no_value() -> None:
    """[[1, 0], [1 − e^−800, e^−800]] has σ_min = e^−800/√2 = 10^−347.587…, to all digits that matter."""
    found = rs.log10_sigma_min(single(attention([[0.0], [20.0]], [[40.0], [0.0]], mask="causal")))
    truth = -800 / math.log(10) - 0.5 * math.log10(2)
    assert found.value is None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= truth <= found.high
    assert found.high - found.low < 1.0
    assert found.high < -300


@settings(max_examples=100)
@given(SEEDS, st.integers(2, 8), st.sampled_from(TRIANGLES), st.floats(1.0, 60.0))
def test_scores_of_many_digits_enclose_the_inverse_norm(seed: int, size: int, mask: str, scale: float) -> None:
    """Differences of such scores round, so that each weight is off by as many units as its score is large."""
    queries, keys = full_mantissas(np.random.default_rng(seed), size, scale)
    found = rs.log10_sigma_min(single(attention(queries, keys, mask=mask)))
    with precision(2 * BITS):
        truth = softmax(exact_scores(queries, keys, 1.0), seen_by(SEES[mask], size, size))
        assert inside(found.low, log10(smallest_singular_value(truth)), found.high)


@settings(max_examples=100)
@given(SEEDS, st.integers(1, 9), st.sampled_from(TRIANGLES), st.integers(-30, 0))
def test_stored_triangles_enclose_the_inverse_norm(seed: int, size: int, mask: str, spread: int) -> None:
    """Signed entries over many orders of magnitude, where the inverse cancels and grows."""
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((size, size)) * 10.0 ** random.integers(spread, 1, (size, size))
    matrix[~seen_by(SEES[mask], size, size)] = 0.0
    found = rs.log10_sigma_min(matrix)
    with precision(BITS):
        check(found, smallest_singular_value(balls(matrix)), size)


@pytest.mark.parametrize("size", [2, 8, 20])
def test_kahan_and_the_triangle_of_ones_and_minus_ones(size: int) -> None:
    """unit diagonal, −1 beside it: ‖A⁻¹‖ grows like 2^n, with the inverse known entry by entry."""
    matrix = np.eye(size) - np.tril(np.ones((size, size)), -1)
    sine, cosine = math.sin(1.2), math.cos(1.2)
    kahan = (np.eye(size) - cosine * np.triu(np.ones((size, size)), 1)) * (sine ** np.arange(size))[:, None]
    for each in (matrix, kahan):
        with precision(BITS):
            check(rs.log10_sigma_min(each), smallest_singular_value(balls(each)), size)


@settings(max_examples=100)
@given(SEEDS, st.integers(1, 8), st.integers(1, 8))
def test_values_above_the_error_come_from_lapack_with_their_bounds(seed: int, rows: int, columns: int) -> None:
    matrix = np.random.default_rng(seed).standard_normal((rows, columns))
    found = rs.log10_sigma_min(matrix)
    with precision(512):
        truth = singular_values(balls(matrix))[-1]
        assert inside(found.low, log10(truth), found.high)
    assert found.value is not None


def test_two_routes_to_the_smallest_value_agree() -> None:
    """1/‖A⁻¹‖₂ of the oracle against Πσ = |det|, which inverts nothing."""
    with precision(BITS):
        _, truth = attend(5, 7, "causal", 16.0)
        values = singular_values(truth)
        product = values[0]
        for value in values[1:]:
            product = product * value
        assert product.log().overlaps(log_determinant(truth)[1])
        assert values[-1].overlaps(smallest_singular_value(truth))


@pytest.mark.parametrize(
    ("n", "d", "truth"), [(512, 64, -140.743145453944), (64, 16, -18.050344840989)], ids=["n = 512", "n = 64"]
)
def test_standard_ensemble(n: int, d: int, truth: float) -> None:
    """Both numbers from the inverse of the exact softmax of the same scores in multiprecision, to 12 decimals."""
    last_digit = 5e-13
    found = rs.log10_sigma_min(rs.synthetic(n=n, d=d, mask="causal"))
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert abs(float(found.value) - truth) <= 1e-9
    assert found.low - last_digit <= truth <= found.high + last_digit
    assert "substitution" in found.method


@pytest.mark.deep
def test_the_truth_of_n_64_is_that_of_balls() -> None:
    random = np.random.default_rng(0)
    queries, keys = random.standard_normal((64, 16)), random.standard_normal((64, 16))
    scores = queries @ keys.T / 4.0
    with precision(1024):
        truth = log10(smallest_singular_value(softmax(scores, seen_by(SEES["causal"], 64, 64))))
    assert abs(float(truth) - -18.050344840989) <= 5e-13


@pytest.mark.parametrize(
    "matrix", [np.zeros((3, 3)), np.ones((4, 4)), np.diag([1.0, 0.0]), np.tril(np.ones((3, 3)), -1)]
)
def test_singular_matrices_have_no_logarithm(matrix: Float64) -> None:
    found = rs.log10_sigma_min(matrix)
    assert (found.value, found.guarantee) == (None, "proved")
    assert "singular" in found.because


def test_below_the_error_of_a_matrix_that_is_not_triangular_only_a_bound_is_known() -> None:
    found = rs.log10_sigma_min(np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [3.0, 5.0, 7.0 + 2.0**-50]]))
    assert (found.value, found.low) == (None, None)
    assert found.high is not None
    with precision(256):
        matrix = balls(np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [3.0, 5.0, 7.0 + 2.0**-50]]))
        assert inside(None, log10(singular_values(matrix)[-1]), found.high)


def test_an_empty_matrix_has_no_smallest_value() -> None:
    assert rs.log10_sigma_min(np.zeros((0, 2))).because == "empty"


@pytest.mark.parametrize("exponent", [-1000, -600, 0, 600, 1000])
@pytest.mark.parametrize("mask", ["causal", "bidirectional"])
def test_scaling_by_a_power_of_two_shifts_the_logarithm(exponent: int, mask: str) -> None:
    matrix = np.asarray(single(attention(*dyadic(np.random.default_rng(0), 2, 8, HEAD), mask=mask, scale=4.0)).matrix)
    plain, scaled = rs.log10_sigma_min(matrix), rs.log10_sigma_min(matrix * 2.0**exponent)
    assert plain.value is not None
    assert scaled.value == pytest.approx(plain.value + exponent * math.log10(2), rel=64 * UNIT, abs=0)


@pytest.mark.parametrize("large", [1e20, 1e160, 1e300])
def test_a_matrix_far_from_one_keeps_its_bounds(large: float) -> None:
    """σ_min ≈ 0.59 beside an entry of 10^160: logarithms of hundreds cancel, and their rounding must be counted."""
    matrix = np.array([[large, 0.0], [1.0, 0.591571469]])
    for each in (matrix, matrix.T, matrix / large):
        found = rs.log10_sigma_min(each)
        with precision(BITS):
            assert inside(found.low, log10(singular_values(balls(each))[-1]), found.high)
        assert found.high is not None


def test_complex_triangles_do_not_pretend_to_underflow() -> None:
    matrix = np.asarray(
        single(attention(*dyadic(np.random.default_rng(0), 2, 8, HEAD), mask="causal", scale=16.0)).matrix
    )
    found = rs.log10_sigma_min(matrix * (1 + 1j))
    real = rs.log10_sigma_min(matrix)
    assert real.low is not None
    assert real.high is not None
    shift = 0.5 * math.log10(2)
    assert found.low is None or found.low <= real.high + shift
    assert found.high is None or found.high >= real.low + shift
    assert found.value is not None or "span" not in found.because, "the entries do not span more than float64 holds"


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 8), st.sampled_from(["causal", "bidirectional"]), st.sampled_from([0.5, 1.0, 8.0, 64.0]))
def test_the_condition_is_the_quotient_of_the_exact_values(seed: int, size: int, mask: str, scale: float) -> None:
    with precision(BITS):
        operator, truth = attend(seed, size, mask, scale)
        found = rs.log10_condition(operator)
        exact = log10(singular_values(truth)[0] / smallest_singular_value(truth))
        assert inside(found.low, exact, found.high), (found.low, exact, found.high)
    if found.value is not None:
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
