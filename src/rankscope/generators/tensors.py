"""Which arrays of a file are attention matrices, and what they are called.

Attention is stored in many ways: all of it in one array, an array for each layer or for each head, with or without the
batch that a model was given. The number of a layer or a head is read from the name or is an axis, and never both: an
axis that is left is a batch. Arrays whose names end in `query` and `key` belong together: they give scores, and from
scores more can be proved than from stored weights.
"""

import fnmatch
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from rankscope.arrays import Given
from rankscope.attention.build import attention
from rankscope.attention.existing import bare, single
from rankscope.attention.operators import Operator
from rankscope.attention.origin import Origin
from rankscope.attention.request import EmptyRows
from rankscope.errors import error
from rankscope.generators import dumped
from rankscope.generators.files import open_archive
from rankscope.generators.stack import Job, Work
from rankscope.generators.stored import Archive, Stored, displayed

From = Literal["stored", "scores"]

QUERY: Final = ("query", "queries", "q")
KEY: Final = ("key", "keys", "k")
"""Last words of the names of arrays that belong together."""

START, NUMBER = r"(?<![^\W_])", r"([0-9]+)(?![^\W_])"  # whole words: nothing in `sublayer.3`, `layer.3rd`
GPT: Final = r"(?<![._/][0-9][._/])(?<![._/][0-9]{2}[._/])h\."  # after a number, as in `l.3.h.0`, it may be a head
LAYER: Final = re.compile(rf"{START}(?:(?:layer|block)(?:s?[._/])?|{GPT}){NUMBER}", re.IGNORECASE)
ATTENTION: Final = re.compile(rf"{START}(?:attn|attention)(?:s?[._/])?{NUMBER}(?![._/-][0-9])", re.IGNORECASE)
HEAD: Final = re.compile(rf"{START}head(?:s?[._/])?{NUMBER}", re.IGNORECASE)
DIGITS: Final = 6  # a longer number counts no layers


@dataclass(frozen=True)
class File:
    """A file of matrices, and how to read it.

    A name gives the number of a layer after `layer`, `layers`, `block` or `blocks`, or after `h.` as in GPT-2
    (`layer.3.attention`, `layers_3`, `block3`, `transformer.h.3.attn`); where it has none of these, after `attn`,
    `attention` or `attentions` (`attn_3`), unless a second number follows (`attn_0_1`). It gives the number of a head
    after `head` or `heads` (`layers.3.head.0`). Of several numbers the first counts, which is the outermost; one of
    more than six digits is none.

    The last two axes of an array are a matrix. Those before them are, from the last to the first, the head, the layer
    and the batch, without what the name gives: `attn` (4, 6, n, n) is layer × head; of `layer.3.attn`, (6, n, n) is
    the heads, (1, 6, n, n) the same of a batch of one, and (2, 6, n, n) is batch × head, and is labelled so.

    A file that `rankscope model --save` wrote says itself what its arrays are.

    `key` is a pattern that names arrays (`*.attention`); `origin` is "stored" for weights as they are, "scores" for
    query and key pairs, and None for the weights where there are any and the pairs otherwise. `mask`, `kernel`,
    `position` and `scale` belong to pairs; where they are not given the file's metadata decides.
    """

    path: str
    key: str | None = None
    origin: From | None = None
    mask: str | None = None
    kernel: str | None = None
    position: str | None = None
    scale: float | None = None
    empty_rows: EmptyRows = "error"

    def work(self) -> Work:
        """The matrices of the file, and notes on what is not analysed."""
        archive = open_archive(self.path)
        if dumped.is_dump(archive):
            return Work(list(dumped.jobs_of(archive, self.of_dump())))
        named = [each for each in archive.arrays if self.key is None or fnmatch.fnmatchcase(each.name, self.key)]
        if self.key is not None and not named:
            known = ", ".join(displayed(each.name) for each in archive.arrays[:8])
            raise error("RS208", f"{displayed(archive.path.name)} has no array {self.key!r}", f"choose among: {known}")
        queries, keys = (
            {stem(each.name): each for each in named if role(each.name) in nouns} for nouns in (QUERY, KEY)
        )
        pairs = [(queries[name], keys[name]) for name in queries if name in keys]
        taken: dict[str, int] = {}
        paired = {each.name for pair in pairs for each in pair}
        weights = [each for each in named if each.name not in paired and self.is_matrix(each)]
        skipped = [each for each in named if each.name not in paired and not self.is_matrix(each)]
        notes = [f"skipped '{displayed(each.name)}' of shape {each.shape}: {why_not(each)}" for each in skipped]
        if self.origin == "scores" or (self.origin is None and not weights and pairs):
            notes += [f"{len(weights)} arrays of weights are not analysed: leave out --from scores"] if weights else []
            heads = 1 + max((numbers_of(query.name)[1] or 0 for query, _ in pairs), default=0)
            jobs = [job for pair in pairs for job in self.from_pair(archive, *pair, heads, taken, notes)]
        else:
            refuse_options(self)
            notes += [f"{len(pairs)} query/key pairs are not analysed: add --from scores"] if pairs else []
            jobs = [job for each in weights for job in self.from_weights(archive, each, taken)]
        if not jobs:
            listed = "; ".join(f"'{displayed(each.name)}' {each.shape}" for each in archive.arrays[:8]) or "no array"
            raise error(
                "RS208",
                f"{displayed(archive.path.name)} holds nothing to analyse: {listed}",
                "give square matrices, or pairs named …query and …key; --key '*' takes arrays of any shape",
            )
        return Work(jobs, tuple(dict.fromkeys(notes)))

    def of_dump(self) -> dumped.Options:
        """How a file that `rankscope model` wrote is read: it holds queries and keys, and knows the rest."""
        for name, value in (("--from stored", self.origin == "stored"), ("--position", self.position is not None)):
            if value:
                raise error("RS003", f"{name} with queries and keys of a model", "leave it out")
        return dumped.Options(self.key, self.mask, self.kernel, self.scale)

    def described(self) -> dict[str, Any]:
        """How the file is read, with its name and not its path."""
        return {"kind": "file", **vars(self), "path": Path(self.path).name}

    def is_matrix(self, array: Stored) -> bool:
        """Whether an array is analysed as stored: square, or any matrix when `key` names it."""
        square = len(array.shape) >= 2 and array.shape[-1] == array.shape[-2]
        return 2 <= len(array.shape) <= 4 and (square or self.key is not None)

    def from_weights(self, archive: Archive, array: Stored, taken: dict[str, int]) -> Iterator[Job]:
        """One job for each matrix of an array of weights."""
        read = remembered(array)
        for index, origin in places(archive, array, array.name, taken):

            def make(index: tuple[int, ...] = index, origin: Origin = origin) -> Operator:
                given = read()
                return bare(np.ascontiguousarray(given.values[index]), given.storage, origin)

            yield Job(origin, (array.shape[-2], array.shape[-1]), make)

    def from_pair(
        self, archive: Archive, query: Stored, key: Stored, heads: int, taken: dict[str, int], notes: list[str]
    ) -> Iterator[Job]:
        """One job for each pair of queries and keys; there are so many `heads` where each has arrays of its own."""
        if query.shape[:-2] != key.shape[:-2] or len(query.shape) < 2 or query.shape[-1] != key.shape[-1]:
            shapes = f"'{displayed(query.name)}' {query.shape} and '{displayed(key.name)}' {key.shape}"
            raise error(
                "RS101", f"in {displayed(archive.path.name)} {shapes} do not pair", "store (…, n, d) and (…, m, d)"
            )
        read_query, read_key = remembered(query), remembered(key)
        options: dict[str, Any] = {
            "mask": self.mask or archive.metadata.get("mask", "bidirectional"),
            "kernel": self.kernel or archive.metadata.get("kernel", "softmax"),
            "position": self.position or archive.metadata.get("position", "none"),
            "heads": query.shape[-3] if axes_of(query)[-1:] == ["head"] else heads,
            "scale": self.scale if self.scale is not None else metadata_scale(archive, query.shape[-1], notes),
            "empty_rows": self.empty_rows,
        }
        for index, origin in places(archive, query, stem(query.name).rstrip("._/"), taken):

            def make(index: tuple[int, ...] = index, origin: Origin = origin) -> Operator:
                queries, keys = read_query().values[index], read_key().values[index]
                return single(attention(queries, keys, **options, origin=origin))

            yield Job(origin, (query.shape[-2], key.shape[-2]), make)


def load(path: str | Path, *, key: str | None = None, **options: Any) -> Operator | list[Operator]:
    """The matrices of a .npy, .npz or .safetensors file, as operators.

    Args:
        path: the file. Nothing in it is executed; pickled files are refused.
        key: a pattern that names arrays, such as "*.attention".
        **options: origin ("stored" or "scores"), mask, kernel, scale and empty_rows as in `File`.

    Raises:
        FormatError: a file that is not what it says it is, or that holds nothing to analyse.
        InputError: NaN or infinity in any of the matrices.
    """
    made = [job.make() for job in File(str(path), key, **options).work().jobs]
    return made[0] if len(made) == 1 else made


def why_not(array: Stored) -> str:
    """Why an array is not analysed as a matrix."""
    return "not square" if 2 <= len(array.shape) <= 4 else f"{len(array.shape)} dimensions, not 2 to 4"


def role(name: str) -> str:
    """The last word of an array's name."""
    return re.split(r"[._/]", name)[-1]


def stem(name: str) -> str:
    """An array's name without its last word."""
    return name[: len(name) - len(role(name))]


def places(
    archive: Archive, array: Stored, name: str, taken: dict[str, int]
) -> Iterator[tuple[tuple[int, ...], Origin]]:
    """The index of each matrix in an array, with its label (from `name`, and none of those `taken`), layer and head."""
    layer, head = numbers_of(array.name)
    axes = axes_of(array)
    name = displayed(name) or displayed(archive.path.name)
    for index in np.ndindex(array.shape[:-2]):
        numbered = zip(axes, index, array.shape[:-2], strict=True)
        words = [f" {axis} {number}" for axis, number, side in numbered if axis != "batch" or side > 1]
        place = {"layer": layer, "head": head} | dict(zip(axes, index, strict=True))
        label, key = unused(name + "".join(words), taken), array.name or None
        yield index, Origin(label, source=archive.path.name, key=key, layer=place["layer"], head=place["head"])


def numbers_of(name: str) -> tuple[int | None, int | None]:
    """The numbers of the layer and of the head that an array's name gives.

    >>> numbers_of("layers.3.head.0"), numbers_of("attn_3"), numbers_of("attn_0_1")
    ((3, 0), (3, None), (None, None))
    """
    found = LAYER.search(name) or ATTENTION.search(name), HEAD.search(name)
    layer, head = (int(each[1]) if each and len(each[1]) <= DIGITS else None for each in found)
    return layer, head


def axes_of(array: Stored) -> list[str]:
    """What the axes of an array before its matrices are: "batch", "layer" or "head"."""
    count = len(array.shape) - 2
    numbers = zip(("layer", "head"), numbers_of(array.name), strict=True)
    free = [axis for axis, number in numbers if number is None]
    known = free[max(len(free) - count, 0) :]
    return ["batch"] * (count - len(known)) + known


def unused(label: str, taken: dict[str, int]) -> str:
    """The label, with a number where it is taken: long names are cut, and a name may read like another's label."""
    found = label
    while found in taken:
        taken[label] += 1
        found = f"{label} ({taken[label]})"
    taken[found] = 1
    return found


def remembered(array: Stored) -> Callable[[], Given]:
    """A reader that keeps the array for the next head, and no longer than until all heads have been made."""
    return lru_cache(maxsize=1)(array.read)


def metadata_scale(archive: Archive, d: int, notes: list[str]) -> float:
    """The multiplier of 1/√d that a file's metadata ask for: their `scale` is the whole factor on q kᵀ."""
    text = archive.metadata.get("scale")
    if text is None:
        return 1.0
    if re.fullmatch(r"\s*\d*\.?\d+([eE][+-]?\d+)?\s*", text, flags=re.ASCII):
        found = float(text) * math.sqrt(d)
        if math.isfinite(found):
            return found
    notes.append(f"the metadata's scale '{displayed(text)}' is not a number: 1/√d is used")
    return 1.0


def refuse_options(file: File) -> None:
    """Refuse options that describe how weights are made, when the weights are given."""
    for name in ("mask", "kernel", "scale"):
        if getattr(file, name) is not None:
            raise error(
                "RS003",
                f"--{name} with stored weights: they are analysed as they are",
                "leave it out, or add --from scores to make the weights from queries and keys",
            )
