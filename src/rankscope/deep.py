"""Studies of depth: networks of layers, walked through from layer to layer. `rankscope.depth` is their entry."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from inspect import signature
from itertools import product as product_of
from typing import Any

from rankscope.analyzer.analyze import Analysed
from rankscope.analyzer.contrast import contrasts
from rankscope.analyzer.depth import DepthMeasure
from rankscope.analyzer.paths import check_linear
from rankscope.analyzer.residual import Centre, check_centre
from rankscope.arrays import VERSIONS, blas_threads
from rankscope.depth_study import DepthStudy, choose
from rankscope.errors import RankscopeError, UsageError, error
from rankscope.generators.checked import check_network
from rankscope.generators.given import decided
from rankscope.generators.network import DESIGNS, OF_MLP, Stack
from rankscope.records import Record, Table
from rankscope.registry import nearest
from rankscope.result import Result
from rankscope.study import named
from rankscope.walk import Walk, matrix_of
from rankscope.workers import affordable, in_threads


def run_depth(study: DepthStudy, *, workers: int | None = None, timing: bool = False) -> Result:
    """Walk through every network of a study, `workers` at a time.

    A network that cannot be measured is reported in its place and hides no other.

    Raises:
        RankscopeError: an unknown name, or the first error when no network could be measured.
    """
    started = time.perf_counter()
    check_centre(study.centre)
    measures = choose(study.measures)
    for stack in study.stacks:
        check_network(stack)
        if study.paths:
            check_linear(stack.mlp, stack.norm)
    reasons: list[RankscopeError] = []

    def one(numbered: tuple[int, Stack]) -> list[Analysed]:
        number, stack = numbered
        try:
            return Walk(stack, number, study, measures).analysed()
        except RankscopeError as reason:
            if isinstance(reason, UsageError) and reason.code not in ("RS003", "RS005"):
                raise
            reasons.append(reason)
            rows = [refusal(stack, number, measure, reason) for measure in measures.depth]
            return [Analysed(matrix_of(stack, number), rows, [])]

    count = affordable([(stack.n, stack.n) for stack in study.stacks], workers)
    with blas_threads(study.blas_threads):
        found = [each for group in in_threads(one, list(enumerate(study.stacks)), count) for each in group]
    if study.stacks and len(reasons) == len(study.stacks):
        raise reasons[0]
    records = [record for each in found for record in each.records]
    matrices = sorted((each.matrix for each in found), key=lambda matrix: matrix.id)
    run = {"seconds": time.perf_counter() - started, "workers": count} if timing else None
    series = [each for one_of in found for each in one_of.series]
    plain = Table(study.described(), matrices, records, series, run, versions=VERSIONS)
    return Result(replace(plain, records=[*records, *contrasts(plain)]))


def refusal(stack: Stack, number: int, measure: DepthMeasure, reason: RankscopeError) -> Record:
    """The row of a measure that a network could not be given."""
    return Record(
        number,
        measure.name,
        None,
        measure.group,
        because=reason.given,
        seed=stack.seed,
        status="refused",
        code=reason.code,
    )


def depth(
    mask: Any = None,
    *,
    design: Any = None,
    measures: str | Iterable[str] = (),
    centre: Centre = "mean",
    absolute: bool = False,
    paths: bool = False,
    product: bool = False,
    seeds: Iterable[int] | None = None,
    workers: int | None = None,
    tokens: Any = None,
    blocks: Any = None,
    **options: Any,
) -> Result:
    """How tokens tend to each other through layers of attention, and what stops them.

    Args:
        mask: a mask or several; none for every key.
        design: what a layer has beside attention: "pure", "skip", "mlp" or "skip+mlp", or several; none to take the
            options `skip` and `mlp` as they are.
        measures: names of depth measures and of measures of matrices; none for the default set, "all" for every one.
        centre: what tokens are compared with: their "mean", the "first", or the "minimiser" of each norm.
        absolute: residuals as they are, not divided by the norm of the tokens.
        paths: decompose networks without MLP and norm into paths (Dong et al. 2021, Theorem 2.1).
        product: measure the product of the attention matrices over layers, too.
        seeds: several seeds; none for the one in `options`.
        workers: how many networks to walk at once; the result does not depend on it.
        tokens: your own tokens, n × width, instead of random ones.
        blocks: your own maps, one `Block` for each layer, instead of random ones. A `Linear` maps rows x to x·W + b;
            of a torch.nn.Linear take weight.T.
        **options: those of `rankscope.Stack`; a list is tried through, together with every other.

    >>> result = depth(n=16, d=8, layers=5)
    >>> [round(float(record)) for record in result["log10_residual"]]
    [0, 0, -1, -4, -13, -40]
    """
    own = signature(depth).parameters.keys() - {"options"}
    known = {each.name for each in fields(Stack)} - {"given_tokens", "given_blocks"}
    for name in options:
        if name not in known:
            raise error("RS001", f"depth has no option {name!r}", nearest(name, sorted(known | own)))
    random = options if seeds is None else {**options, "seed": seeds}
    given = decided(tokens, blocks, random)
    every = {"mask": mask, **options, **({} if seeds is None else {"seed": list(seeds)})}
    listed = {name: list(value) if isinstance(value, list | tuple) else [value] for name, value in every.items()}
    for name, values in listed.items():
        if not values:
            raise error("RS002", f"an empty list for {name}", "give one value at least")
    stacks = (Stack(**{**dict(zip(listed, values, strict=True)), **given}) for values in product_of(*listed.values()))
    networks = designed(named(design) if design else (), stacks)
    study = DepthStudy(networks, named(measures), centre, absolute, paths, product)
    return run_depth(study, workers=workers)


def designed(designs: Sequence[str], stacks: Iterable[Stack]) -> tuple[Stack, ...]:
    """Each network with the parts that each design names, and no others, none twice; as they are for no designs."""
    made = list(stacks)
    for design in designs:
        if design not in DESIGNS:
            raise error("RS001", f"there is no design {design!r}", nearest(design, list(DESIGNS)))
    if designs and any(stack.skip for stack in made):
        given = f"skip connections with the designs {', '.join(designs)}"
        raise error("RS003", given, "leave them out: a design says so")
    if designs and not any("mlp" in design for design in designs) and any(stack.mlp for stack in made):
        given = f"an MLP with the designs {', '.join(designs)}"
        raise error("RS003", given, "add a design that has one: mlp or skip+mlp")
    found = [each for stack in made for each in ([with_design(one, stack) for one in designs] or [stack])]
    return tuple({str(each.described()): each for each in found}.values())


def with_design(design: str, stack: Stack) -> Stack:
    """The network with the parts of a design; what is said of an MLP that it lacks is forgotten."""
    if stack.given_blocks is not None and ("mlp" in design) != (stack.mlp is not None):
        blocks = "blocks with an MLP" if stack.mlp else "blocks without an MLP"
        raise error("RS003", f"the design {design} with {blocks}", "name designs that fit the blocks")
    if "mlp" in design:
        return replace(stack, skip="skip" in design, mlp=stack.mlp or "relu")
    return replace(stack, skip="skip" in design, mlp=None, **{name: getattr(Stack, name) for name in OF_MLP})
