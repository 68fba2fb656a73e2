"""Linear attention against exact rationals: signed sums, cancellation, zero rows, features at the edge of float64."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.distance import distance
from rankscope.attention.existing import single
from rankscope.attention.maps import FEATURES
from rankscope.attention.operators import Dense, Factored, Operator
from rankscope.errors import MaskError, RankscopeError
from tests.oracles import (
    DIGITS_60,
    EPS,
    SEES,
    UNIT,
    Float64,
    away,
    balls,
    dyadic,
    frobenius,
    inside,
    log_determinant,
    normalised,
    precision,
    seen_by,
)

KERNELS = {"elu+1": "linear", "relu": "linear:relu", "exp": "linear:exp", "identity": "linear:identity"}
SEEDS = st.integers(0, 2**32 - 1)


def attend(queries: Any, keys: Any, mask: str = "bidirectional", features: str = "elu+1", **options: Any) -> Operator:
    return single(attention(queries, keys, mask=mask, kernel=KERNELS[features], **options))


def exact(queries: Float64, keys: Float64, mask: str, features: str) -> Any:
    """The rational matrix of the features as they are in float64: the factors that the subject speaks of."""
    left, right = FEATURES[features](queries), FEATURES[features](keys)
    return normalised(left, right, seen_by(SEES[mask], len(queries), len(keys)))


def sums_are_lost(queries: Float64, keys: Float64, mask: str) -> bool:
    """Whether a signed row sum is below n·eps times the sum of its magnitudes, in rationals of dyadic tokens."""
    products = np.where(seen_by(SEES[mask], len(queries), len(keys)), queries @ keys.T, 0.0)  # exact
    magnitudes = np.where(seen_by(SEES[mask], len(queries), len(keys)), np.abs(queries) @ np.abs(keys).T, 0.0)
    return bool((np.abs(products.sum(axis=1)) <= len(keys) * EPS * magnitudes.sum(axis=1)).any())


@settings(max_examples=60)
@given(SEEDS, st.sampled_from(sorted(SEES)), st.sampled_from(["elu+1", "exp", "relu"]), st.integers(1, 8))
def test_weights_lie_within_their_distance_of_the_exact_quotient(
    seed: int, mask: str, features: str, size: int
) -> None:
    queries, keys = np.abs(dyadic(np.random.default_rng(seed), 2, size, 3)) + (features == "relu") / 16
    operator = attend(queries, keys, mask, features)
    with precision(DIGITS_60):
        truth = balls(exact(queries, keys, mask, features))
        assert inside(None, frobenius(balls(np.asarray(operator.matrix)) - truth), distance(operator))
        # (m + 1) roundings of ‖left‖·‖right‖, or as many of each entry: at most √n times the norm for positive terms
        assert distance(operator) <= 100 * UNIT * size * float(frobenius(truth).mid())


@settings(max_examples=150)
@given(SEEDS, st.sampled_from(sorted(SEES)), st.integers(1, 8))
def test_signed_weights_lie_within_their_distance_of_the_exact_quotient(seed: int, mask: str, size: int) -> None:
    queries, keys = dyadic(np.random.default_rng(seed), 2, size, 3)
    if sums_are_lost(queries, keys, mask):
        with pytest.raises(MaskError):
            attend(queries, keys, mask, "identity")
        return
    operator = attend(queries, keys, mask, "identity")
    with precision(DIGITS_60):
        truth = balls(exact(queries, keys, mask, "identity"))
        assert inside(None, frobenius(balls(np.asarray(operator.matrix)) - truth), distance(operator))


@settings(max_examples=150)
@given(SEEDS, st.sampled_from(["causal", "anticausal"]), st.sampled_from(sorted(KERNELS)), st.integers(1, 8))
def test_the_determinant_of_a_triangle_is_the_exact_one(seed: int, mask: str, features: str, size: int) -> None:
    queries, keys = dyadic(np.random.default_rng(seed), 2, size, 3)
    if features == "identity" and sums_are_lost(queries, keys, mask):
        return
    operator = attend(queries, keys, mask, features, empty_rows="zero")
    found = rs.logdet(operator)
    with precision(DIGITS_60):
        sign, log = log_determinant(exact(queries, keys, mask, features))
        if found.sign is not None:
            assert found.sign == sign, (found.because, log)
            assert (found.log_abs is None) == (sign == 0)
        if sign != 0 and found.log_abs is not None:
            assert found.guarantee == "proved"
            assert inside(found.low, log, found.high)
            assert found.low is not None
            assert found.low <= found.log_abs


@pytest.mark.deep
@settings(max_examples=5000)
@given(SEEDS, st.sampled_from(["causal", "anticausal"]), st.integers(1, 10))
def test_many_signed_determinants_are_exact(seed: int, mask: str, size: int) -> None:
    queries, keys = dyadic(np.random.default_rng(seed), 2, size, 2)
    if sums_are_lost(queries, keys, mask):
        return
    found = rs.logdet(attend(queries, keys, mask, "identity", empty_rows="zero"))
    with precision(DIGITS_60):
        sign, log = log_determinant(exact(queries, keys, mask, "identity"))
        assert found.sign in (None, sign)
        if sign != 0 and found.log_abs is not None:
            assert inside(found.low, log, found.high)


def test_positive_features_are_never_refused_nor_undecided() -> None:
    for seed in range(20):
        queries, keys = np.random.default_rng(seed).standard_normal((2, 12, 4))
        for features in ("elu+1", "exp"):
            found = rs.logdet(attend(queries, keys, "causal", features))
            assert (found.sign, found.guarantee) == (1, "proved")


def test_bidirectional_attention_is_held_as_its_factors() -> None:
    operator = attend(*np.random.default_rng(0).standard_normal((2, 12, 3)))
    assert isinstance(operator, Factored)
    assert operator.subject == "factors"
    record = rs.rank_exact(operator)
    assert (record.value, record.high, record.guarantee) == (None, 3, "proved")
    assert "number of features" in record.because
    assert rs.logdet(operator).sign == 0
    queries, keys = np.random.default_rng(0).standard_normal((2, 12, 3))
    assert isinstance(attend(queries, keys, "causal"), Dense)


@pytest.mark.parametrize(("n", "d"), [(5, 8), (8, 8), (9, 8)])
def test_the_rank_of_the_features_bounds_the_rank(n: int, d: int) -> None:
    record = rs.rank_exact(attend(*np.random.default_rng(1).standard_normal((2, n, d))))
    assert record.high == min(n, d)


def test_the_scale_multiplies_the_product_of_query_and_key() -> None:
    """φ(√s·q)·φ(√s·k): for the identity it cancels in the quotient, for exp it does not."""
    queries, keys = np.abs(dyadic(np.random.default_rng(2), 2, 5, 3)) + 0.5
    plain = np.asarray(attend(queries, keys, features="identity").matrix)
    assert np.allclose(attend(queries, keys, features="identity", scale=4.0).matrix, plain, rtol=32 * UNIT, atol=0)
    direct = np.asarray(attend(2 * queries, 2 * keys, features="exp").matrix)
    assert np.array_equal(attend(queries, keys, features="exp", scale=4.0).matrix, direct)


def test_cancelling_sums_are_refused_with_their_rows() -> None:
    queries = np.array([[1.0], [2.0], [3.0]])
    keys = np.array([[1.0], [-1.0], [2.0]])
    with pytest.raises(MaskError, match="RS122") as caught:
        attend(queries, keys, "causal", "identity")
    assert "row 1 " in caught.value.given or "row: 1 " in caught.value.given or "row 1(" in caught.value.given
    nearly = np.array([[1.0], [-1.0 + 2.0**-52], [2.0]])
    with pytest.raises(MaskError, match="RS122"):
        attend(queries, nearly, "causal", "identity")
    clear = np.array([[1.0], [-1.0 + 2.0**-40], [2.0]])
    found = rs.logdet(attend(queries, clear, "causal", "identity"))
    with precision(DIGITS_60):
        sign, log = log_determinant(exact(queries, clear, "causal", "identity"))
        assert found.sign in (None, sign)
        assert inside(found.low, log, found.high)


def test_zero_rows_of_relu_are_refused_with_their_rows_unless_a_policy_says_otherwise() -> None:
    queries = np.array([[1.0, 1.0], [-1.0, -2.0], [1.0, 2.0], [-3.0, 0.0]])
    keys = np.ones((4, 2))
    with pytest.raises(MaskError, match="RS120") as caught:
        attend(queries, keys, features="relu")
    assert "1, 3" in caught.value.given
    zero = attend(queries, keys, features="relu", empty_rows="zero")
    assert np.asarray(zero.matrix).tolist() == [[0.25] * 4, [0.0] * 4, [0.25] * 4, [0.0] * 4]
    assert zero.structure.row_sum.value is None
    assert rs.logdet(zero).sign == 0
    assert rs.rank_exact(zero).high is not None
    assert (rs.rank_exact(zero).high or 9) <= 2
    drop = attend(queries, keys, features="relu", empty_rows="drop")
    assert np.asarray(drop.matrix).tolist() == [[0.25] * 4] * 2
    uniform = attend(queries, keys, features="relu", empty_rows="uniform")
    assert np.asarray(uniform.matrix).tolist() == [[0.25] * 4] * 4


def test_a_zero_on_the_diagonal_of_relu_is_a_proved_zero_determinant() -> None:
    """Row 1 sees key 0 with weight 1 and itself with weight 0."""
    operator = attend([[1.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], "causal", "relu")
    found = rs.logdet(operator)
    assert (found.sign, found.guarantee, found.log_abs) == (0, "proved", None)
    assert (rs.rank_exact(operator).value, rs.rank_exact(operator).high) == (1, 1)


def test_a_row_made_uniform_is_not_a_zero_on_the_diagonal() -> None:
    """Query 1 is zero; made uniform it is [½, ½], so the matrix is [[1, 0], [½, ½]] and its determinant ½."""
    operator = attend([[1.0], [0.0]], [[1.0], [-1.0]], "causal", "identity", empty_rows="uniform")
    assert np.asarray(operator.matrix).tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert rs.logdet(operator).sign == 1, rs.logdet(operator).because
    assert rs.rank_exact(operator).high == 2


@pytest.mark.parametrize("features", ["elu+1", "exp"])
def test_products_of_features_that_underflow_prove_no_zero(features: str) -> None:
    """φ(−400)² = e^−800 underflows, yet it is positive: the determinant is e^−400 / (1 + e^−400), not zero."""
    tokens = np.array([[0.0], [-400.0]])
    operator = attend(tokens, tokens, "causal", features)
    found = rs.logdet(operator)
    assert found.sign != 0, found.because
    assert rs.rank_exact(operator).high == 2
    with precision(DIGITS_60):
        sign, log = log_determinant(exact(tokens, tokens, "causal", features))
        assert sign == 1
        assert inside(found.low, log, found.high)


def test_products_of_features_that_underflow_are_not_an_empty_row() -> None:
    """Both rows have positive weights in exact arithmetic: [[1, 0], [½, ½]]. A refusal may say underflow, not zero."""
    tokens = np.array([[-400.0], [-400.0]])
    operator, given = None, ""
    try:
        operator = attend(tokens, tokens, "causal")
    except RankscopeError as refusal:
        given = refusal.given
    assert "zero" not in given
    if operator is not None:
        assert np.allclose(operator.matrix, [[1.0, 0.0], [0.5, 0.5]], rtol=8 * UNIT, atol=0)


@pytest.mark.parametrize("mask", ["bidirectional", "causal"])
@pytest.mark.parametrize(
    ("features", "queries", "keys"),
    [
        ("exp", [[1000.0]], [[1.0]]),
        ("exp", [[1.0]], [[1000.0]]),
    ],
)
def test_features_beyond_float64_are_refused_without_a_warning(
    mask: str, features: str, queries: list[list[float]], keys: list[list[float]]
) -> None:
    """And never as a sum that is "lost to cancellation", which is not what happened to them. Large features whose
    products alone would overflow are scaled by powers of two, and do not.
    """
    large = np.asarray(single(attend([[1e200, 1e200]], [[1e200, 1e200]], mask, "elu+1")).matrix)
    assert large.tolist() == [[1.0]]
    with pytest.raises(RankscopeError, match="RS11") as caught:
        attend(queries, keys, mask, features)
    assert "infinity" in caught.value.given or "NaN" in caught.value.given


def test_sums_too_small_to_divide_by_are_refused_or_right() -> None:
    """q·k = 1e-310, and 1/1e-310 is beyond float64; the weight itself is 1."""
    try:
        operator = attend([[1.0, 1e-310]], [[0.0, 1.0]], features="relu")
    except MaskError:
        return
    assert np.asarray(operator.matrix).tolist() == [[1.0]]


def extreme(seed: int, features: str) -> tuple[Float64, Float64]:
    """Tokens whose features reach from one end of float64 to the other within one row."""
    random = np.random.default_rng(seed)
    size, terms = (int(x) for x in random.integers(1, 6, 2))
    if features in ("exp", "elu+1"):
        return random.uniform(-740, 700, (size, terms)), random.uniform(-740, 700, (size, terms))
    queries, keys = (
        random.standard_normal((size, terms)) * 10.0 ** random.uniform(-300, 150, (size, terms)) for _ in range(2)
    )
    return queries, keys


def attend_extreme(seed: int, mask: str, features: str) -> tuple[Operator, Any] | None:
    """Attention on such tokens and its exact rationals; None where it is refused, which it may be."""
    queries, keys = extreme(seed, features)
    try:
        operator = attend(queries, keys, mask, features, empty_rows="zero")
    except MaskError:
        return None
    return operator, exact(queries, keys, mask, features)


@example(seed=4883, mask="bidirectional", features="exp")
@example(seed=77, mask="bidirectional", features="relu")
@settings(max_examples=150)
@given(SEEDS, st.sampled_from(["causal", "anticausal", "bidirectional", "prefix:2"]), st.sampled_from(sorted(KERNELS)))
def test_features_over_all_of_float64_prove_nothing_false_of_the_determinant(
    seed: int, mask: str, features: str
) -> None:
    """Products of features that are not zero underflow; the zero that is left of them proves nothing."""
    made = attend_extreme(seed, mask, features)
    if made is not None:
        found = rs.logdet(made[0])
        with precision(8 * DIGITS_60):
            sign, log = log_determinant(made[1])
            assert found.sign in (None, sign), found
            assert sign == 0 or inside(found.low, log, found.high), (found, log)


@example(seed=4883, mask="bidirectional", features="exp")
@example(seed=77, mask="bidirectional", features="relu")
@settings(max_examples=150)
@given(SEEDS, st.sampled_from(["causal", "anticausal", "bidirectional", "prefix:2"]), st.sampled_from(sorted(KERNELS)))
def test_features_over_all_of_float64_prove_nothing_false_of_the_rank(seed: int, mask: str, features: str) -> None:
    made = attend_extreme(seed, mask, features)
    if made is not None:
        found = rs.rank_exact(made[0])
        assert found.low is not None
        assert found.high is not None
        assert found.low <= made[1].rank() <= found.high, found


@example(seed=4883, mask="bidirectional", features="exp")
@example(seed=77, mask="bidirectional", features="relu")
@settings(max_examples=150)
@given(SEEDS, st.sampled_from(["causal", "anticausal", "bidirectional", "prefix:2"]), st.sampled_from(sorted(KERNELS)))
def test_features_over_all_of_float64_stay_within_their_distance(seed: int, mask: str, features: str) -> None:
    made = attend_extreme(seed, mask, features)
    if made is not None:
        with precision(8 * DIGITS_60):
            error = frobenius(balls(np.asarray(made[0].matrix)) - balls(made[1]))
            assert distance(made[0]) == math.inf or inside(None, error, distance(made[0]))


@example(seed=4883, mask="bidirectional", features="exp")
@example(seed=77, mask="bidirectional", features="relu")
@settings(max_examples=60)
@given(SEEDS, st.sampled_from(["causal", "bidirectional"]), st.sampled_from(sorted(KERNELS)))
def test_features_over_all_of_float64_are_analysed(seed: int, mask: str, features: str) -> None:
    """Numbers or null, no warning, no error that is not a refusal."""
    made = attend_extreme(seed, mask, features)
    if made is not None:
        rs.analyze(made[0], measures=["all"]).to_json()


def test_the_log_diagonal_lies_within_its_error() -> None:
    for seed in range(30):
        queries, keys = dyadic(np.random.default_rng(seed), 2, 6, 3)
        for features in ("elu+1", "exp"):
            operator = attend(queries, keys, "causal", features)
            assert isinstance(operator, Dense)
            truth = exact(queries, keys, "causal", features)
            with precision(DIGITS_60):
                for i in range(6):
                    log = balls(truth)[i, i].log()
                    assert away(operator.diagonal.log[i], log) <= operator.diagonal.error[i]
                    assert operator.diagonal.error[i] <= 200 * UNIT * (1 + abs(float(log)))
