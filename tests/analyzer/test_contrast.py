"""What one part of a network changes: paired differences over seeds against their definition."""

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest

from rankscope.analyzer.contrast import contrasts, quantile
from rankscope.deep import depth
from rankscope.records import Matrix, Record, Table

QUANTILES = {1: 12.706204736174705, 2: 4.302652729749464, 9: 2.2621571627982055}
"""Of Student's t at 0.975, from its density integrated with 40 digits."""

ROUNDING = 1e-13


def table_of(**options: Any) -> Table:
    """A small study of residuals."""
    result = depth(**{"n": 6, "d": 3, "layers": 3, "measures": "log10_residual", "seeds": range(2), **options})
    return result.table


def differences(table: Table) -> list[Record]:
    return [record for record in table if record.measure == "log10_residual_difference"]


def labels(table: Table) -> dict[int, Matrix]:
    return {matrix.id: matrix for matrix in table.matrices}


def pairs(table: Table) -> set[tuple[str, str, str]]:
    """Which networks are compared: the one that has a part, the one that lacks it, and the part."""
    made = labels(table)
    found = [
        (made[record.matrix].label, str(record.details["without"]), str(record.details["factor"]))
        for record in differences(table)
    ]
    assert len(found) == len(set(found))
    return set(found)


def residuals(table: Table, label: str, layer: int) -> dict[int, float]:
    """The residual of each seed of a network after a layer."""
    made = labels(table)
    return {
        record.seed: float(record)
        for record in table
        if record.measure == "log10_residual"
        and record.layer == layer
        and record.seed is not None
        and made[record.matrix].label == label
    }


@pytest.mark.parametrize("freedom", QUANTILES)
def test_the_quantiles_are_those_of_the_distribution(freedom: int) -> None:
    assert quantile(freedom) == pytest.approx(QUANTILES[freedom], rel=ROUNDING)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_differences_and_their_intervals_are_paired_by_seed(count: int) -> None:
    table = table_of(design=["pure", "skip"], seeds=range(count))
    (found,) = differences(table)
    having, lacking = residuals(table, "skip bidirectional", 3), residuals(table, "pure bidirectional", 3)
    assert len(having) == len(lacking) == count
    own = [having[seed] - lacking[seed] for seed in having]
    half = QUANTILES[count - 1] * statistics.stdev(own) / math.sqrt(count)
    assert found.value == pytest.approx(statistics.fmean(own), rel=ROUNDING)
    assert found.low == pytest.approx(statistics.fmean(own) - half, abs=ROUNDING * half)
    assert found.high == pytest.approx(statistics.fmean(own) + half, abs=ROUNDING * half)
    assert found.details == {"factor": "skip", "without": "pure bidirectional", "seeds": count}
    assert (found.layer, found.seed, found.group, found.guarantee) == (3, None, "difference", "estimated")
    assert found.over == "less pure bidirectional"


def test_designs_are_compared_where_they_differ_in_one_part() -> None:
    table = table_of(design=["pure", "skip", "mlp", "skip+mlp"])
    made = {matrix.network["design"]: matrix.label for matrix in table.matrices if matrix.network is not None}
    assert pairs(table) == {
        (made["skip"], made["pure"], "skip"),
        (made["mlp"], made["pure"], "mlp"),
        (made["skip+mlp"], made["mlp"], "skip"),
        (made["skip+mlp"], made["skip"], "mlp"),
    }


def test_norms_are_compared_with_none_and_not_with_each_other() -> None:
    table = table_of(design=["pure", "skip"], norm=["none", "pre", "post"])
    found = {(having, without) for having, without, factor in pairs(table) if factor == "norm"}
    assert found == {
        (f"{design} bidirectional {norm}-norm", f"{design} bidirectional")
        for design in ("pure", "skip")
        for norm in ("pre", "post")
    }
    assert len([1 for _, _, factor in pairs(table) if factor == "skip"]) == 3


def test_a_skip_of_any_strength_is_compared_with_none() -> None:
    table = table_of(design=["pure", "skip"], alpha=[1.0, 0.5])
    assert {factor for _, _, factor in pairs(table)} == {"skip"}
    assert len(differences(table)) == 4


@pytest.mark.parametrize(
    "options",
    [
        {"mask": ["causal", "window:2"]},
        {"gain": [1.0, 2.0]},
        {"design": ["pure", "skip+mlp"]},
        {"mlp": "relu", "mlp_ratio": [2.0, 4.0]},
        {"mlp": ["relu", "gelu"]},
        {"norm": ["pre", "post"]},
    ],
    ids=str,
)
def test_networks_that_differ_otherwise_are_not_compared(options: dict[str, Any]) -> None:
    assert differences(table_of(**options)) == []


def test_masks_are_compared_each_with_itself() -> None:
    table = table_of(mask=["causal", "window:2"], design=["pure", "skip"])
    assert pairs(table) == {("skip causal", "pure causal", "skip"), ("skip window:2", "pure window:2", "skip")}


@pytest.mark.parametrize(
    ("name", "values"),
    [("n", [6, 9]), ("d", [3, 4]), ("layers", [2, 3]), ("heads", [1, 2]), ("dtype", ["float64", "float32"])],
)
def test_networks_of_several_sizes_are_compared_at_each_size(name: str, values: list[Any]) -> None:
    table = table_of(design=["pure", "skip"], **{name: values})
    found = sorted(float(record) for record in differences(table))
    alone = sorted(float(differences(table_of(design=["pure", "skip"], **{name: value}))[0]) for value in values)
    assert found == alone


def test_one_seed_makes_no_difference() -> None:
    assert differences(table_of(design=["pure", "skip"], seeds=[4])) == []


def test_seeds_that_only_one_of_the_two_has_are_left_out() -> None:
    table = table_of(design=["pure", "skip"], seeds=range(4))
    plain = replace(table, records=[record for record in table if record.measure == "log10_residual"])
    seeds = {record.matrix: record.seed for record in plain}
    kept = [matrix for matrix in plain.matrices if "skip" in matrix.label or seeds[matrix.id] in (1, 3)]
    (found,) = contrasts(replace(plain, matrices=kept))
    having, lacking = residuals(table, "skip bidirectional", 3), residuals(table, "pure bidirectional", 3)
    assert found.value == pytest.approx(statistics.fmean(having[s] - lacking[s] for s in (1, 3)), rel=ROUNDING)
    assert found.details["seeds"] == 2
    kept = [matrix for matrix in plain.matrices if "skip" in matrix.label or seeds[matrix.id] == 1]
    assert contrasts(replace(plain, matrices=kept)) == []


def test_the_last_layer_is_the_last_that_is_known_for_all_seeds() -> None:
    table = table_of(design=["pure", "skip"], seeds=range(3))
    plain = [record for record in table if record.measure == "log10_residual"]
    lost = next(record for record in plain if record.layer == 3 and record.seed == 1)
    without = [replace(record, value=None) if record is lost else record for record in plain]
    (found,) = contrasts(replace(table, records=without))
    having, lacking = residuals(table, "skip bidirectional", 2), residuals(table, "pure bidirectional", 2)
    assert found.layer == 2
    assert found.value == pytest.approx(statistics.fmean(having[s] - lacking[s] for s in range(3)), rel=ROUNDING)


def test_the_input_alone_is_not_compared() -> None:
    table = table_of(design=["pure", "skip"])
    unknown = [replace(record, value=None) if record.layer else record for record in table]
    assert contrasts(replace(table, records=unknown)) == []


def test_studies_without_residuals_or_networks_have_no_differences() -> None:
    assert differences(table_of(design=["pure", "skip"], measures="token_cosine")) == []
    assert contrasts(Table({}, [Matrix(0, "a", 2, 2)], [Record(0, "log10_residual", 1.0, layer=1, seed=0)], [])) == []
