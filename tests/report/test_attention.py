"""The figure of the attention matrix: it draws the weights that the table holds, and says what it leaves out."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

import rankscope as rs
from rankscope.errors import UsageError
from rankscope.records import Series, Table
from rankscope.report.figure import draw, reading_of, to_bytes
from rankscope.report.figures import attention
from rankscope.report.figures._picture import Colours, bar_ticks, colours_of, picture_of
from tests.report.canned import refused, table
from tests.report.readable import assert_readable, marks, words
from tests.report.synthetic import HOSTILE

QUICK: dict[str, Any] = {"measures": ["rank_numerical"], "pictures": True}


@cache
def tables(name: str) -> Table:
    """Results as an analysis gives them."""
    match name:
        case "one":
            return rs.analyze(rs.synthetic(n=200, d=16, mask="causal"), **QUICK).table
        case "four":
            return rs.compare(["causal", "bidirectional", "window:8", "prefix:20"], n=40, d=8, **QUICK).table
        case "seeds":
            return rs.compare(["causal", "bidirectional"], n=16, d=8, seed=[3, 4, 5], **QUICK).table
        case "heads":
            return rs.analyze(rs.synthetic(n=12, d=4, layers=2, heads=3, mask="causal"), **QUICK).table
        case "sizes":
            return rs.compare(["causal", "window:3"], n=[8, 16], d=[2, 4], **QUICK).table
        case "signed":
            return rs.compare(["causal"], kernel=["delta", "softmax"], n=24, d=4, **QUICK).table
        case "wide":
            return rs.compare(["causal"], n=300, d=8, queries=20, **QUICK).table
        case "single":
            return rs.analyze(np.eye(1), **QUICK).table
        case "zeros":
            return rs.analyze([np.zeros((3, 3)), np.ones((2, 5))], **QUICK).table
        case "many":
            return rs.analyze(np.random.default_rng(0).random((8, 20, 3, 3)), **QUICK).table
        case "hostile" | "hostile few":
            count = 4 if name == "hostile few" else len(HOSTILE)
            found = rs.analyze([np.random.default_rng(i).random((5, 5)) for i in range(count)], **QUICK).table
            labels = [replace(each, label=label) for each, label in zip(found.matrices, HOSTILE, strict=False)]
            return replace(found, matrices=labels)
    raise KeyError(name)


NAMES = (
    "one",
    "four",
    "seeds",
    "heads",
    "sizes",
    "signed",
    "wide",
    "single",
    "zeros",
    "many",
    "hostile",
    "hostile few",
)


@cache
def drawn(name: str) -> Figure:
    return draw("attention", tables(name))


def pictures(figure: Figure) -> list[Any]:
    return [image for axes in figure.axes for image in axes.get_images() if image.get_gid() == "picture"]


def weights_of(series: Series, found: Table) -> Any:
    columns = next(matrix.columns for matrix in found.matrices if matrix.id == series.matrix)
    return np.reshape(series.values, (-1, series.columns or 0)) * columns


@pytest.mark.parametrize("name", NAMES)
def test_no_words_overlap_and_none_are_cut(name: str) -> None:
    assert_readable(drawn(name))


def test_a_picture_shows_the_weights_as_multiples_of_uniform_attention() -> None:
    matrix = np.asarray(rs.synthetic(n=200, d=16, mask="causal"))
    [image] = pictures(drawn("one"))
    shown = image.get_array()
    starts = [k * 200 // 128 for k in range(129)]
    for row, column in ((0, 0), (5, 2), (100, 31), (127, 127)):
        block = matrix[starts[row] : starts[row + 1], starts[column] : starts[column + 1]]
        assert shown[row, column] == pytest.approx(200 * block.mean(), rel=1e-13)
    assert image.get_extent() == [0.5, 200.5, 200.5, 0.5]
    assert "means over blocks of up to 2 × 2" in words(drawn("one"))


def test_what_a_mask_hides_is_masked_and_explained() -> None:
    [image] = pictures(drawn("one"))
    hidden = np.ma.getmaskarray(image.get_array())
    assert hidden[0, 5]
    assert not hidden[5, 0]
    assert image.get_cmap().get_bad()[:3] == pytest.approx([1, 1, 1])
    assert "exactly zero" in words(drawn("one"))
    assert "White cells" in reading_of("attention", drawn("one"))
    whole = draw("attention", rs.compare("bidirectional", n=8, d=2, **QUICK).table)
    assert "exactly zero" not in words(whole)
    assert "White cells" not in reading_of("attention", whole)


def test_the_spectrum_stands_beside_each_picture() -> None:
    figure = drawn("four")
    curves = [line for axes in figure.axes for line in axes.get_lines() if line.get_gid() == "curve"]
    assert len(curves) == len(pictures(figure)) == 4
    for line, mask in zip(curves, ("causal", "bidirectional", "window:8", "prefix:20"), strict=True):
        values = np.linalg.svd(np.asarray(rs.synthetic(n=40, d=8, mask=mask)), compute_uv=False)
        shown = np.asarray(line.get_ydata(), dtype=float)
        known = np.isfinite(shown)
        assert known[:30].all()
        np.testing.assert_allclose(shown[known], (values / values[0])[known], atol=1e-13)
    assert "window:8 softmax" in words(figure)


def test_colours_span_what_is_common_and_the_bar_says_where_there_is_more() -> None:
    weights = np.geomspace(1e-9, 1.0, 10_000).reshape(100, 100)
    result = rs.analyze(weights, measures="rank_numerical", pictures=True).table
    found = picture_of(result.series[-1], result.matrices[0])
    colours = colours_of([found])
    assert colours.high == pytest.approx(100 * np.sort(weights.ravel())[-51])
    assert colours.low == pytest.approx(colours.high / 1e4)
    assert colours.extend == "both"
    flat = rs.analyze(np.full((4, 4), 0.25), **QUICK).table
    even = colours_of([picture_of(flat.series[-1], flat.matrices[0])])
    assert (even.low, even.high, even.extend) == (0.1, 1.0, "neither")


def test_negative_weights_have_colours_of_their_own() -> None:
    figure = drawn("signed")
    signed, positive = (image.get_array() for image in pictures(figure))
    assert signed.min() < 0 < positive.min()
    norms = [image.norm for image in pictures(figure)]
    assert norms[0].vmin == -norms[0].vmax < 0
    assert norms[0](0.0) == 0.5
    assert "Signed weights" in reading_of("attention", figure)
    assert "Signed weights" not in reading_of("attention", drawn("one"))


def test_heads_stand_by_layer_and_head() -> None:
    found, figure = tables("heads"), drawn("heads")
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("head", "layer")
    heads = [series for series in found.series if series.name == "attention" and series.over is None]
    assert len(pictures(figure)) == len(heads) == 6
    for image, series in zip(pictures(figure), heads, strict=True):
        left, _, _, top = image.get_extent()
        assert (int(top), int(left)) == (series.layer, series.head)
        np.testing.assert_array_equal(np.ma.getdata(image.get_array()), weights_of(series, found))
    assert "5 means and products are not shown" in words(figure)


def test_matrices_without_layers_are_named() -> None:
    assert len(pictures(drawn("sizes"))) == 8
    for n in (8, 16):
        for d in (2, 4):
            assert f"window:3 n {n} d {d}" in words(drawn("sizes")).replace("\n", " ")
    assert "seed 0 · softmax" in words(drawn("sizes")), "what all share stands above them once"


def test_names_of_small_pictures_keep_what_tells_them_apart() -> None:
    made: Any = {"n": 8, "d": [2, 4], "scale": [0.5, 2.0], **QUICK}
    figure = draw("attention", rs.compare(["causal & ~window:2", "bidirectional", "prefix:3 | window:2"], **made).table)
    said = [text.get_text() for text in figure.axes[0].texts if text.get_fontsize() == 6]
    assert len(said) == len(set(said)) == 12
    assert not any("…" in each for each in said)
    assert any("\n" in each for each in said), "two lines where one is too short"
    assert_readable(figure)


@pytest.mark.parametrize(
    ("names", "common", "rests"),
    [
        (["a softmax d 8", "b softmax d 9"], "softmax", ["a d 8", "b d 9"]),
        (["head 3 x", "head 4 x"], "x", ["head 3", "head 4"]),
        (["a b", "b a"], "", ["a b", "b a"]),
        (["same", "same"], "", ["same", "same"]),
        (["", "x"], "", ["", "x"]),
        (["mask 2 d 2", "kernel 3 d 2"], "", ["mask 2 d 2", "kernel 3 d 2"]),
    ],
)
def test_shared_words_are_left_out_but_for_those_of_numbers(names: list[str], common: str, rests: list[str]) -> None:
    assert attention.told_apart(names) == (common, rests)


def bar_of(figure: Figure) -> Any:
    (bar,) = [axes for axes in figure.axes if axes.get_ylabel() == "weight / uniform weight"]
    return bar


def test_one_bar_with_at_least_two_ticks_stands_beside_all_rows() -> None:
    for name in ("four", "one", "signed", "sizes", "hostile", "single"):
        bar = bar_of(drawn(name))
        low, high = sorted(bar.get_ylim())
        seen = [tick for tick in bar.get_yticks() if low <= tick <= high]
        assert len(seen) >= 2, name
    figure = drawn("four")
    pictured = [axes.get_position() for axes in figure.axes if axes.get_images()]
    height = max(each.y1 for each in pictured) - min(each.y0 for each in pictured)
    assert bar_of(figure).get_position().height > 0.8 * height


def test_ticks_of_a_bar_are_one_two_and_five_below_two_decades() -> None:
    assert bar_ticks(Colours(Normalize(), colormaps["cividis"], 0.3, 6.0, "both")) == [0.5, 1.0, 2.0, 5.0]
    assert bar_ticks(Colours(Normalize(), colormaps["cividis"], 0.003, 6.0, "both")) == [0.01, 0.1, 1.0]


def test_the_spectra_of_all_rows_have_one_range() -> None:
    spectra = [axes for axes in drawn("four").axes if any(line.get_gid() == "curve" for line in axes.get_lines())]
    assert len(spectra) == 4
    assert len({axes.get_ylim() for axes in spectra}) == 1
    low, high = spectra[0].get_ylim()
    for axes in spectra:
        (heights,) = [np.asarray(line.get_ydata(), float) for line in axes.get_lines() if line.get_gid() == "curve"]
        assert low < np.nanmin(heights) <= np.nanmax(heights) < high


def test_of_more_heads_than_have_room_the_first_are_shown() -> None:
    assert len(pictures(drawn("many"))) == 140
    assert "140 of 160 heads are shown" in words(drawn("many"))
    wide = rs.analyze([np.eye(2) * (i + 1) for i in range(150)], **QUICK).table
    assert "the first 144 of 150 matrices are shown" in words(draw("attention", wide))


def test_of_several_seeds_the_first_is_shown() -> None:
    assert len(pictures(drawn("seeds"))) == 2
    assert "of several seeds the first: 4 matrices are not shown" in words(drawn("seeds"))
    first = np.asarray(rs.synthetic(n=16, d=8, mask="bidirectional", seed=3))
    shown = [np.ma.getdata(image.get_array()) for image in pictures(drawn("seeds"))]
    assert any(np.allclose(each, 16 * first, rtol=1e-15) for each in shown)


def test_a_matrix_without_a_picture_is_counted_and_one_without_a_curve_says_why() -> None:
    bad = rs.analyze([np.eye(3), np.full((3, 3), np.nan)], **QUICK).table
    assert "1 of 2 matrices: no picture to draw" in words(draw("attention", bad))
    assert "every singular value is exactly" in words(drawn("zeros"))
    without = replace(bad, series=[series for series in bad.series if series.name == "attention"])
    assert "the singular values lie" in words(draw("attention", without))


def test_a_result_without_pictures_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"RS003.*without pictures.*--figure attention"):
        draw("attention", rs.analyze(np.eye(3), measures="hoyer").table)
    matrix, records = refused(0, "a")
    with pytest.raises(UsageError, match=r"RS003.*refused, RS110"):
        draw("attention", table(records, [matrix]))
    with pytest.raises(UsageError, match=r"RS003.*collapse"):
        draw("attention", rs.depth(n=4, d=2, layers=1).table)


def test_it_suits_results_of_matrices() -> None:
    for name in NAMES:
        assert attention.suits(tables(name)) == ["attention"], name
    assert attention.suits(rs.analyze(np.eye(3), measures="hoyer").table) == ["attention"], "judged by its kind"
    seeds = rs.compare(["causal"], n=2, d=1, seed=list(range(150)), measures="hoyer").table
    assert attention.suits(seeds) == ["attention"], "the first of 150 seeds"
    assert attention.suits(table([], [])) == attention.suits(rs.depth(n=4, d=2, layers=1).table) == []


def test_hostile_labels_are_shown_as_they_are() -> None:
    assert r"$\foo$ Ba$$in" in words(drawn("hostile"))
    assert r"$\foo$ Ba$$in" in words(drawn("hostile few"))
    assert "matrix 7" in words(drawn("hostile")), "a label that is empty"


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_the_same_table_gives_the_same_bytes(suffix: str) -> None:
    assert to_bytes(drawn("sizes"), suffix) == to_bytes(draw("attention", tables("sizes")), suffix)


def test_only_its_marks_are_explained() -> None:
    assert {"picture", "curve", "white-cells"} <= marks(drawn("one"))
    words = reading_of("attention", drawn("heads"))
    assert "Grid: " in words
    assert "Curve: " not in words
