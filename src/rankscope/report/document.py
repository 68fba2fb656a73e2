"""A result as one file for a reader: PDF and pages as PNG, typeset by typst; HTML, made by jinja2.

All are made of the same content, hold the same bytes whenever they are made of the same result, load nothing and trust
no label: templates are files of this package, and what came from data enters them as data alone.
"""

import base64
import hashlib
import json
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rankscope import __version__
from rankscope.report.content import Content, cleaned
from rankscope.report.figure import FALLBACK_FONTS
from rankscope.report.notebook import raised

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATES: Final = Path(__file__).with_name("templates")
STANDARDS: Final = ["a-2a", "ua-1"]
"""PDF/A-2a for archives and PDF/UA-1 for readers who do not see."""

PIXELS: Final = 144
"""Pixels for each inch of a page as PNG."""

WHOLE: Final = ("formula", "spoken", "alternative", "command", "commands", "study")
"""Texts whose words are never broken: a command must work when it is copied."""

BREAK: Final = "\N{ZERO WIDTH SPACE}"
UNBROKEN: Final = 16
"""Letters of a word after which a line of a PDF may break."""


def to_pdf(content: Content) -> tuple[bytes, list[str]]:
    """A document as PDF, and what its maker should know, such as characters that no font has."""
    from typst import TypstError

    files, options = prepared(content)
    try:
        return compiled(files, pdf_standards=STANDARDS, **options), []
    except TypstError as refusal:
        # What no font has, and letters that a font joins into one, cannot stand in PDF/A.
        missing = re.search(r"the text (.+) could not be displayed", str(refusal))
        if missing is None and "missing codepoints" not in str(refusal):
            raise
        reason = "a label has letters that it cannot hold"
        if missing is not None:
            letters = missing[1].strip("`")
            remedy = f"install a font that has it, such as {FALLBACK_FONTS[0]}"
            reason = f"no font here has {letters.partition('` with')[0]}, and a box stands in its place; {remedy}"
        return compiled(files, **options), [f"the PDF is a plain one instead of PDF/A: {reason}"]


def to_png(content: Content) -> list[bytes]:
    """The pages of the same document as pictures."""
    files, options = prepared(content)
    pages = compiled(files, format="png", ppi=PIXELS, **options)
    return pages if isinstance(pages, list) else [pages]


def to_html(content: Content) -> bytes:
    """A document as one HTML file that loads nothing."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    room = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    room.filters["powers"] = powers
    script = (TEMPLATES / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = room.get_template("report.html").render(
        **data_of(content),
        drawings={name: own_names(svg, f"{name}-") for name, svg in drawings(content).items()},
        formulas=formulas(tuple((name, entry.formula) for name, entry in content.glossary.items() if entry.formula)),
        script=script,
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    )
    return page.encode()


def powers(text: str) -> "Markup":
    """Text for HTML with its powers of ten as such."""
    from markupsafe import Markup, escape

    return Markup(raised(str(escape(text))))


def compiled(files: dict[str, bytes], **options: Any) -> Any:
    """What typst makes of files that are in memory alone, which its annotations do not know of."""
    import typst

    run: Any = typst.compile
    return run(files, **options)


def drawings(content: Content) -> dict[str, str]:
    """The figures of a document as SVG, by names of their own."""
    every = [(i, j, each) for i, part in enumerate(content.parts) for j, each in enumerate(part.pictures)]
    return {f"f{i}-{j}": picture.svg for i, j, picture in every}


def data_of(content: Content) -> dict[str, Any]:
    """A document as plain data with clean text; its drawings, which are no text, stand apart."""
    data = asdict(content)
    data["glossary"] = {name: entry._asdict() for name, entry in content.glossary.items()}
    for part in data["parts"]:
        for picture in part["pictures"]:
            del picture["svg"]
    found: dict[str, Any] = cleaned({**data, "version": __version__, "made": made_by()})
    return found


@cache
def made_by() -> str:
    """What a document is made with: another version may make other bytes."""
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("matplotlib", "typst", "jinja2"))


def prepared(content: Content) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files that typst reads, of which none is on the disk, and its options."""
    data = breakable({**data_of(content), "fonts": families()})
    files = {
        "main.typ": (TEMPLATES / "report.typ").read_bytes(),
        "data.json": json.dumps(data).encode(),
        **{f"{name}.svg": svg.encode() for name, svg in drawings(content).items()},
    }
    return files, {"font_paths": [fonts_of_figures()], "timestamp": 0}


def own_names(svg: str, prefix: str) -> str:
    """A drawing whose names differ from each other and from those of the other drawings of a page."""
    seen: set[str] = set()

    def once(found: re.Match[str]) -> str:
        if found[1] in seen:
            return ""
        seen.add(found[1])
        return f' id="{prefix}{found[1]}"'

    return re.sub(r'(href="#|url\(#)', rf"\1{prefix}", re.sub(r'\sid="([^"]*)"', once, svg))


@cache
def formulas(sources: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Formulas as MathML, which browsers typeset themselves, by the name of their measure."""
    lines = "\n".join(f"$ {formula} $" for _, formula in sources)
    page = compiled({"main.typ": lines.encode()}, format="html", ignore_system_fonts=True).decode()
    found = re.findall(r"<math.*?</math>", page, flags=re.DOTALL)
    return {name: math for (name, _), math in zip(sources, found, strict=True)}


def breakable(value: Any) -> Any:
    """Plain data whose long words may be broken at the ends of lines, first after their underscores and points."""
    if isinstance(value, dict):
        return {name: each if name in WHOLE else breakable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [breakable(each) for each in value]
    if not isinstance(value, str):
        return value
    parted = re.sub(r"(?<=[^\W\d][_./])(?=\w)", BREAK, value)
    return re.sub(rf"[^\s{BREAK}]{{{UNBROKEN}}}(?=[^\s{BREAK}]{{4}})", rf"\g<0>{BREAK}", parted)


@cache
def families() -> list[str]:
    """The fonts for letters that the first ones lack: those that hold most, then all others of this machine."""
    import typst

    installed = typst.Fonts(font_paths=[fonts_of_figures()]).families()
    first = [name for name in ("DejaVu Sans", *FALLBACK_FONTS) if name in installed]
    # Last Resort has a sign for every letter, and none that can be read.
    return list(dict.fromkeys([*first, *(name for name in installed if not name.startswith("Last"))]))


@cache
def fonts_of_figures() -> str:
    """The folder of the fonts that matplotlib brings, in which figures are lettered."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf")
