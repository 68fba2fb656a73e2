"""From a call of attention to a captured layer: what is kept of it, and how far that is from what the model made."""

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch

from rankscope.arrays import Float64
from rankscope.generators.capture.interception import Call, Fused, Written
from rankscope.generators.capture.layer import Layer, of_head, visible
from rankscope.generators.capture.names import Site
from rankscope.generators.capture.scored import Product, hidden, of_group, places, product_of, sinks_of

Tensor = torch.Tensor

TINY: Final = 1e-300
"""What keeps a quotient finite where a model's output is zero."""


def layer_of(call: Call, site: Site, module: Any, keep_scores: bool, *, faithful: bool = True) -> Layer | str | None:
    """The layer that a call is; None for one whose scores would have to be kept and are not, and in words why another
    has no matrix.

    Without `faithful` it is not compared with what the model made, which costs about as much as one more forward pass.
    """
    if isinstance(call, Fused):
        return of_fused(unpacked(call, module), site, module, faithful)
    return of_written(call, site, module, keep_scores, faithful)


def size_of(call: Call) -> tuple[int, int, tuple[int, int]]:
    """The number of texts and heads of a call, and of queries and keys."""
    if isinstance(call, Fused):
        query = of_heads(call.query)
        return query.shape[0], query.shape[1], (query.shape[2], call.key.shape[-2])
    scores = split(call.scores, call.heads)
    return scores.shape[0], scores.shape[1], (scores.shape[2], call.columns)


def kept(tensor: Tensor) -> Tensor:
    """A copy of a tensor's numbers in the host's memory, apart from the model's graph."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def four(tensor: Tensor) -> Tensor:
    """A tensor of two or more axes as batch × heads × tokens × numbers; further axes before are texts."""
    if tensor.dim() > 4:
        return tensor.flatten(0, tensor.dim() - 4)
    while tensor.dim() < 4:
        tensor = tensor[None]
    return tensor


def groups_of(module: Any) -> int:
    """How many query heads of a module share a head of keys and values, as transformers names it."""
    groups = getattr(module, "num_key_value_groups", 1)
    return groups if isinstance(groups, int) else 1


def unpacked(call: Fused, module: Any) -> Fused:
    """The call with the heads of a group as heads: transformers gives those of a single query as so many queries."""
    query, groups = four(call.query), groups_of(module)
    heads = getattr(getattr(module, "config", None), "num_attention_heads", None)
    if groups < 2 or query.shape[1:3] != (call.key.shape[1], groups) or query.shape[1] * groups != heads:
        return call
    mask = call.mask if call.mask is None or four(call.mask).shape[1] == 1 else as_heads(four(call.mask))
    return replace(call, query=as_heads(query), out=as_heads(four(call.out)), mask=mask, grouped=True)


def as_heads(tensor: Tensor) -> Tensor:
    """The queries of each head as heads of one query."""
    return tensor.flatten(1, 2)[:, :, None]


def without_copies(key: Tensor, module: Any) -> Tensor:
    """Keys without the copies that a model has made of them for the heads of a group."""
    groups = groups_of(module)
    if groups < 2 or key.shape[1] % groups:
        return key
    first = key[:, ::groups]
    return first if torch.equal(key, first.repeat_interleave(groups, dim=1)) else key


def of_fused(call: Fused, site: Site, module: Any, faithful: bool) -> Layer | str:
    """The layer of a fused call: its weights were never held, so that what it makes of values says whether they are
    these.
    """
    query, key, value, out = (of_heads(each.detach()) for each in (call.query, call.key, call.value, call.out))
    batch, heads = max(query.shape[0], key.shape[0]), max(query.shape[1], out.shape[1])
    if key.shape[0] not in (1, batch) or query.shape[0] not in (1, batch) or heads % key.shape[1]:
        return f"whose {query.shape[1]} heads of queries and {key.shape[1]} of keys do not fit"
    if not call.grouped and key.shape[1] not in (1, heads):
        return f"whose {query.shape[1]} heads of queries and {key.shape[1]} of keys are not grouped"
    query = query.expand(batch, heads, *query.shape[2:])
    key, value = (each.expand(batch, *each.shape[1:]) for each in (key, value))
    if out.dtype != query.dtype:  # autocast has computed with fewer bits than it was given
        query, key, value = (each.to(out.dtype) for each in (query, key, value))
    mask = None if call.mask is None else mask_of_heads(call.mask.detach(), call.query.shape[:-2])
    scale = 1 / math.sqrt(query.shape[-1]) if call.scale is None else float(call.scale)
    query, scale = (query, scale) if scale >= 0 else (-query, -scale)
    found = Layer(site, query, key, None, mask, call.causal, scale, None, None, np.zeros((batch, heads)), "output")
    fidelity = np.full((batch, heads), math.nan)
    if faithful:
        known = [*([(value, out)] if call.dropout == 0 else []), probe(call)]
        fidelity = np.array([[missed(found, b, h, known) for h in range(heads)] for b in range(batch)])
    held = None if mask is None else kept(narrowed(mask))
    return replace(found, query=kept(query), key=kept(without_copies(key, module)), mask=held, fidelity=fidelity)


def of_heads(tensor: Tensor) -> Tensor:
    """Queries, keys or values of a fused call as batch × heads × tokens × numbers; of three axes one is of texts."""
    return tensor[:, None] if tensor.dim() == 3 else four(tensor)


def mask_of_heads(mask: Tensor, lead: torch.Size) -> Tensor:
    """The mask of a fused call as batch × heads × n × m, broadcast over the axes of texts that its queries have."""
    if len(lead) == 1:
        return mask[:, None] if mask.dim() == 3 else four(mask)
    if len(lead) > 2:
        mask = mask.expand(*lead[:-1], *([1] * (3 - mask.dim())), *mask.shape[max(mask.dim() - 3, 0) :])
    return four(mask)


def probe(call: Fused) -> tuple[Tensor, Tensor]:
    """Random values, and what the model's own function makes of them with the same queries, keys and mask.

    A matrix may give back the output of a model whose values are alike, or zero, and be another one; random values it
    gives back only if it is the same, with probability one.
    """
    generator = torch.Generator(call.value.device).manual_seed(0)
    drawn = torch.randn(call.value.shape, generator=generator, device=call.value.device)
    values = drawn.to(call.value.dtype)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        made = torch.nn.functional.scaled_dot_product_attention(
            call.query, call.key, values, call.mask, 0.0, call.causal, scale=call.scale, enable_gqa=call.grouped
        )
    return of_heads(values), of_heads(made)


def missed(layer: Layer, batch: int, head: int, known: list[tuple[Tensor, Tensor]]) -> float:
    """The largest |P·V − out| over the largest |out| of a head, P in float64, over values and what was made of them.

    Queries that see nothing are left aside. NaN where something is not finite.
    """
    assert layer.query is not None
    assert layer.key is not None
    query, key = layer.query[batch, head], of_group(layer.key, batch, head, layer.heads)
    scores = layer.scale * (query.double() @ key.double().T)
    rows = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    if layer.mask is not None or layer.causal:
        added = None if layer.mask is None else of_head(layer.mask, batch, head)
        shown, bias = visible(scores.cpu().numpy(), added, layer.causal)
        seen = torch.from_numpy(np.array(shown)).to(scores.device)
        scores = scores if bias is None else scores + torch.from_numpy(bias).to(scores.device)
        scores, rows = scores.masked_fill(~seen, -math.inf), seen.any(-1)
    weights = torch.softmax(scores, dim=-1)[rows]
    worst = 0.0
    for value, out in known:
        own = of_group(value, min(batch, len(value) - 1), head, layer.heads).double()
        wanted = out[batch, head][rows].double()
        away = float((weights @ own - wanted).abs().max()) if wanted.numel() else 0.0
        size = float(wanted.abs().max()) if wanted.numel() else 0.0
        worst = max(worst, away / max(size, TINY)) if math.isfinite(away) else math.nan
        if math.isnan(worst):
            break
    return worst


def narrowed(mask: Tensor) -> Tensor:
    """A mask without the texts and heads over which it is the same array, expanded."""
    for axis in (0, 1):
        if mask.shape[axis] > 1 and mask.stride(axis) == 0:
            mask = mask.narrow(axis, 0, 1)
    return mask


def of_written(call: Written, site: Site, module: Any, keep_scores: bool, faithful: bool) -> Layer | str | None:
    """The layer of attention that a model writes out: its weights are there to be compared with."""
    scores, weights = (split(each.detach(), call.heads) for each in (call.scores, call.weights))
    own = scores[..., : call.columns]
    training = bool(getattr(module, "training", False))
    if call.used is not None and changed(weights[..., : call.columns], call.used.detach(), training):
        return "whose weights are changed between softmax and the values"
    found = product_of(call, own, module)
    sinks = None
    if call.columns < scores.shape[-1]:
        sinks = None if found is None else sinks_of(scores, found, module)
        if sinks is None:  # no kernel here has these weights
            return "whose softmax has a column that is no key and differs from row to row"
    if found is None and not keep_scores:
        return None
    fidelity = np.full(own.shape[:2], math.nan)
    for b, h in places(own) if faithful else []:
        fidelity[b, h] = distance(own[b, h], weights[b, h][..., : call.columns], found, b, h, sinks)
    if found is None:
        return Layer(site, None, None, kept(own), kept_mask(own), False, 1.0, None, None, fidelity, "weights")
    mask, key = kept_mask(own), without_copies(found.key, module)
    return Layer(
        site, kept(found.query), kept(key), None, mask, False, found.scale, found.cap, sinks, fidelity, "weights"
    )


def changed(weights: Tensor, used: Tensor, training: bool) -> bool:
    """Whether values were multiplied with other weights than those of softmax, dropout in training aside."""
    left, own = used.reshape(weights.shape), weights.to(used.dtype)
    if bool(((left == own) | (left.isnan() & own.isnan())).all()):
        return False
    rest = left != 0
    if not training or not rest.any():
        return True
    factors = left[rest].double() / own[rest].double()  # dropout divides what it leaves by the part that it leaves
    least, largest = float(factors.min()), float(factors.max())
    return not (least > 1 and largest <= least * (1 + 8 * torch.finfo(used.dtype).eps))


def split(tensor: Tensor, heads: int | None) -> Tensor:
    """Scores or weights as batch × heads × n × m."""
    if tensor.dim() == 3 and heads and tensor.shape[0] % heads == 0:
        return tensor.reshape(-1, heads, *tensor.shape[1:])
    return four(tensor)


def kept_mask(scores: Tensor) -> Tensor | None:
    """Which keys are seen, by the scores, with as few axes as say it; None where all are."""
    gone = hidden(scores)
    if not gone.any():
        return None
    seen = ~gone
    for axis in (1, 0):
        first = seen.narrow(axis, 0, 1)
        if bool((seen == first).all()):
            seen = first
    return seen.to("cpu", copy=True)


def distance(
    scores: Tensor, weights: Tensor, found: Product | None, batch: int, head: int, sinks: list[float] | None
) -> float:
    """max |P − the model's weights| of one head, P the softmax in float64 of what is kept."""
    gone = hidden(scores)
    if found is None:
        made = scores.double()
    else:
        key = of_group(found.key, batch, head, found.query.shape[1])
        made = found.scale * (found.query[batch, head].double() @ key.double().T)
        made = made if found.cap is None else found.cap * torch.tanh(made / found.cap)
    made = made.masked_fill(gone, -math.inf)
    if sinks:
        made = torch.cat([made, torch.full_like(made[..., :1], sinks[head])], dim=-1)
    own = torch.softmax(made, dim=-1)[..., : scores.shape[-1]]
    away = torch.where(gone.all(-1, keepdim=True), 0.0, (own - weights.double()).abs())
    return float(away.max()) if away.numel() else 0.0


def of_steps(before: Layer, after: Layer) -> Layer | None:
    """A layer with the queries that a later call of the same text has added, as generation does; None where the keys
    are not those before and as many more.

    A single key says nothing of the scale, which the later call knows.
    """
    query, key, more, keys = before.query, before.key, after.query, after.key
    if query is None or key is None or more is None or keys is None:
        return None
    old, new = key.shape[-2], more.shape[-2]
    grown = keys.shape[-2] == (old if before.site.crosses else old + new) and keys.shape[:2] == key.shape[:2]
    scaled = math.isclose(before.scale, after.scale, rel_tol=1e-4) or old == 1
    alike = (before.batch, before.heads, before.cap) == (after.batch, after.heads, after.cap)
    if not (grown and scaled and alike and torch.equal(keys[..., :old, :], key)):
        return None
    if (before.sinks is None) != (after.sinks is None) or not np.allclose(before.sinks or [], after.sinks or []):
        return None
    fidelity: Float64 = np.fmax(before.fidelity, after.fidelity)
    plain = before.site.crosses and before.mask is None and after.mask is None
    mask = None if plain else stacked(before, after, keys.shape[-2])
    return Layer(
        before.site, torch.cat([query, more], dim=-2), keys, None, mask, False, after.scale, after.cap, after.sinks,
        fidelity, before.of,
    )  # fmt: skip


def stacked(before: Layer, after: Layer, columns: int) -> Tensor:
    """Which keys the queries of both calls see, or what is added to their scores."""
    parts = []
    for layer in (before, after):
        rows, own = layer.shape
        mask = layer.mask
        if mask is None:
            seen = torch.ones(1, 1, rows, own, dtype=torch.bool)
            mask = torch.tril(seen) if layer.causal else seen
        mask = four(mask).expand(*four(mask).shape[:2], rows, own)
        lowest = False if mask.dtype == torch.bool else -math.inf
        parts.append(torch.nn.functional.pad(mask, (0, columns - own), value=lowest))
    if parts[0].dtype != parts[1].dtype:
        parts = [each if each.dtype != torch.bool else torch.where(each, 0.0, -math.inf) for each in parts]
    lead = [max(a, b) for a, b in zip(parts[0].shape[:2], parts[1].shape[:2], strict=True)]
    return torch.cat([each.expand(*lead, *each.shape[2:]) for each in parts], dim=-2)
