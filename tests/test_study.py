"""Studies and their results: what a person asks for in Python, and how the answer shows itself."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import rankscope as rs
from rankscope.errors import RankscopeError, UsageError
from rankscope.records import Record, Table
from tests.process import SAMPLE, called, strict_json, violations
from tests.report.canned import HOSTILE

CAUSAL = rs.analyze(rs.synthetic(n=16, d=4, mask="causal"))
SEVERAL = rs.compare(["bidirectional", "causal"], n=16, d=4)


# ------------------------------------------------------------------------------------------------------------- look-up


def test_one_number_is_a_record_and_several_are_a_table() -> None:
    one, several = CAUSAL["effective_rank"], SEVERAL["effective_rank"]
    assert isinstance(one, Record)
    assert float(one) == one.value
    assert isinstance(several, Table)
    assert [record.matrix for record in several] == [0, 1]


def test_what_was_not_measured_is_a_key_error_that_says_what_was() -> None:
    with pytest.raises(KeyError, match="'dobrushin' was not measured; this result holds rank_exact, rank_numerical"):
        CAUSAL["dobrushin"]


def test_measures_can_be_called_and_give_the_same_records() -> None:
    matrix = rs.synthetic(n=16, d=4, mask="causal")
    for measure in ("effective_rank", "stable_rank", "rank_numerical", "hoyer"):
        alone = getattr(rs, measure)(matrix)
        assert alone == CAUSAL[measure]
        assert float(alone) == float(CAUSAL[measure])  # type: ignore[arg-type]
    assert rs.rank_numerical(matrix, rtol=0.5).value < rs.rank_numerical(matrix, rule="matlab").value


def test_the_determinant_and_the_spectrum_can_be_asked_for_alone() -> None:
    array = np.array([[2.0, 0.0], [1.0, -0.5]])
    found = rs.logdet(array)
    assert found.sign == -1
    assert found.log_abs == pytest.approx(0.0, abs=1e-15)
    assert float(found) == found.log_abs
    with pytest.raises(ValueError, match="not known: singular"):
        float(rs.logdet(np.zeros((2, 2))))
    values = rs.singular_values(array)
    assert isinstance(values, np.ndarray)
    np.testing.assert_allclose(values, np.linalg.svd(array, compute_uv=False), rtol=1e-14)
    assert (rs.spectrum(array).error > 0).all()


@pytest.mark.parametrize("function", [rs.logdet, rs.spectrum, rs.singular_values, rs.effective_rank])
def test_functions_of_one_matrix_refuse_several(function: Any) -> None:
    with pytest.raises(RankscopeError, match="RS101: 3 matrices where one is measured"):
        function(np.ones((3, 2, 2)))


# ---------------------------------------------------------------------------------------------------- what is analysed


@pytest.mark.parametrize(
    ("given", "places"),
    [
        (np.eye(3), [(None, None)]),
        ([[1.0, 0.0], [0.5, 0.5]], [(None, None)]),
        (np.ones((2, 3, 3)), [(None, 0), (None, 1)]),
        (np.ones((2, 2, 3, 3)), [(0, 0), (0, 1), (1, 0), (1, 1)]),
        ([np.eye(3), np.eye(4)], [(None, None)] * 2),
        ((np.eye(3), rs.matrix(np.eye(2))), [(None, None)] * 2),
        (rs.matrix(np.ones((2, 3, 3))), [(None, 0), (None, 1)]),
        (rs.synthetic(n=4, d=2, heads=2), [(0, 0), (0, 1), (0, None), (0, None)]),
    ],
    ids=["array", "nested list", "heads", "layers", "list of arrays", "tuple", "operators", "synthetic"],
)
def test_anything_that_is_matrices_is_analysed(given: Any, places: list[tuple[Any, Any]]) -> None:
    result = rs.analyze(given, measures=["stable_rank"])
    assert [(record.layer, record.head) for record in result.table] == places
    assert violations(strict_json(result.to_json())) == []


@pytest.mark.parametrize(
    "given", [np.ones(3), 1.0, np.ones((1, 1, 1, 1, 1)), "matrix", None, [], {}, [[1, 2], [3]]], ids=repr
)
def test_what_is_no_matrix_is_an_error_of_ours(given: Any) -> None:
    with pytest.raises(RankscopeError) as caught:
        rs.analyze(given)
    assert caught.value.exit_status == 3


def test_input_is_never_modified() -> None:
    array = np.random.default_rng(0).random((5, 5))
    array.setflags(write=False)
    before = array.tobytes()
    rs.analyze(array, measures=["all"])
    assert array.tobytes() == before


def test_measures_rules_and_workers_can_be_chosen() -> None:
    arrays = np.random.default_rng(0).random((4, 8, 8))
    result = rs.analyze(arrays, measures=["erank", "rank_numerical"], rule="torch-f32", workers=1)
    assert {record.measure for record in result.table} == {"effective_rank", "rank_numerical"}
    assert result.table.study["rule"] == "torch-f32"
    assert rs.analyze(arrays, workers=3).to_json() == rs.analyze(arrays, workers=1).to_json()


@pytest.mark.parametrize(
    "options",
    [{"rule": "nope"}, {"rtol": 1.0}, {"rtol": -0.1}, {"rtol": float("nan")}, {"measures": ["nope"]}],
    ids=str,
)
def test_choices_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(RankscopeError) as caught:
        rs.analyze(np.eye(2), **options)
    assert caught.value.exit_status == 2


def test_one_name_need_not_be_a_list() -> None:
    assert [record.measure for record in rs.analyze(np.eye(3), measures="hoyer").table] == ["hoyer"]
    assert [matrix.mask for matrix in rs.compare("causal", n=4, d=2).table.matrices] == ["causal"]


# ------------------------------------------------------------------------------------------------------ one bad matrix


def stack_with_a_bad_head() -> np.ndarray[Any, Any]:
    stack = np.random.default_rng(0).random((3, 4, 4))
    stack[1, 2, 3] = np.nan
    return stack


def test_one_bad_head_is_listed_and_hides_no_other() -> None:
    stack = stack_with_a_bad_head()
    result = rs.analyze(stack)
    [bad] = result.refused
    assert (bad.head, bad.status, bad.code, bad.value) == (1, "refused", "RS110", None)
    assert "row 2, column 3" in bad.because
    alone = rs.analyze(stack[2])
    kept = [(each.measure, each.value) for each in result.table if each.head == 2]
    assert kept == [(each.measure, each.value) for each in alone.table]
    assert violations(strict_json(result.to_json())) == []
    assert "was not measured" in str(result)


def test_an_only_matrix_that_is_bad_is_an_error() -> None:
    with pytest.raises(rs.NonFiniteError, match="RS110"):
        rs.analyze(stack_with_a_bad_head()[1])


def test_a_bad_head_among_layers_is_found_by_its_place() -> None:
    stack = np.stack([stack_with_a_bad_head()] * 2)
    assert [(bad.layer, bad.head) for bad in rs.analyze(stack).refused] == [(0, 1), (1, 1)]


def test_a_mistake_in_the_study_is_not_taken_for_a_bad_matrix() -> None:
    with pytest.raises(RankscopeError, match="RS001"):
        rs.run(rs.Study((rs.Synthetic(4, 2, mask="nope"), rs.Synthetic(4, 2))))


# ------------------------------------------------------------------------------------------------------------ the study


def test_a_study_of_several_sources_keeps_their_order() -> None:
    sources = (rs.Synthetic(4, 2, seed=1), rs.File(str(SAMPLE), key="layer.0.attention"), rs.Synthetic(5, 2))
    result = rs.run(rs.Study(sources, ("hoyer",)))
    assert [matrix.rows for matrix in result.table.matrices] == [4, 128, 128, 128, 5]
    assert [matrix.id for matrix in result.table.matrices] == list(range(5))
    assert [source["kind"] for source in result.table.study["sources"]] == ["synthetic", "file", "synthetic"]


def test_the_study_says_everything_that_decides_the_numbers() -> None:
    study = rs.Study((rs.Synthetic(n=4, d=2, mask="causal", seed=7),), ("hoyer",), rs.Numerics(rtol=1e-3))
    described = json.loads(json.dumps(study.described()))
    [source] = described.pop("sources")
    assert source == {
        "kind": "synthetic", "n": 4, "d": 2, "mask": "causal", "kernel": "softmax", "position": "none", "scale": 1.0,
        "seed": 7, "heads": 1, "layers": 1, "plan": "uniform", "dtype": "float64", "empty_rows": "error",
        "ensemble": "gaussian", "init": None, "shared": False, "kv_heads": None, "queries": None,
    }  # fmt: skip
    assert described == {
        "measures": ["hoyer"], "rule": None, "rtol": 1e-3, "prove": False, "budget": 60.0, "spectrum": "lapack",
        "blas_threads": 1, "null": 0, "null_d": None,
    }  # fmt: skip


def test_notes_of_a_source_reach_the_result() -> None:
    result = rs.run(rs.Study((rs.File(str(SAMPLE)),), ("hoyer",)))
    assert result.notes == ("2 query/key pairs are not analysed: add --from scores",)


def test_a_study_and_the_command_give_the_same_bytes() -> None:
    result = rs.run(rs.Study((rs.Synthetic(n=16, d=4, mask="causal", seed=2),)))
    done = called("analyze", "--n", 16, "--d", 4, "--mask", "causal", "--seed", 2, "--format", "json")
    assert replace(result.table, command=strict_json(done.raw)["command"]).to_json().encode() == done.raw


def test_analysing_an_operator_gives_the_records_of_its_command() -> None:
    done = called("analyze", "--n", 16, "--d", 4, "--mask", "causal", "--format", "json")
    assert strict_json(CAUSAL.to_json())["records"] == strict_json(done.raw)["records"]


def test_compare_takes_the_options_of_the_ensemble() -> None:
    result = rs.compare(["causal", "window:2"], measures=["hoyer"], n=8, d=2, seed=3, kernel="linear", dtype="float32")
    assert [matrix.label for matrix in result.table.matrices] == ["causal linear", "window:2 linear"]
    assert {matrix.dtype for matrix in result.table.matrices} == {"float32"}
    assert len({matrix.digest for matrix in result.table.matrices}) == 1
    with pytest.raises(UsageError, match="RS001: compare has no option 'colour'"):
        rs.compare(["causal"], colour="red")


# ----------------------------------------------------------------------------------------------------- showing results


def test_a_result_prints_itself() -> None:
    assert str(CAUSAL) == repr(CAUSAL)
    assert "rank_exact" in str(CAUSAL)
    assert str(CAUSAL).splitlines()[0].startswith("causal softmax")


class Strict(HTMLParser):
    """HTML that nests."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("result", [CAUSAL, SEVERAL], ids=["one", "several"])
def test_a_notebook_gets_text_and_html_that_say_the_same(result: rs.Result) -> None:
    bundle = result._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/plain"] == str(result)
    page = Strict(bundle["text/html"])
    assert page.tags <= {"p", "strong", "table", "tr", "th", "td", "sup"}
    for record in result.table:
        assert record.measure in page.words
    assert "effective rank" in page.words


def test_a_notebook_shows_a_result_through_its_own_display_machinery() -> None:
    formatters = pytest.importorskip("IPython.core.formatters")
    data, _ = formatters.DisplayFormatter().format(CAUSAL)
    assert data["text/html"].startswith("<p><strong>causal softmax")
    assert "rank_exact" in data["text/plain"]


@pytest.mark.parametrize("name", [name for name, text in HOSTILE.items() if text and "\0" not in text])
def test_a_notebook_runs_nothing_that_stands_in_a_name(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", allow_pickle=False, **{HOSTILE[name]: np.eye(3), "other": np.eye(3)})
    page = Strict(rs.run(rs.Study((rs.File(str(tmp_path / "a.npz")),), ("hoyer",)))._repr_mimebundle_()["text/html"])
    assert page.tags <= {"p", "strong", "table", "tr", "th", "td", "sup"}


def test_a_frame_has_a_row_for_each_record() -> None:
    frame = SEVERAL.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == len(SEVERAL.table)
    pivot = frame.pivot_table(index="measure", columns="mask", values="value")
    assert pivot.loc["stable_rank", "causal"] == SEVERAL.table["stable_rank"].records[1].value  # type: ignore[union-attr]


def test_json_of_a_result_is_what_is_saved(tmp_path: Path) -> None:
    CAUSAL.save(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_bytes() == CAUSAL.to_json().encode()
    done = called("analyze", "--n", 16, "--d", 4, "--mask", "causal", "-q", "-o", tmp_path / "b.json")
    assert done.status == 0
    made, written = rs.run(rs.Study((rs.Synthetic(16, 4, "causal"),))), (tmp_path / "b.json").read_bytes()
    assert written == replace(made.table, command=strict_json(written)["command"]).to_json().encode()


def test_a_plot_is_a_figure() -> None:
    from matplotlib.figure import Figure

    assert isinstance(CAUSAL.plot(), Figure)
    with pytest.raises(RankscopeError, match="id you mean 'spectrum'"):
        CAUSAL.plot("spectrm")
