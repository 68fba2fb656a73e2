"""Ranks: every rule against the library that it is named after, every formula against plain Python, every chain."""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rankscope as rs
from rankscope.analyzer.rank import RULES
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.errors import RankscopeError
from rankscope.records import Record
from tests import oracles
from tests.oracles import (
    DIGITS_60,
    EPS,
    SEES,
    UNIT,
    Float64,
    balls,
    dyadic,
    exact_scores,
    hilbert,
    precision,
    seen_by,
    singular_values,
    softmax,
)

SEEDS = st.integers(0, 2**32 - 1)
SPECTRAL = ["effective_rank", "effective_rank_energy", "stable_rank", "nuclear_rank", "participation_ratio"]


def graded(seed: int, rows: int, columns: int) -> Float64:
    """Random numbers in columns of very different size: singular values on both sides of every tolerance."""
    random = np.random.default_rng(seed)
    sizes = 10.0 ** random.uniform(-17, 0, min(rows, columns))
    left, right = random.standard_normal((rows, len(sizes))), random.standard_normal((columns, len(sizes)))
    return np.asarray((left * sizes) @ right.T)


def decided(found: Record, counted: int) -> None:
    """A point is what the library counts; an interval contains it."""
    assert found.low is not None
    assert found.high is not None
    assert found.low <= counted <= found.high, (found.low, counted, found.high)
    assert found.value is None or found.value == counted
    assert (found.value is None) == (found.low < found.high)
    assert found.value is not None or "tolerance lies inside the error" in found.because


def matlab(matrix: Float64) -> int:
    """MATLAB's `rank`: sum(svd(A) > max(size(A)) * eps(norm(A))), where eps(x) is the spacing at x."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return int((values > max(matrix.shape) * float(np.spacing(values[0]))).sum())


def numerical_recipes(matrix: Float64) -> int:
    """numpy.linalg.matrix_rank, Notes: tol = S.max() * eps/2 * sqrt(m + n + 1)."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return int((values > values[0] * (EPS / 2.0) * math.sqrt(sum(matrix.shape) + 1.0)).sum())


TOLERANCES: dict[str, Callable[[float, int, int], float]] = {
    "numpy": lambda largest, m, n: largest * max(m, n) * EPS,
    "torch": lambda largest, m, n: largest * (max(m, n) * torch.finfo(torch.float64).eps),
    "matlab": lambda largest, m, n: max(m, n) * math.ulp(largest),
    "numerical-recipes": lambda largest, m, n: largest * EPS / 2.0 * math.sqrt(m + n + 1.0),
}

LIBRARIES: dict[str, Any] = {
    "numpy": lambda matrix: int(np.linalg.matrix_rank(matrix)),
    "torch": lambda matrix: int(torch.linalg.matrix_rank(torch.from_numpy(matrix.copy()))),
    "matlab": matlab,
    "numerical-recipes": numerical_recipes,
}


@pytest.mark.parametrize("rule", LIBRARIES)
@settings(max_examples=100)
@given(SEEDS, st.integers(1, 24), st.integers(1, 24))
def test_rules_count_what_their_library_counts(rule: str, seed: int, rows: int, columns: int) -> None:
    matrix = graded(seed, rows, columns)
    found = rs.rank_numerical(matrix, rule=rule)
    decided(found, LIBRARIES[rule](matrix))
    largest = float(np.linalg.svd(matrix, compute_uv=False)[0])  # of a wide matrix: by another route than ours
    assert found.details["tolerance"] == pytest.approx(TOLERANCES[rule](largest, rows, columns), rel=100 * EPS, abs=0)


@pytest.mark.deep
@pytest.mark.parametrize("rule", LIBRARIES)
@settings(max_examples=1500)
@given(SEEDS, st.integers(1, 40), st.integers(1, 40))
def test_rules_count_what_their_library_counts_on_many(rule: str, seed: int, rows: int, columns: int) -> None:
    matrix = graded(seed, rows, columns)
    decided(rs.rank_numerical(matrix, rule=rule), LIBRARIES[rule](matrix))


@settings(max_examples=100)
@given(SEEDS, st.integers(1, 24), st.integers(1, 24))
def test_the_rule_of_torch_in_float32_counts_what_torch_counts_in_float32(seed: int, rows: int, columns: int) -> None:
    """Where no singular value lies within LAPACK's float32 error (a few n·2⁻²³·σ₁) of the tolerance."""
    matrix = graded(seed, rows, columns).astype(np.float32)
    found = rs.rank_numerical(matrix.astype(np.float64), rule="torch-f32")
    values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    tolerance = max(matrix.shape) * 2.0**-23 * values[0]
    backward = 8 * math.sqrt(max(matrix.shape)) * 2.0**-23 * values[0]
    if (np.abs(values - tolerance) > backward).all():
        decided(found, int(torch.linalg.matrix_rank(torch.from_numpy(matrix))))
    decided(found, int((values > tolerance).sum()))


def test_matlab_differs_from_numpy_where_sigma_is_no_power_of_two() -> None:
    """science.md A2: 3·diag(1, 1e-3, 8e-16, 0): eps(3) = 2⁻⁵¹, so MATLAB's tolerance is 4·2⁻⁵¹ and numpy's 12·2⁻⁵²."""
    matrix = 3 * np.diag([1.0, 1e-3, 8e-16, 0.0])
    assert (rs.rank_numerical(matrix, rule="matlab").value, matlab(matrix)) == (3, 3)
    assert rs.rank_numerical(matrix, rule="numpy").value == np.linalg.matrix_rank(matrix) == 2


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("mask", ["causal", "bidirectional"])
def test_the_storage_rule_is_its_formula(dtype: str, mask: str) -> None:
    """δ = u·‖A‖_F + n·η + the error of the values, with u and η of the type (numerics.md 4.4)."""
    queries, keys = np.random.default_rng(0).standard_normal((2, 40, 8))
    operator = single(attention(queries, keys, mask=mask, scale=2.0, dtype=dtype))
    found = rs.rank_numerical(operator)
    matrix = np.asarray(operator.matrix)
    unit, tiny = {
        "float32": (2.0**-24, 2.0**-149),
        "float16": (2.0**-11, 2.0**-24),
        "bfloat16": (2.0**-8, 2.0**-133),
    }[dtype]
    frobenius = math.sqrt(math.fsum((matrix**2).ravel()))
    error = float(rs.spectrum(matrix).error.max())
    assert found.details["rule"] == "storage"
    assert math.isclose(found.details["tolerance"], unit * frobenius + 40 * tiny + error, rel_tol=40 * 40 * UNIT)
    noise = 2 * math.sqrt(40) * frobenius / 40 * unit
    assert math.isclose(found.details["expected_noise"], noise, rel_tol=40 * 40 * UNIT)
    values = np.linalg.svd(matrix, compute_uv=False)
    decided(found, int((values > found.details["tolerance"]).sum()))


@settings(max_examples=40)
@given(SEEDS, st.sampled_from(["float32", "float16", "bfloat16"]), st.sampled_from(["causal", "bidirectional"]))
def test_the_storage_rule_never_counts_more_than_the_unrounded_matrix_has(seed: int, dtype: str, mask: str) -> None:
    """Weyl: a value above δ proves a non-zero value of the matrix before rounding; here its exact rank is known."""
    queries, keys = np.random.default_rng(seed).standard_normal((2, 30, 4))
    keys[15:] = keys[:15]
    queries[15:] = queries[:15]
    operator = single(attention(queries, keys, mask=mask, dtype=dtype))
    exact = 30 if mask == "causal" else 15
    found = rs.rank_numerical(operator)
    assert found.high is not None
    assert found.high <= exact


def test_the_default_rule_follows_the_storage() -> None:
    matrix = np.random.default_rng(0).random((6, 6))
    assert rs.rank_numerical(matrix).details["rule"] == "numpy"
    for dtype in (np.float32, np.float16):
        assert rs.rank_numerical(matrix.astype(dtype)).details["rule"] == "storage"
    assert rs.rank_numerical(matrix.astype(np.float32), rule="numpy").details["rule"] == "numpy"
    assert rs.rank_numerical(matrix, rtol=1e-3).details["rule"] == "rtol"


@settings(max_examples=100)
@given(SEEDS, st.integers(1, 12), st.just(0.0) | st.floats(1e-200, 0.9))
def test_a_relative_tolerance_is_relative_to_the_largest_value(seed: int, size: int, rtol: float) -> None:
    matrix = graded(seed, size, size)
    found = rs.rank_numerical(matrix, rtol=rtol)
    if rtol > 0:
        decided(found, int(np.linalg.matrix_rank(matrix, rtol=rtol)))
    largest = float(np.linalg.svd(matrix, compute_uv=False)[0])
    assert found.details["tolerance"] == pytest.approx(rtol * largest, rel=128 * EPS, abs=0)


@pytest.mark.parametrize("rtol", [-1e-3, 1.0, 2.0, math.nan, math.inf])
def test_a_relative_tolerance_outside_zero_to_one_is_refused(rtol: float) -> None:
    with pytest.raises(RankscopeError, match="RS002"):
        rs.analyze(np.eye(2), rtol=rtol)
    with pytest.raises(RankscopeError, match="RS002"):
        rs.rank_numerical(np.eye(2), rtol=rtol)


def test_an_unknown_rule_is_refused_with_the_nearest() -> None:
    for ask in (lambda: rs.rank_numerical(np.eye(2), rule="nunpy"), lambda: rs.analyze(np.eye(2), rule="nunpy")):
        with pytest.raises(RankscopeError, match="'numpy'") as caught:
            ask()
        assert caught.value.code == "RS001"


def test_a_rule_and_a_relative_tolerance_exclude_each_other() -> None:
    with pytest.raises(RankscopeError) as caught:
        rs.analyze(np.eye(2), rule="numpy", rtol=1e-3)
    assert caught.value.code == "RS003"


@pytest.mark.parametrize("exponent", range(17))
@pytest.mark.parametrize("side", [-1, 1])
def test_a_value_planted_at_the_tolerance_is_decided_rightly_or_not_at_all(exponent: int, side: int) -> None:
    """numerics.md promise 7: σ = τ(1 ± 10^−k), in a dense matrix, with its exact spectrum from balls."""
    random = np.random.default_rng(exponent)
    left, right = (np.linalg.qr(random.standard_normal((12, 12)))[0] for _ in range(2))
    rtol = 1e-6
    values = np.r_[np.linspace(1.0, 2.0, 11)[::-1], 2.0 * rtol * (1 + side * 10.0**-exponent)]
    matrix = (left * values) @ right.T
    found = rs.rank_numerical(matrix, rtol=rtol)
    with precision(DIGITS_60):
        truths = singular_values(balls(matrix))
        counted = sum(bool(true > oracles.ball(rtol) * truths[0]) for true in truths)
    decided(found, counted)
    if exponent <= 6:
        assert found.value == 11 + (side > 0), "the distance is millions of times the error"
    if exponent >= 12:
        assert found.value is None, "the distance, 2e-18, is below the error"


def test_the_exact_spectrum_of_a_diagonal_is_always_decided() -> None:
    for k, side in itertools.product(range(1, 15), (-1, 1)):
        matrix = np.diag([1.0, 1e-8 * (1 + side * 10.0**-k)])
        found = rs.rank_numerical(matrix, rtol=1e-8)
        assert found.value == 1 + (matrix[1, 1] > 1e-8)


@settings(max_examples=100)
@given(
    SEEDS, st.integers(1, 8), st.sampled_from(sorted(SEES)), st.sampled_from([1.0, 16.0, 64.0]), st.floats(1e-16, 0.5)
)
def test_the_interval_holds_the_count_of_the_exact_softmax(
    seed: int, size: int, mask: str, scale: float, rtol: float
) -> None:
    queries, keys = dyadic(np.random.default_rng(seed), 2, size, 4)
    found = rs.rank_numerical(single(attention(queries, keys, mask=mask, scale=scale)), rtol=rtol)
    with precision(2 * DIGITS_60):
        truths = singular_values(softmax(exact_scores(queries, keys, scale), seen_by(SEES[mask], size, size)))
        tolerance = oracles.ball(rtol) * truths[0]
        surely, possibly = (
            sum(bool(test(true)) for true in truths)
            for test in (lambda true: true > tolerance, lambda true: not true <= tolerance)
        )
    assert found.low is not None
    assert found.high is not None
    assert found.low <= possibly
    assert surely <= found.high


@settings(max_examples=60)
@given(SEEDS, st.integers(2, 20))
def test_details_hold_the_neighbours_of_the_tolerance_and_the_ladder(seed: int, size: int) -> None:
    matrix = graded(seed, size, size)
    values = np.linalg.svd(matrix, compute_uv=False)
    details = rs.rank_numerical(matrix, rtol=1e-8).details
    above, below = values[values > details["tolerance"]], values[values <= details["tolerance"]]
    assert details["sigma_above"] == above[-1]
    error = rs.spectrum(matrix).error[len(above) :]
    if len(below) and 0 < below[0] <= error[0]:  # below its own error: only a bound is known
        assert details["sigma_below"] is details["gap"] is None
        assert details["sigma_below_high"] == below[0] + error[0]
        last = above[-1] - rs.spectrum(matrix).error[len(above) - 1]
        assert details["gap_low"] == pytest.approx(last / details["sigma_below_high"], rel=8 * EPS)
    else:
        assert details["sigma_below"] == (below[0] if len(below) else None)
        assert details["gap"] == (above[-1] / below[0] if len(below) and below[0] else None)
    steps = {"n·eps": size * EPS, "1e-10": 1e-10, "1e-06": 1e-6, "1e-03": 1e-3, "1e-02": 1e-2}
    assert details["ladder"] == {name: int((values > step * values[0]).sum()) for name, step in steps.items()}


def test_the_zero_matrix_and_empty_ones_have_rank_zero() -> None:
    for matrix in (np.zeros((3, 3)), np.zeros((0, 0)), np.zeros((0, 4)), np.zeros((4, 0))):
        for rule in RULES:
            found = rs.rank_numerical(matrix, rule=rule.name)
            assert (found.value, found.low, found.high) == (0, 0, 0), rule.name
        assert rs.rank_exact(matrix).value == 0
        for name in SPECTRAL:
            record = getattr(rs, name)(matrix)
            assert record.value is None
            assert record.because == ("empty" if not matrix.size else "the matrix is zero")


# ------------------------------------------------------------------------------------------------------- the formulas


def spectra(seed: int) -> list[float]:
    """Positive spectra of very different shapes, in descending order."""
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 30))
    shapes = [random.random(size), 10.0 ** random.uniform(-12, 0, size), np.ones(size), 0.5 ** np.arange(size)]
    return sorted((shapes[seed % 4] + 1e-300).tolist(), reverse=True)


@settings(max_examples=200)
@given(SEEDS)
def test_formulas_are_their_definitions(seed: int) -> None:
    """The spectrum of a diagonal matrix is exact, so that only the formula is compared, to n roundings."""
    values = spectra(seed)
    matrix = np.diag(values)
    bound = 8 * (len(values) + 4) * UNIT
    expected = {
        "effective_rank": oracles.effective_rank(values),
        "effective_rank_energy": oracles.effective_rank(values, power=2),
        "stable_rank": oracles.stable_rank(values),
        "nuclear_rank": oracles.nuclear_rank(values),
        "participation_ratio": oracles.participation_ratio(values),
    }
    for name, truth in expected.items():
        record = getattr(rs, name)(matrix)
        assert record.value == pytest.approx(truth, rel=bound * (1 + math.log(len(values))), abs=0), name


@settings(max_examples=200)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_the_energy_rank_is_the_least_that_reaches_nine_tenths(values: list[int]) -> None:
    """Integers make σ² exact; where 90 % is met exactly, float64 may decide either way and is not asked."""
    squares = [Fraction(value) ** 2 for value in sorted(values, reverse=True)]
    wanted = Fraction(9, 10) * sum(squares)
    partial = list(itertools.accumulate(squares))
    found = rs.energy_rank_90(np.diag([float(value) for value in values])).value
    truth = oracles.energy_rank([Fraction(value) for value in values], Fraction(9, 10))
    if all(total != wanted for total in partial):
        assert found == truth
    else:
        assert found in (truth, truth + 1)


def test_the_energy_rank_of_the_identity_is_nine_tenths_of_it() -> None:
    assert [rs.energy_rank_90(np.eye(n)).value for n in range(1, 41)] == [math.ceil(9 * n / 10) for n in range(1, 41)]


@settings(max_examples=300)
@given(SEEDS)
def test_stable_nuclear_participation_effective_and_exact_rank_are_a_chain(seed: int) -> None:
    """Σσ² ≤ σ₁Σσ; Rényi-2 ≤ Shannon ≤ Hartley (science.md part C), up to the rounding of the sums."""
    values = spectra(seed)
    matrix = np.diag(values)
    chain = [
        getattr(rs, name)(matrix).value
        for name in ("stable_rank", "nuclear_rank", "participation_ratio", "effective_rank")
    ]
    chain.append(rs.rank_exact(matrix).value)
    slack = 1 + 8 * (len(values) + 4) * UNIT * (1 + math.log(len(values)))
    assert all(a <= b * slack for a, b in itertools.pairwise(chain)), chain
    assert chain[0] >= 1 / slack


@settings(max_examples=40)
@given(SEEDS, st.integers(1, 5), st.integers(1, 6))
def test_ranks_of_kronecker_products_multiply(seed: int, one: int, two: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.standard_normal((one, one)), random.standard_normal((two, two))
    for name in SPECTRAL:
        measure = getattr(rs, name)
        product = measure(np.kron(a, b)).value
        # σ_i of each is within 2√n·eps·σ₁, and p ln p of n values passes at most n·ln(n) times that on
        bound = 64 * one * two * EPS * (1 + math.log(one * two) ** 2)
        assert product == pytest.approx(measure(a).value * measure(b).value, rel=bound, abs=0), name


@settings(max_examples=40)
@given(SEEDS, st.integers(1, 10), st.integers(-1000, 1000))
def test_ranks_do_not_change_when_the_matrix_is_scaled_by_a_power_of_two(seed: int, size: int, exponent: int) -> None:
    matrix = np.random.default_rng(seed).standard_normal((size, size))
    scaled = matrix * 2.0**exponent
    for name in (*SPECTRAL, "energy_rank_90", "rank_exact"):
        assert getattr(rs, name)(scaled).value == getattr(rs, name)(matrix).value, name
    for rule in RULES:
        one, two = (rs.rank_numerical(each, rule=rule.name) for each in (matrix, scaled))
        assert (one.value, one.low, one.high, one.details["ladder"], one.details["gap"]) == (
            two.value,
            two.low,
            two.high,
            two.details["ladder"],
            two.details["gap"],
        ), rule.name


@settings(max_examples=30)
@given(SEEDS, st.integers(2, 10), st.sampled_from(sorted(SEES)))
def test_transposing_reversing_and_permuting_change_no_rank(seed: int, size: int, mask: str) -> None:
    random = np.random.default_rng(seed)
    matrix = random.random((size, size)) * seen_by(SEES[mask], size, size)
    order = random.permutation(size)
    for other in (matrix.T, matrix[::-1, ::-1], matrix[order], matrix[:, order]):
        a, b = rs.rank_numerical(matrix), rs.rank_numerical(other)
        assert a.low is not None
        assert b.high is not None
        assert b.low is not None
        assert a.high is not None
        assert a.low <= b.high
        assert b.low <= a.high
        for name in SPECTRAL:
            first, second = getattr(rs, name)(matrix).value, getattr(rs, name)(other).value
            assert first == pytest.approx(second, rel=256 * size * EPS, abs=0), name
    assert rs.rank_exact(matrix).value == rs.rank_exact(matrix.T).value == rs.rank_exact(matrix[::-1, ::-1]).value


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 12), st.integers(1, 12), st.integers(1, 6))
def test_the_rank_of_the_scores_is_that_of_the_product(seed: int, n: int, m: int, d: int) -> None:
    random = np.random.default_rng(seed)
    queries, keys = random.standard_normal((n, d)), random.standard_normal((m, d))
    found = rs.rank_scores(single(attention(queries, keys)))
    assert found.subject == "factors"
    assert found.low is not None
    assert found.high is not None
    assert found.low <= min(n, m, d) <= found.high or found.high == min(n, m, d)
    assert found.value in (None, min(n, m, d)), "generic factors have full rank"


def test_the_rank_of_the_scores_never_exceeds_the_head_size() -> None:
    queries, keys = np.random.default_rng(0).standard_normal((2, 50, 3))
    found = rs.rank_scores(single(attention(queries, keys, mask="causal")))
    assert (found.value, found.high) == (3, 3)
    assert rs.rank_scores(single(attention(queries[:, :2] @ np.ones((2, 3)), keys))).value == 1
    assert rs.rank_scores(np.eye(3)).because == "the queries and keys are not given"
    assert "features" in rs.rank_scores(single(attention(queries, keys, kernel="linear"))).because


@pytest.mark.parametrize("size", [8, 12, 20])
def test_hilbert_is_full_rank_in_exact_arithmetic_and_not_in_numbers(size: int) -> None:
    exact, counted = rs.rank_exact(hilbert(size)), rs.rank_numerical(hilbert(size))
    assert (exact.value, exact.low, exact.high) == (None, 1, size)
    decided(counted, int(np.linalg.matrix_rank(hilbert(size))))


@pytest.mark.parametrize(
    ("matrix", "rank", "word"),
    [
        (np.tril(np.ones((3, 3))), 3, "triangular with no zero on its diagonal"),
        (np.diag([1.0, 0.0, 2.0]), 2, "at most 2"),
        (np.ones((3, 4)), 1, "distinct rows"),
        (np.zeros((2, 2)), 0, ""),
        (np.array([[0.0, 3.0]]), 1, "1 × 2"),
    ],
)
def test_exact_ranks_that_structure_decides(matrix: Float64, rank: int, word: str) -> None:
    found = rs.rank_exact(matrix)
    assert (found.value, found.low, found.high, found.guarantee) == (rank, rank, rank, "proved")
    assert word in found.because


def test_an_exact_rank_that_structure_does_not_decide_keeps_its_bounds() -> None:
    found = rs.rank_exact(np.random.default_rng(0).random((3, 5)))
    assert (found.value, found.low, found.high, found.guarantee) == (None, 1, 3, "proved")
    assert "3 × 5" in found.because


def test_full_rank_is_never_proved_for_a_mean_that_is_singular() -> None:
    """diag(−1, −1) and diag(1, 3) average to diag(0, 1)."""
    found = rs.rank_exact(rs.Mean((single(np.diag([-1.0, -1.0])), single(np.diag([1.0, 3.0])))))
    assert found.low is not None
    assert found.low <= 1
    assert found.value in (None, 1)
