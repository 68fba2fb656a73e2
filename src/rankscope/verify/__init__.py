"""A certificate (or its path) checked by mathematics: a proof of one's own for every claim, from its numbers alone.

`rankscope.verify("proof.json")` gives a verdict on every claim: this package has the name of the function, can be
called, and hands the call on to `rankscope.verify.verification.verify`.

The analyzer has no part in it, and nothing in a certificate is believed. The exact matrix stands in integers or in
balls (`attention.exact`), and the precision of the balls is doubled until a statement is decided.

- Rank, from above: a set of rows and columns that cover all entries (König), different rows and columns, factors, and
  elimination modulo primes whose product exceeds Hadamard's bound of the next minors. From below: a minor that is not
  zero.
- Determinant: the product of those of the diagonal blocks of the zero pattern.
- Number of singular values above τ: that of the positive eigenvalues of AᵀA − τ²I. For any V with VᵀMV nonsingular, M
  has as many as VᵀMV (Sylvester), which block elimination counts (Haynsworth): those of P and of S − RP⁻¹Q. V from
  LAPACK makes VᵀMV nearly diagonal; a bad V costs precision, never truth.
- Smallest singular value: 1/‖X‖₂ with X = A⁻¹ in balls, compared with a bound by the same count.
"""

import sys
from collections.abc import Mapping
from inspect import Signature, signature
from pathlib import Path
from types import ModuleType

from rankscope.arrays import Array
from rankscope.certificates import Certificate
from rankscope.verify.verdict import Verdict as Verdict
from rankscope.verify.verdict import Verdicts as Verdicts
from rankscope.verify.verification import verify as verify


class VerifyPackage(ModuleType):
    """This package as a function."""

    def __call__(self, certificate: Certificate | str | Path, arrays: Mapping[str, Array] | None = None) -> Verdicts:
        return verify(certificate, arrays)

    @property
    def __signature__(self) -> Signature:
        return signature(verify)


sys.modules[__name__].__class__ = VerifyPackage
