"""How strongly a query attends: score kernels act on scores, feature kernels on queries and keys, recurrence kernels
make a state.

A kernel is a value, and says which masks and positions it accepts; the arithmetic that uses it stands in `softmax.py`,
`linear.py` and `recurrence.py`, and the same matrices written as their definitions in `naive.py`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final, Literal

from rankscope.attention import maps
from rankscope.attention.maps import FEATURES, Map, of_tokens
from rankscope.attention.positions import Place, child
from rankscope.errors import error
from rankscope.registry import Registry, above_zero, nearest, typed

Masks = Literal["any", "everything", "triangle"]
"""Which masks a kernel accepts: any, the one that hides nothing, or the whole lower or upper triangle."""

Positions = Literal["any", "rotations", "none"]
"""Which positions a kernel accepts: any, those that turn queries and keys and do no more, or none."""


@dataclass(frozen=True)
class ScoreKernel:
    """A_ij = w(s_ij) / Σ_j w(s_ij) over the keys that i sees, with log w given by `log_weight`.

    The scores are s = scale · q kᵀ / √d. `log_weight` is given all of them, −∞ where a key is hidden, and keeps their
    shape; it may look at a whole row, at no other, and not at the order of the keys. −∞ is a weight of zero. None
    stands for the identity (softmax). With a `sink` the sum has one more term, exp(sink), that no key receives; where
    weights are not `divided` there is no sum, and a query that sees nothing has a zero row. Where the log weights are a
    multiple of the scores, `multiple` says by what, for the number of keys that a query sees.
    """

    label: str
    log_weight: Callable[[Any], Any] | None = None
    divided: bool = True
    sink: float | None = None
    multiple: Callable[[int], float] | None = None
    masks: ClassVar[Masks] = "any"
    positions: ClassVar[Positions] = "any"

    def __post_init__(self) -> None:
        if self.sink is not None and not math.isfinite(self.sink):
            raise error("RS002", f"the sink logit {self.sink} of {self.label}", "give a finite number")


@dataclass(frozen=True)
class FeatureKernel:
    """A_ij = φ(q_i)·ψ(k_j) / Σ_j φ(q_i)·ψ(k_j) over the keys that i sees: linear attention, of rank at most m.

    `features(x, i, place)` maps tokens (n × d) at the places i to n × m features, each token by itself; `place` is the
    `Place` of the head. Keys have the same map unless `keys` is given, which may look at all of them; their mask then
    hides nothing. The scale multiplies q·k, so each of q and k is taken times √scale.
    """

    label: str
    features: Map
    keys: Map | None = None
    positions: ClassVar[Positions] = "none"

    @property
    def masks(self) -> Masks:
        """Features of keys that look at all keys would show what a mask hides."""
        return "any" if self.keys is None else "everything"


@dataclass(frozen=True)
class RecurrenceKernel:
    """A_ij = q_i·T_i ⋯ T_{j+1} r_j for j ≤ i: the attention of a state S_t = T_t S_{t−1} + r_t v_tᵀ.

    T_t = (I − r_t w_tᵀ)·diag(g_t). `generators(k, place)` gives (r, g, w) for keys k (n × d): what is written, the
    gates, and the directions that are erased, each n × d or one that numpy broadcasts to it. Queries are q·scale/√d.
    Every part of the matrix below the diagonal has rank at most d. Seen from the end, it runs backward.
    """

    label: str
    generators: Callable[[Any, Place], tuple[Any, Any, Any]]
    masks: ClassVar[Masks] = "triangle"
    positions: ClassVar[Positions] = "rotations"


Kernel = ScoreKernel | FeatureKernel | RecurrenceKernel

KERNELS: Final = Registry[Callable[..., Kernel]](
    "kernel", {"mamba2": "ssd", "mamba-2": "ssd", "deltanet": "delta", "performer": "favor", "softmax1": "off-by-one"}
)
kernel = KERNELS
"""Decorator: register a function that makes a kernel under its own name."""


# ------------------------------------------------------------------------------------------------------ of scores


@kernel
def softmax() -> ScoreKernel:
    """The exponential of the scores, divided by its sum over the row (Vaswani et al. 2017)."""
    return ScoreKernel("softmax", multiple=lambda keys: 1.0)


@kernel
def tempered(temperature: float) -> ScoreKernel:
    """Softmax of the scores divided by a temperature: below 1 it sharpens, above it flattens (Hinton et al. 2015)."""
    above_zero("tempered", temperature)
    return ScoreKernel(
        f"tempered:{typed(temperature)}", lambda s: s / temperature, multiple=lambda keys: 1 / temperature
    )


@kernel
def logn(trained: int = 512) -> ScoreKernel:
    """Softmax of scores times log n / log TRAINED, n the keys that a query sees: entropy stays (Su 2021)."""
    if trained < 2:
        raise error("RS002", f"logn:{trained}", "give the length of training, at least 2")
    return ScoreKernel(
        "logn" if trained == 512 else f"logn:{trained}",
        lambda s: s * (log_seen(s) / math.log(trained)),
        multiple=lambda keys: math.log(keys) / math.log(trained),
    )


@kernel(name="off-by-one")
def off_by_one() -> ScoreKernel:
    """exp(s) / (1 + Σ exp(s)): a head may attend to nothing, and rows sum to less than one (Miller 2023)."""
    return ScoreKernel("off-by-one", sink=0.0)


@kernel
def sink(logit: float = 1.0) -> ScoreKernel:
    """Softmax with one more logit, learned in models, whose weight no key receives (gpt-oss, OpenAI 2025)."""
    return ScoreKernel(f"sink:{typed(logit)}", sink=logit)


@kernel
def softcap(cap: float = 50.0) -> ScoreKernel:
    """Softmax of scores that are softly capped: cap · tanh(s / cap) (Gemma 2, Gemma Team 2024)."""
    above_zero("softcap", cap)
    return ScoreKernel(f"softcap:{typed(cap)}", partial(capped, cap=cap))


@kernel
def sigmoid() -> ScoreKernel:
    """1 / (1 + n·exp(−s)), n the keys that a query sees; rows are not divided by sums (Ramapuram et al. 2024)."""
    return ScoreKernel("sigmoid", log_sigmoid, divided=False)


@kernel
def sparsemax() -> ScoreKernel:
    """The projection of the scores onto the simplex: many weights are zero (Martins and Astudillo 2016)."""
    return ScoreKernel("sparsemax", partial(projected, power=1))


@kernel
def entmax() -> ScoreKernel:
    """1.5-entmax, half way between softmax and sparsemax (Peters et al. 2019)."""
    return ScoreKernel("entmax", partial(projected, power=2))


@kernel
def relu2() -> ScoreKernel:
    """max(s, 0)²/n, n the keys that a query sees; rows are not divided by sums (GAU, Hua et al. 2022)."""
    return ScoreKernel("relu2", log_squared_relu, divided=False)


def log_seen(scores: Any) -> Any:
    """The logarithm of the number of keys that each query sees, as a column; 0 for none."""
    import numpy as np

    return np.log(np.maximum(np.count_nonzero(scores > -math.inf, axis=1), 1))[:, None]


def capped(scores: Any, cap: float) -> Any:
    """cap · tanh(s / cap), and −∞ where a key is hidden."""
    import numpy as np

    return np.where(scores > -math.inf, cap * np.tanh(scores / cap), -math.inf)


def log_sigmoid(scores: Any) -> Any:
    """ln σ(s − ln n)."""
    import numpy as np

    return -np.logaddexp(0.0, log_seen(scores) - scores)


def log_squared_relu(scores: Any) -> Any:
    """ln(max(s, 0)²/n)."""
    import numpy as np

    return 2 * np.log(np.maximum(scores, 0.0)) - log_seen(scores)


def projected(scores: Any, power: int) -> Any:
    """The log weights of α-entmax with 1/(α − 1) = power."""
    from rankscope.attention.simplex import entmax_logs

    return entmax_logs(scores, power)


# ---------------------------------------------------------------------------------------------------- of features


@kernel
def linear(features: str = "elu+1") -> FeatureKernel:
    """Linear attention with a feature map: elu+1, relu, exp, identity (Katharopoulos et al. 2020): rank at most d."""
    if features not in FEATURES:
        raise error("RS001", f"there is no feature map {features!r}", nearest(features, list(FEATURES)))
    return FeatureKernel("linear" if features == "elu+1" else f"linear:{features}", of_tokens(FEATURES[features]))


@kernel
def favor(features: int = 256) -> FeatureKernel:
    """Random features exp(ω·x − ‖x‖²/2) with orthogonal ω (FAVOR+, Choromanski et al. 2020): rank at most FEATURES."""
    above_zero("favor", features)
    return FeatureKernel("favor" if features == 256 else f"favor:{features}", maps.random_features(features))


@kernel
def cosformer() -> FeatureKernel:
    """relu features weighted by cos(π(i − j)/2n), which falls with distance (cosFormer, Qin et al. 2022): ≤ 2d."""
    return FeatureKernel("cosformer", maps.on_a_quarter_turn)


@kernel
def efficient() -> FeatureKernel:
    """Queries softmaxed over features, keys over tokens (efficient attention, Shen et al. 2021): rank at most d."""
    return FeatureKernel("efficient", of_tokens(maps.over_features), of_tokens(maps.over_tokens))


@kernel
def taylor() -> FeatureKernel:
    """1 + s + s²/2, the Taylor polynomial of the exponential, by 1 + d + d(d + 1)/2 features (Zhang et al. 2024)."""
    return FeatureKernel("taylor", of_tokens(maps.second_order))


@kernel
def hedgehog() -> FeatureKernel:
    """exp(x) and exp(−x), elementwise (Hedgehog, Zhang et al. 2024, without its learned layer): rank at most 2d."""
    return FeatureKernel("hedgehog", of_tokens(maps.exponential_pair))


@kernel
def focused(power: int = 3) -> FeatureKernel:
    """relu(x)^p, scaled back to the length of relu(x) (FLatten, Han et al. 2023): rank at most d."""
    above_zero("focused", power)
    label = "focused" if power == 3 else f"focused:{power}"
    return FeatureKernel(label, of_tokens(partial(maps.sharpened, power=power)))


# -------------------------------------------------------------------------------------------------- of recurrences


@kernel
def retnet() -> RecurrenceKernel:
    """q·k weighted by γ^(i−j), γ = 1 − 2^(−5−h) for head h (RetNet, Sun et al. 2023). Causal or anticausal."""
    return RecurrenceKernel("retnet", lambda k, place: (k, 1 - 2.0 ** (-5 - place.head), 0.0))


@kernel
def gla() -> RecurrenceKernel:
    """Gated linear attention: each feature decays by its own random gate σ(z)^(1/16) (Yang et al. 2023). Causal."""
    return RecurrenceKernel("gla", lambda k, place: (k, gates(place, k.shape), 0.0))


@kernel
def ssd() -> RecurrenceKernel:
    """Mamba-2: gates exp(−aΔ_t) and keys times Δ_t, random as at its initialisation (Dao and Gu 2024). Causal."""
    return RecurrenceKernel("ssd", state_space)


@kernel
def delta() -> RecurrenceKernel:
    """The delta rule: unit keys are erased before they are written, with strength σ(z) (Schlag et al. 2021). Causal."""
    return RecurrenceKernel("delta", lambda k, place: (strengths(place, len(k)) * unit(k), 1.0, unit(k)))


@kernel(name="gated-delta")
def gated_delta() -> RecurrenceKernel:
    """The delta rule with a gate σ(z)^(1/16) for each token (Gated DeltaNet, Yang et al. 2024). Causal."""
    return RecurrenceKernel(
        "gated-delta", lambda k, place: (strengths(place, len(k)) * unit(k), gates(place, (len(k), 1)), unit(k))
    )


def gates(place: Place, shape: tuple[int, int]) -> Any:
    """σ(z)^(1/16) of standard normal z: the gates of GLA at random weights."""
    import numpy as np

    return (1 / (1 + np.exp(-child(place, "gates").standard_normal(shape)))) ** (1 / 16)


def strengths(place: Place, count: int) -> Any:
    """σ(z) of standard normal z, as a column: how strongly the delta rule writes."""
    import numpy as np

    return 1 / (1 + np.exp(-child(place, "strengths").standard_normal((count, 1))))


def unit(x: Any) -> Any:
    """Tokens of length one; zero tokens stay."""
    import numpy as np

    exponents = np.frexp(np.abs(x).max(axis=1, keepdims=True, initial=0.0))[1]
    held = np.ldexp(x, -exponents)
    lengths = np.sqrt((held * held).sum(axis=1, keepdims=True))
    return held / np.where(lengths > 0, lengths, 1.0)


def state_space(keys: Any, place: Place) -> tuple[Any, Any, Any]:
    """Mamba-2 at its initialisation: a ~ U(1, 16), Δ_t = softplus(z_t + b), softplus(b) log-uniform in 10⁻³ … 10⁻¹."""
    import numpy as np

    random = child(place, "gates")
    decay = random.uniform(1.0, 16.0)
    bias = np.log(np.expm1(np.exp(random.uniform(np.log(1e-3), np.log(1e-1)))))
    step = np.logaddexp(0.0, random.standard_normal((len(keys), 1)) + bias)
    return step * keys, np.exp(-decay * step), 0.0
