"""ReMax advantage against its formula in plain Python."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from first_update import roll_out
from hypothesis import given
from hypothesis import strategies as st

from rlllm.algorithms.advantages.group import Group
from rlllm.algorithms.advantages.remax import ReMax, over_greedy
from rlllm.algorithms.methods.rl.remax import METHOD as REMAX

VALUES = st.floats(-100, 100, width=32) | st.just(math.nan)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=8))
def test_the_advantage_is_the_reward_over_that_of_the_greedy_completion(rows: list[tuple[float, float]]) -> None:
    rewards, greedy = (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))
    expected = [0.0 if math.isnan(reward - base) else reward - base for reward, base in rows]
    assert over_greedy(rewards, greedy).tolist() == pytest.approx(expected)


def test_the_update_is_the_policy_gradient_of_the_sum_over_tokens(tiny_model: str, tmp_path: Path) -> None:
    """Up to the constant length limit, which loss type dr_grpo divides by."""
    rollout = roll_out(tiny_model, tmp_path, REMAX, Group())
    greedy = torch.tensor([0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, math.nan])
    advantages = ReMax()(replace(rollout.batch, signals={"greedy_rewards": greedy}))
    objective = (rollout.logps() * advantages).mean()
    torch.testing.assert_close(6 * rollout.update(advantages), rollout.gradient(-objective), atol=1e-5, rtol=1e-3)
    assert advantages[7] == 0
    assert advantages.abs().sum() > 0
