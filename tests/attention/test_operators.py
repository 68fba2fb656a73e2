"""Ways to hold a matrix: what is held stays within its distance of what is meant, and parts multiply in their order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.distance import distance
from rankscope.attention.existing import single
from rankscope.attention.operators import Factored, Mean, Product, from_array, stored, stored_differs, weakest
from tests.oracles import (
    DIGITS_60,
    SEES,
    UNIT,
    Float64,
    balls,
    dyadic,
    exact_scores,
    frobenius,
    inside,
    normalised,
    precision,
    rational,
    seen_by,
    softmax,
)

SIZE, HEAD = 6, 4
SEEDS = st.integers(0, 2**32 - 1)


def pair(seed: int) -> tuple[Float64, Float64]:
    queries, keys = dyadic(np.random.default_rng(seed), 2, SIZE, HEAD)
    return queries, keys


@settings(max_examples=60)
@given(
    SEEDS,
    st.sampled_from([0.25, 1.0, 8.0]),
    st.lists(st.sampled_from(sorted(SEES)), min_size=1, max_size=4),
    st.sampled_from(["float64", "bfloat16"]),
)
def test_products_and_means_stay_within_their_distance(seed: int, scale: float, masks: list[str], dtype: str) -> None:
    """Of parts in bfloat16 too, whose own distance from the scores is all that counts."""
    tokens = [pair(seed + layer) for layer in range(len(masks))]
    parts = tuple(
        single(attention(*each, mask=mask, scale=scale, dtype=dtype)) for each, mask in zip(tokens, masks, strict=True)
    )
    product, mean = Product(parts), Mean(parts)
    with precision(DIGITS_60):
        truths = [
            softmax(exact_scores(*each, scale), seen_by(SEES[mask], SIZE, SIZE))
            for each, mask in zip(tokens, masks, strict=True)
        ]
        whole, total = truths[0], truths[0]
        for truth in truths[1:]:
            whole, total = whole * truth, total + truth
        norms = [float(frobenius(truth).mid()) for truth in truths]
        assert inside(None, frobenius(balls(product.matrix) - whole), distance(product))
        assert inside(None, frobenius(balls(mean.matrix) - total / len(masks)), distance(mean))
        # the bounds are a few hundred roundings of the product, or the sum, of the norms: not vacuous
        unit = 2.0**-8 / 100 if dtype == "bfloat16" else UNIT
        assert distance(product) <= 300 * len(masks) * unit * float(np.prod(norms))
        assert distance(mean) <= 300 * unit * float(np.sum(norms))


@given(SEEDS, st.integers(1, 3))
def test_factors_stay_within_their_distance(seed: int, features: int) -> None:
    queries, keys = (np.abs(tokens[:, :features]) + 0.125 for tokens in pair(seed))
    operator = single(attention(queries, keys, kernel="linear:identity"))
    assert isinstance(operator, Factored)
    truth = normalised(queries, keys, np.ones((SIZE, SIZE), dtype=bool))
    with precision(DIGITS_60):
        assert inside(None, frobenius(balls(operator.matrix) - balls(truth)), distance(operator))


def test_a_product_is_in_the_order_in_which_the_network_applies_its_layers() -> None:
    """A_2 · A_1 · A_0 of matrices that do not commute, in exact integers."""
    random = np.random.default_rng(0)
    layers = [random.integers(-3, 4, (4, 4)).astype(float) for _ in range(3)]
    product = Product(tuple(single(layer) for layer in reversed(layers)))
    exact = rational(layers[2]) * rational(layers[1]) * rational(layers[0])
    assert rational(np.asarray(product.matrix)) == exact
    token = np.arange(4.0)
    applied = layers[2] @ (layers[1] @ (layers[0] @ token))
    assert (product.matrix @ token == applied).all()


def test_the_product_over_layers_is_last_times_first() -> None:
    made = rs.synthetic(n=5, d=4, layers=3, plan="layers")
    assert isinstance(made, list)
    first, second, third, product = (np.asarray(each.matrix) for each in made)
    assert np.allclose(product, third @ second @ first, rtol=64 * UNIT, atol=0)
    assert not np.allclose(product, first @ second @ third, rtol=1e-3, atol=0)


def test_a_mean_is_entrywise() -> None:
    parts = tuple(single(np.full((2, 2), value)) for value in (1.0, 2.0, 6.0))
    assert Mean(parts).matrix.tolist() == [[3.0, 3.0], [3.0, 3.0]]
    assert (parts[0].matrix == 1.0).all(), "the first part is not the accumulator"


def test_the_subject_of_a_composition_is_its_weakest() -> None:
    scores = single(attention(*pair(0)))
    factors = single(attention(*pair(0), kernel="linear"))
    bare = single(np.eye(SIZE))
    assert [scores.subject, factors.subject, bare.subject] == ["scores", "factors", "stored"]
    assert Product((scores, scores)).subject == "scores"
    assert Product((scores, factors)).subject == "factors"
    assert Mean((scores, factors, bare)).subject == "stored"
    assert weakest(["scores"]) == "scores"


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_stored_numbers_differ_from_the_subject_where_bits_are_lost(dtype: str) -> None:
    operator = single(attention(*pair(0), mask="causal", dtype=dtype))
    assert bool(stored_differs(operator)) == (dtype != "float64")
    assert stored_differs(stored(operator)) == ""
    assert stored(operator).subject == "stored"
    assert np.array_equal(stored(operator).matrix, operator.matrix)
    assert stored(operator).support.tolist() == operator.support.tolist()


def test_underflow_on_the_diagonal_makes_the_stored_numbers_differ() -> None:
    lost = single(attention([[0.0], [40.0]], [[40.0], [0.0]], mask="causal"))
    assert stored_differs(lost) == "underflow: 1 diagonal weights are below the smallest float64 of full precision"
    strict = single(attention([[0.0], [40.0]], [[40.0], [0.0]], mask="~causal"))
    assert stored_differs(strict) == "", "a zero that the mask put there is no underflow"


def test_bare_numbers_know_their_diagonal() -> None:
    operator = from_array(np.array([[2.0, 0.0], [1.0, -0.5]]))
    assert operator.diagonal.sign.tolist() == [1, -1]
    assert np.allclose(operator.diagonal.log, [np.log(2.0), -np.log(2.0)], rtol=2 * UNIT, atol=0)
    zero = from_array(np.zeros((2, 2)))
    assert zero.diagonal.sign.tolist() == [0, 0]
