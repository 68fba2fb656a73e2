"""Attention of recurrences against rationals: within its bound, of low rank beside the diagonal, the same backward."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import flint
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rankscope as rs
from rankscope.attention import exact
from rankscope.attention.build import attention
from rankscope.attention.distance import distance
from rankscope.attention.existing import single
from rankscope.attention.kernels import RecurrenceKernel
from rankscope.attention.operators import Dense
from rankscope.attention.subject import Recurrence
from rankscope.errors import NonFiniteError
from tests.oracles import EPS, UNIT, Array, Float64, away, balls, frobenius, inside, precision

SEEDS = st.integers(0, 2**32 - 1)
SIDES = pytest.mark.parametrize("mask", ["causal", "anticausal"])
NAMES: Final = ("retnet", "gla", "ssd", "delta", "gated-delta")
BY_NAME = pytest.mark.parametrize("name", NAMES)
DELTA: Final = ("delta", "gated-delta")

Exactly = list[list[Fraction]]


def recurrence(*given: Array, backward: bool = False) -> Dense:
    """The operator of given numbers; left is divided by √d, and times it first, which is exact for d = 1 and 4."""
    left, right, gates, erase = given
    width = left.shape[1]
    kernel = RecurrenceKernel("given", lambda k, place: (right, gates, erase))
    mask = "anticausal" if backward else "causal"
    return attended(left * math.sqrt(width), np.ones_like(left), kernel, mask)


def attended(q: Array, k: Array, kernel: str | RecurrenceKernel, mask: str = "causal", **options: Any) -> Dense:
    made = single(attention(q, k, kernel=kernel, mask=mask, **options))
    assert isinstance(made, Dense)
    return made


def subject(operator: Dense) -> Recurrence:
    assert isinstance(operator.definition, Recurrence)
    return operator.definition


def tokens(seed: int, n: int, d: int) -> tuple[Float64, Float64]:
    random = np.random.default_rng([5, seed, n, d])
    return random.standard_normal((n, d)), random.standard_normal((n, d))


def fractions(array: Array) -> Exactly:
    return [[Fraction(float(x)) for x in row] for row in array]


def dot(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


def transitions(given: Recurrence) -> list[Exactly]:
    """T_t = (I − r_t w_tᵀ)·diag(g_t), as matrices."""
    found = []
    for right, gates, erase in zip(*(fractions(each) for each in (given.right, given.gates, given.erase)), strict=True):
        places = range(len(right))
        found.append([[(Fraction(a == b) - right[a] * erase[b]) * gates[b] for b in places] for a in places])
    return found


def exactly(given: Recurrence) -> Exactly:
    """A_ij = l_i·T_i ⋯ T_{j+1} r_j, each column by products of matrices with a vector; backward, T_i ⋯ T_{j−1}."""
    left, right, steps = fractions(given.left), fractions(given.right), transitions(given)
    size = len(left)
    found = [[Fraction(0)] * size for _ in range(size)]
    for j in range(size):
        state = right[j]
        for i in range(j, -1, -1) if given.backward else range(j, size):
            if i != j:
                state = [dot(row, state) for row in steps[i]]
            found[i][j] = dot(left[i], state)
    return found


def missed(operator: Dense, truth: Exactly) -> Fraction:
    """The square of the Frobenius norm of what is held less what is meant, exactly."""
    held = np.asarray(operator.matrix)
    return sum(
        (
            (Fraction(float(a)) - b) ** 2
            for row, line in zip(held, truth, strict=True)
            for a, b in zip(row, line, strict=True)
        ),
        Fraction(0),
    )


def within(operator: Dense, truth: Exactly | None = None) -> None:
    """The held matrix stands within its distance, which is a number, of the exact one."""
    bound = distance(operator)
    assert math.isfinite(bound)
    assert missed(operator, truth or exactly(subject(operator))) <= Fraction(bound) ** 2


def diagonal_within(operator: Dense) -> None:
    """Signs and logarithms of l_i·r_i are right within their errors; what is not known has no sign and no bound."""
    given, found = subject(operator), operator.diagonal
    with mpmath.workdps(60):
        for i, (left, right) in enumerate(zip(fractions(given.left), fractions(given.right), strict=True)):
            own = dot(left, right)
            if found.error[i] == math.inf:
                continue
            assert found.sign[i] == (own > 0) - (own < 0)
            if own == 0:
                assert (found.log[i], found.error[i]) == (-math.inf, 0.0)
                continue
            truth = mpmath.log(mpmath.mpf(abs(own.numerator)) / own.denominator)
            assert abs(mpmath.mpf(float(found.log[i])) - truth) <= mpmath.mpf(float(found.error[i]))


def rank(block: Sequence[Sequence[Fraction]]) -> int:
    """The exact rank."""
    entries = [flint.fmpq(x.numerator, x.denominator) for row in block for x in row]
    return int(flint.fmpq_mat(len(block), len(block[0]), entries).rank()) if entries else 0


# ------------------------------------------------------------------------------------------------- within the distance


KINDS: Final = ("ordinary", "gates of every size", "erasing", "reflections", "growing", "signed", "sparse")


def drawn(seed: int, kind: str) -> tuple[Float64, Float64, Float64, Float64]:
    """Numbers of a recurrence: of one kind, n and d small, d 1 or 4 so that roots are exact."""
    random = np.random.default_rng(seed)
    n, d = int(random.integers(1, 9)), int(random.choice([1, 4]))
    left, right, erase = random.standard_normal((3, n, d))
    gates = random.random((n, d))
    match kind:
        case "ordinary":
            erase = 0.0 * erase
        case "gates of every size":
            gates = random.choice([0.0, 1.0, 5e-324, 2.0**-1022, 1e-300, 1e-150, 1 - UNIT, 0.5], (n, d))
            erase = erase * random.choice([0.0, 1.0, 1e-200], (n, 1))
        case "erasing":
            gates = np.ones((n, d))
        case "reflections":  # β up to 2, and beyond by a rounding: Householder's
            erase /= np.linalg.norm(erase, axis=1, keepdims=True)
            strength = random.choice([2.0, 2 - EPS, 2 * (1 + EPS), 1.0, 1 - UNIT, 0.0], (n, 1))
            right, gates = strength * erase, np.ones((n, d))
        case "growing":
            gates, erase = 10.0 ** random.uniform(-3, 6, (n, d)), erase * 10.0 ** random.uniform(-3, 3)
        case "signed":
            gates = random.standard_normal((n, d))
        case "sparse":
            left, right, erase = (x * (random.random((n, d)) < 0.5) for x in (left, right, erase))
            gates = np.round(gates)
    return left, right, gates, erase


@settings(max_examples=200)
@given(SEEDS, st.sampled_from(KINDS), st.booleans())
def test_what_is_held_stands_within_its_distance_of_rationals(seed: int, kind: str, backward: bool) -> None:
    operator = recurrence(*drawn(seed, kind), backward=backward)
    within(operator)
    diagonal_within(operator)


@pytest.mark.deep
@given(SEEDS, st.sampled_from(KINDS), st.booleans())
def test_many_stand_within_their_distance_of_rationals(seed: int, kind: str, backward: bool) -> None:
    operator = recurrence(*drawn(seed, kind), backward=backward)
    within(operator)
    diagonal_within(operator)


@BY_NAME
@SIDES
@pytest.mark.parametrize(("n", "d"), [(8, 3), (7, 1), (1, 4), (2, 2)])
def test_registered_recurrences_stand_within_their_distance_of_rationals(name: str, mask: str, n: int, d: int) -> None:
    for position in ("none", "rope"):
        operator = attended(*tokens(0, n, d), name, mask, position=position)
        within(operator)
        diagonal_within(operator)
        assert (operator.diagonal.error < 1e-9).all()


@BY_NAME
@SIDES
def test_forty_tokens_stand_within_their_distance_of_balls(name: str, mask: str) -> None:
    operator = attended(*tokens(1, 40, 5), name, mask)
    with exact.precision(400):
        truth = exact.balls(operator)
        assert inside(None, frobenius(balls(np.asarray(operator.matrix)) - truth), distance(operator))
        assert truth[3, 3].rad() < flint.arb(2) ** -300


@BY_NAME
@SIDES
def test_balls_are_the_rationals(name: str, mask: str) -> None:
    operator = attended(*tokens(2, 8, 3), name, mask)
    truth = exactly(subject(operator))
    with precision(2000), exact.precision(2000):
        found = exact.balls(operator).tolist()
        for row, line in zip(found, truth, strict=True):
            assert all(x.contains(flint.fmpq(y.numerator, y.denominator)) for x, y in zip(row, line, strict=True))


@pytest.mark.parametrize("n", [5, 20, 80, 200])
@pytest.mark.parametrize("name", NAMES)
def test_the_distance_is_no_larger_than_rounding_explains(name: str, n: int) -> None:
    """States of d numbers pass n steps of 3d roundings, whose errors no step makes larger: n·d units times ‖q‖‖k‖,
    which ‖A‖_F of random tokens is about; 1e4 for them, and n for the sum over columns.
    """
    for seed, d in ((0, 4), (1, 16)):
        operator = attended(*tokens(seed, n, d), name)
        size = float(np.linalg.norm(np.asarray(operator.matrix)))
        assert UNIT / 8 * size <= distance(operator) <= 1e4 * n * EPS * size


def test_the_distance_bounds_the_error_by_a_few_orders_of_magnitude_only() -> None:
    for name in NAMES:
        operator = attended(*tokens(3, 8, 3), name)
        error = math.sqrt(missed(operator, exactly(subject(operator))))
        assert error <= distance(operator) <= 1000 * error, name


# --------------------------------------------------------------------------------------------- sizes beyond the middle


def one_sided_gates(start: float, count: int) -> list[float]:
    """Gates by which products, from this number on, are rounded in the same direction by almost a unit every time."""
    state, found = start, []
    for step in range(count):
        options = [1 - (k + 400 * step) * 2.0**-20 for k in range(1, 400)]
        gate = max(options, key=lambda g: Fraction(state * g) / (Fraction(state) * Fraction(g)))
        found.append(gate)
        state *= gate
    return found


@pytest.mark.parametrize(("query", "key"), [(0, 0), (480, -500), (500, -560), (-500, 480), (-560, 500)])
def test_errors_of_states_and_queries_whose_squares_underflow_are_counted(query: int, key: int) -> None:
    """A key and queries of powers of two, gates that round upwards: 24 roundings, of which a row shows three."""
    n = 25
    gates = [1.0, *one_sided_gates(1.2345, n - 1)]
    right = np.zeros((n, 1))
    right[0] = 1.2345 * 2.0**key
    operator = recurrence(np.full((n, 1), 2.0**query), right, np.array(gates)[:, None], np.zeros((n, 1)))
    error = math.sqrt(missed(operator, exactly(subject(operator))))
    assert error > 5 * UNIT * float(np.linalg.norm(np.asarray(operator.matrix))), "more than one row's own roundings"
    within(operator)


def contained(operator: Dense) -> None:
    """Within the distance, which may be infinite and is a number."""
    assert not math.isnan(distance(operator))
    if distance(operator) < math.inf:
        within(operator)


@settings(max_examples=300)
@given(SEEDS, st.booleans())
def test_numbers_of_every_size_within_one_row_prove_nothing_false(seed: int, backward: bool) -> None:
    """Entries from 1e-300 to 1e300 beside each other, made large or small by gates and queries; or a refusal."""
    random = np.random.default_rng(seed)
    n, d = int(random.integers(1, 6)), int(random.choice([1, 4]))
    span = random.choice([30, 150, 300], 4)
    sizes = (random.choice([0.0, 1.0], (n, d)) * random.uniform(-each, each, (n, d)) for each in span)
    left, right, gates, erase = (random.standard_normal((n, d)) * 10.0**size for size in sizes)
    erase = erase * random.choice([0.0, 1.0], (n, 1))
    try:
        operator = recurrence(left, right, gates, erase, backward=backward)
    except NonFiniteError:
        return
    contained(operator)
    diagonal_within(operator)


@pytest.mark.parametrize(
    ("left", "right", "gates"),
    [
        ([[0, 0, 0, 0], [0, 0, 1, 0]], [[1000, 0, -200, 0], [0, 0, 0, 0]], [0, 0, 1000, 0]),
        ([[0, 0, 0, 0], [1000, 0, -200, 0]], [[0, 0, 1, 0], [0, 0, 0, 0]], [0, 0, 900, 0]),
        ([[0, 0, 0, 0], [0, 0, 900, 0]], [[1000, 0, -200, 0], [0, 0, 0, 0]], [0, 0, 1, 0]),
        ([[0, 0, 0, 0], [1000, 0, -200, 0]], [[0, 0, 900, 0], [0, 0, 0, 0]], [0, 0, 1, 0]),
    ],
    ids=["a key that a gate makes large", "a query of a state that a gate made large", "a large query", "a large key"],
)
def test_small_numbers_beside_large_ones_are_not_lost_without_notice(
    left: list[list[int]], right: list[list[int]], gates: list[int]
) -> None:
    """Powers of two by their exponents, 0 for none: a number 2^1200 times smaller than one beside it matters most."""
    exponents = (np.array(each, dtype=np.float64) for each in (left, right, [[0, 0, 0, 0], gates]))
    operator = recurrence(*(np.where(each != 0, 2.0**each, 0.0) for each in exponents), np.zeros((2, 4)))
    assert exactly(subject(operator))[1][0] >= 2**700
    contained(operator)


@pytest.mark.parametrize("power", [-150, -200])
@pytest.mark.parametrize("name", ["retnet", "delta"])
def test_weights_whose_squares_underflow_stand_within_their_distance(name: str, power: int) -> None:
    """All of the matrix is tiny; its distance is not zero for that."""
    q, k = tokens(4, 6, 3)
    within(attended(q * 10.0**power, k, name))


@pytest.mark.parametrize("power", [150, 160, 300])
@pytest.mark.parametrize("name", ["retnet", "gla", "ssd"])
def test_large_keys_and_small_queries_have_a_distance(name: str, power: int) -> None:
    """Squares of keys overflow, the weights do not."""
    q, k = tokens(5, 6, 3)
    operator = attended(q * 10.0**-power, k * 10.0**power, name)
    contained(operator)


@pytest.mark.parametrize("exponent", [-1000, -540, -500, 500, 520, 1000])
def test_unit_keys_do_not_depend_on_the_length_of_keys(exponent: int) -> None:
    """Keys times a power of two point the same way; squares that overflow or vanish are no excuse."""
    q, k = tokens(6, 6, 4)
    scaled = attended(q, k * 2.0**exponent, "delta")
    assert np.array_equal(np.asarray(scaled.matrix), np.asarray(attended(q, k, "delta").matrix))


@pytest.mark.parametrize("name", DELTA)
def test_a_key_that_is_zero_writes_and_erases_nothing(name: str) -> None:
    q, k = tokens(7, 6, 3)
    k[2] = 0.0
    operator = attended(q, k, name)
    assert not np.asarray(operator.matrix)[:, 2].any()
    assert (operator.diagonal.sign[2], operator.structure.det_sign.value) == (0, 0)
    within(operator)


# ------------------------------------------------------------------------------------------------------------ refusals


@BY_NAME
def test_weights_beyond_float64_are_infinite_and_refused_by_name(name: str) -> None:
    """Queries and keys of one sign, so that all terms overflow in one direction; delta rules take unit keys."""
    q, k = np.ones((5, 4)), np.ones((5, 4))
    with pytest.raises(NonFiniteError, match=f"RS111: infinity in the weights of {name}"):
        attended(q * (1.7e308 if name in DELTA else 1e200), k * (1.0 if name in DELTA else 1e200), name, scale=2.0)


def test_queries_that_the_scale_carries_beyond_float64_are_refused_by_name() -> None:
    with pytest.raises(NonFiniteError, match="RS111: infinity in the queries of retnet"):
        attended(np.full((2, 2), 1e10), np.ones((2, 2)), "retnet", scale=1e300)


def test_weights_of_both_signs_beyond_float64_are_infinite_too() -> None:
    """∞ − ∞ is NaN on the way; what was given holds none."""
    q, k = tokens(9, 5, 4)
    with pytest.raises(NonFiniteError, match="RS111: infinity in the weights of retnet"):
        attended(q * 1e200, k * 1e200, "retnet")


def test_states_that_grow_beyond_float64_are_refused_by_name() -> None:
    n = 6
    for gates, erase in ((1e200, 0.0), (1.0, -1e150), (1e200, 1.0), (-1e200, 0.5)):
        with pytest.raises(NonFiniteError, match="RS11") as caught:
            recurrence(np.ones((n, 1)), np.full((n, 1), 1e100), np.full((n, 1), gates), np.full((n, 1), erase))
        assert "the weights of given" in caught.value.given
    hidden = np.array([[1.0], [1e200], [1e200], [0.0]])  # what overflowed is multiplied by zero afterwards
    with pytest.raises(NonFiniteError, match="RS11") as caught:
        recurrence(np.ones((4, 1)), np.full((4, 1), 1e100), hidden, np.zeros((4, 1)))
    assert "the weights of given" in caught.value.given


@pytest.mark.parametrize(
    ("part", "what"), [(0, "writings"), (1, "gates"), (2, "erased directions")], ids=["right", "gates", "erase"]
)
@pytest.mark.parametrize(("value", "code"), [(math.nan, "RS110"), (math.inf, "RS111"), (-math.inf, "RS111")])
def test_a_kernel_that_makes_no_number_is_refused_by_what_it_made(
    part: int, what: str, value: float, code: str
) -> None:
    made = [np.ones((3, 2)) for _ in range(3)]
    made[part][1, 1] = value
    kernel = RecurrenceKernel("mine", lambda k, place: (made[0], made[1], made[2]))
    with pytest.raises(NonFiniteError, match=f"{code}.*the {what} of mine: 1 of 6 entries, the first at row 1"):
        attended(np.ones((3, 2)), np.ones((3, 2)), kernel)


def test_terms_that_overflow_and_cancel_are_no_warning() -> None:
    """1e308 − 1e308 = 0 is held; the sum of magnitudes is beyond float64, and so is the bound: nothing is known."""
    operator = recurrence(
        np.ones((1, 4)), np.array([[1e308, -1e308, 1e308, -1e308]]), np.ones((1, 4)), np.zeros((1, 4))
    )
    assert np.asarray(operator.matrix).tolist() == [[0.0]]
    assert distance(operator) == math.inf
    assert operator.diagonal.error.tolist() == [math.inf]


# ------------------------------------------------------------------------------------------------- gates at their ends


@SIDES
def test_gates_of_one_leave_the_products_of_queries_and_keys(mask: str) -> None:
    """Linear attention that is not divided: exact for whole numbers."""
    random = np.random.default_rng(10)
    left, right = random.integers(-9, 10, (2, 7, 4)).astype(float)
    one, none = np.ones((7, 4)), np.zeros((7, 4))
    found = np.asarray(recurrence(left, right, one, none, backward=mask == "anticausal").matrix)
    side = np.triu if mask == "anticausal" else np.tril
    assert np.array_equal(found, side(left @ right.T))


@SIDES
def test_gates_of_zero_forget_everything_before(mask: str) -> None:
    """The gate of token 3 is zero: from it on nothing of earlier tokens is left; its own key is."""
    left, right = tokens(11, 7, 4)
    gates = np.full((7, 4), 0.9)
    gates[3] = 0.0
    backward = mask == "anticausal"
    operator = recurrence(left, right, gates, np.zeros((7, 4)), backward=backward)
    found = np.asarray(operator.matrix)
    assert not (found[:4, 4:] if backward else found[3:, :3]).any()
    assert (found[3, :4] != 0).any()
    assert found[3, 3] == pytest.approx(left[3] @ right[3], rel=16 * EPS)
    within(operator)


def test_gates_that_underflow_leave_what_they_leave() -> None:
    """1e-300 three times over is below float64; the bound says so, and the diagonal is untouched."""
    left, right = np.ones((5, 1)), np.ones((5, 1))
    for gate in (1e-300, 5e-324, 1e-160):
        operator = recurrence(left, right, np.full((5, 1), gate), np.zeros((5, 1)))
        within(operator)
        assert np.diagonal(np.asarray(operator.matrix)).tolist() == [1.0] * 5
        assert operator.diagonal.log.tolist() == [0.0] * 5
        assert np.asarray(operator.matrix)[1, 0] == gate


def test_gates_that_bring_back_what_underflowed_leave_no_false_bound() -> None:
    """5e-324 times a half is zero, and times 2^1000 still: the exact weight is not."""
    gates = np.array([[1.0], [0.5], [2.0**1000]])
    right = np.array([[5e-324], [0.0], [0.0]])
    operator = recurrence(np.full((3, 1), 2.0**70), right, gates, np.zeros((3, 1)))
    truth = exactly(subject(operator))
    assert truth[2][0] == Fraction(2) ** -5
    within(operator, truth)


@pytest.mark.parametrize("strength", [1.0, 2.0, 2 - EPS, 2 * (1 - 2.0**-30), 1e-100])
def test_reflections_and_projections_have_the_matrix_of_their_formula(strength: float) -> None:
    """r = βw with unit w: β = 1 erases w whole, β = 2 reflects, so that nothing grows and nothing is lost."""
    random = np.random.default_rng(12)
    left, erase = random.standard_normal((2, 8, 4))
    erase /= np.linalg.norm(erase, axis=1, keepdims=True)
    operator = recurrence(left, strength * erase, np.ones((8, 4)), erase)
    within(operator)
    size = float(np.linalg.norm(np.asarray(operator.matrix)))
    assert distance(operator) <= 1e4 * 8 * EPS * size


def test_a_key_erased_whole_is_not_seen_again() -> None:
    """β = 1 with the same unit key twice: the second write replaces the first."""
    left, right = np.ones((3, 4)), np.zeros((3, 4))
    right[:, 0] = 1.0
    operator = recurrence(left, right, np.ones((3, 4)), right)
    assert np.asarray(operator.matrix).tolist() == [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]


def test_one_token_and_one_number_are_the_product_itself() -> None:
    for backward in (False, True):
        operator = recurrence(*(np.array([[x]]) for x in (3.0, 5.0, 0.25, 0.5)), backward=backward)
        assert np.asarray(operator.matrix).tolist() == [[15.0]]
        assert operator.diagonal.sign.tolist() == [1]
        within(operator)
        diagonal_within(operator)


def test_no_token_is_an_empty_matrix() -> None:
    for name in NAMES:
        operator = attended(np.zeros((0, 3)), np.zeros((0, 3)), name)
        assert (operator.shape, distance(operator)) == ((0, 0), 0.0)


# ------------------------------------------------------------------------------------------------------------- diagonal


@settings(max_examples=200)
@given(SEEDS, st.integers(0, 60))
def test_a_diagonal_that_cancels_has_its_sign_or_says_that_it_is_lost(seed: int, exponent: int) -> None:
    """l·r with a remainder of 2^−k: known while it is above rounding, and never of the wrong sign."""
    random = np.random.default_rng(seed)
    n = 6
    left, right = random.standard_normal((2, n, 4))
    right[:, 3] = -(left[:, :3] * right[:, :3]).sum(axis=1) / left[:, 3] + random.standard_normal(n) * 2.0**-exponent
    operator = recurrence(left, right, np.ones((n, 4)), np.zeros((n, 4)))
    diagonal_within(operator)
    within(operator)
    if exponent < 20:
        assert np.isfinite(operator.diagonal.error).all()


@settings(max_examples=100)
@given(SEEDS)
def test_a_diagonal_of_every_size_lies_within_its_error(seed: int) -> None:
    """Factors from 1e-300 to 1e150: products that underflow are not zero."""
    random = np.random.default_rng(seed)
    left, right = random.standard_normal((2, 5, 4)) * 10.0 ** random.uniform(-300, 150, (2, 5, 1))
    left = left * (random.random((5, 4)) < 0.7)
    operator = recurrence(left, right, np.zeros((5, 4)), np.zeros((5, 4)))
    diagonal_within(operator)
    found = rs.logdet(operator)
    own = [dot(a, b) for a, b in zip(fractions(left), fractions(right), strict=True)]
    assert found.sign in (None, math.prod((x > 0) - (x < 0) for x in own))


# ------------------------------------------------------------------------------------------------ beside the diagonal


@BY_NAME
@SIDES
@pytest.mark.parametrize("d", [1, 2, 3])
def test_every_part_beside_the_diagonal_has_the_rank_of_the_state_at_most(name: str, mask: str, d: int) -> None:
    """Exactly, in rationals; d where that many rows and columns are there, for random tokens."""
    operator = attended(*tokens(13, 8, d), name, mask)
    bound = operator.structure.offdiagonal_bound
    assert bound is not None
    assert bound.value == d
    truth = exactly(subject(operator))
    turned = truth if mask == "causal" else [list(row) for row in zip(*truth, strict=True)]
    for k in range(1, 8):
        assert rank([row[:k] for row in turned[k:]]) == min(d, k, 8 - k), k
        assert not any(x for row in turned[:k] for x in row[k:])


@settings(max_examples=60)
@given(SEEDS, st.sampled_from(KINDS), st.booleans())
def test_no_numbers_at_all_make_a_part_beside_the_diagonal_of_larger_rank(seed: int, kind: str, backward: bool) -> None:
    operator = recurrence(*drawn(seed, kind), backward=backward)
    truth, d = exactly(subject(operator)), subject(operator).left.shape[1]
    turned = [list(row) for row in zip(*truth, strict=True)] if backward else truth
    assert all(rank([row[:k] for row in turned[k:]]) <= d for k in range(1, len(turned)))
    assert rank(truth) <= operator.structure.rank_bound.value


def test_the_decay_of_retnet_adds_nothing_to_the_rank_beside_the_diagonal() -> None:
    """γ^(i − j) = γ^i·γ^−j scales rows and columns: q_i·k_j of rank 2 stays of rank 2, over both sides together too."""
    random = np.random.default_rng(14)
    q, k = random.integers(-5, 6, (2, 9, 4)).astype(float)
    q[:, 2:] = 0.0
    operator = attended(q, k, "retnet")
    truth = exactly(subject(operator))
    assert [rank([row[:c] for row in truth[c:]]) for c in range(1, 9)] == [1, 2, 2, 2, 2, 2, 2, 1]
    gamma = 1 - Fraction(1, 32)
    assert subject(operator).gates.tolist() == [[float(gamma)] * 4] * 9
    plain = [
        [Fraction(int(q[i] @ k[j])) / 2 * gamma ** (i - j) if j <= i else Fraction(0) for j in range(9)]
        for i in range(9)
    ]
    assert truth == plain


def test_a_position_that_turns_keeps_the_rank_beside_the_diagonal() -> None:
    for name in NAMES:
        operator = attended(*tokens(15, 8, 2), name, position="rope")
        truth = exactly(subject(operator))
        assert [rank([row[:k] for row in truth[k:]]) for k in range(1, 8)] == [1, 2, 2, 2, 2, 2, 1]


# -------------------------------------------------------------------------------------------------------- the other way


@settings(max_examples=60)
@given(SEEDS, st.sampled_from(KINDS))
def test_backward_is_forward_of_the_reversed_tokens_to_the_bit(seed: int, kind: str) -> None:
    given = drawn(seed, kind)
    backward, forward = recurrence(*given, backward=True), recurrence(*(each[::-1] for each in given))
    assert np.array_equal(np.asarray(backward.matrix), np.asarray(forward.matrix)[::-1, ::-1])
    assert distance(backward) == pytest.approx(distance(forward), rel=64 * EPS)
    for one, two in (
        (backward.diagonal.log, forward.diagonal.log),
        (backward.diagonal.sign, forward.diagonal.sign),
        (backward.diagonal.error, forward.diagonal.error),
    ):
        assert np.array_equal(one, two[::-1])
    assert exactly(subject(backward)) == [row[::-1] for row in exactly(subject(forward))[::-1]]
    with exact.precision(128):
        ends = [(x.mid(), x.rad()) for x in exact.balls(forward).entries()][::-1]
        assert [(x.mid(), x.rad()) for x in exact.balls(backward).entries()] == ends


def test_tokens_whose_numbers_belong_to_none_are_reversed_by_name() -> None:
    """RetNet's gates are all alike, so that its backward form is that of the tokens in the opposite order."""
    q, k = tokens(16, 9, 4)
    backward, forward = attended(q, k, "retnet", "anticausal"), attended(q[::-1], k[::-1], "retnet")
    assert np.array_equal(np.asarray(backward.matrix), np.asarray(forward.matrix)[::-1, ::-1])
    assert (backward.structure.side.value, forward.structure.side.value) == ("upper", "lower")
    assert rs.logdet(backward).log_abs == pytest.approx(rs.logdet(forward).log_abs, rel=1e-14)


@BY_NAME
@SIDES
def test_the_determinant_is_that_of_rationals(name: str, mask: str) -> None:
    operator = attended(*tokens(17, 8, 3), name, mask)
    found, truth = rs.logdet(operator), exactly(subject(operator))
    own = [truth[i][i] for i in range(8)]
    assert found.sign == math.prod(1 if x > 0 else -1 for x in own)
    assert found.guarantee == "proved"
    with precision(256):
        log = sum((flint.arb(flint.fmpq(abs(x.numerator), x.denominator)).log() for x in own), flint.arb(0))
        assert inside(found.low, log, found.high)
        assert found.log_abs is not None
        assert away(found.log_abs, log) < 1e-11
