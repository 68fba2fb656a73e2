"""What one layer does: how its attention contracts, how its MLP stretches, how the output depends on its maps."""

import math
from dataclasses import replace
from typing import Final

import numpy as np

from rankscope.analyzer.depth import Gradients, depth_measure
from rankscope.analyzer.measure import unknown
from rankscope.analyzer.residual import bounded
from rankscope.arrays import EPS, UNIT, Float64
from rankscope.attention.block import Mlp
from rankscope.attention.mixing import Mixing, Split, Whole
from rankscope.attention.scaled import LOG10_2
from rankscope.attention.tokens import LOST
from rankscope.records import Reading

ROUNDINGS: Final = 8.0
"""Units of roundoff that eigenvalues may lose, relative to the norm of the matrix and beside its conditions."""

LEMMA: Final = 1.2564312086261697
"""The root of eˣ = 1 + 2x: the range of score differences up to which a lemma in the proof of Dong et al. holds."""


@depth_measure("attention")
def log10_dobrushin(mixing: Mixing) -> Reading:
    """log₁₀ ½ max_{i,k} ‖A_i − A_k‖₁: what one layer keeps of the range of each column, at most."""
    rows = mixing.rest.values
    largest = max(
        (float(np.abs(rows[i + 1 :] - rows[i]).sum(axis=1).max(initial=0.0)) for i in range(len(rows))), default=0
    )
    value = (math.log10(largest / 2) if largest else -math.inf) + mixing.rest.exponent * LOG10_2
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
            return Reading(0.0, "estimated", "some weights are zero, and ω is taken as infinite")
        rows, exponent = np.log(mixing.matrix), 0
    ranges = (np.ptp(rows[i + 1 :] - rows[i], axis=1).max(initial=0.0) for i in range(len(rows)))
    omega = max(map(float, ranges), default=0.0)
    quarter = math.log2(omega) + exponent - 2 if omega else -math.inf
    value = math.log10(math.tanh(2.0**quarter)) if quarter > -20 else quarter * LOG10_2
    error, lost = mixing.rest_known
    found = bounded(value, error, "all pairs of rows", lost=lost, zero="all rows are equal")
    if not omega:
        return found
    return replace(
        found, details={"log10_omega": (quarter + 2) * LOG10_2, "within_lemma": 2.0 ** (quarter + 2) <= LEMMA}
    )


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
    rest, (error, lost) = mixing.rest, mixing.rest_known
    method = "eigenvalues of A less equal rows"
    value, bound = largest_eigenvalue(rest.values, error)
    shift = rest.exponent * LOG10_2
    if lost or bound > value * LOST:
        because = "lost to rounding: rows of A differ by no more, or its eigenvalues are too sensitive"
        most = math.log10(value + bound) + shift if value + bound else 0.0
        return Reading(None, because=because, method=method, high=10.0 ** min(most, 0.0))
    if not value:
        return Reading(0.0, "estimated", "all rows are equal")
    log = math.log10(value) + shift
    if log < -300:
        return Reading(None, because="below the range of float64", method=method, high=1e-300, details={"log10": log})
    low, high = (10.0**log * (1 + sign * bound / value) for sign in (-1, 1))
    return Reading(10.0**log, "estimated", method, low=low, high=high, details={"log10": log})


def largest_eigenvalue(matrix: Float64, error: float) -> tuple[float, float]:
    """The largest magnitude of an eigenvalue, and what rounding and a relative error of the matrix can do to it: the
    error times the condition of the eigenvalue, ‖x‖‖y‖/|yᴴx| for its right and left vectors.
    """
    values, right = np.linalg.eig(matrix)
    index = int(np.abs(values).argmax())
    size = float(np.linalg.norm(matrix))
    try:
        left = np.linalg.inv(right)[index]
    except np.linalg.LinAlgError:
        return float(np.abs(values[index])), size
    condition = float(np.linalg.norm(left) * np.linalg.norm(right[:, index]))
    return float(np.abs(values[index])), (4 * error + ROUNDINGS * UNIT * math.sqrt(len(matrix))) * size * condition


@depth_measure("maps", default=True)
def mlp_lipschitz(mlp: Mlp) -> Reading:
    """‖W₁‖₂·Lip(φ)·‖W₂‖₂ of the MLP, which bounds its Lipschitz constant."""
    return Reading(mlp.lipschitz, "estimated", "largest singular values of its maps")


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
