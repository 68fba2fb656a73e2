"""What a model is given: tokens of a text, or the pixels of an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rankscope.errors import error
from rankscope.generators.pretrained.directory import INDEX, PROCESSORS, TOKENIZER, Directory, entries, staged
from rankscope.generators.pretrained.loading import blamed, config_of, quietly, transformers_module
from rankscope.generators.stored import displayed, opened

DEFAULT_LENGTH: Final = 512
"""Tokens of a text unless another number is given, or the model takes fewer."""

LONGEST_TEXT: Final = 64 * 2**20
"""The most bytes of a text."""

LARGEST_IMAGE: Final = 2**14
"""The most pixels of a side to which a processor may stretch an image."""

TABLELESS: Final = (INDEX, "added_tokens.json", "special_tokens_map.json")
"""Files that hold no words of a tokenizer, or only a few."""

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


def from_stdin() -> Text:
    """The text on stdin, which may have no end."""
    import sys

    return checked("stdin", sys.stdin.buffer.read(LONGEST_TEXT + 1))


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

    if longest is not None and limit is not None and longest > limit:
        raise error("RS002", f"--max-length {longest}", f"the model takes at most {limit} tokens")
    if batch > 1 and len(texts) > 1:
        raise error("RS003", f"--batch {batch} with {len(texts)} texts", "give one text, which is cut into pieces")
    tokenizer = tokenizer_of(found)
    length = longest or min(limit or DEFAULT_LENGTH, DEFAULT_LENGTH, most_tokens(tokenizer))
    notes = []
    rows = []
    for text in texts:
        with blamed(found, f"the tokenizer of '{found.name}' failed"):
            pieces, more = pieces_of(tokenizer, text, length)
        if batch > 1 and (len(pieces) < batch or len(pieces[batch - 1]) < length):
            full = sum(len(piece) == length for piece in pieces)
            given = f"--batch {batch} of {displayed(text.name)}, which has {full} whole pieces of {length} tokens"
            raise error("RS002", given, "give a longer text, or a smaller --max-length")
        taken = pieces[: max(batch, 1)]
        rows += taken
        signs = tokenizer.num_special_tokens_to_add(pair=False)
        if (left := more + sum(len(piece) - signs for piece in pieces[len(taken) :])) > 0:
            used = sum(map(len, taken))
            notes.append(f"of {displayed(text.name)} the first {used} tokens are used, {left} are not")
        unknown, count = sum(row.count(tokenizer.unk_token_id) for row in taken), sum(map(len, taken))
        if 2 * unknown > count:
            notes.append(f"of {displayed(text.name)} the tokenizer does not know {unknown} of {count} tokens")
        if len(taken[0]) < 2:
            raise error("RS208", f"{displayed(text.name)} gives {len(taken[0])} token", "give a longer text")
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), int(tokenizer.pad_token_id or 0))
    shown = torch.zeros(len(rows), width, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        shown[number, : len(row)] = 1
    check_vocabulary(found, max(map(max, rows)))
    given_tokens: dict[str, Any] = {"input_ids": ids}
    if not bool(shown.all()):
        given_tokens["attention_mask"] = shown
    return given_tokens, notes


def most_tokens(tokenizer: Any) -> int:
    """The most tokens that a tokenizer says its model takes; many for none."""
    found = tokenizer.model_max_length
    return int(found) if isinstance(found, int | float) and 2 <= found < 2**31 else 2**31


def pieces_of(tokenizer: Any, text: Text, length: int) -> tuple[list[list[int]], int]:
    """The tokens of a text in pieces of at most so many, each with the signs that begin and end a text.

    A tokenizer that is written in Python gives the first piece only, and the number of tokens that are left.
    """
    extra = tokenizer.num_special_tokens_to_add(pair=False)
    if length <= extra:
        raise error("RS002", f"--max-length {length}", f"give more than {extra}: a text has so many signs of its own")
    found = tokenizer(text.content, truncation=True, max_length=length, return_overflowing_tokens=True)
    if not tokenizer.is_fast:
        return [list(found["input_ids"])], len(found.get("overflowing_tokens", ()))
    return [list(piece) for piece in found["input_ids"]], 0


def check_vocabulary(found: Directory, largest: int) -> None:
    """Refuse a tokenizer with tokens that its model has not."""
    config = config_of(found)
    size = getattr(getattr(config, "text_config", config), "vocab_size", None)
    if isinstance(size, int) and largest >= size:
        given = f"the tokenizer of '{found.name}' gives token {largest}, and the model has {size}"
        raise error("RS215", given, "give a model with its own tokenizer")


def tokenizer_of(found: Directory) -> Any:
    """The tokenizer of a model, by a class of the library's own."""
    transformers = transformers_module()
    if TOKENIZER not in found.configs:
        remedy = "save it beside the model: tokenizer.save_pretrained(FOLDER)"
        raise error("RS215", f"'{found.name}' holds no tokenizer ({TOKENIZER})", remedy)
    if f"auto_map in {TOKENIZER}" in found.code and "tokenizer.json" not in found.files:
        given = f"the tokenizer of '{found.name}' is code of its own, which would have to run"
        raise error("RS213", given, "load it yourself, where you trust it, and use rankscope.capture(model)")
    config = config_of(found)
    with (
        quietly(transformers),
        staged(found) as folder,
        blamed(found, f"the tokenizer of '{found.name}' could not be loaded", folder),
    ):
        made = transformers.AutoTokenizer.from_pretrained(
            str(folder), config=config, local_files_only=True, trust_remote_code=False
        )
    if made.is_fast and not set(found.files) - set(TABLELESS):  # some classes are made without words then
        given = f"'{found.name}' holds a tokenizer's configuration, and no words of it"
        raise error("RS215", given, "save the whole tokenizer beside the model: tokenizer.save_pretrained(FOLDER)")
    return made


def pixels_of(found: Directory, path: Path) -> dict[str, Any]:
    """What a model of images is given."""
    transformers = transformers_module()
    preparing = [found.configs[name] for name in PROCESSORS if name in found.configs]
    if not preparing:
        remedy = "give --text to a model of text; save the processor beside a model of images"
        raise error("RS215", f"'{found.name}' holds nothing that prepares images ({PROCESSORS[0]})", remedy)
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
    for key, value in entries(preparing):
        if key in ("size", "crop_size", "height", "width") and type(value) is int and value > LARGEST_IMAGE:
            given = f"the image processor of '{found.name}' is set to a {key} of {displayed(str(value))}"
            raise error("RS215", given, "give the model's own files")
    with (
        quietly(transformers),
        staged(found) as folder,
        blamed(found, f"the image processor of '{found.name}' failed", folder),
    ):
        processor = transformers.AutoImageProcessor.from_pretrained(
            str(folder), config=config_of(found), local_files_only=True, trust_remote_code=False
        )
        return dict(processor(image, return_tensors="pt"))
