"""Which calls of a running model are attention: one mode that sees them all, and changes none.

Every function of torch that a model calls passes through a `TorchFunctionMode`, whatever the model is called and however
it imported the function. Three of them are attention: the fused `scaled_dot_product_attention`, the body of
`multi_head_attention_forward`, and a `softmax` whose result multiplies values in the next product. Nothing is replaced:
the model computes what it would have computed, and what it was given and has found is handed on.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final

import torch
from torch.overrides import TorchFunctionMode

PRODUCTS: Final = frozenset({"matmul", "__matmul__", "__rmatmul__", "bmm", "baddbmm", "einsum"})
REMEMBERED: Final = 8
"""Products before a softmax among which its scores are looked for: models with relative positions make four."""

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Fused:
    """A call of `scaled_dot_product_attention`: (…, heads, n, d) queries, keys and values, and what came out."""

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    causal: bool
    scale: float | None
    dropout: float
    out: Tensor


@dataclass(frozen=True, eq=False)
class Written:
    """Attention written out: what went into softmax and came out of it, and the products made before.

    `columns` is the number of keys that the weights were multiplied with; softmax may have had one more, a sink.
    `heads` is their number where the batch and the heads share an axis, and it is known.
    """

    scores: Tensor
    weights: Tensor
    products: tuple[tuple[Tensor, Tensor], ...]
    columns: int
    heads: int | None


Call = Fused | Written


class Interception(TorchFunctionMode):
    """A mode that hands every attention call to `seen`."""

    def __init__(self, seen: Callable[[Call], None]) -> None:
        super().__init__()
        self.seen = seen
        self.products: deque[tuple[Tensor, Tensor]] = deque(maxlen=REMEMBERED)
        self.pending: tuple[Tensor, Tensor, tuple[tuple[Tensor, Tensor], ...]] | None = None
        self.heads: int | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name == "multi_head_attention_forward":
            return self.through(func, args, kwargs)
        found = func(*args, **kwargs)
        if name == "scaled_dot_product_attention":
            self.seen(fused(found, *args, **kwargs))
        elif name == "softmax":
            self.softmax(found, args, kwargs)
        elif name in PRODUCTS:
            self.product(name, args, kwargs)
        return found

    def through(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run the body of torch's own attention with this mode on, so that what it calls is seen.

        The function asks first whether anybody overrides it, and under a mode the answer is yes; its body is run with
        the answer no.
        """
        body = FunctionType(
            func.__code__,
            {**func.__globals__, "has_torch_function": lambda _: False},
            func.__name__,
            func.__defaults__,
            func.__closure__,
        )
        body.__kwdefaults__ = func.__kwdefaults__
        before, self.heads = self.heads, args[4] if len(args) > 4 else kwargs.get("num_heads")
        try:
            with self:
                return body(*args, **kwargs)
        finally:
            self.heads = before

    def softmax(self, weights: Tensor, args: Any, kwargs: Any) -> None:
        """Remember a softmax over the last axis of scores; the next product decides whether it is attention."""
        scores = kwargs.get("input", args[0] if args else None)
        axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
        self.pending = None
        if isinstance(scores, Tensor) and 2 <= scores.dim() <= 4 and axis in (-1, scores.dim() - 1):
            self.pending = scores, weights, tuple(self.products)

    def product(self, name: str, args: Any, kwargs: Any) -> None:
        """A product: of weights and values if it follows a softmax of that shape, else perhaps of queries and keys."""
        operands = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
        if name == "baddbmm":
            operands = operands[1:]
        if len(operands) != 2:
            return
        first = operands[1] if name == "__rmatmul__" else operands[0]
        if self.pending is not None:
            scores, weights, products = self.pending
            columns = first.shape[-1] if first.dim() > 1 else 0
            beside = scores.shape[-1] - columns
            rows = scores.numel() // max(scores.shape[-1], 1)
            if first.dim() > 1 and beside in (0, 1) and first.numel() == rows * columns and scores.dim() + len(products):
                if scores.dim() > 2 or products:
                    self.seen(Written(scores, weights, products, columns, self.heads))
                self.products.clear()
                self.pending = None
                return
        pair = factors(name, args, operands)
        if pair is not None:
            self.products.append(pair)


def fused(
    out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Fused:
    """The call with the names of its arguments; how heads share keys is seen from their numbers."""
    return Fused(query, key, value, attn_mask, is_causal, scale, dropout_p, out)


def factors(name: str, args: Any, operands: list[Tensor]) -> tuple[Tensor, Tensor] | None:
    """Queries (…, n, d) and keys (…, m, d) whose product of rows this is; None if it is none.

    >>> q, k = torch.zeros(2, 5, 3), torch.zeros(2, 7, 3)
    >>> [tuple(each.shape) for each in factors("bmm", (), [q, k.transpose(1, 2)])]
    [(2, 5, 3), (2, 7, 3)]
    >>> [tuple(each.shape) for each in factors("einsum", ("bid,jbd->bij",), [q, k.transpose(0, 1)])]
    [(2, 5, 3), (2, 7, 3)]
    """
    left, right = operands
    if name == "einsum":
        return of_equation(args[0], left, right) if isinstance(args[0], str) else None
    if name == "__rmatmul__":
        left, right = right, left
    return (left, right.transpose(-1, -2)) if left.dim() > 1 and right.dim() > 1 else None


def of_equation(equation: str, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor] | None:
    """The same of an einsum that contracts one index, and keeps one of each operand beside those that they share."""
    sides, _, result = equation.replace(" ", "").partition("->")
    first, _, second = sides.partition(",")
    letters = [first, second, result]
    if any(not each.isalpha() or len(set(each)) < len(each) for each in letters):
        return None
    inner = [x for x in first if x in second and x not in result]
    rows, columns = ([x for x in own if x in result and x not in other] for own, other in ((first, second), (second, first)))
    shared = [x for x in result if x in first and x in second]
    if [len(inner), len(rows), len(columns)] != [1, 1, 1] or [*shared, *rows, *columns] != list(result):
        return None
    return (
        left.permute([first.index(x) for x in (*shared, *rows, *inner)]),
        right.permute([second.index(x) for x in (*shared, *columns, *inner)]),
    )
