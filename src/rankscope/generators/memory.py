"""Matrices that exist already, or that are made from arrays that do."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from rankscope.attention.existing import bare, slices
from rankscope.attention.operators import Operator
from rankscope.attention.origin import Origin
from rankscope.errors import InputError
from rankscope.generators.stack import Job, Work


@dataclass(frozen=True, eq=False)
class InMemory:
    """Matrices that exist already, or that are made from arrays that do."""

    jobs: tuple[Job, ...]

    def work(self) -> Work:
        """The jobs themselves."""
        return Work(list(self.jobs))

    def described(self) -> dict[str, Any]:
        """How many matrices there are; their digests stand in the table."""
        return {"kind": "memory", "matrices": len(self.jobs)}


def in_memory(matrices: Any) -> list[Job]:
    """A job for each matrix of operators, arrays, a list of either, or a source such as a capture."""
    if isinstance(matrices, Operator):
        return [Job(matrices.origin, matrices.shape, lambda: matrices)]
    if hasattr(matrices, "work"):
        return list(matrices.work().jobs)
    if isinstance(matrices, list | tuple) and any(hasattr(each, "shape") for each in matrices):
        return [job for number, each in enumerate(matrices) for job in one_of(number, each)]
    return [Job(each[2], each[0].shape, partial(bare, *each)) for each in slices(matrices)]


def one_of(number: int, matrix: Any) -> list[Job]:
    """The jobs of one matrix of a list; one that cannot be converted is refused when its turn comes."""
    try:
        return in_memory(matrix)
    except InputError as reason:

        def refuse(reason: InputError = reason) -> Operator:
            raise reason

        return [Job(Origin(label=f"matrix {number}"), (0, 0), refuse)]
