"""log|det| and sign against exact rationals and balls: on both triangles, over blocks, in products, and near zero."""

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import rankscope as rs
from rankscope.analyzer.determinant import LogDet
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.operators import Mean, Product
from tests.oracles import (
    DIGITS_60,
    EPS,
    SEES,
    UNIT,
    Float64,
    balls,
    dyadic,
    exact_scores,
    full_mantissas,
    inside,
    log_determinant,
    normalised,
    precision,
    rational,
    seen_by,
    softmax,
)

HEAD = 4
SEEDS = st.integers(0, 2**32 - 1)
TRIANGLES = ["causal", "anticausal"]
SCALES = [0.25, 1.0, 4.0, 16.0, 64.0, 256.0]


def check(found: LogDet, sign: int, log: Any) -> None:
    """What is said of a determinant against its truth: a sign that is given is right, bounds hold it."""
    assert found.sign in (None, sign), found
    assert (found.log_abs is None) or found.sign != 0
    if sign == 0:
        assert found.log_abs is None
    else:
        assert inside(found.low, log, found.high), (found, log)
        assert found.log_abs is None or found.low is None or found.low <= found.log_abs
        assert found.log_abs is None or found.high is None or found.log_abs <= found.high


def softmax_of(seed: int, size: int, mask: str, scale: float) -> tuple[Any, Any]:
    queries, keys = dyadic(np.random.default_rng(seed), 2, size, HEAD)
    truth = softmax(exact_scores(queries, keys, scale), seen_by(SEES[mask], size, size))
    return single(attention(queries, keys, mask=mask, scale=scale)), truth


@settings(max_examples=300)
@given(SEEDS, st.integers(1, 12), st.sampled_from(TRIANGLES), st.sampled_from(SCALES))
def test_triangles_of_softmax_are_proved_and_enclose_the_truth(seed: int, size: int, mask: str, scale: float) -> None:
    """Also at scale 256, where most weights underflow; the bound is a few roundings of each term."""
    with precision(DIGITS_60):
        operator, truth = softmax_of(seed, size, mask, scale)
        found = rs.logdet(operator)
        sign, log = log_determinant(truth)
        check(found, sign, log)
        assert (found.sign, found.guarantee) == (1, "proved")
        assert found.low is not None
        assert found.high is not None
        # each of n terms is off by at most ~60 units of O(1) and 5 of its largest score, which is below 32·scale
        assert found.high - found.low <= 2 * size * UNIT * (60 + 5 * 32 * scale + abs(float(log)))


@pytest.mark.deep
@settings(max_examples=5000)
@given(SEEDS, st.integers(1, 24), st.sampled_from(TRIANGLES), st.floats(0.0, 300.0))
def test_many_triangles_of_softmax_enclose_the_truth(seed: int, size: int, mask: str, scale: float) -> None:
    scale = math.ldexp(math.floor(math.ldexp(scale, 8)), -8)  # 17 bits at most: scores stay exact
    with precision(DIGITS_60):
        operator, truth = softmax_of(seed, size, mask, scale)
        found = rs.logdet(operator)
        check(found, *log_determinant(truth))
        assert (found.sign, found.guarantee) == (1, "proved")


@settings(max_examples=150)
@given(SEEDS, st.integers(1, 10), st.sampled_from(TRIANGLES), st.floats(0.1, 300.0))
def test_scores_of_many_digits_enclose_the_truth(seed: int, size: int, mask: str, scale: float) -> None:
    queries, keys = full_mantissas(np.random.default_rng(seed), size, scale)
    found = rs.logdet(single(attention(queries, keys, mask=mask)))
    with precision(DIGITS_60):
        truth = softmax(exact_scores(queries, keys, 1.0), seen_by(SEES[mask], size, size))
        check(found, *log_determinant(truth))
    assert (found.sign, found.guarantee) == (1, "proved")


def test_one_triangle_by_hand_in_mpmath() -> None:
    """The second multiprecision library: Σ (s_ii − ln Σ_{j≤i} exp s_ij) in 70 digits, at scale 256."""
    queries, keys = dyadic(np.random.default_rng(1), 2, 10, HEAD)
    scores = exact_scores(queries, keys, 256.0)
    found = rs.logdet(single(attention(queries, keys, mask="causal", scale=256.0)))
    assert found.low is not None
    assert found.high is not None
    with mpmath.workdps(70):
        total = mpmath.mpf(0)
        for i in range(10):
            row = [mpmath.mpf(x) for x in scores[i, : i + 1].tolist()]
            total += row[i] - mpmath.log(mpmath.fsum(mpmath.exp(x) for x in row))
        assert mpmath.mpf(found.low) <= total <= mpmath.mpf(found.high)
    assert np.linalg.det(np.asarray(single(attention(queries, keys, mask="causal", scale=256.0)).matrix)) == 0.0


@settings(max_examples=100)
@given(SEEDS, st.integers(1, 10), st.sampled_from(["bidirectional", "prefix:2", "window:2"]), st.sampled_from(SCALES))
def test_dense_blocks_enclose_the_truth_or_say_that_they_cannot(seed: int, size: int, mask: str, scale: float) -> None:
    with precision(8 * DIGITS_60):
        operator, truth = softmax_of(seed, size, mask, scale)
        found = rs.logdet(operator)
        check(found, *log_determinant(truth))
    if found.log_abs is None:
        assert found.sign is None
        assert "singular to working precision" in found.because
    elif size > 2:
        assert found.guarantee == "estimated"
        assert "condition" in found.method


@settings(max_examples=100)
@given(SEEDS, st.integers(2, 10), st.integers(0, 10))
def test_prefix_is_one_dense_block_and_a_proved_rest(seed: int, size: int, length: int) -> None:
    queries, keys = dyadic(np.random.default_rng(seed), 2, size, HEAD)
    found = rs.logdet(single(attention(queries, keys, mask=f"prefix:{length}")))
    scores = exact_scores(queries, keys, 1.0)
    with precision(2 * DIGITS_60):
        seen = seen_by(lambda i, j: j < length or j <= i, size, size)
        check(found, *log_determinant(softmax(scores, seen)))
    assert found.guarantee == ("proved" if min(length, size) < 2 else "estimated")


@settings(max_examples=300)
@given(SEEDS, st.integers(1, 9), st.sampled_from(TRIANGLES), st.integers(-40, 0))
def test_stored_triangles_enclose_the_exact_determinant(seed: int, size: int, mask: str, spread: int) -> None:
    """Signed numbers over many orders of magnitude, on both sides."""
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((size, size)) * 10.0 ** random.integers(spread, 1, (size, size))
    matrix[~seen_by(SEES[mask], size, size)] = 0.0
    found = rs.logdet(matrix)
    with precision(2 * DIGITS_60):
        sign, log = log_determinant(rational(matrix))
        check(found, sign, log)
    assert (found.sign, found.guarantee) == (sign, "proved")


@pytest.mark.parametrize("near", [1.0, 1.0 + EPS, 1.0 - UNIT, 0.999, 1.001])
def test_logarithms_near_zero_keep_their_relative_bound(near: float) -> None:
    found = rs.logdet(np.diag([near] * 5))
    with precision(DIGITS_60):
        check(found, *log_determinant(rational(np.diag([near] * 5))))
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low <= 20 * UNIT * abs(5 * math.log(near)) + 20 * UNIT * UNIT


SMALL_INTEGERS = st.integers(1, 6).flatmap(
    lambda n: st_numpy.arrays(np.float64, (n, n), elements=st.integers(-3, 3).map(float), fill=st.nothing())
)


@settings(max_examples=300)
@given(SMALL_INTEGERS)
def test_small_integer_matrices_have_their_exact_determinant(matrix: Float64) -> None:
    """Singular ones too: a sign is never claimed where the determinant is zero, and zero only where it is."""
    found = rs.logdet(matrix)
    with precision(DIGITS_60):
        check(found, *log_determinant(rational(matrix)))


@settings(max_examples=100)
@given(SEEDS, st.integers(2, 7))
def test_random_block_patterns_have_their_exact_determinant(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((size, size)) * (random.random((size, size)) < 0.4)
    matrix += np.diag(random.standard_normal(size))
    found = rs.logdet(matrix)
    with precision(2 * DIGITS_60):
        sign, log = log_determinant(rational(matrix))
        check(found, sign, log)
    if sign:
        assert found.sign == sign or found.log_abs is None


@settings(max_examples=100)
@given(SEEDS, st.lists(st.sampled_from(sorted(SEES)), min_size=2, max_size=4), st.sampled_from([0.25, 1.0, 16.0]))
def test_the_determinant_of_a_product_is_the_sum(seed: int, masks: list[str], scale: float) -> None:
    with precision(4 * DIGITS_60):
        made = [softmax_of(seed + layer, 5, mask, scale) for layer, mask in enumerate(masks)]
        product = Product(tuple(operator for operator, _ in made))
        found = rs.logdet(product)
        truth = made[0][1]
        for _, factor in made[1:]:
            truth = truth * factor
        sign, log = log_determinant(truth)
        check(found, sign, log)
    if set(masks) <= set(TRIANGLES):
        assert (found.sign, found.guarantee) == (1, "proved")
        terms = [rs.logdet(operator).log_abs for operator, _ in made]
        assert found.log_abs == pytest.approx(sum(term for term in terms if term is not None), rel=8 * UNIT, abs=0)


def test_lower_times_upper_is_the_sum_with_sign_plus_one() -> None:
    lower, upper = (
        single(attention(*np.random.default_rng(i).standard_normal((2, 40, 8)), mask=TRIANGLES[i])) for i in (0, 1)
    )
    found = rs.logdet(Product((upper, lower)))
    one, two = rs.logdet(lower).log_abs, rs.logdet(upper).log_abs
    assert one is not None
    assert two is not None
    assert (found.sign, found.guarantee) == (1, "proved")
    assert found.log_abs == pytest.approx(one + two, rel=8 * UNIT, abs=0)


@settings(max_examples=60)
@given(SEEDS, st.sampled_from([0.25, 1.0, 8.0]))
def test_the_mean_of_both_triangles_encloses_the_truth(seed: int, scale: float) -> None:
    with precision(4 * DIGITS_60):
        (lower, one), (upper, two) = (softmax_of(seed + i, 6, TRIANGLES[i], scale) for i in (0, 1))
        found = rs.logdet(Mean((lower, upper)))
        check(found, *log_determinant((one + two) / 2))
    assert found.guarantee == "estimated"


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 6), st.integers(1, 8))
def test_factored_attention_is_singular_by_its_features_or_encloses_the_truth(seed: int, size: int, terms: int) -> None:
    random = np.random.default_rng(seed)
    queries, keys = np.abs(dyadic(random, 2, size, terms)) + 0.125
    found = rs.logdet(single(attention(queries, keys, kernel="linear:identity")))
    with precision(4 * DIGITS_60):
        check(found, *log_determinant(normalised(queries, keys, np.ones((size, size), dtype=bool))))
    if terms < size:
        assert (found.sign, found.guarantee) == (0, "proved")


def test_library_factorisations_are_wrong_where_this_is_right() -> None:
    """F1: numpy's LU on causal attention of n = 128 is off by whole nats."""
    operator = single(attention(*np.random.default_rng(0).standard_normal((2, 128, 64)), mask="causal"))
    found, (_, log) = rs.logdet(operator), np.linalg.slogdet(np.asarray(operator.matrix))
    transposed = rs.logdet(np.asarray(operator.matrix).T)
    assert found.log_abs is not None
    assert found.low is not None
    assert found.high is not None
    assert not found.low - 1 <= log <= found.high + 1
    assert transposed.log_abs == pytest.approx(found.log_abs, rel=128 * UNIT, abs=0)


@pytest.mark.parametrize(
    ("matrix", "word"),
    [
        (np.zeros((3, 3)), "zero"),
        (np.full((3, 3), 0.5), "distinct"),
        (np.tril(np.ones((3, 3)), -1), "diagonal"),
        (np.array([[1.0, 0.0, 1.0], [2.0, 0.0, 3.0], [1.0, 0.0, 5.0]]), "zero"),
        (np.array([[1.0, 2.0], [1.0, 2.0]]), "distinct rows"),
    ],
)
def test_singular_by_structure(matrix: Float64, word: str) -> None:
    found = rs.logdet(matrix)
    assert (found.sign, found.log_abs, found.guarantee) == (0, None, "proved")
    assert word in found.because


def test_singular_only_in_numbers_is_not_claimed_and_not_excluded() -> None:
    """Rows 1 + 2 = row 3, in numbers that only arithmetic reveals: sign null, with an upper bound."""
    found = rs.logdet(np.array([[0.1, 0.7, 0.4], [0.3, 0.2, 0.9], [0.4, 0.9, 1.3]]))
    assert (found.sign, found.log_abs, found.low) == (None, None, None)
    assert found.high is not None
    assert found.high < -30, "σ₁σ₂(σ₃ + error), with an error near 1e-15"
    with pytest.raises(ValueError, match="not known"):
        float(found)


@pytest.mark.parametrize(
    "matrix",
    [
        [[2.0**-1022, 0.0, -0.4], [0.0, 0.0, 0.13], [0.0, -1.7e308, -1.5]],
        [[1.7e308, 0.0, 1e-300], [0.0, -0.65, 0.0], [0.177, -0.46, 0.177]],
        [[-1.7e308, 0.0, 1e-300, 1.0], [1.0, 2.0, 1.0, 1e160], [1e300, 0.0, 5e-324, 1e20], [2.0**-1022, 0.0, 1.0, 0.0]],
    ],
)
def test_blocks_whose_inverse_overflows_claim_nothing_false(matrix: list[list[float]]) -> None:
    """No NaN, no infinity, no warning: what float64 cannot invert is not known."""
    found = rs.logdet(np.array(matrix))
    for each in (found.log_abs, found.low, found.high):
        assert each is None or math.isfinite(each), found
    with precision(8 * DIGITS_60):
        check(found, *log_determinant(rational(np.array(matrix))))


def test_a_rectangle_has_no_determinant() -> None:
    for shape in ((3, 5), (5, 3), (0, 2)):
        found = rs.logdet(np.ones(shape))
        assert (found.sign, found.log_abs) == (None, None)
        assert "square" in found.method


def test_the_empty_product_is_one() -> None:
    found = rs.logdet(np.zeros((0, 0)))
    assert (found.sign, found.log_abs, found.low, found.high) == (1, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("matrix", [np.eye(2) * (1 + 1j), np.array([[1j, 0], [2, 3]]), np.array([[1j, 2], [3, 4j]])])
def test_a_complex_determinant_has_a_phase_and_no_sign(matrix: Any) -> None:
    """numerics.md A9: det((1 + i)·I₂) = 2i has no sign; its modulus is known."""
    found = rs.logdet(matrix)
    assert found.sign is None, found
    modulus = math.log(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
    assert found.log_abs == pytest.approx(modulus, abs=8 * EPS)


@settings(max_examples=100)
@given(SEEDS, st.integers(1, 5), st.integers(-1000, 1000), st.sampled_from([*TRIANGLES, "bidirectional"]))
def test_scaling_by_a_power_of_two_shifts_the_logarithm(seed: int, size: int, exponent: int, mask: str) -> None:
    matrix = (np.random.default_rng(seed).random((size, size)) + 0.5) * seen_by(SEES[mask], size, size)
    plain, scaled = rs.logdet(matrix), rs.logdet(matrix * 2.0**exponent)
    assert plain.sign == scaled.sign
    with precision(2 * DIGITS_60):
        check(scaled, *log_determinant(rational(matrix * 2.0**exponent)))
    if plain.log_abs is not None and scaled.log_abs is not None:
        shift = size * exponent * math.log(2)
        assert plain.low is not None
        assert plain.high is not None
        assert scaled.low is not None
        assert scaled.high is not None
        slack = (plain.high - plain.low) + (scaled.high - scaled.low) + 4 * UNIT * abs(shift)
        assert abs(scaled.log_abs - plain.log_abs - shift) <= slack


@settings(max_examples=100)
@given(SEEDS, st.integers(1, 8), st.sampled_from(sorted(SEES)))
def test_transposing_reversing_and_permuting_change_no_determinant(seed: int, size: int, mask: str) -> None:
    """Flipping both sides is a permutation of rows and of columns: the sign stays, a single swap turns it."""
    random = np.random.default_rng(seed)
    matrix = (random.standard_normal((size, size)) + 2.0 * np.eye(size)) * seen_by(SEES[mask], size, size)
    order = random.permutation(size)
    plain = rs.logdet(matrix)
    with precision(2 * DIGITS_60):
        sign, log = log_determinant(rational(matrix))
        for other in (matrix.T, matrix[::-1, ::-1], matrix[np.ix_(order, order)]):
            found = rs.logdet(other)
            check(found, sign, log)
            assert (found.sign, found.guarantee) == (plain.sign, plain.guarantee)
        if size > 1:
            check(rs.logdet(matrix[[1, 0, *range(2, size)]]), -sign, log)


def test_the_exact_value_of_a_dense_block_is_inside_its_bounds_at_every_condition() -> None:
    """A 2 × 2 block with determinant 2^−k: the bounds widen with the condition until nothing is claimed."""
    for k in range(0, 60, 3):
        matrix = np.array([[1.0, 1.0], [1.0, 1.0 + 2.0**-k]])
        found = rs.logdet(matrix)
        with precision(DIGITS_60):
            sign, log = log_determinant(rational(matrix))
            check(found, sign, log)
        if k < 40:
            assert found.log_abs is not None
        if k > 52:
            assert sign == 0


@settings(max_examples=100)
@given(SEEDS, st.integers(2, 5), st.sampled_from([1, -1]), st.integers(2, 16))
def test_unimodular_matrices_of_large_integers_get_no_wrong_sign(seed: int, size: int, sign: int, bits: int) -> None:
    """Integer matrices with determinant ±1 and entries up to 2^(2·bits): LU in float64 gives the sign by chance."""
    random = np.random.default_rng(seed)
    lower, upper = (np.tril(random.integers(-(2**bits), 2**bits, (size, size)), -1) + np.eye(size) for _ in range(2))
    upper[0, 0] = sign
    matrix = lower @ upper.T
    assert rational(matrix).det() == sign
    found = rs.logdet(matrix)
    assert found.sign in (None, sign), found
    assert found.low is None or found.low <= 0
    assert found.high is None or found.high >= 0


@pytest.mark.parametrize("mask", ["prefix:3", "bidirectional"])
def test_stored_numbers_and_scores_agree_where_nothing_is_lost(mask: str) -> None:
    operator = single(attention(*np.random.default_rng(3).standard_normal((2, 9, 4)), mask=mask))
    scores, stored = rs.logdet(operator), rs.logdet(np.asarray(operator.matrix))
    assert scores.log_abs is not None
    assert stored.log_abs is not None
    assert scores.sign == stored.sign
    assert scores.low is not None
    assert scores.high is not None
    assert scores.low <= stored.log_abs <= scores.high


def test_balls_of_stored_floats_are_the_rationals() -> None:
    """The oracle itself: the determinant of balls and of rationals is the same number."""
    matrix = np.random.default_rng(0).standard_normal((5, 5))
    with precision(DIGITS_60):
        (sign, log), (other, ball) = log_determinant(rational(matrix)), log_determinant(balls(matrix))
        assert sign == other
        assert log.overlaps(ball)
