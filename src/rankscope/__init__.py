"""rankscope measures the rank of attention matrices, and says how far each number can be trusted.

>>> import rankscope as rs
>>> A = rs.synthetic(n=64, d=16, mask="causal")
>>> result = rs.analyze(A)
>>> result["rank_exact"].value, result["rank_exact"].guarantee
(64, 'proved')

Names are resolved on first use, so that importing the package imports no numerical library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rankscope.analyzer.measure import measure as measure
    from rankscope.analyzer.numerics import Numerics as Numerics
    from rankscope.attention.block import Block as Block
    from rankscope.attention.block import Head as Head
    from rankscope.attention.block import Mlp as Mlp
    from rankscope.attention.build import attention as attention
    from rankscope.attention.build import from_logits as from_logits
    from rankscope.attention.existing import matrix as matrix
    from rankscope.attention.kernels import FeatureKernel as FeatureKernel
    from rankscope.attention.kernels import RecurrenceKernel as RecurrenceKernel
    from rankscope.attention.kernels import ScoreKernel as ScoreKernel
    from rankscope.attention.kernels import kernel as kernel
    from rankscope.attention.masks import Mask as Mask
    from rankscope.attention.masks import mask as mask
    from rankscope.attention.positions import Piece as Piece
    from rankscope.attention.positions import Place as Place
    from rankscope.attention.positions import Position as Position
    from rankscope.attention.positions import position as position
    from rankscope.attention.positions import t5_given as t5_given
    from rankscope.attention.tokens import Linear as Linear
    from rankscope.certificates import Certificate as Certificate
    from rankscope.deep import depth as depth
    from rankscope.errors import InputError as InputError
    from rankscope.errors import RankscopeError as RankscopeError
    from rankscope.generators.capture.capturing import Capture as Capture
    from rankscope.generators.capture.capturing import capture as capture
    from rankscope.generators.ensembles import Ensemble as Ensemble
    from rankscope.generators.ensembles import ensemble as ensemble
    from rankscope.generators.models import Model as Model
    from rankscope.generators.network import Stack as Stack
    from rankscope.generators.stack import Synthetic as Synthetic
    from rankscope.generators.stack import synthetic as synthetic
    from rankscope.generators.tensors import File as File
    from rankscope.generators.tensors import load as load
    from rankscope.monitor import Monitor as Monitor
    from rankscope.records import Reading as Reading
    from rankscope.records import Record as Record
    from rankscope.records import Table as Table
    from rankscope.report.reports import report as report
    from rankscope.result import Result as Result
    from rankscope.result import read as read
    from rankscope.study import Study as Study
    from rankscope.study import analyze as analyze
    from rankscope.study import certificate as certificate
    from rankscope.study import compare as compare
    from rankscope.study import logdet as logdet
    from rankscope.study import run as run
    from rankscope.study import singular_values as singular_values
    from rankscope.study import spectrum as spectrum
    from rankscope.supposed import what_if as what_if
    from rankscope.trained import trained_depth as trained_depth
    from rankscope.verify import verify as verify

SUBPACKAGES = ("attention", "report", "testing", "verify")
"""Modules that are public names themselves; the packages `attention`, `report` and `verify` can be called."""

HOMES = {
    "analyzer.determinant": ["LogDet"],
    "analyzer.measure": ["measure"],
    "analyzer.needs": ["Blocks", "Bounds", "Needs", "Scores"],
    "analyzer.numerics": ["Numerics"],
    "analyzer.rows": ["Rows"],
    "analyzer.smallest": ["Smallest"],
    "analyzer.spectrum": ["Spectrum"],
    "arrays": ["Storage"],
    "attention.block": ["Block", "Head", "Mlp"],
    "attention.build": ["from_logits"],
    "attention.existing": ["matrix"],
    "attention.kernels": ["FeatureKernel", "RecurrenceKernel", "ScoreKernel", "kernel"],
    "attention.masks": ["Mask", "mask"],
    "attention.positions": ["Piece", "Place", "Position", "position", "t5_given"],
    "attention.tokens": ["Linear"],
    "attention.operators": ["Concatenation", "Dense", "Factored", "Mean", "Product"],
    "errors": [
        "FormatError",
        "GuaranteeError",
        "StoreError",
        "InputError",
        "MaskError",
        "NonFiniteError",
        "RankscopeError",
        "ResourceError",
        "UsageError",
    ],
    "generators.capture.capturing": ["Capture", "capture"],
    "generators.ensembles": ["Ensemble", "ensemble"],
    "generators.models": ["Model"],
    "generators.network": ["Stack"],
    "generators.stack": ["Synthetic", "synthetic"],
    "generators.tensors": ["File", "load"],
    "monitor": ["Monitor"],
    "records": ["Reading", "Record", "Table"],
    "certificates": ["Certificate"],
    "deep": ["depth"],
    "result": ["Result", "read"],
    "supposed": ["what_if"],
    "trained": ["trained_depth"],
    "study": ["Study", "analyze", "certificate", "compare", "logdet", "run", "singular_values", "spectrum"],
}
"""Where each public name lives. Every measure is public too, under its own name."""


def __getattr__(name: str) -> Any:
    if name in SUBPACKAGES:
        return import_module(f"rankscope.{name}")
    for module, names in HOMES.items():
        if name in names:
            return getattr(imported(module, name), name)
    if not name.startswith("_"):
        from rankscope.analyzer.analyze import measures

        if name in measures().names() or name in measures().aliases:
            return measures()[name].function
    raise AttributeError(f"module 'rankscope' has no attribute {name!r}")


def imported(module: str, name: str) -> Any:
    """The module of a public name, or an error that says what to install for it (RS004)."""
    try:
        return import_module(f"rankscope.{module}")
    except ModuleNotFoundError as reason:
        if reason.name not in ("torch", "transformers"):
            raise
        from rankscope.errors import error

        remedy = "install it with: pip install 'rankscope[models]'"
        raise error("RS004", f"rankscope.{name} without {reason.name}", remedy) from reason


def __dir__() -> list[str]:
    from rankscope.analyzer.analyze import measures

    return sorted(
        {"__version__", *SUBPACKAGES, *(name for names in HOMES.values() for name in names), *measures().names()}
    )
