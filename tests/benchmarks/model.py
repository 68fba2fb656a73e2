"""What it costs to measure every head of a model of the shape of GPT-2 small at length 1024, in time and in memory.

Run it as `python -m tests.benchmarks.model`. It compares, each in a process of its own: a forward pass that returns its
attention (eager, `output_attentions=True`), the same captured by rankscope without measuring, captured and measured
(effective rank), and the bare singular values of as many matrices by numpy, by as many threads.
"""

import json
import subprocess
import sys
import time
from typing import Any

LENGTH, LAYERS, HEADS = 1024, 12, 12
KINDS = ("forward", "attentions", "capture", "measure", "values")


def peak() -> float:
    """The most memory that this process has held, in MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def measured(kind: str) -> dict[str, float]:
    """Seconds and MB beyond those of the loaded model, after one short forward pass."""
    import numpy as np
    import torch
    import transformers

    import rankscope as rs
    from rankscope.workers import in_threads

    torch.manual_seed(0)
    eager = {"attn_implementation": "eager"} if kind == "attentions" else {}
    kind_of_model: Any = transformers.AutoModel
    model = kind_of_model.from_config(transformers.GPT2Config(), **eager).eval()
    ids = torch.arange(LENGTH)[None] % 50257
    with torch.no_grad():
        model(ids[:, :64], use_cache=False)
    before, started = peak(), time.perf_counter()
    if kind == "values":
        matrices = [np.tril(np.random.default_rng(0).random((LENGTH, LENGTH)))] * (LAYERS * HEADS)
        from rankscope.arrays import blas_threads

        with blas_threads(1):
            in_threads(lambda matrix: np.linalg.svd(matrix, compute_uv=False), matrices, 2)
    elif kind in ("forward", "attentions"):
        with torch.no_grad():
            model(ids, use_cache=False, output_attentions=kind == "attentions")
    else:
        with torch.no_grad(), rs.capture(model) as captured:
            model(ids, use_cache=False)
        if kind == "measure":
            rs.analyze(captured, measures="effective_rank")
    return {"seconds": time.perf_counter() - started, "megabytes": peak() - before}


def main() -> None:
    found = {}
    for kind in KINDS:
        words = [sys.executable, "-m", "tests.benchmarks.model", kind]
        found[kind] = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
        print(f"{kind:12} {found[kind]['seconds']:8.2f} s   +{found[kind]['megabytes']:.0f} MB")
    eager, values, own = (found[kind]["seconds"] for kind in ("attentions", "values", "measure"))
    print(f"measured / (eager forward + bare singular values): {own / (eager + values):.2f}")
    print(f"captured / eager forward: {found['capture']['seconds'] / eager:.2f}")
    memory = [found[kind]["megabytes"] for kind in ("measure", "attentions")]
    print(f"memory of measuring / of output_attentions: {memory[0] / memory[1]:.2f}")


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(measured(sys.argv[1])))
    else:
        main()
