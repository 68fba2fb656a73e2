"""The paths of tokens through heads (Dong et al. 2021, Theorem 2.1): which lengths make up what is left.

Without MLPs and norms X_L = Σ_path A_{h_L} ⋯ A_{h_1} X W_{h_1} ⋯ W_{h_L}, W_h = W_V,h W_O,h, over one head for each
layer, in the order in which the network applies them; with skip connections a layer may also be passed by. The length
of a path is the number of its heads. The sum over all paths of one length is exact for any depth, by adding one layer
at a time; what single paths leave is a mean over all of them, or over a random sample with its confidence interval.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from rankscope.attention.tokens import Tokens
from rankscope.errors import error

MOST: Final = 128
"""Paths of one length up to which all are followed."""
SAMPLE: Final = 128
"""Paths of one length that are followed where there are more."""
LOST_PATH: Final = "lost to rounding on some path"
"""Why a number over paths is not known."""

CONFIDENCE: Final = 1.96
"""Standard errors on either side of a mean, for 95 %."""

Step = Callable[[Tokens], Tokens]
"""One head: from tokens to A_h X W_h."""


@dataclass(frozen=True)
class Length:
    """What the paths of one length leave: how many there are and were followed; log₁₀ of the mean over paths of the
    relative residual, with its interval; and the share of this length in the residual of the network, signs aside.
    """

    length: int
    count: int
    followed: int
    log10_residual: float | None
    low: float | None
    high: float | None
    share: float | None
    because: str = ""
    because_share: str = ""


def by_length(tokens: Tokens, layers: Sequence[Sequence[Step]], skip: bool, seed: int) -> list[Length]:
    """Every length that paths can have; `layers` hold the heads of each layer."""
    sums = summed(tokens, layers, skip)
    sizes = [-math.inf if each is None else each.residual.log2_norm for each in sums]
    top = max(sizes)
    total = math.fsum(2.0 ** (size - top) for size in sizes) if math.isfinite(top) else 1.0
    hidden = any(each is not None and each.lost for each in sums)
    found = []
    for length, each in enumerate(sums):
        if each is not None:
            share = 2.0 ** (sizes[length] - top) / total if math.isfinite(top) else 0.0
            made = of_one(tokens, layers, length, share, seed)
            found.append(replace(made, share=None, because_share=LOST_PATH) if hidden else made)
    return found


def summed(tokens: Tokens, layers: Sequence[Sequence[Step]], skip: bool) -> list[Tokens | None]:
    """For each length the sum over all its paths; None where there are none."""
    parts: list[Tokens | None] = [tokens] + [None] * len(layers)
    for heads in layers:
        after: list[Tokens | None] = [part if skip else None for part in parts]
        for length, part in enumerate(parts[:-1]):
            if part is None:
                continue
            for head in heads:
                made, before = head(part), after[length + 1]
                after[length + 1] = made if before is None else before + made
        parts = after
    return parts


def of_one(tokens: Tokens, layers: Sequence[Sequence[Step]], length: int, share: float, seed: int) -> Length:
    """What single paths of one length leave."""
    count = counts(layers)[0][length]
    paths = every(layers, length) if count <= MOST else sampled(layers, length, seed)
    ends = [relative(tokens, path) for path in paths]
    logs = [value for value in ends if value is not None and math.isfinite(value)]
    followed = count if count <= MOST else SAMPLE
    if None in ends:
        return Length(length, count, followed, None, None, None, share, LOST_PATH)
    if not logs:
        return Length(length, count, followed, None, None, None, share, "zero: all tokens are equal")
    top = max(logs)
    values = [10.0 ** (each - top) for each in logs]
    mean = math.fsum(values) / followed
    if count <= MOST:
        return Length(length, count, followed, top + math.log10(mean), None, None, share)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (followed - 1) / followed) * CONFIDENCE
    low = top + math.log10(mean - spread) if mean > spread else None
    return Length(length, count, followed, top + math.log10(mean), low, top + math.log10(mean + spread), share)


def every(layers: Sequence[Sequence[Step]], length: int) -> Iterator[list[Step]]:
    """All paths of one length."""
    for chosen in itertools.combinations(layers, length):
        yield from (list(path) for path in itertools.product(*chosen))


def counts(layers: Sequence[Sequence[Step]]) -> list[list[int]]:
    """For each layer how many paths of each length go on from there: all of them for the first."""
    found = [[1] + [0] * len(layers)]
    for heads in reversed(layers):
        after = found[0]
        found.insert(0, [1, *(after[k] + len(heads) * after[k - 1] for k in range(1, len(after)))])
    return found


def sampled(layers: Sequence[Sequence[Step]], length: int, seed: int) -> Iterator[list[Step]]:
    """Paths of one length, each with the same probability."""
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(length,)))
    ahead = counts(layers)
    for _ in range(SAMPLE):
        path: list[Step] = []
        for layer, heads in enumerate(layers):
            left = length - len(path)
            taken = 0 if left == 0 else len(heads) * ahead[layer + 1][left - 1] / ahead[layer][left]
            if random.random() < taken:
                path.append(heads[int(random.integers(len(heads)))])
        yield path


def relative(tokens: Tokens, path: Sequence[Step]) -> float | None:
    """log₁₀ of the relative residual at the end of a path; None where it is lost."""
    for step in path:
        tokens = step(tokens)
    return None if tokens.lost else tokens.log10_residual


def check_linear(mlp: str | None, norm: str) -> None:
    """Refuse networks that are not sums over paths."""
    if mlp is not None or norm != "none":
        given = f"paths of a network with {'an MLP' if mlp else f'the norm {norm!r}'}"
        raise error("RS003", given, "leave it out: only attention with or without skips is a sum over paths")
