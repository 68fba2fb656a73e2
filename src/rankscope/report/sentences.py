"""Two or three sentences on what a table says, because a list of ranks explains nothing by itself."""

import math
from collections.abc import Iterator

from rankscope.records import Matrix, Record, Table


def sentences(table: Table) -> list[str]:
    """What the numbers of a table mean together: for one matrix its ranks, for several what differs."""
    measured = [matrix for matrix in table.matrices if any(r.status == "ok" for r in table.of(matrix))]
    if len(table.matrices) == 1:
        return [text for matrix in measured for text in of_one(found(table, matrix), matrix)][:4]
    return [] if table.summary() else list(of_several(table, measured))


def found(table: Table, matrix: Matrix) -> dict[str, Record]:
    """The records of one matrix by measure; of two subjects the one that is meant, not the stored numbers."""
    return {record.measure: record for record in reversed(table.of(matrix))}


def of_one(records: dict[str, Record], matrix: Matrix) -> Iterator[str]:
    """What one matrix shows."""
    exact, numerical, effective = (records.get(name) for name in ("rank_exact", "rank_numerical", "effective_rank"))
    size = min(matrix.rows, matrix.columns)
    if exact is not None and numerical is not None:
        yield from exact_against_numerical(exact, numerical, records.get("rank_scores"), matrix, size)
    if numerical is not None and numerical.details.get("rule") == "storage":
        yield f"It is known to {matrix.dtype} only: the tolerance is what rounding to that type can have made of zero."
    if effective is not None and effective.value is not None:
        stable = records.get("stable_rank")
        if stable is not None and stable.value is not None and stable.value < 1.1:
            yield (
                f"The matrix is close to rank one: its stable rank exceeds 1 by {stable.value - 1:.2g}, and {effective.value:.4g} "
                "directions carry its weight (effective rank)."
            )
        else:
            yield f"Of {size} directions {effective.value:.4g} carry its weight (effective rank)."
    determinant = records.get("logdet")
    if determinant is not None and determinant.value is not None and determinant.guarantee == "proved" and size:
        mean = math.exp(determinant.value / size)
        yield (
            f"|det|^(1/n) = {mean:.3g} is the geometric mean of the diagonal, and says nothing about the entries off it."
        )


def exact_against_numerical(
    exact: Record, numerical: Record, scores: Record | None, matrix: Matrix, size: int
) -> Iterator[str]:
    """Why the exact and the numerical rank agree or differ, and what the tolerance did."""
    tolerance = numerical.details.get("tolerance")
    bar = "" if tolerance is None else f" τ = {tolerance:.2g}"
    count = numerical.value
    if exact.value == size and count is not None and count < size:
        yield (
            f"The exact rank is full, because the matrix is {exact.because}. {size - int(count)} of its singular values lie at or "
            f"below the tolerance{bar}, so that a numerical rank of {count} says something about the tolerance, not about the matrix."
        )
    elif exact.value is not None and exact.value == count:
        yield f"The exact rank is {exact.value} ({exact.because}), and every tolerance near{bar or ' this one'} sees it."
    elif exact.value is None and count is not None and exact.high is not None and exact.high < size:
        bound = exact.because.partition(";")[0]
        yield f"The rank is {bound} (proved); {count} singular values stand above the tolerance{bar}."
    elif exact.value is None and count == size:
        yield f"All {size} singular values stand above the tolerance{bar}: numerically the rank is full; no theorem proves it."
    elif count is None:
        yield (
            f"The tolerance{bar} lies inside the error of singular values, so the numerical rank is between {numerical.low} and "
            f"{numerical.high} and not decided; choose another with --rtol."
        )
    elif count is not None:
        yield f"{count} of {size} singular values stand above the tolerance{bar}."
    if (
        scores is not None
        and scores.value is not None
        and count is not None
        and scores.value < count
        and matrix.kernel == "softmax"
    ):
        yield f"The scores have rank {scores.value}, at most the head size d; the exponential, entry by entry, raises it."


def of_several(table: Table, matrices: list[Matrix]) -> Iterator[str]:
    """What differs between a few matrices, and what is extreme among many."""
    for name, meaning in (("effective_rank", "effective rank"), ("logdet", "log |det|")):
        values = [
            (record.value, matrix)
            for matrix in matrices
            if (record := found(table, matrix).get(name)) and record.value is not None
        ]
        if len(values) > 1:
            (low, first), (high, last) = min(values, key=lambda v: v[0]), max(values, key=lambda v: v[0])
            yield f"The {meaning} runs from {low:.5g} ({first.label}) to {high:.5g} ({last.label})."
    full = [
        matrix
        for matrix in matrices
        if (r := found(table, matrix).get("rank_exact")) and r.value == min(matrix.rows, matrix.columns)
    ]
    if full and len(full) < len(matrices):
        yield f"Full exact rank is proved for {len(full)} of {len(table.matrices)}: those whose determinant is a product of a non-zero diagonal."
