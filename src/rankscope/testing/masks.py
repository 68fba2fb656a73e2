"""The battery of masks."""

import itertools
import math
from typing import Final

import numpy as np

from rankscope.analyzer.elimination import exact_rank
from rankscope.arrays import EPS, Array, Boolean
from rankscope.attention import naive
from rankscope.attention.build import attention
from rankscope.attention.exact import integers
from rankscope.attention.existing import single
from rankscope.attention.masks import Mask
from rankscope.attention.operators import stored
from rankscope.errors import MaskError
from rankscope.generators.synthetic import queries_and_keys
from rankscope.testing.battery import battery, require

SIZES: Final = range(1, 8)


@battery
def check_mask(mask: Mask) -> None:
    """A mask answers alike for numbers and arrays, its facts are true, and its structure is what brute force finds."""
    for size in SIZES:
        index = np.arange(size)
        seen = np.broadcast_to(mask.allows(index[:, None], index[None, :]), (size, size))
        require(seen.dtype == np.bool_, f"{mask.label}: allows() gave {seen.dtype} for arrays; use comparisons and & |")
        one_by_one = [[bool(mask.allows(i, j)) for j in range(size)] for i in range(size)]
        require(
            (seen == np.array(one_by_one)).all(),
            f"{mask.label}: allows() differs between arrays and integers at n = {size}",
        )
        hidden = np.broadcast_to((~mask).allows(index[:, None], index[None, :]), (size, size))
        require((hidden == ~seen).all(), f"{mask.label}: ~ is not the complement at n = {size}")
        check_facts(mask, seen)
        check_structure(mask, seen)


def check_facts(mask: Mask, seen: Boolean) -> None:
    """The facts that a mask claims hold at this size."""
    truths = {
        "lower": not np.triu(seen, 1).any(),
        "upper": not np.tril(seen, -1).any(),
        "diagonal": bool(np.diagonal(seen).all()),
        "everything": bool(seen.all()),
    }
    for fact in mask.facts:
        require(fact in truths, f"{mask.label} claims {fact!r}, which is no fact")
        require(truths[fact], f"{mask.label} claims {fact!r}, which is false at n = {len(seen)}")


def check_structure(mask: Mask, seen: Boolean) -> None:
    """The derived structure against transitive closure, and against determinants of random matrices of this pattern."""
    size = len(seen)
    queries, keys = queries_and_keys(size, 3, seed=size)
    try:
        operator = single(attention(queries, keys, mask=mask))
    except MaskError:
        require(not seen.any(axis=1).all(), f"{mask.label}: refused at n = {size}, where every query sees a key")
        return
    structure = operator.structure
    labels = structure.blocks.value
    reach = closure(seen)
    together = reach & reach.T
    if labels is None:
        raise AssertionError(f"{mask.label}: no blocks at n = {size}")
    finest = labels[:, None] == labels[None, :]
    require((finest == together).all() or structure.side.value != "none", f"{mask.label}: wrong blocks at n = {size}")
    numbers = np.where(seen, np.random.default_rng(size).integers(1, 9, (size, size)), 0)
    product = math.prod(leibniz(numbers[np.ix_(labels == b, labels == b)]) for b in np.unique(labels))
    require(product == leibniz(numbers), f"{mask.label}: the blocks at n = {size} do not give the determinant")
    sides = {"lower": not np.triu(seen, 1).any(), "upper": not np.tril(seen, -1).any(), "none": True}
    sides["diagonal"] = sides["lower"] and sides["upper"]
    require(sides[structure.side.value], f"{mask.label}: side {structure.side.value!r} is false at n = {size}")
    if seen.any(axis=1).all():
        expected = np.array(naive.softmax(queries.tolist(), keys.tolist(), mask))
        require(
            np.allclose(operator.matrix, expected, rtol=64 * EPS, atol=0),
            f"{mask.label}: not the definition at n = {size}",
        )
    whole = integers(stored(operator))
    require(exact_rank(whole, size).low <= structure.rank_bound.value, f"{mask.label}: rank bound at n = {size}")


def closure(seen: Boolean) -> Boolean:
    """Which index reaches which, by Warshall's algorithm."""
    reach = seen | np.eye(len(seen), dtype=bool)
    for k in range(len(seen)):
        reach = reach | (reach[:, [k]] & reach[[k], :])
    return reach


def leibniz(numbers: Array) -> int:
    """The determinant of a small integer matrix as the sum over permutations."""
    size = len(numbers)
    total = 0
    for order in itertools.permutations(range(size)):
        inversions = sum(a > b for a, b in itertools.combinations(order, 2))
        total += (-1) ** inversions * math.prod(int(numbers[i, j]) for i, j in enumerate(order))
    return total
