"""The exact matrix as balls and as integers: against rationals, against mpmath, and against threads."""

import functools
import math
import sys
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import flint
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankscope.attention import exact
from rankscope.attention.build import attention
from rankscope.attention.existing import matrix, single
from rankscope.attention.operators import Dense, Factored, Mean, Operator, Product
from rankscope.attention.subject import Pair, Products
from tests import oracles
from tests.oracles import Boolean, Float64, dyadic, exact_scores, rational, seen_by

SEEDS = st.integers(0, 2**32 - 1)
BITS = st.sampled_from([64, 128, 320])


def tokens(seed: int) -> tuple[Float64, Float64]:
    random = np.random.default_rng(seed)
    n, m, d = int(random.integers(1, 7)), int(random.integers(1, 7)), int(random.choice([1, 4]))
    return dyadic(random, n, d), dyadic(random, m, d)


def wild(seed: int) -> Float64:
    """Numbers of every size, from the smallest to 1e300, some of them zeros of either sign."""
    random = np.random.default_rng(seed)
    shape = random.integers(1, 7, 2)
    entries = random.standard_normal(shape) * 10.0 ** random.uniform(-300, 300, shape)
    special = random.choice([1.0, 0.0, -0.0, 5e-324, -(2.0**-1074) * 3, 2.0**-1022], shape)
    return np.asarray(np.where(random.random(shape) < 0.6, entries, special))


def fractions(held: Any) -> list[list[Fraction]]:
    """The entries of a rational matrix."""
    return [[Fraction(int(x.p), int(x.q)) for x in row] for row in held.tolist()]


def contained(found: Any, truth: Any) -> bool:
    """Whether balls contain rationals, entry by entry, in rationals: flint's `contains` would round them first."""
    assert (found.nrows(), found.ncols()) == (truth.nrows(), truth.ncols())
    return all(
        entry.is_finite() and abs(oracles.size_of(entry) - exactly) <= oracles.size_of(entry.rad())
        for row, line in zip(found.tolist(), fractions(truth), strict=True)
        for entry, exactly in zip(row, line, strict=True)
    )


def same(first: Any, second: Any) -> bool:
    """Whether two matrices of balls are the same balls."""
    return all((x.mid(), x.rad()) == (y.mid(), y.rad()) for x, y in zip(first.entries(), second.entries(), strict=True))


def narrow(found: Any, bits: int) -> bool:
    """Whether balls lose no more than a dozen bits of the working precision."""
    return all(x.rel_accuracy_bits() > bits - 12 for x in found.entries() if x != 0)


# --------------------------------------------------------------------------------------------------------------- balls


@given(SEEDS, BITS)
def test_stored_numbers_are_balls_of_radius_zero_at_any_precision(seed: int, bits: int) -> None:
    held = wild(seed)
    with exact.precision(bits):
        found = exact.balls(single(matrix(held)))
    assert all(entry.is_exact() for entry in found.entries())
    assert contained(found, rational(held))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_numbers_stored_in_fewer_bits_are_taken_as_they_are_stored(dtype: Any) -> None:
    held = np.random.default_rng(0).standard_normal((3, 4)).astype(dtype)
    with exact.precision(64):
        assert contained(exact.balls(single(matrix(held))), rational(held.astype(np.float64)))


def by_mpmath(scores: Float64, seen: Boolean) -> list[list[Any]]:
    """The softmax entry by entry in 80 digits."""
    rows = []
    for values, mask in zip(scores.tolist(), seen.tolist(), strict=True):
        weights = [mpmath.exp(mpmath.mpf(x)) if sees else mpmath.mpf(0) for x, sees in zip(values, mask, strict=True)]
        rows.append([weight / (mpmath.fsum(weights) or 1) for weight in weights])
    return rows


def holds(entry: Any, truth: Any) -> bool:
    """Whether a ball contains a number of mpmath, which is known to 80 digits: far better than the ball."""
    return bool(
        abs(oracles.to_mpmath(entry) - truth) <= oracles.to_mpmath(entry.rad()) + abs(truth) * mpmath.mpf("1e-75")
    )


@given(SEEDS, st.sampled_from(sorted(oracles.SEES)), st.integers(-7, 6), st.sampled_from([64, 128]))
def test_softmax_in_balls_contains_the_softmax_of_mpmath(seed: int, mask: str, power: int, bits: int) -> None:
    queries, keys = tokens(seed)
    scores = exact_scores(queries, keys, 2.0**power)
    seen = seen_by(oracles.SEES[mask], *scores.shape)
    made = single(attention(queries, keys, mask=mask, scale=2.0**power, empty_rows="zero"))
    with exact.precision(bits), mpmath.workdps(80):
        found = exact.balls(made)
        assert narrow(found, bits)
        for i, row in enumerate(by_mpmath(scores, seen)):
            for j, truth in enumerate(row):
                assert holds(found[i, j], truth), (i, j)
                assert bool(found[i, j] == 0) == (not seen[i, j])


def test_weights_that_underflow_are_not_zero() -> None:
    """Scores 0 and −1e6: float64 holds a zero, the ball does not; its size is that of mpmath."""
    made = single(attention([[1.0]], [[0.0], [-1e6]]))
    assert np.asarray(made.matrix)[0, 1] == 0.0
    with exact.precision(128), mpmath.workdps(80):
        found = exact.balls(made)[0, 1]
        assert found > 0
        assert holds(found, mpmath.exp(-(10**6)) / (1 + mpmath.exp(-(10**6))))


def test_scores_as_far_apart_as_float64_allows_give_balls_that_are_numbers() -> None:
    made = single(attention([[1e154]], [[1e154], [-1e154], [1.0], [0.0]]))
    with exact.precision(128):
        found = exact.balls(made).entries()
    assert all(entry.is_finite() for entry in found)
    assert found[0].contains(1)
    assert all(entry.abs_upper() < flint.arb(1e-300) for entry in found[1:])


@pytest.mark.parametrize("mask", ["causal", "bidirectional"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_storage_in_fewer_bits_leaves_the_exact_softmax_alone(mask: str, dtype: str) -> None:
    queries, keys = dyadic(np.random.default_rng(2), 5, 4), dyadic(np.random.default_rng(3), 5, 4)
    plain, fewer = (single(attention(queries, keys, mask=mask, dtype=each)) for each in ("float64", dtype))
    with exact.precision(128):
        assert same(exact.balls(plain), exact.balls(fewer))


FEATURES: dict[str, Callable[[Float64], Float64]] = {
    "linear:relu": lambda x: np.maximum(x, 0.0),
    "linear:identity": lambda x: x,
    "linear": lambda x: np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))),
}


@given(SEEDS, st.sampled_from(sorted(FEATURES)), st.sampled_from(["bidirectional", "causal", "window:2"]), BITS)
def test_products_of_features_in_balls_contain_the_exact_quotients(
    seed: int, kernel: str, mask: str, bits: int
) -> None:
    random = np.random.default_rng(seed)
    n, d = int(random.integers(1, 7)), int(random.integers(1, 4))
    shift = 2.5 if kernel == "linear:identity" else 0.0
    queries, keys = dyadic(random, n, d) + shift, dyadic(random, n, d) + shift
    made = single(attention(queries, keys, kernel=kernel, mask=mask, empty_rows="zero"))
    seen = seen_by(oracles.SEES[mask], n, n)
    truth = oracles.normalised(FEATURES[kernel](queries), FEATURES[kernel](keys), seen)
    with exact.precision(bits):
        assert contained(exact.balls(made), truth)
        assert exact.integers(made).rank() == truth.rank()


def test_bidirectional_linear_attention_is_held_as_factors_and_has_the_same_balls() -> None:
    queries, keys = np.abs(dyadic(np.random.default_rng(1), 6, 3)), np.abs(dyadic(np.random.default_rng(2), 6, 3)) + 1
    made = single(attention(queries, keys, kernel="linear:relu", empty_rows="zero"))
    assert isinstance(made, Factored)
    with exact.precision(128):
        truth = oracles.normalised(queries, keys, np.ones((6, 6), dtype=bool))
        assert contained(exact.balls(made), truth)


def test_rows_that_see_nothing_are_zero_or_uniform_as_asked() -> None:
    strict = np.tril(np.ones((4, 4), dtype=bool), -1)
    queries = np.abs(dyadic(np.random.default_rng(0), 4, 2)) + 1
    for kernel in ("softmax", "linear:relu"):
        zero = single(attention(queries, queries, kernel=kernel, mask=strict, empty_rows="zero"))
        uniform = single(attention(queries, queries, kernel=kernel, mask=strict, empty_rows="uniform"))
        with exact.precision(64):
            assert exact.balls(zero).entries()[:4] == [0] * 4
            assert all(entry.contains(flint.arb(0.25)) for entry in exact.balls(uniform).entries()[:4])
            assert exact.balls(zero).entries()[4] == 1


def parts(seed: int) -> tuple[list[Operator], list[Any]]:
    """Operators of one size whose exact matrices are rational, and those."""
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 6))
    held = random.standard_normal((n, n)) * 10.0 ** random.uniform(-250, 250, (n, 1))
    queries = np.abs(dyadic(random, n, 2)) + 0.0625
    seen = seen_by(oracles.SEES["causal"], n, n)
    made = [
        single(matrix(held)),
        single(attention(queries, queries, kernel="linear:relu", mask="causal")),
        single(attention(np.zeros((n, 1)), np.zeros((n, 1)))),
    ]
    truths = [rational(held), oracles.normalised(queries, queries, seen), rational(np.ones((n, n))) / n]
    return made, truths


@given(SEEDS, BITS)
def test_products_and_means_in_balls_contain_those_of_rationals(seed: int, bits: int) -> None:
    made, truths = parts(seed)
    with exact.precision(bits):
        product, mean = exact.balls(Product(tuple(made))), exact.balls(Mean(tuple(made)))
        assert contained(product, functools.reduce(lambda a, b: a * b, truths))
        assert contained(mean, functools.reduce(lambda a, b: a + b, truths) / 3)
        nested = exact.balls(Product((Mean((made[0], made[1])), made[2])))
        assert contained(nested, (truths[0] + truths[1]) / 2 * truths[2])


def test_the_order_of_a_product_is_that_of_its_parts() -> None:
    first, second = np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    with exact.precision(64):
        found = exact.balls(Product((single(matrix(first)), single(matrix(second)))))
    assert found.entries() == [3, 4, 0, 0]


def test_empty_matrices_are_empty_balls_and_integers() -> None:
    for shape in ((0, 0), (0, 3), (3, 0)):
        made = single(matrix(np.zeros(shape)))
        with exact.precision(64):
            assert (exact.balls(made).nrows(), exact.balls(made).ncols()) == shape
        assert (exact.integers(made).nrows(), exact.integers(made).ncols()) == shape


def test_what_is_complex_has_no_exact_matrix_and_what_is_no_operator_no_rule() -> None:
    held = single(matrix(np.array([[1j, 2.0], [3.0, 4.0]])))
    assert not exact.rational(held)
    assert exact.integers(held) is None
    with pytest.raises(TypeError, match="no rule for list"):
        exact.balls([[1.0]])  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- the diagonal


@given(SEEDS, st.sampled_from(["causal", "bidirectional", "window:2"]), st.integers(-7, 6))
def test_the_diagonal_of_a_softmax_in_logarithms_is_that_of_mpmath(seed: int, mask: str, power: int) -> None:
    queries, keys = tokens(seed)
    scores = exact_scores(queries, keys, 2.0**power)
    seen = seen_by(oracles.SEES[mask], *scores.shape)
    made = single(attention(queries, keys, mask=mask, scale=2.0**power, empty_rows="zero"))
    with exact.precision(128), mpmath.workdps(80):
        found = exact.log_diagonal(made)
        own = [(i, scores[i, i]) for i in range(min(scores.shape))]
        if any(not seen[i, i] for i, _ in own):
            assert found is None
            return
        assert found is not None
        for (i, score), entry in zip(own, found, strict=True):
            total = mpmath.fsum(
                mpmath.exp(mpmath.mpf(s)) for s, sees in zip(scores[i].tolist(), seen[i], strict=True) if sees
            )
            truth = mpmath.mpf(float(score)) - mpmath.log(total)
            assert entry.sign == 1
            assert abs(oracles.to_mpmath(entry.log) - truth) <= oracles.to_mpmath(entry.log.rad()) + mpmath.mpf("1e-70")
            assert entry.log.rad() < flint.arb(1e-30) * (1 + abs(flint.arb(float(score))))


@given(SEEDS)
def test_the_diagonal_of_stored_numbers_in_logarithms_keeps_sign_and_size(seed: int) -> None:
    held = wild(seed)
    own = np.diagonal(held).tolist()
    with exact.precision(128), mpmath.workdps(80):
        found = exact.log_diagonal(single(matrix(held)))
        if 0.0 in own:
            assert found is None
            return
        assert found is not None
        for value, entry in zip(own, found, strict=True):
            assert entry.sign == math.copysign(1, value)
            assert holds(entry.log, mpmath.log(abs(mpmath.mpf(value))))


def test_the_diagonal_keeps_weights_that_underflow_and_refuses_those_that_are_hidden() -> None:
    made = single(attention([[1.0], [1.0]], [[0.0], [-1e6]], mask="causal"))
    with exact.precision(128):
        found = exact.log_diagonal(made)
        assert found is not None
        assert found[0].log == 0
        assert abs(found[1].log + 10**6) < flint.arb(1e-30)
        strict = single(attention(np.ones((2, 1)), np.ones((2, 1)), mask=np.array([[True, True], [True, False]])))
        assert exact.log_diagonal(strict) is None


# ------------------------------------------------------------------------------------------------------------ integers


@given(SEEDS)
def test_rows_of_integers_are_rows_of_floats_times_the_least_power_of_two(seed: int) -> None:
    held = wild(seed)
    whole, truth = exact.of_floats(held).tolist(), fractions(rational(held))
    for integers, row in zip(whole, truth, strict=True):
        factors = {Fraction(int(a)) / b for a, b in zip(integers, row, strict=True) if b != 0}
        assert all(int(a) == 0 for a, b in zip(integers, row, strict=True) if b == 0)
        assert len(factors) <= 1
        for factor in factors:
            both = (factor.numerator, factor.denominator)
            assert all(each & (each - 1) == 0 for each in both), "a power of two"
            assert any(int(a) % 2 for a in integers), "and the least"


@given(SEEDS)
def test_integers_have_the_rank_of_the_floats(seed: int) -> None:
    held = wild(seed)
    assert exact.integers(single(matrix(held))).rank() == rational(held).rank()
    twice = np.vstack([held, held * 2.0**-3])
    if np.array_equal(twice[len(held) :] * 8, held):  # no float was lost below the smallest
        assert exact.integers(single(matrix(twice))).rank() == rational(held).rank()


def test_integers_of_masked_products_are_zero_where_nothing_is_seen() -> None:
    queries = dyadic(np.random.default_rng(0), 5, 2) + 3
    made = single(attention(queries, queries, kernel="linear:identity", mask="causal"))
    found = exact.integers(made)
    assert all((found[i, j] == 0) == (j > i) for i in range(5) for j in range(5))
    assert found.rank() == oracles.normalised(queries, queries, np.tril(np.ones((5, 5), dtype=bool))).rank() == 5


def test_features_of_huge_and_tiny_size_keep_their_rank() -> None:
    """Products of 1e-200 and 1e-200 underflow in float64; integers do not."""
    left = np.array([[1e-200, 1e150], [1e-200, -1e150], [3e-200, 1e-300]])
    right = np.array([[1e-200, 1e-100], [5e-200, 1e-130], [1e-160, 1e-300]])
    made = exact.of_products(Products(Pair(left, right), np.ones((3, 3), dtype=bool), np.zeros(3, dtype=bool)))
    assert made.rank() == (rational(left) * rational(right).transpose()).rank() == 2


def test_only_stored_numbers_and_given_features_are_rational() -> None:
    queries = np.abs(dyadic(np.random.default_rng(0), 4, 2)) + 1
    strict = np.tril(np.ones((4, 4), dtype=bool), -1)
    held, soft = single(matrix(np.eye(4))), single(attention(queries, queries))
    linear = single(attention(queries, queries, kernel="linear", mask="causal"))
    uniform = single(attention(queries, queries, kernel="linear", mask=strict, empty_rows="uniform"))
    assert [exact.rational(each) for each in (held, linear, soft, uniform)] == [True, True, False, False]
    assert [exact.rational(each((held, held))) for each in (Product, Mean)] == [False, False]
    assert all(exact.integers(each) is None for each in (soft, uniform, Product((held, held)), Mean((held, held))))


def test_copies_of_floats_in_fewer_bits_are_the_stored_matrix_and_features_are_not() -> None:
    """bfloat16 rounds the weights of linear attention, whose subject stays the exact quotient of rank 2."""
    queries = np.abs(dyadic(np.random.default_rng(0), 6, 2)) + 1
    made = single(attention(queries, queries, kernel="linear:relu", dtype="bfloat16"))
    assert isinstance(made, Dense)
    assert exact.integers(made).rank() == 2
    assert exact.of_floats(np.asarray(made.matrix)).rank() == rational(np.asarray(made.matrix)).rank() > 2


# ----------------------------------------------------------------------------------------------------------- precision


def test_precision_is_given_back_whatever_happens() -> None:
    before, seen = flint.ctx.prec, []

    def fails() -> None:
        with exact.precision(777):
            seen.append(flint.ctx.prec)
            with exact.precision(99):
                seen.append(flint.ctx.prec)
            seen.append(flint.ctx.prec)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert (seen, flint.ctx.prec) == ([777, 99, 777], before)


def test_two_threads_never_share_a_precision() -> None:
    wrong: list[tuple[int, int]] = []
    start = threading.Barrier(4)

    def work(bits: int) -> None:
        start.wait()
        for _ in range(200):
            with exact.precision(bits):
                third = 1 / flint.arb(3)
                if flint.ctx.prec != bits or abs(third.rel_accuracy_bits() - bits) > 3:
                    wrong.append((bits, flint.ctx.prec))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns within the block, not after it
    try:
        threads = [threading.Thread(target=work, args=(bits,)) for bits in (64, 100, 333, 1000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
