"""What one part of a network changes, over seeds: the paired difference of residuals with its interval."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from rankscope.records import Matrix, Record, Table, mean_and_deviation

CONFIDENCE: Final = 0.95

FACTORS: Final[dict[str, tuple[str, ...]]] = {
    "skip": ("skip", "alpha"),
    "mlp": ("mlp", "mlp_ratio", "mlp_init", "mlp_gain"),
    "norm": ("norm",),
}
"""The parts of a network that are compared, each with and without, and the entries of `network` that describe it."""

WITHOUT: Final = {"skip": False, "mlp": None, "norm": "none"}


def contrasts(table: Table) -> list[Record]:
    """For every two networks that differ in one part alone, which one of them lacks: the difference of their
    `log10_residual` after the last layer at which both are known for all seeds, paired by seed (Student's t).
    """
    kinds: dict[tuple[Any, ...], dict[int, Matrix]] = {}
    seeds = {record.matrix: record.seed for record in table}
    for matrix in table.matrices:
        seed = seeds.get(matrix.id)
        if matrix.network is not None and seed is not None:
            kinds.setdefault(matrix.kind, {})[seed] = matrix
    curves = curves_of(table)
    return [
        record
        for with_part in kinds.values()
        for without in kinds.values()
        for record in of_pair(with_part, without, curves)
    ]


def curves_of(table: Table) -> dict[int, dict[int, Record]]:
    """The residuals of each network by layer."""
    found: dict[int, dict[int, Record]] = {}
    for record in table:
        if record.measure == "log10_residual" and record.layer is not None:
            found.setdefault(record.matrix, {})[record.layer] = record
    return found


def of_pair(
    having: Mapping[int, Matrix], lacking: Mapping[int, Matrix], curves: Mapping[int, Mapping[int, Record]]
) -> Iterator[Record]:
    """The difference that a part makes, if the two differ in it alone and share two seeds or more."""
    seeds = sorted(having.keys() & lacking.keys())
    factor = the_factor(next(iter(having.values())), next(iter(lacking.values())))
    if factor is None or len(seeds) < 2:
        return
    pairs = [(curves.get(having[seed].id, {}), curves.get(lacking[seed].id, {})) for seed in seeds]
    common = [
        layer
        for layer in pairs[0][0]
        if all(layer in each and each[layer].value is not None for pair in pairs for each in pair)
    ]
    if not common or common[-1] == 0:
        return
    layer = common[-1]
    differences = [float(a[layer]) - float(b[layer]) for a, b in pairs]
    mean, deviation = mean_and_deviation(differences)
    half = (deviation or 0.0) / math.sqrt(len(seeds)) * quantile(len(seeds) - 1)
    other = next(iter(lacking.values())).label
    yield replace(
        pairs[0][0][layer],
        measure="log10_residual_difference",
        value=mean,
        low=mean - half,
        high=mean + half,
        group="difference",
        seed=None,
        over=f"less {other}",
        method=f"mean over {len(seeds)} seeds, paired; interval of {CONFIDENCE:.0%} by Student's t",
        because="",
        details={"factor": factor, "without": other, "seeds": len(seeds)},
    )


def the_factor(having: Matrix, lacking: Matrix) -> str | None:
    """The part that the one has and the other lacks, if they differ in nothing else."""
    assert having.network is not None
    assert lacking.network is not None
    same = ("rows", "d", "mask", "kernel", "position", "plan", "scale", "dtype", "ensemble")
    if any(getattr(having, name) != getattr(lacking, name) for name in same):
        return None
    differing = {name for name in having.network if having.network[name] != lacking.network.get(name)} - {"design"}
    for factor, names in FACTORS.items():
        own = having.network[factor] != WITHOUT[factor] == lacking.network[factor]
        if own and differing and differing <= set(names):
            return factor
    return None


def quantile(freedom: int) -> float:
    """The quantile of Student's t for a two-sided interval."""
    from scipy.special import stdtrit

    found: Any = stdtrit(freedom, (1 + CONFIDENCE) / 2)
    return float(found)
