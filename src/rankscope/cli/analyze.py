"""`rankscope analyze`: every rank of one matrix, of a stack, or of a file."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rankscope.cli import options as o
from rankscope.cli.output import Showing, run_and_show
from rankscope.errors import error

FilePath = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="A .npy, .npz or .safetensors file; without it a random matrix is made."),
]
From = Annotated[
    Literal["stored", "scores"] | None,
    typer.Option(
        "--from",
        help="Of a file: its weights as stored, or the softmax of its queries and keys.",
        rich_help_panel=o.MATRIX,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(help="Of a file: only arrays of this name, such as '*.attention'.", rich_help_panel=o.MATRIX),
]


def analyze(
    context: typer.Context,
    file: FilePath = None,
    n: o.N = None,
    d: o.D = None,
    mask: o.Mask = None,
    kernel: o.Kernel = None,
    position: o.Position = None,
    scale: o.Scale = None,
    ensemble: o.Ensemble = None,
    init: o.Init = None,
    shared: o.Shared = False,
    seed: o.Seed = None,
    seeds: o.Seeds = None,
    heads: o.Heads = None,
    kv_heads: o.KvHeads = None,
    layers: o.Layers = None,
    plan: o.Plan = None,
    queries: o.Queries = None,
    dtype: o.Dtype = None,
    empty_rows: o.EmptyRows = None,
    origin: From = None,
    key: Key = None,
    measure: o.Measures = None,
    rule: o.Rule = None,
    rtol: o.Rtol = None,
    null: o.Null = False,
    null_seeds: o.NullSeeds = None,
    prove: o.Prove = False,
    budget: o.Budget = None,
    spectrum: o.Spectrum = "lapack",
    require: o.Require = None,
    certificate: o.Certificate = None,
    format: o.Format = "table",
    output: o.Output = None,
    figure: o.Figure = None,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    timing: o.Timing = False,
    workers: o.Workers = None,
    blas_threads: o.BlasThreads = 1,
    plugin: o.Plugin = None,
    debug: o.Debug = False,
) -> None:
    """Every rank of an attention matrix, its determinant, spectrum and rows, each with how far it can be trusted.

    rankscope analyze --mask causal --n 512 --d 64

    rankscope analyze --n 256 --prove --certificate proof.json

    rankscope analyze weights.safetensors --key '*.attention' -o table.csv
    """
    o.set_threads(blas_threads)
    from rankscope.analyzer.numerics import numerics_of
    from rankscope.report.save import wants_pictures
    from rankscope.study import Source, Study

    shown = o.one("--figure", figure)
    o.run_plugins(plugin)
    made: dict[str, Any] = {
        "n": n, "d": d, "mask": mask, "kernel": kernel, "position": position, "scale": scale, "heads": heads,
        "layers": layers, "plan": plan, "dtype": dtype, "empty_rows": empty_rows, "ensemble": ensemble, "init": init,
        "shared": shared or None, "kv_heads": kv_heads, "queries": queries,
    }  # fmt: skip
    sources: tuple[Source, ...]
    of_null: int | None = None
    if file is None:
        for name, value in (("--from", origin), ("--key", key)):
            if value is not None:
                raise error("RS003", f"{name} {value} without a file", "name the file to analyse")
        sources = tuple(o.synthetic_of(made, each) for each in o.seeds_of(seed, seeds))
    else:
        of_null = made.pop("d") if null else None
        sources = (file_source(file, {**made, "seed": seed, "seeds": seeds}, origin, key),)
    numerics = numerics_of(rule, rtol, prove or certificate is not None, budget, spectrum)
    study = Study(
        sources,
        tuple(o.split("--measure", measure)),
        numerics,
        blas_threads,
        certify=certificate is not None,
        null=o.null_count(null, null_seeds),
        null_d=of_null,
        pictures=wants_pictures(output, shown),
    )
    showing = Showing(
        command=o.command_of(context),
        format=format,
        outputs=output,
        figure=shown,
        require=require,
        certificate=certificate,
        quiet=quiet,
        verbose=verbose,
        timing=timing,
    )
    run_and_show(study, showing, workers)


def file_source(path: Path, made: dict[str, Any], origin: Literal["stored", "scores"] | None, key: str | None) -> Any:
    """The file as a source; options that describe a random matrix are refused."""
    from rankscope.generators.tensors import File

    of_file = {"mask", "kernel", "position", "scale", "empty_rows"}
    for name, value in made.items():
        if name not in of_file and value is not None:
            raise error(
                "RS003",
                f"--{name.replace('_', '-')}{'' if value is True else f' {value}'} with the file {path.name!r}",
                "leave it out: the file decides it",
            )
    given = {name: made[name] for name in of_file if made[name] is not None}
    return File(str(path), key, origin, **given)
