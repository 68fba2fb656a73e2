"""Structure: components against transitive closure, and every fact about small arrays against exact rationals."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import rankscope as rs
from rankscope.arrays import UNIT
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.masks import Mask, parse
from rankscope.attention.operators import Mean, Operator, Product, support_of
from rankscope.attention.structure import (
    Structure,
    blocks_of_mask,
    blocks_of_pattern,
    components,
    distinct,
    of_array,
    separated,
)
from tests.oracles import SEES, Boolean, Float64, rational, seen_by

PATTERNS = st.integers(1, 8).flatmap(
    lambda n: st_numpy.arrays(np.bool_, (n, n), elements=st.sampled_from([True, False, False]), fill=st.nothing())
)

SMALL = st.tuples(st.integers(0, 5), st.integers(0, 5)).flatmap(
    lambda shape: st_numpy.arrays(
        np.float64, shape, elements=st.sampled_from([0.0, 0.0, 0.0, -0.0, 1.0, 2.0, -1.0, 0.5]), fill=st.nothing()
    )
)
SQUARE = st.integers(1, 5).flatmap(
    lambda n: st_numpy.arrays(
        np.float64, (n, n), elements=st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0, -1.0, 0.5]), fill=st.nothing()
    )
)


def closure(pattern: Boolean) -> Boolean:
    """Who reaches whom, by powers of the adjacency matrix in integers."""
    size = len(pattern)
    power = np.linalg.matrix_power((pattern | np.eye(size, dtype=bool)).astype(object), size)
    return np.array(power > 0, dtype=np.bool_)


def is_side(matrix: Any, side: str) -> bool:
    above = any(matrix[i, j] != 0 for i, j in np.ndindex(matrix.shape) if j > i)
    below = any(matrix[i, j] != 0 for i, j in np.ndindex(matrix.shape) if j < i)
    return {"lower": not above, "upper": not below, "diagonal": not above and not below, "none": True}[side]


def check_facts(structure: Structure, matrix: Float64) -> None:
    """Every fact about a matrix of floats, against its exact rational rank and determinant."""
    exact = rational(matrix)
    assert structure.shape == matrix.shape
    assert structure.rank_bound.value >= (exact.rank() if matrix.size else 0), structure.rank_bound.because
    assert is_side(matrix, structure.side.value), structure.side.because
    if matrix.shape[0] != matrix.shape[1]:
        assert structure.blocks.value is None
        return
    determinant = exact.det() if matrix.size else 1
    if structure.det_sign.value is not None:
        assert structure.det_sign.value == (determinant > 0) - (determinant < 0), structure.det_sign.because
    if structure.row_sum.value is not None:
        assert (matrix.sum(axis=1) == structure.row_sum.value).all(), structure.row_sum.because
    labels = structure.blocks.value
    assert labels is not None
    product = 1
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        product = product * rational(matrix[np.ix_(members, members)]).det()
    assert product == determinant, structure.blocks.because
    for fact in (structure.side, structure.rank_bound, structure.row_sum, structure.det_sign, structure.blocks):
        assert fact.because


@settings(max_examples=200)
@given(PATTERNS)
def test_components_are_those_of_the_transitive_closure(pattern: Boolean) -> None:
    labels = components(pattern)
    reach = closure(pattern)
    assert np.array_equal(labels[:, None] == labels[None, :], reach & reach.T)


@settings(max_examples=200)
@given(PATTERNS)
def test_components_are_numbered_by_first_appearance(pattern: Boolean) -> None:
    labels = components(pattern)
    first = list(dict.fromkeys(labels.tolist()))
    assert first == sorted(first) == list(range(len(first)))


def test_all_components_of_three_indices() -> None:
    for bits in itertools.product([False, True], repeat=9):
        pattern = np.array(bits).reshape(3, 3)
        labels = components(pattern)
        reach = closure(pattern)
        assert np.array_equal(labels[:, None] == labels[None, :], reach & reach.T), pattern


@pytest.mark.deep
def test_all_components_of_four_indices() -> None:
    for bits in itertools.product([False, True], repeat=12):
        pattern = np.eye(4, dtype=bool)
        pattern[~np.eye(4, dtype=bool)] = bits
        labels = components(pattern)
        reach = closure(pattern)
        assert np.array_equal(labels[:, None] == labels[None, :], reach & reach.T), pattern


@settings(max_examples=400)
@given(SMALL)
def test_facts_of_arrays_are_true_of_the_exact_numbers(matrix: Float64) -> None:
    check_facts(of_array(matrix), matrix)


@settings(max_examples=400)
@given(SMALL)
def test_exact_ranks_of_arrays_are_those_of_the_exact_numbers(matrix: Float64) -> None:
    record = rs.rank_exact(matrix)
    truth = rational(matrix).rank() if matrix.size else 0
    assert record.guarantee == "proved"
    assert record.low is not None
    assert record.high is not None
    assert record.low <= truth <= record.high, record.because
    assert record.value is None or record.value == truth
    assert (record.value is None) == (record.low != record.high)


@settings(max_examples=300)
@given(st.lists(SQUARE, min_size=2, max_size=3), st.booleans(), st.sampled_from(["none", "lower", "upper"]))
def test_facts_of_products_and_means_are_true_of_the_exact_numbers(
    matrices: list[Float64], mean: bool, side: str
) -> None:
    size = min(len(matrix) for matrix in matrices)
    cuts: dict[str, Callable[[Float64], Float64]] = {"none": np.asarray, "lower": np.tril, "upper": np.triu}
    cut = cuts[side]
    parts = [np.asarray(cut(matrix[:size, :size])) for matrix in matrices]
    operators = tuple(single(part) for part in parts)
    composed: Operator = Mean(operators) if mean else Product(operators)
    # sums and products of multiples of 1/2 of size at most 2, over at most 5 indices, are exact in float64
    exact = np.sum(parts, axis=0) / len(parts) if mean else np.linalg.multi_dot(parts)
    if mean and len(parts) == 3:
        exact = exact * 3  # a third is no float; the sum has the rank, the sign and the side of the mean
        check_facts_but_determinant_size(composed.structure, exact)
    else:
        check_facts(composed.structure, np.asarray(exact, dtype=np.float64))


def check_facts_but_determinant_size(structure: Structure, matrix: Float64) -> None:
    """The facts of a matrix that hold for each of its positive multiples."""
    determinant = rational(matrix).det()
    assert structure.rank_bound.value >= rational(matrix).rank()
    assert is_side(matrix, structure.side.value)
    assert structure.det_sign.value in (None, (determinant > 0) - (determinant < 0)), structure.det_sign.because


def test_the_mean_of_diagonals_that_are_not_positive_has_no_sign_by_law() -> None:
    """diag(−1, −1) and diag(1, 3) have determinants +1 and +3; their mean diag(0, 1) is singular."""
    mean = Mean((single(np.diag([-1.0, -1.0])), single(np.diag([1.0, 3.0]))))
    assert mean.structure.det_sign.value in (None, 0), mean.structure.det_sign.because


def test_the_mean_of_both_triangles_has_no_sign_by_law() -> None:
    """science.md B7: L = [e₁; e₁; e₂], U = [e₂; e₃; e₃] are limits of attention matrices; det((L + U)/2) = −1/4."""
    e = np.eye(3)
    halves = single(np.stack([e[0], e[0], e[1]])), single(np.stack([e[1], e[2], e[2]]))
    mean = Mean(halves)
    assert rational(np.asarray(mean.matrix)).det() == rational(np.array([[-0.25]]))[0, 0]
    assert mean.structure.det_sign.value is None
    assert "no law" in mean.structure.det_sign.because
    assert mean.structure.rank_bound.value == 3
    assert rs.logdet(mean).sign == -1


def test_a_mean_of_attention_on_both_sides_claims_nothing_of_the_determinant() -> None:
    made = rs.synthetic(n=6, d=4, heads=2, plan="heads")
    assert isinstance(made, list)
    structure = made[-2].structure
    assert structure.side.value == "none"
    assert structure.det_sign.value is None
    assert structure.row_sum.value == 1.0


@pytest.mark.parametrize("name", SEES)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_structure_of_masks_against_brute_force(name: str, size: int) -> None:
    random = np.random.default_rng(size)
    operator = single(attention(*random.standard_normal((2, size, 4)), mask=name))
    seen = seen_by(SEES[name], size, size)
    reach = closure(seen)
    labels = operator.structure.blocks.value
    assert labels is not None
    assert np.array_equal(labels[:, None] == labels[None, :], reach & reach.T)
    sides = {side for side in ("lower", "upper") if is_side(seen, side)}
    expected = "diagonal" if len(sides) == 2 else next(iter(sides), "none")
    assert operator.structure.side.value == expected
    triangular = labels.max() + 1 == size
    assert operator.structure.triangular == triangular
    assert operator.structure.det_sign.value == (1 if triangular else None)


def test_facts_of_a_mask_are_believed_only_where_they_settle_it() -> None:
    """Without facts the same structure is read off the mask itself."""
    for name in ("causal", "anticausal", "bidirectional", "window:1"):
        mask = parse(name)
        silent = Mask(mask.label, mask.allows)
        index = np.arange(5)
        seen = np.broadcast_to(mask.allows(index[:, None], index[None, :]), (5, 5))
        (blocks, side), (read, side_read) = blocks_of_mask(mask, seen), blocks_of_mask(silent, seen)
        assert blocks.value is not None
        assert read.value is not None
        assert blocks.value.tolist() == read.value.tolist()
        assert side.value == side_read.value


def test_a_permuted_triangle_is_found_and_its_determinant_is_exact() -> None:
    random = np.random.default_rng(5)
    order = random.permutation(7)
    matrix = np.tril(random.integers(1, 9, (7, 7))).astype(np.float64)[np.ix_(order, order)]
    structure = of_array(matrix)
    assert structure.triangular
    assert structure.side.value == "none"
    check_facts(structure, matrix)
    assert rs.rank_exact(matrix).value == 7


def test_prefix_is_one_block_and_then_ones() -> None:
    operator = single(attention(*np.random.default_rng(0).standard_normal((2, 6, 4)), mask="prefix:3"))
    assert operator.structure.blocks.value is not None
    assert np.bincount(operator.structure.blocks.value).tolist() == [3, 1, 1, 1]


def test_strict_triangles_are_singular_by_structure() -> None:
    for name, side in (("~causal", "upper"), ("~anticausal", "lower")):
        operator = single(attention(*np.random.default_rng(0).standard_normal((2, 5, 4)), mask=name))
        assert operator.structure.side.value == side
        assert operator.structure.det_sign.value == 0
        assert operator.structure.rank_bound.value == 4
        assert operator.structure.row_sum.value is None


def test_rows_are_distinct_bit_by_bit_and_minus_zero_is_zero() -> None:
    rows = np.array([[0.0, 1.0], [-0.0, 1.0], [5e-324, 1.0], [0.0, 1.0]])
    assert distinct(rows) == 2
    assert distinct(np.zeros((0, 3))) == 0


def test_support_is_the_side_on_which_entries_may_stand() -> None:
    for matrix in (np.tril(np.ones((4, 4))), np.triu(np.ones((4, 4))), np.eye(4), np.ones((4, 4)), np.ones((2, 5))):
        structure = of_array(matrix)
        assert support_of(structure).tolist() == (matrix != 0).sum(axis=1).tolist()


def test_a_rectangle_has_no_blocks() -> None:
    blocks, side = blocks_of_pattern(np.ones((2, 3), dtype=bool), "a rectangle")
    assert blocks.value is None
    assert side.value == "none"
    assert "2 × 3" in blocks.because


@pytest.mark.parametrize("duplicates", [0, 1, 8, 32])
def test_duplicated_tokens_bound_the_rank_of_bidirectional_attention(duplicates: int) -> None:
    """numerics.md A24: 64 tokens, of which some are copies: the rank is at most the number of distinct ones."""
    random = np.random.default_rng(1)
    queries, keys = random.standard_normal((2, 64, 16))
    for tokens in (queries, keys):
        tokens[64 - duplicates :] = tokens[:duplicates]
    record = rs.rank_exact(single(attention(queries, keys)))
    assert record.high == 64 - duplicates
    assert ("distinct" in record.because) == (duplicates > 0)
    causal = rs.rank_exact(single(attention(queries, keys, mask="causal")))
    assert causal.value == 64, "causal attention keeps full rank"


def test_rows_that_rounding_separates_are_counted() -> None:
    matrix = np.random.default_rng(0).random((8, 5))
    assert separated(matrix, UNIT) == 0
    twice = np.vstack([matrix, matrix])
    assert separated(twice, UNIT) == 0  # equal rows are not separated
    twice[9] *= 1 + 2 * UNIT
    twice[12, 3] = np.nextafter(twice[12, 3], 2)
    assert separated(twice, UNIT) == 2
    assert separated(np.zeros((0, 3)), UNIT) == 0
    assert separated(np.full((3, 3), 1e308), UNIT) == 0
