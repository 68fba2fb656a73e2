"""A model from its folder: what the library would have made of it, without the network, code or weights at random."""

import sys
import time
from collections.abc import Callable
from logging import ERROR
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rankscope.errors import RankscopeError
from rankscope.generators.pretrained import loading
from rankscope.generators.pretrained.directory import directory
from rankscope.generators.pretrained.loading import (
    config_of,
    folder_of,
    load_model,
    model_of,
    no_larger,
    quietly,
    transformers_module,
)
from tests.generators.builders import tensor, tensors
from tests.generators.tiny import Models, changed, code_with_canary, pickle_with_canary, write_json

pytestmark = pytest.mark.usefixtures("tried")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def refused(path: Path | str, code: str, **options: Any) -> RankscopeError:
    with pytest.raises(RankscopeError) as caught:
        load_model(path, **options)
    reason = caught.value
    assert reason.code == code, str(reason)
    assert str(reason).isprintable()
    assert "/tmp" not in str(reason)
    assert reason.remedy
    return reason


# ------------------------------------------------------------------------------------------------------- what is loaded


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5", "deberta", "vit"])
def test_a_model_is_the_one_that_the_library_loads_by_itself(name: str, models: Models) -> None:
    model = load_model(models(name))
    with quietly(transformers_module()):
        expected = transformers_module().AutoModel.from_pretrained(str(models(name)))
    assert type(model) is type(expected)
    own = model.state_dict()
    assert own.keys() == expected.state_dict().keys()
    for key, weights in expected.state_dict().items():
        assert torch.equal(own[key], weights)
    assert not model.training
    assert model.config._attn_implementation == ("sdpa" if type(model)._supports_sdpa else "eager")


@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16", "float16"])
def test_a_model_computes_in_the_type_that_is_asked_for(name: str, models: Models) -> None:
    model = load_model(models("bert"), dtype=name)
    assert {each.dtype for each in model.parameters()} == {getattr(torch, name)}


def test_a_model_computes_in_the_type_of_its_weights(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    halved = {key: each.bfloat16() for key, each in load_file(folder / "model.safetensors").items()}
    save_file(halved, folder / "model.safetensors", {"format": "pt"})
    changed(folder / "config.json", dtype="bfloat16")
    assert load_model(folder).dtype == torch.bfloat16


def test_weights_in_several_files_are_one_model(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = {key: f"{number % 3}.safetensors" for number, key in enumerate(sorted(whole))}
    for file in sorted(set(names.values())):
        part = {key: each for key, each in whole.items() if names[key] == file}
        save_file(part, folder / file, {"format": "pt"})
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": 1}, "weight_map": names})
    assert {key: each.tolist() for key, each in load_model(folder).state_dict().items() if key in whole} == {
        key: each.tolist() for key, each in whole.items()
    }


def test_a_pooler_may_be_lacking_because_no_attention_passes_through_it(models: Models, tmp_path: Path) -> None:
    folder = without(models.copied("bert", tmp_path), lambda key: "pooler" in key)
    assert load_model(folder).pooler is not None


def test_the_head_of_a_model_is_left_out(models: Models, tmp_path: Path) -> None:
    folder = models.copied("gpt2", tmp_path)
    whole = load_file(folder / "model.safetensors")
    prefixed = {f"transformer.{key}": each for key, each in whole.items()} | {"lm_head.weight": torch.ones(257, 16)}
    save_file(prefixed, folder / "model.safetensors", {"format": "pt"})
    changed(folder / "config.json", architectures=["GPT2LMHeadModel"])
    model = load_model(folder)
    assert type(model).__name__ == "GPT2Model"
    assert torch.equal(model.wte.weight, whole["wte.weight"])


# ---------------------------------------------------------------------------------------------- what would be at random


def without(folder: Path, leave: Callable[[str], bool]) -> Path:
    kept = {key: each for key, each in load_file(folder / "model.safetensors").items() if not leave(key)}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_weights_that_are_missing_are_named(models: Models, tmp_path: Path) -> None:
    folder = without(models.copied("bert", tmp_path), lambda key: key.endswith("query.weight"))
    reason = refused(folder, "RS215")
    assert "2 weights of 'bert' are missing or of another shape: encoder.layer.0.attention.self.query" in reason.given
    assert "they would be random" in reason.remedy


def test_weights_of_another_model_are_refused(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    (folder / "model.safetensors").write_bytes((models("vit") / "model.safetensors").read_bytes())
    assert "weights of 'bert' are missing" in refused(folder, "RS215").given


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"intermediate_size": 40}, "6 weights of 'bert' are missing or of another shape: encoder.layer.0"),
        ({"vocab_size": 65}, "1 weight of 'bert' is missing or of another shape: embeddings.word_embeddings.weight"),
        ({"max_position_embeddings": 32}, "embeddings.position_embeddings.weight"),
    ],
)
def test_weights_of_another_shape_are_named(said: dict[str, int], name: str, models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "config.json", **said)
    assert name in refused(folder, "RS215").given


def test_weights_for_more_layers_than_there_are_are_refused(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "config.json", num_hidden_layers=3)
    assert "encoder.layer.2" in refused(folder, "RS215").given


ABSURD = [
    {"hidden_size": 10**9},
    {"hidden_size": 10**7, "num_attention_heads": 1},
    {"num_hidden_layers": 10**8},
    {"num_hidden_layers": 10**4},
    {"intermediate_size": 10**7},
    {"vocab_size": 10**7},
    {"max_position_embeddings": 10**12},
    {"type_vocab_size": 10**7},
    {"num_attention_heads": 0},
    {"hidden_size": -16},
    {"hidden_size": "large"},
    {"hidden_act": "__import__('os')"},
    {"dtype": "Tensor"},
    {"dtype": "nonsense"},
    {"pad_token_id": 10**6},
]


def most_memory() -> int:
    """The most bytes that this process held since it was last asked."""
    with open("/proc/self/status", encoding="ascii") as file:
        found = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("said", ABSURD, ids=str)
def test_an_absurd_configuration_is_refused_quickly_and_in_little_memory(
    said: dict[str, Any], models: Models, tmp_path: Path
) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "config.json", **said)
    most_memory()
    before, started = most_memory(), time.process_time()
    refused(folder, "RS215")
    assert most_memory() - before < 2**28
    assert time.process_time() - started < 10


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("said", [{"num_labels": 10**9}, {"id2label": {"0": "a"}, "num_labels": 10**9}], ids=str)
def test_labels_that_nothing_needs_take_no_memory(said: dict[str, Any], models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "config.json", **said)
    most_memory()
    before = most_memory()
    load_model(folder)
    assert most_memory() - before < 2**28


def test_the_size_of_a_model_is_counted_while_it_is_made_and_no_longer(models: Models) -> None:
    found = directory(models("bert"))
    with pytest.raises(RankscopeError, match="describes a model of more than"), no_larger(found), torch.device("meta"):
        torch.nn.Linear(10**5, 10**5)
    with pytest.raises(RankscopeError, match="many more arrays"), no_larger(found), torch.device("meta"):
        torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(10**4))
    with torch.device("meta"):
        assert torch.nn.Linear(10**5, 10**5).weight.numel() == 10**10


def test_a_model_that_does_not_fit_into_memory_is_refused(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    found = directory(models("bert"))
    monkeypatch.setattr("rankscope.arrays.available_memory", lambda: 1000)
    with pytest.raises(RankscopeError, match="RS301: the model 'bert' of 0 MiB needs about"):
        model_of(found)


# ------------------------------------------------------------------------------------------------------- what would run


def test_an_unknown_architecture_names_the_code_that_it_needs(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "config.json", model_type="own", auto_map={"AutoConfig": "own.Own", "AutoModel": "own.Own"})
    code = code_with_canary(tmp_path / "canary")
    (folder / "own.py").write_text(code, encoding="utf-8")
    reason = refused(folder, "RS213")
    assert "of the kind 'own', which transformers has no class for" in reason.given
    assert "own.py, auto_map in config.json would have to run" in reason.given
    assert "rankscope.capture(model)" in reason.remedy
    assert not (tmp_path / "canary").exists()
    exec(code, {})
    assert (tmp_path / "canary").exists(), "the code of this test does nothing"


def test_an_unknown_architecture_without_code_is_refused_as_well(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "config.json", model_type="\x1b[2Jown")
    assert refused(folder, "RS213").given.endswith(r"'\x1b[2Jown', which transformers has no class for")


def test_a_configuration_without_a_model_is_refused(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "config.json", model_type="rag")
    refused(folder, "RS215")


def test_a_known_architecture_with_code_is_loaded_without_it(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    named = {"AutoConfig": "own.Own", "AutoModel": "own.Own"}
    changed(folder / "config.json", auto_map=named, transformers_weights="adapter_model.bin", architectures=["Own"])
    (folder / "own.py").write_text(code_with_canary(tmp_path / "canary"), encoding="utf-8")
    for name in ("pytorch_model.bin", "adapter_model.bin"):
        (folder / name).write_bytes(pickle_with_canary(tmp_path / "canary"))
    assert type(load_model(folder)).__module__ == "transformers.models.bert.modeling_bert"
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "_attn_implementation_internal"])
def test_a_configuration_cannot_ask_for_a_kernel(
    key: str, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("transformers.modeling_utils.is_kernel", lambda name: asked.append(name))
    folder = models.copied("bert", tmp_path)
    changed(folder / "config.json", **{key: "kernels-community/flash-attn"})
    assert load_model(folder).config._attn_implementation == "sdpa"
    assert set(asked) <= {"sdpa"}


def test_a_kernel_is_asked_for_where_the_configuration_is_not_cleaned() -> None:
    transformers = transformers_module()
    raw = {"attn_implementation": "kernels-community/flash-attn", "experts_implementation": "kernels-community/x"}
    made = transformers.CONFIG_MAPPING["bert"].from_dict(dict(raw))
    assert (made._attn_implementation, made._experts_implementation) == tuple(raw.values())


def test_a_configuration_cannot_ask_for_a_kernel_of_a_part(tmp_path: Path) -> None:
    keys = [f"{sign}{part}_implementation" for sign in ("", "_") for part in ("attn", "experts")]
    asked = dict.fromkeys(keys, "kernels-community/own")
    parts = {
        "text_config": {"model_type": "llama", **asked},
        "vision_config": {"model_type": "clip_vision_model", **asked},
    }
    write_json(tmp_path / "config.json", {"model_type": "llava", **asked, **parts})
    (tmp_path / "model.safetensors").write_bytes(tensors({"a": tensor()}, bytes(8)))
    made = config_of(directory(tmp_path))
    for each in (made, made.text_config, made.vision_config):
        assert (each._attn_implementation, each._experts_implementation) == (None, None)


def test_an_old_configuration_that_asks_for_weights_of_attention_is_loaded(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "config.json", output_attentions=True)
    assert load_model(folder).config._attn_implementation == "sdpa"


def test_nothing_is_opened_that_a_configuration_or_a_link_names_elsewhere(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes((folder / "model.safetensors").read_bytes())
    changed(folder / "config.json", transformers_weights="../secret.safetensors", configuration_files=[str(secret)])
    (folder / "parts").mkdir()
    (folder / "parts" / "link.safetensors").symlink_to(secret)
    (folder / "shard-00001-model-00001-of-00001.safetensors").write_bytes(b"not weights")
    opened: list[str] = []
    listening = [True]
    sys.addaudithook(lambda event, what: opened.append(str(what[0])) if listening and event == "open" else None)
    load_model(folder)
    listening.clear()
    assert any(each.endswith("/model.safetensors") for each in opened)
    assert [each for each in opened if "secret" in each or "shard-" in each or "link" in each] == []


# ------------------------------------------------------------------------------------------------ names and the network


def test_a_folder_is_taken_as_it_is(models: Models) -> None:
    assert folder_of(str(models("bert"))) == models("bert")


@pytest.mark.parametrize(
    "name", ["nobody/nothing", "nothing", "/no/such/folder", "../nothing", "a" * 5000, "a\0b", "", "x y"]
)
def test_a_name_that_is_not_in_the_cache_is_refused_without_asking_the_network(name: str, hub: Path) -> None:
    with pytest.raises(RankscopeError, match="is neither a folder nor in the local cache") as caught:
        folder_of(name)
    assert caught.value.code == "RS501"
    assert "add --download" in caught.value.remedy


@pytest.mark.parametrize("name", ["model.safetensors", "weights.npz", "config.json", "text.txt"])
def test_a_file_is_no_model(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert refused(tmp_path / name, "RS501").given == f"'{name}' is no folder"


def test_a_name_in_the_cache_is_found_without_the_network(hub: Path, models: Models) -> None:
    top = hub / "models--own--model"
    snapshot = top / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (top / "refs").mkdir()
    (top / "refs" / "main").write_text("0" * 40, encoding="ascii")
    (top / "blobs").mkdir()
    for number, each in enumerate(sorted(models("bert").iterdir())):
        (top / "blobs" / str(number)).write_bytes(each.read_bytes())
        (snapshot / each.name).symlink_to(f"../../blobs/{number}")
    assert load_model("own/model").config.hidden_size == 16


def test_the_network_is_asked_where_that_is_allowed(
    hub: Path, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "could not be downloaded" in refused("own/model", "RS501", download=True).given
    assert tried
    tried.clear()


def test_no_code_is_downloaded(monkeypatch: pytest.MonkeyPatch, models: Models) -> None:
    how: dict[str, Any] = {}

    def download(name: str, **options: Any) -> str:
        how.update(options)
        return str(models(name.partition("/")[2]))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert load_model("own/bert", download=True).config.hidden_size == 16
    assert not any(pattern.endswith((".py", ".bin", ".jinja", "*")) for pattern in how["allow_patterns"])
    assert not how["local_files_only"]


def test_the_library_is_quiet_and_without_the_network_for_a_while() -> None:
    from huggingface_hub import constants
    from transformers.utils import logging

    transformers = transformers_module()
    before = constants.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()
    with quietly(transformers):
        assert (constants.HF_HUB_OFFLINE, logging.is_progress_bar_enabled()) == (True, False)
        assert logging.get_verbosity() == ERROR
    assert (constants.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_the_library_asks_nothing_of_the_network_while_it_is_quiet(
    tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import model_info
    from huggingface_hub.errors import OfflineModeIsEnabled

    with quietly(transformers_module()), pytest.raises(OfflineModeIsEnabled):
        model_info("own/model")
    assert tried == []
    with pytest.raises(Exception, match="no network in this test"):
        model_info("own/model")
    tried.clear()


def test_without_the_library_an_error_says_how_to_install_it(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    reason = refused(models("bert"), "RS004")
    assert "pip install 'rankscope[models]'" in reason.remedy


# ---------------------------------------------------------------------------------------------------- types and devices


@pytest.mark.parametrize("device", ["nonsense", "meta", "cuda:99", "", "cpu:x"])
def test_a_device_that_is_not_there_is_refused_before_anything_is_loaded(
    device: str, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "config_of", None)
    assert f"--device {device}" in refused(models("bert"), "RS002", device=device).given


def test_a_type_that_is_not_one_of_models_is_refused(models: Models) -> None:
    assert "float32, float64, bfloat16, float16" in refused(models("bert"), "RS001", dtype="int8").remedy


# --------------------------------------------------------------------------------------------------------- what is said


class Odd(Exception):
    """An error without words."""


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (Odd(), "(Odd)"),
        (ValueError("\n\n  two\nlines"), "(ValueError: two)"),
        (KeyError("\x1b[2J"), "KeyError"),
        (Odd("  "), "(Odd)"),
    ],
)
def test_whatever_fails_in_the_library_is_one_line(problem: Exception, said: str, models: Models) -> None:
    with pytest.raises(RankscopeError) as caught, loading.blamed(directory(models("bert")), "it failed"):
        raise problem
    assert said in caught.value.given
    assert str(caught.value).isprintable()
    assert caught.value.__cause__ is problem


def test_a_user_who_stops_it_is_obeyed(models: Models) -> None:
    with pytest.raises(KeyboardInterrupt), loading.blamed(directory(models("bert")), "it failed"):
        raise KeyboardInterrupt


def test_too_little_memory_is_not_the_fault_of_a_folder(models: Models) -> None:
    for problem in (
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError(),
    ):
        with pytest.raises(MemoryError), loading.blamed(directory(models("bert")), "it failed"):
            raise problem
