"""A .npz archive: what its directory says is compared with the file, and what unpacks with what was declared."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from rankscope.generators import npz as npz_format
from rankscope.generators.files import open_archive
from tests.generators.builders import (
    HOSTILE_NAMES,
    MIB,
    SIZE,
    TRUE_NPY,
    archive,
    check_refusal,
    deflated,
    directory,
    memory,
    npy,
    npz,
    outcome,
    read_all,
    refused,
    same,
    written,
)
from tests.generators.corpus import AT_READING, NPZ


@pytest.mark.parametrize("case", NPZ)
def test_a_forged_file_is_refused_with_its_code_and_name(case: str, tmp_path: Path) -> None:
    check_refusal(tmp_path, *NPZ[case], at_opening=case not in AT_READING)


def test_a_member_that_unpacks_to_more_than_declared_is_not_unpacked(tmp_path: Path) -> None:
    bomb = npz(8, a=TRUE_NPY + bytes(64 * MIB))
    path = written(tmp_path, "x.npz", directory(bomb, SIZE, len(TRUE_NPY)))
    assert memory(lambda: refused(path)) < MIB
    assert refused(path).code == "RS202"


def test_an_archive_may_not_unpack_beyond_the_available_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "x.npz", npz(a=TRUE_NPY))
    room = int(len(TRUE_NPY) / 0.8) + 1
    monkeypatch.setattr(npz_format, "available_memory", lambda: room)
    assert len(open_archive(path).arrays) == 1
    monkeypatch.setattr(npz_format, "available_memory", lambda: room - 2)
    assert refused(path).code == "RS204"


@pytest.mark.parametrize(("noise", "expected"), [(7_900, "read"), (6_500, "RS204")])
def test_a_large_member_may_pack_200_times_and_no_more(noise: int, expected: str, tmp_path: Path) -> None:
    payload = np.random.default_rng(0).bytes(noise).ljust(2**21, b"\0")
    content = npz(8, a=npy(payload=payload, shape=(2**18,)))
    assert 180 < len(payload) / len(content) < 220
    assert outcome(written(tmp_path, "x.npz", content)) == expected


def test_a_small_member_may_pack_well(tmp_path: Path) -> None:
    matrix = np.zeros((360, 360))  # 1.04 MB, below the limit of 2^20
    np.savez_compressed(tmp_path / "x.npz", mask=matrix)
    with zipfile.ZipFile(tmp_path / "x.npz") as file:
        info = file.infolist()[0]
    assert info.file_size > npz_format.RATIO * info.compress_size
    assert same(read_all(tmp_path / "x.npz")[1][0].values, matrix)


@pytest.mark.parametrize("piece", [1, 2, 7, len(deflated(TRUE_NPY))])
def test_a_member_is_the_same_in_pieces_of_any_size(
    piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz_format, "PIECE", piece)
    # Whether output is still due when the last byte has been taken depends on the length: one in eight.
    arrays = [np.random.default_rng(0).standard_normal(20), *(np.zeros(count) for count in range(500, 540))]
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "x.npz", *arrays)
        assert all(
            same(read.values, array) for read, array in zip(read_all(tmp_path / "x.npz")[1], arrays, strict=True)
        )
    for case in (
        "npz: more than declared",
        "npz: less than declared",
        "npz: more packed than used",
        "npz: data changed",
    ):
        code, name, content = NPZ[case]
        assert outcome(written(tmp_path, name, content)) == code


def test_hostile_names_in_an_archive_are_kept(tmp_path: Path) -> None:
    names = [name for name in HOSTILE_NAMES if "\0" not in name]
    content = archive([(f"{name}.npy", TRUE_NPY) for name in names] + [("aXXb.npy", TRUE_NPY)]).replace(
        b"aXXb", b"a\0Xb"
    )
    opened, arrays = read_all(written(tmp_path, "x.npz", content))
    assert [array.name for array in opened.arrays] == [*names, "a\0Xb"]
    assert len(arrays) == len(names) + 1


def test_an_archive_with_a_comment_and_one_of_the_large_kind_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("a.npy", TRUE_NPY)
        file.comment = b"a comment"
    assert len(read_all(tmp_path / "x.npz")[1]) == 1
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)  # as for a file beyond 2 GiB, without writing one
    content = archive([("a.npy", TRUE_NPY)], comment=bytes(60_000))
    assert b"PK\6\7" in content
    assert len(read_all(written(tmp_path, "x.npz", content))[1]) == 1
    longest = content[:-2] + b"\xff\xff" + bytes(2**16 - 1)
    assert len(read_all(written(tmp_path, "x.npz", longest))[1]) == 1
    bomb = content.replace(content[-58:-50], (2**40).to_bytes(8, "little"))
    assert refused(written(tmp_path, "x.npz", bomb)).code == "RS204"
