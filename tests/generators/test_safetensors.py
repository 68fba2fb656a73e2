"""A .safetensors file: what the safetensors library wrote is read, and what it refuses is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankscope.errors import RankscopeError
from rankscope.generators.files import open_archive
from rankscope.generators.safetensors import TENSOR_HEADER, TENSOR_TYPES
from rankscope.generators.stored import displayed
from tests.generators.builders import (
    HOSTILE_NAMES,
    MIB,
    NUMBERS,
    SHAPES,
    check_refusal,
    memory,
    outcome,
    read_all,
    refused,
    same,
    tensor,
    tensors,
    written,
)
from tests.generators.corpus import AT_READING, SAFETENSORS


@pytest.mark.parametrize("case", SAFETENSORS)
def test_a_forged_file_is_refused_with_its_code_and_name(case: str, tmp_path: Path) -> None:
    check_refusal(tmp_path, *SAFETENSORS[case], at_opening=case not in AT_READING)


def test_a_tensor_header_of_more_than_100_mb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write((TENSOR_HEADER + 1).to_bytes(8, "little"))
        file.truncate(TENSOR_HEADER + 100)  # sparse: no disk is used
    assert memory(lambda: refused(path)) < MIB
    assert refused(path).code == "RS202"


def test_more_than_a_million_tensors_are_refused(tmp_path: Path) -> None:
    header = "{" + ",".join(f'"{i}":0' for i in range(10**6 + 1)) + "}"
    assert refused(written(tmp_path, "x.safetensors", tensors(header.encode()))).code == "RS204"


def test_hostile_names_are_kept_and_shown_inert(tmp_path: Path) -> None:
    names = (*HOSTILE_NAMES, "\ud800lone", "n" * 10**6, "")
    header = {name: tensor("U8", [1], [i, i + 1]) for i, name in enumerate(names)}
    opened, arrays = read_all(written(tmp_path, "x.safetensors", tensors(header, bytes(range(len(names))))))
    assert tuple(array.name for array in opened.arrays) == names
    assert [int(array.values[0]) for array in arrays] == list(range(len(names)))
    for name in names:
        assert displayed(name).isprintable()
        assert len(displayed(name)) <= 120


def test_every_bfloat16_pattern_against_torch(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    array = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.bfloat16).reshape(2**8, 2**8)
    save_file({"x": array, "scalar": array[3, 5].clone()}, tmp_path / "x.safetensors")
    opened, arrays = read_all(tmp_path / "x.safetensors")
    by_name = dict(zip((each.name for each in opened.arrays), arrays, strict=True))
    assert [each.dtype for each in opened.arrays] == ["bfloat16"] * 2
    assert same(by_name["x"].values, array.double().numpy())
    assert same(by_name["scalar"].values, array[3, 5].double().numpy())
    assert by_name["x"].storage.name == "bfloat16"


@pytest.mark.parametrize("numbers", [name for name in NUMBERS if name != "c16"])
def test_what_the_safetensors_library_wrote_is_read_bit_by_bit(numbers: str, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    random = np.random.default_rng(7).integers(-100 if numbers[0] != "u" else 0, 100, 24) / 8
    arrays = {f"{shape}": random[: int(np.prod(shape))].reshape(shape).astype(numbers) for shape in SHAPES}
    save_file(arrays, tmp_path / "x.safetensors", {"scale": "0.125", "ключ": "\x1b"})
    opened, read = read_all(tmp_path / "x.safetensors")
    assert opened.metadata == {"scale": "0.125", "ключ": "\x1b"}
    assert {each.name for each in opened.arrays} == arrays.keys()
    for each, values in zip(opened.arrays, read, strict=True):
        assert each.dtype == np.dtype(numbers).name
        assert each.shape == arrays[each.name].shape
        assert same(values.values, arrays[each.name])


# ------------------------------------------------------------------------------------------------------------- fuzz


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


SCALARS = st.none() | st.booleans() | st.integers() | st.integers(-2, 20) | st.floats() | st.text(max_size=4)
VALUES = SCALARS | st.lists(SCALARS, max_size=3)

ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F64", "BF16", "U8", "BOOL", "F8_E4M3", "C64"]) | VALUES,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | VALUES,
        "data_offsets": st.lists(st.integers(-1, 24), min_size=2, max_size=2) | VALUES,
    }
)


@given(st.dictionaries(st.text(max_size=3) | st.just("__metadata__"), ENTRIES | VALUES, max_size=3), st.integers(0, 24))
@settings(max_examples=150, deadline=None)
def test_what_is_read_is_read_by_the_safetensors_library_too(folder: Path, header: dict[str, Any], length: int) -> None:
    from safetensors import SafetensorError, deserialize

    content = tensors(header, bytes(range(length)))
    path = written(folder, "x.safetensors", content)
    outcome(path)
    try:
        names = [each.name for each in open_archive(path).arrays]
    except RankscopeError:
        return
    try:
        accepted = deserialize(content)  # type: ignore[no-untyped-call]
    except SafetensorError:
        # The library refuses a type that it does not know; such an array is listed here, and refused when it is read.
        assert any(each["dtype"] not in TENSOR_TYPES for name, each in header.items() if name != "__metadata__")
    else:
        assert sorted(names) == sorted(name for name, _ in accepted)
