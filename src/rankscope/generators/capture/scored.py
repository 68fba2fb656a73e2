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

ROUNDINGS: Final = 8
"""How often a score is rounded in the model's type, in units of the largest of its row: once by the product, the scale,
a bias or a mask, the subtraction of the largest, and a change of type, and three times by a soft cap.
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
    """Which keys a query does not see, by scores that are −∞ or stand for it: all of them where no other is larger.

    Where the scores of every query are as low, nothing is hidden: what all of a row have in common changes no softmax.
    """
    least = torch.finfo(scores.dtype).min / 2
    top = scores.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf).amax(dim=-1, keepdim=True)
    low = top <= HIDDEN
    shifted = low.all(dim=-2, keepdim=True) if low.dim() > 1 else low
    far = (top - scores > UNDERFLOW) | (low & ~shifted)
    return (scores <= least) | ((scores <= HIDDEN) & far)


def product_of(call: Written, scores: Tensor, module: Any) -> Product | None:
    """The queries and keys of scores (batch × heads × n × m), if a product before softmax makes them."""
    for query, key in reversed(call.products):
        queries, keys = shaped(query, scores), shaped(key, scores)
        if queries is None or keys is None or queries.shape[-1] != keys.shape[-1]:
            continue
        fit = queries.shape[1:3] == scores.shape[1:3] and keys.shape[2] == scores.shape[3]
        if not fit or queries.shape[1] % keys.shape[1]:
            continue
        for scale, cap in guesses(queries, keys, scores, module):
            every = (Head(queries, keys, scores, batch, head) for batch, head in places(scores))
            if all(each.is_made(scale, cap) for each in every):
                return Product(queries if scale >= 0 else -queries, keys, abs(scale), cap)
    return None


def places(scores: Tensor) -> list[tuple[int, int]]:
    """Each head of each text."""
    return [(batch, head) for batch in range(scores.shape[0]) for head in range(scores.shape[1])]


def shaped(tokens: Tensor, scores: Tensor) -> Tensor | None:
    """Tokens as batch × heads × n × d; None if they are of other numbers."""
    batch, heads = scores.shape[:2]
    if tokens.dim() == 4 and tokens.shape[0] in (1, batch):
        return tokens.expand(batch, *tokens.shape[1:])
    lead = math.prod(tokens.shape[:-2])
    return tokens.reshape(batch, heads, *tokens.shape[-2:]) if lead == batch * heads else None


def of_group(tokens: Tensor, batch: int, head: int, heads: int) -> Tensor:
    """The keys or values of one of so many heads, of which groups may share them."""
    return tokens[batch, head // (heads // tokens.shape[1])]


class Head:
    """One head in float64: its scores, what its queries and keys make, and which keys are seen.

    What is not finite in the queries and keys says nothing of how the scores are made, and is left aside.
    """

    def __init__(self, query: Tensor, key: Tensor, scores: Tensor, batch: int, head: int) -> None:
        own, keys = query[batch, head].double(), of_group(key, batch, head, query.shape[1]).double()
        units = [torch.finfo(dtype).eps / 2 for dtype in (query.dtype, scores.dtype, torch.float32)]
        self.products = own @ keys.T
        self.scores = scores[batch, head].double()
        shown = ~hidden(scores[batch, head])
        self.seen = shown & self.products.isfinite()
        self.whole = not bool((shown & ~self.seen & self.scores.isfinite()).any())
        self.unit = max(units[:2])
        self.width = query.shape[-1]
        self.summed = min(units) * query.shape[-1] * (own.abs() @ keys.abs().T)

    def shown(self, values: Tensor) -> Tensor:
        """Values, and zero where a key is not seen."""
        return torch.where(self.seen, values, 0.0)

    def made(self, scale: float, cap: float | None) -> Tensor:
        """The scores that the products make."""
        return scale * self.products if cap is None else cap * torch.tanh(scale * self.products / cap)

    def uncapped(self, cap: float | None) -> Tensor:
        """The scores before a soft cap."""
        bound = 1 - 2.0**-52
        return self.scores if cap is None else cap * torch.atanh((self.scores / cap).clamp(-bound, bound))

    def shift(self, values: Tensor) -> Tensor:
        """The mean of each row over the keys that it sees."""
        return self.shown(values).sum(-1, keepdim=True) / self.seen.sum(-1, keepdim=True).clamp(min=1)

    def varying(self, values: Tensor) -> Tensor:
        """What of values the weights feel: what differs within a row."""
        return self.shown(values - self.shift(values))

    def contrast(self) -> float:
        """How much of the products differs within a row: what the factor can be told from."""
        largest = float(self.shown(self.products).abs().max())
        return float(self.varying(self.products).abs().max()) / largest if largest > 0 else 0.0

    def factor(self, cap: float | None) -> float:
        """The factor of the products that comes nearest to the scores, whatever is added to a row."""
        left, right = self.varying(self.uncapped(cap)), self.varying(self.products)
        return float((left * right).sum() / (right * right).sum())

    def slack(self, scale: float, cap: float | None) -> Tensor:
        """How far rounding may set the scores of each row from those that are made.

        A product is a sum of d terms in float32, or in a longer type that the model has. All counts twice, since the
        mean of a row may be as far away.
        """
        sizes = [self.shown(each).abs().amax(-1, keepdim=True) for each in (self.scores, self.made(scale, cap))]
        summed = self.shown(abs(scale) * self.summed).amax(-1, keepdim=True)
        return 2 * (ROUNDINGS * self.unit * torch.maximum(*sizes) + summed)

    def is_made(self, scale: float, cap: float | None) -> bool:
        """Whether the products make the scores, up to rounding in the model's type."""
        away = self.varying(self.scores - self.made(scale, cap))
        if not self.whole or not bool((away.abs() <= self.slack(scale, cap)).all()):
            return False
        count = int(self.seen.sum())
        return count == 0 or float((away * away).sum()) <= float(self.shown(self.typical(scale, cap) ** 2).sum())

    def typical(self, scale: float, cap: float | None) -> Tensor:
        """Twice what the roundings of a score amount to where they are independent: √3 of them of u/√3 each, and √d in
        the sum. A bias may hide below the largest roundings that are possible, and not below these.
        """
        sizes = [self.shown(each).abs().amax(-1, keepdim=True) for each in (self.scores, self.made(scale, cap))]
        return 2 * (self.unit * torch.maximum(*sizes) + abs(scale) * self.summed / math.sqrt(self.width))

    def sink(self, found: Product, last: Tensor) -> tuple[float, float, float]:
        """The least and the greatest logit of a sink over rows, and how far rounding may set them apart."""
        logits = last.double() - self.shift(self.scores - self.made(found.scale, found.cap))
        slack = self.slack(found.scale, found.cap) + 2 * ROUNDINGS * self.unit * last.double().abs()
        rows = self.seen.any(-1)
        if not rows.any():
            return math.inf, -math.inf, 0.0
        return float(logits[rows].min()), float(logits[rows].max()), 2 * float(slack[rows].max())


def guesses(query: Tensor, key: Tensor, scores: Tensor, module: Any) -> Iterator[tuple[float, float | None]]:
    """Factors and caps with which products may make scores: those that models use first.

    They are found in the head whose products differ most; where none do, every factor makes the same weights.
    """
    head = max((Head(query, key, scores, *place) for place in places(scores)), key=Head.contrast)
    usual, contrast = usual_scales(query.shape[-1], module), head.contrast()
    for cap in caps_of(module):
        if contrast <= 8 * head.unit:
            yield usual[0], cap
            continue
        factor = head.factor(cap)
        rounding = max(1e-4, 4 * head.unit / contrast) if cap is None else math.inf  # a cap leaves little of large ones
        near = [each for each in usual if abs(each - abs(factor)) <= rounding * each]
        yield from ((math.copysign(scale, factor), cap) for scale in (*dict.fromkeys(near), abs(factor)))


def usual_scales(d: int, module: Any) -> list[float]:
    """The factors of the product that models use, that which a module names before the others."""
    named = [getattr(module, name, None) for name in ("scaling", "scale", "softmax_scale", "inv_norm_factor")]
    return [*(float(each) for each in named if isinstance(each, int | float)), 1 / math.sqrt(d), 1.0, 1 / d]


def caps_of(module: Any) -> list[float | None]:
    """The soft caps that a module holds, and none."""
    names = [name for name in vars(module) if "softcap" in name.lower().replace("_", "")] if module is not None else []
    held = [getattr(module, name) for name in names]
    return [*(float(each) for each in held if isinstance(each, int | float) and each > 0), None]


def sinks_of(scores: Tensor, found: Product, module: Any) -> list[float] | None:
    """The logit of the sink of each head, from scores whose last column it is; None where it is not one number.

    The model may have subtracted a number from each row, which the products show.
    """
    held = getattr(module, "sinks", None)
    exact = held.detach().double().flatten().tolist() if isinstance(held, Tensor) else []
    own, last = scores[..., :-1], scores[..., -1:]
    sinks = []
    for head in range(scores.shape[1]):
        ends = [
            Head(found.query, found.key, own, batch, head).sink(found, last[batch, head])
            for batch in range(scores.shape[0])
        ]
        low, high, slack = min(x[0] for x in ends), max(x[1] for x in ends), max(x[2] for x in ends)
        if not high - low <= slack or not math.isfinite(low):
            return None
        near = len(exact) == scores.shape[1] and abs(exact[head] - (low + high) / 2) <= slack
        sinks.append(exact[head] if near else (low + high) / 2)
    return sinks
