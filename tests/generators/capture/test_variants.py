"""What if: the same queries and keys under other masks, plans and kernels; what cannot be had is named in the notes."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import rankscope as rs
from rankscope.attention.existing import single
from rankscope.attention.operators import Operator
from rankscope.errors import RankscopeError
from rankscope.generators.capture.capturing import Capture
from rankscope.generators.capture.layer import Layer
from rankscope.generators.capture.names import Site
from rankscope.generators.capture.variants import TRAINED, WhatIf, variant
from rankscope.generators.stack import Work
from rankscope.study import Study, run
from tests.generators.architectures import observed
from tests.oracles import UNIT, Float64

N, D, HEADS = 6, 4, 6

SUMMED = 2 * HEADS * UNIT
"""Two sums of as many weights, which are at most one, in two orders."""


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(number: int = 0, batch: int = 1, **changes: Any) -> Layer:
    query, key = drawn(batch, HEADS, N, D, seed=number), drawn(batch, HEADS, N, D, seed=50 + number)
    known = np.full((batch, HEADS), 0.25)
    made = Layer(Site("", number, f"h.{number}"), query, key, None, None, False, 0.7, None, None, known, "output")
    return replace(made, **changes)


def work(variants: str | list[str], *layers: Layer, **changes: Any) -> Work:
    named = [variants] if isinstance(variants, str) else variants
    return WhatIf(replace(Capture("tiny", list(layers)), **changes), tuple(map(variant, named))).work()


def made(found: Work) -> dict[str, Operator]:
    operators = [job.make() for job in found.jobs]
    labels = [job.origin.label for job in found.jobs]
    assert labels == [each.origin.label for each in operators]
    assert len(set(labels)) == len(labels)
    return dict(zip(labels, operators, strict=True))


def by_hand(given: Layer, head: int, text: int = 0, **options: Any) -> Float64:
    own = given.head(text, head)
    scale = given.scale * math.sqrt(D)
    return np.asarray(single(rs.attention(own.query, own.key, scale=scale, empty_rows="zero", **options)).matrix)


# ------------------------------------------------------------------------------------------------------------- words


def test_a_variant_is_a_mask_a_plan_or_a_kernel() -> None:
    mask, plan, kernel = (variant(text) for text in (" causal & window:3 ", "heads", "kernel = linear:elu+1"))
    assert (mask.name, mask.kernel, mask.plan, mask.mask(1, 2, 6, 9)) == (
        "causal & window:3",
        None,
        None,
        " causal & window:3 ",
    )
    assert (plan.name, plan.kernel, plan.plan) == ("heads", None, "heads")
    assert [plan.mask(0, head, 4, 9) for head in range(4)] == ["causal"] * 2 + ["anticausal"] * 2
    assert (kernel.name, kernel.kernel, kernel.plan) == ("kernel = linear:elu+1", "linear:elu+1", None)
    assert kernel.mask(0, 0, 1, 9) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("sideways", "RS001"), ("kernel=soft", "RS001"), ("kernel=softcap:-1", "RS002"), ("window", "RS002"),
        ("uniform", "RS002"), ("causal, strict", "RS002"), ("", "RS002"), ("kernel=", "RS001"),
    ],
)  # fmt: skip
def test_what_is_none_of_them_is_refused_before_anything_is_made(text: str, code: str) -> None:
    with pytest.raises(RankscopeError) as caught:
        variant(text)
    assert caught.value.code == code


# ------------------------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize(
    "mask", ["causal", "anticausal", "strict", "window:2", "prefix:2", "dilated:2", "causal & ~window:2"]
)
def test_other_masks_are_those_of_the_same_queries_and_keys(mask: str) -> None:
    given = layer(0)
    found = made(work(mask, given))
    assert list(found)[:HEADS] == [f"trained layer 0 head {head}" for head in range(HEADS)]
    assert len(found) == 2 * HEADS
    for head in range(HEADS):
        other = found[f"{mask} layer 0 head {head}"]
        assert np.array_equal(other.matrix, by_hand(given, head, mask=mask))
        assert np.array_equal(found[f"trained layer 0 head {head}"].matrix, by_hand(given, head))
        assert (other.origin.mask, other.origin.fidelity, other.origin.stack) == (mask, None, mask)


def test_attention_as_trained_keeps_its_fidelity_and_its_name() -> None:
    found = made(work("causal", layer(0)))
    trained = [each for label, each in found.items() if label.startswith("trained")]
    assert [each.origin.fidelity for each in trained] == [0.25] * HEADS
    assert {each.origin.stack for each in trained} == {"trained"}
    assert TRAINED.name == "trained"


def test_the_order_is_variant_by_variant_and_layer_by_layer() -> None:
    found = made(work(["causal", "kernel=sigmoid"], layer(0), layer(1)))
    stacks = [each.origin.stack for each in found.values()]
    assert stacks == ["trained"] * 12 + ["causal"] * 12 + ["kernel=sigmoid"] * 12
    assert [each.origin.layer for each in found.values()] == ([0] * 6 + [1] * 6) * 3


def test_texts_keep_their_own_padding_and_their_names() -> None:
    seen = torch.ones(2, 1, N, N, dtype=torch.bool)
    seen[1, :, :, 4:] = False
    given = layer(0, 2, mask=seen)
    found = made(work("causal", given))
    for text, n in ((0, N), (1, 4)):
        other = found[f"text {text} causal layer 0 head 3"]
        own = given.head(text, 3)
        assert own.query is not None
        assert own.key is not None
        truth = rs.attention(own.query[:n], own.key[:n], mask="causal", scale=0.7 * math.sqrt(D))
        assert np.array_equal(other.matrix, single(truth).matrix)
        assert other.origin.notes == ((f"padding: {N - n} tokens left out",) if n < N else ())


def test_a_mask_may_show_what_the_model_never_saw_where_queries_and_keys_are_known() -> None:
    given = layer(0, causal=True)
    found = made(work("bidirectional", given))
    assert np.array_equal(found["bidirectional layer 0 head 2"].matrix, by_hand(given, 2))
    assert found["trained layer 0 head 2"].origin.mask == "causal"


def test_caps_and_sinks_stay_under_another_mask() -> None:
    given = layer(0, cap=0.8, sinks=[0.1 * head for head in range(HEADS)])
    for head in (0, 5):
        other = made(work("causal", given))[f"causal layer 0 head {head}"]
        own = replace(given, causal=True).head(0, head).operator(other.origin)
        assert np.array_equal(other.matrix, own.matrix)


# ------------------------------------------------------------------------------------------------------------- plans


def test_the_plan_of_heads_gives_each_half_a_direction_and_measures_their_mean() -> None:
    given = layer(0)
    found = made(work("heads", given))
    for head in range(HEADS):
        other = found[f"heads layer 0 head {head}"]
        mask = "causal" if head < HEADS // 2 else "anticausal"
        assert np.array_equal(other.matrix, by_hand(given, head, mask=mask))
        assert (other.origin.plan, other.origin.mask) == ("heads", None)
    mean = found["heads layer 0 mean over 6 heads"]
    own = [np.asarray(found[f"heads layer 0 head {head}"].matrix) for head in range(HEADS)]
    assert np.abs(np.asarray(mean.matrix) - sum(own) / HEADS).max() <= SUMMED
    assert (mean.origin.over, mean.origin.head, mean.origin.layer, mean.origin.stack) == (
        "heads-mean",
        None,
        0,
        "heads",
    )
    assert (mean.origin.mask, mean.origin.fidelity, mean.origin.plan) == (None, None, "heads")
    trained = found["trained layer 0 mean over 6 heads"]
    assert np.abs(np.asarray(trained.matrix) - sum(by_hand(given, h) for h in range(HEADS)) / HEADS).max() <= SUMMED


def test_the_plan_of_layers_gives_each_layer_a_direction() -> None:
    found = made(work("layers", layer(0), layer(1), layer(2)))
    for number, mask in ((0, "causal"), (1, "anticausal"), (2, "causal")):
        other = found[f"layers layer {number} head 4"]
        assert np.array_equal(other.matrix, by_hand(layer(number), 4, mask=mask))


def test_a_prefix_plan_knows_the_number_of_tokens() -> None:
    found = made(work("unilm", layer(0)))
    assert np.array_equal(found["unilm layer 0 head 1"].matrix, by_hand(layer(0), 1, mask=f"prefix:{N // 2}"))


def test_means_are_measured_only_beside_a_plan_and_for_each_text() -> None:
    assert not any("mean" in label for label in made(work(["causal", "kernel=sigmoid"], layer(0))))
    found = made(work(["layers", "causal", "kernel=sigmoid"], layer(0, 2)))
    means = [label for label in found if "mean" in label]
    assert means == [
        f"text {text} {name} layer 0 mean over 6 heads" for name in ("trained", "layers", "causal") for text in range(2)
    ]
    for text in range(2):
        own = [np.asarray(found[f"text {text} layers layer 0 head {head}"].matrix) for head in range(HEADS)]
        mean = np.asarray(found[f"text {text} layers layer 0 mean over 6 heads"].matrix)
        assert np.abs(mean - sum(own) / HEADS).max() <= SUMMED


def test_the_mean_is_over_the_chosen_heads() -> None:
    found = made(work("layers", layer(0), heads=frozenset([1, 4])))
    own = [np.asarray(found[f"layers layer 0 head {head}"].matrix) for head in (1, 4)]
    assert np.array_equal(found["layers layer 0 mean over 2 heads"].matrix, (own[0] + own[1]) / 2)


def test_layers_without_a_chosen_head_have_no_mean() -> None:
    few = layer(1, query=drawn(1, 2, N, D), key=drawn(1, 2, N, D), fidelity=np.zeros((1, 2)))
    found = made(work("layers", layer(0), few, heads=frozenset([4])))
    assert [label for label in found if "layer 1" in label] == []
    assert [label for label in found if "mean" in label] == [
        f"{name} layer 0 mean over 1 head" for name in ("trained", "layers")
    ]


def test_heads_whose_masks_differ_keep_one_size_and_have_a_mean() -> None:
    """A key that one head sees is no padding of another."""
    seen = torch.ones(1, HEADS, N, N, dtype=torch.bool)
    seen[:, 2, :, 4:] = False
    found = work("layers", layer(0, mask=seen))
    [mean] = [job for job in found.jobs if job.origin.label == "layers layer 0 mean over 6 heads"]
    assert mean.make().shape == (N, N)
    seen[:, :, :, 4:] = False
    found = work("layers", layer(0, mask=seen))
    [mean] = [job for job in found.jobs if job.origin.label == "layers layer 0 mean over 6 heads"]
    assert mean.make().shape == (4, 4)


# ----------------------------------------------------------------------------------------------------------- kernels


@pytest.mark.parametrize(
    "kernel", ["sigmoid", "sparsemax", "tempered:2", "linear", "linear:relu", "favor:8", "softcap:1"]
)
def test_other_kernels_have_the_masks_of_the_model(kernel: str) -> None:
    for given, mask in ((layer(0), "bidirectional"), (layer(0, causal=True), "causal")):
        found = made(work(f"kernel={kernel}", given))
        for head in (0, 3):
            other = found[f"kernel={kernel} layer 0 head {head}"]
            own = given.head(0, head)
            base = replace(other.origin, digest=None, notes=(), kernel=None, mask=None)
            options: dict[str, Any] = {"mask": mask, "kernel": kernel, "scale": 1.4, "empty_rows": "zero"}
            truth = rs.attention(own.query, own.key, **options, origin=base, heads=HEADS)
            assert np.array_equal(other.matrix, single(truth).matrix)
            assert (other.origin.kernel, other.origin.mask, other.origin.fidelity) == (kernel, mask, None)


def test_a_kernel_that_the_mask_of_the_model_does_not_allow_is_left_out_by_name() -> None:
    found = work(["kernel=retnet", "kernel=efficient"], layer(0), layer(1, causal=True))
    assert [job.origin.label for job in found.jobs if job.origin.head == 0 and "kernel" in job.origin.label] == [
        "kernel=retnet layer 1 head 0", "kernel=efficient layer 0 head 0",
    ]  # fmt: skip
    assert found.notes == (
        "kernel=retnet: left out of layer 0, the mask bidirectional with the kernel retnet",
        "kernel=efficient: left out of layer 1, the mask causal with the kernel efficient",
    )
    made(found)


# --------------------------------------------------------------------------------------------- what cannot be had


later = torch.ones(N, N).triu(1).bool()
BIASED = drawn(1, HEADS, N, N, seed=9).masked_fill(later, -math.inf)


def test_heads_that_add_to_scores_are_left_out_where_that_is_not_known() -> None:
    found = work(["bidirectional", "causal & window:2", "kernel=sigmoid", "kernel=linear"], layer(0, mask=BIASED))
    assert found.notes == (
        "bidirectional: left out of layer 0, the mask bidirectional shows 15 places of which what the model adds to "
        "the scores is not known",
        "kernel=linear: left out of layer 0, the position captured with the kernel linear",
    )
    operators = made(found)
    assert {each.origin.stack for each in operators.values()} == {"trained", "causal & window:2", "kernel=sigmoid"}
    sigmoid = operators["kernel=sigmoid layer 0 head 1"]
    own = layer(0).head(0, 1)
    assert own.query is not None
    assert own.key is not None
    scores = 0.7 * own.query @ own.key.T + np.where(later.numpy(), 0.0, BIASED[0, 1].double().numpy())
    truth = rs.from_logits(scores, mask="causal", kernel="sigmoid").matrix
    assert np.abs(sigmoid.matrix - truth).max() <= 64 * UNIT
    assert sigmoid.origin.mask == "causal"


def test_a_bias_of_a_head_that_is_not_chosen_leaves_out_none() -> None:
    one = torch.zeros(1, HEADS, N, N)
    one[0, 2] = drawn(N, N).masked_fill(later, -math.inf)
    assert work("bidirectional", layer(0, mask=one), heads=frozenset([1])).notes == ()
    assert len(work(["bidirectional", "causal"], layer(0, mask=one), heads=frozenset([2])).notes) == 1


def test_variants_of_which_no_head_has_any_are_refused() -> None:
    with pytest.raises(
        RankscopeError, match="bidirectional, kernel=linear of tiny: no head has such a variant"
    ) as caught:
        work(["bidirectional", "kernel=linear"], layer(0, mask=BIASED))
    assert caught.value.code == "RS003"


def test_cross_attention_has_no_mask_of_its_own_and_may_have_a_kernel() -> None:
    cross = layer(0, site=Site("cross", 0, "x"))
    found = work(["causal", "heads", "kernel=sigmoid"], cross)
    assert found.notes == tuple(
        f"{name}: left out of cross layer 0, whose queries and keys are of two texts" for name in ("causal", "heads")
    )
    assert {each.origin.stack for each in made(found).values()} == {"cross trained", "cross kernel=sigmoid"}


def test_scores_that_are_no_product_stay_as_trained() -> None:
    site = Site("", 1, "h.1")
    scores = layer(0, site=site, query=None, key=None, scores=drawn(1, HEADS, N, N), scale=1.0)
    options: dict[str, Any] = {"without_pairs": {site: (1, HEADS, (N, N))}, "again": lambda _: scores}
    found = work(["causal", "kernel=sigmoid"], layer(0), **options)
    assert found.notes == tuple(
        f"{name}: left out of layer 1, whose scores are no product of queries and keys"
        for name in ("causal", "kernel=sigmoid")
    )
    labels = [job.origin.label for job in found.jobs if job.origin.layer == 1]
    assert labels == [f"trained layer 1 head {head}" for head in range(HEADS)]
    made(found)


def test_notes_of_the_capture_are_kept_and_each_stands_once() -> None:
    kept = Capture("tiny", [layer(0, mask=BIASED), layer(0, site=Site("", 0, "h.0", 1), mask=BIASED)], said=("said",))
    notes = WhatIf(kept, (variant("bidirectional"), variant("causal"), variant("bidirectional"))).work().notes
    assert notes[0] == "said"
    assert len(notes) == len(set(notes)) == 2
    assert notes[1].startswith("bidirectional: left out of layer 0, the mask")


# ------------------------------------------------------------------------------------------------------ whole models


def test_what_if_of_a_model_is_a_study() -> None:
    """A bidirectional model made causal has full rank for certain: its matrices are triangular."""
    source = WhatIf(observed("bert").kept, (variant("causal"), variant("heads")))
    result = run(Study((source,), ("rank_exact", "effective_rank")))
    ranks = {matrix.stack: record.value for matrix, record in zip(
        result.table.matrices, result["rank_exact"], strict=True)}  # type: ignore[arg-type]  # fmt: skip
    assert ranks["text 0 causal"] == 12
    assert ranks["text 1 causal"] == 9
    assert source.described()["what_if"] == ["causal", "heads"]
    assert source.described()["kind"] == "model"


@pytest.mark.parametrize("name", ["t5", "gpt-oss", "gemma2", "llama", "bart"])
def test_every_head_of_a_model_has_its_variant_or_is_named(name: str) -> None:
    names = ["causal", "bidirectional", "layers", "kernel=sigmoid", "kernel=linear", "kernel=retnet"]
    source = WhatIf(observed(name).kept, tuple(map(variant, names)))
    found = source.work()
    made(found)
    for each in names:
        had = {(job.origin.layer, job.origin.stack) for job in found.jobs if (job.origin.stack or "").endswith(each)}
        lacking = sum(len(re.findall(r"layer \d+", note)) for note in found.notes if note.startswith(f"{each}: "))
        assert len(had) + 2 * lacking == 2 * len(source.captured.held), each
