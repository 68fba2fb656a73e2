"""`rankscope compare`: masks, kernels, positions, ensembles, scales, sizes and plans side by side, all else equal."""

from itertools import product
from typing import Annotated, Any

import typer

from rankscope.cli import options as o
from rankscope.cli.output import Showing, run_and_show
from rankscope.errors import error


def several(flag: str, default: str, plural: str = "") -> Any:
    """An option that takes a list."""
    plural = plural or f"{flag.removeprefix('--').capitalize()}s"
    text = f"{plural} (repeatable, or with commas). (default: {default})"
    return typer.Option(flag, help=text, rich_help_panel=o.MATRIX)


Masks = Annotated[list[str] | None, several("--mask", "bidirectional,causal")]
Kernels = Annotated[list[str] | None, several("--kernel", "softmax")]
Positions = Annotated[list[str] | None, several("--position", "none")]
Ensembles = Annotated[list[str] | None, several("--ensemble", "gaussian")]
Plans = Annotated[list[str] | None, several("--plan", "uniform")]
Scales = Annotated[list[str] | None, several("--scale", "1")]
Ns = Annotated[list[str] | None, several("--n", "512", "Numbers of tokens")]
Ds = Annotated[list[str] | None, several("--d", "64", "Head sizes")]


def compare(
    context: typer.Context,
    mask: Masks = None,
    kernel: Kernels = None,
    position: Positions = None,
    ensemble: Ensembles = None,
    scale: Scales = None,
    plan: Plans = None,
    n: Ns = None,
    d: Ds = None,
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
    """The same queries and keys under several masks, kernels, positions or scales, or several sizes, side by side.

    rankscope compare --mask bidirectional,causal,prefix:128

    rankscope compare --mask causal --n 64,128,256 --d 16,64 -o ranks.png --figure scaling

    rankscope compare --mask causal --kernel softmax,linear,retnet,delta -m effective_rank,offdiagonal_rank
    """
    o.set_threads(blas_threads)
    from rankscope.analyzer.numerics import numerics_of
    from rankscope.report.save import wants_pictures
    from rankscope.study import Study

    shown = o.one("--figure", figure)
    o.run_plugins(plugin)
    made = {
        "init": init, "shared": shared or None, "heads": heads, "kv_heads": kv_heads, "layers": layers,
        "queries": queries, "dtype": dtype, "empty_rows": empty_rows,
    }  # fmt: skip
    listed = o.split("--plan", plan), o.split("--mask", mask)
    varied: dict[str, list[Any]] = {
        "n": [count_of(each, "--n") for each in o.split("--n", n)] or [None],
        "d": [count_of(each, "--d") for each in o.split("--d", d)] or [None],
        "ensemble": o.split("--ensemble", ensemble) or ["gaussian"],
        "scale": [number_of(each) for each in o.split("--scale", scale)] or [None],
        "kernel": o.split("--kernel", kernel) or ["softmax"],
        "position": o.split("--position", position) or ["none"],
    }
    sources = tuple(
        o.synthetic_of({**made, **dict(zip(varied, each, strict=True)), "plan": of_plan, "mask": of_mask}, number)
        for *each, (of_plan, of_mask) in product(*varied.values(), plans_and_masks(*listed))
        for number in o.seeds_of(seed, seeds)
    )
    numerics = numerics_of(rule, rtol, prove, budget, spectrum)
    study = Study(
        sources,
        tuple(o.split("--measure", measure)),
        numerics,
        blas_threads,
        null=o.null_count(null, null_seeds),
        pictures=wants_pictures(output, shown),
    )
    showing = Showing(
        command=o.command_of(context),
        format=format,
        outputs=output,
        figure=shown,
        require=require,
        quiet=quiet,
        verbose=verbose,
        timing=timing,
    )
    run_and_show(study, showing, workers)


def plans_and_masks(plans: list[str], masks: list[str]) -> list[tuple[str, str | None]]:
    """Each plan with each mask; beside the uniform plan, to which masks belong, the others choose their own."""
    if not plans:
        return [("uniform", each) for each in masks or ["bidirectional", "causal"]]
    mixed = "uniform" in plans
    found: list[tuple[str, str | None]] = []
    for plan in plans:
        own = masks if plan == "uniform" or not mixed else []
        found += [(plan, mask) for mask in own] or [(plan, None)]
    return found


def number_of(text: str, flag: str = "--scale") -> float:
    """A number that was typed in a list."""
    try:
        return float(text)
    except ValueError:
        raise error("RS002", f"{flag} {text}", "give a number, or several separated by commas") from None


def count_of(text: str, flag: str) -> int:
    """A whole number that was typed in a list."""
    try:
        return int(text)
    except ValueError:
        raise error("RS002", f"{flag} {text}", "give a whole number, or several separated by commas") from None
