"""Which calls are attention: every way to write it is seen once and changed in nothing, and nothing else is seen."""

from typing import Any

import pytest
import torch
from torch import nn

from rankscope.generators.capture.interception import Call, Fused, Interception, Written, factors
from tests.generators.capture.written import FLAT, FORMS, HEADS, NONE, SUMS, TEXTS, TOKENS, D, model_of, tokens

EVERY = {**FORMS, **FLAT, **SUMS}
ONE_TEXT = ("of two axes", "of values without axis")


def seen_in(model: nn.Module, *given: Any, **named: Any) -> tuple[list[Call], Any]:
    """The calls of attention that a model makes, and what it returns."""
    calls: list[Call] = []
    with torch.no_grad(), Interception(calls.append):
        found = model(*given, **named)
    return calls, found


def only(calls: list[Call]) -> Written:
    [call] = calls
    assert isinstance(call, Written)
    return call


# --------------------------------------------------------------------------------------------------- written out


@pytest.mark.parametrize("name", EVERY)
def test_each_form_is_seen_once_with_the_weights_that_it_uses(name: str) -> None:
    model = model_of(EVERY[name])
    calls, (_, weights) = seen_in(model, tokens())
    call = only(calls)
    assert call.columns == TOKENS
    assert torch.equal(call.weights[..., :TOKENS], weights)
    assert torch.equal(torch.softmax(call.scores, dim=-1)[..., :TOKENS], weights)


@pytest.mark.parametrize("name", EVERY)
def test_nothing_that_is_computed_changes_by_a_bit(name: str) -> None:
    model = model_of(EVERY[name])
    with torch.no_grad():
        plain = model(tokens())
    _, watched = seen_in(model, tokens())
    assert all(torch.equal(one, other) for one, other in zip(plain, watched, strict=True))


@pytest.mark.parametrize("name", [*FORMS, *FLAT])
def test_queries_and_keys_are_among_the_products_before(name: str) -> None:
    """Their product is the scores but for a factor, a row's own number, a cap and a mask."""
    call = only(seen_in(model_of(EVERY[name]), tokens())[0])
    heads = 1 if name in ONE_TEXT else TEXTS if name == "of three axes" else TEXTS * HEADS
    shapes = [(left.shape[-2:], right.shape[-2:]) for left, right in call.products]
    assert ((TOKENS, D), (TOKENS, D)) in shapes
    assert call.scores.numel() == heads * TOKENS * call.scores.shape[-1]


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_attention_is_not_seen(name: str) -> None:
    assert seen_in(model_of(NONE[name]), tokens())[0] == []


def test_fewer_queries_than_keys_and_more() -> None:
    for rows, columns in ((3, 7), (7, 3), (1, 6), (6, 1)):
        call = only(seen_in(model_of(FORMS["by matmul"]), tokens(rows), tokens(columns))[0])
        assert tuple(call.scores.shape) == (TEXTS, HEADS, rows, columns)


def test_a_single_key_beside_a_sink_is_seen() -> None:
    call = only(seen_in(model_of(FORMS["with a sink"]), tokens(1))[0])
    assert (call.columns, call.scores.shape[-1]) == (1, 2)


def test_a_product_between_softmax_and_its_values_is_not_taken_for_them() -> None:
    """It is as wide as the weights less one, as if the last key were a sink."""
    assert only(seen_in(model_of(FORMS["with values projected after softmax"]), tokens(D + 1))[0]).columns == D + 1


def test_what_one_call_of_softmax_left_open_is_no_part_of_the_next_model() -> None:
    """A classifier of five classes, and then a product with five columns."""
    calls: list[Call] = []
    mode = Interception(calls.append)
    with torch.no_grad(), mode:
        torch.ones(2, 3, 5) @ torch.ones(2, 5, 5)
        torch.softmax(torch.ones(2, 3, 5), dim=-1)
        mode.forget()
        torch.ones(2, 3, 5) @ torch.ones(2, 5, 4)
    assert calls == []


def test_only_the_last_axis_of_two_to_four_counts() -> None:
    calls: list[Call] = []
    q, v = torch.randn(2, 3, 3), torch.randn(2, 3, 4)
    with Interception(calls.append):
        for dim in (0, 1, -2):
            torch.softmax(q @ q.mT, dim=dim) @ v
        assert calls == []
        for dim in (2, -1):
            torch.softmax(q @ q.mT, dim=dim) @ v
        torch.softmax(input=q @ q.mT, dim=2) @ v
    assert len(calls) == 3


def test_empty_attention_is_no_attention() -> None:
    calls: list[Call] = []
    with Interception(calls.append):
        torch.softmax(torch.ones(0, 2) @ torch.ones(3, 2).T, dim=-1) @ torch.ones(3, 2)
    assert calls == []


def test_weights_that_are_not_numbers_are_seen() -> None:
    calls: list[Call] = []
    query = torch.full((2, 3), torch.nan)
    with Interception(calls.append):
        torch.softmax(query @ torch.ones(4, 3).T, dim=-1) @ torch.ones(4, 2)
        torch.softmax(torch.cat([query @ torch.ones(4, 3).T, torch.ones(2, 1)], 1), dim=-1)[:, :-1] @ torch.ones(4, 2)
    assert [call.columns for call in calls if isinstance(call, Written)] == [4, 4]


# ------------------------------------------------------------------------------------------------------------ fused


def test_the_arguments_of_the_fused_function_are_told_apart_however_they_are_given() -> None:
    query, key, value = (torch.randn(2, 4, count, 8) for count in (3, 5, 5))
    mask = torch.ones(3, 5, dtype=torch.bool)
    calls: list[Call] = []
    attend = nn.functional.scaled_dot_product_attention
    with Interception(calls.append):
        first = attend(query, key, value)
        attend(query, key, value, mask, 0.25, False, scale=0.5)
        attend(query=query, key=key[:, :2], value=value[:, :2], is_causal=True, enable_gqa=True)
    assert all(isinstance(each, Fused) for each in calls)
    plain, masked, grouped = calls
    assert isinstance(plain, Fused)
    assert isinstance(masked, Fused)
    assert isinstance(grouped, Fused)
    assert plain.query is query
    assert plain.out is first
    assert (plain.mask, plain.causal, plain.scale, plain.dropout) == (None, False, None, 0.0)
    assert masked.mask is mask
    assert (masked.scale, masked.dropout) == (0.5, 0.25)
    assert (grouped.key.shape[1], grouped.causal) == (2, True)


# ------------------------------------------------------------------------------------------------ torch's own module


@pytest.mark.parametrize("weights", [True, False])
def test_the_body_of_multihead_attention_is_seen_with_its_heads(weights: bool) -> None:
    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, 2, batch_first=True)
    given = torch.randn(3, 5, 8)
    [call], _ = seen_in(module, given, given, given, need_weights=weights)
    if weights:
        assert isinstance(call, Written)
        assert (call.heads, tuple(call.scores.shape)) == (2, (6, 5, 5))
    else:
        assert isinstance(call, Fused)
        assert tuple(call.query.shape) == (3, 2, 5, 4)


def test_the_heads_of_one_module_are_not_those_of_what_comes_later() -> None:
    module, given = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(3, 5, 8)
    calls: list[Call] = []
    with Interception(calls.append):
        module(given, given, given)
        torch.softmax(given @ given.mT, dim=-1) @ given
    assert [call.heads for call in calls if isinstance(call, Written)] == [2, None]


def test_two_modes_see_the_same_and_not_each_other() -> None:
    """What one of them computes of a call is no attention for the other, and both know the heads."""
    module, given = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(3, 5, 8)
    outer: list[Call] = []
    inner: list[Call] = []

    def compared(call: Call) -> None:
        inner.append(call)
        assert isinstance(call, Written)
        torch.softmax(call.scores @ call.scores.mT, dim=-1) @ call.scores

    with Interception(outer.append), Interception(compared):
        module(given, given, given)
    assert [call.heads for call in outer if isinstance(call, Written)] == [2]
    assert [call.heads for call in inner if isinstance(call, Written)] == [2]


def test_an_error_in_the_body_leaves_the_mode_as_it_was() -> None:
    calls: list[Call] = []
    given = torch.randn(1, 4, 8)
    module = nn.MultiheadAttention(8, 2, batch_first=True)
    with Interception(calls.append), pytest.raises(AssertionError, match="embedding dim"):
        module(given[..., :6], given, given)
    assert calls == []
    with Interception(calls.append):
        module(given, given, given)
    assert len(calls) == 1


def test_an_error_while_a_call_is_handed_on_leaves_nothing_behind() -> None:
    def failing(call: Call) -> None:
        raise RuntimeError("refused")

    query = torch.randn(2, 3)
    with Interception(failing), pytest.raises(RuntimeError, match="refused"):
        torch.softmax(query @ query.T, dim=-1) @ query
    calls: list[Call] = []
    with Interception(calls.append):
        torch.softmax(query @ query.T, dim=-1) @ query
    assert len(calls) == 1


# --------------------------------------------------------------------------------------------------------- factors


@pytest.mark.parametrize(
    "equation",
    ["bhid,bhjd->bhij", "bihd,bjhd->bhij", "ibnd,jbnd->bnij", "id,jd->ij", "bid,bdj->bij", "...id,...jd->...ij",
     "dbi,dbj->bij", "b i d , b j d -> b i j"],
)  # fmt: skip
def test_an_equation_is_the_product_of_rows_that_it_says(equation: str) -> None:
    sides = equation.replace(" ", "").replace("...", "xy").partition("->")[0].split(",")
    sizes = {letter: 2 + number for number, letter in enumerate(sorted({*sides[0], *sides[1]}))}
    left, right = (torch.randint(-9, 9, [sizes[letter] for letter in side]).double() for side in sides)
    pair = factors("einsum", (equation,), [left, right])
    assert pair is not None
    assert torch.equal(pair[0] @ pair[1].mT, torch.einsum(equation, left, right)), "whole numbers are exact"


@pytest.mark.parametrize(
    "equation",
    ["bhid,hde->bhie", "bid,bjd->bji", "bid,bjd->b", "ii,ij->ij", "bid,bjd", "id,jd,kd->ijk", "bid,ejd->bij",
     "bid,bjdd->bij", "id,je->ij"],
)  # fmt: skip
def test_other_equations_are_none(equation: str) -> None:
    sides = equation.partition("->")[0].split(",")
    left, right = (torch.ones([2] * len(side)) for side in sides[:2])
    assert factors("einsum", (equation,), [left, right]) is None


def test_an_equation_of_other_sizes_than_its_tensors_is_none() -> None:
    assert factors("einsum", ("...id,...jd->...ij",), [torch.ones(2, 3, 4), torch.ones(5, 4)]) is None


def test_vectors_are_no_queries() -> None:
    assert factors("matmul", (), [torch.ones(3), torch.ones(3, 2)]) is None
    assert factors("matmul", (), [torch.ones(2, 3), torch.ones(3)]) is None
