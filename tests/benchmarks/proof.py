"""What a proof costs beside the plain analysis of the same matrix, by n: ratios of times taken in one run.

Run it with `python tests/benchmarks/proof.py`. Each row is the median over a few seeds; plain analysis and proof of one
matrix are run in turn, in one process and with one BLAS thread.
"""

import statistics
import time
from collections.abc import Callable

import rankscope as rs
from rankscope.arrays import blas_threads

SIZES = (64, 128, 256, 512)
SEEDS = 3

COLUMNS: dict[str, Callable[[object], object]] = {
    "plain": lambda matrix: rs.analyze(matrix),
    "--prove": lambda matrix: rs.analyze(matrix, prove=True),
    "--spectrum exact": lambda matrix: rs.analyze(matrix, spectrum="exact"),
}


def seconds(action: Callable[[object], object], matrix: object) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    action(matrix)
    return time.perf_counter() - started


def main() -> None:
    """Print the time of the plain analysis, and the ratios to it."""
    print(f"{'mask':<15}{'n':>5}{'plain ms':>10}" + "".join(f"{name:>18}" for name in list(COLUMNS)[1:]))
    with blas_threads(1):
        for mask in ("bidirectional", "causal"):
            for n in SIZES:
                made = [rs.synthetic(n=n, d=64, mask=mask, seed=seed) for seed in range(SEEDS)]
                times = {name: [seconds(action, each) for each in made] for name, action in COLUMNS.items()}
                plain = statistics.median(times["plain"])
                ratios = [
                    statistics.median(a / b for a, b in zip(taken, times["plain"], strict=True))
                    for name, taken in times.items()
                    if name != "plain"
                ]
                print(f"{mask:<15}{n:>5}{plain * 1e3:>10.1f}" + "".join(f"{ratio:>17.0f}×" for ratio in ratios))


if __name__ == "__main__":
    main()
