"""Matched random attention: what a matrix would measure if its scores were noise.

The null of attention whose queries and keys are known has Gaussian ones of the same number and size, the same mask,
kernel and position, and scores of the same variance within rows. Of a bare matrix the logarithms are taken as scores,
over the entries that are not zero: the null has independent Gaussian logits of their variance within rows on the same
support, or those of queries and keys where a head size is given.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from rankscope.arrays import Boolean, Float64
from rankscope.attention.build import attention, built, from_logits
from rankscope.attention.existing import single
from rankscope.attention.operators import Concatenation, Dense, Factored, Mean, Operator, Origin, Product, stored
from rankscope.attention.positions import Place, child
from rankscope.attention.request import Request, turned
from rankscope.attention.softmax import scores_of
from rankscope.attention.subject import Pair
from rankscope.errors import error


def matched(operator: Operator, seed: int, d: int | None = None) -> Operator:
    """Random attention that matches an operator, for one seed; `d` is the head size for a bare matrix.

    Raises:
        UsageError: negative or complex entries, which are no attention (RS003).
    """
    match operator:
        case Product(parts) | Mean(parts) | Concatenation(parts):
            made = tuple(matched(part, seed + 2**32 * (number + 1), d) for number, part in enumerate(parts))
            return replace(operator, parts=made)
    request = operator.request
    return of_matrix(operator, seed, d) if request is None else of_request(request, operator, seed)


def of_request(request: Request, operator: Dense | Factored, seed: int) -> Operator:
    """The null of attention that was made from queries and keys, or from scores."""
    random = child(replace(request.place, seed=seed), "null")
    pair, given = request.tokens, request.scores
    if given is not None:
        spread = within_rows(given, request.seen)
        found = replace(request, scores=spread * random.standard_normal(given.shape))
    else:
        scores = scores_of(turned(request, request.position.pieces[0]), request.scale)
        spread = within_rows(scores, request.seen)
        tokens = Pair(random.standard_normal(pair.left.shape), random.standard_normal(pair.right.shape))
        values = None if request.values is None else random.standard_normal(request.values.shape)
        found = replace(request, tokens=tokens, values=values, scale=spread)
    made = built(replace(found, place=replace(request.place, seed=seed)))
    return stored(made) if operator.subject == "stored" else made


def of_matrix(operator: Dense | Factored, seed: int, d: int | None) -> Operator:
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
    random = child(Place(matrix.shape[1], origin.head or 0, seed=seed, layer=origin.layer or 0), "null")
    named = Origin(label=f"null of {origin.label}", dtype=operator.storage.name)
    options: dict[str, Any] = {"mask": support, "empty_rows": "zero", "dtype": operator.storage.name, "origin": named}
    if d is None:
        return stored(from_logits(spread * random.standard_normal(matrix.shape), **options))
    q, k = (random.standard_normal((count, d)) for count in matrix.shape)
    return stored(single(attention(q, k, scale=spread, **options)))


def within_rows(scores: Float64, seen: Boolean) -> float:
    """The standard deviation of scores within rows, pooled over the entries that are seen."""
    counts = np.count_nonzero(seen, axis=1)
    means = np.where(seen, scores, 0.0).sum(axis=1) / np.maximum(counts, 1)
    squares = np.where(seen, scores - means[:, None], 0.0) ** 2
    freedom = int(np.maximum(counts - 1, 0).sum())
    return math.sqrt(float(squares.sum()) / freedom) if freedom else 0.0
