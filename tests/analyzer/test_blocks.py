"""Ranks of the blocks beside the diagonal, against a decomposition of every block; and of what a head puts out.

Brute force decomposes A[k:, :k] and A[:k, k:] for every k with numpy and counts above the tolerance that the record
states. Exact ranks come from flint's rationals.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

import flint
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import rankscope as rs
from rankscope.attention.build import attention, from_logits
from rankscope.attention.existing import single
from rankscope.attention.operators import Concatenation, Dense, Factored, Mean, Operator, Product
from rankscope.records import Record
from tests.oracles import (
    DIGITS_60,
    EPS,
    Array,
    Boolean,
    Float64,
    dyadic,
    hilbert,
    normalised,
    precision,
    rational,
    softmax,
)
from tests.process import strict_json, violations

Profile = dict[tuple[str, int], Float64]


@dataclass(frozen=True)
class Found:
    """A record and its series."""

    record: Record
    series: dict[str, dict[int, float]]

    @property
    def tolerance(self) -> float:
        return float(self.record.details["tolerance"])

    @property
    def bounds(self) -> tuple[int, int, int]:
        low, value, high = self.record.low, self.record.value, self.record.high
        assert isinstance(low, int)
        assert isinstance(value, int)
        assert isinstance(high, int)
        return low, value, high


def found(matrix: Any, **options: Any) -> Found:
    result = rs.analyze(matrix, measures="offdiagonal_rank", **options)
    record = result["offdiagonal_rank"]
    assert isinstance(record, Record)
    names = {"offdiagonal_rank_lower": "lower", "offdiagonal_rank_upper": "upper"}
    series = {
        names[each.name]: dict(zip(each.index, each.values, strict=True))
        for each in result.table.series
        if each.name in names
    }
    return Found(record, series)


def held(matrix: Any) -> Array:
    return np.asarray(single(matrix).matrix)


def decomposed(matrix: Array) -> Profile:
    """The singular values of every block beside the diagonal."""
    size, profile = len(matrix), {}
    for k in range(1, size):
        for side, block in (("lower", matrix[k:, :k]), ("upper", matrix[:k, k:])):
            profile[side, k] = np.asarray(np.linalg.svd(block, compute_uv=False))
    return profile


def check(matrix: Any, **options: Any) -> Found:
    """Whatever the matrix: the bounds hold the largest count over all cuts, and no count says more than is there."""
    result, numbers = found(matrix, **options), held(matrix)
    counts = {place: int((values > result.tolerance).sum()) for place, values in decomposed(numbers).items()}
    low, value, high = result.bounds
    most = max(counts.values())
    assert low <= value <= high
    assert low <= most <= high, f"{most} of {result.record}"
    assert value == max(max(each.values()) for each in result.series.values())
    for side, listed in result.series.items():
        assert listed
        for k, count in listed.items():
            assert count <= counts[side, k], (side, k)
    for side, pattern in (("lower", np.tril(numbers, -1)), ("upper", np.triu(numbers, 1))):
        assert (side in result.series) == (
            bool(pattern.any()) or (side == "lower" and not numbers[~eye(numbers)].any())
        )
    return result


def eye(matrix: Array) -> Array:
    return np.eye(len(matrix), dtype=bool)


def standard(n: int, d: int = 4, **options: Any) -> Operator:
    made = rs.synthetic(n=n, d=d, **options)
    assert not isinstance(made, list)
    return made


def low_rank(n: int, rank: int, seed: int = 0, kind: str = "full") -> Float64:
    random = np.random.default_rng(seed)
    product = random.standard_normal((n, rank)) @ random.standard_normal((rank, n))
    cuts: dict[str, Callable[[Float64], Float64]] = {"full": np.asarray, "lower": np.tril, "upper": np.triu}
    return np.asarray(cuts[kind](product))


def graded(n: int, step: float, seed: int = 0) -> Float64:
    """Blocks whose singular values fall by a constant factor, so that some are near any tolerance."""
    random = np.random.default_rng(seed)
    left, right = (np.linalg.qr(random.standard_normal((n, n)))[0] for _ in range(2))
    return np.asarray(left * step ** np.arange(float(n)) @ right.T)


MADE: Final[dict[str, Callable[[int], Any]]] = {
    **{
        f"softmax {mask}": lambda n, mask=mask: standard(n, mask=mask)  # type: ignore[misc]
        for mask in (
            "bidirectional", "causal", "anticausal", "prefix:9", "window:1", "window:2", "window:5", "strict",
            "global:3", "packed:8", "dilated:3", "strided:4", "causal & window:6",
        )
    },
    **{
        f"{kernel} {mask}": lambda n, kernel=kernel, mask=mask: standard(n, kernel=kernel, mask=mask)  # type: ignore[misc]
        for kernel in ("linear", "linear:exp", "hedgehog", "favor:6")
        for mask in ("causal", "bidirectional")
    },
    "cosformer": lambda n: standard(n, 16, kernel="cosformer"),
    "focused": lambda n: standard(n, 16, kernel="focused"),
    **{
        f"{kernel} {mask}": lambda n, kernel=kernel, mask=mask: standard(n, kernel=kernel, mask=mask)  # type: ignore[misc]
        for kernel in ("retnet", "gla", "ssd", "delta", "gated-delta")
        for mask in ("causal", "anticausal")
    },
    "efficient": lambda n: standard(n, kernel="efficient"),
    "sparsemax": lambda n: standard(n, kernel="sparsemax", mask="causal"),
    "sharp": lambda n: standard(n, scale=6.0),
    "sharp causal": lambda n: standard(n, scale=6.0, mask="causal"),
    "flat": lambda n: standard(n, scale=1e-4),
    "alibi": lambda n: standard(n, position="alibi"),
    "duplicated": lambda n: standard(n, ensemble="duplicated:5"),
    "windowed linear": lambda n: standard(n, kernel="linear", mask="window:7"),
    "float16": lambda n: standard(n, dtype="float16"),
    "bfloat16 causal": lambda n: standard(n, dtype="bfloat16", mask="causal"),
    "float16 linear": lambda n: standard(n, dtype="float16", kernel="linear", mask="causal"),
    "float32 linear": lambda n: standard(n, dtype="float32", kernel="linear"),
    "rank 3": lambda n: low_rank(n, 3),
    "rank 5 lower": lambda n: low_rank(n, 5, kind="lower"),
    "rank 9 upper": lambda n: low_rank(n, 9, kind="upper"),
    "random": lambda n: np.random.default_rng(0).standard_normal((n, n)),
    "signs": lambda n: np.sign(np.random.default_rng(1).standard_normal((n, n))),
    "graded by 2": lambda n: graded(n, 0.5),
    "graded by 10": lambda n: graded(n, 0.1),
    "hilbert": hilbert,
    "smooth": lambda n: np.exp(-np.subtract.outer(np.arange(float(n)), np.arange(float(n))) ** 2 / n),
    "distances": lambda n: np.abs(np.subtract.outer(np.arange(float(n)), np.arange(float(n)))),
    "zero": lambda n: np.zeros((n, n)),
    "identity": np.eye,
    "ones": lambda n: np.ones((n, n)),
    "one entry": lambda n: np.outer(np.arange(n) == n - 2, np.arange(n) == 1).astype(float),
    "complex": lambda n: low_rank(n, 4) + 1j * low_rank(n, 3, seed=1),
    "complex lower": lambda n: np.tril(low_rank(n, 4) * np.exp(1j * np.arange(n))),
    "product": lambda n: Product((standard(n, mask="causal", kernel="linear"), standard(n, kernel="linear", seed=1))),
    "mean": lambda n: Mean((standard(n, mask="causal"), standard(n, mask="anticausal", seed=1))),
}  # fmt: skip
"""Matrices of every size."""


# ------------------------------------------------------------------------------------------------------ brute force


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("n", [2, 13, 48])
def test_every_block_of_small_matrices_is_counted(name: str, n: int) -> None:
    """Up to the error of the values: what is counted lies above the tolerance, what lies clearly above is counted."""
    matrix = MADE[name](n)
    result = check(matrix)
    sides = result.series
    for (side, k), values in decomposed(held(matrix)).items():
        if side in sides:
            error = (2 * math.sqrt(n) + 100) * EPS * values[0] + distance_of(matrix)
            assert sides[side][k] >= (values > result.tolerance * (1 + 8 * EPS) + 2 * error).sum(), (side, k)


def distance_of(matrix: Any) -> float:
    from rankscope.attention.distance import distance

    operator = single(matrix)
    return distance(operator) if operator.storage.name == "float64" else 0.0


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("n", [65, 131])
def test_bounds_from_a_few_cuts_hold_for_all(name: str, n: int) -> None:
    check(MADE[name](n))


LARGE: Final[dict[str, Callable[[], Any]]] = {
    "softmax causal": lambda: standard(200, 16, mask="causal"),
    "softmax": lambda: standard(256, 16),
    "linear causal": lambda: standard(256, 16, mask="causal", kernel="linear"),
    "linear": lambda: standard(200, 16, kernel="linear"),
    "linear of many features": lambda: standard(200, 40, kernel="linear", mask="causal"),
    "cosformer": lambda: standard(256, 16, kernel="cosformer"),
    "retnet": lambda: standard(200, 16, kernel="retnet", mask="anticausal"),
    "gla": lambda: standard(200, 8, kernel="gla", mask="causal"),
    "ssd": lambda: standard(200, 8, kernel="ssd", mask="causal"),
    "delta": lambda: standard(200, 8, kernel="delta", mask="causal"),
    "window": lambda: standard(200, 8, mask="window:20"),
    "wide window": lambda: standard(200, 8, mask="window:70"),
    "prefix": lambda: standard(200, 8, mask="prefix:50"),
    "rank 3": lambda: low_rank(200, 3),
    "rank 30 lower": lambda: low_rank(200, 30, kind="lower"),
    "bfloat16": lambda: standard(200, 8, dtype="bfloat16", kernel="linear", mask="causal"),
    "smooth": lambda: MADE["smooth"](200),
    "graded": lambda: graded(200, 0.7),
    "zero": lambda: np.zeros((200, 200)),
    "complex": lambda: MADE["complex"](200),
}


@pytest.mark.parametrize("name", LARGE)
def test_sketches_and_a_few_blocks_bound_every_block_of_large_matrices(name: str) -> None:
    """And what lies far above the tolerance is counted at each cut that is shown: a sketch by Gaussian columns may lose
    a factor of their norm, about √n, on either side, and rounding of the order n²·eps·σ₁; n³·eps·σ₁ is beyond both.
    """
    matrix = LARGE[name]()
    result, numbers = check(matrix), held(matrix)
    if single(matrix).storage.name == "float64":
        floor = len(numbers) ** 3 * EPS * float(np.linalg.norm(numbers, 2))
        for (side, k), values in decomposed(numbers).items():
            if k in result.series.get(side, {}):
                assert result.series[side][k] >= (values > floor).sum(), (side, k)


def test_more_dimensions_at_another_cut_than_at_the_middle_are_found() -> None:
    """45 of them at cut 60, 5 at the middle one, by which the sketch was made: it is full, and says so."""
    matrix = np.zeros((200, 200))
    for i in range(45):
        matrix[60 + i, 59 - i] = 1.0
    for numbers in (matrix, matrix.T):
        assert check(numbers).bounds[2] >= 45


def test_a_side_with_less_at_the_measured_cuts_may_have_more_between_them() -> None:
    """Below the diagonal 3 at every measured cut; above it 4 at cut 36 alone, between those that are measured."""
    matrix = np.zeros((70, 70))
    for i in range(3):
        matrix[67 + i, i] = 1.0
    for i in range(4):
        matrix[35 - i, 36 + i] = 1.0
    assert check(matrix).bounds[2] >= 4


def test_a_middle_block_that_lacks_one_dimension_decides_nothing() -> None:
    """Two columns of it are equal, and of no other block."""
    for n in (66, 67):
        matrix = np.random.default_rng(0).standard_normal((n, n))
        matrix[n // 2 :, 0] = matrix[n // 2 :, 1]
        assert np.linalg.matrix_rank(matrix[n // 2 :, : n // 2]) == n // 2 - 1
        check(np.tril(matrix))


@pytest.mark.parametrize("n", [40, 100, 200])
def test_rows_and_columns_of_zeros_bound_the_rank(n: int) -> None:
    """One row, or one column, beside a diagonal: every block has rank one at most, though the whole has n."""
    line = 1.0 + np.arange(float(n))
    for place in (n // 3, n // 2, n - 2):
        unit = (np.arange(n) == place).astype(float)
        for matrix in (np.outer(unit, line), np.outer(line, unit)):
            assert check(np.eye(n) + matrix).bounds == (1, 1, 1)


@pytest.mark.parametrize(("n", "rank"), [(40, 3), (200, 3), (200, 12), (100, 30)])
def test_nothing_that_rounding_made_is_counted_above_a_tolerance_of_zero(n: int, rank: int) -> None:
    """Products of integers, exact in float64: no count exceeds the exact rank of its block."""
    random = np.random.default_rng(rank)
    matrix = np.asarray(random.integers(-9, 10, (n, rank)) @ random.integers(-9, 10, (rank, n)), dtype=np.float64)
    result = found(matrix, rtol=0.0)
    low, value, high = result.bounds
    assert low <= value <= rank <= high
    for listed in result.series.values():
        for k, count in listed.items():
            assert count <= min(k, n - k, rank)


def test_a_block_that_no_measured_cut_sees_well_stays_below_the_upper_bound() -> None:
    """Ten values of 1e-12 beside a cut far from the middle: a sketch, whose bar is higher than the tolerance, cannot
    count them, and must not say that they are not there.
    """
    for cut in (50, 64, 201):
        matrix = np.zeros((256, 256))
        matrix[255, 0] = 1.0
        for i in range(10):
            matrix[cut + i, cut - 1 - i] = 1e-12
        result = check(matrix)
        assert result.bounds[2] >= 11


def test_values_within_their_error_of_the_tolerance_are_in_the_bounds() -> None:
    """σ = ½(1 + 2eps) beside σ₁ = 1 lies above the tolerance ½ by less than LAPACK vouches for."""
    for size in (8, 80):
        matrix, half = np.zeros((size, size)), size // 2
        for i, value in enumerate((1.0, 1.0, np.nextafter(0.5, 1), np.nextafter(0.5, 1))):
            matrix[half + i, i] = value
        assert check(matrix, rtol=0.5).bounds[2] >= 4


@settings(max_examples=60)
@given(
    st.integers(2, 24), st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.5, 0.7, 0.9]), st.sampled_from([None, 1e-10])
)
def test_bounds_hold_the_largest_count_of_graded_blocks(n: int, seed: int, step: float, rtol: float | None) -> None:
    check(graded(n, step, seed), rtol=rtol)


def test_a_full_middle_block_leaves_the_cuts_beyond_it_open_by_one_where_n_is_odd() -> None:
    """A[32:, :32] has rank 32, but A[33:, :33] only 31: of 65 rows, the one that it loses held a column of its own."""
    matrix = np.zeros((65, 65))
    matrix[32, 0] = 1.0
    for i in range(31):
        matrix[33 + i, 1 + i] = 1.0
    assert [np.linalg.matrix_rank(matrix[k:, :k]) for k in (32, 33)] == [32, 31]
    assert check(matrix).bounds == (32, 32, 32)


@pytest.mark.parametrize("exponent", [600, -600, 1000, -1000, 1023])
@pytest.mark.parametrize("n", [40, 200])
def test_the_size_of_the_numbers_changes_nothing(n: int, exponent: int) -> None:
    """A power of two is exact, and so are all counts; of the last the singular values overflow."""
    numbers = held(standard(n, 8, mask="causal", kernel="linear"))
    one = found(numbers)
    two = found(np.ldexp(numbers, exponent // 2) * 2.0 ** (exponent - exponent // 2))
    assert two.bounds == one.bounds
    assert two.series == one.series


def test_a_rectangle_and_a_single_number_have_no_blocks() -> None:
    for shape, because in (((3, 5), "not square: 3 × 5"), ((5, 3), "not square: 5 × 3"), ((1, 1), "one row")):
        record = found(np.ones(shape)).record
        assert record.value is record.low is record.high is None
        assert because in record.because
    side_by_side = found(Concatenation((standard(4), standard(4, seed=1)))).record
    assert side_by_side.value is None
    assert "not square: 4 × 8" in side_by_side.because
    assert found(np.zeros((0, 0))).record.value is None


def test_two_tokens_have_one_number_beside_the_diagonal() -> None:
    for matrix, value in (([[1.0, 0.0], [0.5, 0.5]], 1), ([[1.0, 0.0], [0.0, 1.0]], 0), ([[1.0, 2.0], [0.0, 1.0]], 1)):
        result = check(np.array(matrix))
        assert result.bounds == (value, value, value)
    assert found(np.array([[1.0, 2.0], [0.0, 1.0]])).record.details["side"] == "upper"


@pytest.mark.parametrize(
    ("kernel", "features"),
    [
        ("linear", 64), ("linear:exp", 64), ("favor:32", 32), ("hedgehog", 128), ("retnet", 64), ("gla", 64),
        ("ssd", 64), ("delta", 64), ("gated-delta", 64),
    ],
)  # fmt: skip
def test_kernels_with_a_state_have_no_more_dimensions_than_it_at_any_cut(kernel: str, features: int) -> None:
    """n = 512, d = 64: linear attention 64 at most, and as many at the middle cut; softmax has half of n."""
    result = found(standard(512, 64, mask="causal", kernel=kernel))
    low, value, high = result.bounds
    assert result.record.details["exact_high"] == features
    # the gates of Mamba-2 forget so much within 256 tokens that most of its 64 directions fall below the tolerance
    assert low == value <= high <= features
    assert kernel == "ssd" or value == high == features
    assert set(result.series) == {"lower"}
    assert str(features) in result.record.because


def test_oracle_causal_softmax_has_blocks_of_full_rank() -> None:
    result = found(standard(512, 64, mask="causal"))
    assert result.bounds == (256, 256, 256)
    assert result.series == {"lower": {k: float(min(k, 512 - k)) for k in range(1, 512)}}


def test_oracle_cosformer_has_twice_as_many_dimensions_as_features() -> None:
    """relu(x)·cos and relu(x)·sin: 2d of 512, in the whole matrix and in its middle block."""
    operator = standard(512, 64, kernel="cosformer")
    assert rs.rank_numerical(operator).value == 128
    result = found(operator)
    assert result.bounds == (128, 128, 128)
    assert set(result.series) == {"lower", "upper"}


def test_a_window_has_one_dimension_less_than_its_width() -> None:
    for n in (40, 100, 201):
        for width in (1, 2, 9):
            result = check(standard(n, 8, mask=f"window:{width}"))
            assert result.bounds[:2] == (width - 1, width - 1)


# ----------------------------------------------------------------------------------------------------- the theorem


@settings(max_examples=100)
@given(
    st.integers(2, 9).flatmap(
        lambda n: st_numpy.arrays(np.float64, (n, n), elements=st.sampled_from([0.0, 0.0, 1.0, -1.0, 2.0, 0.5]))
    )
)
def test_exact_ranks_of_neighbouring_cuts_differ_by_one_at_most(matrix: Float64) -> None:
    ranks = [rational(matrix[k:, :k]).rank() for k in range(1, len(matrix))]
    assert all(abs(a - b) <= 1 for a, b in pairwise(ranks))
    assert all(rank <= min(k, len(matrix) - k) for k, rank in enumerate(ranks, 1))


@settings(max_examples=100)
@given(st.integers(3, 14), st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.6, 0.95]), st.floats(0.01, 0.9))
def test_counts_of_neighbouring_cuts_above_any_tolerance_differ_by_one_at_most(
    n: int, seed: int, step: float, share: float
) -> None:
    """σ_{i+1}(B) ≤ σ_i(B without a row) ≤ σ_i(B), and likewise with a column more (Horn and Johnson 2013, 7.3.3)."""
    matrix = graded(n, step, seed)
    values = [np.linalg.svd(matrix[k:, :k], compute_uv=False) for k in range(1, n)]
    tolerance = share * float(values[n // 2 - 1][0])
    assume(min(float(np.abs(each - tolerance).min()) for each in values) > 100 * n * EPS)
    counts = [int((each > tolerance).sum()) for each in values]
    assert all(abs(a - b) <= 1 for a, b in pairwise(counts))


@settings(max_examples=40)
@given(st.integers(66, 120), st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 8, 30]))
def test_bounds_hold_for_matrices_of_low_rank_with_noise_beneath(n: int, seed: int, rank: int) -> None:
    random = np.random.default_rng(seed)
    matrix = low_rank(n, rank, seed) + 1e-9 * random.standard_normal((n, n))
    for rtol in (None, 1e-6):
        low, value, high = check(np.tril(matrix), rtol=rtol).bounds
        assert high <= n // 2
        assert rtol is None or low == value == rank


# --------------------------------------------------------------------------------------------------------- what is kept


def test_the_profile_is_a_series_for_each_side() -> None:
    result = rs.analyze(standard(12), measures="offdiagonal_rank")
    series = {each.name: each for each in result.table.series if each.name.startswith("offdiagonal")}
    assert set(series) == {"offdiagonal_rank_lower", "offdiagonal_rank_upper"}
    for each in series.values():
        assert each.index == list(range(1, 12))
        assert each.values == [float(min(k, 12 - k)) for k in range(1, 12)]
        assert each.errors == []
    assert violations(strict_json(result.to_json())) == []


def test_it_is_measured_only_when_it_is_named() -> None:
    assert "offdiagonal_rank" not in {record.measure for record in rs.analyze(standard(5)).table}
    assert "offdiagonal_rank" in {record.measure for record in rs.analyze(standard(5), measures="all").table}


def test_the_side_with_the_larger_rank_is_named() -> None:
    lower = np.tril(np.random.default_rng(0).standard_normal((20, 20))) + np.triu(np.ones((20, 20)))
    one, two = check(lower), check(lower.T)
    assert one.bounds == two.bounds == (10, 10, 10)
    assert (one.record.details["side"], two.record.details["side"]) == ("lower", "upper")
    assert one.series["lower"] == two.series["upper"]
    assert max(one.series["upper"].values()) == 1


def test_a_rule_and_a_relative_tolerance_decide_the_count() -> None:
    matrix = np.zeros((20, 20))
    for i in range(10):
        matrix[10 + i, i] = 10.0**-i
    for rtol, count in ((0.5, 1), (3e-3, 3), (3e-8, 8)):
        result = check(matrix, rtol=rtol)
        assert result.bounds[:2] == (count, count)
        assert result.record.details["rule"] == "rtol"
        assert result.tolerance == pytest.approx(rtol, rel=1e-14)
    assert check(matrix, rule="torch-f32").bounds[0] == 6
    assert check(matrix, rule="torch-f32").tolerance == pytest.approx(20 * 2.0**-23, rel=1e-14)


# ----------------------------------------------------------------------------------------------------------- exactly


SEEN: Final[dict[str, Callable[[int], Boolean]]] = {
    "causal": lambda n: np.tri(n, dtype=np.bool_),
    "anticausal": lambda n: np.tri(n, dtype=np.bool_).T,
    "bidirectional": lambda n: np.ones((n, n), dtype=np.bool_),
}


def exact_rank(matrix: Any) -> int:
    """The largest exact rank of a block of a rational matrix, over all cuts and both sides."""
    n, rows = matrix.nrows(), matrix.tolist()
    most = 0
    for k in range(1, n):
        for some in ([row[:k] for row in rows[k:]], [row[k:] for row in rows[:k]]):
            most = max(most, type(matrix)(some).rank())
    return most


@pytest.mark.parametrize(("mask", "d"), [("causal", 2), ("anticausal", 3), ("bidirectional", 3), ("causal", 8)])
def test_the_exact_rank_of_linear_attention_is_proved_from_both_sides(mask: str, d: int) -> None:
    """Tokens of positive dyadic numbers under the identity, in rationals."""
    queries, keys = (np.abs(dyadic(np.random.default_rng(seed), 14, d)) + 0.0625 for seed in (0, 1))
    operator = single(attention(queries, keys, mask=mask, kernel="linear:identity"))
    truth = exact_rank(normalised(queries, keys, SEEN[mask](14)))
    assert truth == min(d, 7)
    result = check(operator, prove=True)
    details = result.record.details
    assert details["exact_low"] == truth
    assert details["exact_high"] == d
    assert f"at most {d}: the number of features" in result.record.because
    assert f"a minor of order {truth} is not zero" in result.record.because
    plain = found(operator).record.details
    assert (plain["exact_low"], plain["exact_high"]) == (None, d)


@pytest.mark.parametrize("mask", ["causal", "bidirectional", "anticausal"])
def test_the_exact_rank_of_softmax_blocks_is_proved_by_a_minor(mask: str) -> None:
    scores = dyadic(np.random.default_rng(3), 10, 10)
    operator = from_logits(scores, mask=mask)
    result = check(operator, prove=True)
    assert (result.record.details["exact_low"], result.record.details["exact_high"]) == (5, None)
    assert result.record.because == "a minor of order 5 is not zero"
    with precision(4 * DIGITS_60):
        rows = softmax(scores, SEEN[mask](10)).tolist()
        block = [row[5:] for row in rows[:5]] if mask == "anticausal" else [row[:5] for row in rows[5:]]
        assert not flint.arb_mat(block).det().contains(0)


@pytest.mark.parametrize("kernel", ["retnet", "delta"])
@pytest.mark.parametrize("mask", ["causal", "anticausal"])
def test_the_exact_rank_of_recurrences_is_proved(kernel: str, mask: str) -> None:
    result = check(standard(12, 3, kernel=kernel, mask=mask), prove=True)
    assert (result.record.details["exact_low"], result.record.details["exact_high"]) == (3, 3)
    assert f"at most 3: the state of {kernel} has 3 rows" in result.record.because
    assert "a minor of order 3 is not zero" in result.record.because


def test_nothing_is_called_exact_that_rounding_made() -> None:
    """The product of two rounded factors has five large values and then rounding, which exact arithmetic counts."""
    matrix = low_rank(20, 5, kind="lower")
    truth = exact_rank(rational(matrix))
    assert truth > 5
    result = check(matrix, prove=True)
    assert result.bounds[1] == 5
    assert result.record.details["exact_low"] is not None
    assert result.record.details["exact_low"] <= truth
    assert "exactly" not in result.record.because
    assert "at most" not in result.record.because, "no theorem says so"


@settings(max_examples=30)
@given(
    st.integers(2, 8).flatmap(
        lambda n: st_numpy.arrays(np.float64, (n, n), elements=st.sampled_from([0.0, 0.0, 1.0, -1.0, 2.0, 0.5]))
    )
)
def test_what_is_proved_of_small_matrices_is_true_of_the_exact_numbers(matrix: Float64) -> None:
    result, truth = check(matrix, prove=True), exact_rank(rational(matrix))
    assert result.bounds[0] <= truth
    low, high = result.record.details["exact_low"], result.record.details["exact_high"]
    assert low is None or low <= truth
    assert high is None or truth <= high
    because = result.record.because
    assert all(int(order) <= truth for order in re.findall(r"a minor of order (\d+) is not zero", because))
    assert all(int(bound) >= truth for bound in re.findall(r"at most (\d+): ", because))
    assert "exactly" not in because


def test_complex_numbers_are_counted_and_not_proved() -> None:
    result = check(low_rank(12, 2) * 1j, prove=True)
    assert result.bounds == (2, 2, 2)
    assert result.record.details["exact_low"] is None


# --------------------------------------------------------------------------------------------------------------- cost


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ({"mask": "causal", "d": 16, "kernel": "linear"}, "sketches"),
        ({"mask": "bidirectional", "d": 16, "kernel": "linear"}, "sketches"),
        ({"mask": "window:20", "d": 16}, "sketches"),
        ({"mask": "causal", "d": 16}, "the middle block has full rank"),
        ({"mask": "causal", "d": 100, "kernel": "linear"}, "blocks decomposed"),
    ],
    ids=str,
)
def test_sketches_are_taken_where_they_hold_all_and_cost_less(options: dict[str, Any], method: str) -> None:
    """The record says how the counts were found; a sketch that missed something would have been given up."""
    assert method in found(standard(256, **options)).record.method


@pytest.mark.parametrize(
    "options",
    [
        {"mask": "causal", "d": 64},
        {"mask": "bidirectional", "d": 64},
        {"mask": "causal", "d": 64, "kernel": "linear"},
        {"mask": "causal", "d": 16, "kernel": "linear"},
        {"mask": "bidirectional", "d": 16, "kernel": "linear"},
        {"mask": "causal", "d": 32, "kernel": "retnet"},
        {"mask": "window:20", "d": 64},
    ],
    ids=str,
)
def test_the_profile_costs_less_than_one_decomposition_of_the_whole(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Σ m·n·min(m, n) over the blocks and sketches that are decomposed, beside 256³ for the matrix itself."""
    operator, shapes = standard(256, **options), []
    plain = np.linalg.svd

    def counted(matrix: Array, *arguments: Any, **named: Any) -> Any:
        shapes.append(matrix.shape)
        return plain(matrix, *arguments, **named)

    monkeypatch.setattr(np.linalg, "svd", counted)
    found(operator)
    whole = (256, 256)
    assert shapes.count(whole) <= 1
    work = sum(m * n * min(m, n) for m, n in shapes if (m, n) != whole)
    assert 0 < work < 256**3


# ------------------------------------------------------------------------------------------------------------- output


def output(matrix: Any, **options: Any) -> Record:
    record = rs.analyze(matrix, measures="rank_output", **options)["rank_output"]
    assert isinstance(record, Record)
    return record


def mixed(values: Float64, n: int = 12, **options: Any) -> Operator:
    queries, keys = np.random.default_rng(0).standard_normal((2, n, 4))
    return single(attention(queries, keys, values, **options))


@pytest.mark.parametrize("width", [1, 3, 12, 30])
@pytest.mark.parametrize("mask", ["bidirectional", "causal"])
@pytest.mark.parametrize("kernel", ["softmax", "linear"])
def test_the_output_has_at_most_as_many_dimensions_as_the_values(width: int, mask: str, kernel: str) -> None:
    """And at most as many as A. Where both are generic it has the lesser number."""
    values = np.random.default_rng(1).standard_normal((12, width))
    operator = mixed(values, mask=mask, kernel=kernel)
    record = output(operator)
    most = min(12, width, 4 if (mask, kernel) == ("bidirectional", "linear") else 12)
    truth = int(np.linalg.matrix_rank(np.asarray(operator.matrix) @ values))
    assert record.value == truth == most
    assert (record.low, record.high) == (most, most)
    assert record.subject == "stored"
    assert f"at most {most}: " in record.because


def test_matrices_without_values_have_no_output() -> None:
    for matrix in (np.eye(3), single(attention(np.eye(3), np.eye(3))), from_logits(np.eye(3))):
        record = output(matrix)
        assert record.value is record.low is record.high is None
        assert record.because == "the values that the head mixes are not known"
    made = rs.synthetic(n=4, d=2, heads=2, layers=2)
    assert isinstance(made, list)
    assert [output(each).value is None for each in made] == [bool(each.origin.over) for each in made]


DEFICIENT: Final[list[tuple[str, int, Float64, int]]] = [
    ("bidirectional", 4, np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), 1),
    ("window:1", 4, np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), 2),
    ("causal", 4, np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), 2),
    ("causal", 2, np.array([[1.0, 2.0], [-1.0, -2.0], [3.0, 6.0], [0.5, 1.0]]), 1),
    ("causal", 4, np.zeros((4, 3)), 0),
    ("bidirectional", 4, np.array([[1.0], [-1.0], [1.0], [-1.0]]), 0),
]
"""Uniform attention of so many queries to four keys, values, and the rank of their means in exact arithmetic."""


def of_means(case: tuple[str, int, Float64, int]) -> Operator:
    mask, count, values, _ = case
    return single(attention(np.zeros((count, 1)), np.zeros((4, 1)), values, mask=mask))


def test_ranks_of_deficient_outputs_are_within_the_bounds() -> None:
    """In rationals: row i of the output is the mean of the values that i sees."""
    for mask, count, values, rank in DEFICIENT:
        shown = [
            [j for j in range(4) if mask == "bidirectional" or j == i or (j < i and mask == "causal")]
            for i in range(4 - count, 4)
        ]
        exact = [
            [Fraction(sum(Fraction(float(values[j, c])) for j in row), len(row)) for c in range(values.shape[1])]
            for row in shown
        ]
        assert flint.fmpq_mat([[flint.fmpq(x.numerator, x.denominator) for x in row] for row in exact]).rank() == rank
        record = output(of_means((mask, count, values, rank)))
        assert record.low is not None
        assert record.high is not None
        assert record.low <= rank <= record.high
        assert record.value in (None, rank)


@pytest.mark.parametrize("mask", ["bidirectional", "causal", "window:1"])
def test_values_of_low_rank_make_an_output_of_low_rank(mask: str) -> None:
    """64 tokens, eight numbers each, of rank 3, exact in float64: the values beyond the third come from rounding, of
    the order √n·eps·σ₁, and lie below the tolerance n·eps·σ₁, as they do for numpy, whose tolerance it is.
    """
    random = np.random.default_rng(0)
    values = np.asarray(random.integers(-9, 10, (64, 3)) @ random.integers(-9, 10, (3, 8)), dtype=np.float64)
    operator = mixed(values, n=64, mask=mask)
    assert np.linalg.matrix_rank(np.asarray(operator.matrix) @ values) == 3
    assert output(operator).value == 3


def test_it_is_the_values_of_the_keys_that_are_mixed() -> None:
    """Every query sees the first key alone, whose value is zero: A·V = 0, though Aᵀ·V is not."""
    zero, values = np.zeros((4, 1)), np.array([[0.0], [1.0], [2.0], [3.0]])
    operator = attention(zero, zero, values, mask=np.arange(4) == np.zeros((4, 1), dtype=int))
    assert output(operator).low == 0


def test_heads_have_values_of_their_own() -> None:
    random = np.random.default_rng(0)
    queries, keys = random.standard_normal((2, 3, 8, 4))
    values = random.standard_normal((3, 8, 5))
    made = attention(queries, keys, values)
    assert isinstance(made, list)
    for each, mine in zip(made, values, strict=True):
        assert isinstance(each, Dense | Factored)
        assert each.request is not None
        assert each.request.values is not None
        assert np.array_equal(each.request.values, mine)
        assert output(each).value == 5


def test_a_relative_tolerance_decides_the_count_of_the_output() -> None:
    values = np.diag(10.0 ** -np.arange(6.0))
    operator = single(attention(np.zeros((6, 1)), np.zeros((6, 1)), values, mask="window:1"))
    assert output(operator).value == 6
    for rtol, count in ((0.5, 1), (3e-3, 3), (3e-5, 5)):
        assert output(operator, rtol=rtol).value == count


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_what_is_stored_in_fewer_bits_mixes_the_same_values(dtype: str) -> None:
    values = np.random.default_rng(1).standard_normal((12, 3))
    for mask in ("causal", "bidirectional"):
        record = output(mixed(values, mask=mask, dtype=dtype))
        assert record.value == 3, record.because


@pytest.mark.parametrize("exponent", [600, -600, 1000, -900])
def test_the_size_of_the_values_changes_nothing(exponent: int) -> None:
    values = np.random.default_rng(1).standard_normal((12, 3))
    one, two = (output(mixed(each, mask="causal")) for each in (values, np.ldexp(values, exponent)))
    assert (two.value, two.low, two.high) == (one.value, one.low, one.high) == (3, 3, 3)


def test_an_output_beyond_float64_keeps_its_rank() -> None:
    """Equal columns of 1e308, mixed by weights in the thousands: no number of A·V is finite, but its rank is one."""
    queries, keys = 1e3 * np.random.default_rng(0).standard_normal((2, 8, 4))
    operator = single(attention(queries, keys, np.full((8, 2), 1e308), kernel="retnet", mask="causal"))
    assert np.abs(np.asarray(operator.matrix)).max() > 1e3
    record = output(operator)
    assert (record.value, record.low, record.high) == (1, 1, 1)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones((5, 2)), "shape (5, 2) for 4 keys"),
        (np.ones(4), "shape (4,) for 4 keys"),
        (np.ones((4, 2)) * 1j, "shape (4, 2)"),
        (np.full((4, 2), np.nan), "NaN in the values"),
        (np.full((4, 2), np.inf), "infinity in the values"),
    ],
)
def test_values_that_cannot_be_mixed_are_refused(values: Any, said: str) -> None:
    with pytest.raises(rs.InputError) as caught:
        attention(np.ones((3, 2)), np.ones((4, 2)), values)
    assert said in caught.value.given
