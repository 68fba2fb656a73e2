"""The null comparison and the limits of theory, as they are typed and read."""

import json
from typing import Any

import pytest

import rankscope as rs
from tests.process import SAMPLE, called


def document(*options: object) -> dict[str, Any]:
    done = called("analyze", "--n", 32, "--d", 8, *options, "--format", "json")
    assert (done.status, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_without_it_nothing_is_compared() -> None:
    [record] = document("-m", "effective_rank")["records"]
    assert (record["null_mean"], record["null_sd"], record["null_count"]) == (None, None, None)


def test_ten_seeds_are_the_default_and_as_many_as_asked_for() -> None:
    for options, count in (((), 10), (("--null-seeds", 3), 3)):
        found = document("--null", *options, "-m", "effective_rank")
        [record] = found["records"]
        assert record["null_count"] == found["study"]["null"] == count
        assert abs(record["value"] - record["null_mean"]) < 6 * record["null_sd"]


def test_the_table_shows_mean_and_deviation_beside_the_number() -> None:
    shown = called("analyze", "--n", 32, "--d", 8, "--null", "-m", "effective_rank").stdout
    [record] = document("--null", "-m", "effective_rank")["records"]
    assert f"null {record['null_mean']:.5g} ± {record['null_sd']:.2g}" in shown
    assert "matched random attention has" in shown
    both = called("compare", "--n", 32, "--d", 8, "--null", "-m", "effective_rank").stdout
    assert both.count(" ± ") == 2
    many = called("analyze", SAMPLE, "--null", "--null-seeds", 2, "-m", "effective_rank").stdout
    assert many.count(" ± ") == 6
    assert all(len(line) <= 80 for text in (shown, both, many) for line in text.splitlines())


def test_a_head_size_makes_the_null_of_a_file_one_of_queries_and_keys() -> None:
    means = []
    for options in ((), ("--d", 4), ("--d", 4)):
        done = called("analyze", SAMPLE, "--null", "--null-seeds", 2, *options, "-m", "effective_rank", "-f", "json")
        found = json.loads(done.stdout)
        assert found["study"]["null_d"] == (options[1] if options else None)
        means.append([record["null_mean"] for record in found["records"]])
    assert means[1] == means[2] != means[0]


@pytest.mark.parametrize(
    ("options", "code"),
    [(("--null-seeds", 3), "RS003"), (("--null", "--null-seeds", 1), "null-seeds")],
)
def test_what_cannot_be_compared_is_refused(options: tuple[object, ...], code: str) -> None:
    done = called("analyze", "--n", 8, "--d", 2, *options)
    assert done.status == 2
    assert code in done.stderr


def test_a_head_size_for_a_file_needs_the_null() -> None:
    done = called("analyze", SAMPLE, "--d", 4)
    assert done.status == 2
    assert "--d 4" in done.stderr


def test_random_markov_matrices_stand_beside_the_laws_of_their_limit() -> None:
    shown = called("analyze", "--n", 64, "--ensemble", "markov:exponential").stdout
    assert "limit 2 = 1 + ν²" in shown
    found = document("--ensemble", "markov")
    limits = {record["measure"]: record["details"].get("limit") for record in found["records"]}
    assert limits["stable_rank"] == 2.0
    assert limits["sigma_max"] == 1.0
    assert limits["rank_exact"] is None
    causal = document("--ensemble", "markov", "--mask", "causal")
    assert all("limit" not in record["details"] for record in causal["records"])


def test_the_null_follows_the_kernel_the_position_and_the_mask() -> None:
    for options in (
        {"mask": "causal", "kernel": "sparsemax"},
        {"mask": "causal", "kernel": "delta", "position": "rope"},
        {"mask": "bidirectional", "kernel": "linear"},
        {"mask": "window:4", "position": "alibi"},
    ):
        made = rs.synthetic(n=24, d=6, **options)
        found = rs.analyze(made, measures=["effective_rank"], null=2)["effective_rank"]
        assert isinstance(found, rs.Record)
        assert found.null_count == 2, options
