"""The battery of measures."""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from rankscope.analyzer.measure import Measure
from rankscope.analyzer.needs import Needs
from rankscope.attention.build import attention
from rankscope.attention.existing import matrix, single
from rankscope.attention.operators import Operator
from rankscope.generators.synthetic import queries_and_keys
from rankscope.study import analyze
from rankscope.testing.battery import battery, require


def matrices() -> Iterator[tuple[str, Any]]:
    """Matrices that break careless measures: empty, zero, tiny, rectangular, singular, huge, triangular."""
    random = np.random.default_rng(0)
    yield "empty", np.zeros((0, 0))
    yield "no columns", np.zeros((3, 0))
    yield "zero", np.zeros((3, 3))
    yield "one entry", np.array([[0.5]])
    yield "identity", np.eye(4)
    yield "rank one", np.full((4, 4), 0.25)
    yield "rectangular", random.random((3, 5))
    yield "huge", np.full((3, 3), 1e308)
    yield "subnormal", np.full((2, 2), 5e-324)
    yield "signed", random.standard_normal((6, 6))
    yield "lower", np.tril(random.random((6, 6)) + 0.1)
    yield "float16", random.random((5, 5)).astype(np.float16)
    yield "causal", single(attention(*queries_and_keys(12, 3, seed=1), mask="causal"))
    yield "linear", single(attention(*queries_and_keys(12, 3, seed=1), kernel="linear"))


@battery
def check_measure(measure: Measure) -> None:
    """A measure answers for every matrix with a finite number or None with a reason, within its own bounds,
    alike for every memory layout, and can be written as JSON.
    """
    for name, given in matrices():
        operator = single(matrix(given))
        reading = measure.found(Needs(operator))
        for each in (reading.value, reading.low, reading.high):
            require(each is None or math.isfinite(each), f"{measure.name} of the {name} matrix is {each}")
        table = analyze(operator, measures=[measure.name]).table
        require(table.records, f"{measure.name}: no record for the {name} matrix")
        for record in table:
            require(
                record.value is not None or record.because,
                f"{measure.name} of the {name} matrix is null without a reason",
            )
            if record.value is not None:
                inside = (record.low is None or record.low <= record.value) and (
                    record.high is None or record.value <= record.high
                )
                require(
                    inside, f"{measure.name} of the {name} matrix: {record.value} outside [{record.low}, {record.high}]"
                )
        json.loads(table.to_json())
        check_layouts(measure, name, operator)


def check_layouts(measure: Measure, name: str, operator: Operator) -> None:
    """The same numbers in another memory layout give the same record."""
    held = operator.matrix
    first = analyze(np.ascontiguousarray(held), measures=[measure.name]).table.records
    for other in (np.asfortranarray(held), np.repeat(held, 2, axis=0)[::2], held.astype(held.dtype.newbyteorder())):
        again = analyze(other, measures=[measure.name]).table.records
        require(again == first, f"{measure.name} of the {name} matrix depends on the memory layout")
