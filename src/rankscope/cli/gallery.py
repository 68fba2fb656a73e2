"""The results on which the gallery shows every figure: commands of this program, run as they stand."""

import io
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Final

from rankscope.cli import application
from rankscope.records import Table
from rankscope.saved import read

COMMANDS: Final = (
    "analyze --mask causal --n 128 --d 16 --measure all",
    "compare --mask bidirectional,causal,window:16 --n 64 --d 16 --seeds 0:8",
    "compare --mask causal --kernel softmax,linear,cosformer --n 128 --d 16 --measure offdiagonal_rank",
    "analyze --n 64 --d 16 --heads 8 --layers 6 --plan heads --ensemble tokens --null",
    "compare --mask causal --kernel softmax,linear --n 32,64,128,256 --d 16 --seeds 0:3",
    "compare --mask bidirectional --n 64 --d 4,8,16,32,64 --scale 0.25,0.5,1,2,4,8",
    "analyze --ensemble markov --n 256 --measure all",
    "depth --mask bidirectional,causal --compare pure,skip,mlp,skip+mlp --n 32 --d 8 --layers 8 --seeds 0:3",
)
"""One result of each kind, small enough to be made while one waits."""


def examples() -> Iterator[Table]:
    """The results of the commands."""
    with tempfile.TemporaryDirectory(prefix="rankscope-") as folder:
        for number, command in enumerate(COMMANDS):
            result = Path(folder) / f"{number}.json"
            # A figure of the matrices themselves is written so that the result keeps their pictures, too.
            pictures = ["--figure", "attention", "-o", str(result.with_suffix(".svg"))]
            words = [*shlex.split(command), "--quiet", "-o", str(result)]
            words += pictures if command.startswith("analyze") else []
            with redirect_stderr(io.StringIO()):
                application(words)(words, standalone_mode=False)
            yield read(result)
