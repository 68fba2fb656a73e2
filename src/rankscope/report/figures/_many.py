"""Many curves in one figure: what tells them apart, and how each is drawn.

Beyond eight matrices not each can have a colour of its own. The heads of several layers have the colour of their
layer; other curves have the colour of the first trait of their matrices that takes a few values; curves that nothing
tells apart are grey. A median is said of curves of one kind alone: over kernels or masks it would mean nothing.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rankscope.records import Matrix
from rankscope.report.figures._curve import Curve, by_seed
from rankscope.report.figures._text import INK, PALE

FEW: Final = 8  # beyond this number, curves cannot be told apart by colour and dash
BANDS: Final = 16  # so many bands over seeds can lie in one figure
TICKS: Final = 7  # at the colour bar of the layers
TRAITS: Final = {
    "stack": "{}",
    "kernel": "{}",
    "mask": "{}",
    "position": "{}",
    "ensemble": "{}",
    "columns": "n = {}",
    "rows": "{} rows",
    "d": "d = {}",
    "scale": "scale {:g}",
    "dtype": "{}",
    "plan": "plan {}",
    "source": "{}",
}
"""What matrices may differ in, in words; those that tell more come first."""

STACK: Final = ("mask", "kernel", "position", "plan", "scale", "d", "dtype", "source", "ensemble", "rows", "columns")

# Means and products among many thin lines: apart from cividis and from the black median.
EMPHASIS: Final = (("#D55E00", "s"), ("#CC79A7", "D"), ("#56B4E9", "^"), ("#882255", "v"))


class Family(NamedTuple):
    """Curves that have one value of a trait in common, the colour of each, and the dash of all."""

    name: str
    curves: list[Curve]
    colours: list[str]
    dash: Any
    trait: str

    @property
    def layered(self) -> bool:
        """Whether its colours say the layer."""
        return len(set(self.colours)) > 1

    @property
    def samples(self) -> list[Line2D]:
        """A line for each curve, as the legend shows it."""
        return [
            Line2D([], [], color=each, linewidth=0.8, linestyle=self.dash, marker="") for each in self.colours
        ]  # fmt: skip

    @property
    def sample(self) -> Line2D:
        """The line that stands for all."""
        return self.samples[len(self.curves) // 2]

    @property
    def bands(self) -> list[tuple[list[Curve], str]]:
        """The curves in groups that differ in their seeds alone, with the colour of each."""
        colours = {id(curve): colour for curve, colour in zip(self.curves, self.colours, strict=True)}
        return [(group, colours[id(group[0])]) for group in by_seed(self.curves)]


def families_of(figure: Figure, axes: Axes, curves: list[Curve]) -> list[Family]:
    """The curves by what tells them apart, with a colour bar where there are several layers."""
    by_layer = colours_of_layers(figure, axes, [curve.series.layer for curve in curves])
    trait = telling(curves)
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(value_of(curve.matrix, trait) if trait else "", []).append(curve)
    layers = {id(curve): colour for curve, colour in zip(curves, by_layer, strict=True)} if by_layer else {}
    looks = [(each["color"], each["linestyle"]) for each in matplotlib.rcParams["axes.prop_cycle"]]
    looks = looks if trait else [(PALE, "-")]
    return [
        Family(name, group, [layers.get(id(curve), colour) for curve in group], dash, trait)
        for (name, group), (colour, dash) in zip(groups.items(), looks, strict=False)
    ]


def as_bands(family: Family) -> str:
    """How many bands over seeds stand for the curves, in words."""
    count = len(family.bands)
    return " as a band over seeds with its median" if count == 1 else f" as {count} bands over seeds with medians"


def telling(curves: Sequence[Curve]) -> str:
    """The first trait that takes several values, but not too many; nothing where there is none."""
    counts = {trait: len({getattr(curve.matrix, trait) for curve in curves}) for trait in TRAITS}
    return next((trait for trait, count in counts.items() if 1 < count <= FEW), "")


def value_of(matrix: Matrix, trait: str) -> str:
    """The value of a trait in words."""
    value = getattr(matrix, trait)
    return f"no {trait}" if value in (None, "") else TRAITS[trait].format(value)


def colour_among(group: Sequence[Curve], families: Sequence[Family], other: str) -> str:
    """The colour of the family that means or products belong to; where it has none, black beside coloured families."""
    coloured = {family.name: family.colours[0] for family in families if family.trait and not family.layered}
    names = {value_of(curve.matrix, families[0].trait) for curve in group} if coloured else set()
    return coloured.get(names.pop(), INK) if len(names) == 1 else INK if coloured else other


def has_bands(curves: list[Curve]) -> bool:
    """Whether some differ in their seeds alone, and there is room for a band in the place of these."""
    return len(by_seed(curves)) <= min(BANDS, len(curves) - 1)


def are_alike(curves: Sequence[Curve]) -> bool:
    """Whether curves are heads of one stack, or of one kind, and of one length, so that a median says something."""
    heads = all((curve.series.layer, curve.series.head) != (None, None) for curve in curves)
    kinds = {stack_of(curve.matrix) if heads else curve.matrix.kind for curve in curves}
    return len(kinds) == 1 < len(curves) and len({len(curve.values) for curve in curves}) == 1


def stack_of(matrix: Matrix) -> tuple[object, ...]:
    """What the matrices of one stack share: its name where it has one, else all of `STACK`, without the mask where a
    plan gives each its own.
    """
    if matrix.stack is not None:
        return tuple(matrix.stack if name == "source" else None for name in STACK)
    own_masks = matrix.plan not in (None, "uniform")
    return tuple(None if name == "mask" and own_masks else getattr(matrix, name) for name in STACK)


def colours_of_layers(figure: Figure, axes: Axes, layers: Sequence[int | None]) -> list[str]:
    """The colour of each layer, and a colour bar with a patch for each that exists; nothing unless there are several.

    Nothing comes back, too, where some layer is not known.
    """
    known = [layer for layer in layers if layer is not None]
    numbers = sorted(set(known))
    if len(known) < len(layers) or len(numbers) < 2:
        return []
    # The yellow end of cividis is too pale for a thin line on white.
    colours = ListedColormap(matplotlib.colormaps["cividis"](np.linspace(0.0, 0.9, len(numbers))))
    scale = ScalarMappable(Normalize(-0.5, len(numbers) - 0.5), colours)
    places = range(0, len(numbers), -(-len(numbers) // TICKS))
    bar = figure.colorbar(scale, ax=figure.axes, ticks=list(places), shrink=0.6, aspect=18, pad=0.02)
    bar.ax.set_yticklabels([str(numbers[place]) for place in places])
    bar.ax.tick_params(length=0)
    bar.ax.minorticks_off()
    bar.set_label("layer")
    bar.outline.set_linewidth(0)
    return [to_hex(colour) for colour in scale.to_rgba(np.array([numbers.index(layer) for layer in known]))]
