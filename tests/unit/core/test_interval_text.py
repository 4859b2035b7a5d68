"""An interval is written in one way, whatever its numbers and whichever of its bounds are known."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rlllm.core.interval_text import interval_text

TEXTS: list[tuple[dict[str, Any] | None, dict[str, str], str]] = [
    ({"estimate": 0.41, "low": 0.36, "high": 0.46}, {}, "0.410 [0.360, 0.460]"),
    ({"estimate": 0.21, "low": -0.05, "high": 0.25}, {"form": "+.2f"}, "+0.21 [-0.05, +0.25]"),
    ({"estimate": 0.21, "low": -0.05, "high": 0.25}, {"form": "+.2f", "bounds": ".2f"}, "+0.21 [-0.05, 0.25]"),
    ({"estimate": -0.0001, "low": -0.0004, "high": 0.1}, {}, "0.000 [0.000, 0.100]"),
    ({"estimate": 1.0, "low": None, "high": 2.0}, {"form": ".1f"}, "1.0 [?, 2.0]"),
    ({"estimate": 1.0, "low": -math.inf, "high": math.inf}, {"form": ".1f"}, "1.0"),
    ({"estimate": None, "low": None, "high": None}, {}, "?"),
    (None, {}, "-"),
]


@pytest.mark.parametrize(("value", "forms", "text"), TEXTS)
def test_an_interval_as_text(value: dict[str, Any] | None, forms: dict[str, str], text: str) -> None:
    assert interval_text(value, **forms) == text
