"""The laws of random matrices: closed forms against numeric integration, known cases and scipy."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

import rankscope as rs
from rankscope.generators.markov import quarter_circle, weights_of
from rankscope.records import Matrix, Record, Table
from rankscope.report.figures._laws import Law, weight_spread

LAWS = [Law(1.0), Law(2.5), Law(1e-3), Law(1.0, 0.5), Law(3.0, 0.999), Law(0.7, 0.01), Law(2.0, 1 / 64)]


@pytest.mark.parametrize("law", LAWS)
def test_the_density_integrates_to_one_with_the_second_moment(law: Law) -> None:
    low, high = law.edges

    def moment(power: int) -> float:
        # x = low + (high − low)·sin²t takes the square roots at both ends away
        def integrand(t: float) -> float:
            x = low + (high - low) * math.sin(t) ** 2
            return x**power * float(law.density(np.array([x]))[0]) * (high - low) * math.sin(2 * t)

        return float(quad(integrand, 0, math.pi / 2, epsabs=1e-12, epsrel=1e-11, limit=200)[0])

    assert moment(0) == pytest.approx(1, rel=1e-8)
    assert moment(2) == pytest.approx(law.scale**2, rel=1e-8)


@pytest.mark.parametrize("law", LAWS)
def test_the_share_below_is_the_integral_of_the_density(law: Law) -> None:
    low, high = law.edges
    for part in (0.05, 0.3, 0.5, 0.9):
        x = low + part * (high - low)

        def integrand(t: float, x: float = x) -> float:
            y = low + (x - low) * math.sin(t) ** 2
            return float(law.density(np.array([y]))[0]) * (x - low) * math.sin(2 * t)

        integral = quad(integrand, 0, math.pi / 2, epsabs=1e-12, epsrel=1e-11, limit=200)[0]
        assert float(law.below(np.array([x]))[0]) == pytest.approx(integral, abs=1e-8)
    assert law.below(np.array([0.0, low * 0.5, high, 2 * high])) == pytest.approx([0, 0, 1, 1], abs=1e-12)


def test_a_square_has_the_quarter_circle() -> None:
    x = np.linspace(0, 3, 200)
    assert Law(1.3).density(x) == pytest.approx(quarter_circle(x, 1.3), abs=1e-15)
    assert Law(1.3, 1 - 1e-9).density(x[1:]) == pytest.approx(quarter_circle(x[1:], 1.3), abs=1e-6)
    inside = np.linspace(0, 2.599, 50)
    closed = (inside * np.sqrt(4 * 1.69 - inside**2) / 2 + 2 * 1.69 * np.arcsin(inside / 2.6)) / (math.pi * 1.69)
    assert Law(1.3).below(inside) == pytest.approx(closed, abs=1e-12)


@pytest.mark.parametrize("ratio", [1.0, 0.3])
def test_the_distance_is_that_of_scipy(ratio: float) -> None:
    law = Law(1.0, ratio)
    values = np.random.default_rng(0).uniform(0.0, 2.5, 101)
    assert law.distance(values) == pytest.approx(float(kstest(values, law.below).statistic), abs=1e-14)
    assert law.distance(np.array([10.0])) == pytest.approx(1)


def test_random_matrices_follow_it() -> None:
    entries = np.random.default_rng(1).standard_normal((150, 400)) * 0.6 / math.sqrt(400)
    values = np.asarray(np.linalg.svd(entries, compute_uv=False), dtype=np.float64)
    assert Law(0.6, 150 / 400).distance(values) < 0.02
    assert Law(0.6).distance(values) > 0.2


@pytest.mark.parametrize("measure", ["sv_ratio_1_2", "stable_rank"])
def test_the_spread_of_weights_is_read_from_the_limit_of_either_measure(measure: str) -> None:
    result = rs.analyze(rs.synthetic(n=64, ensemble="markov:lognormal:0.5"), measures=[measure])
    assert weight_spread(result.table, result.table.matrices[0]) == pytest.approx(weights_of("lognormal", 0.5).nu)


def test_without_a_limit_the_spread_is_not_known() -> None:
    matrix = Matrix(0, "a", 8, 8)
    assert weight_spread(Table({}, [matrix], [Record(0, "stable_rank", 2.0)], []), matrix) is None
