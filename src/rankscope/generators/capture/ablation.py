"""A trained model without its skip connections, or without its MLPs, and otherwise as it is.

A skip connection is the addition of a branch to the tokens that went into it. The tokens are known by that: they were
given to a module that has parameters, a norm or attention, which the output of a branch never is. The first addition
after attention ends a branch of attention, the next one a branch of an MLP. Where both stand side by side, their sum is
one branch, and there is no MLP of its own to be left out.

Models can add in ways that are not known, and leaving out a part of what is added would then compute something else
than is said. So the model runs once as it is, and every addition of tokens in it must be one of those; and where its
skips are left out it runs once more with attention that gives zeros: what is left must then be alike for all tokens.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from rankscope.errors import error
from rankscope.generators.capture.following import TRANSPARENT
from rankscope.generators.capture.interception import SOFTMAX, Interception

PLAIN: Final = frozenset({"add", "__add__", "__radd__"})
"""Additions that give a new array, of which a branch or the tokens alone can take the place."""

OTHERS: Final = frozenset(
    {"add_", "__iadd__", "sub", "__sub__", "__rsub__", "sub_", "addcmul", "addcmul_", "lerp", "lerp_"}
)
"""Ways to add of which none can."""

Tensor = torch.Tensor


@dataclass(frozen=True)
class Parts:
    """Which parts of a layer a model keeps beside its attention; `silent` attention gives zeros."""

    skip: bool = True
    mlp: bool = True
    silent: bool = False

    @property
    def design(self) -> str:
        """The parts as studies of depth call them."""
        return "+".join(name for name in ("skip", "mlp") if getattr(self, name)) or "pure"


@dataclass
class Found:
    """What a model adds: the kinds of its skips in order, calls of attention, and additions that are not understood."""

    skips: list[str] = field(default_factory=list)
    calls: int = 0
    beside: int = 0
    odd: list[str] = field(default_factory=list)

    @property
    def mlps(self) -> int:
        """The branches of MLPs."""
        return self.skips.count("mlp")

    def why_not(self, parts: Parts) -> str:
        """Why a model cannot be without these parts; empty if it can."""
        attentions = self.skips.count("attention")
        if self.odd:
            return f"which adds tokens in a way that is not known ({self.odd[0]})"
        if attentions != self.calls:
            return f"in which {attentions} skip connections were found at {self.calls} attentions"
        if not parts.mlp and not self.mlps and self.beside:
            return "whose MLPs stand beside attention and are added with it"
        if not self.mlps and self.beside != attentions:
            return "in which no MLP was found"
        ends = [i for i, kind in enumerate(self.skips) if kind == "mlp"]
        apart = all(b - a > 1 for a, b in zip([-1, *ends], ends, strict=False))
        if self.mlps and (self.beside or not apart or ends[-1] != len(self.skips) - 1):
            return "in which not every branch of attention is followed by one of an MLP"
        return ""


class Ablation(Interception):
    """A mode under which additions of branches give the branch alone, or the tokens alone."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(self.attended)
        self.parts = parts
        self.given: dict[int, Tensor] = {}
        self.sums: dict[int, Tensor] = {}
        self.fixed: set[int] = set()
        self.stack: list[tuple[bool, torch.Size]] = []
        self.shape: torch.Size | None = None
        self.attention = False
        self.found = Found()

    def attended(self, _: Any) -> None:
        """Attention has been computed: the next addition ends its branch."""
        self.attention = True
        self.found.calls += 1
        self.shape = self.stack[-1][1] if self.stack else None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in PLAIN or name in OTHERS:
            operands = [each for each in args if isinstance(each, Tensor)]
            branch = self.branch_of(name, operands, plain=name in PLAIN and len(args) == 2 and not kwargs)
            if branch is not None:
                return self.added(func, args, branch)
            summed = self.is_sum(name, operands)
            found = func(*args, **(kwargs or {}))
            if summed:
                self.sums |= {id(found): found}
            return found
        found = super().__torch_function__(func, types, args, kwargs)
        attends = name == "scaled_dot_product_attention" or (name in SOFTMAX and self.pending is not None)
        if self.parts.silent and attends:
            return torch.zeros_like(found)
        return found

    def branch_of(self, name: str, operands: list[Tensor], *, plain: bool) -> int | None:
        """Which operand is a branch, where the other one is the tokens that went into it; what is odd is noted."""
        known = [id(each) in self.given for each in operands[:2]]
        if not self.are_tokens(operands) or not any(known):
            return None
        if sum(known) == 1 and plain and self.shape is not None and operands[0].shape[-1] == self.shape[-1]:
            return known.index(False)
        self.found.odd.append(f"{name} of {' × '.join(map(str, operands[0].shape))}")
        return None

    def is_sum(self, name: str, operands: list[Tensor]) -> bool:
        """Whether this is a sum of branches, which must end in a skip, or become the tokens of what follows."""
        known = any(id(each) in self.given for each in operands)
        if name not in (*PLAIN, "add_", "__iadd__") or self.shape is None or known or not self.are_tokens(operands):
            return False
        for each in operands:
            self.sums.pop(id(each), None)
        return operands[0].shape[-1] == self.shape[-1]

    def are_tokens(self, operands: list[Tensor]) -> bool:
        """Whether two arrays may be tokens: as many as attention was given, computed in a module, and no parameters."""
        if len(operands) < 2 or not self.stack or self.stack[-1][0]:
            return False
        left, right = operands[:2]
        computed = not ({id(left), id(right)} & self.fixed)
        alike = left.shape == right.shape and left.dim() > 1 and left.is_floating_point() and right.is_floating_point()
        return computed and alike and (self.shape is None or count_of(left.shape) == count_of(self.shape))

    def added(self, func: Any, operands: tuple[Any, Any], branch: int) -> Any:
        """What an addition gives: both, the branch, or the tokens."""
        kind = "attention" if self.attention else "mlp"
        self.attention = False
        self.found.skips.append(kind)
        self.found.beside += self.sums.pop(id(operands[branch]), None) is not None and kind == "attention"
        if kind == "mlp" and not self.parts.mlp:
            return operands[1 - branch]
        return func(*operands) if self.parts.skip else operands[branch]

    def enter(self, module: Any, given: Any, named: Any) -> None:
        """Remember what a module is given; it is held until the model has ended, so that its name is not used again."""
        function = next(module.parameters(), None) is None
        every = [each for each in (*given, *named.values()) if isinstance(each, Tensor)]
        tokens = [each for each in every if each.is_floating_point() and each.dim() > 1]
        if not function:
            self.given |= {id(each): each for each in tokens}
            for each in tokens:
                self.sums.pop(id(each), None)
        self.stack.append((function, tokens[0].shape if tokens else torch.Size()))

    def leave(self, *_: Any) -> None:
        """A module has ended, however it did."""
        self.stack.pop()

    @contextmanager
    def watching(self, model: torch.nn.Module) -> Iterator[None]:
        """Follow the model; everything is taken off again, whatever happens."""
        self.fixed = {id(each) for each in (*model.parameters(), *model.buffers())}
        with ExitStack() as undo:
            for _, module in model.named_modules():
                if not isinstance(module, TRANSPARENT):
                    hook = module.register_forward_pre_hook(self.enter, with_kwargs=True)
                    undo.callback(hook.remove)
                    undo.callback(module.register_forward_hook(self.leave, always_call=True).remove)
            undo.callback(self.given.clear)
            undo.enter_context(self)
            yield


def count_of(shape: torch.Size) -> int:
    """How many tokens an array of this shape holds."""
    return shape.numel() // max(shape[-1], 1) if len(shape) else 0


def watched(model: torch.nn.Module, parts: Parts, run: Callable[[], Any]) -> tuple[Any, Found]:
    """What `run` gives while the model keeps these parts alone, and what was added in it."""
    ablation = Ablation(parts)
    with torch.no_grad(), ablation.watching(model):
        out = run()
    for each in ablation.sums.values():
        ablation.found.odd.append(f"a sum of {' × '.join(map(str, each.shape))} that ends in no skip")
    return out, ablation.found


def without(model: torch.nn.Module, parts: Parts, run: Callable[[], Any], whole: Found | None = None) -> Any:
    """What `run` gives while the model keeps these parts alone; `whole` is what `watched` finds in all of it, if known.

    Raises:
        UsageError: RS003, the model adds its branches in a way in which these cannot be told apart.
    """
    if parts.design != "skip+mlp" and (why := (whole or watched(model, Parts(), run)[1]).why_not(parts)):
        raise error("RS003", f"{type(model).__name__}, {why}", "keep its skip connections and its MLPs")
    return watched(model, parts, run)[0]
