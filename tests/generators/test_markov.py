"""Random Markov matrices: the constants by quadrature, exact laws of Dirichlet rows, and the limits that records show.

Rows of independent Gamma weights of shape k, divided by their sum, have the Dirichlet law with all parameters k:
E Σ_j a_ij² = (k + 1)/(nk + 1) and E of the row entropy = ψ(nk + 1) − ψ(k + 1) for every n, whatever is random.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import mpmath
import numpy as np
import pytest

import rankscope as rs
from rankscope.analyzer.analyze import measures
from rankscope.attention.operators import Operator
from rankscope.generators.ensembles import ENSEMBLES
from rankscope.generators.markov import BULK_MEAN, BULK_RANK, digamma, limits, quarter_circle, weights_of
from rankscope.records import Record
from tests.oracles import EPS, Float64
from tests.process import strict_json, violations

LAWS: Final[dict[tuple[str, float], Callable[[Any], Any]]] = {
    ("exponential", 1.0): lambda x: mpmath.exp(-x),
    ("gamma", 0.5): lambda x: x ** (-0.5) * mpmath.exp(-x) / mpmath.gamma(0.5),
    ("gamma", 2.0): lambda x: x * mpmath.exp(-x),
    ("gamma", 7.3): lambda x: x ** mpmath.mpf("6.3") * mpmath.exp(-x) / mpmath.gamma(mpmath.mpf("7.3")),
    ("lognormal", 0.5): lambda x: mpmath.exp(-2 * mpmath.log(x) ** 2) / (x * mpmath.sqrt(mpmath.pi / 2)),
    ("lognormal", 1.5): lambda x: mpmath.exp(-(mpmath.log(x) ** 2) / 4.5) / (x * mpmath.sqrt(4.5 * mpmath.pi)),
}
"""Densities of the weights, written out."""


def integral(function: Callable[[Any], Any]) -> float:
    """Over the positive numbers, by substitution x = e^t and tanh-sinh quadrature."""
    with mpmath.workdps(30):
        points = [-200, -20, -4, -1, 0, 1, 2, 4, 8, 30]
        found = mpmath.quad(lambda t: function(mpmath.exp(t)) * mpmath.exp(t), points, maxdegree=9)
    return float(found)


def over_the_circle(function: Callable[[Any], Any], nu: float = 1.0) -> float:
    """The mean of a function under the density of this module."""

    def weighted(x: Any) -> Any:
        return function(x) * mpmath.mpf(float(quarter_circle(np.array([float(x)]), nu)[0]))

    return float(mpmath.quad(weighted, [0, nu, 2 * nu]))


def random_matrix(weights: str, n: int, seed: int = 0) -> Operator:
    made = rs.synthetic(n=n, ensemble=f"markov:{weights}", seed=seed)
    assert not isinstance(made, list)
    return made


@cache
def values_of(weights: str, n: int, seed: int = 0) -> Float64:
    found: Float64 = rs.singular_values(random_matrix(weights, n, seed))
    return found


def value(operator: Operator, name: str) -> float:
    found = rs.analyze(operator, measures=name)[name]
    assert isinstance(found, Record)
    assert found.value is not None
    return float(found.value)


# ------------------------------------------------------------------------------------------------------ the constants


@pytest.mark.parametrize("nu", [0.5, 1.0, 3.0])
def test_the_quarter_circle_is_a_law_of_second_moment_nu_squared_and_mean_8_nu_over_3_pi(nu: float) -> None:
    """The density is computed in float64, and its root loses half of the digits at the end alone."""
    moments = (1.0, nu * BULK_MEAN, nu**2)
    for power, truth in enumerate(moments):
        assert over_the_circle(lambda x, power=power: x**power, nu) == pytest.approx(truth, rel=1e-12, abs=0)  # type: ignore[misc]
    assert pytest.approx(8 / (3 * math.pi), rel=EPS, abs=0) == BULK_MEAN


def test_the_quarter_circle_is_zero_outside() -> None:
    assert quarter_circle(np.array([-1.0, -1e-300, 6.0, 6.1, 1e200**0.5]), 3.0).tolist() == [0.0] * 5
    assert quarter_circle(np.array([0.0, 5.999]), 3.0).min() > 0


def test_the_constant_of_the_effective_rank_is_the_entropy_of_the_quarter_circle() -> None:
    """m·exp(−E[x ln x]/m) with the mean m, for ν = 1."""
    entropy = over_the_circle(lambda x: x * mpmath.log(x) if x > 0 else mpmath.mpf(0))
    assert pytest.approx(BULK_MEAN * math.exp(-entropy / BULK_MEAN), rel=1e-12, abs=0) == BULK_RANK
    assert pytest.approx(0.80504, rel=0, abs=5e-6) == BULK_RANK


@pytest.mark.parametrize("nu", [0.5, 1.0, 2.0])
def test_the_limit_of_the_determinant_is_the_mean_logarithm_of_the_quarter_circle(nu: float) -> None:
    """Σ ln σ_i = n·(E ln x − ½ ln n), where the value 1 beside the bulk adds nothing."""
    mean = over_the_circle(lambda x: mpmath.log(x) if x > 0 else mpmath.mpf(0), nu)
    weights = weights_of("gamma", 1 / nu**2)
    for n in (20, 100):
        truth = n * (mean - math.log(n) / 2)
        assert limits(weights, n)["logdet"].value == pytest.approx(truth, rel=1e-11, abs=1e-11 * n)


@pytest.mark.parametrize(("name", "parameter"), LAWS)
def test_weights_have_this_spread_and_this_divergence(name: str, parameter: float) -> None:
    """ν² = E X²/m² − 1, and E[X ln X]/m − ln m, by quadrature of the density."""
    density, made = LAWS[name, parameter], weights_of(name, parameter)
    whole, mean, square, spread = (
        integral(lambda x, f=f: f(x) * density(x))  # type: ignore[misc]
        for f in (lambda x: 1, lambda x: x, lambda x: x * x, lambda x: x * mpmath.log(x))
    )
    assert whole == pytest.approx(1, rel=1e-12, abs=0)
    assert made.nu**2 == pytest.approx(square / mean**2 - 1, rel=1e-12, abs=0)
    assert made.divergence == pytest.approx(spread / mean - math.log(mean), rel=1e-11, abs=1e-13)


def test_digamma_is_that_of_mpmath() -> None:
    """The series stops at 1/240x⁸, with an error below the next term, 1/132x¹⁰ at x = 10; the rest is rounding."""
    for x in (1e-6, 1e-3, 0.1, 0.5, 1.0, 1.4616321449683623, 2.0, 3.7, 9.99, 10.0, 11.5, 100.0, 1e6, 1e15):
        truth = float(mpmath.digamma(x))
        assert abs(digamma(x) - truth) <= 1 / (132 * 10.0**10) + 16 * EPS * (1 + abs(truth)), x


# ---------------------------------------------------------------------------------------------------------- the draws


@pytest.mark.parametrize(("name", "parameter"), LAWS)
def test_weights_are_drawn_from_their_density(name: str, parameter: float) -> None:
    """The distribution function at five points: p ± 5·√(p(1 − p)/N)."""
    density, count = LAWS[name, parameter], 40000
    logs = weights_of(name, parameter).logs(np.random.default_rng(1), (200, 200))
    assert logs.shape == (200, 200)
    for edge in (0.05, 0.3, 0.8, 1.5, 4.0):
        with mpmath.workdps(20):
            points = [-200, -20, -4, math.log(edge)] if math.log(edge) > -4 else [-200, -20, math.log(edge)]
            share = float(mpmath.quad(lambda t: density(mpmath.exp(t)) * mpmath.exp(t), points, maxdegree=9))
        found = np.count_nonzero(logs <= math.log(edge)) / count
        assert abs(found - share) <= 5 * math.sqrt(share * (1 - share) / count) + 1e-12, edge


def test_layer_0_head_0_is_the_plain_generator() -> None:
    random = np.random.default_rng(7)
    weights = random.standard_exponential((6, 6))
    made = rs.synthetic(n=6, ensemble="markov", seed=7, heads=2)
    assert isinstance(made, list)
    truth = weights / weights.sum(axis=1, keepdims=True)
    assert np.allclose(made[0].matrix, truth, rtol=64 * EPS, atol=0)
    assert not np.allclose(made[1].matrix, truth, rtol=0.1, atol=0)


@pytest.mark.parametrize("shape", [0.01, 0.5, 1.0, 2.0, 30.0])
@pytest.mark.parametrize("n", [3, 200])
def test_gamma_rows_have_the_moments_of_the_dirichlet_law(shape: float, n: int) -> None:
    """Exactly, for small n too, and for shapes whose weights underflow: mean over rows ± 5 standard errors."""
    rows = 4000
    logs = weights_of("gamma", shape).logs(np.random.default_rng(n), (rows, n))
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    matrix = weights / weights.sum(axis=1, keepdims=True)
    squares = (matrix**2).sum(axis=1)
    entropies = -(matrix * np.log(np.where(matrix > 0, matrix, 1.0))).sum(axis=1)
    with mpmath.workdps(20):
        entropy = float(mpmath.digamma(n * shape + 1) - mpmath.digamma(shape + 1))
    for found, truth in ((squares, (shape + 1) / (n * shape + 1)), (entropies, entropy)):
        assert abs(found.mean() - truth) < 5 * found.std() / math.sqrt(rows), shape
    assert abs(matrix[:, 0].mean() - 1 / n) < 5 * matrix[:, 0].std() / math.sqrt(rows)


@pytest.mark.parametrize("parameter", [0.25, 1.0])
def test_lognormal_weights_are_the_softmax_of_normal_scores(parameter: float) -> None:
    scores = parameter * np.random.default_rng(2).standard_normal((9, 9))
    weights = np.exp(scores)
    found = random_matrix(f"lognormal:{parameter}", 9, 2).matrix
    assert np.allclose(found, weights / weights.sum(axis=1, keepdims=True), rtol=64 * EPS, atol=0)


# ------------------------------------------------------------------------------------------------------------- oracles


def test_oracle_p24_exponential_weights() -> None:
    values = values_of("exponential", 1024)
    measured = values[1] * math.sqrt(1024) / 2, math.fsum(values**2), math.fsum(values)
    nuclear = 1 + 8 * math.sqrt(1024) / (3 * math.pi)
    assert nuclear == pytest.approx(28.162, abs=5e-4)
    assert measured == pytest.approx((1.0012, 2.0009, 28.151), abs=6e-4)
    assert measured == pytest.approx((1, 2, nuclear), rel=0.02)


def test_oracle_p25_normal_scores_of_variance_one_quarter() -> None:
    found = [
        (value(made, "stable_rank"), value(made, "row_entropy"), values_of("lognormal:0.5", 512, seed)[1])
        for seed in range(3)
        for made in [random_matrix("lognormal:0.5", 512, seed)]
    ]
    stable, entropy, second = np.mean(found, axis=0)
    nu = math.sqrt(math.expm1(0.25))
    edge = second * math.sqrt(512) / (2 * nu)
    assert (stable, entropy, edge) == pytest.approx((1.282, 6.1138, 0.993), abs=6e-4)
    assert stable == pytest.approx(math.exp(0.25), rel=0.01)
    assert entropy == pytest.approx(math.log(512) - 0.125, rel=0.001)
    assert edge == pytest.approx(1, rel=0.03)


def distance_from_the_circle(values: Float64, nu: float) -> float:
    """Kolmogorov's, of all values but the first; the distribution function is (y√(1 − y²) + arcsin y)·2/π, y = x/2ν."""
    n = len(values)
    y = np.clip(np.sort(values[1:]) * math.sqrt(n) / (2 * nu), 0, 1)
    law = 2 / math.pi * (y * np.sqrt(1 - y**2) + np.arcsin(y))
    steps = np.arange(n) / (n - 1)
    return float(max((steps[1:] - law).max(), (law - steps[:-1]).max()))


def test_the_distribution_function_belongs_to_the_density() -> None:
    for x in (0.3, 1.0, 1.7, 2.0):
        share = float(mpmath.quad(lambda t: float(quarter_circle(np.array([float(t)]), 1.0)[0]), [0, x]))
        y = x / 2
        assert share == pytest.approx(2 / math.pi * (y * math.sqrt(1 - y * y) + math.asin(y)), rel=1e-9)


@pytest.mark.parametrize(("weights", "nu"), [("exponential", 1.0), ("gamma:2", math.sqrt(0.5))])
def test_singular_values_tend_to_the_quarter_circle(weights: str, nu: float) -> None:
    """Four times as many are less than half as far away; a circle of another radius by 3 % is not approached."""
    near, far = (distance_from_the_circle(values_of(weights, n), nu) for n in (1024, 256))
    assert near < far / 2
    assert far < 1 / math.sqrt(256)
    for wrong in (0.97, 1.03):
        assert distance_from_the_circle(values_of(weights, 1024), wrong * nu) > 2 * near


# -------------------------------------------------------------------------------------------------------- the limits

LAWS_OF_LIMITS = ["exponential", "gamma:2", "gamma:0.5", "lognormal:0.5"]


@pytest.mark.parametrize("weights", LAWS_OF_LIMITS)
def test_records_hold_the_limit_of_their_measure_and_come_near_it(weights: str) -> None:
    """At n = 256 within 5 %: the share of the value 1 beside the bulk and of the fluctuations of both."""
    result = rs.analyze(random_matrix(weights, 256), measures="all")
    made = ENSEMBLES.build(f"markov:{weights}")
    expected = limits(weights_of(*made.weights), 256)
    found = {record.measure: record for record in result.table if "limit" in record.details}
    assert set(found) == set(expected)
    for name, record in found.items():
        assert record.details["limit"] == expected[name].value
        assert record.details["limit_formula"] == expected[name].formula
        assert record.value == pytest.approx(expected[name].value, rel=0.05), name
    assert violations(strict_json(result.to_json())) == []


def test_limits_come_nearer_as_matrices_grow() -> None:
    """Of exponential weights, for which nothing but n matters; the sum of all relative distances."""
    away = []
    for n in (32, 128, 512):
        law, total = limits(weights_of("exponential", 1.0), n), 0.0
        for name, limit in law.items():
            seeds = range(max(1, 512 // n))
            mean = math.fsum(value(random_matrix("exponential", n, s), name) for s in seeds) / len(seeds)
            total += abs(mean / limit.value - 1)
        away.append(total)
    assert away[0] > 1.5 * away[1] > 2.25 * away[2]


@pytest.mark.parametrize("weights", LAWS_OF_LIMITS)
@pytest.mark.parametrize("n", [20, 100, 10**6])
def test_limits_are_the_formulas_of_the_theorem(weights: str, n: int) -> None:
    """Written out from the singular values 1 and √(n)·x of the circle, with n·E standing for the sum."""
    made = weights_of(*ENSEMBLES.build(f"markov:{weights}").weights)
    found = {name: limit.value for name, limit in limits(made, n).items()}
    nu, root = made.nu, math.sqrt(n)
    total = 1 + root * nu * 8 / (3 * math.pi)
    with mpmath.workdps(20):  # E[x ln x]/m of the circle, by the Beta integral
        circle = mpmath.log(2) + (mpmath.digamma(1) - mpmath.digamma(mpmath.mpf(5) / 2)) / 2
    # Σ σ ln σ over σ = νx/√n: (√n·ν·m)·(E[x ln x]/m + ln ν − ½ ln n)
    weighted = (total - 1) * (float(circle) + math.log(nu) - math.log(n) / 2)
    truth = {
        "sigma_max": 1.0,
        "sv_ratio_1_2": root / (2 * nu),
        "stable_rank": 1 + nu**2,
        "nuclear_rank": total,
        "participation_ratio": total**2 / (1 + nu**2),
        "effective_rank": math.exp(math.log(total) - weighted / total),
        "logdet": n * (math.log(nu) - 0.5 - math.log(n) / 2),
        "row_entropy": math.log(n) - made.divergence,
        "row_entropy_normalized": 1 - made.divergence / math.log(n),
    }
    assert found == pytest.approx(truth, rel=1e-12, abs=1e-12)


def test_limits_are_of_measures() -> None:
    """A limit of a measure that does not exist would never be shown."""
    assert set(limits(weights_of("exponential", 1.0), 99)) <= set(measures().names())


@pytest.mark.parametrize(
    ("weights", "n"),
    [
        (("exponential", 1.0), 1),
        (("exponential", 1.0), 4),
        (("gamma", 0.01), 400),
        (("lognormal", 27.0), 10**6),
        (("lognormal", 1e3), 9),
    ],
)
def test_there_is_no_limit_where_the_bulk_would_reach_the_value_one(weights: tuple[str, float], n: int) -> None:
    """It ends at 2ν/√n; with infinite variance it does not end at all."""
    made = weights_of(*weights)
    assert 2 * made.nu / math.sqrt(n) >= 1
    assert limits(made, n) == {}
    assert limits(weights_of("exponential", 1.0), 20) != {}


def test_there_is_no_limit_of_one_number() -> None:
    """Whose row has no entropy that could be divided by ln 1."""
    assert limits(weights_of("gamma", 8.0), 1) == {}


def test_a_spread_that_no_float_can_square_is_still_one() -> None:
    assert weights_of("lognormal", 1e200).nu == math.inf


@pytest.mark.parametrize(
    "options",
    [
        {"mask": "causal"},
        {"mask": "window:9"},
        {"kernel": "sigmoid"},
        {"kernel": "tempered:2"},
        {"position": "alibi"},
        {"position": "t5"},
        {"scale": 0.5},
        {"queries": 7},
        {"ensemble": "gaussian"},
        {"ensemble": "tokens"},
    ],
)
def test_only_square_softmax_of_everything_has_limits(options: dict[str, Any]) -> None:
    plain = {"n": 40, "d": 4, "ensemble": "markov"}
    made = rs.analyze(rs.synthetic(**{**plain, **options}), measures="all").table
    assert not [record.measure for record in made if {"limit", "limit_formula"} & record.details.keys()]
    assert [record for record in rs.analyze(rs.synthetic(**plain)).table if "limit" in record.details]  # type: ignore[arg-type]


def test_every_head_has_limits_and_no_composition_has() -> None:
    made = rs.synthetic(n=40, ensemble="markov", heads=2, layers=2)
    assert isinstance(made, list)
    assert [bool(each.origin.limits) for each in made] == [not each.origin.over for each in made]
    assert {each.origin.over for each in made} == {None, "heads-mean", "heads-concatenated", "layers-product"}
