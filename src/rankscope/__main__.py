"""The entry of the command line: what can be answered without importing anything is answered here."""

import gc
import io
import os
import sys


def main() -> None:
    """Run the command line; every expected failure ends as one message and its exit status."""
    prepare_stdout()
    try:
        run()
        sys.stdout.flush()
    except BrokenPipeError:
        end_as_if_piped_away()
    except (Exception, SystemExit) as problem:
        report(problem)


def prepare_stdout() -> None:
    """Output is UTF-8 whatever the locale says, and a closed stdout becomes one that keeps nothing."""
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")


def run() -> None:
    """Answer the version, or hand over to the commands."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from rankscope import __version__

        print(f"rankscope {__version__}")
        return
    from rankscope.cli import application

    # Imports make many objects and no garbage: collecting while they run costs 5 ms of every command.
    gc.disable()
    application(sys.argv[1:])()


def end_as_if_piped_away() -> None:
    """The reader has gone: end as a process that SIGPIPE killed, without a second complaint at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(141)


def report(problem: BaseException) -> None:
    """One message with its exit status for what can go wrong; anything else is a defect and keeps its traceback."""
    if isinstance(problem, SystemExit):
        if type(sys.stdout).__name__ == "PacifyFlushWrapper":  # typer's way to say that the pipe was closed
            end_as_if_piped_away()
        raise problem
    from rankscope.errors import RankscopeError, error

    if "--debug" in sys.argv or not isinstance(problem, RankscopeError | MemoryError | OSError):
        raise problem
    if isinstance(problem, MemoryError):
        problem = error("RS301", "this machine ran out of memory", "take a smaller --n, or fewer --workers")
    elif isinstance(problem, OSError):
        given = f"cannot write the output: {problem.strerror}"
        problem = error("RS502", given, "free some space or choose another place")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    print(f"rankscope: {problem}", file=sys.stderr)
    sys.exit(problem.exit_status)


def entry() -> None:
    """The program: `main`, and then out, without the 15 ms that taking the interpreter apart would cost."""
    status: object = 0
    try:
        main()
    except SystemExit as end:
        status = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    entry()
