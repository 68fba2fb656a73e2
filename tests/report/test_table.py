"""Tables in the formats of others: every name is inert in each of them, and nothing is lost but what is said to be."""

import csv
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

import rankscope as rs
from rankscope.records import Series, Table
from rankscope.report import table as shown
from rankscope.report.cells import printable
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
                assert all(note in text for note in value)
                assert value or text == ""
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
    assert rows[0] == list(shown.COLUMNS)
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
    r"$\varphi$": "φ",
    r"$\|$": "‖", r"$\Vert$": "‖", r"$\surd$": "√", r"$\pm$": "±", r"$\approx$": "≈", r"$_1$": "₁", r"$_2$": "₂",
    r"$^2$": "²", r"$^{-}$": "⁻", r"$^1$": "¹", r"$\lambda$": "λ", r"$\tfrac12$": "½", r"$\eta$": "η",
    r"$^{\top}$": "ᵀ", "---": "—", "--": "–",
    r"\textless{}": "<", r"\textgreater{}": ">", r"\textbar{}": "|", r"$<$": "<", r"$>$": ">", r"$|$": "|",
    r"\textquotedbl{}": '"', r"\textquotedblright{}": '"', r"''": '"',
}  # fmt: skip
TOKEN = re.compile("|".join(sorted((re.escape(each) for each in WRITTEN), key=len, reverse=True)) + r"|[^\\$&%#_{}~^]")


def unlatex(cell: str) -> str:
    """What a cell prints; it fails for anything that LaTeX would take as a command."""
    assert TOKEN.sub("", cell) == "", f"{cell!r} is not inert"
    return TOKEN.sub(lambda found: WRITTEN.get(found[0], found[0]), cell)


def latex(text: str) -> list[list[str]]:
    """The cells of a tabular."""
    lines = text.splitlines()
    assert lines[0] == r"\begin{tabular}{llrllp{0.4\textwidth}}"
    assert (lines[1], lines[3], lines[-2], lines[-1]) == (r"\hline", r"\hline", r"\hline", r"\end{tabular}")
    rows = [lines[2], *lines[4:-2]]
    assert all(row.endswith(r" \\") for row in rows)
    return [[unlatex(cell) for cell in re.split(r"(?<!\\) & ", row.removesuffix(r" \\"))] for row in rows]


@pytest.mark.parametrize("name", HOSTILE)
def test_latex_is_inert_and_prints_what_was_meant(name: str) -> None:
    label = HOSTILE[name]
    text = shown.to_latex(named(label))
    assert text.isascii()
    rows = latex(text)
    assert {len(row) for row in rows} == {6}
    meant = "".join(c if c.isascii() or c in WRITTEN.values() else f"U+{ord(c):04X}" for c in printable(label))
    assert {row[0] for row in rows[1:]} == {meant}


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
    for _, given in matrices():
        for row in shown.cells(rs.analyze(given, measures=["all"]).table):
            signs |= {sign for cell in row for sign in cell if not sign.isascii()}
    assert signs
    assert sorted(signs - set(shown.LATEX)) == []


# ---------------------------------------------------------------------------------------------------------------- HTML


class Page(HTMLParser):
    """The tags of a fragment, checked to nest, and the text of each cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.cells: list[list[str]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1][-1] += data


def html_of(found: Table) -> Page:
    page = Page(shown.to_html(found))
    assert page.tags <= {"p", "strong", "table", "tr", "th", "td"}
    assert page.attributes <= {"colspan", "style"}
    return page


def html_rows(found: Table) -> list[list[str]]:
    """Measure, value, guarantee, subject and reason of each record; a sign has its own row, a label may precede."""
    rows = [row[-5:] for row in html_of(found).cells if len(row) > 1 and row[0] != "matrix"]
    return [row for row in rows if row[0] != "sign"]


@pytest.mark.parametrize("several", [False, True], ids=["one matrix", "two matrices"])
@pytest.mark.parametrize("name", HOSTILE)
def test_html_is_well_formed_and_shows_names_as_text(name: str, several: bool) -> None:
    label = HOSTILE[name]
    found = named(label)
    if several:
        found = table(usual(0) + usual(1), [matrix(0, label), matrix(1, "other")])
    page = html_of(found)
    assert printable(label).strip() in page.words
    assert page.words.replace("\n", "") == printable(page.words.replace("\n", "")), "control characters reach the page"


@pytest.mark.parametrize("name", TABLES)
def test_html_shows_each_record_with_its_value_and_guarantee(name: str) -> None:
    found = TABLES[name]
    rows = html_rows(found)
    assert [row[0] for row in rows] == [each.measure for each in found.records]
    assert [row[2] for row in rows] == [each.guarantee for each in found.records]


def test_html_ends_with_the_sentences() -> None:
    page = html_of(named("causal softmax"))
    assert "502" not in page.words
    assert "a numerical rank of 5 says something about the tolerance" in page.words


# ------------------------------------------------------------------------------------------------------------- together


def values_in(format: str, found: Table) -> list[str]:
    if format == "markdown":
        return [row[2] for row in markdown(shown.to_markdown(found))[0][1:]]
    if format == "latex":
        return [row[2] for row in latex(shown.to_latex(found))[1:]]
    return [row[1] for row in html_rows(found)]


@pytest.mark.parametrize("name", TABLES)
def test_all_formats_show_the_same_values(name: str) -> None:
    formats = [values_in(format, TABLES[name]) for format in ("markdown", "latex", "html")]
    assert formats[0] == formats[1] == formats[2]


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


def test_series_are_in_no_table() -> None:
    with_series = table(usual(), series=[Series(0, "singular_values", [1], [123456.75], [0.0])])
    for text in (shown.to_csv(with_series), shown.to_markdown(with_series), shown.to_html(with_series)):
        assert "123456.75" not in text
