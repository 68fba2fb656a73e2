"""Exact rank modulo primes against ranks in rationals; bounds of minors against every minor."""

import itertools
from typing import Any, Final

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rankscope as rs
from rankscope.analyzer.elimination import FIRST_PRIME, ExactRank, exact_rank, length_bits, minor_bits, primes
from rankscope.attention.exact import of_floats
from rankscope.records import Record
from tests.oracles import Array, rational

SEEDS = st.integers(0, 2**32 - 1)

PRIME: Final = 4611686018427387847
"""The first prime that is tried: 2⁶² − 57."""


def whole(rows: Any) -> Any:
    """Rows of whole numbers of any size as an `fmpz_mat`."""
    listed = [[int(x) for x in row] for row in rows]
    return flint.fmpz_mat(len(listed), len(listed[0]) if listed else 0, [x for row in listed for x in row])


def integers(random: np.random.Generator) -> Array:
    """Small integers, often of low rank, with zero rows and columns, and columns of very different size."""
    m, n = random.integers(1, 9, 2)
    inner = int(random.integers(1, 9))
    held = random.integers(-9, 10, (m, inner)) @ random.integers(-9, 10, (inner, n))
    match random.integers(5):
        case 0:
            held = random.integers(-2, 3, (m, n))
        case 1:
            held[random.random(m) < 0.4] = 0
            held[:, random.random(n) < 0.4] = 0
        case 2:
            held = held[random.integers(0, m, m)]
    return np.asarray(held)


def floats(random: np.random.Generator) -> Array:
    """The same times powers of two, so that products of low rank stay so; or floats that share no structure."""
    held = integers(random).astype(np.float64)
    m, n = held.shape
    match random.integers(3):
        case 0:
            return np.asarray(np.ldexp(held, random.integers(-900, 900, (m, 1)) // 2))
        case 1:
            return np.asarray(
                np.ldexp(np.ldexp(held, random.integers(-450, 450, (m, 1))), random.integers(-450, 450, n))
            )
    return np.asarray(held * random.standard_normal((m, n)) * 10.0 ** random.uniform(-290, 290, (m, n)))


def agrees(found: ExactRank, truth: int, bound: int) -> None:
    assert found.low == found.high == truth <= bound
    assert found.primes >= 1


@pytest.mark.parametrize("kind", ["integers", "floats"])
def test_elimination_gives_the_rank_in_rationals_of_thousands_of_matrices(kind: str) -> None:
    random, ranks, deficient = np.random.default_rng(0), set(), 0
    for _ in range(1500):
        held = (integers if kind == "integers" else floats)(random)
        matrix = whole(held) if kind == "integers" else of_floats(held)
        truth = rational(held).rank()
        agrees(exact_rank(matrix, min(held.shape)), truth, min(held.shape))
        agrees(exact_rank(matrix, truth), truth, truth)
        ranks.add(truth)
        deficient += truth < min(held.shape)
    assert ranks == set(range(9))
    assert 300 < deficient < 1200


@pytest.mark.parametrize("kind", ["integers", "floats"])
def test_the_analysis_decides_the_exact_rank_of_stored_numbers(kind: str) -> None:
    random = np.random.default_rng(1)
    for _ in range(150):
        held = (integers if kind == "integers" else floats)(random).astype(np.float64)
        record = rs.analyze(held, measures=["rank_exact"], prove=True)["rank_exact"]
        assert isinstance(record, Record)
        truth = rational(held).rank()
        assert (record.low, record.value, record.high, record.guarantee) == (truth, truth, truth, "proved")


def test_the_first_primes_are_prime_different_and_large() -> None:
    first = list(itertools.islice(primes(), 20))
    assert first[0] == PRIME == FIRST_PRIME
    assert first == sorted(set(first), reverse=True)
    for prime in first[:3]:
        assert pow(3, prime - 1, prime) == 1, "Fermat"
        assert all(prime % small for small in range(2, 10_000))
    between = [n for n in range(first[4], PRIME + 1) if flint.fmpz(n).is_prime()]
    assert between[::-1] == first[:5], "none is left out"


def hidden(diagonal: list[int], seed: int) -> Any:
    """U · diag · V with U, V of determinant one: the same rank modulo every prime, and no zero to be seen."""
    random, n = np.random.default_rng(seed), len(diagonal)
    lower = np.tril(random.integers(-3, 4, (n, n)), -1) + np.eye(n, dtype=int)
    upper = np.triu(random.integers(-3, 4, (n, n)), 1) + np.eye(n, dtype=int)
    middle = flint.fmpz_mat(n, n, [diagonal[i] if i == j else 0 for i in range(n) for j in range(n)])
    return whole(lower) * whole(upper) * middle * whole(lower.T) * whole(upper.T)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_determinant_that_the_first_primes_divide_is_not_taken_for_zero(count: int) -> None:
    first = list(itertools.islice(primes(), 4))
    divided = 1
    for prime in first[:count]:
        divided *= prime
    for seed in range(5):
        matrix = hidden([1, 2, 5, divided], seed)
        assert matrix.det() == 10 * divided
        assert flint.nmod_mat(matrix, PRIME).rank() == 3
        found = exact_rank(matrix, 4)
        assert (found.low, found.high, found.prime, found.primes) == (4, 4, first[count], count + 1)


def test_a_rank_that_grows_from_prime_to_prime_is_followed() -> None:
    """Modulo the first prime one, modulo the second two, in truth three of four."""
    first, second, _ = itertools.islice(primes(), 3)
    matrix = hidden([1, first, first * second, 0], 0)
    found = exact_rank(matrix, 4)
    assert (found.low, found.high) == (3, 3)
    assert found.primes > 3
    assert [int(flint.nmod_mat(matrix, prime).rank()) for prime in (first, second)] == [1, 2]


def test_floats_whose_determinant_the_first_prime_divides_have_full_rank() -> None:
    """a·d − b·c = 2⁶² − 57 with four whole numbers below 2⁵³."""
    a, b = 2**31, 1
    d = PRIME // a + 1
    held = np.array([[a, b], [a * d - PRIME, d]], dtype=np.float64)
    assert rational(held).det() == PRIME
    assert flint.nmod_mat(of_floats(held), PRIME).rank() == 1
    record = rs.analyze(held, measures=["rank_exact"], prove=True)["rank_exact"]
    assert isinstance(record, Record)
    assert (record.value, record.guarantee) == (2, "proved")
    assert str(next(itertools.islice(primes(), 1, None))) in record.because, "the prime that showed it"


def test_what_cannot_be_afforded_leaves_both_bounds() -> None:
    matrix = hidden([10**9, 2 * 10**12, 3 * 10**15, 0], 3)
    asked: list[int] = []

    def refuse(count: int) -> bool:
        asked.append(count)
        return False

    found = exact_rank(matrix, 4, refuse)
    assert (found.low, found.high, found.primes) == (3, 4, 1)
    assert len(asked) == 1
    assert exact_rank(matrix, 4).primes == asked[0] + 1, "what was asked for is what it takes"
    assert exact_rank(hidden([1, 2, 3, 4], 3), 4, refuse).low == 4, "one prime is enough for full rank"
    assert len(asked) == 1


def test_without_a_budget_a_singular_matrix_has_only_bounds_and_says_what_was_not_tried() -> None:
    random = np.random.default_rng(0)
    held = (random.integers(-(2**24), 2**24, (6, 3)) @ random.integers(-(2**24), 2**24, (3, 6))).astype(np.float64)
    assert rational(held).rank() == 3, "products of 48 bits are exact in float64"
    record = rs.analyze(held, measures=["rank_exact"], prove=True, budget=0)["rank_exact"]
    assert isinstance(record, Record)
    assert (record.value, record.low, record.high, record.guarantee) == (None, 3, 6, "proved")
    assert any("elimination modulo" in each and "not tried" in each for each in record.details["tried"])
    enough = rs.analyze(held, measures=["rank_exact"], prove=True)["rank_exact"]
    assert isinstance(enough, Record)
    assert enough.value == 3


@given(SEEDS)
def test_no_minor_exceeds_its_bound(seed: int) -> None:
    random = np.random.default_rng(seed)
    held = random.integers(-9, 10, random.integers(1, 5, 2)) * 10 ** random.integers(0, 6)
    matrix = whole(held)
    for order in range(1, min(held.shape) + 1):
        minors = [
            abs(int(whole(held[np.ix_(rows, columns)]).det()))
            for rows in itertools.combinations(range(held.shape[0]), order)
            for columns in itertools.combinations(range(held.shape[1]), order)
        ]
        assert max(minors) <= 2 ** minor_bits(matrix, order)


def test_the_bound_of_minors_is_that_of_hadamard_to_a_bit_for_each_row() -> None:
    """A Hadamard matrix of order 8 has the largest determinant of its size, 8⁴ = 2¹²; its rows of √8 count 4 bits."""
    two = np.array([[1, 1], [1, -1]])
    held = np.kron(two, np.kron(two, two))
    assert abs(int(whole(held).det())) == 2**12
    assert minor_bits(whole(held), 8) == 16
    assert minor_bits(whole(held), 1) == 2


@given(st.lists(st.integers(-(10**40), 10**40), max_size=6))
def test_the_length_of_a_line_is_bounded_to_a_bit(line: list[int]) -> None:
    square = sum(x * x for x in line)
    assert square <= 2 ** length_bits(line)
    assert square == 0 or 2 * square >= 2 ** length_bits(line)
