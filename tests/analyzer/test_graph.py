"""Who reaches whom: Boolean products power by power, closed forms for windows, and the formula of Wu et al."""

import math

import mpmath
import numpy as np
import pytest

from rankscope.analyzer.graph import FEW, Graph, centre_nodes, log10_wu_gap, mask_radius
from rankscope.arrays import Boolean
from rankscope.attention.masks import parse

SIZES = [1, 2, 3, 5, 8, 9, 16, 17]


def pattern(mask: str, n: int) -> Boolean:
    allows = parse(mask).allows
    return np.array([[bool(allows(i, j)) for j in range(n)] for i in range(n)])


def drawn(seed: int, *, diagonal: bool) -> Boolean:
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 8))
    found = random.random((n, n)) < random.uniform(0.1, 0.7)
    if diagonal:
        np.fill_diagonal(found, True)
    return np.asarray(found)


def times(later: Boolean, earlier: Boolean) -> Boolean:
    """The Boolean product by its definition."""
    return np.asarray((later[:, :, None] & earlier[None, :, :]).any(axis=1))


def slow_radius(layers: list[Boolean]) -> int | None:
    found = np.eye(len(layers[0]), dtype=bool)
    for count, each in enumerate(layers, 1):
        found = times(each, found)
        if found.all(axis=0).any():
            return count
    return None


def slow_centres(step: Boolean) -> list[int]:
    """By Warshall's algorithm: key j reaches query i through layers."""
    n = len(step)
    reached = [[bool(step[i, j]) or i == j for j in range(n)] for i in range(n)]
    for via in range(n):
        for i in range(n):
            for j in range(n):
                reached[i][j] = reached[i][j] or (reached[i][via] and reached[via][j])
    return [j for j in range(n) if all(reached[i][j] for i in range(n))]


def around(n: int) -> Boolean:
    """A cycle of n tokens with one chord, whose powers take longest to fill (Wielandt 1950)."""
    found = np.roll(np.eye(n, dtype=bool), 1, axis=1)
    found[n - 1, 1] = True
    return found


# ------------------------------------------------------------------------------------------------------- any pattern


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("seed", range(40))
def test_centres_and_radius_are_those_of_powers_of_the_pattern(seed: int, diagonal: bool) -> None:
    step = drawn(seed, diagonal=diagonal)
    graph = Graph([step] * 2)
    assert graph.centres == slow_centres(step)
    assert graph.radius == slow_radius([step] * (len(step) ** 2 + 1))


def test_some_random_patterns_have_a_radius_and_some_have_none() -> None:
    for diagonal in (True, False):
        found = [Graph([drawn(seed, diagonal=diagonal)]).radius for seed in range(40)]
        assert None in found
        assert max(each or 0 for each in found) >= 3


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7])
def test_the_radius_is_found_however_long_powers_take_to_fill_a_column(n: int) -> None:
    step = around(n)
    expected = slow_radius([step] * n**2)
    assert expected is not None
    assert Graph([step]).radius == expected


@pytest.mark.parametrize("seed", range(30))
def test_layers_with_different_masks_are_multiplied_in_their_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    n, count = int(random.integers(2, 7)), int(random.integers(2, 6))
    layers = [np.asarray(random.random((n, n)) < random.uniform(0.2, 0.7)) for _ in range(count)]
    graph = Graph(layers)
    assert not graph.alike
    whole = layers[0]
    for each in layers[1:]:
        whole = times(each, whole)
    assert graph.centres == [j for j in range(n) if whole[:, j].all()]
    assert graph.radius == slow_radius(layers)


def test_the_order_of_layers_matters() -> None:
    star, chain = pattern("global:1", 4), pattern("causal & window:2", 4)
    only_first = np.eye(4, dtype=bool)
    only_first[1, 0] = only_first[2, 1] = True
    assert Graph([star, only_first]).radius == 1
    assert Graph([only_first, star]).radius == 2
    assert Graph([chain, chain, star]).radius == slow_radius([chain, chain, star])


def test_equal_masks_in_different_arrays_are_alike() -> None:
    graph = Graph([pattern("window:2", 5), pattern("window:2", 5)])
    assert graph.alike
    assert graph.radius == 2


# ------------------------------------------------------------------------------------------------------ closed forms


@pytest.mark.parametrize("n", SIZES)
def test_causal_attention_has_the_first_token_as_its_centre(n: int) -> None:
    graph = Graph([pattern("causal", n)])
    assert (graph.centres, graph.radius) == ([0], 1)


@pytest.mark.parametrize("n", SIZES)
def test_attention_that_sees_everything_has_every_token_as_a_centre(n: int) -> None:
    graph = Graph([pattern("bidirectional", n)] * 3)
    assert (graph.centres, graph.radius) == (list(range(n)), 1)


@pytest.mark.parametrize("n", SIZES[1:])
@pytest.mark.parametrize("width", [2, 3, 4, 7])
def test_the_radius_of_windows_is_the_way_over_steps(n: int, width: int) -> None:
    causal, both = Graph([pattern(f"causal & window:{width}", n)]), Graph([pattern(f"window:{width}", n)])
    assert causal.radius == math.ceil((n - 1) / (width - 1))
    assert causal.centres == [0]
    assert both.radius == math.ceil(math.ceil((n - 1) / 2) / (width - 1))
    assert both.centres == list(range(n))


@pytest.mark.parametrize("n", [4, 6, 9])
def test_packed_documents_have_no_centre(n: int) -> None:
    graph = Graph([pattern("packed:3", n)])
    assert (graph.centres, graph.radius) == ([], None)
    assert centre_nodes(graph).value == 0
    found = mask_radius(graph)
    assert (found.value, found.because) == (None, "no token reaches all")


def test_tokens_that_see_only_themselves_reach_nobody() -> None:
    assert Graph([pattern("window:1", 4)]).radius is None


def test_layers_that_are_too_few_say_so() -> None:
    found = mask_radius(Graph([pattern("window:2", 9), pattern("causal & window:2", 9)]))
    assert (found.value, found.because) == (None, "no token reaches all within these layers")


def test_the_first_centres_are_listed() -> None:
    found = centre_nodes(Graph([pattern("bidirectional", 20)]))
    assert (found.value, found.guarantee) == (20, "proved")
    assert found.details["first"] == list(range(FEW))


# --------------------------------------------------------------------------------------------------- Wu et al. 2024


def formula(epsilon: float, radius: int) -> float:
    with mpmath.workdps(2000):
        power = mpmath.mpf(epsilon) ** radius
        return float(mpmath.log10(1 - (1 - power) ** (mpmath.mpf(1) / radius)))


@pytest.mark.parametrize("epsilon", [0.5, 0.3, 1e-2, 1e-5, 1e-13, 1e-30])
@pytest.mark.parametrize("n", [2, 5, 9, 33])
def test_the_gap_is_that_of_the_formula(epsilon: float, n: int) -> None:
    graph = Graph([pattern("causal & window:2", n)], math.log(epsilon))
    found = log10_wu_gap(graph)
    expected = formula(epsilon, n - 1)
    assert found.value == pytest.approx(expected, rel=1e-13, abs=1e-13)
    assert found.details["log10_epsilon"] == pytest.approx(math.log10(epsilon), rel=1e-14)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_there_is_no_gap_to_one_where_each_query_gives_all_its_weight_to_one_key(n: int) -> None:
    """ε = 1: 1 − (1 − 1)^(1/r) = 1, after r layers all tokens are the first."""
    step = np.eye(n, k=-1, dtype=bool)
    step[0, 0] = True
    graph = Graph([step], 0.0)
    assert graph.radius == n - 1
    assert log10_wu_gap(graph).value == 0.0


def test_without_a_radius_or_a_weight_there_is_no_gap() -> None:
    assert log10_wu_gap(Graph([pattern("packed:2", 4)], -1.0)).value is None
    found = log10_wu_gap(Graph([pattern("causal", 4)]))
    assert (found.value, found.because) == (None, "a weight is zero in float64")
