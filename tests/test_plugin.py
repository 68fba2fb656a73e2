"""A plug-in of three short functions: listed, typed, analysed and held to the batteries, touching nothing else."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import rankscope as rs
from rankscope.analyzer.measure import MEASURES
from rankscope.attention.kernels import KERNELS
from rankscope.attention.masks import MASKS
from rankscope.registry import Registry
from tests.process import ROOT, Ended, by_measure, rankscope, strict_json, together, violations, without_traceback

PLUGIN = ROOT / "tests" / "data" / "plugin.py"
REGISTRIES: list[Registry[Any]] = [MASKS, KERNELS, MEASURES]
SMALL = ["analyze", "--n", "12", "--d", "3"]


@pytest.fixture(scope="module")
def ended() -> dict[str, Ended]:
    """The commands of these tests, in processes of their own: a plug-in registers for a whole process."""
    commands: dict[str, list[object]] = {
        "list": ["list", "--plugin", PLUGIN],
        "list without": ["list"],
        "all three": [*SMALL, "--plugin", PLUGIN, "--mask", "spaced:2", "--kernel", "clipped:1", "-f", "json"],
        "table": [*SMALL, "--plugin", PLUGIN],
        "one measure": [*SMALL, "--plugin", PLUGIN, "-m", "spectral_flatness", "-f", "json"],
        "compare": ["compare", *SMALL[1:], "--plugin", PLUGIN, "--mask", "causal & spaced:3,causal", "-f", "json"],
        "default value": [*SMALL, "--plugin", PLUGIN, "--kernel", "clipped", "-f", "json"],
        "mistyped": [*SMALL, "--plugin", PLUGIN, "--mask", "spacd:2"],
        "without its value": [*SMALL, "--plugin", PLUGIN, "--mask", "spaced"],
        "not loaded": [*SMALL, "--mask", "spaced:2"],
        "twice": [*SMALL, "--plugin", PLUGIN, "--plugin", PLUGIN],
    }  # fmt: skip
    return dict(zip(commands, together(list(commands.values())), strict=True))


# ------------------------------------------------------------------------------------------------------------- it works


def test_each_entry_is_listed_with_its_first_line(ended: dict[str, Ended]) -> None:
    shown = " ".join(ended["list"].stdout.split())
    assert "spaced:STEP Every query sees itself and the earlier keys at a multiple of the step." in shown
    assert "clipped[:LIMIT=30] Softmax of scores that are cut off" in shown
    assert "spectral_flatness Geometric over arithmetic mean" in shown
    assert "spaced" not in ended["list without"].stdout


def test_mask_kernel_and_measure_work_together(ended: dict[str, Ended]) -> None:
    document = strict_json(ended["all three"].raw)
    assert violations(document) == []
    [matrix] = document["matrices"]
    assert (matrix["mask"], matrix["kernel"]) == ("spaced:2", "clipped:1")
    found = by_measure(document)
    assert (found["rank_exact"]["value"], found["rank_exact"]["guarantee"]) == (12, "proved")
    assert (found["logdet"]["sign"], found["logdet"]["guarantee"]) == (1, "proved")
    assert 0 < found["spectral_flatness"]["value"] <= 1


def test_the_numbers_are_those_of_the_definition(ended: dict[str, Ended]) -> None:
    rng = np.random.default_rng(0)
    queries, keys = rng.standard_normal((12, 3)), rng.standard_normal((12, 3))
    q, k = np.arange(12)[:, None], np.arange(12)[None, :]
    scores = np.clip(queries @ keys.T / np.sqrt(3), -1, 1)
    made = np.exp(scores) * ((k <= q) & ((q - k) % 2 == 0))
    made /= made.sum(axis=1, keepdims=True)
    found = by_measure(strict_json(ended["all three"].raw))
    assert found["logdet"]["value"] == pytest.approx(float(np.log(np.diagonal(made)).sum()), rel=1e-13)
    values = np.linalg.svd(made, compute_uv=False)
    assert found["stable_rank"]["value"] == pytest.approx(float((values**2).sum() / values[0] ** 2), rel=1e-12)
    assert found["spectral_flatness"]["value"] == pytest.approx(
        float(np.exp(np.log(values).mean()) / values.mean()), rel=1e-9
    )


def test_a_measure_of_a_plugin_is_shown_in_the_table(ended: dict[str, Ended]) -> None:
    [line] = [line for line in ended["table"].stdout.splitlines() if "spectral_flatness" in line]
    assert "estimated" in line
    assert max(len(line) for line in ended["table"].stdout.splitlines()) <= 80


def test_a_measure_of_a_plugin_can_be_the_only_one(ended: dict[str, Ended]) -> None:
    assert list(by_measure(strict_json(ended["one measure"].raw))) == ["spectral_flatness"]


def test_masks_of_a_plugin_combine_and_compare(ended: dict[str, Ended]) -> None:
    document = strict_json(ended["compare"].raw)
    assert [matrix["mask"] for matrix in document["matrices"]] == ["causal & spaced:3", "causal"]


def test_a_default_value_need_not_be_typed(ended: dict[str, Ended]) -> None:
    assert strict_json(ended["default value"].raw)["matrices"][0]["kernel"] == "clipped:30"


# -------------------------------------------------------------------------------------------------------- the batteries


@pytest.fixture
def loaded() -> Iterator[ModuleType]:
    """The plug-in within this process, and the registries as they were afterwards."""
    rs.analyze([[1.0]])  # so that our own measures are registered
    before = [dict(registry.entries) for registry in REGISTRIES]
    specification = importlib.util.spec_from_file_location("rankscope_test_plugin", PLUGIN)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
        yield module
    finally:
        for registry, entries in zip(REGISTRIES, before, strict=True):
            registry.entries.clear()
            registry.entries.update(entries)


def test_the_entries_pass_the_batteries(loaded: ModuleType) -> None:
    rs.testing.check_mask(loaded.spaced(2))
    rs.testing.check_mask(loaded.spaced(3) & MASKS.build("window:4"))
    rs.testing.check_kernel(loaded.clipped())
    rs.testing.check_measure(loaded.spectral_flatness)


def test_the_measure_is_a_public_name(loaded: ModuleType) -> None:
    assert rs.spectral_flatness is loaded.spectral_flatness
    assert float(rs.spectral_flatness(np.eye(3))) == pytest.approx(1.0)


def broken_mask(label: str, allows: Any, **facts: Any) -> rs.Mask:
    return rs.Mask(label, allows, **facts)


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (broken_mask("lies", lambda q, k: k <= q, facts=frozenset({"upper"})), "claims 'upper', which is false"),
        (broken_mask("all", lambda q, k: k <= q, facts=frozenset({"everything"})), "claims 'everything'"),
        (broken_mask("numbers", lambda q, k: (k <= q) * 1), "use comparisons"),
    ],
    ids=["false fact", "not everything", "numbers"],
)
def test_the_battery_of_masks_can_fail(made: rs.Mask, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        rs.testing.check_mask(made)


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (rs.ScoreKernel("rows", lambda s: s - s.max(axis=0, keepdims=True)), "on other rows"),
        (rs.ScoreKernel("shape", lambda s: s[:, :1]), "shape"),
        (rs.FeatureKernel("centred", lambda x, i, place: np.exp(x - x.mean(axis=0))), "depend on other tokens"),
    ],
    ids=["other rows", "another shape", "other tokens"],
)
def test_the_battery_of_kernels_can_fail(made: Any, complaint: str) -> None:
    with pytest.raises((AssertionError, ValueError), match=complaint):
        rs.testing.check_kernel(made)


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("name", ["nothing", "outside"])
def test_the_battery_of_measures_can_fail(name: str) -> None:
    def nothing(spectrum: rs.Spectrum) -> rs.Reading:
        """Unknown, and nobody says why."""
        return rs.Reading(None)

    def outside(spectrum: rs.Spectrum) -> rs.Reading:
        """Not within its own bounds."""
        return rs.Reading(2.0, low=0.0, high=1.0)

    functions: dict[str, Callable[..., rs.Reading | float]] = {"nothing": nothing, "outside": outside}
    with pytest.raises((AssertionError, ValueError), match=r"null without a reason|outside"):
        rs.testing.check_measure(rs.measure(functions[name]))


# --------------------------------------------------------------------------------------------------------------- errors


def test_a_name_of_a_plugin_is_guessed_as_ours_are(ended: dict[str, Ended]) -> None:
    assert "id you mean 'spaced'" in ended["mistyped"].stderr
    assert "rite it as spaced:STEP" in ended["without its value"].stderr
    assert [ended[name].status for name in ("mistyped", "without its value", "not loaded")] == [2, 2, 2]


def test_a_plugin_that_is_given_twice_is_an_error(ended: dict[str, Ended]) -> None:
    assert ended["twice"].status == 2
    assert "registered twice" in ended["twice"].stderr


HEAD = "import rankscope as rs\n"
MASK = "@rs.mask\ndef {name}({parameters}) -> rs.Mask:\n    {doc}\n    return rs.Mask('x', lambda q, k: k <= q)\n"
MEASURE = "@rs.measure\ndef odd({parameters}) -> float:\n    '''Odd.'''\n    return {value}\n"

BROKEN = {
    "a name that is taken": (MASK.format(name="causal", parameters="", doc="'''Again.'''"), [], "registered twice"),
    "no docstring": (MASK.format(name="silent", parameters="", doc="pass"), [], "no docstring"),
    "not Python": ("x = (", [], "SyntaxError"),
    "a missing import": ("import nowhere_to_be_found", [], "nowhere_to_be_found"),
    "an exception": ("raise ValueError('boo')", [], "boo"),
    "a parameter without a type": (
        MASK.format(name="untyped", parameters="width", doc="'''U.'''"), ["--mask", "untyped:3"], "width"
    ),
    "a need that nobody has": (MEASURE.format(parameters="x: int", value="1.0"), ["-m", "odd"], "odd"),
    "a need without a type": (MEASURE.format(parameters="x", value="1.0"), ["-m", "odd"], "odd"),
    "a measure that raises": (MEASURE.format(parameters="s: rs.Spectrum", value="1 / 0"), ["-m", "odd"], "odd"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_one_message_that_names_the_file_or_the_entry(name: str, tmp_path: Path) -> None:
    text, options, hint = BROKEN[name]
    path = tmp_path / "mine.py"
    path.write_text(HEAD + text, "utf-8")
    done = rankscope(*SMALL, "--plugin", path, *options)
    assert done.status == 2, done.stderr
    assert done.stderr.startswith("rankscope: RS005: ")
    assert hint in done.stderr
    assert without_traceback(done)


def test_a_measure_that_is_not_a_number_is_null_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + MEASURE.format(parameters="s: rs.Spectrum", value="float('nan')"), "utf-8")
    for format in ("json", "table"):
        done = rankscope(*SMALL, "--plugin", path, "-m", "odd", "-f", format)
        assert done.status == 0, done.stderr
        if format == "json":
            [record] = strict_json(done.raw)["records"]
            assert record["value"] is None
            assert record["because"]
        else:
            assert not {"nan", "inf"} & set(done.stdout.split())


@pytest.mark.parametrize("name", ["missing.py", "text.txt", "folder", "\x1b[2J.py"])
def test_a_plugin_that_is_no_python_file_is_a_mistake_in_usage(name: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    done = rankscope("list", "--plugin", tmp_path / name)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith("rankscope: RS005: ")
    assert done.stderr.rstrip("\n").isprintable()
    assert without_traceback(done)
