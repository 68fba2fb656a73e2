r"""A field of a row as CSV and Parquet hold it, and what it was: each way of writing stands beside its way back.

Nothing is lost. Control characters, which a terminal would obey, and halves of characters are written `\u{1B}`, and so
is a backslash that would look like one of those. Notes are joined by "; ", structures are JSON. In CSV, text that a
spreadsheet would run gets a leading apostrophe, and so does text that would be taken for one that got it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from types import NoneType
from typing import Any, Final, get_args, get_origin

from rankscope.records import Matrix, Record

OF_MATRIX: Final[dict[str, Any]] = {each.name: each.type for each in fields(Matrix) if each.name != "id"}
OF_RECORD: Final[dict[str, Any]] = {each.name: each.type for each in fields(Record)}
COLUMNS: Final = {**OF_MATRIX, **OF_RECORD}
"""The columns of `Table.rows` in their order, and the type of each; `matrix` is the id of a record's matrix."""

NUMBERS: Final = frozenset(name for name, kind in COLUMNS.items() if {int, float} & {kind, *get_args(kind)})
FLOATS: Final = frozenset(name for name, kind in COLUMNS.items() if float in {kind, *get_args(kind)})
OPTIONAL: Final = frozenset(name for name, kind in COLUMNS.items() if NoneType in get_args(kind))
STRUCTURES: Final = frozenset(
    name for name, kind in COLUMNS.items() if Mapping in {get_origin(each) for each in (kind, *get_args(kind))}
)
"""Columns of numbers; of those that need not be whole; those in which nothing may stand; and those of structures."""

ESCAPED: Final = re.compile(r"\\u\{([0-9A-F]*)\}")
NUMBER: Final = re.compile(r"-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?")
RUN: Final = re.compile(r"'*([=+\-@]|\Z)")
"""What a spreadsheet takes for a formula (CWE-1236), behind apostrophes; and apostrophes alone."""


def written(column: str, value: Any) -> Any:
    """A number as it is; structures, notes and names as text without control characters; None as it is."""
    if isinstance(value, Mapping):
        return json.dumps(value, allow_nan=False) if value or column in OPTIONAL else ""
    if isinstance(value, tuple):
        return "; ".join(escaped(note).replace("; ", r"\u{3B} ") if note else r"\u{}" for note in value)
    return escaped(value) if isinstance(value, str) else value


def restored(column: str, value: Any) -> Any:
    """What was written into a column, as JSON holds it; what is not text stays as it is, for the schema to judge."""
    if value is None or column in NUMBERS:
        return value
    if not isinstance(value, str):
        raise ValueError(f"the column {column!r} holds something other than text")
    if column in STRUCTURES:
        return strict_json(value) if value else {}
    if column == "notes":
        return [unescaped(note) for note in value.split("; ")] if value else []
    return unescaped(value)


def cell(column: str, value: Any) -> Any:
    """A field as CSV holds it: written, defused, and nothing for None."""
    text = written(column, value)
    if value is None:
        return ""
    return f"'{text}" if isinstance(text, str) and (RUN.match(text) if text else column in OPTIONAL) else text


def uncell(column: str, text: str) -> Any:
    """What a cell of CSV was."""
    if not text and column in OPTIONAL:
        return None
    if column in NUMBERS:
        return number(text)
    return restored(column, text[1:] if text.startswith("'") and RUN.match(text[1:]) else text)


def number(text: str) -> Any:
    """The number that a text holds; the text itself where it holds none."""
    found = NUMBER.fullmatch(text)
    if found is None:
        return text
    return float(text) if found[1] or found[2] else int(text)


def escaped(text: str) -> str:
    r"""Text with `\u{…}` for what is no letter, sign or space.

    >>> print(escaped("a\x1b[2J"))
    a\u{1B}[2J
    """
    safe = text.replace(r"\u{", r"\u{5C}u{")
    return safe if safe.isprintable() else "".join(c if c.isprintable() else f"\\u{{{ord(c):X}}}" for c in safe)


def unescaped(text: str) -> str:
    """The text that was escaped."""
    return ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else "", text) if "\\" in text else text


def strict_json(text: str) -> Any:
    """JSON as the standard has it, of numbers that float64 can hold: no NaN, no infinity, no key twice."""
    return json.loads(
        text, object_pairs_hook=unique, parse_constant=refused, parse_float=bounded, parse_int=bounded_integer
    )


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, unless a key stands in it twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def refused(constant: str) -> float:
    """NaN and infinities are not JSON."""
    raise ValueError(f"it holds {constant}")


def bounded(text: str) -> float:
    """A number, unless it is beyond float64."""
    found = float(text)
    if abs(found) == float("inf"):
        raise ValueError(f"it holds {text[:20]}, which is beyond float64")
    return found


def bounded_integer(text: str) -> int:
    """A whole number, unless it is beyond float64."""
    bounded(text)
    return int(text)
