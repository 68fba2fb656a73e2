"""The network of `rankscope depth` in balls of thousands of bits, written as its definition: the oracle of residuals
that float64 cannot see.
"""

from collections.abc import Callable
from typing import Any

import flint

from rankscope.attention.tokens import Tokens
from rankscope.generators.network import EPSILON, Stack
from tests.oracles import added

Rows = list[list[Any]]
Bias = Callable[[int, int, int], float]


def matrix(values: Any) -> Rows:
    return [[flint.arb(float(x)) for x in row] for row in values]


def times(a: Rows, b: Rows) -> Rows:
    return (flint.arb_mat(a) * flint.arb_mat(b)).tolist()


def plus(a: Rows, b: Rows, factor: Any = 1) -> Rows:
    return [[x + factor * y for x, y in zip(r, s, strict=True)] for r, s in zip(a, b, strict=True)]


def softmax(scores: Rows, seen: Any) -> Rows:
    weights = [[s.exp() if seen[i][j] else flint.arb(0) for j, s in enumerate(r)] for i, r in enumerate(scores)]
    return [[w / added(row) for w in row] for row in weights]


def normed(stack: Stack, x: Rows, where: str) -> Rows:
    side, _, kind = stack.norm.partition(":")
    if side != where:
        return x
    rows = []
    for row in x:
        own = row if kind == "rms" else [v - added(row) / len(row) for v in row]
        root = (added(v * v for v in own) / len(own) + flint.arb(EPSILON)).sqrt()
        rows.append([v / root for v in own])
    return rows


def active(stack: Stack, x: Rows) -> Rows:
    if stack.mlp == "relu":
        return [[v if v > 0 else flint.arb(0) for v in row] for row in x]
    return [[v * (1 + (v / flint.arb(2).sqrt()).erf()) / 2 for v in row] for row in x]


def passed(stack: Stack, bias: Bias | None = None) -> list[Rows]:
    """The tokens before each layer and after the last one; `bias(i, j, head)` is added to the scores."""
    x = matrix(stack.tokens())
    n, scale = stack.n, flint.arb(stack.scale) / flint.arb(stack.d).sqrt()
    kept: dict[int, Rows] = {}
    states = [x]
    for layer in range(stack.layers):
        block = stack.block(layer)
        source = normed(stack, x, "pre")
        branch = [[flint.arb(0)] * stack.width for _ in range(n)]
        for number, head in enumerate(block.heads):
            allows = stack.masks[layer, number].allows
            seen = [[bool(allows(i, j)) for j in range(n)] for i in range(n)]
            if not (stack.fixed and layer):
                q, k = times(source, matrix(head.query.weights)), times(source, matrix(head.key.weights))
                scores = [
                    [scale * s for s in row] for row in times(q, [list(column) for column in zip(*k, strict=True)])
                ]
                if bias is not None:
                    scores = [
                        [s + flint.arb(bias(i, j, number)) for j, s in enumerate(r)] for i, r in enumerate(scores)
                    ]
                kept[number] = softmax(scores, seen)
            low, high = (flint.arb(level) for level in stack.levels)
            weights = [[low / n + high * (w - flint.arb(1) / n) for w in row] for row in kept[number]]
            values = times(source, matrix(head.value.weights))
            branch = plus(branch, times(times(weights, values), matrix(head.output.weights)))
        x = normed(stack, plus([[stack.skip * v for v in row] for row in x], branch, flint.arb(stack.strength)), "post")
        if block.mlp is not None:
            hidden = active(stack, times(normed(stack, x, "pre"), matrix(block.mlp.into.weights)))
            branch = times(hidden, matrix(block.mlp.back.weights))
            both = plus([[stack.skip * v for v in row] for row in x], branch, flint.arb(stack.strength))
            x = normed(stack, both, "post")
        states.append(x)
    return states


def balls(tokens: Tokens) -> Rows:
    """The tokens that mean and residual stand for."""
    unit = [flint.arb(2) ** part.exponent for part in (tokens.mean, tokens.residual)]
    return [
        [
            flint.arb(float(m)) * unit[0] + flint.arb(float(r)) * unit[1]
            for m, r in zip(tokens.mean.values[0], row, strict=True)
        ]
        for row in tokens.residual.values
    ]


def log10_residual(x: Rows) -> float:
    """log₁₀ of the relative residual, from a ball narrow enough to be compared with."""
    mean = [added(column) / len(x) for column in zip(*x, strict=True)]
    left = added((v - m) * (v - m) for row in x for v, m in zip(row, mean, strict=True))
    found = (left / added(v * v for row in x for v in row)).log() / (2 * flint.arb(10).log())
    assert float(found.rad()) < 1e-14 * max(1.0, abs(float(found.mid()))), found
    return float(found.mid())
