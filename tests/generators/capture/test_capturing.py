"""`rankscope.capture`: torch's own modules, generation, training, models written by hand, which compute as before."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import rankscope as rs
from rankscope.attention.operators import Operator
from rankscope.errors import InputError, RankscopeError
from rankscope.generators.capture.capturing import Capture
from rankscope.generators.capture.interception import Call, Interception
from tests.generators.architectures import by_label, doubles, fidelity_bound, loaded
from tests.generators.capture.written import FLAT, FORMS, NONE, SUMS, TEXTS, TOKENS, Form, model_of, tokens
from tests.oracles import Float64

UNIT: Final = 2.0**-24
"""The unit roundoff of float32."""

ROUNDING: Final = 1e-6
"""Weights of two runs, whose tokens went through different routines: 16 units of roundoff."""


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def captured(model: nn.Module, *given: Any, **named: Any) -> tuple[dict[str, Operator], Any, Capture]:
    """The matrices by their labels, what the model returned, and the same run kept."""
    heads: list[Operator] = []
    with torch.no_grad(), rs.capture(model, heads.append) as seen:
        found = model(*given, **named)
    assert seen.notes == ()
    with torch.no_grad(), rs.capture(model) as kept:
        model(*given, **named)
    return by_label(heads), found, kept


def bound(model: nn.Module, *given: Any, **named: Any) -> float:
    """What rounding may make of the fidelity of its heads."""
    calls: list[Call] = []
    with torch.no_grad(), Interception(calls.append):
        model(*given, **named)
    return max(map(fidelity_bound, calls))


@contextmanager
def slow_path() -> Iterator[None]:
    """Torch's modules without their fast path, which is another order of the same sums."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def same(one: Any, other: Any) -> bool:
    """Whether two results are equal to the last bit; what is no number is equal to itself."""
    if isinstance(one, Tensor):
        return torch.equal(one.nan_to_num(12345.0), other.nan_to_num(12345.0))
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


# -------------------------------------------------------------------------------------- torch's multi-head attention

LATER: Final = torch.ones(5, 5).triu(1).bool()
PADDED: Final = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
BUILT: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "plain": ({}, {}),
    "one head": ({"num_heads": 1}, {}),
    "no bias": ({"bias": False}, {}),
    "padded": ({}, {"key_padding_mask": PADDED}),
    "boolean mask": ({}, {"attn_mask": LATER}),
    "added mask": ({}, {"attn_mask": torch.zeros(5, 5).masked_fill(LATER, -math.inf)}),
    "added numbers": ({}, {"attn_mask": drawn(5, 5, seed=4)}),
    "a mask for each head": ({}, {"attn_mask": drawn(4, 5, 5, seed=5) > 1}),
    "padded and masked": ({}, {"key_padding_mask": PADDED, "attn_mask": LATER}),
    "causal": ({}, {"attn_mask": LATER, "is_causal": True}),
    "a key of zeros": ({"add_zero_attn": True}, {}),
    "a learned key": ({"add_bias_kv": True}, {}),
    "both, padded": ({"add_zero_attn": True, "add_bias_kv": True}, {"key_padding_mask": PADDED}),
    "other sizes": ({"kdim": 5, "vdim": 3}, {}),
}


def attention_of(name: str, *, batch_first: bool) -> tuple[nn.MultiheadAttention, list[Tensor], dict[str, Any]]:
    """A module, its queries, keys and values, and its masks."""
    torch.manual_seed(3)
    options, masks = BUILT[name]
    module = nn.MultiheadAttention(**{"embed_dim": 8, "num_heads": 2, "batch_first": batch_first, **options}).eval()
    with torch.no_grad():
        for weights in module.parameters():
            weights.normal_(0.0, 0.6)
    given = [drawn(2, 5, size, seed=seed) for size, seed in ((8, 1), (module.kdim, 2), (module.vdim, 3))]
    return module, [each if batch_first else each.transpose(0, 1) for each in given], masks


def of_head(weights: Tensor, text: int, head: int, operator: Operator) -> Float64:
    """The weights that a module returns, without the columns of padding."""
    held = doubles(weights[text, head])
    if operator.shape == held.shape:
        return held
    kept = held.any(axis=0)
    return np.asarray(held[:, kept] if operator.shape[0] == len(held) else held[np.ix_(kept, kept)])


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("name", BUILT)
def test_multihead_attention_is_what_it_returns_and_returns_the_same(
    name: str, weights: bool, batch_first: bool
) -> None:
    module, given, masks = attention_of(name, batch_first=batch_first)
    with torch.no_grad(), slow_path():
        plain = module(*given, need_weights=weights, average_attn_weights=False, **masks)
        own = module(*given, need_weights=True, average_attn_weights=False, **masks)[1]
    heads, found, kept = captured(module, *given, need_weights=weights, average_attn_weights=False, **masks)
    assert same(found, plain)
    pairs = not weights or name != "added numbers"  # written out, numbers that are added make no product
    assert [len(heads), len(kept)] == [2 * module.num_heads, 2 * module.num_heads * pairs]
    within = bound(module, *given, need_weights=weights, **masks)
    for text, head in np.ndindex(2, module.num_heads):
        operator = heads[f"text {text} layer 0 head {head}"]
        assert np.abs(operator.matrix - of_head(own, text, head, operator)).max() <= within
        assert operator.origin.fidelity is not None
        assert operator.origin.fidelity <= within
    for operator in kept:
        assert np.array_equal(operator.matrix, heads[operator.origin.label].matrix)


@pytest.mark.parametrize("weights", [True, False])
def test_multihead_attention_of_one_text_without_a_batch(weights: bool) -> None:
    module, given, _ = attention_of("plain", batch_first=True)
    single = [each[0] for each in given]
    with torch.no_grad(), slow_path():
        own = module(*single, average_attn_weights=False)[1]
    heads, _, _ = captured(module, *single, need_weights=weights)
    assert list(heads) == ["layer 0 head 0", "layer 0 head 1"]
    for head in range(2):
        assert np.abs(heads[f"layer 0 head {head}"].matrix - doubles(own[head])).max() <= bound(module, *single)


def test_the_padding_of_multihead_attention_is_left_out_and_its_masks_have_names() -> None:
    for name, mask, shape in (
        ("padded", "bidirectional", (5, 3)),  # queries and keys of two texts: no query is padding
        ("boolean mask", "causal", (5, 5)),
        ("added mask", "causal", (5, 5)),
        ("padded and masked", "window:3", (5, 3)),
        ("a mask for each head", "given mask", (5, 5)),
    ):
        module, given, masks = attention_of(name, batch_first=True)
        last = captured(module, *given, **masks)[0]["text 1 layer 0 head 1"]
        assert (last.origin.mask, last.shape) == (mask, shape), name


def test_weights_that_are_wrong_would_be_seen() -> None:
    """The bound above is a small part of what heads differ in."""
    module, given, _ = attention_of("plain", batch_first=True)
    heads = [np.asarray(each.matrix) for each in captured(module, *given)[0].values()]
    pairs = [(one, other) for i, one in enumerate(heads) for other in heads[:i]]
    assert min(np.abs(one - other).max() for one, other in pairs) > 1000 * bound(module, *given)


# ------------------------------------------------------------------------------------------- torch's encoders, decoders

SIZES: Final[dict[str, Any]] = {"d_model": 8, "nhead": 2, "dim_feedforward": 16, "batch_first": True}


def encoder(layers: int = 2) -> nn.Module:
    torch.manual_seed(1)
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(**SIZES), layers, enable_nested_tensor=False).eval()


def decoder(layers: int = 2) -> nn.Module:
    torch.manual_seed(2)
    return nn.TransformerDecoder(nn.TransformerDecoderLayer(**SIZES), layers).eval()


def both() -> nn.Module:
    torch.manual_seed(3)
    return nn.Transformer(8, 2, 2, 2, 16, batch_first=True).eval()


SOURCE, TARGET = drawn(2, 5, 8, seed=1), drawn(2, 4, 8, seed=2)
STACKS: Final[dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...], dict[str, Any], list[tuple[str, int]]]]] = {
    "encoder layer": (lambda: nn.TransformerEncoderLayer(**SIZES).eval(), (SOURCE,), {}, [("", 0)]),
    "encoder": (encoder, (SOURCE,), {}, [("", 0), ("", 1)]),
    "padded encoder": (encoder, (SOURCE,), {"src_key_padding_mask": PADDED}, [("", 0), ("", 1)]),
    "decoder layer": (
        lambda: nn.TransformerDecoderLayer(**SIZES).eval(), (TARGET, SOURCE), {}, [("", 0), ("cross", 0)],
    ),
    "decoder": (
        decoder, (TARGET, SOURCE), {"tgt_mask": torch.ones(4, 4).triu(1).bool()},
        [("", 0), ("", 1), ("cross", 0), ("cross", 1)],
    ),
    "both": (
        both, (SOURCE, TARGET), {},
        [(stack, layer) for stack in ("encoder", "decoder", "cross") for layer in range(2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", STACKS)
def test_torch_transformers_compute_the_same_and_every_attention_is_seen(name: str, training: bool) -> None:
    make, given, masks, places = STACKS[name]
    model = make()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    model.train(training)
    with torch.no_grad(), slow_path():
        plain = model(*given, **masks)
    heads, found, kept = captured(model, *given, **masks)
    assert same(found, plain)
    assert [(held.site.stack, held.site.layer) for held in kept.held] == places
    assert len(heads) == 2 * 2 * len(places)
    within = bound(model, *given, **masks)
    assert all(each.origin.fidelity is not None and each.origin.fidelity <= within for each in heads.values())


def test_the_fast_path_of_torch_is_left_and_gives_the_same_up_to_rounding() -> None:
    """It shows no attention; ten roundings of numbers of size four, through two layers, are far below the bound."""
    model = encoder()
    with torch.no_grad():
        fast = model(SOURCE)
        with rs.capture(model) as kept:
            slow = model(SOURCE)
    assert len(kept) == 8
    assert 0 < float((fast - slow).abs().max()) <= 64 * 8 * UNIT * float(slow.abs().max())


def test_cross_attention_has_the_queries_of_one_text_and_the_keys_of_the_other() -> None:
    heads, _, _ = captured(both(), SOURCE, TARGET)
    shapes = {each.origin.stack: each.shape for each in heads.values()}
    assert shapes == {
        f"text {text} {stack}": size
        for text in range(2)
        for stack, size in (("encoder", (5, 5)), ("decoder", (4, 4)), ("cross", (4, 5)))
    }


# ------------------------------------------------------------------------------------------------------- written out


@pytest.mark.parametrize("name", FORMS)
def test_each_way_to_write_attention_gives_its_own_weights(name: str) -> None:
    model = model_of(FORMS[name])
    heads, (_, weights), kept = captured(model, tokens())
    assert [len(heads), len(kept)] == [TEXTS * 2, TEXTS * 2]
    for text, head in np.ndindex(TEXTS, 2):
        operator = heads[f"text {text} layer 0 head {head}"]
        assert np.abs(operator.matrix - doubles(weights[text, head])).max() <= bound(model, tokens())
        assert operator.origin.kernel == {"softly capped": "softcap:0.7", "with a sink": "sink"}.get(name, "softmax")
        assert operator.origin.mask == ("causal" if name == "causal" else "bidirectional")
    [layer] = kept.layers
    scale = {"scaled before": 1.0, "scaled on both sides": 1.0, "of the other sign": 1.0}
    assert layer.scale == pytest.approx(0.3217 if "unusual" in name else scale.get(name, 0.5), rel=8 * UNIT)


@pytest.mark.parametrize("name", FLAT)
def test_where_texts_and_heads_share_an_axis_each_matrix_is_a_head(name: str) -> None:
    model = model_of(FLAT[name])
    heads, (_, weights), _ = captured(model, tokens())
    every = doubles(weights).reshape(-1, TOKENS, TOKENS)
    assert list(heads) == [f"layer 0 head {head}" for head in range(len(every))]
    for operator, own in zip(heads.values(), every, strict=True):
        assert np.abs(operator.matrix - own).max() <= bound(model, tokens())


@pytest.mark.parametrize("name", SUMS)
def test_sums_of_products_are_given_to_a_callback_and_named_without_one(name: str) -> None:
    model = model_of(SUMS[name])
    heads: list[Operator] = []
    with torch.no_grad(), rs.capture(model, heads.append) as given:
        _, weights = model(tokens())
    assert given.notes == ()
    for operator, own in zip(heads, doubles(weights).reshape(-1, TOKENS, TOKENS), strict=True):
        assert np.abs(operator.matrix - own).max() <= bound(model, tokens())
    with torch.no_grad(), rs.capture(model) as kept:
        model(tokens())
    assert (len(kept), kept.notes) == (
        0, ("not kept: layer 0, whose scores are no product of queries and keys: give each=callback",),
    )  # fmt: skip


def test_a_softmax_that_one_call_leaves_open_is_not_that_of_the_next() -> None:
    """Weights that nothing is mixed with, by a model whose queries then look like weights: as many numbers as keys."""

    def form(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        weights = torch.softmax(q @ k.mT, dim=-1)
        return weights, weights

    model = model_of(form)
    with pytest.raises(InputError, match="RS107"), torch.no_grad(), rs.capture(model):
        [model(tokens(4)) for _ in range(2)]


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_attention_is_refused_with_the_remedy(name: str) -> None:
    with pytest.raises(InputError, match="set_attn_implementation") as caught, rs.capture(model_of(NONE[name])):
        model_of(NONE[name])(tokens())
    assert caught.value.code == "RS107"


def masked(number: float) -> Form:
    """Causal attention whose mask is added; the second text is padded on the left by two tokens."""

    def form(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        hide = torch.ones(TOKENS, TOKENS).triu(1).bool().expand(TEXTS, 1, -1, -1).clone()
        hide[1, :, :, :2] = True
        weights = torch.softmax(q @ k.mT * 0.5 + torch.zeros(hide.shape).masked_fill(hide, number), dim=-1)
        return weights @ v, weights

    return form


@pytest.mark.parametrize("number", [-1e4, -1e9, torch.finfo(torch.float32).min, -math.inf])
def test_masks_that_are_added_have_their_names_and_rows_that_see_nothing_are_left_out(number: float) -> None:
    """The rows of the padding see nothing: what a model makes of them says nothing, and they go with their keys."""
    model = model_of(masked(number))
    heads, (_, weights), kept = captured(model, tokens())
    first, second = heads["text 0 layer 0 head 1"], heads["text 1 layer 0 head 1"]
    assert [(each.origin.mask, each.shape) for each in (first, second)] == [("causal", (5, 5)), ("causal", (3, 3))]
    assert second.origin.notes == ("padding: 2 tokens left out",)
    assert np.abs(first.matrix - doubles(weights[0, 1])).max() <= bound(model, tokens())
    assert np.abs(second.matrix - doubles(weights[1, 1])[2:, 2:]).max() <= bound(model, tokens())
    assert kept.layers[0].fidelity.max() <= bound(model, tokens())


def test_a_row_that_sees_nothing_is_kept_as_a_zero_row_where_its_key_is_seen() -> None:
    def form(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        hide = torch.zeros(TOKENS, TOKENS).bool()
        hide[3] = True
        weights = torch.softmax((q @ k.mT * 0.5).masked_fill(hide, -1e9), dim=-1)
        return weights @ v, weights

    heads, _, _ = captured(model_of(form), tokens())
    for operator in heads.values():
        assert operator.shape == (TOKENS, TOKENS)
        assert np.flatnonzero(~np.asarray(operator.matrix).any(axis=1)).tolist() == [3]
        assert operator.origin.notes == ("rows that see nothing: 1, kept as zero rows",)


def test_a_sink_that_differs_from_row_to_row_is_named_with_and_without_a_callback() -> None:
    def form(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        weights = torch.softmax(torch.cat([q @ k.mT * 0.5, q.sum(-1, keepdim=True)], dim=-1), dim=-1)[..., :-1]
        return weights @ v, weights

    model, heads = model_of(form), list[Operator]()
    for each in (None, heads.append):
        with torch.no_grad(), rs.capture(model, each) as kept:
            model(tokens())
        assert (len(kept), heads) == (0, [])
        [note] = kept.notes
        assert note == "left out: layer 0, whose softmax has a column that is no key and differs from row to row"


def test_cross_attention_by_hand_with_more_queries_than_keys_and_fewer() -> None:
    for rows, columns in ((3, 7), (7, 3), (1, 4)):
        model = model_of(FORMS["by matmul"])
        heads, (_, weights), kept = captured(model, tokens(rows), tokens(columns, seed=7))
        assert len(kept) == 4
        for text, head in np.ndindex(TEXTS, 2):
            operator = heads[f"text {text} layer 0 head {head}"]
            assert operator.shape == (rows, columns)
            away = np.abs(operator.matrix - doubles(weights[text, head])).max()
            assert away <= bound(model, tokens(rows), tokens(columns, seed=7))


def test_a_query_that_asks_all_tokens_is_no_step_of_generation() -> None:
    """Attention pooling: one query, called once or on two texts one after another."""
    model, heads = model_of(FORMS["by matmul"]), list[Operator]()
    with torch.no_grad(), rs.capture(model, heads.append) as given, rs.capture(model) as kept:
        model(tokens(1), tokens(seed=7))
        model(tokens(1), tokens(seed=8))
    assert [len(heads), len(kept)] == [8, 8]
    assert given.notes == kept.notes == ()
    assert {each.origin.stack for each in kept} == {
        f"call {call} text {text}" for call in range(2) for text in range(2)
    }


# ------------------------------------------------------------------------------------------------------- generation


@cache
def language_model(name: str) -> Any:
    """A model that predicts the next token, with the layers of the tiny one."""
    import transformers

    backbone = loaded(name)
    kind = {
        "gpt2": "GPT2LMHeadModel",
        "llama": "LlamaForCausalLM",
        "mistral": "MistralForCausalLM",
        "t5": "T5ForConditionalGeneration",
    }[name]
    config = copy.deepcopy(backbone.config)
    config.update({"pad_token_id": 0, "eos_token_id": None, "bos_token_id": 1, "decoder_start_token_id": 0})
    torch.manual_seed(4)
    model = getattr(transformers, kind)(config).eval()
    inner = model if name == "t5" else getattr(model, model.base_model_prefix)
    inner.load_state_dict(backbone.state_dict(), strict=name != "t5")
    return model


def generated(
    name: str, prompt: Tensor, implementation: str = "sdpa", **options: Any
) -> tuple[Tensor, Capture, dict[str, Operator]]:
    """What a language model continues a prompt with, its attention while it does, and that of one call on the whole."""
    model = language_model(name)
    model.set_attn_implementation(implementation)
    heads: list[Operator] = []
    options = {"max_new_tokens": 4, "do_sample": False, "attention_mask": (prompt > 0).long(), **options}
    with torch.no_grad(), rs.capture(model) as kept, rs.capture(model, heads.append):
        made = model.generate(prompt, **options)
    with torch.no_grad():
        assert torch.equal(made, model.generate(prompt, **options))
    heads.clear()
    with torch.no_grad(), rs.capture(model, heads.append):
        model(made[:, :-1], attention_mask=(made[:, :-1] > 0).long())
    return made, kept, by_label(heads)


@pytest.mark.parametrize("length", [1, 2, 6])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_steps_of_generation_are_one_causal_matrix(name: str, length: int, implementation: str) -> None:
    prompt = torch.randint(3, 99, (1, length), generator=torch.Generator().manual_seed(2))
    made, kept, whole = generated(name, prompt, implementation)
    assert made.shape[1] == length + 4
    assert kept.notes == ()
    assert [each.origin.label for each in kept] == list(whole)
    for operator in kept:
        other = whole[operator.origin.label]
        assert operator.shape == (length + 3, length + 3)
        assert operator.origin.mask == "causal"
        assert operator.origin.scale == pytest.approx(1.0, rel=2 * 2.0**-53)
        assert np.abs(operator.matrix - other.matrix).max() <= ROUNDING
        assert operator.origin.fidelity is not None


def test_texts_of_several_lengths_generate_padded_on_the_left() -> None:
    prompt = torch.tensor([[5, 6, 7, 8], [0, 0, 9, 10]])
    made, kept, whole = generated("llama", prompt)
    assert made.shape == (2, 8)
    assert kept.notes == ()
    for operator in kept:
        assert operator.shape == ((7, 7) if "text 0" in operator.origin.label else (5, 5))
        assert operator.origin.mask == "causal"
        assert np.abs(operator.matrix - whole[operator.origin.label].matrix).max() <= ROUNDING


def test_a_cache_that_forgets_is_joined_as_far_as_it_remembers_and_named_beyond() -> None:
    """Mistral with a window of six tokens: the prompt fills it."""
    prompt = torch.randint(3, 99, (1, 8), generator=torch.Generator().manual_seed(2))
    _, kept, whole = generated("mistral", prompt)
    for operator in kept:
        assert operator.origin.mask == "causal & window:6"
        n = operator.shape[0]
        assert np.abs(operator.matrix - whole[operator.origin.label].matrix[:n, :n]).max() <= ROUNDING
    assert {operator.shape for operator in kept} == {(8, 8)}
    assert kept.notes == ("not analysed: 6 calls of single steps of generation, continuing no call that is kept",)


def test_beams_are_joined_until_they_are_exchanged_and_named_from_then_on() -> None:
    """Whatever is joined is the attention of a text: its keys are those of the steps before, to the last bit."""
    prompt = torch.randint(3, 99, (1, 5), generator=torch.Generator().manual_seed(2))
    _, kept, _ = generated("llama", prompt, num_beams=3, max_new_tokens=6)
    joined = sum(layer.shape[0] - 5 for layer in kept.layers)
    assert 0 <= joined < 2 * 5
    assert kept.notes == (
        f"not analysed: {2 * 5 - joined} calls of single steps of generation, continuing no call that is kept",
    )
    assert {operator.origin.mask for operator in kept} == {"causal"}


def test_single_steps_are_not_given_to_a_callback_and_are_counted() -> None:
    model, heads = language_model("gpt2"), list[Operator]()
    with torch.no_grad(), rs.capture(model, heads.append) as given:
        model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=3, do_sample=False)
    assert [each.shape for each in heads] == [(3, 3)] * 8
    assert given.notes == ("not analysed: 4 calls of single steps of generation, continuing no call that is kept",)


def test_an_encoder_is_read_once_and_its_decoder_step_by_step() -> None:
    """T5: the decoder begins with one token, and asks the same encoder again and again."""
    model, heads = language_model("t5"), list[Operator]()
    prompt = torch.randint(3, 99, (1, 6), generator=torch.Generator().manual_seed(2))
    options = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    with torch.no_grad(), rs.capture(model) as kept, rs.capture(model, heads.append) as given:
        made = model.generate(prompt, **options)
    whole: list[Operator] = []
    with torch.no_grad(), rs.capture(model, whole.append):
        model(prompt, decoder_input_ids=made[:, :-1])
    assert kept.notes == ()
    found = {(each.origin.stack, each.origin.layer, each.origin.head): each for each in kept}
    for operator in whole:
        call = "call 0" if operator.origin.stack == "encoder" else "call 1"
        own = found.pop((f"{call} {operator.origin.stack}", operator.origin.layer, operator.origin.head))
        assert own.shape == operator.shape
        assert np.abs(own.matrix - operator.matrix).max() <= ROUNDING
        assert own.origin.mask == operator.origin.mask
    assert found == {}
    assert given.notes == ("not analysed: 12 calls of single steps of generation, continuing no call that is kept",)
    assert {each.shape for each in heads} == {(6, 6), (1, 1), (1, 6)}


def test_two_texts_in_one_block_are_two_calls() -> None:
    model, heads = loaded("gpt2"), list[Operator]()
    with torch.no_grad(), rs.capture(model) as kept, rs.capture(model, heads.append):
        model(torch.tensor([[5, 6, 7]]))
        model(torch.tensor([[8, 9]]))
    assert [each.origin.label for each in kept][::8] == ["call 0 layer 0 head 0", "call 1 layer 0 head 0"]
    assert [each.origin.label for each in heads][::8] == ["layer 0 head 0", "call 1 layer 0 head 0"]
    assert [each.shape for each in kept] == [(3, 3)] * 8 + [(2, 2)] * 8


# ---------------------------------------------------------------------------------------------------------- training


def trained(model: nn.Module, watch: bool) -> tuple[list[Tensor], Tensor]:
    """The gradients of one step, and what the random stream holds after it."""
    torch.manual_seed(9)
    model.zero_grad()
    if watch:
        with rs.capture(model):
            model(SOURCE, TARGET).square().sum().backward()
    else:
        model(SOURCE, TARGET).square().sum().backward()
    return [each.grad.clone() for each in model.parameters() if each.grad is not None], torch.randn(4)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_and_the_random_stream_are_those_without_capture(dropout: float) -> None:
    torch.manual_seed(3)
    model = nn.Transformer(8, 2, 2, 2, 16, dropout=dropout, batch_first=True).train()
    plain, stream = trained(model, watch=False)
    watched, after = trained(model, watch=True)
    assert len(plain) == len(list(model.parameters()))
    assert same(plain, watched)
    assert torch.equal(stream, after)


def test_gradients_of_attention_written_out_are_those_without_capture() -> None:
    model = model_of(FORMS["with a sink"]).train()
    grads = []
    for watch in (False, True):
        model.zero_grad()
        heads: list[Operator] = []
        with rs.capture(model, heads.append) if watch else rs.capture(model):
            model(tokens())[0].square().sum().backward()
        grads.append([each.grad.clone() for each in model.parameters() if each.grad is not None])
    model.zero_grad()
    model(tokens())[0].square().sum().backward()
    plain = [each.grad for each in model.parameters() if each.grad is not None]
    assert same(grads[0], plain)
    assert same(grads[1], plain)


@pytest.mark.parametrize("reentrant", [True, False])
def test_layers_that_are_computed_again_for_their_gradients_are_seen_once(reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.TransformerEncoderLayer(**SIZES) for _ in range(2)])

        def forward(self, given: Tensor) -> Tensor:
            for each in self.layers:
                given = checkpoint(each, given, use_reentrant=reentrant)
            return given

    model = Checkpointed()
    with rs.capture(model) as kept:
        model(SOURCE.clone().requires_grad_(True)).sum().backward()
    assert [(held.site.layer, held.site.passed) for held in kept.held] == [(0, 0), (1, 0)]


def test_dropout_in_training_leaves_the_weights_before_it() -> None:
    """A fused call drops within: what the same function makes of random values without dropout says what it used."""
    module = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True).train()
    for weights in (True, False):
        heads: list[Operator] = []
        with rs.capture(module, heads.append):
            module(SOURCE, SOURCE, SOURCE, need_weights=weights)
        assert all(each.origin.fidelity is not None and each.origin.fidelity < 1e-6 for each in heads)
        assert len(heads) == 4
        assert all(np.abs(np.asarray(each.matrix).sum(axis=1) - 1).max() <= 64 * 2.0**-53 for each in heads)


def hooks(model: nn.Module) -> int:
    names = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_always_called", "_backward_hooks")
    return sum(len(getattr(module, name)) for module in model.modules() for name in names)


def test_hooks_and_the_mode_are_gone_after_the_block_however_it_ends() -> None:
    model = encoder()
    depth = torch._C._len_torch_function_stack()
    with rs.capture(model):
        assert hooks(model) > 0
        assert torch._C._len_torch_function_stack() == depth + 1
        model(SOURCE)
    assert hooks(model) == 0
    for bad in (lambda: model(SOURCE[..., :3]), lambda: 1 / 0):
        with pytest.raises((AssertionError, ZeroDivisionError, RuntimeError)), rs.capture(model):
            bad()
        assert hooks(model) == 0
        assert torch._C._len_torch_function_stack() == depth
    with pytest.raises(InputError, match="RS107"), rs.capture(model):
        pass
    assert hooks(model) == 0


def test_a_model_that_raised_is_followed_rightly_afterwards() -> None:
    model = encoder()
    with torch.no_grad(), rs.capture(model) as kept:
        with pytest.raises((AssertionError, RuntimeError)):
            model(SOURCE[..., :3])
        model(SOURCE)
        nn.functional.scaled_dot_product_attention(SOURCE, SOURCE, SOURCE)
    assert [held.site.layer for held in kept.held] == [0, 1]
    assert {held.site.module for held in kept.held} == {"layers.0.self_attn", "layers.1.self_attn"}
    assert len(kept) == 8, "what runs outside of the model is not its own"


def test_an_error_of_a_callback_is_the_users_own_and_leaves_nothing_behind() -> None:
    model = encoder()

    def failing(_: Operator) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), rs.capture(model, failing):
        model(SOURCE)
    assert hooks(model) == 0
    assert len(captured(model, SOURCE)[0]) == 8


@pytest.mark.parametrize("name", ["multi-head", "written"])
def test_captures_within_captures_see_the_same(name: str) -> None:
    model = encoder() if name == "multi-head" else model_of(FLAT["by bmm"])
    given = SOURCE if name == "multi-head" else tokens()
    alone = captured(model, given)[0]
    outer: list[Operator] = []
    inner: list[Operator] = []
    with torch.no_grad(), rs.capture(model, outer.append), rs.capture(model, inner.append):
        model(given)
    for found in (by_label(outer), by_label(inner)):
        assert list(found) == list(alone)
        assert all(np.array_equal(found[label].matrix, alone[label].matrix) for label in alone)


def test_a_part_of_a_model_can_be_captured() -> None:
    model = both()
    assert isinstance(model.decoder, nn.Module)
    with torch.no_grad(), rs.capture(model.decoder) as kept:
        model(SOURCE, TARGET)
    assert [(held.site.stack, held.site.layer) for held in kept.held] == [("", 0), ("", 1), ("cross", 0), ("cross", 1)]


def test_attention_outside_of_the_model_is_not_its_own() -> None:
    model, other = encoder(1), encoder(1)
    with torch.no_grad(), rs.capture(model) as kept:
        other(SOURCE)
        model(SOURCE)
    assert len(kept) == 4
    with pytest.raises(InputError, match="RS107"), rs.capture(model):
        other(SOURCE)


# ------------------------------------------------------------------------------------------------- what is captured


def test_layers_and_heads_can_be_chosen() -> None:
    model = encoder()
    for layers, heads, wanted in (
        (1, None, [(1, 0), (1, 1)]),
        (None, 1, [(0, 1), (1, 1)]),
        ([0, 1], [0], [(0, 0), (1, 0)]),
        ((0,), (1,), [(0, 1)]),
    ):
        found: list[Operator] = []
        with torch.no_grad(), rs.capture(model, layers=layers, heads=heads) as kept:
            model(SOURCE[:1])
        with torch.no_grad(), rs.capture(model, found.append, layers=layers, heads=heads):
            model(SOURCE[:1])
        for operators in (list(kept), found):
            assert [(each.origin.layer, each.origin.head) for each in operators] == wanted
        assert len(kept) == len(wanted)


def test_what_is_kept_is_queries_and_keys_and_no_matrix() -> None:
    model = encoder()
    with torch.no_grad(), rs.capture(model) as kept:
        model(SOURCE)
    assert kept.size == 2 * 2 * SOURCE.numel() * 4
    assert kept.described() == {"kind": "model", "model": "TransformerEncoder"}


def test_a_capture_is_analysed_as_it_is() -> None:
    model = encoder()
    heads, _, kept = captured(model, SOURCE)
    found = rs.analyze(kept, measures=("effective_rank", "logdet"))
    alone = rs.analyze(list(heads.values()), measures=("effective_rank", "logdet"))
    assert found["effective_rank"].values == alone["effective_rank"].values  # type: ignore[union-attr]
    assert [each.label for each in found.table.matrices] == list(heads)
    assert [each.fidelity for each in found.table.matrices] == [each.origin.fidelity for each in heads.values()]
    assert {each.source for each in found.table.matrices} == {"TransformerEncoder"}


@pytest.mark.parametrize(("bad", "code"), [(math.nan, "RS110"), (math.inf, "RS111")])
@pytest.mark.parametrize("name", ["by matmul", "fused", "alibi"])
def test_a_head_that_holds_no_numbers_spoils_no_other(name: str, bad: float, code: str) -> None:
    def fused(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.scaled_dot_product_attention(q, k, v), q

    form = {**FORMS, **SUMS, "fused": fused}[name]

    def broken(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        q = q.clone()
        q[1, 0, 2, 3] = bad
        return form(module, q, k, v)

    heads: list[Operator] = []
    model = model_of(broken)
    with torch.no_grad(), rs.capture(model, heads.append) as given:
        model(tokens())
    assert [each.origin.label for each in heads] == [f"text {b} layer 0 head {h}" for b, h in ((0, 0), (0, 1), (1, 1))]
    [note] = given.notes
    assert note.startswith("left out: text 1 layer 0 head 0, ")
    if name in SUMS:
        return
    with torch.no_grad(), rs.capture(model) as kept:
        model(tokens())
    found = rs.analyze(kept, measures="effective_rank")
    codes = [record.code for record in found["effective_rank"]]  # type: ignore[union-attr]
    assert codes == [None, None, code, None]
    for operator, job in zip(heads, [job for number, job in enumerate(kept.jobs) if number != 2], strict=True):
        assert np.array_equal(job.make().matrix, operator.matrix)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(RankscopeError, match="RS105"), rs.capture(lambda given: given):  # type: ignore[arg-type]
        pass
