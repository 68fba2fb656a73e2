"""From queries and keys, or from a matrix that exists already, to an operator."""

import hashlib
import math
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from rankscope.arrays import (
    Array,
    Boolean,
    Storage,
    check_dense,
    check_finite,
    check_flush_to_zero,
    given,
)
from rankscope.arrays import storage as storage_of
from rankscope.attention.kernels import KERNELS, Kernel, ScoreKernel
from rankscope.attention.linear import from_features
from rankscope.attention.masks import Mask, parse
from rankscope.attention.operators import (
    Dense,
    Factored,
    Mean,
    Operator,
    Origin,
    Pair,
    Product,
    from_array,
)
from rankscope.attention.positions import POSITIONS, Place, Position
from rankscope.attention.request import EmptyRows, Request
from rankscope.attention.softmax import from_scores
from rankscope.errors import error
from rankscope.registry import nearest


def attention(
    q: Any,
    k: Any,
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
        mask: a name, an expression such as "causal & window:64", a `Mask`, or a Boolean array of shape (n, m).
        kernel: a name such as "softmax" or "linear:relu", or a kernel.
        position: a name such as "rope" or "alibi", or a position; it acts before the kernel.
        scale: multiplies the usual 1/√d.
        dtype: the matrix is rounded to this type and analysed as rounded; everything before is float64.
        empty_rows: what to do with a query that sees nothing: "error", "zero" (a zero row), "drop" (no row),
            "uniform" (1/m everywhere). A strict triangle implies "zero".
        heads: how many heads there are, for positions that differ between them.
        origin: what is known of where queries and keys come from; it is passed on to tables.

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
            "position": position,
            "heads": len(queries.values),
            "scale": scale,
            "dtype": dtype,
            "empty_rows": empty_rows,
        }
        pairs = enumerate(zip(queries.values, keys.values, strict=True))
        places = [replace(base, label=f"{base.label} head {head}", head=head) for head in range(len(queries.values))]
        return [single(attention(a, b, **options, origin=places[head])) for head, (a, b) in pairs]
    check_shapes(queries.values, keys.values)
    if empty_rows not in get_args(EmptyRows):
        raise error("RS001", f"empty_rows = {empty_rows!r}", nearest(str(empty_rows), list(get_args(EmptyRows))))
    if not (math.isfinite(scale) and scale >= 0):
        raise error("RS002", f"scale = {scale}", "give a finite number that is not negative")
    rows, columns = len(queries.values), len(keys.values)
    check_flush_to_zero()
    check_dense(rows, columns)
    place = "" if base.head is None else f" of head {base.head}"
    check_finite(queries.values, f"the queries{place}")
    check_finite(keys.values, f"the keys{place}")
    chosen_mask = mask_of(mask, rows, columns)
    chosen = KERNELS.build(kernel) if isinstance(kernel, str) else kernel
    placed = POSITIONS.build(position) if isinstance(position, str) else position
    check_accepted(chosen, placed)
    positions = np.arange(columns - rows, columns)[:, None]
    seen = np.broadcast_to(chosen_mask.allows(positions, np.arange(columns)[None, :]), (rows, columns))
    if seen.dtype != np.bool_:
        given_type = f"the mask {chosen_mask.label!r} answers with {seen.dtype}"
        raise error(
            "RS101", given_type, "write allows() with comparisons, joined by & and |, so that it gives True or False"
        )
    digest = digest_of(queries.values, keys.values)
    described = replace(
        base,
        d=queries.values.shape[1],
        mask=chosen_mask.label,
        kernel=chosen.label,
        position=None if placed.label == "none" else placed.label,
        scale=scale,
        dtype=dtype,
        digest=base.digest or digest,
    )
    request = Request(
        Pair(queries.values, keys.values),
        chosen_mask,
        seen,
        scale,
        storage_of(dtype),
        empty_rows,
        described,
        placed,
        Place(columns, base.head or 0, max(heads, (base.head or 0) + 1), base.seed or 0),
    )
    return from_scores(request, chosen) if isinstance(chosen, ScoreKernel) else from_features(request, chosen)


def check_accepted(kernel: Kernel, position: Position) -> None:
    """Refuse a position that the kernel does not take."""
    if position.label != "none" and not isinstance(kernel, ScoreKernel):
        raise error(
            "RS003",
            f"the position {position.label} with the kernel {kernel.label}, which has no scores",
            "take a kernel that acts on scores, such as softmax",
        )


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
    digest = origin.digest or digest_of(values)
    dtype = storage.name if np.isrealobj(values) else "complex128"
    return from_array(values, storage, replace(origin, dtype=dtype, digest=digest))


def digest_of(*arrays: Array) -> str:
    """The SHA-256 of the shapes and the numbers of arrays, in which −0 is 0."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(repr(array.shape).encode())
        found.update((array + 0.0).tobytes())
    return found.hexdigest()


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
