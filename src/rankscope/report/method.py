"""How the numbers of a document were found, in words: what guarantees, subjects, tolerances and comparisons mean.

Only what occurs in a result is explained.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rankscope.records import Record, Table
from rankscope.report import by_layer
from rankscope.report.cells import counted, printable
from rankscope.report.descent import networks
from rankscope.report.terminal import SUBJECTS, notes_of
from rankscope.report.told import failures, not_known, of_columns, of_masks, of_products

GUARANTEES: Final = {
    "proved": "a theorem about the structure of the matrix gives it, or exact or ball arithmetic does. A determinant "
    "that is proved carries a bound on the rounding of its evaluation.",
    "enclosed": "its lower and upper bound contain the truth, rigorously.",
    "estimated": "it was computed in floating point. Where it has an error bound, the constant of that bound is not "
    "proved; the error of LAPACK's singular values is taken as 2√n·eps·σ₁ + 100·eps·σ.",
}
"""What the three guarantees mean."""

RULES: Final = {
    "numpy": "τ = max(m, n)·eps·σ₁, as numpy.linalg.matrix_rank counts",
    "matlab": "τ = max(m, n)·eps(σ₁), with the spacing of floating-point numbers at σ₁, as MATLAB's rank counts",
    "torch": "τ = max(m, n)·eps·σ₁, as torch.linalg.matrix_rank counts for float64",
    "torch-f32": "τ = max(m, n)·2⁻²³·σ₁, as torch.linalg.matrix_rank counts for float32",
    "numerical-recipes": "τ = σ₁·(eps/2)·√(m + n + 1), after Numerical Recipes",
    "storage": "τ = u·‖A‖_F + n·η + the error of the values: what rounding to the type of storage makes of zero",
}
"""The tolerance rules, as formulas."""


class Paragraph(NamedTuple):
    """One remark on method, and what it is on."""

    name: str
    text: str


def method(tables: Sequence[Table]) -> Iterator[Paragraph]:
    """How the numbers of some tables were found, and how far each can be trusted."""
    records = [record for table in tables for record in table]
    used = {record.guarantee for record in records if record.status == "ok"}
    yield from (Paragraph(word, text) for word, text in GUARANTEES.items() if word in used)
    subjects = [word for word in SUBJECTS if any(record.subject == word for record in records)]
    if subjects:
        listed = "; ".join(f"{word}: {SUBJECTS[word]}" for word in subjects)
        yield Paragraph("subject", f"Every number speaks of something: {listed}.")
    yield from tolerances(records)
    yield from chance(records)
    for table in tables:
        yield from remarks(table)


def remarks(table: Table) -> Iterator[Paragraph]:
    """What a reader should know of the matrices or networks of one table."""
    if not table.over_depth:
        yield from (Paragraph("note", f"{printable(note)}.") for note in notes_of(table))
        yield from refusals(table)
        return
    found = networks(table)
    header = by_layer.grid(table)[0]
    notes = (f"{printable(each.label)}: {printable(note)}." for each in found for note in each.matrix.notes)
    for name, said in (
        ("residual", of_columns(table, found, header)),
        ("masks", of_masks(found)),
        ("products", of_products(table)),
        ("note", notes),
        ("not known", [*not_known(found), *failures(table)]),
    ):
        text = " ".join(said)
        if text:
            yield Paragraph(name, text)


def tolerances(records: Sequence[Record]) -> Iterator[Paragraph]:
    """The rules by which numerical ranks were counted."""
    counts = [record for record in records if record.measure == "rank_numerical"]
    rules = dict.fromkeys(str(record.details["rule"]) for record in counts if record.details.get("rule"))
    if rules:
        said = "; ".join(f"{rule}: {RULES.get(rule, 'a relative tolerance, times σ₁')}" for rule in rules)
        yield Paragraph("tolerance", f"The numerical rank counts the singular values σ > τ. Rule {printable(said)}.")


def chance(records: Sequence[Record]) -> Iterator[Paragraph]:
    """What matched random attention is, where it was measured."""
    counts = {record.null_count for record in records if record.null_count}
    if counts:
        several = f"{min(counts)} to {max(counts)} seeds"
        seeds = counted(max(counts), "seed") if len(counts) == 1 else several
        text = (
            f"Beside a number stands its null, mean ± standard deviation over {seeds} of "
            "matched random attention: Gaussian queries and keys of the same number and size under the same mask, "
            "kernel and position, with scores of the same variance within rows. Of weights without queries and keys, "
            "it is that of independent Gaussian logits on the same entries, of their logarithms' variance in rows."
        )
        yield Paragraph("null", text)


def refusals(table: Table) -> Iterator[Paragraph]:
    """One remark for each matrix that could not be measured."""
    bad: dict[int, Record] = {record.matrix: record for record in reversed(table.records) if record.status != "ok"}
    labels = {matrix.id: matrix.label for matrix in table.matrices}
    for identity, record in sorted(bad.items()):
        yield Paragraph(record.code or "refused", printable(f"{labels[identity]} was not measured. {record.because}."))
