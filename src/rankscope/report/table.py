"""A table in the formats of others: DataFrame, CSV, Markdown, LaTeX. Text from files is inert in each of them."""

import csv
import io
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from rankscope.records import Table
from rankscope.report import by_layer
from rankscope.report.cells import printable, reason, value_text
from rankscope.saved.flat import COLUMNS, FLOATS, NUMBERS, cell, written

if TYPE_CHECKING:
    import pandas as pd

HEADER: Final = ("matrix", "measure", "value", "guarantee", "subject", "why")

LONGEST_TABULAR: Final = 40
"""Rows of a LaTeX table that fit a page."""

LIGATURE: Final = re.compile(r"(?<=[-`',!?])(?=[-`',])")
"""Where two signs of ASCII would become another one: -- a dash, !` a mark of Spanish."""

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


def cells(table: Table) -> list[list[str]]:
    """The rows that documents show: label, measure, value, guarantee, subject, reason."""
    matrices = {matrix.id: matrix for matrix in table.matrices}
    return [
        [
            printable(matrices[record.matrix].label) + ("" if record.seed is None else f" seed {record.seed}"),
            record.measure,
            value_text(record, matrices[record.matrix]),
            record.guarantee,
            record.subject,
            printable(reason(record, table)),
        ]
        for record in table
    ]


def to_markdown(table: Table) -> str:
    """A Markdown table."""

    def escaped(text: str) -> str:
        return re.sub(r"([\\`*_{}\[\]<>|$&~])", r"\\\1", text)

    header, rows = shown(table)
    return lines_of(header, rows, "| ", " | ", " |", escaped, "|" + "|".join(" --- " for _ in header) + "|") + "\n"


def to_latex(table: Table) -> str:
    r"""A LaTeX `tabular` of the package booktabs, or a `longtable` where it may not fit a page; its first line says so.

    Every special character is escaped, and no two signs make a ligature. A star or a bracket is put in braces: the end
    of the row before it would take it for its own.
    """

    def escaped(text: str) -> str:
        pieces = LIGATURE.split(text)
        signs = ("".join(LATEX.get(c, c if c.isascii() else f"U+{ord(c):04X}") for c in piece) for piece in pieces)
        return "{}".join(signs)

    header, rows = shown(table)
    columns = "l" + "r" * (len(header) - 1) if table.over_depth else r"llrllp{0.4\textwidth}"
    long = len(rows) > LONGEST_TABULAR
    name, packages = ("longtable", "booktabs,longtable") if long else ("tabular", "booktabs")
    rule = "\n".join([r"\midrule", *([r"\endhead", r"\bottomrule", r"\endfoot"] if long else [])])
    begin = f"% needs \\usepackage{{{packages}}}\n\\begin{{{name}}}{{{columns}}}\n\\toprule"
    end = f"\\end{{{name}}}" if long else f"\\bottomrule\n\\end{{{name}}}"
    body = lines_of(header, rows, "", " & ", r" \\", escaped, rule)
    return f"{begin}\n{body}\n{end}\n"


def lines_of(
    header: list[str],
    body: list[list[str]],
    before: str,
    between: str,
    after: str,
    escape: Callable[[str], str],
    rule: str,
) -> str:
    """The cells of a table between separators, with a rule below their header."""
    rows = [before + between.join(escape(text) for text in row) + after for row in [header, *body]]
    return "\n".join([rows[0], rule, *rows[1:]])


def shown(table: Table) -> tuple[list[str], list[list[str]]]:
    """What documents show: a row for each number, or for each layer in a study of depth."""
    return by_layer.grid(table) if table.over_depth else (list(HEADER), cells(table))
