"""`rankscope model`: a trained model from its folder to a table, and what is refused on the way."""

import csv
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.generators.tiny import (
    LENGTH,
    Models,
    changed,
    code_with_canary,
    pickle_with_canary,
    text,
    write_json,
)
from tests.process import Ended, called, rankscope, strict_json, violations, without_traceback

pytestmark = pytest.mark.usefixtures("tried")


@pytest.fixture(scope="session")
def essay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text that every model takes whole."""
    path = tmp_path_factory.mktemp("texts") / "essay.txt"
    path.write_text(text(10), encoding="utf-8")
    return path


@pytest.fixture
def read(models: Models, essay: Path) -> Callable[..., Ended]:
    """The command for a model and the text."""
    return lambda name, *options: called("model", models(name), "--text", essay, *options)


@pytest.fixture
def document(read: Callable[..., Ended]) -> Callable[..., Any]:
    """The JSON that the command prints, which keeps its schema."""

    def made(name: str, *options: object) -> Any:
        done = read(name, *options, "-f", "json")
        assert done.status == 0, done.stderr
        found = strict_json(done.raw)
        assert violations(found) == []
        return found

    return made


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is loaded all the same is a failure of the test."""
    monkeypatch.setattr("rankscope.generators.models.model_of", None)


EFFECTIVE = ("-m", "effective_rank")
HEADS = [f"layer {layer} head {head}" for layer in range(2) for head in range(2)]


def labels(document: Any) -> list[str]:
    return [matrix["label"] for matrix in document["matrices"]]


def refused(done: Ended, status: int, *said: str) -> str:
    """What a command says that fails: one line, with a code, and nothing on stdout."""
    assert (done.status, done.stdout) == (status, ""), done.everything
    [line] = done.stderr.splitlines()
    assert line.startswith("rankscope: RS")
    assert line.isprintable()
    for each in said:
        assert each in line
    return line


# ------------------------------------------------------------------------------------------------------ what is printed


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5", "deberta"])
def test_the_table_fits_80_columns_and_is_all_that_stdout_holds(name: str, read: Callable[..., Ended]) -> None:
    done = read(name)
    lines = done.stdout.splitlines()
    assert done.status == 0, done.stderr
    assert [line for line in lines if len(line) > 80] == []
    assert "effective_rank" in done.stdout or "effective rank" in done.stdout
    assert "of at most" in done.stderr


def test_each_head_of_each_layer_is_a_matrix(document: Callable[..., Any]) -> None:
    found = document("bert", *EFFECTIVE)
    assert labels(found) == HEADS
    assert {(matrix["rows"], matrix["columns"], matrix["d"], matrix["source"]) for matrix in found["matrices"]} == {
        (12, 12, 8, "bert")
    }
    assert [(record["layer"], record["head"]) for record in found["records"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all(1 < record["value"] < 12 for record in found["records"])
    assert all(0 < matrix["fidelity"] < 1e-5 for matrix in found["matrices"])


def test_the_command_and_the_record_name_no_folder(document: Callable[..., Any], models: Models, essay: Path) -> None:
    found = document("bert", *EFFECTIVE)
    assert found["command"] == "rankscope model bert --text essay.txt --measure effective_rank"
    assert str(models.home) not in str(found)
    assert str(essay.parent) not in str(found)


def test_an_encoder_a_decoder_and_what_is_between_them_are_told_apart(document: Callable[..., Any]) -> None:
    found = document("t5", *EFFECTIVE)
    assert labels(found) == [f"{stack} {head}" for stack in ("encoder", "decoder", "cross") for head in HEADS]
    assert [matrix["mask"] for matrix in found["matrices"]] == ["bidirectional"] * 4 + ["causal"] * 4 + [
        "bidirectional"
    ] * 4


def test_scores_that_are_no_products_are_measured_too(document: Callable[..., Any]) -> None:
    found = document("deberta", *EFFECTIVE)
    assert labels(found) == HEADS
    assert {matrix["d"] for matrix in found["matrices"]} == {None}
    assert all(1 < record["value"] < 12 for record in found["records"])


def test_an_image_is_seen(models: Models, tmp_path: Path) -> None:
    from PIL import Image

    Image.linear_gradient("L").save(tmp_path / "a.png")
    done = called("model", models("vit"), "--image", tmp_path / "a.png", *EFFECTIVE, "-f", "json")
    found = strict_json(done.raw)
    assert {(matrix["rows"], matrix["columns"]) for matrix in found["matrices"]} == {(17, 17)}
    assert found["command"] == "rankscope model vit --image a.png --measure effective_rank"


def test_quiet_prints_nothing_at_all(read: Callable[..., Ended], tmp_path: Path) -> None:
    done = read("bert", "-q", "-o", tmp_path / "a.json")
    assert (done.status, done.stdout, done.stderr) == (0, "", "")
    assert len(strict_json((tmp_path / "a.json").read_bytes())["matrices"]) == 4


def test_matched_random_attention_stands_beside(document: Callable[..., Any]) -> None:
    found = document("bert", *EFFECTIVE, "--null", "--null-seeds", 2)
    assert {record["null_count"] for record in found["records"]} == {2}


@pytest.mark.parametrize("suffix", [".json", ".csv", ".png", ".pdf", ".html"])
def test_files_of_every_kind_are_written(suffix: str, read: Callable[..., Ended], tmp_path: Path) -> None:
    begins = {".json": b"{", ".csv": b"label,", ".png": b"\x89PNG", ".pdf": b"%PDF-", ".html": b"<!DOCTYPE html>"}
    done = read("bert", "-o", tmp_path / f"result{suffix}", *EFFECTIVE)
    assert done.status == 0, done.stderr
    assert (tmp_path / f"result{suffix}").read_bytes().startswith(begins[suffix])


def test_csv_holds_a_row_for_each_head(read: Callable[..., Ended]) -> None:
    rows = list(csv.DictReader(io.StringIO(read("bert", "-f", "csv", *EFFECTIVE).stdout)))
    assert [(row["label"], row["source"]) for row in rows] == [(label, "bert") for label in HEADS]


@pytest.mark.parametrize("name", ["bert", "t5", "deberta"])
def test_two_runs_and_any_number_of_workers_print_the_same_bytes(name: str, read: Callable[..., Ended]) -> None:
    runs = [read(name, "-f", "json", *workers).raw for workers in ((), ("--workers", 1), ("--workers", 2))]
    assert len(runs[0]) > 1000
    assert runs[0] == runs[1] == runs[2]


def test_a_process_of_its_own_prints_the_same(models: Models, essay: Path) -> None:
    options = ("model", models("bert"), "--text", essay, "-f", "json", *EFFECTIVE)
    alone = rankscope(*options)
    assert (alone.status, alone.raw) == (0, called(*options).raw)
    assert alone.stderr.splitlines() == [
        line for line in alone.stderr.splitlines() if line.startswith("rankscope: 4 matrices")
    ]


# ------------------------------------------------------------------------------------------------------- what is chosen


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--layers", "0"), HEADS[:2]),
        (("--layers", "1:2"), HEADS[2:]),
        (("--layers", "1,0"), HEADS),
        (("--heads", "1"), HEADS[1::2]),
        (("--heads", "0:2", "--layers", "0:2"), HEADS),
        (("--heads", "0", "--layers", "1"), HEADS[2:3]),
    ],
)
def test_layers_and_heads_are_chosen_by_number(
    options: tuple[str, ...], expected: list[str], document: Callable[..., Any]
) -> None:
    every = document("bert", *EFFECTIVE)
    some = document("bert", *EFFECTIVE, *options)
    assert labels(some) == expected
    values = dict(zip(labels(every), (record["value"] for record in every["records"]), strict=True))
    assert [record["value"] for record in some["records"]] == [values[label] for label in expected]


@pytest.mark.parametrize("options", [("--layers", "2"), ("--layers", "0:3"), ("--heads", "2"), ("--heads", "1,5")])
def test_numbers_beyond_the_model_end_with_2(options: tuple[str, str], read: Callable[..., Ended]) -> None:
    line = refused(read("bert", *options), 2, "RS002", "of bert, which has 2", "Give numbers from 0 to 1")
    assert options[0] in line


MISTAKES: list[tuple[tuple[object, ...], str]] = [
    (("--layers", "one"), "--layers one"),
    (("--layers", "3:1"), "--layers 3:1"),
    (("--heads", "-1"), "--heads -1"),
    (("--what-if", "causla"), "Did you mean 'causal'"),
    (("--what-if", "kernel=sofmax"), "'softmax'"),
    (("--what-if", "causal,"), "an empty name in --what-if"),
    (("--what-if", "uniform"), "name the mask that every head should have".capitalize()),
    (("-m", "efective_rank"), "there is no measure 'efective_rank'"),
    (("--rule", "nonsense"), "there is no rule 'nonsense'"),
    (("--null-seeds", 3), "without --null"),
    (("--budget", 3), "where nothing is to be proved"),
    (("-o", "result.xyz"), "'result.xyz'"),
    (("--figure", "spectra"), "without a file"),
    (("--save", "attention.npz"), "Give a name that ends in .safetensors"),
    (("--max-length", LENGTH + 1), "The model takes at most 64 tokens"),
    (("--batch", 3), "which has 0 whole pieces of 64 tokens"),
    (("--text", "-", "--text", "-"), "--text - twice"),
    (("--image", "a.png"), "--image and --text"),
]


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(("options", "said"), MISTAKES, ids=str)
def test_mistakes_end_with_2_before_the_model_is_loaded(
    options: tuple[object, ...], said: str, read: Callable[..., Ended]
) -> None:
    refused(read("bert", *options), 2, said)


@pytest.mark.usefixtures("unloaded")
def test_a_folder_to_write_to_that_does_not_exist_ends_with_6_before_the_model_is_loaded(
    read: Callable[..., Ended], tmp_path: Path
) -> None:
    for options in (("--save", tmp_path / "none" / "a.safetensors"), ("-o", tmp_path / "none" / "a.json")):
        refused(read("bert", *options), 6, "RS502", "there is no folder")


@pytest.mark.parametrize(
    "options", [("--device", "nonsense"), ("--device", "meta"), ("--dtype", "int8"), ("--dtype", "nonsense")]
)
def test_devices_and_types_that_there_are_not_end_with_2(options: tuple[str, str], read: Callable[..., Ended]) -> None:
    refused(read("bert", *options), 2, options[1])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_the_model_computes_in_the_type_that_is_asked_for(dtype: str, document: Callable[..., Any]) -> None:
    found = document("bert", *EFFECTIVE, "--dtype", dtype)
    [source] = found["study"]["sources"]
    units = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}
    assert source["dtype"] == dtype
    worst = max(matrix["fidelity"] for matrix in found["matrices"])
    assert units[dtype] / 100 < worst < 100 * units[dtype]


# -------------------------------------------------------------------------------------------------------------- what if


def test_heads_under_other_masks_stand_beside_the_trained_ones(document: Callable[..., Any]) -> None:
    found = document("bert", *EFFECTIVE, "--what-if", "causal,window:2", "--what-if", "kernel=linear")
    variants = ["trained", "causal", "window:2", "kernel=linear"]
    assert labels(found) == [f"{variant} {head}" for variant in variants for head in HEADS]
    assert [matrix["mask"] for matrix in found["matrices"][4:8]] == ["causal"] * 4
    assert {matrix["kernel"] for matrix in found["matrices"][12:]} == {"linear"}
    assert found["study"]["sources"][0]["what_if"] == variants[1:]
    alone = document("bert", *EFFECTIVE)
    assert [record["value"] for record in found["records"][:4]] == [record["value"] for record in alone["records"]]
    assert [record["value"] for record in found["records"][4:8]] != [record["value"] for record in alone["records"]]


def test_the_mask_that_a_model_has_changes_nothing(document: Callable[..., Any]) -> None:
    found = document("gpt2", *EFFECTIVE, "--what-if", "causal")
    values = [record["value"] for record in found["records"]]
    assert values[:4] == values[4:]


def test_a_plan_mixes_masks_over_the_heads_and_their_mean_is_measured(document: Callable[..., Any]) -> None:
    found = document("bert", *EFFECTIVE, "--what-if", "heads")
    means = [f"layer {layer} mean over 2 heads" for layer in range(2)]
    by_layer = [*HEADS[:2], means[0], *HEADS[2:], means[1]]
    assert labels(found) == [f"{variant} {label}" for variant in ("trained", "heads") for label in by_layer]
    [plan] = {matrix["plan"] for matrix in found["matrices"] if matrix["label"].startswith("heads")}
    assert plan == "heads"


def test_the_number_of_matrices_is_told_beforehand(read: Callable[..., Ended]) -> None:
    assert "4 matrices of at most 12 × 12" in read("bert", *EFFECTIVE).stderr
    told = read("bert", *EFFECTIVE, "--what-if", "causal,window:2").stderr
    assert "4 matrices, as trained and 2 times otherwise, of at most 12 × 12" in told


def test_a_variant_that_no_head_has_is_refused(read: Callable[..., Ended]) -> None:
    done = read("deberta", *EFFECTIVE, "--what-if", "causal,kernel=linear", "-f", "json")
    assert (done.status, done.stdout) == (2, "")
    said = "causal, kernel=linear of deberta: no head has such a variant (whose scores are no product"
    assert said in " ".join(done.stderr.split())


def test_heads_between_two_texts_are_left_out_by_name(read: Callable[..., Ended]) -> None:
    done = read("t5", *EFFECTIVE, "--what-if", "causal")
    assert done.status == 0
    assert "causal: left out of cross layer 0, cross layer 1, whose queries and keys are of two texts" in done.stderr


# --------------------------------------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5", "deberta"])
@pytest.mark.parametrize("options", [(), ("--layers", "1", "--heads", "0"), ("--dtype", "bfloat16")])
def test_what_is_saved_is_analysed_to_the_same_records(
    name: str, options: tuple[str, ...], document: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "attention.safetensors"
    found = document(name, "--save", path, *options)
    done = called("analyze", path, "-f", "json")
    assert done.status == 0, done.stderr
    again = strict_json(done.raw)
    assert again["records"] == found["records"]
    assert [(each["label"], each["digest"], each["mask"]) for each in again["matrices"]] == [
        (each["label"], each["digest"], each["mask"]) for each in found["matrices"]
    ]


def test_nothing_is_saved_where_something_is_refused(read: Callable[..., Ended], tmp_path: Path) -> None:
    refused(read("bert", "--save", tmp_path / "a.safetensors", "--layers", 7), 2)
    assert not (tmp_path / "a.safetensors").exists()


# ---------------------------------------------------------------------------------------------------------------- texts


def given(models: Models, content: bytes, monkeypatch: pytest.MonkeyPatch, *options: object) -> Ended:
    """The command with a text on stdin."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    return called("model", models("bert"), "--text", "-", *EFFECTIVE, *options)


def test_a_text_on_stdin_is_the_same_text(
    models: Models, essay: Path, document: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = given(models, essay.read_bytes(), monkeypatch, "-f", "json")
    found = strict_json(done.raw)
    assert found["records"] == document("bert", *EFFECTIVE)["records"]
    assert found["command"] == "rankscope model bert --text - --measure effective_rank"
    assert found["study"]["sources"][0]["texts"][0]["name"] == "stdin"


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "RS208"), (b" \n", "RS208"), (b"\xff", "RS203"), (b"\xef\xbb\xbf", "RS208")]
)
def test_a_bad_text_on_stdin_ends_with_3(
    content: bytes, code: str, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(given(models, content, monkeypatch), 3, code, "'stdin'")


def test_a_text_that_is_missing_ends_with_6(models: Models, tmp_path: Path) -> None:
    refused(called("model", models("bert"), "--text", tmp_path / "none.txt"), 6, "RS501", "'none.txt'")


def test_a_text_that_is_too_long_is_cut_and_that_is_told(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    done = given(models, text(100).encode(), monkeypatch)
    assert done.status == 0
    assert done.stdout.splitlines()[0].startswith("bert   4 matrices   n 64")
    assert "rankscope: of stdin the first 64 tokens are used, 38 are not\n" in done.stderr


def test_pieces_of_a_text_are_texts(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    done = given(models, text(100).encode(), monkeypatch, "--max-length", 10, "--batch", 3, "-f", "json")
    assert labels(strict_json(done.raw))[:5] == [
        *(f"text {number} layer 0 head {head}" for number in range(2) for head in range(2)),
        "text 2 layer 0 head 0",
    ]


def test_several_texts_are_read_side_by_side(models: Models, essay: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text(text(4), encoding="utf-8")
    done = called("model", models("bert"), "--text", essay, "--text", tmp_path / "short.txt", *EFFECTIVE, "-f", "json")
    found = strict_json(done.raw)
    assert [matrix["rows"] for matrix in found["matrices"][:4]] == [12, 12, 6, 6]
    assert found["command"].startswith("rankscope model bert --text essay.txt --text short.txt")


def test_without_a_text_the_default_one_is_read(models: Models) -> None:
    done = called("model", models("bert"), *EFFECTIVE)
    assert done.status == 0
    assert "of the default text the first 64 tokens are used" in done.stderr


def test_a_model_of_images_wants_one(read: Callable[..., Ended]) -> None:
    refused(read("vit"), 2, "RS003: vit, a model of images, without one. Add --image FILE")


def test_a_broken_image_ends_with_3(models: Models, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    refused(
        called("model", models("vit"), "--image", tmp_path / "a.png"), 3, "RS203", "'a.png' cannot be read as an image"
    )


def test_an_image_for_a_model_of_text_ends_with_3(models: Models, tmp_path: Path) -> None:
    refused(
        called("model", models("bert"), "--image", tmp_path / "a.png"), 3, "RS215", "Give --text to a model of text"
    )


# ------------------------------------------------------------------------------------------------- folders of strangers

Spoil = Callable[[Path, Path], object]


def without_weights(folder: Path) -> Path:
    (folder / "model.safetensors").unlink()
    return folder


def of_own_kind(folder: Path, canary: Path) -> None:
    changed(folder / "config.json", model_type="own", auto_map={"AutoConfig": "own.Own", "AutoModel": "own.Own"})
    (folder / "own.py").write_text(code_with_canary(canary), encoding="utf-8")


def linked(path: Path, to: object) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(str(to))


HOSTILE: dict[str, tuple[str, Spoil]] = {
    "pickles": ("RS212", lambda f, c: (without_weights(f) / "pytorch_model.bin").write_bytes(pickle_with_canary(c))),
    "own code": ("RS213", of_own_kind),
    "an adapter": ("RS212", lambda f, c: write_json(f / "adapter_config.json", {})),
    "quantised": ("RS213", lambda f, c: changed(f / "config.json", quantization_config={"quant_method": "gptq"})),
    "no weights": ("RS212", lambda f, c: without_weights(f)),
    "weights of another": ("RS215", lambda f, c: changed(f / "config.json", intermediate_size=24)),
    "weights cut": ("RS202", lambda f, c: os.truncate(f / "model.safetensors", 5000)),
    "weights empty": ("RS202", lambda f, c: os.truncate(f / "model.safetensors", 0)),
    "weights elsewhere": ("RS214", lambda f, c: linked(f / "model.safetensors", "../../elsewhere.safetensors")),
    "tokenizer elsewhere": ("RS214", lambda f, c: linked(f / "tokenizer.json", "/etc/passwd")),
    "configuration elsewhere": ("RS214", lambda f, c: linked(f / "config.json", "/etc/passwd")),
    "a folder elsewhere": ("RS214", lambda f, c: linked(f / "additional_chat_templates", "/etc")),
    "a pipe": ("RS215", lambda f, c: os.mkfifo(f / "vocab.txt")),
    "NaN": ("RS203", lambda f, c: (f / "config.json").write_bytes(b'{"model_type": "bert", "x": NaN}')),
    "depth": ("RS203", lambda f, c: (f / "config.json").write_bytes(b"[" * 10**5)),
    "width": ("RS215", lambda f, c: changed(f / "config.json", hidden_size=10**9)),
    "layers": ("RS215", lambda f, c: changed(f / "config.json", num_hidden_layers=10**8)),
    "no tokenizer": ("RS215", lambda f, c: (f / "tokenizer_config.json").unlink()),
    "broken tokenizer": ("RS215", lambda f, c: (f / "tokenizer.json").write_bytes(b"{")),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_folder_that_is_not_what_it_says_ends_with_3_and_runs_nothing(
    case: str, models: Models, essay: Path, tmp_path: Path
) -> None:
    code, spoil = HOSTILE[case]
    folder, canary = models.copied("bert", tmp_path), tmp_path / "canary"
    spoil(folder, canary)
    line = refused(called("model", folder, "--text", essay), 3, f"rankscope: {code}: ")
    assert "'bert'" in line or "'model.safetensors'" in line
    assert str(tmp_path) not in line
    assert not canary.exists()


def test_code_beside_a_model_of_the_library_is_not_run_and_that_is_told(
    models: Models, essay: Path, tmp_path: Path, read: Callable[..., Ended]
) -> None:
    folder, canary = models.copied("bert", tmp_path), tmp_path / "canary"
    (folder / "modeling_own.py").write_text(code_with_canary(canary), encoding="utf-8")
    (folder / "pytorch_model.bin").write_bytes(pickle_with_canary(canary))
    changed(folder / "config.json", auto_map={"AutoModel": "modeling_own.Own"})
    changed(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["modeling_own.Own", None]})
    done = called("model", folder, "--text", essay, "-f", "json", *EFFECTIVE)
    assert strict_json(done.raw)["records"] == strict_json(read("bert", "-f", "json", *EFFECTIVE).raw)["records"]
    listed = "modeling_own.py, auto_map in config.json, auto_map in tokenizer_config.json, pytorch_model.bin"
    assert f"rankscope: not read, as nothing here needs it: {listed}\n" in done.stderr
    assert not canary.exists()


def test_a_cached_model_is_found_by_its_name(
    models: Models, essay: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: Callable[..., Any]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    top = tmp_path / "models--own--model"
    shutil.copytree(models("bert"), top / "blobs")
    (top / "snapshots" / "0123").mkdir(parents=True)
    (top / "refs").mkdir()
    (top / "refs" / "main").write_text("0123", encoding="ascii")
    for each in (top / "blobs").iterdir():
        linked(top / "snapshots" / "0123" / each.name, f"../../blobs/{each.name}")
    for name in ("own/model", top / "snapshots" / "0123"):
        found = strict_json(called("model", name, "--text", essay, *EFFECTIVE, "-f", "json").raw)
        assert {matrix["source"] for matrix in found["matrices"]} == {"own/model"}
        assert found["command"].startswith("rankscope model own/model --text essay.txt")
        assert found["records"] == document("bert", *EFFECTIVE)["records"]


@pytest.mark.parametrize("name", ["nobody/nothing", "/no/such/folder", "a" * 3000, "\x1b[2J"])
def test_a_model_that_is_nowhere_ends_with_6(
    name: str, essay: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    refused(called("model", name, "--text", essay), 6, "RS501", "is neither a folder nor in the local cache")


def test_a_file_in_the_place_of_a_folder_ends_with_6(models: Models, essay: Path) -> None:
    path = models("bert") / "model.safetensors"
    refused(called("model", path, "--text", essay), 6, "RS501: 'model.safetensors' is no folder")


def test_debug_shows_where_a_folder_failed(models: Models, essay: Path, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    (folder / "tokenizer.json").write_bytes(b"{")
    assert without_traceback(called("model", folder, "--text", essay))
    with pytest.raises(Exception, match="RS215") as caught:
        called("model", folder, "--text", essay, "--debug")
    assert caught.value.__cause__ is not None
