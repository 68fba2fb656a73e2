"""Spectra as curves: what a figure of singular values needs to know, read from a `Table`.

Here is decided what counts as data, as noise and as zero, so that every figure of singular values agrees on it.
Nothing here draws.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankscope.records import Matrix, Record, Series, Table

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """One spectrum, divided by its largest value; `bounds` are the error bounds on the same scale."""

    matrix: Matrix
    series: Series
    values: Array
    bounds: Array
    largest: float
    rank: Record | None
    log_least: Record | None

    @property
    def index(self) -> Array:
        """The place of each value, counted from 1."""
        return np.arange(1.0, len(self.values) + 1)

    @property
    def zero(self) -> Flags:
        """Values that are exactly zero."""
        exact: Flags = (self.values == 0) & (self.bounds == 0)
        return exact

    @property
    def data(self) -> Flags:
        """Values that exceed the bound of their own error."""
        return self.values > self.bounds

    @property
    def noise(self) -> Flags:
        """Values that do not: all that is known of them is that they are small."""
        return ~self.data & ~self.zero

    @property
    def floor(self) -> float:
        """The height of the noise: the largest bound of a value in it, else the bound of the smallest value."""
        among = self.bounds[self.noise] if self.noise.any() else self.bounds[self.data][-1:]
        return float(among.max())

    @property
    def order(self) -> int:
        """How many singular values the matrix has."""
        return max(min(self.matrix.rows, self.matrix.columns), len(self.values))

    @property
    def tolerance(self) -> float | None:
        """The tolerance of the numerical rank, on the scale of the curve."""
        given = self.rank.details.get("tolerance") if self.rank else None
        return float(given) / self.largest if isinstance(given, int | float) and given > 0 else None

    @property
    def rule(self) -> str:
        """The name of the rule that set the tolerance."""
        return str(self.rank.details.get("rule", "")) if self.rank else ""

    @property
    def log_hidden(self) -> float | None:
        """log10 of the true smallest value, where that lies in the noise."""
        value = self.log_least.value if self.log_least else None
        if value is None or not self.floor or value - math.log10(self.largest) >= math.log10(self.floor):
            return None
        return float(value)


def spectra_of(table: Table) -> list[Series]:
    """The series of `table` that are spectra."""
    return [series for series in table.series if series.name == "singular_values"]


def curves_of(table: Table) -> list[Curve]:
    """The spectra of `table` in which at least one value rises above its error."""
    return [curve for series in spectra_of(table) if (curve := curve_of(series, table)) is not None]


def curve_of(series: Series, table: Table) -> Curve | None:
    """The spectrum of `series` on the scale of its largest value; None when no value rises above its error."""
    values, bounds = (np.asarray(numbers, dtype=np.float64) for numbers in (series.values, series.errors))
    if not (values > bounds).any():
        return None
    largest = float(values.max())
    matrix = next(matrix for matrix in table.matrices if matrix.id == series.matrix)
    rank, log_least = (record_of(series, measure, table.records) for measure in ("rank_numerical", "log10_sigma_min"))
    return Curve(matrix, series, values / largest, bounds / largest, largest, rank, log_least)


def record_of(series: Series, measure: str, records: Iterable[Record]) -> Record | None:
    """The record of `measure` that speaks of the same matrix, layer, head and seed as `series`."""
    same = [record for record in records if record.matrix == series.matrix and record.measure == measure]
    place = (series.layer, series.head, series.over, series.seed)
    exact = [record for record in same if (record.layer, record.head, record.over, record.seed) == place]
    return exact[0] if exact else same[0] if len(same) == 1 else None


def reason_for_none(table: Table) -> str:
    """Why a table has no curve."""
    spectra = spectra_of(table)
    if not any(series.values for series in spectra):
        return "this result holds no singular values"
    if any(any(series.errors) for series in spectra):
        return "no singular value rises above the bound of its error"
    return "every singular value is exactly 0: there is nothing to draw on a logarithmic axis"


def names_of(curves: list[Curve]) -> list[str]:
    """The labels of the curves, each with its layer, head and seed where the label alone does not tell it apart."""
    count = Counter(label_of(curve.matrix) for curve in curves)
    return [label_of(curve.matrix) if count[label_of(curve.matrix)] == 1 else place_of(curve) for curve in curves]


def label_of(matrix: Matrix) -> str:
    """The label of a matrix, or its number when it has none."""
    return matrix.label.strip() or f"matrix {matrix.id}"


def place_of(curve: Curve) -> str:
    """The label of a curve with its layer, head and seed."""
    series = curve.series
    places = (("layer", series.layer), ("head", series.head), ("", series.over), ("seed", series.seed))
    return " ".join(
        [label_of(curve.matrix), *(f"{word} {value}".strip() for word, value in places if value is not None)]
    )
