"""Which matrices of a result are of one kind, differing in their seeds alone, and what tells the others apart."""

from dataclasses import dataclass, field, replace
from typing import Any

from rankscope.records import Matrix, Record, Table
from rankscope.report.cells import printable


@dataclass
class Kind:
    """Matrices that differ in their seeds alone: their records, and the summary of these by measure and subject."""

    name: str
    matrices: list[Matrix] = field(default_factory=list)
    records: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    means: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def mean(self, measure: str) -> dict[str, Any] | None:
        """The summary of a measure, of the subject that was measured first; None where no seed has a value."""
        return next((row for (name, _), row in self.means.items() if name == measure), None)

    def alike(self, measure: str, subject: str) -> Record | None:
        """A record that stands for all, where none has a value and all say the same instead: bounds, or a sign of 0."""
        found = self.records.get((measure, subject), [])
        said = {(r.value, r.low, r.high, r.sign, r.guarantee) for r in found}
        return found[0] if len(said) == 1 and found[0].value is None else None

    def error(self, measure: str, subject: str) -> float:
        """The largest half width between the bounds of the values of a measure; zero where none has bounds."""
        found = self.records.get((measure, subject), [])
        return max((r.high / 2 - r.low / 2 for r in found if r.low is not None and r.high is not None), default=0.0)

    def guarantee(self, measure: str, subject: str) -> str:
        """The guarantee that all values of a measure have; nothing where they differ."""
        found = {record.guarantee for record in self.records.get((measure, subject), [])}
        return found.pop() if len(found) == 1 else ""


def kinds(table: Table) -> list[Kind]:
    """The matrices of a result in groups that differ in their seeds alone, with the summary of each."""
    found: dict[tuple[Any, ...], Kind] = {}
    of: dict[int, Kind] = {}
    for matrix in table.matrices:
        of[matrix.id] = found.setdefault(matrix.kind[:-1], Kind(printable(matrix.label)))
        of[matrix.id].matrices.append(matrix)
    for record in table:
        of[record.matrix].records.setdefault((record.measure, record.subject), []).append(record)
    width = len(next(iter(found), ()))
    for row in table.summary(least=1):
        found[tuple(row.values())[:width]].means[row["measure"], row["subject"]] = row
    return list(found.values())


def varies_seeds(table: Table) -> bool:
    """Whether some of its matrices differ in their seeds alone."""
    seeds: dict[tuple[Any, ...], set[int | None]] = {}
    made = {matrix.id: matrix.kind for matrix in table.matrices}
    for record in table:
        seeds.setdefault((made[record.matrix], record.layer, record.head, record.over), set()).add(record.seed)
    return any(len(each) > 1 for each in seeds.values())


def told_apart(table: Table) -> Table:
    """The same table, in which the label of a matrix ends with what it differs in from its namesakes."""
    namesakes: dict[str, list[dict[str, str]]] = {}
    for matrix in table.matrices:
        namesakes.setdefault(matrix.label, []).append(sizes_of(matrix))
    differing = {
        label: [name for name in same[0] if len({each[name] for each in same}) > 1] for label, same in namesakes.items()
    }
    matrices = []
    for matrix in table.matrices:
        sizes = sizes_of(matrix)
        told = [sizes[name] for name in differing[matrix.label]]
        matrices.append(replace(matrix, label=" ".join(filter(None, [matrix.label, *told]))))
    return replace(table, matrices=matrices)


def sizes_of(matrix: Matrix) -> dict[str, str]:
    """What labels leave out, in words."""
    shape = f"n {matrix.rows}" if matrix.rows == matrix.columns else f"{matrix.rows} × {matrix.columns}"
    scale = "" if matrix.scale is None else f"scale {matrix.scale:g}"
    plan = f"plan {matrix.plan}" if matrix.plan else ""
    d = "" if matrix.d is None else f"d {matrix.d}"
    source = "" if matrix.source in matrix.label else printable(matrix.source)
    return {"shape": shape, "d": d, "scale": scale, "dtype": matrix.dtype, "plan": plan, "source": source}
