"""Two runs of one recipe on one machine learn the same weights to the bit, however busy the machine is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from run_files import VERBS, differing_weights, learned_metrics, write_rewards

from rlllm.core.runs import Run
from rlllm.launch import choice
from rlllm.launch.measurement import onednn_works

RUN = """
import json, sys
import rlllm
assert rlllm.reason(output_dir=sys.argv[1], **json.loads(sys.argv[2])).carried_out
"""
BUSY = "while True: pass"


def settings_of(model: str, folder: Path) -> dict[str, Any]:
    return {
        "model": model,
        "data": {"name": "arithmetic", "rows": 16, "holdout": 4},
        "rewards": [f"{write_rewards(folder)}:vowels"],
        "eval": {"rows": 2, "samples": 1},
        "max_steps": 3,
        "learning_rate": 1e-2,
        "per_device_train_batch_size": 16,
        "num_generations": 8,
        "max_completion_length": 16,
    }


def train_in_a_process(output: Path, cache: Path, settings: dict[str, Any]) -> Run:
    """A run as a user starts it: OMP_NUM_THREADS is not set, and the cache has what earlier runs chose."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    subprocess.run(
        [sys.executable, "-c", RUN, str(output), json.dumps(settings)],
        env={**environment, "RLLLM_CACHE": str(cache)},
        check=True,
        capture_output=True,
        timeout=300,
    )
    return Run(output)


@contextmanager
def busy_neighbours() -> Iterator[None]:
    """Processes that would take every core but one."""
    burning = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(max((os.cpu_count() or 1) - 1, 1))]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def expect_equal(first: Run, second: Run) -> None:
    assert differing_weights(first, second) == []
    assert learned_metrics(first) == learned_metrics(second)
    assert list(first.samples()) == list(second.samples())


def test_a_busy_machine_changes_no_bit(tiny_model: str, tmp_path: Path) -> None:
    settings = settings_of(tiny_model, tmp_path)
    quiet = train_in_a_process(tmp_path / "quiet", tmp_path / "cache", settings)
    with busy_neighbours():
        busy = train_in_a_process(tmp_path / "busy", tmp_path / "cache", settings)
    expect_equal(quiet, busy)
    assert busy.config["hardware"] == quiet.config["hardware"]
    assert quiet.config["hardware"]["matmul_from"] == "measured"


@pytest.mark.parametrize(("threads", "matmul"), [(2, "torch"), (1, "onednn")])
def test_a_choice_that_is_given_needs_no_cache(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, matmul: str
) -> None:
    if matmul == "onednn" and not onednn_works():
        pytest.skip("this torch has no oneDNN")
    settings = settings_of(tiny_model, tmp_path) | {"hardware": {"threads": threads, "matmul": matmul}}
    before = torch.get_num_threads()
    runs = []
    try:
        for name in ("first", "second"):
            monkeypatch.setattr(choice, "_MADE", {})
            monkeypatch.setenv("RLLLM_CACHE", str(tmp_path / f"cache-{name}"))
            runs.append(VERBS["reason"](output_dir=tmp_path / name, **settings))
            assert not (tmp_path / f"cache-{name}" / "hardware").exists()
    finally:
        torch.set_num_threads(before)
    expect_equal(*runs)
    chosen = runs[0].config["hardware"]
    assert (chosen["threads"], chosen["matmul"]) == (threads, matmul)
