"""Results as flat rows: looked up, joined, summarised, and written as JSON that the shipped schema describes."""

import copy
import json
import math
import statistics
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rankscope as rs
from rankscope import records
from rankscope.errors import CATALOGUE
from rankscope.records import Matrix, Record, Series, Table
from tests.process import strict_json, violations

ONE = Record(0, "stable_rank", 2.0)
REAL = rs.analyze(rs.synthetic(n=6, d=2, mask="causal"), measures=["all"]).table


def table(*found: Record, matrices: int = 1, **fields: Any) -> Table:
    return Table({}, [Matrix(i, f"matrix {i}", 3, 3) for i in range(matrices)], list(found), [], **fields)


# ------------------------------------------------------------------------------------------------------------- look-up


def test_one_record_comes_as_itself_and_several_as_a_table() -> None:
    other = replace(ONE, matrix=1, value=3.0)
    hoyer = Record(0, "hoyer", 0.5)
    assert table(ONE, hoyer)["stable_rank"] is ONE
    several = table(ONE, hoyer, other, matrices=2)["stable_rank"]
    assert isinstance(several, Table)
    assert list(several) == [ONE, other]
    assert len(several) == 2
    assert several["stable_rank"] == several


def test_what_was_not_measured_says_what_was() -> None:
    with pytest.raises(KeyError, match=r"'hoyer' was not measured; this result holds stable_rank, gini") as caught:
        table(ONE, Record(0, "gini", 1.0), ONE)["hoyer"]
    assert "\\" not in str(caught.value).replace("\\'", "")


def test_the_records_of_one_matrix_keep_their_order() -> None:
    other = replace(ONE, matrix=1)
    found = table(ONE, other, Record(0, "gini", 1.0), matrices=2)
    assert [each.measure for each in found.of(found.matrices[0])] == ["stable_rank", "gini"]
    assert found.of(found.matrices[1]) == [other]


def test_a_record_is_a_number_unless_it_is_not_known() -> None:
    assert float(ONE) == 2.0
    with pytest.raises(ValueError, match="gini is not known: not stochastic"):
        float(Record(0, "gini", None, because="not stochastic"))


def test_records_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        ONE.value = 3.0  # type: ignore[misc]


# ---------------------------------------------------------------------------------------------------------------- rows


def test_rows_join_the_columns_of_the_matrix_and_lose_none_of_the_record() -> None:
    rows = REAL.rows()
    assert len(rows) == len(REAL.records)
    for row, record in zip(rows, REAL.records, strict=True):
        assert all(row[each.name] == getattr(record, each.name) for each in fields(Record))
        [owner] = [each for each in REAL.matrices if each.id == record.matrix]
        assert all(row[each.name] == getattr(owner, each.name) for each in fields(Matrix) if each.name != "id")
        assert "id" not in row


# ------------------------------------------------------------------------------------------------------------- summary


def seeded(values: list[float | None], **fields: Any) -> Table:
    found = [
        replace(ONE, matrix=i, seed=i, value=value, because="?" * (value is None)) for i, value in enumerate(values)
    ]
    return Table({}, [Matrix(i, "same", 3, 3, **fields) for i in range(len(values))], found, [])


numbers = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False)


@given(st.lists(numbers, min_size=2, max_size=12))
def test_a_summary_is_what_the_statistics_module_finds(values: list[float]) -> None:
    [row] = seeded([*values]).summary()
    assert row["mean"] == pytest.approx(statistics.fmean(values), rel=1e-12, abs=1e-9)
    assert row["sd"] == pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-9)
    assert (row["min"], row["max"], row["count"]) == (min(values), max(values), len(values))


def test_unknown_values_are_left_out_and_counted_out() -> None:
    [row] = seeded([1.0, None, 3.0]).summary()
    assert (row["mean"], row["count"], row["min"], row["max"]) == (2.0, 2, 1.0, 3.0)
    [row] = seeded([None, 5.0]).summary()
    assert (row["mean"], row["sd"], row["count"]) == (5.0, None, 1)
    assert seeded([None, None]).summary() == []


def test_one_seed_is_no_summary() -> None:
    assert seeded([1.0]).summary() == []
    assert table(ONE, replace(ONE, matrix=1), matrices=2).summary() == []


def test_the_summary_of_a_million_equal_numbers_has_no_spread() -> None:
    [row] = seeded([0.1] * 1000).summary()
    assert row["mean"] == pytest.approx(0.1, rel=1e-15)
    assert row["sd"] < 1e-16


@pytest.mark.parametrize("field", ["layer", "head", "over", "subject", "measure"])
def test_what_differs_is_summarised_apart(field: str) -> None:
    other: Any = {"layer": 1, "head": 1, "over": "heads-mean", "subject": "factors", "measure": "hoyer"}[field]
    changes: list[dict[str, Any]] = [{}, {field: other}]
    found = [replace(ONE, seed=seed, **change) for seed in range(3) for change in changes]
    rows = table(*found).summary()
    assert [row["count"] for row in rows] == [3, 3]
    assert {row[field] for row in rows} == {getattr(ONE, field), other}


@pytest.mark.parametrize("different", [{"n": 16}, {"d": 3}, {"scale": 2.0}, {"dtype": "float16"}], ids=str)
def test_ensembles_that_differ_in_more_than_the_seed_are_summarised_apart(different: dict[str, Any]) -> None:
    base: dict[str, Any] = {"n": 8, "d": 2, "dtype": "float32"}
    sources = [rs.Synthetic(**{**base, **more}, seed=seed) for more in ({}, different) for seed in range(3)]
    rows = rs.run(rs.Study(tuple(sources), ("sigma_max",))).table.summary()
    assert [row["count"] for row in rows] == [3, 3]


# ---------------------------------------------------------------------------------------------------------------- JSON


def test_the_document_is_the_whole_table_in_the_order_of_the_schema() -> None:
    document = strict_json(REAL.to_json())
    assert list(document) == ["schema", "rankscope", "study", "matrices", "records", "series", "summary", "versions"]
    assert document["schema"] == records.SCHEMA == 1
    assert document["rankscope"] == rs.__version__
    assert [each["measure"] for each in document["records"]] == [each.measure for each in REAL.records]
    assert [each["value"] for each in document["records"]] == [each.value for each in REAL.records]
    assert [each["values"] for each in document["series"]] == [each.values for each in REAL.series]
    assert replace(REAL, run={"seconds": 1.0}).document()["run"] == {"seconds": 1.0}


def test_json_can_be_made_into_the_same_rows_again() -> None:
    document = strict_json(REAL.to_json())
    again = Table(
        document["study"],
        [Matrix(**{**each, "notes": tuple(each["notes"])}) for each in document["matrices"]],
        [Record(**each) for each in document["records"]],
        [Series(**each) for each in document["series"]],
        versions=document["versions"],
    )
    assert again.to_json() == REAL.to_json()
    assert again.matrices == REAL.matrices
    assert again.records == [replace(each, details=dict(each.details)) for each in REAL.records]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["value", "low", "high"])
def test_nan_and_infinity_are_never_written(field: str, value: float) -> None:
    change: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match="JSON"):
        table(replace(ONE, **change)).to_json()
    with pytest.raises(ValueError, match="JSON"):
        table(replace(ONE, details={"deep": [value]})).to_json()


def test_every_float_comes_back_exactly() -> None:
    exact = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -2981.2290792345678, 2.0**-1074 * 3]
    document = strict_json(table(*[replace(ONE, value=value) for value in exact]).to_json())
    assert [each["value"] for each in document["records"]] == exact


@given(label=st.text(), because=st.text())
def test_any_text_comes_back_from_json_that_is_ascii(label: str, because: str) -> None:
    found = Table({}, [Matrix(0, label, 1, 1, key=label)], [replace(ONE, because=because)], [])
    text = found.to_json()
    assert text.isascii()
    document = strict_json(text)
    assert (document["matrices"][0]["key"], document["records"][0]["because"]) == (label, because)


# -------------------------------------------------------------------------------------------------------------- schema

SCHEMA = records.schema()


def test_the_schema_is_a_schema_of_draft_2020_12() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_names_exactly_the_fields_that_are_written() -> None:
    kinds = {"matrix": Matrix, "record": Record, "series": Series}
    for name, kind in kinds.items():
        described = SCHEMA["$defs"][name]
        assert list(described["properties"]) == [each.name for each in fields(kind)]
        assert described["required"] == list(described["properties"])
    [row] = seeded([1.0, 2.0]).summary()
    assert list(SCHEMA["$defs"]["summary"]["properties"]) == list(row)
    assert list(SCHEMA["properties"]) == [*seeded([1.0, 2.0]).document(), "command", "versions", "run"]


def test_the_schema_knows_the_words_and_codes_of_the_program() -> None:
    properties = SCHEMA["$defs"]["record"]["properties"]
    assert properties["guarantee"]["enum"] == list(get_args(records.Guarantee))
    assert properties["subject"]["enum"] == list(get_args(records.Subject))
    assert all(jsonschema.Draft202012Validator(properties["code"]).is_valid(code) for code in CATALOGUE)


def nothing_left_open(node: Any) -> list[str]:
    """Objects of the schema that would take any property."""
    if isinstance(node, list):
        return [each for item in node for each in nothing_left_open(item)]
    if not isinstance(node, dict):
        return []
    open_here = [str(node)] if "properties" in node and node.get("type") == "object" else []
    closed = [] if node.get("additionalProperties", True) is False else open_here
    return closed + [each for item in node.values() for each in nothing_left_open(item)]


def test_the_schema_leaves_open_only_study_versions_run_and_details() -> None:
    assert nothing_left_open(SCHEMA) == []
    free = [name for name, each in SCHEMA["properties"].items() if each == {**each, "type": "object"}]
    assert free == ["study", "versions", "run"]
    of_record = SCHEMA["$defs"]["record"]["properties"]
    assert [name for name, each in of_record.items() if each.get("type") == "object"] == ["details"]


REAL_TABLES: dict[str, Callable[[], Table]] = {
    "causal": lambda: REAL,
    "bidirectional": lambda: rs.analyze(rs.synthetic(n=6, d=2), measures=["all"]).table,
    "linear": lambda: rs.analyze(rs.synthetic(n=6, d=2, kernel="linear"), measures=["all"]).table,
    "underflow": lambda: rs.analyze(rs.synthetic(n=40, d=64, mask="causal", dtype="bfloat16", scale=40.0)).table,
    "empty": lambda: rs.analyze([[]], measures=["all"]).table,
    "complex": lambda: rs.analyze([[1j, 0], [1, 2]], measures=["all"]).table,
    "rectangular": lambda: rs.analyze([[0.5, 0.25, 0.25]], measures=["all"]).table,
    "huge": lambda: rs.analyze([[1e308, 1e308], [1e308, 1e308]], measures=["all"]).table,
    "zero": lambda: rs.analyze([[0.0, 0.0], [0.0, 0.0]], measures=["all"]).table,
    "heads": lambda: rs.analyze(rs.synthetic(n=6, d=2, heads=2, layers=2, plan="heads")).table,
    "seeds": lambda: rs.run(rs.Study(tuple(rs.Synthetic(6, 2, seed=seed) for seed in range(3)))).table,
    "one bad head": lambda: rs.analyze([[[1.0]], [[math.nan]]]).table,
    "timing": lambda: rs.run(rs.Study((rs.Synthetic(4, 2),)), timing=True).table,
}


@pytest.mark.parametrize("name", REAL_TABLES)
def test_every_kind_of_result_obeys_the_schema(name: str) -> None:
    assert violations(strict_json(REAL_TABLES[name]().to_json())) == []


Change = Callable[[dict[str, Any]], object]
MUTATIONS: dict[str, Change] = {
    "another schema number": lambda d: d.update(schema=2),
    "no version": lambda d: d.pop("rankscope"),
    "another top-level field": lambda d: d.update(extra=1),
    "a study that is a list": lambda d: d.update(study=[]),
    "a record without a guarantee": lambda d: d["records"][0].pop("guarantee"),
    "another guarantee": lambda d: d["records"][0].update(guarantee="certified"),
    "another subject": lambda d: d["records"][0].update(subject="matrix"),
    "an unknown field in a record": lambda d: d["records"][0].update(colour="red"),
    "a bare rank": lambda d: d["records"][0].update(measure="rank"),
    "a measure without a name": lambda d: d["records"][0].update(measure=""),
    "text for a value": lambda d: d["records"][0].update(value="512"),
    "a truth for a value": lambda d: d["records"][0].update(value=True),
    "an infinite value": lambda d: d["records"][2].update(value=math.inf),
    "an infinite bound": lambda d: d["records"][2].update(low=-math.inf),
    "half a rank": lambda d: d["records"][0].update(value=1.5),
    "a negative rank": lambda d: d["records"][0].update(low=-1),
    "null without a reason": lambda d: d["records"][2].update(value=None, because=""),
    "enclosed without bounds": lambda d: d["records"][2].update(guarantee="enclosed", low=None),
    "a sign of two": lambda d: d["records"][0].update(sign=2),
    "a sign of something else": lambda d: d["records"][0].update(sign=1),
    "a logarithm of zero": lambda d: logdet(d).update(sign=0),
    "an unknown status": lambda d: d["records"][0].update(status="bad"),
    "refused without a code": lambda d: d["records"][2].update(status="refused", value=None, because="NaN"),
    "refused with a value": lambda d: d["records"][2].update(status="refused", code="RS110"),
    "measured with a code": lambda d: d["records"][0].update(code="RS110"),
    "a code that is none": lambda d: d["records"][0].update(status="refused", code="E1", value=None, because="x"),
    "details that are a list": lambda d: d["records"][0].update(details=[]),
    "a negative head": lambda d: d["records"][0].update(head=-1),
    "an unknown aggregate": lambda d: d["records"][0].update(over="heads"),
    "a matrix without a label": lambda d: d["matrices"][0].pop("label"),
    "a matrix of half a row": lambda d: d["matrices"][0].update(rows=0.5),
    "a note that is no text": lambda d: d["matrices"][0].update(notes=[1]),
    "a digest that is none": lambda d: d["matrices"][0].update(digest="abc"),
    "an unknown field in a matrix": lambda d: d["matrices"][0].update(path="/home/x"),
    "a series with text": lambda d: d["series"][0].update(values=["1"]),
    "a series with null": lambda d: d["series"][0].update(values=[None]),
    "a negative error": lambda d: d["series"][0].update(errors=[-1.0]),
    "an unknown field in a series": lambda d: d["series"][0].update(colour="red"),
    "a summary of nothing": lambda d: d["summary"].append({}),
}


def logdet(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in document["records"] if each["measure"] == "logdet")
    return found


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_schema_refuses(name: str) -> None:
    document = copy.deepcopy(json.loads(REAL.to_json()))
    assert violations(document) == []
    MUTATIONS[name](document)
    assert violations(document) != []


def test_a_summary_obeys_the_schema_and_no_other_row_does() -> None:
    document = json.loads(rs.run(rs.Study(tuple(rs.Synthetic(4, 2, seed=seed) for seed in range(2)))).to_json())
    assert document["summary"]
    for change in ({"count": 0}, {"mean": None}, {"sd": "0"}, {"seed": 1}, {"subject": "other"}):
        changed = copy.deepcopy(document)
        changed["summary"][0].update(change)
        assert violations(changed) != [], change
