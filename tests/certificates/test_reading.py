"""Whatever is no certificate is refused with RS209 and a reason."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankscope.certificates import Certificate, Count, Numbers, parse, read, seal
from rankscope.errors import FormatError, StoreError
from tests.certificates.made import MATRICES, certificate, products, softmax

Content = dict[str, Any]


def changed(change: Callable[[Content], object], matrix: Numbers | None = None, sealed: bool = True) -> str:
    """A certificate's text after a change, with a digest that fits again."""
    content: Content = json.loads(certificate(matrix).text())
    change(content)
    return json.dumps({**content, "sha256": seal(content)} if sealed and "sha256" in content else content)


def put(*path: str | int, value: object) -> Callable[[Content], object]:
    """A change: the value at a place."""

    def change(content: Content) -> None:
        held: Any = content
        for key in path[:-1]:
            held = held[key]
        held[path[-1]] = value

    return change


def packed(array: np.ndarray[Any, Any], dtype: str = "<f8") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(array.shape), "base64": base64.b64encode(array.tobytes()).decode()}


ARRAY = ("matrix", "arrays", "matrix")


PART = {"kind": "stored", "subject": "stored", "rows": 2, "columns": 3, "sha256": "", "arrays": None, "parts": []}


nested: dict[str, object] = PART


for _ in range(10):
    nested = {**PART, "kind": "mean", "parts": [nested]}


BAD: dict[str, tuple[Callable[[Content], object], str]] = {
    "a key too many": (put("more", value=1), "exactly the keys"),
    "a key too few": (lambda content: content.pop("label"), "exactly the keys"),
    "no seal": (lambda content: content.pop("sha256"), "exactly the keys"),
    "another format": (put("certificate", value=2), "format"),
    "a format that is True": (put("certificate", value=True), "wrong type"),
    "a label that is no text": (put("label", value=None), "wrong type"),
    "no claims": (put("claims", value=[]), "claims nothing"),
    "a claim that is no object": (put("claims", 0, value=3), "none of"),
    "a claim of another name": (put("claims", 0, "claim", value="trace"), "none of"),
    "a claim whose name is a list": (put("claims", 0, "claim", value=[]), "none of"),
    "a claim with a key too many": (put("claims", 1, "sign", value=1), "exactly the keys"),
    "a rank that is a float": (put("claims", 1, "low", value=1.0), "wrong type"),
    "a rank that is True": (put("claims", 1, "low", value=True), "wrong type"),
    "a bound that is text": (put("claims", 2, "low", value="1"), "wrong type"),
    "a bound beyond float64": (put("claims", 2, "low", value=10**400), "out of range"),
    "a rank beyond every matrix": (put("claims", 1, "high", value=10**400), "out of range"),
    "a bound between two numbers of float64": (put("claims", 2, "low", value=-(2**53) - 1), "not a float64"),
    "a sign of two": (put("claims", 2, "sign", value=2), "sign"),
    "a determinant of zero with a bound": (put("claims", 3, "low", value=0.0), "bounds"),
    "a negative tolerance": (put("claims", 5, "tolerance", value=-1.0), "negative"),
    "no bound of the smallest": (put("claims", 6, "low", value=None), "wrong type"),
    "a minor that repeats a row": (put("claims", 0, "minor", "rows", value=[1, 1]), "twice"),
    "a minor that is not square": (put("claims", 0, "minor", "rows", value=[1]), "not square"),
    "a minor of negative rows": (put("claims", 0, "minor", "rows", value=[-1, 0]), "negative"),
    "a minor outside": (put("claims", 0, "minor", "columns", value=[0, 3]), "does not have"),
    "a minor of floats": (put("claims", 0, "minor", "rows", value=[0.0, 1.0]), "whole numbers"),
    "another kind": (put("matrix", "kind", value="sparse"), "kinds"),
    "a kind that is swapped": (put("matrix", "kind", value="softmax"), "exactly the keys"),
    "a subject that is swapped": (put("matrix", "subject", value="scores"), "subject"),
    "more rows than there are": (put("matrix", "rows", value=3), "rows"),
    "fewer columns": (put("matrix", "columns", value=2), "columns"),
    "a negative side": (put("matrix", "rows", value=-2), "negative"),
    "a digest of other numbers": (put("matrix", "sha256", value="0" * 64), "sha256"),
    "an array too many": (put("matrix", "arrays", "more", value=packed(np.eye(2))), "exactly the keys"),
    "an array that is a list": (put(*ARRAY, value=[1.0]), "wrong type"),
    "another type": (put(*ARRAY, value=packed(np.eye(2, dtype=np.float32), "<f4")), "<f4"),
    "a pickled array": (put(*ARRAY, "dtype", value="|O"), r"\|O"),
    "text that is not base64": (put(*ARRAY, "base64", value="*" * 64), "base64"),
    "letters that are not ASCII": (put(*ARRAY, "base64", value="é" * 64), "base64"),
    "base64 without its end": (put(*ARRAY, "base64", value="AAAAA"), "base64"),
    "too few bytes": (put(*ARRAY, "base64", value="AAAA"), "as long"),
    "another shape": (put(*ARRAY, "shape", value=[3, 2]), "rows"),
    "a shape that is too large": (put(*ARRAY, "shape", value=[2, 10**30]), "as long"),
    "a shape that is endless and empty": (
        put(*ARRAY, value={"dtype": "<f8", "shape": [2**40, 0], "base64": ""}),
        "side",
    ),
    "a negative shape": (put(*ARRAY, "shape", value=[-2, -3]), "shape"),
    "a shape of floats": (put(*ARRAY, "shape", value=[2.0, 3.0]), "shape"),
    "three dimensions": (put(*ARRAY, "shape", value=[1, 2, 3]), "shape"),
    "one dimension": (put(*ARRAY, "shape", value=[6]), "two dimensions"),
    "NaN in an array": (put(*ARRAY, value=packed(np.full((2, 3), np.nan))), "not finite"),
    "infinity in an array": (put(*ARRAY, value=packed(np.full((2, 3), -np.inf))), "not finite"),
    "parts where there are none": (put("matrix", "parts", value=[PART]), "part"),
    "parts that are nested too deep": (put("matrix", value=nested), "nested"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_malformed_is_refused_though_its_digest_fits(name: str) -> None:
    change, reason = BAD[name]
    with pytest.raises(FormatError, match=f"RS209.*{reason}") as caught:
        parse(changed(change))
    assert caught.value.exit_status == 3


def test_a_change_without_a_new_digest_is_found() -> None:
    assert parse(changed(put("label", value="another"))).label == "another"
    with pytest.raises(FormatError, match=r"RS209.*digest"):
        parse(changed(put("label", value="another"), sealed=False))


MASK = ("matrix", "arrays", "seen")


OF_KINDS: dict[str, tuple[Numbers, Callable[[Content], object], str]] = {
    "a mask of twos": (
        products(), put(*MASK, value=packed(np.full((2, 3), 2, np.uint8), "|b1")), "zeros and ones",
    ),
    "a mask of another shape": (products(), put(*MASK, value=packed(np.ones((3, 2), np.bool_), "|b1")), "mask"),
    "factors that do not fit": (products(), put("matrix", "arrays", "left", value=packed(np.ones((2, 3)))), "factors"),
    "uniform rows that do not fit": (
        products(), put("matrix", "arrays", "uniform", value=packed(np.ones(3, np.bool_), "|b1")), "uniform",
    ),
    "a weight of infinity": (
        softmax(), put("matrix", "arrays", "log_weights", value=packed(np.full((2, 3), np.inf))), "not finite",
    ),
    "a product without parts": (MATRICES["product"], put("matrix", "parts", value=[]), "parts"),
    "parts that do not fit": (
        MATRICES["product"], lambda content: content["matrix"]["parts"].reverse(), "fit together",
    ),
    "a mean of parts that differ": (MATRICES["product"], put("matrix", "kind", value="mean"), "differ in shape"),
    "a part without arrays": (MATRICES["product"], put("matrix", "parts", 0, "arrays", value=None), "lacks its arrays"),
    "a whole without arrays": (MATRICES["product"], put("matrix", "arrays", value=None), "has arrays"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_KINDS)
def test_what_is_malformed_in_one_kind_is_refused(name: str) -> None:
    matrix, change, reason = OF_KINDS[name]
    with pytest.raises(FormatError, match=f"RS209.*{reason}"):
        parse(changed(change, matrix))


TEXTS: dict[str, str | bytes] = {
    "nothing": "",
    "no object": "[]",
    "a number": "1",
    "cut off": certificate().text()[:-20],
    "something after its end": certificate().text() + "{}",
    "not UTF-8": b"\xff" + certificate().text().encode(),
    "a mark before it": b"\xef\xbb\xbf\xff" + certificate().text().encode(),
    "a key that stands twice": certificate().text().replace('"label":', '"label":"other","label":', 1),
    "NaN": certificate().text().replace("2.5", "NaN", 1),
    "infinity": certificate().text().replace("2.5", "-Infinity", 1),
    "a number beyond float64": certificate().text().replace("2.5", "1e999", 1),
    "digits between two numbers of float64": certificate().text().replace("2.5", "2.50000000000000000001", 1),
    "a number of too many digits": certificate().text().replace("2.5", "1" * 5000, 1),
    "brackets without end": "[" * 100_000,
    "objects without end": '{"label":' * 100_000,
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_not_strict_json_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="RS209"):
        parse(TEXTS[name])


def test_more_bytes_than_any_certificate_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = certificate().write(tmp_path / "c.json")
    monkeypatch.setattr("rankscope.certificates.reading.LONGEST", path.stat().st_size - 1)
    with pytest.raises(FormatError, match=r"RS209.*bytes"):
        read(path)


def test_what_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(StoreError, match="RS501"):
            read(path)


@pytest.mark.parametrize("digits", ["2.5", "2.50", "25e-1", "0.25E+1"])
def test_other_digits_for_the_same_number_are_read(digits: str) -> None:
    assert parse(certificate().text().replace("2.5", digits, 1)).claims == certificate().claims


@pytest.mark.parametrize("digits", ["1e-400", "-1e-400", "1e-99999999999999999999999", "0.0e99999999999999999999999"])
def test_digits_that_only_round_to_a_number_are_refused_though_the_digest_fits(digits: str) -> None:
    """#{σ > 10^-400} is another claim than #{σ > 0}."""
    text = Certificate("", MATRICES["stored"], (Count(0.0, 2, 2),)).text()
    assert parse(text).claims == (Count(0.0, 2, 2),)
    with pytest.raises(FormatError, match=r"RS209.*digits"):
        parse(text.replace('"tolerance":0.0', f'"tolerance":{digits}'))
