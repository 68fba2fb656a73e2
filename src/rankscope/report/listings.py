"""Tables of many matrices: a row for each, for each kind over its seeds, or for each measure over all."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, Final

from rankscope.records import Matrix, Record, Table
from rankscope.report.cells import compact, null_text, number, parted, printable, sign_text, supported, value_text
from rankscope.report.grid import NULL, Cell, Grid, cut
from rankscope.report.kinds import Kind
from rankscope.report.sentences import spread
from rankscope.report.terminal import SHORT, compared, groups_of, heading_of

BELOW_ALL: Final = -1e308
"""The place of the logarithm of zero among numbers."""


def cell_of(record: Record | None, matrix: Matrix) -> Cell:
    """The value of a record, or what is known instead of it; nothing for none."""
    if record is None:
        return Cell("")
    if record.status != "ok":
        return Cell(record.code or "refused")
    return Cell(compact(record, matrix)[:-2], record.guarantee, place_of(record))


def place_of(record: Record) -> float | None:
    """By what a record is sorted: its value, or else the bound that is known of it."""
    if record.measure == "logdet" and record.sign == 0:
        return BELOW_ALL
    return next((float(each) for each in (record.value, record.high, record.low) if each is not None), None)


def labels_of(matrices: Sequence[Matrix]) -> list[str]:
    """The labels of matrices, without the words that all share."""
    labels = [printable(matrix.label) for matrix in matrices]
    return parted(labels)[1] if len(labels) > 1 else labels


def names_of(table: Table) -> list[str]:
    """What tells the matrices of a table apart: their layer and head, where each has its own, or else their labels."""
    places = {record.matrix: (record.layer, record.head) for record in table if record.over is None}
    known = [places.get(matrix.id, (None, None)) for matrix in table.matrices]
    if len(set(known)) < len(known) or any(None in place for place in known):
        return labels_of(table.matrices)
    return [f"layer {layer} head {head}" for layer, head in known]


def listed(table: Table, names: Sequence[str]) -> Grid:
    """A row for each matrix, with some of its measures and what these are of matched random attention."""
    cells = {(record.matrix, record.measure): record for record in reversed(table.records)}
    compared_with = {"effective_rank"} if set(names) <= set(SHORT) else set(names)
    nulls = {record.measure for record in table if record.measure in compared_with and record.null_count}
    header, rows = ["matrix"], [[Cell(label)] for label in names_of(table)]
    for name in names:
        found = [(cells.get((matrix.id, name)), matrix) for matrix in table.matrices]
        columns = {heading_of(name): [cell_of(record, matrix) for record, matrix in found]}
        if name in nulls:
            columns[NULL] = [Cell("" if r is None else null_text(r).removeprefix("null ")) for r, _ in found]
        if name == "logdet":
            signs = [r if r is not None and r.status == "ok" else None for r, _ in found]
            columns["sign"] = [Cell("" if r is None else sign_text(r), r.guarantee if r else "") for r in signs]
        header += columns
        for own in columns.values():
            for row, cell in zip(rows, own, strict=True):
                row.append(cell)
    return cut(Grid(listing(names), header, {"": rows}))


def spread_of(table: Table) -> Grid:
    """Each measure over many matrices: its least, middle and greatest value, where these are, and its mean null."""
    labels = dict(zip((matrix.id for matrix in table.matrices), names_of(table), strict=True))
    nulls = any(record.null_mean is not None for record in table)
    groups: dict[str, list[list[Cell]]] = {}
    for group, members in groups_of(table).items():
        for name in dict.fromkeys(record.measure for record in members):
            records = [record for record in members if record.measure == name]
            known = sorted(
                (float(record), labels[record.matrix], record.guarantee)
                for record in records
                if record.value is not None
            )
            rows = groups.setdefault(group, [])
            unknown = Cell(str(len(records) - len(known)) if len(known) < len(records) else "")
            if not known:
                rows.append([Cell(name), *[Cell("")] * 5, unknown, *([Cell("")] if nulls else [])])
                continue
            (least, at_least, mark), (greatest, at_most, other) = known[0], known[-1]
            middle = float(median(value for value, _, _ in known))
            means = [record.null_mean for record in records if record.null_mean is not None]
            null = [Cell(number(math.fsum(means) / len(means), 5) if means else "")] if nulls else []
            rows.append([Cell(name), Cell(number(least, 5), mark, least), Cell(at_least),
                         Cell(number(middle, 5), "", middle), Cell(number(greatest, 5), other, greatest),
                         Cell(at_most), unknown, *null])  # fmt: skip
    header = ["measure", "least", "of", "median", "greatest", "of", "not known", *(["mean null"] if nulls else [])]
    return Grid(f"All measures, over {len(table.matrices)} matrices", header, groups)


def of_seeds(table: Table, kind: Kind) -> Grid:
    """Each measure of matrices that differ in their seeds: mean, deviation, ends, and the seeds that have a value."""
    labels = {matrix.id: matrix.label for matrix in table.matrices}
    groups: dict[str, list[list[Cell]]] = {}
    for group, members in groups_of(table).items():
        wanted = dict.fromkeys((record.measure, record.subject) for record in members)
        rows = groups.setdefault(group, [])
        for measure, subject in wanted:
            name = f"{measure} [{subject}]" if sum(key[0] == measure for key in wanted) > 1 else measure
            row = kind.means.get((measure, subject))
            if row is None:
                rows.append([Cell(name), unknown(kind, measure, subject), *[Cell("")] * 3, Cell("0")])
                continue
            half = kind.error(measure, subject)
            mean, *ends = (
                Cell(number(supported(row[each], row[each] - half, row[each] + half)), mark, row[each])
                for each, mark in (("mean", kind.guarantee(measure, subject)), ("min", ""), ("max", ""))
            )
            deviation = Cell("" if row["sd"] is None else number(row["sd"], 3), "", row["sd"])
            rows.append([Cell(name), mean, deviation, *ends, Cell(str(row["count"]))])
            of = compared(table, labels, (kind.matrices[0].label, measure, subject))
            rows += [[Cell(f"its {what}"), Cell(value), *[Cell("")] * 4] for what, value in of]
    header = ["measure", "mean", "sd", "least", "greatest", "seeds"]
    return Grid(f"All measures, over {len(kind.matrices)} seeds", header, groups)


def of_kinds(found: Sequence[Kind], names: Sequence[str]) -> Grid:
    """A row for each kind of matrices, with mean and deviation over seeds of some measures."""
    rests = labels_of([kind.matrices[0] for kind in found])
    rows = []
    for kind, rest in zip(found, rests, strict=True):
        cells = [Cell(rest)]
        for name in names:
            row, subject = kind.mean(name), next((s for measure, s in kind.records if measure == name), "")
            known = Cell(counted_spread(row, kind), kind.guarantee(name, row["subject"]), row["mean"]) if row else None
            cells.append(known or unknown(kind, name, subject))
            if name == "logdet":
                cells.append(signs_of(kind, subject))
        rows.append(cells)
    title = f"{listing(names)}, mean ± standard deviation over seeds"
    header = [each for name in names for each in (heading_of(name), *(["sign"] if name == "logdet" else []))]
    return cut(Grid(title, ["matrix", *header], {"": rows}))


def signs_of(kind: Kind, subject: str) -> Cell:
    """The sign of the determinants of all seeds, or how many have which."""
    counts = Counter(sign_text(record) for record in kind.records.get(("logdet", subject), []))
    if len(counts) < 2:
        return Cell("".join(counts), kind.guarantee("logdet", subject))
    return Cell(", ".join(f"{sign} ({count})" for sign, count in sorted(counts.items())))


def counted_spread(row: dict[str, Any], kind: Kind) -> str:
    """A mean with its deviation, and of how many seeds it is where not all have a value."""
    count = len(kind.records[row["measure"], row["subject"]])
    return spread(row) + (f" ({row['count']} of {count})" if row["count"] < count else "")


def unknown(kind: Kind, measure: str, subject: str) -> Cell:
    """What is known of a measure that no seed has a value of: what all seeds say instead of it."""
    record = kind.alike(measure, subject)
    if record is None:
        return Cell("—" if (measure, subject) not in kind.records else "not known")
    text = value_text(record, kind.matrices[0])
    return Cell(text, "" if text == "—" else record.guarantee, place_of(record))


def listing(names: Iterable[str]) -> str:
    """What the columns of a table are."""
    return "The main measures" if set(names) <= set(SHORT) else "Further measures"
