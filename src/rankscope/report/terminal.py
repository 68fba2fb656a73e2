"""A table as text for people: grouped, 80 columns wide unless the terminal is wider, every number with its guarantee.

One matrix is shown as a list of its measures with reasons; up to four side by side; more as one row each. Two or
three sentences below say what the numbers mean together.
"""

import math
import textwrap
from typing import Final

from rankscope.records import Matrix, Record, Table
from rankscope.report import by_head
from rankscope.report.cells import (
    MARKS,
    columns_of,
    compact,
    counted,
    folded,
    marked,
    null_text,
    number,
    parted,
    printable,
    reason,
    shortened,
    sign_text,
    value_text,
)
from rankscope.report.kinds import told_apart, varies_seeds
from rankscope.report.sentences import sentences

WIDTH: Final = 80
SIDE_BY_SIDE: Final = 4

SHORT: Final = (
    "rank_exact",
    "rank_numerical",
    "effective_rank",
    "stable_rank",
    "logdet",
    "log10_sigma_min",
    "row_entropy_normalized",
)
"""What a long list of matrices shows first."""

HEADINGS: Final = {
    "rank_exact": "exact",
    "rank_numerical": "numerical",
    "effective_rank": "effective",
    "stable_rank": "stable",
    "logdet": "log |det|",
    "log10_sigma_min": "log₁₀σmin",
    "row_entropy_normalized": "entropy/max",
}
"""Short names for the columns of a long list."""

SUBJECTS: Final = {
    "scores": "the exact softmax of the scores",
    "factors": "the exact product of the factors",
    "log weights": "the weights whose logarithms the kernel computed",
    "stored": "the numbers as they are stored",
    "tokens": "the tokens of a network, as they enter a layer",
    "mask": "the mask alone, whatever the weights are",
}
"""Of what a number is true."""


def to_text(table: Table, width: int = WIDTH) -> str:
    """The table as lines of at most `width` columns, ending with the sentences that explain it."""
    if not table.records:
        return "no matrices"
    table = table if table.over_depth else told_apart(table)
    if table.over_depth:
        from rankscope.report import by_layer

        body = by_layer.to_lines(table, width)
    elif by_head.suits(table):
        body = by_head.to_lines(table, width)
    elif varies_seeds(table):
        from rankscope.report.seeds import seeds

        body = seeds(table, width)
    elif len(table.matrices) == 1:
        body = alone(table, width)
    else:
        body = (side_by_side(table, width) if len(table.matrices) <= SIDE_BY_SIDE else []) or listed(table, width)
    said = [line for sentence in [" ".join(sentences(table))] if sentence for line in folded(sentence, width)]
    return "\n".join([*body, "", *said] if said else body)


def heading(matrix: Matrix, seed: int | None) -> str:
    """What one matrix is: its label, size, and what made it."""
    size = f"n {matrix.rows}" if matrix.rows == matrix.columns else f"{matrix.rows} × {matrix.columns}"
    parts = [printable(matrix.label) + (" attention" if matrix.source == "synthetic" else ""), size]
    parts += [f"d {matrix.d}"] if matrix.d is not None else []
    parts += [f"scale {matrix.scale:g}"] if matrix.scale is not None and " scale " not in matrix.label else []
    parts += [f"seed {seed}"] if seed is not None else []
    return "   ".join([*parts, matrix.dtype])


def groups_of(table: Table) -> dict[str, list[Record]]:
    """The records by group, in the order in which they were measured."""
    groups: dict[str, list[Record]] = {}
    for record in table:
        groups.setdefault(record.group, []).append(record)
    return groups


def alone(table: Table, width: int) -> list[str]:
    """One matrix: each measure with value, guarantee and reason."""
    matrix = table.matrices[0]
    lines = textwrap.wrap(heading(matrix, table.records[0].seed if table.records else None), width)
    lines += [line for note in matrix.notes for line in textwrap.wrap(f"note: {printable(note)}", width)]
    several = len({record.subject for record in table if record.measure in ("rank_exact", "logdet")}) > 1
    name_width = min(max(len(record.measure) for record in table), 30)
    values = [value_text(record, matrix) for record in table]
    value_width = max(len(value) for value in values)
    indent = name_width + value_width + 17
    for group, members in groups_of(table).items():
        lines += ["", group]
        rows = [
            (shortened(r.measure, 30), value_text(r, matrix), r.guarantee, reason(r, table), r.subject) for r in members
        ]
        if group == "determinant":
            signs = [("sign", sign_text(r), r.guarantee, sign_reason(r), r.subject) for r in members]
            rows = [row for pair in zip(signs, rows, strict=True) for row in pair]
        for name, value, guarantee, note, subject in rows:
            left = f"  {name:<{name_width}}  {value:<{value_width}}  {guarantee:<9}  "
            wrapped = textwrap.wrap(
                printable(note) + (f" [{subject}]" if several else ""), max(width - indent, 16)
            ) or [""]
            lines += [(left + wrapped[0]).rstrip(), *(" " * indent + more for more in wrapped[1:])]
    return [*lines, *(["", *subjects(table, width)] if several else [])]


def subjects(table: Table, width: int) -> list[str]:
    """What the names of subjects mean, for those that occur."""
    named = [f"[{name}] {meaning}" for name, meaning in SUBJECTS.items() if any(r.subject == name for r in table)]
    return textwrap.wrap("; ".join(named), width)


def footer(table: Table, width: int, more: str = "") -> list[str]:
    """What the marks mean, for those that occur, and one line for each matrix that could not be measured."""
    used = {record.guarantee for record in table}
    marks = [f"{mark} {name}" for name, mark in MARKS.items() if name in used and mark.strip()]
    marks += ["unmarked: estimated"] if "estimated" in used else []
    return ["", *textwrap.wrap("   ".join(marks) + more, width), *remarks(table, width)]


def remarks(table: Table, width: int) -> list[str]:
    """What was done to matrices, and which could not be measured."""
    texts = [*(f"note: {printable(note)}" for note in notes_of(table)), *complaints(table)]
    return [line for text in texts for line in textwrap.wrap(text, width)]


def notes_of(table: Table) -> list[str]:
    """What was done to matrices, each note with their labels, or with their number where they are many."""
    found: dict[str, list[str]] = {}
    for matrix in table.matrices:
        for note in matrix.notes:
            found.setdefault(note, []).append(matrix.label)
    return [
        text
        for note, labels in found.items()
        for text in (
            dict.fromkeys(f"{label}: {note}" for label in labels)
            if len(labels) <= SIDE_BY_SIDE
            else [f"{len(labels)} of {len(table.matrices)} matrices: {note}"]
        )
    ]


def sign_reason(record: Record) -> str:
    """Why the sign is known."""
    return record.because or record.method


def side_by_side(table: Table, width: int) -> list[str]:
    """A few matrices in columns, a measure in each row; nothing when they do not fit."""
    cells = {(record.matrix, row_name(table, record)): record for record in table}
    groups = {
        group: list(dict.fromkeys(row_name(table, r) for r in found)) for group, found in groups_of(table).items()
    }
    first = max(len(name) for names in groups.values() for name in names) + 4
    room = (width - first) // len(table.matrices)
    matrices = {matrix.id: matrix for matrix in table.matrices}
    longest = max(len(marked(record, matrices[record.matrix])) for record in table)
    words = max(columns_of(word) for matrix in table.matrices for word in printable(matrix.label).split() or [""])
    if max(longest, words) >= room:
        return []
    head = [textwrap.wrap(printable(matrix.label), room - 1) or [""] for matrix in table.matrices]
    lines = [common_heading(table), ""]
    for depth in range(max(len(each) for each in head)):
        parts = [each[depth] if depth < len(each) else "" for each in head]
        row = "".join(" " * (room - columns_of(part)) + part for part in parts)
        lines.append((" " * first + row).rstrip())
    for group, names in groups.items():
        lines.append(group)
        for name in names:
            found = [cells.get((matrix.id, name)) for matrix in table.matrices]
            if name.startswith("logdet"):
                signs = "".join(f"{'' if r is None else f'{sign_text(r)} {MARKS[r.guarantee]}':>{room}}" for r in found)
                lines.append(f"  {name.replace('logdet', 'sign'):<{first - 2}}{signs}".rstrip())
            row = "".join(f"{marked(r, matrix):>{room}}" for r, matrix in zip(found, table.matrices, strict=True))
            lines.append(f"  {name:<{first - 2}}{row}".rstrip())
            nulls = [null_of(r) for r in found]
            if any(nulls):
                lines.append(f"  {'  null':<{first - 2}}" + "".join(f"{text}  ".rjust(room) for text in nulls).rstrip())
    both = any("[" in name for names in groups.values() for name in names)
    return [*lines, *footer(table, width), *(subjects(table, width) if both else [])]


def row_name(table: Table, record: Record) -> str:
    """The measure, with its subject where it was made of two subjects of the same matrix."""
    both = sum(r.measure == record.measure and r.matrix == record.matrix for r in table) > 1
    return f"{record.measure} [{record.subject}]" if both else record.measure


def common_heading(table: Table) -> str:
    """The model that matrices are of, how many there are, and what all of them share."""
    models = {matrix.source for matrix in table.matrices if matrix.stack is not None}
    named = [printable(models.pop())] if len(models) == 1 else []
    return "   ".join([*named, f"{len(table.matrices)} matrices", *common_of(table)])


def common_of(table: Table) -> list[str]:
    """What all matrices share."""
    shared = {name: {getattr(matrix, name) for matrix in table.matrices} for name in ("d", "scale", "dtype")}
    single = {name: values.pop() for name, values in shared.items() if len(values) == 1 and None not in values}
    shapes = {(matrix.rows, matrix.columns) for matrix in table.matrices}
    parts = [f"n {rows}" if rows == columns else f"{rows} × {columns}" for rows, columns in shapes if len(shapes) == 1]
    parts += [f"{name} {f'{v:g}' if isinstance(v, float) else v}" for name, v in single.items()]
    seeds = {record.seed for record in table}
    parts += [f"seed {seeds.pop()}"] if len(seeds) == 1 and None not in seeds else []
    return parts


def listed(table: Table, width: int) -> list[str]:
    """Many matrices: a row each, with as many measures as fit."""
    present = list(dict.fromkeys(record.measure for record in table))
    wanted = [name for name in SHORT if name in present] or present
    wanted += [name for name in present if name not in wanted and len(present) <= len(SHORT)]
    cells = {(record.matrix, record.measure): record for record in reversed(table.records)}
    texts = {name: [compact(cells.get((m.id, name)), m) for m in table.matrices] for name in wanted}
    nulls = {name: [null_of(cells.get((m.id, name))) for m in table.matrices] for name in wanted}
    texts |= {f"{name} null": found for name, found in nulls.items() if any(found)}
    if any(" null" in name for name in texts):
        wanted.sort(key=lambda name: name != "effective_rank")
    wanted = [each for name in wanted for each in (name, f"{name} null") if each in texts]
    widths = {name: max(len(heading_of(name)), *(len(text) for text in texts[name])) + 2 for name in wanted}
    common, rest = parted([printable(matrix.label) for matrix in table.matrices])
    labels = [shortened(label, max(30, width // 3)) for label in rest]
    first = max(columns_of(label) for label in labels)
    shown: list[str] = []
    for name in wanted:
        if first + sum(widths[each] for each in [*shown, name]) <= width or not shown:
            shown.append(name)
    lines = [*textwrap.wrap(common_heading(table) + (f"   {common}" if common else ""), width), ""]
    lines.append(" " * first + "".join(f"{heading_of(name):>{widths[name]}}" for name in shown))
    for i, (label, matrix) in enumerate(zip(labels, table.matrices, strict=True)):
        bad = next((r for r in table.of(matrix) if r.status != "ok"), None)
        row = f"  {bad.code}" if bad else "".join(f"{texts[name][i]:>{widths[name]}}" for name in shown)
        lines.append(f"{label}{' ' * (first - columns_of(label))}{row}".rstrip())
    left_out = len(present) - sum(name in present for name in shown)
    more = f"; {counted(left_out, 'more measure')} with --format csv or json" if left_out > 0 else ""
    return [*lines, *footer(table, width, more)]


def heading_of(name: str) -> str:
    """The short name of a column: of a measure, or of its value for matched random attention."""
    return "null" if name.endswith(" null") else HEADINGS.get(name, name)


def compared(table: Table, labels: dict[int, str], key: tuple[str, str, str]) -> list[tuple[str, str]]:
    """What the mean over seeds compares with: the mean of matched random attention, and the limit of theory."""
    own = [r for r in table if (labels[r.matrix], r.measure, r.subject) == key]
    nulls = [record.null_mean for record in own if record.null_mean is not None]
    limits = {record.details["limit"] for record in own if record.details.get("limit") is not None}
    rows = [("null", number(math.fsum(nulls) / len(nulls)))] if nulls else []
    return [*rows, *(("limit", number(limit)) for limit in limits)]


def null_of(record: Record | None) -> str:
    """Mean and deviation of matched random attention, if there are any."""
    return "" if record is None else null_text(record).removeprefix("null ")


def complaints(table: Table) -> list[str]:
    """One line for each matrix that could not be measured."""
    bad = {record.matrix: record for record in reversed(table.records) if record.status != "ok"}
    labels = {matrix.id: matrix.label for matrix in table.matrices}
    return [printable(f"{labels[i]} was not measured. {bad[i].code}: {bad[i].because}") for i in sorted(bad)]
