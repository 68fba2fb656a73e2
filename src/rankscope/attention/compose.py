"""What structure survives when matrices are multiplied over layers, or averaged or set side by side over heads."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rankscope.attention.structure import Fact, Side, Structure, least, square
from rankscope.errors import error


def of_product(parts: Sequence[Structure]) -> Structure:
    """The structure of a matrix product: sides survive when they agree, signs multiply, the least rank bounds."""
    shape = (parts[0].shape[0], parts[-1].shape[1])
    blocks, side = common(parts, "product")
    signs = [part.det_sign.value if square(part.shape) else None for part in parts]
    known = [sign for sign in signs if sign is not None]
    if any(one.shape[1] != other.shape[0] for one, other in pairwise(parts)):
        shapes = " · ".join(f"{rows} × {columns}" for rows, columns in (part.shape for part in parts))
        raise error("RS101", f"a product of matrices of the shapes {shapes}", "keep empty rows: --empty-rows zero")
    all_square = all(square(part.shape) for part in parts)
    if 0 in known and all_square:
        sign: Fact[int | None] = Fact(0, "one factor is singular")
    elif len(known) == len(signs) and square(shape):
        sign = Fact(int(np.prod(known)), "the determinant of a product is the product of the determinants")
    else:
        sign = Fact(None, "the sign of a factor's determinant is not known")
    bound = min(part.rank_bound.value for part in parts)
    sums = {part.row_sum.value for part in parts}
    row_sum: Fact[float | None] = (
        Fact(1.0, "a product of matrices whose rows sum to one")
        if sums == {1.0}
        else Fact(None, "a factor's rows do not")
    )
    return Structure(shape, blocks, side, Fact(bound, f"at most {bound}: the least rank of its factors"), row_sum, sign)


def of_mean(parts: Sequence[Structure]) -> Structure:
    """The structure of an entrywise mean: sides survive when they agree; the determinant has no law otherwise.

    Two triangular matrices with positive diagonals, one lower and one upper, can have a singular mean: for
    L = [e₁; e₁; e₂] and U = [e₂; e₃; e₃], limits of attention matrices, det((L + U)/2) = −1/4.
    """
    shape = parts[0].shape
    blocks, side = common(parts, "mean")
    sums = {part.row_sum.value for part in parts}
    row_sum: Fact[float | None] = (
        Fact(1.0, "a mean of matrices whose rows sum to one") if sums == {1.0} else Fact(None, "a part's rows do not")
    )
    sign: Fact[int | None] = Fact(None, "the determinant of a mean follows from no law of its parts")
    return Structure(shape, blocks, side, added_ranks(parts, shape), row_sum, sign)


def of_concatenation(parts: Sequence[Structure]) -> Structure:
    """The structure of matrices side by side: ranks add at most; the rank is at least that of every part."""
    shape = (parts[0].shape[0], sum(part.shape[1] for part in parts))
    sums = [part.row_sum.value for part in parts]
    known = [each for each in sums if each is not None]
    row_sum: Fact[float | None] = (
        Fact(math.fsum(known), "the sum of the row sums of the parts")
        if len(known) == len(sums)
        else Fact(None, "a part's rows have no common sum")
    )
    because = "matrices side by side"
    if len(parts) == 1:
        return parts[0]
    blocks = Fact(np.zeros(shape[0], dtype=np.intp) if square(shape) else None, because)
    return Structure(shape, blocks, Fact("none", because), added_ranks(parts, shape), row_sum, Fact(None, because))


def added_ranks(parts: Sequence[Structure], shape: tuple[int, int]) -> Fact[int]:
    """The upper bound of the rank of a sum, or of parts side by side: the sum of theirs, and no more than fits.

    Where rows sum to one, every column space holds the vector of ones, which counts once.
    """
    shared = shape[0] > 0 and all(part.row_sum.value == 1.0 for part in parts)
    total = sum(part.rank_bound.value for part in parts) - shared * (len(parts) - 1)
    why = "the sum of the ranks of its parts" + ", which share the vector of ones" * shared
    bounds = [(min(shape), f"a matrix of {shape[0]} × {shape[1]}"), (total, why)]
    return least(bounds)


def common(parts: Sequence[Structure], noun: str) -> tuple[Fact[NDArray[np.intp] | None], Fact[Side]]:
    """The blocks and the side that a product or a mean keeps: those of a side on which all parts stand."""
    rows, columns = parts[0].shape[0], parts[-1].shape[1]
    sides = {part.side.value for part in parts} - {"diagonal"}
    if rows != columns:
        return Fact(None, f"not square: {rows} × {columns}"), Fact("none", "not square")
    if not all(square(part.shape) for part in parts):
        because = f"not every part of the {noun} is square"
        return Fact(np.zeros(rows, dtype=np.intp), because), Fact("none", because)
    if len(sides) < 2 and "none" not in sides:
        side: Side = next(iter(sides), "diagonal")
        return Fact(np.arange(rows), f"every part of the {noun} is {side} triangular"), Fact(
            side, f"{side}: so is every part of the {noun}"
        )
    return Fact(np.zeros(rows, dtype=np.intp), f"the parts of the {noun} stand on different sides"), Fact(
        "none", f"the parts of the {noun} stand on different sides"
    )
