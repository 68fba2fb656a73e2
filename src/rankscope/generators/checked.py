"""Networks are checked before anything is made: numbers and options that do not fit together are refused."""

import math
from numbers import Real
from typing import Final

from rankscope.arrays import check_dense, storage
from rankscope.attention.pointwise import ACTIVATIONS
from rankscope.errors import error
from rankscope.generators.ensembles import ENSEMBLES
from rankscope.generators.initial import INITIALISATIONS
from rankscope.generators.network import OF_MLP, Stack
from rankscope.generators.stack import called
from rankscope.registry import at_least, nearest

NORMS: Final = ("none", "pre", "post", "pre:rms", "post:rms")
"""Where norms stand, and which."""


def check_network(stack: Stack) -> None:
    """Refuse numbers and options that do not fit together, before anything is made."""
    for name in ("n", "d", "layers", "heads"):
        at_least(name, getattr(stack, name))
    at_least("seed", stack.seed, 0)
    for name in ("scale", "gain", "mlp_gain", "mlp_ratio"):
        value = getattr(stack, name)
        if not (isinstance(value, Real) and math.isfinite(value) and float(value) >= 0):
            raise error("RS002", f"{name} = {value!r}", "give a finite number that is not negative")
    for name in ("skip", "fixed"):
        if not isinstance(getattr(stack, name), bool):
            raise error("RS002", f"{name} = {getattr(stack, name)!r}", "give True or False")
    if isinstance(stack.alpha, str) and stack.alpha != "1/sqrt(L)":
        raise error("RS002", f"alpha = {stack.alpha!r}", "give a number, or 1/sqrt(L)")
    if not isinstance(stack.alpha, str) and not (isinstance(stack.alpha, Real) and math.isfinite(stack.alpha)):
        raise error("RS002", f"alpha = {stack.alpha!r}", "give a finite number, or 1/sqrt(L)")
    if stack.norm not in NORMS:
        raise error("RS001", f"there is no norm {stack.norm!r}", nearest(stack.norm, list(NORMS)))
    if stack.rescale not in ("none", "perp") and not (isinstance(stack.rescale, Real) and math.isfinite(stack.rescale)):
        raise error("RS002", f"rescale = {stack.rescale!r}", "give none, perp or a number λ")
    if stack.empty_rows == "drop":
        raise error("RS003", "empty_rows = 'drop' in a network", "take zero or uniform: every layer needs every token")
    if stack.mlp is not None:
        ACTIVATIONS[stack.mlp]
        INITIALISATIONS[stack.mlp_init]
    elif of_mlp := [name for name in OF_MLP if getattr(stack, name) != getattr(Stack, name)]:
        given = f"{of_mlp[0]} = {getattr(stack, of_mlp[0])} without an MLP"
        raise error("RS003", given, "add one, with relu or gelu (--mlp relu), or leave it out")
    if stack.given_blocks is None:
        INITIALISATIONS[stack.init]
    if stack.given_blocks is None and stack.values not in (known := [*INITIALISATIONS.names(), "identity"]):
        raise error("RS001", f"there is no initialisation {stack.values!r}", nearest(stack.values, known))
    storage(stack.dtype)
    made = ENSEMBLES.build(stack.ensemble)
    if made.tokens is None:
        given = f"the ensemble {made.label!r}, which has no tokens"
        raise error("RS003", given, "take an ensemble of tokens, such as tokens, correlated:0.5 or isometric")
    check_given(stack)
    stack.how(0, 0)
    check_dense(stack.n, stack.n)


def check_given(stack: Stack) -> None:
    """Refuse given tokens and maps that are not those of this network."""
    if stack.given_tokens is not None and len(stack.given_tokens) != stack.n:
        raise error("RS101", f"{len(stack.given_tokens)} tokens for n = {stack.n}", "give n tokens, or that n")
    if stack.given_tokens is not None and stack.described_position.tokens is not None:
        given = f"the position {called(stack.position)} with your own tokens"
        raise error("RS003", given, "add it to them beforehand")
    if stack.given_blocks is not None:
        found = len(stack.given_blocks), {len(block.heads) for block in stack.given_blocks}
        if found != (stack.layers, {stack.heads}):
            given = f"{found[0]} blocks of {sorted(found[1])} heads for {stack.layers} layers of {stack.heads}"
            raise error("RS101", given, "give as many blocks as layers, each with that number of heads")
