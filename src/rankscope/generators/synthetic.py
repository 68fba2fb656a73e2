"""Queries and keys of the standard ensemble: independent standard normal numbers from one seed.

Layer 0, head 0 uses `numpy.random.default_rng(seed)` itself, queries first, so that a ten-line script makes the same
matrix. Every other head draws from a child stream keyed by its layer, its head and its role alone: comparing masks
compares the same queries and keys, and adding a head changes no other.
"""

import numpy as np

from rankscope.arrays import Float64
from rankscope.errors import error

QUERY, KEY = 0, 1


def queries_and_keys(n: int, d: int, seed: int, layer: int = 0, head: int = 0) -> tuple[Float64, Float64]:
    """Queries and keys of shape (n, d) with independent N(0, 1) entries.

    >>> q, k = queries_and_keys(3, 2, seed=0)
    >>> bool((q == np.random.default_rng(0).standard_normal((3, 2))).all())
    True
    """
    for name, value, least in (("n", n, 1), ("d", d, 1), ("seed", seed, 0), ("layer", layer, 0), ("head", head, 0)):
        if value < least:
            raise error("RS002", f"{name} = {value}", f"give a whole number of at least {least}")
    if layer == 0 and head == 0:
        first = np.random.default_rng(seed)
        return first.standard_normal((n, d)), first.standard_normal((n, d))
    streams = (
        np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(layer, head, role))) for role in (QUERY, KEY)
    )
    queries, keys = (stream.standard_normal((n, d)) for stream in streams)
    return queries, keys
