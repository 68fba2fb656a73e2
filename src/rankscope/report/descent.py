"""What a study of depth shows of each network: its curves over layers, their mean over seeds, and how fast they fall.

Everything that shows a study of depth reads it from here. Nothing here draws or prints.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from rankscope.records import Matrix, Record, Table, mean_and_deviation

RESIDUALS: Final = ("log10_residual", "log10_residual_composite", "log10_residual_l1", "log10_residual_linf",
                    "log10_residual_spectral", "log10_rank1_residual", "log10_residual_naive")  # fmt: skip
"""What can be drawn against depth, the first that there is."""

FASTER: Final = 1.5
"""Orders by increments, of the last two layers, from which a decay counts as faster than geometric."""

LEAST_FALL: Final = 0.02
"""Decades for each layer below which a residual counts as staying."""

ALIKE: Final = 1.5
"""The range of the residuals of seeds, as a part of their mean, up to which one fit speaks for all."""

COLLAPSED: Final = -10.0
"""log₁₀ of the relative residual from which tokens count as one where there are many networks."""

STEEP: Final = 0.5
"""Decades for each layer from which an order by increments is more than noise."""


@dataclass(frozen=True)
class Fit:
    """How a curve falls between two layers: with an `order` by increments, or by a `factor` in each layer."""

    first: int
    last: int
    order: float | None = None
    factor: float | None = None


@dataclass
class Network:
    """The runs of one network over its seeds: the records of each measure by layer, and those of the whole network."""

    label: str
    matrix: Matrix
    count: int = 0
    layers: dict[str, dict[int, list[Record]]] = field(default_factory=dict)
    whole: list[Record] = field(default_factory=list)

    @property
    def residual(self) -> str | None:
        """The residual that stands for its collapse, if one was measured."""
        return next((name for name in RESIDUALS if name in self.layers), None)

    @property
    def main(self) -> str:
        """The measure that stands for the network: its residual, or the first that there is."""
        return self.residual or next(iter(self.layers), "")

    @property
    def fit(self) -> Fit | None:
        """How its residual falls; None where its seeds do so differently."""
        means = self.means(self.residual or "")
        if not means:
            return None
        ends = self.curve(self.main)[max(means)]
        alike = max(ends) - min(ends) <= ALIKE * abs(means[max(means)])
        return fit(means) if alike else None

    def curve(self, measure: str) -> dict[int, list[float]]:
        """The known values of a measure by layer, those of heads and seeds together."""
        found = self.layers.get(measure, {})
        values = {layer: [float(r.value) for r in rows if r.value is not None] for layer, rows in found.items()}
        return {layer: listed for layer, listed in sorted(values.items()) if listed}

    def means(self, measure: str) -> dict[int, float]:
        """The mean of a measure by layer, where every seed has a value."""
        every = self.layers.get(measure, {})
        return {
            layer: mean_and_deviation(values)[0]
            for layer, values in self.curve(measure).items()
            if len(values) == len(every[layer])
        }


def networks(table: Table) -> list[Network]:
    """The networks of a table, those that differ in their seeds alone together, in their order."""
    found: dict[tuple[Any, ...], Network] = {}
    of = {matrix.id: matrix for matrix in table.matrices if matrix.network is not None}
    for matrix in of.values():
        found.setdefault(matrix.kind, Network(matrix.label, matrix)).count += 1
    for record in table:
        if record.matrix not in of:
            continue
        network = found[of[record.matrix].kind]
        if record.layer is None or record.over is not None:
            network.whole.append(record)
        else:
            network.layers.setdefault(record.measure, {}).setdefault(record.layer, []).append(record)
    for network in found.values():
        network.label += told_apart(network, list(found.values()))
    return list(found.values())


def network_sizes(matrix: Matrix) -> dict[str, Any]:
    """The sizes of a network, which its label leaves out."""
    network = matrix.network or {}
    sizes = {"n": matrix.rows, "d": matrix.d, "heads": network.get("heads"), "layers": network.get("layers")}
    return {**sizes, "dtype": matrix.dtype}


def told_apart(network: Network, others: list[Network]) -> str:
    """The sizes by which a network differs from others that are called the same."""
    same = [network_sizes(each.matrix) for each in others if each.matrix.label == network.matrix.label]
    own = network_sizes(network.matrix)
    names = {"n": " n", "d": " d", "layers": " layers", "dtype": ""}  # heads stand in the label
    return "".join(f"{text} {own[name]}" for name, text in names.items() if len({each[name] for each in same}) > 1)


def fit(values: dict[int, float]) -> Fit | None:
    """How a curve of decimal logarithms falls at its end; None where it stays, or where nothing fits.

    The order is that of the last increments, where the one before them was larger than FASTER, too. A geometric factor
    is fitted, by least squares, to the latter half of the layers, if the increments there are alike.
    """
    layers = sorted(values)
    if len(layers) < 3:
        return None
    steps = [values[b] - values[a] for a, b in pairwise(layers)]
    if -steps[-1] < LEAST_FALL:
        return None
    last = steps[-3:]
    orders = [after / before for before, after in pairwise(last)] if max(last) < -STEEP else []
    if orders and min(orders) > FASTER:
        return Fit(layers[-1 - len(last)], layers[-1], order=orders[-1])
    kept = layers[len(layers) // 2 :]
    if len(kept) < 3:
        return None
    slope, left = line(kept, [values[layer] for layer in kept])
    return Fit(kept[0], kept[-1], factor=10.0**slope) if left <= max(0.05 * abs(slope) * len(kept), 0.05) else None


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """The slope of a least-squares line, and the largest deviation from it."""
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    slope /= math.fsum((a - mean_x) ** 2 for a in x)
    return slope, max(abs(b - mean_y - slope * (a - mean_x)) for a, b in zip(x, y, strict=True))


def first_below(values: dict[int, float], bar: float) -> int | None:
    """The first layer at which a curve is below a bar."""
    return next((layer for layer, value in sorted(values.items()) if value < bar), None)


def floors(network: Network) -> dict[int, float]:
    """log₁₀ of the floor of plain arithmetic at each layer where that was run: the largest over seeds."""
    rows = network.layers.get("log10_residual_naive", {})
    found = {
        layer: [r.details["log10_floor"] for r in own if "log10_floor" in r.details] for layer, own in rows.items()
    }
    return {layer: float(max(listed)) for layer, listed in sorted(found.items()) if listed}


def stopped(network: Network) -> tuple[int, float] | None:
    """The first layer at which the true residual lies below the floor of plain arithmetic, and that floor."""
    limits, true = floors(network), network.means("log10_residual")
    return next(((layer, limits[layer]) for layer, value in true.items() if value < limits.get(layer, -math.inf)), None)
