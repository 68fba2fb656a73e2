"""Projections onto the simplex: which weights are zero is exact, and the others are those of rational arithmetic."""

import math
from fractions import Fraction
from typing import Any, Final

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankscope.attention import naive
from rankscope.attention.build import from_logits
from rankscope.attention.existing import single
from rankscope.attention.simplex import entmax_logs
from tests.oracles import UNIT, Float64

SEEDS = st.integers(0, 2**32 - 1)
POWERS = st.sampled_from([1, 2])
BOTH = pytest.mark.parametrize("power", [1, 2])

LOG_UNITS: Final = 2**22
"""Roundings of a logarithm, for each key of the row: a root is at least 2^-20 where it is found in float64, within some
units of 1 for each key, and its logarithm then is within 2^20 as many.
"""


def logs_of(row: Any, power: int) -> Float64:
    return np.asarray(entmax_logs(np.array([row], dtype=np.float64), power)[0])


def weights_of(row: Any, power: int) -> Float64:
    return np.asarray(np.exp(logs_of(row, power)))


def shown(row: Any, power: int) -> list[bool]:
    """Which keys have weight, as the logarithms say."""
    return [bool(log > -math.inf) for log in logs_of(row, power)]


def support(row: Any, power: int) -> list[bool]:
    """Which keys have weight, in rationals: those from which the keys above them are away by less than 1 in all."""
    exactly = [Fraction(float(s)) / power for s in row]
    return [sum((max(z - own, Fraction(0)) ** power for z in exactly), Fraction(0)) < 1 for own in exactly]


def root_of(own: Fraction, kept: list[Fraction], power: int) -> Any:
    """z_j − τ of one of the keys with weight, in 120 digits: the positive root r of Σ (z_i − z_j + r)^p = 1."""
    away = [z - own for z in kept]
    first, rest = sum(away, Fraction(0)), 1 - sum((a**power for a in away), Fraction(0))
    with mpmath.workdps(120):
        if power == 1:
            return mpmath.mpf(rest.numerator) / rest.denominator / len(kept)
        linear, constant = (mpmath.mpf(x.numerator) / x.denominator for x in (first, rest))
        root = mpmath.sqrt(linear * linear + len(kept) * constant)
        return constant / (linear + root) if linear > 0 else (root - linear) / len(kept)


def check(row: Any, power: int) -> None:
    """A row against rationals: its support to the last bit, its weights to rounding."""
    has = support(row, power)
    assert shown(row, power) == has
    kept = [Fraction(float(s)) / power for s in np.asarray(row)[has]]
    for own, found in zip(kept, logs_of(row, power)[has], strict=True):
        with mpmath.workdps(120):
            truth = power * mpmath.log(root_of(own, kept, power))
            error = abs(mpmath.mpf(float(found)) - truth)
            assert error <= LOG_UNITS * len(row) * UNIT * (1 + abs(truth)), (row, own)


# ---------------------------------------------------------------------------------------------------------- properties


def scores(seed: int, size: int | None = None) -> Float64:
    """Rows of every kind: wide, narrow, with ties, dyadic."""
    random = np.random.default_rng(seed)
    count = size or int(random.integers(1, 13))
    row = random.standard_normal(count) * 10.0 ** random.uniform(-6, 3)
    if random.random() < 0.5:
        row = np.round(row * 8) / 8
    return np.asarray(np.where(random.random(count) < 0.3, row[0], row))


@settings(max_examples=200)
@given(SEEDS, POWERS)
def test_weights_are_those_of_rationals(seed: int, power: int) -> None:
    check(scores(seed), power)


@settings(max_examples=200)
@given(SEEDS, POWERS)
def test_weights_are_those_of_bisection(seed: int, power: int) -> None:
    """|z| < 4,000 where τ is found without a shift, so that bisection misses it by that many units."""
    row = scores(seed)
    found, expected = weights_of(row, power), naive.entmax(row.tolist(), power)
    allowed = (64 + 8 * np.abs(row).max()) * len(row) * UNIT
    assert (np.abs(found - expected) <= allowed).all()


@settings(max_examples=200)
@given(SEEDS, POWERS)
def test_weights_are_positive_and_sum_to_one(seed: int, power: int) -> None:
    """Newton's step ends within 4 units of τ, which each root shares; then one rounding for each key."""
    row = scores(seed)
    found = weights_of(row, power)
    assert abs(math.fsum(found) - 1) <= 16 * power * (len(row) + 1) * UNIT
    assert (found >= 0).all()


@settings(max_examples=200)
@given(SEEDS, POWERS)
def test_weights_are_optimal(seed: int, power: int) -> None:
    """KKT: one τ with w^(1/p) = z − τ where there is weight, and z ≤ τ where there is none.

    w maximises w·z − Σ w^α/(α(α − 1)) over the simplex; τ, the multiplier of Σw = 1, is the same for all keys.
    """
    row = scores(seed)
    found = weights_of(row, power)
    z = row / power - row.max() / power
    inside = found > 0
    multipliers = z[inside] - found[inside] ** (1 / power)
    allowed = 64 * (len(row) + np.abs(z[inside]).max()) * UNIT
    assert np.ptp(multipliers) <= allowed
    assert (z[~inside] <= multipliers.max() + allowed).all()
    assert inside[row.argmax()]
    assert (np.diff(found[np.argsort(row)]) >= -allowed).all(), "more score, no less weight"


@settings(max_examples=100)
@given(SEEDS, POWERS)
def test_no_other_point_of_the_simplex_is_nearer(seed: int, power: int) -> None:
    """Sparsemax is the nearest point; 1.5-entmax maximises w·s + (4/3)(1 − Σ w^1.5): both against random points."""
    random, row = np.random.default_rng(seed), scores(seed)
    row = row - row.max()

    def gain(w: Float64) -> float:
        return float(w @ row - (w @ w / 2 if power == 1 else 4 / 3 * (w**1.5).sum()))

    others = random.dirichlet(np.full(len(row), 0.5), 30)
    found = weights_of(row, power)
    best = gain(found)
    assert all(gain(other) <= best + 1e-12 for other in others)
    assert all(gain((1 - t) * found + t * other) <= best + 1e-12 for t in (0.5, 1e-3) for other in others)


@settings(max_examples=100)
@given(SEEDS, POWERS)
def test_the_order_of_keys_means_nothing(seed: int, power: int) -> None:
    row = scores(seed)
    order = np.random.default_rng(seed).permutation(len(row))
    assert np.array_equal(logs_of(row, power)[order], logs_of(row[order], power))


@settings(max_examples=100)
@given(SEEDS, POWERS, st.integers(-(2**20), 2**20))
def test_a_shift_that_is_exact_means_nothing(seed: int, power: int, shift: int) -> None:
    """Multiples of 1/64 stay what they are when whole numbers are added."""
    row = np.round(scores(seed) * 64) / 64
    assert np.array_equal(logs_of(row, power), logs_of(row + shift, power))


@settings(max_examples=100)
@given(SEEDS, POWERS)
def test_hidden_keys_mean_nothing(seed: int, power: int) -> None:
    """−∞ stands for a key that is not seen: the others have the weights that they have alone."""
    row, random = scores(seed), np.random.default_rng(seed)
    seen = random.random(len(row)) < 0.6
    found = logs_of(np.where(seen, row, -math.inf), power)
    assert (found[~seen] == -math.inf).all()
    if seen.any():
        assert np.array_equal(found[seen], logs_of(row[seen], power))


@settings(max_examples=50)
@given(SEEDS, POWERS)
def test_rows_do_not_depend_on_each_other(seed: int, power: int) -> None:
    table = np.stack([scores(seed + index, 6) for index in range(4)])
    assert np.array_equal(entmax_logs(table, power), [logs_of(row, power) for row in table])


@pytest.mark.deep
@given(SEEDS, POWERS)
def test_many_rows_are_those_of_rationals(seed: int, power: int) -> None:
    check(scores(seed), power)


# ------------------------------------------------------------------------------------------------- the edge of support


def edges(power: int) -> list[list[float]]:
    """Rows whose last key is exactly on the threshold: those above it are away by exactly 1 in all."""
    if power == 1:
        return [
            [2.0, 1.0],
            [0.5, 0.5, 0.0],
            [0.75, 0.25, 0.0],
            [3.0, 2.875, 2.625, 2.5],
            [2.0**-3] * 8 + [0.0],
            [0.5, 0.25, 0.125, 0.0625, 0.0625, 0.0],
            [2.0**40 + 1, 2.0**40],
        ]
    return [
        [2.0, 0.0],
        [1.0, 1.0, 1.0, 1.0, 0.0],
        [0.5] * 16 + [0.0],
        [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.0],
        [2.0**40 + 2, 2.0**40],
    ]


EDGES: Final = [(power, row) for power in (1, 2) for row in edges(power)]


@pytest.mark.parametrize(("power", "row"), EDGES)
def test_a_key_exactly_on_the_threshold_has_no_weight_and_its_neighbours_are_told_apart(
    power: int, row: list[float]
) -> None:
    """One ulp above it has weight, however small; one ulp below it has none."""
    last = row[-1]
    above, below = math.nextafter(last, math.inf), math.nextafter(last, -math.inf)
    for score, has in ((last, False), (below, False), (above, True)):
        given = [*row[:-1], score]
        assert support(given, power)[-1] is has, "the rationals themselves"
        assert shown(given, power) == support(given, power)
        assert math.fsum(weights_of(given, power)) == pytest.approx(1.0, abs=64 * len(row) * UNIT)
    check([*row[:-1], last], power)
    check([*row[:-1], below], power)


@pytest.mark.parametrize(("power", "row"), [each for each in EDGES if each[1][-1] > 1.0])
def test_a_weight_of_one_ulp_is_known_in_full(power: int, row: list[float]) -> None:
    check([*row[:-1], math.nextafter(row[-1], math.inf)], power)


@BOTH
@pytest.mark.parametrize("exponent", [20, 52, 60, 300, 1000, 1022, 1070])
def test_a_weight_as_small_as_the_distance_from_the_threshold_is_known_in_full(power: int, exponent: int) -> None:
    """A key 1 − 2^−k below one other: 2^−(k + 1) for sparsemax, whatever k."""
    row = [float(power), 2.0**-exponent * power]
    check(row, power)
    if power == 1:
        assert logs_of(row, 1)[1] == pytest.approx(-(exponent + 1) * math.log(2), rel=4 * UNIT)


@BOTH
@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_weight_of_which_float64_holds_the_logarithm_only_is_known_in_full(power: int, count: int) -> None:
    """A key 1 − c·2^−1074 below one other: its z − τ is c·2^−1075 for sparsemax, half way between two floats."""
    row = [float(power), count * 5e-324]
    assert support(row, power) == [True, True]
    with np.errstate(divide="ignore"):
        check(row, power)


@settings(max_examples=100)
@given(SEEDS, POWERS)
def test_keys_within_some_ulps_of_the_threshold_are_decided_exactly(seed: int, power: int) -> None:
    """Random keys above the float that is nearest to their threshold, and above another a few ulps from it."""
    random = np.random.default_rng(seed)
    above = np.sort(random.random(int(random.integers(1, 16))) * power / 2)[::-1] + 4
    kept = above[support(above, power)]
    with mpmath.workdps(60):  # Σ (z − τ)^p = 1 over the keys above
        z = [mpmath.mpf(float(s)) / power for s in kept]
        mean = mpmath.fsum(z) / len(z)
        spread = mpmath.fsum((x - mean) ** 2 for x in z)
        edge = float(power * (mean - (1 / mpmath.mpf(len(z)) if power == 1 else mpmath.sqrt((1 - spread) / len(z)))))
    near = edge
    for _ in range(int(random.integers(0, 4))):
        near = math.nextafter(near, math.inf if random.random() < 0.5 else -math.inf)
    row = random.permutation([*kept, near, edge])
    assert shown(row, power) == support(row, power)
    check(row, power)


# -------------------------------------------------------------------------------------------------- sizes of all kinds


@BOTH
@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
def test_equal_scores_have_equal_weights(power: int, count: int) -> None:
    for score in (0.0, -0.0, 5e-324, 1.0, -1e300, 1e300):
        assert weights_of([score] * count, power) == pytest.approx([1 / count] * count, rel=8 * count * UNIT)
    mixed = logs_of([0.0, -0.0] * count, power)
    assert (mixed == mixed[0]).all()


@BOTH
def test_ties_at_the_edge_have_weight_together_or_none(power: int) -> None:
    for last, has in ((0.0, False), (5e-17, False), (2.0**-50, True), (-(2.0**-50), False)):
        row = [float(power), *[last] * 9]
        if last == 5e-17:
            row[0] += 2.0**-51  # away by more than 1
        assert support(row, power)[1:] == [has] * 9
        check(row, power)


@BOTH
def test_scores_as_far_apart_as_1e300_leave_one_key(power: int) -> None:
    for row in ([1e300, -1e300, 0.0], [-1e300, -1e300 * (1 + 2 * UNIT)], [1e300, math.nextafter(1e300, 0)]):
        found = weights_of(row, power)
        assert found.tolist() == [1.0] + [0.0] * (len(row) - 1)
        check(row, power)
    check([-1e300, -1e300, 1e-300], power)
    check([1e300, 1e300, -1e300], power)


@pytest.mark.parametrize("kernel", ["sparsemax", "entmax"])
def test_scores_at_both_ends_of_float64_are_no_overflow(kernel: str) -> None:
    top = 1.7e308
    made = single(from_logits([[top, -top], [-top, -top], [0.0, -top]], kernel=kernel))
    assert np.asarray(made.matrix).tolist() == [[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]]


@BOTH
def test_differences_below_the_smallest_normal_number_are_kept_apart_by_exact_sums(power: int) -> None:
    """All such keys have weight, and the same to rounding."""
    row = [0.0, 5e-324, -5e-324, 1e-310, -1e-310, 2.0**-1022]
    check(row, power)
    assert weights_of(row, power) == pytest.approx([1 / 6] * 6, rel=16 * UNIT)


@BOTH
def test_subnormal_differences_at_the_edge_are_decided_exactly(power: int) -> None:
    """Keys away by 1 less some subnormal numbers, which float64 would take for 1."""
    for second, third in ((0, 0), (4, 4), (4, 3), (8, 0), (8, -8), (0, -4), (-4, -4)):
        row = [float(power), second * 5e-324, third * 5e-324]
        assert shown(row, power) == support(row, power), row


@BOTH
def test_no_key_and_no_row_are_no_weight(power: int) -> None:
    assert logs_of([-math.inf] * 3, power).tolist() == [-math.inf] * 3
    assert entmax_logs(np.zeros((0, 3)), power).shape == (0, 3)
    assert entmax_logs(np.zeros((2, 0)), power).shape == (2, 0)
    assert logs_of([7.5], power).tolist() == [0.0]
    assert logs_of([-math.inf, -1e300], power).tolist() == [-math.inf, 0.0]


@BOTH
def test_what_is_given_is_not_changed(power: int) -> None:
    table = np.random.default_rng(0).standard_normal((4, 5))
    before = table.tobytes()
    entmax_logs(table, power)
    assert table.tobytes() == before


@BOTH
@pytest.mark.parametrize("width", [1e-3, 0.2, 2.0])
def test_long_rows_are_those_of_rationals(power: int, width: float) -> None:
    """150 keys of which all, many or few have weight."""
    row = np.random.default_rng(3).random(150) * width * power
    assert (sum(support(row, power)) == 150) == (width == 1e-3)
    check(row, power)
