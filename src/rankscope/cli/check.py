"""`rankscope check`: limits that every head of a model must keep; exit status 1 where one does not."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rankscope.cli import model as m
from rankscope.cli import options as o
from rankscope.cli.output import check_outputs, tell
from rankscope.errors import InputError, error

LIMITS = "Limits"

What = Annotated[
    str,
    typer.Argument(metavar="MODEL|FILE", help="A model as in 'rankscope model', or a file of attention."),
]
Least = Annotated[
    list[str] | None,
    typer.Option("--min", help="What a measure must reach: effective_rank=0.02n (repeatable).", rich_help_panel=LIMITS),
]
Greatest = Annotated[
    list[str] | None,
    typer.Option("--max", help="What it must not exceed: max_logit=50 (repeatable).", rich_help_panel=LIMITS),
]
Printed = Annotated[
    Literal["table", "json"], typer.Option("--format", "-f", help="What is printed.", rich_help_panel=o.OUTPUT)
]


def check(
    context: typer.Context,
    path: What,
    least: Least = None,
    greatest: Greatest = None,
    text: m.Texts = None,
    image: m.Image = None,
    layers: m.LayersOf = None,
    heads: m.HeadsOf = None,
    max_length: m.MaxLength = None,
    batch: m.Batch = 1,
    device: m.Device = "cpu",
    dtype: m.DtypeOf = None,
    download: m.Download = False,
    format: Printed = "table",
    output: o.Output = None,
    quiet: o.Quiet = False,
    workers: o.Workers = None,
    blas_threads: o.BlasThreads = 1,
    plugin: o.Plugin = None,
    debug: o.Debug = False,
) -> None:
    """Limits that every head of a model must keep, for continuous integration: status 1 lists the heads that do not.

    rankscope check ./model --text probe.txt --min effective_rank=0.02n --max max_logit=50
    """
    o.set_threads(blas_threads)
    from dataclasses import replace

    from rankscope.check import failures, limit, with_limits
    from rankscope.generators.files import READERS
    from rankscope.report.save import save
    from rankscope.study import Study, run

    o.run_plugins(plugin)
    limits = [limit(each, "min") for each in least or []] + [limit(each, "max") for each in greatest or []]
    if not limits:
        raise error("RS003", "check without a limit", "add --min effective_rank=0.02n, or --max NAME=NUMBER")
    paths = check_outputs(output, None)
    source: Any
    if Path(path).suffix.lower() in READERS and not Path(path).is_dir():
        from rankscope.generators.tensors import File

        of_model = {"--text": text, "--image": image, "--layers": layers, "--heads": heads, "--dtype": dtype}
        for flag, value in of_model.items():
            if value is not None:
                raise error("RS003", f"{flag} with the file {Path(path).name!r}", "leave it out: the file decides it")
        source, name = File(path), Path(path).name
    else:
        of = m.model_of(path, text, image, layers, heads, max_length, batch, device, dtype, download)
        source, name = of.captured, of.name
    names = tuple(dict.fromkeys(each.measure for each in limits))
    with m.progress_bar(quiet) as progress:
        result = run(Study((source,), names, blas_threads=blas_threads), workers=workers, progress=progress)
    found = list(failures(result.table, limits))
    table = with_limits(result.table, limits, found)
    result = replace(result, table=replace(table, command=m.command_of(context, "path", name)))
    count = len(result.table.matrices)
    if not quiet and format == "json":
        document = {"checked": count, "limits": table.study["limits"], "failures": table.study["failures"]}
        print(json.dumps(document, allow_nan=False, ensure_ascii=False))
    elif not quiet:
        from rankscope.report.cells import counted, printable

        for each in found:
            print(f"failed   {printable(str(each))}")
        heads_failed = len({each.matrix.id for each in found})
        known = any(each.record.value is not None for each in found)
        verdict = f"{heads_failed} {'do not keep' if known else 'are not known to keep'}" if found else "all keep"
        print(f"{counted(count, 'matrix')}, {verdict}: {', '.join(map(str, limits))}")
    for file in paths:
        save(result.table, file, None)
    tell(result, "table", paths, verbose=False)
    sys.stdout.flush()
    if result.refused:
        sys.exit(InputError.exit_status)
    if found:
        sys.exit(1)
