"""Arrays times powers of two, against exact rationals."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankscope.attention.scaled import Scaled
from rankscope.errors import NonFiniteError

ENTRIES = st.lists(st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6), min_size=4, max_size=4)
EXPONENTS = st.integers(-100_000, 100_000)


def exact(array: Scaled) -> list[Fraction]:
    return [Fraction(float(x)) * Fraction(2) ** array.exponent for x in array.values.ravel()]


@given(ENTRIES, EXPONENTS)
def test_values_are_kept_exactly_and_brought_into_range(entries: list[float], exponent: int) -> None:
    found = Scaled.of(np.array(entries), exponent)
    assert exact(found) == [Fraction(x) * Fraction(2) ** exponent for x in entries]
    assert not any(entries) or 1 <= np.abs(found.values).max() < 2


@given(ENTRIES, ENTRIES, EXPONENTS, st.integers(-80, 80))
def test_a_sum_is_right_to_rounding_of_its_larger_term(a: list[float], b: list[float], exponent: int, by: int) -> None:
    one, other = Scaled.of(np.array(a), exponent), Scaled.of(np.array(b), exponent + by)
    for total, found, parts in ((1, one + other, "+"), (-1, one - other, "-")):
        largest = max(map(abs, [*exact(one), *exact(other)]))
        for x, y, z in zip(exact(one), exact(other), exact(found), strict=True):
            assert abs(x + total * y - z) <= Fraction(1, 2**52) * largest, parts


@given(ENTRIES, ENTRIES, EXPONENTS, EXPONENTS)
def test_products_multiply_values_and_add_exponents(a: list[float], b: list[float], e: int, f: int) -> None:
    one, other = Scaled.of(np.array(a), e), Scaled.of(np.array(b), f)
    for x, y, z in zip(exact(one), exact(other), exact(one * other), strict=True):
        assert abs(x * y - z) <= Fraction(1, 2**52) * max(
            abs(x * y), Fraction(2) ** (one.exponent + other.exponent - 900)
        )
    inner = exact(Scaled.of(one.values[None, :], one.exponent) @ Scaled.of(other.values[:, None], other.exponent))
    true = sum(x * y for x, y in zip(exact(one), exact(other), strict=True))
    size = sum(abs(x * y) for x, y in zip(exact(one), exact(other), strict=True))
    assert abs(inner[0] - true) <= Fraction(8, 2**53) * size


def test_norms_have_logarithms_beyond_float64() -> None:
    tiny = Scaled.of(np.array([3.0, 4.0]), -10_000)
    assert tiny.log2_norm == pytest.approx(math.log2(5) - 10_000, rel=1e-15)
    assert tiny.log10_norm == pytest.approx(math.log10(5) - 10_000 * math.log10(2), rel=1e-15)
    assert Scaled.of(np.zeros(3)).log2_norm == -math.inf


def test_float64_holds_what_it_can() -> None:
    assert Scaled.of(np.array([1.0]), -5000).floats.tolist() == [0.0]
    assert Scaled.of(np.array([1.0]), 10).floats.tolist() == [1024.0]
    with pytest.raises(NonFiniteError, match="RS111"):
        assert Scaled.of(np.array([1.0]), 5000).floats is None
    with pytest.raises(NonFiniteError, match="RS110"):
        Scaled.of(np.array([math.nan]))


def test_the_mean_keeps_its_axis() -> None:
    found = Scaled.of(np.array([[1.0, 2.0], [3.0, 6.0]]), 3).mean(0)
    assert found.floats.tolist() == [[16.0, 32.0]]
