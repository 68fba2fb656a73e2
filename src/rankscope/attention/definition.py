"""The numbers that define an operator, and the operator that numbers define: the two ends of a certificate.

Both ways are lossless to the bit. An operator that is made from numbers knows its definition and nothing else: no
structure, no diagonal, no matrix in floating point. It serves `exact.balls` and `exact.integers`, and not a
measurement.
"""

import math
from typing import Any

import numpy as np

from rankscope.arrays import FLOAT64, Array, Float64
from rankscope.attention.operators import Concatenation, Dense, Diagonal, Mean, Operator, Product, from_array
from rankscope.attention.structure import Fact, Structure
from rankscope.attention.subject import Pair, Products, Recurrence, Weights
from rankscope.certificates import Numbers, malformed, numbers
from rankscope.errors import error
from rankscope.records import Subject


def numbers_of(operator: Operator) -> Numbers:
    """The given numbers that make the exact matrix which an operator speaks of; RS105 for complex ones.

    >>> from rankscope.attention.existing import matrix
    >>> numbers_of(matrix([[1.0, 2.0]])).kind
    'stored'
    """
    match operator:
        case Product(parts):
            return numbers("product", {}, [numbers_of(part) for part in parts])
        case Mean(parts):
            return numbers("mean", {}, [numbers_of(part) for part in parts])
        case Concatenation(parts):
            return numbers("concatenation", {}, [numbers_of(part) for part in parts])
    match operator.definition:
        case Weights(logs, divided=False):
            return numbers("weights", {"log_weights": logs})
        case Weights(logs, None, scores=scores):
            return numbers("softmax" if scores else "shares", {"log_weights": logs})
        case Weights(logs, sink, scores=scores):
            return numbers("sink" if scores else "sink-shares", {"log_weights": logs, "sink": np.asarray(sink)})
        case Recurrence(left, right, gates, erase, backward):
            arrays = {"left": left, "right": right, "gates": gates, "erase": erase, "backward": np.array([backward])}
            return numbers("recurrence", arrays)
        case Products(factors, seen, uniform):
            held = {"left": factors.left, "right": factors.right, "seen": seen, "uniform": uniform}
            return numbers("products", held)
    if not np.isrealobj(operator.matrix):
        raise error("RS105", f"{operator.origin.label} is complex", "certify its real and imaginary parts")
    return numbers("stored", {"matrix": operator.matrix})


def operator_of(given: Numbers) -> Operator:
    """The operator that numbers define; RS209 where a row of products has a sum of zero, and so no meaning."""
    arrays = given.arrays
    if arrays is None:
        raise error("RS210", "the certificate's arrays are not in it", "give the file beside it (--input)")
    match given.kind:
        case "product":
            return Product(tuple(operator_of(part) for part in given.parts))
        case "mean":
            return Mean(tuple(operator_of(part) for part in given.parts))
        case "concatenation":
            return Concatenation(tuple(operator_of(part) for part in given.parts))
        case "softmax" | "shares" | "sink" | "sink-shares" | "weights":
            plain = given.kind in ("softmax", "sink")
            subject = Weights(arrays["log_weights"], arrays.get("sink"), given.kind != "weights", plain)
            return defined(subject, (given.rows, given.columns), "scores" if plain else "log weights")
        case "recurrence":
            left, right, gates, erase = (arrays[name] for name in ("left", "right", "gates", "erase"))
            recurrence = Recurrence(left, right, gates, erase, bool(arrays["backward"][0]))
            return defined(recurrence, (given.rows, given.columns), "factors")
        case "products":
            definition = Products(Pair(arrays["left"], arrays["right"]), arrays["seen"], arrays["uniform"])
            refuse_lost_sums(definition)
            return defined(definition, (given.rows, given.columns), "factors")
    return from_array(arrays["matrix"])


def defined(definition: Weights | Products | Recurrence, shape: tuple[int, int], subject: Subject) -> Dense:
    """An operator of which the definition alone is known: what it holds is zero, at an unknown distance."""
    unknown = "only the definition is known"
    structure = Structure(
        shape,
        Fact(None, unknown),
        Fact("none", unknown),
        Fact(min(shape), unknown),
        Fact(None, unknown),
        Fact(None, unknown),
    )
    count = min(shape)
    diagonal = Diagonal(np.zeros(count), np.zeros(count, dtype=np.int64), np.full(count, math.inf), unknown)
    held: Float64 = np.broadcast_to(np.zeros(()), shape)
    support = np.full(shape[0], shape[1])
    return Dense(held, structure, subject, diagonal, support, FLOAT64, math.inf, math.inf, definition=definition)


def refuse_lost_sums(definition: Products) -> None:
    """Refuse a row whose products cancel exactly: they cannot be divided by their sum (RS209)."""
    product = whole(definition.factors.left) * whole(definition.factors.right).transpose()
    seen = definition.seen.tolist()
    for index, (weights, row) in enumerate(zip(product.tolist(), seen, strict=True)):
        kept = [int(weight) for weight, sees in zip(weights, row, strict=True) if sees]
        if not definition.uniform[index] and any(kept) and sum(kept) == 0:
            raise malformed(f"the products of row {index} sum to zero")


def whole(array: Array) -> Any:
    """Floats as a `flint.fmpz_mat`: all of them times one power of two."""
    import flint

    ratios = [float(x).as_integer_ratio() for x in array.ravel()]
    least = max((below for _, below in ratios), default=1)
    return flint.fmpz_mat(len(array), array.shape[1], [above * (least // below) for above, below in ratios])
