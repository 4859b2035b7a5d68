"""An interval as text: `0.41 [0.36, 0.46]`. The only place where one is written out for a terminal, a sentence or a log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def interval_text(value: Mapping[str, Any] | None, form: str = ".3f", bounds: str | None = None) -> str:
    """The estimate with its bounds; an unknown bound is `?`, and without both there is only the estimate.

    Args:
        value: `estimate`, `low` and `high`; a bound that is None or not finite is unknown. None gives `-`.
        form: format of the numbers, such as `.3f` or `+.2f`.
        bounds: format of the bounds, where it is another one.
    """
    if value is None:
        return "-"
    estimate = _number(value.get("estimate"), form)
    low, high = (_number(value.get(end), bounds or form) for end in ("low", "high"))
    return estimate if low == high == "?" else f"{estimate} [{low}, {high}]"


def _number(value: float | None, form: str) -> str:
    if value is None or not math.isfinite(value):
        return "?"
    text = format(value, form)
    return format(0.0, form) if float(text) == 0 else text  # without the sign of a negative zero
