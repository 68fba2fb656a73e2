"""Figures: they are whole files, they say what they must, nothing in them overlaps, and their bytes repeat."""

import io
import os
import re
import subprocess
import sys
from functools import cache
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from rankscope.errors import UsageError
from rankscope.report import figure as catalogue
from rankscope.report.figure import draw, help_of, names, printable, reading_of, shortened, to_bytes, visible
from tests.report.synthetic import HOSTILE, TABLES


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
        with pytest.raises(UsageError, match=r"RS001.*did you mean 'spectrum'"):
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
    assert "matrix 0: rank 62 of 64, true log₁₀ σₘᵢₙ = −40.2" in said
    assert "matrix 2: rank 48 of 48" in said
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
    ],
)
def test_what_is_missing_is_said(name: str, expected: str) -> None:
    assert expected in words(name)


def test_a_table_with_one_matrix_that_has_no_curve_says_so() -> None:
    from tests.report.synthetic import joined, result, zero

    gone = zero()
    table = joined([gone, result(np.eye(4), "identity", number=1)])
    said = "\n".join(text.get_text() for text in texts(draw("spectrum", table)))
    assert "1 of 2 matrices: no value to draw" in said


# --- text from data


def test_hostile_labels_are_shown_as_they_are_and_not_as_formulas() -> None:
    said = words("hostile")
    assert r"$\foo$ Ba$$in: rank" in said
    assert "_hidden from legends: rank" in said
    assert f"matrix {len(HOSTILE) - 1}: rank" in said, "a label that is empty"
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
