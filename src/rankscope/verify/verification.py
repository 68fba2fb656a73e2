"""Every claim of a certificate has its verdict."""

from collections.abc import Mapping
from pathlib import Path

from rankscope.arrays import Array, check_flush_to_zero
from rankscope.certificates import Certificate, Claim, Count, Determinant, Rank, read
from rankscope.errors import error
from rankscope.verify.determinant import check_determinant
from rankscope.verify.matrix import Exact
from rankscope.verify.rank import check_rank
from rankscope.verify.singular_values import check_count, check_smallest
from rankscope.verify.verdict import Finding, Verdict, Verdicts


def verify(certificate: Certificate | str | Path, arrays: Mapping[str, Array] | None = None) -> Verdicts:
    """A verdict on every claim of a certificate: verified, refuted or undecided, and why.

    Args:
        certificate: a certificate, or the path of one (.json).
        arrays: its arrays by name, as `numpy.load` gives them of the .npz file beside it, where it holds digests only;
            they must be those.

    Returns:
        The verdicts, in the order of the claims; as a truth value, whether all are verified.

    Raises:
        FormatError: a file that is no certificate or was altered (RS209), arrays that are missing or others (RS210).

    >>> import numpy as np
    >>> from rankscope.certificates import numbers
    >>> given = Certificate("identity", numbers("stored", {"matrix": np.eye(2)}), (Rank(2, 2), Determinant(-1)))
    >>> [verdict.verdict for verdict in verify(given)]
    ['verified', 'refuted']
    """
    check_flush_to_zero()
    if not isinstance(certificate, Certificate | str | Path):
        raise error("RS209", f"{type(certificate).__name__} where a certificate is checked", "give one, or its path")
    if not (arrays is None or isinstance(arrays, Mapping)):
        remedy = "give a mapping of names to arrays, such as numpy.load('proof.npz')"
        raise error("RS210", f"arrays that are a {type(arrays).__name__}", remedy)
    given = certificate if isinstance(certificate, Certificate) else read(certificate)
    held = given.matrix.flat() if arrays is None else arrays
    matrix = Exact(given.matrix.filled(held))  # its own arrays, too, may have changed since they were checked
    return Verdicts(Verdict(claim, *checked(claim, matrix)) for claim in given.claims)


def checked(claim: Claim, matrix: Exact) -> tuple[Finding, str]:
    """The verdict on one claim, and why."""
    match claim:
        case Rank():
            return check_rank(claim, matrix)
        case Determinant():
            return check_determinant(claim, matrix)
        case Count():
            return check_count(claim, matrix)
    return check_smallest(claim, matrix)
