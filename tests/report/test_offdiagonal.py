"""The figure of the ranks beside the diagonal: it draws what the table holds, and no more."""

from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.errors import UsageError
from rankscope.report.figure import draw, names, to_bytes
from tests.report.readable import marks, words

MEASURES = ("rank_numerical", "offdiagonal_rank")


def profile_of(*masks: str, **options: Any) -> rs.Result:
    return rs.compare(masks, measures=MEASURES, n=options.pop("n", 96), d=8, **options)


def curves(figure: Any) -> list[Any]:
    return [line for line in figure.axes[0].lines if line.get_gid() == "curve"]


def test_the_figure_is_in_the_catalogue_and_can_be_drawn_again_to_the_byte() -> None:
    assert "offdiagonal" in names()
    table = profile_of("causal", kernel=["softmax", "linear"]).table
    assert to_bytes(draw("offdiagonal", table), "svg") == to_bytes(draw("offdiagonal", table), "svg")


def test_each_curve_is_the_series_of_its_matrix() -> None:
    result = profile_of("causal", kernel=["softmax", "linear", "delta"])
    drawn = curves(draw("offdiagonal", result.table))
    series = [each for each in result.table.series if each.name.startswith("offdiagonal")]
    assert len(drawn) == len(series) == 3
    for line, each in zip(drawn, series, strict=True):
        assert np.array_equal(line.get_xdata(), each.index)
        assert np.array_equal(line.get_ydata(), each.values)
    assert len({line.get_color() for line in drawn}) == 3


def test_the_legend_gives_the_largest_rank_and_what_the_kernel_allows() -> None:
    text = words(draw("offdiagonal", profile_of("causal", kernel=["softmax", "linear"]).table))
    assert "causal softmax: 48" in text
    assert "causal linear: 8, at most 8" in text
    assert "full rank" in text
    assert "Ranks beside the diagonal of 2 matrices" in text


def test_both_sides_of_one_matrix_are_drawn() -> None:
    figure = draw("offdiagonal", profile_of("bidirectional").table)
    assert len(curves(figure)) == 2
    assert "largest rank 48 below the diagonal, 48 above it" in words(figure)
    assert "dashed-line" not in marks(figure)


def test_a_bound_of_the_kernel_is_a_dashed_line_and_a_grid_has_a_band() -> None:
    figure = draw("offdiagonal", profile_of("causal", kernel=["linear"]).table)
    assert {"curve", "dashed-line", "grey-line", "shaded-band"} <= marks(figure)
    assert "largest rank 8 below the diagonal; at most 8: the number of features" in words(figure)
    [line] = [line for line in figure.axes[0].lines if line.get_gid() == "dashed-line"]
    assert np.array_equal(line.get_ydata(), [8, 8])


def test_the_band_holds_the_rank_at_every_cut() -> None:
    result = profile_of("causal & window:20", n=120)
    figure = draw("offdiagonal", result.table)
    record = result["offdiagonal_rank"]
    assert isinstance(record, rs.Record)
    [band] = [each for each in figure.axes[0].collections if each.get_gid() == "shaded-band"]
    path = band.get_paths()[0]
    matrix = np.asarray(rs.synthetic(n=120, d=8, mask="causal & window:20").matrix)  # type: ignore[union-attr]
    for k in range(1, 120):
        count = int((np.linalg.svd(matrix[k:, :k], compute_uv=False) > record.details["tolerance"]).sum())
        assert path.contains_point((k, count), radius=0.25) or path.contains_point((k, count), radius=-0.25), k


def test_full_rank_is_seen_on_both_sides_of_a_curve_that_covers_it() -> None:
    figure = draw("offdiagonal", profile_of("causal").table)
    [curve] = curves(figure)
    [full] = [line for line in figure.axes[0].lines if line.get_gid() == "grey-line"]
    (x, y), (cuts, ranks) = ([np.asarray(data, dtype=float) for data in line.get_data()] for line in (curve, full))
    assert np.abs(y - np.interp(x, cuts, ranks)).max() <= 0.5, "the curve runs along full rank"
    assert full.get_linewidth() >= curve.get_linewidth() + 2
    assert full.get_zorder() < curve.get_zorder()


def test_many_matrices_are_thin_lines_and_one_sentence() -> None:
    result = rs.compare("causal", measures=MEASURES, n=24, d=4, seed=list(range(10)))
    figure = draw("offdiagonal", result.table)
    assert len(curves(figure)) == 10
    assert "10 profiles, largest rank 12 to 12" in words(figure)


def test_a_result_without_profiles_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError, match="-m offdiagonal_rank"):
        draw("offdiagonal", rs.analyze(np.eye(4)).table)


def test_matrices_without_a_profile_are_counted() -> None:
    result = rs.analyze([rs.synthetic(n=20, d=4, mask="causal"), np.ones((3, 5))], measures=MEASURES)
    assert "1 of 2 matrices: no profile to draw" in words(draw("offdiagonal", result.table))
