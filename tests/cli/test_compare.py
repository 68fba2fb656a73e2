"""`rankscope compare`: the same queries and keys under several masks and kernels."""

import re
from typing import Any

import pytest

from tests.process import Ended, called, rankscope, strict_json, violations


def document_of(*options: object) -> Any:
    done = called("compare", "--n", 12, "--d", 3, "--format", "json", *options)
    assert (done.status, done.stderr) == (0, "")
    found = strict_json(done.raw)
    assert violations(found) == []
    return found


def labels(document: Any) -> list[str]:
    return [matrix["label"] for matrix in document["matrices"]]


def test_lists_are_written_with_commas_or_by_repetition() -> None:
    commas = document_of("--mask", "bidirectional,causal,prefix:4")
    repeated = document_of("--mask", "bidirectional", "--mask", "causal", "--mask", "prefix:4")
    assert {**commas, "command": ""} == {**repeated, "command": ""}
    assert labels(commas) == ["bidirectional softmax", "causal softmax", "prefix:4 softmax"]


def sizes(document: Any) -> list[tuple[int, int, float]]:
    return [(matrix["rows"], matrix["d"], matrix["scale"]) for matrix in document["matrices"]]


def test_every_size_meets_every_other() -> None:
    options = ["--mask", "causal", "--scale", "0.5,2", "-m", "hoyer", "-f", "json"]
    commas = called("compare", "--n", "4,8", "--d", "2,3", *options)
    repeated = called("compare", "--n", 4, "--n", 8, "--d", 2, "--d", 3, *options)
    found = strict_json(commas.raw)
    assert {**found, "command": ""} == {**strict_json(repeated.raw), "command": ""}
    assert sizes(found) == [(n, d, scale) for n in (4, 8) for d in (2, 3) for scale in (0.5, 2.0)]


def test_a_size_among_others_is_the_one_that_it_is_alone() -> None:
    options = ["--d", 3, "--mask", "causal", "-m", "effective_rank", "-f", "json"]
    both = strict_json(called("compare", "--n", "5,9", *options).raw)
    for number, n in enumerate((5, 9)):
        [alone] = strict_json(called("compare", "--n", n, *options).raw)["records"]
        assert both["records"][number] == {**alone, "matrix": number}


@pytest.mark.parametrize("more", [[], ["--seeds", "0:2"]], ids=["one seed", "seeds"])
def test_the_table_says_which_size_a_number_belongs_to(more: list[str]) -> None:
    options = ["--mask", "causal,bidirectional", "--n", "8,12", "--d", "2,4,6", "-m", "effective_rank", *more]
    lines = called("compare", *options).stdout.splitlines()
    named = [f"{mask} softmax n {n} d {d}" for mask in ("causal", "bidirectional") for n in (8, 12) for d in (2, 4, 6)]
    for name in named:
        assert len([line for line in lines if line == name or line.startswith(f"{name} ")]) == 1, name
    assert max(map(len, lines)) <= 80


def test_a_few_sizes_stand_side_by_side() -> None:
    done = called("compare", "--mask", "causal", "--n", "8,12", "--d", 2, "-m", "effective_rank")
    head = done.stdout.partition("effective_rank")[0]
    assert "causal softmax n 8" in head
    assert "causal softmax n 12" in head
    assert done.stdout.startswith("2 matrices   d 2")


def test_without_masks_both_kinds_of_attention_are_compared() -> None:
    assert labels(document_of()) == ["bidirectional softmax", "causal softmax"]


def test_every_kernel_meets_every_mask() -> None:
    found = document_of("--mask", "causal,anticausal", "--kernel", "softmax,linear:relu", "--empty-rows", "zero")
    assert {(matrix["kernel"], matrix["mask"]) for matrix in found["matrices"]} == {
        (kernel, mask) for kernel in ("softmax", "linear:relu") for mask in ("causal", "anticausal")
    }


def test_queries_and_keys_are_the_same() -> None:
    found = document_of("--mask", "bidirectional,causal,window:2", "--kernel", "softmax,linear", "--seed", 3)
    assert len({matrix["digest"] for matrix in found["matrices"]}) == 1
    assert {record["seed"] for record in found["records"]} == {3}


def test_each_matrix_is_the_one_that_analyze_gives() -> None:
    both = document_of("--mask", "bidirectional,causal", "--seed", 5)
    for number, mask in enumerate(("bidirectional", "causal")):
        alone = called("analyze", "--n", 12, "--d", 3, "--seed", 5, "--mask", mask, "--format", "json")
        expected = [{**record, "matrix": number} for record in strict_json(alone.raw)["records"]]
        assert [record for record in both["records"] if record["matrix"] == number] == expected


def test_several_seeds_are_summarised_for_each_mask() -> None:
    found = document_of("--mask", "bidirectional,causal", "--seeds", "0:4", "-m", "stable_rank,logdet")
    assert {(row["label"], row["measure"], row["count"]) for row in found["summary"]} == {
        (f"{mask} softmax", measure, 4) for mask in ("bidirectional", "causal") for measure in ("stable_rank", "logdet")
    }


MANY = ["bidirectional", "causal", "prefix:128", "window:64"]


@pytest.fixture(scope="module", params=[2, 3, 4], ids=lambda count: f"{count} masks")
def side_by_side(request: pytest.FixtureRequest) -> tuple[list[str], list[str]]:
    """Masks, and the lines of the table that compares them at the size of the issue."""
    masks = MANY[: request.param]
    done = called("compare", "--mask", ",".join(masks))
    assert (done.status, done.stderr) == (0, "")
    return masks, done.stdout.splitlines()


def test_the_table_is_at_most_80_columns_wide(side_by_side: tuple[list[str], list[str]]) -> None:
    assert [line for line in side_by_side[1] if len(line) > 80] == []


def test_columns_do_not_touch(side_by_side: tuple[list[str], list[str]]) -> None:
    masks, lines = side_by_side
    found = [line for line in lines if line.strip().startswith("logdet")]
    if not found:  # where the columns would not fit, each matrix has a row
        assert all(any(line.startswith(mask) for line in lines) for mask in masks)
        return
    [row] = found
    assert len(re.findall(r"(?<= )[−\d.]+(?: p)?(?= |$)", row)) == len(masks), row


def test_labels_are_not_broken_within_a_word(side_by_side: tuple[list[str], list[str]]) -> None:
    masks, lines = side_by_side
    assert [mask for mask in masks if mask not in " ".join(lines).split()] == []


def test_the_sentences_name_the_extremes(side_by_side: tuple[list[str], list[str]]) -> None:
    said = " ".join(side_by_side[1])
    assert "effective rank runs from 218.6 (causal softmax)" in said


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_underflow_shows_both_subjects_within_80_columns(dtype: str) -> None:
    done = called("compare", "--mask", "causal,anticausal,bidirectional", "--dtype", dtype, "--scale", 40, "--n", 100)
    lines = done.stdout.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert any("[stored]" in line for line in lines) == (dtype == "bfloat16")


def test_a_summary_tells_the_subjects_apart() -> None:
    options = ["--mask", "causal", "--dtype", "bfloat16", "--n", 32, "--seeds", "0:3", "-m", "rank_exact,logdet"]
    rows = strict_json(called("compare", *options, "--format", "json").raw)["summary"]
    assert sorted((row["measure"], row["subject"]) for row in rows) == [
        (measure, subject) for measure in ("logdet", "rank_exact") for subject in ("scores", "stored")
    ]
    shown = called("compare", *options).stdout.splitlines()
    for measure in ("rank_exact", "logdet"):
        lines = [line for line in shown if line.split()[:1] == [measure]]
        assert len(lines) == 2
        assert all("scores" in line or "stored" in line for line in lines), lines


def refusals() -> list[tuple[list[str], int, str]]:
    return [
        (["--mask", "causal", "--mask", "bidirectinal"], 2, "'bidirectional'"),
        (["--kernel", "linea"], 2, "'linear'"),
        (["--mask", ","], 2, "mask"),
        (["--seeds", "5"], 0, ""),
        (["--n", "0"], 2, "at least 1"),
        (["--n", "64,x"], 2, "--n x. Give a whole number, or several"),
        (["--n", "64,"], 2, "an empty name in --n"),
        (["--d", "2.5"], 2, "--d 2.5. Give a whole number, or several"),
        (["--n", "8", "--d", "4,0"], 2, "at least 1"),
        (["file.npy"], 2, "file.npy"),
        (["--plan", "heads"], 2, "even number of heads"),
    ]


@pytest.mark.parametrize(("options", "status", "hint"), refusals())
def test_mistakes_end_with_2(options: list[str], status: int, hint: str) -> None:
    done = called("compare", *options) if "--n" in options else called("compare", "--n", "8", *options)
    assert done.status == status, done.everything
    assert hint in done.stderr


def test_the_process_says_the_same() -> None:
    options = ["compare", "--n", "16", "--d", "4", "--mask", "causal,window:3"]
    done: Ended = rankscope(*options)
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "2 matrices   n 16   d 4   scale 1   dtype float64   seed 0"
