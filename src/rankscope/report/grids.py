"""The tables of a document: what a reader sees first, and all the rest.

One matrix is a list of its measures with reasons; up to four stand side by side; more are a row each, and so are
several kinds of matrices over seeds; a study of depth is a row for each layer, or for each network. What the first
table has no room for stands in the others: no number is left out without a word.
"""

from collections.abc import Sequence
from typing import Final

from rankscope.records import Table
from rankscope.report import by_head, by_layer
from rankscope.report.cells import null_text, number, printable, reason, sign_text, value_text
from rankscope.report.descent import Network, networks
from rankscope.report.grid import Cell, Grid, words_of
from rankscope.report.kinds import kinds, varies_seeds
from rankscope.report.listings import cell_of, labels_of, listed, of_kinds, of_seeds, spread_of
from rankscope.report.terminal import SHORT, SIDE_BY_SIDE, groups_of, row_name, sign_reason
from rankscope.report.told import of_columns, paths

MANY: Final = 24
"""Matrices beyond which the first table sums them up."""


def main_grid(table: Table) -> Grid:
    """What a reader sees first."""
    if table.over_depth:
        return of_depth(table)
    if by_head.suits(table):
        return of_model(table)[0]
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
    if by_head.suits(table):
        return [*of_model(table)[1:], listed(table, first(table)), *of_the_rest(table)]
    several = kinds(table) if varies_seeds(table) else []
    if not several and len(table.matrices) <= SIDE_BY_SIDE:
        return []
    if several:
        left = [name for name in measures_of(table) if name not in first(table)]
        return [of_kinds(several, left)] if len(several) > 1 and left else []
    main = [listed(table, first(table))] if len(table.matrices) > MANY else []
    return [*main, *of_the_rest(table)]


def of_the_rest(table: Table) -> list[Grid]:
    """A row for each matrix, with the measures that a reader does not see first."""
    left = [name for name in measures_of(table) if name not in first(table)]
    return [listed(table, left)] if left else []


def of_model(table: Table) -> list[Grid]:
    """The heads of a model: a map of them, and the means of each layer; or its variants side by side."""
    titled = by_head.grids(table)
    return [Grid(title[:1].upper() + title[1:], header, {"": words_of(rows)}) for title, header, rows in titled]


def measures_of(table: Table) -> list[str]:
    """The measures of a table, in the order in which they were measured."""
    return list(dict.fromkeys(record.measure for record in table))


def first(table: Table) -> list[str]:
    """The measures that a reader of many matrices sees first."""
    present = measures_of(table)
    return [name for name in SHORT if name in present] or present


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
