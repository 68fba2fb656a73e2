"""Where numbers come from: inputs, studies and commands, so that they can be made again."""

import re
import shlex
from dataclasses import replace
from typing import Any

import pytest

import rankscope as rs
from rankscope.report.provenance import WIDE, in_lines, inputs_of, numbers, versions_of, words_of
from tests.report.canned import several


@pytest.mark.parametrize(
    "command",
    [
        "rankscope analyze --mask causal",
        "rankscope compare --mask 'causal & window:64' " + " ".join(f"--measure name_{i}" for i in range(40)),
        "rankscope analyze " + "x" * 300,
        "rankscope analyze 'it'\"'\"'s here.npy' --key '*.attention'",
    ],
)
def test_a_command_in_lines_is_the_same_to_a_shell(command: str) -> None:
    lines = in_lines(command).splitlines()
    assert shlex.split(in_lines(command).replace("\\\n", " ")) == shlex.split(command)
    assert all(len(line) <= WIDE or len(line.split()) <= 4 for line in lines)
    assert not any(re.search(r" --\w+ \\$", line) for line in lines), "an option keeps its value"
    assert all(line.endswith(" \\") for line in lines[:-1])


def test_what_is_no_command_stays_as_it_is() -> None:
    assert in_lines("an open 'quote") == "an open 'quote"


@pytest.mark.parametrize(
    ("found", "text"), [([], ""), ([3], "3"), ([1, 0], "0, 1"), ([2, 0, 1, 3], "0 to 3"), ([0, 2, 3], "0, 2, 3")]
)
def test_seeds_in_words(found: list[int], text: str) -> None:
    assert numbers(found) == text


def test_matrices_that_differ_in_their_seeds_are_one_row() -> None:
    options: dict[str, Any] = {"n": 6, "d": 2, "measures": "sigma_max"}
    few = inputs_of([rs.compare(["bidirectional", "causal"], seed=[0, 1, 2], **options).table])
    assert few.header == ["matrix", "seed", "SHA-256 of what made it"]
    assert len(few.rows) == len({row[2].text for row in few.rows} | {row[1].text for row in few.rows}) == 6
    many = inputs_of([rs.compare(["bidirectional", "causal"], seed=[*range(13)], **options).table])
    assert [[cell.text for cell in row] for row in many.rows] == [["bidirectional softmax"], ["causal softmax"]]
    assert "seed 0 to 12" in many.note
    assert "size 6 × 6" in many.note


def test_a_matrix_alone_has_its_digest() -> None:
    table = rs.analyze(rs.synthetic(n=6, d=2)).table
    grid = inputs_of([table])
    [row] = grid.rows
    found = dict(zip(grid.header, (cell.text for cell in row), strict=True))
    assert found["SHA-256 of what made it"] == str(table.matrices[0].digest)[:16]
    assert (found["size"], found["seed"], found["source"]) == ("6 × 6", "0", "synthetic")


def test_inputs_of_nothing_and_of_many() -> None:
    assert inputs_of([]).rows == []
    many = several(130)
    many = replace(many, matrices=[replace(each, digest=f"{each.id:064x}") for each in many.matrices])
    grid = inputs_of([many])
    assert len(grid.rows) == 100
    assert "the first 100 of 130" in grid.note


def test_a_study_is_told_by_what_its_sources_share_and_vary() -> None:
    table = rs.compare(["bidirectional", "causal"], n=6, d=2).table
    said = words_of(table.study)
    assert {"mask bidirectional, causal", "n 6", "kernel softmax"} <= set(said)
    assert words_of({"studies": [table.study, table.study]}) == [*said, *said]
    assert words_of({}) == []


@pytest.mark.parametrize("study", [{"studies": 5}, {"studies": [3]}, {"sources": "x"}, {"sources": [1, {"n": 2}]}])
def test_a_study_that_holds_anything_is_told_all_the_same(study: dict[str, Any]) -> None:
    assert all(isinstance(line, str) for line in words_of(study))
    table = replace(rs.analyze([[1.0]]).table, study=study)
    assert table.setting("n") == []


def test_versions_are_said_once() -> None:
    table = rs.analyze([[1.0]]).table
    assert versions_of([table, table]).startswith(f"rankscope {rs.__version__} with python ")
    assert versions_of([replace(table, versions={}), replace(table, versions={})]) == f"rankscope {rs.__version__}"
