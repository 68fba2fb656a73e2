"""The command line: flags become a study, the study is run, its table is printed. No mathematics here.

The modules of commands import no numerical library; each does so inside the command, after the number of BLAS threads
has been set, so that `--help` and completion stay quick. A command that is named is the only one that is imported.
"""

import os
import sys
from importlib import import_module

import typer

COMMANDS = {
    "analyze": "analyze",
    "compare": "compare",
    "depth": "depth",
    "model": "model",
    "check": "check",
    "report": "report",
    "verify": "verify",
    "list": "listing",
    "doctor": "doctor",
}
"""Each command, and the module and function that it is."""


def application(words: list[str]) -> typer.Typer:
    """The program for these words: with the command that they name, or with all of them."""
    app = typer.Typer(
        name="rankscope",
        help="Measure the rank of attention matrices, and say how far each number can be trusted.",
        epilog="Start with: rankscope analyze --mask causal --n 512 --d 64",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(top)
    named = words[:1] if words[:1] and words[0] in COMMANDS and "_RANKSCOPE_COMPLETE" not in os.environ else COMMANDS
    for name in named:
        module = import_module(f"rankscope.cli.{COMMANDS[name]}")
        app.command(name=name)(getattr(module, COMMANDS[name]))
    return app


def top(
    version: bool = typer.Option(False, "--version", "-V", help="Print the version and stop.", is_eager=True),
) -> None:
    """Measure the rank of attention matrices, and say how far each number can be trusted."""
    if version:
        from rankscope import __version__

        typer.echo(f"rankscope {__version__}")
        raise typer.Exit
