"""One head of a random ensemble: its queries, keys and values, or its weights.

In the standard ensemble queries and keys are independent standard normal numbers from one seed. Layer 0, head 0 uses
`numpy.random.default_rng(seed)` itself, queries first, so that a ten-line script makes the same matrix. Every other
head draws from a child stream keyed by its layer, its head and its role alone: comparing masks compares the same
queries and keys, and adding a head changes no other.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rankscope.arrays import Float64
from rankscope.attention.build import attention, from_logits
from rankscope.attention.existing import single
from rankscope.attention.operators import Operator
from rankscope.attention.positions import Place, Position, child
from rankscope.errors import error
from rankscope.generators.ensembles import Ensemble, projected
from rankscope.generators.initial import INITIALISATIONS

QUERY, KEY = 0, 1


@dataclass(frozen=True)
class Head:
    """Where a head stands, and the first head of the group with which it shares keys and values."""

    layer: int = 0
    head: int = 0
    group: int = 0


@dataclass(frozen=True, eq=False)
class Drawing:
    """What is drawn for each head: from which ensemble, how many queries and keys of which size, and how projected."""

    ensemble: Ensemble
    rows: int
    columns: int
    d: int
    seed: int
    heads: int
    init: str
    shared: bool
    position: Position


def drawn(drawing: Drawing, at: Head, options: dict[str, Any]) -> Operator:
    """The matrix of one head; `options` are those of `attention` that do not depend on what is drawn."""
    position = drawing.position
    if drawing.ensemble.weights is not None:
        return from_logits(logits(drawing, at), position=position, **options)
    if drawing.ensemble.tokens is None:
        queries, keys = queries_and_keys(drawing.columns, drawing.d, drawing.seed, at.layer, at.head, drawing.rows)
        if at.group != at.head:
            keys = queries_and_keys(drawing.columns, drawing.d, drawing.seed, at.layer, at.group, drawing.rows)[1]
        values = child(place(drawing, at.layer, at.group), "values").standard_normal((drawing.columns, drawing.d))
    else:
        queries, keys, values = of_tokens(drawing, at)
        position = replace(position, tokens=None)  # done, and still called by its name
    keys = queries if drawing.shared else keys
    return single(attention(queries, keys, values, position=position, heads=drawing.heads, **options))


def place(drawing: Drawing, layer: int, head: int) -> Place:
    """Where a head stands, for what depends on it."""
    return Place(drawing.columns, head, drawing.heads, drawing.seed, layer)


def logits(drawing: Drawing, at: Head) -> Float64:
    """The logarithms of independent weights; layer 0, head 0 uses the plain generator."""
    from rankscope.generators.markov import weights_of

    name, parameter = drawing.ensemble.weights or ("", 0.0)
    plain = at.layer == at.head == 0
    random = np.random.default_rng(drawing.seed) if plain else child(place(drawing, at.layer, at.head), "weights")
    return weights_of(name, parameter).logs(random, (drawing.rows, drawing.columns))


def of_tokens(drawing: Drawing, at: Head) -> tuple[Float64, Float64, Float64]:
    """Queries, keys and values of tokens that the heads of a layer share; queries have their own where they differ."""
    made, n, d = drawing.ensemble, drawing.columns, drawing.d
    width = made.width_for(d, max(n, drawing.rows))
    common = place(drawing, at.layer, 0)
    x = placed(drawing, width, n, common)
    apart = drawing.rows != n
    own = placed(drawing, width, drawing.rows, replace(common, head=1)) if apart else x
    start = INITIALISATIONS[drawing.init].function
    found = []
    for role, head, given in (("W_Q", at.head, own), ("W_K", at.group, x), ("W_V", at.group, x)):
        weights = start(child(place(drawing, at.layer, head), role), width, d)
        found.append(projected(given, np.asarray(weights, dtype=np.float64)))
    return found[0], found[1], found[2]


def placed(drawing: Drawing, width: int, count: int, at: Place) -> Float64:
    """Tokens with what the position adds to them; the queries stand at the last places of the keys."""
    assert drawing.ensemble.tokens is not None
    x = drawing.ensemble.tokens(count, width, at)
    if drawing.position.tokens is None:
        return x
    return np.asarray(x + drawing.position.tokens(np.arange(drawing.columns - count, drawing.columns), width))


def queries_and_keys(
    n: int, d: int, seed: int, layer: int = 0, head: int = 0, queries: int | None = None
) -> tuple[Float64, Float64]:
    """Queries and keys of shape (n, d) with independent N(0, 1) entries; of queries there may be another number.

    >>> q, k = queries_and_keys(3, 2, seed=0)
    >>> bool((q == np.random.default_rng(0).standard_normal((3, 2))).all())
    True
    """
    for name, value, least in (("n", n, 1), ("d", d, 1), ("seed", seed, 0), ("layer", layer, 0), ("head", head, 0)):
        if value < least:
            raise error("RS002", f"{name} = {value}", f"give a whole number of at least {least}")
    shapes = ((n if queries is None else queries, d), (n, d))
    if layer == 0 and head == 0:
        first = np.random.default_rng(seed)
        return first.standard_normal(shapes[0]), first.standard_normal(shapes[1])
    streams = (
        np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(layer, head, role))) for role in (QUERY, KEY)
    )
    made, keys = (stream.standard_normal(shape) for stream, shape in zip(streams, shapes, strict=True))
    return made, keys
