"""Limits that the heads of a model must keep, for continuous integration: which heads do not, and by how much."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from rankscope.analyzer.analyze import chosen
from rankscope.errors import error
from rankscope.records import Matrix, Record, Table

WRITTEN: Final = re.compile(r"\s*([A-Za-z_0-9-]+)\s*=\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(n?)\s*")
"""A limit as it is typed: `effective_rank=0.02n`."""


@dataclass(frozen=True)
class Limit:
    """The least or the greatest value that a measure may have: a number, or so many times n, the smaller side."""

    measure: str
    side: Literal["min", "max"]
    number: float
    of_n: bool = False

    def __str__(self) -> str:
        sign = "≥" if self.side == "min" else "≤"
        return f"{self.measure} {sign} {self.number:g}{'n' if self.of_n else ''}"

    def at(self, matrix: Matrix) -> float:
        """The limit for one matrix."""
        return self.number * min(matrix.rows, matrix.columns) if self.of_n else self.number


@dataclass(frozen=True)
class Failure:
    """A head that does not keep a limit, or of which it is not known."""

    matrix: Matrix
    record: Record
    limit: Limit

    def __str__(self) -> str:
        bound, value = self.limit.at(self.matrix), self.record.value
        of_n = f" ({self.limit.number:g}n)" if self.limit.of_n else ""
        if value is None:
            return f"{self.matrix.label}: {self.record.measure} is not known ({self.record.because})"
        sign = "<" if self.limit.side == "min" else ">"
        return f"{self.matrix.label}: {self.record.measure} {value:.6g} {sign} {bound:g}{of_n}"


def limit(text: str, side: Literal["min", "max"]) -> Limit:
    """A limit as it is typed.

    >>> str(limit("effective_rank=0.02n", "min"))
    'effective_rank ≥ 0.02n'
    """
    found = WRITTEN.fullmatch(text)
    if found is None or not math.isfinite(float(found[2])):
        raise error("RS002", f"--{side} {text}", "write a measure and a number: effective_rank=0.02n, max_logit=50")
    [measure] = chosen((found[1],))
    return Limit(measure.name, side, float(found[2]), bool(found[3]))


def failures(table: Table, limits: Sequence[Limit]) -> Iterator[Failure]:
    """The heads that do not keep a limit, matrix by matrix; one that is not known is not kept.

    A measure that is only bounded keeps a limit where its bound does.

    >>> import rankscope as rs
    >>> result = rs.analyze([[1.0, 0.0], [0.5, 0.5]])
    >>> [str(each) for each in failures(result.table, [limit("rank_exact=3", "min")])]
    ['array: rank_exact 2 < 3']
    """
    for matrix in table.matrices:
        for record in table.of(matrix):
            for each in limits:
                if record.measure == each.measure and not keeps(record, each, each.at(matrix)):
                    yield Failure(matrix, record, each)


def with_limits(table: Table, limits: Sequence[Limit], found: Sequence[Failure]) -> Table:
    """The table that says which limits were set, and which heads do not keep them."""
    failed = [
        {"label": each.matrix.label, "layer": each.record.layer, "head": each.record.head,
         "measure": each.record.measure, "value": each.record.value, "limit": each.limit.at(each.matrix)}
        for each in found
    ]  # fmt: skip
    return replace(table, study={**table.study, "limits": [str(each) for each in limits], "failures": failed})


def keeps(record: Record, of: Limit, bound: float) -> bool:
    """Whether a record keeps a limit, as far as is known."""
    known = record.value if record.value is not None else record.low if of.side == "min" else record.high
    if known is None:
        return False
    return known >= bound if of.side == "min" else known <= bound
