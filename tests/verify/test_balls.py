"""Balls."""

from itertools import pairwise

from rankscope.verify.balls import BITS


def test_precisions_are_doubled_from_64_bits_to_8192() -> None:
    assert (BITS[0], BITS[-1]) == (64, 8192)
    assert all(second == 2 * first for first, second in pairwise(BITS))
