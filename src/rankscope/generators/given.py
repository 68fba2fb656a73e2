"""Your own tokens and maps, checked and converted, as the entries of a `Stack` that they decide."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from rankscope.arrays import Float64, check_finite, given
from rankscope.attention.block import Block, Head, Mlp
from rankscope.attention.pointwise import ACTIVATIONS
from rankscope.attention.tokens import Linear
from rankscope.errors import error

BY_TOKENS: Final = ("n", "ensemble")
BY_BLOCKS: Final = ("layers", "heads", "d", "init", "values", "gain", "mlp", "mlp_ratio", "mlp_init", "mlp_gain")
"""What given tokens, and given maps, decide, so that nothing else can."""


def decided(tokens: Any, blocks: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a `Stack` that given tokens and maps decide.

    Raises:
        InputError: RS101, tokens or maps of shapes that do not fit; RS110, RS111, NaN or infinity.
        UsageError: RS003, an option that they decide.
    """
    for what, value, names in (("tokens", tokens, BY_TOKENS), ("blocks", blocks, BY_BLOCKS)):
        named = [name for name in names if name in options]
        if value is not None and named:
            raise error("RS003", f"the option {named[0]} with your own {what}", f"leave it out: the {what} decide it")
    if tokens is not None and blocks is not None and "seed" in options:
        raise error("RS003", "a seed with your own tokens and blocks", "leave it out: nothing is random")
    found: dict[str, Any] = {}
    if tokens is not None:
        x = array(tokens, "the tokens", "n × width")
        found |= {"given_tokens": x, "n": len(x)}
    if blocks is not None:
        made = converted(blocks)
        heads, mlps = (
            {len(each.heads) for each in made},
            {None if each.mlp is None else each.mlp.activation for each in made},
        )
        if len(heads) > 1 or len(mlps) > 1:
            raise error(
                "RS101", "blocks that differ in their heads or MLPs", "give every block the same number of both"
            )
        width, d = made[0].heads[0].query.weights.shape
        if tokens is not None and found["given_tokens"].shape[1] != width:
            shapes = f"tokens of width {found['given_tokens'].shape[1]} for maps of width {width}"
            raise error("RS101", shapes, "give maps W with as many rows as tokens have entries: x·W")
        found |= {"given_blocks": made, "layers": len(made), "heads": heads.pop(), "d": d, "mlp": mlps.pop()}
        found |= {"init": "given", "values": "given"}
    return found


def array(values: Any, what: str, shape: str) -> Float64:
    """A real matrix in float64, from numpy, torch or anything array-like."""
    found = given(values, what).values
    if found.ndim != 2 or np.iscomplexobj(found) or not found.size:
        raise error("RS101", f"{what} of shape {found.shape}", f"give a real {shape} array")
    check_finite(found, what)
    return np.asarray(found, dtype=np.float64)


def converted(blocks: Any) -> tuple[Block, ...]:
    """Blocks with their maps in float64, of shapes that fit together."""
    if not isinstance(blocks, Sequence) or not blocks or not all(isinstance(each, Block) for each in blocks):
        raise error(
            "RS101", f"blocks of type {type(blocks).__name__}", "give a list of rankscope.Block, one for each layer"
        )
    width: int | None = None
    made = []
    for number, block in enumerate(blocks):
        if not isinstance(block.heads, Sequence) or not block.heads:
            raise error("RS101", f"block {number} without a list of heads", "give Block((Head(…), …))")
        heads = tuple(head_of(head, f"block {number}") for head in block.heads)
        mlp = None if block.mlp is None else mlp_of(block.mlp, f"block {number}")
        width = width or heads[0].query.weights.shape[0]
        fit([(each.query, width, None) for each in heads], number)
        for head in heads:
            d, d_v = head.query.weights.shape[1], head.value.weights.shape[1]
            fit([(head.key, width, d), (head.value, width, d_v), (head.output, d_v, width)], number)
        if mlp is not None:
            fit([(mlp.into, width, None), (mlp.back, mlp.into.weights.shape[1], width)], number)
        made.append(replace(block, heads=heads, mlp=mlp))
    return tuple(made)


def fit(maps: Sequence[tuple[Linear, int, int | None]], number: int) -> None:
    """Refuse a map that does not lead from so many entries to so many, or a bias of another length."""
    for by, rows, columns in maps:
        shape, bias = by.weights.shape, by.bias
        if shape[0] != rows or shape[1] != (columns or shape[1]) or (bias is not None and bias.shape != (shape[1],)):
            beside = "" if bias is None else f" with a bias of shape {bias.shape}"
            wanted = f"({rows}, {columns or '…'})"
            raise error(
                "RS101", f"a map of shape {shape}{beside} in block {number}", f"give W of shape {wanted}: x·W + b"
            )


def head_of(head: Any, where: str) -> Head:
    """A head with its maps in float64."""
    if not isinstance(head, Head):
        raise error(
            "RS101",
            f"a head of type {type(head).__name__} in {where}",
            "give rankscope.Head(query, key, value, output)",
        )
    return Head(*(linear_of(getattr(head, name), f"{name} of {where}") for name in ("query", "key", "value", "output")))


def mlp_of(mlp: Any, where: str) -> Mlp:
    """An MLP with its maps in float64."""
    if not isinstance(mlp, Mlp):
        raise error(
            "RS101", f"an MLP of type {type(mlp).__name__} in {where}", "give rankscope.Mlp(into, back, 'relu')"
        )
    ACTIVATIONS[mlp.activation]
    return Mlp(linear_of(mlp.into, f"the MLP of {where}"), linear_of(mlp.back, f"the MLP of {where}"), mlp.activation)


def linear_of(by: Any, where: str) -> Linear:
    """A map in float64."""
    if not isinstance(by, Linear):
        remedy = "give rankscope.Linear(W), which maps x to x·W; of a torch.nn.Linear take weight.T and bias"
        raise error("RS101", f"{where} of type {type(by).__name__}", remedy)
    bias = None if by.bias is None else given(by.bias, f"the bias of {where}").values
    if bias is not None:
        check_finite(bias, f"the bias of {where}")
    return Linear(array(by.weights, where, "rows × columns"), bias)
