"""One head of captured attention: its numbers, made into a matrix when that is asked for.

Queries and keys are what is kept, since they are small; where a model adds to their product something of its own for
each head (DeBERTa, XLNet), the scores stand for the head instead.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from rankscope.arrays import Boolean, Float64
from rankscope.attention.build import attention, check_accepted, from_logits, mask_of
from rankscope.attention.existing import single
from rankscope.attention.kernels import KERNELS, Kernel, ScoreKernel, softcap
from rankscope.attention.operators import Operator
from rankscope.attention.origin import Origin
from rankscope.attention.positions import Position, none
from rankscope.attention.recognised import recognised
from rankscope.errors import error

CAPTURED: Final = "captured"
"""What a position is called that is known only as the numbers that a model added to its scores."""


@dataclass(frozen=True, eq=False)
class Head:
    """One head: queries (n, d) and keys (m, d) with the factor `scale` of their product, or scores (n, m); which keys
    are `seen`; the `bias` that is added to the scores; a soft `cap` of them, and the logit of a `sink`.

    `count` is the number of heads of its layer; a head that `crosses` has queries of one text and keys of another. The
    `keys` are those that any head of its layer sees, where heads differ.
    """

    query: Float64 | None
    key: Float64 | None
    scores: Float64 | None
    seen: Boolean
    bias: Float64 | None = None
    scale: float = 1.0
    cap: float | None = None
    sink: float | None = None
    count: int = 1
    crosses: bool = False
    keys: Boolean | None = None

    def without_padding(self) -> tuple["Head", str]:
        """The head without keys that no query sees, and their queries where these are padding; and what is gone.

        Padding stands at an end of a text, and the tokens before or behind it see themselves.
        """
        kept = self.seen.any(axis=0) if self.keys is None else self.keys
        count = int(np.count_nonzero(~kept))
        if not count or not kept.any():
            return self, ""
        own = self.seen.shape[0] == self.seen.shape[1] and not self.crosses
        inner = np.flatnonzero(kept)
        if own and not (len(inner) == inner[-1] - inner[0] + 1 and self.seen.diagonal()[kept].any()):
            return self, ""
        gone = f"padding: {count} token{'s' * (count > 1)} left out"
        said = gone if own else f"keys that no query sees: {count} left out"
        rows = kept if own else np.ones(len(self.seen), dtype=bool)
        both = np.ix_(rows, kept)
        return replace(
            self,
            query=None if self.query is None else self.query[rows],
            key=None if self.key is None else self.key[kept],
            scores=None if self.scores is None else self.scores[both],
            seen=self.seen[both],
            bias=None if self.bias is None else self.bias[both],
            keys=None,
        ), said

    def operator(self, base: Origin, mask: Any = None, kernel: str | Kernel | None = None) -> Operator:
        """The matrix: as the model has it, or under another mask or kernel.

        Raises:
            UsageError: RS003, what the other one needs is not known of this head.
        """
        own, padded = self.without_padding()
        shown = recognised(own.seen) if mask is None else mask
        by = self.kernel if kernel is None else kernel
        own.check_known(shown, by)
        left_out = [padded] if padded else []
        options: dict[str, Any] = {
            "mask": shown,
            "kernel": by,
            "position": own.position,
            "empty_rows": "zero",
            "origin": replace(base, notes=(*base.notes, *left_out)),
        }
        if own.query is None or own.key is None:
            assert own.scores is not None
            return from_logits(np.where(own.seen, own.scores, 0.0), **options)
        scale = own.scale * math.sqrt(own.query.shape[1])
        return single(attention(own.query, own.key, **options, scale=scale, heads=self.count))

    @property
    def kernel(self) -> str | ScoreKernel:
        """The kernel that the model has."""
        capped = None if self.cap is None else softcap(self.cap)
        if self.sink is None:
            return capped or "softmax"
        if capped is None:
            return ScoreKernel("sink", sink=self.sink)
        return ScoreKernel(f"{capped.label} sink", capped.log_weight, sink=self.sink)

    @property
    def position(self) -> Position:
        """What the model adds to the scores."""
        if self.bias is None:
            return none()
        held, first = self.bias, self.bias.shape[1] - self.bias.shape[0]
        return Position(CAPTURED, bias=lambda i, j, place: held[i - first, j])

    def check_known(self, mask: Any, kernel: str | Kernel) -> None:
        """Refuse a mask that shows scores which the model never had, and a kernel that needs more than there is."""
        built = KERNELS.build(kernel) if isinstance(kernel, str) else kernel
        if self.query is None and not isinstance(built, ScoreKernel):
            given = f"the kernel {built.label} for scores that are no product of queries and keys"
            raise error("RS003", given, "take a kernel of scores")
        known = mask_of(mask, *self.seen.shape)
        wanted = known.shown(*self.seen.shape)
        unknown = int(np.count_nonzero(wanted & ~self.seen))
        if unknown and (self.query is None or self.bias is not None):
            what = "the scores" if self.query is None else "what the model adds to the scores"
            given = f"the mask {known.label} shows {unknown} places of which {what} is not known"
            raise error("RS003", given, "take a mask that shows no more than the model's own")
        check_accepted(built, known, wanted, self.position)
