"""Every need computed once, every measure read from it: one operator in, its rows of a table out."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Optional, get_args

import numpy as np

from rankscope.analyzer.measure import MEASURES, Group, Measure
from rankscope.analyzer.needs import Needs, ledger
from rankscope.analyzer.numerics import Numerics
from rankscope.analyzer.picture import picture
from rankscope.analyzer.spectrum import Spectrum
from rankscope.attention.operators import Operator
from rankscope.attention.origin import Origin
from rankscope.errors import RankscopeError
from rankscope.records import Matrix, Record, Series
from rankscope.registry import Registry

if TYPE_CHECKING:
    from rankscope.certificates import Certificate

GROUPS: Final = get_args(Group)

LONGEST_SERIES: Final = 4096
"""Spectra of larger matrices are not written into tables."""


@dataclass(frozen=True, eq=False, repr=False)
class Analysed:
    """What one matrix adds to a table."""

    matrix: Matrix
    records: list[Record]
    series: list[Series]
    certificate: Optional["Certificate"] = None


def measures() -> Registry[Measure]:
    """Every measure: ours are registered when their modules are imported, a plug-in's when it is run."""
    from rankscope.analyzer import blocks, rank, sparsity, values  # noqa: F401  imported for what they register

    return MEASURES


def chosen(names: tuple[str, ...]) -> list[Measure]:
    """The measures called `names`; the default set for no names, every measure for "all"."""
    everything: list[Measure] = sorted(
        (entry.function for entry in measures()), key=lambda each: GROUPS.index(each.group)
    )
    if not names:
        return [measure for measure in everything if measure.default]
    if "all" in names:
        return everything
    wanted = {measures()[name].function.name for name in names}
    return [measure for measure in everything if measure.name in wanted]


def analyse(
    operator: Operator,
    identity: int,
    measures: list[Measure],
    numerics: Numerics,
    *,
    certify: bool = False,
    blocks: int = 0,
) -> Analysed:
    """Measure one matrix; the same needs serve all measures of the same subject.

    Its picture has at most so many `blocks` in each direction, and there is none for 0.
    """
    shared_ledger = ledger(numerics) if numerics.proves else None
    needs: dict[str, Needs] = {}
    records: list[Record] = []
    series: dict[str, Series] = {}
    for measure in measures:
        for subject in measure.subjects(operator):
            shared = needs.setdefault(subject.subject, Needs(subject, numerics, shared_ledger))
            reading = measure.read(shared)
            records.append(measure.row(reading, subject, identity))
            if Spectrum in measure.kinds.values() and "singular_values" not in series:
                series |= {each.name: each for each in spectra(shared, operator, identity)}
            for name, listed in reading.series.items():
                indexed = listed if isinstance(listed, dict) else dict(enumerate(listed, 1))
                series[name] = row(name, indexed, [], operator, identity)
    if numerics.spectrum == "exact" and not series:
        own = needs.setdefault(operator.subject, Needs(operator, numerics, shared_ledger))
        series |= {each.name: each for each in spectra(own, operator, identity)}
    if blocks:
        series |= {each.name: each for each in pictures(operator, identity, blocks)}
    certificate = None
    if certify:
        from rankscope.analyzer.certify import certificate_of

        own = needs.setdefault(operator.subject, Needs(operator, numerics, shared_ledger))
        certificate = certificate_of(own, [measure.name for measure in measures])
    return Analysed(described(operator.origin, operator.shape, identity), records, list(series.values()), certificate)


def spectra(needs: Needs, operator: Operator, identity: int) -> Iterator[Series]:
    """The singular values as LAPACK gives them; and their logarithms where all were enclosed, zeros left out."""
    spectrum = needs.lapack
    values = [spectrum.absolute(float(value)) for value in spectrum.values]
    if len(values) <= LONGEST_SERIES and None not in values and np.isfinite(spectrum.error).all():
        listed = [float(value) for value in values if value is not None]
        yield row("singular_values", dict(enumerate(listed, 1)), spectrum.error.tolist(), operator, identity)
    if needs.spectrum.logs is not None:
        ends = [each for each in needs.spectrum.logs if each is not None]
        middles, halves = [(low + high) / 2 for low, high in ends], [(high - low) / 2 for low, high in ends]
        yield row("log10_singular_values", dict(enumerate(middles, 1)), halves, operator, identity)


def pictures(operator: Operator, identity: int, blocks: int) -> Iterator[Series]:
    """The means of the weights over blocks, row by row, if there are any to show."""
    means = picture(operator, blocks)
    if means is not None:
        values = dict(enumerate(means.ravel().tolist(), 1))
        yield replace(row("attention", values, [], operator, identity), columns=means.shape[1])


def row(name: str, values: dict[int, float], errors: list[float], operator: Operator, identity: int) -> Series:
    """A series, its values by index, with the place of its matrix."""
    origin = operator.origin
    place = origin.layer, origin.head, origin.over, origin.seed
    return Series(identity, name, list(values), list(values.values()), errors, *place)


def described(origin: Origin, shape: tuple[int, int], identity: int) -> Matrix:
    """The row of `matrices` for a matrix of this origin."""
    fields = {name: value for name, value in vars(origin).items() if name in Matrix.__dataclass_fields__}
    return Matrix(identity, rows=shape[0], columns=shape[1], **fields)


def refused(
    origin: Origin, shape: tuple[int, int], reason: RankscopeError, identity: int, measures: list[Measure]
) -> Analysed:
    """A matrix that could not be measured: every measure null, with the error's code and what it said."""
    records = [
        Record(
            identity,
            measure.name,
            None,
            measure.group,
            unit=measure.unit,
            because=reason.given,
            layer=origin.layer,
            head=origin.head,
            over=origin.over,
            seed=origin.seed,
            status="refused",
            code=reason.code,
        )
        for measure in measures
    ]
    return Analysed(described(origin, shape, identity), records, [])
