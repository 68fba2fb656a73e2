"""What a document says, before it is typeset: plain data that the templates for PDF and for HTML read.

For a reader of ten seconds: what the result shows, in words, and the one table. For one of ten minutes: the figures
with captions that say what to see, how the numbers were found, what each measure is, the rest of the numbers, and how
to make them again. Text that came from data is cleaned here and escaped by the templates.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from rankscope.errors import UsageError
from rankscope.records import Table
from rankscope.report import by_head, glossary
from rankscope.report.figure import (
    draw,
    help_of,
    lacking,
    mark_of,
    names,
    reading_of,
    shortened,
    suited,
    to_bytes,
    visible,
)
from rankscope.report.grid import Grid, split
from rankscope.report.grids import main_grid, other_grids
from rankscope.report.kinds import told_apart
from rankscope.report.method import Paragraph, method
from rankscope.report.provenance import in_lines, inputs_of, versions_of, words_of
from rankscope.report.sentences import sentences
from rankscope.report.terminal import common_heading, heading

Letters = Literal["path", "none"]
"""Whether the letters of figures are outlines or text."""

LONGEST: Final = 300
"""Characters of a text from data beyond which its middle is left out."""

NAMED: Final = 3
"""Labels that a title names one by one."""

FEW: Final = 3
"""Methods of one measure that are told."""

HEADER: Final = 80
"""Characters of a title in the header of a page."""

EXAMPLES: Final = 2
"""Tables on which a gallery shows a figure."""


@dataclass(frozen=True)
class Picture:
    """A figure as SVG, what it shows, how to read it, what it says to those who do not see it, and what draws it."""

    name: str
    title: str
    paragraphs: list[Paragraph]
    svg: str
    alternative: str
    command: str = ""


@dataclass(frozen=True)
class Part:
    """What a document says of one table: `facts` are what all its matrices share."""

    name: str
    facts: str
    verdict: list[str]
    grid: Grid
    pictures: list[Picture]
    left_out: list[str]
    others: list[Grid]


@dataclass(frozen=True)
class Content:
    """A whole document; `notes` are for its maker, and no part of it."""

    title: str
    short: str
    parts: list[Part]
    method: list[Paragraph]
    glossary: dict[str, glossary.Entry]
    methods: dict[str, str]
    inputs: Grid
    commands: list[str]
    study: list[str]
    versions: str
    notes: list[str]


def content_of(tables: Sequence[Table], name: str | None = None, *, text: Letters) -> Content:
    """The document on some tables, with every figure that suits them, or with the figure `name` alone."""
    tables = [table if table.over_depth else told_apart(table) for table in tables]
    parts = [part_of(table, name, text) for table in tables]
    if name is not None and not any(part.pictures for part in parts):
        draw(name, tables[0])  # the one figure that was asked for: it says why there is none
    measures = list(dict.fromkeys(record.measure for table in tables for record in table))
    commands = [in_lines(line) for table in tables for line in (table.command or "").splitlines()]
    studies = [words_of(table.study) for table in tables if table.study and not table.command]
    title = title_of(tables)
    return Content(
        title,
        shortened(title, HEADER),
        parts,
        list(method(tables)),
        glossary.entries(measures),
        {measure: found for measure in measures if (found := methods_of(tables, measure))},
        inputs_of(tables),
        list(dict.fromkeys(commands)),
        [line for study in studies for line in study],
        versions_of(tables),
        lacking(tables),
    )


def gallery_of(tables: Sequence[Table], name: str | None = None, *, text: Letters) -> Content:
    """Every figure, or the figure `name`, each on the first of the tables that it suits, with what makes it."""
    shown: dict[str, list[Picture]] = {}
    for table in tables:
        for each in suited(table):
            stem = each.partition(":")[0]
            if name in (None, stem, each) and len(shown.get(stem, [])) < EXAMPLES:
                with suppress(UsageError):  # a result need not have the series of every figure that suits it
                    drawn = picture(each, table, text, sentences(table))
                    command = in_lines(f"{table.command} --figure {each} -o {stem}.png")
                    shown.setdefault(stem, []).append(replace(drawn, command=command))
    nothing = Grid("", [], {})
    parts = [Part(stem, "", [], nothing, shown[stem], [], []) for stem in names() if stem in shown]
    title = "The figures of rankscope"
    return Content(title, title, parts, [], {}, {}, nothing, ["rankscope report --gallery -o gallery.pdf"], [],
                   versions_of(tables), [])  # fmt: skip


def part_of(table: Table, name: str | None, text: Letters) -> Part:
    """What a document says of one table."""
    verdict = sentences(table)
    pictures, left_out = [], []
    for each in suited(table) if name is None else [name]:
        try:
            pictures.append(picture(each, table, text, verdict))
        except UsageError as refusal:
            if refusal.code != "RS003":
                raise
            stem = each.partition(":")[0]
            left_out.append(f"{stem} ({refusal.given.removeprefix(f'the figure {stem!r} ')})")
    named = "Rank collapse with depth" if table.over_depth else "Rank of attention"
    main, *others = [piece for grid in (main_grid(table), *other_grids(table)) for piece in split(grid)]
    return Part(named, facts_of(table), verdict, main, pictures, left_out, others)


def picture(name: str, table: Table, text: Letters, verdict: Sequence[str]) -> Picture:
    """One figure with an explanation of the marks that are on it, and the verdict for those who do not see it."""
    figure = draw(name, table)
    lines = reading_of(name, figure).splitlines()
    paragraphs = [Paragraph(*line.split(": ", 1)) if mark_of(line) else Paragraph("", line) for line in lines]
    svg = re.sub(r"<!--.*?-->\s*", "", to_bytes(figure, "svg", text=text).decode(), flags=re.DOTALL)
    # What follows a semicolon in the help says how the figure is typed, which is of no use to a reader.
    measure, title = name.partition(":")[2], f"{help_of(name).partition('; ')[0].removesuffix('.')}."
    title = f"{measure}: {title[:1].lower()}{title[1:]}" if measure else title
    alternative = f"{title} {title_of([table])}. {' '.join(verdict)}"
    return Picture(name, title, paragraphs, svg[svg.index("<svg") :].strip(), alternative)


def title_of(tables: Sequence[Table]) -> str:
    """What the document is about, in one line."""
    titles = list(dict.fromkeys(title_of_one(table) for table in tables))
    return " and ".join(titles)


def title_of_one(table: Table) -> str:
    """What one table is about."""
    if table.over_depth:
        from rankscope.report.by_layer import heading as of_networks
        from rankscope.report.descent import networks

        words = of_networks(networks(table)).split("   ")[0]
        return "Rank collapse with depth: " + shortened(" ".join(visible(words).split()), LONGEST)
    if by_head.suits(table):
        return "Attention of " + shortened(" ".join(visible(by_head.title_of(table)).split()), LONGEST)
    labels = list(dict.fromkeys(" ".join(visible(matrix.label).split()) for matrix in table.matrices))
    if len(labels) > NAMED:
        return f"Rank of attention: {len(table.matrices)} matrices"
    named = ", ".join(shortened(label, LONGEST // NAMED) for label in labels if label)
    return "Rank of attention" + f": {named}" * bool(named)


def facts_of(table: Table) -> str:
    """The sizes that all matrices, or all networks, share."""
    if not table.matrices:
        return "no matrices"
    if table.over_depth:
        from rankscope.report.by_layer import heading as of_networks
        from rankscope.report.descent import networks

        parts = of_networks(networks(table)).split("   ")[1:]
    elif len(table.matrices) == 1:
        parts = heading(table.matrices[0], table.records[0].seed if table.records else None).split("   ")[1:]
    else:
        parts = common_heading(table).split("   ")
    return " · ".join(part for part in parts if part)


def methods_of(tables: Sequence[Table], measure: str) -> str:
    """How a measure was found here: the methods of its records, where these are few."""
    found = dict.fromkeys(r.method for table in tables for r in table if r.measure == measure and r.method)
    return "; ".join(found) if len(found) <= FEW else ""


def cleaned(value: Any) -> Any:
    """Plain data in which every text is visible and of a length that a reader can bear."""
    if isinstance(value, dict):
        whole = ("command", "commands")  # a command must work when it is copied
        return {cleaned(name): seen(each) if name in whole else cleaned(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(each) for each in value]
    if not isinstance(value, str):
        return value
    return shortened(visible(value), 4 * LONGEST)


def seen(commands: str | list[str]) -> Any:
    """Commands without anything that is not seen, in their lines."""
    if isinstance(commands, list):
        return [seen(each) for each in commands]
    return "\n".join(visible(line) for line in commands.split("\n"))
