"""Every step of the enclosure against singular values of rationals: bounds that hold, and bounds that are sharp."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rankscope as rs
from rankscope.analyzer import enclosure
from rankscope.analyzer.enclosure import (
    Interval,
    by_schur_complement,
    defect,
    diagonal_and_rest,
    enclose,
    floats,
    frobenius,
    in_order,
    inverse,
    joined,
    leading,
    magnitude,
    near_diagonal,
    peeled,
    radii,
    root,
    sharper,
    triangle_inverse,
    within,
)
from rankscope.analyzer.spectrum import singular_vectors
from rankscope.attention.build import attention
from rankscope.attention.exact import quarters
from rankscope.attention.existing import matrix, single
from rankscope.attention.operators import Operator
from rankscope.errors import RankscopeError
from tests import oracles
from tests.oracles import Array, Float64, balls, exact_singular_values, hilbert, precision, rational

SEEDS = st.integers(0, 2**32 - 1)

BITS = 256


def exactly(value: Any) -> Fraction:
    """A ball of radius zero as a rational number."""
    assert value.is_exact(), value
    return oracles.size_of(value)


def holds(found: list[Interval], truth: list[Any]) -> bool:
    """Whether intervals contain balls that are much narrower than they; a NaN contains nothing."""
    assert len(found) == len(truth)
    return all(
        each.low <= value.upper() and each.high >= value.lower() for each, value in zip(found, truth, strict=True)
    )


def widths(found: list[Interval]) -> list[float]:
    """Relative widths of intervals that do not reach zero."""
    return [float((each.high - each.low) / each.low) for each in found if each.low > 0]


def random_floats(seed: int, least: int = 1, most: int = 7) -> Float64:
    """Matrices of both shapes and of many kinds: dense, graded, of low rank, with equal values."""
    random = np.random.default_rng(seed)
    m, n = random.integers(least, most, 2)
    held = random.standard_normal((m, n))
    match random.integers(5):
        case 0:
            held = held * 10.0 ** random.uniform(-40, 40, (m, 1))
        case 1:
            held = np.round(random.standard_normal((m, 2)) * 4) @ np.round(random.standard_normal((2, n)) * 4)
        case 2:
            held = np.eye(m, n)[:, random.permutation(n)] * 3.0
        case 3:
            held = 1.0 / (np.arange(m)[:, None] + np.arange(n)[None, :] + 1)
    return np.asarray(held)


# ---------------------------------------------------------------------------------------------------------- the steps


@given(SEEDS, st.floats(-12, 0))
def test_values_of_nearly_diagonal_matrices_lie_within_the_rest(seed: int, power: float) -> None:
    """Diagonals of either sign in any order, rectangular ones too; the interval is as wide as the rest asks."""
    random = np.random.default_rng(seed)
    m, n = random.integers(1, 7, 2)
    held = random.standard_normal((m, n)) * 10.0**power
    index = np.arange(min(m, n))
    held[index, index] = random.standard_normal(len(index)) * 10.0 ** random.uniform(-6, 0, len(index))
    rest = held.copy()
    rest[index, index] = 0.0
    with precision(BITS):
        found = near_diagonal(balls(held))
        assert holds(found, exact_singular_values(rational(held)))
        bound = flint.arb(2 * float(np.linalg.norm(rest)) * (1 + 1e-12))
        assert all(each.high - each.low <= bound for each in found)


def test_a_diagonal_matrix_is_enclosed_by_points() -> None:
    with precision(64):
        found = near_diagonal(balls(np.diag([-3.0, 0.0, 1e-300])))
        assert [(each.low, each.high) for each in found] == [(3, 3), (flint.arb(1e-300), flint.arb(1e-300)), (0, 0)]


def test_the_diagonal_and_the_rest_are_those_of_plain_arithmetic() -> None:
    held = np.array([[1.0, 2.0, -2.0], [4.0, -5.0, 0.0]])
    with precision(64):
        diagonal, rest = diagonal_and_rest(balls(held))
        assert diagonal == [1, 5]
        assert flint.arb(24) <= rest * rest <= flint.arb(24) * (1 + flint.arb(2) ** -50)


@given(SEEDS, st.integers(1, 4), st.floats(-9, -1))
def test_the_schur_complement_encloses_every_value_of_both_blocks(seed: int, cut: int, coupling: float) -> None:
    """A leading block that is diagonally dominant, a small last block, and couplings of any size between them."""
    random = np.random.default_rng(seed)
    m, n = random.integers(cut, 7, 2)
    held = random.standard_normal((m, n)) * 10.0**coupling
    held[:cut, :cut] = np.diag(random.uniform(1, 2, cut)) + random.standard_normal((cut, cut)) * 1e-3
    held[cut:, cut:] *= 1e-6
    with precision(BITS):
        truth = exact_singular_values(rational(held))
        assert holds(joined_again(balls(held), cut), truth)


def joined_again(matrix: Any, cut: int) -> list[Interval]:
    """The values of the leading block and of the Schur complement, put together."""
    found = by_schur_complement(matrix, cut)
    assert found is not None
    return found.joined(peeled(found.rest, min(matrix.nrows(), matrix.ncols()) - cut, flint.arb(0)))


def test_without_a_coupling_the_schur_complement_is_sharp() -> None:
    """And a value of 1e-200 beside one of 1 is known to as many digits."""
    held = np.zeros((4, 4))
    held[:2, :2], held[2:, 2:] = np.diag([1.0, 0.5]), 1e-200 * np.array([[3.0, 4.0], [-4.0, 3.0]])
    with precision(BITS):
        found = joined_again(balls(held), 2)
        assert holds(found, exact_singular_values(rational(held)))
        assert max(widths(found)) < 1e-12


def test_a_leading_block_that_may_be_singular_has_no_schur_complement() -> None:
    with precision(64):
        assert by_schur_complement(balls(np.array([[0.0, 1.0], [1.0, 0.0]])), 1) is None
        assert by_schur_complement(balls(np.eye(2)), 1) is not None


@given(SEEDS)
def test_sorted_ends_hold_sorted_values(seed: int) -> None:
    random = np.random.default_rng(seed)
    low = random.integers(0, 9, 5)
    values, high = low + random.integers(0, 4, 5), low + 4
    found = in_order([Interval(flint.arb(int(a)), flint.arb(int(b))) for a, b in zip(low, high, strict=True)])
    for each, value in zip(found, sorted(values.tolist(), reverse=True), strict=True):
        assert each.low <= value
        assert value <= each.high


def test_of_two_intervals_the_narrower_ends_are_kept_and_none_is_negative() -> None:
    one, two = Interval(flint.arb(1), flint.arb(4)), Interval(flint.arb(2), flint.arb(5))
    assert (sharper(one, two).low, sharper(one, two).high) == (2, 4)
    assert (sharper(two, one).low, sharper(two, one).high) == (2, 4)
    assert (within(flint.arb(3), flint.arb(5)).low, within(flint.arb(3), flint.arb(5)).high) == (0, 8)
    assert within(flint.arb(3, 1), flint.arb(1)).low <= 1
    assert within(flint.arb(3, 1), flint.arb(1)).high >= 5


@pytest.mark.parametrize(
    ("values", "rank", "taken"),
    [([1.0, 0.5, 1e-4], 3, 2), ([1.0, 0.5, 1e-4], 1, 1), ([1.0, 1e-9], 2, 1), ([0.0, 0.0], 2, 1), ([5.0, 4.0], 2, 2)],
)
def test_a_step_takes_the_large_values_and_no_more_than_the_rank(values: list[float], rank: int, taken: int) -> None:
    assert leading(np.array(values), rank) == taken


@given(SEEDS)
def test_norms_are_bounded_from_above_and_tightly(seed: int) -> None:
    held = random_floats(seed)
    square = sum((Fraction(x) ** 2 for x in held.ravel().tolist()), Fraction(0))
    with precision(64):
        bound = exactly(frobenius(balls(held)))
        assert square <= bound**2 <= square * (1 + Fraction(1, 2**50))
        assert exactly(root(flint.arb(2))) ** 2 >= 2
        assert exactly(root(flint.arb(2, 0.5))) ** 2 >= 2.5


def exact_defect(held: Float64) -> float:
    """‖MᵀM − I‖_F in rationals, rounded once."""
    gram = rational(held).transpose() * rational(held)
    size = gram.nrows()
    square = sum(((gram[i, j] - int(i == j)) ** 2 for i in range(size) for j in range(size)), flint.fmpq(0))
    with precision(BITS):
        return float(flint.arb(square).sqrt())


@given(SEEDS, st.integers(1, 24), st.sampled_from([0.0, 1e-17, 1e-15, 1e-12, 1e-6, 0.05]))
def test_how_far_columns_are_from_orthonormal_is_bounded_in_floats(seed: int, size: int, away: float) -> None:
    """A bound, whatever rounds; and for the vectors that LAPACK gives no more than thirty times what they lose."""
    random = np.random.default_rng(seed)
    held = np.linalg.qr(random.standard_normal((size, size)))[0] + away * random.standard_normal((size, size))
    found, truth = defect(held), exact_defect(held)
    assert truth * (1 - 4 * oracles.UNIT) <= found <= truth * (1 + 1e-6) + 30 * size * oracles.UNIT


@pytest.mark.parametrize("size", [1, 63, 64, 150])
def test_the_bound_holds_for_orthonormal_columns_of_any_number(size: int) -> None:
    for held in (np.eye(size)[::-1].copy(), np.linalg.qr(np.random.default_rng(size).standard_normal((size, size)))[0]):
        assert exact_defect(held) <= defect(held) < 1e-11


@pytest.mark.parametrize("entry", [math.nan, math.inf, -math.inf, 1.6, -1e300])
def test_columns_that_are_no_unit_vectors_have_no_bound(entry: float) -> None:
    held = np.eye(3)
    held[1, 2] = entry
    assert defect(held) == math.inf
    assert 1.7 < defect(np.zeros((3, 3))) < 1.8, "√3 of the identity"
    assert defect(np.zeros((0, 0))) == 0.0


def test_radii_are_the_radii_and_the_norm_of_a_wide_ball_is_that_of_its_farthest_point() -> None:
    held = flint.arb_mat(1, 2, [flint.arb(3, 0.5), flint.arb(-4)])
    with precision(64):
        assert radii(held).entries()[1] == 0
        assert radii(held).entries()[0] >= 0.5
        assert frobenius(held) ** 2 >= 3.5**2 + 16


@pytest.mark.parametrize("exponent", [-1074, -1022, -1, 0, 1, 500, 1023, -5000, 5000])
def test_scaling_by_the_magnitude_is_exact_and_leaves_numbers_near_one(exponent: int) -> None:
    for mantissa in (1.0, 1.5, 1.9999999999999998):
        with precision(64):
            size = flint.arb(mantissa) * flint.arb(2) ** exponent
            assert magnitude(size) == exponent
            scaled = flint.arb_mat(1, 3, [0, -size, flint.arb(2) ** -9000]) / flint.arb(2) ** exponent
            assert floats(scaled).tolist() == [[0.0, -mantissa, 0.0]]
            assert radii(scaled).entries() == [0, 0, 0]


def test_blocks_are_cut_and_joined_where_they_should_be() -> None:
    with precision(64):
        held = balls(np.arange(12.0).reshape(3, 4))
        (first, above), (below, last) = quarters(held, 1)
        assert [x.entries() for x in (first, above, below, last)] == [[0], [1, 2, 3], [4, 8], [5, 6, 7, 9, 10, 11]]
        assert joined(first, below, balls(np.eye(2))).entries() == [0, 0, 0, 4, 1, 0, 8, 0, 1]
        (none, _), (_, rest) = quarters(held, 0)
        assert (none.nrows(), rest.nrows(), rest.ncols()) == (0, 3, 4)


# ------------------------------------------------------------------------------------------------------ the enclosure


@given(SEEDS, st.sampled_from([96, 256, 1024]))
def test_every_singular_value_of_rationals_is_enclosed(seed: int, bits: int) -> None:
    held = random_floats(seed)
    with precision(512):
        truth = exact_singular_values(rational(held))
    rank = sum(value != 0 for value in truth)
    with precision(bits):
        assert holds(enclose(balls(held), rank), truth)
        found = enclose(balls(held), min(held.shape))
        assert holds(found, truth)
    if bits == 1024:
        assert len(widths(found)) == rank or any(each.high < flint.arb(2) ** -800 for each in found)
        assert max(widths(found), default=0.0) < 1e-10


@given(SEEDS, st.floats(-30, -1))
def test_values_below_the_floor_are_bounded_and_those_above_are_sharp(seed: int, power: float) -> None:
    held = random_floats(seed, 2)
    with precision(512):
        truth = exact_singular_values(rational(held))
        floor = frobenius(balls(held)) * flint.arb(10.0**power)
        found = enclose(balls(held), min(held.shape), floor)
        assert holds(found, truth)
        for each, value in zip(found, truth, strict=True):
            if value > floor * 2:
                assert (each.high - each.low) / value < 1e-10
            else:
                assert each.high < 10 * floor


@given(SEEDS, st.floats(-20, -4))
def test_of_a_matrix_of_balls_every_member_is_enclosed(seed: int, power: float) -> None:
    """Members are drawn at the corners and inside; near the ends of the intervals they show that these are not wide."""
    random = np.random.default_rng(seed)
    held = random_floats(seed)
    radius = np.abs(held).max() * 10.0**power * random.random(held.shape)
    with precision(BITS):
        entries = [flint.arb(x, r) for x, r in zip(held.ravel().tolist(), radius.ravel().tolist(), strict=True)]
        found = enclose(flint.arb_mat(held.shape[0], held.shape[1], entries), min(held.shape))
        for _ in range(5):
            place = random.choice([-1.0, 0.0, 1.0, 0.5], held.shape)
            member = flint.fmpq_mat(
                held.shape[0],
                held.shape[1],
                [
                    flint.fmpq(*float(x).as_integer_ratio()) + flint.fmpq(*float(r).as_integer_ratio())
                    for x, r in zip(held.ravel(), (radius * place).ravel(), strict=True)
                ],
            )
            assert holds(found, exact_singular_values(member))
        norm = float(np.linalg.norm(radius)) * 1.001 + float(np.abs(held).max()) * 1e-20
        assert all(each.high - each.low <= 2 * flint.arb(norm) + each.high * 1e-10 for each in found)


def test_balls_that_say_nothing_give_bounds_that_say_nothing() -> None:
    """Radii as large as the entries, infinite ones, and entries that are no numbers: never a wrong interval."""
    with precision(64):
        for entry in (flint.arb(1, 1), flint.arb(0, math.inf)):
            for each in enclose(flint.arb_mat(2, 2, [entry] * 4), 2):
                assert each.low == 0
                assert each.high >= 2 or not each.high.is_finite()


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_an_empty_matrix_has_no_values(shape: tuple[int, int]) -> None:
    with precision(64):
        assert enclose(flint.arb_mat(*shape), 0) == []


def test_a_rank_of_zero_and_a_zero_matrix_have_values_of_exactly_zero() -> None:
    with precision(64):
        for rank in (0, 2):
            found = enclose(balls(np.zeros((2, 3))), rank)
            assert [(each.low, each.high) for each in found] == [(0, 0), (0, 0)]


def test_values_of_10_to_minus_140_are_known_to_ten_digits() -> None:
    """The claim of the method: from vectors in double precision, beside values of one."""
    held = hilbert(6)
    held = held * 10.0 ** -np.arange(0, 150, 25)[:, None]
    with precision(1024):
        truth = exact_singular_values(rational(held))
        found = enclose(balls(held), 6)
        assert holds(found, truth)
        assert float(truth[-1]) < 1e-125
        assert len(widths(found)) == 6
        assert max(widths(found)) < 1e-10


def test_equal_values_and_clusters_are_enclosed_sharply() -> None:
    for held in (np.eye(5), np.kron([[1.0, 1.0], [1.0, -1.0]], np.eye(3)), np.ones((4, 4)), np.eye(4)[[3, 1, 0, 2]]):
        with precision(BITS):
            truth = exact_singular_values(rational(held))
            found = enclose(balls(held), sum(value != 0 for value in truth))
            assert holds(found, truth)
            assert max(widths(found)) < 1e-10


# ------------------------------------------------------------------------------------------------- vectors that are bad

BAD: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    "perturbed by a thousandth": lambda random, u: u + 1e-3 * random.standard_normal(u.shape),
    "in the wrong order": lambda random, u: u[:, ::-1].copy(),
    "any orthogonal ones": lambda random, u: np.linalg.qr(random.standard_normal(u.shape))[0],
    "not orthogonal": lambda random, u: random.standard_normal(u.shape),
    "much too short": lambda random, u: u * 1e-9,
    "much too long": lambda random, u: u * 1e9,
    "zero": lambda random, u: np.zeros_like(u),
    "not numbers": lambda random, u: np.full_like(u, math.nan),
    "infinite": lambda random, u: np.full_like(u, math.inf),
}

SUBJECTS: dict[str, Operator] = {
    "stored": single(matrix(np.random.default_rng(4).standard_normal((4, 4)))),
    "of low rank": single(matrix(np.outer([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]))),
    "wide": single(matrix(np.random.default_rng(5).standard_normal((2, 4)))),
    "softmax of equal tokens": single(attention(np.ones((3, 2)), np.ones((3, 2)))),
    "softmax": single(attention(np.diag([1.0, 2.0, 3.0, 4.0]), np.diag([1.0, 2.0, 3.0, 0.5]))),
}


def truth_of(operator: Operator) -> list[Any]:
    """The singular values by the routes of the oracles."""
    if operator.subject == "stored":
        return exact_singular_values(rational(np.asarray(operator.matrix)))
    if operator is SUBJECTS["softmax of equal tokens"]:
        return [flint.arb(1), flint.arb(0), flint.arb(0)]
    queries, keys = np.diag([1.0, 2.0, 3.0, 4.0]), np.diag([1.0, 2.0, 3.0, 0.5])
    scores = oracles.exact_scores(queries, keys, 1.0)
    return oracles.singular_values(oracles.softmax(scores, np.ones((4, 4), dtype=bool)))


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", SUBJECTS)
def test_bad_vectors_make_intervals_wide_and_never_wrong(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """LAPACK is not trusted: whatever vectors it gives, the residuals decide."""
    random = np.random.default_rng(0)

    def bad(held: Float64) -> tuple[Float64, Float64, Float64]:
        left, values, right = singular_vectors(held)
        return BAD[kind](random, left), values, BAD[kind](random, right)

    monkeypatch.setattr(enclosure, "singular_vectors", bad)
    operator = SUBJECTS[name]
    with precision(BITS):
        truth = truth_of(operator)
        for mode in ("lapack", "exact"):
            numerics = rs.Numerics(prove=True, spectrum=mode, rule="numpy", budget=0.1)
            needs = rs.Needs(operator, numerics)
            if needs.spectrum.guarantee == "estimated":
                continue
            for index, value in enumerate(truth):
                middle, error = float(needs.spectrum.values[index]), float(needs.spectrum.error[index])
                assert math.isfinite(middle)
                assert flint.arb(middle) - flint.arb(error) <= value.upper()
                assert flint.arb(middle) + flint.arb(error) >= value.lower()


@pytest.mark.parametrize("kind", BAD)
def test_bad_vectors_never_make_a_count_that_is_wrong(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)

    def bad(held: Float64) -> tuple[Float64, Float64, Float64]:
        left, values, right = singular_vectors(held)
        return BAD[kind](random, left), values, BAD[kind](random, right)

    monkeypatch.setattr(enclosure, "singular_vectors", bad)
    for name, counted in (("stored", 4), ("of low rank", 1), ("softmax of equal tokens", 1)):
        record = rs.analyze(SUBJECTS[name], measures=["rank_numerical"], prove=True, rtol=1e-10)["rank_numerical"]
        assert isinstance(record, rs.Record)
        assert record.low is not None
        assert record.high is not None
        assert record.low <= counted <= record.high, name
        assert record.value in (None, counted), name


def test_what_is_known_of_the_middle_of_a_ball_is_not_taken_for_what_is_known_of_its_members(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """diag(1, 0) within 1e-4 has rank one; its middle diag(1, 1e-4) has not, and vectors in the wrong order show it."""

    def swapped(held: Float64) -> tuple[Float64, Float64, Float64]:
        left, values, right = singular_vectors(held)
        return left[:, ::-1].copy(), values, right[:, ::-1].copy()

    monkeypatch.setattr(enclosure, "singular_vectors", swapped)
    with precision(BITS):
        held = flint.arb_mat(2, 2, [1, 0, 0, flint.arb(1e-4, 1e-4)])
        assert holds(enclose(held, 1), [flint.arb(1), flint.arb(0)])


def test_lapack_that_gives_up_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", fails)
    with precision(64), pytest.raises(RankscopeError) as caught:
        enclose(balls(np.eye(2)), 2)
    assert caught.value.code == "RS401"


# ------------------------------------------------------------------------------------------------------------ inverses


def triangle(seed: int, size: int) -> Float64:
    random = np.random.default_rng(seed)
    held = np.tril(random.standard_normal((size, size)), -1)
    return np.asarray(held + np.diag(random.uniform(0.5, 2, size) * random.choice([-1, 1], size)))


def inverts(found: Any, exact: Any) -> bool:
    """Whether balls contain the exact inverse, in rationals."""
    truth = exact.inv()
    return all(
        abs(oracles.size_of(x) - Fraction(int(y.p), int(y.q))) <= oracles.size_of(x.rad())
        for x, y in zip(found.entries(), truth.entries(), strict=True)
    )


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 33, 40])
def test_the_inverse_of_a_triangle_by_halves_contains_the_exact_one(size: int) -> None:
    held = triangle(size, size)
    with precision(BITS):
        found = triangle_inverse(balls(held))
        assert inverts(found, rational(held))
        assert all(x.rel_accuracy_bits() > 100 for x in found.entries() if x != 0)
        above = [found[i, j] for i in range(size) for j in range(i + 1, size)]
        assert all(x.contains(0) and x.abs_upper() < flint.arb(1e-60) for x in above)


@given(SEEDS, st.integers(1, 20))
def test_the_inverse_contains_the_exact_one_on_every_side(seed: int, size: int) -> None:
    held = triangle(seed, size)
    dense = np.random.default_rng(seed).standard_normal((size, size))
    cases = [("lower", held), ("upper", held.T), ("diagonal", np.diag(np.diagonal(held))), ("none", dense)]
    with precision(128):
        for side, each in cases:
            found = inverse(balls(each), side)
            assert found is not None
            assert inverts(found, rational(each))


def test_what_may_be_singular_has_no_inverse() -> None:
    doubtful = flint.arb_mat(1, 1, [flint.arb(0, 1e-30)])
    with precision(64):
        for side in ("lower", "upper", "diagonal", "none"):
            assert inverse(balls(np.zeros((3, 3))), side) is None
            assert inverse(doubtful, side) is None
        assert inverse(balls(np.array([[1.0, 2.0], [2.0, 4.0]])), "none") is None
        assert inverse(balls(np.diag([1.0] * 20 + [0.0])), "lower") is None
