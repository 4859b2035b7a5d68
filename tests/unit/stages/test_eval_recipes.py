"""Every shipped evaluation plans as it stands, and results by group come out of a real run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.config import resolve
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.recipes import find_recipe, list_recipes, read_recipe
from rlllm.core.runs import read_jsonl
from rlllm.evals.by_column import group_of
from rlllm.stages.evaluate.plan import EvalPlan, plan_evaluation
from rlllm.stages.evaluate.settings import EvalSettings

RECIPES = sorted(entry.name for entry in list_recipes() if entry.stage == "eval" and entry.origin == "built in")
NEEDS_A_REWARD_MODEL = "eval/reward-bench"
NEEDS_A_NETWORK = "eval/gsm8k"


def planned(name: str, **settings: Any) -> EvalPlan:
    overrides = [*settings.items()]
    return plan_evaluation(resolve(EvalSettings, read_recipe(find_recipe(name, "eval").path), overrides))


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in (NEEDS_A_REWARD_MODEL, NEEDS_A_NETWORK)])
def test_a_shipped_evaluation_plans_with_rows_for_every_task(name: str) -> None:
    plan = planned(name, rows=12)
    assert plan.tasks
    for task in plan.tasks:
        assert len(task.records) == 12
        if task.by:
            assert len(set(group_of(task.records, task.by).values())) > 1


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A file as RewardBench has it."""
    path = tmp_path / "bench.jsonl"
    subsets = ["alpacaeval-easy", "alpacaeval-easy", "refusals-dangerous"]
    rows = [
        {"prompt": f"{n}?", "chosen": "yes", "chosen_model": "a", "rejected": "no", "subset": subset, "id": n}
        for n, subset in enumerate(subsets)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_pairs_of_a_reward_bench_are_grouped_by_subset(pairs: Path, tiny_model: str, tmp_path: Path) -> None:
    settings = {"data": "arithmetic#16", "max_steps": 1, "eval": {"rows": 4}}
    reward_model = rlllm.train_rm(model=tiny_model, output_dir=tmp_path / "rm", **settings).path
    run = rlllm.evaluate(
        "reward-bench", model=str(reward_model), data=str(pairs), by="subset", output_dir=tmp_path / "bench"
    )
    values = run.results["tasks"]["pairs"]["values"]
    groups = [values[f"subset={name}"]["estimate"] for name in ("alpacaeval-easy", "refusals-dangerous")]
    assert values["mean over subset"]["estimate"] == pytest.approx(sum(groups) / 2)


def test_a_sweep_reports_every_level_beside_the_whole(tiny_model: str, tmp_path: Path) -> None:
    settings = {"model": tiny_model, "rows": 6, "samples": 2, "max_new_tokens": 4, "cache": False}
    run = rlllm.evaluate(tasks=["arithmetic:1-3"], by="level", output_dir=tmp_path / "run", **settings)
    task = run.results["tasks"]["arithmetic:1-3"]
    assert [name for name in task["values"] if name.startswith("level=")] == ["level=1", "level=2", "level=3"]
    assert task["values"]["level=2"]["n"] == 2
    assert "mean over level" in task["values"]
    assert [item["group"] for item in read_jsonl(run.path / "items.jsonl")] == ["1", "2", "3"] * 2


def test_a_column_that_is_not_there_is_refused_before_a_model_loads(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column topic to group by"):
        planned("quickstart", by="topic")


def test_tasks_of_another_harness_are_not_grouped() -> None:
    with pytest.raises(ConfigError, match="no columns to group by"):
        plan_evaluation(EvalSettings.checked({"tasks": ["lm-eval:arc_easy"], "by": "level"}))


def test_a_tasks_own_column_wins_over_the_stages() -> None:
    config = EvalSettings.checked({"tasks": [{"data": "arithmetic", "by": "task"}, "lists"], "by": "level", "rows": 4})
    assert [task.by for task in plan_evaluation(config).tasks] == ["task", "level"]
