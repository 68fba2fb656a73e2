"""`rankscope compare`: masks, kernels, positions, ensembles, scales and plans side by side, under equal conditions."""

from itertools import product
from typing import Annotated, Any

import typer

from rankscope.cli import options as o
from rankscope.cli.output import Showing, run_and_show
from rankscope.errors import error

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
Ensembles = Annotated[
    list[str] | None,
    typer.Option(
        "--ensemble", help="Ensembles (repeatable, or with commas). (default: gaussian)", rich_help_panel=o.MATRIX
    ),
]
Plans = Annotated[
    list[str] | None,
    typer.Option("--plan", help="Plans (repeatable, or with commas). (default: uniform)", rich_help_panel=o.MATRIX),
]
Scales = Annotated[
    list[str] | None,
    typer.Option("--scale", help="Scales (repeatable, or with commas). (default: 1)", rich_help_panel=o.MATRIX),
]


def compare(
    mask: Masks = None,
    kernel: Kernels = None,
    position: Positions = None,
    ensemble: Ensembles = None,
    scale: Scales = None,
    plan: Plans = None,
    n: o.N = None,
    d: o.D = None,
    init: o.Init = None,
    shared: o.Shared = False,
    heads: o.Heads = None,
    kv_heads: o.KvHeads = None,
    layers: o.Layers = None,
    queries: o.Queries = None,
    seed: o.Seed = None,
    seeds: o.Seeds = None,
    dtype: o.Dtype = None,
    empty_rows: o.EmptyRows = None,
    measure: o.Measures = None,
    rule: o.Rule = None,
    rtol: o.Rtol = None,
    null: o.Null = False,
    null_seeds: o.NullSeeds = None,
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
    """The same queries and keys under several masks, kernels, positions or scales, or several ensembles, side by side.

    rankscope compare --mask bidirectional,causal,prefix:128

    rankscope compare --mask causal --kernel softmax,linear,retnet,delta -m effective_rank,offdiagonal_rank
    """
    o.set_threads(blas_threads)
    from rankscope.analyzer.numerics import numerics_of
    from rankscope.study import Study

    o.run_plugins(plugin)
    made = {
        "n": n, "d": d, "init": init, "shared": shared or None, "heads": heads, "kv_heads": kv_heads, "layers": layers,
        "queries": queries, "dtype": dtype, "empty_rows": empty_rows,
    }  # fmt: skip
    plans = o.split("--plan", plan) or ["uniform"]
    masks: list[Any] = o.split("--mask", mask)
    varied: dict[str, list[Any]] = {
        "ensemble": o.split("--ensemble", ensemble) or ["gaussian"],
        "scale": [number_of(each) for each in o.split("--scale", scale)] or [None],
        "kernel": o.split("--kernel", kernel) or ["softmax"],
        "position": o.split("--position", position) or ["none"],
        "plan": plans,
        "mask": masks or (["bidirectional", "causal"] if plans == ["uniform"] else [None]),
    }
    of_plans = [name for name in plans if name != "uniform"]
    seed_of = o.seeds_of(seed, seeds)
    choices = [dict(zip(varied, each, strict=True)) for each in product(*varied.values())]
    if masks and of_plans and "uniform" in plans:  # the mask is that of the uniform plan; the others choose their own
        alone = [{**each, "mask": None} for each in choices if each["plan"] in of_plans and each["mask"] == masks[0]]
        choices = [each for each in choices if each["plan"] == "uniform"] + alone
    sources = tuple(o.synthetic_of({**made, **each}, number) for each in choices for number in seed_of)
    numerics = numerics_of(rule, rtol, prove, budget, spectrum)
    study = Study(
        sources, tuple(o.split("--measure", measure)), numerics, blas_threads, null=o.null_count(null, null_seeds)
    )
    showing = Showing(
        format=format, outputs=output, figure=figure, require=require, quiet=quiet, verbose=verbose, timing=timing
    )
    run_and_show(study, showing, workers)


def number_of(text: str) -> float:
    """A number that was typed in a list."""
    try:
        return float(text)
    except ValueError:
        raise error("RS002", f"--scale {text}", "give numbers separated by commas") from None
