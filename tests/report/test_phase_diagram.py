"""A measure in the plane of scale and d/n: each cell is the mean of its matrices, and stands where it belongs."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import rankscope as rs
from rankscope.errors import UsageError
from rankscope.records import Table
from rankscope.report.figure import draw, reading_of, to_bytes
from rankscope.report.figures import phase_diagram
from rankscope.report.figures.phase_diagram import edges_of
from tests.report import canned
from tests.report.readable import assert_readable, marks, words
from tests.report.synthetic import HOSTILE

SCALES, SIZES = [0.5, 1.0, 4.0], [2, 4, 8, 16]
PREFIXES = [f"prefix:{k}" for k in range(2, 10)]


@cache
def tables(name: str) -> Table:
    """Results as an analysis gives them."""
    match name:
        case "two":
            masks, seeds = ["causal", "bidirectional"], [0, 1]
            return rs.compare(masks, n=16, d=SIZES, scale=SCALES, seed=seeds, measures="effective_rank").table
        case "entropy":
            return rs.compare("causal", n=8, d=list(range(1, 25)), scale=[0, 1, 2], measures="row_entropy").table
        case "several n":
            return rs.compare("causal", n=[4, 8], d=[2, 4], scale=[1, 2], measures="effective_rank").table
        case "many":
            return rs.compare(PREFIXES, n=10, d=[2, 4], scale=[1, 2], measures="effective_rank").table
        case "gap":
            made = tables("several n")
            return replace(made, records=made.records[1:])
        case "one token":
            return rs.compare("causal", n=1, d=[1, 2], scale=[1, 2], measures="effective_rank").table
        case "hostile":
            made = tables("many")
            names = dict(zip(PREFIXES, HOSTILE, strict=True))
            matrices = [replace(each, mask=names[str(each.mask)], kernel=HOSTILE[6]) for each in made.matrices]
            return replace(made, matrices=matrices)
    raise KeyError(name)


NAMES = ("two", "entropy", "several n", "many", "gap", "one token", "hostile")


@cache
def drawn(name: str) -> Figure:
    return draw("phase-diagram:row_entropy" if name == "entropy" else "phase-diagram", tables(name))


def meshes(figure: Figure) -> list[Any]:
    return [each for axes in figure.axes for each in axes.collections if each.get_gid() == "colours"]


def part_of_full_rank(mask: str, d: int, scale: float, seed: int, n: int = 16) -> float:
    """The effective rank by its definition, divided by n."""
    matrix = np.asarray(rs.synthetic(n=n, d=d, mask=mask, scale=scale, seed=seed))
    values = np.linalg.svd(matrix, compute_uv=False)
    parts = values[values > 0] / values.sum()
    return float(np.exp(-(parts * np.log(parts)).sum())) / n


@pytest.mark.parametrize("name", NAMES)
def test_no_words_overlap_and_none_are_cut(name: str) -> None:
    assert_readable(drawn(name))


def test_each_cell_is_the_mean_over_seeds_of_the_part_of_full_rank() -> None:
    for mask, mesh in zip(("causal", "bidirectional"), meshes(drawn("two")), strict=True):
        expected = [[np.mean([part_of_full_rank(mask, d, s, seed) for seed in (0, 1)]) for s in SCALES] for d in SIZES]
        np.testing.assert_allclose(mesh.get_array(), expected, rtol=1e-9)
    assert "effective rank / full rank" in words(drawn("two"))
    assert "n = 16 · 2 seeds" in words(drawn("two"))


def test_cells_stand_around_their_values() -> None:
    mesh = meshes(drawn("two"))[0]
    corners = mesh.get_coordinates()
    for row, d in enumerate(SIZES):
        for column, scale in enumerate(SCALES):
            (left, low), (right, high) = corners[row, column], corners[row + 1, column + 1]
            assert left < scale < right
            assert low < d / 16 < high
    assert drawn("two").axes[0].get_xscale() == drawn("two").axes[0].get_yscale() == "log"
    assert drawn("entropy").axes[0].get_xscale() == "linear", "a scale of zero has no logarithm"


def test_edges_lie_in_the_middle() -> None:
    assert edges_of([1, 2, 4], log=True) == pytest.approx([2**-0.5, 2**0.5, 2**1.5, 2**2.5])
    assert edges_of([1, 2, 4], log=False) == pytest.approx([0.5, 1.5, 3.0, 5.0])


def test_numbers_are_those_of_the_cells() -> None:
    figure = drawn("two")
    texts = [text for axes in figure.axes for text in axes.texts if text.get_gid() == "numbers"]
    values = [value for mesh in meshes(figure) for value in np.ravel(mesh.get_array())]
    assert [text.get_text() for text in texts] == [f"{value:.2f}" for value in values]
    for text in texts:
        assert text.get_color() in ("#222222", "white")
    assert {text.get_color() for text in texts} == {"#222222", "white"}
    assert not [text for text in drawn("entropy").axes[0].texts if text.get_gid() == "numbers"]


def test_what_is_no_rank_is_not_divided() -> None:
    [mesh] = meshes(drawn("entropy"))
    matrix = np.asarray(rs.synthetic(n=8, d=3, mask="causal", scale=2.0))
    logs = np.log(matrix, out=np.zeros_like(matrix), where=matrix > 0)
    assert mesh.get_array()[2, 2] == pytest.approx(-(matrix * logs).sum(axis=1).mean(), rel=1e-12)
    assert "full rank" not in words(drawn("entropy"))


def test_sizes_of_one_ratio_share_a_cell_and_the_legend_says_so() -> None:
    [mesh] = meshes(drawn("several n"))
    both = [part_of_full_rank("causal", d, 1, 0, n) for n, d in ((4, 2), (8, 4))]
    assert mesh.get_array().shape == (3, 2)
    assert mesh.get_array()[1, 0] == pytest.approx(np.mean(both), rel=1e-9)
    assert "cells of one d/n are means over several n" in words(drawn("several n"))
    assert "several n" not in words(drawn("two"))


def test_kinds_have_panels_and_those_without_room_are_counted() -> None:
    assert len(meshes(drawn("many"))) == 6
    assert "the first 6 of 8 kinds of matrices are shown" in words(drawn("many"))
    assert "causal softmax" in words(drawn("two"))
    assert "bidirectional softmax" in words(drawn("two"))


def test_cells_without_a_value_are_counted() -> None:
    made = tables("several n")
    less = replace(made, matrices=made.matrices[1:], records=made.records[1:])
    assert np.ma.getmaskarray(meshes(draw("phase-diagram", less))[0].get_array()).sum() == 0
    two = tables("two")
    gone = {matrix.id for matrix in two.matrices if (matrix.mask, matrix.d, matrix.scale) == ("causal", 4, 4.0)}
    gap = replace(two, records=[record for record in two.records if record.matrix not in gone])
    figure = draw("phase-diagram", gap)
    assert np.argwhere(np.ma.getmaskarray(meshes(figure)[0].get_array())).tolist() == [[1, 2]]
    assert "1 of 24 cells have no value" in words(figure)
    assert "White cells" in reading_of("phase-diagram", figure)
    assert "White cells" not in reading_of("phase-diagram", drawn("two"))


def test_it_suits_results_in_which_both_are_varied() -> None:
    for name in NAMES:
        value = ":row_entropy" if name == "entropy" else ""
        assert phase_diagram.suits(tables(name)) == [f"phase-diagram{value}"], name
    others: list[dict[str, Any]] = [{"d": [1, 2]}, {"d": 2, "scale": [1, 2]}, {"d": 2, "kernel": ["softmax", "linear"]}]
    for options in others:
        assert phase_diagram.suits(rs.compare("causal", measures="effective_rank", n=4, **options).table) == []
    assert phase_diagram.suits(canned.table([], [])) == []
    assert phase_diagram.suits(rs.depth(n=4, d=2, layers=1).table) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 4, "d": [1, 2]}, r"the scale is one alone.*--scale 0\.5,1,2"),
        ({"n": 4, "d": 2, "scale": [1, 2]}, "d/n is one alone"),
        ({"n": 4, "d": 2}, "the scale and d/n is one alone"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_to_do(options: dict[str, Any], words: str) -> None:
    made = rs.compare("causal", measures="effective_rank", **options).table
    with pytest.raises(UsageError, match=rf"RS003.*{words}"):
        draw("phase-diagram", made)
    with pytest.raises(UsageError, match=r"RS003.*without hoyer.*-m hoyer"):
        draw("phase-diagram:hoyer", made)


def test_the_same_table_gives_the_same_bytes_and_an_svg_without_pictures() -> None:
    for suffix in ("svg", "pdf"):
        assert to_bytes(drawn("two"), suffix) == to_bytes(draw("phase-diagram", tables("two")), suffix)
    assert b"<image" not in to_bytes(drawn("two"), "svg")


def test_only_its_marks_are_explained() -> None:
    assert marks(drawn("two")) == {"colours", "numbers"}
    named = {paragraph.partition(":")[0] for paragraph in reading_of("phase-diagram", drawn("two")).splitlines()}
    assert named == {"Colours", "Numbers"}
