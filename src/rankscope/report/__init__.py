"""How a result is shown: as text, as tables, as figures, and as documents for a reader.

`rankscope.report(results, path)` writes a document: importing this package binds its name in `rankscope`, where the
function of the same name is promised, so the package can be called and hands the call on to
`rankscope.report.reports.report`.
"""

import sys
from inspect import Signature, signature
from types import ModuleType
from typing import Any


class ReportPackage(ModuleType):
    """This package as a function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from rankscope.report.reports import report

        return report(*arguments, **options)

    @property
    def __signature__(self) -> Signature:
        from rankscope.report.reports import report

        return signature(report)


sys.modules[__name__].__class__ = ReportPackage
