"""Style, saving and the catalogue of figures.

A figure reads a `Table` and nothing else, so a result that was saved last year still plots. Each file of the folder
`figures` is one figure: its name is the name of the figure, the first line of its docstring is the help, the rest
tells a reader how to read it. It has a function `draw(figure, table)`, which may take a value, as in
`heads:stable_rank`; a function `suits(table)`, which names the figures that a report on this table shows; and a
`PLACE` among the others. matplotlib costs a second to import, so it is imported by the functions that draw, and the
catalogue is read from the source text. `Figure` objects are made directly, without pyplot and its global state.

Labels come from files and may hold anything: `$` that is no formula, control characters, lone surrogates, scripts
without a glyph, a megabyte of text. They reach a figure through `inscribe` alone.
"""

import ast
import importlib
import inspect
import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal

from rankscope.errors import error
from rankscope.records import Table
from rankscope.registry import nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

FOLDER: Final = Path(__file__).with_name("figures")
STYLE: Final = Path(__file__).with_name("rankscope.mplstyle")

# Nothing that depends on the day, the machine or the version of matplotlib: the same table gives the same bytes.
METADATA: Final[dict[str, dict[str, Any]]] = {
    "png": {"Software": None},
    "svg": {"Creator": None, "Date": None, "Format": None, "Type": None},
    "pdf": {"Creator": "rankscope", "Producer": None, "CreationDate": None},
}

# Fonts with Chinese, Japanese and Korean, most complete first; those that are installed back up DejaVu Sans.
FALLBACK_FONTS: Final = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
)
MISSING_GLYPH: Final = "\N{WHITE SQUARE}"
LONGEST: Final = 400


def names() -> list[str]:
    """The names of all figures, in alphabetical order.

    >>> "spectrum" in names()
    True
    """
    return sorted(path.stem.replace("_", "-") for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def path_of(name: str) -> Path:
    """The file of the figure `name`, which may be followed by a value; raises RS001 with the nearest name."""
    stem = name.partition(":")[0]
    if stem not in names():
        raise error("RS001", f"there is no figure {stem!r}", nearest(stem, names()))
    return FOLDER / f"{stem.replace('-', '_')}.py"


def docstring(name: str) -> str:
    """The module docstring of a figure, read without importing it."""
    return ast.get_docstring(ast.parse(path_of(name).read_text(encoding="utf-8"))) or ""


def help_of(name: str) -> str:
    """What the figure `name` shows, in one line."""
    return docstring(name).partition("\n")[0]


def reading_of(name: str, figure: "Figure | None" = None) -> str:
    """How to read the figure `name`: the rest of its docstring, one line per paragraph.

    A paragraph that begins with the name of a mark, as in `Dashed line: ...`, is left out when `figure` is given and
    no artist in it has the gid `dashed-line`.
    """
    paragraphs = [" ".join(paragraph.split()) for paragraph in docstring(name).split("\n\n")[1:]]
    marks = None if figure is None else {artist.get_gid() for artist in figure.findobj()}
    return "\n".join(each for each in paragraphs if marks is None or (mark_of(each) or None) in marks | {None})


def mark_of(paragraph: str) -> str:
    """The gid of the mark that a paragraph explains; empty for one that speaks of the whole figure."""
    found = re.match(r"([A-Z][a-z]+(?: [a-z]+)?): ", paragraph)
    return found[1].lower().replace(" ", "-") if found else ""


def draw(name: str, table: Table) -> "Figure":
    """The figure `name` of `table`, in the paper style.

    The layout is computed once, here: it would move a little each time that the figure is saved.
    """
    paint = painter(name)
    with style():
        figure = shown_figure()
        paint(figure, table)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    return figure


def shown_figure() -> "Figure":
    """An empty figure that a notebook shows as a picture, whether or not pyplot was ever imported there."""
    from matplotlib.figure import Figure

    class Shown(Figure):
        def _repr_png_(self) -> bytes:
            return to_bytes(self, "png")

    return Shown()


def suited(table: Table) -> list[str]:
    """The figures that a report on `table` shows, in the order in which they are read.

    A figure is judged by the kind of the result: one that lacks the series it would draw is named all the same, so
    that its reader learns what was left out.
    """
    modules = sorted((module_of(name) for name in names()), key=lambda each: int(each.PLACE))
    return [name for module in modules for name in module.suits(table)]


def painter(name: str) -> "Callable[[Figure, Table], None]":
    """The function that draws the figure `name`, with its value if it has one, into an empty `Figure`.

    Raises:
        UsageError: RS001, there is no such figure; RS002, it takes no value.
    """
    stem, colon, value = name.partition(":")
    paint: Callable[..., None] = module_of(stem).draw
    if not colon:
        return paint
    if len(inspect.signature(paint).parameters) < 3:
        raise error("RS002", f"the figure {name!r}", f"write {stem}: it takes no value")
    return lambda figure, table: paint(figure, table, value)


def module_of(name: str) -> ModuleType:
    """The module of a figure."""
    return importlib.import_module(f"rankscope.report.figures.{path_of(name).stem}")


def to_bytes(figure: "Figure", suffix: str, *, text: Literal["path", "none"] = "path") -> bytes:
    """The figure as a file of the type `suffix` (png, svg or pdf), the same bytes every time.

    The letters of an SVG are outlines, so that it needs no font, or text ("none"), for a program that has our fonts.
    """
    kind = suffix.removeprefix(".").lower()
    if kind not in METADATA:
        raise error("RS002", f"a figure as {suffix!r}", nearest(kind, list(METADATA)))
    import matplotlib

    buffer = BytesIO()
    with style():
        matplotlib.rcParams["svg.fonttype"] = text
        figure.savefig(buffer, format=kind, metadata=METADATA[kind])
    return buffer.getvalue()


@contextmanager
def style() -> Iterator[None]:
    """The paper style, whatever the user's own matplotlib settings are (TeX is never run)."""
    import matplotlib
    from matplotlib.style import context

    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)  # a fallback font without a bold face is not the reader's concern
    try:
        with context(STYLE, after_reset=True):
            matplotlib.rcParams["font.family"] = fonts("DejaVu Sans")
            yield
    finally:
        log.setLevel(level)


@cache
def fonts(family: str) -> list[str]:
    """The font `family` and the first of the fallback fonts that is installed."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return [family, *[name for name in FALLBACK_FONTS if name in installed][:1]]


@cache
def glyphs(font: str) -> frozenset[int]:
    """The characters that a font can draw."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(font)).get_charmap())


def visible(text: str) -> str:
    """`text` without what has no place on paper: control and direction characters, surrogates, stacks of accents."""
    kept: list[str] = []
    stacked = 0
    for character in unicodedata.normalize("NFC", text):
        category = unicodedata.category(character)
        stacked = stacked + 1 if category in ("Mn", "Me") else 0
        if category in ("Cc", "Zl", "Zp", "Zs"):
            kept.append(" ")
        elif category not in ("Cf", "Cs", "Cn", "Me") and stacked < 2:
            kept.append(character)
    return "".join(kept)


def columns(character: str) -> int:
    """How many columns of a terminal the character takes: none for an accent."""
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def printable(text: str, family: str = "DejaVu Sans") -> str:
    """`text` with a box, as wide as the character, for each one that no font can draw.

    An accent is drawn in the font of its letter: one that this font does not have is left out.
    """
    kept: list[str] = []
    usable: set[str] = set()
    for character in visible(text):
        holding = {font for font in fonts(family) if ord(character) in glyphs(font)}
        accent = unicodedata.category(character).startswith("M")
        usable = usable & holding if accent else holding
        kept.append(character if usable else "" if accent else MISSING_GLYPH.ljust(columns(character)))
    return "".join(kept)


def lacking(tables: Iterable[Table]) -> list[str]:
    """A note on letters of labels that no font here can draw, with the remedy; nothing where there are none."""
    letters = {letter for table in tables for matrix in table.matrices for letter in visible(matrix.label)}
    found = "".join(sorted(letter for letter in letters if printable(letter) != letter and printable(letter).strip()))
    if not found:
        return []
    remedy = f"install a font that has them, such as {FALLBACK_FONTS[0]}"
    return [f"no font here has {shortened(found, 20)}, and boxes stand in figures in their place; {remedy}"]


def inscribe(artist: "Text", content: str, width: float, suffix: str = "") -> None:
    """Write text that came from data: printable, never read as a formula, at most `width` points wide.

    What is too long loses its middle; `suffix` is kept whole.
    """
    text = " ".join(printable(shortened(content, LONGEST)).split())
    keep = len(text)
    while keep > 1 and width_of(artist, shortened(text, keep) + suffix) > width:
        keep -= max(1, keep // 16)
    artist.set_parse_math(False)
    artist.set_text(shortened(text, keep) + suffix)


def shortened(text: str, length: int) -> str:
    """`text` in at most `length` characters: its beginning and its end, which tell labels apart."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return text[: length - 1 - tail].rstrip() + "…" + text[len(text) - tail :].lstrip()


def width_of(artist: "Text", text: str) -> float:
    """The width of `text` in points, in the font of the artist."""
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, artist.get_fontproperties(), ismath=False)
    return float(width)
