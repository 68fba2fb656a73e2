"""How far tokens are from consensus, over depth: one curve for each network, one panel for each mask.

Curve: the residual of the tokens that enter a layer, followed past the rounding of float64; the mean over seeds where
there are several, with the range of those that are known as a band. Where curves reach far, powers of ten stand at
distances that grow as their exponents do, which the legend says: a doubly exponential decay is then a straight line. Of
several curves each is thinner than those before it, so that one which is covered is seen on both sides.

Dashed line: the same as plain arithmetic computes it, which stops at its rounding floor.

Shaded band: what lies below that floor, where plain arithmetic shows nothing but rounding.

Dotted line: a constant factor in each layer, fitted over the layers that the legend names.
"""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from rankscope.errors import error
from rankscope.records import Table
from rankscope.report.cells import counted
from rankscope.report.descent import Fit, Network, floors, networks
from rankscope.report.figures._panels import write_around, write_names
from rankscope.report.figures._text import GREY, INK, PALE, WIDTH, Entry, number, remark
from rankscope.report.told import sole

PLACE = 10
FAR = -30.0  # log10 of a residual beyond which exponents are shown on a logarithmic scale
ACROSS = 3  # panels in a row
APART = 0.1  # decades by which plain arithmetic must differ from the curve to be seen beside it
NORMS = {
    "log10_residual_l1": "1",
    "log10_residual_linf": r"\infty",
    "log10_residual_composite": r"1,\infty",
    "log10_residual_spectral": "2",
}
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#882255")
MARKERS = "os^DvPX<"


def suits(table: Table) -> list[str]:
    """In every report on a study of depth."""
    return ["collapse"] if table.over_depth else []


def draw(figure: Figure, table: Table) -> None:
    """Draw the curves of `table` into `figure`.

    Raises:
        UsageError: RS003, the table holds no residuals over depth.
    """
    found = [network for network in networks(table) if network.residual and network.curve(network.main)]
    if not found:
        remedy = "add -m log10_residual" if table.over_depth else "use rankscope depth"
        raise error("RS003", "the figure 'collapse' of a result without residuals over depth", remedy)
    groups: dict[str, list[Network]] = {}
    for network in found:
        groups.setdefault(network.matrix.mask or f"plan {network.matrix.plan}", []).append(network)
    names = short_names(found)
    order = list(dict.fromkeys(names.values()))
    rows, across = -(-len(groups) // ACROSS), min(len(groups), ACROSS)
    figure.set_figheight(figure.get_figheight() * (1 + 0.6 * (rows - 1)))
    panels = list(figure.subplots(rows, across, squeeze=False, sharex=True, sharey=True).ravel())
    far = any(min(values) < FAR for each in found for values in each.curve(each.main).values())
    curves: dict[str, Entry] = {}
    for panel, group in zip(panels, groups.values(), strict=False):
        for network in group:
            name = names[network.label]
            line = draw_curve(panel, network, order.index(name), len(order), fitted=len(groups) == 1)
            law = f": {said(network.fit)}" if len(groups) == 1 and network.fit else ""
            curves.setdefault(name, Entry(line, name, law))
    for panel in panels[len(groups) :]:
        panel.set_visible(False)
    used = panels[: len(groups)]
    frame(panels[0], found, far=far)
    entries = [*curves.values(), *draw_floors(used, list(groups.values()))]
    entries += [remark("exponents beyond 10⁻¹ log-scaled")] if far else []
    missing = len(networks(table)) - len(found)
    entries += [remark(f"{counted(missing, 'network')} without residuals")] if missing else []
    for place, panel in enumerate(used):
        if place + across >= len(groups):
            panel.set_xlabel("layers passed")
            panel.tick_params(labelbottom=True)
    for panel in panels[::across]:
        panel.set_ylabel(label_of(found[0].main, table))
    if len(groups) > 1:
        write_names(used, list(groups), 0.9 * WIDTH / across)
    last = used[(len(used) - 1) // across * across]
    title, facts = ("Rank collapse with depth", ""), facts_of(found, alone=len(groups) == 1)
    write_around(figure, used[0], last, title, facts, entries, named=len(groups) > 1)


def label_of(measure: str, table: Table) -> str:
    """What the vertical axis shows."""
    if measure == "log10_rank1_residual":
        return "distance from rank one, relative"
    row = {"mean": r"\bar{x}", "first": "x_1"}.get(sole(table.setting("centre")), "x")
    norm = rf"\|_{{{NORMS.get(measure, 'F')}}}"
    divided = "" if table.setting("absolute") == [True] else rf"\,/\,\|X{norm}"
    return rf"residual  $\|X-1{row}^\top{norm}{divided}$"


def short_names(found: Sequence[Network]) -> dict[str, str]:
    """What tells curves apart once the mask is said: the label without it."""
    names = {}
    for each in found:
        mask = each.matrix.mask
        names[each.label] = " ".join(each.label.replace(f" {mask}", "", 1).split()) if mask else each.label
    return names


def draw_curve(axes: Axes, network: Network, place: int, count: int, *, fitted: bool) -> Line2D:
    """The curve of one network with its band, its fit, and what plain arithmetic makes of it.

    Of `count` curves each is thinner than those before it, so that one which is covered is seen on both sides.
    """
    color, marker = COLORS[place % len(COLORS)], MARKERS[(place + place // len(COLORS)) % len(MARKERS)]
    means, spread = network.means(network.main), network.curve(network.main)
    layers = list(means)
    (line,) = axes.plot(layers, [-means[x] for x in layers], "-", color=color, marker=marker, zorder=3, gid="curve")
    line.set_markevery(max(1, len(layers) // 12))
    before = 1 - place / (count - 1) if count > 1 else 0.0
    line.set(linewidth=1.0 + 1.8 * before if count > 1 else 1.5, markersize=3.5 + 3.0 * before if count > 1 else 4.0)
    line.set(markeredgecolor="white", markeredgewidth=0.4)
    if place >= len(COLORS):
        line.set(markerfacecolor="white", markeredgecolor=color, markeredgewidth=0.8)
    if network.count > 1:
        low, high = ([-pick(spread[x]) for x in layers] for pick in (max, min))
        axes.fill_between(layers, low, high, color=color, alpha=0.15, linewidth=0, zorder=2)
    if fitted and network.fit is not None:
        draw_fit(axes, network.fit, means)
    if differs(network):
        plain = network.means("log10_residual_naive")
        (dashed,) = axes.plot(list(plain), [-v for v in plain.values()], "--", color=color, linewidth=0.8, zorder=2)
        dashed.set(marker="", gid="dashed-line")
    return line


def differs(network: Network) -> bool:
    """Whether plain arithmetic shows something else than the curve."""
    plain, means = network.means("log10_residual_naive"), network.means("log10_residual")
    return any(abs(value - means.get(layer, value)) > APART for layer, value in plain.items())


def said(found: Fit) -> str:
    """A fit in words, with its range."""
    how = f"order {found.order:.2f}" if found.order is not None else f"×{number(found.factor or 0.0)} a layer"
    return f"{how} (layers {found.first} to {found.last})"


def draw_fit(axes: Axes, found: Fit, means: dict[int, float]) -> None:
    """A constant factor over its range; an order goes through the points that it is made of."""
    if found.factor is None:
        return
    layers = [layer for layer in sorted(means) if found.first <= layer <= found.last]
    middle = math.fsum(means[x] for x in layers) / len(layers)
    centre, slope = math.fsum(layers) / len(layers), math.log10(found.factor)
    (dotted,) = axes.plot(layers, [-(middle + slope * (x - centre)) for x in layers], ":", color=INK, linewidth=1.0)
    dotted.set(marker="", zorder=4, gid="dotted-line")


def frame(axes: Axes, found: Sequence[Network], *, far: bool) -> None:
    """The axes: residuals fall downwards, in powers of ten."""
    values = [-value for each in found for own in each.curve(each.main).values() for value in own]
    lowest, highest = max(values), min(values)
    if far:
        axes.set_yscale("symlog", linthresh=1.0, linscale=0.6)
        count = math.ceil(math.log10(lowest))
        powers = [10.0**k for k in range(0, count + 1, max(1, count // 10))]
        above = [-(10.0**k) for k in range(0, math.ceil(math.log10(max(-highest, 1.0))))]
        axes.yaxis.set_major_locator(FixedLocator([*above, 0.0, *powers]))
        axes.yaxis.set_minor_locator(FixedLocator([m * p for p in powers for m in range(2, 10)] if count < 10 else []))
        axes.set_ylim(lowest * 1.6, min(-0.15, highest * 1.4 - 0.1))
    else:
        room = max(0.06 * (lowest - highest), 0.05)
        axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=lowest - highest >= 2))
        axes.set_ylim(lowest + room, highest - room)
    axes.yaxis.set_major_formatter(FuncFormatter(power_label))
    layers = [layer for each in found for layer in each.curve(each.main)]
    axes.set_xlim(min(layers) - 0.04 * max(layers) - 0.1, max(1.04 * max(layers) + 0.1, 1.0))
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))


def power_label(value: float, _: int = 0) -> str:
    """A power of ten by its negated exponent; plain numbers near one."""
    if value > 1e5:
        return f"$10^{{-10^{{{math.log10(value):.3g}}}}}$"
    if -1 < value < 1:
        return f"{10**-value:.2g}"
    return f"$10^{{{-value:.10g}}}$"


def draw_floors(panels: Sequence[Axes], groups: Sequence[Sequence[Network]]) -> list[Entry]:
    """What plain arithmetic cannot show, where a curve comes near; and what its lines are called."""
    drawn = []
    for axes, group in zip(panels, groups, strict=True):
        limits: dict[int, float] = {}
        for network in group:
            limits |= {layer: max(floor, limits.get(layer, -math.inf)) for layer, floor in floors(network).items()}
        bottom, top = axes.get_ylim()
        if limits and -max(limits.values()) < bottom:
            edge = [-floor for floor in limits.values()]
            layers = [axes.get_xlim()[0], *limits, axes.get_xlim()[1]]
            band = axes.fill_between(layers, [edge[0], *edge, edge[-1]], bottom, color=PALE, alpha=0.18, linewidth=0)
            band.set(zorder=0, gid="shaded-band")
            drawn.append(band)
            axes.set_ylim(bottom, top)
    entries = [Entry(drawn[0], "", f"below the rounding of {groups[0][0].matrix.dtype}")] if drawn else []
    if any(differs(network) for group in groups for network in group):
        handle = Line2D([], [], linestyle="--", linewidth=0.8, color=GREY, marker="")
        entries.append(Entry(handle, "", "plain arithmetic"))
    return entries


def facts_of(found: Sequence[Network], *, alone: bool) -> str:
    """What the networks have in common."""
    facts = []
    sizes = [{"n": each.matrix.rows, "d": each.matrix.d, **(each.matrix.network or {})} for each in found]
    for name in ("n", "d", "layers", "heads"):
        values = {size.get(name) for size in sizes}
        facts += [f"{name} = {values.pop()}"] if len(values) == 1 and None not in values else []
    seeds = max(network.count for network in found)
    facts += [f"mean of {seeds} seeds, with their range"] if seeds > 1 else []
    return " · ".join([*facts, *([f"mask {found[0].matrix.mask}"] if alone and found[0].matrix.mask else [])])
