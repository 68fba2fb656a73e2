"""The log diagonal of products and means, against exact rationals."""

from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.diagonal import diagonal
from rankscope.attention.existing import single
from rankscope.attention.operators import Mean, Operator, Product
from tests.oracles import (
    DIGITS_60,
    SEES,
    UNIT,
    away,
    ball,
    dyadic,
    exact_scores,
    inside,
    log_determinant,
    precision,
    seen_by,
    softmax,
)

SIZE, HEAD = 5, 4


def heads(mask: str, count: int, scale: float) -> tuple[list[Operator], list[Any]]:
    """Attention matrices, and the exact softmax of their scores (inside a precision)."""
    operators: list[Operator] = []
    truths: list[Any] = []
    for head in range(count):
        queries, keys = dyadic(np.random.default_rng(head), 2, SIZE, HEAD)
        operators.append(single(attention(queries, keys, mask=mask, scale=scale)))
        truths.append(softmax(exact_scores(queries, keys, scale), seen_by(SEES[mask], SIZE, SIZE)))
    return operators, truths


@pytest.mark.parametrize("scale", [0.25, 1.0, 16.0, 256.0])
@pytest.mark.parametrize("mask", ["causal", "anticausal"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_products_and_means_of_one_side_keep_the_exact_diagonal(mask: str, scale: float, count: int) -> None:
    with precision(DIGITS_60 * 8):
        operators, truths = heads(mask, count, scale)
        product, total = truths[0], truths[0]
        for truth in truths[1:]:
            product, total = product * truth, total + truth
        for composed, exact, factor in (
            (Product(tuple(operators)), product, 1),
            (Mean(tuple(operators)), total, count),
        ):
            own = diagonal(composed)
            assert own is not None
            for i in range(SIZE):
                log = (exact[i, i] / factor).log()
                assert own.sign[i] == 1
                assert away(own.log[i], log) <= own.error[i], (type(composed), i)
                assert own.error[i] <= 100 * UNIT * count * (1 + 256 * scale)
            found = rs.logdet(composed)
            sign, whole = log_determinant(exact)
            assert sign == found.sign == 1
            assert found.guarantee == "proved"
            shift = ball(factor).log() * SIZE
            assert inside(found.low, whole - shift, found.high)


def test_no_diagonal_is_claimed_where_sides_differ() -> None:
    forward, backward = (heads(mask, 1, 1.0)[0][0] for mask in ("causal", "anticausal"))
    assert diagonal(Mean((forward, backward))) is None
    assert diagonal(Product((forward, backward))) is None


def test_zeros_of_a_strict_triangle_stay_zeros() -> None:
    strict = single(attention(*dyadic(np.random.default_rng(0), 2, SIZE, HEAD), mask="~anticausal"))
    loose = heads("causal", 1, 1.0)[0][0]
    product, mean = diagonal(Product((strict, loose))), diagonal(Mean((strict, loose)))
    assert product is not None
    assert mean is not None
    assert product.sign.tolist() == [0] * SIZE
    assert mean.sign.tolist() == [1] * SIZE
    assert rs.logdet(Product((strict, loose))).sign == 0
    assert rs.logdet(Mean((strict, loose))).sign == 1
    assert rs.logdet(Mean((strict, strict))).sign == 0


def test_negative_diagonals_are_not_averaged_in_log_space() -> None:
    """diag(−1, 2) and diag(1, 2): their mean diag(0, 2) is singular, and nothing may say otherwise."""
    mean = Mean((single(np.diag([-1.0, 2.0])), single(np.diag([1.0, 2.0]))))
    assert diagonal(mean) is None
    assert rs.logdet(mean).sign in (None, 0)
