"""What proofs may cost: a budget that is counted and not clocked, and a note of everything that was tried.

An operation is charged what it takes on one core of 2024, so that the load of the machine changes the time and never
the result.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from rankscope.arrays import available_memory
from rankscope.attention.operators import Concatenation, Mean, Operator, Product
from rankscope.attention.subject import Recurrence

MOST_BITS: Final = 2**15
"""Precision is raised up to here, 10^9864 below one, before a number is left unresolved."""


@dataclass
class Ledger:
    """What may still be spent on one matrix, in seconds of one core of 2024, and what was tried."""

    budget: float
    spent: float = 0.0
    tried: dict[str, list[str]] = field(default_factory=dict)

    def affords(self, topic: str, route: str, seconds: float, memory: float = 0.0) -> bool:
        """Charge a route if budget and memory (in bytes) allow it, and say so if they do not."""
        if memory > 0.8 * available_memory():
            self.note(topic, f"{route}: not tried, it needs about {memory / 2**30:.1f} GiB")
            return False
        if self.spent + seconds > self.budget:
            left = max(self.budget - self.spent, 0.0)
            self.note(topic, f"{route}: not tried, about {seconds:.2g} s with {left:.2g} s of the budget left")
            return False
        self.spent += seconds
        return True

    def note(self, topic: str, outcome: str) -> None:
        """Remember what a route gave."""
        self.tried.setdefault(topic, []).append(outcome)


def product_cost(shape: tuple[int, ...], bits: int) -> float:
    """Seconds for a product of matrices of balls of this size."""
    return float(math.prod(shape) * max(shape) * (1e-9 + 8e-12 * bits))


def making_cost(operator: Operator) -> float:
    """Seconds to make the balls of a matrix: recurrences are followed token by token."""
    if isinstance(operator, Product | Mean | Concatenation):
        return sum(making_cost(part) for part in operator.parts)
    rows, columns = operator.shape
    match operator.definition:
        case Recurrence(left):
            return 2e-7 * rows * left.size
    return 1e-6 * rows * columns


def ball_memory(shape: tuple[int, ...], bits: int) -> float:
    """Bytes for the matrices of balls of this size that are alive together, as matrices and as lists of their rows."""
    return float(8 * math.prod(shape) * (160 + bits / 4))


def widening(first: int) -> Iterator[int]:
    """Bits of precision, doubled each time."""
    bits = first
    while bits <= MOST_BITS:
        yield bits
        bits *= 2


def below(ball: Any) -> float:
    """A float64 at or below a ball."""
    return math.nextafter(float(ball.lower()), -math.inf)


def above(ball: Any) -> float:
    """A float64 at or above a ball."""
    return math.nextafter(float(ball.upper()), math.inf)
