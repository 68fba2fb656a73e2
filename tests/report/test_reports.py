"""`rankscope.report`: documents on results of this session and on saved ones."""

from dataclasses import replace
from pathlib import Path

import pytest

import rankscope as rs
from rankscope.errors import UsageError
from tests.report.canned import named

RESULT = rs.analyze(rs.synthetic(n=10, d=3, mask="causal"))


def test_results_tables_and_files_make_the_same_document(tmp_path: Path) -> None:
    RESULT.save(tmp_path / "a.json")
    for number, results in enumerate([RESULT, RESULT.table, tmp_path / "a.json", str(tmp_path / "a.json"), [RESULT]]):
        assert rs.report(results, tmp_path / f"{number}.html") == [tmp_path / f"{number}.html"]
    assert len({(tmp_path / f"{number}.html").read_bytes() for number in range(5)}) == 1


def test_pages_are_returned_in_their_order(tmp_path: Path) -> None:
    found = rs.report(RESULT, tmp_path / "a.png")
    assert found == [tmp_path / f"a-{number}.png" for number in range(1, len(found) + 1)]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in found)


def test_a_document_of_one_page_has_no_number(tmp_path: Path) -> None:
    assert rs.report(RESULT, tmp_path / "a.png", figure="spectrum") == [tmp_path / "a.png"]


@pytest.mark.parametrize("results", [[], 3, [3], None])
def test_what_is_no_result_is_refused(results: object, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="RS002"):
        rs.report(results, tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []


def test_what_no_font_has_is_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="install a font"):
        rs.report(named("\N{CUNEIFORM SIGN A}"), tmp_path / "a.pdf")
    with pytest.warns(UserWarning, match="install a font"):
        rs.Result(named("\N{CUNEIFORM SIGN A}")).save(tmp_path / "b.pdf")


@pytest.mark.parametrize("name", ["a.html", "a.png", "a.svg", "figure.pdf"])
def test_what_no_font_can_draw_in_a_figure_is_a_warning(name: str, tmp_path: Path) -> None:
    table = replace(RESULT.table, matrices=[replace(RESULT.table.matrices[0], label="\N{CUNEIFORM SIGN A} e\u0301")])
    with pytest.warns(UserWarning, match="no font here has \N{CUNEIFORM SIGN A}, and boxes stand in figures"):
        rs.Result(table).save(tmp_path / name, figure="spectrum" if name == "figure.pdf" else None)
    RESULT.save(tmp_path / f"b{name}")


def test_a_result_that_is_read_again_is_the_same(tmp_path: Path) -> None:
    RESULT.save(tmp_path / "a.json")
    assert rs.read(tmp_path / "a.json").to_json() == RESULT.to_json()
