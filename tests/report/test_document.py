"""Documents: all that the content says is in them, nothing in them loads or runs what came from data, bytes repeat."""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typst

import rankscope as rs
from rankscope.records import Table
from rankscope.report import document
from rankscope.report.content import content_of, gallery_of
from rankscope.report.document import BREAK, breakable, own_names, powers, prepared, to_html, to_pdf, to_png
from rankscope.report.figure import FALLBACK_FONTS
from tests.report.canned import HOSTILE, named, refused, several, table, usual
from tests.report.synthetic import TABLES

REAL = rs.analyze(rs.synthetic(n=24, d=6, mask="causal"), pictures=True).table
KINDS: dict[str, Callable[[], Table]] = {
    "one": lambda: REAL,
    "few": lambda: rs.compare(["bidirectional", "causal"], n=16, d=4, null=2).table,
    "many": lambda: rs.analyze(rs.synthetic(n=8, d=2, heads=6, layers=5), null=2).table,
    "seeds": lambda: rs.compare("causal", n=12, d=4, seed=[0, 1, 2]).table,
    "seeds of two": lambda: rs.compare(["bidirectional", "causal"], n=12, d=4, seed=[0, 1, 2]).table,
    "depth": lambda: rs.depth(n=12, d=4, layers=3, seeds=[0, 1]).table,
    "networks": lambda: rs.depth(["bidirectional", "causal"], design=["pure", "skip"], n=12, d=4, layers=3).table,
    "refused": lambda: table([*usual(), *refused(1, "bad")[1]], [*named("good").matrices, refused(1, "bad")[0]]),
    "empty": lambda: Table({}, [], [], []),
}


class Page(HTMLParser):
    """The tags of a page with their attributes, the cells of its tables, and what its scripts and styles hold."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(content.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif "svg" not in self.open and "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def page_of(found: Table) -> Page:
    return Page(to_html(content_of([found], text="path")))


def pdf_of(found: Table) -> bytes:
    return to_pdf(content_of([found], text="none"))[0]


def standards(content: bytes) -> set[str]:
    names = (b"pdfaid:part>2", b"pdfaid:conformance>A", b"pdfuaid:part>1")
    return {name.decode() for name in names if name in content}


# -------------------------------------------------------------------------------------------------------------- HTML


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_loads_nothing_and_runs_its_own_script_alone(kind: str) -> None:
    page = page_of(KINDS[kind]())
    names = Counter(tag for tag, _ in page.tags)
    assert not set(names) & {"img", "link", "iframe", "object", "embed", "foreignobject", "form", "base"}
    assert names["script"] == names["h1"] == names["main"] == 1
    [policy] = [each["content"] for _, each in page.tags if each.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256("".join(page.scripts).encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        links = [attributes.get(name) or "#" for name in ("href", "xlink:href", "src")]
        assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)


@pytest.mark.parametrize("kind", KINDS)
def test_the_names_of_a_page_are_its_own_and_every_reference_has_one(kind: str) -> None:
    content = to_html(content_of([KINDS[kind]()], text="path")).decode()
    names = Counter(re.findall(r'\bid="([^"]+)"', content))
    assert [name for name, count in names.items() if count > 1] == []
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', content)) <= set(names)


def test_names_are_made_its_own_and_stand_once() -> None:
    made = own_names('<a id="x" href="#x" style="url(#x)" class="id"><b id="x">', "p-")
    assert made == '<a id="p-x" href="#p-x" style="url(#p-x)" class="id"><b>'


@pytest.mark.parametrize("name", HOSTILE)
def test_what_came_from_data_is_text_in_html(name: str) -> None:
    page = page_of(named(HOSTILE[name]))
    usual_tags = Counter(tag for tag, _ in page_of(named("plain")).tags)
    # Labels decide how a figure is lettered, and nothing else: outside of drawings the tags are the same.
    drawn = {"g", "use", "path", "defs", "clippath", "rect", "metadata", "svg", "style"}
    assert {tag: n for tag, n in Counter(tag for tag, _ in page.tags).items() if tag not in drawn} == {
        tag: n for tag, n in usual_tags.items() if tag not in drawn
    }
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2029]", page.text)
    assert "49" not in page.text.split("What it shows")[0]


@pytest.mark.parametrize("kind", ["one", "few", "many", "seeds", "depth", "networks"])
def test_every_figure_has_a_caption_and_words_for_those_who_do_not_see(kind: str) -> None:
    content = content_of([KINDS[kind]()], text="path")
    page = Page(to_html(content))
    pictures = [picture for part in content.parts for picture in part.pictures]
    spoken = [attributes["aria-label"] for tag, attributes in page.tags if attributes.get("role") == "img"]
    assert len(spoken) == len(pictures) == sum(tag == "svg" for tag, _ in page.tags)
    for picture, words in zip(pictures, spoken, strict=True):
        assert (words or "").startswith(picture.title[:40])
        assert picture.title in page.text
        assert picture.paragraphs


def test_the_numbers_of_a_page_are_those_of_the_records() -> None:
    page = page_of(REAL)
    shown = {attributes["data-value"] for tag, attributes in page.tags if tag == "td" and "data-value" in attributes}
    assert {str(record.value) for record in REAL if record.value is not None} <= shown


def test_the_script_sorts_numbers_and_leaves_groups() -> None:
    script = (document.TEMPLATES / "sort.js").read_text()
    assert "dataset.value" in script
    assert "innerHTML" not in script
    assert "eval" not in script


def test_powers_of_ten_are_typeset_and_nothing_else_is() -> None:
    assert powers("10^−182.1 and 10^5, 3^2") == "10<sup>−182.1</sup> and 10<sup>5</sup>, 3^2"
    assert powers("<b>10^2</b>") == "&lt;b&gt;10<sup>2</sup>&lt;/b&gt;"
    assert powers("10^(−13400 ± 2800), 10^−2.677e+04") == "10<sup>−13400 ± 2800</sup>, 10<sup>−2.677e+04</sup>"
    assert powers("10^() 10^(a) 10^(1)") == "10^() 10^(a) 10^(1)", "not ours"
    assert powers("ends 10^−3. Next") == "ends 10<sup>−3</sup>. Next"


# --------------------------------------------------------------------------------------------------------------- PDF


@pytest.mark.parametrize("kind", KINDS)
def test_a_pdf_is_archivable_and_accessible_and_repeats(kind: str) -> None:
    content = content_of([KINDS[kind]()], text="none")
    made, notes = to_pdf(content)
    assert notes == []
    assert made.startswith(b"%PDF-")
    assert standards(made) == {"pdfaid:part>2", "pdfaid:conformance>A", "pdfuaid:part>1"}
    assert to_pdf(content_of([KINDS[kind]()], text="none"))[0] == made
    assert b"/Type3" not in made


@pytest.mark.parametrize("name", HOSTILE)
def test_what_came_from_data_is_text_in_a_pdf(name: str) -> None:
    content = content_of([named(HOSTILE[name])], text="none")
    made, notes = to_pdf(content)
    assert made.startswith(b"%PDF-")
    if set(document.families()) & set(FALLBACK_FONTS) or name != "chinese":
        assert notes == []
        assert standards(made)


def test_a_character_that_no_font_has_makes_a_plain_pdf_and_a_note() -> None:
    made, [note] = to_pdf(content_of([named("\N{CUNEIFORM SIGN A} head")], text="none"))
    assert made.startswith(b"%PDF-")
    assert standards(made) == set()
    assert "\N{CUNEIFORM SIGN A}" in note
    assert "install a font" in note


def test_chinese_is_set_in_a_font_that_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    letters = {ord(letter): f"uni{ord(letter):04X}" for letter in HOSTILE["chinese"]}
    names = [".notdef", *letters.values()]
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder(names)
    made.setupCharacterMap(letters)
    made.setupGlyf(dict.fromkeys(names, pen.glyph()))
    made.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    made.setupHorizontalHeader(ascent=880, descent=-120)
    name = "NotoSansCJKsc-Regular"
    made.setupNameTable({"familyName": FALLBACK_FONTS[0], "styleName": "Regular", "psName": name})
    made.setupOS2()
    made.setupPost()
    made.save(tmp_path / "chinese.ttf")
    for font in Path(document.fonts_of_figures()).glob("DejaVu*.ttf"):
        (tmp_path / font.name).symlink_to(font)
    monkeypatch.setattr(document, "fonts_of_figures", lambda: str(tmp_path))
    monkeypatch.setattr(document, "families", document.families.__wrapped__)
    assert FALLBACK_FONTS[0] in document.families()
    # No figure: matplotlib knows of its own fonts alone, and draws a box.
    content = replace(content_of([named(HOSTILE["chinese"])], text="none"), parts=[])
    made_pdf, notes = to_pdf(content)
    assert notes == []
    assert standards(made_pdf)
    assert name.encode() in made_pdf


def test_another_fault_of_the_template_is_not_taken_for_a_missing_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "prepared", lambda _: ({"main.typ": b"#unknown"}, {}))
    with pytest.raises(typst.TypstError, match="unknown variable"):
        to_pdf(content_of([REAL], text="none"))


def test_a_document_reads_no_file_and_no_network() -> None:
    template = (document.TEMPLATES / "report.typ").read_text()
    assert re.findall(r"(?:json|csv|read|image|include|import)\(?\s*\"([^\"]+)\"", template) == ["data.json", "f"]
    assert "@preview" not in template
    assert template.count("eval(") == 1
    assert "eval(entry.formula" in template


def test_pages_as_pictures_are_those_of_the_pdf() -> None:
    content = content_of([REAL], text="none")
    pages = to_png(content)
    assert all(page.startswith(b"\x89PNG") for page in pages)
    assert len(pages) == len(re.findall(rb"/Type ?/Page\b", to_pdf(content)[0]))
    assert to_png(content) == pages


# ----------------------------------------------------------------------------------------------------------- content


def test_words_are_broken_but_never_changed_and_commands_are_not_broken() -> None:
    long = {"a": ["row_entropy_normalized", "x" * 100, "−2981.229079 ± 5.0e−12"], "commands": ["y" * 100], "n": 1}
    broken = breakable(long)
    assert json.loads(json.dumps(broken, ensure_ascii=False).replace(BREAK, "")) == long
    assert broken["commands"] == long["commands"]
    assert BREAK not in broken["a"][2]
    assert max(map(len, broken["a"][1].split(BREAK))) < 24
    assert broken["a"][0].split(BREAK) == ["row_", "entropy_", "normalized"]


def test_formulas_become_mathml_in_their_order() -> None:
    made = document.formulas((("a", "x^2"), ("b", "sum_i y_i")))
    assert list(made) == ["a", "b"]
    assert "<msup>" in made["a"]
    assert "∑" in made["b"]


def test_what_typst_reads_is_plain_data() -> None:
    files, options = prepared(content_of([named(HOSTILE["latex"])], text="none"))
    assert json.loads(files["data.json"])["title"].startswith("Rank of attention: ")
    assert all(name.endswith((".typ", ".json", ".svg")) for name in files)
    assert all(Path(each).is_dir() for each in options["font_paths"])


def test_a_gallery_shows_a_figure_with_the_command_that_draws_it() -> None:
    example = replace(REAL, command="rankscope analyze --mask causal --n 24 --d 6")
    content = gallery_of([example], "cumulative", text="path")
    page = Page(to_html(content))
    assert "rankscope analyze --mask causal --n 24 --d 6 --figure cumulative -o cumulative.png" in page.text
    assert [part.name for part in content.parts] == ["cumulative"]


def test_several_tables_are_parts_of_one_document() -> None:
    both = content_of([REAL, KINDS["depth"]()], text="path")
    assert [part.name for part in both.parts] == ["Rank of attention", "Rank collapse with depth"]
    page = Page(to_html(both))
    assert all(part.name in page.text for part in both.parts)
    assert standards(to_pdf(content_of([REAL, KINDS["depth"]()], text="none"))[0])


def test_what_was_typed_and_what_was_made_in_python_both_stand_at_the_end() -> None:
    typed = replace(REAL, command="rankscope analyze --mask causal --n 24 --d 6")
    both = Page(to_html(content_of([typed, KINDS["depth"]()], text="path"))).text
    assert "rankscope analyze --mask causal --n 24 --d 6" in both
    assert "Another result was made in Python; this is its study. kind stack · n 12" in both
    alone = page_of(REAL).text
    assert "The result was made in Python; this is its study." in alone
    neither = page_of(replace(REAL, study={})).text
    assert "holds neither the command nor the study" in neither
    for found in (typed, REAL, replace(REAL, study={})):
        assert standards(pdf_of(found))


@pytest.mark.parametrize("name", TABLES)
def test_every_spectrum_makes_a_document(name: str) -> None:
    content = content_of([TABLES[name]()], text="none")
    made, _ = to_pdf(content)
    assert made.startswith(b"%PDF-")


def test_a_hundred_matrices_take_pages_and_not_minutes() -> None:
    content = content_of([several(100)], text="path")
    assert len(content.parts[0].others) >= 1
    assert sum(len(grid.rows) for grid in content.parts[0].others) >= 100
