"""Certificates checked by mathematics: a proof of one's own for every claim, from the certificate's numbers alone.

Nothing here is shared with what makes certificates, and nothing in a certificate is believed. The exact matrix stands
in integers or in balls (`attention.exact`), and the precision of the balls is doubled until a statement is decided.

- Rank, from above: a set of rows and columns that cover all entries (König), different rows and columns, factors, and
  elimination modulo primes whose product exceeds Hadamard's bound of the next minors. From below: a minor that is not
  zero.
- Determinant: the product of those of the diagonal blocks of the zero pattern.
- Number of singular values above τ: that of the positive eigenvalues of AᵀA − τ²I. For any V with VᵀMV nonsingular, M
  has as many as VᵀMV (Sylvester), which block elimination counts (Haynsworth): those of P and of S − RP⁻¹Q. V from
  LAPACK makes VᵀMV nearly diagonal; a bad V costs precision, never truth.
- Smallest singular value: 1/‖X‖₂ with X = A⁻¹ in balls, compared with a bound by the same count.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, singledispatch
from itertools import count
from typing import Any, Final, Literal

import numpy as np

from rankscope.arrays import Array, Boolean, Float64
from rankscope.attention import exact
from rankscope.attention.definition import operator_of
from rankscope.certificates import Certificate, Claim, Count, Determinant, Minor, Numbers, Rank, Smallest

BITS: Final = tuple(2**k for k in range(6, 14))
"""The precisions that are tried in turn, 64 to 8192."""

FIRST_PRIME: Final = 2**63 - 25
"""Where the search for primes begins; FLINT eliminates modulo anything below 2^64."""

Finding = Literal["verified", "refuted", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """What became of one claim, and why."""

    claim: Claim
    verdict: Finding
    because: str


def verify(certificate: Certificate, arrays: dict[str, Array] | None = None) -> list[Verdict]:
    """A verdict on every claim of a certificate; `arrays` by name where the certificate holds digests only (RS210).

    >>> from rankscope.certificates import numbers
    >>> given = Certificate("identity", numbers("stored", {"matrix": np.eye(2)}), (Rank(2, 2), Determinant(-1)))
    >>> [verdict.verdict for verdict in verify(given)]
    ['verified', 'refuted']
    """
    matrix = Exact(certificate.matrix if arrays is None else certificate.matrix.filled(arrays))
    return [Verdict(claim, *checked(claim, matrix)) for claim in certificate.claims]


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


@singledispatch
def checked(claim: Claim, matrix: Exact) -> tuple[Finding, str]:
    """The verdict on one claim, and why."""
    raise TypeError(f"no rule for {type(claim).__name__}")


# ---------------------------------------------------------------------------------------------------------------- rank


@checked.register
def _(claim: Rank, matrix: Exact) -> tuple[Finding, str]:
    high, why = matrix.ceiling
    if claim.low > claim.high:
        return "refuted", "the interval is empty"
    if high < claim.low:
        return "refuted", f"the rank is at most {high}: {why}"
    order = claim.low if high <= claim.high else max(claim.high + 1, 0)
    how = minor_not_zero(matrix, order, claim.minor)
    if high <= claim.high and how:
        return "verified", f"at most {high}: {why}; at least {order}: {how}"
    if high > claim.high and how:
        return "refuted", f"the rank is at least {order}: {how}"
    return "undecided", f"at most {high}: {why}; no minor of order {order} was shown to differ from zero"


def ceiling(matrix: Exact) -> tuple[int, str]:
    """The least upper bound of the rank, and why; exact for integers.

    The column spaces of k parts whose rows sum to one share the vector of ones, which counts once in that of the mean.
    """
    numbers = matrix.numbers
    found = min(bounds(numbers), key=lambda bound: bound[0])
    if numbers.kind in ("product", "mean"):
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
    """Whether it is certain that every row sums to one: softmax or products divided by sums, and no row is zero."""
    match matrix.numbers.kind:
        case "softmax":
            return bool(matrix.pattern.any(axis=1).all())
        case "products":
            return matrix.integers is not None and all(any(x != 0 for x in row) for row in matrix.integers.tolist())
        case "stored":
            return False
    return all(normalised(Exact(part)) for part in matrix.numbers.parts)


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


def pattern(numbers: Numbers) -> Boolean:
    """The places where an entry need not be zero."""
    arrays = numbers.arrays or {}
    parts = [pattern(part) for part in numbers.parts]
    match numbers.kind:
        case "softmax":
            return np.asarray(arrays["log_weights"] > -np.inf)
        case "products":
            left, right = ((arrays[name] != 0).astype(np.float64) for name in ("left", "right"))
            return np.asarray(((left @ right.T > 0) & arrays["seen"]) | arrays["uniform"][:, None])
        case "stored":
            return np.asarray(arrays["matrix"] != 0)
        case "product":
            found = parts[0]
            for part in parts[1:]:
                found = found.astype(np.float64) @ part.astype(np.float64) > 0
            return found
    return np.asarray(np.any(parts, axis=0))


def cover(pattern: Boolean) -> int:
    """How many rows and columns cover every place of the pattern: the rank of any matrix on it is at most that.

    Rows reached from one that a matching leaves alone are covered through their columns, the others by themselves
    (König). Whatever the matching, this is a cover; it is the least one if the matching is the largest.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    if not pattern.any():
        return 0
    partner = maximum_bipartite_matching(csr_array(pattern), perm_type="column")
    rows = partner < 0
    while True:
        columns = pattern[rows].any(axis=0)
        reached = rows | np.isin(partner, np.flatnonzero(columns))
        if np.array_equal(reached, rows):
            return int(np.count_nonzero(~rows) + np.count_nonzero(columns))
        rows = reached


def lines(numbers: Numbers, axis: int) -> list[bytes]:
    """For each row (axis 0) or column (axis 1) bytes that determine it: equal bytes, equal lines."""
    arrays = numbers.arrays or {}
    match numbers.kind:
        case "product":
            return lines(numbers.parts[-axis], axis)
        case "mean":
            return [b"".join(each) for each in zip(*(lines(part, axis) for part in numbers.parts), strict=True)]
        case "products":
            own = [arrays["left"] + 0.0, arrays["seen"], arrays["uniform"][:, None]]
            held = own if axis == 0 else [arrays["right"] + 0.0, arrays["seen"].T]
        case _:
            (array,) = arrays.values()
            held = [array + 0.0 if axis == 0 else array.T + 0.0]
    return [b"".join(np.ascontiguousarray(row).tobytes() for row in rows) for rows in zip(*held, strict=True)]


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


def minor_not_zero(matrix: Exact, order: int, hint: Minor | None) -> str:
    """Why the rank is at least `order`; empty if that is not shown."""
    if order <= 0:
        return "any matrix"
    if order > matrix.order:
        return ""
    if matrix.integers is not None:
        return "modulo a prime" if integer_rank(matrix.integers, order) >= order else ""
    if matrix.shape == (order, order):
        return next((f"determinant not zero at {bits} bits" for bits, _, _ in determinants(matrix)), "")
    return minor_shown(matrix, order, hint)


def minor_shown(matrix: Exact, order: int, hint: Minor | None) -> str:
    """At which precision a minor, the hinted one or one that QR with pivots chooses, differs from zero."""
    offered = [hint] if hint is not None and len(hint.rows) >= order else []
    for bits in BITS:
        with exact.precision(bits):
            held = matrix.balls()
            if bits == BITS[0]:
                offered.append(chosen(floats(held), order))
            for number, minor in enumerate(offered):
                if sign(taken(held, minor.rows, minor.columns).det()):
                    return f"{'hinted' if number < len(offered) - 1 else 'chosen'} minor not zero at {bits} bits"
    return ""


def chosen(matrix: Float64, order: int) -> Minor:
    """Columns that are far from dependent, and then rows of these, by QR with column pivots."""
    from scipy.linalg import qr

    columns = qr(matrix, mode="r", pivoting=True)[1][:order]
    rows = qr(matrix[:, columns].T, mode="r", pivoting=True)[1][:order]
    return Minor(tuple(sorted(rows.tolist())), tuple(sorted(columns.tolist())))


# --------------------------------------------------------------------------------------------------------- determinant


@checked.register
def _(claim: Determinant, matrix: Exact) -> tuple[Finding, str]:
    low, high = claim.low, claim.high
    if matrix.shape[0] != matrix.shape[1]:
        return "refuted", f"a matrix of {matrix.shape[0]} × {matrix.shape[1]} has no determinant"
    if low is not None and high is not None and low > high:
        return "refuted", "the interval is empty"
    rank, why = matrix.ceiling
    if rank < matrix.order:
        return ("refuted" if claim.sign else "verified"), f"singular: the rank is at most {rank}: {why}"
    for bits, found, log in determinants(matrix):
        if found != claim.sign:
            return "refuted", f"the sign of the determinant is {found:+d} at {bits} bits"
        if (low is None or log >= low) and (high is None or log <= high):
            return "verified", f"ln|det| = {shown(log)} at {bits} bits, over {len(matrix.blocks)} diagonal blocks"
        if (low is not None and log < low) or (high is not None and log > high):
            return "refuted", f"ln|det| = {shown(log)} at {bits} bits"
    return "undecided", f"{BITS[-1]} bits do not separate the determinant from zero, or from the bound"


def determinants(matrix: Exact) -> Iterator[tuple[int, int, Any]]:
    """For each precision that tells the determinant from zero: its bits, the sign, and a ball around ln|det|."""
    import flint

    for bits in BITS:
        with exact.precision(bits):
            held = matrix.balls()
            found = [taken(held, indices, indices).det() for indices in matrix.blocks]
            log = sum((abs(each).log() for each in found), flint.arb(0))
        if all(sign(each) for each in found):
            yield bits, math.prod(sign(each) for each in found), log


def blocks(pattern: Boolean) -> list[list[int]]:
    """The strongly connected components of a square pattern, in an order that makes it block lower triangular.

    That it does is looked at, and one block is taken where it does not.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    size = len(pattern)
    labels = connected_components(csr_array(pattern), connection="strong")[1] if size else np.zeros(0, dtype=np.intp)
    rows, columns = np.nonzero(pattern)
    found = [np.flatnonzero(labels == label).tolist() for label in range(int(labels.max(initial=-1)) + 1)]
    if (labels[rows] >= labels[columns]).all():
        return found
    return found[::-1] if (labels[rows] <= labels[columns]).all() else [list(range(size))]


# ----------------------------------------------------------------------------------------------------- singular values


@checked.register
def _(claim: Count, matrix: Exact) -> tuple[Finding, str]:
    import flint

    if claim.low > claim.high:
        return "refuted", "the interval is empty"
    if claim.tolerance == 0:
        return checked(Rank(claim.low, claim.high), matrix)
    for bits in BITS:
        with exact.precision(bits):
            found = above(matrix.balls(), flint.arb(claim.tolerance))
        if found is not None:
            fits = claim.low <= found <= claim.high
            return ("verified" if fits else "refuted"), f"{found} singular values are larger, by inertia at {bits} bits"
    return "undecided", f"{BITS[-1]} bits do not tell a singular value from the tolerance"


@checked.register
def _(claim: Smallest, matrix: Exact) -> tuple[Finding, str]:
    if claim.low > claim.high:
        return "refuted", "the interval is empty"
    if matrix.order == 0:
        return "refuted", "an empty matrix has no singular values"
    rank, why = matrix.ceiling
    if rank < matrix.order:
        return "refuted", f"singular: the rank is at most {rank}: {why}"
    above_low, below_high = exceeds(matrix, claim.low), exceeds(matrix, claim.high)
    if above_low is False or below_high is True:
        bound, side = (claim.low, "below") if above_low is False else (claim.high, "above")
        return "refuted", f"σ_min is {side} 10^{bound:.17g}"
    if above_low is None or below_high is None:
        return "undecided", f"{BITS[-1]} bits do not tell σ_min from a bound"
    return "verified", "1/σ_min = ‖A⁻¹‖₂ lies between the bounds, by inertia"


def exceeds(matrix: Exact, exponent: float) -> bool | None:
    """Whether σ_min > 10^exponent; None if no precision decides."""
    import flint

    for bits in BITS:
        with exact.precision(bits):
            held, bound = matrix.balls(), flint.arb(10) ** flint.arb(exponent)
            if matrix.shape[0] != matrix.shape[1]:
                found = above(held, bound)
                if found is not None:
                    return found == matrix.order
                continue
            inverse = inverted(held, matrix.blocks)
            found = None if inverse is None else above(inverse, 1 / bound)
            if found is not None:
                return found == 0
    return None


def inverted(matrix: Any, blocks: Sequence[Sequence[int]]) -> Any:
    """The inverse of a square matrix of balls, its rows and columns in the order of its blocks; None if not found."""
    order = [index for block in blocks for index in block]
    with suppress(ZeroDivisionError):
        return of_triangle(taken(matrix, order, order), [len(block) for block in blocks])
    return None


def of_triangle(matrix: Any, sizes: list[int]) -> Any:
    """The inverse of a block lower triangular matrix: [[P, 0], [R, S]]⁻¹ = [[P⁻¹, 0], [−S⁻¹RP⁻¹, S⁻¹]]."""
    size = sum(sizes)
    if size <= 8 or len(sizes) == 1:
        return matrix.inv()
    half = len(sizes) // 2
    cut = sum(sizes[:half])
    (head, _), (rest, tail) = quarters(matrix, cut)
    first, last = of_triangle(head, sizes[:half]), of_triangle(tail, sizes[half:])
    below = (-(last * (rest * first))).tolist()
    rows = [row + [0] * (size - cut) for row in first.tolist()]
    return exact.matrix_of(rows + [a + b for a, b in zip(below, last.tolist(), strict=True)], (size, size))


def above(matrix: Any, bound: Any) -> int | None:
    """How many singular values of a matrix of balls exceed a positive bound; None if the precision does not tell."""
    tall = matrix if matrix.nrows() >= matrix.ncols() else matrix.transpose()
    if tall.ncols() == 0:
        return 0
    if not all(entry.is_finite() for entry in tall.entries()):
        return None
    basis = exact.exact_matrix(vectors(floats(tall)))
    turned = tall * basis
    return positive(turned.transpose() * turned - basis.transpose() * basis * (bound * bound))


def positive(matrix: Any) -> int | None:
    """How many eigenvalues of a nonsingular symmetric matrix of balls are positive (Haynsworth); None if not shown."""
    if matrix.nrows() == 1:
        found = sign(matrix[0, 0])
        return int(found > 0) if found else None
    (head, right), (left, tail) = quarters(matrix, matrix.nrows() // 2)
    first = positive(head)
    if first is None:
        return None
    try:
        rest = tail - left * head.solve(right)
    except ZeroDivisionError:
        return None
    second = positive(rest)
    return None if second is None else first + second


def vectors(matrix: Float64) -> Float64:
    """The right singular vectors of a tall matrix as LAPACK gives them, or the unit vectors where it does not."""
    try:
        return np.ascontiguousarray(np.linalg.svd(matrix, full_matrices=False)[2].T)
    except np.linalg.LinAlgError:
        return np.eye(matrix.shape[1])


# --------------------------------------------------------------------------------------------------------------- balls


def sign(ball: Any) -> int:
    """The sign of a ball that does not contain zero; 0 for one that may."""
    return int(ball > 0) - int(ball < 0)


def taken(matrix: Any, rows: Sequence[int], columns: Sequence[int]) -> Any:
    """A submatrix of balls."""
    if list(rows) == list(range(matrix.nrows())) and list(columns) == list(range(matrix.ncols())):
        return matrix
    return exact.matrix_of([[matrix[i, j] for j in columns] for i in rows], (len(rows), len(columns)))


def quarters(matrix: Any, cut: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The four blocks of a square matrix, cut after `cut` rows and columns."""
    size, rows = matrix.nrows(), matrix.tolist()

    def block(some: list[list[Any]], part: slice, shape: tuple[int, int]) -> Any:
        return exact.matrix_of([row[part] for row in some], shape)

    start, end, rest = slice(cut), slice(cut, size), size - cut
    upper = block(rows[:cut], start, (cut, cut)), block(rows[:cut], end, (cut, rest))
    return upper, (block(rows[cut:], start, (rest, cut)), block(rows[cut:], end, (rest, rest)))


def floats(matrix: Any) -> Float64:
    """The midpoints of finite balls over the largest of them, as float64: a hint, and nothing more."""
    import flint

    middle = matrix.mid()
    exponents = [int(x.man_exp()[0]).bit_length() + int(x.man_exp()[1]) for x in middle.entries() if not x.is_zero()]
    scaled = middle * (flint.arb(2) ** -max(exponents, default=0))
    return np.array([float(x) for x in scaled.entries()]).reshape(matrix.nrows(), matrix.ncols())


def shown(ball: Any) -> str:
    """A ball in twelve digits."""
    return str(ball.str(12, radius=False)).replace("-", "−")
