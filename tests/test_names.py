"""The public face: every name that is promised is there, and says what it is."""

import importlib
import inspect
import tomllib
from typing import Any

import pytest

import rankscope as rs
from rankscope.errors import CATALOGUE, RankscopeError, error
from tests.process import ROOT, python

PROMISED = [
    "attention", "synthetic", "matrix", "load", "analyze", "compare", "logdet", "singular_values", "spectrum",
    "effective_rank", "erank", "mask", "kernel", "measure", "testing", "verify", "certificate", "Certificate",
    "Mask", "Record", "Table", "Result", "Study",
]  # fmt: skip


@pytest.mark.parametrize("name", dir(rs))
def test_every_public_name_resolves_and_is_explained(name: str) -> None:
    found: Any = getattr(rs, name)
    if name == "__version__":
        return
    said = inspect.getdoc(found) or ""
    assert len(said.split()) > 3, f"rs.{name} does not say what it is"
    if inspect.isclass(found):
        assert not said.startswith(f"{found.__name__}("), f"rs.{name} has only the docstring that dataclass makes"


@pytest.mark.parametrize("name", PROMISED)
def test_the_promised_names_are_listed(name: str) -> None:
    assert getattr(rs, name) is not None
    assert name in dir(rs) or name == "erank"


def test_a_name_stays_what_it_is_whatever_was_imported_before() -> None:
    """A folder of the package that has the name of a function must not take its place once it is loaded."""
    rs.analyze([[1.0]])
    rs.testing.check_mask(rs.Mask("all", lambda q, k: (q == q) & (k == k)))
    modules = [name for name in dir(rs) if inspect.ismodule(getattr(rs, name))]
    assert [name for name in modules if not callable(getattr(rs, name))] == ["testing"]
    importlib.import_module("rankscope.verify")
    assert callable(vars(rs)["verify"])
    made = rs.attention([[1.0, 0.0]], [[0.5, 0.5]], mask="causal")
    assert not isinstance(made, list)
    assert made.shape == (1, 1)
    assert list(inspect.signature(rs.attention).parameters)[:4] == ["q", "k", "v", "mask"]


ORDER = f"""
import rankscope as rs
first = {{name: getattr(rs, name) for name in {PROMISED}}}
rs.analyze([[1.0]])
dir(rs)
for name in first:
    assert getattr(rs, name) is first[name], name
"""


def test_a_name_means_the_same_before_and_after_its_first_use() -> None:
    done = python(ORDER)
    assert (done.status, done.stderr) == (0, "")


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("code", CATALOGUE)
def test_each_code_makes_one_message_with_a_remedy(code: str) -> None:
    made = error(code, "something was given", "do something else")
    assert isinstance(made, RankscopeError)
    assert str(made) == f"{code}: something was given. Do something else."
    assert str(error(code, "a", "did you mean 'b'?")) == f"{code}: a. Did you mean 'b'?"
    assert (made.code, made.given, made.remedy) == (code, "something was given", "do something else")
    assert made.exit_status in (2, 3, 4, 5, 6)
    family = {"0": 2, "1": 3, "2": 3, "3": 4, "4": 5, "5": 6}[code[2]]
    assert made.exit_status == family


def test_a_code_outside_the_catalogue_cannot_be_raised() -> None:
    with pytest.raises(KeyError):
        error("RS999", "x", "y")


def test_each_code_is_raised_somewhere() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py") if path.name != "errors.py")
    assert [code for code in CATALOGUE if f'"{code}"' not in source] == []


# ------------------------------------------------------------------------------------------------------------ doctests


def test_examples_of_the_source_run_under_the_default_configuration(request: pytest.FixtureRequest) -> None:
    """`--doctest-modules` and `src` stand in the configuration, so that plain `pytest` runs every example."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]
    assert "--doctest-modules" in options["addopts"]
    assert "src" in options["testpaths"]
    assert request.config.getoption("doctestmodules")


def test_there_are_examples() -> None:
    import doctest

    finder = doctest.DocTestFinder()
    for name in ("rankscope", "rankscope.study", "rankscope.records", "rankscope.attention.build"):
        assert any(found.examples for found in finder.find(importlib.import_module(name))), f"{name} shows no example"
