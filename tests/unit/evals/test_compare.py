"""Comparison of evaluation runs, on run directories written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlllm.core.errors import ConfigError, DataError, RunDirectoryError
from rlllm.core.runs import Run, append_jsonl, write_json
from rlllm.evals.compare import compare, compare_runs


def make_run(path: Path, tasks: dict[str, dict[str, list[float]]], hashes: dict[str, str] | None = None) -> Run:
    hashes = hashes or {}
    write_json(
        path / "results.json",
        {"tasks": {name: {"hash": hashes.get(name, "h0"), "metric": "pass", "values": {}} for name in tasks}},
    )
    rows = [
        {"task": task, "id": item, "scores": scores} for task, items in tasks.items() for item, scores in items.items()
    ]
    append_jsonl(path / "items.jsonl", rows)
    return Run(path)


def test_items_are_paired_by_id_and_not_by_position() -> None:
    result = compare({"x": [1.0], "y": [0.0], "z": [0.0]}, {"z": [1.0], "y": [0.0], "x": [0.0], "w": [1.0]})
    assert (result.items, result.only_a, result.only_b) == (3, 0, 1)
    assert (result.gained, result.lost) == (["z"], ["x"])
    assert (result.difference.interval.estimate, result.p_gained_lost) == (0, 1)


def test_an_item_is_gained_when_half_of_its_samples_are_right() -> None:
    before = {"a": [1.0, 0.0, 0.0, 0.0], "b": [1.0, 1.0, 0.0, 0.0], "c": [0.0, 0.0, 0.0, 0.0]}
    after = {"a": [1.0, 1.0, 0.0, 0.0], "b": [1.0, 1.0, 1.0, 1.0], "c": [1.0, 0.0, 0.0, 0.0]}
    result = compare(before, after)
    assert (result.gained, result.lost) == (["a"], [])
    assert result.difference.interval.estimate == pytest.approx(1 / 3)


def test_scores_without_a_known_range_are_gained_when_they_rise() -> None:
    result = compare({"a": [-3.0], "b": [2.5], "c": [1.0]}, {"a": [-1.0], "b": [2.0], "c": [1.0]})
    assert (result.gained, result.lost) == (["a"], ["b"])


def test_a_clear_gain_is_significant_and_its_interval_leaves_zero_out() -> None:
    before = {str(i): [float(i % 4 == 0)] for i in range(120)}
    after = {str(i): [float(i % 4 in (0, 1))] for i in range(120)}
    result = compare(before, after)
    assert result.difference.interval.low > 0.1
    assert max(result.difference.p_value, result.p_gained_lost) < 0.001
    assert (len(result.gained), len(result.lost)) == (30, 0)


def test_runs_are_compared_over_the_tasks_they_share(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", {"sums": {"1": [0.0], "2": [1.0]}, "old": {"1": [0.0]}})
    b = make_run(tmp_path / "b", {"sums": {"1": [1.0], "2": [1.0]}, "new": {"1": [0.0]}})
    result = compare_runs(a, b)
    assert [task.task for task in result.tasks] == ["sums"]
    assert (result.only_a, result.only_b) == (["old"], ["new"])
    assert (result.tasks[0].before.estimate, result.tasks[0].after.estimate) == (0.5, 1.0)


def test_a_comparison_is_plain_json(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", {"margin": {"1": [7.0], "2": [7.0]}})
    value = json.loads(json.dumps(compare_runs(run, run).to_json(), allow_nan=False))
    assert value["tasks"][0]["difference"]["estimate"] == 0
    assert value["tasks"][0]["before"]["low"] is None
    assert value["tasks"][0]["gained"] == []


def test_a_task_whose_problems_differ_is_refused_by_name(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", {"sums": {"1": [0.0]}}, {"sums": "aaaa"})
    b = make_run(tmp_path / "b", {"sums": {"1": [0.0]}}, {"sums": "bbbb"})
    with pytest.raises(ConfigError, match="task sums is not the same") as caught:
        compare_runs(a, b)
    assert "aaaa" in str(caught.value)
    assert "bbbb" in str(caught.value)


def test_runs_without_a_common_task_or_item_are_refused(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", {"sums": {"1": [0.0]}})
    b = make_run(tmp_path / "b", {"lists": {"1": [0.0]}})
    with pytest.raises(ConfigError, match="no task in common"):
        compare_runs(a, b)
    with pytest.raises(ConfigError, match="no items in common in task sums"):
        compare({"1": [0.0]}, {"2": [0.0]}, task="sums")


def test_a_directory_without_an_evaluation_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no evaluation") as caught:
        compare_runs(Run(tmp_path), Run(tmp_path))
    assert "rlllm eval" in (caught.value.hint or "")


def test_a_problem_that_occurs_twice_is_one_item_with_the_samples_of_both(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", {"sums": {"1": [0.0], "2": [1.0]}})
    append_jsonl(run.path / "items.jsonl", [{"task": "sums", "id": "1", "scores": [1.0]}])
    task = compare_runs(run, run).tasks[0]
    assert (task.items, task.before.estimate) == (2, 0.75)


def test_an_item_without_scores_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", {"sums": {"1": []}})
    with pytest.raises(DataError, match="no score"):
        compare_runs(run, run)
