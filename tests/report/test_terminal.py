"""The table that people read: at most as wide as asked for, complete, aligned, and safe to print."""

import itertools
import math
import re
import statistics
from dataclasses import replace
from unicodedata import east_asian_width

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rankscope as rs
from rankscope.records import Record, Series, Table
from rankscope.report.terminal import SHORT, to_text
from tests.report.canned import HOSTILE, matrix, named, record, refused, several, table, usual


def columns(text: str) -> int:
    """How many columns of a terminal a line takes."""
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def too_wide(found: Table, width: int = 80) -> list[str]:
    return [line for line in to_text(found, width).splitlines() if columns(line) > width]


def words(text: str) -> str:
    return " ".join(text.split())


def rows_of(text: str, measure: str) -> list[str]:
    return [line for line in text.splitlines() if line.split()[:1] == [measure]]


# -------------------------------------------------------------------------------------------------------------- shapes


def test_one_matrix_is_a_list_with_groups_values_guarantees_and_reasons() -> None:
    lines = to_text(named("causal softmax")).splitlines()
    assert lines[0] == "causal softmax   n 8   float64"
    groups = [line for line in lines[1:] if line and not line.startswith(" ") and " " not in line]
    assert groups == ["rank", "determinant", "spectrum", "rows"]
    assert words("\n".join(lines)).count(" proved ") == 3  # exact rank, sign, log det
    [exact], [sign] = (rows_of("\n".join(lines), name) for name in ("rank_exact", "sign"))
    assert re.match(r"  rank_exact +8 of 8 +proved +lower triangular with a positive", exact)
    assert re.match(r"  sign +\+1 +proved +lower triangular with a positive", sign)
    assert "± 0.1; |det| ≈ 10^−12.812" in words("\n".join(lines))
    assert "σ > 2.0e−13 (numpy); gap 127 (7.6e−13 | 6.0e−15)" in words("\n".join(lines))


def test_a_synthetic_matrix_says_what_made_it() -> None:
    made = matrix(label="causal softmax", source="synthetic", d=4, scale=0.5, mask="causal")
    found = table([replace(each, seed=3) for each in usual()], [made])
    assert to_text(found).splitlines()[0] == "causal softmax attention   n 8   d 4   scale 0.5   seed 3   float64"


def test_a_rectangular_matrix_shows_both_sides() -> None:
    assert "3 × 5" in to_text(rs.analyze([[0.2] * 5] * 3).table).splitlines()[0]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_few_matrices_stand_side_by_side(count: int) -> None:
    found = several(count)
    text = to_text(found)
    [row] = rows_of(text, "effective_rank")
    assert row.split()[1:] == ["3.25"] * count
    [logdet] = rows_of(text, "logdet")
    assert logdet.split()[1:] == ["−29.5", "p"] * count
    assert "p proved" in text
    assert "unmarked: estimated" in text


@pytest.mark.parametrize("count", [5, 24])
def test_many_matrices_have_a_row_each(count: int) -> None:
    lines = to_text(several(count)).splitlines()
    assert lines[0].startswith(f"{count} matrices   n 8")
    start = next(i for i, line in enumerate(lines) if "exact" in line) + 1
    rows = lines[start : start + count]
    assert len({len(row) for row in rows}) == 1
    assert all(row.split()[-5:-3] == ["8", "p"] or "8 p" in row for row in rows)
    assert {row.split()[0] for row in rows} == {"layer"}, "a number is not parted from what it counts"


def test_seeds_are_summarised() -> None:
    records = [replace(each, matrix=i, seed=i, value=i + 1.0) for i in range(3) for each in usual()[2:4]]
    text = to_text(table(records, [matrix(i) for i in range(3)]))
    assert text.splitlines()[0] == "3 matrices, 3 seeds   n 8   dtype float64"
    [row] = rows_of(text, "stable_rank")
    assert row.split() == ["stable_rank", "2", "1", "1", "3", "3"]


def test_a_few_kinds_over_seeds_have_a_block_each_and_more_a_row() -> None:
    masks = ["bidirectional", "causal", "window:2", "window:3", "prefix:2"]
    few, many = (rs.compare(masks[:count], n=6, d=2, seed=[0, 1, 2]).table for count in (4, 5))
    assert to_text(few).count("         mean") == 4
    lines = to_text(many).splitlines()
    assert lines[0].startswith("15 matrices, 3 seeds   n 6   d 2")
    assert lines[2].split() == ["exact", "numerical", "effective", "stable"]
    [row] = [line for line in lines if line.startswith("causal softmax")]
    own = {each.id for each in many.matrices if each.label == "causal softmax"}
    values = [float(r) for r in many if r.measure == "effective_rank" and r.matrix in own]
    mean, deviation = (float(text) for text in re.findall(r"([\d.]+) ± ([\d.]+)", row)[0])
    assert deviation == pytest.approx(statistics.stdev(values), rel=0.05)
    assert mean == pytest.approx(statistics.mean(values), abs=0.06 * deviation)
    assert "6 p" in row
    said = words(to_text(many))
    left = re.search(r"(\d+) more, with -m or --format csv: (.*?) p proved", said)
    assert left is not None
    assert int(left[1]) == len(left[2].split(", ")) == len({record.measure for record in many}) - 4
    assert too_wide(many) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_names_do_not_break_the_width_of_kinds_over_seeds(name: str) -> None:
    matrices = [matrix(i, f"{HOSTILE[name]}{i // 2}") for i in range(12)]
    records = [replace(each, seed=i % 2) for i in range(12) for each in usual(i)]
    found = table(records, matrices)
    assert too_wide(found) == []
    assert {c for c in to_text(found) if not c.isprintable()} <= {"\n"}


def test_what_all_seeds_say_instead_of_a_value_is_shown_with_its_mark() -> None:
    records: list[Record] = []
    for i in range(2):
        fields = {"matrix": i, "seed": i}
        records += [record("rank_exact", None, low=1, high=16, guarantee="proved", **fields)]
        records += [record("logdet", None, sign=0, guarantee="proved", **fields)]
        records += [record("stable_rank", None, high=3.5 + i, **fields), record("hoyer", None, **fields)]
        records += [record("sigma_max", 1.5, guarantee="enclosed" if i else "estimated", **fields)]
    text = to_text(table(records, [matrix(i) for i in range(2)]))
    found = {measure: rows_of(text, measure)[0].split()[1:] for measure in ("rank_exact", "logdet", "sigma_max")}
    assert found["rank_exact"] == ["p", "≤", "16", "0"]
    assert found["logdet"] == ["p", "−∞", "0"]
    assert found["sigma_max"][0] == "1.5", "only one of its seeds is enclosed"
    assert words(rows_of(text, "stable_rank")[0]) == "stable_rank not known 0"
    assert words(rows_of(text, "hoyer")[0]) == "hoyer — 0"


def test_a_kind_of_one_seed_beside_others_of_several_has_its_value() -> None:
    records = [replace(each, matrix=i, seed=i) for i in range(3) for each in usual()[3:4]]
    text = to_text(table(records, [matrix(0, "a"), matrix(1, "b"), matrix(2, "b")]))
    assert [row.split() for row in rows_of(text, "stable_rank")] == [
        ["stable_rank", "1.5", "1.5", "1.5", "1"],
        ["stable_rank", "1.5", "0", "1.5", "1.5", "2"],
    ]


@pytest.mark.parametrize(("extra", "said"), [(1, "; 1 more measure with"), (2, "; 2 more measures with")])
def test_measures_that_are_left_out_are_counted_in_good_english(extra: int, said: str) -> None:
    names = [*SHORT, *(f"more_{i}" for i in range(extra))]
    found = table([record(name, 1.5, matrix=i) for i in range(6) for name in names], [matrix(i) for i in range(6)])
    assert said in words(to_text(found, 200))


def test_a_table_of_nothing_is_shown_without_a_crash() -> None:
    for found in (table([], []), table([])):
        assert isinstance(to_text(found), str)


# --------------------------------------------------------------------------------------------------------------- width


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 30])
def test_no_line_is_wider_than_asked_for(count: int, width: int) -> None:
    assert too_wide(several(count), width) == []


def test_a_wide_terminal_is_used() -> None:
    narrow, wide = to_text(named("a"), 80), to_text(named("a"), 160)
    assert len(wide.splitlines()) < len(narrow.splitlines())


@pytest.mark.parametrize("count", [1, 2, 4, 6])
@pytest.mark.parametrize("name", HOSTILE)
def test_names_do_not_break_the_width(name: str, count: int) -> None:
    matrices = [matrix(i, HOSTILE[name] + (f" {i}" if i else "")) for i in range(count)]
    assert too_wide(table([each for i in range(count) for each in usual(i)], matrices)) == []


@pytest.mark.parametrize("length", [22, 27, 40])
@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_a_measure_with_a_long_name_does_not_break_the_width(count: int, length: int) -> None:
    long = [record("m" * length, 0.123456, matrix=i, method="as a plug-in measures it") for i in range(count)]
    found = table([*[each for i in range(count) for each in usual(i)], *long], [matrix(i) for i in range(count)])
    assert too_wide(found) == []


def test_complaints_do_not_break_the_width() -> None:
    for count in (1, 2, 4, 6):
        bad, records = refused(count, "a name of some length.npy layer 3 head 17")
        found = several(count)
        assert too_wide(table([*found.records, *records], [*found.matrices, bad])) == []


def test_underflow_with_both_subjects_does_not_break_the_width() -> None:
    made = [rs.synthetic(n=16, d=4, mask=mask, dtype="bfloat16", scale=60.0) for mask in ("causal", "anticausal")]
    for count in (1, 2, 4):
        assert too_wide(rs.analyze((made * 2)[:count]).table) == []


# ------------------------------------------------------------------------------------------------------------ identity


def test_rows_of_a_list_can_be_told_apart_however_long_their_labels_are() -> None:
    labels = [f"anticausal & window:128 softmax layer {i} head {j}" for i, j in itertools.product((0, 11), (0, 1, 11))]
    found = table([each for i in range(6) for each in usual(i)], [matrix(i, label) for i, label in enumerate(labels)])
    lines = to_text(found).splitlines()
    assert "anticausal & window:128 softmax" in " ".join(lines[:2])
    rows = [line[: line.index("  ")] for line in lines if re.match(r"layer \d+ head \d+ ", line)]
    assert len(rows) == len(set(rows)) == 6


def test_columns_side_by_side_do_not_touch() -> None:
    wide = [
        replace(each, value=-12345.678901, low=None, high=None) if each.measure == "logdet" else each
        for each in usual()
    ]
    for count in (2, 3, 4):
        found = table(
            [replace(each, matrix=i) for i in range(count) for each in wide], [matrix(i) for i in range(count)]
        )
        [row] = rows_of(to_text(found), "logdet")
        assert row.split()[1:] == ["−12345.6789", "p"] * count


def test_both_subjects_are_named() -> None:
    made = rs.synthetic(n=16, d=4, mask="causal", dtype="bfloat16", scale=60.0)
    alone = to_text(rs.analyze(made).table)
    assert len(rows_of(alone, "logdet")) == len(rows_of(alone, "rank_exact")) == 2
    assert "[scores]" in alone
    assert "[stored]" in alone
    both = to_text(rs.analyze([made, made]).table)
    assert {row.split()[1] for row in rows_of(both, "logdet")} == {"[scores]", "[stored]"}


def test_a_refused_matrix_is_named_with_its_code_in_every_shape() -> None:
    for count in (1, 2, 6):
        bad, records = refused(count, "the bad one")
        found = several(count)
        text = words(to_text(table([*found.records, *records], [*found.matrices, bad])))
        assert "the bad one was not measured. RS110: NaN in the bad one: 1 of 64 entries" in text


def test_an_only_matrix_that_is_refused_shows_why() -> None:
    bad, records = refused(0, "the bad one")
    assert "RS110: NaN in the bad one" in words(to_text(table(records, [bad])))


# -------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (record("rank_exact", 8, guarantee="proved"), "8 of 8 proved"),
        (record("rank_exact", None, low=3, high=5, guarantee="proved"), "3 … 5 proved nobody knows"),
        (record("rank_exact", None, low=1, high=5, guarantee="proved"), "≤ 5 proved nobody knows"),
        (record("log10_sigma_min", None, high=-13.5), "≤ −13.5 estimated nobody knows"),
        (record("log10_condition", None, low=13.25), "≥ 13.25 estimated nobody knows"),
        (record("hoyer", None, because="not stochastic"), "— estimated not stochastic"),
        (record("sigma_max", 1.25, low=1.24, high=1.26), "1.25 estimated ± 0.01"),
        (record("sigma_max", 1.25, low=1.25, high=1.25, method="exactly"), "1.25 estimated exactly"),
        (record("stable_rank", 2.0, guarantee="enclosed", low=1.5, high=2.5), "2 enclosed ± 0.5"),
        (record("hoyer", 1e-300, method="tiny"), "1e−300 estimated tiny"),
    ],
)
def test_each_kind_of_value_is_written_as_what_it_is(made: Record, expected: str) -> None:
    text = to_text(table([made]))
    assert words("\n".join(text.splitlines()[3:5])).startswith(f"{made.measure} {expected}")


def test_a_singular_determinant_has_sign_zero_and_no_logarithm() -> None:
    made = record("logdet", None, sign=0, guarantee="proved", because="singular: two rows are equal")
    text = to_text(table([made]))
    assert rows_of(text, "sign")[0].split()[:3] == ["sign", "0", "proved"]
    assert rows_of(text, "logdet")[0].split()[:3] == ["logdet", "−∞", "proved"]
    unknown = to_text(table([record("logdet", None, because="singular to working precision")]))
    assert rows_of(unknown, "sign")[0].split()[1] == "unknown"


def test_noise_of_lapack_is_shown_only_beside_a_value_found_otherwise() -> None:
    series = [Series(0, "singular_values", [1, 2], [1.0, 1.4e-20], [0.0, 0.0])]
    inverse = record("log10_sigma_min", -140.743, method="inverse by substitution in log scale")
    assert "LAPACK prints 1.4e−20" in words(to_text(table([inverse], series=series)))
    direct = record("log10_sigma_min", -3.5, method="the last value of LAPACK's spectrum")
    assert "prints" not in to_text(table([direct], series=series))


def test_minus_signs_are_minus_signs() -> None:
    text = to_text(several(6)) + to_text(several(2)) + to_text(named("a"))
    assert not re.search(r"-\d", text)
    assert "−29.5" in text


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_what_the_text_says_to_the_digits_that_are_shown(value: float) -> None:
    [row] = rows_of(to_text(table([record("hoyer", value, method="m")])), "hoyer")
    assert float(row.split()[1].replace("−", "-")) == pytest.approx(value, rel=5e-6, abs=5e-324)


@given(value=st.integers(0, 10**9 - 1))
def test_an_integer_is_shown_with_every_digit(value: int) -> None:
    [row] = rows_of(to_text(table([record("energy_rank_90", value)])), "energy_rank_90")
    assert int(row.split()[1]) == value


# -------------------------------------------------------------------------------------------------------------- safety


@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_sends_control_characters(name: str, count: int) -> None:
    matrices = [matrix(i, HOSTILE[name]) for i in range(count)]
    text = to_text(table([each for i in range(count) for each in usual(i)], matrices))
    assert {c for c in text if not c.isprintable()} <= {"\n"}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_reason_sends_control_characters(name: str) -> None:
    because = HOSTILE[name] or "empty"
    made = [record("hoyer", None, because=because), record("gini", 1.0, method=because)]
    bad = record("hoyer", None, because=because, status="refused", code="RS110", matrix=1)
    for found in (table(made), table([*made, bad], [matrix(), matrix(1, HOSTILE[name])])):
        assert {c for c in to_text(found) if not c.isprintable()} <= {"\n"}


def test_no_name_looks_like_markup_of_a_terminal_library() -> None:
    assert "layer[/]$\\foo$=cmd" in to_text(named(HOSTILE["markup"]))


# -------------------------------------------------------------------------------------------------- real results


def test_every_line_of_a_real_result_ends_without_spaces_and_every_measure_is_there() -> None:
    made = [rs.synthetic(n=20, d=3, mask="causal", seed=seed) for seed in range(3)]
    for given_matrices in (made[:1], made):
        result = rs.analyze(given_matrices)
        text = to_text(result.table)
        assert all(line == line.rstrip() for line in text.splitlines())
        assert all(rows_of(text, measure) for measure in {each.measure for each in result.table})


def test_the_tolerance_that_is_shown_is_the_one_that_counted() -> None:
    result = rs.analyze(rs.synthetic(n=64, d=8, mask="causal"), rtol=1e-3)
    details = result["rank_numerical"].details  # type: ignore[union-attr]
    shown = re.search(r"σ > ([\d.e−]+) \(rtol\)", words(str(result)))
    assert shown is not None
    assert math.isclose(float(shown[1].replace("−", "-")), details["tolerance"], rel_tol=0.05)
