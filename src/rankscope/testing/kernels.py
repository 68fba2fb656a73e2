"""The battery of kernels."""

import itertools
import math
from typing import Final

import numpy as np

from rankscope.arrays import EPS, Array, Boolean
from rankscope.attention import naive
from rankscope.attention.build import attention
from rankscope.attention.diagonal import diagonal
from rankscope.attention.existing import single
from rankscope.attention.kernels import FeatureKernel, Kernel, RecurrenceKernel, ScoreKernel
from rankscope.attention.masks import anticausal, bidirectional, causal, strict, window
from rankscope.attention.positions import Place
from rankscope.errors import UsageError
from rankscope.generators.synthetic import queries_and_keys
from rankscope.testing.battery import battery, require

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
