"""What a study of depth says in words: what its columns mean, what masks and products show, and what follows."""

import math
from collections.abc import Iterator
from typing import Any, Final

from rankscope.records import Record, Table, mean_and_deviation
from rankscope.report.cells import counted, enumerated, number, printable, value_text, with_deviation
from rankscope.report.descent import COLLAPSED, Network, networks, stopped

MOST_DIFFERENCES: Final = 4
"""Differences between networks that are printed one by one."""

SPOKEN: Final = 3
"""Networks of which a sentence is said each; of more it is said how many collapse."""

MOST_NAMED: Final = 6
"""Networks that collapse, or that are not known to their end, that are named."""

FALLEN: Final = 0.5
"""Decades by which a residual has fallen that is said to fall."""

PUBLISHED: Final = {
    "skip": ("skip connections", "Dong et al. 2021 publish that they prevent it"),
    "mlp": ("an MLP", "Dong et al. 2021 publish that MLPs slow it"),
    "norm": (
        "a norm",
        "Dong et al. 2021 say that LayerNorm plays no role, Wu et al. 2024 that it can stop the collapse",
    ),
}
"""The parts of a network, and what has been published on what they do to the collapse."""

CENTRES: Final = {"mean": "the mean of the tokens", "first": "the first token", "minimiser": "the nearest row"}
"""What tokens are compared with."""

MEANINGS: Final = {
    "X": "X: the tokens",
    "A": "A: the attention matrices, mean over heads",
    "eff.": "eff.: effective rank",
    "naive": "naive: r as a script computes it in plain arithmetic",
    "log10_dong_bound": "log10_dong_bound: as published, with γ = 1; above 0 it says nothing",
}
"""What heads of columns mean."""


def legend(table: Table, found: list[Network], header: list[str]) -> Iterator[str]:
    """What the columns mean, what the masks say, products, differences, and what is not known."""
    yield from of_columns(table, found, header)
    yield from of_masks(found)
    yield from (f"{printable(each.label)}: {printable(note)}." for each in found for note in each.matrix.notes)
    yield from of_products(table)
    yield from of_differences(found)
    yield from not_known(found)
    yield from failures(table)


def of_columns(table: Table, found: list[Network], header: list[str]) -> Iterator[str]:
    """What r, X and A are."""
    centre, absolute = sole(table.setting("centre")), table.setting("absolute") == [True]
    seeds = "; means over seeds, ± their standard deviation" if any(each.count > 1 for each in found) else ""
    rows = f"A layer's row holds the tokens that enter it{seeds}." if header[0] == "layer" else ""
    if any(each.main == "log10_residual" for each in found):
        unsaid = "which differs between studies" if table.setting("centre") else "which this file does not say"
        row = CENTRES.get(centre, f"the row that tokens are compared with, {unsaid}")
        yield f"r = ‖X − 1xᵀ‖_F{'' if absolute else ' / ‖X‖_F'}, x {row}. {rows}".strip()
    elif found and len(found) > 1 and found[0].main:
        yield f"The columns hold {found[0].main}. {rows}".strip()
    elif rows:
        yield rows
    words = {word for head in header for word in head.split()}
    meanings = [text for name, text in MEANINGS.items() if name in words]
    if meanings:
        yield "; ".join(meanings) + "."


def sole(values: list[Any]) -> Any:
    """The one value, or nothing where there are several or none."""
    return values[0] if len(values) == 1 else None


def of_masks(found: list[Network]) -> Iterator[str]:
    """Centres and radius of each mask."""
    said: dict[str, str] = {}
    for each in found:
        facts = {record.measure: record for record in each.whole}
        nodes, radius = facts.get("centre_nodes"), facts.get("mask_radius")
        if nodes is not None and radius is not None:
            name = printable(each.matrix.mask or f"plan {each.matrix.plan}")
            after = (
                "never all in one product"
                if radius.value is None
                else f"one of them after {counted(int(radius.value), 'layer')}"
            )
            said[name] = f"{name}: {nodes.value} of {each.matrix.rows} tokens reach all others, {after} [proved]."
    yield from said.values()


def paths(network: Network) -> tuple[str, list[str], list[list[str]]]:
    """The paths by their length, means over seeds: a title, a header and rows."""
    lengths: dict[int, dict[str, list[Record]]] = {}
    for record in network.whole:
        if record.measure in ("log10_path_residual", "path_share"):
            lengths.setdefault(record.details["length"], {}).setdefault(record.measure, []).append(record)
    rows = []
    for length, own in sorted(lengths.items()):
        residuals = [float(r.value) for r in own["log10_path_residual"] if r.value is not None]
        shares = [float(r.value) for r in own["path_share"] if r.value is not None]
        residual = number(math.fsum(residuals) / len(residuals), 4) if residuals else "—"
        details = own["path_share"][0].details
        count = f"{details['paths']}" if details["paths"] < 10**6 else f"{details['paths']:.2e}"
        followed = "all" if details["followed"] == details["paths"] else f"{details['followed']}"
        rows.append([f"{length}", count, followed, residual, number(math.fsum(shares) / len(shares), 3)])
    title = f"paths of {printable(network.label)} by the number of their heads"
    return title, ["length", "paths", "followed", "log₁₀ of mean residual", "share of output's"], rows


def of_products(table: Table) -> Iterator[str]:
    """The products of attention matrices."""
    for matrix in table.matrices:
        rows = [r for r in table.of(matrix) if r.over == "layers-product"]
        if rows:
            texts = []
            for r in rows:
                sign = "" if r.measure != "logdet" or r.sign is None else f", sign {r.sign:+d}".replace("-", "−")
                reason = f" ({printable(r.because)})" if r.value is None and r.because else ""
                texts.append(f"{r.measure} {value_text(r, matrix)}{sign} [{r.guarantee}]{reason}")
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


def not_known(found: list[Network]) -> Iterator[str]:
    """Measures that have no value at any layer of any network, with the reason."""
    for name in dict.fromkeys(name for each in found for name in each.layers):
        rows = [r for each in found for own in each.layers.get(name, {}).values() for r in own]
        if rows and all(r.value is None and r.status == "ok" for r in rows):
            yield f"{name} is not known: {printable(rows[-1].because)}."
    for record in {r.measure: r for each in found for r in each.whole if r.group in ("gradients", "maps")}.values():
        yield f"{record.measure} is not known: {printable(record.because)}."


def failures(table: Table) -> Iterator[str]:
    """One line for each network that could not be measured."""
    bad = {record.matrix: record for record in reversed(table.records) if record.status != "ok"}
    labels = {matrix.id: matrix.label for matrix in table.matrices}
    for identity, record in sorted(bad.items()):
        yield printable(f"{labels[identity]} was not measured. {record.code}: {record.because}")


def sentences(table: Table) -> Iterator[str]:
    """What a study of depth shows."""
    found = networks(table)
    if len(found) > SPOKEN:
        yield from of_many(found)
    else:
        yield from (text for each in found for text in of_curve(each))
    for factor in PUBLISHED:
        yield from of_factor(factor, found)


def of_many(found: list[Network]) -> Iterator[str]:
    """In how many networks the residual falls to nothing, where it ends in the others, and where it is not known."""
    ends = {place: means[max(means)] for place, each in enumerate(found) if (means := each.means("log10_residual"))}
    ordered = sorted(ends, key=lambda place: ends[place])
    low = [place for place in ordered if ends[place] < COLLAPSED]
    bar, of = power(number(COLLAPSED)), counted(len(ends), "network")
    if not ends:
        return
    if low:
        named = enumerated([f"{printable(found[place].label)} ({end_of(found[place])})" for place in low], MOST_NAMED)
        yield f"The residual falls below {bar} in {len(low)} of {of}: {named}."
    if len(ordered) > len(low):
        least, most = end_of(found[ordered[len(low)]]), end_of(found[ordered[-1]])
        where = f"at {least}" if least == most else f"between {least} and {most}"
        others = len(ordered) - len(low)
        rest = "In the other one it" if others == 1 else f"In the other {others} it"
        yield f"{rest if low else f'The residual falls below {bar} in none of {of}: it'} ends {where}."
    floors = [floor for each in found if (floor := stopped(each))]
    if floors:
        highest = power(number(max(floor for _, floor in floors), 3))
        yield f"Plain arithmetic cannot follow it below {highest}, in {len(floors)} of them."
    lost = [(printable(each.label), *unknown) for each in found if (unknown := lost_from(each))]
    if lost:
        listed = [f"{name} from layer {layer} on ({why})" for name, layer, why in lost]
        some = " of every seed" if any(each.count > 1 for each in found) else ""
        yield f"It is not known{some} in {enumerated(listed, MOST_NAMED)}."


def lost_from(network: Network) -> tuple[int, str] | None:
    """The layer from which on the residual is not known of every seed, and why; None where it is known to the end."""
    rows, last = network.layers.get("log10_residual", {}), max(network.means("log10_residual"), default=-1)
    unknown = [r for layer in sorted(rows) if layer > last for r in rows[layer] if r.value is None]
    return (last + 1, printable(unknown[0].because)) if unknown else None


def end_of(network: Network) -> str:
    """The last known residual as a power of ten, over seeds with the deviation of its logarithm."""
    values = network.curve("log10_residual")[max(network.means("log10_residual"))]
    mean, deviation = mean_and_deviation(values)
    if deviation:
        return power(" ± ".join(with_deviation(mean, deviation)))
    return power(number(mean, 4 if abs(mean) < 1e4 else 6))


def power(exponent: str) -> str:
    """A power of ten, with an exponent that is more than a number in brackets."""
    return f"10^({exponent})" if " " in exponent else f"10^{exponent}"


def of_curve(network: Network) -> Iterator[str]:
    """How far one network collapses, and where plain arithmetic stops."""
    means, name = network.means("log10_residual"), printable(network.label)
    if not means:
        return
    last, found = max(means), network.fit
    how = ""
    if found is not None and found.order is not None:
        how = f"; at the end each fall of log r is {found.order:.2f} times the one before: doubly exponential decay"
    elif found is not None:
        how = f", by a factor {number(found.factor or 0, 3)} in each layer ({found.first} to {found.last})"
    if last > 0:
        fallen = found is not None or means[min(means)] - means[last] > FALLEN
        does, after = "falls to" if fallen else "is", counted(last, "layer")
        yield f"{name}: the residual {does} {end_of(network)} after {after}{how}."
    lost = lost_from(network)
    if lost is not None:
        some = " of every seed" if network.count > 1 else ""
        yield f"{name}: from layer {lost[0]} on it is not known{some}: {lost[1]}."
    floor = stopped(network)
    if floor is not None:
        plain = f"Plain {network.matrix.dtype} arithmetic"
        yield f"{plain} cannot follow it below 10^{number(floor[1], 3)}, from layer {floor[0]} on."


def of_factor(factor: str, found: list[Network]) -> Iterator[str]:
    """What one part does, in which networks, and what has been published about it."""
    verdicts: dict[str, list[str]] = {}
    rows = [
        (network, record)
        for network in found
        for record in network.whole
        if record.measure == "log10_residual_difference" and record.details["factor"] == factor
    ]
    for network, record in rows:
        low, high = record.low or 0.0, record.high or 0.0
        verdict = "slower collapse" if low > 0 else "faster collapse" if high < 0 else "no clear difference"
        verdicts.setdefault(verdict, []).append(printable(network.label))
    if verdicts:
        part, published = PUBLISHED[factor]
        listed = "; ".join(f"{verdict} in {', '.join(dict.fromkeys(labels))}" for verdict, labels in verdicts.items())
        intervals = "an interval" if len(rows) == 1 else f"{len(rows)} intervals"
        seeds = rows[0][1].details["seeds"]
        yield f"With {part} ({seeds} seeds, {intervals} of 95 %): {listed}. {published}."
