"""Kernels: each gives the matrix of its definition, and their feature maps the values of theirs."""

import math
from collections.abc import Callable
from typing import Any

import flint
import numpy as np
import pytest

import rankscope as rs
from rankscope.attention.build import attention, single
from rankscope.attention.kernels import FEATURES, KERNELS, FeatureKernel, Kernel, ScoreKernel
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


@pytest.mark.parametrize("name", ["softmax", "linear", *(f"linear:{features}" for features in FEATURES)])
def test_built_in_kernels_pass_the_battery(name: str) -> None:
    rs.testing.check_kernel(KERNELS.build(name))


@pytest.mark.parametrize(
    "kernel",
    [
        ScoreKernel("cauchy", lambda s: -np.log1p(s * s)),
        ScoreKernel("gaussian", lambda s: -(s * s)),
        ScoreKernel("tempered", lambda s: s / 3.0),
        FeatureKernel("squares", lambda x: np.concatenate([x * x, np.ones((len(x), 1))], axis=1)),
        FeatureKernel("softplus", lambda x: np.log1p(np.exp(x))),
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
    assert KERNELS.build("linear").features is FEATURES["elu+1"]
    assert KERNELS.build("linear:elu+1").label == KERNELS.build("linear").label == "linear"
    assert KERNELS.build("linear:features=relu").label == "linear:relu"


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [
        ("sofmax", "RS001", "'softmax'"),
        ("linear:rellu", "RS001", "'relu'"),
        ("softmax:2", "RS002", "softmax"),
        ("linear:relu:exp", "RS002", "linear[:FEATURES]"),
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
