"""Linear attention: weights φ(q)·φ(k), divided by their sum over the keys that a query sees.

Features may be signed, so that a sum can vanish or be lost to cancellation; every entry carries a bound made from the
magnitudes of the terms.
"""

import math

import numpy as np

from rankscope.arrays import EPS, FLOAT64, UNIT, check_finite, rounded
from rankscope.attention.kernels import FeatureKernel
from rankscope.attention.operators import Dense, Diagonal, Factored, Operator, Pair, norm
from rankscope.attention.request import (
    Request,
    distinct_tokens,
    finished,
    named_rows,
    policy_for,
    stored_away,
    structure_of,
    summation,
)
from rankscope.errors import error


def from_features(request: Request, kernel: FeatureKernel) -> Operator:
    """Linear attention: φ(q)·φ(k), divided by its sum over the keys that a query sees."""
    pair, seen, storage = request.tokens, request.seen, request.storage
    root = math.sqrt(request.scale)
    left, right = (np.asarray(kernel.features(root * tokens), dtype=np.float64) for tokens in (pair.left, pair.right))
    check_finite(left, f"the features of {kernel.label}")
    check_finite(right, f"the features of {kernel.label}")
    products = np.where(seen, left @ right.T, 0.0)
    signed = bool((left < 0).any() or (right < 0).any())
    magnitudes = np.where(seen, np.abs(left) @ np.abs(right).T, 0.0) if signed else products
    total, magnitude = products.sum(axis=1), magnitudes.sum(axis=1)
    columns = seen.shape[1]
    lost = (np.abs(total) <= columns * EPS * magnitude) & (magnitude > 0)
    if lost.any():
        raise error(
            "RS122",
            f"{named_rows(lost)} of {kernel.label} attention: the sum of its weights is lost to cancellation "
            f"(below n·eps times the sum of their magnitudes)",
            "choose a feature map with positive values, such as linear:elu+1",
        )
    empty = np.asarray(magnitude == 0)
    policy = policy_for(request, empty, f"{kernel.label} gives every key it sees weight zero")
    terms = left.shape[1]
    if policy == "uniform":
        products[empty] = 1.0
        seen = seen | empty[:, None]
    if policy == "drop":
        kept = ~empty
        products, magnitudes, total, magnitude, seen = (x[kept] for x in (products, magnitudes, total, magnitude, seen))
        left = left[kept]
    total = np.where(magnitude > 0, total, columns if policy == "uniform" else 1.0)
    weights = products / total[:, None]
    own, count = np.diagonal(weights), min(weights.shape)
    lost_by_dot = (terms + 2) * UNIT * np.diagonal(magnitudes) / np.abs(total[:count])
    lost_by_sum = np.abs(own) * UNIT * ((terms + 2 + summation(columns)) * (magnitude / np.abs(total))[:count] + 2)
    entry_error = lost_by_dot + lost_by_sum
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(np.abs(own))
        relative = entry_error / np.abs(own)
        error_of_log = np.where(relative < 0.5, 2 * relative, math.inf) + 2 * UNIT * np.abs(log)
    exact_zero = np.diagonal(magnitudes) == 0
    diagonal = Diagonal(
        log,
        np.where(exact_zero, 0, np.sign(own)).astype(np.int64),
        np.where(exact_zero, 0.0, error_of_log),
        "log of φ(q_i)·φ(k_i) divided by the sum of its row",
    )
    full = request.full
    support = np.count_nonzero(seen, axis=1) if not full else np.full(len(seen), columns)
    features = Pair(left, right)
    bounds = [*distinct_tokens(features, "query features", "key features"), (terms, "the number of features")]
    structure = structure_of(request, seen, diagonal, empty, policy, bounds if full and policy != "uniform" else [])
    origin = finished(request.origin, policy, empty)
    if full and storage is FLOAT64 and policy != "uniform":
        return Factored(Pair(left / total[:, None], right), structure, "factors", support, origin)
    cost = np.abs(weights) * (summation(columns) + terms + 4) * (magnitude / np.abs(total))[:, None]
    cost += (terms + 2) * magnitudes / np.abs(total)[:, None]
    return Dense(
        rounded(weights, storage),
        structure,
        "factors",
        diagonal,
        support,
        storage,
        UNIT * norm(cost) + stored_away(weights, storage),
        math.inf if signed or storage is not FLOAT64 else UNIT * (2 * terms + summation(columns) + 8),
        origin=origin,
    )
