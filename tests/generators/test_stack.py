"""Layers × heads, their means and their product: the right matrices, in the right order, made only when asked for."""

import math
from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.operators import Mean, Operator, Product
from rankscope.errors import RankscopeError
from rankscope.generators.stack import Synthetic
from tests.oracles import UNIT, Float64

PLACES = [("heads", 1, 2), ("alternating-heads", 1, 4), ("layers", 2, 1), ("heads", 2, 2), ("layers", 3, 2)]


def made(**options: Any) -> list[Operator]:
    found = rs.synthetic(**{"n": 6, "d": 4, **options})
    return found if isinstance(found, list) else [found]


def held(operator: Operator) -> Float64:
    return np.asarray(operator.matrix)


def test_one_head_of_one_layer_is_one_matrix() -> None:
    """And a script in plain numpy makes it too."""
    rng = np.random.default_rng(7)
    q, k = rng.standard_normal((6, 4)), rng.standard_normal((6, 4))
    weights = np.exp(2.0 * q @ k.T / math.sqrt(4))
    (operator,) = made(seed=7, scale=2.0)
    assert np.allclose(operator.matrix, weights / weights.sum(axis=1, keepdims=True), rtol=64 * UNIT, atol=0)
    assert (operator.origin.layer, operator.origin.head, operator.origin.over) == (None, None, None)
    assert operator.origin.seed == 7


@pytest.mark.parametrize(("plan", "layers", "heads"), PLACES)
def test_a_stack_is_its_heads_then_the_means_then_the_product(plan: str, layers: int, heads: int) -> None:
    found = made(plan=plan, layers=layers, heads=heads)
    places = [(layer, head, None) for layer in range(layers) for head in range(heads)]
    if heads > 1:
        both = ("heads-mean", "heads-concatenated")
        places += [(layer, None, over) for layer in range(layers) for over in both]  # type: ignore[misc]
    if layers > 1:
        places += [(None, None, "layers-product")]  # type: ignore[list-item]
    assert [(each.origin.layer, each.origin.head, each.origin.over) for each in found] == places
    assert all(each.origin.plan == plan for each in found)


@pytest.mark.parametrize(("plan", "layers", "heads"), PLACES)
def test_every_head_stands_on_the_side_that_its_plan_says(plan: str, layers: int, heads: int) -> None:
    found = made(plan=plan, layers=layers, heads=heads)[: layers * heads]
    for operator in found:
        forward = {
            "heads": (operator.origin.head or 0) < heads / 2,
            "alternating-heads": (operator.origin.head or 0) % 2 == 0,
            "layers": (operator.origin.layer or 0) % 2 == 0,
        }[plan]
        assert operator.structure.side.value == ("lower" if forward else "upper")
        assert operator.origin.mask == ("causal" if forward else "anticausal")
        assert (held(operator)[np.triu_indices(6, 1) if forward else np.tril_indices(6, -1)] == 0).all()
        assert rs.logdet(operator).sign == 1
        assert rs.rank_exact(operator).value == 6


@pytest.mark.parametrize(("plan", "layers", "heads"), [*PLACES, ("uniform", 2, 3)])
def test_means_and_products_are_made_of_the_heads(plan: str, layers: int, heads: int) -> None:
    found = made(plan=plan, layers=layers, heads=heads)
    by_layer = [
        np.mean([held(found[layer * heads + head]) for head in range(heads)], axis=0) for layer in range(layers)
    ]
    means = [each for each in found if isinstance(each, Mean)]
    for mean, expected in zip(means, by_layer, strict=False):
        assert np.allclose(mean.matrix, expected, rtol=16 * UNIT, atol=0)
    product = np.eye(6)
    for each in by_layer:
        product = each @ product  # A_{L−1} … A_0: a token meets layer 0 first
    if layers > 1:
        assert isinstance(found[-1], Product)
        assert np.allclose(found[-1].matrix, product, rtol=64 * UNIT, atol=0)
    assert len(means) == (layers if heads > 1 else 0)


def test_the_product_of_alternating_layers_has_the_sum_of_their_logarithms() -> None:
    found = made(n=40, plan="layers", layers=4)
    product = rs.logdet(found[-1])
    logs = [rs.logdet(each).log_abs for each in found[:4]]
    assert (product.sign, product.guarantee) == (1, "proved")
    assert product.log_abs == pytest.approx(math.fsum(log for log in logs if log is not None), rel=8 * UNIT, abs=0)
    exact = rs.rank_exact(found[-1])
    assert (exact.value, exact.guarantee) == (40, "proved")


def test_the_mean_of_both_directions_has_no_proved_sign() -> None:
    mean = made(plan="heads", heads=2)[-2]
    assert mean.structure.det_sign.value is None
    assert rs.logdet(mean).guarantee == "estimated"
    assert rs.rank_exact(mean).value is None


def digests(**options: Any) -> dict[tuple[int, int], str | None]:
    found = made(**options)
    return {
        (each.origin.layer or 0, each.origin.head or 0): each.origin.digest for each in found if not each.origin.over
    }


def test_adding_heads_or_layers_changes_no_other_head() -> None:
    """numerics.md promise 14: a matrix depends on its own place, and on nothing beside it."""
    one = digests(mask="causal")
    several = digests(mask="causal", heads=3)
    many = digests(mask="causal", heads=5, layers=4)
    assert one == {(0, 0): several[0, 0]}
    assert several.items() <= many.items()
    assert len(set(many.values())) == len(many)


def test_masks_kernels_and_plans_are_compared_on_the_same_tokens() -> None:
    expected = digests(mask="causal", heads=2, layers=2)
    assert digests(mask="bidirectional", heads=2, layers=2) == expected
    assert digests(plan="heads", heads=2, layers=2) == expected
    assert digests(kernel="linear", heads=2, layers=2, dtype="float32") == expected
    assert digests(mask="causal", heads=2, layers=2, seed=1) != expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_compositions_of_rounded_matrices_are_made_of_what_is_stored(dtype: str) -> None:
    found = made(plan="layers", layers=2, dtype=dtype)
    assert [each.subject for each in found] == ["scores", "scores", "stored"]
    assert np.allclose(found[2].matrix, held(found[1]) @ held(found[0]), rtol=16 * UNIT, atol=0)
    assert found[2].storage.name == dtype


def test_nothing_is_made_before_it_is_asked_for() -> None:
    """A thousand heads of a size that no machine holds: the list of jobs is immediate."""
    jobs = list(Synthetic(n=10**6, d=64, mask="causal", heads=10, layers=100).jobs())
    assert len(jobs) == 10 * 100 + 2 * 100 + 1
    assert {job.shape for job in jobs} == {(10**6, 10**6), (10**6, 10**7)}
    with pytest.raises(RankscopeError, match="RS301"):
        jobs[0].make()
    with pytest.raises(RankscopeError, match="RS301"):
        jobs[-1].make()


def test_what_is_known_beforehand_is_what_is_made() -> None:
    for job in Synthetic(n=5, d=3, plan="heads", heads=2, layers=2).jobs():
        operator = job.make()
        assert operator.shape == job.shape
        for name in ("label", "layer", "head", "over", "seed", "mask", "plan", "scale", "dtype", "d"):
            assert getattr(operator.origin, name) == getattr(job.origin, name), name


def test_a_head_is_the_attention_of_its_queries_and_keys() -> None:
    from rankscope.generators.synthetic import queries_and_keys

    found = made(heads=2, layers=2, mask="window:2", scale=0.5, kernel="linear:exp")
    for operator in found[:4]:
        tokens = queries_and_keys(6, 4, 0, operator.origin.layer or 0, operator.origin.head or 0)
        expected = single(attention(*tokens, mask="window:2", scale=0.5, kernel="linear:exp"))
        assert np.array_equal(operator.matrix, expected.matrix)


@pytest.mark.parametrize("name", ["n", "d", "heads", "layers"])
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_below_one_are_refused(name: str, value: int) -> None:
    with pytest.raises(RankscopeError, match="RS002"):
        made(**{name: value})


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"mask": "casual"}, "RS001"),
        ({"kernel": "sofmax"}, "RS001"),
        ({"dtype": "float8"}, "RS001"),
        ({"plan": "head"}, "RS001"),
        ({"scale": -1.0}, "RS002"),
        ({"seed": -1}, "RS002"),
        ({"seed": "x"}, "RS002"),
        ({"n": 2.5}, "RS002"),
        ({"heads": "two"}, "RS002"),
        ({"plan": "heads", "heads": 3}, "RS002"),
        ({"plan": "layers", "layers": 2, "mask": "causal"}, "RS003"),
        ({"empty_rows": "none"}, "RS001"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], code: str) -> None:
    with pytest.raises(RankscopeError) as caught:
        made(**options)
    assert caught.value.code == code


def test_comparing_masks_compares_the_same_tokens_side_by_side() -> None:
    result = rs.compare(["bidirectional", "causal", "anticausal"], n=12, d=4)
    assert [each.mask for each in result.table.matrices] == ["bidirectional", "causal", "anticausal"]
    assert len({each.digest for each in result.table.matrices}) == 1
    exact = result["rank_exact"]
    assert isinstance(exact, rs.Table)
    assert [record.value for record in exact] == [None, 12, 12]
