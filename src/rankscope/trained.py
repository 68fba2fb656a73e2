"""Depth on a trained model: its own activations from layer to layer, with and without skip connections and MLPs.

What `rankscope.depth` follows past rounding for random networks is measured here of a model as it is: its tokens come
out of its own arithmetic, and what they have in common below the rounding of that is not known.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rankscope.analyzer.analyze import Analysed, analyse, described
from rankscope.analyzer.collapse import log10_residual_naive
from rankscope.analyzer.depth import History, Plain
from rankscope.analyzer.numerics import Numerics
from rankscope.arrays import FLOAT64, VERSIONS, Float64, blas_threads
from rankscope.attention.operators import Mean, Operator, Product
from rankscope.attention.origin import Origin
from rankscope.attention.tokens import Tokens
from rankscope.depth_study import choose
from rankscope.errors import ResourceError, UsageError, error
from rankscope.records import Matrix, Reading, Record, Table
from rankscope.result import Result
from rankscope.walk import OF_PRODUCTS

if TYPE_CHECKING:
    from rankscope.generators.models import Model

DESIGNS: Final = ((True, True), (False, True), (True, False), (False, False))
"""Whether skip connections and MLPs are kept: as the model is, and without each and both."""

MEASURES: Final = ("log10_residual", "residual_order", "residual_rate", "token_cosine", "token_stable_rank",
                   "token_effective_rank")  # fmt: skip
"""What is measured of the tokens of each layer."""

WORDS: Final = {(True, True): "as it is", (False, True): "without skips", (True, False): "without MLPs",
                (False, False): "attention and norms alone"}  # fmt: skip

AT_FLOOR: Final = "at its rounding floor"
"""What a residual says that shows nothing but rounding."""


@dataclass(frozen=True, eq=False)
class Course:
    """The tokens of one stack of a model through its layers, under one design."""

    model: "Model"
    stack: str
    skip: bool
    mlp: bool
    states: Sequence[Float64]

    @property
    def origin(self) -> Origin:
        """What the rows of this path are called."""
        label = " ".join(filter(None, [self.model.name, self.stack, WORDS[self.skip, self.mlp]]))
        sizes = {layer.query.shape[-1] for layer in self.model.captured.layers if layer.query is not None}
        d = sizes.pop() if len(sizes) == 1 else None
        return Origin(label, d=d, dtype=str(self.model.captured.about["dtype"]), source=self.model.name)

    @property
    def network(self) -> dict[str, Any]:
        """What the model consists of beside its attention."""
        design = "+".join(name for name, kept in (("skip", self.skip), ("mlp", self.mlp)) if kept) or "pure"
        heads = max((layer.heads for layer in self.model.captured.layers), default=None)
        return {"layers": len(self.states) - 1, "heads": heads, "width": self.states[0].shape[1], "design": design,
                "skip": self.skip, "mlp": "own" if self.mlp else None}  # fmt: skip

    def matrix(self, number: int) -> Matrix:
        """The row of `matrices` that stands for it."""
        n = len(self.states[0])
        return replace(described(self.origin, (n, n), number), network=self.network)

    def records(self, number: int) -> list[Record]:
        """The measures of the tokens at each layer."""
        chosen = [each for each in choose(("all",)).depth if each.name in MEASURES]
        rows: list[Record] = []
        logs: tuple[float | None, ...] = ()
        errors: tuple[float, ...] = ()
        for layer, x in enumerate(self.states):
            residual, error_of = residual_of(x)
            known = None if residual.value is None else float(residual.value)
            logs, errors = (*logs, known), (*errors, error_of)
            history = History(logs, errors, logs)
            tokens = Tokens.of(x)
            for measure in chosen:
                if measure.name == "log10_residual":
                    reading = residual
                elif measure.need is History:
                    reading = measure(history)
                else:
                    reading = measure(tokens)
                    if residual.value is None and residual.because == AT_FLOOR and reading.value is not None:
                        reading = at_floor(measure.name, reading)
                rows.append(row(number, measure.name, measure.group, reading, layer))
        return rows


def at_floor(name: str, reading: Reading) -> Reading:
    """A measure of tokens that rounding cannot tell apart: those near one are near one, how near is not known."""
    kept = {key: value for key, value in reading.details.items() if not key.startswith("log10")}
    return replace(reading, details=kept, method=f"{reading.method}; tokens agree up to rounding")


def residual_of(x: Float64) -> tuple[Reading, float]:
    """log₁₀ of the relative residual of tokens, null below the floor of rounding, and an estimate of its error.

    The floor is what one sum over the tokens loses. How much a model's arithmetic has lost before is not known: a norm
    may have subtracted numbers that are nearly equal. So there are no bounds, and the error serves the order alone.
    """
    found = log10_residual_naive(Plain(x, FLOAT64))
    floor = found.details.get("log10_floor")
    if found.value is None or floor is None:
        return replace(found, because=AT_FLOOR if floor is not None else found.because), math.inf
    if found.value < floor:
        return Reading(None, "estimated", found.method, AT_FLOOR, high=floor, details=found.details), math.inf
    error_of = 10.0 ** (floor - float(found.value)) / math.log(10)
    method = "of the model's own activations, in float64"
    return Reading(found.value, "estimated", method, details=found.details), error_of


def row(number: int, name: str, group: str, reading: Reading, layer: int | None) -> Record:
    """One row of the table."""
    return Record(
        number, name, reading.value, group, low=reading.low, high=reading.high, guarantee=reading.guarantee,
        subject="tokens", method=reading.method, because=reading.because, layer=layer, details=reading.details,
    )  # fmt: skip


def product_of(model: "Model", stack: str, n: int, count: int, number: int) -> Analysed:
    """The product of the attention matrices of one stack, the last layer leftmost, each the mean over its heads.

    Raises:
        UsageError: RS003, not every layer has a matrix of all tokens.
        ResourceError: RS301, the matrices of all heads do not fit into memory.
    """
    from rankscope.analyzer.analyze import chosen
    from rankscope.arrays import check_dense

    own = [held for held in model.captured.held if held.site.stack == stack and held.batch == 1]
    check_dense(n, n, sum(held.heads for held in own))
    layers: dict[int, list[Operator]] = {}
    for held in own:
        layers[held.site.layer] = [job.make() for job in model.captured.jobs_of(held)]
    if len(layers) != count or any(head.shape != (n, n) for heads in layers.values() for head in heads):
        given = f"the product over layers of {model.name}, in which not every layer has a matrix of all {n} tokens"
        raise error("RS003", given, "there is none")
    parts = [Mean(tuple(heads), heads[0].origin) if len(heads) > 1 else heads[0] for heads in layers.values()]
    label = " ".join(filter(None, [f"product over {len(parts)} layers:", model.name, stack]))
    origin = Origin(label, source=model.name, over="layers-product")
    return analyse(Product(tuple(reversed(parts)), origin), number, chosen(OF_PRODUCTS), Numerics())


def given_model(model: Any) -> "Model":
    """A model, or the one that a path or a name stands for."""
    from rankscope.generators.models import Model

    if isinstance(model, str | Path):
        return Model(str(model))
    if not isinstance(model, Model):
        raise error(
            "RS105", f"a {type(model).__name__} as a model", "give a rankscope.Model, or the path of its folder"
        )
    return model


def trained_depth(model: "Model | str", *, timing: bool = False) -> Result:
    """How the tokens of a trained model tend to each other from layer to layer, as it is, and without parts of it.

    The model computes in float64, so that residuals are known down to about 10⁻¹³. The first row holds the tokens that
    enter the first layer, the last one those that the model gives, after a norm at its end if it has one. A variant
    that cannot be had of this architecture is named in the notes of the result. Beside them stands the product of the
    model's own self-attention matrices, means over heads.

    Raises:
        UsageError: RS003, several texts.
    """
    from rankscope.generators.capture.ablation import Parts

    started = time.perf_counter()
    model = given_model(model)
    if model.batch > 1 or len(model.read) > 1:
        raise error("RS003", "--depth with several texts", "give one text")
    model = replace(model, dtype="float64", layers=None, heads=None)
    notes = list(model.captured.notes)
    paths: list[Course] = []
    for skip, mlp in DESIGNS:
        try:
            found = model.states(Parts(skip, mlp))
        except UsageError as reason:
            notes.append(f"{WORDS[skip, mlp]}: left out, {reason.given}")
            continue
        paths += [Course(model, stack, skip, mlp, states) for stack, states in found.items()]
    for path in paths:
        if not all(math.isfinite(float(abs(x).max(initial=0.0))) for x in path.states):
            raise error("RS110", f"NaN or infinity in the activations of {path.origin.label}", "mend the model first")
    with blas_threads(1):
        records = [record for number, path in enumerate(paths) for record in path.records(number)]
        stacks = list(dict.fromkeys(path.stack for path in paths))
        products: list[Analysed] = []
        for stack in stacks:
            path = next(each for each in paths if each.stack == stack)
            sizes = len(path.states[0]), len(path.states) - 1
            try:
                products.append(product_of(model, stack, *sizes, len(paths) + len(products)))
            except (UsageError, ResourceError) as reason:
                notes.append(f"left out: {reason.given}")
    table = Table(
        {"command": "model", "sources": [model.described()], "depth": True, "centre": "mean", "absolute": False},
        [*(path.matrix(number) for number, path in enumerate(paths)), *(each.matrix for each in products)],
        [*records, *(record for each in products for record in each.records)],
        [series for each in products for series in each.series],
        {"seconds": time.perf_counter() - started, "workers": 1} if timing else None,
        versions=VERSIONS,
    )
    return Result(table, tuple(notes))
