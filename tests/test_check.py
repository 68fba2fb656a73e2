"""Limits that heads must keep: which do not, and what is not known is not kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankscope.check import Limit, failures, limit
from rankscope.errors import UsageError
from tests.report.canned import matrix, record, table


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("effective_rank=0.02n", Limit("effective_rank", "min", 0.02, True)),
        ("erank=.5n", Limit("effective_rank", "min", 0.5, True)),
        (" max_logit = 1e2 ", Limit("max_logit", "min", 100.0)),
        ("logdet=-3.5", Limit("logdet", "min", -3.5)),
    ],
)
def test_a_limit_is_a_measure_and_a_number_or_a_part_of_n(text: str, wanted: Limit) -> None:
    assert limit(text, "min") == wanted


@pytest.mark.parametrize("text", ["effective_rank", "effective_rank=", "=3", "effective_rank=x", "max_logit=nan",
                                  "max_logit=1e999", "max_logit=2m", "max_logit>3"])  # fmt: skip
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        limit(text, "max")
    assert refused.value.code == "RS002"


def test_a_measure_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'effective_rank'"):
        limit("efective_rank=3", "min")


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_value_keeps_a_limit_that_it_reaches(value: float, bound: float) -> None:
    found = table([record("effective_rank", value)], [matrix(size=200)])
    below = list(failures(found, [Limit("effective_rank", "min", bound)]))
    above = list(failures(found, [Limit("effective_rank", "max", bound)]))
    assert (bool(below), bool(above)) == (value < bound, value > bound)


def test_a_part_of_n_is_one_of_the_smaller_side_of_each_matrix() -> None:
    matrices = [matrix(0, "small", 10), matrix(1, "large", 1000)]
    found = table([record("effective_rank", 5.0, matrix=i) for i in (0, 1)], matrices)
    [failed] = failures(found, [limit("effective_rank=0.02n", "min")])
    assert str(failed) == "large: effective_rank 5 < 20 (0.02n)"


def test_bounds_stand_for_a_value_that_is_not_known_and_nothing_for_nothing() -> None:
    known = table([record("rank_exact", None, low=3, high=8)])
    assert not list(failures(known, [limit("rank_exact=3", "min"), limit("rank_exact=8", "max")]))
    assert len(list(failures(known, [limit("rank_exact=4", "min"), limit("rank_exact=7", "max")]))) == 2
    [unknown] = failures(table([record("max_logit", None)]), [limit("max_logit=50", "max")])
    assert "max_logit is not known (nobody knows)" in str(unknown)
