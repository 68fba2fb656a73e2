"""The rank of a matrix of integers, by elimination modulo primes."""

import math
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

FIRST_PRIME: Final = 2**63 - 25
"""Where the search for primes begins; FLINT eliminates modulo anything below 2^64."""


def integer_rank(matrix: Any, enough: int) -> int:
    """The rank of an `fmpz_mat`, or a lower bound of it that reaches `enough`.

    It is at least the rank modulo any prime. A minor of the next order that vanishes modulo primes whose product is
    larger than the product of the lengths of the longest rows is zero (Hadamard).
    """
    import flint

    squares = sorted((sum(int(x) ** 2 for x in row) for row in matrix.tolist()), reverse=True)
    rank, product = 0, 1
    for prime in primes():
        rank = max(rank, int(flint.nmod_mat(matrix, prime).rank()))
        product *= prime
        if rank >= enough or product**2 > math.prod(squares[: rank + 1]):
            break
    return rank


def primes() -> Iterator[int]:
    """Proved primes in descending order."""
    import flint

    return (candidate for candidate in count(FIRST_PRIME, -2) if flint.fmpz(candidate).is_prime())
