"""Public oracles: numbers that anybody can reproduce, each test named after its identifier.

P1–P7, P9–P17, P20–P23, P29, P37–P39, P41: closed forms, and the standard ensemble `numpy.random.default_rng(0)`. The
last tests check the oracles of `tests/oracles.py` themselves, each by a second route.
"""

import itertools
import math
from typing import Any

import mpmath
import numpy as np
import pytest

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.operators import Operator
from rankscope.records import Record
from tests import oracles
from tests.oracles import (
    DIGITS_60,
    EPS,
    Float64,
    balls,
    hilbert,
    inside,
    log_determinant,
    precision,
    rational,
    singular_values,
    singular_values_by_mpmath,
    to_mpmath,
    uniform_causal,
    uniform_causal_log_determinant,
)


def uniform(size: int, mask: str = "causal") -> Operator:
    """Attention with zero logits."""
    return single(attention(np.zeros((size, 1)), np.zeros((size, 1)), mask=mask))


def standard(mask: str, n: int = 512, d: int = 64, **options: Any) -> Operator:
    made = rs.synthetic(n=n, d=d, mask=mask, **options)
    assert not isinstance(made, list)
    return made


def value(record: Record) -> float:
    assert record.value is not None, record.because
    return float(record.value)


def test_p1_uniform_causal_logdet() -> None:
    found = rs.logdet(uniform(512))
    assert uniform_causal_log_determinant(512) == pytest.approx(-2686.06047162635, rel=1e-14, abs=0)
    assert found.log_abs == pytest.approx(uniform_causal_log_determinant(512), rel=1e-13, abs=0)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= uniform_causal_log_determinant(512) <= found.high


def test_p2_uniform_causal_sign_and_ranks() -> None:
    assert (rs.logdet(uniform(512)).sign, rs.logdet(uniform(512)).guarantee) == (1, "proved")
    assert rs.rank_numerical(uniform(512)).value == 512
    assert (rs.rank_exact(uniform(512)).value, rs.rank_exact(uniform(512)).guarantee) == (512, "proved")


def test_p3_uniform_causal_frobenius_norm_is_the_harmonic_number() -> None:
    harmonic = math.fsum(1 / i for i in range(1, 513))
    assert harmonic == pytest.approx(6.81651653454972, abs=1e-14)
    assert rs.spectrum(uniform(512)).frobenius ** 2 == pytest.approx(harmonic, abs=1e-12)
    assert value(rs.stable_rank(uniform(512))) * value(rs.sigma_max(uniform(512))) ** 2 == pytest.approx(
        harmonic, abs=1e-11
    )


@pytest.mark.parametrize(("size", "largest"), [(512, 1.72028331499038), (1024, 1.74901242279372)])
def test_p4_uniform_causal_largest_singular_value(size: int, largest: float) -> None:
    found = rs.sigma_max(uniform(size))
    assert value(found) == pytest.approx(largest, rel=1e-10, abs=0)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= largest <= found.high
    assert largest < 2, "Hardy's inequality"


def test_p5_uniform_causal_condition_and_ranks() -> None:
    assert 10 ** value(rs.log10_condition(uniform(512))) == pytest.approx(1731.20087, rel=1e-6, abs=0)
    assert value(rs.effective_rank(uniform(512))) == pytest.approx(70.4955639, rel=1e-6, abs=0)
    assert value(rs.stable_rank(uniform(512))) == pytest.approx(2.30336381, rel=1e-6, abs=0)


def test_p6_uniform_causal_of_two() -> None:
    found = rs.singular_values(uniform(2)) ** 2
    assert found == pytest.approx([(3 + math.sqrt(5)) / 4, (3 - math.sqrt(5)) / 4], rel=1e-14, abs=0)


def test_p7_inverse_of_cesaro_is_bidiagonal() -> None:
    """diag i, sub-diagonal −(i − 1): of the matrix that is held, in rationals up to its rounding."""
    held = np.asarray(uniform(64).matrix)
    index = np.arange(1, 65)
    inverse = np.diag(index.astype(float)) - np.diag(index[1:].astype(float) - 1, -1)
    assert np.abs(held @ inverse - np.eye(64)).max() <= 1e-12
    assert np.array_equal(held, uniform_causal(64))
    truth = -math.log10(np.linalg.norm(inverse, 2))
    assert value(rs.log10_sigma_min(uniform(64))) == pytest.approx(truth, abs=1e-12)


def test_p9_dobrushin_of_cesaro() -> None:
    record = rs.analyze(uniform(32), measures=["dobrushin"])["dobrushin"]
    assert isinstance(record, Record)
    assert value(record) == pytest.approx(0.96875, abs=1e-14)


@pytest.mark.parametrize("size", [8, 64, 512])
def test_p10_uniform_bidirectional(size: int) -> None:
    operator = uniform(size, "bidirectional")
    for name in ("rank_exact", "rank_numerical", "sigma_max", "effective_rank", "stable_rank"):
        assert value(getattr(rs, name)(operator)) == pytest.approx(1.0, abs=1e-12), name
    assert rs.rank_exact(operator).guarantee == "proved"
    assert value(rs.row_entropy(operator)) == pytest.approx(math.log(size), abs=1e-12)
    assert value(rs.row_entropy_normalized(operator)) == pytest.approx(1.0, abs=1e-12)
    assert rs.logdet(operator).sign == 0


def test_p11_triangle_of_ones() -> None:
    size = 512
    found = rs.spectrum(np.tril(np.ones((size, size))))
    truth = np.array([1 / (2 * math.sin((2 * k - 1) * math.pi / (4 * size + 2))) for k in range(1, size + 1)])
    assert (np.abs(found.values - truth) <= found.error + 8 * EPS * truth).all()
    assert found.values[0] == pytest.approx(326.26776104544, rel=1e-12, abs=0)
    assert found.values[-1] == pytest.approx(0.50000234851708, rel=1e-12, abs=0)


def test_p12_hilbert_logdet() -> None:
    found = rs.logdet(hilbert(5))
    assert found.sign == 1
    assert found.log_abs == pytest.approx(-26.3094532582764, rel=1e-10, abs=0)
    assert -math.log(266716800000) == pytest.approx(-26.3094532582764, rel=1e-14, abs=0)
    with precision(DIGITS_60):
        assert inside(found.low, log_determinant(rational(hilbert(5)))[1], found.high)


@pytest.mark.parametrize(
    ("size", "rank"), [(8, 8), (10, 10), (12, 11), (15, 12), (20, 13), (50, 16), (100, 18)], ids=str
)
def test_p13_hilbert_numpy_rank(size: int, rank: int) -> None:
    """An interval that contains the count where the tolerance lies inside the error; the last may vary by one."""
    found = rs.rank_numerical(hilbert(size), rule="numpy")
    assert found.low is not None
    assert found.high is not None
    spread = 1 if size == 100 else 0
    assert found.low - spread <= rank <= found.high + spread
    assert found.high - found.low <= 2
    if found.value is not None:
        assert abs(found.value - rank) <= spread


def test_p14_powers_of_one_half() -> None:
    matrix = np.diag(0.5 ** np.arange(60.0))
    assert value(rs.effective_rank(matrix)) == pytest.approx(4.0, abs=1e-10)
    assert value(rs.participation_ratio(matrix)) == pytest.approx(3.0, abs=1e-10)
    assert value(rs.stable_rank(matrix)) == pytest.approx(4 / 3, abs=1e-10)
    assert value(rs.nuclear_rank(matrix)) == pytest.approx(2.0, abs=1e-10)


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.8, 0.9])
def test_p15_geometric_spectra(ratio: float) -> None:
    """As many terms as it takes for r^n to fall below 1e-13: the tail adds n·rⁿ to the entropy."""
    terms = math.ceil(math.log(1e-16) / math.log(ratio)) + 60
    matrix = np.diag(ratio ** np.arange(float(terms)))
    erank = math.exp(-math.log(1 - ratio) - ratio * math.log(ratio) / (1 - ratio))
    assert value(rs.effective_rank(matrix)) == pytest.approx(erank, rel=1e-10, abs=0)
    assert value(rs.participation_ratio(matrix)) == pytest.approx((1 + ratio) / (1 - ratio), rel=1e-10, abs=0)
    assert value(rs.stable_rank(matrix)) == pytest.approx(1 / (1 - ratio**2), rel=1e-10, abs=0)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_p16_identity_and_orthogonal(size: int) -> None:
    orthogonal = np.linalg.qr(np.random.default_rng(size).standard_normal((size, size)))[0]
    for matrix in (np.eye(size), orthogonal):
        for name in ("effective_rank", "stable_rank", "participation_ratio", "nuclear_rank", "rank_numerical"):
            assert value(getattr(rs, name)(matrix)) == pytest.approx(size, rel=1e-10, abs=0), name
    assert rs.rank_exact(np.eye(size)).value == size
    assert rs.rank_exact(orthogonal).high == size


def test_p17_bidirectional_linear_attention() -> None:
    operator = standard("bidirectional", kernel="linear")
    assert rs.rank_numerical(operator).value == 64
    record = rs.rank_exact(operator)
    assert (record.high, record.guarantee) == (64, "proved")


@pytest.mark.parametrize("seed", range(5))
def test_p20_ranks_of_small_scores_are_a_staircase(seed: int) -> None:
    """Unscaled scores 10⁻⁵·q·k of size 3: 1 + 3 + 6 values of orders 1, 10⁻⁵, 10⁻¹⁰ lie above n·eps, the next 10 of
    10⁻¹⁵ do not: the monomials of degree 0, 1, 2 in 3 variables.
    """
    made = rs.synthetic(n=40, d=3, scale=1e-5 * math.sqrt(3), seed=seed)
    record = rs.rank_numerical(made, rule="numpy")
    assert (record.value, record.low, record.high) == (10, 10, 10)
    values = rs.singular_values(made)
    stairs = [values[0] / values[1], values[3] / values[4], values[9] / values[10]]
    assert all(stair > 100 for stair in stairs), "each stair is a gap"
    assert math.comb(3 + 2, 2) == 10


def test_p21_standard_causal_logdet() -> None:
    operator = standard("causal")
    found = rs.logdet(operator)
    assert (found.sign, found.guarantee) == (1, "proved")
    assert found.log_abs == pytest.approx(-2981.229079, abs=1e-6)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < 1e-9
    wrong = float(np.linalg.slogdet(np.asarray(operator.matrix))[1])
    assert not found.low - 100 <= wrong <= found.high + 100, "LU with pivoting is off by hundreds of nats"
    scores = standard_scores()
    truth = math.fsum(
        scores[i, i] - max(row := scores[i, : i + 1]) - math.log(math.fsum(np.exp(row - max(row)))) for i in range(512)
    )
    assert found.log_abs == pytest.approx(truth, abs=1e-9)


def standard_scores() -> Float64:
    random = np.random.default_rng(0)
    queries = random.standard_normal((512, 64))
    keys = random.standard_normal((512, 64))
    return np.asarray(queries @ keys.T / 8.0)


def test_p22_standard_bidirectional() -> None:
    operator = standard("bidirectional")
    assert rs.rank_numerical(operator).value == 512
    found = rs.logdet(operator)
    assert found.log_abs == pytest.approx(-1938.76938, rel=1e-6, abs=0)
    assert value(rs.effective_rank(operator)) == pytest.approx(301.9596, rel=1e-6, abs=0)
    assert value(rs.stable_rank(operator)) == pytest.approx(2.683934, rel=1e-6, abs=0)


def test_p23_standard_causal_inverse_norm() -> None:
    assert value(rs.log10_sigma_min(standard("causal"))) == pytest.approx(-140.74, abs=0.02)


def test_p29_symmetric_softmax_of_two() -> None:
    """Logits ±a/2: λ₂ = τ = tanh(a/2)."""
    a = 1.3
    operator = single(attention([[1.0], [-1.0]], [[a / 2], [-a / 2]]))
    assert math.tanh(a / 2) == pytest.approx(0.571669966085117, abs=1e-14)
    assert value(rs.dobrushin(operator)) == pytest.approx(0.571669966085117, abs=1e-14)
    series = {each.name: each.values for each in rs.analyze(operator, measures=["eigenvalues"]).table.series}
    assert series["eigenvalues_real"] == pytest.approx([1.0, 0.571669966085117], abs=1e-14)
    assert rs.logdet(operator).log_abs == pytest.approx(math.log(0.571669966085117), abs=1e-13)


def test_p37_one_to_ten() -> None:
    row = np.arange(1.0, 11.0)[None, :] / 55
    assert value(rs.hoyer(row)) == pytest.approx(0.16612950033136, abs=1e-12)
    assert value(rs.gini(row)) == pytest.approx(0.3, abs=1e-12)
    assert value(rs.l1_l2(row)) == pytest.approx(0.88640526042792, abs=1e-12)
    assert math.sqrt(3 * 11 / (2 * 21)) == pytest.approx(0.88640526042792, abs=1e-12)


@pytest.mark.parametrize("length", [2, 3, 10, 100])
def test_p38_one_hot_and_constant(length: int) -> None:
    """As a 1 × N row: a square one-hot matrix would be diagonal, with one place per row."""
    hot, constant = np.eye(1, length, length // 2), np.full((1, length), 1 / length)
    assert value(rs.hoyer(hot)) == pytest.approx(1.0, abs=1e-14)
    assert value(rs.gini(hot)) == pytest.approx(1 - 1 / length, abs=1e-14)
    assert value(rs.row_entropy(hot)) == 0.0
    assert value(rs.hoyer(constant)) == pytest.approx(0.0, abs=1e-14 * length)
    assert value(rs.gini(constant)) == pytest.approx(0.0, abs=1e-14 * length)
    assert value(rs.row_entropy(constant)) == pytest.approx(math.log(length), abs=1e-14)


def test_p39_numpy_and_numerical_recipes_differ() -> None:
    matrix = np.diag([1.0, 1e-8, 5e-16, 1e-17])
    assert rs.rank_numerical(matrix, rule="numpy").value == 2
    assert rs.rank_numerical(matrix, rule="numerical-recipes").value == 3


@pytest.mark.parametrize("length", [1, 16, 64, 128])
def test_p41_prefix_logdet_is_additive(length: int) -> None:
    """slogdet of the prefix block, which numpy does well, plus the logarithms of the rest of the diagonal."""
    operator = standard(f"prefix:{length}", n=128, d=64)
    matrix = np.asarray(operator.matrix)
    sign, log = np.linalg.slogdet(matrix[:length, :length])
    found = rs.logdet(operator)
    assert found.log_abs == pytest.approx(log + math.fsum(np.log(np.diagonal(matrix)[length:])), rel=1e-9, abs=0)
    assert found.sign == sign


# --------------------------------------------------------------------------------------------- the oracles themselves


def matrices() -> list[Float64]:
    random = np.random.default_rng(0)
    return [
        random.standard_normal((4, 4)),
        random.random((3, 6)),
        random.random((6, 3)) ** 8,
        uniform_causal(5),
        np.eye(3),
        np.ones((4, 4)),
        hilbert(6),
    ]


@pytest.mark.parametrize("index", range(len(matrices())))
def test_singular_values_of_balls_and_of_mpmath_agree(index: int) -> None:
    matrix = matrices()[index]
    with precision(2 * DIGITS_60):
        one, two = singular_values(balls(matrix)), singular_values_by_mpmath(balls(matrix))
        assert len(one) == len(two) == min(matrix.shape)
        for a, b in zip(one, two, strict=True):
            assert abs(float((a - b).mid())) <= 1e-40 * float(one[0].mid())
        squares = oracles.added(a * a for a in one)
        assert squares.overlaps(oracles.frobenius(balls(matrix)) ** 2)


@pytest.mark.parametrize("index", range(len(matrices())))
def test_the_spectral_norm_is_the_first_singular_value(index: int) -> None:
    with precision(2 * DIGITS_60):
        found, first = oracles.spectral_norm(balls(matrices()[index])), singular_values(balls(matrices()[index]))[0]
        assert found.overlaps(first)
        assert float(found.rad()) < 1e-18 * float(found.mid())


def test_the_product_of_singular_values_is_the_determinant() -> None:
    with precision(2 * DIGITS_60):
        for matrix in matrices():
            if matrix.shape[0] == matrix.shape[1] and rational(matrix).det() != 0:
                sign, log = log_determinant(rational(matrix))
                total = oracles.added(a.log() for a in singular_values(balls(matrix)))
                assert total.overlaps(log)
                assert sign == np.sign(np.linalg.det(matrix))


def test_softmax_of_balls_is_softmax_of_mpmath() -> None:
    scores = np.random.default_rng(1).standard_normal((4, 4)) * 50
    seen = np.tril(np.ones((4, 4), dtype=bool))
    with precision(DIGITS_60), mpmath.workdps(60):
        truth = oracles.softmax(scores, seen)
        for i in range(4):
            weights = [mpmath.exp(mpmath.mpf(x)) for x in scores[i, : i + 1].tolist()]
            for j, weight in enumerate(weights):
                assert abs(to_mpmath(truth[i, j]) - weight / mpmath.fsum(weights)) <= mpmath.mpf(10) ** -55


def test_comparisons_of_balls_never_pass_when_in_doubt() -> None:
    wide = oracles.ball(1.0, 0.5)
    assert not inside(1.0, wide, 2.0)
    assert inside(0.25, wide, 2.0)
    assert inside(None, wide, 2.0)
    assert oracles.away(1.0, wide) >= 0.5
    assert not inside(0.0, oracles.ball(math.nan), 1.0)


def test_scores_that_float64_does_not_hold_are_refused() -> None:
    with pytest.raises(ArithmeticError):
        oracles.exact_scores(np.array([[0.1]]), np.array([[0.1]]), 1.0)
    with pytest.raises(ArithmeticError):
        oracles.exact_scores(np.ones((1, 3)), np.ones((1, 3)), 1.0)


def test_plain_definitions_on_rows_that_are_known() -> None:
    assert oracles.gini([1.0, 0.0, 0.0, 0.0]) == 0.75
    assert oracles.gini([2.0, 2.0]) == 0.0
    assert oracles.hoyer([0.0, 3.0]) == pytest.approx(1.0, abs=EPS)
    assert oracles.entropy([0.5, 0.5, 0.0]) == pytest.approx(math.log(2), abs=EPS)
    assert oracles.dobrushin([[1.0, 0.0], [0.0, 1.0]]) == 1.0
    assert oracles.effective_rank([3.0, 3.0, 3.0]) == pytest.approx(3.0, abs=8 * EPS)
    for a, b in itertools.pairwise(
        [
            oracles.stable_rank([3, 2, 1]),
            oracles.nuclear_rank([3, 2, 1]),
            oracles.participation_ratio([3, 2, 1]),
            oracles.effective_rank([3, 2, 1]),
            3.0,
        ]
    ):
        assert a < b
