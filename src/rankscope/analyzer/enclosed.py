"""The singular values of one matrix enclosed within a budget: those above a floor, or all that are not zero."""

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np

from rankscope.analyzer.determinant import LogDet
from rankscope.analyzer.enclosure import MARGIN, Interval, enclose, frobenius, inverse, magnitude
from rankscope.analyzer.ledger import Ledger, above, ball_memory, below, making_cost, product_cost, widening
from rankscope.analyzer.smallest import Smallest
from rankscope.analyzer.spectrum import Spectrum
from rankscope.arrays import Float64
from rankscope.attention.exact import balls, exact_matrix, matrix_of, precision
from rankscope.attention.operators import Operator
from rankscope.attention.structure import square
from rankscope.attention.subject import Pair
from rankscope.errors import error

RELATIVE: Final = 1e-9
"""The relative width to which every value of an exact spectrum is known at least."""

FLOOR: Final = 1e-18
"""Singular values below this fraction of ‖A‖_F are only bounded, unless all are asked for."""


def enclosed_spectrum(
    operator: Operator, plain: Spectrum, rank: int, relative_floor: float, ledger: Ledger, first_bits: int = 0
) -> Spectrum:
    """Every singular value above a floor enclosed to about eleven digits; for the floor 0 all that are not zero."""
    if plain.guarantee == "proved" or not math.isfinite(plain.frobenius):
        return with_logs(plain) if relative_floor == 0 else plain
    topic, best = "spectrum", plain
    for bits in widening(max(first_bits, bits_for(-math.log2(relative_floor or 1.0)))):
        route = f"all singular values in {bits} bits"
        cost = making_cost(operator) + 12 * product_cost(operator.shape, bits)
        if not ledger.affords(topic, route, cost, ball_memory(operator.shape, bits)):
            break
        with precision(bits):
            matrix = balls(operator)
            floor = float(plain.frobenius) * relative_floor
            found = enclose(matrix, rank, scaled_ball(floor, plain.exponent))
            best = of_intervals(found, plain, bits, complete=relative_floor == 0)
            if all(resolved(each, scaled_ball(floor, plain.exponent), relative_floor == 0) for each in found):
                return best
        ledger.note(topic, f"{route}: some values are not separated from zero")
    return best


def enclosed_scores(scores: Pair | Float64, ledger: Ledger) -> tuple[Float64, Float64] | None:
    """The singular values of scores divided by a power of two, and bounds on their errors.

    Of a product left · rightᵀ those beyond the inner dimension, which are zero, are left out.
    """
    import flint

    with precision(256):  # of squares, in `core`
        held = core(scores) if isinstance(scores, Pair) else exact_matrix(scores)
        shape, size = (held.nrows(), held.ncols()), frobenius(held)
        inner = min(*shape, scores.left.shape[1]) if isinstance(scores, Pair) else min(shape)
        cost, memory = 12 * product_cost(shape, 256), ball_memory(shape, 256)
        if not inner or not ledger.affords("rank_scores", f"{shape[0]} × {shape[1]} in 256 bits", cost, memory):
            return None
        found = enclose(held, inner, size * flint.arb(FLOOR))[:inner]
        low, high = ends_of(found, flint.arb((1, magnitude(size))) if size > 0 else flint.arb(1))
    values = low / 2 + high / 2
    return values, reach(values, low, high)


def core(pair: Pair) -> Any:
    """A matrix of balls with the singular values of left · rightᵀ that need not be zero: small where the factors are.

    With LᵀL = CCᵀ and RᵀR = DDᵀ (Cholesky) they are those of CᵀD. Where a factor has no full column rank, or none that
    the precision shows, it is the product itself.
    """
    left, right = exact_matrix(pair.left), exact_matrix(pair.right)
    roots = [cholesky(factor.transpose() * factor) for factor in (left, right)]
    return left * right.transpose() if None in roots else roots[0].transpose() * roots[1]


def cholesky(gram: Any) -> Any:
    """The lower triangle C with CCᵀ = G; None where a pivot is not shown to be positive."""
    import flint

    size, zero = gram.nrows(), flint.arb(0)
    rows: list[list[Any]] = []
    for i, given in enumerate(gram.tolist()):
        row: list[Any] = []
        for j in range(i):
            row.append((given[j] - sum((a * b for a, b in zip(row, rows[j][:j], strict=True)), zero)) / rows[j][j])
        pivot = given[i] - sum((a * a for a in row), zero)
        if not pivot > 0:
            return None
        rows.append([*row, pivot.sqrt(), *[zero] * (size - i - 1)])
    return matrix_of(rows, (size, size))


def reach(values: Float64, low: Float64, high: Float64) -> Float64:
    """Errors with which values reach both ends of their intervals; one that is exactly zero has none."""
    errors = np.nextafter(np.maximum(high - values, values - low), math.inf)
    return np.where(high > 0, errors, 0.0)


def ends_of(found: list[Interval], unit: Any) -> tuple[Float64, Float64]:
    """The ends of intervals in a unit, as float64 rounded outwards; a zero stays zero."""
    low = np.array([max(below(each.low / unit), 0.0) for each in found])
    high = np.array([0.0 if each.high == 0 else above(each.high / unit) for each in found])
    return low, high


def precision_for(log10_smallest: float, size: float) -> int:
    """Bits that resolve a value of this logarithm in a matrix of this norm, in multiples of 64."""
    return bits_for(math.log2(max(size, 5e-324)) - math.log2(10) * log10_smallest)


def bits_for(depth: float) -> int:
    """Bits that resolve what lies this many powers of two below the norm, in multiples of 64."""
    return 64 * math.ceil((MARGIN + max(depth, 0.0)) / 64)


def scaled_ball(value: float, exponent: int) -> Any:
    """value · 2^exponent."""
    import flint

    return flint.arb(value) * flint.arb((1, exponent))


def resolved(each: Interval, floor: Any, sharply: bool) -> bool:
    """Whether a value is separated from zero, and known to `RELATIVE` where that is asked; or lies below the floor."""
    if each.low > 0:
        return not sharply or bool(each.high - each.low <= each.low * RELATIVE)
    return bool(each.high <= floor)


def with_logs(plain: Spectrum) -> Spectrum:
    """A spectrum that is exact already, with the logarithms of its values."""
    import flint

    with precision(64):
        ten = flint.arb(10).log()
        logs = [flint.arb(value).log() / ten if value > 0 else None for value in plain.values.tolist()]
        shift = flint.arb(2).log() / ten * plain.exponent
        return replace(plain, logs=[None if log is None else (below(log + shift), above(log + shift)) for log in logs])


def of_intervals(found: list[Interval], plain: Spectrum, bits: int, *, complete: bool) -> Spectrum:
    """Intervals as a spectrum on the scale of the plain one: midpoints, half widths, and logarithms if asked for."""
    import flint

    ten = flint.arb(10).log()
    low, high = ends_of(found, flint.arb((1, plain.exponent)))
    values = np.where(low > 0, low / 2 + high / 2, np.minimum(plain.values, high))
    logs = None
    if complete:
        logs = [(below(each.low.log() / ten), above(each.high.log() / ten)) if each.low > 0 else None for each in found]
    method = f"enclosed: residuals of singular vectors in balls of {bits} bits"
    errors = reach(values, low, high)
    return Spectrum(
        values, errors, plain.shape, plain.frobenius, "enclosed", method, exponent=plain.exponent, logs=logs
    )


def check_sum(spectrum: Spectrum, determinant: LogDet) -> None:
    """Σ ln σ_i must meet ln|det|, which was found without them; anything else would be a defect (RS402)."""
    logs = [] if spectrum.logs is None else [each for each in spectrum.logs if each is not None]
    if (
        determinant.guarantee != "proved"
        or determinant.low is None
        or determinant.high is None
        or not logs
        or len(logs) < min(spectrum.shape)
    ):
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

    known = plain.guarantee != "estimated" and (plain.log10 is not None or plain.guarantee == "proved")
    if known or not square(operator.shape) or not operator.shape[0]:
        return plain
    topic, size = "log10_sigma_min", operator.shape[0]
    first = precision_for(-18.0 if plain.log10 is None else plain.log10, spectrum.frobenius)
    triangular = operator.structure.side.value in ("lower", "upper", "diagonal")
    for bits in widening(first):
        route = f"inverse in {bits} bits"
        cost = making_cost(operator) + (3 if triangular else 14) * product_cost((size, size), bits)
        if not ledger.affords(topic, route, cost, ball_memory((size, size), bits)):
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
