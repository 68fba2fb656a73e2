"""True certificates are verified; of 1,000 that are damaged and 1,000 that are false and sealed anew, none is."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, Final

import flint
import mpmath
import numpy as np
import pytest

from rankscope.arrays import STORAGES, rounded
from rankscope.attention.build import attention, matrix, single
from rankscope.attention.definition import numbers_of
from rankscope.attention.operators import Mean, Operator, Product
from rankscope.certificates import (
    Certificate,
    Claim,
    Count,
    Determinant,
    Minor,
    Numbers,
    Rank,
    Smallest,
    numbers,
    parse,
    seal,
)
from rankscope.errors import FormatError, RankscopeError
from rankscope.verify import BITS, blocks, cover, integer_rank, pattern, verify
from tests import oracles
from tests.oracles import Array, Float64

MANY: Final = 1000
"""How many certificates are damaged, and how many are false."""


# ------------------------------------------------------------------------------------------------------------- matrices


def tokens(size: int, d: int, seed: int = 0, distinct: int | None = None) -> tuple[Float64, Float64]:
    """Queries and keys; the first `distinct` of them over and over."""
    random = np.random.default_rng([7, size, d, seed])
    order = np.arange(size) % (distinct or size)
    return random.standard_normal((size, d))[order], random.standard_normal((size, d))[order]


def attended(size: int, d: int = 4, seed: int = 0, distinct: int | None = None, **options: Any) -> Operator:
    return single(attention(*tokens(size, d, seed, distinct), **options))


def bare(array: Array) -> Operator:
    return single(matrix(array))


def matrices() -> dict[str, Operator]:
    """Small matrices of every kind."""
    random = np.random.default_rng(11)
    full, low = random.standard_normal((7, 7)), random.integers(-9, 10, (9, 3)) @ random.integers(-9, 10, (3, 9))
    strict = np.tril(random.standard_normal((6, 6)), -1)
    hidden = random.random((8, 8)) < 0.5
    return {
        "softmax": attended(8),
        "softmax, d 1": attended(6, 1),
        "causal": attended(10, mask="causal"),
        "anticausal": attended(9, mask="anticausal"),
        "prefix": attended(9, mask="prefix:4"),
        "window": attended(9, mask="window:2"),
        "any mask": attended(8, mask=hidden | np.eye(8, dtype=bool)),
        "strictly causal": attended(6, mask=np.tril(np.ones((6, 6), dtype=bool), -1)),
        "duplicate tokens": attended(9, distinct=5),
        "duplicate tokens, causal": attended(8, distinct=3, mask="causal"),
        "fewer queries": single(attention(tokens(4, 3)[0], tokens(9, 3)[1])),
        "large scores": attended(7, scale=40.0, mask="causal"),
        "linear": attended(9, 3, kernel="linear"),
        "linear, causal": attended(8, 3, kernel="linear", mask="causal"),
        "linear, relu": attended(8, 6, kernel="linear:relu", mask="causal", empty_rows="zero"),
        "linear, uniform rows": attended(6, 3, kernel="linear", empty_rows="uniform", mask=np.tri(6, 6, -1) > 0),
        "float64": bare(full),
        "bfloat16": bare(rounded(random.standard_normal((6, 6)), STORAGES["bfloat16"])),
        "rectangular": bare(random.standard_normal((5, 8))),
        "tall": bare(random.standard_normal((8, 5))),
        "hilbert": bare(oracles.hilbert(8)),
        "integers of rank 3": bare(low.astype(np.float64)),
        "strict triangle": bare(strict),
        "almost singular": bare(np.vstack([full[:6], full[0] + full[1] + 2.0**-40])),
        "identity": bare(np.eye(4)),
        "zero": bare(np.zeros((3, 3))),
        "subnormal": bare(np.array([[5e-324, 0.0, 1.0], [3.0, 1e60, 2.0], [1.0, 1.0, 1.0]])),
        "product": Product((attended(7, mask="anticausal"), attended(7, 4, 1, mask="causal"))),
        "product of low rank": Product((attended(7), bare(low[:7, :7].astype(np.float64)))),
        "mean": Mean((attended(7, mask="anticausal"), attended(7, 4, 1, mask="causal"))),
        "mean of duplicates": Mean((attended(8, distinct=4), attended(8, 4, 1, 4))),
        "mean of low rank": Mean((attended(9, 2, kernel="linear"), attended(9, 3, 1, kernel="linear"))),
        "64 tokens": attended(64, 16, mask="causal"),
    }


@cache
def given() -> dict[str, Numbers]:
    return {name: numbers_of(operator) for name, operator in matrices().items()}


# --------------------------------------------------------------------------------------------------------------- truths


@dataclass(frozen=True)
class Truth:
    """What the oracles say of a matrix; singular values in descending order, as logarithms where they are not zero."""

    rows: int
    columns: int
    rank: int
    sign: int | None
    logdet: float | None
    logs: list[float]

    def holds(self, claim: Claim) -> bool:
        """Whether a claim is true; numbers nearer than 1e-9 to a bound are not asked for."""
        match claim:
            case Rank(low, high):
                return low <= self.rank <= high
            case Count(tolerance, low, high):
                return low <= self.above(tolerance) <= high
            case Smallest(low, high):
                return self.rank == min(self.rows, self.columns) > 0 and low <= self.logs[-1] / math.log(10) <= high
        if self.sign != claim.sign or self.logdet is None:
            return self.sign == claim.sign
        bounds = -math.inf if claim.low is None else claim.low, math.inf if claim.high is None else claim.high
        return bounds[0] <= self.logdet <= bounds[1]

    def above(self, tolerance: float) -> int:
        return sum(log > math.log(tolerance) for log in self.logs) if tolerance else self.rank


def exactly(held: Numbers) -> Any:
    """The exact matrix by the oracles: rational where it can be, balls otherwise."""
    arrays = held.arrays or {}
    parts = [flint.arb_mat(exactly(part)) for part in held.parts]
    match held.kind:
        case "softmax":
            logs = arrays["log_weights"]
            return oracles.softmax(np.where(np.isfinite(logs), logs, 0.0), np.isfinite(logs))
        case "products":
            found = oracles.normalised(arrays["left"], arrays["right"], arrays["seen"])
            for row in np.flatnonzero(arrays["uniform"]).tolist():
                for column in range(held.columns):
                    found[row, column] = flint.fmpq(1, held.columns)
            return found
        case "stored":
            return oracles.rational(arrays["matrix"])
    found = parts[0]
    for part in parts[1:]:
        found = found * part if held.kind == "product" else found + part
    return found if held.kind == "product" else found / len(parts)


def truth(held: Numbers) -> Truth:
    """What the oracles say: by rationals, or by balls of 640 bits in which 1e-90 counts as zero."""
    with oracles.precision(640):
        matrix = exactly(held)
        balls = flint.arb_mat(matrix)
        values = oracles.singular_values_by_mpmath(balls) if held.rows > 12 else gram_values(balls)
        kept = [value for value in values if value > 1e-90]
        rank = int(matrix.rank()) if isinstance(matrix, flint.fmpq_mat) else len(kept)
        logs = sorted((float(value.log()) for value in kept[:rank]), reverse=True)
        if held.rows != held.columns:
            return Truth(held.rows, held.columns, rank, None, None, logs)
        if rank < held.rows:
            return Truth(held.rows, held.columns, rank, 0, None, logs)
        sign, log = oracles.log_determinant(matrix)
        return Truth(held.rows, held.columns, rank, sign, float(log), logs)


def gram_values(balls: Any) -> list[Any]:
    """Singular values as roots of the eigenvalues of AᵀA by mpmath, which have no trouble with multiple ones."""
    gram = balls.transpose() * balls if balls.ncols() <= balls.nrows() else balls * balls.transpose()
    with mpmath.workprec(640):
        held = mpmath.matrix([[oracles.to_mpmath(x) for x in row] for row in gram.tolist()])
        return [oracles.from_mpmath(mpmath.sqrt(abs(x))) for x in mpmath.eigsy(held, eigvals_only=True)]


@cache
def true_of(name: str) -> Truth:
    return truth(given()[name])


def claims_of(truth: Truth) -> list[Claim]:
    """True claims about a matrix."""
    claims: list[Claim] = [Rank(truth.rank, truth.rank), Rank(0, truth.rank), Count(0.0, truth.rank, truth.rank)]
    if truth.sign == 0:
        claims.append(Determinant(0))
    if truth.sign and truth.logdet is not None:
        slack = 1e-9 * (1 + abs(truth.logdet))
        claims += [Determinant(truth.sign, truth.logdet - slack, truth.logdet + slack), Determinant(truth.sign)]
    gaps = [(a, b) for a, b in pairwise(truth.logs) if a - b > 0.05]
    for index in {0, len(gaps) // 2, len(gaps) - 1} if gaps else set():
        tolerance = math.exp((gaps[index][0] + gaps[index][1]) / 2)
        claims.append(Count(tolerance, truth.above(tolerance), truth.above(tolerance)))
    if truth.rank == min(truth.rows, truth.columns) > 0:
        log = truth.logs[-1] / math.log(10)
        claims.append(Smallest(log - 1e-9, log + 1e-9))
    return claims


def verdicts(held: Numbers, *claims: Claim) -> list[str]:
    """What becomes of claims, through the text of a certificate."""
    return [each.verdict for each in verify(parse(Certificate("", held, claims).text()))]


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


# ------------------------------------------------------------------------------------------------------ damaged: RS209


def damages(text: str, random: np.random.Generator) -> Iterator[str]:
    """A text after one of several kinds of damage."""
    content = json.loads(text)
    while True:
        at = int(random.integers(len(text)))
        yield text[:at] + chr(int(random.integers(32, 127))) + text[at + 1 :]
        yield text[:at]
        yield text[:at] + text[at + 1 :]
        other = json.loads(text)
        claim = other["claims"][int(random.integers(len(other["claims"])))]
        key = str(random.choice(sorted(claim)))
        claim[key] = {"claim": "count"}.get(key, int(random.integers(-9, 99)))
        yield json.dumps(other)
        key = str(random.choice(sorted(content)))
        yield json.dumps({**content, key: content[{"label": "rankscope", "sha256": "label"}.get(key, "claims")]})
        held = json.loads(text)
        array = leaf(held["matrix"])
        letters = list(array["base64"])
        first, second = sorted(random.choice(len(letters), 2, replace=False).tolist())
        letters[first : second + 1] = reversed(letters[first : second + 1])
        array["base64"] = "".join(letters)
        yield json.dumps(held)


def leaf(matrix: dict[str, Any]) -> dict[str, Any]:
    """The first array of a matrix or of its parts."""
    while matrix["parts"]:
        matrix = matrix["parts"][0]
    found: dict[str, Any] = next(iter(matrix["arrays"].values()))
    return found


def unchanged(text: str, changed: str) -> bool:
    """Whether damage left the content as it was, as 1.0 for 1e0 or the same letter would."""
    try:
        return bool(json.dumps(json.loads(text), sort_keys=True) == json.dumps(json.loads(changed), sort_keys=True))
    except ValueError:
        return False


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


# ---------------------------------------------------------------------------------------------- false, and sealed anew


False_ = tuple[Numbers, Claim]


def false_rank(name: str, random: np.random.Generator) -> False_:
    """One or more too many or too few, with a hint now and then."""
    rank, off, held = true_of(name).rank, int(random.integers(1, 4)), given()[name]
    intervals = [(rank + off, rank + off), (rank - off, rank - off), (0, rank - off), (rank + off, rank + 9)]
    low, high = intervals[int(random.integers(4))]
    hint = tuple(range(min(max(low, 0), held.rows, held.columns)))
    return held, Rank(low, high, Minor(hint, hint) if random.random() < 0.5 else None)


def false_sign(name: str, random: np.random.Generator) -> False_:
    """Another sign, with or without the true interval."""
    true = true_of(name)
    sign = int(random.choice([each for each in (-1, 0, 1) if each != true.sign]))
    near = (true.logdet or 0.0) if sign and random.random() < 0.5 else None
    return given()[name], Determinant(sign, None if near is None else near - 1, None if near is None else near + 1)


def false_interval(name: str, random: np.random.Generator) -> False_:
    """An interval beside ln|det|, or one that is empty."""
    true = true_of(name)
    if not true.sign or true.logdet is None:
        return false_sign(name, random)
    off = float(10.0 ** random.uniform(-6, 3)) * (1 if random.random() < 0.5 else -1)
    low, high = sorted([true.logdet + off, true.logdet + 2 * off])
    return given()[name], Determinant(true.sign, *((high, low) if random.random() < 0.2 else (low, high)))


def false_count(name: str, random: np.random.Generator) -> False_:
    """One too many, one too few, or an empty interval."""
    true = true_of(name)
    found = [claim for claim in claims_of(true) if isinstance(claim, Count)]
    claim = found[int(random.integers(len(found)))]
    off = int(random.choice([-2, -1, 1, 2]))
    if random.random() < 0.2:
        return given()[name], replace(claim, low=claim.low + 1, high=claim.high)
    return given()[name], replace(claim, low=claim.low + off, high=claim.high + off)


def false_smallest(name: str, random: np.random.Generator) -> False_:
    """An interval above or below log₁₀ σ_min, or any interval for a singular matrix."""
    true = true_of(name)
    log = true.logs[-1] / math.log(10) if true.logs else 0.0
    off = float(10.0 ** random.uniform(-6, 2)) * (1 if random.random() < 0.5 else -1)
    low, high = sorted([log + off, log + 2 * off])
    return given()[name], Smallest(*((high, low) if random.random() < 0.2 else (low, high)))


def edited(held: Numbers, random: np.random.Generator) -> Numbers:
    """The same kind of matrix with one of its numbers changed."""
    if held.parts:
        index = int(random.integers(len(held.parts)))
        parts = [edited(part, random) if i == index else part for i, part in enumerate(held.parts)]
        return numbers(held.kind, {}, parts)
    arrays = {name: array.copy() for name, array in (held.arrays or {}).items()}
    array = arrays[next(iter(arrays))]
    places = np.argwhere(np.isfinite(array))
    place = tuple(places[int(random.integers(len(places)))])
    array[place] += float(random.choice([0.25, 1.0, 3.0]))
    return numbers(held.kind, arrays)


def false_entries(name: str, random: np.random.Generator) -> False_:
    """A claim that was true before one number of the matrix was changed, where that makes it false."""
    changed = edited(given()[name], random)
    wrong = falsified(name, changed)
    return (changed, wrong[-1]) if wrong else false_rank(name, random)


def falsified(name: str, changed: Numbers) -> list[Claim]:
    """The claims that are true of a matrix and false of the numbers that it was changed to, by the oracles."""
    found = truth(changed)
    claims = [claim for claim in claims_of(true_of(name)) if not isinstance(claim, Count)]
    return [claim for claim in claims if not found.holds(claim)]


def swapped(name: str, random: np.random.Generator) -> False_:
    """The numbers of one kind under the name of another."""
    held = given()[name]
    arrays = list((held.arrays or {}).values())
    if held.kind not in ("softmax", "stored") or not np.isfinite(arrays[0]).all():
        return false_sign(name, random)
    kind, array = ("stored", "matrix") if held.kind == "softmax" else ("softmax", "log_weights")
    made = numbers(kind, {array: arrays[0]})  # type: ignore[arg-type]
    wrong = falsified(name, made)
    return (made, wrong[-1]) if wrong else false_rank(name, random)


MUTATIONS: tuple[Callable[[str, np.random.Generator], False_], ...] = (
    false_rank, false_sign, false_interval, false_count, false_smallest, false_entries, swapped,
)  # fmt: skip


def forged(held: Numbers, claim: Claim, random: np.random.Generator) -> str:
    """A false certificate with a digest that fits; now and then its subject is false too, or its hint repeats a row."""
    content = json.loads(Certificate("forged", held, (claim,)).text())
    if random.random() < 0.03:
        content["matrix"]["subject"] = {"scores": "stored"}.get(held.subject, "scores")
    if random.random() < 0.03 and isinstance(claim, Rank):
        content["claims"][0]["minor"] = {"rows": [0, 0], "columns": [0, 1]}
    return json.dumps({**content, "sha256": seal(content)})


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


# -------------------------------------------------------------------------------------------------------------- details


def because(held: Numbers, claim: Claim) -> str:
    (verdict,) = verify(Certificate("", held, (claim,)))
    return f"{verdict.verdict}: {verdict.because}"


def stored(array: Any) -> Numbers:
    return numbers("stored", {"matrix": np.array(array, dtype=np.float64)})


def test_a_hint_is_used_and_a_bad_one_is_replaced() -> None:
    held = given()["duplicate tokens"]
    good, bad = Minor(tuple(range(5)), tuple(range(5))), Minor((0, 1, 2, 3, 5), tuple(range(5)))
    assert "hinted minor" in because(held, Rank(5, 5, good))
    assert "chosen minor" in because(held, Rank(5, 5, bad))
    assert because(held, Rank(6, 6, Minor(tuple(range(6)), tuple(range(6))))).startswith("refuted")
    assert because(held, Rank(4, 6)).startswith("verified")


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


def test_precision_is_raised_until_two_rows_differ() -> None:
    """Rows whose softmax differs by 2^-k: k bits do not show it, twice as many do."""
    for exponent, bits in ((50, 64), (80, 128), (1000, 1024), (1022, 2048)):
        held = numbers("softmax", {"log_weights": np.array([[0.0, 0.0], [0.0, 2.0**-exponent]])})
        assert because(held, Rank(2, 2)).endswith(f"not zero at {bits} bits")


def test_a_mean_of_matrices_whose_rows_sum_to_one_has_the_vector_of_ones_once() -> None:
    held = given()["mean of low rank"]
    assert "share 1" in because(held, Rank(4, 4))
    parts = [numbers("stored", {"matrix": np.diag(each)}) for each in ([1.0, 0.0], [0.0, 1.0])]
    assert because(numbers("mean", {}, parts), Rank(2, 2)).startswith("verified")


def test_stored_arrays_are_given_where_the_certificate_has_digests_only() -> None:
    held = stored(np.diag([1.0, 2.0, 0.0]))
    bare = Certificate("", held.bare(), (Rank(2, 2),))
    with pytest.raises(FormatError, match="RS210"):
        verify(bare)
    assert [each.verdict for each in verify(bare, held.flat())] == ["verified"]
    with pytest.raises(FormatError, match="RS210"):
        verify(bare, {"matrix": np.diag([1.0, 2.0, 3.0])})


def test_a_cover_is_as_small_as_the_largest_rank_on_the_pattern() -> None:
    """Against the rank of random numbers on the same pattern, which is the largest almost surely."""
    random = np.random.default_rng(3)
    for _ in range(200):
        shape = random.integers(1, 8, 2)
        places = random.random(shape) < random.random()
        assert cover(places) == np.linalg.matrix_rank(np.where(places, random.standard_normal(shape), 0.0))


def test_blocks_make_a_matrix_block_lower_triangular() -> None:
    random = np.random.default_rng(4)
    for size in range(9):
        places = random.random((size, size)) < 0.2
        found = blocks(places)
        assert sorted(index for block in found for index in block) == list(range(size))
        for number, block in enumerate(found):
            later = [index for other in found[number + 1 :] for index in other]
            assert not places[np.ix_(block, later)].any()


def test_patterns_hold_every_entry_that_is_not_zero() -> None:
    for name, held in given().items():
        with oracles.precision(256):
            entries = flint.arb_mat(exactly(held)).tolist()
        places = pattern(held)
        assert all(places[i, j] or x.contains(0) for i, row in enumerate(entries) for j, x in enumerate(row)), name


def test_the_rank_of_integers_against_rationals_and_against_unlucky_primes() -> None:
    random = np.random.default_rng(6)
    for rank in range(5):
        array = random.integers(-(10**6), 10**6, (6, rank)) @ random.integers(-(10**6), 10**6, (rank, 5))
        assert integer_rank(flint.fmpz_mat(array.tolist()), 5) == oracles.rational(array.astype(object)).rank()
    prime = 2**63 - 25
    assert integer_rank(flint.fmpz_mat([[prime, 0], [0, 1]]), 2) == 2
    assert integer_rank(flint.fmpz_mat([[prime, 0], [0, 0]]), 2) == 1


def test_precisions_are_doubled_from_64_bits_to_8192() -> None:
    assert (BITS[0], BITS[-1]) == (64, 8192)
    assert all(second == 2 * first for first, second in pairwise(BITS))
