"""Tables made by hand, for everything that shows tables: a report reads records and nothing else."""

from dataclasses import replace
from typing import Any

from rankscope.records import Matrix, Record, Series, Table

HOSTILE = {
    "formula": '=HYPERLINK("http://a.example","b")',
    "plus": "+1+2",
    "minus": "-1",
    "at": "@SUM(1)",
    "tab": "\tx",
    "markup": "layer[/]$\\foo$=cmd",
    "script": "<script>alert(1)</script>",
    "attribute": "\"' onmouseover='alert(1)",
    "entity": "&lt;b&gt;",
    "escape": "\x1b[2Jgone",
    "csi": "\x9b2Jgone",
    "null": "a\x00b",
    "pipes": "| a | b |",
    "latex": "\\input{/etc/passwd} 100 % & # _ ^ ~ {}",
    "line": "a\nb",
    "carriage": "a\rb",
    "paragraph": "a\u2029b\x85c",
    "direction": "\u202egnp.exe",
    "chinese": "注意力",
    "template": "{{7*7}}${7*7}",
    "link": "**b** ~~s~~ [l](javascript:x) ![i](http://a.example/i.png) `c`",
    "backslashes": "\\\\| \\| \\",
    "long": "x" * 300,
    "spaces": "  a   b  ",
    "hyphens": "all-MiniLM-L6-v2",
    "empty": "",
}
"""Names that mean something to one output or another."""


def matrix(identity: int = 0, label: str = "causal softmax", size: int = 8, **fields: Any) -> Matrix:
    return Matrix(identity, label, size, size, **fields)


def record(measure: str, value: float | int | None, **fields: Any) -> Record:
    groups = {"logdet": "determinant", "sigma_max": "spectrum", "log10_sigma_min": "spectrum", "hoyer": "rows"}
    group = groups.get(measure, "rank")
    fields = {"group": group, "because": "" if value is not None else "nobody knows", **fields}
    return Record(fields.pop("matrix", 0), measure, value, **fields)


def table(records: list[Record], matrices: list[Matrix] | None = None, series: list[Series] | None = None) -> Table:
    found = matrices if matrices is not None else [matrix()]
    return Table({}, found, records, series or [])


def usual(identity: int = 0) -> list[Record]:
    """A few records as an analysis of a causal matrix of 8 tokens gives them."""
    details = {
        "rule": "numpy",
        "tolerance": 2e-13,
        "sigma_above": 7.6e-13,
        "sigma_below": 6.0e-15,
        "gap": 127.0,
        "ladder": {"1e-02": 4},
    }
    because = "lower triangular with a positive diagonal"
    made = [
        record("rank_exact", 8, low=8, high=8, guarantee="proved", subject="scores", because=because),
        record("rank_numerical", 5, low=5, high=5, method="σ > τ by the rule numpy", details=details),
        record("effective_rank", 3.25, method="exp of the entropy of σ/Σσ"),
        record("stable_rank", 1.5, method="‖A‖_F² / σ₁²"),
        record("logdet", -29.5, low=-29.6, high=-29.4, sign=1, guarantee="proved", subject="scores", unit="nats",
               method="Σ log a_ii", because=because),
        record("sigma_max", 1.25, low=1.24, high=1.26),
        record("hoyer", 0.25, method="mean over rows", details={"rows_left_out": 1}),
    ]  # fmt: skip
    return [replace(each, matrix=identity) for each in made]


def named(label: str) -> Table:
    """One matrix of this label, with the usual records."""
    return table(usual(), [matrix(label=label, key=label, source=label)])


def several(count: int, label: str = "layer {} head {}", **fields: Any) -> Table:
    """Matrices with the usual records, labelled by layer and head."""
    matrices = [matrix(i, label.format(i // 4, i % 4), **fields) for i in range(count)]
    return table([each for i in range(count) for each in usual(i)], matrices)


def refused(identity: int, label: str) -> tuple[Matrix, list[Record]]:
    """A matrix with NaN in it."""
    because = f"NaN in {label}: 1 of 64 entries, the first at row 2, column 3 (counted from 0)"
    records = [
        replace(record(each.measure, None, because=because, status="refused", code="RS110"), matrix=identity)
        for each in usual()
    ]
    return matrix(identity, label), records
