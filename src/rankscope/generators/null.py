"""Matched random attention: what a matrix would measure if its scores were noise.

The null of attention whose queries and keys are known has Gaussian ones of the same number and size, the same mask,
kernel and position with their random parts, and scores of the same variance within rows, before a bias; a sink is as
far from their mean. Where features of tokens matter and not scores alone, queries and keys have the same size each. Of
a bare matrix the logarithms are taken as scores, over the entries that are not zero: the null has independent Gaussian
logits of their variance within rows on the same support, or those of queries and keys where a head size is given.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from rankscope.arrays import Boolean, Float64, power_of_two, scaled
from rankscope.attention.build import attention, built, from_logits
from rankscope.attention.existing import single
from rankscope.attention.kernels import ScoreKernel
from rankscope.attention.operators import Concatenation, Dense, Factored, Mean, Operator, Product, stored
from rankscope.attention.origin import Origin
from rankscope.attention.positions import Place, child
from rankscope.attention.request import Request
from rankscope.attention.softmax import glued
from rankscope.attention.subject import Pair
from rankscope.errors import error


def matched(operator: Operator, seed: int, d: int | None = None, path: str = "") -> Operator:
    """Random attention that matches an operator, for one seed; `d` is the head size for a bare matrix.

    `path` is the place of a part in what it is a part of, so that parts have nulls of their own.

    Raises:
        UsageError: negative or complex entries, which are no attention (RS003).
    """
    match operator:
        case Product(parts) | Mean(parts) | Concatenation(parts):
            made = tuple(matched(part, seed, d, f"{path}.{number}") for number, part in enumerate(parts))
            return replace(operator, parts=made)
    request = operator.request
    return of_matrix(operator, seed, d, path) if request is None else of_request(request, operator, seed, path)


def of_request(request: Request, operator: Dense | Factored, seed: int, path: str) -> Operator:
    """The null of attention that was made from queries and keys, or from scores."""
    random = child(replace(request.place, seed=seed), f"null{path}")
    pair, given, values = request.tokens, request.scores, request.values
    drawn = replace(
        request,
        tokens=Pair(random.standard_normal(pair.left.shape), random.standard_normal(pair.right.shape)),
        scores=None if given is None else random.standard_normal(given.shape),
        values=None if values is None else random.standard_normal(values.shape),
        scale=1.0,
    )
    if isinstance(request.kernel, ScoreKernel):
        scores = glued(request)[0]
        wanted, found = (within_rows(each, request.seen) for each in (scores, glued(drawn)[0]))
        kernel = request.kernel
        if kernel.sink is not None:  # it is compared with scores, whose mean noise has not
            kernel = replace(kernel, sink=kernel.sink - mean_of(scores, request.seen))
        made = built(replace(drawn, scale=wanted / found if found else 0.0, kernel=kernel))
    else:
        with np.errstate(over="ignore"):  # what overflows is refused by name where it is used
            sized = Pair(size_of(pair.left) * drawn.tokens.left, size_of(pair.right) * drawn.tokens.right)
        made = built(replace(drawn, tokens=sized, scale=request.scale))
    return stored(made) if operator.subject == "stored" else made


def of_matrix(operator: Dense | Factored, seed: int, d: int | None, path: str) -> Operator:
    """The null of a bare matrix: on the same support, of the variance of its logarithms within rows."""
    matrix, origin = operator.matrix, operator.origin
    if not np.isrealobj(matrix) or (matrix < 0).any():
        found = "complex" if not np.isrealobj(matrix) else f"{int(np.count_nonzero(matrix < 0))} negative"
        raise error(
            "RS003", f"--null for {origin.label}, with {found} entries", "leave it out: only weights have a null"
        )
    support = matrix > 0
    with np.errstate(divide="ignore"):
        spread = within_rows(np.log(matrix), support)
    random = child(Place(matrix.shape[1], origin.head or 0, seed=seed, layer=origin.layer or 0), f"null{path}")
    named = Origin(label=f"null of {origin.label}", dtype=operator.storage.name)
    options: dict[str, Any] = {"mask": support, "empty_rows": "zero", "dtype": operator.storage.name, "origin": named}
    if d is None:
        return stored(from_logits(spread * random.standard_normal(matrix.shape), **options))
    q, k = (random.standard_normal((count, d)) for count in matrix.shape)
    return stored(single(attention(q, k, scale=spread, **options)))


def size_of(tokens: Float64) -> float:
    """The root mean square of the entries."""
    exponent = power_of_two(tokens)
    return float(scaled(math.sqrt(float((scaled(tokens, -exponent) ** 2).mean())), exponent)) if tokens.size else 0.0


def mean_of(scores: Float64, seen: Boolean) -> float:
    """The mean over the entries that are seen."""
    shown = scores[seen]
    exponent = power_of_two(shown)
    return float(scaled(scaled(shown, -exponent).mean(), exponent)) if shown.size else 0.0


def within_rows(scores: Float64, seen: Boolean) -> float:
    """The standard deviation of scores within rows, pooled over the entries that are seen."""
    counts, shown = np.count_nonzero(seen, axis=1), np.where(seen, scores, 0.0)
    exponent = power_of_two(shown)
    held = scaled(shown, -exponent)
    means = held.sum(axis=1) / np.maximum(counts, 1)
    squares = np.where(seen, held - means[:, None], 0.0) ** 2
    freedom = int(np.maximum(counts - 1, 0).sum())
    return float(scaled(math.sqrt(float(squares.sum()) / freedom), exponent)) if freedom else 0.0
