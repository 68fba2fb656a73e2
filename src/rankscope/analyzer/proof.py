"""The exact rank and the determinant of one matrix, proved: by elimination, or by determinants in ball arithmetic.

Routes are tried in the order of their cost, as far as the budget goes. What was tried, and why it stopped, is kept.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from rankscope.analyzer.determinant import LogDet, singular
from rankscope.analyzer.elimination import exact_rank
from rankscope.analyzer.ledger import Ledger, above, ball_memory, below, making_cost, product_cost, widening
from rankscope.attention.exact import balls, integers, log_diagonal, part, precision, rational
from rankscope.attention.operators import Dense, Operator
from rankscope.attention.structure import square
from rankscope.attention.subject import Weights

SHARP: Final = 1e-13
"""The relative width of a logarithm at which precision is no longer raised: that of a float64."""


@dataclass(frozen=True)
class RankProof:
    """low ≤ exact rank ≤ high, why, and the rows and columns of a minor that shows the lower bound, if one does."""

    low: int
    high: int
    because: str
    minor: tuple[list[int], list[int]] | None = None


def proved_rank(
    operator: Operator, low: int, high: int, determinant: Callable[[], LogDet], ledger: Ledger
) -> RankProof:
    """The exact rank, from bounds that the structure gives: by elimination, by the determinant, or by a minor."""
    topic, n = "rank_exact", max(operator.shape)
    whole = integers(operator)
    if whole is not None:
        each = 2e-10 * n**3
        found = exact_rank(whole, high, lambda k: ledger.affords(topic, f"elimination modulo {k} primes", k * each))
        if found.low == high:
            reason = f"elimination modulo the prime {found.prime}"
        elif found.low == found.high:
            reason = (
                f"elimination: minors of order {found.low + 1} vanish modulo {found.primes} primes, "
                "whose product exceeds what they can be"
            )
        else:
            reason = f"at least {found.low} by elimination modulo a prime; {ledger.tried[topic][-1]}"
        return RankProof(max(low, found.low), found.high, reason)
    covered = term_rank(operator)
    if covered < high:
        minor = by_minor(operator, low, covered, ledger)
        return replace(minor, because=f"{minor.because}; at most {covered}: rows and columns that cover all entries")
    if square(operator.shape) and high == operator.shape[0]:
        found_determinant = determinant()
        if found_determinant.sign and found_determinant.guarantee == "proved":
            return RankProof(high, high, f"the determinant is not zero ({found_determinant.method})")
        if found_determinant.sign == 0:
            smaller = by_minor(operator, low, high - 1, ledger)
            return replace(smaller, because=f"{smaller.because}; {found_determinant.because}")
        stopped = ledger.tried.get("logdet", ["not separated from zero"])[-1]
        ledger.note(topic, stopped)
        return RankProof(low, high, f"whether the determinant is zero is not decided ({stopped})")
    return by_minor(operator, low, high, ledger)


def term_rank(operator: Operator) -> int:
    """How many rows and columns cover every entry that is not surely zero: an upper bound of the rank (König)."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    definition = operator.definition if isinstance(operator, Dense) else None
    if not isinstance(definition, Weights) or not (definition.logs == -math.inf).any():
        return min(operator.shape)
    partners = maximum_bipartite_matching(csr_array(definition.logs > -math.inf), perm_type="column")
    return int(np.count_nonzero(partners >= 0))


def by_minor(operator: Operator, low: int, high: int, ledger: Ledger) -> RankProof:
    """A lower bound of the rank from a square part of the matrix whose determinant is not zero."""
    topic = "rank_exact"
    rows, columns = pivots(operator.matrix, high)
    for bits in widening(128):
        route = f"minor of order {high} in {bits} bits"
        cost = making_cost(operator) + 6 * product_cost((high, high), bits)
        if not ledger.affords(topic, route, cost, ball_memory(operator.shape, bits)):
            break
        with precision(bits):
            found = part(balls(operator), rows, columns).det()
            if not found.contains(0):
                because = f"a minor of order {high} is not zero (ball arithmetic, {bits} bits)"
                return RankProof(high, high, because, (rows, columns))
        ledger.note(topic, f"{route}: not separated from zero")
    return RankProof(low, high, "no minor was separated from zero")


def minor_of_block(operator: Operator, rows: slice, columns: slice, order: int, ledger: Ledger) -> bool:
    """Whether a minor of this order, of some rows and columns of a matrix, was shown not to vanish."""
    topic = "offdiagonal_rank"
    if not order:
        return True
    chosen = pivots(operator.matrix[rows, columns], order)
    first, second = [i + (rows.start or 0) for i in chosen[0]], [j + (columns.start or 0) for j in chosen[1]]
    for bits in widening(128):
        route = f"minor of order {order} beside the diagonal in {bits} bits"
        cost = making_cost(operator) + 6 * product_cost((order, order), bits)
        if not ledger.affords(topic, route, cost, ball_memory(operator.shape, bits)):
            return False
        with precision(bits):
            if not part(balls(operator), first, second).det().contains(0):
                return True
        ledger.note(topic, f"{route}: not separated from zero")
    return False


def pivots(matrix: Any, order: int) -> tuple[list[int], list[int]]:
    """Rows and columns of a well-conditioned square part: pivoted QR chooses the columns, then the rows of those."""
    from scipy.linalg import qr

    columns = qr(matrix, mode="r", pivoting=True)[1][:order]
    rows = qr(matrix[:, columns].T, mode="r", pivoting=True)[1][:order]
    return sorted(rows.tolist()), sorted(columns.tolist())


# --------------------------------------------------------------------------------------------------------- determinant


def proved_logdet(operator: Operator, plain: LogDet, rank: Callable[[], RankProof], ledger: Ledger) -> LogDet:
    """The determinant in balls: the sum over the diagonal of a triangular matrix, or over its diagonal blocks.

    Of integers elimination knows first whether it is zero.
    """
    if plain.sign == 0 or not square(operator.shape) or not operator.shape[0]:
        return plain
    labels = operator.structure.blocks.value
    assert labels is not None
    topic, sizes = "logdet", np.bincount(labels)
    if plain.sign is None and rational(operator) and rank().high < len(labels):
        return singular(rank().because)
    for bits in widening(128):
        route = f"determinant in {bits} bits"
        cost = 6 * sum(product_cost((int(size), int(size)), bits) for size in sizes[sizes > 1])
        memory, making = (ball_memory(operator.shape, bits), making_cost(operator)) if cost else (0.0, 0.0)
        if not ledger.affords(topic, route, cost + making + 2e-6 * len(labels) ** 2, memory):
            break
        with precision(bits):
            found = over_blocks(operator, labels, sizes)
            if found is not None and found[1].rad() <= SHARP * (1 + abs(found[1])):
                sign, log = found
                because = plain.because if plain.guarantee == "proved" else ""
                return LogDet(sign, float(log.mid()), below(log), above(log), "proved", method_of(sizes, bits), because)
        ledger.note(topic, f"{route}: " + ("not separated from zero" if found is None else "not sharp"))
    return plain


def over_blocks(operator: Operator, labels: Any, sizes: Any) -> tuple[int, Any] | None:
    """Sign and ln|det| as the sum over the diagonal blocks; None where a factor is not separated from zero."""
    import flint

    log, sign = flint.arb(0), 1
    alone = np.flatnonzero(sizes[labels] == 1).tolist()
    if alone:
        own = log_diagonal(operator, alone)
        if own is None:
            return None
        log, sign = sum((each.log for each in own), log), math.prod(each.sign for each in own)
    matrix: Any = balls(operator) if len(alone) < len(labels) else None
    for label in np.flatnonzero(sizes > 1).tolist():
        members = np.flatnonzero(labels == label).tolist()
        determinant = part(matrix, members, members).det()
        if determinant.contains(0):
            return None
        sign, log = sign * (1 if determinant > 0 else -1), log + abs(determinant).log()
    return sign, log


def method_of(sizes: Any, bits: int) -> str:
    """How a determinant was proved."""
    dense = sizes[sizes > 1]
    if not len(dense):
        return f"Σ log|a_ii| in ball arithmetic, {bits} bits"
    over = "" if len(sizes) == 1 else f", {len(sizes)} diagonal blocks"
    return f"ball arithmetic, {bits} bits{over}"
