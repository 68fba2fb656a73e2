"""What an attention matrix is: who sees whom, how strongly, and what must therefore be true.

`rankscope.attention(q, k)` makes one: importing this package binds its name in `rankscope`, where the function of the
same name is promised, so the package can be called and hands the call on to `rankscope.attention.build.attention`.
"""

import sys
from inspect import Signature, signature
from types import ModuleType
from typing import Any


class AttentionPackage(ModuleType):
    """This package as a function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from rankscope.attention.build import attention

        return attention(*arguments, **options)

    @property
    def __signature__(self) -> Signature:
        from rankscope.attention.build import attention

        return signature(attention)


sys.modules[__name__].__class__ = AttentionPackage
