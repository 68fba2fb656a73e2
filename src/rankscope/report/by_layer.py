"""A study of depth as text: layers as rows, and as columns the measures of one network, or several networks."""

from typing import Final

from rankscope.records import Record, Table, mean_and_deviation
from rankscope.report.cells import columns_of, folded, number, parted, printable, short, value_text, with_deviation
from rankscope.report.descent import COLLAPSED, Network, first_below, network_sizes, networks
from rankscope.report.told import legend, paths

HEADINGS: Final = {
    "log10_residual": "log₁₀ r",
    "log10_residual_naive": "naive",
    "log10_rank1_residual": "rank-1 r",
    "residual_order": "order",
    "residual_rate": "rate",
    "token_cosine": "cosine",
    "token_stable_rank": "stable X",
    "token_effective_rank": "eff. X",
    "effective_rank": "eff. A",
    "row_entropy_normalized": "entropy A",
}
"""Short names for columns; X are the tokens, A the attention matrices, means over heads."""

FIRST: Final = ("log10_residual", "log10_residual_naive", "residual_order", "residual_rate", "token_cosine",
                "token_effective_rank", "effective_rank", "row_entropy_normalized")  # fmt: skip
"""What stands in the first columns."""

MOST_ROWS: Final = 26
"""Layers of a deeper network that are printed: every second, or every fifth …"""

SIDE_BY_SIDE: Final = 6
"""Networks whose layers are printed side by side, where they fit."""

TALLEST: Final = 4
"""Lines that the head of a column may take."""

AT_FLOOR: Final = "at its rounding floor"
"""What a residual of plain arithmetic says where it shows nothing but rounding."""

BESIDE: Final = 3
"""Columns that must fit beside the names of rows; else these stand above their rows."""


def to_lines(table: Table, width: int) -> list[str]:
    """The table as lines of at most `width` columns."""
    found = networks(table)
    header, rows = of_one(found[0], thin=True) if len(found) == 1 else side_by_side(found, thin=True)
    if len(found) > 1 and (len(found) > SIDE_BY_SIDE or not fits(header, rows, width)):
        header, rows = listed(found)
    every = len(layers_of(found, thin=False))
    thinned_out = header[0] == "layer" and sum(row[0].isdigit() for row in rows) < every
    notes = [*(["All layers are in --format csv and json."] if thinned_out else []), *legend(table, found, header)]
    told = [line for text in notes for line in folded(text, width)]
    lines = [*folded(heading(found), width, "   "), "", *fitted(header, rows, width)]
    for each in found:
        title, head, body = paths(each)
        lines += ["", *folded(title, width), *fitted(head, body, width)] if body else []
    return [*lines, *(["", *told] if told else [])]


def grid(table: Table) -> tuple[list[str], list[list[str]]]:
    """A header and rows for documents: all layers of one network, or of a few; one row each of many."""
    found = networks(table)
    if len(found) == 1:
        return of_one(found[0])
    return side_by_side(found) if len(found) <= SIDE_BY_SIDE else listed(found)


def heading(found: list[Network]) -> str:
    """What the networks have in common."""
    common = parted([printable(each.label) for each in found])[0]
    name = printable(found[0].label) if len(found) == 1 else f"{len(found)} networks   {common}".rstrip()
    sizes = [network_sizes(each.matrix) for each in found]
    known = [key for key in ("n", "d", "heads", "layers") if None not in {size[key] for size in sizes}]
    keys = [key for key in known if len({size[key] for size in sizes}) == 1]
    every = [r.seed for each in found for own in each.layers.values() for rows in own.values() for r in rows]
    seeds = sorted({seed for seed in every if seed is not None})
    seed = [f"seed {seeds[0]}"] if len(seeds) == 1 else [f"{len(seeds)} seeds"] if seeds else []
    return "   ".join([name, *(f"{key} {sizes[0][key]}" for key in keys), *seed])


def layers_of(found: list[Network], *, thin: bool) -> list[int]:
    """The layers of networks; of deep ones a part at equal steps, with the last, where the table is to be `thin`."""
    layers = sorted({layer for each in found for name in each.layers for layer in each.layers[name]})
    steps = (1, 2, 5, 10, 20, 50, 100, 1000, 10**9) if thin else (1,)
    step = next((step for step in steps if len(layers) <= MOST_ROWS * step), 1)
    return [layer for layer in layers if layer % step == 0 or layer == layers[-1]]


def of_one(network: Network, *, thin: bool = False) -> tuple[list[str], list[list[str]]]:
    """The layers of one network and what was measured there; what was never known is left to the legend."""
    names = sorted(network.layers, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    names = [name for name in names if network.curve(name) or name == network.main]
    layers = layers_of([network], thin=thin)
    rows = [[str(layer), *(cell(network, name, layer) for name in names)] for layer in layers]
    return ["layer", *(HEADINGS.get(name, name) for name in names)], rows


def side_by_side(found: list[Network], *, thin: bool = False) -> tuple[list[str], list[list[str]]]:
    """What stands for a few networks, layer by layer: means over seeds, with their deviation at the end."""
    layers = layers_of(found, thin=thin)
    rows = [[str(layer), *(mean_of(each, each.main, layer) for each in found)] for layer in layers]
    if any(each.count > 1 for each in found) and layers:
        rows.append([f"{layers[-1]} ±", *(spread_of(each, each.main, layers[-1]) for each in found)])
    return ["layer", *parted([printable(each.label) for each in found])[1]], rows


def listed(found: list[Network]) -> tuple[list[str], list[list[str]]]:
    """One row for each network: what is left at its end, how it falls, and when its tokens are one."""
    falls = all(each.residual for each in found)
    rows = []
    for each in found:
        layers = sorted(each.layers.get(each.main, {}))
        below = first_below(each.means(each.main), COLLAPSED)
        end = cell(each, each.main, layers[-1]) if layers else "—"
        rows.append([end, *([fall(each), "never" if below is None else str(below)] if falls else [])])
    rests = parted([printable(each.label) for each in found])[1]
    name = HEADINGS.get(found[0].main, found[0].main)
    header = ["", f"{name} at the end", *(["falls", "below 10⁻¹⁰ at"] if falls else [])]
    return header, [[rest, *row] for rest, row in zip(rests, rows, strict=True)]


def fall(network: Network) -> str:
    """How a network's residual falls at its end."""
    found = network.fit
    if found is None:
        return "—"
    return f"order {found.order:.2f}" if found.order is not None else f"×{number(found.factor or 0, 3)} a layer"


def cell(network: Network, measure: str, layer: int) -> str:
    """The value at one layer, the mean over heads, or over seeds with its deviation."""
    return " ± ".join(filter(None, [mean_of(network, measure, layer), spread_of(network, measure, layer)]))


def spread_of(network: Network, measure: str, layer: int) -> str:
    """The standard deviation over seeds at one layer, where all have a value."""
    deviation = deviation_of(network, measure, layer)
    return "" if deviation is None else with_deviation(network.means(measure)[layer], deviation)[1] or "0"


def deviation_of(network: Network, measure: str, layer: int) -> float | None:
    """The standard deviation over seeds as a number; None where not all have a value above the floor."""
    rows = network.layers.get(measure, {}).get(layer, [])
    values = [float(r.value) for r in rows if r.value is not None]
    if network.count < 2 or len(values) < len(rows) or len(values) < 2 or any(r.because == AT_FLOOR for r in rows):
        return None
    return mean_and_deviation(values)[1]


def mean_of(network: Network, measure: str, layer: int) -> str:
    """The mean at one layer over heads and seeds, or what is known instead of it."""
    rows = network.layers.get(measure, {}).get(layer, [])
    values = [float(r.value) for r in rows if r.value is not None]
    if not rows:
        return ""
    if any(r.because == AT_FLOOR for r in rows):
        return "floor"
    if len(values) < len(rows):
        return value_text(rows[0], network.matrix) if len(rows) == 1 else "—"
    mean, deviation = mean_and_deviation(values)[0], deviation_of(network, measure, layer)
    plain = with_deviation(mean, deviation)[0] if deviation else number(mean, 4 if abs(mean) < 1e4 else 6)
    return close_to_one(rows) or plain


def close_to_one(rows: list[Record]) -> str:
    """A cosine by what it lacks to one, where that is little."""
    logs = [r.details["log10_one_minus"] for r in rows if r.details.get("log10_one_minus") is not None]
    if not logs or max(logs) > -4:
        return ""
    mean = mean_and_deviation(logs)[0]
    return f"1−{short(10**mean)}" if mean > -300 else f"1−10^{number(mean, 4)}"


def heads_of(header: list[str], rows: list[list[str]], width: int) -> list[list[str]]:
    """The heads of columns in lines: about as wide as 24 columns where there is room, else as what stands below."""
    inside = [max([columns_of(row[i]) for row in rows], default=1) for i in range(len(header))]
    roomy = sum(max(own, min(columns_of(text), 24)) + 2 for own, text in zip(inside, header, strict=True)) <= width
    words = [max([columns_of(word) for word in text.split()], default=0) for text in header]
    least = [24 if roomy else max(9, min(word, 16)) for word in words]
    return [folded(text, max(own, low)) or [""] for own, low, text in zip(inside, least, header, strict=True)]


def sizes_of(heads: list[list[str]], rows: list[list[str]]) -> list[int]:
    """The width of each column, with two columns between."""
    return [
        max(columns_of(x) for x in [*head, *(row[i] for row in rows)]) + 2 * bool(i) for i, head in enumerate(heads)
    ]


def fits(header: list[str], rows: list[list[str]], width: int) -> bool:
    """Whether all columns stand in a line, under heads that are not too tall."""
    heads = heads_of(header, rows, width)
    return sum(sizes_of(heads, rows)) <= width and max(map(len, heads)) <= TALLEST


def fitted(header: list[str], rows: list[list[str]], width: int) -> list[str]:
    """Columns aligned to the right, as many as fit; names of rows that are too long stand above their row."""
    beside = fits(header[: 1 + BESIDE], [row[: 1 + BESIDE] for row in rows], width)
    names = [row[0] for row in rows] if not header[0] and not beside else []
    rows = [["", *row[1:]] for row in rows] if names else rows
    heads = heads_of(header, rows, width)
    sizes = sizes_of(heads, rows)
    count = 1
    while count < len(header) and sum(sizes[: count + 1]) <= width:
        count += 1
    depth = max(len(head) for head in heads[:count])
    lines = []
    for line in range(depth):
        padded = [head[line - depth + len(head)] if line >= depth - len(head) else "" for head in heads[:count]]
        lines.append(aligned(padded, sizes))
    for i, row in enumerate(rows):
        lines += [*(folded(names[i], width) if names else []), aligned(row[:count], sizes)]
    left = header[count:]
    text = f"{len(left)} more, with -m or --format csv: {', '.join(left)}"
    return [*lines, *(folded(text, width) if left else [])]


def aligned(cells: list[str], sizes: list[int]) -> str:
    """One line; the first column is aligned to the left."""
    first = cells[0] + " " * (sizes[0] - columns_of(cells[0]))
    rest = "".join(" " * (size - columns_of(x)) + x for x, size in zip(cells[1:], sizes[1:], strict=False))
    return (first + rest).rstrip()
