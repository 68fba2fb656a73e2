"""Ranks and cosines of tokens, true however near they are to each other."""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from rankscope.analyzer.depth import NEAR, depth_measure
from rankscope.analyzer.extremes import entropic
from rankscope.analyzer.measure import unknown
from rankscope.analyzer.residual import SAFETY, bounded
from rankscope.arrays import EPS, UNIT
from rankscope.attention.pointwise import normalised
from rankscope.attention.scaled import LOG10_2, Scaled
from rankscope.attention.tokens import LOST, Tokens
from rankscope.records import Reading


@depth_measure("tokens", default=True)
def token_cosine(tokens: Tokens) -> Reading:
    """The mean of cos(x_i, x_j) over pairs of tokens; `details` hold log₁₀ of what it lacks to 1, however small."""
    n, width = tokens.shape
    if n == 1:
        return unknown("one token has no pairs")
    made = normalised(tokens, "rms", 0.0)
    unit, error = made.residual, made.error
    lacking = 2 * unit.log10_norm - math.log10((n - 1) * width)
    value = 1 - 10.0**lacking
    method = "1 − Σ‖residual of x_i/‖x_i‖‖²/(n − 1)"
    slack = 2 * SAFETY * error * 10.0**lacking + 4 * EPS
    return Reading(
        value, "estimated", method, low=value - slack, high=value + slack, details={"log10_one_minus": lacking}
    )


@depth_measure("tokens")
def token_correlation(tokens: Tokens) -> Reading:
    """1ᵀXXᵀ1 / (n‖X‖_F²), the share of the mean (Noci et al. 2022); `details` hold log₁₀ of what it lacks to 1."""
    lacking = 2 * tokens.log10_residual
    return Reading(1 - 10.0**lacking, "estimated", "1 − r²", details={"log10_one_minus": lacking})


@depth_measure("tokens")
def log10_hf_lf(tokens: Tokens) -> Reading:
    """log₁₀ ‖X − (1/n)11ᵀX‖_F / ‖(1/n)11ᵀX‖_F: high over low frequencies (Wang et al. 2022)."""
    low = tokens.mean.log2_norm + math.log2(tokens.shape[0]) / 2
    return bounded((tokens.residual.log2_norm - low) * LOG10_2, tokens.error, "mean and residual", lost=tokens.lost)


@depth_measure("tokens", default=True)
def token_stable_rank(tokens: Tokens) -> Reading:
    """‖X‖_F²/σ₁² of the tokens; `details` hold log₁₀ of what it has beyond 1."""
    return of_values(tokens, 1, lambda p: float(p.sum()), lambda rest: 2 * rest)


@depth_measure("tokens")
def token_stable_rank_gram(tokens: Tokens) -> Reading:
    """Σσ⁴/σ₁⁴: the stable rank of the Gram matrix XXᵀ, which papers also call that of the tokens."""
    return of_values(tokens, 2, lambda p: float(p.sum()), None)


@depth_measure("tokens", default=True)
def token_effective_rank(tokens: Tokens) -> Reading:
    """exp(−Σ p ln p), p = σ_i/Σσ, of the tokens (Roy and Vetterli 2007)."""
    return of_values(tokens, 0.5, entropic, None)


@depth_measure("tokens")
def token_effective_rank_gram(tokens: Tokens) -> Reading:
    """The same of the Gram matrix XXᵀ: p = σ_i²/Σσ²."""
    return of_values(tokens, 1, entropic, None)


def of_values(
    tokens: Tokens, power: float, formula: Callable[[Any], float], beyond: Callable[[float], float] | None
) -> Reading:
    """A formula of (σ_i/σ₁)^(2·power) of the tokens."""
    first, rest = token_values(tokens)
    if not math.isfinite(first):
        return unknown("all tokens are zero")
    ratios = (
        rest.in_units(0)
        if not rest.values.any()
        else np.exp2(np.log2(np.maximum(rest.values, 1e-300)) + (rest.exponent - first))
    )
    powers = np.concatenate([[1.0], ratios]) ** (2 * power)
    logs = rest.log10_norm - first * LOG10_2
    details = {} if beyond is None or not math.isfinite(logs) else {"log10_beyond_1": beyond(logs)}
    return Reading(formula(powers), "estimated", "singular values of mean and residual", details=details)


ROUNDINGS: Final = 8.0
"""Units of roundoff that a decomposition may lose, relative to the largest singular value."""


def near_consensus(tokens: Tokens) -> bool:
    """Whether the residual is that small."""
    length = tokens.mean.log2_norm + math.log2(tokens.shape[0]) / 2
    return tokens.residual.log2_norm - length <= math.log2(NEAR)


def token_values(tokens: Tokens) -> tuple[float, Scaled]:
    """log₂ σ₁ of the tokens, and all other singular values.

    Near consensus X = a·wᵀ + R⊥ with w the direction of the mean, a = √n‖x̄‖u + Rw, R⊥w = 0: σ₁ = ‖a‖ and the others
    are those of R⊥ without its part along a, to a relative (‖R‖/‖x̄‖)⁴.
    """
    n = tokens.shape[0]
    mean, rest = tokens.mean, tokens.residual
    length = mean.log2_norm + math.log2(n) / 2
    if not rest.values.any():
        return length, Scaled.of(np.zeros(min(tokens.shape) - 1))
    if not near_consensus(tokens):
        unit = max(mean.exponent, rest.exponent) if mean.values.any() else rest.exponent
        values = np.linalg.svd(mean.in_units(unit) + rest.in_units(unit), compute_uv=False)
        first = math.log2(values[0]) + unit if values[0] else -math.inf
        return first, Scaled.of(values[1:], unit)
    w = mean.values[0] / mean.norm
    along = rest.values @ w
    across = rest.values - np.outer(along, w)
    small = 2.0 ** max(rest.exponent - mean.exponent, -1000)
    a = mean.norm + small * along
    unit_a = a / np.linalg.norm(a)
    left = across - np.outer(unit_a, unit_a @ across)
    first = math.log2(float(np.linalg.norm(a))) + mean.exponent
    return first, Scaled.of(np.linalg.svd(left, compute_uv=False)[: min(tokens.shape) - 1], rest.exponent)


@depth_measure("residual")
def log10_rank1_residual(tokens: Tokens) -> Reading:
    """log₁₀ √(Σ_{i≥2} σ_i²) / ‖X‖_F: the distance from the nearest matrix of rank one, of any shape."""
    if min(tokens.shape) == 1:
        return unknown("zero: one row, or one column, is of rank one")
    _, rest = token_values(tokens)
    size = tokens.residual.log2_norm if near_consensus(tokens) else tokens.log2_norm
    lost = 2.0 ** min(size - rest.log2_norm, 60.0) if rest.values.any() else 2.0**60 * tokens.residual.values.any()
    error = (tokens.error + ROUNDINGS * UNIT) * lost
    method, gone = "singular values of mean and residual", tokens.lost or error - tokens.error > LOST
    return bounded(rest.log10_norm - tokens.log2_norm * LOG10_2, error, method, lost=gone)
