"""The same network as a script computes it, in plain arithmetic: what the walk is compared with."""

from collections.abc import Iterator

import numpy as np

from rankscope.arrays import FLOAT64, Float64, Storage, rounded, storage
from rankscope.attention.mixing import operator_of
from rankscope.attention.pointwise import ACTIVATIONS
from rankscope.attention.tokens import Linear, Tokens
from rankscope.generators.network import EPSILON, Stack


def plainly(stack: Stack) -> Iterator[Float64]:
    """The tokens before each layer and after the last one, as a script computes them, rounded to the type asked for."""
    kept: Storage = storage(stack.dtype)
    x = held(stack.tokens(), kept)
    matrices: list[Float64] = []
    for layer in range(stack.layers):
        yield x
        with np.errstate(all="ignore"):  # a script would overflow, too; the true tokens are followed beside it
            x = held(plain_layer(stack, layer, x, matrices, kept), kept)
    yield x


def plain_layer(stack: Stack, layer: int, x: Float64, matrices: list[Float64], kept: Storage) -> Float64:
    """The tokens after one layer; `matrices` keeps those of layer 0 where they are applied in every layer."""
    block = stack.block(layer)
    source = plain_norm(stack, x, "pre")
    branch = np.zeros_like(x)
    for number, head in enumerate(block.heads):
        if not (stack.fixed and layer):
            queries, keys = (Tokens.of(plain_linear(source, by)) for by in (head.query, head.key))
            made = operator_of(queries, keys, stack.how(layer, number), stack.at(layer, number))
            matrices[number : number + 1] = [np.asarray(made.matrix)]
        low, high = stack.levels
        uniform = 1 / stack.n
        weights = matrices[number] if (low, high) == (1, 1) else low * uniform + high * (matrices[number] - uniform)
        branch += plain_linear(held(weights, kept) @ plain_linear(source, head.value), head.output)
    x = plain_norm(stack, stack.skip * x + stack.strength * branch, "post")
    if block.mlp is not None:
        hidden = plain_linear(plain_norm(stack, x, "pre"), block.mlp.into)
        branch = plain_linear(ACTIVATIONS.build(block.mlp.activation).function(hidden), block.mlp.back)
        x = plain_norm(stack, stack.skip * x + stack.strength * branch, "post")
    return x


def held(x: Float64, kept: Storage) -> Float64:
    """Numbers as a type holds them."""
    return x if kept is FLOAT64 else rounded(x, kept)


def plain_linear(x: Float64, by: Linear) -> Float64:
    """x·W + b."""
    return np.asarray(x @ by.weights + (0.0 if by.bias is None else by.bias))


def plain_norm(stack: Stack, x: Float64, where: str) -> Float64:
    """LayerNorm or RMSNorm where it stands, as a script writes it."""
    side, _, kind = stack.norm.partition(":")
    if side != where:
        return x
    centred = x if kind == "rms" else x - x.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + EPSILON))
