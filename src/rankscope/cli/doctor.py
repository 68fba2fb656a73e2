"""`rankscope doctor`: what this installation computes with."""

import os
import platform
import sys

import typer

from rankscope.cli import options as o

PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "matplotlib",
    "typer",
    "rich",
    "threadpoolctl",
    "pyarrow",
    "torch",
    "transformers",
    "safetensors",
)


def doctor(debug: o.Debug = False) -> None:
    """Versions, BLAS, threads, memory, fonts and the torch build: what to send along with a bug report."""
    o.set_threads(1)
    import numpy as np
    import threadpoolctl

    from rankscope import __version__
    from rankscope.arrays import available_memory, check_dense
    from rankscope.errors import RankscopeError

    say("rankscope", __version__)
    say("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in PACKAGES:
        say(package, version(package))
    np.linalg.svd(np.eye(2))
    for library in threadpoolctl.threadpool_info():
        if library["user_api"] == "blas":
            built = f"{library['internal_api']} {library['version']} for {library.get('architecture', 'unknown')}"
            say("BLAS", f"{built}, {library['num_threads']} thread")
    say("cores", f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}")
    say("memory", f"{available_memory() / 2**30:.1f} GiB available")
    largest = 1024
    try:
        while True:
            check_dense(2 * largest, 2 * largest)
            largest *= 2
    except RankscopeError:
        say("largest n", f"at least {largest} for a dense analysis")
    say("subnormals", "kept" if np.any(np.array([5e-324]) * 1.0) else "flushed to zero: exact statements are refused")
    say("fonts", fonts())
    say("stdout", f"{sys.stdout.encoding}, {'terminal' if sys.stdout.isatty() else 'not a terminal'}")


def say(name: str, value: str) -> None:
    """One line of the report."""
    typer.echo(f"{name:<14}{value}")


def version(package: str) -> str:
    """The installed version of a package."""
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def fonts() -> str:
    """Whether labels in Chinese, Japanese or Korean can be drawn."""
    from rankscope.report.figure import fonts as installed

    fallback = installed("DejaVu Sans")[1:]
    if fallback:
        return f"{fallback[0]} draws Chinese, Japanese and Korean"
    return "no Chinese, Japanese or Korean font: such letters become boxes"
