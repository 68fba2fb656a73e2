"""Linear attention: weights φ(q)·φ(k), divided by their sum over the keys that a query sees.

Features may be signed, so that a sum can vanish or be lost to cancellation; every entry carries a bound made from the
magnitudes of the terms.
"""

import math
from typing import Final

import numpy as np

from rankscope.arrays import EPS, FLOAT64, TINIEST, UNIT, Boolean, Float64, check_finite, power_of_two, rounded, scaled
from rankscope.attention.kernels import FeatureKernel
from rankscope.attention.operators import Dense, Diagonal, Factored, norm
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
from rankscope.attention.structure import Fact, square
from rankscope.attention.subject import Pair, Products
from rankscope.errors import error

TOO_SMALL: Final = 2.0**-960
"""A sum of weights below which their terms, or the weights divided by it, leave the range of full precision."""


def from_features(request: Request, kernel: FeatureKernel) -> Dense | Factored:
    """Linear attention: φ(q)·φ(k), divided by its sum over the keys that a query sees."""
    seen, storage = request.seen, request.storage
    features, given = scaled_features(request, kernel)
    alive = Pair(*((each != 0).astype(np.float64) for each in (given.left, given.right)))
    signed = bool((features.left < 0).any() or (features.right < 0).any())
    products = np.where(seen, features.left @ features.right.T, 0.0)
    magnitudes = np.where(seen, np.abs(features.left) @ np.abs(features.right).T, 0.0) if signed else products
    total, magnitude = products.sum(axis=1), magnitudes.sum(axis=1)
    empty = np.asarray(magnitude == 0)
    refuse_lost_rows(request, alive, total, magnitude, features.left.shape[1])
    policy = policy_for(request, empty, f"{kernel.label} gives every key it sees weight zero")
    columns, terms = seen.shape[1], features.left.shape[1]
    present = (alive.left @ alive.right.T > 0) & seen
    unsure = signed or float(products[present].min(initial=1.0)) < TOO_SMALL  # entries without relative precision
    if policy == "uniform" and empty.any():
        products, magnitudes = (np.where(empty[:, None], 1.0, each) for each in (products, magnitudes))
        seen = seen | empty[:, None]
        total, magnitude = (np.where(empty, float(columns), each) for each in (total, magnitude))
    if policy == "drop" and empty.any():
        kept = ~empty
        products, magnitudes, total, magnitude, seen = (x[kept] for x in (products, magnitudes, total, magnitude, seen))
        features, given, alive = (Pair(pair.left[kept], pair.right) for pair in (features, given, alive))
    total = np.where(magnitude > 0, total, 1.0)
    weights = products / total[:, None]
    loss = summation(columns) + terms + 2
    spread = (magnitude / np.abs(total))[:, None]
    vanishing = 4 * terms * TINIEST / UNIT / np.abs(total)[:, None]  # features and products that underflow
    cost = np.abs(weights) * (loss * spread + 2) + (terms + 2) * magnitudes / np.abs(total)[:, None]
    cost += vanishing * (1 + columns * np.abs(weights))
    diagonal = diagonal_of(products, total, magnitudes, cost, alive, seen)
    full = request.full
    support = np.count_nonzero(seen, axis=1) if not full else np.full(len(seen), columns)
    bounds = [*distinct_tokens(given, "query features", "key features"), (terms, "the number of features")]
    whole = full and not (empty.any() and policy == "uniform")
    row_sum: Fact[float | None] = Fact(1.0, f"{kernel.label} divides each row by its sum")
    in_place = not empty.any() or policy == "zero"
    beside = (terms, "the number of features") if triangles_whole(request) and in_place else None
    structure = structure_of(request, seen, diagonal, empty, policy, bounds if whole else [], row_sum, beside)
    origin = finished(request.origin, policy, empty)
    uniform = empty if policy == "uniform" else np.zeros(len(seen), dtype=np.bool_)
    definition = Products(given, seen, uniform)
    if whole and storage is FLOAT64:
        held = Pair(features.left / total[:, None], features.right)
        return Factored(held, structure, "factors", support, UNIT * norm(cost), definition, origin)
    return Dense(
        rounded(weights, storage),
        structure,
        "factors",
        diagonal,
        support,
        storage,
        UNIT * norm(cost) + stored_away(weights, storage),
        math.inf if unsure or storage is not FLOAT64 else UNIT * (2 * terms + summation(columns) + 8),
        origin=origin,
        definition=definition,
    )


def triangles_whole(request: Request) -> bool:
    """Whether each of the two triangles beside the diagonal is seen whole or not at all."""
    seen = request.seen
    parts = [seen[np.tril_indices(len(seen), -1, seen.shape[1])], seen[np.triu_indices(len(seen), 1, seen.shape[1])]]
    return square(seen.shape) and all(part.all() or not part.any() for part in parts)


def scaled_features(request: Request, kernel: FeatureKernel) -> tuple[Pair, Pair]:
    """φ(√scale·q) and φ(√scale·k), divided by powers of two: each query's by its own, the keys' by one for all.

    Rows are normalised later, so that the matrix stays exactly the same, and products neither overflow nor vanish. The
    second pair holds the features as they are, of which none has underflowed.
    """
    root = math.sqrt(request.scale)
    (i, j), tokens = request.places, request.tokens
    with np.errstate(over="ignore", invalid="ignore"):
        left, right = (
            np.asarray(found, dtype=np.float64)
            for found in (
                kernel.features(root * tokens.left, i, request.place),
                (kernel.keys or kernel.features)(root * tokens.right, j, request.place),
            )
        )
    check_finite(left, f"the features {kernel.label} of the queries")
    check_finite(right, f"the features {kernel.label} of the keys")
    exponents = np.frexp(np.abs(left).max(axis=1, initial=0.0))[1]
    held = Pair(np.ldexp(left, -exponents[:, None]), scaled(right, -power_of_two(right)))
    return held, Pair(left, right)


def refuse_lost_rows(request: Request, alive: Pair, total: Float64, magnitude: Float64, terms: int) -> None:
    """Refuse rows whose sum is lost: to cancellation, or to underflow of terms that are not zero (RS122)."""
    doubt = max(len(alive.right) * EPS, 2 * UNIT * (summation(len(alive.right)) + terms + 2))
    lost = (np.abs(total) <= doubt * magnitude) & (magnitude > 0)
    if lost.any():
        raise error(
            "RS122",
            f"{named_rows(lost)} of {request.origin.kernel} attention: the sum of its weights is lost to cancellation "
            "(below their rounding)",
            "choose a feature map with positive values, such as linear:elu+1",
        )
    vanished = np.flatnonzero(magnitude < TOO_SMALL)
    common = (alive.left[vanished] @ alive.right.T) > 0
    underflown = np.zeros(len(total), dtype=bool)
    underflown[vanished] = (common & request.seen[vanished]).any(axis=1)
    if underflown.any():
        raise error(
            "RS122",
            f"{named_rows(underflown)} of {request.origin.kernel} attention: all its weights underflow",
            "take a smaller --scale",
        )


def diagonal_of(
    products: Float64, total: Float64, magnitudes: Float64, cost: Float64, alive: Pair, seen: Boolean
) -> Diagonal:
    """The diagonal of the exact product with its error; an entry is zero if it is hidden or each of its terms is."""
    own = np.diagonal(products)
    count = len(own)
    common = (alive.left[:count] * alive.right[:count]).any(axis=1)
    zero = (np.diagonal(magnitudes) == 0) & ~(common & np.diagonal(seen))
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(np.abs(own)) - np.log(np.abs(total[:count]))
        relative = UNIT * np.diagonal(cost) * np.abs(total[:count]) / np.abs(own)
        error_of_log = np.where(relative < 0.5, 2 * relative, math.inf) + 9 * UNIT * (
            np.abs(np.log(np.abs(own))) + np.abs(np.log(np.abs(total[:count]))) + 1
        )
    lost = ~zero & ~np.isfinite(error_of_log)
    return Diagonal(
        np.where(lost, -math.inf, log),
        np.where(zero, 0, np.where(lost, 1, np.sign(own) * np.sign(total[:count]))).astype(np.int64),
        np.where(zero, 0.0, np.where(lost, math.inf, error_of_log)),
        "log of φ(q_i)·φ(k_i) divided by the sum of its row",
    )
