"""Imports go one way, and a lint says so: it passes on the package, and fails on a copy with one import too many."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process import ROOT

LINT = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the lint on the package in `folder`, which has the configuration of the repository beside it."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["PYTHONPATH"] = str(folder / "src")
    words = [str(LINT), "--no-cache", "--config", str(folder / "pyproject.toml")]
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_package_keeps_its_layers() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


def test_an_unchanged_copy_passes_as_well(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


BAD = {
    "attention/masks.py": "import rankscope.study",
    "analyzer/rank.py": "from rankscope.report import terminal",
    "report/sentences.py": "from rankscope.analyzer import rank",
    "generators/plans.py": "import rankscope.analyzer.values",
    "errors.py": "from rankscope import records",
    "records.py": "from rankscope.attention import masks",
    "attention/build.py": "import torch",
    "study.py": "from rankscope.cli import options",
    "report/terminal.py": "import pandas",
    "analyzer/spectrum.py": "import matplotlib.figure",
    "generators/stack.py": "import typer",
}


@pytest.mark.parametrize("module", BAD)
def test_one_import_too_many_is_found(module: str, copy: Path) -> None:
    path = copy / "src" / "rankscope" / module
    path.write_text(path.read_text("utf-8") + f"\n\n{BAD[module]}  # noqa\n", "utf-8")
    done = lint(copy)
    assert done.returncode != 0
    name = "rankscope." + module.removesuffix(".py").replace("/", ".")
    assert name in done.stdout
    assert "1 broken" in done.stdout or "2 broken" in done.stdout


def test_a_module_outside_of_the_layers_is_found(copy: Path) -> None:
    (copy / "src" / "rankscope" / "stray.py").write_text('"""A module that stands in no layer."""\n', "utf-8")
    done = lint(copy)
    assert done.returncode != 0
    assert "stray" in done.stdout
