"""Supervised fine-tuning: pass@1 by an eval reward, and a budget of tokens that survives a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError

SMALL: dict[str, Any] = {
    "data": {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 4},
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-3,
    "max_steps": 8,
}


def test_an_eval_reward_measures_the_held_out_problems_of_reason(tiny_model: str, tmp_path: Path) -> None:
    common = {**SMALL, "model": tiny_model, "max_steps": 1, "rollout": {"max_new_tokens": 4}}
    measure = {"rows": 4, "samples": 2}
    sft = rlllm.sft(**common, eval_reward="exact", eval=measure, output_dir=tmp_path / "sft")
    reason = rlllm.reason(
        **{**common, "per_device_train_batch_size": 8}, rewards=["exact"], eval=measure, output_dir=tmp_path / "reason"
    )
    assert sft.ok, sft.verdict
    assert [row["name"] for row in sft.results["measures"]] == ["pass@1", "held-out loss"]
    first, other = (rlllm.core.runs.read_json(run.path / "measured_before.json")[0] for run in (sft, reason))
    assert first["prompts"] == other["prompts"]
    assert first["answers"] == other["answers"]
    assert first["completions"] == other["completions"]


def test_settings_of_sampling_are_refused_where_nothing_is_sampled(tiny_model: str) -> None:
    for settings in ({"rollout": {"temperature": 0.5}}, {"eval": {"samples": 2}}):
        with pytest.raises(ConfigError, match="only with an eval_reward"):
            rlllm.sft(model=tiny_model, **{**SMALL, **settings})


def test_a_budget_of_tokens_ends_a_run_where_it_ends_without_an_interruption(tiny_model: str, tmp_path: Path) -> None:
    common = {**SMALL, "model": tiny_model, "eval": {"rows": 0}}
    free = rlllm.sft(**common, output_dir=tmp_path / "free").metrics()
    budget = int(free[4]["num_tokens"])
    whole = rlllm.sft(**common, max_tokens=budget, output_dir=tmp_path / "whole")
    assert whole.ok, whole.verdict
    assert len(whole.metrics()) == 5
    begun = rlllm.sft(**common, max_tokens=budget, save_steps=2, output_dir=tmp_path / "begun")
    for step in (4, 5):  # as a kill after the third step leaves it
        folder = begun.checkpoints / f"checkpoint-{step}"
        if folder.exists():
            (folder / "manifest.json").unlink()
    again = rlllm.sft(**common, max_tokens=budget, save_steps=2, output_dir=tmp_path / "begun", resume=True)
    assert [row["num_tokens"] for row in again.metrics()] == [row["num_tokens"] for row in whole.metrics()]
