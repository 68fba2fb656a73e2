"""Which calls of a running model are attention: one mode that sees them all, and changes none.

Every function of torch that a model calls passes through a `TorchFunctionMode`, whatever the model is called and
however it imported the function. Three of them are attention: the fused `scaled_dot_product_attention`, the body of
`multi_head_attention_forward`, and a `softmax` of scores that a product of queries and keys went before, and whose
result multiplies values in a product that follows. Nothing is replaced: the model computes what it would have computed,
and what it was given and has found is handed on.
"""

import math
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from string import ascii_letters
from types import FunctionType
from typing import Any, Final

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

SOFTMAX: Final = frozenset({"softmax", "special_softmax"})
PRODUCTS: Final = frozenset({"matmul", "__matmul__", "__rmatmul__", "linalg_matmul", "mm", "bmm", "baddbmm", "einsum"})
REMEMBERED: Final = 8
"""Products before a softmax among which its scores are looked for: models with relative positions make four."""

HEADS: Final[ContextVar[int | None]] = ContextVar("heads", default=None)
"""The heads of the `multi_head_attention_forward` that runs: every mode that is on learns it from the first."""

TELLING: Final[ContextVar[bool]] = ContextVar("telling", default=False)
"""Whether a call is being handed on: what is computed of it meanwhile is no attention of the model, for no mode."""

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Fused:
    """A call of `scaled_dot_product_attention`: (…, heads, n, d) queries, keys and values, and what came out.

    Heads are `grouped` where keys and values have fewer, each for a group of queries.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    causal: bool
    scale: float | None
    dropout: float
    out: Tensor
    grouped: bool = False


@dataclass(frozen=True, eq=False)
class Written:
    """Attention written out: what went into softmax and came out of it, and the products made before.

    `columns` is the number of keys that the weights were multiplied with; softmax may have had one more, a sink.
    `heads` is their number where the batch and the heads share an axis, and it is known. `used` are the weights that
    the values were multiplied with, softmax's own unless the model has changed them; None where they are not known.
    """

    scores: Tensor
    weights: Tensor
    products: tuple[tuple[Tensor, Tensor], ...]
    columns: int
    heads: int | None
    used: Tensor | None = None


Call = Fused | Written


class Interception(TorchFunctionMode):
    """A mode that hands every attention call to `seen`."""

    def __init__(self, seen: Callable[[Call], None]) -> None:
        super().__init__()
        self.seen = seen
        self.products: deque[tuple[Tensor, Tensor]] = deque(maxlen=REMEMBERED)
        self.pending: tuple[Tensor, Tensor, tuple[tuple[Tensor, Tensor], ...]] | None = None

    def forget(self) -> None:
        """What was computed before belongs to no attention that comes: the model is called anew."""
        self.products.clear()
        self.pending = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if TELLING.get():
            return func(*args, **kwargs)
        if name == "multi_head_attention_forward":
            return self.through(func, args, kwargs)
        found = func(*args, **kwargs)
        if name == "scaled_dot_product_attention":
            self.tell(fused(found, *args, **kwargs))
        elif name in SOFTMAX:
            self.softmax(found, args, kwargs)
        elif name in PRODUCTS:
            self.product(name, args, kwargs)
        return found

    def tell(self, call: Call) -> None:
        """Hand a call on."""
        before = TELLING.set(True)
        try:
            self.seen(call)
        finally:
            TELLING.reset(before)

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
        before = HEADS.set(args[4] if len(args) > 4 else kwargs.get("num_heads"))
        try:
            with self:
                return body(*args, **kwargs)
        finally:
            HEADS.reset(before)

    def softmax(self, weights: Tensor, args: Any, kwargs: Any) -> None:
        """Remember a softmax over the last axis of scores; the next product decides whether it is attention."""
        scores = kwargs.get("input", args[0] if args else None)
        axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
        self.pending = None
        if isinstance(scores, Tensor) and 2 <= scores.dim() <= 4 and axis in (-1, scores.dim() - 1):
            self.pending = scores, weights, tuple(self.products)

    def product(self, name: str, args: Any, kwargs: Any) -> None:
        """A product: of weights and values if it follows a softmax of that shape, else perhaps of queries and keys."""
        operands = operands_of(name, args, kwargs)
        if len(operands) != 2:
            return
        if self.pending is not None:
            scores, weights, products = self.pending
            columns = columns_of(operands[0], scores)
            if columns is not None and any(makes(*each, scores, columns) for each in products):
                self.forget()
                self.tell(Written(scores, weights, products, columns, HEADS.get(), operands[0]))
                return
        pair = factors(name, args, operands)
        if pair is not None:
            self.products.append(pair)


def operands_of(name: str, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that a product multiplies, from left to right."""
    given = [*args, *(each for word, each in kwargs.items() if word != "out")]
    flat = [each for one in given for each in (one if isinstance(one, list | tuple) else [one])]
    found = [each for each in flat if isinstance(each, Tensor)]
    return {"baddbmm": found[1:], "__rmatmul__": found[::-1]}.get(name, found)


def columns_of(first: Tensor, scores: Tensor) -> int | None:
    """The number of keys that the left side of a product has weights of, if it is the softmax of such scores.

    One column may lack, a sink.
    """
    if first.dim() < 2 or scores.numel() == 0:
        return None
    columns = first.shape[-1]
    alike = first.numel() * scores.shape[-1] == scores.numel() * columns and columns > 0
    return columns if alike and scores.shape[-1] - columns in (0, 1) else None


def makes(query: Tensor, key: Tensor, scores: Tensor, columns: int) -> bool:
    """Whether queries and keys are as many as scores need, a router's for example have none."""
    try:
        lead = np.broadcast_shapes(query.shape[:-2], key.shape[:-2])
    except ValueError:
        return False
    return key.shape[-2] == columns and math.prod(lead) * query.shape[-2] == scores.numel() // scores.shape[-1]


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
    """The call with the names of its arguments."""
    return Fused(query, key, value, attn_mask, is_causal, scale, dropout_p, out, enable_gqa)


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
    return (left, right.transpose(-1, -2)) if left.dim() > 1 and right.dim() > 1 else None


def of_equation(equation: str, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor] | None:
    """The same of an einsum that contracts one index, and keeps one of each operand beside those that they share."""
    sides, _, result = equation.replace(" ", "").partition("->")
    first, _, second = sides.partition(",")
    unnamed = left.dim() - len(first.replace("...", ""))
    spare = "".join(each for each in ascii_letters if each not in equation)[: max(unnamed, 0)]
    first, second, result = letters = [each.replace("...", spare) for each in (first, second, result)]
    if (len(first), len(second)) != (left.dim(), right.dim()):
        return None
    if any(not each.isalpha() or len(set(each)) < len(each) for each in letters):
        return None
    inner = [x for x in first if x in second and x not in result]
    rows = [x for x in first if x in result and x not in second]
    columns = [x for x in second if x in result and x not in first]
    shared = [x for x in result if x in first and x in second]
    if [len(inner), len(rows), len(columns)] != [1, 1, 1] or [*shared, *rows, *columns] != list(result):
        return None
    return (
        left.permute([first.index(x) for x in (*shared, *rows, *inner)]),
        right.permute([second.index(x) for x in (*shared, *columns, *inner)]),
    )
