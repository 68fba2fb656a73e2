"""`rankscope compare`: the same queries and keys under several masks and kernels, side by side."""

from typing import Annotated

import typer

from rankscope.cli import options as o
from rankscope.cli.output import Showing, run_and_show

Masks = Annotated[
    list[str] | None,
    typer.Option(
        "--mask", help="Masks (repeatable, or with commas). (default: bidirectional,causal)", rich_help_panel=o.MATRIX
    ),
]
Kernels = Annotated[
    list[str] | None,
    typer.Option("--kernel", help="Kernels (repeatable, or with commas). (default: softmax)", rich_help_panel=o.MATRIX),
]

Positions = Annotated[
    list[str] | None,
    typer.Option(
        "--position", help="Positions (repeatable, or with commas). (default: none)", rich_help_panel=o.MATRIX
    ),
]


def compare(
    mask: Masks = None,
    kernel: Kernels = None,
    position: Positions = None,
    n: o.N = None,
    d: o.D = None,
    scale: o.Scale = None,
    seed: o.Seed = None,
    seeds: o.Seeds = None,
    dtype: o.Dtype = None,
    empty_rows: o.EmptyRows = None,
    measure: o.Measures = None,
    rule: o.Rule = None,
    rtol: o.Rtol = None,
    prove: o.Prove = False,
    budget: o.Budget = None,
    spectrum: o.Spectrum = "lapack",
    require: o.Require = None,
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
    """The same queries and keys under several masks and kernels, side by side.

    rankscope compare --mask bidirectional,causal,prefix:128
    """
    o.set_threads(blas_threads)
    from rankscope.analyzer.numerics import numerics_of
    from rankscope.study import Study

    o.run_plugins(plugin)
    made = {"n": n, "d": d, "scale": scale, "dtype": dtype, "empty_rows": empty_rows}
    sources = tuple(
        o.synthetic_of({**made, "mask": each_mask, "kernel": each_kernel, "position": each_position}, each_seed)
        for each_kernel in o.split("--kernel", kernel) or ["softmax"]
        for each_position in o.split("--position", position) or ["none"]
        for each_mask in o.split("--mask", mask) or ["bidirectional", "causal"]
        for each_seed in o.seeds_of(seed, seeds)
    )
    numerics = numerics_of(rule, rtol, prove, budget, spectrum)
    study = Study(sources, tuple(o.split("--measure", measure)), numerics, blas_threads)
    showing = Showing(
        format=format, outputs=output, figure=figure, require=require, quiet=quiet, verbose=verbose, timing=timing
    )
    run_and_show(study, showing, workers)
