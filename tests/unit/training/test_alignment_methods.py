"""Every method that aligns with the model's own completions runs, through the verb, with nothing set but its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError

REWARDS = """
def vowels(sample): return float(sum(letter in "aeiou" for letter in sample.completion)) + 0.01 * len(sample.completion)
def characters(sample): return len(sample.completion) / 10
"""
METHODS: dict[str, dict[str, Any]] = {
    "raft": {"num_generations": 4},
    "online-dpo": {},
    "remax": {},
    "constrained": {"num_generations": 4, "advantage": {"name": "lagrange", "cost": "characters", "bound": 0.1}},
}


def align(model: str, folder: Path, **settings: Any) -> rlllm.Run:
    (folder / "rewards.py").write_text(REWARDS)
    return rlllm.align(
        model=model,
        data={"name": "arithmetic", "level": 1, "rows": 16, "holdout": 0},
        output_dir=folder / "run",
        **{
            "rewards": [
                f"{folder / 'rewards.py'}:vowels",
                {"name": f"{folder / 'rewards.py'}:characters", "weight": 0},
            ],
            "max_new_tokens": 8,
            "max_steps": 2,
            "learning_rate": 1e-3,
            **settings,
        },
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_method_runs_and_moves_the_weights(tiny_model: str, tmp_path: Path, method: str) -> None:
    run = align(tiny_model, tmp_path, method=method, **METHODS[method])
    assert (run.ok, run.verdict["diagnostics"]["steps_done"]) == (True, 2)


def test_the_multiplier_is_logged_at_every_step(tiny_model: str, tmp_path: Path) -> None:
    run = align(tiny_model, tmp_path, method="constrained", **METHODS["constrained"])
    logged = [row["lagrange/lambda"] for row in run.metrics()]
    assert logged[1] > logged[0] > 1


@pytest.mark.parametrize("method", ["raft", "constrained"])
def test_the_fall_of_a_cost_is_no_alarm(tiny_model: str, tmp_path: Path, method: str) -> None:
    run = align(tiny_model, tmp_path, method=method, **{**METHODS[method], "max_steps": 15})
    compared = {row["monitored_reward"] for row in run.verdict["diagnostics"]["divergences"]}
    assert compared == ({"gold", "characters"} if method == "raft" else {"gold"})


def test_a_loss_that_online_dpo_does_not_have_is_refused(tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no loss hinge"):
        align(tiny_model, tmp_path, method="online-dpo", advantage={"name": "pairwise", "loss": "hinge"})
