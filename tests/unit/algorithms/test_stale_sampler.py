"""Sampling with older weights: how old they are, that what is measured says so, and that a checkpoint holds them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import rlllm
from rlllm.algorithms.mismatch.stale_sampler import FILE, StaleSampler
from rlllm.core.runs import RunOptions
from rlllm.stages.catalog import resolve_settings, stage_function


def test_the_copy_is_renewed_when_it_would_be_too_old_and_the_weights_come_back() -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    model.frozen = torch.nn.Parameter(torch.tensor([7.0]), requires_grad=False)
    held = model.weight
    sampler, seen = StaleSampler(2), []
    for step in range(7):
        with torch.no_grad():
            held.fill_(step)
        with sampler.sampling(model, step) as age:
            seen.append((age, float(model.weight.detach()[0, 0])))
        assert model.weight is held
        assert held.tolist() == [[step, step]]
    assert seen == [(0, 0), (1, 0), (2, 0), (0, 3), (1, 3), (2, 3), (0, 6)]
    assert set(sampler.weights) == {"weight"}


def test_the_weights_come_back_when_sampling_fails() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    sampler = StaleSampler(5)
    with sampler.sampling(model, 0):
        pass
    with torch.no_grad():
        model.weight.fill_(9.0)
    with pytest.raises(RuntimeError), sampler.sampling(model, 1):
        raise RuntimeError
    assert model.weight.tolist() == [[9.0]]


def test_a_checkpoint_holds_the_copy_and_its_age(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 1)
    first, second = StaleSampler(4), StaleSampler(4)
    first.save(tmp_path)
    assert not (tmp_path / FILE).exists()
    with first.sampling(model, 3):
        pass
    first.save(tmp_path)
    second.load(tmp_path, torch.device("cpu"))
    assert second.step == 3
    torch.testing.assert_close(second.weights, first.weights)
    third = StaleSampler(4)
    third.load(tmp_path / "none", torch.device("cpu"))
    assert third.step == -1


def settings(tiny_model: str, folder: Path, **changes: Any) -> dict[str, Any]:
    (folder / "reward.py").write_text("def size(sample): return len(sample.completion.encode()) % 7 / 7\n")
    return {
        "model": tiny_model,
        "data": {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 0},
        "rewards": [f"{folder / 'reward.py'}:size"],
        "eval": {"rows": 0},
        "output_dir": str(folder / "run"),
        "defaults": "trl",
        "rollout": {"group_size": 4, "max_new_tokens": 8, "staleness": 2},
        "trainer": {
            "max_steps": 6,
            "per_device_train_batch_size": 8,
            "learning_rate": 5e-3,
            "lr_scheduler_type": "constant",
            "save_steps": 2,
        },
        **changes,
    }


def run(given: dict[str, Any], **options: Any) -> rlllm.Run:
    return stage_function("reason")(resolve_settings("reason", given), RunOptions(**options))


def weights(done: rlllm.Run) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(str(done.path / "model" / "model.safetensors"))


def test_a_run_samples_from_weights_of_a_bounded_age_and_resumes_to_the_bit(tiny_model: str, tmp_path: Path) -> None:
    given = settings(tiny_model, tmp_path)
    straight = run(given)
    rows = list(straight.metrics())
    assert [row["sampling/staleness"] for row in rows] == [0, 1, 2, 0, 1, 2]
    divergence = [row["rollout_corr/k3_kl"] for row in rows]
    assert max(divergence[0], divergence[3]) < 1e-7
    assert min(divergence[1], divergence[2], divergence[4], divergence[5]) > 1e-6
    whole = weights(straight)
    assert (straight.checkpoints / "checkpoint-4" / FILE).is_file()
    shutil.rmtree(straight.checkpoints / "checkpoint-6")  # checkpoint-4 holds the copy of step 3
    resumed = run(given, resume=True)
    assert [row["rollout_corr/k3_kl"] for row in resumed.metrics()] == divergence
    torch.testing.assert_close(weights(resumed), whole, atol=0, rtol=0)


def test_an_older_sampler_is_corrected_by_the_ratio_of_new_weights_to_old_ones(tiny_model: str, tmp_path: Path) -> None:
    given = settings(tiny_model, tmp_path, rollout_correction={"rollout_is": "sequence", "rollout_is_threshold": 5})
    rows = list(run(given).metrics())
    means = [row["rollout_corr/rollout_is_mean"] for row in rows]
    assert means[0] == pytest.approx(1, abs=1e-4)
    assert abs(means[2] - 1) > 1e-4
    assert all(row["rollout_corr/rollout_is_eff_sample_size"] <= 1 + 1e-6 for row in rows)


@pytest.mark.parametrize("engine", ["fsdp", "deepspeed-zero2", "deepspeed-zero3"])
def test_where_processes_share_the_model_older_weights_are_refused(
    tiny_model: str, tmp_path: Path, engine: str
) -> None:
    from rlllm.core.errors import ConfigError
    from rlllm.stages.catalog import plan

    launch = {"name": "slurm", "engine": engine, "processes": 2}
    with pytest.raises(ConfigError, match="a copy beside the model"):
        plan(resolve_settings("reason", settings(tiny_model, tmp_path, launch=launch)))
