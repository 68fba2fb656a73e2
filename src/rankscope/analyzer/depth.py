"""Measures of depth: a function of one thing, whose type says which.

The things are the `Tokens` that enter a layer, their `Distance` from consensus, the `History` of the layers before, the
tokens of a `Plain` computation, a `Mixing` for each attention matrix, an `Mlp`, the `Gradients` by the maps of a layer,
and the `Graph` of the masks. Symbols: X (n × width) are the tokens, x̄ their mean, res(X) = X − 1x̄ᵀ.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rankscope.analyzer.measure import finite, unknown
from rankscope.analyzer.residual import Centre
from rankscope.arrays import Float64, Storage
from rankscope.attention.tokens import LOST, Tokens
from rankscope.errors import RankscopeError
from rankscope.records import Reading
from rankscope.registry import Registry

NEAR: Final = 2.0**-14
"""A residual below this part of the mean: what it does to the mean's singular value is then below rounding."""


@dataclass(frozen=True)
class History:
    """The tokens' residuals so far, as decimal logarithms with their errors, and the absolute ones.

    The last entry is that of the tokens at hand. `bounds` are those of Dong et al., where their theorem speaks;
    `relative` are residuals from the mean, divided by the norm of the tokens.
    """

    logs: tuple[float | None, ...]
    errors: tuple[float, ...]
    absolute: tuple[float | None, ...]
    bounds: tuple[float | None, ...] = ()
    why_no_bound: str = ""
    relative: tuple[float | None, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Plain:
    """The tokens as a script computes them, None where it failed; the type in which they are kept from layer to layer;
    what they are compared with, and whether distances are divided by the norm of the tokens.
    """

    values: Float64 | None
    storage: Storage
    centre: Centre = "mean"
    absolute: bool = False


@dataclass(frozen=True)
class DepthMeasure:
    """A registered depth measure: its function, the group of its rows, and whether it is measured unless named."""

    function: Callable[..., Reading | float]
    group: str
    default: bool

    def __post_init__(self) -> None:
        named = {"__doc__": self.function.__doc__, "__name__": self.function.__name__, "__wrapped__": self.function}
        self.__dict__.update(named, __module__=self.function.__module__)

    @property
    def need(self) -> type:
        """What it is a function of."""
        kind: type = next(iter(inspect.signature(self.function).parameters.values())).annotation
        return kind

    @property
    def name(self) -> str:
        return self.function.__name__

    def __call__(self, of: Any) -> Reading:
        """Its reading: finite, or null with a reason."""
        if isinstance(of, Tokens) and self.group == "tokens" and not_held(of):
            return unknown("the residual is not known")
        try:
            found = self.function(of)
        except RankscopeError as reason:
            return unknown(f"{reason.code}: {reason.given}")
        return finite(found if isinstance(found, Reading) else Reading(float(found), method="computed in float64"))


DEPTH_MEASURES: Final = Registry[DepthMeasure]("depth measure")


def depth_measure(group: str, *, default: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: register a function as a depth measure under its own name."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        DEPTH_MEASURES.add(function.__name__, DepthMeasure(function, group, default))
        return function

    return register


def not_held(tokens: Tokens) -> bool:
    """Whether the residual is not known where it matters: lost altogether, or of any size within its error."""
    unsure = tokens.error > LOST and tokens.residual.log2_norm - tokens.log2_norm > 2 * math.log2(NEAR)
    return unsure or (tokens.lost and not tokens.residual.values.any())


@dataclass(frozen=True)
class Gradients:
    """The norms of the gradients by the maps of a layer, and log₁₀ of the relative residual of its tokens."""

    query: float
    key: float
    value: float
    log10_residual: float | None
