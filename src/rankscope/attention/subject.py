"""The given numbers that make the exact matrix that is meant: of scores, of features, of a recurrence.

What is held in float64 differs from it by rounding; proofs and certificates start from these numbers.
"""

from dataclasses import dataclass

from rankscope.arrays import Boolean, Float64


@dataclass(frozen=True, eq=False, repr=False)
class Pair:
    """Two factors, n × m and k × m, of which the matrix is the product left · rightᵀ; their rows hold the tokens."""

    left: Float64
    right: Float64


@dataclass(frozen=True, eq=False, repr=False)
class Weights:
    """The exact matrix behind positive weights: row i is exp(logs_i) / (exp(sink_i) + Σ_j exp(logs_ij)).

    The logarithms are the scores themselves, or what a kernel computed from `scores` in float64, if that is False.

    −∞ stands for a key of no weight, and for no sink (None for none at all). Where weights are not `divided`, the row
    is exp(logs_i) itself. A row without weight is zero.
    """

    logs: Float64
    sink: Float64 | None = None
    divided: bool = True
    scores: bool = True


@dataclass(frozen=True, eq=False, repr=False)
class Products:
    """The exact matrix behind features: left · rightᵀ where `seen`, each row divided by its sum.

    A row whose sum is zero is zero, or uniform if `uniform` says so.
    """

    factors: Pair
    seen: Boolean
    uniform: Boolean


@dataclass(frozen=True, eq=False, repr=False)
class Recurrence:
    """The exact matrix behind a linear recurrence, with the state S_t = T_t S_{t−1} + r_t v_tᵀ and the output l_tᵀ S_t.

    A_ij = l_iᵀ T_i ⋯ T_{j+1} r_j for j ≤ i, with T_t = (I − r_t w_tᵀ)·diag(g_t): `left` holds l, `right` r, `gates` g
    and `erase` w, each n × d. A `backward` recurrence runs from the last token to the first.
    """

    left: Float64
    right: Float64
    gates: Float64
    erase: Float64
    backward: bool = False

    @property
    def forward(self) -> "Recurrence":
        """The same with its tokens in the order in which it runs."""
        if not self.backward:
            return self
        return Recurrence(self.left[::-1], self.right[::-1], self.gates[::-1], self.erase[::-1])
