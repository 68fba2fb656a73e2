"""Small matrices of every kind, and what independent oracles say of them."""

import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import flint
import mpmath
import numpy as np

from rankscope.arrays import STORAGES, rounded
from rankscope.attention.build import attention
from rankscope.attention.definition import numbers_of
from rankscope.attention.existing import matrix, single
from rankscope.attention.operators import Mean, Operator, Product
from rankscope.certificates import Certificate, Claim, Count, Determinant, Numbers, Rank, Smallest, numbers, parse
from rankscope.verify import verify
from tests import oracles
from tests.oracles import Array, Float64


def tokens(size: int, d: int, seed: int = 0, distinct: int | None = None) -> tuple[Float64, Float64]:
    """Queries and keys; the first `distinct` of them over and over."""
    random = np.random.default_rng([7, size, d, seed])
    order = np.arange(size) % (distinct or size)
    return random.standard_normal((size, d))[order], random.standard_normal((size, d))[order]


def attended(size: int, d: int = 4, seed: int = 0, distinct: int | None = None, **options: Any) -> Operator:
    return single(attention(*tokens(size, d, seed, distinct), **options))


def bare(array: Array) -> Operator:
    return single(matrix(array))


def matrices() -> dict[str, Operator]:
    """Small matrices of every kind."""
    random = np.random.default_rng(11)
    full, low = random.standard_normal((7, 7)), random.integers(-9, 10, (9, 3)) @ random.integers(-9, 10, (3, 9))
    strict = np.tril(random.standard_normal((6, 6)), -1)
    hidden = random.random((8, 8)) < 0.5
    return {
        "softmax": attended(8),
        "softmax, d 1": attended(6, 1),
        "causal": attended(10, mask="causal"),
        "anticausal": attended(9, mask="anticausal"),
        "prefix": attended(9, mask="prefix:4"),
        "window": attended(9, mask="window:2"),
        "any mask": attended(8, mask=hidden | np.eye(8, dtype=bool)),
        "strictly causal": attended(6, mask=np.tril(np.ones((6, 6), dtype=bool), -1)),
        "duplicate tokens": attended(9, distinct=5),
        "duplicate tokens, causal": attended(8, distinct=3, mask="causal"),
        "fewer queries": single(attention(tokens(4, 3)[0], tokens(9, 3)[1])),
        "large scores": attended(7, scale=40.0, mask="causal"),
        "linear": attended(9, 3, kernel="linear"),
        "linear, causal": attended(8, 3, kernel="linear", mask="causal"),
        "linear, relu": attended(8, 6, kernel="linear:relu", mask="causal", empty_rows="zero"),
        "linear, uniform rows": attended(6, 3, kernel="linear", empty_rows="uniform", mask=np.tri(6, 6, -1) > 0),
        "float64": bare(full),
        "bfloat16": bare(rounded(random.standard_normal((6, 6)), STORAGES["bfloat16"])),
        "rectangular": bare(random.standard_normal((5, 8))),
        "tall": bare(random.standard_normal((8, 5))),
        "hilbert": bare(oracles.hilbert(8)),
        "integers of rank 3": bare(low.astype(np.float64)),
        "strict triangle": bare(strict),
        "almost singular": bare(np.vstack([full[:6], full[0] + full[1] + 2.0**-40])),
        "identity": bare(np.eye(4)),
        "zero": bare(np.zeros((3, 3))),
        "subnormal": bare(np.array([[5e-324, 0.0, 1.0], [3.0, 1e60, 2.0], [1.0, 1.0, 1.0]])),
        "product": Product((attended(7, mask="anticausal"), attended(7, 4, 1, mask="causal"))),
        "product of low rank": Product((attended(7), bare(low[:7, :7].astype(np.float64)))),
        "mean": Mean((attended(7, mask="anticausal"), attended(7, 4, 1, mask="causal"))),
        "mean of duplicates": Mean((attended(8, distinct=4), attended(8, 4, 1, 4))),
        "mean of low rank": Mean((attended(9, 2, kernel="linear"), attended(9, 3, 1, kernel="linear"))),
        "64 tokens": attended(64, 16, mask="causal"),
    }


@cache
def given() -> dict[str, Numbers]:
    return {name: numbers_of(operator) for name, operator in matrices().items()}


@dataclass(frozen=True)
class Truth:
    """What the oracles say of a matrix; singular values in descending order, as logarithms where they are not zero."""

    rows: int
    columns: int
    rank: int
    sign: int | None
    logdet: float | None
    logs: list[float]

    def holds(self, claim: Claim) -> bool:
        """Whether a claim is true; numbers nearer than 1e-9 to a bound are not asked for."""
        match claim:
            case Rank(low, high):
                return low <= self.rank <= high
            case Count(tolerance, low, high):
                return low <= self.above(tolerance) <= high
            case Smallest(low, high):
                return self.rank == min(self.rows, self.columns) > 0 and low <= self.logs[-1] / math.log(10) <= high
        if self.sign != claim.sign or self.logdet is None:
            return self.sign == claim.sign
        bounds = -math.inf if claim.low is None else claim.low, math.inf if claim.high is None else claim.high
        return bounds[0] <= self.logdet <= bounds[1]

    def above(self, tolerance: float) -> int:
        return sum(log > math.log(tolerance) for log in self.logs) if tolerance else self.rank


def exactly(held: Numbers) -> Any:
    """The exact matrix by the oracles: rational where it can be, balls otherwise."""
    arrays = held.arrays or {}
    parts = [flint.arb_mat(exactly(part)) for part in held.parts]
    match held.kind:
        case "softmax":
            logs = arrays["log_weights"]
            return oracles.softmax(np.where(np.isfinite(logs), logs, 0.0), np.isfinite(logs))
        case "products":
            found = oracles.normalised(arrays["left"], arrays["right"], arrays["seen"])
            for row in np.flatnonzero(arrays["uniform"]).tolist():
                for column in range(held.columns):
                    found[row, column] = flint.fmpq(1, held.columns)
            return found
        case "stored":
            return oracles.rational(arrays["matrix"])
    found = parts[0]
    for part in parts[1:]:
        found = found * part if held.kind == "product" else found + part
    return found if held.kind == "product" else found / len(parts)


def truth(held: Numbers) -> Truth:
    """What the oracles say: by rationals, or by balls of 640 bits in which 1e-90 counts as zero."""
    with oracles.precision(640):
        matrix = exactly(held)
        balls = flint.arb_mat(matrix)
        values = oracles.singular_values_by_mpmath(balls) if held.rows > 12 else gram_values(balls)
        kept = [value for value in values if value > 1e-90]
        rank = int(matrix.rank()) if isinstance(matrix, flint.fmpq_mat) else len(kept)
        logs = sorted((float(value.log()) for value in kept[:rank]), reverse=True)
        if held.rows != held.columns:
            return Truth(held.rows, held.columns, rank, None, None, logs)
        if rank < held.rows:
            return Truth(held.rows, held.columns, rank, 0, None, logs)
        sign, log = oracles.log_determinant(matrix)
        return Truth(held.rows, held.columns, rank, sign, float(log), logs)


def gram_values(balls: Any) -> list[Any]:
    """Singular values as roots of the eigenvalues of AᵀA by mpmath, which have no trouble with multiple ones."""
    gram = balls.transpose() * balls if balls.ncols() <= balls.nrows() else balls * balls.transpose()
    with mpmath.workprec(640):
        held = mpmath.matrix([[oracles.to_mpmath(x) for x in row] for row in gram.tolist()])
        return [oracles.from_mpmath(mpmath.sqrt(abs(x))) for x in mpmath.eigsy(held, eigvals_only=True)]


@cache
def true_of(name: str) -> Truth:
    return truth(given()[name])


def claims_of(truth: Truth) -> list[Claim]:
    """True claims about a matrix."""
    claims: list[Claim] = [Rank(truth.rank, truth.rank), Rank(0, truth.rank), Count(0.0, truth.rank, truth.rank)]
    if truth.sign == 0:
        claims.append(Determinant(0))
    if truth.sign and truth.logdet is not None:
        slack = 1e-9 * (1 + abs(truth.logdet))
        claims += [Determinant(truth.sign, truth.logdet - slack, truth.logdet + slack), Determinant(truth.sign)]
    gaps = [(a, b) for a, b in pairwise(truth.logs) if a - b > 0.05]
    for index in {0, len(gaps) // 2, len(gaps) - 1} if gaps else set():
        tolerance = math.exp((gaps[index][0] + gaps[index][1]) / 2)
        claims.append(Count(tolerance, truth.above(tolerance), truth.above(tolerance)))
    if truth.rank == min(truth.rows, truth.columns) > 0:
        log = truth.logs[-1] / math.log(10)
        claims.append(Smallest(log - 1e-9, log + 1e-9))
    return claims


def verdicts(held: Numbers, *claims: Claim) -> list[str]:
    """What becomes of claims, through the text of a certificate."""
    return [each.verdict for each in verify(parse(Certificate("", held, claims).text()))]


def because(held: Numbers, claim: Claim) -> str:
    (verdict,) = verify(Certificate("", held, (claim,)))
    return f"{verdict.verdict}: {verdict.because}"


def stored(array: Any) -> Numbers:
    return numbers("stored", {"matrix": np.array(array, dtype=np.float64)})
