"""The numbers of a matrix: what makes one, and what a digest tells apart."""

import numpy as np
import pytest

from rankscope.certificates import Certificate, Minor, numbers
from rankscope.errors import FormatError
from tests.certificates.made import stored


def test_arrays_of_another_matrix_are_refused() -> None:
    bare = stored(2, 3).bare()
    for arrays in ({}, {"matrix": np.zeros((2, 3))}, {"matrix": stored(3, 2).flat()["matrix"]}):
        with pytest.raises(FormatError, match="RS210"):
            bare.filled(arrays)
    with pytest.raises(FormatError, match="RS209"):
        bare.filled({"matrix": np.zeros((2, 3), dtype=np.float32)})


def test_the_digest_tells_shapes_signs_of_zero_and_masks_apart() -> None:
    one = np.ones((1, 1))
    given = [
        *(numbers("stored", {"matrix": np.zeros(shape)}) for shape in ((2, 3), (3, 2), (1, 6))),
        numbers("stored", {"matrix": -np.zeros((2, 3))}),
        *(
            numbers("products", {"left": one, "right": one, "seen": one > seen, "uniform": np.array([seen > 0])})
            for seen in (0, 1)
        ),
    ]
    assert len({each.sha256 for each in given}) == len(given)


def test_a_certificate_cannot_be_made_malformed() -> None:
    for make in (
        lambda: numbers("stored", {"matrix": np.array([[np.nan]])}),
        lambda: numbers("stored", {"log_weights": np.eye(2)}),
        lambda: numbers("stored", {"matrix": np.eye(2)}, [stored(2, 2)]),
        lambda: Certificate("", stored(2, 2), ()),
        lambda: Minor((0, 0), (0, 1)),
    ):
        with pytest.raises(FormatError, match="RS209"):
            make()
