"""SIGKILL at any moment costs at most the steps since the last checkpoint, and changes nothing that is learned."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from run_files import VERBS, differing_weights, learned_metrics, optimizer_differs, write_rewards

import rlllm
from rlllm.core.runs import Run

RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
from run_files import VERBS
verb, output, resume, settings = json.loads(sys.argv[2])
VERBS[verb](output_dir=output, resume=resume, **settings)
"""
STEPS = 60


def start(verb: str, output: Path, resume: bool, settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    """A run in a process of its own, which may be killed."""
    words = json.dumps([verb, str(output), resume, settings])
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(Path(__file__).parent), words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def kill_after_a_new_checkpoint(process: subprocess.Popen[bytes], run: Run, known: int, delay: float) -> None:
    """Wait until the run has sealed a checkpoint beyond step `known`, then a little longer, and kill it."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if newest(run) > known:
            time.sleep(delay)
            process.kill()
        time.sleep(0.005)
    process.wait(timeout=10)
    assert process.stderr is not None
    assert process.returncode == -9, process.stderr.read().decode()[-2000:]


def newest(run: Run) -> int:
    manifests = run.checkpoints.glob("checkpoint-*/manifest.json")
    return max((int(path.parent.name.rsplit("-", 1)[1]) for path in manifests), default=0)


DIALOGUES: dict[str, dict[str, Any]] = {
    "tracer": {"dialogue": {"name": "tracer", "marked": False, "history": 1}},
    "stopping": {"dialogue": {"name": "stopping", "attempts": 3}},
}
"""Runs of `reason` with several turns, whose tables are part of what is resumed."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["reason", "sft", "align", *DIALOGUES])
def test_a_run_that_is_killed_again_and_again_ends_as_if_nothing_had_happened(
    tiny_model: str, tmp_path: Path, kind: str
) -> None:
    verb = "reason" if kind in DIALOGUES else kind
    settings: dict[str, Any] = {
        "model": tiny_model,
        "data": {"name": "arithmetic", "rows": 6, "holdout": 0},
        "max_steps": STEPS,
        "save_steps": 2,
        "learning_rate": 1e-2,
        "per_device_train_batch_size": 2,
    }
    if verb == "reason":
        settings |= {
            "per_device_train_batch_size": 8,
            "num_generations": 4,
            "num_iterations": 2,
            "max_completion_length": 12,
            "rewards": [f"{write_rewards(tmp_path)}:vowels"],
            **DIALOGUES.get(kind, {}),
        }
    whole = VERBS[verb](output_dir=tmp_path / "whole", **settings)
    assert whole.ok
    moments = random.Random(kind)
    killed = Run(tmp_path / "killed")
    for attempt in range(3):
        process = start(verb, killed.path, attempt > 0, settings)
        kill_after_a_new_checkpoint(process, killed, newest(killed), moments.uniform(0, 0.3))
        assert killed.status["state"] == "running"
    resumed = VERBS[verb](output_dir=killed.path, resume=True, **settings)
    assert resumed.ok
    assert differing_weights(resumed, whole) == []
    assert not optimizer_differs(resumed, whole)
    assert learned_metrics(resumed) == learned_metrics(whole)
    assert list(resumed.samples()) == list(whole.samples())
    if kind in DIALOGUES:
        kept = [(run.path / "model" / "dialogue.json").read_text(encoding="utf-8") for run in (resumed, whole)]
        assert kept[0] == kept[1]
    assert [row["step"] for row in resumed.metrics()] == list(range(1, STEPS + 1))


def test_a_kill_between_the_first_files_of_a_run_leaves_a_directory_that_can_be_used(
    tiny_model: str, tmp_path: Path
) -> None:
    """The lock is being made; config.json is being written; it is written, and recipe.yaml is not."""
    settings = {"model": tiny_model, "data": {"name": "arithmetic", "rows": 6, "holdout": 0}, "max_steps": 1}
    folder = tmp_path / "killed"
    folder.mkdir()
    (folder / "lock.json.vm.4194305").write_text("{")
    (folder / "config.json.partial").write_text("{")
    whole = rlllm.sft(output_dir=folder, **settings)
    assert not (folder / "lock.json.vm.4194305").exists()
    recipe = whole.path / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8")
    recipe.unlink()
    assert rlllm.sft(output_dir=folder, resume=True, **settings).ok
    assert recipe.read_text(encoding="utf-8") == text
