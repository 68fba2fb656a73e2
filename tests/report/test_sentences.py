"""What is said below a table is true of the table, whatever the table holds."""

import re
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.records import Record, Table
from rankscope.report.sentences import sentences
from tests.report.canned import HOSTILE, matrix, named, record, several, table, usual


def said(found: Table) -> str:
    return " ".join(sentences(found))


def of(matrices: Any, **options: Any) -> str:
    return said(rs.analyze(matrices, **options).table)


def made(*wanted: str, **changes: Any) -> Table:
    """The usual records of these measures, with the first one changed."""
    records = [each for each in usual() if each.measure in wanted]
    first = next(i for i, each in enumerate(records) if each.measure == wanted[0])
    records[first] = replace(records[first], **changes)
    return table(records)


# ------------------------------------------------------------------------------------------------ the ranks, one matrix


def test_values_that_lapack_cannot_tell_from_noise_are_counted_and_the_true_ones_named() -> None:
    array = rs.synthetic(n=96, d=64, mask="causal", scale=4.0)
    text = of(array, spectrum="exact")
    found = rs.analyze(array, spectrum="exact").table
    plain, deep = found.series
    noise = [i for i, (value, bound) in enumerate(zip(plain.values, plain.errors, strict=True)) if value <= bound]
    ends = [f"10^{deep.values[i]:.6g}".replace("-", "−") for i in (noise[0], noise[-1])]
    assert len(noise) > 1
    assert (
        f"{len(noise)} of LAPACK's 96 singular values lie below their error bounds and may be noise; the true ones run "
        f"from {ends[0]} to {ends[1]} (enclosed)." in text
    )
    assert f"{found['log10_sigma_min'].value:.6g}".replace("-", "−") in ends[1], "as the list of measures has it"  # type: ignore[union-attr]
    assert "LAPACK" not in of(array)


def test_one_value_in_the_noise_is_one() -> None:
    text = of(rs.synthetic(n=64, d=16, mask="causal"), spectrum="exact")
    assert (
        "1 of LAPACK's 64 singular values lies below its error bound and may be noise; the true one is 10^−18.0503 "
        "(enclosed)." in text
    )


def test_a_spectrum_without_noise_has_no_true_tail() -> None:
    assert "LAPACK" not in of(rs.synthetic(n=16, d=4), spectrum="exact")
    assert "LAPACK" not in of(rs.synthetic(n=16, d=4, kernel="linear"), spectrum="exact")


def test_a_full_exact_rank_above_the_numerical_one_is_explained() -> None:
    text = of(rs.synthetic(n=512, d=64, mask="causal"))
    assert "The exact rank is full, because the matrix is lower triangular with a positive diagonal." in text
    assert re.search(r"10 (of its )?singular values", text)
    assert re.search(r"tolerance τ = 2(\.0)?e[-−]13", text)
    assert "a numerical rank of 502 says something about the tolerance, not about the matrix" in text
    assert "The scores have rank" not in text, "the mask alone makes a causal matrix of full rank"
    assert "The scores have rank 64" in of(rs.synthetic(n=512, d=64))
    assert re.search(r"218\.6\b", text)


def test_equal_ranks_are_said_to_be_equal() -> None:
    text = of([[1.0, 0.0], [0.5, 0.5]])
    assert re.search(r"The exact rank is 2 \([^)]*triangular[^)]*diagonal\)", text)
    assert re.search(r"so is the numerical rank|the numerical rank .*is the same", text)


def test_without_a_theorem_none_is_claimed() -> None:
    text = of(rs.synthetic(n=16, d=4))
    assert re.search(r"all 16 singular values stand above the tolerance", text, re.IGNORECASE)
    assert re.search(r"no theorem|does not follow from the structure", text)
    assert "The exact rank is" not in text
    assert "|det|^(1/n)" not in text


def test_a_proved_bound_is_told_beside_the_count() -> None:
    text = of(rs.synthetic(n=16, d=4, kernel="linear"))
    assert "at most 4: the number of features (proved)" in text
    assert re.search(r"numerical rank at the tolerance τ = \S+ is 4\b|\b4 singular values stand above", text)


def test_a_tolerance_inside_the_error_decides_nothing() -> None:
    text = said(made("rank_numerical", "rank_exact", value=None, low=4, high=6, because="inside the error"))
    assert "between 4 and 6" in text
    assert "--rtol" in text


def test_storage_is_named_when_it_decides_the_tolerance() -> None:
    array = rs.synthetic(n=8, d=3, dtype="bfloat16")
    assert "bfloat16" in of(array)
    assert "bfloat16" not in of(array, rule="numpy")


def test_a_matrix_close_to_rank_one_is_called_so() -> None:
    assert "close to rank one" in of(rs.synthetic(n=16, d=4, scale=0.01))
    assert "close to rank one" not in of(rs.synthetic(n=16, d=4))


def test_the_geometric_mean_of_the_diagonal_is_that() -> None:
    text = of([[0.5, 0.0], [0.75, 0.125]])
    assert "|det|^(1/n) = 0.25 is the geometric mean" in text
    assert "geometric mean" not in of([[1.0, 2.0], [3.0, 4.0]])


# ------------------------------------------------------------------------------------------------------ it must be true


def test_two_subjects_are_not_mixed() -> None:
    """The scores have full rank by theorem; the stored numbers, nine of whose diagonal entries are zero, do not."""
    result = rs.analyze(rs.synthetic(n=64, mask="causal", dtype="bfloat16", scale=30.0))
    stored = [each for each in result.table if each.measure == "rank_exact" and each.subject == "stored"]
    assert stored[0].high is not None
    assert stored[0].high < 64
    text = said(result.table)
    assert "not about the matrix" not in text
    assert "stored" in text


def test_the_tolerance_is_not_blamed_where_the_matrix_is_singular() -> None:
    array = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.25, 0.0]]
    text = of(array)
    assert "full" not in text
    assert "not about the matrix" not in text


@pytest.mark.parametrize("mask", ["causal", "bidirectional", "prefix:3", "window:2"])
def test_the_numbers_of_a_sentence_are_those_of_the_records(mask: str) -> None:
    result = rs.analyze(rs.synthetic(n=16, d=4, mask=mask))
    values = {each.measure: each.value for each in result.table}
    text = said(result.table)
    effective = re.search(r"(?:Of 16 directions|effective rank is) ([\d.]+\d)", text)
    assert effective is not None
    assert float(effective[1]) == pytest.approx(values["effective_rank"], rel=1e-3)
    tolerance = re.search(r"τ = ([\d.e−-]+\d)", text)
    assert tolerance is not None
    counted = next(each for each in result.table if each.measure == "rank_numerical").details["tolerance"]
    assert float(tolerance[1].replace("−", "-")) == pytest.approx(counted, rel=0.05)


@pytest.mark.parametrize("n", [1, 2])
def test_small_numbers_are_said_in_good_english(n: int) -> None:
    text = of(rs.synthetic(n=n, d=4)) + " " + of(rs.synthetic(n=n, d=4, mask="causal"))
    assert not re.search(r"(?<![\d.])1 (directions|singular values|of its singular values lie)", text)
    assert "exceeds 1 by 0," not in text


def test_one_value_below_the_tolerance_is_said_in_good_english() -> None:
    text = said(made("rank_numerical", "rank_exact", value=7))
    assert not re.search(r"(?<!\d)1 of its singular values lie ", text)


@pytest.mark.parametrize("value", [0, 1, 7, 8])
def test_any_count_gives_a_sentence_that_does_not_contradict_it(value: int) -> None:
    text = said(made("rank_numerical", "rank_exact", value=value))
    assert str(value) in text
    assert ("full, because" in text) == (value < 8)


def test_empty_and_zero_matrices_have_nothing_false_said_about_them() -> None:
    import numpy as np

    for array in (np.zeros((0, 0)), np.zeros((3, 3)), np.zeros((3, 0))):
        text = of(array)
        assert "full" not in text
        assert "effective rank" not in text


@pytest.mark.parametrize(("index", "measure"), [(i, each.measure) for i, each in enumerate(usual())])
def test_any_measure_may_be_missing(index: int, measure: str) -> None:
    records = usual()
    assert measure == records.pop(index).measure
    assert "None" not in said(table(records))
    unknown = usual()
    unknown[index] = replace(unknown[index], value=None, sign=None, because="nobody knows")
    assert "None" not in said(table(unknown)), "an unknown value is printed"


@pytest.mark.parametrize("each", usual(), ids=lambda each: each.measure)
def test_any_measure_may_stand_alone(each: Record) -> None:
    assert "None" not in said(table([each]))


def test_nothing_is_said_of_nothing() -> None:
    assert sentences(table([], [])) == []
    refused = [replace(each, value=None, status="refused", code="RS110", because="NaN") for each in usual()]
    assert sentences(table(refused)) == []


# ------------------------------------------------------------------------------------------------------------- several


def test_several_matrices_are_told_apart_by_their_extremes() -> None:
    records = [replace(each, matrix=i, value=float(i + 2)) for i in range(3) for each in usual()[2:3]]
    text = said(table(records, [matrix(i, f"head {i}") for i in range(3)]))
    assert "The effective rank runs from 2 (head 0) to 4 (head 2)." in text


def test_equal_matrices_have_no_extremes() -> None:
    text = said(several(3))
    assert "runs from" not in text, "from 3.25 (layer 0 head 0) to 3.25 (layer 0 head 0) says nothing"


def test_which_ranks_are_proved_is_counted() -> None:
    found = rs.compare(["bidirectional", "causal", "anticausal"], n=8, d=3).table
    assert "Full exact rank is proved for 2 of 3" in said(found)
    assert "Full exact rank" not in said(rs.compare(["causal", "anticausal"], n=8, d=3).table)


def test_why_ranks_are_proved_is_true_of_all_that_are_not() -> None:
    """A product of two triangles has a determinant that is a product of a non-zero diagonal as well."""
    text = said(rs.analyze(rs.synthetic(n=8, d=3, plan="layers", layers=2)).table)
    assert "Full exact rank is proved for 2 of 3" not in text


def test_a_matrix_that_was_refused_is_not_counted_among_the_measured() -> None:
    bad = [replace(each, matrix=2, value=None, status="refused", code="RS110", because="NaN") for each in usual()]
    found = table([*usual(0), *usual(1), *bad], [matrix(i, f"head {i}") for i in range(3)])
    assert "head 2" not in said(found)


def test_seeds_are_summed_up_in_words() -> None:
    table = rs.analyze([rs.synthetic(n=8, d=3, mask="causal", seed=seed) for seed in range(3)]).table
    values = [float(record) for record in table if record.measure == "effective_rank"]
    [said] = sentences(table)
    found = re.fullmatch(
        r"Over 3 seeds of causal softmax, its effective rank is ([\d.]+) ± ([\d.]+), its numerical rank is 8 and its "
        r"exact rank is 8 for every seed\.",
        said,
    )
    assert found is not None
    assert float(found[1]) == pytest.approx(statistics.mean(values), abs=0.006)
    assert float(found[2]) == pytest.approx(statistics.stdev(values), rel=0.05)


def test_many_kinds_of_matrices_over_seeds_are_compared() -> None:
    sources = [rs.synthetic(n=8, d=3, mask=f"window:{width}", seed=seed) for width in range(1, 6) for seed in (0, 1)]
    [said] = sentences(rs.analyze(sources, measures="effective_rank").table)
    assert said.startswith("The mean effective rank runs from ")


@pytest.mark.parametrize("seeds", [1, 2])
def test_of_many_combinations_it_is_said_what_varies(seeds: int) -> None:
    table = rs.compare(
        ["bidirectional", "causal"], n=[6, 8, 10], d=2, seed=[*range(seeds)], measures="effective_rank"
    ).table
    said = sentences(table)
    assert [text.partition(",")[0] for text in said[1:]] == [
        "With causal instead of bidirectional masks",
        "The effective rank grows with n in 4 of 4 steps",
    ]
    assert "Over" not in " ".join(said)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(2, "a0, a1."), (5, "a0, a1, a2, a3, a4."), (6, "a0, a1, a2, a3 and 2 more."), (9, "a0, a1, a2, a3 and 5 more.")],
)
def test_matrices_of_full_rank_are_named_or_counted(count: int, expected: str) -> None:
    records = [record("rank_exact", 8 if i < count else 3, matrix=i, guarantee="proved") for i in range(10)]
    text = said(table(records, [matrix(i, f"a{i}") for i in range(10)]))
    assert text == f"Full exact rank is proved for {count} of 10: {expected}"


def test_heads_are_compared_with_chance() -> None:
    base = {"null_mean": 3.0, "null_sd": 0.1, "null_count": 10}
    records = [record("effective_rank", value, matrix=i, **base) for i, value in enumerate([1.0, 3.1, 2.9, 5.0])]
    [_, said] = sentences(table(records, [matrix(i, f"head {i}") for i in range(4)]))
    assert said.startswith("Of 4 effective ranks, 1 lies below and 1 above those of matched random attention, beyond")
    assert "99.73 %" in said


@pytest.mark.parametrize(("value", "where"), [(1.0, "below"), (3.1, "within"), (5.0, "above")])
def test_one_matrix_is_compared_with_chance(value: float, where: str) -> None:
    found = [record("effective_rank", value, null_mean=3.0, null_sd=0.1, null_count=10)]
    assert f"(10 seeds), and it lies {where} the prediction interval of 99.73 % of that" in said(table(found))


def test_of_seeds_without_a_value_the_sentence_says_how_many_there_are() -> None:
    found = [
        replace(each, seed=seed, value=None if seed and each.measure == "rank_numerical" else each.value)
        for seed in range(3)
        for each in usual(seed)
    ]
    assert "its numerical rank is 5 for 1 of 3 seeds" in said(table(found, [matrix(seed) for seed in range(3)]))


def test_what_is_not_known_is_no_end_of_a_range() -> None:
    values = [-3.0, -1.0, None, None]
    found = table([record("logdet", v, matrix=i) for i, v in enumerate(values)], [matrix(i, f"m{i}") for i in range(4)])
    assert "The log |det|, where it is known (2 of 4), runs from −3 (m0) to −1 (m1)." in said(found)


def test_a_small_value_of_a_triangular_matrix_is_not_called_rounding() -> None:
    weights = np.tril(np.random.default_rng(0).random((40, 40))).astype(np.float32)
    weights /= weights.sum(axis=1, keepdims=True)
    # The least singular value is 10^−9.9 as substitution in the rationals confirms: the rank is 40 without rounding.
    assert "rounding has made" not in " ".join(sentences(rs.analyze(weights).table))


# -------------------------------------------------------------------------------------------------------------- signs


def test_minus_signs_are_those_of_the_table() -> None:
    text = said(several(2)) + of(rs.synthetic(n=64, d=8, mask="causal")) + of(rs.synthetic(n=16, d=4, scale=1e-6))
    assert not re.search(r"(?<=[ (=e])-\d", text)


@pytest.mark.parametrize("name", ["hyphens", "minus", "path"])
def test_names_keep_their_hyphens(name: str) -> None:
    label = {"path": "layer-0/head-1"}.get(name, HOSTILE.get(name, ""))
    records = [replace(each, matrix=i, value=float(i + 2)) for i in range(2) for each in usual()[2:3]]
    assert f"({label})" in said(table(records, [matrix(0, label), matrix(1, "other")]))


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_sends_control_characters(name: str) -> None:
    records = [replace(each, matrix=i, value=float(i + 2)) for i in range(2) for each in usual()[2:3]]
    text = said(table(records, [matrix(0, HOSTILE[name]), matrix(1, "other")])) + said(named(HOSTILE[name]))
    assert text.isprintable()


def test_a_real_stack_of_heads_is_described_by_its_own_names() -> None:
    text = of([rs.synthetic(n=8, d=3, seed=0), rs.synthetic(n=8, d=3, seed=0, mask="causal"), rs.synthetic(n=9, d=3)])
    assert "(causal softmax)" in text
