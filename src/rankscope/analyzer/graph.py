"""What the mask alone says of depth: who can reach everybody, and after how many layers.

Key j reaches query i in one layer if i sees j under any head. A centre is a token that reaches every other through
layers; the radius is the least number of layers after which one token has reached all, which is when the product of
the attention matrices first has a strictly positive column (Wu et al. 2024, arXiv 2405.18781).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from rankscope.analyzer.depth import depth_measure
from rankscope.analyzer.measure import unknown
from rankscope.arrays import Boolean
from rankscope.lazy import cached_property
from rankscope.records import Reading

FEW: Final = 16
"""Centres that are listed by number."""


@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """Who sees whom in each layer (n × n, rows are queries), with itself where skip connections keep a token; and the
    smallest weight that any query gave to a key that it sees, as a natural logarithm; whether the theorem covers the
    network.
    """

    layers: Sequence[Boolean]
    log_smallest: float = -math.inf
    covered: bool = True

    @cached_property
    def alike(self) -> bool:
        """Whether all layers have the same mask."""
        return all(each is self.layers[0] or np.array_equal(each, self.layers[0]) for each in self.layers[1:])

    @cached_property
    def reached(self) -> Boolean:
        """Whom each key reaches in the end, or after all layers where these differ: column j holds what j reaches."""
        if not self.alike:
            found = self.layers[0]
            for each in self.layers[1:]:
                found = product(each, found)
            return found
        found = self.layers[0] | np.eye(len(self.layers[0]), dtype=bool)
        for _ in range(max(1, math.ceil(math.log2(max(len(found), 2))))):
            found = product(found, found)
        return found

    @cached_property
    def centres(self) -> list[int]:
        """The tokens that reach every other."""
        return [int(each) for each in np.flatnonzero(self.reached.all(axis=0))]

    @cached_property
    def radius(self) -> int | None:
        """The first number of layers after which a column is strictly positive; None if there is none."""
        if not self.alike:
            found = np.eye(len(self.layers[0]), dtype=bool)
            for count, each in enumerate(self.layers, 1):
                found = product(each, found)
                if found.all(axis=0).any():
                    return count
            return None
        return first_power(self.layers[0])


def product(later: Boolean, earlier: Boolean) -> Boolean:
    """The Boolean product of two patterns."""
    return np.asarray(later.astype(np.float32) @ earlier.astype(np.float32) > 0)


def first_power(step: Boolean) -> int | None:
    """The least power of a pattern that has a full column, by doubling and then by halves.

    Once there is one it stays, for every row sees some key; of n tokens it appears within n² layers, or never.
    """
    if not step.any(axis=1).all():
        return None
    powers = [step]
    while not powers[-1].all(axis=0).any():
        if 1 << (len(powers) - 1) > len(step) ** 2:
            return None
        powers.append(product(powers[-1], powers[-1]))
    if len(powers) == 1:
        return 1
    count, found = 1 << (len(powers) - 2), powers[-2]
    for exponent in reversed(range(len(powers) - 2)):
        tried = product(powers[exponent], found)
        if not tried.all(axis=0).any():
            count, found = count + (1 << exponent), tried
    return count + 1


@depth_measure("mask", default=True)
def centre_nodes(graph: Graph) -> Reading:
    """The number of tokens that reach every other through the masks of the layers; `details` list the first."""
    return Reading(len(graph.centres), "proved", "the graph of the masks", details={"first": graph.centres[:FEW]})


@depth_measure("mask", default=True)
def mask_radius(graph: Graph) -> Reading:
    """The number of layers after which one token has reached all: the first strictly positive column of a product."""
    if graph.radius is None:
        return unknown("no token reaches all" if graph.alike else "no token reaches all within these layers")
    return Reading(graph.radius, "proved", "the graph of the masks")


@depth_measure("mask")
def log10_wu_gap(graph: Graph) -> Reading:
    """log₁₀ of 1 − (1 − ε^r)^(1/r), r the radius, ε the least weight: the least decay of a layer (Wu et al. 2024).

    Theorem 1 bounds residuals by C(1 − ε^r)^(t/r) after t layers of attention without skips and norms.
    """
    if graph.radius is None:
        return unknown("no token reaches all")
    if not graph.covered:
        return unknown("the theorem is for one head without skips, MLPs and norms")
    if not math.isfinite(graph.log_smallest):
        return unknown("a weight is zero in float64")
    power = graph.radius * graph.log_smallest
    if power >= 0:
        return Reading(0.0, "estimated", "every weight that is seen is one")
    gap = -math.expm1(math.log1p(-math.exp(power)) / graph.radius) if -30 < power < 0 else 0.0
    value = math.log10(gap) if gap else (power - math.log(graph.radius)) / math.log(10)
    method = "Theorem 1 of Wu et al. 2024 (arXiv 2405.18781), ε the least weight in this run"
    return Reading(min(value, 0.0), "estimated", method, details={"log10_epsilon": graph.log_smallest / math.log(10)})
