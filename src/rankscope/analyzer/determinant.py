"""log|det| and sign, through the structure: a library's LU factorisation is wrong on half of all causal attention.

The determinant of a block triangular matrix is the product of those of its diagonal blocks. Blocks of size 1 need no
factorisation. Inside a dense block Householder QR is used: LU can lose value and sign to the growth of its factors at
any condition. The result is then estimated, with the condition that says how far.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from rankscope.analyzer.spectrum import BACKWARD, Spectrum, backward, singular_values_of
from rankscope.arrays import EPS, UNIT, Array, Boolean, power_of_two, scaled
from rankscope.attention.diagonal import diagonal
from rankscope.attention.distance import distance
from rankscope.attention.operators import Diagonal, Operator, Product, norm
from rankscope.attention.structure import Structure, square
from rankscope.records import Guarantee


@dataclass(frozen=True)
class LogDet:
    """A determinant as its sign and the natural logarithm of its magnitude.

    `sign` is None when zero is not excluded, and 0 for a singular matrix, whose `log_abs` is None. `low` and `high`
    bound the logarithm. For guarantee "proved" formula and sign follow from a theorem and the bounds hold the
    rounding of its evaluation; "estimated" rests on the condition of a dense block.
    """

    sign: int | None
    log_abs: float | None
    low: float | None
    high: float | None
    guarantee: Guarantee
    method: str
    because: str = ""

    def __float__(self) -> float:
        if self.log_abs is None:
            raise ValueError(f"log|det| is not known: {self.because}")
        return self.log_abs


def logdet(operator: Operator, spectrum: Callable[[], Spectrum]) -> LogDet:
    """The determinant of an operator. `spectrum` is asked for only when one dense block fills the matrix.

    >>> from rankscope.attention.build import attention
    >>> from rankscope.attention.operators import from_array
    >>> logdet(from_array(np.array([[2.0, 0.0], [5.0, -3.0]])), lambda: None).sign
    -1
    """
    structure = operator.structure
    if not square(structure.shape):
        return unknown(
            "only a square matrix has a determinant", f"not square: {structure.shape[0]} × {structure.shape[1]}"
        )
    size = structure.shape[0]
    if size == 0:
        return LogDet(1, 0.0, 0.0, 0.0, "proved", "structure", "the empty product")
    if structure.det_sign.value == 0:
        return singular(structure.det_sign.because)
    if structure.rank_bound.value < size:
        return singular(f"rank {structure.rank_bound.because}")
    if isinstance(operator, Product) and all(square(part.shape) for part in operator.parts):
        return combined([logdet(part, partial(resolve, part)) for part in operator.parts], "the factors")
    own = diagonal(operator)
    if structure.triangular and own is not None:
        because = structure.det_sign.because if structure.det_sign.value else structure.side.because
        found = of_diagonal(own, np.ones(size, dtype=bool), because)
        return found if np.isrealobj(operator.matrix) else with_phase(found, np.diagonal(operator.matrix))
    return of_blocks(operator, structure, own, spectrum)


def resolve(operator: Operator) -> Spectrum:
    """The spectrum of one factor of a product, computed only if its determinant needs it."""
    from rankscope.analyzer.spectrum import spectrum

    return spectrum(operator)


def of_diagonal(own: Diagonal, chosen: Boolean, because: str) -> LogDet:
    """Σ log|a_ii| over the `chosen` indices; the bound adds the errors of the terms to that of one exact sum."""
    log, sign, errors = own.log[chosen], own.sign[chosen], own.error[chosen]
    zeros = int(np.count_nonzero((sign == 0) & np.isfinite(errors)))
    if zeros:
        return singular(f"zeros on the diagonal: {zeros}")
    if np.isinf(errors).any():
        return unknown(own.formula, "a diagonal entry is lost to cancellation or underflow")
    total = math.fsum(log)
    bound = math.fsum(errors) + UNIT * abs(total)
    parity = -1 if np.count_nonzero(sign < 0) % 2 else 1
    return LogDet(parity, total, total - bound, total + bound, "proved", f"Σ {own.formula}", because)


def with_phase(found: LogDet, entries: Array) -> LogDet:
    """The determinant of a complex triangular matrix: its phase takes the place of the sign."""
    if not found.sign:
        return found
    phase = complex(np.prod(entries / np.abs(entries)))
    return replace(found, sign=None, because=f"complex: the determinant has the phase {phase:.6g}")


def of_blocks(
    operator: Operator, structure: Structure, own: Diagonal | None, spectrum: Callable[[], Spectrum]
) -> LogDet:
    """The product over diagonal blocks: the diagonal where blocks have size 1, LU inside the others."""
    labels = structure.blocks.value
    assert labels is not None
    sizes = np.bincount(labels)
    alone = sizes[labels] == 1
    matrix, away = operator.matrix, distance(operator)
    parts = [of_diagonal(own, alone, "")] if own is not None and alone.any() else []
    for label in np.flatnonzero(sizes > 1 if parts else sizes > 0):
        members = np.flatnonzero(labels == label)
        if len(members) == len(labels):
            return of_dense(matrix, spectrum(), away)
        block = matrix[np.ix_(members, members)]
        parts.append(of_dense(block, None, away))
    counted = f"{len(sizes)} diagonal blocks, the largest of size {int(sizes.max())}"
    return combined(parts, counted)


def of_dense(block: Array, spectrum: Spectrum | None, away: float) -> LogDet:
    """QR of one dense block, believed only as far as its condition allows.

    For B + E with ‖B⁻¹‖₂‖E‖_F ≤ ½: |log|det(B + E)| − log|det B|| ≤ 2‖B⁻¹‖_F‖E‖_F and the sign is the same. E is the
    backward error of Householder QR, taken as 2√n·eps·‖B‖_F, with the distance of the held numbers from the subject.
    ‖B⁻¹‖_F comes from the singular values, each diminished by its error.
    """
    size = len(block)
    exponent = power_of_two(block)
    held = scaled(block, -exponent)
    away = math.ldexp(away, -exponent)
    method = f"QR of a dense block of {size}"
    if spectrum is None:
        values = singular_values_of(held)
        errors = backward(values, size, float(values[0])) + away
    else:
        values = scaled(spectrum.values, spectrum.exponent - exponent)
        errors = scaled(spectrum.error, spectrum.exponent - exponent)
    shift = size * exponent * math.log(2)
    high = math.fsum(np.log(values + errors)) + shift if (values + errors > 0).all() else None
    surely = np.maximum(values - errors, 0.0)
    with np.errstate(over="ignore", divide="ignore"):
        inverse = float(np.sqrt((surely**-2.0).sum()))
    perturbation = BACKWARD * math.sqrt(size) * EPS * norm(held) + away
    if not inverse * perturbation <= 0.5:  # also where one of them overflows
        because = "the block is singular to working precision: its smallest singular value is below the error"
        return replace(unknown(method, because), high=high)
    reflections, factors = (np.asarray(each) for each in np.linalg.qr(held, mode="raw"))
    pivots = np.diagonal(reflections)
    total = math.fsum(np.log(np.abs(pivots))) + shift
    bound = 2 * inverse * perturbation + size * UNIT * (abs(total) + abs(shift) + 1)
    method += f", condition {inverse * norm(held):.1e}"
    if np.iscomplexobj(block):
        phase = complex(np.linalg.slogdet(held)[0])
        because = f"complex: the determinant has the phase {phase:.6g}"
        return LogDet(None, total, total - bound, total + bound, "estimated", method, because)
    negative = int(np.count_nonzero(pivots < 0)) + int(np.count_nonzero(factors))  # each reflection turns the sign
    return LogDet(-1 if negative % 2 else 1, total, total - bound, total + bound, "estimated", method)


def combined(parts: Sequence[LogDet], over: str) -> LogDet:
    """The determinant of a product of determinants: logarithms and bounds add, signs multiply."""
    if any(part.sign == 0 for part in parts):
        return next(part for part in parts if part.sign == 0)
    guarantee: Guarantee = "proved" if all(part.guarantee == "proved" for part in parts) else "estimated"
    signs = [part.sign for part in parts]
    known = [part.log_abs for part in parts]
    method = f"sum over {over}: " + "; ".join(dict.fromkeys(part.method for part in parts))
    because = "; ".join(dict.fromkeys(part.because for part in parts if part.because))
    total = None if None in known else math.fsum(value for value in known if value is not None)
    return LogDet(
        None if None in signs else math.prod(sign for sign in signs if sign is not None),
        total,
        added([part.low for part in parts], -math.inf),
        added([part.high for part in parts], math.inf),
        guarantee,
        method,
        because,
    )


def added(bounds: list[float | None], outwards: float) -> float | None:
    """The sum of bounds, known only if every one is; of several it is rounded towards `outwards`."""
    known = [bound for bound in bounds if bound is not None]
    if len(known) < len(bounds):
        return None
    return known[0] if len(known) == 1 else math.nextafter(math.fsum(known), outwards)


def singular(because: str) -> LogDet:
    """A determinant that is exactly zero, and why."""
    return LogDet(0, None, None, None, "proved", "structure", f"singular: {because}")


def unknown(method: str, because: str) -> LogDet:
    """A determinant of which nothing is known, and why."""
    return LogDet(None, None, None, None, "estimated", method, because)
