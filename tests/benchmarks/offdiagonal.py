"""What the profile of off-diagonal ranks costs, as a multiple of one decomposition of the whole matrix.

Run it with `OPENBLAS_NUM_THREADS=1 python tests/benchmarks/offdiagonal.py`. Both are timed in turn in one process, and
the medians of the ratios are printed.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import rankscope as rs
from rankscope.analyzer.measure import MEASURES
from rankscope.analyzer.needs import Needs
from rankscope.attention.existing import single

ROUNDS = 5
CASES = (("causal", "softmax"), ("causal", "linear"), ("causal", "delta"), ("bidirectional", "softmax"))


def seconds(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> None:
    rs.analyze(np.eye(2))
    print(f"{'n':>6}{'kernel':>12}{'mask':>15}{'profile / decomposition':>26}")
    for n in (256, 512, 1024):
        for mask, kernel in CASES:
            operator = single(rs.synthetic(n=n, d=64, mask=mask, kernel=kernel))
            matrix, ratios = np.asarray(operator.matrix), []
            for _ in range(ROUNDS):
                needs = Needs(operator)
                _ = needs.spectrum, needs.blocks
                profile = seconds(partial(MEASURES["offdiagonal_rank"].function.read, needs))
                ratios.append(profile / seconds(partial(np.linalg.svd, matrix, compute_uv=False)))
            print(f"{n:>6}{kernel:>12}{mask:>15}{statistics.median(ratios):>26.2f}", flush=True)


if __name__ == "__main__":
    main()
