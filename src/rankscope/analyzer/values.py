"""What the determinant and the singular values themselves say: sizes, ratios, eigenvalues."""

import math

import numpy as np

from rankscope.analyzer.determinant import LogDet
from rankscope.analyzer.measure import measure, unknown
from rankscope.analyzer.needs import Bounds
from rankscope.analyzer.rows import Rows
from rankscope.analyzer.smallest import Smallest
from rankscope.analyzer.spectrum import Spectrum
from rankscope.arrays import EPS, Array, power_of_two, scaled
from rankscope.errors import error
from rankscope.records import Reading


@measure(unit="nats", group="determinant")
def logdet(determinant: LogDet) -> Reading:
    """ln|det A|, with the sign of the determinant; null with sign 0 for a singular matrix."""
    return Reading(
        determinant.log_abs,
        determinant.guarantee,
        determinant.method,
        determinant.because,
        determinant.low,
        determinant.high,
        determinant.sign,
    )


@measure(group="spectrum")
def sigma_max(spectrum: Spectrum) -> Reading:
    """The largest singular value σ₁ = ‖A‖₂: at least 1 when rows sum to one, and at most √n."""
    if not len(spectrum.values):
        return unknown("empty")
    value, error = float(spectrum.values[0]), float(spectrum.error[0])
    size = spectrum.absolute(value)
    if size is None:
        given = {"mantissa": value, "exponent": spectrum.exponent}
        return unknown(f"float64 cannot hold it: {value:.6g} · 2^{spectrum.exponent}", details=given)
    low, high = spectrum.absolute(max(value - error, 0.0)), spectrum.absolute(value + error)
    return Reading(size, spectrum.guarantee, spectrum.method, low=low, high=high)


@measure(group="spectrum")
def log10_sigma_min(smallest: Smallest) -> Reading:
    """log₁₀ of the smallest singular value; null with bounds where only those are known, and for singular matrices."""
    return Reading(smallest.log10, smallest.guarantee, smallest.method, smallest.because, smallest.low, smallest.high)


@measure(group="spectrum")
def log10_condition(smallest: Smallest, spectrum: Spectrum) -> Reading:
    """log₁₀ of the condition number σ₁ / σ_min."""
    if spectrum.largest == 0.0:
        return unknown("empty" if not len(spectrum.values) else "the matrix is zero")
    mantissa, shift = math.log10(spectrum.largest), spectrum.exponent * math.log10(2)
    top, size = mantissa + shift, 1 + abs(mantissa) + abs(shift)
    spread = -math.log10(max(1 - float(spectrum.error[0]) / spectrum.largest, EPS))
    if smallest.log10 is None and smallest.high is None:
        return unknown("infinite: " + smallest.because, guarantee=smallest.guarantee)
    weaker = "estimated" if "estimated" in (smallest.guarantee, spectrum.guarantee) else smallest.guarantee
    return Reading(
        None if smallest.log10 is None else top - smallest.log10,
        weaker,
        f"σ₁ and {smallest.method}",
        smallest.because,
        None if smallest.high is None else top - spread - smallest.high - 8 * EPS * (size + abs(smallest.high)),
        None if smallest.low is None else top + spread - smallest.low + 8 * EPS * (size + abs(smallest.low)),
    )


@measure(group="spectrum")
def sv_ratio_1_2(spectrum: Spectrum) -> Reading:
    """σ₁ / σ₂: how far the first singular value stands out."""
    if len(spectrum.values) < 2:
        return unknown("fewer than two singular values")
    (first, second), (near, far) = spectrum.values[:2].tolist(), spectrum.error[:2].tolist()
    if first == 0.0:
        return unknown("the matrix is zero")
    if second == far == 0.0:
        return unknown("infinite: the second singular value is exactly zero", guarantee="proved")
    if second <= far:
        low = (first - near) / (second + far) if second + far > 0 else None
        return unknown("the second singular value is below its error bound", low=low)
    low, high = (first - near) / (second + far) * (1 - 2 * EPS), (first + near) / (second - far) * (1 + 2 * EPS)
    return Reading(first / second, spectrum.guarantee, "σ₁ / σ₂", low=low, high=high)


@measure(group="spectrum", default=False)
def eigenvalues(rows: Rows, bounds: Bounds) -> Reading:
    """The eigenvalues, as a series sorted by magnitude; the value is the spectral gap |λ₁| − |λ₂|.

    Those of a triangular matrix are its diagonal, exactly. Others come from LAPACK's geev and are estimated.
    """
    matrix, structure = rows.weights, bounds.structure
    if structure.shape[0] != structure.shape[1]:
        return unknown("only a square matrix has eigenvalues")
    if not len(matrix):
        return unknown("empty")
    exact = structure.triangular and structure.side.value != "none"
    exponent = power_of_two(matrix)
    held = scaled(matrix, -exponent)
    found = np.diagonal(held) if exact else eigenvalues_of(held)
    if len(found) and math.log2(max(float(np.abs(found).max()), 1.0)) + exponent >= 1023:
        return unknown("an eigenvalue overflows float64")
    found = scaled(found, exponent)
    found = found[np.lexsort((-found.imag, -found.real, -np.abs(found)))]
    gap = float(abs(found[0]) - abs(found[1])) if len(found) > 1 else float(abs(found[0]))
    listed = {"eigenvalues_real": found.real.tolist(), "eigenvalues_imaginary": found.imag.tolist()}
    method = "the diagonal of a triangular matrix" if exact else "LAPACK geev; no error bound"
    return Reading(gap, "estimated", f"|λ₁| − |λ₂|, {method}", series=listed)


def eigenvalues_of(matrix: Array) -> Array:
    """LAPACK's eigenvalues of a finite matrix."""
    try:
        return np.asarray(np.linalg.eigvals(matrix))
    except np.linalg.LinAlgError as reason:
        raise error("RS401", f"LAPACK's eigenvalues of a {matrix.shape} matrix: {reason}", "leave them out") from reason
