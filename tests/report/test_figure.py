"""Figures: they are whole files, they say what they must, nothing in them overlaps, and their bytes repeat."""

import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from rankscope.analyzer.analyze import LONGEST_SERIES
from rankscope.errors import UsageError
from rankscope.records import Guarantee, Matrix, Record, Table
from rankscope.report import figure as catalogue
from rankscope.report.figure import draw, help_of, names, printable, reading_of, shortened, to_bytes, visible
from rankscope.report.figures import _curve
from tests.report.synthetic import HOSTILE, TABLES, attention, guessed, joined, result, zero


@cache
def drawn(name: str) -> Figure:
    return draw("spectrum", TABLES[name]())


def texts(figure: Figure) -> list[Text]:
    off = {
        id(text)
        for axes in figure.axes
        if not axes.axison
        for axis in (axes.xaxis, axes.yaxis)
        for text in axis.findobj()
    }
    found = [text for text in figure.findobj(Text) if id(text) not in off and isinstance(text, Text)]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def words(name: str) -> str:
    return "\n".join(text.get_text() for text in texts(drawn(name)))


# --- the catalogue


def test_every_figure_has_a_name_and_a_help() -> None:
    assert names() == sorted(path.stem.replace("_", "-") for path in catalogue.FOLDER.glob("[a-z]*.py"))
    for name in names():
        assert help_of(name).endswith(".")
        assert reading_of(name)


def test_an_unknown_figure_is_an_error_that_names_the_nearest() -> None:
    for use in (help_of, lambda name: draw(name, TABLES["one"]())):
        with pytest.raises(UsageError, match=r"RS001.*Did you mean 'spectrum'"):
            use("spectra")
    with pytest.raises(UsageError, match="RS001"):
        help_of("../spectrum")


def test_an_unknown_format_is_an_error() -> None:
    with pytest.raises(UsageError, match="RS002"):
        to_bytes(drawn("one"), ".bmp")


@pytest.mark.parametrize("use", ["", "help_of('spectrum')", "draw('spectrum', Table({}, [], [], []))"])
def test_only_drawing_imports_matplotlib(use: str) -> None:
    program = f"""
import sys
from rankscope.records import Table
from rankscope.report.figure import draw, help_of, names
from rankscope.report import document
names(); {use or "None"}
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment()
    )
    assert output.stdout.split() == ["True" if "draw(" in use else "False", "False"]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **more}


# --- files


@pytest.mark.parametrize("name", ["causal", "three", "heads", "zero"])
def test_png_is_not_blank(name: str) -> None:
    image = Image.open(io.BytesIO(to_bytes(drawn(name), "png")))
    assert image.width == 1300
    assert np.asarray(image.convert("L")).min() < 128


@pytest.mark.parametrize("name", ["causal", "heads", "hostile", "long_label", "nothing"])
def test_svg_is_inert(name: str) -> None:
    root = ElementTree.fromstring(to_bytes(drawn(name), ".svg"))
    for element in root.iter():
        assert element.tag.rpartition("}")[2] not in ("script", "foreignObject", "image", "a")
        for key, value in element.attrib.items():
            assert not key.rpartition("}")[2].startswith("on")
            assert not key.endswith("href") or value.startswith("#")
            assert not re.search(r"url\((?!#)", value)


@pytest.mark.parametrize("name", ["causal", "hostile", "nothing"])
def test_pdf_is_one_page_with_real_fonts(name: str) -> None:
    content = to_bytes(drawn(name), "pdf")
    assert content.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", content)) == 1
    assert b"/Type3" not in content
    assert b"CreationDate" not in content


def test_the_same_table_gives_the_same_bytes() -> None:
    again = draw("spectrum", TABLES["three"]())
    first = {suffix: to_bytes(drawn("three"), suffix) for suffix in ("png", "svg", "pdf")}
    for suffix in ("pdf", "svg", "png"):
        assert first[suffix] == to_bytes(drawn("three"), suffix), "saved twice"
        assert first[suffix] == to_bytes(again, suffix), "drawn twice"


def test_another_process_gives_the_same_bytes() -> None:
    program = """
import hashlib
from rankscope.report.figure import draw, to_bytes
from tests.report.synthetic import three
figure = draw("spectrum", three())
print([hashlib.sha256(to_bytes(figure, suffix)).hexdigest() for suffix in ("png", "svg", "pdf")])
"""
    command = [sys.executable, "-c", program]
    runs = [subprocess.run(command, capture_output=True, check=True, env=environment(PYTHONHASHSEED=s)) for s in "12"]
    assert runs[0].stdout == runs[1].stdout != b""


# --- what is drawn


@pytest.mark.parametrize("name", TABLES)
def test_no_words_overlap_and_none_are_cut(name: str) -> None:
    figure = drawn(name)
    figure.draw_without_rendering()  # saving it at another resolution has moved the words
    boxes = {text: text.get_window_extent() for text in texts(figure)}
    for text, box in boxes.items():
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        across, along = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, along) < 2, f"{one} and {other}"


def test_one_matrix_says_all() -> None:
    said = words("causal")
    assert "causal, 64 × 64" in said
    assert "d = 16 · scale 1 · float64" in said
    assert "exact rank 64 (proved) · numerical rank 62 (estimated) · effective rank 12.34 (estimated)" in said
    assert "tolerance (rule numpy): numerical rank 62 of 64" in said
    assert "below the error bound of the arithmetic: noise" in said
    assert "= $10^{−40.2}$, far below this axis" in said
    assert "62 values above the error bound" in said
    assert "2 values below it: noise" in said


def test_an_estimate_is_not_called_true() -> None:
    assert r"$\sigma_{\min}$ ≈ $10^{−40.2}$, far below this axis" in words("estimated")
    assert r"$\sigma_{\min}$ of all 72 matrices ≈ $10^{−101.0}$ to $10^{−30.0}$" in words("estimated_heads")
    three = words("estimated_of_three")
    assert r"$\sigma_{\min}$ of all 3 matrices, far below this axis" in three
    assert "head 1: numerical rank 62 of 64, log₁₀ σₘᵢₙ ≈ −41.0" in three
    for number, depth in ((0, "−40.0"), (2, "−42.0")):
        assert re.search(rf"head {number}: numerical rank \d+ of 64, true log₁₀ σₘᵢₙ = {depth}", three)
    assert [said.count("true") for said in (words("estimated"), words("estimated_heads"), three)] == [0, 0, 2]
    crowded = TABLES["tolerance_in_noise"]()
    for table, said in ((crowded, "true log₁₀ σₘᵢₙ = −40.2"), (guessed(crowded, 0), "log₁₀ σₘᵢₙ ≈ −40.2")):
        figure = draw("spectrum", table)
        assert f"arrow: {said}, far below" in "\n".join(text.get_text() for text in texts(figure))


@pytest.mark.parametrize("guarantee", ["proved", "enclosed"])
def test_a_smallest_value_that_is_no_estimate_is_called_true(guarantee: Guarantee) -> None:
    table = TABLES["causal"]()
    records = [replace(record, guarantee=guarantee) for record in table.records]
    said = "\n".join(text.get_text() for text in texts(draw("spectrum", replace(table, records=records))))
    assert r"true $\sigma_{\min}$ = $10^{−40.2}$, far below this axis" in said


def test_noise_is_apart_from_the_curve_and_the_axis_ends_below_the_floor() -> None:
    axes = drawn("causal").axes[0]
    (bound,) = {error / TABLES["causal"]().series[0].values[0] for error in TABLES["causal"]().series[0].errors}
    curve, dots = axes.get_lines()[:2]
    heights = np.asarray(curve.get_ydata(), dtype=float)
    assert np.nanmin(heights) > bound
    assert np.isnan(heights[-2:]).all()
    assert dots.get_linestyle() == "None"
    assert np.all(np.asarray(dots.get_ydata(), dtype=float) <= bound)
    assert bound / 1e5 < axes.get_ylim()[0] < bound / 100


def test_a_floor_far_below_is_named_instead_of_drawn() -> None:
    said = words("bidirectional")
    assert drawn("bidirectional").axes[0].get_ylim()[0] > 1e-8
    assert "error bound 3.6·10⁻¹⁵, below this axis" in said
    assert "tolerance 1.4·10⁻¹⁴ (rule numpy), below this axis: numerical rank 64 of 64" in said


def test_some_matrices_are_told_apart_by_more_than_colour() -> None:
    said = words("three")
    assert "Singular values of 3 matrices" in said
    assert "matrix 0: numerical rank 62 of 64, true log₁₀ σₘᵢₙ = −40.2" in said
    assert "matrix 2: numerical rank 48 of 48" in said
    assert len(drawn("three").axes[0].get_lines()) == 5, "three curves, their noise, one line for tolerances that agree"
    lines = drawn("three").axes[0].get_lines()[:3]
    assert len({str(line.get_linestyle()) for line in lines}) == 3
    assert len({line.get_marker() for line in lines}) == 3


def test_many_heads_are_coloured_by_layer() -> None:
    axes, bar = drawn("heads").axes
    assert len(axes.collections[0].get_paths()) == 72
    assert bar.get_ylabel() == "layer"
    assert "72 spectra, coloured by layer" in words("heads")
    assert "true $\\sigma_{\\min}$ of all 72 matrices = $10^{−101.0}$ to $10^{−30.0}$" in words("heads")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("without_values", "this result holds no singular values"),
        ("nothing", "this result holds no singular values"),
        ("zero", "every singular value is exactly 0"),
        ("low_rank", "56 values exactly 0: not on this axis"),
        ("leading", "only the leading 20 of 64 values are known"),
        ("coarse_tolerance", "tolerance (rule storage): numerical rank 62 of 64"),
        ("deep_noise", "2 values below it and below this axis: noise"),
        ("refused", "refused, RS110: NaN in <script>"),
        ("all_refused", "and 5 more without a curve"),
        ("empty", "a matrix of 0 × 0 has no singular values"),
        ("mixed", "Singular values of 2 of 4 matrices, 24 × 24"),
        ("mixed", "2 of 4 matrices: no value to draw"),
        ("two_subjects", "exact rank of the scores ≤ 64 (proved)"),
        ("two_subjects", "numerical rank 64 (estimated) · effective rank 12.34 (estimated)"),
        ("two_subjects", "float64 · seed 7"),
        ("seeded", "float64 · seeds 0 to 3"),
    ],
)
def test_what_is_missing_is_said(name: str, expected: str) -> None:
    assert expected in words(name)


@pytest.mark.parametrize("name", TABLES)
def test_no_line_strikes_words_through(name: str) -> None:
    figure = drawn(name)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    drawn_lines = [line for line in axes.get_lines() if line.get_gid() == "dashed-line"]
    heights = [float(axes.transData.transform((1, float(np.ravel(line.get_ydata())[0])))[1]) for line in drawn_lines]
    edges = [edge for patch in axes.patches for edge in (patch.get_window_extent().y0, patch.get_window_extent().y1)]
    for text in axes.texts:
        if text.get_text():
            box = text.get_window_extent()
            assert not any(box.y0 < height < box.y1 for height in (*heights, *edges)), text


@pytest.mark.parametrize("name", TABLES)
def test_no_curve_runs_through_the_band_of_noise(name: str) -> None:
    axes = drawn(name).axes[0]
    tops = [patch.get_window_extent().y1 for patch in axes.patches if patch.get_gid() == "shaded-band"]
    top = max((float(axes.transData.inverted().transform((0, height))[1]) for height in tops), default=0.0)
    solid = [line for line in axes.get_lines() if line.get_gid() not in ("grey-dots", "dashed-line")]
    for line in solid:
        heights = np.asarray(line.get_ydata(), dtype=float)
        assert not (heights < top * (1 - 1e-9)).any()


def test_the_band_of_several_matrices_is_noise_of_all() -> None:
    assert "below every error bound: noise" in words("loose")
    largest = [max(series.values) for series in TABLES["loose"]().series]
    (band,) = [patch for patch in drawn("loose").axes[0].patches if patch.get_gid() == "shaded-band"]
    least = min(10.0 ** (i - 14) / size for i, size in enumerate(largest))
    top = drawn("loose").axes[0].transData.inverted().transform((0, band.get_window_extent().y1))[1]
    assert top == pytest.approx(least, rel=1e-6)


def test_many_tolerances_are_one_band_with_one_label() -> None:
    axes = drawn("loose").axes[0]
    assert [patch.get_gid() for patch in axes.patches].count("light-band") == 1
    assert not [line for line in axes.get_lines() if line.get_gid() == "dashed-line"]
    assert words("loose").count("tolerances ") == 1
    assert re.search(r"tolerances [\d.]+·10⁻¹⁴ to [\d.]+·10⁻⁹ \(rule numpy\)", words("loose"))


def test_means_and_products_have_their_own_curves_and_no_part_in_the_median() -> None:
    axes = drawn("stacked").axes[0]
    assert len(axes.collections[0].get_paths()) == 16
    said = words("stacked")
    assert "16 heads, coloured by layer" in said
    assert "median of the 16 heads" in said
    for name in ("mean over 8 heads of layer 0", "mean over 8 heads of layer 1", "product over 2 layers"):
        assert f"{name}: numerical rank 32 of 32" in said
    table = TABLES["stacked"]()
    spectra = [np.asarray(series.values) / max(series.values) for series in table.series[:16]]
    (median,) = [line for line in axes.get_lines() if line.get_color() == "black"]
    assert np.asarray(median.get_ydata(), dtype=float)[:20] == pytest.approx(np.median(spectra, axis=0)[:20])
    assert len({line.get_color() for line in axes.get_lines() if line.get_linewidth() == 1.6}) == 3


def said_of(table: Table) -> str:
    return "\n".join(text.get_text() for text in texts(draw("spectrum", table)))


def kinds(*made: dict[str, Any], **common: Any) -> Table:
    """A matrix of 12 × 12 for each of these traits."""
    parts = [result(attention(12, i, causal=False), f"number {i}", number=i) for i in range(len(made))]
    return joined(
        [
            replace(part, matrices=[replace(part.matrices[0], **common, **traits)])
            for part, traits in zip(parts, made, strict=True)
        ]
    )


def families(table: Table) -> list[Any]:
    return [each for each in draw("spectrum", table).axes[0].collections if each.get_gid() == "curve"]


def test_many_spectra_have_the_colour_of_the_first_trait_that_tells_them_apart() -> None:
    table = kinds(*({"kernel": k, "mask": m} for k in ("linear", "softmax") for m in ("a", "b", "c", "d", "e")))
    said, drawn_ = said_of(table), families(table)
    for place, kernel in enumerate(("linear", "softmax")):
        assert f"{kernel}: 5 spectra, numerical rank 12 of 12" in said
        assert len(drawn_[place].get_paths()) == 5
        own = [np.asarray(path.vertices)[:, 1] for path in drawn_[place].get_paths()]
        spectra = [np.asarray(each.values) / max(each.values) for each in table.series[5 * place : 5 * place + 5]]
        np.testing.assert_allclose(own, spectra, rtol=1e-14)
    looks = {(to_rgb(each.get_colors()[0]), str(each.get_linestyle())) for each in drawn_}
    assert len({colour for colour, _ in looks}) == len({dash for _, dash in looks}) == 2
    assert "median" not in said, "it would be one over kernels"
    masks = kinds(*({"kernel": f"k{i}", "mask": "ab"[i % 2]} for i in range(10)))
    assert "b: 5 spectra" in said_of(masks), "ten kernels are too many for colours"
    scales = kinds(*({"scale": 0.5 * (1 + i % 3)} for i in range(9)))
    assert "scale 1.5: 3 spectra" in said_of(scales)
    some = kinds(*({"position": "rope" if i % 2 else None} for i in range(9)))
    assert "no position: 5 spectra" in said_of(some)


def test_spectra_that_nothing_tells_apart_are_grey_and_without_a_median_of_unlike_ones() -> None:
    unlike = kinds(*({} for _ in range(9)))
    (lines,) = families(unlike)
    assert {tuple(colour) for colour in lines.get_colors()} == {(*to_rgb("#9d9d9d"), 1.0)}
    assert "9 spectra" in said_of(unlike)
    assert "median" not in said_of(unlike)
    alike = replace(unlike, matrices=[replace(each, label="one kind") for each in unlike.matrices])
    assert "their median" in said_of(alike)
    heads = replace(unlike, series=[replace(each, head=i) for i, each in enumerate(unlike.series)])
    assert "their median" in said_of(heads), "heads of one stack"


def test_many_kinds_with_seeds_are_bands_in_the_colour_of_their_trait() -> None:
    table = kinds(*({"mask": "ab"[i % 2], "scale": 1.0 + i // 6} for i in range(36)), label="x")
    seeds = [i // 2 % 3 for i in range(36)]
    series = [replace(each, seed=seed) for each, seed in zip(table.series, seeds, strict=True)]
    records = [replace(each, seed=seeds[each.matrix]) for each in table.records]
    table = replace(table, series=series, records=records)
    figure = draw("spectrum", table)
    bands = [each for each in figure.axes[0].collections if each.get_gid() == "pale-band"]
    assert len(bands) == 12
    assert "a: 18 spectra as 6 bands over seeds with medians, numerical rank 12 of 12" in said_of(table)
    curves = [line for line in figure.axes[0].get_lines() if line.get_gid() == "curve"]
    assert len({line.get_color() for line in curves}) == 2
    first = [
        np.asarray(s.values) / max(s.values) for s in series if table.matrices[s.matrix].kind == table.matrices[0].kind
    ]
    assert len(first) == 3
    np.testing.assert_allclose(np.asarray(curves[0].get_ydata()), np.median(first, axis=0), rtol=1e-14)


def test_the_bar_of_layers_shows_those_that_exist() -> None:
    table = TABLES["stacked"]()
    moved = [replace(each, layer=5 * each.layer if each.layer else each.layer) for each in table.series]
    _, bar = draw("spectrum", replace(table, series=moved)).axes
    assert [text.get_text() for text in bar.get_yticklabels()] == ["0", "5"]
    sizes = [np.size(array) for each in bar.collections if (array := each.get_array()) is not None]
    assert sizes == [2]


def test_own_words_and_numbers_are_never_cut() -> None:
    table = TABLES["loose"]()
    rules = [replace(r, details={**r.details, "rule": "R" * 300}) if r.details else r for r in table.records]
    said = said_of(replace(table, records=rules))
    assert re.search(r"tolerances [\d.]+·10⁻¹⁴ to [\d.]+·10⁻⁹ \(rule R+…R+\)", said)
    one = TABLES["bidirectional"]()
    rules = [replace(r, details={**r.details, "rule": "R" * 300}) if r.details else r for r in one.records]
    said = said_of(replace(one, records=rules))
    assert re.search(r"tolerance 1.4·10⁻¹⁴ \(rule R+…R+\), below this axis: numerical rank 64 of 64", said)


def test_remarks_stand_flush_left_below_the_entries() -> None:
    figure = drawn("low_rank")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    legend = axes.get_legend()
    assert legend is not None
    (first, *_) = notes = [text for text in axes.texts if text.get_gid() == "remark"]
    assert "56 values exactly 0: not on this axis" in [text.get_text() for text in notes]
    for text in notes:
        assert text.get_window_extent().x0 == pytest.approx(legend.get_window_extent().x0, abs=2)
    assert first.get_window_extent().y1 < legend.get_window_extent().y0
    assert all(text.get_text() for text in legend.get_texts())
    assert len(legend.legend_handles) == len([h for h in legend.legend_handles if h is not None])


@pytest.mark.parametrize("name", names())
def test_captions_hold_no_words_of_the_command_line(name: str) -> None:
    first = help_of(name).partition("; ")[0]
    for text in (first, reading_of(name)):
        assert not re.search(r"--\w|MEASURE|\B-[mo]\b", text), text


def test_many_means_share_a_name() -> None:
    table = TABLES["stacked"]()
    mean = joined([replace(table, matrices=[table.matrices[16]], records=[], series=[table.series[16]])])
    more = [
        replace(
            mean,
            matrices=[replace(mean.matrices[0], id=19 + i, label=f"mean of layer {2 + i}")],
            series=[replace(mean.series[0], matrix=19 + i, layer=2 + i)],
        )
        for i in range(4)
    ]
    said = "\n".join(text.get_text() for text in texts(draw("spectrum", joined([table, *more]))))
    assert "6 means over heads" in said
    assert "product over 2 layers: numerical rank 32 of 32" in said


def spread_by_hand(name: str, first: int) -> np.ndarray[Any, Any]:
    """Four spectra in a row at each index, sorted; a value in the noise is zero, less than any other."""
    found = []
    for series in TABLES[name]().series[first : first + 4]:
        values, errors = np.array(series.values), np.array(series.errors)
        found.append(np.where(values > errors, values, 0.0) / values.max())
    return np.sort(found, axis=0)


def test_seeds_of_a_label_are_a_band_around_their_median() -> None:
    said = words("seeded")
    assert "a: 4 seeds (band) and their median, numerical rank" in said
    assert "b: 4 seeds (band) and their median, numerical rank 48 of 48" in said
    axes = drawn("seeded").axes[0]
    curves = [line for line in axes.get_lines() if len(np.asarray(line.get_xdata())) == 48]
    bands = [each for each in axes.collections if each.get_gid() == "pale-band"]
    assert len(curves) == len(bands) == 2
    for first, line, band in zip((0, 4), curves, bands, strict=True):
        values = spread_by_hand("seeded", first)
        known = values[1] > 0  # with two values of four in the noise there is no median
        shown = np.asarray(line.get_ydata(), dtype=float)
        assert np.array_equal(np.isfinite(shown), known)
        np.testing.assert_allclose(shown[known], ((values[1] + values[2]) / 2)[known], rtol=1e-14)
        corners = np.concatenate([np.asarray(path.vertices) for path in band.get_paths()])
        for index in np.flatnonzero(values[0] > 0):
            heights = corners[corners[:, 0] == index + 1, 1]
            np.testing.assert_allclose([heights.min(), heights.max()], values[[0, 3], index], rtol=1e-14)
        assert to_rgb(line.get_color()) == pytest.approx(np.ravel(band.get_facecolor())[:3])


def test_a_band_that_holds_noise_reaches_down_to_where_the_noise_begins() -> None:
    table = TABLES["seeded"]()
    loud = [*table.series[0].errors[:40], *[1.0] * 8]
    series = [replace(table.series[0], errors=loud), *table.series[1:]]
    axes = draw("spectrum", replace(table, series=series)).axes[0]
    [first, _] = [each for each in axes.collections if each.get_gid() == "pale-band"]
    corners = np.concatenate([np.asarray(path.vertices) for path in first.get_paths()])
    least = min(min(each.errors) / max(each.values) for each in series)
    assert corners[corners[:, 0] == 42, 1].min() == pytest.approx(least)
    assert corners[corners[:, 0] == 40, 1].min() > 100 * least
    assert "Pale band" in reading_of("spectrum", drawn("seeded"))
    assert "Pale band" not in reading_of("spectrum", drawn("three"))


def test_curves_of_one_label_are_told_apart_by_what_differs() -> None:
    twins = [result(attention(n, 0, causal=False), "twin", number=n) for n in (8, 12)]
    said = "\n".join(text.get_text() for text in texts(draw("spectrum", joined(twins))))
    assert "twin 8 × 8: numerical rank 8 of 8" in said
    assert "twin 12 × 12: numerical rank 12 of 12" in said
    same = [result(attention(8, i, causal=False), "twin", number=i) for i in (3, 5)]
    said = "\n".join(text.get_text() for text in texts(draw("spectrum", joined(same))))
    assert "twin matrix 3: numerical rank 8 of 8" in said


def test_a_result_without_spectra_has_no_figure() -> None:
    ranks = Table({}, [Matrix(0, "a", 8, 8)], [Record(0, "rank_exact", 8)], [])
    with pytest.raises(UsageError, match=r"RS003: a figure of singular values .* none\. Measure something") as caught:
        draw("spectrum", ranks)
    assert "--measure" in caught.value.remedy
    with pytest.raises(UsageError, match="RS003"):
        draw("spectrum", joined([ranks, replace(TABLES["refused"](), matrices=[Matrix(1, "b", 8, 8)])]))


def test_a_spectrum_too_long_to_be_kept_is_named_as_the_reason() -> None:
    assert _curve.LONGEST == LONGEST_SERIES
    large = Table({}, [Matrix(0, "a", 5000, 4097)], [Record(0, "rank_numerical", 8)], [])
    with pytest.raises(UsageError, match=r"RS003.*spectra of n > 4096 are not kept\. Save the result as a table"):
        draw("spectrum", large)
    wide = replace(large, matrices=[Matrix(0, "a", 5000, 4096)])
    said = "\n".join(text.get_text() for text in texts(draw("spectrum", wide)))
    assert "the singular values lie outside the range of float64" in said


def test_only_the_marks_of_a_figure_are_explained() -> None:
    everything = reading_of("spectrum").splitlines()
    marks = {"Curve", "Shaded band", "Grey dots", "Dashed line", "Light band", "Arrow", "Open arrow"}
    below = {"Lower panel", "Pale bars", "Grey line"}
    assert {paragraph.partition(":")[0] for paragraph in everything} == marks | below | {"Pale band"}
    shown = {name: {p.partition(":")[0] for p in reading_of("spectrum", drawn(name)).splitlines()} for name in TABLES}
    assert shown["causal"] == marks - {"Light band", "Open arrow"}
    assert shown["estimated"] == marks - {"Light band", "Arrow"}
    assert shown["bidirectional"] == {"Curve"}
    assert shown["loose"] == marks - {"Dashed line", "Open arrow"}
    assert shown["nothing"] == set()


def test_a_table_with_one_matrix_that_has_no_curve_says_so() -> None:
    gone = zero()
    table = joined([gone, result(np.eye(4), "identity", number=1)])
    said = "\n".join(text.get_text() for text in texts(draw("spectrum", table)))
    assert "1 of 2 matrices: no value to draw" in said


# --- text from data


def test_hostile_labels_are_shown_as_they_are_and_not_as_formulas() -> None:
    said = words("hostile")
    assert r"$\foo$ Ba$$in: numerical rank" in said
    assert "_hidden from legends: numerical rank" in said
    assert f"matrix {len(HOSTILE) - 1}: numerical rank" in said, "a label that is empty"
    assert all(not text.get_parse_math() for text in texts(drawn("hostile")) if "foo" in text.get_text())
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", said)


def test_visible_drops_what_has_no_place_on_paper() -> None:
    assert visible("a\tb\0c\x1b\x85d\u2028e\u202ef\ud800g\u00adh") == "a b c  d efgh"
    assert visible("e\u0301") == "é"
    assert visible("x\u0302\u0303\u0304") == "x\u0302"


def test_printable_puts_a_box_as_wide_as_the_character() -> None:
    assert printable("\U0001f600|", "DejaVu Sans Mono") == "□ |"
    assert printable("σ₁ = 2") == "σ₁ = 2"
    for label in HOSTILE:
        assert printable(printable(label)) == printable(label)


@pytest.mark.parametrize("length", range(1, 12))
def test_shortened_keeps_both_ends(length: int) -> None:
    assert len(shortened("0123456789", length)) == min(length, 10)
    assert shortened("0123456789", 5) == "01…89"
