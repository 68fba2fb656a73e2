"""`rankscope check`: status 1 and the heads that do not keep a limit, 0 where all do."""

from pathlib import Path

import pytest

from rankscope.report.sentences import sentences
from rankscope.result import read
from tests.generators.tiny import Models, text
from tests.process import SAMPLE, called, strict_json

BOUND = 0.06  # of 128, 7.7: the sample's head 0 of layer 5 has 6.03, its head 1 8.29


def test_heads_that_do_not_keep_a_limit_are_listed_and_the_status_is_one() -> None:
    done = called("check", SAMPLE, "--min", f"effective_rank={BOUND}n")
    assert done.status == 1
    assert done.stdout.splitlines() == [
        "failed   layer.5.attention head 0: effective_rank 6.03384 < 7.68 (0.06n)",
        "6 matrices, 1 do not keep: effective_rank ≥ 0.06n",
    ]


def test_limits_that_all_keep_give_status_zero() -> None:
    done = called("check", SAMPLE, "--min", "effective_rank=0.02n", "--max", "stable_rank=64")
    assert (done.status, done.stdout) == (0, "6 matrices, all keep: effective_rank ≥ 0.02n, stable_rank ≤ 64\n")


def test_the_list_is_json_for_machines() -> None:
    done = called("check", SAMPLE, "--min", "effective_rank=7", "-f", "json")
    found = strict_json(done.raw)
    assert (done.status, found["checked"], found["limits"]) == (1, 6, ["effective_rank ≥ 7"])
    [failure] = found["failures"]
    assert (failure["layer"], failure["head"], failure["limit"]) == (5, 0, 7.0)
    assert failure["value"] == pytest.approx(6.0338, abs=1e-4)


def test_a_quiet_check_says_it_by_its_status() -> None:
    done = called("check", SAMPLE, "--min", "effective_rank=7", "-q")
    assert (done.status, done.stdout) == (1, "")


def test_a_model_is_checked_on_a_text_and_the_result_is_kept(tmp_path: Path) -> None:
    folder, words, kept = Models(tmp_path)("bert"), tmp_path / "words.txt", tmp_path / "kept.json"
    words.write_text(text(20))
    done = called("check", folder, "--text", words, "--layers", "1", "--max", "max_logit=-1e9", "-o", kept)
    assert done.status == 1
    assert done.stdout.count("failed   layer 1 head") == 2
    document = strict_json(kept.read_bytes())
    assert {record["measure"] for record in document["records"]} == {"max_logit"}
    assert document["command"].startswith("rankscope check")
    assert document["study"]["limits"] == ["max_logit ≤ -1e+09"]
    assert [(each["layer"], each["head"]) for each in document["study"]["failures"]] == [(1, 0), (1, 1)]


def test_a_report_of_a_check_begins_with_its_verdict(tmp_path: Path) -> None:
    done = called("check", SAMPLE, "--min", "effective_rank=7", "-o", tmp_path / "kept.json")
    assert done.status == 1
    table = read(tmp_path / "kept.json").table
    assert (
        sentences(table)[0] == "Of 6 matrices 1 does not keep the limits effective_rank ≥ 7: layer.5.attention head 0."
    )
    called("check", SAMPLE, "--min", "effective_rank=2", "-o", tmp_path / "passed.json")
    table = read(tmp_path / "passed.json").table
    assert sentences(table)[0] == "All keep the limits that were set: effective_rank ≥ 2."


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([SAMPLE], "check without a limit"),
        ([SAMPLE, "--min", "effective_rank"], "write a measure and a number"),
        ([SAMPLE, "--min", "rank_of=3"], "there is no measure"),
        ([SAMPLE, "--min", "effective_rank=3", "--layers", "0"], "--layers with the file"),
        ([SAMPLE, "--min", "effective_rank=3", "--text", "x.txt"], "--text with the file"),
    ],
)
def test_what_means_nothing_is_usage(options: list[object], said: str) -> None:
    done = called("check", *options)
    assert (done.status, done.stdout) == (2, "")
    assert said.lower() in done.stderr.lower()


def test_a_missing_file_is_what_analyze_says_of_it() -> None:
    done = called("check", "missing.safetensors", "--min", "effective_rank=3")
    assert (done.status, "RS501" in done.stderr) == (6, True)
