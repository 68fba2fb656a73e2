"""Paths of tokens through heads: their sum is the network, and single ones are products of matrices."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from rankscope.analyzer import paths
from rankscope.analyzer.paths import Step, by_length, check_linear, every, of_one, sampled, summed
from rankscope.arrays import Float64
from rankscope.attention.tokens import Tokens
from rankscope.deep import depth
from rankscope.depth_study import DepthStudy, choose
from rankscope.errors import UsageError
from rankscope.generators.depth import Attended, walk
from rankscope.generators.network import Stack
from rankscope.walk import Walk

NETWORKS: list[dict[str, Any]] = [
    {},
    {"skip": True, "alpha": 0.5},
    {"mask": "causal"},
    {"mask": "causal", "skip": True, "alpha": 0.5},
    {"skip": True, "fixed": True},
    {"mask": "window:2", "skip": True, "alpha": "1/sqrt(L)", "rescale": 0.5},
]

ROUNDING = 1e-13
"""Sums of hundreds of products of numbers of size ten."""


def named(options: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in options.items()) or "pure"


def stack_of(options: dict[str, Any], layers: int = 3) -> Stack:
    return Stack(**{"n": 6, "d": 3, "layers": layers, "heads": 2, "scale": 2.0, "seed": 5, **options})


def steps_of(stack: Stack) -> list[list[Step]]:
    """The heads of each layer as the study of a network makes them."""
    walked = Walk(stack, 0, DepthStudy((stack,), paths=True), choose(("log10_residual",)))
    walked.analysed()
    return walked.steps()


def matrices_of(stack: Stack) -> list[list[tuple[Float64, Float64]]]:
    """A_h and W_V,h·W_O,h of each layer and head, with the strength of the branch, as arrays."""
    seen: dict[tuple[int, int], Float64] = {}

    def observe(attended: Attended) -> None:
        seen[attended.layer, attended.head] = attended.mixing.matrix

    list(walk(stack, observe))
    low, high = stack.levels
    found = []
    for layer in range(stack.layers):
        heads = []
        for number, head in enumerate(stack.block(layer).heads):
            weights = low / stack.n + high * (seen[0 if stack.fixed else layer, number] - 1 / stack.n)
            heads.append((weights, stack.strength * head.value.weights @ head.output.weights))
        found.append(heads)
    return found


def followed(x: Float64, path: Any) -> Float64:
    """A_{h_L} ⋯ A_{h_1} X W_{h_1} ⋯ W_{h_L}."""
    left, right = np.eye(len(x)), np.eye(x.shape[1])
    for weights, values in path:
        left, right = weights @ left, right @ values
    return np.asarray(left @ x @ right)


def relative(x: Float64) -> float:
    return float(np.linalg.norm(x - x.mean(axis=0)) / np.linalg.norm(x))


def added(parts: list[Tokens | None]) -> Float64:
    return np.asarray(sum(part.floats for part in parts if part is not None))


# ------------------------------------------------------------------------------------------------------------- sums


@pytest.mark.parametrize("options", NETWORKS, ids=named)
def test_the_sum_over_all_paths_is_what_leaves_the_network(options: dict[str, Any]) -> None:
    stack = stack_of(options)
    last = list(walk(stack))[-1].tokens
    parts = summed(Tokens.of(stack.tokens()), steps_of(stack), stack.skip)
    np.testing.assert_allclose(added(parts), last.floats, rtol=0, atol=ROUNDING)
    rest = sum(part.residual.floats for part in parts if part is not None)
    np.testing.assert_allclose(rest, last.residual.floats, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("options", NETWORKS, ids=named)
def test_the_sum_over_paths_of_one_length_is_that_of_products_of_matrices(options: dict[str, Any]) -> None:
    stack = stack_of(options)
    x, matrices = stack.tokens(), matrices_of(stack)
    parts = summed(Tokens.of(x), steps_of(stack), stack.skip)
    for length, part in enumerate(parts):
        if part is None:
            assert not stack.skip
            assert length < stack.layers
            continue
        chosen = [path for layers in itertools.combinations(matrices, length) for path in itertools.product(*layers)]
        expected = sum(followed(x, path) for path in chosen)
        np.testing.assert_allclose(part.floats, expected, rtol=0, atol=ROUNDING)


def test_without_skips_all_paths_have_the_length_of_the_network() -> None:
    stack = stack_of({})
    found = by_length(Tokens.of(stack.tokens()), steps_of(stack), False, 0)
    assert [(each.length, each.count, each.share) for each in found] == [(3, 8, 1.0)]


def test_shares_are_those_of_the_residuals_of_the_sums() -> None:
    stack = stack_of({"mask": "causal", "skip": True, "alpha": 0.5})
    tokens, steps = Tokens.of(stack.tokens()), steps_of(stack)
    sizes = [0.0 if part is None else np.linalg.norm(part.residual.floats) for part in summed(tokens, steps, True)]
    shares = [float(each.share or 0.0) for each in by_length(tokens, steps, True, 0)]
    np.testing.assert_allclose(shares, np.array(sizes) / sum(sizes), rtol=ROUNDING)
    assert math.fsum(shares) == pytest.approx(1.0, rel=ROUNDING)


# ------------------------------------------------------------------------------------------------------ single paths


@pytest.mark.parametrize("options", NETWORKS, ids=named)
def test_single_paths_are_products_of_matrices_in_the_order_of_the_network(options: dict[str, Any]) -> None:
    stack = stack_of(options)
    x, matrices, steps = stack.tokens(), matrices_of(stack), steps_of(stack)
    for length in range(stack.layers + 1):
        chosen = [path for layers in itertools.combinations(matrices, length) for path in itertools.product(*layers)]
        for path, expected in zip(every(steps, length), chosen, strict=True):
            tokens = Tokens.of(x)
            for step in path:
                tokens = step(tokens)
            np.testing.assert_allclose(tokens.floats, followed(x, expected), rtol=0, atol=ROUNDING)


def test_the_order_of_layers_changes_a_path() -> None:
    stack = stack_of({"mask": "causal"})
    x, matrices = stack.tokens(), matrices_of(stack)
    there, back = [each[0] for each in matrices], [each[0] for each in reversed(matrices)]
    assert np.abs(followed(x, there) - followed(x, back)).max() > 1e-3


@pytest.mark.parametrize("options", [{"mask": "causal", "skip": True, "alpha": 0.5}, {"mask": "window:2"}], ids=named)
def test_what_paths_leave_is_the_mean_of_their_relative_residuals(options: dict[str, Any]) -> None:
    stack = stack_of(options)
    x, matrices = stack.tokens(), matrices_of(stack)
    for found in by_length(Tokens.of(x), steps_of(stack), stack.skip, 0):
        layers = itertools.combinations(matrices, found.length)
        values = [relative(followed(x, path)) for chosen in layers for path in itertools.product(*chosen)]
        assert found.log10_residual == pytest.approx(math.log10(math.fsum(values) / len(values)), abs=1e-11)
        assert (found.low, found.high) == (None, None)
        assert found.followed == found.count == len(values)


@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (3, 2), (4, 3), (5, 1)])
def test_there_are_as_many_paths_as_choices_of_layers_and_heads(layers: int, heads: int) -> None:
    tokens = Tokens.of(np.arange(6.0).reshape(3, 2))
    steps: list[list[Step]] = [[lambda x: x] * heads] * layers
    found = by_length(tokens, steps, True, 0)
    assert [each.count for each in found] == [math.comb(layers, k) * heads**k for k in range(layers + 1)]
    assert [len(list(every(steps, k))) for k in range(layers + 1)] == [each.count for each in found]


def test_paths_are_counted_where_layers_have_different_numbers_of_heads() -> None:
    tokens = Tokens.of(np.arange(6.0).reshape(3, 2))
    steps: list[list[Step]] = [[lambda x: x] * 2, [lambda x: x]]
    found = by_length(tokens, steps, True, 0)
    assert [each.count for each in found] == [len(list(every(steps, k))) for k in range(3)] == [1, 3, 2]
    start = found[0].log10_residual
    assert start is not None
    assert [each.log10_residual for each in found] == [pytest.approx(start, abs=ROUNDING)] * 3


# ---------------------------------------------------------------------------------------------------------- samples


def shrinking(seed: int, layers: int, heads: int) -> tuple[Tokens, list[list[Step]], list[list[float]]]:
    """Heads that multiply the residual beside a much larger mean, and by what."""
    factors = np.random.default_rng(seed).uniform(0.2, 1.0, (layers, heads)).tolist()
    tokens = Tokens.of(np.array([[1e6, 1.0], [1e6, -1.0], [1e6, 3.0]]))

    def step(factor: float) -> Step:
        return lambda x: Tokens(x.mean, x.residual * factor, x.noise)

    return tokens, [[step(each) for each in layer] for layer in factors], factors


def test_the_interval_of_a_sample_holds_the_exact_mean_for_most_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, steps, factors = shrinking(1, 4, 3)
    exact = of_one(tokens, steps, 2, 1.0, 0)
    chosen = itertools.combinations(factors, 2)
    products = [math.prod(path) for layers in chosen for path in itertools.product(*layers)]
    start = math.log10(relative(tokens.floats))
    assert exact.log10_residual == pytest.approx(start + math.log10(math.fsum(products) / len(products)), abs=1e-9)
    monkeypatch.setattr(paths, "MOST", 10)
    held = 0
    for seed in range(20):
        found = of_one(tokens, steps, 2, 1.0, seed)
        assert (found.count, found.followed) == (54, paths.SAMPLE)
        assert exact.log10_residual is not None
        assert found.low is not None
        assert found.log10_residual is not None
        assert found.high is not None
        assert found.low < found.log10_residual < found.high
        held += found.low <= exact.log10_residual <= found.high
    assert held >= 16


def test_samples_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, steps, _ = shrinking(2, 4, 2)
    monkeypatch.setattr(paths, "MOST", 10)
    first, again, other = (of_one(tokens, steps, 2, 1.0, seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_sampled_paths_go_through_different_layers_in_order() -> None:
    steps: list[list[Step]] = [[lambda x: x, lambda x: x] for _ in range(5)]
    layer = {id(step): number for number, heads in enumerate(steps) for step in heads}
    found = [[layer[id(step)] for step in path] for path in sampled(steps, 3, 0)]
    assert len(found) == paths.SAMPLE
    assert all(path == sorted(set(path)) and len(path) == 3 for path in found)
    assert {tuple(path) for path in found} == set(itertools.combinations(range(5), 3))


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "options", [{"mlp": "relu"}, {"norm": "pre"}, {"norm": "post"}, {"mlp": "gelu", "norm": "pre"}]
)
def test_networks_that_are_no_sums_over_paths_are_refused(options: dict[str, Any]) -> None:
    stack = Stack(**options)
    with pytest.raises(UsageError, match="RS003"):
        check_linear(stack.mlp, stack.norm)
    with pytest.raises(UsageError, match="RS003"):
        depth(n=4, d=2, layers=2, paths=True, **options)


def test_attention_alone_is_a_sum_over_paths() -> None:
    check_linear(None, "none")


def test_equal_tokens_leave_nothing() -> None:
    tokens = Tokens.of(np.ones((3, 2)))
    found = by_length(tokens, [[lambda x: x]] * 2, True, 0)
    assert [each.log10_residual for each in found] == [None] * 3
    assert [each.share for each in found] == [0.0] * 3
