"""The process as a shell meets it: help, version, completion, pipes, terminals, encodings."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping

import pytest

import rankscope as package
from tests.process import AS_INSTALLED, Ended, called, command, environment, python, rankscope, without_traceback

COMMANDS = ("analyze", "compare", "verify", "list", "doctor")
SMALL = ("analyze", "--n", "8", "--d", "2")


# -------------------------------------------------------------------------------------------------- help and version


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_one_line(flag: str) -> None:
    done = rankscope(flag)
    assert (done.status, done.stdout, done.stderr) == (0, f"rankscope {package.__version__}\n", "")


def test_help_names_every_command_and_where_to_start() -> None:
    short, long = rankscope("-h"), rankscope("--help")
    assert (short.status, short.stderr) == (0, "")
    assert short == long
    assert all(re.search(rf"^  {name} ", short.stdout, re.MULTILINE) for name in COMMANDS)
    assert "rankscope analyze --mask causal --n 512 --d 64" in short.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str) -> None:
    short, long = called(name, "-h"), called(name, "--help")
    assert (short.status, short.stderr) == (0, "")
    assert short.stdout == long.stdout
    assert "--debug" in short.stdout
    assert [line for line in short.stdout.splitlines() if len(line) > 80] == []


def test_every_option_of_analyze_and_compare_has_help() -> None:
    for name in ("analyze", "compare"):
        shown = called(name, "--help").stdout
        options = shown[shown.index("Options:") :]
        for option in re.findall(r"^  (?:-\w, )?(--[\w-]+)", options, re.MULTILINE):
            after = options[options.index(option) :]
            described = re.match(r"\S+( <[^>]+>)?((?:[^\n]|\n {20,})*)", after)
            assert described is not None
            assert len(re.findall(r"[A-Za-z]{2,}", described[2])) >= 2, f"{option} says nothing"


def test_nothing_to_do_shows_the_help_and_is_a_mistake() -> None:
    done = rankscope()
    assert done.status == 2
    assert "Commands" in done.everything
    assert without_traceback(done)


def test_an_unknown_command_is_a_mistake_in_usage() -> None:
    done = rankscope("analyse")
    assert (done.status, done.stdout) == (2, "")
    assert "analyse" in done.stderr
    assert without_traceback(done)


# -------------------------------------------------------------------------------------------------------- completion


def completed(words: str) -> list[str]:
    """What bash would offer after these words; the last is unfinished."""
    number = str(len(words.split(" ")) - 1)
    env = environment(_RANKSCOPE_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=number)
    done = python(AS_INSTALLED, env=env)
    assert done.status == 0
    return done.stdout.split()


def test_commands_and_options_and_choices_are_completed() -> None:
    assert completed("rankscope an") == ["analyze"]
    assert completed("rankscope analyze --m") == ["--mask", "--measure"]
    assert completed("rankscope analyze --format ") == ["table", "json", "csv", "markdown", "latex"]
    assert completed("rankscope list ")[:2] == ["masks", "kernels"]


def test_a_shell_is_told_how_to_complete() -> None:
    done = python(AS_INSTALLED, "--show-completion", "bash", env=environment(SHELL="/bin/bash"))
    assert done.status == 0
    assert "_RANKSCOPE_COMPLETE=complete_bash" in done.stdout
    assert "complete -o default -F _rankscope_completion rankscope" in done.stdout


# ------------------------------------------------------------------------------------------------------- where it goes


def written_to(target: int | None, *arguments: str, close: bool = False) -> Ended:
    """Run a command whose stdout is a file descriptor, or closed."""
    words = command(*arguments)
    if close:
        words = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *words]
    done = subprocess.run(words, env=environment(), stdout=target, stderr=subprocess.PIPE, timeout=60, check=False)
    return Ended(done.returncode, b"", done.stderr.decode())


EVERYTHING = [SMALL, (*SMALL, "-f", "json"), ("list",), ("--help",), ("--version",), ("doctor",)]
NAMED = [" ".join(words) for words in EVERYTHING]


@pytest.mark.parametrize("words", EVERYTHING, ids=NAMED)
def test_a_reader_who_has_gone_ends_the_process_quietly_with_141(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = written_to(writing, *words)
    finally:
        os.close(writing)
    assert (done.status, done.stderr) == (141, "")


@pytest.mark.parametrize("words", EVERYTHING, ids=NAMED)
def test_a_full_disk_behind_stdout_ends_with_6(words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:  # opened for writing as a shell does, never renamed onto
        done = written_to(full.fileno(), *words)
    assert done.status == 6
    assert done.stderr.startswith("rankscope: RS502: ")
    assert without_traceback(done)


@pytest.mark.parametrize("words", [SMALL, ("list",), ("--help",)], ids=["analyze", "list", "--help"])
def test_a_closed_stdout_ends_without_a_traceback(words: tuple[str, ...]) -> None:
    done = written_to(None, *words, close=True)
    assert without_traceback(done)
    assert done.status in (0, 6)


def test_nothing_is_read_from_stdin() -> None:
    done = subprocess.run(
        command(*SMALL), env=environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


# ------------------------------------------------------------------------------------------------------------ terminals


def in_terminal(*arguments: str, columns: int = 80, changes: Mapping[str, str] | None = None) -> Ended:
    """Run a command in a terminal of its own."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = environment(**{"TERM": "xterm-256color", **(changes or {})})
    words = [sys.executable, "-c", AS_INSTALLED, *arguments]
    process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=env)
    os.close(slave)
    out = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # Linux ends a terminal whose last writer has gone with EIO
            break
        if not piece:
            break
        out += piece
    os.close(master)
    _, err = process.communicate(timeout=60)
    return Ended(process.returncode, out.replace(b"\r\n", b"\n"), err.decode())


COLOUR = re.compile(r"\x1b\[[\d;]*m")
CAUSAL = ("analyze", "--mask", "causal", "--n", "16", "--d", "4")


def test_a_terminal_gets_colour_and_the_same_words() -> None:
    plain, coloured = rankscope(*CAUSAL), in_terminal(*CAUSAL)
    assert (coloured.status, coloured.stderr) == (0, "")
    assert "\x1b" not in plain.stdout
    assert COLOUR.search(coloured.stdout)
    assert COLOUR.sub("", coloured.stdout) == plain.stdout


@pytest.mark.parametrize("changes", [{"NO_COLOR": "1"}, {"NO_COLOR": ""}, {"TERM": "dumb"}], ids=str)
def test_colour_can_be_declined(changes: dict[str, str]) -> None:
    done = in_terminal(*CAUSAL, changes=changes)
    assert done.status == 0
    assert "\x1b" not in done.stdout
    assert "rank_exact" in done.stdout


@pytest.mark.parametrize("columns", [80, 120])
def test_a_table_is_no_wider_than_its_terminal(columns: int) -> None:
    done = in_terminal(
        "analyze", "--mask", "causal", "--n", "16", "--d", "4", columns=columns, changes={"NO_COLOR": "1"}
    )
    widest = max(len(line) for line in done.stdout.splitlines())
    assert widest <= columns
    assert columns == 80 or widest > 80, "a wide terminal is used"


@pytest.mark.parametrize("format", ["json", "csv", "markdown", "latex"])
def test_formats_for_programs_are_never_coloured(format: str) -> None:
    options = (*SMALL, "-m", "stable_rank", "--format", format)
    assert in_terminal(*options).stdout == called(*options).stdout


def test_help_in_a_terminal_says_the_defaults_too() -> None:
    words = re.sub(r"[│\s]+", " ", COLOUR.sub("", in_terminal("analyze", "--help").stdout))
    for said in ("default: 512", "default: 64", "default: bidirectional", "default: softmax", "default: float64"):
        assert said in words


# ------------------------------------------------------------------------------------------------------------ encodings

POOR = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "locale C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


@pytest.mark.parametrize("name", POOR)
def test_a_poor_encoding_crashes_nothing(name: str) -> None:
    for words in (CAUSAL, ("list",), ("analyze", "--help"), (*CAUSAL, "-f", "csv", "-v"), ("--help",)):
        done = rankscope(*words, env=environment(**POOR[name]))
        assert done.status == 0, done.everything
        assert without_traceback(done)


@pytest.mark.parametrize("name", POOR)
def test_a_message_survives_a_poor_encoding(name: str) -> None:
    done = rankscope("analyze", "--mask", "größe", "--n", "2000000000", env=environment(**POOR[name]))
    assert done.status in (2, 4)
    assert re.match(r"rankscope: RS\d{3}: ", done.stderr)


@pytest.mark.parametrize("name", POOR)
def test_a_terminal_with_a_poor_encoding_crashes_nothing(name: str) -> None:
    done = in_terminal(*CAUSAL, changes=POOR[name])
    assert done.status == 0, done.everything
    assert without_traceback(done)


def test_the_table_is_utf8_wherever_it_is_piped() -> None:
    outputs = {rankscope(*CAUSAL, env=environment(**changes)).raw for changes in ({}, POOR["ascii"], POOR["locale C"])}
    assert len(outputs) == 1
    assert "σ" in outputs.pop().decode("utf-8")
