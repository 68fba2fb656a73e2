"""The kinds of matrix that kernels and layers make: to the bit there and back, verified only where true."""

import json
import math
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final

import flint
import numpy as np
import pytest

import rankscope as rs
from rankscope.attention import exact
from rankscope.attention.build import attention
from rankscope.attention.definition import numbers_of, operator_of
from rankscope.attention.existing import matrix, single
from rankscope.attention.kernels import ScoreKernel
from rankscope.attention.operators import Concatenation, Mean, Operator, Product
from rankscope.certificates import (
    TYPES,
    Certificate,
    Claim,
    Count,
    Determinant,
    Kind,
    Minor,
    Numbers,
    Rank,
    Smallest,
    numbers,
    parse,
    read,
    seal,
)
from rankscope.errors import FormatError, RankscopeError
from rankscope.verify import verify
from tests import oracles
from tests.certificates.made import equal
from tests.oracles import Array, Float64
from tests.verify.forgeries import damages, forged, unchanged
from tests.verify.truths import Truth, claims_of, gram_values

RECURRENCES: Final = ("retnet", "gla", "ssd", "delta", "gated-delta")
NEW: Final[tuple[Kind, ...]] = ("shares", "sink", "sink-shares", "weights", "recurrence", "concatenation")


def tokens(rows: int, columns: int, d: int = 4) -> tuple[Float64, Float64]:
    random = np.random.default_rng([13, rows, columns, d])
    return random.standard_normal((rows, d)), random.standard_normal((columns, d))


def attended(rows: int = 10, columns: int = 0, d: int = 4, distinct: int = 0, **options: Any) -> Operator:
    q, k = tokens(rows, columns or rows, d)
    order = np.arange(rows) % (distinct or rows)
    return single(attention(q[order], k[order] if distinct else k, **options))


@cache
def operators() -> dict[str, Operator]:
    """Matrices of every new kind, square or not, of full rank and below it, forward and backward."""
    made = {
        "sink": attended(kernel="sink:0.5"),
        "sink, causal": attended(9, kernel="sink:-2", mask="causal"),
        "sink, duplicate tokens": attended(8, distinct=5, kernel="sink:1"),
        "sink, a row that sees nothing": attended(7, kernel="sink:1", mask="strict"),
        "sink, fewer queries": attended(5, 8, kernel="sink:0"),
        "a sink beside log weights": attended(6, kernel=ScoreKernel("halved", lambda s: s / 2, sink=0.5)),
        "sink, one row": attended(1, 3, kernel="sink:0"),
        "off-by-one": attended(kernel="off-by-one"),
        "off-by-one, window": attended(8, kernel="off-by-one", mask="window:2"),
        "sigmoid": attended(kernel="sigmoid"),
        "sigmoid, anticausal": attended(9, kernel="sigmoid", mask="anticausal"),
        "sigmoid, duplicate tokens": attended(8, distinct=3, kernel="sigmoid"),
        "relu2": attended(9, kernel="relu2"),
        "relu2, causal": attended(7, d=2, kernel="relu2", mask="causal", empty_rows="zero"),
        "relu2, fewer keys": attended(8, 5, kernel="relu2"),
        "sparsemax": attended(9, kernel="sparsemax"),
        "sparsemax, causal": attended(kernel="sparsemax", mask="causal"),
        "entmax": attended(kernel="entmax"),
        "entmax, causal": attended(8, kernel="entmax", mask="causal"),
        "cosformer": attended(9, d=3, kernel="cosformer", empty_rows="zero"),
        "cosformer, causal": attended(9, kernel="cosformer", mask="causal", empty_rows="zero"),
        "efficient": attended(kernel="efficient"),
        **{
            f"{name}, {mask}": attended(10 if mask == "causal" else 9, kernel=name, mask=mask)
            for name in RECURRENCES
            for mask in ("causal", "anticausal")
        },
        "retnet, rope": attended(8, kernel="retnet", mask="causal", position="rope"),
        "delta, one number": attended(6, d=1, kernel="delta", mask="causal"),
        "gla, one token": attended(1, kernel="gla", mask="anticausal"),
    }
    made["concatenation"] = Concatenation((attended(7, kernel="delta", mask="causal"), attended(7, kernel="sink:1")))
    made["concatenation of low rank"] = Concatenation(
        (attended(9, d=2, kernel="linear"), attended(9, d=3, kernel="efficient"))
    )
    made["concatenation of one"] = Concatenation((made["sigmoid"],))
    made["concatenation of parts"] = Concatenation(
        (
            Product((attended(6, kernel="delta", mask="causal"), attended(6, kernel="efficient"))),
            Mean((attended(6, kernel="sigmoid"), attended(6, kernel="retnet", mask="anticausal"))),
            single(matrix(np.random.default_rng(2).standard_normal((6, 2)))),
        )
    )
    made["concatenation, tall"] = Concatenation((attended(9, 3, kernel="sink:1"), attended(9, 2, kernel="sigmoid")))
    return made


CASES: Final = tuple(operators())
EACH = pytest.mark.parametrize("name", CASES)


@cache
def given() -> dict[str, Numbers]:
    return {name: numbers_of(operator) for name, operator in operators().items()}


# ------------------------------------------------------------------------------------------------------ there and back


def test_every_new_kind_is_among_the_cases() -> None:
    assert {held.kind for held in given().values()} >= set(NEW)
    known = {"softmax", "products", "stored", "product", "mean"}
    assert set(TYPES) - known == set(NEW)


@EACH
def test_numbers_become_an_operator_and_numbers_again_to_the_bit(name: str) -> None:
    operator, held = operators()[name], given()[name]
    found = operator_of(held)
    assert (found.shape, found.subject) == (operator.shape, operator.subject)
    assert equal(numbers_of(found), held)
    with exact.precision(128):
        one, two = exact.balls(found).entries(), exact.balls(operator).entries()
        assert [(x.mid(), x.rad()) for x in one] == [(x.mid(), x.rad()) for x in two]
    assert exact.integers(found) == exact.integers(operator)


@EACH
def test_what_is_written_is_read_with_its_numbers_in_it(name: str, tmp_path: Path) -> None:
    claims: tuple[Claim, ...] = (Rank(0, 1), Smallest(-3.0, 2.5))
    made = Certificate(name, given()[name], claims)
    (path,) = made.write(tmp_path / "c.json")
    found = read(path)
    assert (found.label, found.claims) == (name, claims)
    assert equal(found.matrix, given()[name])
    assert found.text() == made.text()


@EACH
def test_what_is_written_is_read_with_its_numbers_beside_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags and masks are zeros and ones there, and flags and masks again."""
    monkeypatch.setattr("rankscope.certificates.certificate.EMBEDDED", 0)
    path, beside = Certificate(name, given()[name], (Rank(0, 99),)).write(tmp_path / "c.json")
    found = read(path)
    assert found.matrix.flat() == {}
    with np.load(beside, allow_pickle=False) as arrays:
        held = dict(arrays)
    assert equal(found.matrix.filled(held), given()[name])
    assert verify(found, held).verified
    for key in held:
        other = {other: array.copy() for other, array in held.items()}
        other[key] = other[key][:-1]
        with pytest.raises(FormatError, match=r"RS209|RS210"):
            found.matrix.filled(other)
        del other[key]
        with pytest.raises(FormatError, match="RS210"):
            found.matrix.filled(other)


def test_the_digest_tells_directions_sinks_and_parts_apart() -> None:
    q, k = tokens(4, 4)
    ones = np.ones_like(q)
    flags = [
        numbers("recurrence", {"left": q, "right": k, "gates": ones, "erase": k, "backward": np.array([flag])})
        for flag in (False, True)
    ]
    sinks = [numbers("sink", {"log_weights": q, "sink": np.full(4, s)}) for s in (0.0, -0.0, 1.0, -math.inf)]
    parts = [
        numbers("concatenation", {}, each) for each in ([flags[0], sinks[0]], [sinks[0], flags[0]], [flags[0]] * 2)
    ]
    assert len({each.sha256 for each in (*flags, *sinks, *parts)}) == 9


def test_a_sink_of_no_weight_is_a_softmax() -> None:
    logs = tokens(4, 4)[0]
    sink = numbers("sink", {"log_weights": logs, "sink": np.full(4, -math.inf)})
    with exact.precision(128):
        one, two = (exact.balls(operator_of(each)) for each in (sink, numbers("softmax", {"log_weights": logs})))
        assert all(x.overlaps(y) for x, y in zip(one.entries(), two.entries(), strict=True))


# ------------------------------------------------------------------------------------------------------------ malformed


def arrays_of(kind: Kind) -> dict[str, Array]:
    q, k = tokens(4, 4)
    return {
        "sink": {"log_weights": q, "sink": np.zeros(4)},
        "weights": {"log_weights": q},
        "recurrence": {
            "left": q,
            "right": k,
            "gates": np.ones((4, 4)),
            "erase": k,
            "backward": np.array([True]),
        },
    }[kind]


BAD: Final[dict[str, tuple[Kind, str, Any, str]]] = {
    "a sink that is too short": ("sink", "sink", np.zeros(3), "one entry for each row"),
    "a sink that is too long": ("sink", "sink", np.zeros(5), "one entry for each row"),
    "a sink that is a column": ("sink", "sink", np.zeros((4, 1)), "one entry for each row"),
    "a sink that is one number": ("sink", "sink", np.array(0.0), ""),
    "a sink of NaN": ("sink", "sink", np.array([0, np.nan, 0, 0]), "not finite"),
    "a sink of infinity": ("sink", "sink", np.array([0, np.inf, 0, 0]), "not finite"),
    "a sink of single precision": ("sink", "sink", np.zeros(4, np.float32), "float32"),
    "log weights of NaN beside a sink": ("sink", "log_weights", np.full((4, 4), np.nan), "not finite"),
    "log weights that are a vector": ("sink", "log_weights", np.zeros(4), ""),
    "log weights of infinity": ("weights", "log_weights", np.full((4, 4), np.inf), "not finite"),
    "weights of NaN": ("weights", "log_weights", np.full((4, 4), np.nan), "not finite"),
    "weights that are a vector": ("weights", "log_weights", np.zeros(4), "two dimensions"),
    "weights that are whole numbers": ("weights", "log_weights", np.zeros((4, 4), np.int64), "int64"),
    "a flag for each of two": ("recurrence", "backward", np.array([True, False]), "fit together"),
    "no flag": ("recurrence", "backward", np.zeros(0, np.bool_), "fit together"),
    "a flag that is a matrix": ("recurrence", "backward", np.array([[True]]), "fit together"),
    "a flag without a dimension": ("recurrence", "backward", np.array(True), ""),
    "a flag of two": ("recurrence", "backward", np.array([2.0]), "zeros and ones"),
    "a flag of NaN": ("recurrence", "backward", np.array([np.nan]), "zeros and ones"),
    "a flag of a half": ("recurrence", "backward", np.array([0.5]), "zeros and ones"),
    "fewer gates than tokens": ("recurrence", "gates", np.ones((3, 4)), "fit together"),
    "one gate for each token": ("recurrence", "gates", np.ones((4, 1)), "fit together"),
    "keys of another size": ("recurrence", "right", np.ones((4, 3)), "fit together"),
    "erased directions that are a vector": ("recurrence", "erase", np.ones(4), "fit together"),
    "queries of three dimensions": ("recurrence", "left", np.ones((1, 4, 4)), "fit together"),
    **{
        f"{name} of {value}": ("recurrence", name, np.full((4, 4), value), "not finite")
        for name in ("left", "right", "gates", "erase")
        for value in (np.nan, np.inf, -np.inf)
    },
}


@pytest.mark.parametrize("name", BAD)
def test_arrays_that_do_not_make_a_matrix_are_refused(name: str) -> None:
    kind, key, array, reason = BAD[name]
    numbers(kind, arrays_of(kind))
    with pytest.raises(FormatError, match=f"RS209.*{reason}"):
        numbers(kind, {**arrays_of(kind), key: array})


@pytest.mark.parametrize("kind", ["sink", "weights", "recurrence"])
def test_arrays_that_are_missing_or_too_many_are_refused(kind: Kind) -> None:
    held = arrays_of(kind)
    for key in held:
        with pytest.raises(FormatError, match=r"RS209.*other arrays"):
            numbers(kind, {name: array for name, array in held.items() if name != key})
    with pytest.raises(FormatError, match=r"RS209.*other arrays"):
        numbers(kind, {**held, "more": np.eye(2)})
    with pytest.raises(FormatError, match=r"RS209.*no parts"):
        numbers(kind, held, [numbers("stored", {"matrix": np.eye(4)})])


def test_parts_that_do_not_stand_side_by_side_are_refused() -> None:
    square, short = (numbers("stored", {"matrix": np.ones((rows, 4))}) for rows in (4, 3))
    assert numbers("concatenation", {}, [square, square]).columns == 8
    with pytest.raises(FormatError, match=r"RS209.*differ in their rows"):
        numbers("concatenation", {}, [square, short])
    with pytest.raises(FormatError, match=r"RS209.*parts"):
        numbers("concatenation", {}, [])
    with pytest.raises(FormatError, match=r"RS209.*other arrays"):
        numbers("concatenation", {"matrix": np.eye(4)}, [square])


Content = dict[str, Any]


def resealed(name: str, change: Callable[[Content], object]) -> str:
    content: Content = json.loads(Certificate("", given()[name], (Rank(0, 9),)).text())
    change(content["matrix"])
    return json.dumps({**content, "sha256": seal(content)})


def flag(value: str, shape: list[int]) -> Callable[[Content], object]:
    return lambda matrix: matrix["arrays"]["backward"].update(base64=value, shape=shape)


TEXTS: Final[dict[str, tuple[str, Callable[[Content], object], str]]] = {
    "another direction": ("retnet, causal", flag("AQ==", [1]), "sha256"),
    "a flag of two": ("retnet, causal", flag("Ag==", [1]), "zeros and ones"),
    "two flags": ("retnet, causal", flag("AQE=", [2]), "fit together"),
    "no flag": ("retnet, causal", flag("", [0]), "fit together"),
    "a flag without a dimension": ("retnet, causal", flag("AA==", []), ""),
    "a flag that is a float": (
        "retnet, causal", lambda matrix: matrix["arrays"]["backward"].update(dtype="<f8", base64="AAAAAAAAAAA="), "<f8",
    ),
    "weights that are divided": ("sink", lambda matrix: matrix.update(kind="softmax"), "exactly the keys"),
    "a sink without a sink": ("sigmoid", lambda matrix: matrix.update(kind="sink"), "exactly the keys"),
    "no sink": ("sink", lambda matrix: matrix["arrays"].pop("sink"), "exactly the keys"),
    "no gates": ("delta, causal", lambda matrix: matrix["arrays"].pop("gates"), "exactly the keys"),
    "another subject": ("delta, causal", lambda matrix: matrix.update(subject="scores"), "subject"),
    "another shape": ("delta, causal", lambda matrix: matrix.update(columns=9), "columns"),
    "no parts": ("concatenation", lambda matrix: matrix.update(parts=[]), "parts"),
    "fewer columns than the parts have": ("concatenation", lambda matrix: matrix.update(columns=7), "columns"),
    "parts in another order": ("concatenation, tall", lambda matrix: matrix["parts"].reverse(), "sha256"),
    "parts one above the other": ("concatenation, tall", lambda matrix: matrix.update(kind="mean"), "differ in shape"),
    "parts that are multiplied": ("concatenation, tall", lambda matrix: matrix.update(kind="product"), "fit together"),
    "a part without its arrays": (
        "concatenation", lambda matrix: matrix["parts"][0].update(arrays=None), "lacks its arrays",
    ),
    "a sink of one number": (
        "sink, one row", lambda matrix: matrix["arrays"]["sink"].update(shape=[]), "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_texts_that_are_malformed_are_refused_though_their_digest_fits(name: str) -> None:
    held, change, reason = TEXTS[name]
    parse(resealed(held, lambda matrix: None))
    with pytest.raises(FormatError, match=f"RS209.*{reason}"):
        parse(resealed(held, change))


@pytest.mark.parametrize("name", ["sink", "sigmoid", "delta, causal", "gla, anticausal", "concatenation of parts"])
def test_damage_is_found(name: str) -> None:
    random = np.random.default_rng(3)
    text = Certificate(name, given()[name], tuple(claims_of(true_of(name)))).text()
    source, tried = damages(text, random), 0
    parse(text)
    while tried < 40:
        changed = next(source)
        if not unchanged(text, changed):
            tried += 1
            with pytest.raises(FormatError, match="RS209"):
                parse(changed)


# ---------------------------------------------------------------------------------------------------------- the truth


def exactly(held: Numbers) -> Any:
    """The exact matrix, entry by entry from the definition: rational where it can be, balls otherwise."""
    arrays = held.arrays or {}
    parts = [exactly(part) for part in held.parts]
    match held.kind:
        case "softmax" | "shares" | "sink" | "sink-shares" | "weights":
            logs = arrays["log_weights"].tolist()
            weights = [[flint.arb(0) if x == -math.inf else flint.arb(x).exp() for x in row] for row in logs]
            if held.kind == "weights":
                return flint.arb_mat(weights)
            sinks = arrays["sink"].tolist() if held.kind in ("sink", "sink-shares") else [-math.inf] * held.rows
            totals = [
                oracles.added(row) + (0 if sink == -math.inf else flint.arb(sink).exp())
                for row, sink in zip(weights, sinks, strict=True)
            ]
            shown = [any(x != 0 for x in row) for row in weights]
            return flint.arb_mat(
                [
                    [x / total if any_ else x for x in row]
                    for row, total, any_ in zip(weights, totals, shown, strict=True)
                ]
            )
        case "products":
            return oracles.normalised(arrays["left"], arrays["right"], arrays["seen"])
        case "stored":
            return oracles.rational(arrays["matrix"])
        case "recurrence":
            return steps(held)
        case "concatenation":
            rows = [[x for part in parts for x in flint.arb_mat(part).tolist()[i]] for i in range(held.rows)]
            return flint.arb_mat(rows)
    found = flint.arb_mat(parts[0])
    for part in parts[1:]:
        found = found * flint.arb_mat(part) if held.kind == "product" else found + flint.arb_mat(part)
    return found if held.kind == "product" else found / len(parts)


def steps(held: Numbers) -> Any:
    """l_iᵀ T_i ⋯ T_{j+1} r_j as products of rational matrices; backward, of T_i ⋯ T_{j−1} for the keys after."""
    arrays = held.arrays or {}
    left, right, erase = (oracles.rational(arrays[name]) for name in ("left", "right", "erase"))
    size, width = held.rows, left.ncols()
    rows = [flint.fmpq_mat(1, width, [left[i, c] for c in range(width)]) for i in range(size)]
    columns = [flint.fmpq_mat(width, 1, [right[j, c] for c in range(width)]) for j in range(size)]
    one = flint.fmpq_mat(width, width, [flint.fmpq(int(a == b)) for a in range(width) for b in range(width)])
    turns = []
    for t in range(size):
        gates = oracles.rational(np.diag(arrays["gates"][t]))
        erased = flint.fmpq_mat(1, width, [erase[t, c] for c in range(width)])
        turns.append((one - columns[t] * erased) * gates)
    found = flint.fmpq_mat(size, size)
    backward = bool(arrays["backward"][0])
    for i in range(size):
        row = rows[i]
        for j in range(i, size) if backward else range(i, -1, -1):
            found[i, j] = (row * columns[j])[0, 0]
            row = row * (turns[i] if j == i else turns[j])  # T_i first, then those on the way to the next key
    return found


def truth(held: Numbers) -> Truth:
    """What the oracles say: by rationals, or by balls of 640 bits in which 1e-90 counts as zero."""
    with oracles.precision(640):
        found = exactly(held)
        values = gram_values(flint.arb_mat(found))
        kept = [value for value in values if value > 1e-90]
        rank = int(found.rank()) if isinstance(found, flint.fmpq_mat) else len(kept)
        assert rank == len(kept), "two routes to the rank"
        logs = sorted((float(value.log()) for value in kept), reverse=True)
        if held.rows != held.columns:
            return Truth(held.rows, held.columns, rank, None, None, logs)
        if rank < held.rows:
            return Truth(held.rows, held.columns, rank, 0, None, logs)
        sign, log = oracles.log_determinant(found)
        return Truth(held.rows, held.columns, rank, sign, float(log), logs)


@cache
def true_of(name: str) -> Truth:
    return truth(given()[name])


def test_the_oracle_of_recurrences_is_the_sum_over_paths() -> None:
    """d = 1, where everything commutes: A_ij = l_i r_j Π (1 − r_t w_t) g_t over the tokens between."""
    random = np.random.default_rng(4)
    left, right, gates, erase = random.standard_normal((4, 6, 1))
    for backward in (False, True):
        arrays = {"left": left, "right": right, "gates": gates, "erase": erase, "backward": np.array([backward])}
        found = steps(numbers("recurrence", arrays))
        for i in range(6):
            for j in range(6):
                between = range(i, j) if backward else range(j + 1, i + 1)
                expected = Fraction(0)
                if (j >= i) if backward else (j <= i):
                    expected = Fraction(float(left[i, 0])) * Fraction(float(right[j, 0]))
                    for t in between:
                        w, r, g = (Fraction(float(x[t, 0])) for x in (erase, right, gates))
                        expected *= (1 - r * w) * g
                assert Fraction(int(found[i, j].p), int(found[i, j].q)) == expected


@EACH
def test_the_oracle_lies_in_the_balls(name: str) -> None:
    with oracles.precision(256), exact.precision(256):
        one, two = flint.arb_mat(exactly(given()[name])), exact.balls(operators()[name])
        for x, y in zip(one.entries(), two.entries(), strict=True):
            assert x.overlaps(y)
            assert y.rad() <= flint.arb(2) ** -180


# ------------------------------------------------------------------------------------------------------------ verdicts


def verdicts(held: Numbers, *claims: Claim) -> list[str]:
    """What becomes of claims, through the text of a certificate."""
    return [each.verdict for each in verify(parse(Certificate("", held, claims).text()))]


@EACH
def test_a_certificate_of_it_is_verified(name: str) -> None:
    made = rs.certificate(operators()[name])
    assert equal(made.matrix, given()[name])
    found = rs.verify(parse(made.text()))
    assert [each.verdict for each in found] == ["verified"] * len(made.claims), found
    assert all(true_of(name).holds(claim) for claim in made.claims), made.claims
    assert {type(claim) for claim in made.claims} >= {Rank}


@EACH
def test_what_the_oracles_say_is_verified(name: str) -> None:
    """All of it, but for the rank of parts side by side that share directions, which nothing here finds exactly."""
    claims = claims_of(true_of(name))
    assert all(true_of(name).holds(claim) for claim in claims)
    found = dict(zip(claims, verdicts(given()[name], *claims), strict=True))
    if name == "concatenation of low rank":
        ranks = [claim for claim in claims if isinstance(claim, Rank) or claim == Count(0.0, 4, 4)]
        assert {found.pop(claim) for claim in ranks} <= {"verified", "undecided"}
    assert found == dict.fromkeys(found, "verified")


@pytest.mark.parametrize("mask", ["causal", "anticausal"])
@pytest.mark.parametrize("name", ["retnet", "gated-delta"])
@pytest.mark.parametrize("zero", ["key", "query", "product"])
def test_a_certificate_of_a_recurrence_with_a_zero_on_its_diagonal_is_verified(name: str, mask: str, zero: str) -> None:
    """A zero key, a zero query, or a query and a key without a common feature: the determinant is zero, and proved."""
    q, k = tokens(8, 8)
    if zero == "key":
        k[3] = 0.0
    elif zero == "query":
        q[3] = 0.0
    else:
        q[3], k[3] = (1.0, 2.0, 0.0, 0.0), (0.0, 0.0, 3.0, 4.0)
    made = rs.certificate(single(attention(q, k, kernel=name, mask=mask)))
    assert [(claim.low, claim.high) for claim in made.claims if isinstance(claim, Rank)] == [(7, 7)]
    assert Determinant(0) in made.claims
    assert [each.verdict for each in rs.verify(made)] == ["verified"] * len(made.claims)


# --------------------------------------------------------------------------------------------------------- falsehoods


def falsehoods(name: str) -> list[Claim]:
    """False claims about a matrix: of rank, sign, determinant, counts and the smallest singular value."""
    true = true_of(name)
    rank, order = true.rank, min(true.rows, true.columns)
    hint = Minor(tuple(range(order)), tuple(range(order)))
    claims: list[Claim] = [Rank(rank + 1, rank + 1), Rank(rank - 1, rank - 1), Rank(0, rank - 1)]
    claims += [Rank(rank + 1, order + 3, hint), Rank(rank + 1, rank), Count(0.0, rank + 1, rank + 1)]
    for sign in (-1, 0, 1):
        if sign != true.sign:
            claims.append(Determinant(sign))
            if sign and true.logdet is not None:
                claims.append(Determinant(sign, true.logdet - 1, true.logdet + 1))
    if true.sign and true.logdet is not None:
        for off in (1e-6, -1e-6, 1.0, -1.0, 700.0):
            low, high = sorted((true.logdet + off, true.logdet + 2 * off))
            beside = Determinant(true.sign, low, None) if off > 0 else Determinant(true.sign, None, high)
            claims += [Determinant(true.sign, low, high), beside]
        claims.append(Determinant(true.sign, true.logdet + 1e-6, true.logdet - 1e-6))
    for claim in claims_of(true):
        if isinstance(claim, Count) and claim.tolerance:
            claims += [Count(claim.tolerance, claim.low + 1, claim.high + 1), Count(claim.tolerance, 0, claim.low - 1)]
    log = true.logs[-1] / math.log(10) if true.logs else 0.0
    claims += [Smallest(log + 1e-6, log + 1.0), Smallest(log - 1.0, log - 1e-6), Smallest(log + 1e-9, log - 1e-9)]
    return claims


@EACH
def test_nothing_false_is_verified(name: str) -> None:
    """Each claim alone, and sealed with a digest that fits; nearly all are refuted, the others undecided."""
    random, found = np.random.default_rng(5), Counter[str]()
    for claim in falsehoods(name):
        assert not true_of(name).holds(claim), claim
        try:
            (verdict,) = verify(parse(forged(given()[name], claim, random)))
        except RankscopeError as problem:
            found[problem.code] += 1
        else:
            found[verdict.verdict] += 1
            assert verdict.verdict != "verified", verdict
    assert set(found) <= {"refuted", "undecided", "RS209"}
    assert found["refuted"] >= (0.5 if name == "concatenation of low rank" else 0.9) * found.total()


@pytest.mark.parametrize("name", ["sink", "sigmoid", "retnet, causal", "delta, anticausal", "concatenation"])
def test_what_was_true_before_a_number_was_changed_is_not_verified_after(name: str) -> None:
    """A sink, a gate, a direction, a flag or a part is changed; claims that this makes false are not verified."""
    held, true, wrong = given()[name], true_of(name), 0
    for changed in variants(held):
        other = truth(changed)
        for claim in claims_of(true):
            if not other.holds(claim):
                wrong += 1
                assert verdicts(changed, claim) != ["verified"], claim
    assert wrong > 0


def variants(held: Numbers) -> list[Numbers]:
    """The same kind with one of its arrays changed, for each of them."""
    if held.parts:
        first, *rest = held.parts
        return [numbers(held.kind, {}, [changed, *rest]) for changed in variants(first)]
    found = []
    for key, array in (held.arrays or {}).items():
        other = array.copy()
        other.flat[0] = not other.flat[0] if array.dtype == np.bool_ else other.flat[0] + 0.5
        found.append(numbers(held.kind, {**(held.arrays or {}), key: other}))
    return found


def test_the_numbers_of_one_kind_are_not_those_of_another() -> None:
    """The same log weights as a softmax, beside a sink, and not divided: three matrices, three determinants."""
    logs = tokens(6, 6, 6)[0]
    made = [
        numbers("softmax", {"log_weights": logs}),
        numbers("weights", {"log_weights": logs}),
        numbers("sink", {"log_weights": logs, "sink": np.zeros(6)}),
    ]
    true = [truth(each) for each in made]
    for index, held in enumerate(made):
        for other, claimed in enumerate(true):
            logdet = claimed.logdet
            assert logdet is not None
            claim = Determinant(claimed.sign or 0, logdet - 1e-9, logdet + 1e-9)
            assert verdicts(held, claim) == ["verified" if index == other else "refuted"]
