"""How tokens tend to each other with depth: residuals, cosines, ranks, and the order of their decay.

A depth measure is a function, and the type of its parameter says what it needs: the `Tokens` that enter a layer, their
`Distance` from consensus, the `History` of the layers before, a `Mixing` for each attention matrix, a `Block` for the
maps of a layer. Symbols: X (n × width) are the tokens, x̄ their mean, res(X) = X − 1x̄ᵀ.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from rankscope.analyzer.measure import finite, unknown
from rankscope.analyzer.residual import Centre, Distance, bounded
from rankscope.arrays import EPS, UNIT, Float64, Storage
from rankscope.attention.block import Block
from rankscope.attention.mixing import Mixing, Split, Whole
from rankscope.attention.pointwise import normalised
from rankscope.attention.scaled import Scaled
from rankscope.attention.tokens import LOST, Tokens
from rankscope.errors import RankscopeError
from rankscope.records import Reading
from rankscope.registry import Registry

LOG: Final = math.log10(2)
"""The decimal logarithm of two."""

HARDLY: Final = 0.1
"""Decades by which a residual must change for the next change to be compared with it."""

LEMMA: Final = 1.2564312086261697
"""The root of eˣ = 1 + 2x: the range of score differences up to which a lemma in the proof of Dong et al. holds."""


@dataclass(frozen=True)
class History:
    """The tokens' residuals so far, as decimal logarithms with their errors, and the absolute ones.

    The last entry is that of the tokens at hand. `bounds` are those of Dong et al., where their theorem speaks;
    `relative` are residuals from the mean, divided by the norm of the tokens.
    """

    logs: tuple[float | None, ...]
    errors: tuple[float, ...]
    absolute: tuple[float | None, ...]
    bounds: tuple[float | None, ...] = ()
    why_no_bound: str = ""
    relative: tuple[float | None, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Plain:
    """The tokens as a script computes them, None where it failed; the type in which they are kept from layer to layer;
    what they are compared with, and whether distances are divided by the norm of the tokens.
    """

    values: Float64 | None
    storage: Storage
    centre: Centre = "mean"
    absolute: bool = False


@dataclass(frozen=True)
class DepthMeasure:
    """A registered depth measure: its function, the group of its rows, and whether it is measured unless named."""

    function: Callable[..., Reading | float]
    group: str
    default: bool

    def __post_init__(self) -> None:
        named = {"__doc__": self.function.__doc__, "__name__": self.function.__name__, "__wrapped__": self.function}
        self.__dict__.update(named, __module__=self.function.__module__)

    @property
    def need(self) -> type:
        """What it is a function of."""
        kind: type = next(iter(inspect.signature(self.function).parameters.values())).annotation
        return kind

    @property
    def name(self) -> str:
        return self.function.__name__

    def __call__(self, of: Any) -> Reading:
        """Its reading: finite, or null with a reason."""
        if isinstance(of, Tokens) and self.group == "tokens" and not_held(of):
            return unknown("the residual is not known")
        try:
            found = self.function(of)
        except RankscopeError as reason:
            return unknown(f"{reason.code}: {reason.given}")
        return finite(found if isinstance(found, Reading) else Reading(float(found), method="computed in float64"))


DEPTH_MEASURES: Final = Registry[DepthMeasure]("depth measure")


def depth_measure(group: str, *, default: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: register a function as a depth measure under its own name."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        DEPTH_MEASURES.add(function.__name__, DepthMeasure(function, group, default))
        return function

    return register


def not_held(tokens: Tokens) -> bool:
    """Whether the residual is not known where it matters: lost altogether, or of any size within its error."""
    unsure = tokens.error > LOST and tokens.residual.log2_norm - tokens.log2_norm > 2 * math.log2(NEAR)
    return unsure or (tokens.lost and not tokens.residual.values.any())


# ------------------------------------------------------------------------------------------------- residuals


@depth_measure("residual", default=True)
def log10_residual(distance: Distance) -> Reading:
    """log₁₀ ‖X − 1xᵀ‖_F / ‖X‖_F, x the mean of the tokens or as --centre says; --absolute does not divide."""
    return distance.reading("frobenius")


@depth_measure("residual")
def log10_residual_l1(distance: Distance) -> Reading:
    """The same in ‖·‖₁, the largest column sum of magnitudes."""
    return distance.reading("l1")


@depth_measure("residual")
def log10_residual_linf(distance: Distance) -> Reading:
    """The same in ‖·‖_∞, the largest row sum of magnitudes."""
    return distance.reading("linf")


@depth_measure("residual")
def log10_residual_composite(distance: Distance) -> Reading:
    """The same in √(‖·‖₁‖·‖_∞), the norm of Dong et al. 2021, which is none: the triangle inequality fails."""
    return distance.reading("composite")


@depth_measure("residual")
def log10_residual_spectral(distance: Distance) -> Reading:
    """The same in ‖·‖₂, the largest singular value."""
    return distance.reading("spectral")


@depth_measure("residual", default=True)
def log10_residual_naive(plain: Plain) -> Reading:
    """log₁₀ of the same residual of tokens as a script computes them, which stops at its rounding floor.

    The floor, `log10_floor` in `details`, is what rounding to the type and summing n weights and as many features as
    tokens have can lose of the norm of the tokens: 4u + (n + width + 8)·2⁻⁵³.
    """
    x = plain.values
    if x is None or not np.isfinite(x).all() or not x.any():
        return unknown("plain arithmetic failed: the tokens vanished, or overflowed")
    whole = float(np.linalg.norm(x))
    size = 1.0 if plain.absolute else whole
    floor = (4 * plain.storage.unit + (sum(x.shape) + 8) * UNIT) * whole / size
    details = {"log10_floor": math.log10(floor)}
    value = float(np.linalg.norm(x - (x[0] if plain.centre == "first" else x.mean(axis=0)))) / size
    if not value:
        because = f"exactly zero in {plain.storage.name}, which means below rounding, not zero"
        return Reading(None, because=because, high=math.log10(plain.storage.unit * whole / size), details=details)
    because = "at its rounding floor" if value < floor else ""
    method = f"plain arithmetic, kept in {plain.storage.name}"
    return Reading(math.log10(value), "estimated", method, because, details=details)


@depth_measure("residual")
def log10_rank1_residual(tokens: Tokens) -> Reading:
    """log₁₀ √(Σ_{i≥2} σ_i²) / ‖X‖_F: the distance from the nearest matrix of rank one, of any shape."""
    _, rest = token_values(tokens)
    size = tokens.residual.log2_norm if near_consensus(tokens) else tokens.log2_norm
    lost = 2.0 ** min(size - rest.log2_norm, 60.0) if rest.values.any() else 2.0**60 * tokens.residual.values.any()
    error = (tokens.error + ROUNDINGS * UNIT) * lost
    method, gone = "singular values of mean and residual", tokens.lost or error - tokens.error > LOST
    return bounded(rest.log10_norm - tokens.log2_norm * LOG, error, method, lost=gone)


# ------------------------------------------------------------------------------------------------ rates over layers


@depth_measure("rate", default=True)
def residual_order(history: History) -> Reading:
    """Δlog r_l / Δlog r_{l−1} of the residual r, by increments: 3 for pure attention, 1 for a geometric decay."""
    if len(history.logs) < 3:
        return unknown("needs two layers before it")
    last, middle, first = history.logs[-1], history.logs[-2], history.logs[-3]
    if last is None or middle is None or first is None:
        return unknown("a residual is not known")
    above, below = last - middle, middle - first
    slack = sum(history.errors[-2:]), sum(history.errors[-3:-1])
    if abs(below) <= max(slack[1], HARDLY):
        return unknown("the residual hardly changed in the layer before")
    ends = [(above + a * slack[0]) / (below + b * slack[1]) for a in (-1, 1) for b in (-1, 1)]
    return Reading(above / below, "estimated", "increments of log r", low=min(ends), high=max(ends))


@depth_measure("rate", default=True)
def residual_rate(history: History) -> Reading:
    """r_l / r_{l−1}: the factor of one layer, of a geometric decay the same in all."""
    if len(history.logs) < 2 or history.logs[-1] is None or history.logs[-2] is None:
        return unknown("needs the layer before it" if len(history.logs) < 2 else "a residual is not known")
    step = history.logs[-1] - history.logs[-2]
    slack = sum(history.errors[-2:])
    if abs(step) > 300:
        low, high = (None, 1e-300) if step < 0 else (1e300, None)
        return Reading(None, because="beyond the range of float64", low=low, high=high, details={"log10": step})
    low, high = (10.0 ** (step + sign * slack) for sign in (-1, 1))
    return Reading(10.0**step, "estimated", "quotient of residuals", low=low, high=high, details={"log10": step})


@depth_measure("rate")
def log10_cubic_constant(history: History) -> Reading:
    """log₁₀ r_l / r_{l−1}³ of absolute residuals: the constant of the cubic law, as observed."""
    if len(history.absolute) < 2 or history.absolute[-1] is None or history.absolute[-2] is None:
        return unknown("needs the layer before it" if len(history.absolute) < 2 else "a residual is not known")
    value = history.absolute[-1] - 3 * history.absolute[-2]
    slack = history.errors[-1] + 3 * history.errors[-2]
    return Reading(value, "estimated", "absolute Frobenius residuals", low=value - slack, high=value + slack)


@depth_measure("rate")
def log10_dong_bound(history: History) -> Reading:
    """log₁₀ of (4γβH/√d)^((3^L−1)/2)·‖res(X)‖^(3^L) in √(‖·‖₁‖·‖_∞) with γ = 1, which the theorem leaves open.

    Theorem 2.3 of Dong et al. 2021, layer by layer: β = max_h ‖W_QK,h‖₁·‖W_h‖ of each. It is a bound of the absolute
    composite residual for some γ that depends on the attention, not for γ = 1: it is shown as published, beside what
    is measured.
    """
    if not history.bounds or history.bounds[-1] is None:
        return unknown(history.why_no_bound or "the residual before it is zero")
    method = "Theorem 2.3 of Dong et al. 2021 (arXiv 2103.03404) with γ = 1"
    return Reading(history.bounds[-1], "estimated", method, "γ is not known: not a proved bound")


def dong_step(bound: float, block: Block, scale: float) -> float:
    """The bound after one more layer: log₁₀(4βH·scale/√d) + 3·bound."""
    products = [
        (head.query.weights @ head.key.weights.T, head.value.weights @ head.output.weights) for head in block.heads
    ]
    beta = max(l1(qk) * math.sqrt(l1(v) * l1(v.T)) for qk, v in products)
    base = 4 * beta * len(block.heads) * scale / math.sqrt(block.heads[0].query.weights.shape[1])
    return (math.log10(base) if base else -math.inf) + 3 * bound


def l1(matrix: Any) -> float:
    """‖·‖₁, the largest column sum of magnitudes."""
    return float(np.abs(matrix).sum(axis=0).max())


# --------------------------------------------------------------------------------------------------- tokens


@depth_measure("tokens", default=True)
def token_cosine(tokens: Tokens) -> Reading:
    """The mean of cos(x_i, x_j) over pairs of tokens; `details` hold log₁₀ of what it lacks to 1, however small."""
    n, width = tokens.shape
    if n == 1:
        return unknown("one token has no pairs")
    unit = normalised(tokens, "rms", 0.0).residual
    lacking = 2 * unit.log10_norm - math.log10((n - 1) * width)
    value = 1 - 10.0**lacking
    method = "1 − Σ‖residual of x_i/‖x_i‖‖²/(n − 1)"
    return Reading(value, "estimated", method, details={"log10_one_minus": lacking})


@depth_measure("tokens")
def token_correlation(tokens: Tokens) -> Reading:
    """1ᵀXXᵀ1 / (n‖X‖_F²), the share of the mean (Noci et al. 2022); `details` hold log₁₀ of what it lacks to 1."""
    lacking = 2 * (tokens.residual.log2_norm - tokens.log2_norm) * LOG
    return Reading(1 - 10.0**lacking, "estimated", "1 − r²", details={"log10_one_minus": lacking})


@depth_measure("tokens")
def log10_hf_lf(tokens: Tokens) -> Reading:
    """log₁₀ ‖X − (1/n)11ᵀX‖_F / ‖(1/n)11ᵀX‖_F: high over low frequencies (Wang et al. 2022)."""
    low = tokens.mean.log2_norm + math.log2(tokens.shape[0]) / 2
    return bounded((tokens.residual.log2_norm - low) * LOG, tokens.error, "mean and residual", lost=tokens.lost)


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
    return of_values(tokens, 0.5, entropic_rank, None)


@depth_measure("tokens")
def token_effective_rank_gram(tokens: Tokens) -> Reading:
    """The same of the Gram matrix XXᵀ: p = σ_i²/Σσ²."""
    return of_values(tokens, 1, entropic_rank, None)


def entropic_rank(powers: Any) -> float:
    """exp of the entropy of numbers divided by their sum."""
    p = powers / powers.sum()
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


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
    logs = rest.log10_norm - first * LOG
    details = {} if beyond is None or not math.isfinite(logs) else {"log10_beyond_1": beyond(logs)}
    return Reading(formula(powers), "estimated", "singular values of mean and residual", details=details)


ROUNDINGS: Final = 8.0
"""Units of roundoff that a decomposition may lose, relative to the largest singular value."""

NEAR: Final = 2.0**-14
"""A residual below this part of the mean: what it does to the mean's singular value is then below rounding."""


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


# ------------------------------------------------------------------------------------------------ attention and maps


@depth_measure("attention")
def log10_dobrushin(mixing: Mixing) -> Reading:
    """log₁₀ ½ max_{i,k} ‖A_i − A_k‖₁: what one layer keeps of the range of each column, at most."""
    rows = mixing.rest.values
    largest = max(
        (float(np.abs(rows[i + 1 :] - rows[i]).sum(axis=1).max(initial=0.0)) for i in range(len(rows))), default=0
    )
    value = (math.log10(largest / 2) if largest else -math.inf) + mixing.rest.exponent * LOG
    error, lost = mixing.rest_known
    return bounded(value, error, "all pairs of rows", lost=lost, zero="all rows are equal")


@depth_measure("attention")
def log10_contraction_bound(mixing: Mixing) -> Reading:
    """log₁₀ max tanh(ω/4), ω the range of the differences of two rows of scores: bounds the Dobrushin coefficient."""
    if isinstance(mixing, Split):
        rows, exponent = mixing.scores.values, mixing.scores.exponent
    elif isinstance(mixing, Whole) and mixing.beyond is not None:
        return unknown("rows do not add up to one")
    else:
        if not (mixing.matrix > 0).all():
            return Reading(0.0, "estimated", "two queries see different keys: ω is infinite")
        rows, exponent = np.log(mixing.matrix), 0
    ranges = (np.ptp(rows[i + 1 :] - rows[i], axis=1).max(initial=0.0) for i in range(len(rows)))
    omega = max(map(float, ranges), default=0.0)
    quarter = math.log2(omega) + exponent - 2 if omega else -math.inf
    value = math.log10(math.tanh(2.0**quarter)) if quarter > -20 else quarter * LOG
    error, lost = mixing.rest_known
    found = bounded(value, error, "all pairs of rows", lost=lost, zero="all rows are equal")
    if not omega:
        return found
    return replace(found, details={"log10_omega": (quarter + 2) * LOG, "within_lemma": 2.0 ** (quarter + 2) <= LEMMA})


@depth_measure("attention")
def eigenvalue_2(mixing: Mixing) -> Reading:
    """|λ₂| of the attention matrix: the rate at which its powers tend to equal rows. Causal: max of A_ii, i ≥ 2."""
    matrix = mixing.matrix
    lower, upper = not np.triu(matrix, 1).any(), not np.tril(matrix, -1).any()
    if len(matrix) == 1:
        return unknown("a matrix of one row has one eigenvalue")
    if lower or upper:
        diagonal = np.sort(np.abs(np.diagonal(matrix)))[::-1]
        return Reading(float(diagonal[1]), "estimated", "the diagonal of a triangular matrix")
    if isinstance(mixing, Whole) and mixing.beyond is not None:
        return Reading(float(np.sort(np.abs(np.linalg.eigvals(matrix)))[-2]), "estimated", "eigenvalues of A")
    rest = mixing.rest
    largest = float(np.abs(np.linalg.eigvals(rest.values)).max())
    if not largest:
        return Reading(0.0, "estimated", "all rows are equal")
    log, method = math.log10(largest) + rest.exponent * LOG, "eigenvalues of A less equal rows"
    if mixing.rest_known[1]:
        return Reading(None, because="lost to rounding: rows of A differ by no more", method=method, high=10.0**log)
    if log < -300:
        return Reading(None, because="below the range of float64", method=method, high=1e-300, details={"log10": log})
    return Reading(10.0**log, "estimated", method, details={"log10": log})


@depth_measure("maps")
def mlp_lipschitz(block: Block) -> Reading:
    """‖W₁‖₂·Lip(φ)·‖W₂‖₂ of the MLP, which bounds its Lipschitz constant."""
    if block.mlp is None:
        return unknown("no MLP")
    return Reading(block.mlp.lipschitz, "estimated", "largest singular values of its maps")


@dataclass(frozen=True)
class Gradients:
    """The norms of the gradients by the maps of a layer, and log₁₀ of the relative residual of its tokens."""

    query: float
    key: float
    value: float
    log10_residual: float | None


LOST_GRADIENT: Final = math.log10(100 * EPS) / 2
"""log₁₀ of the residual below which the gradients by W_Q and W_K, ∝ r², are lost to rounding."""


def gradient(norm: float, of: Gradients, *, cancels: bool) -> Reading:
    """log₁₀ of the norm of a gradient; null where differences of tokens that it is made of are lost to rounding."""
    if not norm:
        return unknown("zero in float64")
    value = math.log10(norm)
    if cancels and (of.log10_residual is None or of.log10_residual < LOST_GRADIENT):
        return Reading(None, because="at the rounding floor of float64: the gradient is ∝ r²", high=value)
    return Reading(value, "estimated", "torch autograd of ⟨G, X_L⟩, G standard normal")


@depth_measure("gradients")
def log10_gradient_query(gradients: Gradients) -> Reading:
    """log₁₀ of the norm of ∂⟨G, X_L⟩/∂W_Q over the heads of a layer, G standard normal (Noci et al. 2022)."""
    return gradient(gradients.query, gradients, cancels=True)


@depth_measure("gradients")
def log10_gradient_key(gradients: Gradients) -> Reading:
    """The same by W_K."""
    return gradient(gradients.key, gradients, cancels=True)


@depth_measure("gradients")
def log10_gradient_value(gradients: Gradients) -> Reading:
    """The same by W_V."""
    return gradient(gradients.value, gradients, cancels=False)
