"""Tokens as mean and residual, against exact rationals."""

import math
from fractions import Fraction

import numpy as np
import pytest

from rankscope.attention.scaled import Scaled
from rankscope.attention.tokens import Linear, Tokens, split

RANDOM = np.random.default_rng(5)


def small(exponent: int, n: int = 6, width: int = 4) -> Tokens:
    """A mean of size one and a residual of size 2^exponent."""
    random = np.random.default_rng(-exponent)
    return split(Scaled.of(random.standard_normal((1, width))), Scaled.of(random.standard_normal((n, width)), exponent))


def rationals(array: Scaled) -> list[list[Fraction]]:
    return [[Fraction(float(x)) * Fraction(2) ** array.exponent for x in row] for row in array.values]


def test_tokens_are_their_mean_and_their_residual() -> None:
    x = RANDOM.standard_normal((7, 3))
    tokens = Tokens.of(x)
    np.testing.assert_allclose(tokens.floats, x, rtol=0, atol=4e-16)
    np.testing.assert_allclose(tokens.mean.floats[0], x.mean(axis=0), rtol=1e-14)
    assert np.abs(tokens.residual.floats.sum(axis=0)).max() < 1e-14
    assert tokens.log2_norm == pytest.approx(math.log2(float(np.linalg.norm(x))), rel=1e-13)


@pytest.mark.parametrize("exponent", [0, -30, -3000, -300_000])
def test_rows_of_a_residual_add_up_to_zero(exponent: int) -> None:
    residual = small(exponent).residual
    for column in zip(*rationals(residual), strict=True):
        assert abs(sum(column)) <= Fraction(2) ** (residual.exponent - 49)


@pytest.mark.parametrize("exponent", [-3, -3000, -300_000])
def test_a_linear_map_acts_on_both_parts(exponent: int) -> None:
    tokens = small(exponent)
    by = Linear(RANDOM.standard_normal((4, 3)), RANDOM.standard_normal(3))
    found = tokens.linear(by)
    columns = list(zip(*[[Fraction(float(w)) for w in row] for row in by.weights], strict=True))
    for row, got in zip(rationals(tokens.residual), rationals(found.residual), strict=True):
        for column, value in zip(columns, got, strict=True):
            true = sum(x * w for x, w in zip(row, column, strict=True))
            assert abs(true - value) <= Fraction(2) ** (tokens.residual.exponent - 47)
    assert by.bias is not None
    np.testing.assert_allclose(found.mean.floats, tokens.mean.floats @ by.weights + by.bias, rtol=1e-13)


def test_a_sum_adds_residuals_of_any_size() -> None:
    large, tiny = small(-40), small(-2000)
    found = large + tiny
    assert found.residual.log2_norm == pytest.approx(large.residual.log2_norm, rel=1e-12)
    back = found + large * -1.0
    assert back.residual.log2_norm < -80
    assert back.error > 0.1  # what is left is rounding, and the estimate says so


def test_a_factor_multiplies_both_parts() -> None:
    tokens = small(-500)
    found = tokens * 0.25
    assert found.residual.log2_norm == pytest.approx(tokens.residual.log2_norm - 2, rel=1e-14)
    np.testing.assert_array_equal(found.mean.floats, tokens.mean.floats / 4)


def test_equal_tokens_have_a_residual_of_zero() -> None:
    tokens = Tokens.of(np.ones((5, 2)))
    assert not tokens.residual.values.any()
    assert tokens.error == 0
