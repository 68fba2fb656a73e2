"""A measure is a function, and the type of its parameter says what it needs.

Needs are computed once per matrix and shared: twenty measures of singular values cost one decomposition.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, overload

from rankscope.analyzer.needs import BY_STRUCTURE, NEEDS, Needs, Scores
from rankscope.analyzer.numerics import Numerics
from rankscope.analyzer.spectrum import Spectrum
from rankscope.arrays import FLOAT64, blas_threads
from rankscope.attention.existing import single
from rankscope.attention.operators import Operator, stored, stored_differs
from rankscope.attention.origin import Origin
from rankscope.errors import RankscopeError, error
from rankscope.lazy import cached_property
from rankscope.records import Reading, Record
from rankscope.registry import Registry

Group = Literal["rank", "determinant", "spectrum", "rows", "scores", "more"]


@dataclass(frozen=True)
class Measure:
    """A registered measure. Called with a matrix, or anything that makes one, it returns a `Record`."""

    function: Callable[..., Reading | float]
    unit: str
    group: Group
    default: bool

    def __post_init__(self) -> None:
        named = {"__doc__": self.function.__doc__, "__name__": self.function.__name__, "__wrapped__": self.function}
        self.__dict__.update(named, __module__=self.function.__module__)
        for name, kind in self.kinds.items():
            if kind not in NEEDS:
                known = ", ".join(need.__name__ for need in NEEDS)
                given = f"the parameter {name!r} of the measure {self.name!r} is not annotated with a need"
                raise error("RS005", given, f"annotate it with one of {known}")

    @cached_property
    def kinds(self) -> dict[str, type]:
        """The parameters of the measure and the needs that they are annotated with."""
        return {name: each.annotation for name, each in inspect.signature(self.function).parameters.items()}

    @property
    def name(self) -> str:
        return self.function.__name__

    def __call__(self, matrix: Any, *, rule: str | None = None, rtol: float | None = None) -> Record:
        """The record of this measure for one matrix; `rule` and `rtol` choose the tolerance of numerical ranks."""
        operator = self.subjects(single(matrix))[0]
        with blas_threads(1):
            return self.record(Needs(operator, Numerics(rule, rtol)))

    def record(self, needs: Needs, identity: int = 0) -> Record:
        """The reading as a row of a table: the record of matrix number `identity`."""
        return self.row(self.read(needs), needs.operator, identity)

    def row(self, reading: Reading, operator: Operator, identity: int) -> Record:
        """The row of a table that a reading makes, with the place of its matrix."""
        origin = operator.origin
        return Record(
            identity,
            self.name,
            reading.value,
            self.group,
            reading.low,
            reading.high,
            reading.sign,
            self.unit,
            reading.guarantee,
            reading.subject or operator.subject,
            reading.method,
            reading.because,
            origin.layer,
            origin.head,
            origin.over,
            origin.seed,
            details={**reading.details, **limit_of(origin, self.name)},
        )

    def read(self, needs: Needs) -> Reading:
        """The reading of this measure, from needs that are already shared: finite, or null with a reason."""
        reading = finite(self.found(needs))
        tried = needs.tried(self.kinds.values())
        return replace(reading, details={**reading.details, "tried": tried}) if tried else reading

    def found(self, needs: Needs) -> Reading:
        """What the function of this measure gives, as it is."""
        try:
            found = self.function(**{name: needs.of(kind) for name, kind in self.kinds.items()})
        except RankscopeError:
            raise
        except Exception as reason:  # a user's own measure can fail in any way
            given = f"the measure {self.name!r} failed: {type(reason).__name__}: {reason}"
            raise error("RS005", given, "mend it; --debug shows where it failed") from reason
        if not isinstance(found, Reading):
            method = f"from {needs.spectrum.method}" if Spectrum in self.kinds.values() else "computed in float64"
            found = Reading(float(found), "estimated", method)
        return found

    def subjects(self, operator: Operator) -> list[Operator]:
        """The matrices this measure speaks of: the subject, the stored numbers, or both where they differ.

        Structure knows the exact subject. Singular values and rows are those of the numbers that are stored.
        """
        if not stored_differs(operator):
            return [operator]
        if set(self.kinds.values()) <= BY_STRUCTURE:
            return [operator, stored(operator)]
        if Scores in self.kinds.values() or operator.storage is FLOAT64:
            return [operator]
        return [stored(operator)]


def limit_of(origin: Origin, name: str) -> dict[str, Any]:
    """What theory says of the measure for large matrices of this kind, as details of its record."""
    limit = origin.limits.get(name)
    return {} if limit is None else {"limit": limit.value, "limit_formula": limit.formula}


NOT_FINITE: Final = "the measure gave no finite number"

MEASURES: Final = Registry[Measure]("measure", aliases={"erank": "effective_rank"})


@overload
def measure(function: Callable[..., Reading | float], /) -> Measure: ...
@overload
def measure(*, unit: str = "", group: Group = "more", default: bool = True) -> Callable[[Any], Measure]: ...
def measure(
    function: Callable[..., Reading | float] | None = None,
    /,
    *,
    unit: str = "",
    group: Group = "more",
    default: bool = True,
) -> Any:
    """Register a function as a measure under its own name. Its parameters are annotated with what they need:
    `Spectrum`, `LogDet`, `Smallest`, `Rows`, `Scores`, `Bounds`, `Storage`, `Numerics`.

    It returns a number, or a `Reading` with bounds, guarantee and method. A measure that is not `default` is computed
    only when it is named.
    """

    def register(function: Callable[..., Reading | float]) -> Measure:
        made = Measure(function, unit, group, default)
        MEASURES.add(made.name, made)
        return made

    return register if function is None else register(function)


def finite(reading: Reading) -> Reading:
    """The reading without NaN and infinity: a value is then not known, a bound says nothing."""
    low, high = (None if each is None or not math.isfinite(each) else each for each in (reading.low, reading.high))
    details = {
        name: None if isinstance(each, float) and not math.isfinite(each) else each
        for name, each in reading.details.items()
    }
    kept = replace(reading, low=low, high=high, details=details)
    if reading.value is None or math.isfinite(reading.value):
        return kept
    return replace(kept, value=None, because=reading.because or NOT_FINITE)


def unknown(because: str, **known: Any) -> Reading:
    """A reading without a value, and why."""
    return Reading(None, because=because, **known)
