"""Depth on a trained model: its residuals are those of its own hidden states, and stop where its arithmetic does."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from rankscope import trained
from rankscope.arrays import DENSE_COPIES, UNIT
from rankscope.errors import UsageError
from rankscope.generators.models import Model
from rankscope.generators.pretrained.inputs import Text
from rankscope.generators.pretrained.loading import load_model
from rankscope.records import Table
from rankscope.trained import AT_FLOOR, product_of, residual_of, trained_depth
from tests.generators.tiny import Models, text
from tests.process import called, strict_json, violations

WORDS = 24


@pytest.fixture(scope="module")
def folder(models: Models) -> Path:
    return models("bert")


@pytest.fixture(scope="module")
def table(folder: Path) -> Table:
    return trained_depth(Model(str(folder), (Text("words", text(WORDS)),))).table


def of(table: Table, label: str, measure: str) -> dict[int, Any]:
    [matrix] = [each for each in table.matrices if each.label == label]
    return {record.layer or 0: record for record in table.of(matrix) if record.measure == measure}


def test_the_residuals_are_those_of_the_hidden_states_of_the_model(folder: Path, table: Table) -> None:
    model = load_model(folder, dtype="float64")
    given = Model(str(folder), (Text("words", text(WORDS)),), dtype="float64").loaded[2]
    with torch.no_grad():
        states = model(**given, output_hidden_states=True).hidden_states
    found = of(table, f"{folder.name} as it is", "log10_residual")
    cosines = of(table, f"{folder.name} as it is", "token_cosine")
    assert len(found) == len(states) == 3
    for layer, state in enumerate(states):
        x = state[0].numpy()
        expected = np.log10(np.linalg.norm(x - x.mean(axis=0)) / np.linalg.norm(x))
        assert found[layer].value == pytest.approx(expected, abs=1e-12)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        pairs = (unit @ unit.T)[~np.eye(len(x), dtype=bool)]
        assert cosines[layer].value == pytest.approx(pairs.mean(), abs=len(x) * 64 * UNIT)


def test_there_is_a_row_for_each_design_and_one_for_the_product(folder: Path, table: Table) -> None:
    name = folder.name
    labels = [matrix.label for matrix in table.matrices]
    wanted = [f"{name} as it is", f"{name} without skips", f"{name} without MLPs", f"{name} attention and norms alone"]
    assert labels == [*wanted, f"product over 2 layers: {name}"]
    designs = [matrix.network["design"] for matrix in table.matrices if matrix.network]
    assert designs == ["skip+mlp", "mlp", "skip", "pure"]


def test_without_skips_tokens_come_nearer_to_each_other(folder: Path, table: Table) -> None:
    name = folder.name
    whole, without = (of(table, each, "log10_residual")[2] for each in (f"{name} as it is", f"{name} without skips"))
    assert without.value is None or without.value < whole.value


def test_the_product_is_that_of_the_means_over_heads_of_the_models_own_matrices(folder: Path, table: Table) -> None:
    model = Model(str(folder), (Text("words", text(WORDS)),), dtype="float64")
    layers: dict[int, list[Any]] = {}
    for job in model.captured.jobs:
        layers.setdefault(job.origin.layer or 0, []).append(job.make().matrix)
    product = np.mean(layers[1], axis=0) @ np.mean(layers[0], axis=0)
    values = np.linalg.svd(product, compute_uv=False)
    [record] = [r for r in table if r.over == "layers-product" and r.measure == "stable_rank"]
    assert record.value == pytest.approx((values**2).sum() / values[0] ** 2, rel=1e-12)


@pytest.mark.parametrize("size", [1e-3, 1e-9, 1e-13, 1e-16, 0.0])
def test_a_residual_below_the_rounding_of_the_model_is_a_floor_and_no_number(size: float) -> None:
    rng = np.random.default_rng(0)
    x = np.ones((40, 1)) * rng.standard_normal((1, 30)) + size * rng.standard_normal((40, 30))
    reading, error = residual_of(x)
    floor = np.log10(4 * UNIT + (40 + 30 + 8) * UNIT)
    exact = np.log10(np.linalg.norm(x - x.mean(axis=0)) / np.linalg.norm(x)) if size else -np.inf
    if exact > floor:
        assert reading.value == pytest.approx(exact, abs=error)
        assert error == pytest.approx(10 ** (floor - exact) / np.log(10))
    else:
        assert (reading.value, reading.because) == (None, AT_FLOOR)


def test_several_texts_are_refused(folder: Path) -> None:
    model = Model(str(folder), (Text("words", text(WORDS)),))
    for several in (replace(model, batch=2), replace(model, texts=(*model.read, Text("more", text(9))))):
        with pytest.raises(UsageError, match="several texts") as refused:
            trained_depth(several)
        assert refused.value.code == "RS003"


def test_an_encoder_and_a_decoder_are_two_networks(models: Models) -> None:
    folder = models("t5")
    found = trained_depth(Model(str(folder), (Text("words", text(WORDS)),))).table
    names = [matrix.label for matrix in found.matrices if matrix.network]
    assert names[:2] == [f"{folder.name} encoder as it is", f"{folder.name} decoder as it is"]
    assert len(names) == 8


def test_the_command_prints_layers_and_writes_valid_json(folder: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text(text(WORDS))
    done = called("model", folder, "--text", words, "--depth", "-f", "json")
    assert done.status == 0
    document = strict_json(done.raw)
    assert violations(document) == []
    shown = called("model", folder, "--text", words, "--depth").stdout
    assert "without skips" in shown.replace("\n", " ") or "without" in shown
    assert max(map(len, shown.splitlines())) <= 80
    for option in (["--what-if", "causal"], ["--null"], ["-m", "effective_rank"], ["--layers", "0"]):
        refused = called("model", folder, "--text", words, "--depth", *option)
        assert (refused.status, "RS003" in refused.stderr) == (2, True)


def test_the_model_reads_its_text_no_oftener_than_it_must(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for its queries and keys and once as it is, once without each part and both, twice with silent attention."""
    calls = []
    forward = Model.forward

    def counted(self: Model) -> Any:
        calls.append(self)
        return forward(self)

    monkeypatch.setattr(Model, "forward", counted)
    trained_depth(Model(str(folder), (Text("words", text(WORDS)),)))
    assert len(calls) == 1 + 3 + 2


def test_a_product_that_would_not_fit_is_left_out_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The heads of all layers are held together for it; the tokens are measured all the same."""
    two = 8 * (WORDS + 2) ** 2 * (DENSE_COPIES + 2)

    def scarce(*given: Any) -> Any:
        with mock.patch("rankscope.arrays.available_memory", return_value=two / 0.8):
            return product_of(*given)

    monkeypatch.setattr(trained, "product_of", scarce)
    result = trained_depth(Model(str(folder), (Text("words", text(WORDS)),)))
    assert not any(matrix.label.startswith("product") for matrix in result.table.matrices)
    assert "left out: the analysis of 4 matrices of 26 × 26" in " ".join(result.notes)
    assert len(of(result.table, f"{folder.name} as it is", "log10_residual")) == 3
