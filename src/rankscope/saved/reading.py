"""A result is read back as a stranger's, so that an old one still reports: what is not exactly one is refused.

What its fields may hold is read from the JSON schema that the package ships; which fields there are, and what they are
where they are missing, from the rows of `records`. Fields that a later version has added within the number of the
schema are left out, fields that an earlier one had not are filled. The summary is not read: it follows from the
records. CSV and Parquet hold neither the study nor the series, nor matrices without records.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from functools import cache
from pathlib import Path
from typing import Any, Final

from rankscope import __version__
from rankscope.errors import error
from rankscope.records import SCHEMA, Matrix, Record, Series, Table, schema
from rankscope.saved.conforming import Check, checker, shown
from rankscope.saved.flat import OF_MATRIX, OF_RECORD, restored, strict_json, uncell

LONGEST: Final = 512 * 2**20
"""The most bytes that are read, and that a Parquet file may unpack to."""

MOST_ROWS: Final = 10**7
"""The most rows of a Parquet file: equal ones take no bytes."""

DEEPEST: Final = 32
"""How deeply lists and objects may be nested."""

GIVE: Final = "give a result that rankscope wrote: rankscope analyze … -o result.json"

ROWS: Final[dict[str, type[Any]]] = {"matrices": Matrix, "records": Record, "series": Series}

Columns = Mapping[str, list[Any]]


def read(path: str | Path) -> Table:
    """The result in a file: .json as it was, .csv and .parquet without study and series.

    RS501 where the file cannot be read, RS207 where it is something else or of a later schema, RS208 where it holds
    nothing, RS211 where it is malformed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise error("RS207", f"{path.name!r} is no result that is read back", f"{GIVE} (or .csv, or .parquet)")
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise error("RS501", f"{path.name!r} does not exist, or is not a file", GIVE)
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as reason:
        raise error("RS501", f"cannot read {path.name!r}: {reason.strerror}", GIVE) from reason
    if not content or content.isspace():
        raise error("RS208", f"{path.name!r} is empty", GIVE)
    try:
        if len(content) > LONGEST:
            raise ValueError(f"it has more than {LONGEST} bytes")
        found = READERS[suffix](content)
        refuse_others(found, path.name)
        return table_of(found)
    except (ValueError, RecursionError) as reason:
        said = "it is nested too deeply" if isinstance(reason, RecursionError) else f"{reason}"
        raise error("RS211", f"the result {path.name!r} is malformed: {said}", GIVE) from reason


def refuse_others(found: Any, name: str) -> None:
    """Refuse what is well formed and something else: a certificate, or the result of a later version."""
    if not isinstance(found, dict):
        raise ValueError(f"it is {shown(found)}, not an object")
    if "certificate" in found and "records" not in found:
        raise error("RS207", f"{name!r} is a certificate, not a result", f"check it with: rankscope verify {name!r}")
    number = found.get("schema")
    if type(number) is int and number > SCHEMA:
        given = f"{name!r} has the schema {number}, and rankscope {__version__} knows {SCHEMA}"
        raise error("RS207", given, "read it with a later version of rankscope")


def of_json(content: bytes) -> Any:
    """The document of a JSON file."""
    return strict_json(content.decode("utf-8-sig"))


def of_csv(content: bytes) -> Any:
    """The document that the rows of a CSV file make."""
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except csv.Error as reason:
        raise ValueError(f"it is not CSV ({reason})") from reason
    header, *rows = lines
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(f"records[{number}] has {len(row)} cells, and the header {len(header)}")
    return of_columns(header, [list(column) for column in zip(*rows, strict=True)], uncell)


def of_parquet(content: bytes) -> Any:
    """The document that the rows of a Parquet file make."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise error(
            "RS004", "a .parquet file without pyarrow", "install it with: pip install 'rankscope[parquet]'"
        ) from None
    try:
        file = parquet.ParquetFile(io.BytesIO(content), page_checksum_verification=True)
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        too_large = file.metadata.num_rows > MOST_ROWS or sum(group.total_byte_size for group in groups) > LONGEST
        held = None if too_large else file.read()
        columns = [] if held is None else [column.to_pylist() for column in held.columns]
        counts = json.loads((file.schema_arrow.metadata or {}).get(b"rankscope", b"{}"))
        found = [] if held is None else with_counts(held.column_names, columns, counts)
    except Exception as reason:  # a damaged file can make the reader fail in any way
        raise ValueError(f"it cannot be read as Parquet ({type(reason).__name__})") from reason
    if held is None:
        raise ValueError(f"it unpacks to more than {LONGEST} bytes or {MOST_ROWS} rows")
    return of_columns(held.column_names, found, restored)


def with_counts(names: list[str], columns: list[list[Any]], counts: Mapping[str, Mapping[str, int]]) -> list[list[Any]]:
    """Columns of floats with the whole numbers among them, which are told apart where they are the same number."""
    for name, column in zip(names, columns, strict=True):
        for row, count in counts.get(name, {}).items():
            if type(count) is int and column[int(row)] == float(count):
                column[int(row)] = count
    return columns


def of_columns(names: list[str], columns: list[list[Any]], back: Callable[[str, Any], Any]) -> dict[str, Any]:
    """The document that columns make: matrices are taken apart from the records that they were joined to."""
    if len(set(names)) != len(names):
        raise ValueError("a column stands twice in it")
    known = [name for name in names if name in OF_MATRIX or name in OF_RECORD]
    if "matrix" not in known:
        raise ValueError("it has no column 'matrix'")
    if not columns or not columns[0]:
        raise error("RS208", "a table without rows", GIVE)
    held = {
        name: [back(name, value) for value in column]
        for name, column in zip(names, columns, strict=True)
        if name in known
    }
    records = list(rows(held, OF_RECORD))
    matrices: dict[Any, dict[str, Any]] = {}
    for number, own in enumerate(rows(held, OF_MATRIX)):
        identity = records[number]["matrix"]
        if type(whole(identity)) is not int:
            raise ValueError(f"records[{number}].matrix is {shown(identity)}, not a whole number")
        first = matrices.setdefault(identity, own)
        if first != own:
            name = next(name for name in own if own[name] != first[name])
            raise ValueError(f"records[{number}].{name} is {shown(own[name])}, and was {shown(first[name])} before")
    listed = [{"id": identity, **own} for identity, own in matrices.items()]
    head = {"schema": SCHEMA, "rankscope": __version__, "study": {}}
    return {**head, "matrices": listed, "records": records, "series": []}


def rows(held: Columns, names: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of some columns."""
    chosen = [name for name in names if name in held]
    return (dict(zip(chosen, row, strict=True)) for row in zip(*(held[name] for name in chosen), strict=True))


def table_of(found: Mapping[str, Any]) -> Table:
    """The table that a document describes; ValueError, with the place, where it describes none."""
    names, check = described()
    document = {name: found[name] for name in names if name in found} | {"summary": []}
    for name, kind in ROWS.items():
        if isinstance(document.get(name), list):
            document[name] = [completed(kind, row) for row in document[name]]
    wrong = check(document)
    if wrong is not None:
        raise ValueError(wrong.removeprefix(".").strip())
    if deeper(document, DEEPEST):
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    made = {each.name: document[each.name] for each in fields(Table) if each.name in document}
    made["matrices"] = [Matrix(**{**row, "notes": tuple(row["notes"])}) for row in document["matrices"]]
    made |= {name: [kind(**row) for row in document[name]] for name, kind in ROWS.items() if kind is not Matrix}
    table = Table(**made, version=document["rankscope"])
    check_relations(table)
    return table


@cache
def described() -> tuple[list[str], Check]:
    """The fields of a document, and what the schema has against one."""
    whole = schema()
    return list(whole["properties"]), checker(whole, whole)


def completed(kind: type[Any], row: Any) -> Any:
    """A row with the fields of its kind and no others, those that are missing as they are by default.

    Whole numbers that another program has made 3.0 are whole numbers again where nothing else is meant.
    """
    if not isinstance(row, dict):
        return row
    made = {}
    for name, counts, default in PLACES[kind]:
        if name in row:
            made[name] = whole(row[name]) if counts else row[name]
        elif default is not None:
            made[name] = default()
    return made


def default_of(field: Field[Any]) -> Callable[[], Any] | None:
    """What makes the default of a field, as JSON holds it; None if it has none."""
    if field.default_factory is not MISSING:
        return field.default_factory
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return None if value is MISSING else lambda: value


def whole(value: Any) -> Any:
    """A float that is a whole number as an integer; anything else as it is."""
    return int(value) if type(value) is float and value.is_integer() else value


def deeper(value: Any, room: int) -> bool:
    """Whether a value is nested more deeply than that."""
    if isinstance(value, dict):
        return room == 0 or any(deeper(each, room - 1) for each in value.values() if isinstance(each, dict | list))
    if isinstance(value, list):
        return room == 0 or any(deeper(each, room - 1) for each in value if isinstance(each, dict | list))
    return False


def check_relations(table: Table) -> None:
    """Refuse rows that do not fit each other."""
    known: dict[int, int] = {}
    for number, matrix in enumerate(table.matrices):
        if matrix.id in known:
            raise ValueError(f"matrices[{number}].id is {matrix.id}, and so is that of matrices[{known[matrix.id]}]")
        known[matrix.id] = number
    for number, record in enumerate(table.records):
        if record.matrix not in known:
            raise ValueError(f"records[{number}].matrix is {record.matrix}, and no matrix has this id")
    for number, each in enumerate(table.series):
        if each.matrix not in known:
            raise ValueError(f"series[{number}].matrix is {each.matrix}, and no matrix has this id")
        count = len(each.values)
        if len(each.index) != count or len(each.errors) not in (0, count):
            raise ValueError(
                f"series[{number}] has {count} values, {len(each.index)} in its index and {len(each.errors)} errors"
            )
        if each.columns is not None and (not each.columns or count % each.columns):
            raise ValueError(f"series[{number}].columns is {each.columns}, which does not divide {count} values")


PLACES: Final = {
    kind: [(each.name, each.type in (int, int | None), default_of(each)) for each in fields(kind)]
    for kind in ROWS.values()
}
"""The fields of each kind of row, whether they hold whole numbers alone, and their defaults."""

READERS: Final[dict[str, Callable[[bytes], Any]]] = {".json": of_json, ".csv": of_csv, ".parquet": of_parquet}
"""How each format is read."""
