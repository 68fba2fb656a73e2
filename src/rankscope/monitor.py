"""A look at the attention of a model while it trains: a few heads, once in many steps, and what that costs.

Effective rank and entropy of rows, the largest score and the sinks say early that attention collapses, or that its
scores explode. A monitor stands on the model itself, so that any loop will do, and so will the Trainer of transformers.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from rankscope.analyzer.analyze import analyse, chosen
from rankscope.analyzer.numerics import Numerics
from rankscope.arrays import blas_threads
from rankscope.errors import RankscopeError, error
from rankscope.registry import at_least
from rankscope.study import named

if TYPE_CHECKING:
    import pandas as pd

MEASURES: Final = ("effective_rank", "row_entropy_normalized", "max_logit", "sink_rate")
"""What is measured unless names are given."""

LARGEST: Final = frozenset({"max_logit"})
"""Measures of which the largest head counts, and not the mean over heads."""

COLUMNS: Final = ("step", "stack", "layer", "measure", "mean", "least", "greatest", "heads", "unknown")
"""The columns of the table."""


@dataclass
class Cost:
    """What monitoring has cost: measured steps of all steps, seconds in them, and of all since the first step."""

    steps: int = 0
    measured: int = 0
    seconds: float = 0.0
    since: float | None = None

    @property
    def share(self) -> float:
        """The part of the time since the first step that went into measuring."""
        return 0.0 if self.since is None else self.seconds / max(time.perf_counter() - self.since, 1e-9)

    def __str__(self) -> str:
        each = self.seconds / self.measured if self.measured else 0.0
        measured = f"{self.measured} of {self.steps} steps measured"
        return f"{measured}, {each:.3f} s each, {100 * self.share:.2f} % of the time"


@dataclass(repr=False)
class Monitor:
    """Measures the attention of a model in every so many training steps, and appends a row for each layer and measure.

    It follows the calls of the model in training mode; calls in evaluation mode neither count nor are measured. The
    step that is measured computes what it would have computed, gradients included. Heads are spread over each layer,
    and one text of a batch is taken: what is seen is a sample. A monitor that fails says so in a warning and looks no
    more; it never ends the training.

    Args:
        model: a `torch.nn.Module`.
        every: how many steps from one measurement to the next; the first step is measured.
        measures: names as in `rankscope list measures`.
        heads: how many heads of each layer.
        layers: numbers of layers, none for all.

    >>> import torch, rankscope as rs
    >>> model = torch.nn.TransformerEncoderLayer(16, 4, dropout=0.0, batch_first=True)
    >>> monitor = rs.Monitor(model, every=2, measures="row_entropy_normalized")
    >>> for step in range(4):
    ...     model(torch.randn(8, 10, 16)).sum().backward()
    >>> [(row["step"], row["layer"], row["heads"]) for row in monitor.rows]
    [(0, 0, 4), (2, 0, 4)]
    >>> monitor.close()
    """

    model: Any
    every: int = 100
    measures: str | Iterable[str] = MEASURES
    heads: int = 4
    layers: Iterable[int] | None = None
    enabled: bool = True
    rows: list[dict[str, Any]] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    step: int = 0

    def __post_init__(self) -> None:
        from rankscope.generators.capture.capturing import chosen as numbers_of
        from rankscope.generators.capture.following import names_of

        at_least("every", self.every)
        at_least("heads", self.heads)
        names_of(self.model)
        self._layers = numbers_of(self.layers)
        self._chosen = chosen(named(self.measures))
        self._known: dict[tuple[str, int], dict[str, list[Any]]] = {}
        self._watching: Any = None
        self._external = False
        self._said = False
        self._compiled = False
        self._fresh = True
        self._hooks = [
            self.model.register_forward_pre_hook(self._begin),
            self.model.register_forward_hook(self._end, always_call=True),
        ]

    def __repr__(self) -> str:
        return f"<Monitor of {type(self.model).__name__}, every {self.every} steps: {self.cost}>"

    @property
    def latest(self) -> dict[str, float]:
        """The scalars of the last measurement, for a logger: `attention/layer.3/effective_rank` and so on."""
        last = max((row["step"] for row in self.rows), default=None)
        found = {}
        for row in self.rows:
            value = row["greatest"] if row["measure"] in LARGEST else row["mean"]
            if row["step"] == last and value is not None:
                stack = [] if row["stack"] == "model" else [row["stack"].replace(" ", ".")]
                place = "/".join(["attention", *stack, f"layer.{row['layer']}"])
                found[f"{place}/{row['measure']}"] = value
        return found

    def to_frame(self) -> "pd.DataFrame":
        """The rows as a pandas DataFrame."""
        from rankscope.report.table import frame_of

        return frame_of(self.rows, COLUMNS)

    def save(self, path: str | Path) -> None:
        """Write the rows as .csv, complete or not at all."""
        from rankscope.writing import atomic_write

        path = Path(path)
        if path.suffix.lower() != ".csv":
            raise error("RS002", f"the file {path.name!r} for the rows of a monitor", "end its name with .csv")
        atomic_write(path, self.to_frame().to_csv(index=False, lineterminator="\n").encode())

    def callback(self) -> Any:
        """A callback for the Trainer of transformers: steps are the Trainer's, and its logs get the latest scalars."""
        from rankscope.generators.pretrained.loading import transformers_module

        transformers = transformers_module()
        monitor = self

        class Attention(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
            """Tells the monitor which step it is, and the log what it has found."""

            def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                monitor.begin(state.global_step)

            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
                if logs is not None and state.is_world_process_zero:
                    logs.update(monitor.latest)
                    if state.log_history:
                        state.log_history[-1].update(monitor.latest)

            def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                monitor.close()

        return Attention()

    def begin(self, step: int) -> None:
        """Say which step begins, where several calls of the model make one: only the first of them can be measured."""
        self._external, self.step, self._fresh = True, step, True

    def close(self) -> None:
        """Leave the model alone; the rows stay."""
        self._stop()
        if self._compiled and not self.rows:
            self._compiled = False
            text = "rankscope.Monitor saw no attention: the model was compiled, where it is not seen"
            warnings.warn(text, stacklevel=2)
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, module: Any, _: Any) -> None:
        """A call of the model begins; in its turn it is followed."""
        from rankscope.generators.capture.sampling import compiling, sampling

        if compiling():
            self._compiled = True
            return
        self._stop()  # of a call that was interrupted
        if not module.training:
            return
        now = time.perf_counter()
        self.cost.since = now if self.cost.since is None else self.cost.since
        if self._external and not self._fresh:
            return
        self._fresh = False
        self.cost.steps += 1
        if not self.enabled or self.step % self.every:
            return
        self._known = {}
        try:
            watching = sampling(module, self._measure, self.heads, self._layers, self._failed)
            watching.__enter__()
            self._watching = watching
        except Exception as reason:
            self._failed(reason)
        self.cost.measured += 1
        self.cost.seconds += time.perf_counter() - now

    def _end(self, module: Any, _: Any, out: Any) -> None:
        """A call of the model has ended, however it did; one that failed gave nothing, and has no rows."""
        from rankscope.generators.capture.sampling import compiling

        if compiling():
            return
        if self._stop() and out is not None and self.enabled:
            self._append()
        if module.training and not self._external:
            self.step += 1

    def _stop(self) -> bool:
        """Follow the model no more; whether it was followed."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.__exit__(None, None, None)
        return watching is not None

    def _failed(self, reason: Exception) -> None:
        """What looks at a training must not end it: it says what has failed, and looks no more."""
        if self.enabled:
            self.enabled = False
            text = f"rankscope.Monitor is disabled from step {self.step} on: {type(reason).__name__}: {reason}"
            warnings.warn(text, stacklevel=2)

    def _measure(self, make: Callable[[], Any], stack: str, layer: int) -> None:
        """The measures of one head."""
        started = time.perf_counter()
        values = self._known.setdefault((stack, layer), {each.name: [] for each in self._chosen})
        try:
            with blas_threads(1):
                records = analyse(make(), 0, self._chosen, Numerics()).records
            for record in records:
                values[record.measure].append(record.value)
        except RankscopeError:  # a head with NaN must not end the training that has made it: it is counted as unknown
            for found in values.values():
                found.append(None)
        self.cost.seconds += time.perf_counter() - started

    def _append(self) -> None:
        """The rows of one step."""
        if not self._known and not self._said:
            self._said = True
            where = "" if self._layers is None else f" in the layers {', '.join(map(str, sorted(self._layers)))}"
            remedy = "load the model with attn_implementation='sdpa' or 'eager'"
            text = f"rankscope.Monitor saw no attention{where}" + (f": {remedy}" if self._layers is None else "")
            warnings.warn(text, stacklevel=2)
        for (stack, layer), found in self._known.items():
            for measure, values in found.items():
                known = [float(value) for value in values if value is not None and math.isfinite(value)]
                ends = (fmean(known), min(known), max(known)) if known else (None, None, None)
                row = (self.step, stack, layer, measure, *ends, len(values), len(values) - len(known))
                self.rows.append(dict(zip(COLUMNS, row, strict=True)))
