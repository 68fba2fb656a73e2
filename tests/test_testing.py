"""The batteries themselves: each passes what is right, and fails on everything that is wrong in its own way."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.analyzer.measure import MEASURES, Measure
from rankscope.analyzer.rows import Rows
from rankscope.analyzer.spectrum import Spectrum
from rankscope.attention.kernels import FeatureKernel, Kernel, ScoreKernel
from rankscope.attention.masks import Mask, causal
from rankscope.errors import RankscopeError
from rankscope.records import Reading
from rankscope.testing import check_kernel, check_mask, check_measure
from rankscope.testing.masks import closure, leibniz
from rankscope.testing.measures import matrices
from tests.oracles import rational

CAUGHT = (AssertionError, RankscopeError)
"""A battery says what is broken and where: by its own assertion, or by an error with a code that names the entry."""


@pytest.fixture(autouse=True)
def only_ours() -> Iterator[None]:
    before = dict(MEASURES.entries)
    yield
    MEASURES.entries.clear()
    MEASURES.entries.update(before)


def test_the_batteries_are_public() -> None:
    assert rs.testing.check_mask is check_mask
    check_mask(causal())


# ---------------------------------------- masks

WRONG_MASKS = {
    "a false fact: upper": Mask("wrong", lambda q, k: k <= q, frozenset({"upper"})),
    "a false fact: diagonal": Mask("wrong", lambda q, k: k < q, frozenset({"lower", "diagonal"})),
    "a false fact: everything": Mask("wrong", lambda q, k: k <= q, frozenset({"everything"})),
    "a fact that is false at n = 7 only": Mask(
        "wrong", lambda q, k: (k <= q) | ((q == 5) & (k == 6)), frozenset({"lower"})
    ),
    "other answers for arrays": Mask("wrong", lambda q, k: (k <= q) if isinstance(q, int) else (k >= q)),
    "other answers for one pair of integers": Mask(
        "wrong", lambda q, k: not (k <= q) if isinstance(q, int) and (q, k) == (4, 2) else k <= q
    ),
    "numbers for answers": Mask("wrong", lambda q, k: q - k),
    "`and`, which arrays do not have": Mask("wrong", lambda q, k: k <= q and q - k < 2),
    "answers that change": Mask("wrong", lambda q, k: np.random.default_rng().random(np.shape(q - k)) < 0.5),
    "a fact that does not exist": Mask("wrong", lambda q, k: k <= q, frozenset({"triangular"})),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG_MASKS)
def test_a_wrong_mask_is_caught(name: str) -> None:
    with pytest.raises(CAUGHT, match="wrong"):
        check_mask(WRONG_MASKS[name])


@pytest.mark.parametrize("fact", ["lower", "upper", "diagonal", "everything"])
def test_every_false_fact_is_caught(fact: Any) -> None:
    """Of a mask of which none holds."""
    odd = Mask("odd", lambda q, k: (q + k) % 2 == 1)
    check_mask(odd)
    with pytest.raises(AssertionError, match=f"claims '{fact}'"):
        check_mask(Mask("odd", odd.allows, frozenset({fact})))


def test_a_broken_derivation_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the mask, but what is derived from it: every index a block of its own."""
    from rankscope.attention import structure

    monkeypatch.setattr(structure, "components", lambda pattern: np.arange(len(pattern)))
    with pytest.raises(AssertionError, match=r"wrong blocks|do not give the determinant|not the definition"):
        check_mask(Mask("band", lambda q, k: (q - k < 2) & (k - q < 2)))


# ---------------------------------------- kernels

WRONG_KERNELS: dict[str, Kernel] = {
    "weights that depend on other rows": ScoreKernel("wrong", lambda s: s - s.max(axis=0, keepdims=True)),
    "weights that depend on the order of keys": ScoreKernel("wrong", lambda s: s + np.arange(s.shape[1])),
    "a shift that softmax hides, by the matrix": ScoreKernel("wrong", lambda s: s - s.max()),
    "another shape": ScoreKernel("wrong", lambda s: s.sum(axis=1, keepdims=True)),
    "no weights at all": ScoreKernel("wrong", lambda s: s * np.nan),
    "features that depend on other tokens": FeatureKernel("wrong", lambda x, i, place: np.exp(x - x.max(axis=0))),
    "features of another shape": FeatureKernel("wrong", lambda x, i, place: np.exp(x)[:, :, None]),
    "features that lose a token": FeatureKernel(
        "wrong", lambda x, i, place: np.exp(x)[:-1] if len(x) > 1 else np.exp(x)
    ),
    "features that change": FeatureKernel(
        "wrong", lambda x, i, place: np.exp(x) + np.random.default_rng().random(x.shape)
    ),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # wrong kernels may warn before they are caught
@pytest.mark.parametrize("name", WRONG_KERNELS)
def test_a_wrong_kernel_is_caught(name: str) -> None:
    with pytest.raises(CAUGHT, match="wrong"):
        check_kernel(WRONG_KERNELS[name])


def test_a_broken_holding_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the kernel, but what is made of it."""
    from rankscope.attention import naive, softmax

    real = np.exp
    check_kernel(ScoreKernel("softmax"))
    with monkeypatch.context() as patch:
        patch.setattr(softmax.np, "exp", lambda x: real(x) * (1 + 1e-12 * (np.asarray(x) == 0)))  # type: ignore[attr-defined]
        patch.setattr(naive.math, "exp", lambda x: 1.0)  # type: ignore[attr-defined]
        with pytest.raises(AssertionError):
            check_mask(causal())


# ---------------------------------------- measures


def registered(function: Callable[..., Any]) -> Measure:
    function.__doc__ = "A measure of the tests."
    return rs.measure(function)


def test_a_right_measure_passes() -> None:
    def frobenius(spectrum: Spectrum) -> Reading:
        return Reading(1.0, low=0.5, high=2.0)

    check_measure(registered(frobenius))


def wrong_measures() -> dict[str, Callable[..., Any]]:
    def not_a_number(spectrum: Spectrum) -> float:
        return float("nan")

    def infinite_sometimes(rows: Rows) -> float:
        return float("inf") if rows.weights.shape == (6, 6) else 1.0

    def silent(rows: Rows) -> Reading:
        return Reading(None)

    def above_its_bound(rows: Rows) -> Reading:
        return Reading(1.0, low=0.0, high=0.5)

    def below_its_bound(rows: Rows) -> Reading:
        return Reading(1.0, low=1.5, high=2.0)

    def restless(rows: Rows) -> float:
        return float(np.random.default_rng().random())

    def divides(rows: Rows) -> float:
        return 1.0 / len(rows.weights)

    def no_data(rows: Rows) -> Reading:
        return Reading(1.0, details={"weights": rows.weights})

    return {
        each.__name__: each
        for each in (
            not_a_number,
            infinite_sometimes,
            silent,
            above_its_bound,
            below_its_bound,
            restless,
            divides,
            no_data,
        )
    }


@pytest.mark.parametrize("name", wrong_measures())
def test_a_wrong_measure_is_caught(name: str) -> None:
    with pytest.raises(CAUGHT, match=name):
        check_measure(registered(wrong_measures()[name]))


def test_the_battery_meets_every_kind_of_matrix() -> None:
    given = dict(matrices())
    assert {"empty", "zero", "rectangular", "huge", "subnormal", "signed", "lower", "causal", "linear"} <= set(given)


# ---------------------------------------- their own oracles


def test_the_sum_over_permutations_is_the_determinant() -> None:
    random = np.random.default_rng(0)
    for size in range(6):
        numbers = random.integers(-9, 10, (size, size))
        assert leibniz(numbers) == (int(rational(numbers.astype(float)).det()) if size else 1)


def test_the_closure_is_reachability() -> None:
    random = np.random.default_rng(1)
    for size in range(1, 7):
        seen = random.random((size, size)) < 0.3
        power = np.linalg.matrix_power((seen | np.eye(size, dtype=bool)).astype(object), size)
        assert np.array_equal(closure(seen), power > 0)
