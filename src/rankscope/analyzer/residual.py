"""How far tokens are from consensus, in five norms, from their mean, their first, or the nearest row."""

import math
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np

from rankscope.analyzer.measure import unknown
from rankscope.arrays import EPS, Float64
from rankscope.attention.scaled import LOG10_2, Scaled
from rankscope.attention.tokens import LOST, Tokens
from rankscope.errors import error
from rankscope.lazy import cached_property
from rankscope.records import Reading
from rankscope.registry import nearest

SAFETY: Final = 4.0
"""How many estimated errors `low` and `high` stand away. Of 210,000 layers of random networks of 3 to 9 tokens, set
beside balls of thousands of bits, 99.99 % were within 0.4 estimates; one network, of width 4, took 3.5.
"""

UNKNOWN: Final = 0.1
"""An error of a decimal logarithm, beside a thousandth of it, beyond which it is no longer given as a number."""

LARGEST_PROGRAM: Final = 20_000
"""Numbers of a residual up to which the nearest row in ‖·‖_∞ is found by linear programming."""

KNOWN: Final = 1e-9
"""Decades within which bounds of the distance from the nearest row count as one number."""

Centre = Literal["mean", "first", "minimiser"]
NormName = Literal["frobenius", "l1", "linf", "composite", "spectral"]


def bounded(
    value: float,
    error: float,
    method: str,
    *,
    lost: bool = False,
    zero: str = "all tokens are equal",
    of: float = 0.0,
) -> Reading:
    """A decimal logarithm of something that is known to a relative error; null with a bound where it is `lost`, and
    with the reason why it is zero where it is. `of` is the size of logarithms of which it is the difference.
    """
    if lost or (error > LOST and not math.isfinite(value)):
        because = "lost to rounding: what is left is no larger than the errors of the arithmetic"
        high = value + math.log10(1 + SAFETY * min(error, 1e15))
        return Reading(None, because=because, method=method, high=high if math.isfinite(high) else None)
    if not math.isfinite(value):
        return unknown(f"zero: {zero}" if value < 0 else "not finite")
    slack = SAFETY * error / math.log(10) + 4 * EPS * (abs(value) + (of if math.isfinite(of) else 0.0))
    if slack > UNKNOWN + abs(value) / 1000:
        because = f"rounding errors of earlier layers have grown to {slack:.2g} decades"
        if slack < abs(value):
            return Reading(None, because=because, method=method, low=value - slack, high=value + slack)
        return Reading(None, because=because, method=method)
    return Reading(
        value, "estimated", f"{method}; rounding errors as they accumulate", low=value - slack, high=value + slack
    )


def check_centre(centre: str) -> None:
    """Refuse a centre that is none."""
    if centre not in get_args(Centre):
        raise error("RS001", f"there is no centre {centre!r}", nearest(centre, list(get_args(Centre))))


@dataclass(frozen=True, eq=False, repr=False)
class Distance:
    """Tokens, what they are compared with, and whether distances are absolute or divided by the same norm of X."""

    tokens: Tokens
    centre: Centre = "mean"
    absolute: bool = False

    @cached_property
    def whole(self) -> Scaled:
        """The tokens themselves, in units in which the larger part of them is of size one."""
        mean, rest = self.tokens.mean, self.tokens.residual
        return mean + rest if mean.values.any() else rest

    def reading(self, norm: NormName) -> Reading:
        """log₁₀ of the distance in a norm."""
        tokens = self.tokens
        low, high, method = self.logs(norm)
        size = NORMS[norm](self.whole.values)
        whole = math.log10(size) + self.whole.exponent * LOG10_2 if size else -math.inf
        if not math.isfinite(whole):
            hidden = tokens.noise.mantissa or tokens.drift.mantissa
            return unknown("below the range of float64" if hidden else "all tokens are zero")
        by = 0.0 if self.absolute else whole
        error = tokens.error + (0.0 if self.absolute else tokens.mean_error)
        found = bounded(high - by, error, method, lost=tokens.lost, of=abs(high) + abs(whole))
        if tokens.lost:
            most = tokens.residual.size.along(tokens.noise * SAFETY).log10 - by
            if norm != "frobenius":
                most += math.log10(tokens.residual.values.size) / 2  # by which others can exceed it
            found = replace(found, high=most if math.isfinite(most) else None)
        if norm == "frobenius" and self.centre != "first" and not self.absolute and found.high is not None:
            found = replace(found, high=min(float(found.high), 0.0))  # ‖X − 1x̄ᵀ‖_F ≤ ‖X‖_F
        kept = {"log10_absolute": high, "log10_norm": whole} if math.isfinite(high) else {}
        if high - low > KNOWN and found.value is not None:
            slack = (found.high or found.value) - found.value
            because = "the nearest row is known to lie between"
            return Reading(None, "estimated", method, because, low - by - slack, found.high)
        return replace(found, details=kept)

    def logs(self, norm: NormName) -> tuple[float, float, str]:
        """Lower and upper bounds of log₁₀ of the absolute distance, equal where it is known, and how it was found."""
        rest = self.tokens.residual
        if not rest.values.any():
            return -math.inf, -math.inf, "mean and residual"
        low, high, method = self.distance(norm, rest.values)
        shift = rest.exponent * LOG10_2
        return (
            (math.log10(low) if low else -math.inf) + shift,
            (math.log10(high) if high else -math.inf) + shift,
            method,
        )

    def distance(self, norm: NormName, rest: Float64) -> tuple[float, float, str]:
        """Lower and upper bounds of the distance of rows that add up to zero."""
        measured = NORMS[norm]
        if self.centre == "first":
            value = measured(rest - rest[0])
            return value, value, "from the first token"
        if self.centre == "mean" or norm in ("frobenius", "spectral"):
            value = measured(rest)
            return value, value, "from the mean of the tokens"
        median = rest - np.median(rest, axis=0)
        if norm == "l1":
            value = measured(median)
            return value, value, "from the medians of columns, which are nearest"
        low, row = nearest_row(rest)
        if norm == "linf":
            return low, min(measured(rest - row), measured(rest)), "from the nearest row by linear programming"
        least = math.sqrt(NORMS["l1"](median) * low)
        return least, min(map(measured, (median, rest - row, rest))), "from the nearest rows in both norms"


def nearest_row(rest: Float64) -> tuple[float, Float64]:
    """A lower bound of min_x max_i ‖r_i − x‖₁, and a row x that comes near it.

    Minimise t subject to Σ_j u_ij ≤ t, −u_ij ≤ r_ij − x_j ≤ u_ij.
    """
    n, width = rest.shape
    if rest.size > LARGEST_PROGRAM:
        middle = (rest.max(axis=0) + rest.min(axis=0)) / 2
        return float(max(np.abs(rest - rest[0]).sum(axis=1).max(), 0.0)) / 2, middle
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, hstack, kron, vstack

    ones = np.ones((n, 1))
    eye = eye_array(n * width)
    tied = kron(csr_array(ones), eye_array(width))
    empty = csr_array((n * width, 1))
    sums = hstack([csr_array((n, width)), kron(eye_array(n), np.ones((1, width))), csr_array(-ones)])
    above, below = hstack([-tied, -eye, empty]), hstack([tied, -eye, empty])
    cost = np.zeros(width + n * width + 1)
    cost[-1] = 1.0
    limits = np.concatenate([-rest.ravel(), rest.ravel(), np.zeros(n)])
    free = [(None, None)] * width + [(0, None)] * (n * width + 1)
    found: Any = linprog(cost, A_ub=vstack([above, below, sums]).tocsr(), b_ub=limits, bounds=free, method="highs")
    if found.status != 0:
        raise error("RS401", f"the nearest row of {n} tokens was not found ({found.message})", "take --centre mean")
    return dual_bound(found.ineqlin.marginals, rest), np.asarray(found.x[:width])


def dual_bound(marginals: Float64, rest: Float64) -> float:
    """A lower bound of min_x max_i ‖r_i − x‖₁ from the multipliers of the program, made feasible.

    For weights p with Σp = 1 and signs s with |s_ij| ≤ p_i and Σ_i s_ij = 0, the least is at least Σ s_ij r_ij.
    """
    n, width = rest.shape
    above, below, sums = np.split(-np.asarray(marginals), [n * width, 2 * n * width])
    shares = np.maximum(sums, 0.0)
    shares = shares / shares.sum() if shares.any() else np.full(n, 1 / n)
    signs = np.clip((above - below).reshape(n, width), -shares[:, None], shares[:, None])
    left = signs.sum(axis=0)
    signs -= shares[:, None] * left
    return max(float((signs * rest).sum()) / (1 + float(np.abs(left).max())) * (1 - 64 * EPS), 0.0)


def composite(matrix: Float64) -> float:
    """√(‖·‖₁‖·‖_∞)."""
    return math.sqrt(NORMS["l1"](matrix) * NORMS["linf"](matrix))


NORMS: Final[dict[str, Any]] = {
    "frobenius": lambda x: float(np.linalg.norm(x)),
    "l1": lambda x: float(np.abs(x).sum(axis=0).max()),
    "linf": lambda x: float(np.abs(x).sum(axis=1).max()),
    "composite": composite,
    "spectral": lambda x: float(np.linalg.norm(x, 2)),
}
