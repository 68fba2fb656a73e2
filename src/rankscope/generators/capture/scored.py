"""Attention that a model has written out: which queries and keys its scores are the product of, if they are.

The product that came before softmax is a guess; here it is checked. On every key that a query sees, the scores must be
c·q kᵀ but for a number for each row, which softmax does not feel, or a soft cap of that; else the scores are a sum
of several things, and are kept as they are.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch

from rankscope.generators.capture.interception import Tensor, Written

SLACK: Final = 64.0
"""Units of roundoff of the model's type, times the largest score, by which a product may miss the scores: a product of
d ≤ 256 rounded numbers, a scale, a shift and a cap make fewer.
"""

HIDDEN: Final = -9e3
"""A finite score that stands for a hidden key: masks of −10 000, −65 500, −1e9 and −1e30 are in use."""

UNDERFLOW: Final = 746.0
"""Nats below the largest score of its row from which a weight is zero in float64."""


@dataclass(frozen=True, eq=False)
class Product:
    """Queries and keys, with the factor c of q kᵀ, the soft cap and the sinks that make the scores of them."""

    query: Tensor
    key: Tensor
    scale: float
    cap: float | None = None


def hidden(scores: Tensor) -> Tensor:
    """Which keys a query does not see, by scores that are −∞ or stand for it."""
    least = torch.finfo(scores.dtype).min / 2
    top = scores.amax(dim=-1, keepdim=True)
    far = (scores <= HIDDEN) & (top - scores > UNDERFLOW)
    return (scores <= least) | far


def product_of(call: Written, scores: Tensor, module: Any) -> Product | None:
    """The queries and keys of scores (batch × heads × n × m), if a product before softmax makes them."""
    for query, key in reversed(call.products):
        queries, keys = shaped(query, scores), shaped(key, scores)
        if queries is None or keys is None or queries.shape[-1] != keys.shape[-1]:
            continue
        fit = queries.shape[1:3] == scores.shape[1:3] and keys.shape[2] == scores.shape[3]
        if not fit or queries.shape[1] % keys.shape[1]:
            continue
        for scale, cap in guesses(Head(queries, keys, scores, 0, 0), queries.shape[-1], module):
            every = (Head(queries, keys, scores, batch, head) for batch, head in places(scores))
            if all(each.is_made(scale, cap) for each in every):
                return Product(queries, keys, scale, cap)
    return None


def places(scores: Tensor) -> list[tuple[int, int]]:
    """Each head of each text."""
    return [(batch, head) for batch in range(scores.shape[0]) for head in range(scores.shape[1])]


def shaped(tokens: Tensor, scores: Tensor) -> Tensor | None:
    """Tokens as batch × heads × n × d; None if they are of other numbers."""
    batch, heads = scores.shape[:2]
    if tokens.dim() == 4 and tokens.shape[0] == batch:
        return tokens
    lead = math.prod(tokens.shape[:-2])
    return tokens.reshape(batch, heads, *tokens.shape[-2:]) if lead == batch * heads else None


class Head:
    """One head in float64: its scores, what its queries and keys make, and which keys are seen."""

    def __init__(self, query: Tensor, key: Tensor, scores: Tensor, batch: int, head: int) -> None:
        own = key[batch, head // (query.shape[1] // key.shape[1])]
        self.products = query[batch, head].double() @ own.double().T
        self.scores = scores[batch, head].double()
        self.seen = ~hidden(scores[batch, head])
        self.unit = max(torch.finfo(each.dtype).eps for each in (scores, query))

    def largest(self, values: Tensor) -> float:
        """The largest magnitude among the keys that are seen."""
        return float(torch.where(self.seen, values, 0.0).abs().max()) if values.numel() else 0.0

    def uncapped(self, cap: float | None) -> Tensor:
        """The scores before a soft cap."""
        bound = 1 - 2.0**-52
        return self.scores if cap is None else cap * torch.atanh((self.scores / cap).clamp(-bound, bound))

    def shift(self, values: Tensor) -> Tensor:
        """The mean of each row over the keys that it sees."""
        return torch.where(self.seen, values, 0.0).sum(-1, keepdim=True) / self.seen.sum(-1, keepdim=True).clamp(min=1)

    def factor(self, cap: float | None) -> float:
        """The factor of the products that comes nearest to the scores, whatever is added to a row without a cap."""
        left, right = (torch.where(self.seen, each, 0.0) for each in (self.uncapped(cap), self.products))
        if cap is None:
            left, right = (torch.where(self.seen, each - self.shift(each), 0.0) for each in (left, right))
        below = float((right * right).sum())
        return float((left * right).sum()) / below if below > 0 else 0.0

    def is_made(self, scale: float, cap: float | None) -> bool:
        """Whether the products make the scores, up to rounding in the model's type."""
        made = scale * self.products if cap is None else cap * torch.tanh(scale * self.products / cap)
        away = self.scores - made
        away = away - self.shift(away) if cap is None else away
        return self.largest(away) <= SLACK * self.unit * max(self.largest(self.scores), self.largest(made))

    def sink(self, scale: float, last: Tensor) -> tuple[float, float, float]:
        """The least and the greatest logit of a sink over rows, and how far rounding may set them apart."""
        logits = last.double() - self.shift(self.scores - scale * self.products)
        logits = logits[self.seen.any(-1)]
        size = self.largest(self.scores) + self.largest(scale * self.products) + float(last.abs().max())
        return float(logits.min()), float(logits.max()), SLACK * self.unit * size


def guesses(head: Head, d: int, module: Any) -> Iterator[tuple[float, float | None]]:
    """Factors and caps with which one head's products may make its scores: those that models use first."""
    for cap in caps_of(module):
        factor = head.factor(cap)
        for scale in nearby(factor, d, module):
            yield scale, cap


def nearby(factor: float, d: int, module: Any) -> list[float]:
    """The factor itself, after those that models use and that are the same up to rounding."""
    named = [getattr(module, name, None) for name in ("scaling", "scale", "softmax_scale", "inv_norm_factor")]
    usual = [1 / math.sqrt(d), 1.0, 1 / d, *(float(each) for each in named if isinstance(each, int | float))]
    return [*(each for each in dict.fromkeys(usual) if math.isclose(each, factor, rel_tol=1e-4)), factor]


def caps_of(module: Any) -> list[float | None]:
    """No soft cap, and those that a module holds."""
    names = [name for name in vars(module) if "softcap" in name.lower()] if module is not None else []
    held = [getattr(module, name) for name in names]
    return [None, *(float(each) for each in held if isinstance(each, int | float) and each > 0)]


def sinks_of(scores: Tensor, found: Product, module: Any) -> list[float] | None:
    """The logit of the sink of each head, from scores whose last column it is; None where it is not one number.

    The model may have subtracted a number from each row, which the products show.
    """
    held = getattr(module, "sinks", None)
    exact = held.detach().double().flatten().tolist() if isinstance(held, Tensor) else []
    own, last = scores[..., :-1], scores[..., -1:]
    sinks = []
    for head in range(scores.shape[1]):
        ends = [Head(found.query, found.key, own, batch, head).sink(found.scale, last[batch, head])
                for batch in range(scores.shape[0])]  # fmt: skip
        low, high, slack = min(x[0] for x in ends), max(x[1] for x in ends), max(x[2] for x in ends)
        if not high - low <= slack:
            return None
        near = len(exact) == scores.shape[1] and abs(exact[head] - (low + high) / 2) <= slack
        sinks.append(exact[head] if near else (low + high) / 2)
    return sinks
