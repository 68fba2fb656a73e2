"""Where queries and keys come from: drawn themselves, made of random tokens, or not there at all.

`gaussian` is the standard ensemble. The others draw tokens X (n × width), which the heads of a layer share, and
project them: q = X·W_Q, k = X·W_K, v = X·W_V. `markov` draws the weights. Every random part has a child of the seed of
its own, keyed by its role, its layer and its head, so that adding one changes no other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from rankscope.arrays import Float64
from rankscope.attention.positions import Place, child
from rankscope.attention.softmax import first_of
from rankscope.errors import error
from rankscope.registry import Registry, above_zero, typed

Tokens = Callable[[int, int, Place], Float64]
"""From the number of tokens, their width, and where the head stands to tokens (n × width)."""


@dataclass(frozen=True)
class Ensemble:
    """What is drawn: `tokens` of a width that are projected, or `weights` by name with a parameter, or neither.

    `wide` tokens need a width of at least their number.
    """

    label: str
    tokens: Tokens | None = None
    width: int = 0
    weights: tuple[str, float] | None = None
    wide: bool = False

    def width_for(self, d: int, n: int) -> int:
        """The width of n tokens: as given, else that of eight heads of size d, or more where they must be wide."""
        return self.width or (max(8 * d, n) if self.wide else 8 * d)


ENSEMBLES: Final = Registry[Callable[..., Ensemble]]("ensemble")
ensemble = ENSEMBLES
"""Decorator: register a function that makes an `Ensemble` under its own name."""


@ensemble
def gaussian() -> Ensemble:
    """Queries and keys with independent N(0, 1) entries: the standard ensemble."""
    return Ensemble("gaussian")


@ensemble
def tokens(width: int = 0) -> Ensemble:
    """Tokens with independent N(0, 1) entries, projected by W_Q and W_K: see --init. WIDTH is 8d if not given."""
    return Ensemble(label_of("tokens", width), lambda n, w, place: normal(place, n, w), width)


@ensemble
def correlated(rho: float, width: int = 0) -> Ensemble:
    """Gaussian tokens of which every two have correlation RHO: √ρ·z + √(1 − ρ)·x_i (Noci et al. 2022)."""
    if not 0 <= rho <= 1:
        raise error("RS002", f"correlated:{typed(rho)}", "give a correlation from 0 to 1")

    def drawn(n: int, w: int, place: Place) -> Float64:
        common = child(place, "common token").standard_normal(w)
        return np.asarray(rho**0.5 * common + (1 - rho) ** 0.5 * normal(place, n, w))

    return Ensemble(label_of(f"correlated:{typed(rho)}", width), drawn, width)


@ensemble
def duplicated(count: int, width: int = 0) -> Ensemble:
    """COUNT different Gaussian tokens, again and again in the same order: repeated text."""
    above_zero("duplicated", count)
    return Ensemble(
        label_of(f"duplicated:{count}", width),
        lambda n, w, place: normal(place, min(count, n), w)[[i % count for i in range(n)]],
        width,
    )


@ensemble
def zipf(vocabulary: int = 32000, exponent: float = 1.0, width: int = 0) -> Ensemble:
    """Words with probability ∝ rank^(−EXPONENT) (Zipf 1949), each with a Gaussian embedding of its own."""
    above_zero("zipf", vocabulary)
    if not 0 <= exponent < 100:
        raise error("RS002", f"zipf:exponent={typed(exponent)}", "give an exponent from 0 to 100")

    def drawn(n: int, w: int, place: Place) -> Float64:
        odds = np.arange(1, vocabulary + 1) ** -float(exponent)
        words = child(place, "words").choice(vocabulary, size=n, p=odds / odds.sum())
        distinct, index = np.unique(words, return_inverse=True)
        embeddings = [child(place, f"embedding {word}").standard_normal(w) for word in distinct.tolist()]
        return np.stack(embeddings)[index]

    given = [f"{vocabulary}" if vocabulary != 32000 else "", f"exponent={typed(exponent)}" if exponent != 1 else ""]
    return Ensemble(label_of(":".join(["zipf", *filter(None, given)]), width), drawn, width)


@ensemble
def isometric(width: int = 0) -> Ensemble:
    """Orthogonal tokens of length √width, X·Xᵀ = width·I (Mind the Gap, arXiv 2410.07799); WIDTH is at least n."""

    def drawn(n: int, w: int, place: Place) -> Float64:
        if w < n:
            raise error("RS002", f"isometric:{w} with {n} tokens", f"give a width of at least {n}")
        basis, triangle = np.linalg.qr(normal(place, w, n))
        return np.asarray((basis * np.sign(np.diagonal(triangle))).T * w**0.5)

    return Ensemble(label_of("isometric", width), drawn, width, wide=True)


@ensemble
def markov(weights: str = "exponential", parameter: float = 1.0) -> Ensemble:
    """No tokens: independent weights, exponential, lognormal:SPREAD or gamma:SHAPE (Bordenave et al. 2012)."""
    from rankscope.generators.markov import weights_of

    weights_of(weights, parameter)
    label = f"markov:{weights}" + (f":{typed(parameter)}" if weights != "exponential" else "")
    return Ensemble(label, weights=(weights, parameter))


def label_of(name: str, width: int) -> str:
    """The name of an ensemble with the width of its tokens, where that was given."""
    if width < 0:
        raise error("RS002", f"{name}:width={width}", "give a width of at least 1")
    return f"{name}:width={width}" if width else name


def normal(place: Place, n: int, width: int) -> Float64:
    """Tokens with independent N(0, 1) entries."""
    return np.asarray(child(place, "tokens").standard_normal((n, width)))


def projected(x: Float64, weights: Float64) -> Float64:
    """X·W, with equal tokens given equal images, which a matrix product alone does not promise."""
    first = first_of(x)
    return np.asarray((x @ weights)[first])
