"""Tiny models of the architectures in use: saved as their library saves them, loaded as a user loads them, and what
they say themselves of their attention.

Weights are random and large enough that attention is far from uniform. Two texts are read at once; the second one is
padded on the right, where the model reads text.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch

import rankscope as rs
from rankscope.attention.operators import Operator
from rankscope.generators.capture.capturing import Capture
from rankscope.generators.capture.interception import Call, Fused, Interception
from rankscope.generators.capture.layer import of_head, visible
from rankscope.generators.capture.scored import HIDDEN
from rankscope.generators.pretrained.loading import load_model, quietly
from tests.oracles import Float64

TEXTS: Final = 2
TOKENS: Final = 12
SHOWN: Final = 9
"""Tokens of the second text; what follows is padding."""

WRITTEN: Final = 7
"""Tokens that a decoder is given."""

HEADS: Final = 4

SMALL: Final[dict[str, Any]] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "intermediate_size": 37,
    "max_position_embeddings": 64,
}
GROUPED: Final[dict[str, Any]] = {**SMALL, "num_key_value_heads": 2, "head_dim": 8}
SIDES: Final[dict[str, Any]] = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "encoder_ffn_dim": 37,
    "decoder_ffn_dim": 37,
}
STARTS: Final[dict[str, Any]] = {
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
}


@dataclass(frozen=True)
class Architecture:
    """A configuration, and what its attention is known to be: the masks that it has, and what is made of scores.

    `pairs` says whether its scores are products of queries and keys; `kernel` and `positions` what they become, and
    `padded` whether padding is hidden from all queries and left out.
    """

    configuration: str
    options: Mapping[str, Any]
    masks: frozenset[str]
    kernel: str = "softmax"
    positions: frozenset[str | None] = frozenset({None})
    pairs: bool = True
    padded: bool = True
    stacks: tuple[str, ...] = ("",)


BOTH, BACK, BAND = frozenset({"bidirectional"}), frozenset({"causal"}), frozenset({"causal & window:6"})
TWO: Final = ("encoder", "decoder", "cross")
WIDE: Final = {"vocab_size": 99, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}

ARCHITECTURES: Final[dict[str, Architecture]] = {
    "bert": Architecture("BertConfig", SMALL, BOTH),
    "roberta": Architecture("RobertaConfig", SMALL, BOTH),
    "deberta-v2": Architecture(
        "DebertaV2Config", {**SMALL, **WIDE, "max_relative_positions": 32, "position_buckets": 16}, BOTH, pairs=False
    ),
    "distilbert": Architecture(
        "DistilBertConfig", {"vocab_size": 99, "dim": 32, "n_layers": 2, "n_heads": HEADS, "hidden_dim": 37}, BOTH
    ),
    "modernbert": Architecture(
        "ModernBertConfig",
        {**SMALL, "global_attn_every_n_layers": 2, "local_attention": 8, "pad_token_id": 0},
        BOTH | {"window:5"},
    ),
    "albert": Architecture("AlbertConfig", {**SMALL, "embedding_size": 16}, BOTH),
    "gpt2": Architecture(
        "GPT2Config", {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": HEADS, "n_positions": 64}, BACK
    ),
    "gpt-neox": Architecture("GPTNeoXConfig", SMALL, BACK),
    "llama": Architecture("LlamaConfig", GROUPED, BACK),
    "mistral": Architecture("MistralConfig", {**GROUPED, "sliding_window": 6}, BAND),
    "qwen3": Architecture("Qwen3Config", GROUPED, BACK),
    "gemma2": Architecture(
        "Gemma2Config",
        {**GROUPED, "sliding_window": 6, "attn_logit_softcapping": 1.5, "query_pre_attn_scalar": 8},
        BACK | BAND,
        "softcap:1.5",
    ),
    "gpt-oss": Architecture(
        "GptOssConfig",
        {**GROUPED, "intermediate_size": 32, "num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 6},
        BACK | BAND,
        "sink",
    ),
    "mpt": Architecture(
        "MptConfig", {"d_model": 32, "n_heads": HEADS, "n_layers": 2, "vocab_size": 99}, BACK, pairs=False
    ),
    "bloom": Architecture(
        "BloomConfig", {"vocab_size": 99, "hidden_size": 32, "n_layer": 2, "n_head": HEADS}, BACK, pairs=False
    ),
    "xlnet": Architecture(
        "XLNetConfig",
        {"vocab_size": 99, "d_model": 32, "n_layer": 2, "n_head": HEADS, "d_inner": 37},
        BOTH | {"given mask"},
        pairs=False,
        padded=False,
    ),
    "t5": Architecture(
        "T5Config",
        {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": HEADS},
        BOTH | BACK,
        positions=frozenset({None, "captured"}),
        stacks=TWO,
    ),
    "bart": Architecture("BartConfig", {**SIDES, "max_position_embeddings": 64}, BOTH | BACK, stacks=TWO),
    "whisper": Architecture(
        "WhisperConfig",
        {**SIDES, **STARTS, "max_source_positions": 16, "max_target_positions": 32, "num_mel_bins": 8},
        BOTH | BACK,
        padded=False,
        stacks=TWO,
    ),
    "vit": Architecture(
        "ViTConfig",
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": HEADS,
            "intermediate_size": 37,
            "image_size": 16,
            "patch_size": 4,
        },
        BOTH,
        padded=False,
    ),
}
PAIRED: Final = [name for name, each in ARCHITECTURES.items() if each.pairs]
SHARING: Final = [name for name, each in ARCHITECTURES.items() if "num_key_value_heads" in each.options]


def untrained(name: str) -> Any:
    """A model with random weights, as its library makes it."""
    import transformers

    known = ARCHITECTURES[name]
    library: Any = transformers
    model = library.AutoModel.from_config(getattr(library, known.configuration)(**known.options))
    torch.manual_seed(sorted(ARCHITECTURES).index(name))
    with torch.no_grad():
        for weights in model.parameters():
            weights.normal_(0.0, 0.12) if weights.dim() > 1 else weights.add_(0.1 * torch.randn_like(weights))
    return model.eval()


@cache
def loaded(name: str, dtype: str | None = None) -> Any:
    """The model, saved in a folder and loaded from it."""
    import transformers

    with TemporaryDirectory() as folder, quietly(transformers):
        untrained(name).save_pretrained(folder)
        return load_model(Path(folder), dtype=dtype)


def inputs(name: str, *, padded: bool = True) -> dict[str, Any]:
    """Two texts, images or sounds, the same each time."""
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 99, (TEXTS, TOKENS), generator=random)
    if name == "vit":
        return {"pixel_values": torch.randn(TEXTS, 3, 16, 16, generator=random)}
    if name == "whisper":
        sound = torch.randn(TEXTS, 8, 32, generator=random)
        return {"input_features": sound, "decoder_input_ids": ids[:, :WRITTEN]}
    shown = torch.ones(TEXTS, TOKENS, dtype=torch.long)
    shown[1, SHOWN:] = 0
    given: dict[str, Any] = {"input_ids": ids} | ({"attention_mask": shown} if padded else {})
    return given | ({"decoder_input_ids": ids[:, :WRITTEN]} if "decoder" in ARCHITECTURES[name].stacks else {})


@dataclass(frozen=True)
class Observed:
    """One architecture, run as it is loaded and with its attention written out.

    `heads` are the matrices of the first run by their labels, `calls` what they were made of and `kept` the same run
    without a callback; `written` are those of a second run, and `own` the weights that the model itself gives in it.
    """

    heads: dict[str, Operator]
    calls: list[Call]
    kept: Capture
    written: dict[str, Operator]
    own: dict[str, Float64]


@cache
def observed(name: str) -> Observed:
    """What an architecture does on the two texts."""
    model, given = loaded(name), inputs(name)
    calls: list[Call] = []
    heads: list[Operator] = []
    written: list[Operator] = []
    implementation = model.config._attn_implementation
    with torch.no_grad(), Interception(calls.append), rs.capture(model, heads.append):
        model(**given)
    with torch.no_grad(), rs.capture(model) as kept:
        model(**given)
    model.set_attn_implementation("eager")
    with torch.no_grad(), rs.capture(model, written.append):
        out = model(**given, output_attentions=True)
    model.set_attn_implementation(implementation)
    return Observed(by_label(heads), calls, kept, by_label(written), own_weights(name, out))


def by_label(operators: list[Operator]) -> dict[str, Operator]:
    """Matrices by what they are called; two of one name would be a fault."""
    found = {each.origin.label: each for each in operators}
    assert len(found) == len(operators)
    return found


def own_weights(name: str, out: Any) -> dict[str, Float64]:
    """The weights that a model gives itself, by the labels of their heads."""
    names = {"": "attentions", "encoder": "encoder_attentions", "decoder": "decoder_attentions"}
    names["cross"] = "cross_attentions"
    return {
        " ".join(filter(None, [f"text {text}", stack, f"layer {layer} head {head}"])): doubles(weights[text, head])
        for stack in ARCHITECTURES[name].stacks
        for layer, weights in enumerate(out[names[stack]])
        for text in range(TEXTS)
        for head in range(HEADS)
    }


def doubles(tensor: torch.Tensor) -> Float64:
    """The numbers of a tensor, exactly."""
    return np.asarray(tensor.detach().double().numpy())


EXPONENTIAL: Final = 40
"""Units of roundoff of an exponential in torch's fused attention: it allows itself 20 units in the last place."""


def largest_score(query: Float64, key: Float64, scale: float, added: Float64 | None = None) -> float:
    """The largest Σ|q k|·scale + |bias|: what the rounding of a score is measured by."""
    sizes = scale * np.abs(query) @ np.abs(key).T
    return float((sizes if added is None else sizes + np.abs(added)).max())


def roundoff(size: float, d: int, keys: int, unit: float) -> float:
    """A bound on the relative error of a weight that is computed with this unit roundoff from d products and a bias.

    A score is a sum of d terms, scaled and added to: (d + 3)·u·size (Higham 2002, section 3.1). Numerator and
    denominator of softmax have that error each, the sum that of `keys` terms, besides two exponentials and a quotient.
    """
    return (2 * (d + 3) * size + keys + 2 * EXPONENTIAL + 2) * unit


ROUNDED: Final = 6
"""How often a score that is written out is stored on its way to softmax: product, scale, bias or mask, cap (three)."""


def fidelity_bound(call: Call, unit: float = 2.0**-24, stored: float = 0.0) -> float:
    """What rounding may make of the fidelity of the heads of a call; the hundredth covers products of errors.

    Weights that were written out are compared themselves: everything that was multiplied and kept before counts. Of a
    fused call the output is: Σ p|v| ≤ max|v|, relative to the largest output. Arithmetic has the roundoff `unit`; where
    numbers are `stored` in fewer bits, written scores are rounded several times, which moves a weight by half of that
    at most (p(1 − p) ≤ ¼, up and down), and weights and outputs once.
    """
    if not isinstance(call, Fused):
        pairs = [(left.detach().abs().float(), right.detach().abs().float()) for left, right in call.products]
        sizes = [float((left @ right.transpose(-1, -2)).max()) for left, right in pairs]
        kept = float(call.scores[call.scores > HIDDEN].abs().max())
        d = max(left.shape[-1] for left, _ in call.products)
        coarse = ROUNDED * max(kept, *sizes) * stored
        return 1.01 * roundoff(sum(sizes) + kept, d, call.scores.shape[-1], unit) + coarse / 2 * (1 + coarse) + stored
    batch, heads, _, d = call.query.shape
    scale = 1 / math.sqrt(d) if call.scale is None else call.scale
    worst = 0.0
    for text, head in np.ndindex(batch, heads):
        query, key = doubles(call.query[text, head]), doubles(call.key[text, head * call.key.shape[1] // heads])
        added = None if call.mask is None else of_head(call.mask, text, head)
        _, bias = visible(query @ key.T, added, call.causal)
        ratio = float(call.value[text].abs().max() / call.out[text].abs().max())
        size = largest_score(query, key, scale, bias)
        worst = max(worst, ratio * (roundoff(size, d, len(key), unit) + len(key) * unit + stored))
    return 1.01 * worst + stored
