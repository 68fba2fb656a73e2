"""`rankscope doctor`: what to send along with a bug report."""

import platform
import re
from importlib.metadata import version

import numpy as np
import pytest

import rankscope as package
from tests.process import Ended, environment, rankscope


@pytest.fixture(scope="module")
def report() -> Ended:
    return rankscope("doctor")


def lines(done: Ended) -> dict[str, str]:
    """What stands in the column of names, and what beside it."""
    return {line[:14].strip(): line[14:] for line in done.stdout.splitlines()}


def test_it_ends_well_and_says_nothing_else(report: Ended) -> None:
    assert (report.status, report.stderr) == (0, "")


def test_it_says_what_computes(report: Ended) -> None:
    found = lines(report)
    assert found["rankscope"] == package.__version__
    assert platform.python_version() in found["python"]
    assert found["numpy"] == np.__version__
    for name in ("scipy", "pandas", "matplotlib", "typer", "rich", "threadpoolctl"):
        assert found[name] == version(name)
    assert re.search(r"\d+ thread$", found["BLAS"])
    assert found["BLAS"].endswith(" 1 thread")
    assert re.fullmatch(r"\d+", found["cores"])
    assert re.fullmatch(r"[\d.]+ GiB available", found["memory"])
    assert re.search(r"at least \d+", found["largest n"])
    assert found["subnormals"] == "kept"
    assert found["stdout"] == "utf-8, not a terminal"


def test_a_font_for_chinese_japanese_and_korean_is_named_or_missed(report: Ended) -> None:
    assert re.search(
        r"draws Chinese, Japanese and Korean$|^no Chinese, Japanese or Korean font", lines(report)["fonts"]
    )


def test_it_prints_utf_8_whatever_the_locale_says() -> None:
    done = rankscope("doctor", env=environment(PYTHONIOENCODING="ascii"))
    assert (done.status, done.stderr) == (0, "")
    assert lines(done)["stdout"].startswith("utf-8")


def test_it_keeps_paths_and_names_of_users_to_itself(report: Ended) -> None:
    assert "/" not in report.stdout.replace("GiB", "")
