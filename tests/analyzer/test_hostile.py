"""Numbers at which a proof could go wrong without a sign of it: each was false once."""

import math
from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.operators import Mean, Operator, Product, from_array
from rankscope.errors import UsageError
from rankscope.records import Record

TINY = 5e-324


def proved(matrix: object, measure: str) -> Record:
    found = rs.analyze(matrix, measures=[measure], prove=True)[measure]
    assert isinstance(found, Record)
    return found


@pytest.mark.parametrize("small", [3.0, 7.3])
def test_a_logarithm_whose_exponent_cancels_keeps_its_bounds(small: float) -> None:
    """σ₁ = 1.7e308 is held as a mantissa and an exponent."""
    found = proved(np.array([[0.0, 1.7e308], [small, 0.0]]), "log10_sigma_min")
    assert found.low is not None
    assert found.high is not None
    assert found.low <= math.log10(small) <= found.high
    assert found.high - found.low < 1e-10


def test_the_rank_of_scores_survives_an_overflow_of_their_norm() -> None:
    q = np.array([[1e154, 0.0], [0.0, 1e153], [1e154, 1e153], [1e154, -1e153]])
    k = np.array([[9e153, 0.0], [0.0, 1e154], [1.0, 1.0], [9e153, 1e153]])
    made = attention(q, k)
    assert float(rs.rank_scores(made)) == 2
    assert proved(made, "rank_scores").value == 2


def mean(*parts: Any) -> Mean:
    return Mean(tuple(from_array(np.asarray(part, dtype=np.float64)) for part in parts))


def test_a_mean_that_rounds_among_subnormal_numbers_is_not_known_exactly() -> None:
    found = proved(mean(np.diag([3 * TINY, TINY]), np.diag([2 * TINY, TINY])), "sigma_max")
    assert found.guarantee != "proved"
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 2 * TINY
    assert found.high >= 3 * TINY
    halved = mean(np.diag([TINY, TINY]), np.zeros((2, 2)))
    for name in ("rank_numerical", "sv_ratio_1_2", "sigma_max"):
        assert proved(halved, name).guarantee != "proved", name


def test_a_product_of_rectangular_parts_is_not_singular_for_a_zero_row() -> None:
    random = np.random.default_rng(0)
    seen = np.array([[True, True], [False, False], [True, True]])
    wide = single(attention(random.standard_normal((2, 2)), random.standard_normal((3, 2))))
    tall = single(
        attention(random.standard_normal((3, 2)), random.standard_normal((2, 2)), mask=seen, empty_rows="zero")
    )
    parts: tuple[Operator, ...] = (wide, tall)
    found = proved(Product(parts), "logdet")
    truth = np.linalg.det(wide.matrix @ tall.matrix)
    assert abs(truth) > 1e-3
    assert found.sign in (None, np.sign(truth))


@pytest.mark.parametrize("facts", [{"lower"}, {"upper"}, {"everything"}])
def test_a_fact_of_a_mask_that_is_false_is_refused(facts: set[str]) -> None:
    lying = rs.Mask("lying", lambda q, k: (q == k) | (abs(q - k) == 1), frozenset(facts))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="RS005"):
        attention(np.eye(4), np.eye(4), mask=lying)


def test_a_mean_that_overflows_decides_nothing() -> None:
    large = mean([[1.7e308, 1.0], [1.0, 1.0]], [[1.7e308, 2.0], [1.0, 1.0]])
    with np.errstate(over="ignore", invalid="ignore"):
        found = rs.rank_numerical(large)
    assert found.value is None or found.low <= 1 <= found.high


def test_scores_far_beyond_any_exponent_of_float64_are_analysed() -> None:
    q, k = np.array([[1e154], [1.0], [-1e154]]), np.array([[1e154], [2.0], [1e153]])
    found = rs.analyze(attention(q, k, mask="causal"), prove=True)
    assert [r.value for r in found.table if (r.measure, r.subject) == ("rank_exact", "scores")] == [3]


def test_the_ratio_of_a_zero_matrix_is_not_infinite() -> None:
    found = rs.sv_ratio_1_2(np.zeros((3, 3)))
    assert (found.value, found.because) == (None, "the matrix is zero")
