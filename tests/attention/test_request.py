"""Rows that see nothing: refused with their numbers, or kept, dropped or made uniform as asked, and noted."""

from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.operators import Operator
from rankscope.errors import MaskError, RankscopeError
from tests.oracles import UNIT

QUERIES, KEYS = np.random.default_rng(7).standard_normal((2, 5, 4))
PADDED = np.tril(np.ones((5, 5), dtype=bool))
PADDED[:, :2] = False
"""Left padding: the first two keys are hidden from everybody, so queries 0 and 1 see nothing."""


def attend(mask: Any, kernel: str = "softmax", **options: Any) -> Operator:
    return single(attention(QUERIES, KEYS, mask=mask, kernel=kernel, **options))


def noted(operator: Operator, count: int, word: str) -> bool:
    """Whether one note says how many rows there were and what was done to them."""
    (note,) = operator.origin.notes
    return str(count) in note and word in note


@pytest.mark.parametrize("kernel", ["softmax", "linear"])
def test_rows_that_see_nothing_are_refused_with_their_numbers(kernel: str) -> None:
    with pytest.raises(MaskError, match="RS120") as caught:
        attend(PADDED, kernel)
    assert "2 rows: 0, 1 " in caught.value.given
    assert "--empty-rows" in caught.value.remedy


def test_a_long_list_of_rows_is_cut_after_five() -> None:
    mask = np.zeros((9, 5), dtype=bool)
    mask[-1] = True
    with pytest.raises(MaskError) as caught:
        attention(np.zeros((9, 1)), np.zeros((5, 1)), mask=mask)
    assert "8 rows: 0, 1, 2, 3, 4, … " in caught.value.given


@pytest.mark.parametrize("kernel", ["softmax", "linear"])
def test_zero_keeps_zero_rows(kernel: str) -> None:
    operator = attend(PADDED, kernel, empty_rows="zero")
    held = np.asarray(operator.matrix)
    assert operator.shape == (5, 5)
    assert (held[:2] == 0).all()
    assert np.allclose(held[2:].sum(axis=1), 1.0, rtol=0, atol=16 * UNIT)
    assert operator.structure.rank_bound.value <= 3
    assert rs.rank_exact(operator).value in (None, 3)
    assert rs.logdet(operator).sign == 0
    assert rs.row_entropy(operator).details["rows_left_out"] == 2
    assert noted(operator, 2, "zero rows")


@pytest.mark.parametrize("kernel", ["softmax", "linear"])
def test_drop_leaves_the_rows_out(kernel: str) -> None:
    operator = attend(PADDED, kernel, empty_rows="drop")
    kept = np.asarray(attend(PADDED, kernel, empty_rows="zero").matrix)[2:]
    assert operator.shape == (3, 5)
    assert np.array_equal(operator.matrix, kept)
    assert rs.logdet(operator).sign is None
    assert noted(operator, 2, "dropped")


@pytest.mark.parametrize("kernel", ["softmax", "linear", "linear:identity"])
def test_uniform_sees_every_key_alike(kernel: str) -> None:
    mask = np.ones((5, 5), dtype=bool)
    mask[1] = False
    operator = attend(mask, kernel, empty_rows="uniform")
    held = np.asarray(operator.matrix)
    assert held[1].tolist() == [0.2] * 5
    others = [0, 2, 3, 4]
    assert np.array_equal(held[others], np.asarray(attend(mask, kernel, empty_rows="zero").matrix)[others])
    assert operator.support.tolist() == [5] * 5
    assert noted(operator, 1, "made uniform")


def test_dropping_a_row_leaves_a_square_matrix_its_determinant() -> None:
    """Four queries are left of five, for four keys: the kept rows are lower triangular again."""
    mask = np.concatenate([np.zeros((1, 4), dtype=bool), np.tril(np.ones((4, 4), dtype=bool))])
    operator = single(attention(QUERIES, KEYS[:4], mask=mask, empty_rows="drop"))
    assert operator.shape == (4, 4)
    found = rs.logdet(operator)
    assert (found.sign, found.guarantee) == (1, "proved")
    assert np.isclose(float(found), np.log(np.diagonal(operator.matrix)).sum(), rtol=64 * UNIT, atol=64 * UNIT)


@pytest.mark.parametrize(("mask", "side", "row"), [("~causal", "upper", 4), ("~anticausal", "lower", 0)])
@pytest.mark.parametrize("kernel", ["softmax", "linear"])
def test_a_strict_triangle_implies_zero_and_notes_it(mask: str, side: str, row: int, kernel: str) -> None:
    operator = attend(mask, kernel)
    assert operator.structure.side.value == side
    assert (np.asarray(operator.matrix)[row] == 0).all()
    assert noted(operator, 1, "zero rows")
    found = rs.logdet(operator)
    assert (found.sign, found.guarantee) == (0, "proved")
    assert rs.rank_exact(operator).high == 4


@pytest.mark.parametrize("mask", ["~causal", "~anticausal"])
def test_an_explicit_policy_is_taken_before_the_implied_one(mask: str) -> None:
    assert attend(mask, empty_rows="drop").shape == (4, 5)
    assert (np.asarray(attend(mask, empty_rows="uniform").matrix) == 0.2).any()


def test_what_is_not_a_strict_triangle_implies_nothing() -> None:
    """At n = 3 the middle query of ~window:2 sees nothing, and entries stand on both sides of the diagonal."""
    with pytest.raises(MaskError, match="RS120") as caught:
        attention(QUERIES[:3], KEYS[:3], mask="~window:2")
    assert "row 1 " in caught.value.given
    assert noted(attend("causal & ~window:2"), 2, "zero rows")


def test_a_relu_row_that_vanishes_inside_a_strict_triangle_is_no_implied_zero() -> None:
    queries = np.array([[1.0], [-1.0], [1.0]])
    with pytest.raises(MaskError, match="RS120") as caught:
        attention(queries, np.ones((3, 1)), mask="~anticausal", kernel="linear:relu")
    assert "1" in caught.value.given


def test_an_unknown_policy_is_refused_with_the_nearest() -> None:
    with pytest.raises(RankscopeError, match="'uniform'") as caught:
        attention(QUERIES, KEYS, empty_rows="unifrom")  # type: ignore[arg-type]
    assert caught.value.code == "RS001"


def test_a_query_without_any_key_is_refused() -> None:
    with pytest.raises(MaskError, match="RS120"):
        attention(np.ones((2, 3)), np.ones((0, 3)))


def test_more_causal_queries_than_keys_leave_the_first_ones_empty() -> None:
    with pytest.raises(MaskError, match="2 rows: 0, 1 "):
        attention(np.ones((5, 2)), np.ones((3, 2)), mask="causal")
