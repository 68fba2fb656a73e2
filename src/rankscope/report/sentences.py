"""Two or three sentences on what a table says, because a list of ranks explains nothing by itself."""

import math
from collections.abc import Iterator
from typing import Any, Final

from rankscope.records import Matrix, Record, Table
from rankscope.report.by_head import stacks_of
from rankscope.report.cells import counted, enumerated, number, printable, short, supported, with_deviation
from rankscope.report.chance import CHANCE, side_of
from rankscope.report.factors import factors
from rankscope.report.figures._curve import curves_of
from rankscope.report.kinds import kinds, varies_seeds
from rankscope.report.of_heads import joined, of_heads, own_heads

SPOKEN: Final = 3
"""Kinds of matrices of which a sentence is said each; of more it is said what varies."""

MOST_NAMED: Final = 5
"""Matrices of full rank that are named."""

SPOKEN_OF: Final = {"effective_rank": "effective rank", "rank_numerical": "numerical rank"}
"""The means over seeds that are said in words."""

UNFAITHFUL: Final = 1e-3
"""A fidelity beyond what rounding explains, of scores of some hundreds in float32."""

UNFAITHFUL_HALF: Final = 0.1
"""The same of scores of some tens in half precision."""

CLIFF: Final = 1e4
"""A gap by which singular values of stored numbers fall where rounding has made the smaller ones."""


def sentences(table: Table) -> list[str]:
    """What the numbers of a table mean together, limits first: for one matrix its ranks, for several what differs."""
    return [*of_limits(table), *of_numbers(table)]


def of_numbers(table: Table) -> list[str]:
    """What the numbers of a table mean together."""
    if table.over_depth:
        from rankscope.report.told import sentences as told

        return list(told(table))
    measured = [matrix for matrix in table.matrices if any(r.status == "ok" for r in table.of(matrix))]
    if len(table.matrices) == 1:
        tail = list(below_lapack(table))
        return [text for matrix in measured for text in of_one(found(table, matrix), table.of(matrix), matrix, tail)]
    if varies_seeds(table):
        return list(over_seeds(table))
    return list(of_model(table, measured) if stacks_of(table) else of_several(table, measured))


def found(table: Table, matrix: Matrix) -> dict[str, Record]:
    """The records of one matrix by measure; of two subjects the one that is meant, not the stored numbers."""
    return {record.measure: record for record in reversed(table.of(matrix))}


def of_one(records: dict[str, Record], every: list[Record], matrix: Matrix, tail: list[str]) -> Iterator[str]:
    """What one matrix shows; ranks are compared that speak of the same subject. `tail` follows what is said of them."""
    numerical = records.get("rank_numerical")
    same = [r for r in every if r.measure == "rank_exact" and (numerical is None or r.subject == numerical.subject)]
    exact = same[0] if same else records.get("rank_exact")
    size = min(matrix.rows, matrix.columns)
    if exact is not None and numerical is not None:
        stored = numerical.subject == "stored" and any(record.subject == "scores" for record in every)
        said = exact_against_numerical(exact, numerical, size)
        yield f"As stored: {said}" if stored else said
        yield from raised(records.get("rank_scores"), numerical, matrix)
    yield from tail
    if numerical is not None and numerical.details.get("rule") == "storage":
        yield f"Below the tolerance, singular values may be what rounding to {matrix.dtype} has made of zeros."
    yield from carried(records, size)
    determinant = records.get("logdet")
    if determinant is not None and determinant.value is not None and determinant.method.startswith("Σ") and size:
        mean = math.exp(determinant.value / size)
        yield f"|det|^(1/n) = {mean:.3g} is the geometric mean of |a_ii|, and says nothing about other entries."


def exact_against_numerical(exact: Record, numerical: Record, size: int) -> str:
    """Why the exact and the numerical rank agree or differ, and what the tolerance did."""
    tolerance, count = numerical.details.get("tolerance"), numerical.value
    bar = "" if tolerance is None else f" τ = {short(tolerance)}"
    why = f", because the matrix is {exact.because}" if exact.method != "exact arithmetic" else f" ({exact.because})"
    full = f"The exact rank is full{why}. " if exact.value == size else ""
    if count is None:
        return (
            f"{full}The tolerance{bar} lies inside the error of singular values: the numerical rank is between "
            f"{numerical.low} and {numerical.high}, and double precision does not decide it; another --rtol may."
        )
    gap = numerical.details.get("gap") or numerical.details.get("gap_low") or 1.0
    if full and count < size and exact.method == "exact arithmetic" and exact.subject == "stored" and gap > CLIFF:
        return (
            f"The exact rank of the stored numbers is full{why}, but the singular values fall by a factor of "
            f"{short(gap)} at the tolerance{bar}: those below it may be what rounding has made of zeros, as it does "
            f"with a matrix of rank {count}."
        )
    if full and count < size:
        below = counted(size - int(count), "singular value")
        enclosed = numerical.guarantee == "enclosed"
        lie = f"{'lies' if size - int(count) == 1 else 'lie'} below it" if enclosed else "cannot be told from zero"
        return (
            f"{full}At the tolerance{bar}, {below} {lie}, so that a numerical rank of {count} says something about the "
            "tolerance, not about the matrix."
        )
    if exact.value is not None and exact.value == count:
        return (
            f"The exact rank is {exact.value} ({exact.because}); the numerical rank at the tolerance{bar} is the same."
        )
    if exact.value is None and exact.high is not None and exact.high < size:
        bound = exact.because.partition(";")[0]
        bound = bound if bound.startswith("at most") else f"between {exact.low} and {exact.high}: {bound}"
        return f"The rank is {bound} (proved). The numerical rank at the tolerance{bar} is {count}."
    if count == size:
        return (
            f"The numerical rank is full: all {size} singular values stand above the tolerance{bar}. That the exact "
            "rank is full does not follow from the structure alone."
        )
    return f"The numerical rank at the tolerance{bar} is {count} of {size}."


def below_lapack(table: Table) -> Iterator[str]:
    """How many values LAPACK cannot tell from noise, and where the true ones lie, if they were enclosed."""
    for curve in curves_of(table):
        count, of = int(curve.truth.sum()), len(curve.values)
        if count:
            logs = curve.logs[curve.truth[: len(curve.logs)]] + math.log10(curve.largest)
            first, last = (f"10^{number(float(each), 6)}" for each in (logs[0], logs[-1]))
            one = count == 1
            lie = "lies below its error bound" if one else "lie below their error bounds"
            where = f"the true one is {last}" if one else f"the true ones run from {first} to {last}"
            yield f"{count} of LAPACK's {of} singular values {lie} and may be noise; {where} (enclosed)."


def raised(scores: Record | None, numerical: Record, matrix: Matrix) -> Iterator[str]:
    """That the exponential raises the rank of the scores, where it does."""
    known = scores is not None and scores.value is not None and numerical.value is not None
    if (
        scores is not None
        and known
        and float(scores) < float(numerical)
        and (matrix.mask, matrix.kernel) == ("bidirectional", "softmax")
    ):
        yield f"The scores have rank {scores.value}, at most d; the exponential, entry by entry, raises it."


def carried(records: dict[str, Record], size: int) -> Iterator[str]:
    """How many directions carry the weight of the matrix."""
    effective, stable = records.get("effective_rank"), records.get("stable_rank")
    if effective is None or effective.value is None:
        return
    value = number(supported(effective.value, effective.low, effective.high), 4)
    close = stable is not None and stable.value is not None and stable.value < 1.1
    if effective.null_mean is not None and effective.null_sd is not None:
        count = counted(effective.null_count or 0, "seed")
        spread = f"{number(effective.null_mean, 4)} ± {short(effective.null_sd)}"
        where = {-1: "below", 0: "within", 1: "above"}[side_of(effective)]
        yield (
            f"Its effective rank is {value} of {size}; matched random attention has {spread} ({count}), and it lies "
            f"{where} the prediction interval of {100 * (1 - CHANCE):.2f} % of that."
        )
        return
    near = "The matrix is close to rank one by weight: " if close and size > 1 else "By weight, "
    yield f"{near}its effective rank is {value} of {size}."


def over_seeds(table: Table) -> Iterator[str]:
    """What a few kinds of matrices show over their seeds; of many what varies, and what is extreme."""
    found = kinds(table)
    for kind in found if len(found) <= SPOKEN else []:
        means = [(name, kind.mean(measure)) for measure, name in SPOKEN_OF.items()]
        count = len(kind.matrices)
        said = [f"its {name} is {spread(row)}{part(row['count'], count)}" for name, row in means if row is not None]
        exact = kind.mean("rank_exact")
        if exact is not None and exact["min"] == exact["max"] and exact["count"] == len(kind.matrices):
            said.append(f"its exact rank is {exact['min']:g} for every seed")
        if said:
            yield f"Over {counted(len(kind.matrices), 'seed')} of {kind.name}, {joined(said)}."
    yield from extremes([(row["mean"], kind.name) for kind in found if (row := kind.mean("effective_rank"))])
    yield from factors(table)


def part(known: int, count: int) -> str:
    """How many seeds have a value, where not all have one."""
    return "" if known == count else f" for {known} of {count} seeds"


def spread(row: dict[str, Any]) -> str:
    """A mean with its standard deviation, to the digits of the latter."""
    return " ± ".join(filter(None, with_deviation(row["mean"], row["sd"])))


def extremes(values: list[tuple[float, str]], meaning: str = "mean effective rank") -> Iterator[str]:
    """From which value a measure runs to which, and where, if values differ."""
    if len({value for value, _ in values}) > 1:
        (low, first), (high, last) = min(values, key=lambda v: v[0]), max(values, key=lambda v: v[0])
        yield f"The {meaning} runs from {number(low, 5)} ({first}) to {number(high, 5)} ({last})."


def against_chance(records: list[tuple[dict[str, Record], Matrix]]) -> Iterator[str]:
    """How many matrices have an effective rank that matched random attention does not have."""
    found = [each["effective_rank"] for each, _ in records if "effective_rank" in each]
    known = [record for record in found if record.value is not None and record.null_sd is not None]
    if known:
        sides = [side_of(record) for record in known]
        below, above = sides.count(-1), sides.count(1)
        where = f"{below} {'lies' if below == 1 else 'lie'} below and {above} above those of matched random attention"
        interval = f"its prediction interval of {100 * (1 - CHANCE):.2f} %"
        yield f"Of {counted(len(known), 'effective rank')}, {where}, beyond {interval}."


def of_model(table: Table, matrices: list[Matrix]) -> Iterator[str]:
    """What the heads of a model show, and how many of them matched random attention does not show."""
    yield from of_heads(table)
    own = own_heads(table, matrices)
    yield from against_chance([(found(table, matrix), matrix) for matrix in own])
    yield from faithful(table, own)


def of_limits(table: Table) -> Iterator[str]:
    """Which limits were set, and which heads do not keep them."""
    limits = ", ".join(map(printable, table.study.get("limits", ())))
    failed = list(dict.fromkeys(printable(each["label"]) for each in table.study.get("failures", ())))
    if limits and not failed:
        yield f"All keep the limits that were set: {limits}."
    elif limits:
        named = joined(failed[:MOST_NAMED]) + (f" and {len(failed) - MOST_NAMED} more" if failed[MOST_NAMED:] else "")
        known = any(each["value"] is not None for each in table.study["failures"])
        one = len(failed) == 1
        verb = ("does not keep" if one else "do not keep") if known else f"{'is' if one else 'are'} not known to keep"
        yield f"Of {counted(len(table.matrices), 'matrix')} {len(failed)} {verb} the limits {limits}: {named}."


def faithful(table: Table, own: list[Matrix]) -> Iterator[str]:
    """How far the matrices of the model's own heads are from what it computed, and whether rounding explains it."""
    known = [matrix.fidelity for matrix in own if matrix.fidelity is not None]
    if not known:
        return
    sources = [each for each in table.setting("sources") for each in (each if isinstance(each, list) else [each])]
    half = any("float16" in str(each.get("dtype")) for each in sources if isinstance(each, dict))
    heads = counted(len(own), "head") if len(known) == len(own) else f"{len(known)} of {counted(len(own), 'head')}"
    said = f"What the model itself computed agrees with the matrices of {heads} to {short(max(known))} (fidelity)"
    doubt = "; that is more than rounding explains: they may not be the matrices that it used"
    yield f"{said}{doubt if max(known) > (UNFAITHFUL_HALF if half else UNFAITHFUL) else ''}."


def of_several(table: Table, matrices: list[Matrix]) -> Iterator[str]:
    """What differs between a few matrices, and what is extreme among many."""
    records = [(found(table, matrix), matrix) for matrix in matrices]
    for name, meaning in (("effective_rank", "effective rank"), ("logdet", "log |det|")):
        every = [(each[name], matrix) for each, matrix in records if name in each]
        known = [(record, matrix) for record, matrix in every if record.value is not None]
        values = [(float(supported(float(r), r.low, r.high)), printable(matrix.label)) for r, matrix in known]
        left = len(every) - len(known)
        yield from extremes(
            values, f"{meaning}, where it is known ({len(known)} of {len(every)})," if left else meaning
        )
    yield from factors(table)
    yield from against_chance(records)
    full = [m for each, m in records if "rank_exact" in each and each["rank_exact"].value == min(m.rows, m.columns)]
    if full and len(full) < len(matrices):
        listed = enumerated([printable(m.label) for m in full], MOST_NAMED)
        yield f"Full exact rank is proved for {len(full)} of {len(table.matrices)}: {listed}."
