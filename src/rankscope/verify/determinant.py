"""The sign of the determinant and bounds of its logarithm, proved or refuted."""

import math
from collections.abc import Iterator
from typing import Any

from rankscope.attention import exact
from rankscope.certificates import Determinant
from rankscope.verify.balls import BITS, shown, sign
from rankscope.verify.matrix import Exact
from rankscope.verify.verdict import Finding


def check_determinant(claim: Determinant, matrix: Exact) -> tuple[Finding, str]:
    """The verdict on the sign of the determinant and on bounds of its logarithm, and why."""
    low, high = claim.low, claim.high
    if matrix.shape[0] != matrix.shape[1]:
        return "refuted", f"a matrix of {matrix.shape[0]} × {matrix.shape[1]} has no determinant"
    if low is not None and high is not None and low > high:
        return "refuted", "the interval is empty"
    rank, why = matrix.ceiling
    if rank < matrix.order:
        return ("refuted" if claim.sign else "verified"), f"singular: the rank is at most {rank}: {why}"
    for bits, found, log in determinants(matrix):
        if found != claim.sign:
            return "refuted", f"the sign of the determinant is {found:+d} at {bits} bits"
        if (low is None or log >= low) and (high is None or log <= high):
            return "verified", f"ln|det| = {shown(log)} at {bits} bits{over(len(matrix.blocks))}"
        if (low is not None and log < low) or (high is not None and log > high):
            return "refuted", f"ln|det| = {shown(log)} at {bits} bits"
    return "undecided", f"{BITS[-1]} bits do not separate the determinant from zero, or from the bound"


def over(blocks: int) -> str:
    """That a determinant is a product over several diagonal blocks, where it is."""
    return f", over {blocks} diagonal blocks" if blocks > 1 else ""


def determinants(matrix: Exact) -> Iterator[tuple[int, int, Any]]:
    """For each precision that tells the determinant from zero: its bits, the sign, and a ball around ln|det|."""
    import flint

    for bits in BITS:
        with exact.precision(bits):
            held = matrix.balls()
            found = [exact.part(held, indices, indices).det() for indices in matrix.blocks]
            log = sum((abs(each).log() for each in found), flint.arb(0))
        if all(sign(each) for each in found):
            yield bits, math.prod(sign(each) for each in found), log
