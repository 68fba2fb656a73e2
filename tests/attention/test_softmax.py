"""Softmax attention against balls: entries, the logarithm of the diagonal, and what happens where exp cannot follow."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.operators import Dense, Operator
from rankscope.errors import RankscopeError
from tests.oracles import (
    DIGITS_60,
    SEES,
    UNIT,
    Float64,
    away,
    balls,
    dyadic,
    exact_scores,
    frobenius,
    full_mantissas,
    inside,
    log_determinant,
    precision,
    rational,
    seen_by,
    softmax,
)

HEAD = 4
SCALES = [0.0, 0.25, 1.0, 4.0, 16.0, 64.0, 256.0]


def dense(operator: Operator) -> Dense:
    assert isinstance(operator, Dense)
    return operator


def attend(queries: Float64, keys: Float64, mask: str = "bidirectional", scale: float = 1.0) -> Dense:
    return dense(single(attention(queries, keys, mask=mask, scale=scale)))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mask", SEES)
def test_weights_lie_within_their_distance_of_the_exact_softmax(mask: str, scale: float) -> None:
    """‖held − exact‖_F ≤ distance, and the distance is no more than a hundred roundings of the norm."""
    for size in (1, 2, 5, 9):
        queries, keys = dyadic(np.random.default_rng(size), 2, size, HEAD)
        operator = attend(queries, keys, mask, scale)
        with precision(DIGITS_60):
            truth = softmax(exact_scores(queries, keys, scale), seen_by(SEES[mask], size, size))
            error = frobenius(balls(operator.matrix) - truth)
            assert inside(None, error, operator.distance)
            assert operator.distance <= 100 * UNIT * float(frobenius(truth).mid())


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mask", SEES)
def test_the_log_diagonal_lies_within_its_error_even_where_weights_underflow(mask: str, scale: float) -> None:
    for size in (1, 2, 5, 9):
        queries, keys = dyadic(np.random.default_rng(10 + size), 2, size, HEAD)
        own = attend(queries, keys, mask, scale).diagonal
        with precision(DIGITS_60):
            truth = softmax(exact_scores(queries, keys, scale), seen_by(SEES[mask], size, size))
            for i in range(size):
                exact = truth[i, i].log()
                assert away(own.log[i], exact) <= own.error[i], (i, own.log[i], exact)
                assert own.sign[i] == 1
                # every term of the bound is a rounding of a number no larger than the scores, or of O(log n)
                largest = float(np.abs(exact_scores(queries, keys, scale)).max())
                assert own.error[i] <= 100 * UNIT * (1 + largest)


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.sampled_from(sorted(SEES)), st.floats(0.1, 300.0))
def test_scores_of_many_digits_stay_within_the_bounds(seed: int, size: int, mask: str, scale: float) -> None:
    queries, keys = full_mantissas(np.random.default_rng(seed), size, scale)
    operator = attend(queries, keys, mask)
    with precision(2 * DIGITS_60):
        truth = softmax(exact_scores(queries, keys, 1.0), seen_by(SEES[mask], size, size))
        assert inside(None, frobenius(balls(operator.matrix) - truth), operator.distance)
        for i in range(size):
            assert away(operator.diagonal.log[i], truth[i, i].log()) <= operator.diagonal.error[i]


@pytest.mark.parametrize("mask", ["causal", "anticausal", "prefix:2", "window:2"])
def test_what_the_mask_hides_is_exactly_zero(mask: str) -> None:
    queries, keys = dyadic(np.random.default_rng(2), 2, 7, HEAD)
    seen = seen_by(SEES[mask], 7, 7)
    operator = attend(queries, keys, mask)
    assert (operator.matrix[~seen] == 0).all()
    assert (operator.matrix[seen] > 0).all()
    assert operator.support.tolist() == seen.sum(axis=1).tolist()


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(SEES)))
def test_a_common_vector_added_to_all_keys_changes_nothing(seed: int, mask: str) -> None:
    """It shifts each row of scores by one number, exactly so for dyadic tokens: the weights agree bit by bit."""
    random = np.random.default_rng(seed)
    queries, keys = dyadic(random, 2, 6, HEAD)
    shift = dyadic(random, 1, HEAD)
    assert np.array_equal(attend(queries, keys, mask).matrix, attend(queries, keys + shift, mask).matrix)


def test_scores_beyond_the_range_of_exp_give_weights_and_no_warning() -> None:
    """numerics.md S3: scores of ±2^1000 ≈ ±1e301; the least weight is 0 and its logarithm is known."""
    large = 2.0**500
    operator = attend(np.array([[large], [large]]), np.array([[large], [-large]]), "causal")
    assert operator.matrix.tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert operator.diagonal.log.tolist() == [0.0, -(2.0**1001)]
    found = rs.logdet(operator)
    assert found.sign == 1
    assert found.low is not None
    assert found.high is not None
    assert found.low <= -(2.0**1001) <= found.high


def test_scores_whose_difference_overflows_prove_no_zero() -> None:
    """Scores ±1.7e308 are finite, so every weight is positive and no determinant zero, whatever float64 holds."""
    operator = attend(np.array([[1e154], [1e154]]), np.array([[1.7e154], [-1.7e154]]), "causal")
    found = rs.logdet(operator)
    assert found.sign != 0, found.because
    assert rs.rank_exact(operator).low != 1 or rs.rank_exact(operator).high == 2


@pytest.mark.parametrize(("queries", "code"), [([[1e200]], "RS111"), ([[math.nan]], "RS110"), ([[math.inf]], "RS111")])
def test_scores_that_are_not_finite_are_refused(queries: list[list[float]], code: str) -> None:
    with pytest.raises(RankscopeError) as caught:
        attention(queries, [[1e200]])
    assert caught.value.code == code


@pytest.mark.parametrize("scale", [math.nan, math.inf, -1.0])
def test_a_scale_that_is_not_a_number_of_at_least_zero_is_refused(scale: float) -> None:
    with pytest.raises(RankscopeError, match="RS002"):
        attention([[1.0]], [[1.0]], scale=scale)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("scale", [1.0, 16.0, 64.0])
def test_the_matrix_is_the_float64_softmax_rounded_once(dtype: str, scale: float) -> None:
    queries, keys = np.random.default_rng(4).standard_normal((2, 20, 8))
    options = {"mask": "causal", "scale": scale}
    exact = single(attention(queries, keys, **options))  # type: ignore[arg-type]
    stored = single(attention(queries, keys, dtype=dtype, **options))  # type: ignore[arg-type]
    assert np.array_equal(stored.matrix, exact.matrix.astype(dtype).astype(np.float64))
    assert stored.storage.name == stored.origin.dtype == dtype


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_storage_in_fewer_bits_stays_within_the_distance(dtype: str) -> None:
    queries, keys = dyadic(np.random.default_rng(5), 2, 8, HEAD)
    for scale in (1.0, 16.0):
        operator = dense(single(attention(queries, keys, mask="causal", scale=scale, dtype=dtype)))
        with precision(DIGITS_60):
            truth = softmax(exact_scores(queries, keys, scale), seen_by(SEES["causal"], 8, 8))
            assert inside(None, frobenius(balls(operator.matrix) - truth), operator.distance)
    assert operator.storage.unit == {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24}[dtype]


def test_an_unknown_dtype_is_refused_with_the_nearest() -> None:
    with pytest.raises(RankscopeError, match="'float16'") as caught:
        attention([[1.0]], [[1.0]], dtype="flot16")
    assert caught.value.code == "RS001"


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 16.0, 256.0]))
def test_the_largest_logit_is_the_largest_score_that_is_seen(seed: int, scale: float) -> None:
    queries, keys = dyadic(np.random.default_rng(seed), 2, 6, HEAD)
    scores = exact_scores(queries, keys, scale)
    for mask, sees in SEES.items():
        seen = seen_by(sees, 6, 6)
        assert rs.max_logit(attend(queries, keys, mask, scale)).value == scores[seen].max()


def test_q_equal_to_k_has_a_positive_determinant() -> None:
    """exp(S) of a symmetric S = XXᵀ/√d is positive definite for distinct rows (science.md A1)."""
    for seed in range(5):
        tokens = dyadic(np.random.default_rng(seed), 6, HEAD)
        operator = attend(tokens, tokens)
        with precision(DIGITS_60):
            sign, log = log_determinant(softmax(exact_scores(tokens, tokens, 1.0), np.ones((6, 6), dtype=bool)))
        found = rs.logdet(operator)
        assert sign == 1
        assert found.sign == 1
        assert inside(found.low, log, found.high)


def test_stored_weights_that_underflow_are_a_matrix_of_their_own() -> None:
    queries, keys = np.array([[0.0], [20.0]]), np.array([[20.0], [0.0]])
    operator = attend(queries, keys, "causal")
    assert operator.matrix[1, 1] > 0
    assert len(rs.analyze(operator, measures=["logdet"]).table) == 1
    lost = attend(queries, keys, "causal", scale=2.0)
    assert lost.matrix[1, 1] == 0.0
    subject, stored = rs.analyze(lost, measures=["logdet"]).table.records
    assert (subject.subject, subject.sign, subject.guarantee) == ("scores", 1, "proved")
    assert subject.value == -800.0
    assert (stored.subject, stored.sign, stored.value) == ("stored", 0, None)
    assert rational(lost.matrix).det() == 0
