"""What a model is given: the tokens of a text as the library makes them, cut or filled up, or pixels of an image."""

import io
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rankscope.errors import RankscopeError
from rankscope.generators.pretrained import inputs
from rankscope.generators.pretrained.directory import Directory, directory
from rankscope.generators.pretrained.inputs import (
    LONGEST_TEXT,
    Text,
    checked,
    from_stdin,
    pixels_of,
    sample_text,
    text_of,
    tokenizer_of,
    tokens_of,
)
from tests.generators.tiny import LENGTH, WORDS, Models, changed, code_with_canary, text, write_json

pytestmark = pytest.mark.usefixtures("tried")


@pytest.fixture
def bert(models: Models) -> Directory:
    return directory(models("bert"))


def refused(code: str, function: Any, *arguments: Any) -> RankscopeError:
    with pytest.raises(RankscopeError) as caught:
        function(*arguments)
    reason = caught.value
    assert reason.code == code, str(reason)
    assert str(reason).isprintable()
    assert "/tmp" not in str(reason)
    return reason


# ------------------------------------------------------------------------------------------------------- texts as files


def test_a_text_is_read_as_utf_8(tmp_path: Path) -> None:
    (tmp_path / "essay.txt").write_text("größer\r\n", encoding="utf-8", newline="")
    assert text_of(tmp_path / "essay.txt") == Text("essay.txt", "größer\r\n")


def test_a_byte_order_mark_is_no_word() -> None:
    assert checked("essay.txt", b"\xef\xbb\xbfw1 w2").content == "w1 w2"


def test_the_digest_of_a_text_is_that_of_its_words_alone() -> None:
    known = "486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7"
    assert {checked("a", b"world").digest, checked("b", b"\xef\xbb\xbfworld").digest} == {known}


@pytest.mark.parametrize("content", [b"", b" \t\r\n", b"\xef\xbb\xbf", "\u2003\u00a0".encode()])
def test_a_text_without_words_is_refused(content: bytes) -> None:
    assert "the text 'essay.txt' is empty" in refused("RS208", checked, "essay.txt", content).given


@pytest.mark.parametrize(
    ("content", "at"), [(b"w1 \xff", 3), (b"\xff\xfew\x001\x00", 0), (b"w1 \xed\xa0\x80", 3), (b"w\xc3", 1)]
)
def test_a_text_that_is_not_utf_8_says_where(content: bytes, at: int) -> None:
    reason = refused("RS203", checked, "essay.txt", content)
    assert f"'essay.txt' is not UTF-8 (byte {at})" in reason.given
    assert "save it as UTF-8" in reason.remedy


def test_a_name_of_a_text_is_shown_inert() -> None:
    refused("RS208", checked, "a\x1b[2J.txt", b"")


def test_a_text_that_is_missing_or_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("none.txt", ".", "pipe"):
        refused("RS501", text_of, tmp_path / name)


def test_a_text_beyond_all_use_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "long.txt").open("wb") as file:
        file.truncate(2**40)
    assert f"more than {LONGEST_TEXT} bytes" in refused("RS301", text_of, tmp_path / "long.txt").given


class Endless(io.RawIOBase):
    """A file without an end, which is read in pieces of a mebibyte."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), 2**20)
        buffer[:size] = b"x" * size
        return size


def test_stdin_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Endless())))
    assert "the text 'stdin' has more than" in refused("RS301", from_stdin).given


def test_the_default_text_is_long_enough_for_most_uses() -> None:
    found = sample_text()
    assert found.name == "the default text"
    assert len(found.content.split()) > 100
    assert found.content.isascii()


# --------------------------------------------------------------------------------------------------------------- tokens


def given(
    found: Directory, *contents: str, longest: int | None = None, batch: int = 1, limit: int | None = LENGTH
) -> Any:
    texts = [Text(f"{number}.txt", each) for number, each in enumerate(contents)]
    return tokens_of(found, texts, longest, batch, limit)


def test_tokens_are_those_that_the_library_makes(models: Models) -> None:
    from transformers import AutoTokenizer

    for name, content in (("bert", text(10)), ("gpt2", "größer 🙂")):
        found, notes = given(directory(models(name)), content)
        expected = AutoTokenizer.from_pretrained(str(models(name)))(content)["input_ids"]
        assert found["input_ids"].tolist() == [expected]
        assert found["input_ids"].dtype == torch.int64
        assert "attention_mask" not in found
        assert notes == []


def test_words_and_signs_are_what_they_are_called(bert: Directory) -> None:
    found, _ = given(bert, "w0 w1 unheard-of")
    assert found["input_ids"].tolist() == [[2, 4, 5, 1, 3]]


def test_a_long_text_is_cut_and_the_words_that_are_left_are_counted(bert: Directory) -> None:
    found, notes = given(bert, text(100))
    assert found["input_ids"].shape == (1, LENGTH)
    assert found["input_ids"][0, [0, -1]].tolist() == [2, 3]
    assert notes == [f"of 0.txt the first {LENGTH} tokens are used, {100 - (LENGTH - 2)} are not"]


def test_a_text_that_just_fits_is_not_cut(bert: Directory) -> None:
    found, notes = given(bert, text(LENGTH - 2))
    assert (found["input_ids"].shape, notes) == ((1, LENGTH), [])


@pytest.mark.parametrize("longest", [4, 9, LENGTH])
def test_a_text_is_cut_where_that_is_asked_for(longest: int, bert: Directory) -> None:
    found, [note] = given(bert, text(100), longest=longest)
    assert found["input_ids"].shape == (1, longest)
    assert note.endswith(f"the first {longest} tokens are used, {102 - longest} are not")


def test_more_tokens_than_the_model_takes_are_refused(bert: Directory) -> None:
    reason = refused("RS002", lambda: given(bert, text(9), longest=LENGTH + 1))
    assert (reason.given, reason.remedy) == ("--max-length 65", "the model takes at most 64 tokens")


def test_without_a_limit_a_text_is_cut_at_512(bert: Directory) -> None:
    assert given(bert, text(1000), limit=None)[0]["input_ids"].shape == (1, 512)
    assert given(bert, text(1000), limit=None, longest=700)[0]["input_ids"].shape == (1, 700)


def test_a_text_is_cut_where_the_tokenizer_says_that_the_model_ends(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "tokenizer_config.json", model_max_length=20)
    assert given(directory(folder), text(100))[0]["input_ids"].shape == (1, 20)
    assert given(directory(folder), text(100), longest=30)[0]["input_ids"].shape == (1, 30)


@pytest.mark.parametrize("most", [0, -1, 1e30, None])
def test_a_tokenizer_that_says_nothing_of_use_sets_no_limit(most: Any, models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "tokenizer_config.json", model_max_length=most)
    assert given(directory(folder), text(100))[0]["input_ids"].shape == (1, LENGTH)


def test_a_length_that_the_signs_fill_alone_is_refused(bert: Directory) -> None:
    assert "give more than 2" in refused("RS002", lambda: given(bert, text(9), longest=2)).remedy


def test_one_token_is_no_text(models: Models) -> None:
    gpt2 = directory(models("gpt2"))
    assert "0.txt gives 1 token" in refused("RS208", lambda: given(gpt2, "x")).given
    assert "1.txt gives 1 token" in refused("RS208", lambda: given(gpt2, "longer", "x")).given
    assert given(gpt2, "xy")[0]["input_ids"].shape == (1, 2)


def test_one_word_between_signs_is_a_text(bert: Directory) -> None:
    assert given(bert, "w1")[0]["input_ids"].shape == (1, 3)


def test_texts_of_different_length_are_filled_up_behind(bert: Directory) -> None:
    found, notes = given(bert, text(3), text(9, 5), text(1))
    ids, mask = found["input_ids"], found["attention_mask"]
    assert (ids.shape, notes) == ((3, 11), [])
    assert mask.sum(dim=1).tolist() == [5, 11, 3]
    for row, content in enumerate((text(3), text(9, 5), text(1))):
        alone = given(bert, content)[0]["input_ids"]
        assert ids[row, : alone.shape[1]].tolist() == alone[0].tolist()
        assert set(ids[row, alone.shape[1] :].tolist()) <= {0}
        assert mask[row].tolist() == [1] * alone.shape[1] + [0] * (11 - alone.shape[1])


def test_a_tokenizer_without_padding_is_filled_up_too(models: Models) -> None:
    found, _ = given(directory(models("gpt2")), "abc", "abcdef")
    assert found["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6]


def test_each_text_is_cut_and_told_for_itself(bert: Directory) -> None:
    found, notes = given(bert, text(20), text(4), text(30), longest=10)
    assert found["input_ids"].shape == (3, 10)
    assert notes == [
        "of 0.txt the first 10 tokens are used, 12 are not",
        "of 2.txt the first 10 tokens are used, 22 are not",
    ]


# -------------------------------------------------------------------------------------------------------------- batches


def test_a_text_in_pieces_is_all_there_and_in_order(bert: Directory) -> None:
    found, notes = given(bert, text(24), longest=10, batch=3)
    ids = found["input_ids"]
    assert (ids.shape, notes) == ((3, 10), [])
    assert ids[:, 0].tolist() == [2] * 3
    assert ids[:, -1].tolist() == [3] * 3
    assert [WORDS[number - 4] for number in ids[:, 1:-1].flatten().tolist()] == text(24).split()


def test_the_rest_behind_whole_pieces_is_counted_without_signs(bert: Directory) -> None:
    found, [note] = given(bert, text(29), longest=10, batch=2)
    assert found["input_ids"].shape == (2, 10)
    assert note == "of 0.txt the first 20 tokens are used, 13 are not"


def test_a_text_that_is_too_short_for_its_pieces_says_how_many_it_has(bert: Directory) -> None:
    for words, whole in ((7, 0), (15, 1), (23, 2)):
        reason = refused("RS002", partial(given, bert, text(words), longest=10, batch=3))
        assert reason.given == f"--batch 3 of 0.txt, which has {whole} whole pieces of 10 tokens"


def test_several_texts_are_not_cut_into_pieces(bert: Directory) -> None:
    assert "--batch 2 with 2 texts" in refused("RS003", lambda: given(bert, text(9), text(9), batch=2)).given


# ----------------------------------------------------------------------------------------------------------- tokenizers


def test_a_folder_without_tokenizer_is_refused(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    (folder / "tokenizer_config.json").unlink()
    reason = refused("RS215", lambda: given(directory(folder), text(9)))
    assert "holds no tokenizer (tokenizer_config.json)" in reason.given
    assert "tokenizer.save_pretrained(FOLDER)" in reason.remedy


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b'{"added_tokens": [], "model": {"type": "Own"}}', b"[" * 10**5], ids=repr
)
def test_a_broken_tokenizer_is_refused(content: bytes, models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    (folder / "tokenizer.json").write_bytes(content)
    reason = refused("RS215", lambda: given(directory(folder), text(9)))
    assert "the tokenizer of 'bert' could not be loaded" in reason.given


@pytest.mark.parametrize(
    "said",
    [
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AA=="}},
        {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
        {"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "X", "type_id": 0}}],
                            "pair": [], "special_tokens": {}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_tokenizer_that_panics_is_refused(said: dict[str, Any], models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "tokenizer.json", **said)
    reason = refused("RS215", lambda: given(directory(folder), text(9)))
    assert "the tokenizer of 'bert'" in reason.given


def test_a_tokenizer_with_tokens_that_the_model_has_not_is_refused(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "config.json", vocab_size=50)
    reason = refused("RS215", lambda: given(directory(folder), text(60)))
    assert reason.given == "the tokenizer of 'bert' gives token 63, and the model has 50"
    assert given(directory(folder), "w1 w2")[0]["input_ids"].tolist() == [[2, 5, 6, 3]]


@pytest.mark.parametrize("class_name", ["OwnTokenizer", "OwnTokenizerFast", "PreTrainedTokenizerFast", None])
def test_code_of_a_tokenizer_is_not_run_where_its_tables_are_enough(
    class_name: str | None, models: Models, tmp_path: Path
) -> None:
    folder = models.copied("bert", tmp_path)
    named = {"AutoTokenizer": ["own.OwnTokenizer", "own.OwnTokenizerFast"]}
    changed(folder / "tokenizer_config.json", auto_map=named, tokenizer_class=class_name)
    changed(folder / "config.json", auto_map={"AutoTokenizer": "own.OwnTokenizer"})
    (folder / "own.py").write_text(code_with_canary(tmp_path / "canary"), encoding="utf-8")
    assert given(directory(folder), "w0 w1")[0]["input_ids"].tolist() == [[2, 4, 5, 3]]
    assert not (tmp_path / "canary").exists()


def test_a_tokenizer_that_is_code_alone_is_refused(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    changed(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]}, tokenizer_class="Own")
    (folder / "own.py").write_text(code_with_canary(tmp_path / "canary"), encoding="utf-8")
    (folder / "tokenizer.json").unlink()
    assert "is code of its own" in refused("RS213", tokenizer_of, directory(folder)).given
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "key", ["vocab_file", "tokenizer_file", "vocab", "special_tokens_map_file", "merges", "gguf_file"]
)
@pytest.mark.parametrize("class_name", ["BertTokenizer", "TokenizersBackend"])
def test_a_tokenizer_reads_no_file_that_its_configuration_names(
    key: str, class_name: str, models: Models, tmp_path: Path
) -> None:
    folder = models.copied("bert", tmp_path)
    (folder / "tokenizer.json").unlink()
    (tmp_path / "secret.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nsecret\n", encoding="utf-8")
    changed(folder / "tokenizer_config.json", tokenizer_class=class_name, **{key: str(tmp_path / "secret.txt")})
    refused("RS215", tokenizer_of, directory(folder))


@pytest.mark.parametrize("key", ["vocab_file", "vocab"])
def test_the_words_of_a_tokenizer_are_those_of_its_folder(key: str, models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nown\n", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nsecret\n", encoding="utf-8")
    changed(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer", **{key: str(tmp_path / "secret.txt")})
    assert {"own", "secret"} & set(tokenizer_of(directory(folder)).get_vocab()) == {"own"}


def test_a_tokenizer_without_its_words_is_refused(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    (folder / "tokenizer.json").unlink()
    write_json(folder / "special_tokens_map.json", {})
    changed(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    assert "no words of it" in refused("RS215", tokenizer_of, directory(folder)).given


def test_a_tokenizer_may_be_a_list_of_words(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]), encoding="utf-8")
    changed(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    assert given(directory(folder), "w0 w1")[0]["input_ids"].tolist() == [[2, 4, 5, 3]]


def test_words_that_the_tokenizer_does_not_know_are_told_where_they_are_most(bert: Directory) -> None:
    assert given(bert, "w1 w2 what")[1] == []
    assert given(bert, "what is this")[1] == ["of 0.txt the tokenizer does not know 3 of 5 tokens"]


def test_a_tokenizer_of_another_version_is_not_taken_from_elsewhere(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    (tmp_path / "tokenizer.4.0.0.json").write_bytes((folder / "tokenizer.json").read_bytes())
    changed(folder / "tokenizer_config.json", fast_tokenizer_files=["../tokenizer.4.0.0.json"])
    assert given(directory(folder), "w0 w1")[0]["input_ids"].tolist() == [[2, 4, 5, 3]]
    (folder / "tokenizer.json").unlink()
    refused("RS215", lambda: given(directory(folder), text(9)))


def test_a_tokenizer_that_is_written_in_python_is_cut_and_counted(tmp_path: Path, models: Models) -> None:
    from transformers import ByT5Tokenizer

    folder = models.copied("bert", tmp_path)
    (folder / "tokenizer.json").unlink()
    ByT5Tokenizer(extra_ids=0).save_pretrained(folder)
    changed(folder / "config.json", vocab_size=300)
    found = directory(folder)
    assert not tokenizer_of(found).is_fast
    assert given(found, "abc")[0]["input_ids"].tolist() == [[100, 101, 102, 1]]
    shown, notes = given(found, "abcdefghij", longest=6)
    assert shown["input_ids"].tolist() == [[100, 101, 102, 103, 104, 1]]
    assert notes == ["of 0.txt the first 6 tokens are used, 5 are not"]


# --------------------------------------------------------------------------------------------------------------- images


@pytest.fixture
def vit(models: Models) -> Directory:
    return directory(models("vit"))


def picture(home: Path, name: str = "a.png", size: tuple[int, int] = (16, 16), mode: str = "RGB") -> Path:
    from PIL import Image

    numbers = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(numbers).convert(mode).save(home / name)
    return home / name


def test_the_pixels_of_an_image_are_scaled_as_the_model_says(vit: Directory, tmp_path: Path) -> None:
    from PIL import Image

    path = picture(tmp_path)
    found = pixels_of(vit, path)
    expected = np.asarray(Image.open(path), dtype=np.float64).transpose(2, 0, 1) / 255 * 2 - 1
    shown = found["pixel_values"].double().numpy()
    assert shown.shape == (1, 3, 16, 16)
    assert np.abs(shown[0] - expected).max() <= 4 * 2.0**-24  # three operations on numbers of at most 2, in float32
    assert np.abs(shown).max() > 0.5


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_images_of_every_kind_are_made_to_fit(mode: str, vit: Directory, tmp_path: Path) -> None:
    name = "a.jpg" if mode == "CMYK" else "a.png"
    assert pixels_of(vit, picture(tmp_path, name, (40, 30), mode))["pixel_values"].shape == (1, 3, 16, 16)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_a_file_that_is_no_image_is_refused(content: bytes, vit: Directory, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert "'a.png' cannot be read as an image" in refused("RS203", pixels_of, vit, tmp_path / "a.png").given


def test_an_image_that_is_cut_is_refused(vit: Directory, tmp_path: Path) -> None:
    path = picture(tmp_path, size=(200, 200))
    path.write_bytes(path.read_bytes()[:5000])
    refused("RS203", pixels_of, vit, path)


def test_an_image_that_is_missing_is_refused(vit: Directory, tmp_path: Path) -> None:
    refused("RS501", pixels_of, vit, tmp_path / "none.png")


def test_an_image_that_unpacks_beyond_reason_is_refused(
    vit: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    assert "DecompressionBomb" in refused("RS203", pixels_of, vit, picture(tmp_path)).given


def test_code_that_prepares_images_is_not_run(models: Models, tmp_path: Path) -> None:
    folder = models.copied("vit", tmp_path)
    changed(folder / "preprocessor_config.json", auto_map={"AutoImageProcessor": "own.Own"})
    (folder / "own.py").write_text(code_with_canary(tmp_path / "canary"), encoding="utf-8")
    found = directory(folder)
    assert pixels_of(found, picture(tmp_path))["pixel_values"].shape == (1, 3, 16, 16)
    assert found.code == ("own.py", "auto_map in preprocessor_config.json")
    assert not (tmp_path / "canary").exists()


def test_what_prepares_images_may_stand_in_the_configuration_of_a_processor(models: Models, tmp_path: Path) -> None:
    import json

    folder = models.copied("vit", tmp_path)
    said = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    (folder / "preprocessor_config.json").unlink()
    write_json(folder / "processor_config.json", {"image_processor": said})
    assert pixels_of(directory(folder), picture(tmp_path))["pixel_values"].shape == (1, 3, 16, 16)


@pytest.mark.parametrize("size", [{"height": 10**6, "width": 10**6}, 10**6])
def test_an_image_is_not_stretched_beyond_reason(size: Any, models: Models, tmp_path: Path) -> None:
    folder = models.copied("vit", tmp_path)
    changed(folder / "preprocessor_config.json", size=size)
    assert "of 1000000" in refused("RS215", pixels_of, directory(folder), picture(tmp_path)).given


def test_a_processor_that_is_not_the_library_s_is_refused(models: Models, tmp_path: Path) -> None:
    folder = models.copied("bert", tmp_path)
    write_json(folder / "preprocessor_config.json", {"image_processor_type": "Own"})
    reason = refused("RS215", pixels_of, directory(folder), picture(tmp_path))
    assert "the image processor of 'bert' failed" in reason.given


def test_a_model_of_text_prepares_no_images(bert: Directory, tmp_path: Path) -> None:
    reason = refused("RS215", pixels_of, bert, picture(tmp_path))
    assert "holds nothing that prepares images (preprocessor_config.json)" in reason.given
    assert "give --text" in reason.remedy


def test_without_pillow_an_error_says_how_to_install_it(
    vit: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    assert "pip install pillow" in refused("RS004", inputs.pixels_of, vit, path).remedy
