"""Tables in the formats of others: every name is inert in each of them, and nothing is lost but what is said to be."""

import csv
import io
import math
import re
import shutil
import statistics
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
from rankscope.report import table as shown
from rankscope.report.cells import printable, supported
from rankscope.report.grid import MOST_ROWS
from rankscope.report.grids import main_grid
from rankscope.report.kinds import told_apart
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


def markdown(text: str) -> tuple[list[list[str]], set[str], list[str]]:
    """The cells of the one table that a Markdown reader finds, the kinds of inline markup, and the paragraphs."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    opened = [token.type for token in tokens if token.level == 0 and token.nesting == 1]
    assert opened == ["paragraph_open", "table_open", *["paragraph_open"] * (len(opened) - 2)]
    rows: list[list[str]] = []
    paragraphs: list[str] = []
    kinds: set[str] = set()
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline":
            (paragraphs if token.level == 1 else rows[-1]).append("".join(c.content for c in token.children or []))
            kinds |= {child.type for child in token.children or []}
    return rows, kinds, paragraphs


def plain(text: str) -> str:
    """A cell as a reader of Markdown or HTML shows it, which does not count spaces."""
    return " ".join(text.split())


def beside_others(label: str) -> Table:
    """A matrix of this label in a list of six."""
    labels = [label, *(f"other{i} matrix" for i in range(5))]
    return table([each for i in range(6) for each in usual(i)], [matrix(i, each) for i, each in enumerate(labels)])


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_names_as_they_are_written(name: str) -> None:
    label = HOSTILE[name]
    rows, kinds, paragraphs = markdown(shown.to_markdown(beside_others(label)))
    assert kinds <= {"text", "text_special"}
    assert {len(row) for row in rows} == {7}
    assert plain(rows[1][0]) == plain(printable(label))
    rows, kinds, paragraphs = markdown(shown.to_markdown(named(label)))
    assert kinds <= {"text", "text_special"}
    assert rows[0] == ["measure", "value", "guarantee", "why"]
    assert paragraphs[0].startswith("Table: All measures: ")
    assert plain(printable(label)) in plain(paragraphs[0].replace(" · ", " "))


# --------------------------------------------------------------------------------------------------------------- LaTeX

WRITTEN = {
    r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\dots{}": "…", r"\&": "&",
    r"\%": "%", r"\$": "$", r"\#": "#", r"\_": "_", r"\{": "{", r"\}": "}", r"$-$": "−", r"$\infty$": "∞",
    r"$\times$": "×", r"$\le$": "≤", r"$\ge$": "≥", r"$\sigma$": "σ", r"$\sum$": "Σ", r"$\tau$": "τ", r"$\cdot$": "·",
    r"$\varphi$": "φ", r"$\Vert$": "‖", r"$\surd$": "√", r"$\pm$": "±", r"$\approx$": "≈", r"$_1$": "₁", r"$_2$": "₂",
    r"$_0$": "₀", r"$^2$": "²", r"$^{-}$": "⁻", r"$^1$": "¹", r"$\lambda$": "λ", r"$\frac{1}{2}$": "½", r"$\eta$": "η",
    r"$^{\top}$": "ᵀ", r"\textemdash{}": "—", r"\textendash{}": "–", r"\textless{}": "<", r"\textgreater{}": ">",
    r"\textbar{}": "|", r"\textquotedblright{}": '"', "{[}": "[", "{*}": "*", "{}": "",
    r"\rlap{\textsuperscript{p}}": "ᵖ", r"\rlap{\textsuperscript{e}}": "ᵉ",
}  # fmt: skip
POWER = re.compile(r"\$10\^\{(-?[\d.]+)\}\$")
TOKEN = re.compile("|".join(sorted((re.escape(each) for each in WRITTEN), key=len, reverse=True)) + r"|[^\\$&%#_{}~^]")


def unlatex(cell: str) -> str:
    """What a cell prints; it fails for anything that LaTeX would take as a command."""
    pieces = POWER.split(cell)
    for piece in pieces[::2]:
        assert TOKEN.sub("", piece) == "", f"{cell!r} is not inert"
        assert not re.search(r"--|``|''|,,|[?!]`", piece), f"two signs of {cell!r} make a ligature"
    printed = [TOKEN.sub(lambda found: WRITTEN.get(found[0], found[0]), piece) for piece in pieces]
    return "".join("10^" + each.replace("-", "−") if i % 2 else each for i, each in enumerate(printed))


def comments(text: str) -> list[str]:
    """The comments above a table."""
    return [line.removeprefix("% ") for line in text.splitlines() if line.startswith("%")]


def latex(text: str) -> list[list[str]]:
    """The cells of a tabular or of a longtable."""
    check_balance(text)
    notes = comments(text)
    begin, *lines = text.splitlines()[len(notes) :]
    long = begin.startswith(r"\begin{longtable}")
    more = [r"\endhead", r"\bottomrule", r"\endfoot"] if long else []
    start, end = [r"\toprule", None, r"\midrule", *more], [] if long else [r"\bottomrule"]
    name, needed = ("longtable", ",longtable") if long else ("tabular", "")
    assert notes[0] == rf"needs \usepackage{{booktabs{needed}}}"
    assert lines[-1 - len(end) :] == [*end, rf"\end{{{name}}}"]
    assert [line if wanted else None for line, wanted in zip(lines, start, strict=False)] == start
    rows = [lines[1], *lines[len(start) : -1 - len(end)]]
    assert all(row.endswith(r" \\") and not row.startswith(("[", "*")) for row in rows)
    cells = [[unlatex(cell) for cell in re.split(r"(?<!\\) & ", row.removesuffix(r" \\"))] for row in rows]
    columns = begin.removeprefix(rf"\begin{{{name}}}{{").removesuffix("}").replace(r"p{0.4\textwidth}", "p")
    assert {len(row) for row in cells} == {len(columns)}
    assert re.fullmatch("l{1,2}rlp|l+r*", columns)
    return cells


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
    known = set(WRITTEN.values()) - {""}
    seen = "".join(c if c.isascii() or c in known else f"U+{ord(c):04X}" for c in printable(label))
    assert plain(latex(shown.to_latex(beside_others(label)))[1][0]) == plain(seen)
    text = shown.to_latex(named(label))
    latex(text)
    [caption] = [note for note in comments(text) if note.startswith("caption: ")]
    assert plain(seen) in plain(unlatex(caption).replace(" · ", " "))


@pytest.mark.parametrize("label", ["[2cm] a", "*a", "a--b---c", "``a''", "?`a!`", "a,,b", "[a]*"])
def test_latex_prints_names_that_mean_something_where_they_stand(label: str) -> None:
    assert latex(shown.to_latex(beside_others(label)))[1][0] == label


def test_latex_of_many_rows_runs_over_pages() -> None:
    assert shown.LONGEST_TABULAR >= 40
    fits, runs = (shown.to_latex(several(shown.LONGEST_TABULAR + more)) for more in (0, 1))
    assert (r"\begin{tabular}" in fits, r"\begin{longtable}" in runs) == (True, True)
    assert (len(latex(fits)), len(latex(runs))) == (shown.LONGEST_TABULAR + 1, shown.LONGEST_TABULAR + 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10^−56.81", "$10^{-56.81}$"),
        ("|det| ≈ 10^−1294.7;", r"\textbar{}det\textbar{} $\approx$ $10^{-1294.7}$;"),
        ("10^3", "$10^{3}$"),
        ("10^−1.235e+05", r"$10^{-1.235\cdot 10^{5}}$"),
        ("10^−2e−07", r"$10^{-2\cdot 10^{-7}}$"),
        ("10^x", r"10\textasciicircum{}x"),
        ("2^5", r"2\textasciicircum{}5"),
    ],
)
def test_a_power_of_ten_is_set_as_one(text: str, expected: str) -> None:
    assert shown.in_latex(text) == expected


def test_letters_with_accents_stay_and_others_are_named() -> None:
    text = shown.to_latex(beside_others("café Łódź Ångström Çelik"))
    assert latex(text)[1][0] == "café Łódź Ångström Çelik"
    assert [note for note in comments(text) if "replaced" in note or "fontenc" in note] == []
    assert latex(shown.to_latex(beside_others("cafe\u0301")))[1][0] == "café", "as file names of a Mac have it"
    assert r"needs \usepackage[T1]{fontenc}" in comments(shown.to_latex(beside_others("mąka")))
    text = shown.to_latex(beside_others("注意 ħ"))
    assert latex(text)[1][0] == "U+6CE8U+610F U+0127"
    assert comments(text)[-1] == "replaced: ħ by U+0127, 意 by U+610F, 注 by U+6CE8"
    many = "".join(chr(0x4E00 + i) for i in range(30))
    assert comments(shown.to_latex(beside_others(many)))[-1].endswith("and 11 more")


def test_latex_of_depth_has_a_row_for_each_layer() -> None:
    header, *rows = latex(shown.to_latex(rs.depth(n=6, d=2, layers=3).table))
    assert header[0] == "layer"
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]


ENGINES = ("tectonic", "pdflatex", "xelatex", "lualatex")


def test_latex_compiles(tmp_path: Path) -> None:
    engine = next(filter(None, map(shutil.which, ENGINES)), None)
    if engine is None:
        pytest.skip(f"no TeX was found: none of {', '.join(ENGINES)}")
    parts = [shown.to_latex(named(label)) for label in HOSTILE.values()]
    parts += [shown.to_latex(found) for found in [*TABLES.values(), beside_others("naïve Łódź")]]
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
    assert not re.search(r"U\+[0-9A-F]{4}", str(latex(shown.to_latex(TABLES[name]))))


def test_latex_knows_every_sign_that_a_measure_can_print() -> None:
    """All measures on the matrices of the contract batteries: nothing they say needs the escape of last resort."""
    signs: set[str] = set()
    for _, made in matrices():
        for row in main_grid(rs.analyze(made, measures=["all"]).table).rows:
            signs |= {sign for cell in row for sign in cell.text if not sign.isascii()}
    assert signs
    assert sorted(signs - set(shown.LATEX)) == []


# ------------------------------------------------------------------------------------------------------------- together


def both(found: Table) -> list[list[str]]:
    """The cells that Markdown and LaTeX show, which are the same."""
    rows = markdown(shown.to_markdown(found))[0]
    assert latex(shown.to_latex(found)) == rows
    return rows


def said(found: Table) -> str:
    """What Markdown says around its table, and LaTeX in its comments as well."""
    caption, *below = markdown(shown.to_markdown(found))[2]
    notes = comments(shown.to_latex(found))
    assert unlatex(notes[1]) == caption.replace("Table: ", "caption: ")
    assert [note for note in notes[2:] if not note.startswith("replaced: ")] == below
    return " ".join([caption, *below])


@pytest.mark.parametrize("name", TABLES)
def test_both_formats_show_the_table_that_documents_show(name: str) -> None:
    found = TABLES[name]
    grid = main_grid(told_apart(found))
    words = [[cell.text for cell in row] for row in grid.rows]
    assert [[cell.rstrip("ᵖᵉ") for cell in row] for row in both(found)] == [grid.header, *words]
    assert grid.title in said(found)


def test_labels_tell_matrices_apart() -> None:
    sizes = rs.compare("causal", n=[4, 6], d=2, measures="effective_rank").table
    header, row = both(sizes)
    assert header == ["measure", "n 4", "n 6"]
    values = [float(record) for record in sizes]
    assert [float(text) for text in row[1:]] == pytest.approx(values, rel=1e-4)
    assert "causal softmax" in said(sizes)
    seeds = rs.compare("causal", n=[4, 6], d=2, seed=[0, 1], measures="effective_rank").table
    assert [row[0] for row in both(seeds)[1:]] == ["n 4", "n 6"]


def test_seeds_are_means_with_their_deviations_in_one_row_for_each_kind() -> None:
    found = rs.compare(["causal", "window:2"], n=6, d=2, seed=[0, 1, 2], measures=["hoyer", "effective_rank"]).table
    header, *rows = both(found)
    assert header == ["matrix", "effective", "hoyer"]
    assert [row[0] for row in rows] == ["causal softmax", "window:2 softmax"]
    for label, *cells in rows:
        own = {each.id for each in found.matrices if each.label == label}
        for measure, text in zip(("effective_rank", "hoyer"), cells, strict=True):
            values = [float(r) for r in found if r.measure == measure and r.matrix in own]
            mean, deviation = (float(part) for part in text.split(" ± "))
            assert deviation == pytest.approx(statistics.stdev(values), rel=0.05)
            assert mean == pytest.approx(statistics.mean(values), abs=0.06 * deviation)
    assert "mean ± standard deviation over seeds" in said(found)


WINDOWS = [f"window:{width}" for width in range(1, 7)]


def test_chosen_measures_have_a_column_each_and_of_all_the_main_ones_with_the_others_named() -> None:
    chosen = rs.compare(WINDOWS, n=6, d=2, measures=["gini", "hoyer", "effective_rank"]).table
    assert both(chosen)[0] == ["matrix", "effective", "hoyer", "gini"]
    assert "Left out" not in said(chosen)
    assert "All measures: 6 matrices" in said(chosen)
    every = rs.compare(WINDOWS, n=6, d=2).table
    header, *rows = both(every)
    assert len(rows) == 6
    named = said(every).partition("Left out: ")[2].partition(". ")[0].split(", ")
    measures = {record.measure for record in every}
    assert len(named) == len(measures) - len(set(header) - {"matrix", "sign"})
    assert set(named) < measures
    assert not {"rank_exact", "effective_rank"} & set(named)


def test_the_numbers_of_a_second_subject_are_said_to_be_left_out() -> None:
    found = rs.compare(["causal", *WINDOWS], n=6, d=2, dtype="bfloat16", measures="rank_exact").table
    assert {record.subject for record in found} == {"scores", "stored"}
    assert "Left out: rank_exact [stored]. Bounds, reasons and all other numbers are in .csv and .json." in said(found)


def test_many_matrices_are_listed_and_not_summed_up() -> None:
    found = several(30)
    header, *rows = both(found)
    assert (header[0], len(rows)) == ("matrix", 30)
    assert "median" not in header
    cut = several(MOST_ROWS + 1)
    assert len(both(cut)) == MOST_ROWS + 1
    assert f"The first {MOST_ROWS} of {MOST_ROWS + 1} rows" in said(cut)


def test_marks_stand_on_what_is_proved_and_the_caption_says_what_they_mean() -> None:
    header, *rows = both(several(6))
    marked = {name for name, *cells in zip(header, *rows, strict=True) if all(text.endswith("ᵖ") for text in cells)}
    assert marked == {"exact", "log |det|", "sign"}
    assert sum(text.endswith(("ᵖ", "ᵉ")) for row in rows for text in row) == 18
    assert "p: proved, unmarked: estimated." in said(several(6))
    enclosed = [replace(r, guarantee="enclosed") for r in several(6)]
    assert both(table(enclosed, several(6).matrices))[1][1] == "8ᵉ"
    assert "unmarked" not in said(named("a")), "a column says it"


def test_refusals_and_notes_are_said_once() -> None:
    assert "RS110: stack head 1 was not measured." in said(BAD)
    strict = rs.analyze([rs.synthetic(n=4, d=2, mask="strict", seed=seed) for seed in (0, 1)]).table
    assert said(strict).count("rows that see nothing") == 1


def test_several_networks_say_what_they_leave_out() -> None:
    found = rs.depth(["bidirectional", "causal"], n=6, d=2, layers=2).table
    assert len(both(found)) == 4
    left = said(found).partition("Left out: ")[2].partition(". ")[0].split(", ")
    assert set(left) == {record.measure for record in found} - {"log10_residual"}


def only(value: Any, measure: str = "stable_rank", **fields: Any) -> str:
    *_, row = both(table([record(measure, value, **fields)]))
    return row[1]


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
    [_, row] = both(table([record("log10_sigma_min", -140.743, low=-140.9, high=-140.6)]))
    assert row[1] == "−140.7"
    assert "σ_min = 10^−140.7;" in row[3]


def test_series_are_in_no_table() -> None:
    with_series = table(usual(), series=[Series(0, "singular_values", [1], [123456.75], [0.0])])
    for text in (shown.to_csv(with_series), shown.to_markdown(with_series)):
        assert "123456.75" not in text


def test_a_power_with_a_deviation_is_one_in_latex_and_what_looks_like_it_is_inert() -> None:
    assert shown.in_latex("10^(−13400 ± 2800)") == r"$10^{-13400 \pm 2800}$"
    assert shown.in_latex("10^−2.5e−04") == r"$10^{-2.5\cdot 10^{-4}}$"
    assert "\\input" not in shown.in_latex(r"10^(\input{x})")
