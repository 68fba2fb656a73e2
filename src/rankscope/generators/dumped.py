"""The heads of a model that `rankscope model --save` wrote, read back to the same matrices.

The file may be a stranger's, like any other: what its metadata say is checked before it is used.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np

from rankscope.arrays import check_finite
from rankscope.attention.operators import Operator
from rankscope.attention.origin import Origin
from rankscope.errors import error
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
    heads, sinks, known = entry["heads"], entry["sinks"], entry["fidelity"]
    whole = [type(head) is int and 0 <= head < max(entry["of"], 1) for head in heads]
    if not heads or not all(whole) or len(known) != len(heads) or (sinks is not None and len(sinks) != len(heads)):
        raise malformed(what, "has a layer in its metadata whose heads do not fit")
    numbers = [entry["scale"], *([] if entry["cap"] is None else [entry["cap"]]), *(sinks or [])]
    numbers += [each for each in known if each is not None]
    if not all(type(each) in (int, float) and np.isfinite(each) for each in numbers) or min(numbers[:1]) < 0:
        raise malformed(what, "has a layer in its metadata whose numbers are not finite")
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
    for place, number in enumerate(entry["heads"]):
        stack, label = label_of(site, entry["text"], number, several=several)
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
            own = {part: each.read().values[place] for part, each in (("query", query), ("key", key), ("scores", scores))
                   if each is not None}  # fmt: skip
            for part, values in own.items():
                check_finite(np.where(np.isneginf(values), 0.0, values) if part == "scores" else values, f"the {part}")
            seen = of_head(arrays, entry["mask"], place, shape, what)
            bias = None if entry["bias"] is None else of_head(arrays, entry["bias"], place, shape, what)
            sink = None if entry["sinks"] is None else float(entry["sinks"][place])
            scale = entry["scale"] if options.scale is None else options.scale / np.sqrt(own["query"].shape[1])
            head = Head(
                own.get("query"), own.get("key"), own.get("scores"), np.asarray(seen, dtype=bool), bias, float(scale),
                entry["cap"], sink, entry["of"], site.crosses,
            )  # fmt: skip
            changed = any(each is not None for each in (options.mask, options.kernel, options.scale))
            return head.operator(replace(origin, fidelity=None) if changed else origin, options.mask, options.kernel)

        yield Job(origin, shape, make)


def fitting(what: str, parts: list[Stored], count: int) -> list[tuple[int, int]]:
    """The shapes of the matrices of arrays that hold so many heads."""
    for each in parts:
        if len(each.shape) != 3 or each.shape[0] != count or 0 in each.shape:
            raise malformed(what, f"has an array of shape {each.shape} for {count} heads")
    return [(each.shape[1], each.shape[2]) for each in parts]


def of_head(arrays: Mapping[str, Stored], name: str, place: int, shape: tuple[int, int], what: str) -> Any:
    """The mask or the bias of one head: an array of all heads or of each, or the mask that is named."""
    if name not in arrays:
        from rankscope.attention.build import mask_of

        rows, columns = shape
        places = np.arange(columns - rows, columns)[:, None]
        return np.array(np.broadcast_to(mask_of(name, rows, columns).allows(places, np.arange(columns)[None, :]), shape))
    stored = arrays[name]
    if stored.shape[-2:] != shape or len(stored.shape) not in (2, 3) or (len(stored.shape) == 3 and stored.shape[0] <= place):
        raise malformed(what, f"has a mask or a bias of shape {stored.shape} for {shape[0]} queries and {shape[1]} keys")
    values = stored.read().values
    found = values if len(stored.shape) == 2 else values[place]
    check_finite(found, what)
    return found
