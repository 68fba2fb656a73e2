"""Proofs from the command line: what is raised, what is required, what a budget stops, and the same bytes each time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.process import Ended, by_measure, called, rankscope, strict_json, together, violations

JSON = ["--format", "json"]


def records(*arguments: object) -> dict[str, Any]:
    return by_measure(strict_json(called("analyze", *arguments, *JSON).raw))


@pytest.mark.parametrize("d", [4, 64])
def test_bidirectional_attention_is_proved_to_be_of_full_rank(d: int) -> None:
    found = records("--n", 256, "--d", d, "--prove", "-m", "rank_exact,logdet")
    assert (found["rank_exact"]["value"], found["rank_exact"]["guarantee"]) == (256, "proved")
    assert (abs(found["logdet"]["sign"]), found["logdet"]["guarantee"]) == (1, "proved")
    assert 0 < found["logdet"]["high"] - found["logdet"]["low"] < 1e-6


def test_linear_attention_is_proved_to_have_as_many_dimensions_as_features() -> None:
    found = records("--n", 512, "--d", 64, "--kernel", "linear", "--prove", "-m", "rank_exact")["rank_exact"]
    assert (found["value"], found["guarantee"], found["subject"]) == (64, "proved", "factors")


def test_the_main_job_proved() -> None:
    found = records("--mask", "causal", "--n", 128, "--d", 64, "--prove")
    guarantees = {name: found[name]["guarantee"] for name in found}
    assert {name for name, each in guarantees.items() if each == "proved"} == {"rank_exact", "logdet"}
    enclosed = {"rank_numerical", "effective_rank", "effective_rank_energy", "stable_rank", "nuclear_rank"}
    enclosed |= {"participation_ratio", "energy_rank_90", "sigma_max", "log10_sigma_min", "log10_condition"}
    assert {name for name, each in guarantees.items() if each == "enclosed"} == {
        *enclosed,
        "sv_ratio_1_2",
        "rank_scores",
    }
    assert found["log10_sigma_min"]["value"] == pytest.approx(-33.957902612948, abs=1e-11)
    assert found["log10_sigma_min"]["low"] < -33.957902612948 < found["log10_sigma_min"]["high"]


def test_the_exact_spectrum_holds_the_tail_and_sums_to_the_determinant() -> None:
    document = strict_json(
        called("analyze", "--mask", "causal", "--n", 64, "--d", 16, "--spectrum", "exact", *JSON).raw
    )
    assert violations(document) == []
    series = {each["name"]: each for each in document["series"]}
    logs, errors = (np.array(series["log10_singular_values"][name]) for name in ("values", "errors"))
    assert len(logs) == 64
    assert logs[-1] == pytest.approx(-18.050344840989, abs=1e-11)
    assert errors.max() < 1e-10
    found = by_measure(document)
    assert logs.sum() * np.log(10) == pytest.approx(found["logdet"]["value"], abs=errors.sum() * np.log(10))
    seen = logs > -14  # LAPACK agrees as far as it can see
    values = np.array(series["singular_values"]["values"])
    assert np.all(np.abs(values - 10.0**logs)[seen] <= np.array(series["singular_values"]["errors"])[seen])


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--mask", "causal", "-m", "rank_exact,logdet", "--require", "proved"], 0),
        (["-m", "rank_exact", "--require", "proved"], 5),
        (["-m", "rank_exact,logdet", "--require", "proved", "--prove"], 0),
        (["-m", "rank_exact", "--require", "proved", "--prove", "--budget", "0"], 5),
        (["--require", "enclosed", "--prove"], 0),
        (["--require", "proved", "--prove"], 0),
        (["--require", "proved"], 5),
        (["-m", "effective_rank", "--require", "proved", "--prove"], 5),
        (["--require", "enclosed"], 5),
        (["-m", "row_entropy", "--require", "enclosed", "--prove"], 5),
    ],
)
def test_a_guarantee_that_is_required_decides_the_exit_status(words: list[str], status: int) -> None:
    done = called("analyze", "--n", 16, "--d", 4, *words)
    assert done.status == status, done.stderr
    assert done.stdout  # the result is printed either way
    if status:
        assert "RS403" in done.stderr


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["-m", "rank_exact"], "add --prove"),
        (["-m", "rank_exact", "--prove", "--budget", "0"], "larger --budget"),
        (["-m", "effective_rank", "--prove"], "require enclosed"),
        (["-m", "row_entropy", "--prove"], "leave out measures of rows"),
    ],
)
def test_the_remedy_for_a_missing_guarantee_is_one(words: list[str], remedy: str) -> None:
    done = called("analyze", "--n", 16, "--d", 4, "--require", "proved", *words)
    assert remedy in done.stderr.lower()
    if "rank_exact" in words:
        assert "only 1 to 16 is proved" in done.stderr


def test_a_file_cannot_be_result_and_certificate() -> None:
    done = called("analyze", "--n", 4, "--d", 2, "-o", "a.json", "--certificate", "a.json")
    assert "RS003" in done.stderr


def test_a_certificate_claims_what_was_measured(tmp_path: Path) -> None:
    for words, claims in ((["-m", "rank_exact"], ["rank"]), ([], ["rank", "determinant", "count", "smallest"])):
        called("analyze", "--n", 6, "--d", 2, *words, "--certificate", tmp_path / "proof.json")
        found = json.loads((tmp_path / "proof.json").read_text())
        assert [each["claim"] for each in found["claims"]] == claims
        assert found["label"] == "bidirectional softmax, d 2, scale 1.0, seed 0"


def test_a_certificate_that_decides_nothing_says_so(tmp_path: Path) -> None:
    words = ["--n", 6, "--d", 2, "--budget", 0, "-m", "rank_exact", "--certificate", tmp_path / "proof.json"]
    assert "nothing that is decided" in called("analyze", *words).stderr


def test_what_the_budget_stops_is_said() -> None:
    found = records("--n", 16, "--d", 4, "--prove", "--budget", 0)["rank_exact"]
    assert (found["value"], found["low"], found["high"]) == (None, 1, 16)
    [tried] = found["details"]["tried"]
    assert "not tried" in tried
    assert "budget" in tried


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--budget", "5"], "RS003"),
        (["--prove", "--budget", "-1"], "RS002"),
        (["--certificate", "proof.txt"], "RS002"),
        (["--certificate", "no such folder/proof.json"], "RS502"),
    ],
)
def test_a_mistake_is_said_before_anything_is_computed(words: list[str], code: str) -> None:
    done = called("analyze", "--n", 4, "--d", 2, *words)
    assert code in done.stderr
    assert not done.stdout


def test_the_same_proofs_have_the_same_bytes_whatever_the_number_of_workers() -> None:
    words = ["analyze", "--n", 24, "--d", 4, "--heads", 3, "--prove", "--spectrum", "exact", *JSON]
    one, two, three = together([[*words, "--workers", str(count)] for count in (1, 2, 3)])
    assert one.status == 0, one.stderr
    assert one.raw == two.raw == three.raw


def verified(path: Path, *words: object) -> Ended:
    return rankscope("verify", path, *words)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--mask", "causal"],
        ["--mask", "prefix:8"],
        ["--kernel", "linear"],
        ["--dtype", "bfloat16"],
        ["--mask", "causal & window:3"],
    ],
)
def test_what_was_proved_is_verified(words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "proof.json"
    done = called("analyze", "--n", 24, "--d", 8, *words, "--certificate", path)
    assert done.status == 0, done.stderr
    found = verified(path)
    assert found.status == 0, found.everything
    assert "rank" in found.stdout


def test_a_large_certificate_has_its_numbers_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "proof.json"
    done = called("analyze", "--n", 300, "--d", 8, "--mask", "causal", "-m", "rank_exact", "--certificate", path)
    assert "proof.npz" in done.stderr
    assert path.stat().st_size < 10_000
    assert verified(path).status == 0  # the file beside it is found
    (tmp_path / "proof.npz").rename(tmp_path / "moved.npz")
    assert "RS210" in verified(path).stderr
    assert verified(path, "--input", tmp_path / "moved.npz").status == 0


def test_several_matrices_have_a_certificate_each(tmp_path: Path) -> None:
    called("analyze", "--n", 6, "--d", 2, "--heads", 2, "--certificate", tmp_path / "proof.json")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"proof-{number}.json" for number in range(4)]
    kinds = [json.loads((tmp_path / name).read_text())["matrix"]["kind"] for name in names]
    assert kinds == ["softmax", "softmax", "mean", "concatenation"]


def test_a_false_certificate_ends_with_status_1(tmp_path: Path) -> None:
    from dataclasses import replace

    import rankscope as rs
    from rankscope.certificates import Rank

    made = rs.certificate(rs.synthetic(n=5, d=2))
    false = replace(made, claims=(Rank(4, 4),))
    false.write(tmp_path / "false.json")
    done = verified(tmp_path / "false.json")
    assert done.status == 1
    assert "refuted" in done.stdout
