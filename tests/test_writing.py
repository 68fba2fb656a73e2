"""A file under its name is complete, or it is the earlier one: whichever call of the system fails, or is the last.

Faults are made by counting: the first run lets every call pass and counts them, and then each in turn fails.
"""

import builtins
import io
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from rankscope.errors import RankscopeError
from rankscope.writing import atomic_write, atomic_write_all
from tests.process import environment

OLD, NEW = b"earlier\n", b"later\n" * 1000
CALLS = (
    "open", "close", "fsync", "fdatasync", "rename", "replace", "link", "write", "ftruncate", "chmod", "fchmod",
    "lstat", "stat", "fstat",
)  # fmt: skip
METHODS = ("write", "flush", "close", "truncate")


class Faults:
    """Counts calls of the operating system, and makes the one of number `wanted` fail."""

    def __init__(self, wanted: int, fail: Callable[[str], None], within: Path) -> None:
        self.wanted = wanted
        self.fail = fail
        self.within = str(within)
        self.names: list[str] = []

    def count(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self.wanted:
            self.fail(name)

    def counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            first = arguments[0] if arguments else None
            if name not in ("lstat", "stat", "open") or str(first).startswith(self.within):
                self.count(name)
            return real(*arguments, **options)

        return call

    def opened(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if not str(arguments[0]).startswith(self.within):
                return real(*arguments, **options)
            self.count("open file")
            return Watched(real(*arguments, **options), self)

        return call


class Watched:
    """An open file whose methods are counted."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self.file = file
        self.faults = faults

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.file, name)
        return self.faults.counted(f"file {name}", found) if name in METHODS else found

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *reason: object) -> None:
        try:
            self.faults.count("file close")
        finally:
            self.file.close()


@contextmanager
def injected(faults: Faults) -> Iterator[Faults]:
    """Every call that a writer could make goes through `faults`."""
    with ExitStack() as stack:
        for name in CALLS:
            if hasattr(os, name):
                stack.enter_context(mock.patch.object(os, name, faults.counted(name, getattr(os, name))))
        stack.enter_context(mock.patch.object(io, "open", faults.opened(io.open)))
        stack.enter_context(mock.patch.object(builtins, "open", faults.opened(builtins.open)))
        yield faults


def refuse(name: str) -> None:
    raise OSError(28, "No space left on device", name)


def allow(name: str) -> None:
    pass


def calls_of_one_write(folder: Path) -> list[str]:
    target = folder / "counted.txt"
    target.write_bytes(OLD)
    with injected(Faults(0, allow, folder)) as faults:
        atomic_write(target, NEW)
    assert target.read_bytes() == NEW
    target.unlink()
    return faults.names


# -------------------------------------------------------------------------------------------------------- in good times


@pytest.mark.parametrize("content", [b"", b"\x00\xff", NEW])
@pytest.mark.parametrize("earlier", [False, True])
def test_what_is_written_is_what_was_given_and_nothing_else_is_left(
    content: bytes, earlier: bool, tmp_path: Path
) -> None:
    target = tmp_path / "a.txt"
    if earlier:
        target.write_bytes(OLD)
    atomic_write(target, content)
    assert target.read_bytes() == content
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["a" * 255, "日" * 80, "a b\n.txt", "-rf", ".hidden", "a.tar.gz", "=1", "é\u0301"])
def test_any_name_that_the_system_takes_is_taken(name: str, tmp_path: Path) -> None:
    atomic_write(tmp_path / name, NEW)
    assert (tmp_path / name).read_bytes() == NEW
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_without_a_folder_is_in_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    atomic_write(Path("a.txt"), NEW)
    assert (tmp_path / "a.txt").read_bytes() == NEW


def test_what_is_written_has_reached_the_disk_before_it_gets_its_name(tmp_path: Path) -> None:
    names = calls_of_one_write(tmp_path)
    renamed = next(i for i, name in enumerate(names) if name in ("replace", "rename"))
    synced = [i for i, name in enumerate(names) if name == "fsync"]
    written = next(i for i, name in enumerate(names) if name in ("file write", "write"))
    assert written < synced[0] < renamed < synced[1], "file, then its name, then the folder"


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o027, 0o000])
@pytest.mark.parametrize("earlier", [False, True])
def test_rights_follow_the_umask(mask: int, earlier: bool, tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    before = os.umask(mask)
    try:
        if earlier:
            target.write_bytes(OLD)
        atomic_write(target, NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask


# ------------------------------------------------------------------------------------------------------------- links


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "deep" / "target.txt", tmp_path / "link.txt"
    target.parent.mkdir()
    target.write_bytes(OLD)
    link.symlink_to(Path("deep") / "target.txt")
    atomic_write(link, NEW)
    assert link.is_symlink()
    assert target.read_bytes() == NEW
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "link.txt", "target.txt"]


def test_a_link_to_nothing_makes_what_it_points_to(tmp_path: Path) -> None:
    link = tmp_path / "link.txt"
    link.symlink_to("target.txt")
    atomic_write(link, NEW)
    assert link.is_symlink()
    assert (tmp_path / "target.txt").read_bytes() == NEW


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link.txt"
    link.symlink_to("link.txt")
    assert refusal(link).code == "RS502"
    assert link.is_symlink()


def test_another_name_of_the_same_file_keeps_the_earlier_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_bytes(OLD)
    os.link(first, second)
    atomic_write(first, NEW)
    assert (first.read_bytes(), second.read_bytes()) == (NEW, OLD)


# ------------------------------------------------------------------------------------------------------------ refusals


def refusal(target: Path) -> RankscopeError:
    with pytest.raises(RankscopeError) as caught:
        atomic_write(target, NEW)
    assert (caught.value.code, caught.value.exit_status) == ("RS502", 6)
    return caught.value


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "folder' is not a regular file" in refusal(tmp_path / "folder").given
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(tmp_path / "pipe").given
    assert stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode)


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.chdir(tmp_path)  # the name of a socket may have no more than about a hundred characters
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket")
        assert "not a regular file" in refusal(tmp_path / "socket").given
    assert stat.S_ISSOCK((tmp_path / "socket").lstat().st_mode)


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK], ids=["character device", "block device"])
def test_a_device_is_refused(kind: int, tmp_path: Path) -> None:
    """Without a real one: a writer that is wrong and runs as root would replace it."""
    target = tmp_path / "device"
    target.write_bytes(OLD)
    real = os.stat

    def device(path: Any, *arguments: Any, **options: Any) -> Any:
        found = real(path, *arguments, **options)
        return os.stat_result((kind | 0o666, *found[1:])) if str(path) == str(target) else found

    with mock.patch.object(os, "stat", device), mock.patch.object(os, "lstat", device):
        assert "not a regular file" in refusal(target).given
    assert target.read_bytes() == OLD


def test_a_folder_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    problem = refusal(tmp_path / "missing" / "a.txt")
    assert "a.txt'" in problem.given
    assert "folder" in problem.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a" * 256, "日" * 86])
def test_a_name_that_is_too_long_is_refused(name: str, tmp_path: Path) -> None:
    refusal(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    refusal(tmp_path / "file" / "a.txt")
    assert (tmp_path / "file").read_bytes() == OLD


def test_a_name_that_a_terminal_would_obey_is_shown_safely(tmp_path: Path) -> None:
    (tmp_path / "\x1b[2J\n").mkdir()
    assert str(refusal(tmp_path / "\x1b[2J\n")).isprintable()


# -------------------------------------------------------------------------------------------------------------- faults


def problem_of(target: Path) -> RankscopeError | None:
    """What writing complains of, if it does."""
    try:
        atomic_write(target, NEW)
    except RankscopeError as problem:
        return problem
    return None


def test_the_faults_reach_every_call_that_matters(tmp_path: Path) -> None:
    names = calls_of_one_write(tmp_path)
    assert {"open file", "file write", "file flush", "fsync", "file close"} <= set(names)
    assert {"replace", "rename"} & set(names)
    assert names.count("fsync") == 2


@pytest.mark.parametrize(
    "reason", [(28, "No space left on device"), (5, "Input/output error"), (13, "Permission denied")]
)
def test_whichever_call_fails_the_file_is_the_earlier_or_the_later_one(reason: tuple[int, str], tmp_path: Path) -> None:
    def fail(name: str) -> None:
        raise OSError(*reason)

    total = len(calls_of_one_write(tmp_path))
    assert total > 8
    for number in range(1, total + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        target = folder / "a.txt"
        target.write_bytes(OLD)
        with injected(Faults(number, fail, folder)) as faults:
            told = problem_of(target)
        if told is not None:
            assert told.code == "RS502"
            assert reason[1] in str(told)
        found = target.read_bytes()
        where = f"call {number} of {total}: {faults.names[number - 1]}"
        assert found in (OLD, NEW), where
        assert told is not None or found == NEW, f"{where}: a failure was not told"
        assert list(folder.iterdir()) == [target], f"{where}: something is left behind"


def test_whichever_call_fails_a_new_file_is_complete_or_absent(tmp_path: Path) -> None:
    total = len(calls_of_one_write(tmp_path))
    for number in range(1, total + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        with injected(Faults(number, refuse, folder)):
            problem_of(folder / "a.txt")
        assert [path.read_bytes() for path in folder.iterdir()] in ([], [NEW])


def test_the_next_write_succeeds_after_every_fault(tmp_path: Path) -> None:
    for number in range(1, len(calls_of_one_write(tmp_path)) + 1):
        target = tmp_path / "a.txt"
        with injected(Faults(number, refuse, tmp_path)), suppress(RankscopeError):
            atomic_write(target, OLD)
        atomic_write(target, NEW)
        assert target.read_bytes() == NEW
        target.unlink()
    assert list(tmp_path.iterdir()) == []


def test_of_several_files_none_is_new_before_all_are_on_the_disk(tmp_path: Path) -> None:
    def written(folder: Path, faults: Faults) -> tuple[set[bytes], bool]:
        folder.mkdir()
        targets = [folder / f"{number}.png" for number in range(3)]
        for target in targets:
            target.write_bytes(OLD)
        told = False
        with injected(faults):
            try:
                atomic_write_all(dict.fromkeys(targets, NEW))
            except RankscopeError as problem:
                told = problem.code == "RS502"
        assert sorted(folder.iterdir()) == targets, "something is left behind"
        return {target.read_bytes() for target in targets}, told

    counted = Faults(0, allow, tmp_path)
    assert written(tmp_path / "counted", counted) == ({NEW}, False)
    for number in range(1, len(counted.names) + 1):
        folder = tmp_path / str(number)
        faults = Faults(number, refuse, folder)
        found, told = written(folder, faults)
        assert found <= {OLD, NEW}, "each is the earlier one or the whole new one"
        assert told or found == {NEW}, "a failure was not told"
        if told and "replace" not in faults.names[: number - 1]:
            assert found == {OLD}


def test_one_target_that_is_no_file_keeps_the_others_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.png").write_bytes(OLD)
    with pytest.raises(RankscopeError, match="RS502"):
        atomic_write_all({tmp_path / "a.png": NEW, tmp_path / "folder": NEW})
    assert (tmp_path / "a.png").read_bytes() == OLD


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    target = tmp_path / "a.txt"
    for number in range(1, len(calls_of_one_write(tmp_path)) + 1):
        target.write_bytes(OLD)
        with injected(Faults(number, interrupt, tmp_path)), pytest.raises(KeyboardInterrupt):
            atomic_write(target, NEW)
        assert target.read_bytes() in (OLD, NEW)
        assert list(tmp_path.iterdir()) == [target]


KILLED = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from rankscope.writing import atomic_write
from tests.test_writing import CALLS, Faults, NEW, injected

target, total = Path(sys.argv[1]), int(sys.argv[2])
for number in range(1, total + 1):
    target.with_name("a.txt").write_bytes(b"earlier\\n")
    child = os.fork()
    if not child:
        with injected(Faults(number, lambda name: os.kill(os.getpid(), {int(signal.SIGKILL)}), target.parent)):
            atomic_write(target, NEW)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), number
    content = target.read_bytes()
    assert content in (b"earlier\\n", NEW), (number, content[:20])
    atomic_write(target, NEW)
    assert target.read_bytes() == NEW
print("killed", total)
"""


def test_a_process_that_is_killed_at_any_call_leaves_the_earlier_or_the_later_file(tmp_path: Path) -> None:
    total = len(calls_of_one_write(tmp_path))
    words = [sys.executable, "-c", KILLED, str(tmp_path / "a.txt"), str(total)]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"killed {total}\n"), done.stderr


def test_a_link_that_waits_under_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    """In a folder that others may write to, whoever guesses that name must not choose what is overwritten."""
    target, victim = tmp_path / "a.txt", tmp_path / "victim"
    victim.write_bytes(OLD)
    used: list[Path] = []
    real = os.replace

    def watched(source: Any, destination: Any) -> None:
        used.append(Path(source))
        real(source, destination)

    with mock.patch.object(os, "replace", watched):
        atomic_write(target, NEW)
    [temporary] = used
    temporary.symlink_to(victim)
    with suppress(RankscopeError):
        atomic_write(target, NEW)
    assert victim.read_bytes() == OLD


def test_writers_of_the_same_file_do_not_tear_it(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    contents = [bytes([65 + i]) * 200_000 for i in range(4)]
    problems: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(10):
                atomic_write(target, content)
                assert target.read_bytes() in contents
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert target.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [target]
