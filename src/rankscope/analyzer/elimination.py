"""Exact rank over the integers, by elimination modulo primes.

The rank modulo any prime is at most the exact rank, and a minor of order r + 1 that is zero modulo primes whose product
exceeds its largest possible value (Hadamard) is zero. So one prime proves a lower bound, and enough of them the upper
bound, whatever the condition of the matrix.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

FIRST_PRIME: Final = 2**62 - 57
"""Where the search for primes begins; FLINT eliminates modulo anything below 2^64."""


@dataclass(frozen=True)
class ExactRank:
    """What elimination proved: low ≤ rank ≤ high, with the prime of the lower bound and how many the upper took."""

    low: int
    high: int
    prime: int
    primes: int


def primes() -> Iterator[int]:
    """Proved primes in descending order."""
    import flint

    candidate = FIRST_PRIME
    while True:
        if flint.fmpz(candidate).is_prime():
            yield candidate
        candidate -= 2


def exact_rank(matrix: Any, bound: int, affordable: Callable[[int], bool] = lambda primes: True) -> ExactRank:
    """The rank of an `fmpz_mat` of which `bound` is a proved upper bound.

    `affordable` is asked whether so many eliminations may be made when one is not enough; if not, only the lower bound
    and `bound` come back.

    >>> import flint
    >>> exact_rank(flint.fmpz_mat([[1, 2, 3], [2, 4, 6], [1, 1, 1]]), 3)
    ExactRank(low=2, high=2, prime=4611686018427387847, primes=1)
    """
    import flint

    offered = primes()
    prime = next(offered)
    low, best = int(flint.nmod_mat(matrix, prime).rank()), prime
    product, used = prime, 1
    while low < bound:
        limit = 2 ** minor_bits(matrix, low + 1)
        needed = (limit.bit_length() - product.bit_length()) // (FIRST_PRIME.bit_length() - 1) + 1
        if needed > 0 and used == 1 and not affordable(needed):
            return ExactRank(low, bound, best, used)
        raised = False
        while product <= limit and not raised:
            prime = next(offered)
            found = int(flint.nmod_mat(matrix, prime).rank())
            product, used = product * prime, used + 1
            if found > low:
                low, best, raised = found, prime, True
        if not raised:
            return ExactRank(low, low, best, used)
    return ExactRank(low, bound, best, used)


def minor_bits(matrix: Any, order: int) -> int:
    """An exponent b with |every minor of this order| ≤ 2^b, from the longest rows or columns (Hadamard)."""
    bits = min(
        sum(sorted((length_bits(line) for line in lines), reverse=True)[:order])
        for lines in (matrix.tolist(), matrix.transpose().tolist())
    )
    return (bits + 1) // 2


def length_bits(line: list[Any]) -> int:
    """An exponent b with ‖line‖² ≤ 2^b."""
    return int(sum(int(x) ** 2 for x in line)).bit_length()
