"""A trained model as a source of matrices: it reads a text once, and its queries and keys are kept.

Layers whose scores are no product of queries and keys are not kept, since their scores are as large as matrices: when
one of them is measured the model reads the text again.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np

from rankscope.arrays import Float64
from rankscope.errors import error
from rankscope.generators.capture.capturing import Capture, Recorder, chosen
from rankscope.generators.capture.layer import Layer
from rankscope.generators.capture.names import Site
from rankscope.generators.pretrained.directory import Directory, directory
from rankscope.generators.pretrained.inputs import Text, checked, pixels_of, sample_text, tokens_of
from rankscope.generators.pretrained.loading import blamed, config_of, folder_of, model_of, quietly, transformers_module
from rankscope.generators.stack import Work
from rankscope.generators.stored import displayed
from rankscope.lazy import cached_property

GIVEN: Final = "a given text"
"""What a text is called that comes from no file."""

ALIKE: Final = 1e-9
"""The part of the largest number by which float64 may set tokens apart that are computed alike."""

LIMITS: Final = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")
"""What configurations call the most tokens that a model takes."""

LATER: Final = ("roberta", "camembert", "longformer", "mpnet", "data2vec-text", "ibert", "layoutlmv3", "luke", "lilt",
                "markuplm", "xmod", "esm")  # fmt: skip
"""Parts of the names of architectures whose places begin after that of the padding."""


@dataclass(frozen=True)
class Model:
    """A trained model and what it reads.

    `path` is a folder, or a name in the local cache; `texts` are cut at `max_length` tokens, or the one text into
    `batch` pieces of that length. `layers` and `heads` choose some, by number. A model of images is given an `image`.
    An encoder–decoder reads the text on both sides. A text may be given as it is, and texts as a list.

    >>> model = Model("bert-base-uncased", "Every row is a distribution.", max_length=128)
    >>> model.name, [text.name for text in model.read]
    ('bert-base-uncased', ['a given text'])
    """

    path: str
    texts: str | Text | tuple[str | Text, ...] = ()
    image: Path | None = None
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    max_length: int | None = None
    batch: int = 1
    device: str = "cpu"
    dtype: str | None = None
    download: bool = False

    @property
    def read(self) -> tuple[Text, ...]:
        """The texts, each with a name."""
        given = [self.texts] if isinstance(self.texts, str | Text) else self.texts
        return tuple(each if isinstance(each, Text) else checked(GIVEN, each.encode()) for each in given)

    def work(self) -> Work:
        """The matrices of all heads."""
        return self.captured.work()

    def described(self) -> dict[str, Any]:
        """The model and what it read, with names and never paths."""
        return self.captured.described()

    @property
    def name(self) -> str:
        """What the model is called: the name of its folder, or that in the hub."""
        if not os.path.isdir(self.path):
            return displayed(self.path)
        path = Path(os.path.abspath(self.path))
        if path.parent.name == "snapshots":
            return displayed(path.parent.parent.name.removeprefix("models--").replace("--", "/"))
        return displayed(path.name)

    @cached_property
    def captured(self) -> Capture:
        """The attention of the model on its text.

        Raises:
            FormatError: a folder that is refused.
            UsageError: layers or heads that the model has not.
        """
        found, model, inputs, notes = self.loaded
        kept = Capture(self.name, heads=chosen(self.heads))
        recorder = Recorder(kept, None, chosen(self.layers), kept.heads)
        with blamed(found, f"'{found.name}' failed as it read its input"):
            read(model, inputs, recorder)
        recorder.finish()
        self.check(recorder)
        kept.again = again(model, inputs) if kept.without_pairs else None
        ignored = [f"not read, as nothing here needs it: {', '.join(found.ignored)}"] if found.ignored else []
        kept.said = (*notes, *kept.said, *ignored)
        kept.about = self.about(found, model, inputs)
        return kept

    @cached_property
    def loaded(self) -> tuple[Directory, Any, dict[str, Any], list[str]]:
        """The folder, the model, what it is given, and notes on what is left of that."""
        found = directory(folder_of(self.path, download=self.download))
        config_of(found)
        inputs, notes = self.inputs(found)
        model = model_of(found, self.device, self.dtype)
        if model.main_input_name not in inputs:
            given = f"{self.name}, a model that reads {displayed(str(model.main_input_name))}"
            raise error("RS003", given, "give a model that reads text or images alone")
        if takes(model, "use_cache"):
            inputs["use_cache"] = False
        inputs = {name: each.to(self.device) if hasattr(each, "to") else each for name, each in inputs.items()}
        inputs |= {
            name: each.to(model.dtype)
            for name, each in inputs.items()
            if hasattr(each, "is_floating_point") and each.is_floating_point()
        }
        if takes(model, "decoder_input_ids") and "input_ids" in inputs:
            if "attention_mask" in inputs:  # queries that are padding could not be told from others across the stacks
                given = f"texts of different length for {self.name}, which has an encoder and a decoder"
                raise error("RS003", given, "give them one by one, or a --max-length that each of them fills")
            inputs["decoder_input_ids"] = inputs["input_ids"]
        return found, model, inputs, notes

    def forward(self) -> Any:
        """What the model makes of its text, with the tokens of each layer."""
        _, model, inputs, _ = self.loaded
        return model(**inputs, output_hidden_states=True)

    @cached_property
    def whole(self) -> tuple[Any, Any]:
        """What the model makes of its text with all of its parts, and what it adds on the way."""
        from rankscope.generators.capture.ablation import Parts, watched

        found, model, _, _ = self.loaded
        with blamed(found, f"{self.name} could not read its text"), quietly(transformers_module()):
            return watched(model, Parts(), self.forward)

    def states(self, parts: Any) -> dict[str, list[Float64]]:
        """The tokens that enter each layer and those that leave the last one, of the first text, by stack.

        `parts` says what the model keeps beside its attention. The last tokens are those that the model gives, after a
        norm at its end if it has one.

        Raises:
            UsageError: RS003, a part that cannot be left out of this model.
        """
        from rankscope.generators.capture.ablation import Parts, without

        out, whole = self.whole
        if parts != Parts():
            found, model, _, _ = self.loaded
            with blamed(found, f"{self.name} could not read its text"), quietly(transformers_module()):
                out = without(model, parts, self.forward, whole)
        states = states_of(out)
        if parts.silent or parts.skip:
            return states
        for every in self.states(replace(parts, silent=True)).values():
            if any(apart(each) for each in every[1:]):
                given = f"{self.name}, in which tokens pass by attention in a way that is not known"
                raise error("RS003", given, "keep its skip connections")
        return states

    def inputs(self, found: Directory) -> tuple[dict[str, Any], list[str]]:
        """What the model is given, and notes on what is left of it."""
        if self.image is not None:
            for flag, value in (("--text", self.read), ("--max-length", self.max_length), ("--batch", self.batch > 1)):
                if value:
                    raise error("RS003", f"--image and {flag}", "give one of them")
            return pixels_of(found, self.image), []
        if wants_pixels(found):
            raise error("RS003", f"{self.name}, a model of images, without one", "add --image FILE")
        return tokens_of(found, self.read or (sample_text(),), self.max_length, self.batch, limit(found))

    def about(self, found: Directory, model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        """What is recorded of the model and of what it read."""
        import torch
        import transformers

        texts = [] if self.image is not None else list(self.read or (sample_text(),))
        return {
            "architecture": found.kind,
            "dtype": str(model.dtype).removeprefix("torch."),
            "texts": [{"name": displayed(each.name), "sha256": each.digest} for each in texts],
            "image": None if self.image is None else displayed(self.image.name),
            "tokens": list(inputs["input_ids"].shape) if "input_ids" in inputs else None,
            "layers": None if self.layers is None else list(self.layers),
            "heads": None if self.heads is None else list(self.heads),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def check(self, recorder: Recorder) -> None:
        """Refuse layers and heads that the model has not."""
        kept = recorder.captured
        sites = {layer.site.layer: layer.heads for layer in kept.layers}
        sites |= {site.layer: heads for site, (_, heads, _) in kept.without_pairs.items()}
        for name, asked, known in (
            ("--layers", self.layers, recorder.layers_seen),
            ("--heads", self.heads, set(range(max(sites.values(), default=0)))),
        ):
            lacking = sorted(set(asked or ()) - known)
            if lacking:
                given = f"{name} {lacking[0]} of {self.name}, which has {len(known)}"
                raise error("RS002", given, f"give numbers from {min(known, default=0)} to {max(known, default=0)}")


def read(model: Any, inputs: dict[str, Any], recorder: Recorder) -> None:
    """Let the model read its text while it is followed."""
    import torch

    with quietly(transformers_module()), torch.no_grad(), recorder.watching(model):
        model(**inputs)


def again(model: Any, inputs: dict[str, Any]) -> Callable[[Site], Layer]:
    """What runs the model once more for one layer; the last one is remembered for its other heads."""
    lock, last = Lock(), dict[Site, Layer]()

    def of(site: Site) -> Layer:
        with lock:
            if site not in last:
                kept = Capture("")
                recorder = Recorder(kept, None, None, None, wanted=site)
                read(model, inputs, recorder)
                last.clear()
                last[site] = kept.layers[0]
            return last[site]

    return of


def states_of(out: Any) -> dict[str, list[Float64]]:
    """The tokens of each layer of the first text, by stack, from what a model gives."""
    from rankscope.generators.capture.layer import doubles

    named = {"": "hidden_states", "encoder": "encoder_hidden_states", "decoder": "decoder_hidden_states"}
    listed = {stack: getattr(out, name, None) for stack, name in named.items()}
    return {stack: [doubles(each[0]) for each in every] for stack, every in listed.items() if every}


def apart(tokens: Float64) -> bool:
    """Whether tokens differ by more than rounding; where attention gives zeros and nothing passes by, they do not."""
    largest = float(np.abs(tokens).max(initial=0.0))
    return bool(np.abs(tokens - tokens[:1]).max(initial=0.0) > ALIKE * largest)


def takes(model: Any, name: str) -> bool:
    """Whether a model's forward has this argument."""
    import inspect

    return name in inspect.signature(model.forward).parameters


def wants_pixels(found: Directory) -> bool:
    """Whether a model is one of images alone."""
    return "image_size" in found.config and "vocab_size" not in found.config and "text_config" not in found.config


def limit(found: Directory) -> int | None:
    """The most tokens that a model takes, if its configuration says so."""
    parts = [part for part in (found.config, found.config.get("text_config")) if isinstance(part, dict)]
    known = [int(part[name]) for part in parts for name in LIMITS if type(part.get(name)) is int]
    if not known or min(known) < 1:
        return None
    padding = found.config.get("pad_token_id")
    before = (padding if type(padding) is int else 0) + 1 if any(part in found.kind for part in LATER) else 0
    return max(min(known) - before, 1)
