"""How many matrices are measured at once, and the threads that do it: LAPACK runs without the interpreter's lock."""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from rankscope.arrays import DENSE_COPIES, available_memory

T = TypeVar("T")
U = TypeVar("U")


def in_threads(one: Callable[[T], U], all: Sequence[T], workers: int) -> list[U]:
    """What a function gives for each, in their order, by as many threads as there are workers."""
    if workers == 1:
        return [one(each) for each in all]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, all))


def affordable(shapes: Sequence[tuple[int, int]], workers: int | None) -> int:
    """How many matrices are analysed at once: as many as asked for, or the cores, and never more than fit in memory."""
    largest = max((rows * columns for rows, columns in shapes), default=1)
    fitting = int(0.8 * available_memory() / (8 * DENSE_COPIES * max(largest, 1)))
    return max(1, min(workers or len(os.sched_getaffinity(0)), len(shapes), fitting))
