"""The maps that kernels are made of: features of tokens, and what features may look at beside a token.

A map takes tokens x (n × d), their places i, and the `Place` of the head; it gives n × m features. Maps of one token
alone ignore the other two.
"""

from collections.abc import Callable
from typing import Any, Final

from rankscope.attention.positions import Place, child

Map = Callable[[Any, Any, Place], Any]


def of_tokens(function: Callable[[Any], Any]) -> Map:
    """A map of tokens that looks at nothing else."""
    return lambda x, i, place: function(x)


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


def random_features(count: int) -> Map:
    """exp(ω·y − ‖y‖²/2)/√m with y = x/d^¼, so that φ(q)·φ(k) estimates exp(q·k/√d).

    The rows ω are orthogonal within blocks of d, with the lengths of Gaussian vectors.
    """

    def features(x: Any, i: Any, place: Place) -> Any:
        import numpy as np

        width = x.shape[1]
        draws = child(place, "favor")
        blocks = []
        for _ in range(-(-count // width)):
            orthogonal, triangle = np.linalg.qr(draws.standard_normal((width, width)))
            blocks.append(orthogonal * np.sign(np.diagonal(triangle)))  # LAPACK's signs are not random (Mezzadri 2007)
        lengths = np.sqrt((draws.standard_normal((count, width)) ** 2).sum(axis=1))
        directions = np.concatenate(blocks)[:count] * lengths[:, None]
        scaled = x / width**0.25
        return np.exp(scaled @ directions.T - (scaled**2).sum(axis=1, keepdims=True) / 2) / np.sqrt(count)

    return features


def second_order(x: Any) -> Any:
    """1, y, y_a·y_b for a < b, and y_a²/√2, with y = x/d^¼: their products are 1 + s + s²/2."""
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


def on_a_quarter_turn(x: Any, i: Any, place: Place) -> Any:
    """relu(x)·cos(πi/2M) and relu(x)·sin(πi/2M), M the number of keys: products of two are weighted by cos of i − j."""
    import numpy as np

    kept, angle = relu(x), (np.pi / 2) * np.asarray(i)[:, None] / max(place.keys, 1)
    return np.concatenate([kept * np.cos(angle), kept * np.sin(angle)], axis=1)


def over_features(x: Any) -> Any:
    """The softmax of each token over its features."""
    return softmax(x, axis=1)


def over_tokens(x: Any) -> Any:
    """The softmax of each feature over all tokens."""
    return softmax(x, axis=0)


def softmax(x: Any, axis: int) -> Any:
    """exp(x) divided by its sum along an axis."""
    import numpy as np

    weights = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    return weights / weights.sum(axis=axis, keepdims=True)
