"""The folder of a model before anything is loaded: what lies, leads elsewhere, or would run is refused by its code."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from rankscope.errors import CATALOGUE, RankscopeError
from rankscope.generators.files import PICKLES
from rankscope.generators.pretrained.directory import LONGEST, LONGEST_INDEX, Directory, directory, staged
from tests.generators.builders import HOSTILE_NAMES, MIB, memory, tensor, tensors
from tests.generators.corpus import AT_READING, SAFETENSORS
from tests.generators.tiny import changed, code_with_canary, pickle_with_canary, write_json

CONFIG = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 2}
WEIGHTS = tensors({"a": tensor(), "b": tensor("F32", [2, 3], [8, 32])}, bytes(32))
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of eight numbers with a tokenizer, as `directory` sees it."""
    path = tmp_path / "home" / "model"
    path.mkdir(parents=True)
    write_json(path / "config.json", CONFIG)
    (path / "model.safetensors").write_bytes(WEIGHTS)
    write_json(path / "tokenizer.json", {})
    write_json(path / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    return path


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A file that is no part of the model."""
    return write_json(tmp_path / "elsewhere.json", {**CONFIG, "secret": True})


def refused(path: Path, code: str) -> RankscopeError:
    with pytest.raises(RankscopeError) as caught:
        directory(path)
    reason = caught.value
    assert reason.code == code, str(reason)
    assert str(reason).isprintable()
    assert str(path.parent) not in str(reason)
    assert reason.remedy
    return reason


def linked(path: Path, to: Path | str) -> Path:
    path.unlink(missing_ok=True)
    path.symlink_to(to)
    return path


# --------------------------------------------------------------------------------------------------- what is looked for


def test_what_a_model_is_read_from_is_listed(folder: Path) -> None:
    found = directory(folder)
    assert (found.name, found.kind, found.weights, found.files) == (
        "model",
        "bert",
        ("model.safetensors",),
        ("tokenizer.json",),
    )
    assert (found.arrays, found.numbers, found.size) == (2, 8, len(WEIGHTS))
    assert (found.code, found.ignored) == ((), ())
    assert found.config == CONFIG


def test_a_folder_may_be_given_by_a_link(folder: Path, tmp_path: Path) -> None:
    assert directory(linked(tmp_path / "other", folder)).numbers == 8


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none", "RS501").given


def test_a_file_is_no_folder(elsewhere: Path) -> None:
    assert "Not a directory" in refused(elsewhere, "RS501").given


def test_a_folder_without_configuration_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert "holds no config.json: notes.txt" in refused(tmp_path, "RS215").given


def test_the_folder_of_a_cached_model_says_where_its_snapshots_are(tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    assert "the folder of a snapshot" in refused(tmp_path, "RS215").remedy


def test_a_folder_without_weights_says_what_it_holds(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "holds no model.safetensors: config.json, tokenizer.json" in refused(folder, "RS212").given


# -------------------------------------------------------------------------------------------------- what would run code


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt", "weights.PKL"])
def test_weights_that_are_pickles_are_refused_and_never_loaded(name: str, folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle_with_canary(canary))
    reason = refused(folder, "RS212")
    assert f"as pickles ({name})" in reason.given
    assert "model.save_pretrained(FOLDER)" in reason.remedy
    assert not canary.exists()
    pickle.loads((folder / name).read_bytes()).close()
    assert canary.exists(), "the pickle of this test does nothing"


def test_pickles_and_code_beside_good_weights_are_ignored_by_name(folder: Path, tmp_path: Path) -> None:
    for suffix in sorted(PICKLES):
        (folder / f"model{suffix}").write_bytes(pickle_with_canary(tmp_path / "canary"))
    (folder / "modeling_own.py").write_text(code_with_canary(tmp_path / "canary"), encoding="utf-8")
    changed(folder / "config.json", auto_map={"AutoModel": "modeling_own.Own"})
    changed(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]})
    found = directory(folder)
    assert found.code == ("modeling_own.py", "auto_map in config.json", "auto_map in tokenizer_config.json")
    assert found.ignored == (*found.code, *sorted(f"model{suffix}" for suffix in PICKLES))
    assert not (tmp_path / "canary").exists()


NAMING_CODE = {
    "auto_map": {"AutoModel": "own.Own"},
    "custom_pipelines": {"own": {"impl": "own.Own"}},
    "trust_remote_code": True,
    "_attn_implementation": "kernels-community/flash-attn",
    "attn_implementation": "kernels-community/flash-attn",
    "_attn_implementation_internal": "kernels-community/flash-attn",
    "_experts_implementation": "kernels-community/experts",
    "experts_implementation": "kernels-community/experts",
    "_experts_implementation_internal": "kernels-community/experts",
    "transformers_weights": "adapter_model.bin",
    "fusion_config": {"patch_embeddings": True},
    "configuration_files": ["config.4.0.0.json"],
    "vocab_file": "/etc/passwd",
    "name_or_path": "own/own",
    "num_labels": 10**9,
}


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_what_names_code_or_files_is_left_out_of_a_configuration_at_any_depth(folder: Path, depth: int) -> None:
    nested: dict[str, Any] = {**NAMING_CODE, "hidden_size": 8}
    for _ in range(depth):
        nested = {"text_config": nested, "layers": [nested]}
    write_json(folder / "config.json", {**nested, **CONFIG})
    kept = json.dumps(directory(folder).config)
    assert [key for key in NAMING_CODE if f'"{key}"' in kept] == []
    assert kept.count('"hidden_size"') == 1 + (2**depth if depth else 0)


def test_numbers_and_tables_are_kept_whose_keys_sound_like_files(folder: Path) -> None:
    said = {"drop_path": 0.1, "vocab": {"a": 1}, "max_path": 3, "rope_scaling": None}
    changed(folder / "config.json", **said)
    assert directory(folder).config == {**CONFIG, **said}


@pytest.mark.parametrize("nested", [False, True])
def test_quantised_weights_are_refused(folder: Path, nested: bool) -> None:
    said = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    changed(folder / "config.json", **({"text_config": said} if nested else said))
    assert "quantised" in refused(folder, "RS213").given


def test_weights_that_are_not_quantised_may_say_so(folder: Path) -> None:
    changed(folder / "config.json", quantization_config=None)
    assert directory(folder).numbers == 8


@pytest.mark.parametrize("whole", [True, False])
def test_an_adapter_is_no_model(folder: Path, whole: bool) -> None:
    write_json(folder / "adapter_config.json", {"base_model_name_or_path": "own/own", "peft_type": "LORA"})
    if not whole:
        (folder / "config.json").unlink()
    reason = refused(folder, "RS212")
    assert "holds an adapter (adapter_config.json)" in reason.given
    assert "merge_and_unload" in reason.remedy


# ---------------------------------------------------------------------------------------------------------------- links

READ = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "merges.txt",
        "spiece.model", "source.spm", "added_tokens.json", "special_tokens_map.json", "preprocessor_config.json",
        "processor_config.json", "generation_config.json", "chat_template.jinja", "modeling_own.py", INDEX]  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_a_link_out_of_the_folder_is_refused(name: str, folder: Path, elsewhere: Path) -> None:
    linked(folder / name, elsewhere)
    reason = refused(folder, "RS214")
    assert f"'{name}' in 'model' is a link that leads out" in reason.given
    assert "elsewhere" not in str(reason)


@pytest.mark.parametrize("to", ["../../elsewhere.json", "../nothing", "/", "/dev/zero", "/proc/self/environ"])
def test_a_link_out_of_the_folder_is_refused_wherever_it_leads(to: str, folder: Path, elsewhere: Path) -> None:
    linked(folder / "tokenizer.json", to)
    refused(folder, "RS214")


def test_a_link_to_a_link_out_of_the_folder_is_refused(folder: Path, elsewhere: Path) -> None:
    linked(folder / "deep.bin", elsewhere)
    linked(folder / "tokenizer.json", "deep.bin")
    refused(folder, "RS214")


def test_a_folder_that_is_a_link_out_of_the_folder_is_refused(folder: Path, elsewhere: Path) -> None:
    linked(folder / "additional_chat_templates", elsewhere.parent)
    assert "additional_chat_templates" in refused(folder, "RS214").given


def test_a_dangling_link_is_no_file(folder: Path) -> None:
    linked(folder / "tokenizer.json", "nothing.json")
    assert "'tokenizer.json' in 'model' is no file" in refused(folder, "RS215").given


def test_a_link_to_itself_is_no_file(folder: Path) -> None:
    linked(folder / "tokenizer.json", "tokenizer.json")
    refused(folder, "RS215")


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "config.json").rename(folder / "own.json")
    linked(folder / "config.json", "own.json")
    assert directory(folder).config == CONFIG


def cached(folder: Path, home: Path) -> Path:
    """The model as the cache of a hub holds it: links in a snapshot to blobs."""
    top = home / "models--own--model"
    snapshot = top / "snapshots" / "0123abcd"
    (top / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, each in enumerate(sorted(folder.iterdir())):
        each.rename(top / "blobs" / f"{number:040x}")
        linked(snapshot / each.name, f"../../blobs/{number:040x}")
    return snapshot


def test_the_links_of_a_cached_model_are_followed_to_its_blobs(folder: Path, tmp_path: Path) -> None:
    found = directory(cached(folder, tmp_path / "hub"))
    assert (found.config, found.numbers, found.files) == (CONFIG, 8, ("tokenizer.json",))


@pytest.mark.parametrize("to", ["../../refs", "../../blobs/../refs", "../../../models--other--model/blobs/0"])
def test_a_cached_model_has_no_other_links(folder: Path, tmp_path: Path, to: str) -> None:
    snapshot = cached(folder, tmp_path / "hub")
    linked(snapshot / "tokenizer.json", to)
    refused(snapshot, "RS214")


def test_blobs_that_lie_elsewhere_are_refused(folder: Path, tmp_path: Path) -> None:
    snapshot = cached(folder, tmp_path / "hub")
    blobs = snapshot.parent.parent / "blobs"
    blobs.rename(tmp_path / "blobs")
    linked(blobs, tmp_path / "blobs")
    refused(snapshot, "RS214")


# ---------------------------------------------------------------------------------------------------- pipes and devices


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt"])
def test_a_pipe_is_no_file_and_is_not_waited_for(name: str, folder: Path) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert f"'{name}' in 'model' is no file" in refused(folder, "RS215").given


def test_a_pipe_that_nothing_reads_is_left_alone(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert directory(folder).numbers == 8


def test_a_folder_in_the_place_of_a_file_is_no_file(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").mkdir()
    refused(folder, "RS215")


# ----------------------------------------------------------------------------------------------------- lists of weights


def sharded(folder: Path, shards: Any, *written: str) -> Path:
    (folder / "model.safetensors").unlink()
    write_json(folder / INDEX, shards)
    for name in written:
        (folder / name).write_bytes(WEIGHTS)
    return folder


def test_several_files_of_weights_are_read_together(folder: Path) -> None:
    files = ["1.safetensors", "2.safetensors", "3.safetensors"]
    found = directory(sharded(folder, {"weight_map": {"a": files[1], "b": files[0], "c": files[0]}}, *files))
    assert found.weights == ("1.safetensors", "2.safetensors")
    assert (found.arrays, found.numbers, found.size) == (4, 16, 2 * len(WEIGHTS))
    assert found.files == ("tokenizer.json", INDEX)
    assert found.ignored == ("3.safetensors",)


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/x.safetensors", "a/x.safetensors", "x.bin", "x", ".."])
def test_a_list_that_names_another_place_is_refused(name: str, folder: Path) -> None:
    assert "no file of the folder" in refused(sharded(folder, {"weight_map": {"a": name}}), "RS214").given


def test_a_list_that_names_a_link_out_of_the_folder_is_refused(folder: Path, elsewhere: Path) -> None:
    elsewhere.write_bytes(WEIGHTS)
    linked(sharded(folder, {"weight_map": {"a": "1.safetensors"}}) / "1.safetensors", elsewhere)
    refused(folder, "RS214")


def test_a_list_with_a_file_that_is_missing_says_which(folder: Path) -> None:
    reason = refused(
        sharded(folder, {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}, "1.safetensors"), "RS215"
    )
    assert "lacks '2.safetensors'" in reason.given


@pytest.mark.parametrize(
    "shards",
    [{}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": {"a": None}},
     {"weight_map": {"a": ["1.safetensors"]}}, {"weight_map": {"a": {"a": "1.safetensors"}}}, []],
)  # fmt: skip
def test_a_list_of_something_else_is_refused(shards: Any, folder: Path) -> None:
    refused(sharded(folder, shards, "1.safetensors"), "RS203")


def test_a_list_that_names_itself_is_refused(folder: Path) -> None:
    refused(sharded(folder, {"weight_map": {"a": INDEX}}), "RS214")


def test_one_file_of_weights_is_preferred_to_a_list_as_the_library_does(folder: Path) -> None:
    write_json(folder / INDEX, {"weight_map": {"a": "1.safetensors"}})
    (folder / "1.safetensors").write_bytes(WEIGHTS)
    found = directory(folder)
    assert found.weights == ("model.safetensors",)
    assert found.ignored == ("1.safetensors", INDEX)
    assert INDEX not in found.files


@pytest.mark.parametrize("case", sorted(set(SAFETENSORS) - AT_READING))
def test_weights_that_lie_are_refused(case: str, folder: Path) -> None:
    code, _, content = SAFETENSORS[case]
    (folder / "model.safetensors").write_bytes(content)
    assert "'model.safetensors'" in refused(folder, code).given


def test_the_second_file_of_weights_is_looked_at_too(folder: Path) -> None:
    sharded(folder, {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}, "1.safetensors")
    (folder / "2.safetensors").write_bytes(WEIGHTS[:-1])
    assert "'2.safetensors'" in refused(folder, "RS202").given


# ------------------------------------------------------------------------------------------------------- configurations

MALFORMED = {
    "empty": b"",
    "NaN": b'{"model_type": "bert", "dropout": NaN}',
    "infinity": b'{"model_type": "bert", "dropout": Infinity}',
    "beyond float64": b'{"model_type": "bert", "dropout": 1e999}',
    "a key twice": b'{"model_type": "bert", "model_type": "gpt2"}',
    "a key twice, nested": b'{"model_type": "bert", "x": {"a": 1, "a": 2}}',
    "depth": b'{"model_type": "bert", "x": ' + b"[" * 10**5,
    "depth that is closed": b'{"model_type": "bert", "x": ' + b"[" * 10**5 + b"]" * 10**5 + b"}",
    "some depth": b'{"model_type": "bert", "x": ' + b"[" * 200 + b"]" * 200 + b"}",
    "not UTF-8": b'{"model_type": "b\xffrt"}',
    "UTF-16": '{"model_type": "bert"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"model_type": "bert"}',
    "a list": b'[{"model_type": "bert"}]',
    "a number": b"12",
    "text": b'"bert"',
    "two objects": b'{"model_type": "bert"} {}',
    "not JSON": b"model_type: bert",
    "9 MiB": b'{"model_type": "bert", "x": "' + bytes(9 * MIB).replace(b"\0", b" ") + b'"}',
    "digits": b'{"model_type": "bert", "x": ' + b"9" * 9000 + b"}",
}


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_configuration_is_refused(case: str, name: str, folder: Path) -> None:
    (folder / name).write_bytes(MALFORMED[case])
    assert f"'{name}' of 'model'" in refused(folder, "RS203").given


def test_a_configuration_of_a_terabyte_is_refused_before_it_is_read(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.truncate(2**40)  # sparse: no disk is used
    assert memory(lambda: refused(folder, "RS203")) < MIB
    assert str(LONGEST) in refused(folder, "RS203").given


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt", "spiece.model"])
def test_a_tokenizer_of_a_terabyte_is_refused(name: str, folder: Path) -> None:
    with (folder / name).open("wb") as file:
        file.truncate(2**40)
    assert f"'{name}' of 'model' has more than {LONGEST_INDEX} bytes" in refused(folder, "RS203").given


@pytest.mark.parametrize("kind", [None, "", 3, ["bert"], {"bert": 1}, True])
def test_a_configuration_without_an_architecture_is_refused(kind: Any, folder: Path) -> None:
    write_json(folder / "config.json", {"model_type": kind} if kind is not None else {"hidden_size": 3})
    assert "names no model_type" in refused(folder, "RS215").given


@pytest.mark.parametrize(
    "said",
    [
        {"hidden_size": 10**9},
        {"num_hidden_layers": 10**8},
        {"n_layer": 100_000},
        {"depths": [2, 2, 10**8, 2]},
        {"text_config": {"num_hidden_layers": 10**8}},
        {"vision_config": [{"width": 2**63}]},
        {"vocab_size": 10**4000},
    ],
    ids=str,
)
def test_sizes_beyond_what_the_weights_hold_are_refused(said: dict[str, Any], folder: Path) -> None:
    write_json(folder / "config.json", {**CONFIG, **said})
    if said == {"vocab_size": 10**4000}:
        assert "beyond float64" in refused(folder, "RS203").given
        return
    assert "its weights are 2 arrays of 8 numbers" in refused(folder, "RS215").given


def test_large_numbers_that_take_no_memory_are_no_sizes(folder: Path) -> None:
    said = {"rope_theta": 10**11, "max_position_embeddings": 10**9, "max_length": 10**12, "hidden_size": 2**20,
            "num_hidden_layers": 1000, "seed": 2**63, "tie": True, "norm_eps": 1e30, "least": -(10**12)}  # fmt: skip
    changed(folder / "config.json", **said)
    assert directory(folder).config == {**CONFIG, **said}


# -------------------------------------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize("name", [name for name in HOSTILE_NAMES if "/" not in name and "\0" not in name])
def test_hostile_names_are_shown_inert(name: str, folder: Path) -> None:
    hostile = folder.rename(folder.parent / name)
    (hostile / f"{name}.py").touch()
    found = directory(hostile)
    assert found.name.isprintable()
    assert all(each.isprintable() for each in found.ignored)
    (hostile / "model.safetensors").rename(hostile / f"{name}.bin")
    refused(hostile, "RS212")
    (hostile / f"{name}.bin").unlink()
    linked(hostile / f"{name}.json", "/etc/passwd")
    refused(hostile, "RS214")


def test_every_code_that_a_folder_is_refused_with_is_a_file_that_is_not_what_it_says() -> None:
    assert {CATALOGUE[code][0].exit_status for code in ("RS202", "RS203", "RS212", "RS213", "RS214", "RS215")} == {3}


# ---------------------------------------------------------------------------------------------- what a library is given


def content(found: Directory) -> dict[str, bytes]:
    with staged(found) as path:
        return {each.name: each.read_bytes() for each in path.iterdir()}


def test_a_library_is_given_what_was_checked_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    for name in ("modeling_own.py", "model.bin", "generation_config.json", "head.safetensors", "chat_template.jinja",
                 "pipe", "shard-00001-model-00001-of-00001.safetensors", "trainer_state.json"):  # fmt: skip
        (folder / name).write_bytes(b"{}")
    (folder / "additional_chat_templates").mkdir()
    (folder / "vocab.txt").write_bytes(b"a\nb\n")
    (folder / "source.spm").write_bytes(b"s")
    given = content(directory(folder))
    assert set(given) == {
        "config.json",
        "tokenizer_config.json",
        "tokenizer.json",
        "vocab.txt",
        "source.spm",
        "model.safetensors",
    }
    assert given["model.safetensors"] == WEIGHTS
    assert given["vocab.txt"] == b"a\nb\n"


def test_a_library_is_given_configurations_without_what_names_code_or_files(folder: Path) -> None:
    changed(folder / "config.json", auto_map={"AutoModel": "own.Own"})
    said = {"auto_map": {"AutoTokenizer": ["own.Own", None]}, "vocab_file": "/etc/passwd", "vocab": "/etc/passwd",
            "fast_tokenizer_files": ["../tokenizer.4.0.0.json"], "sp_model_kwargs": {"model_file": "/etc/passwd"},
            "gguf_file": "x.gguf", "merges_file": None}  # fmt: skip
    changed(folder / "tokenizer_config.json", **said)
    given = content(directory(folder))
    assert json.loads(given["config.json"]) == CONFIG
    kept: dict[str, Any] = {"tokenizer_class": "BertTokenizer", "sp_model_kwargs": {}, "merges_file": None}
    assert json.loads(given["tokenizer_config.json"]) == kept


def test_what_a_library_was_given_is_taken_away_again(folder: Path) -> None:
    with staged(directory(folder)) as path:
        assert path.is_dir()
    assert not path.exists()
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_file_that_became_a_link_since_it_was_checked_is_refused(folder: Path, elsewhere: Path) -> None:
    found = directory(folder)
    linked(folder / "tokenizer.json", elsewhere)
    with pytest.raises(RankscopeError, match="RS214"), staged(found):
        pass
