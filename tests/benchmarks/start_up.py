"""How long a whole process of the main job takes, against a ten-line numpy script that makes the same matrix.

Run it with `python tests/benchmarks/start_up.py`, for an installation whose files are compiled (`pip install .`). The
programs are run in turn, with their output piped, and the medians of the ratios of neighbouring runs are printed:
single times move with the load of the machine, ratios much less.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ROUNDS = 15

PROGRAMS = {
    "python -c pass": ["-c", "pass"],
    "ten-line script": [str(HERE / "plain_script.py")],
    "analyze, table": ["-m", "rankscope", "analyze", "--mask", "causal", "--n", "512", "--d", "64"],
    "analyze, json": ["-m", "rankscope", "analyze", "--mask", "causal", "--n", "512", "--d", "64", "--format", "json"],
    "rankscope --version": ["-m", "rankscope", "--version"],
    "rankscope --help": ["-m", "rankscope", "--help"],
}


def seconds(arguments: list[str]) -> tuple[float, float]:
    """Wall and processor time of one run."""
    before = os.times()
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.PIPE)
    wall = time.perf_counter() - started
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, used


def main() -> None:
    """Print wall time, processor time and their ratios to the script's."""
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for _ in range(ROUNDS):
        for name, arguments in PROGRAMS.items():
            runs[name].append(seconds(arguments))
    script = runs["ten-line script"]
    print(f"{'median of ' + str(ROUNDS):<22}{'wall ms':>9}{'cpu ms':>9}{'wall/script':>13}{'cpu/script':>12}")
    for name, measured in runs.items():
        wall, used = (statistics.median(run[i] for run in measured) for i in (0, 1))
        ratios = [statistics.median(a[i] / b[i] for a, b in zip(measured, script, strict=True)) for i in (0, 1)]
        print(f"{name:<22}{wall * 1e3:>9.0f}{used * 1e3:>9.0f}{ratios[0]:>13.2f}{ratios[1]:>12.2f}")


if __name__ == "__main__":
    main()
