"""`rankscope list`: every name that can be typed, with one line on what it is."""

import textwrap
from collections.abc import Iterable
from typing import Annotated, Literal, get_args

import typer

from rankscope.cli import options as o

Name = Literal[
    "masks",
    "kernels",
    "positions",
    "ensembles",
    "initialisations",
    "activations",
    "plans",
    "measures",
    "depth-measures",
    "rules",
    "figures",
]
KINDS = get_args(Name)
LONGEST_NAME = 24
"""Longer ones have a line of their own."""

Kind = Annotated[Name | None, typer.Argument(help="One kind only.", metavar="[KIND]")]


def listing(kind: Kind = None, plugin: o.Plugin = None, debug: o.Debug = False) -> None:
    """Every mask, kernel, position, ensemble, plan, measure, rule and figure that can be named.

    rankscope list masks
    """
    o.set_threads(1)
    o.run_plugins(plugin)
    for number, each in enumerate(KINDS if kind is None else (kind,)):
        typer.echo(("\n" if number else "") + each)
        rows = list(entries(each))
        width = max((len(name) for name, _ in rows if len(name) <= LONGEST_NAME), default=0)
        for name, text in rows:
            if len(name) > width:
                typer.echo(f"  {name}")
            first = f"  {name if len(name) <= width else '':<{width}}  "
            typer.echo(textwrap.fill(text, 80, initial_indent=first, subsequent_indent=" " * (width + 4)))


def entries(kind: str) -> Iterable[tuple[str, str]]:
    """Name and help of each entry of one kind."""
    match kind:
        case "masks":
            from rankscope.attention.masks import MASKS

            return [(entry.usage, entry.help) for entry in MASKS]
        case "kernels":
            from rankscope.attention.kernels import KERNELS

            return [(entry.usage, entry.help) for entry in KERNELS]
        case "positions":
            from rankscope.attention.positions import POSITIONS

            return [(entry.usage, entry.help) for entry in POSITIONS]
        case "ensembles":
            from rankscope.generators.ensembles import ENSEMBLES

            return [(entry.usage, entry.help) for entry in ENSEMBLES]
        case "initialisations":
            from rankscope.generators.initial import INITIALISATIONS

            return [(entry.name, entry.help) for entry in INITIALISATIONS]
        case "plans":
            from rankscope.generators.plans import PLANS

            return [(entry.name, entry.help) for entry in PLANS]
        case "measures":
            from rankscope.analyzer.analyze import chosen, measures

            return [
                (each.name, measures()[each.name].help + ("" if each.default else " Only when named."))
                for each in chosen(("all",))
            ]
        case "depth-measures":
            from rankscope.depth_study import depth_measures

            return [
                (each.name, each.help + ("" if each.function.default else " Only when named."))
                for each in depth_measures()
            ]
        case "activations":
            from rankscope.attention.pointwise import ACTIVATIONS

            return [(entry.name, entry.help) for entry in ACTIVATIONS]
        case "rules":
            from rankscope.analyzer.rank import RULES

            return [(entry.name, entry.help) for entry in RULES]
    from rankscope.report.figure import help_of, names

    return [(name, help_of(name)) for name in names()]
