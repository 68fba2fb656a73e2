"""Activations and norms on mean and residual, against balls."""

import math
from typing import Any

import flint
import numpy as np
import pytest

from rankscope.attention.pointwise import ACTIVATIONS, activated, normalised
from rankscope.attention.scaled import Scaled
from rankscope.attention.tokens import Tokens, split
from rankscope.errors import MaskError
from tests.attention.deep import balls
from tests.oracles import added, precision

EXPONENTS = [2, -1, -20, -60, -1500, -9000]


def tokens_of(exponent: int, seed: int = 0) -> Tokens:
    random = np.random.default_rng(seed)
    return split(Scaled.of(random.standard_normal((1, 5))), Scaled.of(random.standard_normal((6, 5)), exponent))


def worst(found: Tokens, truth: list[list[Any]]) -> float:
    """How far the residual is from that of the truth, relative to its norm."""
    mean = [added(column) / len(truth) for column in zip(*truth, strict=True)]
    left = [[x - m for x, m in zip(row, mean, strict=True)] for row in truth]
    unit = flint.arb(2) ** found.residual.exponent
    away = added(
        (x - flint.arb(float(r)) * unit) ** 2
        for row, got in zip(left, found.residual.values, strict=True)
        for x, r in zip(row, got, strict=True)
    )
    return float((away / added(x * x for row in left for x in row)).sqrt().mid())


def relu(x: Any) -> Any:
    return x if x > 0 else flint.arb(0)


def gelu(x: Any) -> Any:
    return x * (1 + (x / flint.arb(2).sqrt()).erf()) / 2


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_differences_of_activations_are_true(name: str, exponent: int) -> None:
    tokens = tokens_of(exponent)
    found = activated(tokens, ACTIVATIONS.build(name))
    with precision(30_000):
        truth = [[{"relu": relu, "gelu": gelu}[name](x) for x in row] for row in balls(tokens)]
        assert worst(found, truth) < 1e-13


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("epsilon", [0.0, 1e-5])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_norms_are_true(kind: Any, epsilon: float, exponent: int) -> None:
    tokens = tokens_of(exponent)
    found = normalised(tokens, kind, epsilon)
    with precision(30_000):
        truth = []
        for row in balls(tokens):
            own = row if kind == "rms" else [x - added(row) / len(row) for x in row]
            root = (added(x * x for x in own) / len(own) + flint.arb(epsilon)).sqrt()
            truth.append([x / root for x in own])
        assert worst(found, truth) < 1e-13
        mean = [float((added(column) / len(truth)).mid()) for column in zip(*truth, strict=True)]
    np.testing.assert_allclose(found.mean.floats[0], mean, rtol=1e-12)


def test_a_norm_forgets_the_scale_of_its_tokens() -> None:
    tokens = tokens_of(-40)
    shrunk = Tokens(
        Scaled(tokens.mean.values, tokens.mean.exponent - 700),
        Scaled(tokens.residual.values, tokens.residual.exponent - 700),
    )
    one, other = normalised(tokens, "layer", 0.0), normalised(shrunk, "layer", 0.0)
    assert one.residual.log2_norm == pytest.approx(other.residual.log2_norm, rel=1e-13)


def test_tokens_without_variation_have_no_layer_norm() -> None:
    with pytest.raises(MaskError, match="RS122"):
        normalised(Tokens.of(np.ones((3, 4))), "layer", 0.0)


@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_the_lipschitz_constant_is_the_steepest_slope(name: str) -> None:
    by = ACTIVATIONS.build(name)
    slopes = np.diff(by.function(np.linspace(-6, 6, 200_001))) / (12 / 200_000)
    assert slopes.max() <= by.lipschitz * (1 + 1e-9)
    assert slopes.max() == pytest.approx(by.lipschitz, rel=1e-6)
    assert name == "relu" or by.lipschitz == pytest.approx(1.1289041, rel=1e-7)


def test_a_mean_too_small_for_float64_keeps_its_digits() -> None:
    tokens = Tokens(Scaled.of(np.array([[1.0, -1.5]]), -3000), Scaled.of(np.zeros((2, 2))))
    found = activated(tokens, ACTIVATIONS.build("gelu"))
    assert found.mean.log2_norm == pytest.approx(math.log2(math.hypot(0.5, 0.75)) - 3000, rel=1e-15)
