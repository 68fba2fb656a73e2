"""What if: the heads of a trained model under other masks, plans and kernels, beside the attention that was trained."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rankscope.analyzer.numerics import Numerics
from rankscope.result import Result
from rankscope.study import Study, named, run

if TYPE_CHECKING:
    from rankscope.generators.capture.capturing import Capture
    from rankscope.generators.models import Model


def what_if(
    source: "Capture | Model | str",
    variants: str | Iterable[str],
    *,
    measures: str | Iterable[str] = (),
    null: int = 0,
    pictures: bool = False,
    workers: int | None = None,
) -> Result:
    """The same trained queries and keys under other masks, plans and kernels, side by side with what was trained.

    Args:
        source: what `rankscope.capture` has kept, a `rankscope.Model`, or the path of a model's folder.
        variants: masks ("causal"), plans ("heads", "layers") and kernels ("kernel=linear:elu+1"), in a list or with
            commas. With a plan the mean over the heads of each layer is measured, too.
        measures: as in `analyze`.
        null: as in `analyze`.
        pictures: as in `analyze`.
        workers: as in `analyze`.

    Returns:
        A result whose matrices belong to the stack "trained", or to that of a variant. Its notes name the heads of
        which a variant cannot be had: those whose queries and keys are not known.

    >>> import torch, rankscope as rs
    >>> model = torch.nn.TransformerEncoderLayer(16, 2, batch_first=True).eval()
    >>> with torch.no_grad(), rs.capture(model) as captured:
    ...     _ = model(torch.randn(1, 10, 16))
    >>> result = rs.what_if(captured, "causal", measures="rank_exact")
    >>> [(matrix.stack, record.value) for matrix, record in zip(result.table.matrices, result)]
    [('trained', None), ('trained', None), ('causal', 10), ('causal', 10)]
    """
    from rankscope.generators.capture.capturing import Capture
    from rankscope.generators.capture.variants import WhatIf, variant
    from rankscope.trained import given_model

    captured = source if isinstance(source, Capture) else given_model(source).captured
    tried = tuple(variant(each) for each in dict.fromkeys(named(variants)))
    study = Study((WhatIf(captured, tried),), named(measures), Numerics(), null=null, pictures=pictures)
    return run(study, workers=workers)
