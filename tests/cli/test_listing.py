"""`rankscope list`: every name that can be typed is there, with what it is, and can be typed as it stands."""

import re
from collections.abc import Callable

import pytest

from rankscope.analyzer.analyze import chosen, measures
from rankscope.analyzer.rank import RULES
from rankscope.attention.kernels import KERNELS
from rankscope.attention.masks import MASKS
from rankscope.attention.pointwise import ACTIVATIONS
from rankscope.attention.positions import POSITIONS
from rankscope.depth_study import depth_measures
from rankscope.generators.ensembles import ENSEMBLES
from rankscope.generators.initial import INITIALISATIONS
from rankscope.generators.plans import PLANS
from rankscope.report.figure import names as figures
from tests.process import called

NAMES: dict[str, Callable[[], list[str]]] = {
    "masks": MASKS.names,
    "kernels": KERNELS.names,
    "positions": POSITIONS.names,
    "ensembles": ENSEMBLES.names,
    "initialisations": INITIALISATIONS.names,
    "activations": ACTIVATIONS.names,
    "plans": PLANS.names,
    "measures": lambda: [each.name for each in chosen(("all",))],
    "depth-measures": lambda: [each.name for each in depth_measures()],
    "rules": RULES.names,
    "figures": figures,
}


def listed(kind: str) -> dict[str, str]:
    """Usage and help of each entry of one kind."""
    done = called("list", kind)
    assert (done.status, done.stderr) == (0, "")
    title, *lines = done.stdout.splitlines()
    assert title == kind
    found: dict[str, str] = {}
    for line in lines:
        entry = re.match(r"  (\S+)(?:  +(.*))?$", line)
        if entry:
            found[entry[1]] = entry[2] or ""
        else:
            name = list(found)[-1]
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


@pytest.mark.parametrize("kind", NAMES)
def test_every_entry_stands_there_with_its_help(kind: str) -> None:
    found = listed(kind)
    assert [re.split(r"[:\[]", usage)[0] for usage in found] == NAMES[kind]()
    assert all(help.endswith(".") and len(help) > 10 for help in found.values()), found


def test_without_a_kind_all_kinds_are_listed_in_order() -> None:
    done = called("list")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == list(NAMES)
    assert [line for line in lines if len(line) > 80] == []
    assert done.stdout == "\n".join(called("list", kind).stdout for kind in NAMES)


@pytest.mark.parametrize("name", ["causal", "prefix:2", "window:2", "bidirectional", "anticausal"])
def test_masks_are_typed_as_they_are_listed(name: str) -> None:
    usage = re.sub(r":\d+", "", name)
    assert any(re.split(r"[:\[]", each)[0] == usage for each in listed("masks"))
    assert called("analyze", "--n", "6", "--d", "2", "--mask", name, "-q").status == 0


@pytest.mark.parametrize("rule", RULES.names())
def test_each_rule_can_be_asked_for(rule: str) -> None:
    assert called("analyze", "--n", "6", "--d", "2", "--rule", rule, "-q").status == 0


@pytest.mark.parametrize("features", ["elu+1", "relu", "exp", "identity"])
def test_the_help_of_linear_attention_names_its_features(features: str) -> None:
    [text] = [help for usage, help in listed("kernels").items() if usage.startswith("linear")]
    assert features in text


def test_measures_that_are_computed_only_when_named_say_so() -> None:
    named = {name for name, help in listed("measures").items() if help.endswith("Only when named.")}
    assert named == {entry.name for entry in measures() if not entry.function.default}
    assert named == {"dobrushin", "eigenvalues", "offdiagonal_rank", "rank_output", "row_sum"}
    deep = {name for name, help in listed("depth-measures").items() if help.endswith("Only when named.")}
    assert deep == {entry.name for entry in depth_measures() if not entry.function.default}


@pytest.mark.parametrize("kind", ["measures", "depth-measures"])
def test_the_help_of_a_measure_is_a_whole_sentence(kind: str) -> None:
    cut = [name for name, help in listed(kind).items() if not help.removesuffix(" Only when named.").endswith(".")]
    assert cut == []


def test_an_unknown_kind_is_a_mistake_in_usage() -> None:
    done = called("list", "maskz")
    assert (done.status, done.stdout) == (2, "")
    assert "masks" in done.stderr
