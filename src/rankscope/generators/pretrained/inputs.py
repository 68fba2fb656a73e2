"""What a model is given: tokens of a text, or the pixels of an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rankscope.errors import error
from rankscope.generators.pretrained.directory import LONGEST_INDEX, Directory, inside, read_json
from rankscope.generators.pretrained.loading import quietly, transformers_module
from rankscope.generators.stored import displayed, opened

DEFAULT_LENGTH: Final = 512
"""Tokens of a text unless another number is given, or the model takes fewer."""

LONGEST_TEXT: Final = 64 * 2**20
"""The most bytes of a text."""

TOKENIZER: Final = "tokenizer_config.json"

SAMPLE: Final = "sample.txt"
"""The text that ships with the package."""


@dataclass(frozen=True)
class Text:
    """A text and what it is called; `content` is not shown in the record of a study, its digest is."""

    name: str
    content: str

    @property
    def digest(self) -> str:
        """The SHA-256 of the text in UTF-8."""
        import hashlib

        return hashlib.sha256(self.content.encode()).hexdigest()


def sample_text() -> Text:
    """The short text that ships with the package."""
    return Text("the default text", Path(__file__).with_name(SAMPLE).read_text(encoding="utf-8"))


def text_of(path: Path) -> Text:
    """The text in a file: UTF-8, and not empty."""
    with opened(path) as file:
        content = file.read(LONGEST_TEXT + 1)
    return checked(path.name, content)


def checked(name: str, content: bytes) -> Text:
    """A text from its bytes."""
    what = f"the text '{displayed(name)}'"
    if len(content) > LONGEST_TEXT:
        raise error("RS301", f"{what} has more than {LONGEST_TEXT} bytes", "give a part of it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise error("RS203", f"{what} is not UTF-8 (byte {reason.start})", "save it as UTF-8") from reason
    if not text.strip():
        raise error("RS208", f"{what} is empty", "give some words")
    return Text(name, text)


def tokens_of(
    found: Directory, texts: Sequence[Text], longest: int | None, batch: int, limit: int | None
) -> tuple[dict[str, Any], list[str]]:
    """What a model of text is given: each text cut to a length, or one text in several pieces of it; and notes.

    `limit` is the most tokens that the model takes.
    """
    import torch

    tokenizer = tokenizer_of(found)
    if longest is not None and limit is not None and longest > limit:
        raise error("RS002", f"--max-length {longest}", f"the model takes at most {limit} tokens")
    length = longest or min(limit or DEFAULT_LENGTH, DEFAULT_LENGTH)
    if batch > 1 and len(texts) > 1:
        raise error("RS003", f"--batch {batch} with {len(texts)} texts", "give one text, which is cut into pieces")
    notes = []
    rows = []
    for text in texts:
        pieces = pieces_of(tokenizer, text, length)
        whole = sum(map(len, pieces))
        if batch > 1 and (len(pieces) < batch or len(pieces[batch - 1]) < length):
            full = sum(len(piece) == length for piece in pieces)
            given = f"--batch {batch} of {text.name}, which has {full} whole pieces of {length} tokens"
            raise error("RS002", given, "give a longer text, or a smaller --max-length")
        taken = pieces[: max(batch, 1)]
        rows += taken
        if (left := whole - sum(map(len, taken))) > 0:
            notes.append(f"of {displayed(text.name)} the first {sum(map(len, taken))} tokens are used, {left} are not")
    width = max(map(len, rows))
    if width < 2:
        raise error("RS208", f"{displayed(texts[0].name)} gives {width} token", "give a longer text")
    ids = torch.full((len(rows), width), int(tokenizer.pad_token_id or 0))
    shown = torch.zeros(len(rows), width, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        shown[number, : len(row)] = 1
    given_tokens: dict[str, Any] = {"input_ids": ids}
    if not bool(shown.all()):
        given_tokens["attention_mask"] = shown
    return given_tokens, notes


def pieces_of(tokenizer: Any, text: Text, length: int) -> list[list[int]]:
    """The tokens of a text in pieces of at most so many, each with the signs that begin and end a text."""
    extra = tokenizer.num_special_tokens_to_add(pair=False)
    if length <= extra:
        raise error("RS002", f"--max-length {length}", f"give more than {extra}: a text has so many signs of its own")
    if not tokenizer.is_fast:
        return [list(tokenizer(text.content, truncation=True, max_length=length)["input_ids"])]
    found = tokenizer(text.content, truncation=True, max_length=length, return_overflowing_tokens=True)["input_ids"]
    return [list(piece) for piece in found]


def tokenizer_of(found: Directory) -> Any:
    """The tokenizer of a model, by a class of the library's own."""
    transformers = transformers_module()
    name = displayed(found.path.name)
    if not (found.path / TOKENIZER).exists():
        remedy = "save it beside the model: tokenizer.save_pretrained(FOLDER)"
        raise error("RS215", f"'{name}' holds no tokenizer ({TOKENIZER})", remedy)
    read_json(found.path, TOKENIZER, LONGEST_INDEX)
    with quietly(transformers):
        try:
            return transformers.AutoTokenizer.from_pretrained(
                str(found.path), local_files_only=True, trust_remote_code=False
            )
        except Exception as reason:  # files that a stranger wrote can fail in any way
            given = f"the tokenizer of '{name}' could not be loaded ({type(reason).__name__})"
            raise error("RS215", given, "check it with transformers itself; --debug shows where it failed") from reason


def pixels_of(found: Directory, path: Path) -> dict[str, Any]:
    """What a model of images is given."""
    transformers = transformers_module()
    inside(found.path, "preprocessor_config.json")
    try:
        from PIL import Image
    except ImportError as reason:
        raise error("RS004", "an image without Pillow", "install it with: pip install pillow") from reason
    with opened(path) as file:
        try:
            image = Image.open(file).convert("RGB")
        except Exception as reason:  # a damaged image can make the reader fail in any way
            given = f"'{displayed(path.name)}' cannot be read as an image ({type(reason).__name__})"
            raise error("RS203", given, "give a .png or .jpg file") from reason
    with quietly(transformers):
        try:
            processor = transformers.AutoImageProcessor.from_pretrained(
                str(found.path), local_files_only=True, trust_remote_code=False
            )
            return dict(processor(image, return_tensors="pt"))
        except Exception as reason:
            given = f"the image processor of '{displayed(found.path.name)}' failed ({type(reason).__name__})"
            raise error("RS215", given, "check it with transformers itself; --debug shows where it failed") from reason
