"""The diagonal of the exact subject in log space: all that the determinant of a triangular matrix needs."""

from functools import singledispatch

import numpy as np

from rankscope.arrays import UNIT
from rankscope.attention.operators import Dense, Diagonal, Mean, Operator, Product


@singledispatch
def diagonal(operator: Operator) -> Diagonal | None:
    """The diagonal of the subject in log space, for triangular matrices; None where it is not known that way."""
    return None


@diagonal.register
def _(operator: Dense) -> Diagonal | None:
    return operator.diagonal


@diagonal.register
def _(operator: Product) -> Diagonal | None:
    parts = [diagonal(part) for part in operator.parts]
    shapes = {part.shape for part in operator.parts}
    sided = operator.structure.side.value != "none" or operator.shape == (1, 1)
    if not (operator.structure.triangular and sided) or len(shapes) > 1 or any(part is None for part in parts):
        return None
    known = [part for part in parts if part is not None]
    log = np.sum([part.log for part in known], axis=0)
    error = np.sum([part.error for part in known], axis=0) + len(known) * UNIT * np.sum(
        [abs(p.log) for p in known], axis=0
    )
    sign = np.prod([part.sign for part in known], axis=0)
    return Diagonal(log, sign, error, "sums of the factors' log diagonals")


@diagonal.register
def _(operator: Mean) -> Diagonal | None:
    parts = [diagonal(part) for part in operator.parts]
    if not operator.structure.triangular or any(part is None or (part.sign < 0).any() for part in parts):
        return None
    known = [part for part in parts if part is not None]
    logs = np.array([part.log for part in known])
    top = np.where(np.isneginf(logs.max(axis=0)), 0.0, logs.max(axis=0))
    with np.errstate(divide="ignore"):
        log = top + np.log(np.exp(logs - top).sum(axis=0) / len(known))
    error = np.max([part.error for part in known], axis=0) + UNIT * (len(known) + 12 + np.abs(top) + np.abs(log))
    sign = np.max([part.sign for part in known], axis=0)
    return Diagonal(log, sign, np.where(sign == 0, 0.0, error), "means of the parts' diagonals")
