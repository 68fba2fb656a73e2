"""The plane of entropy and rank: points where the records say, and corners that are true."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.errors import UsageError
from rankscope.records import Matrix, Record, Table
from rankscope.report.figure import draw, reading_of, suited, to_bytes
from tests.report.readable import assert_readable, marks, words
from tests.report.synthetic import HOSTILE

MEASURES = ("row_entropy_normalized", "effective_rank")


def by_hand(places: list[tuple[float | None, float | None]], label: str = "by hand", **fields: Any) -> Table:
    """A matrix of 8 × 10 for each pair of entropy and effective rank."""
    matrices = [Matrix(i, label.format(i), 8, 10) for i in range(len(places))]
    records = [
        Record(i, measure, value, because="" if value is not None else "unknown", **fields)
        for i, pair in enumerate(places)
        for measure, value in zip(MEASURES, pair, strict=True)
    ]
    return Table({}, matrices, records, [])


def points(figure: Any, *gids: str) -> list[tuple[float, float]]:
    lines = [line for line in figure.axes[0].lines if line.get_gid() in gids]
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines]


def test_a_point_is_the_entropy_and_the_rank_over_the_number_of_singular_values() -> None:
    figure = draw("entropy-rank", by_hand([(0.5, 4.0), (0.25, 2.0)]))
    assert points(figure, "points") == [(0.5, 0.5), (0.25, 0.25)]


def test_real_matrices_lie_where_plain_numpy_says() -> None:
    operator = rs.synthetic(n=24, d=4, seed=2)
    matrix = np.asarray(operator.matrix)  # type: ignore[union-attr]
    entropy = -sum(p * math.log(p) for p in matrix.ravel().tolist()) / 24 / math.log(24)
    sigma = np.linalg.svd(matrix, compute_uv=False)
    shares = (sigma / sigma.sum()).tolist()
    rank = math.exp(-sum(p * math.log(p) for p in shares)) / 24
    figure = draw("entropy-rank", rs.analyze(operator, measures=MEASURES).table)
    assert points(figure, "points")[0] == pytest.approx((entropy, rank), abs=1e-12)


def test_the_corners_are_where_such_matrices_lie() -> None:
    size = 6
    alike = np.zeros((size, size))
    alike[:, 1] = 1
    known = [np.eye(size)[::-1], alike, np.full((size, size), 1 / size)]
    figure = draw("entropy-rank", rs.analyze(known, measures=MEASURES).table)
    crosses = points(figure, "crosses")
    assert crosses == [(0, 1), (0, 1 / size), (1, 1 / size)]
    for matrix, corner in zip(points(figure, "points"), crosses, strict=True):
        assert matrix == pytest.approx(corner, abs=1e-12)
    assert_readable(figure)


def test_uniform_causal_attention_has_entropy_one_and_more_than_rank_one() -> None:
    uniform = np.tril(np.ones((8, 8))) / np.arange(1, 9)[:, None]
    ((entropy, rank),) = points(draw("entropy-rank", rs.analyze(uniform, measures=MEASURES).table), "points")
    assert entropy == pytest.approx(1)
    assert rank > 2 / 8
    causal = [np.eye(8), rs.synthetic(n=8, d=4, mask="causal"), np.outer(np.ones(8), np.eye(8)[0])]
    table = rs.analyze(causal, measures=MEASURES).table
    figure = draw("entropy-rank", replace(table, matrices=[replace(each, mask="causal") for each in table.matrices]))
    assert "uniform over all keys" not in words(figure)
    assert len(points(figure, "crosses")) == 2


def test_axes_show_the_surroundings_of_points_that_lie_close_together() -> None:
    figure = draw("entropy-rank", by_hand([(0.5, 4.0), (0.52, 4.4)]))
    axes = figure.axes[0]
    for (low, high), (least, greatest) in zip(
        (axes.get_xlim(), axes.get_ylim()), ((0.5, 0.52), (0.5, 0.55)), strict=True
    ):
        assert low < least < greatest < high
        assert high - low < 3.5 * (greatest - least)
    assert "crosses" not in marks(figure)
    assert "Crosses: " not in reading_of("entropy-rank", figure)
    assert "of the entropy and the rank, a part of the range from 0 to 1 is shown" in words(figure)
    assert_readable(figure)
    wide = draw("entropy-rank", by_hand([(0.2, 1.0), (0.6, 4.4)]))
    assert wide.axes[0].get_xlim()[0] < 0 < 1 < wide.axes[0].get_xlim()[1]
    assert "a part of the range" not in words(wide)
    assert len(points(wide, "crosses")) == 3


def test_nulls_count_for_what_axes_show_and_a_cross_in_view_is_named_below() -> None:
    table = by_hand([(0.5, 4.0), (0.5, 4.0)], null_mean=7.9)
    records = [replace(each, null_mean=0.9) if each.measure == MEASURES[0] else each for each in table.records]
    figure = draw("entropy-rank", replace(table, records=records))
    assert figure.axes[0].get_xlim()[1] > 1, "entropies from 0.5 to 0.9"
    assert figure.axes[0].get_ylim()[1] > 1
    low = draw("entropy-rank", by_hand([(0.1, 1.0), (0.9, 1.2)]))
    assert points(low, "crosses") == [(0, 1 / 8), (1, 1 / 8)]
    assert "one key for all queries: entropy 0" in words(low)
    assert "of the rank, a part of the range from 0 to 1 is shown" in words(low)
    assert_readable(low)


def test_corners_need_one_size_and_enough_keys() -> None:
    table = by_hand([(0.5, 4.0), (0.25, 2.0)])
    tall = replace(table, matrices=[Matrix(0, "", 8, 5), Matrix(1, "", 8, 8)])
    assert points(draw("entropy-rank", tall), "crosses") == []


def test_nulls_are_open_points_joined_to_their_matrices() -> None:
    table = by_hand([(0.5, 4.0), (0.25, 2.0)])
    means = {("row_entropy_normalized", 0): 0.75, ("effective_rank", 0): 6.0}
    records = [replace(record, null_mean=means.get((record.measure, record.matrix))) for record in table.records]
    figure = draw("entropy-rank", replace(table, records=records))
    assert points(figure, "open-points") == [(0.75, 0.75)]
    joined: Any = [np.column_stack(line.get_data()).tolist() for line in figure.axes[0].lines]
    assert [pair for pair in joined if len(pair) == 2] == [[[0.5, 0.5], [0.75, 0.75]]]
    assert "matched random attention, not known of 1" in words(figure)
    assert "Open points: " in reading_of("entropy-rank", figure)
    assert "open-points" not in marks(draw("entropy-rank", table))


def test_groups_are_labels_while_they_can_be_told_apart_and_kinds_beyond() -> None:
    table = rs.compare(("bidirectional", "causal"), n=8, d=4, seed=[0, 1], measures=MEASURES).table
    figure = draw("entropy-rank", table)
    said = words(figure)
    assert "bidirectional softmax: 2 matrices" in said
    assert "causal softmax: 2 matrices" in said
    colours = [line.get_color() for line in figure.axes[0].lines if line.get_gid() == "points"]
    assert len(set(colours)) == 2
    many = by_hand([(0.5, 4.0)] * 9, label="number {}")
    masks = [replace(matrix, mask=f"window:{matrix.id % 3}") for matrix in many.matrices]
    assert "window:2: 3 matrices" in words(draw("entropy-rank", replace(many, matrices=masks)))
    each = [replace(matrix, mask=f"window:{matrix.id}") for matrix in many.matrices]
    assert "9 matrices" in words(draw("entropy-rank", replace(many, matrices=each))).splitlines()


def test_stacks_are_coloured_by_layer_with_means_apart() -> None:
    figure = draw("entropy-rank", rs.analyze(rs.synthetic(n=8, d=4, heads=2, layers=3), measures=MEASURES).table)
    lines = [line for line in figure.axes[0].lines if line.get_gid() == "layers"]
    assert len(lines) == 6
    assert len({line.get_color() for line in lines}) == 3
    assert figure.axes[1].get_ylabel() == "layer"
    said = words(figure)
    assert "bidirectional softmax: 6 matrices, coloured by layer" in said
    assert "means over heads: 3 matrices" in said
    assert_readable(figure)


def test_a_matrix_without_a_value_is_counted_and_a_table_without_any_refused() -> None:
    figure = draw("entropy-rank", by_hand([(0.5, 4.0), (None, 2.0), (0.5, None)]))
    assert len(points(figure, "points")) == 1
    assert "2 of 3 matrices: no point to draw" in words(figure)
    for table in (by_hand([(None, 2.0)]), rs.analyze(np.ones((1, 1))).table, Table({}, [], [], [])):
        with pytest.raises(UsageError, match=r"RS003: .*Add -m row_entropy_normalized,effective_rank"):
            draw("entropy-rank", table)


def test_four_matrices_with_both_measures_are_suited() -> None:
    assert "entropy-rank" in suited(by_hand([(0.5, 4.0)] * 4))
    assert "entropy-rank" not in suited(by_hand([(0.5, 4.0)] * 3))
    table = by_hand([(0.5, 4.0)] * 4)
    assert "entropy-rank" not in suited(replace(table, records=[r for r in table if r.measure == "effective_rank"]))


def test_hostile_labels_can_be_read_and_the_bytes_repeat() -> None:
    table = by_hand([(0.5, 4.0)] * len(HOSTILE))
    table = replace(table, matrices=[replace(matrix, label=HOSTILE[matrix.id]) for matrix in table.matrices])
    figure = draw("entropy-rank", table)
    assert "$\\foo$ Ba$$in: 1 matrix" in words(figure)
    assert_readable(figure)
    assert to_bytes(draw("entropy-rank", table), "svg") == to_bytes(draw("entropy-rank", table), "svg")
