"""Softmax attention, and every kernel whose weights are positive: computed in log space from the scores.

The scores are the float64 numbers that come out of the product of queries and keys; equal tokens are given equal
scores, which a matrix product alone does not promise. Their exact softmax is known even where the stored weights
underflow: the logarithm of the diagonal is s_ii − logsumexp_j s_ij, and its rounding is bounded term by term.
"""

import math

import numpy as np

from rankscope.arrays import FLOAT64, UNIT, Float64, check_finite, rounded
from rankscope.attention.kernels import ScoreKernel
from rankscope.attention.operators import Dense, Diagonal, Operator, Pair, Weights, norm
from rankscope.attention.request import (
    ELEMENTARY,
    Request,
    distinct_tokens,
    finished,
    policy_for,
    stored_away,
    structure_of,
    summation,
)


def from_scores(request: Request, kernel: ScoreKernel) -> Operator:
    """Softmax attention, and every kernel with positive weights: A = exp(t − logsumexp t), t = log w(s)."""
    seen, storage = request.seen, request.storage
    scores, pair = scored(request)
    check_finite(scores, "the scores q·k")
    logs = scores if kernel.log_weight is None else np.asarray(kernel.log_weight(scores), dtype=np.float64)
    check_finite(logs, f"the log weights of {kernel.label}")
    max_logit = float(scores.max(initial=-math.inf, where=seen)) + 0.0 if seen.any() else None
    empty = np.asarray(~seen.any(axis=1))
    policy = policy_for(request, empty)
    if policy == "uniform":
        seen = seen | empty[:, None]
        logs = np.where(empty[:, None], 0.0, logs)
    if policy == "drop":
        seen, logs = seen[~empty], logs[~empty]
        pair = Pair(pair.left[~empty], pair.right) if isinstance(pair, Pair) else pair[~empty]
    full = request.full
    masked = logs if full else np.where(seen, logs, -math.inf)
    top = masked.max(axis=1, initial=-math.inf)
    alive = np.isfinite(top)
    top[~alive] = 0.0
    with np.errstate(over="ignore"):  # a difference beyond float64 is a weight of zero
        weights = masked - top[:, None]
    np.exp(weights, out=weights)
    depth = -math.log(float(weights.min(initial=1.0, where=weights > 0)))
    total = weights.sum(axis=1)
    weights /= np.where(alive, total, 1.0)[:, None]
    log_total = np.log(np.where(alive, total, 1.0))
    support = np.count_nonzero(seen, axis=1) if not full else np.full(len(seen), seen.shape[1])
    own = np.diagonal(masked)
    count = len(own)
    with np.errstate(over="ignore"):  # scores near the end of float64: the error is then infinite
        diagonal_log = own - (top + log_total)[:count]
        diagonal_error = UNIT * (
            np.abs(diagonal_log)
            + 2 * np.abs(top[:count] + log_total[:count])
            + ELEMENTARY * (1 + log_total[:count])
            + summation(seen.shape[1])
            + np.log(np.maximum(support[:count], 1))
        )
    shown, known = np.isfinite(own), np.isfinite(diagonal_log)
    diagonal = Diagonal(
        np.where(known, diagonal_log, -math.inf),
        shown.astype(np.int64),
        np.where(known, diagonal_error, np.where(shown, math.inf, 0.0)),
        "log a_ii = s_ii − logsumexp_j s_ij, from the scores"
        if kernel.log_weight is None
        else "log weights of the diagonal",
    )
    matrix = rounded(weights, storage)
    relative = UNIT * (2 * ELEMENTARY + summation(seen.shape[1]) + 2)
    spread = np.sqrt(support) / np.where(alive, total, 1.0)
    absolute = UNIT * float(np.linalg.norm(spread)) / math.e  # the rounding of x − max x costs u·|x|eˣ ≤ u/e each
    alike = distinct_tokens(pair, "queries", "keys") if full and isinstance(pair, Pair) else []
    return Dense(
        matrix,
        structure_of(request, seen, diagonal, empty, policy, alike),
        "scores",
        diagonal,
        support,
        storage,
        relative * norm(weights) + absolute + stored_away(weights, storage),
        relative + UNIT * depth if storage is FLOAT64 else math.inf,
        pair,
        max_logit,
        finished(request.origin, policy, empty),
        Weights(masked),
    )


def scored(request: Request) -> tuple[Float64, Pair | Float64]:
    """The scores, and the pair whose product they are; the scores themselves where gluing or a bias makes them none."""
    position, pair = request.position, request.tokens
    if request.scale == 0:
        pair = Pair(np.zeros_like(pair.left), np.zeros_like(pair.right))  # all products are zero, all tokens alike
    rows, columns = len(pair.left), len(pair.right)
    i, j = np.arange(columns - rows, columns), np.arange(columns)
    total = np.zeros((rows, columns))
    turned = pair
    for piece in position.pieces:
        if position.turn is not None:
            turned = Pair(position.turn(pair.left, piece.query(i)), position.turn(pair.right, piece.key(j)))
        found = scores_of(turned, request.scale)
        total = found if piece.where is None else np.where(piece.where(i[:, None], j[None, :]), found, total)
    if position.bias is not None:
        total = total + position.bias(i[:, None], j[None, :], request.place)
    return total, turned if position.factored else total


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
