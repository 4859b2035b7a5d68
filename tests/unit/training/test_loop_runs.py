"""Runs of the loop as a whole: a budget of tokens, and label-free signals."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import rlllm


def run(model: str, folder: Path, **settings: Any) -> rlllm.Run:
    return rlllm.reason(
        model=model,
        data={"name": "arithmetic", "rows": 64, "holdout": 0},
        output_dir=folder / "run",
        learning_rate=1e-3,
        num_generations=4,
        max_completion_length=6,
        defaults="trl",
        **{"rewards": ["exact"], "max_steps": 3, **settings},
    )


def test_a_budget_of_tokens_ends_the_run_at_the_step_that_reaches_it_and_counts_as_whole(
    tiny_model: str, tmp_path: Path
) -> None:
    (tmp_path / "rewards.py").write_text("def length(sample): return float(len(sample.completion))\n")
    done = run(tiny_model, tmp_path, rewards=f"{tmp_path / 'rewards.py'}:length", max_steps=50, max_tokens=500)
    tokens = [row["num_tokens"] for row in done.metrics()]
    assert done.ok
    assert tokens[-1] >= 500 > tokens[-2]
    assert (
        done.verdict["diagnostics"]["steps_requested"] == done.verdict["diagnostics"]["steps_done"] == len(tokens) < 50
    )


def test_a_label_free_run_is_judged_by_its_own_signal_and_not_by_rewards_that_are_only_monitored(
    tiny_model: str, tmp_path: Path
) -> None:
    done = run(tiny_model, tmp_path, method="intuitor", rewards=[{"name": "exact", "weight": 0}], stop_when_flat=2)
    assert done.ok, done.verdict["reasons"]
    assert {row["reward"] for row in done.samples()} == {0.0}
    assert all(row["frac_reward_zero_std"] == 0.0 for row in done.metrics())


def test_the_same_rewards_without_any_spread_fail_a_run_that_learns_from_them(tiny_model: str, tmp_path: Path) -> None:
    done = run(tiny_model, tmp_path, method="grpo")
    assert next(reason["code"] for reason in done.verdict["reasons"]) == "constant_reward"


def test_a_resumed_label_free_run_counts_the_rows_it_learned_from_and_not_those_it_rejected(
    tiny_model: str, tmp_path: Path
) -> None:
    settings = {"method": "intuitor", "sampler": "dynamic", "max_steps": 2, "save_steps": 1}
    done = run(tiny_model, tmp_path, **settings)
    diagnostics = done.verdict["diagnostics"]
    assert diagnostics["reward_rows"] < len(list(done.samples()))
    shutil.rmtree(done.checkpoints / "checkpoint-2")
    assert run(tiny_model, tmp_path, **settings, resume=True).verdict["diagnostics"] == diagnostics
