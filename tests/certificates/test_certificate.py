"""Certificates are written and read back, to the bit."""

import json
from pathlib import Path

import numpy as np
import pytest

from rankscope.certificates import Certificate, numbers, parse, read, seal
from rankscope.certificates.certificate import EMBEDDED
from rankscope.errors import StoreError
from tests.certificates.made import CLAIMS, MATRICES, certificate, equal, stored
from tests.process import strict_json


@pytest.mark.parametrize("name", MATRICES)
def test_what_is_written_is_read(name: str, tmp_path: Path) -> None:
    given = certificate(MATRICES[name])
    (path,) = given.write(tmp_path / "c.json")
    found = read(path)
    assert (found.label, found.claims, found.version) == (given.label, given.claims, given.version)
    assert equal(found.matrix, given.matrix)
    assert found.text() == given.text() == path.read_text("ascii")


def test_it_is_strict_and_canonical_json() -> None:
    text = certificate().text()
    content = strict_json(text)
    assert text == json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n"
    assert content["certificate"] == 1
    assert content["sha256"] == seal(content)


def test_layout_and_the_order_of_keys_mean_nothing() -> None:
    content = json.loads(certificate().text())
    assert parse(json.dumps(dict(reversed(content.items())), indent=4)).claims == CLAIMS


@pytest.mark.parametrize("name", ["softmax", "products", "product", "mean of products"])
def test_many_numbers_stand_in_a_file_of_their_own(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankscope.certificates.certificate.EMBEDDED", 5)
    given = certificate(MATRICES[name])
    paths = given.write(tmp_path / "c.json")
    assert paths == [tmp_path / "c.json", tmp_path / "c.npz"]
    found = read(paths[0])
    assert found.matrix.flat() == {}
    assert found.matrix.sha256 == given.matrix.sha256
    with np.load(paths[1], allow_pickle=False) as arrays:
        assert equal(found.matrix.filled(dict(arrays)), given.matrix)


def test_the_limit_is_on_all_numbers_together() -> None:
    assert stored(256, 256).size == EMBEDDED
    assert '"arrays":null' not in Certificate("", stored(256, 256), CLAIMS[1:2]).text()
    assert '"arrays":null' in Certificate("", numbers("mean", {}, [stored(256, 129)] * 2), CLAIMS[1:2]).text()


def test_the_file_beside_it_needs_a_name_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="RS502"):
        Certificate("", stored(257, 256), CLAIMS[1:2]).write(tmp_path / "c.npz")
    assert not list(tmp_path.iterdir())


def test_the_same_certificate_is_the_same_bytes(tmp_path: Path) -> None:
    big = Certificate("", stored(257, 256), CLAIMS[1:2])
    first, second = (big.write(tmp_path / name) for name in ("a.json", "b.json"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
