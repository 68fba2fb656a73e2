"""The tables of a document: what a reader sees first, and all the rest, as cells under a header.

One matrix is a list of its measures with reasons; up to four stand side by side; more are a row each, and so are
several kinds of matrices over seeds; a study of depth is a row for each layer, or for each network. What the first
table has no room for stands in the others: no number is left out without a word.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from rankscope.records import Matrix, Record, Table
from rankscope.report import by_layer
from rankscope.report.cells import (
    compact,
    null_text,
    number,
    parted,
    printable,
    reason,
    sign_text,
    supported,
    value_text,
)
from rankscope.report.descent import Network, networks
from rankscope.report.kinds import Kind, kinds, varies_seeds
from rankscope.report.sentences import spread
from rankscope.report.terminal import SHORT, SIDE_BY_SIDE, compared, groups_of, heading_of, row_name, sign_reason
from rankscope.report.told import of_columns, paths

PAGE: Final = 112
"""Letters that a line of a table has room for."""

LABEL: Final = 26
"""Letters of the names of rows, which may take several lines."""

NULL: Final = "its null"
"""The header of a column that holds what the measure before it is of matched random attention."""

MANY: Final = 24
"""Matrices beyond which the first table sums them up."""

MOST_ROWS: Final = 300
"""Rows of a table beyond which the others are left to files."""


@dataclass(frozen=True)
class Cell:
    """One entry of a table: its text, the guarantee of the number in it, and what it is sorted by."""

    text: str
    guarantee: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Grid:
    """A table of a document: groups of rows under one header. The first `words` columns hold words, and those of `why`.

    `note` says what is not in it.
    """

    title: str
    header: list[str]
    groups: dict[str, list[list[Cell]]]
    words: int = 1
    why: bool = False
    note: str = ""

    @property
    def rows(self) -> list[list[Cell]]:
        """The rows of all groups."""
        return [row for rows in self.groups.values() for row in rows]


def main_grid(table: Table) -> Grid:
    """What a reader sees first."""
    if table.over_depth:
        return of_depth(table)
    if varies_seeds(table):
        found = kinds(table)
        return of_seeds(table, found[0]) if len(found) == 1 else of_kinds(found, first(table))
    if len(table.matrices) == 1:
        return alone(table)
    if len(table.matrices) <= SIDE_BY_SIDE:
        return side_by_side(table)
    return listed(table, first(table)) if len(table.matrices) <= MANY else spread_of(table)


def other_grids(table: Table) -> list[Grid]:
    """The numbers that the main table has no room for."""
    if table.over_depth:
        found = networks(table)
        every = [(printable(each.label), *by_layer.of_one(each)) for each in found] if len(found) > 1 else []
        more = [each for each in [differences(found), *every, *map(paths, found)] if each[2]]
        return [Grid(title, head, {"": words_of(body)}) for title, head, body in more]
    several = kinds(table) if varies_seeds(table) else []
    if not several and len(table.matrices) <= SIDE_BY_SIDE:
        return []
    left = [name for name in measures_of(table) if name not in first(table)]
    if several:
        return [of_kinds(several, left)] if len(several) > 1 and left else []
    main = [listed(table, first(table))] if len(table.matrices) > MANY else []
    return [*main, *([listed(table, left)] if left else [])]


def split(grid: Grid) -> list[Grid]:
    """A table as several that a page has room for, each with the first column; a null stays beside its number."""
    if grid.why:
        return [grid]
    widths = [width_of(grid, place) for place in range(len(grid.header))]
    pieces: list[list[int]] = []
    room = 0
    for place in range(1, len(widths)):
        beside = widths[place] + (widths[place + 1] if grid.header[place + 1 : place + 2] == [NULL] else 0)
        if not pieces or (room + beside > PAGE and grid.header[place] != NULL):
            pieces.append([0])
            room = min(widths[0], LABEL)
        pieces[-1].append(place)
        room += widths[place]
    return [part_of(grid, piece, number) for number, piece in enumerate(pieces)] or [grid]


def width_of(grid: Grid, place: int) -> int:
    """The letters that a column takes on a line; a header may be broken at its spaces and underscores."""
    header = max(map(len, re.split(r"(?<=[\s_])", grid.header[place])))
    return max([header, *(len(row[place].text) for row in grid.rows)]) + 3


def part_of(grid: Grid, places: Sequence[int], number: int) -> Grid:
    """Some of the columns of a table."""
    groups = {name: [[row[place] for place in places] for row in rows] for name, rows in grid.groups.items()}
    title = f"{grid.title} (continued)" if number else grid.title
    return Grid(title, [grid.header[place] for place in places], groups, grid.words, grid.why, grid.note)


def measures_of(table: Table) -> list[str]:
    """The measures of a table, in the order in which they were measured."""
    return list(dict.fromkeys(record.measure for record in table))


def first(table: Table) -> list[str]:
    """The measures that a reader of many matrices sees first."""
    present = measures_of(table)
    return [name for name in SHORT if name in present] or present


# --- one matrix, or a few -----------------------------------------------------------------------------------------


def alone(table: Table) -> Grid:
    """Each measure of the only matrix with its guarantee and the reason."""
    matrix = table.matrices[0]
    several = len({record.subject for record in table if record.measure in ("rank_exact", "logdet")}) > 1
    groups: dict[str, list[list[Cell]]] = {}
    for group, members in groups_of(table).items():
        rows = groups.setdefault(group, [])
        for record in members:
            of = [Cell(record.subject)] if several else []
            if group == "determinant":
                sign = Cell(sign_text(record), record.guarantee, record.sign)
                rows.append([Cell("sign"), *of, sign, Cell(record.guarantee), Cell(printable(sign_reason(record)))])
            value = Cell(value_text(record, matrix), record.guarantee, record.value)
            why = Cell(printable(reason(record, table)))
            rows.append([Cell(record.measure), *of, value, Cell(record.guarantee), why])
    header = ["measure", *(["of"] if several else []), "value", "guarantee", "why"]
    return Grid("All measures", header, groups, words=1 + several, why=True)


def side_by_side(table: Table) -> Grid:
    """A few matrices in columns, a measure in each row, and below it what it is of matched random attention."""
    cells = {(record.matrix, row_name(table, record)): record for record in table}
    groups: dict[str, list[list[Cell]]] = {}
    for group, members in groups_of(table).items():
        rows = groups.setdefault(group, [])
        for name in dict.fromkeys(row_name(table, record) for record in members):
            found = [(cells.get((matrix.id, name)), matrix) for matrix in table.matrices]
            if group == "determinant":
                signs = [Cell("" if r is None else sign_text(r), r.guarantee if r else "") for r, _ in found]
                rows.append([Cell(name.replace("logdet", "sign")), *signs])
            rows.append([Cell(name), *(cell_of(record, matrix) for record, matrix in found)])
            nulls = [Cell("" if r is None else null_text(r).removeprefix("null ")) for r, _ in found]
            if any(null.text for null in nulls):
                rows.append([Cell("its null"), *nulls])
    return Grid("All measures", ["measure", *labels_of(table.matrices)], groups)


def cell_of(record: Record | None, matrix: Matrix) -> Cell:
    """The value of a record, or what is known instead of it; nothing for none."""
    if record is None:
        return Cell("")
    if record.status != "ok":
        return Cell(record.code or "refused")
    return Cell(compact(record, matrix)[:-2], record.guarantee, record.value)


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


# --- many -------------------------------------------------------------------------------------------------------


def listed(table: Table, names: Sequence[str]) -> Grid:
    """A row for each matrix, with some of its measures and what these are of matched random attention."""
    cells = {(record.matrix, record.measure): record for record in reversed(table.records)}
    compared_with = {"effective_rank"} if names == first(table) else set(names)
    nulls = {record.measure for record in table if record.measure in compared_with and record.null_count}
    columns = [each for name in names for each in (name, *([f"{name} null"] if name in nulls else []))]
    rows = []
    for matrix, label in zip(table.matrices, names_of(table), strict=True):
        row = [Cell(label)]
        for column in columns:
            record = cells.get((matrix.id, column.removesuffix(" null")))
            null = record is not None and column.endswith(" null")
            row.append(Cell(null_text(record).removeprefix("null ")) if null and record else cell_of(record, matrix))
        rows.append(row)
    header = [NULL if column.endswith(" null") else heading_of(column) for column in columns]
    return cut(Grid(listing(names), ["matrix", *header], {"": rows}))


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
        rows.append(cells)
    title = f"{listing(names)}, mean ± standard deviation over seeds"
    return cut(Grid(title, ["matrix", *map(heading_of, names)], {"": rows}))


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
    return Cell(text, "" if text == "—" else record.guarantee)


def listing(names: Iterable[str]) -> str:
    """What the columns of a table are."""
    return "The main measures" if set(names) <= set(SHORT) else "Further measures"


def cut(grid: Grid) -> Grid:
    """A table of at most so many rows, which says how many it lacks."""
    [(name, rows)] = grid.groups.items()
    if len(rows) <= MOST_ROWS:
        return grid
    note = f"The first {MOST_ROWS} of {len(rows)} rows; the others are in the files of this result (.json, .csv)."
    return Grid(grid.title, grid.header, {name: rows[:MOST_ROWS]}, grid.words, grid.why, note)


# --- depth ------------------------------------------------------------------------------------------------------


def of_depth(table: Table) -> Grid:
    """A row for each layer, or for each network."""
    header, rows = by_layer.grid(table)
    title = "Layer by layer" if header[:1] == ["layer"] else "The networks"
    return Grid(title, header, {"": words_of(rows)}, note=" ".join(of_columns(table, networks(table), header)))


def differences(found: Sequence[Network]) -> tuple[str, list[str], list[list[str]]]:
    """What one part of a network changes, over paired seeds, with the interval of each: a title, a header and rows."""
    rows = [
        [
            printable(each.label),
            printable(str(record.details["without"])),
            str(record.layer),
            number(float(record), 4),
            f"{number(record.low or 0, 4)} … {number(record.high or 0, 4)}",
            str(record.details["seeds"]),
        ]
        for each in found
        for record in each.whole
        if record.measure == "log10_residual_difference"
    ]
    return "Differences of log₁₀ r over paired seeds", ["network", "less", "layer", "mean", "95 %", "seeds"], rows


def words_of(rows: Iterable[Iterable[str]]) -> list[list[Cell]]:
    """Rows of text as cells."""
    return [[Cell(text) for text in row] for row in rows]
