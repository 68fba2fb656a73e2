"""One measure over the sizes and the scale of matrices: what figures of scaling need to know, read from a `Table`.

Means and products over heads and layers are left out: they are no further samples of what is varied. Nothing here
draws, but for the ticks of an axis.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from rankscope.errors import error
from rankscope.records import Matrix, Record, Table
from rankscope.report.cells import parted
from rankscope.report.figures._text import Entry, remark

DEFAULT: Final = "effective_rank"
VARIED: Final = ("n", "d", "scale")
WIDE: Final = 8.0  # from this ratio of the greatest to the least on, an axis is logarithmic
ALIKE: Final = 1.05  # by how much steps may differ and still count as one
APART: Final = 0.055  # the part of an axis by which ticks must differ


@dataclass(frozen=True)
class Sample:
    """A measure of one matrix; `kind` says in words what made the matrix, but for its sizes, its scale and its seed."""

    matrix: Matrix
    record: Record
    kind: str

    @property
    def sizes(self) -> dict[str, float | None]:
        """What may be varied: the number of keys, the head size, the scale of the scores."""
        return {"n": self.matrix.columns, "d": self.matrix.d, "scale": self.matrix.scale}

    @property
    def order(self) -> int:
        """Full rank: of a block beside the diagonal half that of the matrix."""
        size = min(self.matrix.rows, self.matrix.columns)
        return size // 2 if self.record.measure == "offdiagonal_rank" else size

    @property
    def value(self) -> float | None:
        """The value of the measure, if it is known."""
        return None if self.record.value is None else float(self.record.value)


def samples_of(table: Table, measure: str) -> list[Sample]:
    """The matrices with the first of their records of a measure, but for those that are made of others or refused."""
    records = {record.matrix: record for record in reversed(table.records) if record.measure == measure}
    usable = {number for number, record in records.items() if record.over is None and record.status == "ok"}
    matrices = [each for each in table.matrices if each.id in usable]
    several = len({matrix.dtype for matrix in matrices}) > 1
    return [Sample(each, records[each.id], kind_of(each, dtype=several)) for each in matrices]


def kind_of(matrix: Matrix, *, dtype: bool) -> str:
    """What made a matrix, in words: mask, kernel, position, ensemble and plan, or else its source."""
    plan = f"plan {matrix.plan}" if matrix.plan not in (None, "uniform") else None
    words = [plan or matrix.mask, matrix.kernel, matrix.position, matrix.ensemble]
    made = " ".join(word for word in words if word) or matrix.source or "matrices"
    return f"{made} {matrix.dtype}" if dtype else made


def needed(table: Table, figure: str, measure: str) -> list[Sample]:
    """The samples of a measure, or why there are none.

    Raises:
        UsageError: RS003, a study of depth, or a result without this measure.
    """
    if table.over_depth:
        raise error("RS003", f"the figure '{figure}' of a study of depth", "take the figure collapse")
    found = samples_of(table, measure)
    if not found:
        known = list(dict.fromkeys(record.measure for record in table if record.over is None))
        remedy = f"add -m {measure}" + (f", or take one of {', '.join(known)}" if known else "")
        raise error("RS003", f"the figure '{figure}' of a result without {measure or 'a measure'}", remedy)
    return found


def measure_shown(table: Table) -> str:
    """The measure that a report shows of a table: the usual one, or else the first that was taken of matrices."""
    names = list(dict.fromkeys(record.measure for record in table if record.over is None))
    return DEFAULT if DEFAULT in names or not names else names[0]


def named(figure: str, measure: str) -> str:
    """A figure with its value, unless that is the usual one."""
    return figure if measure == DEFAULT else f"{figure}:{measure}"


def varied(samples: Sequence[Sample]) -> dict[str, list[float]]:
    """The values of what is varied, in ascending order, where there are at least two."""
    found = {name: {value for each in samples if (value := each.sizes[name]) is not None} for name in VARIED}
    return {name: sorted(values) for name, values in found.items() if len(values) > 1}


def short_kinds(samples: Sequence[Sample]) -> tuple[str, dict[str, str]]:
    """The words that all kinds share, and what is left of each."""
    kinds = list(dict.fromkeys(each.kind for each in samples))
    if len(kinds) == 1:
        return kinds[0], {kinds[0]: ""}
    common, rests = parted(kinds)
    return common, dict(zip(kinds, rests, strict=True))


def is_rank(samples: Sequence[Sample]) -> bool:
    """Whether the measure counts dimensions, so that it can be compared with full rank."""
    record = samples[0].record
    return record.group == "rank" or record.measure.startswith("rank_")


def agreed_sizes(samples: Sequence[Sample], left_out: Sequence[str] = ()) -> str:
    """The sizes that all have in common."""
    found = []
    for name in VARIED:
        values = {each.sizes[name] for each in samples}
        if len(values) == 1 and None not in values and name not in left_out:
            found.append(f"{name} = {values.pop():g}")
    return " · ".join(found)


def seeds_among(samples: Sequence[Sample]) -> str:
    """`seed 0`, or how many there are."""
    seeds = {each.record.seed for each in samples} - {None}
    return f"{len(seeds)} seeds" if len(seeds) > 1 else "".join(f"seed {seed}" for seed in seeds)


def left_out(table: Table, measure: str) -> list[Entry]:
    """Remarks on the matrices that were refused, and on the means and products."""
    own = [record for record in table if record.measure == measure]
    refused = {record.matrix for record in own if record.status != "ok"}
    made = {record.matrix for record in own if record.over is not None} - refused
    entries = [remark(f"{len(refused)} matrices were refused")] if refused else []
    return entries + ([remark(f"{len(made)} means and products of matrices are not shown")] if made else [])


def is_wide(values: Sequence[float]) -> bool:
    """Whether values reach so far that they need a logarithmic axis."""
    return min(values) > 0 and max(values) >= WIDE * min(values)


def is_geometric(values: Sequence[float]) -> bool:
    """Whether values in ascending order are spaced for a logarithmic axis: they reach far or grow by one ratio."""
    if values[0] <= 0:
        return False
    steps = [after - before for before, after in pairwise(values)]
    ratios = [after / before for before, after in pairwise(values)]
    if len(values) > 2 and max(steps) <= ALIKE * min(steps):
        return False
    return is_wide(values) or (len(values) > 2 and max(ratios) <= ALIKE * min(ratios))


def set_ticks(axis: Axis, values: Sequence[float], *, log: bool) -> None:
    """Ticks at the values themselves, as far as their labels have room."""
    places = [math.log(value) if log else value for value in values]
    room = APART * (places[-1] - places[0])
    kept = [0]
    for number in range(1, len(values)):
        if places[number] - places[kept[-1]] >= room:
            kept.append(number)
    axis.set_major_locator(FixedLocator([values[number] for number in kept]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value == round(value) else f"{value:.3g}"))
    axis.set_minor_locator(NullLocator())
