"""The door through which arrays come in: what is accepted, what is refused and how, and that nothing is modified."""

import math
import subprocess
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import matrix, single
from rankscope.attention.masks import causal
from rankscope.attention.operators import Dense, Operator
from rankscope.errors import RankscopeError
from tests.oracles import UNIT, Float64

QUERIES, KEYS = np.random.default_rng(11).standard_normal((2, 6, 4))


def held(operator: Any) -> Float64:
    return np.asarray(single(operator).matrix)


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(RankscopeError) as caught:
        action()
    return caught.value.code


def test_the_public_name_is_the_function_whatever_was_imported_before() -> None:
    """Importing the package `rankscope.attention` must not replace `rs.attention`, neither before nor after a call."""
    program = """
import rankscope as rs
rs.synthetic(n=2, d=1)
print(callable(rs.attention), type(rs.attention).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "True", done.stdout


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("d", [1, 2, 3, 8])
@pytest.mark.parametrize("kernel", ["softmax", "linear"])
def test_every_size_is_a_stochastic_matrix(n: int, d: int, kernel: str) -> None:
    """numerics.md A26: also d > n, d = 1, n = 1."""
    queries, keys = np.random.default_rng(n * 10 + d).standard_normal((2, n, d))
    for mask in ("bidirectional", "causal"):
        operator = single(attention(queries, keys, mask=mask, kernel=kernel))
        assert operator.shape == (n, n)
        assert operator.structure.rank_bound.value == n if kernel == "softmax" or mask == "causal" else min(n, d)
        assert np.allclose(held(operator).sum(axis=1), 1.0, rtol=0, atol=(n + 2) * 2 * UNIT)


def test_no_token_at_all_is_an_empty_matrix() -> None:
    operator = single(attention(np.zeros((0, 2)), np.zeros((0, 2)), mask="causal"))
    assert operator.shape == (0, 0)
    assert (rs.rank_exact(operator).value, rs.logdet(operator).sign, rs.logdet(operator).log_abs) == (0, 1, 0.0)


@pytest.mark.parametrize(
    ("queries", "keys"),
    [
        (np.ones((3, 0)), np.ones((3, 0))),
        (np.ones((3, 2)), np.ones((3, 4))),
        (np.ones(3), np.ones(3)),
        (np.ones((2, 3, 2)), np.ones((3, 3, 2))),
        (np.ones((2, 3, 2)), np.ones((3, 2))),
        (1.0, 2.0),
        ([[1.0], [1.0, 2.0]], [[1.0]]),
    ],
    ids=["d = 0", "d differs", "1-D", "heads differ", "3-D and 2-D", "0-D", "ragged"],
)
def test_shapes_that_do_not_fit_are_refused(queries: Any, keys: Any) -> None:
    assert code_of(lambda: attention(queries, keys)) == "RS101"


def test_complex_tokens_are_refused() -> None:
    assert code_of(lambda: attention(QUERIES + 0j, KEYS)) == "RS105"


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("value", "code"), [(math.nan, "RS110"), (math.inf, "RS111"), (-math.inf, "RS111")])
def test_tokens_that_are_not_finite_are_refused_with_their_position(which: int, value: float, code: str) -> None:
    tokens = [QUERIES.copy(), KEYS.copy()]
    tokens[which][2, 3] = value
    with pytest.raises(RankscopeError, match=code) as caught:
        attention(*tokens)
    assert "row 2, column 3" in caught.value.given
    assert ("queries", "keys")[which] in caught.value.given


def test_a_head_with_nan_is_named() -> None:
    """numerics.md A1: the error says which layer and head."""
    queries = np.stack([QUERIES, QUERIES, QUERIES])
    queries[2, 4, 1] = np.nan
    with pytest.raises(RankscopeError, match="RS110") as caught:
        attention(queries, np.stack([KEYS] * 3))
    assert "head 2" in caught.value.given


def test_heads_are_the_single_matrices() -> None:
    queries, keys = np.random.default_rng(0).standard_normal((2, 3, 5, 4))
    together = attention(queries, keys, mask="causal")
    assert isinstance(together, list)
    assert [each.origin.head for each in together] == [0, 1, 2]
    for head, operator in enumerate(together):
        assert np.array_equal(held(operator), held(attention(queries[head], keys[head], mask="causal")))


@pytest.mark.parametrize("mask", [np.tril(np.ones((6, 6), bool)), np.tril(np.ones((6, 6), bool)).tolist(), causal()])
def test_a_mask_is_a_name_a_mask_or_a_boolean_array(mask: Any) -> None:
    assert np.array_equal(held(attention(QUERIES, KEYS, mask=mask)), held(attention(QUERIES, KEYS, mask="causal")))


def test_a_boolean_tensor_is_a_mask() -> None:
    mask: Any = torch.tril(torch.ones(6, 6)).bool()
    assert np.array_equal(held(attention(QUERIES, KEYS, mask=mask)), held(attention(QUERIES, KEYS, mask="causal")))


@pytest.mark.parametrize(
    "mask",
    [np.ones((6, 6)), np.zeros((6, 6)) - 1e4, np.ones((5, 6), bool), np.ones(6, bool), np.ones((6, 6), int)],
    ids=["float", "additive", "shape", "1-D", "integer"],
)
def test_an_array_that_is_no_boolean_mask_is_refused(mask: Any) -> None:
    with pytest.raises(RankscopeError, match="RS101") as caught:
        attention(QUERIES, KEYS, mask=mask)
    assert "mask == 0" in caught.value.remedy


def test_a_rectangular_boolean_mask_keeps_its_rows() -> None:
    mask = np.random.default_rng(0).random((3, 6)) < 0.5
    mask[:, 0] = True
    operator = single(attention(QUERIES[:3], KEYS, mask=mask))
    assert np.array_equal(held(operator) > 0, mask)


LAYOUTS: dict[str, Callable[[Float64], Any]] = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "reversed twice": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "big-endian": lambda x: x.astype(">f8"),
    "list": lambda x: x.tolist(),
    "torch": lambda x: torch.from_numpy(x.copy()),
    "torch, transposed": lambda x: torch.from_numpy(x.T.copy()).T,
    "torch with a gradient": lambda x: torch.from_numpy(x.copy()).requires_grad_(),
    "torch parameter": lambda x: torch.nn.Parameter(torch.from_numpy(x.copy())),
    "torch, negated lazily": lambda x: (
        torch.view_as_complex(torch.stack([-torch.tensor(x), -torch.tensor(x)], -1)).conj().imag
    ),
}


def read_only(x: Float64) -> Float64:
    copy = x.copy()
    copy.setflags(write=False)
    return copy


LAYOUTS["read-only"] = read_only


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", ["softmax", "linear"])
def test_tokens_in_every_memory_layout_give_the_same_bytes(layout: str, kernel: str) -> None:
    first = rs.analyze(attention(QUERIES, KEYS, mask="causal", kernel=kernel)).to_json()
    tokens = (LAYOUTS[layout](QUERIES), LAYOUTS[layout](KEYS))
    assert rs.analyze(attention(*tokens, mask="causal", kernel=kernel)).to_json() == first


@given(st.integers(0, 2**32 - 1), st.sampled_from(["softmax", "linear", "linear:exp", "linear:relu"]))
def test_tokens_and_masks_are_never_modified(seed: int, kernel: str) -> None:
    random = np.random.default_rng(seed)
    queries, keys = random.standard_normal((2, 5, 3))
    mask = random.random((5, 5)) < 0.5
    before = [zlib.crc32(each.tobytes()) for each in (queries, keys, mask)]
    for policy in ("zero", "drop", "uniform"):
        rs.analyze(attention(queries, keys, mask=mask, kernel=kernel, empty_rows=policy))
    assert [zlib.crc32(each.tobytes()) for each in (queries, keys, mask)] == before


def test_the_digest_belongs_to_the_numbers_and_minus_zero_is_zero() -> None:
    """numerics.md A23."""
    zero, other = np.zeros((2, 2)), np.zeros((2, 2))
    other[0, 0] = -0.0
    assert single(matrix(zero)).origin.digest == single(matrix(other)).origin.digest
    assert single(matrix(zero)).origin.digest != single(matrix(np.eye(2))).origin.digest
    assert single(attention(zero, zero)).origin.digest == single(attention(other, zero)).origin.digest


def test_the_digest_tells_queries_from_keys() -> None:
    """Six tokens of one number: two queries and four keys are not four queries and two keys."""
    tokens = np.arange(6.0)[:, None]
    first = single(attention(tokens[:2], tokens[2:]))
    second = single(attention(tokens[:4], tokens[4:]))
    assert first.origin.digest != second.origin.digest


def test_the_origin_says_what_was_asked() -> None:
    origin = single(attention(QUERIES, KEYS, mask="causal", kernel="linear", scale=2.0, dtype="float32")).origin
    assert (origin.d, origin.mask, origin.kernel, origin.scale, origin.dtype) == (4, "causal", "linear", 2.0, "float32")
    assert origin.digest is not None


@pytest.mark.parametrize(
    ("shape", "count", "places"),
    [
        ((3, 3), 1, [(None, None)]),
        ((2, 3, 3), 2, [(None, 0), (None, 1)]),
        ((1, 3, 3), 1, [(None, 0)]),
        ((2, 1, 3, 4), 2, [(0, 0), (1, 0)]),
    ],
)
def test_stacks_are_heads_and_layers(shape: tuple[int, ...], count: int, places: list[tuple[int | None, int]]) -> None:
    made = matrix(np.random.default_rng(0).random(shape))
    operators: list[Operator] = made if isinstance(made, list) else [made]
    assert isinstance(made, list) == (len(shape) > 2)
    assert len(operators) == count
    assert [(each.origin.layer, each.origin.head) for each in operators] == places


@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 1, 2, 2)])
def test_other_dimensions_are_refused(shape: tuple[int, ...]) -> None:
    assert code_of(lambda: matrix(np.ones(shape))) == "RS101"


def test_an_operator_is_its_own_matrix() -> None:
    operator = single(np.eye(2))
    assert matrix(operator) is operator
    assert single([operator]) is operator
    assert isinstance(operator, Dense)


def test_several_matrices_are_not_one() -> None:
    assert code_of(lambda: single(np.zeros((2, 3, 3)))) == "RS101"
    assert code_of(lambda: rs.spectrum([np.eye(2), np.eye(3)])) == "RS101"


def test_masked_arrays_do_not_lose_their_mask_silently() -> None:
    """numpy.asarray of a masked array gives the numbers under the mask: no rank may be made of them."""
    masked = np.ma.masked_array(np.eye(2), mask=[[True, False], [False, False]])
    assert code_of(lambda: matrix(masked)).startswith("RS1")
