"""Matrices that differ in their seeds, as text: a block for each of a few kinds, a row for each of many."""

import textwrap

from rankscope.records import Table
from rankscope.report.by_layer import fitted
from rankscope.report.cells import MARKS, counted, folded, number, parted, shortened, supported
from rankscope.report.grids import first, measures_of
from rankscope.report.kinds import Kind, kinds
from rankscope.report.listings import of_kinds, unknown
from rankscope.report.terminal import SIDE_BY_SIDE, common_heading, compared, footer


def seeds(table: Table, width: int) -> list[str]:
    """Several seeds: mean and deviation of each measure over the seeds that have a value, or a row for each kind."""
    found, count = kinds(table), len({record.seed for record in table})
    head = common_heading(table).replace("matrices", f"matrices, {counted(count, 'seed')}")
    if len(found) > SIDE_BY_SIDE:
        return compared_kinds(table, found, head, width)
    lines = [line for kind in found for line in block(table, kind)]
    more = "   sd: sample standard deviation   n: seeds with a value"
    return [*textwrap.wrap(head, width), *lines, *footer(table, width, more)]


def block(table: Table, kind: Kind) -> list[str]:
    """Each measure of matrices that differ in their seeds: mean, deviation, ends, and the seeds that have a value."""
    lines = ["", kind.name, f"  {'':<24}{'mean':>13}{'sd':>11}{'min':>13}{'max':>13}{'n':>4}"]
    labels = {matrix.id: matrix.label for matrix in table.matrices}
    for measure, subject in kind.records:
        both = sum(name == measure for name, _ in kind.records) > 1
        name, row = shortened(f"{measure} [{subject}]" if both else measure, 22), kind.means.get((measure, subject))
        if row is None:
            cell = unknown(kind, measure, subject)
            lines.append(f"  {name + mark(cell.guarantee):<24}{cell.text:>13}{'':>37}{0:>4}")
            continue
        sd = "" if row["sd"] is None else number(row["sd"], 3)
        half = kind.error(measure, subject)
        shown = (supported(row[each], row[each] - half, row[each] + half) for each in ("mean", "min", "max"))
        mean, low, high = (f"{number(value):>13}" for value in shown)
        lines.append(f"  {name + mark(kind.guarantee(measure, subject)):<24}{mean}{sd:>11}{low}{high}{row['count']:>4}")
        of = compared(table, labels, (kind.matrices[0].label, measure, subject))
        lines += [f"    {name:<22}{value:>13}" for name, value in of]
    return lines


def mark(guarantee: str) -> str:
    """The mark of a guarantee beside what it is of; nothing where there is none that all seeds have."""
    return f" {MARKS[guarantee]}" if guarantee else ""


def compared_kinds(table: Table, found: list[Kind], head: str, width: int) -> list[str]:
    """Many kinds of matrices over their seeds: a row each, with mean and deviation of as many measures as fit."""
    names = list(dict.fromkeys([*first(table), *measures_of(table)]))
    grid = of_kinds(found, names)
    kept = [place for place, name in enumerate(grid.header) if place and name != "sign"]  # no measure of its own
    rows = [[row[0].text, *(row[i].text + (mark(row[i].guarantee) or "  ") for i in kept)] for row in grid.rows]
    common = parted([kind.name for kind in found])[0]
    more = "   mean ± sample standard deviation over seeds"
    more += "; null with --format csv or json" if any(record.null_count for record in table) else ""
    lines = [*textwrap.wrap(head + (f"   {common}" if common else ""), width), ""]
    lines += [*fitted(["", *(grid.header[i] for i in kept)], rows, width), *footer(table, width, more)]
    return [*lines, *folded(grid.note, width)]
