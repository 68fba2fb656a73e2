"""The whole analysis: bad input never becomes a number, good input gives the same bytes however it is laid out."""

import json
import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rankscope as rs
from rankscope import arrays
from rankscope.analyzer.analyze import LONGEST_SERIES, chosen, measures
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.errors import RankscopeError
from rankscope.records import Record, schema
from tests import oracles
from tests.oracles import Array, Float64, seen_by

SEEDS = st.integers(0, 2**32 - 1)

SPECIAL = [0.0, -0.0, 5e-324, 2.0**-1022, 1e-300, 1e-160, 1.0, -1.0, 1e160, 1e300, 1.7e308, -1.7e308]
BAD = [math.nan, math.inf, -math.inf]


def everything(matrix: Any) -> dict[str, Any]:
    """The document of all measures, checked against the schema of the package."""
    document = json.loads(rs.analyze(matrix, measures=["all"]).to_json(), parse_constant=lambda name: pytest.fail(name))
    jsonschema.validate(document, schema())
    assert isinstance(document, dict)
    return document


def numbers(document: dict[str, Any]) -> dict[tuple[int, str, str], Any]:
    return {(each["matrix"], each["measure"], each["subject"]): each for each in document["records"]}


# ----------------------------------------------------------------------------------------------- what is no number


@pytest.fixture
def no_factorisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any decomposition that is entered fails the test."""

    def entered(*_: Any, **__: Any) -> None:
        raise AssertionError("a factorisation was entered with numbers that are not finite")

    for name in (
        "svd",
        "svdvals",
        "qr",
        "slogdet",
        "det",
        "inv",
        "eigvals",
        "eigvalsh",
        "solve",
        "norm",
        "matrix_rank",
    ):
        monkeypatch.setattr(np.linalg, name, entered)


KINDS: dict[str, Callable[[Float64], Any]] = {
    "float64": lambda x: x,
    "float32": lambda x: x.astype(np.float32),
    "float16": lambda x: x.astype(np.float16),
    "longdouble": lambda x: x.astype(np.longdouble),
    "complex128": lambda x: x.astype(np.complex128),
    "complex64, imaginary": lambda x: (1j * x).astype(np.complex64),
    "torch float32": lambda x: torch.from_numpy(x).to(torch.float32),
    "torch bfloat16": lambda x: torch.from_numpy(x).to(torch.bfloat16),
    "torch float16": lambda x: torch.from_numpy(x).to(torch.float16),
}


@pytest.mark.filterwarnings("ignore:invalid value encountered in multiply:RuntimeWarning")  # 1j·∞ of our own making
@pytest.mark.usefixtures("no_factorisation")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", BAD)
def test_what_is_not_finite_is_refused_before_any_factorisation(kind: str, value: float) -> None:
    """numerics.md A1, A2: at every position, with the position, in every type."""
    for row, column in np.ndindex(3, 4):
        matrix = np.full((3, 4), 0.25)
        matrix[row, column] = value
        given = KINDS[kind](matrix)
        nan = bool(np.isnan(np.asarray(given.double().numpy() if hasattr(given, "double") else given)).any())
        with pytest.raises(RankscopeError) as caught:
            rs.analyze(given)
        assert caught.value.code == ("RS110" if nan else "RS111")
        assert caught.value.exit_status == 3
        assert f"row {row}, column {column}" in caught.value.given
        assert "1 of 12" in caught.value.given


@pytest.mark.usefixtures("no_factorisation")
@pytest.mark.parametrize("name", [*measures().names(), "spectrum", "singular_values"])
@pytest.mark.parametrize("value", BAD)
def test_no_function_makes_a_number_of_what_is_not_finite(name: str, value: float) -> None:
    with pytest.raises(RankscopeError, match="RS11"):
        getattr(rs, name)(np.array([[1.0, value], [0.0, 1.0]]))


def corpus(seed: int, count: int, bad: bool) -> list[Float64]:
    """Small random matrices with the special values of F5, at least one of them not finite if `bad`."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        shape = tuple(random.integers(1, 5, 2))
        matrix = random.choice([*SPECIAL, *random.standard_normal(4)], shape)
        if bad:
            places = random.random(shape) < 0.3
            places[tuple(random.integers(0, shape))] = True
            matrix = np.where(places, random.choice(BAD, shape), matrix)
        found.append(np.asarray(matrix))
    return found


def check_refused(matrices: list[Float64]) -> None:
    for matrix in matrices:
        with pytest.raises(RankscopeError) as caught:
            rs.analyze(matrix)
        assert caught.value.code == ("RS110" if np.isnan(matrix).any() else "RS111")


@pytest.mark.usefixtures("no_factorisation")
def test_no_number_comes_out_of_two_thousand_matrices_with_nan_or_infinity() -> None:
    check_refused(corpus(0, 2000, bad=True))


@pytest.mark.deep
@pytest.mark.usefixtures("no_factorisation")
def test_no_number_comes_out_of_a_hundred_thousand_matrices_with_nan_or_infinity() -> None:
    check_refused(corpus(1, 100_000, bad=True))


def check_finite_corpus(matrices: list[Float64]) -> None:
    for matrix in matrices:
        for record in everything(matrix)["records"]:
            for each in (record["value"], record["low"], record["high"]):
                assert each is None or math.isfinite(each)
            value, low, high = record["value"], record["low"], record["high"]
            assert value is None or low is None or low <= value, (matrix, record)
            assert value is None or high is None or value <= high, (matrix, record)


def test_finite_matrices_of_extreme_numbers_are_analysed() -> None:
    """numerics.md A3, A5, A14: numbers or null with a reason, by the schema, and no warning on the way."""
    check_finite_corpus(corpus(2, 120, bad=False))


@pytest.mark.parametrize(
    "matrix",
    [
        [[1.7e308, -1.0], [1e-160, 0.07]],
        [[5e-324, 0.0], [0.0, 1.25]],
        [[1.7e308, 0.0, 1e-300], [0.0, -0.65, 0.0], [0.177, -0.46, 0.177]],
        [[1.0, 2.0**-1022, 1.7e308], [0.0, 1.26, 0.0], [1.26, -0.85, 5e-324]],
    ],
    ids=["a gap", "a ratio", "the bound of a block", "the inverse of a block"],
)
def test_quotients_that_overflow_are_null_or_bounds_and_never_infinite(matrix: list[list[float]]) -> None:
    check_finite_corpus([np.array(matrix)])


@pytest.mark.deep
def test_many_finite_matrices_of_extreme_numbers_are_analysed() -> None:
    check_finite_corpus(corpus(3, 2000, bad=False))


@pytest.mark.parametrize("entry", [*SPECIAL, 0.5])
def test_one_by_one(entry: float) -> None:
    """numerics.md A14."""
    found = numbers(everything(np.array([[entry]])))
    rank = 0 if entry == 0 else 1
    assert found[0, "rank_exact", "stored"]["value"] == rank
    assert found[0, "rank_numerical", "stored"]["value"] == rank
    assert found[0, "logdet", "stored"]["sign"] == (0 if entry == 0 else math.copysign(1, entry))
    assert rs.singular_values(np.array([[entry]])).tolist() == [abs(entry)]
    assert found[0, "stable_rank", "stored"]["value"] == (None if entry == 0 else 1.0)
    if entry == 0:
        assert "singular" in found[0, "logdet", "stored"]["because"]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 0)])
def test_empty_matrices_are_analysed_by_every_measure(shape: tuple[int, int]) -> None:
    """numerics.md A13."""
    found = numbers(everything(np.zeros(shape)))
    assert found[0, "rank_exact", "stored"]["value"] == 0
    assert found[0, "rank_numerical", "stored"]["value"] == 0
    determinant = found[0, "logdet", "stored"]
    if shape == (0, 0):
        assert (determinant["sign"], determinant["value"]) == (1, 0.0)
    else:
        assert (determinant["sign"], determinant["value"]) == (None, None)
    for name in ("stable_rank", "effective_rank", "log10_condition", "log10_sigma_min", "sigma_max", "row_entropy"):
        assert found[0, name, "stored"]["value"] is None
        assert "empty" in found[0, name, "stored"]["because"], name


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 4), (4, 1)])
def test_rectangles_have_ranks_and_no_determinant(shape: tuple[int, int]) -> None:
    """numerics.md A15."""
    found = numbers(everything(np.random.default_rng(0).random(shape)))
    assert found[0, "rank_numerical", "stored"]["value"] == min(shape)
    assert found[0, "rank_exact", "stored"]["high"] == min(shape)
    determinant = found[0, "logdet", "stored"]
    assert (determinant["value"], determinant["sign"]) == (None, None)
    assert "not square" in determinant["because"]


@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 1, 2, 2)])
def test_other_dimensions_are_refused(shape: tuple[int, ...]) -> None:
    """numerics.md A16."""
    with pytest.raises(RankscopeError, match="RS101"):
        rs.analyze(np.ones(shape))
    with pytest.raises(RankscopeError, match="RS101"):
        rs.rank_numerical(np.full(shape, np.nan))


@pytest.mark.parametrize("scale", [1e-310, 5e-324, 1e-300])
@pytest.mark.parametrize("size", [1, 3, 64])
def test_subnormal_diagonals_keep_their_logarithm(scale: float, size: int) -> None:
    """numerics.md A3: within 1e-13 of n·ln d."""
    found = rs.logdet(scale * np.eye(size))
    assert (found.sign, found.guarantee) == (1, "proved")
    assert found.log_abs == pytest.approx(size * math.log(scale), rel=1e-13, abs=0)


# ------------------------------------------------------------------------------------------------ the same in any dress


def attention_like(seed: int, size: int, mask: str = "causal") -> Float64:
    queries, keys = np.random.default_rng(seed).standard_normal((2, size, 4))
    return np.asarray(single(attention(queries, keys, mask=mask)).matrix)


def read_only(x: Float64) -> Float64:
    copy = x.copy()
    copy.setflags(write=False)
    return copy


LAYOUTS: dict[str, Callable[[Float64], Any]] = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "every second column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "every third row": lambda x: np.repeat(x, 3, axis=0)[::3],
    "both": lambda x: np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[1::2, ::2],
    "negative strides": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "negative row stride": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "big-endian": lambda x: x.astype(">f8"),
    "big-endian, F": lambda x: np.asfortranarray(x.astype(">f8")),
    "read-only": read_only,
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), dtype=np.uint8)[1:].view(np.float64).reshape(x.shape),
    "list": lambda x: x.tolist(),
    "matrix": lambda x: x.view(np.matrix),
    "torch": lambda x: torch.from_numpy(x.copy()),
    "torch, transposed": lambda x: torch.from_numpy(x.T.copy()).T,
    "torch, strided": lambda x: torch.from_numpy(np.repeat(x, 2, axis=1))[:, ::2],
    "torch with a gradient": lambda x: torch.from_numpy(x.copy()).requires_grad_(),
    "torch parameter": lambda x: torch.nn.Parameter(torch.from_numpy(x.copy())),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mask", ["causal", "anticausal", "bidirectional"])
def test_every_memory_layout_gives_the_same_bytes(layout: str, mask: str) -> None:
    """numerics.md A12, A18, A19."""
    matrix = attention_like(0, 24, mask)
    given = LAYOUTS[layout](matrix)
    assert rs.analyze(given, measures=["all"]).to_json() == rs.analyze(matrix.copy(), measures=["all"]).to_json()


@settings(max_examples=40)
@given(SEEDS, st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.booleans(), st.booleans())
def test_any_view_of_the_same_numbers_gives_the_same_bytes(
    seed: int, size: int, row_step: int, column_step: int, up: bool, left: bool, fortran: bool
) -> None:
    matrix = attention_like(seed, size)
    room = np.full((size * row_step, size * column_step), np.nan, order="F" if fortran else "C")
    view = room[:: -row_step if up else row_step, :: -column_step if left else column_step]
    view[...] = matrix
    assert rs.analyze(view, measures=["all"]).to_json() == rs.analyze(matrix, measures=["all"]).to_json()


def test_a_memory_map_is_read_like_an_array(tmp_path: Path) -> None:
    matrix = attention_like(1, 16)
    np.save(tmp_path / "a.npy", matrix)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert rs.analyze(mapped).to_json() == rs.analyze(matrix).to_json()


@settings(max_examples=40)
@given(SEEDS, st.integers(1, 9))
def test_input_is_never_modified(seed: int, size: int) -> None:
    """numerics.md promise 10: CRC before and after the whole of the API."""
    matrix = attention_like(seed, size)
    tensor = torch.from_numpy(matrix.copy())
    before = zlib.crc32(matrix.tobytes())
    for each in (matrix, np.asfortranarray(matrix), tensor):
        rs.analyze(each, measures=["all"]).to_json()
        rs.spectrum(each)
        rs.logdet(each)
        rs.matrix(each)
        for name in measures().names():
            getattr(rs, name)(each)
        assert zlib.crc32(np.ascontiguousarray(np.asarray(each)).tobytes()) == before


def check_wider(one: Record, two: Record) -> None:
    """The same but for the bounds of a rank, which may be wider."""
    assert replace(one, low=two.low, high=two.high) == two, one.measure
    if one.group == "rank" and one.low is not None and one.high is not None:
        assert two.low is not None
        assert two.high is not None
        assert one.low <= two.low <= two.high <= one.high
    else:
        assert (one.low, one.high) == (two.low, two.high)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_low_precision_is_analysed_as_its_exact_numbers(dtype: Any) -> None:
    """numerics.md A6: only what depends on the storage (the tolerance of a rank, how near to one the sum of a row must
    be, the bounds that hold the matrix before it was rounded) may differ from the float64 analysis of the same numbers.
    """
    stored = attention_like(2, 20).astype(dtype)
    low, high = rs.analyze(stored), rs.analyze(stored.astype(np.float64))
    for one, two in zip(low.table, high.table, strict=True):
        if one.measure != "rank_numerical" and (one.group != "rows" or one.measure == "row_sum_defect"):
            check_wider(one, two)
    assert low.table.matrices[0].dtype == np.dtype(dtype).name
    assert low.table.series[0].values == high.table.series[0].values
    tensor = rs.analyze(torch.from_numpy(stored))
    assert tensor.to_json() == low.to_json()


def test_bfloat16_is_analysed_as_its_exact_numbers() -> None:
    tensor = torch.from_numpy(attention_like(3, 20)).to(torch.bfloat16)
    low, high = rs.analyze(tensor), rs.analyze(tensor.double())
    for one, two in zip(low.table, high.table, strict=True):
        if one.measure != "rank_numerical" and (one.group != "rows" or one.measure == "row_sum_defect"):
            check_wider(one, two)
    assert low.table.matrices[0].dtype == "bfloat16"
    assert low["rank_numerical"].details["rule"] == "storage"  # type: ignore[union-attr]


@settings(max_examples=40)
@given(SEEDS, st.integers(2, 9))
def test_anticausal_attention_is_causal_attention_of_the_reversed_tokens(seed: int, size: int) -> None:
    """The flip of one is the other; the numbers agree to the rounding of the products."""
    queries, keys = np.round(np.random.default_rng(seed).standard_normal((2, size, 4)) * 16) / 16
    forward = single(attention(queries, keys, mask="causal"))
    backward = single(attention(queries[::-1], keys[::-1], mask="anticausal"))
    assert np.allclose(backward.matrix, forward.matrix[::-1, ::-1], rtol=64 * arrays.UNIT, atol=0)
    one, two = rs.logdet(forward), rs.logdet(backward)
    assert (one.sign, two.sign) == (1, 1)
    assert one.low is not None
    assert two.high is not None
    assert two.low is not None
    assert one.high is not None
    assert one.low <= two.high
    assert two.low <= one.high
    a, b = rs.spectrum(forward), rs.spectrum(backward)
    assert (np.abs(a.values - b.values) <= a.error + b.error).all()
    assert rs.rank_exact(forward).value == rs.rank_exact(backward).value == size


@settings(max_examples=40)
@given(SEEDS, st.integers(2, 9))
def test_permuted_tokens_permute_bidirectional_attention(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    queries, keys = np.round(random.standard_normal((2, size, 4)) * 16) / 16
    order = random.permutation(size)
    plain, other = single(attention(queries, keys)), single(attention(queries[order], keys[order]))
    assert np.allclose(other.matrix, plain.matrix[np.ix_(order, order)], rtol=64 * arrays.UNIT, atol=0)
    a, b = rs.spectrum(plain), rs.spectrum(other)
    assert (np.abs(a.values - b.values) <= a.error + b.error).all()
    one, two = rs.logdet(plain), rs.logdet(other)
    assert one.sign == two.sign or None in (one.sign, two.sign)


# ---------------------------------------------------------------------------------------------- stacks, workers, limits


def poisoned(value: float, where: int, count: int = 32) -> Array:
    stack = np.stack([attention_like(seed, 8) for seed in range(count)])
    stack[where, 3, 2] = value
    return stack


@pytest.mark.parametrize(("value", "code"), [(math.nan, "RS110"), (math.inf, "RS111")])
@pytest.mark.parametrize("where", [0, 17, 31])
def test_one_bad_head_among_32_hides_no_other(value: float, code: str, where: int) -> None:
    """numerics.md A17: the 31 others are bit-equal to single runs; the bad one is null with its code."""
    result = rs.analyze(poisoned(value, where))
    for head in range(32):
        records = [record for record in result.table if record.head == head]
        if head == where:
            assert {(record.status, record.code, record.value) for record in records} == {("refused", code, None)}
            assert all("row 3, column 2" in record.because for record in records)
            continue
        alone = rs.analyze(attention_like(head, 8))
        assert [(r.measure, r.value, r.low, r.high, r.sign, r.details) for r in records] == [
            (r.measure, r.value, r.low, r.high, r.sign, r.details) for r in alone.table
        ]
    assert [(record.head, record.code) for record in result.refused] == [(where, code)]
    jsonschema.validate(json.loads(result.to_json()), schema())


def test_one_bad_matrix_of_a_list_hides_no_other() -> None:
    """Whatever is wrong with it: its numbers, its type, its shape."""
    good = attention_like(0, 4)
    for bad, code in (
        (np.full((2, 2), np.nan), "RS110"),
        (np.array([[2**53 + 1]]), "RS104"),
        (np.array([[True]]), "RS105"),
        (np.ones(3), "RS101"),
    ):
        result = rs.analyze([good, bad, good])
        assert [record.code for record in result.refused] == [code]
        assert sum(record.measure == "rank_exact" and record.value == 4 for record in result.table) == 2


def test_a_decomposition_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = np.linalg.svd

    def sometimes(matrix: Float64, *arguments: Any, **options: Any) -> Any:
        if len(matrix) == 5:
            raise np.linalg.LinAlgError("SVD did not converge")
        return real(matrix, *arguments, **options)

    monkeypatch.setattr(np.linalg, "svd", sometimes)
    result = rs.analyze([attention_like(0, 4), attention_like(1, 5), attention_like(2, 6)])
    assert [record.code for record in result.refused] == ["RS401"]
    assert sum(record.status == "ok" and record.measure == "stable_rank" for record in result.table) == 2


def test_a_matrix_that_is_too_large_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    good, large = attention_like(0, 4), np.eye(100)
    monkeypatch.setattr(arrays, "available_memory", lambda: 8 * 6 * 50 * 50)
    result = rs.analyze([good, large, good])
    assert [record.code for record in result.refused] == ["RS301"]


@pytest.mark.parametrize("value", [0.5, math.nan])
def test_the_number_of_workers_changes_no_byte(value: float) -> None:
    """numerics.md promise 12, for good stacks and for those with a bad head."""
    stack = np.stack([attention_like(seed, 40, "bidirectional") for seed in range(12)])
    stack[5, 0, 0] = value
    texts = {rs.analyze(stack, workers=workers).to_json() for workers in (1, 2, 4, 1, 2, 4)}
    assert len(texts) == 1


def test_repeated_runs_give_the_same_bytes() -> None:
    texts = {rs.analyze(rs.synthetic(n=96, d=16, mask="causal")).to_json() for _ in range(3)}
    assert len(texts) == 1


def test_several_matrices_keep_their_order() -> None:
    result = rs.analyze([np.eye(2), attention_like(0, 3), single(attention(np.eye(2), np.eye(2)))])
    assert [(each.id, each.rows) for each in result.table.matrices] == [(0, 2), (1, 3), (2, 2)]
    ranks = result["rank_exact"]
    assert isinstance(ranks, rs.Table)
    assert [record.matrix for record in ranks] == [0, 1, 2]


def test_an_empty_stack_has_no_records() -> None:
    for nothing in (np.zeros((0, 3, 3)), np.zeros((2, 0, 3, 3))):
        result = rs.analyze(nothing)
        assert len(result.table) == 0
        assert str(result)


def test_memory_is_refused_with_the_largest_size_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "available_memory", lambda: 10_000_000)
    largest = math.isqrt(8_000_000 // (8 * arrays.DENSE_COPIES))
    rs.analyze(np.eye(largest), measures=["rank_exact"])
    for ask in (
        lambda: rs.analyze(np.eye(largest + 1)),
        lambda: rs.synthetic(n=largest + 1, d=2, mask="causal"),
        lambda: rs.matrix(np.eye(largest + 1)),
    ):
        with pytest.raises(RankscopeError, match="RS301") as caught:
            ask()
        assert caught.value.exit_status == 4
        assert f"n ≤ {largest}," in caught.value.remedy
        assert "GiB" in caught.value.given


def test_compositions_count_all_their_parts_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "available_memory", lambda: 8 * 100 * 100 * (arrays.DENSE_COPIES + 4))
    rs.synthetic(n=80, d=2, mask="causal")
    with pytest.raises(RankscopeError, match="RS301") as caught:
        rs.synthetic(n=80, d=2, mask="causal", heads=8)
    assert "8 matrices" in caught.value.given


# -------------------------------------------------------------------------------------------------- tables and series


def test_the_document_is_plain_data_by_the_schema() -> None:
    for made in (
        attention_like(0, 5),
        rs.synthetic(n=6, d=2, heads=2, layers=2, plan="heads"),
        single(attention(np.eye(3) * 40, np.eye(3) * 40, mask="causal", dtype="float16")),
        np.array([[1.0, 2.0], [2.0, 4.0]]),
        np.eye(2) * (1 + 1j),
    ):
        everything(made)


def test_the_spectrum_is_a_series_with_its_errors() -> None:
    operator = single(attention(*np.random.default_rng(0).standard_normal((2, 7, 3))))
    series = rs.analyze(operator).table.series[0]
    found = rs.spectrum(operator)
    assert (series.name, series.index) == ("singular_values", [1, 2, 3, 4, 5, 6, 7])
    assert (series.values, series.errors) == (found.values.tolist(), found.error.tolist())
    assert not rs.analyze(operator, measures=["rank_exact"]).table.series
    assert LONGEST_SERIES == 4096


@pytest.mark.parametrize("exponent", [-1000, 0, 1000])
def test_the_series_is_there_at_every_scale_that_float64_holds(exponent: int) -> None:
    matrix = np.array([[2.0, 1.0], [1.0, 3.0]]) * 2.0**exponent
    series = rs.analyze(matrix, measures=["stable_rank"]).table.series
    assert len(series) == 1
    assert np.allclose(
        series[0].values, np.sort(np.linalg.eigvalsh([[2, 1], [1, 3]]))[::-1] * 2.0**exponent, rtol=1e-15
    )


def test_measures_are_chosen_by_name_in_the_order_of_their_groups() -> None:
    names = [measure.name for measure in chosen(("row_entropy", "logdet", "rank_exact", "erank"))]
    assert names == ["rank_exact", "effective_rank", "logdet", "row_entropy"]
    assert [measure.name for measure in chosen(("all", "logdet"))] == [measure.name for measure in chosen(("all",))]


def test_only_the_named_measures_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np.linalg, "svd", lambda *_, **__: pytest.fail("no decomposition was asked for"))
    result = rs.analyze(attention_like(0, 12), measures=["rank_exact", "logdet", "row_entropy"])
    assert [record.measure for record in result.table] == ["rank_exact", "logdet", "row_entropy"]


def test_masks_seen_by_brute_force_are_the_zero_patterns_of_arrays() -> None:
    """A bare array has the structure of the mask that made it."""
    for name in ("causal", "anticausal"):
        operator = rs.analyze(attention_like(0, 6, name))["rank_exact"]
        assert isinstance(operator, rs.Record)
        assert (operator.value, operator.guarantee) == (6, "proved")
        seen = seen_by(lambda i, j: j <= i if name == "causal" else i <= j, 6, 6)  # noqa: B023
        assert ((attention_like(0, 6, name) != 0) == seen).all()


@pytest.mark.deep
def test_extreme_matrices_against_their_exact_numbers() -> None:
    """Determinant, rank and smallest value of matrices of special numbers, in rationals and in 12 000-bit balls."""
    for matrix in corpus(4, 1000, bad=False):
        exact = oracles.rational(matrix)
        with oracles.precision(12_000):
            rank = rs.rank_exact(matrix)
            assert rank.low is not None
            assert rank.high is not None
            assert rank.low <= exact.rank() <= rank.high, matrix
            if matrix.shape[0] == matrix.shape[1]:
                found = rs.logdet(matrix)
                sign, log = oracles.log_determinant(exact)
                assert found.sign in (None, sign), matrix
                assert sign == 0 or oracles.inside(found.low, log, found.high), matrix
            smallest = rs.log10_sigma_min(matrix)
            if exact.rank() < min(matrix.shape):
                assert smallest.low is None, matrix
                continue
            value = oracles.singular_values(oracles.balls(exact))[-1]
            assert not value > 0 or oracles.inside(smallest.low, oracles.log10(value), smallest.high), matrix
