"""Ranks of integers."""

import flint
import numpy as np

from rankscope.verify.integers import integer_rank
from tests import oracles


def test_the_rank_of_integers_against_rationals_and_against_unlucky_primes() -> None:
    random = np.random.default_rng(6)
    for rank in range(5):
        array = random.integers(-(10**6), 10**6, (6, rank)) @ random.integers(-(10**6), 10**6, (rank, 5))
        assert integer_rank(flint.fmpz_mat(array.tolist()), 5) == oracles.rational(array.astype(object)).rank()
    prime = 2**63 - 25
    assert integer_rank(flint.fmpz_mat([[prime, 0], [0, 1]]), 2) == 2
    assert integer_rank(flint.fmpz_mat([[prime, 0], [0, 0]]), 2) == 1
