"""Several results as few: what was measured of matrices together, and what was measured over depth together."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from rankscope.records import Table

UNTYPED: Final = "# a result without a command: it was made in Python, or its file holds none"
"""What stands in the place of a command that is not known."""


def merged(tables: Sequence[Table], names: Sequence[str] = ()) -> list[Table]:
    """The results as one of matrices and one over depth, in this order, without those that there are none of.

    Matrices that are the same in several results get the `names` of these, or their numbers, after their labels.

    A result that is alone stays as it is. Of several, matrices are numbered anew, and records and series follow them;
    the study is the one that all share, or `{"studies": […]}`; the command holds each that is known on a line, and
    versions that differ stand side by side.
    """
    given = list(names) or [f"result {number}" for number in range(1, len(tables) + 1)]
    own = [f"{name}, {given[:i].count(name) + 1}" if given.count(name) > 1 else name for i, name in enumerate(given)]
    pairs = list(zip(tables, own, strict=True))
    groups = [[pair for pair in pairs if pair[0].over_depth is deep] for deep in (False, True)]
    return [joined(told_apart(group)) if len(group) > 1 else group[0][0] for group in groups if group]


def told_apart(named: Sequence[tuple[Table, str]]) -> list[Table]:
    """The tables, in which what must not be taken for another seed of the same is labelled by the name of its result.

    That is a matrix that stands in several results, and all of those of a result that was measured in another way than
    the first, with another tolerance, say, or another centre.
    """
    tables, names = zip(*named, strict=True)
    seeds = [{record.matrix: record.seed for record in table} for table in tables]
    kinds = [[(m.kind, own.get(m.id)) for m in table.matrices] for table, own in zip(tables, seeds, strict=True)]
    counts = Counter(kind for each in kinds for kind in set(each))
    ways = [way_of(table) for table in tables]
    found = []
    for table, name, own, way in zip(tables, names, kinds, ways, strict=True):
        marked = [counts[kind] > 1 or way != ways[0] for kind in own]
        pairs = zip(table.matrices, marked, strict=True)
        matrices = [replace(m, label=f"{m.label} ({name})") if mark else m for m, mark in pairs]
        found.append(table if matrices == table.matrices else replace(table, matrices=matrices))
    return found


def way_of(table: Table) -> str:
    """How a table was measured, whatever was measured of it."""
    settings = ("rule", "rtol", "prove", "spectrum", "blas_threads", "centre", "absolute")
    return json.dumps([table.setting(name) for name in settings])


def joined(tables: Sequence[Table]) -> Table:
    """Several tables as one."""
    studies = list({json.dumps(study): study for table in tables for study in studies_of(table)}.values())
    typed = any(table.command for table in tables)
    commands = dict.fromkeys(table.command or UNTYPED for table in tables) if typed else {}
    names = dict.fromkeys(name for table in tables for name in table.versions)
    versions = {name: beside(table.versions.get(name, "") for table in tables) for name in names}
    version, command = beside(table.version for table in tables), "\n".join(commands) or None
    made = Table({}, [], [], [], command=command, version=version, versions=versions)
    for table in tables:
        numbers = {matrix.id: number for number, matrix in enumerate(table.matrices, len(made.matrices))}
        made.matrices.extend(replace(matrix, id=numbers[matrix.id]) for matrix in table.matrices)
        made.records.extend(replace(record, matrix=numbers[record.matrix]) for record in table.records)
        made.series.extend(replace(series, matrix=numbers[series.matrix]) for series in table.series)
    return replace(made, study=studies[0] if len(studies) == 1 else {"studies": studies})


def beside(versions: Iterable[str]) -> str:
    """Each version that is known once."""
    return ", ".join(dict.fromkeys(filter(None, versions)))


def studies_of(table: Table) -> list[Mapping[str, Any]]:
    """The study of a table, or those of one that was merged before."""
    several = table.study.get("studies") if len(table.study) == 1 else None
    return several if isinstance(several, list) else [table.study]
