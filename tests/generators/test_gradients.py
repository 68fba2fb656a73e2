"""Gradients by torch, against differences of the network's own output."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.arrays import torch_module
from rankscope.attention.block import Block, Head
from rankscope.attention.tokens import Linear
from rankscope.errors import UsageError
from rankscope.generators.depth import walk
from rankscope.generators.gradients import ROLES, forward, gradient_norms, leaves
from rankscope.generators.network import Stack

NETWORKS: list[dict[str, Any]] = [
    {},
    {"heads": 2, "skip": True, "mask": "causal"},
    {"mlp": "gelu", "norm": "pre", "skip": True},
    {"mlp": "relu", "norm": "post:rms", "skip": True, "alpha": 0.5},
    {"rescale": "perp"},
    {"fixed": True},
]


def small(options: dict[str, Any]) -> Stack:
    return Stack(**{"n": 6, "d": 3, "layers": 2, "seed": 3, **options})


@pytest.mark.parametrize("options", NETWORKS)
def test_torch_makes_the_same_tokens(options: dict[str, Any]) -> None:
    stack, torch = small(options), torch_module()
    blocks = [stack.block(layer) for layer in range(stack.layers)]
    made = forward(torch, stack, blocks, [leaves(torch, block) for block in blocks])
    np.testing.assert_allclose(made.detach().numpy(), list(walk(stack))[-1].tokens.floats, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", NETWORKS)
def test_gradients_are_differences(options: dict[str, Any]) -> None:
    stack = small(options)
    random = np.random.default_rng(np.random.SeedSequence(stack.seed, spawn_key=(2**31,)))
    towards = random.standard_normal((stack.n, stack.width))
    blocks = [stack.block(layer) for layer in range(stack.layers)]
    step = 1e-6
    for layer, norms in enumerate(gradient_norms(stack)):
        for role in ROLES:
            squares = 0.0
            for number in range(stack.heads):
                weights = getattr(blocks[layer].heads[number], role).weights
                for place in np.ndindex(weights.shape):
                    ends = []
                    for sign in (1, -1):
                        moved = weights.copy()
                        moved[place] += sign * step
                        ends.append(float((towards * output(stack, blocks, layer, number, role, moved)).sum()))
                    squares += ((ends[0] - ends[1]) / (2 * step)) ** 2
            assert math.sqrt(squares) == pytest.approx(norms[role], rel=1e-5, abs=1e-8), (layer, role)


def output(stack: Stack, blocks: list[Block], layer: int, number: int, role: str, weights: Any) -> Any:
    """The output of the network with one map changed."""
    heads = list(blocks[layer].heads)
    maps = {name: getattr(heads[number], name) for name in ("query", "key", "value", "output")}
    heads[number] = Head(**{**maps, role: Linear(weights)})
    changed = [*blocks[:layer], replace(blocks[layer], heads=tuple(heads)), *blocks[layer + 1 :]]
    return list(walk(replace(stack, given_blocks=changed)))[-1].tokens.floats


def test_gradients_of_queries_and_keys_vanish_with_the_tokens_differences() -> None:
    """Noci et al. 2022: those of W_V do not; a skip connection with strength 1/√L keeps them all."""
    names = "log10_residual,log10_gradient_query,log10_gradient_key,log10_gradient_value"
    pure = rs.depth(n=32, d=8, layers=4, measures=names).table
    kept = rs.depth(n=32, d=8, layers=4, skip=True, alpha="1/sqrt(L)", measures=names).table
    last = {r.measure: r for r in pure if r.layer == 3}
    assert float(last["log10_gradient_query"]) < -6
    assert float(last["log10_gradient_key"]) < -6
    assert float(last["log10_gradient_value"]) > -1
    assert all(float(r) > -1.5 for r in kept if r.measure.startswith("log10_gradient"))


def test_gradients_that_rounding_hides_are_not_numbers() -> None:
    found = rs.depth(n=32, d=8, layers=6, measures="log10_gradient_query,log10_gradient_value").table
    last = {r.measure: r for r in found if r.layer == 5}
    assert last["log10_gradient_query"].value is None
    assert "rounding floor" in last["log10_gradient_query"].because
    assert last["log10_gradient_value"].value is not None


@pytest.mark.parametrize("options", [{"kernel": "linear"}, {"position": "rope"}])
def test_other_attention_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="RS003"):
        gradient_norms(small(options))
