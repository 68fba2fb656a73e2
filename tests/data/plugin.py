"""A plug-in as a user would write it: a mask, a kernel and a measure, each a short function."""

import numpy as np

import rankscope as rs


@rs.mask
def spaced(step: int) -> rs.Mask:
    """Every query sees itself and the earlier keys at a multiple of the step."""
    return rs.Mask(f"spaced:{step}", lambda q, k: (k <= q) & ((q - k) % step == 0))


@rs.kernel
def clipped(limit: float = 30.0) -> rs.ScoreKernel:
    """Softmax of scores that are cut off at a limit on either side."""
    return rs.ScoreKernel(f"clipped:{limit:g}", lambda s: np.clip(s, -limit, limit))


@rs.measure
def spectral_flatness(spectrum: rs.Spectrum) -> float:
    """Geometric over arithmetic mean of the singular values above their error."""
    kept = spectrum.values[spectrum.values > spectrum.error]
    return float(np.exp(np.log(kept).mean()) / kept.mean()) if len(kept) else 0.0
