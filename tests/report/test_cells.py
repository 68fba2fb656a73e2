"""Numbers as people read them: with the digits that they deserve, and no others."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankscope.report.cells import enumerated, short, with_deviation


@pytest.mark.parametrize(
    ("mean", "deviation", "expected"),
    [
        (-13387.2, 2800.0, ("−13400", "2800")),
        (218.5964, 3.04, ("218.6", "3.0")),
        (12.499, 0.31, ("12.50", "0.31")),
        (12.499, 0.0996, ("12.499", "0.100")),
        (0.0123, 5.3, ("0.012", "5.3")),
        (1234567.0, 890.0, ("1.23457e+06", "890")),
        (-3.21e-9, 4.5e-10, ("−3.21e−09", "4.5e−10")),
        (1.23456789, 1e-12, ("1.23457", "1e−12")),
        (0.0, 0.25, ("0.00", "0.25")),
        (2.5, 0.0, ("2.5", "")),
        (-140.7431, None, ("−140.74", "")),
    ],
)
def test_a_mean_has_the_digits_of_its_deviation(mean: float, deviation: float, expected: tuple[str, str]) -> None:
    assert with_deviation(mean, deviation) == expected


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9))
def test_what_is_printed_is_near_what_was_measured(mean: float, deviation: float) -> None:
    texts = with_deviation(mean, deviation)
    shown, spread = (float(text.replace("−", "-")) for text in texts)
    assert spread == pytest.approx(deviation, rel=0.05 * (1 + 1e-9))
    assert (
        abs(shown - mean) <= max(0.05 * deviation, 0.5 * 10.0 ** (math.floor(math.log10(abs(mean) or 1)) - 1)) * 1.001
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2800.0, "2800"), (127.4, "130"), (0.05, "0.05"), (0.0, "0"), (2e-13, "2.0e−13"), (-45678.0, "−4.6e+04")],
)
def test_two_digits_have_an_exponent_only_where_it_helps(value: float, expected: str) -> None:
    assert short(value) == expected


def test_a_list_names_all_or_says_how_many_more_there_are() -> None:
    assert enumerated(["a", "b"], 2) == "a, b"
    assert enumerated(["a", "b", "c"], 2) == "a and 2 more"
    assert enumerated([], 2) == ""
