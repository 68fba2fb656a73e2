"""Which matrices of a result are of one kind, differing in their seeds alone, and what tells the others apart."""

from dataclasses import dataclass, field, replace
from typing import Any

from rankscope.records import Matrix, Table
from rankscope.report.cells import printable


@dataclass
class Kind:
    """Matrices that differ in their seeds alone, with their rows of the summary by measure and subject."""

    name: str
    matrices: list[Matrix] = field(default_factory=list)
    means: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def mean(self, measure: str) -> dict[str, Any] | None:
        """The summary of a measure, of the subject that was measured first; None where no seed has a value."""
        return next((row for (name, _), row in self.means.items() if name == measure), None)


def kinds(table: Table) -> list[Kind]:
    """The matrices of a result in groups that differ in their seeds alone, with the summary of each."""
    found: dict[tuple[Any, ...], Kind] = {}
    for matrix in table.matrices:
        found.setdefault(matrix.kind[:-1], Kind(printable(matrix.label))).matrices.append(matrix)
    width = len(next(iter(found), ()))
    for row in table.summary():
        found[tuple(row.values())[:width]].means[row["measure"], row["subject"]] = row
    return list(found.values())


def told_apart(table: Table) -> Table:
    """The same table, in which the label of a matrix ends with the sizes by which it differs from its namesakes."""
    namesakes: dict[str, list[dict[str, str]]] = {}
    for matrix in table.matrices:
        namesakes.setdefault(matrix.label, []).append(sizes_of(matrix))
    matrices = []
    for matrix in table.matrices:
        same = namesakes[matrix.label]
        differing = [text for name, text in sizes_of(matrix).items() if len({each[name] for each in same}) > 1]
        matrices.append(replace(matrix, label=" ".join(filter(None, [matrix.label, *differing]))))
    return replace(table, matrices=matrices)


def sizes_of(matrix: Matrix) -> dict[str, str]:
    """What labels leave out, in words."""
    shape = f"n {matrix.rows}" if matrix.rows == matrix.columns else f"{matrix.rows} × {matrix.columns}"
    return {"shape": shape, "d": "" if matrix.d is None else f"d {matrix.d}", "dtype": matrix.dtype}
