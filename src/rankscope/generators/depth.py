"""Tokens through the layers of a network, held as mean and residual (`attention/tokens.py`), so that a residual is true
however small. One attention matrix is alive at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

from rankscope.attention.block import Block
from rankscope.attention.mixing import Mixing, mixing, operator_of
from rankscope.attention.operators import Operator
from rankscope.attention.pointwise import ACTIVATIONS, activated
from rankscope.attention.tokens import Tokens
from rankscope.generators.network import Stack


@dataclass(frozen=True, eq=False, repr=False)
class Attended:
    """One attention matrix while it is alive: where it stands, how it acts, and, made when asked for, as float64 holds
    it.
    """

    layer: int
    head: int
    mixing: Mixing
    make: Callable[[], Operator]


@dataclass(frozen=True, eq=False, repr=False)
class State:
    """The tokens that enter a layer, or leave the last one; `layer` counts those that they have passed."""

    layer: int
    tokens: Tokens
    block: Block | None


Observer = Callable[[Attended], None]


def walk(stack: Stack, observe: Observer = lambda attended: None) -> Iterator[State]:
    """The tokens before each layer and after the last one; `observe` sees every attention matrix while it is alive."""
    tokens = Tokens.of(stack.tokens())
    kept: dict[int, Mixing] = {}
    for layer in range(stack.layers):
        block = stack.block(layer)
        yield State(layer, tokens, block)
        tokens = through(stack, layer, block, tokens, observe, kept)
    yield State(stack.layers, tokens, None)


def through(
    stack: Stack, layer: int, block: Block, tokens: Tokens, observe: Observer, kept: dict[int, Mixing]
) -> Tokens:
    """The tokens after one layer; `kept` holds the matrices of layer 0 where they are applied in every layer."""
    tokens = joined(stack, tokens, attended(stack, layer, block, stack.normed(tokens, "pre"), observe, kept))
    if block.mlp is not None:
        hidden = stack.normed(tokens, "pre").linear(block.mlp.into)
        made = activated(hidden, ACTIVATIONS.build(block.mlp.activation)).linear(block.mlp.back)
        tokens = joined(stack, tokens, made)
    return tokens


def joined(stack: Stack, tokens: Tokens, branch: Tokens) -> Tokens:
    """A branch with its strength, and its input beside it if there are skip connections."""
    branch = branch * stack.strength
    return stack.normed(tokens + branch if stack.skip else branch, "post")


def attended(stack: Stack, layer: int, block: Block, x: Tokens, observe: Observer, kept: dict[int, Mixing]) -> Tokens:
    """Σ_h A_h X W_V,h W_O,h."""
    total: Tokens | None = None
    for number, head in enumerate(block.heads):
        values = x.linear(head.value)
        if stack.fixed and layer:
            mixed = kept[number]
        else:
            queries, keys = x.linear(head.query), x.linear(head.key)
            how = stack.how(layer, number)
            make = cache(
                partial(operator_of, queries, keys, how, stack.at(layer, number))
            )  # once, and only where it is asked for
            mixed = mixing(queries, keys, how, make)
            if stack.fixed:
                kept[number] = mixed
            observe(Attended(layer, number, mixed, make))
        part = mixed(values, *stack.levels).linear(head.output)
        total = part if total is None else total + part
    assert total is not None
    return total
