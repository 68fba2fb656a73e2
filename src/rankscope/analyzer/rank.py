"""Every rank by its own name, because the rank of an attention matrix is not one number.

Symbols: σ₁ ≥ σ₂ ≥ … are the singular values of an m × n matrix A. For every non-zero matrix the exact chain
stable ≤ nuclear ≤ participation ratio ≤ effective rank ≤ exact rank holds.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from rankscope.analyzer.measure import measure, unknown
from rankscope.analyzer.needs import Bounds, Numerics, Scores
from rankscope.analyzer.spectrum import Spectrum
from rankscope.arrays import EPS, FLOAT64, Float64, Storage
from rankscope.records import Reading
from rankscope.registry import Registry

RULES: Final = Registry[Callable[[Spectrum, Storage], float]]("rule")

LADDER: Final = ("n·eps", 1e-10, 1e-6, 1e-3, 1e-2)
"""Relative tolerances at which the numerical rank is always given beside the chosen one."""


@RULES
def numpy(spectrum: Spectrum, storage: Storage) -> float:
    """max(m, n)·eps·σ₁: numpy.linalg.matrix_rank, scipy, the array API standard."""
    return max(spectrum.shape) * EPS * spectrum.largest


@RULES
def matlab(spectrum: Spectrum, storage: Storage) -> float:
    """max(m, n)·eps(σ₁) with the spacing of floating-point numbers at σ₁: MATLAB's rank."""
    return max(spectrum.shape) * float(np.spacing(spectrum.largest))


@RULES
def torch(spectrum: Spectrum, storage: Storage) -> float:
    """max(m, n)·eps·σ₁: torch.linalg.matrix_rank of a float64 tensor."""
    return numpy(spectrum, storage)


@RULES(name="torch-f32")
def torch_f32(spectrum: Spectrum, storage: Storage) -> float:
    """max(m, n)·2⁻²³·σ₁: torch.linalg.matrix_rank of a float32 tensor."""
    return max(spectrum.shape) * 2.0**-23 * spectrum.largest


@RULES(name="numerical-recipes")
def numerical_recipes(spectrum: Spectrum, storage: Storage) -> float:
    """σ₁·(eps/2)·√(m + n + 1): Press et al., Numerical Recipes, as numpy's documentation quotes it."""
    return spectrum.largest * (EPS / 2) * math.sqrt(sum(spectrum.shape) + 1)


@RULES(name="storage")
def storage_rule(spectrum: Spectrum, storage: Storage) -> float:
    """u·‖A‖_F + n·η + the error of the values: what rounding to the storage type can have made of zero."""
    tiny = math.ldexp(max(spectrum.shape) * storage.smallest, -spectrum.exponent)
    return storage.unit * spectrum.frobenius + tiny + float(spectrum.error.max(initial=0.0))


@measure(group="rank")
def rank_exact(bounds: Bounds) -> Reading:
    """The rank in exact arithmetic: the number of linearly independent rows.

    Given where a theorem about the structure decides it: a triangular matrix without a zero on its diagonal has full
    rank. Otherwise the value is null and `low` and `high` hold what the structure proves.
    """
    structure, low = bounds.structure, bounds.at_least
    high = structure.rank_bound.value
    if low == high:
        sign = structure.det_sign
        because = sign.because if sign.value else structure.rank_bound.because
        return Reading(high, "proved", "structure", because, high, high)
    because = f"{structure.rank_bound.because}; the structure alone does not say more"
    return Reading(None, "proved", "structure", because, low, high)


@measure(group="rank")
def rank_numerical(spectrum: Spectrum, numerics: Numerics, storage: Storage) -> Reading:
    """The number of singular values above a tolerance: #{i : σ_i > τ}.

    τ follows `rule`, or `rtol`·σ₁. By default numpy's rule for float64 and the storage rule for anything stored in
    fewer bits. When τ lies inside the error of a singular value, the count is not decided: the value is null and `low`
    and `high` say what it can be. `details` hold the tolerance, the values on either side of it, the gap between
    them (their ratio), and the counts at a ladder of relative tolerances.
    """
    rule = numerics.rule or ("numpy" if storage is FLOAT64 else "storage")
    if numerics.rtol is not None:
        rule, tolerance = "rtol", numerics.rtol * spectrum.largest
    else:
        tolerance = RULES[rule].function(spectrum, storage)
    reading = count_above(spectrum.values, spectrum.error, tolerance)
    details = {"rule": rule, **around(spectrum, tolerance), "ladder": ladder(spectrum)}
    if storage is not FLOAT64:
        rms = spectrum.frobenius / math.sqrt(max(math.prod(spectrum.shape), 1))
        details["expected_noise"] = spectrum.absolute(2 * math.sqrt(max(spectrum.shape)) * rms * storage.unit)
    return Reading(
        reading.value,
        spectrum.guarantee,
        f"σ > τ by the rule {rule}",
        reading.because,
        reading.low,
        reading.high,
        details=details,
    )


def count_above(values: Float64, errors: Float64, tolerance: float) -> Reading:
    """How many values lie above a tolerance that is itself known to the relative error of the largest value."""
    slack = tolerance * (float(errors[0]) / float(values[0])) if len(values) and values[0] > 0 else 0.0
    low = int(np.count_nonzero(values - errors > tolerance + slack))
    high = int(np.count_nonzero((values + errors > tolerance - slack) & (values + errors > 0)))
    if low == high:
        return Reading(low, low=low, high=high)
    inside = "a singular value" if high - low == 1 else f"{high - low} singular values"
    return unknown(f"the tolerance lies inside the error of {inside}", low=low, high=high)


def around(spectrum: Spectrum, tolerance: float) -> dict[str, Any]:
    """The tolerance, the singular values just above and just below it, and their ratio."""
    above = spectrum.values[spectrum.values > tolerance]
    below = spectrum.values[spectrum.values <= tolerance]
    last = float(above[-1]) if len(above) else None
    first = float(below[0]) if len(below) else None
    return {
        "tolerance": spectrum.absolute(tolerance),
        "sigma_above": None if last is None else spectrum.absolute(last),
        "sigma_below": None if first is None else spectrum.absolute(first),
        "gap": last / first if last is not None and first and last < first * 1e300 else None,
    }


def ladder(spectrum: Spectrum) -> dict[str, int]:
    """Counts at the relative tolerances of `LADDER`."""
    steps = {step: max(spectrum.shape) * EPS if isinstance(step, str) else step for step in LADDER}
    return {
        step if isinstance(step, str) else f"{step:.0e}": int(
            np.count_nonzero(spectrum.values > relative * spectrum.largest)
        )
        for step, relative in steps.items()
    }


@measure(group="rank")
def effective_rank(spectrum: Spectrum) -> Reading:
    """exp(−Σ p_i ln p_i) with p_i = σ_i / Σσ (Roy and Vetterli 2007): between 1 and the rank."""
    return spectral(spectrum, "exp of the entropy of σ/Σσ", lambda s: entropic(s))


@measure(group="rank")
def effective_rank_energy(spectrum: Spectrum) -> Reading:
    """exp(−Σ p_i ln p_i) with p_i = σ_i² / Σσ²: the effective rank of the energy."""
    return spectral(spectrum, "exp of the entropy of σ²/Σσ²", lambda s: entropic(s * s))


@measure(group="rank")
def stable_rank(spectrum: Spectrum) -> Reading:
    """‖A‖_F² / ‖A‖₂² = Σσ² / σ₁² (Rudelson and Vershynin 2007)."""
    return spectral(spectrum, "‖A‖_F² / σ₁²", lambda s: float((s * s).sum()))


@measure(group="rank")
def nuclear_rank(spectrum: Spectrum) -> Reading:
    """‖A‖_* / ‖A‖₂ = Σσ / σ₁, also called the intrinsic rank."""
    return spectral(spectrum, "Σσ / σ₁", lambda s: float(s.sum()))


@measure(group="rank")
def participation_ratio(spectrum: Spectrum) -> Reading:
    """(Σσ)² / Σσ², of the singular values themselves (not of their squares)."""
    return spectral(spectrum, "(Σσ)² / Σσ²", lambda s: float(s.sum() ** 2 / (s * s).sum()))


@measure(group="rank")
def energy_rank_90(spectrum: Spectrum) -> Reading:
    """The least r with Σ_{i≤r} σ_i² ≥ 0.9·Σσ²; null with bounds where the errors of the values leave two answers."""
    if spectrum.largest == 0.0:
        return unknown("empty" if not len(spectrum.values) else "the matrix is zero")
    values, errors = spectrum.values / spectrum.largest, spectrum.error / spectrum.largest
    most, least = np.cumsum((values + errors) ** 2), np.cumsum(np.maximum(values - errors, 0.0) ** 2)
    size = len(values)
    rounding = 2 * size * EPS if errors.any() else 0.0
    low = int(np.searchsorted(most, 0.9 * least[-1] * (1 - rounding))) + 1
    high = min(int(np.searchsorted(least, 0.9 * most[-1] * (1 + rounding))) + 1, size)
    if low < high:
        return unknown("the sum reaches 90 % within the error of the values", low=low, high=high)
    return Reading(low, "estimated", "least r with 90 % of Σσ²", low=low, high=high)


@measure(group="scores")
def rank_scores(scores: Scores) -> Reading:
    """The numerical rank of the scores q kᵀ before any kernel, at numpy's tolerance; never above min(n, m, d)."""
    if scores.values is None:
        return unknown(scores.because)
    high = min(*scores.shape, scores.d)
    tolerance = max(scores.shape) * EPS * float(scores.values.max(initial=0.0))
    found = count_above(scores.values, scores.error, tolerance)
    method = f"of q kᵀ, by QR of both; at most {high}"
    return replace(found, guarantee="estimated", method=method, subject="factors")


def spectral(spectrum: Spectrum, method: str, formula: Callable[[Float64], float]) -> Reading:
    """A measure that depends on σ/σ₁ alone; null for a matrix without a non-zero singular value."""
    if spectrum.largest == 0.0:
        return unknown("empty" if not len(spectrum.values) else "the matrix is zero")
    return Reading(formula(spectrum.values / spectrum.largest), "estimated", method)


def entropic(weights: Float64) -> float:
    """exp of the Shannon entropy of weights, normalised to sum to one."""
    shares = weights[weights > 0] / weights.sum()
    return math.exp(-float((shares * np.log(shares)).sum()))
