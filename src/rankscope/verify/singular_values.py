"""How many singular values are larger than a tolerance, and how large the smallest is, proved or refuted."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from rankscope.arrays import Float64
from rankscope.attention import exact
from rankscope.certificates import Count, Rank, Smallest
from rankscope.verify.balls import BITS, finite, floats, sign
from rankscope.verify.matrix import Exact
from rankscope.verify.rank import check_rank
from rankscope.verify.verdict import Finding


def check_count(claim: Count, matrix: Exact) -> tuple[Finding, str]:
    """The verdict on how many singular values are larger than a tolerance, and why."""
    import flint

    if claim.low > claim.high:
        return "refuted", "the interval is empty"
    if claim.tolerance == 0:
        return check_rank(Rank(claim.low, claim.high), matrix)
    for bits in BITS:
        with exact.precision(bits):
            found = above(matrix.balls(), flint.arb(claim.tolerance))
        if found is not None:
            fits = claim.low <= found <= claim.high
            return ("verified" if fits else "refuted"), f"{found} singular values are larger, by inertia at {bits} bits"
    return "undecided", f"{BITS[-1]} bits do not tell a singular value from the tolerance"


def check_smallest(claim: Smallest, matrix: Exact) -> tuple[Finding, str]:
    """The verdict on bounds of the smallest singular value, and why."""
    if claim.low > claim.high:
        return "refuted", "the interval is empty"
    if matrix.order == 0:
        return "refuted", "an empty matrix has no singular values"
    rank, why = matrix.ceiling
    if rank < matrix.order:
        return "refuted", f"singular: the rank is at most {rank}: {why}"
    above_low, below_high = exceeds(matrix, claim.low), exceeds(matrix, claim.high)
    if above_low is False or below_high is True:
        bound, side = (claim.low, "below") if above_low is False else (claim.high, "above")
        return "refuted", f"σ_min is {side} 10^{bound:.17g}"
    if above_low is None or below_high is None:
        return "undecided", f"{BITS[-1]} bits do not tell σ_min from a bound"
    square = matrix.shape[0] == matrix.shape[1]
    return "verified", f"{'1/σ_min = ‖A⁻¹‖₂' if square else 'σ_min'} lies between the bounds, by inertia"


def exceeds(matrix: Exact, exponent: float) -> bool | None:
    """Whether σ_min > 10^exponent; None if no precision decides."""
    import flint

    for bits in BITS:
        with exact.precision(bits):
            held, bound = matrix.balls(), flint.arb(10) ** flint.arb(exponent)
            if matrix.shape[0] != matrix.shape[1]:
                found = above(held, bound)
                if found is not None:
                    return found == matrix.order
                continue
            inverse = inverted(held, matrix.blocks)
            found = None if inverse is None else above(inverse, 1 / bound)
            if found is not None:
                return found == 0
    return None


def inverted(matrix: Any, blocks: Sequence[Sequence[int]]) -> Any:
    """The inverse of a square matrix of balls, its rows and columns in the order of its blocks; None if not found."""
    order = [index for block in blocks for index in block]
    with suppress(ZeroDivisionError):
        return of_triangle(exact.part(matrix, order, order), [len(block) for block in blocks])
    return None


def of_triangle(matrix: Any, sizes: list[int]) -> Any:
    """The inverse of a block lower triangular matrix: [[P, 0], [R, S]]⁻¹ = [[P⁻¹, 0], [−S⁻¹RP⁻¹, S⁻¹]]."""
    size = sum(sizes)
    if size <= 8 or len(sizes) == 1:
        return matrix.inv()
    half = len(sizes) // 2
    cut = sum(sizes[:half])
    (head, _), (rest, tail) = exact.quarters(matrix, cut)
    first, last = of_triangle(head, sizes[:half]), of_triangle(tail, sizes[half:])
    below = (-(last * (rest * first))).tolist()
    rows = [row + [0] * (size - cut) for row in first.tolist()]
    return exact.matrix_of(rows + [a + b for a, b in zip(below, last.tolist(), strict=True)], (size, size))


def above(matrix: Any, bound: Any) -> int | None:
    """How many singular values of a matrix of balls exceed a positive bound; None if the precision does not tell."""
    tall = matrix if matrix.nrows() >= matrix.ncols() else matrix.transpose()
    if tall.ncols() == 0:
        return 0
    if not finite(tall):
        return None
    basis = exact.exact_matrix(vectors(floats(tall)))
    turned = tall * basis
    return positive(turned.transpose() * turned - basis.transpose() * basis * (bound * bound))


def positive(matrix: Any) -> int | None:
    """How many eigenvalues of a nonsingular symmetric matrix of balls are positive (Haynsworth); None if not shown."""
    if matrix.nrows() == 1:
        found = sign(matrix[0, 0])
        return int(found > 0) if found else None
    (head, right), (left, tail) = exact.quarters(matrix, matrix.nrows() // 2)
    first = positive(head)
    if first is None:
        return None
    try:
        rest = tail - left * head.solve(right)
    except ZeroDivisionError:
        return None
    second = positive(rest)
    return None if second is None else first + second


def vectors(matrix: Float64) -> Float64:
    """The right singular vectors of a tall matrix as LAPACK gives them, or the unit vectors where it does not."""
    try:
        return np.ascontiguousarray(np.linalg.svd(matrix, full_matrices=False)[2].T)
    except np.linalg.LinAlgError:
        return np.eye(matrix.shape[1])
