"""`rankscope.capture`: the attention that a model uses while it runs, head by head."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from rankscope.attention.operators import Operator
from rankscope.errors import error
from rankscope.generators.capture.interception import Call, Interception
from rankscope.generators.capture.layer import Layer, jobs_of
from rankscope.generators.capture.names import Numbering, Site
from rankscope.generators.capture.seen import layer_of, of_steps
from rankscope.generators.stack import Job, Work

TRANSPARENT: Final = (torch.nn.Softmax, torch.nn.Dropout, torch.nn.Identity)
"""Modules that stand for a function: attention inside of them is that of the module around."""

REMEDY: Final = (
    "load the model with attn_implementation='sdpa' or 'eager', or call model.set_attn_implementation('sdpa'); "
    "run it inside of the with block, not compiled"
)


@dataclass
class Capture:
    """What was captured of a model: its layers, without their matrices. `rankscope.analyze` takes it as it is.

    `without_pairs` names the layers whose scores are no product of queries and keys, and which are therefore not kept;
    with a callback they are given to it, too.
    """

    source: str
    layers: list[Layer] = field(default_factory=list)
    without_pairs: list[str] = field(default_factory=list)
    steps: int = 0
    calls: int = 0

    @property
    def jobs(self) -> list[Job]:
        """A matrix to make for each head of each layer."""
        several = len({layer.site.passed for layer in self.layers}) > 1
        return [job for layer in self.layers for job in jobs_of(layer, self.source, several)]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know beside the matrices."""
        found = []
        if self.without_pairs:
            listed = ", ".join(dict.fromkeys(self.without_pairs))
            found.append(f"not kept: {listed}, whose scores are no product of queries and keys: give each=callback")
        if self.steps:
            found.append(f"not analysed: {self.steps} calls of single steps of generation, which continue no kept call")
        return tuple(found)

    def work(self) -> Work:
        """The matrices, as a source of studies has them."""
        return Work(self.jobs, self.notes)

    def described(self) -> dict[str, Any]:
        """The model and its layers as plain data."""
        return {"kind": "capture", "model": self.source, "layers": len(self.layers)}

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[Operator]:
        return (job.make() for job in self.jobs)


@contextmanager
def capture(
    model: torch.nn.Module, each: Callable[[Operator], object] | None = None, *, layers: Any = None, heads: Any = None
) -> Iterator[Capture]:
    """The attention that a model computes while the block runs; the model is not changed, and computes what it would.

    Softmax attention is found however it is called: by `scaled_dot_product_attention`, `nn.MultiheadAttention`, or
    written out. Each matrix is made anew in float64 from the queries and keys that the model used, and compared with
    what the model made of them: `fidelity` in tables is the largest |P·V − out| of a head over the largest |out|, or
    the largest difference of weights where a model holds these.

    Args:
        model: a `torch.nn.Module`. What it runs is its own code.
        each: called with the matrix of every head, which is forgotten afterwards; none to keep queries and keys and to
            make the matrices later, one at a time: `rankscope.analyze(captured)`.
        layers: numbers of layers, none for all.
        heads: numbers of heads, none for all.

    Yields:
        What is captured. Calls that generate one token after another are joined to one matrix for each head.

    Raises:
        InputError: RS107, no attention was seen while the block ran.

    >>> import rankscope as rs
    >>> torch.manual_seed(0) and None
    >>> model = torch.nn.TransformerEncoderLayer(16, 2, batch_first=True).eval()
    >>> with rs.capture(model) as captured:
    ...     _ = model(torch.randn(1, 10, 16))
    >>> rs.analyze(captured)["rank_exact"].values
    [None, None]
    >>> [operator.shape for operator in captured]
    [(10, 10), (10, 10)]
    """
    recorder = Recorder(Capture(type(model).__name__), Numbering.of(names_of(model)), each, chosen(layers), chosen(heads))
    with recorder.watching(model):
        yield recorder.captured
    recorder.check()


def chosen(numbers: Any) -> frozenset[int] | None:
    """Numbers of layers or heads, or none for all."""
    return None if numbers is None else frozenset([numbers] if isinstance(numbers, int) else numbers)


def names_of(model: Any) -> list[str]:
    """The paths of all modules of a model."""
    if not isinstance(model, torch.nn.Module):
        given = f"a model of type {type(model).__name__}"
        raise error("RS105", given, "give a torch.nn.Module; for arrays there is rankscope.attention")
    return [name for name, _ in model.named_modules()]


@dataclass
class Recorder:
    """What follows a model while it runs: in which module it is, and what its attention was."""

    captured: Capture
    numbering: Numbering
    each: Callable[[Operator], object] | None
    layers: frozenset[int] | None
    heads: frozenset[int] | None
    stack: list[tuple[str, Any]] = field(default_factory=list)
    depth: int = 0
    last: dict[tuple[str, str], int] = field(default_factory=dict)

    @contextmanager
    def watching(self, model: torch.nn.Module) -> Iterator[None]:
        """Follow the model; everything is taken off again, whatever happens."""
        with ExitStack() as undo:
            for name, module in model.named_modules():
                if name and isinstance(module, TRANSPARENT):
                    continue
                enter = module.register_forward_pre_hook(self.entering(name))
                leave = module.register_forward_hook(self.leaving, always_call=True)
                undo.callback(enter.remove)
                undo.callback(leave.remove)
            undo.enter_context(Interception(self.saw))
            yield

    def entering(self, name: str) -> Callable[[Any, Any], None]:
        """What is done when a module begins."""

        def enter(module: Any, _: Any) -> None:
            if not self.stack:
                self.numbering.begin()
            self.stack.append((name, module))

        return enter

    def leaving(self, module: Any, _: Any, __: Any) -> None:
        """What is done when a module ends, however it does."""
        while self.stack and self.stack.pop()[1] is not module:
            pass

    def saw(self, call: Call) -> None:
        """One call of attention; what runs outside of the model is not its own."""
        if not self.stack:
            return
        name, module = self.stack[-1]
        site = self.numbering.site(name)
        self.captured.calls += 1
        if self.layers is not None and site.layer not in self.layers:
            return
        with torch.no_grad():
            layer = layer_of(call, site, module, keep_scores=self.each is not None)
        if layer is None:
            self.captured.without_pairs.append(called(site))
        elif self.each is None:
            self.keep(layer, name)
        elif layer.shape[0] == 1 < layer.shape[1]:
            self.captured.steps += 1
        else:
            for job in jobs_of(layer, self.captured.source, site.passed > 0):
                if self.heads is None or job.origin.head in self.heads:
                    self.each(job.make())

    def keep(self, layer: Layer, name: str) -> None:
        """Keep a layer, joined to the call before if it continues it."""
        place = layer.site.stack, name
        known = self.last.get(place)
        joined = None if known is None else of_steps(self.captured.layers[known], layer)
        if joined is not None and known is not None:
            self.captured.layers[known] = joined
        elif known is not None and layer.shape[0] == 1 < layer.shape[1]:
            self.captured.steps += 1
        else:
            self.last[place] = len(self.captured.layers)
            self.captured.layers.append(layer)

    def check(self) -> None:
        """Refuse an empty capture."""
        if not self.captured.calls:
            raise error("RS107", f"no attention was seen in {self.captured.source}", REMEDY)


def called(site: Site) -> str:
    """A layer in words."""
    return " ".join(filter(None, [site.stack, f"layer {site.layer}"]))
