"""The options that commands share, each declared once, and the study that they describe."""

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rankscope.errors import RankscopeError, error

if TYPE_CHECKING:
    from rankscope.generators.stack import Synthetic

MATRIX, NUMERICS, OUTPUT, EXECUTION = "Matrix", "Numerics", "Output", "Execution"

N = Annotated[int | None, typer.Option(help="Number of tokens. (default: 512)", rich_help_panel=MATRIX)]
D = Annotated[int | None, typer.Option(help="Head size. (default: 64)", rich_help_panel=MATRIX)]
Mask = Annotated[
    str | None,
    typer.Option(
        help="Who sees whom: a name, or names joined by & | ~ ( ). (default: bidirectional)", rich_help_panel=MATRIX
    ),
]
Kernel = Annotated[
    str | None,
    typer.Option(help="How strongly: softmax, linear, linear:relu, … (default: softmax)", rich_help_panel=MATRIX),
]
Position = Annotated[
    str | None,
    typer.Option(
        help="Where tokens stand: rope, alibi, t5, …: see 'rankscope list positions'. (default: none)",
        rich_help_panel=MATRIX,
    ),
]
Scale = Annotated[float | None, typer.Option(help="Multiplies the scores q·k/√d. (default: 1)", rich_help_panel=MATRIX)]
Ensemble = Annotated[
    str | None,
    typer.Option(
        help="What is drawn: see 'rankscope list ensembles'. (default: gaussian queries and keys)",
        rich_help_panel=MATRIX,
    ),
]
Init = Annotated[
    str | None,
    typer.Option(help="How W_Q and W_K start, for ensembles of tokens. (default: lecun)", rich_help_panel=MATRIX),
]
Shared = Annotated[bool, typer.Option("--shared", help="Keys are the queries: Q = K.", rich_help_panel=MATRIX)]
Queries = Annotated[
    int | None,
    typer.Option(help="Number of queries, where not that of keys: cross-attention.", rich_help_panel=MATRIX),
]
KvHeads = Annotated[
    int | None,
    typer.Option(help="Heads of keys, each shared by a group of heads of queries.", rich_help_panel=MATRIX),
]
Seed = Annotated[
    int | None, typer.Option(help="Seed of the random queries and keys. (default: 0)", rich_help_panel=MATRIX)
]
Seeds = Annotated[str | None, typer.Option(help="Several seeds: 0:20 (half-open) or 1,2,5.", rich_help_panel=MATRIX)]
Heads = Annotated[int | None, typer.Option(help="Heads in each layer. (default: 1)", rich_help_panel=MATRIX)]
Layers = Annotated[int | None, typer.Option(help="Layers. (default: 1)", rich_help_panel=MATRIX)]
Plan = Annotated[
    str | None,
    typer.Option(
        help="Masks by layer and head: see 'rankscope list plans'. (default: uniform)", rich_help_panel=MATRIX
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(help="Round the matrix to float32, float16 or bfloat16. (default: float64)", rich_help_panel=MATRIX),
]
EmptyRows = Annotated[
    Literal["error", "zero", "drop", "uniform"] | None,
    typer.Option(help="What to do with queries that see nothing. (default: error)", rich_help_panel=MATRIX),
]
Measures = Annotated[
    list[str] | None,
    typer.Option(
        "--measure",
        "-m",
        help="Measure only this (repeatable, or with commas); all for every one.",
        rich_help_panel=NUMERICS,
    ),
]
Rule = Annotated[
    str | None,
    typer.Option(help="Tolerance of the numerical rank: see 'rankscope list rules'.", rich_help_panel=NUMERICS),
]
Rtol = Annotated[
    float | None, typer.Option(help="Tolerance of the numerical rank, times σ₁.", rich_help_panel=NUMERICS)
]
Null = Annotated[
    bool,
    typer.Option(
        "--null", help="Beside each number that of matched random attention, over seeds.", rich_help_panel=NUMERICS
    ),
]
NullSeeds = Annotated[int | None, typer.Option(min=2, help="Seeds for --null. (default: 10)", rich_help_panel=NUMERICS)]
Prove = Annotated[
    bool,
    typer.Option(
        "--prove",
        help="Raise every rank and determinant to the strongest guarantee; measures of rows stay estimated.",
        rich_help_panel=NUMERICS,
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        help="Seconds for the proofs of one matrix, counted and not clocked. (default: 60)", rich_help_panel=NUMERICS
    ),
]
Spectrum = Annotated[
    Literal["lapack", "exact"],
    typer.Option(
        help="exact: enclose every non-zero singular value, however small; a proof too.", rich_help_panel=NUMERICS
    ),
]
Require = Annotated[
    Literal["proved", "enclosed"] | None,
    typer.Option(
        help="End with status 5 if a rank, a determinant or a named measure lacks this guarantee.",
        rich_help_panel=NUMERICS,
    ),
]
Certificate = Annotated[
    Path | None,
    typer.Option(
        help="Prove, and write what is proved to a JSON file that 'rankscope verify' checks.", rich_help_panel=OUTPUT
    ),
]
Format = Annotated[
    Literal["table", "json", "csv", "markdown", "latex"],
    typer.Option("--format", "-f", help="What is printed.", rich_help_panel=OUTPUT),
]
Output = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        help="Write a file (repeatable): .json .csv .parquet .md .tex .png .svg .pdf .html",
        rich_help_panel=OUTPUT,
    ),
]
Figure = Annotated[
    list[str] | None,
    typer.Option(help="The figure that -o writes: see 'rankscope list figures'.", rich_help_panel=OUTPUT),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing on stdout.", rich_help_panel=OUTPUT)]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say on stderr how each matrix was measured.", rich_help_panel=OUTPUT)
]
Timing = Annotated[
    bool, typer.Option("--timing", help="Add the time taken to the JSON, under 'run'.", rich_help_panel=OUTPUT)
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Matrices measured at once. (default: cores)", rich_help_panel=EXECUTION)
]
BlasThreads = Annotated[
    int, typer.Option(min=1, help="BLAS threads; more than 1 lets results depend on it.", rich_help_panel=EXECUTION)
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option(help="Run a Python file that registers masks, kernels or measures.", rich_help_panel=EXECUTION),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=EXECUTION)]


MOST_SEEDS = 100_000


def set_threads(count: int) -> None:
    """Fix the number of BLAS threads: to be called before numpy is imported."""
    for variable in (
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OMP_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "RANKSCOPE_BLAS_THREADS",
    ):
        os.environ[variable] = str(count)


def run_plugins(paths: list[Path] | None) -> None:
    """Run the user's own files, which register their entries as they are run."""
    for number, path in enumerate(paths or []):
        from importlib.util import module_from_spec, spec_from_file_location

        specification = spec_from_file_location(f"rankscope_plugin_{number}", path)
        if specification is None or specification.loader is None or not path.is_file():
            raise error("RS005", f"no plug-in {path.name!r}", "give a Python file (.py)")
        try:
            specification.loader.exec_module(module_from_spec(specification))
        except RankscopeError:
            raise
        except Exception as reason:  # a user's own file can fail in any way
            given = f"the plug-in {path.name!r} failed: {type(reason).__name__}: {reason}"
            raise error("RS005", given, "mend it; --debug shows where it failed") from reason


SHOWING = ("format", "output", "figure", "quiet", "verbose", "timing", "workers", "debug")
"""Options that say what is shown, written and logged, and by how many threads, but do not change a number."""


def one(flag: str, values: list[str] | None) -> str | None:
    """The one value of an option that is refused where it is given several times, instead of being lost but once."""
    if values is not None and len(values) > 1:
        raise error("RS003", " and ".join(f"{flag} {value}" for value in values), "give one of them at a time")
    return values[0] if values else None


def command_of(context: typer.Context) -> str:
    """What was typed, as far as it decides the numbers, with the names of files without their folders."""
    words = ["rankscope", context.info_name or ""]
    for parameter in context.command.params:
        name = str(parameter.name)
        value: Any = context.params.get(name)
        source = context.get_parameter_source(name)
        if name in SHOWING or source is None or source.name != "COMMANDLINE":
            continue
        flags = [max(parameter.opts, key=len)] if parameter.param_type_name == "option" else []
        is_path = "Path" in type(parameter.type).__name__
        for each in value if isinstance(value, list | tuple) else [value]:
            text = Path(each).name if is_path else str(each)
            words += flags if each is True else [*flags, f"./{text}" if is_path and text.startswith("-") else text]
    return shlex.join(words)


def split(option: str, values: list[str] | None) -> list[str]:
    """A list of names, repeated or separated by commas; an empty name is refused, nothing at all is not."""
    names = [name.strip() for value in values or [] for name in value.split(",")]
    if "" in names:
        raise error(
            "RS002", f"an empty name in {option} {' '.join(map(repr, values or []))}", "write names separated by commas"
        )
    return names


def seeds_of(seed: int | None, seeds: str | None) -> list[int]:
    """The seeds that were asked for: one, or a half-open range, or a list."""
    if seeds is None:
        return [0 if seed is None else seed]
    if seed is not None:
        raise error("RS003", f"--seed {seed} and --seeds {seeds}", "give one of them")
    return range_of("--seeds", seeds)


def range_of(flag: str, text: str) -> list[int]:
    """Whole numbers as they are typed: a half-open range, or a list."""
    bounds = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
    if bounds and 0 < int(bounds[2]) - int(bounds[1]) <= MOST_SEEDS:
        return list(range(int(bounds[1]), int(bounds[2])))
    if re.fullmatch(r"\d+(,\d+)*", text):
        return list(dict.fromkeys(int(each) for each in text.split(",")))
    raise error(
        "RS002",
        f"{flag} {text}",
        f"write a half-open range such as 0:20 of at most {MOST_SEEDS} numbers, or a list such as 1,2,5",
    )


def null_count(null: bool, seeds: int | None) -> int:
    """How many matched random matrices each matrix is compared with."""
    if seeds is not None and not null:
        raise error("RS003", f"--null-seeds {seeds} without --null", "add --null")
    return (seeds or 10) if null else 0


def synthetic_of(given: dict[str, Any], seed: int) -> "Synthetic":
    """The ensemble that options describe; what was not given keeps its default."""
    from rankscope.generators.stack import Synthetic

    return Synthetic(seed=seed, **{name: value for name, value in given.items() if value is not None})
