"""A model without its skip connections or its MLPs: what is left is the same model written without them, bit by bit."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rankscope.errors import UsageError
from rankscope.generators.capture.ablation import Ablation, Parts, without

WIDTH, HEADS, TOKENS = 16, 2, 7
EVERY = [Parts(skip, mlp) for skip in (True, False) for mlp in (True, False)]


class Gelu(nn.Module):
    """An activation that is an addition inside, of what it is given to something else."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1.0 + torch.tanh(0.7978845608 * (x + 0.044715 * x**3)))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (each.unflatten(-1, (HEADS, -1)).transpose(1, 2) for each in self.project(x).chunk(3, dim=-1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        found: Tensor = self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        return found


class Layer(nn.Module):
    """A layer whose norms stand before its branches, after them, or whose branches stand beside each other."""

    def __init__(self, kind: str, parts: Parts, *, square: bool) -> None:
        super().__init__()
        self.kind, self.parts = kind, parts
        hidden = WIDTH if square else 4 * WIDTH
        self.attention = Attention()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, hidden), Gelu(), nn.Linear(hidden, WIDTH), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "beside":
            found: Tensor = self.mlp(self.second(x)) + self.attention(self.first(x))
            return found + x if self.parts.skip else found
        if self.kind == "after":
            x = self.first(self.joined(x, self.attention(x)))
            return self.second(self.joined(x, self.mlp(x)) if self.parts.mlp else x)  # type: ignore[no-any-return]
        x = self.joined(x, self.attention(self.first(x)))
        return self.joined(x, self.mlp(self.second(x))) if self.parts.mlp else x

    def joined(self, x: Tensor, branch: Tensor) -> Tensor:
        return x + branch if self.parts.skip else branch


class Model(nn.Module):
    def __init__(self, kind: str, parts: Parts, *, square: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.places = nn.Parameter(torch.randn(TOKENS, WIDTH))
        self.layers = nn.ModuleList(Layer(kind, parts, square=square) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.places
        for layer in self.layers:
            x = layer(x)
        return x


def tokens() -> Tensor:
    return torch.randn(2, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("parts", EVERY, ids=lambda parts: parts.design)
@pytest.mark.parametrize("square", [False, True], ids=["wide", "square"])
@pytest.mark.parametrize("kind", ["before", "after"])
def test_what_is_left_is_the_model_that_was_written_without_it(kind: str, square: bool, parts: Parts) -> None:
    whole, wanted = (Model(kind, each, square=square).eval() for each in (Parts(), parts))
    x = tokens()
    with torch.no_grad():
        expected = wanted(x)
    assert torch.equal(without(whole, parts, lambda: whole(x)), expected)


def test_branches_side_by_side_lose_their_skip_and_keep_their_mlp() -> None:
    whole, wanted = (Model("beside", each).eval() for each in (Parts(), Parts(skip=False)))
    x = tokens()
    with torch.no_grad():
        expected = wanted(x)
    assert torch.equal(without(whole, Parts(skip=False), lambda: whole(x)), expected)
    for parts in (Parts(mlp=False), Parts(skip=False, mlp=False)):
        with pytest.raises(UsageError, match="stand beside attention") as refused:
            without(whole, parts, lambda: whole(x))
        assert refused.value.code == "RS003"


def test_skips_that_are_not_found_are_refused() -> None:
    model = Model("before", Parts(skip=False)).eval()
    with pytest.raises(UsageError, match="0 skip connections were found at 3 attentions"):
        without(model, Parts(skip=False), lambda: model(tokens()))


ODD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "in place": lambda x, f: x.add_(f),
    "a method in place": lambda x, f: x.__iadd__(f),
    "a factor": lambda x, f: torch.add(x, f, alpha=0.5),
    "another product": lambda x, f: torch.addcmul(x, f, torch.ones_like(f)),
    "a difference": lambda x, f: x - (-f),
    "a copy": lambda x, f: x * 1 + f,
    "a stack": lambda x, f: torch.stack([x, f]).sum(0),
    "a view": lambda x, f: x.view(x.shape) + f,
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("where", ["attention", "mlp", "both"])
def test_tokens_that_are_added_in_another_way_are_refused_or_left_out_rightly(name: str, where: str) -> None:
    """Never is something else computed than what is said: a way that is not understood is refused."""

    class Odd(Layer):
        def forward(self, x: Tensor) -> Tensor:
            for kind, norm, branch in (("attention", self.first, self.attention), ("mlp", self.second, self.mlp)):
                f = branch(norm(x))
                keeps = self.parts.skip or self.parts is None
                add = ODD[name] if where in (kind, "both") else (lambda x, f: x + f)
                x = (add(x, f) if keeps else f) if kind == "attention" or self.parts.mlp else x
            return x

    def made(parts: Parts) -> nn.Module:
        model = Model("before", parts)
        for layer in model.layers:
            layer.__class__ = Odd
        return model.eval()

    for parts in EVERY[1:]:
        with torch.no_grad():
            expected = made(parts)(tokens())
        model = made(Parts())
        found, code = None, ""
        try:
            found = without(model, parts, partial(model, tokens()))
        except UsageError as refused:
            code = refused.code
        assert code == "RS003" or (found is not None and torch.equal(found, expected)), (name, where, parts)


class Macaron(Model):
    """An MLP before attention too."""

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.places
        for layer in self.layers:
            x = layer(x + 0.5 * layer.mlp(layer.second(x)))  # type: ignore[operator]
        return x


class Placed(Model):
    """Places are added in every layer."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x + self.places.expand(x.shape))
        return x


@pytest.mark.parametrize("made", [Macaron, Placed])
@pytest.mark.parametrize("parts", EVERY[1:], ids=lambda parts: parts.design)
def test_what_is_added_beside_branches_is_refused(made: type[Model], parts: Parts) -> None:
    model = made("before", Parts()).eval()
    with pytest.raises(UsageError, match="RS003"):
        without(model, parts, lambda: model(tokens()[:1]))


def test_the_model_is_left_as_it_was_whatever_happens() -> None:
    model = Model("after", Parts()).eval()
    x = tokens()
    with torch.no_grad():
        before = model(x)

    def fail() -> None:
        model(x)
        raise KeyError

    with pytest.raises(KeyError):
        without(model, Parts(skip=False), fail)
    with torch.no_grad():
        assert torch.equal(model(x), before)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def bert() -> tuple[Any, dict[str, Any], int]:
    from transformers import BertConfig, BertModel

    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    }
    return BertModel(BertConfig(**sizes, vocab_size=30)), {"input_ids": torch.arange(9)[None]}, 3


def gpt2() -> tuple[Any, dict[str, Any], int]:
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(vocab_size=30, n_embd=16, n_layer=3, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0)
    return GPT2Model(config), {"input_ids": torch.arange(9)[None], "use_cache": False}, 3


def t5() -> tuple[Any, dict[str, Any], int]:
    from transformers import T5Config, T5Model

    ids = torch.arange(9)[None]
    config = T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, vocab_size=30)
    return T5Model(config), {"input_ids": ids, "decoder_input_ids": ids, "use_cache": False}, 6


@pytest.mark.parametrize("made", [bert, gpt2, t5], ids=lambda made: made.__name__)
def test_a_skip_is_found_at_every_attention_and_every_mlp(made: Callable[[], tuple[Any, dict[str, Any], int]]) -> None:
    torch.manual_seed(0)
    model, inputs, attentions = made()
    ablation = Ablation(Parts())
    with torch.no_grad(), ablation.watching(model.eval()):
        model(**inputs)
    mlps = {"BertModel": 3, "GPT2Model": 3, "T5Model": 4}[type(model).__name__]
    found = ablation.found
    assert (found.calls, found.skips.count("attention"), found.mlps, found.odd) == (attentions, attentions, mlps, [])


def test_bert_without_skips_is_bert_whose_output_modules_add_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.bert import modeling_bert

    torch.manual_seed(0)
    model, inputs, _ = bert()
    model.eval()
    found = without(model, Parts(skip=False), lambda: model(**inputs).last_hidden_state)

    def alone(self: Any, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(hidden_states)))  # type: ignore[no-any-return]

    for name in ("BertSelfOutput", "BertOutput"):
        monkeypatch.setattr(getattr(modeling_bert, name), "forward", alone)
    with torch.no_grad():
        assert torch.equal(found, model(**inputs).last_hidden_state)
