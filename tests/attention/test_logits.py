"""Attention of given scores, beside that of the queries and keys that made them; and the position added to tokens."""

import itertools
import math
from typing import Any, Final

import numpy as np
import pytest
import torch

import rankscope as rs
from rankscope.attention.build import attention, from_logits
from rankscope.attention.distance import distance
from rankscope.attention.existing import digest_of, single
from rankscope.attention.kernels import KERNELS, ScoreKernel
from rankscope.attention.operators import Dense, Operator
from rankscope.attention.positions import POSITIONS
from rankscope.attention.request import EmptyRows
from rankscope.errors import RankscopeError, UsageError
from rankscope.generators.stack import Synthetic
from tests.oracles import (
    DIGITS_60,
    SEES,
    Float64,
    balls,
    dyadic,
    exact_scores,
    frobenius,
    inside,
    precision,
    seen_by,
    softmax,
)

OF_SCORES: Final = (
    "softmax", "tempered:0.5", "logn", "off-by-one", "sink:2", "softcap:2", "sigmoid", "sparsemax", "entmax", "relu2",
)  # fmt: skip

OTHERS: Final = {
    "linear": "bidirectional", "favor:8": "causal", "cosformer": "bidirectional", "efficient": "bidirectional",
    "taylor": "causal", "hedgehog": "causal", "focused": "bidirectional", "retnet": "causal", "gla": "causal",
    "ssd": "anticausal", "delta": "causal", "gated-delta": "causal",
}  # fmt: skip
"""Kernels that act on queries and keys, each with a mask that it takes."""

ADDED: Final = ("none", "alibi", "alibi:symmetric=0", "t5", "diet:width=3")
TURNING: Final = (
    "rope", "interpolated:4", "ntk:4", "dynamic-ntk:2:trained=4:length=8", "yarn:4:trained=16", "rerope:3",
    "leaky-rerope:3:leak=4",
)  # fmt: skip


def pair(seed: int = 0, n: int = 7, m: int = 7) -> tuple[Float64, Float64]:
    """Tokens whose scores are exact in float64, whatever computes them."""
    random = np.random.default_rng(seed)
    return dyadic(random, n, 4), dyadic(random, m, 4)


def both(scale: float = 1.0, n: int = 7, m: int = 7, **options: Any) -> tuple[Operator, Operator]:
    """Attention of queries and keys, and of their scores."""
    queries, keys = pair(n=n, m=m)
    of_tokens = single(attention(queries, keys, scale=scale, **options))
    return of_tokens, from_logits(exact_scores(queries, keys, 1.0), scale=scale, **options)


def test_every_kernel_and_position_is_among_the_cases() -> None:
    assert {text.partition(":")[0] for text in (*OF_SCORES, *OTHERS)} == set(KERNELS.names())
    for text in OF_SCORES:
        assert isinstance(KERNELS.build(text), ScoreKernel)
    assert {text.partition(":")[0] for text in (*ADDED, *TURNING)} == set(POSITIONS.names()) - {"sinusoidal"}


@pytest.mark.parametrize("kernel", OF_SCORES)
@pytest.mark.parametrize("position", ADDED)
@pytest.mark.parametrize("mask", ["bidirectional", "causal", "window:3"])
def test_given_scores_make_the_matrix_of_the_tokens_that_made_them(kernel: str, position: str, mask: str) -> None:
    """To the last bit, for the scores are exact."""
    for scale, n in ((1.0, 7), (0.5, 5)):
        tokens, scores = both(scale, n, kernel=kernel, position=position, mask=mask)
        assert isinstance(tokens, Dense)
        assert isinstance(scores, Dense)
        assert np.asarray(scores.matrix).tobytes() == np.asarray(tokens.matrix).tobytes()
        assert scores.diagonal.log.tolist() == tokens.diagonal.log.tolist()
        assert (scores.max_logit, scores.distance, scores.subject) == (
            tokens.max_logit,
            tokens.distance,
            tokens.subject,
        )
        assert scores.support.tolist() == tokens.support.tolist()
        assert scores.structure.side.value == tokens.structure.side.value


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mask", ["causal", "bidirectional"])
def test_given_scores_are_measured_as_tokens_are(dtype: str, mask: str) -> None:
    """Everything but the rank of the scores, which are no product here."""
    tokens, scores = both(dtype=dtype, mask=mask)
    one, two = (rs.analyze(each, prove=True).table for each in (tokens, scores))
    for a, b in zip(one, two, strict=True):
        assert a.measure == b.measure
        if a.measure not in ("rank_scores", "rank_output"):
            assert (a.value, a.low, a.high, a.guarantee, a.subject) == (b.value, b.low, b.high, b.guarantee, b.subject)


@pytest.mark.parametrize("position", ADDED)
@pytest.mark.parametrize("scale", [1.0, 0.25, 0.0])
def test_the_rank_of_given_scores_is_that_of_the_scores_of_tokens(position: str, scale: float) -> None:
    """Scaled, and with what the position adds: it is what the kernel is given."""
    tokens, scores = both(scale, n=9, m=12, position=position)
    one, two = rs.rank_scores(tokens), rs.rank_scores(scores)
    assert isinstance(tokens, Dense)
    bias = POSITIONS.build(position).bias
    queries, keys = pair(n=9, m=12)
    truth = scale * exact_scores(queries, keys, 1.0)
    if bias is not None:
        assert tokens.request is not None
        i, j = tokens.request.places
        truth = truth + bias(i[:, None], j[None, :], tokens.request.place)
    assert one.value == two.value == np.linalg.matrix_rank(truth)


def test_the_softmax_of_given_scores_is_within_its_distance() -> None:
    """Of scores that no tokens of moderate size have, too."""
    for size in (1.0, 1e3, 1e300):
        scores = size * np.random.default_rng(1).standard_normal((6, 6))
        for mask in ("bidirectional", "causal"):
            operator = from_logits(scores, mask=mask)
            with precision(8 * DIGITS_60):
                truth = softmax(scores, seen_by(SEES[mask], 6, 6))
                assert inside(None, frobenius(balls(np.asarray(operator.matrix)) - truth), distance(operator))
                assert distance(operator) < 1e-13 * max(1.0, 6 * size) if size < 1e6 else True


def test_given_scores_know_where_they_come_from() -> None:
    scores = dyadic(np.random.default_rng(2), 3, 5)
    operator = from_logits(scores, mask="causal", kernel="sink:1", position="alibi", scale=0.5, dtype="float32")
    origin = operator.origin
    assert operator.shape == (3, 5)
    assert (origin.source, origin.d, origin.digest) == ("scores", None, digest_of(scores))
    assert (origin.mask, origin.kernel, origin.position) == ("causal", "sink:1", "alibi")
    assert (origin.scale, origin.dtype) == (0.5, "float32")
    assert from_logits(scores.tolist()).origin.digest == origin.digest
    assert (scores == dyadic(np.random.default_rng(2), 3, 5)).all(), "they are left as they are"


def test_causal_scores_are_aligned_at_the_bottom_right() -> None:
    found = np.asarray(from_logits(np.zeros((2, 5)), mask="causal").matrix)
    assert found.tolist() == [[0.25] * 4 + [0.0], [0.2] * 5]


def test_scores_are_masked_by_any_mask_and_empty_rows_treated_as_asked() -> None:
    scores, seen = np.zeros((3, 3)), np.array([[True, False, True], [False, False, False], [True, True, True]])
    with pytest.raises(RankscopeError, match="RS120"):
        from_logits(scores, mask=seen)
    half = [0.5, 0.0, 0.5]
    rows: dict[EmptyRows, list[list[float]]] = {
        "zero": [half, [0.0] * 3],
        "drop": [half],
        "uniform": [half, [1 / 3] * 3],
    }
    for policy, first in rows.items():
        found = np.asarray(from_logits(scores, mask=seen, empty_rows=policy).matrix)
        assert found.tolist() == [*first, [1 / 3] * 3]


def test_scores_come_as_tensors_and_lists_and_keep_their_precision() -> None:
    scores = np.random.default_rng(3).standard_normal((4, 4))
    expected = np.asarray(from_logits(scores).matrix)
    for given in (scores.tolist(), torch.tensor(scores), scores.astype(">f8"), scores[::-1][::-1]):
        assert np.array_equal(from_logits(given).matrix, expected)
    halves = from_logits(torch.tensor(scores).bfloat16())
    assert halves.storage.name == "float64", "what is stored in fewer bits is the scores, not the matrix"
    assert np.array_equal(halves.matrix, from_logits(torch.tensor(scores).bfloat16().double()).matrix)


@pytest.mark.parametrize("kernel", OF_SCORES)
@pytest.mark.parametrize("position", ["none", "alibi"])
def test_a_score_of_minus_infinity_is_a_key_that_is_not_seen(kernel: str, position: str) -> None:
    """As an additive mask has it: the matrix is that of the Boolean mask, and so is all that is proved of it."""
    scores = dyadic(np.random.default_rng(9), 5, 7)
    hidden = np.random.default_rng(10).random((5, 7)) < 0.4
    hidden[:, 0] = False
    options: dict[str, Any] = {"kernel": kernel, "position": position}
    added = from_logits(np.where(hidden, -math.inf, scores), **options)
    masked = from_logits(scores, mask=~hidden, **options)
    assert np.asarray(added.matrix).tobytes() == np.asarray(masked.matrix).tobytes()
    assert added.support.tolist() == masked.support.tolist()
    joined = from_logits(np.where(hidden, -math.inf, scores), mask="causal", **options)
    both = from_logits(scores, mask=~hidden & seen_by(SEES["causal"], 5, 7), **options)
    assert np.asarray(joined.matrix).tobytes() == np.asarray(both.matrix).tobytes()


def test_scores_above_the_diagonal_of_minus_infinity_are_causal() -> None:
    scores = np.where(np.tri(6, dtype=np.bool_), dyadic(np.random.default_rng(11), 6, 6), -math.inf)
    operator = from_logits(scores)
    assert operator.structure.side.value == "lower"
    assert rs.rank_exact(operator).value == 6
    assert (
        np.asarray(operator.matrix).tobytes()
        == np.asarray(from_logits(np.where(np.tri(6, dtype=np.bool_), scores, 0.0), mask="causal").matrix).tobytes()
    )
    with pytest.raises(RankscopeError, match="RS120"):
        from_logits([[-math.inf, -math.inf], [0.0, 0.0]])


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("kernel", OTHERS)
def test_kernels_of_queries_and_keys_are_refused(kernel: str) -> None:
    with pytest.raises(UsageError, match="RS003") as caught:
        from_logits(np.zeros((4, 4)), kernel=kernel, mask=OTHERS[kernel])
    assert f"the kernel {KERNELS.build(kernel).label} with scores" in caught.value.given


@pytest.mark.parametrize("position", [*TURNING, "sinusoidal"])
def test_positions_that_act_on_queries_and_keys_or_tokens_are_refused(position: str) -> None:
    """There is nothing that they could turn; to name them and do nothing would be a lie."""
    with pytest.raises(UsageError, match="RS003") as caught:
        from_logits(np.zeros((4, 4)), position=position)
    assert POSITIONS.build(position).label in caught.value.given


@pytest.mark.parametrize("position", [*TURNING, "sinusoidal"])
def test_random_weights_have_no_queries_that_a_position_could_turn(position: str) -> None:
    with pytest.raises(UsageError, match="RS003"):
        rs.synthetic(n=4, ensemble="markov", position=position)


@pytest.mark.parametrize(
    ("scores", "code"),
    [
        ([[0.0, math.nan], [0.0, 0.0]], "RS110"),
        ([[0.0, math.inf], [0.0, 0.0]], "RS111"),
        ([[-math.inf, math.inf], [0.0, 0.0]], "RS111"),
        ([[-math.inf, math.nan], [0.0, 0.0]], "RS110"),
        ([[0.0, 1j], [0.0, 0.0]], "RS101"),
        ([0.0, 1.0], "RS101"),
        (0.0, "RS101"),
        (np.zeros((2, 2, 2)), "RS101"),
        ([[0.0], [1.0, 2.0]], "RS101"),
        ([[True, False]], "RS105"),
        ([["a"]], "RS105"),
    ],
    ids=str,
)
def test_what_is_no_matrix_of_scores_is_refused(scores: Any, code: str) -> None:
    with pytest.raises(rs.InputError) as caught:
        from_logits(scores)
    assert caught.value.code == code
    said = {"RS110": "NaN in the scores: 1 of 4", "RS111": "infinity in the scores: 1 of 4", "RS101": "scores"}
    assert said.get(code, "the scores") in caught.value.given


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"mask": "casual"}, "RS001"),
        ({"kernel": "sofmax"}, "RS001"),
        ({"position": "rop"}, "RS001"),
        ({"dtype": "float8"}, "RS001"),
        ({"empty_rows": "none"}, "RS001"),
        ({"scale": -1.0}, "RS002"),
        ({"scale": math.nan}, "RS002"),
        ({"mask": np.ones((2, 3), dtype=bool)}, "RS101"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], code: str) -> None:
    with pytest.raises(RankscopeError) as caught:
        from_logits(np.zeros((3, 3)), **options)
    assert caught.value.code == code


def test_scores_that_a_scale_takes_beyond_float64_are_refused() -> None:
    with pytest.raises(RankscopeError) as caught:
        from_logits([[1e200, 0.0], [0.0, 0.0]], scale=1e200)
    assert caught.value.code == "RS111"


# ------------------------------------------------------------------------------------------ positions added to tokens


def places(width: int, count: int, base: float = 10000.0) -> Float64:
    added = POSITIONS.build("sinusoidal" if base == 10000 else f"sinusoidal:{base:g}").tokens
    assert added is not None
    return np.asarray(added(np.arange(count), width))


@pytest.mark.parametrize("width", [2, 16, 64, 7, 1])
@pytest.mark.parametrize("base", [10000.0, 50.0])
def test_sinusoidal_is_the_formula_of_its_article(width: int, base: float) -> None:
    """PE(i, 2k) = sin(i/base^(2k/w)) and PE(i, 2k + 1) the cosine; an odd width lacks the last cosine."""
    found, even = places(width, 20, base), width + width % 2
    for i, c in itertools.product(range(20), range(width)):
        angle = i * math.exp(-(c - c % 2) / even * math.log(base))
        # an angle up to 20 loses a few units of it
        assert found[i, c] == pytest.approx(math.cos(angle) if c % 2 else math.sin(angle), rel=0, abs=1e-14), (i, c)


@pytest.mark.parametrize("width", [2, 16, 64])
def test_oracle_p32_sinusoidal_places_are_equally_long(width: int) -> None:
    found = places(width, 300)
    assert (found**2).sum(axis=1) == pytest.approx(np.full(300, width / 2), rel=1e-12, abs=0)


@pytest.mark.parametrize("width", [2, 16, 64])
def test_products_of_sinusoidal_places_depend_on_their_distance_alone(width: int) -> None:
    """p_i·p_j = Σ_k cos((i − j)·ω_k): constant along each diagonal of the Gram matrix, of rank w at most.

    Each wave adds at most two dimensions; the slowest add less than rounding.
    """
    count = 100
    gram = places(width, count) @ places(width, count).T
    waves = [10000 ** (-2 * k / width) for k in range(width // 2)]
    for i, j in itertools.product(range(count), repeat=2):
        truth = math.fsum(math.cos((i - j) * wave) for wave in waves)
        assert abs(gram[i, j] - truth) <= 1e-12 * width, (i, j)
    assert np.linalg.matrix_rank(gram) <= width
    assert np.linalg.matrix_rank(places(16, 256) @ places(16, 256).T) == 14, "two waves of 8 are too slow to be told"


def test_sinusoidal_places_mean_nothing_to_queries_and_keys() -> None:
    queries, keys = pair()
    for kernel, mask in (
        ("softmax", "bidirectional"),
        ("softmax", "causal"),
        ("linear", "causal"),
        ("retnet", "causal"),
    ):
        with pytest.raises(UsageError, match="RS003") as caught:
            attention(queries, keys, position="sinusoidal", kernel=kernel, mask=mask)
        assert "sinusoidal, which acts on tokens" in caught.value.given
    for ensemble in ("gaussian", "markov"):
        with pytest.raises(UsageError, match="RS003"):
            list(Synthetic(n=4, d=2, ensemble=ensemble, position="sinusoidal").jobs())


def test_sinusoidal_places_tell_equal_tokens_apart() -> None:
    """Equal tokens make attention of rank 1; with their places it has more."""
    for position, least in (("none", 1), ("sinusoidal", 6)):
        made = rs.synthetic(n=12, d=4, ensemble="duplicated:1", position=position)
        assert not isinstance(made, list)
        value = rs.rank_numerical(made).value
        assert value is not None
        assert value >= least
        assert (value == 1) == (position == "none")
        assert made.origin.position == (None if position == "none" else position)


def test_a_sinusoidal_base_is_a_part_of_its_name() -> None:
    made = rs.synthetic(n=4, d=2, ensemble="tokens", position="sinusoidal:500")
    assert not isinstance(made, list)
    assert made.origin.position == POSITIONS.build("sinusoidal:500").label == "sinusoidal:base=500"
