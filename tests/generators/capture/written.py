"""Attention as people write it by hand: the same weights in many ways, and what looks like attention and is none.

Each form is given queries, keys and values of (batch, heads, tokens, numbers) and returns what it mixes, and how.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn

D: Final = 4
"""Numbers of a head, so that 1/√d is ½."""

HEADS: Final = 2
TOKENS: Final = 5
TEXTS: Final = 2

Form = Callable[[Any, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def mixed(scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.softmax(scores, dim=-1)
    return weights @ values, weights


def flat(tokens: Tensor) -> Tensor:
    """Batch and heads on one axis."""
    return tokens.flatten(0, 1)


def by_matmul(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.softmax(torch.matmul(q, k.transpose(-2, -1)) / 2, dim=-1)
    return torch.matmul(weights, v), weights


def by_operator(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return mixed(q @ k.mT * 0.5, v)


def by_method(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = q.matmul(k.mT).mul(0.5).softmax(-1)
    return weights.matmul(v), weights


def scaled_before(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return mixed((q * 0.5) @ k.mT, v)


def scaled_on_both_sides(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return mixed((q * 0.25) @ (2 * k).mT, v)


def by_bmm(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = nn.functional.softmax(torch.bmm(flat(q), flat(k).mT) * 0.5, dim=-1)
    return torch.bmm(weights, flat(v)), weights


def by_baddbmm(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    room = torch.empty(q.shape[0] * q.shape[1], q.shape[2], k.shape[2])
    weights = torch.baddbmm(room, flat(q), flat(k).mT, beta=0.0, alpha=0.5).softmax(dim=-1)
    return weights.bmm(flat(v)), weights


def by_einsum(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.softmax(torch.einsum("bhid,bhjd->bhij", q, k) * 0.5, dim=-1)
    return torch.einsum("bhij,bhjd->bihd", weights, v), weights


def by_einsum_with_heads_inside(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    weights = torch.softmax(torch.einsum("b i h d, b j h d -> b h i j", q, k) * 0.5, dim=3)
    return torch.einsum("bhij,bjhd->bihd", weights, v), weights


def by_einsum_with_dots(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.softmax(torch.einsum("...id,...jd->...ij", q, k) * 0.5, dim=-1)
    return torch.einsum("...ij,...jd->...id", weights, v), weights


def by_einsum_of_a_list(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.softmax(torch.einsum("bhid,bhjd->bhij", [q, k]) * 0.5, dim=-1)
    return torch.einsum("bhij,bhjd->bhid", [weights, v]), weights


def by_module(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = module.soft(q @ k.mT * 0.5)
    return module.drop(weights) @ v, weights


def by_special(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.special.softmax(torch.linalg.matmul(q, k.mT) * 0.5, -1)
    return torch.linalg.matmul(weights, v), weights


def into_a_buffer(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    room = torch.empty(*q.shape[:3], k.shape[2])
    weights = torch.softmax(torch.matmul(q, k.mT, out=room) * 0.5, dim=-1)
    return weights @ v, weights


def less_its_largest(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    scores = q @ k.mT * 0.5
    return mixed(scores - scores.amax(dim=-1, keepdim=True), v)


def of_the_other_sign(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return mixed(-(q @ k.mT), v)


def of_an_unusual_scale(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return mixed(q @ k.mT * 0.3217, v)


def of_one_key_head(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return mixed(q @ k[:, :1].mT * 0.5, v[:, :1])


def softly_capped(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return mixed(module.logits_soft_cap * torch.tanh(q @ k.mT * 0.5 / module.logits_soft_cap), v)


def with_a_sink(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    column = module.logits[None, :, None, None].expand(*q.shape[:3], 1)
    weights = torch.softmax(torch.cat([q @ k.mT * 0.5, column], dim=-1), dim=-1)[..., :-1]
    return weights @ v, weights


def causal(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    later = torch.ones(q.shape[2], k.shape[2]).triu(1).bool()
    return mixed((q @ k.mT * 0.5).masked_fill(later, float("-inf")), v)


def of_two_axes(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.softmax(torch.mm(q[0, 0], k[0, 0].T) * 0.5, dim=1)
    return weights.mm(v[0, 0]), weights


def of_three_axes(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return mixed(q[:, 0] @ k[:, 0].mT * 0.5, v[:, 0])


def of_values_without_axis(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.softmax(q[0, 0] @ k[0, 0].T * 0.5, dim=1)
    return weights @ v[0, 0, :, 0], weights


def with_values_projected_after_softmax(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Between softmax and its values stands another product, whose left side is as wide as the weights less one."""
    weights = torch.softmax(q @ k.mT * 0.5, dim=-1)
    return weights @ (v @ torch.eye(D)), weights


FORMS: Final[dict[str, Form]] = {
    form.__name__.replace("_", " "): form
    for form in (
        by_matmul, by_operator, by_method, scaled_before, scaled_on_both_sides, by_einsum, by_einsum_with_heads_inside,
        by_einsum_with_dots, by_einsum_of_a_list, by_module, by_special, into_a_buffer, less_its_largest,
        of_the_other_sign, of_an_unusual_scale, of_one_key_head, softly_capped, with_a_sink, causal,
        with_values_projected_after_softmax,
    )
}  # fmt: skip
"""Softmax of products of queries and keys, with batch and heads on axes of their own."""

FLAT: Final[dict[str, Form]] = {
    form.__name__.replace("_", " "): form
    for form in (by_bmm, by_baddbmm, of_two_axes, of_three_axes, of_values_without_axis)
}
"""The same where texts and heads cannot be told apart."""


def alibi(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    away = (torch.arange(k.shape[2]) - torch.arange(q.shape[2])[:, None]).abs()
    return mixed(q @ k.mT * 0.5 - 0.3 * away, v)


def shaw(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return mixed((q @ k.mT + torch.einsum("bhid,ijd->bhij", q, module.relative)) * 0.5, v)


def disentangled(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    places = module.relative[0]
    return mixed((q @ k.mT + q @ places.T + (k @ places.T).mT) * 0.5, v)


SUMS: Final[dict[str, Form]] = {form.__name__: form for form in (alibi, shaw, disentangled)}
"""Attention whose scores are no product of queries and keys."""


def router(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Each token mixes what experts have made of it."""
    gates = torch.softmax(module.gate(q), dim=-1)
    made = torch.stack([q * number for number in range(TOKENS)], dim=-2)
    return (gates[..., None, :] @ made)[..., 0, :], gates


def router_by_einsum(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    gates = torch.softmax(module.gate(q[0]), dim=-1)
    made = torch.stack([q[0] * number for number in range(TOKENS)], dim=-2)
    return torch.einsum("bne,bned->bnd", gates, made), gates


def flat_router(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """After a product that is no product of queries and keys for these scores."""
    tokens = q[0, 0] @ torch.ones(D, D)
    gates = torch.softmax(module.gate(tokens), dim=-1)
    return gates @ torch.ones(TOKENS, 3), gates


def classifier(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    shares = torch.softmax(module.gate(q), dim=-1)
    return shares, shares


def over_queries(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax over the wrong axis for attention: columns sum to one."""
    weights = torch.softmax(q @ k.mT, dim=-2)
    return weights @ v, weights


def logarithms(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.log_softmax(q @ k.mT, dim=-1)
    return weights @ v, weights


def sigmoids(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.sigmoid(q @ k.mT)
    return weights @ v, weights


def additive(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Bahdanau et al. 2014: no product at all."""
    return mixed(torch.tanh(q[:, :, :, None] + k[:, :, None]).sum(-1), v)


def linear_attention(module: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax over the numbers of a token, and over tokens: efficient attention, which has no matrix of weights."""
    context = torch.softmax(k, dim=-2).mT @ v
    return torch.softmax(q, dim=-1) @ context, context


NONE: Final[dict[str, Form]] = {
    form.__name__.replace("_", " "): form
    for form in (
        router,
        router_by_einsum,
        flat_router,
        classifier,
        over_queries,
        logarithms,
        sigmoids,
        additive,
        linear_attention,
    )
}
"""What has a softmax, or products, and is no softmax attention."""


class Attending(nn.Module):
    """A layer of attention, written in some form."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(HEADS * D, HEADS * D) for _ in range(3))
        self.gate = nn.Linear(D, TOKENS)
        self.soft, self.drop = nn.Softmax(dim=-1), nn.Dropout(0.5)
        self.logits_soft_cap = 0.7
        self.logits = nn.Parameter(torch.tensor([0.3, -1.2]))
        self.relative = nn.Parameter(torch.randn(TOKENS, TOKENS, D))
        self.form = form

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        given = tokens if context is None else context
        made = self.query(tokens), self.key(given), self.value(given)
        return self.form(self, *(each.unflatten(-1, (HEADS, D)).transpose(1, 2) for each in made))


class Model(nn.Module):
    """One such layer with a path."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Attending(form)])

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.layers[0](tokens, context)
        return found


def model_of(form: Form) -> Model:
    """A model whose scores are of a few units, the same each time."""
    torch.manual_seed(5)
    model = Model(form).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(3.0 if weights.dim() == 2 else 1.0)
    return model


def tokens(count: int = TOKENS, texts: int = TEXTS, seed: int = 6) -> Tensor:
    return torch.randn(texts, count, HEADS * D, generator=torch.Generator().manual_seed(seed))
