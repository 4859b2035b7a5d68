"""Evaluations during training in two processes: they leave no trace, and the first process decides for both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from curves import logged
from launched import run_jobs, write_rewards

from rlllm.core.runs import Run

EVALUATIONS = {"rows": 4, "samples": 2, "every": 2, "during_rows": 8, "keep": "best"}


@pytest.fixture(scope="module")
def runs(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    root = tmp_path_factory.mktemp("two")
    rewards = write_rewards(root)
    settings: dict[str, Any] = {
        "model": tiny_model,
        "data": {"name": "arithmetic", "rows": 32, "holdout": 12},
        "max_steps": 4,
        "save_steps": 4,
        "learning_rate": 1e-2,
        "gradient_accumulation_steps": 1,
        "num_generations": 4,
        "max_completion_length": 6,
        "rewards": [{"name": f"{rewards}:rarely", "deadline": 0}],
    }
    kinds = {"plain": {"rows": 4, "samples": 2}, "watched": EVALUATIONS}
    jobs = {
        name: {"verb": "reason", "rows": 16, "settings": {**settings, "eval": kind}} for name, kind in kinds.items()
    }
    run_jobs(jobs, root / "runs", 2)
    return {name: Run(root / "runs" / name) for name in jobs}


@pytest.mark.slow
def test_two_processes_train_the_same_with_evaluations_and_without(runs: dict[str, Run]) -> None:
    assert logged(runs["plain"]) == logged(runs["watched"])
    assert list(runs["plain"].samples()) == list(runs["watched"].samples())


@pytest.mark.slow
def test_the_first_process_writes_what_both_have_measured_and_keeps_the_best(runs: dict[str, Run]) -> None:
    run = runs["watched"]
    assert [row["step"] for row in run.evaluations()] == [0, 2, 4]
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [row["step"] for row in map(json.loads, lines) if "eval_runtime" in row] == [2, 4]
    kept = run.results["evaluations"]["kept"]
    values = {row["step"]: row["measures"][0]["value"]["estimate"] for row in run.evaluations() if row["step"]}
    assert kept == max(values, key=lambda step: (values[step], -step))
    assert _weights(run.model) == _weights(run.checkpoints / f"checkpoint-{kept}")


def _weights(folder: Path) -> dict[str, list[float]]:
    from safetensors.torch import load_file

    return {name: values.flatten().tolist() for name, values in load_file(folder / "model.safetensors").items()}
