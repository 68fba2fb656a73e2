"""Several results as few: what was measured of matrices together, and what was measured over depth together."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rankscope.records import Table


def merged(tables: Sequence[Table], names: Sequence[str] = ()) -> list[Table]:
    """The results as one of matrices and one over depth, in this order, without those that there are none of.

    Matrices that are the same in several results get the `names` of these, or their numbers, after their labels.

    A result that is alone stays as it is. Of several, matrices are numbered anew, and records and series follow them;
    the study is the one that all share, or `{"studies": […]}`; the command holds each that is known on a line, and
    versions that differ stand side by side.
    """
    named = told_apart(tables, names or [f"result {number}" for number in range(1, len(tables) + 1)])
    groups = [[table for table in named if table.over_depth is deep] for deep in (False, True)]
    return [group[0] if len(group) == 1 else joined(group) for group in groups if group]


def told_apart(tables: Sequence[Table], names: Sequence[str]) -> list[Table]:
    """The tables, in which what occurs in several of them is labelled by the one that it stands in."""
    seeds = [{record.matrix: record.seed for record in table} for table in tables]
    kinds = [[(m.kind, own.get(m.id)) for m in table.matrices] for table, own in zip(tables, seeds, strict=True)]
    counts = Counter(kind for each in kinds for kind in set(each))
    found = []
    for table, name, own in zip(tables, names, kinds, strict=True):
        pairs = zip(table.matrices, own, strict=True)
        matrices = [replace(m, label=f"{m.label} ({name})") if counts[kind] > 1 else m for m, kind in pairs]
        found.append(table if matrices == table.matrices else replace(table, matrices=matrices))
    return found


def joined(tables: Sequence[Table]) -> Table:
    """Several tables as one."""
    studies = list({json.dumps(study): study for table in tables for study in studies_of(table)}.values())
    commands = dict.fromkeys(table.command for table in tables if table.command)
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
