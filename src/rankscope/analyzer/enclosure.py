"""Every singular value enclosed, however small: double-precision vectors, ball arithmetic, and peeling.

Let U, V be the singular vectors of A as LAPACK gives them, B = UᵀAV in balls. With a ≥ ‖UᵀU − I‖, b ≥ ‖VᵀV − I‖ every
σ_i(A) lies within the factors √((1±a)(1±b)) of σ_i(B) (Ostrowski), and B is nearly diagonal. Its leading part B₁₁, of
values above `CUT`·σ₁, is enclosed by its diagonal and the norm of the rest (Weyl). The exact factorisation

    B = [[I, 0], [N, I]] · diag(B₁₁, S) · [[I, X], [0, I]],   X = B₁₁⁻¹B₁₂,  N = B₂₁B₁₁⁻¹,  S = B₂₂ − B₂₁X

then shows that the other values are those of the Schur complement S, within the factor (1 + ‖N‖)(1 + ‖X‖). S is small
and known to full relative accuracy, and is treated in the same way. Relative accuracy is lost nowhere, so that values
of 10^−140 are enclosed to ten digits from vectors in double precision.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rankscope.analyzer.spectrum import singular_vectors
from rankscope.arrays import Float64
from rankscope.attention.exact import exact_matrix

CUT: Final = 1e-3
"""How far below the largest singular value one step reaches: vectors in double precision serve down to eps/CUT."""

MARGIN: Final = 64
"""Bits of precision beyond those that the smallest value to be resolved needs."""


@dataclass(frozen=True)
class Interval:
    """A number between two balls of radius zero; `low` is not negative."""

    low: Any
    high: Any


def enclose(matrix: Any, rank: int, floor: Any = 0) -> list[Interval]:
    """Intervals for the min(m, n) singular values of a matrix of balls, in descending order.

    Values below `floor` need not be told apart: they are all enclosed in one interval from zero. At most `rank` values
    are not zero, which must be proved; the others are exactly zero. A value that the precision cannot separate from
    zero has the lower end 0: take more bits.
    """
    import flint

    count, zero = min(matrix.nrows(), matrix.ncols()), flint.arb(0)
    found = peeled(matrix, min(rank, count), flint.arb(floor))
    lows = sorted((each.low for each in found), reverse=True)[:rank]
    highs = sorted((each.high for each in found), reverse=True)[:rank]
    kept = [Interval(low, high) for low, high in zip(lows, highs, strict=True)]
    return kept + [Interval(zero, zero)] * (count - len(kept))


def peeled(matrix: Any, rank: int, floor: Any) -> list[Interval]:
    """The intervals of one matrix, not sorted: its leading values, then those of the Schur complement."""
    import flint

    count, zero = min(matrix.nrows(), matrix.ncols()), flint.arb(0)
    if rank == 0 or count == 0:
        return [Interval(zero, zero)] * count
    held, radius = matrix.mid(), frobenius(radii(matrix))
    size = frobenius(held)
    if size + radius < floor or not radius < size * CUT:
        return [Interval(zero, (size + radius).upper())] * count
    exponent = magnitude(held)
    scale = flint.arb(2) ** exponent
    left, values, right = singular_vectors(floats(held / scale))
    first, second = exact_matrix(left), exact_matrix(right)
    turned = first.transpose() * held * second
    cut = leading(values, rank)
    blocks = split(turned, cut)
    head, spread = diagonal_and_rest(blocks[0][0])
    least = (min(head, key=float) - spread).lower()
    if not least > 0:
        return [Interval(zero, (size + radius).upper())] * count
    inner = [Interval(positive(value.lower() - spread), (value.upper() + spread).upper()) for value in head]
    factor = flint.arb(1)
    if cut < count:
        try:
            solved = blocks[0][0].solve(blocks[0][1])
        except ZeroDivisionError:
            return [Interval(zero, (size + radius).upper())] * count
        inner += peeled(blocks[1][1] - blocks[1][0] * solved, rank - cut, floor)
        factor = (1 + frobenius(solved)) * (1 + frobenius(blocks[1][0]) / least)
    elif max(turned.nrows(), turned.ncols()) > cut:
        rest = frobenius(blocks[0][1]) + frobenius(blocks[1][0])
        inner = [Interval(positive(each.low - rest), (each.high + rest).upper()) for each in inner]
    a, b = defect(first), defect(second)
    grown, shrunk = factor / ((1 - a) * (1 - b)).sqrt(), 1 / (factor * ((1 + a) * (1 + b)).sqrt())
    return [
        Interval(positive((each.low * shrunk).lower() - radius), (each.high * grown + radius).upper()) for each in inner
    ]


def leading(values: Float64, rank: int) -> int:
    """How many values are taken in one step: those above `CUT` times the largest, and no more than the rank."""
    return max(1, min(rank, int(np.count_nonzero(values > CUT * values[0]))))


def split(matrix: Any, cut: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The four blocks of a matrix, cut after `cut` rows and columns."""
    import flint

    rows = matrix.tolist()

    def block(top: int, bottom: int, start: int, end: int) -> Any:
        return flint.arb_mat(bottom - top, end - start, [x for row in rows[top:bottom] for x in row[start:end]])

    height, width = matrix.nrows(), matrix.ncols()
    upper = block(0, cut, 0, cut), block(0, cut, cut, width)
    return upper, (block(cut, height, 0, cut), block(cut, height, cut, width))


def diagonal_and_rest(matrix: Any) -> tuple[list[Any], Any]:
    """|b_ii|, and a bound on the norm of everything off the diagonal."""
    import flint

    rows = matrix.tolist()
    rest = sum((x * x for i, row in enumerate(rows) for j, x in enumerate(row) if i != j), flint.arb(0))
    return [abs(row[i]) for i, row in enumerate(rows)], root(rest)


def defect(matrix: Any) -> Any:
    """A bound on ‖MᵀM − I‖."""
    import flint

    gram = matrix.transpose() * matrix
    size = gram.nrows()
    identity = flint.arb_mat(size, size, [int(i == j) for i in range(size) for j in range(size)])
    return frobenius(gram - identity)


def frobenius(matrix: Any) -> Any:
    """An upper bound of the Frobenius norm, as a ball of radius zero."""
    import flint

    return root(sum((x * x for x in matrix.entries()), flint.arb(0)))


def root(square: Any) -> Any:
    """An upper bound of the square root of a number that is not negative."""
    import flint

    return flint.arb(square.abs_upper()).sqrt().upper()


def radii(matrix: Any) -> Any:
    """The radii of the entries."""
    import flint

    return flint.arb_mat(matrix.nrows(), matrix.ncols(), [x.rad() for x in matrix.entries()])


def positive(ball: Any) -> Any:
    """The lower end of a ball, or zero if that is negative."""
    import flint

    low = ball.lower()
    return low if low > 0 else flint.arb(0)


def magnitude(matrix: Any) -> int:
    """The exponent e with max|entry| in about [2^e, 2^(e+1)); the matrix is exact and not zero."""
    exponents = []
    for entry in matrix.entries():
        if not entry.is_zero():
            mantissa, exponent = entry.man_exp()
            exponents.append(int(mantissa).bit_length() + int(exponent) - 1)
    return max(exponents)


def floats(matrix: Any) -> Float64:
    """The entries as the nearest float64."""
    return np.array([float(x) for x in matrix.entries()]).reshape(matrix.nrows(), matrix.ncols())
