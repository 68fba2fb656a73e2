"""Extremes of ranks over intervals against brute force: every vertex, random interiors, and the greatest in between."""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any, Final

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankscope.analyzer.extremes import (
    entropic,
    least_quotient,
    nearest_to,
    of_entropy,
    of_participation,
    of_sum,
    ordered,
    sums,
)
from tests.oracles import UNIT, Float64

SEEDS = st.integers(0, 2**32 - 1)

Bounds = Callable[[Float64, Float64], tuple[float, float]]


def entropy_rank(values: Float64, power: int) -> float:
    weights = [float(x) ** power for x in values if x > 0]
    total = math.fsum(weights)
    return math.exp(-math.fsum(w / total * math.log(w / total) for w in weights if w > 0))


def participation(values: Float64) -> float:
    return math.fsum(values) ** 2 / math.fsum(x * x for x in values)


def over_largest(values: Float64, power: int) -> float:
    return math.fsum((x / max(values)) ** power for x in values)


RANKS: Final[dict[str, tuple[Bounds, Callable[[Float64], float]]]] = {
    "effective": (partial(of_entropy, power=1), lambda s: entropy_rank(s, 1)),
    "of energy": (partial(of_entropy, power=2), lambda s: entropy_rank(s, 2)),
    "participation": (of_participation, participation),
    "nuclear": (partial(of_sum, power=1), lambda s: over_largest(s, 1)),
    "stable": (partial(of_sum, power=2), lambda s: over_largest(s, 2)),
}
"""What bounds each rank, and its definition in plain Python."""

ROUNDING: Final = 64 * UNIT
"""What the plain definitions themselves may lose, for the few values of these tests."""


def box(seed: int, most: int = 5) -> tuple[Float64, Float64]:
    """Intervals of descending values, from points to all that is below them; some reach zero or lie on each other."""
    random = np.random.default_rng(seed)
    size = int(random.integers(1, most + 1))
    middle = np.sort(10.0 ** random.uniform(-random.choice([0.2, 2, 9]), 0, size))[::-1]
    spread = middle * random.choice([0.0, 1e-12, 1e-3, 0.3, 1.0], size)
    if random.random() < 0.3:
        spread = np.full(size, random.choice([1e-9, 1e-2, 0.4]))
    low, high = np.maximum(middle - spread, 0.0), middle + spread
    return np.sort(low)[::-1], np.sort(high)[::-1]


def vertices(low: Float64, high: Float64) -> list[Float64]:
    return [
        np.array(corner) for corner in itertools.product(*zip(low.tolist(), high.tolist(), strict=True)) if any(corner)
    ]


def interior(random: np.random.Generator, low: Float64, high: Float64) -> Float64:
    """A point of the box, on some of its faces."""
    place = random.random(len(low))
    place[random.random(len(low)) < 0.3] = random.integers(2)
    return np.asarray(low + place * (high - low))


def around_levels(low: Float64, high: Float64) -> list[Float64]:
    """The points nearest to a common level, for many levels: where a rank of values in a box is greatest."""
    levels = np.unique(np.concatenate([low, high, np.geomspace(max(low.min(), high.min() / 2), high.max(), 1000)]))
    return [np.clip(level, low, high) for level in levels if level > 0]


@pytest.mark.parametrize("name", RANKS)
@settings(max_examples=150)
@given(SEEDS)
def test_no_values_within_the_intervals_have_a_rank_outside_the_bounds(name: str, seed: int) -> None:
    bounds, rank = RANKS[name]
    low, high = box(seed)
    least, most = bounds(low, high)
    random = np.random.default_rng(seed)
    points = vertices(low, high) + around_levels(low, high) + [interior(random, low, high) for _ in range(60)]
    for values in points:
        if values.any():
            assert least * (1 - ROUNDING) <= rank(values) <= most * (1 + ROUNDING), values


@pytest.mark.parametrize("name", ["effective", "of energy", "participation"])
@settings(max_examples=150)
@given(SEEDS)
def test_bounds_are_met_by_values_within_the_intervals(name: str, seed: int) -> None:
    """The least at a vertex, to rounding; the greatest at a common level, to the grid on which it is looked for.

    The largest value is known to 30 %, as it is for every type of storage; the others need not be known at all.
    """
    bounds, rank = RANKS[name]
    low, high = box(seed)
    low[0] = max(low[0], high[0] / 1.3)
    least, most = bounds(low, high)
    found = min(rank(values) for values in vertices(low, high))
    assert found <= least * (1 + 1e-12)
    found = max(rank(values) for values in around_levels(low, high))
    assert found >= most * (1 - 1e-5)


@pytest.mark.parametrize("power", [1, 2])
@given(SEEDS)
def test_bounds_of_sums_are_met_where_the_largest_value_stands_alone(power: int, seed: int) -> None:
    low, high = box(seed)
    low[0] = high[0] = 2.0 * high[0]
    least, most = of_sum(low, high, power)
    assert least == pytest.approx(over_largest(low, power), rel=1e-12)
    assert most == pytest.approx(over_largest(high, power), rel=1e-12)


@pytest.mark.parametrize("name", RANKS)
@pytest.mark.parametrize("size", [1, 2, 7, 64, 1000])
def test_of_values_that_are_known_the_bounds_hold_the_rank_and_nothing_else(name: str, size: int) -> None:
    """Intervals that are points: what is left is the rounding, which is bounded and small."""
    random = np.random.default_rng(size)
    for spread in (0.1, 3, 12, 200):
        values = np.sort(10.0 ** random.uniform(-spread, 0, size))[::-1]
        values[0] = 1.0
        least, most = RANKS[name][0](values, values)
        with mpmath.workdps(40):
            truth = by_mpmath(name, values)
            assert mpmath.mpf(least) <= truth <= mpmath.mpf(most)
        power = 2 if name in ("of energy", "stable") else 1
        cost = power * spread * math.log(10) + math.log(size)  # the largest −ln p
        assert most - least <= 4 * 8 * (size + 8) * UNIT * (1 + cost) * most


def by_mpmath(name: str, values: Float64) -> Any:
    """The rank in forty digits."""
    power = 2 if name in ("of energy", "stable") else 1
    weights = [mpmath.mpf(float(x)) ** power for x in values]
    total = mpmath.fsum(weights)
    if name in ("effective", "of energy"):
        return mpmath.exp(-mpmath.fsum(w / total * mpmath.log(w / total) for w in weights))
    if name == "participation":
        return total**2 / mpmath.fsum(w * w for w in weights)
    return total / max(weights)


@pytest.mark.parametrize("name", RANKS)
def test_equal_values_have_the_rank_that_they_number(name: str) -> None:
    for size in (1, 3, 100):
        least, most = RANKS[name][0](np.ones(size), np.ones(size))
        assert least <= size == most
        assert least >= size * (1 - 1e-12)


@pytest.mark.parametrize("name", RANKS)
def test_one_value_that_is_not_zero_has_rank_one(name: str) -> None:
    values = np.array([1.0, 0.0, 0.0])
    least, most = RANKS[name][0](values, values)
    assert least == 1.0
    assert 1.0 <= most <= 1 + 1e-12


@pytest.mark.parametrize("name", RANKS)
def test_when_nothing_is_known_every_rank_is_possible(name: str) -> None:
    """Intervals from zero to one: from one to the number of values, and no NaN where all may be zero."""
    least, most = RANKS[name][0](np.zeros(4), np.ones(4))
    assert least == 1.0
    assert most == 4.0


@pytest.mark.parametrize("name", RANKS)
def test_ends_below_zero_are_zero(name: str) -> None:
    low, high = np.array([0.9, -0.5, -1.0]), np.array([1.0, 0.5, 0.25])
    assert RANKS[name][0](low, high) == RANKS[name][0](np.maximum(low, 0.0), high)


@pytest.mark.parametrize("name", RANKS)
def test_values_whose_squares_underflow_do_no_harm(name: str) -> None:
    low, high = np.array([1.0, 1e-200, 1e-320]), np.array([1.0, 2e-200, 5e-320])
    least, most = RANKS[name][0](low, high)
    assert 1.0 <= least <= most <= 1 + 1e-11


@given(SEEDS)
def test_intervals_in_any_order_are_those_of_the_sorted_values(seed: int) -> None:
    """The k-th largest of the values lies between the k-th largest of the lower and of the upper ends."""
    random = np.random.default_rng(seed)
    low = random.standard_normal(5)
    high = low + random.random(5)
    bottom, top = ordered(low, high)
    for _ in range(20):
        values = np.sort(np.maximum(low + random.random(5) * (high - low), 0.0))[::-1]
        assert (bottom <= values).all()
        assert (values <= top).all()


@given(SEEDS)
def test_sums_of_heads_and_tails_are_those_of_slices(seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.random((2, 6))
    for k, total in enumerate(sums(first, second).tolist()):
        assert total == pytest.approx(math.fsum(first[:k]) + math.fsum(second[k:]), rel=1e-15)


@given(SEEDS)
def test_the_least_quotient_is_the_least_over_all_vertices(seed: int) -> None:
    random = np.random.default_rng(seed)
    low, cost = random.random(6), random.standard_normal(6)
    high = low + random.random(6)
    truth = min(
        sum((Fraction(x) * Fraction(c) for x, c in zip(values.tolist(), cost.tolist(), strict=True)), Fraction(0))
        / sum((Fraction(x) for x in values.tolist()), Fraction(0))
        for values in vertices(low, high)
    )
    assert least_quotient(low, high, cost) == pytest.approx(float(truth), abs=1e-14)


def test_the_values_nearest_to_their_threshold_are_a_fixed_point() -> None:
    low, high = np.array([0.9, 0.2, 0.01]), np.array([1.0, 0.6, 0.02])
    thresholds: list[Callable[[Float64], float]] = [
        lambda s: float(s.sum()) / entropic(s),
        lambda s: float((s * s).sum() / s.sum()),
    ]
    for threshold in thresholds:
        values = nearest_to(low, high, threshold)
        assert (low <= values).all()
        assert (values <= high).all()
        assert np.clip(threshold(values), low, high) == pytest.approx(values, rel=1e-9)
