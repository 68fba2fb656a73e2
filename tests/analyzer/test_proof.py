"""Ranks and determinants proved, the budget that they take, the cases that are hard, and attacks on all of it."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from typing import Any

import flint
import mpmath
import numpy as np
import pytest

import rankscope as rs
from rankscope.analyzer.determinant import LogDet, combined
from rankscope.analyzer.enclosed import check_sum, cholesky, core, precision_for
from rankscope.analyzer.ledger import Ledger, above, below, product_cost, widening
from rankscope.analyzer.proof import pivots
from rankscope.attention.build import attention
from rankscope.attention.exact import part
from rankscope.attention.existing import matrix, single
from rankscope.attention.operators import Mean, Operator, Product
from rankscope.attention.subject import Pair
from rankscope.errors import RankscopeError
from rankscope.records import Record
from tests import oracles
from tests.oracles import (
    Array,
    balls,
    dyadic,
    exact_singular_values,
    hilbert,
    inside,
    log_determinant,
    precision,
    rational,
)


def standard(n: int, d: int, **options: Any) -> Operator:
    made = rs.synthetic(n=n, d=d, **options)
    assert not isinstance(made, list)
    return made


def proved(matrices: Any, measure: str, **options: Any) -> Record:
    """One record of an analysis with proofs."""
    record = rs.analyze(matrices, measures=[measure], **{"prove": True, **options})[measure]
    assert isinstance(record, Record)
    return record


def of(*matrices: Array) -> tuple[Operator, ...]:
    return tuple(single(matrix(np.asarray(each, dtype=np.float64))) for each in matrices)


def between(record: Record, truth: float) -> bool:
    """Whether the bounds of a record hold a number, where there are any."""
    return (record.low is None or record.low <= truth) and (record.high is None or truth <= record.high)


# -------------------------------------------------------------------------------------------------------- golden cases


def test_golden_6_ones_times_the_largest_numbers_have_rank_one() -> None:
    record = proved(1e308 * np.ones((3, 3)), "rank_exact")
    assert (record.value, record.guarantee) == (1, "proved")
    assert proved(1e308 * np.ones((3, 3)), "rank_numerical").value == 1


def test_golden_10_a_sequence_that_is_repeated_has_half_the_rank_unless_it_is_causal() -> None:
    queries, keys = np.random.default_rng(0).standard_normal((2, 32, 8))
    queries, keys = np.vstack([queries, queries]), np.vstack([keys, keys])
    both = proved(attention(queries, keys), "rank_exact")
    assert (both.value, both.guarantee, both.subject) == (32, "proved", "scores")
    causal = proved(attention(queries, keys, mask="causal"), "rank_exact")
    assert (causal.value, causal.guarantee, causal.subject) == (64, "proved", "scores")


@pytest.mark.parametrize("equal", [1, 2, 5, 11, 12])
def test_of_tokens_of_which_some_are_equal_one_counts(equal: int) -> None:
    """k of n tokens equal: rank n − k + 1, wherever they stand."""
    random, n = np.random.default_rng(equal), 12
    queries, keys = random.standard_normal((2, n, 4))
    order = random.permutation(n)[:equal]
    queries[order], keys[order] = queries[order[0]], keys[order[0]]
    record = proved(attention(queries, keys), "rank_exact")
    assert (record.value, record.low, record.high, record.guarantee) == (n - equal + 1,) * 3 + ("proved",)


def test_golden_12_a_product_of_integers_has_the_rank_of_its_inner_dimension() -> None:
    random = np.random.default_rng(0)
    left, right = random.integers(-9, 10, (200, 20)), random.integers(-9, 10, (20, 200))
    record = proved((left @ right).astype(np.float64), "rank_exact")
    assert (record.value, record.guarantee, record.subject) == (20, "proved", "stored")


def test_golden_17_the_effective_rank_behind_bfloat16_is_within_a_visibly_wide_interval() -> None:
    record = proved(standard(256, 8, scale=0.01, dtype="bfloat16"), "effective_rank")
    exact = proved(standard(256, 8, scale=0.01), "effective_rank")
    assert exact.value == pytest.approx(1.2025, abs=5e-5)
    assert record.low is not None
    assert record.high is not None
    assert record.low <= 1.2025 <= record.high
    assert record.high - record.low > 0.5
    assert exact.high is not None
    assert exact.low is not None
    assert exact.high - exact.low < 1e-9


def test_linear_attention_has_the_rank_of_its_features() -> None:
    record = proved(standard(512, 64, kernel="linear"), "rank_exact")
    assert (record.value, record.guarantee, record.subject) == (64, "proved", "factors")


@pytest.mark.parametrize("d", [4, 64])
def test_bidirectional_attention_has_full_rank_and_a_determinant_to_a_millionth(d: int) -> None:
    """The determinant a second time, from scores that are computed here, by elimination in other balls."""
    result = rs.analyze(standard(256, d, seed=0), measures=["rank_exact", "logdet"], prove=True)
    rank, log = result["rank_exact"], result["logdet"]
    assert isinstance(rank, Record)
    assert isinstance(log, Record)
    assert (rank.value, rank.guarantee, rank.subject) == (256, "proved", "scores")
    assert log.low is not None
    assert log.high is not None
    assert log.high - log.low <= 1e-6
    random = np.random.default_rng(0)
    queries, keys = random.standard_normal((256, d)), random.standard_normal((256, d))
    scores = queries @ keys.T / math.sqrt(d)
    with precision(256):
        sign, truth = log_determinant(oracles.softmax(scores, np.ones((256, 256), dtype=bool)))
    assert sign == log.sign
    assert abs(float(truth) - log.low) < 1e-6, "scores may differ in their last bits"


# ---------------------------------------------------------------------------------------------------------------- rank


@pytest.mark.parametrize("shape", [(3, 7), (7, 3)])
def test_rectangular_softmax_has_a_minor_that_shows_its_rank(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    operator = single(attention(random.standard_normal((shape[0], 2)), random.standard_normal((shape[1], 2))))
    needs = rs.Needs(operator, rs.Numerics(prove=True))
    assert (needs.bounds.at_least, needs.bounds.at_most) == (3, 3)
    assert needs.bounds.minor is not None
    rows, columns = needs.bounds.minor
    weights = oracles.softmax(np.asarray(operator.definition.logs), np.ones(shape, dtype=bool))  # type: ignore[union-attr]
    with precision(256):
        minor = flint.arb_mat(3, 3, [weights[i, j] for i in rows for j in columns])
        assert not minor.det().contains(0)


def test_pivots_choose_a_part_that_is_not_singular() -> None:
    """Of rank two, with rows and columns of zeros and copies in the way."""
    held = np.zeros((5, 6))
    held[1, 2], held[3, 2], held[3, 5], held[1, 4] = 1.0, 1.0, 2.0, 1.0
    rows, columns = pivots(held, 2)
    assert rational(held[np.ix_(rows, columns)]).det() != 0
    assert (sorted(rows), sorted(columns)) == (rows, columns)
    with precision(64):
        assert part(oracles.balls(held), rows, columns).entries() == held[np.ix_(rows, columns)].ravel().tolist()


def test_rounding_that_is_left_of_a_mean_is_no_rank() -> None:
    """I + 2⁻⁶⁰·I − I − 2⁻⁶⁰·I is zero; floats add it up to −2⁻⁶⁰."""
    eye = np.eye(2)
    operator = Mean(of(eye, 2.0**-60 * eye, -eye, -(2.0**-60) * eye))
    assert operator.matrix.any(), "what is held is not zero"
    record = proved(operator, "rank_exact")
    assert between(record, 0)


def test_rounding_that_is_left_of_a_product_is_no_rank() -> None:
    """Each row adds up to zero exactly, in any order; floats leave something in most."""
    rows = np.array([[1.0, 2.0**-60, -1.0, -(2.0**-60)], [2.0**-60, 1.0, -(2.0**-60), -1.0]])
    operator = Product(of(np.vstack([rows, rows[:, ::-1], rows[:, [1, 3, 0, 2]]]), np.ones((4, 3))))
    assert operator.matrix.any(), "what is held is not zero"
    assert between(proved(operator, "rank_exact"), 0)


def test_a_product_that_underflows_is_not_zero() -> None:
    """Entries of 1e-400: float64 holds zeros, and the subject is the exact product."""
    operator = Product(of(1e-200 * np.array([[1.0, 2.0], [3.0, 5.0]]), 1e-200 * np.eye(2)[::-1]))
    assert not operator.matrix.any()
    assert proved(operator, "rank_exact").value == 2
    assert between(proved(operator, "rank_numerical"), 2)
    truth = oracles.effective_rank(np.linalg.svd(np.array([[2.0, 1.0], [5.0, 3.0]]), compute_uv=False).tolist())
    assert between(proved(operator, "effective_rank"), truth)
    largest = proved(operator, "sigma_max")
    assert largest.high is None or largest.high > 0


def test_a_product_with_a_singular_factor_is_singular_in_every_record() -> None:
    """One factor is singular by elimination alone: determinant, rank and σ_min say the same."""
    singular = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    result = rs.analyze(Product(of(singular, np.random.default_rng(0).standard_normal((3, 3)))), prove=True)
    log, rank = result["logdet"], result["rank_exact"]
    assert isinstance(log, Record)
    assert isinstance(rank, Record)
    assert (log.sign, log.guarantee) == (0, "proved")
    assert (rank.low, rank.high) == (2, 2)


# --------------------------------------------------------------------------------------------------------- determinant


def test_a_determinant_over_blocks_needs_the_diagonal_of_single_ones_alone() -> None:
    """A dense block with a zero on its own diagonal beside a single entry: det = 2·(−1)."""
    held = np.array([[2.0, 0.0, 0.0], [1.0, 0.0, 1.0], [1.0, 1.0, 5.0]])
    record = proved(held, "logdet")
    assert record.sign == -1
    with precision(128):
        assert inside(record.low, flint.arb(2).log(), record.high)
    assert record.guarantee == "proved"


@pytest.mark.parametrize("size", [2, 5, 12])
def test_determinants_of_hilbert_matrices_of_any_condition_are_proved(size: int) -> None:
    record = proved(hilbert(size), "logdet")
    with precision(1024):
        sign, log = log_determinant(rational(hilbert(size)))
        assert inside(record.low, log, record.high)
    assert (record.sign, record.guarantee) == (sign, "proved")
    assert record.low is not None
    assert record.high is not None
    assert record.high - record.low < 1e-12


@pytest.mark.parametrize("seed", [0, 1, 59, 235, 505, 886])
def test_the_sum_of_proved_logarithms_holds_their_exact_sum(seed: int) -> None:
    """The determinant of a product of three: sums of bounds round, and must round outwards."""
    random = np.random.default_rng(seed)
    factors = [random.standard_normal((2, 2)) * np.exp(random.uniform(8, 15)) for _ in range(3)]
    record = proved(Product(of(*factors)), "logdet")
    assert record.guarantee == "proved"
    with precision(256):
        assert inside(record.low, oracles.added(log_determinant(rational(each))[1] for each in factors), record.high)


def test_sums_of_bounds_are_rounded_outwards() -> None:
    """Against the exact sums, in rationals."""
    random, wrong = np.random.default_rng(0), 0
    for _ in range(100):
        ends = np.sort(random.uniform(5, 40, (3, 2)))
        found = combined([LogDet(1, low, low, high, "proved", "") for low, high in ends.tolist()], "the factors")
        low, high = (sum((Fraction(x) for x in column), Fraction(0)) for column in ends.T.tolist())
        assert found.low is not None
        assert found.high is not None
        wrong += not Fraction(found.low) <= low <= high <= Fraction(found.high)
    assert wrong == 0


def test_a_singular_matrix_of_integers_has_a_determinant_of_zero_that_is_proved() -> None:
    held = np.arange(16.0).reshape(4, 4)
    record = proved(held, "logdet")
    assert (record.sign, record.value, record.guarantee) == (0, None, "proved")
    assert proved(held, "rank_exact").value == 2


def test_the_sum_of_the_logarithms_is_checked_against_the_determinant() -> None:
    """Both are right and agree; a determinant that is off by a millionth, or of another matrix, is a defect (RS402)."""
    held = np.random.default_rng(0).standard_normal((5, 5))
    needs = rs.Needs(single(matrix(held)), rs.Numerics(spectrum="exact"))
    check_sum(needs.spectrum, needs.logdet)
    assert needs.logdet.low is not None
    assert needs.logdet.high is not None
    for shift in (1e-6, -1e-6, 1.0, -50.0):
        wrong = replace(needs.logdet, low=needs.logdet.low + shift, high=needs.logdet.high + shift)
        with pytest.raises(RankscopeError) as caught:
            check_sum(needs.spectrum, wrong)
        assert caught.value.code == "RS402"
    check_sum(needs.spectrum, replace(needs.logdet, low=None))
    check_sum(replace(needs.spectrum, logs=None), wrong)
    assert needs.spectrum.logs is not None
    check_sum(replace(needs.spectrum, logs=[*needs.spectrum.logs[:-1], None]), wrong)


def test_an_analysis_of_a_determinant_that_is_wrong_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """End to end: the check is made, and not only there to be called."""
    from rankscope.analyzer import proof

    wrong = LogDet(1, 7.0, 7.0 - 1e-9, 7.0 + 1e-9, "proved", "a wrong one")
    monkeypatch.setattr(proof, "proved_logdet", lambda *_: wrong)
    with pytest.raises(RankscopeError) as caught:
        rs.analyze(hilbert(4), spectrum="exact")
    assert caught.value.code == "RS402"


def test_an_estimate_that_is_off_is_no_contradiction_of_proofs() -> None:
    """What the budget leaves of a determinant can be an estimate, whose bounds are not proved."""
    needs = rs.Needs(single(matrix(hilbert(4))), rs.Numerics(spectrum="exact"))
    check_sum(needs.spectrum, LogDet(1, 7.0, 6.0, 8.0, "estimated", "QR of a dense block"))


# ------------------------------------------------------------------------------------------------- the smallest value


@pytest.mark.parametrize("size", [8, 12, 14, 18])
@pytest.mark.parametrize("options", [{"prove": True}, {"spectrum": "exact"}], ids=["prove", "exact"])
def test_the_smallest_value_of_hilbert_matrices_is_found_below_the_noise(size: int, options: dict[str, Any]) -> None:
    """1/‖A⁻¹‖ of the stored numbers, from 1e-10 down to 1e-19 and further: to nine digits at least."""
    record = proved(hilbert(size), "log10_sigma_min", **{"prove": False, **options})
    with precision(1024):
        truth = oracles.log10(oracles.smallest_singular_value(oracles.balls(hilbert(size))))
        assert inside(record.low, truth, record.high)
    assert record.guarantee == "enclosed"
    assert record.low is not None
    assert record.high is not None
    assert record.high - record.low < 1e-9


@pytest.mark.parametrize("size", [12, 24])
def test_the_smallest_value_far_below_float64_is_enclosed_where_the_matrix_is_not_triangular(size: int) -> None:
    """Columns that are all but equal: a softmax of tokens of one number at a small scale is a Vandermonde matrix."""
    operator = standard(size, 1, scale=0.001)
    record = proved(operator, "log10_sigma_min")
    with precision(2048):
        weights = oracles.softmax(np.asarray(operator.definition.logs), np.ones((size, size), dtype=bool))  # type: ignore[union-attr]
        truth = oracles.log10(oracles.smallest_singular_value(weights))
        assert truth < -20  # σ₁ is 1, and LAPACK's noise 1e-16
        assert inside(record.low, truth, record.high)
    assert record.value is not None
    assert record.guarantee == "enclosed"


def test_the_smallest_value_of_causal_attention_is_enclosed_sharply() -> None:
    """Oracle P23 at n = 64: beyond the reach of LAPACK, by the inverse in balls a second time."""
    operator = standard(64, 16, mask="causal")
    record = proved(operator, "log10_sigma_min")
    logs = np.asarray(operator.definition.logs)  # type: ignore[union-attr]
    with precision(1024):
        weights = oracles.softmax(np.where(np.isfinite(logs), logs, 0.0), np.isfinite(logs))
        assert inside(record.low, oracles.log10(oracles.smallest_singular_value(weights)), record.high)
    assert record.low is not None
    assert record.high is not None
    assert record.high - record.low < 1e-9


@pytest.mark.parametrize("name", ["log10_sigma_min", "log10_condition"])
def test_a_rectangular_matrix_that_is_proved_to_be_deficient_has_a_least_value_of_zero(name: str) -> None:
    """Rank two of three by elimination: the reason is that, and not the error of LAPACK."""
    held = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [6.0, 8.0, 10.0, 12.0]])
    record = proved(held, name)
    assert (record.value, record.low, record.high) == (None, None, None)
    assert "exactly zero" in record.because


def test_an_exact_spectrum_lists_the_logarithms_of_a_diagonal_matrix_too() -> None:
    held = np.diag([2.0, 1e-300, 0.0])
    series = {each.name: each for each in rs.analyze(held, spectrum="exact").table.series}
    assert "log10_singular_values" in series
    assert series["log10_singular_values"].values == pytest.approx([math.log10(2), -300.0], abs=1e-12)


# -------------------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize("budget", [0.0, 1e-5, 1e-4, 1e-3, 2e-3, 4e-3, 6e-3, 8e-3, 1e-2])
@pytest.mark.parametrize("mask", ["causal", "bidirectional"])
def test_what_rests_on_an_estimate_is_estimated_whatever_the_budget_allows(mask: str, budget: float) -> None:
    """A condition number needs both ends of the spectrum: it is no better than the worse of them."""
    random = np.random.default_rng(0)
    queries, keys = random.standard_normal((2, 64, 8))
    result = rs.analyze(attention(queries, keys, mask=mask), prove=True, budget=budget)
    found = {record.measure: record for record in result.table}
    if found["sigma_max"].guarantee == "estimated":
        for name in ("effective_rank", "stable_rank", "sv_ratio_1_2", "rank_numerical", "log10_condition"):
            assert found[name].guarantee == "estimated", name
    if found["log10_sigma_min"].guarantee == "estimated":
        assert found["log10_condition"].guarantee == "estimated"


def test_without_a_budget_nothing_is_enclosed_and_everything_says_what_was_not_tried() -> None:
    random = np.random.default_rng(0)
    queries, keys = random.standard_normal((2, 12, 3))
    result = rs.analyze(attention(queries, keys), prove=True, budget=0)
    found = {record.measure: record for record in result.table}
    assert all(record.guarantee != "enclosed" for record in result.table)
    rank = found["rank_exact"]
    assert (rank.value, rank.low, rank.high, rank.guarantee) == (None, 1, 12, "proved")
    assert found["logdet"].guarantee == "estimated"
    for name in ("rank_exact", "rank_numerical", "logdet", "sigma_max", "rank_scores"):
        assert any("not tried" in each for each in found[name].details["tried"]), name


def test_a_plain_analysis_proves_and_encloses_nothing_by_arithmetic() -> None:
    held = np.random.default_rng(0).standard_normal((6, 6))
    for record in rs.analyze(held).table:
        assert record.guarantee == "estimated" or record.measure == "rank_exact"
        assert "tried" not in record.details


@pytest.mark.parametrize("make", [lambda: np.zeros((3, 3)), lambda: np.zeros((2, 5)), lambda: np.zeros((1, 1))])
def test_a_zero_matrix_has_rank_zero_and_no_other_measure_fails(make: Any) -> None:
    result = rs.analyze(make(), prove=True, spectrum="exact")
    found = {record.measure: record for record in result.table}
    assert (found["rank_exact"].value, found["rank_exact"].guarantee) == (0, "proved")
    assert (found["rank_numerical"].low, found["rank_numerical"].high) == (0, 0)
    assert all(
        found[name].value is None for name in ("effective_rank", "stable_rank", "energy_rank_90", "sv_ratio_1_2")
    )


def test_values_that_are_proved_to_be_zero_are_not_estimated() -> None:
    """Of a matrix without an entry rank and largest value are known for certain, as they are for a diagonal one."""
    for held in (np.zeros((2, 2)), np.zeros((3, 4))):
        assert proved(held, "sigma_max").guarantee in ("proved", "enclosed")
        assert proved(held, "rank_numerical").guarantee in ("proved", "enclosed")


def test_the_scores_of_scale_zero_have_rank_zero_and_a_proof_does_not_lose_it() -> None:
    operator = attention(np.ones((4, 2)), np.ones((4, 2)), scale=0)
    plain = rs.analyze(operator, measures=["rank_scores"])["rank_scores"]
    assert isinstance(plain, Record)
    assert plain.value == 0
    assert proved(operator, "rank_scores").value == 0


def test_the_rank_of_scores_is_enclosed_at_most_their_width_and_of_the_factors() -> None:
    record = proved(standard(24, 5), "rank_scores")
    assert (record.value, record.guarantee, record.subject) == (5, "enclosed", "factors")


# --------------------------------------------------------------------------------------------------------- hard inputs


def test_numbers_at_the_end_of_float64_do_not_overflow_in_a_proof() -> None:
    """σ₁ is a float64, twice σ₁ is not: ends are added before they are halved."""
    held = np.array([[1e308, 1.0], [1.0, 1.0]])
    largest = proved(held, "sigma_max")
    assert largest.value == pytest.approx(1e308, rel=1e-12)
    assert proved(held, "rank_numerical", rtol=1e-309).value == 2  # σ₂ is just below 1, and 1e-309·σ₁ about 0.1
    assert proved(held, "rank_numerical", rtol=1e-300).value == 1
    assert between(proved(held, "effective_rank"), 1.0)


@pytest.mark.parametrize("scale", [5e-324, 1e-320, 1e-300, 1e300])
def test_numbers_of_any_size_have_the_ranks_of_their_ratios(scale: float) -> None:
    held = scale * np.array([[2.0, 1.0], [1.0, 3.0]])
    stored = held / scale
    for name in ("effective_rank", "stable_rank", "nuclear_rank", "participation_ratio", "log10_condition"):
        one, two = proved(held, name), proved(stored, name)
        assert one.value == pytest.approx(two.value, rel=1e-12), name
        assert one.guarantee == "enclosed"
    assert proved(held, "rank_exact").value == 2


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
@pytest.mark.parametrize("options", [{"prove": True}, {"spectrum": "exact"}, {"prove": True, "budget": 0}], ids=str)
def test_empty_matrices_have_rank_zero_and_a_proof_does_not_fail(
    shape: tuple[int, int], options: dict[str, Any]
) -> None:
    result = rs.analyze(np.zeros(shape), **options)
    record = result["rank_exact"]
    assert isinstance(record, Record)
    assert (record.value, record.guarantee) == (0, "proved")
    determinant = result["logdet"]
    assert isinstance(determinant, Record)
    assert determinant.value == (0.0 if shape == (0, 0) else None)


def test_of_one_number_everything_is_known() -> None:
    for value in (-0.75, 5e-324, 1e308):
        held = np.array([[value]])
        assert proved(held, "rank_exact").value == 1
        assert proved(held, "logdet").sign == math.copysign(1, value)
        assert proved(held, "sigma_max").value == abs(value)
        assert proved(held, "effective_rank").value == 1.0
    assert proved(np.array([[-0.0]]), "rank_exact").value == 0


def test_negative_zeros_are_zeros() -> None:
    held = np.array([[-0.0, 1.0, -0.0], [2.0, -0.0, 0.0], [-0.0, 0.0, 3.0]])
    for one, two in zip(rs.analyze(held, prove=True).table, rs.analyze(held + 0.0, prove=True).table, strict=True):
        assert (one.value, one.low, one.high, one.sign) == (two.value, two.low, two.high, two.sign), one.measure


def test_of_complex_numbers_nothing_is_proved_by_arithmetic_and_nothing_fails() -> None:
    held = np.array([[1j, 2.0], [3.0, 4.0 - 1j]])
    plain, asked = rs.analyze(held), rs.analyze(held, prove=True, spectrum="exact")
    for one, two in zip(plain.table, asked.table, strict=True):
        assert (one.value, one.low, one.high, one.guarantee) == (two.value, two.low, two.high, two.guarantee)
        assert two.guarantee != "enclosed"


def test_scores_of_a_huge_head_and_of_one_token_are_proved() -> None:
    random = np.random.default_rng(0)
    wide = single(attention(random.standard_normal((3, 4096)), random.standard_normal((3, 4096))))
    assert proved(wide, "rank_exact").value == 3
    assert proved(wide, "rank_scores").value == 3
    one = single(attention(np.ones((1, 4)), np.ones((1, 4))))
    assert [proved(one, name).value for name in ("rank_exact", "rank_numerical", "sigma_max")] == [1, 1, 1.0]


def test_a_softmax_whose_weights_underflow_has_the_rank_of_its_exact_weights() -> None:
    """Off the diagonal e^−1e6: float64 holds the identity; the determinant is 1 − e^−2e6 and less than one."""
    operator = attention([[1e3], [-1e3]], [[1e3], [-1e3]])
    assert np.array_equal(np.asarray(single(operator).matrix), np.eye(2))
    assert proved(operator, "rank_exact").value == 2
    record = proved(operator, "logdet")
    assert record.low is not None
    assert record.high is not None
    assert record.low <= 0.0
    assert record.high >= 0.0


def test_analyses_in_threads_give_what_they_give_alone() -> None:
    """Precisions of 64 to 1024 bits at once: FLINT has one for the whole process."""
    subjects = [
        hilbert(9),
        hilbert(5),
        np.random.default_rng(1).standard_normal((7, 7)),
        standard(12, 2, mask="causal"),
    ]
    subjects += [single(attention(np.ones((4, 1)), np.ones((4, 1)))), standard(10, 1, scale=0.01)]

    def read(subject: Any) -> list[tuple[Any, ...]]:
        result = rs.analyze(subject, spectrum="exact", prove=True, workers=1)
        return [(each.measure, each.value, each.low, each.high, each.guarantee) for each in result.table]

    alone = [read(subject) for subject in subjects]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(read, subjects * 4))
    assert together == alone * 4
    assert flint.ctx.prec == 53, "and the process has its precision back"


def test_many_matrices_with_workers_are_those_with_one() -> None:
    matrices = [np.random.default_rng(seed).standard_normal((5, 5)) for seed in range(6)]
    one, four = (rs.analyze(matrices, prove=True, workers=workers).to_json() for workers in (1, 4))
    assert one == four


# ------------------------------------------------------------------------------------------------- the ledger and bits


def test_a_ledger_charges_what_it_affords_and_notes_what_it_does_not() -> None:
    ledger = Ledger(1.0)
    assert ledger.affords("rank", "first", 0.75)
    assert not ledger.affords("rank", "second", 0.5)
    assert ledger.affords("rank", "third", 0.25)
    assert ledger.spent == 1.0
    assert ledger.tried == {"rank": ["second: not tried, about 0.5 s with 0.25 s of the budget left"]}
    assert Ledger(0.0).affords("rank", "free", 0.0)
    assert not Ledger(math.inf).affords("rank", "huge", 1.0, memory=1e30)


def test_a_product_costs_more_for_more_numbers_and_more_bits() -> None:
    assert product_cost((10, 10), 128) < product_cost((20, 20), 128) < product_cost((20, 20), 1024)
    assert product_cost((10, 20), 64) == product_cost((20, 10), 64)


def test_precision_is_doubled_up_to_its_end() -> None:
    assert list(widening(128))[:3] == [128, 256, 512]
    assert max(widening(192)) <= 2**15 < 2 * max(widening(192))
    assert list(widening(2**15)) == [2**15]
    assert list(widening(2**16)) == []


@pytest.mark.parametrize(("log10", "size"), [(-140.0, 1.0), (-18.0, 1e300), (5.0, 1e6), (300.0, 1.0), (-5.0, 0.0)])
def test_precision_is_enough_for_the_value_that_it_is_to_resolve(log10: float, size: float) -> None:
    bits = precision_for(log10, size)
    assert bits % 64 == 0
    depth = max(math.log2(max(size, 5e-324)) - log10 * math.log2(10), 0.0)
    assert 64 <= bits - depth < 128


@pytest.mark.parametrize(
    "text", ["0.1", "-0.1", "1e-400", "-1e-400", "1e400", "-1e400", "0", "1", "-1", "5e-324", "1e308"]
)
def test_floats_below_and_above_are_so_whatever_underflows_or_overflows(text: str) -> None:
    for bits in (64, 512):
        with precision(bits):
            ball, exact = flint.arb(text), flint.arb(text, flint.arb("1e-420"))
            for each in (ball, exact):
                assert flint.arb(below(each)) <= each.lower()
                assert flint.arb(above(each)) >= each.upper()
            middle = float(ball.mid())
            if math.isfinite(middle):
                assert below(ball) >= math.nextafter(math.nextafter(middle, -math.inf), -math.inf)
                assert above(ball) <= math.nextafter(math.nextafter(middle, math.inf), math.inf)


def test_float64_of_a_ball_agrees_with_mpmath_to_the_last_bit_but_one() -> None:
    """The conversion that `below` and `above` rely on, against another library's."""
    random = np.random.default_rng(0)
    for _ in range(200):
        value = flint.arb(float(random.standard_normal())) / 3 * flint.arb(2) ** int(random.integers(-1070, 1000))
        with mpmath.workdps(60):
            truth = oracles.to_mpmath(value.mid())
            assert mpmath.mpf(below(value)) < truth < mpmath.mpf(above(value))


def test_dyadic_tokens_are_what_the_oracles_take_them_for() -> None:
    """Tests of this campaign lean on scores that are exact; these are, and the operator holds the same."""
    queries, keys = dyadic(np.random.default_rng(0), 6, 4), dyadic(np.random.default_rng(1), 6, 4)
    operator = single(attention(queries, keys, scale=64.0))
    assert np.array_equal(oracles.exact_scores(queries, keys, 64.0), operator.definition.logs)  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------------------ ranks of scores


@pytest.mark.parametrize(("n", "d"), [(12, 3), (9, 9), (5, 8)])
def test_the_small_matrix_of_a_product_has_its_singular_values(n: int, d: int) -> None:
    """And where d exceeds n, or tokens repeat, the product itself is taken."""
    random = np.random.default_rng(n)
    left, right = random.standard_normal((n, d)), random.standard_normal((n + 1, d))
    with precision(256):
        found = core(Pair(left, right))
        assert (found.nrows(), found.ncols()) == ((d, d) if d <= n else (n, n + 1))
        truth = exact_singular_values(rational(left) * rational(right).transpose())
        values = oracles.singular_values(found)
        for one, two in zip(truth, values, strict=False):
            assert abs(one - two) < 1e-60
        assert all(each < 1e-30 for each in truth[len(values) :])
    repeated = np.vstack([left[:1]] * n)
    with precision(256):
        assert core(Pair(repeated, right)).nrows() == n or d == 1


def test_cholesky_gives_the_triangle_of_a_positive_matrix_and_none_of_others() -> None:
    random = np.random.default_rng(1)
    factor = random.standard_normal((6, 4))
    with precision(256):
        gram = balls(factor).transpose() * balls(factor)
        found = cholesky(gram)
        assert (found * found.transpose()).overlaps(gram)
        assert np.allclose(np.array(found.tolist(), dtype=float), np.linalg.cholesky(factor.T @ factor), rtol=1e-12)
        assert cholesky(balls(np.array([[1.0, 2.0], [2.0, 1.0]]))) is None
        assert cholesky(balls(np.ones((2, 2)))) is None


def test_the_rank_of_scores_with_a_bias_is_enclosed_too() -> None:
    operator = standard(24, 3, position="alibi")
    record = proved(operator, "rank_scores")
    logs: Any = operator.definition.logs  # type: ignore[union-attr]
    truth = np.linalg.svd(logs, compute_uv=False)
    assert (record.value, record.guarantee, record.subject) == (24, "enclosed", "stored")
    assert truth[-1] > 1e-6


def test_the_making_of_a_recurrence_is_charged() -> None:
    """n²·d steps of a state in balls: a budget that does not hold them is not overdrawn."""
    made = rs.synthetic(n=64, d=16, mask="causal", kernel="gla")
    found = rs.analyze(made, measures="offdiagonal_rank", prove=True, budget=0.01)["offdiagonal_rank"]
    assert isinstance(found, rs.Record)
    assert found.details["exact_low"] is None
    assert any("not tried" in note for note in found.details["tried"])
    found = rs.analyze(made, measures="offdiagonal_rank", prove=True)["offdiagonal_rank"]
    assert isinstance(found, rs.Record)
    assert found.details["exact_low"] == found.value == 16
