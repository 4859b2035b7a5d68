"""Measure whether oneDNN multiplies matrices faster than torch's default on this processor; it takes a few milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_SHAPE = (1024, 512, 256)
"""Rows, outputs and inputs of the product that is timed."""
_REPEATS = 5
MARGIN = 1.25
"""How much faster it must be: a rerun on the same machine shall come to the same choice, and to the same bits."""


def onednn_pays() -> bool:
    """True where it gives the same numbers clearly sooner; False where this torch does not have it."""
    import torch

    rows, outputs, inputs = _SHAPE
    x = torch.linspace(-1, 1, rows * inputs).sin().view(rows, inputs)
    weight = torch.linspace(-1, 1, outputs * inputs).cos().view(outputs, inputs)
    try:
        product = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):  # the operator is not public
        return False
    if not torch.allclose(product, torch.nn.functional.linear(x, weight), atol=1e-4):
        return False
    plain = _fastest(lambda: torch.nn.functional.linear(x, weight))
    fast = _fastest(lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""))
    return plain > MARGIN * fast


def _fastest(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
