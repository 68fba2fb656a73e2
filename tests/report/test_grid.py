"""Tables of cells: what a page has no room for goes on in the next, and no column is lost."""

from itertools import chain

import pytest

from rankscope.report.grid import LABEL, MOST_ROWS, NULL, PAGE, Cell, Grid, cut, split, width_of, words_of


def wide(headers: list[str], text: str = "12345.6 ± 7.8e−09") -> Grid:
    return Grid("All", ["matrix", *headers], {"a": words_of([["name", *[text] * len(headers)]] * 3)}, note="noted")


@pytest.mark.parametrize("count", [0, 1, 4, 5, 30])
def test_every_column_stands_in_one_of_the_pieces_and_each_fits_on_a_page(count: int) -> None:
    grid = wide([f"m{i}" for i in range(count)])
    pieces = split(grid)
    assert list(chain.from_iterable(piece.header[1:] for piece in pieces)) == grid.header[1:]
    for piece in pieces:
        assert piece.header[0] == "matrix"
        assert {len(row) for row in piece.rows} == {len(piece.header)}
        widths = [width_of(piece, place) for place in range(len(piece.header))]
        assert min(widths[0], LABEL) + sum(widths[1:]) <= PAGE or len(widths) == 2
        assert piece.note == "noted"
    assert [piece.title for piece in pieces] == ["All", *["All (continued)"] * (len(pieces) - 1)]


def test_a_null_is_never_parted_from_its_number() -> None:
    headers = [name for i in range(12) for name in (f"m{i}", NULL)]
    for piece in split(wide(headers)):
        places = [place for place, name in enumerate(piece.header) if name == NULL]
        assert places
        assert all(piece.header[place - 1].startswith("m") for place in places)


def test_reasons_are_never_parted() -> None:
    grid = Grid("All", ["a"] * 40, {"": [[Cell("x" * 30)] * 40]}, why=True)
    assert split(grid) == [grid]


def test_a_column_is_as_wide_as_its_header_and_its_numbers() -> None:
    assert width_of(Grid("", ["row_entropy"], {"": [[Cell("1")]]}), 0) == len("row_entropy") + 3
    assert width_of(Grid("", ["a"], {"": [[Cell("1.5 ± 0.2")]]}), 0) == len("1.5 ± 0.2") + 3
    assert width_of(Grid("", ["a"], {}), 0) == 4


def test_a_long_table_is_cut_and_says_so() -> None:
    rows = words_of([[str(i)] for i in range(MOST_ROWS + 1)])
    short, long = (cut(Grid("All", ["a"], {"": rows[:count]})) for count in (MOST_ROWS, MOST_ROWS + 1))
    assert (len(short.rows), short.note) == (MOST_ROWS, "")
    assert len(long.rows) == MOST_ROWS
    assert long.note.startswith(f"The first {MOST_ROWS} of {MOST_ROWS + 1} rows;")
