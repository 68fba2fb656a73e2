"""The one seam between a caller's arrays and our arithmetic.

Everything is computed in float64 on the host. What came in is converted *exactly* and the precision in which it was
stored is remembered, because a tolerance must come from the storage and not from the arithmetic: a bfloat16 matrix
analysed in float64 is still known to three digits only.
"""

import math
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rankscope.errors import error
from rankscope.registry import nearest

Array = NDArray[Any]
Float64 = NDArray[np.float64]
Boolean = NDArray[np.bool_]

EPS: Final = 2.0**-52
"""The distance from 1 to the next float64."""

UNIT: Final = 2.0**-53
"""The unit roundoff of float64: a correctly rounded operation is right to this relative error."""

TINIEST: Final = 5e-324
"""The smallest float64: what an entry that underflowed may be away from the one that is meant."""

SMALLEST: Final = 2.0**-1022
"""The smallest normal float64; below it numbers lose digits."""

VERSIONS: Final = {"python": platform.python_version(), "numpy": np.__version__}
"""What results are computed with: another version may round otherwise."""


@dataclass(frozen=True)
class Storage:
    """A floating-point type as storage: `bits` of significand, exponents from `minimum`.

    `unit` is its unit roundoff u (half the distance from 1 to the next number) and `smallest` its smallest subnormal
    number η: storing x gives x(1 + δ) + ε with |δ| ≤ u and |ε| ≤ η/2.
    """

    name: str
    bits: int
    minimum: int

    @property
    def unit(self) -> float:
        return 2.0**-self.bits

    @property
    def smallest(self) -> float:
        return 2.0 ** (self.minimum - self.bits + 1)


STORAGES: Final = {
    storage.name: storage
    for storage in (
        Storage("float64", 53, -1022),
        Storage("float32", 24, -126),
        Storage("float16", 11, -14),
        Storage("bfloat16", 8, -126),
    )
}
FLOAT64: Final = STORAGES["float64"]


def storage(name: str) -> Storage:
    """The storage type called `name`."""
    if name not in STORAGES:
        raise error("RS001", f"there is no dtype {name!r}", nearest(name, list(STORAGES)))
    return STORAGES[name]


def rounded(matrix: Float64, to: Storage) -> Float64:
    """`matrix` rounded once, to nearest even, to the type `to`, and given back exactly in float64.

    Valid below the largest number of the type, which attention weights always are.
    """
    if to is FLOAT64:
        return matrix
    exponent = np.maximum(np.frexp(matrix)[1] - 1, to.minimum) - to.bits + 1
    return np.asarray(np.ldexp(np.rint(np.ldexp(matrix, -exponent)), exponent), dtype=np.float64)


def from_bfloat16(bits: NDArray[np.uint16]) -> Float64:
    """The numbers whose bfloat16 patterns are `bits`: the upper half of a float32, so the conversion is exact."""
    with np.errstate(invalid="ignore"):  # signalling NaNs become quiet ones, and are refused later
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)


@dataclass(frozen=True)
class Given:
    """An array as it was given: its numbers exactly in float64 (or complex128), and how they were stored."""

    values: Array
    storage: Storage


def given(array: Any, what: str = "the matrix") -> Given:
    """Convert numpy, torch or anything array-like to float64 without loss, or say why it cannot be done.

    Integers beyond 2^53, extended precision that does not fit, objects, strings and tensors that are not dense raise
    an `InputError` with the remedy. The input is never modified. NaN and infinity pass: see `check_finite`.
    """
    if isinstance(array, Given):
        return array
    if type(array).__module__.partition(".")[0] == "torch":
        return from_torch(array, what)
    if type(array).__name__ == "MaskedArray":
        raise error("RS106", f"{what} is a masked array", "fill its gaps with .filled(value), or leave rows out")
    try:
        array = np.asarray(array)
    except ValueError as reason:
        raise error("RS101", f"{what} is ragged ({reason})", "give rows of equal length") from reason
    kind, name = array.dtype.kind, array.dtype.newbyteorder("=").name.replace("complex64", "float32")
    if name == "bfloat16":
        return Given(from_bfloat16(array.view(np.uint16)), STORAGES["bfloat16"])
    if kind == "b":
        raise error(
            "RS105", f"{what} is Boolean", "convert it with .astype(float) if it is a matrix, or give it as a mask"
        )
    if kind not in "fciu":
        raise error("RS105", f"{what} holds entries of type {array.dtype}", "give an array of floating-point numbers")
    if kind in "iu" and array.size and max(abs(int(array.min())), abs(int(array.max()))) > 2**53:
        raise error("RS104", f"{what} holds integers beyond 2^53", "scale them so that float64 holds them exactly")
    wide = np.complex128 if kind == "c" else np.float64
    check_memory(
        array.size * np.dtype(wide).itemsize, f"{what} of shape {array.shape}", "give fewer or smaller matrices"
    )
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.array(array, dtype=wide, order="C")
    if (
        kind in "fc"
        and array.dtype.itemsize > np.dtype(wide).itemsize
        and not np.array_equal(values, array, equal_nan=True)
    ):
        raise error(
            "RS103", f"{what} is {array.dtype}, which float64 cannot hold exactly", "convert it with .astype('float64')"
        )
    return Given(values, STORAGES.get(name, FLOAT64))


def from_torch(tensor: Any, what: str) -> Given:
    """A torch tensor in float64: dense and strided tensors only, on any device, never modified."""
    import torch

    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta" or tensor.is_nested:
        raise error("RS106", f"{what} is a tensor of layout {tensor.layout} on {tensor.device}", "give a dense tensor")
    check_memory(8 * tensor.numel(), f"{what} of shape {tuple(tensor.shape)}", "give fewer or smaller matrices")
    name = str(tensor.dtype).removeprefix("torch.")
    if name in ("float16", "bfloat16"):
        return Given(tensor.detach().cpu().double().numpy(), STORAGES[name])
    if name.startswith("float8"):
        raise error("RS105", f"{what} is {name}", "convert it with .to(torch.bfloat16), which is exact")
    return given(tensor.detach().cpu().resolve_conj().resolve_neg().numpy(), what)


def torch_module() -> Any:
    """torch, for what needs automatic differentiation, or an error that says how to install it (RS004)."""
    try:
        import torch
    except ImportError as reason:
        raise error("RS004", "gradients without torch", "install it with: pip install 'rankscope[torch]'") from reason
    return torch


def check_finite(matrix: Array, what: str = "the matrix") -> None:
    """Refuse NaN (RS110) and infinity (RS111) with their count and first position, before any factorisation."""
    finite = np.isfinite(matrix)
    if finite.all():
        return
    nan = np.isnan(matrix)
    if nan.any():
        refuse_entries("RS110", "NaN", nan, what)
    refuse_entries("RS111", "infinity", ~finite, what)


def refuse_entries(code: str, name: str, bad: Boolean, what: str) -> None:
    """Raise `code` with the number of bad entries and the position of the first."""
    count = int(np.count_nonzero(bad))
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    place = f"row {first[0]}, column {first[1]}" if len(first) == 2 else f"index {first}"
    raise error(
        code,
        f"{name} in {what}: {count} of {bad.size} entries, the first at {place} (counted from 0)",
        "find the step that made it; no rank, determinant or spectrum is defined for such a matrix",
    )


def power_of_two(matrix: Array) -> int:
    """The exponent e with max|entry| in [2^e, 2^(e+1)), or 0 for a matrix without non-zero entries.

    Dividing by 2^e is exact and keeps every intermediate result of a factorisation in range.
    """
    parts = (matrix.real, matrix.imag) if np.iscomplexobj(matrix) else (matrix,)
    largest = max(max(float(part.max(initial=0.0)), -float(part.min(initial=0.0))) for part in parts)
    return math.frexp(largest)[1] - 1 if 0.0 < largest < math.inf else 0


def scaled(matrix: Array | float, exponent: int) -> Array:
    """`matrix` times 2^exponent, exact unless the result is subnormal, for exponents beyond 1023 too."""
    half = exponent // 2
    return np.asarray(matrix) * 2.0**half * 2.0 ** (exponent - half) if exponent else np.asarray(matrix)


def check_flush_to_zero() -> None:
    """Refuse to work where subnormal numbers are flushed to zero (RS410): zero patterns would be wrong."""
    if not np.any(np.array([5e-324]) * 1.0):
        raise error(
            "RS410",
            "this process flushes subnormal numbers to zero, so that no zero can be trusted",
            "call torch.set_flush_denormal(False), or run rankscope in its own process",
        )


def available_memory() -> int:
    """Bytes that this process may still take: the least of the system's and the control group's headroom."""
    room = [math.inf]
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            room += [int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable")]
        with (
            open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit,
            open("/sys/fs/cgroup/memory.current", encoding="ascii") as used,
        ):
            room.append(int(limit.read()) - int(used.read()))
    except (OSError, ValueError):
        pass  # not Linux, or no limit is set
    if room == [math.inf] and hasattr(os, "sysconf"):
        room.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return int(min(room, default=0)) if min(room) < math.inf else 2**63


def return_freed_memory() -> None:
    """Give memory that was freed back to the system, where the C library keeps it for itself: it counts against what
    is still to be done, and a model's forward pass leaves as much as its attention takes.
    """
    import ctypes

    with suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def check_memory(needed: int, what: str, alternative: str) -> None:
    """Refuse, before allocating, what would take more than 80 % of the available memory (RS301)."""
    available = available_memory()
    if needed > 0.8 * available:
        raise error(
            "RS301",
            f"{what} needs about {needed / 2**30:.1f} GiB, and {available / 2**30:.1f} GiB are available",
            alternative,
        )


DENSE_COPIES: Final = 6
"""Arrays of n² float64 alive at the peak of one analysis: scores, weights, scaled copy, LAPACK's copy, temporaries."""


def check_dense(rows: int, columns: int, count: int = 1) -> None:
    """Refuse a dense analysis that does not fit, naming the largest square size that does.

    `count` matrices are kept together, each as weights and scores.
    """
    needed = 8 * rows * columns * (DENSE_COPIES + 2 * (count - 1))
    largest = math.isqrt(int(0.8 * available_memory() / (8 * (DENSE_COPIES + 2 * (count - 1)))))
    counted = f"{count} matrices" if count > 1 else "a matrix"
    check_memory(
        needed,
        f"the analysis of {counted} of {rows} × {columns}",
        f"take n ≤ {largest}, the largest that fits here now",
    )


FIXED_THREADS: Final = "RANKSCOPE_BLAS_THREADS"
"""The environment variable by which the command line says that it fixed the threads before numpy was loaded."""


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Run with `count` BLAS threads. One is the default: results must not depend on the machine's load.

    The command line sets the variable before numpy loads, and then nothing is left to do.
    """
    if os.environ.get(FIXED_THREADS) == str(count):
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=count, user_api="blas"):
        yield
