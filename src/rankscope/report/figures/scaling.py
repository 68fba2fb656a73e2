"""A measure over tokens, head size or scale; scaling:MEASURE for another measure than effective_rank.

Curve: the mean at each size, over seeds and heads where there are several. What is varied with most values runs along
the axis; what else is varied makes curves of its own. A rank that keeps up with the size runs beside the line of full
rank; one that a number of features or states limits becomes level.

Shaded band: from the least to the greatest of the matrices at each size.

Grey line: full rank.

Dashed line: the mean of matched random attention of the same size, in the colour of the curve beside it.

Error bars: a value that is not known lies between these bounds. A triangle points to the side on which nothing is
known.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from rankscope.errors import error
from rankscope.records import Table
from rankscope.report.figure import inscribe
from rankscope.report.figures._panels import write_around
from rankscope.report.figures._sizes import (
    DEFAULT,
    VARIED,
    Sample,
    agreed_sizes,
    is_geometric,
    is_rank,
    is_wide,
    left_out,
    measure_shown,
    named,
    needed,
    samples_of,
    seeds_among,
    set_ticks,
    short_kinds,
    varied,
)
from rankscope.report.figures._text import GREY, PALE, Entry, in_words, remark

PLACE = 30
MOST = 16  # curves that can be told apart by colour, dash and marker
FAR = 1e4  # from this ratio on, ticks stand at powers of ten alone
LEVELS = 4  # lines of full rank beside each other
AXES = {"n": "tokens $n$", "d": "head size $d$", "scale": "scale of the scores"}

Points = dict[float, list[Sample]]


def suits(table: Table) -> list[str]:
    """Where matrices of several sizes or scales were measured."""
    measure = measure_shown(table)
    shown = not table.over_depth and varied(samples_of(table, measure))
    return [named("scaling", measure)] if shown else []


def draw(figure: Figure, table: Table, measure: str = DEFAULT) -> None:
    """Draw a measure of `table` against what its matrices are varied in.

    Raises:
        UsageError: RS003, the table lacks the measure, or all of its matrices have one size.
    """
    samples = needed(table, "scaling", measure)
    sizes = varied(samples)
    if not sizes:
        given = "the figure 'scaling' of a result in which neither n nor d nor the scale is varied"
        raise error("RS003", given, "give several, as in rankscope compare --n 64,128,256")
    along = max(sizes, key=lambda name: (len(sizes[name]), -VARIED.index(name)))
    common, names = short_kinds(samples)
    curves = curves_of(samples, along, [name for name in sizes if name != along], names)
    axes = figure.add_subplot()
    set_scales(axes, samples, sizes[along], full=is_rank(samples), both=along == "n")
    drawn = curves[:MOST]
    lines = [draw_curve(axes, points, number) for number, (_, points) in enumerate(drawn)]
    for line, (_, points) in zip(lines, drawn, strict=True):
        draw_others(axes, points, str(line.get_color()))
    entries = [Entry(line, name, "") for line, (name, _) in zip(lines, drawn, strict=True) if name]
    entries += draw_full(axes, samples, along) if is_rank(samples) else []
    entries += what_else(axes, table, [each for _, points in drawn for each in points.values()], measure)
    placeless = sum(each.sizes[along] is None for each in samples)
    entries += [remark(f"{placeless} matrices without {along} are not shown")] if placeless else []
    if len(drawn) < len(curves):
        entries.append(remark(f"the first {len(drawn)} of {len(curves)} curves are shown"))
    axes.set_xlabel(AXES[along])
    inscribe(axes.yaxis.label, in_words(measure), 180)
    facts = " · ".join(filter(None, (common, agreed_sizes(samples, [along]), seeds_among(samples))))
    title = in_words(measure).capitalize(), f" against {'the scale' if along == 'scale' else along}"
    write_around(figure, axes, axes, title, facts, entries, named=False)


def curves_of(
    samples: Sequence[Sample], along: str, others: Sequence[str], names: dict[str, str]
) -> list[tuple[str, Points]]:
    """A name and the samples by their place on the axis, for each kind and each of the other values."""
    found: dict[tuple[str, ...], Points] = {}
    for each in samples:
        place = each.sizes[along]
        if place is not None:
            more = [f"{name} = {each.sizes[name]:g}" for name in others if each.sizes[name] is not None]
            found.setdefault((each.kind, *more), {}).setdefault(place, []).append(each)
    return [
        (", ".join(filter(None, [names[kind], *more])), dict(sorted(points.items())))
        for (kind, *more), points in found.items()
    ]


def set_scales(axes: Axes, samples: Sequence[Sample], places: Sequence[float], *, full: bool, both: bool) -> None:
    """Logarithmic axes where values reach far, `both` or none of them; ticks stand at the sizes themselves."""
    heights = [each.value for each in samples if each.value is not None]
    heights += [float(each.order) for each in samples] if full else []
    log = is_geometric(places)
    if log:
        axes.set_xscale("log")
    if heights and is_wide(heights) and (log or not both):
        axes.set_yscale("log")
        few = max(heights) < FAR * min(heights)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    set_ticks(axes.xaxis, places, log=log)


def draw_curve(axes: Axes, points: Points, number: int) -> Line2D:
    """The mean of one curve with its band."""
    known = {x: [each.value for each in found if each.value is not None] for x, found in points.items()}
    known = {x: values for x, values in known.items() if values}
    means = {x: sum(values) / len(values) for x, values in known.items()}
    (line,) = axes.plot(list(means), list(means.values()), gid="curve", zorder=3)
    if number >= MOST // 2:
        line.set(markerfacecolor="white", linewidth=0.9)
    if any(max(values) > min(values) for values in known.values()):
        low, high = ([pick(values) for values in known.values()] for pick in (min, max))
        band = axes.fill_between(list(known), low, high, color=line.get_color(), alpha=0.15, linewidth=0, zorder=2)
        band.set_gid("shaded-band")
    return line


def draw_others(axes: Axes, points: Points, colour: str) -> None:
    """What stands beside the mean of one curve: what matched random attention has, and bounds of what is not known."""
    nulls = {x: [each.record.null_mean for each in found] for x, found in points.items()}
    random = {x: [null for null in found if null is not None] for x, found in nulls.items()}
    random = {x: values for x, values in random.items() if values}
    if random:
        heights = [sum(values) / len(values) for values in random.values()]
        axes.plot(list(random), heights, "--", color=colour, linewidth=0.8, marker="", zorder=2, gid="dashed-line")
    for x, found in points.items():
        draw_bounds(axes, x, [each for each in found if each.value is None], colour)


def draw_bounds(axes: Axes, x: float, unknown: Sequence[Sample], colour: str) -> None:
    """Where values lie that are not known: between two bounds, or on one side of one."""
    lows = [float(each.record.low) for each in unknown if each.record.low is not None]
    highs = [float(each.record.high) for each in unknown if each.record.high is not None]
    if lows and highs:
        low, high = min(lows), max(highs)
        axes.plot([x, x], [low, high], "-", marker="_", color=colour, linewidth=1.0, zorder=2, gid="error-bars")
    elif lows or highs:
        marker, height = ("^", min(lows)) if lows else ("v", max(highs))
        axes.plot(x, height, marker=marker, markerfacecolor="white", color=colour, linestyle="", gid="error-bars")


def draw_full(axes: Axes, samples: Sequence[Sample], along: str) -> list[Entry]:
    """Full rank: a line through the sizes, or a level for each size."""
    places = sorted({(x, each.order) for each in samples if (x := each.sizes[along]) is not None})
    levels = sorted({order for _, order in places})
    handle = Line2D([], [], linestyle="-", color=GREY, linewidth=0.7, marker="")
    if len(levels) == 1 or (along != "n" and len(levels) <= LEVELS):
        for level in levels:
            axes.axhline(level, linestyle="-", color=GREY, linewidth=0.7, marker="", zorder=1, gid="grey-line")
    elif along == "n" and len(places) == len(levels):
        (handle,) = axes.plot(*zip(*places, strict=True), "-", color=GREY, linewidth=0.7, marker="", zorder=1)
        handle.set_gid("grey-line")
    else:
        return []
    return [Entry(handle, "", "full rank")]


def what_else(axes: Axes, table: Table, found: Sequence[list[Sample]], measure: str) -> list[Entry]:
    """What the legend says of bands, dashes and bounds, and of what is not shown."""
    marks = {artist.get_gid() for artist in axes.get_children()}
    entries = []
    if "shaded-band" in marks:
        most = max(map(len, found))
        entries.append(Entry(Patch(facecolor=PALE, alpha=0.3), "", f"least to greatest of {most} matrices"))
    if "dashed-line" in marks:
        handle = Line2D([], [], linestyle="--", color=GREY, linewidth=0.8, marker="")
        entries.append(Entry(handle, "", "matched random attention"))
    unknown = [each for points in found for each in points if each.value is None]
    bounds = [each for each in unknown if (each.record.low, each.record.high) != (None, None)]
    if bounds:
        handle = Line2D([], [], linestyle="-", color=GREY, linewidth=1.0, marker="_")
        entries.append(Entry(handle, "", f"bounds of {len(bounds)} values that are not known"))
    lost = len(unknown) - len(bounds)
    return entries + ([remark(f"{lost} values are not known")] if lost else []) + left_out(table, measure)
