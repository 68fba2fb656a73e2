"""What the commands print in each format, what they write with -o, and what they say beside it."""

import csv
import html
import io
import os
import re
import stat
import struct
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest

from tests.process import ROOT, SAMPLE, Ended, called, rankscope, strict_json, violations

CAUSAL = ("analyze", "--mask", "causal", "--n", "24", "--d", "4", "--seed", "1")
TEXTS = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}
SUFFIXES = (*TEXTS, ".parquet", ".png", ".svg", ".pdf", ".html")


@pytest.fixture(scope="module")
def printed() -> dict[str, Ended]:
    return {format: called(*CAUSAL, "--format", format) for format in ("table", *TEXTS.values())}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, dict[str, Path]]:
    """Every kind of file, by one command that repeats -o."""
    folder = tmp_path_factory.mktemp("out")
    files = {suffix: folder / f"result{suffix}" for suffix in SUFFIXES}
    return called(*CAUSAL, *(word for path in files.values() for word in ("-o", path))), files


# ------------------------------------------------------------------------------------------------------------ on stdout


@pytest.mark.parametrize("format", ["table", *TEXTS.values()])
def test_each_format_is_printed_whole_and_nothing_else_is(format: str, printed: dict[str, Ended]) -> None:
    done = printed[format]
    assert done.status == 0
    assert done.stdout.endswith("\n")
    assert not done.stdout.endswith("\n\n")
    assert "effective_rank".replace("_", r"\_" if format in ("markdown", "latex") else "_") in done.stdout
    assert (done.stderr == "") == (format != "csv")


def test_csv_has_a_row_for_each_record_with_the_columns_of_its_matrix(printed: dict[str, Ended]) -> None:
    document = strict_json(printed["json"].raw)
    rows = list(csv.DictReader(io.StringIO(printed["csv"].stdout)))
    assert [row["measure"] for row in rows] == [record["measure"] for record in document["records"]]
    for row, record in zip(rows, document["records"], strict=True):
        assert (float(row["value"]) if row["value"] else None) == record["value"]
        assert (row["guarantee"], row["subject"], row["label"]) == (
            record["guarantee"],
            record["subject"],
            "causal softmax",
        )
        assert (strict_json(row["details"]) if row["details"] else {}) == record["details"]
        assert [row[name] for name in ("label", "rows", "d", "seed")] == ["causal softmax", "24", "4", "1"]


def test_csv_says_on_stderr_what_it_leaves_out(printed: dict[str, Ended], tmp_path: Path) -> None:
    assert re.search(r"CSV leaves out 1 series", printed["csv"].stderr)
    assert "JSON" in printed["csv"].stderr
    file = called(*CAUSAL, "-q", "-o", tmp_path / "a.csv")
    assert re.search(r"CSV leaves out 1 series", file.stderr)
    nothing_left_out = called(*CAUSAL, "-m", "hoyer", "--format", "csv")
    assert nothing_left_out.stderr == ""


def test_markdown_is_one_table(printed: dict[str, Ended]) -> None:
    caption, empty, *lines = printed["markdown"].stdout.splitlines()
    assert caption.startswith("Table: All measures: causal softmax")
    assert empty == ""
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    assert {len(row) for row in cells} == {4}
    assert set("".join(cells[1])) == {" ", "-", ":"}
    assert len(lines) == 3 + len(strict_json(printed["json"].raw)["records"]), "the sign has a row of its own"


def test_latex_is_one_tabular(printed: dict[str, Ended]) -> None:
    lines = printed["latex"].stdout.splitlines()
    assert lines[0].startswith("% needs ")
    assert lines[1].startswith("% caption: All measures: causal softmax")
    assert lines[2].startswith(r"\begin{tabular}{")
    assert lines[-1] == r"\end{tabular}"
    rows = [line for line in lines if line.endswith(r" \\")]
    assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {4}
    assert len(rows) == 2 + len(strict_json(printed["json"].raw)["records"])
    assert printed["latex"].raw.isascii()


# ------------------------------------------------------------------------------------------------------------- to files


def test_one_command_writes_every_kind_of_file_and_prints_as_well(
    written: tuple[Ended, dict[str, Path]], printed: dict[str, Ended]
) -> None:
    done, files = written
    assert done.status == 0
    assert done.stdout == printed["table"].stdout
    assert sorted(path.name for path in files[".json"].parent.iterdir()) == sorted(f.name for f in files.values())


@pytest.mark.parametrize("suffix", TEXTS)
def test_a_file_of_text_holds_what_the_format_prints(
    suffix: str, written: tuple[Ended, dict[str, Path]], printed: dict[str, Ended]
) -> None:
    content, alone = written[1][suffix].read_bytes(), printed[TEXTS[suffix]].raw
    if suffix != ".json":
        assert content == alone
        return
    found, expected = strict_json(content), strict_json(alone)
    assert found["study"].pop("pictures"), "the documents beside it show the matrix"
    assert [series["name"] for series in found["series"]] == [*(s["name"] for s in expected["series"]), "attention"]
    found["series"].pop()
    assert found == expected


def test_parquet_holds_the_rows_of_csv(written: tuple[Ended, dict[str, Path]]) -> None:
    frame = pd.read_parquet(written[1][".parquet"])
    document = strict_json(written[1][".json"].read_bytes())
    assert list(frame["measure"]) == [record["measure"] for record in document["records"]]
    expected = [record["value"] for record in document["records"]]
    assert [None if pd.isna(value) else value for value in frame["value"]] == expected
    assert list(frame.columns) == written[1][".csv"].read_text("utf-8").splitlines()[0].split(",")


def test_figures_and_documents_are_what_their_suffix_says(written: tuple[Ended, dict[str, Path]]) -> None:
    files = written[1]
    png = files[".png"].read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82")
    assert ElementTree.parse(files[".svg"]).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    pdf = files[".pdf"].read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert set(re.findall(rb"/CreationDate ?\(D:(\d{4})", pdf)) <= {b"1970"}, "no day but that of no day"


class Words(HTMLParser):
    """The words of a page outside of its style, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_html_holds_the_figure_and_the_table_and_runs_and_loads_nothing(
    written: tuple[Ended, dict[str, Path]], printed: dict[str, Ended]
) -> None:
    page = written[1][".html"].read_text("utf-8")
    read = Words()
    read.feed(page)
    assert "svg" in read.tags
    assert not {"iframe", "object", "embed", "link", "img", "form"} & set(read.tags)
    assert read.tags.count("script") == 1
    assert "default-src 'none'" in html.unescape(page)
    shown = " ".join(read.words.split())
    for record in strict_json(printed["json"].raw)["records"]:
        assert record["measure"] in shown
    said = " ".join(printed["table"].stdout.split("\n\n")[-1].split())
    assert said.removesuffix(".").split(". ")[0] in shown
    assert not re.search(r"(src|href)\s*=\s*\"(?!#|data:image/png)", page)


def test_the_same_command_writes_the_same_bytes(written: tuple[Ended, dict[str, Path]], tmp_path: Path) -> None:
    again = {suffix: tmp_path / f"other name{suffix}" for suffix in SUFFIXES}
    done = rankscope(*CAUSAL, "-q", *(word for path in again.values() for word in ("-o", path)))
    assert (done.status, done.stdout) == (0, "")
    differing = [suffix for suffix in SUFFIXES if again[suffix].read_bytes() != written[1][suffix].read_bytes()]
    assert differing == []


@pytest.mark.parametrize("command", [CAUSAL, ("compare", "--n", "6", "--d", "2"), ("depth", "--n", "6", "--d", "2")])
def test_of_two_figures_none_is_lost_without_a_word(command: tuple[str, ...], tmp_path: Path) -> None:
    done = called(*command, "-q", "--figure", "spectrum", "--figure", "cumulative", "-o", tmp_path / "a.svg")
    assert (done.status, list(tmp_path.iterdir())) == (2, [])
    assert done.stderr.startswith("rankscope: RS003: --figure spectrum and --figure cumulative.")


def test_a_figure_can_be_forced_into_a_document(tmp_path: Path) -> None:
    done = called(*CAUSAL, "-q", "--figure", "spectrum", "-o", tmp_path / "a.svg", "-o", tmp_path / "b.html")
    assert (done.status, done.everything) == (0, "")
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")


def test_suffixes_may_be_written_large(tmp_path: Path) -> None:
    assert called(*CAUSAL, "-q", "-o", tmp_path / "A.JSON").status == 0
    assert violations(strict_json((tmp_path / "A.JSON").read_bytes())) == []


def test_an_earlier_file_is_replaced_with_the_rights_of_a_new_one(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("earlier")
    before = os.umask(0o027)
    try:
        assert called(*CAUSAL, "-q", "-o", target).status == 0
        assert called(*CAUSAL, "-q", "-o", tmp_path / "new.json").status == 0
    finally:
        os.umask(before)
    assert target.read_bytes() == (tmp_path / "new.json").read_bytes()
    assert stat.S_IMODE((tmp_path / "new.json").stat().st_mode) == 0o640


# ------------------------------------------------------------------------------------------------------- how it is said


def test_quiet_prints_nothing_at_all() -> None:
    done = called(*CAUSAL, "-q")
    assert (done.status, done.everything) == (0, "")


def test_verbose_says_on_stderr_how_each_matrix_was_measured(printed: dict[str, Ended]) -> None:
    done = called(*CAUSAL, "-v")
    assert done.stdout == printed["table"].stdout
    assert "causal softmax" in done.stderr
    assert "LAPACK gesdd" in done.stderr
    assert "structure" in done.stderr
    both = called("compare", "--n", "8", "--d", "2", "-q", "-v")
    assert both.stdout == ""
    assert "bidirectional softmax" in both.stderr


def test_notes_on_a_file_go_to_stderr() -> None:
    done = called("analyze", SAMPLE, "-q", "-m", "hoyer")
    assert done.status == 0
    assert re.search(r"2 query/key pairs are not analysed: add --from scores", done.stderr)


# --------------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("name", ["missing/a.json", "missing/a.png"])
def test_a_folder_that_does_not_exist_ends_with_6(name: str, tmp_path: Path) -> None:
    done = called(*CAUSAL, "-o", tmp_path / name)
    assert done.status == 6
    assert re.search(r"RS502: .*a\.(json|png)", done.stderr)


def test_a_target_that_cannot_be_written_costs_no_computation(tmp_path: Path) -> None:
    with mock.patch("rankscope.study.analyse", side_effect=AssertionError("computed in vain")):
        done = called(*CAUSAL, "-o", tmp_path / "missing" / "a.json")
    assert done.status == 6


def test_a_target_that_fails_late_does_not_lose_what_was_computed(tmp_path: Path) -> None:
    with mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")):
        done = called(*CAUSAL, "-o", tmp_path / "a.json")
    assert done.status == 6
    assert "No space left on device" in done.stderr
    assert "rank_exact" in done.stdout, "the result is printed although it could not be written"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_not_replaced(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "target.json"
    target.mkdir() if kind == "folder" else os.mkfifo(target)
    before = target.lstat()
    done = called(*CAUSAL, "-o", target)
    assert done.status == 6
    assert re.search(r"RS502: .*target\.json.* not a regular file", done.stderr)
    assert target.lstat().st_ino == before.st_ino
    assert [path.name for path in tmp_path.iterdir()] == ["target.json"]


def test_an_unwritable_target_ends_the_process_with_6(tmp_path: Path) -> None:
    done = rankscope(*CAUSAL, "-o", tmp_path / "missing" / "a.json")
    assert done.status == 6
    assert "Traceback" not in done.stderr


class Hidden(MetaPathFinder):
    """As if a package were not installed."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] == self.name:
            raise ModuleNotFoundError(f"No module named {self.name!r}", name=self.name)
        return None


@pytest.fixture
def without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Hidden("pyarrow"), *sys.meta_path])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else real(name))


@pytest.mark.usefixtures("without_pyarrow")
def test_parquet_without_its_package_is_a_mistake_in_usage_that_names_the_extra(tmp_path: Path) -> None:
    target = tmp_path / "a.parquet"
    with mock.patch("rankscope.study.analyse", side_effect=AssertionError("computed in vain")):
        done = called(*CAUSAL, "-o", target)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith("rankscope: RS004: ")
    assert "pip install 'rankscope[parquet]'" in done.stderr
    assert not target.exists()


def test_the_extra_that_is_named_exists() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert any(requirement.startswith("pyarrow") for requirement in project["optional-dependencies"]["parquet"])


# ---------------------------------------------------------------------------------------------------- hostile names

HOSTILE = {
    "formula": '=HYPERLINK("http://a.example","b")',
    "plus": "+1+2",
    "minus": "-1",
    "at": "@SUM(1)",
    "tab": "\tx",
    "markup": "layer[/]$\\foo$=cmd",
    "script": "<script>alert(1)</script>",
    "escape": "\x1b[2Jgone",
    "csi": "\x9b2Jgone",
    "bell": "\x07bell",
    "pipes": "| a | b |",
    "latex": "\\input{/etc/passwd}",
    "line": "a\nb",
    "carriage": "a\rb",
    "path": "../../../x",
    "direction": "\u202egnp.exe",
    "chinese": "注意力",
    "template": "{{7*7}}${7*7}",
    "link": "**b** [l](javascript:x)",
    "long": "x" * 500,
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive whose arrays have names that mean something to every output."""
    import numpy as np

    path = tmp_path_factory.mktemp("hostile") / "names.npz"
    array = np.full((3, 3), 0.25) + 0.25 * np.eye(3)
    np.savez(path, allow_pickle=False, **dict.fromkeys(HOSTILE.values(), array))
    return path


def controls(text: str) -> set[str]:
    """Characters that a terminal would obey."""
    return {c for c in text if (not c.isprintable() and c not in "\n")}


@pytest.mark.parametrize("format", ["table", *TEXTS.values()])
def test_no_output_sends_control_characters_of_a_name_to_the_terminal(format: str, hostile: Path) -> None:
    done = called("analyze", hostile, "-m", "hoyer", "--format", format, "-v")
    assert done.status == 0
    assert controls(done.stdout) == set()
    assert controls(done.stderr) == set()


@pytest.mark.parametrize("more", [[f"--format={format}"] for format in ("table", *TEXTS.values())] + [["-o"]], ids=str)
def test_a_name_that_is_no_text_crashes_nothing(more: list[str], tmp_path: Path) -> None:
    """A JSON header may hold half of a character, which no encoding can write."""
    path = tmp_path / "half.safetensors"
    header = b'{"a\\ud800b": {"dtype": "F64", "shape": [1, 1], "data_offsets": [0, 8]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<d", 1.0))
    files = [tmp_path / f"a{suffix}" for suffix in SUFFIXES] if more == ["-o"] else []
    options = [word for file in files for word in ("-o", file)] if files else more
    done = called("analyze", path, "-m", "stable_rank", *options)
    assert (done.status, controls(done.everything)) == (0, set())
    assert all(file.is_file() for file in files)


def test_csv_runs_no_formula(hostile: Path) -> None:
    done = called("analyze", hostile, "--format", "csv")
    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert {len(row) for row in rows} == {len(rows[0])}
    number = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
    dangerous = [
        c for row in rows for c in row if c.startswith(("=", "+", "-", "@", "\t", "\r")) and not number.fullmatch(c)
    ]
    assert dangerous == []
    assert any(cell == "'" + HOSTILE["formula"] for cell in rows[1])


def test_json_keeps_the_name_as_it_is_beside_the_one_that_is_shown(hostile: Path) -> None:
    document = strict_json(called("analyze", hostile, "-m", "hoyer", "--format", "json").raw)
    assert violations(document) == []
    assert sorted(matrix["key"] for matrix in document["matrices"]) == sorted(HOSTILE.values())
    assert max(len(matrix["label"]) for matrix in document["matrices"]) <= 120
    assert all(matrix["label"].isprintable() for matrix in document["matrices"])


def test_names_never_become_paths(hostile: Path, tmp_path: Path) -> None:
    inside = tmp_path / "deep" / "er"
    inside.mkdir(parents=True)
    files = [inside / f"a{suffix}" for suffix in SUFFIXES]
    done = called("analyze", hostile, "-q", *(word for path in files for word in ("-o", path)))
    assert done.status == 0
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(files)


def test_documents_of_hostile_names_run_nothing(hostile: Path, tmp_path: Path) -> None:
    page, drawing = tmp_path / "a.html", tmp_path / "a.svg"
    assert called("analyze", hostile, "-q", "-o", page, "-o", drawing).status == 0
    read = Words()
    read.feed(page.read_text("utf-8"))
    assert read.tags.count("script") == 1, "that of the page itself"
    assert HOSTILE["script"] in read.words
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(drawing).iter()}
    assert not tags & {"script", "a", "image", "foreignObject"}


def test_the_table_of_hostile_names_is_aligned_and_at_most_80_columns_wide(hostile: Path) -> None:
    from unicodedata import east_asian_width

    def columns(text: str) -> int:
        return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)

    lines = called("analyze", hostile).stdout.splitlines()
    assert [line for line in lines if columns(line) > 80] == []
    top = next(number for number, line in enumerate(lines) if "exact" in line)
    widths = {columns(line) for line in lines[top + 1 : lines.index("", top)]}
    assert len(widths) == 1


def test_an_error_about_a_hostile_name_is_one_line(tmp_path: Path) -> None:
    import numpy as np

    bad = np.full((2, 2, 2), np.nan)
    for name in ("escape", "line", "direction"):
        np.savez(tmp_path / "a.npz", allow_pickle=False, **{HOSTILE[name]: bad})
        done = called("analyze", tmp_path / "a.npz", "--key", "*")
        assert done.status == 3
        assert controls(done.everything) == set()
        assert all(line.startswith("rankscope: ") for line in done.stderr.splitlines())
    asked = called("analyze", tmp_path / "a.npz", "--key", "\x1b[2J\n")
    assert asked.status == 3
    assert controls(asked.stderr) == set()
    assert asked.stderr.count("\n") == 1


def test_a_hostile_file_name_is_shown_safely(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "\x1b[2J\n=x.npy"
    np.save(path, np.eye(3))
    for format in ("table", "csv", "markdown", "latex"):
        done = called("analyze", path, "--format", format, "-v")
        assert done.status == 0
        assert controls(done.everything) == set(), format
    np.save(path, np.array([[np.nan]]))
    done = called("analyze", path)
    assert (done.status, controls(done.stderr), done.stderr.count("\n")) == (3, set(), 1)


def test_a_hostile_file_name_for_output_is_shown_safely(tmp_path: Path) -> None:
    done = called(*CAUSAL, "-o", tmp_path / "\x1b[2J.docx")
    assert done.status == 2
    assert controls(done.stderr) == set()
