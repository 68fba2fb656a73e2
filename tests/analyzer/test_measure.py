"""Measures: how they are registered, what they are given, which matrix they speak of, and the battery over all."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

import rankscope as rs
from rankscope.analyzer.analyze import measures
from rankscope.analyzer.determinant import LogDet
from rankscope.analyzer.measure import MEASURES, Measure
from rankscope.analyzer.needs import Bounds, Needs, Scores
from rankscope.analyzer.rows import Rows
from rankscope.analyzer.smallest import Smallest
from rankscope.analyzer.spectrum import Spectrum
from rankscope.arrays import Storage
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.errors import RankscopeError
from rankscope.records import Reading

QUERIES, KEYS = np.random.default_rng(21).standard_normal((2, 6, 4))


@pytest.fixture(autouse=True)
def only_ours() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    measures()
    before = dict(MEASURES.entries)
    yield
    MEASURES.entries.clear()
    MEASURES.entries.update(before)


@pytest.mark.parametrize("name", measures().names())
def test_every_measure_passes_the_battery(name: str) -> None:
    rs.testing.check_measure(measures()[name].function)


@pytest.mark.parametrize("name", measures().names())
def test_every_measure_is_a_function_that_returns_a_record(name: str) -> None:
    found = measures()[name].function(attention(QUERIES, KEYS, mask="causal"))
    assert found.measure == name
    assert found.value is None or math.isfinite(float(found))
    assert found.guarantee in ("proved", "enclosed", "estimated")
    assert found.subject in ("scores", "factors", "stored")


@pytest.mark.parametrize("name", measures().names())
def test_the_function_and_the_table_give_the_same_record(name: str) -> None:
    for operator in (
        single(attention(QUERIES, KEYS)),
        single(QUERIES),
        single(attention(QUERIES, KEYS, kernel="linear")),
    ):
        table = rs.analyze(operator, measures=["all"]).table
        assert measures()[name].function(operator) == next(record for record in table if record.measure == name)


def test_every_measure_but_the_determinant_is_public_under_its_name() -> None:
    """`rs.logdet` has a sign and a logarithm, and is therefore no plain record."""
    for name in measures().names():
        assert (getattr(rs, name) is measures()[name].function) == (name != "logdet")
    found, record = rs.logdet(attention(QUERIES, KEYS)), measures()["logdet"].function(attention(QUERIES, KEYS))
    assert (found.sign, found.log_abs, found.low, found.high) == (record.sign, record.value, record.low, record.high)


def test_the_alias_of_the_effective_rank() -> None:
    assert rs.erank(np.eye(3)).measure == "effective_rank"
    assert rs.analyze(np.eye(3), measures=["erank"])["effective_rank"].value == pytest.approx(3.0)  # type: ignore[union-attr]


def test_the_default_set_leaves_out_what_costs_more() -> None:
    names = {record.measure for record in rs.analyze(np.eye(3)).table}
    assert names == set(measures().names()) - {"dobrushin", "eigenvalues", "offdiagonal_rank", "rank_output", "row_sum"}
    assert {record.measure for record in rs.analyze(np.eye(3), measures=["all"]).table} == set(measures().names())


def test_the_promised_measures_are_all_there() -> None:
    promised = """rank_exact rank_numerical effective_rank effective_rank_energy stable_rank nuclear_rank
    participation_ratio energy_rank_90 rank_scores logdet sigma_max log10_sigma_min log10_condition sv_ratio_1_2
    row_entropy row_entropy_normalized hoyer gini l1_l2 max_logit sink_rate row_sum_defect dobrushin eigenvalues"""
    assert set(promised.split()) <= set(measures().names())


def test_a_measure_is_given_what_its_parameters_are_annotated_with() -> None:
    """The need is the type; each is computed once for all measures."""
    given: dict[str, object] = {}

    @rs.measure(unit="nats")
    def everything(
        spectrum: Spectrum,
        determinant: LogDet,
        smallest: Smallest,
        rows: Rows,
        scores: Scores,
        bounds: Bounds,
        storage: Storage,
        numerics: rs.Numerics,
    ) -> float:
        """Whatever a measure can ask for."""
        given.update(locals())
        return 1.5

    record = everything(attention(QUERIES, KEYS, mask="causal"), rtol=1e-3)
    assert isinstance(everything, Measure)
    assert (record.measure, record.value, record.unit, record.guarantee) == ("everything", 1.5, "nats", "estimated")
    for name, kind in [
        ("spectrum", Spectrum),
        ("determinant", LogDet),
        ("smallest", Smallest),
        ("rows", Rows),
        ("scores", Scores),
        ("bounds", Bounds),
        ("storage", Storage),
        ("numerics", rs.Numerics),
    ]:
        assert isinstance(given[name], kind)
    assert given["numerics"] == rs.Numerics(None, 1e-3)


def test_a_plain_number_takes_its_method_from_the_spectrum() -> None:
    @rs.measure
    def largest_over_smallest(spectrum: Spectrum) -> float:
        """σ₁ / σ_n as LAPACK has it."""
        return float(spectrum.values[0] / spectrum.values[-1])

    record = largest_over_smallest(QUERIES)
    assert "LAPACK" in record.method
    assert record.value == rs.singular_values(QUERIES)[0] / rs.singular_values(QUERIES)[-1]


def test_a_reading_keeps_bounds_series_and_details() -> None:
    @rs.measure(group="rows", default=False)
    def first_row(rows: Rows) -> Reading:
        """The sum of the first row, with the row as a series."""
        weights = rows.weights[0]
        return Reading(
            float(weights.sum()),
            "enclosed",
            "by hand",
            low=0.0,
            high=2.0,
            details={"n": len(weights)},
            series={"first": weights.tolist()},
        )

    result = rs.analyze(np.eye(3), measures=["first_row"])
    record = result["first_row"]
    assert isinstance(record, rs.Record)
    assert (record.value, record.low, record.high, record.guarantee) == (1.0, 0.0, 2.0, "enclosed")
    assert (record.group, record.method, record.details) == ("rows", "by hand", {"n": 3})
    assert [(each.name, each.values, each.index) for each in result.table.series] == [
        ("first", [1.0, 0.0, 0.0], [1, 2, 3])
    ]
    assert "first_row" not in {each.measure for each in rs.analyze(np.eye(3)).table}


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(RankscopeError, match="RS005"):

        @rs.measure
        def stable_rank(spectrum: Spectrum) -> float:
            """Taken."""
            return 0.0


def test_a_measure_without_a_docstring_is_refused() -> None:
    with pytest.raises(RankscopeError, match="RS005"):

        @rs.measure
        def nameless(spectrum: Spectrum) -> float:
            return 0.0


def test_an_unknown_measure_is_refused_with_the_nearest() -> None:
    with pytest.raises(RankscopeError, match="'stable_rank'") as caught:
        rs.analyze(np.eye(2), measures=["stabel_rank"])
    assert caught.value.code == "RS001"


def test_needs_are_computed_once() -> None:
    needs = Needs(single(attention(QUERIES, KEYS, mask="causal")))
    for kind in (Spectrum, LogDet, Smallest, Rows, Scores, Bounds):
        assert needs.of(kind) is needs.of(kind)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"rank_exact": ["scores"], "logdet": ["scores"], "stable_rank": ["scores"], "row_entropy": ["scores"]}),
        (
            {"dtype": "float16"},
            {
                "rank_exact": ["scores", "stored"],
                "logdet": ["scores", "stored"],
                "stable_rank": ["stored"],
                "rank_numerical": ["stored"],
                "log10_sigma_min": ["stored"],
                "row_entropy": ["stored"],
                "max_logit": ["scores"],
                "rank_scores": ["factors"],
            },
        ),
        (
            {"scale": 4096.0},
            {"rank_exact": ["scores", "stored"], "logdet": ["scores", "stored"], "stable_rank": ["scores"]},
        ),
        ({"kernel": "linear"}, {"rank_exact": ["factors"], "logdet": ["factors"], "stable_rank": ["factors"]}),
    ],
    ids=["float64", "float16", "underflow", "linear"],
)
def test_every_number_has_its_subject(options: dict[str, object], expected: dict[str, list[str]]) -> None:
    operator = single(attention(QUERIES, KEYS, mask="causal", **options))  # type: ignore[arg-type]
    table = rs.analyze(operator).table
    for name, subjects in expected.items():
        assert [record.subject for record in table if record.measure == name] == subjects, name


def test_bare_numbers_are_their_own_subject() -> None:
    assert {record.subject for record in rs.analyze(np.eye(3)).table} == {"stored"}


def test_records_come_in_the_order_of_their_groups() -> None:
    groups = [record.group for record in rs.analyze(attention(QUERIES, KEYS), measures=["all"]).table]
    assert [name for name, _ in itertools.groupby(groups)] == list(dict.fromkeys(groups))
