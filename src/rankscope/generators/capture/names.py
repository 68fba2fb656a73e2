"""What a layer of attention is called: its number, and which of a model's stacks it belongs to.

A module's path says it where it has one number (`model.layers.4.self_attn`); where it has several or none (`encoder.
block.0.layer.0.SelfAttention`), or is called several times (ALBERT), the order of calls does.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

CROSS: Final = re.compile(r"cross|encoder_attn|encdec|enc_dec|encoder_decoder", re.IGNORECASE)
"""What the modules of attention from a decoder to its encoder are called."""

OF_TWO: Final = "multihead_attn"
"""What torch calls them, and others their only attention: there it counts whether two texts were given."""


STACKS: Final = ("", "encoder", "decoder", "cross")
"""The stacks of layers that a model may have, in the order in which they are shown."""


@dataclass(frozen=True)
class Site:
    """Where a call of attention stands: the stack (empty where a model has one), the layer, and the module's path.

    Queries and keys are known to be `apart` where the module was given two arrays of tokens of one shape.
    """

    stack: str
    layer: int
    module: str
    passed: int = 0
    apart: bool = False

    @property
    def crosses(self) -> bool:
        """Whether its keys are those of another stack."""
        return self.stack.endswith("cross")


@dataclass
class Numbering:
    """The layers of a model as they are called; `both` says whether it has an encoder and a decoder."""

    both: bool
    passed: int = -1
    called: dict[str, int] = field(default_factory=dict)
    taken: set[tuple[str, int]] = field(default_factory=set)

    @staticmethod
    def of(modules: Iterable[str]) -> "Numbering":
        """The numbering of a model with these modules."""
        words = {word for path in modules for word in path.split(".")}
        return Numbering({"encoder", "decoder"} <= words)

    def begin(self) -> None:
        """The model is called again."""
        self.passed, self.called, self.taken = self.passed + 1, {}, set()

    def site(self, module: str, *, two: bool = False, apart: bool = False) -> Site:
        """The place of the next call in a module that was given `two` arrays of tokens, or two of one shape (`apart`).

        >>> numbers = Numbering.of(["encoder.block.0.layer.0", "decoder.block.0.layer.1"])
        >>> numbers.begin()
        >>> [numbers.site(f"decoder.block.{i}.layer.1.EncDecAttention").layer for i in range(3)]
        [0, 1, 2]
        """
        stack = self.stack(module, two)
        order = self.called.get(stack, 0)
        self.called[stack] = order + 1
        numbers = [int(word) for word in module.split(".") if word.isdecimal()]
        layer = numbers[0] if len(numbers) == 1 and (stack, numbers[0]) not in self.taken else order
        while (stack, layer) in self.taken:
            layer += 1
        self.taken.add((stack, layer))
        return Site(stack, layer, module, max(self.passed, 0), apart)

    def stack(self, module: str, two: bool) -> str:
        """The stack that a module belongs to."""
        last = ".".join(module.split(".")[-2:])
        side = next((word for word in module.split(".") if word in ("encoder", "decoder")), "") if self.both else ""
        return "cross" if CROSS.search(last) or (two and OF_TWO in last) else side


def label_of(site: Site, text: int | None, head: int, *, several: bool = False, variant: str = "") -> tuple[str, str]:
    """The stack that a head belongs to, "model" where there is one, and its label; `text` and the call are named where
    there are several.
    """
    call = f"call {site.passed}" if several else ""
    stack = " ".join(filter(None, [call, "" if text is None else f"text {text}", site.stack, variant]))
    return stack or "model", " ".join(filter(None, [stack, f"layer {site.layer} head {head}"]))


def called(site: Site) -> str:
    """A layer in words."""
    return " ".join(filter(None, [site.stack, f"layer {site.layer}"]))
