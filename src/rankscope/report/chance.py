"""Whether a number is one that matched random attention shows, too: judged by the seeds that were drawn of it.

A few seeds know their own deviation only roughly. One more draw from the same normal distribution lies within
mean ± t·sd·√(1 + 1/m) with the chance that Student's t with m − 1 degrees of freedom gives; three standard deviations
of ten seeds would call 1 of 53 numbers of chance a finding.
"""

import math
from functools import cache
from typing import Final

from rankscope.records import Record

CHANCE: Final = 0.0027
"""The chance of a number of matched random attention to be called different: that of three known deviations."""


def side_of(record: Record) -> int:
    """1 for a number above matched random attention, −1 for one below, 0 where the seeds do not tell them apart.

    They do not where all agree, nor where the number is a count: neither is normally distributed. The number must lie
    outside by more than its own error.
    """
    count = record.null_count or 0
    if not isinstance(record.value, float) or record.null_mean is None or not record.null_sd or count < 2:
        return 0
    reach = quantile(count - 1) * record.null_sd * math.sqrt(1 + 1 / count)
    away = record.value - record.null_mean
    error = (
        0.0 if record.low is None or record.high is None else max(record.value - record.low, record.high - record.value)
    )
    return 0 if abs(away) <= reach + error else 1 if away > 0 else -1


@cache
def quantile(freedom: int) -> float:
    """Student's t that is exceeded, on either side, with the probability CHANCE."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - CHANCE / 2))
