"""From a call to a layer: a copy is kept, compared with what the model made of it, and steps are joined rightly."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rankscope.generators.capture.interception import Call, Fused, Interception, Written
from rankscope.generators.capture.layer import Layer
from rankscope.generators.capture.names import Site
from rankscope.generators.capture.seen import (
    four,
    kept_mask,
    layer_of,
    missed,
    narrowed,
    of_heads,
    of_steps,
    probe,
    size_of,
    split,
)
from tests.generators.architectures import fidelity_bound

SITE = Site("", 0, "layers.0")
CROSS = Site("cross", 0, "layers.0.cross")
UNIT = 2.0**-24


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tokens(n: int = 5, m: int = 6, heads: int = 4, groups: int = 4, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    return drawn(batch, heads, n, 8, seed=1), drawn(batch, groups, m, 8, seed=2), drawn(batch, groups, m, 3, seed=3)


def attend(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Fused:
    calls: list[Call] = []
    with Interception(calls.append):
        nn.functional.scaled_dot_product_attention(query, key, value, **options)
    [call] = calls
    assert isinstance(call, Fused)
    return call


def write(scores: Tensor, query: Tensor, key: Tensor) -> Written:
    return Written(scores, torch.softmax(scores, dim=-1), ((query, key),), scores.shape[-1], None)


def layer(call: Call, site: Site = SITE, **options: Any) -> Layer:
    made = layer_of(call, site, None, options.pop("keep_scores", False), **options)
    assert isinstance(made, Layer)
    return made


# ------------------------------------------------------------------------------------------------------------ fused


@pytest.mark.parametrize("shape", [(5, 6), (6, 5), (1, 4), (4, 1), (1, 1)])
@pytest.mark.parametrize("option", ["plain", "causal", "boolean", "added", "scaled"])
def test_fidelity_of_a_fused_call_is_what_rounding_explains(shape: tuple[int, int], option: str) -> None:
    n, m = shape
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "causal": {"is_causal": True},
        "boolean": {"attn_mask": drawn(2, 1, n, m, seed=4) + torch.eye(n, m) * 9 > 0},
        "added": {"attn_mask": drawn(1, 4, n, m, seed=4)},
        "scaled": {"scale": 0.7},
    }
    call = attend(*tokens(n, m), **options[option])
    made = layer(call)
    assert made.fidelity.shape == (2, 4)
    assert made.of == "output"
    assert np.nanmax(made.fidelity) <= fidelity_bound(call)


def test_fidelity_is_as_large_as_what_is_wrong() -> None:
    call = attend(*tokens())
    size = float(call.out[1].abs().max())
    out = call.out.clone()
    out[1, 2, 3, 1] += 0.25 * size
    made = layer(replace(call, out=out))
    wrong = float((out - call.out).abs().max() / out[1, 2].abs().max())
    assert made.fidelity[1, 2] == pytest.approx(wrong, abs=fidelity_bound(call))
    made.fidelity[1, 2] = 0
    assert made.fidelity.max() <= fidelity_bound(call)


def test_fidelity_that_cannot_be_known_is_no_number() -> None:
    assert np.isnan(layer(attend(*tokens()), faithful=False).fidelity).all()
    query, key, value = tokens()
    value[0, 1, 2, 0] = math.nan
    made = layer(attend(query, key, value)).fidelity
    assert np.argwhere(np.isnan(made)).tolist() == [[0, 1]]


def test_what_a_call_with_dropout_used_is_told_by_random_values() -> None:
    call = attend(*tokens(), dropout_p=0.5)
    assert layer(call).fidelity.max() <= 4 * fidelity_bound(attend(*tokens()))


def test_a_matrix_that_gives_back_alike_values_is_not_taken_for_the_models() -> None:
    query, key, _ = tokens()
    values = torch.ones(2, 4, 6, 3)
    call = attend(query, key, values)
    wrong = replace(layer(call), scale=2.0)
    assert missed(wrong, 0, 0, [(values, call.out)]) <= fidelity_bound(attend(*tokens()))
    assert missed(wrong, 0, 0, [(values, call.out), probe(call)]) > 0.05


@pytest.mark.parametrize("change", ["transposed", "mixed", "divided", "cut", "none", "dropout"])
def test_weights_that_are_changed_before_the_values_are_said_and_dropout_is_no_change(change: str) -> None:
    query, key, _ = tokens(6, 6)
    call = write(query @ key.mT * 0.5, query, key)
    weights = call.weights
    used = {
        "transposed": weights.mT,
        "mixed": weights.flip(1),
        "divided": weights / weights.sum(-2, keepdim=True),
        "cut": torch.where(weights < 0.1, 0.0, weights),
        "none": weights.clone(),
        "dropout": weights * (drawn(2, 4, 6, 6, seed=9) > 0) * 2,
    }[change]
    module = nn.Module().train(change == "dropout")
    found = layer_of(replace(call, used=used), SITE, module, False)
    if change in ("none", "dropout"):
        assert isinstance(found, Layer)
        evaluated = layer_of(replace(call, used=used), SITE, module.eval(), False)
        assert isinstance(evaluated, Layer) == (change == "none")
    else:
        assert found == "whose weights are changed between softmax and the values"


def test_rows_that_see_nothing_do_not_count_in_fidelity() -> None:
    seen = torch.ones(5, 6, dtype=torch.bool)
    seen[2] = False
    call = attend(*tokens(), attn_mask=seen)
    assert layer(call).fidelity.max() <= fidelity_bound(replace(call, out=call.out.nan_to_num()))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_query_heads_share_the_keys_and_values_of_their_group(groups: int) -> None:
    call = attend(*tokens(groups=groups), enable_gqa=True)
    made = layer(call)
    assert made.key is not None
    assert made.key.shape[1] == groups
    assert made.fidelity.max() <= fidelity_bound(call)
    if groups == 2:
        swapped = replace(call, key=call.key.flip(1))
        assert layer(swapped).fidelity.min() > 1000 * fidelity_bound(call)


def test_what_is_kept_is_a_copy_apart_from_the_graph_and_from_the_model() -> None:
    query, key, value = tokens()
    query.requires_grad_(True)
    mask = torch.zeros(5, 6)
    made = layer(attend(query, key, value, attn_mask=mask))
    before = repr(made.head(1, 2))
    with torch.no_grad():
        for each in (query, key, mask):
            each.fill_(-math.inf)
    assert repr(made.head(1, 2)) == before, "arrays as small as these are shown whole"
    assert not any(each.requires_grad for each in made.tensors)


def test_a_mask_that_is_expanded_is_kept_once() -> None:
    mask = torch.ones(1, 1, 5, 6, dtype=torch.bool).expand(2, 4, 5, 6)
    made = layer(attend(*tokens(), attn_mask=mask))
    assert made.mask is not None
    assert tuple(made.mask.shape) == (1, 1, 5, 6)
    assert tuple(narrowed(torch.ones(2, 1, 5, 6)).shape) == (2, 1, 5, 6)


@pytest.mark.parametrize(
    ("given", "wanted"), [((5, 6), (1, 1, 5, 6)), ((3, 5, 6), (1, 3, 5, 6)), ((7, 2, 3, 5, 6), (14, 3, 5, 6))]
)
def test_fewer_axes_are_one_text_and_more_are_more_texts(given: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    assert tuple(four(torch.ones(*given)).shape) == wanted


def test_fused_calls_of_two_three_and_five_axes() -> None:
    query, key, value = tokens()
    for index, shape in ((0, (4, 1)), ((0, 0), (1, 1)), (None, (2, 4))):  # three axes are texts of one head
        call = attend(*(each[index] for each in (query, key, value)))
        made = layer(call)
        assert (made.batch, made.heads) == shape
        names = ("query", "key", "value", "out")
        whole: dict[str, Any] = {name: of_heads(getattr(call, name)) for name in names}
        assert made.fidelity.max() <= fidelity_bound(replace(call, **whole))
        assert size_of(call) == (*shape, (5, 6))


# ------------------------------------------------------------------------------------------------------ written out


def test_fidelity_of_written_attention_is_that_of_its_weights() -> None:
    query, key, _ = tokens()
    call = write(query @ key.mT * 0.5, query, key)
    made = layer(call)
    assert made.of == "weights"
    assert made.fidelity.max() <= fidelity_bound(call)
    weights = call.weights.clone()
    weights[1, 2, 3, 4] += 0.125
    wrong = layer(replace(call, weights=weights))
    assert wrong.fidelity[1, 2] == pytest.approx(0.125, abs=fidelity_bound(call))
    assert wrong.fidelity[0].max() <= fidelity_bound(call)
    assert np.isnan(layer(call, faithful=False).fidelity).all()


def test_scores_are_kept_where_they_are_asked_for_and_no_product() -> None:
    query, key, _ = tokens()
    scores = query @ key.mT * 0.5 + drawn(5, 6, seed=9)
    call = write(scores, query, key)
    assert layer_of(call, SITE, None, keep_scores=False) is None
    made = layer(call, keep_scores=True)
    assert made.scores is not None
    assert made.query is None
    assert torch.equal(made.scores, scores)
    assert made.fidelity.max() <= fidelity_bound(call)
    assert size_of(call) == (2, 4, (5, 6))


def test_a_column_that_is_no_sink_makes_no_layer_at_all() -> None:
    """The weights are those of the scores and of a number for each row, which no kernel has."""
    query, key, _ = tokens()
    scores = torch.cat([query @ key.mT * 0.5, drawn(2, 4, 5, 1, seed=8)], dim=-1)
    call = Written(scores, torch.softmax(scores, dim=-1), ((query, key),), 6, None)
    for keep in (True, False):
        assert (
            layer_of(call, SITE, None, keep) == "whose softmax has a column that is no key and differs from row to row"
        )


def test_sinks_make_weights_that_sum_to_less() -> None:
    query, key, _ = tokens()
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0])
    scores = torch.cat([query @ key.mT * 0.5, logits[None, :, None, None].expand(2, 4, 5, 1)], dim=-1)
    call = Written(scores, torch.softmax(scores, dim=-1), ((query, key),), 6, None)
    made = layer(call)
    assert made.sinks == pytest.approx(logits.tolist(), abs=64 * UNIT)
    assert made.fidelity.max() <= fidelity_bound(call)


def test_masks_of_scores_are_kept_with_as_few_axes_as_say_them() -> None:
    scores = drawn(2, 4, 5, 6)
    assert kept_mask(scores) is None
    later = torch.ones(5, 6).triu(1).bool()
    found = kept_mask(scores.masked_fill(later, -math.inf))
    assert found is not None
    assert torch.equal(found, ~later[None, None])
    one_text = scores.clone()
    one_text[1, :, :, 4:] = -math.inf
    found = kept_mask(one_text)
    assert found is not None
    assert found.shape[:2] == (2, 1)
    one_head = scores.clone()
    one_head[:, 2, :, 0] = -math.inf
    found = kept_mask(one_head)
    assert found is not None
    assert found.shape[:2] == (1, 4)
    assert torch.equal(found.expand(2, 4, 5, 6), one_head > -math.inf)


def test_scores_of_three_axes_are_split_where_the_heads_are_known() -> None:
    scores = drawn(6, 4, 5)
    assert tuple(split(scores, 3).shape) == (2, 3, 4, 5)
    assert tuple(split(scores, None).shape) == (1, 6, 4, 5)
    assert tuple(split(scores, 4).shape) == (1, 6, 4, 5)
    assert torch.equal(split(scores, 3)[1, 2], scores[5])


# ------------------------------------------------------------------------------------------------------------ steps


def step(n: int, m: int, site: Site = SITE, **options: Any) -> Layer:
    """The call of the last n queries of a text of which m keys are known."""
    query, key, value = tokens(9, 9)
    return layer(attend(query[:, :, m - n : m], key[:, :, :m], value[:, :, :m], **options), site)


def joined(*layers: Layer) -> Layer | None:
    found: Layer | None = layers[0]
    for each in layers[1:]:
        found = None if found is None else of_steps(found, each)
    return found


@pytest.mark.parametrize("begin", [1, 2, 5])
def test_steps_make_what_one_causal_call_makes(begin: int) -> None:
    steps = [step(1, m) for m in range(begin + 1, 10)]
    found = joined(step(begin, begin, is_causal=True), *steps)
    whole = step(9, 9, is_causal=True)
    assert found is not None
    assert found.shape == (9, 9)
    for text, head in np.ndindex(2, 4):
        one, other = found.head(text, head), whole.head(text, head)
        assert np.array_equal(one.seen, other.seen)
        for part in ("query", "key", "scale", "bias"):
            assert np.array_equal(getattr(one, part), getattr(other, part)), part


def test_steps_of_several_tokens_are_joined() -> None:
    mask = torch.ones(3, 8, dtype=torch.bool).tril(5)
    found = joined(step(5, 5, is_causal=True), step(3, 8, attn_mask=mask))
    assert found is not None
    assert np.array_equal(found.head(0, 0).seen, np.tri(8, dtype=bool))


def test_masks_of_steps_are_joined_whatever_they_are_made_of() -> None:
    """The first text is padded on the left by two tokens."""
    padded = torch.ones(2, 1, 6, 6, dtype=torch.bool).tril()
    padded[0, :, :, :2] = False
    wanted = padded.clone()
    first, last = padded[:, :, :5, :5], padded[:, :, 5:]
    for one, other in ((first, last), (first.float().log(), last), (first, last.float().log())):
        found = joined(step(5, 5, attn_mask=one), step(1, 6, attn_mask=other))
        assert found is not None
        for text in range(2):
            assert np.array_equal(found.head(text, 1).seen, wanted[text, 0].numpy())


def test_biases_of_steps_are_joined() -> None:
    bias = drawn(1, 4, 6, 6, seed=7)
    later = torch.ones(6, 6).triu(1).bool()
    whole = bias.masked_fill(later, -math.inf)
    found = joined(step(5, 5, attn_mask=whole[:, :, :5, :5]), step(1, 6, attn_mask=whole[:, :, 5:]))
    assert found is not None
    held = found.head(1, 2).bias
    assert held is not None
    assert np.array_equal(np.where(np.tri(6, dtype=bool), held, 0.0), bias[0, 2].tril().double().numpy())


def test_cross_attention_is_joined_by_its_queries() -> None:
    query, key, value = tokens(4, 6)
    calls = [layer(attend(query[:, :, i : i + 1], key, value), CROSS) for i in range(4)]
    found = joined(*calls)
    assert found is not None
    assert found.shape == (4, 6)
    assert found.mask is None
    mask = torch.tensor([True] * 4 + [False] * 2)[None, None, None].expand(2, 1, 1, 6)
    masked = layer(attend(query[:, :, :1], key, value, attn_mask=mask), CROSS)
    found = joined(calls[0], masked)
    assert found is not None
    assert found.head(0, 0).seen.tolist() == [[True] * 6, [True] * 4 + [False] * 2]


def test_what_does_not_continue_a_call_is_not_joined() -> None:
    first = step(5, 5, is_causal=True)
    nothing = [
        step(1, 7),  # a key has been left out
        step(5, 5, is_causal=True),  # the same once more
        step(1, 5),  # a cache that forgets
        step(1, 6, scale=0.9),
        replace(step(1, 6), cap=5.0),
        replace(step(1, 6), sinks=[0.0] * 4),
        layer(attend(*(each[:1] for each in tokens(1, 6)))),
        replace(step(1, 6), query=None),
    ]
    assert [of_steps(first, each) for each in nothing] == [None] * len(nothing)
    assert of_steps(replace(first, sinks=[0.0] * 4), replace(step(1, 6), sinks=[0.1] * 4)) is None
    reordered = step(1, 6)
    assert reordered.key is not None
    assert of_steps(first, replace(reordered, key=reordered.key.flip(0))) is None, "beams that were exchanged"
    assert of_steps(first, step(1, 6)) is not None


def test_one_token_says_nothing_of_the_scale_and_borrows_that_of_the_next() -> None:
    query, key, _ = tokens(2, 2)
    first = layer(write(query[:, :, :1] @ key[:, :, :1].mT * 0.77, query[:, :, :1], key[:, :, :1]))
    second = layer(write(query[:, :, 1:] @ key.mT * 0.77, query[:, :, 1:], key))
    found = of_steps(first, second)
    assert found is not None
    assert found.scale == pytest.approx(0.77, rel=8 * UNIT)
    assert first.scale == 1 / math.sqrt(8)


def test_the_worst_fidelity_of_all_steps_counts() -> None:
    first, second = step(5, 5, is_causal=True), step(1, 6)
    first.fidelity[:], second.fidelity[:] = 0.25, math.nan
    second.fidelity[0, 0] = 0.5
    found = of_steps(first, second)
    assert found is not None
    assert found.fidelity.tolist() == [[0.5, 0.25, 0.25, 0.25], [0.25] * 4]
