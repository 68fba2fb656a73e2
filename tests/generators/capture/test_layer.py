"""The heads of a layer: which keys they see, what is added to their scores, and the jobs that make their matrices."""

import math
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from rankscope.attention.operators import Operator
from rankscope.errors import InputError, ResourceError
from rankscope.generators.capture.layer import AS_TRAINED, Held, Layer, Variant, jobs_of, of_head, visible
from rankscope.generators.capture.names import Site
from tests.oracles import UNIT, Float64

N, M, D = 4, 6, 8
LEAST = torch.finfo(torch.float32).min


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(n: int = N, m: int = M, mask: Tensor | None = None, groups: int = 4, causal: bool = False) -> Layer:
    query, key = drawn(2, 4, n, D, seed=1), drawn(2, groups, m, D, seed=2)
    known = np.array([[0.5, 0.25, 0.125, math.nan]] * 2)
    return Layer(Site("", 3, "layers.3"), query, key, None, mask, causal, 0.5, None, None, known, "output")


def held(layer: Layer) -> Held:
    return Held(layer.site, layer.batch, layer.heads, layer.shape, lambda: layer)


def operators(layer: Layer, **options: object) -> list[Operator]:
    return [job.make() for job in jobs_of(held(layer), "model", False, Variant(**options))]  # type: ignore[arg-type]


def softmax(layer: Layer, text: int, head: int) -> Float64:
    assert layer.query is not None
    assert layer.key is not None
    keys = layer.key[text, head * layer.key.shape[1] // 4].double()
    return np.asarray(torch.softmax(0.5 * layer.query[text, head].double() @ keys.T, dim=-1).numpy())


# ---------------------------------------------------------------------------------------------------------- visible


def test_without_a_mask_everything_is_seen() -> None:
    seen, bias = visible(np.zeros((N, M)), None, False)
    assert seen.all()
    assert bias is None


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (1, 3), (3, 1)])
def test_the_causal_flag_is_aligned_at_the_first_key(shape: tuple[int, int]) -> None:
    seen, _ = visible(np.zeros(shape), None, True)
    query, key, value = torch.zeros(shape[0], 2), torch.zeros(shape[1], 2), torch.eye(shape[1])
    weights = torch.nn.functional.scaled_dot_product_attention(query[None], key[None], value[None], is_causal=True)
    assert np.array_equal(seen, weights[0].numpy() > 0)


def test_boolean_masks_are_broadcast_and_joined_with_the_causal_flag() -> None:
    row = torch.tensor([[True, False, True, True]])
    seen, bias = visible(np.zeros((4, 4)), row, True)
    assert np.array_equal(seen, np.tri(4, dtype=bool) & row.numpy())
    assert bias is None


@pytest.mark.parametrize("number", [-1e4, -1e9, LEAST, -math.inf])
def test_numbers_that_stand_for_hidden_keys_hide_them(number: float) -> None:
    added = torch.zeros(3, 4)
    added[1:, 2] = number
    added[2] = number
    seen, bias = visible(np.random.default_rng(0).standard_normal((3, 4)), added, False)
    assert seen.tolist() == [[True] * 4, [True, True, False, True], [False] * 4]
    assert bias is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_least_number_of_each_type_hides(dtype: torch.dtype) -> None:
    added = torch.tensor([[0.0, torch.finfo(dtype).min, torch.finfo(dtype).min]], dtype=dtype)
    seen, bias = visible(np.zeros((1, 3)), added, False)
    assert seen.tolist() == [[True, False, False]]
    assert bias is None


def test_what_is_added_to_keys_that_are_seen_is_kept_exactly() -> None:
    added = drawn(3, 4)
    added[1, 2] = -math.inf
    seen, bias = visible(np.zeros((3, 4)), added, False)
    assert bias is not None
    assert not seen[1, 2]
    assert np.array_equal(bias, np.where(seen, np.nan_to_num(added.double().numpy(), neginf=0.0), 0.0))


def test_a_low_number_whose_weight_is_not_zero_is_a_bias() -> None:
    """Scores as far apart as the mask is low: the key is seen."""
    scores = np.array([[0.0, 9500.0]])
    seen, bias = visible(scores, torch.tensor([[0.0, -1e4]]), False)
    assert seen.all()
    assert bias is not None
    assert bias.tolist() == [[0.0, -1e4]]


def test_each_head_of_each_text_has_its_part_of_a_mask() -> None:
    mask = torch.arange(2 * 4 * 3 * 5).reshape(2, 4, 3, 5)
    assert torch.equal(of_head(mask, 1, 2), mask[1, 2])
    assert torch.equal(of_head(mask[:, :1], 1, 2), mask[1, 0])
    assert torch.equal(of_head(mask[:1], 1, 2), mask[0, 2])
    assert torch.equal(of_head(mask[0], 1, 2), mask[0, 2])
    assert torch.equal(of_head(mask[0, 0], 1, 2), mask[0, 0])


# ------------------------------------------------------------------------------------------------------------ heads


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_each_head_has_the_keys_of_its_group(groups: int) -> None:
    layer = made(groups=groups)
    for number, operator in enumerate(operators(layer)):
        truth = softmax(layer, number // 4, number % 4)
        assert np.abs(operator.matrix - truth).max() <= 64 * M * UNIT


def test_sizes_are_those_of_the_tensors() -> None:
    layer = made(groups=2)
    scores = replace(layer, query=None, key=None, scores=drawn(2, 4, N, M))
    for each in (layer, scores):
        assert (each.batch, each.heads, each.shape) == (2, 4, (N, M))
    assert len(layer.tensors) == 2
    assert len(scores.tensors) == 1


def test_scores_that_are_kept_make_the_matrix() -> None:
    scores = drawn(2, 4, N, M)
    layer = replace(made(), query=None, key=None, scores=scores, scale=1.0)
    for number, operator in enumerate(operators(layer)):
        truth = torch.softmax(scores[number // 4, number % 4].double(), dim=-1).numpy()
        assert np.abs(operator.matrix - truth).max() <= 64 * M * UNIT
        assert operator.origin.d is None


@pytest.mark.parametrize(("bad", "code"), [(math.nan, "RS110"), (math.inf, "RS111")])
@pytest.mark.parametrize("side", ["query", "key"])
def test_what_is_not_finite_is_refused_in_its_own_head_alone(bad: float, code: str, side: str) -> None:
    layer = made(mask=drawn(1, 1, N, M))
    tensor = layer.query if side == "query" else layer.key
    assert tensor is not None
    tensor[1, 2, 0, 0] = bad
    for number, job in enumerate(jobs_of(held(layer), "model", False)):
        if number == 4 + 2:
            with pytest.raises(InputError) as caught:
                job.make()
            assert caught.value.code == code
        else:
            job.make()


def test_a_matrix_that_does_not_fit_is_refused_before_its_scores_are_made() -> None:
    layer = made()
    with mock.patch("rankscope.arrays.available_memory", return_value=64), pytest.raises(ResourceError, match="RS301"):
        layer.head(0, 0)


# ------------------------------------------------------------------------------------------------------------- jobs


def test_jobs_stand_in_the_order_of_texts_and_heads_and_say_what_they_are() -> None:
    layer = made()
    jobs = list(jobs_of(held(layer), "tiny", False))
    assert [job.origin.label for job in jobs] == [f"text {b} layer 3 head {h}" for b in range(2) for h in range(4)]
    for job in jobs:
        made_of = job.make().origin
        assert job.shape == (N, M)
        assert (made_of.label, made_of.source, made_of.key) == (job.origin.label, "tiny", "layers.3")
        assert (made_of.layer, made_of.head, made_of.stack) == (3, job.origin.head, job.origin.stack)
        assert (made_of.d, made_of.kernel, made_of.mask, made_of.plan) == (D, "softmax", "bidirectional", None)
        assert made_of.scale == pytest.approx(0.5 * math.sqrt(D), rel=2 * UNIT)


def test_one_text_is_not_numbered_and_several_calls_are() -> None:
    layer = made()
    assert layer.query is not None
    assert layer.key is not None
    one = replace(layer, query=layer.query[:1], key=layer.key[:1])
    assert next(jobs_of(held(one), "", False)).origin.label == "layer 3 head 0"
    called = replace(one, site=Site("cross", 3, "", 2))
    [first, *_] = jobs_of(held(called), "", True)
    assert (first.origin.label, first.origin.stack, first.origin.key) == (
        "call 2 cross layer 3 head 0",
        "call 2 cross",
        None,
    )


def test_the_fidelity_is_that_of_the_head_where_it_is_known() -> None:
    found = [each.origin.fidelity for each in operators(made())]
    assert found == [0.5, 0.25, 0.125, None] * 2


def test_another_mask_or_kernel_has_no_fidelity() -> None:
    for options in ({"mask": lambda layer, head, heads, n: "causal"}, {"kernel": "sigmoid"}):
        assert {each.origin.fidelity for each in operators(made(M), **options)} == {None}


def test_a_variant_is_told_layer_head_heads_and_keys() -> None:
    asked: list[tuple[int, int, int, int]] = []

    def mask(layer: int, head: int, heads: int, n: int) -> str:
        asked.append((layer, head, heads, n))
        return "causal"

    assert {each.origin.mask for each in operators(made(M), mask=mask)} == {"causal"}
    assert asked == [(3, head, 4, M) for head in range(4)] * 2


def test_a_plan_names_itself_and_no_mask() -> None:
    found = operators(made(M), name="layers", mask=lambda layer, head, heads, n: "causal", plan="layers")
    assert {(each.origin.plan, each.origin.mask, each.origin.stack) for each in found} == {
        ("layers", None, f"text {text} layers") for text in range(2)
    }


def test_attention_as_trained_is_the_variant_that_changes_nothing() -> None:
    assert AS_TRAINED.mask(0, 0, 1, 9) is None
    assert (AS_TRAINED.name, AS_TRAINED.kernel, AS_TRAINED.plan) == ("", None, None)
