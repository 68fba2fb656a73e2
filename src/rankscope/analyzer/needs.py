"""What a measure may ask of one matrix: each need is computed at most once, and raised to a proof where asked."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Optional

import numpy as np

from rankscope.analyzer.determinant import LogDet, combined, logdet
from rankscope.analyzer.numerics import Numerics
from rankscope.analyzer.rows import Rows
from rankscope.analyzer.smallest import Smallest, smallest
from rankscope.analyzer.spectrum import Spectrum, backward, factor_spectrum, singular_values_of, spectrum
from rankscope.arrays import Array, Float64, Storage
from rankscope.attention.diagonal import diagonal
from rankscope.attention.distance import distance
from rankscope.attention.exact import rational
from rankscope.attention.operators import Concatenation, Dense, Factored, Operator, Product
from rankscope.attention.structure import Structure, separated, square
from rankscope.attention.subject import Pair, Weights
from rankscope.lazy import cached_property
from rankscope.records import Guarantee

if TYPE_CHECKING:
    from rankscope.analyzer.ledger import Ledger
    from rankscope.analyzer.proof import RankProof


@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """What is known of the scores: their singular values up to a factor, with an error bound, their shape, and the
    largest score that a query sees. `values` is None where queries and keys are not known.

    `d` is the head size where scores are the product q kᵀ, and None where a position has made them none.
    """

    values: Float64 | None
    error: Float64
    shape: tuple[int, int]
    d: int | None
    largest: float | None
    because: str = ""
    guarantee: Guarantee = "estimated"


@dataclass(frozen=True, eq=False, repr=False)
class Bounds:
    """What is proved of the exact rank: at_least ≤ rank ≤ at_most, and why."""

    structure: Structure
    at_least: int
    at_most: int
    because: str
    method: str = "structure"
    minor: tuple[list[int], list[int]] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Blocks:
    """The matrix for measures of its parts: its distance from the subject, the values that it mixes if they are known,
    and upper bounds of its rank, and of that of every block beside the diagonal where the kernel gives one.

    `minor(rows, columns, order)` says whether a minor of this order of a block was proved not to vanish.
    """

    matrix: Array
    away: float
    rank: int
    bound: int | None
    because: str
    values: Float64 | None
    minor: Callable[[slice, slice, int], bool]


def ledger(numerics: Numerics) -> "Ledger":
    """The ledger of one matrix. What proves is imported only where something is to be proved."""
    from rankscope.analyzer.ledger import Ledger

    return Ledger(numerics.budget)


@dataclass(frozen=True, eq=False, repr=False)
class Needs:
    """Everything a measure may ask of one matrix, each computed at most once, and proved where that is asked."""

    operator: Operator
    numerics: Numerics = field(default_factory=Numerics)
    ledger: Optional["Ledger"] = None

    @cached_property
    def proving(self) -> Optional["Ledger"]:
        """The ledger of proofs, if any are to be made: of complex numbers none are."""
        if not self.numerics.proves or not np.isrealobj(self.operator.matrix):
            return None
        return self.ledger or ledger(self.numerics)

    def tried(self, kinds: Collection[type]) -> list[str]:
        """What was tried to prove needs of these kinds, and why it stopped short."""
        notes = {} if self.proving is None else self.proving.tried
        return [note for kind, topic in TOPICS.items() if kind in kinds for note in notes.get(topic, ())]

    @cached_property
    def lapack(self) -> Spectrum:
        """The singular values as LAPACK gives them, with their error bounds."""
        return spectrum(self.operator)

    @cached_property
    def spectrum(self) -> Spectrum:
        if self.proving is None:
            return self.lapack
        from rankscope.analyzer.enclosed import FLOOR, check_sum, enclosed_spectrum

        rank = self.rank_high
        if self.numerics.spectrum == "exact":
            found = enclosed_spectrum(self.operator, self.lapack, rank, 0.0, self.proving, self.first_bits)
            if found.logs is not None:
                check_sum(found, self.logdet)
                return found
        floor = min(FLOOR, (self.numerics.rtol or 1.0) / 16)
        return enclosed_spectrum(self.operator, self.lapack, rank, floor, self.proving)

    @property
    def first_bits(self) -> int:
        """The precision that the smallest singular value needs, as far as it is known."""
        from rankscope.analyzer.enclosed import precision_for

        depth = smallest(self.operator, self.lapack, self.structural_logdet).log10
        return 0 if depth is None else precision_for(depth, self.lapack.frobenius)

    @cached_property
    def structural_logdet(self) -> LogDet:
        """The determinant as structure and factorisation give it, in double precision."""
        return logdet(self.operator, lambda: self.lapack)

    @cached_property
    def logdet(self) -> LogDet:
        plain, ledger = self.structural_logdet, self.proving
        if ledger is None or plain.sign == 0:
            return plain
        if isinstance(self.operator, Product) and all(square(part.shape) for part in self.operator.parts):
            return combined([Needs(part, self.numerics, ledger).logdet for part in self.operator.parts], "the factors")
        from rankscope.analyzer.proof import proved_logdet

        return proved_logdet(self.operator, plain, lambda: self.rank_proof, ledger)

    @cached_property
    def smallest(self) -> Smallest:
        if self.proving is not None and self.rank_high < min(self.operator.shape):
            because = f"the smallest singular value is exactly zero: rank at most {self.rank_high}"
            return Smallest(None, None, None, "proved", "exact arithmetic", because)
        plain = smallest(self.operator, self.spectrum, self.logdet)
        if self.proving is None:
            return plain
        from rankscope.analyzer.enclosed import enclosed_smallest

        return enclosed_smallest(self.operator, plain, self.spectrum, self.proving)

    @cached_property
    def rows(self) -> Rows:
        operator = self.operator
        definition = operator.definition if isinstance(operator, Dense) else None
        whole = not isinstance(definition, Weights) or (definition.divided and definition.sink is None)
        return Rows(operator.matrix, operator.support, operator.storage, whole)

    @cached_property
    def scores(self) -> Scores:
        operator = self.operator
        if not isinstance(operator, Dense) or operator.scores is None:
            feature = operator.subject == "factors"
            because = "the kernel acts on features, not on scores" if feature else "the queries and keys are not given"
            return Scores(None, np.zeros(0), operator.shape, None, None, because)
        given = operator.scores
        if isinstance(given, Pair):
            values, error, _ = factor_spectrum(given.left, given.right)
        else:
            values = singular_values_of(given)
            error = backward(values, max(given.shape), float(values.max(initial=0.0)))
        d = given.left.shape[1] if isinstance(given, Pair) else None
        found = Scores(values, error, operator.shape, d, operator.max_logit)
        if self.proving is None:
            return found
        from rankscope.analyzer.enclosed import enclosed_scores

        proved = enclosed_scores(given, self.proving)
        return found if proved is None else replace(found, values=proved[0], error=proved[1], guarantee="enclosed")

    @cached_property
    def structural_bounds(self) -> tuple[int, int]:
        """What structure alone proves of the rank."""
        structure = self.operator.structure
        own = diagonal(self.operator)
        if isinstance(self.operator, Concatenation):
            at_least = max(Needs(part).structural_bounds[0] for part in self.operator.parts)
            return at_least, structure.rank_bound.value
        if isinstance(self.operator, Product):
            ranks = [Needs(part).structural_bounds[0] for part in self.operator.parts]
            inner = sum(part.shape[1] for part in self.operator.parts[:-1])
            nonzero = min(structure.shape) > 0 and bool(structure.row_sum.value)
            at_least = max(sum(ranks) - inner, int(nonzero))  # Sylvester's inequality
        elif structure.det_sign.value:
            at_least = min(structure.shape)
        elif structure.triangular and own is not None:
            at_least = int(np.count_nonzero((own.sign != 0) & np.isfinite(own.error)))
        else:
            nonzero = bool(structure.row_sum.value) or surely_not_zero(self.operator)
            at_least = int(min(structure.shape) > 0 and nonzero)
        return at_least, structure.rank_bound.value

    @property
    def rank_high(self) -> int:
        """The least upper bound of the rank that costs no determinant."""
        return self.rank_proof.high if rational(self.operator) else self.structural_bounds[1]

    @cached_property
    def rank_proof(self) -> "RankProof":
        """The exact rank as far as exact arithmetic or a determinant shows it."""
        from rankscope.analyzer.proof import RankProof, proved_rank

        low, high = self.structural_bounds
        if low == high or self.proving is None:
            return RankProof(low, high, "")
        return proved_rank(self.operator, low, high, lambda: self.logdet, self.proving)

    @cached_property
    def bounds(self) -> Bounds:
        structure = self.operator.structure
        low, high = self.structural_bounds
        sign, bound = structure.det_sign, structure.rank_bound
        if low == high:
            return Bounds(structure, low, high, sign.because if sign.value else bound.because)
        if self.proving is None:
            return Bounds(structure, low, high, f"{bound.because}; the structure alone does not say more")
        proof = self.rank_proof
        low, high, because = max(low, proof.low), proof.high, proof.because
        if low < high:
            shown = int(np.count_nonzero(self.spectrum.values > self.spectrum.error))
            if self.spectrum.guarantee == "enclosed" and shown > low:
                low, because = shown, f"{shown} singular values are certainly not zero; {because}"
        if high == bound.value < min(structure.shape):
            because = f"{because}; {bound.because}"
        return Bounds(structure, low, high, because + self.separated, "exact arithmetic", proof.minor)

    @property
    def separated(self) -> str:
        """That rounding has made rows or columns of stored numbers differ, where it seems so: it raises their rank."""
        if self.operator.subject != "stored":
            return ""
        matrix, unit = self.operator.matrix, self.operator.storage.unit
        counts = {"rows": separated(matrix, unit), "columns": separated(matrix.T, unit)}
        found = " and ".join(f"{count} {name}" for name, count in counts.items() if count)
        return f"; {found} differ from others by rounding alone" if found else ""

    @cached_property
    def blocks(self) -> Blocks:
        operator = self.operator
        fact = operator.structure.offdiagonal_bound
        request = operator.request if isinstance(operator, Dense | Factored) else None
        values = None if request is None else request.values

        def minor(rows: slice, columns: slice, order: int) -> bool:
            if self.proving is None:
                return False
            from rankscope.analyzer.proof import minor_of_block

            return minor_of_block(operator, rows, columns, order, self.proving)

        bound, because = (None, "") if fact is None else (fact.value, fact.because)
        rank = operator.structure.rank_bound.value
        return Blocks(operator.matrix, distance(operator), rank, bound, because, values, minor)

    def of(self, kind: type) -> Any:
        """The need of type `kind`."""
        return NEEDS[kind](self)


def surely_not_zero(operator: Operator) -> bool:
    """Whether an entry is certainly not zero: one that is stored, or a weight that is positive."""
    if not isinstance(operator, Dense):
        return False
    if isinstance(operator.definition, Weights):
        return bool(np.isfinite(operator.definition.logs).any())
    return operator.definition is None and bool(operator.matrix.any())


NEEDS: Final[Mapping[type, Callable[[Needs], Any]]] = {
    Spectrum: lambda needs: needs.spectrum,
    LogDet: lambda needs: needs.logdet,
    Smallest: lambda needs: needs.smallest,
    Rows: lambda needs: needs.rows,
    Scores: lambda needs: needs.scores,
    Bounds: lambda needs: needs.bounds,
    Blocks: lambda needs: needs.blocks,
    Storage: lambda needs: needs.operator.storage,
    Numerics: lambda needs: needs.numerics,
}
"""What a parameter of a measure may be annotated with, and where it comes from."""

TOPICS: Final[Mapping[type, str]] = {
    Bounds: "rank_exact",
    LogDet: "logdet",
    Spectrum: "spectrum",
    Smallest: "log10_sigma_min",
    Scores: "rank_scores",
    Blocks: "offdiagonal_rank",
}
"""Under which name the proofs of a need are noted."""

BY_STRUCTURE: Final = {LogDet, Bounds}
"""Needs that structure gives for the exact subject, even where the stored numbers are a different matrix."""
