"""Whether a value is what a JSON schema says, and if not, where and why.

The schema that the package ships is the one description of a result, so it is read instead of written again. Only the
keywords that it uses are known. A schema is made into functions once: a result can hold a million numbers.
"""

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

Node = Mapping[str, Any]
Check = Callable[[Any], str | None]
"""What is wrong with a value, to be read after its place; None if nothing is."""

LARGEST: Final = sys.float_info.max

TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "object": lambda x: isinstance(x, dict),
    "array": lambda x: isinstance(x, list),
    "string": lambda x: isinstance(x, str),
    "integer": lambda x: type(x) is int or (type(x) is float and x.is_integer()),
    "number": lambda x: type(x) in (int, float) and -LARGEST <= x <= LARGEST,
    "null": lambda x: x is None,
}
"""The types of JSON. A truth is no number, and neither are NaN and infinity."""

CALLED: Final = {
    "object": "an object",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a finite number",
    "null": "null",
}


def checker(node: Node, whole: Node) -> Check:
    """What a node of the schema `whole` has against a value."""
    node = resolved(node, whole)
    tests = [KEYWORDS[name](node, whole) for name in node if name in KEYWORDS]
    needed = node.get("required", ())
    fields = {name: checker(each, whole) for name, each in node.get("properties", {}).items()}
    item, other = (
        checker(node[name], whole) if isinstance(node.get(name), Mapping) else None
        for name in ("items", "additionalProperties")
    )
    rules = [(checker(rule, whole), rule["description"]) for rule in node.get("allOf", ())]

    def check(value: Any) -> str | None:
        for test in tests:
            if not test(value):
                return f" is {shown(value)}, not {expected(node, whole)}"
        if isinstance(value, dict):
            for name in needed:
                if name not in value:
                    return f" has no {name!r}"
            for name, own in fields.items():
                if name in value and (found := own(value[name])) is not None:
                    return f".{name}{found}"
            for name in value if other else ():
                if name not in fields and other and (found := other(value[name])) is not None:
                    return f"[{shown(name)}]{found}"
        if item is not None and isinstance(value, list):
            for index, each in enumerate(value):
                if (found := item(each)) is not None:
                    return f"[{index}]{found}"
        return next((f" breaks a rule: {said}" for rule, said in rules if rule(value) is not None), None)

    return check


def resolved(node: Node, whole: Node) -> Node:
    """A node with what it refers to, over which its own keywords prevail."""
    if "$ref" not in node:
        return node
    target: Any = whole
    for step in node["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return {**resolved(target, whole), **{name: each for name, each in node.items() if name != "$ref"}}


def of_type(node: Node, whole: Node) -> Callable[[Any], bool]:
    """`type`: a name or several."""
    names = node["type"]
    if isinstance(names, str):
        return TYPES[names]
    kinds = [TYPES[name] for name in names]
    return lambda x: any(kind(x) for kind in kinds)


def of_any(node: Node, whole: Node) -> Callable[[Any], bool]:
    """`anyOf`."""
    checks = [checker(each, whole) for each in node["anyOf"]]
    return lambda x: any(check(x) is None for check in checks)


def of_not(node: Node, whole: Node) -> Callable[[Any], bool]:
    """`not`."""
    check = checker(node["not"], whole)
    return lambda x: check(x) is not None


def of_if(node: Node, whole: Node) -> Callable[[Any], bool]:
    """`if`, `then` and `else`."""
    condition, then, otherwise = (checker(node.get(name, {}), whole) for name in ("if", "then", "else"))
    return lambda x: (then if condition(x) is None else otherwise)(x) is None


def same(value: Any, other: Any) -> bool:
    """Whether two values of JSON are equal: a truth is not a number."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


KEYWORDS: Final[dict[str, Callable[[Node, Node], Callable[[Any], bool]]]] = {
    "type": of_type,
    "enum": lambda node, whole: lambda x: any(same(x, each) for each in node["enum"]),
    "const": lambda node, whole: lambda x: same(x, node["const"]),
    "minimum": lambda node, whole: lambda x: not TYPES["number"](x) or x >= node["minimum"],
    "maximum": lambda node, whole: lambda x: not TYPES["number"](x) or x <= node["maximum"],
    "minLength": lambda node, whole: lambda x: not isinstance(x, str) or len(x) >= node["minLength"],
    "pattern": lambda node, whole: lambda x: not isinstance(x, str) or re.search(node["pattern"], x) is not None,
    "anyOf": of_any,
    "not": of_not,
    "if": of_if,
}
"""How each keyword that judges a value is understood."""

ELSEWHERE: Final = ("$schema", "$id", "$defs", "$ref", "title", "description", "properties", "required",
                    "additionalProperties", "items", "allOf", "then", "else")  # fmt: skip
"""Keywords that the others take into account, or that judge nothing. Fields that are not known are left out before."""


def expected(node: Node, whole: Node) -> str:
    """What a node asks for, in words."""
    if "anyOf" in node:
        return " or ".join(expected(resolved(each, whole), whole) for each in node["anyOf"])
    if "const" in node:
        return shown(node["const"])
    if "enum" in node:
        return "one of " + ", ".join(shown(each) for each in node["enum"])
    names = [node["type"]] if isinstance(node.get("type"), str) else node.get("type", [])
    words = " or ".join(CALLED[name] for name in names)
    if "minimum" in node and node["minimum"] > -LARGEST:
        words += f" of at least {node['minimum']}"
    if "pattern" in node:
        words += f" like {node['pattern']}"
    words += " that is not empty" if "minLength" in node else ""
    return f"{words}, other than {expected(node['not'], whole)}" if "not" in node else words


def shown(value: Any) -> str:
    """A value in a message: its beginning, without control characters."""
    if isinstance(value, dict | list):
        return f"{CALLED['object' if isinstance(value, dict) else 'array']} of {len(value)}"
    text = {None: "null", True: "true", False: "false"}.get(value) if value is None or type(value) is bool else None
    text = ascii(value) if text is None else text
    return text if len(text) <= 40 else f"{text[:40]}…"
