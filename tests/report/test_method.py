"""How numbers were found, in words: only what occurs, and nothing that the program does not know."""

import rankscope as rs
from rankscope.analyzer.rank import RULES as REGISTERED
from rankscope.records import Table
from rankscope.report.method import GUARANTEES, RULES, method
from rankscope.report.terminal import SUBJECTS
from tests.report.canned import matrix, refused, table, usual


def names(found: Table) -> list[str]:
    return [paragraph.name for paragraph in method([found])]


def test_every_word_of_the_program_has_its_meaning() -> None:
    from typing import get_args

    from rankscope import records

    assert set(GUARANTEES) == set(get_args(records.Guarantee))
    assert set(SUBJECTS) == set(get_args(records.Subject))
    assert set(RULES) == set(REGISTERED.names())


def test_formulas_of_rules_are_those_of_their_docstrings() -> None:
    for entry in REGISTERED:
        assert entry.help.partition(":")[0].replace(" ", "")[:12] in RULES[entry.name].replace(" ", ""), entry.name


def test_only_what_occurs_is_explained() -> None:
    plain = rs.analyze([[2.0, 0.5], [0.5, 1.0]], measures="effective_rank").table
    assert names(plain) == ["estimated", "subject"]
    assert "null" in names(rs.analyze(rs.synthetic(n=6, d=2), null=2).table)
    assert "tolerance" in names(rs.analyze(rs.synthetic(n=6, d=2), rtol=1e-3).table)
    assert "enclosed" in names(rs.analyze(rs.synthetic(n=6, d=2), prove=True).table)
    assert "residual" in names(rs.depth(n=6, d=2, layers=2).table)


def test_the_seeds_of_nulls_are_counted_from_the_fewest_to_the_most() -> None:
    two, three = (rs.analyze(rs.synthetic(n=6, d=2), null=count).table for count in (2, 3))
    assert any("over 3 seeds of matched" in each.text for each in method([three]))
    assert any("over 2 to 3 seeds of matched" in each.text for each in method([two, three]))


def test_what_was_refused_is_named_with_its_reason() -> None:
    bad, records = refused(1, "bad head")
    found = list(method([table([*usual(), *records], [matrix(), bad])]))
    [said] = [paragraph.text for paragraph in found if paragraph.name == "RS110"]
    assert said.startswith("bad head was not measured. NaN in bad head")


def test_notes_on_matrices_are_kept() -> None:
    made = rs.analyze(rs.synthetic(n=6, d=2, mask="strict")).table
    assert made.matrices[0].notes
    assert any(made.matrices[0].notes[0] in paragraph.text for paragraph in method([made]))
