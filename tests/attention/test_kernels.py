"""Kernels: each gives the matrix of its definition, and their feature maps the values of theirs."""

import math
from collections.abc import Callable
from typing import Any

import flint
import numpy as np
import pytest

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.kernels import KERNELS, FeatureKernel, Kernel, ScoreKernel
from rankscope.attention.maps import FEATURES
from rankscope.attention.positions import Place
from rankscope.errors import RankscopeError
from tests.oracles import UNIT, away, precision, seen_by

LOGARITHM_UNITS = 8
"""Roundings of at most one unit each in exp, and as many again in hand."""

DEFINITIONS: dict[str, Callable[[Any], Any]] = {
    "elu+1": lambda x: x + 1 if x > 0 else x.exp(),
    "relu": lambda x: x if x > 0 else flint.arb(0),
    "exp": lambda x: x.exp(),
    "identity": lambda x: x,
}


BUILT_IN = [
    "softmax", "tempered:0.5", "tempered:4", "logn", "logn:16", "off-by-one", "sink:-2", "softcap:2", "softcap",
    "sigmoid", "sparsemax", "entmax", "relu2", "linear", *(f"linear:{features}" for features in FEATURES),
    "favor:12", "favor", "cosformer", "efficient", "taylor", "hedgehog", "focused", "focused:2",
    "retnet", "gla", "ssd", "delta", "gated-delta",
]  # fmt: skip


def test_every_registered_kernel_is_among_the_cases() -> None:
    assert {name.partition(":")[0] for name in BUILT_IN} == set(KERNELS.names())


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_kernels_pass_the_battery(name: str) -> None:
    rs.testing.check_kernel(KERNELS.build(name))


@pytest.mark.parametrize(
    "kernel",
    [
        ScoreKernel("cauchy", lambda s: -np.log1p(s * s)),
        ScoreKernel("gaussian", lambda s: -(s * s)),
        ScoreKernel("tempered", lambda s: s / 3.0),
        FeatureKernel("squares", lambda x, i, place: np.concatenate([x * x, np.ones((len(x), 1))], axis=1)),
        FeatureKernel("softplus", lambda x, i, place: np.log1p(np.exp(x))),
    ],
    ids=lambda kernel: kernel.label,
)
def test_kernels_of_a_user_pass_the_battery(kernel: Kernel) -> None:
    rs.testing.check_kernel(kernel)


@pytest.mark.parametrize("name", FEATURES)
def test_feature_maps_are_their_definitions(name: str) -> None:
    points = np.array([[-700.0, -3.5, -1e-300, -0.0, 0.0, 1e-300, 0.75, 3.5, 700.0]])
    found = FEATURES[name](points)[0]
    with precision(128):
        truths = [DEFINITIONS[name](flint.arb(x)) for x in points[0]]
        errors = [away(value, truth) for value, truth in zip(found, truths, strict=True)]
        allowed = [LOGARITHM_UNITS * UNIT * float(abs(truth)) for truth in truths]
    assert all(error <= bound for error, bound in zip(errors, allowed, strict=True)), (found, errors)
    assert (found >= 0).all() or name == "identity"


def test_the_default_feature_map_is_elu_plus_one() -> None:
    points = np.linspace(-3, 3, 7)[:, None]
    found = KERNELS.build("linear").features(points, np.arange(7), Place(7))
    assert np.array_equal(found, FEATURES["elu+1"](points))
    assert KERNELS.build("linear:elu+1").label == KERNELS.build("linear").label == "linear"
    assert KERNELS.build("linear:features=relu").label == "linear:relu"


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [
        ("sofmax", "RS001", "'softmax'"),
        ("linear:rellu", "RS001", "'relu'"),
        ("softmax:2", "RS002", "softmax"),
        ("linear:relu:exp", "RS002", "linear[:FEATURES=elu+1]"),
    ],
)
def test_unknown_kernels_are_refused_with_the_nearest(name: str, code: str, word: str) -> None:
    with pytest.raises(RankscopeError) as caught:
        KERNELS.build(name)
    assert caught.value.code == code
    assert word in caught.value.remedy


def test_a_score_kernel_acts_before_the_mask() -> None:
    """w(s) = 1/(1 + s²), written out in plain Python, under a causal mask."""
    random = np.random.default_rng(3)
    queries, keys = random.standard_normal((2, 5, 4))
    operator = single(
        attention(queries, keys, mask="causal", kernel=ScoreKernel("cauchy", lambda s: -np.log1p(s * s)), scale=2.0)
    )
    seen = seen_by(lambda i, j: j <= i, 5, 5)
    for i in range(5):
        scores = [2.0 * math.fsum(queries[i] * keys[j]) / 2.0 for j in range(5)]
        weights = [1 / (1 + s * s) if seen[i, j] else 0.0 for j, s in enumerate(scores)]
        total = math.fsum(weights)
        for j in range(5):
            # each score is a sum of 4 products, and 1/(1+s²) passes at most its relative error on, twice
            assert math.isclose(operator.matrix[i, j], weights[j] / total, rel_tol=64 * UNIT, abs_tol=0.0)


@pytest.mark.parametrize("m", [32, 256])
def test_oracle_p18_random_features_bound_the_rank(m: int) -> None:
    made = single(rs.synthetic(n=512, d=64, kernel=f"favor:{m}"))
    assert made.structure.rank_bound.value == m
    assert rs.rank_numerical(made).value == m
    assert rs.analyze(made, measures="rank_exact", prove=True)["rank_exact"].value == m  # type: ignore[union-attr]


def test_random_features_estimate_the_exponential_without_bias() -> None:
    """The mean over seeds lies within five of its own standard deviations, and the rows are orthogonal by blocks."""
    random = np.random.default_rng(0)
    q, k = 0.5 * random.standard_normal((2, 5, 4))
    truth = np.exp(q @ k.T / 2)
    features, index = KERNELS.build("favor:16").features, np.arange(5)
    found = []
    for seed in range(300):
        place = Place(5, seed=seed)
        found.append(features(q, index, place) @ features(k, index, place).T)
    spread = np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - truth) < 5 * spread).all()
    assert not np.array_equal(found[0], found[1])


def test_taylor_features_make_the_polynomial() -> None:
    random = np.random.default_rng(1)
    q, k = random.standard_normal((2, 6, 5))
    s = q @ k.T / np.sqrt(5)
    left, right = (KERNELS.build("taylor").features(x, np.arange(6), Place(6)) for x in (q, k))
    assert left.shape == (6, 1 + 5 + 15)
    assert np.allclose(left @ right.T, 1 + s + s * s / 2, rtol=1e-13, atol=1e-13)


def test_focused_features_keep_the_length_and_turn_towards_the_largest() -> None:
    random = np.random.default_rng(2)
    x = random.standard_normal((20, 6))
    kept = np.maximum(x, 0)
    for power in (1, 3, 9):
        found = KERNELS.build(f"focused:{power}").features(x, np.arange(20), Place(20))
        assert np.linalg.norm(found, axis=1) == pytest.approx(np.linalg.norm(kept, axis=1), rel=1e-13)
        lengths = np.linalg.norm(kept**power, axis=1, keepdims=True)
        direction = kept**power / np.where(lengths > 0, lengths, 1)
        assert np.allclose(found, direction * np.linalg.norm(kept, axis=1, keepdims=True), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("d", "power", "rank"), [(2, 3, 4), (3, 2, 6), (4, 3, 20)])
def test_oracle_p19_hadamard_powers_of_scores_have_binomial_rank(d: int, power: int, rank: int) -> None:
    """The rank of (q kᵀ)^∘p is C(d + p − 1, p), exactly, for integers."""
    random = np.random.default_rng(3)
    q, k = random.integers(-9, 10, (2, 40, d)).astype(float)
    found = rs.analyze((q @ k.T) ** power, measures="rank_exact", prove=True)["rank_exact"]
    assert (found.value, found.guarantee) == (rank, "proved")  # type: ignore[union-attr]


def test_a_temperature_divides_the_scores() -> None:
    q, k = np.random.default_rng(4).standard_normal((2, 6, 3))
    one, two = (single(attention(q, k, kernel="tempered:2")), single(attention(q, k, scale=0.5)))
    assert np.allclose(one.matrix, two.matrix, rtol=1e-14)
