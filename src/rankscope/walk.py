"""One network on its way through its layers: the rows of a table that it makes.

A record's `layer` counts the layers that its tokens have passed: those of layer 0 are the input, its attention matrices
are those of the first layer, and the last row is what leaves the network.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np

from rankscope.analyzer.analyze import Analysed, analyse, chosen, described
from rankscope.analyzer.analyze import row as series_of
from rankscope.analyzer.collapse import dong_step
from rankscope.analyzer.depth import Gradients, History, Plain
from rankscope.analyzer.graph import Graph
from rankscope.analyzer.measure import Measure, unknown
from rankscope.analyzer.needs import Needs
from rankscope.analyzer.paths import Length, Step, by_length
from rankscope.analyzer.residual import SAFETY, Distance
from rankscope.arrays import EPS, Boolean, Float64, check_dense, storage
from rankscope.attention.block import Block, Head, Mlp
from rankscope.attention.mixing import Mixing, Split, Whole
from rankscope.attention.operators import Mean, Operator, Product
from rankscope.attention.tokens import Tokens
from rankscope.depth_study import Chosen, DepthStudy
from rankscope.errors import RankscopeError, UsageError
from rankscope.generators.depth import Attended, State, walk
from rankscope.generators.network import Stack
from rankscope.generators.plain import plainly
from rankscope.generators.stack import called
from rankscope.records import Matrix, Reading, Record, Series, Subject

OF_PRODUCTS: Final = (
    "rank_exact",
    "rank_numerical",
    "effective_rank",
    "stable_rank",
    "logdet",
    "sigma_max",
    "log10_sigma_min",
)
"""What is measured of the product of all attention matrices, where no measure of matrices is named."""


ALIKE: Final = -20.0
"""log₂ of the differences of rows below which float64 holds little of them."""

OF_SMALL_VALUES: Final = ("rank_exact", "rank_scores", "logdet", "log10_sigma_min", "log10_condition", "sv_ratio_1_2")
"""Measures of matrices that rest on singular values beside the largest."""

BELOW: Final = "rows agree in float64 up to a few digits, in which the matrix of the true tokens is not held"
"""Why such a measure has no value."""


def matrix_of(stack: Stack, number: int) -> Matrix:
    """The row of `matrices` of a network."""
    return replace(described(stack.origin, (stack.n, stack.n), number), network=stack.network)


@dataclass
class Walk:
    """One network on its way through its layers, and the rows that it has made so far."""

    stack: Stack
    number: int
    study: DepthStudy
    measures: Chosen
    rows: list[Record] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    mixings: dict[int, list[Mixing]] = field(default_factory=dict)
    operators: dict[int, list[Operator]] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    log_smallest: float = 0.0
    alike: bool = False
    notes: tuple[str, ...] = ()

    def analysed(self) -> list[Analysed]:
        """What the network adds to a table: its own rows, and those of the product of its matrices."""
        stack = self.stack
        if self.study.product:
            check_dense(stack.n, stack.n, stack.layers * stack.heads)
        plain = plainly(stack)
        history = History((), (), (), (), why_no_bound(stack))
        for state in walk(stack, self.observe):
            history = after(history, state, self.study, stack, self.blocks)
            self.state(state, history)
            if self.measures.needing(Plain):
                values, plain = following(plain)
                kept = storage(stack.dtype)
                self.add(Plain, Plain(values, kept, self.study.centre, self.study.absolute), state.layer)
            if state.block is not None:
                self.blocks = [*(self.blocks if self.study.paths else []), state.block]
                if state.block.mlp is not None:
                    self.add(Mlp, state.block.mlp, state.layer)
        self.after_all(history)
        own = Analysed(replace(matrix_of(stack, self.number), notes=self.notes), self.rows, self.series)
        return [own, self.of_product()] if self.study.product else [own]

    def add(self, kind: type, need: Any, layer: int | None, head: int | None = None) -> None:
        """A row for each measure that needs this."""
        for measure in self.measures.needing(kind):
            subject: Subject = "mask" if kind is Graph else "scores" if kind is Mixing else "tokens"
            self.row(measure.name, measure.group, measure(need), layer, head, subject=subject)

    def row(
        self, name: str, group: str, reading: Reading, layer: int | None, head: int | None = None, *,
        over: str | None = None, subject: Subject = "tokens",
    ) -> None:  # fmt: skip
        """One row."""
        names = {each.name for each in fields(Reading)} - {"series", "subject", "value"}
        known: dict[str, Any] = {each: getattr(reading, each) for each in names}
        known |= {"layer": layer, "head": head, "over": over, "seed": self.stack.seed}
        self.rows.append(Record(self.number, name, reading.value, group, subject=subject, **known))

    def state(self, state: State, history: History) -> None:
        """The rows of the tokens that enter a layer, or leave the last one."""
        self.add(Distance, Distance(state.tokens, self.study.centre, self.study.absolute), state.layer)
        self.add(History, history, state.layer)
        self.add(Tokens, state.tokens, state.layer)

    def observe(self, attended: Attended) -> None:
        """The rows of one attention matrix, while it is alive."""
        self.add(Mixing, attended.mixing, attended.layer, attended.head)
        if isinstance(attended.mixing, Whole):  # a matrix that sees everything is only made when asked for
            self.notes = tuple(dict.fromkeys([*self.notes, *attended.make().origin.notes]))
        if self.measures.matrices:
            operator = attended.make()
            needs = Needs(operator, self.study.numerics)
            for measure in self.measures.matrices:
                reading = told(measure, attended.mixing) or measure.read(needs)
                self.rows.append(measure.row(reading, operator, self.number))
                for name, listed in reading.series.items():
                    indexed = listed if isinstance(listed, dict) else dict(enumerate(listed, 1))
                    self.series.append(series_of(name, indexed, [], operator, self.number))
        if "log10_wu_gap" in {measure.name for measure in self.measures.needing(Graph)}:
            smallest = float(
                attended.mixing.matrix.min(where=seen_by(self.stack, attended.layer, attended.head), initial=1.0)
            )
            self.log_smallest = min(self.log_smallest, math.log(smallest) if smallest > 0 else -math.inf)
        if self.study.paths:
            self.mixings.setdefault(attended.layer, []).append(attended.mixing)
        if self.study.product:
            self.operators.setdefault(attended.layer, []).append(attended.make())
            self.alike = self.alike or alike(attended.mixing)

    def after_all(self, history: History) -> None:
        """The rows of the network as a whole: gradients, the masks, the paths."""
        if self.measures.needing(Gradients):
            self.gradients(history)
        if "mlp_lipschitz" in self.study.measures and not self.stack.mlp:
            self.row("mlp_lipschitz", "maps", unknown("the network has no MLP"), None)
        if self.measures.needing(Graph):
            stack = self.stack
            alone = stack.design == "pure" and stack.norm == "none" and stack.heads == 1 and stack.rescale == "none"
            self.add(Graph, Graph(patterns(stack), self.log_smallest, covered=alone), None)
        if self.study.paths:
            for each in by_length(Tokens.of(self.stack.tokens()), self.steps(), self.stack.skip, self.stack.seed):
                self.path(each)

    def gradients(self, history: History) -> None:
        """The rows of gradients; where everything was asked for and they cannot be taken, they say why."""
        from rankscope.generators.gradients import gradient_norms

        try:
            found = gradient_norms(self.stack)
        except UsageError as reason:
            if "all" not in self.study.measures:
                raise
            for measure in self.measures.needing(Gradients):
                self.row(measure.name, measure.group, unknown(f"{reason.code}: {reason.given}"), None)
            return
        for layer, norms in enumerate(found):
            tokens = history.relative[layer]
            self.add(Gradients, Gradients(**norms, log10_residual=tokens), layer)

    def path(self, of: Length) -> None:
        """The rows of the paths of one length."""
        details = {"length": of.length, "paths": of.count, "followed": of.followed}
        over = f"paths of length {of.length}"
        method = "all paths" if of.followed == of.count else f"{of.followed} of {of.count:.3g} paths, 95 % of the mean"
        because = of.because
        residual = Reading(of.log10_residual, "estimated", method, because, of.low, of.high, details=details)
        self.row("log10_path_residual", "paths", residual, None, over=over)
        share = Reading(of.share, "estimated", "sums over all paths of a length", of.because_share, details=details)
        self.row("path_share", "paths", share, None, over=over)

    def steps(self) -> list[list[Step]]:
        """The heads of each layer as maps of tokens."""
        found = []
        for layer, block in enumerate(self.blocks):
            mixings = self.mixings[0 if self.stack.fixed else layer]
            found.append([self.step(mixed, head) for mixed, head in zip(mixings, block.heads, strict=True)])
        return found

    def step(self, mixed: Mixing, head: Head) -> Step:
        """One head as a map of tokens, with the strength of its branch."""
        levels, strength = self.stack.levels, self.stack.strength
        return lambda x: mixed(x.linear(head.value), *levels).linear(head.output) * strength

    def of_product(self) -> Analysed:
        """The product of the attention matrices over layers, the last one leftmost, each the mean over its heads."""
        stack = self.stack
        parts = []
        for layer in reversed(range(stack.layers)):
            heads = self.operators[0 if stack.fixed else layer]
            parts.append(heads[0] if len(heads) == 1 else Mean(tuple(heads), heads[0].origin))
        label = f"product over {stack.layers} layers: {stack.label}"
        origin = replace(stack.origin, label=label, over="layers-product")
        names = tuple(measure.name for measure in self.measures.matrices if self.study.measures) or OF_PRODUCTS
        made, identity = Product(tuple(parts), origin), len(self.study.stacks) + self.number
        whole = [measure for measure in chosen(names) if not (self.alike and measure.name in OF_SMALL_VALUES)]
        found = analyse(made, identity, whole, self.study.numerics)
        lacking = [measure.row(unknown(BELOW), made, identity) for measure in chosen(names) if measure not in whole]
        return replace(found, records=[*found.records, *lacking])


def alike(mixing: Mixing) -> bool:
    """Whether the rows of an attention matrix agree so far that float64 holds little of what tells them apart."""
    return isinstance(mixing, Split) and mixing.own.log2_norm < ALIKE


def told(measure: Measure, mixing: Mixing) -> Reading | None:
    """What is said of a measure of small singular values instead of a number, where these are lost in float64."""
    return unknown(BELOW) if measure.name in OF_SMALL_VALUES and alike(mixing) else None


def seen_by(stack: Stack, layer: int, head: int) -> Boolean:
    """Which keys the queries of a head see."""
    i = np.arange(stack.n)
    seen = np.array(np.broadcast_to(stack.masks[layer, head].allows(i[:, None], i[None, :]), (stack.n, stack.n)))
    return seen | (stack.empty_rows == "uniform") & ~seen.any(axis=1, keepdims=True)


def patterns(stack: Stack) -> list[Boolean]:
    """Who sees whom in each layer under any head, and itself where a skip connection keeps it."""
    found: dict[tuple[str, ...], Boolean] = {}
    listed = []
    for layer in range(stack.layers):
        of = 0 if stack.fixed else layer
        key = tuple(stack.masks[of, head].label for head in range(stack.heads))
        if key not in found:
            found[key] = np.any([seen_by(stack, of, head) for head in range(stack.heads)], axis=0)
            found[key] |= np.eye(stack.n, dtype=bool) & stack.skip
        listed.append(found[key])
    return listed


def following(plain: Iterator[Float64]) -> tuple[Float64 | None, Iterator[Float64]]:
    """The next tokens of plain arithmetic, or none from where it has failed."""
    try:
        return next(plain, None), plain
    except RankscopeError:
        return None, iter(())


def after(history: History, state: State, study: DepthStudy, stack: Stack, blocks: list[Block]) -> History:
    """The history with one more layer."""
    tokens = state.tokens
    relative = Distance(tokens, study.centre, study.absolute).reading("frobenius")
    absolute = Distance(tokens, study.centre, absolute=True).reading("frobenius")
    small = tokens.log10_residual
    rounding = 4 * EPS * (abs(small) + abs(tokens.log2_norm)) if math.isfinite(small) else 0.0
    error = SAFETY * (tokens.error + tokens.mean_error) / math.log(10) + rounding
    bounds = history.bounds
    if not history.why_no_bound:
        last = bounds[-1] if bounds else None
        known = Distance(tokens, absolute=True).reading("composite").value if not bounds else None
        bounds += (known if not bounds else None if last is None else dong_step(last, blocks[-1], stack.scale),)
    logs = (*history.logs, None if relative.value is None else float(relative.value))
    absolutes = (*history.absolute, None if absolute.value is None else float(absolute.value))
    known = None if tokens.lost or not math.isfinite(small) else small
    return History(logs, (*history.errors, error), absolutes, bounds, history.why_no_bound, (*history.relative, known))


def why_no_bound(stack: Stack) -> str:
    """Why Theorem 2.3 of Dong et al. does not speak of this network; empty if it does."""
    plain = (called(stack.kernel), called(stack.position), called(stack.mask) or "bidirectional", stack.plan)
    if stack.design != "pure" or stack.norm != "none" or stack.rescale != "none" or stack.fixed or stack.strength != 1:
        return "the theorem is for attention alone, without skips, MLPs and norms"
    if plain != ("softmax", "none", "bidirectional", "uniform"):
        return "the theorem is for softmax attention that sees everything, without a position"
    return ""
