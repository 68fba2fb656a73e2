"""A matrix as a picture: the means of its weights over blocks, few enough to be kept in a table.

A page has room for some hundred places in each direction, whatever the size of the matrix; and where many matrices
are studied together each has room for fewer. Means keep what matters here: they sum to what the weights sum to, and
a block is zero only where nothing in it is seen.
"""

import math
from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any, Final

import numpy as np

from rankscope.arrays import Float64
from rankscope.attention.operators import Operator
from rankscope.attention.origin import Origin

MOST: Final = 128
"""Blocks in each direction beyond which a page shows no more."""

LEAST: Final = 8
"""Blocks in each direction below which a picture shows nothing."""

TOGETHER: Final = 8 * MOST**2
"""The numbers that all pictures of a study hold together."""


def resolutions(places: Sequence[tuple[Origin, tuple[int, int]]]) -> list[int]:
    """The blocks in each direction for the picture of each matrix, by its origin and its shape; 0 for no picture.

    Of matrices that differ in their seeds alone the first has one: the others would show nothing else.

    >>> resolutions([(Origin(seed=0), (512, 512)), (Origin(seed=1), (512, 512))])
    [128, 0]
    """
    first: dict[tuple[Any, ...], int] = {}
    for number, (origin, shape) in enumerate(places):
        first.setdefault((*kind(origin), shape, None if origin.seed is not None else number), number)
    pictured = set(first.values())
    side = max(LEAST, min(MOST, math.isqrt(TOGETHER // max(len(pictured), 1))))
    return [side if number in pictured else 0 for number in range(len(places))]


def kind(origin: Origin) -> tuple[Any, ...]:
    """What matrices share that differ in their seeds alone."""
    left_out = ("seed", "digest", "notes", "limits")
    return tuple(getattr(origin, each.name) for each in fields(origin) if each.name not in left_out)


def picture(operator: Operator, side: int) -> Float64 | None:
    """The means of the numbers that are held over at most `side` × `side` blocks; None where there are none to show.

    Block k of b begins at row ⌊k·n/b⌋ of n, and so do columns. Complex numbers have no picture.
    """
    matrix = operator.matrix
    if not np.isrealobj(matrix) or not matrix.size or not side:
        return None
    rows, columns = (edges(length, min(length, side)) for length in matrix.shape)
    means = np.empty((len(rows) - 1, len(columns) - 1))
    for place, (start, stop) in enumerate(pairwise(rows)):
        counts = (stop - start) * np.diff(columns)
        with np.errstate(over="ignore", invalid="ignore"):
            means[place] = np.add.reduceat(matrix[start:stop].sum(axis=0), columns[:-1]) / counts
        if not np.isfinite(means[place]).all():  # a sum overflows where the mean does not
            parts = (matrix[start:stop] / (stop - start)).sum(axis=0) / np.repeat(np.diff(columns), np.diff(columns))
            means[place] = np.add.reduceat(parts, columns[:-1])
    return means


def edges(length: int, count: int) -> list[int]:
    """Where `count` blocks of a length begin, and where the last one ends.

    >>> edges(10, 4)
    [0, 2, 5, 7, 10]
    """
    return [block * length // count for block in range(count + 1)]
