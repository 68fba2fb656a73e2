"""The name of a mask from the pairs that it shows: usual ones are found back, and whatever is found shows the same."""

from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rankscope.attention.masks import MASKS, Mask, parse
from rankscope.attention.recognised import GIVEN, recognised
from tests.oracles import Boolean

USUAL: Final = (
    "bidirectional", "causal", "anticausal", "strict", "window:1", "window:2", "window:4", "prefix:0", "prefix:1",
    "prefix:3", "causal & window:1", "causal & window:3", "anticausal & window:2", "anticausal & window:5",
)  # fmt: skip
"""Masks that have a usual name, of every registered kind that has one; `OTHERS` are the rest."""

OTHERS: Final = (
    "dilated:2", "strided:3", "global:2", "random:0.5:block=2:seed=1", "bigbird:block=2", "packed:3", "padding:4",
    "left-padding:2", "~causal", "causal & ~window:2", "causal | window:3", "prefix:2 & window:3",
)  # fmt: skip

SIZES: Final = ((1, 1), (2, 2), (7, 7), (8, 8), (1, 6), (6, 1), (3, 8), (8, 3), (2, 9))


def shown(mask: Mask, rows: int, columns: int) -> Boolean:
    """The pairs that a mask shows: the queries are the last of the keys."""
    queries, keys = np.arange(columns - rows, columns)[:, None], np.arange(columns)[None, :]
    return np.array(np.broadcast_to(mask.allows(queries, keys), (rows, columns)))


def test_every_registered_mask_is_among_those_tried_here() -> None:
    tried = {
        word.split(":")[0] for name in (*USUAL, *OTHERS) for word in name.replace("~", "").split() if word not in "&|"
    }
    assert tried == set(MASKS.names())


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", USUAL)
def test_a_usual_mask_is_found_back_under_a_usual_name(name: str, size: tuple[int, int]) -> None:
    seen = shown(parse(name), *size)
    found = recognised(seen)
    assert np.array_equal(shown(found, *size), seen)
    if seen.any() or found.label != GIVEN:
        assert np.array_equal(shown(parse(found.label), *size), seen), "its name can be typed"
    else:
        assert size[0] > size[1], "more queries than keys, all of which are later"


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (9, 9)], ids=str)
@pytest.mark.parametrize("name", [name for name in USUAL if name != "prefix:0"])
def test_where_masks_differ_the_name_is_the_same(name: str, size: tuple[int, int]) -> None:
    """A window of one shows itself alone, by whichever name; a prefix of one or none is causal."""
    same = {"window:1": "causal & window:1", "prefix:1": "causal"}
    assert recognised(shown(parse(name), *size)).label == same.get(name, name)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", OTHERS)
def test_other_masks_are_given_by_what_they_show(name: str, size: tuple[int, int]) -> None:
    seen = shown(parse(name), *size)
    assert np.array_equal(shown(recognised(seen), *size), seen)


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in ("padding:4", "left-padding:2")])
def test_other_masks_of_many_tokens_have_no_usual_name(name: str) -> None:
    assert recognised(shown(parse(name), 12, 12)).label == GIVEN


@given(arrays(np.bool_, st.tuples(st.integers(0, 7), st.integers(0, 7))))
def test_what_is_found_shows_exactly_what_is_seen(seen: Boolean) -> None:
    assert np.array_equal(shown(recognised(seen), *seen.shape), seen)


@given(st.sampled_from(USUAL), st.integers(1, 9), st.integers(1, 9), st.integers(0, 80), st.booleans())
def test_one_pair_more_or_less_is_another_mask(name: str, rows: int, columns: int, place: int, flip: bool) -> None:
    seen = shown(parse(name), rows, columns)
    if flip:
        seen.flat[place % seen.size] ^= True
    assert np.array_equal(shown(recognised(seen), rows, columns), seen)


def test_one_query_asks_one_key() -> None:
    found = recognised(np.array([[True, False], [False, True]])[:, ::-1])
    assert [[bool(found.allows(q, k)) for k in range(2)] for q in range(2)] == [[False, True], [True, False]]
