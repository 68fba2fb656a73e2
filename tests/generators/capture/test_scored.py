"""Which queries and keys make scores, with which scale, cap and sinks: found where they do, and nowhere else."""

import math
from types import SimpleNamespace
from typing import Any, Final

import pytest
import torch
from torch import Tensor

from rankscope.generators.capture.interception import Written
from rankscope.generators.capture.scored import HIDDEN, Product, hidden, product_of, sinks_of

TYPES: Final = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
"""Types that models compute in, and their units of roundoff."""

EVERY_TYPE = pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def pair(dtype: torch.dtype = torch.float32, n: int = 6, m: int = 6, d: int = 8) -> tuple[Tensor, Tensor]:
    return drawn(2, 3, n, d, seed=1, dtype=dtype), drawn(2, 3, m, d, seed=2, dtype=dtype)


def found(scores: Tensor, *products: tuple[Tensor, Tensor], **attributes: Any) -> Product | None:
    call = Written(scores, torch.softmax(scores, dim=-1), products, scores.shape[-1], None)
    return product_of(call, scores, SimpleNamespace(**attributes))


# --------------------------------------------------------------------------------------------------- what is hidden


@pytest.mark.parametrize("number", [-1e4, -1e9, -1e30, -math.inf, "least"])
@EVERY_TYPE
def test_numbers_that_models_hide_keys_with_hide_them(number: float | str, dtype: torch.dtype) -> None:
    value = torch.finfo(dtype).min if number == "least" else number
    assert isinstance(value, float)
    if value < torch.finfo(dtype).min:
        value = -math.inf
    added = torch.tensor([[0.0, value, 0.0], [value, value, value]]).to(dtype)
    scores = (added + torch.tensor([[1.0, 2.0, -3.0], [1.0, 2.0, -3.0]], dtype=dtype)).to(dtype)
    assert hidden(scores).tolist() == [[False, True, False], [True, True, True]]


def test_scores_of_any_usual_size_hide_nothing() -> None:
    for scores in ([0.0, -700.0, 800.0], [5000.0, -5000.0, 0.0], [-8999.0, 0.0, 8000.0]):
        assert not hidden(torch.tensor(scores)).any()


def test_a_key_is_not_hidden_by_a_low_score_whose_weight_is_not_zero() -> None:
    """e^-740 is a number of float64, and e^-750 is none."""
    low = HIDDEN - 100
    assert hidden(torch.tensor([low, low + 740])).tolist() == [False, False]
    assert hidden(torch.tensor([low, low + 750])).tolist() == [True, False]


def test_what_all_scores_have_in_common_hides_nothing() -> None:
    scores = torch.tensor([[-2e4, -2e4 + 1], [-2e4, -2e4 - 1]])
    assert not hidden(scores).any()
    assert hidden(torch.cat([scores, torch.zeros(1, 2)])).tolist() == [[True, True], [True, True], [False, False]]


def test_what_is_no_number_hides_nothing_and_hides_nothing_else() -> None:
    scores = torch.tensor([[math.nan, 1.0, -1e9], [math.inf, 1.0, -1e9], [math.nan, math.nan, -math.inf]])
    assert hidden(scores).tolist() == [[False, False, True], [False, False, True], [False, False, True]]


# ---------------------------------------------------------------------------------------- what products of pairs make


@pytest.mark.parametrize("scale", [1 / math.sqrt(8), 1.0, 1 / 8, 0.0321, 7.0, -0.5])
@EVERY_TYPE
def test_the_pair_and_its_scale_are_found_in_every_type(scale: float, dtype: torch.dtype) -> None:
    query, key = pair(dtype)
    scores = query @ key.mT * scale
    known = found(scores, (query, key))
    assert known is not None
    assert known.scale >= 0
    assert known.cap is None
    assert torch.equal(known.query, query if scale > 0 else -query)
    assert torch.equal(known.key, key)
    # Least squares over 36 scores, of which each is rounded twice and at most four times as large as in the mean.
    assert known.scale == pytest.approx(abs(scale), rel=8 * TYPES[dtype])


@EVERY_TYPE
def test_a_scale_that_models_use_is_taken_as_it_is(dtype: torch.dtype) -> None:
    query, key = pair(dtype)
    usual = found(query @ key.mT / math.sqrt(8), (query, key))
    named = found(query @ key.mT * 0.4321, (query, key), scaling=0.4321)
    assert usual is not None
    assert named is not None
    assert (usual.scale, named.scale) == (1 / math.sqrt(8), 0.4321)


@pytest.mark.parametrize("name", ["scaling", "scale", "softmax_scale", "inv_norm_factor"])
def test_a_scale_that_a_module_names_and_does_not_use_is_not_believed(name: str) -> None:
    query, key = pair()
    known = found(query @ key.mT * 0.5, (query, key), **{name: 0.25})
    assert known is not None
    assert known.scale == pytest.approx(0.5, rel=8 * 2.0**-24)


@EVERY_TYPE
def test_a_number_for_each_row_is_not_felt(dtype: torch.dtype) -> None:
    query, key = pair(dtype)
    scores = query @ key.mT * 0.5
    for shifted in (scores - scores.amax(-1, keepdim=True), scores + 3 * drawn(2, 3, 6, 1, dtype=dtype)):
        known = found(shifted, (query, key))
        assert known is not None
        assert known.scale == pytest.approx(0.5, rel=8 * TYPES[dtype])


@pytest.mark.parametrize("cap", [0.5, 2.0, 50.0])
@EVERY_TYPE
def test_a_soft_cap_that_a_module_holds_is_found(cap: float, dtype: torch.dtype) -> None:
    query, key = pair(dtype)
    scores = cap * torch.tanh(query @ key.mT / math.sqrt(8) / cap)
    for name in ("attn_logit_softcapping", "softcap", "logits_soft_cap"):
        known = found(scores, (query, key), **{name: cap})
        assert known is not None
        assert (known.scale, known.cap) == (1 / math.sqrt(8), cap)


def test_a_soft_cap_that_is_not_used_is_not_believed() -> None:
    query, key = pair()
    known = found(query @ key.mT * 0.5, (query, key), softcap=2.0)
    assert known is not None
    assert known.cap is None
    assert known.scale == pytest.approx(0.5, rel=8 * 2.0**-24)


def test_a_soft_cap_that_nobody_holds_is_no_product() -> None:
    query, key = pair()
    assert found(torch.tanh(query @ key.mT), (query, key)) is None


@EVERY_TYPE
def test_a_bias_that_is_more_than_rounding_is_no_product(dtype: torch.dtype) -> None:
    """Every head without one but the last, and of the last one row of one text."""
    query, key = pair(dtype)
    scores = query @ key.mT * 0.5
    unit, sizes = TYPES[dtype], 0.5 * (query.double().abs() @ key.double().abs().mT)[1, 2, 3]
    away = torch.zeros(2, 3, 6, 6, dtype=torch.float64)
    rounding = 8 * unit * float(scores[1, 2, 3].abs().max()) + 8 * min(unit, 2.0**-24) * float(sizes.max())
    away[1, 2, 3, 4] = 4 * rounding
    assert found((scores.double() + away).to(dtype), (query, key)) is None
    assert found((scores.double() + away / 8).to(dtype), (query, key)) is not None


@EVERY_TYPE
def test_linear_biases_are_no_product_in_any_type(dtype: torch.dtype) -> None:
    """ALiBi with its slopes for three heads, where the scores themselves are small."""
    query, key = pair(dtype)
    places = torch.arange(6.0)
    bias = -torch.tensor([0.25, 0.0625, 0.015625])[:, None, None] * (places[:, None] - places).abs()
    assert found((query @ key.mT * 0.05 + bias.to(dtype)), (query, key)) is None


def test_one_large_row_lets_no_other_pass() -> None:
    """Rounding is measured row by row: a row at −1e9, which float32 holds to 64, says nothing of the others."""
    query, key = pair()
    scores = query @ key.mT * 0.5 + 0.3 * drawn(2, 3, 6, 6, seed=5)
    scores[:, :, 0] = scores[:, :, 0] - 1e9
    assert found(scores, (query, key)) is None
    scores = query @ key.mT * 0.5
    scores[:, :, 0] = 1e6 * scores[:, :, 0]
    assert found(scores, (query, key)) is None


def test_the_product_that_makes_the_scores_is_found_among_others() -> None:
    query, key = pair()
    others = (drawn(2, 3, 6, 8, seed=7), drawn(2, 3, 6, 8, seed=8))
    products = [
        others,
        (query, key),
        (key, query),
        (others[0], key),
        (query[:, :2], key[:, :2]),
        (query, key[:, :, :4]),
    ]
    known = found(query @ key.mT, *products)
    assert known is not None
    assert torch.equal(known.query, query)
    assert torch.equal(known.key, key)
    assert found(query @ key.mT, others, (key, query), (others[0], key)) is None


def test_masked_keys_do_not_count() -> None:
    query, key = pair()
    later = torch.ones(6, 6).triu(1).bool()
    for number in (-math.inf, -1e4, -1e9, torch.finfo(torch.float32).min):
        known = found((query @ key.mT * 0.5).masked_fill(later, number), (query, key))
        assert known is not None
        assert known.scale == pytest.approx(0.5, rel=8 * 2.0**-24)


@pytest.mark.parametrize("number", [-1e4, -1e9, torch.finfo(torch.float32).min, -math.inf])
def test_rows_that_see_nothing_say_nothing(number: float) -> None:
    query, key = pair()
    scores = query @ key.mT * 0.5
    scores[:, :, :2] += number
    known = found(scores, (query, key))
    assert known is not None
    assert known.scale == pytest.approx(0.5, rel=8 * 2.0**-24)
    scores[:] += number
    assert found(scores, (query, key), scaling=0.5) is not None


def test_a_head_whose_products_are_all_alike_borrows_the_scale_of_the_others() -> None:
    query, key = pair()
    key[0, 0] = key[0, 0, :1]
    known = found(query @ key.mT * 0.4321, (query, key))
    assert known is not None
    assert known.scale == pytest.approx(0.4321, rel=8 * 2.0**-24)


@pytest.mark.parametrize("keys", [1, 4])
def test_where_nothing_tells_the_scale_it_is_the_one_of_the_module_or_the_usual_one(keys: int) -> None:
    query, key = pair(n=1, m=1)
    key = key.expand(2, 3, keys, 8)
    plain, named = (found(query @ key.mT * 0.7, (query, key), **each) for each in ({}, {"scaling": 0.7}))
    assert plain is not None
    assert named is not None
    assert (plain.scale, named.scale) == (1 / math.sqrt(8), 0.7)


def test_scores_that_are_zero_are_made_of_queries_that_are() -> None:
    query, key = pair()
    known = found(0 * query @ key.mT, (0 * query, key))
    assert known is not None
    assert known.scale == 1 / math.sqrt(8)


def test_more_queries_than_keys_and_fewer() -> None:
    for n, m in ((2, 7), (7, 2), (1, 5), (5, 1)):
        query, key = pair(n=n, m=m)
        known = found(query @ key.mT * 0.5, (query, key), scaling=0.5)
        assert known is not None
        assert known.scale == 0.5


def test_batch_and_heads_on_one_axis_are_told_apart_by_the_scores() -> None:
    query, key = pair()
    known = found(query @ key.mT * 0.5, (query.flatten(0, 1), key.flatten(0, 1)))
    assert known is not None
    assert torch.equal(known.query, query)


def test_keys_that_all_heads_share_and_queries_that_all_texts_share() -> None:
    query, key = pair()
    shared = found(query @ key[:, :1].mT * 0.5, (query, key[:, :1]))
    learned = found(query[:1] @ key.mT * 0.5, (query[:1], key))
    assert shared is not None
    assert learned is not None
    assert shared.key.shape == (2, 1, 6, 8)
    assert learned.query.shape == (2, 3, 6, 8)


def test_query_heads_have_the_keys_of_their_group() -> None:
    query, key = drawn(2, 4, 6, 8, seed=1), drawn(2, 2, 6, 8, seed=2)
    for repeated, right in ((key.repeat_interleave(2, dim=1), True), (key.repeat(1, 2, 1, 1), False)):
        assert (found(query @ repeated.mT, (query, key)) is not None) == right


def test_a_cap_of_scores_less_their_largest_is_found() -> None:
    """What is subtracted after the cap is a number for each row."""
    query, key = pair()
    scores = 2.0 * torch.tanh(query @ key.mT / math.sqrt(8) / 2.0)
    known = found(scores - scores.amax(-1, keepdim=True), (query, key), softcap=2.0)
    assert known is not None
    assert (known.scale, known.cap) == (1 / math.sqrt(8), 2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_head_with_what_is_no_number_hides_no_other(bad: float) -> None:
    query, key = pair()
    query[0, 1, 2, 3] = bad
    key[1, 2, 4, 5] = bad
    known = found(query @ key.mT * 0.5, (query, key))
    assert known is not None
    assert known.scale == pytest.approx(0.5, rel=8 * 2.0**-24)
    assert found(query.nan_to_num(1.0, 1.0) @ key.mT, (query, key)) is None, "numbers that such queries cannot make"


# ------------------------------------------------------------------------------------------------------------ sinks


def with_sinks(logits: Tensor, dtype: torch.dtype = torch.float32, cap: float | None = None) -> tuple[Tensor, Product]:
    query, key = pair(dtype)
    scores = query @ key.mT * 0.5
    scores = scores if cap is None else cap * torch.tanh(scores / cap)
    column = logits.to(dtype)[None, :, None, None].expand(2, 3, 6, 1)
    return torch.cat([scores, column], dim=-1), Product(query, key, 0.5, cap)


@EVERY_TYPE
@pytest.mark.parametrize("cap", [None, 2.0])
def test_the_sink_of_each_head_is_read_off_its_column(dtype: torch.dtype, cap: float | None) -> None:
    logits = torch.tensor([0.25, -1.5, 3.0])
    scores, known = with_sinks(logits, dtype, cap)
    less = scores - scores.amax(-1, keepdim=True)
    for given in (scores, less) if cap is None else (scores,):
        exact = sinks_of(given, known, SimpleNamespace(sinks=logits))
        assert exact == logits.double().tolist(), "the numbers that the module holds"
        near = sinks_of(given, known, SimpleNamespace())
        # A score of at most 8 is rounded once, the difference from the largest once more, and ends are averaged.
        assert near == pytest.approx(logits.tolist(), abs=4 * 16 * TYPES[dtype])


def test_a_column_that_is_no_one_number_for_each_head_is_no_sink() -> None:
    scores, known = with_sinks(torch.tensor([0.25, -1.5, 3.0]))
    scores[1, 2, 3, -1] += 0.01
    assert sinks_of(scores, known, SimpleNamespace()) is None
    assert sinks_of(scores, known, SimpleNamespace(sinks=torch.tensor([0.25, -1.5, 3.0]))) is None


def test_sinks_that_a_module_holds_and_does_not_use_are_not_believed() -> None:
    logits = torch.tensor([0.25, -1.5, 3.0])
    scores, known = with_sinks(logits)
    assert sinks_of(scores, known, SimpleNamespace(sinks=logits + 1)) == pytest.approx(
        logits.tolist(), abs=64 * 2.0**-24
    )
    assert sinks_of(scores, known, SimpleNamespace(sinks=logits[:2])) == pytest.approx(
        logits.tolist(), abs=64 * 2.0**-24
    )
    assert sinks_of(scores, known, None) == pytest.approx(logits.tolist(), abs=64 * 2.0**-24)


def test_a_head_that_sees_nothing_but_its_sink_has_none_that_is_known() -> None:
    scores, known = with_sinks(torch.tensor([0.25, -1.5, 3.0]))
    scores[:, 1, :, :-1] = -math.inf
    assert sinks_of(scores, known, SimpleNamespace()) is None


def test_the_factor_is_told_from_all_scores_and_not_from_one() -> None:
    """Scores of one row alone differ by rounding; the factor is that of least squares."""
    query, key = pair(torch.bfloat16, n=40, m=40)
    known = found(query @ key.mT * torch.tensor(0.4321, dtype=torch.bfloat16), (query, key))
    assert known is not None
    assert known.scale == pytest.approx(float(torch.tensor(0.4321, dtype=torch.bfloat16)), rel=2.0**-8 / math.sqrt(40))
