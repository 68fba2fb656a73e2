"""The words around a figure: its title, its legend, and numbers as a reader expects them.

What comes from data goes through `inscribe`, which may shorten it; what is ours is kept whole. The legend stands
below the axes, so that it hides nothing whatever the curves are, and the remarks that stand for no mark under it.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation

from rankscope.records import Matrix, Record, Table
from rankscope.report.figure import LONGEST, inscribe, printable, shortened, width_of
from rankscope.report.figures._curve import label_of

T = TypeVar("T")

INK = "#222222"
GREY = "#5f5f5f"
PALE = "#9d9d9d"
SMALL = 8.0
LINE = 12.0  # points from one line of small text to the next
FOOT = 34.0  # points from a panel to the legend below: its ticks and the name of its axis
WIDTH = 400.0  # points that text may take from the left end of the axes: a little less than there are
SUBJECTS = {"scores": "scores", "factors": "factors", "log weights": "log weights", "stored": "stored numbers"}
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Entry(NamedTuple):
    """One line of the legend: `name` comes from data and may be shortened, `lead` and `remark` around it are ours.

    Without a handle it is a remark, which stands for no mark.
    """

    handle: Artist | None
    name: str
    remark: str
    lead: str = ""

    @property
    def is_wide(self) -> bool:
        """Whether it needs more than half of the width of a figure; remarks stand in no column."""
        return self.handle is not None and len(self.lead) + len(self.name) + len(self.remark) > 40


def remark(text: str, name: str = "", lead: str = "") -> Entry:
    """A line below the legend that stands for no mark."""
    return Entry(None, name, text, lead)


def in_words(measure: str) -> str:
    """The name of a measure as it is read."""
    return measure.replace("_", " ")


def write_title(axes: Axes, table: Table, matrices: list[Matrix], what: str = "Singular values") -> None:
    """The label and shape of the matrix; below, what the matrices have in common, and the ranks of an only one."""
    labels = {label_of(matrix) for matrix in matrices}
    share = str(len(matrices)) + (f" of {len(table.matrices)}" if len(matrices) < len(table.matrices) else "")
    several = f"{what} of {share} matrices" if matrices else what
    name = next(iter(labels)) if len(labels) == 1 else several
    count = f" ({share} matrices)" if len(table.matrices) > 1 and len(labels) == 1 else ""
    ranks = three_ranks(table) if len(table.matrices) == 1 else []
    write_heading(axes, name, count + shape_of(matrices), [common_facts(table, matrices), *ranks])


def write_heading(axes: Axes, name: str, more: str, lines: Sequence[str]) -> None:
    """A title above the axes, of which `more` is kept whole, and those lines below it that are not empty."""
    kept = [line for line in lines if line]
    inscribe(axes.set_title("", pad=7 + LINE * len(kept)), name, WIDTH, more)
    for row, line in enumerate(reversed(kept)):
        place = (0, 6 + LINE * row)
        note = axes.annotate("", (0, 1), place, "axes fraction", "offset points", fontsize=SMALL, color=GREY)
        inscribe(note, line, WIDTH)


def shape_of(matrices: Sequence[Matrix]) -> str:
    """The shape that all have, after a comma."""
    shapes = {(matrix.rows, matrix.columns) for matrix in matrices}
    return "".join(f", {rows} × {columns}" for rows, columns in shapes) if len(shapes) == 1 else ""


def common_facts(table: Table, matrices: list[Matrix]) -> str:
    """The features, the scale, the number type and the seeds, as far as the matrices have them in common."""
    return " · ".join(filter(None, (facts_of(matrices), seeds_of(table, matrices))))


def facts_of(matrices: list[Matrix]) -> str:
    """The features, the scale and the number type, where all matrices agree on them."""
    facts = [f"d = {value}" for value in agreed(matrix.d for matrix in matrices)]
    facts += [f"scale {value:g}" for value in agreed(matrix.scale for matrix in matrices)]
    return " · ".join([*facts, *agreed(matrix.dtype for matrix in matrices)])


def agreed(values: Iterable[T | None]) -> list[T]:
    """The one value that all have, if they have one."""
    distinct = set(values)
    return [value for value in distinct if value is not None] if len(distinct) == 1 else []


def seeds_of(table: Table, matrices: list[Matrix]) -> str:
    """`seed 0`, `seeds 0 to 19`, or how many; nothing where none is known."""
    shown = {matrix.id for matrix in matrices}
    seeds = {record.seed for record in table.records if record.matrix in shown and record.seed is not None}
    seeds |= {series.seed for series in table.series if series.matrix in shown and series.seed is not None}
    if len(seeds) < 2:
        return "".join(f"seed {seed}" for seed in seeds)
    first, last = min(seeds), max(seeds)
    return f"seeds {first} to {last}" if last - first == len(seeds) - 1 else f"{len(seeds)} seeds"


def three_ranks(table: Table) -> list[str]:
    """The three ranks of the only matrix, each with its guarantee, as far as they are known, in a line or two.

    A rank that was measured of several subjects is shown of the first, which is then named: that takes a line.
    """
    shown = {"rank_exact": "exact rank", "rank_numerical": "numerical rank", "effective_rank": "effective rank"}
    lines: list[list[str]] = [[], []]
    for measure, name in shown.items():
        records = [record for record in table.records if record.measure == measure]
        known = [text for record in records[:1] if (text := known_of(record))]
        several = len({record.subject for record in records}) > 1
        of = f" of the {SUBJECTS[records[0].subject]}" if several else ""
        lines[0 if several else 1] += [f"{name}{of} {text} ({records[0].guarantee})" for text in known]
    return [" · ".join(line) for line in lines]


def known_of(record: Record) -> str:
    """The value of a rank, or the bounds that are known instead."""
    low, high = record.low, record.high
    if record.value is not None:
        return number(float(record))
    if high is not None:
        return f"{number(low)} to {number(high)}" if low is not None and low > 1 else f"≤ {number(high)}"
    return "" if low is None else f"≥ {number(low)}"


def write_legend(figure: Figure, axes: Axes, entries: Sequence[Entry], *, single_column: bool) -> list[Artist]:
    """The legend below the axes and under it the remarks; a figure with many lines becomes taller.

    Gives back what was written.
    """
    marked = [(entry, entry.handle) for entry in entries if entry.handle is not None]
    several = 1 if single_column else 2
    extra = max(0, lines_of(entries, single_column=single_column) - 2)
    figure.set_figheight(figure.get_figheight() + extra * LINE / 72)
    written: list[Artist] = []
    if marked:
        box = axes.legend(
            [handle for _, handle in marked],
            [""] * len(marked),
            loc="upper left",
            bbox_to_anchor=(0, 0),
            bbox_transform=axes.transAxes + ScaledTranslation(0, -FOOT / 72, figure.dpi_scale_trans),
            ncols=several,
        )
        for text, (entry, _) in zip(box.get_texts(), marked, strict=True):
            inscribe_entry(text, entry, WIDTH / several - 30)
        written.append(box)
    under, gap = (written[0], 4.0) if marked else ("axes fraction", FOOT)
    for row, entry in enumerate(entry for entry in entries if entry.handle is None):
        place = (0, -gap - LINE * row)
        note = axes.annotate("", (0, 0), place, under, "offset points", fontsize=SMALL, va="top", gid="remark")
        inscribe_entry(note, entry, WIDTH)
        written.append(note)
    return written


def lines_of(entries: Sequence[Entry], *, single_column: bool) -> int:
    """How many lines a legend has with the remarks under it, which take one each."""
    marked = sum(entry.handle is not None for entry in entries)
    return -(-marked // (1 if single_column else 2)) + len(entries) - marked


def inscribe_entry(artist: Text, entry: Entry, width: float) -> None:
    """Write an entry, at most `width` points wide; only what comes from data is shortened."""
    inscribe(artist, entry.name, width - width_of(artist, entry.lead), entry.remark)
    artist.set_text(entry.lead + artist.get_text())


def inscribe_folded(artist: Text, content: str, width: float) -> int:
    """Write text that came from data in one line, or in two where it is wider than `width` points; how many they are.

    What is too long even for two loses the middle of the second.
    """
    words = shortened(content, LONGEST).split()
    count = len(words)
    while count > 1 and width_of(artist, printable(" ".join(words[:count]))) > width:
        count -= 1
    lines = []
    for part in (words[:count], words[count:]):
        inscribe(artist, " ".join(part), width)
        lines.append(artist.get_text())
    artist.set_text("\n".join(filter(None, lines)))
    return 2 if lines[1] else 1


def ink_on(colours: ScalarMappable, value: float) -> str:
    """Nearly black or white, whichever is read on the colour of a value."""
    [[red, green, blue, _]] = colours.to_rgba(np.array([value]))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else INK


def number(value: float) -> str:
    """A rank: an integer as it is, one decimal of a large number, four digits of a small one."""
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}" if value >= 100 else f"{value:.4g}"


def span(values: list[float]) -> str:
    """`502`, or `498 to 512`."""
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def signed(value: float) -> str:
    """A number with a true minus sign."""
    return f"{value:.1f}".replace("-", "\N{MINUS SIGN}")


def power(exponent: float) -> str:
    """A power of ten in matplotlib's own mathematics."""
    return f"$10^{{{signed(exponent)}}}$"


def scientific(value: float) -> str:
    """`1.1·10⁻¹³`, as plain text."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(SUPERSCRIPT)}"
