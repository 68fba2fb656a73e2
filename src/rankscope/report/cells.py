"""What one record looks like to people: its value, or what is known instead of it, its mark, and its reason."""

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

from rankscope.records import Matrix, Number, Record, Table

POWER: Final = re.compile(r"\b10\^(−?\d+(?:\.\d+)?(?:e[+−]?\d+)?|\(−?\d[\d.e+−]* ± \d[\d.e+−]*\))")
"""A power of ten as our own words have it, 10^−3 or 10^(−13400 ± 2800), with its exponent."""

MARKS: Final = {"proved": "p", "enclosed": "e", "estimated": " "}


DIGITS: Final = 17
"""The digits that tell one float64 from another."""


def columns_of(text: str) -> int:
    """The columns that a terminal needs for a text: letters of East Asia take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shortened(text: str, room: int) -> str:
    """Text cut to `room` columns in its middle, because labels differ at their ends."""
    if columns_of(text) <= room:
        return text
    head, tail = text[: len(text) // 2], text[len(text) // 2 :]
    while columns_of(head) + columns_of(tail) > room - 1:
        head, tail = (head[:-1], tail) if columns_of(head) > columns_of(tail) else (head, tail[1:])
    return f"{head}…{tail}"


def printable(text: str) -> str:
    """Text from a file without control characters."""
    return "".join(c if c.isprintable() else "�" for c in text)


def folded(text: str, width: int, between: str = " ") -> list[str]:
    """Text in lines of at most `width` columns of a terminal, between words where that is possible."""
    lines: list[str] = []
    for word in filter(None, text.split(between)):
        if lines and columns_of(lines[-1]) + columns_of(between + word) <= width:
            lines[-1] += between + word
            continue
        lines.append("")
        for character in word:
            if columns_of(lines[-1]) + columns_of(character) > width:
                lines.append("")
            lines[-1] += character
    return lines


def parted(labels: list[str]) -> tuple[str, list[str]]:
    """The first words that all labels share, and what is left of each, which is never nothing and no bare number."""
    words = [label.split() for label in labels]
    count = 0
    while all(len(each) > count + 1 and each[count] == words[0][count] for each in words):
        count += 1
    count -= bool(count) and all(each[count].replace(".", "").isdigit() for each in words)
    return " ".join(words[0][:count]), [" ".join(each[count:]) for each in words]


def counted(number: int, noun: str) -> str:
    """A number with its noun in the right form.

    >>> counted(1, "matrix"), counted(2, "matrix"), counted(0, "head")
    ('1 matrix', '2 matrices', '0 heads')
    """
    if number == 1:
        return f"{number} {noun}"
    return f"{number} matrices" if noun == "matrix" else f"{number} {noun}s"


def enumerated(texts: Sequence[str], most: int) -> str:
    """At most so many texts; of more the first, and how many there are beside them."""
    if len(texts) <= most:
        return ", ".join(texts)
    return f"{', '.join(texts[: most - 1])} and {len(texts) - most + 1} more"


def number(value: float | int, digits: int = 6) -> str:
    """A number with `digits` significant digits and a true minus sign."""
    text = f"{value}" if isinstance(value, int) and abs(value) < 10**9 else f"{value:.{digits}g}"
    return text.replace("-", "−")


def short(value: float) -> str:
    """Two digits, with the exponent where it helps."""
    return f"{value:.1e}".replace("-", "−") if value and not 1e-2 < abs(value) < 1e4 else number(rounded(value, 2))


def rounded(value: float, digits: int) -> float:
    """A number of so many significant digits."""
    return float(f"{value:.{digits - 1}e}")


def with_deviation(mean: float, deviation: float | None) -> tuple[str, str]:
    """A mean to the digits of its standard deviation, two to six, and the deviation: nothing where there is none.

    >>> with_deviation(-13387.2, 2800.0), with_deviation(12.499, 0.31), with_deviation(2.5, None)
    (('−13400', '2800'), ('12.50', '0.31'), ('2.5', ''))
    """
    if not deviation:
        return number(mean, 5), ""
    first = decade(abs(mean) or deviation)
    digits = min(max(2 + first - decade(deviation), 2), 6)
    return fixed(mean, digits, first), fixed(deviation, 2, decade(deviation))


def fixed(value: float, digits: int, first: int) -> str:
    """A number of so many digits from the power of ten of its first, zeros at its end with them."""
    places = digits - 1 - first
    return number(rounded(value, digits)) if not 0 <= places <= 6 else f"{value:.{places}f}".replace("-", "−")


def supported(value: float | int, low: Number, high: Number) -> float | int:
    """A value, rounded to the place of the first digit of half the width between its bounds; a count as it is.

    Its own first digit stays, and so does a place that is needed for it to lie between them.

    >>> supported(218.5964, 215.5, 221.5), supported(218.5964, 198.0, 241.0), supported(0.25, -3.0, 3.5)
    (219.0, 220.0, 0.2)
    """
    if low is None or high is None or not value or isinstance(value, int):
        return value
    half = high / 2 - low / 2
    if half <= 0:
        return value
    place = max(-decade(half), -decade(abs(value)))
    rounded = (round(value, place + more) for more in range(DIGITS))
    return next((each for each in rounded if low <= each <= high), value)


def decade(size: float) -> int:
    """The power of ten of the first digit of a number."""
    return math.floor(math.log10(size))


def value_text(record: Record, matrix: Matrix) -> str:
    """A value, or what is known instead: a bound, an interval, or a dash."""
    if record.measure == "offdiagonal_rank" and record.low != record.high:
        return f"{number(record.low or 0)} … {number(record.high or 0)}"
    if record.value is not None:
        of = f" of {min(matrix.rows, matrix.columns)}" if record.measure == "rank_exact" else ""
        return number(supported(record.value, record.low, record.high), 10 if record.measure == "logdet" else 6) + of
    if record.measure == "logdet" and record.sign == 0:
        return "−∞"
    low, high = record.low, record.high
    if low is not None and high is not None and not (record.measure == "rank_exact" and low <= 1):
        return f"{number(low)} … {number(high)}"
    if high is not None:
        return f"≤ {number(high)}"
    return f"≥ {number(low)}" if low is not None else "—"


def marked(record: Record | None, matrix: Matrix) -> str:
    """A value with the mark of its guarantee."""
    if record is None:
        return "  "
    text = value_text(record, matrix).partition(" of ")[0]
    return f"{text} {MARKS[record.guarantee]}"


def compact(record: Record | None, matrix: Matrix) -> str:
    """A value with its mark, five digits at most."""
    if record is None or record.value is None or isinstance(record.value, int):
        return marked(record, matrix)
    return f"{number(supported(record.value, record.low, record.high), 5)} {MARKS[record.guarantee]}"


def sign_text(record: Record) -> str:
    """The sign of a determinant; a dash where there is none to know."""
    if record.sign is None and record.low is None and record.high is None and record.value is None:
        return "—" if record.because.startswith("not square") else "unknown"
    return "unknown" if record.sign is None else f"{record.sign:+d}".replace("-", "−").replace("+0", "0")


WIDE: Final = 1e-2
"""The relative width from which an interval whose ends lie at unequal distances is shown by them."""


def error_text(record: Record) -> str:
    """How far the value can be from the truth, where bounds say so; the bounds themselves where they are lopsided."""
    if record.value is None or record.low is None or record.high is None or not record.low < record.high:
        return ""
    down, up = record.value - record.low, record.high - record.value
    if max(down, up) > 2 * min(down, up) and up + down > WIDE * abs(record.value):
        return f"between {number(record.low)} and {number(record.high)}"
    return f"± {number(max(down, up), 2)}"


def reason(record: Record, table: Table) -> str:
    """What the value compares with, and why it is what it is."""
    return "; ".join(part for part in (null_text(record), limit_text(record), why(record, table)) if part)


def null_text(record: Record) -> str:
    """The same measure of matched random attention; empty where there was no comparison."""
    if record.null_count is None:
        return ""
    if record.null_mean is None:
        return "null —"
    spread = "" if record.null_sd is None else f" ± {short(record.null_sd)}"
    return f"null {number(record.null_mean, 5)}{spread}"


def limit_text(record: Record) -> str:
    """What theory says of large matrices of the same kind."""
    limit = record.details.get("limit")
    if limit is None:
        return ""
    value, formula = number(limit, 6), record.details["limit_formula"]
    return f"limit {value}" + ("" if formula == value else f" = {formula}")


def why(record: Record, table: Table) -> str:
    """Why the value is what it is: tolerance and gap, error, or the method."""
    details: Any = record.details
    if record.status != "ok":
        return f"{record.code}: {record.because}"
    if record.measure == "rank_numerical" and details.get("tolerance") is not None:
        gap = ""
        if details.get("gap"):
            gap = (
                f"; gap {number(details['gap'], 3)} ({short(details['sigma_above'])} | {short(details['sigma_below'])})"
            )
        elif details.get("gap_low"):
            values = f"({short(details['sigma_above'])} | < {short(details['sigma_below_high'])})"
            gap = f"; gap > {number(details['gap_low'], 3)} {values}"
        text = f"σ > {short(details['tolerance'])} ({details['rule']}){gap}"
        return f"{record.because}; {text}" if record.because else text
    if record.measure == "log10_sigma_min" and record.value is not None:
        last = next(
            (s.values[-1] for s in table.series if s.name == "singular_values" and s.matrix == record.matrix), None
        )
        noise = last is not None and "inverse" in record.method
        parts = [f"σ_min = 10^{number(supported(record.value, record.low, record.high))}", error_text(record)]
        return "; ".join(part for part in [*parts, f"LAPACK prints {short(last or 0.0)}" if noise else ""] if part)
    if record.because and record.measure != "logdet":
        return record.because
    if error_text(record):
        power = f"; |det| ≈ 10^{number(float(record) / math.log(10), 5)}" if record.measure == "logdet" else ""
        return error_text(record) + power
    return record.because or record.method
