"""Results made by hand, with the spectra that figures must cope with. numpy alone: no analyzer is involved."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rankscope.records import Matrix, Record, Series, Table

EPS = 2.0**-52
HOSTILE = [
    r"$\foo$ Ba$$in",
    "tab\tnul\0 esc\x1b[2J surrogate\ud800 direction\u202e",
    "注意力 3 かな 한글",
    "_hidden from legends",
    "<script>alert(1)</script>--!><img src=x onerror=y>]]>",
    "long " * 2000,
    "a\u0300\u0301\u0302\u0303" * 30 + "العربية",
    "",
]


def attention(n: int, seed: int, *, causal: bool, scale: float = 1.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    q, k = rng.standard_normal((n, 16)), rng.standard_normal((n, 16))
    scores = scale * q @ k.T / 4
    if causal:
        scores[np.triu_indices(n, 1)] = -np.inf
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def result(
    matrix: NDArray[np.float64],
    label: str,
    log_least: float | None = None,
    *,
    number: int = 0,
    layer: int | None = None,
) -> Table:
    """The table of one matrix: its spectrum, its three ranks, and its true smallest value if given."""
    n, m = matrix.shape
    values = np.linalg.svd(matrix, compute_uv=False)
    tolerance = float(n * EPS * values[0])
    rank = int((values > tolerance).sum())
    records = [
        Record(number, "rank_exact", n, guarantee="proved", layer=layer),
        Record(number, "rank_numerical", rank, layer=layer, details={"tolerance": tolerance, "rule": "numpy"}),
        Record(number, "effective_rank", 12.34, layer=layer),
    ]
    if log_least is not None:
        records.append(Record(number, "log10_sigma_min", log_least, layer=layer))
    errors = [float(2 * np.sqrt(n) * EPS * values[0])] * len(values)
    series = Series(number, "singular_values", list(range(len(values))), values.tolist(), errors, layer=layer)
    return Table({}, [Matrix(number, label, n, m, d=16, scale=1.0)], records, [series])


def joined(tables: list[Table]) -> Table:
    return Table(
        {},
        [matrix for table in tables for matrix in table.matrices],
        [record for table in tables for record in table.records],
        [series for table in tables for series in table.series],
    )


def causal() -> Table:
    """64 × 64, of which the last two values are noise."""
    return result(attention(64, 0, causal=True, scale=2.0), "causal", -40.25)


def bidirectional() -> Table:
    return result(attention(64, 0, causal=False), "bidirectional")


def three() -> Table:
    matrices = [attention(64, 0, causal=True, scale=2.0), attention(64, 0, causal=False), np.eye(48)]
    return joined([result(each, f"matrix {i}", [-40.25, None, None][i], number=i) for i, each in enumerate(matrices)])


def heads() -> Table:
    """6 layers × 12 heads."""
    places = [(layer, 12 * layer + head) for layer in range(6) for head in range(12)]
    return joined(
        [
            result(attention(32, i, causal=True, scale=1 + layer), f"layer.{layer}", -30.0 - i, number=i, layer=layer)
            for layer, i in places
        ]
    )


def hostile() -> Table:
    matrix = attention(24, 0, causal=True)
    table = joined([result(matrix, label, -40.0, number=i) for i, label in enumerate(HOSTILE)])
    rules = [replace(record, details={**record.details, "rule": HOSTILE[0]}) for record in table.records]
    return replace(table, records=rules, matrices=[replace(each, dtype=HOSTILE[1]) for each in table.matrices])


def long_label() -> Table:
    return result(attention(24, 0, causal=True), "W" * 5000, -40.0)


def without_values() -> Table:
    table = bidirectional()
    return replace(table, series=[replace(table.series[0], index=[], values=[], errors=[])])


def nothing() -> Table:
    return Table({}, [], [], [])


def zero() -> Table:
    table = bidirectional()
    return replace(table, series=[replace(table.series[0], values=[0.0] * 64, errors=[0.0] * 64)])


def one() -> Table:
    return result(np.ones((1, 1)), "one entry")


def low_rank() -> Table:
    """Rank 8 by construction: the other 56 values are exactly zero."""
    table = bidirectional()
    values = [0.5**i for i in range(8)] + [0.0] * 56
    return replace(table, series=[replace(table.series[0], values=values, errors=[1e-15] * 8 + [0.0] * 56)])


def leading() -> Table:
    """Only the first 20 of 64 values."""
    table = bidirectional()
    series = table.series[0]
    short = replace(series, index=series.index[:20], values=series.values[:20], errors=series.errors[:20])
    return replace(table, series=[short])


def coarse_tolerance() -> Table:
    """The tolerance of a matrix that was stored in few digits crosses the curve where its words would stand."""
    table = causal()
    ranks = [replace(record, details={"tolerance": 0.05, "rule": "storage"}) for record in table.records[1:2]]
    return replace(table, records=[table.records[0], *ranks, *table.records[2:]])


TABLES: dict[str, Callable[[], Table]] = {
    each.__name__: each
    for each in (
        causal,
        bidirectional,
        three,
        heads,
        hostile,
        long_label,
        without_values,
        nothing,
        zero,
        one,
        low_rank,
        leading,
        coarse_tolerance,
    )
}
