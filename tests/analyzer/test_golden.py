"""Golden cases of fault and extreme: each test named after its number, its figures copied and derived a second time."""

import math

import mpmath
import numpy as np
import pytest
import torch

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.operators import Operator
from rankscope.errors import RankscopeError
from tests.oracles import (
    DIGITS_60,
    inside,
    log_determinant,
    precision,
    rational,
    uniform_causal,
    uniform_causal_log_determinant,
)


def standard(n: int = 512, d: int = 64, **options: object) -> Operator:
    made = rs.synthetic(n=n, d=d, **options)
    assert not isinstance(made, list)
    return made


def test_golden_1_standard_causal() -> None:
    """And a ten-line script makes the same matrix: default_rng(0), queries then keys, L = q kᵀ/8."""
    operator = standard(mask="causal")
    random = np.random.default_rng(0)
    logits = random.standard_normal((512, 64)) @ random.standard_normal((512, 64)).T / 8
    weights = np.tril(np.exp(logits - logits.max()))
    assert np.allclose(operator.matrix, weights / weights.sum(axis=1, keepdims=True), rtol=1e-13, atol=0)
    found = rs.logdet(operator)
    assert (found.sign, found.guarantee) == (1, "proved")
    assert found.log_abs == pytest.approx(-2981.229, abs=5e-4)
    exact, counted = rs.rank_exact(operator), rs.rank_numerical(operator)
    assert (exact.value, exact.guarantee) == (512, "proved")
    assert counted.value == 502
    assert counted.details["rule"] == "numpy"
    assert counted.details["sigma_below"] is counted.details["gap"] is None  # LAPACK's 6e-15 is below its error
    assert counted.details["sigma_above"] / counted.details["sigma_below_high"] > counted.details["gap_low"] > 9
    assert rs.effective_rank(operator).value == pytest.approx(218.6, abs=0.1)


def test_golden_2_its_transpose_is_identical() -> None:
    """The transposed matrix, upper triangular: where numpy's LU is right and torch's is wrong."""
    operator = standard(mask="causal")
    held = np.asarray(operator.matrix)
    plain, other = rs.logdet(operator), rs.logdet(held.T)
    assert (other.sign, other.guarantee) == (1, "proved")
    assert other.log_abs == pytest.approx(plain.log_abs, abs=1e-9)
    assert rs.rank_exact(held.T).value == 512
    assert rs.rank_numerical(held.T).value == 502
    one, two = rs.log10_sigma_min(held), rs.log10_sigma_min(held.T)
    assert one.value is not None
    assert two.value == pytest.approx(one.value, abs=1e-9)
    assert float(rs.effective_rank(held.T)) == pytest.approx(float(rs.effective_rank(held)), rel=1e-12, abs=0)


def test_golden_3_uniform_causal() -> None:
    assert uniform_causal_log_determinant(500) == -2611.330458460156
    for matrix in (single(attention(np.zeros((500, 1)), np.zeros((500, 1)), mask="causal")), uniform_causal(500)):
        found = rs.logdet(matrix)
        assert found.log_abs == pytest.approx(-2611.330458460156, rel=1e-13, abs=0)
        assert found.sign == 1


def test_golden_4_tiny_diagonals_on_both_sides() -> None:
    """0.5 strictly below the diagonal, 1e-300 on it, n = 2…256, and its transpose."""
    with mpmath.workdps(40):
        step = float(mpmath.log(mpmath.mpf(1e-300)))
    assert step == -690.7755278982137
    for size in range(2, 257):
        matrix = np.tril(np.full((size, size), 0.5), -1) + 1e-300 * np.eye(size)
        for each in (matrix, matrix.T):
            found = rs.logdet(each)
            assert (found.sign, found.guarantee) == (1, "proved")
            assert found.log_abs == pytest.approx(size * step, rel=1e-14, abs=0)
    assert rs.rank_exact(matrix).value == rs.rank_exact(matrix.T).value == 256


def test_golden_5_subnormal_identity() -> None:
    found = rs.logdet(1e-310 * np.eye(3))
    assert found.sign == 1
    assert found.log_abs == pytest.approx(-2141.404, abs=5e-4)
    assert found.log_abs == pytest.approx(3 * math.log(1e-310), rel=1e-15, abs=0)
    with precision(DIGITS_60):
        assert inside(found.low, log_determinant(rational(1e-310 * np.eye(3)))[1], found.high)


def test_golden_7_nan() -> None:
    with pytest.raises(RankscopeError) as caught:
        rs.analyze(np.array([[np.nan, 0], [0, 1]]))
    assert caught.value.code == "RS110"
    assert "row 0, column 0" in caught.value.given


def test_golden_8_infinity() -> None:
    for value in (np.inf, -np.inf):
        with pytest.raises(RankscopeError) as caught:
            rs.analyze(np.full((3, 3), value))
        assert caught.value.code == "RS111"
        assert "9 of 9" in caught.value.given


def test_golden_9_bfloat16_is_not_rank_zero() -> None:
    """n·eps(bfloat16)·σ₁ ≥ σ₁ for n ≥ 128; the rule of the storage counts what rounding cannot have made."""
    operator = standard(n=256, mask="causal", dtype="bfloat16")
    found = rs.rank_numerical(operator)
    assert found.low is not None
    assert found.low > 100
    tensor = torch.from_numpy(np.asarray(operator.matrix)).to(torch.bfloat16)
    again = rs.rank_numerical(tensor)
    assert (again.low, again.high) == (found.low, found.high)
    assert again.details["rule"] == "storage"
    values = np.linalg.svd(tensor.double().numpy(), compute_uv=False)
    delta = 2.0**-8 * float(np.linalg.norm(tensor.double().numpy()))
    assert found.low <= (values > delta).sum()
    assert rs.rank_exact(operator).value == 256


def test_golden_11_linear_attention() -> None:
    bidirectional, causal = standard(n=256, d=8, kernel="linear"), standard(n=256, d=8, kernel="linear", mask="causal")
    assert rs.rank_numerical(bidirectional).value == 8
    bound = rs.rank_exact(bidirectional)
    assert (bound.value, bound.high, bound.guarantee) == (None, 8, "proved")
    proved = rs.rank_exact(causal)
    assert (proved.value, proved.guarantee) == (256, "proved")


def test_golden_13_underflowed_diagonals_in_float32() -> None:
    """198 of 256 weights on the diagonal round to zero: the softmax has full rank, the stored matrix has not."""
    operator = standard(n=256, d=64, mask="causal", scale=64.0, dtype="float32")
    held = np.asarray(operator.matrix)
    assert int((np.diagonal(held) == 0).sum()) == 198
    double = standard(n=256, d=64, mask="causal", scale=64.0)
    assert np.array_equal(held, np.asarray(double.matrix).astype(np.float32))
    exact, stored = rs.analyze(operator, measures=["rank_exact"]).table.records
    assert (exact.subject, exact.value, exact.guarantee) == ("scores", 256, "proved")
    assert (stored.subject, stored.value) == ("stored", None)
    assert stored.low == 58
    assert stored.high is not None
    assert stored.high <= 255
    assert stored.because
    first, second = rs.analyze(operator, measures=["logdet"]).table.records
    assert (first.sign, second.sign, second.value) == (1, 0, None)


def test_golden_14_empty_mask_row() -> None:
    mask = np.tril(np.ones((4, 4), dtype=bool))
    mask[2] = False
    with pytest.raises(RankscopeError) as caught:
        attention(np.ones((4, 2)), np.ones((4, 2)), mask=mask)
    assert caught.value.code == "RS120"
    assert "row 2 " in caught.value.given.replace(":", "")
