"""Which numbers of a table lack a guarantee that is required, and what can be done about it."""

from typing import Final, Literal

from rankscope.records import Record, Table

PROVABLE: Final = ("rank_exact", "logdet")
"""What can be proved; other ranks and singular values can be enclosed, and measures of rows are estimates."""

ENCLOSABLE: Final = ("rank", "determinant", "spectrum")
"""The groups of measures that can be enclosed."""


def lacking(table: Table, guarantee: Literal["proved", "enclosed"]) -> tuple[str, str] | None:
    """What lacks the guarantee and what to do, as the two halves of an error; None if nothing does."""
    named = any(table.setting("measures"))
    judged = [record for record in table if named or able(record, guarantee)]
    allowed = ("proved",) if guarantee == "proved" else ("proved", "enclosed")
    found = [record for record in judged if record.guarantee not in allowed or left_open(record)]
    if not found:
        return None
    labels = {matrix.id: matrix.label for matrix in table.matrices}
    listed = [described(record, labels[record.matrix]) for record in found]
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return f"not {guarantee}: {', '.join(listed[:5])}{more}", remedy(table, found, guarantee)


def able(record: Record, guarantee: Literal["proved", "enclosed"]) -> bool:
    """Whether a measure is judged where none was named."""
    return record.measure in PROVABLE if guarantee == "proved" else record.group in ("rank", "determinant")


def left_open(record: Record) -> bool:
    """Whether a value is not known although it exists."""
    return record.value is None and record.sign != 0 and (record.low is not None or record.high is not None)


def described(record: Record, label: str) -> str:
    """A record and what is known of it."""
    seed = "" if record.seed is None else f" seed {record.seed}"
    known = f"only {record.low} to {record.high} is {record.guarantee}" if left_open(record) else record.guarantee
    return f"{record.measure} of {label}{seed} ({known})"


def remedy(table: Table, found: list[Record], guarantee: Literal["proved", "enclosed"]) -> str:
    """What can be done."""
    if any(record.group not in ENCLOSABLE and record.measure != "rank_scores" for record in found):
        return "leave out measures of rows and scores, which are estimates: name others with -m"
    if guarantee == "proved" and any(record.measure not in PROVABLE for record in found):
        return f"they can be enclosed at most: name {' and '.join(PROVABLE)} with -m, or require enclosed"
    if table.setting("prove") != [True] and table.setting("spectrum") != ["exact"]:
        return "add --prove (prove=True)"
    return "give a larger --budget; -v says what was not tried"
