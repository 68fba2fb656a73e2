"""Where the numbers of a document come from, and how to make them again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rankscope.records import Table
from rankscope.report.cells import printable
from rankscope.report.grid import Cell, Grid
from rankscope.report.kinds import kinds
from rankscope.report.listings import labels_of

APART: Final = 24
"""Matrices up to which each has a row of its own, with its digest."""

MOST_INPUTS: Final = 100
"""Matrices that are listed with their digests."""

SHOWN: Final = 24
"""Values of one field of a study that are printed."""

WIDE: Final = 84
"""Columns of a line of a command."""


def inputs_of(tables: Sequence[Table]) -> Grid:
    """The matrices with their sources and digests; of many, those that differ in their seeds stand together.

    What is the same of all stands in the note.
    """
    seeds = [{record.matrix: record.seed for record in table} for table in tables]
    together = sum(len(table.matrices) for table in tables) > APART
    every = [
        (group, seed)
        for table, seed in zip(tables, seeds, strict=True)
        for group in ([kind.matrices for kind in kinds(table)] if together else [[each] for each in table.matrices])
    ]
    labels = labels_of([matrices[0] for matrices, _ in every])
    rows = []
    for (matrices, seed), label in zip(every, labels, strict=True):
        first = matrices[0]
        source = " ".join(text for text in (first.source, first.key) if text and text not in first.label)
        own = [seed.get(matrix.id) for matrix in matrices]
        digest = (first.digest or "")[:16] if len(matrices) == 1 else ""
        size = f"{first.rows} × {first.columns}"
        rows.append(
            (label or "—", size, first.dtype, printable(source), numbers([n for n in own if n is not None]), digest)
        )
    header = ["matrix", "size", "type", "source", "seed", "SHA-256 of what made it"]
    distinct = [len({row[i] for row in rows}) for i in range(len(header))]
    kept = [i for i in range(len(header)) if not i or distinct[i] > 1 or len(rows) == 1]
    alike = [f"{header[i]} {rows[0][i]}" for i in range(len(header)) if i not in kept and rows and rows[0][i]]
    more = [f"the first {MOST_INPUTS} of {len(every)} kinds of matrices"] if len(every) > MOST_INPUTS else []
    shown = [[Cell(row[i]) for i in kept] for row in rows[:MOST_INPUTS]]
    note = "; ".join([*more, *([f"each: {', '.join(alike)}"] if alike else [])])
    return Grid("What was measured", [header[i] for i in kept], {"": shown}, words=len(kept), note=note)


def numbers(found: Sequence[int]) -> str:
    """Seeds in a few words: `3`, `0 to 19`, or a list."""
    listed = sorted(set(found))
    if len(listed) > 2 and listed[-1] - listed[0] == len(listed) - 1:
        return f"{listed[0]} to {listed[-1]}"
    return ", ".join(map(str, listed))


def words_of(study: Mapping[str, Any]) -> list[str]:
    """A study in lines of plain text: what all sources share, and what they vary, once each."""
    merged, sources = study.get("studies"), study.get("sources")
    if isinstance(merged, list):
        return [line for each in merged if isinstance(each, dict) for line in words_of(each)]
    sources = [each for each in sources if isinstance(each, dict)] if isinstance(sources, list) else []
    fields = {name: [source.get(name) for source in sources] for name in dict.fromkeys(k for s in sources for k in s)}
    lines = []
    for name, values in [*fields.items(), *((name, [each]) for name, each in study.items() if name != "sources")]:
        distinct = list(
            dict.fromkeys(json.dumps(each, ensure_ascii=False) for each in values if each not in (None, []))
        )
        if distinct:
            more = f", … ({len(distinct)} values)" if len(distinct) > SHOWN else ""
            lines.append(f"{name} {', '.join(distinct[:SHOWN])}{more}".replace('"', ""))
    return lines


def in_lines(command: str) -> str:
    """A command in lines that a page has room for, which a shell reads as one; words are never broken."""
    if command.startswith("#"):
        return command
    try:
        words = [shlex.quote(word) for word in shlex.split(command)]
    except ValueError:  # a file may hold anything in the place of a command
        return command
    joined: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        follows = before.startswith("--") and not word.startswith("-")  # an option keeps its value
        joined = [*joined[:-1], f"{joined[-1]} {word}"] if follows else [*joined, word]
    lines = [""]
    for word in joined:
        if lines[-1] and len(lines[-1]) + len(word) + 3 > WIDE:
            lines[-1] += " \\"
            lines.append("  " + word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def versions_of(tables: Sequence[Table]) -> str:
    """What the numbers were computed with."""
    found = []
    for table in tables:
        with_them = ", ".join(f"{name} {version}" for name, version in table.versions.items())
        found.append(f"rankscope {table.version}" + (f" with {with_them}" if with_them else ""))
    return "; ".join(dict.fromkeys(found))
