"""What every format does alike: opening, converting, and names that are shown and do nothing."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankscope.errors import RankscopeError
from rankscope.generators.files import open_archive
from rankscope.generators.stored import displayed
from tests.generators.builders import HOSTILE_NAMES, TRUE_NPY, refused, tensor, tensors, written

# ------------------------------------------------------------------------------------------ what the system refuses


def test_a_missing_file_a_folder_and_an_impossible_name_are_rs501(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    written(tmp_path, "true.npy", TRUE_NPY)
    names = ["missing.npy", "folder.npy", "true.npy/x.npy", "nul\0.npy", "n" * 5000 + ".npy", "no/folder.npy"]
    for name in names:
        reason = refused(tmp_path / name)
        assert reason.code == "RS501"
        assert displayed(Path(name).name) in reason.given


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npy")
    assert refused(tmp_path / "x.npy").code == "RS501"


def test_a_file_that_may_not_be_read_is_rs501(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "x.npy", TRUE_NPY)
    stored = open_archive(path).arrays[0]

    def forbidden(*_: object, **__: object) -> None:  # the rights themselves do not bind an administrator
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    for act in (lambda: open_archive(path), stored.read):
        with pytest.raises(RankscopeError, match=r"RS501: cannot read 'x\.npy': Permission denied"):
            act()


# ------------------------------------------------------------------------------------------------------- conversion


@pytest.mark.parametrize(
    ("dtype", "stored", "needed"), [("F64", 8, 8), ("F32", 4, 8), ("I8", 1, 8), ("C64", 8, 16), ("BF16", 2, 8 + 4)]
)
def test_an_array_beyond_the_available_memory_is_listed_and_not_read(
    dtype: str, stored: int, needed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 10_000
    header = {"a": tensor(dtype, [count], [0, count * stored])}
    [array] = open_archive(written(tmp_path, "x.safetensors", tensors(header, bytes(count * stored)))).arrays
    room = int(count * (stored + needed) / 0.8)
    monkeypatch.setattr("rankscope.arrays.available_memory", lambda: room - 2)
    with pytest.raises(RankscopeError, match="RS301") as caught:
        array.read()
    assert "'a' of 'x.safetensors'" in caught.value.given
    monkeypatch.setattr("rankscope.arrays.available_memory", lambda: room + 2)
    assert array.read().values.size == count


def test_an_array_that_is_not_supported_does_not_block_the_others(tmp_path: Path) -> None:
    header = {"fp8": tensor("F8_E4M3", [8], [0, 8]), "fp4": tensor("F4", [4], [8, 10]), "f32": tensor(offsets=[10, 18])}
    paths = [written(tmp_path, "x.safetensors", tensors(header, bytes(10) + np.array([1, 2], "<f4").tobytes()))]
    np.savez(
        tmp_path / "x.npz", words=np.array(["a", "b"]), dates=np.array(["2020"], "M8[s]"), f32=np.array([1, 2], "f4")
    )
    paths.append(tmp_path / "x.npz")
    for path in paths:
        *others, good = open_archive(path).arrays
        assert good.name == "f32"
        assert good.read().values.tolist() == [1.0, 2.0]
        for each in others:
            with pytest.raises(RankscopeError, match="RS206") as caught:
                each.read()
            assert f"'{each.name}' of '{path.name}'" in caught.value.given
    with pytest.raises(RankscopeError, match=r"\.to\(torch\.bfloat16\), which is exact"):
        open_archive(paths[0]).arrays[0].read()


def test_what_is_no_real_number_in_float64_is_refused_by_the_seam(tmp_path: Path) -> None:
    for array, code in ((np.eye(2, dtype=bool), "RS105"), (np.array([2**53 + 1]), "RS104")):
        np.save(tmp_path / "x.npy", array)
        stored = open_archive(tmp_path / "x.npy").arrays[0]
        assert stored.dtype == array.dtype.name
        with pytest.raises(RankscopeError, match=f"{code}.*'x.npy'"):
            stored.read()
    header = {"mask": tensor("BOOL", [2], [0, 2])}
    stored = open_archive(written(tmp_path, "x.safetensors", tensors(header, b"\0\1"))).arrays[0]
    assert stored.dtype == "bool"
    with pytest.raises(RankscopeError, match="RS105"):
        stored.read()


# ------------------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_message_about_a_hostile_name_is_inert(name: str, tmp_path: Path) -> None:
    header = {name: tensor("F8_E5M2", [1], [0, 1])}
    reason = refused(written(tmp_path, "x.safetensors", tensors(header, b"1")))
    assert reason.code == "RS206"
    assert f"'{displayed(name)}'" in reason.given
    assert str(reason).isprintable()


def test_a_hostile_file_name_is_inert(tmp_path: Path) -> None:
    reason = refused(written(tmp_path, "\x1b[2J\u202e.npy", b"junk"))
    assert r"\x1b[2J\u202e.npy" in reason.given
    assert str(reason).isprintable()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("layer.3.attention", "layer.3.attention"),
        ("Köpfe × 注意", "Köpfe × 注意"),
        ("a\x1b[31mb\x7f", r"a\x1b[31mb\x7f"),
        ("a\0b\n\t", r"a\x00b\n\t"),
        ("\u202eabc\u2066\u200f", r"\u202eabc\u2066\u200f"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("a\u2028b\u00a0c", r"a\u2028b\xa0c"),
        ("n" * 120, "n" * 120),
        ("n" * 121, "n" * 119 + "…"),
        ("\x1b" * 40, r"\x1b" * 29 + r"\x1" + "…"),
    ],
)
def test_displayed(name: str, shown: str) -> None:
    assert displayed(name) == shown


@given(st.text(st.characters(), max_size=200))
def test_what_is_displayed_prints_and_is_short(name: str) -> None:
    shown = displayed(name)
    assert shown.isprintable()
    assert len(shown) <= 120
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert not name.isprintable() or len(name) > 120 or shown == name
