"""From queries and keys, or from scores, to an operator."""

import math
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

import numpy as np

from rankscope.arrays import (
    Array,
    Boolean,
    Float64,
    check_dense,
    check_finite,
    check_flush_to_zero,
    given,
)
from rankscope.arrays import storage as storage_of
from rankscope.attention.existing import digest_of
from rankscope.attention.kernels import KERNELS, FeatureKernel, Kernel, RecurrenceKernel, ScoreKernel
from rankscope.attention.linear import from_features
from rankscope.attention.masks import Mask, parse
from rankscope.attention.operators import Dense, Factored, Operator
from rankscope.attention.origin import Origin
from rankscope.attention.positions import POSITIONS, Place, Position
from rankscope.attention.recurrence import from_recurrence
from rankscope.attention.request import EmptyRows, Request
from rankscope.attention.softmax import from_scores
from rankscope.attention.structure import refuse_false_facts, square
from rankscope.attention.subject import Pair
from rankscope.errors import error
from rankscope.registry import nearest

UNNAMED: Final = "attention"
"""The label of a matrix that is called by what it is made of."""


@dataclass(frozen=True, eq=False, repr=False)
class How:
    """How a matrix is to be made of tokens or scores: the options of `attention`."""

    mask: str | Mask | Boolean
    kernel: str | Kernel
    position: str | Position
    scale: float
    dtype: str
    empty_rows: EmptyRows
    heads: int = 1


def attention(
    q: Any,
    k: Any,
    v: Any = None,
    *,
    mask: str | Mask | Boolean = "bidirectional",
    kernel: str | Kernel = "softmax",
    position: str | Position = "none",
    scale: float = 1.0,
    dtype: str = "float64",
    empty_rows: EmptyRows = "error",
    heads: int = 1,
    origin: Origin | None = None,
) -> Operator | list[Operator]:
    """The attention matrix of your queries and keys.

    Softmax: A_ij = exp(s_ij) / Σ_j exp(s_ij) over the keys that the mask lets query i see, with scores
    s = scale · q kᵀ / √d; other kernels as `rankscope list kernels` says.

    Args:
        q: queries of shape (n, d), or (heads, n, d) for a list of operators; numpy, torch or array-like.
        k: keys of shape (m, d), or (heads, m, d). A causal mask with n ≠ m is aligned at the bottom right.
        v: values of shape (m, d_v), or (heads, m, d_v), which `rank_output` needs and nothing else does.
        mask: a name, an expression such as "causal & window:64", a `Mask`, or a Boolean array of shape (n, m).
        kernel: a name such as "softmax" or "linear:relu", or a kernel.
        position: a name such as "rope" or "alibi", or a position; it acts before the kernel.
        scale: multiplies the usual 1/√d.
        dtype: the matrix is rounded to this type and analysed as rounded; everything before is float64.
        empty_rows: what to do with a query that sees nothing: "error", "zero" (a zero row), "drop" (no row),
            "uniform" (1/m everywhere). A strict triangle implies "zero".
        heads: how many heads there are, for positions and kernels that differ between them.
        origin: what is known of where queries and keys come from; it is passed on to tables.

    Raises:
        InputError: shapes that do not fit, NaN or infinity, rows that see nothing.
        UsageError: an unknown mask, kernel or dtype; a mask or a position that the kernel does not accept.

    >>> import numpy as np
    >>> A = attention(np.eye(3), np.eye(3), mask="causal")
    >>> A.matrix.sum(axis=1)
    array([1., 1., 1.])
    """
    given_arrays = {"the queries": q, "the keys": k} | ({} if v is None else {"the values": v})
    arrays = [given(array, name).values for name, array in given_arrays.items()]
    base = origin or Origin(label=UNNAMED, source="attention")
    how = How(mask, kernel, position, scale, dtype, empty_rows, heads)
    if all(array.ndim == 3 for array in arrays) and len({len(array) for array in arrays}) == 1:
        how = replace(how, heads=len(arrays[0]))
        places = [replace(base, head=head) for head in range(how.heads)]
        return [of_tokens(place, how, *each) for place, each in zip(places, zip(*arrays, strict=True), strict=True)]
    return of_tokens(base, how, *arrays)


def from_logits(
    scores: Any,
    *,
    mask: str | Mask | Boolean = "bidirectional",
    kernel: str | Kernel = "softmax",
    position: str | Position = "none",
    scale: float = 1.0,
    dtype: str = "float64",
    empty_rows: EmptyRows = "error",
    origin: Origin | None = None,
) -> Operator:
    """The attention matrix of scores that you already have, before any kernel; options as in `attention`.

    They have the shape (n, m); −∞ is a key that the query does not see. A position may add a bias, and cannot turn what
    is a product already.

    >>> from_logits([[0.0, -np.inf], [5.0, 5.0]]).matrix.tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """
    values = given(scores, "the scores").values
    if values.ndim != 2 or np.iscomplexobj(values):
        raise error("RS101", f"scores of shape {values.shape} and type {values.dtype}", "give a real n × m matrix")
    base = origin or Origin(label=UNNAMED, source="scores")
    return of_scores(base, How(mask, kernel, position, scale, dtype, empty_rows), values)


def of_scores(base: Origin, how: How, scores: Float64) -> Operator:
    """The matrix of one head of scores; −∞ hides a key."""
    shown = scores != -math.inf
    held = np.where(shown, scores, 0.0)
    check_finite(held, "the scores")
    if not shown.all():
        known = mask_of(how.mask, *scores.shape)
        offset = scores.shape[1] - scores.shape[0]
        both = Mask(f"{known.label} & finite scores", lambda q, k: known.allows(q, k) & shown[q - offset, k])
        how = replace(how, mask=both)
    tokens = Pair(np.zeros((len(held), 0)), np.zeros((held.shape[1], 0)))
    return built(replace(requested(base, how, tokens, held.shape, digest_of(scores)), scores=held))


def of_tokens(base: Origin, how: How, queries: Array, keys: Array, values: Array | None = None) -> Operator:
    """The matrix of one head."""
    check_shapes(queries, keys)
    place = "" if base.head is None else f" of head {base.head}"
    check_finite(queries, f"the queries{place}")
    check_finite(keys, f"the keys{place}")
    if values is not None:
        if values.ndim != 2 or len(values) != len(keys) or np.iscomplexobj(values):
            raise error(
                "RS101", f"values of shape {values.shape} for {len(keys)} keys", "give real values of shape (m, d_v)"
            )
        check_finite(values, f"the values{place}")
    shape = len(queries), len(keys)
    request = requested(base, how, Pair(queries, keys), shape, digest_of(queries, keys))
    return built(replace(request, values=values))


def requested(base: Origin, how: How, tokens: Pair, shape: tuple[int, int], digest: str) -> Request:
    """What is asked for, with its names resolved and every refusal that costs no arithmetic."""
    rows, columns = shape
    if how.empty_rows not in get_args(EmptyRows):
        remedy = nearest(str(how.empty_rows), list(get_args(EmptyRows)))
        raise error("RS001", f"empty_rows = {how.empty_rows!r}", remedy)
    if not (math.isfinite(how.scale) and how.scale >= 0):
        raise error("RS002", f"scale = {how.scale}", "give a finite number that is not negative")
    check_flush_to_zero()
    check_dense(rows, columns)
    mask = mask_of(how.mask, rows, columns)
    kernel = KERNELS.build(how.kernel) if isinstance(how.kernel, str) else how.kernel
    position = POSITIONS.build(how.position) if isinstance(how.position, str) else how.position
    seen = mask.shown(rows, columns)
    if seen.dtype != np.bool_:
        given_type = f"the mask {mask.label!r} answers with {seen.dtype}"
        raise error(
            "RS101", given_type, "write allows() with comparisons, joined by & and |, so that it gives True or False"
        )
    refuse_false_facts(mask, seen)
    check_accepted(kernel, mask, seen, position)
    described = replace(
        base,
        label=named(base, mask, kernel, position),
        d=tokens.left.shape[1] or None,
        mask=mask.label,
        kernel=kernel.label,
        position=None if position.label == "none" else position.label,
        scale=how.scale,
        dtype=how.dtype,
        digest=base.digest or digest,
    )
    head = base.head or 0
    place = Place(columns, head, max(how.heads, head + 1), base.seed or 0, base.layer or 0)
    stored_as = storage_of(how.dtype)
    return Request(tokens, mask, seen, how.scale, stored_as, how.empty_rows, described, position, place, kernel)


def named(base: Origin, mask: Mask, kernel: Kernel, position: Position) -> str:
    """The label of a matrix: as given, else what it is made of."""
    place = "" if base.head is None else f" head {base.head}"
    if base.label != UNNAMED:
        return base.label
    return " ".join([mask.label, kernel.label, *([] if position.label == "none" else [position.label])]) + place


def built(request: Request) -> Operator:
    """The operator that was asked for, which remembers how."""
    kernel = request.kernel
    if request.scores is not None and request.position.turns:
        raise error(
            "RS003",
            f"the position {request.position.label} with scores",
            "it turns queries and keys: give these, or a position that adds a bias, such as alibi",
        )
    if request.scores is not None and not isinstance(kernel, ScoreKernel):
        raise error(
            "RS003", f"the kernel {kernel.label} with scores", "it acts on queries and keys: take a kernel of scores"
        )
    made: Dense | Factored
    match kernel:
        case ScoreKernel():
            made = from_scores(request, kernel)
        case FeatureKernel():
            made = from_features(request, kernel)
        case RecurrenceKernel():
            made = from_recurrence(request, kernel)
    return replace(made, request=request)


def check_accepted(kernel: Kernel, mask: Mask, seen: Boolean, position: Position) -> None:
    """Refuse a mask or a position that the kernel does not accept (RS003)."""
    match kernel.masks:
        case "any":
            accepted = True
        case "everything":
            accepted = bool(seen.all())
        case "triangle":
            whole = np.ones_like(seen)
            accepted = any(np.array_equal(seen, triangle) for triangle in (np.tril(whole), np.triu(whole)))
    if kernel.masks == "triangle" and not square(seen.shape):
        sizes = f"{seen.shape[0]} queries and {seen.shape[1]} keys"
        given_sizes = f"the mask {mask.label} with the kernel {kernel.label}, for {sizes}"
        raise error("RS003", given_sizes, "a recurrence has as many queries as keys")
    if not accepted:
        remedy = {
            "everything": "it takes the mask bidirectional",
            "triangle": "it takes the mask causal or anticausal: --mask causal (mask='causal' in Python)",
        }[kernel.masks]
        raise error("RS003", f"the mask {mask.label} with the kernel {kernel.label}", remedy)
    if position.tokens is not None:
        raise error(
            "RS003",
            f"the position {position.label}, which acts on tokens, with queries and keys",
            "add it to your tokens before they are projected, or take an ensemble of tokens (--ensemble tokens)",
        )
    accepted = {"any": True, "rotations": position.factored, "none": position.idle}[kernel.positions]
    if not accepted:
        remedy = {
            "rotations": "it takes positions that turn queries and keys, such as rope",
            "none": "it takes none, for it has no scores: leave it out, or take a kernel of scores such as softmax",
        }[kernel.positions]
        raise error("RS003", f"the position {position.label} with the kernel {kernel.label}", remedy)


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


def check_shapes(queries: Array, keys: Array) -> None:
    """Refuse queries and keys that are not (n, d) and (m, d) with d ≥ 1, or that are complex."""
    shapes = f"queries of shape {queries.shape} and keys of shape {keys.shape}"
    if queries.ndim != 2 or keys.ndim != 2 or queries.shape[1] != keys.shape[1] or queries.shape[1] == 0:
        raise error("RS101", shapes, "give (n, d) and (m, d) with the same d ≥ 1, or (heads, n, d) and (heads, m, d)")
    if np.iscomplexobj(queries) or np.iscomplexobj(keys):
        raise error("RS105", f"{shapes} with complex entries", "give real queries and keys")
