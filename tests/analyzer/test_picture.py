"""Pictures of matrices: means over blocks, held beside the numbers, and only where they are asked for."""

from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.analyzer.picture import LEAST, MOST, TOGETHER, edges, picture, resolutions
from rankscope.attention.operators import from_array
from rankscope.attention.origin import Origin
from rankscope.records import Series
from tests.process import called, strict_json, violations


def slowly(matrix: Any, side: int) -> Any:
    """The same by its definition, entry by entry: entry i of n belongs to block ⌊((i + 1)·b − 1)/n⌋ of b."""
    shape = tuple(min(length, side) for length in matrix.shape)
    sums, counts = np.zeros(shape), np.zeros(shape)
    for (i, j), value in np.ndenumerate(matrix):
        place = tuple(((k + 1) * b - 1) // n for k, b, n in zip((i, j), shape, matrix.shape, strict=True))
        sums[place] += value
        counts[place] += 1
    return sums / counts


@pytest.mark.parametrize(("shape", "side"), [((10, 10), 4), ((7, 13), 5), ((3, 40), 8), ((9, 9), 9), ((5, 5), 128)])
def test_a_picture_holds_the_means_over_blocks(shape: tuple[int, int], side: int) -> None:
    matrix = np.random.default_rng(0).standard_normal(shape)
    found = picture(from_array(matrix), side)
    assert found is not None
    np.testing.assert_allclose(found, slowly(matrix, side), rtol=0, atol=sum(shape) * 2.0**-52 * abs(matrix).max())
    if side >= max(shape):
        assert np.array_equal(found, matrix)


def test_blocks_cover_every_row_once() -> None:
    for length in (1, 2, 7, 128, 513):
        for count in (1, 2, 7, 128):
            found = edges(length, min(length, count))
            assert (found[0], found[-1]) == (0, length)
            assert min(np.diff(found)) >= 1
            assert max(np.diff(found)) - min(np.diff(found)) <= 1


def test_a_block_is_zero_only_where_nothing_in_it_is_seen() -> None:
    operator = rs.synthetic(n=60, d=4, mask="causal")
    found = picture(operator, 8)  # type: ignore[arg-type]
    assert found is not None
    begins, ends = edges(60, 8)[:-1], edges(60, 8)[1:]
    assert np.array_equal(found == 0, [[first >= last for first in begins] for last in ends])


def test_a_mean_that_is_finite_is_found_where_the_sum_overflows() -> None:
    found = picture(from_array(np.full((6, 7), 1.5e308)), 2)
    assert found is not None
    np.testing.assert_allclose(found, 1.5e308, rtol=1e-14)


def test_some_matrices_have_no_picture() -> None:
    assert picture(from_array(np.eye(3) * 1j), 8) is None
    assert picture(from_array(np.empty((0, 3))), 8) is None


@pytest.mark.parametrize(("count", "side"), [(1, 128), (8, 128), (72, 42), (144, 30), (10_000, 8)])
def test_pictures_of_many_matrices_are_smaller(count: int, side: int) -> None:
    found = resolutions([(Origin(head=head), (512, 512)) for head in range(count)])
    assert found == [side] * count
    assert side in (MOST, LEAST) or (count * side**2 <= TOGETHER < count * (side + 1) ** 2)


def test_of_several_seeds_the_first_has_a_picture() -> None:
    places = [
        (Origin(label, d=d, seed=seed), (n, n)) for label in "ab" for n in (4, 8) for d in (1, 2) for seed in (3, 5, 7)
    ]
    assert [bool(side) for side in resolutions(places)] == [True, False, False] * 8
    assert resolutions([(Origin("array"), (4, 4))] * 3) == [128] * 3


# ------------------------------------------------------------------------------------------------------- in a result


def pictures_of(result: rs.Result) -> list[Series]:
    return [series for series in result.table.series if series.name == "attention"]


def test_a_result_holds_the_matrix_row_by_row() -> None:
    operator = rs.synthetic(n=20, d=4, mask="causal", seed=3)
    result = rs.analyze(operator, measures="hoyer", pictures=True)
    [series] = pictures_of(result)
    assert (series.columns, series.index, series.errors) == (20, list(range(1, 401)), [])
    assert np.array_equal(np.reshape(series.values, (20, 20)), np.asarray(operator))
    assert series.seed == 3
    assert violations(strict_json(result.to_json())) == []
    assert result.table.study["pictures"] is True


def test_without_pictures_nothing_of_a_result_changes() -> None:
    operator = rs.synthetic(n=20, d=4, mask="causal")
    plain, pictured = rs.analyze(operator), rs.analyze(operator, pictures=True)
    assert pictures_of(plain) == []
    assert "pictures" not in plain.table.study
    assert plain.table.records == pictured.table.records
    assert plain.table.series == [series for series in pictured.table.series if series.name != "attention"]


def test_every_way_to_hold_a_matrix_has_a_picture() -> None:
    options: dict[str, Any] = {"n": 12, "d": 3, "heads": 2, "layers": 2, "kernel": "linear", "seed": 1}
    operators = rs.synthetic(**options)
    assert isinstance(operators, list)
    found = pictures_of(rs.analyze(operators, measures="hoyer", pictures=True))
    assert {type(each).__name__ for each in operators} == {"Factored", "Mean", "Concatenation", "Product"}
    for operator, series in zip(operators, found, strict=True):
        assert np.array_equal(np.reshape(series.values, (-1, series.columns or 0)), np.asarray(operator))
        assert (series.layer, series.head, series.over) == (
            operator.origin.layer,
            operator.origin.head,
            operator.origin.over,
        )


def test_a_refused_matrix_has_none_and_a_null_adds_none() -> None:
    matrices = [np.eye(4), np.full((4, 4), np.nan), np.full((4, 4), 0.25)]
    found = pictures_of(rs.analyze(matrices, measures="hoyer", null=2, pictures=True))
    assert [series.matrix for series in found] == [0, 2]


def test_a_comparison_has_them_too() -> None:
    found = pictures_of(rs.compare(["causal", "bidirectional"], n=8, d=2, seed=[0, 1], measures="hoyer", pictures=True))
    assert [series.seed for series in found] == [0, 0]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [(["a.pdf"], True), (["a.html"], True), (["a.png"], False), (["a.json"], False)]
    + [(["a.png", "--figure", name], wanted) for name, wanted in (("attention", True), ("spectrum", False))],
)
@pytest.mark.parametrize("command", ["analyze", "compare"])
def test_the_command_asks_for_them_where_they_are_shown(
    command: str, options: list[str], wanted: bool, tmp_path: Any
) -> None:
    target, *more = options
    done = called(command, "--n", 8, "--d", 2, "-f", "json", "-o", tmp_path / target, *more)
    assert done.status == 0, done.everything
    found = strict_json(done.raw)
    assert ("attention" in {series["name"] for series in found["series"]}) == wanted
    assert found["study"].get("pictures", False) == wanted
