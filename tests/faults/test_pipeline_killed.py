"""SIGKILL in every stage of a pipeline: each resume goes on in the middle, and the end is the same, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.runs import file_hash, read_json

RUN = """
import json, sys, rlllm
rlllm.run_pipeline(json.loads(sys.argv[1]), sys.argv[2], resume=True)
"""
MOMENTS = (
    ("sft", "checkpoints/checkpoint-*/manifest.json"),
    ("reason", "config.json"),
    ("reason", "checkpoints/checkpoint-*/manifest.json"),
    ("eval", "config.json"),
)
"""Step and the file at whose sight the pipeline is killed."""


def recipe(model: str) -> dict[str, Any]:
    data = {"name": "arithmetic", "rows": 8, "holdout": 4}
    train = {"data": data, "save_steps": 1, "learning_rate": 1e-2, "eval": {"rows": 4}, "hardware": {"threads": 1}}
    reason = {"max_steps": 6, "per_device_train_batch_size": 8, "rollout": {"max_new_tokens": 8, "group_size": 4}}
    steps = [
        {
            "name": "sft",
            "stage": "sft",
            "model": model,
            "max_steps": 8,
            **train,
            "gate": "sft.held-out-loss.after < 99",
        },
        {"name": "reason", "stage": "reason", "model": "@sft", **train, **reason, "rewards": ["format", "random"]},
        {
            "name": "eval",
            "stage": "eval",
            "model": "@reason",
            "data": data,
            "rows": 4,
            "cache": False,
            "needs": ["sft", "reason"],
        },
    ]
    return {"steps": steps}


def start(given: dict[str, Any], output: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", RUN, json.dumps(given), str(output)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def killed_at(process: subprocess.Popen[bytes], folder: Path, pattern: str) -> bool:
    """Whether the process was killed at the sight of a file, and had not ended by itself."""
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if any(folder.glob(pattern)):
            process.kill()
            break
        time.sleep(0.002)
    process.communicate()
    return process.returncode == -9


def made(output: Path) -> dict[str, Any]:
    """Weights and results of every step, and what was decided."""
    runs = [path.parent for path in sorted(output.glob("*/status.json"))]
    return {
        **{str(path.relative_to(output)): file_hash(path) for run in runs for path in run.glob("model/*.safetensors")},
        **{run.name: read_json(run / "results.json") for run in runs},
        "gates": read_json(output / "pipeline.json")["gates"],
    }


@pytest.mark.slow
def test_a_pipeline_that_is_killed_in_every_stage_ends_as_if_nothing_had_happened(
    tiny_model: str, tmp_path: Path
) -> None:
    given = recipe(tiny_model)
    whole = start(given, tmp_path / "whole")
    _, said = whole.communicate()
    assert whole.returncode == 0, said.decode()[-2000:]
    kills = [
        (step, killed_at(start(given, tmp_path / "killed"), tmp_path / "killed" / step, file)) for step, file in MOMENTS
    ]
    assert all(killed for _, killed in kills), kills
    last = start(given, tmp_path / "killed")
    _, said = last.communicate()
    assert last.returncode == 0, said.decode()[-2000:]
    decisions = {name: one["what"] for name, one in read_json(tmp_path / "killed" / "pipeline.json")["made"].items()}
    assert decisions == {"sft": "taken", "reason": "taken", "eval": "continue"}
    expected, found = made(tmp_path / "whole"), made(tmp_path / "killed")
    assert found == expected
    assert {name for name in found if name.endswith(".safetensors")} == {
        "sft/model/model.safetensors",
        "reason/model/model.safetensors",
    }
