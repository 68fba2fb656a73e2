"""`rankscope depth`: how tokens tend to each other through layers of attention, and what stops them."""

from itertools import product as product_of
from typing import Annotated, Any, Literal

import typer

from rankscope.cli import options as o
from rankscope.cli.compare import number_of, several
from rankscope.cli.output import Showing, show_result
from rankscope.errors import error

NETWORK = "Network"


def listed(flag: str, text: str, default: str) -> Any:
    """An option of the network that takes a list."""
    return typer.Option(
        flag, help=f"{text} (repeatable, or with commas). (default: {default})", rich_help_panel=NETWORK
    )


HeadCounts = Annotated[list[str] | None, listed("--heads", "Heads in each layer; tokens are heads · d wide", "1")]
Layers = Annotated[int | None, typer.Option(help="Layers. (default: 12)", rich_help_panel=NETWORK)]
Designs = Annotated[
    list[str] | None,
    typer.Option("--compare", help="Designs side by side: pure, skip, mlp, skip+mlp.", rich_help_panel=NETWORK),
]
Skip = Annotated[bool, typer.Option("--skip", help="Skip connections around each branch.", rich_help_panel=NETWORK)]
Alphas = Annotated[list[str] | None, listed("--alpha", "Multiplies each branch: a number, or 1/sqrt(L)", "1")]
Mlp = Annotated[
    str | None, typer.Option(help="An MLP after attention, with relu or gelu. (default: none)", rich_help_panel=NETWORK)
]
MlpRatio = Annotated[
    float | None,
    typer.Option(help="Hidden size of the MLP over the width of tokens. (default: 4)", rich_help_panel=NETWORK),
]
MlpInit = Annotated[
    str | None, typer.Option(help="How the maps of the MLP start. (default: he)", rich_help_panel=NETWORK)
]
MlpGains = Annotated[list[str] | None, listed("--mlp-gain", "Multiplies the MLP", "1")]
Norms = Annotated[list[str] | None, listed("--norm", "none, pre, post, pre:rms or post:rms, with ε = 1e-5", "none")]
Values = Annotated[
    list[str] | None, listed("--values", "How W_V and W_O start: an initialisation, or identity", "lecun")
]
Gains = Annotated[list[str] | None, listed("--gain", "Multiplies W_V", "1")]
Rescale = Annotated[
    str | None,
    typer.Option(
        help="perp: A − 11ᵀ/n; a number λ: 11ᵀ/n + (1 + λ)(A − 11ᵀ/n). (default: none)", rich_help_panel=NETWORK
    ),
]
Fixed = Annotated[
    bool, typer.Option("--fixed", help="The matrices of the first layer in every layer.", rich_help_panel=NETWORK)
]
EnsembleOfTokens = Annotated[
    str | None,
    typer.Option(
        help="What tokens are drawn from: see 'rankscope list ensembles'. (default: tokens)", rich_help_panel=o.MATRIX
    ),
]
Centre = Annotated[
    Literal["mean", "first", "minimiser"],
    typer.Option(help="What tokens are compared with.", rich_help_panel=o.NUMERICS),
]
Absolute = Annotated[
    bool, typer.Option("--absolute", help="Residuals not divided by the norm of tokens.", rich_help_panel=o.NUMERICS)
]
Paths = Annotated[
    bool, typer.Option("--paths", help="Decompose the network into paths through heads.", rich_help_panel=o.NUMERICS)
]
ProductOf = Annotated[
    bool,
    typer.Option(
        "--product", help="Measure the product of attention matrices over layers, too.", rich_help_panel=o.NUMERICS
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="The type in which plain arithmetic keeps tokens. (default: float64)", rich_help_panel=o.NUMERICS
    ),
]


def depth(
    context: typer.Context,
    mask: Annotated[list[str] | None, several("--mask", "bidirectional")] = None,
    n: o.N = None,
    d: o.D = None,
    layers: Layers = None,
    heads: HeadCounts = None,
    designs: Designs = None,
    skip: Skip = False,
    alpha: Alphas = None,
    mlp: Mlp = None,
    mlp_ratio: MlpRatio = None,
    mlp_init: MlpInit = None,
    mlp_gain: MlpGains = None,
    norm: Norms = None,
    values: Values = None,
    gain: Gains = None,
    rescale: Rescale = None,
    fixed: Fixed = False,
    kernel: Annotated[list[str] | None, several("--kernel", "softmax")] = None,
    position: Annotated[list[str] | None, several("--position", "none")] = None,
    scale: Annotated[list[str] | None, several("--scale", "1")] = None,
    ensemble: EnsembleOfTokens = None,
    init: o.Init = None,
    plan: o.Plan = None,
    empty_rows: o.EmptyRows = None,
    seed: o.Seed = None,
    seeds: o.Seeds = None,
    measure: o.Measures = None,
    centre: Centre = "mean",
    absolute: Absolute = False,
    paths: Paths = False,
    product: ProductOf = False,
    dtype: Dtype = None,
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
    """How tokens tend to each other through layers of attention, followed past the rounding of float64.

    rankscope depth --n 64 --d 16 --layers 8

    rankscope depth --mask causal --layers 24 --heads 4 --skip --norm pre

    rankscope depth --compare pure,skip,mlp,skip+mlp --mask bidirectional,causal,window:8 -o collapse.png
    """
    o.set_threads(blas_threads)
    from rankscope.deep import designed, run_depth
    from rankscope.depth_study import DepthStudy
    from rankscope.generators.network import Stack

    o.run_plugins(plugin)
    given: dict[str, Any] = {
        "n": n, "d": d, "layers": layers, "mlp": mlp, "mlp_ratio": mlp_ratio, "mlp_init": mlp_init,
        "ensemble": ensemble, "init": init, "plan": plan, "dtype": dtype, "empty_rows": empty_rows,
        "rescale": None if rescale is None else rescale_of(rescale),
    }  # fmt: skip
    made = {name: value for name, value in given.items() if value is not None} | {"skip": skip, "fixed": fixed}
    varied: dict[str, list[Any]] = {
        "mask": o.split("--mask", mask) or [None],
        "kernel": o.split("--kernel", kernel) or ["softmax"],
        "position": o.split("--position", position) or ["none"],
        "scale": [number_of(each) for each in o.split("--scale", scale)] or [1.0],
        "heads": [count_of(each) for each in o.split("--heads", heads)] or [1],
        "norm": o.split("--norm", norm) or ["none"],
        "values": o.split("--values", values) or ["lecun"],
        "gain": [number_of(each, "--gain") for each in o.split("--gain", gain)] or [1.0],
        "alpha": [strength_of(each) for each in o.split("--alpha", alpha)] or [1.0],
        "mlp_gain": [number_of(each, "--mlp-gain") for each in o.split("--mlp-gain", mlp_gain)] or [1.0],
    }
    stacks = (
        Stack(**made, **dict(zip(varied, each, strict=True)), seed=number)
        for each in product_of(*varied.values())
        for number in o.seeds_of(seed, seeds)
    )
    study = DepthStudy(
        designed(o.split("--compare", designs), stacks),
        tuple(o.split("--measure", measure)),
        centre,
        absolute,
        paths,
        product,
        blas_threads=blas_threads,
    )
    showing = Showing(
        command=o.command_of(context),
        format=format,
        outputs=output,
        figure=o.one("--figure", figure),
        quiet=quiet,
        verbose=verbose,
        timing=timing,
    )
    show_result(lambda: run_depth(study, workers=workers, timing=timing), showing)


def count_of(text: str) -> int:
    """A number of heads that was typed."""
    if not text.isdigit():
        raise error("RS002", f"--heads {text}", "give a whole number, or several separated by commas")
    return int(text)


def strength_of(text: str) -> Any:
    """The strength of branches that was typed."""
    return text if not numeric(text) else float(text)


def rescale_of(text: str) -> Any:
    """A rescaling that was typed."""
    return text if not numeric(text) else float(text)


def numeric(text: str) -> bool:
    """Whether a text is a number; what is none is refused by the network, which knows the names."""
    try:
        float(text)
    except ValueError:
        return False
    return True
