"""A study says what is to be measured of what; running it gives a result. Here generators, analyzer and report meet."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from itertools import count, product
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from rankscope.analyzer.analyze import Analysed, analyse, chosen, refused
from rankscope.analyzer.determinant import LogDet
from rankscope.analyzer.determinant import logdet as determinant_of
from rankscope.analyzer.measure import Measure
from rankscope.analyzer.numerics import BUDGET, Numerics, numerics_of
from rankscope.analyzer.picture import resolutions
from rankscope.analyzer.rank import RULES
from rankscope.analyzer.spectrum import Spectrum
from rankscope.analyzer.spectrum import spectrum as spectrum_of
from rankscope.arrays import VERSIONS, Float64, blas_threads
from rankscope.attention.existing import single
from rankscope.attention.operators import Operator
from rankscope.errors import RankscopeError, UsageError, error
from rankscope.generators.memory import InMemory, in_memory
from rankscope.generators.stack import Job, Synthetic, Work
from rankscope.records import Record, Table, mean_and_deviation
from rankscope.registry import nearest
from rankscope.result import Result
from rankscope.workers import affordable, in_threads

if TYPE_CHECKING:
    from rankscope.certificates import Certificate

T = TypeVar("T")
U = TypeVar("U")


class Source(Protocol):
    """Anything that offers matrices: `Synthetic`, `File`, `InMemory`."""

    def work(self) -> Work:
        """The matrices to make, and notes on the rest."""
        ...

    def described(self) -> dict[str, Any]:
        """The source as plain data for the study's record, with names of files but never their paths."""
        ...


@dataclass(frozen=True)
class Study:
    """What is measured of what: sources, the names of measures (none for the default set), and how ranks are counted.

    `blas_threads` other than 1 lets results depend on the number of threads, and is recorded. With `certify` what is
    proved of each matrix is kept as a certificate. `null` is the number of matched random matrices that each one is
    compared with, and `null_d` the head size of those for bare matrices. With `pictures` the result holds the matrices
    themselves, as means over blocks.
    """

    sources: tuple[Source, ...]
    measures: tuple[str, ...] = ()
    numerics: Numerics = field(default_factory=Numerics)
    blas_threads: int = 1
    certify: bool = False
    null: int = 0
    null_d: int | None = None
    pictures: bool = False

    def described(self) -> dict[str, Any]:
        """The study as plain data; pictures are named only where there are some: they change no number."""
        return {
            "sources": [source.described() for source in self.sources],
            "measures": list(self.measures),
            **asdict(self.numerics),
            "blas_threads": self.blas_threads,
            "null": self.null,
            "null_d": self.null_d,
            **({"pictures": True} if self.pictures else {}),
        }


def run(
    study: Study,
    *,
    workers: int | None = None,
    timing: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Result:
    """Run a study: every matrix is made, measured and dropped, `workers` at a time.

    A matrix that cannot be measured is reported in its place and hides no other. `progress` is told how many of how
    many matrices are done.

    Raises:
        RankscopeError: an unknown name, or the first error when no matrix could be measured.
    """
    started = time.perf_counter()
    for name, value, least in (("null", study.null, 0), ("null_d", study.null_d, 1)):
        if value is not None and value < least:
            raise error("RS002", f"{name} = {value}", f"give a whole number of at least {least}")
    if study.numerics.rule is not None:
        RULES[study.numerics.rule]
    measures = chosen(study.measures)
    works = [source.work() for source in study.sources]
    jobs = [job for work in works for job in work.jobs]
    at_once = affordable([job.shape for job in jobs], workers)
    blocks = resolutions([(job.origin, job.shape) for job in jobs]) if study.pictures else [0] * len(jobs)
    with blas_threads(study.blas_threads):
        found = in_order(
            jobs,
            partial(analysed, study=study, measures=measures, blocks=blocks),
            at_once,
            measures,
            progress,
        )
    table = Table(
        study.described(),
        [each.matrix for each in found],
        [record for each in found for record in each.records],
        [series for each in found for series in each.series],
        {"seconds": time.perf_counter() - started, "workers": at_once} if timing else None,
        versions=VERSIONS,
    )
    certificates = {each.matrix.id: each.certificate for each in found if each.certificate is not None}
    return Result(table, tuple(note for work in works for note in work.notes), certificates)


def analysed(
    operator: Operator, identity: int, study: Study, measures: list[Measure], blocks: Sequence[int]
) -> Analysed:
    """The analysis of one matrix, beside that of matched random ones where the study asks for them."""
    found = analyse(operator, identity, measures, study.numerics, certify=study.certify, blocks=blocks[identity])
    if not study.null:
        return found
    from rankscope.generators.null import matched

    plain = replace(study.numerics, prove=False, spectrum="lapack")
    others = []
    for seed in range(study.null):
        with suppress(RankscopeError):  # what has no null is measured all the same: its count says so
            others.append(analyse(matched(operator, seed, study.null_d), identity, measures, plain).records)
    return replace(found, records=[beside(record, others) for record in found.records])


def beside(record: Record, others: list[list[Record]]) -> Record:
    """A record with the mean and the deviation of the same measure of the same subject over other matrices."""
    same = [
        r.value for records in others for r in records if (r.measure, r.subject) == (record.measure, record.subject)
    ]
    values = [float(value) for value in same if value is not None]
    if not values:
        return replace(record, null_count=0)
    mean, deviation = mean_and_deviation(values)
    return replace(record, null_mean=mean, null_sd=deviation, null_count=len(values))


def in_order(
    jobs: Sequence[Job],
    analysed: Callable[..., Analysed],
    workers: int,
    measures: list[Measure],
    progress: Callable[[int, int], object] | None = None,
) -> list[Analysed]:
    """The analyses of all jobs in their order, by as many threads as there are workers: LAPACK runs without the GIL."""
    reasons: list[RankscopeError] = []
    done = count()

    def one(numbered: tuple[int, Job]) -> Analysed:
        found = attempt(*numbered)
        if progress is not None:
            progress(next(done) + 1, len(jobs))
        return found

    def attempt(identity: int, job: Job) -> Analysed:
        try:
            return analysed(job.make(), identity)
        except RankscopeError as reason:
            if isinstance(reason, UsageError) and reason.code not in ("RS003", "RS005"):
                raise
            reasons.append(reason)
            return refused(job.origin, job.shape, reason, identity, measures)

    found = in_threads(one, list(enumerate(jobs)), workers)
    if jobs and len(reasons) == len(jobs):
        raise reasons[0]
    return found


def analyze(
    matrices: Any,
    *,
    measures: str | Iterable[str] = (),
    rule: str | None = None,
    rtol: float | None = None,
    prove: bool = False,
    budget: float | None = None,
    spectrum: Literal["lapack", "exact"] = "lapack",
    certify: bool = False,
    null: int = 0,
    null_d: int | None = None,
    pictures: bool = False,
    workers: int | None = None,
) -> Result:
    """Measure a matrix, or several: every rank, the determinant, the spectrum and the rows.

    Args:
        matrices: what `attention`, `synthetic`, `load` or `matrix` return, an array of 2 to 4 dimensions, or a list.
        measures: names as in `rankscope list measures`; none for the default set, "all" for every one.
        rule: the tolerance rule of the numerical rank, as in `rankscope list rules`.
        rtol: a relative tolerance instead of a rule.
        prove: raise every rank and determinant to the strongest guarantee that can be reached.
        budget: seconds for the proofs of one matrix, 60 if none is given; counted and not clocked, so that results do
            not depend on the load.
        spectrum: "exact" to enclose every non-zero singular value, however small.
        certify: prove, and keep what is proved as `result.certificates`.
        null: how many matched random matrices to measure beside each one: see `generators.null`.
        null_d: the head size of those for bare matrices; none for independent logits.
        pictures: keep the matrices themselves, as means over at most 128 × 128 blocks, for the figure "attention".
        workers: how many matrices to analyse at once; the result does not depend on it.

    Raises:
        InputError: a matrix with NaN or infinity, or of the wrong shape, when it is the only one.
        UsageError: an unknown name.

    >>> result = analyze([[1.0, 0.0], [0.5, 0.5]])
    >>> result["rank_exact"].value, result["logdet"].sign
    (2, 1)
    """
    names = named(measures)
    numerics = numerics_of(rule, rtol, prove or certify, budget, spectrum)
    source = InMemory(tuple(in_memory(matrices)))
    study = Study((source,), names, numerics, certify=certify, null=null, null_d=null_d, pictures=pictures)
    return run(study, workers=workers)


def certificate(matrix_like: Any, *, budget: float = BUDGET) -> "Certificate":
    """What can be proved of one matrix, with the numbers that make it: write it, and let `rankscope.verify` check it.

    It claims the exact rank, the determinant, the numerical rank and the smallest singular value, as far as these are
    proved or enclosed.

    >>> import rankscope as rs
    >>> [verdict.verdict for verdict in rs.verify(certificate([[1.0, 0.0], [0.5, 0.5]]))]
    ['verified', 'verified', 'verified', 'verified']
    """
    names = ("rank_exact", "logdet", "rank_numerical", "log10_sigma_min")
    return analyze(single(matrix_like), measures=names, budget=budget, certify=True).certificates[0]


def compare(
    mask: Any = ("bidirectional", "causal"),
    *,
    measures: str | Iterable[str] = (),
    rule: str | None = None,
    rtol: float | None = None,
    prove: bool = False,
    budget: float | None = None,
    spectrum: Literal["lapack", "exact"] = "lapack",
    null: int = 0,
    pictures: bool = False,
    workers: int | None = None,
    **options: Any,
) -> Result:
    """The same queries and keys under several masks, kernels, positions …, side by side.

    A combination that a kernel does not accept is a row that says so.

    Args:
        mask: a mask or several: names, or `Mask` values.
        measures: as in `analyze`, and so are rule, rtol, prove, budget, spectrum, null, pictures and workers.
        rule: as in `analyze`.
        rtol: as in `analyze`.
        prove: as in `analyze`.
        budget: as in `analyze`.
        spectrum: as in `analyze`.
        null: as in `analyze`.
        pictures: as in `analyze`.
        workers: as in `analyze`.
        **options: those of `Synthetic`; a list is tried through, together with every other.

    >>> result = compare("causal", kernel=["softmax", "linear"], n=16, d=4)
    >>> [matrix.kernel for matrix in result.table.matrices]
    ['softmax', 'linear']
    """
    known = [each.name for each in fields(Synthetic)]
    for name in options:
        if name not in known:
            raise error("RS001", f"compare has no option {name!r}", nearest(name, known))
    every = {**options, "mask": mask}
    listed = {name: list(value) if isinstance(value, list | tuple) else [value] for name, value in every.items()}
    sources = tuple(Synthetic(**dict(zip(listed, chosen, strict=True))) for chosen in product(*listed.values()))
    numerics = numerics_of(rule, rtol, prove, budget, spectrum)
    return run(Study(sources, named(measures), numerics, null=null, pictures=pictures), workers=workers)


def named(measures: str | Iterable[str]) -> tuple[str, ...]:
    """Names of measures, from one text with commas or from several."""
    listed = measures.split(",") if isinstance(measures, str) else measures
    return tuple(name.strip() for name in listed)


def spectrum(matrix_like: Any) -> Spectrum:
    """The singular values of one matrix, each with its error bound."""
    with blas_threads(1):
        return spectrum_of(single(matrix_like))


def singular_values(matrix_like: Any) -> Float64:
    """The singular values of one matrix in descending order, as a plain array; `spectrum` has their error bounds."""
    return spectrum(matrix_like).values


def logdet(matrix_like: Any) -> LogDet:
    """The determinant of one matrix as its sign and the natural logarithm of its magnitude, with bounds.

    >>> logdet([[2.0, 0.0], [1.0, -0.5]]).sign
    -1
    """
    operator = single(matrix_like)
    with blas_threads(1):
        return determinant_of(operator, lambda: spectrum_of(operator))
