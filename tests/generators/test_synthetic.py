"""The standard ensemble: what a ten-line script makes, and streams that depend on nothing but their own place."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankscope.errors import RankscopeError
from rankscope.generators.synthetic import queries_and_keys


@given(st.integers(0, 2**64), st.integers(1, 20), st.integers(1, 20))
def test_layer_0_head_0_is_the_plain_generator(seed: int, n: int, d: int) -> None:
    """rng = default_rng(seed); q = rng.standard_normal((n, d)); then k likewise."""
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((n, d))
    k = rng.standard_normal((n, d))
    found = queries_and_keys(n, d, seed)
    assert np.array_equal(found[0], q)
    assert np.array_equal(found[1], k)
    assert found[0].dtype == found[1].dtype == np.float64


def test_the_first_numbers_of_seed_0_are_these() -> None:
    """A change of numpy's stream would change every oracle: it is noticed here first."""
    queries, keys = queries_and_keys(2, 2, 0)
    assert queries.ravel().tolist() == [
        0.1257302210933933,
        -0.1321048632913019,
        0.6404226504432821,
        0.10490011715303971,
    ]
    assert keys.ravel().tolist() == [-0.535669373161111, 0.36159505490948474, 1.3040000451301372, 0.9470809631292422]


@given(st.integers(0, 100), st.integers(0, 3), st.integers(0, 3))
def test_other_places_draw_from_children_keyed_by_their_place_alone(seed: int, layer: int, head: int) -> None:
    found = queries_and_keys(4, 3, seed, layer, head)
    if (layer, head) == (0, 0):
        return
    for role in (0, 1):
        child = np.random.SeedSequence(entropy=seed, spawn_key=(layer, head, role))
        assert np.array_equal(found[role], np.random.Generator(np.random.PCG64(child)).standard_normal((4, 3)))


def test_no_two_places_share_their_numbers() -> None:
    drawn = [
        tokens.tobytes()
        for seed, layer, head in itertools.product(range(3), range(4), range(4))
        for tokens in queries_and_keys(3, 2, seed, layer, head)
    ]
    assert len(set(drawn)) == len(drawn)


def test_numbers_are_standard_normal() -> None:
    """Mean 0 ± 5/√N, variance 1 ± 5·√(2/N), and no correlation between queries and keys."""
    for place in ((0, 0), (1, 2)):
        queries, keys = queries_and_keys(300, 100, 5, *place)
        bound = 5 / np.sqrt(queries.size)
        for tokens in (queries, keys):
            assert abs(tokens.mean()) < bound
            assert abs(tokens.var() - 1) < np.sqrt(2) * bound
        assert abs((queries * keys).mean()) < bound


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0, 1, 0), "n"),
        ((-1, 1, 0), "n"),
        ((1, 0, 0), "d"),
        ((1, 1, -1), "seed"),
        ((1, 1, 0, -1), "layer"),
        ((1, 1, 0, 0, -1), "head"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: tuple[int, int, int], name: str) -> None:
    with pytest.raises(RankscopeError, match="RS002") as caught:
        queries_and_keys(*arguments)
    assert caught.value.given.startswith(f"{name} = ")
