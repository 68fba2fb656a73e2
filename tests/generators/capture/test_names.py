"""What layers are called: their numbers by the paths of modules, by order where paths have none, and their stacks."""

import pytest

from rankscope.generators.capture.names import STACKS, Numbering, Site, called, label_of

BLOCKS = [f"encoder.block.{i}.layer.0.SelfAttention" for i in range(2)]
SIDES = ["encoder", "decoder"]


def sites(modules: list[str], known: list[str] | None = None) -> list[tuple[str, int]]:
    """Stack and layer of the calls of modules, one after another, in a model that has them."""
    numbers = Numbering.of(modules if known is None else known)
    numbers.begin()
    return [(site.stack, site.layer) for site in map(numbers.site, modules)]


@pytest.mark.parametrize(
    ("modules", "wanted"),
    [
        (["model.layers.4.self_attn", "model.layers.2.self_attn"], [4, 2]),
        (["h.0.attn", "h.1.attn", "h.10.attn"], [0, 1, 10]),
        (["encoder.layer.3.attention.self"], [3]),
        (BLOCKS, [0, 1]),
        (["blocks.1.stage.0.attn", "blocks.0.stage.1.attn"], [0, 1]),
        (["albert_layer_groups.0.albert_layers.0.attention"] * 3, [0, 1, 2]),
        (["layers.0.attn"] * 3, [0, 1, 2]),
        (["layers.5.attn"] * 3, [5, 1, 2]),
        (["layers.0.attn", "layers.1.attn"] * 2, [0, 1, 2, 3]),
        (["attention", ""], [0, 1]),
        (["layers.5.attn", "attention", "layers.1.attn"], [5, 1, 2]),
        (["layers.-1.attn", "layers.1st.attn", "layers.².attn"], [0, 1, 2]),
    ],
)
def test_the_number_of_a_layer_is_that_of_its_path_or_of_its_turn(modules: list[str], wanted: list[int]) -> None:
    assert sites(modules) == [("", number) for number in wanted]


def test_no_two_calls_have_one_place() -> None:
    every = ["layers.1.attn", "attn", "layers.1.attn", "attn", "layers.0.attn", "layers.2.attn", "layers.2.x.0.attn"]
    found = sites(every)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("module", "stack"),
    [
        ("encoder.block.0.layer.0.SelfAttention", "encoder"),
        ("decoder.block.0.layer.0.SelfAttention", "decoder"),
        ("decoder.block.0.layer.1.EncDecAttention", "cross"),
        ("decoder.layers.0.encoder_attn", "cross"),
        ("decoder.layers.0.self_attn", "decoder"),
        ("decoder.bert.encoder.layer.0.crossattention.self", "cross"),
        ("layers.0.self_attn", ""),
    ],
)
def test_encoders_decoders_and_what_joins_them_are_stacks_of_their_own(module: str, stack: str) -> None:
    assert sites([module], [module, *SIDES])[0][0] == stack


def test_a_name_that_torch_gives_to_cross_attention_counts_where_two_texts_were_given() -> None:
    numbers = Numbering.of(["encoder", "decoder.layers.0.multihead_attn"])
    numbers.begin()
    assert numbers.site("decoder.layers.0.multihead_attn", two=True).stack == "cross"
    assert numbers.site("decoder.layers.1.multihead_attn").stack == "decoder"
    assert numbers.site("cross_encoder.layers.0.attn.self").stack == ""


def test_a_model_of_one_side_has_one_stack_and_perhaps_a_cross_one() -> None:
    """BERT calls itself an encoder, OPT a decoder."""
    assert sites(["encoder.layer.0.attention.self"]) == [("", 0)]
    assert sites(["decoder.layers.0.self_attn"]) == [("", 0)]
    assert sites(["encoder.layer.0.attention", "encoder.layer.0.crossattention"]) == [("", 0), ("cross", 0)]


def test_each_stack_counts_for_itself() -> None:
    modules = [*BLOCKS, *(f"decoder.block.{i}.layer.{j}.A{k}" for i in range(2) for j, k in ((0, ""), (1, "EncDec")))]
    assert sites(modules) == [
        ("encoder", 0), ("encoder", 1), ("decoder", 0), ("cross", 0), ("decoder", 1), ("cross", 1),
    ]  # fmt: skip
    assert all(stack in STACKS for stack, _ in sites(modules))


def test_every_call_of_the_model_begins_anew_and_is_counted() -> None:
    numbers = Numbering.of(BLOCKS)
    found = []
    for _ in range(3):
        numbers.begin()
        found += [numbers.site(module) for module in BLOCKS]
    assert [(site.passed, site.layer) for site in found] == [(call, layer) for call in range(3) for layer in range(2)]


def test_a_call_outside_of_all_is_the_first() -> None:
    assert Numbering.of([]).site("").passed == 0


# ------------------------------------------------------------------------------------------------------------ labels


@pytest.mark.parametrize(
    ("site", "options", "wanted"),
    [
        (Site("", 2, ""), {}, ("model", "layer 2 head 5")),
        (Site("cross", 2, ""), {}, ("cross", "cross layer 2 head 5")),
        (Site("", 2, "", 1), {"several": True}, ("call 1", "call 1 layer 2 head 5")),
        (Site("", 2, "", 1), {}, ("model", "layer 2 head 5")),
        (Site("decoder", 2, ""), {"variant": "causal"}, ("decoder causal", "decoder causal layer 2 head 5")),
    ],
)
def test_a_label_names_what_there_are_several_of(
    site: Site, options: dict[str, object], wanted: tuple[str, str]
) -> None:
    assert label_of(site, None, 5, **options) == wanted  # type: ignore[arg-type]


def test_a_text_is_named_between_its_call_and_its_stack() -> None:
    site = Site("decoder", 2, "", 1)
    stack, label = label_of(site, 3, 5, several=True, variant="trained")
    assert (stack, label) == ("call 1 text 3 decoder trained", "call 1 text 3 decoder trained layer 2 head 5")


def test_a_layer_in_words() -> None:
    assert (called(Site("", 3, "x")), called(Site("cross", 3, "x"))) == ("layer 3", "cross layer 3")


def test_only_what_joins_two_stacks_crosses() -> None:
    assert [Site(stack, 0, "").crosses for stack in STACKS] == [False, False, False, True]
    assert Site("call 1 text 0 cross", 0, "").crosses
