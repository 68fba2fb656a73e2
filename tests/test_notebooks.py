"""The notebooks as they are stored: executed, equal to their sources, and free of what differs between machines.

Found by pattern. Whether their cells run is the business of `pytest --nbmake`; here nothing is executed. The form in
which they are stored is defined here too, and `python -m tests.test_notebooks` executes all of them and stores them so.
"""

import ast
import os
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import jupytext
import nbformat
import pytest

from tests.process import ROOT

FOLDER: Final = ROOT / "notebooks"
SOURCES: Final = sorted(FOLDER.glob("*.py"))
METADATA: Final = {
    "jupytext": {
        "formats": "ipynb,py:percent",
        "notebook_metadata_filter": "kernelspec,jupytext,-jupytext.text_representation",  # no version in the source
    },
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
}
LAST_SECTION: Final = "## What to try next"

VOLATILE: Final = {
    "an absolute path": r"(?:^|[\s'\"(=:>])(?:/(?:[\w.+-]+/)+[\w.+-]*|[A-Za-z]:\\\w)",
    "a home directory": r"~/|/(?:home|Users)/|/root\b",
    "a date": r"\b\d{4}-\d\d-\d\d\b",
    "an address in memory": r"\b0x[0-9a-f]{6,}",
    "the name of a temporary file": r"\btmp[a-z0-9_]{8}\b",
}
"""What must not stand in an output: it differs from run to run, or tells who ran it."""

Notebook = Any


def settled(notebook: Notebook) -> Notebook:
    """The notebook in the form in which it is stored: cells numbered, and nothing that differs from run to run."""
    kept = deepcopy(notebook)
    kept.metadata = nbformat.from_dict(METADATA)  # type: ignore[no-untyped-call]
    kept.nbformat, kept.nbformat_minor = 4, 5
    for number, cell in enumerate(kept.cells, 1):
        cell.id, cell.metadata = f"cell-{number:02}", nbformat.from_dict({})  # type: ignore[no-untyped-call]
    return kept


def regenerate(path: Path) -> None:
    """Execute the source of a notebook in its own folder and store it, with its outputs, beside it."""
    from nbclient import NotebookClient

    notebook = jupytext.read(path)
    client = NotebookClient(notebook, timeout=600, record_timing=False, coalesce_streams=True, kernel_name="python3")
    client.resources = {"metadata": {"path": str(path.parent)}}
    client.execute()
    nbformat.write(settled(notebook), path.with_suffix(".ipynb"))  # type: ignore[no-untyped-call]


def shows(code: str) -> bool:
    """Whether a cell is there for what it shows: it prints, or ends with an expression that is no bare check."""
    tree = ast.parse(code)
    printing = any(isinstance(node, ast.Name) and node.id == "print" for node in ast.walk(tree))
    last = tree.body[-1] if tree.body else None
    checking = isinstance(last, ast.Expr) and re.search(r"\.(check_\w+|require)\(", ast.unparse(last)) is not None
    return printing or (isinstance(last, ast.Expr) and not checking)


def written(output: Notebook) -> str:
    """All that an output says in words."""
    data = output.get("data", {})
    return "\n".join([output.get("text", ""), *(text for kind, text in data.items() if kind.startswith("text/"))])


def faults(source: Notebook, stored: Notebook) -> Iterator[str]:
    """What is wrong with a notebook: with what its source says, and with how it is stored."""
    cells = stored.cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    headings = [line for text in prose for line in text.splitlines() if re.match("#+ ", line)]
    if [(cell.cell_type, cell.source) for cell in source.cells] != [(cell.cell_type, cell.source) for cell in cells]:
        yield "its cells are not those of its source"
    if source.metadata.get("kernelspec") != METADATA["kernelspec"]:
        yield "its source names another kernel"
    if source.metadata.get("jupytext", {}).get("formats") != METADATA["jupytext"]["formats"]:
        yield "its source is not paired"
    if not (prose and cells[0].cell_type == "markdown" and re.match("# ", cells[0].source) and "?" in cells[0].source):
        yield "its first cell asks no question"
    if not headings or headings[-1] != LAST_SECTION:
        yield f"its last section is not {LAST_SECTION!r}"
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        yield "its cells were not executed once, in their order"
    for cell in code:
        if shows(cell.source) and not cell.outputs:
            yield f"a cell shows nothing: {cell.source.splitlines()[-1]}"
    if any(output.output_type == "error" for output in outputs):
        yield "a cell ended with an error"
    if any(output.get("name") == "stderr" for output in outputs):
        yield "a cell wrote to stderr"
    if sum("image/png" in output.get("data", {}) for output in outputs) < 2:
        yield "it has fewer than two figures"
    for what, pattern in VOLATILE.items():
        if any(re.search(pattern, written(output), flags=re.MULTILINE) for output in outputs):
            yield f"an output holds {what}"
    if stored != settled(stored):
        yield "it is not in the form in which notebooks are stored"


def stored(path: Path) -> Notebook:
    """The notebook that is stored beside a source."""
    return nbformat.read(path.with_suffix(".ipynb"), as_version=4)  # type: ignore[no-untyped-call]


def test_there_are_notebooks_and_none_without_a_source() -> None:
    assert len(SOURCES) >= 5
    assert sorted(FOLDER.glob("*.ipynb")) == [path.with_suffix(".ipynb") for path in SOURCES]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_stored_notebook_is_its_source_executed(path: Path) -> None:
    assert list(faults(jupytext.read(path), stored(path))) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_links_to_other_notebooks_lead_somewhere(path: Path) -> None:
    linked = re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8"))
    assert linked
    assert [name for name in linked if not (FOLDER / name).is_file()] == []


def test_the_readme_of_the_notebooks_names_each_of_them() -> None:
    text = (FOLDER / "README.md").read_text("utf-8")
    assert [path.name for path in SOURCES if f"({path.with_suffix('.ipynb').name})" not in text] == []


def with_output(kind: str, text: str) -> Callable[[Notebook], None]:
    """A way to break a notebook: one more output of its first cell of code."""
    output = {"output_type": "stream", "name": kind, "text": text}
    return lambda notebook: first_code(notebook).outputs.append(nbformat.from_dict(output))  # type: ignore[no-untyped-call]


def first_code(notebook: Notebook) -> Notebook:
    """The first cell of code."""
    return next(cell for cell in notebook.cells if cell.cell_type == "code")


def without_outputs(notebook: Notebook) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []


def with_error(notebook: Notebook) -> None:
    error = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
    first_code(notebook).outputs.append(nbformat.from_dict(error))  # type: ignore[no-untyped-call]


def changing(cell: int, text: str) -> Callable[[Notebook], None]:
    """A way to break a notebook: another text in one of its cells."""
    return lambda notebook: notebook.cells[cell].update(source=text)


BREAKAGES: Final[dict[str, tuple[Callable[[Notebook], None], str]]] = {
    "other prose": (changing(1, "Something else."), "not those of its source"),
    "a cell less": (lambda notebook: notebook.cells.pop(2), "not those of its source"),
    "no question": (changing(0, "# First steps"), "asks no question"),
    "no last section": (changing(-1, "## The end"), "last section"),
    "not executed": (lambda notebook: first_code(notebook).update(execution_count=None), "not executed once"),
    "executed out of order": (lambda notebook: first_code(notebook).update(execution_count=9), "not executed once"),
    "no outputs": (without_outputs, "a cell shows nothing"),
    "no figures": (without_outputs, "fewer than two figures"),
    "an error": (with_error, "ended with an error"),
    "a warning": (with_output("stderr", "Warning"), "wrote to stderr"),
    "a path": (with_output("stdout", "File '/opt/tool/x.py'"), "an absolute path"),
    "a path of Windows": (with_output("stdout", r"saved to C:\x"), "an absolute path"),
    "a home": (with_output("stdout", "in ~/x"), "a home directory"),
    "a date": (with_output("stdout", "on 2020-01-31"), "a date"),
    "an address": (with_output("stdout", "<object at 0x7f0011223344>"), "an address in memory"),
    "a temporary file": (with_output("stdout", "tmpab12cd_9"), "a temporary file"),
    "a time": (lambda notebook: first_code(notebook).metadata.update(execution={"a": "b"}), "the form in which"),
    "a version": (lambda notebook: notebook.metadata.update(language_info={"version": "3"}), "the form in which"),
    "a random id": (lambda notebook: notebook.cells[0].update(id="e6106f81"), "the form in which"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_notebook_is_found_out(name: str) -> None:
    spoil, said = BREAKAGES[name]
    broken = stored(SOURCES[0])
    spoil(broken)
    assert any(said in fault for fault in faults(jupytext.read(SOURCES[0]), broken))


@pytest.mark.parametrize(
    ("header", "other", "said"),
    [
        ("formats: ipynb,py:percent", "formats: py:percent", "not paired"),
        ("name: python3", "name: python2", "another kernel"),
    ],
)
def test_a_broken_source_is_found_out(header: str, other: str, said: str) -> None:
    text = SOURCES[0].read_text("utf-8")
    assert header in text
    source = jupytext.reads(text.replace(header, other), fmt="py:percent")
    assert any(said in fault for fault in faults(source, stored(SOURCES[0])))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x", True),
        ("result.plot()", True),
        ("for x in y:\n    print(x)", True),
        ("x = 1", False),
        ("assert x", False),
        ("rs.testing.check_mask(x)", False),
        ("after.require('proved')", False),
        ("", False),
    ],
)
def test_which_cells_show_something(code: str, expected: bool) -> None:
    assert shows(code) is expected


if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # what plain numpy prints in the notebooks does not depend on the cores
    for each in SOURCES:
        regenerate(each)
        print(each.with_suffix(".ipynb").relative_to(ROOT))
