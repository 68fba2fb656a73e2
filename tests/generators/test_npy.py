"""A .npy file: headers that lie are refused, and what numpy wrote is read bit by bit."""

from pathlib import Path

import numpy as np
import pytest

from tests.generators.builders import NUMBERS, SHAPES, WRITERS, check_refusal, read_all, same
from tests.generators.corpus import NPY


@pytest.mark.parametrize("case", NPY)
def test_a_forged_file_is_refused_with_its_code_and_name(case: str, tmp_path: Path) -> None:
    check_refusal(tmp_path, *NPY[case], at_opening=True)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("numbers", NUMBERS)
def test_what_numpy_wrote_is_read_bit_by_bit(name: str, numbers: str, tmp_path: Path) -> None:
    for shape in SHAPES:
        count = int(np.prod(shape))
        random = np.random.default_rng(7).integers(-100 if numbers[0] != "u" else 0, 100, count) / 8
        for order in "CF":
            for sign in "<>":
                array = np.asarray(random.reshape(shape).astype(sign + numbers), order=order)  # type: ignore[call-overload]
                WRITERS[name](tmp_path / name, array)
                opened, [read] = read_all(tmp_path / name)
                assert opened.arrays[0].name == ("" if name == "x.npy" else "x")
                assert opened.arrays[0].shape == shape
                assert opened.arrays[0].dtype == np.dtype(numbers).name
                assert opened.metadata == {}
                assert same(read.values, array)
                assert read.storage.name == {"f4": "float32", "f2": "float16", "c8": "float32"}.get(numbers, "float64")


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(version: tuple[int, int], tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(3, 4)
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array(file, array, version=version)
    assert same(read_all(tmp_path / "x.npy")[1][0].values, array)


def test_every_float16_pattern(tmp_path: Path) -> None:
    array = np.arange(2**16, dtype=np.uint16).view(np.float16)
    np.save(tmp_path / "x.npy", array)
    read = read_all(tmp_path / "x.npy")[1][0]
    assert same(read.values, array)
    assert read.storage.name == "float16"
