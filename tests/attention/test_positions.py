"""Positions: published numbers, the identities that define them, and what they do to the rank of the scores."""

import math

import numpy as np
import pytest

import rankscope as rs
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.positions import (
    POSITIONS,
    Place,
    Position,
    alibi_slopes,
    bucket_of,
    frequencies,
    ntk_base,
    rotary,
)
from rankscope.errors import RankscopeError, UsageError
from tests.oracles import Float64

BUILT: dict[str, Position] = {
    text: POSITIONS.build(text)
    for text in (
        "none", "sinusoidal", "sinusoidal:100", "rope", "interpolated:4", "ntk:4", "dynamic-ntk:2:trained=16:length=64",
        "yarn:4:trained=16", "rerope:8", "leaky-rerope:8:leak=4", "alibi", "alibi:symmetric=0", "t5", "t5:causal=1",
        "diet", "diet:width=3",
    )
}  # fmt: skip


ACTING = [text for text, position in BUILT.items() if position.tokens is None]
"""Those that act on queries, keys and scores; the others act on tokens, before these."""


def tokens(seed: int, n: int = 24, d: int = 8) -> tuple[Float64, Float64]:
    random = np.random.default_rng(seed)
    return random.standard_normal((n, d)), random.standard_normal((n, d))


def scores(q: Float64, k: Float64, position: str, mask: str = "bidirectional") -> Float64:
    """The scores that a softmax of these would have, from its exact definition."""
    made = single(attention(q, k, position=position, mask=mask))
    return np.asarray(made.definition.logs)  # type: ignore[union-attr]


def test_every_position_is_among_the_cases() -> None:
    assert {text.partition(":")[0] for text in BUILT} == set(POSITIONS.names())


@pytest.mark.parametrize("text", BUILT)
def test_the_label_of_a_position_builds_it_again(text: str) -> None:
    assert POSITIONS.build(BUILT[text].label).label == BUILT[text].label


def rotated(x: Float64, place: float, d: int, base: float = 10000.0) -> Float64:
    """The rotation as a matrix of 2 × 2 blocks on (k, k + d/2), written out."""
    turn = np.eye(d)
    for plane in range(d // 2):
        angle, other = place * base ** (-2 * plane / d), plane + d // 2
        turn[plane, plane] = turn[other, other] = math.cos(angle)
        turn[plane, other], turn[other, plane] = -math.sin(angle), math.sin(angle)
    return np.asarray(turn @ x)


@pytest.mark.parametrize("d", [2, 8, 7])
def test_rope_is_relative_and_an_isometry(d: int) -> None:
    q, k = tokens(0, 10, d)
    found = scores(q, k, "rope")
    even = d - d % 2
    for i in range(10):
        for j in range(10):
            one, two = q[i].copy(), k[j].copy()
            one[:even], two[:even] = rotated(q[i][:even], 0, even), rotated(k[j][:even], j - i, even)
            assert found[i, j] == pytest.approx(one @ two / math.sqrt(d), abs=1e-12)
    turned = rotary(lambda width: frequencies(width, 1e4))(q, np.arange(10.0))
    assert np.linalg.norm(turned, axis=1) == pytest.approx(np.linalg.norm(q, axis=1), rel=1e-14)


def test_oracle_p31_equal_tokens_and_base_one_have_scores_of_rank_two() -> None:
    ones = np.ones((30, 8))
    found = rs.rank_scores(single(attention(ones, ones, position="rope:1")))
    assert found.value == 2
    assert np.diagonal(scores(ones, ones, "rope:1")) == pytest.approx(math.sqrt(8))


def test_oracle_p33_the_matrix_of_distances() -> None:
    """alibi's bias at one head is −2⁻⁸·|i − j|, and |i − j| at n = 10 has determinant −2304."""
    zero = np.zeros((10, 4))
    distances = -(2.0**8) * scores(zero, zero, "alibi")
    assert np.linalg.det(distances) == pytest.approx(-2304, rel=1e-10)


def test_oracle_p34_the_base_of_ntk() -> None:
    assert ntk_base(1e4, 8, 128) == pytest.approx(82684.6226405622, rel=1e-12)
    for factor in (2.0, 8.0):
        slow = frequencies(128, ntk_base(1e4, factor, 128))
        assert slow[0] == 1.0
        assert slow[-1] * factor == pytest.approx(frequencies(128, 1e4)[-1], rel=1e-12)


def test_oracle_p35_slopes_of_alibi() -> None:
    assert alibi_slopes(8) == [2.0**-h for h in range(1, 9)]
    assert alibi_slopes(12)[:8] == alibi_slopes(8)
    assert alibi_slopes(12)[8:] == pytest.approx([0.7071068, 0.3535534, 0.1767767, 0.0883883], abs=1e-7)


def test_oracle_p36_buckets_of_t5() -> None:
    relative = np.array([-200, -128, -64, -16, -8, -1, 0, 1, 8, 16, 64, 200])
    assert bucket_of(relative, 32, 128, False).tolist() == [15, 15, 14, 10, 8, 1, 0, 17, 24, 26, 30, 31]
    assert bucket_of(np.array([5, 0, -3, -1000]), 32, 128, True).tolist() == [0, 0, 3, 31]


@pytest.mark.parametrize("text", ["rope", "interpolated:4", "ntk:4", "dynamic-ntk:2:trained=16:length=64"])
def test_rotations_keep_the_rank_of_the_scores(text: str) -> None:
    found = rs.rank_scores(single(attention(*tokens(1, 40, 8), position=text)))
    assert (found.value, found.subject) == (8, "factors")


@pytest.mark.parametrize(("text", "least"), [("rerope:4", 20), ("alibi", 40), ("t5", 20), ("diet", 40)])
def test_gluing_and_biases_raise_the_rank_of_the_scores(text: str, least: int) -> None:
    found = rs.rank_scores(single(attention(*tokens(1, 40, 8), position=text)))
    assert found.value is not None
    assert found.value >= least


def test_a_linear_bias_adds_at_most_two_to_the_rank() -> None:
    found = rs.rank_scores(single(attention(*tokens(2, 40, 8), position="alibi:symmetric=0")))
    assert found.value == 10


@pytest.mark.parametrize("leak", [math.inf, 4.0])
def test_rerope_is_rope_at_the_relative_place_of_the_article(leak: float) -> None:
    """r(i, j) = i − j where i − j < w, w + (i − j − w)/k beyond; the score is q·R_{−r}k."""
    q, k, w, d = *tokens(3, 24, 8), 6, 8
    text = f"rerope:{w}" if math.isinf(leak) else f"leaky-rerope:{w}:leak={leak:g}"
    found = scores(q, k, text)
    for i in range(24):
        for j in range(24):
            away = i - j if i - j < w else w + (i - j - w) / leak
            assert found[i, j] == pytest.approx(q[i] @ rotated(k[j], -away, d) / math.sqrt(d), abs=1e-12)


def test_yarn_keeps_high_frequencies_divides_low_ones_and_scales_the_scores() -> None:
    """Places at 0 turn nothing: only the amplitude, squared, is left."""
    q, k = tokens(4, 1, 8)
    amplitude = 0.1 * math.log(4) + 1
    assert scores(q, k, "yarn:4:trained=16")[0, 0] == pytest.approx(
        amplitude**2 * q[0] @ k[0] / math.sqrt(8), rel=1e-14
    )


@pytest.mark.parametrize("text", ACTING)
@pytest.mark.parametrize("mask", ["bidirectional", "causal", "window:3"])
def test_attention_with_a_position_is_the_softmax_of_its_scores(text: str, mask: str) -> None:
    q, k = tokens(5, 12, 6)
    made = single(attention(q, k, position=text, mask=mask))
    logs = scores(q, k, text, mask)
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    assert np.allclose(made.matrix, weights / weights.sum(axis=1, keepdims=True), rtol=1e-13, atol=0)
    assert made.origin.position == (None if text == "none" else BUILT[text].label)


def test_heads_have_biases_of_their_own_and_adding_one_changes_no_other() -> None:
    for name in ("t5", "diet"):
        bias = POSITIONS.build(name).bias
        assert bias is not None
        i, j = np.arange(6)[:, None], np.arange(6)[None, :]
        one, two = (bias(i, j, Place(6, head, heads, seed=3)) for head, heads in ((0, 1), (0, 8)))
        assert np.array_equal(one, two)
        assert not np.array_equal(one, bias(i, j, Place(6, 1, 8, seed=3)))
        assert not np.array_equal(one, bias(i, j, Place(6, 0, 1, seed=4)))


def test_equal_tokens_at_different_places_are_no_bound_on_the_rank() -> None:
    same = np.ones((6, 4))
    assert single(attention(same, same)).structure.rank_bound.value == 1
    for text in ("rope", "alibi", "rerope:2", "t5"):
        assert single(attention(same, same, position=text)).structure.rank_bound.value == 6, text


def test_positions_that_a_kernel_does_not_take_are_refused() -> None:
    q, k = tokens(6)
    with pytest.raises(UsageError, match="RS003"):
        attention(q, k, kernel="linear", position="rope")
    for text in ("interpolated:0", "ntk:-1", "rerope:0", "leaky-rerope:4:leak=0"):
        with pytest.raises(UsageError, match="RS002"):
            POSITIONS.build(text)


def test_the_biases_of_a_trained_t5_are_added_by_head_and_bucket() -> None:
    table = np.arange(64.0).reshape(2, 32)
    zero = np.zeros((2, 9, 4))
    made = attention(zero, zero, position=rs.t5_given(table))
    assert isinstance(made, list)
    for head, each in enumerate(made):
        found = np.asarray(each.definition.logs)  # type: ignore[union-attr]
        assert found[0, 1] == table[head, 17]  # one key ahead: P36
        assert found[1, 0] == table[head, 1]
        assert found[8, 0] == table[head, 8]
    for bad, said in (
        (np.zeros(32), "heads × buckets"),
        (np.full((2, 32), np.nan), "finite"),
        (table[:2], "each head"),
    ):
        with pytest.raises(RankscopeError) as caught:
            attention(np.zeros((3, 4, 2)), np.zeros((3, 4, 2)), position=rs.t5_given(bad))
        assert said in str(caught.value)
