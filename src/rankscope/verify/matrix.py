"""The exact matrix of some numbers, and the least upper bound of its rank."""

from collections.abc import Iterator
from typing import Any

from rankscope.arrays import Boolean
from rankscope.attention import exact
from rankscope.attention.definition import operator_of
from rankscope.certificates import COMPOSED, Numbers
from rankscope.lazy import cached_property
from rankscope.verify.integers import integer_rank
from rankscope.verify.pattern import blocks, cover, lines, pattern


class Exact:
    """The exact matrix of some numbers, in the forms that proofs need, each made when it is asked for."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self.operator = operator_of(numbers)
        self.shape = numbers.rows, numbers.columns
        self.order = min(self.shape)

    def balls(self) -> Any:
        """Balls around the entries, at the working precision."""
        return exact.balls(self.operator)

    @cached_property
    def pattern(self) -> Boolean:
        """The places where an entry need not be zero."""
        return pattern(self.numbers)

    @cached_property
    def integers(self) -> Any:
        """The rows as integers, each times a number of its own; None where they are not rational."""
        return exact.integers(self.operator)

    @cached_property
    def ceiling(self) -> tuple[int, str]:
        """The least upper bound of the rank that is found here, and why."""
        return ceiling(self)

    @cached_property
    def blocks(self) -> list[list[int]]:
        """Indices of the diagonal blocks of which the determinant is the product."""
        return blocks(self.pattern)


def ceiling(matrix: Exact) -> tuple[int, str]:
    """The least upper bound of the rank, and why; exact for integers.

    The column spaces of k parts whose rows sum to one share the vector of ones, which counts once in that of their
    mean, and of the parts side by side.
    """
    numbers = matrix.numbers
    found = min(bounds(numbers), key=lambda bound: bound[0])
    if numbers.kind in COMPOSED:
        parts = [Exact(part) for part in numbers.parts]
        ranks, shared = [part.ceiling[0] for part in parts], all(normalised(part) for part in parts)
        taken = (min(ranks), "the least rank of its factors")
        added = (
            sum(ranks) - shared * (len(parts) - 1),
            "the sum of the ranks of its parts" + ", which share 1" * shared,
        )
        return min(found, taken if numbers.kind == "product" else added, key=lambda bound: bound[0])
    if matrix.integers is None:
        return found
    rank = integer_rank(matrix.integers, found[0])
    return found if rank == found[0] else (rank, "elimination modulo primes, to Hadamard's bound")


def normalised(matrix: Exact) -> bool:
    """Whether it is certain that every row sums to one: softmax or products divided by sums, and no row is zero.

    Without rows the vector of ones is zero, and counts for nothing.
    """
    if matrix.shape[0] == 0:
        return False
    match matrix.numbers.kind:
        case "softmax" | "shares":
            return bool(matrix.pattern.any(axis=1).all())
        case "products":
            return matrix.integers is not None and all(any(x != 0 for x in row) for row in matrix.integers.tolist())
        case "product" | "mean":
            return all(normalised(Exact(part)) for part in matrix.numbers.parts)
    return False


def bounds(numbers: Numbers) -> Iterator[tuple[int, str]]:
    """Upper bounds of the rank that follow from the numbers without arithmetic."""
    yield min(numbers.rows, numbers.columns), f"a matrix of {numbers.rows} × {numbers.columns}"
    yield cover(pattern(numbers)), "so many rows and columns cover all entries that are not zero"
    yield len(set(lines(numbers, 0))), "the number of different rows"
    yield len(set(lines(numbers, 1))), "the number of different columns"
    if numbers.kind == "products":
        arrays = numbers.arrays or {}
        uniform = arrays["uniform"]
        if arrays["seen"][~uniform].all():
            yield arrays["left"].shape[1] + int(uniform.any()), "the number of features"
