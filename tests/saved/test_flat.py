"""Fields as CSV and Parquet hold them."""

from dataclasses import fields
from typing import Any

import pytest

from rankscope.records import Matrix, Record
from rankscope.report.cells import printable
from rankscope.saved.flat import COLUMNS, FLOATS, NUMBERS, OPTIONAL, STRUCTURES, cell, restored, uncell, written
from tests.report.canned import named

CELLS: list[tuple[str, Any, str]] = [
    ("label", "a", "a"),
    ("label", "=1+1", "'=1+1"),
    ("label", "'=1+1", "''=1+1"),
    ("label", "''@a", "'''@a"),
    ("label", "'a'", "'a'"),
    ("label", "'", "''"),
    ("label", "", ""),
    ("label", "-1", "'-1"),
    ("label", "\t=", r"\u{9}="),
    ("label", "\x1b[2J", r"\u{1B}[2J"),
    ("label", "\ud800", r"\u{D800}"),
    ("label", r"\u{1B}", r"\u{5C}u{1B}"),
    ("label", r"\u", r"\u"),
    ("label", "注意力", "注意力"),
    ("key", None, ""),
    ("key", "", "'"),
    ("key", "'", "''"),
    ("layer", None, ""),
    ("network", None, ""),
    ("network", {}, "{}"),
    ("details", {}, ""),
    ("details", {"b": 1, "a": [None, 0.1]}, '{"b": 1, "a": [null, 0.1]}'),
    ("notes", [], ""),
    ("notes", ["a", "b"], "a; b"),
    ("notes", ["a; b"], r"a\u{3B} b"),
    ("notes", ["a;", " b", ""], r"a;;  b; \u{}"),
    ("notes", ["=a", "=b"], "'=a; =b"),
]


@pytest.mark.parametrize(("column", "value", "text"), CELLS)
def test_a_cell_holds_it_and_gives_it_back(column: str, value: Any, text: str) -> None:
    assert cell(column, tuple(value) if column == "notes" else value) == text
    assert uncell(column, text) == value
    assert text == printable(text)


@pytest.mark.parametrize(("column", "value"), [each[:2] for each in CELLS])
def test_so_does_parquet_without_apostrophes(column: str, value: Any) -> None:
    text = written(column, tuple(value) if column == "notes" else value)
    assert text is None or not text.startswith("'") or value.startswith("'")
    assert restored(column, text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("12", 12), ("-3", -3), ("1.0", 1.0), ("1e5", 1e5), ("-2.5E-3", -2.5e-3), ("007", 7)]
)
def test_numbers_keep_their_type(text: str, value: float) -> None:
    assert uncell("value", text) == value
    assert type(uncell("value", text)) is type(value)


@pytest.mark.parametrize("text", ["nan", "inf", "1_000", "٣", " 1", "1.", ".5", "+1", "0x1", "1e", "'1"])
def test_what_is_no_number_stays_text(text: str) -> None:
    assert uncell("value", text) == text


def test_the_columns_are_those_of_the_rows_of_a_table() -> None:
    assert list(COLUMNS) == list(named("a").rows()[0])
    assert {each.name for each in fields(Matrix)} - {"id"} | {each.name for each in fields(Record)} == set(COLUMNS)
    assert {"value", "low", "high", "scale", "fidelity", "null_mean", "null_sd"} == FLOATS
    assert {"rows", "layer", "sign", *FLOATS} < NUMBERS
    assert {"details", "network"} == STRUCTURES
    assert {"value", "key", "network", "layer"} < OPTIONAL
    assert not {"label", "rows", "details", "notes", "because"} & OPTIONAL
