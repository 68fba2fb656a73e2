"""The lower panel of a spectrum: true values where they are, noise where it is, nothing where the two agree."""

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

import rankscope as rs
from rankscope.records import Series, Table
from rankscope.report.figure import draw, reading_of, to_bytes
from tests.report.synthetic import (
    TABLES,
    attention,
    bidirectional,
    deepened,
    enclosed,
    joined,
    placed,
    result,
    seeded_enclosed,
    three_enclosed,
)

DEEP = ["enclosed", "deepest", "shallow", "partly", "orders", "one_of_two_enclosed"]
DEEP += ["three_enclosed", "heads_enclosed", "seeded_enclosed", "stacked_enclosed", "low_rank_enclosed"]


@cache
def drawn(name: str) -> Figure:
    return draw("spectrum", TABLES[name]())


def lower(figure: Figure) -> Axes:
    (found,) = [axes for axes in figure.axes if axes.get_gid() == "lower-panel"]
    return found


def points(line: Line2D) -> NDArray[np.float64]:
    """A row for each point."""
    return np.column_stack([np.asarray(data, dtype=float) for data in line.get_data()])


def marked(axes: Axes, gid: str) -> list[Line2D]:
    return [line for line in axes.get_lines() if line.get_gid() == gid]


def plain_lines(axes: Axes) -> list[Line2D]:
    """The lines through true values, which are all but the marks."""
    named = {"filled-marks", "open-marks", "returned-values", "grey-line"}
    return [line for line in axes.get_lines() if line.get_gid() not in named]


def legend(figure: Figure) -> str:
    """The entries, and the remarks below them."""
    entries = [text for axes in figure.axes if axes.legend_ for text in axes.legend_.get_texts()]
    remarks = [text for axes in figure.axes for text in axes.texts if text.get_gid() == "remark"]
    return "\n".join(text.get_text() for text in [*entries, *remarks])


def scaled(series: Series, largest: float) -> NDArray[np.float64]:
    """The logarithms on the scale of the largest value."""
    return np.asarray(series.values) - math.log10(largest)


# --- where things stand


def check_positions(table: Table) -> None:
    """Every mark of the panel stands where the two series of an only matrix say."""
    plain, deep = table.series
    axes = lower(draw("spectrum", table))
    noise = np.asarray(plain.values) <= np.asarray(plain.errors)
    first = int(np.flatnonzero(noise)[0])
    truth, returned = scaled(deep, plain.values[0]), np.log10(np.asarray(plain.values) / plain.values[0])
    index = np.arange(1, len(noise) + 1)
    start, end = first - 5, len(truth)
    (line,) = plain_lines(axes)
    (filled,), (hollow,), (dots,) = (marked(axes, gid) for gid in ("filled-marks", "open-marks", "returned-values"))
    for mark, part, heights in (
        (line, slice(start, end), truth),
        (filled, slice(start, first), truth),
        (hollow, slice(first, end), truth),
        (dots, slice(first, None), returned),
    ):
        assert points(mark) == pytest.approx(np.column_stack([index[part], heights[part]]), rel=1e-12)
    assert axes.get_ylim()[0] < truth.min()
    assert axes.get_xlim()[0] < start + 1
    assert axes.get_xlim()[1] > len(plain.values)


@pytest.mark.parametrize("name", ["enclosed", "deepest", "shallow", "partly"])
def test_true_values_and_noise_stand_where_the_series_say(name: str) -> None:
    check_positions(TABLES[name]())


def test_an_analysis_is_drawn_as_it_is() -> None:
    check_positions(rs.analyze(rs.synthetic(n=64, d=16, mask="causal"), spectrum="exact").table)


def test_values_beyond_float64_have_their_place_and_their_ticks() -> None:
    axes = lower(drawn("deepest"))
    low, high = axes.get_ylim()
    assert low < -684.4 < -600 < high
    assert r"$\mathdefault{10^{-600}}$" in [label.get_text() for label in axes.get_yticklabels()]
    assert all(np.isfinite(points(line)).all() for line in axes.get_lines())
    assert points(plain_lines(axes)[0])[-1, 1] == pytest.approx(-684.1, abs=1)


def test_each_distance_joins_what_lapack_returns_to_the_true_value() -> None:
    axes = lower(drawn("enclosed"))
    (bars,) = [each for each in axes.collections if each.get_gid() == "distances"]
    (hollow,), (dots,) = marked(axes, "open-marks"), marked(axes, "returned-values")
    ends = np.asarray([path.vertices for path in bars.get_paths()])
    assert ends == pytest.approx(np.stack([points(hollow), points(dots)], axis=1))


def test_the_width_of_an_enclosure_is_drawn_where_it_can_be_seen() -> None:
    table = TABLES["partly"]()
    plain, deep = table.series
    (bars,) = [each for each in lower(drawn("partly")).collections if each.get_gid() == "pale-bars"]
    truth = scaled(deep, plain.values[0])[56:]
    ends = np.asarray([np.asarray(path.vertices)[:, 1] for path in bars.get_paths()])
    assert ends == pytest.approx(np.column_stack([truth - 7.0, truth + 7.0]))
    assert not [each for each in lower(drawn("enclosed")).collections if each.get_gid() == "pale-bars"]
    assert "6 of their true values, enclosed: lower panel" in legend(drawn("partly"))
    assert "2 in the noise: exactly 0, or not resolved" in legend(drawn("partly"))


# --- what stays as it is


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_nothing_is_drawn_twice_where_there_is_no_noise(suffix: str) -> None:
    plain = draw("spectrum", bidirectional())
    assert to_bytes(drawn("agreeing"), suffix) == to_bytes(plain, suffix)
    assert len(plain.axes) == 1


@pytest.mark.parametrize("change", [{"matrix": 7}, {"layer": 1}, {"head": 1}, {"seed": 1}, {"over": "heads-mean"}])
def test_the_logarithms_of_another_matrix_are_not_taken(change: dict[str, Any]) -> None:
    table = enclosed()
    other = replace(table, series=[table.series[0], replace(table.series[1], **change)])
    assert len(draw("spectrum", other).axes) == 1
    assert len(draw("spectrum", table).axes) == 2


def test_the_same_table_gives_the_same_bytes() -> None:
    for suffix in ("svg", "pdf", "png"):
        assert to_bytes(drawn("heads_enclosed"), suffix) == to_bytes(
            draw("spectrum", TABLES["heads_enclosed"]()), suffix
        )


def test_the_upper_panel_is_the_figure_that_it_was() -> None:
    table = enclosed()
    before, after = draw("spectrum", replace(table, series=table.series[:1])).axes[0], drawn("enclosed").axes[0]
    assert after.get_ylim() == before.get_ylim()
    assert after.get_xlim() == before.get_xlim()
    for one, other in zip(before.get_lines(), after.get_lines(), strict=True):
        np.testing.assert_array_equal(one.get_ydata(), other.get_ydata())
    heights = [axes.get_window_extent().height / axes.figure.dpi * 72 for axes in (before, after)]
    assert heights[1] == pytest.approx(heights[0], rel=0.05)
    assert "see the lower panel" in "".join(text.get_text() for text in after.texts)
    assert "far below this axis" in "".join(text.get_text() for text in before.texts)


# --- several curves


def test_a_curve_without_noise_has_no_part_in_the_panel() -> None:
    axes = lower(drawn("three_enclosed"))
    (line,) = plain_lines(axes)
    assert line.get_color() == drawn("three_enclosed").axes[0].get_lines()[0].get_color()
    assert len(lower(drawn("one_of_two_enclosed")).get_lines()) == len(lower(drawn("enclosed")).get_lines())
    assert "8 of their true values, enclosed: lower panel" in legend(drawn("one_of_two_enclosed"))
    assert "far below this axis" in "".join(text.get_text() for text in drawn("one_of_two_enclosed").axes[0].texts)


def test_curves_of_different_sizes_are_counted_from_their_last_value() -> None:
    figure = drawn("orders")
    lines, marks = plain_lines(lower(figure)), marked(lower(figure), "open-marks")
    assert [points(line)[-1].tolist() for line in lines] == [
        [0, pytest.approx(depth, abs=1)] for depth in (-140.7, -80.0, -30.0)
    ]
    assert lower(figure).get_xlabel() == "index $i$, counted from the last"
    assert len({str(line.get_linestyle()) for line in lines}) == len({mark.get_marker() for mark in marks}) == 3
    above = figure.axes[0].get_lines()[:3]
    for pair in zip(above, lines, strict=True):
        assert len({to_hex(line.get_color()) for line in pair}) == 1
        assert len({str(line.get_linestyle()) for line in pair}) == 1


def test_heads_keep_the_colours_of_their_layers() -> None:
    figure, table = drawn("heads_enclosed"), TABLES["heads_enclosed"]()
    colours = [to_hex(colour) for colour in figure.axes[0].collections[0].get_colors()]  # type: ignore[attr-defined]
    noisy = [any(v <= e for v, e in zip(each.values, each.errors, strict=True)) for each in table.series[:72]]
    assert 0 < sum(noisy) < 72
    wanted = [colour for colour, has in zip(colours, noisy, strict=True) if has]
    assert [to_hex(line.get_color()) for line in plain_lines(lower(figure))] == wanted
    assert {line.get_marker() for line in plain_lines(lower(figure))} == {""}


@pytest.mark.parametrize("name", ["heads_enclosed", "stacked_enclosed"])
def test_a_colour_bar_stands_beside_both_panels(name: str) -> None:
    figure = drawn(name)
    figure.draw_without_rendering()
    (bar,) = [axes.get_window_extent() for axes in figure.axes if axes.get_label() == "<colorbar>"]
    upper, below = figure.axes[0].get_window_extent(), lower(figure).get_window_extent()
    assert bar.y1 > upper.y0
    assert bar.y0 < below.y1
    assert (bar.y0 + bar.y1) / 2 == pytest.approx((upper.y1 + below.y0) / 2, abs=2)
    assert bar.height == pytest.approx(0.6 * (upper.y1 - below.y0), rel=0.02)
    assert bar.x0 > max(upper.x1, below.x1)


def test_a_colour_bar_leaves_both_panels_the_same_width() -> None:
    figure = drawn("heads_enclosed")
    upper, below = (axes.get_window_extent() for axes in (figure.axes[0], lower(figure)))
    assert (upper.x0, upper.x1) == pytest.approx((below.x0, below.x1), abs=0.5)


def test_seeds_share_a_colour_and_one_has_marks() -> None:
    axes = lower(drawn("seeded_enclosed"))
    assert len(plain_lines(axes)) == 4
    assert len({line.get_color() for line in plain_lines(axes)}) == len(marked(axes, "open-marks")) == 1
    assert len(seeded_enclosed().series) == 16


# --- words and marks


@pytest.mark.parametrize("name", DEEP)
def test_noise_and_truth_differ_without_colour(name: str) -> None:
    axes = lower(drawn(name))
    (dots,) = marked(axes, "returned-values")
    assert dots.get_linestyle() == "None"
    assert dots.get_marker() == "."
    assert all(str(line.get_linestyle()) != "None" for line in plain_lines(axes))
    assert all(to_hex(line.get_markerfacecolor()) == "#ffffff" for line in marked(axes, "open-marks"))
    assert all(to_hex(line.get_markerfacecolor()) != "#ffffff" for line in marked(axes, "filled-marks"))
    assert axes.texts[0].get_text().endswith("dots are what LAPACK returns")


@pytest.mark.parametrize("name", DEEP)
def test_no_curve_and_no_dot_of_the_panel_meets_its_words(name: str) -> None:
    figure = drawn(name)
    figure.draw_without_rendering()
    axes = lower(figure)
    for text in axes.texts:
        box = text.get_window_extent()
        for line in plain_lines(axes):
            assert not line.get_path().transformed(line.get_transform()).intersects_bbox(box, filled=False), text
        (dots,) = marked(axes, "returned-values")
        assert not any(box.contains(*place) for place in axes.transData.transform(points(dots))), text


def test_the_legend_counts_and_explains() -> None:
    assert legend(drawn("enclosed")).splitlines() == [
        "56 values above the error bound",
        "8 values below it: noise (6 in the lower panel alone)",
        "their true values, enclosed: lower panel",
    ]
    assert "1 value below it: noise\nits true value, enclosed: lower panel" in legend(drawn("shallow"))
    assert lower(drawn("enclosed")).texts[0].get_text().startswith("Indices 52 to 64: a line joins the true values")
    assert lower(drawn("orders")).texts[0].get_text().startswith("The last 10 values of each: lines join")


def test_the_marks_of_the_panel_are_explained_where_they_are() -> None:
    ours = {"Lower panel", "Pale bars", "Grey line"}
    shown = {name: {p.partition(":")[0] for p in reading_of("spectrum", drawn(name)).splitlines()} for name in TABLES}
    assert shown["enclosed"] & ours == {"Lower panel", "Grey line"}
    assert shown["partly"] & ours == ours
    assert shown["three_enclosed"] & ours == {"Lower panel"}, "a curve passes where the words would stand"
    assert not shown["causal"] & ours
    assert not shown["agreeing"] & ours


@pytest.mark.parametrize("name", DEEP)
def test_words_of_the_upper_panel_cover_no_dot_and_no_curve(name: str) -> None:
    figure = drawn(name)
    figure.draw_without_rendering()
    upper = figure.axes[0]
    lines = [line for line in upper.get_lines() if line.get_gid() not in ("dashed-line", "grey-dots")]
    dots = [line for line in upper.get_lines() if line.get_gid() == "grey-dots"]
    words = [text for text in upper.texts if "sigma_{" in text.get_text()]
    has_arrow = "arrow" in {text.get_gid() for text in upper.texts}
    assert len(words) + legend(figure).count("arrow: true") == has_arrow
    for text in words:
        box = text.get_window_extent().padded(1)
        assert not any(box.contains(*place) for mark in dots for place in upper.transData.transform(points(mark)))
        for line in lines:
            assert not line.get_path().transformed(line.get_transform()).intersects_bbox(box, filled=False)


def test_the_words_on_an_arrow_move_away_from_noise() -> None:
    upper = drawn("low_rank_enclosed").axes[0]
    said = [text for text in upper.texts if text.get_text()]
    arrow, noise = (next(text for text in said if part in text.get_text()) for part in ("lower panel", "arithmetic"))
    boxes = [text.get_window_extent() for text in (arrow, noise)]
    assert boxes[0].x0 > boxes[1].x1, "they share the row of other words"
    assert boxes[0].y0 < boxes[1].y1


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("enclosed", "Indices 52 to 64: a line joins"),
        ("three_enclosed", "matrix 0, indices "),
        ("one_of_two_enclosed", "causal, indices "),
        ("orders", "The last 10 values of each: "),
        ("heads_enclosed", "Indices "),
    ],
)
def test_the_heading_names_the_only_curve_of_several(name: str, heading: str) -> None:
    assert lower(drawn(name)).texts[0].get_text().startswith(heading)


def test_the_only_curve_of_several_of_one_label_is_named_by_what_sets_it_apart() -> None:
    parts = [result(attention(48, 0, causal=False), "a", number=i) for i in range(3)]
    parts[1] = result(attention(48, 1, causal=True, scale=8), "a", -60.0, number=1)
    table = deepened(joined([placed(each, seed=i) for i, each in enumerate(parts)]), 0.0, -60.0, 0.0)
    assert lower(draw("spectrum", table)).texts[0].get_text().startswith("a seed 1, indices ")


def test_a_hostile_name_in_the_heading_is_no_formula_and_leaves_it_room() -> None:
    table = three_enclosed()
    first = replace(table.matrices[0], label=r"$\foo$ " + "long " * 200)
    figure = draw("spectrum", replace(table, matrices=[first, *table.matrices[1:]]))
    figure.draw_without_rendering()
    heading = lower(figure).texts[0]
    assert heading.get_text().startswith(r"$\foo$ ")
    assert heading.get_text().endswith("dots are what LAPACK returns")
    assert not heading.get_parse_math()
    assert heading.get_window_extent().x1 < figure.bbox.x1
