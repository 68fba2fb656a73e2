"""Every rank by its own name, because the rank of an attention matrix is not one number.

Symbols: σ₁ ≥ σ₂ ≥ … are the singular values of an m × n matrix A. For every non-zero matrix the exact chain
stable ≤ nuclear ≤ participation ratio ≤ effective rank ≤ exact rank holds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import accumulate
from typing import Any, Final

import numpy as np

from rankscope.analyzer.extremes import entropic, of_entropy, of_participation, of_sum
from rankscope.analyzer.measure import measure, unknown
from rankscope.analyzer.needs import Bounds, Scores
from rankscope.analyzer.numerics import Numerics
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
    return storage_error(spectrum, storage) + float(spectrum.error.max(initial=0.0))


def storage_error(spectrum: Spectrum, storage: Storage) -> float:
    """A bound on the norm of what rounding to the storage type changed: u·‖A‖_F + n·η."""
    return storage.unit * spectrum.frobenius + math.ldexp(max(spectrum.shape) * storage.smallest, -spectrum.exponent)


@measure(group="rank")
def rank_exact(bounds: Bounds) -> Reading:
    """The rank in exact arithmetic: the number of linearly independent rows.

    Given where a theorem about the structure decides it: a triangular matrix without a zero on its diagonal has full
    rank; or, when a proof is asked for, where elimination modulo primes or a determinant in ball arithmetic does.
    Otherwise the value is null and `low` and `high` hold what is proved.
    """
    low, high = bounds.at_least, bounds.at_most
    return Reading(high if low == high else None, "proved", bounds.method, bounds.because, low, high)


@measure(group="rank")
def rank_numerical(spectrum: Spectrum, numerics: Numerics, storage: Storage) -> Reading:
    """The number of singular values above a tolerance: #{i : σ_i > τ}.

    τ follows `rule`, or `rtol`·σ₁. By default numpy's rule for float64 and the storage rule for anything stored in
    fewer bits. When τ lies inside the error of a singular value, the count is not decided: the value is null and `low`
    and `high` say what it can be. `details` hold the tolerance, the values on either side of it, the gap between
    them (their ratio), and the counts at a ladder of relative tolerances.
    """
    rule, tolerance = chosen_tolerance(spectrum, numerics, storage)
    reading = count_above(spectrum.values, spectrum.error, tolerance)
    details = {"rule": rule, **around(spectrum, tolerance.value), "ladder": ladder(spectrum)}
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


@dataclass(frozen=True)
class Tolerance:
    """A tolerance, and the least and the greatest that it can be."""

    value: float
    low: float
    high: float


def chosen_tolerance(spectrum: Spectrum, numerics: Numerics, storage: Storage) -> tuple[str, Tolerance]:
    """The name of the rule that was asked for, or of the default, and its tolerance."""
    if numerics.rtol is not None:
        return "rtol", tolerances(lambda s, _: float(numerics.rtol or 0) * s.largest, spectrum, storage)
    rule = numerics.rule or ("numpy" if storage is FLOAT64 else "storage")
    return rule, tolerances(RULES[rule].function, spectrum, storage)


def tolerances(rule: Callable[[Spectrum, Storage], float], spectrum: Spectrum, storage: Storage) -> Tolerance:
    """The tolerance of a rule, for the largest singular value as computed and at both ends of its error.

    MATLAB's rule jumps where σ₁ passes a power of two, so that an error of one unit can double it.
    """
    if not len(spectrum.values):
        return Tolerance(*[rule(spectrum, storage)] * 3)
    moved = []
    for shift in (0.0, -float(spectrum.error[0]), float(spectrum.error[0])):
        values = spectrum.values.copy()
        values[0] = max(values[0] + shift, 0.0)
        moved.append(rule(replace(spectrum, values=values), storage))
    return Tolerance(moved[0], min(moved), max(moved))


def count_above(values: Float64, errors: Float64, tolerance: Tolerance) -> Reading:
    """How many values lie above a tolerance, which is the float64 number that the rule gives."""
    if not (np.isfinite(values).all() and np.isfinite(errors).all() and math.isfinite(tolerance.high)):
        return unknown("the values overflow float64", low=0, high=len(values))
    low = int(np.count_nonzero(values - errors > tolerance.high))
    high = int(np.count_nonzero((values + errors > tolerance.low) & (values + errors > 0)))
    if low == high:
        return Reading(low, low=low, high=high)
    inside = "a singular value" if high - low == 1 else f"{high - low} singular values"
    return unknown(f"the tolerance lies inside the error of {inside}", low=low, high=high)


def around(spectrum: Spectrum, tolerance: float) -> dict[str, Any]:
    """The tolerance, the singular values just above and just below it, and their ratio.

    A value below it that its own error hides is null, with `sigma_below_high` above it; the gap is then a lower bound.
    """
    above = int(np.count_nonzero(spectrum.values > tolerance))
    last = float(spectrum.values[above - 1]) if above else None
    known = {
        "tolerance": spectrum.absolute(tolerance),
        "sigma_above": None if last is None else spectrum.absolute(last),
    }
    if above == len(spectrum.values):
        return {**known, "sigma_below": None, "gap": None}
    first, error = float(spectrum.values[above]), float(spectrum.error[above])
    if not 0 < first <= error:
        gap = last / first if last is not None and first and last < first * 1e300 else None
        return {**known, "sigma_below": spectrum.absolute(first), "gap": gap}
    bound = first + error
    surely = None if last is None else last - float(spectrum.error[above - 1])
    apart = surely is not None and bound < surely < bound * 1e300
    gap = surely / bound * (1 - 4 * EPS) if surely is not None and apart else None
    return {**known, "sigma_below": None, "sigma_below_high": spectrum.absolute(bound), "gap_low": gap, "gap": None}


def storage_away(spectrum: Spectrum, storage: Storage) -> float:
    """The storage error as a bound that holds the rounding of the norm, too; 0 for float64."""
    slack = 1 + 2 * EPS * math.prod(spectrum.shape)
    return 0.0 if storage is FLOAT64 else storage_error(spectrum, storage) * slack


def ladder(spectrum: Spectrum) -> dict[str, int]:
    """Counts of the values as they are given at the relative tolerances of `LADDER`, whatever their errors."""
    steps = {step: max(spectrum.shape) * EPS if isinstance(step, str) else step for step in LADDER}
    return {
        step if isinstance(step, str) else f"{step:.0e}": int(
            np.count_nonzero(spectrum.values > relative * spectrum.largest)
        )
        for step, relative in steps.items()
    }


@measure(group="rank")
def effective_rank(spectrum: Spectrum, storage: Storage) -> Reading:
    """exp(−Σ p_i ln p_i) with p_i = σ_i / Σσ (Roy and Vetterli 2007): between 1 and the rank."""
    return spectral(spectrum, storage, "exp of the entropy of σ/Σσ", entropic, partial(of_entropy, power=1))


@measure(group="rank")
def effective_rank_energy(spectrum: Spectrum, storage: Storage) -> Reading:
    """exp(−Σ p_i ln p_i) with p_i = σ_i² / Σσ²: the effective rank of the energy."""
    method = "exp of the entropy of σ²/Σσ²"
    return spectral(spectrum, storage, method, lambda s: entropic(s * s), partial(of_entropy, power=2))


@measure(group="rank")
def stable_rank(spectrum: Spectrum, storage: Storage) -> Reading:
    """‖A‖_F² / ‖A‖₂² = Σσ² / σ₁² (Rudelson and Vershynin 2007)."""
    method = "‖A‖_F² / σ₁²"
    return spectral(spectrum, storage, method, lambda s: float((s * s).sum()), partial(of_sum, power=2))


@measure(group="rank")
def nuclear_rank(spectrum: Spectrum, storage: Storage) -> Reading:
    """‖A‖_* / ‖A‖₂ = Σσ / σ₁, also called the intrinsic rank."""
    return spectral(spectrum, storage, "Σσ / σ₁", lambda s: float(s.sum()), partial(of_sum, power=1))


@measure(group="rank")
def participation_ratio(spectrum: Spectrum, storage: Storage) -> Reading:
    """(Σσ)² / Σσ², of the singular values themselves (not of their squares)."""

    def ratio(values: Float64) -> float:
        return float(values.sum() ** 2 / (values * values).sum())

    return spectral(spectrum, storage, "(Σσ)² / Σσ²", ratio, of_participation)


@measure(group="rank")
def energy_rank_90(spectrum: Spectrum, storage: Storage) -> Reading:
    """The least r with Σ_{i≤r} σ_i² ≥ 0.9·Σσ²; null with bounds where the errors of the values leave two answers."""
    if spectrum.largest == 0.0:
        return unknown("empty" if not len(spectrum.values) else "the matrix is zero")
    low, high = energy_ranks(spectrum, 0.0)
    if low < high:
        return unknown("the sum reaches 90 % within the error of the values", low=low, high=high)
    bounds = energy_ranks(spectrum, storage_away(spectrum, storage))
    return Reading(low, spectrum.guarantee, "least r with 90 % of Σσ²", "", *bounds)


def energy_ranks(spectrum: Spectrum, away: float) -> tuple[int, int]:
    """The least and the greatest energy rank of values within their errors, and within `away` of those."""
    if not (spectrum.error.any() or away):
        squares = [Fraction(value) ** 2 for value in spectrum.values.tolist()]
        sums = list(accumulate(squares))
        exact = next(rank for rank, each in enumerate(sums, 1) if 10 * each >= 9 * sums[-1])
        return exact, exact
    values, errors = spectrum.values / spectrum.largest, (spectrum.error + away) / spectrum.largest
    most, least = np.cumsum((values + errors) ** 2), np.cumsum(np.maximum(values - errors, 0.0) ** 2)
    size = len(values)
    rounding = 2 * (size + 4) * EPS
    low = int(np.searchsorted(most, 0.9 * least[-1] * (1 - rounding))) + 1
    return low, min(int(np.searchsorted(least, 0.9 * most[-1] * (1 + rounding))) + 1, size)


@measure(group="scores")
def rank_scores(scores: Scores) -> Reading:
    """The numerical rank of the scores before any kernel, at numpy's tolerance.

    It is at most min(n, m, d) where they are q kᵀ, as they are under every rotation; gluing and biases can lift it.
    """
    if scores.values is None:
        return unknown(scores.because)
    relative = max(scores.shape) * EPS
    largest, error = (float(each[0]) if len(each) else 0.0 for each in (scores.values, scores.error))
    tolerance = Tolerance(relative * largest, relative * (largest - error), relative * (largest + error))
    found = count_above(scores.values, scores.error, tolerance)
    if scores.d is None:
        method = "of the scores, which are no product q kᵀ"
        return replace(found, guarantee=scores.guarantee, method=method, subject="stored")
    method = f"of q kᵀ; at most {min(*scores.shape, scores.d)}"
    return replace(found, guarantee=scores.guarantee, method=method, subject="factors")


def spectral(
    spectrum: Spectrum,
    storage: Storage,
    method: str,
    formula: Callable[[Float64], float],
    extremes: Callable[[Float64, Float64], tuple[float, float]],
) -> Reading:
    """A measure that depends on σ/σ₁ alone; null for a matrix without a non-zero singular value.

    Its bounds follow from the errors of the values and, for anything stored in fewer bits than float64, from what
    rounding to the storage type can have changed: they hold the measure of the matrix before it was rounded, too.
    """
    if spectrum.largest == 0.0:
        return unknown("empty" if not len(spectrum.values) else "the matrix is zero")
    values, errors = spectrum.values / spectrum.largest, spectrum.error / spectrum.largest
    away = storage_away(spectrum, storage) / spectrum.largest
    errors = errors * (1 + 4 * EPS) + away + 2 * EPS * values
    low, high = extremes(values - errors, values + errors)
    return Reading(min(max(formula(values), low), high), spectrum.guarantee, method, low=low, high=high)
