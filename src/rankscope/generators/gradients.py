"""How strongly what a network gives depends on W_Q, W_K and W_V of each layer, by torch's automatic differentiation.

For a random G with independent N(0, 1) entries, the gradient of ⟨G, X_L⟩ has the mean squared norm ‖∂X_L/∂W‖_F², the
size of the Jacobian. Noci et al. 2022 show that those of W_Q and W_K vanish as tokens collapse.
"""

import math
from typing import Any, Final

import numpy as np

from rankscope.arrays import torch_module
from rankscope.attention.block import Block
from rankscope.attention.kernels import KERNELS
from rankscope.errors import error
from rankscope.generators.network import EPSILON, Stack
from rankscope.generators.stack import called

ROLES: Final = ("query", "key", "value")


def gradient_norms(stack: Stack) -> list[dict[str, float]]:
    """For each layer the norm of the gradient of ⟨G, X_L⟩ by the maps of all its heads, for each of `ROLES`.

    Raises:
        UsageError: a kernel other than softmax, or a position: RS003; torch is not installed: RS004.
    """
    kernel = KERNELS.build(stack.kernel) if isinstance(stack.kernel, str) else stack.kernel
    if kernel.label != "softmax" or called(stack.position) not in ("none", "sinusoidal"):
        given = f"gradients with the kernel {kernel.label} and the position {called(stack.position)}"
        raise error("RS003", given, "leave them out: gradients are taken of softmax attention without a position")
    torch = torch_module()
    blocks = [stack.block(layer) for layer in range(stack.layers)]
    weights = [leaves(torch, block) for block in blocks]
    made = forward(torch, stack, blocks, weights)
    random = np.random.default_rng(np.random.SeedSequence(stack.seed, spawn_key=(2**31,)))
    towards = torch.from_numpy(random.standard_normal(tuple(made.shape)))
    (made * towards).sum().backward()
    return [{role: math.hypot(*(norm(head[role].grad) for head in layer)) for role in ROLES} for layer in weights]


def norm(gradient: Any) -> float:
    """The norm of a gradient; zero for maps that do not act, as those of queries where attention is fixed."""
    largest = 0.0 if gradient is None else float(gradient.abs().max())
    return largest * math.sqrt(float(((gradient / largest) ** 2).sum())) if largest else 0.0


def leaves(torch: Any, block: Block) -> list[dict[str, Any]]:
    """The maps of the heads of one layer as leaves of a graph."""
    return [
        {role: torch.tensor(getattr(head, role).weights, requires_grad=True) for role in ROLES} for head in block.heads
    ]


def biased(torch: Any, x: Any, weights: Any, bias: Any) -> Any:
    """x·W + b."""
    found = x @ weights
    return found if bias is None else found + torch.tensor(bias)


def forward(torch: Any, stack: Stack, blocks: list[Block], weights: list[list[dict[str, Any]]]) -> Any:
    """The tokens after the last layer."""
    x = torch.tensor(stack.tokens())
    i = np.arange(stack.n)
    kept: list[Any] = []
    for layer, (block, drawn) in enumerate(zip(blocks, weights, strict=True)):
        source = normed(torch, stack, x, "pre")
        branch = torch.zeros_like(x)
        for number, (maps, head) in enumerate(zip(block.heads, drawn, strict=True)):
            if not (stack.fixed and layer):
                queries = biased(torch, source, head["query"], maps.query.bias)
                keys = biased(torch, source, head["key"], maps.key.bias)
                scores = stack.scale / math.sqrt(queries.shape[1]) * (queries @ keys.T)
                seen = np.broadcast_to(stack.masks[layer, number].allows(i[:, None], i[None, :]), (stack.n, stack.n))
                scores = scores.masked_fill(torch.from_numpy(~seen), -math.inf)
                kept[number : number + 1] = [torch.softmax(scores, dim=1)]
            low, high = stack.levels
            mixed = low / stack.n + high * (kept[number] - 1 / stack.n)
            values = biased(torch, source, head["value"], maps.value.bias)
            branch = branch + biased(torch, mixed @ values, torch.tensor(maps.output.weights), maps.output.bias)
        x = normed(torch, stack, stack.skip * x + stack.strength * branch, "post")
        mlp = block.mlp
        if mlp is not None:
            source = normed(torch, stack, x, "pre")
            hidden = biased(torch, source, torch.tensor(mlp.into.weights), mlp.into.bias)
            branch = getattr(torch.nn.functional, mlp.activation)(hidden)
            branch = biased(torch, branch, torch.tensor(mlp.back.weights), mlp.back.bias)
            x = normed(torch, stack, stack.skip * x + stack.strength * branch, "post")
    return x


def normed(torch: Any, stack: Stack, x: Any, where: str) -> Any:
    """LayerNorm or RMSNorm where it stands."""
    side, _, kind = stack.norm.partition(":")
    if side != where:
        return x
    of = torch.nn.functional.rms_norm if kind == "rms" else torch.nn.functional.layer_norm
    return of(x, (x.shape[1],), eps=EPSILON)
