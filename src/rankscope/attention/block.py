"""The maps of one layer of a network: its heads, and its MLP if it has one."""

from dataclasses import dataclass

import numpy as np

from rankscope.attention.pointwise import ACTIVATIONS
from rankscope.attention.tokens import Linear


@dataclass(frozen=True, eq=False, repr=False)
class Head:
    """The maps of one head: queries, keys and values (width → d), and output (d → width)."""

    query: Linear
    key: Linear
    value: Linear
    output: Linear


@dataclass(frozen=True, eq=False, repr=False)
class Mlp:
    """x ↦ back(φ(into(x))) with an activation φ by name."""

    into: Linear
    back: Linear
    activation: str

    @property
    def lipschitz(self) -> float:
        """‖W₁‖₂·Lip(φ)·‖W₂‖₂, which bounds how much it can stretch a difference in the Euclidean norm."""
        stretch = [float(np.linalg.norm(each.weights, 2)) for each in (self.into, self.back)]
        return stretch[0] * float(ACTIVATIONS.build(self.activation).lipschitz) * stretch[1]


@dataclass(frozen=True, eq=False, repr=False)
class Block:
    """The maps of one layer."""

    heads: tuple[Head, ...]
    mlp: Mlp | None = None
