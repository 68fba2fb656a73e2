"""Layers × heads of attention matrices, and what they make together: the mean over heads, the product over layers.

Each matrix is made when it is asked for, so that a stack of any height costs the memory of what is analysed at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from rankscope.arrays import FLOAT64, check_dense
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.operators import Mean, Operator, Origin, Product, stored
from rankscope.attention.request import EmptyRows
from rankscope.attention.structure import square
from rankscope.errors import error
from rankscope.generators.plans import check_plan
from rankscope.generators.synthetic import queries_and_keys


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
    """The standard random ensemble: everything that decides its matrices."""

    n: int = 512
    d: int = 64
    mask: str | None = None
    kernel: str = "softmax"
    position: str = "none"
    scale: float = 1.0
    seed: int = 0
    heads: int = 1
    layers: int = 1
    plan: str = "uniform"
    dtype: str = "float64"
    empty_rows: EmptyRows = "error"

    def work(self) -> Work:
        """The matrices of this ensemble, in the order of the table."""
        return Work(list(self.jobs()))

    def described(self) -> dict[str, Any]:
        """Everything that decides the matrices."""
        return {"kind": "synthetic", **vars(self)}

    def jobs(self) -> Iterator[Job]:
        """Every head of every layer, then the mean over the heads of each layer, then the product over layers."""
        for name, count in (("heads", self.heads), ("layers", self.layers)):
            if count < 1:
                raise error("RS002", f"{name} = {count}", "give a whole number of at least 1")
        plan = check_plan(self.plan, self.layers, self.heads, self.mask)
        masks = {
            (layer, head): plan(layer, head, self.heads, "bidirectional" if self.mask is None else self.mask)
            for layer in range(self.layers)
            for head in range(self.heads)
        }
        for layer, head in masks:
            yield Job(self.origin(masks[layer, head], layer, head), (self.n, self.n), self.maker(masks, layer, head))
        if self.heads > 1:
            for layer in range(self.layers):
                yield self.aggregate("heads-mean", layer, self.mean_maker(masks, layer))
        if self.layers > 1:
            yield self.aggregate("layers-product", None, self.product_maker(masks))

    def origin(self, mask: str, layer: int, head: int) -> Origin:
        """What is known of a head before it is made."""
        several = self.heads > 1 or self.layers > 1
        place = f" layer {layer} head {head}" if several else ""
        return Origin(
            label=" ".join([mask, self.kernel, *([] if self.position == "none" else [self.position])]) + place,
            d=self.d,
            mask=mask,
            kernel=self.kernel,
            position=None if self.position == "none" else self.position,
            plan=self.plan,
            scale=self.scale,
            dtype=self.dtype,
            source="synthetic",
            layer=layer if several else None,
            head=head if several else None,
            seed=self.seed,
        )

    def maker(self, masks: dict[tuple[int, int], str], layer: int, head: int) -> Callable[[], Operator]:
        """A function that makes one head."""

        def make() -> Operator:
            check_dense(self.n, self.n)
            queries, keys = queries_and_keys(self.n, self.d, self.seed, layer, head)
            return single(
                attention(
                    queries,
                    keys,
                    mask=masks[layer, head],
                    kernel=self.kernel,
                    position=self.position,
                    scale=self.scale,
                    dtype=self.dtype,
                    empty_rows=self.empty_rows,
                    heads=self.heads,
                    origin=self.origin(masks[layer, head], layer, head),
                )
            )

        return make

    def aggregate(self, over: str, layer: int | None, make: Callable[[Origin], Operator]) -> Job:
        """A job for what several heads make together."""
        named = f"mean over {self.heads} heads" if over == "heads-mean" else f"product over {self.layers} layers"
        place = f" of layer {layer}" if layer is not None and self.layers > 1 else ""
        label = f"{named}{place}"
        base = self.origin(self.plan if self.plan != "uniform" else self.mask or "bidirectional", 0, 0)
        origin = replace(
            base, label=label, mask=None if self.plan != "uniform" else base.mask, layer=layer, head=None, over=over
        )
        return Job(origin, (self.n, self.n), lambda: make(origin))

    def mean_maker(self, masks: dict[tuple[int, int], str], layer: int) -> Callable[[Origin], Operator]:
        """A function that makes the mean over the heads of one layer."""

        def make(origin: Origin) -> Operator:
            check_dense(self.n, self.n, self.heads)
            parts = (self.maker(masks, layer, head)() for head in range(self.heads))
            return Mean(tuple(as_held(part) for part in parts), origin)

        return make

    def product_maker(self, masks: dict[tuple[int, int], str]) -> Callable[[Origin], Operator]:
        """A function that makes the product of the layers, the last one leftmost, as a network applies them."""

        def make(origin: Origin) -> Operator:
            check_dense(self.n, self.n, self.heads * self.layers)
            layers: list[Operator] = []
            for layer in reversed(range(self.layers)):
                alone = self.heads == 1
                part = (
                    as_held(self.maker(masks, layer, 0)())
                    if alone
                    else self.mean_maker(masks, layer)(replace(origin, layer=layer))
                )
                layers.append(part)
            return Product(tuple(layers), origin)

        return make


def as_held(part: Operator) -> Operator:
    """The part of a composition: its stored numbers where they were rounded to fewer bits than float64."""
    if not square(part.shape):
        raise error(
            "RS101", f"a mean or product of matrices of shape {part.shape}", "keep empty rows: --empty-rows zero"
        )
    return part if part.storage is FLOAT64 else stored(part)


def synthetic(n: int = 512, d: int = 64, **options: Any) -> Operator | list[Operator]:
    """Attention of the standard random ensemble: `rng = numpy.random.default_rng(seed)`, queries then keys N(0, 1).

    Args:
        n: the number of tokens.
        d: the head size.
        **options: mask, kernel, position, scale, seed, heads, layers, plan, dtype and empty_rows as in `Synthetic`.

    Returns:
        One operator; for several heads or layers a list: every head, the mean over heads of each layer, and the product
        over layers.

    >>> synthetic(n=8, d=2, mask="causal").structure.det_sign.value
    1
    """
    made = [job.make() for job in Synthetic(n, d, **options).jobs()]
    return made[0] if len(made) == 1 else made
