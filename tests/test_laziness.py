"""Heavy libraries load on use: a command that needs none imports none. A second test proves that the first can fail."""

import json
from pathlib import Path

import pytest

from tests.process import SAMPLE, environment, python

HEAVY = ("numpy", "scipy", "pandas", "matplotlib", "torch", "rich", "pyarrow", "safetensors", "importlib.metadata")

PROBE = """
import json, sys
sys.argv = ["rankscope", *sys.argv[1:]]
found = []
try:
    {code}
except SystemExit as end:
    status = end.code or 0
else:
    status = 0
sys.stdout.flush()
print(json.dumps([status, [name for name in {heavy!r} if name in sys.modules]]), file=sys.stderr)
"""
COMMAND = "from rankscope.__main__ import main; main()"
IN_PYTHON = "import rankscope as rs; str(rs.analyze([[1.0, 0.5], [0.25, 1.0]]))"


def imported(code: str, *arguments: object, **variables: str) -> set[str]:
    """Which heavy modules a fresh process has imported after running the code."""
    done = python(PROBE.format(code=code, heavy=HEAVY), *arguments, env=environment(**variables))
    status, found = json.loads(done.stderr.splitlines()[-1])
    assert status == 0, done.stderr
    return set(found)


SMALL = ("analyze", "--n", "8", "--d", "2")
NUMERICAL = {"scipy", "pandas", "matplotlib", "torch", "rich", "pyarrow", "safetensors", "importlib.metadata"}

NEVER = {
    "import rankscope": ("import rankscope", (), set(HEAVY)),
    "the version": (COMMAND, ("--version",), set(HEAVY)),
    "the help": (COMMAND, ("--help",), set(HEAVY)),
    "the help of a command": (COMMAND, ("analyze", "--help"), set(HEAVY)),
    "the help of verify": (COMMAND, ("verify", "--help"), set(HEAVY)),
    "a list of masks": (COMMAND, ("list", "masks"), set(HEAVY)),
    "a plain analysis": (COMMAND, SMALL, NUMERICAL),
    "an analysis as JSON": (COMMAND, (*SMALL, "--format", "json"), NUMERICAL),
    "every measure": (COMMAND, (*SMALL, "--measure", "all"), NUMERICAL),
    "linear attention": (COMMAND, (*SMALL, "--kernel", "linear", "--mask", "causal"), NUMERICAL),
    "a stack": (COMMAND, (*SMALL, "--plan", "layers", "--layers", "2"), NUMERICAL),
    "several seeds": (COMMAND, (*SMALL, "--seeds", "0:3"), NUMERICAL),
    "a comparison": (COMMAND, ("compare", "--n", "8", "--d", "2"), NUMERICAL),
    "a file": (COMMAND, ("analyze", SAMPLE, "--measure", "hoyer"), NUMERICAL),
    "CSV": (COMMAND, (*SMALL, "--format", "csv", "-q"), NUMERICAL),
    "a list of figures": (COMMAND, ("list", "figures"), NUMERICAL - {"importlib.metadata"} | {"numpy"}),
    "an analysis in Python": (IN_PYTHON, (), NUMERICAL - {"importlib.metadata"}),
}  # fmt: skip


@pytest.mark.parametrize("name", NEVER)
def test_what_is_not_needed_is_not_imported(name: str) -> None:
    code, arguments, heavy = NEVER[name]
    assert imported(code, *arguments) & heavy == set()


@pytest.mark.parametrize("module", ["numpy", "scipy", "pandas", "matplotlib", "rich"])
def test_the_test_above_can_fail(module: str, tmp_path: Path) -> None:
    """The same command, made to import a heavy module by a plug-in, is caught."""
    plugin = tmp_path / "heavy.py"
    plugin.write_text(f"import {module}\n", "utf-8")
    assert module in imported(COMMAND, "list", "masks", "--plugin", plugin)
    assert module not in imported(COMMAND, "list", "masks")


def test_the_test_above_sees_what_a_command_imports_on_purpose(tmp_path: Path) -> None:
    assert "numpy" in imported(COMMAND, *SMALL)
    assert {"pandas", "pyarrow"} <= imported(COMMAND, *SMALL, "-q", "-o", tmp_path / "a.parquet")
    assert "matplotlib" in imported(COMMAND, *SMALL, "-q", "-o", tmp_path / "a.svg")


def test_threads_are_set_before_numpy_loads() -> None:
    """Seen by the library itself: the number of threads of its pool, after the command has run."""
    code = (
        "from rankscope.__main__ import main\n"
        "    try:\n        main()\n    except SystemExit:\n        pass\n"
        "    import threadpoolctl\n"
        "    pools = [p['num_threads'] for p in threadpoolctl.threadpool_info() if p['user_api'] == 'blas']\n"
        "    assert pools and set(pools) == {1}, pools"
    )
    assert "numpy" in imported(code, *SMALL, OPENBLAS_NUM_THREADS="2", OMP_NUM_THREADS="2")
