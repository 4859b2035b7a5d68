"""Two processes learn what one learns from the same batches: every logged number agrees, to the last few bits of the sums."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from launched import run_jobs, write_rewards

from rlllm.core.runs import Run

STEPS = 4
CLOCKS = {"time", "tokens_per_second", "step_time"}
JOBS: dict[str, dict[str, Any]] = {
    "sft": {"verb": "sft", "rows": 4},
    "bt": {"verb": "train-rm", "rows": 4},
    "dpo": {"verb": "align", "rows": 4},
    "kto": {"verb": "align", "rows": 8, "settings": {"method": "kto"}},
    "ppo": {"verb": "align", "rows": 16, "settings": {"method": "ppo"}},
    "grpo": {"verb": "reason", "rows": 16, "settings": {"method": "grpo", "beta": 0.05}},
    "reinforce++": {"verb": "reason", "rows": 16, "settings": {"method": "reinforce++"}},
    "dapo": {"verb": "reason", "rows": 16, "settings": {"method": "dapo", "rewards": ["rarely"]}},
}
"""Two gloo processes take half of the rows each."""


def settings_of(job: dict[str, Any], model: str, rewards: Path) -> dict[str, Any]:
    """A job with all settings of its run: the model's own text is short, and what it learns from is seen at once."""
    common = {
        "model": model,
        "data": {"name": "arithmetic", "rows": 32, "holdout": 2},
        "eval": {"rows": 2},
        "max_steps": STEPS,
        "save_steps": 2,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        "gradient_accumulation_steps": 1,
        **job.get("settings", {}),
    }
    if job["rows"] == 16:
        names = common.get("rewards", ["vowels"])
        common |= {"num_generations": 4, "max_completion_length": 6, "fail_on": []}
        common["rewards"] = [{"name": f"{rewards}:{name}", "deadline": 0} for name in names]
    return {**job, "settings": common}


@pytest.fixture(scope="module")
def folders(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Number of processes -> where they made the runs of all jobs."""
    root = tmp_path_factory.mktemp("launched")
    jobs = {name: settings_of(job, tiny_model, write_rewards(root)) for name, job in JOBS.items()}
    for processes in (1, 2):
        run_jobs(jobs, root / str(processes), processes)
    return {processes: root / str(processes) for processes in (1, 2)}


def logged(run: Run) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in run.metrics()]


@pytest.mark.parametrize("name", JOBS)
def test_the_curves_are_those_of_one_process(folders: dict[int, Path], name: str) -> None:
    one, two = (Run(folders[processes] / name) for processes in (1, 2))
    first, second = logged(one), logged(two)
    assert [row.keys() for row in first] == [row.keys() for row in second]
    assert len(first) == STEPS
    differing = [
        f"step {row['step']} {key}: {row[key]} {other[key]}"
        for row, other in zip(first, second, strict=True)
        for key in row
        if not math.isclose(row[key], other[key], rel_tol=2e-3, abs_tol=2e-4)
    ]
    assert not differing, "\n".join(differing)
    assert [row["loss"] for row in first] != [first[0]["loss"]] * STEPS
