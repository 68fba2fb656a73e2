"""`rankscope depth`: tokens through layers of attention, and how far they are from each other after each."""

import csv
import io
import math
import re
import xml.etree.ElementTree as ElementTree
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rankscope.depth_study import depth_measures
from rankscope.report.cells import columns_of
from tests.process import called, strict_json, violations

SMALL = ("--n", "12", "--d", "3", "--layers", "4")
LAYERS = [0, 1, 2, 3, 4]
LONG = "causal & window:128 | (prefix:4 & ~dilated:3) | window:8 & ~causal | (anticausal & dilated:7)"
UNBROKEN = "(((window:3)|(window:4))&((window:5)|(window:6)))|dilated:2"


@cache
def document_of(options: str = "") -> Any:
    """The document that a small network gives; words of `options` are separated by spaces. Not to be changed."""
    done = called("depth", *SMALL, "--format", "json", *options.split())
    assert (done.status, done.stderr) == (0, "")
    return strict_json(done.raw)


def records(document: Any, measure: str) -> list[Any]:
    return [record for record in document["records"] if record["measure"] == measure]


def curve(document: Any, measure: str = "log10_residual") -> list[Any]:
    """The values of a measure, in the order of the layers."""
    return [record["value"] for record in records(document, measure)]


def labels(document: Any) -> list[str]:
    return [matrix["label"] for matrix in document["matrices"]]


def numbers(document: Any) -> list[Any]:
    """All that was measured, without the words."""
    names = ("matrix", "measure", "layer", "head", "over", "value", "details")
    return [tuple(record[name] for name in names) for record in document["records"]]


def wide(text: str) -> list[str]:
    return [line for line in text.splitlines() if columns_of(line) > 80]


# ---------------------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--skip --mlp gelu --norm pre",
        "--compare pure,skip --mask bidirectional,causal --seeds 0:2",
        "--paths --skip",
        "--product",
        "--plan layers",
        "--heads 2 -m effective_rank,logdet",
        "-m all",
        "-m all --centre minimiser",
        "--n 1",
        "--layers 1",
        "--gain 0",
        "--timing",
    ],
)
def test_the_document_obeys_the_schema(options: str) -> None:
    assert violations(document_of(options)) == []


def test_the_residual_is_known_before_each_layer_and_after_the_last() -> None:
    found = records(document_of(), "log10_residual")
    assert [record["layer"] for record in found] == LAYERS
    assert all(record["low"] <= record["value"] <= record["high"] for record in found)
    assert {(record["head"], record["subject"], record["seed"]) for record in found} == {(None, "tokens", 0)}


def test_tokens_tend_to_each_other_faster_and_faster() -> None:
    values = curve(document_of())
    assert -0.1 < values[0] <= 0
    assert values[-1] < -9
    assert records(document_of(), "residual_order")[-1]["value"] == pytest.approx(3, abs=0.3)


def test_attention_matrices_belong_to_a_layer_and_a_head() -> None:
    found = records(document_of("--heads 2"), "effective_rank")
    assert [(record["layer"], record["head"]) for record in found] == [(i, j) for i in range(4) for j in range(2)]
    assert all(1 <= record["value"] <= 12 for record in found)


def test_the_result_does_not_depend_on_workers() -> None:
    options = ["depth", *SMALL, "--compare", "pure,skip", "--mask", "bidirectional,causal", "--seeds", "0:3"]
    one, two = (called(*options, "--format", "json", "--workers", count) for count in (1, 2))
    assert (one.status, two.status) == (0, 0)
    assert one.raw == two.raw


def test_timing_is_said_only_when_asked_for() -> None:
    assert "run" not in document_of()
    assert document_of("--timing")["run"]["seconds"] > 0


# --------------------------------------------------------------------------------------------------- several networks


def test_seeds_are_summarised_layer_by_layer() -> None:
    found = document_of("--compare pure,skip --seeds 0:3")
    rows = [row for row in found["summary"] if row["measure"] == "log10_residual"]
    assert [(row["label"], row["layer"], row["count"]) for row in rows] == [
        (f"{design} bidirectional", layer, 3) for design in ("pure", "skip") for layer in LAYERS
    ]
    assert all(row["min"] <= row["mean"] <= row["max"] for row in rows)


def test_seeds_tell_what_a_part_changes() -> None:
    found = document_of("--compare pure,skip --seeds 0:3")
    [difference] = records(found, "log10_residual_difference")
    ends = {(found["matrices"][r["matrix"]]["label"], r["seed"]): r["value"] for r in records(found, "log10_residual")}
    gained = [ends["skip bidirectional", seed] - ends["pure bidirectional", seed] for seed in range(3)]
    assert difference["value"] == pytest.approx(sum(gained) / 3)
    assert difference["low"] < difference["value"] < difference["high"]
    assert difference["layer"] == 4
    assert difference["details"] == {"factor": "skip", "without": "pure bidirectional", "seeds": 3}


def test_one_seed_tells_no_difference() -> None:
    found = document_of("--compare pure,skip")
    assert records(found, "log10_residual_difference") == []
    assert found["summary"] == []


def test_every_design_meets_every_mask() -> None:
    found = document_of("--compare pure,skip,mlp,skip+mlp --mask bidirectional,causal,window:2")
    assert {(matrix["network"]["design"], matrix["mask"]) for matrix in found["matrices"]} == {
        (design, mask)
        for design in ("pure", "skip", "mlp", "skip+mlp")
        for mask in ("bidirectional", "causal", "window:2")
    }
    assert len(found["matrices"]) == 12


def test_every_list_is_tried_with_every_other() -> None:
    found = document_of("--norm none,pre --values lecun,identity --gain 1,2")
    networks = [matrix["network"] for matrix in found["matrices"]]
    assert {(each["norm"], each["values"], each["gain"]) for each in networks} == {
        (norm, values, gain) for norm in ("none", "pre") for values in ("lecun", "identity") for gain in (1, 2)
    }
    assert len(set(labels(found))) == 8


def test_lists_are_written_with_commas_or_by_repetition() -> None:
    with_commas, repeated = document_of("--mask causal,window:2"), document_of("--mask causal --mask window:2")
    assert {**with_commas, "command": repeated["command"]} == repeated


def test_a_gain_of_an_mlp_makes_no_second_network_without_one() -> None:
    found = document_of("--compare pure,mlp --mlp-gain 1,2")
    assert labels(found) == ["pure bidirectional", "mlp bidirectional", "mlp bidirectional mlp gain 2"]


def test_what_is_named_twice_is_measured_once() -> None:
    assert labels(document_of("--compare pure,pure")) == ["pure bidirectional"]
    assert labels(document_of("--gain 1,1.0")) == ["pure bidirectional"]


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--kernel", ("softmax", "tempered:0.5")),
        ("--position", ("none", "alibi")),
        ("--scale", ("1", "2")),
        ("--heads", ("1", "2")),
        ("--alpha", ("1", "1/sqrt(L)")),
    ],
)
def test_each_value_of_a_list_is_the_network_that_is_walked_alone(option: str, values: tuple[str, str]) -> None:
    both = document_of(f"{option} {','.join(values)}")
    assert len({(matrix["label"], matrix["network"]["heads"]) for matrix in both["matrices"]}) == 2
    assert len(both["matrices"]) == 2
    found = [r["value"] for r in both["records"]]
    alone = [r["value"] for value in values for r in document_of(f"{option} {value}")["records"]]
    assert found == alone


def test_lists_of_every_kind_are_tried_with_each_other() -> None:
    found = document_of("--kernel softmax,sigmoid --position none,alibi --scale 1,2 --heads 1,2 --alpha 1,0.5")
    assert len({(matrix["label"], matrix["network"]["heads"]) for matrix in found["matrices"]}) == 32
    assert len(found["matrices"]) == 32


def test_networks_that_differ_in_their_heads_alone_are_no_seeds_of_each_other() -> None:
    found = document_of("--heads 1,2 --seeds 0:2 -m log10_residual")
    assert [row["count"] for row in found["summary"] if row["layer"] == 4] == [2, 2]
    text = called("depth", *SMALL, "--heads", "1,2", "--seeds", "0:2").stdout
    assert text.startswith("2 networks")
    assert "2 seeds" in text.splitlines()[0]


def test_each_network_is_the_one_that_is_walked_alone() -> None:
    both = document_of("--compare pure,skip+mlp")
    for number, options in enumerate(("", "--skip --mlp relu")):
        alone = [{**record, "matrix": number} for record in document_of(options)["records"]]
        assert [record for record in both["records"] if record["matrix"] == number] == alone


# ------------------------------------------------------------------------------------------------------------ options

CHANGES = [
    ("", "--n 13"),
    ("", "--d 4"),
    ("", "--layers 3"),
    ("", "--heads 2"),
    ("", "--skip"),
    ("", "--alpha 0.5"),
    ("--skip", "--alpha 0.5"),
    ("--skip", "--alpha 1/sqrt(L)"),
    ("", "--mlp relu"),
    ("--mlp relu", "--mlp gelu"),
    ("--mlp relu", "--mlp-ratio 2"),
    ("--mlp relu", "--mlp-init lecun"),
    ("--skip --mlp relu", "--mlp-gain 2"),
    ("--compare mlp", "--mlp gelu"),
    ("", "--norm pre"),
    ("", "--norm post"),
    ("--norm pre", "--norm pre:rms"),
    ("--norm post", "--norm post:rms"),
    ("", "--values identity"),
    ("", "--values he"),
    ("", "--gain 2"),
    ("", "--rescale perp"),
    ("", "--rescale 0.5"),
    ("", "--fixed"),
    ("", "--kernel linear"),
    ("", "--kernel tempered:0.5"),
    ("", "--position alibi"),
    ("", "--position sinusoidal"),
    ("", "--scale 2"),
    ("", "--ensemble isometric"),
    ("", "--ensemble correlated:0.5"),
    ("", "--init he"),
    ("", "--mask causal"),
    ("", "--plan layers"),
    ("--mask causal", "--plan layers"),
    ("", "--seed 1"),
    ("", "--seeds 0:2"),
    ("", "--dtype float32"),
    ("", "--centre first"),
    ("-m log10_residual_l1", "--centre minimiser"),
    ("-m log10_residual_linf", "--centre minimiser"),
    ("", "--absolute"),
    ("", "--paths"),
    ("--heads 2", "--paths"),
    ("", "--product"),
    ("", "-m token_cosine"),
    ("", "-m effective_rank"),
    ("", "-m all"),
]


@pytest.mark.parametrize(("before", "option"), CHANGES)
def test_each_option_changes_the_numbers_and_the_study_says_so(before: str, option: str) -> None:
    name = option.split()[0]
    kept = before if name not in before else ""
    other = "" if "--plan" in option else kept
    without, given = document_of(before), document_of(f"{other} {option}".strip())
    assert numbers(without) != numbers(given)
    assert without["study"] != given["study"]


def test_the_strength_of_branches_can_be_that_of_the_depth() -> None:
    assert numbers(document_of("--skip --alpha 1/sqrt(L)")) == numbers(document_of("--skip --alpha 0.5"))


def test_skips_that_are_not_scaled_away_stop_the_collapse() -> None:
    assert curve(document_of("--skip"))[-1] > -1
    assert curve(document_of("--skip --alpha 0")) == pytest.approx([curve(document_of())[0]] * 5)


def test_no_rescaling_is_the_default() -> None:
    assert numbers(document_of("--rescale none")) == numbers(document_of())
    assert curve(document_of("--rescale 0")) == pytest.approx(curve(document_of()), rel=1e-9)


def test_without_its_mean_attention_leaves_nothing_but_the_residual() -> None:
    assert curve(document_of("--rescale perp"))[-1] > -0.1


def test_queries_that_see_nothing_are_zero_uniform_or_refused() -> None:
    mask = "--mask causal&left-padding:2"
    refused = called("depth", *SMALL, *mask.split())
    assert (refused.status, refused.stdout) == (3, ""), refused.everything
    assert "RS120" in refused.stderr
    zero, uniform = (document_of(f"{mask} --empty-rows {rows}") for rows in ("zero", "uniform"))
    assert [found["study"]["sources"][0]["empty_rows"] for found in (zero, uniform)] == ["zero", "uniform"]
    assert curve(zero)[0] == curve(uniform)[0]
    assert all(a != b for a, b in zip(curve(zero)[1:], curve(uniform)[1:], strict=True))


def test_fixed_matrices_are_those_of_the_first_layer() -> None:
    assert {record["layer"] for record in records(document_of("--fixed"), "effective_rank")} == {0}
    assert curve(document_of("--fixed"))[:2] == curve(document_of())[:2]


def test_a_plan_stands_in_the_place_of_a_mask() -> None:
    [matrix] = document_of("--plan layers")["matrices"]
    assert (matrix["mask"], matrix["plan"], matrix["label"]) == (None, "layers", "pure plan layers")
    assert curve(document_of("--plan layers"))[1] == curve(document_of("--mask causal"))[1]


def test_the_type_moves_the_floor_of_plain_arithmetic_and_not_the_truth() -> None:
    found = {dtype: document_of(f"--dtype {dtype}") for dtype in ("float64", "float32", "float16", "bfloat16")}
    floors = [records(each, "log10_residual_naive")[0]["details"]["log10_floor"] for each in found.values()]
    assert floors == sorted(floors)
    sums = (12 + 3 + 8) * 2.0**-53
    assert floors == pytest.approx([math.log10(4 * 2.0**-bits + sums) for bits in (53, 24, 11, 8)], abs=1e-12)
    assert {tuple(curve(each)) for each in found.values()} == {tuple(curve(document_of()))}
    plain = {dtype: curve(each, "log10_residual_naive")[3] for dtype, each in found.items()}
    assert plain["float64"] == pytest.approx(curve(document_of())[3], abs=1e-6)
    assert plain["bfloat16"] is None or plain["bfloat16"] > plain["float64"] + 1e-3


def test_the_mean_is_nearest_in_frobenius_norm_and_the_minimiser_in_others() -> None:
    mean, first = curve(document_of()), curve(document_of("--centre first"))
    assert all(a < b for a, b in zip(mean, first, strict=True))
    assert curve(document_of("--centre minimiser")) == mean
    for norm in ("log10_residual_l1", "log10_residual_linf"):
        nearest = curve(document_of(f"-m {norm} --centre minimiser"), norm)
        assert all(a < b for a, b in zip(nearest, curve(document_of(f"-m {norm}"), norm), strict=True))


def test_absolute_residuals_are_those_that_the_details_give() -> None:
    given = [record["details"] for record in records(document_of(), "log10_residual")]
    assert curve(document_of("--absolute")) == pytest.approx([each["log10_absolute"] for each in given])
    relative = [each["log10_absolute"] - each["log10_norm"] for each in given]
    assert curve(document_of()) == pytest.approx(relative)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_floor_of_absolute_residuals_is_that_of_the_norm_of_the_tokens(dtype: str) -> None:
    found = document_of(f"--absolute --dtype {dtype}")
    floors = [record["details"]["log10_floor"] for record in records(found, "log10_residual_naive")]
    norms = [record["details"]["log10_norm"] for record in records(found, "log10_residual")]
    rows = records(document_of(f"--dtype {dtype}"), "log10_residual_naive")
    relative = [record["details"]["log10_floor"] for record in rows]
    assert relative == pytest.approx([relative[0]] * 5)
    assert [floor - norm for floor, norm in zip(floors, norms, strict=True)] == pytest.approx(relative, abs=1e-3)
    assert max(norms) - min(norms) > 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_plain_arithmetic_below_its_floor_says_so(dtype: str) -> None:
    rows = records(document_of(f"--layers 6 --dtype {dtype}"), "log10_residual_naive")
    below = [r["value"] is not None and r["value"] < r["details"]["log10_floor"] for r in rows]
    assert [r["because"] == "at its rounding floor" for r in rows] == below
    assert below[0] is False
    if dtype == "float64":
        assert any(below)


def test_an_order_is_not_known_where_the_layer_before_hardly_changed_the_residual() -> None:
    for options in ("--layers 6", "--skip --layers 6"):
        found = document_of(options)
        orders, values = curve(found, "residual_order"), curve(found)
        changes = [abs(b - a) for a, b in pairwise(values)]
        assert orders[:2] == [None, None]
        assert [order is not None for order in orders[2:]] == [change > 0.1 for change in changes[:-1]]
    assert set(curve(document_of("--skip --layers 6"), "residual_order")) == {None}
    assert records(document_of("--layers 6"), "residual_order")[2]["because"].startswith("the residual hardly changed")


@pytest.mark.parametrize("options", ["", "--absolute", "--centre first"])
def test_rates_are_quotients_of_the_residuals_beside_them(options: str) -> None:
    found = document_of(options)
    quotients = [10 ** (b - a) for a, b in pairwise(curve(found))]
    assert curve(found, "residual_rate")[1:] == pytest.approx(quotients)


def test_the_only_path_of_one_head_is_the_network() -> None:
    found = document_of("--paths")
    [residual], [share] = records(found, "log10_path_residual"), records(found, "path_share")
    assert residual["value"] == pytest.approx(curve(found)[-1])
    assert share["value"] == 1
    assert residual["details"] == {"length": 4, "paths": 1, "followed": 1}


def test_skips_make_paths_of_every_length() -> None:
    found = document_of("--paths --skip")
    lengths = records(found, "log10_path_residual")
    assert [each["details"]["length"] for each in lengths] == LAYERS
    assert [each["details"]["paths"] for each in lengths] == [1, 4, 6, 4, 1]
    assert lengths[0]["value"] == pytest.approx(curve(found)[0])
    assert sum(curve(found, "path_share")) == pytest.approx(1)


def test_heads_multiply_the_paths() -> None:
    assert [each["details"]["paths"] for each in records(document_of("--paths --heads 2"), "path_share")] == [16]


def test_the_product_of_the_matrices_is_one_more_matrix() -> None:
    found = document_of("--product")
    network, made = found["matrices"]
    assert made["network"] is None
    assert made["label"] == f"product over 4 layers: {network['label']}"
    own = [record for record in found["records"] if record["matrix"] == made["id"]]
    assert {record["over"] for record in own} == {"layers-product"}
    assert {"rank_exact", "effective_rank", "logdet", "sigma_max"} <= {record["measure"] for record in own}
    [rank] = [record for record in own if record["measure"] == "effective_rank"]
    assert rank["value"] == pytest.approx(1, abs=0.1)


# ----------------------------------------------------------------------------------------------------------- measures


def test_only_what_is_named_is_measured() -> None:
    found = document_of("-m token_cosine,residual_rate")
    assert {record["measure"] for record in found["records"]} == {"token_cosine", "residual_rate"}
    assert [record["layer"] for record in records(found, "token_cosine")] == LAYERS


def test_measures_of_matrices_are_taken_of_each_attention_matrix() -> None:
    found = document_of("-m logdet,log10_residual,stable_rank --heads 2")
    assert {record["measure"] for record in found["records"]} == {"logdet", "log10_residual", "stable_rank"}
    for measure in ("logdet", "stable_rank"):
        places = [(record["layer"], record["head"]) for record in records(found, measure)]
        assert places == [(layer, head) for layer in range(4) for head in range(2)]


def test_all_is_every_depth_measure() -> None:
    measured = {record["measure"] for record in document_of("-m all --mlp relu")["records"]}
    assert {entry.name for entry in depth_measures()} <= measured
    assert {"effective_rank", "row_entropy_normalized"} <= measured


@pytest.mark.parametrize("options", ["--kernel linear", "--position rope", "--fixed"])
def test_all_can_be_asked_of_any_network(options: str) -> None:
    measured = {record["measure"] for record in document_of(f"-m all {options}")["records"]}
    asked = {entry.name for entry in depth_measures()}
    assert asked - measured == {"mlp_lipschitz"}, "which is of an MLP"


@pytest.mark.parametrize("options", ["--kernel linear", "--position rope"])
def test_gradients_that_cannot_be_taken_are_null_with_the_reason_where_everything_is_asked_for(options: str) -> None:
    names = {f"log10_gradient_{role}" for role in ("query", "key", "value")}
    rows = [record for record in document_of(f"-m all {options}")["records"] if record["measure"] in names]
    assert {record["measure"] for record in rows} == names
    assert all(record["value"] is None and options.split()[1] in record["because"] for record in rows)
    assert all(record["because"].startswith("RS003: gradients with") for record in rows)
    said = " ".join(called("depth", *SMALL, "-m", "all", *options.split()).stdout.split())
    assert "log10_gradient_query is not known: RS003: gradients with" in said
    named = called("depth", *SMALL, "-m", "log10_gradient_query", *options.split())
    assert (named.status, named.stdout) == (2, "")
    assert "RS003" in named.stderr


OF_SMALL_VALUES = ("rank_exact", "rank_scores", "logdet", "log10_sigma_min", "log10_condition", "sv_ratio_1_2")


@pytest.mark.parametrize("measure", OF_SMALL_VALUES)
def test_what_float64_does_not_hold_of_rows_that_agree_is_not_claimed(measure: str) -> None:
    rows = records(document_of(f"-m {measure} --layers 6"), measure)
    agree = [record for record in rows if record["because"].startswith("rows agree in float64")]
    assert [record["layer"] for record in agree] == [3, 4, 5]
    assert {(r["value"], r["low"], r["high"]) for r in agree} == {(None, None, None)}
    masked = records(document_of(f"-m {measure} --layers 6 --mask causal"), measure)
    assert [record for record in masked if record["because"].startswith("rows agree")] == []


def test_what_rests_on_the_largest_singular_value_stays_known_of_rows_that_agree() -> None:
    assert curve(document_of("-m effective_rank --layers 6"), "effective_rank")[3:] == pytest.approx([1] * 3, abs=1e-5)


@pytest.mark.parametrize("options", ["--mask causal", "--skip --mlp gelu --norm pre", "--heads 2"])
def test_gradients_are_finite_at_every_layer(options: str) -> None:
    names = [f"log10_gradient_{role}" for role in ("query", "key", "value")]
    found = document_of(f"-m {','.join(names)} {options}")
    for name in names:
        assert [record["layer"] for record in records(found, name)] == LAYERS[:-1]
        assert all(value is not None and math.isfinite(value) for value in curve(found, name))


def test_fixed_matrices_have_gradients_in_the_first_layer_alone() -> None:
    found = document_of("-m log10_gradient_query,log10_gradient_key,log10_gradient_value --fixed")
    for role in ("query", "key"):
        first, *others = curve(found, f"log10_gradient_{role}")
        assert first is not None
        assert others == [None] * 3
    assert None not in curve(found, "log10_gradient_value")


def test_gradients_of_queries_vanish_with_the_residual() -> None:
    assert curve(document_of("-m log10_gradient_query"), "log10_gradient_query")[3] < -3
    assert curve(document_of("-m log10_gradient_query --skip"), "log10_gradient_query")[3] > -3


# ------------------------------------------------------------------------------------------------------------ refusals

REFUSALS = [
    ("--compare pur", "RS001", "'pure'"),
    ("--compare skip,nope", "RS001", "skip+mlp"),
    ("--norm pro", "RS001", "'pre'"),
    ("--norm pre:layer", "RS001", "'pre:rms'"),
    ("--alpha x", "RS002", "alpha"),
    ("--alpha nan", "RS002", "alpha"),
    ("--alpha 1/sqrt(l)", "RS002", "alpha"),
    ("-m log10_residul", "RS001", "'log10_residual'"),
    ("-m effective_rnk", "RS001", "'effective_rank'"),
    ("--skip --compare pure,skip", "RS003", "designs"),
    ("--ensemble markov", "RS003", "no tokens"),
    ("--ensemble gaussian", "RS003", "no tokens"),
    ("--paths --mlp relu", "RS003", "MLP"),
    ("--paths --norm pre", "RS003", "norm"),
    ("--paths --compare pure,mlp", "RS003", "MLP"),
    ("--mlp rely", "RS001", "'relu'"),
    ("--mlp relu --mlp-init hee", "RS001", "'he'"),
    ("--mlp-init hee", "RS003", "without an MLP"),
    ("--values identty", "RS001", "identity"),
    ("--gain x", "RS002", "gain"),
    ("--gain nan", "RS002", "gain"),
    ("--mlp relu --mlp-gain inf", "RS002", "mlp_gain"),
    ("--rescale prp", "RS002", "rescale"),
    ("--rescale nan", "RS002", "rescale"),
    ("--rescale inf", "RS002", "rescale"),
    ("--layers 0", "RS002", "at least 1"),
    ("--heads 0", "RS002", "at least 1"),
    ("--heads 1,x", "RS002", "--heads x"),
    ("--heads 2.0", "RS002", "whole number"),
    ("--scale 1,x", "RS002", "--scale x"),
    ("--alpha 1,x", "RS002", "alpha"),
    ("--kernel softmax,softmx", "RS001", "'softmax'"),
    ("--position none,alibo", "RS001", "'alibi'"),
    ("--empty-rows drop", "RS003", "zero or uniform"),
    ("--empty-rows nothing", "", "uniform"),
    ("--n 0", "RS002", "at least 1"),
    ("--dtype float31", "RS001", "'float32'"),
    ("--plan heads", "RS002", "even number of heads"),
    ("--plan layers --mask causal", "RS003", "mask"),
    ("--mask causl", "RS001", "'causal'"),
    ("--seed 1 --seeds 0:2", "RS003", "--seeds"),
    ("--compare ,", "RS002", "--compare"),
    ("--figure collapse", "RS003", "-o"),
    ("--centre middle", "", "minimiser"),
]


@pytest.mark.parametrize(("options", "code", "hint"), REFUSALS)
def test_mistakes_end_with_2(options: str, code: str, hint: str) -> None:
    done = called("depth", *SMALL, *options.split())
    assert (done.status, done.stdout) == (2, ""), done.everything
    assert code in done.stderr
    assert hint in done.stderr


@pytest.mark.parametrize(
    "option", ["--mlp-gain 2", "--mlp-ratio 2", "--mlp-init lecun", "--compare pure,skip --mlp relu"]
)
def test_an_option_of_an_mlp_without_an_mlp_is_refused(option: str) -> None:
    assert called("depth", *SMALL, *option.split()).status == 2


def test_an_unknown_measure_is_answered_with_the_known_ones_in_their_order() -> None:
    known = called("depth", *SMALL, "-m", "foo").stderr.partition("Choose one of ")[2].strip(" .\n").split(", ")
    assert known[: len(list(depth_measures()))] == [entry.name for entry in depth_measures()]


@pytest.mark.parametrize(
    "options", ["--kernel cosformer --n 40", "--mask causal&left-padding:2", "--figure collapse", "--seed 1 --seeds 2"]
)
def test_a_remedy_names_only_options_that_there_are(options: str) -> None:
    known = set(re.findall(r"--[a-z-]+", called("depth", "--help").stdout))
    done = called("depth", *SMALL, *options.split())
    assert done.status != 0
    assert set(re.findall(r"--[a-z-]+", done.stderr)) <= known


@pytest.mark.parametrize(
    "options", ["--mask strict", "--mlp relu --mlp-ratio 0.3 --layers 8", "--mask causal --kernel gla --d 4 --layers 5"]
)
def test_tokens_that_vanish_leave_no_warning(options: str) -> None:
    done = called("depth", *SMALL, *options.split(), "--format", "json")  # a warning is an error where tests run
    assert (done.status, done.stderr) == (0, "")


# ------------------------------------------------------------------------------------------------------------- formats


def test_csv_has_a_row_for_each_record() -> None:
    rows = list(csv.DictReader(io.StringIO(called("depth", *SMALL, "--format", "csv").stdout)))
    document = document_of()
    assert len(rows) == len(document["records"])
    assert [row["value"] for row in rows] == ["" if v is None else str(v) for _, _, _, _, _, v, _ in numbers(document)]


@pytest.mark.parametrize("options", ["", "--compare pure,skip,mlp", "--compare pure,skip --seeds 0:2"])
def test_markdown_has_a_row_for_each_layer(options: str) -> None:
    lines = called("depth", *SMALL, *options.split(), "--format", "markdown").stdout.splitlines()
    assert lines[0].startswith("Table: Layer by layer: ")
    header, rule, *rows = [line for line in lines if line.startswith("|")]
    assert header.startswith("| layer | ")
    assert set(rule) <= set("|-: ")
    first = [row.split(" | ")[0] for row in rows]
    assert [text for text in first if "±" not in text] == [f"| {layer}" for layer in LAYERS]
    assert {row.count("|") for row in (header, rule, *rows)} == {header.count("|")}


@pytest.mark.parametrize("options", ["", "--compare pure,skip,mlp", "--compare pure,skip --seeds 0:2"])
def test_latex_has_a_row_for_each_layer(options: str) -> None:
    lines = called("depth", *SMALL, *options.split(), "--format", "latex").stdout.splitlines()
    assert lines[0].startswith("% needs ")
    begin, rule, header, middle, *rows, last, end = [line for line in lines if not line.startswith("%")]
    assert begin.startswith(r"\begin{tabular}{lr")
    assert (rule, middle, last, end) == (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}")
    assert header.startswith("layer & ")
    first = [row.split(" & ")[0] for row in rows]
    assert [text for text in first if "pm" not in text] == [str(layer) for layer in LAYERS]
    columns = begin.removeprefix(r"\begin{tabular}{").removesuffix("}")
    assert {len(columns) - 1} == {line.count("&") for line in (header, *rows)}


@pytest.mark.parametrize("options", ["", "--mask bidirectional,causal,window:2,window:3,window:4,prefix:2,anticausal"])
def test_latex_writes_every_sign(options: str) -> None:
    assert "U+" not in called("depth", *SMALL, *options.split(), "--format", "latex").stdout


# ------------------------------------------------------------------------------------------------------------ terminal

SHOWN = [
    "",
    "--layers 40",
    "--layers 40 --seeds 0:3",
    "--seeds 0:3",
    "--heads 2 --mask causal",
    "--compare pure,skip,mlp,skip+mlp",
    "--compare pure,skip,mlp,skip+mlp --seeds 0:3",
    "--compare pure,skip,mlp,skip+mlp --mask bidirectional,causal,window:2",
    "--compare pure,skip,mlp,skip+mlp --mask bidirectional,causal,window:2 --seeds 0:3",
    "--compare pure,skip --norm none,pre:rms --values identity,lecun --gain 0.123456789,2",
    "--paths --skip --layers 6",
    "--product --seeds 0:2",
    "--plan layers --absolute --centre first",
    "-m all",
    "-m all --seeds 0:2",
    "-m effective_rank,logdet",
    "-m token_cosine --mask causal,bidirectional",
    "--n 1",
    "--gain 0",
    "--scale 1000",
]


@pytest.mark.parametrize("options", SHOWN)
def test_no_line_is_wider_than_80_columns(options: str) -> None:
    done = called("depth", *SMALL, *options.split())
    assert (done.status, done.stderr) == (0, "")
    assert wide(done.stdout) == []


@pytest.mark.parametrize("mask", [LONG, UNBROKEN])
@pytest.mark.parametrize(
    "options",
    ["", "--compare pure,skip,mlp", "--compare pure,skip,mlp,skip+mlp --norm none,pre:rms", "--seeds 0:2 --product"],
)
def test_long_masks_do_not_break_the_width(options: str, mask: str) -> None:
    done = called("depth", *SMALL, "--mask", mask, *options.split())
    assert done.status == 0
    assert wide(done.stdout) == []


def test_one_network_is_shown_layer_by_layer() -> None:
    lines = called("depth", *SMALL).stdout.splitlines()
    assert lines[0] == "pure bidirectional   n 12   d 3   heads 1   layers 4   seed 0"
    assert lines[2].split()[:2] == ["layer", "log₁₀"]
    assert [line.split()[0] for line in lines[3:8]] == [str(layer) for layer in LAYERS]


def test_a_few_networks_stand_side_by_side_and_many_have_a_row_each() -> None:
    few = called("depth", *SMALL, "--compare", "pure,skip,mlp").stdout.splitlines()
    assert few[0] == "3 networks   n 12   d 3   heads 1   layers 4   seed 0"
    row = next(line for line in few if line.startswith("4 "))
    assert len(row.split()) == 4
    masks = "bidirectional,causal,anticausal,window:2,window:3,prefix:2,prefix:3"
    many = called("depth", *SMALL, "--mask", masks).stdout.splitlines()
    assert many[0].startswith("7 networks")
    assert [mask for mask in masks.split(",") if not any(re.match(f"(pure )?{mask} ", line) for line in many)] == []


@pytest.mark.parametrize("measure", ["token_cosine", "effective_rank", "log10_residual_l1"])
def test_several_networks_show_what_was_measured(measure: str) -> None:
    options = f"-m {measure} --mask bidirectional,causal"
    lines = called("depth", *SMALL, *options.split()).stdout.splitlines()
    [row] = [line for line in lines if line.startswith("0 ")]
    assert len(row.split()) == 3


def test_plain_arithmetic_is_said_to_stop_where_its_floor_is() -> None:
    said = " ".join(called("depth", *SMALL, "--layers", "6").stdout.split())
    assert "Plain float64 arithmetic cannot follow it below 10^−14.5, from layer 5 on." in said
    assert "Plain" not in called("depth", *SMALL, "--skip").stdout


def test_quiet_prints_nothing_and_verbose_says_how() -> None:
    quiet, verbose = called("depth", *SMALL, "-q"), called("depth", *SMALL, "-v")
    assert (quiet.status, quiet.everything) == (0, "")
    assert "pure bidirectional seed 0 log10_residual [tokens]: " in verbose.stderr


# --------------------------------------------------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every kind of file, by one command."""
    folder = tmp_path_factory.mktemp("depth")
    files = {suffix: folder / f"a.{suffix}" for suffix in ("png", "svg", "pdf", "html", "json", "csv", "parquet", "md")}
    options = ["--compare", "pure,skip", "--seeds", "0:2", "-q"]
    done = called("depth", *SMALL, *options, *(word for path in files.values() for word in ("-o", path)))
    assert (done.status, done.everything) == (0, "")
    return files


def test_every_kind_of_file_is_written(written: dict[str, Path]) -> None:
    assert written["png"].read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(written["svg"]).getroot().tag.endswith("svg")
    assert written["pdf"].read_bytes().startswith(b"%PDF-")
    assert "layers passed" not in written["json"].read_text("utf-8")
    document = strict_json(written["json"].read_bytes())
    assert document == document_of("--compare pure,skip --seeds 0:2")
    with written["csv"].open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(document["records"])
    assert len(pd.read_parquet(written["parquet"])) == len(document["records"])


def test_a_document_holds_the_table_and_the_figure(written: dict[str, Path]) -> None:
    page = written["html"].read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "pure bidirectional" in page
    assert "<svg" in page or "data:image" in page


def test_the_figure_is_that_of_the_collapse(written: dict[str, Path], tmp_path: Path) -> None:
    again = tmp_path / "b.svg"
    options = ["--compare", "pure,skip", "--seeds", "0:2", "-q", "--figure", "collapse", "-o", again]
    assert called("depth", *SMALL, *options).status == 0
    assert again.read_bytes() == written["svg"].read_bytes()
    assert b'id="curve"' in again.read_bytes()


def test_a_figure_of_something_else_is_refused(tmp_path: Path) -> None:
    done = called("depth", *SMALL, "-q", "--figure", "spectrum", "-o", tmp_path / "a.png")
    assert done.status == 2
    assert "RS003" in done.stderr
    assert list(tmp_path.iterdir()) == []
