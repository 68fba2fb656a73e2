"""Every singular value enclosed, however small: double-precision vectors, ball arithmetic, and peeling.

Let U, V be the singular vectors of A as LAPACK gives them, B = UᵀAV in balls. With a ≥ ‖UᵀU − I‖, b ≥ ‖VᵀV − I‖ every
σ_i(A) lies within the factors √((1±a)(1±b)) of σ_i(B) (Ostrowski), and B is nearly diagonal. Its leading part B₁₁, of
values above `CUT`·σ₁, is enclosed by its diagonal and the norm of the rest (Weyl). The exact factorisation

    B = [[I, 0], [N, I]] · diag(B₁₁, S) · [[I, X], [0, I]],   X = B₁₁⁻¹B₁₂,  N = B₂₁B₁₁⁻¹,  S = B₂₂ − B₂₁X

then shows that the other values are those of the Schur complement S, within the factor (1 + ‖N‖)(1 + ‖X‖). S is small
and known to full relative accuracy, and is treated in the same way. Relative accuracy is lost nowhere, so that values
of 10^−140 are enclosed to ten digits from vectors in double precision.
"""

import math
from dataclasses import dataclass, replace
from functools import cmp_to_key
from typing import Any, Final

import numpy as np

from rankscope.analyzer.spectrum import singular_vectors
from rankscope.arrays import UNIT, Float64
from rankscope.attention.exact import exact_matrix, matrix_of, quarters

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

    Values below `floor` need not be told apart. At most `rank` values are not zero, which must be proved; the others
    are exactly zero. A value that the precision cannot separate from zero has the lower end 0: take more bits.
    """
    import flint

    zero = flint.arb(0)
    found = peeled(matrix, min(rank, matrix.nrows(), matrix.ncols()), flint.arb(floor))
    return [each if index < rank else Interval(zero, zero) for index, each in enumerate(found)]


@dataclass(frozen=True)
class Schur:
    """A matrix as its leading values, the factor that their coupling with the rest costs, and the Schur complement."""

    head: list[Interval]
    factor: Any
    rest: Any

    def joined(self, tail: list[Interval]) -> list[Interval]:
        """The intervals of the matrix, given those of the Schur complement."""
        inner = self.head + tail
        return in_order([Interval((x.low / self.factor).lower(), (x.high * self.factor).upper()) for x in inner])


@dataclass(frozen=True)
class Step:
    """One matrix on the way: what Weyl says of its values, and its Schur complement where that is not enough.

    `grown` and `shrunk` are the factors that the vectors cost, `radius` is what the midpoint may be off, and `scale`
    the power of two that was divided out.
    """

    found: list[Interval]
    grown: Any
    shrunk: Any
    radius: Any
    scale: Any
    schur: Schur | None = None

    def joined(self, tail: list[Interval]) -> list[Interval]:
        """The intervals of this matrix, given those of its Schur complement."""
        found = self.found
        if self.schur is not None:
            found = [sharper(*both) for both in zip(found, self.schur.joined(tail), strict=True)]
        return [
            Interval(
                positive((each.low * self.shrunk).lower() - self.radius) * self.scale,
                (each.high * self.grown + self.radius).upper() * self.scale,
            )
            for each in found
        ]


def peeled(matrix: Any, rank: int, floor: Any) -> list[Interval]:
    """The intervals of one matrix: its leading values, and those of the Schur complement, where Weyl is not enough."""
    steps: list[Step] = []
    while not steps or steps[-1].schur is not None:
        step = peel(matrix, rank, floor)
        steps.append(step)
        if step.schur is not None:
            matrix, rank, floor = step.schur.rest, rank - len(step.schur.head), floor / step.scale
    found: list[Interval] = []
    for step in reversed(steps):
        found = step.joined(found)
    return found


def peel(matrix: Any, rank: int, floor: Any) -> Step:
    """One step: turn the matrix by LAPACK's vectors, take its leading values, and leave the Schur complement."""
    import flint

    count, one = min(matrix.nrows(), matrix.ncols()), flint.arb(1)
    held, radius = matrix.mid(), frobenius(radii(matrix))
    size = frobenius(held)
    unresolved = Step([Interval(flint.arb(0), (size + radius).upper())] * count, one, one, flint.arb(0), one)
    if rank == 0 or count == 0 or size + radius < floor or not radius < size * CUT:
        return unresolved
    scale = flint.arb((1, magnitude(size)))  # exact, however large the exponent
    held, radius, floor = held / scale, (radius / scale).upper(), floor / scale
    near = floats(held)
    if not np.isfinite(near).all():
        return unresolved
    left, values, right = singular_vectors(near)
    a, b = defect(left), defect(right)
    if not max(a, b) < 0.5:
        return unresolved
    turned = exact_matrix(left).transpose() * held * exact_matrix(right)
    grown, shrunk = one / ((one - a) * (one - b)).sqrt(), one / ((one + a) * (one + b)).sqrt()
    plain = Step(near_diagonal(turned), grown, shrunk, radius, scale)
    cut = leading(values, rank)
    if cut == count or plain.found[cut].high < floor:
        return plain
    return replace(plain, schur=by_schur_complement(turned, cut))


def by_schur_complement(matrix: Any, cut: int) -> Schur | None:
    """The leading block and the rest; None where the block may be singular at this precision."""
    (leader, above), (below, last) = quarters(matrix, cut)
    head = near_diagonal(leader)
    least = head[-1].low
    try:
        if not least > 0:
            return None
        solved = leader.solve(above)
    except ZeroDivisionError:
        return None
    return Schur(head, (1 + frobenius(solved)) * (1 + frobenius(below) / least), last - below * solved)


def near_diagonal(matrix: Any) -> list[Interval]:
    """The values of a matrix that is nearly diagonal: |b_ii| within the norm of everything else (Weyl)."""
    diagonal, rest = diagonal_and_rest(matrix)
    return in_order([within(value, rest) for value in diagonal])


def in_order(found: list[Interval]) -> list[Interval]:
    """Intervals of the largest value, the second, …, from intervals of values in any order."""

    def descending(a: Any, b: Any) -> int:
        return -1 if a > b else int(a < b)

    lows = sorted((each.low for each in found), key=cmp_to_key(descending))
    highs = sorted((each.high for each in found), key=cmp_to_key(descending))
    return [Interval(low, high) for low, high in zip(lows, highs, strict=True)]


def sharper(first: Interval, second: Interval) -> Interval:
    """The intersection of two intervals of one value."""
    return Interval(
        first.low if first.low > second.low else second.low, first.high if first.high < second.high else second.high
    )


def within(value: Any, spread: Any) -> Interval:
    """The interval of a singular value that perturbation moves by at most `spread`."""
    return Interval(positive(value.lower() - spread), (value.upper() + spread).upper())


def leading(values: Float64, rank: int) -> int:
    """How many values are taken in one step: those above `CUT` times the largest, and no more than the rank."""
    return max(1, min(rank, int(np.count_nonzero(values > CUT * values[0]))))


def diagonal_and_rest(matrix: Any) -> tuple[list[Any], Any]:
    """|b_ii|, and a bound on the norm of everything off the diagonal."""
    import flint

    rows = matrix.tolist()
    rest = sum((x * x for i, row in enumerate(rows) for j, x in enumerate(row) if i != j), flint.arb(0))
    return [abs(row[i]) for i, row in enumerate(rows[: matrix.ncols()])], root(rest)


def defect(matrix: Float64) -> float:
    """A bound on ‖MᵀM − I‖_F for floats; infinite unless columns are near unit length.

    M is split into M₁, multiples of 2^−b, and M₂ with entries of at most 2^−b. b is so small that every sum in M₁ᵀM₁
    is a float64; only the products with M₂ are rounded, by at most (n + 2)·u each relative to their terms.
    """
    size = len(matrix)
    if not np.abs(matrix).max(initial=0.0) <= 1.5:
        return math.inf
    bits = (51 - size.bit_length()) // 2
    coarse = np.ldexp(np.rint(np.ldexp(matrix, bits)), -bits)
    fine = matrix - coarse
    gram = coarse.T @ coarse
    gram[np.diag_indices(matrix.shape[1])] -= 1.0
    gram += coarse.T @ fine + fine.T @ matrix
    lost = 4 * (size + 4) * UNIT * 2.0**-bits * float(np.abs(matrix).sum(axis=0).max(initial=0.0))
    return float(np.linalg.norm(gram) * (1 + 2 * size**2 * UNIT) + lost * matrix.shape[1]) * (1 + 8 * UNIT)


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


def magnitude(size: Any) -> int:
    """The exponent e with 2^e ≤ size < 2^(e+1), of a positive number that is exact."""
    mantissa, exponent = size.man_exp()
    return int(mantissa).bit_length() + int(exponent) - 1


def inverse(matrix: Any, side: str) -> Any:
    """The inverse in balls; by halves, without elimination, of a triangular matrix. None where precision is too low."""
    try:
        match side:
            case "upper":
                return triangle_inverse(matrix.transpose()).transpose()
            case "lower" | "diagonal":
                return triangle_inverse(matrix)
        return matrix.inv()
    except ZeroDivisionError:
        return None


def triangle_inverse(lower: Any) -> Any:
    """[[L, 0], [M, N]]⁻¹ = [[L⁻¹, 0], [−N⁻¹ML⁻¹, N⁻¹]]."""
    size = lower.nrows()
    if size <= 16:
        return lower.inv()
    (first, _), (coupling, second) = quarters(lower, size // 2)
    above, below = triangle_inverse(first), triangle_inverse(second)
    return joined(above, -(below * coupling * above), below)


def joined(first: Any, coupling: Any, second: Any) -> Any:
    """[[first, 0], [coupling, second]]."""
    size, zeros = first.nrows() + second.nrows(), [0] * second.nrows()
    rows = [[*row, *zeros] for row in first.tolist()]
    rows += [[*row, *last] for row, last in zip(coupling.tolist(), second.tolist(), strict=True)]
    return matrix_of(rows, (size, size))


def floats(matrix: Any) -> Float64:
    """The entries as the nearest float64."""
    return np.array([float(x) for x in matrix.entries()]).reshape(matrix.nrows(), matrix.ncols())
