"""The report of an experiment: sentences, what was added over each control, and each run's gain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rlllm.core.runs import Run, append_jsonl, write_json
from rlllm.report.controls import experiment, member_curves

ADDED = {"estimate": 0.21, "low": 0.17, "high": 0.25, "n": 128, "method": "bootstrap"}


def results(**more: Any) -> dict[str, Any]:
    row = {"phrase": "random rewards", "how": "one seed", "gain": 0.31, "control_gain": 0.1, "added": ADDED, **more}
    seeds = [
        {"name": name, "seeds": [0], "gains": [gain], "spread": 0.0, "tokens": [1234.0], "runs": [f"{name}-0"]}
        for name, gain in (("true", 0.31), ("random", 0.1))
    ]
    return {"controls": [row], "seeds": seeds, "findings": ["the true reward adds +0.21 <over> random rewards"]}


def test_an_experiment_shows_its_findings_what_was_added_and_every_run() -> None:
    shown = experiment(results())
    assert shown is not None
    assert "The true reward adds +0.21 &lt;over&gt; random rewards." in shown, "what a plugin may have named is escaped"
    assert "+0.31" in shown
    assert "0.17 to 0.25" in shown
    assert 'href="random-0/report.html"' in shown


def test_what_is_added_over_each_control_is_drawn_on_one_scale() -> None:
    (row,) = results()["controls"]
    wide = {**row, "phrase": "frozen weights", "added": {**ADDED, "low": -0.4}}
    shown = experiment({**results(), "controls": [row, wide]})
    assert shown is not None
    assert len(set(re.findall(r"on a scale from \S+ to \S+(?=<)", shown))) == 1


def test_the_interval_over_seeds_and_prompts_stands_beside_students() -> None:
    shown = experiment(results(clustered={**ADDED, "low": 0.12, "high": 0.3}))
    assert shown is not None
    assert "+0.12 to +0.30" in shown


def test_a_bound_that_is_not_known_is_said_to_be_unknown() -> None:
    shown = experiment(results(added={**ADDED, "low": None, "high": None}))
    assert shown is not None
    assert "interval unknown" in shown


def test_an_ordinary_run_has_no_such_part() -> None:
    assert experiment({"measures": []}) is None
    assert experiment({}) is None


def test_the_runs_of_an_experiment_share_their_drawings(tmp_path: Path) -> None:
    write_json(tmp_path / "results.json", results())
    assert member_curves(Run(tmp_path)) is None
    for name in ("true-0", "random-0"):
        (tmp_path / name).mkdir()
        append_jsonl(tmp_path / name / "metrics.jsonl", [{"step": n, "reward": n / 9 + len(name)} for n in range(9)])
    shown = member_curves(Run(tmp_path))
    assert shown is not None
    assert "Reward over steps: A from 6 to 6.89; B from 8 to 8.89" in shown
