"""The battery of positions."""

import math
from dataclasses import replace

import numpy as np

from rankscope.arrays import EPS
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.origin import Origin
from rankscope.attention.positions import Place, Position
from rankscope.generators.synthetic import queries_and_keys
from rankscope.testing.battery import battery, require


@battery
def check_position(position: Position) -> None:
    """A position acts alike on arrays and on numbers, place by place, and attention with it is its definition."""
    size, width = 6, 4
    queries, keys = queries_and_keys(size, width, seed=1)
    index, place = np.arange(size), Place(size, head=1, heads=2, seed=3)
    i, j = index[:, None], index[None, :]
    if position.tokens is not None:
        whole = np.asarray(position.tokens(index, width))
        require(whole.shape == (size, width), f"{position.label}: tokens gave the shape {whole.shape}")
        parts = np.concatenate([np.asarray(position.tokens(index[[t]], width)) for t in range(size)])
        require(np.allclose(whole, parts, rtol=8 * EPS), f"{position.label}: tokens depend on other places")
        position = replace(position, tokens=None)
    expected = np.full((size, size), np.nan)
    for piece in position.pieces:
        left, right = queries, keys
        if position.turn is not None:
            left, right = position.turn(queries, piece.query(index)), position.turn(keys, piece.key(index))
            require(left.shape == queries.shape, f"{position.label}: turn changed the shape of the queries")
            alone = [position.turn(queries[[t]], piece.query(index[[t]])) for t in range(size)]
            same = np.allclose(left, np.concatenate(alone), rtol=8 * EPS, atol=8 * EPS)
            require(same, f"{position.label}: turn depends on other tokens")
        where = np.broadcast_to(True if piece.where is None else piece.where(i, j), (size, size))
        expected = np.where(where, left @ right.T / math.sqrt(width), expected)
    require(not np.isnan(expected).any(), f"{position.label}: its pieces leave out a part of the plane")
    if position.bias is not None:
        bias = np.broadcast_to(position.bias(i, j, place), (size, size))
        single_places = [[float(np.squeeze(position.bias(a, b, place))) for b in range(size)] for a in range(size)]
        require(np.allclose(bias, single_places), f"{position.label}: bias differs between arrays and numbers")
        more = np.broadcast_to(position.bias(i, j, place), (size, size))
        require(np.array_equal(bias, more), f"{position.label}: bias is another one when it is asked for again")
        expected = expected + bias
    require(np.isfinite(expected).all(), f"{position.label}: scores are not finite")
    made = attention(queries, keys, position=position, heads=2, origin=Origin(head=1, seed=3))
    weights = np.exp(expected - expected.max(axis=1, keepdims=True))
    found = weights / weights.sum(axis=1, keepdims=True)
    close = np.allclose(single(made).matrix, found, rtol=256 * EPS, atol=0)
    require(close, f"{position.label}: attention is not the softmax of the scores")
