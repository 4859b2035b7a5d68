"""The card of a reward model in the report, and the curves of a reward that was maximised beside one that was monitored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlllm.core.runs import Run, append_jsonl, write_json
from rlllm.report import render_run
from rlllm.report.results import results_tables
from rlllm.report.rewards import Source, monitored_curves
from rlllm.report.rm_card import card_tables


def interval(estimate: float, low: float | None, high: float | None) -> dict[str, Any]:
    return {"estimate": estimate, "low": low, "high": high, "n": 9, "method": "wilson"}


CARD = {
    "pairs": 9,
    "rows": [
        {"name": "pair accuracy", "value": interval(0.75, 0.5, 0.9), "definition": "share of <pairs>"},
        {"name": "batch dependence", "value": interval(2.5e-7, None, None), "definition": "largest change"},
        {"name": "length correlation", "value": None, "definition": "not defined here"},
    ],
}


def test_a_card_shows_each_value_with_its_definition() -> None:
    page = card_tables(CARD, {})
    assert page is not None
    assert "0.75" in page
    assert "0.50 to 0.90" in page
    assert "share of &lt;pairs&gt;" in page
    assert "2.5e−7" in page  # noqa: RUF001 - the report writes a true minus sign
    assert "interval unknown" not in page
    assert page.count('data-label="Estimate"') == 3


def test_every_task_of_an_evaluation_has_its_card() -> None:
    page = card_tables({}, {"tasks": {"rm:a": {"card": CARD}, "rm:b": {"card": CARD}, "pass": {"values": {}}}})
    assert page is not None
    assert page.count("<table") == 2
    assert "rm:a" in page
    assert card_tables({}, {"tasks": {"pass": {"values": {}}}}) is None


def source(values: list[float]) -> Source:
    made = Source()
    for step, value in enumerate(values):
        made.add(float(step), {"value": value})
    return made


def test_curves_of_the_maximised_and_the_monitored_rewards_stand_side_by_side() -> None:
    total, sources = source([1.0, 2.0]), {"gold": source([2.0, 1.0]), "model": source([1.0, 2.0])}
    drawn = monitored_curves(total, sources, ["gold"])
    assert drawn is not None
    assert drawn.count("<figure") == 2
    assert "only monitored" in drawn
    assert monitored_curves(total, sources, []) is None
    assert monitored_curves(Source(), sources, ["gold"]) is None


def test_a_run_that_was_monitored_has_the_curves_in_its_report(tmp_path: Path) -> None:
    rows = [
        {"step": step, "prompt": "p", "completion": "c", "reward": 1.0 * step, "rewards": {"gold": {"value": -step}}}
        for step in (1, 2, 3)
    ]
    write_json(
        tmp_path / "verdict.json",
        {"ok": True, "reasons": [], "diagnostics": {"divergences": [{"monitored_reward": "gold"}]}},
    )
    append_jsonl(tmp_path / "samples.jsonl", rows)
    page = render_run(Run(tmp_path))
    assert "Training and monitored rewards" in page
    write_json(tmp_path / "verdict.json", {"ok": True, "reasons": [], "diagnostics": {}})
    assert "Training and monitored rewards" not in render_run(Run(tmp_path))


def test_an_estimate_without_an_interval_is_drawn_as_a_dot_alone() -> None:
    value = {**interval(0.4, None, None), "method": "no interval"}
    row = {"name": "ECE", "before": None, "after": value, "difference": None, "higher_is_better": False}
    page = results_tables({"measures": [row]})
    assert page is not None
    assert "no interval" in page
    assert "interval unknown" not in page
    assert page.count('class="mark after"') == 1
    assert 'class="whisker' not in page.replace('class="whiskers', "")
