"""Upper bounds of the rank."""

import numpy as np

from rankscope.certificates import Determinant, Rank, numbers
from tests.verify.truths import because, given, verdicts


def test_a_mean_of_matrices_whose_rows_sum_to_one_has_the_vector_of_ones_once() -> None:
    held = given()["mean of low rank"]
    assert "share 1" in because(held, Rank(4, 4))
    parts = [numbers("stored", {"matrix": np.diag(each)}) for each in ([1.0, 0.0], [0.0, 1.0])]
    assert because(numbers("mean", {}, parts), Rank(2, 2)).startswith("verified")


def test_the_mean_of_matrices_without_rows_shares_nothing() -> None:
    """Its rank is zero, and not the −1 of two zeros of which one vector of ones is shared; its determinant is one."""
    for columns in (0, 3):
        empty = numbers("softmax", {"log_weights": np.zeros((0, columns))})
        held = numbers("mean", {}, [empty, empty])
        assert verdicts(held, Rank(0, 0), Rank(-1, -1)) == ["verified", "refuted"]
    held = numbers("mean", {}, [numbers("softmax", {"log_weights": np.zeros((0, 0))})] * 2)
    assert verdicts(held, Determinant(1, 0.0, 0.0), Determinant(0)) == ["verified", "refuted"]
