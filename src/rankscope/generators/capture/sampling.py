"""A sample of the attention of one call of a model: some heads of each layer, of the first text of its batch."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from rankscope.attention.operators import Operator
from rankscope.attention.origin import Origin
from rankscope.generators.capture.following import following
from rankscope.generators.capture.interception import Call, Fused
from rankscope.generators.capture.layer import Layer
from rankscope.generators.capture.names import Site
from rankscope.generators.capture.seen import layer_of, of_heads, split

Measured = Callable[[Callable[[], Operator], str, int], None]
"""What is told of each head: what makes its matrix, its stack and its layer."""


def sampling(
    model: torch.nn.Module,
    measured: Measured,
    heads: int,
    layers: frozenset[int] | None,
    failed: Callable[[Exception], None],
) -> AbstractContextManager[None]:
    """Follow a call of a model that has begun, and have so many heads of each layer measured, spread over it.

    An error in what looks at the model is told to `failed`, and is none of the model's.
    """

    def took(call: Call, site: Site, module: Any) -> None:
        try:
            look(call, site, module)
        except Exception as reason:
            failed(reason)

    def look(call: Call, site: Site, module: Any) -> None:
        if layers is not None and site.layer not in layers:
            return
        with torch.no_grad():
            layer = layer_of(first_text(call), site, module, keep_scores=True, faithful=False)
        if layer is None or isinstance(layer, str):
            return
        count = min(heads, layer.heads)
        for number in range(count):
            head = number * layer.heads // count
            origin = Origin(f"layer {site.layer} head {head}", layer=site.layer, head=head)
            measured(partial(operator_of, layer, head, origin), site.stack or "model", site.layer)

    return following(model, took, begun=True)


def compiling() -> bool:
    """Whether torch is compiling what runs, rather than running it."""
    return torch.compiler.is_compiling()


def operator_of(layer: Layer, head: int, origin: Origin) -> Operator:
    """The matrix of one head of the first text."""
    return layer.head(0, head).operator(origin)


def first_text(call: Call) -> Call:
    """The call for the first text of its batch alone."""
    if isinstance(call, Fused):
        query, key, value, out = (of_heads(each)[:1] for each in (call.query, call.key, call.value, call.out))
        return replace(call, query=query, key=key, value=value, out=out)
    scores, weights = (split(each, call.heads) for each in (call.scores, call.weights))
    batch, heads = scores.shape[:2]
    products = tuple((alone(left, batch, heads), alone(right, batch, heads)) for left, right in call.products)
    used = None if call.used is None else call.used.reshape(*weights.shape[:-1], call.columns)[:1]
    return replace(call, scores=scores[:1], weights=weights[:1], products=products, heads=None, used=used)


def alone(tokens: torch.Tensor, batch: int, heads: int) -> torch.Tensor:
    """Queries or keys of the first text, where batch and heads can be told apart."""
    if tokens.dim() == 4:
        return tokens[:1]
    return tokens.reshape(batch, heads, *tokens.shape[-2:])[:1] if tokens.shape[0] == batch * heads else tokens
