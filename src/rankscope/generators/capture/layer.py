"""The heads of one layer as they were captured, each made into a matrix when it is asked for.

Queries and keys are kept, which are small; a matrix is kept only until it has been measured. Where a model adds to the
product of queries and keys something of its own for each head (DeBERTa, XLNet), the scores stand for the head instead.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from rankscope.arrays import Boolean, Float64
from rankscope.attention.build import attention, from_logits
from rankscope.attention.existing import single
from rankscope.attention.kernels import KERNELS, Kernel, ScoreKernel
from rankscope.attention.operators import Operator
from rankscope.attention.origin import Origin
from rankscope.attention.positions import Position
from rankscope.attention.recognised import recognised
from rankscope.errors import error
from rankscope.generators.capture.names import Site
from rankscope.generators.capture.scored import HIDDEN, UNDERFLOW
from rankscope.generators.stack import Job

Tensor = torch.Tensor

BIAS: Final = "captured"
"""What a position is called that is known only as the numbers that a model added to its scores."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One captured layer: (batch, heads, n, d) queries and (batch, key–value heads, m, d) keys, or scores.

    `scale` is the whole factor on q kᵀ, `mask` what was added to the scores or which keys are seen (broadcast to batch,
    heads, n, m), and `causal` hides later keys, aligned at the first. `sinks` has a logit for each head. `fidelity` is,
    for each text and head, how far these numbers are from what the model made of them, in units of the latter's largest
    magnitude; it speaks `of` the output P·V, or of the weights.
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

    def head(self, batch: int, head: int) -> "Head":
        """One head of one text."""
        scores = None if self.scores is None else doubles(self.scores[batch, head])
        query = None if self.query is None else doubles(self.query[batch, head])
        key = None if self.key is None else doubles(self.key[batch, head // (self.heads // self.key.shape[1])])
        added = None if self.mask is None else of_head(self.mask, batch, head)
        if scores is None:
            assert query is not None and key is not None
            products = self.scale * (query @ key.T)
        else:
            products = scores
        seen, bias = visible(products, added, self.causal)
        return Head(self, batch, head, query, key, scores, seen, bias)


@dataclass(frozen=True, eq=False)
class Head:
    """One head of one text: its numbers, which keys its queries see, and what is added to their scores, if anything."""

    layer: Layer
    batch: int
    number: int
    query: Float64 | None
    key: Float64 | None
    scores: Float64 | None
    seen: Boolean
    bias: Float64 | None

    def without_padding(self) -> tuple["Head", int]:
        """The head without keys that no query sees, and their queries where these are the same tokens; their number."""
        kept = self.seen.any(axis=0)
        count = int(np.count_nonzero(~kept))
        if not count or not kept.any():
            return self, 0
        own = self.seen.shape[0] == self.seen.shape[1] and not self.layer.site.crosses
        rows = kept if own else np.ones(len(self.seen), dtype=bool)
        both = np.ix_(rows, kept)
        return replace(
            self,
            query=None if self.query is None else self.query[rows],
            key=None if self.key is None else self.key[kept],
            scores=None if self.scores is None else self.scores[both],
            seen=self.seen[both],
            bias=None if self.bias is None else self.bias[both],
        ), count

    def operator(self, base: Origin, mask: Any = None, kernel: str | Kernel | None = None) -> Operator:
        """The matrix: as the model has it, or under another mask or kernel.

        Raises:
            UsageError: RS003, what the other one needs is not known of this head.
        """
        own, padded = self.without_padding()
        notes = [f"padding: {padded} tokens left out"] if padded else []
        shown = recognised(own.seen) if mask is None else mask
        with_kernel = self.kernel() if kernel is None else kernel
        position: Position | str = "none"
        if own.bias is not None:
            own.check_known(shown, with_kernel)
            held, first = own.bias, own.bias.shape[1] - own.bias.shape[0]
            position = Position(BIAS, bias=lambda i, j, place: held[i - first, j])
        origin = replace(base, notes=(*base.notes, *notes))
        options: dict[str, Any] = {
            "mask": shown, "kernel": with_kernel, "position": position, "empty_rows": "zero", "origin": origin,
        }  # fmt: skip
        if own.query is None or own.key is None:
            assert own.scores is not None
            own.check_known(shown, with_kernel)
            return from_logits(np.where(own.seen, own.scores, 0.0), **options)
        scale = own.layer.scale * math.sqrt(own.query.shape[1])
        made = attention(own.query, own.key, **options, scale=scale, heads=self.layer.heads)
        return single(made)

    def kernel(self) -> str | ScoreKernel:
        """The kernel that the model has."""
        layer = self.layer
        if layer.sinks is not None:
            return ScoreKernel("sink", sink=layer.sinks[self.number])
        return "softmax" if layer.cap is None else f"softcap:{layer.cap:g}"

    def check_known(self, mask: Any, kernel: str | Kernel) -> None:
        """Refuse a mask that shows scores which the model never had, and a kernel that acts on queries and keys."""
        built = KERNELS.build(kernel) if isinstance(kernel, str) else kernel
        if self.query is None and not isinstance(built, ScoreKernel):
            given = f"the kernel {built.label} for scores that are no product of queries and keys"
            raise error("RS003", given, "take a kernel of scores")
        from rankscope.attention.build import mask_of

        rows, columns = self.seen.shape
        places = np.arange(columns - rows, columns)[:, None]
        wanted = mask_of(mask, rows, columns).allows(places, np.arange(columns)[None, :])
        unknown = int(np.count_nonzero(np.broadcast_to(wanted, self.seen.shape) & ~self.seen))
        if unknown:
            what = "scores that are no product of queries and keys" if self.query is None else "the bias of the scores"
            given = f"the mask {getattr(mask, 'label', mask)} shows {unknown} keys of which {what} are not known"
            raise error("RS003", given, "take a mask that shows no more than the model's own")


def doubles(tensor: Tensor) -> Float64:
    """A tensor's numbers, exactly."""
    return np.asarray(tensor.detach().to("cpu", torch.float64).numpy())


def of_head(mask: Tensor, batch: int, head: int) -> Tensor:
    """The part of a mask, of two to four axes that are broadcast, that belongs to one head of one text."""
    while mask.dim() < 4:
        mask = mask[None]
    return mask[min(batch, mask.shape[0] - 1), min(head, mask.shape[1] - 1)].detach().to("cpu")


def visible(scores: Float64, added: Tensor | None, causal: bool) -> tuple[Boolean, Float64 | None]:
    """Which keys each query sees, and what is added to the scores of these; None where nothing is."""
    seen = np.ones(scores.shape, dtype=bool)
    if causal:
        seen = np.tril(seen)
    if added is None:
        return seen, None
    if added.dtype == torch.bool:
        return seen & np.broadcast_to(added.numpy(), scores.shape), None
    bias = np.broadcast_to(doubles(added), scores.shape)
    least = float(torch.finfo(added.dtype).min) / 2
    gone = bias <= least
    if (bias[~gone] <= HIDDEN).any():
        total = np.where(gone, -math.inf, scores + np.where(gone, 0.0, bias))
        gone = gone | ((bias <= HIDDEN) & (total.max(axis=1, keepdims=True) - total > UNDERFLOW))
    seen = seen & ~gone
    kept = np.where(seen, bias, 0.0)
    return seen, kept if kept.any() else None


@dataclass(frozen=True)
class Variant:
    """Another mask or kernel for the heads of a layer: `mask(layer, head, heads, n)` names it, none for the model's own.

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
    text = f"text {batch}" if held.batch > 1 else ""
    call = f"call {site.passed}" if several else ""
    stack = " ".join(filter(None, [call, text, site.stack, variant.name]))
    return Origin(
        label=" ".join(filter(None, [stack, f"layer {site.layer} head {head}"])),
        source=source,
        key=site.module or None,
        plan=variant.plan,
        layer=site.layer,
        head=head,
        stack=stack,
    )
