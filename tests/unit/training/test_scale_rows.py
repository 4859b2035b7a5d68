"""What a dry run says of many GPUs, from the settings of the run."""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.policies.model_sources import NANO
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.training.cost import Cost, cost_of

SETTINGS: dict[str, Any] = {
    "data": {"name": "arithmetic", "rows": 40, "holdout": 8},
    "rollout": {"group_size": 4, "max_new_tokens": 10},
    "trainer": {"per_device_train_batch_size": 8, "save_strategy": "no", "max_steps": 2},
}
SLURM = {"name": "slurm", "engine": "fsdp", "nodes": 2, "processes": 4}


def cost(**settings: Any) -> Cost:
    found = cost_of(plan(resolve_settings("reason", {**SETTINGS, **settings})))
    assert found is not None
    return found


def test_one_process_has_no_rows_of_many() -> None:
    assert cost().scale is None
    assert cost().to_json()["scale"] is None


def test_processes_of_a_launch_have_memory_bytes_and_on_gpus_a_time() -> None:
    found = cost(launch=SLURM)
    assert found.scale is not None
    job = found.scale.job
    assert (job.how, job.processes, job.per_machine) == ("fsdp", 8, 4)
    assert (job.completions, job.accumulation, job.group, job.completion) == (8, 1, 4, 10)
    assert (job.weight_bytes, job.compute_bytes) == (2, 2)
    assert found.memory is not None
    assert job.shape.parameters == found.memory.parameters
    rows = dict(enumerate(text for _, text in found.lines()))
    text = "\n".join(rows.values())
    assert "8 processes by fsdp" in text
    assert "reduce-scatter of gradients" in text
    assert "not measured" in text
    stored = found.to_json()["scale"]
    assert stored["sent"]["reduce-scatter of gradients"] == 7 / 8 * 2 * job.shape.parameters
    assert set(stored["seconds"]) == {"a100-80gb", "h100-80gb", "h200-141gb"}


def test_on_cpus_no_time_is_told() -> None:
    found = cost(launch={**SLURM, "gpus_per_node": 0})
    assert found.scale is not None
    assert (found.scale.job.weight_bytes, found.scale.job.compute_bytes) == (4, 4)
    assert "seconds" not in found.to_json()["scale"]
    assert not any("H100" in text for _, text in found.lines())


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, ("native", 1, None)),
        ({"lora": {"r": 4}, "beta": 0.1}, ("native", 2, "adapters")),
        ({"rollout_correction": {"rollout_is": "token"}}, ("native", 1, None)),
    ],
)
def test_passes_and_what_learns_are_those_of_the_run(settings: dict[str, Any], wanted: tuple[Any, ...]) -> None:
    beta = settings.pop("beta", None)
    trainer = {**SETTINGS["trainer"], **({"beta": beta} if beta else {})}
    found = cost(launch={**SLURM, "engine": "ddp"}, trainer=trainer, **settings)
    assert found.scale is not None
    assert found.memory is not None
    job = found.scale.job
    passes = 0 if not settings else wanted[1]
    assert (job.sampler, job.passes) == (wanted[0], passes)
    assert job.trained == (found.memory.trained if wanted[2] else None)


def test_several_updates_a_rollout_are_not_planned() -> None:
    assert cost(launch=SLURM, trainer={**SETTINGS["trainer"], "steps_per_generation": 2, "max_steps": 2}).scale is None


def test_the_models_sizes_are_read_from_its_config() -> None:
    assert (NANO / "config.json").is_file()
    found = cost(model="nano", launch=SLURM)
    assert found.scale is not None
    assert found.scale.job.shape.layers > 0
