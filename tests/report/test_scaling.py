"""A measure against size and scale: means, bands and bounds are those of the matrices themselves."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import rankscope as rs
from rankscope.errors import UsageError
from rankscope.records import Matrix, Record, Table
from rankscope.report.figure import draw, reading_of, to_bytes
from rankscope.report.figures import scaling
from tests.report import canned
from tests.report.readable import assert_readable, marks, words
from tests.report.synthetic import HOSTILE

RANKS = ("effective_rank", "rank_exact")


@cache
def tables(name: str) -> Table:
    """Results as an analysis gives them."""
    match name:
        case "n":
            kernels = ["softmax", "linear"]
            return rs.compare("causal", kernel=kernels, n=[8, 16, 64], d=4, seed=[0, 1, 2], measures=RANKS).table
        case "null":
            return rs.compare("causal", n=[8, 16], d=4, null=2, measures=RANKS).table
        case "bounds":
            return rs.compare(["bidirectional", "causal"], n=[8, 16, 32], d=4, measures=RANKS).table
        case "three":
            return rs.compare("causal", n=[8, 16], d=[2, 4], scale=[0.5, 1.0, 2.0], measures=RANKS).table
        case "heads":
            return rs.analyze([*stack(8), *stack(16)], measures=RANKS).table
        case "one token":
            return rs.compare("causal", n=[1, 2], d=1, measures=RANKS).table
        case "hostile":
            made = tables("n")
            names = dict(zip(("softmax", "linear"), HOSTILE, strict=False))
            matrices = [replace(each, kernel=names[str(each.kernel)], mask=HOSTILE[5]) for each in made.matrices]
            return replace(made, matrices=matrices)
        case "many":
            return rs.compare("causal", n=[2, 3], d=list(range(1, 21)), measures=RANKS, scale=np.arange(1, 22).tolist()
            ).table  # fmt: skip
    raise KeyError(name)


def stack(n: int) -> list[Any]:
    made = rs.synthetic(n=n, d=4, heads=2, mask="causal")
    assert isinstance(made, list)
    return made


NAMES = ("n", "null", "bounds", "three", "heads", "one token", "hostile", "many")


@cache
def drawn(name: str, measure: str = "effective_rank") -> Figure:
    return draw(f"scaling:{measure}", tables(name))


def lines(figure: Figure, gid: str) -> list[Any]:
    return [line for line in figure.axes[0].get_lines() if line.get_gid() == gid]


def effective(**options: Any) -> float:
    """exp of the entropy of the singular values."""
    values = np.linalg.svd(np.asarray(rs.synthetic(mask="causal", **options)), compute_uv=False)
    parts = values / values.sum()
    parts = parts[parts > 0]
    return float(np.exp(-(parts * np.log(parts)).sum()))


@pytest.mark.parametrize("measure", RANKS)
@pytest.mark.parametrize("name", NAMES)
def test_no_words_overlap_and_none_are_cut(name: str, measure: str) -> None:
    assert_readable(drawn(name, measure))


def test_each_point_is_the_mean_over_seeds_and_the_band_their_range() -> None:
    figure = drawn("n")
    curves = lines(figure, "curve")
    bands = [each for each in figure.axes[0].collections if each.get_gid() == "shaded-band"]
    assert len(curves) == len(bands) == 2
    for kernel, line, band in zip(("softmax", "linear"), curves, bands, strict=True):
        values = np.array([[effective(n=n, d=4, kernel=kernel, seed=s) for s in range(3)] for n in (8, 16, 64)])
        assert list(line.get_xdata()) == [8, 16, 64]
        np.testing.assert_allclose(line.get_ydata(), values.mean(axis=1), rtol=1e-9)
        corners = np.asarray(band.get_paths()[0].vertices)
        for n, own in zip((8, 16, 64), values, strict=True):
            heights = corners[corners[:, 0] == n, 1]
            assert (heights.min(), heights.max()) == pytest.approx((own.min(), own.max()), rel=1e-9)
    assert "least to greatest of 3 matrices" in words(figure)
    assert "d = 4 · scale = 1 · 3 seeds" in words(figure)


def test_full_rank_is_a_line_through_the_sizes() -> None:
    axes = drawn("n").axes[0]
    [line] = lines(drawn("n"), "grey-line")
    assert list(line.get_xdata()) == list(line.get_ydata()) == [8, 16, 64]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    levels = lines(drawn("three"), "grey-line")
    assert sorted(float(line.get_ydata()[0]) for line in levels) == [8, 16]
    assert not lines(draw("scaling:row_entropy", rs.compare("causal", n=[4, 8], d=2, measures="row_entropy").table),
                     "grey-line")  # fmt: skip


def test_what_is_varied_most_runs_along_the_axis_and_the_rest_makes_curves() -> None:
    figure = drawn("three")
    assert figure.axes[0].get_xlabel() == "scale of the scores"
    assert len(lines(figure, "curve")) == 4
    for line, (n, d) in zip(lines(figure, "curve"), ((8, 2), (8, 4), (16, 2), (16, 4)), strict=True):
        np.testing.assert_allclose(line.get_ydata(), [effective(n=n, d=d, scale=s) for s in (0.5, 1.0, 2.0)], rtol=1e-9)
        assert f"n = {n}, d = {d}" in words(figure)


def test_matched_random_attention_is_dashed() -> None:
    found = tables("null")["effective_rank"]
    assert isinstance(found, Table)
    [line] = lines(drawn("null"), "dashed-line")
    assert list(line.get_ydata()) == [record.null_mean for record in found]
    assert "matched random attention" in words(drawn("null"))
    assert "Dashed line" not in reading_of("scaling", drawn("n"))


def test_bounds_of_what_is_not_known_are_bars() -> None:
    figure = drawn("bounds", "rank_exact")
    bars = lines(figure, "error-bars")
    assert [(list(bar.get_xdata()), list(bar.get_ydata())) for bar in bars] == [([n, n], [1, n]) for n in (8, 16, 32)]
    assert "bounds of 3 values that are not known" in words(figure)
    [empty, causal] = lines(figure, "curve")
    assert len(empty.get_xdata()) == 0
    assert list(causal.get_ydata()) == [8, 16, 32]
    assert len({line.get_color() for line in (empty, *bars)}) == 1


def test_one_bound_alone_is_a_triangle_and_no_bound_is_counted() -> None:
    matrices = [Matrix(i, "a", n, n, mask="causal") for i, n in enumerate((4, 8, 16, 32))]
    ends: list[dict[str, Any]] = [{"low": 3}, {"high": 7}, {}, {"value": 20.0}]
    records = [Record(i, "rank_exact", **{"value": None, "group": "rank", **each}) for i, each in enumerate(ends)]
    figure = draw("scaling:rank_exact", Table({}, matrices, records, []))
    assert [(bar.get_marker(), float(bar.get_ydata()[0])) for bar in lines(figure, "error-bars")] == [
        ("^", 3.0),
        ("v", 7.0),
    ]
    assert "1 values are not known" in words(figure)
    assert "Error bars" in reading_of("scaling", figure)


def test_means_over_heads_are_no_samples() -> None:
    figure = drawn("heads")
    assert "4 means and products of matrices are not shown" in words(figure)
    assert "least to greatest of 2 matrices" in words(figure)
    assert lines(figure, "curve")[0].get_xdata().tolist() == [8, 16]


def test_curves_that_cannot_be_told_apart_are_left_out_with_a_word() -> None:
    assert len(lines(drawn("many"), "curve")) == 16
    assert "the first 16 of 40 curves are shown" in words(drawn("many"))
    looks = {(str(x.get_color()), x.get_markerfacecolor()) for x in lines(drawn("many"), "curve")}
    assert len(looks) == 16


def test_refused_matrices_are_counted() -> None:
    matrix, records = canned.refused(99, "bad")
    found = tables("bounds")
    mixed = replace(found, matrices=[*found.matrices, matrix], records=[*found.records, *records])
    assert "1 matrices were refused" in words(draw("scaling", mixed))


def test_it_suits_results_over_sizes() -> None:
    for name in NAMES:
        assert scaling.suits(tables(name)) == ["scaling"], name
    assert scaling.suits(rs.compare("causal", n=[4, 8], d=2, measures="hoyer").table) == ["scaling:hoyer"]
    assert scaling.suits(rs.compare(["causal", "bidirectional"], n=4, d=2, measures="hoyer").table) == []
    assert scaling.suits(canned.table([], [])) == scaling.suits(rs.depth(n=4, d=2, layers=1).table) == []


@pytest.mark.parametrize(
    ("name", "found", "words"),
    [
        ("scaling:hoyer", "n", r"without hoyer.*-m hoyer, or take one of .*effective_rank"),
        ("scaling:", "n", "without a measure"),
        ("scaling", "even", r"neither n nor d nor the scale is varied.*--n 64,128,256"),
        ("scaling", "depth", "collapse"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_to_do(name: str, found: str, words: str) -> None:
    others = {
        "even": lambda: rs.compare("causal", n=4, d=2, measures=RANKS).table,
        "depth": lambda: rs.depth(n=4, d=2, layers=1).table,
    }
    table = others[found]() if found in others else tables(found)
    with pytest.raises(UsageError, match=rf"(?s)RS003.*{words}"):
        draw(name, table)


def test_hostile_names_are_shown_as_they_are() -> None:
    assert r"$\foo$" in words(drawn("hostile"))


def test_the_same_table_gives_the_same_bytes() -> None:
    for suffix in ("svg", "pdf"):
        assert to_bytes(drawn("n"), suffix) == to_bytes(draw("scaling", tables("n")), suffix)


def test_only_its_marks_are_explained() -> None:
    assert marks(drawn("n")) == {"curve", "shaded-band", "grey-line"}
    named = {paragraph.partition(":")[0] for paragraph in reading_of("scaling", drawn("n")).splitlines()}
    assert named == {"Curve", "Shaded band", "Grey line"}
