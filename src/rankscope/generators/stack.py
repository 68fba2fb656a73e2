"""Layers × heads of attention matrices, and what they make together: the mean over heads, the product over layers.

Each matrix is made when it is asked for, so that a stack of any height costs the memory of what is analysed at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from rankscope.arrays import FLOAT64, check_dense
from rankscope.attention.kernels import Kernel
from rankscope.attention.masks import Mask
from rankscope.attention.operators import Concatenation, Mean, Operator, Product, stored
from rankscope.attention.origin import Limit, Origin
from rankscope.attention.positions import POSITIONS, Position
from rankscope.attention.request import EmptyRows
from rankscope.errors import error
from rankscope.generators.ensembles import ENSEMBLES
from rankscope.generators.initial import INITIALISATIONS
from rankscope.generators.plans import Site, check_plan
from rankscope.generators.synthetic import Drawing, Head, drawn
from rankscope.registry import at_least, typed


@dataclass(frozen=True, eq=False, repr=False)
class Job:
    """A matrix that can be made: its origin, known beforehand, and the function that makes it."""

    origin: Origin
    shape: tuple[int, int]
    make: Callable[[], Operator]


@dataclass(frozen=True, eq=False, repr=False)
class Work:
    """What a source offers: its matrices to make, and what its reader should be told about the rest."""

    jobs: list[Job]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Synthetic:
    """A random ensemble: everything that decides its matrices.

    `queries` is the number of queries where it differs from the number n of keys (cross-attention); `kv_heads` shares
    the keys and values of each group of heads; `shared` makes keys equal to queries. `init` is how W_Q, W_K and W_V
    start, for ensembles of tokens.
    """

    n: int = 512
    d: int = 64
    mask: str | Mask | None = None
    kernel: str | Kernel = "softmax"
    position: str | Position = "none"
    scale: float = 1.0
    ensemble: str = "gaussian"
    init: str | None = None
    shared: bool = False
    seed: int = 0
    heads: int = 1
    kv_heads: int | None = None
    layers: int = 1
    plan: str = "uniform"
    queries: int | None = None
    dtype: str = "float64"
    empty_rows: EmptyRows = "error"

    def work(self) -> Work:
        """The matrices of this ensemble, in the order of the table."""
        return Work(list(self.jobs()))

    def described(self) -> dict[str, Any]:
        """Everything that decides the matrices; masks, kernels and positions by their labels."""
        return {"kind": "synthetic", **vars(self), **{name: called(getattr(self, name)) for name in NAMED}}

    @property
    def shape(self) -> tuple[int, int]:
        """Queries × keys."""
        return (self.n if self.queries is None else self.queries), self.n

    def jobs(self) -> Iterator[Job]:
        """Every head of every layer; for each layer the mean over its heads and its heads side by side; the product."""
        self.check()
        plan = check_plan(self.plan, self.layers, self.heads, self.mask)
        asked = "bidirectional" if self.mask is None else self.mask
        masks = {
            (layer, head): asked if self.plan == "uniform" else plan(Site(layer, head, self.heads, self.n, ""))
            for layer in range(self.layers)
            for head in range(self.heads)
        }
        for layer, head in masks:
            yield Job(self.origin(masks[layer, head], layer, head), self.shape, self.maker(masks, layer, head))
        if self.heads > 1:
            for layer in range(self.layers):
                yield self.aggregate("heads-mean", layer, self.shape, self.mean_maker(masks, layer))
                wide = self.shape[0], self.shape[1] * self.heads
                yield self.aggregate("heads-concatenated", layer, wide, self.concatenation_maker(masks, layer))
        if self.layers > 1:
            yield self.aggregate("layers-product", None, self.shape, self.product_maker(masks))

    def check(self) -> None:
        """Refuse numbers and options that do not fit together, before anything is made."""
        numbers = {"n": self.n, "d": self.d, "heads": self.heads, "layers": self.layers, "queries": self.shape[0]}
        numbers |= {} if self.kv_heads is None else {"kv_heads": self.kv_heads}
        for name, count in numbers.items():
            at_least(name, count)
        at_least("seed", self.seed, 0)
        if self.heads % (self.kv_heads or 1):
            given = f"kv_heads = {self.kv_heads} for {self.heads} heads"
            raise error("RS002", given, "give a divisor of the number of heads")
        if self.layers > 1 and self.shape[0] != self.n:
            given = f"{self.layers} layers of {self.shape[0]} queries and {self.n} keys"
            raise error("RS003", given, "a product over layers needs as many queries as keys")
        made = ENSEMBLES.build(self.ensemble)
        if self.init is not None:
            INITIALISATIONS[self.init]
            if made.tokens is None:
                given = f"the initialisation {self.init!r} with the ensemble {made.label!r}, which has no tokens"
                raise error("RS003", given, "take an ensemble of tokens, such as --ensemble tokens")
        if made.tokens is None and self.drawing.position.tokens is not None:
            given = f"the position {called(self.position)!r}, which acts on tokens, with the ensemble {made.label!r}"
            raise error("RS003", given, "take an ensemble of tokens, such as --ensemble tokens")
        if made.weights is not None and (self.shared or self.kv_heads):
            given = f"shared or grouped keys with the ensemble {made.label!r}, which has none"
            raise error("RS003", given, "leave them out, or take an ensemble of queries and keys")
        if self.shared and self.kv_heads is not None:
            raise error("RS003", "shared queries and keys with kv_heads", "leave one out: keys are those of each head")
        if self.shared and self.shape[0] != self.n:
            raise error("RS003", f"shared queries and keys, {self.shape[0]} and {self.n} of them", "give equal numbers")

    @property
    def described_ensemble(self) -> str | None:
        """The ensemble in one line, with what it adds to its name; None for the standard one."""
        made = ENSEMBLES.build(self.ensemble)
        parts = [made.label if made.label != "gaussian" else "", f"init {self.init}" if self.init else ""]
        return " ".join(filter(None, [*parts, "shared" if self.shared else ""])) or None

    def named(self, mask: str | Mask) -> str:
        """A label of everything that is not the default of this ensemble."""
        position = "" if called(self.position) == "none" else called(self.position)
        scale = "" if self.scale == 1 else f"scale {typed(self.scale)}"
        return " ".join(filter(None, [called(mask), called(self.kernel), position, self.described_ensemble, scale]))

    def origin(self, mask: str | Mask, layer: int, head: int) -> Origin:
        """What is known of a head before it is made."""
        several = self.heads > 1 or self.layers > 1
        place = f" layer {layer} head {head}" if several else ""
        made = ENSEMBLES.build(self.ensemble)
        return Origin(
            label=self.named(mask) + place,
            d=None if made.weights else self.d,
            mask=called(mask),
            kernel=called(self.kernel),
            position=None if called(self.position) == "none" else called(self.position),
            plan=self.plan,
            scale=self.scale,
            dtype=self.dtype,
            source="synthetic",
            layer=layer if several else None,
            head=head if several else None,
            seed=self.seed,
            ensemble=self.described_ensemble,
            limits=self.limits(mask),
        )

    def limits(self, mask: str | Mask) -> dict[str, Limit]:
        """What is known of large matrices of this kind: of random Markov matrices, square and seen whole."""
        made = ENSEMBLES.build(self.ensemble)
        plain = (called(mask), called(self.kernel), called(self.position), self.scale) == (
            "bidirectional",
            "softmax",
            "none",
            1.0,
        )
        if made.weights is None or not plain or self.shape[0] != self.n:
            return {}
        from rankscope.generators.markov import limits, weights_of

        return limits(weights_of(*made.weights), self.n)

    def maker(self, masks: dict[tuple[int, int], str | Mask], layer: int, head: int) -> Callable[[], Operator]:
        """A function that makes one head."""

        def make() -> Operator:
            check_dense(*self.shape)
            options: dict[str, Any] = {
                "mask": masks[layer, head],
                "kernel": self.kernel,
                "scale": self.scale,
                "dtype": self.dtype,
                "empty_rows": self.empty_rows,
                "origin": self.origin(masks[layer, head], layer, head),
            }
            group = head - head % (self.heads // (self.kv_heads or self.heads))
            return drawn(self.drawing, Head(layer, head, group), options)

        return make

    @property
    def drawing(self) -> Drawing:
        """What is drawn, and how much of it."""
        made = ENSEMBLES.build(self.ensemble)
        init = self.init or "lecun"
        position = POSITIONS.build(self.position) if isinstance(self.position, str) else self.position
        return Drawing(made, *self.shape, self.d, self.seed, self.heads, init, self.shared, position)

    def aggregate(
        self, over: str, layer: int | None, shape: tuple[int, int], make: Callable[[Origin], Operator]
    ) -> Job:
        """A job for what several heads make together."""
        named = {
            "heads-mean": f"mean over {self.heads} heads",
            "heads-concatenated": f"{self.heads} heads side by side",
            "layers-product": f"product over {self.layers} layers",
        }[over]
        place = f"layer {layer} " if layer is not None and self.layers > 1 else ""
        mixed = self.plan != "uniform"
        base = self.origin(f"plan {self.plan}" if mixed else self.mask or "bidirectional", 0, 0)
        label = f"{place}{named}: {self.named(base.mask or '')}"
        mask = None if mixed else base.mask
        origin = replace(base, label=label, mask=mask, layer=layer, head=None, over=over, limits={})
        return Job(origin, shape, lambda: make(origin))

    def parts_of(self, masks: dict[tuple[int, int], str | Mask], layer: int) -> tuple[Operator, ...]:
        """The heads of one layer, as they are held."""
        check_dense(*self.shape, self.heads)
        return tuple(as_held(self.maker(masks, layer, head)()) for head in range(self.heads))

    def mean_maker(self, masks: dict[tuple[int, int], str | Mask], layer: int) -> Callable[[Origin], Operator]:
        """A function that makes the mean over the heads of one layer."""
        return lambda origin: Mean(equal_shapes(self.parts_of(masks, layer)), origin)

    def concatenation_maker(self, masks: dict[tuple[int, int], str | Mask], layer: int) -> Callable[[Origin], Operator]:
        """A function that sets the heads of one layer side by side."""
        return lambda origin: Concatenation(equal_shapes(self.parts_of(masks, layer)), origin)

    def product_maker(self, masks: dict[tuple[int, int], str | Mask]) -> Callable[[Origin], Operator]:
        """A function that makes the product of the layers, the last one leftmost, as a network applies them."""

        def make(origin: Origin) -> Operator:
            check_dense(*self.shape, self.heads * self.layers)
            layers: list[Operator] = []
            for layer in reversed(range(self.layers)):
                alone = self.heads == 1
                part = (
                    as_held(self.maker(masks, layer, 0)())
                    if alone
                    else self.mean_maker(masks, layer)(replace(origin, layer=layer))
                )
                layers.append(part)
            return Product(equal_shapes(tuple(layers)), origin)

        return make


NAMED: Final = ("mask", "kernel", "position")
"""What may be given as a value instead of a name."""


def called(value: Any) -> Any:
    """The label of a mask, a kernel or a position, or the name that was given."""
    return getattr(value, "label", value)


def equal_shapes(parts: tuple[Operator, ...]) -> tuple[Operator, ...]:
    """The parts of a composition, refused where dropped rows have left them with different shapes."""
    shapes = list(dict.fromkeys(part.shape for part in parts))
    if len(shapes) > 1:
        raise error(
            "RS101",
            f"matrices of the shapes {shapes[0]} and {shapes[1]} together",
            "keep empty rows: --empty-rows zero",
        )
    return parts


def as_held(part: Operator) -> Operator:
    """The part of a composition: its stored numbers where they were rounded to fewer bits than float64."""
    return part if part.storage is FLOAT64 else stored(part)


def synthetic(n: int = 512, d: int = 64, **options: Any) -> Operator | list[Operator]:
    """Attention of the standard random ensemble: `rng = numpy.random.default_rng(seed)`, queries then keys N(0, 1).

    Args:
        n: the number of tokens.
        d: the head size.
        **options: mask, kernel, position, scale, ensemble, init, shared, seed, heads, kv_heads, layers, plan, queries,
            dtype and empty_rows as in `Synthetic`.

    Returns:
        One operator; for several heads or layers a list: every head, for each layer the mean over its heads and its
        heads side by side, and the product over layers.

    >>> synthetic(n=8, d=2, mask="causal").structure.det_sign.value
    1
    """
    made = [job.make() for job in Synthetic(n, d, **options).jobs()]
    return made[0] if len(made) == 1 else made
