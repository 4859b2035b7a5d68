"""Comparison of evaluation runs, on run directories written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError, RunDirectoryError
from rlllm.core.runs import Run, append_jsonl, write_json
from rlllm.evals.compare import compare, compare_many, compare_runs
from rlllm.evals.statistics.paired_tests import holm


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


def solved(count: int, of: int = 40) -> dict[str, list[float]]:
    return {str(item): [float(item < count)] * 2 for item in range(of)}


def test_several_runs_are_compared_with_the_first_and_corrected_together(tmp_path: Path) -> None:
    base = make_run(tmp_path / "base", {"sums": solved(10), "lists": solved(10)})
    one = make_run(tmp_path / "one", {"sums": solved(17), "lists": solved(10)})
    two = make_run(tmp_path / "two", {"sums": solved(30), "lists": solved(12)})
    found = compare_many([base, one, two])
    assert [(pair.a, pair.b) for pair in found] == [(str(base.path), str(one.path)), (str(base.path), str(two.path))]
    tasks = [task for pair in found for task in pair.tasks]
    raw = [task.difference.p_value for task in tasks]
    assert [task.p_holm for task in tasks] == holm(raw)
    alone = compare_runs(base, one).tasks[0]
    assert (alone.difference.p_value, alone.p_holm) == (raw[0], 2 * raw[0])
    assert tasks[0].p_holm == pytest.approx(3 * raw[0])


def test_one_run_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least two"):
        compare_many([make_run(tmp_path / "a", {"sums": {"1": [0.0]}})])


def test_a_base_model_that_overtakes_is_found_from_its_counts() -> None:
    base = {str(item): [1.0] + [0.0] * 7 for item in range(30)}
    tuned = {str(item): [float(item < 15)] * 8 for item in range(30)}
    found = compare(base, tuned).crossover_k
    assert found is not None
    assert (found.estimate, found.up_to) == (5, 8)


@pytest.mark.parametrize("scores", [[1.0], [0.5, 1.0]])
def test_one_sample_or_partial_credit_has_no_crossover(scores: list[float]) -> None:
    assert compare({"1": scores, "2": scores}, {"1": scores, "2": scores}).crossover_k is None


def test_the_smallest_detectable_effect_shrinks_with_problems_and_exists_where_nothing_changed() -> None:
    few = compare(solved(10, 20), solved(12, 20)).minimum_detectable_effect
    many = compare(solved(100, 200), solved(120, 200)).minimum_detectable_effect
    same = compare(solved(10), solved(10)).minimum_detectable_effect
    assert few is not None
    assert many is not None
    assert same is not None
    assert 0 < many < few < 1
    assert 0 < same < 0.5
    assert compare({"1": [7.0]}, {"1": [7.0]}).minimum_detectable_effect is None


def test_a_difference_is_controlled_for_length_where_every_score_has_a_text(tmp_path: Path) -> None:
    runs = []
    for name, sizes in (("a", (3, 3, 3, 9)), ("b", (3, 9, 9, 9))):
        rows = [
            {
                "task": "sums",
                "id": str(item),
                "scores": [float(n == 9) for n in sizes],
                "completions": ["x" * n for n in sizes],
            }
            for item in range(30)
        ]
        run = make_run(tmp_path / name, {"sums": {}})
        append_jsonl(run.path / "items.jsonl", rows)
        runs.append(run)
    task = compare_runs(*runs).tasks[0]
    assert task.difference.interval.estimate == 0.5
    assert task.length_controlled is not None
    assert task.length_controlled.estimate == 0
    assert json.loads(json.dumps(task.to_json()))["length_controlled"]["estimate"] == 0
    assert compare(solved(3), solved(5)).length_controlled is None


def trained(folder: Path, scores: list[list[float]], **about: Any) -> Run:
    """A training run as it leaves its measures; `about` changes the measure."""
    run = Run(folder)
    measure = {"name": "pass@1", "scores": scores, "prompts": [f"p{at}" for at in range(len(scores))]}
    measure |= {"answers": ["1"] * len(scores), "completions": [], "higher_is_better": True}
    settings = {"rewards": ["exact"], "rollout": {"max_new_tokens": 8, "group_size": len(scores)}}
    write_json(run.path / "config.json", {"stage": "reason", "settings": settings})
    write_json(run.path / "lineage.json", {"data": {"hash": "d"}, "rewards": {"names": ["exact"]}})
    write_json(run.path / "measured_after.json", [{**measure, **about}])
    return run


def test_training_runs_are_compared_on_the_problems_they_were_measured_on(tmp_path: Path) -> None:
    before = trained(tmp_path / "a", [[0.0, 0.0]] * 30 + [[1.0, 1.0]] * 10)
    after = trained(tmp_path / "b", [[1.0, 1.0]] * 30 + [[1.0, 1.0]] * 9 + [[0.0, 0.0]])
    (task,) = compare_runs(before, after).tasks
    assert (task.task, task.metric, task.items) == ("pass@1", "after training", 40)
    assert task.difference.interval.estimate == pytest.approx(29 / 40)
    assert (len(task.gained), task.lost) == (30, ["39"])


def test_a_problem_that_one_training_run_could_not_judge_is_left_out(tmp_path: Path) -> None:
    task = compare_runs(trained(tmp_path / "a", [[1.0], []]), trained(tmp_path / "b", [[1.0], [0.0]])).tasks[0]
    assert (task.items, task.only_a, task.only_b) == (1, 0, 1)


@pytest.mark.parametrize(
    "about", [{"prompts": ["other", "p1"]}, {"answers": ["2", "1"]}], ids=["other problems", "other answers"]
)
def test_training_runs_on_other_problems_are_refused(tmp_path: Path, about: dict[str, Any]) -> None:
    first, other = trained(tmp_path / "a", [[1.0], [0.0]]), trained(tmp_path / "b", [[1.0], [0.0]], **about)
    with pytest.raises(ConfigError, match="task pass@1 is not the same in both runs"):
        compare_runs(first, other)


def test_of_a_loss_the_lower_one_is_gained(tmp_path: Path) -> None:
    loss = {"name": "held-out loss", "prompts": [], "answers": [], "higher_is_better": False}
    first = trained(tmp_path / "a", [[0.9], [0.5], [0.3]], **loss)
    other = trained(tmp_path / "b", [[0.4], [0.4], [0.35]], **loss)
    (task,) = compare_runs(first, other).tasks
    assert (task.gained, task.lost, task.higher_is_better) == (["0", "1"], ["2"], False)


def test_an_evaluation_and_a_training_run_have_no_task_in_common(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no task in common"):
        compare_runs(make_run(tmp_path / "a", {"sums": {"1": [0.0]}}), trained(tmp_path / "b", [[1.0]]))
