"""GRPO on nano with two real vLLM servers: one is killed, then the other, and the run is resumed with one that is new."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlllm.core.runs import Run

VENV = os.environ.get("RLLLM_TEST_VLLM")
STEPS = 14
LIMIT = 900
REWARD = "def letters(sample): return float(sum(map(str.isalpha, sample.completion)))\n"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def servers(nano: str, tmp_path: Path) -> Iterator[list[object]]:
    """Two, and a third at the address of the second for whoever takes `servers[2]()`."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
    from vllm_server import VLLMServe, untied

    model, ports = untied(tmp_path / "model", nano), [free_port(), free_port()]
    started = [VLLMServe(Path(str(VENV)), model, port, "--dtype", "float32") for port in ports]

    def again() -> None:
        started.append(VLLMServe(Path(str(VENV)), model, ports[1], "--dtype", "float32"))
        started[-1].wait()

    try:
        for server in started:
            server.wait()
        yield [*started, again]
    finally:
        for server in started:
            server.close()
        sys.path.pop(0)


def begin(folder: Path, urls: list[str], *more: str) -> subprocess.Popen[str]:
    (folder / "rewards.py").write_text(REWARD)
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "rlllm_cli", "reason", "--model", str(folder / "model"), "--data", "arithmetic"),
            *(
                "data.rows=64",
                "data.holdout=0",
                "eval.rows=0",
                "defaults=trl",
                "stop_when_flat=0",
                f"max_steps={STEPS}",
            ),
            *("save_steps=1", "logging_steps=1", "num_generations=4", "per_device_train_batch_size=16"),
            *("rollout.max_new_tokens=48", "learning_rate=0.001", f"rewards={folder / 'rewards.py'}:letters"),
            *("rollout.engine=vllm-server", f"rollout.servers={','.join(urls)}"),
            *(f"rollout.serving.folder={folder / 'weights'}", "--output-dir", str(folder / "run"), *more),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_step(process: subprocess.Popen[str], run: Run, step: int) -> int:
    """The last step that the run has saved."""
    end = time.monotonic() + LIMIT
    while True:
        manifests = run.checkpoints.glob("checkpoint-*/manifest.json")
        saved = max((int(path.parent.name.rsplit("-", 1)[1]) for path in manifests), default=0)
        if saved >= step:
            return saved
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(not VENV, reason="RLLLM_TEST_VLLM names no virtual environment with a vLLM")
def test_a_run_goes_on_with_the_server_that_is_left_and_ends_by_name_without_one(
    servers: list[object], tmp_path: Path
) -> None:
    first, second, again = servers
    run, urls = Run(tmp_path / "run"), [first.url, second.url]
    process = begin(tmp_path, urls)
    step = wait_for_step(process, run, 2)
    time.sleep(0.3)  # into the rollout of the next step
    first.kill()
    wait_for_step(process, run, step + 4)
    second.kill()
    said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1, said[-3000:]
    assert f"{first.url}: " in said
    assert "it is dropped, 1 of 2 go on" in said
    assert "vllm serve MODEL" in said
    assert run.status["state"] == "failed"
    assert "the last server is gone" in run.status["error"] or "none of the servers answers" in run.status["error"]
    again()
    resumed = begin(tmp_path, urls, "--resume")
    said, _ = resumed.communicate(timeout=LIMIT)
    assert (resumed.returncode, run.status["state"]) == (0, "done"), said[-3000:]
    assert f"{first.url} is left out" in said
    check_what_was_learned_from(run)


def check_what_was_learned_from(run: Run) -> None:
    """Every step learned from whole groups, whose tokens had the probability by the sampler that they have by the policy. The
    policy moves so fast here that weights of one step before would show."""
    logged = run.metrics()
    assert [row["step"] for row in logged] == list(range(1, STEPS + 1))
    counts = [sum(row["step"] == step for row in run.samples()) for step in range(1, STEPS + 1)]
    assert set(counts) == {16}
    for row in logged:
        assert abs(row["rollout_corr/ratio_max"] - 1) < 1e-3
        assert abs(row["rollout_corr/ratio_min"] - 1) < 1e-3
