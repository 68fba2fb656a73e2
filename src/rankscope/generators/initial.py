"""How the projections W_Q, W_K and W_V start: the standard initialisations."""

import math
from collections.abc import Callable
from typing import Any, Final

from rankscope.registry import Registry

Initialisation = Callable[[Any, int, int], Any]
"""From a random generator, the width of tokens and the head size to a matrix of shape (width, d)."""

INITIALISATIONS: Final = Registry[Initialisation]("initialisation")
initialisation = INITIALISATIONS
"""Decorator: register a function that makes an initial projection under its own name."""


@initialisation
def lecun(random: Any, width: int, d: int) -> Any:
    """N(0, 1/width): queries of standard normal tokens are standard normal (LeCun et al. 1998)."""
    return random.standard_normal((width, d)) / math.sqrt(width)


@initialisation
def xavier(random: Any, width: int, d: int) -> Any:
    """U(−a, a), a² = 6/(fan in + fan out), of the projection to all heads, width × width (Glorot and Bengio 2010)."""
    return random.uniform(-1, 1, (width, d)) * math.sqrt(3 / width)


@initialisation
def he(random: Any, width: int, d: int) -> Any:
    """N(0, 2/width) (He et al. 2015)."""
    return random.standard_normal((width, d)) * math.sqrt(2 / width)


@initialisation
def torch(random: Any, width: int, d: int) -> Any:
    """U(−a, a), a² = 1/width: the default of torch.nn.Linear, whose scores are three times smaller."""
    return random.uniform(-1, 1, (width, d)) / math.sqrt(width)


@initialisation
def gpt2(random: Any, width: int, d: int) -> Any:
    """N(0, 0.02²), whatever the width (GPT-2, Radford et al. 2019; BERT truncates it)."""
    return 0.02 * random.standard_normal((width, d))


@initialisation
def orthogonal(random: Any, width: int, d: int) -> Any:
    """Orthonormal columns, or rows where d exceeds the width (Saxe et al. 2013)."""
    import numpy as np

    tall = random.standard_normal((max(width, d), min(width, d)))
    basis, triangle = np.linalg.qr(tall)
    basis = basis * np.sign(np.diagonal(triangle))
    return basis if width >= d else basis.T
