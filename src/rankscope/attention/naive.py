"""The same matrices written as their definitions, entry by entry: slow, plain, and the test of everything fast.

Scores, weights of scores, features and recurrences, each as its source writes it down; nothing here is shared with what
it checks. Tokens are lists of numbers, i is the place of a query and j that of a key.
"""

import math
from collections.abc import Callable, Sequence

from rankscope.attention.masks import Mask

Row = Sequence[float]
Rows = Sequence[Row]
Matrix = list[list[float]]


def softmax(q: Rows, k: Rows, mask: Mask, scale: float = 1.0) -> Matrix:
    """exp(s_ij) / Σ_j exp(s_ij) with s_ij = scale · q_i·k_j / √d, over the keys that i sees.

    >>> from rankscope.attention.masks import causal
    >>> softmax([[0.0], [0.0]], [[0.0], [0.0]], causal())
    [[1.0, 0.0], [0.5, 0.5]]
    """
    return of_scores(scores(q, k, scale), mask, exponentials)


def linear(q: Rows, k: Rows, mask: Mask, features: Callable[[Row], Row]) -> Matrix:
    """φ(q_i)·φ(k_j) / Σ_j φ(q_i)·φ(k_j) over the keys that i sees; `features` maps one token."""
    products = [[dot(features(a), features(b)) for b in k] for a in q]
    return of_scores(products, mask, shares)


def scores(q: Rows, k: Rows, scale: float = 1.0) -> Matrix:
    """scale · q_i·k_j / √d."""
    return [[scale * dot(a, b) / math.sqrt(len(a)) for b in k] for a in q]


def of_scores(table: Rows, mask: Mask, weights: Callable[[list[float]], list[float]]) -> Matrix:
    """The weights that each row gives to the scores of the keys that it sees; the queries are the last of the keys."""
    matrix = []
    for i, row in enumerate(table):
        place = i + len(row) - len(table)
        seen = [j for j in range(len(row)) if mask.allows(place, j)]
        found = dict(zip(seen, weights([row[j] for j in seen]) if seen else [], strict=True))
        matrix.append([found.get(j, 0.0) for j in range(len(row))])
    return matrix


def dot(a: Row, b: Row) -> float:
    """The inner product, summed exactly."""
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


# ---------------------------------------------------------------------------------------------- weights of one row


def shares(row: list[float]) -> list[float]:
    """Weights divided by their sum; zeros where that is zero."""
    total = math.fsum(row)
    return [weight / total if total else 0.0 for weight in row]


def exponentials(row: list[float]) -> list[float]:
    """The softmax."""
    return shares([math.exp(s) for s in row])


def with_sink(row: list[float], sink: float) -> list[float]:
    """The softmax of a row with one more logit, whose weight is dropped."""
    return exponentials([*row, sink])[:-1]


def entropy_invariant(row: list[float], trained: int) -> list[float]:
    """The softmax of scores times log_trained(n)."""
    return exponentials([s * math.log(len(row), trained) for s in row])


def capped(row: list[float], cap: float) -> list[float]:
    """The softmax of cap · tanh(s / cap)."""
    return exponentials([cap * math.tanh(s / cap) for s in row])


def sigmoids(row: list[float]) -> list[float]:
    """σ(s − ln n)."""
    return [1 / (1 + math.exp(math.log(len(row)) - s)) for s in row]


def squared_relus(row: list[float]) -> list[float]:
    """max(s, 0)²/n."""
    return [max(s, 0.0) ** 2 / len(row) for s in row]


def entmax(row: list[float], power: int) -> list[float]:
    """(s_j/p − τ)_+^p with τ found by bisection so that the weights sum to one."""
    scaled = [s / power for s in row]
    low, high = max(scaled) - 1, max(scaled)
    for _ in range(200):
        middle = (low + high) / 2
        total = math.fsum(max(z - middle, 0.0) ** power for z in scaled)
        low, high = (middle, high) if total > 1 else (low, middle)
    return [max(z - low, 0.0) ** power for z in scaled]


# -------------------------------------------------------------------------------------------- features of one token


def elu_plus_one(x: Row) -> list[float]:
    """x + 1 or e^x."""
    return [a + 1 if a > 0 else math.exp(a) for a in x]


def positive_features(x: Row, directions: Rows) -> list[float]:
    """exp(ω·y − ‖y‖²/2)/√m with y = x/d^¼."""
    y = [a / len(x) ** 0.25 for a in x]
    return [math.exp(dot(w, y) - dot(y, y) / 2) / math.sqrt(len(directions)) for w in directions]


def sharpened(x: Row, power: int) -> list[float]:
    """relu(x)^p at the length of relu(x)."""
    kept = [max(a, 0.0) for a in x]
    raised = [a**power for a in kept]
    length, long = math.sqrt(dot(kept, kept)), math.sqrt(dot(raised, raised))
    return [a * length / long if long else 0.0 for a in raised]


def cosine_weighted(q: Row, k: Row, i: int, j: int, length: int) -> float:
    """relu(q)·relu(k)·cos(π(i − j)/2M)."""
    return dot([max(a, 0.0) for a in q], [max(b, 0.0) for b in k]) * math.cos(math.pi * (i - j) / (2 * length))


def efficient(q: Rows, k: Rows) -> Matrix:
    """softmax over features of each query, times softmax over tokens of each feature of the keys."""
    columns = [exponentials([key[c] for key in k]) for c in range(len(k[0]))]
    left = [exponentials(list(query)) for query in q]
    return [[math.fsum(row[c] * columns[c][j] for c in range(len(row))) for j in range(len(k))] for row in left]


# -------------------------------------------------------------------------------------------------------- recurrences


def recurrence(left: Rows, right: Rows, gates: Rows, erase: Rows) -> Matrix:
    """The outputs of S ← (I − r wᵀ)·diag(g)·S + r vᵀ, o = lᵀS, for values v that are the unit vectors.

    >>> recurrence([[1.0], [1.0]], [[2.0], [3.0]], [[0.5], [0.5]], [[0.0], [0.0]])
    [[2.0, 0.0], [1.0, 3.0]]
    """
    size, width = len(left), len(left[0])
    state = [[0.0] * size for _ in range(width)]
    matrix = []
    for t in range(size):
        state = [[gates[t][c] * x for x in state[c]] for c in range(width)]
        erased = [math.fsum(erase[t][c] * state[c][j] for c in range(width)) for j in range(size)]
        for c in range(width):
            state[c] = [x - right[t][c] * e for x, e in zip(state[c], erased, strict=True)]
            state[c][t] += right[t][c]
        matrix.append([math.fsum(left[t][c] * state[c][j] for c in range(width)) for j in range(size)])
    return matrix


# ----------------------------------------------------------------------------------------------------------- positions


def rotated(a: Row, b: Row, away: float, frequencies: Row, amplitude: float = 1.0) -> float:
    """qᵀR(−away)k for a query that stands `away` after its key, in planes (c, c + d/2); an odd last number stays.

    Cosines and sines of both are multiplied by an amplitude.
    """
    half = len(frequencies)
    terms = [x * y for x, y in zip(a[2 * half :], b[2 * half :], strict=True)]
    for c, frequency in enumerate(frequencies):
        cosine, sine = (amplitude**2 * turn(away * frequency) for turn in (math.cos, math.sin))
        terms.append((a[c] * b[c] + a[c + half] * b[c + half]) * cosine)
        terms.append((a[c] * b[c + half] - a[c + half] * b[c]) * sine)
    return math.fsum(terms)


def placed(
    q: Rows, k: Rows, apart: Callable[[int, int], float], frequencies: Row, amplitude: float = 1.0, scale: float = 1.0
) -> Matrix:
    """Scores under a rotation by `apart(i, j)`, how far the query stands after the key."""
    offset, root = len(k) - len(q), math.sqrt(len(q[0]))
    return [
        [scale * rotated(a, b, apart(i + offset, j), frequencies, amplitude) / root for j, b in enumerate(k)]
        for i, a in enumerate(q)
    ]


def biased(table: Rows, bias: Callable[[int, int], float]) -> Matrix:
    """Scores with a bias by places."""
    offset = len(table[0]) - len(table)
    return [[s + bias(i + offset, j) for j, s in enumerate(row)] for i, row in enumerate(table)]
