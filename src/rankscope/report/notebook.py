"""A result in a notebook: a fragment of HTML without scripts, classes or pictures, so that every reader shows it alike.

Text that came from data is escaped; nothing is computed here.
"""

from html import escape

from rankscope.records import Table
from rankscope.report.cells import POWER, counted
from rankscope.report.grid import Cell, Grid
from rankscope.report.grids import main_grid
from rankscope.report.kinds import told_apart
from rankscope.report.method import remarks
from rankscope.report.sentences import sentences
from rankscope.report.terminal import common_heading, heading

LEFT, RIGHT = "text-align:left", "text-align:right"


def to_html(table: Table) -> str:
    """The table that a reader sees first, what it shows in words above it, and what its marks mean below."""
    table = table if table.over_depth else told_apart(table)
    said = " ".join(sentences(table))
    parts = [
        f"<p><strong>{escape(title_of(table))}</strong></p>",
        *([f"<p>{raised(escape(said))}</p>"] if said else []),
        grid_html(main_grid(table)),
        *(f"<p>{raised(escape(remark.text))}</p>" for remark in remarks(table)),
    ]
    return "".join(parts)


def title_of(table: Table) -> str:
    """What the result is of, on one line."""
    if table.over_depth:
        from rankscope.report.by_layer import heading as of_networks
        from rankscope.report.descent import networks

        text = of_networks(networks(table))
    elif len(table.matrices) == 1:
        text = heading(table.matrices[0], table.records[0].seed if table.records else None)
    else:
        text = common_heading(table) if table.matrices else counted(0, "matrix")
    return " · ".join(text.split("   "))


def grid_html(grid: Grid) -> str:
    """A table with its header, its groups, and what the marks in it mean."""
    places = range(len(grid.header))
    sides = [LEFT if place < grid.words or grid.why else RIGHT for place in places]
    head = "".join(f'<th style="{side}">{escape(name)}</th>' for name, side in zip(grid.header, sides, strict=True))
    rows = [f"<tr>{head}</tr>"]
    for name, members in grid.groups.items():
        if name:
            rows.append(f'<tr><th colspan="{len(sides)}" style="{LEFT}">{escape(name)}</th></tr>')
        for row in members:
            cells = (f'<td style="{side}">{shown(cell, grid)}</td>' for cell, side in zip(row, sides, strict=True))
            rows.append(f"<tr>{''.join(cells)}</tr>")
    marks = {cell.guarantee for row in grid.rows for cell in row} & {"proved", "enclosed"}
    legend = [f"<sup>{word[0]}</sup> {word}" for word in sorted(marks, reverse=True)] if not grid.why else []
    below = [*legend, *(["unmarked: estimated"] if legend else []), *([escape(grid.note)] if grid.note else [])]
    return f"<table>{''.join(rows)}</table>" + (f"<p>{' · '.join(below)}</p>" if below else "")


def shown(cell: Cell, grid: Grid) -> str:
    """The text of a cell with the mark of its guarantee, where no column of the table says it."""
    marked = cell.guarantee in ("proved", "enclosed") and not grid.why
    return raised(escape(cell.text)) + (f"<sup>{cell.guarantee[0]}</sup>" if marked else "")


def raised(text: str) -> str:
    """HTML in which powers of ten are set as such."""
    return POWER.sub(lambda found: f"10<sup>{found[1].strip('()')}</sup>", text)
