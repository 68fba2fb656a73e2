"""Heads side by side, [A_1 … A_H]: the matrix, its rank from both sides, its distance from what is meant, its balls.

Exact matrices are rationals: stored floats, and linear attention of given features. Means and products by themselves
are in `test_structure.py` and `test_operators.py`; here they stand beside each other.
"""

import itertools
import math
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import rankscope as rs
from rankscope.attention import exact
from rankscope.attention.build import attention, from_logits
from rankscope.attention.compose import of_concatenation
from rankscope.attention.distance import distance
from rankscope.attention.existing import single
from rankscope.attention.operators import Concatenation, Mean, Operator, Product
from rankscope.errors import RankscopeError
from rankscope.records import Record
from tests.oracles import (
    DIGITS_60,
    SEES,
    UNIT,
    Float64,
    balls,
    dyadic,
    exact_scores,
    frobenius,
    inside,
    normalised,
    precision,
    rational,
    seen_by,
    softmax,
)

SIZE = 6
SEEDS = st.integers(0, 2**32 - 1)
NUMBERS = st.sampled_from([0.0, 0.0, 1.0, 2.0, -1.0, 0.5])


@st.composite
def parts_of_one_height(draw: st.DrawFn) -> list[Float64]:
    rows = draw(st.integers(1, 5))
    widths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    return [draw(st_numpy.arrays(np.float64, (rows, width), elements=NUMBERS)) for width in widths]


def beside(matrices: list[Any]) -> Any:
    """Rational matrices, or matrices of balls, side by side."""
    rows = [list(itertools.chain(*each)) for each in zip(*(matrix.tolist() for matrix in matrices), strict=True)]
    return type(matrices[0])(rows)


def concatenated(*matrices: Any) -> Concatenation:
    return Concatenation(tuple(single(matrix) for matrix in matrices))


def record(operator: Operator, name: str, **options: Any) -> Record:
    found = rs.analyze(operator, measures=name, **options)[name]
    assert isinstance(found, Record)
    return found


def pair(seed: int) -> tuple[Float64, Float64]:
    queries, keys = dyadic(np.random.default_rng(seed), 2, SIZE, 4)
    return queries, keys


def positive(seed: int, width: int) -> tuple[Float64, Float64]:
    """Features that are exact in float64, and positive, so that no sum vanishes."""
    queries, keys = np.abs(dyadic(np.random.default_rng(seed), 2, SIZE, width)) + 0.0625
    return queries, keys


def linear(seed: int, width: int, mask: str = "bidirectional") -> tuple[Operator, Any]:
    """Linear attention of rank `width` at most, and its exact matrix."""
    queries, keys = positive(seed, width)
    made = single(attention(queries, keys, kernel="linear:identity", mask=mask))
    return made, normalised(queries, keys, seen_by(SEES[mask], SIZE, SIZE))


# ---------------------------------------------------------------------------------------------------------- the matrix


def test_heads_stand_side_by_side_in_their_order() -> None:
    first, second, third = np.arange(6.0).reshape(2, 3), -np.ones((2, 1)), np.eye(2)
    found = concatenated(first, second, third)
    assert found.shape == found.matrix.shape == (2, 6)
    assert found.matrix.tolist() == [[0, 1, 2, -1, 1, 0], [3, 4, 5, -1, 0, 1]]
    assert found.support.tolist() == [sum(part.support[i] for part in found.parts) for i in range(2)]
    assert (first == np.arange(6.0).reshape(2, 3)).all(), "the parts are left as they are"


def test_the_output_of_a_layer_is_the_concatenation_times_the_stacked_values() -> None:
    random = np.random.default_rng(0)
    heads = [single(attention(*random.standard_normal((2, SIZE, 4)))) for _ in range(3)]
    values = random.standard_normal((3, SIZE, 2))
    layer = sum(np.asarray(head.matrix) @ value for head, value in zip(heads, values, strict=True))
    mixed = np.asarray(Concatenation(tuple(heads)).matrix) @ np.concatenate(values)
    assert np.allclose(mixed, layer, rtol=0, atol=64 * SIZE * UNIT * np.abs(values).max())


def test_singular_values_are_those_of_the_sum_of_the_grams() -> None:
    """[A B][A B]ᵀ = AAᵀ + BBᵀ; by Weyl each value is at least that of each part."""
    made = rs.synthetic(n=12, d=4, heads=3)
    assert isinstance(made, list)
    found = made[-1]
    assert isinstance(found, Concatenation)
    assert found.origin.over == "heads-concatenated"
    values = rs.singular_values(found)
    gram = sum(np.asarray(head.matrix) @ np.asarray(head.matrix).T for head in made[:3])
    # eigenvalues to n·eps·λ₁ each, so that their sum and the largest are known; the least are not
    assert values**2 == pytest.approx(np.linalg.eigvalsh(gram)[::-1], rel=0, abs=64 * UNIT * 12 * values[0] ** 2)
    for head in made[:3]:
        assert (values >= rs.singular_values(head) - 16 * 12 * UNIT * values[0]).all()
    assert values[0] <= math.sqrt(sum(rs.singular_values(head)[0] ** 2 for head in made[:3])) * (1 + 64 * UNIT)


# --------------------------------------------------------------------------------------------------------- the rank


@settings(max_examples=200)
@given(parts_of_one_height())
def test_facts_of_a_concatenation_are_true_of_the_exact_numbers(matrices: list[Float64]) -> None:
    """max rank ≤ rank ≤ min(n, Σ rank), in rationals; and so says the record, proved."""
    operator = concatenated(*matrices)
    whole, ranks = beside([rational(matrix) for matrix in matrices]), [rational(matrix).rank() for matrix in matrices]
    structure, truth = operator.structure, whole.rank()
    assert max(ranks) <= truth <= min(len(matrices[0]), sum(ranks))
    assert structure.shape == (whole.nrows(), whole.ncols()) == operator.shape
    assert truth <= structure.rank_bound.value, structure.rank_bound.because
    if len(matrices) > 1:
        square = structure.shape[0] == structure.shape[1]
        assert (structure.blocks.value is None) == (not square)
        assert structure.det_sign.value is None
        assert structure.side.value == "none"
    for fact in (structure.side, structure.rank_bound, structure.row_sum, structure.det_sign, structure.blocks):
        assert fact.because
    found = record(operator, "rank_exact")
    assert found.low is not None
    assert found.high is not None
    assert found.guarantee == "proved"
    assert found.low <= truth <= found.high
    assert found.low >= max(record(single(matrix), "rank_exact").low or 0 for matrix in matrices)


@settings(max_examples=60)
@given(parts_of_one_height())
def test_a_proved_rank_is_the_exact_rank(matrices: list[Float64]) -> None:
    truth = beside([rational(matrix) for matrix in matrices]).rank()
    found = record(concatenated(*matrices), "rank_exact", prove=True)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= truth <= found.high
    assert found.value in (None, truth)


@pytest.mark.parametrize("widths", [(1, 1), (2, 1), (2, 3), (2, 2, 2), (1, 1, 1), (4, 4), (6, 1)])
def test_ranks_of_different_matrices_add_up_to_the_number_of_rows(widths: tuple[int, ...]) -> None:
    """Products of integers, exact in float64: generic ones of rank w have min(n, Σw) together, which is proved."""
    random = np.random.default_rng(0)
    matrices = [
        np.asarray(random.integers(-4, 5, (SIZE, w)) @ random.integers(-4, 5, (w, SIZE)), dtype=np.float64)
        for w in widths
    ]
    truth = beside([rational(matrix) for matrix in matrices]).rank()
    assert truth == min(SIZE, sum(widths))
    operator = concatenated(*matrices)
    found = record(operator, "rank_exact", prove=True)
    assert found.guarantee == "proved"
    assert found.low is not None
    assert found.high is not None
    assert found.low <= truth <= found.high
    assert rs.rank_numerical(operator).value == truth
    if truth == SIZE:
        assert (found.value, found.low, found.high) == (SIZE, SIZE, SIZE)
        assert "a minor of order 6 is not zero" in found.because


@pytest.mark.parametrize("widths", [(2, 1), (2, 3), (2, 2, 2), (1, 1, 1), (4, 4), (4, 3)])
def test_heads_whose_rows_sum_to_one_share_the_vector_of_ones(widths: tuple[int, ...]) -> None:
    """A·1 = 1 is an output of each head and counts once: linear attention of w features each, in rationals, has rank
    min(n, 1 + Σ(w − 1)); with (4, 3) that is all of 6, and proved.
    """
    made = [linear(seed, width) for seed, width in enumerate(widths)]
    operator, truth = Concatenation(tuple(each[0] for each in made)), beside([each[1] for each in made])
    assert [each[1].rank() for each in made] == list(widths)
    assert truth.rank() == min(SIZE, 1 + sum(width - 1 for width in widths))
    assert truth.rank() <= operator.structure.rank_bound.value <= min(SIZE, sum(widths))
    found = record(operator, "rank_exact", prove=True)
    assert found.low is not None
    assert found.high is not None
    assert max(widths) <= found.low <= truth.rank() <= found.high
    if truth.rank() == SIZE:
        assert (found.value, found.guarantee) == (SIZE, "proved")


def test_equal_heads_add_nothing() -> None:
    """And the upper bound, which does not see that they are equal, is not taken for the rank."""
    head, truth = linear(0, 2)
    operator = Concatenation((head, head, head))
    assert beside([truth] * 3).rank() == 2
    for name in ("rank_exact", "rank_numerical"):
        found = record(operator, name, prove=name == "rank_exact")
        assert found.low is not None
        assert found.high is not None
        assert found.low <= 2 <= found.high
        assert found.value in (None, 2)


def test_one_head_of_full_rank_makes_the_whole_of_full_rank() -> None:
    """Without any proof: causal attention has n, and no more rows are there."""
    queries, keys = np.random.default_rng(0).standard_normal((2, SIZE, 4))
    causal, whole = (single(attention(queries, keys, mask=mask)) for mask in ("causal", "bidirectional"))
    for parts in (
        (causal, whole),
        (whole, causal),
        (whole, Mean((causal, causal))),
        (Product((causal, causal)), whole),
    ):
        found = record(Concatenation(parts), "rank_exact")
        assert (found.value, found.low, found.high, found.guarantee) == (SIZE, SIZE, SIZE, "proved")
    assert record(Concatenation((whole, whole)), "rank_exact").value is None


def test_an_upper_bound_is_no_lower_bound() -> None:
    """A zero head leaves the rank of the other; the lower bound is the best of any head, wherever it stands."""
    whole, nothing = np.tril(np.ones((4, 4))), np.zeros((4, 2))
    for matrices in ((nothing, whole), (whole, nothing), (nothing, whole, nothing)):
        found = record(concatenated(*matrices), "rank_exact")
        assert (found.low, found.high) == (4, 4)
    found = record(concatenated(nothing, nothing), "rank_exact")
    assert (found.value, found.low, found.high) == (0, 0, 0)


# --------------------------------------------------------------------------------------------- distance, and exactness


@settings(max_examples=60)
@given(
    SEEDS,
    st.sampled_from([0.25, 1.0, 8.0]),
    st.lists(st.sampled_from(sorted(SEES)), min_size=1, max_size=4),
    st.sampled_from(["float64", "bfloat16"]),
)
def test_a_concatenation_stays_within_its_distance(seed: int, scale: float, masks: list[str], dtype: str) -> None:
    tokens = [pair(seed + head) for head in range(len(masks))]
    parts = tuple(
        single(attention(*each, mask=mask, scale=scale, dtype=dtype)) for each, mask in zip(tokens, masks, strict=True)
    )
    operator = Concatenation(parts)
    with precision(DIGITS_60):
        truth = beside(
            [
                softmax(exact_scores(*each, scale), seen_by(SEES[mask], SIZE, SIZE))
                for each, mask in zip(tokens, masks, strict=True)
            ]
        )
        assert inside(None, frobenius(balls(operator.matrix) - truth), distance(operator))
        # no more than a few hundred roundings of the norm: not vacuous
        unit = 2.0**-8 / 100 if dtype == "bfloat16" else UNIT
        assert distance(operator) <= 300 * unit * float(frobenius(truth).mid())
    assert distance(operator) == pytest.approx(math.hypot(*map(distance, parts)), rel=1e-12)


def test_bare_numbers_side_by_side_are_at_no_distance() -> None:
    assert distance(concatenated(np.eye(2), np.ones((2, 3)))) == 0.0


@pytest.mark.parametrize("mask", ["bidirectional", "causal", "prefix:2"])
def test_balls_hold_the_exact_matrix(mask: str) -> None:
    """Of rationals, and of the softmax of given scores, entry by entry; balls are as narrow as the precision."""
    scores = dyadic(np.random.default_rng(4), SIZE, SIZE)
    (first, one), (second, two) = linear(0, 2, mask), linear(1, 3)
    operator = Concatenation((first, from_logits(scores, mask=mask), second, single(np.ones((SIZE, 2)) / 3)))
    with precision(DIGITS_60):
        truth = beside(
            [
                flint.arb_mat(one),
                softmax(scores, seen_by(SEES[mask], SIZE, SIZE)),
                flint.arb_mat(two),
                balls(np.ones((SIZE, 2)) / 3),
            ]
        )
        found = exact.balls(operator)
        assert (found.nrows(), found.ncols()) == operator.shape == (SIZE, 3 * SIZE + 2)
        for mine, theirs in zip(found.entries(), truth.entries(), strict=True):
            assert mine.overlaps(theirs)
            assert mine.rad() <= flint.arb(2) ** (12 - DIGITS_60)


def test_a_concatenation_of_rationals_is_exact_in_balls() -> None:
    matrices = [np.array([[0.5, 0.25], [1.0, 0.0]]), np.array([[3.0], [1 / 3]])]
    found = exact.balls(concatenated(*matrices)).tolist()
    for i, row in enumerate(np.hstack(matrices).tolist()):
        for entry, number in zip(found[i], row, strict=True):
            assert entry.rad() == 0
            assert Fraction(number) == Fraction(float(entry.mid()))


# ------------------------------------------------------------------------------------------------ with means, products


def test_row_sums_add_up_where_every_part_has_one() -> None:
    random = np.random.default_rng(0)
    head, bare = single(attention(*random.standard_normal((2, SIZE, 4)))), single(np.ones((SIZE, SIZE)))
    unequal = single(attention(*random.standard_normal((2, SIZE, 4)), kernel="sigmoid"))
    mean, product = Mean((head, head)), Product((head, head))
    for parts, total in (
        ((head, head), 2.0),
        ((head, mean, product), 3.0),
        ((Concatenation((head, mean)), product), 3.0),
        ((head, unequal), None),
        ((bare, head), None),
    ):
        operator = Concatenation(parts)
        fact = operator.structure.row_sum
        assert fact.value == total
        assert fact.because
        if total is not None:
            sums = np.asarray(operator.matrix).sum(axis=1)
            assert np.abs(sums - total).max() <= 32 * total * SIZE * UNIT


def test_products_and_means_of_concatenations_have_true_facts() -> None:
    """B·[A_1 A_2] and the mean of two concatenations, in rationals: rank, shape, row sum."""
    (first, one), (second, two), (third, three) = linear(0, 2), linear(1, 1), linear(2, 1)
    side, other = Concatenation((first, second)), Concatenation((second, third))
    whole, rest = beside([one, two]), beside([two, three])
    for operator, truth in (
        (Product((third, side)), three * whole),
        (Product((first, side)), one * whole),
        (Mean((side, other)), (whole + rest) / flint.fmpq(2)),
        (Concatenation((side, Mean((third, third)), Product((first, second)))), beside([whole, three, one * two])),
    ):
        assert isinstance(operator, Product | Mean | Concatenation)
        structure = operator.structure
        assert operator.shape == structure.shape == operator.matrix.shape == (truth.nrows(), truth.ncols())
        assert structure.rank_bound.value >= truth.rank()
        assert structure.side.value == "none"
        assert structure.det_sign.value is None
        sums = {sum(row, flint.fmpq(0)) for row in truth.tolist()}
        assert structure.row_sum.value is None or sums == {flint.fmpq(int(structure.row_sum.value))}
        found = record(operator, "rank_exact", prove=True)
        assert found.low is not None
        assert found.high is not None
        assert found.low <= truth.rank() <= found.high
        with precision(DIGITS_60):
            assert inside(None, frobenius(balls(operator.matrix) - flint.arb_mat(truth)), distance(operator))
            for mine, theirs in zip(exact.balls(operator).entries(), truth.entries(), strict=True):
                assert (mine - theirs).contains(0)
                assert mine.rad() <= flint.arb(2) ** (16 - DIGITS_60)


def test_a_single_part_is_itself() -> None:
    operator = concatenated(np.tril(np.ones((3, 3))))
    assert of_concatenation([operator.parts[0].structure]) is operator.parts[0].structure
    assert operator.structure.side.value == "lower"
    assert operator.matrix.tolist() == np.tril(np.ones((3, 3))).tolist()


# ------------------------------------------------------------------------------------------------- what is made of it


def test_measures_of_squares_and_of_distributions_say_why_they_are_not_known() -> None:
    made = rs.synthetic(n=SIZE, d=4, heads=2)
    assert isinstance(made, list)
    for name, because in (
        ("logdet", "not square"),
        ("eigenvalues", "square"),
        ("offdiagonal_rank", "not square"),
        ("row_entropy", "not stochastic"),
        ("rank_output", "not known"),
    ):
        found = record(made[-1], name)
        assert found.value is None, name
        assert because in found.because, name


def test_each_layer_of_a_stack_has_its_heads_side_by_side() -> None:
    made = rs.synthetic(n=SIZE, d=4, heads=2, layers=2, dtype="float16")
    assert isinstance(made, list)
    wide = [each for each in made if each.origin.over == "heads-concatenated"]
    assert [each.origin.layer for each in wide] == [0, 1]
    for layer, each in enumerate(wide):
        assert isinstance(each, Concatenation)
        assert (each.shape, each.subject, each.storage.name) == ((SIZE, 2 * SIZE), "stored", "float16")
        heads = [np.asarray(head.matrix) for head in made[2 * layer : 2 * layer + 2]]
        assert np.array_equal(each.matrix, np.hstack(heads))
        assert each.origin.head is None
        assert each.origin.digest is None


def test_heads_of_different_heights_are_refused_together() -> None:
    """Queries that see nothing under relu are dropped, in one head more than in the other."""
    with pytest.raises(RankscopeError, match="RS101"):
        rs.synthetic(n=9, d=2, heads=2, kernel="linear:relu", empty_rows="drop")


def test_a_certificate_of_heads_side_by_side_is_verified() -> None:
    (first, _), (second, _) = linear(0, 2), linear(1, 3)
    verdicts = rs.verify(rs.certificate(Concatenation((first, second))))
    assert verdicts
    assert {verdict.verdict for verdict in verdicts} == {"verified"}
