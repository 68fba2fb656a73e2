"""The map of heads: each cell is the head it says, and what is not known is not coloured."""

from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
import pytest
import scipy.stats

import rankscope as rs
from rankscope.errors import UsageError
from rankscope.records import Matrix, Record, Table
from rankscope.report.figure import draw, reading_of, suited, to_bytes
from rankscope.report.figures.heads import Stack
from tests.report.readable import assert_readable, marks, words
from tests.report.synthetic import HOSTILE


def stack(values: dict[tuple[int, int], float | None], **fields: Any) -> Table:
    """A head for each place, with its value as effective rank."""
    matrices = [Matrix(i, "a head", 8, 8) for i in range(len(values))]
    records = [
        Record(i, "effective_rank", value, layer=layer, head=head, because="" if value is not None else "unknown")
        for i, ((layer, head), value) in enumerate(values.items())
    ]
    return Table({}, matrices, [replace(record, **fields) for record in records], [])


def panels(figure: Any) -> list[Any]:
    return list(figure.axes[0].child_axes)


def cells(axes: Any) -> Any:
    (mesh,) = [each for each in axes.collections if each.get_gid() == "cells"]
    return mesh


def test_rows_are_layers_columns_are_heads_and_the_first_layer_is_uppermost() -> None:
    table = rs.analyze(rs.synthetic(n=16, d=4, heads=3, layers=2), measures=["effective_rank"]).table
    figure = draw("heads", table)
    (axes,) = panels(figure)
    grid = cells(axes).get_array()
    for record in table:
        if record.over is None:
            assert grid[record.layer, record.head] == record.value
    assert grid.shape == (2, 3)
    assert axes.get_ylim() == (2, 0)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "1"]


def test_colours_are_cividis_from_the_least_to_the_greatest_and_numbers_stand_in_their_cells() -> None:
    table = stack({(0, 0): 1.0, (0, 1): 2.25, (1, 0): 3.5, (1, 1): 6.0})
    figure = draw("heads:effective_rank", table)
    (axes,) = panels(figure)
    assert cells(axes).get_clim() == (1.0, 6.0)
    assert cells(axes).get_cmap() == matplotlib.colormaps["cividis"]
    written = {text.get_text(): text.get_position() for text in axes.texts if text.get_text()}
    assert {text: (int(x), int(y)) for text, (x, y) in written.items()} == {
        "1": (0, 0), "2.25": (1, 0), "3.50": (0, 1), "6": (1, 1),
    }  # fmt: skip
    assert "least 1 in layer 0 head 0, greatest 6 in layer 1 head 1" in words(figure)
    assert figure.axes[1].get_ylabel() == "effective rank"
    assert "Effective rank of 4 heads, 8 × 8" in words(figure)


def test_layers_that_are_not_neighbours_keep_their_numbers() -> None:
    (axes,) = panels(draw("heads", stack({(3, 0): 1.0, (17, 0): 2.0, (17, 5): 3.0, (3, 5): 4.0})))
    assert [text.get_text() for text in axes.get_yticklabels()] == ["3", "17"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "5"]
    assert cells(axes).get_array().tolist() == [[1.0, 4.0], [2.0, 3.0]]


def test_numbers_are_left_out_where_they_have_no_room() -> None:
    (axes,) = panels(draw("heads", stack({(0, head): 100.0 + head for head in range(48)})))
    assert not [text for text in axes.texts if text.get_text()]


def test_what_is_not_known_is_hatched_and_what_is_not_there_is_white() -> None:
    figure = draw("heads", stack({(0, 0): 1.0, (0, 1): None, (1, 0): 2.0}))
    (axes,) = panels(figure)
    (hatched,) = [patch for patch in axes.patches if patch.get_gid() == "hatched-cell"]
    assert hatched.get_xy() == (1, 0)
    assert cells(axes).get_array().mask.tolist() == [[False, True], [False, True]]
    assert "1 of 3 heads not known: unknown" in words(figure)
    assert "white: no head, in 1 of 4 places" in words(figure)
    assert "Hatched cell: " in reading_of("heads", figure)
    assert "Triangle: " not in reading_of("heads", figure)
    nothing = draw("heads", stack({(0, 0): None, (1, 1): None}))
    assert "2 of 2 heads not known" in words(nothing)
    assert len(nothing.axes) == 1, "no colour bar"


def test_seeds_are_meant_and_those_that_are_not_known_are_counted() -> None:
    first, second = stack({(0, 0): 1.0, (0, 1): 5.0}, seed=0), stack({(0, 0): 2.0, (0, 1): None}, seed=1)
    shifted = [replace(record, matrix=record.matrix + 2) for record in second.records]
    more = [replace(matrix, id=matrix.id + 2) for matrix in second.matrices]
    figure = draw("heads", replace(first, matrices=[*first.matrices, *more], records=[*first.records, *shifted]))
    assert cells(panels(figure)[0]).get_array().tolist() == [[1.5, 5.0]]
    assert "means of 2 seeds; not known, and no part of them: 1 of the values" in words(figure)


def test_triangles_mark_heads_outside_the_prediction_interval_of_their_null() -> None:
    reach = float(scipy.stats.t.ppf(1 - 0.0027 / 2, 8)) * (1 + 1 / 9) ** 0.5
    values = {(0, 0): 10 + 1.001 * reach, (0, 1): 10 + 0.999 * reach, (1, 0): 10 - 1.001 * reach, (1, 1): 10.0}
    table = stack(values, null_mean=10.0, null_sd=1.0, null_count=9)
    figure = draw("heads", table)
    drawn = [line for line in panels(figure)[0].lines if line.get_gid() == "triangle"]
    assert [(line.get_marker(), line.get_xdata()[0], line.get_ydata()[0]) for line in drawn] == [
        ("^", 1, 0),
        ("v", 1, 1),
    ]
    assert "1 of 4 heads above matched random attention" in words(figure)
    assert "1 of 4 heads below matched random attention" in words(figure)
    near = [replace(record, value=10.5) for record in table.records]
    assert "no head is unlike" in words(draw("heads", replace(table, records=near)))
    bare = [replace(record, null_mean=None, null_sd=None) for record in table.records]
    assert "matched random" not in words(draw("heads", replace(table, records=bare)))


def small(figure: Any) -> list[str]:
    return [text.get_text() for text in panels(figure)[0].texts if text.get_gid() == "small-numbers"]


def test_the_null_stands_under_the_value_where_it_has_room() -> None:
    table = stack({(0, 0): 16.1, (0, 1): 2.0, (1, 0): 3.0}, null_mean=55.0, null_sd=1.0, null_count=3)
    bare = replace(table.records[2], null_mean=None)
    figure = draw("heads", replace(table, records=[*table.records[:2], bare]))
    assert small(figure) == ["null 55", "null 55"]
    (value,) = [text for text in panels(figure)[0].texts if text.get_text() == "16.1"]
    (null, _) = [text for text in panels(figure)[0].texts if text.get_text() == "null 55"]
    assert (int(null.get_position()[0]), int(null.get_position()[1])) == (0, 0)
    assert null.get_window_extent().y1 <= value.get_window_extent().y0 + 1
    assert "Small numbers: " in reading_of("heads", figure)
    assert_readable(figure)
    seeds = [replace(record, matrix=record.matrix + 3, seed=1, null_mean=75.0) for record in table.records]
    more = [replace(matrix, id=matrix.id + 3) for matrix in table.matrices]
    both = replace(table, records=[*table.records, *seeds], matrices=[*table.matrices, *more])
    assert small(draw("heads", both)) == ["null 65"] * 3, "the mean over the seeds of the matrix"
    crowded: dict[tuple[int, int], float | None] = {(0, head): 10.0 + head / 10 for head in range(12)}
    narrow = draw("heads", stack(crowded, null_mean=55.3, null_sd=1.0, null_count=3))
    assert small(narrow) == []
    assert "10.1" in words(narrow)
    assert "Small numbers: " not in reading_of("heads", narrow)


def test_the_title_counts_heads_and_not_what_is_made_of_them() -> None:
    table = rs.analyze(rs.synthetic(n=8, d=4, heads=2, layers=2), measures=["row_entropy_normalized"]).table
    assert len(table.matrices) > 4
    figure = draw("heads:row_entropy_normalized", table)
    assert "Row entropy normalized of 4 heads, 8 × 8" in words(figure)
    assert "row entropy normalized" in figure.axes[1].get_ylabel().replace("\n", " ")


def test_no_name_of_a_measure_is_cut() -> None:
    table = rs.analyze(rs.synthetic(n=8, d=4, heads=2)).table
    measured = dict.fromkeys(record.measure for record in table if record.head is not None)
    assert len(measured) > 15
    for measure in measured:
        figure = draw(f"heads:{measure}", table)
        said = [axes.get_ylabel() for axes in figure.axes[1:]]
        assert all(label.replace("\n", " ").startswith(measure.replace("_", " ")) for label in said), measure
        assert not any("…" in label for label in said)
        assert_readable(figure)


def test_seeds_that_disagree_mark_no_head() -> None:
    far = stack({(0, 0): 20.0, (0, 1): 10.0, (1, 0): 10.0, (1, 1): 10.0}, null_mean=10.0, null_sd=1.0, null_count=9)
    [one] = [record for record in far.records if (record.layer, record.head) == (0, 0)]
    assert Stack({(0, 0): [one, one]}).side((0, 0)) == 1
    assert Stack({(0, 0): [one, replace(one, value=0.0)]}).side((0, 0)) == 0
    assert Stack({(0, 0): [one, replace(one, value=None)]}).side((0, 0)) == 0


def test_masks_are_panels_and_a_plan_is_one_stack() -> None:
    options: dict[str, Any] = {"n": 8, "d": 4, "heads": 2, "layers": 2, "measures": ["effective_rank"]}
    figure = draw("heads", rs.compare(("bidirectional", "causal"), **options).table)
    assert [axes.get_title(loc="left") for axes in panels(figure)] == ["bidirectional", "causal"]
    assert len({cells(axes).get_clim() for axes in panels(figure)}) == 1
    assert_readable(figure)
    plan = rs.analyze(rs.synthetic(n=8, d=4, heads=2, layers=2, plan="heads"), measures=["effective_rank"]).table
    assert {matrix.mask for matrix in plan.matrices[:4]} == {"causal", "anticausal"}
    assert len(panels(draw("heads", plan))) == 1


def test_what_cannot_be_drawn_is_refused_with_what_to_do() -> None:
    table = stack({(0, 0): 1.0, (0, 1): 2.0})
    with pytest.raises(UsageError, match=r"RS003: .*without 'stable_rank'.*-m; .*effective_rank"):
        draw("heads:stable_rank", table)
    with pytest.raises(UsageError, match=r"RS003: .*without heads that have a layer"):
        draw("heads", rs.analyze(np.eye(4)).table)
    doubled = replace(table, records=[replace(record, layer=0, head=0) for record in table.records])
    with pytest.raises(UsageError, match=r"RS003: .*several matrices that are head 0 of layer 0"):
        draw("heads", doubled)
    many = replace(table, matrices=[Matrix(i, "", 8, 8, mask=f"window:{i}") for i in range(5)])
    many = replace(many, records=[Record(i, "effective_rank", 1.0, layer=0, head=0) for i in range(5)])
    with pytest.raises(UsageError, match=r"RS003: .*5 stacks"):
        draw("heads", many)


def test_a_report_shows_the_usual_measures_that_were_recorded() -> None:
    table = stack({(layer, head): 1.0 + head for layer in range(2) for head in range(2)})
    assert "heads:effective_rank" in suited(table)
    assert "heads:row_entropy_normalized" not in suited(table)
    assert not [name for name in suited(stack({(0, 0): 1.0, (0, 1): 2.0, (0, 2): 3.0})) if name.startswith("heads")]
    flat = replace(table, records=[replace(record, layer=None) for record in table.records])
    assert not [name for name in suited(flat) if name.startswith("heads")]


def test_hostile_words_are_written_as_they_are() -> None:
    table = stack({(0, 0): 1.0, (0, 1): None, (1, 0): 2.0, (1, 1): 3.0}, unit=HOSTILE[0])
    names = [Matrix(i, HOSTILE[i], 8, 8, source=HOSTILE[i % 2]) for i in range(4)]
    said = [replace(record, because=HOSTILE[5] if record.value is None else "") for record in table.records]
    figure = draw("heads", replace(table, matrices=names, records=said))
    assert "Ba$$in)" in figure.axes[1].get_ylabel(), "shortened: it is longer than the bar"
    assert "not known: long long" in words(figure)
    assert_readable(figure)
    assert "triangle" not in marks(figure)


def test_the_same_table_gives_the_same_bytes() -> None:
    table = stack({(0, 0): 1.0, (0, 1): None, (1, 0): 2.0})
    assert to_bytes(draw("heads", table), "svg") == to_bytes(draw("heads", table), "svg")
