"""True certificates are verified; of 1,000 that are damaged and 1,000 that are false and sealed anew, none is."""

import importlib
import inspect
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import flint
import numpy as np
import pytest
import torch

from rankscope.certificates import Certificate, Claim, Count, Determinant, Rank, Smallest, numbers, parse
from rankscope.errors import FormatError, RankscopeError
from rankscope.verify import verify
from tests import oracles
from tests.verify.forgeries import MUTATIONS, damages, forged, unchanged
from tests.verify.truths import Truth, because, claims_of, exactly, given, matrices, stored, true_of, verdicts

MANY: Final = 1000
"""How many certificates are damaged, and how many are false."""


@pytest.mark.parametrize("name", list(matrices()))
def test_every_true_claim_is_verified(name: str) -> None:
    claims = claims_of(true_of(name))
    assert all(true_of(name).holds(claim) for claim in claims)
    assert dict(zip(claims, verdicts(given()[name], *claims), strict=True)) == dict.fromkeys(claims, "verified")


def test_the_oracle_of_singular_values_agrees_with_another_and_with_closed_forms() -> None:
    for name in ("softmax", "hilbert", "rectangular"):
        with oracles.precision(640):
            other = oracles.singular_values(flint.arb_mat(exactly(given()[name])))
            for log, value in zip(true_of(name).logs, other, strict=True):
                assert oracles.away(log, value.log()) < 1e-12
    assert true_of("identity") == Truth(4, 4, 4, 1, 0.0, [0.0] * 4)
    assert (true_of("integers of rank 3").rank, true_of("duplicate tokens").rank, true_of("zero").rank) == (3, 5, 0)


def test_a_thousand_damaged_certificates_are_refused() -> None:
    random = np.random.default_rng(1)
    names = [name for name in given() if name != "64 tokens"]
    texts = [Certificate(name, given()[name], tuple(claims_of(true_of(name)))).text() for name in names]
    for text in texts:
        parse(text)
    sources = [damages(text, random) for text in texts]
    refused = tried = 0
    while tried < MANY:
        index = int(random.integers(len(texts)))
        changed = next(sources[index])
        if unchanged(texts[index], changed):
            continue
        tried += 1
        with pytest.raises(FormatError, match="RS209"):
            parse(changed)
        refused += 1
    assert refused == MANY


def test_none_of_a_thousand_false_certificates_is_verified() -> None:
    random = np.random.default_rng(2)
    names = [name for name in given() if name != "64 tokens"]
    found: Counter[str] = Counter()
    for number in range(MANY):
        name = "64 tokens" if number % 100 == 0 else names[int(random.integers(len(names)))]
        mutation = MUTATIONS[number % len(MUTATIONS)] if name != "64 tokens" else MUTATIONS[number // 100 % 5]
        held, claim = mutation(name, random)
        if held is given()[name]:
            assert not true_of(name).holds(claim), (name, claim)
        try:
            (verdict,) = verify(parse(forged(held, claim, random)))
        except RankscopeError as problem:
            found[problem.code] += 1
        else:
            found[verdict.verdict] += 1
            assert verdict.verdict != "verified", (name, verdict)
    assert found.total() == MANY
    assert found["verified"] == 0
    assert found["refuted"] > 0.9 * MANY
    assert found["RS209"] > 10


def test_a_seal_that_fits_is_no_proof() -> None:
    true, false = Rank(3, 3), Rank(4, 4)
    assert verdicts(given()["integers of rank 3"], true, false) == ["verified", "refuted"]


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (Rank(2, 1), "empty"),
        (Rank(-5, -1), "at least 0"),
        (Determinant(1, 3.0, 2.0), "empty"),
        (Count(1.0, 2, 1), "empty"),
        (Smallest(1.0, 0.0), "empty"),
        (Count(2.5, 2, 2), "1 singular values are larger"),
        (Smallest(0.4, 9.0), "below"),
        (Smallest(-9.0, 0.2), "above"),
    ],
)
def test_what_is_refuted_has_a_reason(claim: Claim, reason: str) -> None:
    assert because(stored([[2.0, 0.0], [0.0, 3.0]]), claim).startswith("refuted")
    assert reason in because(stored([[2.0, 0.0], [0.0, 3.0]]), claim)


def test_what_no_precision_decides_is_undecided() -> None:
    """σ₁ = τ exactly, and two rows that differ although their softmax is the same."""
    assert because(stored([[1.0, 0.0], [0.0, 1.0]]), Count(1.0, 0, 0)).startswith("undecided")
    equal = numbers("softmax", {"log_weights": np.array([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [0.0, 3.0, 1.0]])})
    assert because(equal, Rank(3, 3)).startswith("undecided")
    assert because(equal, Determinant(1)).startswith("undecided")
    assert because(equal, Smallest(-400.0, -300.0)).startswith("undecided")
    assert because(equal, Rank(2, 3)).startswith("verified")


def test_empty_matrices() -> None:
    held = stored(np.zeros((0, 0)))
    assert verdicts(held, Rank(0, 0), Determinant(1, 0.0, 0.0), Count(1.0, 0, 0)) == ["verified"] * 3
    assert verdicts(held, Smallest(0.0, 1.0), Determinant(0)) == ["refuted"] * 2
    assert verdicts(stored(np.zeros((0, 3))), Rank(0, 0), Determinant(1)) == ["verified", "refuted"]


def test_stored_arrays_are_given_where_the_certificate_has_digests_only() -> None:
    held = stored(np.diag([1.0, 2.0, 0.0]))
    bare = Certificate("", held.bare(), (Rank(2, 2),))
    with pytest.raises(FormatError, match="RS210"):
        verify(bare)
    assert [each.verdict for each in verify(bare, held.flat())] == ["verified"]
    with pytest.raises(FormatError, match="RS210"):
        verify(bare, {"matrix": np.diag([1.0, 2.0, 3.0])})


def test_the_package_is_the_function(tmp_path: Path) -> None:
    package = importlib.import_module("rankscope.verify")
    given = Certificate("", stored(np.diag([1.0, 2.0])), (Rank(2, 2), Rank(1, 1)))
    (path,) = given.write(tmp_path / "c.json")
    assert callable(package)
    assert package(given) == package(path) == package(str(path)) == package(path, arrays=given.matrix.flat())
    assert [each.verdict for each in package(path)] == ["verified", "refuted"]
    assert list(inspect.signature(package).parameters) == ["certificate", "arrays"]


# ---------------------------------------------------------------------------------------------------- hostile objects


@pytest.mark.parametrize("entry", [np.nan, np.inf, 0.0])
def test_numbers_that_were_changed_since_they_were_checked_are_refused(entry: float) -> None:
    array = np.eye(2)
    given = Certificate("", stored(array), (Rank(2, 2), Determinant(1)))
    held = given.matrix.flat()["matrix"]
    held.flags.writeable = True
    held[1, 1] = entry
    with pytest.raises(FormatError, match=r"RS209|RS210"):
        verify(given)


def test_a_shape_that_is_not_that_of_the_numbers_is_refused() -> None:
    with pytest.raises(FormatError, match="RS210"):
        verify(Certificate("", replace(stored(np.eye(3)), rows=2), (Rank(2, 2),)))


@pytest.mark.parametrize("shape", [(2, 2), (1, 2)])
def test_bounds_that_are_not_finite_verify_nothing_that_is_false(shape: tuple[int, int]) -> None:
    held = stored(np.eye(*shape))
    false: list[Claim] = [
        *(Determinant(1, nan, nan) for nan in (np.nan, np.inf)),
        *(Smallest(nan, nan) for nan in (np.nan, np.inf, -np.inf)),
        Count(np.inf, 1, 2),
    ]
    assert "verified" not in [each.verdict for each in verify(Certificate("", held, tuple(false)))]


def test_flushing_to_zero_is_refused() -> None:
    """5e-324 would be no entry: the rank of a matrix that is not zero would be zero. In a thread of its own."""
    given = Certificate("", stored([[5e-324]]), (Rank(0, 0),))
    found: list[str] = []

    def flushed() -> None:
        if not torch.set_flush_denormal(True):
            found.append("RS410")  # this processor cannot
            return
        try:
            found.extend(each.verdict for each in verify(given))
        except RankscopeError as refusal:
            found.append(refusal.code)
        finally:
            torch.set_flush_denormal(False)

    worker = threading.Thread(target=flushed)
    worker.start()
    worker.join()
    assert found == ["RS410"]
    assert [each.verdict for each in verify(given)] == ["refuted"]


def test_verdicts_are_true_only_if_all_are_verified() -> None:
    held = stored(np.eye(2))
    assert verify(Certificate("", held, (Rank(2, 2),)))
    assert not verify(Certificate("", held, (Rank(2, 2), Rank(1, 1))))
    assert "refuted" in repr(verify(Certificate("", held, (Rank(1, 1),))))


@pytest.mark.parametrize("arrays", [np.eye(2), "proof.npz", [1.0]])
def test_arrays_that_are_no_mapping_are_refused(arrays: Any) -> None:
    with pytest.raises(RankscopeError, match="RS210"):
        verify(Certificate("", stored(np.eye(2)), (Rank(2, 2),)), arrays)
    with pytest.raises(RankscopeError, match="RS209"):
        verify(5)  # type: ignore[arg-type]
