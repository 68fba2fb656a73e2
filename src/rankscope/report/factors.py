"""What a factor does to the effective rank: matrices, or means over seeds, that are equal in everything else, in pairs.

With many combinations of masks, kernels and sizes no list of values shows what matters. A factor that is a name is
compared with its first value; one that is a number goes from each value to the next.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from rankscope.records import Matrix, Table
from rankscope.report.cells import DIGITS, number, printable
from rankscope.report.kinds import kinds

NAMES: Final = {
    "mask": " masks",
    "kernel": " kernels",
    "position": " as position",
    "ensemble": " ensembles",
    "dtype": "",
}
"""The factors that are names, and the words for several of each."""

UNSAID: Final = {"position": "none", "ensemble": "gaussian"}
"""What a matrix has whose row does not name the factor."""

NUMBERS: Final = ("n", "d", "scale")
"""The factors that are numbers."""

MOST: Final = 4
"""Sentences that are said: of each factor the clearest first."""

Settings = Mapping[str, Any]
Pairs = list[tuple[float, float]]


def factors(table: Table) -> Iterator[str]:
    """What each factor that takes several values does to the effective rank, all else equal, where two pairs tell."""
    rows = measured(table)
    said = [of_factor(rows, factor) for factor in (*NAMES, *NUMBERS)]
    turns = range(max(map(len, said)))
    yield from [texts[turn] for turn in turns for texts in said if turn < len(texts)][:MOST]


def measured(table: Table) -> list[tuple[Settings, float]]:
    """The settings of each kind of matrices with its mean effective rank; none of a stack, whose heads differ more."""
    if any(record.layer is not None or record.head is not None for record in table):
        return []
    rows: list[tuple[Settings, float]] = []
    for kind in kinds(table):
        row = kind.mean("effective_rank")
        if row is not None and row["mean"] > 0:
            used = {
                record.seed for record in kind.records["effective_rank", row["subject"]] if record.value is not None
            }
            rows.append(({**settings(kind.matrices[0]), "seeds": used, "subject": row["subject"]}, row["mean"]))
    return rows


def settings(matrix: Matrix) -> dict[str, Any]:
    """What was chosen to make a matrix. Its number of queries is one more setting where it differs from n."""
    names = (*NAMES, "d", "scale", "plan", "source", "key")
    found = {name: getattr(matrix, name) for name in names}
    chosen = {name: UNSAID.get(name) if value is None else value for name, value in found.items()}
    return {**chosen, "n": matrix.columns, "queries": matrix.rows if matrix.rows != matrix.columns else None}


def of_factor(rows: Sequence[tuple[Settings, float]], factor: str) -> list[str]:
    """What is said of one factor: for each of its values but the first, or once where it is a number."""
    values = list(dict.fromkeys(row[factor] for row, _ in rows if row[factor] is not None))
    if len(values) < 2:
        return []
    equal: list[tuple[dict[str, Any], dict[Any, float]]] = []
    for row, value in rows:
        rest = {name: each for name, each in row.items() if name != factor}
        of = next((found for others, found in equal if others == rest), None)
        if of is None:
            equal.append((rest, of := {}))
        of[row[factor]] = value
    if factor in NUMBERS:
        steps = [
            (of[a], of[b]) for _, of in equal for a, b in pairwise(sorted(each for each in of if each is not None))
        ]
        return [of_steps(factor, steps)] if len(steps) > 1 else []
    first, *others = values
    found = [(other, [(of[first], of[other]) for _, of in equal if first in of and other in of]) for other in others]
    told = sorted((each for each in found if len(each[1]) > 1), key=lambda each: clearness(each[1]), reverse=True)
    return [of_pairs(f"With {printable(str(other))} instead of {printable(str(first))}{NAMES[factor]}", pairs)
            for other, pairs in told]  # fmt: skip


def clearness(pairs: Pairs) -> float:
    """How far the mean of the factors lies from 1, on the side of which there are more."""
    mean = sum(after / before for before, after in pairs) / len(pairs)
    return max(mean, 1 / mean)


def of_pairs(change: str, pairs: Pairs) -> str:
    """In how many pairs the second value is the lower one, or the higher one, and by which factors."""
    lower, higher = directions(pairs)
    side, count = ("lower", lower) if lower >= higher else ("higher", higher)
    if not count:
        return f"{change}, all else equal, the effective rank is the same in {len(pairs)} of {len(pairs)} pairs."
    return (
        f"{change}, all else equal, the effective rank is {side} in {count} of {len(pairs)} pairs, {by(pairs, count)}."
    )


def of_steps(factor: str, steps: Pairs) -> str:
    """In how many steps the effective rank grows with a number, or falls, and by which factors."""
    lower, higher = directions(steps)
    does, count = ("grows", higher) if higher >= lower else ("falls", lower)
    if not count:
        return f"The effective rank does not change with {factor} in {len(steps)} of {len(steps)} steps."
    return f"The effective rank {does} with {factor} in {count} of {len(steps)} steps, {by(steps, count)}."


def directions(pairs: Pairs) -> tuple[int, int]:
    """In how many pairs the second value is lower, and in how many it is higher."""
    return sum(after < before for before, after in pairs), sum(after > before for before, after in pairs)


def by(pairs: Pairs, count: int) -> str:
    """The range of the factors between two values, which is that of all pairs where only some go one way."""
    found = [after / before for before, after in pairs]
    low, high = unlike_one(min(found)), unlike_one(max(found))
    text = f"a factor of {low}" if low == high else f"factors of {low} to {high}"
    return f"by {text}" if count == len(pairs) else f"with {text} over all of them"


def unlike_one(factor: float) -> str:
    """A factor with three digits, or with as many as tell it from 1."""
    texts = [number(factor, digits) for digits in range(3, DIGITS + 1)]
    return next((text for text in texts if text != "1"), "1")
