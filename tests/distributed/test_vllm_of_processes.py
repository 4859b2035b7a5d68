"""Two processes that sample with vLLM: by servers that both ask, and by TRL, which gathers weights that the two share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlllm.core.runs import Run

UNIT = Path(__file__).parents[1] / "unit"
LETTERS = """
def letters(sample):
    return float(sum(map(str.isalpha, sample.completion)))
"""
BY_TRL = """
import sys
from types import SimpleNamespace

from trl.generation import vllm_generation
from trl.trainer import grpo_trainer

sys.path += [{stand_in!r}, {here!r}]
from test_proven_vllm import Generation

vllm_generation.SamplingParams = SimpleNamespace
grpo_trainer.VLLMGeneration = type("Faulty", (Generation,), {{"fault": {fault!r}}})
"""
"""What every process of a run imports beside its reward: vLLM's class samples with a model of the process."""


def finished(folder: Path, model: str, rewards: str, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "rewards.py").write_text(rewards)
    words = [
        *("reason", "--model", model, "--data", "arithmetic", "data.rows=16", "data.holdout=0", "eval.rows=0"),
        *("defaults=trl", "max_steps=3", "logging_steps=1", "save_strategy=no", "num_generations=4", "beta=0"),
        *("per_device_train_batch_size=4", "rollout.max_new_tokens=8", "learning_rate=0.001", "stop_when_flat=0"),
        *(f'rewards=[{{"name":"{folder / "rewards.py"}:letters","deadline":0}}]', "--output-dir", str(folder / "run")),
    ]
    command = [sys.executable, "-m", "rlllm_cli", *words, *more]
    environment = {**os.environ, "PATH": f"{folder / 'stand-in'}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)


def by_trl(folder: Path, model: str, fault: str) -> subprocess.CompletedProcess[str]:
    (folder / "stand-in" / "vllm").mkdir(parents=True)
    (folder / "stand-in" / "vllm" / "__init__.py").touch()
    (folder / "stand-in" / "nvidia-smi").touch(0o755)
    text = BY_TRL.format(stand_in=str(folder / "stand-in"), here=str(UNIT / "algorithms"), fault=fault)
    return finished(
        folder, model, f"{text}{LETTERS}", "rollout.engine=hf", "use_vllm=true", "launch=fsdp", "launch.processes=2"
    )


def logged(folder: Path) -> list[float]:
    """Of each step, the distance of the copies after its sync."""
    return [row["sync/mean_abs_dlogp"] for row in Run(folder / "run").metrics() if "sync/seconds" in row]


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["ddp", "fsdp"])
def test_the_first_process_brings_weights_to_servers_that_both_ask(launch: str, nano: str, tmp_path: Path) -> None:
    sys.path.insert(0, str(UNIT / "rollouts"))
    from policy_server import served

    with served(nano) as server:
        asked = [
            "rollout.engine=vllm-server",
            f"rollout.servers={server.url}",
            f"rollout.serving.folder={tmp_path / 'w'}",
        ]
        done = finished(tmp_path, nano, LETTERS, *asked, f"launch={launch}", "launch.processes=2")
    sys.path.pop(0)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(logged(tmp_path)) == 3
    assert max(logged(tmp_path)) < 1e-5
    assert server.loads == 4  # a trial, and three steps
    for row in Run(tmp_path / "run").metrics():
        assert row["rollout_corr/ratio_max"] == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_weights_that_two_processes_share_arrive_at_the_copy_of_each(tiny_model: str, tmp_path: Path) -> None:
    done = by_trl(tmp_path, tiny_model, "")
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(logged(tmp_path)) == 3
    assert max(logged(tmp_path)) < 1e-5


@pytest.mark.slow
def test_where_they_do_not_both_processes_stop_before_the_first_sample(tiny_model: str, tmp_path: Path) -> None:
    done = by_trl(tmp_path, tiny_model, "stale")
    assert done.returncode == 1
    assert "does not sample with the policy's weights, in the trial before the first step" in done.stderr + done.stdout
    assert list(Run(tmp_path / "run").samples()) == []
