"""Singular values against multiprecision truth: each within its bound, each bound worth stating, every scale exact."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rankscope as rs
from rankscope.analyzer.analyze import chosen
from rankscope.analyzer.spectrum import BACKWARD, DQDS, Spectrum, factor_spectrum, spectrum
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.operators import Mean, Operator, Product
from rankscope.errors import GuaranteeError
from tests.oracles import (
    DIGITS_60,
    EPS,
    SEES,
    Float64,
    away,
    balls,
    dyadic,
    exact_scores,
    full_mantissas,
    hilbert,
    normalised,
    precision,
    rational,
    seen_by,
    singular_values,
    softmax,
)

HEAD = 4
SEEDS = st.integers(0, 2**32 - 1)


def check_values(found: Spectrum, truth: Any, nullity: int = 0) -> None:
    """|value − truth| ≤ error for every singular value of a matrix of balls (inside a precision).

    No ball resolves a zero: a value that is given as exactly zero must be one of the `nullity` that are.
    """
    truths = singular_values(truth)
    assert len(found.values) == len(found.error) == len(truths)
    assert (np.diff(found.values) <= 0).all()
    assert found.exponent == 0
    zeros = int(np.count_nonzero((found.values == 0) & (found.error == 0)))
    assert zeros <= nullity, "a value is said to be exactly zero that is not"
    kept = len(truths) - zeros
    for value, error, true in zip(found.values[:kept], found.error[:kept], truths[:kept], strict=True):
        assert away(value, true) <= error or (value == error == 0 and true.contains(0)), (value, error, true)


def check_not_vacuous(found: Spectrum) -> None:
    assert (found.error <= 100 * math.sqrt(max(found.shape)) * EPS * found.largest).all()


def attend(seed: int, size: int, mask: str, scale: float, dtype: str = "float64") -> tuple[Operator, Any]:
    """Attention on dyadic tokens, and the exact softmax of its scores (inside a precision)."""
    queries, keys = dyadic(np.random.default_rng(seed), 2, size, HEAD)
    truth = softmax(exact_scores(queries, keys, scale), seen_by(SEES[mask], size, size))
    return single(attention(queries, keys, mask=mask, scale=scale, dtype=dtype)), truth


def check_scores(seed: int, size: int, mask: str, scale: float) -> None:
    with precision(2 * DIGITS_60):
        operator, truth = attend(seed, size, mask, scale)
        found = spectrum(operator)
        check_values(found, truth)
        held = np.asarray(operator.matrix)
        check_values(rs.spectrum(held), balls(held), nullity=size - rational(held).rank())
        if scale <= 1.0:
            check_not_vacuous(found)


@settings(max_examples=150)
@given(SEEDS, st.integers(1, 10), st.sampled_from(sorted(SEES)), st.sampled_from([0.25, 1.0, 4.0, 16.0, 64.0, 256.0]))
def test_values_of_scores_and_of_stored_numbers_lie_within_their_error(
    seed: int, size: int, mask: str, scale: float
) -> None:
    check_scores(seed, size, mask, scale)


@pytest.mark.parametrize(
    ("seed", "size", "mask", "scale"),
    [
        (9114, 4, "window:2", 64.0),
        (33512, 10, "bidirectional", 64.0),
        (59835, 7, "window:2", 16.0),
        (2925, 4, "causal", 16.0),
        (1553, 7, "window:2", 16.0),
    ],
)
def test_values_where_lapack_errs_by_tens_of_roundings(seed: int, size: int, mask: str, scale: float) -> None:
    """Attention with nearly equal singular values: the values-only algorithm (dqds, whose own tolerance is 100·eps) is
    off by 20 to 46 eps·σ₁ on 3 of 1000 such matrices. The worst of 63 000.
    """
    check_scores(seed, size, mask, scale)


@pytest.mark.deep
@settings(max_examples=3000)
@given(SEEDS, st.integers(1, 16), st.sampled_from(sorted(SEES)), st.sampled_from([0.25, 1.0, 4.0, 16.0, 64.0, 256.0]))
def test_many_values_lie_within_their_error(seed: int, size: int, mask: str, scale: float) -> None:
    check_scores(seed, size, mask, scale)


@given(SEEDS, st.integers(1, 8), st.sampled_from(["float32", "float16", "bfloat16"]), st.sampled_from([1.0, 16.0]))
def test_values_of_scores_stored_in_fewer_bits_lie_within_their_error(
    seed: int, size: int, dtype: str, scale: float
) -> None:
    """The bound of the subject "scores" holds what rounding to the storage type has changed."""
    with precision(DIGITS_60):
        operator, truth = attend(seed, size, "causal", scale, dtype)
        check_values(spectrum(operator), truth)


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 9), st.sampled_from(sorted(SEES)), st.floats(0.1, 300.0))
def test_values_of_scores_of_many_digits_lie_within_their_error(seed: int, size: int, mask: str, scale: float) -> None:
    queries, keys = full_mantissas(np.random.default_rng(seed), size, scale)
    operator = single(attention(queries, keys, mask=mask))
    distinct = min(len(np.unique(queries)), size) if mask == "bidirectional" else size
    with precision(2 * DIGITS_60):
        truth = softmax(exact_scores(queries, keys, 1.0), seen_by(SEES[mask], size, size))
        check_values(spectrum(operator), truth, nullity=size - distinct)


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 9), st.integers(1, 9))
def test_values_of_signed_rectangles_lie_within_their_error(seed: int, rows: int, columns: int) -> None:
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((rows, columns)) * 10.0 ** random.integers(-8, 8, columns)
    found = rs.spectrum(matrix)
    with precision(DIGITS_60):
        check_values(found, balls(matrix))
    check_not_vacuous(found)


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_values_of_factored_attention_lie_within_their_error(seed: int, rows: int, columns: int, terms: int) -> None:
    random = np.random.default_rng(seed)
    queries = np.abs(dyadic(random, rows, terms)) + 0.125
    keys = np.abs(dyadic(random, columns, terms)) + 0.125
    operator = single(attention(queries, keys, kernel="linear:identity"))
    found = spectrum(operator)
    truth = normalised(queries, keys, np.ones((rows, columns), dtype=bool))
    with precision(DIGITS_60):
        check_values(found, balls(truth), nullity=min(rows, columns) - truth.rank())
    assert not found.values[terms:].any(), "the features bound the rank"
    assert "QR" in found.method


@given(SEEDS, st.integers(2, 6), st.sampled_from([0.25, 1.0, 8.0]), st.booleans())
def test_values_of_products_and_means_lie_within_their_error(seed: int, size: int, scale: float, mean: bool) -> None:
    with precision(2 * DIGITS_60):
        (first, one), (second, two) = attend(seed, size, "causal", scale), attend(seed + 1, size, "anticausal", scale)
        composed: Operator = Mean((first, second)) if mean else Product((first, second))
        check_values(spectrum(composed), (one + two) / 2 if mean else one * two)


@pytest.mark.parametrize("size", [2, 5, 9])
def test_values_of_notorious_matrices_lie_within_their_error(size: int) -> None:
    """Hilbert, Lotkin, Kahan and a Jordan block: LAPACK is backward stable on each."""
    lotkin = hilbert(size)
    lotkin[0] = 1.0
    sine, cosine = math.sin(1.2), math.cos(1.2)
    kahan = np.diag(sine ** np.arange(size)) @ (np.eye(size) - cosine * np.triu(np.ones((size, size)), 1))
    jordan = np.eye(size) * 1e-3 + np.eye(size, k=1)
    for matrix in (hilbert(size), lotkin, kahan, jordan):
        found = rs.spectrum(matrix)
        with precision(4 * DIGITS_60):
            check_values(found, balls(matrix))
        check_not_vacuous(found)


def test_a_diagonal_matrix_is_its_own_spectrum_exactly() -> None:
    found = rs.spectrum(np.diag([3.0, -7.0, 0.0, 1e-300]))
    assert found.values.tolist() == [7.0, 3.0, 1e-300, 0.0]
    assert found.error.tolist() == [0.0] * 4
    assert found.guarantee == "proved"


def test_an_exact_spectrum_keeps_values_that_lie_far_apart() -> None:
    """1e-200 is 360 orders of magnitude below 1e160 and no zero: what is called proved must be true."""
    found = rs.spectrum(np.diag([1e160, 1e-200]))
    with precision(DIGITS_60):
        check_values(found, balls(np.diag([1e160, 1e-200])))
    assert rs.rank_numerical(np.diag([1e160, 1e-200]), rtol=0.0).value == 2


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_an_empty_matrix_has_no_values(shape: tuple[int, int]) -> None:
    found = rs.spectrum(np.zeros(shape))
    assert (len(found.values), found.largest, found.frobenius, found.complete) == (0, 0.0, 0.0, True)


SCALES = [-1000, -999, -901, -900, -899, -538, -1, 0, 1, 537, 900, 999, 1000]


@pytest.mark.parametrize("exponent", SCALES)
@pytest.mark.parametrize("name", ["dense", "triangle", "diagonal"])
def test_values_scale_exactly_by_powers_of_two(exponent: int, name: str) -> None:
    """numerics.md A5: values times 2^k, bit by bit, wherever float64 holds them."""
    random = np.random.default_rng(3).random((4, 4)) + 0.5
    matrix = {"dense": random, "triangle": np.tril(random), "diagonal": np.diag(random[0])}[name]
    plain, scaled = rs.singular_values(matrix), rs.singular_values(matrix * 2.0**exponent)
    assert np.array_equal(scaled, plain * 2.0**exponent)


@settings(max_examples=60)
@given(SEEDS, st.integers(-1000, 1000))
def test_the_largest_value_scales_exactly_by_powers_of_two(seed: int, exponent: int) -> None:
    matrix = np.random.default_rng(seed).random((3, 3)) + 0.5
    plain, scaled = rs.sigma_max(matrix), rs.sigma_max(matrix * 2.0**exponent)
    assert plain.value is not None
    assert scaled.value == plain.value * 2.0**exponent, scaled.because


@pytest.mark.parametrize("entry", [1e308, 1.7e308, 5e-324, 1e-310, 2.0**-1022])
def test_the_ends_of_float64_neither_overflow_nor_vanish(entry: float) -> None:
    """numerics.md A5: a rank-one matrix of extreme entries, whose σ₁ = 12·entry may not be a float64."""
    matrix = np.full((12, 12), entry)
    found = rs.spectrum(matrix)
    mantissa, exponent = math.frexp(entry)
    assert abs(found.largest - math.ldexp(12 * mantissa, exponent - found.exponent)) <= found.error[0]
    assert np.isfinite(found.values).all()
    assert rs.rank_numerical(matrix).value == 1
    assert rs.stable_rank(matrix).value == pytest.approx(1.0, rel=2 * 12 * EPS, abs=0)
    rs.analyze(matrix, measures=["all"]).to_json()


def test_complex_numbers_at_the_end_of_float64_do_not_overflow() -> None:
    """|1.7e308·(1 + i)| is beyond float64, the entries are not."""
    found = rs.spectrum(np.full((2, 2), 1.7e308 * (1 + 1j)))
    assert np.isfinite(found.values).all()
    assert rs.rank_numerical(np.full((2, 2), 1.7e308 * (1 + 1j))).value == 1


def test_complex_values_are_those_of_the_real_matrix_of_twice_the_size() -> None:
    """Each singular value of A + iB stands twice in [[A, −B], [B, A]]."""
    real, imaginary = np.random.default_rng(4).standard_normal((2, 4, 4))
    found = rs.spectrum(real + 1j * imaginary)
    with precision(DIGITS_60):
        truths = singular_values(balls(np.block([[real, -imaginary], [imaginary, real]])))
        assert all(away(found.values[i // 2], true) <= found.error[0] for i, true in enumerate(truths))
    assert rs.singular_values(np.eye(2) * (1 + 1j)) == pytest.approx([math.sqrt(2)] * 2, rel=4 * EPS, abs=0)


def test_the_bound_is_the_one_that_the_method_states() -> None:
    matrix = np.random.default_rng(5).random((7, 4)) + 1.0
    found = rs.spectrum(matrix)
    assert (found.error == (BACKWARD * math.sqrt(7) * found.values[0] + DQDS * found.values) * EPS).all()
    assert (found.guarantee, found.complete, found.tail) == ("estimated", True, 0.0)
    assert "gesdd" in found.method


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 8), st.integers(1, 8), st.integers(1, 5))
def test_a_product_of_factors_has_the_values_of_the_product(seed: int, rows: int, columns: int, terms: int) -> None:
    random = np.random.default_rng(seed)
    left, right = random.standard_normal((rows, terms)), random.standard_normal((columns, terms))
    values, bounds, exponent = factor_spectrum(left, right)
    values, bounds = np.ldexp(values, exponent), np.ldexp(bounds, exponent)
    with precision(2 * DIGITS_60):
        truths = singular_values(balls(left) * balls(right).transpose())
        assert all(away(value, true) <= bound for value, bound, true in zip(values, bounds, truths, strict=False))
        assert all(float(true.abs_upper()) <= bounds.min() for true in truths[len(values) :])
    assert bounds.max() <= 200 * math.sqrt(max(rows, columns)) * EPS * np.linalg.norm(left) * np.linalg.norm(right)


def test_lapack_without_convergence_is_an_error_with_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(*_: Any, **__: Any) -> Float64:
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", diverges)
    with pytest.raises(GuaranteeError, match="RS401"):
        rs.spectrum(np.ones((3, 3)))


def test_one_values_only_decomposition_serves_every_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[tuple[int, ...], bool]] = []
    real: Any = np.linalg.svd

    def counted(matrix: Float64, *arguments: Any, compute_uv: bool = True, **options: Any) -> Any:
        calls.append((np.shape(matrix), compute_uv))
        return real(matrix, *arguments, compute_uv=compute_uv, **options)

    monkeypatch.setattr(np.linalg, "svd", counted)
    for mask in ("bidirectional", "causal"):
        calls.clear()
        default = [each.name for each in chosen(("all",)) if each.name != "offdiagonal_rank"]  # of blocks
        rs.analyze(single(attention(*np.random.default_rng(0).standard_normal((2, 9, 4)), mask=mask)), measures=default)
        assert calls.count(((9, 9), False)) == 1
        assert all(not compute_uv for _, compute_uv in calls)
        assert sum(shape != (4, 4) for shape, _ in calls) == 1, "the other one is of the scores, d × d"
