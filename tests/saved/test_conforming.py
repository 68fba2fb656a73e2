"""What a schema has against a value: the same as jsonschema has, for every keyword that ours uses."""

from typing import Any

import jsonschema
import pytest

from rankscope.records import schema
from rankscope.saved.conforming import ELSEWHERE, KEYWORDS, TYPES, checker, expected, shown

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2.0,
    0.5,
    "",
    "ok",
    "b",
    [],
    [1],
    ["a"],
    {},
    {"a": 1},
    {"b": "x"},
)
NODES: dict[str, dict[str, Any]] = {
    **{f"type {name}": {"type": name} for name in TYPES},
    "types": {"type": ["string", "null"]},
    "enum": {"enum": [1, "ok", None]},
    "const": {"const": 1},
    "minimum": {"minimum": 0},
    "maximum": {"maximum": 1},
    "minLength": {"minLength": 1},
    "pattern": {"pattern": "^o"},
    "anyOf": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]},
    "not": {"not": {"const": "ok"}},
    "if": {"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"type": "integer"}},
    "if without else": {"if": {"properties": {"a": {"const": 1}}}, "then": {"type": "object"}},
    "properties": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
    "others": {"properties": {"a": {}}, "additionalProperties": {"type": "integer"}},
    "items": {"items": {"type": "integer"}},
    "allOf": {"allOf": [{"type": "integer", "description": "whole"}, {"minimum": 1, "description": "large"}]},
    "reference": {"$ref": "#/$defs/count", "maximum": 1},
}


@pytest.mark.parametrize("name", NODES)
def test_a_keyword_means_what_it_means_to_jsonschema(name: str) -> None:
    whole = {**NODES[name], "$defs": {"count": {"type": "integer", "minimum": 0, "maximum": 9}}}
    theirs, ours = jsonschema.Draft202012Validator(whole), checker(whole, whole)
    found = [ours(value) is None for value in VALUES]
    assert found == [theirs.is_valid(value) for value in VALUES]
    assert len(set(found)) == 2, "it refuses all, or nothing"


def keywords(node: Any, named: bool = False) -> set[str]:
    """The keywords of a schema, whose names of properties are none."""
    if isinstance(node, list):
        return {each for item in node for each in keywords(item)}
    if not isinstance(node, dict):
        return set()
    own = set() if named else set(node)
    inner = {n: e for n, e in node.items() if named or n not in ("enum", "const", "required")}
    return own.union(*(keywords(e, not named and n in ("properties", "$defs")) for n, e in inner.items()), set())


def test_every_keyword_of_the_schema_is_known() -> None:
    assert keywords(schema()) <= {*KEYWORDS, *ELSEWHERE}


def test_every_rule_of_the_schema_is_in_words() -> None:
    rules = [rule for each in schema()["$defs"].values() for rule in each.get("allOf", [])]
    assert rules
    assert all(rule["description"].endswith(".") for rule in rules)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 10**400])
def test_what_float64_cannot_hold_is_no_number(value: float) -> None:
    assert checker({"type": "number"}, {})(value) is not None


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"type": ["integer", "null"], "minimum": 0}, "a whole number or null of at least 0"),
        ({"enum": ["a", None]}, "one of 'a', null"),
        ({"type": "string", "minLength": 1, "not": {"const": "rank"}}, "text that is not empty, other than 'rank'"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "a finite number or null"),
        ({"type": "string", "pattern": "^a"}, "text like ^a"),
    ],
)
def test_what_is_asked_for_is_said_in_words(node: dict[str, Any], words: str) -> None:
    assert expected(node, {}) == words


def test_a_value_is_shown_by_its_beginning() -> None:
    assert [shown(each) for each in (None, True, 1.5, "a\n", {"a": 1}, [1, 2])] == [
        "null", "true", "1.5", r"'a\n'", "an object of 1", "a list of 2",
    ]  # fmt: skip
    assert len(shown("x" * 999)) == 41
