"""GRPO that samples with servers: weights arrive at every step, and a run whose servers are gone ends by name."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from policy_server import served

import rlllm


def reasoned(folder: Path, model: str, servers: list[str], **settings: Any) -> rlllm.Run:
    (folder / "rewards.py").write_text("def letters(sample): return float(sum(map(str.isalpha, sample.completion)))\n")
    return rlllm.reason(
        model=model,
        rewards=f"{folder / 'rewards.py'}:letters",
        data={"name": "arithmetic", "rows": 16, "holdout": 0},
        output_dir=folder / "run",
        learning_rate=1e-4,
        num_generations=4,
        defaults="trl",
        **{
            "rollout.engine": "vllm-server",
            "rollout.servers": servers,
            "rollout.max_new_tokens": 16,
            "rollout.serving": {"retries": 0, "folder": str(folder / "weights")},
            "max_steps": 2,
            "logging_steps": 1,
            **settings,
        },
    )


def test_weights_arrive_at_every_step_and_what_is_drawn_is_what_the_trainer_scores(nano: str, tmp_path: Path) -> None:
    with served(nano) as server:
        done = reasoned(tmp_path, nano, [server.url])
    logged = [row for row in done.metrics() if "sync/seconds" in row]
    assert len(logged) == 2
    assert all(row["sync/mean_abs_dlogp"] < 1e-5 for row in logged)
    assert server.loads == 3  # a trial, and two steps
    assert len(list((tmp_path / "weights").iterdir())) <= 2


def test_a_run_whose_server_goes_away_ends_by_name(nano: str, tmp_path: Path) -> None:
    with warnings.catch_warnings(), served(nano, dies_after=10) as server:
        warnings.simplefilter("ignore", RuntimeWarning)
        done = reasoned(tmp_path, nano, [server.url])
    assert not done.ok
    text = done.verdict["reasons"][0]["text"]
    assert "is gone" in text or "none of the servers answers" in text
    assert "vllm serve MODEL" in text


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("RLLLM_TEST_VLLM_URL"), reason="RLLLM_TEST_VLLM_URL names no running vLLM")
def test_grpo_learns_with_a_real_vllm(nano: str, tmp_path: Path) -> None:
    """The server serves nano with its head untied, as bench/vllm_sync.py makes it."""
    done = reasoned(
        tmp_path, nano, os.environ["RLLLM_TEST_VLLM_URL"].split(","), max_steps=12, **{"rollout.serving": {}}
    )
    logged = [row for row in done.metrics() if "sync/seconds" in row]
    assert done.ok
    assert len(logged) == 12
    assert all(row["sync/mean_abs_dlogp"] < 1e-4 for row in logged)
