"""Distances from consensus: closed forms, definitions in numpy, and the nearest row by routes of its own."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from rankscope.analyzer import residual
from rankscope.analyzer.residual import Centre, Distance, NormName, bounded, check_centre, nearest_row
from rankscope.arrays import EPS, Float64
from rankscope.attention.scaled import Scaled, Size
from rankscope.attention.tokens import Tokens
from rankscope.errors import UsageError

X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]])

NAMES: tuple[NormName, ...] = ("frobenius", "l1", "linf", "composite", "spectral")

FEW_ROUNDINGS = 64 * EPS
"""Sums of a few numbers, and the way to a logarithm and back: 10^x has the error ln(10)·|x|·EPS."""

PROGRAM = 1e-9
"""What the solver of linear programs leaves of a residual of size one."""


def drawn(seed: int, n: int = 6, width: int = 3) -> Float64:
    return np.random.default_rng(seed).standard_normal((n, width))


def size(x: Float64, norm: NormName, centre: Centre = "mean") -> float:
    """The absolute distance that is read."""
    found = Distance(Tokens.of(x), centre, absolute=True).reading(norm).value
    assert found is not None
    return float(10.0**found)


def ends(x: Float64, norm: NormName, centre: Centre) -> tuple[float, float]:
    """The bounds of the absolute distance."""
    low, high, _ = Distance(Tokens.of(x), centre).logs(norm)
    return float(10.0**low), float(10.0**high)


def by_numpy(x: Float64, norm: NormName) -> float:
    column, row = np.linalg.norm(x, 1), np.linalg.norm(x, np.inf)
    either = {"l1": column, "linf": row, "composite": np.sqrt(column * row), "spectral": np.linalg.norm(x, 2)}
    return float(either.get(norm, np.linalg.norm(x)))


# ---------------------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize(("norm", "value"), [("l1", 15.0), ("linf", 14.0), ("composite", 14.4913767461894)])
def test_the_norms_of_three_tokens_are_known(norm: NormName, value: float) -> None:
    found = Distance(Tokens.of(X)).reading(norm).details["log10_norm"]
    assert 10.0**found == pytest.approx(value, rel=1e-13)


@pytest.mark.parametrize(
    ("norm", "value"),
    [("l1", 8.0), ("linf", 6.0), ("composite", math.sqrt(48)), ("frobenius", math.sqrt(34))],
)
def test_the_distance_of_three_tokens_from_their_mean_is_known(norm: NormName, value: float) -> None:
    assert size(X, norm) == pytest.approx(value, rel=1e-13)


def test_the_row_nearest_to_three_tokens_in_l1_is_that_of_medians() -> None:
    assert size(X, "l1", "minimiser") == pytest.approx(7.0, rel=1e-12)


def test_the_row_nearest_to_three_tokens_in_linf_solves_a_linear_program() -> None:
    assert size(X, "linf", "minimiser") == pytest.approx(5.5, rel=PROGRAM)


def test_the_row_nearest_to_three_tokens_in_the_composite_norm_is_nearest_in_both() -> None:
    assert size(X, "composite", "minimiser") == pytest.approx(math.sqrt(7 * 5.5), rel=PROGRAM)


# ------------------------------------------------------------------------------------------------------ definitions


@pytest.mark.parametrize("norm", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_distances_from_mean_and_first_are_those_of_numpy(norm: NormName, seed: int) -> None:
    x = drawn(seed)
    assert size(x, norm) == pytest.approx(by_numpy(x - x.mean(axis=0), norm), rel=FEW_ROUNDINGS)
    assert size(x, norm, "first") == pytest.approx(by_numpy(x - x[0], norm), rel=FEW_ROUNDINGS)


@pytest.mark.parametrize("norm", NAMES)
@pytest.mark.parametrize("centre", ["mean", "first"])
def test_a_relative_distance_is_divided_by_the_same_norm_of_the_tokens(norm: NormName, centre: Centre) -> None:
    x = drawn(7)
    found = Distance(Tokens.of(x), centre).reading(norm).value
    assert found is not None
    assert 10.0**found == pytest.approx(size(x, norm, centre) / by_numpy(x, norm), rel=FEW_ROUNDINGS)


@pytest.mark.parametrize("norm", NAMES)
def test_tokens_with_mean_zero_are_at_distance_one(norm: NormName) -> None:
    found = Distance(Tokens.of(np.array([[1.0, -2.0], [-1.0, 2.0]]))).reading(norm)
    assert found.value == 0.0


# ------------------------------------------------------------------------------------------------- the nearest row


@pytest.mark.parametrize("norm", NAMES)
@pytest.mark.parametrize("seed", range(8))
def test_no_row_is_nearer_than_the_nearest(norm: NormName, seed: int) -> None:
    x = drawn(seed)
    random = np.random.default_rng(seed + 100)
    rows = [x.mean(axis=0), *x, *(x.mean(axis=0) + 0.3 * random.standard_normal((40, x.shape[1])))]
    least = ends(x, norm, "minimiser")[0]
    assert all(least <= by_numpy(x - row, norm) * (1 + PROGRAM) for row in rows)


@pytest.mark.parametrize("norm", NAMES)
@pytest.mark.parametrize("seed", [*range(8), 23])
def test_the_nearest_row_is_not_farther_than_the_mean_or_the_first_token(norm: NormName, seed: int) -> None:
    x = drawn(seed)
    most = ends(x, norm, "minimiser")[1]
    assert most <= size(x, norm, "mean") * (1 + PROGRAM)
    assert most <= size(x, norm, "first") * (1 + PROGRAM)


@pytest.mark.parametrize("seed", range(5))
def test_the_composite_distance_lies_between_its_bounds(seed: int) -> None:
    x = drawn(seed, 5, 4)
    low, high = ends(x, "composite", "minimiser")
    assert 0 < low <= high * (1 + FEW_ROUNDINGS)
    found = Distance(Tokens.of(x), "minimiser", absolute=True).reading("composite")
    assert found.low is not None
    assert found.high is not None
    assert 10.0**found.low <= low * (1 + FEW_ROUNDINGS)
    assert 10.0**found.high >= high * (1 - FEW_ROUNDINGS)
    assert (found.value is None) == (math.log10(high / low) > 1e-9)


@pytest.mark.parametrize("norm", ["frobenius", "spectral"])
@pytest.mark.parametrize("seed", range(4))
def test_the_mean_is_nearest_in_the_norms_of_singular_values(norm: NormName, seed: int) -> None:
    x = drawn(seed)
    least = size(x, norm, "minimiser")
    assert least == size(x, norm, "mean")
    for row in (
        x.mean(axis=0) + np.random.default_rng(seed).standard_normal((50, 3)) * 10.0 ** -np.arange(50.0)[:, None]
    ):
        assert least <= by_numpy(x - row, norm) * (1 + FEW_ROUNDINGS)


@pytest.mark.parametrize("seed", range(5))
def test_numbers_are_nearest_to_the_middle_of_their_range(seed: int) -> None:
    x = drawn(seed, 9, 1)
    assert size(x, "linf", "minimiser") == pytest.approx(np.ptp(x) / 2, rel=PROGRAM)


@pytest.mark.parametrize("seed", range(5))
def test_points_of_a_plane_are_nearest_in_linf_to_the_middle_of_a_turned_square(seed: int) -> None:
    """|x| + |y| = max(|x + y|, |x − y|), so that the least ball is half the larger range of x + y and x − y."""
    x = drawn(seed, 9, 2)
    turned = x @ np.array([[1.0, 1.0], [1.0, -1.0]])
    assert size(x, "linf", "minimiser") == pytest.approx(np.ptp(turned, axis=0).max() / 2, rel=PROGRAM)


@pytest.mark.parametrize("seed", range(3))
def test_the_linear_program_agrees_with_the_minimum_of_a_smooth_function(seed: int) -> None:
    """f = max over tokens i and signs s of s·(r_i − x) lies at most μ·log(count) below μ·log Σ exp(s·(r_i − x)/μ)."""
    x = drawn(seed, 5, 3)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))
    row = x.mean(axis=0)
    for mu in (1.0, 0.1, 0.01):

        def smooth(at: Float64, mu: float = mu) -> tuple[float, Float64]:
            terms = ((x - at) @ signs.T).ravel() / mu
            slope = -np.tile(signs, (len(x), 1)).T @ softmax(terms)
            return mu * float(logsumexp(terms)), np.asarray(slope)

        found = minimize(smooth, row, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000})
        row = found.x
    slack = 0.01 * math.log(len(x) * len(signs))
    least = size(x, "linf", "minimiser")
    assert found.fun - slack <= least <= by_numpy(x - row, "linf") * (1 + PROGRAM)


def test_many_numbers_leave_an_interval_that_holds_what_a_linear_program_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [drawn(seed, 8, 4) for seed in range(6)]
    solved = [size(x, "linf", "minimiser") for x in every]
    monkeypatch.setattr(residual, "LARGEST_PROGRAM", 1)
    for x, value in zip(every, solved, strict=True):
        low, high = ends(x, "linf", "minimiser")
        assert 0 < low <= value * (1 + PROGRAM)
        assert value <= high * (1 + PROGRAM)
        found = Distance(Tokens.of(x), "minimiser", absolute=True).reading("linf")
        assert found.value is None
        assert "between" in found.because
        assert found.low is not None
        assert found.high is not None
        assert found.low <= math.log10(value) + PROGRAM
        assert found.high >= math.log10(value) - PROGRAM


def test_the_interval_of_many_numbers_does_not_reach_beyond_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residual, "LARGEST_PROGRAM", 1)
    for seed in range(40):
        x = drawn(seed, 8, 4)
        assert ends(x, "linf", "minimiser")[1] <= size(x, "linf", "mean") * (1 + FEW_ROUNDINGS), seed


def test_the_nearest_row_attains_its_distance() -> None:
    rest = drawn(3)
    least, row = nearest_row(rest)
    assert least == pytest.approx(np.abs(rest - row).sum(axis=1).max(), rel=PROGRAM)


# ---------------------------------------------------------------------------------------------- scales and rounding


@pytest.mark.parametrize("norm", NAMES)
@pytest.mark.parametrize("centre", ["mean", "first", "minimiser"])
@pytest.mark.parametrize("shift", [-5000, 5000])
def test_a_power_of_two_moves_the_absolute_distance_and_leaves_the_relative_one(
    norm: NormName, centre: Centre, shift: int
) -> None:
    tokens = Tokens.of(X)
    mean, rest = tokens.mean, tokens.residual
    moved = Tokens(
        Scaled(mean.values, mean.exponent + shift),
        Scaled(rest.values, rest.exponent + shift),
        tokens.noise * Size.of(1.0, shift),
    )
    roundings = 8 * EPS * abs(shift)
    for absolute, by in ((False, 0.0), (True, shift * math.log10(2))):
        here, there = (Distance(each, centre, absolute).reading(norm).value for each in (tokens, moved))
        assert here is not None
        assert there == pytest.approx(here + by, rel=0, abs=roundings)


def test_a_residual_far_below_float64_is_read_beside_a_mean_of_one() -> None:
    rest = Scaled.of(np.array([[3.0, 0.0], [-3.0, 0.0]]), -5000)
    found = Distance(Tokens(Scaled.of(np.array([[0.0, 1.0]])), rest)).reading("frobenius")
    truth = math.log10(3) - 5000 * math.log10(2)
    assert found.value == pytest.approx(truth, rel=0, abs=8 * EPS * 5000)
    assert found.low is not None
    assert found.high is not None
    assert found.low < truth < found.high


def test_a_small_error_becomes_an_interval() -> None:
    found = bounded(-3.0, 1e-6, "a method")
    assert found.value == -3.0
    assert found.low == pytest.approx(-3 - 4e-6 / math.log(10), rel=1e-12)
    assert found.high == pytest.approx(-3 + 4e-6 / math.log(10), rel=1e-12)
    assert found.guarantee == "estimated"


@pytest.mark.parametrize("error", [0.07, 1.0, 1e10, 1e300])
def test_what_is_lost_leaves_a_bound(error: float) -> None:
    found = bounded(-3.0, error, "a method", lost=True)
    assert found.value is None
    assert "lost to rounding" in found.because
    assert found.low is None
    assert found.high is not None
    assert found.high >= -3 + math.log10(1 + 4 * min(error, 1e14))


@pytest.mark.parametrize("error", [0.07, 1.0, 1e10])
def test_an_error_that_has_grown_is_one_of_the_logarithm(error: float) -> None:
    slack = 4 * error / math.log(10)
    found = bounded(-3.0, error, "a method")
    assert found.value is None
    assert "have grown" in found.because
    ends = (found.low, found.high)
    assert ends == (None, None) if slack >= 3 else ends == pytest.approx((-3 - slack, -3 + slack), rel=1e-9)
    far = bounded(-1e5 * slack, error, "a method")
    assert far.value == -1e5 * slack  # known to a part in 10⁵
    assert far.high is not None
    assert far.high == pytest.approx(-1e5 * slack + slack, rel=1e-9)


def test_tokens_that_are_lost_have_no_residual_but_a_bound() -> None:
    tokens = Tokens.of(X)
    found = Distance(Tokens(tokens.mean, tokens.residual, tokens.residual.size, lost=True), absolute=True).reading(
        "frobenius"
    )
    assert found.value is None
    assert found.because
    assert found.high == pytest.approx(math.log10(math.sqrt(34) * 5), abs=FEW_ROUNDINGS)


@pytest.mark.parametrize("norm", NAMES)
@pytest.mark.parametrize("centre", ["mean", "first", "minimiser"])
def test_equal_tokens_have_no_logarithm(norm: NormName, centre: Centre) -> None:
    found = Distance(Tokens.of(np.ones((3, 2))), centre).reading(norm)
    assert (found.value, found.because) == (None, "zero: all tokens are equal")
    nothing = Distance(Tokens.of(np.zeros((3, 2))), centre).reading(norm)
    assert (nothing.value, nothing.because) == (None, "all tokens are zero")


def test_an_unknown_centre_is_refused() -> None:
    for centre in ("mean", "first", "minimiser"):
        check_centre(centre)
    with pytest.raises(UsageError, match="RS001") as refused:
        check_centre("minimizer")
    assert "minimiser" in refused.value.remedy
