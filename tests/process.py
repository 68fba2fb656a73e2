"""The command line as its users run it: as a process of its own, or, where no process is tested, as a call.

A process costs 0.2 s, a call next to nothing; what a call cannot show (the exit status that a shell sees, what is
imported, signals, pipes, encodings) is tested with a process.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "tests" / "data" / "minilm-sample.safetensors"
AS_INSTALLED = "import sys; sys.argv[0] = 'rankscope'; from rankscope.__main__ import main; main()"
"""What the console script does, which exists only where the package is installed."""

LOUD = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONWARNINGS"}
"""Variables of the caller that would change what is printed."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    raw: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        return self.raw.decode("utf-8")

    @property
    def everything(self) -> str:
        return self.stdout + self.stderr


def environment(**changes: str | None) -> dict[str, str]:
    """The environment of a process that finds this package; None removes a variable."""
    kept = {name: value for name, value in os.environ.items() if name not in LOUD}
    paths = [str(ROOT / "src"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    kept["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return {name: value for name, value in {**kept, **changes}.items() if value is not None}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "rankscope", *map(str, arguments)]


def python(code: str, *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Ended:
    """Run Python code in a process that finds this package."""
    return ended([sys.executable, "-c", code, *map(str, arguments)], cwd, env)


def rankscope(*arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Ended:
    """Run the command in a process; its output is a pipe."""
    return ended(command(*arguments), cwd, env)


def ended(words: list[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Ended:
    done = subprocess.run(
        words, cwd=cwd, env=environment() if env is None else env, capture_output=True, timeout=120, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def together(commands: Sequence[Sequence[object]], cwd: Path | None = None) -> list[Ended]:
    """Run several commands at once, as many as there are cores for."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda words: rankscope(*words, cwd=cwd), commands))


def called(*arguments: object) -> Ended:
    """Run the command within this process."""
    from rankscope.__main__ import main

    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = io.StringIO()
    status: object = 0
    words = ["rankscope", *map(str, arguments)]
    with mock.patch.object(sys, "argv", words), mock.patch.dict(os.environ), redirect_stdout(out), redirect_stderr(err):
        for variable in LOUD:
            os.environ.pop(variable, None)
        try:
            main()
        except SystemExit as end:
            status = end.code
    out.flush()
    buffer = out.buffer
    assert isinstance(buffer, io.BytesIO)
    return Ended(status if isinstance(status, int) else int(status is not None), buffer.getvalue(), err.getvalue())


def not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def strict_json(text: str | bytes) -> Any:
    """JSON as the standard has it: no NaN, no infinity, no key twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), f"a key stands twice among {[key for key, _ in pairs]}"
        return dict(pairs)

    return json.loads(text, parse_constant=not_json, object_pairs_hook=unique)


def violations(document: Any) -> list[str]:
    """Where a document breaks the schema that the package ships."""
    import jsonschema

    from rankscope.records import schema

    validator = jsonschema.Draft202012Validator(schema())
    return [f"{each.json_path}: {each.message}" for each in validator.iter_errors(document)]


def by_measure(document: Any) -> dict[str, Any]:
    """The records of a document of one matrix, by measure."""
    found = {record["measure"]: record for record in document["records"]}
    assert len(document["matrices"]) == 1
    assert len(found) == len(document["records"]), "a measure stands twice"
    return found


def without_traceback(done: Ended) -> bool:
    return "Traceback" not in done.everything
