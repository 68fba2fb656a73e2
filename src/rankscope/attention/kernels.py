"""How strongly a query attends: score kernels act on scores, feature kernels on queries and keys.

Both are normalised by rows. A kernel is a value; the arithmetic that uses it stands in `build.py`, and the same
matrices written as their definitions in `naive.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rankscope.errors import error
from rankscope.registry import Registry, nearest


@dataclass(frozen=True)
class ScoreKernel:
    """A_ij = w(s_ij) / Σ_j w(s_ij) over the keys that i sees, with log w given elementwise by `log_weight`.

    The scores are s = scale · q kᵀ / √d. Weights are positive for every finite score, and stay in log space until
    the end, so that nothing overflows. `log_weight` keeps shape and dtype; None stands for the identity (softmax).
    """

    label: str
    log_weight: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class FeatureKernel:
    """A_ij = φ(q_i)·φ(k_j) / Σ_j φ(q_i)·φ(k_j) over the keys that i sees: linear attention.

    `features` maps (n, d) to (n, m). The scale multiplies q·k, so each of q and k is taken times √scale.
    """

    label: str
    features: Callable[[Any], Any]


Kernel = ScoreKernel | FeatureKernel

KERNELS: Final = Registry[Callable[..., Kernel]]("kernel")
kernel = KERNELS
"""Decorator: register a function that makes a `ScoreKernel` or a `FeatureKernel` under its own name."""


@kernel
def softmax() -> ScoreKernel:
    """The exponential of the scores, normalised by rows."""
    return ScoreKernel("softmax")


@kernel
def linear(features: str = "elu+1") -> FeatureKernel:
    """Linear attention with a feature map: elu+1 (default), relu, exp, identity."""
    if features not in FEATURES:
        raise error("RS001", f"there is no feature map {features!r}", nearest(features, list(FEATURES)))
    return FeatureKernel("linear" if features == "elu+1" else f"linear:{features}", FEATURES[features])


def elu_plus_one(x: Any) -> Any:
    """elu(x) + 1: x + 1 where x is positive, e^x elsewhere (Katharopoulos et al. 2020)."""
    import numpy as np

    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


def relu(x: Any) -> Any:
    """max(x, 0), whose zeros can make weights and whole rows vanish."""
    return x * (x > 0)


def exponential(x: Any) -> Any:
    """e^x, elementwise."""
    import numpy as np

    return np.exp(x)


def identity(x: Any) -> Any:
    """x itself: weights of either sign, divided by their signed sum."""
    return x


FEATURES: Final[dict[str, Callable[[Any], Any]]] = {
    "elu+1": elu_plus_one,
    "relu": relu,
    "exp": exponential,
    "identity": identity,
}
