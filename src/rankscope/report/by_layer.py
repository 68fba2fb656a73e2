"""A study of depth as text: layers as rows, and as columns the measures of one network, or several networks."""

import math
import textwrap
from collections.abc import Iterator
from typing import Final

from rankscope.records import Record, Table, mean_and_deviation
from rankscope.report.cells import columns_of, number, parted, printable, short, shortened, value_text
from rankscope.report.descent import Network, first_below, fit, floor_of, networks, stopped

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

MOST_DIFFERENCES: Final = 4
"""Differences between networks that are printed one by one."""

AT_FLOOR: Final = "at its rounding floor"
"""What a residual of plain arithmetic says where it shows nothing but rounding."""

COLLAPSED: Final = -10.0
"""log₁₀ of the relative residual from which tokens count as one in a list of networks."""


def to_lines(table: Table, width: int) -> list[str]:
    """The table as lines of at most `width` columns."""
    found = networks(table)
    header, rows = grid(table)
    lines = [*textwrap.wrap(heading(found), width), "", *fitted(header, rows, width)]
    notes = [line for text in legend(table, found, header) for line in textwrap.wrap(text, width)]
    return [*lines, "", *notes] if notes else lines


def heading(found: list[Network]) -> str:
    """What the networks have in common."""
    common = parted([printable(each.label) for each in found])[0]
    name = printable(found[0].label) if len(found) == 1 else f"{len(found)} networks   {common}".rstrip()
    matrix = found[0].matrix
    network = matrix.network or {}
    same = [each.matrix for each in found]
    parts = [name]
    parts += [f"n {matrix.rows}"] if len({m.rows for m in same}) == 1 else []
    parts += [f"d {matrix.d}"] if len({m.d for m in same}) == 1 else []
    for key in ("heads", "layers"):
        parts += [f"{key} {network[key]}"] if len({(m.network or {}).get(key) for m in same}) == 1 else []
    seeds = sorted(
        {
            r.seed
            for each in found
            for rows in each.layers.values()
            for row in rows.values()
            for r in row
            if r.seed is not None
        }
    )
    parts += [f"seed {seeds[0]}"] if len(seeds) == 1 else [f"{len(seeds)} seeds"]
    return "   ".join(parts)


def grid(table: Table) -> tuple[list[str], list[list[str]]]:
    """A header and rows: the layers of one network; of a few networks their residuals; one row each of many."""
    found = networks(table)
    if len(found) == 1:
        return of_one(found[0])
    return side_by_side(found) if len(found) <= 6 else listed(found)


def of_one(network: Network) -> tuple[list[str], list[list[str]]]:
    """The layers of one network and what was measured there."""
    names = sorted(network.layers, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    names = [name for name in names if network.curve(name)]
    layers = thinned(sorted({layer for name in network.layers for layer in network.layers[name]}))
    rows = [[str(layer), *(cell(network, name, layer) for name in names)] for layer in layers]
    return ["layer", *(HEADINGS.get(name, name) for name in names)], rows


def thinned(layers: list[int]) -> list[int]:
    """All layers of a shallow network; of a deep one a part at equal steps, with the last."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000, 10**9) if len(layers) <= MOST_ROWS * step)
    return [layer for layer in layers if layer % step == 0 or layer == layers[-1]]


def side_by_side(found: list[Network]) -> tuple[list[str], list[list[str]]]:
    """The residuals of a few networks, layer by layer: means over seeds, with their deviation at the end."""
    layers = thinned(sorted({layer for each in found for name in each.layers for layer in each.layers[name]}))
    rows = [
        [str(layer), *("" if each.main is None else mean_of(each, each.main, layer) for each in found)]
        for layer in layers
    ]
    if any(each.count > 1 for each in found):
        rows.append([f"{layers[-1]} ±", *(spread_of(each, each.main or "", layers[-1]) for each in found)])
    return ["layer", *parted([printable(each.label) for each in found])[1]], rows


def listed(found: list[Network]) -> tuple[list[str], list[list[str]]]:
    """One row for each network: what is left at its end, how it falls, and when its tokens are one."""
    rows = []
    for each in found:
        means = each.means(each.main) if each.main else {}
        last = max(means, default=None)
        end = "—" if last is None or each.main is None else cell(each, each.main, last)
        below = first_below(means, COLLAPSED)
        rows.append([each.label, end, fall(each), "never" if below is None else str(below)])
    rests = parted([printable(each.label) for each in found])[1]
    rows = [[rest, *row[1:]] for rest, row in zip(rests, rows, strict=True)]
    return ["", "log₁₀ r at the end", "falls", "below 10⁻¹⁰ at"], rows


def fall(network: Network) -> str:
    """How a network's residual falls at its end."""
    found = fit(network.means(network.main)) if network.main else None
    if found is None:
        return "—"
    return f"order {found.order:.2f}" if found.order is not None else f"×{number(found.factor or 0, 3)} a layer"


def cell(network: Network, measure: str, layer: int) -> str:
    """The value at one layer, the mean over heads, or over seeds with its deviation."""
    spread = spread_of(network, measure, layer)
    return " ± ".join([mean_of(network, measure, layer), *([spread] if spread else [])])


def spread_of(network: Network, measure: str, layer: int) -> str:
    """The standard deviation over seeds at one layer, where all have a value."""
    rows = network.layers.get(measure, {}).get(layer, [])
    values = [float(r.value) for r in rows if r.value is not None]
    if network.count < 2 or len(values) < len(rows) or len(values) < 2 or any(r.because == AT_FLOOR for r in rows):
        return ""
    return short(mean_and_deviation(values)[1] or 0.0)


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
    mean = mean_and_deviation(values)[0]
    return close_to_one(rows) or number(mean, 4 if abs(mean) < 1e4 else 6)


def close_to_one(rows: list[Record]) -> str:
    """A cosine by what it lacks to one, where that is little."""
    logs = [r.details["log10_one_minus"] for r in rows if r.details.get("log10_one_minus") is not None]
    if not logs or max(logs) > -4:
        return ""
    mean = math.fsum(logs) / len(logs)
    return f"1−{short(10**mean)}" if mean > -300 else f"1−10^{number(mean, 4)}"


def fitted(header: list[str], rows: list[list[str]], width: int) -> list[str]:
    """Columns aligned to the right, as many as fit; long heads are wrapped over several lines."""
    inside = [max([columns_of(row[i]) for row in rows], default=1) for i in range(len(header))]
    roomy = sum(max(own, min(columns_of(text), 24)) + 2 for own, text in zip(inside, header, strict=True)) <= width
    heads = [wrapped(text, max(own, 24 if roomy else 9)) for own, text in zip(inside, header, strict=True)]
    first = max(columns_of(row[0]) for row in [header, *rows])
    if first > width // 2:
        rows = [[shortened(row[0], width // 2), *row[1:]] for row in rows]
    sizes = [
        max([columns_of(x) for x in [*head, *(row[i] for row in rows)]]) + 2 * bool(i) for i, head in enumerate(heads)
    ]
    count = 1
    while count < len(header) and sum(sizes[: count + 1]) <= width:
        count += 1
    depth = max(len(head) for head in heads[:count])
    lines = []
    for line in range(depth):
        padded = [head[line - depth + len(head)] if line >= depth - len(head) else "" for head in heads[:count]]
        lines.append(aligned(padded, sizes))
    lines += [aligned(row[:count], sizes) for row in rows]
    left = header[count:]
    return [*lines, *([f"{len(left)} more: {', '.join(left)}"] if left else [])]


def wrapped(text: str, size: int) -> list[str]:
    """A head in lines about as wide as its column."""
    return textwrap.wrap(text, size, break_long_words=False) or [""]


def aligned(cells: list[str], sizes: list[int]) -> str:
    """One line; the first column is aligned to the left."""
    first = cells[0] + " " * (sizes[0] - columns_of(cells[0]))
    rest = "".join(" " * (size - columns_of(x)) + x for x, size in zip(cells[1:], sizes[1:], strict=False))
    return (first + rest).rstrip()


def legend(table: Table, found: list[Network], header: list[str]) -> Iterator[str]:
    """What the columns mean, what the masks say, paths, products, and what could not be measured."""
    centre, absolute = table.study.get("centre", "mean"), table.study.get("absolute", False)
    if any(each.main == "log10_residual" for each in found):
        row = {"mean": "the mean of the tokens", "first": "the first token", "minimiser": "the nearest row"}[centre]
        norm = "" if absolute else " / ‖X‖_F"
        seeds = "; means over seeds, ± their standard deviation" if any(each.count > 1 for each in found) else ""
        yield f"r = ‖X − 1xᵀ‖_F{norm}, x {row}; a layer's row holds the tokens that enter it{seeds}."
    yield from of_masks(found)
    for each in found:
        yield from of_paths(each)
    yield from of_products(table)
    yield from of_differences(found)
    yield from failures(table)


def of_masks(found: list[Network]) -> Iterator[str]:
    """Centres and radius of each mask."""
    said: dict[str, str] = {}
    for each in found:
        facts = {record.measure: record for record in each.whole}
        nodes, radius = facts.get("centre_nodes"), facts.get("mask_radius")
        if nodes is not None and radius is not None:
            name = each.matrix.mask or f"plan {each.matrix.plan}"
            reach = "no token reaches all" if radius.value is None else f"one token reaches all after {radius.value}"
            said[name] = f"{name}: {nodes.value} of {each.matrix.rows} tokens reach all others; {reach} [proved]."
    yield from said.values()


def of_paths(network: Network) -> Iterator[str]:
    """The paths by their length, mean over seeds."""
    lengths: dict[int, dict[str, list[Record]]] = {}
    for record in network.whole:
        if record.measure in ("log10_path_residual", "path_share"):
            lengths.setdefault(record.details["length"], {}).setdefault(record.measure, []).append(record)
    if not lengths:
        return
    parts = []
    for length, rows in sorted(lengths.items()):
        residuals = [float(r.value) for r in rows["log10_path_residual"] if r.value is not None]
        shares = [float(r.value) for r in rows["path_share"] if r.value is not None]
        residual = number(math.fsum(residuals) / len(residuals), 4) if residuals else "—"
        parts.append(f"{length}: {residual} ({number(math.fsum(shares) / len(shares), 3)})")
    yield (
        f"Paths of {printable(network.label)} by length, log₁₀ of their mean residual (share in the output's): "
        + "; ".join(parts)
        + "."
    )


def of_products(table: Table) -> Iterator[str]:
    """The products of attention matrices."""
    for matrix in table.matrices:
        rows = [r for r in table.of(matrix) if r.over == "layers-product"]
        if rows:
            texts = []
            for r in rows:
                sign = "" if r.measure != "logdet" or r.sign is None else f", sign {r.sign:+d}".replace("-", "−")
                texts.append(f"{r.measure} {value_text(r, matrix)}{sign} [{r.guarantee}]")
            yield f"{printable(matrix.label)}: {'; '.join(texts)}."


def of_differences(found: list[Network]) -> Iterator[str]:
    """What one part changes, over seeds, unless that is much."""
    every = [(each, r) for each in found for r in each.whole if r.measure == "log10_residual_difference"]
    if len(every) > MOST_DIFFERENCES:
        yield f"{len(every)} paired differences over seeds with their intervals are in --format csv and json."
        return
    for each, r in every:
        ends = f"{number(r.low or 0, 4)} … {number(r.high or 0, 4)}"
        other = printable(str(r.details["without"]))
        yield (
            f"{printable(each.label)} less {other}: log₁₀ r {number(float(r), 4)} ({ends}) at layer {r.layer}, "
            f"{r.details['seeds']} seeds, paired, 95 %."
        )


def failures(table: Table) -> Iterator[str]:
    """One line for each network that could not be measured."""
    bad = {record.matrix: record for record in reversed(table.records) if record.status != "ok"}
    labels = {matrix.id: matrix.label for matrix in table.matrices}
    for number_, record in sorted(bad.items()):
        yield printable(f"{labels[number_]} was not measured. {record.code}: {record.because}")


SPOKEN: Final = 3
"""Networks of which a sentence is said each."""

PUBLISHED: Final = {
    "skip": ("skip connections", "Dong et al. 2021 publish that they prevent it"),
    "mlp": ("an MLP", "Dong et al. 2021 publish that MLPs slow it"),
    "norm": (
        "a norm",
        "Dong et al. 2021 say that LayerNorm plays no role, Wu et al. 2024 that it can stop the collapse",
    ),
}
"""The parts of a network, and what has been published on what they do to the collapse."""


def sentences(table: Table) -> Iterator[str]:
    """What a study of depth shows."""
    found = networks(table)
    for each in found[:SPOKEN]:
        yield from of_curve(each)
    for factor in PUBLISHED:
        yield from of_factor(factor, found)


def of_curve(network: Network) -> Iterator[str]:
    """How far one network collapses, and where plain arithmetic stops."""
    means = network.means("log10_residual")
    if not means:
        return
    last = max(means)
    found = fit(means)
    how = (
        ""
        if found is None
        else f", by increments with order {found.order:.2f}"
        if found.order is not None
        else (f", by a factor {number(found.factor or 0, 3)} in each layer ({found.first} to {found.last})")
    )
    stays = " stays at" if found is None and means[last] > -2 else " falls to"
    end = number(means[last], 4 if abs(means[last]) < 1e4 else 6)
    yield f"{printable(network.label)}: the residual{stays} 10^{end} after {last} layers{how}."
    layer, floor = stopped(network), floor_of(network)
    if layer is not None and floor is not None:
        plain = f"Plain {network.matrix.dtype} arithmetic"
        yield f"{plain} cannot follow it below 10^{number(floor, 3)}, from layer {layer} on."


def of_factor(factor: str, found: list[Network]) -> Iterator[str]:
    """What one part does, in which networks, and what has been published about it."""
    verdicts: dict[str, list[str]] = {}
    seeds = 0
    for network in found:
        for record in network.whole:
            if record.measure == "log10_residual_difference" and record.details["factor"] == factor:
                low, high = record.low or 0.0, record.high or 0.0
                verdict = (
                    "slower collapse" if low > 0 else "faster collapse" if high < 0 else "no difference beyond chance"
                )
                verdicts.setdefault(verdict, []).append(printable(network.label))
                seeds = record.details["seeds"]
    if verdicts:
        part, published = PUBLISHED[factor]
        listed = "; ".join(f"{verdict} in {', '.join(labels)}" for verdict, labels in verdicts.items())
        yield f"With {part} ({seeds} seeds): {listed}. {published}."
