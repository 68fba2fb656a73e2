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
        records.append(Record(number, "log10_sigma_min", log_least, guarantee="enclosed", layer=layer))
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


def guessed(table: Table, *matrices: int) -> Table:
    """The same result, of which the true smallest values of some matrices are estimates."""
    wanted = [each.measure == "log10_sigma_min" and each.matrix in matrices for each in table.records]
    pairs = zip(table.records, wanted, strict=True)
    return replace(table, records=[replace(each, guarantee="estimated") if one else each for each, one in pairs])


def estimated() -> Table:
    return guessed(causal(), 0)


def estimated_heads() -> Table:
    """Of one head of 72 the smallest value is an estimate."""
    return guessed(heads(), 3)


def estimated_of_three() -> Table:
    """Two smallest values that are enclosed, and one that is estimated."""
    causals = [result(attention(64, i, causal=True, scale=2.0), f"head {i}", -40.0 - i, number=i) for i in range(3)]
    return guessed(joined(causals), 1)


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


def placed(table: Table, *, over: str | None = None, layer: int | None = None, seed: int | None = None) -> Table:
    """The same result as that of a mean, a product or a seed."""
    records = [replace(record, over=over, layer=layer, seed=seed) for record in table.records]
    return replace(
        table, records=records, series=[replace(each, over=over, layer=layer, seed=seed) for each in table.series]
    )


def stacked(scale: float = 1.0) -> Table:
    """2 layers × 8 heads, the mean of each layer and the product, whose spectra are far from those of the heads."""
    parts = [
        result(attention(32, i, causal=True, scale=scale), f"layer {i // 8} head {i}", -30.0, number=i, layer=i // 8)
        for i in range(16)
    ]
    weights = [attention(32, i, causal=False) for i in range(2)]
    parts += [
        placed(result(w, f"mean over 8 heads of layer {i}", number=16 + i), over="heads-mean", layer=i)
        for i, w in enumerate(weights)
    ]
    product = result(weights[0] @ weights[1], "product over 2 layers", number=18)
    return joined([*parts, placed(product, over="layers-product")])


def seeded() -> Table:
    """Two labels, each with four seeds."""
    return joined(
        [
            placed(result(attention(48, i % 4, causal=i < 4, scale=2.0), "ab"[i // 4], number=i), seed=i % 4)
            for i in range(8)
        ]
    )


def loose() -> Table:
    """Six matrices whose bounds and tolerances lie decades apart: one curve runs below the bound of another."""
    parts = []
    for i in range(6):
        table = result(attention(48, i, causal=True, scale=2.0), f"matrix {i}", -40.0 - i, number=i)
        records = [
            replace(record, details={"tolerance": 10.0 ** (i - 13), "rule": "numpy"}) if record.details else record
            for record in table.records
        ]
        series = [replace(each, errors=[10.0 ** (i - 14)] * 48) for each in table.series]
        parts.append(replace(table, records=records, series=series))
    return joined(parts)


def deep_noise() -> Table:
    """What lies below the error bound lies below the axis as well."""
    table = causal()
    series = table.series[0]
    return replace(table, series=[replace(series, values=[*series.values[:-2], 1e-30, 0.0])])


def tolerance_in_noise() -> Table:
    """A tolerance far below the error bound: its line passes where words about the noise would stand."""
    table = causal()
    records = [
        replace(record, details={"tolerance": 1e-14, "rule": "numpy"}) if record.details else record
        for record in table.records
    ]
    return replace(table, records=records, series=[replace(table.series[0], errors=[1e-13] * 64)])


def two_subjects() -> Table:
    """The exact rank of the scores, of which only a bound is known, and of the numbers that are stored."""
    table = bidirectional()
    bounds = Record(0, "rank_exact", None, low=1, high=64, guarantee="proved", subject="scores", seed=7)
    return replace(table, records=[bounds, replace(bounds, subject="stored"), *table.records[1:]])


def refused(number: int = 0) -> Table:
    """A matrix that was not measured, for a reason that its label is part of."""
    because = f"NaN in {HOSTILE[4]} {number}"
    record = Record(number, "rank_exact", None, because=because, status="refused", code="RS110")
    return Table({}, [Matrix(number, HOSTILE[4], 8, 8)], [record], [])


def all_refused() -> Table:
    return joined([refused(i) for i in range(9)])


def empty() -> Table:
    """A matrix of no entries, of which no singular values were measured."""
    return Table({}, [Matrix(0, "empty", 0, 0)], [Record(0, "rank_exact", 0, guarantee="proved")], [])


def mixed() -> Table:
    """Two matrices with a curve, and two without."""
    some = [result(attention(24, i, causal=False), f"matrix {i}", number=i) for i in range(2)]
    return joined([*some, refused(2), replace(empty(), matrices=[Matrix(3, "empty", 0, 0)], records=[])])


def logarithms(series: Series, deepest: float, known: int | None, half: float) -> Series:
    """What enclosures find: log10 of the values, which below the noise fall ever faster, to `deepest`."""
    values, errors = np.asarray(series.values), np.asarray(series.errors)
    count = int((values > errors).sum())
    start, noise = float(np.log10(values[count - 1])), len(values) - count
    tail = start + (deepest - start) * (np.arange(1, noise + 1) / max(noise, 1)) ** 2
    logs = [*np.log10(values[:count]).tolist(), *tail.tolist()][:known]
    halves = ([1e-13] * count + [half] * noise)[:known]
    return replace(series, name="log10_singular_values", index=series.index[:known], values=logs, errors=halves)


def deepened(table: Table, *deepest: float, known: int | None = None, half: float = 1e-12) -> Table:
    """The same result with every singular value enclosed, down to `deepest`: one for all spectra, or one for each."""
    depths = deepest * len(table.series) if len(deepest) == 1 else deepest
    more = [logarithms(each, depth, known, half) for each, depth in zip(table.series, depths, strict=True)]
    return replace(table, series=[*table.series, *more])


def enclosed() -> Table:
    """Eight values that are noise, and where the true ones lie."""
    return deepened(result(attention(64, 0, causal=True, scale=12), "causal", -140.7), -140.7)


def deepest() -> Table:
    """True values that float64 cannot hold."""
    return deepened(result(attention(64, 0, causal=True, scale=12), "causal", -684.1), -684.1)


def shallow() -> Table:
    """One value in the noise, and the true one right beside it."""
    return deepened(result(attention(64, 0, causal=True), "causal", -18.1), -18.1)


def partly() -> Table:
    """The last two values are zero or not resolved; those before are known within a few orders of magnitude."""
    return deepened(result(attention(64, 0, causal=True, scale=12), "causal"), -140.7, known=62, half=7.0)


def agreeing() -> Table:
    """Every singular value enclosed, and none that LAPACK does not know."""
    return deepened(bidirectional(), 0.0)


def three_enclosed() -> Table:
    return deepened(three(), -40.25, 0.0, 0.0)


def orders() -> Table:
    """Matrices of different sizes, each with a tail."""
    sizes = {64: -140.7, 48: -80.0, 32: -30.0}
    parts = [
        deepened(result(attention(n, 0, causal=True, scale=8), f"n = {n}", depth, number=n), depth)
        for n, depth in sizes.items()
    ]
    return joined(parts)


def heads_enclosed() -> Table:
    """6 layers × 12 heads, of which some have no noise."""
    return deepened(heads(), *(-30.0 - i for i in range(72)))


def seeded_enclosed() -> Table:
    return deepened(seeded(), -60.0)


def stacked_enclosed() -> Table:
    """Heads with noise, and means and a product without."""
    return deepened(stacked(scale=6.0), *(-30.0 - i for i in range(16)), 0.0, 0.0, 0.0)


def low_rank_enclosed() -> Table:
    """A product of factors of rank 8 in float64: most values are noise, and the true ones are enclosed."""
    rng = np.random.default_rng(0)
    product = rng.standard_normal((60, 8)) @ rng.standard_normal((8, 60))
    return deepened(result(product, "of rank 8", -17.0), -17.0)


def one_of_two_enclosed() -> Table:
    """Two matrices with noise: of one alone it is known what lies below."""
    matrix = attention(64, 1, causal=True, scale=12)
    return joined([enclosed(), result(matrix, "not enclosed", -90.0, number=1)])


TABLES: dict[str, Callable[[], Table]] = {
    each.__name__: each
    for each in (
        causal,
        estimated,
        estimated_heads,
        estimated_of_three,
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
        stacked,
        seeded,
        loose,
        deep_noise,
        tolerance_in_noise,
        two_subjects,
        refused,
        all_refused,
        empty,
        mixed,
        enclosed,
        deepest,
        shallow,
        partly,
        agreeing,
        three_enclosed,
        orders,
        heads_enclosed,
        seeded_enclosed,
        stacked_enclosed,
        low_rank_enclosed,
        one_of_two_enclosed,
    )
}
