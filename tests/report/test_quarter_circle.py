"""The figure of the bulk: all values but the first, the law of their second moment, and the limit of theory."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import StepPatch
from scipy.stats import kstest

import rankscope as rs
from rankscope.errors import UsageError
from rankscope.report.figure import draw, reading_of, suited, to_bytes
from tests.report.readable import assert_readable, marks, words
from tests.report.synthetic import HOSTILE, TABLES


def markov(seeds: Any = 0, n: int = 64, ensemble: str = "markov") -> rs.Table:
    return rs.compare("bidirectional", ensemble=[ensemble], n=n, seed=seeds).table


def bulk(table: rs.Table) -> Any:
    """√n·σᵢ of i ≥ 2, of all spectra."""
    values = [value for series in table.series for value in series.values[1:]]
    return np.array(values) * math.sqrt(table.matrices[0].columns)


def line(figure: Any, gid: str) -> Any:
    (found,) = [each for each in figure.axes[0].lines if each.get_gid() == gid]
    return found


def test_the_histogram_counts_every_value_but_the_first_of_each_seed() -> None:
    table = markov(seeds=[0, 1, 2])
    figure = draw("quarter-circle", table)
    (bars,) = [patch for patch in figure.axes[0].patches if patch.get_gid() == "histogram"]
    assert isinstance(bars, StepPatch)
    heights, edges, _ = bars.get_data()
    counts = np.asarray(heights) * np.diff(edges) * 3 * 63
    values = bulk(table)
    expected = [int(((values >= a) & (values < b)).sum()) for a, b in pairwise(edges)]
    assert counts == pytest.approx(expected, abs=1e-9)
    assert sum(expected) == 3 * 63
    assert "189 singular values of 3 seeds" in words(figure)


def test_the_curve_is_the_quarter_circle_of_the_second_moment() -> None:
    table = markov()
    figure = draw("quarter-circle", table)
    square = math.fsum(value**2 for value in bulk(table)) / 63
    x, y = (np.asarray(each) for each in line(figure, "curve").get_data())
    inside = x < 2 * math.sqrt(square)
    assert y[inside] == pytest.approx(np.sqrt(4 * square - x[inside] ** 2) / (math.pi * square), abs=1e-7)
    assert not y[x > 2 * math.sqrt(square) + 1e-9].any()
    assert f"s = {math.sqrt(square):.4g} from the second moment" in words(figure)


def test_the_distance_is_that_of_scipy() -> None:
    table = markov(n=96)
    values = bulk(table)
    radius = 2 * math.sqrt(float(np.mean(values**2)))

    def below(x: Any) -> Any:
        part = np.clip(x / radius, 0, 1)
        return (part * np.sqrt(1 - part**2) + np.arcsin(part)) * 2 / math.pi

    assert f"distance {kstest(values, below).statistic:.3g}" in words(draw("quarter-circle", table))


def test_the_limit_of_theory_is_drawn_where_it_is_recorded() -> None:
    figure = draw("quarter-circle", markov(ensemble="markov:gamma:4", n=128))
    x, y = (np.asarray(each) for each in line(figure, "dashed-line").get_data())
    assert x[y > 0].max() == pytest.approx(2 * 0.5, abs=0.01)
    assert y[0] == pytest.approx(2 / (math.pi * 0.5))
    assert "limit of theory, s = 0.5: " in words(figure)
    bare = draw("quarter-circle", rs.analyze(rs.synthetic(n=64, d=16)).table)
    assert "dashed-line" not in marks(bare)
    assert "Dashed line" not in reading_of("quarter-circle", bare)


def test_a_rectangle_has_the_law_of_its_shape() -> None:
    array = np.random.default_rng(0).standard_normal((32, 128))
    figure = draw("quarter-circle", rs.analyze(array).table)
    values = np.linalg.svd(array, compute_uv=False)[1:] * math.sqrt(128)
    scale = math.sqrt(float(np.mean(values**2)))
    x, y = (np.asarray(each) for each in line(figure, "curve").get_data())
    assert (x[y > 0].min(), x[y > 0].max()) == pytest.approx((scale / 2, scale * 1.5), rel=0.01)
    assert "Marchenko and Pastur's law" in words(figure)


def test_noise_and_values_beyond_the_law_are_counted() -> None:
    said = words(draw("quarter-circle", TABLES["causal"]()))
    values = np.array(TABLES["causal"]().series[0].values[1:])
    beyond = int((values > 2 * math.sqrt(float(np.mean(values**2)))).sum())
    assert beyond
    assert f"63 singular values, {beyond} beyond the end of the curve" in said
    assert "2 below their error bound: noise" in said


def test_what_cannot_be_drawn_is_refused() -> None:
    for name, words_of_it in {"three": "differ in more", "one": "1 singular value", "leading": "leading"}.items():
        with pytest.raises(UsageError, match=f"RS003: .*{words_of_it}"):
            draw("quarter-circle", TABLES[name]())
    table = TABLES["low_rank"]()
    zeros = replace(table.series[0], values=[1.0] + [0.0] * 63, errors=[0.0] * 64)
    with pytest.raises(UsageError, match=r"RS003: .*rank 1"):
        draw("quarter-circle", replace(table, series=[zeros]))
    tiny = replace(table.series[0], values=[1e-200 * value for value in table.series[0].values], errors=[0.0] * 64)
    with pytest.raises(UsageError, match=r"RS003: .*of about"):
        draw("quarter-circle", replace(table, series=[tiny]))
    table = TABLES["bidirectional"]()
    with pytest.raises(UsageError, match="figure collapse"):
        draw("quarter-circle", replace(table, matrices=[replace(table.matrices[0], network={})]))


def test_only_markov_matrices_large_enough_and_of_one_kind_are_suited() -> None:
    assert "quarter-circle" in suited(markov(seeds=[0, 1]))
    assert "quarter-circle" not in suited(markov(n=63))
    assert "quarter-circle" not in suited(rs.analyze(rs.synthetic(n=64, d=8)).table)
    two = rs.compare("bidirectional", ensemble=["markov", "markov:gamma:4"], n=64).table
    assert "quarter-circle" not in suited(two)
    assert "quarter-circle" not in suited(rs.Table({}, [], [], []))


@pytest.mark.parametrize("name", ["refused", "zero", "empty", "long_label", "low_rank"])
def test_it_can_be_read_whatever_the_table(name: str) -> None:
    assert_readable(draw("quarter-circle", TABLES[name]()))


def test_hostile_labels_and_the_same_bytes() -> None:
    table = markov()
    table = replace(table, matrices=[replace(table.matrices[0], label=HOSTILE[0])])
    figure = draw("quarter-circle", table)
    assert "$\\foo$ Ba$$in, 64 × 64" in words(figure)
    assert_readable(figure)
    assert to_bytes(draw("quarter-circle", table), "svg") == to_bytes(draw("quarter-circle", table), "svg")
