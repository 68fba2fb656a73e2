"""The tables of a document: every number of a result stands in one of them, once, or they say what they lack."""

import statistics
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import rankscope as rs
from rankscope.records import Table
from rankscope.report.cells import compact
from rankscope.report.grid import MOST_ROWS, Grid
from rankscope.report.grids import MANY, main_grid, other_grids
from tests.report.canned import matrix, refused, several, table, usual

KINDS: dict[str, Callable[[], Table]] = {
    "one": lambda: rs.analyze(rs.synthetic(n=12, d=3, mask="causal")).table,
    "two subjects": lambda: rs.analyze(rs.synthetic(n=12, d=3, mask="causal", dtype="bfloat16")).table,
    "few": lambda: rs.compare(["bidirectional", "causal"], n=12, d=3).table,
    "listed": lambda: rs.analyze(rs.synthetic(n=6, d=2, heads=3, layers=3)).table,
    "many": lambda: rs.analyze(rs.synthetic(n=6, d=2, heads=6, layers=5)).table,
    "sizes": lambda: rs.compare("causal", n=[4, 6, 8], d=[2, 3]).table,
}


def column(grid: Grid, name: str) -> list[str]:
    place = grid.header.index(name)
    return [row[place].text for row in grid.rows]


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_has_a_cell_for_each_column(kind: str) -> None:
    for grid in (main_grid(KINDS[kind]()), *other_grids(KINDS[kind]())):
        assert {len(row) for row in grid.rows} == {len(grid.header)}


@pytest.mark.parametrize("kind", ["one", "two subjects", "few"])
def test_every_record_of_few_matrices_is_in_the_first_table(kind: str) -> None:
    found = KINDS[kind]()
    values = [cell.value for row in main_grid(found).rows for cell in row]
    for record in found:
        assert record.value is None or values.count(float(record)) >= 1
    assert other_grids(found) == []


@pytest.mark.parametrize("kind", ["listed", "many", "sizes"])
def test_every_number_of_many_matrices_is_in_one_of_the_tables(kind: str) -> None:
    found = KINDS[kind]()
    grids = [grid for grid in (main_grid(found), *other_grids(found)) if grid.header[0] == "matrix"]
    assert all(len(grid.rows) == len(found.matrices) for grid in grids)
    shown = sum(len(grid.header) - 1 for grid in grids)
    assert shown == len({record.measure for record in found}) + 1, "the sign of the determinant is one more"
    for place, each in enumerate(found.matrices):
        texts = [cell.text for grid in grids for cell in grid.rows[place]]
        for record in found.of(each):
            assert compact(record, each)[:-2] in texts


def test_many_matrices_are_summed_up_first() -> None:
    found = KINDS["many"]()
    assert len(found.matrices) > MANY
    grid = main_grid(found)
    values = sorted(float(r) for r in found if r.measure == "effective_rank")
    [row] = [row for row in grid.rows if row[0].text == "effective_rank"]
    assert (row[1].value, row[3].value, row[4].value) == (values[0], statistics.median(values), values[-1])
    least = min((float(r), r.layer, r.head, r.over) for r in found if r.measure == "effective_rank" and not r.over)
    assert str(least[1]) in row[2].text or least[0] > values[0]


def test_matrices_of_one_mask_are_told_apart_by_their_sizes() -> None:
    from rankscope.report.kinds import told_apart

    names = column(main_grid(told_apart(KINDS["sizes"]())), "matrix")
    assert len(set(names)) == 6
    assert names[0] == "n 4 d 2"


def test_seeds_of_one_kind_are_means_and_of_several_rows() -> None:
    one = rs.compare("causal", n=6, d=2, seed=[0, 1, 2]).table
    grid = main_grid(one)
    values = [float(r) for r in one if r.measure == "stable_rank"]
    [row] = [row for row in grid.rows if row[0].text == "stable_rank"]
    assert row[1].value == pytest.approx(statistics.mean(values), rel=1e-12)
    assert row[2].value == pytest.approx(statistics.stdev(values), rel=1e-9)
    assert (row[3].value, row[4].value, row[5].text) == (min(values), max(values), "3")
    two = rs.compare(["causal", "bidirectional"], n=6, d=2, seed=[0, 1, 2]).table
    grids = [main_grid(two), *other_grids(two)]
    assert all(len(grid.rows) == 2 for grid in grids)
    assert sum(len(grid.header) - 1 for grid in grids) == len({record.measure for record in two}) + 1
    shown = next(cell.text for cell in grids[0].rows[0][1:] if "±" in cell.text)
    mean, deviation = (float(text.replace("−", "-")) for text in shown.split(" ± "))
    assert deviation > 0
    assert abs(mean) > 0


def test_what_is_only_bounded_is_sorted_by_its_bound() -> None:
    linear = rs.compare(["bidirectional", "causal"], kernel="linear", n=[6, 8, 10], d=2).table
    grid = main_grid(linear)
    exact, logs = ([row[grid.header.index(name)] for row in grid.rows] for name in ("exact", "log |det|"))
    assert {cell.value for cell in exact if cell.text == "≤ 2"} == {2.0}
    assert all((cell.value == -1e308) == (cell.text == "−∞") for cell in logs)
    assert any(cell.text == "−∞" for cell in logs)


def test_a_refused_matrix_has_its_code() -> None:
    bad, records = refused(1, "bad")
    grid = main_grid(table([*usual(), *records], [matrix(), bad]))
    assert {row[2].text for row in grid.rows if row[0].text not in ("sign",)} == {"RS110"}


def test_nulls_stand_beside_the_numbers() -> None:
    found = rs.analyze(rs.synthetic(n=6, d=2, heads=5, layers=2), null=2).table
    main, *others = main_grid(found), *other_grids(found)
    assert main.header.count("its null") == 1
    assert all(grid.header.count("its null") >= 1 for grid in others[:3])


def test_a_table_that_is_cut_says_so() -> None:
    found = several(MOST_ROWS + 20)
    grid = next(grid for grid in other_grids(found) if grid.header[0] == "matrix")
    assert len(grid.rows) == MOST_ROWS
    assert f"The first {MOST_ROWS} of {MOST_ROWS + 20} rows" in grid.note


def test_a_study_of_depth_has_its_layers_and_all_networks() -> None:
    one = rs.depth(n=6, d=2, layers=3, paths=True).table
    assert column(main_grid(one), "layer") == ["0", "1", "2", "3"]
    assert [grid.title.split()[0] for grid in other_grids(one)] == ["paths"]
    several = rs.depth(["bidirectional", "causal"], n=6, d=2, layers=3).table
    assert [grid.header[0] for grid in other_grids(several)] == ["layer", "layer"]


def test_signs_of_determinants_stand_beside_their_logarithms() -> None:
    found = rs.compare("bidirectional", n=[5, 6, 7], d=[2, 3], measures="logdet").table
    grid = main_grid(found)
    assert grid.header == ["matrix", "log |det|", "sign"]
    signs = [int(np.linalg.slogdet(dense(each.rows, each.d)).sign) for each in found.matrices]
    assert [row[2].text for row in grid.rows] == [f"{sign:+d}".replace("-", "−") for sign in signs]
    seeds = rs.compare(["bidirectional", "causal"], n=5, d=2, seed=[0, 1, 2, 3], measures="logdet").table
    grid = main_grid(seeds)
    by_seed = Counter(int(np.linalg.slogdet(dense(5, 2, seed)).sign) for seed in range(4))
    assert [row[2].text for row in grid.rows][1] == "+1"
    said = ", ".join(f"{sign:+d} ({by_seed[sign]})".replace("-", "−") for sign in (1, -1) if by_seed[sign])
    assert sorted(grid.rows[0][2].text.split(", ")) == sorted(said.split(", ")) or len(by_seed) == 1


def dense(n: int, d: int | None, seed: int = 0) -> NDArray[np.float64]:
    """Bidirectional softmax attention of the standard ensemble, by its definition."""
    rng = np.random.default_rng(seed)
    q, k = rng.standard_normal((n, d or 1)), rng.standard_normal((n, d or 1))
    weights = np.exp(q @ k.T / (d or 1) ** 0.5)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
