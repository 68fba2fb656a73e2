"""What was proved of one matrix, as the claims of a certificate."""

import math
from collections.abc import Collection, Iterator

from rankscope.analyzer import smallest
from rankscope.analyzer.determinant import LogDet
from rankscope.analyzer.measure import MEASURES
from rankscope.analyzer.needs import Needs
from rankscope.attention.definition import numbers_of
from rankscope.attention.origin import Origin
from rankscope.certificates import Certificate, Claim, Count, Determinant, Minor, Rank, Smallest
from rankscope.records import Reading

SLACK = 1e-9
"""How far the bounds of log₁₀ σ_min are moved outwards, so that another proof need not be as sharp as ours."""


def certificate_of(needs: Needs, measures: Collection[str]) -> Certificate:
    """The certificate of a matrix, with a claim for each of these measures that was proved or enclosed.

    The exact rank is always claimed, as far as it is known.
    """
    return Certificate(named(needs.operator.origin), numbers_of(needs.operator), tuple(claims(needs, measures)))


def named(origin: Origin) -> str:
    """A name by which a reader can find the matrix: label, head size, scale and seed."""
    known = {"d": origin.d, "scale": origin.scale, "seed": origin.seed}
    return ", ".join([origin.label, *(f"{name} {value}" for name, value in known.items() if value is not None)])


def claims(needs: Needs, measures: Collection[str]) -> Iterator[Claim]:
    """The exact rank, and of determinant, numerical rank and smallest singular value what was proved or enclosed."""
    bounds = needs.bounds
    minor = None if bounds.minor is None else Minor(*(tuple(each) for each in bounds.minor))
    yield Rank(bounds.at_least, bounds.at_most, minor)
    if "logdet" in measures:
        yield from determinants(needs.logdet)
    if "rank_numerical" in measures:
        yield from counts(MEASURES["rank_numerical"].function.read(needs))
    if "log10_sigma_min" in measures:
        yield from least(needs.smallest)


def determinants(determinant: LogDet) -> Iterator[Claim]:
    """The claim on a determinant that is proved."""
    if determinant.sign == 0:
        yield Determinant(0)
    elif determinant.sign is not None and determinant.guarantee == "proved":
        yield Determinant(determinant.sign, determinant.low, determinant.high)


def counts(counted: Reading) -> Iterator[Claim]:
    """The claim on a numerical rank that is decided within enclosed values."""
    tolerance = counted.details["tolerance"]
    if counted.guarantee == "enclosed" and counted.value is not None and tolerance:
        yield Count(tolerance, int(counted.value), int(counted.value))


def least(found: smallest.Smallest) -> Iterator[Claim]:
    """The claim on a smallest singular value that is enclosed, a little wider than it is known."""
    if found.low is not None and found.high is not None and found.guarantee == "enclosed":
        slack = SLACK * max(1.0, math.fabs(found.high))
        yield Smallest(found.low - slack, found.high + slack)
