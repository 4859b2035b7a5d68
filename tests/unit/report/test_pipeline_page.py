"""The steps on the page of a pipeline: a drawing with every step and need, a sentence for each, gates with their numbers."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from rlllm.report import GateRow, StepCard, render_pipeline

CARDS = [
    StepCard("start", "eval", [], "taken", "taken from before."),
    StepCard("sft", "sft", [], "ok", "run in 3 s.", [GateRow("sft.loss.p < 0.05", True, {"sft.loss.p": 0.001})]),
    StepCard(
        *("reason", "reason", ["start", "sft"], "ok", "improved <b>."),
        [GateRow("a.b > 0", True, {"a.b": 1.0}), GateRow("a.c > 0", False, {"a.c": None})],
    ),
    StepCard("a-name-that-is-too-long-for-a-box", "eval", ["start", "sft", "reason"], "not run", "was not reached."),
]


def test_the_graph_has_a_box_for_each_step_and_a_line_for_each_need_that_no_other_brings() -> None:
    page = render_pipeline("title", [], [], steps=CARDS)
    drawing = re.search(r'<svg[^>]*class="graph".*?</svg>', page, re.DOTALL)
    assert drawing is not None
    svg = ElementTree.fromstring(drawing[0])
    kinds = [box.get("class") for box in svg.iter("rect")]
    assert kinds == ["step taken", "step ok", "step ok", "step not-run"]
    assert [path.get("class") for path in svg.iter("path")].count("edge") == 3
    corners = [(float(box.get("x") or 0), float(box.get("y") or 0)) for box in svg.iter("rect")]
    assert len(set(corners)) == 4
    assert corners[0][0] == corners[1][0] < corners[2][0] < corners[3][0]
    label = svg.get("aria-label") or ""
    assert "reason (ok) needs start, sft" in label
    assert max(float(box.get("x") or 0) + 148 for box in svg.iter("rect")) <= float(svg.get("width") or 0)


def test_the_page_says_what_became_of_each_step_and_gate() -> None:
    page = render_pipeline("title", [], [], steps=CARDS)
    assert "Stopped by the gate behind reason." in page
    assert "<b>start</b>: taken from before." in page
    assert "improved &lt;b&gt;." in page
    assert page.count("✕ closed") == 1
    for shown in ("sft.loss.p = 0.001", "a.c = not measured", "a-name-that-is-t…"):
        assert shown in page
    assert "Stopped by" not in render_pipeline("title", [], [], steps=CARDS[:2])
