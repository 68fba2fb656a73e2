"""A table as text for people: grouped, 80 columns wide unless the terminal is wider, every number with its guarantee.

One matrix is shown as a list of its measures with reasons; up to four side by side; more as one row each. Two or
three sentences below say what the numbers mean together.
"""

import math
import textwrap
from typing import Any, Final

from rankscope.records import Matrix, Record, Table
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
    "row_entropy_normalized": "entropy",
}
"""Short names for the columns of a long list."""

MARKS: Final = {"proved": "p", "enclosed": "e", "estimated": " "}


def to_text(table: Table, width: int = WIDTH) -> str:
    """The table as lines of at most `width` columns, ending with the sentences that explain it."""
    if table.summary():
        body = seeds(table, width)
    elif len(table.matrices) == 1:
        body = alone(table, width)
    elif len(table.matrices) <= SIDE_BY_SIDE:
        body = side_by_side(table, width)
    else:
        body = listed(table, width)
    said = [line for sentence in [" ".join(sentences(table))] if sentence for line in textwrap.wrap(sentence, width)]
    return "\n".join([*body, "", *said] if said else body)


def heading(matrix: Matrix, seed: int | None) -> str:
    """What one matrix is: its label, size, and what made it."""
    size = f"n {matrix.rows}" if matrix.rows == matrix.columns else f"{matrix.rows} × {matrix.columns}"
    parts = [printable(matrix.label) + (" attention" if matrix.source == "synthetic" else ""), size]
    parts += [f"d {matrix.d}"] if matrix.d is not None else []
    parts += [f"scale {matrix.scale:g}"] if matrix.scale is not None else []
    parts += [f"seed {seed}"] if seed is not None else []
    return "   ".join([*parts, matrix.dtype])


def printable(text: str) -> str:
    """Text from a file without control characters."""
    return "".join(c if c.isprintable() else "�" for c in text)


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
    several = len({record.subject for record in table if record.measure in ("rank_exact", "logdet")}) > 1
    name_width = max(len(record.measure) for record in table)
    values = [value_text(record, matrix) for record in table]
    value_width = max(len(value) for value in values)
    indent = name_width + value_width + 17
    for group, members in groups_of(table).items():
        lines += ["", group]
        rows = [(r.measure, value_text(r, matrix), r.guarantee, reason(r, table), r.subject) for r in members]
        if group == "determinant":
            signs = [("sign", sign_text(r), r.guarantee, sign_reason(r), r.subject) for r in members]
            rows = [row for pair in zip(signs, rows, strict=True) for row in pair]
        for name, value, guarantee, note, subject in rows:
            left = f"  {name:<{name_width}}  {value:<{value_width}}  {guarantee:<9}  "
            wrapped = textwrap.wrap(note + (f" [{subject}]" if several else ""), max(width - indent, 24)) or [""]
            lines += [(left + wrapped[0]).rstrip(), *(" " * indent + more for more in wrapped[1:])]
    return lines


def sign_reason(record: Record) -> str:
    """Why the sign is known."""
    return record.because or record.method


def side_by_side(table: Table, width: int) -> list[str]:
    """A few matrices in columns, a measure in each row."""
    cells = {(record.matrix, row_name(table, record)): record for record in table}
    groups = {
        group: list(dict.fromkeys(row_name(table, r) for r in found)) for group, found in groups_of(table).items()
    }
    first = max(len(name) for names in groups.values() for name in names) + 4
    room = max((width - first) // len(table.matrices), 14)
    head = [textwrap.wrap(printable(matrix.label), room - 2) or [""] for matrix in table.matrices]
    lines = [common_heading(table), ""]
    for depth in range(max(len(each) for each in head)):
        row = "".join(f"{each[depth] if depth < len(each) else '':>{room}}" for each in head)
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
    return [*lines, "", "p proved   e enclosed   unmarked: estimated", *complaints(table)]


def row_name(table: Table, record: Record) -> str:
    """The measure, with its subject where it was made of two subjects of the same matrix."""
    both = sum(r.measure == record.measure and r.matrix == record.matrix for r in table) > 1
    return f"{record.measure} [{record.subject}]" if both else record.measure


def common_heading(table: Table) -> str:
    """What all matrices share."""
    shared = {name: {getattr(matrix, name) for matrix in table.matrices} for name in ("rows", "d", "scale", "dtype")}
    single = {name: values.pop() for name, values in shared.items() if len(values) == 1 and None not in values}
    parts = [
        f"{'n' if name == 'rows' else name} {f'{v:g}' if isinstance(v, float) else v}" for name, v in single.items()
    ]
    seeds = {record.seed for record in table}
    parts += [f"seed {seeds.pop()}"] if len(seeds) == 1 and None not in seeds else []
    return "   ".join([f"{len(table.matrices)} matrices", *parts])


def listed(table: Table, width: int) -> list[str]:
    """Many matrices: a row each, with as many measures as fit."""
    present = list(dict.fromkeys(record.measure for record in table))
    wanted = [name for name in SHORT if name in present] or present
    wanted += [name for name in present if name not in wanted and len(present) <= len(SHORT)]
    cells = {(record.matrix, record.measure): record for record in reversed(table.records)}
    texts = {name: [compact(cells.get((m.id, name)), m) for m in table.matrices] for name in wanted}
    widths = {name: max(len(HEADINGS.get(name, name)), *(len(text) for text in texts[name])) + 2 for name in wanted}
    labels = [shortened(printable(matrix.label), 30) for matrix in table.matrices]
    first = max(len(label) for label in labels)
    shown: list[str] = []
    for name in wanted:
        if first + sum(widths[each] for each in [*shown, name]) <= width or not shown:
            shown.append(name)
    lines = [common_heading(table), ""]
    lines.append(" " * first + "".join(f"{HEADINGS.get(name, name):>{widths[name]}}" for name in shown))
    for i, (label, matrix) in enumerate(zip(labels, table.matrices, strict=True)):
        bad = next((r for r in table.of(matrix) if r.status != "ok"), None)
        row = f"  {bad.code}" if bad else "".join(f"{texts[name][i]:>{widths[name]}}" for name in shown)
        lines.append(f"{label:<{first}}{row}".rstrip())
    left_out = len(present) - len(shown)
    more = f"; {left_out} more measures with --format csv or json" if left_out > 0 else ""
    return [*lines, "", *textwrap.wrap(f"p proved   e enclosed   unmarked: estimated{more}", width), *complaints(table)]


def complaints(table: Table) -> list[str]:
    """One line for each matrix that could not be measured."""
    bad = {record.matrix: record for record in reversed(table.records) if record.status != "ok"}
    labels = {matrix.id: matrix.label for matrix in table.matrices}
    return [f"{printable(labels[i])} was not measured. {bad[i].code}: {bad[i].because}" for i in sorted(bad)]


def seeds(table: Table, width: int) -> list[str]:
    """Several seeds: mean and standard deviation of each measure, for each label."""
    count = len({record.seed for record in table})
    lines = [common_heading(table).replace("matrices", f"matrices, {count} seeds")]
    rows = table.summary()
    for label in dict.fromkeys(row["label"] for row in rows):
        lines += ["", printable(label), f"  {'':<24}{'mean':>13}{'sd':>11}{'min':>13}{'max':>13}{'n':>4}"]
        for row in rows:
            if row["label"] == label:
                sd = "" if row["sd"] is None else number(row["sd"], 3)
                name = shortened(row["measure"], 24)
                mean, low, high = (f"{number(row[key]):>13}" for key in ("mean", "min", "max"))
                lines.append(f"  {name:<24}{mean}{sd:>11}{low}{high}{row['count']:>4}")
    return [*lines, *complaints(table)]


def shortened(text: str, room: int) -> str:
    """Text cut to `room` columns, with an ellipsis for what is left out."""
    return text if len(text) <= room else text[: room - 1] + "…"


def number(value: float | int, digits: int = 6) -> str:
    """A number with `digits` significant digits and a true minus sign."""
    text = f"{value}" if isinstance(value, int) and abs(value) < 10**9 else f"{value:.{digits}g}"
    return text.replace("-", "−")


def short(value: float) -> str:
    """Two digits, with the exponent where it helps."""
    return (f"{value:.1e}" if value and not 1e-2 < abs(value) < 1e4 else f"{value:.2g}").replace("-", "−")


def value_text(record: Record, matrix: Matrix) -> str:
    """A value, or what is known instead: a bound, an interval, or a dash."""
    if record.value is not None:
        of = f" of {min(matrix.rows, matrix.columns)}" if record.measure == "rank_exact" else ""
        return number(record.value, 10 if record.measure == "logdet" else 6) + of
    if record.measure == "logdet" and record.sign == 0:
        return "−∞"
    low, high = record.low, record.high
    if low is not None and high is not None and not (record.measure == "rank_exact" and low <= 1):
        return f"{number(low)} … {number(high)}"
    if high is not None:
        return f"≤ {number(high)}"
    return f"≥ {number(low)}" if low is not None else "—"


def marked(record: Record | None, matrix: Matrix) -> str:
    """A value with the mark of its guarantee."""
    if record is None:
        return "  "
    text = value_text(record, matrix).partition(" of ")[0]
    return f"{text} {MARKS[record.guarantee]}"


def compact(record: Record | None, matrix: Matrix) -> str:
    """A value with its mark, five digits at most."""
    if record is None or record.value is None or isinstance(record.value, int):
        return marked(record, matrix)
    return f"{number(record.value, 5)} {MARKS[record.guarantee]}"


def sign_text(record: Record) -> str:
    """The sign of a determinant."""
    return "unknown" if record.sign is None else f"{record.sign:+d}".replace("-", "−").replace("+0", "0")


def reason(record: Record, table: Table) -> str:
    """Why the value is what it is: tolerance and gap, error, or the method."""
    details: Any = record.details
    if record.status != "ok":
        return f"{record.code}: {record.because}"
    if record.measure == "rank_numerical" and details.get("tolerance") is not None:
        gap = f"; gap {number(details['gap'], 3)}" if details.get("gap") else ""
        below = f" ({short(details['sigma_above'])} | {short(details['sigma_below'])})" if gap else ""
        text = f"σ > {short(details['tolerance'])} ({details['rule']}){gap}{below}"
        return f"{record.because}; {text}" if record.because else text
    if record.measure == "log10_sigma_min" and record.value is not None:
        last = next(
            (s.values[-1] for s in table.series if s.name == "singular_values" and s.matrix == record.matrix), None
        )
        noise = last is not None and "inverse" in record.method
        return f"σ_min = 10^{number(record.value)}" + (f"; LAPACK prints {short(last or 0.0)}" if noise else "")
    if record.because and record.measure != "logdet":
        return record.because
    if record.value is not None and record.low is not None and record.high is not None and record.low < record.high:
        error = number(max(record.high - record.value, record.value - record.low), 2)
        power = f"; |det| ≈ 10^{number(record.value / math.log(10), 5)}" if record.measure == "logdet" else ""
        return f"± {error}{power}"
    return record.because or record.method
