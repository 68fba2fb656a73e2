"""The name of a mask that is given as the pairs it shows: a model says who sees whom, and not what it is called."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from rankscope.arrays import Boolean
from rankscope.attention.masks import Mask, parse

GIVEN: Final = "given mask"
"""What a mask is called that has no usual name."""


def recognised(seen: Boolean) -> Mask:
    """The mask that shows exactly these pairs at this size, by its name if it has a usual one.

    >>> recognised(np.tril(np.ones((5, 5), dtype=bool))).label
    'causal'
    >>> recognised(np.eye(3, dtype=bool)[:, ::-1]).label
    'given mask'
    """
    rows, columns = seen.shape
    for name in names(seen):
        mask = parse(name)
        if np.array_equal(mask.shown(rows, columns), seen):
            return mask
    return Mask(GIVEN, lambda q, k: seen[q - (columns - rows), k])


def names(seen: Boolean) -> Iterator[str]:
    """Masks that may be meant, the plain ones first."""
    yield from ("bidirectional", "causal", "anticausal", "strict")
    rows, columns = seen.shape
    if not seen.any():
        return
    i, j = np.nonzero(seen)
    back, ahead = int((i + columns - rows - j).max()), int((j - i - columns + rows).max())
    if back >= 0:
        yield f"causal & window:{back + 1}"
    if ahead >= 0:
        yield f"anticausal & window:{ahead + 1}"
    yield f"window:{max(back, ahead, 0) + 1}"
    if first := int(np.count_nonzero(seen[0])):
        yield f"prefix:{first}"
