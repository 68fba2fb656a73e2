"""Initialisations: variances, bounds and orthogonality as their sources state them, and as torch fills its layers."""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
import torch

import rankscope as rs
from rankscope.attention.operators import Dense
from rankscope.generators.initial import INITIALISATIONS
from tests.oracles import UNIT, Float64

WIDTH, HEAD = 300, 100
COUNT: Final = WIDTH * HEAD

VARIANCES: Final[dict[str, Callable[[int], float]]] = {
    "lecun": lambda width: 1 / width,
    "xavier": lambda width: 1 / width,
    "he": lambda width: 2 / width,
    "torch": lambda width: 1 / (3 * width),
    "gpt2": lambda width: 0.02**2,
    "orthogonal": lambda width: 1 / width,
}

BOUNDS: Final[dict[str, Callable[[int], float]]] = {
    "xavier": lambda width: math.sqrt(6 / (width + width)),
    "torch": lambda width: 1 / math.sqrt(width),
}
"""Of the uniform ones."""


def weights(name: str, width: int = WIDTH, d: int = HEAD, seed: int = 0) -> Float64:
    made = INITIALISATIONS[name].function(np.random.default_rng(seed), width, d)
    return np.asarray(made, dtype=np.float64)


def test_every_initialisation_is_among_the_cases() -> None:
    assert set(VARIANCES) == set(INITIALISATIONS.names())


@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize(("width", "d"), [(1, 1), (5, 3), (3, 5), (WIDTH, HEAD)])
def test_weights_take_tokens_to_a_head_and_follow_their_seed(name: str, width: int, d: int) -> None:
    found = weights(name, width, d)
    assert found.shape == (width, d)
    assert np.array_equal(found, weights(name, width, d))
    assert np.array_equal(found, weights(name, width, d, seed=1)) == (name == "orthogonal" and width == d == 1)


@pytest.mark.parametrize("name", [name for name in VARIANCES if name != "orthogonal"])
@pytest.mark.parametrize("width", [75, WIDTH])
def test_weights_have_mean_zero_and_their_variance(name: str, width: int) -> None:
    """0 ± 5σ/√N; σ² ± 5σ²√((κ − 1)/N), with the fourth moment κ = 3 of normal and 9/5 of uniform numbers."""
    found, truth = weights(name, width), VARIANCES[name](width)
    count, fourth = width * HEAD, 9 / 5 if name in BOUNDS else 3.0
    assert abs(found.mean()) < 5 * math.sqrt(truth / count)
    assert abs((found**2).mean() / truth - 1) < 5 * math.sqrt((fourth - 1) / count)
    # √((μ₈ − μ₄²)/N) of the fourth moment: μ₈ = 105 and 9 in units of the variance
    spread = 96.0 if fourth == 3 else 9.0 - 3.24
    assert abs((found**4).mean() / truth**2 - fourth) < 5 * math.sqrt(spread / count)


@pytest.mark.parametrize("name", BOUNDS)
def test_uniform_weights_fill_their_interval_and_no_more(name: str) -> None:
    """Of N numbers the largest misses the end by more than 20/N of the interval with probability e⁻²⁰."""
    found, bound = weights(name), BOUNDS[name](WIDTH)
    assert np.abs(found).max() <= bound
    for end in (found.max(), -found.min()):
        assert end >= bound * (1 - 40 / COUNT)


def test_the_bound_called_torch_is_that_of_torch() -> None:
    """`Linear` fills weight (out × in) with float32 up to its bound, rounded."""
    layer = torch.nn.Linear(WIDTH, HEAD, bias=False)
    largest, bound = float(layer.weight.detach().abs().max()), BOUNDS["torch"](WIDTH)
    assert bound * (1 - 20 / COUNT) <= largest <= bound * (1 + 2.0**-23)
    assert bound * (1 - 20 / COUNT) <= np.abs(weights("torch")).max() <= bound


@pytest.mark.parametrize(
    ("name", "fill", "shape"),
    [
        ("xavier", torch.nn.init.xavier_uniform_, (WIDTH, WIDTH)),
        ("he", lambda each: torch.nn.init.kaiming_normal_(each, nonlinearity="relu"), (HEAD, WIDTH)),
        ("lecun", lambda each: torch.nn.init.kaiming_normal_(each, nonlinearity="linear"), (HEAD, WIDTH)),
    ],
)
def test_variances_are_those_of_torch(name: str, fill: Callable[[Any], Any], shape: tuple[int, int]) -> None:
    """Xavier is that of the projection to all heads, width × width. Two samples: √2 times the standard error."""
    theirs = fill(torch.empty(shape, dtype=torch.float64)).numpy()
    ours = weights(name)
    bound = 5 * math.sqrt(2) * math.sqrt(2 / min(theirs.size, ours.size))
    assert abs((ours**2).mean() / (theirs**2).mean() - 1) < bound


@pytest.mark.parametrize(("width", "d"), [(20, 20), (20, 7), (7, 20), (1, 4), (4, 1)])
def test_orthogonal_weights_are_orthonormal_on_their_shorter_side(width: int, d: int) -> None:
    """And so their mean square is 1/max(width, d) exactly. Householder's Q: a small constant times √n·m·n·u."""
    found = weights("orthogonal", width, d)
    gram = found.T @ found if width >= d else found @ found.T
    least, most = sorted((width, d))
    assert np.linalg.norm(gram - np.eye(least)) <= 4 * math.sqrt(least) * most * least * UNIT
    assert (found**2).mean() == pytest.approx(1 / most, rel=16 * least * most * UNIT, abs=0)


def test_orthogonal_weights_have_no_preferred_direction() -> None:
    """Without the signs of R the first entry of a column would always be negative, or positive: ±1/√width each."""
    seeds = 400
    for width, d in ((6, 3), (3, 6)):
        mean = np.mean([weights("orthogonal", width, d, seed) for seed in range(seeds)], axis=0)
        assert (np.abs(mean) < 5 / math.sqrt(6 * seeds)).all()


def logits(name: str) -> Float64:
    """q·k/√d of tokens with these weights."""
    made = rs.synthetic(n=40, d=8, ensemble="tokens", init=name)
    assert isinstance(made, Dense)
    assert made.request is not None
    pair = made.request.tokens
    return np.asarray(pair.left @ pair.right.T / math.sqrt(8))


@pytest.mark.parametrize(("name", "base", "factor"), [("torch", "xavier", 1 / 3), ("he", "lecun", 2.0)])
def test_scores_are_scaled_by_the_product_of_both_factors(name: str, base: str, factor: float) -> None:
    """Weights of the same numbers: torch's scores are three times smaller, He's twice as large."""
    one, two = logits(name), logits(base)
    assert np.abs(one - factor * two).max() <= 8 * (64 + 8) * UNIT * 64 * np.abs(two).max()


@pytest.mark.parametrize(("name", "variance"), [("lecun", 1.0), ("xavier", 1.0), ("torch", 1 / 9), ("he", 4.0)])
def test_scores_of_standard_normal_tokens_have_the_variance_that_follows(name: str, variance: float) -> None:
    """s = x·M·y/√d with M = W_Q·W_Kᵀ has variance ‖M‖_F²/d over tokens; over weights its mean is width²·d·v²/d.

    That of 400 independent heads: the mean of their s² is (width·v)² ± 5 standard errors, estimated from the sample.
    """
    sample = []
    for head in range(400):
        random = np.random.default_rng([head, 1])
        x, y = random.standard_normal((2, 16))
        draw = INITIALISATIONS[name].function
        q, k = x @ draw(random, 16, 4), y @ draw(random, 16, 4)
        sample.append(float(q @ k) ** 2 / 4)
    assert abs(np.mean(sample) - variance) < 5 * np.std(sample) / math.sqrt(len(sample))
