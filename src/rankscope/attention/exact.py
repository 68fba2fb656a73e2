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
from rankscope.attention.operators import Concatenation, Dense, Factored, Mean, Operator, Product
from rankscope.attention.subject import Products, Recurrence, Weights

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
        case Weights():
            return of_weights(operator.definition, operator.shape)
        case Products():
            return normalised(operator.definition)
        case Recurrence():
            return unrolled(operator.definition)
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


@balls.register
def _(operator: Concatenation) -> Any:
    parts = [balls(part).tolist() for part in operator.parts]
    return matrix_of([[entry for part in parts for entry in part[i]] for i in range(operator.shape[0])], operator.shape)


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


def of_weights(definition: Weights, shape: tuple[int, int]) -> Any:
    """exp(l_ij), divided by the sum of its row and of the sink where rows are divided."""
    sinks = [-math.inf] * shape[0] if definition.sink is None else definition.sink.tolist()
    rows = definition.logs.tolist()
    if not definition.divided:
        return matrix_of([exponentials(row) for row in rows], shape)
    return matrix_of([softmax_row(row, sink) for row, sink in zip(rows, sinks, strict=True)], shape)


def softmax_row(logs: Sequence[float], sink: float) -> list[Any]:
    """exp(l_j) / (exp(sink) + Σ exp(l_j)); a key of log weight −∞ weighs exactly zero, and so does all of its row."""
    import flint

    top = max([*logs, sink])
    if top == -math.inf:
        return [flint.arb(0)] * len(logs)
    weights = exponentials([*logs, sink], flint.arb(top))
    share = 1 / sum(weights, flint.arb(0))
    return [weight if log == -math.inf else weight * share for weight, log in zip(weights, logs, strict=False)]


def exponentials(logs: Sequence[float], peak: Any = 0) -> list[Any]:
    """exp(l_j − peak), exactly zero for −∞."""
    import flint

    zero = flint.arb(0)
    return [zero if log == -math.inf else (flint.arb(log) - peak).exp() for log in logs]


def unrolled(definition: Recurrence) -> Any:
    """l_iᵀ T_i ⋯ T_{j+1} r_j for j ≤ i, with column j of the state kept for every j."""
    import flint

    run = definition.forward
    size, width = run.left.shape
    left, right, gates, erase = (each.tolist() for each in (run.left, run.right, run.gates, run.erase))
    zero, rows = flint.arb(0), []
    state = flint.arb_mat(0, width)  # one row for each j
    for i in range(size):
        if any(gate != 1.0 for gate in gates[i]):
            state = gated(state, gates[i])
        if any(erase[i]) and i:
            state = state - state * column(erase[i]) * column(right[i]).transpose()
        state = flint.arb_mat(i + 1, width, [*state.entries(), *(flint.arb(x) for x in right[i])])
        row = (state * column(left[i])).entries()
        rows.append([*row, *[zero] * (size - 1 - i)])
    if definition.backward:
        rows = [row[::-1] for row in rows[::-1]]
    return matrix_of(rows, (size, size))


def gated(state: Any, gates: Sequence[float]) -> Any:
    """Each column of a matrix of balls times a number of its own; all at once where the numbers are one."""
    import flint

    if len(set(gates)) == 1:
        return state * flint.arb(gates[0])
    factors = [flint.arb(gate) for gate in gates]
    entries = [entry * factor for row in state.tolist() for entry, factor in zip(row, factors, strict=True)]
    return flint.arb_mat(state.nrows(), state.ncols(), entries)


def column(numbers: Sequence[float]) -> Any:
    """Numbers as a matrix of balls with one column."""
    import flint

    return flint.arb_mat(len(numbers), 1, list(numbers))


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
    match operator.definition if isinstance(operator, Dense) else None:
        case Weights() as weights:
            if any(weights.logs[index, index] == -math.inf for index in chosen):
                return None
            return [Logarithm(1, weight_log(weights, index)) for index in chosen]
        case Recurrence(left, right):
            entries = [exact_matrix(left[[i]]) * column(right[i].tolist()) for i in chosen]
            return logarithms([entry[0, 0] for entry in entries])
    matrix = balls(operator)
    return logarithms([matrix[index, index] for index in chosen])


def logarithms(entries: Sequence[Any]) -> list[Logarithm] | None:
    """Signs and logarithms of balls; None where one of them may be zero."""
    if any(entry.contains(0) for entry in entries):
        return None
    return [Logarithm(1 if entry > 0 else -1, abs(entry).log()) for entry in entries]


def weight_log(weights: Weights, index: int) -> Any:
    """ln a_ii: l_ii − ln(exp(sink) + Σ exp l_ij) where rows are divided."""
    import flint

    logs = [log for log in weights.logs[index].tolist() if log > -math.inf]
    own = flint.arb(float(weights.logs[index, index]))
    if not weights.divided:
        return own
    if weights.sink is not None and weights.sink[index] > -math.inf:
        logs.append(float(weights.sink[index]))
    top = flint.arb(max(logs))
    return own - top - sum(((flint.arb(log) - top).exp() for log in logs), flint.arb(0)).log()


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
