"""What makes a function a battery: every failure is an AssertionError that says what was broken."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

T = TypeVar("T")


def require(condition: object, message: str) -> None:
    """Raise an AssertionError with this message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def battery(check: Callable[[T], None]) -> Callable[[T], None]:
    """A battery whose every failure is an AssertionError, that of the entry itself included."""

    @wraps(check)
    def checked(entry: T) -> None:
        try:
            check(entry)
        except AssertionError:
            raise
        except Exception as reason:  # whatever a user's own entry raises is a failure of its contract
            raise AssertionError(f"{entry!r} raises {type(reason).__name__}: {reason}") from reason

    return checked
