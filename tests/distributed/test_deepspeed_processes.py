"""DeepSpeed in two processes on CPUs: the numbers of one process, whole models at the end, and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from curves import STEPS, assert_one_curve, logged, settings_of
from launched import run_jobs, sharding, without_end, write_rewards

from rlllm.core.runs import Run

pytestmark = pytest.mark.slow
ENGINES = ("deepspeed-zero2", "deepspeed-zero3")
JOBS: dict[str, dict[str, Any]] = {
    "sft": {"verb": "sft", "rows": 4},
    "dpo": {"verb": "align", "rows": 4},
    "bt": {"verb": "train-rm", "rows": 4},
    "grpo": {"verb": "reason", "rows": 16, "settings": {"method": "grpo"}},
}


@pytest.fixture(scope="module")
def runs(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Launcher -> where it made the runs of all jobs."""
    pytest.importorskip("deepspeed")
    root = tmp_path_factory.mktemp("deepspeed")
    jobs = {name: settings_of(job, tiny_model, write_rewards(root)) for name, job in JOBS.items()}
    run_jobs(jobs, root / "local", 1)
    for engine in ENGINES:
        for job in jobs.values():
            job["settings"]["launch"] = engine
        run_jobs(jobs, root / engine, 2, sharding(root / engine, 2, engine))
    return {engine: root / engine for engine in ("local", *ENGINES)}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", JOBS)
def test_the_curves_are_those_of_one_process(runs: dict[str, Path], engine: str, name: str) -> None:
    assert_one_curve(Run(runs["local"] / name), Run(runs[engine] / name))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", JOBS)
def test_the_saved_model_is_whole_and_that_of_one_process(runs: dict[str, Path], engine: str, name: str) -> None:
    from safetensors.torch import load_file

    one, two = (load_file(runs[place] / name / "model" / "model.safetensors") for place in ("local", engine))
    assert one.keys() == two.keys()
    for key, weight in one.items():
        assert two[key] == pytest.approx(weight, abs=1e-3), key


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_run_goes_on_with_as_many_processes(
    runs: dict[str, Path], engine: str, tiny_model: str, tmp_path: Path
) -> None:
    jobs = {name: settings_of(JOBS[name], tiny_model, runs["local"].parent / "rewards.py") for name in ("sft", "grpo")}
    for name, job in jobs.items():
        job["settings"]["launch"] = engine
        job["begun_by"] = 2
        without_end(runs[engine] / name, tmp_path / name, f"checkpoint-{STEPS}")
    run_jobs(jobs, tmp_path, 2, sharding(tmp_path, 2, engine))
    for name in jobs:
        assert logged(Run(runs[engine] / name)) == logged(Run(tmp_path / name))
