"""What features are made of: cosines of distances, and softmaxes over features and over tokens."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankscope.attention import naive
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.kernels import KERNELS, FeatureKernel
from rankscope.attention.maps import on_a_quarter_turn, over_features, over_tokens, softmax
from rankscope.attention.operators import Factored
from rankscope.attention.positions import Place
from tests.oracles import EPS, UNIT, Float64

SEEDS = st.integers(0, 2**32 - 1)


def tokens(seed: int, rows: int, columns: int, d: int) -> tuple[Float64, Float64]:
    random = np.random.default_rng([9, seed])
    return random.standard_normal((rows, d)), random.standard_normal((columns, d))


# ------------------------------------------------------------------------------------------------------------ cosFormer


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 12), st.integers(1, 12), st.integers(1, 6))
def test_products_of_cosformer_are_weighted_by_the_cosine_of_the_distance(
    seed: int, rows: int, columns: int, d: int
) -> None:
    """cos(a − b) = cos a·cos b + sin a·sin b with a = πi/2M; queries are the last of the keys, or some stand before."""
    q, k = tokens(seed, rows, columns, d)
    i, j, place = np.arange(columns - rows, columns), np.arange(columns), Place(columns)
    left, right = on_a_quarter_turn(q, i, place), on_a_quarter_turn(k, j, place)
    assert left.shape == (rows, 2 * d)
    found = left @ right.T
    for a in range(rows):
        for b in range(columns):
            own = naive.dot([max(x, 0.0) for x in q[a]], [max(x, 0.0) for x in k[b]])
            expected = own * math.cos(math.pi * (int(i[a]) - b) / (2 * columns))
            # 2d products, cosines and sines each, and angles of at most π·max(1, rows/columns)/2, rounded thrice
            units = 4 * d + 16 + 8 * max(1.0, rows / columns)
            assert abs(found[a, b] - expected) <= units * UNIT * max(own, 0.0)


def test_weights_of_cosformer_fall_from_one_to_nothing_with_the_distance() -> None:
    """Equal tokens: what is left is the cosine, 1 at the query itself and sin(π/2n) at the farthest key."""
    n = 8
    ones = np.ones((n, 1))
    index = np.arange(n)
    found = on_a_quarter_turn(ones, index, Place(n)) @ on_a_quarter_turn(ones, index, Place(n)).T
    assert np.diagonal(found) == pytest.approx(1.0, abs=4 * EPS)
    assert (np.diff(found[0]) < 0).all()
    assert found[0, -1] == pytest.approx(math.sin(math.pi / (2 * n)), abs=4 * EPS)
    assert np.allclose(found, found.T, rtol=0, atol=4 * EPS)
    assert (found > 0).all()


def test_features_of_cosformer_have_the_length_of_relu() -> None:
    q, _ = tokens(0, 9, 9, 5)
    found = on_a_quarter_turn(q, np.arange(9), Place(9))
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.linalg.norm(np.maximum(q, 0), axis=1), rel=16 * EPS)
    assert (found >= 0).all()


@pytest.mark.parametrize(("rows", "columns"), [(7, 7), (3, 8)])
@pytest.mark.parametrize("mask", ["bidirectional", "causal"])
def test_cosformer_is_its_article_divided_by_the_sums_of_its_rows(rows: int, columns: int, mask: str) -> None:
    q, k = (np.abs(each) for each in tokens(1, rows, columns, 4))
    made = np.asarray(single(attention(q, k, kernel="cosformer", mask=mask)).matrix)
    for a in range(rows):
        place = a + columns - rows
        seen = range(columns if mask == "bidirectional" else place + 1)
        weights = [naive.cosine_weighted(q[a].tolist(), k[b].tolist(), place, b, columns) for b in seen]
        assert made[a, : len(weights)] == pytest.approx([x / math.fsum(weights) for x in weights], rel=128 * UNIT)
        assert not made[a, len(weights) :].any()


def test_cosformer_has_twice_as_many_features_as_tokens_have_numbers() -> None:
    q, k = (np.abs(each) for each in tokens(2, 12, 12, 3))
    made = single(attention(q, k, kernel="cosformer"))
    assert made.structure.rank_bound.value == 6
    assert np.linalg.matrix_rank(made.matrix) == 6
    assert single(attention(np.ones((9, 1)), np.ones((9, 1)), kernel="cosformer")).structure.rank_bound.value == 2


@pytest.mark.parametrize("name", ["cosformer", "efficient", "linear", "taylor"])
def test_where_there_is_no_key_a_row_has_no_weight(name: str) -> None:
    made = single(attention(np.ones((2, 3)), np.zeros((0, 3)), kernel=name, empty_rows="zero"))
    assert made.shape == (2, 0)


# ------------------------------------------------------------------------------------------------------------ efficient


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 9), st.integers(1, 7), st.sampled_from([0.1, 1.0, 30.0, 700.0]))
def test_a_softmax_is_one_over_features_and_one_over_tokens(seed: int, n: int, d: int, size: float) -> None:
    x = tokens(seed, n, 1, d)[0] * size
    for found, rows in ((over_features(x), x.tolist()), (over_tokens(x).T, x.T.tolist())):
        for own, row in zip(found, rows, strict=True):
            shifted = [a - max(row) for a in row]  # the exponential of 700 and more is beyond float64
            # exp passes the rounding of its argument on, of at most |x|: 2|x| units and 8 of its own; sum and quotient
            allowed = [(3 * abs(a) + n + d + 16) * UNIT * math.exp(a) + 1e-320 for a in shifted]
            expected = naive.exponentials(shifted)
            assert all(abs(a - b) <= c for a, b, c in zip(own, expected, allowed, strict=True))
            assert math.fsum(own) == pytest.approx(1.0, abs=(n + d + 8) * UNIT)


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 9), st.integers(1, 9), st.integers(1, 6))
def test_rows_of_efficient_attention_sum_to_one_before_they_are_divided(
    seed: int, rows: int, columns: int, d: int
) -> None:
    """Σ_j Σ_c ρ(q)_ic κ(k)_jc = Σ_c ρ(q)_ic = 1: dividing by the sum changes nothing but rounding."""
    q, k = tokens(seed, rows, columns, d)
    left, right = over_features(q), over_tokens(k)
    sums = (left @ right.T).sum(axis=1)
    assert sums == pytest.approx([1.0] * rows, abs=4 * (columns + d + 8) * UNIT)
    made = single(attention(q, k, kernel="efficient"))
    assert isinstance(made, Factored)
    expected = np.array(naive.efficient(q.tolist(), k.tolist()))
    assert (np.abs(np.asarray(made.matrix) - expected) <= 8 * (columns + d + 16) * UNIT * expected).all()
    assert made.structure.row_sum.value == 1.0
    assert made.structure.rank_bound.value == min(rows, columns, d)


def test_keys_of_efficient_attention_look_at_all_tokens_and_queries_at_themselves() -> None:
    """One key that is changed changes what all keys weigh; one query that is changed changes its own row."""
    q, k = tokens(3, 6, 6, 3)
    before = np.asarray(single(attention(q, k, kernel="efficient")).matrix)
    other = k.copy()
    other[5] += 1.0
    assert (np.asarray(single(attention(q, other, kernel="efficient")).matrix) != before).all()
    moved = q.copy()
    moved[2] += np.arange(3)
    changed = np.asarray(single(attention(moved, k, kernel="efficient")).matrix) != before
    assert changed[2].any()
    assert not np.delete(changed, 2, axis=0).any()


def test_shifts_of_tokens_that_a_softmax_does_not_see_change_nothing() -> None:
    """Whole numbers added to each query, and to each feature of the keys, where they are exact."""
    random = np.random.default_rng(4)
    q, k = np.round(random.standard_normal((2, 6, 4)) * 16) / 16
    moved = q + random.integers(-5, 6, (6, 1)), k + random.integers(-5, 6, (1, 4))
    one, two = (np.asarray(single(attention(*each, kernel="efficient")).matrix) for each in ((q, k), moved))
    assert np.array_equal(one, two)


def test_equal_tokens_are_uniform_and_large_ones_do_not_overflow() -> None:
    same = np.asarray(single(attention(np.ones((4, 3)), np.ones((5, 3)), kernel="efficient")).matrix)
    assert same == pytest.approx(np.full((4, 5), 0.2), rel=16 * UNIT)
    large = np.array([[1e300, -1e300], [-1e300, 1e300]])
    assert np.asarray(single(attention(large, large, kernel="efficient")).matrix).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_a_softmax_of_nothing_is_nothing() -> None:
    for axis in (0, 1):
        for shape in ((0, 3), (3, 0), (0, 0)):
            assert softmax(np.zeros(shape), axis).shape == shape


def test_kernels_that_look_at_all_keys_say_so() -> None:
    """A mask that hides a key would show it through the others."""
    for name in ("linear", "favor", "cosformer", "efficient", "taylor", "hedgehog", "focused"):
        kernel = KERNELS.build(name)
        assert isinstance(kernel, FeatureKernel)
        assert (kernel.keys is not None, kernel.masks == "everything") == ((name == "efficient"),) * 2
