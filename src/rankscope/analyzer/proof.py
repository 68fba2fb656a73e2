"""What can be proved of one matrix within a budget: its exact rank, its determinant, its singular values.

Every route is tried in the order of its cost. The budget is counted, not clocked: an operation is charged what it takes
on one core of 2024, so that the load of the machine changes the time and never the result. What was tried, and why it
stopped, is kept.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from rankscope.analyzer.determinant import LogDet, singular
from rankscope.analyzer.elimination import exact_rank
from rankscope.analyzer.enclosure import MARGIN, Interval, enclose, frobenius, inverse
from rankscope.analyzer.smallest import Smallest
from rankscope.analyzer.spectrum import Spectrum
from rankscope.arrays import Float64
from rankscope.attention.exact import balls, exact_matrix, integers, log_diagonal, precision, rational
from rankscope.attention.operators import Operator, Pair
from rankscope.attention.structure import square
from rankscope.errors import error

FLOOR: Final = 1e-18
"""Singular values below this fraction of ‖A‖_F are only bounded, unless all are asked for."""

SHARP: Final = 1e-13
"""The relative width of a logarithm at which precision is no longer raised: that of a float64."""

MOST_BITS: Final = 2**15
"""Precision is raised up to here, 10^9864 below one, before a number is left unresolved."""


@dataclass(frozen=True)
class RankProof:
    """low ≤ exact rank ≤ high, why, and the rows and columns of a minor that shows the lower bound, if one does."""

    low: int
    high: int
    because: str
    minor: tuple[list[int], list[int]] | None = None


@dataclass
class Ledger:
    """What may still be spent on one matrix, in seconds of one core of 2024, and what was tried."""

    budget: float
    spent: float = 0.0
    tried: dict[str, list[str]] = field(default_factory=dict)

    def affords(self, topic: str, route: str, seconds: float) -> bool:
        """Charge a route if the budget allows it, and say so if it does not."""
        if self.spent + seconds > self.budget:
            left = max(self.budget - self.spent, 0.0)
            self.note(topic, f"{route}: not tried, about {seconds:.2g} s where {left:.2g} s of the budget are left")
            return False
        self.spent += seconds
        return True

    def note(self, topic: str, outcome: str) -> None:
        """Remember what a route gave."""
        self.tried.setdefault(topic, []).append(outcome)


def product_cost(shape: tuple[int, ...], bits: int) -> float:
    """Seconds for a product of matrices of balls of this size."""
    return float(math.prod(shape) * max(shape) * (1e-9 + 8e-12 * bits))


def widening(first: int) -> Iterator[int]:
    """Bits of precision, doubled each time."""
    bits = first
    while bits <= MOST_BITS:
        yield bits
        bits *= 2


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
    if square(operator.shape) and high == operator.shape[0]:
        found_determinant = determinant()
        if found_determinant.sign and found_determinant.guarantee == "proved":
            return RankProof(high, high, f"the determinant is not zero ({found_determinant.method})")
        stopped = ledger.tried.get("logdet", ["not separated from zero"])[-1]
        ledger.note(topic, stopped)
        return RankProof(low, high, f"whether the determinant is zero is not decided ({stopped})")
    return by_minor(operator, low, high, ledger)


def by_minor(operator: Operator, low: int, high: int, ledger: Ledger) -> RankProof:
    """A lower bound of the rank from a square part of the matrix whose determinant is not zero."""
    topic = "rank_exact"
    rows, columns = pivots(operator.matrix, high)
    for bits in widening(128):
        route = f"minor of order {high} in {bits} bits"
        if not ledger.affords(topic, route, 6 * product_cost((high, high), bits)):
            break
        with precision(bits):
            found = part(balls(operator), rows, columns).det()
            if not found.contains(0):
                because = f"a minor of order {high} is not zero (ball arithmetic, {bits} bits)"
                return RankProof(high, high, because, (rows, columns))
        ledger.note(topic, f"{route}: not separated from zero")
    return RankProof(low, high, "no minor was separated from zero")


def pivots(matrix: Any, order: int) -> tuple[list[int], list[int]]:
    """Rows and columns of a well-conditioned square part: pivoted QR chooses the columns, then the rows of those."""
    from scipy.linalg import qr

    columns = qr(matrix, mode="r", pivoting=True)[1][:order]
    rows = qr(matrix[:, columns].T, mode="r", pivoting=True)[1][:order]
    return sorted(rows.tolist()), sorted(columns.tolist())


def part(matrix: Any, rows: list[int], columns: list[int]) -> Any:
    """The entries of some rows and columns."""
    import flint

    listed = matrix.tolist()
    return flint.arb_mat(len(rows), len(columns), [listed[i][j] for i in rows for j in columns])


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
        if not ledger.affords(topic, route, cost + 2e-6 * len(labels) ** 2):
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
        own = log_diagonal(operator)
        if own is None:
            return None
        log, sign = sum((own[index].log for index in alone), log), math.prod(own[index].sign for index in alone)
    matrix: Any = balls(operator) if len(alone) < len(labels) else None
    for label in np.flatnonzero(sizes > 1).tolist():
        members = np.flatnonzero(labels == label).tolist()
        determinant = (matrix if len(members) == len(labels) else part(matrix, members, members)).det()
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


def below(ball: Any) -> float:
    """A float64 at or below a ball."""
    return math.nextafter(float(ball.lower()), -math.inf)


def above(ball: Any) -> float:
    """A float64 at or above a ball."""
    return math.nextafter(float(ball.upper()), math.inf)


# ------------------------------------------------------------------------------------------------------ singular values


def enclosed_spectrum(
    operator: Operator, plain: Spectrum, rank: int, relative_floor: float, ledger: Ledger, first_bits: int = 0
) -> Spectrum:
    """Every singular value above a floor enclosed to about eleven digits; for the floor 0 all that are not zero."""
    if plain.guarantee == "proved" or plain.largest == 0.0 or not math.isfinite(plain.frobenius):
        return plain
    topic, finest = "spectrum", relative_floor or 1.0
    best = plain
    for bits in widening(max(first_bits, 64 * math.ceil((MARGIN - math.log2(finest)) / 64))):
        route = f"all singular values in {bits} bits"
        if not ledger.affords(topic, route, 12 * product_cost(operator.shape, bits)):
            break
        with precision(bits):
            matrix = balls(operator)
            floor = float(plain.frobenius) * relative_floor
            found = enclose(matrix, rank, scaled_ball(floor, plain.exponent))
            best = of_intervals(found, plain, bits, complete=relative_floor == 0)
            if all(each.low > 0 or each.high <= scaled_ball(floor, plain.exponent) for each in found):
                return best
        ledger.note(topic, f"{route}: some values are not separated from zero")
    return best


def enclosed_product(pair: Pair, ledger: Ledger) -> tuple[Float64, Float64] | None:
    """The singular values of left · rightᵀ and bounds on their errors, those beyond the inner dimension left out."""
    import flint

    shape, inner, bits = (len(pair.left), len(pair.right)), pair.left.shape[1], 128
    if not min(*shape, inner) or not ledger.affords("rank_scores", f"in {bits} bits", 12 * product_cost(shape, bits)):
        return None
    with precision(bits):
        product = exact_matrix(pair.left) * exact_matrix(pair.right).transpose()
        found = enclose(product, inner, frobenius(product) * flint.arb(FLOOR))[:inner]
    low, high = (
        np.array([bound(getattr(each, end)) for each in found]) for end, bound in (("low", below), ("high", above))
    )
    return (low + high) / 2, np.nextafter((high - low) / 2, math.inf)


def precision_for(log10_smallest: float, size: float) -> int:
    """Bits that resolve a value of this logarithm in a matrix of this norm, in multiples of 64."""
    depth = math.log2(max(size, 5e-324)) - math.log2(10) * log10_smallest
    return 64 * math.ceil((MARGIN + max(depth, 0.0)) / 64)


def scaled_ball(value: float, exponent: int) -> Any:
    """value · 2^exponent."""
    import flint

    return flint.arb(value) * flint.arb(2) ** exponent


def of_intervals(found: list[Interval], plain: Spectrum, bits: int, *, complete: bool) -> Spectrum:
    """Intervals as a spectrum on the scale of the plain one: midpoints, half widths, and logarithms if asked for."""
    import flint

    unit, ten = flint.arb(2) ** -plain.exponent, flint.arb(10).log()
    low = np.array([max(below(each.low * unit), 0.0) for each in found])
    high = np.array([0.0 if each.high == 0 else above(each.high * unit) for each in found])
    values = np.where(low > 0, (low + high) / 2, np.minimum(plain.values, high))
    errors = np.nextafter(np.maximum(high - values, values - low), math.inf)
    errors[high == 0] = 0.0
    logs = None
    if complete:
        logs = [(below(each.low.log() / ten), above(each.high.log() / ten)) if each.low > 0 else None for each in found]
    method = f"enclosed: residuals of singular vectors in balls of {bits} bits"
    return Spectrum(
        values, errors, plain.shape, plain.frobenius, "enclosed", method, exponent=plain.exponent, logs=logs
    )


def check_sum(spectrum: Spectrum, determinant: LogDet) -> None:
    """Σ ln σ_i must meet ln|det|, which was found without them; anything else would be a defect (RS402)."""
    logs = [] if spectrum.logs is None else [each for each in spectrum.logs if each is not None]
    if determinant.low is None or determinant.high is None or not logs or len(logs) < min(spectrum.shape):
        return
    low, high = (math.fsum(ends) * math.log(10) for ends in zip(*logs, strict=True))
    slack = 1e-14 * (abs(low) + len(logs))
    if determinant.high < low - slack or determinant.low > high + slack:
        raise error(
            "RS402",
            f"Σ ln σ in [{low:.15g}, {high:.15g}] and ln|det| in [{determinant.low:.15g}, {determinant.high:.15g}]",
            "please report this matrix: two proofs contradict each other",
        )


def enclosed_smallest(operator: Operator, plain: Smallest, spectrum: Spectrum, ledger: Ledger) -> Smallest:
    """log₁₀ σ_min = −log₁₀ ‖A⁻¹‖₂ from the inverse in balls, and the largest singular value of that."""
    import flint

    if plain.guarantee != "estimated" or not square(operator.shape) or not operator.shape[0]:
        return plain
    topic, size = "log10_sigma_min", operator.shape[0]
    first = precision_for(-18.0 if plain.log10 is None else plain.log10, spectrum.frobenius)
    triangular = operator.structure.side.value in ("lower", "upper", "diagonal")
    for bits in widening(first):
        route = f"inverse in {bits} bits"
        if not ledger.affords(topic, route, (4 if triangular else 14) * product_cost((size, size), bits)):
            break
        with precision(bits):
            found = inverse(balls(operator), operator.structure.side.value)
        with precision(128):  # enough for one value, the largest
            top = None if found is None else enclose(found * 1, size, frobenius(found) / (4 * size))[0]
            if top is not None and top.low > 0 and (top.high - top.low) < top.low / 1000:
                ten = flint.arb(10).log()
                low, high = -(top.high.log() / ten), -(top.low.log() / ten)
                middle = float(((low + high) / 2).mid())
                return Smallest(
                    middle, below(low), above(high), "enclosed", f"1/‖A⁻¹‖₂, inverse in balls of {bits} bits"
                )
        ledger.note(topic, f"{route}: the inverse is not known well enough")
    return plain
