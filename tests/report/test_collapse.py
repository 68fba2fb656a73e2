"""The figure of the collapse: it draws the residuals of the table, and nothing in it is cut off or means two things."""

import io
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

import rankscope as rs
from rankscope.errors import UsageError
from rankscope.records import Matrix, Record, Table
from rankscope.report.figure import draw, names, reading_of, to_bytes
from tests.report.canned import HOSTILE, matrix, record
from tests.report.test_figure import texts as all_texts

FLOOR = -14.7
"""log₁₀ of the floor of float64."""

DEEP = [-0.05, -0.5, -1.5, -4.5, -13.5, -40.5, -121.5]
STAYING = [-0.05, -0.06, -0.07, -0.06, -0.08, -0.07, -0.06]
HALVED = [-0.3 * layer for layer in range(7)]
BOTTOM = [-0.05, -0.5, -1.5, -4.5, -13.5, -15.5, -15.7]
"""What plain arithmetic gives where DEEP is true."""


def network(identity: int, label: str, mask: str | None = "causal", **fields: Any) -> Matrix:
    return matrix(identity, label, d=3, mask=mask, network={"layers": 6, "heads": 1}, **fields)


def curve(identity: int, values: Any, seed: int = 0, measure: str = "log10_residual") -> list[Record]:
    details = {"log10_floor": FLOOR} if measure == "log10_residual_naive" else {}
    return [
        record(measure, value, matrix=identity, layer=layer, seed=seed, details=details)
        for layer, value in enumerate(values)
    ]


def table_of(curves: dict[str, Any], plain: dict[str, Any] | None = None, **study: Any) -> Table:
    """A network for each label, whose last word is its mask."""
    made = [network(i, label, label.split()[-1]) for i, label in enumerate(curves)]
    rows = [each for i, values in enumerate(curves.values()) for each in curve(i, values)]
    for i, label in enumerate(curves):
        rows += curve(i, (plain or {}).get(label, []), measure="log10_residual_naive")
    return Table(study, made, rows, [])


def over_seeds(*values: list[Any]) -> Table:
    """One network, with the residuals of each seed."""
    rows = [each for i, listed in enumerate(values) for each in curve(i, listed, seed=i)]
    return Table({}, [network(i, "pure causal") for i in range(len(values))], rows, [])


@cache
def study(name: str) -> Table:
    """Results of small networks."""
    designs = ["pure", "skip", "mlp", "skip+mlp"]
    options: dict[str, dict[str, Any]] = {
        "one": {},
        "deep": {"layers": 12},
        "causal": {"mask": "causal", "layers": 12},
        "staying": {"skip": True},
        "seeds": {"seeds": range(3)},
        "grid": {"mask": ["bidirectional", "causal", "window:2"], "design": designs, "seeds": range(2)},
        "five masks": {"mask": ["bidirectional", "causal", "window:2", "prefix:3", "anticausal"]},
        "eight": {"mask": "causal", "design": designs, "norm": ["none", "pre"]},
        "long": {"mask": "causal & window:9 | (prefix:4 & ~dilated:3) | window:8 & ~causal | (anticausal & dilated:7)"},
        "long masks": {
            "mask": ["(prefix:4 & ~dilated:3) | window:8 & ~causal | causal", "causal"],
            "skip": [False, True],
        },
        "plan": {"plan": "layers"},
        "vanished": {"gain": 0.0},
        "one layer": {"layers": 1},
        "absolute": {"absolute": True, "layers": 6},
        "first": {"centre": "first", "layers": 6},
        "bfloat16": {"dtype": "bfloat16", "layers": 6},
        "other norm": {"measures": "log10_residual_linf"},
    }
    return rs.depth(**{"n": 12, "d": 3, "layers": 4, **options[name]}).table


MASKS = ["bidirectional", "causal", "window:2"]
STUDIES = ["one", "deep", "causal", "staying", "seeds", "grid", "five masks", "eight", "long", "long masks"]
STUDIES += ["plan", "vanished", "one layer", "absolute", "first", "bfloat16", "other norm"]


@cache
def drawn(name: str) -> Figure:
    return draw("collapse", study(name))


def collapse(table: Table) -> Figure:
    return draw("collapse", table)


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_visible()]


def lines(axes: Axes, gid: str = "curve") -> list[Line2D]:
    return [line for line in axes.get_lines() if line.get_gid() == gid]


def points(line: Line2D) -> dict[int, float]:
    """The height of a line at each layer, as log₁₀ of a residual."""
    x, y = (np.asarray(data, dtype=float) for data in line.get_data())
    return {int(layer): -float(value) for layer, value in zip(x, y, strict=True)}


def marks(figure: Figure) -> set[str]:
    return {str(artist.get_gid()) for artist in figure.findobj() if artist.get_gid()}


def texts(figure: Figure) -> list[Text]:
    """The words that are drawn: all but those of ticks beyond the ends of their axis."""
    beyond = set()
    for axes in panels(figure):
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            every = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            beyond |= {id(tick.label1) for tick in every if not low <= tick.get_loc() <= high}
    return [text for text in all_texts(figure) if id(text) not in beyond]


def bands(axes: Axes) -> list[Any]:
    """The bands below the floor of plain arithmetic."""
    return [found for found in axes.collections if found.get_gid() == "shaded-band"]


def above(axes: Axes) -> list[str]:
    """The words that stand beside a panel."""
    return [text.get_text() for text in axes.texts]


def facts(name: str) -> str:
    """What the networks of a study share, as the figure says it."""
    alone = " · mask bidirectional" if name == "one" else ""
    seeds = " · mean of 2 seeds, with their range" if name == "grid" else ""
    return f"n = 12 · d = 3 · layers = 4 · heads = 1{seeds}{alone}"


def corners(band: Any) -> list[tuple[float, float]]:
    """The corners of a band, as layers and log₁₀ of a residual."""
    return [(float(x), round(-float(y), 6)) for x, y in np.asarray(band.get_paths()[0].vertices)]


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in texts(figure))


def ticks(axes: Axes) -> list[str]:
    low, high = sorted(axes.get_ylim())
    major = axes.yaxis.get_major_ticks()
    return [tick.label1.get_text() for tick in major if low <= tick.get_loc() <= high]


def look(line: Line2D) -> tuple[Any, ...]:
    return line.get_color(), line.get_marker(), line.get_linestyle()


# ----------------------------------------------------------------------------------------------------------- the figure


def test_the_figure_is_in_the_catalogue() -> None:
    assert "collapse" in names()


@pytest.mark.parametrize(("name", "suffix"), [("one", "svg"), ("seeds", "pdf"), ("five masks", "png")])
def test_the_same_table_gives_the_same_bytes(name: str, suffix: str) -> None:
    assert to_bytes(drawn(name), suffix) == to_bytes(collapse(study(name)), suffix)


@pytest.mark.parametrize("name", ["one", "grid"])
def test_png_is_not_blank(name: str) -> None:
    image = Image.open(io.BytesIO(to_bytes(drawn(name), "png")))
    assert image.width == 1300
    assert np.asarray(image.convert("L")).min() < 128


def test_a_result_shows_it_unless_another_is_named() -> None:
    made = rs.depth(n=8, d=3, layers=3)
    assert marks(made.plot()) == marks(draw("collapse", made.table)) >= {"curve"}


@pytest.mark.parametrize("measure", ["token_cosine", "effective_rank"])
def test_a_result_without_residuals_is_refused(measure: str) -> None:
    with pytest.raises(UsageError, match="RS003"):
        collapse(rs.depth(n=8, d=3, layers=2, measures=measure).table)


def test_a_result_that_is_none_of_depth_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"RS003.*rankscope depth"):
        collapse(rs.analyze(np.eye(4)).table)


# ----------------------------------------------------------------------------------------------------------- the curves


def test_a_curve_is_the_residuals_of_its_network() -> None:
    [line] = lines(panels(drawn("deep"))[0])
    found = study("deep")["log10_residual"]
    assert isinstance(found, Table)
    assert points(line) == pytest.approx({each.layer: float(each) for each in found})


def test_a_dashed_line_is_what_plain_arithmetic_gives() -> None:
    figure = collapse(table_of({"pure causal": DEEP}, {"pure causal": BOTTOM}))
    [line] = lines(panels(figure)[0], "dashed-line")
    assert points(line) == pytest.approx(dict(enumerate(BOTTOM)))
    assert "plain arithmetic" in words(figure)
    without = collapse(table_of({"pure causal": DEEP}))
    assert "dashed-line" not in marks(without)
    assert "plain arithmetic" not in words(without)


@pytest.mark.parametrize("name", ["one", "absolute", "first"])
def test_plain_arithmetic_starts_where_the_truth_does(name: str) -> None:
    axes = panels(drawn(name))[0]
    [truth], plain = lines(axes), lines(axes, "dashed-line")
    assert all(points(line)[0] == pytest.approx(points(truth)[0], abs=1e-6) for line in plain)


def test_the_floor_is_a_band_to_the_bottom() -> None:
    figure = collapse(table_of({"pure causal": DEEP}, {"pure causal": BOTTOM}))
    axes = panels(figure)[0]
    [band] = bands(axes)
    edges = dict.fromkeys(range(7), FLOOR) | dict.fromkeys(axes.get_xlim(), FLOOR)
    bottom = round(-axes.get_ylim()[0], 6)
    assert set(corners(band)) == {(x, y) for x in edges for y in (FLOOR, bottom)}
    assert "below the rounding of float64" in words(figure)


def test_the_floor_of_each_layer_is_its_own_and_the_highest_of_the_panel() -> None:
    found: dict[str, Table] = {}
    for name, floors in {"low": [-15.0, -14.0, -13.0], "high": [-14.5, -14.5, -14.5]}.items():
        rows = [
            record("log10_residual_naive", -1.0, matrix=0, layer=layer, seed=0, details={"log10_floor": floor})
            for layer, floor in enumerate(floors)
        ]
        found[name] = Table({}, [network(0, f"{name} causal")], [*curve(0, [-0.1, -9.0, -18.0]), *rows], [])
    other = [replace(row, matrix=1) for row in found["high"].records]
    both = Table({}, [network(0, "low causal"), network(1, "high causal")], [*found["low"].records, *other], [])
    for table, expected in ((found["low"], [-15, -14, -13]), (both, [-14.5, -14, -13])):
        [axes] = panels(collapse(table))
        [band] = bands(axes)
        bottom = round(-axes.get_ylim()[0], 6)
        upper = {x: y for x, y in corners(band) if y != bottom}
        assert [upper[layer] for layer in range(3)] == expected


@pytest.mark.parametrize(("difference", "seen"), [(0.05, False), (0.2, True), (-0.2, True)])
def test_plain_arithmetic_is_drawn_only_where_it_can_be_seen_beside_the_curve(difference: float, seen: bool) -> None:
    plain = [*HALVED[:-1], HALVED[-1] + difference]
    figure = collapse(table_of({"pure causal": HALVED}, {"pure causal": plain}))
    assert ("dashed-line" in marks(figure)) == seen
    assert ("plain arithmetic" in words(figure)) == seen


def test_there_is_no_band_where_no_curve_comes_near_the_floor() -> None:
    figure = collapse(table_of({"skip causal": STAYING}, {"skip causal": STAYING}))
    assert "shaded-band" not in marks(figure)
    assert "rounding" not in words(figure)


def test_a_fitted_factor_is_a_dotted_line_and_an_order_is_said() -> None:
    figure = collapse(table_of({"pure causal": HALVED}))
    [line] = lines(panels(figure)[0], "dotted-line")
    assert points(line) == pytest.approx({layer: HALVED[layer] for layer in (3, 4, 5, 6)}, abs=1e-9)
    assert "×0.5012 a layer (layers 3 to 6)" in words(figure)
    deep = collapse(table_of({"pure causal": DEEP}))
    assert "dotted-line" not in marks(deep)
    assert "order 3.00 (layers 3 to 6)" in words(deep)


def test_a_fit_is_drawn_and_said_with_one_panel_alone() -> None:
    figure = collapse(table_of({"pure causal": HALVED, "pure window:2": DEEP}))
    assert "dotted-line" not in marks(figure)
    assert "a layer" not in words(figure)
    assert "order" not in words(figure)
    both = collapse(table_of({"pure causal": HALVED, "skip causal": DEEP}))
    assert len(lines(panels(both)[0], "dotted-line")) == 1
    assert "pure: ×0.5012 a layer (layers 3 to 6)" in words(both)
    assert "skip: order 3.00 (layers 3 to 6)" in words(both)


def test_seeds_that_end_far_apart_have_no_fit() -> None:
    figure = collapse(over_seeds([-0.2 * layer for layer in range(7)], [-2.0 * layer for layer in range(7)]))
    assert "dotted-line" not in marks(figure)
    assert "a layer" not in words(figure)


def test_a_curve_that_is_covered_is_seen_on_both_sides() -> None:
    same = table_of({"pure causal": HALVED, "mlp causal": HALVED, "skip causal": HALVED})
    found = lines(panels(collapse(same))[0])
    widths, sizes = [line.get_linewidth() for line in found], [line.get_markersize() for line in found]
    assert len(found) == 3
    for earlier, later, large, small in zip(widths, widths[1:], sizes, sizes[1:], strict=False):
        assert earlier >= later + 0.5
        assert large >= small + 1


def test_the_legend_says_where_exponents_are_log_scaled() -> None:
    note = "exponents beyond 10⁻¹ log-scaled"
    assert note in words(drawn("deep"))
    assert note not in words(drawn("causal"))


def test_only_the_marks_that_there_are_are_explained() -> None:
    def explained(figure: Figure) -> set[str]:
        return {paragraph.partition(":")[0] for paragraph in reading_of("collapse", figure).splitlines()}

    assert explained(collapse(table_of({"skip causal": STAYING}))) == {"Curve"}
    assert explained(collapse(table_of({"pure causal": HALVED}))) == {"Curve", "Dotted line"}
    floored = collapse(table_of({"pure causal": DEEP}, {"pure causal": BOTTOM}))
    assert explained(floored) == {"Curve", "Dashed line", "Shaded band"}


# ---------------------------------------------------------------------------------------------------------------- seeds


def test_seeds_are_their_mean_with_a_band_of_their_range() -> None:
    figure = collapse(over_seeds([-0.1, -1.0, -2.0], [-0.2, -3.0, -6.0]))
    axes = panels(figure)[0]
    [line], [band] = lines(axes), axes.collections
    assert points(line) == pytest.approx({0: -0.15, 1: -2, 2: -4})
    assert {(0, -0.1), (0, -0.2), (1, -1.0), (1, -3.0), (2, -2.0), (2, -6.0)} <= set(corners(band))
    assert "mean of 2 seeds, with their range" in words(figure)


def test_one_seed_has_no_band() -> None:
    figure = drawn("one")
    assert len(panels(figure)[0].collections) == 0
    assert "seeds" not in words(figure)


def test_a_band_ends_where_a_seed_is_lost_as_its_mean_does() -> None:
    axes = panels(collapse(over_seeds([-0.1, -1.0, -2.0, -3.0], [-0.2, -3.0, None, None])))[0]
    [line], [band] = lines(axes), axes.collections
    assert max(points(line)) == 1
    assert max(layer for layer, _ in corners(band)) == 1


# ----------------------------------------------------------------------------------------------------------- the panels


def test_each_mask_has_a_panel_with_its_name() -> None:
    found = panels(drawn("grid"))
    assert [mask in above(axes) for axes, mask in zip(found, MASKS, strict=True)] == [True, True, True]
    assert [len(set(MASKS) & set(above(axes))) for axes in found] == [1, 1, 1]
    assert [len(lines(axes)) for axes in found] == [4, 4, 4]


@pytest.mark.parametrize("name", ["one", "grid", "five masks"])
def test_the_title_and_what_is_common_stand_once_above_the_first_panel(name: str) -> None:
    first, *others = panels(drawn(name))
    assert [text for text in above(first) if text.strip()][-2:] == ["Rank collapse with depth", facts(name)]
    assert all("Rank" not in text and "n = " not in text for axes in others for text in above(axes))
    assert drawn(name).get_suptitle() == ""
    assert {axes.get_title(loc="left") + axes.get_title() for axes in panels(drawn(name))} == {""}
    heights = {text.get_text(): text.get_window_extent().y0 for text in first.texts}
    assert heights["Rank collapse with depth"] > heights[facts(name)] > first.get_window_extent().y1


def test_five_masks_stand_in_two_rows() -> None:
    found = panels(drawn("five masks"))
    assert len(found) == 5
    assert len({round(axes.get_position().y0, 3) for axes in found}) == 2
    assert drawn("five masks").get_figheight() > drawn("grid").get_figheight()


def test_panels_share_their_axes() -> None:
    for name in ("grid", "five masks"):
        assert len({axes.get_ylim() for axes in panels(drawn(name))}) == 1
        assert len({axes.get_xlim() for axes in panels(drawn(name))}) == 1


def test_the_lowest_panel_of_each_column_numbers_the_layers() -> None:
    found = panels(drawn("five masks"))
    assert [axes.get_xlabel() for axes in found] == ["", "", *["layers passed"] * 3]


def test_each_network_stands_once_in_the_legend_without_its_mask() -> None:
    legend = panels(drawn("grid"))[0].get_legend()
    assert legend is not None
    assert [axes.get_legend() for axes in panels(drawn("grid"))[1:]] == [None, None]
    said = [text.get_text() for text in legend.get_texts()]
    assert [name for name in said if name in ("pure", "skip", "mlp", "skip+mlp")] == ["pure", "skip", "mlp", "skip+mlp"]
    assert not any("causal" in name for name in said)


def test_a_network_looks_the_same_in_every_panel() -> None:
    first, *others = panels(drawn("grid"))
    assert all([look(line) for line in lines(axes)] == [look(line) for line in lines(first)] for axes in others)


def test_a_network_that_is_missing_in_a_panel_does_not_change_how_others_look() -> None:
    labels = ["pure causal", "skip causal", "pure window:2", "skip window:2"]
    table = table_of(dict(zip(labels, [HALVED, STAYING, [None] * 7, STAYING], strict=True)))
    causal, window = panels(collapse(table))
    assert look(lines(window)[0]) == look(lines(causal)[1])
    assert "1 network" in words(collapse(table))


@pytest.mark.parametrize("count", [2, 8, 12, 16])
def test_networks_of_a_panel_look_different(count: int) -> None:
    found = lines(panels(collapse(table_of({f"a{i} causal": STAYING for i in range(count)})))[0])
    assert len({look(line) for line in found}) == count
    assert [line.get_markerfacecolor() == "white" for line in found] == [i >= 8 for i in range(count)]


def test_a_plan_has_its_name() -> None:
    assert "pure plan layers" in words(drawn("plan"))


# ------------------------------------------------------------------------------------------------------------- the axes


def test_near_residuals_stand_on_a_scale_of_powers() -> None:
    axes = panels(drawn("causal"))[0]
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "residuals fall downwards"
    assert "$10^{-1}$" in ticks(axes)


def test_far_residuals_stand_on_a_scale_of_powers_of_powers() -> None:
    axes = panels(drawn("deep"))[0]
    assert axes.get_yscale() == "symlog"
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert ticks(axes)[:4] == ["1", "$10^{-1}$", "$10^{-10}$", "$10^{-100}$"]


@pytest.mark.parametrize("lowest", [-0.01, -3.0, -200.0, -5e9, -5e10, -5e14])
def test_ticks_are_powers_of_ten_by_a_plain_exponent(lowest: float) -> None:
    found = ticks(panels(collapse(table_of({"pure causal": [0.0, lowest / 3, lowest]})))[0])
    assert len(found) >= 3
    assert [tick for tick in found if "e" in tick] == []


@pytest.mark.parametrize("name", STUDIES)
def test_layers_are_whole_numbers(name: str) -> None:
    for axes in panels(drawn(name)):
        low, high = axes.get_xlim()
        found = [float(x) for x in axes.get_xticks() if low <= x <= high]
        assert all(x == round(x) for x in found)


@pytest.mark.parametrize("name", STUDIES)
def test_every_mark_is_whole(name: str) -> None:
    for axes in panels(drawn(name)):
        box = axes.get_window_extent()
        for line in lines(axes):
            radius = line.get_markersize() / 2 * axes.figure.dpi / 72
            heights = axes.transData.transform(np.column_stack(line.get_data()))[:, 1]
            assert heights.max() + radius <= box.y1 + 0.5
            assert heights.min() - radius >= box.y0 - 0.5


def test_the_axis_says_what_is_shown() -> None:
    assert panels(drawn("one"))[0].get_ylabel() == r"residual  $\|X-1\bar{x}^\top\|_{F}\,/\,\|X\|_{F}$"
    assert panels(drawn("absolute"))[0].get_ylabel() == r"residual  $\|X-1\bar{x}^\top\|_{F}$"
    assert panels(drawn("first"))[0].get_ylabel() == r"residual  $\|X-1x_1^\top\|_{F}\,/\,\|X\|_{F}$"
    assert panels(drawn("other norm"))[0].get_ylabel() == (
        r"residual  $\|X-1\bar{x}^\top\|_{\infty}\,/\,\|X\|_{\infty}$"
    )


@pytest.mark.parametrize(
    ("measure", "study", "label"),
    [
        ("log10_residual", {"centre": "minimiser"}, r"residual  $\|X-1x^\top\|_{F}\,/\,\|X\|_{F}$"),
        ("log10_residual_l1", {"centre": "mean", "absolute": True}, r"residual  $\|X-1\bar{x}^\top\|_{1}$"),
        ("log10_residual_spectral", {"centre": "first", "absolute": True}, r"residual  $\|X-1x_1^\top\|_{2}$"),
        ("log10_residual_composite", {}, r"residual  $\|X-1x^\top\|_{1,\infty}\,/\,\|X\|_{1,\infty}$"),
        (
            "log10_residual",
            {"studies": [{"centre": "mean", "absolute": True}, {"centre": "first", "absolute": True}]},
            r"residual  $\|X-1x^\top\|_{F}$",
        ),
        ("log10_rank1_residual", {}, "distance from rank one, relative"),
    ],
)
def test_the_axis_says_which_norm_and_centre(measure: str, study: dict[str, Any], label: str) -> None:
    figure = collapse(Table(study, [network(0, "pure causal")], curve(0, HALVED, measure=measure), []))
    assert panels(figure)[0].get_ylabel() == label


@pytest.mark.parametrize("name", ["first", "other norm"])
def test_the_axis_does_not_call_something_else_the_residual_from_the_mean(name: str) -> None:
    label = panels(drawn(name))[0].get_ylabel()
    assert r"\bar{x}^\top\|_F" not in label
    assert not label.startswith("log10"), "the ticks are powers, not exponents"


# ------------------------------------------------------------------------------------------------------------ the words


@pytest.mark.parametrize("name", STUDIES)
def test_no_words_overlap_and_none_are_cut(name: str) -> None:
    figure = drawn(name)
    figure.draw_without_rendering()
    boxes = {text: text.get_window_extent() for text in texts(figure)}
    for text, box in boxes.items():
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        across, along = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, along) < 2, f"{one} and {other}"


def test_one_panel_says_what_all_networks_share() -> None:
    said = words(drawn("eight"))
    assert "Rank collapse with depth" in said
    assert "n = 12 · d = 3 · layers = 4 · heads = 1 · mask causal" in said
    assert "skip+mlp pre-norm" in said
    assert "n = 12 · d = 3 · layers = 4 · heads = 1 · mean of 2 seeds, with their range" in words(drawn("grid"))


def is_safe(figure: Figure) -> bool:
    """Whether all words are inside the figure, printable, and no formulas that came from data."""
    boxes = [text.get_window_extent() for text in texts(figure)]
    whole = all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
    formulas = [text for text in texts(figure) if "foo" in text.get_text() and text.get_parse_math()]
    return whole and not {c for c in words(figure) if not c.isprintable()} - {"\n"} and not formulas


@pytest.mark.parametrize("masks", [False, True])
def test_any_label_can_be_drawn(masks: bool) -> None:
    labels = (
        list(HOSTILE.values()) if not masks else [HOSTILE[name] for name in ("markup", "escape", "long", "chinese")]
    )
    made = [network(i, f"a {label}", label if masks else "causal") for i, label in enumerate(labels)]
    figure = collapse(Table({}, made, [each for i in range(len(made)) for each in curve(i, STAYING)], []))
    assert is_safe(figure)
    assert "layer[/]$\\foo$=cmd" in words(figure)


@pytest.mark.parametrize("name", ["long", "latex", "direction", "empty"])
def test_the_label_of_an_only_network_can_be_anything(name: str) -> None:
    figure = collapse(Table({}, [network(0, HOSTILE[name], HOSTILE[name])], curve(0, DEEP), []))
    assert is_safe(figure)
