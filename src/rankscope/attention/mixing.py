"""An attention matrix as it acts on tokens that are held as mean and residual.

Softmax attention that sees everything tends to equal rows as tokens tend to each other, and what it leaves of their
differences is the small part. `Split` holds A = 1·wᵀ + D with the weights w of a query at the mean token, and D from
`expm1` of the differences of scores, so that D is true when it is 10^−100 of A:

    w = softmax(base), base_j = s·m_q·k_j,    D_ij = w_j (expm1 E_ij − μ_i)/(1 + μ_i),    E_ij = s·q_i·k_j,

with residuals q_i, k_j, the mean query m_q, s the scale and μ_i = Σ_j w_j expm1 E_ij. `Whole` holds any other
attention matrix as it is: with masks, biases and rotations its rows stay different, so that nothing is lost.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from rankscope.arrays import UNIT, Float64, check_finite
from rankscope.attention.build import How, built, requested
from rankscope.attention.existing import digest_of
from rankscope.attention.kernels import KERNELS, ScoreKernel
from rankscope.attention.masks import Mask
from rankscope.attention.operators import Operator
from rankscope.attention.origin import Origin
from rankscope.attention.positions import POSITIONS
from rankscope.attention.scaled import Scaled, Size
from rankscope.attention.subject import Pair
from rankscope.attention.tokens import LOST, Tokens, passed_on, split

LINEAR: Final = -900
"""Below 2^LINEAR e^x − 1 is x, to far more digits than float64 has."""

ONE: Final = Size.of(1.0)

FINEST: Final = 2.0**40
"""Differences of scores beyond which exponentials have lost all digits."""

STEEP: Final = 2.0
"""Differences of scores beyond which the terms of D would cancel."""

Rescaling = Literal["none", "perp"] | float
"""What becomes of A = 11ᵀ/n + H: "perp" leaves H alone (A^⊥), a number λ makes 11ᵀ/n + (1 + λ)H (AttnScale)."""


class Mixing(ABC):
    """An attention matrix A as it acts on tokens; what it makes of them is `lost` where its own differences are."""

    lost: bool

    @property
    @abstractmethod
    def matrix(self) -> Float64:
        """A in float64."""

    @property
    @abstractmethod
    def rest(self) -> Scaled:
        """A less equal rows: the differences between its rows are those of A."""

    @property
    @abstractmethod
    def rest_known(self) -> tuple[float, bool]:
        """The relative error of `rest`, and whether it is lost to rounding."""

    @abstractmethod
    def __call__(self, values: Tokens, low: float = 1.0, high: float = 1.0) -> Tokens:
        """(low·11ᵀ/n + high·(A − 11ᵀ/n)) times the values."""


@dataclass(frozen=True, eq=False, repr=False)
class Split(Mixing):
    """A = 1·wᵀ + D: `shift` is w − 1/n as a row, `own` is D, whose rows add up to zero, with the error `noise`.

    `scores` are those that queries differ by.
    """

    shift: Scaled
    own: Scaled
    scores: Scaled
    noise: Size
    lost: bool

    @property
    def rest(self) -> Scaled:
        return self.own

    @property
    def rest_known(self) -> tuple[float, bool]:
        return self.noise.over(self.own.size), self.lost

    @property
    def matrix(self) -> Float64:
        return np.asarray(1 / self.shift.values.shape[1] + self.shift.floats + self.rest.floats)

    def __call__(self, values: Tokens, low: float = 1.0, high: float = 1.0) -> Tokens:
        moved = self.shift @ values.residual
        residual = self.own @ values.residual
        whole, root = self.own.size * values.residual.size, 1 / math.sqrt(values.shape[0])
        passed = passed_on(values, values.noise * self.own.size * root, residual)
        own = (self.noise * (values.residual.size + values.noise) * root).beside(residual.size * self.rest_known[0])
        passed = passed.along(own) * abs(high)
        fresh = whole * (UNIT * abs(high))
        drift = values.drift * abs(low) + self.shift.size * (values.noise + values.residual.size * UNIT) * abs(high)
        lost = values.lost or self.lost
        return split(values.mean * low + moved * high, residual * high, passed, fresh, drift, lost=lost)


@dataclass(frozen=True, eq=False, repr=False)
class Whole(Mixing):
    """Any attention matrix; `beyond` is its row sums less one, where they are not one.

    `rounding` is the relative error of its entries, `error` what the errors of queries and keys add.
    """

    weights: Float64
    beyond: Float64 | None
    rounding: float
    error: float
    lost: bool = False

    @property
    def matrix(self) -> Float64:
        return self.weights

    @property
    def rest(self) -> Scaled:
        return Scaled.of(self.weights - self.weights.mean(axis=0))

    @property
    def rest_known(self) -> tuple[float, bool]:
        fresh = (Scaled.of(self.weights).size * self.rounding).over(self.rest.size)
        return self.error + fresh, self.lost or fresh > LOST

    def __call__(self, values: Tokens, low: float = 1.0, high: float = 1.0) -> Tokens:
        held, rest, root = Scaled.of(self.weights), self.rest, 1 / math.sqrt(values.shape[0])
        residual = held @ values.residual
        fresh = held.size * (values.residual.size + values.noise) * self.rounding
        typical = values.noise * rest.size * root
        if self.beyond is not None:
            beyond = Scaled.of(self.beyond[:, None])
            residual = residual + beyond * values.mean
            fresh = fresh + values.mean.size * (self.rounding / root)
            typical = typical + beyond.size * values.drift
        centred = residual - residual.mean(0)
        passed = passed_on(values, typical, centred)
        passed = passed.along((rest.size * values.residual.size * root).beside(centred.size) * self.error) * abs(high)
        drift = values.drift * abs(low) + (residual - centred).size * (root * UNIT * abs(high))
        lost = values.lost or self.lost
        return split(values.mean * low, residual * high, passed, fresh * abs(high), drift, lost=lost)


def increments(scores: Scaled, weights: Float64) -> tuple[Scaled, Scaled]:
    """For rows of score differences E: w_j (expm1 E_ij − μ_i)/(1 + μ_i), and the size of the terms that it is made of.

    What softmax makes of base + E less what it makes of base, where w = softmax(base).
    """
    near = scores.exponent < LINEAR
    grown = scores.values if near else np.expm1(scores.floats)
    mean = (grown @ weights)[:, None]
    below = 1.0 if near else 1 + mean
    exponent = scores.exponent if near else 0
    size = (np.abs(grown) + np.abs(mean)) / below
    return Scaled.of(weights * (grown - mean) / below, exponent), Scaled.of(weights * size, exponent)


def split_mixing(queries: Tokens, keys: Tokens, scale: float) -> Split:
    """Softmax attention that sees everything; `scale` is the whole factor of q·k.

    A key that all share is subtracted, the heaviest for the mean query: that leaves every row of A as it is.
    """
    n = keys.shape[0]
    base = queries.mean @ keys.residual.T * scale
    steps = base.floats[0]
    heaviest = int(steps.argmax())
    others = keys.residual - Scaled.of(keys.residual.values[heaviest], keys.residual.exponent)
    scores = queries.residual @ others.T * scale
    logs = steps - steps.max()
    logs -= math.log(float(np.exp(logs).sum()))
    weights = np.exp(logs)
    shift = increments(base, np.full(n, 1 / n))[0] if np.ptp(steps) < STEEP else Scaled.of((weights - 1 / n)[None, :])
    passed = queries.error + keys.error + queries.mean_error
    if float(np.abs(scores.in_units(0)).max()) < STEEP:
        rest, size = increments(scores, weights)
        wrong = queries.noise * (keys.residual.size + keys.noise) + keys.noise * queries.residual.size
        wrong = wrong * (abs(scale) / math.sqrt(keys.shape[1]) * float(np.linalg.norm(weights)) / math.sqrt(n))
        noise = (rest.size * passed).beside(wrong)
    else:
        rest, size, by_scores = steep(logs, scores.floats, heaviest)
        noise = by_scores.size.beside(rest.size) * passed
    rounding = queries.residual.size * others.size * (UNIT * abs(scale) * math.sqrt(keys.shape[1]))
    fresh = size.size * (4 * UNIT) + rest.size * rounding.over(scores.size)
    gone = (queries.lost or keys.lost) and noise.over(rest.size) > LOST
    return Split(shift, rest, scores, noise.along(fresh), gone or fresh.over(rest.size) > LOST)


def steep(logs: Float64, scores: Float64, heaviest: int) -> tuple[Scaled, Scaled, Scaled]:
    """D where differences of scores are large, from the logarithms of w and scores that are zero for the heaviest key;
    the size of what it is made of; and how much it moves where scores change in proportion.

    All but the heaviest key are held in units of their largest weight, so that rows which one key takes whole still
    differ by what they leave to the others; its own column is what the others leave of zero.
    """
    with np.errstate(all="ignore"):  # what overflows is refused as it is held
        return steep_parts(logs, scores, heaviest)


def steep_parts(logs: Float64, scores: Float64, heaviest: int) -> tuple[Scaled, Scaled, Scaled]:
    """The arithmetic of `steep`."""
    kept = np.delete(np.arange(len(logs)), heaviest)
    own, differences = logs[kept], scores[:, kept]
    sums = own + differences
    highest = np.floor(np.maximum(own.max(initial=-math.inf), sums.max(axis=1, initial=-math.inf)) / math.log(2))
    unit = min(float(highest.max()), 0.0)  # of what is returned; rows whose weights are larger have their own
    if unit < -FINEST:  # float64 has no digits left for such scores: nothing is known of D
        nothing = Scaled.of(np.zeros(scores.shape))
        return nothing, Scaled.of(np.ones(scores.shape)), nothing
    units = np.maximum(highest, 0.0)[:, None] + unit
    weights, at_mean = np.exp(sums - units * math.log(2)), np.exp(own - units * math.log(2))
    near = np.abs(differences) < 1
    grown = np.where(near, at_mean * np.expm1(np.where(near, differences, 0.0)), weights - at_mean)
    total = grown.sum(axis=1, keepdims=True)  # μ in these units
    below = 1 + np.exp2(unit) * total if unit else np.exp2(-units) + total
    rest = (grown - np.exp(own) * total) / below
    rest = np.insert(rest, heaviest, -rest.sum(axis=1), axis=1)
    shares, free = weights / below, 1 - weights / below * np.exp2(unit)  # A_ij and 1 − A_ij, what scores can change
    size = shares * (1 + free * np.abs(sums)) + at_mean / below * (1 - own * (1 - np.exp(own)))
    size = np.insert(size, heaviest, size.sum(axis=1), axis=1)
    moved = shares * free * np.abs(differences)
    return Scaled.of(rest, int(unit)), Scaled.of(size, int(unit)), Scaled.of(moved, int(unit))


def whole_mixing(operator: Operator, rounding: float, error: float, lost: bool) -> Whole:
    """The attention matrix that an operator holds."""
    weights = np.asarray(operator.matrix, dtype=np.float64)
    stochastic = operator.structure.row_sum.value == 1.0
    beyond = None if stochastic else weights.sum(axis=1) - 1.0
    return Whole(weights, beyond, rounding, error, lost)


def splits(how: How) -> bool:
    """Whether rows tend to each other with their tokens: softmax of a multiple of the scores that sees everything."""
    plain = isinstance(how.kernel, ScoreKernel) and how.kernel.multiple is not None
    idle = not isinstance(how.position, str) and how.position.idle
    return plain and idle and isinstance(how.mask, Mask) and "everything" in how.mask.facts


def resolved(how: How) -> How:
    """The same with kernel and position as values."""
    kernel = KERNELS.build(how.kernel) if isinstance(how.kernel, str) else how.kernel
    position = POSITIONS.build(how.position) if isinstance(how.position, str) else how.position
    return replace(how, kernel=kernel, position=replace(position, tokens=None))


def operator_of(queries: Tokens, keys: Tokens, how: How, origin: Origin) -> Operator:
    """The attention matrix of tokens as float64 holds them."""
    pair = Pair(queries.floats, keys.floats)
    request = requested(origin, how, pair, (len(pair.left), len(pair.right)), digest_of(pair.left, pair.right))
    return built(request)


def mixing(queries: Tokens, keys: Tokens, how: How, make: Callable[[], Operator]) -> Mixing:
    """How attention acts on values; `how` is resolved, and `make` gives the same matrix as float64 holds it."""
    if splits(how):
        assert isinstance(how.kernel, ScoreKernel)
        assert how.kernel.multiple is not None
        factor = how.scale * how.kernel.multiple(keys.shape[0])
        return split_mixing(queries, keys, factor / math.sqrt(keys.shape[1]))
    operator = make()
    matrix = np.asarray(operator.matrix)
    check_finite(matrix, "an attention matrix")
    with np.errstate(all="ignore"):  # weights of a recurrence can be huge
        soft = float(np.linalg.norm(matrix * (1 - matrix)) / (np.linalg.norm(matrix) or 1.0))
    soft = soft if math.isfinite(soft) else 1.0  # how much of the weights can still change with the scores
    rounding = UNIT * (math.sqrt(keys.shape[0]) + 4 * largest_score(operator) * soft + 8)
    typical = keys.mean.size * math.sqrt(keys.shape[0]) + keys.residual.size
    typical = queries.residual.size * typical * (how.scale * soft / keys.shape[0])
    wrong = queries.error + keys.error + queries.mean_error + keys.mean_error
    error = wrong * min(typical.over(ONE), 1.0)
    return whole_mixing(operator, rounding, error, error > LOST and (queries.lost or keys.lost))


def largest_score(operator: Operator) -> float:
    """The largest magnitude of a score, as far as it is known."""
    logs = getattr(getattr(operator, "definition", None), "logs", None)
    if logs is not None:
        return float(np.abs(logs, where=np.isfinite(logs), out=np.zeros(logs.shape)).max(initial=0.0))
    return abs(float(getattr(operator, "max_logit", None) or 0.0))
