"""Several results as few: nothing is lost, and rows still point to their matrices."""

import json
from dataclasses import replace

import rankscope as rs
from rankscope.records import Matrix, Record, Series, Table
from rankscope.saved import merged
from tests.process import violations

ONE = rs.analyze(rs.synthetic(n=4, d=2, mask="causal")).table
TWO = rs.run(rs.Study(tuple(rs.Synthetic(4, 2, seed=seed) for seed in range(2)))).table
DEEP = rs.depth(n=4, d=2, layers=2).table
DEEPER = rs.depth(n=4, d=2, layers=3, design=["pure", "skip"], product=True).table


def told(table: Table) -> list[tuple[Matrix, list[Record], list[Series]]]:
    """Each matrix without its number, with its rows without it."""
    return [
        (
            replace(matrix, id=0),
            [replace(each, matrix=0) for each in table.of(matrix)],
            [replace(each, matrix=0) for each in table.series if each.matrix == matrix.id],
        )
        for matrix in table.matrices
    ]


def test_one_result_stays_as_it_is() -> None:
    assert merged([ONE]) == [ONE]
    assert merged([ONE])[0] is ONE
    assert merged([]) == []


def test_matrices_come_first_and_depth_after() -> None:
    assert [each.over_depth for each in merged([DEEP, ONE])] == [False, True]
    assert merged([DEEP, ONE])[0] is ONE
    flat, deep = merged([DEEP, ONE, DEEPER, TWO])
    assert told(flat) == told(ONE) + told(TWO)
    assert told(deep) == told(DEEP) + told(DEEPER)


def test_matrices_are_numbered_anew_whatever_their_numbers() -> None:
    odd = replace(ONE, matrices=[replace(ONE.matrices[0], id=7)], records=[replace(r, matrix=7) for r in ONE.records])
    odd = replace(odd, series=[replace(each, matrix=7) for each in ONE.series])
    [found] = merged([odd, odd, TWO])
    assert [each.id for each in found.matrices] == [0, 1, 2, 3]
    plain = [replace(m, label=m.label.partition(" (result")[0]) for m in found.matrices]
    assert told(replace(found, matrices=plain)) == told(ONE) * 2 + told(TWO)
    assert violations(json.loads(found.to_json())) == []


def test_seeds_of_several_files_are_summed_up_together() -> None:
    apart = [rs.analyze(rs.synthetic(n=4, d=2, seed=seed)).table for seed in range(3)]
    [found] = merged(apart)
    [row] = [each for each in found.summary() if each["measure"] == "sigma_max"]
    assert (row["count"], row["min"]) == (3, min(float(each["sigma_max"]) for each in apart))  # type: ignore[arg-type]


def test_the_study_is_the_one_that_all_share_or_all_of_them() -> None:
    assert merged([ONE, ONE])[0].study == ONE.study
    assert merged([ONE, TWO, ONE])[0].study == {"studies": [ONE.study, TWO.study]}
    [again] = merged([*merged([ONE, TWO]), replace(ONE, study={})])
    assert again.study == {"studies": [ONE.study, TWO.study, {}]}
    strange = replace(ONE, study={"studies": 5})
    assert merged([strange, ONE])[0].study == {"studies": [{"studies": 5}, ONE.study]}


def test_commands_and_versions_stand_side_by_side_once() -> None:
    first = replace(ONE, command="rankscope a", version="0.1.0", versions={"numpy": "2.0"}, run={"seconds": 1.0})
    second = replace(TWO, command="rankscope b", version="0.2.0", versions={"numpy": "2.1", "python": "3.11"})
    [found] = merged([first, second, first, replace(ONE, versions={})])
    assert found.command is not None
    *typed, last = found.command.split("\n")
    assert (typed, last[:29]) == (["rankscope a", "rankscope b"], "# a result without a command:")
    assert (found.version, found.versions) == (f"0.1.0, 0.2.0{more(found)}", {"numpy": "2.0, 2.1", "python": "3.11"})
    assert found.run is None
    assert merged([ONE, TWO])[0].command is None


def more(found: Table) -> str:
    """Our own version, where it is another."""
    return "" if rs.__version__ in ("0.1.0", "0.2.0") else f", {rs.__version__}"


def test_what_stands_in_several_results_is_labelled_by_them() -> None:
    one, other = rs.analyze(rs.synthetic(n=4, d=2)).table, rs.analyze(rs.synthetic(n=4, d=2, seed=1)).table
    [table] = merged([one, one, other], ["a.json", "b.json", "c.json"])
    labels = [matrix.label for matrix in table.matrices]
    assert labels == ["bidirectional softmax (a.json)", "bidirectional softmax (b.json)", "bidirectional softmax"]
    [table] = merged([one, one])
    assert [matrix.label[-10:] for matrix in table.matrices] == ["(result 1)", "(result 2)"]
    assert merged([one]) == [one]
