"""Masks: every expression answers as plain Python does, its facts are true, and what is typed badly is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.masks import (
    MASKS,
    Mask,
    anticausal,
    bidirectional,
    causal,
    dilated,
    global_tokens,
    left_padding,
    packed,
    padding,
    parse,
    prefix,
    strict,
    strided,
    window,
)
from rankscope.errors import RankscopeError, UsageError
from tests.oracles import seen_by

Sees = Callable[[int, int], bool]
Case = tuple[Mask, Sees, str]

SIZE = 6

BUILT_IN: list[Case] = [
    (bidirectional(), lambda i, j: True, "bidirectional"),
    (causal(), lambda i, j: not i < j, "causal"),
    (anticausal(), lambda i, j: not j < i, "anticausal"),
    *((prefix(p), lambda i, j, p=p: j in range(p) or not i < j, f"prefix:{p}") for p in (0, 1, 3, 9)),
    *((window(w), lambda i, j, w=w: abs(i - j) in range(w), f"window:{w}") for w in (1, 2, 4)),
    (strict(), lambda i, j: j in range(i), "strict"),
    *((dilated(s), lambda i, j, s=s: j in range(i % s, SIZE, s), f"dilated:{s}") for s in (1, 2, 5)),
    *(
        (
            strided(s),
            lambda i, j, s=s: not i < j and (j in range(i - s + 1, i + 1) or (j + 1) in range(0, 99, s)),
            f"strided:{s}",
        )
        for s in (1, 2, 3)
    ),
    *((global_tokens(c), lambda i, j, c=c: i in range(c) or j in range(c) or i == j, f"global:{c}") for c in (0, 1, 2)),
    *(
        (
            packed(n),
            lambda i, j, n=n: (
                [i in range(a, a + n) for a in range(0, 99, n)].index(True) * n
                <= j
                < [i in range(a, a + n) for a in range(0, 99, n)].index(True) * n + n
            ),
            f"packed:{n}",
        )
        for n in (1, 2, 4)
    ),
    *((padding(n), lambda i, j, n=n: j in range(n), f"padding:{n}") for n in (1, 3, 9)),
    *((left_padding(n), lambda i, j, n=n: j not in range(n), f"left-padding:{n}") for n in (0, 2)),
]

RANDOM = ("random:0:block=2", "random:0.4:block=2:seed=3", "random:1:block=3", "bigbird:2:1:0.3:block=2:seed=5")
"""Masks with random blocks, of which plain Python knows the properties and not the draws."""


def joined(pair: tuple[Case, Case], word: str) -> Case:
    (a, sees_a, text_a), (b, sees_b, text_b) = pair
    if word == "&":
        return a & b, lambda i, j: sees_a(i, j) and sees_b(i, j), f"({text_a} & {text_b})"
    return a | b, lambda i, j: sees_a(i, j) or sees_b(i, j), f"({text_a} | {text_b})"


def negated(case: Case) -> Case:
    mask, sees, text = case
    return ~mask, lambda i, j: not sees(i, j), f"~({text})"


EXPRESSIONS = st.recursive(
    st.sampled_from(BUILT_IN),
    lambda inner: (
        st.tuples(inner, inner).map(lambda pair: joined(pair, "&"))
        | st.tuples(inner, inner).map(lambda pair: joined(pair, "|"))
        | inner.map(negated)
    ),
    max_leaves=5,
)
"""A mask, the same in plain Python, and the same as text with every parenthesis written."""


def answers(mask: Mask, size: int = SIZE) -> np.ndarray[Any, np.dtype[np.bool_]]:
    index = np.arange(size)
    return np.broadcast_to(np.asarray(mask.allows(index[:, None], index[None, :])), (size, size))


@pytest.mark.parametrize("case", BUILT_IN, ids=lambda case: case[2])
def test_built_in_masks_pass_the_battery(case: Case) -> None:
    rs.testing.check_mask(case[0])


@pytest.mark.parametrize("case", BUILT_IN, ids=lambda case: case[2])
def test_built_in_masks_see_what_plain_python_sees(case: Case) -> None:
    mask, sees, text = case
    assert np.array_equal(answers(mask), seen_by(sees, SIZE, SIZE))
    assert np.array_equal(answers(parse(text)), seen_by(sees, SIZE, SIZE))


def test_every_registered_mask_is_among_the_cases() -> None:
    assert {text.partition(":")[0] for text in [*(case[2] for case in BUILT_IN), *RANDOM]} == set(MASKS.names())


@pytest.mark.parametrize("text", RANDOM)
def test_random_masks_pass_the_battery_and_are_the_same_again(text: str) -> None:
    rs.testing.check_mask(parse(text))
    assert np.array_equal(answers(parse(text), 40), answers(parse(text), 40))
    assert np.diagonal(answers(parse(text), 40)).all()


def test_random_blocks_are_whole_and_as_many_as_the_rate_says() -> None:
    seen = answers(parse("random:0.25:block=4:seed=1"), 800)
    blocks = np.asarray((seen & ~np.eye(800, dtype=bool)).reshape(200, 4, 200, 4).any(axis=(1, 3)))
    whole = np.asarray(seen.reshape(200, 4, 200, 4).all(axis=(1, 3)))
    off = ~np.eye(200, dtype=bool)
    assert np.array_equal(blocks[off], whole[off])
    share, deviation = blocks[off].mean(), np.sqrt(0.25 * 0.75 / off.sum())
    assert abs(share - 0.25) < 5 * deviation
    assert not np.array_equal(seen, answers(parse("random:0.25:block=4:seed=2"), 800))
    everything = answers(parse("random:1:block=4"), 12)
    assert everything.all()


def test_bigbird_is_the_union_of_its_parts() -> None:
    parts = parse("window:2 | global:1 | random:0.3:block=2:seed=5")
    assert np.array_equal(answers(parse("bigbird:2:1:0.3:block=2:seed=5"), 30), answers(parts, 30))


@pytest.mark.parametrize("text", ["dilated:0", "strided:0", "packed:0", "padding:0", "random:1.5", "random:-1"])
def test_a_parameter_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="RS002"):
        parse(text)


@given(EXPRESSIONS)
def test_expressions_pass_the_battery(case: Case) -> None:
    rs.testing.check_mask(case[0])


@pytest.mark.deep
@settings(max_examples=1000)
@given(EXPRESSIONS)
def test_many_expressions_pass_the_battery(case: Case) -> None:
    rs.testing.check_mask(case[0])


@settings(max_examples=200)
@given(EXPRESSIONS)
def test_expressions_see_what_plain_python_sees(case: Case) -> None:
    mask, sees, text = case
    truth = seen_by(sees, SIZE, SIZE)
    assert np.array_equal(answers(mask), truth)
    assert np.array_equal(answers(parse(text)), truth), "as it is typed"


@settings(max_examples=200)
@given(EXPRESSIONS)
def test_the_label_of_an_expression_stands_for_the_same_mask(case: Case) -> None:
    mask, sees, _ = case
    assert np.array_equal(answers(parse(mask.label)), seen_by(sees, SIZE, SIZE)), mask.label


def test_the_label_of_a_negated_conjunction_keeps_its_parentheses() -> None:
    mask = ~((causal() | window(2)) & (anticausal() | window(3)))
    assert np.array_equal(answers(parse(mask.label)), answers(mask)), mask.label


@settings(max_examples=200)
@given(EXPRESSIONS, st.integers(1, 7))
def test_facts_are_true_at_every_size(case: Case, size: int) -> None:
    mask, sees, _ = case
    pairs = [(i, j) for i in range(size) for j in range(size)]
    truths = {
        "lower": all(j <= i for i, j in pairs if sees(i, j)),
        "upper": all(i <= j for i, j in pairs if sees(i, j)),
        "diagonal": all(sees(i, i) for i in range(size)),
        "everything": all(sees(i, j) for i, j in pairs),
    }
    assert all(truths[fact] for fact in mask.facts), (mask.label, mask.facts)


@pytest.mark.parametrize(
    ("text", "sees"),
    [
        ("~causal & window:2", lambda i, j: j > i and abs(i - j) < 2),
        ("~(causal & window:2)", lambda i, j: not (j <= i and abs(i - j) < 2)),
        ("causal | anticausal & window:2", lambda i, j: j <= i or (j >= i and abs(i - j) < 2)),
        ("(causal | anticausal) & window:2", lambda i, j: abs(i - j) < 2),
        ("~~causal", lambda i, j: j <= i),
        ("causal&~window:3|prefix:1", lambda i, j: (j <= i and abs(i - j) >= 3) or j == 0 or j <= i),
        (" prefix:length=2 ", lambda i, j: j < 2 or j <= i),
    ],
)
def test_precedence_is_not_and_or(text: str, sees: Sees) -> None:
    assert np.array_equal(answers(parse(text)), seen_by(sees, SIZE, SIZE))


@pytest.mark.parametrize(
    "text",
    ["", " ", "&", "causal &", "| causal", "(causal", "causal)", "~", "causal ~causal", "()", "causal (window:2)"],
)
def test_malformed_expressions_are_refused(text: str) -> None:
    with pytest.raises(RankscopeError, match="RS002") as caught:
        parse(text)
    assert repr(text) in caught.value.given


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("casual", "RS001", "'causal'"),
        ("bidirektional", "RS001", "'bidirectional'"),
        ("prefix", "RS002", "prefix:LENGTH"),
        ("prefix:", "RS002", "int"),
        ("prefix:two", "RS002", "int"),
        ("prefix:1.5", "RS002", "int"),
        ("prefix:-1", "RS002", "at least 0"),
        ("window:0", "RS002", "at least 1"),
        ("window:1:2", "RS002", "window:WIDTH"),
        ("window:width=1:width=2", "RS002", "window:WIDTH"),
        ("causal:3", "RS002", "causal"),
    ],
)
def test_bad_names_and_values_are_refused_with_the_remedy(text: str, code: str, word: str) -> None:
    with pytest.raises(RankscopeError) as caught:
        parse(text)
    assert caught.value.code == code
    assert word in caught.value.remedy


def test_labels_name_the_mask() -> None:
    assert [case[0].label for case in BUILT_IN] == [case[2] for case in BUILT_IN]


@pytest.mark.parametrize(("rows", "columns"), [(3, 5), (1, 4), (4, 4)])
def test_a_rectangular_causal_mask_is_aligned_at_the_bottom_right(rows: int, columns: int) -> None:
    operator = single(attention(np.zeros((rows, 1)), np.zeros((columns, 1)), mask="causal"))
    seen = seen_by(lambda i, j: j <= i, rows, columns)
    assert seen[-1].all()
    assert not seen[0, columns - rows + 1 :].any()
    assert np.array_equal(operator.matrix > 0, seen)
    assert operator.support.tolist() == seen.sum(axis=1).tolist()
