"""From queries and keys to an operator: one table chooses how the matrix is held.

Weights are positive numbers computed in log space, so the exact softmax of the scores is known even where the stored
weights underflow: the logarithm of the diagonal is s_ii − logsumexp_j s_ij, and its rounding is bounded term by term.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rankscope.arrays import (
    EPS,
    FLOAT64,
    UNIT,
    Array,
    Boolean,
    Storage,
    check_dense,
    check_finite,
    check_flush_to_zero,
    given,
    rounded,
)
from rankscope.arrays import storage as storage_of
from rankscope.attention.kernels import KERNELS, FeatureKernel, Kernel, ScoreKernel
from rankscope.attention.masks import Mask, parse
from rankscope.attention.operators import (
    Dense,
    Diagonal,
    Factored,
    Mean,
    Operator,
    Origin,
    Pair,
    Product,
    from_array,
    norm,
)
from rankscope.attention.structure import Fact, Structure, blocks_of_mask, distinct, least, square
from rankscope.errors import error
from rankscope.registry import nearest

EmptyRows = Literal["error", "zero", "drop", "uniform"]

ELEMENTARY: Final = 4
"""Units of roundoff that numpy's exp and log may lose; its vectorised kernels document less than 4 ulp."""


def attention(
    q: Any,
    k: Any,
    *,
    mask: str | Mask | Boolean = "bidirectional",
    kernel: str | Kernel = "softmax",
    scale: float = 1.0,
    dtype: str = "float64",
    empty_rows: EmptyRows = "error",
    origin: Origin | None = None,
) -> Operator | list[Operator]:
    """The attention matrix of your queries and keys.

    Softmax: A_ij = exp(s_ij) / Σ_j exp(s_ij) over the keys that the mask lets query i see, with scores
    s = scale · q kᵀ / √d; other kernels as `rankscope list kernels` says.

    Args:
        q: queries of shape (n, d), or (heads, n, d) for a list of operators; numpy, torch or array-like.
        k: keys of shape (m, d), or (heads, m, d). A causal mask with n ≠ m is aligned at the bottom right.
        mask: a name, an expression such as "causal & window:64", a `Mask`, or a Boolean array of shape (n, m).
        kernel: a name such as "softmax" or "linear:relu", or a kernel.
        scale: multiplies the usual 1/√d.
        dtype: the matrix is rounded to this type and analysed as rounded; everything before is float64.
        empty_rows: what to do with a query that sees nothing: "error", "zero" (a zero row), "drop" (no row),
            "uniform" (1/m everywhere). A strict triangle implies "zero".

    Raises:
        InputError: shapes that do not fit, NaN or infinity, rows that see nothing.
        UsageError: an unknown mask, kernel or dtype.

    >>> import numpy as np
    >>> A = attention(np.eye(3), np.eye(3), mask="causal")
    >>> A.matrix.sum(axis=1)
    array([1., 1., 1.])
    """
    queries, keys = given(q, "the queries"), given(k, "the keys")
    base = origin or Origin(label="attention", source="attention")
    if queries.values.ndim == 3 and keys.values.ndim == 3 and len(queries.values) == len(keys.values):
        options: dict[str, Any] = {
            "mask": mask,
            "kernel": kernel,
            "scale": scale,
            "dtype": dtype,
            "empty_rows": empty_rows,
        }
        heads = enumerate(zip(queries.values, keys.values, strict=True))
        places = [replace(base, label=f"{base.label} head {head}", head=head) for head in range(len(queries.values))]
        return [single(attention(a, b, **options, origin=places[head])) for head, (a, b) in heads]
    check_shapes(queries.values, keys.values)
    if empty_rows not in get_args(EmptyRows):
        raise error("RS001", f"empty_rows = {empty_rows!r}", nearest(str(empty_rows), list(get_args(EmptyRows))))
    if not (math.isfinite(scale) and scale >= 0):
        raise error("RS002", f"scale = {scale}", "give a finite number that is not negative")
    rows, columns = len(queries.values), len(keys.values)
    check_flush_to_zero()
    check_dense(rows, columns)
    check_finite(queries.values, "the queries")
    check_finite(keys.values, "the keys")
    chosen_mask = mask_of(mask, rows, columns)
    chosen = KERNELS.build(kernel) if isinstance(kernel, str) else kernel
    positions = np.arange(columns - rows, columns)[:, None]
    seen = np.broadcast_to(chosen_mask.allows(positions, np.arange(columns)[None, :]), (rows, columns))
    digest = hashlib.sha256(queries.values.tobytes() + keys.values.tobytes()).hexdigest()
    described = replace(
        base,
        d=queries.values.shape[1],
        mask=chosen_mask.label,
        kernel=chosen.label,
        scale=scale,
        dtype=dtype,
        digest=base.digest or digest,
    )
    request = Request(
        Pair(queries.values, keys.values), chosen_mask, seen, scale, storage_of(dtype), empty_rows, described
    )
    return from_scores(request, chosen) if isinstance(chosen, ScoreKernel) else from_features(request, chosen)


@dataclass(frozen=True, eq=False)
class Request:
    """What a matrix is to be made of: tokens, mask (also evaluated, as `seen`), scale, storage, policy, origin."""

    tokens: Pair
    mask: Mask
    seen: Boolean
    scale: float
    storage: Storage
    empty_rows: EmptyRows
    origin: Origin

    @property
    def full(self) -> bool:
        """Whether the mask is known to hide nothing."""
        return "everything" in self.mask.facts


def mask_of(mask: str | Mask | Boolean, rows: int, columns: int) -> Mask:
    """The mask that was named, made, or given as a Boolean array of the size of the matrix."""
    if isinstance(mask, str):
        return parse(mask)
    if isinstance(mask, Mask):
        return mask
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.shape != (rows, columns):
        raise error(
            "RS101",
            f"a mask of type {array.dtype} and shape {array.shape} for {rows} queries and {columns} keys",
            "give a Boolean array of that shape, True where a query sees a key (for an additive mask: mask == 0)",
        )
    return Mask("given mask", lambda q, k: array[q - (columns - rows), k])


def matrix(array: Any, *, origin: Origin | None = None) -> Operator | list[Operator]:
    """Any matrix or stack of matrices that you already have, analysed as the numbers that are stored.

    A stack of 3 dimensions is read as heads, of 4 as layers × heads. Its structure is derived from the exact zero
    pattern. float16, bfloat16 and float32 are converted exactly and their precision is remembered.

    >>> matrix([[1.0, 0.0], [0.5, 0.5]]).structure.side.value
    'lower'
    """
    if isinstance(array, Dense | Factored | Product | Mean):
        return array
    made = [bare(*each) for each in slices(array, origin)]
    return made[0] if getattr(array, "ndim", 2) == 2 and len(made) == 1 else made


def slices(array: Any, origin: Origin | None = None) -> list[tuple[Array, Storage, Origin]]:
    """The matrices of an array of 2 to 4 dimensions, not yet checked: numbers, storage, and label with its place."""
    stack = given(array)
    base = origin or Origin()
    values = stack.values
    if values.ndim not in (2, 3, 4):
        raise error(
            "RS101", f"an array of shape {values.shape}", "give a matrix, heads × n × m, or layers × heads × n × m"
        )
    found = []
    for index in np.ndindex(values.shape[:-2]):
        layer, head = (index[0], index[1]) if len(index) == 2 else (None, index[0] if index else None)
        place = ("" if layer is None else f" layer {layer}") + ("" if head is None else f" head {head}")
        found.append((values[index], stack.storage, replace(base, label=base.label + place, layer=layer, head=head)))
    return found


def bare(values: Array, storage: Storage, origin: Origin) -> Operator:
    """One matrix of stored numbers, checked: no NaN, no infinity, and room to analyse it."""
    check_flush_to_zero()
    check_dense(*values.shape)
    check_finite(values, origin.label)
    digest = origin.digest or hashlib.sha256((values + 0.0).tobytes()).hexdigest()
    return from_array(values, storage, replace(origin, dtype=storage.name, digest=digest))


def single(matrix_like: Any) -> Operator:
    """One operator from an operator, an array or a list of one; several are refused."""
    found = (
        matrix_like
        if isinstance(matrix_like, list) and all(hasattr(x, "structure") for x in matrix_like)
        else matrix(matrix_like)
    )
    if not isinstance(found, list):
        return found
    if len(found) != 1:
        raise error(
            "RS101", f"{len(found)} matrices where one is measured", "call it for each, or use rankscope.analyze"
        )
    return found[0]


def check_shapes(queries: Array, keys: Array) -> None:
    """Refuse queries and keys that are not (n, d) and (m, d) with d ≥ 1, or that are complex."""
    shapes = f"queries of shape {queries.shape} and keys of shape {keys.shape}"
    if queries.ndim != 2 or keys.ndim != 2 or queries.shape[1] != keys.shape[1] or queries.shape[1] == 0:
        raise error("RS101", shapes, "give (n, d) and (m, d) with the same d ≥ 1, or (heads, n, d) and (heads, m, d)")
    if np.iscomplexobj(queries) or np.iscomplexobj(keys):
        raise error("RS105", f"{shapes} with complex entries", "give real queries and keys")


def from_scores(request: Request, kernel: ScoreKernel) -> Operator:
    """Softmax attention, and every kernel with positive weights: A = exp(t − logsumexp t), t = log w(s)."""
    pair, seen, storage = request.tokens, request.seen, request.storage
    with np.errstate(over="ignore", invalid="ignore"):
        scores = request.scale * (pair.left @ pair.right.T) / math.sqrt(pair.left.shape[1])
    check_finite(scores, "the scores q·k")
    logs = scores if kernel.log_weight is None else np.asarray(kernel.log_weight(scores), dtype=np.float64)
    check_finite(logs, f"the log weights of {kernel.label}")
    max_logit = float(scores.max(initial=-math.inf, where=seen)) if seen.any() else None
    empty = np.asarray(~seen.any(axis=1))
    policy = policy_for(request, empty)
    if policy == "uniform":
        seen = seen | empty[:, None]
        logs = np.where(empty[:, None], 0.0, logs)
    if policy == "drop":
        seen, logs = seen[~empty], logs[~empty]
        pair = Pair(pair.left[~empty], pair.right)
    full = request.full
    masked = logs if full else np.where(seen, logs, -math.inf)
    top = masked.max(axis=1, initial=-math.inf)
    alive = np.isfinite(top)
    top[~alive] = 0.0
    weights = np.exp(masked - top[:, None])
    total = weights.sum(axis=1)
    weights /= np.where(alive, total, 1.0)[:, None]
    log_total = np.log(np.where(alive, total, 1.0))
    support = np.count_nonzero(seen, axis=1) if not full else np.full(len(seen), seen.shape[1])
    own = np.diagonal(masked)
    count = len(own)
    diagonal_log = own - (top + log_total)[:count]
    diagonal_error = UNIT * (
        np.abs(diagonal_log)
        + 2 * np.abs(top[:count] + log_total[:count])
        + ELEMENTARY * (1 + log_total[:count])
        + summation(seen.shape[1])
        + np.log(np.maximum(support[:count], 1))
    )
    known = np.isfinite(diagonal_log)
    diagonal = Diagonal(
        np.where(known, diagonal_log, -math.inf),
        known.astype(np.int64),
        np.where(known, diagonal_error, 0.0),
        "log a_ii = s_ii − logsumexp_j s_ij, from the scores"
        if kernel.log_weight is None
        else "log weights of the diagonal",
    )
    matrix = rounded(weights, storage)
    relative = UNIT * (2 * ELEMENTARY + summation(seen.shape[1]) + 2)
    spread = np.sqrt(support) / np.where(alive, total, 1.0)
    absolute = UNIT * float(np.linalg.norm(spread)) / math.e  # the rounding of x − max x costs u·|x|eˣ ≤ u/e each
    return Dense(
        matrix,
        structure_of(request, seen, diagonal, empty, policy, distinct_tokens(pair, "queries", "keys") if full else []),
        "scores",
        diagonal,
        support,
        storage,
        relative * norm(weights) + absolute + stored_away(weights, storage),
        pair,
        max_logit,
        finished(request.origin, policy, empty),
    )


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
    rows, columns = seen.shape
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
        rounded(weights, storage), structure, "factors", diagonal, support, storage, UNIT * norm(cost) + stored_away(weights, storage), origin=origin
    )


def stored_away(weights: Array, storage: Storage) -> float:
    """A bound on the Frobenius norm of what rounding to `storage` changes: u·‖A‖_F + √(nm)·η."""
    return 0.0 if storage is FLOAT64 else storage.unit * norm(weights) + math.sqrt(weights.size) * storage.smallest


def summation(count: int) -> float:
    """Units of roundoff that numpy's pairwise sum of `count` numbers of one sign can lose: 8 accumulators over blocks
    of 128, then halving (`numpy.sum`, Notes).
    """
    return 20 + math.log2(max(count, 1))


def policy_for(request: Request, empty: NDArray[np.bool_], why: str = "the mask shows it no key") -> EmptyRows:
    """What happens to empty rows: as asked, zero for a strict triangle, an error that lists them otherwise."""
    seen = request.seen
    if not empty.any() or request.empty_rows != "error":
        return request.empty_rows
    strict = square(seen.shape) and not np.diagonal(seen).any() and not (np.tril(seen).any() and np.triu(seen).any())
    if strict and np.array_equal(empty, ~seen.any(axis=1)):
        return "zero"
    raise error(
        "RS120",
        f"{named_rows(empty)} of {request.mask.label} attention: {why}",
        "choose --empty-rows zero, drop or uniform (empty_rows= in Python)",
    )


def named_rows(bad: NDArray[np.bool_]) -> str:
    """The rows that are marked, the first five by number."""
    rows = np.flatnonzero(bad)
    listed = ", ".join(str(i) for i in rows[:5]) + (", …" if len(rows) > 5 else "")
    return f"{'row' if len(rows) == 1 else f'{len(rows)} rows:'} {listed} (counted from 0)"


def distinct_tokens(tokens: Pair, left: str, right: str) -> list[tuple[int, str]]:
    """Upper bounds of the rank of a matrix whose rows and columns depend on one token each."""
    return [(distinct(tokens.left), f"distinct {left}"), (distinct(tokens.right), f"distinct {right}")]


def structure_of(
    request: Request,
    seen: Boolean,
    diagonal: Diagonal,
    empty: NDArray[np.bool_],
    policy: EmptyRows,
    bounds: list[tuple[int, str]],
) -> Structure:
    """What must be true of mask × kernel at this size; `bounds` are upper bounds of the rank that the kernel knows."""
    shape, kernel = seen.shape, request.origin.kernel
    zero_rows = int(np.count_nonzero(empty)) if policy == "zero" else 0
    unchanged = not empty.any() or policy == "zero"
    mask = request.mask if unchanged else Mask(f"{request.mask.label} with {policy} rows", request.mask.allows)
    blocks, side = blocks_of_mask(mask, seen)
    row_sum: Fact[float | None] = Fact(1.0, f"{kernel} divides each row by its sum")
    sign: Fact[int | None] = Fact(None, f"no theorem gives the sign for {mask.label} {kernel} attention")
    bounds = [(min(shape), f"a matrix of {shape[0]} × {shape[1]}"), *bounds]
    if zero_rows:
        bounds.append((shape[0] - zero_rows, "rows that are not zero"))
        row_sum = Fact(None, f"{zero_rows} rows see nothing and are zero")
        sign = Fact(0, f"{zero_rows} rows are zero")
    structure = Structure(shape, blocks, side, least(bounds), row_sum, sign)
    if not structure.triangular:
        return structure
    zeros = int(np.count_nonzero(diagonal.sign == 0))
    shape_name = f"{side.value} triangular" if side.value in ("lower", "upper") else "triangular in a suitable order"
    if zeros:
        because = f"{shape_name} with {zeros} zeros on the diagonal"
        bounds.append((shape[0] - 1, because))
        return replace(structure, rank_bound=least(bounds), det_sign=Fact(0, because))
    if np.isinf(diagonal.error).any():
        return replace(structure, det_sign=Fact(None, "a diagonal entry is lost to cancellation"))
    because = f"{shape_name} with {'a positive' if (diagonal.sign > 0).all() else 'no zero on its'} diagonal"
    return replace(structure, det_sign=Fact(int(np.prod(diagonal.sign)), because))


def finished(origin: Origin, policy: EmptyRows, empty: NDArray[np.bool_]) -> Origin:
    """The origin, with a note on what was done to empty rows."""
    if not empty.any():
        return origin
    done = {"zero": "kept as zero rows", "drop": "dropped", "uniform": "made uniform"}[policy]
    return replace(origin, notes=(*origin.notes, f"{int(np.count_nonzero(empty))} rows that see nothing are {done}"))
