"""Tables in the formats of others: every name is inert in each of them, and nothing is lost but what is said to be."""

import csv
import io
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import rankscope as rs
from rankscope.records import Series, Table
from rankscope.report import by_layer
from rankscope.report import table as shown
from rankscope.report.cells import printable, supported
from rankscope.testing.measures import matrices
from tests.process import strict_json
from tests.report.canned import HOSTILE, matrix, named, record, refused, several, table, usual

REAL = rs.analyze(rs.synthetic(n=12, d=3, mask="causal", dtype="bfloat16", scale=20.0), measures=["all"]).table
BAD = table(usual() + refused(1, "stack head 1")[1], [matrix(), refused(1, "stack head 1")[0]])
TABLES = {
    "usual": named("causal softmax"),
    "several": several(6),
    "real": REAL,
    "bad": BAD,
    "nothing known": table([record("logdet", None, sign=0), record("rank_exact", None, low=3, high=5)]),
}


# ----------------------------------------------------------------------------------------------------------------- CSV


def read_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("name", TABLES)
def test_csv_holds_every_record_exactly(name: str) -> None:
    found = TABLES[name]
    header, *rows = read_csv(shown.to_csv(found))
    expected = found.rows()
    assert len(rows) == len(expected) == len(found.records)
    for row, wanted in zip(rows, expected, strict=True):
        assert header == list(wanted)
        for text, value in zip(row, wanted.values(), strict=True):
            if isinstance(value, int | float):
                assert type(value)(text) == value
            elif isinstance(value, dict):
                assert (strict_json(text) if text else {}) == value
            elif isinstance(value, tuple):
                assert text == "; ".join(value)
            else:
                assert text == (value or "")


@pytest.mark.parametrize("name", HOSTILE)
def test_csv_defuses_text_and_stays_a_table(name: str) -> None:
    header, *rows = read_csv(shown.to_csv(named(HOSTILE[name])))
    assert {len(row) for row in rows} == {len(header)}
    assert len(rows) == len(usual())
    for row in rows:
        for column, text in zip(header, row, strict=True):
            if column in ("label", "key", "source", "because", "method"):
                assert not text.startswith(("=", "+", "-", "@", "\t", "\r")), column
            assert text == printable(text), f"{column} would send control characters to a terminal"


def test_csv_leaves_numbers_alone() -> None:
    header, row = read_csv(shown.to_csv(table([record("logdet", -29.5, sign=-1, low=-30.0)])))
    found = dict(zip(header, row, strict=True))
    assert (found["value"], found["sign"], found["low"]) == ("-29.5", "-1", "-30.0")


def test_csv_defuses_what_looks_like_a_number_but_is_text() -> None:
    header, row, *_ = read_csv(shown.to_csv(named("-1")))
    assert row[header.index("label")] == "'-1"


def test_csv_of_nothing_is_empty() -> None:
    assert shown.to_csv(table([], [])) == ""


# ----------------------------------------------------------------------------------------------------------- DataFrame


@pytest.mark.parametrize("name", TABLES)
def test_a_frame_has_a_row_for_each_record_and_the_names_as_they_are(name: str) -> None:
    found = TABLES[name]
    frame = shown.to_frame(found)
    assert list(frame["measure"]) == [each.measure for each in found.records]
    assert [None if pd.isna(value) else value for value in frame["value"]] == [each.value for each in found.records]
    labels = {each.id: each.label for each in found.matrices}
    assert list(frame["label"]) == [labels[each.matrix] for each in found.records]
    assert not {"id", "index"} & set(frame.columns)


def test_parquet_brings_the_frame_back() -> None:
    frame = pd.read_parquet(io.BytesIO(shown.to_parquet(REAL)))
    expected = shown.to_frame(REAL)
    assert list(frame.columns) == list(expected.columns)
    known = expected["value"].notna()
    assert (frame["value"].notna() == known).all()
    np.testing.assert_array_equal(frame["value"][known].astype(float), expected["value"][known].astype(float))
    assert [strict_json(text) if text else {} for text in frame["details"]] == list(expected["details"])


# ------------------------------------------------------------------------------------------------------------ Markdown


def markdown(text: str) -> tuple[list[list[str]], set[str]]:
    """The cells of the one table that a Markdown reader finds, and the kinds of inline markup within them."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    assert [token.type for token in tokens if token.level == 0] == ["table_open", "table_close"]
    rows: list[list[str]] = []
    kinds: set[str] = set()
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline":
            rows[-1].append("".join(child.content for child in token.children or []))
            kinds |= {child.type for child in token.children or []}
    return rows, kinds


def plain(text: str) -> str:
    """A cell as a reader of Markdown or HTML shows it, which does not count spaces."""
    return " ".join(text.split())


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_names_as_they_are_written(name: str) -> None:
    label = HOSTILE[name]
    rows, kinds = markdown(shown.to_markdown(named(label)))
    assert kinds <= {"text", "text_special"}
    assert {len(row) for row in rows} == {6}
    assert rows[0] == list(shown.HEADER)
    assert {plain(row[0]) for row in rows[1:]} == {plain(printable(label))}


@pytest.mark.parametrize("name", TABLES)
def test_markdown_has_a_row_for_each_record(name: str) -> None:
    rows, kinds = markdown(shown.to_markdown(TABLES[name]))
    assert [row[1] for row in rows[1:]] == [each.measure for each in TABLES[name].records]
    assert kinds <= {"text", "text_special"}


# --------------------------------------------------------------------------------------------------------------- LaTeX

WRITTEN = {
    r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\dots{}": "…", r"\&": "&",
    r"\%": "%", r"\$": "$", r"\#": "#", r"\_": "_", r"\{": "{", r"\}": "}", r"$-$": "−", r"$\infty$": "∞",
    r"$\times$": "×", r"$\le$": "≤", r"$\ge$": "≥", r"$\sigma$": "σ", r"$\sum$": "Σ", r"$\tau$": "τ", r"$\cdot$": "·",
    r"$\varphi$": "φ", r"$\Vert$": "‖", r"$\surd$": "√", r"$\pm$": "±", r"$\approx$": "≈", r"$_1$": "₁", r"$_2$": "₂",
    r"$_0$": "₀", r"$^2$": "²", r"$^{-}$": "⁻", r"$^1$": "¹", r"$\lambda$": "λ", r"$\frac{1}{2}$": "½", r"$\eta$": "η",
    r"$^{\top}$": "ᵀ", r"\textemdash{}": "—", r"\textendash{}": "–", r"\textless{}": "<", r"\textgreater{}": ">",
    r"\textbar{}": "|", r"\textquotedblright{}": '"', "{[}": "[", "{*}": "*", "{}": "",
}  # fmt: skip
TOKEN = re.compile("|".join(sorted((re.escape(each) for each in WRITTEN), key=len, reverse=True)) + r"|[^\\$&%#_{}~^]")


def unlatex(cell: str) -> str:
    """What a cell prints; it fails for anything that LaTeX would take as a command."""
    assert TOKEN.sub("", cell) == "", f"{cell!r} is not inert"
    assert not re.search(r"--|``|''|,,|[?!]`", cell), f"two signs of {cell!r} make a ligature"
    return TOKEN.sub(lambda found: WRITTEN.get(found[0], found[0]), cell)


def latex(text: str, columns: str = r"llrllp{0.4\textwidth}") -> list[list[str]]:
    """The cells of a tabular or of a longtable."""
    check_balance(text)
    packages, begin, *lines = text.splitlines()
    if begin.startswith(r"\begin{longtable}"):
        start, end, needed = (
            [r"\toprule", None, r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot"],
            [],
            ",longtable",
        )
    else:
        start, end, needed = [r"\toprule", None, r"\midrule"], [r"\bottomrule"], ""
    name = "longtable" if needed else "tabular"
    assert packages == rf"% needs \usepackage{{booktabs{needed}}}"
    assert begin == rf"\begin{{{name}}}{{{columns}}}"
    assert lines[-1 - len(end) :] == [*end, rf"\end{{{name}}}"]
    assert [line if wanted else None for line, wanted in zip(lines, start, strict=False)] == start
    rows = [lines[1], *lines[len(start) : -1 - len(end)]]
    assert all(row.endswith(r" \\") and not row.startswith(("[", "*")) for row in rows)
    return [[unlatex(cell) for cell in re.split(r"(?<!\\) & ", row.removesuffix(r" \\"))] for row in rows]


def check_balance(text: str) -> None:
    """What TeX itself sees: every brace, dollar and environment that opens closes, and comments end their lines."""
    open_ones: list[str] = []
    for line in text.splitlines():
        place = 0
        while place < len(line) and line[place] != "%":
            sign = line[place]
            command = re.compile(r"\\([A-Za-z]+|.)").match(line, place)
            if command and command[1] in ("begin", "end"):
                [name] = re.findall(r"\{(\w+)\}", line[command.end() :])[:1]
                assert command[1] == "begin" or open_ones.pop() == name
                open_ones += [name] * (command[1] == "begin")
            elif sign == "{" or (sign == "$" and open_ones[-1] != "$"):
                open_ones.append(sign)
            elif sign in "}$":
                assert open_ones.pop() == {"}": "{", "$": "$"}[sign]
            elif sign in "^_":
                assert "$" in open_ones, "a superscript outside mathematics"
            else:
                assert sign not in "#~", f"{sign} is special"
            place = command.end() if command else place + 1
    assert open_ones == []


@pytest.mark.parametrize("name", HOSTILE)
def test_latex_is_inert_and_prints_what_was_meant(name: str) -> None:
    label = HOSTILE[name]
    text = shown.to_latex(named(label))
    assert text.isascii()
    rows = latex(text)
    assert {len(row) for row in rows} == {6}
    known = set(WRITTEN.values()) - {""}
    meant = "".join(c if c.isascii() or c in known else f"U+{ord(c):04X}" for c in printable(label))
    assert {row[0] for row in rows[1:]} == {meant}


@pytest.mark.parametrize("label", ["[2cm] a", "*a", "a--b---c", "``a''", "?`a!`", "a,,b", "[a]*"])
def test_latex_prints_names_that_mean_something_where_they_stand(label: str) -> None:
    rows = latex(shown.to_latex(named(label)))
    assert {row[0] for row in rows[1:]} == {label}


def test_latex_of_many_rows_runs_over_pages() -> None:
    fits, runs = several(6), several(7)
    assert len(usual()) * 6 > shown.LONGEST_TABULAR >= 40
    small = replace(fits, records=fits.records[: shown.LONGEST_TABULAR])
    assert r"\begin{tabular}" in shown.to_latex(small)
    assert r"\begin{longtable}" in shown.to_latex(replace(fits, records=fits.records[: shown.LONGEST_TABULAR + 1]))
    assert len(latex(shown.to_latex(runs))) == len(runs.records) + 1


def test_latex_of_depth_has_a_row_for_each_layer() -> None:
    found = rs.depth(n=6, d=2, layers=3).table
    header, *rows = latex(shown.to_latex(found), "l" + "r" * (len(by_layer.grid(found)[0]) - 1))
    assert header[0] == "layer"
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]


ENGINES = ("tectonic", "pdflatex", "xelatex", "lualatex")


def test_latex_compiles(tmp_path: Path) -> None:
    engine = next(filter(None, map(shutil.which, ENGINES)), None)
    if engine is None:
        pytest.skip(f"no TeX was found: none of {', '.join(ENGINES)}")
    parts = [shown.to_latex(named(label)) for label in HOSTILE.values()]
    parts += [shown.to_latex(found) for found in TABLES.values()]
    body = "\n\n".join(parts)
    document = r"\documentclass{article}\usepackage{booktabs,longtable}\begin{document}"
    (tmp_path / "a.tex").write_text(f"{document}\n{body}\n\\end{{document}}\n", "utf-8")
    options = (
        ["--untrusted"] if "tectonic" in engine else ["-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error"]
    )
    done = subprocess.run([engine, *options, "a.tex"], cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")[-2000:]
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize("sign", ["<", ">", "|", '"'])
def test_latex_prints_signs_that_its_first_font_encoding_does_not_have(sign: str) -> None:
    r"""Without `\usepackage[T1]{fontenc}` these print as ¡, ¿, — and ”, so that |det| becomes —det—."""
    assert sign not in shown.to_latex(named(f"a{sign}b"))


@pytest.mark.parametrize("name", TABLES)
def test_latex_knows_every_sign_of_our_own_words(name: str) -> None:
    rows = latex(shown.to_latex(TABLES[name]))
    assert [row[1] for row in rows[1:]] == [each.measure for each in TABLES[name].records]
    assert not re.search(r"U\+[0-9A-F]{4}", str(rows))


def test_latex_knows_every_sign_that_a_measure_can_print() -> None:
    """All measures on the matrices of the contract batteries: nothing they say needs the escape of last resort."""
    signs: set[str] = set()
    for _, made in matrices():
        for row in shown.cells(rs.analyze(made, measures=["all"]).table):
            signs |= {sign for cell in row for sign in cell if not sign.isascii()}
    assert signs
    assert sorted(signs - set(shown.LATEX)) == []


# ------------------------------------------------------------------------------------------------------------- together


def values_in(format: str, found: Table) -> list[str]:
    if format == "markdown":
        return [row[2] for row in markdown(shown.to_markdown(found))[0][1:]]
    if format == "latex":
        return [row[2] for row in latex(shown.to_latex(found))[1:]]
    raise ValueError(format)


@pytest.mark.parametrize("name", TABLES)
def test_all_formats_show_the_same_values(name: str) -> None:
    formats = [values_in(format, TABLES[name]) for format in ("markdown", "latex")]
    assert formats[0] == formats[1]


def only(value: Any, measure: str = "stable_rank", **fields: Any) -> str:
    [text] = values_in("markdown", table([record(measure, value, **fields)]))
    return text


def test_a_value_is_a_number_or_what_is_known_instead() -> None:
    assert only(1.5) == "1.5"
    assert only(-0.25) == "−0.25"
    assert only(1234567.0) == "1.23457e+06"
    assert only(3, "rank_exact") == "3 of 8"
    assert only(None) == "—"
    assert only(None, low=3, high=5) == "3 … 5"
    assert only(None, high=5.5) == "≤ 5.5"
    assert only(None, low=-2.5) == "≥ −2.5"
    assert only(None, "logdet", sign=0) == "−∞"
    assert only(None, "rank_exact", low=1, high=8) == "≤ 8"


def test_a_value_has_the_digits_that_its_bounds_support() -> None:
    assert only(218.5964, low=215.5, high=221.5) == "219"
    assert only(218.5964, low=218.1, high=219.0) == "218.6"
    assert only(218.5964, low=198.0, high=241.0) == "220"
    assert only(218.5964, low=218.5963, high=218.5965) == "218.596"
    assert only(218.5964, low=218.5964, high=218.5964) == "218.596"
    assert only(218.5964, low=None, high=221.5) == "218.596"
    assert only(-0.012345, low=-0.0133, high=-0.0113) == "−0.012"
    assert only(0.25, low=-3.0, high=3.5) == "0.2"
    assert only(0.0, low=-3.0, high=3.5) == "0"
    assert only(502, "rank_numerical", low=480, high=512) == "502"
    assert only(3.97, low=2.0, high=3.97) == "3.97", "4 is not between its bounds"
    assert only(1e300, low=-1.7e308, high=1.7e308) == "1e+300"
    assert only(5e-324, low=0.0, high=5e-324) == "4.94066e-324".replace("-", "−")
    assert only(-2981.229079, "logdet", low=-2981.229079 - 5e-12, high=-2981.229079 + 5e-12) == "−2981.229079"
    assert only(-2981.229079, "logdet", low=-2981.24, high=-2981.21) == "−2981.23"


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9), st.floats(0, 1e9))
def test_what_is_printed_lies_between_the_bounds(value: float, down: float, up: float) -> None:
    low, high = value - down, value + up
    found = supported(value, low, high)
    assert low <= found <= high
    half = (high - low) / 2
    assert abs(found - value) <= half * (1 + 1e-9)
    if half and found != value and abs(value) > half:
        assert abs(found - value) <= 0.5 * 10.0 ** math.floor(math.log10(half)) * (1 + 1e-6)


def test_a_log_of_a_singular_value_is_told_with_the_same_digits() -> None:
    found = table([record("log10_sigma_min", -140.743, low=-140.9, high=-140.6)])
    assert shown.cells(found)[0][2] == "−140.7"
    assert "σ_min = 10^−140.7;" in shown.cells(found)[0][5]


def test_series_are_in_no_table() -> None:
    with_series = table(usual(), series=[Series(0, "singular_values", [1], [123456.75], [0.0])])
    for text in (shown.to_csv(with_series), shown.to_markdown(with_series)):
        assert "123456.75" not in text
