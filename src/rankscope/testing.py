"""The contract batteries: what every mask, position, kernel and measure must satisfy, ours and yours.

    import rankscope as rs
    rs.testing.check_mask(my_mask(3))

Each battery raises an AssertionError that says what was broken and where. They compare with slow definitions that
share no code with what they check.
"""

import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from typing import Any, Final, TypeVar

import numpy as np

from rankscope.analyzer.elimination import exact_rank
from rankscope.analyzer.measure import Measure
from rankscope.analyzer.needs import Needs
from rankscope.arrays import EPS, Array, Boolean
from rankscope.attention import naive
from rankscope.attention.build import attention
from rankscope.attention.diagonal import diagonal
from rankscope.attention.exact import integers
from rankscope.attention.existing import matrix, single
from rankscope.attention.kernels import FeatureKernel, Kernel, RecurrenceKernel, ScoreKernel
from rankscope.attention.masks import Mask, anticausal, bidirectional, causal, strict, window
from rankscope.attention.operators import Operator, Origin, stored
from rankscope.attention.positions import Place, Position
from rankscope.errors import MaskError, UsageError
from rankscope.generators.synthetic import queries_and_keys
from rankscope.study import analyze

SIZES: Final = range(1, 8)

T = TypeVar("T")


def require(condition: object, message: str) -> None:
    """Raise an AssertionError with this message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def battery(check: Callable[[T], None]) -> Callable[[T], None]:
    """A battery whose every failure is an AssertionError, that of the entry itself included."""

    @wraps(check)
    def checked(entry: T) -> None:
        try:
            check(entry)
        except AssertionError:
            raise
        except Exception as reason:  # whatever a user's own entry raises is a failure of its contract
            raise AssertionError(f"{entry!r} raises {type(reason).__name__}: {reason}") from reason

    return checked


@battery
def check_mask(mask: Mask) -> None:
    """A mask answers alike for numbers and arrays, its facts are true, and its structure is what brute force finds."""
    for size in SIZES:
        index = np.arange(size)
        seen = np.broadcast_to(mask.allows(index[:, None], index[None, :]), (size, size))
        require(seen.dtype == np.bool_, f"{mask.label}: allows() gave {seen.dtype} for arrays; use comparisons and & |")
        one_by_one = [[bool(mask.allows(i, j)) for j in range(size)] for i in range(size)]
        require(
            (seen == np.array(one_by_one)).all(),
            f"{mask.label}: allows() differs between arrays and integers at n = {size}",
        )
        hidden = np.broadcast_to((~mask).allows(index[:, None], index[None, :]), (size, size))
        require((hidden == ~seen).all(), f"{mask.label}: ~ is not the complement at n = {size}")
        check_facts(mask, seen)
        check_structure(mask, seen)


def check_facts(mask: Mask, seen: Boolean) -> None:
    """The facts that a mask claims hold at this size."""
    truths = {
        "lower": not np.triu(seen, 1).any(),
        "upper": not np.tril(seen, -1).any(),
        "diagonal": bool(np.diagonal(seen).all()),
        "everything": bool(seen.all()),
    }
    for fact in mask.facts:
        require(fact in truths, f"{mask.label} claims {fact!r}, which is no fact")
        require(truths[fact], f"{mask.label} claims {fact!r}, which is false at n = {len(seen)}")


def check_structure(mask: Mask, seen: Boolean) -> None:
    """The derived structure against transitive closure, and against determinants of random matrices of this pattern."""
    size = len(seen)
    queries, keys = queries_and_keys(size, 3, seed=size)
    try:
        operator = single(attention(queries, keys, mask=mask))
    except MaskError:
        require(not seen.any(axis=1).all(), f"{mask.label}: refused at n = {size}, where every query sees a key")
        return
    structure = operator.structure
    labels = structure.blocks.value
    reach = closure(seen)
    together = reach & reach.T
    if labels is None:
        raise AssertionError(f"{mask.label}: no blocks at n = {size}")
    finest = labels[:, None] == labels[None, :]
    require((finest == together).all() or structure.side.value != "none", f"{mask.label}: wrong blocks at n = {size}")
    numbers = np.where(seen, np.random.default_rng(size).integers(1, 9, (size, size)), 0)
    product = math.prod(leibniz(numbers[np.ix_(labels == b, labels == b)]) for b in np.unique(labels))
    require(product == leibniz(numbers), f"{mask.label}: the blocks at n = {size} do not give the determinant")
    sides = {"lower": not np.triu(seen, 1).any(), "upper": not np.tril(seen, -1).any(), "none": True}
    sides["diagonal"] = sides["lower"] and sides["upper"]
    require(sides[structure.side.value], f"{mask.label}: side {structure.side.value!r} is false at n = {size}")
    if seen.any(axis=1).all():
        expected = np.array(naive.softmax(queries.tolist(), keys.tolist(), mask))
        require(
            np.allclose(operator.matrix, expected, rtol=64 * EPS, atol=0),
            f"{mask.label}: not the definition at n = {size}",
        )
    whole = integers(stored(operator))
    require(exact_rank(whole, size).low <= structure.rank_bound.value, f"{mask.label}: rank bound at n = {size}")


def closure(seen: Boolean) -> Boolean:
    """Which index reaches which, by Warshall's algorithm."""
    reach = seen | np.eye(len(seen), dtype=bool)
    for k in range(len(seen)):
        reach = reach | (reach[:, [k]] & reach[[k], :])
    return reach


def leibniz(numbers: Array) -> int:
    """The determinant of a small integer matrix as the sum over permutations."""
    size = len(numbers)
    total = 0
    for order in itertools.permutations(range(size)):
        inversions = sum(a > b for a, b in itertools.combinations(order, 2))
        total += (-1) ** inversions * math.prod(int(numbers[i, j]) for i, j in enumerate(order))
    return total


MASKS_OF_KERNELS: Final = (bidirectional(), causal(), anticausal(), window(2), strict())
"""The masks under which a kernel is tried, those that it accepts."""


@battery
def check_kernel(kernel: Kernel) -> None:
    """A kernel gives the matrix of its definition under the masks that it accepts, the log diagonal of triangular ones,
    and one clear error under the others.
    """
    for size, mask in itertools.product((1, 2, 5, 9), MASKS_OF_KERNELS):
        queries, keys = queries_and_keys(size, 4, seed=size)
        index = np.arange(size)
        seen = np.broadcast_to(mask.allows(index[:, None], index[None, :]), (size, size))
        refused = refuses(kernel, seen)
        try:
            operator = single(attention(queries, keys, mask=mask, kernel=kernel, empty_rows="zero"))
        except UsageError as reason:
            require(
                refused and reason.code == "RS003",
                f"{kernel.label} refuses {mask.label} at n = {size}, which it says it accepts: {reason}",
            )
            continue
        require(not refused, f"{kernel.label} takes {mask.label} at n = {size}, which it says it does not accept")
        expected, spread = by_definition(kernel, queries, keys, seen)
        close = np.abs(operator.matrix - expected) <= 64 * EPS * (np.abs(expected) + 1) * np.maximum(spread, 1)
        require(close.all(), f"{kernel.label} with {mask.label} at n = {size} is not its definition")
        own = diagonal(operator)
        if own is not None and operator.structure.triangular and (own.sign != 0).all():
            log = np.log(np.abs(np.diagonal(expected)))
            require(np.allclose(own.log, log, rtol=0, atol=1e-9), f"{kernel.label}: wrong log diagonal at n = {size}")


def refuses(kernel: Kernel, seen: Boolean) -> bool:
    """Whether a kernel says that it does not accept this pattern."""
    triangular = (seen == np.tril(np.ones_like(seen))).all() or (seen == np.triu(np.ones_like(seen))).all()
    return not {"any": True, "everything": bool(seen.all()), "triangle": bool(triangular)}[kernel.masks]


def by_definition(kernel: Kernel, queries: Array, keys: Array, seen: Boolean) -> tuple[Array, Array]:
    """The matrix of a kernel from its own functions and the plain formula, and how far sums of each row cancel."""
    size, width = queries.shape
    index, place = np.arange(size), Place(size)
    match kernel:
        case ScoreKernel():
            scores = np.where(seen, queries @ keys.T / math.sqrt(width), -math.inf)
            check_rows(kernel, scores)
            with np.errstate(all="ignore"):
                logs = scores if kernel.log_weight is None else np.asarray(kernel.log_weight(scores))
                weights = np.where(seen, np.exp(logs), 0.0)
            total = weights.sum(axis=1, keepdims=True) + (0.0 if kernel.sink is None else math.exp(kernel.sink))
            if not kernel.divided:
                return weights, np.ones((size, 1))
        case FeatureKernel():
            check_by_token(kernel, queries)
            left = kernel.features(queries, index, place)
            weights = left @ (kernel.keys or kernel.features)(keys, index, place).T * seen
            total = weights.sum(axis=1, keepdims=True)
        case RecurrenceKernel():
            right, gates, erase = (np.broadcast_to(each, keys.shape) for each in kernel.generators(keys, place))
            first = kernel.generators(keys[: size - 1], Place(size - 1)) if size > 1 else ()
            for name, early, each in zip(("writing", "gate", "erasing"), first, (right, gates, erase), strict=False):
                same = np.allclose(np.broadcast_to(early, (size - 1, width)), each[:-1], rtol=16 * EPS, atol=0)
                require(same, f"{kernel.label}: the {name} of a token depends on a later one")
            backward = size > 1 and bool(seen[0, -1])
            given = [(queries / math.sqrt(width)), right, gates, erase]
            ordered = [each[::-1].tolist() if backward else each.tolist() for each in given]
            matrix = np.array(naive.recurrence(*ordered))
            return (matrix[::-1, ::-1] if backward else matrix), np.ones((size, 1)) * max(1.0, np.abs(matrix).max())
    expected = np.divide(weights, total, out=np.zeros_like(weights), where=total != 0)
    return expected, np.abs(weights).sum(axis=1, keepdims=True) / np.where(total == 0, 1, np.abs(total))


def check_rows(kernel: ScoreKernel, scores: Array) -> None:
    """log_weight keeps the shape, gives no NaN and no +∞, and looks at nothing but the scores of one row as a set."""
    if kernel.log_weight is None:
        return
    with np.errstate(all="ignore"):
        whole = np.asarray(kernel.log_weight(scores))
        require(
            whole.shape == scores.shape, f"{kernel.label}: log_weight changed the shape {scores.shape} to {whole.shape}"
        )
        shown = whole[scores > -math.inf]
        require(
            not (np.isnan(shown) | (shown == math.inf)).any(),
            f"{kernel.label}: log_weight is NaN or +∞; −∞ is a weight of zero",
        )
        parts = np.concatenate([np.asarray(kernel.log_weight(scores[[i]])) for i in range(len(scores))])
        order = np.random.default_rng(len(scores)).permutation(scores.shape[1])
        turned = np.empty_like(whole)
        turned[:, order] = kernel.log_weight(scores[:, order])
        tied = np.asarray(kernel.log_weight(np.repeat(scores, 2, axis=1)))
        again = np.asarray(kernel.log_weight(np.repeat(16 * scores, 2, axis=1)))
    for other, what in ((parts, "on other rows"), (turned, "on the order of the keys")):
        same = np.isclose(other, whole, rtol=64 * EPS, atol=64 * EPS) | (scores == -math.inf) | (other == whole)
        require(same.all(), f"{kernel.label}: log_weight depends {what}")
    for even in (tied, again):
        first, second = even[:, ::2][scores > -math.inf], even[:, 1::2][scores > -math.inf]
        require(np.array_equal(first, second), f"{kernel.label}: log_weight is NaN, or tells equal scores apart")


def check_by_token(kernel: FeatureKernel, tokens: Array) -> None:
    """features acts on each token alone, at its place."""
    index, place = np.arange(len(tokens)), Place(len(tokens))
    whole = np.asarray(kernel.features(tokens, index, place))
    require(whole.ndim == 2 and len(whole) == len(tokens), f"{kernel.label}: features gave shape {whole.shape}")
    parts = [np.asarray(kernel.features(tokens[[i]], index[[i]], place)) for i in range(len(tokens))]
    require(
        np.allclose(whole, np.concatenate(parts), rtol=16 * EPS, atol=0),
        f"{kernel.label}: features depend on other tokens",
    )


@battery
def check_position(position: Position) -> None:
    """A position acts alike on arrays and on numbers, place by place, and attention with it is its definition."""
    size, width = 6, 4
    queries, keys = queries_and_keys(size, width, seed=1)
    index, place = np.arange(size), Place(size, head=1, heads=2, seed=3)
    i, j = index[:, None], index[None, :]
    if position.tokens is not None:
        whole = np.asarray(position.tokens(index, width))
        require(whole.shape == (size, width), f"{position.label}: tokens gave the shape {whole.shape}")
        parts = np.concatenate([np.asarray(position.tokens(index[[t]], width)) for t in range(size)])
        require(np.allclose(whole, parts, rtol=8 * EPS), f"{position.label}: tokens depend on other places")
        position = replace(position, tokens=None)
    expected = np.full((size, size), np.nan)
    for piece in position.pieces:
        left, right = queries, keys
        if position.turn is not None:
            left, right = position.turn(queries, piece.query(index)), position.turn(keys, piece.key(index))
            require(left.shape == queries.shape, f"{position.label}: turn changed the shape of the queries")
            alone = [position.turn(queries[[t]], piece.query(index[[t]])) for t in range(size)]
            same = np.allclose(left, np.concatenate(alone), rtol=8 * EPS, atol=8 * EPS)
            require(same, f"{position.label}: turn depends on other tokens")
        where = np.broadcast_to(True if piece.where is None else piece.where(i, j), (size, size))
        expected = np.where(where, left @ right.T / math.sqrt(width), expected)
    require(not np.isnan(expected).any(), f"{position.label}: its pieces leave out a part of the plane")
    if position.bias is not None:
        bias = np.broadcast_to(position.bias(i, j, place), (size, size))
        single_places = [[float(np.squeeze(position.bias(a, b, place))) for b in range(size)] for a in range(size)]
        require(np.allclose(bias, single_places), f"{position.label}: bias differs between arrays and numbers")
        more = np.broadcast_to(position.bias(i, j, replace(place, heads=place.heads)), (size, size))
        require(np.array_equal(bias, more), f"{position.label}: bias is another one when it is asked for again")
        expected = expected + bias
    require(np.isfinite(expected).all(), f"{position.label}: scores are not finite")
    made = attention(queries, keys, position=position, heads=2, origin=Origin(head=1, seed=3))
    weights = np.exp(expected - expected.max(axis=1, keepdims=True))
    found = weights / weights.sum(axis=1, keepdims=True)
    close = np.allclose(single(made).matrix, found, rtol=256 * EPS, atol=0)
    require(close, f"{position.label}: attention is not the softmax of the scores")


def matrices() -> Iterator[tuple[str, Any]]:
    """Matrices that break careless measures: empty, zero, tiny, rectangular, singular, huge, triangular."""
    random = np.random.default_rng(0)
    yield "empty", np.zeros((0, 0))
    yield "no columns", np.zeros((3, 0))
    yield "zero", np.zeros((3, 3))
    yield "one entry", np.array([[0.5]])
    yield "identity", np.eye(4)
    yield "rank one", np.full((4, 4), 0.25)
    yield "rectangular", random.random((3, 5))
    yield "huge", np.full((3, 3), 1e308)
    yield "subnormal", np.full((2, 2), 5e-324)
    yield "signed", random.standard_normal((6, 6))
    yield "lower", np.tril(random.random((6, 6)) + 0.1)
    yield "float16", random.random((5, 5)).astype(np.float16)
    yield "causal", single(attention(*queries_and_keys(12, 3, seed=1), mask="causal"))
    yield "linear", single(attention(*queries_and_keys(12, 3, seed=1), kernel="linear"))


@battery
def check_measure(measure: Measure) -> None:
    """A measure answers for every matrix with a finite number or None with a reason, within its own bounds,
    alike for every memory layout, and can be written as JSON.
    """
    for name, given in matrices():
        operator = single(matrix(given))
        reading = measure.found(Needs(operator))
        for each in (reading.value, reading.low, reading.high):
            require(each is None or math.isfinite(each), f"{measure.name} of the {name} matrix is {each}")
        table = analyze(operator, measures=[measure.name]).table
        require(table.records, f"{measure.name}: no record for the {name} matrix")
        for record in table:
            require(
                record.value is not None or record.because,
                f"{measure.name} of the {name} matrix is null without a reason",
            )
            if record.value is not None:
                inside = (record.low is None or record.low <= record.value) and (
                    record.high is None or record.value <= record.high
                )
                require(
                    inside, f"{measure.name} of the {name} matrix: {record.value} outside [{record.low}, {record.high}]"
                )
        json.loads(table.to_json())
        check_layouts(measure, name, operator)


def check_layouts(measure: Measure, name: str, operator: Operator) -> None:
    """The same numbers in another memory layout give the same record."""
    held = operator.matrix
    first = analyze(np.ascontiguousarray(held), measures=[measure.name]).table.records
    for other in (np.asfortranarray(held), np.repeat(held, 2, axis=0)[::2], held.astype(held.dtype.newbyteorder())):
        again = analyze(other, measures=[measure.name]).table.records
        require(again == first, f"{measure.name} of the {name} matrix depends on the memory layout")
