"""The seam between a caller's arrays and our arithmetic: exact conversion, rounding once, refusals, memory, scaling."""

import math
import os
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
import threadpoolctl
import torch
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

import rankscope as rs
from rankscope import arrays
from rankscope.arrays import (
    FLOAT64,
    STORAGES,
    Storage,
    available_memory,
    blas_threads,
    check_dense,
    check_finite,
    check_flush_to_zero,
    check_memory,
    from_bfloat16,
    given,
    power_of_two,
    rounded,
    scaled,
    storage,
)
from rankscope.errors import RankscopeError
from tests import oracles
from tests.oracles import Float64

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(RankscopeError) as caught:
        action()
    return caught.value.code


def same_bits(one: Any, two: Any) -> bool:
    return bool(np.array_equal(np.asarray(one).view(np.uint64), np.asarray(two).view(np.uint64)))


# ---------------------------------------- storage


@pytest.mark.parametrize("name", ["float64", "float32", "float16"])
def test_storage_types_are_those_of_numpy(name: str) -> None:
    information = np.finfo(name)
    assert storage(name).unit == float(information.eps) / 2
    assert storage(name).smallest == float(information.smallest_subnormal)


def test_bfloat16_is_that_of_torch() -> None:
    information = torch.finfo(torch.bfloat16)
    assert storage("bfloat16").unit == information.eps / 2
    assert storage("bfloat16").smallest == information.tiny * 2.0**-7
    assert float(torch.tensor(information.tiny * 2.0**-7, dtype=torch.bfloat16)) > 0
    assert float(torch.tensor(information.tiny * 2.0**-9, dtype=torch.bfloat16)) == 0


def test_an_unknown_storage_is_refused_with_the_nearest() -> None:
    with pytest.raises(RankscopeError, match="'bfloat16'") as caught:
        storage("bflaot16")
    assert caught.value.code == "RS001"


def awkward(kind: Storage) -> Float64:
    """Every number of the type's lower and upper end in float64, ties between neighbours, and their neighbours."""
    random = np.random.default_rng(0)
    least = kind.minimum - kind.bits + 1
    exponents = np.r_[np.arange(least - 3, least + kind.bits + 3), -3, -2, -1, 0, 1, 2, 14]
    significands = np.r_[
        1.0, 1.5, 1.25, 2 - 2.0**-52, 1 + 2.0**-kind.bits, 1 + 3 * 2.0**-kind.bits, 1 + random.random(60)
    ]
    numbers = np.ldexp(significands[:, None], exponents[None, :].astype(np.int64)).ravel()
    near = np.concatenate([numbers, np.nextafter(numbers, 0), np.nextafter(numbers, np.inf), [0.0, 5e-324, 1e-310]])
    return np.asarray(np.concatenate([near, -near]))


@pytest.mark.parametrize("name", ["float32", "float16"])
def test_rounding_is_that_of_numpy_bit_by_bit(name: str) -> None:
    numbers = awkward(STORAGES[name])
    assert same_bits(rounded(numbers, STORAGES[name]), numbers.astype(name).astype(np.float64))
    random = np.random.default_rng(1).standard_normal(100_000) * 10.0 ** np.random.default_rng(2).uniform(
        -46, 4, 100_000
    )
    random = random[np.abs(random) < 6e4]
    assert same_bits(rounded(random, STORAGES[name]), random.astype(name).astype(np.float64))


def test_every_float16_and_every_tie_between_two_is_rounded_as_numpy_does() -> None:
    codes = np.arange(0x7BFF, dtype=np.uint16)  # every positive finite number but the last
    numbers = codes.view(np.float16).astype(np.float64)
    next_ones = (codes + 1).astype(np.uint16).view(np.float16).astype(np.float64)
    ties = (numbers + next_ones) / 2
    for values in (numbers, ties, np.nextafter(ties, 0), np.nextafter(ties, 1e9), -ties):
        assert same_bits(rounded(values, STORAGES["float16"]), values.astype(np.float16).astype(np.float64))


def test_every_bfloat16_and_every_tie_between_two_is_rounded_as_torch_does() -> None:
    """Ties of bfloat16 are exact in float32, through which torch converts."""
    codes = np.arange(0x7F7F, dtype=np.uint16)
    numbers, following = from_bfloat16(codes), from_bfloat16((codes + 1).astype(np.uint16))
    ties = numbers / 2 + following / 2
    for values in (numbers, ties, -ties):
        by_torch = torch.from_numpy(values).to(torch.bfloat16).double().numpy()
        assert same_bits(rounded(values, STORAGES["bfloat16"]), by_torch)


def test_rounding_to_bfloat16_is_that_of_torch_from_float64() -> None:
    numbers = awkward(STORAGES["bfloat16"])
    through_float32 = np.abs(numbers.astype(np.float32).astype(np.float64) - numbers) == 0
    by_torch = torch.from_numpy(numbers[through_float32]).to(torch.bfloat16).double().numpy()
    assert same_bits(rounded(numbers[through_float32], STORAGES["bfloat16"]), by_torch)
    random = np.random.default_rng(3).standard_normal(100_000)
    assert same_bits(
        rounded(random, STORAGES["bfloat16"]), torch.from_numpy(random).to(torch.bfloat16).double().numpy()
    )


def test_rounding_happens_once() -> None:
    """Just above a tie of bfloat16: rounded twice, through float32 as torch does it, it would fall to the even side."""
    above = 1 + 2.0**-8 + 2.0**-40
    assert rounded(np.array([[above]]), STORAGES["bfloat16"])[0, 0] == 1 + 2.0**-7
    assert float(torch.tensor(above, dtype=torch.float64).to(torch.bfloat16)) == 1.0


@settings(max_examples=300)
@examples(st.floats(-6e4, 6e4), st.sampled_from(sorted(STORAGES)))
def test_rounding_is_to_the_nearest_number_of_the_type(value: float, name: str) -> None:
    kind = STORAGES[name]
    found = Fraction(float(rounded(np.array([[value]]), kind)[0, 0]))
    assert found == oracles.rounded(Fraction(value), kind.bits, kind.minimum)


def test_rounding_to_float64_changes_nothing() -> None:
    numbers = awkward(FLOAT64)
    assert rounded(numbers, FLOAT64) is numbers


# ---------------------------------------- conversion


@pytest.mark.parametrize(
    "name", ["float16", "float32", "float64", "int8", "int16", "int32", "uint8", "uint32", "int64"]
)
def test_numpy_types_are_converted_exactly(name: str) -> None:
    array = np.array([[0, 1, 2], [3, 5, 7]]).astype(name)
    found = given(array)
    assert found.values.dtype == np.float64
    assert np.array_equal(found.values, [[0, 1, 2], [3, 5, 7]])
    assert found.storage.name == (name if name.startswith("float") else "float64")
    assert not np.shares_memory(found.values, array)


def test_every_float16_is_converted_exactly() -> None:
    """numerics.md A6."""
    codes = np.arange(2**16, dtype=np.uint32).astype(np.uint16).view(np.float16)
    by_torch = given(torch.from_numpy(codes.copy()))
    assert np.array_equal(given(codes).values, codes.astype(np.float64), equal_nan=True)
    assert np.array_equal(by_torch.values, codes.astype(np.float64), equal_nan=True)
    assert by_torch.storage.name == given(codes).storage.name == "float16"


def test_every_bfloat16_is_converted_exactly() -> None:
    """numerics.md A7: against torch, and against the formula of the bits."""
    codes = np.arange(2**16, dtype=np.uint32).astype(np.uint16)
    found = given(torch.from_numpy(codes.astype(np.int16)).view(torch.bfloat16))
    assert found.storage.name == "bfloat16"
    assert np.array_equal(found.values, from_bfloat16(codes), equal_nan=True)
    for code in (0x3F80, 0x0001, 0x8001, 0x7F7F, 0x4049):
        exponent, fraction = code >> 7 & 0xFF, code & 0x7F
        value = math.ldexp(fraction + (128 if exponent else 0), max(exponent, 1) - 127 - 7)
        assert found.values[code] == (-value if code & 0x8000 else value)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_eight_bit_floats_are_refused_with_an_exact_way_out(dtype: Any) -> None:
    tensor = torch.ones(2, 2).to(dtype)
    with pytest.raises(RankscopeError) as caught:
        rs.analyze(tensor)
    assert caught.value.code == "RS105"
    assert "bfloat16" in caught.value.remedy
    every = torch.arange(256, dtype=torch.uint8).view(dtype)
    one, two = every.to(torch.bfloat16).double(), every.to(torch.float64)
    assert torch.equal(one.nan_to_num(), two.nan_to_num()), "the way out is exact"


def test_long_doubles_are_accepted_only_where_they_fit() -> None:
    """numerics.md A8."""
    fits = np.array([[1.0, -0.5]], dtype=np.longdouble)
    assert given(fits).values.tolist() == [[1.0, -0.5]]
    if np.finfo(np.longdouble).nmant <= 52:
        pytest.skip("long double is float64 here")
    for value in (np.longdouble(1) + np.longdouble(2) ** -60, np.longdouble(2) ** 2000, np.longdouble(2) ** -2000):
        for array in (np.array([[value]]), np.array([[value + 0j]], dtype=np.clongdouble)):
            assert code_of(partial(given, array)) == "RS103"
    assert given(np.array([[1 + 2j]], dtype=np.clongdouble)).values.tolist() == [[1 + 2j]]
    assert math.isnan(given(np.array([[np.longdouble("nan")]])).values[0, 0])


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)])
def test_integers_beyond_2_to_the_53_are_refused(value: int) -> None:
    """numerics.md A10."""
    assert code_of(lambda: given(np.array([[value, 1]], dtype=np.int64))) == "RS104"
    assert code_of(lambda: given(torch.tensor([[value]]))) == "RS104"


def test_integers_up_to_2_to_the_53_are_exact() -> None:
    assert given(np.array([[2**53, -(2**53)]])).values.tolist() == [[2.0**53, -(2.0**53)]]
    assert code_of(lambda: given(np.array([[2**64 - 1]], dtype=np.uint64))) == "RS104"
    assert given(np.zeros((0, 3), dtype=np.int64)).values.shape == (0, 3)


@pytest.mark.parametrize(
    "array",
    [
        np.array([[True, False]]),
        np.array([["a", "b"]]),
        np.array([[b"a"]]),
        np.array([[None, 1.0]], dtype=object),
        np.array([[Fraction(1, 2)]], dtype=object),
        np.array([(1.0, 2)], dtype=[("a", "f8"), ("b", "i4")]),
        np.array([["2020-01-01"]], dtype="datetime64[D]"),
        np.array([[np.timedelta64(1, "s")]]),
        torch.ones(2, 2).bool(),
        [["1.0"]],
    ],
    ids=[
        "bool",
        "str",
        "bytes",
        "object",
        "fractions",
        "structured",
        "dates",
        "durations",
        "torch bool",
        "list of str",
    ],
)
def test_entries_that_are_no_numbers_are_refused(array: Any) -> None:
    """numerics.md A11, and A10 for Booleans."""
    assert code_of(lambda: rs.analyze(array)) == "RS105"


def test_ragged_lists_are_refused() -> None:
    with pytest.raises(RankscopeError, match="ragged") as caught:
        given([[1.0, 2.0], [3.0]])
    assert caught.value.code == "RS101"


def test_complex_numbers_are_kept() -> None:
    """numerics.md A9."""
    found = given(np.array([[1 + 2j]], dtype=np.complex64))
    assert found.values.dtype == np.complex128
    assert given(torch.tensor([[1 + 2j]]).conj()).values[0, 0] == 1 - 2j


TENSORS: dict[str, Callable[[], Any]] = {
    "sparse coo": lambda: torch.eye(3).to_sparse(),
    "sparse csr": lambda: torch.eye(3).to_sparse_csr(),
    "meta": lambda: torch.empty(3, 3, device="meta"),
    "meta, a million squared": lambda: torch.empty(10**6, 10**6, device="meta"),
    "quantized": lambda: torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "nested, jagged": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch announces that sparse and nested tensors may change
@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_are_not_dense_and_strided_are_refused(kind: str) -> None:
    """numerics.md A22."""
    tensor = TENSORS[kind]()
    assert code_of(lambda: rs.analyze(tensor)) == "RS106"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_an_expanded_tensor_is_refused_by_its_shape_before_it_is_made(dtype: Any) -> None:
    """numerics.md A21: four bytes that claim 10¹⁰ entries."""
    tensor = torch.ones(1, dtype=dtype).expand(1_000_000, 1_000_000)
    before = time.perf_counter()
    assert code_of(lambda: rs.analyze(tensor)) == "RS301"
    assert time.perf_counter() - before < 1.0


def test_an_array_that_claims_more_than_it_holds_is_refused_by_its_shape() -> None:
    """The same in numpy: broadcast, and a stride of zero."""
    before = time.perf_counter()
    assert code_of(lambda: rs.analyze(np.broadcast_to(1.0, (1_000_000, 1_000_000)))) == "RS301"
    assert code_of(lambda: rs.analyze(np.broadcast_to(np.float16(1.0), (1_000_000, 1_000_000)))) == "RS301"
    assert time.perf_counter() - before < 1.0


def test_given_is_given_again() -> None:
    once = given(np.eye(2))
    assert given(once) is once


# ---------------------------------------- finiteness


@pytest.mark.parametrize(("value", "code"), [(math.nan, "RS110"), (math.inf, "RS111"), (-math.inf, "RS111")])
def test_what_is_not_finite_is_refused_with_its_place(value: float, code: str) -> None:
    array = np.zeros((3, 4))
    array[1, 2] = array[2, 0] = value
    with pytest.raises(RankscopeError) as caught:
        check_finite(array, "the scores")
    assert caught.value.code == code
    assert "the scores: 2 of 12 entries, the first at row 1, column 2" in caught.value.given


def test_nan_is_named_before_infinity() -> None:
    with pytest.raises(RankscopeError, match="RS110"):
        check_finite(np.array([[math.inf, math.nan]]))
    check_finite(np.zeros((0, 0)))
    check_finite(np.array([[1.7e308, 5e-324]]))


# ---------------------------------------- scaling


@settings(max_examples=200)
@examples(st.lists(FLOATS, min_size=1, max_size=4))
def test_the_power_of_two_brings_the_largest_entry_to_one(values: list[float]) -> None:
    matrix = np.array([values])
    exponent = power_of_two(matrix)
    largest = max(abs(value) for value in values)
    if largest == 0:
        assert exponent == 0
    else:
        assert Fraction(2) ** exponent <= Fraction(largest) < Fraction(2) ** (exponent + 1)
        assert 1.0 <= float(np.abs(scaled(matrix, -exponent)).max()) < 2.0


@settings(max_examples=300)
@examples(FLOATS, st.integers(-2100, 2100))
def test_scaling_is_exact_wherever_the_result_is_normal(value: float, exponent: int) -> None:
    exact = Fraction(value) * Fraction(2) ** exponent
    if exact == 0 or Fraction(2) ** -1022 <= abs(exact) <= Fraction(1.7e308):
        assert Fraction(float(scaled(value, exponent))) == exact


# ---------------------------------------- memory


def test_available_memory_is_a_number_of_bytes() -> None:
    found = available_memory()
    assert isinstance(found, int)
    assert 2**20 < found <= 2**63


def test_memory_is_compared_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "available_memory", lambda: 1000)
    check_memory(800, "a", "b")
    with pytest.raises(RankscopeError, match="RS301") as caught:
        check_memory(801, "a", "b")
    assert caught.value.exit_status == 4


@pytest.mark.parametrize("available", [0, 10**3, 10**6, 10**9])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_the_largest_size_that_is_named_fits_and_the_next_does_not(
    monkeypatch: pytest.MonkeyPatch, available: int, count: int
) -> None:
    monkeypatch.setattr(arrays, "available_memory", lambda: available)
    with pytest.raises(RankscopeError) as caught:
        check_dense(10**6, 10**6, count)
    largest = int(caught.value.remedy.split("n ≤ ")[1].split(",")[0])
    check_dense(largest, largest, count)
    assert code_of(lambda: check_dense(largest + 1, largest + 1, count)) == "RS301"


# ---------------------------------------- the environment


def openblas_threads() -> list[int]:
    return [each["num_threads"] for each in threadpoolctl.threadpool_info() if each["internal_api"] == "openblas"]


def test_the_tests_run_with_one_blas_thread() -> None:
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert set(openblas_threads()) == {1}


@pytest.mark.parametrize("variable", ["1", "2", None])
def test_the_number_of_blas_threads_is_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    """Whatever the variable says: it is read when numpy loads, and may have been set after that."""
    if variable is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    else:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", variable)
    for outside, asked in ((2, 1), (1, 2), (1, 1)):
        with threadpoolctl.threadpool_limits(limits=outside, user_api="blas"):
            before = openblas_threads()
            with blas_threads(asked):
                assert set(openblas_threads()) == {asked}
            assert openblas_threads() == before


def test_flushing_to_zero_is_refused() -> None:
    """numerics.md A4: in a thread of its own, because the flag belongs to the thread that sets it."""
    codes: list[str] = []

    def flushed() -> None:
        if not torch.set_flush_denormal(True):
            codes.append("RS410")  # this processor cannot
            return
        for ask in (check_flush_to_zero, lambda: rs.analyze(np.eye(2)), lambda: rs.synthetic(n=2, d=1)):
            try:
                ask()
            except RankscopeError as refusal:
                codes.append(refusal.code)
        torch.set_flush_denormal(False)

    worker = threading.Thread(target=flushed)
    worker.start()
    worker.join()
    assert set(codes) == {"RS410"}
    assert len(codes) in (1, 3)
    check_flush_to_zero()
