"""Certificates of every kind of matrix with every kind of claim."""

import numpy as np

from rankscope.certificates import (
    Certificate,
    Claim,
    Count,
    Determinant,
    Minor,
    Numbers,
    Rank,
    Smallest,
    numbers,
)

CLAIMS: tuple[Claim, ...] = (
    Rank(1, 2, Minor((0, 1), (2, 0))),
    Rank(0, 2),
    Determinant(-1, -1.5, 2.5),
    Determinant(0),
    Determinant(1),
    Count(1e-300, 1, 2),
    Smallest(-140.75, -0.0),
)


def stored(*shape: int) -> Numbers:
    return numbers("stored", {"matrix": np.arange(np.prod(shape)).reshape(shape) - 0.5})


def products() -> Numbers:
    seen, uniform = np.array([[True, False, True], [True, True, True]]), np.array([False, True])
    return numbers("products", {"left": np.ones((2, 4)), "right": np.ones((3, 4)), "seen": seen, "uniform": uniform})


def softmax() -> Numbers:
    return numbers("softmax", {"log_weights": np.array([[0.0, -np.inf, -0.0], [1.0, 5e-324, -1e308]])})


MATRICES = {
    "stored": stored(2, 3),
    "softmax": softmax(),
    "products": products(),
    "product": numbers("product", {}, [stored(2, 3), stored(3, 3)]),
    "mean of products": numbers("mean", {}, [numbers("product", {}, [stored(2, 3), stored(3, 3)]), softmax()]),
}


def certificate(matrix: Numbers | None = None) -> Certificate:
    return Certificate("layer 3, head 1 — “ü”", matrix or stored(2, 3), CLAIMS)


def equal(first: Numbers, second: Numbers) -> bool:
    """Whether two are the same to the bit."""
    held = [
        [(name, array.dtype.str, array.shape, array.tobytes()) for name, array in each.flat().items()]
        for each in (first, second)
    ]
    facts = [(each.kind, each.subject, each.rows, each.columns, each.sha256) for each in (first, second)]
    return held[0] == held[1] and facts[0] == facts[1]
