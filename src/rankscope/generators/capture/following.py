"""Following a model while it runs: in which module it is, and which layer each call of attention belongs to."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Final

import torch

from rankscope.errors import error
from rankscope.generators.capture.interception import Call, Interception
from rankscope.generators.capture.names import Numbering, Site

TRANSPARENT: Final = (torch.nn.Softmax, torch.nn.Dropout, torch.nn.Identity)
"""Modules that stand for a function: attention inside of them is that of the module around."""

OF_KEYS: Final = re.compile(r"key|encoder|context|memory|source|kv", re.IGNORECASE)
"""What the tokens are called that keys are made of, where they are others than those of the queries."""

Took = Callable[[Call, Site, Any], None]
"""What is done with a call of attention, given its place and its module."""


def names_of(model: Any) -> list[str]:
    """The paths of all modules of a model."""
    if not isinstance(model, torch.nn.Module):
        given = f"a model of type {type(model).__name__}"
        raise error("RS105", given, "give a torch.nn.Module; for arrays there is rankscope.attention")
    for name, module in model.named_modules():
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            given = f"a model whose {name or 'whole'} is compiled by torch.compile, where attention is not seen"
            raise error("RS105", given, "give the model before it is compiled")
        if isinstance(module, torch.jit.ScriptModule):
            given = f"a model whose {name or 'whole'} is scripted by torch.jit, where attention is not seen"
            raise error("RS105", given, "give the model before it is scripted")
    return [name for name, _ in model.named_modules()]


@dataclass
class Follower:
    """Where a model is while it runs."""

    took: Took
    numbering: Numbering
    stack: list[tuple[str, Any, list[torch.Size]]] = field(default_factory=list)
    mode: Interception = field(init=False)

    def __post_init__(self) -> None:
        self.mode = Interception(self.saw)

    def entering(self, name: str) -> Callable[[Any, Any, Any], None]:
        """What is done when a module begins."""

        def enter(module: Any, given: Any, named: Any) -> None:
            if not self.stack:
                self.numbering.begin()
                self.mode.forget()
            self.stack.append((name, module, shapes_of(module, given, named)))

        return enter

    def leaving(self, module: Any, _: Any, __: Any) -> None:
        """What is done when a module ends, however it does."""
        while self.stack and self.stack.pop()[1] is not module:
            pass

    def saw(self, call: Call) -> None:
        """One call of attention; what runs outside of the model is not its own."""
        if self.stack:
            name, module, shapes = self.stack[-1]
            site = self.numbering.site(name, two=len(shapes) > 1, apart=len(set(shapes)) < len(shapes))
            self.took(call, site, module)


def shapes_of(module: Any, given: tuple[Any, ...], named: Mapping[str, Any]) -> list[torch.Size]:
    """The shapes of the tokens that a module is given, and of others that are called those of keys."""
    try:
        names: Iterable[str] = signature(module.forward).parameters
    except (TypeError, ValueError):  # of a scripted function, for example
        names = map(str, range(len(given)))
    every = {**dict(zip(names, given, strict=False)), **named}
    tokens = {
        name: each
        for name, each in every.items()
        if isinstance(each, torch.Tensor) and each.dim() == 3 and each.is_floating_point()
    }
    first = next(iter(tokens.values()), None)
    others = [each for name, each in tokens.items() if each is not first and OF_KEYS.search(name)]
    return [] if first is None else [first.shape, *(each.shape for each in others)]


@contextmanager
def following(model: torch.nn.Module, took: Took, *, begun: bool = False) -> Iterator[None]:
    """Follow a model, which may have `begun` already; everything is taken off again, whatever happens."""
    follower = Follower(took, Numbering.of(names_of(model)))
    with ExitStack() as undo:
        for name, module in model.named_modules():
            if name and isinstance(module, TRANSPARENT):
                continue
            if begun and not name:  # its hooks are being called
                continue
            enter = module.register_forward_pre_hook(follower.entering(name), with_kwargs=True)
            leave = module.register_forward_hook(follower.leaving, always_call=True)
            undo.callback(enter.remove)
            undo.callback(leave.remove)
        if begun:
            follower.entering("")(model, (), {})
        undo.enter_context(follower.mode)
        yield
