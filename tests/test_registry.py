"""Names and what they stand for: registering, looking up, building from a specification, and getting it wrong."""

from typing import Any

import pytest

from rankscope.errors import RankscopeError
from rankscope.registry import Registry, nearest


def fresh() -> Registry[Any]:
    return Registry[Any]("thing", aliases={"brief": "with-values"})


def filled() -> Registry[Any]:
    things = fresh()

    @things
    def plain() -> str:
        """A plain one.

        More of it.
        """
        return "plain"

    @things(name="with-values")
    def function(width: int, height: float = 2.0, label: str = "x") -> tuple[int, float, str]:
        """One with values."""
        return width, height, label

    @things
    def two_words() -> str:
        """Two words."""
        return "two words"

    return things


def code_of(action: Any) -> str:
    with pytest.raises(RankscopeError) as caught:
        action()
    return caught.value.code


def test_names_come_in_the_order_in_which_they_were_registered() -> None:
    assert filled().names() == ["plain", "with-values", "two-words"]
    assert [entry.name for entry in filled()] == filled().names()


def test_the_help_is_the_first_line_of_the_docstring() -> None:
    assert [entry.help for entry in filled()] == ["A plain one.", "One with values.", "Two words."]


def test_the_usage_is_read_off_the_signature() -> None:
    assert [entry.usage for entry in filled()] == ["plain", "with-values:WIDTH[:HEIGHT=2][:LABEL=x]", "two-words"]


def test_the_decorator_gives_the_function_back() -> None:
    things = fresh()

    def one() -> int:
        """One."""
        return 1

    assert things(one) is one
    assert things["one"].function is one


def test_registries_share_nothing() -> None:
    assert fresh().names() == []


@pytest.mark.parametrize(
    ("text", "built"),
    [
        ("plain", "plain"),
        (" plain ", "plain"),
        ("with-values:3", (3, 2.0, "x")),
        ("with-values:3:4.5", (3, 4.5, "x")),
        ("with-values:3:4.5:y", (3, 4.5, "y")),
        ("with-values:width=3", (3, 2.0, "x")),
        ("with-values:3:label=y", (3, 2.0, "y")),
        ("with-values:label=y:width=3", (3, 2.0, "y")),
        ("with-values:width=3:4.5", (3, 4.5, "x")),
        ("with-values:3:1e-3", (3, 0.001, "x")),
        ("with-values:3:2:a=b", (3, 2.0, "a=b")),
        ("brief:5", (5, 2.0, "x")),
    ],
)
def test_a_specification_builds_what_it_says(text: str, built: object) -> None:
    assert filled().build(text) == built


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("plian", "RS001"),
        ("", "RS001"),
        (":3", "RS001"),
        ("plain:3", "RS002"),
        ("plain:", "RS002"),
        ("with-values", "RS002"),
        ("with-values:", "RS002"),
        ("with-values:x", "RS002"),
        ("with-values:3.5", "RS002"),
        ("with-values:3:x", "RS002"),
        ("with-values:3:4:y:z", "RS002"),
        ("with-values:width=3:width=4", "RS002"),
        ("with-values:3:width=4", "RS002"),
        ("with-values:widht=3", "RS002"),
        ("with-values:label=y", "RS002"),
    ],
)
def test_a_specification_that_means_nothing_is_refused(text: str, code: str) -> None:
    assert code_of(lambda: filled().build(text)) == code


def test_an_unknown_name_gets_the_nearest_or_all() -> None:
    with pytest.raises(RankscopeError, match=r"(?i)did you mean 'plain'") as caught:
        filled()["plian"]
    assert caught.value.code == "RS001"
    assert "thing 'plian'" in caught.value.given
    assert nearest("zzz", ["one", "two"]) == "choose one of one, two"


def test_a_name_that_is_taken_stays_what_it_was() -> None:
    things = filled()
    before = things["plain"].function

    def plain() -> str:
        """Another."""
        return ""

    assert code_of(lambda: things(plain)) == "RS005"
    assert things["plain"].function is before


def test_an_entry_without_a_docstring_is_refused() -> None:
    def silent() -> None: ...

    def blank() -> None: ...

    blank.__doc__ = " "
    things = fresh()
    for function in (silent, blank):
        assert code_of(lambda function=function: things(function)) == "RS005"
    assert things.names() == []


def test_a_parameter_without_a_type_is_refused_when_it_is_registered() -> None:
    """Its value could not be converted when somebody types it."""

    def band(width) -> None:  # type: ignore[no-untyped-def]
        """A band."""

    assert code_of(lambda: fresh()(band)) == "RS005"


def test_every_alias_leads_to_an_entry() -> None:
    from rankscope.analyzer.analyze import measures

    for alias, name in measures().aliases.items():
        assert measures()[alias] is measures()[name]
        assert alias not in measures().names()
