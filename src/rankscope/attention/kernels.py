"""How strongly a query attends: score kernels act on scores, feature kernels on queries and keys.

Both are normalised by rows. A kernel is a value; the arithmetic that uses it stands in `build.py`, and the same
matrices written as their definitions in `naive.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rankscope.errors import error
from rankscope.registry import Registry, above_zero, nearest


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
def tempered(temperature: float) -> ScoreKernel:
    """Softmax of the scores divided by a temperature: below 1 it sharpens, above it flattens."""
    above_zero("tempered", temperature)
    return ScoreKernel(f"tempered:{temperature:g}", lambda s: s / temperature)


@kernel
def favor(features: int = 256, seed: int = 0) -> FeatureKernel:
    """Random features exp(ω·x − ‖x‖²/2) with orthogonal ω (FAVOR+, Choromanski et al. 2020): rank at most FEATURES."""
    above_zero("favor", features)
    label = ":".join(["favor", *([f"{features}"] if features != 256 else []), *([f"seed={seed}"] if seed else [])])
    return FeatureKernel(label, lambda x: random_features(x, features, seed))


@kernel
def taylor() -> FeatureKernel:
    """1 + s + s²/2, the Taylor polynomial of the exponential, by 1 + d + d(d + 1)/2 features (Zhang et al. 2024)."""
    return FeatureKernel("taylor", second_order)


@kernel
def hedgehog() -> FeatureKernel:
    """exp(x) and exp(−x), elementwise (Hedgehog, Zhang et al. 2024, without its learned layer): rank at most 2d."""
    return FeatureKernel("hedgehog", exponential_pair)


@kernel
def focused(power: int = 3) -> FeatureKernel:
    """relu(x)^p, scaled back to the length of relu(x) (FLatten, Han et al. 2023): rank at most d."""
    above_zero("focused", power)
    return FeatureKernel("focused" if power == 3 else f"focused:{power}", lambda x: sharpened(x, power))


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


def random_features(x: Any, count: int, seed: int) -> Any:
    """exp(ω·y − ‖y‖²/2)/√m with y = x/d^¼, so that φ(q)·φ(k) estimates exp(q·k/√d).

    The rows ω are orthogonal within blocks of d, with the lengths of Gaussian vectors.
    """
    import numpy as np

    width = x.shape[1]
    draws = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(width, count)))
    blocks = []
    for _ in range(-(-count // width)):
        orthogonal, triangle = np.linalg.qr(draws.standard_normal((width, width)))
        blocks.append(orthogonal * np.sign(np.diagonal(triangle)))  # LAPACK's signs are not random (Mezzadri 2007)
    lengths = np.sqrt((draws.standard_normal((count, width)) ** 2).sum(axis=1))
    directions = np.concatenate(blocks)[:count] * lengths[:, None]
    scaled = x / width**0.25
    return np.exp(scaled @ directions.T - (scaled**2).sum(axis=1, keepdims=True) / 2) / np.sqrt(count)


def second_order(x: Any) -> Any:
    """1, y, y_a·y_b·√2 for a < b, and y_a², with y = x/d^¼ and the second order divided by √2."""
    import numpy as np

    scaled = x / x.shape[1] ** 0.25
    rows, columns = np.triu_indices(x.shape[1])
    products = scaled[:, rows] * scaled[:, columns] * np.where(rows == columns, np.sqrt(0.5), 1.0)
    return np.concatenate([np.ones((len(x), 1)), scaled, products], axis=1)


def exponential_pair(x: Any) -> Any:
    """exp(x) and exp(−x), side by side."""
    import numpy as np

    return np.concatenate([np.exp(x), np.exp(-x)], axis=1)


def sharpened(x: Any, power: int) -> Any:
    """y^p · ‖y‖/‖y^p‖ with y = max(x, 0)."""
    import numpy as np

    kept = relu(x)
    top = np.max(kept, axis=1, keepdims=True)
    raised = (kept / np.where(top > 0, top, 1.0)) ** power
    lengths = np.sqrt((raised**2).sum(axis=1, keepdims=True))
    return raised * np.sqrt((kept**2).sum(axis=1, keepdims=True)) / np.where(lengths > 0, lengths, 1.0)
