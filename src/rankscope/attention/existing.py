"""A matrix that exists already, as an operator: checked, with its structure derived from the exact zero pattern."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from rankscope.arrays import Array, Storage, check_dense, check_finite, check_flush_to_zero, given
from rankscope.attention.operators import Operator, from_array
from rankscope.attention.origin import Origin
from rankscope.errors import error


def matrix(array: Any, *, origin: Origin | None = None) -> Operator | list[Operator]:
    """Any matrix or stack of matrices that you already have, analysed as the numbers that are stored.

    A stack of 3 dimensions is read as heads, of 4 as layers × heads. Its structure is derived from the exact zero
    pattern. float16, bfloat16 and float32 are converted exactly and their precision is remembered.

    >>> matrix([[1.0, 0.0], [0.5, 0.5]]).structure.side.value
    'lower'
    """
    if isinstance(array, Operator):
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
