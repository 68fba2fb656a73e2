"""The axes of a figure of singular values: what range is worth seeing, and where its ticks stand."""

import math

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator

from rankscope.report.figures._curve import Curve
from rankscope.report.figures._limits import FAR, distinct, floor_of, tolerances


def frame(axes: Axes, curves: list[Curve], among: list[Curve] | None = None) -> float:
    """Set up the axes; the lower end of the vertical one lies a little below what is worth seeing.

    What the horizontal one shows of the curves, the vertical one shows of all that they stand `among`.
    """
    order = max(curve.order for curve in curves)
    curves = among or curves
    lowest = min(float(curve.values[curve.data].min()) for curve in curves)
    reached = any(curve.noise.any() or curve.log_hidden is not None for curve in curves)
    limits = [0.1, lowest / 2, *(limit / 3 for limit in distinct(tolerances(curves)) if limit * FAR > lowest)]
    highest = max(curve.floor for curve in curves)
    for floor in (highest, floor_of(curves)):
        if floor and (floor * FAR > min(limits) or (reached and floor == highest)):
            limits.append(below(floor))
    bottom = max(min(limits), 1e-300)
    margin = max(0.5, 0.012 * order)
    axes.set_yscale("log")
    axes.set_ylim(bottom, min(bottom**-0.03, 4.0))
    axes.set_xlim(1 - margin, order + margin)
    axes.yaxis.set_major_locator(FixedLocator(power_ticks(bottom)))
    axes.yaxis.set_minor_locator(LogLocator(subs="all") if bottom > 1e-6 else NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(FixedLocator(index_ticks(order)))
    axes.set_xlabel("index $i$")
    axes.set_ylabel(r"singular value  $\sigma_i\,/\,\sigma_1$")
    return bottom


def below(floor: float) -> float:
    """Where the axis ends below a floor, so that the band between has room for words."""
    return floor**1.25 if floor < 1e-4 else floor / 10


def power_ticks(bottom: float) -> list[float]:
    """Powers of ten from 1 down to `bottom`, at equal steps and at most ten of them."""
    decades = -math.log10(bottom)
    step = next(step for step in (1, 2, 5, 10, 20, 50) if decades / step < 10)
    return [10.0**-exponent for exponent in range(0, math.floor(decades) + 1, step)]


def index_ticks(order: int) -> list[int]:
    """The first index, the last, and round numbers between: eighths for orders like 512 and 768."""
    eighths = order % 64 == 0 or (order >= 8 and order.bit_count() == 1)
    step = order // 8 if eighths else max(1, round(float(f"{order / 6:.0e}")))
    between = [tick for tick in range(step, order - step // 2, step) if tick > 1 + step // 2]
    return [1, *between, order] if order > 1 else [1]
