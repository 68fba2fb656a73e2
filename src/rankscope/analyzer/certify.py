"""What was proved of one matrix, as the claims of a certificate."""

import math
from collections.abc import Iterator

from rankscope.analyzer.measure import MEASURES
from rankscope.analyzer.needs import Needs
from rankscope.attention.definition import numbers_of
from rankscope.certificates import Certificate, Claim, Count, Determinant, Minor, Rank, Smallest

SLACK = 1e-9
"""How far the bounds of log₁₀ σ_min are moved outwards, so that another proof need not be as sharp as ours."""


def certificate_of(needs: Needs) -> Certificate:
    """The certificate of a matrix of which everything that can be proved has been proved."""
    return Certificate(needs.operator.origin.label, numbers_of(needs.operator), tuple(claims(needs)))


def claims(needs: Needs) -> Iterator[Claim]:
    """The exact rank, and of determinant, numerical rank and smallest singular value what was proved or enclosed."""
    bounds, determinant, smallest = needs.bounds, needs.logdet, needs.smallest
    minor = None if bounds.minor is None else Minor(*(tuple(each) for each in bounds.minor))
    yield Rank(bounds.at_least, bounds.at_most, minor)
    if determinant.sign == 0:
        yield Determinant(0)
    elif determinant.sign is not None and determinant.guarantee == "proved":
        yield Determinant(determinant.sign, determinant.low, determinant.high)
    counted = MEASURES["rank_numerical"].function.read(needs)
    tolerance = counted.details["tolerance"]
    if counted.guarantee == "enclosed" and counted.value is not None and tolerance:
        yield Count(tolerance, int(counted.value), int(counted.value))
    known = smallest.low is not None and smallest.high is not None
    if known and smallest.guarantee == "enclosed":
        assert smallest.low is not None
        assert smallest.high is not None
        slack = SLACK * max(1.0, math.fabs(smallest.high))
        yield Smallest(smallest.low - slack, smallest.high + slack)
