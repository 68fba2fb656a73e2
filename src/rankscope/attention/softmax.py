"""Softmax attention, and every kernel whose weights are positive: computed in log space from the scores.

The scores are the float64 numbers that come out of the product of queries and keys; equal tokens are given equal
scores, which a matrix product alone does not promise. Their exact softmax is known even where the stored weights
underflow: the logarithm of the diagonal is s_ii − logsumexp_j s_ij, and its rounding is bounded term by term.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rankscope.arrays import FLOAT64, TINIEST, UNIT, Boolean, Float64, check_finite, rounded
from rankscope.attention.kernels import ScoreKernel
from rankscope.attention.masks import Mask
from rankscope.attention.operators import Dense, Diagonal, norm
from rankscope.attention.origin import Origin
from rankscope.attention.request import (
    ELEMENTARY,
    Request,
    distinct_tokens,
    finished,
    policy_for,
    stored_away,
    structure_of,
    summation,
    turned,
)
from rankscope.attention.structure import Fact, distinct
from rankscope.attention.subject import Pair, Weights
from rankscope.errors import error


def from_scores(request: Request, kernel: ScoreKernel) -> Dense:
    """Softmax attention, and every kernel with positive weights: A = exp(t − logsumexp t), t = log w(s)."""
    seen, storage = request.seen, request.storage
    scores, pair = scored(request)
    check_finite(scores, "the scores q·k")
    max_logit = float(scores.max(initial=-math.inf, where=seen)) + 0.0 if seen.any() else None
    masked = log_weights(kernel, scores if request.full else np.where(seen, scores, -math.inf))
    empty = np.asarray(~np.isfinite(masked).any(axis=1))
    lenient = not kernel.divided and request.empty_rows == "error"
    policy = "zero" if lenient else policy_for(request, empty, why_empty(kernel, seen))
    if policy == "uniform":
        seen = seen | empty[:, None]
        masked = np.where(empty[:, None], 0.0 if kernel.divided else -math.log(max(seen.shape[1], 1)), masked)
    if policy == "drop":
        seen, masked = seen[~empty], masked[~empty]
        pair = Pair(pair.left[~empty], pair.right) if isinstance(pair, Pair) else pair[~empty]
    sink = None if kernel.sink is None else np.full(len(seen), kernel.sink)
    if sink is not None and policy == "uniform":
        sink[empty] = -math.inf
    plain = kernel.log_weight is None
    subject = Weights(masked, sink, kernel.divided, plain)
    weights, depth, top, total = divided(subject) if kernel.divided else exponentials(subject)
    support = np.count_nonzero(seen, axis=1)
    diagonal = diagonal_of(subject, top, total, support, plain)
    relative = UNIT * (2 * ELEMENTARY + summation(seen.shape[1]) + 2)
    spread = np.sqrt(support) / total * kernel.divided
    absolute = UNIT * norm(spread) / math.e  # rounding x − max x costs u·|x|eˣ ≤ u/e each
    vanished = TINIEST * math.sqrt(weights.size)
    alike = distinct_tokens(pair, "queries", "keys") if plain and request.full and isinstance(pair, Pair) else []
    found, zeros = pattern_of(request, masked, seen)
    if not plain:
        alike = [
            (int(np.count_nonzero(zeros.any(axis=0))), "the number of keys that have any weight"),
            (distinct(masked), "the number of distinct rows"),
            (distinct(masked.T), "the number of distinct columns"),
        ]
    return Dense(
        rounded(weights, storage),
        structure_of(found, zeros, diagonal, empty, policy, alike, row_sums(kernel)),
        "scores" if plain else "log weights",
        diagonal,
        support,
        storage,
        relative * norm(weights) + absolute + vanished + stored_away(weights, storage),
        relative + UNIT * depth if storage is FLOAT64 else math.inf,
        pair,
        max_logit,
        noted(request.origin if lenient else finished(request.origin, policy, empty), plain),
        subject,
    )


def noted(origin: Origin, plain: bool) -> Origin:
    """The origin, with a note on what exact numbers speak of where a kernel has computed log weights."""
    note = f"exact numbers are those of the log weights of {origin.kernel}, as computed in float64"
    return origin if plain else replace(origin, notes=(*origin.notes, note))


def log_weights(kernel: ScoreKernel, masked: Float64) -> Float64:
    """The log weights that a kernel gives to scores in which −∞ stands for a hidden key; they hide the same keys."""
    if kernel.log_weight is None:
        return masked
    with np.errstate(all="ignore"):
        found = np.asarray(kernel.log_weight(masked), dtype=np.float64)
    if found.shape != masked.shape:
        raise error(
            "RS005",
            f"log_weight of the kernel {kernel.label!r} changed the shape {masked.shape} to {found.shape}",
            "return one log weight for each score",
        )
    found = np.where(masked > -math.inf, found, -math.inf)
    check_finite(np.where(found == -math.inf, 0.0, found), f"the log weights of {kernel.label}")
    return found


def why_empty(kernel: ScoreKernel, seen: Boolean) -> str:
    """Why a row has no weight."""
    return "the mask shows it no key" if not seen.any(axis=1).all() else f"{kernel.label} gives every key weight zero"


def divided(subject: Weights) -> tuple[Float64, float, Float64, Float64]:
    """The weights; how far below the largest of its row the least one lies, in nats; for each row the largest
    logarithm, and the sum of the weights over that of the largest.
    """
    logs, sink = subject.logs, subject.sink
    top = logs.max(axis=1, initial=-math.inf)
    top = top if sink is None else np.maximum(top, sink)
    alive = np.isfinite(top)
    top[~alive] = 0.0
    with np.errstate(over="ignore"):  # a difference beyond float64 is a weight of zero
        weights = logs - top[:, None]
        extra = np.zeros(len(top)) if sink is None else np.exp(sink - top)
    np.exp(weights, out=weights)
    depth = -math.log(float(weights.min(initial=1.0, where=weights > 0)))
    total = np.where(alive, weights.sum(axis=1) + extra, 1.0)
    weights /= total[:, None]
    return weights, depth, top, total


def exponentials(subject: Weights) -> tuple[Float64, float, Float64, Float64]:
    """The same of weights that are not divided: their sums count for one."""
    with np.errstate(over="ignore"):
        weights = np.exp(subject.logs)
    check_finite(weights, "the weights")
    finite = subject.logs[np.isfinite(subject.logs)]
    return weights, float(np.abs(finite).max(initial=0.0)), np.zeros(len(weights)), np.ones(len(weights))


def diagonal_of(subject: Weights, top: Float64, total: Float64, support: NDArray[np.intp], scores: bool) -> Diagonal:
    """log a_ii = l_ii − log of the row sum, each with a bound on its rounding."""
    own = np.diagonal(subject.logs)
    count = len(own)
    above, counts = np.log(total[:count]), np.log(np.maximum(support[:count], 1))
    with np.errstate(over="ignore", invalid="ignore"):  # scores near the end of float64: the error is then infinite
        sums = top[:count] + above
        log = own - sums
        rounding = np.abs(log) + 2 * np.abs(sums) + ELEMENTARY * (1 + above) + counts
        errors = UNIT * (rounding + summation(subject.logs.shape[1])) if subject.divided else np.zeros(count)
    shown, known = np.isfinite(own), np.isfinite(log)
    return Diagonal(
        np.where(known, log, -math.inf),
        shown.astype(np.int64),
        np.where(known, errors, np.where(shown, math.inf, 0.0)),
        "log a_ii = s_ii − logsumexp_j s_ij, from the scores" if scores else "log weights of the diagonal",
    )


def row_sums(kernel: ScoreKernel) -> Fact[float | None]:
    """What every row sums to."""
    if not kernel.divided:
        return Fact(None, f"{kernel.label} does not divide rows by their sums")
    if kernel.sink is not None:
        return Fact(None, "the sink takes a part of each row, which sums to less than one")
    return Fact(1.0, f"{kernel.label} divides each row by its sum")


def pattern_of(request: Request, logs: Float64, seen: Boolean) -> tuple[Request, Boolean]:
    """Where weights are not zero, as a request whose mask says so: a kernel may hide keys that the mask shows."""
    positive = logs > -math.inf
    if np.array_equal(positive, seen):
        return request, seen
    mask = request.mask
    name = f"{mask.label} {request.origin.kernel}"
    return replace(request, mask=Mask(name, mask.allows, mask.facts & {"lower", "upper"})), positive


def scored(request: Request) -> tuple[Float64, Pair | Float64]:
    """The scores, and the pair whose product they are; the scores themselves where gluing or a bias makes them none."""
    total, held = glued(request)
    bias = request.position.bias
    if bias is not None:
        i, j = request.places
        total = np.asarray(total + bias(i[:, None], j[None, :], request.place))
    return total, held if isinstance(held, Pair) and request.position.factored else total


def glued(request: Request) -> tuple[Float64, Pair | None]:
    """The scores before a bias, and the pair that the last piece turned; none where the scores were given."""
    position, pair = request.position, request.tokens
    i, j = request.places
    if request.scores is not None:
        with np.errstate(over="ignore"):
            return request.scale * request.scores, None
    if request.scale == 0:
        pair = Pair(np.zeros_like(pair.left), np.zeros_like(pair.right))  # all products are zero, all tokens alike
        request = replace(request, tokens=pair)
    total, held = np.zeros(request.seen.shape), pair
    for piece in position.pieces:
        held = turned(request, piece)
        found = scores_of(held, request.scale)
        total = found if piece.where is None else np.where(piece.where(i[:, None], j[None, :]), found, total)
    return total, held


def scores_of(pair: Pair, scale: float) -> Float64:
    """scale · q kᵀ / √d in float64, computed once for equal queries and once for equal keys.

    A matrix product may round equal rows differently, depending on where they stand.
    """
    rows, columns = first_of(pair.left), first_of(pair.right)
    repeated = len(set(rows)) < len(rows) or len(set(columns)) < len(columns)
    with np.errstate(over="ignore", invalid="ignore"):
        scores = np.asarray(scale * (pair.left @ pair.right.T) / math.sqrt(pair.left.shape[1]), dtype=np.float64)
    return scores[np.ix_(rows, columns)] if repeated else scores


def first_of(tokens: Float64) -> list[int]:
    """For each token the index of the first that is equal to it, where −0 is 0."""
    seen: dict[bytes, int] = {}
    return [seen.setdefault(token.tobytes(), index) for index, token in enumerate(tokens + 0.0)]
