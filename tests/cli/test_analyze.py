"""`rankscope analyze`: the numbers that were promised, the same bytes, and one message for every mistake."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankscope.errors import RankscopeError
from tests.process import (
    SAMPLE,
    Ended,
    by_measure,
    called,
    command,
    environment,
    rankscope,
    strict_json,
    together,
    violations,
    without_traceback,
)

STANDARD = ["--n", "512", "--d", "64"]
HEADLINES = {
    "causal": ["--mask", "causal"],
    "bidirectional": ["--mask", "bidirectional"],
    "linear": ["--kernel", "linear"],
    "linear causal": ["--kernel", "linear", "--mask", "causal"],
}


@pytest.fixture(scope="module")
def headlines() -> dict[str, Ended]:
    """The ensemble of the issue, seed 0, as JSON; the first command twice."""
    commands = [["analyze", *options, *STANDARD, "--format", "json"] for options in HEADLINES.values()]
    found = together([*commands, commands[0]])
    return dict(zip([*HEADLINES, "causal again"], found, strict=True))


@pytest.fixture(scope="module")
def headline_records(headlines: dict[str, Ended]) -> dict[str, Any]:
    return {name: by_measure(strict_json(done.raw)) for name, done in headlines.items()}


# ------------------------------------------------------------------------------------------------ the promised numbers


def test_causal_attention_has_the_numbers_of_the_issue(headline_records: dict[str, Any]) -> None:
    found = headline_records["causal"]
    assert (found["rank_exact"]["value"], found["rank_exact"]["guarantee"]) == (512, "proved")
    assert found["rank_numerical"]["value"] == 502
    assert found["logdet"]["value"] == pytest.approx(-2981.229079, abs=1e-6)
    assert (found["logdet"]["sign"], found["logdet"]["guarantee"]) == (1, "proved")
    assert found["log10_sigma_min"]["value"] == pytest.approx(-140.74, abs=0.02)
    assert found["effective_rank"]["value"] == pytest.approx(218.6, abs=0.1)


def test_bidirectional_attention_has_the_numbers_of_the_issue(headline_records: dict[str, Any]) -> None:
    found = headline_records["bidirectional"]
    assert found["rank_numerical"]["value"] == 512
    assert found["effective_rank"]["value"] == pytest.approx(301.96, abs=0.01)
    assert found["stable_rank"]["value"] == pytest.approx(2.6839, abs=0.0001)


def test_linear_attention_has_the_rank_of_its_features_until_a_mask_makes_it_full(
    headline_records: dict[str, Any],
) -> None:
    free, causal = headline_records["linear"], headline_records["linear causal"]
    assert free["rank_numerical"]["value"] == 64
    assert (free["rank_exact"]["value"], free["rank_exact"]["high"]) == (None, 64)
    assert free["rank_exact"]["guarantee"] == "proved"
    assert (causal["rank_exact"]["value"], causal["rank_exact"]["guarantee"]) == (512, "proved")


@pytest.mark.parametrize("name", HEADLINES)
def test_json_is_strict_and_obeys_the_schema_and_nothing_else_is_said(name: str, headlines: dict[str, Ended]) -> None:
    done = headlines[name]
    assert (done.status, done.stderr) == (0, "")
    assert violations(strict_json(done.raw)) == []
    assert done.raw.isascii()
    assert done.raw.endswith(b"}\n")


def test_each_number_carries_a_guarantee_a_subject_and_its_place(headlines: dict[str, Ended]) -> None:
    document = strict_json(headlines["causal"].raw)
    assert {record["subject"] for record in document["records"]} <= {"scores", "factors", "stored"}
    assert {record["seed"] for record in document["records"]} == {0}
    [matrix] = document["matrices"]
    assert (matrix["rows"], matrix["columns"], matrix["d"], matrix["mask"]) == (512, 512, 64, "causal")
    tolerance = next(r for r in document["records"] if r["measure"] == "rank_numerical")["details"]["tolerance"]
    [spectrum] = [series for series in document["series"] if series["name"] == "singular_values"]
    assert tolerance == pytest.approx(512 * np.finfo(float).eps * spectrum["values"][0], rel=1e-12)
    assert len(spectrum["values"]) == len(spectrum["errors"]) == len(spectrum["index"]) == 512
    assert spectrum["values"] == sorted(spectrum["values"], reverse=True)


# ------------------------------------------------------------------------------------------------------- the same bytes


def test_the_same_command_gives_the_same_bytes(headlines: dict[str, Ended]) -> None:
    assert headlines["causal"].raw == headlines["causal again"].raw


def test_neither_workers_nor_the_environment_change_a_byte() -> None:
    stack = ["analyze", "--plan", "heads", "--heads", "4", "--n", "300", "--d", "16", "--format", "json"]
    several = together([[*stack, "--workers", workers] for workers in ("1", "2", "4")])
    threads = {f"{library}_NUM_THREADS": "2" for library in ("OMP", "OPENBLAS", "MKL")}
    several.append(rankscope(*stack, env=environment(**threads, LC_ALL="C", TZ="Asia/Tokyo", PYTHONHASHSEED="7")))
    assert [done.status for done in several] == [0] * 4
    assert len({done.raw for done in several}) == 1
    assert len(strict_json(several[0].raw)["matrices"]) == 6


def test_times_stand_in_the_result_only_when_they_were_asked_for() -> None:
    small = ["analyze", "--n", "8", "--d", "2", "--format", "json"]
    plain, timed = (strict_json(called(*small, *more).raw) for more in ([], ["--timing"]))
    assert "run" not in plain
    assert 0 < timed["run"]["seconds"] < 60
    assert violations(timed) == []
    del timed["run"]
    assert timed == plain


def test_blas_threads_are_recorded() -> None:
    study = strict_json(called("analyze", "--n", "8", "--d", "2", "--blas-threads", "2", "--format", "json").raw)[
        "study"
    ]
    assert study["blas_threads"] == 2


# ---------------------------------------------------------------------------------------------------------- the options


def document_of(*options: object) -> Any:
    done = called("analyze", "--d", "4", "--format", "json", *options)
    assert (done.status, done.stderr) == (0, ""), done.stderr
    found = strict_json(done.raw)
    assert violations(found) == []
    return found


@pytest.mark.parametrize("seeds", ["2:5", "2,3,4"])
def test_several_seeds_give_a_record_each_and_a_summary(seeds: str) -> None:
    found = document_of("--n", 12, "--seeds", seeds, "-m", "stable_rank")
    values = [record["value"] for record in found["records"]]
    assert [record["seed"] for record in found["records"]] == [2, 3, 4]
    [row] = found["summary"]
    assert row["mean"] == pytest.approx(np.mean(values), rel=1e-14)
    assert row["sd"] == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    assert (row["count"], row["min"], row["max"]) == (3, min(values), max(values))
    alone = document_of("--n", 12, "--seed", 3, "-m", "stable_rank")
    assert alone["records"][0]["value"] == values[1]
    assert alone["summary"] == []


def test_measures_are_named_once_repeatedly_or_with_commas() -> None:
    for written in (["-m", "hoyer", "--measure", "erank"], ["-m", "hoyer,effective_rank"]):
        assert {r["measure"] for r in document_of("--n", 8, *written)["records"]} == {"hoyer", "effective_rank"}


def test_all_measures_are_more_than_the_default_ones() -> None:
    every, default = (
        {record["measure"] for record in document_of("--n", 8, *more)["records"]} for more in (["-m", "all"], [])
    )
    assert every - default == {"dobrushin", "eigenvalues", "offdiagonal_rank", "rank_output", "row_sum"}
    assert default <= every


def test_rules_and_relative_tolerances_decide_the_numerical_rank() -> None:
    def counted(*options: object) -> tuple[int, str]:
        [record] = document_of("--n", 64, "--mask", "causal", "-m", "rank_numerical", *options)["records"]
        return record["value"], record["details"]["rule"]

    few, many = counted("--rtol", "0.1"), counted("--rtol", "1e-6")
    assert few[0] < many[0] <= 64
    assert (few[1], many[1]) == ("rtol", "rtol")
    assert counted("--rule", "torch-f32")[1] == "torch-f32"


def test_plans_mix_directions_and_add_what_heads_and_layers_make_together() -> None:
    def matrices(*options: object) -> list[tuple[Any, ...]]:
        found = document_of("--n", 8, "-m", "logdet", *options)
        masks = {matrix["id"]: matrix["mask"] for matrix in found["matrices"]}
        return [(masks[r["matrix"]], r["layer"], r["head"], r["over"], r["sign"]) for r in found["records"]]

    heads = matrices("--plan", "heads", "--heads", "4")
    assert [each[0] for each in heads] == ["causal", "causal", "anticausal", "anticausal", None, None]
    assert [each[2] for each in heads] == [0, 1, 2, 3, None, None]
    assert [head[3] for head in heads[-2:]] == ["heads-mean", "heads-concatenated"]
    assert [each[0] for each in matrices("--plan", "alternating-heads", "--heads", 4)][:4] == [
        "causal",
        "anticausal",
    ] * 2
    layers = matrices("--plan", "layers", "--layers", "2")
    assert layers == [("causal", 0, 0, None, 1), ("anticausal", 1, 0, None, 1), (None, None, None, "layers-product", 1)]


def test_a_product_of_layers_has_the_sum_of_their_determinants_and_proves_its_rank() -> None:
    found = document_of("--n", 8, "--plan", "layers", "--layers", "2", "-m", "logdet,rank_exact")
    logdets = [record for record in found["records"] if record["measure"] == "logdet"]
    assert logdets[2]["value"] == pytest.approx(logdets[0]["value"] + logdets[1]["value"], rel=1e-15)
    assert logdets[2]["guarantee"] == "proved"
    ranks = [record for record in found["records"] if record["measure"] == "rank_exact"]
    # A proved determinant that is not zero is a proof of full rank.
    assert [(rank["value"], rank["guarantee"]) for rank in ranks] == [(8, "proved")] * 3


def test_adding_a_head_changes_no_other() -> None:
    def heads(count: int) -> list[tuple[str, Any]]:
        found = document_of("--n", 8, "--heads", count, "-m", "stable_rank")
        return [(m["digest"], r["value"]) for m, r in zip(found["matrices"], found["records"], strict=True)]

    assert heads(3)[:2] == heads(2)[:2]


def test_rounding_to_fewer_bits_shows_both_subjects() -> None:
    found = document_of("--n", 64, "--mask", "causal", "--scale", 30, "--dtype", "bfloat16")
    ranks = {r["subject"]: r for r in found["records"] if r["measure"] == "rank_exact"}
    assert ranks["scores"]["value"] == 64
    assert ranks["stored"]["high"] < 64
    assert found["matrices"][0]["dtype"] == "bfloat16"


def test_rows_that_see_nothing_are_an_error_unless_it_is_said_what_they_are() -> None:
    nothing = [
        "analyze",
        "--n",
        3,
        "--d",
        2,
        "--mask",
        "~window:2",
    ]  # the middle query sees neither neighbour nor itself
    refused = called(*nothing)
    assert refused.status == 3
    assert re.search(r"RS120: row 1 .*--empty-rows", refused.stderr)
    for policy, rows in (("zero", 3), ("uniform", 3), ("drop", 2)):
        found = strict_json(called(*nothing, "--empty-rows", policy, "--format", "json").raw)
        assert violations(found) == []
        assert found["matrices"][0]["rows"] == rows


def test_a_strict_triangle_implies_rows_of_zeros() -> None:
    found = by_measure(document_of("--n", 6, "--mask", "~causal"))
    assert (found["rank_exact"]["high"], found["rank_exact"]["guarantee"]) == (5, "proved")
    assert (found["logdet"]["value"], found["logdet"]["sign"]) == (None, 0)


# ---------------------------------------------------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with something wrong in them, and one with nothing wrong."""
    path = tmp_path_factory.mktemp("files")
    good = np.full((4, 4), 0.2) + 0.2 * np.eye(4)
    bad = np.stack([good, good, good])
    bad[1, 2, 3] = np.nan
    np.save(path / "good.npy", good)
    np.save(path / "nan.npy", bad[1])
    np.save(path / "infinite.npy", np.where(np.isnan(bad[1]), np.inf, bad[1]))
    np.save(path / "stack.npy", bad)
    np.save(path / "vector.npy", np.ones(3))
    (path / "truncated.npy").write_bytes((path / "good.npy").read_bytes()[:-3])
    (path / "pickle.pt").write_bytes(b"\x80\x04.")
    (path / "numbers.txt").write_text("1 2 3\n")
    return path


def test_a_file_is_analysed_as_stored(folder: Path) -> None:
    done = called("analyze", folder / "good.npy", "--format", "json")
    document = strict_json(done.raw)
    [matrix] = document["matrices"]
    assert (matrix["label"], matrix["source"], matrix["mask"]) == ("good.npy", "good.npy", None)
    assert by_measure(document)["row_sum_defect"]["value"] < 1e-15
    assert str(folder) not in done.everything, "paths are private"


def test_one_bad_head_is_named_hides_no_other_and_ends_with_3(folder: Path) -> None:
    done = rankscope("analyze", folder / "stack.npy")
    assert done.status == 3
    assert re.search(r"stack.npy head 1.*RS110.*row 2, column 3", done.stderr)
    assert without_traceback(done)
    shown = done.stdout
    found = strict_json(called("analyze", folder / "stack.npy", "--format", "json").raw)
    assert violations(found) == []
    stable = [record for record in found["records"] if record["measure"] == "stable_rank"]
    assert [record["status"] for record in stable] == ["ok", "refused", "ok"]
    assert stable[0]["value"] == stable[2]["value"] is not None
    assert (stable[1]["value"], stable[1]["code"]) == (None, "RS110")
    text = f"{stable[0]['value']:.6g}"
    assert shown.count(text) >= 2, "the other two heads are shown"
    assert "RS110" in shown


def test_with_quiet_a_bad_head_is_still_reported(folder: Path) -> None:
    done = called("analyze", folder / "stack.npy", "-q")
    assert (done.status, done.stdout) == (3, "")
    assert "head 1" in done.stderr


# ------------------------------------------------------------------------------------------- what the table looks like

WIDE = {
    "causal": ["analyze", "--mask", "causal"],
    "seeds": ["analyze", "--mask", "causal", "--n", "32", "--d", "8", "--seeds", "0:3"],
    "heads": ["analyze", "--plan", "heads", "--heads", "4", "--n", "64", "--d", "8"],
    "layers": ["analyze", "--plan", "layers", "--layers", "2", "--heads", "2", "--n", "64", "--d", "8"],
    "one head per layer": ["analyze", "--plan", "layers", "--layers", "2", "--n", "64", "--d", "8"],
    "sample": ["analyze", str(SAMPLE)],
    "sample from scores": ["analyze", str(SAMPLE), "--from", "scores"],
    "underflow": ["analyze", "--mask", "causal", "--dtype", "bfloat16", "--scale", "30", "--n", "64"],
    "one token": ["analyze", "--n", "1"],
    "all measures": ["analyze", "--n", "16", "--d", "4", "--measure", "all"],
    "refused row": ["analyze", "--kernel", "linear:relu", "--d", "1", "--n", "16", "--empty-rows", "zero"],
}


@pytest.mark.parametrize("name", WIDE)
def test_the_table_is_at_most_80_columns_wide(name: str) -> None:
    done = called(*WIDE[name])
    assert done.status == 0
    lines = done.stdout.splitlines()
    assert len(lines) > 3
    assert [line for line in lines if len(line) > 80] == []
    assert [line for line in lines if line != line.rstrip()] == []


def test_the_table_of_a_stack_with_a_bad_head_is_at_most_80_columns_wide(folder: Path) -> None:
    lines = called("analyze", folder / "stack.npy").stdout.splitlines()
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("name", ["heads", "layers", "sample"])
def test_each_row_of_a_list_of_matrices_tells_which_it_is(name: str) -> None:
    lines = called(*WIDE[name]).stdout.splitlines()
    top = next(number for number, line in enumerate(lines) if "exact" in line and "numerical" in line)
    first = len(lines[top]) - len(lines[top].lstrip())
    labels = [line[:first].strip() for line in lines[top + 1 : lines.index("", top + 1)]]
    assert len(labels) > 4
    assert len(set(labels)) == len(labels)


def test_a_person_sees_value_guarantee_and_reason() -> None:
    shown = called("analyze", "--mask", "causal").stdout
    assert re.search(r"rank_exact +512 of 512 +proved +lower triangular with a\n +positive diagonal", shown)
    assert re.search(r"rank_numerical +502 +estimated +σ > ", shown)
    assert re.search(r"sign +\+1 +proved", shown)
    assert re.search(r"logdet +−2981.229079 +proved +± ", shown)
    assert re.search(r"LAPACK\s+prints", shown)
    assert "\x1b" not in shown


# ------------------------------------------------------------------------------------------------------- exit statuses

USAGE: dict[str, tuple[list[Any], str, str]] = {
    "an unknown mask": (["--mask", "causl"], "RS001", "'causal'"),
    "an unknown mask in an expression": (["--mask", "causal & windw:3"], "RS001", "'window'"),
    "an unknown kernel": (["--kernel", "softmx"], "RS001", "'softmax'"),
    "an unknown feature map": (["--kernel", "linear:rel"], "RS001", "'relu'"),
    "an unknown plan": (["--plan", "layer"], "RS001", "'layers'"),
    "an unknown measure": (["-m", "efective_rank"], "RS001", "'effective_rank'"),
    "an unknown rule": (["--rule", "nump"], "RS001", "'numpy'"),
    "an unknown type": (["--dtype", "bfloat1"], "RS001", "'bfloat16'"),
    "a mask without its value": (["--mask", "prefix"], "RS002", "prefix:LENGTH"),
    "a mask with a value it does not take": (["--mask", "causal:3"], "RS002", "causal"),
    "a value of another type": (["--mask", "window:x"], "RS002", "int"),
    "a value out of range": (["--mask", "window:0"], "RS002", "at least 1"),
    "an unfinished expression": (["--mask", "causal &"], "RS002", "causal &"),
    "an empty mask": (["--mask", ""], "RS002", "mask"),
    "an empty measure": (["-m", ""], "RS002", "measure"),
    "a range of seeds that is empty": (["--seeds", "3:3"], "RS002", "0:20"),
    "seeds that are no numbers": (["--seeds", "a:b"], "RS002", "0:20"),
    "seeds with a gap": (["--seeds", "1,,2"], "RS002", "0:20"),
    "a seed and seeds": (["--seed", "1", "--seeds", "0:2"], "RS003", "one of them"),
    "a negative seed": (["--seed", "-1"], "RS002", "at least 0"),
    "half of an odd number of heads": (["--plan", "heads", "--heads", "3"], "RS002", "even"),
    "layers that do not alternate": (["--plan", "layers"], "RS002", "--layers 2"),
    "a plan with a mask": (["--plan", "heads", "--heads", "2", "--mask", "causal"], "RS003", "mask"),
    "no token": (["--n", "0"], "RS002", "at least 1"),
    "no dimension": (["--d", "0"], "RS002", "at least 1"),
    "no head": (["--heads", "0"], "RS002", "at least 1"),
    "no layer": (["--layers", "0"], "RS002", "at least 1"),
    "a negative scale": (["--scale", "-1"], "RS002", "negative"),
    "a scale that is no number": (["--scale", "nan"], "RS002", "finite"),
    "a tolerance of one": (["--rtol", "1"], "RS002", "below 1"),
    "a tolerance that is no number": (["--rtol", "nan"], "RS002", "rtol"),
    "a rule and a tolerance": (["--rule", "matlab", "--rtol", "1e-3"], "RS003", "--rtol"),
    "--from without a file": (["--from", "scores"], "RS003", "file"),
    "--key without a file": (["--key", "x"], "RS003", "file"),
    "a size for a file": ([SAMPLE, "--n", "5"], "RS003", "--n"),
    "a seed for a file": ([SAMPLE, "--seed", "0"], "RS003", "--seed"),
    "a plan for a file": ([SAMPLE, "--plan", "uniform"], "RS003", "--plan"),
    "a mask for stored weights": ([SAMPLE, "--mask", "causal"], "RS003", "--from scores"),
    "a kernel for stored weights": ([SAMPLE, "--kernel", "linear"], "RS003", "--from scores"),
    "a figure without a file": (["--figure", "spectrum"], "RS003", "-o FILE"),
    "an unknown figure": (["--figure", "spectrm", "-o", "a.png"], "RS001", "'spectrum'"),
    "a figure in a table": (["--figure", "spectrum", "-o", "a.csv"], "RS003", ".png"),
    "an unknown suffix": (["-o", "a.docx"], "RS002", ".parquet"),
    "no suffix": (["-o", "table"], "RS002", ".csv"),
}


@pytest.mark.parametrize("name", USAGE)
def test_a_mistake_in_usage_is_one_message_with_what_to_do_and_status_2(name: str) -> None:
    options, code, hint = USAGE[name]
    size = [] if SAMPLE in options or "--n" in options else ["--n", "4"]
    done = called("analyze", *size, *options)
    assert done.status == 2, done.everything
    assert done.stdout == ""
    assert done.stderr.startswith(f"rankscope: {code}: ")
    assert hint in done.stderr
    assert done.stderr.count("\n") == 1
    assert without_traceback(done)


def test_a_message_is_punctuated_once() -> None:
    assert called("analyze", "--mask", "causl").stderr.endswith("id you mean 'causal'?\n")


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--bogus"], "--bogus"),
        (["--measur", "hoyer"], "--measure"),
        (["--n", "x"], "--n"),
        (["-f", "xml"], "markdown"),
    ],
)
def test_what_the_parser_refuses_ends_with_2_as_well(options: list[str], hint: str) -> None:
    done = called("analyze", *options)
    assert (done.status, done.stdout) == (2, "")
    assert hint in done.stderr
    assert without_traceback(done)


def test_a_mistake_in_usage_ends_the_process_with_2() -> None:
    done = rankscope("analyze", "--mask", "causl")
    assert (done.status, done.stdout) == (2, "")
    assert "id you mean 'causal'" in done.stderr


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("nan.npy", "RS110"),
        ("infinite.npy", "RS111"),
        ("vector.npy", "RS208"),
        ("truncated.npy", "RS202"),
        ("pickle.pt", "RS207"),
        ("numbers.txt", "RS207"),
    ],
)
def test_bad_input_ends_with_3_and_names_the_file_but_not_its_folder(file: str, code: str, folder: Path) -> None:
    done = called("analyze", folder / file)
    assert (done.status, done.stdout) == (3, "")
    assert done.stderr.startswith(f"rankscope: {code}: ")
    assert file in done.stderr
    assert str(folder) not in done.stderr
    assert re.match(r"rankscope: RS\d{3}: [^.]+.*\. [A-Z][^.]*", done.stderr), "no remedy"


def test_bad_input_ends_the_process_with_3(folder: Path) -> None:
    done = rankscope("analyze", folder / "nan.npy")
    assert (done.status, done.stdout) == (3, "")
    assert "RS110" in done.stderr
    assert without_traceback(done)


def test_what_is_too_large_is_refused_at_once_with_the_largest_size_that_fits() -> None:
    started = time.perf_counter()
    done = rankscope("analyze", "--n", "2000000")
    assert time.perf_counter() - started < 2  # a process starts in a quarter of a second, and nothing is to be computed
    assert (done.status, done.stdout) == (4, "")
    found = re.search(r"RS301: .*2000000.*n ≤ (\d+)", done.stderr)
    assert found is not None
    assert 1000 < int(found[1]) < 2000000
    assert without_traceback(done)


def test_a_stack_that_is_too_large_is_refused_as_well() -> None:
    done = called("analyze", "--n", "2000000", "--heads", "2")
    assert (done.status, done.stdout) == (4, "")


@pytest.mark.parametrize("file", ["missing.npy", "folder.npy"])
def test_a_file_that_cannot_be_read_ends_with_6(file: str, tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    done = called("analyze", tmp_path / file)
    assert (done.status, done.stdout) == (6, "")
    assert done.stderr.startswith("rankscope: RS501: ")
    assert file in done.stderr


def test_a_traceback_is_shown_only_with_debug(folder: Path) -> None:
    for broken in (["--mask", "causl"], [str(folder / "nan.npy")], [str(folder / "missing.npy")]):
        plain = called("analyze", *broken)
        assert without_traceback(plain)
        with pytest.raises(RankscopeError) as caught:
            called("analyze", "--debug", *broken)
        assert str(caught.value) in plain.stderr
    done = rankscope("analyze", "--mask", "causl", "--debug")
    assert "Traceback (most recent call last)" in done.stderr
    assert "RS001" in done.stderr


# ------------------------------------------------------------------------------------------------------------- signals


@pytest.fixture
def long_run() -> Iterator[subprocess.Popen[bytes]]:
    words = command("analyze", "--n", "600", "--seeds", "0:500", "--workers", "1")
    process = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_ends_a_long_run_without_a_traceback(
    sent: signal.Signals, status: int, long_run: subprocess.Popen[bytes]
) -> None:
    time.sleep(0.7)
    assert long_run.poll() is None, "the run is too short to be interrupted"
    long_run.send_signal(sent)
    out, err = long_run.communicate(timeout=20)
    assert long_run.returncode == status  # what a shell calls 143 is, to a parent, death by signal 15
    assert out == b""
    assert b"Traceback" not in err
