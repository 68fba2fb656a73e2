"""What is written of a capture: arrays under names that others use, masks by name, and what is shared once."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor

import rankscope as rs
from rankscope.errors import RankscopeError, StoreError
from rankscope.generators.capture.capturing import Capture
from rankscope.generators.capture.dump import as_stored, smallest, write
from rankscope.generators.capture.layer import Layer
from rankscope.generators.capture.names import Site
from rankscope.generators.dumped import FORMAT, KINDS

N, D = 5, 4


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def layer(number: int = 0, batch: int = 1, dtype: torch.dtype = torch.float32, **changes: Any) -> Layer:
    query, key = drawn(batch, 2, N, D, seed=number, dtype=dtype), drawn(batch, 2, N, D, seed=50 + number, dtype=dtype)
    known = np.full((batch, 2), 0.25)
    made = Layer(Site("", number, f"h.{number}"), query, key, None, None, False, 0.5, None, None, known, "output")
    return replace(made, **changes)


def capture(*layers: Layer, **changes: Any) -> Capture:
    return replace(Capture("tiny", list(layers)), **changes)


def written(captured: Capture, folder: Path) -> tuple[dict[str, NDArray[Any]], list[dict[str, Any]], dict[str, str]]:
    """The arrays of the file, its layers, and the rest of its metadata, by another reader."""
    assert write(captured, folder / "a.safetensors") == []
    with safe_open(folder / "a.safetensors", "np") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return arrays, json.loads(metadata.pop("layers")), metadata


def test_arrays_are_named_as_other_tools_name_them(tmp_path: Path) -> None:
    arrays, layers, _ = written(capture(layer(0), layer(3)), tmp_path)
    assert sorted(arrays) == ["layer.0.key", "layer.0.query", "layer.3.key", "layer.3.query"]
    assert [each["name"] for each in layers] == ["layer.0", "layer.3"]
    query = layer(3).query
    assert query is not None
    assert np.array_equal(arrays["layer.3.query"], query[0].numpy())


def test_calls_texts_and_stacks_stand_in_the_name(tmp_path: Path) -> None:
    site = Site("cross", 1, "x", 2)
    arrays, layers, _ = written(capture(layer(1, 2, site=site)), tmp_path)
    assert sorted(arrays) == [
        f"call.2.text.{text}.cross.layer.1.{part}" for text in range(2) for part in ("key", "query")
    ]
    assert [(each["call"], each["text"], each["stack"], each["layer"], each["module"]) for each in layers] == [
        (2, text, "cross", 1, "x") for text in range(2)
    ]


def test_the_metadata_say_everything_and_no_more(tmp_path: Path) -> None:
    about = {"architecture": "bert", "dtype": "float32", "texts": ["secret"]}
    made = layer(0, cap=5.0, sinks=[0.5, -1.0], fidelity=np.array([[0.25, math.nan]]))
    _, [entry], metadata = written(capture(made, about=about), tmp_path)
    assert entry.keys() == KINDS.keys()
    assert entry == {
        "name": "layer.0", "stack": "", "layer": 0, "call": 0, "text": None, "module": "h.0", "heads": [0, 1], "of": 2,
        "scale": 0.5, "cap": 5.0, "sinks": [0.5, -1.0], "mask": "bidirectional", "bias": None, "fidelity": [0.25, None],
    }  # fmt: skip
    assert metadata == {
        "rankscope": FORMAT, "model": "tiny", "scale": "0.5", "mask": "bidirectional", "architecture": "bert",
        "dtype": "float32",
    }  # fmt: skip


def test_what_layers_do_not_share_is_not_said_of_all(tmp_path: Path) -> None:
    _, _, metadata = written(capture(layer(0), layer(1, scale=0.25, causal=True)), tmp_path)
    assert {"scale", "mask"} & metadata.keys() == set()


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [(torch.float16, "float16"), (torch.bfloat16, "float32"), (torch.float32, "float32"), (torch.float64, "float64")],
)
def test_numbers_are_stored_in_their_type_or_in_one_that_holds_them(
    dtype: torch.dtype, stored: str, tmp_path: Path
) -> None:
    made = layer(0, dtype=dtype)
    arrays, _, _ = written(capture(made), tmp_path)
    assert made.query is not None
    assert str(arrays["layer.0.query"].dtype) == stored
    assert np.array_equal(arrays["layer.0.query"].astype(float), made.query[0].double().numpy())
    assert as_stored([0.5], dtype).dtype == stored


def test_scores_and_biases_are_stored_in_float32_where_that_holds_them() -> None:
    assert smallest(np.array([0.5, -math.inf, 2.0**-149])).dtype == np.float32
    for number in (0.1, 2.0**-150, 1e300, 1 + 2.0**-30):
        assert smallest(np.array([0.5, number])).dtype == np.float64


def test_a_mask_that_has_a_name_is_no_array(tmp_path: Path) -> None:
    later = torch.ones(N, N).triu(1).bool()
    far = torch.ones(N, N).tril(-2).bool()
    for mask, name in ((~later, "causal"), (~later & ~far, "causal & window:2"), (later, "given mask")):
        flipped = mask.flip(0) if name == "given mask" else mask
        arrays, [entry], _ = written(capture(layer(0, mask=flipped)), tmp_path)
        if name == "given mask":
            assert entry["mask"] == "layer.0.mask"
            assert np.array_equal(arrays["layer.0.mask"], flipped.numpy())
            assert arrays["layer.0.mask"].dtype == np.uint8
        else:
            assert entry["mask"] == name
            assert "layer.0.mask" not in arrays


def test_masks_of_heads_that_differ_are_kept_for_each(tmp_path: Path) -> None:
    mask = torch.ones(1, 2, N, N).tril().bool()
    mask[0, 1] = True
    arrays, [entry], _ = written(capture(layer(0, mask=mask)), tmp_path)
    assert np.array_equal(arrays[entry["mask"]], mask[0].numpy())


def test_what_several_layers_share_is_written_once(tmp_path: Path) -> None:
    bias, mask = drawn(1, 2, N, N, seed=9), drawn(N, N, seed=8) > -1
    arrays, layers, _ = written(capture(*(layer(i, mask=bias) for i in range(3))), tmp_path)
    assert {each["bias"] for each in layers} == {"layer.0.bias"}
    assert [name for name in arrays if "bias" in name] == ["layer.0.bias"]
    arrays, layers, _ = written(capture(*(layer(i, 2, mask=mask) for i in range(3))), tmp_path)
    assert {each["mask"] for each in layers} == {"text.0.layer.0.mask"}
    arrays, layers, _ = written(capture(layer(0, mask=bias), layer(1, mask=bias + 1)), tmp_path)
    assert [each["bias"] for each in layers] == ["layer.0.bias", "layer.1.bias"]


def test_a_bias_that_all_heads_share_is_one_matrix(tmp_path: Path) -> None:
    arrays, [entry], _ = written(capture(layer(0, mask=drawn(N, N))), tmp_path)
    assert arrays[entry["bias"]].shape == (N, N)


@pytest.mark.parametrize("first", [0, 1])
def test_a_bias_of_one_head_alone_is_kept_whichever_it_is(first: int, tmp_path: Path) -> None:
    bias = drawn(1, 2, N, N, seed=9)
    bias[0, first] = 0
    arrays, [entry], _ = written(capture(layer(0, mask=bias)), tmp_path)
    assert np.array_equal(arrays[entry["bias"]], bias[0].numpy())


def test_only_the_chosen_heads_are_written(tmp_path: Path) -> None:
    arrays, [entry], _ = written(capture(layer(0, sinks=[0.5, -1.0]), heads=frozenset([1])), tmp_path)
    assert (entry["heads"], entry["of"], entry["sinks"], entry["fidelity"]) == ([1], 2, [-1.0], [0.25])
    query = layer(0).query
    assert query is not None
    assert np.array_equal(arrays["layer.0.query"], query[0, 1:].numpy())


def test_query_heads_are_written_with_the_keys_of_their_group(tmp_path: Path) -> None:
    shared = drawn(1, 1, N, D, seed=4)
    arrays, _, _ = written(capture(layer(0, key=shared)), tmp_path)
    assert np.array_equal(arrays["layer.0.key"], shared[0].expand(2, N, D).numpy())


def test_layers_whose_scores_are_no_product_are_made_again_or_named(tmp_path: Path) -> None:
    site = Site("", 1, "h.1")
    scores = drawn(1, 2, N, N, seed=7)
    made = layer(0, site=site, query=None, key=None, scores=scores, scale=1.0)
    kept = capture(layer(0), without_pairs={site: (1, 2, (N, N))})
    path = tmp_path / "a.safetensors"
    assert write(kept, path) == ["not in a.safetensors: layer 1, whose scores are not kept"]
    arrays, layers, _ = written(replace(kept, again=lambda _: made), tmp_path)
    assert [each["name"] for each in layers] == ["layer.0", "layer.1"]
    assert np.array_equal(arrays["layer.1.scores"], scores[0].numpy())


@pytest.mark.parametrize("captured", [capture(), capture(layer(0), heads=frozenset([7]))], ids=["empty", "other heads"])
def test_a_capture_of_nothing_is_no_file(captured: Capture, tmp_path: Path) -> None:
    with pytest.raises(RankscopeError, match="RS208"):
        write(captured, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_an_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.safetensors"
    with pytest.raises(StoreError, match="RS502"):
        write(capture(layer(0)), path)
    assert not path.parent.exists()


def test_the_same_capture_makes_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(capture(layer(0), layer(1, mask=drawn(N, N))), tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_other_readers_of_pairs_make_the_same_matrices(tmp_path: Path) -> None:
    """Where all layers share a mask and a scale, the metadata say so as other files do."""
    causal = capture(layer(0, causal=True), layer(1, causal=True))
    arrays, _, metadata = written(causal, tmp_path)
    made = [each.matrix for each in causal]
    heads = [
        rs.attention(arrays[f"layer.{i}.query"][h], arrays[f"layer.{i}.key"][h], mask=metadata["mask"],
                     scale=float(metadata["scale"]) * math.sqrt(D))
        for i in range(2) for h in range(2)
    ]  # fmt: skip
    for one, other in zip(made, heads, strict=True):
        assert np.array_equal(one, other.matrix)  # type: ignore[union-attr]
