"""What if: the same trained queries and keys under another mask, plan or kernel, beside the attention that was trained.

A mask may show what the model never saw, as long as queries and keys are known: their product is. A number that the
model adds to each score is known only where it was added, and a head that would need more is left out by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from rankscope.attention.kernels import KERNELS
from rankscope.attention.masks import parse
from rankscope.attention.operators import Mean, Operator
from rankscope.attention.origin import Origin
from rankscope.attention.recognised import recognised
from rankscope.errors import RankscopeError, error
from rankscope.generators.capture.capturing import Capture
from rankscope.generators.capture.layer import Held, Variant
from rankscope.generators.capture.names import called
from rankscope.generators.plans import PLANS, Site
from rankscope.generators.stack import Job, Work, equal_shapes

TRAINED = Variant("trained")
"""The attention that the model was trained for, as it is called beside others."""


def variant(text: str) -> Variant:
    """A variant as it is typed: a mask, a plan, or `kernel=` and a kernel.

    >>> variant("kernel=linear:elu+1").kernel
    'linear:elu+1'
    """
    key, separator, value = text.partition("=")
    if separator and key.strip() == "kernel":
        KERNELS.build(value.strip())
        return Variant(text.strip(), kernel=value.strip())
    if text.strip() in PLANS.names():
        plan = PLANS[text.strip()].function
        if text.strip() == "uniform":
            raise error("RS002", "the plan 'uniform' as a what-if", "name the mask that every head should have")
        planned = Variant(text.strip(), lambda layer, head, heads, n: plan(Site(layer, head, heads, n, "")))
        return replace(planned, plan=text.strip())
    try:
        parse(text)
    except RankscopeError as reason:
        if reason.code != "RS001":
            raise
        plans = ", ".join(name for name in PLANS.names() if name != "uniform")
        others = f"or a plan ({plans}), or a kernel as kernel=NAME"
        raise error("RS001", reason.given, f"{reason.remedy.rstrip('.')}; {others}") from reason
    return Variant(text.strip(), lambda layer, head, heads, n: text)


@dataclass(frozen=True, eq=False)
class WhatIf:
    """A capture as it was trained, and beside it under other masks, plans and kernels: a source of studies.

    With a plan, which mixes what heads see, the mean over the heads of each layer is measured, too.
    """

    captured: Capture
    variants: tuple[Variant, ...]

    def work(self) -> Work:
        """The heads as trained, then each variant of them; notes name the heads that one cannot be had of.

        Raises:
            UsageError: RS003, variants that no head has.
        """
        jobs: list[Job] = []
        notes = list(self.captured.notes)
        reasons: dict[str, None] = {}
        means = any(each.plan is not None for each in self.variants)
        for each in (TRAINED, *self.variants):
            left_out: dict[str, list[str]] = {}
            for held in self.captured.held:
                why = "" if each is TRAINED else why_not(held, each, self.captured.heads)
                if why:
                    left_out.setdefault(why, []).append(called(held.site))
                    continue
                found = list(self.captured.jobs_of(held, each))
                jobs += found
                jobs += list(mean_jobs(held, found)) if means and found and each.kernel is None else []
            reasons |= dict.fromkeys(left_out)
            for why, layers in left_out.items():
                notes.append(f"{each.name}: left out of {', '.join(dict.fromkeys(layers))}, {why}")
        if reasons and all(str(job.origin.stack).endswith(TRAINED.name) for job in jobs):
            names = ", ".join(each.name for each in self.variants)
            given = f"{names} of {self.captured.source}: no head has such a variant ({'; '.join(reasons)})"
            raise error("RS003", given, "take others")
        return Work(jobs, tuple(dict.fromkeys(notes)))

    def described(self) -> dict[str, Any]:
        """The capture, and what it is tried under."""
        return {**self.captured.described(), "what_if": [each.name for each in self.variants]}


def why_not(held: Held, variant: Variant, heads: frozenset[int] | None = None) -> str:
    """Why the chosen heads of a layer have no such variant; empty if they have."""
    if not held.pairs:
        return "whose scores are no product of queries and keys"
    if held.site.crosses and variant.kernel is None:
        return "whose queries and keys are of two texts"
    layer = held.get()
    every = variant.kernel is None and (layer.mask is None or not layer.mask.is_floating_point())
    for batch in range(0 if every else held.batch):
        for head in range(held.heads):
            if heads is not None and head not in heads:
                continue
            mask = variant.mask(held.site.layer, head, held.heads, held.shape[1])
            try:
                own, _ = layer.head(batch, head).without_padding()
                own.check_known(recognised(own.seen) if mask is None else mask, variant.kernel or own.kernel)
            except RankscopeError as reason:
                return reason.given
    return ""


def mean_jobs(held: Held, jobs: list[Job]) -> Iterator[Job]:
    """The mean over the heads of a layer, for each text."""
    for batch in range(held.batch):
        own = jobs[batch * len(jobs) // held.batch : (batch + 1) * len(jobs) // held.batch]
        first = own[0].origin
        counted = f"{len(own)} head{'s' if len(own) > 1 else ''}"
        label = " ".join(filter(None, [first.stack, f"layer {first.layer} mean over {counted}"]))
        origin = replace(first, label=label, head=None, over="heads-mean", mask=None, fidelity=None)

        def make(own: list[Job] = own, origin: Origin = origin) -> Operator:
            return Mean(equal_shapes(tuple(job.make() for job in own)), origin)

        yield Job(origin, held.shape, make)
