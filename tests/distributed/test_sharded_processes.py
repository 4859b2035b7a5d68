"""FSDP2 in two processes: the numbers of one process, whole models at the end, and checkpoints for any number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from curves import STEPS, assert_one_curve, logged, settings_of
from launched import run_jobs, sharding, without_end, write_rewards

from rlllm.core.runs import Run

pytestmark = pytest.mark.slow
EVALUATIONS = {"rows": 4, "samples": 2, "every": 2, "during_rows": 8, "keep": "best"}
MORE_HELD_OUT = {"name": "arithmetic", "rows": 32, "holdout": 12}
MOVING = {"sync_ref_model": True, "ref_model_sync_steps": 1}
JOBS: dict[str, dict[str, Any]] = {
    "sft": {"verb": "sft", "rows": 4},
    "dpo": {"verb": "align", "rows": 4},
    "bt": {"verb": "train-rm", "rows": 4},
    "kto": {"verb": "align", "rows": 8, "settings": {"method": "kto"}, "within": 0.1},
    "grpo": {"verb": "reason", "rows": 16, "settings": {"method": "grpo", "beta": 0.05}},
    "ppo": {"verb": "align", "rows": 16, "settings": {"method": "ppo", "steps_per_generation": 1, "beta": 0.05}},
    "moving": {"verb": "reason", "rows": 16, "settings": {"method": "grpo", "beta": 0.05, **MOVING}},
    "lora": {"verb": "reason", "rows": 16, "settings": {"method": "grpo", "beta": 0.05, "lora": {"r": 4}}},
    "watched": {
        "verb": "reason",
        "rows": 16,
        "settings": {"method": "grpo", "eval": EVALUATIONS, "data": MORE_HELD_OUT},
    },
}
"""`within` is the relative difference that TRL makes, where it makes one."""
RESUMED = ("sft", "ppo", "moving", "lora")


@pytest.fixture(scope="module")
def runs(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Number of processes -> where they made the runs of all jobs; two share the model."""
    root = tmp_path_factory.mktemp("sharded")
    jobs = {name: settings_of(job, tiny_model, write_rewards(root)) for name, job in JOBS.items()}
    run_jobs(jobs, root / "1", 1)
    for job in jobs.values():
        job["settings"]["launch"] = "fsdp"
    run_jobs(jobs, root / "2", 2, sharding(root / "2", 2))
    return {processes: root / str(processes) for processes in (1, 2)}


@pytest.mark.parametrize("name", JOBS)
def test_the_curves_are_those_of_one_process(runs: dict[int, Path], name: str) -> None:
    one, two = (Run(runs[processes] / name) for processes in (1, 2))
    assert_one_curve(one, two, JOBS[name].get("within", 2e-3))


@pytest.mark.parametrize("name", JOBS)
def test_the_saved_model_is_whole_and_that_of_one_process(runs: dict[int, Path], name: str) -> None:
    from safetensors.torch import load_file

    one, two = (Run(runs[processes] / name).model for processes in (1, 2))
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    (file,) = one.glob("*.safetensors")
    weights, shared = load_file(file), load_file(two / file.name)
    assert weights.keys() == shared.keys()
    within = 0.1 if "within" in JOBS[name] else 1e-3
    for key, weight in weights.items():
        assert shared[key] == pytest.approx(weight, abs=within), key


def test_evaluations_are_those_of_one_process_and_the_best_is_kept(runs: dict[int, Path]) -> None:
    one, two = (Run(runs[processes] / "watched") for processes in (1, 2))
    seen = [[{**row, "seconds": 0} for row in run.evaluations()] for run in (one, two)]
    assert seen[0] == seen[1]
    assert [row["step"] for row in seen[0]] == [0, 2, 4]
    assert one.results["evaluations"]["kept"] == two.results["evaluations"]["kept"]


@pytest.mark.parametrize("processes", [2, 1])
def test_a_killed_run_goes_on_with_as_many_processes_and_with_one(
    runs: dict[int, Path], processes: int, tiny_model: str, tmp_path: Path
) -> None:
    rewards = runs[2].parent / "rewards.py"
    jobs = {name: settings_of(JOBS[name], tiny_model, rewards) for name in RESUMED}
    for name, job in jobs.items():
        job["settings"]["launch"] = "fsdp"
        job["begun_by"] = 2
        without_end(runs[2] / name, tmp_path / name, f"checkpoint-{STEPS}")
    run_jobs(jobs, tmp_path, processes, sharding(tmp_path, processes))
    for name in RESUMED:
        whole, resumed = Run(runs[2] / name), Run(tmp_path / name)
        if processes == 2:
            assert logged(whole) == logged(resumed)
            assert (whole.model / "config.json").exists() == (resumed.model / "config.json").exists()
        else:
            # TRL logs the accuracy of the last rows that pass together, which are fewer
            assert_one_curve(whole, resumed, without=("mean_token_accuracy",))
