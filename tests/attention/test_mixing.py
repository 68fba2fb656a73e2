"""Attention matrices as they act on tokens: against balls, plain arithmetic, and laws."""

import math
from itertools import pairwise

import flint
import numpy as np
import pytest

from rankscope.attention.build import How
from rankscope.attention.mixing import Mixing, Split, Whole, mixing, operator_of, resolved
from rankscope.attention.origin import Origin
from rankscope.attention.scaled import Scaled
from rankscope.attention.tokens import Tokens, split
from tests.attention.deep import balls
from tests.oracles import added, precision


def how(mask: str = "bidirectional", kernel: str = "softmax", position: str = "none", scale: float = 1.0) -> How:
    from rankscope.attention.masks import parse

    return resolved(How(parse(mask), kernel, position, scale, "float64", "error"))


def mixed(queries: Tokens, keys: Tokens, of: How) -> Mixing:
    return mixing(queries, keys, of, lambda: operator_of(queries, keys, of, Origin()))


def tokens(exponent: int, seed: int, n: int = 7, width: int = 3, size: float = 1.0) -> Tokens:
    random = np.random.default_rng(seed)
    mean = Scaled.of(size * random.standard_normal((1, width)))
    return split(mean, Scaled.of(size * random.standard_normal((n, width)), exponent))


@pytest.mark.parametrize("size", [0.1, 1.0, 8.0, 40.0])
@pytest.mark.parametrize("exponent", [0, -10, -100, -5000])
def test_what_softmax_leaves_of_differences_is_true(exponent: int, size: float) -> None:
    queries, keys = tokens(exponent, 1, size=size), tokens(exponent, 2, size=size)
    values = tokens(exponent, 3)
    found = mixed(queries, keys, how())
    assert isinstance(found, Split)
    out = found(values)
    with precision(40_000):
        q, k, v = (balls(x) for x in (queries, keys, values))
        root = flint.arb(3).sqrt()
        weights = [[(added(a * b for a, b in zip(x, y, strict=True)) / root).exp() for y in k] for x in q]
        rows = [[w / added(row) for w in row] for row in weights]
        product = [[added(w * y[c] for w, y in zip(row, v, strict=True)) for c in range(3)] for row in rows]
        mean = [added(column) / len(product) for column in zip(*product, strict=True)]
        unit = flint.arb(2) ** out.residual.exponent
        away = size_ = flint.arb(0)
        for row, got in zip(product, out.residual.values, strict=True):
            for x, m, r in zip(row, mean, got, strict=True):
                away, size_ = away + (x - m - flint.arb(float(r)) * unit) ** 2, size_ + (x - m) ** 2
        relative = float((away / size_).sqrt().mid())
        means = [float(m.mid()) for m in mean]
    assert relative <= 4 * out.error + 1e-15, (relative, out.error)
    assert out.error < 1e-11
    np.testing.assert_allclose(out.mean.floats[0], means, rtol=1e-12)


@pytest.mark.parametrize(
    "kernel", ["softmax", "tempered:0.5", "logn:16", "linear", "off-by-one", "sigmoid", "sparsemax"]
)
@pytest.mark.parametrize("mask", ["bidirectional", "causal", "window:3", "prefix:2"])
def test_every_mixing_is_the_matrix_times_the_values(mask: str, kernel: str) -> None:
    x = Tokens.of(np.random.default_rng(4).standard_normal((7, 3)))
    of = how(mask, kernel)
    matrix = np.asarray(operator_of(x, x, of, Origin()).matrix)
    found = mixed(x, x, of)
    np.testing.assert_allclose(found.matrix, matrix, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found(x).floats, matrix @ x.floats, rtol=0, atol=1e-13)
    low, high = 0.3, 1.7
    levelled = low / 7 + high * (matrix - 1 / 7)
    np.testing.assert_allclose(found(x, low, high).floats, levelled @ x.floats, rtol=0, atol=1e-13)
    rows = found.rest.floats
    np.testing.assert_allclose(rows - rows[0], matrix - matrix[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("position", ["rope", "alibi", "t5"])
def test_positions_keep_rows_apart(position: str) -> None:
    x = tokens(-2000, 5)
    found = mixed(x, x, how(position=position))
    assert isinstance(found, Whole)
    assert found(x).residual.log2_norm > -2010 or position == "rope"


def test_oracle_p8_powers_of_uniform_causal_attention_fall_by_half_as_long_as_one_likes() -> None:
    n = 64
    x = Tokens.of(np.eye(n))
    zero = Tokens.of(np.zeros((n, 4)))
    uniform = mixed(zero, zero, how("causal"))
    logs = []
    for _ in range(400):
        x = uniform(x)
        from_first = x.residual - Scaled.of(x.residual.values[0], x.residual.exponent)
        logs.append(from_first.log10_norm)
    ratios = [10 ** (b - a) for a, b in pairwise(logs)]
    assert ratios[36:40] == pytest.approx([0.5] * 4, abs=1e-5)
    assert ratios[40:] == pytest.approx([0.5] * 359, abs=1e-6)
    assert logs[-1] < -110
    assert x.error < 1e-9


def test_attention_of_equal_tokens_is_uniform() -> None:
    x = Tokens.of(np.ones((5, 2)))
    found = mixed(x, x, how())
    np.testing.assert_array_equal(found.matrix, np.full((5, 5), 0.2))
    assert not found(tokens(0, 1, n=5)).residual.values.any()


def test_the_estimated_error_grows_where_rows_nearly_agree_and_are_held_as_floats() -> None:
    x = tokens(-20, 6)
    out = mixed(x, x, how(kernel="linear"))(x)
    assert out.error > 1e-12
    assert mixed(x, x, how())(x).error < 1e-13
    assert math.isfinite(out.error)
