"""Sizes, ratios and eigenvalues against balls and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from tests.oracles import (
    DIGITS_60,
    EPS,
    SEES,
    UNIT,
    ball,
    balls,
    dyadic,
    exact_scores,
    inside,
    log10,
    precision,
    seen_by,
    singular_values,
    softmax,
)

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=60)
@given(SEEDS, st.integers(2, 9), st.sampled_from(sorted(SEES)), st.sampled_from([0.5, 1.0, 8.0]))
def test_the_largest_value_and_the_first_ratio_enclose_the_truth(seed: int, size: int, mask: str, scale: float) -> None:
    queries, keys = dyadic(np.random.default_rng(seed), 2, size, 4)
    operator = single(attention(queries, keys, mask=mask, scale=scale))
    largest, ratio = rs.sigma_max(operator), rs.sv_ratio_1_2(operator)
    with precision(DIGITS_60):
        first, second, *_ = singular_values(
            softmax(exact_scores(queries, keys, scale), seen_by(SEES[mask], size, size))
        )
        assert inside(largest.low, first, largest.high)
        assert inside(ratio.low, first / second, ratio.high)
    for found in (largest, ratio):
        assert found.value is None or (found.low or 0.0) <= found.value <= (found.high or math.inf)
    assert largest.value is not None
    assert 1 - 64 * UNIT <= largest.value <= math.sqrt(size) * (1 + 64 * UNIT)


def test_a_second_value_below_its_error_has_only_a_lower_bound_of_the_ratio() -> None:
    """σ₂ of [[1, 1], [1, 1 + 2⁻⁵²]] is 2⁻⁵³, which LAPACK cannot tell from zero; that of [[1, 1], [1, 1]] is zero."""
    found = rs.sv_ratio_1_2(np.array([[1.0, 1.0], [1.0, 1.0 + EPS]]))
    assert (found.value, found.high) == (None, None)
    assert found.low is not None
    assert 1e13 < found.low <= 2 * 2.0**53
    assert "below its error" in found.because
    assert rs.sv_ratio_1_2(np.ones((2, 2))).value is None


def test_one_value_has_no_ratio() -> None:
    for matrix in (np.ones((1, 3)), np.zeros((0, 0)), np.ones((4, 1))):
        assert rs.sv_ratio_1_2(matrix).because == "fewer than two singular values"


def test_the_largest_value_of_an_empty_matrix_is_not_known() -> None:
    assert rs.sigma_max(np.zeros((0, 2))).because == "empty"
    assert rs.log10_condition(np.zeros((0, 2))).because == "empty"
    assert rs.log10_condition(np.zeros((2, 2))).because == "the matrix is zero"


def test_the_condition_of_a_singular_matrix_is_infinite_and_of_a_diagonal_exact() -> None:
    assert rs.log10_condition(np.ones((3, 3))).because.startswith("infinite")
    found = rs.log10_condition(np.diag([1e10, 1.0, 1e-5]))
    assert found.value == pytest.approx(15.0, abs=64 * EPS)
    assert rs.log10_condition(np.array([[7.0]])).value == pytest.approx(0.0, abs=4 * EPS)


@pytest.mark.parametrize("large", [1e160, 1.7e308])
def test_a_condition_far_from_one_keeps_its_bounds(large: float) -> None:
    """log₁₀ κ = 308.4…: its last digit is worth 5e-14, which the bounds must hold."""
    matrix = np.array([[0.656, 0.0], [0.656, large]])
    for each in (matrix, matrix.T, np.diag([large, 0.3])):
        found = rs.log10_condition(each)
        with precision(8 * DIGITS_60):
            first, second = singular_values(balls(each))
            assert inside(found.low, log10(first / second), found.high)


def test_a_quotient_of_exact_values_is_rounded_and_says_so() -> None:
    """σ₁ = 1 and σ₂ = 0.786… are exact, their quotient is not: the bounds hold it, or there are none."""
    for small in (0.786578012, 1 / 3, 0.9, 1e-200):
        found = rs.sv_ratio_1_2(np.diag([1.0, small]))
        with precision(8 * DIGITS_60):
            assert inside(found.low, 1 / ball(small), found.high)


def eigenvalues(matrix: object) -> list[complex]:
    series = {each.name: each.values for each in rs.analyze(matrix, measures=["eigenvalues"]).table.series}
    return [complex(*pair) for pair in zip(series["eigenvalues_real"], series["eigenvalues_imaginary"], strict=True)]


def test_eigenvalues_of_a_triangle_are_its_diagonal() -> None:
    operator = single(attention(*np.random.default_rng(0).standard_normal((2, 8, 4)), mask="causal"))
    own = np.diagonal(operator.matrix)
    assert eigenvalues(operator) == sorted(own.tolist(), reverse=True)
    found = rs.eigenvalues(operator)
    assert found.value == np.sort(own)[-1] - np.sort(own)[-2]
    assert "triangular" in found.method
    assert eigenvalues(operator)[0] == 1.0, "the first token sees only itself"


def test_eigenvalues_of_a_rotation_are_a_pair() -> None:
    cosine, sine = math.cos(0.7), math.sin(0.7)
    found = eigenvalues(np.array([[cosine, -sine], [sine, cosine]]))
    assert sorted(each.imag for each in found) == pytest.approx([-sine, sine], abs=8 * EPS)
    assert [each.real for each in found] == pytest.approx([cosine, cosine], abs=8 * EPS)


def test_eigenvalues_sum_to_the_trace_and_multiply_to_the_determinant() -> None:
    matrix = np.asarray(single(attention(*np.random.default_rng(1).standard_normal((2, 6, 4)))).matrix)
    found = eigenvalues(matrix)
    assert sum(found) == pytest.approx(np.trace(matrix), abs=256 * EPS)
    with precision(DIGITS_60):
        assert math.prod(each.real if each.imag == 0 else abs(each) for each in found) == pytest.approx(
            float(balls(matrix).det()), abs=256 * EPS
        )
    assert [abs(each) for each in found] == sorted((abs(each) for each in found), reverse=True)


def test_eigenvalues_belong_to_square_matrices() -> None:
    assert rs.eigenvalues(np.ones((2, 3))).because == "only a square matrix has eigenvalues"
    assert rs.eigenvalues(np.zeros((0, 0))).because == "empty"
    assert rs.eigenvalues(np.array([[-3.0]])).value == 3.0


@pytest.mark.parametrize("exponent", [-1000, -500, 500, 1000])
def test_eigenvalues_scale_with_the_matrix(exponent: int) -> None:
    matrix = np.array([[2.0, 1.0], [1.0, 3.0]])
    plain, scaled = rs.eigenvalues(matrix), rs.eigenvalues(matrix * 2.0**exponent)
    assert plain.value is not None
    assert scaled.value == plain.value * 2.0**exponent


def test_the_gap_of_complex_triangles_takes_absolute_values() -> None:
    assert rs.eigenvalues(np.array([[3j, 0], [1, 1 + 0j]])).value == 2.0
