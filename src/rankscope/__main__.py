"""The entry of the command line: what can be answered without importing anything is answered here."""

import os
import sys


def main() -> None:
    """Run the command line; every expected failure ends as one message and its exit status."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from rankscope import __version__

        print(f"rankscope {__version__}")
        return
    from rankscope.cli import app
    from rankscope.errors import RankscopeError, error

    try:
        app()
    except BrokenPipeError:
        # The reader has gone: end as a process that SIGPIPE killed, without a second complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (RankscopeError, MemoryError, OSError) as problem:
        if "--debug" in sys.argv:
            raise
        if isinstance(problem, MemoryError):
            problem = error("RS301", "this machine ran out of memory", "take a smaller --n, or fewer --workers")
        elif isinstance(problem, OSError):
            problem = error(
                "RS502", f"cannot write the output: {problem.strerror}", "free some space or choose another place"
            )
        print(f"rankscope: {problem}", file=sys.stderr)
        sys.exit(problem.exit_status)


if __name__ == "__main__":
    main()
