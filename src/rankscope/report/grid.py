"""A table of a document: cells under a header, in groups, and as many of its columns as a page has room for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

PAGE: Final = 112
"""Letters that a line of a table has room for."""

LABEL: Final = 26
"""Letters of the names of rows, which may take several lines."""

NULL: Final = "its null"
"""The header of a column that holds what the measure before it is of matched random attention."""

MOST_ROWS: Final = 300
"""Rows of a table beyond which the others are left to files."""


@dataclass(frozen=True)
class Cell:
    """One entry of a table: its text, the guarantee of the number in it, and what it is sorted by."""

    text: str
    guarantee: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Grid:
    """A table of a document: groups of rows under one header. The first `words` columns hold words, and those of `why`.

    `note` says what is not in it.
    """

    title: str
    header: list[str]
    groups: dict[str, list[list[Cell]]]
    words: int = 1
    why: bool = False
    note: str = ""

    @property
    def rows(self) -> list[list[Cell]]:
        """The rows of all groups."""
        return [row for rows in self.groups.values() for row in rows]


def split(grid: Grid) -> list[Grid]:
    """A table as several that a page has room for, each with the first column; a null stays beside its number."""
    if grid.why:
        return [grid]
    widths = [width_of(grid, place) for place in range(len(grid.header))]
    pieces: list[list[int]] = []
    room = 0
    for place in range(1, len(widths)):
        beside = widths[place] + (widths[place + 1] if grid.header[place + 1 : place + 2] == [NULL] else 0)
        if not pieces or (room + beside > PAGE and grid.header[place] != NULL):
            pieces.append([0])
            room = min(widths[0], LABEL)
        pieces[-1].append(place)
        room += widths[place]
    return [part_of(grid, piece, number) for number, piece in enumerate(pieces)] or [grid]


def width_of(grid: Grid, place: int) -> int:
    """The letters that a column takes on a line, those of its header among them, and the space to the next."""
    return max(len(grid.header[place]), *(len(row[place].text) for row in grid.rows), 0) + 3


def part_of(grid: Grid, places: Sequence[int], number: int) -> Grid:
    """Some of the columns of a table."""
    groups = {name: [[row[place] for place in places] for row in rows] for name, rows in grid.groups.items()}
    title = f"{grid.title} (continued)" if number else grid.title
    return Grid(title, [grid.header[place] for place in places], groups, grid.words, grid.why, grid.note)


def cut(grid: Grid) -> Grid:
    """A table of at most so many rows, which says how many it lacks."""
    [(name, rows)] = grid.groups.items()
    if len(rows) <= MOST_ROWS:
        return grid
    note = f"The first {MOST_ROWS} of {len(rows)} rows; the others are in the files of this result (.json, .csv)."
    return Grid(grid.title, grid.header, {name: rows[:MOST_ROWS]}, grid.words, grid.why, note)


def words_of(rows: Iterable[Iterable[str]]) -> list[list[Cell]]:
    """Rows of text as cells."""
    return [[Cell(text) for text in row] for row in rows]
