"""The maps of one layer of a network: its heads, and its MLP if it has one."""

import math
from dataclasses import dataclass

import numpy as np

from rankscope.arrays import Float64, power_of_two, scaled
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
        return (
            stretch(self.into.weights)
            * float(ACTIVATIONS.build(self.activation).lipschitz)
            * stretch(self.back.weights)
        )


def stretch(weights: Float64) -> float:
    """‖W‖₂, from the smaller of its two Gram matrices."""
    exponent = power_of_two(weights)
    held = scaled(weights, -exponent)
    gram = held @ held.T if len(held) < len(held.T) else held.T @ held
    return float(scaled(math.sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 0.0)), exponent))


@dataclass(frozen=True, eq=False, repr=False)
class Block:
    """The maps of one layer."""

    heads: tuple[Head, ...]
    mlp: Mlp | None = None
