"""The heads of a model that `rankscope model --save` wrote, read back to the same matrices.

The file may be a stranger's, like any other: what its metadata say is checked before it is used.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np

from rankscope.arrays import Array, Boolean, check_dense, check_finite
from rankscope.attention.masks import parse
from rankscope.attention.operators import Operator
from rankscope.attention.origin import Origin
from rankscope.errors import RankscopeError, error
from rankscope.generators.capture.head import Head
from rankscope.generators.capture.names import Site, label_of
from rankscope.generators.stack import Job
from rankscope.generators.stored import Archive, Stored, displayed, malformed, where
from rankscope.saved.flat import strict_json

FORMAT: Final = "rankscope attention 1"

KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "name": (str,), "stack": (str,), "layer": (int,), "call": (int,), "text": (int, type(None)), "module": (str,),
    "heads": (list,), "of": (int,), "scale": (float, int), "cap": (float, int, type(None)), "sinks": (list, type(None)),
    "mask": (str,), "bias": (str, type(None)), "fidelity": (list,),
}  # fmt: skip
"""What an entry of the metadata holds."""

LARGEST: Final = 10**6
"""More layers, heads, calls and texts than any model has."""

MOST: Final = 1e150
"""More than any scale, cap, sink or fidelity: products of two such numbers are finite."""


@dataclass(frozen=True)
class Options:
    """Another mask, kernel or scale than those of the file, and which layers by a pattern of their names."""

    key: str | None = None
    mask: str | None = None
    kernel: str | None = None
    scale: float | None = None


def is_dump(archive: Archive) -> bool:
    """Whether a file is one that `rankscope model --save` wrote."""
    return archive.metadata.get("rankscope", "").startswith("rankscope attention")


def jobs_of(archive: Archive, options: Options) -> Iterator[Job]:
    """A job for each head of each layer."""
    what = where(archive.path)
    if archive.metadata["rankscope"] != FORMAT:
        given = f"{what} is in the format '{displayed(archive.metadata['rankscope'])}'"
        raise error("RS207", given, "read it with a later version of rankscope")
    try:
        entries = strict_json(archive.metadata.get("layers", ""))
    except (ValueError, RecursionError) as reason:
        raise malformed(what, f"has metadata whose layers are not strict JSON ({reason})") from reason
    if not isinstance(entries, list) or not entries:
        raise malformed(what, "has metadata without a list of layers")
    arrays = {each.name: each for each in archive.arrays}
    checked = [entry_of(what, entry) for entry in entries]
    if len({each["name"] for each in checked}) < len(checked):
        raise malformed(what, "has metadata in which a layer stands twice")
    chosen = [each for each in checked if options.key is None or fnmatchcase(each["name"], options.key)]
    if not chosen:
        known = ", ".join(displayed(each["name"]) for each in checked[:8])
        raise error("RS208", f"{what} has no layer {options.key!r}", f"choose among: {known}")
    several = len({each["call"] for each in checked}) > 1
    for entry in chosen:
        yield from of_layer(archive, arrays, entry, options, several)


def entry_of(what: str, entry: Any) -> dict[str, Any]:
    """What the metadata say of one layer, if they say it whole."""
    if not isinstance(entry, dict) or entry.keys() != KINDS.keys():
        raise malformed(what, f"has a layer in its metadata without exactly {', '.join(KINDS)}")
    for name, kinds in KINDS.items():
        if type(entry[name]) not in kinds:
            raise malformed(what, f"has a layer in its metadata whose {name} is of another type")
    counted = [entry["layer"], entry["call"], entry["of"], entry["text"] or 0]
    if not all(0 <= each <= LARGEST for each in counted):
        raise malformed(what, "has a layer in its metadata whose number is none of a model")
    heads, sinks, known = entry["heads"], entry["sinks"], entry["fidelity"]
    whole = [type(head) is int and 0 <= head < entry["of"] for head in heads]
    if not heads or not all(whole) or len(set(heads)) < len(heads):
        raise malformed(what, "has a layer in its metadata whose heads are none, or not its own")
    if len(known) != len(heads) or (sinks is not None and len(sinks) != len(heads)):
        raise malformed(what, "has a layer in its metadata whose heads do not fit")
    caps, known = ([each for each in some if each is not None] for some in ([entry["cap"]], known))
    numbers = [entry["scale"], *caps, *(sinks or []), *known]
    if not all(type(each) in (int, float) and abs(each) <= MOST for each in numbers):
        raise malformed(what, "has a layer in its metadata whose numbers are not finite")
    if min([entry["scale"], *known]) < 0 or min(caps, default=1) <= 0:
        raise malformed(what, "has a layer in its metadata whose scale, cap or fidelity has the wrong sign")
    if caps and entry["bias"] is not None:
        raise malformed(what, "has a layer in its metadata with a cap and a bias, not saying which is first")
    return dict(entry)


def of_layer(
    archive: Archive, arrays: Mapping[str, Stored], entry: Mapping[str, Any], options: Options, several: bool
) -> Iterator[Job]:
    """The heads of one layer."""
    name, count = entry["name"], len(entry["heads"])
    query, key, scores = (arrays.get(f"{name}.{part}") for part in ("query", "key", "scores"))
    what = where(archive.path, name)
    if scores is not None:
        shape = fitting(what, [scores], count)[0]
    elif query is not None and key is not None:
        (rows, d), (columns, same) = fitting(what, [query, key], count)
        if d != same:
            raise malformed(what, "has queries and keys of different sizes")
        shape = rows, columns
    else:
        raise malformed(what, "has neither queries and keys nor scores")
    site = Site(entry["stack"], entry["layer"], entry["module"], entry["call"])
    changes = {"": options.mask, "kernel=": options.kernel, "scale=": options.scale}
    variant = " ".join(f"{key}{value}" for key, value in changes.items() if value is not None)
    for place, number in enumerate(entry["heads"]):
        stack, label = label_of(site, entry["text"], number, several=several, variant=variant)
        origin = Origin(
            label=displayed(label),
            source=displayed(archive.metadata.get("model", archive.path.name)),
            key=displayed(entry["module"]) or None,
            layer=entry["layer"],
            head=number,
            stack=displayed(stack),
            fidelity=entry["fidelity"][place],
        )

        def make(place: int = place, origin: Origin = origin) -> Operator:
            check_dense(*shape)
            named = {"query": query, "key": key} if scores is None else {"scores": scores}
            own = {part: values_of(each, place, part, what) for part, each in named.items() if each is not None}
            seen = mask_of(arrays, entry["mask"], place, shape, what)
            bias = None if entry["bias"] is None else bias_of(arrays, entry["bias"], place, shape, what)
            sink = None if entry["sinks"] is None else float(entry["sinks"][place])
            if options.scale is not None and scores is not None:
                given = f"the scale {options.scale} for scores that are no product of queries and keys"
                raise error("RS003", given, "leave it out")
            scale = entry["scale"] if options.scale is None else options.scale / math.sqrt(own["query"].shape[1])
            head = Head(
                own.get("query"), own.get("key"), own.get("scores"), seen, bias, float(scale), entry["cap"], sink,
                entry["of"], site.crosses,
            )  # fmt: skip
            return head.operator(replace(origin, fidelity=None) if variant else origin, options.mask, options.kernel)

        yield Job(origin, shape, make)


def values_of(stored: Stored, place: int, part: str, what: str) -> Array:
    """The queries, keys or scores of one head, which may hold anything where there is padding."""
    values = stored.read().values[place]
    if np.iscomplexobj(values):
        raise malformed(what, f"has complex {part}")
    return np.asarray(values)


def fitting(what: str, parts: list[Stored], count: int) -> list[tuple[int, int]]:
    """The shapes of the matrices of arrays that hold so many heads."""
    for each in parts:
        if len(each.shape) != 3 or each.shape[0] != count or 0 in each.shape:
            raise malformed(what, f"has an array of shape {each.shape} for {count} heads")
    return [(each.shape[1], each.shape[2]) for each in parts]


def mask_of(arrays: Mapping[str, Stored], name: str, place: int, shape: tuple[int, int], what: str) -> Boolean:
    """The pairs that one head sees: by the name of a mask, or by an array of zeros and ones."""
    if name in arrays:
        values = of_head(arrays[name], place, shape, what)
        if not np.isin(values, (0, 1)).all():
            raise malformed(what, "has a mask of other numbers than 0 and 1")
        return np.asarray(values, dtype=bool)
    try:
        return np.array(parse(name).shown(*shape), dtype=bool)
    except (RankscopeError, RecursionError, OverflowError) as reason:
        raise malformed(what, f"names a mask '{displayed(name)}' that there is not") from reason


def bias_of(arrays: Mapping[str, Stored], name: str, place: int, shape: tuple[int, int], what: str) -> Array | None:
    """What is added to the scores of one head; None where that is nothing."""
    if name not in arrays:
        raise malformed(what, f"names a bias '{displayed(name)}' that is not in the file")
    values = of_head(arrays[name], place, shape, what)
    return values if values.any() else None


def of_head(stored: Stored, place: int, shape: tuple[int, int], what: str) -> Array:
    """A mask or a bias of one head: of an array of all heads, or of each."""
    several = stored.shape[:-2]
    if stored.shape[-2:] != shape or len(several) > 1 or any(count <= place for count in several):
        sizes = f"{shape[0]} queries and {shape[1]} keys"
        raise malformed(what, f"has a mask or a bias of shape {stored.shape} for {sizes}")
    values = stored.read().values
    found = np.asarray(values[place] if several else values)
    if np.iscomplexobj(found):
        raise malformed(what, "has a complex mask or bias")
    check_finite(found, f"the mask or the bias of {what}")
    return found
