"""The command line: flags become a study, the study is run, its table is printed. No mathematics here.

The modules of commands import no numerical library; each does so inside the command, after the number of BLAS threads
has been set, so that `--help` and completion stay quick.
"""

import sys

import typer

from rankscope.cli.analyze import analyze
from rankscope.cli.compare import compare
from rankscope.cli.doctor import doctor
from rankscope.cli.listing import listing

app = typer.Typer(
    name="rankscope",
    help="Measure the rank of attention matrices, and say how far each number can be trusted.",
    epilog="Start with: rankscope analyze --mask causal --n 512 --d 64",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(analyze)
app.command()(compare)
app.command(name="list")(listing)
app.command()(doctor)


@app.callback(invoke_without_command=True)
def top(
    version: bool = typer.Option(False, "--version", "-V", help="Print the version and stop.", is_eager=True),
) -> None:
    """Options of rankscope itself."""
    if version:
        from rankscope import __version__

        typer.echo(f"rankscope {__version__}")
        raise typer.Exit
