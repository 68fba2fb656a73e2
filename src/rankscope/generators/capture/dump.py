"""What was captured of a model as a .safetensors file: queries, keys, masks and scales, and what each layer is.

The arrays are named as other tools name them (`layer.3.query`), so that they can be read by anything; what only we need
stands in the metadata as JSON. A mask that has a name is written as this name, and what several layers share once.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from rankscope.arrays import Array
from rankscope.attention.recognised import GIVEN, recognised
from rankscope.errors import error
from rankscope.generators.capture.capturing import Capture
from rankscope.generators.capture.head import Head
from rankscope.generators.capture.layer import Held
from rankscope.generators.capture.names import called
from rankscope.generators.dumped import FORMAT
from rankscope.writing import atomic_write

TYPES: Final = {"float64": "F64", "float32": "F32", "float16": "F16", "uint8": "U8"}
"""What the format calls the types that are written."""


def write(captured: Capture, path: Path) -> list[str]:
    """Write the heads of a capture; what is not in the file, in words.

    Raises:
        StoreError: RS502, with the reason; an earlier file is left as it was.
    """
    arrays: dict[str, Array] = {}
    shared: dict[bytes, str] = {}
    listed = [
        of_layer(held, text, numbers, arrays, shared)
        for held in captured.held
        for numbers in [[n for n in range(held.heads) if captured.heads is None or n in captured.heads]]
        for text in range(held.batch if numbers else 0)
    ]
    if not listed:
        given = f"nothing that can be saved was captured of {captured.source}"
        raise error("RS208", given, "capture layers and heads that it has, without a callback")
    metadata = {"rankscope": FORMAT, "model": captured.source, "layers": json.dumps(listed), **common(listed)}
    metadata |= {name: str(captured.about[name]) for name in ("architecture", "dtype") if name in captured.about}
    atomic_write(path, serialised(arrays, metadata))
    if captured.again is None and captured.without_pairs:
        return [f"not in {path.name}: {called(site)}, whose scores are not kept" for site in captured.without_pairs]
    return []


def serialised(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a .safetensors file, the same each time: the longest numbers first, so that all are aligned."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts: list[bytes] = []
    start = 0
    for name in sorted(arrays, key=lambda name: (-arrays[name].itemsize, name)):
        held = arrays[name]
        parts.append(held.astype(held.dtype.newbyteorder("<")).tobytes())
        places = [start, start := start + held.nbytes]
        header[name] = {"dtype": TYPES[held.dtype.name], "shape": list(held.shape), "data_offsets": places}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def of_layer(
    held: Held, text: int, numbers: list[int], arrays: dict[str, Array], shared: dict[bytes, str]
) -> dict[str, Any]:
    """Some heads of one layer on one text: its arrays, put among the others, and its entry in the metadata."""
    layer, site = held.get(), held.site
    found = [layer.head(text, number) for number in numbers]
    words = [f"call.{site.passed}" if site.passed else "", f"text.{text}" if held.batch > 1 else "", site.stack]
    name = ".".join(filter(None, [*words, f"layer.{site.layer}"]))
    if layer.query is not None and layer.key is not None:
        arrays[f"{name}.query"] = stacked([as_stored(each.query, layer.query.dtype) for each in found])
        arrays[f"{name}.key"] = stacked([as_stored(each.key, layer.key.dtype) for each in found])
    else:
        arrays[f"{name}.scores"] = stacked([smallest(each.scores) for each in found])
    known = [float(layer.fidelity[text, number]) for number in numbers]
    return {
        "name": name,
        "stack": site.stack,
        "layer": site.layer,
        "call": site.passed,
        "text": text if held.batch > 1 else None,
        "module": site.module,
        "heads": numbers,
        "of": held.heads,
        "scale": layer.scale,
        "cap": layer.cap,
        "sinks": None if layer.sinks is None else [layer.sinks[number] for number in numbers],
        "mask": mask_of(found, f"{name}.mask", arrays, shared),
        "bias": bias_of(found, f"{name}.bias", arrays, shared),
        "fidelity": [value if np.isfinite(value) else None for value in known],
    }


def stacked(arrays: Sequence[Array]) -> Array:
    """The arrays of heads as one."""
    return np.ascontiguousarray(np.stack(arrays))


def as_stored(values: Any, dtype: Any) -> Array:
    """Numbers in the type that the model had, or in a wider one that holds them exactly."""
    narrow = {"torch.float16": np.float16, "torch.float64": np.float64}.get(str(dtype), np.float32)
    return np.asarray(values, dtype=narrow)


def smallest(values: Any) -> Array:
    """Numbers in float32 if that holds them exactly, else in float64."""
    with np.errstate(over="ignore"):
        narrow = np.asarray(values, dtype=np.float32)
    return narrow if np.array_equal(narrow, values) else np.asarray(values, dtype=np.float64)


def bias_of(found: Sequence[Head], name: str, arrays: dict[str, Array], shared: dict[bytes, str]) -> str | None:
    """The name of the array of what is added to the scores of each head; None where nothing is."""
    if all(each.bias is None for each in found):
        return None
    held = [smallest(np.zeros(each.seen.shape) if each.bias is None else each.bias) for each in found]
    return together(held, name, arrays, shared)


def mask_of(found: Sequence[Head], name: str, arrays: dict[str, Array], shared: dict[bytes, str]) -> str:
    """The name of the mask that all heads have, or of the array that holds it."""
    masks = [each.seen for each in found]
    label = recognised(masks[0]).label
    alike = all(np.array_equal(each, masks[0]) for each in masks)
    if alike and label != GIVEN:
        return label
    return together([each.astype(np.uint8) for each in masks], name, arrays, shared)


def together(parts: Sequence[Array], name: str, arrays: dict[str, Array], shared: dict[bytes, str]) -> str:
    """The name of an array with what belongs to each head, or to all of them; written once if others have the same."""
    import hashlib

    alike = all(np.array_equal(each, parts[0]) for each in parts)
    held = np.ascontiguousarray(parts[0]) if alike else stacked(parts)
    digest = hashlib.sha256(repr((held.shape, held.dtype)).encode() + held.tobytes()).digest()
    if digest not in shared:
        shared[digest] = name
        arrays[name] = held
    return shared[digest]


def common(listed: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What all layers have alike, as other files of queries and keys say it."""
    found = {key: {str(each[key]) for each in listed} for key in ("scale", "mask")}
    return {key: values.pop() for key, values in found.items() if len(values) == 1}
