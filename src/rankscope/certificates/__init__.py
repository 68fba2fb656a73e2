"""Certificates: exact statements about one matrix, with the numbers that the matrix is made of.

A certificate is a small JSON file that holds the given numbers themselves (or their SHA-256, with the arrays beside it
in a .npz file) and claims about the exact matrix that they make. It holds no proof: whoever checks it makes a proof of
his own, so that nothing in it need be believed. It is sealed with the SHA-256 of its canonical JSON (sorted keys, no
spaces, ASCII), which tells damage from falsehood.

Whatever is read may come from a stranger: a key that stands twice or is not known, NaN, a number of the wrong type, an
array of the wrong length, and a digest that does not fit are all refused with RS209.
"""

from rankscope.certificates.certificate import FORMAT as FORMAT
from rankscope.certificates.certificate import Certificate as Certificate
from rankscope.certificates.certificate import seal as seal
from rankscope.certificates.claims import CLAIMS as CLAIMS
from rankscope.certificates.claims import Claim as Claim
from rankscope.certificates.claims import Count as Count
from rankscope.certificates.claims import Determinant as Determinant
from rankscope.certificates.claims import Minor as Minor
from rankscope.certificates.claims import Rank as Rank
from rankscope.certificates.claims import Smallest as Smallest
from rankscope.certificates.claims import named as named
from rankscope.certificates.matrix import COMPOSED as COMPOSED
from rankscope.certificates.matrix import TYPES as TYPES
from rankscope.certificates.matrix import Kind as Kind
from rankscope.certificates.matrix import Numbers as Numbers
from rankscope.certificates.matrix import numbers as numbers
from rankscope.certificates.reading import parse as parse
from rankscope.certificates.reading import read as read
from rankscope.certificates.refusal import malformed as malformed
