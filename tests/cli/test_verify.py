"""`rankscope verify`: what is printed, and how it ends."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from rankscope.attention.build import attention
from rankscope.attention.definition import numbers_of
from rankscope.attention.existing import single
from rankscope.certificates import Certificate, Claim, Count, Determinant, Numbers, Rank, Smallest, numbers
from tests.process import called, strict_json

TRUE: tuple[Claim, ...] = (
    Rank(3, 3),
    Determinant(1, 1.7, 1.8),
    Determinant(1),
    Count(1.5, 2, 2),
    Smallest(-0.1, 0.1),
)
DIAGONAL = np.diag([1.0, 2.0, 3.0])


def stored(array: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = DIAGONAL) -> Numbers:
    return numbers("stored", {"matrix": array})


def written(folder: Path, *claims: Claim, matrix: Numbers | None = None, label: str = "diagonal") -> Path:
    return Certificate(label, matrix or stored(), claims).write(folder / "c.json")[0]


def test_every_claim_has_a_line_and_all_have_one(tmp_path: Path) -> None:
    done = called("verify", written(tmp_path, *TRUE))
    assert (done.status, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:-2:2]] == ["verified"] * 5
    assert "rank 3" in lines[0]
    assert "determinant +, ln in [1.7, 1.8]" in lines[2]
    assert "ln|det| = 1.79175946923" in lines[3]
    assert "singular values above 1.5: 2" in lines[6]
    assert "log₁₀ σ_min in [−0.1, 0.1]" in lines[8]
    assert all(line.startswith(" " * 11) for line in lines[1:-2:2])
    assert lines[-2] == "verified: 5 claims on the numbers as they are stored, 3 × 3"
    assert lines[-1].startswith("sha256 ")
    assert lines[-1].endswith("…, named by its author: diagonal")


def test_bounds_are_shown_as_they_were_verified(tmp_path: Path) -> None:
    """To 13 digits ln 6 = 1.7917594692280550… would not lie between these: what is printed would be false."""
    done = called("verify", written(tmp_path, Determinant(1, 1.7917594692280547, 1.7917594692280552)))
    assert "verified   determinant +, ln in [1.7917594692280547, 1.7917594692280552]" in done.stdout
    done = called("verify", written(tmp_path, Count(1.0 + 2.0**-52, 2, 2), Count(2.0, 0, 9)))
    assert "singular values above 1.0000000000000002: 2\n" in done.stdout
    assert "singular values above 2: in [0, 9]\n" in done.stdout


def test_what_is_not_verified_is_named_and_ends_with_one(tmp_path: Path) -> None:
    path = written(tmp_path, Rank(3, 3), Rank(2, 2), Determinant(0), Count(2.0, 1, 1))
    done = called("verify", path)
    assert (done.status, done.stderr) == (1, "")
    found = re.findall(r"^(verified|refuted|undecided)  ", done.stdout, flags=re.MULTILINE)
    assert found == ["verified", "refuted", "refuted", "undecided"]
    assert "determinant zero" in done.stdout
    said = "not verified: 2 refuted, 1 undecided of 4 claims on the numbers as they are stored, 3 × 3"
    assert said in " ".join(done.stdout.split())


def test_json_is_for_machines(tmp_path: Path) -> None:
    path = written(tmp_path, *TRUE, Rank(2, 2))
    done = called("verify", path, "--format", "json")
    found = strict_json(done.stdout)
    assert done.status == 1
    assert found["verified"] is False
    assert [each["verdict"] for each in found["verdicts"]] == ["verified"] * 5 + ["refuted"]
    assert [each["claim"] for each in found["verdicts"]] == json.loads(path.read_text())["claims"]
    assert (found["label"], found["kind"], found["rows"], found["columns"]) == ("diagonal", "stored", 3, 3)
    assert found["sha256"] == stored().sha256


def test_a_label_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    done = called("verify", written(tmp_path, Rank(3, 3), label="a\x1b[2J\nverified: all"))
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 4


# --------------------------------------------------------------------------------------------------------------- input


def test_a_companion_is_read_safely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankscope.certificates.certificate.EMBEDDED", 1)
    tokens = np.random.default_rng(0).standard_normal((2, 6, 2))
    linear = numbers_of(single(attention(*tokens, kernel="linear", mask="causal")))
    softmax = numbers_of(single(attention(*tokens, mask="causal")))
    both = numbers("product", {}, [linear, softmax])
    for name, matrix in (("linear", linear), ("softmax", softmax), ("product", both)):
        path, beside = Certificate(name, matrix, (Rank(6, 6), Determinant(1))).write(tmp_path / f"{name}.json")
        assert called("verify", path, "--input", beside).status == called("verify", path).status == 0
        moved = beside.rename(tmp_path / f"{name} moved.npz")
        assert called("verify", path, "--input", moved).status == 0
        missing = called("verify", path)
        assert (missing.status, missing.stdout) == (3, "")
        assert "RS210" in missing.stderr
        assert "--input" in missing.stderr


def test_a_stored_matrix_is_found_in_any_file_that_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankscope.certificates.certificate.EMBEDDED", 1)
    path, beside = Certificate("", stored(), (Rank(3, 3),)).write(tmp_path / "c.json")
    stack = np.stack([np.full((3, 3), np.nan), DIAGONAL]).astype(np.float32)
    np.save(tmp_path / "one.npy", DIAGONAL)
    np.savez(tmp_path / "heads.npz", other=np.eye(4), complex=stack * 1j, weights=stack)
    save_file({"layer.0.attention": stack, "word": np.ones(3, np.float32)}, tmp_path / "w.safetensors")
    for each in (beside, *(tmp_path / name for name in ("one.npy", "heads.npz", "w.safetensors"))):
        assert called("verify", path, "--input", each).status == 0, each
    np.save(tmp_path / "other.npy", DIAGONAL * 2)
    done = called("verify", path, "--input", tmp_path / "other.npy")
    assert (done.status, done.stdout) == (3, "")
    assert "RS210" in done.stderr


def test_an_input_that_cannot_be_read_ends_with_six_and_one_that_runs_code_with_three(tmp_path: Path) -> None:
    path = written(tmp_path, Rank(3, 3))
    assert called("verify", path, "--input", tmp_path / "none.npz").status == 6
    np.save(tmp_path / "evil.npy", np.array([{}], dtype=object), allow_pickle=True)
    done = called("verify", path, "--input", tmp_path / "evil.npy")
    assert done.status == 3
    assert "RS201" in done.stderr or "RS210" in done.stderr


# ------------------------------------------------------------------------------------------------------------- refusals


def test_what_is_no_certificate_ends_with_three(tmp_path: Path) -> None:
    path = written(tmp_path, Rank(3, 3))
    path.write_text(path.read_text().replace('"low":3', '"low":2'))
    done = called("verify", path)
    assert (done.status, done.stdout) == (3, "")
    assert "RS209" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_cannot_be_read_ends_with_six(tmp_path: Path) -> None:
    done = called("verify", tmp_path / "none.json")
    assert (done.status, done.stdout) == (6, "")
    assert "RS501" in done.stderr


def test_a_command_that_names_nothing_ends_with_two() -> None:
    assert called("verify").status == 2


def test_several_certificates_are_checked_in_turn(tmp_path: Path) -> None:
    true, false = written(tmp_path, Rank(3, 3)), tmp_path / "false.json"
    true.rename(tmp_path / "true.json")
    written(tmp_path, Rank(2, 2)).rename(false)
    done = called("verify", tmp_path / "true.json", false)
    assert done.status == 1
    assert done.stdout.count("named by its author") == 2
    assert "RS003" in called("verify", false, false, "--input", "numbers.npz").stderr


def test_a_result_is_no_certificate(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    called("analyze", "--n", 4, "--d", 2, "-q", "-o", path)
    done = called("verify", path)
    assert (done.status, done.stdout) == (3, "")
    assert "the result of an analysis" in done.stderr
