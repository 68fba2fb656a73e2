"""An operator becomes numbers and an operator again, and the exact matrix is the same to the bit."""

import math
from typing import Any

import numpy as np
import pytest

from rankscope.attention import exact
from rankscope.attention.build import attention
from rankscope.attention.definition import numbers_of, operator_of, whole
from rankscope.attention.existing import matrix, single
from rankscope.attention.operators import Factored, Mean, Operator, Product
from rankscope.certificates import Numbers, numbers
from rankscope.errors import FormatError, InputError
from tests import oracles

RANDOM = np.random.default_rng(5)
TOKENS = RANDOM.standard_normal((2, 7, 3))


def attended(**options: Any) -> Operator:
    return single(attention(*TOKENS, **options))


CASES: dict[str, Operator] = {
    "softmax": attended(),
    "causal softmax": attended(mask="causal"),
    "a row that sees nothing": attended(mask=np.tril(np.ones((7, 7), dtype=bool), -1)),
    "linear": attended(kernel="linear"),
    "causal linear": attended(kernel="linear", mask="causal"),
    "uniform rows": attended(kernel="linear", mask=np.tril(np.ones((7, 7), dtype=bool), -1), empty_rows="uniform"),
    "stored": single(matrix(RANDOM.standard_normal((4, 6)))),
    "stored in fewer bits": single(matrix(RANDOM.standard_normal((4, 4)).astype(np.float16))),
    "nothing": single(matrix(np.zeros((0, 3)))),
}
CASES["product"] = Product((CASES["softmax"], CASES["linear"], CASES["causal linear"]))
CASES["mean"] = Mean((CASES["causal softmax"], CASES["product"]))


def same(first: Any, second: Any) -> bool:
    """Whether two matrices of balls are the same balls."""
    return all((x.mid(), x.rad()) == (y.mid(), y.rad()) for x, y in zip(first.entries(), second.entries(), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_there_and_back_the_exact_matrix_is_the_same(name: str) -> None:
    operator = CASES[name]
    found = operator_of(numbers_of(operator))
    assert (found.shape, found.subject) == (operator.shape, operator.subject)
    with exact.precision(128):
        assert same(exact.balls(found), exact.balls(operator))
    assert exact.integers(found) == exact.integers(operator)


@pytest.mark.parametrize("name", CASES)
def test_back_and_there_the_numbers_are_the_same_to_the_bit(name: str) -> None:
    given = numbers_of(CASES[name])
    again = numbers_of(operator_of(given))
    assert (again.kind, again.subject, again.sha256) == (given.kind, given.subject, given.sha256)
    for (left, first), (right, second) in zip(given.flat().items(), again.flat().items(), strict=True):
        assert (left, first.dtype, first.shape, first.tobytes()) == (
            right,
            second.dtype,
            second.shape,
            second.tobytes(),
        )


def test_the_case_of_factors_is_held_as_factors() -> None:
    assert isinstance(CASES["linear"], Factored)


def test_a_negative_zero_stays_one() -> None:
    found = numbers_of(operator_of(numbers_of(single(matrix(np.array([[-0.0, 1.0]]))))))
    assert math.copysign(1, found.flat()["matrix"][0, 0]) == -1


def test_complex_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="RS105"):
        numbers_of(single(matrix(np.array([[1j]]))))


def products(left: list[list[float]], right: list[list[float]], uniform: bool = False) -> Numbers:
    shape = len(left), len(right)
    arrays = {"left": np.array(left), "right": np.array(right), "seen": np.ones(shape, dtype=bool)}
    return numbers("products", {**arrays, "uniform": np.full(len(left), uniform)})


def test_a_row_that_cancels_has_no_meaning() -> None:
    with pytest.raises(FormatError, match=r"RS209.*row 0 sum to zero"):
        operator_of(products([[1e-300]], [[2.0**900], [-(2.0**900)]]))
    operator_of(products([[1e-300]], [[2.0**900], [-(2.0**899)]]))
    operator_of(products([[0.0]], [[1.0], [2.0]]))
    operator_of(products([[1.0]], [[1.0], [-1.0]], uniform=True))


def test_numbers_without_arrays_make_nothing() -> None:
    with pytest.raises(FormatError, match="RS210"):
        operator_of(numbers("stored", {"matrix": np.eye(2)}).bare())


def test_whole_numbers_are_the_floats_times_one_power_of_two() -> None:
    given = np.array([[0.75, -3.0], [0.0, 2.0**-60]])
    assert whole(given) * 1 == (oracles.rational(given) * 2**60).numer_denom()[0]
