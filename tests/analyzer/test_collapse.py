"""Measures of depth: published constants, definitions in numpy, and mpmath where float64 sees no difference."""

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy.optimize import brentq

from rankscope.analyzer import collapse, contraction, token_measures
from rankscope.analyzer.collapse import dong_step
from rankscope.analyzer.contraction import LEMMA
from rankscope.analyzer.depth import DEPTH_MEASURES, Gradients, History, Plain
from rankscope.analyzer.token_measures import token_values
from rankscope.arrays import EPS, FLOAT64, UNIT, Float64
from rankscope.attention.block import Block, Head, Mlp
from rankscope.attention.mixing import Split, Whole, mixing, operator_of, split_mixing
from rankscope.attention.pointwise import ACTIVATIONS
from rankscope.attention.scaled import Scaled
from rankscope.attention.tokens import Linear, Tokens
from rankscope.generators.network import Stack

DIGITS = 300
"""Decimal digits of the oracle: 1 − cos of tokens that differ by 2^−200 is of size 10^−120."""

ROUNDING = 1e-12
"""Thousands of roundings of numbers of size one."""


def drawn(seed: int, n: int = 6, width: int = 4) -> Float64:
    """Tokens with a mean and a residual of size one."""
    random = np.random.default_rng(seed)
    return np.asarray(random.standard_normal((n, width)) + random.standard_normal(width))


def near(seed: int, exponent: int, n: int = 5, width: int = 3) -> Tokens:
    """1·mᵀ + 2^exponent·R with rows of R that add up to exactly zero."""
    random = np.random.default_rng(seed)
    rest = random.integers(-8, 9, (n, width)).astype(float)
    rest[-1] -= rest.sum(axis=0)
    return Tokens(Scaled.of(random.standard_normal((1, width))), Scaled.of(rest, exponent))


def exact(tokens: Tokens) -> Any:
    """The tokens as a matrix of mpmath, without rounding."""
    mean, rest = tokens.mean, tokens.residual
    n, width = tokens.shape

    def entry(i: int, j: int) -> Any:
        low = mpmath.ldexp(mpmath.mpf(float(mean.values[0, j])), mean.exponent)
        return low + mpmath.ldexp(mpmath.mpf(float(rest.values[i, j])), rest.exponent)

    return mpmath.matrix([[entry(i, j) for j in range(width)] for i in range(n)])


def singular_values(x: Any) -> list[Any]:
    """In descending order."""
    return sorted(mpmath.svd_r(x if x.rows >= x.cols else x.T, compute_uv=False), reverse=True)


def attention_of(queries: Tokens, keys: Tokens, scale: float) -> Any:
    """The softmax of scores in mpmath."""
    scores = exact(queries) * exact(keys).T * mpmath.mpf(scale)
    n = scores.rows
    weights = scores.apply(mpmath.exp)
    sums = [mpmath.fsum(weights[i, j] for j in range(n)) for i in range(n)]
    return mpmath.matrix([[weights[i, j] / sums[i] for j in range(n)] for i in range(n)])


def softmax(scores: Float64) -> Float64:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def whole(weights: Float64) -> Whole:
    """An attention matrix whose rows add up to one."""
    return Whole(weights, None, 0.0, 0.0)


def brute_dobrushin(matrix: Float64) -> float:
    return max(float(np.abs(a - b).sum()) / 2 for a in matrix for b in matrix)


def history(*logs: float | None, error: float = 0.0) -> History:
    return History(logs, (error,) * len(logs), logs)


# ------------------------------------------------------------------------------------------------ rates over layers


def test_the_bound_of_dong_et_al_is_the_closed_form_of_its_recursion() -> None:
    """r_L = c^((3^L − 1)/2)·r_0^(3^L) for c = 4βH/√d = 4·0.125·2/√4 = 0.5, r_0 = 0.8, L = 3."""
    wide = Linear(np.eye(2, 4))
    heads = tuple(Head(wide, wide, wide, Linear(beta * np.eye(4, 2))) for beta in (0.125, 0.0625))
    bound = math.log10(0.8)
    for _ in range(3):
        bound = dong_step(bound, Block(heads), 1.0)
    assert 10.0**bound == pytest.approx(0.5**13 * 0.8**27, rel=1e-12)
    assert 10.0**bound == pytest.approx(2.951e-7, rel=2e-4)


def test_the_bound_takes_the_norms_of_the_products_of_maps() -> None:
    random = np.random.default_rng(4)
    query, key, value = (random.standard_normal((6, 3)) for _ in range(3))
    output = random.standard_normal((3, 6))
    block = Block((Head(Linear(query), Linear(key), Linear(value), Linear(output)),))
    both, own = query @ key.T, value @ output
    beta = np.linalg.norm(both, 1) * math.sqrt(np.linalg.norm(own, 1) * np.linalg.norm(own, np.inf))
    expected = math.log10(4 * float(beta) * 0.7 / math.sqrt(3)) + 3 * -2.0
    assert dong_step(-2.0, block, 0.7) == pytest.approx(expected, rel=ROUNDING)


def test_maps_that_are_zero_have_a_bound_of_zero() -> None:
    nothing = Linear(np.zeros((2, 2)))
    assert dong_step(-1.0, Block((Head(nothing, nothing, nothing, nothing),)), 1.0) == -math.inf


def test_the_bound_is_read_where_there_is_one() -> None:
    known = History((-1.0,), (0.0,), (-1.0,), (-0.5,))
    assert collapse.log10_dong_bound(known).value == -0.5
    found = collapse.log10_dong_bound(History((-1.0,), (0.0,), (-1.0,), (), "not a theorem"))
    assert (found.value, found.because) == (None, "not a theorem")


def test_the_range_of_the_lemma_is_the_root_of_its_equation() -> None:
    root = brentq(lambda x: math.exp(x) - 1 - 2 * x, 0.5, 2.0, xtol=1e-15, rtol=4 * EPS)
    assert pytest.approx(root, rel=1e-15) == LEMMA
    assert pytest.approx(1.25643120862617, rel=1e-14) == LEMMA


def test_the_order_of_a_cubic_law_is_three() -> None:
    assert collapse.residual_order(history(-0.25, -0.75, -2.25)).value == 3.0
    assert collapse.residual_order(history(None, -1.0, -3.0, -9.0, -27.0)).value == 3.0


@pytest.mark.parametrize("log_c", [-1.0, 0.1])
def test_the_order_of_a_cubic_law_is_three_whatever_its_constant(log_c: float) -> None:
    logs = [-0.5]
    for _ in range(4):
        logs.append(log_c + 3 * logs[-1])
        if len(logs) > 2:
            assert collapse.residual_order(history(*logs)).value == pytest.approx(3.0, rel=ROUNDING)


def test_the_order_of_a_geometric_decay_is_one() -> None:
    assert collapse.residual_order(history(-0.25, -0.5, -0.75)).value == 1.0


def test_the_order_has_an_interval_of_what_its_logarithms_allow() -> None:
    error = 1e-3
    found = collapse.residual_order(history(-1.0, -3.0, -9.0, error=error))
    moved = [
        ((-9 + a) - (-3 + b)) / ((-3 + b) - (-1 + c))
        for a in (-error, error)
        for b in (-error, error)
        for c in (-error, error)
    ]
    assert found.low <= min(moved) < 3 < max(moved) <= found.high
    assert found.high - found.low < 0.01


@pytest.mark.parametrize(
    ("logs", "because"),
    [
        ((-1.0, -2.0), "needs two layers before it"),
        ((None, -1.0, -2.0), "a residual is not known"),
        ((-1.0, -2.0, None), "a residual is not known"),
        ((-1.0, -1.0, -2.0), "the residual hardly changed in the layer before"),
    ],
)
def test_an_order_that_is_not_known_says_why(logs: tuple[float | None, ...], because: str) -> None:
    found = collapse.residual_order(history(*logs))
    assert (found.value, found.because) == (None, because)


def test_the_rate_is_the_quotient_of_two_residuals() -> None:
    found = collapse.residual_rate(history(-3.0, -1.0, -1.0 + math.log10(0.25), error=1e-6))
    assert found.value == pytest.approx(0.25, rel=ROUNDING)
    assert found.low == pytest.approx(0.25 * 10**-2e-6, rel=ROUNDING)
    assert found.high == pytest.approx(0.25 * 10**2e-6, rel=ROUNDING)
    assert collapse.residual_rate(history(-1.0)).value is None
    assert collapse.residual_rate(history(None, -1.0)).value is None


@pytest.mark.parametrize("step", [-400.0, 400.0])
def test_a_rate_beyond_the_range_of_float64_is_given_as_a_logarithm(step: float) -> None:
    found = collapse.residual_rate(history(-500.0, -500.0 + step))
    assert found.value is None
    assert found.because
    assert found.details["log10"] == step


def test_the_cubic_constant_is_that_of_absolute_residuals() -> None:
    found = collapse.log10_cubic_constant(History((-9.0, -9.0), (0.1, 0.2), (-1.0, -3.5)))
    assert found.value == -0.5
    assert (found.low, found.high) == (pytest.approx(-1.0), pytest.approx(0.0))
    assert collapse.log10_cubic_constant(history(-1.0)).value is None


# ------------------------------------------------------------------------------------------------- plain computation


def test_the_naive_residual_is_that_of_numpy() -> None:
    x = drawn(1)
    found = collapse.log10_residual_naive(Plain(x, FLOAT64))
    assert found.value == pytest.approx(
        math.log10(np.linalg.norm(x - x.mean(axis=0)) / np.linalg.norm(x)), rel=ROUNDING
    )
    assert found.because == ""


def test_the_naive_residual_says_where_it_stops() -> None:
    x = np.ones((4, 2))
    x[0, 0] += 2 * EPS
    at_floor = collapse.log10_residual_naive(Plain(x, FLOAT64))
    assert at_floor.value < at_floor.details["log10_floor"]
    assert at_floor.because == "at its rounding floor"
    zero = collapse.log10_residual_naive(Plain(np.ones((4, 2)), FLOAT64))
    assert (zero.value, zero.high) == (None, math.log10(UNIT))
    assert "not zero" in zero.because
    for lost in (np.zeros((4, 2)), np.full((4, 2), np.inf)):
        with np.errstate(invalid="ignore"):
            found = collapse.log10_residual_naive(Plain(lost, FLOAT64))
        assert (found.value, found.because) == (None, "plain arithmetic failed: the tokens vanished, or overflowed")


# ------------------------------------------------------------------------------------------------------------ tokens


@pytest.mark.parametrize("seed", range(6))
def test_the_cosine_is_the_mean_over_pairs(seed: int) -> None:
    x = drawn(seed)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = [float(unit[i] @ unit[j]) for i in range(len(x)) for j in range(i)]
    found = token_measures.token_cosine(Tokens.of(x))
    assert found.value == pytest.approx(math.fsum(pairs) / len(pairs), abs=ROUNDING)
    assert 1 - 10.0 ** found.details["log10_one_minus"] == pytest.approx(found.value, abs=ROUNDING)


@pytest.mark.parametrize("exponent", [-2, -20, -60, -200])
@pytest.mark.parametrize("seed", range(2))
def test_what_the_cosine_lacks_to_one_is_known_however_near_tokens_are(seed: int, exponent: int) -> None:
    tokens = near(seed, exponent)
    with mpmath.workdps(DIGITS):
        rows = [list(row) for row in exact(tokens).tolist()]
        size = [mpmath.sqrt(mpmath.fdot(row, row)) for row in rows]
        pairs = [mpmath.fdot(rows[i], rows[j]) / size[i] / size[j] for i in range(len(rows)) for j in range(i)]
        lacking = float(mpmath.log10(1 - mpmath.fsum(pairs) / len(pairs)))
    found = token_measures.token_cosine(tokens)
    assert found.details["log10_one_minus"] == pytest.approx(lacking, rel=ROUNDING, abs=ROUNDING)
    assert found.value == pytest.approx(1 - 10.0**lacking, abs=ROUNDING)


def test_the_cosine_of_one_token_is_not_known() -> None:
    assert token_measures.token_cosine(Tokens.of(np.ones((1, 3)))).because == "one token has no pairs"


@pytest.mark.parametrize("small", [1e-3, 1e-6, 1e-7, 1e-9])
def test_the_cosine_does_not_depend_on_how_long_tokens_are(small: float) -> None:
    """Mean and residual in float64 hold the short token to a relative UNIT/small."""
    found = token_measures.token_cosine(Tokens.of(np.array([[small, 0.0], [1.0, 1.0]])))
    assert found.value == pytest.approx(math.sqrt(0.5), abs=64 * UNIT / small)


def test_a_token_that_is_zero_has_no_cosine() -> None:
    found = DEPTH_MEASURES["token_cosine"].function(Tokens.of(np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])))
    assert found.value is None
    nothing = DEPTH_MEASURES["token_cosine"].function(Tokens.of(np.zeros((3, 2))))
    assert nothing.value is None
    assert nothing.because


@pytest.mark.parametrize("seed", range(6))
def test_the_correlation_and_the_share_of_high_frequencies_are_those_of_numpy(seed: int) -> None:
    x = drawn(seed)
    ones = np.ones(len(x))
    correlation = float(ones @ x @ x.T @ ones) / (len(x) * np.linalg.norm(x) ** 2)
    found = token_measures.token_correlation(Tokens.of(x))
    assert found.value == pytest.approx(correlation, rel=ROUNDING)
    low = np.outer(ones, x.mean(axis=0))
    found = token_measures.log10_hf_lf(Tokens.of(x))
    assert found.value == pytest.approx(math.log10(np.linalg.norm(x - low) / np.linalg.norm(low)), abs=ROUNDING)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("exponent", [-60, -200])
def test_correlation_and_frequencies_are_known_however_near_tokens_are(exponent: int) -> None:
    tokens = near(3, exponent)
    with mpmath.workdps(DIGITS):
        x = exact(tokens)
        means = [mpmath.fsum(x[i, j] for i in range(x.rows)) / x.rows for j in range(x.cols)]
        low = x.rows * mpmath.fdot(means, means)
        high = mpmath.fsum((x[i, j] - means[j]) ** 2 for i in range(x.rows) for j in range(x.cols))
        quotient, lacking = float(mpmath.log10(high / low) / 2), float(mpmath.log10(high / (high + low)))
    assert token_measures.log10_hf_lf(tokens).value == pytest.approx(quotient, rel=ROUNDING)
    assert token_measures.token_correlation(tokens).details["log10_one_minus"] == pytest.approx(lacking, rel=ROUNDING)


def entropic(p: Any) -> float:
    share = p / p.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


@pytest.mark.parametrize("shape", [(6, 4), (3, 5), (4, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_ranks_of_tokens_are_those_of_their_singular_values(seed: int, shape: tuple[int, int]) -> None:
    x = drawn(seed, *shape)
    tokens, values = Tokens.of(x), np.linalg.svd(x, compute_uv=False)
    gram = np.linalg.eigvalsh(x @ x.T)[::-1][: len(values)]
    stable = token_measures.token_stable_rank(tokens)
    assert stable.value == pytest.approx((values**2).sum() / values[0] ** 2, rel=ROUNDING)
    assert 10.0 ** stable.details["log10_beyond_1"] == pytest.approx(stable.value - 1, rel=ROUNDING)
    assert token_measures.token_stable_rank_gram(tokens).value == pytest.approx(
        (gram**2).sum() / gram[0] ** 2, rel=ROUNDING
    )
    assert token_measures.token_effective_rank(tokens).value == pytest.approx(entropic(values), rel=ROUNDING)
    assert token_measures.token_effective_rank_gram(tokens).value == pytest.approx(entropic(gram), rel=1e-10)
    rank1 = token_measures.log10_rank1_residual(tokens).value
    assert rank1 == pytest.approx(math.log10(np.linalg.norm(values[1:]) / np.linalg.norm(values)), abs=ROUNDING)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
@pytest.mark.parametrize("exponent", [-10, -15, -16, -17, -18, -19, -20, -40, -200])
def test_every_singular_value_of_tokens_near_consensus_is_known(exponent: int, shape: tuple[int, int]) -> None:
    tokens = near(7, exponent, *shape)
    with mpmath.workdps(120):
        expected = singular_values(exact(tokens))
        log_first, rest = token_values(tokens)
        assert abs(log_first - mpmath.log(expected[0], 2)) < 1e-14
        assert len(rest.values) == len(expected) - 1 == min(shape) - 1
        for found, value in zip(rest.values, expected[1:], strict=True):
            assert abs(mpmath.ldexp(mpmath.mpf(float(found)), rest.exponent) / value - 1) < 1e-10
        other = mpmath.sqrt(mpmath.fsum(value**2 for value in expected[1:]))
        everything = mpmath.sqrt(mpmath.fsum(value**2 for value in expected))
        rank1 = float(mpmath.log10(other / everything))
        beyond = float(2 * mpmath.log10(other / expected[0]))
        ratios = [value / mpmath.fsum(expected) for value in expected]
        effective = float(mpmath.exp(-mpmath.fsum(p * mpmath.log(p) for p in ratios)))
    assert token_measures.log10_rank1_residual(tokens).value == pytest.approx(rank1, abs=1e-10)
    assert token_measures.token_stable_rank(tokens).details["log10_beyond_1"] == pytest.approx(beyond, abs=1e-10)
    assert token_measures.token_effective_rank(tokens).value == pytest.approx(effective, abs=1e-11)


def test_the_two_ways_to_singular_values_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = near(9, -22)
    first, rest = token_values(tokens)
    monkeypatch.setattr(token_measures, "NEAR", 2.0**-60)
    again, other = token_values(tokens)
    assert first == pytest.approx(again, abs=1e-14)
    np.testing.assert_allclose(rest.floats, other.floats, rtol=0, atol=8 * EPS * 2.0**first)


def test_equal_tokens_have_rank_one() -> None:
    tokens = Tokens.of(np.ones((4, 3)))
    for measure in ("token_stable_rank", "token_stable_rank_gram", "token_effective_rank", "token_effective_rank_gram"):
        assert DEPTH_MEASURES[measure].function(tokens).value == 1.0
        assert DEPTH_MEASURES[measure].function(Tokens.of(np.zeros((4, 3)))).because == "all tokens are zero"
    assert token_measures.log10_rank1_residual(tokens).value is None


def test_one_token_has_rank_one() -> None:
    tokens = Tokens.of(np.array([[3.0, 4.0]]))
    assert token_measures.token_stable_rank(tokens).value == token_measures.token_effective_rank(tokens).value == 1.0
    assert token_measures.log10_rank1_residual(tokens).value is None


@pytest.mark.parametrize("last", [5.0, 7.0])
def test_the_rank_one_residual_of_parallel_tokens_is_not_a_number_at_the_floor_of_rounding(last: float) -> None:
    """Tokens c_i·w are of rank one, exactly, and their mean and residual are held without rounding."""
    tokens = Tokens.of(np.outer([1.0, 2.0, 3.0], [1.0, 2.0, last]))
    assert token_measures.log10_rank1_residual(tokens).value is None


# --------------------------------------------------------------------------------------------------------- attention


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_the_dobrushin_coefficient_is_that_of_all_pairs_of_rows(seed: int, scale: float) -> None:
    queries, keys = drawn(seed), drawn(seed + 50)
    matrix = softmax(scale * queries @ keys.T)
    made = split_mixing(Tokens.of(queries), Tokens.of(keys), scale)
    np.testing.assert_allclose(made.matrix, matrix, rtol=0, atol=ROUNDING)
    for each in (made, whole(matrix)):
        found = contraction.log10_dobrushin(each).value
        assert found == pytest.approx(math.log10(brute_dobrushin(matrix)), abs=ROUNDING)
        assert found <= contraction.log10_contraction_bound(each).value + ROUNDING


@pytest.mark.parametrize("exponent", [-30, -200, -700])
def test_the_dobrushin_coefficient_is_known_however_near_the_rows_are(exponent: int) -> None:
    queries, keys = near(1, exponent), near(2, 0)
    with mpmath.workdps(DIGITS):
        matrix = attention_of(queries, keys, 0.125)
        n = matrix.rows
        sums = [mpmath.fsum(abs(matrix[i, j] - matrix[k, j]) for j in range(n)) / 2 for i in range(n) for k in range(i)]
        expected = float(mpmath.log10(max(sums)))
        scores = exact(queries) * exact(keys).T / 8
        ranges = [[scores[i, j] - scores[k, j] for j in range(n)] for i in range(n) for k in range(i)]
        bound = float(mpmath.log10(mpmath.tanh(max(max(row) - min(row) for row in ranges) / 4)))
    made = split_mixing(queries, keys, 0.125)
    assert contraction.log10_dobrushin(made).value == pytest.approx(expected, rel=ROUNDING)
    assert contraction.log10_contraction_bound(made).value == pytest.approx(bound, rel=ROUNDING)
    assert expected <= bound


def test_two_tokens_attain_the_contraction_bound() -> None:
    """Scores ±a/2: τ = tanh(a/2), and ω = 2a."""
    a = 1.3
    queries, keys = np.array([[1.0], [-1.0]]), np.array([[a / 2], [-a / 2]])
    for made in (split_mixing(Tokens.of(queries), Tokens.of(keys), 1.0), whole(softmax(queries @ keys.T))):
        found, bound = contraction.log10_dobrushin(made), contraction.log10_contraction_bound(made)
        assert 10.0**found.value == pytest.approx(0.571669966085117, rel=1e-14)
        assert 10.0**found.value == pytest.approx(math.tanh(a / 2), rel=ROUNDING)
        assert bound.value == pytest.approx(found.value, rel=ROUNDING)
        assert 10.0 ** bound.details["log10_omega"] == pytest.approx(2 * a, rel=ROUNDING)
        assert bound.details["within_lemma"] is False


@pytest.mark.parametrize(("omega", "within"), [(1.25, True), (1.26, False)])
def test_the_lemma_holds_up_to_its_range(omega: float, within: bool) -> None:
    queries, keys = np.array([[1.0], [-1.0]]), np.array([[omega / 4], [-omega / 4]])
    found = contraction.log10_contraction_bound(split_mixing(Tokens.of(queries), Tokens.of(keys), 1.0))
    assert found.details["within_lemma"] is within


def test_queries_that_see_different_keys_have_no_contraction_bound_below_one() -> None:
    assert contraction.log10_contraction_bound(whole(np.tril(np.ones((3, 3))) / [[1], [2], [3]])).value == 0.0


def test_equal_rows_have_a_coefficient_of_zero() -> None:
    equal = whole(np.full((3, 3), 1 / 3))
    assert contraction.log10_dobrushin(equal).because == "zero: all rows are equal"
    assert contraction.log10_contraction_bound(equal).value is None


def test_rows_that_do_not_add_up_to_one_are_not_said_to_contract() -> None:
    """Rows that differ by a factor have ω = 0, and are far apart all the same."""
    weights = np.array([[0.5, 0.51], [0.1, 0.1]])
    made = Whole(weights, weights.sum(axis=1) - 1, 0.0, 0.0)
    bound = contraction.log10_contraction_bound(made)
    assert bound.value is None or bound.value >= math.log10(brute_dobrushin(weights))


@pytest.mark.parametrize("exponent", [-10, -30, -45, -50, -60])
def test_rows_that_float64_cannot_tell_apart_have_no_coefficient(exponent: int) -> None:
    """Linear attention with features e^x of queries that differ by 2^exponent: read to within its bounds, or null."""
    stack = Stack(n=5, d=3, kernel="linear:exp")
    queries, keys = near(4, exponent), near(5, -3)
    how = stack.how(0, 0)
    made = mixing(queries, keys, how, lambda: operator_of(queries, keys, how, stack.origin))
    with mpmath.workdps(60):
        q, k = (exact(each).apply(mpmath.exp) for each in (queries, keys))
        scores = q * k.T
        n = scores.rows
        rows = [[scores[i, j] / mpmath.fsum(scores[i, m] for m in range(n)) for j in range(n)] for i in range(n)]
        sums = [mpmath.fsum(abs(r[j] - s[j]) for j in range(n)) / 2 for r in rows for s in rows]
        truth = float(mpmath.log10(max(sums)))
    found = contraction.log10_dobrushin(made)
    if found.value is not None:
        assert found.low <= truth <= found.high
    else:
        assert "zero" not in found.because


# ------------------------------------------------------------------------------------------------------- eigenvalues


def second(matrix: Float64) -> float:
    """|λ₂| by numpy."""
    return float(np.sort(np.abs(np.linalg.eigvals(matrix)))[-2])


@pytest.mark.parametrize("seed", range(4))
def test_the_second_eigenvalue_of_triangular_attention_stands_on_its_diagonal(seed: int) -> None:
    weights = np.tril(np.random.default_rng(seed).random((5, 5)))
    weights /= weights.sum(axis=1, keepdims=True)
    expected = float(np.diagonal(weights)[1:].max())
    assert second(weights) == pytest.approx(expected, rel=ROUNDING)
    for each in (weights, weights[::-1, ::-1].copy()):
        assert contraction.eigenvalue_2(whole(each)).value == expected


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_the_second_eigenvalue_of_full_attention_is_that_of_numpy(seed: int, scale: float) -> None:
    queries, keys = drawn(seed), drawn(seed + 50)
    matrix = softmax(scale * queries @ keys.T)
    for each in (split_mixing(Tokens.of(queries), Tokens.of(keys), scale), whole(matrix)):
        found = contraction.eigenvalue_2(each)
        assert found.value == pytest.approx(second(matrix), abs=1e-10)
        assert 10.0 ** found.details["log10"] == pytest.approx(found.value, rel=ROUNDING)


@pytest.mark.parametrize("exponent", [-20, -60, -200])
def test_the_second_eigenvalue_is_known_however_small_it_is(exponent: int) -> None:
    queries, keys = near(1, exponent, 4), near(2, 0, 4)
    with mpmath.workdps(DIGITS // 2):
        values = mpmath.eig(attention_of(queries, keys, 0.125), left=False, right=False)
        sizes = sorted((abs(value) for value in values), reverse=True)
        assert abs(sizes[0] - 1) < 1e-100
        expected = float(mpmath.log10(sizes[1]))
    found = contraction.eigenvalue_2(split_mixing(queries, keys, 0.125))
    assert found.details["log10"] == pytest.approx(expected, abs=1e-10)
    assert found.value == pytest.approx(10.0**expected, rel=1e-9)


def test_the_second_eigenvalue_of_nearly_equal_queries_is_proportional_to_their_differences() -> None:
    keys = near(2, 0, 4)
    at = {e: contraction.eigenvalue_2(split_mixing(near(1, e, 4), keys, 0.125)) for e in (-100, -1000, -20_000)}
    first = at[-100].details["log10"]
    for exponent, found in at.items():
        expected = first + (exponent + 100) * math.log10(2)
        assert found.details["log10"] == pytest.approx(expected, rel=ROUNDING)


def test_an_eigenvalue_below_the_range_of_float64_is_given_as_a_logarithm() -> None:
    found = contraction.eigenvalue_2(split_mixing(near(1, -20_000, 4), near(2, 0, 4), 0.125))
    assert found.value is None
    assert found.details["log10"] < -6000


def test_the_second_eigenvalue_of_equal_rows_is_no_positive_number() -> None:
    assert not contraction.eigenvalue_2(whole(np.full((3, 3), 1 / 3))).value


def test_the_second_eigenvalue_of_rows_that_do_not_add_up_to_one_is_that_of_numpy() -> None:
    weights = np.array([[0.3, 0.2, 0.5], [0.1, 0.9, 0.3], [0.2, 0.2, 0.8]])
    for each in (weights, np.tril(weights), np.tril(weights) * [1, 1, -1]):
        found = contraction.eigenvalue_2(Whole(each, each.sum(axis=1) - 1, 0.0, 0.0))
        assert found.value is None or found.value == pytest.approx(second(each), rel=ROUNDING)


def test_one_row_has_one_eigenvalue() -> None:
    assert contraction.eigenvalue_2(whole(np.ones((1, 1)))).value is None


# -------------------------------------------------------------------------------------------------- maps, gradients


@pytest.mark.parametrize("name", ["relu", "gelu"])
@pytest.mark.parametrize("seed", range(3))
def test_no_pair_is_stretched_by_more_than_the_lipschitz_bound(name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    into = Linear(random.standard_normal((3, 12)), random.standard_normal(12))
    back = Linear(random.standard_normal((12, 3)), random.standard_normal(3))
    bound = contraction.mlp_lipschitz(Mlp(into, back, name)).value
    phi = ACTIVATIONS.build(name).function
    x = random.standard_normal((2000, 3)) * 3
    y = x + random.standard_normal((2000, 3)) * 10.0 ** random.uniform(-3, 1, (2000, 1))

    def mapped(points: Float64) -> Float64:
        assert into.bias is not None
        return np.asarray(phi(points @ into.weights + into.bias) @ back.weights)

    stretch = np.linalg.norm(mapped(x) - mapped(y), axis=1) / np.linalg.norm(x - y, axis=1)
    assert 0.1 * bound < stretch.max() <= bound


def test_the_lipschitz_bound_is_attained_by_one_number() -> None:
    one = Linear(np.array([[2.0]]))
    assert contraction.mlp_lipschitz(Mlp(one, one, "relu")).value == 4.0
    gelu = contraction.mlp_lipschitz(Mlp(one, one, "gelu")).value
    at = np.array([math.sqrt(2) - 1e-5, math.sqrt(2) + 1e-5])
    below, above = ACTIVATIONS.build("gelu").function(at)
    assert gelu == pytest.approx(4 * (above - below) / 2e-5, rel=1e-9)


def test_gradients_that_cancel_are_null_below_the_rounding_floor() -> None:
    far, close = Gradients(0.1, 0.01, 0.001, -1.0), Gradients(0.1, 0.01, 0.001, -9.0)
    names = ("log10_gradient_query", "log10_gradient_key", "log10_gradient_value")
    for name, value in zip(names, (-1.0, -2.0, -3.0), strict=True):
        assert DEPTH_MEASURES[name].function(far).value == pytest.approx(value)
    found = [DEPTH_MEASURES[name].function(close) for name in names]
    assert [each.value for each in found] == [None, None, pytest.approx(-3.0)]
    assert [each.high for each in found[:2]] == [pytest.approx(-1.0), pytest.approx(-2.0)]
    assert contraction.log10_gradient_value(Gradients(0.0, 0.0, 0.0, -1.0)).because == "zero in float64"


def test_every_measure_of_depth_needs_one_known_thing_and_says_what_it_is() -> None:
    for entry in DEPTH_MEASURES:
        measure = entry.function
        assert measure.need.__name__ in {
            "Distance", "History", "Plain", "Tokens", "Mixing", "Mlp", "Graph", "Gradients",
        }  # fmt: skip
        assert measure.name == entry.name.replace("-", "_")
    assert issubclass(Split, DEPTH_MEASURES["log10_dobrushin"].function.need)
