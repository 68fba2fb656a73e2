"""Every architecture in use: what is captured of it is what it says itself, head by head, with padding and masks."""

import numpy as np
import pytest
import torch

import rankscope as rs
from rankscope.attention.operators import Dense, Operator
from rankscope.generators.capture.interception import Call, Interception
from rankscope.generators.capture.layer import Layer
from tests.generators.architectures import (
    ARCHITECTURES,
    HEADS,
    PAIRED,
    SHARING,
    SHOWN,
    TEXTS,
    TOKENS,
    WRITTEN,
    doubles,
    fidelity_bound,
    inputs,
    loaded,
    observed,
)
from tests.oracles import Float64

SIX_DIGITS = 1e-6
"""Weights of two runs, whose tokens went through different routines: 16 units of roundoff in float32. Where both speak
of one run, the derived bound is used.
"""

pytestmark = pytest.mark.xdist_group("architectures")  # one worker makes the models

EVERY = pytest.mark.parametrize("name", ARCHITECTURES)


def away(found: dict[str, Operator], own: dict[str, Float64]) -> float:
    """The largest difference of all heads; what was left out of a matrix is what no query sees."""
    worst = 0.0
    for label, operator in found.items():
        rows, columns = operator.shape
        weights = own[label]
        assert np.abs(weights[:rows, columns:]).max(initial=0.0) == 0
        worst = max(worst, float(np.abs(operator.matrix - weights[:rows, :columns]).max()))
    return worst


@EVERY
def test_every_head_is_what_the_model_says_itself(name: str) -> None:
    seen = observed(name)
    assert list(seen.heads) == list(seen.written)
    assert set(seen.heads) == set(seen.own)
    assert len(seen.heads) == TEXTS * HEADS * 2 * len(ARCHITECTURES[name].stacks)
    assert away(seen.heads, seen.own) <= SIX_DIGITS


@EVERY
def test_weights_of_one_run_agree_up_to_its_rounding(name: str) -> None:
    seen = observed(name)
    assert away(seen.written, seen.own) <= max(fidelity_bound(call) for call in seen.calls)


@EVERY
def test_no_two_heads_are_alike_enough_to_be_mistaken(name: str) -> None:
    """Else the tests above could not fail where heads, layers or texts are exchanged."""
    own = list(observed(name).own.values())
    pairs = [(one, other) for i, one in enumerate(own) for other in own[:i] if one.shape == other.shape]
    assert min(float(np.abs(one - other).max()) for one, other in pairs) > 100 * SIX_DIGITS


@EVERY
def test_fidelity_is_known_and_below_the_rounding_of_float32(name: str) -> None:
    seen = observed(name)
    heads = list(seen.heads.values())
    assert len(seen.calls) * TEXTS * HEADS == len(heads)
    for number, call in enumerate(seen.calls):
        known = [each.origin.fidelity for each in heads[number * TEXTS * HEADS :][: TEXTS * HEADS]]
        assert all(each is not None and 0 < each <= fidelity_bound(call) for each in known)


@EVERY
def test_masks_kernels_and_positions_are_recognised(name: str) -> None:
    known = ARCHITECTURES[name]
    heads = observed(name).heads.values()
    assert {each.origin.mask for each in heads} == known.masks
    assert {each.origin.kernel for each in heads} == {known.kernel}
    assert {each.origin.position for each in heads} == known.positions


@EVERY
def test_padding_is_left_out_and_said(name: str) -> None:
    known, heads = ARCHITECTURES[name], observed(name).heads
    for label, operator in heads.items():
        text, cross, decoder = (word in label for word in ("text 1", "cross", "decoder"))
        cut = text and known.padded and not decoder
        columns = SHOWN if cut else TOKENS
        rows = WRITTEN if cross else columns
        if decoder:
            rows = columns = WRITTEN
        if name in ("vit", "whisper") and not decoder:
            columns = {"vit": 17, "whisper": 16}[name]
            rows = WRITTEN if cross else columns
        assert operator.shape == (rows, columns), label
        told = [each for each in operator.origin.notes if "left out" in each]
        gone = TOKENS - SHOWN
        said = f"keys that no query sees: {gone} left out" if cross else f"padding: {gone} tokens left out"
        assert told == ([said] if cut else []), label


@EVERY
def test_pairs_are_kept_and_what_is_no_pair_is_named(name: str) -> None:
    known, kept = ARCHITECTURES[name], observed(name).kept
    if known.pairs:
        assert kept.notes == ()
        assert [each.origin.label for each in kept] == sorted_like_the_model(list(observed(name).heads))
        for operator in kept:
            assert np.array_equal(operator.matrix, observed(name).heads[operator.origin.label].matrix)
    else:
        assert len(kept) == 0
        [note] = kept.notes
        assert note.startswith("not kept: layer 0, layer 1, whose scores are no product of queries and keys")


def sorted_like_the_model(labels: list[str]) -> list[str]:
    """Stack by stack, layer by layer."""
    words = [each.split() for each in labels]
    order = ("layer", "encoder", "decoder", "cross")
    return [" ".join(each) for each in sorted(words, key=lambda each: (order.index(each[2]), int(each[-3])))]


# ---------------------------------------------------------------------------------------------------- grouped heads


def softmax(scores: Float64) -> Float64:
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def weights_of(layer: Layer, text: int, head: int, key_head: int) -> Float64:
    """Causal softmax of the queries of a head with the keys of another number."""
    assert layer.query is not None
    assert layer.key is not None
    scores = layer.scale * doubles(layer.query[text, head]) @ doubles(layer.key[text, key_head]).T
    return softmax(np.where(np.tri(len(scores), dtype=bool), scores, -np.inf))


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_every_query_head_has_the_keys_of_its_group_and_no_other(name: str) -> None:
    """Without padding the fused function is given the two key heads as they are."""
    model, given = loaded(name), inputs(name, padded=False)
    with torch.no_grad(), rs.capture(model) as kept:
        model(**given)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        own = model(**given, output_attentions=True).attentions
    model.set_attn_implementation("sdpa")
    found = {each.origin.label: np.asarray(each.matrix) for each in kept}
    for layer in kept.layers:
        assert layer.key is not None
        assert (layer.heads, layer.key.shape[1]) == (HEADS, 2)
        for text, head in np.ndindex(TEXTS, HEADS):
            truth = doubles(own[layer.site.layer][text, head])
            assert np.abs(found[f"text {text} layer {layer.site.layer} head {head}"] - truth).max() <= SIX_DIGITS
            assert np.abs(weights_of(layer, text, head, head // 2) - truth).max() <= SIX_DIGITS
            assert np.abs(weights_of(layer, text, head, 1 - head // 2) - truth).max() > 1000 * SIX_DIGITS


@pytest.mark.parametrize("name", SHARING)
def test_keys_that_a_model_repeats_for_its_heads_are_kept_once(name: str) -> None:
    for layer in observed(name).kept.layers:
        assert layer.key is not None
        assert (layer.heads, layer.key.shape[1]) == (HEADS, 2)
        assert not torch.equal(layer.key[:, 0], layer.key[:, 1])


# -------------------------------------------------------------------------------------------- caps, sinks, windows


def without(operator: Operator) -> Float64:
    """The softmax of the same scores with the same mask, without a cap or a sink."""
    assert isinstance(operator, Dense)
    request = operator.request
    assert request is not None
    plain = rs.attention(
        request.tokens.left, request.tokens.right, mask=np.asarray(request.seen), scale=request.scale, empty_rows="zero"
    )
    assert isinstance(plain, Dense)
    return np.asarray(plain.matrix)


@pytest.mark.parametrize("name", ["gemma2", "gpt-oss"])
def test_the_cap_and_the_sinks_matter(name: str) -> None:
    """Else softmax without them would have passed above."""
    for operator in observed(name).heads.values():
        assert np.abs(without(operator) - operator.matrix).max() > 10 * SIX_DIGITS


def test_sinks_are_the_parameters_of_the_model() -> None:
    model, kept = loaded("gpt-oss"), observed("gpt-oss").kept
    for layer, module in zip(kept.layers, model.layers, strict=True):
        assert layer.sinks == doubles(module.self_attn.sinks).tolist()
    rows = [operator.matrix.sum(axis=1) for operator in observed("gpt-oss").heads.values()]
    assert all((each < 1).all() for each in rows)


def test_the_scale_is_that_of_the_model() -> None:
    for name in PAIRED:
        scales = {layer.scale for layer in observed(name).kept.layers}
        expected = {"t5": 1.0}.get(name, 1 / np.sqrt(8))
        assert scales == ({1.0} if name == "whisper" else {expected}) or max(scales) == pytest.approx(
            expected, rel=1e-15
        )


# ---------------------------------------------------------------------------------------------------- half precision


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "gemma2", "gpt-oss", "bloom", "mpt", "t5"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_captured_exactly_and_compared_with_what_the_model_made(name: str, dtype: str) -> None:
    """Queries and keys in their own type; a bias as small as that of BLOOM is no rounding, and is not taken for it."""
    model, given = loaded(name, dtype), inputs(name)
    heads: list[Operator] = []
    calls: list[Call] = []
    with torch.no_grad(), Interception(calls.append), rs.capture(model) as kept, rs.capture(model, heads.append):
        model(**given)
    assert len(heads) == len(calls) * TEXTS * HEADS
    assert len(kept) == (len(heads) if ARCHITECTURES[name].pairs else 0)
    for layer in kept.layers:
        assert {each.dtype for each in layer.tensors} == {getattr(torch, dtype)}
    for number, operator in enumerate(heads):
        call = calls[number // (TEXTS * HEADS)]
        fidelity = operator.origin.fidelity
        assert fidelity is not None
        assert 0 < fidelity <= fidelity_bound(call, stored={"bfloat16": 2.0**-8, "float16": 2.0**-11}[dtype])
    assert {each.origin.kernel for each in heads} == {ARCHITECTURES[name].kernel}
    assert {each.origin.position for each in heads} == ARCHITECTURES[name].positions
    assert {each.origin.mask for each in heads} == ARCHITECTURES[name].masks


def test_double_precision_is_captured_in_its_own_type() -> None:
    model = loaded("gpt2", "float64")
    calls: list[Call] = []
    with torch.no_grad(), Interception(calls.append), rs.capture(model) as kept:
        model(**inputs("gpt2"))
    for layer, call in zip(kept.layers, calls, strict=True):
        assert {each.dtype for each in layer.tensors} == {torch.float64}
        assert layer.fidelity.max() <= fidelity_bound(call, 2.0**-53)
