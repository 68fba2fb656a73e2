"""What is read from the curves of a study of depth: how fast they fall, and where plain arithmetic stops."""

import math
from typing import Any

import pytest

from rankscope.records import Matrix, Record, Table
from rankscope.report.descent import Fit, Network, first_below, fit, floors, line, networks, stopped
from tests.report import canned

FLOOR = -14.7
"""log₁₀ of the floor of float64."""


def network(identity: int, label: str = "pure causal", **fields: Any) -> Matrix:
    return canned.matrix(identity, label, network={"layers": 4, "heads": 1}, **fields)


def curve(values: list[float | None], measure: str = "log10_residual", **fields: Any) -> list[Record]:
    return [canned.record(measure, value, layer=layer, **fields) for layer, value in enumerate(values)]


def only(records: list[Record]) -> Network:
    """The only network of a table with these records."""
    [found] = networks(canned.table(records, [network(0)]))
    return found


def cubic(layers: int, start: float = -0.1) -> dict[int, float]:
    """Residuals of which the logarithm is multiplied by three in each layer."""
    return {layer: start * 3**layer for layer in range(layers + 1)}


def geometric(layers: int, factor: float) -> dict[int, float]:
    return {layer: -0.3 + layer * math.log10(factor) for layer in range(layers + 1)}


# ------------------------------------------------------------------------------------------------------------ the fit


def test_an_order_of_three_is_found_in_the_last_three_steps() -> None:
    found = fit(cubic(6))
    assert found is not None
    assert found.order == pytest.approx(3)
    assert found == Fit(3, 6, order=found.order)


def test_an_order_is_that_of_the_last_two_increments() -> None:
    found = fit({0: -1.0, 1: -2.0, 2: -4.0, 3: -12.0})
    assert found is not None
    assert found == Fit(0, 3, order=found.order)
    assert found.order == pytest.approx(4)


@pytest.mark.parametrize(
    ("steps", "order"),
    [
        ((1.0, 1.6, 2.56), 1.6),
        ((1.0, 1.4, 2.8), None),
        ((1.0, 2.0, 2.8), None),
        ((0.6, 1.2, 2.4), 2.0),
        ((0.4, 1.2, 3.6), None),
        ((-1.0, 1.2, 3.6), None),
        ((1.2, 3.6), 3.0),
        ((1.2, 1.7), None),
        ((0.4, 1.2), None),
    ],
)
def test_an_order_needs_every_increment_to_grow_and_every_step_to_be_more_than_noise(
    steps: tuple[float, ...], order: float | None
) -> None:
    values = {0: -1.0}
    for layer, step in enumerate(steps, 1):
        values[layer] = values[layer - 1] - step
    found = fit(values)
    assert (None if found is None else found.order) == (None if order is None else pytest.approx(order))


@pytest.mark.parametrize("constant", [-2.0, 0.5])
def test_a_constant_factor_of_the_law_does_not_hide_its_order(constant: float) -> None:
    values = {0: -1.0}
    for layer in range(1, 7):
        values[layer] = 3 * values[layer - 1] + constant
    found = fit(values)
    assert found is not None
    assert found.order == pytest.approx(3)


@pytest.mark.parametrize("order", [2.0, 1.75])
def test_other_orders_are_found_as_well(order: float) -> None:
    found = fit({layer: -(order**layer) for layer in range(8)})
    assert found is not None
    assert found.order == pytest.approx(order)


@pytest.mark.parametrize("factor", [0.9, 0.5, 0.1, 1e-5])
@pytest.mark.parametrize("layers", [5, 12, 40])
def test_a_constant_factor_is_found_over_the_latter_half(factor: float, layers: int) -> None:
    found = fit(geometric(layers, factor))
    assert found is not None
    assert found.factor == pytest.approx(factor)
    assert found == Fit((layers + 1) // 2, layers, factor=found.factor)


def test_what_comes_before_the_latter_half_does_not_count() -> None:
    values = geometric(12, 0.5) | dict.fromkeys(range(6), 0.0)
    found = fit(values)
    assert found is not None
    assert found.factor == pytest.approx(0.5)


def test_layers_that_are_not_known_are_passed_over() -> None:
    values = geometric(12, 0.5)
    del values[8], values[9]
    found = fit(values)
    assert found is not None
    assert found.factor == pytest.approx(0.5)
    assert found.last == 12


@pytest.mark.parametrize("value", [-0.01, -16.0])
def test_a_flat_curve_has_no_fit(value: float) -> None:
    assert fit(dict.fromkeys(range(10), value)) is None


def test_a_curve_that_rises_or_stays_at_its_end_has_no_fit() -> None:
    assert fit(geometric(8, 2.0)) is None
    assert fit(geometric(8, 0.5) | {9: -2.7, 10: -2.71}) is None


def test_a_little_noise_leaves_the_factor() -> None:
    noise = [0.02, -0.03, 0.01, -0.02, 0.03, 0.0, -0.01]
    values = {layer: value + noise[layer % 7] for layer, value in geometric(20, 0.5).items()}
    found = fit(values)
    assert found is not None
    assert found.factor == pytest.approx(0.5, rel=0.02)


def test_noise_as_large_as_the_fall_leaves_no_fit() -> None:
    noise = [0.0, -0.25, 0.3, -0.2, 0.25, -0.3]
    values = {layer: -0.05 * layer + noise[layer % 6] for layer in range(18)}
    assert values[17] < values[16]
    assert fit(values) is None


def test_two_uneven_steps_of_a_geometric_decay_are_no_order() -> None:
    values = {layer: -1.0 * layer + (0.15 if layer % 2 == 1 else 0.0) for layer in range(21)}
    steps = values[20] - values[19], values[19] - values[18]
    assert steps[0] / steps[1] > 1.25
    found = fit(values)
    assert found is not None
    assert found.order is None
    assert found.factor == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("layers", [0, 1])
def test_too_few_layers_have_no_fit(layers: int) -> None:
    assert fit(geometric(layers, 0.5)) is None
    assert fit({}) is None


def test_three_layers_have_an_order_but_too_few_for_a_factor() -> None:
    found = fit(cubic(2, -1.0))
    assert found is not None
    assert found.order == pytest.approx(3)
    assert (found.first, found.last) == (0, 2)
    assert fit(geometric(2, 0.5)) is None


def test_a_line_through_points_has_their_slope_and_largest_deviation() -> None:
    assert line([0, 1, 2, 3], [1.0, 3.0, 5.0, 7.0]) == pytest.approx((2, 0))
    assert line([0, 1, 2], [0.0, 3.0, 0.0]) == pytest.approx((0, 2))


# -------------------------------------------------------------------------------------------------------------- bars


def test_the_first_layer_below_a_bar_is_found_in_the_order_of_layers() -> None:
    assert first_below({3: -30.0, 0: 0.0, 2: -11.0, 1: -10.0}, -10.0) == 2
    assert first_below({0: 0.0, 1: -12.0, 2: -9.0}, -10.0) == 1
    assert first_below({0: 0.0, 1: -10.0}, -10.0) is None
    assert first_below({}, -10.0) is None


def plain(values: list[float | None]) -> list[Record]:
    return curve(values, "log10_residual_naive", details={"log10_floor": FLOOR})


def test_plain_arithmetic_stops_where_the_truth_is_below_its_floor() -> None:
    found = only([*curve([0.0, -3.0, -14.0, -42.0, -126.0]), *plain([0.0, -3.0, -14.0, -15.6, -15.8])])
    assert floors(found) == dict.fromkeys(range(5), FLOOR)
    assert stopped(found) == (3, FLOOR)


def test_plain_arithmetic_that_reached_no_floor_has_not_stopped() -> None:
    found = only([*curve([0.0, -0.1, -0.2]), *plain([0.0, -0.1, -0.2])])
    assert stopped(found) is None


def test_the_floor_at_which_plain_arithmetic_stops_is_that_of_its_layer() -> None:
    rows = [
        canned.record("log10_residual_naive", value, layer=layer, details={"log10_floor": floor})
        for layer, (value, floor) in enumerate([(0.0, -3.0), (-3.0, -4.0), (-5.5, -5.5), (-6.0, -7.0)])
    ]
    found = only([*curve([0.0, -3.5, -6.0, -18.0]), *rows])
    assert floors(found) == {0: -3.0, 1: -4.0, 2: -5.5, 3: -7.0}
    assert stopped(found) == (2, -5.5)


def test_the_floor_of_a_layer_is_the_largest_over_seeds_that_have_one() -> None:
    rows = [
        canned.record("log10_residual_naive", -1.0, matrix=seed, seed=seed, layer=layer, details=details)
        for seed, listed in enumerate([[-14.0, -13.0, None], [-13.5, -15.0, None]])
        for layer, floor in enumerate(listed)
        for details in [{} if floor is None else {"log10_floor": floor}]
    ]
    [found] = networks(canned.table(rows, [network(0), network(1)]))
    assert floors(found) == {0: -13.5, 1: -13.0}


def test_without_plain_arithmetic_there_is_nothing_to_stop() -> None:
    found = only(curve([0.0, -30.0, -90.0]))
    assert floors(found) == {}
    assert stopped(found) is None


def test_plain_arithmetic_that_vanished_still_has_its_floor() -> None:
    found = only([*curve([0.0, -30.0]), *plain([None, None])])
    assert (floors(found), stopped(found)) == ({0: FLOOR, 1: FLOOR}, (1, FLOOR))


# ----------------------------------------------------------------------------------------------------------- networks


def of_seeds(values: dict[int, list[float | None]], label: str = "pure causal") -> Table:
    """One network, with the residuals of each seed."""
    records = [
        record
        for number, (seed, listed) in enumerate(values.items())
        for record in curve(listed, matrix=number, seed=seed)
    ]
    return canned.table(records, [network(number, label) for number in range(len(values))])


def test_seeds_of_a_label_are_one_network() -> None:
    [found] = networks(of_seeds({0: [0.0, -1.0, -2.0], 1: [0.0, -2.0, -4.0], 5: [0.0, -3.0, -6.0]}))
    assert (found.label, found.count, found.main) == ("pure causal", 3, "log10_residual")
    assert found.curve("log10_residual") == {0: [0, 0, 0], 1: [-1, -2, -3], 2: [-2, -4, -6]}
    assert found.means("log10_residual") == pytest.approx({0: 0, 1: -2, 2: -4})


def test_networks_keep_their_order_and_their_records() -> None:
    labels = ["skip causal", "pure causal", "mlp causal"]
    records = [record for i in range(3) for record in curve([-1.0 * i], matrix=i)]
    found = networks(canned.table(records, [network(i, label) for i, label in enumerate(labels)]))
    assert [(each.label, each.count) for each in found] == [(label, 1) for label in labels]
    assert [each.means("log10_residual") for each in found] == [{0: 0}, {0: -1}, {0: -2}]


@pytest.mark.parametrize("other", [{"size": 16}, {"d": 4}, {"dtype": "float32"}])
def test_networks_of_one_label_that_differ_in_size_are_no_seeds_of_each_other(other: dict[str, Any]) -> None:
    records = [*curve([0.0, -1.0], seed=0), *curve([0.0, -3.0], matrix=1, seed=0)]
    found = networks(canned.table(records, [network(0, d=3), network(1, **{"d": 3, **other})]))
    assert [each.count for each in found] == [1, 1]


def test_networks_of_one_label_that_differ_in_depth_are_no_seeds_of_each_other() -> None:
    deeper = canned.matrix(1, "pure causal", network={"layers": 8, "heads": 1})
    records = [*curve([0.0, -1.0], seed=0), *curve([0.0, -3.0], matrix=1, seed=0)]
    assert [each.count for each in networks(canned.table(records, [network(0), deeper]))] == [1, 1]


def test_a_mean_is_known_only_where_every_seed_is() -> None:
    [found] = networks(of_seeds({0: [0.0, -1.0, None], 1: [0.0, -3.0, -9.0]}))
    assert found.curve("log10_residual") == {0: [0, 0], 1: [-1, -3], 2: [-9]}
    assert found.means("log10_residual") == {0: 0, 1: -2}


def test_a_layer_without_any_value_is_not_in_the_curve() -> None:
    found = only(curve([0.0, None, -4.0]))
    assert found.curve("log10_residual") == {0: [0.0], 2: [-4.0]}
    assert found.means("log10_residual") == {0: 0, 2: -4}
    assert found.curve("token_cosine") == {}
    assert found.means("token_cosine") == {}


def test_curves_are_in_the_order_of_layers() -> None:
    assert list(only(curve([0.0, -1.0, -2.0])[::-1]).means("log10_residual")) == [0, 1, 2]


def test_heads_of_a_layer_are_averaged() -> None:
    rows = [canned.record("effective_rank", value, layer=0, head=head) for head, value in enumerate((2.0, 4.0))]
    assert only(rows).means("effective_rank") == {0: 3}


@pytest.mark.parametrize(
    ("measures", "residual", "main"),
    [
        (["token_cosine", "log10_residual_l1", "log10_residual"], "log10_residual", "log10_residual"),
        (["log10_residual_naive", "log10_rank1_residual"], "log10_rank1_residual", "log10_rank1_residual"),
        (["log10_residual_naive"], "log10_residual_naive", "log10_residual_naive"),
        (["token_cosine", "effective_rank"], None, "token_cosine"),
        ([], None, ""),
    ],
)
def test_the_first_residual_stands_for_the_collapse_and_else_the_first_measure(
    measures: list[str], residual: str | None, main: str
) -> None:
    found = only([record for measure in measures for record in curve([0.0, -1.0], measure)])
    assert (found.residual, found.main) == (residual, main)


def test_a_network_falls_as_the_mean_of_its_seeds_does() -> None:
    [found] = networks(of_seeds({0: [-0.8, -2.4, -7.2, -21.6], 1: [-1.2, -3.6, -10.8, -32.4]}))
    assert found.fit is not None
    assert found.fit == Fit(0, 3, order=found.fit.order)
    assert found.fit.order == pytest.approx(3)


def test_what_falls_is_the_residual_and_no_other_measure() -> None:
    assert only(curve(list(cubic(6).values()), "token_cosine")).fit is None
    assert only([]).fit is None
    [found] = networks(of_seeds({0: [-0.1, None], 1: [None, -0.3]}))
    assert found.fit is None


@pytest.mark.parametrize(("last", "alike"), [(-6.9, True), (-7.1, False), (-100.0, False)])
def test_seeds_that_end_far_apart_have_no_fit(last: float, alike: bool) -> None:
    ends = {0: -1.0, 1: last}  # their range is at most 1.5 times their mean where the last is at most 7 times the other
    [found] = networks(of_seeds({seed: [end * layer / 8 for layer in range(9)] for seed, end in ends.items()}))
    assert (found.fit is not None) == alike


def test_what_belongs_to_the_whole_network_is_no_layer() -> None:
    whole = [
        canned.record("mask_radius", 1),
        canned.record("path_share", 1.0, over="paths of length 2"),
        canned.record("log10_residual_difference", 3.0, layer=4, over="less pure causal"),
    ]
    found = only([*curve([0.0, -1.0]), *whole])
    assert [record.measure for record in found.whole] == [record.measure for record in whole]
    assert list(found.layers) == ["log10_residual"]


def test_products_of_matrices_are_no_networks() -> None:
    product = canned.matrix(1, "product over 4 layers: pure causal")
    records = [*curve([0.0, -1.0]), canned.record("rank_exact", 3, matrix=1, over="layers-product")]
    [found] = networks(canned.table(records, [network(0), product]))
    assert (found.label, found.whole) == ("pure causal", [])
    assert networks(canned.table(canned.usual(), [canned.matrix(0)])) == []
