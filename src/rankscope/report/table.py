"""A table in the formats of others: DataFrame, CSV, Markdown, LaTeX. Text from files is inert in each of them.

DataFrame and CSV hold every record; Markdown and LaTeX hold the table that a document shows first, for a paper, and say
what it leaves out.
"""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from rankscope.records import Table
from rankscope.report.cells import POWER, enumerated, parted, printable
from rankscope.report.descent import networks
from rankscope.report.grid import Grid
from rankscope.report.grids import first, main_grid, measures_of
from rankscope.report.kinds import kinds, told_apart, varies_seeds
from rankscope.report.listings import listed, of_kinds
from rankscope.report.method import remarks
from rankscope.report.notebook import title_of
from rankscope.report.terminal import SIDE_BY_SIDE
from rankscope.saved.flat import COLUMNS, FLOATS, NUMBERS, cell, written

if TYPE_CHECKING:
    import pandas as pd

LONGEST_TABULAR: Final = 40
"""Rows of a LaTeX table that fit a page."""

LIGATURE: Final = re.compile(r"(?<=[-`',!?])(?=[-`',])")
"""Where two signs of ASCII would become another one: -- a dash, !` a mark of Spanish."""

EXPONENT: Final = re.compile(r"e\+?(-?)0*(\d+)")
TIMES: Final = r"\\cdot 10^{\1\2}"
"""How the exponent of a floating-point number is written, and how it is set."""

WHY: Final = r"p{0.4\textwidth}"
"""The column of reasons, which may take several lines."""

MOST_LETTERS: Final = 20
"""Letters of which it is said by what they were replaced."""

LETTERS: Final = {chr(code) for code in range(0xC0, 0x180)} - set("×÷ĦħĸĿŀŉŦŧſ")
"""The letters of Latin-1 and Latin Extended-A, but those that the encoding utf8 of LaTeX does not know."""

OF_T1: Final = "ÐðÞþĐđŊŋĲĳĄąĘęĮįŲų"
"""Those of them that the first font encoding of LaTeX does not have."""

LATEX: Final = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedblright{}",
    "[": "{[}",
    "*": "{*}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "∞": r"$\infty$",
    "×": r"$\times$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "σ": r"$\sigma$",
    "Σ": r"$\sum$",
    "τ": r"$\tau$",
    "·": r"$\cdot$",
    "φ": r"$\varphi$",
    "‖": r"$\Vert$",
    "√": r"$\surd$",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    **{sub: f"$_{digit}$" for digit, sub in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    **{above: f"$^{digit}$" for digit, above in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    "⁻": "$^{-}$",
    "λ": r"$\lambda$",
    "½": r"$\frac{1}{2}$",
    "…": r"\dots{}",
    "—": r"\textemdash{}",
    "–": r"\textendash{}",
    "η": r"$\eta$",
    "ᵀ": r"$^{\top}$",
}


def to_frame(table: Table) -> "pd.DataFrame":
    """One row per record, with the columns of its matrix."""
    import pandas as pd

    return pd.DataFrame(table.rows())


def frame_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> "pd.DataFrame":
    """Rows as a DataFrame with these columns, also where there are none."""
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns))


def to_parquet(table: Table) -> bytes:
    """One row per record as a Parquet file, with structures as JSON text.

    A column has one type, so whole numbers stand among others as floats; the metadata say which they are.
    """
    import pyarrow
    import pyarrow.parquet

    rows = table.rows()
    columns: dict[str, Any] = {}
    counts: dict[str, dict[int, int]] = {}
    for name in COLUMNS:
        listed = [written(name, row[name]) for row in rows]
        if name in FLOATS:
            counts[name] = {row: value for row, value in enumerate(listed) if type(value) is int}
            listed = [None if value is None else float(value) for value in listed]
        kind = pyarrow.float64() if name in FLOATS else pyarrow.int64() if name in NUMBERS else pyarrow.string()
        columns[name] = pyarrow.array(listed, kind)
    held = pyarrow.table(columns, metadata={"rankscope": json.dumps(counts)})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(held, buffer, write_page_checksum=True)
    return buffer.getvalue()


def to_csv(table: Table) -> str:
    """One row per record, without the series; text that a spreadsheet would run gets a leading apostrophe."""
    rows = table.rows()
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
        writer.writerows([cell(name, value) for name, value in row.items()] for row in rows)
    return stream.getvalue()


def to_markdown(table: Table) -> str:
    """The main table in Markdown, with its caption above it and what it leaves out below."""

    def escaped(text: str) -> str:
        return re.sub(r"([\\`*_{}\[\]<>|$&~])", r"\\\1", text)

    table = told(table)
    grid, names = main(table)
    rule = "|" + "|".join(" --- " if side == "l" else " --: " for side in sides(grid)) + "|"
    body = lines_of(grid, "| ", " | ", " |", escaped, rule, "ᵖ", "ᵉ")
    caption, *below = remarks_on(table, grid, names)
    return "\n\n".join([f"Table: {escaped(caption)}", body, *(escaped(printable(text)) for text in below)]) + "\n"


def to_latex(table: Table) -> str:
    r"""The main table as a `tabular` of the package booktabs, or as a `longtable` where it may not fit a page.

    Comments above it say what it needs, a caption, what it leaves out, and which letters it had to replace. Every
    special character is escaped, and no two signs make a ligature. A star or a bracket is put in braces: the end of the
    row before it would take it for its own. A mark takes no width, so that numbers stay aligned.
    """
    table = told(table)
    grid, names = main(table)
    long = len(grid.rows) > LONGEST_TABULAR
    name = "longtable" if long else "tabular"
    rule = "\n".join([r"\midrule", *([r"\endhead", r"\bottomrule", r"\endfoot"] if long else [])])
    body = lines_of(
        grid, "", " & ", r" \\", in_latex, rule, *(rf"\rlap{{\textsuperscript{{{mark}}}}}" for mark in "pe")
    )
    columns = "".join(sides(grid))
    begin = f"\\begin{{{name}}}{{{columns[:-1] + WHY if grid.why else columns}}}\n\\toprule"
    end = f"\\end{{{name}}}" if long else f"\\bottomrule\n\\end{{{name}}}"
    caption, *below = remarks_on(table, grid, names)
    written = [*grid.header, *(cell.text for row in grid.rows for cell in row), caption]
    letters = {letter for text in written for letter in unicodedata.normalize("NFC", printable(text))}
    notes = [f"needs \\usepackage{{booktabs{',longtable' * long}}}"]
    notes += [r"needs \usepackage[T1]{fontenc}"] if letters & set(OF_T1) else []
    notes += [f"caption: {in_latex(caption)}", *map(printable, below)]
    lost = sorted(letter for letter in letters if in_latex(letter).startswith("U+"))
    notes += [f"replaced: {enumerated([f'{each} by {in_latex(each)}' for each in lost], MOST_LETTERS)}"] if lost else []
    return "\n".join([*(f"% {note}" for note in notes), begin, body, end]) + "\n"


def in_latex(text: str) -> str:
    """Text as LaTeX prints it; a power of ten is set as one, and a letter that LaTeX does not know is its number."""

    def inert(piece: str) -> str:
        return "".join(LATEX.get(c, c if c.isascii() or c in LETTERS else f"U+{ord(c):04X}") for c in piece)

    pieces = POWER.split(unicodedata.normalize("NFC", text))
    exponents = (piece.strip("()").replace("−", "-").replace("±", r"\pm") for piece in pieces[1::2])
    powers = (f"$10^{{{EXPONENT.sub(TIMES, piece)}}}$" for piece in exponents)
    plain = ("{}".join(map(inert, LIGATURE.split(piece))) for piece in pieces[::2])
    return "".join(part for both in zip_longest(plain, powers, fillvalue="") for part in both)


def told(table: Table) -> Table:
    """The table with labels that tell its matrices apart, as a terminal shows them."""
    return table if table.over_depth else told_apart(table)


def main(table: Table) -> tuple[Grid, list[str]]:
    """What documents show, and the measures in it: those that were chosen, or of many matrices the main ones."""
    every = measures_of(table)
    if table.over_depth:
        found = networks(table)
        shown = [name for name in found[0].layers if found[0].curve(name)] if len(found) == 1 else []
        return main_grid(table), [*shown, *(each.main for each in found)]
    named = table.setting("measures")
    names = every if any(named) and ["all"] not in [list(each) for each in named] else first(table)
    several = kinds(table) if varies_seeds(table) else []
    if len(several) == 1 or (not several and len(table.matrices) <= SIDE_BY_SIDE):
        return main_grid(table), every
    grid = of_kinds(several, names) if several else listed(table, names)
    return replace(grid, title=grid.title.replace("Further", "All")) if names == every else grid, names


def remarks_on(table: Table, grid: Grid, names: list[str]) -> list[str]:
    """A caption, with what the marks mean, and what is not in the table."""
    marks = {cell.guarantee for row in grid.rows for cell in row} & {"proved", "enclosed"} if not grid.why else set()
    meaning = [f"{word[0]}: {word}" for word in sorted(marks, reverse=True)] + ["unmarked: estimated"] * bool(marks)
    labels = [] if table.over_depth else list(dict.fromkeys(printable(matrix.label) for matrix in table.matrices))
    shared = parted(labels)[0] if len(labels) > 1 else "".join(labels) if len(table.matrices) > 1 else ""
    what = " · ".join(filter(None, [title_of(table), shared]))
    caption = " ".join(f"{part}." for part in [f"{grid.title}: {what}", ", ".join(meaning)] if part)
    left = left_out(table, grid, names)
    out = f"Left out: {', '.join(left)}. " * bool(left) + "Bounds, reasons and all other numbers are in .csv and .json."
    said = list(remarks(table))
    note = [grid.note] if grid.note and grid.note not in [each.text for each in said] else []
    below = [*note, *([out] if left or not grid.why else []), *(f"{each.name}: {each.text}" for each in said)]
    return [caption, *dict.fromkeys(below)]


def left_out(table: Table, grid: Grid, names: list[str]) -> list[str]:
    """The measures that have no column or row, and those of a second subject, for which a list has no room."""
    meant = {(record.matrix, record.measure): record.subject for record in reversed(table.records)}
    in_rows = grid.header[:1] == ["matrix"]
    second = [r for r in table if r.measure in names and in_rows and r.subject != meant[r.matrix, r.measure]]
    return list(dict.fromkeys([r.measure for r in table if r.measure not in names]
                              + [f"{r.measure} [{r.subject}]" for r in second]))  # fmt: skip


def sides(grid: Grid) -> list[str]:
    """Where the columns of a table are aligned: words to the left, numbers to the right."""
    places = range(len(grid.header))
    return ["l" if place < grid.words or (grid.why and place > grid.words) else "r" for place in places]


def lines_of(
    grid: Grid,
    before: str,
    between: str,
    after: str,
    escape: Callable[[str], str],
    rule: str,
    proved: str,
    enclosed: str,
) -> str:
    """The cells of a table between separators with the marks of guarantees, and a rule below their header."""
    marks = {} if grid.why else {"proved": proved, "enclosed": enclosed}
    rows = [[escape(printable(cell.text)) + marks.get(cell.guarantee, "") for cell in row] for row in grid.rows]
    lines = [before + between.join(row) + after for row in [[escape(printable(head)) for head in grid.header], *rows]]
    return "\n".join([lines[0], rule, *lines[1:]])
