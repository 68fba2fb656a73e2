"""The heads of a model as text: a map of one measure, layer by head, and what the other measures are in each layer.

Of a model under several masks or kernels the variants stand side by side, a layer in each row. Documents have the same
tables, and heat maps beside them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Final

from rankscope.records import Matrix, Record, Table
from rankscope.report.cells import columns_of, counted, folded, number, parted, printable

MAIN: Final = "effective_rank"
"""The measure of the map, if it was measured; else the first that was."""

LEAST: Final = 24
"""Heads of a single stack that are better read as a list."""

MOST_HEADS: Final = 40
"""Heads of a layer that can stand in a line, on a wide terminal."""

MEANS: Final = ("rank_numerical", "stable_rank", "logdet", "log10_sigma_min", "row_entropy_normalized", "max_logit",
                "sink_rate")  # fmt: skip
"""What is shown of each layer beside the map, as means over heads."""

HEADINGS: Final = {
    "rank_numerical": "numerical",
    "stable_rank": "stable",
    "effective_rank": "effective",
    "logdet": "log |det|",
    "log10_sigma_min": "log₁₀σmin",
    "row_entropy_normalized": "entropy/max",
    "max_logit": "max logit",
    "sink_rate": "sinks",
}
"""Short names for columns."""

TRAINED: Final = "trained"
"""What the heads of a model are called beside variants of them."""

Rows = list[list[str]]


@dataclass
class Stack:
    """The heads of one stack: the records of each measure by layer and head, and those of the means over heads."""

    name: str
    matrices: list[Matrix] = field(default_factory=list)
    heads: dict[str, dict[tuple[int, int], Record]] = field(default_factory=dict)
    means: dict[str, dict[int, Record]] = field(default_factory=dict)

    def layers(self) -> list[int]:
        """The layers that have a head."""
        return sorted({layer for found in self.heads.values() for layer, _ in found})

    def numbers(self) -> list[int]:
        """The heads that some layer has."""
        return sorted({head for found in self.heads.values() for _, head in found})

    def values(self, measure: str, layer: int) -> list[float]:
        """The known values of the heads of a layer."""
        found = self.heads.get(measure, {})
        return [float(r.value) for (own, _), r in sorted(found.items()) if own == layer and r.value is not None]


def stacks_of(table: Table) -> list[Stack]:
    """The stacks of a table by their names; none where the table is one of something else."""
    found: dict[str, Stack] = {}
    for matrix in table.matrices:
        if matrix.stack is None:
            return []
        stack = found.setdefault(matrix.stack, Stack(matrix.stack))
        stack.matrices.append(matrix)
        for record in table.of(matrix):
            if record.layer is None:
                return []
            if record.head is not None:
                stack.heads.setdefault(record.measure, {}).setdefault((record.layer, record.head), record)
            else:
                stack.means.setdefault(record.measure, {}).setdefault(record.layer, record)
    return list(found.values())


def families(found: Sequence[Stack]) -> list[tuple[Stack, dict[str, Stack]]]:
    """Each stack as it was trained with the variants of it by name; without variants every stack by itself."""
    by_prefix: dict[str, tuple[Stack, dict[str, Stack]]] = {
        stack.name.removesuffix(TRAINED): (stack, {}) for stack in found if stack.name.endswith(TRAINED)
    }
    if not by_prefix:
        return [(stack, {}) for stack in found]
    for stack in found:
        prefix = max((each for each in by_prefix if stack.name.startswith(each)), key=len, default=None)
        if prefix is not None and stack is not by_prefix[prefix][0]:
            by_prefix[prefix][1][stack.name.removeprefix(prefix)] = stack
    return list(by_prefix.values())


def suits(table: Table) -> bool:
    """Whether the table is one of the heads of a model, and too long for a list."""
    found = stacks_of(table)
    return bool(found) and (len(found) > 1 or len(table.matrices) > LEAST)


def main_of(table: Table) -> str:
    """The measure of the map."""
    present = list(dict.fromkeys(record.measure for record in table))
    return MAIN if MAIN in present else present[0]


def grids(table: Table, width: int | None = None) -> list[tuple[str, list[str], Rows]]:
    """Titles, headers and rows: of one stack a map and the means of each layer, of several a column for each."""
    found, measure = stacks_of(table), main_of(table)
    named = measure.replace("_", " ")
    if len(found) == 1:
        return [
            (f"{named}, layer × head", *map_of(found[0], measure, width)),
            ("means over the heads of a layer", *means_of(found[0], measure)),
        ]
    title = f"{named}, mean over the heads of a layer"
    ranges = f"{title} (least … greatest)", *beside(found, measure, range_of)
    narrow = title, *beside(found, measure, mean_of)
    listed = [ranges if width is None or fits(*ranges[1:], width) else narrow]
    if any(stack.means for stack in found):
        listed.append((f"{named} of the mean over the heads of a layer", *beside(found, measure, None)))
    return listed


def fits(header: Sequence[str], rows: Rows, width: int) -> bool:
    """Whether all columns stand in a line."""
    sizes = [max([columns_of(text) for text in (head, *(row[i] for row in rows))]) for i, head in enumerate(header)]
    return sum(sizes) + 2 * (len(sizes) - 1) <= width


def map_of(stack: Stack, measure: str, width: int | None) -> tuple[list[str], Rows]:
    """A row for each layer and a column for each head; their least, middle and greatest where there is no room."""
    heads, found = stack.numbers(), stack.heads.get(measure, {})
    cells = {place: text_of(record) for place, record in found.items()}
    size = 2 + max([columns_of(text) for text in cells.values()] + [len(str(heads[-1]))], default=2)
    if len(heads) > MOST_HEADS or (width is not None and 8 + size * len(heads) > width):
        rows = []
        for layer in stack.layers():
            values = stack.values(measure, layer)
            known = [min(values), median(values), fmean(values), max(values)] if values else []
            rows.append([str(layer), *([brief(each) for each in known] or ["—"] * 4)])
        return ["layer", "least", "median", "mean", "greatest"], rows
    return ["layer", *map(str, heads)], [
        [str(layer), *(cells.get((layer, head), "") for head in heads)] for layer in stack.layers()
    ]


def means_of(stack: Stack, measure: str) -> tuple[list[str], Rows]:
    """A row for each layer: the means of measures over its heads, over those of which they are known."""
    names = [measure, *(name for name in MEANS if name in stack.heads and name != measure)]
    names += [name for name in stack.heads if name not in names and len(stack.heads) <= len(MEANS)]
    rows = []
    for layer in stack.layers():
        values = [stack.values(name, layer) for name in names]
        counts = [sum(place[0] == layer for place in stack.heads[name]) for name in names]
        rows.append([str(layer), *(of_known(each, count) for each, count in zip(values, counts, strict=True))])
    return ["layer", *(HEADINGS.get(name, name) for name in names)], rows


def of_known(values: Sequence[float], count: int) -> str:
    """The mean of the values that are known, and of how many heads, where not of all."""
    if not values:
        return "—"
    return brief(fmean(values)) + (f" ({len(values)} of {count})" if len(values) < count else "")


def beside(
    found: Sequence[Stack], measure: str, heads: Callable[[Sequence[float]], str] | None
) -> tuple[list[str], Rows]:
    """A row for each layer and a column for each stack: its heads in words, or the measure of the mean over them."""
    layers = sorted({layer for stack in found for layer in stack.layers()})
    rows = []
    for layer in layers:
        of_heads = [heads(stack.values(measure, layer)) for stack in found] if heads else []
        rows.append([str(layer), *(of_heads or [mean_cell(stack, measure, layer) for stack in found])])
    names = [printable(stack.name) or "all" for stack in found]
    return ["layer", *(parted(names)[1] if len(set(names)) == len(names) else names)], rows


def mean_cell(stack: Stack, measure: str, layer: int) -> str:
    """The measure of the mean over the heads of a layer."""
    record = stack.means.get(measure, {}).get(layer)
    return "" if record is None else text_of(record)


def mean_of(values: Sequence[float]) -> str:
    """The mean of the heads of a layer."""
    return brief(fmean(values)) if values else "—"


def range_of(values: Sequence[float]) -> str:
    """The mean of the heads of a layer, and from where to where they run."""
    if not values:
        return mean_of(values)
    ends = "" if len(values) == 1 else f" ({brief(min(values))} … {brief(max(values))})"
    return mean_of(values) + ends


def text_of(record: Record) -> str:
    """One cell of a map."""
    if record.status != "ok":
        return record.code or "refused"
    return "—" if record.value is None else brief(float(record.value))


def brief(value: float) -> str:
    """A number in three digits, or as many as stand before its point."""
    return number(round(value)) if 100 <= abs(value) < 1e6 else number(value, 3)


def title_of(table: Table) -> str:
    """The model, and how many heads there are."""
    models = list(dict.fromkeys(printable(matrix.source) for matrix in table.matrices))
    found = families(stacks_of(table))
    heads = sum(table.of(matrix)[0].head is not None for stack, _ in found for matrix in stack.matrices)
    names = {name for _, variants in found for name in variants}
    more = f" as trained and in {counted(len(names), 'variant')}" if names else ""
    return f"{', '.join(models)}: {counted(heads, 'head')}{more}"


def to_lines(table: Table, width: int) -> list[str]:
    """The tables as lines of at most `width` columns."""
    from rankscope.report.by_layer import fitted
    from rankscope.report.terminal import common_of, remarks

    lines = folded("   ".join([title_of(table), *common_of(table)]), width, "   ")
    for title, header, rows in grids(table, width):
        if len(header) > 2 or rows:
            lines += ["", title, *fitted(header, rows, width)]
    left = len({record.measure for record in table})
    more = [f"{left} measures of each head, with guarantees, with --format csv or json"] if left > 1 else []
    return [*lines, *([""] if more else []), *more, *remarks(table, width)]
