"""How far the numbers that are held stand from the exact matrix that is meant: as a whole, and entry by entry."""

import math
from functools import singledispatch

from rankscope.arrays import SMALLEST, TINIEST, UNIT
from rankscope.attention.operators import Concatenation, Dense, Factored, Mean, Operator, Product, norm


@singledispatch
def distance(operator: Operator) -> float:
    """A bound on the Frobenius norm of (held − subject), to first order in the unit roundoff."""
    raise TypeError(f"no rule for {type(operator).__name__}")


@distance.register
def _(operator: Dense) -> float:
    return operator.distance


@distance.register
def _(operator: Factored) -> float:
    return operator.distance


@distance.register
def _(operator: Product) -> float:
    entrywise = relative_error(operator)
    norms = [norm(part.matrix) for part in operator.parts]
    inner = max((part.shape[1] for part in operator.parts[:-1]), default=0)
    growth = math.prod(max(size, 1.0) for size in norms)
    vanished = TINIEST * inner * len(norms) * math.sqrt(math.prod(operator.shape)) * growth
    if math.isfinite(entrywise):
        return entrywise * norm(operator.matrix) + vanished
    relative = sum(distance(part) / max(size, SMALLEST) for part, size in zip(operator.parts, norms, strict=True))
    rounding = UNIT * sum(part.shape[1] for part in operator.parts[:-1])
    return float(math.prod(norms) * (relative + rounding)) + vanished


@distance.register
def _(operator: Mean) -> float:
    parts = operator.parts
    inherited = sum(distance(part) for part in parts) / len(parts)
    vanished = TINIEST * (len(parts) + 1) * math.sqrt(math.prod(operator.shape))
    return inherited + len(parts) * UNIT * sum(norm(part.matrix) for part in parts) / len(parts) + vanished


@distance.register
def _(operator: Concatenation) -> float:
    return math.hypot(*(distance(part) for part in operator.parts)) * (1 + len(operator.parts) * UNIT)


@singledispatch
def relative_error(operator: Operator) -> float:
    """A bound on the relative error of each entry that is held and did not underflow; infinite where none is known."""
    return math.inf


@relative_error.register
def _(operator: Dense) -> float:
    return operator.relative


@relative_error.register
def _(operator: Product) -> float:
    if any((part.matrix < 0).any() for part in operator.parts):
        return math.inf
    return sum(relative_error(part) + part.shape[1] * UNIT for part in operator.parts)


@relative_error.register
def _(operator: Mean) -> float:
    if any((part.matrix < 0).any() for part in operator.parts):
        return math.inf
    return max(relative_error(part) for part in operator.parts) + (len(operator.parts) + 1) * UNIT
