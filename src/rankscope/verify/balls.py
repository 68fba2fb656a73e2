"""Balls and matrices of them: signs and midpoints."""

from typing import Any, Final

import numpy as np

from rankscope.arrays import Float64

BITS: Final = tuple(2**k for k in range(6, 14))
"""The precisions that are tried in turn, 64 to 8192."""


def sign(ball: Any) -> int:
    """The sign of a ball that does not contain zero; 0 for one that may."""
    return int(ball > 0) - int(ball < 0)


def finite(matrix: Any) -> bool:
    """Whether every ball has ends."""
    return all(entry.is_finite() for entry in matrix.entries())


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
