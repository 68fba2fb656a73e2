"""One head: its matrix as the model has it, without padding, with its bias, cap and sink, and under other masks."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest

import rankscope as rs
from rankscope.attention.operators import Operator
from rankscope.attention.origin import Origin
from rankscope.errors import UsageError
from rankscope.generators.capture.head import Head
from tests.oracles import UNIT, Boolean, Float64

D = 4
BASE = Origin(label="layer 0 head 0", source="model")


def drawn(*shape: int, seed: int = 0) -> Float64:
    return np.random.default_rng(seed).standard_normal(shape)


def head(n: int = 5, m: int = 5, **changes: Any) -> Head:
    made = Head(drawn(n, D, seed=1), drawn(m, D, seed=2), None, np.ones((n, m), dtype=bool), scale=0.7)
    return replace(made, **changes)


def scored(n: int = 5, m: int = 5, **changes: Any) -> Head:
    return replace(head(n, m), **{"query": None, "key": None, "scores": drawn(n, m, seed=3), "scale": 1.0, **changes})


def scores_of(each: Head) -> Float64:
    """The scores, written out."""
    if each.scores is not None:
        return each.scores
    assert each.query is not None
    assert each.key is not None
    return np.asarray(each.scale * each.query @ each.key.T)


def truth(each: Head) -> Float64:
    """The weights by mpmath in 40 digits, row by row; those of what is not seen, and of empty rows, are zero."""
    found = np.zeros(each.seen.shape)
    with mpmath.workdps(40):
        for i, j in np.ndindex(each.seen.shape):
            if each.seen[i, j]:
                weights = [weight(each, i, k) for k in range(each.seen.shape[1]) if each.seen[i, k]]
                total = sum(weights) + (0 if each.sink is None else mpmath.exp(each.sink))
                found[i, j] = float(weight(each, i, j) / total)
    return found


def weight(each: Head, i: int, j: int) -> Any:
    score = mpmath.mpf(float(scores_of(each)[i, j]))
    score = score if each.bias is None else score + mpmath.mpf(float(each.bias[i, j]))
    score = score if each.cap is None else each.cap * mpmath.tanh(score / each.cap)
    return mpmath.exp(score)


TOLERANCE = 64 * 8 * UNIT
"""Scores are sums of D = 4 products and a bias, below 8 in magnitude, rounded five times; softmax doubles their errors
and adds a few of its own.
"""

HEADS: dict[str, Callable[[], Head]] = {
    "plain": head,
    "wide": lambda: head(3, 7),
    "tall": lambda: head(7, 3),
    "one query": lambda: head(1, 4),
    "causal": lambda: head(seen=np.tri(5, dtype=bool)),
    "capped": lambda: head(cap=0.8),
    "with a sink": lambda: head(sink=0.3),
    "capped with a sink": lambda: head(cap=0.8, sink=-0.4),
    "biased": lambda: head(bias=drawn(5, 5, seed=4)),
    "biased, wide": lambda: head(3, 7, bias=drawn(3, 7, seed=4), seen=np.tri(3, 7, 4, dtype=bool)),
    "biased, tall": lambda: head(7, 3, bias=drawn(7, 3, seed=4)),
    "biased with a sink": lambda: head(bias=drawn(5, 5, seed=4), sink=0.3),
    "an empty row": lambda: head(seen=np.arange(5)[:, None] != np.full((5, 5), 2)),
    "scattered": lambda: head(seen=drawn(5, 5, seed=8) > -1),
    "scores": scored,
    "scores, causal": lambda: scored(seen=np.tri(5, dtype=bool)),
    "scores, tall": lambda: scored(7, 3),
    "scores, an empty row": lambda: scored(seen=np.arange(5)[:, None] != np.full((5, 5), 2)),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_matrix_is_that_of_the_definition(name: str) -> None:
    each = HEADS[name]()
    operator = each.operator(BASE)
    assert np.abs(operator.matrix - truth(each)).max() <= TOLERANCE
    assert ((np.asarray(operator.matrix) > 0) == each.seen).all()


@pytest.mark.parametrize("cap", [0.5, 3.0, 7.123456789, 1e-3, 1e6])
def test_a_soft_cap_is_one_to_the_last_digit(cap: float) -> None:
    """Also where its name has more digits than are usually shown."""
    each = head(cap=cap)
    operator = each.operator(BASE)
    assert float(str(operator.origin.kernel).removeprefix("softcap:")) == cap
    assert np.abs(operator.matrix - truth(each)).max() <= TOLERANCE
    rounded = replace(each, cap=float(f"{cap:.3g}"))
    if rounded.cap != cap:
        assert np.abs(rounded.operator(BASE).matrix - truth(each)).max() > 1000 * TOLERANCE


def test_the_soft_cap_of_kernels_is_that_of_its_formula() -> None:
    """Beyond what tanh can still tell apart, and at both ends of float64."""
    scores = np.array([[0.0, 1.0, -1e300], [1e300, 5e-324, -2.0], [30.0, -30.0, 31.0]])
    operator = rs.from_logits(scores, kernel="softcap:20")
    each = scored(3, 3, scores=scores, cap=20.0)
    assert np.abs(operator.matrix - truth(each)).max() <= 64 * 20 * UNIT
    assert operator.origin.kernel == "softcap:20"
    with pytest.raises(UsageError, match="RS002"):
        rs.from_logits(scores, kernel="softcap:0")
    assert rs.from_logits(scores, kernel="softcap", mask="causal").origin.kernel == "softcap:50"


def test_kernels_are_named_as_users_name_them() -> None:
    names = {name: HEADS[name]().operator(BASE).origin.kernel for name in ("plain", "capped", "with a sink")}
    assert names == {"plain": "softmax", "capped": "softcap:0.8", "with a sink": "sink"}
    assert HEADS["capped with a sink"]().operator(BASE).origin.kernel == "softcap:0.8 sink"


def test_the_origin_says_what_the_head_is() -> None:
    found = head(bias=drawn(5, 5), seen=np.tri(5, dtype=bool)).operator(BASE).origin
    assert (found.label, found.source, found.mask, found.position) == ("layer 0 head 0", "model", "causal", "captured")
    assert found.scale == pytest.approx(0.7 * 2, rel=2 * UNIT)
    assert (found.d, head().operator(BASE).origin.position, scored().operator(BASE).origin.d) == (D, None, None)


# ---------------------------------------------------------------------------------------------------------- padding


def padded(n: int, m: int, left: int = 0, right: int = 0) -> Boolean:
    seen = np.ones((n, m), dtype=bool)
    seen[:, :left] = False
    seen[:, m - right :] = False
    return seen


@pytest.mark.parametrize(("left", "right"), [(0, 2), (1, 0), (1, 2)])
@pytest.mark.parametrize("make", [head, scored])
def test_padding_is_left_out_on_either_side_with_its_queries(make: Callable[..., Head], left: int, right: int) -> None:
    each = make(bias=drawn(5, 5, seed=6) if make is head else None, seen=padded(5, 5, left, right))
    operator = each.operator(BASE)
    inside = slice(left, 5 - right)
    assert operator.shape == (5 - left - right,) * 2
    assert operator.origin.notes == (f"padding: {left + right} token{'s' if left + right > 1 else ''} left out",)
    assert operator.origin.mask == "bidirectional"
    assert np.abs(operator.matrix - truth(each)[inside, inside]).max() <= TOLERANCE


def test_queries_of_another_text_are_kept() -> None:
    for each in (head(5, 5, seen=padded(5, 5, 0, 2), crosses=True), head(4, 5, seen=padded(4, 5, 0, 2))):
        operator = each.operator(BASE)
        assert operator.shape == (len(each.seen), 3)
        assert np.abs(operator.matrix - truth(each)[:, :3]).max() <= TOLERANCE


def test_a_causal_text_that_is_padded_on_the_left_is_causal() -> None:
    """Its first queries see nothing, and are the padding."""
    seen = np.tri(6, dtype=bool) & padded(6, 6, 2, 0)
    operator = head(6, 6, seen=seen).operator(BASE)
    assert (operator.shape, operator.origin.mask) == ((4, 4), "causal")
    assert operator.origin.notes == ("padding: 2 tokens left out",)


def test_rows_that_see_nothing_are_kept_as_zero_rows_and_said() -> None:
    operator = HEADS["an empty row"]().operator(BASE)
    assert operator.shape == (5, 5)
    assert np.asarray(operator.matrix)[2].tolist() == [0.0] * 5
    assert operator.origin.notes == ("rows that see nothing: 1, kept as zero rows",)


def test_a_head_that_sees_nothing_at_all_is_zero() -> None:
    operator = head(seen=np.zeros((5, 5), dtype=bool)).operator(BASE)
    assert not np.asarray(operator.matrix).any()
    assert operator.shape == (5, 5)


# --------------------------------------------------------------------------------------------- other masks and kernels


def by_hand(each: Head, **options: Any) -> Operator:
    made = rs.attention(each.query, each.key, scale=each.scale * math.sqrt(D), empty_rows="zero", **options)
    assert isinstance(made, Operator)
    return made


@pytest.mark.parametrize("mask", ["causal", "anticausal", "window:2", "strict", "causal & ~window:2", "prefix:2"])
def test_another_mask_is_that_of_the_same_queries_and_keys(mask: str) -> None:
    each = head(seen=np.tri(5, dtype=bool))
    found = each.operator(BASE, mask)
    assert np.array_equal(found.matrix, by_hand(each, mask=mask).matrix)
    assert found.origin.mask == mask


@pytest.mark.parametrize("kernel", ["sigmoid", "sparsemax", "linear", "tempered:2", "retnet"])
def test_another_kernel_has_the_mask_of_the_model(kernel: str) -> None:
    each = head(seen=np.tri(5, dtype=bool), cap=0.8, sink=0.3)
    found = each.operator(BASE, None, kernel)
    assert np.array_equal(found.matrix, by_hand(each, mask="causal", kernel=kernel).matrix)
    assert (found.origin.kernel, found.origin.mask) == (kernel, "causal")


def test_another_mask_keeps_the_cap_and_the_sink() -> None:
    for name in ("capped", "with a sink", "capped with a sink"):
        each = HEADS[name]()
        other = replace(each, seen=np.tri(5, dtype=bool))
        assert np.abs(each.operator(BASE, "causal").matrix - truth(other)).max() <= TOLERANCE


def test_a_mask_is_laid_over_what_is_left_without_padding() -> None:
    each = head(6, 6, seen=padded(6, 6, 1, 2))
    found = each.operator(BASE, "causal")
    cut = replace(each, query=drawn(6, D, seed=1)[1:4], key=drawn(6, D, seed=2)[1:4], seen=np.tri(3, dtype=bool))
    assert np.abs(found.matrix - truth(cut)).max() <= TOLERANCE


REFUSED: dict[str, tuple[Callable[[], Head], Any, Any, str]] = {
    "a mask over scores that were hidden": (
        lambda: scored(seen=np.tri(5, dtype=bool)), "bidirectional", None,
        "the mask bidirectional shows 10 places of which the scores is not known",
    ),
    "a mask over a bias that was hidden": (
        lambda: head(bias=drawn(5, 5), seen=np.tri(5, dtype=bool)), "window:2", None,
        "the mask window:2 shows 4 places of which what the model adds to the scores is not known",
    ),
    "a kernel of features of scores": (scored, None, "linear", "the kernel linear for scores that are no product"),
    "a kernel of features beside a bias": (
        lambda: head(bias=drawn(5, 5)), None, "linear", "the position captured with the kernel linear"),
    "a recurrence that sees all": (head, None, "retnet", "the mask bidirectional with the kernel retnet"),
    "a recurrence of more keys": (lambda: head(3, 7), None, "retnet", "for 3 queries and 7 keys"),
    "keys that are looked at together": (
        lambda: head(seen=np.tri(5, dtype=bool)), None, "efficient", "the mask causal with the kernel efficient"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_of_a_head_is_refused_by_name(name: str) -> None:
    make, mask, kernel, given = REFUSED[name]
    with pytest.raises(UsageError, match="RS003") as caught:
        make().operator(BASE, mask, kernel)
    assert given in caught.value.given


def test_a_mask_that_shows_no_more_is_allowed_to_scores_and_beside_a_bias() -> None:
    for each in (scored(seen=np.tri(5, dtype=bool)), head(bias=drawn(5, 5), seen=np.tri(5, dtype=bool))):
        inner = replace(each, seen=np.tri(5, dtype=bool) & ~np.tri(5, k=-2, dtype=bool))
        found = each.operator(BASE, "causal & window:2")
        assert np.abs(found.matrix - truth(inner)).max() <= TOLERANCE


def test_a_kernel_of_scores_is_allowed_to_scores_and_beside_a_bias() -> None:
    for each in (scored(), head(bias=drawn(5, 5))):
        total = scores_of(each) + (0 if each.bias is None else each.bias)
        found = each.operator(BASE, None, "sigmoid")
        assert np.abs(found.matrix - rs.from_logits(total, kernel="sigmoid").matrix).max() <= TOLERANCE
