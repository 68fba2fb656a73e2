"""What went wrong, what was given, and what to do about it.

An error is one message: a stable code, what was given, and a remedy. The code decides the class and
the exit status, so a caller can catch a family (`except rs.InputError`) and a script can branch on the
status without reading English. `CATALOGUE` is the only list of codes; a code outside it cannot be raised.
"""

from typing import Final


class RankscopeError(Exception):
    """The base of every error that rankscope raises on purpose.

    `code` is one of `CATALOGUE`, `given` says what came, `remedy` says what to do.

    >>> from rankscope.errors import error
    >>> str(error("RS101", "an array of shape (3,)", "give a matrix of 2 dimensions"))
    'RS101: an array of shape (3,). Give a matrix of 2 dimensions.'
    """

    exit_status: int = 1

    def __reduce__(self) -> tuple[type["RankscopeError"], tuple[str, str, str]]:
        return type(self), (self.code, self.given, self.remedy)

    def __init__(self, code: str, given: str, remedy: str) -> None:
        self.code = code
        self.given = given
        self.remedy = remedy
        end = "" if remedy.endswith("?") else "."
        super().__init__(f"{code}: {given}. {remedy[:1].upper()}{remedy[1:]}{end}")


class UsageError(RankscopeError):
    """An option, a name or a combination of options that means nothing (RS0xx)."""

    exit_status = 2


class InputError(RankscopeError):
    """An array or a matrix that cannot be analysed (RS10x)."""

    exit_status = 3


class NonFiniteError(InputError):
    """NaN or infinity where a number is needed (RS11x)."""


class MaskError(InputError):
    """A mask or a normalisation that leaves a row without weights (RS12x)."""


class FormatError(InputError):
    """A file that is not what it says it is (RS2xx)."""


class ResourceError(RankscopeError):
    """More memory than this machine has (RS3xx)."""

    exit_status = 4


class GuaranteeError(RankscopeError):
    """A guarantee that could not be given (RS4xx)."""

    exit_status = 5


class StoreError(RankscopeError):
    """A file that cannot be read or written (RS5xx)."""

    exit_status = 6


CATALOGUE: Final[dict[str, tuple[type[RankscopeError], str]]] = {
    "RS001": (UsageError, "an unknown name"),
    "RS002": (UsageError, "a value that its option does not take"),
    "RS003": (UsageError, "options that exclude each other"),
    "RS004": (UsageError, "a format that needs a package which is not installed"),
    "RS005": (UsageError, "a plug-in that fails"),
    "RS101": (InputError, "an array of the wrong shape"),
    "RS103": (InputError, "numbers that do not fit into float64 without loss"),
    "RS104": (InputError, "integers beyond 2^53"),
    "RS105": (InputError, "entries that are not numbers"),
    "RS106": (InputError, "an array that is not dense: sparse, masked, quantised"),
    "RS107": (InputError, "a model whose attention is not seen"),
    "RS110": (NonFiniteError, "NaN in a matrix or in its scores"),
    "RS111": (NonFiniteError, "infinity in a matrix"),
    "RS120": (MaskError, "a query that sees no key"),
    "RS122": (MaskError, "a row whose sum is zero or lost to cancellation"),
    "RS201": (FormatError, "a file that holds pickled objects"),
    "RS202": (FormatError, "a file whose header does not fit its length"),
    "RS203": (FormatError, "a header that is malformed"),
    "RS204": (FormatError, "an archive that unpacks beyond its limits"),
    "RS205": (FormatError, "an archive member that is not an array"),
    "RS206": (FormatError, "a number type that is not supported"),
    "RS207": (FormatError, "a file format that is not read"),
    "RS208": (FormatError, "a file with nothing to analyse"),
    "RS209": (FormatError, "a certificate that is malformed or was altered"),
    "RS210": (FormatError, "a certificate without its arrays"),
    "RS211": (FormatError, "a result that is malformed"),
    "RS212": (FormatError, "a model whose weights are not in .safetensors files"),
    "RS213": (FormatError, "a model that needs code or data of its own"),
    "RS214": (FormatError, "a model whose files lie outside of its folder"),
    "RS215": (FormatError, "a model whose files do not fit together"),
    "RS301": (ResourceError, "a matrix that does not fit into memory"),
    "RS401": (GuaranteeError, "a decomposition that did not converge"),
    "RS402": (GuaranteeError, "two proofs that contradict each other"),
    "RS403": (GuaranteeError, "a required guarantee that could not be given"),
    "RS410": (GuaranteeError, "an environment that flushes small numbers to zero"),
    "RS501": (StoreError, "a file that cannot be read"),
    "RS502": (StoreError, "a file that cannot be written"),
}


def error(code: str, given: str, remedy: str) -> RankscopeError:
    """The exception of `code`, ready to be raised, saying what was `given` and the `remedy`."""
    return CATALOGUE[code][0](code, given, remedy)
