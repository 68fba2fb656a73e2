"""Matched random attention: alike in everything but its scores, and what `null=` makes of it in a table.

Variances are pooled within rows in plain Python; where they match on average only, over many seeds, the standard error
of that average is the measure.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest
import safetensors.numpy

import rankscope as rs
from rankscope.attention.build import attention, from_logits
from rankscope.attention.existing import single
from rankscope.attention.kernels import ScoreKernel
from rankscope.attention.operators import Concatenation, Dense, Factored, Mean, Operator, Product
from rankscope.attention.subject import Weights
from rankscope.errors import RankscopeError, UsageError
from rankscope.generators.null import matched
from rankscope.generators.stack import Synthetic
from rankscope.records import Record
from tests.oracles import UNIT, Boolean, Float64
from tests.process import SAMPLE, strict_json, violations


def tokens(seed: int, n: int = 10, d: int = 4, m: int | None = None) -> tuple[Float64, Float64]:
    random = np.random.default_rng(seed)
    return random.standard_normal((n, d)), random.standard_normal((n if m is None else m, d))


def one(**options: Any) -> Operator:
    made = rs.synthetic(**{"n": 10, "d": 4, **options})
    assert not isinstance(made, list)
    return made


def logits(**options: Any) -> Operator:
    return from_logits(3 * np.random.default_rng(8).standard_normal((10, 10)), **options)


KNOWN: Final[dict[str, Callable[[], Operator]]] = {
    "softmax": one,
    "causal": lambda: one(mask="causal"),
    "window": lambda: one(mask="window:3"),
    "strict": lambda: one(mask="strict"),
    "scaled": lambda: one(scale=3.0),
    "sigmoid": lambda: one(kernel="sigmoid"),
    "sink": lambda: one(kernel="sink:2", mask="causal"),
    "linear": lambda: one(kernel="linear"),
    "scaled linear": lambda: single(attention(3 * tokens(4)[0], tokens(5)[0] / 5, kernel="linear", scale=2.0)),
    "causal linear": lambda: one(kernel="linear:exp", mask="causal"),
    "favor": lambda: one(kernel="favor:8"),
    "cosformer": lambda: one(kernel="cosformer", d=8),
    "retnet": lambda: one(kernel="retnet", mask="causal"),
    "delta backward": lambda: one(kernel="delta", mask="anticausal"),
    "rope": lambda: one(position="rope"),
    "interpolated": lambda: one(position="interpolated:4"),
    "yarn": lambda: one(position="yarn:8:trained=16"),
    "rerope": lambda: single(attention(np.ones((40, 4)), np.ones((40, 4)), position="rerope:2:base=100")),
    "alibi": lambda: one(position="alibi", mask="causal"),
    "t5": lambda: one(position="t5"),
    "float32": lambda: one(dtype="float32"),
    "bfloat16": lambda: one(dtype="bfloat16", mask="causal"),
    "float16 features": lambda: one(dtype="float16", kernel="linear"),
    "crossed": lambda: one(queries=4, mask="causal"),
    "tokens": lambda: one(ensemble="tokens", init="he"),
    "isometric": lambda: one(ensemble="isometric", position="sinusoidal"),
    "shared": lambda: one(shared=True),
    "given": lambda: single(attention(*tokens(3), 5 * np.ones((10, 3)))),
    "markov": lambda: one(ensemble="markov:gamma:2"),
    "logits": logits,
    "scaled logits": lambda: logits(scale=0.25, mask="causal", position="alibi"),
}
"""Attention whose queries and keys, or whose scores, are known."""


def held(operator: Operator) -> Float64:
    return np.asarray(operator.matrix)


def request_of(operator: Operator) -> Any:
    assert isinstance(operator, Dense | Factored)
    assert operator.request is not None
    return operator.request


def within(scores: Iterable[Iterable[float]], seen: Iterable[Iterable[bool]]) -> float:
    """The variance within rows over what is seen, pooled with n − 1 for each row of n."""
    rows = [[s for s, sees in zip(*each, strict=True) if sees] for each in zip(scores, seen, strict=True)]
    kept = [row for row in rows if len(row) > 1]
    return math.fsum(statistics.variance(row) * (len(row) - 1) for row in kept) / sum(len(row) - 1 for row in kept)


def before_bias(operator: Operator) -> Float64:
    """The scores that the weights were made of, without what the position adds: from the definition where there is one,
    from queries and keys where the kernel takes features.
    """
    request = request_of(operator)
    assert isinstance(operator, Dense | Factored)
    if not isinstance(operator.definition, Weights) or request.kernel.label != "softmax":
        if request.scores is not None:
            return np.asarray(request.scale * request.scores)
        left, right = request.tokens.left, request.tokens.right
        return np.asarray(request.scale * left @ right.T / math.sqrt(left.shape[1]))
    logs = np.where(request.seen, operator.definition.logs, 0.0)
    if request.position.bias is None:
        return np.asarray(logs)
    i, j = request.places
    added = request.position.bias(i[:, None], j[None, :], request.place)
    return np.asarray(np.where(request.seen, logs - added, 0.0))


def measured(operator: Operator, name: str) -> Record:
    found = rs.analyze(operator, measures=name)[name]
    assert isinstance(found, Record)
    return found


# -------------------------------------------------------------------------------------------------- what is the same


@pytest.mark.parametrize("name", KNOWN)
def test_a_null_is_like_its_original_in_all_but_its_numbers(name: str) -> None:
    operator = KNOWN[name]()
    null = matched(operator, 0)
    assert type(null) is type(operator)
    assert (null.shape, null.storage, null.subject) == (operator.shape, operator.storage, operator.subject)
    assert null.origin == operator.origin
    assert null.support.tolist() == operator.support.tolist()
    mine, theirs = request_of(null), request_of(operator)
    assert np.array_equal(mine.seen, theirs.seen)
    if isinstance(mine.kernel, ScoreKernel) and isinstance(theirs.kernel, ScoreKernel):  # scores have another mean
        mine = replace(mine, kernel=replace(mine.kernel, sink=theirs.kernel.sink))
    assert (mine.kernel, mine.position, mine.empty_rows) == (theirs.kernel, theirs.position, theirs.empty_rows)
    for x, y in (*zip(*(vars(each.tokens).values() for each in (mine, theirs)), strict=True),):
        assert x.shape == y.shape
    assert (mine.scores is None) == (theirs.scores is None)
    assert (mine.values is None) == (theirs.values is None)
    assert mine.values is None or mine.values.shape == theirs.values.shape
    assert null.structure.side.value == operator.structure.side.value
    assert (held(null)[~theirs.seen] == 0).all()
    if theirs.kernel.label == "softmax":
        assert ((held(null) != 0) == theirs.seen).all()
        assert np.abs(held(null).sum(axis=1) - theirs.seen.any(axis=1)).max() <= 32 * max(null.storage.unit, UNIT)


@pytest.mark.parametrize("name", KNOWN)
def test_the_same_seed_is_the_same_null_and_another_seed_another(name: str) -> None:
    operator = KNOWN[name]()
    first, again, second = (held(matched(operator, seed)) for seed in (4, 4, 5))
    assert first.tobytes() == again.tobytes()
    for two in (second, held(operator)):
        assert first.tobytes() != two.tobytes()


@pytest.mark.parametrize("name", KNOWN)
def test_scores_vary_within_rows_as_much_as_those_of_the_original(name: str) -> None:
    """To rounding, for every seed, where scores matter; elsewhere queries and keys have the sizes of the original."""
    operator = KNOWN[name]()
    request = request_of(operator)
    seen = request.seen.tolist()
    for seed in range(10):
        null = matched(operator, seed)
        if isinstance(request.kernel, ScoreKernel):
            truth, found = (within(before_bias(each).tolist(), seen) for each in (operator, null))
            assert found == pytest.approx(truth, rel=64 * len(seen[0]) * UNIT)
            continue
        assert request_of(null).scale == request.scale
        for mine, theirs in zip(vars(request_of(null).tokens).values(), vars(request.tokens).values(), strict=True):
            expected = float(np.sqrt((theirs**2).mean()))
            spread = expected / math.sqrt(2 * theirs.size)
            assert abs(float(np.sqrt((mine**2).mean())) - expected) <= 5 * spread


def test_a_sink_stays_as_far_from_the_scores_of_the_null_as_from_those_of_the_original() -> None:
    """Scores and sink that are all larger by 7 are the same attention, and have the same null."""
    scores = np.random.default_rng(3).standard_normal((12, 12))
    near, far = (single(from_logits(scores + by, kernel=f"sink:{by - 1}", mask="causal")) for by in (0, 7))
    assert isinstance(near, Dense)
    assert np.abs(matched(near, 5).matrix - matched(far, 5).matrix).max() < 64 * UNIT * 8
    assert matched(near, 5).matrix.sum(axis=1).min() < 0.9


def test_nulls_of_several_heads_are_drawn_apart() -> None:
    made = rs.synthetic(n=6, d=3, heads=3, layers=2)
    assert isinstance(made, list)
    nulls = [held(matched(each, 0)).tobytes() for each in made if not each.origin.over]
    assert len(set(nulls)) == 6


@pytest.mark.parametrize("name", ["favor", "t5"])
def test_what_a_kernel_or_a_position_draws_is_that_of_the_original(name: str) -> None:
    """Random features and biases belong to the kernel and the position, which a null shares."""
    operator = KNOWN[name]()
    places = {request_of(each).place for each in (operator, matched(operator, 4), matched(operator, 5))}
    assert len(places) == 1


def test_a_null_shares_no_number_with_the_ensemble_of_its_seed() -> None:
    operator = one(seed=7)
    found = request_of(matched(operator, 7)).tokens
    drawn_again = np.random.default_rng(7).standard_normal(40)
    assert not set(drawn_again.tolist()) & set(found.left.ravel().tolist())


# ----------------------------------------------------------------------------------------------------- no variance


@pytest.mark.parametrize(
    "operator",
    [
        single(attention(np.zeros((6, 2)), np.ones((6, 2)))),
        single(attention(np.random.default_rng(0).standard_normal((6, 2)), np.ones((6, 2)), mask="causal")),
        from_logits(np.arange(6.0)[:, None] + np.zeros((6, 6))),
        from_logits(np.arange(6.0)[:, None] + np.zeros((6, 6)), mask="prefix:2"),
        single(np.full((5, 5), 0.2)),
        single(np.tril(np.ones((5, 5))) / np.arange(1, 6)[:, None]),
        single(np.ones((1, 1))),
        from_logits(np.diag(np.arange(4.0)), mask="dilated:9"),
    ],
    ids=lambda operator: operator.origin.label + " " + str(operator.shape),
)
def test_scores_that_are_constant_within_rows_have_a_uniform_null(operator: Operator) -> None:
    null = held(matched(operator, 3))
    seen = held(operator) > 0
    assert np.abs(null - seen / seen.sum(axis=1, keepdims=True)).max() <= 16 * UNIT


# -------------------------------------------------------------------------------------------------- bare matrices

PATTERNS: Final[dict[str, Boolean]] = {
    "full": np.ones((9, 9), dtype=bool),
    "causal": np.tril(np.ones((9, 9), dtype=bool)),
    "wide": np.ones((4, 9), dtype=bool),
    "scattered": np.random.default_rng(5).random((9, 7)) < 0.6,
    "with an empty row": np.arange(9)[:, None] % 4 != np.zeros((9, 9), dtype=int),
}


def bare(name: str, dtype: str = "float64") -> Operator:
    seen = PATTERNS[name]
    weights = np.where(seen, np.exp(1.7 * np.random.default_rng(6).standard_normal(seen.shape)), 0.0)
    return single((weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)).astype(dtype))


@pytest.mark.parametrize("d", [None, 3])
@pytest.mark.parametrize("name", PATTERNS)
def test_the_null_of_a_bare_matrix_stands_on_its_support_with_logarithms_of_its_variance(
    name: str, d: int | None
) -> None:
    operator, seen = bare(name), PATTERNS[name]
    with np.errstate(divide="ignore"):
        truth = within(np.log(held(operator)).tolist(), seen.tolist())
        sample = []
        for seed in range(60):
            null = matched(operator, seed, d)
            assert isinstance(null, Dense)
            assert (null.shape, null.subject, null.storage) == (operator.shape, "stored", operator.storage)
            assert ((held(null) > 0) == seen).all(), "zeros stay zeros, and nothing else is zero"
            assert np.abs(held(null).sum(axis=1) - seen.any(axis=1)).max() <= 16 * UNIT
            sample.append(within(np.log(held(null)).tolist(), seen.tolist()))
    assert abs(statistics.fmean(sample) - truth) <= 5 * statistics.stdev(sample) / math.sqrt(60)
    assert len({held(matched(operator, seed, d)).tobytes() for seed in (0, 0, 1, 2)}) == 3


def test_a_head_size_makes_logarithms_of_that_rank() -> None:
    """log A is then scores of rank d plus a constant for each row."""
    operator = bare("full")
    for d, rank in ((2, 3), (4, 5), (None, 9)):
        found = np.linalg.matrix_rank(np.log(held(matched(operator, 1, d))), tol=1e-9)
        assert found == rank


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_null_of_stored_numbers_is_stored_as_they_are(dtype: str) -> None:
    null = matched(bare("full", dtype), 0)
    assert null.storage.name == null.origin.dtype == dtype
    assert np.array_equal(held(null), held(null).astype(dtype).astype(np.float64))
    assert len(set(held(null).ravel().tolist())) > 40


@pytest.mark.parametrize("place", [(0, 1), (1, 0)])
def test_heads_of_a_stack_of_matrices_have_nulls_of_their_own(place: tuple[int, int]) -> None:
    weights = held(bare("full"))
    stack = rs.matrix(np.broadcast_to(weights, (2, 2, 9, 9)).copy())
    assert isinstance(stack, list)
    assert len({held(matched(each, 0)).tobytes() for each in stack}) == 4


@pytest.mark.parametrize(
    ("matrix", "found"),
    [
        (np.array([[0.5, 0.5], [1.5, -0.5]]), "1 negative entries"),
        (-np.eye(3), "3 negative entries"),
        (np.eye(2) * 1j, "complex entries"),
    ],
)
@pytest.mark.parametrize("d", [None, 2])
def test_what_is_no_attention_has_no_null(matrix: Any, found: str, d: int | None) -> None:
    with pytest.raises(UsageError, match="RS003") as caught:
        matched(single(matrix), 0, d)
    assert found in caught.value.given
    beside = rs.analyze([np.eye(3), matrix], measures="sigma_max", null=2, null_d=d)["sigma_max"]
    assert [record.null_count for record in beside] == [2, 0]  # type: ignore[union-attr]
    minus_zero = np.array([[1.0, -0.0], [0.5, 0.5]])
    assert held(matched(single(minus_zero), 0, d))[0].tolist() == [1.0, 0.0]


def test_a_matrix_without_weights_has_a_null_without_weights() -> None:
    for shape in ((3, 3), (0, 3), (3, 0)):
        assert held(matched(single(np.zeros(shape)), 0)).tolist() == np.zeros(shape).tolist()


@pytest.mark.parametrize("size", [1e-200, 1e150, 1e200])
def test_scores_of_any_size_have_a_null(size: float) -> None:
    """What can be analysed without a null can be analysed with one."""
    operator = from_logits(size * np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert measured(operator, "stable_rank").value is not None
    found = rs.analyze(operator, measures="stable_rank", null=3)["stable_rank"]
    assert isinstance(found, Record)
    assert found.null_count == 3


# --------------------------------------------------------------------------------------------------- compositions


def equal_parts() -> tuple[Operator, Operator]:
    return single(attention(*tokens(1))), single(attention(*tokens(1)))


@pytest.mark.parametrize("kind", [Product, Mean, Concatenation])
def test_the_null_of_a_composition_is_composed_of_nulls_of_its_parts(
    kind: type[Product] | type[Mean] | type[Concatenation],
) -> None:
    operator = kind((*equal_parts(), single(attention(*tokens(2), mask="causal"))))
    null = matched(operator, 0)
    assert isinstance(null, kind)
    assert null.shape == operator.shape
    assert null.origin == operator.origin
    assert [part.structure.side.value for part in null.parts] == ["none", "none", "lower"]
    assert len({held(part).tobytes() for part in (*null.parts, *operator.parts[1:])}) == 5, (
        "equal parts are drawn apart"
    )
    for part, original in zip(null.parts, operator.parts, strict=True):
        mine, theirs = request_of(part), request_of(original)
        assert mine.tokens.left.shape == theirs.tokens.left.shape
        spread = (within(before_bias(each).tolist(), theirs.seen.tolist()) for each in (part, original))
        assert next(spread) == pytest.approx(next(spread), rel=1e-13)
    first, second, third = (held(part) for part in null.parts)
    made = {
        Product: first @ second @ third,
        Mean: (first + second + third) / 3,
        Concatenation: np.hstack([first, second, third]),
    }[kind]
    assert np.allclose(held(null), made, rtol=64 * UNIT, atol=0)
    assert held(null).tobytes() == held(matched(operator, 0)).tobytes()
    assert held(null).tobytes() != held(matched(operator, 1)).tobytes()


def leaves(operator: Operator) -> list[Operator]:
    if isinstance(operator, Product | Mean | Concatenation):
        return [leaf for part in operator.parts for leaf in leaves(part)]
    return [operator]


def test_no_two_matrices_of_nested_compositions_have_the_same_null() -> None:
    """A product over two layers of means over two heads, of matrices that do not know their place."""
    for first, second in (equal_parts(), (bare("full"), bare("full"))):
        mean = Mean((first, second))
        nested = Product((mean, Mean((first, second)), Product((mean, second))))
        found = [held(leaf).tobytes() for seed in (0, 1) for leaf in leaves(matched(nested, seed))]
        assert len(found) == 14
        assert len(set(found)) == 14


def test_no_two_heads_of_a_stack_have_the_same_null_in_its_product() -> None:
    for dtype in ("float64", "bfloat16"):
        made = rs.synthetic(n=5, d=3, heads=3, layers=3, dtype=dtype)
        assert isinstance(made, list)
        found = [held(leaf).tobytes() for leaf in leaves(matched(made[-1], 0))]
        assert len(set(found)) == len(found) == 9


def test_a_part_without_a_null_is_refused_in_a_composition_too() -> None:
    with pytest.raises(UsageError, match="RS003"):
        matched(Mean((single(np.eye(2)), single(-np.eye(2)))), 0)


# ---------------------------------------------------------------------------------------------------- in a table


def by_hand(operator: Operator, record: Record, count: int, d: int | None = None) -> list[float]:
    """The values of one measure over the nulls, each measured by itself."""
    found = []
    for seed in range(count):
        null = matched(operator, seed, d)
        rows = rs.analyze(null, measures=record.measure).table
        found += [float(row.value) for row in rows if row.subject == record.subject and row.value is not None]
    return found


def check_by_hand(operator: Operator, result: rs.Result, count: int, d: int | None = None) -> None:
    for record in result.table:
        values = by_hand(operator, record, count, d)
        assert record.null_count == len(values), record.measure
        if not values:
            assert record.null_mean is record.null_sd is None
            continue
        assert record.null_mean == pytest.approx(statistics.fmean(values), rel=1e-13, abs=1e-300), record.measure
        if len(values) == 1:
            assert record.null_sd is None
        else:
            assert record.null_sd == pytest.approx(statistics.stdev(values), rel=1e-7, abs=1e-14), record.measure


@pytest.mark.parametrize("name", ["softmax", "causal", "linear", "bfloat16", "markov"])
@pytest.mark.parametrize("count", [1, 4])
def test_a_null_is_the_mean_and_deviation_over_exactly_so_many_matrices(name: str, count: int) -> None:
    operator = KNOWN[name]()
    plain, result = rs.analyze(operator), rs.analyze(operator, null=count)
    check_by_hand(operator, result, count)
    assert any(record.null_mean is not None for record in result.table)
    for with_null, without in zip(result.table, plain.table, strict=True):
        assert (with_null.value, with_null.low, with_null.high) == (without.value, without.low, without.high)
        assert without.null_mean is without.null_sd is without.null_count is None


@pytest.mark.parametrize("d", [None, 3])
def test_bare_matrices_are_compared_with_nulls_of_their_head_size(d: int | None) -> None:
    operator = bare("causal")
    check_by_hand(operator, rs.analyze(operator, measures="all", null=3, null_d=d), 3, d)


def test_where_no_null_has_a_value_there_is_none() -> None:
    """The exact rank of bidirectional attention is not proved without a proof; zero matrices have no effective rank."""
    found = rs.analyze(one(), measures=["rank_exact", "stable_rank"], null=3)
    exact, stable = found["rank_exact"], found["stable_rank"]
    assert isinstance(exact, Record)
    assert isinstance(stable, Record)
    assert (exact.null_mean, exact.null_sd, exact.null_count) == (None, None, 0)
    assert stable.null_count == 3
    zero = rs.analyze(np.zeros((3, 3)), measures="effective_rank", null=2)["effective_rank"]
    assert isinstance(zero, Record)
    assert (zero.null_mean, zero.null_sd, zero.null_count) == (None, None, 0)


def test_nulls_are_not_proved_whatever_is_proved_of_the_matrix() -> None:
    operator = KNOWN["causal"]()
    plain, proved = (rs.analyze(operator, null=2, prove=prove).table for prove in (False, True))
    for one_of, other in zip(plain, proved, strict=True):
        assert (one_of.null_mean, one_of.null_sd, one_of.null_count) == (
            other.null_mean,
            other.null_sd,
            other.null_count,
        )


def test_a_null_that_cannot_be_made_leaves_the_measurement() -> None:
    """Positive tokens have weights under relu; half of the Gaussian ones of a null of size 2 have a row without."""
    q, k = (np.abs(each) for each in tokens(0, 8, 2))
    operator = single(attention(q, k, kernel="linear:relu"))
    plain = measured(operator, "stable_rank")
    found = rs.analyze(operator, measures="stable_rank", null=3)["stable_rank"]
    assert isinstance(found, Record)
    assert found.value == plain.value
    made = 0
    for seed in range(3):
        try:
            matched(operator, seed)
            made += 1
        except RankscopeError:
            continue
    assert found.null_count == made < 3


def test_the_standard_ensemble_is_its_own_null() -> None:
    """Its values lie within 5 deviations of the mean over 20 nulls, and those that never vary are the same."""
    result = rs.analyze(one(n=32, d=8, seed=3), null=20)
    checked = 0
    for record in result.table:
        if record.null_mean is None or record.value is None:
            continue
        assert record.null_count == 20
        assert record.null_sd is not None
        rounding = 1e-9 * abs(record.null_mean) + 1e-13
        assert abs(record.value - record.null_mean) <= 5 * record.null_sd + rounding, record.measure
        checked += 1
    assert checked >= 15


@pytest.mark.parametrize("workers", [1, 3])
def test_a_table_with_nulls_is_what_the_schema_says_whatever_the_workers(workers: int) -> None:
    made = rs.synthetic(n=6, d=3, heads=2, layers=2)
    result = rs.analyze(made, null=2, workers=workers)
    document = strict_json(result.to_json())
    assert violations(document) == []
    assert document["study"]["null"] == 2
    assert document["study"]["null_d"] is None
    assert {record["null_count"] for record in document["records"]} <= {0, 1, 2}
    assert result.to_json() == rs.analyze(made, null=2, workers=2).to_json()


def test_numbers_of_a_null_are_not_any_numbers() -> None:
    for record in strict_json(rs.analyze(one(), null=2).to_json())["records"]:
        assert {"null_mean", "null_sd", "null_count"} <= set(record)
    document = strict_json(rs.analyze(one(), measures="stable_rank", null=2).to_json())
    document["records"][0]["null_count"] = "two"
    assert violations(document)


@pytest.mark.parametrize("options", [{"null": -1}, {"null": 2, "null_d": 0}, {"null": 2, "null_d": -3}])
def test_numbers_of_nulls_and_head_sizes_that_mean_nothing_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="RS002"):
        rs.analyze(bare("full"), **options)  # type: ignore[arg-type]


def test_a_study_says_how_it_was_compared() -> None:
    study = rs.Study((Synthetic(n=4, d=2),), ("stable_rank",), null=2, null_d=5)
    assert study.described().items() >= {"null": 2, "null_d": 5}.items()
    found = rs.run(study)["stable_rank"]
    assert isinstance(found, Record)
    assert found.null_count == 2


# ------------------------------------------------------------------------------------------------------- comparisons


def test_compare_tries_every_list_through_with_every_other() -> None:
    result = rs.compare(
        ["causal", "bidirectional"], measures="stable_rank", kernel=["softmax", "linear"], n=(4, 6), d=2, seed=[0, 1]
    )
    rows = list(result.table)
    found = [(m.kernel, m.rows, r.seed, m.mask) for m, r in zip(result.table.matrices, rows, strict=True)]
    wanted = itertools.product(["softmax", "linear"], [4, 6], [0, 1], ["causal", "bidirectional"])
    assert found == list(wanted), "the first list varies slowest, masks fastest"
    for matrix, record in zip(result.table.matrices, rows, strict=True):
        alone = one(n=matrix.rows, d=2, mask=matrix.mask, kernel=matrix.kernel, seed=record.seed)
        assert record.value == rs.stable_rank(alone).value
        assert matrix.digest == alone.origin.digest


def test_compare_compares_each_matrix_with_its_own_null() -> None:
    result = rs.compare(["causal", "bidirectional"], measures="effective_rank", null=3, n=6, d=2, scale=[1.0, 4.0])
    assert result.table.study["null"] == 3
    for matrix, record in zip(result.table.matrices, result.table, strict=True):
        values = by_hand(one(n=6, d=2, mask=matrix.mask, scale=matrix.scale), record, 3)
        assert record.null_count == len(values) == 3
        assert record.null_mean == pytest.approx(statistics.fmean(values), rel=1e-13)
    assert violations(strict_json(result.to_json())) == []


def test_compare_keeps_one_value_as_one_matrix() -> None:
    assert len(rs.compare("causal", n=4, d=2).table.matrices) == 1
    assert len(rs.compare(["causal"], n=[4], d=(2,), seed=[5]).table.matrices) == 1


# ---------------------------------------------------------------------------------------------------- a real model


def test_trained_heads_are_compared_with_noise_of_their_size_and_variance() -> None:
    """Six heads of MiniLM: their attention as stored (float32), and as made of their queries and keys."""
    stack = rs.load(SAMPLE)
    assert isinstance(stack, list)
    heads = [each for each in stack if (each.origin.key or "").endswith("attention")]
    assert len(heads) == 6
    result = rs.analyze(heads, measures=["effective_rank", "row_entropy"], null=2)
    assert violations(strict_json(result.to_json())) == []
    assert all(record.null_count == 2 for record in result.table)
    operator = heads[0]
    null = matched(operator, 0)
    assert ((held(null) > 0) == (held(operator) > 0)).all()
    assert null.storage.name == "float32"
    seen = held(operator) > 0
    truth, found = (within(np.log(held(each)).tolist(), seen.tolist()) for each in (operator, null))
    # one sample of independent logits, with 127 degrees of freedom in each of 128 rows
    assert abs(found / truth - 1) < 5 * math.sqrt(2 / (128 * 127))
    for record in [record for record in result.table if record.matrix == 0]:
        values = by_hand(operator, record, 2)
        assert record.null_mean == pytest.approx(statistics.fmean(values), rel=1e-13)


def test_trained_queries_and_keys_have_a_null_of_their_own_variance() -> None:
    arrays = safetensors.numpy.load_file(SAMPLE)
    q, k = arrays["layer.5.query"][0], arrays["layer.5.key"][0]
    operator = single(attention(q, k))
    seen = np.ones((128, 128), dtype=bool).tolist()
    truth = within((q.astype(float) @ k.astype(float).T / math.sqrt(32)).tolist(), seen)
    for seed in range(3):
        found = within(before_bias(matched(operator, seed)).tolist(), seen)
        assert found == pytest.approx(truth, rel=1e-12, abs=0)


@pytest.mark.parametrize("kernel", ["cosformer", "efficient", "delta", "gated-delta"])
def test_tokens_at_the_end_of_float64_are_measured_without_a_null(kernel: str) -> None:
    huge = np.full((5, 3), 1e308)
    mask = "causal" if "delta" in kernel else "bidirectional"
    operator = single(attention(huge, huge, mask=mask, kernel=kernel))
    found = rs.analyze(operator, measures="row_sum_defect", null=1)["row_sum_defect"]
    assert isinstance(found, Record)
    assert found.null_count == 0


def test_the_null_of_stored_heads_is_made_of_queries_and_keys() -> None:
    """A stack in bfloat16 holds stored numbers that still know what they were asked for."""
    made = rs.synthetic(n=12, d=3, heads=2, dtype="bfloat16")
    assert isinstance(made, list)
    mean = made[2]
    assert isinstance(mean, Mean)
    null = matched(mean, 0)
    assert isinstance(null, Mean)
    for part in null.parts:
        assert part.subject == "stored"
        assert part.storage.name == "bfloat16"
        assert request_of(part).tokens.left.shape == (12, 3)
