"""A study of depth: which networks, and what is measured of them and of their attention matrices."""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rankscope.analyzer.analyze import chosen
from rankscope.analyzer.analyze import measures as matrix_measures
from rankscope.analyzer.depth import DEPTH_MEASURES, DepthMeasure
from rankscope.analyzer.measure import Measure
from rankscope.analyzer.numerics import Numerics
from rankscope.analyzer.residual import Centre
from rankscope.errors import error
from rankscope.generators.network import Stack
from rankscope.registry import Registry, nearest

OF_MATRICES: Final = ("effective_rank", "row_entropy_normalized")
"""What is measured of each attention matrix unless names are given."""


@dataclass(frozen=True)
class DepthStudy:
    """Networks, and what is measured of them.

    `measures` are names of depth measures, and of measures of matrices for each attention matrix; none for the default
    set. `centre` and `absolute` say which residual; `paths` decomposes the network into paths, and `product` measures
    the product of its attention matrices over layers.
    """

    stacks: tuple[Stack, ...]
    measures: tuple[str, ...] = ()
    centre: Centre = "mean"
    absolute: bool = False
    paths: bool = False
    product: bool = False
    numerics: Numerics = field(default_factory=Numerics)
    blas_threads: int = 1

    def described(self) -> dict[str, Any]:
        """The study as plain data."""
        return {
            "command": "depth",
            "sources": [stack.described() for stack in self.stacks],
            "measures": list(self.measures),
            "centre": self.centre,
            "absolute": self.absolute,
            "paths": self.paths,
            "product": self.product,
            **asdict(self.numerics),
            "blas_threads": self.blas_threads,
        }


@dataclass(frozen=True)
class Chosen:
    """The measures of a study: of the tokens and layers, and of each attention matrix."""

    depth: tuple[DepthMeasure, ...]
    matrices: tuple[Measure, ...]

    def needing(self, kind: type) -> list[DepthMeasure]:
        """The depth measures of one kind of need."""
        return [measure for measure in self.depth if measure.need is kind]


def choose(names: tuple[str, ...]) -> Chosen:
    """The measures called `names`; the default ones for none, every depth measure for "all"."""
    every = [entry.function for entry in depth_measures()]
    if not names:
        return Chosen(tuple(each for each in every if each.default), tuple(chosen(OF_MATRICES)))
    if "all" in names:
        return Chosen(tuple(every), tuple(chosen(OF_MATRICES)))
    known = [each.name for each in every]
    of_matrices = tuple(name for name in names if name not in known)
    for name in of_matrices:
        if name not in matrix_measures().names() and name not in matrix_measures().aliases:
            remedy = nearest(name, [*known, *matrix_measures().names()])
            raise error("RS001", f"there is no measure {name!r} of depth or of matrices", remedy)
    return Chosen(
        tuple(each for each in every if each.name in names), tuple(chosen(of_matrices)) if of_matrices else ()
    )


def depth_measures() -> Registry[DepthMeasure]:
    """Every depth measure, in the order of their groups."""
    from rankscope.analyzer import collapse, contraction, graph, token_measures  # noqa: F401  imported for what they register

    return DEPTH_MEASURES
