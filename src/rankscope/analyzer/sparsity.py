"""How each query spreads its attention: entropy, sparsity, sinks.

Every measure is a mean over rows, and each row is normalised by its own support, the number of keys that it may see: a
causal row i has i + 1 places, and uniform causal attention is as spread out as it can be. Rows in which the formula is
0/0 (support of one place) or that carry no weight are left out and counted in `details`.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rankscope.analyzer.measure import measure, unknown
from rankscope.analyzer.needs import Scores
from rankscope.analyzer.rows import Rows
from rankscope.arrays import Array, Float64
from rankscope.records import Reading

SINK: Final = 0.3
"""The mean weight above which the first key counts as a sink (Gu et al. 2024, arXiv 2410.10781)."""

Counts = NDArray[np.intp]
Chosen = slice | NDArray[np.bool_]


def mean_over(rows: Rows, formula: Callable[[Chosen], Float64], method: str, least: int = 1) -> Reading:
    """The mean of a formula over the rows that carry weight and have at least `least` places."""
    if rows.not_stochastic:
        return unknown(rows.not_stochastic)
    chosen = rows.alive & (rows.support >= least)
    if not chosen.any():
        return unknown(f"no row sees {least} keys")
    values = formula(slice(None) if chosen.all() else chosen)
    method = method if rows.whole else f"{method}, divided by their sums"
    left_out = int(len(chosen) - np.count_nonzero(chosen))
    return Reading(float(values.mean()), "estimated", method, details={"rows_left_out": left_out})


@measure(unit="nats", group="rows")
def row_entropy(rows: Rows) -> Reading:
    """−Σ_j A_ij ln A_ij, the mean over rows."""
    return mean_over(rows, lambda chosen: rows.entropies[chosen], "mean over rows")


@measure(group="rows")
def row_entropy_normalized(rows: Rows) -> Reading:
    """−Σ_j A_ij ln A_ij / ln(support of row i), the mean over rows: 1 for uniform attention, 0 for one key."""
    method = "entropy / ln(support), mean over rows"
    return mean_over(rows, lambda chosen: rows.entropies[chosen] / np.log(rows.support[chosen]), method, least=2)


@measure(group="rows")
def hoyer(rows: Rows) -> Reading:
    """(√N − l₁/l₂) / (√N − 1) with N the support of the row, the mean over rows (Hoyer 2004): 1 for one key."""

    def formula(chosen: Chosen) -> Float64:
        root = np.sqrt(rows.support[chosen])
        return np.asarray(np.clip((root - ratio(rows.weights[chosen])) / (root - 1), 0.0, 1.0), dtype=np.float64)

    return mean_over(rows, formula, "mean over rows", least=2)


@measure(group="rows")
def l1_l2(rows: Rows) -> Reading:
    """(l₁/l₂) / √N with N the support of the row, the mean over rows: 1 for uniform attention, 1/√N for one key."""
    return mean_over(rows, lambda chosen: ratio(rows.weights[chosen]) / np.sqrt(rows.support[chosen]), "mean over rows")


@measure(group="rows")
def gini(rows: Rows) -> Reading:
    """1 − 2 Σ_k (c_(k)/‖c‖₁)(N − k + ½)/N over the sorted row c with support N, the mean over rows."""
    return mean_over(rows, lambda chosen: gini_of(rows.weights[chosen], rows.support[chosen]), "mean over rows")


def ratio(weights: Array) -> Float64:
    """l₁/l₂ of each row."""
    return np.asarray(weights.sum(axis=1) / np.sqrt(np.einsum("ij,ij->i", weights, weights)))


def gini_of(weights: Array, support: Counts) -> Float64:
    """The Gini index of each row. Places outside the support hold zeros and, sorted first, add nothing."""
    columns = weights.shape[1]
    ranks = columns - np.arange(1, columns + 1) + 0.5
    index = 1 - 2 * (np.sort(weights, axis=1) @ ranks) / (support * weights.sum(axis=1))
    return np.asarray(np.clip(index, 0.0, 1.0), dtype=np.float64)


@measure(group="scores")
def max_logit(scores: Scores) -> Reading:
    """The largest score that a query sees: large ones come before entropy collapse and overflow."""
    if scores.largest is None:
        return unknown(scores.because or "no query sees a key")
    return Reading(scores.largest, "estimated", "of the scores that are seen")


@measure(group="rows")
def sink_rate(rows: Rows) -> Reading:
    """1 if the first key is a sink, receiving more than 0.3 of the attention on average over queries, else 0.

    Its mean over heads is the sink rate of Gu et al. (2024); `details` hold the share itself.
    """
    if rows.not_stochastic:
        return unknown(rows.not_stochastic)
    share = float(rows.weights[rows.alive, 0].mean())
    return Reading(int(share > SINK), "estimated", f"the first key receives {share:.2g}", details={"share": share})


@measure(group="rows")
def row_sum_defect(rows: Rows) -> Reading:
    """max_i |Σ_j A_ij − 1| over the rows that carry weight."""
    if not rows.alive.any():
        return unknown("empty: no row has any weight")
    largest = float(rows.defects[rows.alive].max())
    return (
        Reading(largest, "estimated", "pairwise sums")
        if np.isfinite(largest)
        else unknown("a row sum overflows float64")
    )


@measure(group="rows", default=False)
def row_sum(rows: Rows) -> Reading:
    """Σ_j A_ij, the mean over rows: what falls short of one is the share of a sink."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = rows.weights.sum(axis=1)
        mean = sums.mean() if len(sums) else np.nan
    if np.iscomplexobj(sums) or not np.isfinite([mean, *sums]).all():
        return unknown("no finite real row sums")
    details = {"least": float(sums.min()), "largest": float(sums.max())}
    return Reading(float(mean), "estimated", "mean over rows", details=details)


@measure(group="rows", default=False)
def dobrushin(rows: Rows) -> Reading:
    """½ max_{i,k} ‖A_i − A_k‖₁ over pairs of rows: how much of the difference between tokens one layer can keep."""
    if rows.not_stochastic:
        return unknown(rows.not_stochastic)
    weights = rows.weights[rows.alive]
    weights = weights if rows.whole else weights / weights.sum(axis=1, keepdims=True)
    largest = max(
        float(np.abs(weights[i + 1 :] - weights[i]).sum(axis=1).max(initial=0.0)) for i in range(len(weights))
    )
    return Reading(min(largest / 2, 1.0), "estimated", "all pairs of rows")
