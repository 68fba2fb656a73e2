"""Who may see whom: a Boolean algebra of masks, in pure Python so that listing them costs nothing.

A mask answers `allows(q, k)` for the position q of a query and the position k of a key. The same expression works on
two integers and on two integer arrays, because it is written with `&`, `|` and comparisons. The n queries are the
*last* n of the keys: a rectangular causal mask is aligned at the bottom right.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from rankscope.errors import error
from rankscope.registry import Registry, typed

Fact = Literal["lower", "upper", "diagonal", "everything"]


@dataclass(frozen=True)
class Mask:
    """A mask: `allows(q, k)` says whether the query at position q may see the key at position k.

    `facts` are what its author knows for every size: "lower" (no query sees a later key), "upper" (none sees an
    earlier one), "diagonal" (each sees itself), "everything". They combine by rule under `&`, `|`, `~`; a fact may be
    missing but is never wrong, and what is missing is read off the mask itself at the size at hand.

    >>> band = Mask("causal", lambda q, k: k <= q) & Mask("near", lambda q, k: q - k < 2)
    >>> [band.allows(3, k) for k in range(5)]
    [False, False, True, True, False]
    """

    label: str
    allows: Callable[[Any, Any], Any]
    facts: frozenset[Fact] = frozenset()

    def shown(self, rows: int, columns: int) -> Any:
        """Which of so many keys each query sees, as an array; the queries are the last ones.

        >>> Mask("causal", lambda q, k: k <= q).shown(2, 3).tolist()
        [[True, True, False], [True, True, True]]
        """
        import numpy as np

        queries = np.arange(columns - rows, columns)[:, None]
        return np.broadcast_to(self.allows(queries, np.arange(columns)[None, :]), (rows, columns))

    def __and__(self, other: "Mask") -> "Mask":
        kept = (self.facts | other.facts) & {"lower", "upper"} | (self.facts & other.facts)
        return Mask(f"{self.label} & {other.label}", lambda q, k: self.allows(q, k) & other.allows(q, k), kept)

    def __or__(self, other: "Mask") -> "Mask":
        kept = (self.facts & other.facts) | (self.facts | other.facts) & {"diagonal", "everything"}
        return Mask(f"({self.label} | {other.label})", lambda q, k: self.allows(q, k) | other.allows(q, k), kept)

    def __invert__(self) -> "Mask":
        alone = re.fullmatch(r"[^&|() ]+|\([^()]*\)", self.label)
        return Mask(f"~{self.label}" if alone else f"~({self.label})", lambda q, k: True ^ self.allows(q, k))


MASKS: Final = Registry[Callable[..., Mask]]("mask")
mask = MASKS
"""Decorator: register a function that makes a `Mask` under its own name."""


@mask
def bidirectional() -> Mask:
    """Every query sees every key (BERT, Devlin et al. 2018)."""
    return Mask("bidirectional", lambda q, k: (q == q) & (k == k), frozenset({"diagonal", "everything"}))


@mask
def causal() -> Mask:
    """A query sees itself and every earlier key: lower triangular (GPT, Radford et al. 2018)."""
    return Mask("causal", lambda q, k: k <= q, frozenset({"lower", "diagonal"}))


@mask
def anticausal() -> Mask:
    """A query sees itself and every later key: upper triangular (DiSAN, Shen et al. 2018)."""
    return Mask("anticausal", lambda q, k: k >= q, frozenset({"upper", "diagonal"}))


@mask
def prefix(length: int) -> Mask:
    """Every query sees the first keys, and further itself and earlier ones (UniLM, Dong et al. 2019)."""
    at_least("prefix", length, 0)
    return Mask(f"prefix:{length}", lambda q, k: (k <= q) | (k < length), frozenset({"diagonal"}))


@mask
def window(width: int) -> Mask:
    """A query sees keys closer than the width on either side: |i − j| < width (Longformer, Beltagy et al. 2020)."""
    at_least("window", width, 1)
    return Mask(f"window:{width}", lambda q, k: (q - k < width) & (k - q < width), frozenset({"diagonal"}))


@mask
def strict() -> Mask:
    """A query sees earlier keys and not itself: the strict triangle, whose first row is empty."""
    return Mask("strict", lambda q, k: k < q, frozenset({"lower"}))


@mask
def dilated(step: int) -> Mask:
    """A query sees keys at a multiple of the step from it, on either side (Longformer, Beltagy et al. 2020)."""
    at_least("dilated", step, 1)
    return Mask(f"dilated:{step}", lambda q, k: (q - k) % step == 0, frozenset({"diagonal"}))


@mask
def strided(stride: int) -> Mask:
    """Causal: the last keys, and the last of every stride (Sparse Transformer, Child et al. 2019)."""
    at_least("strided", stride, 1)
    return Mask(
        f"strided:{stride}",
        lambda q, k: (k <= q) & ((q - k < stride) | (k % stride == stride - 1)),
        frozenset({"lower", "diagonal"}),
    )


@mask(name="global")
def global_tokens(count: int) -> Mask:
    """The first tokens see everything and are seen by all, the others see them and themselves (Longformer, 2020)."""
    at_least("global", count, 0)
    return Mask(f"global:{count}", lambda q, k: (q < count) | (k < count) | (q == k), frozenset({"diagonal"}))


@mask
def random(rate: float, block: int = 16, seed: int = 0) -> Mask:
    """Itself and, for each block of queries, blocks of keys with probability RATE (BigBird, Zaheer et al. 2020)."""
    at_least("random:block", block, 1)
    if not 0 <= rate <= 1:
        raise error("RS002", f"random:{rate}", "give a probability between 0 and 1")
    label = f"random:{typed(rate)}:block={block}:seed={seed}"
    return Mask(
        label, lambda q, k: (q == k) | (scattered(q // block, k // block, seed) < rate), frozenset({"diagonal"})
    )


@mask
def bigbird(window: int = 3, tokens: int = 2, rate: float = 0.05, block: int = 16, seed: int = 0) -> Mask:
    """A window, global tokens and random blocks (BigBird, Zaheer et al. 2020)."""
    label = f"bigbird:window={window}:tokens={tokens}:rate={typed(rate)}:block={block}:seed={seed}"
    union = MASKS["window"].function(window) | global_tokens(tokens) | random(rate, block, seed)
    return Mask(label, union.allows, union.facts)


@mask
def packed(length: int) -> Mask:
    """Documents of this length packed into one sequence: a query sees its own document only."""
    at_least("packed", length, 1)
    return Mask(f"packed:{length}", lambda q, k: q // length == k // length, frozenset({"diagonal"}))


@mask
def padding(length: int) -> Mask:
    """Keys from this position on are padding, which no query sees; to be joined with others by &."""
    at_least("padding", length, 1)
    return Mask(f"padding:{length}", lambda q, k: (q == q) & (k < length))


@mask
def left_padding(count: int) -> Mask:
    """The first keys are padding, which no query sees; to be joined with others by &."""
    at_least("left-padding", count, 0)
    return Mask(f"left-padding:{count}", lambda q, k: (q == q) & (k >= count))


def scattered(q: Any, k: Any, seed: int) -> Any:
    """A number between 0 and 1 that looks random, the same for integers and for arrays of them."""
    prime = 2**31 - 1
    mixed = (q * 7919 + k * 104729 + seed * 1299709 + 1) % prime
    for _ in range(3):
        mixed = (mixed * mixed + mixed * 48271 + q * 31 + k) % prime
    return mixed / prime


def at_least(name: str, value: int, least: int) -> None:
    """Refuse a mask parameter below `least`."""
    if value < least:
        raise error("RS002", f"{name}:{value}", f"give a number of at least {least}")


def parse(expression: str) -> Mask:
    """The mask that an expression stands for: names joined by `&`, `|`, `~` and parentheses.

    `~` binds tightest, then `&`, then `|`.

    >>> parse("causal & ~window:4").label
    'causal & ~window:4'
    """
    if re.search(r",|\s(and|or|not)\s|^\s*not\s", expression):
        raise malformed(expression)
    tokens = re.findall(r"[&|~()]|[^&|~()\s][^&|~()]*", expression)
    result, rest = disjunction(tokens, expression)
    if rest:
        raise malformed(expression)
    return result


def disjunction(tokens: list[str], expression: str) -> tuple[Mask, list[str]]:
    """Masks joined by |, and the tokens that follow."""
    result, tokens = conjunction(tokens, expression)
    while tokens[:1] == ["|"]:
        other, tokens = conjunction(tokens[1:], expression)
        result = result | other
    return result, tokens


def conjunction(tokens: list[str], expression: str) -> tuple[Mask, list[str]]:
    """Masks joined by &, and the tokens that follow."""
    result, tokens = factor(tokens, expression)
    while tokens[:1] == ["&"]:
        other, tokens = factor(tokens[1:], expression)
        result = result & other
    return result, tokens


def factor(tokens: list[str], expression: str) -> tuple[Mask, list[str]]:
    """One mask, negated or in parentheses, and the tokens that follow."""
    head, rest = (tokens[0], tokens[1:]) if tokens else ("", [])
    if head == "~":
        result, rest = factor(rest, expression)
        return ~result, rest
    if head == "(":
        result, rest = disjunction(rest, expression)
        if rest[:1] != [")"]:
            raise malformed(expression)
        return result, rest[1:]
    if not head or head in "&|)":
        raise malformed(expression)
    built: Mask = MASKS.build(head)
    return built, rest


def malformed(expression: str) -> Exception:
    """The error for an expression that is not a mask."""
    return error(
        "RS002",
        f"the mask {expression!r}",
        "join names with & | ~ and parentheses, as in 'causal & ~window:4'; several masks are for rankscope compare",
    )
