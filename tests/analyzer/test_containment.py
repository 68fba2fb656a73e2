"""Every proved or enclosed interval holds the true number: counted pair by pair, over every kind of small matrix.

The truth is found without rankscope: stored numbers and products of given features are rational, and the squares of
their singular values are the roots of a polynomial that is known exactly; the softmax of exact scores is enclosed in
thousands of bits. The first tests of this file check these two routes against mpmath.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import flint
import mpmath
import numpy as np
import pytest

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import matrix, single
from rankscope.attention.operators import Mean, Operator, Product
from rankscope.attention.operators import stored as in_its_own_right
from rankscope.records import Record
from tests import oracles
from tests.oracles import Array, Boolean, Float64, dyadic, exact_scores, hilbert, precision, rational

Random = np.random.Generator

ORACLE_BITS: Final = 512
"""Bits in which truths are compared with intervals: beyond any difference of floats in this file."""

DEFAULT: Final = 25
"""Matrices of each family in the default run."""

DEEP: Final = 300
"""Matrices of each family in the deep profile."""

SPECTRAL: Final = ("effective_rank", "effective_rank_energy", "stable_rank", "nuclear_rank", "participation_ratio")


# ------------------------------------------------------------------------------------------------------------- truths


@dataclass(frozen=True)
class Truth:
    """What is true of one matrix: singular values, sign and logarithm of the determinant (None where not square)."""

    shape: tuple[int, int]
    sigma: list[Any]
    sign: int | None = None
    log: Any = None

    @property
    def rank(self) -> int:
        return sum(value != 0 for value in self.sigma)

    def above(self, relative: Fraction) -> int | None:
        """How many values lie above relative · σ₁; None if one of them cannot be told from that."""
        if not self.sigma:
            return 0
        tolerance = self.sigma[0] * flint.arb(flint.fmpq(relative.numerator, relative.denominator))
        if any(not value > tolerance and not value <= tolerance for value in self.sigma):
            return None
        return sum(bool(value > tolerance) for value in self.sigma)

    def measured(self) -> dict[str, Any]:
        """Every measure of the singular values, from its definition."""
        sigma = self.sigma
        if not sigma:
            return {}
        found: dict[str, Any] = {"sigma_max": sigma[0]}
        if sigma[0] == 0:
            return found
        squares = [value * value for value in sigma]
        found["effective_rank"] = perplexity(sigma)
        found["effective_rank_energy"] = perplexity(squares)
        found["stable_rank"] = oracles.added(squares) / squares[0]
        found["nuclear_rank"] = oracles.added(sigma) / sigma[0]
        found["participation_ratio"] = oracles.added(sigma) ** 2 / oracles.added(squares)
        if sigma[-1] != 0:
            found["log10_sigma_min"] = oracles.log10(sigma[-1])
            found["log10_condition"] = oracles.log10(sigma[0] / sigma[-1])
        if len(sigma) > 1 and sigma[1] != 0:
            found["sv_ratio_1_2"] = sigma[0] / sigma[1]
        return found

    def energy_rank(self) -> int | None:
        """The least r with 90 % of Σσ²; None where balls cannot tell."""
        squares = [value * value for value in self.sigma]
        total, part = 9 * oracles.added(squares), flint.arb(0)
        for count, square in enumerate(squares, 1):
            part += 10 * square
            if part >= total:
                return count
            if not part < total:
                return None
        return None


def perplexity(weights: list[Any]) -> Any:
    """exp of the entropy of weights divided by their sum."""
    shares = [weight / oracles.added(weights) for weight in weights if weight != 0]
    return (-oracles.added(share * share.log() for share in shares)).exp()


def of_rational(exact: Any) -> Truth:
    """The truth of a rational matrix."""
    shape = (exact.nrows(), exact.ncols())
    with precision(ORACLE_BITS):
        sigma = oracles.exact_singular_values(exact)
        if shape[0] != shape[1]:
            return Truth(shape, sigma)
        determinant = exact.det()
        if determinant == 0:
            return Truth(shape, sigma, 0)
        return Truth(shape, sigma, 1 if determinant > 0 else -1, flint.arb(abs(determinant)).log())


def of_balls(make: Callable[[], Any], rows: Array | None = None, columns: Array | None = None) -> Truth:
    """The truth of a matrix of balls that is made anew in more and more bits until every value is known.

    `rows` and `columns` say which of them are copies of which. With R the matrix of copies, RᵀR is the diagonal of
    their numbers, so that A = R·C·Kᵀ has the singular values of √RᵀR·C·√KᵀK, and zeros. Those must not vanish.
    """
    for bits in (512, 1024, 2048, 4096, 8192, 16384):
        with precision(bits):
            held = make()
            shape = (held.nrows(), held.ncols())
            small = without_copies(held, rows, columns)
            gram = small.transpose() * small if small.ncols() <= small.nrows() else small * small.transpose()
            try:
                squares = [value.real for value in flint.acb_mat(gram).eig()]
            except ValueError:  # not told apart: take more bits
                continue
            if any(not square > 0 or square.rel_accuracy_bits() < 200 for square in squares):
                continue
            sigma = sorted((square.sqrt() for square in squares), key=oracles.size_of, reverse=True)
            sigma += [flint.arb(0)] * (min(shape) - len(sigma))
            if shape[0] != shape[1]:
                return Truth(shape, sigma)
            if len(squares) < min(shape):
                return Truth(shape, sigma, 0)
            sign, log = oracles.log_determinant(held)
            return Truth(shape, sigma, sign, log)
    raise ArithmeticError("no precision tells the singular values apart")


def without_copies(held: Any, rows: Array | None, columns: Array | None) -> Any:
    """√RᵀR·C·√KᵀK: one of each row and column, times the root of their number."""
    down = copies(held.nrows(), rows)
    along = copies(held.ncols(), columns)
    entries = [held[i, j] * flint.arb(a * b).sqrt() for i, a in down for j, b in along]
    return flint.arb_mat(len(down), len(along), entries)


def copies(count: int, keys: Array | None) -> list[tuple[int, int]]:
    """The first of each set of equal keys, and how many there are."""
    listed = list(range(count)) if keys is None else [key.tobytes() for key in np.ascontiguousarray(keys)]
    return [(listed.index(key), listed.count(key)) for key in dict.fromkeys(listed)]


def of_softmax(scores: Float64, seen: Boolean) -> Truth:
    """The truth of the softmax of exact scores: equal rows and columns of scores make equal rows and columns."""
    masked = np.where(seen, scores, -math.inf) + 0.0
    return of_balls(lambda: oracles.softmax(scores, seen), masked, masked.T)


# ------------------------------------------------------------------------------------------------------------ families


@dataclass(frozen=True)
class Case:
    """A matrix as rankscope takes it, its truth, and what else is true of it.

    `exact` is the truth of the matrix before it was stored in fewer bits; `scores` the truth of q kᵀ.
    """

    operator: Operator
    truth: Truth
    exact: Truth | None = None
    scores: Truth | None = None


FAMILIES: Final[dict[str, Callable[[Random], Case]]] = {}


def family(make: Callable[[Random], Case]) -> Callable[[Random], Case]:
    """Register a family of matrices under the name of its function."""
    FAMILIES[make.__name__] = make
    return make


def stored(entries: Array) -> Case:
    """Bare numbers."""
    return Case(single(matrix(entries)), of_rational(rational(np.asarray(entries, dtype=np.float64))))


def size(random: Random, least: int = 2, most: int = 9) -> int:
    return int(random.integers(least, most))


def square_of(random: Random, most: int = 9) -> Float64:
    n = size(random, 2, most)
    return np.asarray(random.standard_normal((n, n)))


@family
def dense(random: Random) -> Case:
    return stored(square_of(random))


@family
def graded_rows(random: Random) -> Case:
    entries = square_of(random)
    return stored(entries * 10.0 ** random.uniform(-200, 200, (len(entries), 1)))


@family
def graded_columns(random: Random) -> Case:
    entries = square_of(random)
    return stored(entries * 10.0 ** random.uniform(-200, 200, len(entries)))


@family
def graded_both_ways(random: Random) -> Case:
    entries = square_of(random)
    powers = random.uniform(-100, 100, (2, len(entries)))
    return stored(entries * 10.0 ** powers[0][:, None] * 10.0 ** powers[1])


@family
def tiny(random: Random) -> Case:
    return stored(square_of(random) * 1e-300)


@family
def subnormal(random: Random) -> Case:
    return stored(square_of(random) * 1e-320)


@family
def huge(random: Random) -> Case:
    return stored(square_of(random) * 1e300)


@family
def tiny_beside_huge(random: Random) -> Case:
    entries = square_of(random)
    return stored(entries * random.choice([1e-300, 1.0, 1e300], entries.shape))


@family
def tall(random: Random) -> Case:
    n = size(random, 1, 6)
    return stored(random.standard_normal((n + size(random, 1, 5), n)))


@family
def wide(random: Random) -> Case:
    n = size(random, 1, 6)
    return stored(random.standard_normal((n, n + size(random, 1, 5))) * 10.0 ** random.uniform(-9, 0, (n, 1)))


@family
def one_number(random: Random) -> Case:
    return stored(random.standard_normal((1, 1)) * 10.0 ** random.uniform(-300, 300))


@family
def one_row(random: Random) -> Case:
    row = random.standard_normal((1, size(random, 2, 10)))
    return stored(row if random.random() < 0.5 else row.T)


@family
def integers(random: Random) -> Case:
    return stored(random.integers(-9, 10, (size(random), size(random))))


@family
def products_of_integers(random: Random) -> Case:
    inner = size(random, 1, 4)
    left, right = random.integers(-9, 10, (size(random), inner)), random.integers(-9, 10, (inner, size(random)))
    return stored(left @ right)


@family
def duplicated_rows(random: Random) -> Case:
    entries = square_of(random)
    return stored(entries[random.integers(0, len(entries), len(entries))])


@family
def zero_rows(random: Random) -> Case:
    entries = square_of(random)
    entries[random.random(len(entries)) < 0.3] = 0.0
    entries[:, random.random(len(entries)) < 0.2] = -0.0
    return stored(entries)


@family
def clusters_of_equal_values(random: Random) -> Case:
    """Multiples of the identity, Hadamard and permutation matrices, and of rational rotations."""
    hadamard = np.array([[1, 1], [1, -1]])
    kinds: list[Callable[[], Array]] = [
        lambda: np.eye(size(random)),
        lambda: np.eye(7)[random.permutation(7)],
        lambda: np.kron(hadamard, np.kron(hadamard, hadamard)),
        lambda: np.kron(np.eye(3), [[3.0, 4.0], [-4.0, 3.0]])[random.permutation(6)],
        lambda: np.kron(np.diag([1.0, 1.0, 1e-5]), hadamard)[:, random.permutation(6)],
    ]
    return stored(kinds[random.integers(len(kinds))]() * float(random.integers(1, 9)) * 2.0 ** random.integers(-50, 50))


@family
def nearly_equal_values(random: Random) -> Case:
    """A rounded orthogonal matrix: every value is one up to rounding."""
    return stored(np.linalg.qr(square_of(random))[0] * random.uniform(0.1, 9))


@family
def diagonal(random: Random) -> Case:
    return stored(np.diag(random.standard_normal(size(random)) * 10.0 ** random.uniform(-30, 30)))


@family
def triangular(random: Random) -> Case:
    return stored((np.tril if random.random() < 0.5 else np.triu)(square_of(random)))


@family
def steep_triangular(random: Random) -> Case:
    """One below the diagonal and little on it: σ_min is far below the least entry."""
    n = size(random, 3, 9)
    return stored(np.tril(random.uniform(0.5, 1.0, (n, n)), -1) + np.diag(10.0 ** random.uniform(-12, -1, n)))


@family
def permuted_triangular(random: Random) -> Case:
    entries = np.tril(square_of(random))
    order = random.permutation(len(entries))
    return stored(entries[order][:, order if random.random() < 0.5 else random.permutation(len(entries))])


@family
def hilbert_matrices(random: Random) -> Case:
    return stored(hilbert(size(random, 2, 11)))


@family
def ill_conditioned(random: Random) -> Case:
    """A spectrum over thirty orders, of which rounding leaves sixteen."""
    n = size(random, 3, 9)
    left, right = (np.linalg.qr(random.standard_normal((n, n)))[0] for _ in range(2))
    return stored((left * 10.0 ** np.sort(random.uniform(-30, 0, n))) @ right)


@family
def stored_in_fewer_bits(random: Random) -> Case:
    return stored(square_of(random).astype(str(random.choice(["float16", "float32"]))))


def tokens(random: Random, copied: bool) -> tuple[Float64, Float64]:
    """Dyadic tokens, so that scores are exact in float64; some of them copies if so asked."""
    n, d = size(random, 2, 8), int(random.choice([1, 4]))
    queries, keys = dyadic(random, n, d), dyadic(random, n, d)
    if copied:
        order = random.integers(0, max(n // 2, 1), n)
        return queries[order], keys[order]
    return queries, keys


def softmax(random: Random, mask: str, copied: bool = False, dtype: str = "float64") -> Case:
    """Softmax attention at scales from 2⁻⁷ to 64; scores are exact in float64, whatever computes them."""
    queries, keys = tokens(random, copied)
    if mask == "rectangular":
        queries = queries[: max(len(queries) - size(random, 1, 3), 1)]
    scale = 2.0 ** int(random.integers(-7, 7))
    scores = exact_scores(queries, keys, scale)
    sees = oracles.SEES.get(mask, oracles.SEES["bidirectional"])
    seen = oracles.seen_by(sees, *scores.shape)
    made = single(
        attention(queries, keys, mask="bidirectional" if mask == "rectangular" else mask, scale=scale, dtype=dtype)
    )
    exact, product = of_softmax(scores, seen), of_rational(rational(queries) * rational(keys).transpose())
    if dtype == "float64":
        return Case(made, exact, scores=product)
    return Case(made, of_rational(rational(np.asarray(made.matrix))), exact, product)


@family
def softmax_bidirectional(random: Random) -> Case:
    return softmax(random, "bidirectional")


@family
def softmax_causal(random: Random) -> Case:
    return softmax(random, "causal")


@family
def softmax_prefix(random: Random) -> Case:
    return softmax(random, "prefix:2")


@family
def softmax_window(random: Random) -> Case:
    return softmax(random, "window:2")


@family
def softmax_rectangular(random: Random) -> Case:
    return softmax(random, "rectangular")


@family
def softmax_of_copies(random: Random) -> Case:
    return softmax(random, str(random.choice(["bidirectional", "bidirectional", "causal"])), copied=True)


@family
def softmax_in_float32(random: Random) -> Case:
    return softmax(random, str(random.choice(["bidirectional", "causal", "window:2"])), dtype="float32")


@family
def softmax_in_float16(random: Random) -> Case:
    return softmax(random, str(random.choice(["bidirectional", "causal", "prefix:2"])), dtype="float16")


@family
def softmax_in_bfloat16(random: Random) -> Case:
    return softmax(random, str(random.choice(["bidirectional", "causal"])), dtype="bfloat16")


FEATURES: Final[dict[str, Callable[[Float64], Float64]]] = {
    "linear": lambda x: np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))),
    "linear:relu": lambda x: np.maximum(x, 0.0),
    "linear:identity": lambda x: x,
}


def linear(random: Random, kernel: str, dtype: str = "float64") -> Case:
    """Linear attention; tokens of the signed kernel are shifted, so that no sum vanishes."""
    n, d = size(random, 2, 8), int(random.choice([1, 4]))
    shift = 2.0 if kernel == "linear:identity" else 0.0
    queries, keys = dyadic(random, n, d) + shift, dyadic(random, n, d) + shift
    mask = str(random.choice(["bidirectional", "causal", "window:2"]))
    made = single(attention(queries, keys, mask=mask, kernel=kernel, dtype=dtype, empty_rows="zero"))
    seen = oracles.seen_by(oracles.SEES[mask], n, n)
    exact = of_rational(oracles.normalised(FEATURES[kernel](queries), FEATURES[kernel](keys), seen))
    if dtype == "float64":
        return Case(made, exact)
    return Case(made, of_rational(rational(np.asarray(made.matrix))), exact)


@family
def linear_elu(random: Random) -> Case:
    return linear(random, "linear")


@family
def linear_relu(random: Random) -> Case:
    return linear(random, "linear:relu")


@family
def linear_identity(random: Random) -> Case:
    return linear(random, "linear:identity")


@family
def linear_in_bfloat16(random: Random) -> Case:
    return linear(random, "linear", "bfloat16")


def layers(random: Random) -> tuple[list[Operator], list[Callable[[], Any]]]:
    """A few heads of softmax attention of one size, and how to make their balls."""
    n, masks = size(random, 2, 6), ["bidirectional", "causal", "causal", "causal"][: size(random, 2, 5)]
    if random.random() < 0.5:
        masks = ["causal"] * len(masks)
    operators: list[Operator] = []
    made: list[Callable[[], Any]] = []
    for mask in masks:
        queries, keys = dyadic(random, n, 4), dyadic(random, n, 4)
        scores, seen = exact_scores(queries, keys, 1.0), oracles.seen_by(oracles.SEES[mask], n, n)
        operators.append(single(attention(queries, keys, mask=mask)))
        made.append(functools.partial(oracles.softmax, scores, seen))
    return operators, made


@family
def products_over_layers(random: Random) -> Case:
    operators, made = layers(random)
    return Case(Product(tuple(operators)), of_balls(lambda: functools.reduce(lambda a, b: a * b, [m() for m in made])))


@family
def means_over_heads(random: Random) -> Case:
    operators, made = layers(random)
    truth = of_balls(lambda: functools.reduce(lambda a, b: a + b, [m() for m in made]) / len(made))
    return Case(Mean(tuple(operators)), truth)


@family
def products_of_stored_matrices(random: Random) -> Case:
    n, k = size(random, 2, 7), size(random, 2, 7)
    first, second = random.random((n, k)), random.standard_normal((k, n))
    parts = (single(matrix(first)), single(matrix(second)))
    return Case(Product(parts), of_rational(rational(first) * rational(second)))


# ----------------------------------------------------------------------------------------------------------- the count


@dataclass
class Tally:
    """Pairs of a true number and an interval: how many, which failed, and how wide the intervals were."""

    pairs: int = 0
    outside: list[str] = field(default_factory=list)
    askew: list[str] = field(default_factory=list)
    large: list[float] = field(default_factory=list)
    exact: list[float] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    estimated: list[str] = field(default_factory=list)

    def holds(self, name: str, low: Any, truth: Any, high: Any) -> None:
        """One pair: an end that is None says nothing. A truth that is not known to 1e-30 is no truth."""
        if low is None and high is None:
            return
        ball = flint.arb(truth)
        assert ball.rad() <= flint.arb(1e-30) * max(1.0, float(abs(ball))) or ball.rel_accuracy_bits() > 100, name
        self.pairs += 1
        below = low is not None and not flint.arb(low) <= ball.upper()
        above = high is not None and not flint.arb(high) >= ball.lower()
        if below or above:
            self.outside.append(f"{name}: {ball.str(20)} not in [{low!r}, {high!r}]")

    def counts(self, name: str, record: Record, truth: int | None) -> None:
        """A pair of whole numbers; a value that is given must be the true one."""
        if truth is None or (record.low is None and record.high is None):
            return
        self.pairs += 1
        low, high = record.low, record.high
        inside = (low is None or low <= truth) and (high is None or truth <= high)
        if not inside:
            self.outside.append(f"{name}: {truth}, found {record.value!r} in [{low}, {high}], {record.guarantee}")


def examine(tally: Tally, name: str, case: Case, random: Random) -> None:
    """All pairs of one matrix: --prove with a tolerance, and every singular value."""
    relative = float(10.0 ** random.uniform(-12, -2))
    shape = case.truth.shape
    modes: tuple[tuple[str, dict[str, Any], Fraction], ...] = (
        ("prove", {"prove": True, "rtol": relative}, Fraction(relative)),
        ("exact", {"spectrum": "exact", "rule": "numpy"}, Fraction(max(*shape, 1), 2**52)),
    )
    for mode, options, tolerance in modes:
        result = rs.analyze(case.operator, **options, workers=1)
        for record in result.table:
            compare(tally, f"{name} {mode} {record.measure} of {record.subject}", record, case, tolerance)
        for series in result.table.series:
            if series.name == "log10_singular_values":
                logarithms(tally, f"{name} log10 σ", series.values, series.errors, case.truth.sigma)
        subject = in_its_own_right(case.operator) if case.exact else case.operator
        numerics = rs.Numerics(prove=True, **{k: v for k, v in options.items() if k != "prove"})
        intervals(tally, f"{name} {mode}", rs.Needs(subject, numerics).spectrum, case.truth.sigma, mode)


def compare(tally: Tally, name: str, record: Record, case: Case, tolerance: Fraction) -> None:
    """One record with what is true of its subject."""
    subject = case.exact if case.exact and record.subject != "stored" else case.truth
    low, value, high = record.low, record.value, record.high
    if value is not None and not ((low is None or low <= value) and (high is None or value <= high)):
        tally.askew.append(f"{name}: {value!r} not in [{low!r}, {high!r}]")
    judged = record.group in ("rank", "determinant", "spectrum") and case.truth.rank > 0
    if judged and value is not None and record.guarantee == "estimated":
        tally.estimated.append(name)
    truths = [case.truth, case.exact] if case.exact else [subject]
    match record.measure:
        case "rank_exact":
            tally.counts(name, record, subject.rank)
            if value is None:
                tally.missing.append(name)
        case "rank_numerical":
            tally.counts(name, record, subject.above(tolerance))
        case "rank_scores" if case.scores is not None:
            tally.counts(name, record, case.scores.above(Fraction(max(case.scores.shape), 2**52)))
        case "energy_rank_90":
            for each in truths:
                tally.counts(name, record, each.energy_rank())
        case "logdet":
            if record.sign is not None and subject.sign is not None:
                tally.pairs += 1
                if record.sign != subject.sign:
                    tally.outside.append(f"{name}: sign {record.sign} for {subject.sign}")
            if subject.sign:
                tally.holds(name, low, subject.log, high)
        case _ if record.group in ("rank", "spectrum"):
            for each in truths if record.measure in SPECTRAL else [subject]:
                known = each.measured().get(record.measure)
                if known is not None:
                    tally.holds(name, low, known, high)
                elif record.measure != "sigma_max" and value is not None:
                    tally.outside.append(f"{name}: {value!r} where there is none")


def intervals(tally: Tally, name: str, spectrum: Any, sigma: list[Any], mode: str) -> None:
    """The singular values themselves, in their true size."""
    if spectrum.guarantee == "estimated":
        if spectrum.largest:
            tally.estimated.append(f"{name} spectrum")
        return
    unit = flint.arb(2) ** spectrum.exponent
    assert len(spectrum.values) == len(sigma)
    for index, truth in enumerate(sigma):
        value, error = flint.arb(float(spectrum.values[index])), flint.arb(float(spectrum.error[index]))
        tally.holds(f"{name} σ_{index + 1}", (value - error) * unit, truth, (value + error) * unit)
        if truth > sigma[0] / 10**6:
            tally.large.append(float(2 * error * unit / truth))
    if mode == "exact" and spectrum.logs is not None:
        for ends, truth in zip(spectrum.logs, sigma, strict=True):
            if ends is not None:
                tally.holds(f"{name} logarithm", ends[0], oracles.log10(truth), ends[1])
                tally.exact.append(math.expm1((ends[1] - ends[0]) * math.log(10)))
            elif truth != 0:
                tally.exact.append(math.inf)


def logarithms(tally: Tally, name: str, middles: list[float], halves: list[float], sigma: list[Any]) -> None:
    """The series of logarithms: of every value that is not zero, in order."""
    assert len(middles) == sum(value != 0 for value in sigma), name
    for middle, half, truth in zip(middles, halves, sigma, strict=False):
        ball = flint.arb(middle)
        tally.holds(name, ball - flint.arb(half), oracles.log10(truth), ball + flint.arb(half))


@functools.cache
def surveyed(name: str, count: int, first: int = 0) -> Tally:
    """The tally of a family; the same matrices every time."""
    tally = Tally()
    for index in range(first, first + count):
        random = np.random.default_rng([index, *name.encode()])
        case = FAMILIES[name](random)
        with precision(ORACLE_BITS):
            examine(tally, f"{name} {index}", case, random)
    return tally


def surveys(count: int) -> Iterator[Tally]:
    return (surveyed(name, count) for name in FAMILIES)


# ---------------------------------------------------------------------------------------------- the oracles themselves


def agrees_with_mpmath(exact: Any, digits: int) -> None:
    """The roots of the characteristic polynomial against mpmath's QR iteration."""
    with precision(ORACLE_BITS), mpmath.workdps(digits):
        found = oracles.exact_singular_values(exact)
        rows = [[mpmath.mpf(int(x.p)) / int(x.q) for x in row] for row in exact.tolist()]
        held = mpmath.matrix(rows)
        other = sorted(mpmath.svd_r(held if held.rows >= held.cols else held.T, compute_uv=False), reverse=True)
        assert len(found) == len(other)
        for one, two in zip(found, other, strict=True):
            allowed = two * mpmath.mpf(10) ** -100 + other[0] * mpmath.mpf(10) ** (20 - digits)
            assert abs(oracles.to_mpmath(one) - two) <= allowed


@pytest.mark.parametrize(
    "name",
    ["dense", "graded_both_ways", "tiny_beside_huge", "clusters_of_equal_values", "products_of_integers", "wide"],
)
def test_roots_of_the_characteristic_polynomial_are_the_singular_values_of_mpmath(name: str) -> None:
    digits = 1300 if name in ("graded_both_ways", "tiny_beside_huge") else 60
    for index in range(2):
        held = FAMILIES[name](np.random.default_rng(index)).operator.matrix
        agrees_with_mpmath(rational(np.asarray(held)), digits)


def test_exact_singular_values_of_matrices_that_are_known() -> None:
    with precision(ORACLE_BITS):
        assert oracles.exact_singular_values(rational(np.array([[3.0, 4.0], [-4.0, 3.0], [0.0, 0.0]]))) == [5, 5]
        assert oracles.exact_singular_values(rational(np.zeros((2, 3)))) == [0, 0]
        assert oracles.exact_singular_values(rational(np.zeros((0, 3)))) == []
        assert oracles.exact_singular_values(rational(2 * np.eye(4)[[2, 0, 3, 1]])) == [2, 2, 2, 2]
        first, second = oracles.exact_singular_values(rational(np.ones((3, 2))))
        assert second == 0
        assert abs(first - flint.arb(6).sqrt()) < flint.arb(1e-100)
        tiny = oracles.exact_singular_values(rational(np.array([[1e-300, 0.0], [1.0, 1e-300]])))
        assert abs(tiny[0] * tiny[1] / flint.arb(1e-300) ** 2 - 1) < flint.arb(1e-100), (
            "their product is the determinant"
        )


def test_copies_of_rows_and_columns_leave_zeros_and_change_nothing_else() -> None:
    """The reduction to distinct tokens against the rational route: equal scores make a rational softmax."""
    scores = np.zeros((5, 4))
    seen = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]], dtype=bool)
    weights = oracles.normalised(np.ones((5, 1)), np.ones((4, 1)), seen)
    one, two = of_softmax(scores, seen), of_rational(weights)
    assert (one.rank, two.rank) == (2, 2)
    with precision(ORACLE_BITS):
        for first, second in zip(one.sigma, two.sigma, strict=True):
            assert abs(first - second) < flint.arb(1e-100)


def test_truths_refuse_what_they_cannot_tell() -> None:
    """A value at the tolerance is neither above it nor not above it; a value that is known is."""
    with precision(ORACLE_BITS):
        wide = Truth((2, 2), [flint.arb(2), flint.arb(1, 0.25)])
        assert wide.above(Fraction(1, 2)) is None
        assert Truth((2, 2), [flint.arb(2), flint.arb(1)]).above(Fraction(1, 2)) == 1
        assert Truth((2, 2), [flint.arb(3), flint.arb(1)]).energy_rank() == 1, "9 of 10"
        assert Truth((2, 2), [flint.arb(3), flint.arb(1, 0.1)]).energy_rank() is None


def test_a_tally_finds_what_is_outside() -> None:
    """Ends that meet the truth hold it; ends one bit beyond do not."""
    tally = Tally()
    tally.holds("meets", 1.0, 1, 1.0)
    tally.holds("nothing is known", None, 1, None)
    assert (tally.pairs, tally.outside) == (1, [])
    tally.holds("beyond", math.nextafter(1.0, 2.0), 1, 2.0)
    tally.holds("before", 0.0, 1, math.nextafter(1.0, 0.0))
    tally.holds("not a number", math.nan, 1, 2.0)
    assert (tally.pairs, len(tally.outside)) == (4, 3)
    with pytest.raises(AssertionError):
        tally.holds("no truth", 0.0, flint.arb(1, 0.1), 2.0)
    tally.counts("rank", Record(0, "rank_exact", None, low=1, high=2), 3)
    assert len(tally.outside) == 4


# ---------------------------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("name", FAMILIES)
def test_every_interval_holds_the_true_number(name: str) -> None:
    tally = surveyed(name, DEFAULT)
    assert tally.outside == []
    assert tally.pairs >= 8 * DEFAULT, "no family is left out"


def test_the_default_run_counts_ten_thousand_pairs() -> None:
    assert sum(tally.pairs for tally in surveys(DEFAULT)) >= 10_000


@pytest.mark.parametrize("name", FAMILIES)
def test_every_value_lies_within_its_own_interval(name: str) -> None:
    assert surveyed(name, DEFAULT).askew == []


@pytest.mark.parametrize("name", FAMILIES)
def test_with_a_proof_nothing_that_is_known_is_estimated(name: str) -> None:
    assert surveyed(name, DEFAULT).estimated == []


@pytest.mark.parametrize("name", FAMILIES)
def test_the_exact_rank_of_small_matrices_is_always_decided(name: str) -> None:
    assert surveyed(name, DEFAULT).missing == []


def test_intervals_of_large_singular_values_are_sharp() -> None:
    """Above 1e-6·σ₁: half of them to 1e-10, as asked; and in fact all."""
    widths = np.array([width for tally in surveys(DEFAULT) for width in tally.large])
    assert len(widths) > 2000
    assert np.median(widths) <= 1e-10
    assert widths.max() <= 1e-10


def test_with_an_exact_spectrum_every_value_is_known_to_nine_digits() -> None:
    widths = [width for tally in surveys(DEFAULT) for width in tally.exact]
    assert len(widths) > 1000
    assert max(widths) <= 1e-9


@pytest.mark.deep
def test_a_hundred_thousand_intervals_hold_the_true_number() -> None:
    """Matrices that the default run does not see."""
    tallies = {name: surveyed(name, DEEP, DEFAULT) for name in FAMILIES}
    pairs = sum(tally.pairs for tally in tallies.values())
    widths = np.array([width for tally in tallies.values() for width in tally.large])
    exact = np.array([width for tally in tallies.values() for width in tally.exact])
    outside = [each for tally in tallies.values() for each in tally.outside]
    print(
        f"{pairs} pairs, {len(outside)} outside; relative widths above 1e-6·σ₁: median {np.median(widths):.1e}, "
        f"worst {widths.max():.1e}; with an exact spectrum: median {np.median(exact):.1e}, worst {exact.max():.1e}"
    )
    assert outside == []
    assert pairs >= 100_000


# ----------------------------------------------------------------------------------------------------------- decisions


def planted(random: Random) -> tuple[Float64, float]:
    """A matrix with a gap planted at a tolerance, and that tolerance: its neighbours stand at tolerance·(1 ± δ)."""
    n = int(random.integers(3, 9))
    above = int(random.integers(1, n))
    tolerance, gap = float(10.0 ** random.uniform(-12, -2)), 10.0 ** random.uniform(-6, 0)
    upper = np.sort(10.0 ** random.uniform(math.log10(tolerance) + 0.5, 0, above))[::-1]
    upper[0], upper[-1] = 1.0, tolerance * (1 + gap) if above > 1 else 1.0
    lower = np.sort(tolerance * 10.0 ** random.uniform(-6, 0, n - above))[::-1]
    lower[0] = tolerance * (1 - gap)
    left, right = (np.linalg.qr(random.standard_normal((n, n)))[0] for _ in range(2))
    scale = 10.0 ** random.uniform(-100, 100)
    return np.asarray(scale * ((left * np.concatenate([upper, lower])) @ right)), tolerance


@functools.cache
def decisions(first: int, count: int) -> tuple[list[str], int, int, int]:
    """Wrong counts; how many were decided, of how many that can be; and how many gaps are below 1e-3."""
    wrong, decided, fair, narrow = [], 0, 0, 0
    for index in range(first, first + count):
        held, tolerance = planted(np.random.default_rng([index, 77]))
        with precision(ORACLE_BITS):
            truth = of_rational(rational(held))
            counted = truth.above(Fraction(tolerance))
            relative = [float(abs(value / (truth.sigma[0] * flint.arb(tolerance)) - 1)) for value in truth.sigma]
        record = rs.analyze(held, measures=["rank_numerical"], prove=True, rtol=tolerance, workers=1)["rank_numerical"]
        assert isinstance(record, Record)
        assert record.guarantee == "enclosed"
        assert counted is not None
        assert record.low is not None
        assert record.high is not None
        if not record.low <= counted <= record.high or record.value not in (None, counted):
            wrong.append(f"{index}: {record.value} in [{record.low}, {record.high}] for {counted}")
        narrow += min(relative) < 1e-3
        if min(relative) > 1e-6:
            fair += 1
            decided += record.value is not None
    return wrong, decided, fair, narrow


def test_counts_at_planted_gaps_are_right_and_decided() -> None:
    wrong, decided, fair, narrow = decisions(0, 400)
    assert wrong == []
    assert narrow > 50, "gaps are narrow enough to be hard"
    assert fair > 300
    assert decided >= 0.99 * fair


@pytest.mark.deep
def test_counts_at_thousands_of_planted_gaps_are_right_and_decided() -> None:
    wrong, decided, fair, narrow = decisions(400, 5000)
    print(f"{decided} of {fair} decided, {narrow} gaps below 1e-3, {len(wrong)} wrong")
    assert wrong == []
    assert decided >= 0.99 * fair


def test_counts_at_exact_ties_are_never_wrong() -> None:
    """Blocks a·R and b·R, R the rotation of the triangle 3, 4, 5: values 5a and 5b, at b/a within three floats."""
    random, rotation, open_ones = np.random.default_rng(0), np.array([[3.0, 4.0], [-4.0, 3.0]]), 0
    for _ in range(600):
        large, small = sorted(random.integers(1, 2000, 2).tolist(), reverse=True)
        held = np.zeros((4, 4))
        held[:2, :2], held[2:, 2:] = large * rotation, small * rotation
        tolerance = small / large
        for _ in range(int(random.integers(4))):
            tolerance = math.nextafter(tolerance, float(random.choice([0.0, 1.0])))
        if tolerance >= 1:
            continue
        record = rs.analyze(held[random.permutation(4)], measures=["rank_numerical"], prove=True, rtol=tolerance)
        truth = 4 if small > Fraction(tolerance) * large else 2
        found = record["rank_numerical"]
        assert isinstance(found, Record)
        assert found.low is not None
        assert found.high is not None
        assert found.low <= truth <= found.high
        assert found.value in (None, truth)
        open_ones += found.value is None
    assert open_ones > 400, "a tie within three floats is not for float64 to decide"


def test_counts_at_exact_ties_of_a_diagonal_are_never_wrong() -> None:
    """The tolerance is the float64 number rtol·σ₁, which the record gives: a diagonal has no errors beside it."""
    random, wrong = np.random.default_rng(1), []
    for _ in range(200):
        largest, relative = float(random.uniform(1, 9)), float(random.uniform(0.01, 0.9))
        smaller = relative * largest
        smaller = float(np.nextafter(smaller, smaller * random.integers(0, 3)))
        truth = 2 if smaller > relative * largest else 1
        found = rs.analyze(np.diag([largest, smaller]), measures=["rank_numerical"], prove=True, rtol=relative)
        record = found["rank_numerical"]
        assert isinstance(record, Record)
        if (record.value, record.details["tolerance"]) != (truth, relative * largest):
            wrong.append((largest, smaller, relative, record.value, truth))
    assert wrong == []


def test_energy_ranks_at_exact_ties_of_a_diagonal_are_never_wrong() -> None:
    """Integers whose first squares are exactly nine tenths of all: floats round the sums to either side."""
    ties = [
        values
        for count in (3, 4, 5)
        for values in itertools.combinations_with_replacement(range(11, 0, -1), count)
        if any(10 * sum(x * x for x in values[:r]) == 9 * sum(x * x for x in values) for r in range(1, count))
    ]
    assert len(ties) > 30
    wrong = []
    for values in ties:
        record = rs.analyze(np.diag(np.array(values, dtype=float)), measures=["energy_rank_90"], prove=True)
        found, truth = record["energy_rank_90"], oracles.energy_rank([Fraction(x) for x in values], Fraction(9, 10))
        assert isinstance(found, Record)
        if found.low is None or found.high is None or not found.low <= truth <= found.high:
            wrong.append((values, found.value, truth, found.guarantee))
    assert wrong == []
