"""What is of one kind, and what tells the rest apart."""

import statistics

import pytest

import rankscope as rs
from rankscope.report.kinds import kinds, told_apart
from tests.report import canned
from tests.report.canned import matrix, named, usual


def test_kinds_differ_in_more_than_their_seeds() -> None:
    table = rs.compare(["bidirectional", "causal"], n=6, d=2, seed=[0, 1, 2], scale=[1.0, 2.0]).table
    found = kinds(table)
    assert [len(kind.matrices) for kind in found] == [3] * 4
    assert len({(kind.name, kind.matrices[0].scale) for kind in found}) == 4
    for kind in found:
        ids = {matrix.id for matrix in kind.matrices}
        values = [float(r) for r in table if r.measure == "effective_rank" and r.matrix in ids]
        row = kind.mean("effective_rank")
        assert row is not None
        assert row["mean"] == pytest.approx(statistics.mean(values), rel=1e-12)
        assert row["sd"] == pytest.approx(statistics.stdev(values), rel=1e-9)
    assert found[0].mean("no such measure") is None


def test_matrices_without_seeds_are_kinds_of_one() -> None:
    assert [len(kind.matrices) for kind in kinds(rs.compare(["bidirectional", "causal"], n=6, d=2).table)] == [1, 1]


def test_namesakes_are_told_apart_by_their_sizes_and_others_are_left() -> None:
    table = rs.compare(["bidirectional", "causal"], n=[4, 6], d=[2, 3]).table
    labels = [matrix.label for matrix in told_apart(table).matrices]
    assert len(set(labels)) == 8
    assert labels[0] == "bidirectional softmax n 4 d 2"
    dtypes = rs.analyze([rs.synthetic(n=6, d=2, dtype=dtype) for dtype in ("float64", "bfloat16")]).table
    assert len({matrix.label for matrix in told_apart(dtypes).matrices}) == 2
    assert [matrix.label for matrix in told_apart(named("alone")).matrices] == ["alone"]
    files = [matrix(i, "layer.0.attention", source=f"{name}.npz") for i, name in enumerate("ab")]
    found = told_apart(canned.table([*usual(0), *usual(1)], files))
    assert [each.label for each in found.matrices] == ["layer.0.attention a.npz", "layer.0.attention b.npz"]
