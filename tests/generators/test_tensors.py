"""Which arrays of a file are attention matrices, what they are called, and what their metadata may decide."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

import rankscope as rs
from rankscope.analyzer.rank import LADDER
from rankscope.attention.operators import Dense
from rankscope.attention.subject import Pair
from rankscope.errors import RankscopeError
from rankscope.generators.stack import Work
from rankscope.generators.tensors import File, load, role, stem
from tests.process import SAMPLE, called, strict_json, violations

N, D = 6, 4


def weights(*shape: int) -> NDArray[np.float32]:
    """Row-stochastic matrices, stacked as `shape` says."""
    made = np.random.default_rng(1).random((*shape, N, N))
    return np.asarray(made / made.sum(axis=-1, keepdims=True), dtype=np.float32)


def tokens(*shape: int, rows: int = N, seed: int = 2) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((*shape, rows, D)).astype(np.float32)


def safetensors(folder: Path, arrays: Mapping[str, NDArray[Any]], **metadata: str) -> Path:
    path = folder / "stored.safetensors"
    save_file(dict(arrays), path, metadata or None)
    return path


def work(path: Path, **options: Any) -> Work:
    return File(str(path), **options).work()


def places(found: Work) -> list[tuple[str, int | None, int | None]]:
    return [(job.origin.label, job.origin.layer, job.origin.head) for job in found.jobs]


def refusal(path: Path, **options: Any) -> RankscopeError:
    with pytest.raises(RankscopeError) as caught:
        rs.load(path, **options)
    return caught.value


# ----------------------------------------------------------------------------------------------- shapes, names, places


def test_two_dimensions_are_one_matrix(tmp_path: Path) -> None:
    found = work(safetensors(tmp_path, {"attention": weights()}))
    assert places(found) == [("attention", None, None)]
    assert found.notes == ()
    operator = found.jobs[0].make()
    np.testing.assert_array_equal(operator.matrix, weights().astype(np.float64))
    assert (operator.origin.source, operator.origin.key, operator.storage.name) == (
        "stored.safetensors",
        "attention",
        "float32",
    )


def test_three_dimensions_are_heads(tmp_path: Path) -> None:
    found = work(safetensors(tmp_path, {"layer.3.attention": weights(2)}))
    assert places(found) == [("layer.3.attention head 0", 3, 0), ("layer.3.attention head 1", 3, 1)]
    np.testing.assert_array_equal(found.jobs[1].make().matrix, weights(2)[1].astype(np.float64))


def test_four_dimensions_are_layers_of_heads(tmp_path: Path) -> None:
    found = work(safetensors(tmp_path, {"attention": weights(2, 3)}))
    assert [each[1:] for each in places(found)] == [(layer, head) for layer in range(2) for head in range(3)]
    assert places(found)[4][0] == "attention layer 1 head 1"
    np.testing.assert_array_equal(found.jobs[4].make().matrix, weights(2, 3)[1, 1].astype(np.float64))


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("layer.3.attention", 3),
        ("encoder.layer.11.attention", 11),
        ("model.layers.0.self_attn", 0),
        ("layer_7_attention", 7),
        ("attention", None),
        ("layer.attention", None),
        ("layer.12345678901234567890.attention", None),
        ("block.3.attention", 3),
        ("transformer.blocks.10.attn", 10),
        ("encoder.block.3.layer.0.SelfAttention", 3),
        ("transformer_blocks.0.attn1", 0),
        ("gpt2.h.3.attn", 3),
        ("h.3", 3),
        ("layer3", 3),
        ("layer/3/attention", 3),
        ("Layer_3", 3),
        ("attn_3", 3),
        ("self_attn_3", 3),
        ("attention_3", 3),
        ("attentions.3", 3),
        ("attn.4.layer.3", 3),
        ("attn", None),
        ("", None),
        ("layer.3.layer.1", 3),
        ("layer.3.1.attention", 3),
        ("attn_3_1", None),
        ("attn_10_1", None),
        ("attentions.3.1", None),
        ("l.3.h.0", None),
        ("l.13.h.0", None),
        ("h_3", None),
        ("layers12", None),
        ("layer.999999", 999999),
        ("layer.1000000", None),
        ("layer." + "1" * 10000, None),
        ("layer." + "1" * 10000 + "x", None),
        ("layer.-1.attention", None),
        ("layer_-1", None),
        ("attn_−1", None),
        ("layer.3rd", None),
        ("layer.3é", None),
        ("sublayer.3", None),
        ("player_3", None),
        ("layer.٣", None),
        ("layer.½", None),
        ("layer.3\x1b[2J", 3),
        ("层.3", None),
    ],
    ids=lambda each: ascii(each)[:40],
)
def test_the_number_of_a_layer_is_read_from_the_name(name: str, layer: int | None, tmp_path: Path) -> None:
    found = work(safetensors(tmp_path, {name: weights(1)}))
    assert [each[1] for each in places(found)] == [layer]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("layers.3.head.5", 5),
        ("layers.3.heads.5", 5),
        ("layer_3_head_5", 5),
        ("layer3_head5", 5),
        ("head.5.layer.3", 5),
        ("layer.3.Head.5", 5),
        ("layer.3.head.5.head.1", 5),
        ("layer.3.head", None),
        ("layer.3.heads5", None),
        ("layer.3.head.-5", None),
        ("layer.3.head.5th", None),
        ("layer.3.forehead.5", None),
        ("layer.3.head." + "5" * 5000, None),
    ],
    ids=lambda each: str(each)[:40],
)
def test_the_number_of_a_head_is_read_from_the_name(name: str, head: int | None, tmp_path: Path) -> None:
    [(label, layer, found)] = places(work(safetensors(tmp_path, {name: weights()})))
    assert (label[:30], layer, found) == (name[:30], 3, head)


LAYERS, HEADS = 2, 3
STACK: NDArray[np.float32] = weights(LAYERS, HEADS)
LAYOUTS: dict[str, dict[str, NDArray[np.float32]]] = {
    "one array": {"attn": STACK},
    "an array for each layer": {f"layer.{i}.attention": STACK[i] for i in range(LAYERS)},
    "numbered arrays": {f"attn_{i}": STACK[i] for i in range(LAYERS)},
    "an array for each head": {f"layers.{i}.head.{j}": STACK[i, j] for i in range(LAYERS) for j in range(HEADS)},
    "all layers of a head": {f"head_{j}": STACK[:, j] for j in range(HEADS)},
    "a batch of one": {f"encoder.layer.{i}.attention.self.weights": STACK[i][None] for i in range(LAYERS)},
    "a batch of one for each head": {
        f"h.{i}.attn.head.{j}": STACK[i, j][None] for i in range(LAYERS) for j in range(HEADS)
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_every_matrix_its_place(layout: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", **LAYOUTS[layout])  # type: ignore[arg-type]
    found = work(tmp_path / "weights.npz")
    assert found.notes == ()
    held = {(job.origin.layer, job.origin.head): job.make().matrix for job in found.jobs}
    assert sorted(held) == [(layer, head) for layer in range(LAYERS) for head in range(HEADS)]
    for (layer, head), matrix in held.items():
        np.testing.assert_array_equal(matrix, STACK[layer, head])
    assert len({job.origin.label for job in found.jobs}) == len(found.jobs) == LAYERS * HEADS


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_has_a_map_of_its_heads(layout: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", **LAYOUTS[layout])  # type: ignore[arg-type]
    figure = rs.run(rs.Study((File(str(tmp_path / "weights.npz")),), ("stable_rank",))).plot("heads:stable_rank")
    [cells] = [
        each for axes in figure.findobj() for each in getattr(axes, "collections", []) if each.get_gid() == "cells"
    ]
    assert cells.get_array().shape == (LAYERS, HEADS)
    largest = np.linalg.norm(STACK, 2, axis=(2, 3))
    expected = np.linalg.norm(STACK, axis=(2, 3)) ** 2 / largest**2
    np.testing.assert_allclose(cells.get_array(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("layer.3.attn", (1, 2), [(" head 0", 3, 0), (" head 1", 3, 1)]),
        ("layer.3.attn", (2, 1), [(" batch 0 head 0", 3, 0), (" batch 1 head 0", 3, 0)]),
        ("attn_3", (2, 1), [(" batch 0 head 0", 3, 0), (" batch 1 head 0", 3, 0)]),
        ("attn", (1, 2), [(" layer 0 head 0", 0, 0), (" layer 0 head 1", 0, 1)]),
        ("attn_3_1", (1, 2), [(" layer 0 head 0", 0, 0), (" layer 0 head 1", 0, 1)]),
        ("head.1", (2,), [(" layer 0", 0, 1), (" layer 1", 1, 1)]),
        ("head.1", (1, 2), [(" layer 0", 0, 1), (" layer 1", 1, 1)]),
        ("head.1", (2, 1), [(" batch 0 layer 0", 0, 1), (" batch 1 layer 0", 0, 1)]),
        ("layer.3.head.1", (1,), [("", 3, 1)]),
        ("layer.3.head.1", (2,), [(" batch 0", 3, 1), (" batch 1", 3, 1)]),
        ("layer.3.head.1", (1, 1), [("", 3, 1)]),
        ("layer.3.head.1", (2, 2), [(f" batch {i} batch {j}", 3, 1) for i in range(2) for j in range(2)]),
    ],
    ids=str,
)
def test_an_axis_is_what_the_name_leaves(
    name: str, shape: tuple[int, ...], expected: list[tuple[str, int, int]], tmp_path: Path
) -> None:
    found = work(safetensors(tmp_path, {name: weights(*shape)}))
    assert places(found) == [(name + words, layer, head) for words, layer, head in expected]
    for job, matrix in zip(found.jobs, weights(*shape).reshape(-1, N, N), strict=True):
        np.testing.assert_array_equal(job.make().matrix, matrix)


def test_labels_are_unique_where_names_are_cut_or_read_like_labels(tmp_path: Path) -> None:
    long = "x" * 200
    arrays = {f"{long}{each}": weights() for each in "abc"}
    arrays |= {
        "a": weights(2),
        "a head 0": weights(),
        "a head 0 (2)": weights(),
        "b\x1b": weights(),
        "b\\x1b": weights(),
    }
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    found = work(tmp_path / "a.npz")
    labels = [job.origin.label for job in found.jobs]
    cut = "x" * 119 + "…"
    assert labels == [
        cut, f"{cut} (2)", f"{cut} (3)", "a head 0", "a head 1", "a head 0 (2)", "a head 0 (2) (2)",
        "b\\x1b", "b\\x1b (2)",
    ]  # fmt: skip
    assert [job.origin.key for job in found.jobs] == [*list(arrays)[:3], "a", "a", *list(arrays)[4:]]
    assert [job.make().origin.label for job in found.jobs] == labels


def test_a_npy_file_is_called_as_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "heads.npy", weights(2))
    assert places(work(tmp_path / "heads.npy")) == [("heads.npy head 0", None, 0), ("heads.npy head 1", None, 1)]


def test_the_order_is_that_of_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", z=weights(), a=weights(), m=weights())
    assert [each[0] for each in places(work(tmp_path / "a.npz"))] == ["z", "a", "m"]


# ---------------------------------------------------------------------------------------------------- what is left out


def test_what_is_neither_square_nor_paired_is_skipped_and_told(tmp_path: Path) -> None:
    arrays = {"attention": weights(), "values": tokens(), "bias": np.ones(3, np.float32), "layer.0.query": tokens()}
    found = work(safetensors(tmp_path, arrays))
    assert [each[0] for each in places(found)] == ["attention"]
    told = "\n".join(found.notes)
    assert all(f"'{name}'" in told for name in ("values", "bias", "layer.0.query"))
    assert "(6, 4)" in told
    assert "'attention'" not in told


def test_a_reason_that_is_given_is_true(tmp_path: Path) -> None:
    found = work(safetensors(tmp_path, {"attention": weights(), "deep": weights(1, 1, 1)}))
    [note] = [note for note in found.notes if "deep" in note]
    assert "not square" not in note, f"{weights(1, 1, 1).shape} is square, and of five dimensions"


def test_an_array_of_any_shape_is_analysed_when_it_is_named(tmp_path: Path) -> None:
    path = safetensors(tmp_path, {"attention": weights(), "values": tokens(2)})
    found = work(path, key="values")
    assert places(found) == [("values head 0", None, 0), ("values head 1", None, 1)]
    assert [job.shape for job in found.jobs] == [(N, D), (N, D)]
    assert found.notes == ()


@pytest.mark.parametrize(
    ("pattern", "labels"),
    [
        ("*.attention", ["layer.0.attention", "layer.1.attention"]),
        ("layer.1.*", ["layer.1.attention"]),
        ("layer.[0-9].attention", ["layer.0.attention", "layer.1.attention"]),
        ("layer.0.attention", ["layer.0.attention"]),
        ("*", ["layer.0.attention", "layer.1.attention", "other"]),
    ],
)
def test_a_pattern_names_arrays(pattern: str, labels: list[str], tmp_path: Path) -> None:
    path = safetensors(tmp_path, {name: weights() for name in ("layer.0.attention", "layer.1.attention", "other")})
    assert [each[0] for each in places(work(path, key=pattern))] == labels


@pytest.mark.parametrize("pattern", ["Layer.*", "attention", "layer.0.attentio", ""])
def test_a_pattern_that_names_nothing_is_refused_with_what_there_is(pattern: str, tmp_path: Path) -> None:
    problem = refusal(safetensors(tmp_path, {"layer.0.attention": weights()}), key=pattern)
    assert (problem.code, problem.exit_status) == ("RS208", 3)
    assert "layer.0.attention" in problem.remedy


@pytest.mark.parametrize(
    "arrays",
    [{}, {"bias": np.ones(3, np.float32)}, {"x.query": tokens()}, {"heads": np.zeros((0, 3, 3), np.float32)}],
    ids=["nothing", "a vector", "a query without its key", "no head"],
)
def test_a_file_with_nothing_to_analyse_is_refused_with_what_it_holds(arrays: dict[str, Any], tmp_path: Path) -> None:
    problem = refusal(safetensors(tmp_path, arrays))
    assert problem.code == "RS208"
    assert all(name in problem.given for name in arrays)
    assert "query" in problem.remedy


# --------------------------------------------------------------------------------------------------------------- pairs


def pair(name: str = "layer.2.", *shape: int) -> dict[str, NDArray[Any]]:
    return {f"{name}query": tokens(*shape, seed=3), f"{name}key": tokens(*shape, seed=4)}


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    made = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(made / made.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("name", ["layer.2.", "layer.2_", "layer.2/", "layer_2.self."])
def test_queries_and_keys_are_paired_by_their_names(name: str, tmp_path: Path) -> None:
    found = work(safetensors(tmp_path, pair(name, 2)))
    assert [each[1:] for each in places(found)] == [(2, 0), (2, 1)]
    assert places(found)[0][0] == f"{name.rstrip('._/')} head 0"
    queries, keys = (array.astype(np.float64) for array in pair(name, 2).values())
    for head, job in enumerate(found.jobs):
        operator = job.make()
        np.testing.assert_allclose(operator.matrix, softmax(queries[head] @ keys[head].T / 2.0), rtol=1e-14)
        assert operator.subject == "scores"


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("layers.2.head.1.", (), [("layers.2.head.1", 2, 1)]),
        ("layer.2.", (1, 2), [("layer.2 head 0", 2, 0), ("layer.2 head 1", 2, 1)]),
        ("attn_2_", (2, 1), [("attn_2 batch 0 head 0", 2, 0), ("attn_2 batch 1 head 0", 2, 0)]),
        ("self_", (2, 1), [("self layer 0 head 0", 0, 0), ("self layer 1 head 0", 1, 0)]),
    ],
)
def test_the_axes_of_pairs_are_those_of_weights(
    name: str, shape: tuple[int, ...], expected: list[tuple[str, int, int]], tmp_path: Path
) -> None:
    found = work(safetensors(tmp_path, pair(name, *shape)))
    assert places(found) == expected
    queries, keys = (array.astype(np.float64).reshape(-1, N, D) for array in pair(name, *shape).values())
    for q, k, job in zip(queries, keys, found.jobs, strict=True):
        np.testing.assert_allclose(job.make().matrix, softmax(q @ k.T / 2.0), rtol=1e-14)


@pytest.mark.parametrize("layers", [1, 2])
def test_heads_that_are_arrays_have_the_slopes_of_heads_that_are_an_axis(layers: int, tmp_path: Path) -> None:
    """ALiBi gives head h of H = 4 the slope 2^(−2 (h + 1))."""
    q, k = tokens(layers, 4, seed=3), tokens(layers, 4, seed=4)
    arrays: dict[str, NDArray[np.float32]] = {}
    for layer, head in np.ndindex(layers, 4):
        arrays |= {f"layer.{layer}.head.{head}.{name}": x[layer, head] for name, x in (("query", q), ("key", k))}
    distance = np.abs(np.subtract.outer(np.arange(N), np.arange(N)))
    found = work(safetensors(tmp_path, arrays), position="alibi")
    assert len(found.jobs) == 4 * layers
    for job in found.jobs:
        layer, head = job.origin.layer, job.origin.head
        assert layer is not None
        assert head is not None
        scores = q[layer, head].astype(np.float64) @ k[layer, head].astype(np.float64).T / 2.0
        expected = softmax(scores - 2.0 ** (-2 * (head + 1)) * distance)
        np.testing.assert_allclose(job.make().matrix, expected, rtol=1e-13)


def test_two_pairs_whose_names_differ_in_the_sign_before_the_last_word_have_labels_of_their_own(tmp_path: Path) -> None:
    found = work(safetensors(tmp_path, {**pair("layer.2."), **pair("layer.2_")}))
    assert sorted(each[0] for each in places(found)) == ["layer.2", "layer.2 (2)"]


def test_a_pair_without_a_name_before_it_is_a_pair(tmp_path: Path) -> None:
    [(label, layer, head)] = places(work(safetensors(tmp_path, pair(""))))
    assert (layer, head) == (None, None)
    assert label


def test_square_queries_are_not_taken_for_weights(tmp_path: Path) -> None:
    square = {"x.query": tokens(rows=D), "x.key": tokens(rows=D, seed=5)}
    found = work(safetensors(tmp_path, square))
    assert [job.make().subject for job in found.jobs] == ["scores"]


def test_weights_come_first_and_scores_are_asked_for(tmp_path: Path) -> None:
    path = safetensors(tmp_path, {"layer.2.attention": weights(2), **pair("layer.2.", 2)})
    stored, scores = work(path), work(path, origin="scores")
    assert places(stored)[0][0] == "layer.2.attention head 0"
    assert stored.notes == ("1 query/key pairs are not analysed: add --from scores",)
    assert places(scores)[0][0] == "layer.2 head 0"
    assert "1 arrays of weights are not analysed: leave out --from scores" in scores.notes


def test_a_rectangular_pair_has_as_many_columns_as_keys(tmp_path: Path) -> None:
    arrays = {"x.query": tokens(rows=3), "x.key": tokens(rows=5, seed=5)}
    [job] = work(safetensors(tmp_path, arrays)).jobs
    assert job.shape == job.make().shape == (3, 5)


@pytest.mark.parametrize(
    ("query", "key"), [((2, N, D), (N, D)), ((N, D), (N, D + 1)), ((2, N, D), (3, N, D)), ((D,), (D,))], ids=str
)
def test_shapes_that_do_not_pair_are_refused_with_both(
    query: tuple[int, ...], key: tuple[int, ...], tmp_path: Path
) -> None:
    arrays = {"x.query": np.ones(query, np.float32), "x.key": np.ones(key, np.float32)}
    problem = refusal(safetensors(tmp_path, arrays))
    assert (problem.code, problem.exit_status) == ("RS101", 3)
    assert str(query) in problem.given
    assert str(key) in problem.given


def test_the_last_word_of_a_name_is_its_role() -> None:
    assert [role(name) for name in ("layer.0.query", "a_key", "a/b/query", "query", "monkey")] == [
        "query", "key", "query", "query", "monkey",
    ]  # fmt: skip
    assert [stem(name) for name in ("layer.0.query", "query")] == ["layer.0.", ""]


# ------------------------------------------------------------------------------------------------------------ metadata


def made(path: Path, **options: Any) -> Dense:
    [job] = work(path, origin="scores", **options).jobs
    operator = job.make()
    assert isinstance(operator, Dense)
    return operator


def exact(scale: float) -> NDArray[np.float64]:
    queries, keys = (array.astype(np.float64) for array in pair().values())
    return softmax(scale * (queries @ keys.T))


@pytest.mark.parametrize("text", ["0.25", "1", ".5", "2.5e-1", " 0.125 ", "1E0"])
def test_the_scale_of_the_metadata_is_the_whole_factor(text: str, tmp_path: Path) -> None:
    operator = made(safetensors(tmp_path, pair(), scale=text))
    np.testing.assert_allclose(operator.matrix, exact(float(text)), rtol=1e-13)
    assert operator.origin.scale == pytest.approx(float(text) * np.sqrt(D))


def test_without_metadata_the_scale_is_one_over_the_root_of_d(tmp_path: Path) -> None:
    np.testing.assert_allclose(made(safetensors(tmp_path, pair())).matrix, exact(1 / np.sqrt(D)), rtol=1e-13)


def test_a_scale_that_is_given_overrides_the_metadata(tmp_path: Path) -> None:
    operator = made(safetensors(tmp_path, pair(), scale="0.25"), scale=3.0)
    np.testing.assert_allclose(operator.matrix, exact(3 / np.sqrt(D)), rtol=1e-13)


EVIL = [
    "1/sqrt(d)", "__import__('os').system('touch canary')", "nan", "inf", "-inf", "1e999", "0x10", "1_000", "", "1/8",
    "\x1b[2J", "0.5; 1", "1" * 5000, "−0.5", "½", "٣",
]  # fmt: skip


@pytest.mark.parametrize("text", EVIL, ids=range(len(EVIL)))
def test_a_scale_that_is_no_number_is_told_and_never_evaluated(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = work(safetensors(tmp_path, pair(), scale=text))
    [note] = found.notes
    assert "is not a number: 1/√d is used" in note
    assert note.isprintable()
    assert len(note) < 300
    np.testing.assert_allclose(found.jobs[0].make().matrix, exact(1 / np.sqrt(D)), rtol=1e-13)
    assert not (tmp_path / "canary").exists()


def test_a_bad_scale_is_told_once_and_on_stderr(tmp_path: Path) -> None:
    path = safetensors(tmp_path, {**pair("layer.0.", 2), **pair("layer.1.", 2)}, scale="1/8")
    done = called("analyze", path, "-m", "hoyer")
    assert done.status == 0
    assert done.stderr.count("not a number") == 1
    assert "not a number" not in done.stdout


def test_the_mask_and_the_kernel_of_the_metadata_are_used_unless_others_are_given(tmp_path: Path) -> None:
    path = safetensors(tmp_path, pair(), mask="causal", kernel="linear")
    operator = made(path)
    assert (operator.origin.mask, operator.origin.kernel) == ("causal", "linear")
    assert operator.structure.side.value == "lower"
    assert made(path, mask="anticausal").structure.side.value == "upper"
    assert made(path, kernel="softmax").origin.kernel == "softmax"


@pytest.mark.parametrize("text", ["__import__('os').system('touch canary')", "causl", "window:__import__", "\x1b[2J"])
@pytest.mark.parametrize("field", ["mask", "kernel"])
def test_a_mask_of_the_metadata_that_is_none_is_refused_and_never_evaluated(
    field: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = called("analyze", safetensors(tmp_path, pair(), **{field: text}))
    assert done.status in (2, 3)
    assert re.match(r"rankscope: RS\d{3}: ", done.stderr)
    assert done.stderr.rstrip("\n").isprintable()
    assert not (tmp_path / "canary").exists()


def test_metadata_does_not_speak_of_weights(tmp_path: Path) -> None:
    [job] = work(safetensors(tmp_path, {"attention": weights()}, mask="causal", scale="0.5", kernel="linear")).jobs
    operator = job.make()
    assert (operator.origin.mask, operator.origin.kernel, operator.origin.scale) == (None, None, None)


@pytest.mark.parametrize("options", [{"mask": "causal"}, {"kernel": "linear"}, {"scale": 2.0}], ids=str)
def test_options_of_scores_are_refused_for_weights(options: dict[str, Any], tmp_path: Path) -> None:
    problem = refusal(safetensors(tmp_path, {"attention": weights()}), **options)
    assert (problem.code, problem.exit_status) == ("RS003", 2)
    assert "--from scores" in problem.remedy


def test_asking_for_scores_where_there_are_none_is_refused(tmp_path: Path) -> None:
    assert refusal(safetensors(tmp_path, {"attention": weights()}), origin="scores").code == "RS208"


# -------------------------------------------------------------------------------------------------------- one bad item


def test_an_array_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    bad = weights(2)
    bad[1, 0, 0] = np.nan
    path = safetensors(tmp_path, {"good": weights(), "bad": bad})
    document = strict_json(called("analyze", path, "-m", "stable_rank", "--format", "json").raw)
    assert violations(document) == []
    status = {m["label"]: r["status"] for m, r in zip(document["matrices"], document["records"], strict=True)}
    assert status == {"good": "ok", "bad head 0": "ok", "bad head 1": "refused"}


def test_a_type_that_is_not_supported_hides_no_other(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", good=weights(), bad=np.full((3, 3), "x"))
    document = strict_json(called("analyze", tmp_path / "a.npz", "-m", "stable_rank", "--format", "json").raw)
    status = {
        m["label"]: (r["status"], r["code"]) for m, r in zip(document["matrices"], document["records"], strict=True)
    }
    assert status == {"good": ("ok", None), "bad": ("refused", "RS206")}


# ---------------------------------------------------------------------------------------------------------------- load


def test_load_gives_one_operator_or_a_list(tmp_path: Path) -> None:
    assert isinstance(load(safetensors(tmp_path, {"attention": weights()})), Dense)
    several = load(safetensors(tmp_path, {"attention": weights(2)}))
    assert isinstance(several, list)
    assert [each.origin.head for each in several] == [0, 1]
    from_scores = load(str(safetensors(tmp_path, pair())), origin="scores", mask="causal", scale=2.0)
    assert isinstance(from_scores, Dense)
    assert (from_scores.origin.mask, from_scores.origin.scale) == ("causal", 2.0)


def test_load_refuses_what_is_not_finite(tmp_path: Path) -> None:
    bad = weights()
    bad[0, 0] = np.inf
    with pytest.raises(RankscopeError, match="RS111"):
        load(safetensors(tmp_path, {"attention": bad}))


def test_a_file_is_read_again_after_the_folder_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    safetensors(tmp_path, {"attention": weights(2)})
    monkeypatch.chdir(tmp_path)
    found = work(Path("stored.safetensors"))
    monkeypatch.chdir("/")
    assert found.jobs[1].make().shape == (N, N)


def test_paths_are_private(tmp_path: Path) -> None:
    path = safetensors(tmp_path, {"attention": weights()})
    result = rs.run(rs.Study((File(str(path)),), ("hoyer",)))
    assert str(tmp_path) not in result.to_json()
    assert strict_json(result.to_json())["study"]["sources"][0]["path"] == "stored.safetensors"


# --------------------------------------------------------------------------------------------- the sample of real heads


@pytest.fixture(scope="module")
def sample() -> dict[Literal["stored", "scores"], rs.Result]:
    """Six heads of a trained encoder: as stored, and from their queries and keys."""
    return {
        "stored": rs.run(rs.Study((File(str(SAMPLE)),))),
        "scores": rs.run(rs.Study((File(str(SAMPLE), origin="scores"),))),
    }


def values(result: rs.Result, measure: str) -> list[Any]:
    return [record.value for record in result.table if record.measure == measure]


def test_the_sample_has_the_ranks_that_the_readme_quotes(sample: dict[str, rs.Result]) -> None:
    stored = sample["stored"]
    assert values(stored, "rank_numerical") == [128, 127, 128, 128, 127, 127]
    effective = values(stored, "effective_rank")
    assert min(effective) == pytest.approx(6.03, abs=0.005)
    assert max(effective) == pytest.approx(126.9, abs=0.05)
    assert values(stored, "effective_rank") == pytest.approx(values(sample["scores"], "effective_rank"), rel=1e-4)


def test_the_sample_is_judged_by_the_precision_of_its_storage(sample: dict[str, rs.Result]) -> None:
    for record in sample["stored"].table:
        if record.measure == "rank_numerical":
            assert record.details["rule"] == "storage"
            assert record.details["expected_noise"] > 0
            assert len(record.details["ladder"]) == len(LADDER)
    assert {matrix.dtype for matrix in sample["stored"].table.matrices} == {"float32"}
    assert {matrix.dtype for matrix in sample["scores"].table.matrices} == {"float64"}


def test_the_sample_knows_its_layers_and_heads(sample: dict[str, rs.Result]) -> None:
    for result in sample.values():
        places = [(record.layer, record.head) for record in result.table if record.measure == "hoyer"]
        assert places == [(layer, head) for layer in (0, 5) for head in range(3)]
    labels = [matrix.label for matrix in sample["stored"].table.matrices]
    assert labels == [f"layer.{layer}.attention head {head}" for layer in (0, 5) for head in range(3)]


def test_weights_from_queries_and_keys_are_those_that_the_model_computed() -> None:
    """The model computed them in float32, whose rounding a bound follows through the scores and the softmax.

    A score is a sum of d products, wrong by at most e_ij = (d + 2)·u·scale·(|q|·|k|ᵀ)_ij to first order; a weight then
    by a_ij·(e_ij + Σ_j a_ij e_ij), and by a few u for the exponential, the sum and the division.
    """
    unit, few = 2.0**-24, 16
    stored, scores = (load(SAMPLE, origin=origin) for origin in ("stored", "scores"))
    assert isinstance(stored, list)
    assert isinstance(scores, list)
    assert len(stored) == len(scores) == 6
    for kept, computed in zip(stored, scores, strict=True):
        assert isinstance(computed, Dense)
        assert isinstance(computed.scores, Pair)
        queries, keys = np.abs(computed.scores.left), np.abs(computed.scores.right)
        wrong = (queries.shape[1] + 2) * unit * (queries @ keys.T) / np.sqrt(queries.shape[1])
        exact = computed.matrix
        bound = exact * (wrong + (exact * wrong).sum(axis=1, keepdims=True) + few * unit)
        difference = np.abs(kept.matrix - exact)
        assert (difference <= bound).all()
        assert difference.max() < 1e-6  # that the bound says something


def test_the_commands_say_the_same_of_the_sample(sample: dict[str, rs.Result]) -> None:
    for origin, result in sample.items():
        done = called("analyze", SAMPLE, "--from", origin, "--format", "json")
        assert done.status == 0
        found = strict_json(done.raw)
        assert found["records"] == strict_json(result.to_json())["records"]
        assert "not analysed" in done.stderr
