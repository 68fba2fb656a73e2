"""Results as flat rows: what was measured, on which matrix, and how far it can be trusted.

A `Table` holds one row per matrix, one row per number, and arrays (spectra) as series. Everything that shows a
result reads a table and nothing else. A value that is not known is `None` with `because`: there is no NaN and
no infinity in a table.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

from rankscope import __version__
from rankscope.lazy import cached_property
from rankscope.registry import nearest

SCHEMA: Final = 1

Guarantee = Literal["proved", "enclosed", "estimated"]
Subject = Literal["scores", "factors", "log weights", "stored", "tokens", "mask"]
Number = float | int | None


@dataclass(frozen=True)
class Reading:
    """What a measure found: a value with its bounds, guarantee and reason, before it has a matrix.

    `value` is None when it is not known; `because` then says why, and `low` and `high` what is known.
    `sign` belongs to a determinant alone. `method` says how the value was found; `series` hold arrays by name, indexed
    from 1 unless they are mappings.
    """

    value: Number
    guarantee: Guarantee = "estimated"
    method: str = ""
    because: str = ""
    low: Number = None
    high: Number = None
    sign: int | None = None
    subject: Subject | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    series: Mapping[str, list[float] | dict[int, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Matrix:
    """One row of `matrices`: where a matrix comes from. `digest` is the SHA-256 of the numbers that made it.

    `notes` say what was done to it that its reader should know, such as rows that see nothing. `stack` names the heads
    of a model that belong together, and `fidelity` says how far the matrix is from what that model computed: of fused
    attention the largest |P·V − out| of a head over its largest |out|, for the model's values and for random ones, else
    the largest difference of weights. `network` says which network the
    row stands for, in a study of depth.
    """

    id: int
    label: str
    rows: int
    columns: int
    d: int | None = None
    mask: str | None = None
    kernel: str | None = None
    position: str | None = None
    plan: str | None = None
    scale: float | None = None
    dtype: str = "float64"
    source: str = ""
    key: str | None = None
    digest: str | None = None
    notes: tuple[str, ...] = ()
    ensemble: str | None = None
    stack: str | None = None
    fidelity: float | None = None
    network: Mapping[str, Any] | None = None

    @property
    def kind(self) -> tuple[Any, ...]:
        """What it shares with those that differ from it in their seed alone: the entries of `KIND`, and the network."""
        return (*(getattr(self, name) for name in KIND), str(self.network))


@dataclass(frozen=True)
class Record:
    """One number: a measure of one matrix, its value, bounds, guarantee, and the subject it speaks of.

    `null_mean` and `null_sd` are those of matched random attention, over the `null_count` seeds that have a value.
    """

    matrix: int
    measure: str
    value: Number
    group: str = "more"
    low: Number = None
    high: Number = None
    sign: int | None = None
    unit: str = ""
    guarantee: Guarantee = "estimated"
    subject: Subject = "stored"
    method: str = ""
    because: str = ""
    layer: int | None = None
    head: int | None = None
    over: str | None = None
    seed: int | None = None
    status: str = "ok"
    code: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    null_mean: float | None = None
    null_sd: float | None = None
    null_count: int | None = None

    def __float__(self) -> float:
        if self.value is None:
            raise ValueError(f"{self.measure} is not known: {self.because}")
        return float(self.value)


@dataclass(frozen=True)
class Series:
    """An array that belongs to a matrix: a spectrum with the error bound of each value.

    A picture of a matrix is held row by row, `columns` values in each.
    """

    matrix: int
    name: str
    index: list[int]
    values: list[float]
    errors: list[float]
    layer: int | None = None
    head: int | None = None
    over: str | None = None
    seed: int | None = None
    columns: int | None = None


@dataclass(frozen=True, repr=False)
class Table:
    """A result: the study that was run, its matrices, its records and its series.

    `command` is what was typed to make it, without what was to be printed and written; None if it was made in Python.
    `version` is that of the program that made it, and `versions` are those of what it computed with.

    >>> table = Table({}, [Matrix(0, "identity", 2, 2)], [Record(0, "stable_rank", 2.0)], [])
    >>> table["stable_rank"].value
    2.0
    """

    study: Mapping[str, Any]
    matrices: list[Matrix]
    records: list[Record]
    series: list[Series]
    run: Mapping[str, Any] | None = None
    command: str | None = None
    version: str = __version__
    versions: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __repr__(self) -> str:
        return f"<Table: {len(self.records)} records of {len(self.matrices)} matrices>"

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, measure: str) -> "Record | Table":
        """The record of `measure` when there is one; a table of them when there are several."""
        found = [record for record in self.records if record.measure == measure]
        if not found:
            known = dict.fromkeys(record.measure for record in self.records)
            hint = nearest(measure, list(known))
            held = hint if hint.startswith("did you mean") else f"this result holds {', '.join(known)}"
            raise KeyError(f"{measure!r} was not measured; {held}")
        return found[0] if len(found) == 1 else replace(self, records=found)

    @property
    def values(self) -> list[Number]:
        """The value of each record, None where it is not known."""
        return [record.value for record in self.records]

    @property
    def over_depth(self) -> bool:
        """Whether it is that of a study of depth: its rows stand for networks."""
        return any(matrix.network is not None for matrix in self.matrices)

    def setting(self, name: str) -> list[Any]:
        """What the study says of `name`: one value, one of each study that was merged, or none where none is known."""
        merged = self.study.get("studies")
        studies = merged if isinstance(merged, list) else [self.study]
        said = [each[name] for each in studies if isinstance(each, Mapping) and name in each]
        return [value for place, value in enumerate(said) if value not in said[:place]]

    def of(self, matrix: Matrix) -> list[Record]:
        """The records of one matrix, in the order in which they were measured."""
        return self.by_matrix.get(matrix.id, [])

    @cached_property
    def by_matrix(self) -> dict[int, list[Record]]:
        """The records of each matrix by its number."""
        found: dict[int, list[Record]] = {}
        for record in self.records:
            found.setdefault(record.matrix, []).append(record)
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary per record, with the columns of its matrix joined on."""
        matrices = {matrix.id: asdict(matrix) for matrix in self.matrices}
        joined = []
        for record in self.records:
            row = {**matrices[record.matrix], **shallow(record)}
            del row["id"]
            joined.append(row)
        return joined

    def summary(self, least: int = 2) -> list[dict[str, Any]]:
        """Mean, standard deviation, count, least and greatest of each measure that has at least so many seeds."""
        groups: dict[tuple[Any, ...], list[Record]] = {}
        made = {matrix.id: matrix.kind for matrix in self.matrices}
        for record in self.records:
            place = record.layer, record.head, record.over, record.measure, record.subject
            groups.setdefault((made[record.matrix], *place), []).append(record)
        several = {key: found for key, found in groups.items() if len({record.seed for record in found}) >= least}
        return [row for (kind, *place), found in several.items() for row in over_seeds((*kind[:-1], *place), found)]

    def document(self) -> dict[str, Any]:
        """The result as plain data, in the order of the JSON schema that the package ships."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "rankscope": self.version,
            "study": self.study,
            "matrices": [shallow(matrix) for matrix in self.matrices],
            "records": [shallow(record) for record in self.records],
            "series": [shallow(series) for series in self.series],
            "summary": self.summary(),
        }
        more = {"command": self.command, "versions": self.versions, "run": self.run}
        return {**document, **{name: value for name, value in more.items() if value}}

    def to_json(self) -> str:
        """The document as JSON; never NaN, never infinity, the same bytes for the same study."""
        import json

        return json.dumps(self.document(), allow_nan=False, ensure_ascii=True) + "\n"


def shallow(row: Matrix | Record | Series) -> dict[str, Any]:
    """A row as a dictionary, without copying the arrays that it holds."""
    return {each.name: getattr(row, each.name) for each in fields(row)}


KIND: Final = (
    "label",
    "rows",
    "columns",
    "d",
    "mask",
    "kernel",
    "position",
    "plan",
    "scale",
    "dtype",
    "source",
    "key",
    "ensemble",
)
"""What matrices must share for their seeds to be summed up."""


def over_seeds(key: tuple[Any, ...], records: list[Record]) -> Iterable[dict[str, Any]]:
    """The summary row of the records that share `key`, if any of their values is known."""
    values = [float(record.value) for record in records if record.value is not None]
    if not values:
        return
    mean, deviation = mean_and_deviation(values)
    yield {
        **dict(zip((*KIND, "layer", "head", "over", "measure", "subject"), key, strict=True)),
        "mean": mean,
        "sd": deviation,
        "count": len(values),
        "min": min(values),
        "max": max(values),
    }


def mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """The mean of some values, and their sample standard deviation if they are several."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def schema() -> dict[str, Any]:
    """The JSON schema of `Table.document`."""
    import json

    text = Path(__file__).with_name("schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
