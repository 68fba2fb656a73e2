"""`rankscope report`: documents on results that were saved, for readers."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rankscope.cli import options as o
from rankscope.errors import error

Results = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[RESULTS]…", help="Results that were written with -o: .json, .csv or .parquet files."),
]
Output = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        help="The document (repeatable): .pdf, .html, or .png for its pages as pictures.",
        rich_help_panel=o.OUTPUT,
    ),
]
Figure = Annotated[
    list[str] | None,
    typer.Option(help="Only this figure: see 'rankscope list figures'; .svg, too.", rich_help_panel=o.OUTPUT),
]
Gallery = Annotated[
    bool, typer.Option("--gallery", help="Every figure, on results that are made for it.", rich_help_panel=o.OUTPUT)
]


def report(
    results: Results = None,
    output: Output = None,
    figure: Figure = None,
    gallery: Gallery = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """A document on saved results: what they show, tables, figures, how far to trust them, how to make them again.

    rankscope analyze --mask causal -o result.json && rankscope report result.json -o report.pdf

    rankscope report monday.json tuesday.json -o both.html

    rankscope report --gallery -o gallery.pdf
    """
    if gallery == bool(results):
        given = "--gallery and files of results" if gallery else "a report on nothing"
        raise error("RS003", given, "give either files of results, or --gallery")
    if not output:
        raise error("RS003", "a report without a file", "add -o FILE with the suffix .pdf, .html or .png")
    o.set_threads(1)
    shown = o.one("--figure", figure)
    from rankscope.report.reports import check_report, of_files, table_of, write, write_gallery
    from rankscope.report.save import to_text
    from rankscope.saved import merged

    for path in output:
        check_report(path, shown)
    if gallery:
        from rankscope.cli.gallery import examples

        tables = list(examples())
        made = [(path, write_gallery(tables, path, shown)) for path in output]
    else:
        tables = merged([table_of(path) for path in results or []], [path.name for path in results or []])
        with of_files(results or []):
            text = "" if quiet else "\n".join(to_text(table, "table") for table in tables)
            made = [(path, write(tables, path, shown)) for path in output]
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
    for path, (written, notes) in made:
        pages = f" (pages 1 to {len(written)})" if len(written) > 1 else ""
        if not quiet:
            print(f"rankscope: wrote {written[0].name if pages else path.name}{pages}", file=sys.stderr)
        for note in notes:
            print(f"rankscope: {note}", file=sys.stderr)
