"""Attention of linear recurrences: RetNet, gated linear attention, Mamba-2, the delta rule.

The state S_t = T_t S_{t−1} + r_t v_tᵀ is followed for all tokens at once: column j of P holds T_i ⋯ T_{j+1} r_j, so
that row i of the matrix is q_iᵀP. No logarithm of a gate is taken and nothing is divided, so that errors only add up;
each column carries a bound on its own.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rankscope.arrays import EPS, TINIEST, UNIT, Float64, check_finite, rounded
from rankscope.attention.kernels import RecurrenceKernel
from rankscope.attention.operators import Dense, Diagonal, norm
from rankscope.attention.request import Request, stored_away, structure_of, turned
from rankscope.attention.structure import Fact
from rankscope.attention.subject import Recurrence
from rankscope.errors import error


def from_recurrence(request: Request, kernel: RecurrenceKernel) -> Dense:
    """The attention of a recurrence over a triangle, forward or backward."""
    seen, storage = request.seen, request.storage
    size = len(seen)
    backward = size > 1 and bool(seen[0, -1])
    subject = generated(request, kernel, backward)
    matrix, cost = unrolled(subject)
    check_finite(matrix, f"the weights of {kernel.label}")
    support = np.count_nonzero(seen, axis=1)
    diagonal = diagonal_of(subject)
    width = subject.left.shape[1]
    because = f"the state of {kernel.label} has {width} rows"
    row_sum: Fact[float | None] = Fact(None, f"{kernel.label} does not divide rows by their sums")
    structure = structure_of(
        request, seen, diagonal, np.zeros(size, dtype=bool), "error", [], row_sum, (width, because)
    )
    return Dense(
        rounded(matrix, storage),
        structure,
        "factors",
        diagonal,
        support,
        storage,
        UNIT * norm(cost) + stored_away(matrix, storage),
        math.inf,
        origin=request.origin,
        definition=subject,
    )


def generated(request: Request, kernel: RecurrenceKernel, backward: bool) -> Recurrence:
    """The numbers that make the recurrence: queries and keys turned by the position, and what the kernel adds."""
    pair = turned(request, request.position.pieces[0])
    keys = pair.right
    with np.errstate(over="ignore", invalid="ignore"):
        made = kernel.generators(keys, request.place)
    for each in made:
        if np.ndim(each) == 1:
            given = f"the kernel {kernel.label} makes numbers of shape {np.shape(each)}"
            raise error("RS005", given, "give one for each token as a column, (n, 1), or (n, d)")
    right, gates, erase = (
        np.array(np.broadcast_to(np.asarray(each, dtype=np.float64), keys.shape), order="C") for each in made
    )
    with np.errstate(over="ignore"):
        left = request.scale / math.sqrt(keys.shape[1]) * pair.left
    for name, each in (("queries", left), ("writings", right), ("gates", gates), ("erased directions", erase)):
        check_finite(each, f"the {name} of {kernel.label}")
    return Recurrence(left, right, gates, erase, backward)


@dataclass(frozen=True, eq=False)
class Balanced:
    """A recurrence in its running order with rows of l and r divided by powers of two, and w multiplied: entry ij of
    the matrix is then 2^(rows_i + columns_j) times smaller, and nothing on the way leaves the range of float64.
    """

    run: Recurrence
    rows: NDArray[np.int_]
    columns: NDArray[np.int_]

    def restored(self, matrix: Float64) -> Float64:
        """A matrix of entries in their true size."""
        with np.errstate(over="ignore"):
            return np.asarray(np.ldexp(matrix, self.rows[:, None] + self.columns[None, :]))


def balanced(subject: Recurrence) -> Balanced:
    """The recurrence with rows of moderate size."""
    run = subject.forward
    rows, columns = (sizes_of(each) for each in (run.left, run.right))
    with np.errstate(over="ignore"):
        erase = np.ldexp(run.erase, columns[:, None])
    held = Recurrence(np.ldexp(run.left, -rows[:, None]), np.ldexp(run.right, -columns[:, None]), run.gates, erase)
    return Balanced(held, rows, columns)


def unrolled(subject: Recurrence) -> tuple[Float64, Float64]:
    """The matrix, and a bound on the error of each entry in units of roundoff."""
    small = balanced(subject)
    run = small.run
    left, right, gates, erase = run.left, run.right, run.gates, run.erase
    size, width = left.shape
    matrix, cost = np.zeros((size, size)), np.zeros((size, size))
    held, errors = np.zeros((width, size)), np.zeros(size)
    vanished = 8 * width * TINIEST / UNIT  # what entries lose that underflow beside larger ones of their row
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused once, by name
        erasing, stretch = np.any(erase != 0, axis=1), stretches(right, erase)
        growth = np.abs(gates).max(axis=1, initial=0.0) * stretch
        lengths = [lengths_of(each) for each in (left, right, erase)]
        for i in range(size):
            held[:, :i] *= gates[i][:, None]
            sizes = lengths_of(held[:, :i].T)
            errors[:i] = growth[i] * errors[:i] + stretch[i] * (sizes + vanished)
            if erasing[i]:
                held[:, :i] -= np.outer(right[i], erase[i] @ held[:, :i])
                written = 1 + lengths[1][i] * lengths[2][i]
                errors[:i] += (width + 4) * written * sizes + vanished * (1 + lengths[1][i]) * (1 + sizes)
            held[:, i], errors[i] = right[i], vanished
            matrix[i, : i + 1] = left[i] @ held[:, : i + 1]
            magnitudes = np.abs(left[i]) @ np.abs(held[:, : i + 1])
            lost = vanished * (1 + lengths_of(held[:, : i + 1].T))
            cost[i, : i + 1] = (width + 2) * magnitudes + lost + lengths[0][i] * errors[: i + 1]
        cost *= 1 + 8 * (size + width) * EPS  # the bounds are themselves computed
        cost = small.restored(np.where(np.isnan(cost), math.inf, cost))
        cost[np.tril_indices(size)] += TINIEST / UNIT
    matrix = small.restored(matrix)
    if subject.backward:
        matrix, cost = matrix[::-1, ::-1], cost[::-1, ::-1]
    return np.ascontiguousarray(matrix), np.ascontiguousarray(cost)


def lengths_of(rows: Float64) -> Float64:
    """The Euclidean length of each row, from above where squares underflow."""
    exponents = sizes_of(rows)
    held = np.ldexp(rows, -exponents[:, None])
    return np.asarray(np.ldexp(np.sqrt((held * held).sum(axis=1)), exponents))


def sizes_of(rows: Float64) -> NDArray[np.int_]:
    """For each row the exponent e with its largest entry in [2^e, 2^(e+1))."""
    return np.asarray(np.frexp(np.abs(rows).max(axis=1, initial=0.0))[1].astype(int) - 1)


def stretches(right: Float64, erase: Float64) -> Float64:
    """‖I − r_t w_tᵀ‖₂, by which erasing can stretch an error of the state.

    On the plane of r and w the map has determinant 1 − r·w and squared Frobenius norm 2 − 2 r·w + ‖r‖²‖w‖².
    """
    product = (right * erase).sum(axis=1)
    squares = 2 - 2 * product + (lengths_of(right) * lengths_of(erase)) ** 2
    inner = np.maximum(squares * squares - 4 * (1 - product) ** 2, 0.0)
    largest = np.sqrt(np.maximum((squares + np.sqrt(inner)) / 2, 1.0))
    return np.asarray(largest * (1 + 64 * UNIT))


def diagonal_of(subject: Recurrence) -> Diagonal:
    """q_i·r_i in log space; a sum that may be lost to cancellation has no sign, one whose terms vanish is zero."""
    small = balanced(replace(subject, backward=False))
    terms = small.run.left * small.run.right
    own, magnitudes = terms.sum(axis=1), np.abs(terms).sum(axis=1)
    present = ((subject.left != 0) & (subject.right != 0)).any(axis=1)
    bound = (terms.shape[1] + 2) * (UNIT * magnitudes + 8 * TINIEST)
    shift = (small.rows + small.columns) * math.log(2)
    with np.errstate(divide="ignore", invalid="ignore"):
        log, relative = np.log(np.abs(own)), bound / np.abs(own)
    errors = np.where(relative < 0.5, 2 * relative + 8 * UNIT * (np.abs(log) + np.abs(shift)), math.inf)
    lost = present & ~np.isfinite(errors)
    signs: NDArray[np.int64] = np.where(present, np.where(lost, 1, np.sign(own)), 0).astype(np.int64)
    return Diagonal(
        np.where(present & ~lost, log + shift, -math.inf),
        signs,
        np.where(present, np.where(lost, math.inf, errors), 0.0),
        "log|q_i·r_i|",
    )
