"""The figure of cumulative singular values: sums of σ, not of σ², and noise that is named."""

import math
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.errors import UsageError
from rankscope.records import Matrix, Record, Series, Table
from rankscope.report.figure import draw, reading_of, suited, to_bytes
from tests.report.readable import assert_readable, marks, words
from tests.report.synthetic import TABLES


def curves(figure: Any, gid: str = "curve") -> list[Any]:
    return [line for line in figure.axes[0].lines if line.get_gid() == gid]


def by_hand(values: list[float], errors: list[float] | None = None, **more: Any) -> Table:
    size = len(values)
    series = Series(0, "singular_values", list(range(1, size + 1)), values, errors or [1e-15] * size)
    return Table({}, [Matrix(0, "by hand", size, size)], list(more.get("records", [])), [series])


def test_the_curve_is_the_sum_of_sigma_and_the_thin_one_that_of_squares() -> None:
    figure = draw("cumulative", by_hand([4.0, 3.0, 2.0, 1.0]))
    (curve,), (thin,) = curves(figure), curves(figure, "thin-curve")
    assert list(curve.get_xdata()) == [0, 1, 2, 3, 4]
    assert curve.get_ydata() == pytest.approx([0, 0.4, 0.7, 0.9, 1])
    assert thin.get_ydata() == pytest.approx([0, 16 / 30, 25 / 30, 29 / 30, 1])
    assert "sum of σ: 40 % at k = 1, 90 % at k = 3" in words(figure)


def test_a_real_matrix_agrees_with_sums_of_its_decomposition() -> None:
    operator: Any = rs.synthetic(n=64, d=8, mask="causal", seed=3)
    figure = draw("cumulative", rs.analyze(operator).table)
    values = np.linalg.svd(operator.matrix, compute_uv=False).tolist()
    sums = [0.0, *accumulate(values)]
    assert curves(figure)[0].get_ydata() == pytest.approx([each / math.fsum(values) for each in sums], abs=1e-13)
    assert f"{100 * math.fsum(values[:16]) / math.fsum(values):.4g} % at k = 16" in words(figure)


def test_the_dot_is_the_energy_rank_and_lies_on_the_energy_where_it_passes_the_line() -> None:
    table = rs.analyze(rs.synthetic(n=48, d=8, mask="causal")).table
    figure = draw("cumulative", table)
    (dot,) = curves(figure, "dot")
    squares = [value**2 for value in table.series[0].values]
    rank = next(k for k in range(49) if math.fsum(squares[:k]) >= 0.9 * math.fsum(squares))
    assert list(dot.get_xdata()) == [rank]
    assert dot.get_ydata() == pytest.approx([math.fsum(squares[:rank]) / math.fsum(squares)])
    assert f"energy_rank_90 = {rank} (estimated)" in words(figure)
    (line,) = curves(figure, "dashed-line")
    assert set(line.get_ydata()) == {0.9}


def test_an_energy_rank_that_is_not_known_is_said_with_its_bounds() -> None:
    record = Record(0, "energy_rank_90", None, low=2, high=3, because="within the error of the values")
    figure = draw("cumulative", by_hand([4.0, 3.0, 2.0], records=[record]))
    assert "energy_rank_90 not known: 2 to 3; within the error of the values" in words(figure)
    assert "dot" not in marks(figure)


def test_the_share_of_noise_is_at_most_what_values_and_bounds_add() -> None:
    figure = draw("cumulative", by_hand([0.8, 0.19, 0.006, 0.004], [0.001, 0.001, 0.02, 0.01]))
    share = 100 * (0.006 + 0.02 + 0.004 + 0.01) / 1.0
    assert f"noise: 2 values below their error bound, at most {share:.2g} % of the sum" in words(figure)
    assert "noise" not in words(draw("cumulative", by_hand([2.0, 1.0])))


def test_seeds_are_a_band_from_the_least_to_the_greatest_around_their_median() -> None:
    table = rs.compare(("bidirectional", "causal"), n=24, d=4, seed=[0, 1, 2], measures=["effective_rank"]).table
    figure = draw("cumulative", table)
    bands = [each for each in figure.axes[0].collections if each.get_gid() == "shaded-band"]
    assert len(curves(figure)) == len(bands) == 2
    assert "bidirectional softmax: 3 seeds, " in words(figure)
    for curve, band, mask in zip(curves(figure), bands, ("bidirectional", "causal"), strict=True):
        own = {matrix.id for matrix in table.matrices if matrix.mask == mask}
        spectra = [series.values for series in table.series if series.matrix in own]
        for k in (1, 6, 23):
            shares = sorted(math.fsum(values[:k]) / math.fsum(values) for values in spectra)
            assert curve.get_ydata()[k] == pytest.approx(shares[1])
            heights = [y for x, y in np.asarray(band.get_paths()[0].vertices).tolist() if x == k]
            assert (min(heights), max(heights)) == pytest.approx((shares[0], shares[2]))


def test_many_are_thin_lines_and_means_and_products_are_apart() -> None:
    figure = draw("cumulative", TABLES["stacked"]())
    said = words(figure)
    assert len(figure.axes[0].collections[0].get_paths()) == 16
    assert "16 heads, " in said
    assert "coloured by layer" in said
    assert "mean over 8 heads of layer 1: " in said
    assert "product over 2 layers: " in said
    assert len(curves(figure)) == 3


def test_many_kinds_have_the_colour_of_what_they_share_and_seeds_stay_bands() -> None:
    many: Any = {"kernel": ["linear", "softmax"], "n": [8, 12], "d": [2, 3, 4], "measures": ["effective_rank"]}
    table = rs.compare("causal", **many).table
    figure = draw("cumulative", table)
    collections: list[Any] = [each for each in figure.axes[0].collections if each.get_gid() == "curve"]
    assert [len(each.get_paths()) for each in collections] == [6, 6]
    assert len({tuple(each.get_colors()[0]) for each in collections}) == 2
    for kernel in ("linear", "softmax"):
        ids = {matrix.id for matrix in table.matrices if matrix.kernel == kernel}
        own = [series.values for series in table.series if series.name == "singular_values" and series.matrix in ids]
        found = [100 * math.fsum(values[: len(values) // 4]) / math.fsum(values) for values in own]
        assert f"{kernel}: 6 matrices, {min(found):.4g} to {max(found):.4g} % at k = n/4" in words(figure)
    assert_readable(figure)
    seeds = draw("cumulative", rs.compare("causal", **{**many, "n": [8], "d": [2, 3, 4, 5, 6], "seed": [0, 1]}).table)
    assert len([each for each in seeds.axes[0].collections if each.get_gid() == "shaded-band"]) == 10
    assert "linear: 10 matrices as 5 bands over seeds with medians, " in words(seeds)


def test_leading_values_alone_have_no_share() -> None:
    with pytest.raises(UsageError, match=r"RS003: the figure 'cumulative' .* only the leading values"):
        draw("cumulative", TABLES["leading"]())


def test_tables_without_spectra_and_studies_of_depth_are_refused() -> None:
    with pytest.raises(UsageError, match="RS003"):
        draw("cumulative", Table({}, [Matrix(0, "a", 8, 8)], [Record(0, "rank_exact", 8)], []))
    table = TABLES["bidirectional"]()
    deep = replace(table, matrices=[replace(table.matrices[0], network={"layers": 2})])
    with pytest.raises(UsageError, match="figure collapse"):
        draw("cumulative", deep)
    assert "cumulative" in suited(table)
    assert "cumulative" not in suited(deep)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hostile", r"$\foo$ Ba$$in: "),
        ("mixed", "2 of 4 matrices: no value to draw"),
        ("refused", "refused, RS110: NaN in <script>"),
        ("zero", "every singular value is exactly 0"),
        ("empty", "a matrix of 0 × 0 has no singular values"),
        ("one", "sum of σ: 90 % at k = 1"),
        ("orders", "n = 48: "),
        ("heads", "72 matrices, "),
        ("long_label", "WWW"),
    ],
)
def test_what_tables_hold_is_said_and_can_be_read(name: str, expected: str) -> None:
    figure = draw("cumulative", TABLES[name]())
    assert expected in words(figure)
    assert_readable(figure)


def test_only_the_marks_of_the_figure_are_explained() -> None:
    reading = reading_of("cumulative", draw("cumulative", TABLES["three"]()))
    assert "Curve: " in reading
    assert "Dashed line: " in reading
    assert "Dot: " not in reading
    assert "Shaded band: " not in reading


def test_the_same_table_gives_the_same_bytes() -> None:
    table = TABLES["three"]()
    assert to_bytes(draw("cumulative", table), "svg") == to_bytes(draw("cumulative", table), "svg")
