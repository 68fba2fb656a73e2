"""The heads of one layer as they were captured, as torch's tensors in the host's memory."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from rankscope.arrays import Boolean, Float64, check_dense
from rankscope.attention.operators import Operator
from rankscope.attention.origin import Origin
from rankscope.generators.capture.head import Head
from rankscope.generators.capture.names import Site, label_of
from rankscope.generators.capture.scored import HIDDEN, UNDERFLOW, of_group
from rankscope.generators.stack import Job

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Layer:
    """One captured layer: (batch, heads, n, d) queries and (batch, key–value heads, m, d) keys, or scores.

    `scale` is the whole factor on q kᵀ, `mask` what was added to the scores or which keys are seen (broadcast to batch,
    heads, n, m), and `causal` hides later keys, aligned at the first. `sinks` has a logit for each head. `fidelity` is,
    for each text and head, how far these numbers are from what the model made of them: `of` the output P·V, in units of
    its largest magnitude, or of the weights.
    """

    site: Site
    query: Tensor | None
    key: Tensor | None
    scores: Tensor | None
    mask: Tensor | None
    causal: bool
    scale: float
    cap: float | None
    sinks: list[float] | None
    fidelity: Float64
    of: str

    @property
    def tokens(self) -> Tensor:
        """What says how many texts, heads and queries there are."""
        found = self.scores if self.query is None else self.query
        assert found is not None
        return found

    @property
    def tensors(self) -> list[Tensor]:
        """What it keeps."""
        return [each for each in (self.query, self.key, self.scores) if each is not None]

    @property
    def batch(self) -> int:
        return self.tokens.shape[0]

    @property
    def heads(self) -> int:
        return self.tokens.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Queries and keys."""
        columns = self.scores.shape[-1] if self.key is None and self.scores is not None else self.pair_keys
        return self.tokens.shape[-2], columns

    @property
    def pair_keys(self) -> int:
        assert self.key is not None
        return int(self.key.shape[-2])

    def head(self, batch: int, head: int, *, alone: bool = True) -> Head:
        """One head of one text; not `alone` where others of its layer are asked, too.

        Raises:
            ResourceError: RS301, its matrix does not fit into memory.
        """
        check_dense(*self.shape)
        scores = None if self.scores is None else doubles(self.scores[batch, head])
        query = None if self.query is None else doubles(self.query[batch, head])
        key = None if self.key is None else doubles(of_group(self.key, batch, head, self.heads))
        added = None if self.mask is None else of_head(self.mask, batch, head)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused with its place later
            products = scores if query is None or key is None else self.scale * (query @ key.T)
            assert products is not None
            seen, bias = visible(products, added, self.causal)
        sink = None if self.sinks is None else self.sinks[head]
        apart = self.site.crosses or self.site.apart
        keys = self.keys(batch) if alone else None
        return Head(query, key, scores, seen, bias, self.scale, self.cap, sink, self.heads, apart, keys)

    def keys(self, batch: int) -> Boolean | None:
        """The keys that a query of any head sees, where heads have masks of their own: all lose the same padding."""
        if self.mask is None or self.mask.shape[1] == 1:
            return None
        known: dict[int, Boolean] = self.__dict__.setdefault("known", {})
        if batch not in known:
            known[batch] = np.any(
                [self.head(batch, h, alone=False).seen.any(axis=0) for h in range(self.heads)], axis=0
            )
        return known[batch]


def doubles(tensor: Tensor) -> Float64:
    """A tensor's numbers, exactly."""
    return np.asarray(tensor.detach().to("cpu", torch.float64).numpy())


def of_head(mask: Tensor, batch: int, head: int) -> Tensor:
    """The part of a mask, of two to four axes that are broadcast, that belongs to one head of one text."""
    while mask.dim() < 4:
        mask = mask[None]
    return mask[min(batch, mask.shape[0] - 1), min(head, mask.shape[1] - 1)].detach().to("cpu")


def visible(scores: Float64, added: Tensor | None, causal: bool) -> tuple[Boolean, Float64 | None]:
    """Which keys each query sees, and what is added to the scores of these; None where nothing is.

    A number that stands for a hidden key hides all of them where a row has no other, unless no row has.
    """
    seen = np.ones(scores.shape, dtype=bool)
    if causal:
        seen = np.tril(seen)
    if added is None:
        return seen, None
    if added.dtype == torch.bool:
        return seen & np.broadcast_to(added.numpy(), scores.shape), None
    bias = np.broadcast_to(doubles(added), scores.shape)
    seen = seen & ~(bias <= float(torch.finfo(added.dtype).min) / 2)
    low = seen & (bias <= HIDDEN)
    if low.any():
        total = np.where(seen, scores + np.where(seen, bias, 0.0), -math.inf)
        top = np.fmax.reduce(total, axis=1, keepdims=True)
        far = top - np.where(seen, total, 0.0) > UNDERFLOW
        whole = (low == seen).all(axis=1, keepdims=True)
        seen = seen & ~(low & (far | (whole & ~whole.all())))
    kept = np.where(seen, bias, 0.0)
    return seen, kept if kept.any() else None


@dataclass(frozen=True)
class Variant:
    """Another mask or kernel for the heads of a layer: `mask(layer, head, heads, n)` names it, none for the model's.

    `name` is empty for attention as it was trained.
    """

    name: str = ""
    mask: Callable[[int, int, int, int], str | None] = lambda layer, head, heads, n: None
    kernel: str | None = None
    plan: str | None = None


AS_TRAINED: Final = Variant()


@dataclass(frozen=True, eq=False)
class Held:
    """A layer that can be had: its place and sizes, known beforehand, and what gives it."""

    site: Site
    batch: int
    heads: int
    shape: tuple[int, int]
    get: Callable[[], Layer]
    pairs: bool = True


def jobs_of(held: Held, source: str, several: bool, variant: Variant = AS_TRAINED) -> Iterator[Job]:
    """A job for each head of each text; `several` says whether the model was called more than once."""
    for batch in range(held.batch):
        for head in range(held.heads):
            base = origin_of(held, batch, head, source, several, variant)

            def make(batch: int = batch, head: int = head, base: Origin = base) -> Operator:
                layer = held.get()
                known = float(layer.fidelity[batch, head])
                mask = variant.mask(held.site.layer, head, held.heads, held.shape[1])
                own = mask is None and variant.kernel is None
                base = replace(base, fidelity=known if own and math.isfinite(known) else None)
                made = layer.head(batch, head).operator(base, mask, variant.kernel)
                return made if variant.plan is None else replace(made, origin=replace(made.origin, mask=None))

            yield Job(base, held.shape, make)


def origin_of(held: Held, batch: int, head: int, source: str, several: bool, variant: Variant) -> Origin:
    """What is known of a head before it is made."""
    site = held.site
    stack, label = label_of(site, batch if held.batch > 1 else None, head, several=several, variant=variant.name)
    return Origin(
        label=label,
        source=source,
        key=site.module or None,
        plan=variant.plan,
        layer=site.layer,
        head=head,
        stack=stack,
    )
