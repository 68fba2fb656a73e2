"""A table in the formats of others: DataFrame, CSV, Markdown, LaTeX, HTML. Text from files is inert in each of them."""

import csv
import html
import io
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from rankscope.records import Record, Table
from rankscope.report import by_layer
from rankscope.report.cells import printable, reason, sign_text, value_text
from rankscope.report.descent import networks
from rankscope.report.sentences import sentences
from rankscope.report.terminal import groups_of, heading

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final = ("matrix", "measure", "value", "guarantee", "subject", "why")

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""First characters that a spreadsheet would take for a formula (CWE-1236)."""

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
    '"': r"\textquotedbl{}",
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
    "½": r"$\tfrac12$",
    "…": r"\dots{}",
    "—": "---",
    "–": "--",
    "η": r"$\eta$",
    "ᵀ": r"$^{\top}$",
}


def to_frame(table: Table) -> "pd.DataFrame":
    """One row per record, with the columns of its matrix."""
    import pandas as pd

    return pd.DataFrame(table.rows())


def to_parquet(table: Table) -> bytes:
    """The DataFrame as a Parquet file, with the details as JSON text."""
    import pandas as pd

    frame = pd.DataFrame([{name: plain(value) for name, value in row.items()} for row in table.rows()])
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def to_csv(table: Table) -> str:
    """One row per record, without the series; text that a spreadsheet would run gets a leading apostrophe."""
    rows = table.rows()
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
        writer.writerows([cell(value) for value in row.values()] for row in rows)
    return stream.getvalue()


def plain(value: Any) -> Any:
    """A number as it is, a structure as text, text without control characters and lone surrogates."""
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True) if value else ""
    if isinstance(value, tuple):
        return printable("; ".join(value))
    return printable(value) if isinstance(value, str) else value


def cell(value: Any) -> Any:
    """A plain value in which text that a spreadsheet would run is defused; nothing for None."""
    text = plain("" if value is None else value)
    return f"'{text}" if isinstance(value, str) and value.startswith(FORMULA) else text


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
    r"""A LaTeX `tabular` that needs no package; every special character is escaped."""

    def escaped(text: str) -> str:
        return "".join(LATEX.get(c, c if c.isascii() else f"U+{ord(c):04X}") for c in text)

    header, rows = shown(table)
    body = lines_of(header, rows, "", " & ", r" \\", escaped, r"\hline")
    columns = "l" + "r" * (len(header) - 1) if table.over_depth else r"llrllp{0.4\textwidth}"
    return f"\\begin{{tabular}}{{{columns}}}\n\\hline\n{body}\n\\hline\n\\end{{tabular}}\n"


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
    return by_layer.grid(table) if table.over_depth else (list(COLUMNS), cells(table))


def to_html(table: Table) -> str:
    """A fragment of HTML for notebooks: one matrix by groups with its reasons, several as rows; no script."""
    said = " ".join(sentences(table))
    if len(table.matrices) == 1 and not table.over_depth:
        title = heading(table.matrices[0], table.records[0].seed if table.records else None)
        body = "".join(group_html(group, members, table) for group, members in groups_of(table).items())
    else:
        title = by_layer.heading(networks(table)) if table.over_depth else f"{len(table.matrices)} matrices"
        header, rows = shown(table)
        body = "".join(row_html(row) for row in rows)
        body = "<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in header) + "</tr>" + body
    return f"<p><strong>{html.escape(title)}</strong></p><table>{body}</table><p>{html.escape(said)}</p>"


def group_html(group: str, members: list[Record], table: Table) -> str:
    """The rows of one group, under its name."""
    matrix = table.matrices[0]
    rows = [
        row_html([r.measure, value_text(r, matrix), r.guarantee, r.subject, printable(reason(r, table))])
        for r in members
    ]
    if group == "determinant":
        signs = (row_html(["sign", sign_text(r), r.guarantee, r.subject, printable(r.because)]) for r in members)
        rows = [*signs, *rows]
    return f'<tr><th colspan="5" style="text-align:left">{html.escape(group)}</th></tr>' + "".join(rows)


def row_html(row: list[str]) -> str:
    """One row, with its text escaped."""
    return "<tr>" + "".join(f'<td style="text-align:left">{html.escape(text)}</td>' for text in row) + "</tr>"
