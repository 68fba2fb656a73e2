"""Where a matrix comes from, and what theory says of large ones of its kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limit:
    """What a measure tends to as a matrix grows, and the formula."""

    value: float
    formula: str


@dataclass(frozen=True)
class Origin:
    """Where a matrix comes from: the columns of `records.Matrix` that do not depend on its numbers, and its place.

    `stack` names the heads that belong together, layer by layer, whatever else they differ in: the encoder of a model,
    or its decoder; "model" where there is one. `fidelity` says of a captured head how far its matrix is from what the
    model computed. `limits` hold, by measure, what theory says of large matrices of this kind.
    """

    label: str = "array"
    d: int | None = None
    mask: str | None = None
    kernel: str | None = None
    position: str | None = None
    plan: str | None = None
    scale: float | None = None
    dtype: str = "float64"
    source: str = "array"
    key: str | None = None
    digest: str | None = None
    layer: int | None = None
    head: int | None = None
    over: str | None = None
    seed: int | None = None
    notes: tuple[str, ...] = ()
    ensemble: str | None = None
    stack: str | None = None
    fidelity: float | None = None
    limits: Mapping[str, Limit] = field(default_factory=dict)
