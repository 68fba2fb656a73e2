"""Properties that are computed once, by threads that do not wait for each other.

Up to Python 3.11 `functools.cached_property` holds one lock for all instances of a class while it computes, so that
threads over matrices would take turns at their singular values.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property  # noqa: TID251  this is what stands in for it
else:

    class cached_property:
        """A property that is computed once for each instance, and kept in its `__dict__`."""

        def __init__(self, function: Any) -> None:
            self.function = function
            self.__doc__ = function.__doc__
            self.__module__ = function.__module__

        def __set_name__(self, owner: Any, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: Any = None) -> Any:
            if instance is None:
                return self
            found = instance.__dict__[self.name] = self.function(instance)
            return found


__all__ = ["cached_property"]
