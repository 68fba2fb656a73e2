"""Attention of linear recurrences: RetNet, gated linear attention, Mamba-2, the delta rule.

The state S_t = T_t S_{t−1} + r_t v_tᵀ is followed for all tokens at once: column j of P holds T_i ⋯ T_{j+1} r_j, so
that row i of the matrix is q_iᵀP. No logarithm of a gate is taken and nothing is divided, so that errors only add up;
each column carries a bound on its own.
"""

import math

import numpy as np
from numpy.typing import NDArray

from rankscope.arrays import EPS, TINIEST, UNIT, Float64, check_finite, rounded
from rankscope.attention.kernels import RecurrenceKernel
from rankscope.attention.operators import Dense, Diagonal, norm
from rankscope.attention.request import Request, stored_away, structure_of, turned
from rankscope.attention.structure import Fact
from rankscope.attention.subject import Recurrence


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
        values=request.values,
    )


def generated(request: Request, kernel: RecurrenceKernel, backward: bool) -> Recurrence:
    """The numbers that make the recurrence: queries and keys turned by the position, and what the kernel adds."""
    pair = turned(request, request.position.pieces[0])
    keys = pair.right
    made = kernel.generators(keys, request.place)
    right, gates, erase = (
        np.array(np.broadcast_to(np.asarray(each, dtype=np.float64), keys.shape), order="C") for each in made
    )
    left = request.scale / math.sqrt(keys.shape[1]) * pair.left
    for name, each in (("queries", left), ("writings", right), ("gates", gates), ("erased directions", erase)):
        check_finite(each, f"the {name} of {kernel.label}")
    return Recurrence(left, right, gates, erase, backward)


def unrolled(subject: Recurrence) -> tuple[Float64, Float64]:
    """The matrix, and a bound on the error of each entry in units of roundoff."""
    run = subject.forward
    left, right, gates, erase = run.left, run.right, run.gates, run.erase
    size, width = left.shape
    matrix, cost = np.zeros((size, size)), np.zeros((size, size))
    held, errors = np.zeros((width, size)), np.zeros(size)
    erasing, stretch = np.any(erase != 0, axis=1), stretches(right, erase)
    growth = np.abs(gates).max(axis=1, initial=0.0) * stretch
    lengths = [np.sqrt((each * each).sum(axis=1)) for each in (left, right, erase)]
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused once, by name
        for i in range(size):
            held[:, :i] *= gates[i][:, None]
            sizes = np.sqrt(np.einsum("cj,cj->j", held[:, :i], held[:, :i]))
            errors[:i] = growth[i] * errors[:i] + stretch[i] * (sizes + TINIEST / UNIT * width)
            if erasing[i]:
                held[:, :i] -= np.outer(right[i], erase[i] @ held[:, :i])
                errors[:i] += (width + 4) * (1 + lengths[1][i] * lengths[2][i]) * sizes
            held[:, i] = right[i]
            matrix[i, : i + 1] = left[i] @ held[:, : i + 1]
            magnitudes = np.abs(left[i]) @ np.abs(held[:, : i + 1])
            cost[i, : i + 1] = (width + 2) * (magnitudes + TINIEST / UNIT) + lengths[0][i] * errors[: i + 1]
    slack = 1 + 8 * (size + width) * EPS  # the bounds are themselves computed
    if subject.backward:
        matrix, cost = matrix[::-1, ::-1], cost[::-1, ::-1]
    return np.ascontiguousarray(matrix), np.ascontiguousarray(cost) * slack


def stretches(right: Float64, erase: Float64) -> Float64:
    """‖I − r_t w_tᵀ‖₂, by which erasing can stretch an error of the state.

    On the plane of r and w the map has determinant 1 − r·w and squared Frobenius norm 2 − 2 r·w + ‖r‖²‖w‖².
    """
    product = (right * erase).sum(axis=1)
    squares = 2 - 2 * product + (right * right).sum(axis=1) * (erase * erase).sum(axis=1)
    inner = np.maximum(squares * squares - 4 * (1 - product) ** 2, 0.0)
    largest = np.sqrt(np.maximum((squares + np.sqrt(inner)) / 2, 1.0))
    return np.asarray(largest * (1 + 64 * UNIT))


def diagonal_of(subject: Recurrence) -> Diagonal:
    """q_i·r_i in log space; a sum that may be lost to cancellation has no sign, one whose terms vanish is zero."""
    terms = subject.left * subject.right
    own, magnitudes = terms.sum(axis=1), np.abs(terms).sum(axis=1)
    present = ((subject.left != 0) & (subject.right != 0)).any(axis=1)
    bound = (terms.shape[1] + 2) * (UNIT * magnitudes + TINIEST)
    with np.errstate(divide="ignore", invalid="ignore"):
        log, relative = np.log(np.abs(own)), bound / np.abs(own)
    errors = np.where(relative < 0.5, 2 * relative + 8 * UNIT * np.abs(log), math.inf)
    lost = present & ~np.isfinite(errors)
    signs: NDArray[np.int64] = np.where(present, np.where(lost, 1, np.sign(own)), 0).astype(np.int64)
    return Diagonal(
        np.where(present & ~lost, log, -math.inf),
        signs,
        np.where(present, np.where(lost, math.inf, errors), 0.0),
        "log|q_i·r_i|",
    )
