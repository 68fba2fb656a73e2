"""Networks: what they draw, what they refuse, and laws that hold for them exactly."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.errors import RankscopeError
from rankscope.generators.checked import NORMS, check_network
from rankscope.generators.depth import Attended, walk
from rankscope.generators.network import Stack
from rankscope.generators.plain import plainly

SMALL: dict[str, Any] = {"n": 10, "d": 3, "layers": 3}


def outputs(stack: Stack) -> np.ndarray:
    return list(walk(stack))[-1].tokens.floats


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"heads": 3, "skip": True},
        {"mlp": "relu", "norm": "pre", "skip": True, "alpha": "1/sqrt(L)"},
        {"mlp": "gelu", "norm": "post:rms", "alpha": 0.5, "skip": True},
        {"mask": "causal", "kernel": "linear", "position": "none", "values": "identity"},
        {"mask": "window:3", "position": "alibi", "heads": 2},
        {"rescale": "perp", "gain": 2.0},
        {"rescale": 0.3, "fixed": True},
        {"position": "sinusoidal", "kernel": "sigmoid"},
        {"plan": "heads", "heads": 2},
        {"kernel": "retnet", "mask": "causal", "norm": "pre"},
    ],
)
def test_the_walk_and_plain_arithmetic_agree_where_float64_suffices(options: dict[str, Any]) -> None:
    stack = Stack(**{**SMALL, **options})
    for state, x in zip(walk(stack), plainly(stack), strict=True):
        np.testing.assert_allclose(state.tokens.floats, x, rtol=0, atol=1e-12 * max(1.0, float(np.abs(x).max())))


def test_layer_0_is_what_analyze_makes_of_the_same_tokens() -> None:
    stack = Stack(n=12, d=4, heads=2, layers=2, seed=7, mask="causal")
    seen: list[Attended] = []
    list(walk(stack, seen.append))
    made = rs.synthetic(n=12, d=4, heads=2, seed=7, mask="causal", ensemble="tokens:width=8")
    assert isinstance(made, list)
    for attended, operator in zip(seen[:2], made[:2], strict=True):
        np.testing.assert_allclose(np.asarray(attended.make()), np.asarray(operator), rtol=0, atol=1e-14)


def test_adding_a_layer_changes_no_other() -> None:
    short, long = list(walk(Stack(**SMALL))), list(walk(replace(Stack(**SMALL), layers=5)))
    for one, other in zip(short, long, strict=False):
        np.testing.assert_array_equal(one.tokens.floats, other.tokens.floats)


def test_each_attention_matrix_is_seen_once_and_in_order() -> None:
    places: list[tuple[int, int]] = []
    list(walk(Stack(n=6, d=2, heads=2, layers=3), lambda attended: places.append((attended.layer, attended.head))))
    assert places == [(layer, head) for layer in range(3) for head in range(2)]


def test_fixed_attention_is_that_of_layer_0() -> None:
    stack = Stack(n=6, d=6, layers=4, mask="causal", values="identity", fixed=True)
    seen: list[np.ndarray] = []
    list(walk(stack, lambda attended: seen.append(attended.mixing.matrix)))
    assert len(seen) == 1
    np.testing.assert_allclose(outputs(stack), np.linalg.matrix_power(seen[0], 4) @ stack.tokens(), rtol=0, atol=1e-14)


def test_given_tokens_and_maps_are_used() -> None:
    x = np.random.default_rng(3).standard_normal((6, 4))
    eye, zero = rs.Linear(np.eye(4)), rs.Linear(np.zeros((4, 4)))
    bias = np.array([1.0, 2.0, 3.0, 4.0])
    block = rs.Block((rs.Head(zero, zero, rs.Linear(np.eye(4), bias), eye),))
    stack = Stack(n=6, d=4, layers=1, given_tokens=x, given_blocks=[block])
    np.testing.assert_allclose(outputs(stack), np.tile(x.mean(axis=0) + bias, (6, 1)), rtol=1e-14)
    assert stack.width == 4
    assert stack.described()["given_tokens"] == [6, 4]


def test_biases_of_queries_and_keys_count() -> None:
    random = np.random.default_rng(8)
    x = random.standard_normal((6, 4))
    maps = [rs.Linear(random.standard_normal((4, 4)), random.standard_normal(4)) for _ in range(4)]
    stack = Stack(n=6, d=4, layers=1, given_tokens=x, given_blocks=[rs.Block((rs.Head(*maps),))])
    q, k, v = (x @ each.weights + each.bias for each in maps[:3] if each.bias is not None)
    scores = q @ k.T / 2
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert maps[3].bias is not None
    expected = weights @ v @ maps[3].weights + maps[3].bias
    np.testing.assert_allclose(outputs(stack), expected, rtol=0, atol=1e-13)
    assert (
        np.abs(outputs(replace(stack, given_blocks=[rs.Block((rs.Head(*map(unbiased, maps)),))])) - expected).max()
        > 0.1
    )


def unbiased(by: "rs.Linear") -> "rs.Linear":
    return rs.Linear(by.weights)


def test_nocis_law_of_uniform_attention_with_skips() -> None:
    """X ← X + α·(1/n)11ᵀXW: deviations are conserved exactly, and E‖mean‖² grows by 1 + α² in each layer."""
    n, d, layers, alpha = 8, 8, 6, 0.7
    grown = []
    for seed in range(400):
        stack = Stack(n=n, d=d, layers=layers, scale=0.0, skip=True, alpha=alpha, seed=seed, values="lecun")
        block = stack.block(0)
        states = list(walk(replace(stack, given_blocks=[plain(stack, layer) for layer in range(layers)])))
        first, last = states[0].tokens, states[-1].tokens
        np.testing.assert_allclose(first.residual.floats, last.residual.floats, rtol=0, atol=1e-15 * layers)
        grown.append(float(np.sum(last.mean.floats**2)) / float(np.sum(first.mean.floats**2)))
        assert block.heads
    expected = (1 + alpha**2) ** layers
    spread = np.std(grown) / math.sqrt(len(grown))
    assert abs(np.mean(grown) - expected) < 4 * spread < 0.5 * expected


def plain(stack: Stack, layer: int) -> "rs.Block":
    """The maps of a layer with one random matrix, W_ij ~ N(0, 1/d), where a network has two."""
    head = stack.block(layer).heads[0]
    return rs.Block((rs.Head(head.query, head.key, head.value, rs.Linear(np.eye(stack.d))),))


def test_the_strength_of_branches_can_fall_with_depth() -> None:
    assert Stack(layers=16, alpha="1/sqrt(L)").strength == 0.25
    assert Stack(alpha=0.5).strength == 0.5


def test_labels_tell_networks_apart() -> None:
    varied: list[dict[str, Any]] = [
        {}, {"skip": True}, {"mlp": "relu"}, {"mlp": "gelu"}, {"mlp": "relu", "mlp_gain": 2.0}, {"mask": "causal"},
        {"kernel": "linear"}, {"position": "rope"}, {"scale": 2.0}, {"ensemble": "correlated:0.5"}, {"init": "he"},
        {"values": "orthogonal"}, {"gain": 2.0}, {"alpha": 0.5}, {"alpha": "1/sqrt(L)"}, {"rescale": "perp"},
        {"rescale": 0.5}, {"fixed": True}, {"mlp": "relu", "mlp_ratio": 2.0}, {"mlp": "relu", "mlp_init": "lecun"},
        {"heads": 2, "plan": "heads"}, *({"norm": norm} for norm in NORMS[1:]),
    ]  # fmt: skip
    labels = [Stack(**options).label for options in varied]
    assert len(set(labels)) == len(labels), labels
    assert labels[0] == "pure bidirectional"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"n": 0}, "RS002"), ({"layers": 0}, "RS002"), ({"scale": -1.0}, "RS002"), ({"gain": math.nan}, "RS002"),
        ({"alpha": "half"}, "RS002"), ({"alpha": math.inf}, "RS002"), ({"norm": "before"}, "RS001"),
        ({"rescale": "none at all"}, "RS002"), ({"rescale": math.inf}, "RS002"), ({"mlp": "swish"}, "RS001"),
        ({"values": "zeros"}, "RS001"), ({"init": "zeros"}, "RS001"), ({"ensemble": "markov"}, "RS003"),
        ({"ensemble": "gaussian"}, "RS003"), ({"plan": "heads"}, "RS002"),
        ({"plan": "layers", "mask": "causal"}, "RS003"),
        ({"dtype": "float8"}, "RS001"), ({"mask": "window"}, "RS002"), ({"kernel": "hardmax"}, "RS001"),
        ({"position": "nowhere"}, "RS001"), ({"mlp": "relu", "mlp_init": "nothing"}, "RS001"), ({"seed": -1}, "RS002"),
        ({"seed": "x"}, "RS002"), ({"layers": 2.5}, "RS002"), ({"n": "6"}, "RS002"), ({"heads": True}, "RS002"),
        ({"gain": "1"}, "RS002"), ({"alpha": None}, "RS002"), ({"skip": "yes"}, "RS002"), ({"fixed": 1}, "RS002"),
        ({"given_tokens": np.zeros((3, 2))}, "RS101"), ({"given_blocks": []}, "RS101"), ({"n": 10**7}, "RS301"),
    ],
)  # fmt: skip
def test_what_makes_no_network_is_refused_before_anything_is_made(options: dict[str, Any], code: str) -> None:
    with pytest.raises(RankscopeError, match=code):
        check_network(Stack(**{**SMALL, **options}))
