"""Files that lie, files that are damaged, and files that are what they say: only the last give numbers.

The forged ones are made byte by byte, since no library writes them; the true ones are written by numpy and by the
safetensors library, which are the references. What one format does alone is tested beside its module.
"""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray

from rankscope.errors import RankscopeError
from rankscope.generators.files import open_archive
from tests.generators.builders import (
    HOSTILE_NAMES,
    MIB,
    TRUE_NPY,
    WRITERS,
    archive,
    check_refusal,
    memory,
    npy,
    npz,
    outcome,
    read_all,
    refused,
    same,
    tensor,
    tensors,
    written,
)
from tests.generators.corpus import CORPUS, OTHER

# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("case", OTHER)
def test_a_file_of_another_format_is_refused_with_its_code_and_name(case: str, tmp_path: Path) -> None:
    check_refusal(tmp_path, *OTHER[case], at_opening=True)


def test_a_forged_file_takes_no_more_memory_than_promised(tmp_path: Path) -> None:
    for case, (_, name, content) in CORPUS.items():
        path = written(tmp_path, name, content)
        assert memory(lambda path=path: refused(path)) <= 2 * len(content) + 64 * MIB, case  # type: ignore[misc]


def test_the_corpus_differs_from_files_that_are_read(tmp_path: Path) -> None:
    true = {
        "x.npy": TRUE_NPY,
        "x.npz": npz(8, a=TRUE_NPY, b=TRUE_NPY),
        "x.safetensors": tensors({"a": tensor()}, bytes(8)),
    }
    for name, content in true.items():
        assert all(not array.values.any() for array in read_all(written(tmp_path, name, content))[1])


@pytest.mark.parametrize(
    ("case", "remedy"),
    [
        ("pickle: .pt", "safetensors.torch.save_file"),
        ("other: .csv", "Give one of .npy, .npz, .safetensors"),
        ("npy: version 4", "version 4.0"),
        ("npy: version 1.1", "version 1.1"),
        ("safetensors: float8", "to(torch.bfloat16), which is exact"),
        ("npy: bare memory", "bfloat16 in a .safetensors file"),
        ("npz: packed 850 times", "numpy.savez,"),
        ("npz: packed by bzip2", "numpy.savez_compressed"),
    ],
)
def test_a_message_says_what_was_found_and_what_to_do(case: str, remedy: str, tmp_path: Path) -> None:
    _, name, content = CORPUS[case]
    assert remedy in str(refused(written(tmp_path, name, content)))


def test_what_is_just_within_the_limits_is_read(tmp_path: Path) -> None:
    header = repr({"descr": "<f8", "fortran_order": False, "shape": (2, 2)})
    within = {
        "header.npy": npy(header.ljust(10_000), version=b"\2\0"),
        "sides.npy": npy(shape=(4,) + (1,) * 31),
        "empty.npy": npy(shape=(0, 2**40), payload=b""),
        "sides.safetensors": tensors({"a": tensor(shape=[2] + [1] * 31)}, bytes(8)),
        "empty.safetensors": tensors({"a": tensor(shape=[2**20, 0, 2**20], offsets=[0, 0])}),
        "members.npz": archive([(f"{i}.npy", npy(payload=b"", shape=(0,))) for i in range(4096)]),
    }
    for name, content in within.items():
        assert outcome(written(tmp_path, name, content)) == "read", name


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.safetensors"])
def test_a_file_that_changes_after_it_was_opened_gives_no_numbers(name: str, tmp_path: Path) -> None:
    true = {"x.npy": TRUE_NPY, "x.npz": npz(a=TRUE_NPY), "x.safetensors": tensors({"a": tensor()}, bytes(8))}
    path = written(tmp_path, name, true[name])
    stored = open_archive(path).arrays[0]
    data = true[name].index(b"PK\1\2") if name == "x.npz" else len(true[name])
    for length in range(data):
        path.write_bytes(true[name][:length])
        with pytest.raises(RankscopeError, match=r"RS20[23]"):
            stored.read()
    path.unlink()
    with pytest.raises(RankscopeError, match="RS501"):
        stored.read()


def test_an_array_is_read_from_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "x.npy", TRUE_NPY)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    stored = open_archive("x.npy").arrays[0]
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert stored.read().values.shape == (2, 2)


# ----------------------------------------------------------------------------------------------------- no code runs

FORBIDDEN = ("socket.", "subprocess.", "os.", "shutil.", "pickle.", "ctypes.dlopen", "tempfile.")
HARMLESS = ("os.listdir", "os.scandir", "os.putenv")
SEEN: list[str] | None = None


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if SEEN is None:
        return
    if event == "open" and any(sign in str(arguments[1]) for sign in "wax+"):
        SEEN.append(f"open {arguments[0]}")
    elif event.startswith(FORBIDDEN) and event not in HARMLESS:
        SEEN.append(event)


@pytest.fixture(scope="module")
def watched() -> Callable[[Callable[[], object]], list[str]]:
    """Runs a function and gives back what it did to the world: Python's own audit events."""
    sys.addaudithook(watch)

    def run(function: Callable[[], object]) -> list[str]:
        global SEEN
        seen: list[str] = []
        SEEN = seen
        try:
            function()
        finally:
            SEEN = None
        return seen

    return run


class Gadget:
    """What a pickle can do: write a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_a_pickle_is_never_loaded(tmp_path: Path, watched: Callable[[Callable[[], object]], list[str]]) -> None:
    marker = tmp_path / "marker"
    gadget = np.array([Gadget(marker)], dtype=object)
    np.save(tmp_path / "evil.npy", gadget, allow_pickle=True)
    np.savez(tmp_path / "evil.npz", allow_pickle=True, good=np.eye(2), evil=gadget)
    written(tmp_path, "evil.pt", (tmp_path / "evil.npz").read_bytes())
    for name, code in (("evil.npy", "RS201"), ("evil.npz", "RS201"), ("evil.pt", "RS207")):
        reasons: list[RankscopeError] = []
        assert watched(lambda name=name, reasons=reasons: reasons.append(refused(tmp_path / name))) == []  # type: ignore[misc]
        assert [reason.code for reason in reasons] == [code]
        assert not marker.exists()
    assert same(open_archive(tmp_path / "evil.npz").arrays[0].read().values, np.eye(2))
    # The gadget works and the watch sees it: otherwise the above would prove nothing.
    seen = watched(lambda: np.load(tmp_path / "evil.npy", allow_pickle=True))
    assert marker.exists()
    assert "pickle.find_class" in seen


def test_no_file_of_the_corpus_writes_or_calls_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: Callable[[Callable[[], object]], list[str]]
) -> None:
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    paths = [
        written(folder, f"{i}{Path(name).suffix}", content) for i, (_, name, content) in enumerate(CORPUS.values())
    ]
    hostile = {name: tensor("U8", [1], [i, i + 1]) for i, name in enumerate(HOSTILE_NAMES)}
    paths.append(written(folder, "names.safetensors", tensors(hostile, bytes(len(hostile)))))
    before = sorted(tmp_path.parent.rglob("*"))

    def read_every() -> None:
        for path in paths:
            try:
                read_all(path)
            except RankscopeError:
                continue

    assert watched(read_every) == []
    assert sorted(tmp_path.parent.rglob("*")) == before
    assert watched(lambda: written(folder, "made", b"")) != []


# ------------------------------------------------------------------------------------------------------ round trips


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@given(
    st_numpy.arrays(
        st.sampled_from(["<f8", ">f8", "<f4", "<f2"]),
        st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
@settings(max_examples=60, deadline=None)
def test_any_array_comes_back(folder: Path, array: NDArray[Any]) -> None:
    from safetensors.numpy import save_file

    for name, write in WRITERS.items():
        write(folder / name, array)
        assert same(read_all(folder / name)[1][0].values, array)
    save_file({"x": array.astype(array.dtype.newbyteorder("="), order="C")}, folder / "x.safetensors")
    assert same(read_all(folder / "x.safetensors")[1][0].values, array)


def test_arrays_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", b=np.eye(2), a=np.eye(3))
    assert [each.name for each in open_archive(tmp_path / "x.npz").arrays] == ["b", "a"]
    header = {"later": tensor(offsets=[8, 16]), "empty": tensor(shape=[0], offsets=[8, 8]), "first": tensor()}
    path = written(tmp_path, "x.safetensors", tensors(header, bytes(16)))
    assert [each.name for each in open_archive(path).arrays] == ["first", "empty", "later"]


def test_files_without_arrays_are_empty_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz")
    assert open_archive(tmp_path / "x.npz").arrays == []
    assert open_archive(written(tmp_path, "x.safetensors", tensors(b"{}   "))).arrays == []


def test_the_suffix_decides_whatever_its_case(tmp_path: Path) -> None:
    assert open_archive(written(tmp_path, "x.NPY", TRUE_NPY)).path == tmp_path / "x.NPY"
    assert open_archive(str(written(tmp_path, "x.npz.Npz", npz(a=TRUE_NPY)))).arrays[0].name == "a"


@pytest.mark.parametrize("name", [*WRITERS, "x.safetensors"])
def test_a_load_takes_no_more_than_twice_the_file(name: str, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    array = np.random.default_rng(0).standard_normal((512, 512))
    if name in WRITERS:
        WRITERS[name](tmp_path / name, array)
    else:
        save_file({"x": array}, tmp_path / name)
    read_all(tmp_path / name)  # what is loaded on first use does not count
    assert array.nbytes <= memory(lambda: read_all(tmp_path / name)) <= 2 * array.nbytes + MIB / 2


# ------------------------------------------------------------------------------------------------------------- fuzz


def seeds() -> Iterator[tuple[str, bytes]]:
    """True files, small so that a mutation often hits what matters."""
    array = np.arange(1.0, 13.0).reshape(3, 4)
    for name, write in WRITERS.items():
        buffer = io.BytesIO()
        write(buffer, array)  # type: ignore[arg-type]
        yield name, buffer.getvalue()
    header = {"__metadata__": {"scale": "1"}, "a": tensor(), "b": tensor("BF16", [2, 2], [8, 16])}
    yield "x.safetensors", tensors(header, np.arange(1.0, 5.0, dtype="<f4").tobytes())


SEEDS = dict(seeds())


@pytest.mark.parametrize("name", SEEDS)
def test_every_cut_and_every_addition_is_refused(name: str, folder: Path) -> None:
    content = SEEDS[name]
    assert outcome(written(folder, name, content)) == "read"
    for length in range(len(content)):
        assert outcome(written(folder, name, content[:length])) in ("RS202", "RS203")
    for rest in (b"\0", b" ", b"}", content):
        assert outcome(written(folder, name, content + rest)) in ("RS202", "RS203")


@pytest.mark.parametrize("name", SEEDS)
def test_a_flipped_bit_in_any_byte_is_refused_or_read(name: str, folder: Path) -> None:
    content = SEEDS[name]
    found = set()
    for place in range(len(content)):
        forged = bytearray(content)
        forged[place] ^= 1 << place % 8
        found.add(outcome(written(folder, name, bytes(forged))))
    assert {"read", "RS202", "RS203"} <= found


def mutated(content: bytes, mutations: list[tuple[int, int, bytes]]) -> bytes:
    """`content` with some bytes after each place left out, and others put in."""
    for place, left_out, new in mutations:
        place %= len(content) + 1
        content = content[:place] + new + content[place + left_out :]
    return content


MUTATIONS = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=4)


@pytest.mark.parametrize("name", SEEDS)
@given(mutations=MUTATIONS)
@settings(max_examples=150, deadline=None)
def test_a_mutated_file_is_refused_or_read(name: str, folder: Path, mutations: list[tuple[int, int, bytes]]) -> None:
    outcome(written(folder, name, mutated(SEEDS[name], mutations)))
