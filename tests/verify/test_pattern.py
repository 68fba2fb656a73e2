"""What zero patterns say."""

import flint
import numpy as np

from rankscope.verify.pattern import blocks, cover, pattern
from tests import oracles
from tests.verify.truths import exactly, given


def test_a_cover_is_as_small_as_the_largest_rank_on_the_pattern() -> None:
    """Against the rank of random numbers on the same pattern, which is the largest almost surely."""
    random = np.random.default_rng(3)
    for _ in range(200):
        shape = random.integers(1, 8, 2)
        places = random.random(shape) < random.random()
        assert cover(places) == np.linalg.matrix_rank(np.where(places, random.standard_normal(shape), 0.0))


def test_blocks_make_a_matrix_block_lower_triangular() -> None:
    random = np.random.default_rng(4)
    for size in range(9):
        places = random.random((size, size)) < 0.2
        found = blocks(places)
        assert sorted(index for block in found for index in block) == list(range(size))
        for number, block in enumerate(found):
            later = [index for other in found[number + 1 :] for index in other]
            assert not places[np.ix_(block, later)].any()


def test_patterns_hold_every_entry_that_is_not_zero() -> None:
    for name, held in given().items():
        with oracles.precision(256):
            entries = flint.arb_mat(exactly(held)).tolist()
        places = pattern(held)
        assert all(places[i, j] or x.contains(0) for i, row in enumerate(entries) for j, x in enumerate(row)), name
