"""Every kernel with every mask and every position: the definition written entry by entry, or one clear refusal.

Scores, features and recurrences come from `naive.py` and from the formulas of their articles below; random numbers are
drawn again, and nothing else is shared with what is checked.
"""

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any, Final

import numpy as np
import pytest

from rankscope.attention import exact, naive
from rankscope.attention.build import attention
from rankscope.attention.distance import distance
from rankscope.attention.existing import single
from rankscope.attention.kernels import KERNELS
from rankscope.attention.masks import MASKS, Mask, parse
from rankscope.attention.origin import Origin
from rankscope.attention.positions import POSITIONS, Place, child
from rankscope.errors import UsageError
from tests.oracles import EPS, UNIT, Float64, away

Matrix = list[list[float]]
Rows = list[list[float]]
Bias = Callable[[int, int], float]

SQUARE, WIDE = (7, 7, 6), (5, 8, 4)
"""Queries, keys and their size."""


# --------------------------------------------------------------------------------------------------------------- masks

MASKS_TRIED: Final = (
    "bidirectional", "causal", "anticausal", "prefix:1", "prefix:3", "window:2", "window:9", "strict", "dilated:2",
    "strided:2", "global:2", "random:0.3:block=2:seed=4", "bigbird:2:1:0.2:block=2", "packed:3", "padding:5",
    "left-padding:2", "left-padding:2 & causal",
)  # fmt: skip
"""prefix:1 is a whole triangle though its name does not say so, window:9 hides nothing; two leave rows empty."""


def seen_under(mask: Mask, rows: int, columns: int) -> list[list[bool]]:
    return [[bool(mask.allows(i + columns - rows, j)) for j in range(columns)] for i in range(rows)]


def everything(seen: list[list[bool]]) -> bool:
    return all(all(row) for row in seen)


def triangle(seen: list[list[bool]]) -> bool:
    """Whether all and only the keys on one side of each query, itself included, are seen."""
    places = [(i, j, sees) for i, row in enumerate(seen) for j, sees in enumerate(row)]
    square = all(len(row) == len(seen) for row in seen)
    return square and (all(s == (j <= i) for i, j, s in places) or all(s == (j >= i) for i, j, s in places))


# ----------------------------------------------------------------------------------------------------------- positions


@dataclass(frozen=True)
class Where:
    """What a position does, from its article: to the number of places from a key up to a query, or to the score.

    A position that turns tokens by their own places, too, turns by `slowed` times these.
    """

    apart: Callable[[int, int], float] = lambda i, j: 0.0
    frequencies: Callable[[int], list[float]] = lambda d: []
    amplitude: float = 1.0
    slowed: float | None = 1.0
    bias: Callable[[Place], Bias] | None = None

    @property
    def turning(self) -> bool:
        """Whether it does no more than to turn queries and keys, each at its own place."""
        return self.slowed is not None and self.bias is None


def powers(d: int, base: float = 1e4) -> list[float]:
    """base^(−2c/d)."""
    return [math.exp(-2 * c / d * math.log(base)) for c in range(d // 2)]


def aware(d: int, factor: float) -> list[float]:
    """The frequencies of NTK-aware RoPE: base·factor^(d/(d − 2)); the one of a single plane is 1 whatever the base."""
    return powers(d, 1e4 * factor ** (d / max(d - 2, 1)))


def by_parts(d: int, factor: float, trained: int) -> list[float]:
    """YaRN's: planes of more than 32 turns in the trained length are kept, those of less than one are divided."""
    edges = [d * math.log(trained / (2 * math.pi * turns)) / (2 * math.log(1e4)) for turns in (32, 1)]
    low, high = max(math.floor(edges[0]), 0), min(math.ceil(edges[1]), d - 1)
    ramp = [min(max((c - low) / (high - low), 0.0), 1.0) for c in range(d // 2)]
    return [f * (1 - share) + f / factor * share for f, share in zip(powers(d), ramp, strict=True)]


def rotary(frequencies: Callable[[int], list[float]], slowed: float = 1.0, amplitude: float = 1.0) -> Where:
    return Where(lambda i, j: (i - j) * slowed, frequencies, amplitude, slowed)


def cut_off(window: int, leak: float) -> Where:
    """ReRoPE: keys beyond the window are as far as it, or as far as the leak lets them be."""
    return Where(lambda i, j: i - j if i - j < window else window + (i - j - window) / leak, powers, 1.0, None)


def slopes(symmetric: bool) -> Callable[[Place], Bias]:
    """ALiBi's for a power of two of heads: 2^(−8(h + 1)/H)."""
    return lambda place: (
        lambda i, j: -(2.0 ** (-8 * (place.head + 1) / place.heads)) * (abs(i - j) if symmetric else i - j)
    )


def buckets(count: int, most: int, causal: bool) -> Callable[[Place], Bias]:
    """T5's: a random number for each bucket of j − i."""

    def bias(place: Place) -> Bias:
        table = child(replace(place, layer=0), "t5").standard_normal(count).tolist()
        half = count if causal else count // 2

        def of(i: int, j: int) -> float:
            far = max(i - j, 0) if causal else abs(i - j)
            first = half if j > i and not causal else 0
            if far >= half // 2:
                steps = math.log(far / (half // 2)) / math.log(most / (half // 2))
                far = min(half // 2 + int(steps * (half - half // 2)), half - 1)
            return float(table[first + far])

        return of

    return bias


def pairs(width: int | None) -> Callable[[Place], Bias]:
    """DIET's: products of random vectors."""

    def bias(place: Place) -> Bias:
        size = width or place.keys
        draws = child(replace(place, layer=0), "diet").standard_normal((2, place.keys, size)).tolist()
        return lambda i, j: naive.dot(draws[0][i], draws[1][j]) / math.sqrt(size)

    return bias


POSITIONS_TRIED: Final[dict[str, Where]] = {
    "none": Where(),
    "rope": rotary(powers),
    "rope:100": rotary(partial(powers, base=100.0)),
    "interpolated:4": rotary(powers, slowed=0.25),
    "ntk:4": rotary(partial(aware, factor=4)),
    "dynamic-ntk:2:trained=4:length=8": rotary(partial(aware, factor=3)),
    "dynamic-ntk:2:trained=16:length=8": rotary(powers),
    "yarn:4:trained=4096": rotary(partial(by_parts, factor=4, trained=4096), amplitude=0.1 * math.log(4) + 1),
    "rerope:3": cut_off(3, math.inf),
    "leaky-rerope:3:leak=4": cut_off(3, 4.0),
    "alibi": Where(bias=slopes(symmetric=True)),
    "alibi:symmetric=0": Where(bias=slopes(symmetric=False)),
    "t5:buckets=8:distance=6": Where(bias=buckets(8, 6, causal=False)),
    "t5:causal=1": Where(bias=buckets(32, 128, causal=True)),
    "diet": Where(bias=pairs(None)),
    "diet:width=3": Where(bias=pairs(3)),
}

OF_TOKENS: Final = ("sinusoidal",)
"""Positions that are added to tokens before these are projected, and mean nothing for queries and keys."""


@dataclass(frozen=True)
class Head:
    """The tokens of one head, where they stand, and what their position does."""

    q: Rows
    k: Rows
    place: Place
    where: Where

    @property
    def offset(self) -> int:
        return len(self.k) - len(self.q)

    @property
    def d(self) -> int:
        return len(self.q[0])

    @cached_property
    def scores(self) -> Matrix:
        """Scores by relative places, with the bias."""
        where = self.where
        frequencies = where.frequencies(self.d - self.d % 2)
        table = naive.placed(self.q, self.k, where.apart, frequencies, where.amplitude)
        return table if where.bias is None else naive.biased(table, where.bias(self.place))

    @cached_property
    def turned(self) -> tuple[Rows, Rows]:
        """Queries and keys turned at their own places, as complex numbers."""
        return [self.at(q, i + self.offset) for i, q in enumerate(self.q)], [
            self.at(k, j) for j, k in enumerate(self.k)
        ]

    def at(self, x: list[float], place: int) -> list[float]:
        half = self.d // 2
        found = [
            complex(x[c], x[c + half]) * cmath.rect(self.where.amplitude, place * (self.where.slowed or 0.0) * f)
            for c, f in enumerate(self.where.frequencies(2 * half))
        ]
        return [z.real for z in found] + [z.imag for z in found] + x[2 * len(found) :]

    @cached_property
    def bound(self) -> float:
        """No score is larger: the lengths of queries and keys, and the bias."""
        product = self.where.amplitude**2 * longest(self.q) * max(longest(self.k), 1.0) / math.sqrt(self.d)
        if self.where.bias is None:
            return product
        bias = self.where.bias(self.place)
        return product + max(abs(bias(i + self.offset, j)) for i in range(len(self.q)) for j in range(len(self.k)))

    @property
    def units(self) -> int:
        """Roundings of a score, in units of roundoff of `bound`: d for the sum, and in each of three rotations (of the
        query, the key, and of their relative place) 8 for each step of the angle, which frequencies, product, cosine
        and sine share; 24 for divisions, roots, and the bias.
        """
        return 2 * (self.d + 24 * len(self.k) + 24)


def longest(rows: Rows) -> float:
    return max(math.hypot(*row) for row in rows)


# ------------------------------------------------------------------------------------------------------------- kernels


@dataclass(frozen=True)
class OfScores:
    """The weights of a row of scores, and how much a weight changes with the scores of its row at most."""

    weights: Callable[[list[float]], list[float]]
    slope: Callable[[float], float] = lambda bound: 2.0

    def accepts(self, seen: list[list[bool]], where: Where) -> bool:
        return True

    def matrix(self, head: Head, mask: Mask) -> tuple[Matrix, Float64]:
        """The definition, and how far rounding may be from it: of scores, and of sums of a row."""
        found = naive.of_scores(head.scores, mask, self.weights)
        largest = max((x for row in found for x in row), default=0.0)
        allowed = self.slope(head.bound) * head.units * UNIT * head.bound + (len(head.k) + 16) * EPS * max(1.0, largest)
        return found, np.full((len(head.q), len(head.k)), allowed)


@dataclass(frozen=True)
class OfFeatures:
    """Products φ(q)·ψ(k) before they are divided by their sums, and of their magnitudes where they are signed."""

    products: Callable[[Head], Matrix]
    magnitudes: Callable[[Head], Matrix] | None = None
    whole: bool = False
    units: Callable[[Head], float] = lambda head: 0.0

    def accepts(self, seen: list[list[bool]], where: Where) -> bool:
        return where is POSITIONS_TRIED["none"] and (everything(seen) or not self.whole)

    def matrix(self, head: Head, mask: Mask) -> tuple[Matrix, Float64]:
        """Numerators and sums are off by roundings of their magnitudes, of which the sum keeps one part in `spread`."""
        products = self.products(head)
        found = np.array(naive.of_scores(products, mask, naive.shares))
        seen = np.array(seen_under(mask, *found.shape))
        sizes = np.where(seen, self.magnitudes(head) if self.magnitudes else products, 0.0).sum(axis=1)
        sums = np.abs(np.where(seen, products, 0.0).sum(axis=1))
        spread = np.divide(sizes, sums, out=np.ones(len(sums)), where=sums > 0)[:, None]
        roundings = 4 * (head.d**2 + len(head.k) + 24 + self.units(head))
        return found.tolist(), np.asarray(roundings * UNIT * spread * (1 + np.abs(found)))


@dataclass(frozen=True)
class OfRecurrence:
    """The closed formula of a recurrence that runs forward, or backward."""

    entries: Callable[[Head, bool], Matrix]

    def accepts(self, seen: list[list[bool]], where: Where) -> bool:
        return triangle(seen) and where.turning

    def matrix(self, head: Head, mask: Mask) -> tuple[Matrix, Float64]:
        """No gate and no erasing makes a state longer: errors of its steps add up."""
        size = len(head.k)
        allowed = (head.units + 2 * size * (head.d + 8)) * UNIT * head.bound
        return self.entries(head, bool(mask.allows(0, size - 1))), np.full((size, size), allowed)


def of_tokens(features: Callable[[list[float]], list[float]]) -> Callable[[Head], Matrix]:
    return lambda head: [[naive.dot(features(q), features(k)) for k in head.k] for q in head.q]


def absolute(head: Head) -> Head:
    return replace(head, q=[[abs(x) for x in q] for q in head.q], k=[[abs(x) for x in k] for k in head.k])


def exponential(x: list[float], signs: tuple[int, ...] = (1,)) -> list[float]:
    return [math.exp(sign * a) for sign in signs for a in x]


def polynomial(head: Head) -> Matrix:
    return [[1 + s + s * s / 2 for s in row] for row in naive.scores(head.q, head.k)]


def cosines(head: Head) -> Matrix:
    count = len(head.k)
    return [
        [naive.cosine_weighted(q, k, i + head.offset, j, count) for j, k in enumerate(head.k)]
        for i, q in enumerate(head.q)
    ]


@cache
def directions(place: Place, count: int, d: int) -> tuple[Rows, float]:
    """FAVOR's ω: in blocks of d the columns of Gaussian numbers made orthonormal by Gram and Schmidt, each row then as
    long as a Gaussian vector; and by how many units of roundoff Gram and Schmidt may miss.
    """
    draws, blocks, lost = child(place, "favor"), [], 1.0
    for _ in range(math.ceil(count / d)):
        given = draws.standard_normal((d, d))
        lost = max(lost, float(np.linalg.cond(given)))
        columns: Rows = []
        for column in given.T.tolist():
            for other in columns:
                along = naive.dot(column, other)
                column = [a - along * b for a, b in zip(column, other, strict=True)]
            columns.append([a / math.hypot(*column) for a in column])
        blocks += [[column[row] for column in columns] for row in range(d)]
    lengths = [math.hypot(*each) for each in draws.standard_normal((count, d)).tolist()]
    found = [[length * a for a in block] for length, block in zip(lengths, blocks[:count], strict=True)]
    return found, 4 * d * lost * max(lengths)


def randomly(head: Head, count: int) -> Matrix:
    omega, _ = directions(head.place, count, head.d)
    left, right = ([naive.positive_features(x, omega) for x in rows] for rows in (head.q, head.k))
    return [[naive.dot(q, k) for k in right] for q in left]


def lost_directions(head: Head, count: int) -> float:
    return directions(head.place, count, head.d)[1] * (1 + max(longest(head.q), longest(head.k)))


def between(i: int, j: int) -> range:
    """The places whose gates a state passes from the key at j to the query at i: from beside j up to i."""
    return range(j + 1, i + 1) if j <= i else range(i, j)


def on_one_side(size: int, backward: bool, entry: Callable[[int, int], float]) -> Matrix:
    return [[entry(i, j) if (j >= i if backward else j <= i) else 0.0 for j in range(size)] for i in range(size)]


def sigma(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def retained(head: Head, backward: bool) -> Matrix:
    """q_i·k_j γ^|i − j|/√d."""
    scores, gamma = head.scores, 1 - 2.0 ** (-5 - head.place.head)
    return on_one_side(len(head.k), backward, lambda i, j: scores[i][j] * gamma ** abs(i - j))


def gated(head: Head, backward: bool) -> Matrix:
    """Σ_c q_ic k_jc Π_t g_tc/√d over the gates σ(z)^(1/16) between j and i."""
    draws = child(head.place, "gates").standard_normal((len(head.k), head.d)).tolist()
    gates, (q, k) = [[sigma(z) ** (1 / 16) for z in row] for row in draws], head.turned

    def entry(i: int, j: int) -> float:
        kept = [math.prod(gates[t][c] for t in between(i, j)) for c in range(head.d)]
        return naive.dot([a * g for a, g in zip(q[i], kept, strict=True)], k[j]) / math.sqrt(head.d)

    return on_one_side(len(head.k), backward, entry)


def selective(head: Head, backward: bool) -> Matrix:
    """q_i·k_j Δ_j exp(−a Σ_t Δ_t)/√d over the steps between j and i."""
    draws, scores = child(head.place, "gates"), head.scores
    decay, first = draws.uniform(1.0, 16.0), math.exp(draws.uniform(math.log(1e-3), math.log(1e-1)))
    bias = math.log(math.exp(first) - 1)
    steps = [math.log(1 + math.exp(z + bias)) for z in draws.standard_normal(len(head.k)).tolist()]
    return on_one_side(
        len(head.k),
        backward,
        lambda i, j: scores[i][j] * steps[j] * math.exp(-decay * math.fsum(steps[t] for t in between(i, j))),
    )


def delta_rule(head: Head, backward: bool, gated: bool = False) -> Matrix:
    """Unit keys erased before they are written, with strength σ(z); token by token."""
    (q, k), count = head.turned, len(head.k)
    strengths = [sigma(z) for z in child(head.place, "strengths").standard_normal(count).tolist()]
    draws = child(head.place, "gates").standard_normal(count).tolist()
    gates = [[sigma(z) ** (1 / 16) if gated else 1.0] * head.d for z in draws]
    units = [[a / math.hypot(*key) for a in key] for key in k]
    right = [[beta * a for a in key] for beta, key in zip(strengths, units, strict=True)]
    left = [[a / math.sqrt(head.d) for a in query] for query in q]
    turn = -1 if backward else 1
    found = naive.recurrence(*(each[::turn] for each in (left, right, gates, units)))
    return [row[::turn] for row in found[::turn]]


KERNELS_TRIED: Final[dict[str, OfScores | OfFeatures | OfRecurrence]] = {
    "softmax": OfScores(naive.exponentials),
    "tempered:0.5": OfScores(lambda row: naive.exponentials([s / 0.5 for s in row]), lambda bound: 4.0),
    "logn:16": OfScores(partial(naive.entropy_invariant, trained=16)),
    "off-by-one": OfScores(partial(naive.with_sink, sink=0.0)),
    "sink:-0.5": OfScores(partial(naive.with_sink, sink=-0.5)),
    # cap · tanh(s / cap) changes by no more than s, and is off by 10 units of its own: a division, tanh, a product.
    "softcap:0.8": OfScores(partial(naive.capped, cap=0.8), lambda bound: 2.0 * (1 + 10)),
    "sigmoid": OfScores(naive.sigmoids),
    "sparsemax": OfScores(partial(naive.entmax, power=1)),
    "entmax": OfScores(partial(naive.entmax, power=2)),
    "relu2": OfScores(naive.squared_relus, lambda bound: 2 * bound),
    "linear": OfFeatures(of_tokens(naive.elu_plus_one)),
    "linear:relu": OfFeatures(of_tokens(lambda x: [max(a, 0.0) for a in x])),
    "linear:exp": OfFeatures(of_tokens(exponential)),
    "linear:identity": OfFeatures(of_tokens(lambda x: x), lambda head: of_tokens(lambda x: x)(absolute(head))),
    "favor:13": OfFeatures(partial(randomly, count=13), units=partial(lost_directions, count=13)),
    "cosformer": OfFeatures(cosines),
    "efficient": OfFeatures(lambda head: naive.efficient(head.q, head.k), whole=True),
    "taylor": OfFeatures(polynomial, lambda head: polynomial(absolute(head))),
    "hedgehog": OfFeatures(of_tokens(partial(exponential, signs=(1, -1)))),
    "focused:2": OfFeatures(of_tokens(partial(naive.sharpened, power=2))),
    "retnet": OfRecurrence(retained),
    "gla": OfRecurrence(gated),
    "ssd": OfRecurrence(selective),
    "delta": OfRecurrence(delta_rule),
    "gated-delta": OfRecurrence(partial(delta_rule, gated=True)),
}

RECURRENCES: Final = [name for name, how in KERNELS_TRIED.items() if isinstance(how, OfRecurrence)]


def test_every_kernel_every_mask_and_every_position_is_tried() -> None:
    words = {word.strip().partition(":")[0] for text in MASKS_TRIED for word in text.split("&")}
    assert words == set(MASKS.names())
    assert {text.partition(":")[0] for text in KERNELS_TRIED} == set(KERNELS.names())
    assert {text.partition(":")[0] for text in (*POSITIONS_TRIED, *OF_TOKENS)} == set(POSITIONS.names())


# ------------------------------------------------------------------------------------------------------------- battery


@cache
def tokens(rows: int, columns: int, d: int, seed: int = 0) -> tuple[Float64, Float64]:
    random = np.random.default_rng([seed, rows, columns, d])
    return random.standard_normal((rows, d)), random.standard_normal((columns, d))


def head_of(position: str, q: Float64, k: Float64, place: Place) -> Head:
    return Head(q.tolist(), k.tolist(), place, POSITIONS_TRIED[position])


def check(found: Any, how: OfScores | OfFeatures | OfRecurrence, head: Head, mask: Mask) -> None:
    """The matrix that was found is the definition, within what rounding allows."""
    expected, allowed = how.matrix(head, mask)
    missed = np.abs(np.asarray(single(found).matrix) - np.array(expected))
    assert (missed <= allowed).all(), (mask.label, float((missed / allowed).max()))


@pytest.mark.parametrize("position", POSITIONS_TRIED)
@pytest.mark.parametrize("name", KERNELS_TRIED)
def test_a_kernel_is_its_definition_or_refused_by_name(name: str, position: str) -> None:
    """For square and for wide matrices, under every mask."""
    how, labels = KERNELS_TRIED[name], (KERNELS.build(name).label, POSITIONS.build(position).label)
    for rows, columns, d in (SQUARE, WIDE):
        q, k = tokens(rows, columns, d)
        head = head_of(position, q, k, Place(columns))
        for text in MASKS_TRIED:
            mask = parse(text)
            options: dict[str, Any] = {"mask": text, "kernel": name, "position": position, "empty_rows": "zero"}
            if how.accepts(seen_under(mask, rows, columns), head.where):
                check(attention(q, k, **options), how, head, mask)
                continue
            with pytest.raises(UsageError) as caught:
                attention(q, k, **options)
            assert caught.value.code == "RS003"
            assert f"kernel {labels[0]}" in caught.value.given
            assert f"mask {mask.label}" in caught.value.given or f"position {labels[1]}" in caught.value.given


@pytest.mark.parametrize("position", [text for text, where in POSITIONS_TRIED.items() if where.bias is None])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_an_odd_last_number_and_a_single_plane_are_turned_as_they_are_defined(position: str, d: int) -> None:
    q, k = tokens(6, 6, d)
    how, head = KERNELS_TRIED["softmax"], head_of(position, q, k, Place(6))
    check(attention(q, k, position=position), how, head, parse("bidirectional"))


@pytest.mark.parametrize("name", KERNELS_TRIED)
@pytest.mark.parametrize("position", OF_TOKENS)
def test_a_position_of_tokens_is_refused_where_only_queries_and_keys_are_known(name: str, position: str) -> None:
    q, k = tokens(*SQUARE)
    with pytest.raises(UsageError) as caught:
        attention(q, k, kernel=name, position=position, mask="causal")
    assert caught.value.code == "RS003"
    assert position in caught.value.given or f"kernel {KERNELS.build(name).label}" in caught.value.given


def test_recurrences_take_whole_triangles_and_efficient_takes_what_hides_nothing() -> None:
    """What the battery above accepts, by name."""
    taken = {
        name: [text for text in MASKS_TRIED if how.accepts(seen_under(parse(text), 7, 7), POSITIONS_TRIED["none"])]
        for name, how in KERNELS_TRIED.items()
    }
    assert all(taken[name] == ["causal", "anticausal", "prefix:1"] for name in RECURRENCES)
    assert taken["efficient"] == ["bidirectional", "window:9"]
    assert all(taken[name] == list(MASKS_TRIED) for name in KERNELS_TRIED if name not in (*RECURRENCES, "efficient"))


OF_ANOTHER_HEAD: Final = [
    *((name, position) for name in (*RECURRENCES, "favor:13") for position in ("none", "rope")),
    *(("softmax", position) for position in ("alibi", "alibi:symmetric=0", "t5:causal=1", "diet")),
    ("sigmoid", "alibi"),
]


@pytest.mark.parametrize(("name", "position"), [each for each in OF_ANOTHER_HEAD if each != ("favor:13", "rope")])
def test_what_depends_on_the_head_is_its_definition_for_each_of_two(name: str, position: str) -> None:
    """The same tokens, one seed and one layer; draws differ between heads, and between seeds and layers."""
    q, k = tokens(*SQUARE)
    how, mask = KERNELS_TRIED[name], parse("anticausal" if name in RECURRENCES else "bidirectional")
    made = attention(
        np.stack([q, q]), np.stack([k, k]), kernel=name, position=position, mask=mask, origin=Origin(seed=3, layer=2)
    )
    assert isinstance(made, list)
    for number, each in enumerate(made):
        check(each, how, head_of(position, q, k, Place(len(k), number, 2, seed=3, layer=2)), mask)
        alone = single(
            attention(
                q, k, kernel=name, position=position, mask=mask, heads=2,
                origin=Origin(seed=3, layer=2, head=number),
            )
        )  # fmt: skip
        assert np.array_equal(alone.matrix, each.matrix)
    assert not np.allclose(made[0].matrix, made[1].matrix, rtol=1e-3)


@pytest.mark.parametrize("name", RECURRENCES)
@pytest.mark.parametrize("position", ["none", "rope", "yarn:4:trained=4096"])
def test_a_recurrence_seen_from_the_end_runs_backward(name: str, position: str) -> None:
    """Its closed formula, and as a second route the forward formula of the same tokens in the opposite order where no
    number belongs to a place: RetNet without a position.
    """
    q, k = tokens(*SQUARE, 5)
    made = single(attention(q, k, kernel=name, position=position, mask="anticausal"))
    check(made, KERNELS_TRIED[name], head_of(position, q, k, Place(7)), parse("anticausal"))
    assert not np.tril(np.asarray(made.matrix), -1).any()
    assert (np.diagonal(np.asarray(made.matrix)) != 0).all()
    if (name, position) == ("retnet", "none"):
        turned = head_of(position, q[::-1], k[::-1], Place(7))
        _, allowed = KERNELS_TRIED[name].matrix(turned, parse("causal"))
        assert (np.abs(np.array(retained(turned, False))[::-1, ::-1] - np.asarray(made.matrix)) <= allowed).all()


@pytest.mark.parametrize("name", KERNELS_TRIED)
def test_the_scale_multiplies_the_product_of_query_and_key(name: str) -> None:
    """A scale of 4 is queries and keys twice as long, which is exact."""
    q, k = tokens(*SQUARE)
    mask = "causal" if name in RECURRENCES else "bidirectional"
    one, two = (
        np.asarray(single(attention(*each, kernel=name, mask=mask, scale=scale)).matrix)
        for each, scale in (((q, k), 4.0), ((2 * q, 2 * k), 1.0))
    )
    if name in ("delta", "gated-delta"):
        two = 2 * two  # unit keys have no length to be scaled
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("name", "score"), [("relu2", 1e-90), ("relu2", 1e-140), ("sigmoid", -500.0), ("sigmoid", -700.0)]
)
def test_weights_whose_squares_underflow_are_held_within_their_distance(name: str, score: float) -> None:
    """Rows that are not divided by their sums may be tiny as a whole; their distance is not zero for that."""
    q = np.linspace(0.7, 1.3, 5)[:, None] * score
    made = single(attention(q, np.linspace(0.9, 1.1, 5)[:, None], kernel=name))
    with exact.precision(256):
        truth = exact.balls(made)
        missed = math.fsum(away(made.matrix[i, j], truth[i, j]) for i in range(5) for j in range(5))
    assert 0 < missed <= 5 * distance(made)  # the sum of 25 magnitudes is at most 5 times the Frobenius norm
