"""Spectra as curves: what a figure of singular values needs to know, read from a `Table`.

Here is decided what counts as data, as noise and as zero, so that every figure of singular values agrees on it.
Nothing here draws.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rankscope.errors import error
from rankscope.records import Matrix, Record, Series, Table

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

LONGEST: Final = 4096  # the spectra of larger matrices are not kept in tables, says the analyzer
FROM_SPECTRUM: Final = ("rank_numerical", "effective_rank", "sigma_max")
"""Measures that show that singular values were computed, whether or not the table holds them."""


@dataclass(frozen=True)
class Curve:
    """One spectrum, divided by its largest value; `bounds` are the error bounds on the same scale.

    `logs` are log10 of the true values on that scale, as far as they were enclosed, and `halves` the half widths.
    """

    matrix: Matrix
    series: Series
    values: Array
    bounds: Array
    largest: float
    rank: Record | None
    log_least: Record | None
    logs: Array = field(default_factory=lambda: np.empty(0))
    halves: Array = field(default_factory=lambda: np.empty(0))

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
    def truth(self) -> Flags:
        """Values in the noise in whose place the true one is known."""
        known: Flags = self.noise & (self.index <= len(self.logs))
        return known

    @property
    def floor(self) -> float:
        """The height of the noise: the largest bound of a value in it, else the bound of the smallest value."""
        among = self.bounds[self.noise] if self.noise.any() else self.bounds[self.data][-1:]
        return float(among.max())

    @property
    def least_bound(self) -> float:
        """The least bound of a value that is not exactly zero: no curve runs below it."""
        return float(self.bounds[~self.zero].min())

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

    @property
    def estimated(self) -> bool:
        """Whether the true smallest value is an estimate, neither enclosed nor proved."""
        return self.log_least is not None and self.log_least.guarantee == "estimated"


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
    rank, log_least = (record_of(series, measure, table) for measure in ("rank_numerical", "log10_sigma_min"))
    logs, halves = logarithms_of(series, table.series)
    scale = math.log10(largest)
    return Curve(matrix, series, values / largest, bounds / largest, largest, rank, log_least, logs - scale, halves)


def logarithms_of(series: Series, among: Iterable[Series]) -> tuple[Array, Array]:
    """log10 of the true values of the same matrix, layer, head and seed, and the half widths; else nothing."""
    place = (series.matrix, series.layer, series.head, series.over, series.seed)
    for each in among:
        if each.name == "log10_singular_values" and (each.matrix, each.layer, each.head, each.over, each.seed) == place:
            return np.asarray(each.values[: len(series.values)]), np.asarray(each.errors[: len(series.values)])
    return np.empty(0), np.empty(0)


def record_of(series: Series, measure: str, table: Table) -> Record | None:
    """The record of `measure` that speaks of the same matrix, layer, head and seed as `series`."""
    same = [record for record in table.by_matrix.get(series.matrix, []) if record.measure == measure]
    place = (series.layer, series.head, series.over, series.seed)
    exact = [record for record in same if (record.layer, record.head, record.over, record.seed) == place]
    return exact[0] if exact else same[0] if len(same) == 1 else None


# --- tables without a curve ---------------------------------------------------------------------------------------


def check_spectra(table: Table) -> None:
    """Refuse a table without spectra, unless it has no matrix that could have one: a figure can say that.

    Raises:
        UsageError: RS003, with the measures or the size as the reason.
    """
    refused = refusals(table)
    able = [each for each in table.matrices if each.id not in refused and min(each.rows, each.columns) > 0]
    if spectra_of(table) or not able:
        return
    given = "a figure of singular values from a result that has none"
    if any(min(matrix.rows, matrix.columns) > LONGEST for matrix in able):
        given += f": spectra of n > {LONGEST} are not kept"
        raise error("RS003", given, "save the result as a table, or analyse a smaller matrix")
    if not any(record.measure in FROM_SPECTRUM for record in table):
        raise error("RS003", given, "measure something of the spectrum, or leave out --measure")
    if any(record.measure == "sigma_max" and record.value is not None for record in table):
        raise error("RS003", f"{given}: files other than .json hold no series", "keep the result as .json")


def reasons_for_none(table: Table) -> list[str]:
    """Why a table has no curve, in a few lines: the one reason of all matrices, or each with its label."""
    refused = refusals(table)
    reasons = [reason_for_none(matrix, refused.get(matrix.id), spectra_of(table)) for matrix in table.matrices]
    if len(set(reasons)) < 2:
        return reasons[:1] or ["this result holds no singular values"]
    pairs = zip(table.matrices, reasons, strict=True)
    lines = [reason if matrix.id in refused else f"{label_of(matrix)}: {reason}" for matrix, reason in pairs]
    return lines if len(lines) <= 5 else [*lines[:4], f"and {len(lines) - 4} more without a curve"]


def reason_for_none(matrix: Matrix, refusal: Record | None, spectra: list[Series]) -> str:
    """Why a matrix has no curve."""
    if refusal is not None:
        return f"refused, {refusal.code}: {refusal.because}"
    if min(matrix.rows, matrix.columns) == 0:
        return f"a matrix of {matrix.rows} × {matrix.columns} has no singular values"
    own = [series for series in spectra if series.matrix == matrix.id]
    if not own and not spectra:
        return "the singular values lie outside the range of float64"
    if not any(series.values for series in own):
        return "this result holds no singular values"
    if any(any(series.errors) for series in own):
        return "no singular value rises above the bound of its error"
    return "every singular value is exactly 0: there is nothing to draw"


def refusals(table: Table) -> dict[int, Record]:
    """The first record of each matrix that could not be measured, by the number of the matrix."""
    return {record.matrix: record for record in reversed(table.records) if record.status != "ok"}


# --- names --------------------------------------------------------------------------------------------------------


def by_seed(curves: list[Curve]) -> list[list[Curve]]:
    """The curves in groups that differ in nothing but the seed, in their order."""
    groups: dict[tuple[object, ...], list[Curve]] = {}
    for curve in curves:
        series = curve.series
        same = (replace(curve.matrix, id=0, digest=None, notes=()), series.layer, series.head, series.over)
        seeds = {other.series.seed for other in groups.get(same, [])}
        alone = series.seed is None or series.seed in seeds
        groups.setdefault((*same, curve.matrix.id) if alone else same, []).append(curve)
    return list(groups.values())


def names_of(groups: list[list[Curve]]) -> list[str]:
    """The label of each group, with what tells it apart from others of the same label."""
    curves = [group[0] for group in groups]
    return [name_among(curve, curves) for curve in curves]


def name_among(curve: Curve, curves: list[Curve]) -> str:
    """The label of one of the `curves`, with what tells it apart from others of the same label."""
    label = label_of(curve.matrix)
    namesakes = [other for other in curves if label_of(other.matrix) == label]
    return label if len(namesakes) == 1 else f"{label} {difference(curve, namesakes)}"


def difference(curve: Curve, namesakes: list[Curve]) -> str:
    """What sets a curve apart from others of its label: `head 3`, `seed 1`, `d = 64`, or else its number."""
    all_features = [features(other) for other in namesakes]
    own = features(curve)
    found = [f"{word} {own[word]}".strip() for word in own if len({each[word] for each in all_features}) > 1]
    return " ".join(found) or f"matrix {curve.matrix.id}"


def features(curve: Curve) -> dict[str, object]:
    """What curves of one label may differ in, in words."""
    matrix, series = curve.matrix, curve.series
    places = {"layer": series.layer, "head": series.head, "over": series.over, "seed": series.seed}
    size = f"{matrix.rows} × {matrix.columns}"
    return {**places, "d =": matrix.d, "scale": matrix.scale, "as": matrix.dtype, "": size}


def label_of(matrix: Matrix) -> str:
    """The label of a matrix, or its number when it has none."""
    return matrix.label.strip() or f"matrix {matrix.id}"
