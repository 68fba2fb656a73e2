"""Files of a result: refused early, complete or absent, the same bytes."""

import csv
import io
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest

import rankscope as rs
from rankscope.errors import RankscopeError
from rankscope.report import save as saving
from rankscope.report.table import to_csv, to_latex, to_markdown
from rankscope.report.terminal import to_text
from tests.process import ROOT, strict_json, violations
from tests.report.canned import HOSTILE, named, table

RESULT = rs.analyze(rs.synthetic(n=10, d=3, mask="causal"))
SUFFIXES = (".json", ".csv", ".parquet", ".md", ".tex", ".png", ".svg", ".pdf", ".html")


@pytest.mark.parametrize("suffix", [".json", ".csv", ".parquet", ".md", ".tex", ".svg"])
def test_the_same_table_gives_the_same_bytes_under_any_name(suffix: str, tmp_path: Path) -> None:
    RESULT.save(tmp_path / f"a{suffix}")
    RESULT.save(str(tmp_path / f"b c{suffix.upper()}"))
    first, second = sorted(tmp_path.iterdir())
    assert first.read_bytes() == second.read_bytes()
    assert str(tmp_path).encode() not in first.read_bytes()


def test_the_suffix_decides_what_is_written(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        RESULT.save(tmp_path / f"a{suffix}")
    content = {suffix: (tmp_path / f"a{suffix}").read_bytes() for suffix in SUFFIXES}
    assert content[".json"].decode() == RESULT.to_json()
    assert content[".csv"].decode() == to_csv(RESULT.table)
    assert content[".md"].decode() == to_markdown(RESULT.table)
    assert content[".tex"].decode() == to_latex(RESULT.table)
    assert len(pd.read_parquet(io.BytesIO(content[".parquet"]))) == len(RESULT.table)
    assert content[".png"].startswith(b"\x89PNG")
    assert ElementTree.fromstring(content[".svg"]).tag.endswith("svg")
    assert content[".pdf"].startswith(b"%PDF-")
    assert content[".html"].startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("format", ["json", "csv", "markdown", "latex", "table"])
def test_each_format_of_text_ends_with_one_line_end(format: str) -> None:
    text = saving.to_text(RESULT.table, format)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_the_table_is_what_a_result_prints() -> None:
    assert saving.to_text(RESULT.table, "table") == to_text(RESULT.table) + "\n" == str(RESULT) + "\n"


def test_documents_hold_the_text_of_the_table(tmp_path: Path) -> None:
    saving.save(RESULT.table, tmp_path / "a.html", "spectrum")
    page = (tmp_path / "a.html").read_text("utf-8")
    assert re.search(r"log10_sigma_min</th>\s*<td[^>]*>−", page)
    assert "The exact rank is" in page


# ------------------------------------------------------------------------------------------------------------- refusals


def refusal(path: str, figure: str | None = None) -> RankscopeError:
    with pytest.raises(RankscopeError) as caught:
        saving.check_target(Path(path), figure)
    assert caught.value.exit_status == 2
    return caught.value


@pytest.mark.parametrize("name", ["a.docx", "a", "a.json.gz", ".json", "a.", "json"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(name: str) -> None:
    problem = refusal(name)
    assert problem.code == "RS002"
    assert all(suffix in problem.remedy for suffix in SUFFIXES)


@pytest.mark.parametrize("suffix", [".json", ".csv", ".parquet", ".md", ".tex", ".docx", ""])
def test_a_figure_goes_into_no_table(suffix: str) -> None:
    assert refusal(f"a{suffix}", "spectrum").code == "RS003"


def test_an_unknown_figure_is_refused_with_the_nearest() -> None:
    problem = refusal("a.png", "spectrm")
    assert problem.code == "RS001"
    assert "spectrum" in problem.remedy


@pytest.mark.parametrize("name", [f"a{suffix}" for suffix in SUFFIXES])
def test_what_can_be_written_is_not_refused(name: str) -> None:
    saving.check_target(Path(name), None)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_a_known_figure_is_not_refused(suffix: str) -> None:
    saving.check_target(Path(f"a{suffix}"), "spectrum")


def test_saving_refuses_before_it_makes_anything(tmp_path: Path) -> None:
    with mock.patch.object(type(RESULT.table), "to_json", side_effect=AssertionError("made in vain")):
        with pytest.raises(RankscopeError, match="RS002"):
            RESULT.save(tmp_path / "a.doc")
        with pytest.raises(AssertionError, match="in vain"):
            RESULT.save(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.delitem(sys.modules, "pyarrow", raising=False)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "pyarrow" else real(name, *more)
    )
    problem = refusal("a.parquet")
    assert problem.code == "RS004"
    assert "rankscope[parquet]" in problem.remedy
    saving.check_target(Path("a.csv"), None)


# --------------------------------------------------------------------------------------------------------- whole or not


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_a_failure_leaves_the_earlier_file_and_nothing_else(suffix: str, tmp_path: Path) -> None:
    target = tmp_path / f"a{suffix}"
    target.write_bytes(b"earlier")
    full = mock.patch("os.fsync", side_effect=OSError(28, "No space left on device"))
    with full, pytest.raises(RankscopeError, match=r"RS502.*No space left on device") as caught:
        RESULT.save(target)
    assert caught.value.exit_status == 6
    assert target.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [target]


def test_a_result_that_is_not_json_is_not_written(tmp_path: Path) -> None:
    from tests.report.canned import record

    broken = table([record("hoyer", float("nan"))])
    with pytest.raises(ValueError, match="JSON"):
        saving.save(broken, tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------------------- hostile names


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_can_be_saved_as_text(name: str, tmp_path: Path) -> None:
    found = named(HOSTILE[name])
    for suffix in (".json", ".csv", ".md", ".tex", ".parquet"):
        saving.save(found, tmp_path / f"a{suffix}")
    document = strict_json((tmp_path / "a.json").read_bytes())
    assert document["matrices"][0]["key"] == HOSTILE[name]
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert len({len(row) for row in rows}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.json", "a.md", "a.parquet", "a.tex"]


def test_a_lone_surrogate_can_be_saved() -> None:
    """numpy keeps any bytes of a member's name; what is not text stays what it is in JSON and is replaced elsewhere."""
    found = named("a\udce9b")
    assert strict_json(saving.to_text(found, "json"))["matrices"][0]["key"] == "a\udce9b"
    for format in ("csv", "markdown", "latex", "table"):
        saving.to_text(found, format).encode("utf-8")


def test_json_of_every_format_obeys_the_schema() -> None:
    assert violations(strict_json(RESULT.to_json())) == []
    assert (ROOT / "src" / "rankscope" / "schema.json").is_file()
