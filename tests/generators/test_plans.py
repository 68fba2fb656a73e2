"""Plans: which mask each layer and head gets, and which numbers of them a plan can carry."""

from collections.abc import Callable

import numpy as np
import pytest

import rankscope as rs
from rankscope.errors import RankscopeError
from rankscope.generators.plans import PLANS, Site, check_plan

FORWARD, BACKWARD = "causal", "anticausal"


def spread(name: str, layers: int, heads: int, mask: str = "prefix:3") -> list[list[str]]:
    plan = PLANS[name].function
    return [[plan(Site(layer, head, heads, 8, mask)) for head in range(heads)] for layer in range(layers)]


def test_uniform_gives_every_head_the_mask_that_was_asked_for() -> None:
    assert spread("uniform", 2, 3) == [["prefix:3"] * 3] * 2


def test_heads_makes_the_first_half_lower_and_the_second_upper() -> None:
    assert spread("heads", 2, 4) == [[FORWARD, FORWARD, BACKWARD, BACKWARD]] * 2
    assert spread("heads", 1, 2) == [[FORWARD, BACKWARD]]


def test_alternating_heads_take_turns() -> None:
    assert spread("alternating-heads", 2, 4) == [[FORWARD, BACKWARD, FORWARD, BACKWARD]] * 2


def test_layers_take_turns_counted_from_zero() -> None:
    assert spread("layers", 3, 2) == [[FORWARD] * 2, [BACKWARD] * 2, [FORWARD] * 2]


def test_unilm_mixes_both_directions_with_a_prefix_of_half() -> None:
    """Of every six heads two see all, two half of the tokens as a prefix, one looks back and one ahead."""
    (row,) = spread("unilm", 1, 6)
    assert sorted(row) == sorted(["bidirectional"] * 2 + ["prefix:4"] * 2 + [FORWARD, BACKWARD])
    assert spread("unilm", 2, 12) == [row + row] * 2, "every layer and every six heads are alike"


@pytest.mark.parametrize(("n", "half"), [(1, 0), (2, 1), (7, 3), (512, 256)])
def test_the_prefix_of_unilm_is_half_of_the_tokens_rounded_down(n: int, half: int) -> None:
    plan = PLANS["unilm"].function
    found = [plan(Site(0, head, 6, n, "causal")) for head in range(6)]
    assert found.count(f"prefix:{half}") == 2
    assert "causal" in found, "whatever mask was asked for"


def test_heads_of_unilm_see_what_their_masks_say() -> None:
    made = rs.synthetic(n=8, d=4, heads=6, plan="unilm")
    assert isinstance(made, list)
    sees: dict[str, Callable[[int, int], bool]] = {
        "bidirectional": lambda i, j: True,
        "prefix:4": lambda i, j: j <= i or j < 4,
        "causal": lambda i, j: j <= i,
        "anticausal": lambda i, j: j >= i,
    }
    masks = [str(each.origin.mask) for each in made[:6]]
    assert sorted(masks) == sorted([*sees, "bidirectional", "prefix:4"])
    for each, mask in zip(made[:6], masks, strict=True):
        pattern = np.asarray(each.matrix) > 0
        assert pattern.tolist() == [[sees[mask](i, j) for j in range(8)] for i in range(8)]
        assert each.origin.plan == "unilm"
    assert [each.origin.over for each in made[6:]] == ["heads-mean", "heads-concatenated"]
    assert [each.origin.mask for each in made[6:]] == [None, None]


@pytest.mark.parametrize("heads", [2, 4, 12])
@pytest.mark.parametrize("name", ["heads", "alternating-heads"])
def test_as_many_heads_look_forward_as_backward(name: str, heads: int) -> None:
    (row,) = spread(name, 1, heads)
    assert row.count(FORWARD) == row.count(BACKWARD) == heads // 2


@pytest.mark.parametrize(
    ("name", "layers", "heads", "mask", "code"),
    [
        ("heads", 1, 3, None, "RS002"),
        ("heads", 1, 1, None, "RS002"),
        ("heads", 1, 0, None, "RS002"),
        ("alternating-heads", 1, 5, None, "RS002"),
        ("layers", 1, 4, None, "RS002"),
        ("heads", 1, 2, "causal", "RS003"),
        ("layers", 2, 1, "bidirectional", "RS003"),
        ("unilm", 1, 1, None, "RS002"),
        ("unilm", 1, 3, None, "RS002"),
        ("unilm", 1, 5, None, "RS002"),
        ("unilm", 2, 8, None, "RS002"),
        ("unilm", 1, 6, "causal", "RS003"),
        ("headds", 1, 2, None, "RS001"),
    ],
)
def test_what_a_plan_cannot_carry_is_refused(name: str, layers: int, heads: int, mask: str | None, code: str) -> None:
    with pytest.raises(RankscopeError) as caught:
        check_plan(name, layers, heads, mask)
    assert caught.value.code == code
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("name", "layers", "heads", "mask"),
    [
        ("uniform", 1, 1, None),
        ("uniform", 3, 3, "causal"),
        ("heads", 1, 2, None),
        ("heads", 3, 4, None),
        ("alternating-heads", 1, 2, None),
        ("layers", 2, 1, None),
        ("layers", 3, 5, None),
        ("unilm", 1, 6, None),
        ("unilm", 2, 12, None),
    ],
)
def test_what_a_plan_can_carry_is_accepted(name: str, layers: int, heads: int, mask: str | None) -> None:
    assert check_plan(name, layers, heads, mask) is PLANS[name].function
