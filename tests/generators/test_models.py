"""A trained model as a source of matrices: what it reads, which of its heads are kept, and that they are its own."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rankscope as rs
from rankscope.arrays import Float64
from rankscope.errors import RankscopeError
from rankscope.generators.models import Model, limit, wants_pixels
from rankscope.generators.pretrained.directory import directory
from rankscope.generators.pretrained.inputs import Text, sample_text
from tests.generators.tiny import LENGTH, Models, changed, text, write_json

pytestmark = pytest.mark.usefixtures("tried")

UNIT32 = 2.0**-24
"""The unit roundoff of float32."""


def reading(path: Path, *contents: str, **options: Any) -> Model:
    return Model(str(path), tuple(Text(f"{number}.txt", each) for number, each in enumerate(contents)), **options)


def matrices(model: Model) -> dict[str, Float64]:
    """The matrix of each head by its label."""
    return {job.origin.label: np.asarray(job.make()) for job in model.work().jobs}


def refused(code: str, model: Model) -> RankscopeError:
    with pytest.raises(RankscopeError) as caught:
        model.work()
    reason = caught.value
    assert reason.code == code, str(reason)
    assert "/tmp" not in str(reason)
    return reason


# ------------------------------------------------------------------------------------------------------ the model's own


@pytest.mark.parametrize("name", ["bert", "gpt2", "deberta"])
def test_the_matrices_are_those_that_the_model_itself_shows(name: str, models: Models) -> None:
    """Both in float64, so that what rounding leaves is far below the unit of float32; LLaMA's softmax never is."""
    from transformers import AutoModel, AutoTokenizer

    content = text(30)
    ids = AutoTokenizer.from_pretrained(str(models(name)))(content, return_tensors="pt")["input_ids"]
    loaded = AutoModel.from_pretrained(str(models(name)), attn_implementation="eager", dtype=torch.float64)
    with torch.no_grad():
        shown = loaded(ids[:, :LENGTH], output_attentions=True).attentions
    found = matrices(reading(models(name), content, dtype="float64"))
    assert list(found) == [f"layer {layer} head {head}" for layer in range(2) for head in range(2)]
    for layer, weights in enumerate(shown):
        for head, expected in enumerate(weights[0].numpy()):
            assert np.abs(found[f"layer {layer} head {head}"] - expected).max() <= UNIT32
            assert np.abs(expected - 1 / len(expected)).max() > 0.01


def test_an_encoder_and_a_decoder_read_the_same_text(models: Models) -> None:
    found = matrices(reading(models("t5"), text(10), dtype="float64"))
    assert [label.partition(" layer")[0] for label in found] == ["encoder"] * 4 + ["decoder"] * 4 + ["cross"] * 4
    assert {each.shape for each in found.values()} == {(12, 12)}
    assert np.array_equal(np.triu(found["decoder layer 0 head 0"], 1), np.zeros((12, 12)))
    assert all(np.count_nonzero(found[f"{stack} layer 1 head 1"]) == 144 for stack in ("encoder", "cross"))


def test_a_model_of_images_sees_one(models: Models, tmp_path: Path) -> None:
    from PIL import Image

    Image.linear_gradient("L").save(tmp_path / "a.png")
    model = Model(str(models("vit")), image=tmp_path / "a.png")
    assert {each.shape for each in matrices(model).values()} == {(17, 17)}  # 4 × 4 patches and the sign of the class
    assert (model.described()["image"], model.described()["tokens"], model.described()["texts"]) == ("a.png", None, [])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_an_image_is_given_in_the_type_of_the_model(dtype: str, models: Models, tmp_path: Path) -> None:
    from PIL import Image

    Image.linear_gradient("L").save(tmp_path / "a.png")
    model = Model(str(models("vit")), image=tmp_path / "a.png", dtype=dtype)
    assert model.described()["dtype"] == dtype
    assert len(matrices(model)) == 4


# -------------------------------------------------------------------------------------------------------- several texts


def of_first_layer(path: Path, content: str, count: int) -> Float64:
    """How far the entries of the first layer's matrices may be apart, computed twice in float32 from the same tokens.

    A query or a key is x W + b with a normalised x, so ‖x‖ ≤ √w (Cauchy and Schwarz): a product of w terms and what
    makes x of a token, 2w + 16 operations, misses it by at most γ √w ‖W_j‖ + γ |b_j| in its place j, γ = mu/(1 − mu)
    (Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1), and two of them are twice that apart. A score
    s = q·k/√d is then 2δ apart with δ below, and softmax changes a weight by at most the factor e^{2·2δ}.
    """
    from transformers import AutoModel

    model = AutoModel.from_pretrained(str(path))
    own, width = model.encoder.layer[0].attention.self, model.config.hidden_size
    gamma = (2 * width + 16) * UNIT32 / (1 - (2 * width + 16) * UNIT32)
    sizes, errors = [], []
    for part in (own.query, own.key):
        weight, bias = part.weight.detach().double().numpy(), part.bias.detach().double().numpy()
        largest = math.sqrt(width) * np.linalg.norm(weight, axis=1) + np.abs(bias)
        sizes.append(largest.reshape(2, -1))
        errors.append(gamma * sizes[-1])
    d = sizes[0].shape[1]
    delta = ((errors[0] * sizes[1] + sizes[0] * errors[1] + errors[0] * errors[1]).sum(axis=1)) / math.sqrt(d)
    return np.asarray(np.expm1(4 * delta))


def test_texts_of_different_length_are_each_what_they_are_alone(models: Models) -> None:
    contents = text(5), text(40, 3), text(17, 9)
    together = reading(models("bert"), *contents)
    found = matrices(together)
    for number, content in enumerate(contents):
        bounds = of_first_layer(models("bert"), content, len(content))
        for head in range(2):
            alone = matrices(reading(models("bert"), content))[f"layer 0 head {head}"]
            beside = found[f"text {number} layer 0 head {head}"]
            assert beside.shape == alone.shape == (len(content.split()) + 2,) * 2
            assert np.abs(beside - alone).max() <= bounds[head]
            assert bounds[head] < 0.01 < np.abs(alone - 1 / len(alone)).max()


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "deberta"])
def test_padding_changes_no_layer(name: str, models: Models) -> None:
    """In float64: what rounding sets apart there stays far below the unit of float32; what padding would does not."""
    contents = text(3), text(11, 3), text(7, 9)
    found = matrices(reading(models(name), *contents, dtype="float64"))
    for number, content in enumerate(contents):
        for label, alone in matrices(reading(models(name), content, dtype="float64")).items():
            assert found[f"text {number} {label}"].shape == alone.shape
            assert np.abs(found[f"text {number} {label}"] - alone).max() <= UNIT32


def test_padding_is_told_with_each_matrix(models: Models) -> None:
    found = [job.make().origin for job in reading(models("bert"), text(3), text(8)).work().jobs]
    assert {each.label[:6]: each.notes for each in found} == {"text 0": ("padding: 5 tokens left out",), "text 1": ()}


def test_texts_of_different_length_are_not_read_by_an_encoder_and_a_decoder(models: Models) -> None:
    reason = refused("RS003", reading(models("t5"), text(3), text(8)))
    assert "texts of different length for t5" in reason.given
    even = reading(models("t5"), text(30), text(8), max_length=10)
    assert {each.shape for each in matrices(even).values()} == {(10, 10)}


def test_a_text_in_pieces_is_read_piece_by_piece(models: Models) -> None:
    model = reading(models("bert"), text(24), max_length=10, batch=3)
    words = text(24).split()
    found = matrices(model)
    assert model.described()["tokens"] == [3, 10]
    for number in range(3):
        piece = " ".join(words[8 * number : 8 * number + 8])
        alone = matrices(reading(models("bert"), piece))["layer 0 head 0"]
        assert (
            np.abs(found[f"text {number} layer 0 head 0"] - alone).max() <= of_first_layer(models("bert"), piece, 10)[0]
        )


def test_without_a_text_the_default_one_is_read(models: Models) -> None:
    model = reading(models("gpt2"))
    assert model.described()["texts"] == [{"name": "the default text", "sha256": sample_text().digest}]
    assert model.described()["tokens"] == [1, LENGTH]
    [note] = model.work().notes
    assert note == f"of the default text the first 64 tokens are used, {len(sample_text().content) - 64} are not"


# ------------------------------------------------------------------------------------------------------- what is chosen


def test_some_layers_and_heads_are_those_of_all(models: Models) -> None:
    for name in ("bert", "deberta"):
        every, one = (
            matrices(reading(models(name), text(9), **options)) for options in ({}, {"layers": (1,), "heads": (0,)})
        )
        assert list(one) == ["layer 1 head 0"]
        assert np.array_equal(one["layer 1 head 0"], every["layer 1 head 0"])


@pytest.mark.parametrize("name", ["bert", "t5", "deberta"])
@pytest.mark.parametrize(
    ("options", "given"),
    [({"layers": (2,)}, "--layers 2"), ({"layers": (0, 7)}, "--layers 7"), ({"heads": (1, 2)}, "--heads 2")],
)
def test_layers_and_heads_that_the_model_has_not_are_refused(
    name: str, options: dict[str, Any], given: str, models: Models
) -> None:
    reason = refused("RS002", reading(models(name), text(9), **options))
    assert reason.given == f"{given} of {name}, which has 2"
    assert reason.remedy == "give numbers from 0 to 1"


def test_scores_that_are_no_products_are_made_again_when_they_are_measured(models: Models) -> None:
    model = reading(models("deberta"), text(9))
    captured, runs = model.captured, []
    model.loaded[1].register_forward_hook(lambda *_: runs.append(1))
    assert (captured.layers, captured.size, len(captured.jobs), runs) == ([], 0, 4, [])
    for job in captured.jobs:
        job.make()
    assert len(runs) == 2, "once for each layer"


# --------------------------------------------------------------------------------------------------------- what is told


def test_the_record_names_the_model_and_the_texts_and_no_folder(models: Models) -> None:
    model = reading(models("bert"), text(9), layers=(0,), heads=(1,))
    told = model.described()
    assert told["model"] == "bert"
    assert (told["architecture"], told["dtype"], told["tokens"]) == ("bert", "float32", [1, 11])
    assert (told["layers"], told["heads"], told["image"]) == ([0], [1], None)
    assert told["texts"] == [{"name": "0.txt", "sha256": Text("", text(9)).digest}]
    assert told["torch"] == torch.__version__
    assert str(models.home) not in str(told)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("models--own--model/snapshots/0123", "own/model"),
        ("models--gpt2/snapshots/0123", "gpt2"),
        ("a/b/", "b"),
        ("a\x1b[2J", r"a\x1b[2J"),
    ],
)
def test_a_model_is_called_by_its_folder_or_as_in_the_hub(path: str, name: str, tmp_path: Path) -> None:
    (tmp_path / path).mkdir(parents=True)
    assert Model(f"{tmp_path}/{path}").name == name


def test_a_model_by_name_is_called_so() -> None:
    assert (Model("own/model").name, Model("a" * 5000).name, Model("a\0b").name) == (
        "own/model",
        "a" * 119 + "…",
        r"a\x00b",
    )


def test_a_model_is_called_by_its_folder_even_where_it_is_the_working_one(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models("bert"))
    assert Model(".").name == "bert"


def test_what_is_ignored_in_a_folder_is_told(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    (folder / "own\x1b[2J.py").touch()
    (folder / "pytorch_model.bin").touch()
    assert reading(folder, text(9)).work().notes == (
        r"not read, as nothing here needs it: own\x1b[2J.py, pytorch_model.bin",
    )


def test_a_model_is_a_source_of_studies_and_of_analyses(models: Models) -> None:
    result = rs.analyze(reading(models("bert"), text(9)).captured, measures="effective_rank")
    assert [matrix.source for matrix in result.table.matrices] == ["bert"] * 4
    assert [(record.layer, record.head) for record in result.table] == [(0, 0), (0, 1), (1, 0), (1, 1)]


# ------------------------------------------------------------------------------------------------------ what is refused


def test_a_model_of_images_reads_no_text_and_one_of_text_sees_no_image(models: Models, tmp_path: Path) -> None:
    from PIL import Image

    Image.linear_gradient("L").save(tmp_path / "a.png")
    assert refused("RS003", reading(models("vit"), text(9))).remedy == "add --image FILE"
    of_text = Model(str(models("bert")), image=tmp_path / "a.png")
    assert "holds nothing that prepares images" in refused("RS215", of_text).given
    others: list[dict[str, Any]] = [{"texts": (Text("a", "b"),)}, {"max_length": 9}, {"batch": 2}]
    for options in others:
        refused("RS003", Model(str(models("vit")), image=tmp_path / "a.png", **options))


def test_what_the_model_cannot_read_is_no_traceback(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BertModel

    def fail(self: Any, input_ids: Any = None, **_: Any) -> Any:
        raise IndexError("index out of range in self")

    monkeypatch.setattr(BertModel, "forward", fail)
    reason = refused("RS215", reading(models("bert"), text(9)))
    assert reason.given == "'bert' failed as it read its input (IndexError: index out of range in self)"


def test_a_model_that_reads_neither_text_nor_images_is_refused(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.BertModel.main_input_name", "input_values")
    assert "a model that reads input_values" in refused("RS003", reading(models("bert"), text(9))).given


def test_code_that_would_be_needed_is_named_before_a_missing_tokenizer(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "config.json", model_type="own")
    (folder / "tokenizer_config.json").unlink()
    refused("RS213", reading(folder, text(9)))


def test_a_bad_text_is_refused_before_weights_are_read(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankscope.generators.models.model_of", None)
    refused("RS002", reading(models("bert"), text(9), max_length=LENGTH + 1))


def test_weights_that_are_no_numbers_are_an_error_of_the_matrices(models: Models, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = models.copied("bert", tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.1.attention.self.query.weight"][0, 0] = math.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RankscopeError, match="RS110"):
        rs.analyze(reading(folder, text(9), layers=(1,), heads=(0,)).captured)


# --------------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"max_position_embeddings": 64}, 64),
        ({"n_positions": 32, "max_position_embeddings": 64}, 32),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "camembert", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": "one"}, 513),
        ({"model_type": "llava", "text_config": {"max_position_embeddings": 99}}, 99),
        ({"max_position_embeddings": "64"}, None),
        ({"max_position_embeddings": True}, None),
        ({"max_position_embeddings": 0}, None),
        ({"text_config": ["max_position_embeddings"]}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_most_tokens_are_those_that_the_configuration_says(
    said: dict[str, Any], expected: int | None, models: Models, tmp_path: Path
) -> None:
    folder = models.copied("bert", tmp_path)
    write_json(folder / "config.json", {"model_type": "bert", **said})
    assert limit(directory(folder)) == expected


@pytest.mark.parametrize("name", ["roberta", "camembert", "mpnet", "esm", "bert", "gpt2", "bart"])
def test_a_model_takes_the_most_tokens_and_not_one_more(name: str) -> None:
    """What the configuration says, against the library itself."""
    from transformers import CONFIG_MAPPING, MODEL_MAPPING

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    if name == "bart":
        sizes = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8,
                 "encoder_attention_heads": 1, "decoder_attention_heads": 1}  # fmt: skip
    sizes |= {"vocab_size": 40, "max_position_embeddings": 20, "n_positions": 20}
    made = CONFIG_MAPPING[name].from_dict({**sizes, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2})
    own: Any = MODEL_MAPPING[type(made)]
    model = own(made).eval()
    found = limit_of(name, made.to_dict())
    assert found is not None
    with torch.no_grad():
        model(torch.full((1, found), 7))
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, found + 1), 7))


def limit_of(name: str, said: dict[str, Any]) -> int | None:
    from rankscope.generators.pretrained.directory import Directory

    return limit(Directory(Path(name), {"config.json": {**said, "model_type": name}}, (), (), 0, 0, 0, (), ()))


def test_a_model_of_images_is_told_by_its_configuration(models: Models) -> None:
    assert [wants_pixels(directory(models(name))) for name in ("vit", "bert", "t5")] == [True, False, False]
