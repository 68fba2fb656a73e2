"""Which mask each layer and head gets: the ways to mix forward and backward attention.

A plan is a function of the layer, the head and the number of heads; it returns an expression for the mask. Within a
plan "forward" is the causal mask and "backward" the anticausal one; `uniform` gives every head the mask that was asked
for.
"""

from collections.abc import Callable
from typing import Final

from rankscope.errors import error
from rankscope.registry import Registry

Plan = Callable[[int, int, int, str], str]

PLANS: Final = Registry[Plan]("plan")


@PLANS
def uniform(layer: int, head: int, heads: int, mask: str) -> str:
    """Every head has the same mask."""
    return mask


@PLANS
def heads(layer: int, head: int, heads: int, mask: str) -> str:
    """The first half of the heads is causal, the second half anticausal."""
    return "causal" if head < heads // 2 else "anticausal"


@PLANS(name="alternating-heads")
def alternating_heads(layer: int, head: int, heads: int, mask: str) -> str:
    """Even heads are causal, odd heads anticausal."""
    return "causal" if head % 2 == 0 else "anticausal"


@PLANS
def layers(layer: int, head: int, heads: int, mask: str) -> str:
    """Even layers are causal, odd layers anticausal."""
    return "causal" if layer % 2 == 0 else "anticausal"


def check_plan(name: str, layers: int, heads: int, mask: str | None) -> Plan:
    """The plan called `name`, or an error when these numbers of layers and heads cannot carry it."""
    plan = PLANS[name].function
    if name != "uniform" and mask is not None:
        raise error(
            "RS003", f"the mask {mask!r} with the plan {name!r}", "drop the mask: the plan chooses it for each head"
        )
    if name in ("heads", "alternating-heads") and (heads < 2 or heads % 2):
        raise error("RS002", f"the plan {name!r} with {heads} heads", "give an even number of heads, such as --heads 2")
    if name == "layers" and layers < 2:
        raise error("RS002", f"the plan 'layers' with {layers} layer", "give two layers or more, such as --layers 2")
    return plan
