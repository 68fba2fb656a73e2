"""Which places of a figure lines and words have taken, so that further words stand where nothing is struck through.

The layout is not known when words are placed, so heights and widths are a little less than there will be.
"""

import math
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from rankscope.report.figures._curve import Array, Curve
from rankscope.report.figures._text import SMALL

N = TypeVar("N", float, Array)

HEIGHT = 190.0  # points from the lower to the upper end of the axes: a little less than there are


@dataclass
class Room:
    """The places of the axes that lines and words have taken: heights in points above the lower end, and breadths.

    A breadth is from and to a part of the `width`, which is in points.
    """

    axes: Axes
    width: float
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def points(self, value: float) -> float:
        """How far above the lower end a value lies."""
        bottom, top = self.axes.get_ylim()
        return HEIGHT * math.log(value / bottom) / math.log(top / bottom)

    def value(self, points: float) -> float:
        """Which value lies that far above the lower end."""
        bottom, top = self.axes.get_ylim()
        return float(bottom * (top / bottom) ** (points / HEIGHT))

    def part(self, index: N) -> N:
        """At which part of the width an index stands."""
        left, right = self.axes.get_xlim()
        return (index - left) / (right - left)

    def share(self, words: str) -> float:
        """Which part of the width small words take, which may hold formulas."""
        width, _, _ = text_to_path.get_text_width_height_descent(words, FontProperties(size=SMALL), ismath=True)
        return float(width) / self.width

    def line(self, low: float, high: float) -> None:
        """Keep words off the line at a value, or the band between two."""
        self.taken.append((self.points(low) - 1, self.points(high) + 1, 0.0, 1.0))

    def free(self, low: float, high: float, left: float = 0.0, right: float = 1.0) -> bool:
        """Whether no line and no words stand at these heights within a breadth, and the axes reach so far."""
        inside = low >= 0 and high <= HEIGHT and left >= 0 and right <= 1
        return inside and all(
            high <= one or other <= low or right <= start or end <= left for one, other, start, end in self.taken
        )

    def words(self, low: float, high: float, left: float = 0.0, right: float = 1.0) -> bool:
        """Take the place for words between two heights, unless something of any breadth stands there."""
        free = self.free(low, high)
        if free:
            self.taken.append((low, high, left, right))
        return free

    def drawn(self, curves: list[Curve], low: float, high: float, left: float, right: float) -> bool:
        """Whether a curve or a dot of noise lies between two heights and within a breadth, or close to that."""
        least, greatest, margin = self.value(low - 2), self.value(high + 2), 4 / self.width
        for curve in curves:
            parts = self.part(curve.index)
            near = (parts > left - margin) & (parts < right + margin)
            dots = curve.values[near & curve.noise]
            line = curve.values[np.convolve(near, [1, 1, 1], "same").astype(bool) & curve.data]  # and what leads there
            if np.any((dots > least) & (dots < greatest)):
                return True
            if line.size and line.min() < greatest and line.max() > least:
                return True
        return False
