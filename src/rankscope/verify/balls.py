"""Balls and matrices of them: signs, parts, midpoints."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from rankscope.arrays import Float64
from rankscope.attention import exact

BITS: Final = tuple(2**k for k in range(6, 14))
"""The precisions that are tried in turn, 64 to 8192."""


def sign(ball: Any) -> int:
    """The sign of a ball that does not contain zero; 0 for one that may."""
    return int(ball > 0) - int(ball < 0)


def finite(matrix: Any) -> bool:
    """Whether every ball has ends."""
    return all(entry.is_finite() for entry in matrix.entries())


def taken(matrix: Any, rows: Sequence[int], columns: Sequence[int]) -> Any:
    """A submatrix of balls."""
    if list(rows) == list(range(matrix.nrows())) and list(columns) == list(range(matrix.ncols())):
        return matrix
    return exact.matrix_of([[matrix[i, j] for j in columns] for i in rows], (len(rows), len(columns)))


def quarters(matrix: Any, cut: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The four blocks of a square matrix, cut after `cut` rows and columns."""
    size, rows = matrix.nrows(), matrix.tolist()

    def block(some: list[list[Any]], part: slice, shape: tuple[int, int]) -> Any:
        return exact.matrix_of([row[part] for row in some], shape)

    start, end, rest = slice(cut), slice(cut, size), size - cut
    upper = block(rows[:cut], start, (cut, cut)), block(rows[:cut], end, (cut, rest))
    return upper, (block(rows[cut:], start, (rest, cut)), block(rows[cut:], end, (rest, rest)))


def floats(matrix: Any) -> Float64:
    """The midpoints of finite balls over the largest of them, as float64: a hint, and nothing more."""
    import flint

    middle = matrix.mid()
    exponents = [int(x.man_exp()[0]).bit_length() + int(x.man_exp()[1]) for x in middle.entries() if not x.is_zero()]
    scaled = middle * (flint.arb(2) ** -max(exponents, default=0))
    held: Float64 = np.array([float(x) for x in scaled.entries()]).reshape(matrix.nrows(), matrix.ncols())
    return np.nan_to_num(held, copy=False)


def shown(ball: Any) -> str:
    """A ball in twelve digits."""
    return str(ball.str(12, radius=False)).replace("-", "−")
