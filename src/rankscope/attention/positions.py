"""Where tokens stand: what a position adds to attention before the kernel.

A position acts on queries and keys, on scores, or glues two score matrices. One interface serves all: rotations are
applied to queries and keys (`turn`), once for each piece of the plane of (query, key) on which they differ, and a
`bias` is added to the scores. Symbols: i is the place of a query, j that of a key, d the head size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from rankscope.errors import error
from rankscope.registry import Registry, above_zero, typed


@dataclass(frozen=True)
class Place:
    """Where a head stands: the number of its keys, its number among the heads, its layer, and the seed.

    What positions and kernels may depend on beside tokens and their places.
    """

    keys: int
    head: int = 0
    heads: int = 1
    seed: int = 0
    layer: int = 0


@dataclass(frozen=True)
class Piece:
    """A part of the plane, where `where(i, j)` holds: queries are turned as if at `query(i)`, keys at `key(j)`."""

    query: Callable[[Any], Any]
    key: Callable[[Any], Any]
    where: Callable[[Any, Any], Any] | None = None


@dataclass(frozen=True)
class Position:
    """What a position does.

    `turn(x, place)` turns queries and keys (n × d) at real places; `pieces` say at which, and several of them glue
    several score matrices. `bias(i, j, place)` is added to the scores. Turning keeps the rank of the scores at most d;
    gluing and biases need not. `tokens(i, width)` is added to tokens before they are projected, where tokens are known.
    """

    label: str
    turn: Callable[[Any, Any], Any] | None = None
    pieces: tuple[Piece, ...] = (Piece(lambda i: i, lambda j: j),)
    bias: Callable[[Any, Any, Place], Any] | None = None
    tokens: Callable[[Any, int], Any] | None = None

    @property
    def factored(self) -> bool:
        """Whether the scores are still a product of queries and keys."""
        return self.bias is None and len(self.pieces) == 1

    @property
    def turns(self) -> bool:
        """Whether it acts on queries and keys."""
        return self.turn is not None or len(self.pieces) > 1

    @property
    def idle(self) -> bool:
        """Whether queries, keys and scores stay as they are."""
        return self.bias is None and not self.turns


POSITIONS: Final = Registry[Callable[..., Position]]("position")
position = POSITIONS
"""Decorator: register a function that makes a `Position` under its own name."""


@position
def none() -> Position:
    """No position: tokens are a set."""
    return Position("none")


@position
def sinusoidal(base: float = 10000.0) -> Position:
    """sin and cos of i·base^(−2k/width) are added to tokens: needs an ensemble of tokens (Vaswani et al. 2017)."""

    def added(i: Any, width: int) -> Any:
        import numpy as np

        angles = np.asarray(i, dtype=np.float64)[:, None] * frequencies(width + width % 2, base)
        return np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(len(angles), -1)[:, :width]

    return Position(named("sinusoidal", base=(base, 10000.0)), tokens=added)


@position
def rope(base: float = 10000.0) -> Position:
    """Queries and keys are rotated by i·base^(−2k/d) in d/2 planes (RoPE, Su et al. 2021)."""
    return Position(named("rope", base=(base, 10000.0)), rotary(lambda d: frequencies(d, base)))


@position(name="interpolated")
def interpolated(factor: float, base: float = 10000.0) -> Position:
    """RoPE at places divided by a factor (position interpolation, Chen et al. 2023)."""
    above_zero("interpolated", factor)
    piece = Piece(lambda i: i / factor, lambda j: j / factor)
    label = named(f"interpolated:{typed(factor)}", base=(base, 10000.0))
    return Position(label, rotary(lambda d: frequencies(d, base)), (piece,))


@position
def ntk(factor: float, base: float = 10000.0) -> Position:
    """RoPE with base·factor^(d/(d−2)): the lowest frequency is divided by it, the highest kept (bloc97 2023)."""
    above_zero("ntk", factor)
    label = named(f"ntk:{typed(factor)}", base=(base, 10000.0))
    return Position(label, rotary(lambda d: frequencies(d, ntk_base(base, factor, d))))


@position(name="dynamic-ntk")
def dynamic_ntk(factor: float, trained: int, length: int, base: float = 10000.0) -> Position:
    """NTK-aware RoPE whose factor grows with the length: factor·length/trained − (factor − 1) (emozilla 2023)."""
    above_zero("dynamic-ntk", factor)
    grown = max(1.0, factor * length / trained - (factor - 1))
    label = named(f"dynamic-ntk:{typed(factor)}:trained={trained}:length={length}", base=(base, 10000.0))
    return Position(label, rotary(lambda d: frequencies(d, ntk_base(base, grown, d))))


@position
def yarn(factor: float, trained: int, base: float = 10000.0) -> Position:
    """RoPE that divides low frequencies only, and rotations scaled by 0.1·ln(factor) + 1 (YaRN, Peng et al. 2023)."""
    above_zero("yarn", factor)

    def mixed(d: int) -> Any:
        import numpy as np

        plain = frequencies(d, base)
        low, high = (turns_at(d, base, trained, turns) for turns in (32.0, 1.0))
        low, high = max(math.floor(low), 0), min(math.ceil(high), d - 1)
        ramp = np.clip((np.arange(d // 2) - low) / max(high - low, 1e-3), 0.0, 1.0)
        return plain / factor * ramp + plain * (1 - ramp)

    label = named(f"yarn:{typed(factor)}:trained={trained}", base=(base, 10000.0))
    return Position(label, rotary(mixed, 0.1 * math.log(factor) + 1 if factor > 1 else 1.0))


@position
def rerope(window: int = 512, base: float = 10000.0) -> Position:
    """RoPE with i − j cut off at the window: two score matrices, glued (ReRoPE, Su 2023)."""
    return leaky_rerope(window, math.inf, base)


@position(name="leaky-rerope")
def leaky_rerope(window: int = 512, leak: float = 16.0, base: float = 10000.0) -> Position:
    """RoPE with i − j beyond the window slowed down by the factor `leak` (Leaky ReRoPE, Su 2023).

    The relative place is i − j where i − j < w, and w + (i − j − w)/leak beyond. The article writes the far scores with
    the opposite sign of rotation; with (R_i q)ᵀ(R_j k) = qᵀR_{j−i}k a key at w before the query is the one meant here.
    """
    if window < 1:
        raise error("RS002", f"rerope:{window}", "give a window of at least 1")
    above_zero("leaky-rerope:leak", leak)
    slow = 0.0 if math.isinf(leak) else 1.0 / leak
    near = Piece(lambda i: i, lambda j: j, lambda i, j: i - j < window)
    far = Piece(lambda i: window * (1 - slow) + i * slow, lambda j: j * slow, lambda i, j: i - j >= window)
    name = f"rerope:{window}" if math.isinf(leak) else f"leaky-rerope:{window}:leak={typed(leak)}"
    return Position(named(name, base=(base, 10000.0)), rotary(lambda d: frequencies(d, base)), (near, far))


@position
def alibi(symmetric: bool = True) -> Position:
    """−slope·|i − j| is added to the scores, the slopes 2^(−8h/H) by head; any H (ALiBi, Press et al. 2021).

    With symmetric=0 the bias is −slope·(i − j), which adds at most 2 to the rank of the scores.
    """

    def bias(i: Any, j: Any, place: Place) -> Any:
        slope = alibi_slopes(place.heads)[place.head]
        return -slope * (abs(i - j) if symmetric else (i - j))

    return Position("alibi" if symmetric else "alibi:symmetric=0", bias=bias)


@position
def t5(buckets: int = 32, distance: int = 128, causal: bool = False, spread: float = 1.0) -> Position:
    """A bias for each bucket of j − i, random with this spread, for each head (T5, Raffel et al. 2020).

    As in T5 the layers share their biases.
    """

    def bias(i: Any, j: Any, place: Place) -> Any:
        import numpy as np

        table = spread * child(replace(place, layer=0), "t5").standard_normal(buckets)
        return np.asarray(t5_biases([table], distance, causal)(i, j, place))

    label = named("t5", buckets=(buckets, 32), distance=(distance, 128), causal=(causal, 0), spread=(spread, 1.0))
    return Position(label, bias=bias)


def t5_given(table: Any, distance: int = 128, causal: bool = False) -> Position:
    """T5's position with the biases of a trained model: `table` has a row for each head and a column for each bucket.

    >>> t5_given([[0.0] * 32]).label
    't5 given'
    """
    return Position("t5 given", bias=t5_biases(table, distance, causal))


def t5_biases(table: Any, distance: int, causal: bool) -> Callable[[Any, Any, Place], Any]:
    """The bias of each bucket of j − i, from a table with a row for each head, or with one for all of them."""
    import numpy as np

    rows = np.asarray(table, dtype=np.float64)
    exact = rows.shape[-1] // (2 if causal else 4)
    if exact < 1 or distance <= exact:
        given = f"{rows.shape[-1]} buckets up to the distance {distance}"
        raise error("RS002", given, f"give 4 buckets or more (2 if causal) and a distance above {exact}")
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise error("RS101", f"biases of shape {rows.shape}", "give a finite table, heads × buckets")

    def bias(i: Any, j: Any, place: Place) -> Any:
        if len(rows) not in (1, place.heads):
            raise error(
                "RS101",
                f"biases of {len(rows)} heads for {place.heads}",
                "give a row for each head, or one for all; a table of buckets × heads must be transposed",
            )
        row = rows[place.head if len(rows) > 1 else 0]
        return row[bucket_of(np.asarray(j - i), len(row), distance, causal)]

    return bias


@position
def diet(width: int = 0) -> Position:
    """p_i·r_j/√w of random vectors for each head is added to the scores (decoupled, DIET, Chen et al. 2021)."""

    def bias(i: Any, j: Any, place: Place) -> Any:
        import numpy as np

        random = child(replace(place, layer=0), "diet")
        size = width or place.keys
        if np.min(i) < 0:
            raise error(
                "RS101", f"more queries than the {place.keys} keys", "diet has a vector for each place of a key"
            )
        first, second = random.standard_normal((2, place.keys, size))
        return (first @ second.T / math.sqrt(size))[i, j]

    return Position(named("diet", width=(width, 0)), bias=bias)


def named(name: str, **parameters: tuple[float, float]) -> str:
    """A label with the parameters that differ from their defaults."""
    return ":".join(
        [name, *(f"{key}={typed(value)}" for key, (value, default) in parameters.items() if value != default)]
    )


def frequencies(d: int, base: float) -> Any:
    """base^(−2k/d) for k = 0 … d/2 − 1."""
    import numpy as np

    return base ** (-np.arange(d // 2) * 2.0 / d)


def ntk_base(base: float, factor: float, d: int) -> float:
    """base·factor^(d/(d−2)), so that the lowest frequency is divided by exactly the factor."""
    return float(base * factor ** (d / max(d - 2, 1)))


def turns_at(d: int, base: float, trained: int, turns: float) -> float:
    """The plane in which the trained length makes this many turns: d·ln(L/(2π·turns))/(2 ln base)."""
    return d * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(base))


def rotary(of_width: Callable[[int], Any], amplitude: float = 1.0) -> Callable[[Any, Any], Any]:
    """The rotation of pairs (k, k + d/2) by place·frequency_k, times an amplitude; an odd last number stays."""

    def turn(x: Any, places: Any) -> Any:
        import numpy as np

        half = x.shape[1] // 2
        angles = np.asarray(places, dtype=np.float64)[:, None] * of_width(2 * half)
        cosine, sine = amplitude * np.cos(angles), amplitude * np.sin(angles)
        first, second, rest = x[:, :half], x[:, half : 2 * half], x[:, 2 * half :]
        return np.concatenate([first * cosine - second * sine, second * cosine + first * sine, rest], axis=1)

    return turn


def alibi_slopes(heads: int) -> list[float]:
    """2^(−8h/H) for a power of two; otherwise those of the next lower power, and every other of twice that."""
    power = 2 ** (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (h + 1) / power) for h in range(power)]
    return slopes + [2.0 ** (-8.0 * (h + 1) / (2 * power)) for h in range(0, 2 * (heads - power), 2)]


def bucket_of(relative: Any, buckets: int, distance: int, causal: bool) -> Any:
    """T5's bucket of j − i: exact for near keys, logarithmic up to the distance, one for all beyond."""
    import numpy as np

    count = buckets if causal else buckets // 2
    offset = 0 if causal else np.where(relative > 0, count, 0)
    away = np.maximum(-relative, 0) if causal else np.abs(relative)
    exact = count // 2
    logarithm = np.log(np.maximum(away, exact) / exact) / math.log(distance / exact)
    large = np.minimum(exact + np.floor(logarithm * (count - exact)).astype(np.int64), count - 1)
    return offset + np.where(away < exact, away, large)


def child(place: Place, role: str) -> Any:
    """The random generator of one head for one purpose: a child of the seed, keyed by role, layer and head."""
    import hashlib

    import numpy as np

    key = int.from_bytes(hashlib.sha256(role.encode()).digest()[:4], "big")
    return np.random.default_rng(np.random.SeedSequence(place.seed, spawn_key=(key, place.layer, place.head)))
