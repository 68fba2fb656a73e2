"""What differs from chance: by Student's t, checked with scipy.stats and by drawing."""

import numpy as np
import pytest
import scipy.stats

from rankscope.records import Record
from rankscope.report.chance import CHANCE, quantile, side_of


def record(value: float | None, mean: float | None = 0.0, sd: float | None = 1.0, count: int | None = 10) -> Record:
    return Record(0, "effective_rank", value, null_mean=mean, null_sd=sd, null_count=count)


@pytest.mark.parametrize("freedom", [1, 2, 9, 99])
def test_the_quantile_is_that_of_students_t(freedom: int) -> None:
    assert quantile(freedom) == pytest.approx(float(scipy.stats.t.isf(CHANCE / 2, freedom)), rel=1e-9)


def test_what_is_known_of_the_null_decides() -> None:
    reach = float(scipy.stats.t.isf(CHANCE / 2, 9)) * 1.1**0.5
    assert [side_of(record(each * reach)) for each in (-1.001, -0.999, 0.0, 0.999, 1.001)] == [-1, 0, 0, 0, 1]
    assert side_of(record(None)) == side_of(record(5.0, mean=None, sd=None, count=0)) == 0
    assert side_of(record(5.0, sd=None, count=1)) == 0


def test_counts_and_seeds_that_agree_are_never_called_different() -> None:
    count = Record(0, "energy_rank_90", 40, null_mean=3.0, null_sd=1.0, null_count=10)
    assert side_of(count) == 0
    assert side_of(record(16.0, mean=16.000000000000004, sd=0.0)) == 0
    loose = Record(0, "effective_rank", 9.0, low=1.0, high=17.0, null_mean=0.0, null_sd=1.0, null_count=10)
    assert side_of(loose) == 0


def test_numbers_of_chance_are_called_different_as_rarely_as_is_said() -> None:
    drawn = np.random.default_rng(0).standard_normal((40_000, 6))
    nulls = drawn[:, 1:]
    means, deviations = nulls.mean(axis=1), nulls.std(axis=1, ddof=1)
    rows = zip(drawn[:, 0].tolist(), means.tolist(), deviations.tolist(), strict=True)
    found = [side_of(record(value, mean, deviation, 5)) != 0 for value, mean, deviation in rows]
    expected = CHANCE * len(found)
    assert abs(sum(found) - expected) < 4 * expected**0.5
