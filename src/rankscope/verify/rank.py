"""Bounds of the rank, proved or refuted."""

import numpy as np

from rankscope.arrays import Float64
from rankscope.attention import exact
from rankscope.certificates import Minor, Rank
from rankscope.verify.balls import BITS, finite, floats, sign
from rankscope.verify.determinant import determinants
from rankscope.verify.integers import integer_rank
from rankscope.verify.matrix import Exact
from rankscope.verify.verdict import Finding


def check_rank(claim: Rank, matrix: Exact) -> tuple[Finding, str]:
    """The verdict on bounds of the rank, and why."""
    high, why = matrix.ceiling
    if claim.low > claim.high:
        return "refuted", "the interval is empty"
    if high < claim.low:
        return "refuted", f"the rank is at most {high}: {why}"
    order = claim.low if high <= claim.high else max(claim.high + 1, 0)
    how = minor_not_zero(matrix, order, claim.minor)
    if high <= claim.high and how:
        return "verified", f"at most {high}: {why}; at least {order}: {how}"
    if high > claim.high and how:
        return "refuted", f"the rank is at least {order}: {how}"
    return "undecided", f"at most {high}: {why}; no minor of order {order} was shown to differ from zero"


def minor_not_zero(matrix: Exact, order: int, hint: Minor | None) -> str:
    """Why the rank is at least `order`; empty if that is not shown."""
    if order <= 0:
        return "any matrix"
    if order > matrix.order:
        return ""
    if matrix.integers is not None:
        return "modulo a prime" if integer_rank(matrix.integers, order) >= order else ""
    if matrix.shape == (order, order):
        return next((f"determinant not zero at {bits} bits" for bits, _, _ in determinants(matrix)), "")
    return minor_shown(matrix, order, hint)


def minor_shown(matrix: Exact, order: int, hint: Minor | None) -> str:
    """At which precision a minor, the hinted one or one that QR with pivots chooses, differs from zero."""
    hinted = hint if hint is not None and len(hint.rows) >= order else None
    found: Minor | None = None
    for bits in BITS:
        with exact.precision(bits):
            held = matrix.balls()
            if found is None and finite(held):
                found = chosen(floats(held), order)
            for name, minor in (("hinted", hinted), ("chosen", found)):
                if minor is not None and sign(exact.part(held, minor.rows, minor.columns).det()):
                    return f"{name} minor not zero at {bits} bits"
    return ""


def chosen(matrix: Float64, order: int) -> Minor:
    """Columns that are far from dependent, and then rows of these, by QR with column pivots.

    Rows and columns are scaled first: beside rounding in the large ones the small ones would not count.
    """
    from scipy.linalg import qr

    for axis in (1, 0):
        largest = np.abs(matrix).max(axis=axis, keepdims=True)
        matrix = matrix / np.where(largest > 0, largest, 1.0)
    columns = qr(matrix, mode="r", pivoting=True)[1][:order]
    rows = qr(matrix[:, columns].T, mode="r", pivoting=True)[1][:order]
    return Minor(tuple(sorted(rows.tolist())), tuple(sorted(columns.tolist())))
