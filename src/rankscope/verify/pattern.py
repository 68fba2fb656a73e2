"""What the zeros of a matrix, and its rows and columns that are equal, say without arithmetic."""

import numpy as np

from rankscope.arrays import Boolean
from rankscope.certificates import Numbers


def pattern(numbers: Numbers) -> Boolean:
    """The places where an entry need not be zero."""
    arrays = numbers.arrays or {}
    parts = [pattern(part) for part in numbers.parts]
    match numbers.kind:
        case "softmax" | "shares" | "sink" | "sink-shares" | "weights":
            return np.asarray(arrays["log_weights"] > -np.inf)
        case "recurrence":
            left, right = ((arrays[name] != 0) for name in ("left", "right"))
            whole = left.any(axis=1)[:, None] & right.any(axis=1)[None, :]
            beside = np.triu(whole, 1) if arrays["backward"][0] else np.tril(whole, -1)
            return np.asarray(beside | np.diag((left & right).any(axis=1)))
        case "concatenation":
            return np.concatenate(parts, axis=1)
        case "products":
            left, right = ((arrays[name] != 0).astype(np.float64) for name in ("left", "right"))
            return np.asarray(((left @ right.T > 0) & arrays["seen"]) | arrays["uniform"][:, None])
        case "stored":
            return np.asarray(arrays["matrix"] != 0)
        case "product":
            found = parts[0]
            for part in parts[1:]:
                found = found.astype(np.float64) @ part.astype(np.float64) > 0
            return found
    return np.asarray(np.any(parts, axis=0))


def cover(pattern: Boolean) -> int:
    """How many rows and columns cover every place of the pattern: the rank of any matrix on it is at most that.

    Rows reached from one that a matching leaves alone are covered through their columns, the others by themselves
    (König). Whatever the matching, this is a cover; it is the least one if the matching is the largest.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    if not pattern.any():
        return 0
    partner = maximum_bipartite_matching(csr_array(pattern), perm_type="column")
    rows = partner < 0
    while True:
        columns = pattern[rows].any(axis=0)
        reached = rows | np.isin(partner, np.flatnonzero(columns))
        if np.array_equal(reached, rows):
            return int(np.count_nonzero(~rows) + np.count_nonzero(columns))
        rows = reached


def blocks(pattern: Boolean) -> list[list[int]]:
    """The strongly connected components of a square pattern, in an order that makes it block lower triangular.

    That it does is looked at, and one block is taken where it does not.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    size = len(pattern)
    labels = connected_components(csr_array(pattern), connection="strong")[1] if size else np.zeros(0, dtype=np.intp)
    rows, columns = np.nonzero(pattern)
    found = [np.flatnonzero(labels == label).tolist() for label in range(int(labels.max(initial=-1)) + 1)]
    if (labels[rows] >= labels[columns]).all():
        return found
    return found[::-1] if (labels[rows] <= labels[columns]).all() else [list(range(size))]


def lines(numbers: Numbers, axis: int) -> list[bytes]:
    """For each row (axis 0) or column (axis 1) bytes that determine it: equal bytes, equal lines."""
    arrays = numbers.arrays or {}
    match numbers.kind:
        case "product":
            return lines(numbers.parts[-axis], axis)
        case "concatenation" if axis == 1:
            return [b"%d:" % index + line for index, part in enumerate(numbers.parts) for line in lines(part, axis)]
        case "mean" | "concatenation":
            return [b"".join(each) for each in zip(*(lines(part, axis) for part in numbers.parts), strict=True)]
        case "recurrence":
            return [str(place).encode() for place in range(numbers.rows)]
        case "sink" | "sink-shares" if axis == 0:
            held = [arrays["log_weights"] + 0.0, arrays["sink"][:, None]]
        case "sink" | "sink-shares":
            held = [arrays["log_weights"].T + 0.0]
        case "products":
            own = [arrays["left"] + 0.0, arrays["seen"], arrays["uniform"][:, None]]
            held = own if axis == 0 else [arrays["right"] + 0.0, arrays["seen"].T]
        case _:
            (array,) = arrays.values()
            held = [array + 0.0 if axis == 0 else array.T + 0.0]
    return [b"".join(np.ascontiguousarray(row).tobytes() for row in rows) for rows in zip(*held, strict=True)]
