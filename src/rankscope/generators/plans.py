"""Which mask each layer and head gets: the ways to mix forward and backward attention.

A plan is a function of where a head stands; it returns an expression for its mask. Within a plan "forward" is the
causal mask and "backward" the anticausal one; `uniform` gives every head the mask that was asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rankscope.errors import error
from rankscope.registry import Registry


@dataclass(frozen=True)
class Site:
    """Where a head stands: its layer, its number, how many heads and tokens there are, and the mask asked for."""

    layer: int
    head: int
    heads: int
    n: int
    mask: str


Plan = Callable[[Site], str]

PLANS: Final = Registry[Plan]("plan")


@PLANS
def uniform(site: Site) -> str:
    """Every head has the same mask."""
    return site.mask


@PLANS
def heads(site: Site) -> str:
    """The first half of the heads is causal, the second half anticausal (Su 2023)."""
    return "causal" if site.head < site.heads // 2 else "anticausal"


@PLANS(name="alternating-heads")
def alternating_heads(site: Site) -> str:
    """Even heads are causal, odd heads anticausal."""
    return "causal" if site.head % 2 == 0 else "anticausal"


@PLANS
def layers(site: Site) -> str:
    """Even layers are causal, odd layers anticausal (Su 2023)."""
    return "causal" if site.layer % 2 == 0 else "anticausal"


@PLANS
def unilm(site: Site) -> str:
    """Of six heads two see all, two half as a prefix, one looks back, one ahead (UniLM, Dong et al. 2019)."""
    half = f"prefix:{site.n // 2}"
    return ("bidirectional", half, "causal", "bidirectional", half, "anticausal")[site.head % 6]


def check_plan(name: str, layers: int, heads: int, mask: object) -> Plan:
    """The plan called `name`, or an error when these numbers of layers and heads cannot carry it."""
    plan = PLANS[name].function
    if name != "uniform" and mask is not None:
        raise error(
            "RS003", f"the mask {mask!r} with the plan {name!r}", "drop the mask: the plan chooses it for each head"
        )
    if name in ("heads", "alternating-heads") and (heads < 2 or heads % 2):
        raise error("RS002", f"the plan {name!r} with {heads} heads", "give an even number of heads, such as --heads 2")
    if name == "unilm" and heads % 6:
        raise error("RS002", f"the plan 'unilm' with {heads} heads", "give a multiple of six, such as --heads 6")
    if name == "layers" and layers < 2:
        raise error("RS002", f"the plan 'layers' with {layers} layer", "give two layers or more, such as --layers 2")
    return plan
