"""Names that a user can type, and the entries that they stand for.

A registry maps a name to a function, with its help (the first line of its docstring). Specifications are
typed as `name[:value][:key=value…]`; the entry's own signature says which values it takes and of what type,
so nothing is declared twice.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Generic, TypeVar, overload

from rankscope.errors import error

F = TypeVar("F", bound=Callable[..., Any])
G = TypeVar("G", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry(Generic[F]):
    """One registered name: its function and the first line of its docstring."""

    name: str
    function: F

    @property
    def help(self) -> str:
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def usage(self) -> str:
        """How the entry is typed, with its defaults: `window:WIDTH`, `linear[:FEATURES=elu+1]`."""
        parts = [self.name]
        for parameter in inspect.signature(self.function).parameters.values():
            text = f":{parameter.name.upper()}"
            parts.append(text if parameter.default is parameter.empty else f"[{text}={typed(parameter.default)}]")
        return "".join(parts)


@dataclass(frozen=True)
class Registry(Generic[F]):
    """A named collection of functions of type `F`; `kind` is its noun in messages."""

    kind: str
    aliases: dict[str, str] = field(default_factory=dict)
    entries: dict[str, Entry[F]] = field(default_factory=dict)

    @overload
    def __call__(self, function: G, /) -> G: ...
    @overload
    def __call__(self, function: None = None, /, *, name: str) -> Callable[[G], G]: ...
    def __call__(self, function: Any = None, /, *, name: str = "") -> Any:
        """Register a function under its own name (underscores become hyphens) or under `name`."""

        def register(function: Any) -> Any:
            self.add(name or function.__name__.replace("_", "-"), function)
            return function

        return register if function is None else register(function)

    def add(self, name: str, function: F) -> None:
        """Register `function` as `name`.

        A name that is taken is an error, unless a user runs the cell of a notebook again that defines it.
        """
        taken = self.entries.get(name)
        if taken is not None and not rerun(taken.function, function):
            raise error("RS005", f"the {self.kind} {name!r} is registered twice", "choose another name")
        if not (inspect.getdoc(function) or "").strip():
            raise error("RS005", f"the {self.kind} {name!r} has no docstring", "say in one line what it is")
        for parameter in inspect.signature(function).parameters.values():
            if parameter.annotation is parameter.empty:
                given = f"the parameter {parameter.name!r} of the {self.kind} {name!r} has no type"
                raise error("RS005", given, "annotate it, as in `width: int`")
        self.entries[name] = Entry(name, function)

    def __iter__(self) -> Iterator[Entry[F]]:
        return iter(self.entries.values())

    def names(self) -> list[str]:
        return list(self.entries)

    def __getitem__(self, name: str) -> Entry[F]:
        """The entry called `name`, or an error that names the nearest match."""
        entry = self.entries.get(self.aliases.get(name, name))
        if entry is None:
            raise error("RS001", f"there is no {self.kind} {name!r}", nearest(name, self.names()))
        return entry

    def build(self, specification: str) -> Any:
        """The object that `specification` (`name[:value][:key=value…]`) stands for."""
        name, *values = specification.strip().split(":")
        entry = self[name]
        return entry.function(**arguments(entry, self.kind, values))


def typed(value: Any) -> str:
    """A value as it is typed: a number in as few digits as make it again."""
    if isinstance(value, float):
        brief = f"{value:g}"
        return brief if float(brief) == value or value != value else repr(value)
    return str(int(value) if isinstance(value, bool) else value)


def rerun(old: Any, new: Any) -> bool:
    """Whether two functions are one and the same definition, run again in an interactive session."""
    places = [(getattr(each, "__module__", ""), getattr(each, "__qualname__", "")) for each in (old, new)]
    return places[0] == places[1] and places[0][0] == "__main__"


def nearest(name: str, names: list[str]) -> str:
    """A remedy for a mistyped `name`: the nearest of `names`, or all of them."""
    import difflib

    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else "choose one of " + ", ".join(names)


def arguments(entry: Entry[Any], kind: str, values: list[str]) -> dict[str, Any]:
    """The `values` of a specification as keyword arguments of the entry, converted to their annotated types."""
    parameters = inspect.signature(entry.function).parameters
    given: dict[str, Any] = {}
    for value in values:
        key, separator, text = value.partition("=")
        if not separator or key not in parameters:
            key, text = next((name for name in parameters if name not in given), ""), value
        if key not in parameters or key in given:
            raise error("RS002", f"{value!r} in the {kind} {entry.name!r}", f"write it as {entry.usage}")
        try:
            given[key] = converted(text, parameters[key].annotation)
        except ValueError:
            wanted = parameters[key].annotation.__name__
            raise error(
                "RS002", f"{key} = {text!r} in the {kind} {entry.name!r}", f"give a value of type {wanted}"
            ) from None
    for parameter in parameters.values():
        if parameter.default is parameter.empty and parameter.name not in given:
            raise error(
                "RS002", f"the {kind} {entry.name!r} without its {parameter.name}", f"write it as {entry.usage}"
            )
    return given


def converted(text: str, kind: Any) -> Any:
    """A typed value; of a Boolean 1, true and yes are one, 0, false and no the other."""
    if kind is not bool:
        return kind(text)
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def above_zero(name: str, value: float) -> None:
    """Refuse a parameter that is not positive."""
    if not value > 0:
        raise error("RS002", f"{name}:{value:g}", "give a positive number")


def at_least(name: str, value: Any, least: int = 1) -> None:
    """Refuse what is not a whole number, or too small a one."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise error("RS002", f"{name} = {value!r}", f"give a whole number of at least {least}")
