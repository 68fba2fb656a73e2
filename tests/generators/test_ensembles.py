"""Ensembles: the statistics that define them, what depends on which part of the seed, and what theory says of all.

Random numbers are drawn again where a matrix is rebuilt; the arithmetic on them is written out here.
"""

import itertools
import math
from functools import partial
from typing import Any, Final

import numpy as np
import pytest

import rankscope as rs
from rankscope.attention.build import attention, from_logits
from rankscope.attention.existing import single
from rankscope.attention.operators import Dense, Factored, Operator
from rankscope.attention.positions import POSITIONS, Place, child
from rankscope.attention.subject import Pair
from rankscope.errors import RankscopeError
from rankscope.generators.ensembles import ENSEMBLES, Ensemble
from rankscope.generators.initial import INITIALISATIONS
from rankscope.generators.stack import Synthetic
from rankscope.records import Record
from tests.oracles import EPS, UNIT, Float64, dyadic

OF_TOKENS: Final = (
    "tokens", "tokens:24", "tokens:width=20", "correlated:0.5", "correlated:0.25:width=40", "duplicated:3",
    "duplicated:5:width=20", "zipf", "zipf:50", "zipf:50:exponent=1.5:width=20", "zipf:exponent=0.5", "isometric",
    "isometric:64",
)  # fmt: skip

CASES: Final = ("gaussian", *OF_TOKENS, "markov", "markov:gamma:2", "markov:gamma:0.5", "markov:lognormal:0.5")


def built(text: str) -> Ensemble:
    made = ENSEMBLES.build(text)
    assert isinstance(made, Ensemble)
    return made


def drawn(text: str, n: int, place: Place | None = None, d: int = 4) -> Float64:
    """The tokens of an ensemble."""
    made = built(text)
    assert made.tokens is not None
    return made.tokens(n, made.width_for(d, n), place or Place(n))


def made(**options: Any) -> list[Operator]:
    found = rs.synthetic(**{"n": 8, "d": 4, **options})
    return found if isinstance(found, list) else [found]


def head(**options: Any) -> Operator:
    (operator,) = made(**options)
    return operator


def pair(operator: Operator) -> Pair:
    """The queries and keys of a head."""
    assert isinstance(operator, Dense | Factored)
    assert operator.request is not None
    return operator.request.tokens


def values_of(operator: Operator) -> Float64:
    assert isinstance(operator, Dense | Factored)
    assert operator.request is not None
    assert operator.request.values is not None
    return operator.request.values


def held(operator: Operator) -> Float64:
    return np.asarray(operator.matrix)


def record(operator: Operator, name: str, **options: Any) -> Record:
    found = rs.analyze(operator, measures=name, **options)[name]
    assert isinstance(found, Record)
    return found


# -------------------------------------------------------------------------------------------------------------- labels


def test_every_ensemble_is_among_the_cases() -> None:
    assert {text.partition(":")[0] for text in CASES} == set(ENSEMBLES.names())


@pytest.mark.parametrize("text", CASES)
def test_the_label_of_an_ensemble_builds_it_again(text: str) -> None:
    one, two = built(text), built(built(text).label)
    assert (one.label, one.width, one.weights) == (two.label, two.width, two.weights)
    assert (one.tokens is None) == (two.tokens is None) == (text not in OF_TOKENS)
    if one.tokens is not None:
        assert np.array_equal(drawn(text, 6), drawn(one.label, 6))


@pytest.mark.parametrize("text", CASES)
def test_a_table_names_the_ensemble_unless_it_is_the_standard_one(text: str) -> None:
    label = built(text).label
    assert head(ensemble=text).origin.ensemble == (None if text == "gaussian" else label)
    if text in OF_TOKENS:
        assert head(ensemble=text, init="he", shared=True).origin.ensemble == f"{label} init he shared"


# ---------------------------------------------------------------------------------------------------------- statistics


def test_the_width_is_eight_heads_unless_it_is_given() -> None:
    assert drawn("tokens", 5, d=4).shape == (5, 32)
    assert drawn("tokens:7", 5, d=4).shape == (5, 7)
    assert drawn("isometric", 5, d=4).shape == (5, 32)
    assert drawn("isometric", 40, d=4).shape == (40, 40), "as wide as it must be"


def test_tokens_are_standard_normal() -> None:
    """Mean 0 ± 5/√N, variance 1 ± 5·√(2/N), fourth moment 3 ± 5·√(96/N)."""
    x = drawn("tokens:200", 300)
    size = math.sqrt(x.size)
    assert abs(x.mean()) < 5 / size
    assert abs((x**2).mean() - 1) < 5 * math.sqrt(2) / size
    assert abs((x**4).mean() - 3) < 5 * math.sqrt(96) / size


@pytest.mark.parametrize("rho", [0.0, 0.1, 0.5, 0.9])
def test_every_two_correlated_tokens_have_this_correlation(rho: float) -> None:
    """x·y/w has mean ρ and variance (1 + ρ²)/w, x·x/w has mean 1 and variance 2/w (Isserlis)."""
    width = 20000
    x = drawn(f"correlated:{rho}:width={width}", 5)
    gram = x @ x.T / width
    apart = ~np.eye(5, dtype=bool)
    assert (np.abs(gram[apart] - rho) < 5 * math.sqrt((1 + rho**2) / width)).all()
    assert (np.abs(gram[~apart] - 1) < 5 * math.sqrt(2 / width)).all()


def test_correlation_one_makes_all_tokens_equal_and_zero_leaves_them_alone() -> None:
    assert len({row.tobytes() for row in drawn("correlated:1", 6)}) == 1
    assert np.array_equal(drawn("correlated:0", 6), drawn("tokens", 6))
    assert record(head(ensemble="correlated:1"), "rank_exact").value == 1


@pytest.mark.parametrize("n", [1, 5, 32, 40])
def test_isometric_tokens_are_orthogonal_and_as_long_as_their_width_says(n: int) -> None:
    """Householder's Q is orthogonal within a small constant times √n·width·n·u (Higham 2002, section 19.3)."""
    x = drawn("isometric", n)
    width = x.shape[1]
    assert width == max(32, n)
    away = np.linalg.norm(x @ x.T - width * np.eye(n))
    assert away <= 4 * math.sqrt(n) * width * n * UNIT * width


def test_the_first_isometric_token_has_no_preferred_direction() -> None:
    """Its entries are 0 ± 1 on average: without the signs of R the first would always be negative, or positive."""
    seeds = 400
    first = [drawn("isometric:8", 2, Place(2, seed=seed))[0] for seed in range(seeds)]
    assert (np.abs(np.mean(first, axis=0)) < 5 / math.sqrt(seeds)).all()


def test_duplicated_tokens_come_again_in_the_same_order() -> None:
    x = drawn("duplicated:3", 8)
    assert [row.tobytes() for row in x] == [x[i % 3].tobytes() for i in range(8)]
    assert len({row.tobytes() for row in x}) == 3
    assert len({row.tobytes() for row in drawn("duplicated:9", 4)}) == 4, "no more than there are places"


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_words_are_as_frequent_as_zipf_says(exponent: float) -> None:
    """Each count is n·p ± 5·√(n·p(1 − p)); which word stands where is read off the embeddings, drawn again."""
    count, vocabulary = 4000, 6
    place = Place(count, seed=3)
    table = {child(place, f"embedding {word}").standard_normal(2).tobytes(): word + 1 for word in range(vocabulary)}
    words = [table[row.tobytes()] for row in drawn(f"zipf:{vocabulary}:exponent={exponent}:width=2", count, place)]
    total = math.fsum(rank**-exponent for rank in range(1, vocabulary + 1))
    for rank in range(1, vocabulary + 1):
        share = rank**-exponent / total
        assert abs(words.count(rank) - count * share) < 5 * math.sqrt(count * share * (1 - share)), rank


def test_the_embedding_of_a_word_does_not_depend_on_the_number_of_tokens() -> None:
    """Nor on how often the word stands there: the words of a short text have the vectors of the long one."""
    short, long = drawn("zipf:20", 12), drawn("zipf:20", 200)
    vectors = {row.tobytes() for row in long}
    assert len(vectors) == 20, "every word stands in the long text"
    assert {row.tobytes() for row in short} < vectors
    assert len({row.tobytes() for row in short}) < 12, "a word stands twice in the short text"


def test_embeddings_are_standard_normal() -> None:
    x = drawn("zipf:300:exponent=0:width=200", 900)
    distinct = np.unique(x, axis=0)
    assert abs(distinct.mean()) < 5 / math.sqrt(distinct.size)
    assert abs((distinct**2).mean() - 1) < 5 * math.sqrt(2 / distinct.size)


# ---------------------------------------------------------------------------------------------------------- projection


@pytest.mark.parametrize("text", OF_TOKENS)
def test_queries_keys_and_values_are_tokens_times_weights(text: str) -> None:
    """With weights N(0, 1/width) of children called W_Q, W_K, W_V of each head, and tokens of each layer."""
    for operator in made(ensemble=text, heads=2, layers=2, seed=5):
        layer, number = operator.origin.layer, operator.origin.head
        if layer is None or number is None:
            continue
        x = drawn(text, 8, Place(8, 0, 2, 5, layer))
        width = x.shape[1]
        found = dict(zip(("W_Q", "W_K"), (pair(operator).left, pair(operator).right), strict=True))
        for role, image in {**found, "W_V": values_of(operator)}.items():
            random = child(Place(8, number, 2, 5, layer), role)
            weights = random.standard_normal((width, 4)) / math.sqrt(width)
            # the rounding of an inner product of length `width`, twice
            bound = 2 * (width + 2) * UNIT * (np.abs(x) @ np.abs(weights))
            assert (np.abs(image - x @ weights) <= bound).all(), role


def test_the_heads_of_a_layer_share_its_tokens_and_layers_do_not() -> None:
    """Queries, keys and values of all heads together span no more than the width; those of two layers twice that."""
    found = [each for each in made(n=30, ensemble="tokens:6", heads=3, layers=2) if each.origin.head is not None]
    images = {
        layer: np.hstack(
            [x for each in found if each.origin.layer == layer for x in (*vars(pair(each)).values(), values_of(each))]
        )
        for layer in (0, 1)
    }
    assert [np.linalg.matrix_rank(images[layer]) for layer in (0, 1)] == [6, 6]
    assert images[0].shape == (30, 36)
    assert np.linalg.matrix_rank(np.hstack([images[0], images[1]])) == 12


@pytest.mark.parametrize(("text", "distinct"), [("duplicated:5", 5), ("duplicated:1", 1), ("zipf:4:exponent=0", 4)])
def test_equal_tokens_have_equal_queries_and_keys_to_the_last_bit(text: str, distinct: int) -> None:
    """And so bidirectional attention has exactly as many dimensions as there are distinct tokens; causal has all."""
    n, options = 37, {"ensemble": text, "d": 6}
    x = [row.tobytes() for row in drawn(text, n, d=6)]
    assert len(set(x)) == distinct
    operator = head(n=n, **options)
    for side in (pair(operator).left, pair(operator).right, values_of(operator)):
        for (a, one), (b, two) in itertools.combinations(zip(x, side, strict=True), 2):
            assert (a == b) == (one.tobytes() == two.tobytes())
    found = record(operator, "rank_exact", prove=True)
    assert (found.value, found.low, found.high, found.guarantee) == (distinct, distinct, distinct, "proved")
    causal = record(head(n=n, mask="causal", **options), "rank_exact")
    assert (causal.value, causal.guarantee) == (n, "proved")


# ------------------------------------------------------------------------------------------------ children of the seed


def digests(**options: Any) -> dict[tuple[int, int], str | None]:
    return {
        (each.origin.layer or 0, each.origin.head or 0): each.origin.digest
        for each in made(**options)
        if not each.origin.over
    }


@pytest.mark.parametrize("text", CASES)
def test_adding_heads_or_layers_changes_no_other_head(text: str) -> None:
    one, several, many = (digests(ensemble=text, heads=h, layers=w) for h, w in ((1, 1), (3, 1), (4, 2)))
    assert one.items() <= several.items() <= many.items()
    assert len(set(many.values())) == len(many) == 8
    other = digests(ensemble=text, heads=4, layers=2, seed=1)
    assert not set(other.values()) & set(many.values()), "another seed shares no head"


@pytest.mark.parametrize("text", CASES)
def test_what_does_not_draw_tokens_does_not_change_them(text: str) -> None:
    expected = digests(ensemble=text, heads=2, layers=2)
    for options in (
        {"mask": "causal"},
        {"mask": "window:3"},
        {"plan": "alternating-heads"},
        {"position": "t5"},
        {"position": "diet"},
        {"scale": 0.5},
        {"kernel": "sigmoid"},
        {"dtype": "float32"},
    ):
        assert digests(ensemble=text, heads=2, layers=2, **options) == expected, options
    if not text.startswith("markov"):
        for options in (
            {"position": "rope"},
            {"kernel": "favor:8"},
            {"kernel": "linear"},
            {"kernel": "gla", "mask": "causal"},
        ):
            assert digests(ensemble=text, heads=2, layers=2, **options) == expected, options


def test_values_depend_on_their_own_place_alone() -> None:
    for text in ("gaussian", "tokens"):
        one, two = head(ensemble=text), made(ensemble=text, heads=3, layers=2, mask="causal", kernel="linear")
        assert np.array_equal(values_of(one), values_of(two[0]))
        drawn_ones = [values_of(each).tobytes() for each in two if not each.origin.over]
        assert len(set(drawn_ones)) == 6


@pytest.mark.parametrize(("init", "factor"), [("he", math.sqrt(2)), ("gpt2", 0.02 * math.sqrt(32))])
@pytest.mark.parametrize("text", ["tokens", "zipf:5", "correlated:0.5"])
def test_another_initialisation_starts_from_the_same_tokens_and_numbers(text: str, init: str, factor: float) -> None:
    """Those that scale the same normal numbers give queries, keys and values in proportion."""
    plain, other = head(ensemble=text), head(ensemble=text, init=init)
    sides = zip(
        (pair(plain).left, pair(plain).right, values_of(plain)),
        (pair(other).left, pair(other).right, values_of(other)),
        strict=True,
    )
    x = drawn(text, 8)
    for one, two in sides:
        lengths = np.linalg.norm(x, axis=1)[:, None] * factor  # weights of a column have norm about 1, below 3
        assert (np.abs(two - factor * one) <= 3 * (32 + 4) * UNIT * lengths * 2).all()


def test_a_position_added_to_tokens_moves_queries_and_keys_by_its_projection() -> None:
    """The queries of cross-attention stand at the last places of the keys."""
    for queries in (8, 3):
        options = {"ensemble": "tokens:10", "queries": queries}
        plain, moved = pair(head(**options)), pair(head(position="sinusoidal", **options))
        of_position = POSITIONS.build("sinusoidal").tokens
        assert of_position is not None
        added = of_position(np.arange(8), 10)
        for role, one, two in (("W_Q", plain.left, moved.left), ("W_K", plain.right, moved.right)):
            weights = child(Place(8), role).standard_normal((10, 4)) / math.sqrt(10)
            bound = 8 * (10 + 2) * UNIT * (np.abs(two).max() + 10 * np.abs(weights).max())
            assert np.abs(two - one - added[8 - len(one) :] @ weights).max() <= bound, role


# ------------------------------------------------------------------------------------------------------------- sharing


@pytest.mark.parametrize("text", ["gaussian", "tokens", "zipf:5"])
def test_the_heads_of_a_group_share_their_keys_and_values(text: str) -> None:
    for count in (1, 2, 3, 6):
        found = [each for each in made(ensemble=text, heads=6, layers=2, kv_heads=count) if not each.origin.over]
        plain = [each for each in made(ensemble=text, heads=6, layers=2) if not each.origin.over]
        for layer in (0, 1):
            row, own = found[6 * layer : 6 * layer + 6], plain[6 * layer : 6 * layer + 6]
            for number, operator in enumerate(row):
                first = own[number - number % (6 // count)]
                assert np.array_equal(pair(operator).left, pair(own[number]).left), "queries are their own"
                assert np.array_equal(pair(operator).right, pair(first).right)
                assert np.array_equal(values_of(operator), values_of(first))
            assert len({pair(operator).right.tobytes() for operator in row}) == count
        assert len({pair(operator).right.tobytes() for operator in found}) == 2 * count, "layers share no keys"


def test_as_many_key_heads_as_heads_change_nothing() -> None:
    for text in ("gaussian", "tokens"):
        assert digests(ensemble=text, heads=4, kv_heads=4) == digests(ensemble=text, heads=4)


@pytest.mark.parametrize("text", ["gaussian", "tokens", "isometric"])
def test_shared_queries_and_keys_make_a_positive_definite_kernel(text: str) -> None:
    """exp(q_i·q_j/√d) of distinct tokens is positive definite; so are D^(−½)KD^(−½), similar to A, and det A.

    LAPACK's eigenvalues of A = D⁻¹K move by at most ‖V‖‖V⁻¹‖·c·n·eps·‖A‖ (Bauer and Fike), and V = D^(−½)U with
    orthogonal U has condition √(max D/min D).
    """
    n, d = 10, 6
    operator = head(n=n, d=d, ensemble=text, shared=True)
    q = pair(operator).left
    assert np.array_equal(q, pair(operator).right)
    kernel = np.exp(q @ q.T / math.sqrt(d))
    total = kernel.sum(axis=1)
    truth = np.linalg.eigvalsh(kernel / np.sqrt(np.outer(total, total)))[::-1]
    bound = 8 * n * EPS * math.sqrt(n) * math.sqrt(total.max() / total.min())
    found = {each.name: each.values for each in rs.analyze(operator, measures="eigenvalues").table.series}
    assert np.abs(found["eigenvalues_imaginary"]).max() <= bound
    assert np.abs(np.array(found["eigenvalues_real"]) - truth).max() <= bound
    assert (truth > bound).all()
    assert (np.array(found["eigenvalues_real"]) > 0).all()
    assert abs(found["eigenvalues_real"][0] - 1) <= bound
    assert max(found["eigenvalues_real"]) <= 1 + bound
    proved = record(operator, "logdet", prove=True)
    assert (proved.sign, proved.guarantee) == (1, "proved")
    assert proved.value == pytest.approx(math.fsum(np.log(truth)), rel=0, abs=n * bound / truth.min())


def test_queries_and_keys_of_their_own_have_complex_eigenvalues_and_either_sign() -> None:
    """The theorem above is not one about all attention."""
    operators = [head(n=10, d=6, seed=seed) for seed in range(8)]
    assert {record(operator, "logdet", prove=True).sign for operator in operators} == {1, -1}
    series = [rs.analyze(operator, measures="eigenvalues").table.series for operator in operators]
    assert any(max(np.abs(each.values)) > 1e-3 for found in series for each in found if "imaginary" in each.name)


def test_shared_queries_and_keys_exclude_grouped_keys() -> None:
    """Keys cannot be those of the head's own queries and those of its group at once."""
    with pytest.raises(RankscopeError) as caught:
        made(shared=True, heads=4, kv_heads=2)
    assert caught.value.code == "RS003"


# ----------------------------------------------------------------------------------------------------- cross-attention


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("queries", [3, 11])
def test_cross_attention_has_a_row_for_each_query(text: str, queries: int) -> None:
    if not text.startswith("markov"):
        operator = head(ensemble=text, queries=queries)
        assert pair(operator).left.shape == (queries, 4)
        assert pair(operator).right.shape == (8, 4)
        assert values_of(operator).shape == (8, 4)
    for mask in ("bidirectional", "causal"):
        if mask == "causal" and queries > 8:
            continue
        operator = head(ensemble=text, queries=queries, mask=mask)
        assert operator.shape == held(operator).shape == (queries, 8)
        found = record(operator, "rank_exact")
        assert found.high is not None
        assert found.high <= min(queries, 8)
        assert np.abs(held(operator).sum(axis=1) - 1).max() <= 32 * UNIT


@pytest.mark.parametrize("text", CASES)
def test_causal_cross_attention_is_aligned_at_the_bottom_right(text: str) -> None:
    found = held(head(ensemble=text, queries=3, mask="causal")) > 0
    assert found.tolist() == [[j <= i + 5 for j in range(8)] for i in range(3)]


@pytest.mark.parametrize("text", CASES)
def test_as_many_queries_as_keys_are_self_attention(text: str) -> None:
    assert digests(ensemble=text, queries=8) == digests(ensemble=text)


@pytest.mark.parametrize("text", [text for text in OF_TOKENS if not text.startswith("duplicated")])
def test_the_queries_of_cross_attention_are_those_of_another_sequence(text: str) -> None:
    """Their keys are those of self-attention; no query is one of its queries."""
    plain, crossed = pair(head(ensemble=text)), pair(head(ensemble=text, queries=7))
    assert np.array_equal(crossed.right, plain.right)
    assert not {row.tobytes() for row in crossed.left} & {row.tobytes() for row in plain.left}


def test_two_sequences_of_isometric_tokens_are_orthogonal_each_by_itself() -> None:
    """With width = d and orthogonal weights queries keep the Gram matrix of their tokens."""
    crossed = pair(head(ensemble="isometric:12", d=12, queries=7, init="orthogonal"))
    for side in (crossed.left, crossed.right):
        assert np.abs(side @ side.T - 12 * np.eye(len(side))).max() <= 12 * 64 * 12 * UNIT


def test_the_width_of_isometric_tokens_suffices_for_both_sequences() -> None:
    """Nobody gave a width: more queries than 8d need one of their number."""
    assert head(n=8, d=1, ensemble="isometric", queries=12).shape == (12, 8)


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("options", "code", "given"),
    [
        ({"heads": 0}, "RS002", "heads = 0"),
        ({"heads": -2}, "RS002", "heads = -2"),
        ({"layers": 0}, "RS002", "layers = 0"),
        ({"queries": 0}, "RS002", "queries = 0"),
        ({"kv_heads": 0}, "RS002", "kv_heads = 0"),
        ({"kv_heads": -1}, "RS002", "kv_heads = -1"),
        ({"kv_heads": 3, "heads": 4}, "RS002", "kv_heads = 3 for 4 heads"),
        ({"kv_heads": 8, "heads": 4}, "RS002", "kv_heads = 8 for 4 heads"),
        ({"kv_heads": 2}, "RS002", "kv_heads = 2 for 1 heads"),
        ({"layers": 2, "queries": 3}, "RS003", "2 layers of 3 queries and 8 keys"),
        ({"init": "he"}, "RS003", "'he' with the ensemble 'gaussian'"),
        ({"init": "he", "ensemble": "markov"}, "RS003", "'he' with the ensemble 'markov:exponential'"),
        ({"init": "hee", "ensemble": "tokens"}, "RS001", "no initialisation 'hee'"),
        ({"init": "hee"}, "RS001", "no initialisation 'hee'"),
        ({"position": "sinusoidal"}, "RS003", "'sinusoidal', which acts on tokens, with the ensemble 'gaussian'"),
        ({"position": "sinusoidal", "ensemble": "markov"}, "RS003", "'sinusoidal'"),
        ({"shared": True, "ensemble": "markov:gamma:2"}, "RS003", "shared or grouped keys with the ensemble 'markov:g"),
        ({"kv_heads": 1, "ensemble": "markov"}, "RS003", "shared or grouped keys with the ensemble 'markov:e"),
        ({"shared": True, "queries": 3}, "RS003", "shared queries and keys, 3 and 8"),
        ({"ensemble": "token"}, "RS001", "no ensemble 'token'"),
        ({"ensemble": "tokens:-1"}, "RS002", "tokens:width=-1"),
        ({"ensemble": "correlated:1.5"}, "RS002", "correlated:1.5"),
        ({"ensemble": "correlated:-0.1"}, "RS002", "correlated:-0.1"),
        ({"ensemble": "correlated:nan"}, "RS002", "correlated:nan"),
        ({"ensemble": "correlated"}, "RS002", "without its rho"),
        ({"ensemble": "duplicated:0"}, "RS002", "duplicated:0"),
        ({"ensemble": "zipf:0"}, "RS002", "zipf:0"),
        ({"ensemble": "zipf:10:exponent=nan"}, "RS002", "nan"),
        ({"ensemble": "zipf:10:exponent=-2000"}, "RS002", "-2000"),
        ({"ensemble": "isometric:4"}, "RS002", "isometric:4 with 8 tokens"),
        ({"ensemble": "markov:beta"}, "RS001", "no weights 'beta'"),
        ({"ensemble": "markov:exponential:2"}, "RS002", "markov:exponential:2"),
        ({"ensemble": "markov:gamma:0"}, "RS002", "markov:gamma:0"),
        ({"ensemble": "markov:lognormal:-1"}, "RS002", "markov:lognormal:-1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused_and_says_what_was_given(
    options: dict[str, Any], code: str, given: str
) -> None:
    with pytest.raises(RankscopeError) as caught:
        made(**options)
    assert caught.value.code == code
    assert given in caught.value.given
    assert caught.value.remedy


def test_options_are_refused_before_anything_is_made() -> None:
    for options in ({"init": "he"}, {"position": "sinusoidal"}, {"kv_heads": 3, "heads": 4}):
        with pytest.raises(RankscopeError):
            next(Synthetic(n=8, d=4, **options).jobs())


# ---------------------------------------------------------------------------------------------- what theory says of all


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("mask", ["bidirectional", "causal", "window:3"])
def test_rows_sum_to_one_and_so_the_largest_singular_value_lies_between_1_and_the_root_of_n(
    text: str, mask: str
) -> None:
    """A·1 = 1, and ‖A‖_F² = Σ_i Σ_j a_ij² ≤ Σ_i 1. The bounds of the record hold both."""
    operator = head(n=16, ensemble=text, mask=mask)
    matrix = held(operator)
    assert (matrix >= 0).all()
    assert np.abs(matrix.sum(axis=1) - 1).max() <= 2 * 16 * UNIT
    found = record(operator, "sigma_max")
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    assert found.high >= 1
    assert found.low <= 4
    assert 1 - 64 * UNIT <= np.linalg.norm(matrix, 2) <= 4 * (1 + 64 * UNIT)


def test_one_query_on_one_key_each_attains_both_bounds() -> None:
    """All on one key: σ₁ = √n; each on itself: σ₁ = 1."""
    zero, far = np.zeros((9, 1)), np.ones((9, 1)) * 60.0
    keys = np.where(np.arange(9)[:, None] == 0, 60.0, zero)
    assert rs.sigma_max(single(attention(far, keys))).value == pytest.approx(3, rel=64 * UNIT, abs=0)
    alone = single(attention(40 * np.eye(9), 40 * np.eye(9)))
    assert rs.sigma_max(alone).value == pytest.approx(1, rel=64 * UNIT, abs=0)


@pytest.mark.parametrize("mask", ["bidirectional", "causal", "prefix:3"])
def test_a_constant_added_to_a_row_of_scores_changes_nothing(mask: str) -> None:
    """Of dyadic scores every difference is exact, so that not one bit changes."""
    random = np.random.default_rng(0)
    scores, shifts = dyadic(random, 9, 9), 1024 * dyadic(random, 9, 1)
    plain, shifted = (from_logits(each, mask=mask) for each in (scores, scores + shifts))
    assert held(plain).tobytes() == held(shifted).tobytes()
    assert not np.array_equal(held(plain), held(from_logits(scores + shifts.T, mask=mask)))


@pytest.mark.parametrize("mask", ["bidirectional", "causal", "prefix:3"])
def test_a_vector_added_to_all_keys_changes_nothing(mask: str) -> None:
    """q·(k + c) = q·k + q·c, which is constant along a row."""
    random = np.random.default_rng(1)
    queries, keys, common = dyadic(random, 9, 4), dyadic(random, 9, 4), 16 * dyadic(random, 1, 4)
    plain, shifted = (single(attention(queries, each, mask=mask)) for each in (keys, keys + common))
    assert held(plain).tobytes() == held(shifted).tobytes()
    moved = single(attention(queries + common, keys, mask=mask))
    assert not np.allclose(held(plain), held(moved), rtol=0.1, atol=0), "added to queries it does"


def test_bidirectional_attention_of_permuted_tokens_is_permuted() -> None:
    """Up to the order in which rows are summed: n units each. Causal attention is not."""
    random = np.random.default_rng(2)
    queries, keys = dyadic(random, 2, 9, 4)
    order = random.permutation(9)
    for mask, equal in (("bidirectional", True), ("causal", False)):
        one, two = (
            held(single(attention(q, k, mask=mask))) for q, k in ((queries, keys), (queries[order], keys[order]))
        )
        close = np.abs(two - one[np.ix_(order, order)]) <= 2 * 9 * UNIT * two
        assert close.all() == equal


def test_anticausal_attention_is_causal_attention_seen_from_the_end() -> None:
    random = np.random.default_rng(3)
    queries, keys = dyadic(random, 2, 9, 4)
    one = held(single(attention(queries, keys, mask="causal")))
    two = held(single(attention(queries[::-1], keys[::-1], mask="anticausal")))
    assert np.allclose(one, two[::-1, ::-1], rtol=2 * 9 * UNIT, atol=0)


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("mask", ["causal", "anticausal"])
def test_the_eigenvalues_of_causal_attention_are_its_diagonal(text: str, mask: str) -> None:
    """One of them is the 1 of the query that sees itself alone, and all are in (0, 1]."""
    operator = head(n=12, ensemble=text, mask=mask)
    found = {each.name: each.values for each in rs.analyze(operator, measures="eigenvalues").table.series}
    assert found["eigenvalues_imaginary"] == [0.0] * 12
    assert found["eigenvalues_real"] == sorted(np.diagonal(held(operator)).tolist(), reverse=True)
    assert found["eigenvalues_real"][0] == 1.0
    assert min(found["eigenvalues_real"]) > 0
    assert record(operator, "logdet").value == pytest.approx(
        math.fsum(map(math.log, found["eigenvalues_real"])), rel=64 * UNIT, abs=0
    )


@pytest.mark.parametrize("text", [text for text in CASES if not text.startswith("markov")])
@pytest.mark.parametrize("mask", ["bidirectional", "causal"])
def test_the_output_has_no_more_dimensions_than_the_values(text: str, mask: str) -> None:
    """Causal attention of full rank mixes values of 3 dimensions into outputs of 3 dimensions."""
    operator = head(n=24, d=3, ensemble=text, mask=mask)
    found = record(operator, "rank_output")
    tokens = {row.tobytes() for row in pair(operator).left}
    assert found.value == min(3, len(tokens) if mask == "bidirectional" else 24)
    assert found.high is not None
    assert found.high <= 3


def test_random_weights_have_no_values() -> None:
    found = record(head(ensemble="markov"), "rank_output")
    assert found.value is None
    assert "values" in found.because


def test_every_initialisation_can_be_named() -> None:
    for name in INITIALISATIONS.names():
        operator = head(ensemble="tokens", init=name)
        assert operator.origin.ensemble == f"tokens init {name}"
        assert (digests(ensemble="tokens", init=name) == digests(ensemble="tokens")) == (name == "lecun")


def test_lecun_is_the_initialisation_unless_another_is_given() -> None:
    same = partial(digests, ensemble="correlated:0.5", heads=2)
    assert same() == same(init="lecun")
