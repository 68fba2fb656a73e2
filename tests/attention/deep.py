"""The network of `rankscope depth` in multiprecision, written as its definition: the oracle of small residuals."""

from typing import Any

import mpmath
from mpmath import mp

from rankscope.generators.depth import EPSILON, Stack

Rows = list[list[Any]]


def matrix(values: Any) -> Rows:
    return [[mpmath.mpf(float(x)) for x in row] for row in values]


def times(a: Rows, b: Rows) -> Rows:
    columns = list(zip(*b, strict=True))
    return [[mpmath.fdot(row, column) for column in columns] for row in a]


def plus(a: Rows, b: Rows, factor: Any = 1) -> Rows:
    return [[x + factor * y for x, y in zip(r, s, strict=True)] for r, s in zip(a, b, strict=True)]


def softmax(scores: Rows, seen: Any) -> Rows:
    weights = [[mpmath.e**s if seen[i][j] else mpmath.mpf(0) for j, s in enumerate(r)] for i, r in enumerate(scores)]
    return [[w / mpmath.fsum(row) for w in row] for row in weights]


def normed(stack: Stack, x: Rows, where: str) -> Rows:
    side, _, kind = stack.norm.partition(":")
    if side != where:
        return x
    rows = []
    for row in x:
        own = row if kind == "rms" else [v - mpmath.fsum(row) / len(row) for v in row]
        root = mpmath.sqrt(mpmath.fdot(own, own) / len(own) + mpmath.mpf(EPSILON))
        rows.append([v / root for v in own])
    return rows


def active(stack: Stack, x: Rows) -> Rows:
    if stack.mlp == "relu":
        return [[max(v, mpmath.mpf(0)) for v in row] for row in x]
    return [[v * mpmath.ncdf(v) for v in row] for row in x]


def passed(stack: Stack, bias: Any = None) -> list[Rows]:
    """The tokens before each layer and after the last one, at mpmath's precision; `bias(i, j, head)` of the scores."""
    x = matrix(stack.tokens())
    n, scale = stack.n, mpmath.mpf(stack.scale) / mpmath.sqrt(stack.d)
    kept: dict[int, Rows] = {}
    states = [x]
    for layer in range(stack.layers):
        block = stack.block(layer)
        source = normed(stack, x, "pre")
        total = [[mpmath.mpf(0)] * stack.width for _ in range(n)]
        for number, head in enumerate(block.heads):
            mask = stack.masks[layer, number]
            seen = [[bool(mask.allows(i, j)) for j in range(n)] for i in range(n)]
            if not (stack.fixed and layer):
                q, k = times(source, matrix(head.query.weights)), times(source, matrix(head.key.weights))
                scores = [[scale * mpmath.fdot(a, b) for b in k] for a in q]
                if bias is not None:
                    scores = [[s + bias(i, j, number) for j, s in enumerate(row)] for i, row in enumerate(scores)]
                kept[number] = softmax(scores, seen)
            low, high = (mpmath.mpf(level) for level in stack.levels)
            weights = [[low / n + high * (w - mpmath.mpf(1) / n) for w in row] for row in kept[number]]
            values = times(source, matrix(head.value.weights))
            total = plus(total, times(times(weights, values), matrix(head.output.weights)))
        strength = mpmath.mpf(stack.strength)
        x = plus([[stack.skip * v for v in row] for row in x], total, strength)
        x = normed(stack, x, "post")
        if block.mlp is not None:
            hidden = active(stack, times(normed(stack, x, "pre"), matrix(block.mlp.into.weights)))
            branch = times(hidden, matrix(block.mlp.back.weights))
            x = normed(stack, plus([[stack.skip * v for v in row] for row in x], branch, strength), "post")
        states.append(x)
    return states


def log10_residual(x: Rows) -> float:
    n = len(x)
    mean = [mpmath.fsum(column) / n for column in zip(*x, strict=True)]
    left = mpmath.fsum((v - m) ** 2 for row in x for v, m in zip(row, mean, strict=True))
    return float(mpmath.log10(left / mpmath.fsum(v * v for row in x for v in row)) / 2)


def at(digits: int) -> Any:
    return mp.workdps(digits)
