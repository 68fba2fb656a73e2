"""Models of a few thousand random weights, each in a folder as it is shared, with a tokenizer of a few words."""

import json
import pickle
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from rankscope.generators.pretrained.loading import quietly

LENGTH: Final = 64
"""The most tokens that the models take which have a limit."""

WORDS: Final = [f"w{number}" for number in range(60)]
"""What the tokenizers of words know."""

SIZES: Final[dict[str, Any]] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.5,
}


def text(count: int, first: int = 0) -> str:
    """A text of so many words."""
    return " ".join(WORDS[(first + 7 * number) % len(WORDS)] for number in range(count))


# ----------------------------------------------------------------------------------------------------------- the models


def bert() -> Any:
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**SIZES, vocab_size=64, max_position_embeddings=LENGTH))


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2Model

    sizes: dict[str, Any] = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": LENGTH, "initializer_range": 0.5}
    return GPT2Model(GPT2Config(**sizes, vocab_size=257, bos_token_id=256, eos_token_id=256))


def llama() -> Any:
    from transformers import LlamaConfig, LlamaModel

    return LlamaModel(LlamaConfig(**SIZES, vocab_size=64, max_position_embeddings=LENGTH, num_key_value_heads=1))


def t5() -> Any:
    from transformers import T5Config, T5Model

    return T5Model(T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=64))


def deberta() -> Any:
    from transformers import DebertaV2Config, DebertaV2Model

    relative: dict[str, Any] = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
    return DebertaV2Model(DebertaV2Config(**SIZES, **relative, vocab_size=64, max_position_embeddings=LENGTH))


def vit() -> Any:
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(**SIZES, image_size=16, patch_size=4))


MODELS: Final[dict[str, Callable[[], Any]]] = {
    "bert": bert, "gpt2": gpt2, "llama": llama, "t5": t5, "deberta": deberta, "vit": vit,
}  # fmt: skip


def by_word() -> Any:
    """A tokenizer that knows whole words, and puts signs around a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    signs = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return for_the_library(made, **signs)


def by_byte() -> Any:
    """A tokenizer that knows every byte, without signs or padding."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({sign: number for number, sign in enumerate([*alphabet, "<|end|>"])}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return for_the_library(made, eos_token="<|end|>")


def for_the_library(made: Any, **signs: str) -> Any:
    """A tokenizer as the library saves it."""
    import transformers

    own: Any = transformers.PreTrainedTokenizerFast
    return own(tokenizer_object=made, **signs)


PREPARED: Final = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 16, "width": 16},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
"""How the images of the model of images are prepared."""


@dataclass(frozen=True)
class Models:
    """The models in one folder, each made when it is first asked for."""

    home: Path

    def __call__(self, name: str) -> Path:
        """The folder of a model."""
        folder = self.home / name
        if not folder.exists():
            make(name, folder)
        return folder

    def copied(self, name: str, home: Path) -> Path:
        """A copy of a model, which may be spoiled."""
        return Path(shutil.copytree(self(name), home / name))


def make(name: str, folder: Path) -> None:
    """Save a model with its tokenizer, or with what prepares its images."""
    import torch
    import transformers

    with quietly(transformers), torch.random.fork_rng():
        torch.manual_seed(sum(map(ord, name)))
        MODELS[name]().eval().save_pretrained(folder)
    if name == "vit":
        write_json(folder / "preprocessor_config.json", PREPARED)
    else:
        (by_byte() if name == "gpt2" else by_word()).save_pretrained(folder)


# -------------------------------------------------------------------------------------------------------- spoiling them


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def changed(path: Path, **entries: Any) -> None:
    """Set entries of a JSON file."""
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **entries})


def code_with_canary(canary: Path) -> str:
    """Python code that leaves a file when it is imported, and has every class that it is asked for."""
    return f"open({str(canary)!r}, 'w').close()\ndef __getattr__(name): return type(name, (), {{}})\n"


class Trap:
    """What a pickle makes a file with when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.canary), "w")


def pickle_with_canary(canary: Path) -> bytes:
    return pickle.dumps(Trap(canary))


def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is tried of the network from now on, which is refused."""
    tried: list[str] = []

    def refuse(*arguments: Any, **_: Any) -> Any:
        tried.append(str(arguments[-1]))
        raise OSError("no network in this test")

    for owner, name in ((socket.socket, "connect"), (socket, "create_connection"), (socket, "getaddrinfo")):
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return tried
