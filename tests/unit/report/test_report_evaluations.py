"""Evaluations during training, drawn with their intervals."""

from __future__ import annotations

import re
from typing import Any

from rlllm.report.evaluations import evaluation_curves


def row(step: int, value: float, low: float | None, high: float | None) -> dict[str, Any]:
    interval = {"estimate": value, "low": low, "high": high}
    return {"step": step, "rows": 64, "measures": [{"name": "pass@1", "value": interval}]}


SEEN = [row(0, 0.2, 0.1, 0.3), row(10, 0.6, 0.5, 0.7), row(20, 0.4, None, None)]
DECIDED = {"evaluations": {"kept": 10, "text": "the model is that of step 10"}}


def test_each_evaluation_is_a_point_on_a_band_of_its_interval_and_the_kept_step_has_a_ring() -> None:
    page = str(evaluation_curves(SEEN, DECIDED))
    assert page.count('class="point"') == 3
    assert page.count("hollow") == 1
    band = re.search(r'<polygon points="([^"]*)" class="band"', page)
    assert band is not None
    corners = [tuple(map(float, corner.split(","))) for corner in band[1].split()]
    across = [x for x, _ in corners]
    assert across == sorted(across[:3]) + sorted(across[3:], reverse=True)
    assert corners[0][1] < corners[5][1]  # up is less in SVG: the high end of the first over its low end
    assert corners[2] == corners[3]  # unknown ends are drawn at the estimate
    assert "The model is that of step 10." in page
    assert "64 held-out rows" in page
    assert "ring: step 10, which is kept" in page


def test_without_a_decision_no_step_is_marked_and_one_evaluation_draws_nothing() -> None:
    assert "hollow" not in str(evaluation_curves(SEEN, {}))
    assert evaluation_curves(SEEN[:1], {}) is None
    assert evaluation_curves([], {}) is None
