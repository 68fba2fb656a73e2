"""Documents: every line is in them, nothing in them loads or runs, and their bytes repeat."""

import html
import re
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import rankscope as rs
from rankscope.errors import UsageError
from rankscope.records import Matrix, Record, Table
from rankscope.report.document import COLUMNS, CONTINUED, folded, heading, lines_of, to_html, to_pdf
from rankscope.report.figure import columns, style
from rankscope.report.figures import _pages
from rankscope.report.save import to_text
from tests.report.synthetic import HOSTILE, TABLES

TEXT = "\n".join(f"{i:4d} │ {'═' * 20} $x$ <b>&amp; {'ab ' * (i % 40)}" for i in range(80)) + "\n" + "\n".join(HOSTILE)


def page_count(content: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", content))


@pytest.mark.parametrize(("lines", "pages"), [(0, 1), (1, 2), (60, 2), (61, 3), (125, 4)])
def test_pdf_has_as_many_pages_as_the_text_takes(lines: int, pages: int) -> None:
    content = to_pdf(TABLES["nothing"](), "line\n" * lines, "spectrum")
    assert content.startswith(b"%PDF-")
    assert page_count(content) == pages


def test_pdf_repeats_and_holds_no_date() -> None:
    first, second = (to_pdf(TABLES["hostile"](), "\n".join(HOSTILE[:5]), "spectrum") for _ in range(2))
    assert first == second
    assert b"CreationDate" not in first
    assert b"/Type3" not in first


def test_every_line_stands_on_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[Figure] = []
    kept = _pages.text_page

    def seen(rows: list[str], used: int = 0) -> Figure:
        pages.append(kept(rows, used))
        return pages[-1]

    monkeypatch.setattr(_pages, "text_page", seen)
    to_pdf(TABLES["nothing"](), TEXT, "spectrum")
    written = [text for page in pages for text in page.findobj(Text) if "page " not in text.get_text()]
    assert not any(text.get_parse_math() for text in written)
    unfolded = "\n".join(text.get_text() for text in written).replace("\n" + CONTINUED, "")
    assert unfolded.split("\n") == [_pages.drawable(line) for line in lines_of(TEXT)]


def test_a_page_of_text_fits_on_the_paper() -> None:
    with style():
        page = _pages.numbered(_pages.text_page(["█" * COLUMNS] * _pages.ROWS), 2, 2)
        page.draw_without_rendering()
        boxes = [text.get_window_extent() for text in page.findobj(Text)]
    margin = 0.6 * page.dpi
    assert min(box.x0 for box in boxes) > margin
    assert max(box.x1 for box in boxes) < page.bbox.x1 - margin
    rows, footer = boxes[:-1], boxes[-1]
    assert min(box.y0 for box in rows) > footer.y1
    assert footer.y0 > margin / 2


def test_the_explanation_stands_below_the_figure() -> None:
    with style():
        page, _ = _pages.figure_page(TABLES["three"](), "spectrum", "Rank of attention")
        page.draw_without_rendering()
        explanation = [text.get_window_extent() for text in page.texts[1:]]
        (axes,) = page.axes
        box = axes.get_tightbbox()
    assert box is not None
    assert max(extent.y1 for extent in explanation) < box.y0
    assert box.y1 < page.texts[0].get_window_extent().y0
    assert box.x1 < page.bbox.x1


@pytest.mark.parametrize("masks", [["bidirectional", "causal"], ["causal", "prefix:16", "window:3"], ["causal"] * 9])
def test_the_tables_of_a_comparison_are_not_folded(masks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    rows = lines_of(to_text(rs.compare(masks, n=32, d=4).table, "table"))
    assert max(map(len, rows)) <= COLUMNS
    assert [folded(_pages.drawable(row)) for row in rows] == [[_pages.drawable(row)] for row in rows]


@pytest.mark.parametrize("line", ["", "short", "x" * 80, "x" * 81, "注" * 100, "word " * 60, "x\u0302" * 80])
def test_folded_keeps_every_character_within_the_columns(line: str) -> None:
    pieces = folded(line)
    assert all(sum(map(columns, piece)) <= COLUMNS for piece in pieces)
    assert "".join([pieces[0], *(piece.removeprefix(CONTINUED) for piece in pieces[1:])]) == line


class Reader(HTMLParser):
    """Collects tags, attributes and the text of `<pre>`."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside = ""
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data: str) -> None:
        if self.inside == "pre":
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""


@pytest.mark.parametrize("name", ["causal", "hostile", "long_label", "nothing"])
def test_html_loads_and_runs_nothing(name: str) -> None:
    content = to_html(TABLES[name](), TEXT, "spectrum")
    assert content == to_html(TABLES[name](), TEXT, "spectrum")
    reader = Reader()
    reader.feed(content.decode("utf-8"))
    names = [tag for tag, _ in reader.tags]
    assert not {"script", "img", "link", "iframe", "object", "image", "foreignobject", "b"} & set(names)
    assert names.count("svg") == names.count("pre") == names.count("h1") == 1
    for _, attributes in reader.tags:
        assert not any(key.startswith("on") for key in attributes)
        assert all((attributes.get(key) or "#").startswith("#") for key in ("href", "xlink:href", "src"))
    policies = [attributes.get("content") for tag, attributes in reader.tags if tag == "meta"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policies
    assert any(attributes.get("role") == "img" and attributes.get("aria-label") for _, attributes in reader.tags)


def test_html_holds_every_line() -> None:
    reader = Reader()
    content = to_html(TABLES["nothing"](), TEXT, "spectrum").decode()
    reader.feed(content)
    assert reader.text.split("\n") == lines_of(TEXT)
    assert html.escape(lines_of(HOSTILE[4])[0]) in content


@pytest.mark.parametrize(
    ("name", "shown", "left_out"),
    [
        ("causal", ["Shaded band:", "Arrow:", "Dashed line:"], ["Light band:"]),
        ("bidirectional", ["Curve:"], ["Shaded band:", "Arrow:", "Dashed line:", "Grey dots:"]),
        ("nothing", [], ["Curve:", "Shaded band:", "Arrow:"]),
    ],
)
def test_a_document_explains_what_its_figure_has(name: str, shown: list[str], left_out: list[str]) -> None:
    content = to_html(TABLES[name](), "", "spectrum").decode()
    with style():
        page, _ = _pages.figure_page(TABLES[name](), "spectrum", "Rank of attention")
    written = "\n".join(text.get_text() for text in page.texts)
    for said in (content, written):
        assert all(words in said for words in shown)
        assert not any(words in said for words in left_out)


def test_a_result_without_spectra_is_a_document_without_a_figure() -> None:
    table = Table({}, [Matrix(0, "a", 8, 8)], [Record(0, "rank_exact", 8)], [])
    content = to_html(table, "the numbers", "spectrum").decode()
    assert "<p>No figure: a figure of singular values from a result that has none. Measure something" in content
    assert "<pre>the numbers</pre>" in content
    assert "<svg" not in content
    assert page_count(to_pdf(table, "the numbers", "spectrum")) == 2


def test_long_lines_of_html_wrap_where_a_table_fits() -> None:
    content = to_html(TABLES["nothing"](), "", "spectrum").decode()
    assert "@media (min-width: 48rem) { pre { white-space: pre-wrap; overflow-wrap: anywhere; } }" in content
    assert "overflow-x: auto" in content


def test_heading_and_figure_agree_on_the_count() -> None:
    assert heading(TABLES["mixed"]()) == "Rank of attention: 4 matrices"
    with style():
        page, _ = _pages.figure_page(TABLES["mixed"](), "spectrum", "Rank of attention")
    assert "Singular values of 2 of 4 matrices" in page.axes[0].get_title(loc="left")


def test_heading_names_the_only_matrix() -> None:
    assert heading(TABLES["causal"]()) == "Rank of attention: causal"
    assert heading(TABLES["three"]()) == "Rank of attention: 3 matrices"
    assert len(heading(TABLES["long_label"]())) < 250


def test_an_unknown_figure_is_an_error() -> None:
    for write in (to_pdf, to_html):
        with pytest.raises(UsageError, match="RS001"):
            write(TABLES["nothing"](), "", "spectra")
