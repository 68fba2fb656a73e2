"""How far tokens are from consensus, over depth: one curve for each network, one panel for each mask.

Curve: the residual r of the tokens that enter a layer, relative to their norm, followed without rounding error; the
mean over seeds where there are several, with their range as a band. Where curves reach far, the vertical axis shows
powers of ten at distances that grow as their exponents do: a doubly exponential decay is then a straight line.

Dashed line: the same as plain arithmetic computes it, which stops at its rounding floor.

Shaded band: what lies below that floor, where plain arithmetic shows nothing but rounding.

Dotted line: the fit that the legend gives, over the layers that it names: an order by increments (log r is multiplied
by it in each layer), or a constant factor.
"""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from rankscope.errors import error
from rankscope.records import Table
from rankscope.report.descent import Fit, Network, fit, floor_of, networks
from rankscope.report.figure import inscribe
from rankscope.report.figures._text import GREY, INK, LINE, PALE, SMALL, WIDTH, Entry, number, remark, write_legend

FAR = -30.0  # log10 of a residual beyond which exponents are shown on a logarithmic scale
ACROSS = 3  # panels in a row
NAMES = {
    "log10_residual": r"residual  $\|X-1\bar{x}^\top\|_F\,/\,\|X\|_F$",
    "log10_rank1_residual": "distance from rank one, relative",
    "log10_residual_naive": r"residual  $\|X-1\bar{x}^\top\|_F\,/\,\|X\|_F$",
}


def draw(figure: Figure, table: Table) -> None:
    """Draw the curves of `table` into `figure`.

    Raises:
        UsageError: RS003, the table holds no residuals over depth.
    """
    found = [network for network in networks(table) if network.main and network.curve(network.main)]
    if not found:
        raise error("RS003", "the figure 'collapse' of a result without residuals over depth", "use rankscope depth")
    groups: dict[str, list[Network]] = {}
    for network in found:
        groups.setdefault(network.matrix.mask or f"plan {network.matrix.plan}", []).append(network)
    rows = -(-len(groups) // ACROSS)
    across = min(len(groups), ACROSS)
    figure.set_figheight(figure.get_figheight() * (1 + 0.75 * (rows - 1)))
    panels = list(figure.subplots(rows, across, squeeze=False, sharex=True, sharey=True).ravel())
    far = any(min(values) < FAR for each in found for values in each.curve(str(each.main)).values())
    entries: list[Entry] = []
    names = short_names(found)
    for panel, (mask, group) in zip(panels, groups.items(), strict=False):
        entries += draw_panel(panel, group, names, known={entry.name for entry in entries}, alone=len(groups) == 1)
        if len(groups) > 1:
            inscribe(panel.set_title("", fontsize=9, fontweight="normal"), mask, WIDTH / across)
    for panel in panels[len(groups) :]:
        panel.set_visible(False)
    frame(panels[0], found, far=far)
    entries += draw_floor(panels[: len(groups)], found)
    missing = len(networks(table)) - len(found)
    entries += [remark(f"{missing} networks without residuals")] if missing else []
    for number_, panel in enumerate(panels[: len(groups)]):
        if number_ + across >= len(groups):
            panel.set_xlabel("layers passed")
            panel.tick_params(labelbottom=True)
    measure = str(found[0].main)
    absolute = bool(table.study.get("absolute"))
    label = NAMES.get(measure, measure) if not absolute else r"residual  $\|X-1\bar{x}^\top\|_F$"
    for panel in panels[::across]:
        panel.set_ylabel(label)
    facts = " · ".join(facts_of(found, alone=len(groups) == 1))
    wide = any(entry.is_wide for entry in entries)
    if len(groups) == 1:
        write_heading(panels[0], facts)
        write_legend(figure, panels[0], entries, single_column=wide)
    else:
        figure.suptitle("Rank collapse with depth", x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        legend_below(figure, [*entries, remark(facts)], 1 if wide else 2)


def short_names(found: Sequence[Network]) -> dict[str, str]:
    """What tells curves apart once the mask is said: the label without it, or without what all have in common."""
    names = {}
    for each in found:
        mask = each.matrix.mask
        names[each.label] = " ".join(each.label.replace(f" {mask}", "", 1).split()) if mask else each.label
    return names


def draw_panel(
    axes: Axes, group: Sequence[Network], names: dict[str, str], known: set[str], *, alone: bool
) -> list[Entry]:
    """The curves of one mask; of each what the legend says, where no panel before has said it."""
    entries = []
    for index, network in enumerate(group):
        means = network.means(str(network.main))
        spread = {layer: (min(v), max(v)) for layer, v in network.curve(str(network.main)).items()}
        layers = list(means)
        color, marker = STYLES[index % len(STYLES)]
        (line,) = axes.plot(layers, [-means[x] for x in layers], "-", color=color, marker=marker, zorder=3, gid="curve")
        line.set_markevery(max(1, len(layers) // 12))
        if network.count > 1:
            shared = sorted(spread)
            low, high = [-spread[x][0] for x in shared], [-spread[x][1] for x in shared]
            axes.fill_between(shared, high, low, color=color, alpha=0.15, linewidth=0, zorder=2)
        found = fit(means)
        if found is not None and alone:
            draw_fit(axes, found, means, color)
        plain = network.means("log10_residual_naive")
        if plain and network.main != "log10_residual_naive":
            axes.plot(list(plain), [-v for v in plain.values()], "--", color=color, linewidth=0.8, marker="",
                      zorder=2, gid="dashed-line")  # fmt: skip
        name = names[network.label]
        if alone or name not in known:
            entries.append(Entry(line, name, f": {said(found)}" if alone and found else ""))
    return entries


COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#882255")
STYLES = list(zip(COLORS, "os^DvPX<", strict=True))
"""The colours and markers of the style; dashes stand for plain arithmetic here."""


def said(found: Fit) -> str:
    """A fit in words, with its range."""
    how = f"order {found.order:.2f}" if found.order is not None else f"×{number(found.factor or 0.0)} a layer"
    return f"{how} (layers {found.first} to {found.last})"


def draw_fit(axes: Axes, found: Fit, means: dict[int, float], color: str) -> None:
    """The fitted law over its range."""
    layers = [layer for layer in sorted(means) if found.first <= layer <= found.last]
    if found.order is not None:
        return  # through three points: the curve itself
    middle = math.fsum(means[x] for x in layers) / len(layers)
    centre = math.fsum(layers) / len(layers)
    slope = math.log10(found.factor or 1.0)
    axes.plot(layers, [-(middle + slope * (x - centre)) for x in layers], ":", color=INK, linewidth=1.0, marker="",
              zorder=4, gid="dotted-line")  # fmt: skip


def frame(axes: Axes, found: Sequence[Network], *, far: bool) -> None:
    """The axes: residuals fall downwards, in powers of ten."""
    lowest = max(-min(values) for each in found for values in each.curve(str(each.main)).values())
    highest = min(-max(values) for each in found for values in each.curve(str(each.main)).values())
    if far:
        axes.set_yscale("symlog", linthresh=1.0, linscale=0.6)
        powers = [10.0**k for k in range(0, math.ceil(math.log10(lowest)) + 1)]
        axes.yaxis.set_major_locator(FixedLocator([*([0.0] if highest < 1 else []), *powers]))
        axes.yaxis.set_minor_locator(FixedLocator([m * p for p in powers for m in range(2, 10)]))
        bottom = lowest * 1.6
    else:
        axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        bottom = lowest + 0.06 * (lowest - highest) + 0.02
    axes.set_ylim(bottom, min(0.0, highest * 1.1) - (0.06 if far else 0.04 * (lowest - highest)))
    axes.yaxis.set_major_formatter(FuncFormatter(power_label))
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))


def power_label(value: float, _: int = 0) -> str:
    """A power of ten by its negated exponent."""
    if value == 0:
        return "1"
    return f"$10^{{{-value:.10g}}}$"


def draw_floor(panels: Sequence[Axes], found: Sequence[Network]) -> list[Entry]:
    """What plain arithmetic cannot show, where a curve comes near."""
    floors = [floor for each in found if (floor := floor_of(each)) is not None]
    if not floors:
        return []
    floor = max(floors)
    drawn = []
    for axes in panels:
        bottom, top = axes.get_ylim()
        if -floor < bottom:
            drawn.append(axes.axhspan(-floor, bottom, color=PALE, alpha=0.18, linewidth=0, zorder=0, gid="shaded-band"))
            axes.set_ylim(bottom, top)
    entries = [Entry(drawn[0], "", f"below the rounding of {found[0].matrix.dtype}")] if drawn else []
    handle = Line2D([], [], linestyle="--", linewidth=0.8, color=GREY, marker="")
    return [*entries, Entry(handle, "", "plain arithmetic")]


def facts_of(found: Sequence[Network], *, alone: bool) -> list[str]:
    """What the networks have in common."""
    facts = []
    for name in ("n", "d", "layers", "heads"):
        values = {{"n": each.matrix.rows, "d": each.matrix.d, **(each.matrix.network or {})}[name] for each in found}
        facts += [f"{name} = {values.pop()}"] if len(values) == 1 else []
    seeds = max(network.count for network in found)
    facts += [f"mean of {seeds} seeds, with their range"] if seeds > 1 else []
    return [*facts, *([f"mask {found[0].matrix.mask}"] if alone and found[0].matrix.mask else [])]


def write_heading(axes: Axes, facts: str) -> None:
    """What the figure shows, above its only panel."""
    axes.set_title("Rank collapse with depth", pad=20)
    note = axes.annotate("", (0, 1), (0, 6), "axes fraction", "offset points", fontsize=SMALL, color=GREY)
    inscribe(note, facts, WIDTH)


def legend_below(figure: Figure, entries: Sequence[Entry], columns: int) -> None:
    """The legend of several panels, below them all; a figure with a long one becomes taller."""
    figure.set_figheight(figure.get_figheight() + (-(-len(entries) // columns)) * LINE / 72)
    handles = [entry.handle for entry in entries]
    box = figure.legend(handles, [""] * len(entries), loc="outside lower left", ncols=columns, borderaxespad=0.8)
    for text, entry in zip(box.get_texts(), entries, strict=True):
        inscribe(text, entry.name, WIDTH / columns - 30, entry.remark)
