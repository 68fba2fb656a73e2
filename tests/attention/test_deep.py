"""Networks against balls of thousands of bits: residuals down to 10^−200, within four of the estimated errors."""

import math
from typing import Any

import pytest

from rankscope.analyzer.residual import SAFETY
from rankscope.generators.depth import walk
from rankscope.generators.network import Stack
from tests.attention.deep import log10_residual, passed
from tests.oracles import precision

NETWORKS: list[dict[str, Any]] = [
    {"layers": 6},
    {"layers": 5, "heads": 2},
    {"layers": 6, "mask": "causal"},
    {"layers": 6, "mask": "window:2"},
    {"layers": 5, "skip": True},
    {"mlp": "relu"},
    {"mlp": "gelu"},
    {"mlp": "gelu", "gain": 0.01},
    {"mlp": "gelu", "gain": 3.0},
    {"mlp": "gelu", "norm": "pre", "skip": True},
    {"mlp": "relu", "norm": "post", "mask": "causal"},
    {"mlp": "relu", "norm": "post", "skip": True, "alpha": "1/sqrt(L)"},
    {"mlp": "gelu", "norm": "pre:rms", "values": "orthogonal"},
    {"norm": "post"},
    {"norm": "pre"},
    {"norm": "post:rms"},
    {"rescale": "perp", "layers": 6},
    {"rescale": 0.5},
    {"layers": 6, "fixed": True},
    {"layers": 5, "fixed": True, "mask": "causal", "values": "identity"},
    {"scale": 8.0},
    {"scale": 64.0},
    {"scale": 1000.0, "layers": 3},
    {"mlp": "relu", "mlp_gain": 8.0},
    {"layers": 30, "mask": "causal", "skip": True},
    {"position": "alibi", "heads": 2},
    {"ensemble": "correlated:0.999999", "norm": "post"},
    {"plan": "layers"},
]
"""Every part of a network, alone and with others."""


def wild(stack: Stack) -> bool:
    """Whether scores are in the thousands: rounding of one layer may then decide the next, and the estimate says so."""
    return stack.scale > 100 or stack.mlp_gain > 4


def named(options: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in options.items()) or "pure"


@pytest.mark.parametrize("options", NETWORKS, ids=named)
@pytest.mark.parametrize("seed", range(4))
def test_residuals_agree_with_balls_within_their_error(options: dict[str, Any], seed: int) -> None:
    stack = Stack(**{"n": 6, "d": 3, "layers": 4, "seed": seed, **options})
    bias = (lambda i, j, head: -abs(i - j) * 2.0 ** -(4 * head + 4)) if "position" in options else None
    with precision(40_000 if wild(stack) else 2500):
        truth = [log10_residual(x) for x in passed(stack, bias)]
    for state, expected in zip(walk(stack), truth, strict=True):
        tokens = state.tokens
        found = (tokens.residual.log2_norm - tokens.log2_norm) * math.log10(2)
        if tokens.lost or tokens.error > 0.1:
            assert wild(stack), state.layer
            continue
        allowed = SAFETY * tokens.error / math.log(10) + 1e-14 * max(1.0, abs(expected))
        assert abs(found - expected) <= allowed, (state.layer, found, expected)
        assert tokens.error < 1e-5 or wild(stack)


def test_the_networks_reach_where_float64_cannot() -> None:
    with precision(2500):
        assert log10_residual(passed(Stack(n=6, d=3, layers=6))[-1]) < -100
