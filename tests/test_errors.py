"""Every code: in the catalogue, used in the source, raised by a test, and by something that a user can do."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import rankscope as rs
from rankscope import arrays, errors
from rankscope.analyzer.enclosed import check_sum
from rankscope.analyzer.needs import Needs
from rankscope.analyzer.numerics import Numerics
from rankscope.attention.build import attention
from rankscope.attention.existing import single
from rankscope.attention.masks import parse
from rankscope.errors import CATALOGUE, RankscopeError, error

TESTS = Path(__file__).parent
SOURCES = Path(errors.__file__).parent

ACTIONS: dict[str, Callable[[], object]] = {
    "RS001": lambda: rs.analyze(np.eye(2), measures=["stabel_rank"]),
    "RS002": lambda: parse("window:0"),
    "RS003": lambda: rs.synthetic(n=4, d=2, heads=2, plan="heads", mask="causal"),
    "RS101": lambda: rs.analyze(np.ones(3)),
    "RS104": lambda: rs.analyze(np.array([[2**53 + 1]])),
    "RS105": lambda: rs.analyze(np.array([["a"]])),
    "RS106": lambda: rs.analyze(torch.empty(3, 3, device="meta")),
    "RS110": lambda: rs.analyze(np.array([[math.nan]])),
    "RS111": lambda: rs.analyze(np.array([[math.inf]])),
    "RS120": lambda: attention(np.ones((2, 1)), np.ones((2, 1)), mask=np.zeros((2, 2), dtype=bool) | [[True], [False]]),
    "RS122": lambda: attention([[1.0], [1.0]], [[1.0], [-1.0]], kernel="linear:identity"),
    "RS301": lambda: rs.analyze(torch.ones(1).expand(10**6, 10**6)),
}
"""What a user does to be told so; the other codes have tests of their own below, or belong to files."""


@pytest.mark.parametrize("code", ACTIONS)
def test_a_user_is_told_with_the_code_what_was_given_and_what_to_do(code: str) -> None:
    with pytest.raises(RankscopeError) as caught:
        ACTIONS[code]()
    raised = caught.value
    assert raised.code == code
    assert type(raised) is CATALOGUE[code][0]
    assert raised.given
    assert raised.remedy
    assert str(raised).startswith(f"{code}: {raised.given}")
    assert raised.remedy[1:] in str(raised)
    assert "\n" not in str(raised)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long double is float64 here")
def test_rs103_extended_precision_that_does_not_fit() -> None:
    with pytest.raises(errors.InputError, match="RS103") as caught:
        rs.analyze(np.array([[1 + np.longdouble(2) ** -60]]))
    assert "float64" in caught.value.remedy


def test_rs004_a_format_that_needs_a_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(errors.UsageError, match="RS004") as caught:
        rs.analyze(np.eye(2)).save(tmp_path / "result.parquet")
    assert "rankscope[parquet]" in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_rs005_an_entry_that_cannot_be_registered() -> None:
    def causal() -> rs.Mask:
        """A name that is taken."""
        return parse("causal")

    with pytest.raises(errors.UsageError, match="RS005"):
        rs.mask(causal)


def test_rs401_a_decomposition_that_does_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", diverges)
    with pytest.raises(errors.GuaranteeError, match="RS401") as caught:
        rs.analyze(np.ones((2, 2)), measures=["stable_rank"])
    assert caught.value.exit_status == 5


def test_rs410_an_environment_that_flushes_to_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor's own flag is tested in test_arrays.py; here the smallest number is made to vanish."""
    real = np.array
    monkeypatch.setattr(np, "array", lambda value, *a, **k: real([0.0] if value == [5e-324] else value, *a, **k))
    with pytest.raises(errors.GuaranteeError, match="RS410"):
        arrays.check_flush_to_zero()


def test_rs402_two_proofs_that_contradict_each_other() -> None:
    needs = Needs(single(rs.synthetic(n=4, d=2)), Numerics(spectrum="exact"))
    wrong = replace(needs.logdet, low=-1.0, high=-0.5)
    with pytest.raises(errors.GuaranteeError, match="RS402") as caught:
        check_sum(needs.spectrum, wrong)
    assert caught.value.exit_status == 5
    check_sum(needs.spectrum, needs.logdet)


def test_rs403_a_guarantee_that_was_required_and_not_given() -> None:
    result = rs.analyze(rs.synthetic(n=4, d=2))
    with pytest.raises(errors.GuaranteeError, match="RS403") as caught:
        result.require("proved")
    assert "rank_exact of bidirectional softmax" in caught.value.given
    assert caught.value.exit_status == 5
    rs.analyze(rs.synthetic(n=4, d=2), prove=True).require("enclosed")


def test_rs502_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(errors.StoreError, match="RS502") as caught:
        rs.analyze(np.eye(2)).save(tmp_path / "no such folder" / "result.json")
    assert caught.value.exit_status == 6


def codes_in(folder: Path, but: str = "") -> set[str]:
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*.py") if path.name != but]
    return {code for text in texts for code in re.findall(r"\bRS\d{3}\b", text)}


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_code_is_raised_in_the_source_and_mentioned_in_a_test(code: str) -> None:
    assert code in codes_in(SOURCES, but="errors.py"), "nothing raises it"
    assert code in codes_in(TESTS), "no test mentions it"


def test_no_code_is_raised_that_the_catalogue_does_not_hold() -> None:
    assert codes_in(SOURCES) <= set(CATALOGUE)


def test_codes_name_their_family() -> None:
    families = {
        "0": "UsageError",
        "1": "InputError",
        "2": "FormatError",
        "3": "ResourceError",
        "4": "GuaranteeError",
        "5": "StoreError",
    }
    for code, (kind, meaning) in CATALOGUE.items():
        assert meaning
        assert families[code[2]] in {base.__name__ for base in kind.__mro__}
    assert CATALOGUE["RS110"][0] is errors.NonFiniteError
    assert CATALOGUE["RS120"][0] is errors.MaskError


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("UsageError", 2),
        ("InputError", 3),
        ("NonFiniteError", 3),
        ("MaskError", 3),
        ("FormatError", 3),
        ("ResourceError", 4),
        ("GuaranteeError", 5),
        ("StoreError", 6),
    ],
)
def test_exit_statuses(name: str, status: int) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, RankscopeError)
    assert kind.exit_status == status


@pytest.mark.parametrize(
    "name",
    [
        "RankscopeError",
        "UsageError",
        "InputError",
        "NonFiniteError",
        "MaskError",
        "FormatError",
        "ResourceError",
        "GuaranteeError",
        "StoreError",
    ],
)
def test_every_class_can_be_caught_by_its_public_name(name: str) -> None:
    assert getattr(rs, name) is getattr(errors, name)


def test_a_code_outside_the_catalogue_cannot_be_raised() -> None:
    with pytest.raises(KeyError):
        error("RS999", "a", "b")


def test_errors_survive_pickling() -> None:
    """They cross from workers to the process that asked."""
    import copy

    raised = error("RS110", "what was given", "what to do")
    again = copy.copy(raised)
    assert (type(again), again.code, again.given, again.remedy) == (type(raised), "RS110", raised.given, raised.remedy)
