"""Results read back: the same as they were, whatever they hold; what is not one is refused in words."""

import copy
import json
import math
import random
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rankscope as rs
from rankscope.errors import FormatError, RankscopeError
from rankscope.records import Matrix, Record, Series, Table, schema
from rankscope.report.save import save
from rankscope.report.table import to_csv, to_parquet
from rankscope.saved import read, reading
from tests.process import violations
from tests.report.canned import HOSTILE, matrix, named, record, refused, several, table, usual

REAL = rs.analyze(rs.synthetic(n=8, d=2, mask="causal", dtype="bfloat16"), measures=["all"]).table
SEEDS = rs.run(rs.Study(tuple(rs.Synthetic(4, 2, seed=seed) for seed in range(2))), timing=True).table
DEPTH = rs.depth(n=6, d=3, layers=3, design=["pure", "skip"], seeds=range(2), measures=["all"], paths=True).table
BAD = table(usual() + refused(1, "stack head 1")[1], [matrix(), refused(1, "stack head 1")[0]])
PICTURE = Series(0, "attention", list(range(1, 7)), [0.5] * 6, [], columns=3)
TABLES = {
    "real": REAL,
    "seeds": replace(SEEDS, command="rankscope analyze --n 4\n"),
    "depth": DEPTH,
    "refused": BAD,
    "several": several(6, d=3, scale=1.0, notes=("one; two", "", "=three")),
    "picture": table(usual(), series=[PICTURE]),
}
SUFFIXES = (".json", ".csv", ".parquet")


def back(content: bytes | str, folder: Path, suffix: str = ".json") -> Table:
    path = folder / f"result{suffix}"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path)


def through(found: Table, suffix: str, folder: Path) -> Table:
    save(found, folder / f"result{suffix}")
    return read(folder / f"result{suffix}")


def kinds(row: Any) -> list[type]:
    return [type(getattr(row, each.name)) for each in fields(row)]


# ----------------------------------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize("name", TABLES)
def test_json_comes_back_as_the_same_bytes(name: str, tmp_path: Path) -> None:
    found = TABLES[name]
    again = through(found, ".json", tmp_path)
    assert again.to_json() == found.to_json()
    assert again.matrices == found.matrices
    assert (again.run, again.command, again.version, again.versions) == (
        found.run,
        found.command,
        found.version,
        found.versions,
    )


def without_arrays(details: Any) -> Any:
    """Details as JSON has them: it knows no tuples."""
    return json.loads(json.dumps(details))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("name", TABLES)
def test_csv_and_parquet_bring_every_matrix_and_record_back(name: str, suffix: str, tmp_path: Path) -> None:
    found = TABLES[name]
    again = through(found, suffix, tmp_path)
    used = {each.matrix for each in found.records}
    assert again.matrices == [each for each in found.matrices if each.id in used]
    assert again.records == [replace(each, details=without_arrays(each.details)) for each in found.records]
    for ours, theirs in zip([*again.matrices, *again.records], [*found.matrices, *found.records], strict=True):
        assert kinds(ours) == kinds(theirs), "a type is lost"
    assert again.series == []
    assert again.study == {}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_comes_back(name: str, suffix: str, tmp_path: Path) -> None:
    found = named(HOSTILE[name])
    assert through(found, suffix, tmp_path).matrices == found.matrices


TEXTS = st.one_of(st.text(), st.text("'=+-@;u{}\\1B \t\r\n\ud800", max_size=8))


@given(label=TEXTS, key=st.none() | TEXTS, notes=st.lists(TEXTS, max_size=3), because=TEXTS)
def test_any_text_comes_back_from_csv_and_parquet(label: str, key: str | None, notes: list[str], because: str) -> None:
    found = Table({}, [Matrix(0, label, 1, 1, key=key, notes=tuple(notes))], [Record(0, "hoyer", 1.0)], [])
    found.records[0] = replace(found.records[0], because=because, details={label: [because, None, {"a": 0.1}]})
    for text, reader in ((to_csv(found).encode(), reading.of_csv), (to_parquet(found), reading.of_parquet)):
        again = reading.table_of(reader(text))
        assert (again.matrices, again.records) == (found.matrices, found.records)


@given(st.one_of(st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False)))
def test_any_number_comes_back_with_its_type(value: float) -> None:
    found = table([record("hoyer", value)])
    for text, reader in ((to_csv(found).encode(), reading.of_csv), (to_parquet(found), reading.of_parquet)):
        [again] = reading.table_of(reader(text)).records
        assert again.value == value
        assert type(again.value) is type(value)
        assert math.copysign(1, float(again.value)) == math.copysign(1, value)


def test_many_heads_are_read_in_no_time(tmp_path: Path) -> None:
    found = several(72 * 4)
    for suffix in SUFFIXES:
        save(found, tmp_path / f"a{suffix}")
        started = time.perf_counter()
        again = read(tmp_path / f"a{suffix}")
        assert time.perf_counter() - started < 1.5, "0.1 s, if nothing else runs"
        assert again.records == found.records


def test_the_name_may_be_text_and_its_suffix_of_any_case(tmp_path: Path) -> None:
    save(REAL, tmp_path / "A.JSON")
    assert read(str(tmp_path / "A.JSON")).to_json() == REAL.to_json()


def test_a_mark_of_byte_order_is_no_part_of_the_text(tmp_path: Path) -> None:
    assert back(b"\xef\xbb\xbf" + REAL.to_json().encode(), tmp_path).to_json() == REAL.to_json()
    assert back(b"\xef\xbb\xbf" + to_csv(BAD).encode(), tmp_path, ".csv").records == BAD.records


def test_parquet_that_another_program_wrote_comes_back(tmp_path: Path) -> None:
    """Columns of integers in which something is missing become floats in pandas, and our metadata are lost."""
    import pandas as pd

    save(BAD, tmp_path / "a.parquet")
    pd.read_parquet(tmp_path / "a.parquet").to_parquet(tmp_path / "b.parquet")
    again = read(tmp_path / "b.parquet")
    assert again.records == BAD.records
    assert again.matrices == BAD.matrices


def test_metadata_that_do_not_fit_change_no_number(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    found = table([record("hoyer", 0.5), record("rank_exact", 8), record("gini", 8.0)])
    save(found, tmp_path / "a.parquet")
    held = parquet.read_table(tmp_path / "a.parquet")
    parquet.write_table(held.slice(1), tmp_path / "b.parquet")
    assert [each.value for each in read(tmp_path / "b.parquet").records] == [8, 8.0]


# ----------------------------------------------------------------------------------------------- earlier and later ones


def documented(found: Table = REAL) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(found.to_json())
    return document


def test_fields_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    document = documented()
    document["colour"] = document["records"][0]["colour"] = document["matrices"][0]["colour"] = ["red"]
    document["series"][0]["colour"] = document["version"] = "red"
    assert back(json.dumps(document), tmp_path).to_json() == REAL.to_json()


def test_fields_that_an_earlier_version_had_not_are_filled(tmp_path: Path) -> None:
    document = documented()
    for each in document["records"]:
        del each["null_mean"], each["null_sd"], each["null_count"]
    for each in document["matrices"]:
        del each["ensemble"], each["network"], each["notes"]
    for each in document["series"]:
        del each["columns"]
    del document["summary"], document["versions"]
    again = back(json.dumps(document), tmp_path)
    assert again.matrices == REAL.matrices
    assert [each.columns for each in again.series] == [None] * len(REAL.series)
    assert again.versions == {}


def test_columns_of_earlier_and_later_versions(tmp_path: Path) -> None:
    lines = to_csv(table([record("hoyer", 0.5)])).splitlines()
    header, row = lines[0].split(","), lines[1].split(",")
    kept = [i for i, name in enumerate(header) if not name.startswith("null")]
    text = "\n".join(",".join([*(each[i] for i in kept), "red"]) for each in (header, row))
    assert back(text, tmp_path, ".csv").records == [record("hoyer", 0.5)]


# ------------------------------------------------------------------------------------------------------------- refusals


def refusal(action: Callable[[], object], code: str) -> RankscopeError:
    with pytest.raises(RankscopeError) as caught:
        action()
    assert caught.value.code == code, str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


Change = Callable[[dict[str, Any]], object]


def one(document: dict[str, Any], measure: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in document["records"] if each["measure"] == measure)
    return found


CHANGES: dict[str, tuple[Change, str]] = {
    "text for a value": (lambda d: d["records"][2].update(value="12"), "records[2].value is '12', not a finite number"),
    "a truth": (lambda d: d["records"][0].update(value=True), "records[0].value is true, not a finite number"),
    "no measure": (lambda d: d["records"][1].pop("measure"), "records[1] has no 'measure'"),
    "a bare rank": (lambda d: d["records"][0].update(measure="rank"), "other than 'rank'"),
    "no study": (lambda d: d.pop("study"), "has no 'study'"),
    "no series": (lambda d: d.pop("series"), "has no 'series'"),
    "no version": (lambda d: d.pop("rankscope"), "has no 'rankscope'"),
    "schema zero": (lambda d: d.update(schema=0), "schema is 0, not 1"),
    "a schema that is true": (lambda d: d.update(schema=True), "schema is true, not 1"),
    "a guarantee": (lambda d: d["records"][0].update(guarantee="sure"), "guarantee is 'sure', not one of 'proved', "),
    "a subject": (lambda d: d["records"][0].update(subject="it"), "records[0].subject is 'it', not one of 'scores'"),
    "a negative id": (lambda d: d["matrices"][0].update(id=-1), "matrices[0].id is -1, not a whole number of at least"),
    "an id twice": (lambda d: d["matrices"].append(d["matrices"][0]), "matrices[1].id is 0, and so is that of"),
    "a record of nothing": (lambda d: d["records"][3].update(matrix=7), "records[3].matrix is 7, and no matrix has"),
    "a series of nothing": (lambda d: d["series"][0].update(matrix=7), "series[0].matrix is 7, and no matrix has"),
    "a short index": (lambda d: d["series"][0]["index"].pop(), "series[0] has 8 values, 7 in its index"),
    "few errors": (lambda d: d["series"][0].update(errors=[0.0]), "and 1 errors"),
    "text in a series": (lambda d: d["series"][0]["values"].insert(0, "x"), "series[0].values[0] is 'x', not a finite"),
    "columns that do not fit": (lambda d: d["series"][0].update(columns=3), "series[0].columns is 3, which does not"),
    "no columns": (lambda d: d["series"][0].update(columns=0), "columns is 0"),
    "no reason": (lambda d: one(d, "hoyer").update(value=None, because=""), "rule: What is not known says why."),
    "a digest": (lambda d: d["matrices"][0].update(digest="abc"), "matrices[0].digest is 'abc', not text or null like"),
    "deep details": (lambda d: d["records"][0]["details"].update(a=nested(40)), "nested more than 32 deep"),
    "a huge text": (lambda d: d["records"][0].update(layer="x" * 9999), f"layer is '{'x' * 39}…, not"),
    "control characters": (lambda d: d["records"][0].update(layer="\x1b[2J\n"), r"layer is '\x1b[2J\n', not"),
}


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_wrong_is_said_with_its_place_and_a_remedy(name: str, tmp_path: Path) -> None:
    change, said = CHANGES[name]
    document = documented()
    change(document)
    problem = refusal(lambda: back(json.dumps(document), tmp_path), "RS211")
    assert isinstance(problem, FormatError)
    assert said in problem.given
    assert "'result.json'" in problem.given
    assert "-o result.json" in problem.remedy


WRONG: tuple[Any, ...] = ("x", "", -1, 0.5, True, None, [], {}, [1], 10**309, "rank", 2, "refused", "RS110")


def places(node: Any) -> list[tuple[Any, ...]]:
    """The places of everything in a document that has a description of its own."""
    if isinstance(node, list):
        return [(i, *rest) for i, each in enumerate(node[:2]) for rest in [(), *places(each)]]
    if not isinstance(node, dict):
        return []
    own = [(name,) for name in node]
    return own + [(n, *rest) for n, each in node.items() if n not in ("study", "details") for rest in places(each)]


def put(node: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A document with another value in one place."""
    if not place:
        return value
    changed = copy.copy(node)
    changed[place[0]] = put(node[place[0]], place[1:], value)
    return changed


SMALL = replace(DEPTH, records=[DEPTH.records[0], *REAL.records[:9]], matrices=DEPTH.matrices[:1], series=[PICTURE])
SMALL = replace(SMALL, run={"seconds": 1.0}, command="rankscope depth")


def test_whatever_the_schema_refuses_is_refused() -> None:
    """Each place of a document is given each of some values; jsonschema says what is wrong with it."""
    document = documented(SMALL)
    assert violations(document) == []
    count, valid = 0, jsonschema.Draft202012Validator(schema()).is_valid
    for place in [each for each in places(document) if each[0] != "summary"]:
        for value in WRONG:
            changed = put(document, place, value)
            if not valid(changed):
                count += 1
                with pytest.raises(ValueError, match=r"\w"):
                    reading.table_of(changed)
    assert count > 800


def test_what_the_schema_takes_is_read() -> None:
    document, valid = documented(SMALL), jsonschema.Draft202012Validator(schema()).is_valid
    for place in [each for each in places(document) if each[0] in ("records", "matrices")]:
        if place[-1] in ("matrix", "id"):
            continue
        for value in (None, 2, "x", 3.0):
            changed = put(document, place, value)
            if valid(changed):
                assert valid(json.loads(reading.table_of(changed).to_json()))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"schema": NaN}', "NaN"),
        ('{"schema": 1, "study": {"a": Infinity}}', "Infinity"),
        ('{"schema": 1, "study": {"a": 1e999}}', "1e999, which is beyond float64"),
        ('{"schema": 1, "study": {"a": 1' + "0" * 400 + "}}", "beyond float64"),
        ('{"schema": 1, "schema": 1}', "a key stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ("[1, 2]", "a list of 2, not an object"),
        ("null", "null, not an object"),
        ('{"schema": 1', "Expecting"),
        ("\ufeff\ufeff{}", "BOM"),
        ('"a\\', "Unterminated"),
    ],
)
def test_text_that_is_not_strict_json(text: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(lambda: back(text, tmp_path), "RS211").given


def test_a_file_of_another_kind_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(2))
    for suffix in SUFFIXES:
        refusal(lambda suffix=suffix: back((tmp_path / "a.npy").read_bytes(), tmp_path, suffix), "RS211")  # type: ignore[misc]
        refusal(lambda suffix=suffix: back(b" \n ", tmp_path, suffix), "RS208")  # type: ignore[misc]
        refusal(lambda suffix=suffix: read(tmp_path / f"none{suffix}"), "RS501")  # type: ignore[misc]
        (tmp_path / f"folder{suffix}").mkdir()
        refusal(lambda suffix=suffix: read(tmp_path / f"folder{suffix}"), "RS501")  # type: ignore[misc]
    assert ".csv" in refusal(lambda: read(tmp_path / "a.npy"), "RS207").remedy


def test_a_certificate_is_told_from_a_result(tmp_path: Path) -> None:
    rs.certificate(rs.synthetic(n=4, d=2, mask="causal")).write(tmp_path / "proof.json")
    problem = refusal(lambda: read(tmp_path / "proof.json"), "RS207")
    assert "is a certificate" in problem.given
    assert "rankscope verify 'proof.json'" in problem.remedy


def test_a_later_schema_needs_a_later_version(tmp_path: Path) -> None:
    problem = refusal(lambda: back('{"schema": 2, "results": []}', tmp_path), "RS207")
    assert "the schema 2" in problem.given
    assert "later version" in problem.remedy


def test_files_that_are_too_large_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST", 1000)
    for suffix, content in ((".json", REAL.to_json().encode()), (".csv", to_csv(REAL).encode())):
        given = refusal(lambda c=content, s=suffix: back(c, tmp_path, s), "RS211").given  # type: ignore[misc]
        assert "more than 1000 bytes" in given
    monkeypatch.setattr(reading, "LONGEST", 10**9)
    monkeypatch.setattr(reading, "MOST_ROWS", 3)
    assert "3 rows" in refusal(lambda: back(to_parquet(REAL), tmp_path, ".parquet"), "RS211").given


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = to_parquet(REAL)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "rankscope[parquet]" in refusal(lambda: back(content, tmp_path, ".parquet"), "RS004").remedy


CSV = to_csv(table([record("hoyer", 0.5), record("gini", 0.25)]))
CELLS: dict[str, tuple[Callable[[str], str], str]] = {
    "a number that is text": (lambda t: t.replace("0.25", "0.25x"), "records[1].value is '0.25x', not a finite number"),
    "a number of other digits": (lambda t: t.replace("0.25", "٣"), "records[1].value is '\\u0663', not"),
    "an infinite number": (lambda t: t.replace("0.25", "1e999"), "records[1].value is inf"),
    "NaN": (lambda t: t.replace("0.25", "nan"), "records[1].value is 'nan'"),
    "a cell too many": (lambda t: t.rstrip() + ",\n", "records[1] has 41 cells, and the header 40"),
    "another size": (lambda t: t.replace("softmax,8", "softmax,9", 1), "records[1].rows is 8, and was 9 before"),
    "no id": (lambda t: t.replace(",0,gini", ",,gini"), "records[1].matrix is '', not a whole number"),
    "half an id": (lambda t: t.replace(",0,gini", ",0.5,gini"), "records[1].matrix is 0.5, not a whole number"),
    "a column twice": (lambda t: t.replace("method", "unit"), "a column stands twice"),
    "no column of matrices": (lambda t: t.replace("matrix,", "matrices,"), "no column 'matrix'"),
    "no column of rows": (lambda t: t.replace("rows,", "lines,"), "matrices[0] has no 'rows'"),
    "an open quotation": (lambda t: t + '"a', "not CSV"),
    "details that are no JSON": (lambda t: t.replace(",ok,,", ",ok,,{"), "Expecting property name"),
    "details that are a list": (lambda t: t.replace(",ok,,", ",ok,,[1]"), "records[0].details is a list of 1, not an"),
}


@pytest.mark.parametrize("name", CELLS)
def test_what_is_wrong_in_csv_is_said_with_its_place(name: str, tmp_path: Path) -> None:
    change, said = CELLS[name]
    assert change(CSV) != CSV
    assert said in refusal(lambda: back(change(CSV), tmp_path, ".csv"), "RS211").given


def test_a_header_alone_holds_nothing(tmp_path: Path) -> None:
    refusal(lambda: back(CSV.splitlines()[0], tmp_path, ".csv"), "RS208")
    refusal(lambda: back(to_parquet(table([])), tmp_path, ".parquet"), "RS208")


def test_parquet_of_other_types_is_refused(tmp_path: Path) -> None:
    import pandas as pd

    save(REAL, tmp_path / "a.parquet")
    for column, value in (("label", 1), ("label", b"x"), ("details", [[1]]), ("value", "x"), ("matrix", [[0]])):
        frame = pd.read_parquet(tmp_path / "a.parquet")
        frame[column] = pd.Series([value] * len(frame), dtype="object")
        frame.to_parquet(tmp_path / "b.parquet")
        refusal(lambda: read(tmp_path / "b.parquet"), "RS211")


def damaged(content: bytes, random: random.Random) -> bytes:
    """Content with a few bytes changed, left out, doubled or cut off."""
    made = bytearray(content)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(made))
        how = random.randrange(4)
        if how == 0:
            made[place] ^= 1 << random.randrange(8)
        elif how == 1:
            del made[place : place + random.randint(1, 20)]
        elif how == 2:
            made[place:place] = random.choice([b"9" * 30, b"[", b'"', b",", b"-", struct.pack("<q", -1), b"\\u"])
        else:
            made = made[: place + 1]
    return bytes(made)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_give_an_error_or_a_result_and_nothing_else(suffix: str, tmp_path: Path) -> None:
    save(replace(BAD, series=[PICTURE]), tmp_path / f"a{suffix}")
    content = (tmp_path / f"a{suffix}").read_bytes()
    chance = random.Random(0)
    refusals = 0
    for _ in range(300):
        try:
            again = back(damaged(content, chance), tmp_path, suffix)
        except RankscopeError:
            refusals += 1
        else:
            assert violations(json.loads(again.to_json())) == []
    assert refusals > 100
