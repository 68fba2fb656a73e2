"""Arrays times a power of two, for numbers that float64 cannot hold: residuals of 10^−100 000 keep every digit."""

import math
from dataclasses import dataclass
from typing import Final, Union

import numpy as np

from rankscope.arrays import Array, Float64, check_finite, power_of_two, scaled

LOG10_2: Final = math.log10(2)

FARTHEST: Final = 2200
"""A shift by more bits than this makes zero or infinity of every float64."""

MOST: Final = 2.0**60
"""What a ratio of sizes is at most."""


@dataclass(frozen=True)
class Size:
    """A number that is not negative, of any magnitude: mantissa · 2^exponent."""

    mantissa: float = 0.0
    exponent: int = 0

    @staticmethod
    def of(value: float, exponent: int = 0) -> "Size":
        """value · 2^exponent."""
        mantissa, shift = math.frexp(min(value, 1e308))
        return Size(mantissa, exponent + shift) if mantissa else Size()

    def __mul__(self, other: Union[float, "Size"]) -> "Size":
        factor = other if isinstance(other, Size) else Size.of(other)
        return Size.of(self.mantissa * factor.mantissa, self.exponent + factor.exponent)

    def __add__(self, other: "Size") -> "Size":
        """√(a² + b²): the size of a sum of errors that are independent."""
        if not (self.mantissa and other.mantissa):
            return self if self.mantissa else other
        unit = max(self.exponent, other.exponent)
        parts = (math.ldexp(each.mantissa, max(each.exponent - unit, -FARTHEST)) for each in (self, other))
        return Size.of(math.hypot(*parts), unit)

    def along(self, other: "Size") -> "Size":
        """a + b: the size of a sum of errors that are not independent."""
        unit = max((each.exponent for each in (self, other) if each.mantissa), default=0)
        parts = (math.ldexp(each.mantissa, max(each.exponent - unit, -FARTHEST)) for each in (self, other))
        return Size.of(sum(parts), unit)

    @property
    def log10(self) -> float:
        """The decimal logarithm; −∞ of zero."""
        return (math.log2(self.mantissa) + self.exponent) * LOG10_2 if self.mantissa else -math.inf

    def over(self, other: "Size") -> float:
        """The quotient; 0 for zero over anything, and never beyond 2^60."""
        if not self.mantissa:
            return 0.0
        shift = self.exponent - other.exponent
        if not other.mantissa or shift > 62:
            return MOST
        return min(math.ldexp(self.mantissa / other.mantissa, max(shift, -FARTHEST)), MOST)

    def beside(self, other: "Size") -> "Size":
        """The larger of two."""
        return self if self.over(other) > 1 else other


NOTHING: Final = Size()
"""Zero."""


@dataclass(frozen=True, eq=False, repr=False)
class Scaled:
    """values · 2^exponent; the largest magnitude among the values lies in [1, 2), or all are zero.

    >>> tiny = Scaled.of(np.array([3.0, 4.0]), -10_000)
    >>> round(tiny.log10_norm, 6)
    -3009.600987
    """

    values: Float64
    exponent: int

    @staticmethod
    def of(values: Array, exponent: int = 0) -> "Scaled":
        """These values times 2^exponent, brought into range."""
        check_finite(values, "the tokens of a layer")
        if not values.any():
            return Scaled(np.zeros(values.shape), 0)
        shift = power_of_two(values)
        return Scaled(np.asarray(scaled(values, -shift), dtype=np.float64), exponent + shift)

    @property
    def size(self) -> Size:
        """The Frobenius norm of the array."""
        return Size.of(self.norm, self.exponent)

    @property
    def norm(self) -> float:
        """The Frobenius norm of the values: that of the array is this times 2^exponent."""
        return float(np.linalg.norm(self.values))

    @property
    def log2_norm(self) -> float:
        """The binary logarithm of the Frobenius norm; −∞ of zero."""
        return self.exponent + math.log2(self.norm) if self.norm else -math.inf

    @property
    def log10_norm(self) -> float:
        """The decimal logarithm of the Frobenius norm; −∞ of zero."""
        return self.log2_norm * LOG10_2

    @property
    def floats(self) -> Float64:
        """The array in float64; what is too small for that becomes zero, what is too large is refused."""
        found = self.in_units(0)
        check_finite(found, "numbers of a layer that overflow float64 (large scales, gains or tokens)")
        return found

    def in_units(self, exponent: int) -> Float64:
        """The array divided by 2^exponent, in float64; too small becomes zero, too large infinity."""
        shift = self.exponent - exponent
        if not shift:
            return self.values
        with np.errstate(over="ignore"):
            return np.asarray(np.ldexp(self.values, max(-FARTHEST, min(FARTHEST, shift))), dtype=np.float64)

    def __add__(self, other: "Scaled") -> "Scaled":
        if not self.values.any():
            return Scaled.of(other.values + self.values, other.exponent)
        if not other.values.any():
            return Scaled.of(self.values + other.values, self.exponent)
        unit = max(self.exponent, other.exponent)
        return Scaled.of(self.in_units(unit) + other.in_units(unit), unit)

    def __sub__(self, other: "Scaled") -> "Scaled":
        return self + Scaled(-other.values, other.exponent)

    def __mul__(self, factor: Union[float, Float64, "Scaled"]) -> "Scaled":
        if isinstance(factor, Scaled):
            return Scaled.of(self.values * factor.values, self.exponent + factor.exponent)
        other = Scaled.of(np.asarray(factor, dtype=np.float64))
        return Scaled.of(self.values * other.values, self.exponent + other.exponent)

    def __matmul__(self, other: Union[Float64, "Scaled"]) -> "Scaled":
        right = other if isinstance(other, Scaled) else Scaled.of(other)
        return Scaled.of(self.values @ right.values, self.exponent + right.exponent)

    @property
    def T(self) -> "Scaled":
        """The transpose."""
        return Scaled(self.values.T, self.exponent)

    def mean(self, axis: int) -> "Scaled":
        """The mean along an axis, which stays with length one."""
        return Scaled.of(self.values.mean(axis=axis, keepdims=True), self.exponent)
