"""Results in a notebook: well-formed, inert, and with the numbers of the records."""

from html.parser import HTMLParser

import pytest

import rankscope as rs
from rankscope.records import Table
from rankscope.report.cells import printable
from rankscope.report.notebook import to_html
from tests.report.canned import HOSTILE, matrix, named, refused, several, table, usual

REAL = rs.analyze(rs.synthetic(n=12, d=3, mask="causal", dtype="bfloat16", scale=20.0), measures=["all"]).table
DEPTH = rs.depth(["bidirectional", "causal"], design=["pure", "skip"], n=8, d=4, layers=3).table


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
    page = Page(to_html(found))
    assert page.tags <= {"p", "strong", "table", "tr", "th", "td", "sup"}
    assert page.attributes <= {"colspan", "style"}
    return page


@pytest.mark.parametrize("several", [False, True], ids=["one matrix", "two matrices"])
@pytest.mark.parametrize("name", HOSTILE)
def test_html_is_well_formed_and_shows_names_as_text(name: str, several: bool) -> None:
    label = HOSTILE[name]
    found = named(label)
    if several:
        found = table(usual(0) + usual(1), [matrix(0, label), matrix(1, "other")])
    page = html_of(found)
    shown = " ".join(page.words.split())
    assert all(word in shown for word in printable(label).split())
    assert page.words.replace("\n", "") == printable(page.words.replace("\n", "")), "control characters reach the page"


@pytest.mark.parametrize("name", ["usual", "real"])
def test_one_matrix_has_a_row_for_each_record_with_its_guarantee(name: str) -> None:
    found = {"usual": named("causal softmax"), "real": REAL}[name]
    header, *rows = [row for row in html_of(found).cells if len(row) > 1]
    assert header[0] == "measure"
    rows = [row for row in rows if row[0] != "sign"]
    assert [row[0] for row in rows] == [each.measure for each in found.records]
    assert [row[header.index("guarantee")] for row in rows] == [each.guarantee for each in found.records]


def test_several_matrices_stand_side_by_side_and_many_below_each_other() -> None:
    header, *rows = [row for row in html_of(several(3)).cells if len(row) > 1]
    assert header == ["measure", "head 0", "head 1", "head 2"]
    assert [row[1] for row in rows if row[0] == "rank_numerical"] == ["5"]
    assert [row[1] for row in rows if row[0] == "rank_exact"] == ["8"]
    assert "p proved" in html_of(several(3)).words
    header, *rows = [row for row in html_of(several(9)).cells if len(row) > 1]
    assert header[0] == "matrix"
    assert len(rows) == 9


def test_a_refused_matrix_has_its_code_and_reason() -> None:
    bad, records = refused(1, "bad")
    page = html_of(table([*usual(), *records], [matrix(), bad]))
    assert "RS110" in {row[2] for row in page.cells if len(row) > 2}
    assert "NaN in bad" in page.words


def test_a_study_of_depth_says_what_its_columns_mean() -> None:
    page = html_of(DEPTH)
    assert "r = ‖X − 1xᵀ‖_F / ‖X‖_F, x the mean of the tokens" in page.words


def test_html_says_what_the_numbers_mean() -> None:
    page = html_of(named("causal softmax"))
    assert "502" not in page.words
    assert "a numerical rank of 5 says something about the tolerance" in page.words
