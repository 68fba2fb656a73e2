"""The exact matrix that an operator speaks of: as balls that contain every entry, or as integers.

Floats are rationals, so that stored numbers and products of given factors are integers after rows are multiplied by
powers of two; the softmax of given scores is transcendental, and is enclosed to any precision. FLINT's arithmetic
(python-flint) does both.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Final

import numpy as np

from rankscope.arrays import Array
from rankscope.attention.operators import Dense, Factored, Mean, Operator, Product, Products, Weights

LOCK: Final = threading.RLock()
"""FLINT's working precision is one number for the whole process: one proof at a time."""


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Ball arithmetic with this many bits, and with no other thread's."""
    import flint

    with LOCK:
        before = flint.ctx.prec
        flint.ctx.prec = bits
        try:
            yield
        finally:
            flint.ctx.prec = before


# --------------------------------------------------------------------------------------------------------------- balls


@singledispatch
def balls(operator: Operator) -> Any:
    """The exact matrix as a `flint.arb_mat` at the working precision."""
    raise TypeError(f"no rule for {type(operator).__name__}")


@balls.register
def _(operator: Dense) -> Any:
    match operator.definition:
        case Weights(logs):
            return matrix_of([softmax_row(row) for row in logs.tolist()], operator.shape)
        case Products():
            return normalised(operator.definition)
        case _:
            return exact_matrix(operator.matrix)


@balls.register
def _(operator: Factored) -> Any:
    return normalised(operator.definition)


@balls.register
def _(operator: Product) -> Any:
    found = balls(operator.parts[0])
    for part in operator.parts[1:]:
        found = found * balls(part)
    return found


@balls.register
def _(operator: Mean) -> Any:
    found = balls(operator.parts[0])
    for part in operator.parts[1:]:
        found = found + balls(part)
    return found / len(operator.parts)


def matrix_of(rows: Sequence[Sequence[Any]], shape: tuple[int, int]) -> Any:
    """A matrix of balls from its rows, empty ones included."""
    import flint

    return flint.arb_mat(shape[0], shape[1], [entry for row in rows for entry in row])


def part(matrix: Any, rows: Sequence[int], columns: Sequence[int]) -> Any:
    """The entries of some rows and columns of a matrix of balls; the matrix itself where those are all."""
    if list(rows) == list(range(matrix.nrows())) and list(columns) == list(range(matrix.ncols())):
        return matrix
    listed = matrix.tolist()
    return matrix_of([[listed[i][j] for j in columns] for i in rows], (len(rows), len(columns)))


def quarters(matrix: Any, cut: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The four blocks of a matrix of balls, cut after `cut` rows and columns."""
    height, width, rows = matrix.nrows(), matrix.ncols(), matrix.tolist()

    def block(some: list[list[Any]], columns: slice, shape: tuple[int, int]) -> Any:
        return matrix_of([row[columns] for row in some], shape)

    start, end = slice(cut), slice(cut, width)
    upper = block(rows[:cut], start, (cut, cut)), block(rows[:cut], end, (cut, width - cut))
    return upper, (block(rows[cut:], start, (height - cut, cut)), block(rows[cut:], end, (height - cut, width - cut)))


def softmax_row(logs: Sequence[float]) -> list[Any]:
    """exp(l_j) / Σ exp(l_j); a hidden key weighs exactly zero, and so does every key of a row that sees nothing."""
    import flint

    top, zero = max(logs, default=-math.inf), flint.arb(0)
    if top == -math.inf:
        return [zero] * len(logs)
    peak = flint.arb(top)
    weights = [(flint.arb(log) - peak).exp() if log > -math.inf else None for log in logs]
    share = 1 / sum((weight for weight in weights if weight is not None), zero)
    return [zero if weight is None else weight * share for weight in weights]


def normalised(definition: Products) -> Any:
    """left · rightᵀ over what is seen, each row divided by its sum."""
    import flint

    left, right = definition.factors.left, definition.factors.right
    product = exact_matrix(left) * exact_matrix(right).transpose()
    zero, shape = flint.arb(0), definition.seen.shape
    rows = []
    for weights, seen, uniform in zip(product.tolist(), definition.seen.tolist(), definition.uniform, strict=True):
        kept = [flint.arb(1)] * shape[1] if uniform else [w if s else zero for w, s in zip(weights, seen, strict=True)]
        total = sum(kept, zero)
        rows.append(kept if total == 0 else [zero if w == 0 else w / total for w in kept])
    return matrix_of(rows, shape)


def exact_matrix(array: Array) -> Any:
    """Floats as balls of radius zero."""
    import flint

    return flint.arb_mat(len(array), array.shape[1], array.ravel().tolist())


@dataclass(frozen=True)
class Logarithm:
    """A number that is not zero, as its sign and a ball around the logarithm of its magnitude."""

    sign: int
    log: Any


def log_diagonal(operator: Operator, indices: Sequence[int] | None = None) -> list[Logarithm] | None:
    """The diagonal (or these entries of it) in logarithms, without underflow.

    None where one of the entries is zero or not separated from it.
    """
    chosen = range(min(operator.shape)) if indices is None else indices
    if isinstance(operator, Dense) and isinstance(operator.definition, Weights):
        rows = operator.definition.logs
        if any(rows[index, index] == -math.inf for index in chosen):
            return None
        return [Logarithm(1, softmax_log(rows[index].tolist(), float(rows[index, index]))) for index in chosen]
    matrix = balls(operator)
    entries = [matrix[index, index] for index in chosen]
    if any(entry.contains(0) for entry in entries):
        return None
    return [Logarithm(1 if entry > 0 else -1, abs(entry).log()) for entry in entries]


def softmax_log(logs: Sequence[float], own: float) -> Any:
    """own − logsumexp(logs)."""
    import flint

    top = flint.arb(max(logs))
    total = sum(((flint.arb(log) - top).exp() for log in logs if log > -math.inf), flint.arb(0))
    return flint.arb(own) - top - total.log()


# ------------------------------------------------------------------------------------------------------------ integers


def rational(operator: Operator) -> bool:
    """Whether `integers` can say what the exact matrix is: of stored numbers, and of products of given features."""
    if not isinstance(operator, Dense | Factored) or not np.isrealobj(operator.matrix):
        return False
    match operator.definition:
        case Products():
            return not operator.definition.uniform.any()
        case definition:
            return definition is None


def integers(operator: Operator) -> Any:
    """The exact matrix as a `flint.fmpz_mat`, its rows and columns times numbers that are not zero: of the same rank.

    None where the matrix is not `rational`.
    """
    if not rational(operator):
        return None
    assert isinstance(operator, Dense | Factored)
    match operator.definition:
        case Products():
            return of_products(operator.definition)
        case _:
            return of_floats(operator.matrix)


def of_floats(array: Array) -> Any:
    """Floats as integers: each row is multiplied by the least power of two that makes it whole."""
    import flint

    mantissas, exponents = np.frexp(array)
    whole = np.ldexp(mantissas, 53).astype(np.int64)
    present = whole != 0
    trailing = np.where(present, np.frexp((whole & -whole).astype(np.float64))[1] - 1, 0)
    lowest = exponents + trailing
    least = lowest.min(axis=1, initial=np.iinfo(np.int32).max, where=present)[:, None]
    odd, shifts = whole >> trailing, np.where(present, lowest - least, 0)
    entries = [number << shift for number, shift in zip(odd.ravel().tolist(), shifts.ravel().tolist(), strict=True)]
    return flint.fmpz_mat(len(array), array.shape[1], entries)


def of_products(definition: Products) -> Any:
    """left · rightᵀ over what is seen, as integers; columns too are multiplied by powers of two."""
    import flint

    product = of_floats(definition.factors.left) * of_floats(definition.factors.right).transpose()
    if definition.seen.all():
        return product
    kept = [
        entry if seen else 0 for entry, seen in zip(product.entries(), definition.seen.ravel().tolist(), strict=True)
    ]
    return flint.fmpz_mat(len(definition.seen), definition.seen.shape[1], kept)
