"""`rankscope.capture`: the attention that a model uses while it runs, head by head."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import torch

from rankscope.arrays import return_freed_memory
from rankscope.attention.operators import Operator
from rankscope.errors import RankscopeError, error
from rankscope.generators.capture.following import following
from rankscope.generators.capture.interception import Call
from rankscope.generators.capture.layer import AS_TRAINED, Held, Layer, Variant, jobs_of
from rankscope.generators.capture.names import STACKS, Site, called
from rankscope.generators.capture.seen import layer_of, of_steps, size_of
from rankscope.generators.stack import Job, Work

REMEDY: Final = (
    "what is seen is scaled_dot_product_attention, nn.MultiheadAttention, and a softmax of products of queries and "
    "keys that multiplies values, run inside of the with block and not compiled; for a model of transformers call "
    "model.set_attn_implementation('sdpa') first"
)


@dataclass(repr=False)
class Capture:
    """What was captured of a model: its layers, without their matrices. `rankscope.analyze` takes it as it is.

    `without_pairs` are the layers whose scores are no product of queries and keys; they are not kept, but given to a
    callback, and made again where `again` runs the model once more for one of them. `about` says more of the model.
    """

    source: str
    layers: list[Layer] = field(default_factory=list)
    without_pairs: dict[Site, tuple[int, int, tuple[int, int]]] = field(default_factory=dict)
    steps: int = 0
    calls: int = 0
    heads: frozenset[int] | None = None
    again: Callable[[Site], Layer] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    said: tuple[str, ...] = ()

    def __repr__(self) -> str:
        jobs, layers = self.jobs, len(self.held)
        plural = "s" if len(jobs) > 1 else ""
        sizes = list(dict.fromkeys(f"{rows} × {columns}" for rows, columns in (job.shape for job in jobs)))
        heads = f"{len(jobs)} head{plural} of {', '.join(sizes[:3])}" if jobs else "no heads"
        return f"<Capture of {self.source}: {layers} layer{'s' * (layers != 1)}, {heads}>"

    @property
    def held(self) -> list[Held]:
        """The layers in the order of the model, those that are run again among them."""
        found = [held_of(layer) for layer in self.layers]
        if self.again is not None:
            for site, (batch, heads, shape) in self.without_pairs.items():
                found.append(Held(site, batch, heads, shape, partial(self.again, site), pairs=False))
        return sorted(found, key=lambda each: (each.site.passed, STACKS.index(each.site.stack), each.site.layer))

    @property
    def jobs(self) -> list[Job]:
        """A matrix to make for each head of each layer."""
        return [job for held in self.held for job in self.jobs_of(held)]

    def jobs_of(self, held: Held, variant: Variant = AS_TRAINED) -> Iterator[Job]:
        """The heads of one layer, as the model has them or under another mask or kernel."""
        several = len({each.passed for each in (*(layer.site for layer in self.layers), *self.without_pairs)}) > 1
        for job in jobs_of(held, self.source, several, variant):
            if self.heads is None or job.origin.head in self.heads:
                yield job

    @property
    def size(self) -> int:
        """Bytes of what is kept of each layer; masks are shared."""
        return sum(each.numel() * each.element_size() for layer in self.layers for each in layer.tensors)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know beside the matrices."""
        found = list(self.said)
        if self.without_pairs and self.again is None:
            listed = ", ".join(dict.fromkeys(called(site) for site in self.without_pairs))
            found.append(f"not kept: {listed}, whose scores are no product of queries and keys: give each=callback")
        if self.steps:
            calls = "1 call of a single step" if self.steps == 1 else f"{self.steps} calls of single steps"
            found.append(f"not analysed: {calls} of generation, continuing no call that is kept")
        return tuple(found)

    def work(self) -> Work:
        """The matrices, as a source of studies has them."""
        return Work(self.jobs, self.notes)

    def described(self) -> dict[str, Any]:
        """The model and its layers as plain data."""
        return {"kind": "model", "model": self.source, **self.about}

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[Operator]:
        return (job.make() for job in self.jobs)


@contextmanager
def capture(
    model: torch.nn.Module, each: Callable[[Operator], object] | None = None, *, layers: Any = None, heads: Any = None
) -> Iterator[Capture]:
    """The attention that a model computes while the block runs; the model is not changed, and computes what it would.

    Torch has a fast path for its own encoder layers in evaluation, which shows no attention: within the block they run
    as they do in training, which gives the same up to rounding, and numbers instead of zeros at padded places.

    Softmax attention is found however it is called: by `scaled_dot_product_attention`, `nn.MultiheadAttention`, or
    written out. Each matrix is made anew in float64 from the queries and keys that the model used, and compared with
    what the model made of them: `fidelity` in tables is the largest difference of weights where a model holds these.
    Fused attention does not: there it is the largest |P·V − out| of a head over its largest |out|, for the values of
    the model and for random ones, which no other matrix would agree with.

    Args:
        model: a `torch.nn.Module`. What it runs is its own code.
        each: called with the matrix of every head, which is forgotten afterwards; none to keep queries and keys and to
            make the matrices later, one at a time: `rankscope.analyze(captured)`. A head that has no matrix, since it
            holds NaN for example, is then named in the notes.
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
    kept = Capture(type(model).__name__, heads=chosen(heads))
    recorder = Recorder(kept, each, chosen(layers), kept.heads)
    with recorder.watching(model):
        yield recorder.captured
    recorder.finish()


def held_of(layer: Layer) -> Held:
    """A layer that is kept."""
    return Held(layer.site, layer.batch, layer.heads, layer.shape, lambda: layer)


def chosen(numbers: Any) -> frozenset[int] | None:
    """Numbers of layers or heads, or none for all."""
    if numbers is None:
        return None
    found = frozenset([numbers] if isinstance(numbers, int | str) else numbers)
    for each in found:
        if not hasattr(each, "__index__") or each < 0:
            given = f"{each!r} as the number of a layer or a head"
            raise error("RS002", given, "give whole numbers from 0 on, or none for all")
    return found


@dataclass
class Recorder:
    """What keeps the attention of a model that is followed, or hands it on."""

    captured: Capture
    each: Callable[[Operator], object] | None
    layers: frozenset[int] | None
    heads: frozenset[int] | None
    wanted: Site | None = None
    layers_seen: set[int] = field(default_factory=set)
    last: dict[tuple[str, int], int] = field(default_factory=dict)
    shapes: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    masks: deque[torch.Tensor] = field(default_factory=lambda: deque(maxlen=8))

    def watching(self, model: torch.nn.Module) -> AbstractContextManager[None]:
        """Follow the model; everything is taken off again, whatever happens."""
        return following(model, self.saw)

    def saw(self, call: Call, site: Site, module: Any) -> None:
        """One call of attention."""
        self.captured.calls += 1
        self.layers_seen.add(site.layer)
        if self.layers is not None and site.layer not in self.layers:
            return
        if self.wanted is not None and site != self.wanted:
            return
        whole = self.each is not None or self.wanted is not None
        with torch.no_grad():
            layer = layer_of(call, site, module, keep_scores=whole)
        if isinstance(layer, str):
            self.say(f"left out: {called(site)}, {layer}")
        elif layer is None:
            self.captured.without_pairs[site] = size_of(call)
        elif self.each is None:
            self.keep(self.sharing(layer))
        elif self.is_step(layer):
            self.captured.steps += 1
        else:
            self.shapes[place_of(layer)] = layer.shape
            self.give(layer, self.each)

    def say(self, note: str) -> None:
        """Tell the reader what is left out, once."""
        self.captured.said = tuple(dict.fromkeys((*self.captured.said, note)))

    def give(self, layer: Layer, each: Callable[[Operator], object]) -> None:
        """Give the matrix of every head to a callback; a head that has none must not stop the model."""
        for job in jobs_of(held_of(layer), self.captured.source, layer.site.passed > 0):
            if self.heads is None or job.origin.head in self.heads:
                try:
                    made = job.make()
                except RankscopeError as reason:
                    self.say(f"left out: {job.origin.label}, {reason.given}")
                    continue
                each(made)

    def is_step(self, layer: Layer) -> bool:
        """Whether a call is a step of generation: one query, where the layer has seen other numbers before, or where it
        asks the same encoder again.
        """
        known = self.shapes.get(place_of(layer))
        again = known is not None and (known != layer.shape or layer.site.crosses)
        return again and layer.shape[0] == 1 < layer.shape[1]

    def sharing(self, layer: Layer) -> Layer:
        """The layer with the mask of an earlier one where that is equal: a bias is as large as the matrices."""
        if layer.mask is None:
            return layer
        for mask in self.masks:
            if mask.shape == layer.mask.shape and mask.dtype == layer.mask.dtype and torch.equal(mask, layer.mask):
                return replace(layer, mask=mask)
        self.masks.append(layer.mask)
        return layer

    def keep(self, layer: Layer) -> None:
        """Keep a layer, joined to the call before if it continues it."""
        place = place_of(layer)
        known = self.last.get(place)
        joined = None if known is None else of_steps(self.captured.layers[known], layer)
        if joined is not None and known is not None:
            self.captured.layers[known] = joined
        elif self.is_step(layer):
            self.captured.steps += 1
        else:
            self.shapes[place] = layer.shape
            self.last[place] = len(self.captured.layers)
            self.captured.layers.append(layer)

    def finish(self) -> None:
        """Refuse an empty capture; leave no more memory behind than what is kept."""
        return_freed_memory()
        if not self.captured.calls:
            raise error("RS107", f"no attention was seen in {self.captured.source}", REMEDY)


def place_of(layer: Layer) -> tuple[str, int]:
    """Which layer of a model it is, in whichever call."""
    return layer.site.stack, layer.site.layer
