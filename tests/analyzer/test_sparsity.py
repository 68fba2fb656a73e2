"""Rows against plain Python: each measure on its support, rows without a formula left out and counted."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.operators import Mean, Operator, Product
from tests import oracles
from tests.oracles import EPS, SEES, UNIT, Float64, seen_by

SEEDS = st.integers(0, 2**32 - 1)

DEFINITIONS: dict[str, tuple[int, Callable[[Sequence[float]], float]]] = {
    "row_entropy": (1, oracles.entropy),
    "row_entropy_normalized": (2, lambda row: oracles.entropy(row) / math.log(len(row))),
    "hoyer": (2, oracles.hoyer),
    "l1_l2": (1, oracles.l1_l2),
    "gini": (1, oracles.gini),
}
"""The least support on which a measure is not 0/0, and its definition on the places of one row."""

STOCHASTIC = [*DEFINITIONS, "sink_rate", "dobrushin"]


def check_rows(operator: Operator | Float64, rows: list[list[float]], columns: int) -> None:
    """Every measure against its definition on the given places of each row, to n roundings of numbers of size ln n."""
    bound = 64 * (columns + 4) * UNIT * (1 + math.log(max(columns, 1)))
    for name, (least, definition) in DEFINITIONS.items():
        found = getattr(rs, name)(operator)
        chosen = [row for row in rows if len(row) >= least and any(row)]
        if not chosen:
            assert found.value is None
            assert found.because
            continue
        truth = math.fsum(definition(row) for row in chosen) / len(chosen)
        assert found.value == pytest.approx(truth, rel=0, abs=bound), name
        assert found.details["rows_left_out"] == len(rows) - len(chosen), name
        assert found.guarantee == "estimated"


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 9), st.sampled_from(sorted(SEES)), st.sampled_from([0.0, 0.5, 4.0, 64.0]))
def test_rows_of_attention_are_measured_on_their_support(seed: int, size: int, mask: str, scale: float) -> None:
    queries, keys = np.random.default_rng(seed).standard_normal((2, size, 4))
    operator = single(attention(queries, keys, mask=mask, scale=scale))
    seen = seen_by(SEES[mask], size, size)
    check_rows(operator, [row[where].tolist() for row, where in zip(operator.matrix, seen, strict=True)], size)


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 9), st.integers(1, 9), st.sampled_from(["full", "lower", "upper", "diagonal"]))
def test_rows_of_arrays_are_measured_on_their_side(seed: int, rows: int, columns: int, side: str) -> None:
    matrix = np.random.default_rng(seed).random((rows, columns)) + 0.1
    sides: dict[str, Callable[[int, int], bool]] = {
        "full": lambda i, j: True,
        "lower": lambda i, j: j <= i,
        "upper": lambda i, j: i <= j,
        "diagonal": lambda i, j: i == j,
    }
    sees = sides[side]
    seen = np.array([[sees(i, j) for j in range(columns)] for i in range(rows)])
    matrix = np.where(seen, matrix, 0.0)
    total = matrix.sum(axis=1, keepdims=True)
    matrix = np.divide(matrix, total, out=np.zeros_like(matrix), where=total > 0)
    places = [row[where].tolist() for row, where in zip(matrix, seen, strict=True)]
    check_rows(matrix, places, columns)


def test_rows_that_carry_no_weight_are_left_out_and_counted() -> None:
    matrix = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [0.25, 0.25, 0.5]])
    check_rows(matrix, matrix.tolist(), 3)
    assert rs.row_entropy(matrix).details["rows_left_out"] == 1
    assert rs.row_sum_defect(matrix).value == 0.0
    assert rs.sink_rate(matrix).details["share"] == 0.375


def test_the_first_causal_row_is_left_out_where_the_formula_is_zero_by_zero() -> None:
    """Uniform causal attention: every row is as spread out as it can be, and row 1 has nothing to spread."""
    operator = single(attention(np.zeros((6, 2)), np.zeros((6, 2)), mask="causal"))
    assert rs.row_entropy_normalized(operator).value == pytest.approx(1.0, abs=16 * UNIT)
    assert rs.row_entropy_normalized(operator).details["rows_left_out"] == 1
    assert rs.hoyer(operator).value == pytest.approx(0.0, abs=64 * UNIT)
    assert rs.hoyer(operator).details["rows_left_out"] == 1
    assert rs.row_entropy(operator).details["rows_left_out"] == 0
    assert rs.gini(operator).value == pytest.approx(0.0, abs=64 * UNIT)
    assert rs.l1_l2(operator).value == pytest.approx(1.0, abs=64 * UNIT)


def test_one_place_has_no_normalised_entropy() -> None:
    for name in ("row_entropy_normalized", "hoyer"):
        found = getattr(rs, name)(np.eye(3))
        assert (found.value, found.because) == (None, "no row sees 2 keys")


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 10), st.integers(1, 10))
def test_dobrushin_is_the_largest_distance_of_two_rows(seed: int, rows: int, columns: int) -> None:
    matrix = np.random.default_rng(seed).random((rows, columns)) ** 4 + 1e-3
    matrix /= matrix.sum(axis=1, keepdims=True)
    found = rs.dobrushin(matrix)
    assert found.value == pytest.approx(oracles.dobrushin(matrix.tolist()), rel=0, abs=(columns + 4) * UNIT)


def test_dobrushin_contracts_products() -> None:
    """τ(PQ) ≤ τ(P)τ(Q), and τ ≤ tanh(ω/4) for the range ω of the differences of two rows of logits."""
    for seed in range(10):
        queries, keys = np.random.default_rng(seed).standard_normal((2, 8, 4))
        a, b = single(attention(queries, keys)), single(attention(keys, queries))
        one, two, both = (float(rs.dobrushin(each)) for each in (a, b, Product((a, b))))
        assert both <= one * two + 16 * UNIT
        scores = queries @ keys.T / 2
        differences = scores[:, None, :] - scores[None, :, :]
        omega = float((differences.max(axis=2) - differences.min(axis=2)).max())
        assert one <= math.tanh(omega / 4) + 64 * UNIT


@pytest.mark.parametrize("share", [0.29, 0.31, 1.0])
def test_a_sink_receives_more_than_three_tenths(share: float) -> None:
    matrix = np.full((4, 3), (1 - share) / 2)
    matrix[:, 0] = share
    found = rs.sink_rate(matrix)
    assert found.value == int(share > 0.3)
    assert found.details["share"] == pytest.approx(share, abs=4 * UNIT)


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 10), st.integers(1, 10))
def test_the_row_sum_defect_is_the_largest_distance_from_one(seed: int, rows: int, columns: int) -> None:
    matrix = np.random.default_rng(seed).standard_normal((rows, columns))
    truth = max(abs(math.fsum(row) - 1.0) for row in matrix.tolist())
    assert rs.row_sum_defect(matrix).value == pytest.approx(truth, abs=4 * columns * EPS * float(np.abs(matrix).max()))


@pytest.mark.parametrize(
    ("matrix", "word"),
    [
        (np.array([[0.5, 0.5], [1.25, -0.25]]), "1 negative entries"),
        (np.array([[0.5, 0.49], [0.5, 0.5]]), "rows sum to one only within 0.01"),
        (np.array([[0.5, 0.5 + 64 * EPS], [0.5, 0.5]]), "rows sum to one only within"),
        (np.array([[0.5 + 0.5j, 0.5 - 0.5j]]), "complex"),
        (np.full((2, 2), 1e308), "rows sum to one only within"),
    ],
)
def test_rows_that_are_no_distributions_have_no_entropy(matrix: Float64, word: str) -> None:
    for name in STOCHASTIC:
        found = getattr(rs, name)(matrix)
        assert found.value is None, name
        assert found.because.startswith("not stochastic"), name
        assert word in found.because, name


@pytest.mark.parametrize("excess", [0.0, 4 * EPS, -4 * EPS])
def test_sums_within_a_few_roundings_of_one_are_distributions(excess: float) -> None:
    """numerics.md A25: 1 + 4ε is rounding, 0.99 is not."""
    matrix = np.array([[0.5, 0.5 + excess], [0.25, 0.75]])
    assert rs.row_entropy(matrix).value is not None
    assert rs.row_sum_defect(matrix).value == abs(excess)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_rounding_to_the_storage_type_leaves_rows_stochastic(dtype: str) -> None:
    for mask in ("causal", "bidirectional"):
        operator = single(attention(*np.random.default_rng(0).standard_normal((2, 128, 16)), mask=mask, dtype=dtype))
        assert rs.row_entropy(operator).value is not None
        defect = rs.row_sum_defect(operator)
        assert defect.subject == "stored"
        assert defect.value is not None
        assert 0 < defect.value < {"float16": 2e-2, "bfloat16": 6e-2, "float32": 3e-6}[dtype]


def test_signed_linear_attention_has_no_entropy_and_a_small_defect() -> None:
    random = np.random.default_rng(0)
    queries, keys = random.standard_normal((6, 3)) + 1.0, random.standard_normal((6, 3)) + 1.0
    operator = single(attention(queries, keys, kernel="linear:identity"))
    assert (np.asarray(operator.matrix) < 0).any()
    assert rs.row_entropy(operator).because.startswith("not stochastic")
    defect = rs.row_sum_defect(operator).value
    assert defect is not None
    assert defect < 1e-12


def test_an_empty_matrix_has_no_rows_to_measure() -> None:
    for shape in ((0, 0), (0, 3), (3, 0)):
        for name in [*STOCHASTIC, "row_sum_defect"]:
            assert "empty" in getattr(rs, name)(np.zeros(shape)).because


def test_products_and_means_are_measured_on_the_side_they_stand_on() -> None:
    parts = [single(attention(*np.random.default_rng(i).standard_normal((2, 5, 4)), mask="causal")) for i in range(2)]
    for composed in (Product(tuple(parts)), Mean(tuple(parts))):
        check_rows(composed, [row[: i + 1].tolist() for i, row in enumerate(composed.matrix)], 5)


@settings(max_examples=60)
@given(SEEDS, st.integers(2, 9))
def test_the_order_of_tokens_does_not_matter_to_bidirectional_rows(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    queries, keys = random.standard_normal((2, size, 4))
    order = random.permutation(size)
    one, two = single(attention(queries, keys)), single(attention(queries[order], keys[order]))
    for name in [*DEFINITIONS, "dobrushin"]:
        assert getattr(rs, name)(one).value == pytest.approx(getattr(rs, name)(two).value, abs=512 * UNIT), name
