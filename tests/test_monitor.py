"""A monitor looks at attention while a model trains: its rows are those of the matrices, and training goes on."""

import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import rankscope as rs
from rankscope.errors import RankscopeError
from rankscope.monitor import COLUMNS, LARGEST, MEASURES

WIDTH, HEADS, TOKENS = 16, 4, 10


def encoder(layers: int = 2, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, dropout, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def batch(number: int = 0) -> Tensor:
    return torch.randn(3, TOKENS, WIDTH, generator=torch.Generator().manual_seed(number))


def trained(model: nn.Module, steps: int, seed: int = 5) -> list[Tensor]:
    """The weights after some steps of gradient descent."""
    torch.manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(steps):
        optimiser.zero_grad()
        model(batch(step)).square().mean().backward()
        optimiser.step()
    return [each.detach().clone() for each in model.parameters()]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_training_goes_on_bit_by_bit_as_without_a_monitor(dropout: float) -> None:
    alone = trained(encoder(dropout=dropout), 4)
    watched = encoder(dropout=dropout)
    with rs.Monitor(watched, every=2) as monitor:
        found = trained(watched, 4)
    assert all(torch.equal(a, b) for a, b in zip(alone, found, strict=True))
    assert {row["step"] for row in monitor.rows} == {0, 2}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in watched.modules())


def test_the_rows_are_what_the_captured_matrices_measure() -> None:
    model = encoder().train()
    with rs.Monitor(model, every=1, heads=HEADS) as monitor:
        model(batch())
    with torch.no_grad(), rs.capture(model) as captured:
        model(batch()[:1])
    records = rs.analyze(captured, measures=",".join(MEASURES)).table.records
    assert len(monitor.rows) == 2 * len(MEASURES)
    for row in monitor.rows:
        values = [float(r) for r in records if (r.layer, r.measure) == (row["layer"], row["measure"])]
        # One text of three is the same product in float32, rounded by another blocking of it: 2·d·u of the scores.
        slack = 1e-5
        assert row["heads"] == HEADS == len(values)
        assert row["mean"] == pytest.approx(sum(values) / HEADS, rel=slack)
        assert (row["least"], row["greatest"]) == pytest.approx((min(values), max(values)), rel=slack)


def test_the_latest_scalars_are_means_and_of_logits_the_largest() -> None:
    model = encoder().train()
    with rs.Monitor(model, every=1) as monitor:
        model(batch(0))
        model(batch(1))
    latest = {row["measure"]: row for row in monitor.rows if row["step"] == 1 and row["layer"] == 1}
    assert set(monitor.latest) == {f"attention/layer.{layer}/{name}" for layer in (0, 1) for name in MEASURES}
    for name, row in latest.items():
        assert monitor.latest[f"attention/layer.1/{name}"] == row["greatest" if name in LARGEST else "mean"]


def test_only_every_so_many_training_steps_are_measured_and_only_chosen_layers_and_heads() -> None:
    model = encoder(3)
    monitor = rs.Monitor(model, every=3, measures="row_entropy", heads=2, layers=[0, 2])
    for step in range(7):
        model.train()
        model(batch(step))
        model.eval()
        model(batch(step))
    assert [(row["step"], row["layer"]) for row in monitor.rows] == [(s, x) for s in (0, 3, 6) for x in (0, 2)]
    assert {row["heads"] for row in monitor.rows} == {2}
    assert (monitor.cost.steps, monitor.cost.measured) == (7, 3)
    assert monitor.cost.seconds > 0
    assert 0 < monitor.cost.share <= 1
    assert "3 of 7 steps measured" in str(monitor.cost)
    monitor.enabled = False
    model.train()
    for step in range(3):
        model(batch(step))
    assert len(monitor.rows) == 6
    monitor.close()
    monitor.close()


def test_a_step_of_several_calls_is_measured_once() -> None:
    model = encoder(1).train()
    with rs.Monitor(model, every=2, measures="sink_rate") as monitor:
        for step in range(4):
            monitor.begin(step)
            for part in range(3):
                model(batch(part))
    assert [row["step"] for row in monitor.rows] == [0, 2]
    assert monitor.cost.steps == 4


def test_a_head_with_nan_is_counted_and_does_not_end_the_training() -> None:
    model = encoder(1).train()
    with torch.no_grad():
        next(model.parameters())[:] = torch.nan
    with rs.Monitor(model, every=1) as monitor:
        model(batch())
    assert {(row["mean"], row["unknown"], row["heads"]) for row in monitor.rows} == {(None, HEADS, HEADS)}
    assert monitor.latest == {}


def test_a_call_that_fails_leaves_the_model_free() -> None:
    model = encoder(1).train()
    with rs.Monitor(model, every=1) as monitor:
        with pytest.raises(AssertionError, match="embedding dimension"):  # the model's own
            model(torch.randn(2, 3, WIDTH + 1))
        model(batch())
    assert monitor.rows
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_without_attention_is_said_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4)).train()
    with rs.Monitor(model, every=1), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model(torch.randn(2, 4))
        model(torch.randn(2, 4))
    assert ["saw no attention" in str(each.message) for each in said] == [True]


@pytest.mark.parametrize(
    ("options", "code"),
    [({"every": 0}, "RS002"), ({"heads": 0}, "RS002"), ({"measures": "rank_of_things"}, "RS001")],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], code: str) -> None:
    with pytest.raises(RankscopeError) as refused:
        rs.Monitor(encoder(1), **options)
    assert refused.value.code == code


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(RankscopeError, match=r"torch\.nn\.Module"):
        rs.Monitor(lambda x: x)


def test_the_rows_are_a_frame_and_a_file(tmp_path: Path) -> None:
    model = encoder(1).train()
    with rs.Monitor(model, every=1, measures="row_entropy,sink_rate") as monitor:
        assert list(monitor.to_frame().columns) == list(COLUMNS)
        model(batch())
    frame = monitor.to_frame()
    assert len(frame) == 2
    monitor.save(tmp_path / "log.csv")
    back = pd.read_csv(tmp_path / "log.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)
    with pytest.raises(RankscopeError, match=r"End its name with \.csv"):
        monitor.save(tmp_path / "log.txt")


# transformers' Trainer: its own warnings are not ours.
@pytest.mark.filterwarnings("ignore")
def test_the_trainer_of_transformers_counts_the_steps_and_logs_the_scalars(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = BertForSequenceClassification(BertConfig(**sizes, vocab_size=30))
    rows: Any = [{"input_ids": torch.arange(k, k + 8), "labels": torch.tensor(k % 2)} for k in range(16)]
    arguments: Any = TrainingArguments(
        output_dir=str(tmp_path), max_steps=4, per_device_train_batch_size=2, gradient_accumulation_steps=2,
        logging_steps=1, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    monitor = rs.Monitor(model, every=2, measures="effective_rank")
    trainer: Any = Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[monitor.callback()])
    trainer.train()
    assert [(row["step"], row["layer"]) for row in monitor.rows] == [(0, 0), (0, 1), (2, 0), (2, 1)]
    logged = [each for each in trainer.state.log_history if "attention/layer.1/effective_rank" in each]
    assert [each["step"] for each in logged][:4] == [1, 2, 3, 4]
    assert logged[3]["attention/layer.1/effective_rank"] == monitor.rows[-1]["mean"]
    assert monitor.cost.steps == 4


def test_a_monitor_that_fails_says_so_once_and_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = trained(encoder(), 3)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no")

    for place in ("rankscope.generators.capture.sampling.layer_of", "rankscope.generators.capture.sampling.following"):
        with monkeypatch.context() as patched:
            patched.setattr(place, broken)
            watched = encoder()
            with (
                pytest.warns(UserWarning, match="disabled from step 0 on: RuntimeError: no") as said,
                rs.Monitor(watched, every=1) as monitor,
            ):
                found = trained(watched, 3)
        assert len(said) == 1
        assert all(torch.equal(a, b) for a, b in zip(alone, found, strict=True))
        assert (monitor.rows, monitor.enabled) == ([], False)


@pytest.mark.parametrize("start", [rs.Monitor, rs.capture])
def test_a_compiled_model_is_refused_before_it_runs(start: Any) -> None:
    compiled = torch.compile(encoder(), backend="eager")
    within = encoder()
    within.compile(backend="eager")
    for model in (compiled, within):
        with pytest.raises(RankscopeError, match="compiled") as refused, start(model):
            pass
        assert refused.value.code == "RS105"


def test_a_monitor_prints_as_what_it_costs() -> None:
    assert repr(rs.Monitor(encoder(), every=7)).startswith("<Monitor of TransformerEncoder, every 7 steps: 0 of 0")


class Stopped(nn.Module):
    """Attention, and then what happens to a training that is interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.after: Any = lambda: None

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(x, x, x)[0]
        self.after()
        return x


def interrupt() -> None:
    raise KeyboardInterrupt


def left(model: nn.Module) -> tuple[int, int]:
    """Hooks and modes that are on."""
    hooks = sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules())
    return hooks, len(torch.overrides._get_current_function_mode_stack())  # type: ignore[no-untyped-call]


def test_an_interrupted_step_leaves_nothing_behind() -> None:
    model = Stopped()
    model.after = interrupt
    with pytest.raises(KeyboardInterrupt), rs.Monitor(model) as monitor:
        model(batch())
    assert (left(model), monitor.rows) == ((0, 0), [])


def test_after_an_interrupted_step_monitoring_goes_on_with_the_layers_of_the_model() -> None:
    model = Stopped()
    monitor = rs.Monitor(model, every=1)
    for training in (True, False):
        model.train().after = interrupt
        with pytest.raises(KeyboardInterrupt):
            model(batch())
        model.train(training).after = lambda: None
        model(batch())
        assert {row["layer"] for row in monitor.rows} == {0}
    assert len(monitor.rows) == len(MEASURES)
    monitor.close()
    assert left(model) == (0, 0)


def test_a_monitor_may_be_closed_while_the_model_runs() -> None:
    model = Stopped()
    monitor = rs.Monitor(model)
    model.after = monitor.close
    model(batch())
    assert left(model) == (0, 0)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("start", [rs.Monitor, rs.capture])
@pytest.mark.parametrize("inner", [False, True])
def test_a_scripted_model_is_refused(start: Any, inner: bool) -> None:
    scripted: Any = torch.jit.trace(nn.Linear(WIDTH, WIDTH), batch())  # type: ignore[no-untyped-call]
    with pytest.raises(RankscopeError, match="scripted"), start(nn.Sequential(scripted) if inner else scripted):
        pass


@pytest.mark.parametrize("start", [rs.Monitor, rs.capture])
def test_a_compiled_part_is_named(start: Any) -> None:
    model = encoder()
    model.layers[1].compile(backend="eager")  # type: ignore[union-attr, index]
    with pytest.raises(RankscopeError, match=r"layers\.1 is compiled"), start(model):
        pass


def test_a_model_that_is_compiled_later_runs_whole_and_that_is_told() -> None:
    model = encoder()
    monitor = rs.Monitor(model, every=1)
    expected = model(batch())
    monitor.rows.clear()
    found = torch.compile(model, backend="eager", fullgraph=True)(batch())
    assert torch.equal(found, expected)
    with pytest.warns(UserWarning, match="the model was compiled"):
        monitor.close()


@pytest.mark.parametrize("layers", ["0", [0, "1"], [-1], 0.5])
def test_layers_that_are_none_are_refused_at_once(layers: Any) -> None:
    with pytest.raises((RankscopeError, TypeError)):
        rs.Monitor(encoder(), layers=layers)


def test_layers_may_be_one_or_any_iterable() -> None:
    for layers in (1, iter([1])):
        model = encoder()
        with rs.Monitor(model, every=1, layers=layers) as monitor:  # type: ignore[arg-type]
            for number in range(2):
                model(batch(number))
        assert {(row["step"], row["layer"]) for row in monitor.rows} == {(0, 1), (1, 1)}


def test_layers_that_the_model_has_not_are_named() -> None:
    with pytest.warns(UserWarning, match="no attention in the layers 7"), rs.Monitor(encoder(), layers=[7]) as monitor:
        monitor.model(batch())
