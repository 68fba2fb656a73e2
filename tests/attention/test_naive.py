"""The slow definitions against balls and rationals: they are the test of everything else, so they are tested too."""

import math

import numpy as np
import pytest

from rankscope.attention import naive
from rankscope.attention.masks import parse
from tests.oracles import SEES, UNIT, away, dyadic, exact_scores, normalised, precision, seen_by, softmax

SIZE, HEAD = 6, 4
UNITS = 4 * SIZE + 8
"""One rounding for each of the n terms of a sum (fsum has one for all), for exp (with a shift of the exponent), for the
division: 4n + 8 is several times more than all of them.
"""


@pytest.mark.parametrize("name", SEES)
def test_softmax_is_the_softmax_of_balls(name: str) -> None:
    queries, keys = dyadic(np.random.default_rng(0), 2, SIZE, HEAD)
    found = naive.softmax(queries.tolist(), keys.tolist(), parse(name), scale=0.5)
    with precision(128):
        truth = softmax(exact_scores(queries, keys, 0.5), seen_by(SEES[name], SIZE, SIZE))
        errors = [[away(found[i][j], truth[i, j]) for j in range(SIZE)] for i in range(SIZE)]
    assert all(errors[i][j] <= UNITS * UNIT * found[i][j] for i in range(SIZE) for j in range(SIZE))


@pytest.mark.parametrize("name", SEES)
def test_linear_is_the_rational_quotient(name: str) -> None:
    queries, keys = np.abs(dyadic(np.random.default_rng(1), 2, SIZE, HEAD)) + 1.0
    found = naive.linear(queries.tolist(), keys.tolist(), parse(name), lambda token: token)
    truth = normalised(queries, keys, seen_by(SEES[name], SIZE, SIZE))
    for i in range(SIZE):
        for j in range(SIZE):
            exact = int(truth[i, j].p) / int(truth[i, j].q)
            assert math.isclose(found[i][j], exact, rel_tol=UNITS * UNIT, abs_tol=0.0)


def test_queries_are_the_last_of_the_keys() -> None:
    assert naive.softmax([[0.0], [0.0]], [[0.0]] * 4, parse("causal")) == [
        [1 / 3, 1 / 3, 1 / 3, 0.0],
        [0.25, 0.25, 0.25, 0.25],
    ]
