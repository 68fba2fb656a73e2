"""The figure of eigenvalues: every one is drawn where it is, and the circles have their radii."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.errors import UsageError
from rankscope.records import Matrix, Record, Series, Table
from rankscope.report.figure import draw, reading_of, suited, to_bytes
from tests.report.readable import assert_readable, marks, words
from tests.report.synthetic import HOSTILE

MEASURES = ("eigenvalues", "sv_ratio_1_2")


def by_hand(*spectra: Sequence[complex], label: str = "by hand") -> Table:
    matrices = [Matrix(i, label, len(values), len(values)) for i, values in enumerate(spectra)]
    series = [
        Series(i, f"eigenvalues_{name}", list(range(1, len(values) + 1)), [getattr(v, part) for v in values], [])
        for i, values in enumerate(spectra)
        for name, part in (("real", "real"), ("imaginary", "imag"))
    ]
    return Table({}, matrices, [Record(i, "eigenvalues", 0.5) for i in range(len(spectra))], series)


def panels(figure: Any) -> list[Any]:
    return list(figure.axes[0].child_axes)


def dots(axes: Any, gid: str = "dots") -> list[complex]:
    return [
        complex(x, y)
        for line in axes.lines
        if line.get_gid() == gid
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def circles(axes: Any, gid: str) -> list[float]:
    return [patch.radius for patch in axes.patches if patch.get_gid() == gid]


def test_every_eigenvalue_is_drawn_and_the_small_ones_once_more() -> None:
    values = [1.0, -0.1 + 0.2j, -0.1 - 0.2j, 0.05]
    whole, part = panels(draw("eigenvalues", by_hand(values)))
    assert dots(whole) == values
    assert dots(part) == values[1:]
    assert dots(whole, "ring") == [1.0]
    assert dots(part, "ring") == []
    assert circles(whole, "grey-circle") == [1.0]
    (square,) = [patch for patch in whole.patches if patch.get_gid() == "grey-square"]
    assert square.get_x() == part.get_xlim()[0] == pytest.approx(-1.15 * math.hypot(0.1, 0.2))
    assert whole.get_aspect() == part.get_aspect() == 1.0


def test_the_panel_of_the_unit_circle_has_ticks_where_it_crosses_the_axes() -> None:
    whole, part = panels(draw("eigenvalues", by_hand([1.0, -0.1 + 0.2j, -0.1 - 0.2j, 0.05])))
    for ticks in (whole.get_xticks(), whole.get_yticks()):
        assert list(ticks) == [-1, 0, 1]
    assert max(part.get_xticks()) < part.get_xlim()[1]
    (far,) = panels(draw("eigenvalues", by_hand([40.0, -30.0])))
    assert [far.get_xticks()[0], far.get_xticks()[2]] == [-30, 30]


def test_real_matrices_are_drawn_where_their_characteristic_polynomial_vanishes() -> None:
    operator = rs.synthetic(n=4, d=4, seed=5)
    matrix = np.asarray(operator.matrix)  # type: ignore[union-attr]
    (whole, *_) = panels(draw("eigenvalues", rs.analyze(operator, measures=MEASURES).table))
    drawn = dots(whole)
    assert len(drawn) == 4
    for value in drawn:
        assert abs(np.linalg.det(matrix - value * np.eye(4))) < 1e-14
    assert sum(drawn) == pytest.approx(np.trace(matrix))


def test_large_bulks_need_no_second_panel() -> None:
    (whole,) = panels(draw("eigenvalues", by_hand([1.0, 0.6, 0.1])))
    assert dots(whole) == [1.0, 0.6, 0.1]
    (alone,) = panels(draw("eigenvalues", by_hand([1.0])))
    assert dots(alone, "ring") == [1.0]


def test_causal_eigenvalues_are_said_to_be_the_diagonal() -> None:
    operator = rs.synthetic(n=24, d=4, mask="causal")
    figure = draw("eigenvalues", rs.analyze(operator, measures=MEASURES).table)
    diagonal = np.diagonal(np.asarray(operator.matrix))  # type: ignore[union-attr]
    assert sorted(each.real for each in dots(panels(figure)[0])) == pytest.approx(sorted(diagonal), abs=1e-15)
    assert "24 eigenvalues, all real: the diagonal of a triangular matrix" in words(figure)
    assert f"λ₁ = 1, |λ₂| = {sorted(diagonal)[-2]:.4g}" in words(figure)


def test_the_circular_law_of_markov_matrices_has_the_radius_of_theory() -> None:
    table = rs.compare("bidirectional", ensemble=["markov:gamma:4"], n=64, measures=MEASURES).table
    figure = draw("eigenvalues", table)
    for axes in panels(figure):
        assert circles(axes, "dashed-circle") == pytest.approx([0.5 / 8])
    real, imaginary = (series.values for series in table.series if series.name.startswith("eigenvalues"))
    outside = sum(math.hypot(x, y) > 0.5 / 8 for x, y in zip(real[1:], imaginary[1:], strict=True))
    assert f"radius ν/√n = 0.0625: {outside} eigenvalues beside λ₁ lie outside" in words(figure)
    bare = draw("eigenvalues", rs.analyze(rs.synthetic(n=16, d=4), measures=MEASURES).table)
    assert "dashed-circle" not in marks(bare)
    assert "Dashed circle" not in reading_of("eigenvalues", bare)


def test_four_matrices_are_shown_and_the_others_counted() -> None:
    figure = draw("eigenvalues", by_hand(*[[1.0, 0.1 * i] for i in range(1, 7)]))
    said = words(figure)
    assert sum(bool(dots(axes, "ring")) for axes in panels(figure)) == 4
    assert "the first 4 of 6 matrices; 2 left out" in said
    assert "matrix 3: λ₁ = 1, |λ₂| = 0.4" in said
    assert_readable(figure)


def test_seeds_are_told_apart_by_their_seed() -> None:
    table = rs.compare("causal", n=8, d=4, seed=[0, 3], measures=MEASURES).table
    said = words(draw("eigenvalues", table))
    assert "seed 0: λ₁ = 1" in said
    assert "seed 3: λ₁ = 1" in said


def test_matrices_without_eigenvalues_are_counted_with_the_reason() -> None:
    table = rs.analyze([np.eye(3), np.ones((2, 3))], measures=MEASURES).table
    said = words(draw("eigenvalues", table))
    assert "1 of 2 matrices without eigenvalues: only a square matrix has eigenvalues" in said


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UsageError, match=r"RS003: .*without eigenvalues\. Add -m eigenvalues"):
        draw("eigenvalues", rs.analyze(np.eye(3)).table)
    with pytest.raises(UsageError, match=r"RS003: .*only a square matrix"):
        draw("eigenvalues", rs.analyze(np.ones((2, 3)), measures=MEASURES).table)
    with pytest.raises(UsageError, match=r"RS003: .*beyond 10\^300"):
        draw("eigenvalues", by_hand([8e307, 1.0]))


def test_it_is_suited_where_it_was_asked_for() -> None:
    assert "eigenvalues" in suited(rs.analyze(np.eye(3), measures=MEASURES).table)
    assert "eigenvalues" not in suited(rs.analyze(np.eye(3)).table)


@pytest.mark.parametrize("size", [1e-300, 1e-5, 3.0, 1e300])
def test_any_size_can_be_read(size: float) -> None:
    assert_readable(draw("eigenvalues", by_hand([size, 0.01j * size, -0.01j * size])))
    assert_readable(draw("eigenvalues", by_hand([0.0, 0.0])))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_hostile_labels_can_be_read_and_the_bytes_repeat(count: int) -> None:
    table = by_hand(*[[1.0, 0.1j, -0.1j] for _ in range(count)])
    named = [replace(matrix, label=HOSTILE[matrix.id if count > 1 else 5]) for matrix in table.matrices]
    table = replace(table, matrices=named)
    figure = draw("eigenvalues", table)
    assert_readable(figure)
    assert ("$\\foo$ Ba$$in: λ₁ = 1" in words(figure)) == (count > 1)
    assert to_bytes(draw("eigenvalues", table), "svg") == to_bytes(draw("eigenvalues", table), "svg")
