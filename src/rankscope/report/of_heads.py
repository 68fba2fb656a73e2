"""Sentences on the heads of a model: what changes from the first layer to the last, which heads stand out, what if."""

from collections.abc import Iterator, Sequence
from itertools import takewhile
from statistics import fmean
from typing import Final

from rankscope.records import Matrix, Record, Table
from rankscope.report.by_head import TRAINED, Stack, brief, families, main_of, stacks_of
from rankscope.report.cells import counted, printable, short
from rankscope.report.chance import side_of
from rankscope.report.factors import by, directions

ALONE: Final = "model"
"""What the only stack of a model is called."""

NAMED: Final = 3
"""Heads that are named."""

Place = tuple[int, int]


def of_heads(table: Table) -> Iterator[str]:
    """What the heads of a model show, stack by stack, and what changes under another mask, plan or kernel."""
    measure = main_of(table)
    found = families(stacks_of(table))
    for stack, _ in found:
        yield from of_stack(stack, measure)
    for stack, variants in found:
        for name, other in variants.items():
            yield from what_if(stack, other, printable(name), measure)


def of_stack(stack: Stack, measure: str) -> Iterator[str]:
    """From where to where a measure runs in the first and the last layer, and the heads that stand out."""
    layers = [layer for layer in stack.layers() if stack.values(measure, layer)]
    name = measure.replace("_", " ")
    where = where_of(stack)
    if len(layers) > 1:
        ends = [stack.values(measure, layer) for layer in (layers[0], layers[-1])]
        runs = [f"from {brief(min(each))} to {brief(max(each))}" for each in ends]
        size = of_size(stack) if measure == "effective_rank" else ""
        places = f"In layer {layers[0]}{where}", f"in layer {layers[-1]}"
        yield f"{places[0]} the {name} of heads runs {runs[0]}{size}, {places[1]} {runs[1]}."
    yield from lowest(stack, measure, name, where)


def own_heads(table: Table, matrices: list[Matrix]) -> list[Matrix]:
    """The heads as the model has them, without variants of them and without what they make together."""
    together = {record.matrix for record in table if record.over is not None}
    own = {stack.name for stack, _ in families(stacks_of(table))}
    return [each for each in matrices if each.id not in together and each.stack in own]


def where_of(stack: Stack) -> str:
    """The stack in words, where there are several."""
    names = {"": "", ALONE: "", "encoder": " of the encoder", "decoder": " of the decoder"}
    own = stack.name.removesuffix(TRAINED).strip()
    return names.get(own, f" of {printable(own)}") + ("-attention" if own.endswith("cross") else "")


def of_size(stack: Stack) -> str:
    """The size that all matrices share."""
    sizes = {min(matrix.rows, matrix.columns) for matrix in stack.matrices}
    return f" of {sizes.pop()}" if len(sizes) == 1 else ""


def lowest(stack: Stack, measure: str, name: str, where: str) -> Iterator[str]:
    """The lowest heads of the layer that has the lowest, beside matched random attention if there is any."""
    found = sorted((float(r.value), place, r) for place, r in stack.heads[measure].items() if r.value is not None)
    if len(found) < 2 or found[0][0] == found[-1][0]:
        return
    size = of_size(stack) if measure == "effective_rank" else ""
    layer, equal = found[0][1][0], sum(value == found[0][0] for value, _, _ in found)
    if equal > NAMED:
        yield f"Lowest: {counted(equal, 'head')}{where} have {name} {brief(found[0][0])}{size}."
        return
    least = list(takewhile(lambda each: each[1][0] == layer, found[:NAMED]))
    heads = joined([str(place[1]) for _, place, _ in least])
    noun, have = ("head", "has") if len(least) == 1 else ("heads", "have")
    values = joined([brief(value) for value, _, _ in least])
    nulls = null_of([record for _, _, record in least])
    yield f"Lowest: {noun} {heads} of layer {layer}{where} {have} {name} {values}{size}{nulls}."


def null_of(records: Sequence[Record]) -> str:
    """What matched random attention has."""
    if any(record.null_mean is None or record.null_sd is None for record in records):
        return ""
    texts = [f"{brief(record.null_mean or 0)} ± {short(record.null_sd or 0)}" for record in records]
    unlike = "" if all(side_of(record) for record in records) else ", from which seeds do not tell them apart"
    return f"; matched random attention has {joined(texts)}{unlike}"


def what_if(first: Stack, other: Stack, label: str, measure: str) -> Iterator[str]:
    """How the heads change under a variant, pair by pair."""
    own, changed = first.heads[measure], other.heads[measure]
    both = [(own[place], changed[place]) for place in own if place in changed]
    pairs = [(float(a.value), float(b.value)) for a, b in both if a.value is not None and b.value is not None]
    if not pairs:
        return
    lower, higher = directions(pairs)
    count = max(lower, higher)
    name, heads = measure.replace("_", " "), counted(len(pairs), "head")
    label += where_of(first).replace(" of", " in", 1)
    if not count:
        yield f"What if {label}: the {name} stays the same in {heads}."
        return
    sides = {"higher": higher, "lower": lower, "the same": len(pairs) - lower - higher}
    said = joined([f"{side} in {n}" for side, n in sorted(sides.items(), key=lambda each: -each[1]) if n])
    positive = all(a > 0 and b > 0 for a, b in pairs)
    change = f"the {name} is {said} of {heads}" + (f", {by(pairs, count)}" if positive else "")
    means = f"{brief(fmean(b for _, b in pairs))} on average instead of {brief(fmean(a for a, _ in pairs))}"
    yield f"What if {label}: {change}; {means}."


def joined(texts: Sequence[str]) -> str:
    """Texts as one, with an "and" before the last."""
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
