"""Evaluations side by side: which runs a folder holds, what is compared, and the sentence that says what came out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, RunDirectoryError
from rlllm.core.runs import Run, append_jsonl, write_json
from rlllm.tools.compare import compare_all, comparison_page, conclusion, runs_of


def evaluated(path: Path, passed: float, *, tasks: tuple[str, ...] = ("sums",), hashed: str = "h") -> Run:
    """An evaluation of 40 problems with 2 samples each, of which the first `passed` share is solved."""
    run = Run(path)
    write_json(path / "config.json", {"stage": "eval", "command": f"rlllm eval {path.name}", "settings": {"seed": 0}})
    run.set_status("done")
    value = {"estimate": passed, "low": None, "high": None, "n": 40, "method": "none"}
    task = {"hash": hashed, "metric": "pass", "items": 40, "samples": 2, "values": {"pass@1": value}}
    write_json(path / "results.json", {"tasks": dict.fromkeys(tasks, task)})
    items = [
        {
            "task": name,
            "id": str(n),
            "prompt": f"{n}",
            "scores": [float(n < 40 * passed)] * 2,
            "completions": ["a", "b"],
        }
        for name in tasks
        for n in range(40)
    ]
    append_jsonl(path / "items.jsonl", items)
    return run


def task(name: str, change: float, p: float, smallest: float | None = 0.0842) -> dict[str, Any]:
    difference = {"estimate": change, "low": change - 0.07, "high": change + 0.07, "p_value": p}
    return {"task": name, "difference": difference, "p_holm": p, "minimum_detectable_effect": smallest}


CONCLUSIONS: list[tuple[list[dict[str, Any]], str]] = [
    ([task("sums", 0.12, 0.001)], "B is better than A on sums (+0.12 [+0.05, +0.19])"),
    (
        [task("sums", 0.12, 0.001), task("lists", 0.01, 0.4)],
        "B is better than A on sums (+0.12 [+0.05, +0.19]); "
        "the data cannot tell A from B on lists (smallest detectable change 0.084)",
    ),
    (
        [task("sums", -0.12, 0.049), task("x", -0.5, 0.0), task("y", 0.5, 0.05, None)],
        "B is worse than A on sums (-0.12 [-0.19, -0.05]) and x (-0.50 [-0.57, -0.43]); the data cannot tell A from B on y",
    ),
    ([task("same", 0.0, 0.01, None)], "the data cannot tell A from B on same"),
    ([], ""),
]


@pytest.mark.parametrize(("tasks", "sentence"), CONCLUSIONS)
def test_a_comparison_in_one_sentence(tasks: list[dict[str, Any]], sentence: str) -> None:
    assert conclusion({"tasks": tasks}, "A", "B") == sentence


def test_every_run_is_compared_with_the_first_and_p_values_are_adjusted_over_all(tmp_path: Path) -> None:
    runs = [
        evaluated(tmp_path / name, share, tasks=("sums", "lists"))
        for name, share in (("a", 0.2), ("b", 0.6), ("c", 0.2))
    ]
    found = compare_all([run.path for run in runs])
    assert [Path(one.b).name for one in found] == ["b", "c"]
    for one in found:
        for compared in one.tasks:
            assert compared.p_holm >= compared.difference.p_value
    assert [len(one.tasks[0].gained) for one in found] == [16, 0]


def test_a_folder_stands_for_the_runs_in_it_and_a_run_is_taken_once(tmp_path: Path) -> None:
    for name in ("b", "a"):
        evaluated(tmp_path / "runs" / name, 0.5)
    found = runs_of([tmp_path / "runs" / "b", tmp_path / "runs"])
    assert [run.path.name for run in found] == ["b", "a"]


def test_the_page_says_what_was_found_and_how_to_make_it_again(tmp_path: Path) -> None:
    for name, share in (("a", 0.2), ("b", 0.6)):
        evaluated(tmp_path / name, share)
    page = comparison_page([tmp_path / "a", tmp_path / "b"])
    for words in ("<h1>b against a</h1>", "b is better than a on sums", "rlllm report", "rlllm eval b", "16 gained"):
        assert words in page


def test_evaluations_of_different_problems_stand_side_by_side_and_the_page_says_why(tmp_path: Path) -> None:
    evaluated(tmp_path / "a", 0.2)
    evaluated(tmp_path / "b", 0.6, hashed="other")
    page = comparison_page([tmp_path / "a", tmp_path / "b"])
    assert "b and a are not compared: task sums is not the same in both runs" in page
    assert "pass@1" in page


def test_a_run_that_does_not_compare_takes_the_comparison_from_no_other(tmp_path: Path) -> None:
    for name, share, tasks in (("a", 0.2, ("sums", "lists")), ("b", 0.6, ("sums",)), ("c", 0.2, ("words",))):
        evaluated(tmp_path / name, share, tasks=tasks)
    page = comparison_page([tmp_path / name for name in "abc"])
    assert "b is better than a on sums" in page
    assert "c and a are not compared: the two runs have no task in common" in page


@pytest.mark.parametrize("count", [1, 9])
def test_a_page_of_too_few_or_too_many_runs_is_refused(count: int, tmp_path: Path) -> None:
    for n in range(count):
        evaluated(tmp_path / f"{n}", 0.5)
    with pytest.raises(ConfigError, match="a comparison shows two to 8 runs"):
        comparison_page([tmp_path])


def test_a_path_without_a_run_is_refused(tmp_path: Path) -> None:
    evaluated(tmp_path / "a", 0.5)
    with pytest.raises(RunDirectoryError, match="no run in this directory"):
        comparison_page([tmp_path / "a", tmp_path / "nowhere"])
