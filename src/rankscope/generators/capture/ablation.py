"""A trained model without its skip connections, or without its MLPs, and otherwise as it is.

A skip connection is the addition of a branch to the tokens that went into it. The tokens are known by that: they were
given to a module, a norm or attention, which the output of a branch never is; they are as wide as what attention is
given, which the inside of an MLP need not be; and no activation adds them, a module without parameters. The first
addition after attention ends a branch of attention, one without attention before it a branch of an MLP. A model in
which both stand side by side adds them together, and has no MLP of its own to be left out.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch

from rankscope.errors import error
from rankscope.generators.capture.following import TRANSPARENT
from rankscope.generators.capture.interception import Interception

ADDITIONS: Final = frozenset({"add", "__add__", "__radd__", "__iadd__"})


@dataclass(frozen=True)
class Parts:
    """Which parts of a layer a model keeps beside its attention."""

    skip: bool = True
    mlp: bool = True

    @property
    def design(self) -> str:
        """The parts as studies of depth call them."""
        return "+".join(name for name in ("skip", "mlp") if getattr(self, name)) or "pure"


class Ablation(Interception):
    """A mode under which additions of branches give the branch alone, or the tokens alone."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(self.attended)
        self.parts = parts
        self.given: dict[int, torch.Tensor] = {}
        self.widths: list[int] = []
        self.functions: list[bool] = []
        self.width = 0
        self.attention = False
        self.calls = 0
        self.found = {"attention": 0, "mlp": 0}

    def attended(self, _: Any) -> None:
        """Attention has been computed: the next addition ends its branch."""
        self.attention = True
        self.calls += 1
        self.width = self.widths[-1] if self.widths else 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ADDITIONS and not kwargs and len(args) == 2:
            branch = self.branch_of(*args)
            if branch is not None:
                return self.added(func, args, branch)
        return super().__torch_function__(func, types, args, kwargs)

    def branch_of(self, left: Any, right: Any) -> int | None:
        """Which operand is a branch, where the other one is the tokens that went into it."""
        if not self.functions or self.functions[-1]:
            return None
        both = isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor)
        if not both or left.dim() < 2 or left.shape != right.shape or left.shape[-1] != self.width:
            return None
        known = [id(each) in self.given for each in (left, right)]
        return known.index(False) if sum(known) == 1 else None

    def added(self, func: Any, operands: tuple[Any, Any], branch: int) -> Any:
        """What an addition gives: both, the branch, or the tokens."""
        kind = "attention" if self.attention else "mlp"
        self.attention = False
        self.found[kind] += 1
        if kind == "mlp" and not self.parts.mlp:
            return operands[1 - branch]
        return func(*operands) if self.parts.skip else operands[branch]

    def enter(self, module: Any, given: Any, named: Any) -> None:
        """Remember what a module is given; it is held until the model has ended, so that its name is not used again."""
        every = [each for each in (*given, *named.values()) if isinstance(each, torch.Tensor)]
        tokens = [each for each in every if each.is_floating_point() and each.dim() > 1]
        self.given |= {id(each): each for each in tokens}
        self.functions.append(next(module.parameters(), None) is None)
        self.widths.append(tokens[0].shape[-1] if tokens else 0)

    def leave(self, *_: Any) -> None:
        """A module has ended, however it did."""
        self.widths.pop()
        self.functions.pop()

    @contextmanager
    def watching(self, model: torch.nn.Module) -> Iterator[None]:
        """Follow the model; everything is taken off again, whatever happens."""
        with ExitStack() as undo:
            for _, module in model.named_modules():
                if not isinstance(module, TRANSPARENT):
                    hook = module.register_forward_pre_hook(self.enter, with_kwargs=True)
                    undo.callback(hook.remove)
                    undo.callback(module.register_forward_hook(self.leave, always_call=True).remove)
            undo.callback(self.given.clear)
            undo.enter_context(self)
            yield


def without(model: torch.nn.Module, parts: Parts, run: Callable[[], Any]) -> Any:
    """What `run` gives while the model keeps these parts alone.

    Raises:
        UsageError: RS003, a part that is to be left out was not found.
    """
    ablation = Ablation(parts)
    with torch.no_grad(), ablation.watching(model):
        found = run()
    skips, mlps = ablation.found["attention"], ablation.found["mlp"]
    if not parts.skip and skips != ablation.calls:
        given = f"{type(model).__name__}, in which {skips} skip connections were found at {ablation.calls} attentions"
        raise error("RS003", given, "it adds them in a way that is not known: keep its skip connections")
    if not parts.mlp and not mlps:
        given = f"{type(model).__name__}, whose MLPs stand beside attention and are added with it"
        raise error("RS003", given, "keep its MLPs")
    return found
