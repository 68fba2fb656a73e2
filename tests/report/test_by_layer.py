"""A study of depth as people read it: every value where it belongs, nothing cut off, nothing that is not so."""

import math
import re
from itertools import pairwise
from typing import Any

import pytest

from rankscope.records import Matrix, Record, Table
from rankscope.report.by_layer import MOST_ROWS, grid, heading, layers_of, to_lines
from rankscope.report.cells import columns_of, folded
from rankscope.report.descent import networks
from rankscope.report.terminal import to_text
from rankscope.report.told import paths, sentences
from tests.report.canned import HOSTILE, matrix, record


def network(identity: int = 0, label: str = "pure causal", layers: int = 4, **fields: Any) -> Matrix:
    fields = {"size": 12, "d": 3, "mask": "causal", "network": {"layers": layers, "heads": 1}, **fields}
    return matrix(identity, label, **fields)


def curve(values: list[Any], measure: str = "log10_residual", **fields: Any) -> list[Record]:
    return [record(measure, value, layer=layer, **{"seed": 0, **fields}) for layer, value in enumerate(values)]


def study(records: list[Record], matrices: list[Matrix] | None = None, **options: Any) -> Table:
    options = {"centre": "mean", "absolute": False, **options}
    return Table(options, [network()] if matrices is None else matrices, records, [])


def together(curves: dict[str, list[Any]], measure: str = "log10_residual") -> Table:
    """A network for each label."""
    records = [each for i, values in enumerate(curves.values()) for each in curve(values, measure, matrix=i)]
    return study(records, [network(i, label) for i, label in enumerate(curves)])


def over_seeds(values: list[list[float | None]]) -> Table:
    """One network, with the residuals of each seed."""
    records = [each for i, listed in enumerate(values) for each in curve(listed, matrix=i, seed=i)]
    return study(records, [network(i) for i in range(len(values))])


def shown(table: Table) -> dict[str, dict[str, str]]:
    """The cells of the grid by the name of their row and column."""
    header, rows = grid(table)
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}


def words(text: str) -> str:
    return " ".join(text.split())


def said(table: Table) -> str:
    return " ".join(sentences(table))


FALLING = [-0.1, -0.5, -2.25, -7.125, -21.5]

# ---------------------------------------------------------------------------------------------------------- one network


def test_one_network_is_shown_to_the_last_space() -> None:
    rates = curve([None, 0.25, 1e-3, 2e-5, 3e-15], "residual_rate")
    radius = [record("centre_nodes", 1, guarantee="proved"), record("mask_radius", 1, guarantee="proved")]
    assert to_text(study([*curve(FALLING), *rates, *radius])).splitlines() == [
        "pure causal   n 12   d 3   heads 1   layers 4   seed 0",
        "",
        "layer  log₁₀ r   rate",
        "0         −0.1      —",
        "1         −0.5   0.25",
        "2        −2.25  0.001",
        "3       −7.125  2e−05",
        "4        −21.5  3e−15",
        "",
        "r = ‖X − 1xᵀ‖_F / ‖X‖_F, x the mean of the tokens. A layer's row holds the",
        "tokens that enter it.",
        "causal: 1 of 12 tokens reach all others, one of them after 1 layer [proved].",
        "",
        "pure causal: the residual falls to 10^−21.5 after 4 layers; at the end each fall",
        "of log r is 2.95 times the one before: doubly exponential decay.",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "r = ‖X − 1xᵀ‖_F / ‖X‖_F, x the mean of the tokens. A layer's row holds"),
        ({"centre": "first"}, "r = ‖X − 1xᵀ‖_F / ‖X‖_F, x the first token. A layer's row holds"),
        ({"centre": "minimiser", "absolute": True}, "r = ‖X − 1xᵀ‖_F, x the nearest row. A layer's row holds"),
    ],
)
def test_the_legend_says_which_residual_it_is(options: dict[str, Any], expected: str) -> None:
    assert expected in words(to_text(study(curve(FALLING), **options)))


def test_the_heading_leaves_out_what_networks_do_not_share() -> None:
    found = networks(study(curve(FALLING), [network(0), network(1, "skip causal", layers=8, d=5)]))
    assert heading(found).split("   ")[0] == "2 networks"
    assert heading(found).split("   ")[-3:] == ["n 12", "heads 1", "seed 0"]


def test_heads_of_a_layer_are_averaged_without_a_deviation() -> None:
    rows = [record("effective_rank", value, layer=0, head=head, seed=0) for head, value in enumerate((2.0, 4.0))]
    assert shown(study(rows)) == {"0": {"eff. A": "3"}}


def test_what_has_no_value_at_the_last_layer_is_left_blank() -> None:
    found = shown(study([*curve([-1.0, -2.0]), *curve([5.0], "effective_rank")]))
    assert [found[layer]["eff. A"] for layer in "01"] == ["5", ""]


def test_seeds_are_shown_as_mean_and_deviation() -> None:
    table = over_seeds([[-0.5, -1.0], [-0.75, -3.0], [-1.0, -5.0]])
    assert [row["log₁₀ r"] for row in shown(table).values()] == ["−0.75 ± 0.25", "−3.0 ± 2.0"]
    assert "3 seeds" in to_text(table).splitlines()[0]


def test_a_mean_over_seeds_of_which_one_is_unknown_is_a_dash() -> None:
    found = shown(over_seeds([[-1.0, -2.0], [-3.0, None]]))
    assert [row["log₁₀ r"] for row in found.values()] == ["−2.0 ± 1.4", "—"]


# -------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "—"),
        ({"high": -250.25}, "≤ −250.25"),
        ({"low": 3.5}, "≥ 3.5"),
        ({"low": -2.5, "high": -1.5}, "−2.5 … −1.5"),
    ],
)
def test_what_is_not_known_is_a_bound_or_a_dash(fields: dict[str, float], expected: str) -> None:
    rows = [*curve([-1.0]), record("log10_residual", None, layer=1, seed=0, **fields)]
    assert shown(study(rows))["1"]["log₁₀ r"] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-0.00012345678, "−0.0001235"),
        (-9999.4, "−9999"),
        (-113978.25, "−113978"),
        (-1.23456789e10, "−1.23457e+10"),
        (0.0, "0"),
    ],
)
def test_numbers_keep_four_digits_or_more(value: float, expected: str) -> None:
    assert shown(study(curve([value])))["0"]["log₁₀ r"] == expected


@pytest.mark.parametrize(
    ("lacking", "expected"),
    [
        (-0.5, "0.6838"),
        (-3.9, "0.9999"),
        (-4.5, "1−3.2e−05"),
        (-7.0, "1−1.0e−07"),
        (-250.0, "1−1.0e−250"),
        (-400.5, "1−10^−400.5"),
        (-123456.0, "1−10^−1.235e+05"),
    ],
)
def test_a_cosine_near_one_is_shown_by_what_it_lacks(lacking: float, expected: str) -> None:
    rows = curve([1 - 10.0**lacking], "token_cosine", details={"log10_one_minus": lacking})
    assert shown(study(rows))["0"]["cosine"] == expected


def test_a_network_that_was_not_measured_says_why() -> None:
    refused = record("log10_residual", None, matrix=1, because="no", status="refused", code="RS110")
    table = study([*curve(FALLING), refused], [network(0), network(1, "skip causal")])
    assert "skip causal was not measured. RS110: no" in words(to_text(table))
    assert "−21.5" in to_text(table)


# ------------------------------------------------------------------------------------------------------------ thinning


@pytest.mark.parametrize("last", [1, 12, 25, 26, 40, 41, 51, 52, 99, 129, 500, 5000])
def test_a_deep_network_is_shown_at_equal_steps_and_at_its_end(last: int) -> None:
    kept = layers_of(networks(study(curve([-1.0] * (last + 1)))), thin=True)
    assert kept[0] == 0
    assert kept[-1] == last
    assert len(kept) <= MOST_ROWS + 1
    assert len({b - a for a, b in pairwise(kept[:-1])}) <= 1
    assert last > 25 or kept == list(range(last + 1))


def test_the_last_layer_of_a_deep_network_is_printed() -> None:
    lines = to_text(study(curve([-0.5 * layer for layer in range(42)]), [network(layers=41)])).splitlines()
    rows = [line.split() for line in lines if re.match(r"\d", line)]
    assert rows[:2] == [["0", "0"], ["2", "−1"]] or rows[:2] == [["0", "−0"], ["2", "−1"]]
    assert rows[-2:] == [["40", "−20"], ["41", "−20.5"]]
    assert len(rows) == 22
    assert "All layers are in --format csv and json." in lines


@pytest.mark.parametrize("count", [1, 2])
def test_all_layers_are_said_to_be_elsewhere_only_where_some_are_left_out(count: int) -> None:
    note = "All layers are in --format csv and json."
    shallow, deep = ([-0.5 * layer for layer in range(layers)] for layers in (MOST_ROWS, MOST_ROWS + 1))
    assert note not in to_text(together({f"a{i}": shallow for i in range(count)}))
    assert note in to_text(together({f"a{i}": deep for i in range(count)}))
    assert note not in to_text(together({f"a{i}": deep for i in range(7)})), "one row each leaves out no layer"


@pytest.mark.parametrize("count", [1, 2, 6])
def test_documents_hold_every_layer_however_deep(count: int) -> None:
    table = together({f"a{i}": [-0.5 * layer for layer in range(129)] for i in range(count)})
    assert [row[0] for row in grid(table)[1]] == [str(layer) for layer in range(129)]
    assert layers_of(networks(table), thin=False) == list(range(129))


# ----------------------------------------------------------------------------------------------------- several networks


def test_a_few_networks_stand_side_by_side() -> None:
    table = together({"pure causal": FALLING, "skip causal": [-0.1, -0.1, -0.2, -0.2, -0.25]})
    header, *rows = grid(table)[1]
    assert grid(table)[0] == ["layer", "pure causal", "skip causal"]
    assert header == ["0", "−0.1", "−0.1"]
    assert rows[-1] == ["4", "−21.5", "−0.25"]
    assert to_text(table).splitlines()[0] == "2 networks   n 12   d 3   heads 1   layers 4   seed 0"


def test_columns_do_not_touch() -> None:
    table = together({f"a{i}": [-12345.678, -1.0 / 3] for i in range(6)})
    row = next(line for line in to_lines(table, 80) if line.startswith("0 "))
    assert row.split()[1:] == ["−12345.7"] * 6


def test_many_networks_have_a_row_each_with_their_fall_and_collapse() -> None:
    falls: dict[str, list[Any]] = {
        "a": [-0.5, -1.5, -4.5, -13.5, -40.5],
        "b": [-0.3 * layer for layer in range(5)],
        "c": [-0.1] * 5,
    }
    table = together({f"{name} window:{i}": falls[name] for i in range(3) for name in falls})
    found = shown(table)
    assert len(found) == 9
    assert list(found["a window:0"].values()) == ["−40.5", "order 3.00", "3"]
    assert list(found["b window:2"].values()) == ["−1.2", "×0.501 a layer", "never"]
    assert list(found["c window:1"].values()) == ["−0.1", "—", "never"]


def test_networks_without_a_residual_have_a_dash_in_a_list() -> None:
    table = together({f"a{i}": [None, None] for i in range(7)})
    assert all("—" in row.values() for row in shown(table).values())
    assert said(table) == ""


@pytest.mark.parametrize("measure", ["token_cosine", "effective_rank", "residual_rate"])
@pytest.mark.parametrize("count", [2, 7])
def test_several_networks_show_what_was_measured_of_them(measure: str, count: int) -> None:
    table = together({f"a{i}": [0.5, 0.125 * (i + 1)] for i in range(count)}, measure)
    text = to_text(table)
    assert [i for i in range(count) if f"{0.125 * (i + 1):g}" not in text] == []


def test_rows_of_a_list_can_be_told_apart_however_long_their_labels_are() -> None:
    masks = ["causal & window:128 | (prefix:4 & ~dilated:3)", "causal & window:256 | (prefix:4 & ~dilated:3)"]
    names = [f"{design} {mask}{norm}" for design in ("pure", "mlp") for mask in masks for norm in ("", " pre-norm")]
    lines = to_lines(together(dict.fromkeys(names, FALLING)), 80)
    assert [above for above, line in pairwise(lines) if "−21.5" in line] == names


def test_names_of_rows_that_fit_stand_in_their_row() -> None:
    table = together({f"a{i} window:{i}": FALLING for i in range(7)})
    assert [line.split()[:3] for line in to_lines(table, 80) if "−21.5" in line] == [
        [f"a{i}", f"window:{i}", "−21.5"] for i in range(7)
    ]


def test_a_few_networks_that_do_not_fit_beside_each_other_have_a_row_each() -> None:
    table = together({f"a{i} {'x' * 60}": FALLING for i in range(6)})
    narrow, wide = to_lines(table, 80), to_lines(table, 200)
    assert [line for line in narrow if line.startswith("layer")] == []
    assert [line.split() for line in narrow if "−21.5" in line] == [["−21.5", "order", "2.95", "4"]] * 6
    assert [line.split() for line in wide if "−21.5" in line] == [["4", *["−21.5"] * 6]]
    assert grid(table)[0][0] == "layer", "documents have no width"


def test_two_networks_with_names_too_long_for_the_head_of_a_column_have_a_row_each() -> None:
    lines = to_lines(together({f"a{i} {'x' * 120}": FALLING for i in range(2)}), 900)
    assert [line.split()[2:] for line in lines if "−21.5" in line] == [["−21.5", "order", "2.95", "4"]] * 2


@pytest.mark.parametrize("count", [2, 3, 4, 6])
@pytest.mark.parametrize("length", [10, 30, 60, 200])
def test_no_network_is_lost_however_long_its_label_is(length: int, count: int) -> None:
    table = together({f"{i}{'x' * length}": [-0.5, -3.25 - i] for i in range(count)})
    text = to_text(table)
    assert [i for i in range(count) if f"−{3.25 + i:g}" not in text.partition("\nr = ")[0]] == []


# --------------------------------------------------------------------------------------------------------------- notes


def test_masks_say_who_reaches_whom_once_each() -> None:
    records = []
    for i, (nodes, radius) in enumerate([(1, 1), (1, 1), (12, 6), (0, None)]):
        records += curve(FALLING, matrix=i)
        records += [record("centre_nodes", nodes, matrix=i), record("mask_radius", radius, matrix=i)]
    masks = ["causal", "causal", "window:3", "packed:4"]
    labels = ["pure causal", "skip causal", "pure window:3", "pure packed:4"]
    made = [network(i, label, mask=mask) for i, (label, mask) in enumerate(zip(labels, masks, strict=True))]
    text = words(to_text(study(records, made)))
    assert text.count("causal: 1 of 12 tokens reach all others, one of them after 1 layer [proved].") == 1
    assert "window:3: 12 of 12 tokens reach all others, one of them after 6 layers [proved]." in text
    assert "packed:4: 0 of 12 tokens reach all others, never all in one product [proved]." in text


def test_a_mask_whose_centre_sees_not_all_at_once_is_said_to_do_so_in_no_product() -> None:
    rows = [record("centre_nodes", 1, guarantee="proved"), record("mask_radius", None)]  # as the strict triangle gives
    text = words(to_text(study([*curve(FALLING), *rows])))
    assert "causal: 1 of 12 tokens reach all others, never all in one product [proved]." in text


def test_paths_are_a_table_by_length_with_their_number_and_share() -> None:
    rows = []
    for length, (value, share, count) in enumerate([(-0.25, 0.75, 1), (None, 0.2, 40), (-3.5, 0.05, 20_000_000)]):
        fields: dict[str, Any] = {
            "over": f"paths of length {length}",
            "details": {"length": length, "paths": count, "followed": min(count, 32)},
        }
        rows += [record("log10_path_residual", value, **fields), record("path_share", share, **fields)]
    lines = to_text(study([*curve(FALLING), *rows])).splitlines()
    start = lines.index("paths of pure causal by the number of their heads")
    assert lines[start - 1] == ""
    assert lines[start + 1 : start + 6] == [
        "length     paths  followed  log₁₀ of mean residual  share of output's",
        "0              1       all                   −0.25               0.75",
        "1             40        32                       —                0.2",
        "2       2.00e+07        32                    −3.5               0.05",
        "",
    ]


def test_paths_are_means_over_seeds() -> None:
    rows = []
    for seed, (value, share) in enumerate([(-1.0, 0.5), (-2.0, 0.25)]):
        fields: dict[str, Any] = {
            "matrix": seed, "over": "paths of length 0", "details": {"length": 0, "paths": 1, "followed": 1},
        }  # fmt: skip
        rows += [record("log10_path_residual", value, **fields), record("path_share", share, **fields)]
    made = [network(0), network(1)]
    [found] = networks(study([*curve(FALLING), *curve(FALLING, matrix=1, seed=1), *rows], made))
    assert paths(found)[2] == [["0", "1", "all", "−1.5", "0.375"]]


def test_products_say_what_they_are_with_their_guarantee() -> None:
    rows = [
        record("rank_exact", None, matrix=1, low=3, high=8, guarantee="proved", over="layers-product"),
        record("logdet", -29.5, matrix=1, sign=-1, over="layers-product"),
    ]
    table = study([*curve(FALLING), *rows], [network(), matrix(1, "product over 4 layers: pure causal")])
    found = "rank_exact 3 … 8 [proved] (nobody knows); logdet −29.5, sign −1 [estimated]."
    assert f"product over 4 layers: pure causal: {found}" in words(to_text(table))


# ----------------------------------------------------------------------------------------------------------- sentences


def test_a_doubly_exponential_fall_is_said_with_its_order() -> None:
    text = said(study(curve([-0.5, -1.5, -4.5, -13.5])))
    how = "at the end each fall of log r is 3.00 times the one before: doubly exponential decay"
    assert text == f"pure causal: the residual falls to 10^−13.5 after 3 layers; {how}."


def test_a_geometric_fall_is_said_with_its_factor_and_layers() -> None:
    text = said(study(curve([layer * math.log10(0.5) for layer in range(9)])))
    assert (
        text == "pure causal: the residual falls to 10^−2.408 after 8 layers, by a factor 0.5 in each layer (4 to 8)."
    )


@pytest.mark.parametrize("last", [-0.1, -0.55, 0.4])
def test_a_residual_that_hardly_changes_or_rises_is_not_said_to_fall(last: float) -> None:
    value = f"{last:g}".replace("-", "−")
    assert said(study(curve([-0.1, -0.1, -0.1, last]))) == f"pure causal: the residual is 10^{value} after 3 layers."


def test_a_residual_that_falls_unevenly_falls() -> None:
    assert said(study(curve([0.0, -1.0, -1.1, -1.9]))) == "pure causal: the residual falls to 10^−1.9 after 3 layers."


def test_seeds_that_end_far_apart_have_no_law() -> None:
    assert said(over_seeds([[-0.5, -1.5, -4.5, -13.5], [-0.5, -1.5, -1.6, -1.7]])) == (
        "pure causal: the residual falls to 10^(−7.6 ± 8.3) after 3 layers."
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-0.1, None, None], "pure causal: from layer 1 on it is not known: lost to rounding."),
        (
            [-0.1, -2.0, None],
            "pure causal: the residual falls to 10^−2 after 1 layer. "
            "pure causal: from layer 2 on it is not known: lost to rounding.",
        ),
    ],
)
def test_a_residual_that_is_lost_is_said_to_be_so_with_the_reason(values: list[float | None], expected: str) -> None:
    rows = [
        record("log10_residual", value, layer=layer, because="" if value is not None else "lost to rounding")
        for layer, value in enumerate(values)
    ]
    assert said(study(rows)) == expected


def test_a_residual_that_one_seed_loses_is_not_known_of_every_seed() -> None:
    text = said(over_seeds([[-1.0, -2.0, -3.0], [-3.0, -4.0, None]]))
    assert text.endswith("pure causal: from layer 2 on it is not known of every seed: nobody knows.")


def test_plain_arithmetic_is_said_to_stop_at_its_floor() -> None:
    plain = curve([-0.5, -4.5, -14.5, -15.5], "log10_residual_naive", details={"log10_floor": -14.65})
    text = said(study([*curve([-0.5, -4.5, -14.5, -43.5]), *plain]))
    assert "Plain float64 arithmetic cannot follow it below 10^−14.7, from layer 3 on." in text


def test_a_mean_has_the_digits_of_its_deviation() -> None:
    table = over_seeds([[-0.5, -11407.25], [-0.5, -15367.25]])
    assert shown(table)["1"]["log₁₀ r"] == "−13400 ± 2800"
    assert "the residual falls to 10^(−13400 ± 2800) after 1 layer." in said(table)
    assert shown(table)["0"]["log₁₀ r"] == "−0.5 ± 0", "seeds that agree"
    rows = [each for i in range(4) for each in curve([[-0.5, -13407.25], [-0.5, -15367.25]][i % 2], matrix=i, seed=i)]
    beside = shown(study(rows, [network(i, "ab"[i // 2]) for i in range(4)]))
    assert beside["1"] == {"a": "−14400", "b": "−14400"}
    assert beside["1 ±"] == {"a": "1400", "b": "1400"}


def test_of_three_networks_each_has_a_sentence_and_of_more_those_that_collapse_are_named() -> None:
    assert [f"a{i}: the residual" in said(together({f"a{i}": FALLING for i in range(3)})) for i in range(3)] == [
        True
    ] * 3
    ends = {"a": -0.25, "b": -12.5, "c": -0.125, "d": -21.5, "e": -9.75}
    assert said(together({name: [-0.1, end] for name, end in ends.items()})) == (
        "The residual falls below 10^−10 in 2 of 5 networks: d (10^−21.5), b (10^−12.5). "
        "In the other 3 it ends between 10^−9.75 and 10^−0.125."
    )


def test_one_network_that_does_not_collapse_is_one() -> None:
    text = said(together({f"a{i}": [-0.1, -20.0 if i else -0.5] for i in range(4)}))
    assert text.endswith("a3 (10^−20). In the other one it ends at 10^−0.5.")


def test_where_no_network_collapses_that_is_said_with_their_range() -> None:
    text = said(together({f"a{i}": [-0.1, -0.5 - i] for i in range(4)}))
    assert text == "The residual falls below 10^−10 in none of 4 networks: it ends between 10^−3.5 and 10^−0.5."


def test_no_more_than_six_networks_that_collapse_are_named() -> None:
    six, nine = (said(together({f"a{i}": [-0.1, -20.0 - i] for i in range(count)})) for count in (6, 9))
    assert six.count("(10^") == 6
    assert "more" not in six
    assert nine == (
        "The residual falls below 10^−10 in 9 of 9 networks: "
        "a8 (10^−28), a7 (10^−27), a6 (10^−26), a5 (10^−25), a4 (10^−24) and 4 more."
    )


def test_a_network_whose_residual_is_lost_is_named_among_many() -> None:
    text = said(together({"a": [-0.1, -12.0, None], **{f"b{i}": [-0.1, -0.2, -0.3] for i in range(3)}}))
    assert "in 1 of 4 networks: a (10^−12). In the other 3 it ends at 10^−0.3." in text
    assert text.endswith("It is not known in a from layer 2 on (nobody knows).")


def test_plain_arithmetic_is_said_to_stop_in_some_of_many() -> None:
    plain = curve([-0.5, -14.5], "log10_residual_naive", details={"log10_floor": -14.65})
    found = together({f"a{i}": [-0.5, -43.5 if i == 0 else -1.0] for i in range(4)})
    text = said(study([*found.records, *plain], found.matrices))
    assert "Plain arithmetic cannot follow it below 10^−14.7, in 1 of them." in text


def difference(identity: int, low: float, high: float, factor: str = "skip") -> Record:
    details = {"factor": factor, "without": "pure causal", "seeds": 3}
    return record(
        "log10_residual_difference",
        (low + high) / 2,
        matrix=identity,
        low=low,
        high=high,
        layer=4,
        over="less pure causal",
        details=details,
    )


def test_each_verdict_names_its_networks_and_what_was_published() -> None:
    labels = ["pure causal", "a", "b", "c", "d"]
    verdicts = [difference(1, 2.5, 7.5), difference(2, -7.5, -2.5), difference(3, -1.0, 2.0), difference(4, 1.0, 2.0)]
    records = [each for i in range(5) for each in curve(FALLING, matrix=i)]
    table = study([*records, *verdicts], [network(i, label) for i, label in enumerate(labels)])
    expected = (
        "With skip connections (3 seeds, 4 intervals of 95 %): slower collapse in a, d; faster collapse in b; "
        "no clear difference in c. Dong et al. 2021 publish that they prevent it."
    )
    assert said(table).endswith(expected)
    text = words(to_text(table))
    assert "a less pure causal: log₁₀ r 5 (2.5 … 7.5) at layer 4, 3 seeds, paired, 95 %." in text
    assert "b less pure causal: log₁₀ r −5 (−7.5 … −2.5) at layer 4, 3 seeds, paired, 95 %." in text


@pytest.mark.parametrize(("low", "high"), [(0.0, 2.0), (-2.0, 0.0), (-1.0, 1.0)])
def test_an_interval_that_holds_zero_is_no_difference(low: float, high: float) -> None:
    table = study([*curve(FALLING, matrix=1), difference(1, low, high)], [network(0), network(1, "a")])
    assert "(3 seeds, an interval of 95 %): no clear difference in a. " in said(table)


@pytest.mark.parametrize(("factor", "part"), [("skip", "skip connections"), ("mlp", "an MLP"), ("norm", "a norm")])
def test_each_part_has_its_own_sentence(factor: str, part: str) -> None:
    table = study([*curve(FALLING, matrix=1), difference(1, 1.0, 2.0, factor)], [network(0), network(1, "a")])
    assert f"With {part} (3 seeds, an interval of 95 %): slower collapse in a. " in said(table)
    assert said(table).count("With ") == 1


# -------------------------------------------------------------------------------------------------------------- safety


def with_everything(label: str, count: int) -> Table:
    """Networks of a label that share every kind of note."""
    records: list[Record] = []
    for i in range(count):
        records += [*curve(FALLING, matrix=i), *curve([1.0] * 5, "token_cosine", matrix=i)]
        records += [record("centre_nodes", 1, matrix=i), record("mask_radius", 1, matrix=i), difference(i, 1.0, 2.0)]
        details = {"length": 0, "paths": 1, "followed": 1}
        fields: dict[str, Any] = {"matrix": i, "over": "paths of length 0", "details": details}
        records += [record("log10_path_residual", -1.0, **fields), record("path_share", 1.0, **fields)]
    records.append(record("rank_exact", 3, matrix=count, over="layers-product"))
    records.append(record("log10_residual", None, matrix=count + 1, because=label, status="refused", code="RS110"))
    made = [network(i, f"{label} {i}" if i else label, mask=label) for i in range(count)]
    return study(records, [*made, matrix(count, f"product: {label}"), network(count + 1, f"{label} bad", mask=label)])


@pytest.mark.parametrize("count", [1, 2, 4, 7])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_label_sends_control_characters(name: str, count: int) -> None:
    assert {c for c in to_text(with_everything(HOSTILE[name], count)) if not c.isprintable()} <= {"\n"}


@pytest.mark.parametrize("count", [1, 2, 4, 7])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_label_breaks_the_width(name: str, count: int) -> None:
    text = to_text(with_everything(HOSTILE[name], count))
    assert [line for line in text.splitlines() if columns_of(line) > 80] == []


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("count", [1, 2, 4, 6, 7, 30])
def test_no_line_is_wider_than_asked_for(count: int, width: int) -> None:
    table = with_everything("skip+mlp causal & window:4 pre-rmsnorm", count)
    assert [line for line in to_text(table, width).splitlines() if columns_of(line) > width] == []


@pytest.mark.parametrize("count", [1, 2, 7])
def test_no_line_ends_with_spaces(count: int) -> None:
    lines = to_text(with_everything("skip causal", count)).splitlines()
    assert all(line == line.rstrip() for line in lines)


def test_minus_signs_are_minus_signs() -> None:
    assert not re.search(
        r"-\d", to_text(with_everything("skip causal", 2)) + to_text(with_everything("skip causal", 7))
    )


def test_many_measures_of_one_network_fit_and_those_left_out_are_named() -> None:
    names = [f"a_measure_with_a_long_name_{i}" for i in range(20)]
    table = study([each for name in names for each in curve([1.0, 2.0], name)])
    lines = to_lines(table, 80)
    assert [line for line in lines if columns_of(line) > 80] == []
    [note] = [text for text in (words("\n".join(lines)),) if "16 more, with -m or --format csv: " in text]
    assert [name for name in names[4:] if name not in note] == []
    heads = [line.split() for line in lines[2:4]]
    assert [above + below for above, below in zip(heads[0], heads[1][1:], strict=True)] == names[:4]


def test_words_are_folded_by_the_columns_of_a_terminal() -> None:
    assert folded("注意力 注意力注意力 a", 7) == ["注意力", "注意力", "注意力", "a"]
    assert folded("注意力 注意力", 13) == ["注意力 注意力"]
    assert folded("注意力 注意力", 12) == ["注意力", "注意力"]
    assert folded("attention", 4) == ["atte", "ntio", "n"]
    assert folded("ab cd", 5) == ["ab cd"]
    assert folded("ab cd", 4) == ["ab", "cd"]
    assert folded("", 4) == []
