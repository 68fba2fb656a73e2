"""Ranks from below: minors, hints and precision."""

import numpy as np

from rankscope.certificates import Minor, Rank, numbers
from tests.verify.truths import because, given


def test_a_hint_is_used_and_a_bad_one_is_replaced() -> None:
    held = given()["duplicate tokens"]
    good, bad = Minor(tuple(range(5)), tuple(range(5))), Minor((0, 1, 2, 3, 5), tuple(range(5)))
    assert "hinted minor" in because(held, Rank(5, 5, good))
    assert "chosen minor" in because(held, Rank(5, 5, bad))
    assert because(held, Rank(6, 6, Minor(tuple(range(6)), tuple(range(6))))).startswith("refuted")
    assert because(held, Rank(4, 6)).startswith("verified")


def test_precision_is_raised_until_two_rows_differ() -> None:
    """Rows whose softmax differs by 2^-k: k bits do not show it, twice as many do."""
    for exponent, bits in ((50, 64), (80, 128), (1000, 1024), (1022, 2048)):
        held = numbers("softmax", {"log_weights": np.array([[0.0, 0.0], [0.0, 2.0**-exponent]])})
        assert because(held, Rank(2, 2)).endswith(f"not zero at {bits} bits")


def test_a_sum_that_64_bits_do_not_tell_from_zero_costs_precision_only() -> None:
    """Products of 10^30, 1, −10^30 and 2, and a uniform row, for which there are no integers."""
    arrays = {
        "left": np.array([[1.0], [1.0], [0.0]]),
        "right": np.array([[1e30], [1.0], [-1e30], [2.0]]),
        "seen": np.ones((3, 4), dtype=bool),
        "uniform": np.array([False, False, True]),
    }
    assert because(numbers("products", arrays), Rank(2, 2)).endswith("chosen minor not zero at 128 bits")
