"""`rankscope report`: saved results become documents; what cannot be one is refused before anything is written."""

import json
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import rankscope as rs
from rankscope.cli.gallery import COMMANDS, examples
from rankscope.cli.options import SHOWING
from rankscope.records import Table
from rankscope.report.figure import names
from tests.process import Ended, called, environment, rankscope, strict_json, without_traceback

DOCUMENTS = (".pdf", ".html", ".png")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a result of one matrix, one of three, and one over depth."""
    folder = tmp_path_factory.mktemp("saved")
    one = ("analyze", "--mask", "causal", "--n", "16", "--d", "4")
    called(*one, "-q", "-o", folder / "one.json", "-o", folder / "one.csv", "-o", folder / "one.parquet")
    masks = "bidirectional,causal,window:3"
    called("compare", "--mask", masks, "--n", "16", "--d", "4", "-q", "-o", folder / "few.json")
    called("depth", "--n", "8", "--d", "4", "--layers", "3", "-q", "-o", folder / "depth.json")
    return folder


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_results_become_documents_and_are_printed(saved: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / f"a{suffix}" for suffix in DOCUMENTS]
    done = called("report", saved / "one.json", *(word for path in outputs for word in ("-o", path)))
    assert done.status == 0
    assert "rank_exact" in done.stdout
    assert "rankscope: wrote a.pdf\n" in done.stderr
    pages = int(re.findall(r"wrote a-1.png \(pages 1 to (\d+)\)", done.stderr)[0])
    assert files(tmp_path) == sorted(["a.html", "a.pdf", *(f"a-{i}.png" for i in range(1, pages + 1))])
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF-")


def test_two_runs_give_the_same_bytes_wherever_the_files_lie(saved: Path, tmp_path: Path) -> None:
    for folder in ("one", "other place"):
        (tmp_path / folder).mkdir()
        outputs = (word for suffix in DOCUMENTS for word in ("-o", tmp_path / folder / f"a{suffix}"))
        called("report", saved / "few.json", saved / "depth.json", "-q", *outputs)
    first, second = tmp_path / "one", tmp_path / "other place"
    assert files(first) == files(second)
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files(first))
    assert str(tmp_path).encode() not in (first / "a.html").read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_without_spectra_reports_and_names_what_it_lacks(suffix: str, saved: Path, tmp_path: Path) -> None:
    assert called("report", saved / f"one{suffix}", "-q", "-o", tmp_path / "a.html").status == 0
    page = (tmp_path / "a.html").read_text("utf-8")
    [said] = re.findall("Not shown, for want of what they draw: (.*)<", page)
    assert "files other than .json hold no series" in said
    assert {"attention (", "spectrum (", "cumulative ("} <= {f"{name} (" for name in re.findall(r"([a-z-]+) \(", said)}
    assert "neither the command nor the study" in page


def test_a_report_names_the_command_that_makes_its_result_again(saved: Path, tmp_path: Path) -> None:
    called("report", saved / "few.json", "-q", "-o", tmp_path / "a.html")
    [command] = re.findall(r"<pre>(.*?)</pre>", (tmp_path / "a.html").read_text("utf-8"), flags=re.DOTALL)
    words = shlex.split(command)
    assert words[0] == "rankscope"
    again = strict_json(called(*words[1:], "--format", "json").raw)
    assert again == json.loads((saved / "few.json").read_text())


def test_a_document_of_analyze_is_that_of_report(tmp_path: Path) -> None:
    options = ("analyze", "--mask", "causal", "--n", "16", "--d", "4", "-q")
    called(*options, "-o", tmp_path / "a.html", "-o", tmp_path / "a.pdf", "-o", tmp_path / "a.json")
    called("report", tmp_path / "a.json", "-q", "-o", tmp_path / "b.html", "-o", tmp_path / "b.pdf")
    for suffix in (".html", ".pdf"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_results_of_a_kind_are_shown_together(saved: Path, tmp_path: Path) -> None:
    called("report", saved / "one.json", saved / "few.json", saved / "depth.json", "-q", "-o", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "Rank of attention" in page
    assert "Rank collapse with depth" in page
    assert len(re.findall("<pre>rankscope ", page)) == 3
    assert "Singular values of 4 matrices" not in page, "letters of figures are outlines"


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_one_figure_alone(suffix: str, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    done = called("report", saved / "one.json", saved / "depth.json", "--figure", "collapse", "-q", "-o", path)
    assert (done.status, files(tmp_path)) == (0, [path.name])


REFUSALS: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "no file": (lambda f: ["one.json"], "RS003"),
    "nothing": (lambda f: ["-o", "a.pdf"], "RS003"),
    "both": (lambda f: ["one.json", "--gallery", "-o", "a.pdf"], "RS003"),
    "a table": (lambda f: ["one.json", "-o", "a.csv"], "RS002"),
    "no suffix": (lambda f: ["one.json", "-o", "a"], "RS002"),
    "an unknown figure": (lambda f: ["one.json", "--figure", "spectre", "-o", "a.svg"], "RS001"),
    "a figure without its numbers": (lambda f: ["one.csv", "--figure", "spectrum", "-o", "a.svg"], "RS003"),
    "a value that no figure takes": (lambda f: ["one.json", "--figure", "spectrum:x", "-o", "a.svg"], "RS002"),
    "no such file": (lambda f: ["none.json", "-o", "a.pdf"], "RS501"),
    "no result": (lambda f: ["bad.json", "-o", "a.pdf"], "RS211"),
    "no folder": (lambda f: ["one.json", "-o", "none/a.pdf"], "RS502"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_a_document_is_refused_and_nothing_is_written(name: str, saved: Path) -> None:
    (saved / "bad.json").write_text("{}")
    options, code = REFUSALS[name]
    before = files(saved)
    done = rankscope("report", *options(saved), cwd=saved)
    assert done.status == {"RS211": 3, "RS501": 6, "RS502": 6}.get(code, 2)
    assert done.stderr.startswith(f"rankscope: {code}: ")
    assert done.stdout == ""
    assert without_traceback(done)
    assert files(saved) == before


BROKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "a tolerance in words": lambda r: r["rank_numerical"]["details"].update(tolerance="abc"),
    "a gap without what is above": lambda r: r["rank_numerical"]["details"].pop("sigma_above"),
    "a limit without a formula": lambda r: r["stable_rank"]["details"].update(limit=3.0),
    "a determinant beyond exp": lambda r: r["logdet"].update(value=1e300, low=1e299, high=1e301),
    "more values than there are": lambda r: r["energy_rank_90"].update(value=10_000),
}


@pytest.mark.parametrize("name", BROKEN)
def test_numbers_that_do_not_fit_together_are_the_fault_of_the_file(name: str, saved: Path, tmp_path: Path) -> None:
    document = json.loads((saved / "one.json").read_text())
    BROKEN[name]({record["measure"]: record for record in document["records"]})
    (tmp_path / "bad.json").write_text(json.dumps(document))
    done = rankscope("report", tmp_path / "bad.json", "-o", tmp_path / "a.html")
    assert without_traceback(done)
    assert (done.status, files(tmp_path)) in ((3, ["bad.json"]), (0, ["a.html", "bad.json"]))
    assert done.status == 0 or done.stderr.startswith("rankscope: RS211: ")


def test_a_figure_that_no_result_has_is_refused_in_a_document_too(saved: Path, tmp_path: Path) -> None:
    done = called("report", saved / "one.json", "--figure", "heads:stable_rank", "-o", tmp_path / "a.html")
    assert (done.status, files(tmp_path)) == (2, [])


def test_pages_of_an_earlier_report_are_named(saved: Path, tmp_path: Path) -> None:
    for name in ("a-7.png", "a-x.png", "b-7.png"):
        (tmp_path / name).write_bytes(b"old")
    done = called("report", saved / "one.json", "-o", tmp_path / "a.png")
    assert "rankscope: a-7.png: of an earlier report\n" in done.stderr
    assert (tmp_path / "a-7.png").read_bytes() == b"old"


def test_results_of_other_studies_are_not_taken_for_seeds(tmp_path: Path) -> None:
    options = ("depth", "--n", "8", "--d", "4", "--layers", "3", "-q")
    called(*options, "--centre", "first", "-o", tmp_path / "first.json")
    called(*options, "--absolute", "-o", tmp_path / "absolute.json")
    done = called("report", tmp_path / "first.json", tmp_path / "absolute.json", "-o", tmp_path / "a.html")
    assert "(absolute.json)" in done.stdout
    assert "±" not in done.stdout
    seeds = ("analyze", "--n", "8", "--d", "4", "--seeds", "0:2", "-q")
    called(*seeds, "-o", tmp_path / "s.json")
    done = called("report", tmp_path / "s.json", tmp_path / "s.json", "-o", tmp_path / "a.html")
    assert "4 seeds" not in done.stdout


def test_a_long_command_is_kept_whole(tmp_path: Path) -> None:
    seeds = ",".join(map(str, range(1, 801, 2)))
    called("analyze", "--n", "3", "--d", "2", "-m", "sigma_max", "--seeds", seeds, "-q", "-o", tmp_path / "a.html")
    [command] = re.findall(r"<pre>(.*?)</pre>", (tmp_path / "a.html").read_text("utf-8"), flags=re.DOTALL)
    assert seeds in shlex.split(command.replace("\\\n", " "))


def test_a_full_disk_leaves_the_old_document(saved: Path) -> None:
    done = rankscope("report", saved / "one.json", "-q", "-o", "/dev/full")
    assert (done.status, done.stderr.startswith("rankscope: RS002")) == (2, True)


# ----------------------------------------------------------------------------------------------------- the command kept


def command_of(*words: object) -> str:
    return str(strict_json(called(*words, "--format", "json").raw)["command"])


def test_what_is_shown_and_where_files_lie_is_no_part_of_a_command(saved: Path, tmp_path: Path) -> None:
    words = ("compare", "--n", "8,9", "--d", "2", "--mask", "causal & window:2")
    kept = command_of(*words)
    assert kept == "rankscope compare --mask 'causal & window:2' --n 8,9 --d 2"
    assert command_of(*words, "-o", tmp_path / "a.csv", "--workers", "1", "--timing") == kept
    plugin = tmp_path / "my plugin.py"
    plugin.write_text("")
    assert command_of(*words, "--plugin", plugin) == f"{kept} --plugin 'my plugin.py'"
    assert set(SHOWING) >= {"output", "format", "workers"}


def test_a_result_made_in_python_has_no_command() -> None:
    assert "command" not in json.loads(rs.analyze([[1.0]]).to_json())


# -------------------------------------------------------------------------------------------------------------- gallery


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    path = tmp_path_factory.mktemp("gallery") / "gallery.html"
    return rankscope("report", "--gallery", "-o", path, env=environment()), path


def test_the_gallery_shows_every_figure_with_its_command(gallery: tuple[Ended, Path]) -> None:
    done, path = gallery
    assert (done.status, done.stdout) == (0, "")
    page = path.read_text("utf-8")
    for name in names():
        assert f"<h2>{name}</h2>" in page
        assert re.search(rf"--figure\s[\s\\]*{name}", page), name
    assert 2 * len(names()) >= page.count("<figure>") > len(names())


def test_the_results_of_the_gallery_are_those_of_its_commands() -> None:
    with mock.patch.dict(os.environ):  # a command fixes the number of threads for its process
        tables: list[Table] = list(examples())
    assert len(tables) == len(COMMANDS)
    for table, command in zip(tables, COMMANDS, strict=True):
        assert sorted(shlex.split(str(table.command))[1:]) == sorted(shlex.split(command))
    assert [table.over_depth for table in tables] == [command.startswith("depth") for command in COMMANDS]
