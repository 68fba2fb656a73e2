"""`rankscope model`: every head of every layer of a trained model, on a text of yours."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rankscope.cli import options as o
from rankscope.cli.output import Showing, check_outputs, show_result
from rankscope.errors import error

if TYPE_CHECKING:
    from rankscope.generators.capture.capturing import Capture
    from rankscope.generators.capture.layer import Variant
    from rankscope.generators.models import Model

MODEL = "Model"

Name = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A folder with config.json and model.safetensors, or a name in the local cache."
    ),
]
Texts = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        help="What it reads: a file, or - for stdin (repeatable). (default: a short text)",
        rich_help_panel=MODEL,
    ),
]
Image = Annotated[Path | None, typer.Option(help="What a model of images sees.", rich_help_panel=MODEL)]
LayersOf = Annotated[
    str | None, typer.Option("--layers", help="Only these: 0:3 (half-open) or 0,5.", rich_help_panel=MODEL)
]
HeadsOf = Annotated[
    str | None, typer.Option("--heads", help="Only these of each layer: 0:3 or 0,5.", rich_help_panel=MODEL)
]
MaxLength = Annotated[
    int | None,
    typer.Option(min=2, help="Tokens of a text. (default: 512, or as many as the model takes)", rich_help_panel=MODEL),
]
Batch = Annotated[
    int, typer.Option(min=1, help="Cut the text into so many pieces of that length.", rich_help_panel=MODEL)
]
Device = Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, mps.", rich_help_panel=MODEL)]
DtypeOf = Annotated[
    str | None,
    typer.Option("--dtype", help="The type it computes in. (default: that of its weights)", rich_help_panel=MODEL),
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch a model that is not in the local cache.", rich_help_panel=MODEL)
]
WhatIf = Annotated[
    list[str] | None,
    typer.Option(
        help="The same heads under other masks, plans or kernels: causal,heads,kernel=linear (repeatable).",
        rich_help_panel=MODEL,
    ),
]
Depth = Annotated[
    bool,
    typer.Option(
        "--depth", help="Its tokens from layer to layer, with and without skips and MLPs.", rich_help_panel=MODEL
    ),
]
Save = Annotated[
    Path | None,
    typer.Option(
        help="Write queries, keys and masks to a .safetensors file that 'rankscope analyze' reads.",
        rich_help_panel=o.OUTPUT,
    ),
]


def model(
    context: typer.Context,
    name: Name,
    text: Texts = None,
    image: Image = None,
    layers: LayersOf = None,
    heads: HeadsOf = None,
    max_length: MaxLength = None,
    batch: Batch = 1,
    device: Device = "cpu",
    dtype: DtypeOf = None,
    download: Download = False,
    what_if: WhatIf = None,
    depth: Depth = False,
    measure: o.Measures = None,
    rule: o.Rule = None,
    rtol: o.Rtol = None,
    null: o.Null = False,
    null_seeds: o.NullSeeds = None,
    prove: o.Prove = False,
    budget: o.Budget = None,
    require: o.Require = None,
    save: Save = None,
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
    """The attention that a trained model really uses: every layer, every head, as it reads a text.

    Queries and keys are taken while the model runs, unchanged; each matrix is made of them in float64, and compared
    with what the model made of them. Weights are read from .safetensors files, and no code of the model's is run.

    rankscope model ./all-MiniLM-L6-v2 --text essay.txt --null -o report.pdf

    rankscope model gpt2 --layers 0,11 --what-if bidirectional,heads

    cat essay.txt | rankscope model ./bert --text - --save attention.safetensors
    """
    o.set_threads(blas_threads)
    from rankscope.analyzer.numerics import numerics_of
    from rankscope.report.save import wants_pictures
    from rankscope.study import Study, run

    shown = o.one("--figure", figure)
    o.run_plugins(plugin)
    if save is not None:
        check_dump(save)
    of = model_of(name, text, image, layers, heads, max_length, batch, device, dtype, download)
    variants = variants_of(o.split("--what-if", what_if))
    measures = tuple(o.split("--measure", measure))
    check_before(measures, rule, output, shown)
    showing = Showing(
        command=command_of(context, "name", of.name),
        format=format,
        outputs=output,
        figure=shown,
        require=require,
        quiet=quiet,
        verbose=verbose,
        timing=timing,
    )
    if depth:
        from rankscope.trained import trained_depth

        others = {"--what-if": what_if, "--measure": measure, "--null": null, "--layers": layers, "--heads": heads,
                  "--prove": prove, "--require": require, "--dtype": dtype, "--save": save}  # fmt: skip
        for flag, value in others.items():
            if value:
                raise error("RS003", f"--depth and {flag}", "leave one out: --depth measures the model's tokens")
        show_result(lambda: trained_depth(of, timing=timing), showing)
        return
    numerics, count = numerics_of(rule, rtol, prove, budget, "lapack"), o.null_count(null, null_seeds)
    source = with_variants(of.captured, variants) if variants else of.captured
    pictures = wants_pictures(output, shown)
    study = Study((source,), measures, numerics, blas_threads, null=count, pictures=pictures)
    if not quiet:
        print(f"rankscope: {estimate(of.captured, len(variants), workers)}", file=sys.stderr)
    with progress_bar(quiet) as progress:
        show_result(
            lambda: run(study, workers=workers, timing=timing, progress=progress),
            showing,
            before=lambda: None if save is None else dump(of.captured, save),
        )


def model_of(
    name: str,
    texts: list[str] | None,
    image: Path | None,
    layers: str | None,
    heads: str | None,
    max_length: int | None,
    batch: int,
    device: str,
    dtype: str | None,
    download: bool,
) -> "Model":
    """The model that options describe, and what it reads."""
    from rankscope import Model
    from rankscope.generators.pretrained.inputs import from_stdin, text_of

    if (texts or []).count("-") > 1:
        raise error("RS003", "--text - twice", "stdin is read once")
    read = [from_stdin() if each == "-" else text_of(Path(each)) for each in texts or []]
    return Model(
        name,
        tuple(read),
        image,
        None if layers is None else tuple(o.range_of("--layers", layers)),
        None if heads is None else tuple(o.range_of("--heads", heads)),
        max_length,
        batch,
        device,
        dtype,
        download,
    )


def command_of(context: typer.Context, argument: str, name: str) -> str:
    """What was typed, with the names of the model, which is this argument, and of texts without their folders."""
    texts = context.params.get("text")
    context.params[argument] = name
    context.params["text"] = texts and [each if each == "-" else Path(each).name for each in texts]
    return o.command_of(context)


def check_before(measures: tuple[str, ...], rule: str | None, output: list[Path] | None, figure: str | None) -> None:
    """Refuse measures and rules that there are not, and files that cannot be written, before a model is loaded."""
    from rankscope.analyzer.analyze import chosen
    from rankscope.analyzer.rank import RULES

    chosen(measures)
    if rule is not None:
        RULES[rule]
    check_outputs(output, figure)


def variants_of(names: list[str]) -> tuple["Variant", ...]:
    """The variants that are named."""
    from rankscope.generators.capture.variants import variant

    return tuple(variant(each) for each in dict.fromkeys(names))


def with_variants(captured: "Capture", variants: tuple["Variant", ...]) -> Any:
    """The capture beside its variants."""
    from rankscope.generators.capture.variants import WhatIf

    return WhatIf(captured, variants)


def estimate(captured: "Capture", variants: int, workers: int | None) -> str:
    """What is about to be measured, and the memory that it takes."""
    from rankscope.arrays import DENSE_COPIES
    from rankscope.workers import affordable

    shapes = [job.shape for job in captured.jobs]
    largest = max(shapes, key=lambda shape: shape[0] * shape[1], default=(0, 0))
    at_once = affordable(shapes, workers)
    size = 8 * DENSE_COPIES * largest[0] * largest[1] / 2**20
    times = f", as trained and {variants} times otherwise," if variants else ""
    return (
        f"{len(shapes)} matrices{times} of at most {largest[0]} × {largest[1]}: about {max(size, 0.1):.1f} MiB for "
        f"each of {at_once} at once, beside the model and {captured.size / 2**20:.1f} MiB of queries and keys"
    )


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Any]:
    """A bar on stderr where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("rankscope:"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("heads", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=done < total)


def check_dump(path: Path) -> None:
    """Refuse a file that cannot be written, before the model is loaded."""
    from rankscope.writing import check_folder

    if path.suffix.lower() != ".safetensors":
        raise error("RS002", f"--save {path.name}", "give a name that ends in .safetensors")
    check_folder(path)


def dump(captured: "Capture", path: Path) -> None:
    """Write what was captured, and say what could not be."""
    from rankscope.generators.capture.dump import write

    for note in write(captured, path):
        print(f"rankscope: {note}", file=sys.stderr)
