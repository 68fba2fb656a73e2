"""What a model's heads were when they were written they are when they are read; what a stranger may have written."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

import rankscope as rs
from rankscope.attention.operators import Operator
from rankscope.errors import FormatError, InputError, RankscopeError, ResourceError, UsageError
from rankscope.generators.capture.capturing import Capture
from rankscope.generators.capture.dump import write
from rankscope.generators.capture.layer import Layer
from rankscope.generators.capture.names import Site
from rankscope.generators.dumped import FORMAT, is_dump
from rankscope.generators.files import open_archive
from rankscope.generators.models import again
from rankscope.generators.tensors import File
from rankscope.study import Study, run
from tests.generators.architectures import ARCHITECTURES, PAIRED, inputs, loaded, observed
from tests.process import python

N, D = 5, 4
ONE_WORKER = pytest.mark.xdist_group("architectures")  # the one that makes the models
MEASURES = ("effective_rank", "logdet", "max_logit", "row_entropy_normalized")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(number: int = 0, batch: int = 1, **changes: Any) -> Layer:
    query, key = drawn(batch, 2, N, D, seed=number), drawn(batch, 2, N, D, seed=50 + number)
    known = np.full((batch, 2), 0.25)
    made = Layer(Site("", number, f"h.{number}"), query, key, None, None, False, 0.5, None, None, known, "output")
    return replace(made, **changes)


def dumped(captured: Capture, folder: Path) -> Path:
    path = folder / "heads.safetensors"
    write(captured, path)
    return path


def operators(path: Path, **options: Any) -> list[Operator]:
    return [job.make() for job in File(str(path), **options).work().jobs]


def plain(records: Any) -> list[dict[str, Any]]:
    """Rows as plain data; what is no number is equal to itself."""
    return [{name: str(value) if value != value else value for name, value in vars(each).items()} for each in records]


def check_identical(captured: Capture, folder: Path) -> None:
    """Every row, every number and every matrix is the same from the model and from the file."""
    path = dumped(captured, folder)
    one, other = rs.analyze(captured, measures=MEASURES), run(Study((File(str(path)),), MEASURES))
    assert plain(other.table.matrices) == plain(one.table.matrices)
    assert plain(other.table.records) == plain(one.table.records)
    for mine, theirs in zip(captured, operators(path), strict=True):
        assert mine.matrix.tobytes() == theirs.matrix.tobytes()
        assert replace(theirs.origin, limits={}) == replace(mine.origin, limits={})
        assert np.array_equal(theirs.structure.blocks.value, mine.structure.blocks.value)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- round trips


@ONE_WORKER
@pytest.mark.parametrize("name", PAIRED)
def test_heads_of_every_architecture_are_the_same_from_their_file(name: str, tmp_path: Path) -> None:
    check_identical(observed(name).kept, tmp_path)


@ONE_WORKER
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in PAIRED])
def test_scores_that_are_no_product_are_the_same_from_their_file(name: str, tmp_path: Path) -> None:
    """The model reads its text again for each of these layers."""
    model, given = loaded(name), inputs(name)
    kept = replace(observed(name).kept, again=again(model, given))
    assert len(kept) == len(observed(name).heads)
    check_identical(kept, tmp_path)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_heads_in_half_precision_are_the_same_from_their_file(dtype: str, tmp_path: Path) -> None:
    model = loaded("gpt-oss", dtype)
    with torch.no_grad(), rs.capture(model, layers=0) as kept:
        model(**inputs("gpt-oss"))
    check_identical(kept, tmp_path)


later, far = torch.ones(N, N).triu(1).bool(), torch.ones(N, N).tril(-2).bool()
one_biased = drawn(1, 2, N, N, seed=9)
one_biased[0, 0] = 0
padded = torch.ones(2, 1, N, N, dtype=torch.bool)
padded[1, :, :, 3:] = False
empty = torch.ones(N, N, dtype=torch.bool)
empty[2] = False

CAPTURES: dict[str, Callable[[], Capture]] = {
    "plain": lambda: Capture("tiny", [layer(0), layer(1)]),
    "several texts": lambda: Capture("tiny", [layer(0, 2), layer(1, 2)]),
    "several calls": lambda: Capture("tiny", [layer(0), layer(0, site=Site("", 0, "h.0", 1))]),
    "stacks": lambda: Capture("tiny", [layer(0, site=Site(each, 0, "x")) for each in ("encoder", "decoder", "cross")]),
    "chosen heads": lambda: Capture("tiny", [layer(0, 2), layer(1, 2)], heads=frozenset([1])),
    "causal": lambda: Capture("tiny", [layer(0, causal=True), layer(1, mask=~later & ~far)]),
    "given mask": lambda: Capture("tiny", [layer(0, 2, mask=drawn(2, 2, N, N) > -1)]),
    "padded": lambda: Capture("tiny", [layer(0, 2, mask=padded), layer(1, 2, mask=padded)]),
    "an empty row": lambda: Capture("tiny", [layer(0, mask=empty)]),
    "a bias that layers share": lambda: Capture("tiny", [layer(i, mask=drawn(1, 2, N, N, seed=9)) for i in range(3)]),
    "a bias of one head": lambda: Capture("tiny", [layer(0, mask=one_biased)]),
    "a bias and a mask": lambda: Capture("tiny", [layer(0, mask=drawn(N, N).masked_fill(later, -math.inf))]),
    "sinks": lambda: Capture("tiny", [layer(0, sinks=[0.1, -2.3])]),
    "a soft cap": lambda: Capture("tiny", [layer(0, cap=0.123456789012345)]),
    "a soft cap and sinks": lambda: Capture("tiny", [layer(0, cap=1.5, sinks=[0.1, -2.3])]),
    "shared keys": lambda: Capture("tiny", [layer(0, key=drawn(1, 1, N, D, seed=3))]),
    "fewer queries": lambda: Capture("tiny", [layer(0, query=drawn(1, 2, 3, D))]),
    "more queries": lambda: Capture("tiny", [layer(0, query=drawn(1, 2, 8, D), site=Site("cross", 0, "x"))]),
    "one token": lambda: Capture("tiny", [layer(0, query=drawn(1, 2, 1, D), key=drawn(1, 2, 1, D))]),
    "float64": lambda: Capture("tiny", [layer(0, query=drawn(1, 2, N, D).double() / 3, scale=1 / 3)]),
    "scores": lambda: Capture("tiny", [layer(0, query=None, key=None, scores=drawn(1, 2, N, N), scale=1.0)]),
    "scores that are hidden": lambda: Capture("tiny", [
        layer(0, query=None, key=None, scores=drawn(1, 2, N, N).masked_fill(later, -math.inf), mask=~later, scale=1.0),
    ]),
    "no fidelity": lambda: Capture("tiny", [layer(0, fidelity=np.array([[math.nan, 0.5]]))]),
}  # fmt: skip


@pytest.mark.parametrize("name", CAPTURES)
def test_what_is_read_is_what_was_written(name: str, tmp_path: Path) -> None:
    check_identical(CAPTURES[name](), tmp_path)


def test_a_file_is_read_without_torch_and_without_what_wrote_it(tmp_path: Path) -> None:
    path = dumped(CAPTURES["a bias and a mask"](), tmp_path)
    code = (
        "import sys, rankscope as rs; rs.analyze(rs.load(sys.argv[1]), measures='effective_rank');"
        "print([name for name in ('torch', 'safetensors', 'transformers') if name in sys.modules])"
    )
    done = python(code, path)
    assert (done.status, done.stdout.strip()) == (0, "[]"), done.stderr
    assert python("import sys, torch; print('torch' in sys.modules)").stdout.strip() == "True", "the test can fail"


def test_one_head_is_one_matrix(tmp_path: Path) -> None:
    path = dumped(Capture("tiny", [layer(0)], heads=frozenset([1])), tmp_path)
    found = rs.load(path)
    assert isinstance(found, Operator)
    assert found.origin.label == "layer 0 head 1"


# ----------------------------------------------------------------------------------------------------------- options


def test_layers_are_chosen_by_a_pattern_of_their_names(tmp_path: Path) -> None:
    path = dumped(Capture("tiny", [layer(0), layer(1), layer(11)]), tmp_path)
    assert [each.origin.layer for each in operators(path, key="layer.1*")] == [1, 1, 11, 11]
    with pytest.raises(FormatError, match="RS208") as caught:
        operators(path, key="layer.7")
    assert "layer.0, layer.1, layer.11" in caught.value.remedy


def test_another_mask_kernel_or_scale_is_that_of_the_same_queries_and_keys(tmp_path: Path) -> None:
    made = layer(0, causal=True)
    path = dumped(Capture("tiny", [made]), tmp_path)
    changes: list[dict[str, Any]] = [
        {"mask": "window:2"},
        {"kernel": "sigmoid"},
        {"scale": 2.0},
        {"mask": "anticausal", "kernel": "linear"},
    ]
    for options in changes:
        for head, found in enumerate(operators(path, **options)):
            own = made.head(0, head)
            by_hand = rs.attention(
                own.query, own.key, mask=options.get("mask", "causal"), kernel=options.get("kernel", "softmax"),
                scale=options.get("scale", 0.5 * math.sqrt(D)),
            )  # fmt: skip
            assert np.array_equal(found.matrix, by_hand.matrix)  # type: ignore[union-attr]
            assert found.origin.fidelity is None


def test_heads_that_were_changed_are_called_so(tmp_path: Path) -> None:
    path = dumped(Capture("tiny", [layer(0)]), tmp_path)
    [found, _] = operators(path, mask="causal", kernel="sigmoid", scale=2.0)
    assert found.origin.label == "causal kernel=sigmoid scale=2.0 layer 0 head 0"
    assert found.origin.stack == "causal kernel=sigmoid scale=2.0"
    assert operators(path)[0].origin.stack == "model"


def test_padding_may_hold_what_is_no_number(tmp_path: Path) -> None:
    """Tokens that see nothing are NaN in many models; they are left out, as they are where the model runs."""
    seen = torch.ones(1, 1, N, N, dtype=torch.bool)
    seen[..., 3:] = False
    made = layer(0, mask=seen)
    assert made.query is not None
    assert made.key is not None
    made.query[:, :, 3:], made.key[:, :, 3:] = math.nan, math.inf
    captured = Capture("tiny", [made])
    [found, _] = operators(dumped(captured, tmp_path))
    assert found.shape == (3, 3)
    assert np.array_equal(found.matrix, captured.jobs[0].make().matrix)


def test_options_that_scores_cannot_have_are_refused(tmp_path: Path) -> None:
    path = dumped(CAPTURES["scores that are hidden"](), tmp_path)
    for options in ({"scale": 2.0}, {"mask": "bidirectional"}, {"kernel": "linear"}):
        with pytest.raises(UsageError, match="RS003"):
            operators(path, **options)
    assert operators(path, mask="causal & window:2")[0].origin.mask == "causal & window:2"


@pytest.mark.parametrize("options", [{"origin": "stored"}, {"position": "rope"}])
def test_options_that_a_file_of_heads_cannot_have_are_refused(options: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="RS003"):
        operators(dumped(CAPTURES["plain"](), tmp_path), **options)


# ------------------------------------------------------------------------------------------------------ forged files


def forged(
    folder: Path, change: Callable[[dict[str, NDArray[Any]], list[Any], dict[str, str]], Any], name: str = "plain"
) -> Path:
    """A file that was changed: its arrays, its layers, or what else it says of itself."""
    path = dumped(CAPTURES[name](), folder)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
        arrays = {each: file.get_tensor(each) for each in file.keys()}  # noqa: SIM118
    layers = json.loads(metadata["layers"])
    said = change(arrays, layers, metadata)
    metadata["layers"] = said if isinstance(said, str) else json.dumps(layers)
    save_file({each: np.ascontiguousarray(array) for each, array in arrays.items()}, path, metadata)
    return path


def setting(name: str, value: Any) -> Callable[..., None]:
    def change(arrays: Any, layers: Any, metadata: Any) -> None:
        layers[0][name] = value

    return change


NESTED = "[" * 100_000
HUGE = 10**400

MALFORMED: dict[str, Any] = {
    "no JSON": lambda arrays, layers, metadata: "{",
    "not strict JSON": lambda arrays, layers, metadata: "[NaN]",
    "nested without end": lambda arrays, layers, metadata: NESTED,
    "no list": lambda arrays, layers, metadata: "{}",
    "no layers": lambda arrays, layers, metadata: "[]",
    "nothing": lambda arrays, layers, metadata: "",
    "a layer that is none": lambda arrays, layers, metadata: "[7]",
    "a layer without a field": lambda arrays, layers, metadata: layers[0].pop("heads") and None,
    "a layer with one more": setting("extra", 1),
    "a layer twice": lambda arrays, layers, metadata: layers.append(dict(layers[0])),
    "no heads": setting("heads", []),
    "a head that there is not": setting("heads", [0, 2]),
    "a negative head": setting("heads", [-1, 0]),
    "a head twice": setting("heads", [1, 1]),
    "a head that is a list": setting("heads", [[], 0]),
    "a head that is true": setting("heads", [True, False]),
    "more heads than arrays": setting("heads", [0]),
    "no heads of its own": setting("of", 0),
    "more heads than any model": setting("of", HUGE),
    "a negative layer": setting("layer", -1),
    "a layer beyond all": setting("layer", HUGE),
    "a negative call": setting("call", -1),
    "a negative text": setting("text", -7),
    "a layer in words": setting("layer", "0"),
    "a layer that is true": setting("layer", True),
    "a half layer": setting("layer", 0.5),
    "a name that is none": setting("name", None),
    "another name": setting("name", "layer.7"),
    "a negative scale": setting("scale", -0.5),
    "a scale in words": setting("scale", "0.5"),
    "a scale that is true": setting("scale", True),
    "a scale beyond float64": setting("scale", HUGE),
    "a scale at its end": setting("scale", 1e308),
    "a cap of zero": setting("cap", 0),
    "a negative cap": setting("cap", -2.0),
    "a cap beyond float64": setting("cap", HUGE),
    "too few sinks": setting("sinks", [0.5]),
    "sinks in words": setting("sinks", ["0.5", "0.5"]),
    "sinks beyond float64": setting("sinks", [HUGE, 0.5]),
    "sinks that are none": setting("sinks", [None, None]),
    "too much fidelity": setting("fidelity", [0.1] * 3),
    "negative fidelity": setting("fidelity", [-0.1, 0.1]),
    "fidelity in words": setting("fidelity", ["", 0.1]),
    "fidelity beyond float64": setting("fidelity", [HUGE, None]),
    "a mask that there is not": setting("mask", "sideways"),
    "a mask without its number": setting("mask", "window"),
    "no mask": setting("mask", ""),
    "a mask that is given nowhere": setting("mask", "given mask"),
    "a mask in parentheses without end": setting("mask", "(" * 100_000),
    "a mask of huge numbers": setting("mask", f"packed:{10**30}"),
    "a mask of numbers without end": setting("mask", f"window:{'9' * 5000}"),
    "a mask of a wrong shape": setting("mask", "layer.0.query"),
    "a bias that is a mask's name": setting("bias", "causal"),
    "a bias of a wrong shape": setting("bias", "layer.0.query"),
    "a bias in words": setting("bias", 7),
    "no keys": lambda arrays, layers, metadata: arrays.pop("layer.0.key") is None,
    "keys of another size": lambda arrays, layers, metadata: arrays.update({"layer.0.key": np.ones((2, N, 3))}),
    "keys of fewer heads": lambda arrays, layers, metadata: arrays.update({"layer.0.key": np.ones((1, N, D))}),
    "keys without tokens": lambda arrays, layers, metadata: arrays.update({"layer.0.key": np.ones((2, 0, D))}),
    "queries of one head": lambda arrays, layers, metadata: arrays.update({"layer.0.query": np.ones((N, D))}),
    "complex queries": lambda arrays, layers, metadata: arrays.update(
        {"layer.0.query": np.ones((2, N, D), dtype=np.complex64)}),
    "scores of more heads": lambda arrays, layers, metadata: arrays.update({"layer.0.scores": np.ones((3, N, N))}),
    "a cap and a bias": lambda arrays, layers, metadata: (
        layers[0].update(cap=5.0, bias="other"), arrays.update(other=np.ones((N, N))),
    ),
    "another format": lambda arrays, layers, metadata: metadata.update({"rankscope": "rankscope attention 2"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_refused_by_its_format_and_never_falls_over(name: str, tmp_path: Path) -> None:
    path = forged(tmp_path, MALFORMED[name])
    with pytest.raises(FormatError) as caught:
        operators(path)
    assert caught.value.code.startswith("RS2")
    assert "heads.safetensors" in caught.value.given


@pytest.mark.parametrize(
    ("name", "shape", "value"),
    [
        ("mask", (N, N), 2), ("mask", (N, N), 0.5), ("mask", (2, N, N + 1), 1), ("mask", (1, N, N), 1),
        ("mask", (N,), 1), ("mask", (1, 1, N, N), 1), ("mask", (), 1), ("bias", (N, N), 1j), ("bias", (1, N, N), 0.5),
        ("bias", (2, N - 1, N), 0.5), ("bias", (), 1),
    ],
)  # fmt: skip
def test_masks_and_biases_that_do_not_fit_are_refused(
    name: str, shape: tuple[int, ...], value: Any, tmp_path: Path
) -> None:
    def change(arrays: Any, layers: Any, metadata: Any) -> None:
        arrays["other"] = np.full(shape, value).astype(np.complex64 if isinstance(value, complex) else np.float32)
        layers[0][name] = "other"

    with pytest.raises(FormatError) as caught:
        operators(forged(tmp_path, change))
    assert caught.value.code.startswith("RS2")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("part", ["query", "key", "bias", "mask", "scores"])
def test_what_is_no_number_is_refused_in_its_head_alone(part: str, bad: float, tmp_path: Path) -> None:
    def change(arrays: Any, layers: Any, metadata: Any) -> None:
        if part in ("bias", "mask"):
            arrays["other"] = np.ones((2, N, N), dtype=np.float32)
            layers[0][part] = "other"
        found = arrays["other" if part in ("bias", "mask") else f"layer.0.{part}"]
        found[1, 2, 3] = bad

    path = forged(tmp_path, change, "scores" if part == "scores" else "plain")
    first, second, *_ = File(str(path)).work().jobs
    first.make()
    with pytest.raises(InputError) as caught:
        second.make()
    assert caught.value.code == ("RS110" if bad != bad else "RS111")
    assert "row 2, column 3" in caught.value.given


def test_scores_of_minus_infinity_hide_a_key(tmp_path: Path) -> None:
    def change(arrays: Any, layers: Any, metadata: Any) -> None:
        arrays["layer.0.scores"][1, 2, 3] = -np.inf

    found = operators(forged(tmp_path, change, "scores"))
    assert [float(each.matrix[2, 3]) == 0 for each in found] == [False, True]


def test_a_file_whose_matrix_would_not_fit_is_refused_before_it_is_made(tmp_path: Path) -> None:
    """And before its queries are read: a short file can hold those of a matrix that no machine holds."""
    [first, *_] = File(str(dumped(CAPTURES["plain"](), tmp_path))).work().jobs
    with (
        mock.patch("rankscope.arrays.available_memory", return_value=64),
        pytest.raises(ResourceError, match="RS301: the analysis of a matrix of 5 × 5"),
    ):
        first.make()


def test_names_that_a_terminal_would_obey_are_escaped(tmp_path: Path) -> None:
    def change(arrays: Any, layers: Any, metadata: Any) -> None:
        metadata["model"] = "bert\x1b[2J"
        layers[0]["module"] = "h.0\x1b[2J"
        layers[0]["stack"] = "side\x1b[2J"

    [first, *_] = operators(forged(tmp_path, change))
    assert (first.origin.source, first.origin.key, first.origin.stack) == (
        "bert\\x1b[2J", "h.0\\x1b[2J", "side\\x1b[2J",
    )  # fmt: skip
    assert first.origin.label == "side\\x1b[2J layer 0 head 0"


def test_files_of_other_writers_are_none(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"layer.0.query": np.ones((2, 3, 4)), "layer.0.key": np.ones((2, 3, 4))}, path)
    assert not is_dump(open_archive(str(path)))
    assert is_dump(open_archive(str(dumped(CAPTURES["plain"](), tmp_path))))
    assert FORMAT == "rankscope attention 1"


def test_an_error_of_one_head_hides_no_other_in_a_table(tmp_path: Path) -> None:
    path = forged(tmp_path, lambda arrays, layers, metadata: arrays["layer.0.query"].__setitem__((0, 0, 0), np.nan))
    found = rs.run(Study((File(str(path)),), ("effective_rank",)))["effective_rank"]
    assert [record.code for record in found] == ["RS110", None, None, None]  # type: ignore[union-attr]


def test_an_unknown_kernel_is_the_users_own_error(tmp_path: Path) -> None:
    with pytest.raises(RankscopeError, match="RS001"):
        operators(dumped(CAPTURES["plain"](), tmp_path), kernel="softsoft")
