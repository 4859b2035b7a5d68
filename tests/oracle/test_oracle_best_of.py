"""Best-of-n advantage: what it selects, and that its update is supervised fine-tuning on what it selected."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from first_update import roll_out
from hypothesis import given
from hypothesis import strategies as st

from rlllm.algorithms.advantages.best_of import BestOf, best_of
from rlllm.algorithms.methods.rl.raft import METHOD as RAFT

NAN = math.nan
GROUPS = st.integers(2, 6).flatmap(
    lambda size: st.lists(
        st.lists(st.floats(-100, 100, width=32) | st.just(NAN), min_size=size, max_size=size), min_size=1, max_size=5
    )
)
TABLE = [
    ([1.0, 3.0, 2.0], [0, 1, 0]),
    ([3.0, 3.0, 2.0], [1, 0, 0]),
    ([2.0, 2.0, 2.0], [0, 0, 0]),
    ([NAN, 1.0, 0.0], [0, 1, 0]),
    ([NAN, -1.0, -1.0], [0, 0, 0]),
    ([NAN, NAN, 5.0], [0, 0, 0]),
    ([NAN, NAN, NAN], [0, 0, 0]),
]


@pytest.mark.parametrize(("rewards", "selected"), TABLE)
def test_the_first_best_of_a_group_is_selected_where_there_is_a_choice(
    rewards: list[float], selected: list[int]
) -> None:
    assert best_of(torch.tensor([rewards]))[0].tolist() == selected


@given(GROUPS)
def test_at_most_one_of_a_group_is_selected_and_no_known_reward_is_above_it(groups: list[list[float]]) -> None:
    for group, row in zip(groups, best_of(torch.tensor(groups)).tolist(), strict=True):
        known = [reward for reward in group if not math.isnan(reward)]
        assert sum(row) == (1 if len(set(known)) > 1 else 0)
        assert all(group[index] == max(known) for index, one in enumerate(row) if one)


def test_the_update_is_the_gradient_of_cross_entropy_on_the_selected_completions(
    tiny_model: str, tmp_path: Path
) -> None:
    rollout = roll_out(tiny_model, tmp_path, RAFT, BestOf())
    selected = best_of(rollout.batch.group_rewards).view(-1).bool()
    assert selected.sum() == 2
    tokens = rollout.batch.loss_mask.bool() & selected.unsqueeze(1)
    loss = torch.nn.functional.cross_entropy(rollout.logits()[tokens], rollout.batch.completion_ids[tokens])
    expected = rollout.gradient(loss)
    assert expected.norm() > 0.1
    torch.testing.assert_close(rollout.update(), expected, atol=1e-6, rtol=1e-4)


def test_winners_are_weighted_by_the_tokens_that_learn(tiny_model: str, tmp_path: Path) -> None:
    batch = roll_out(tiny_model, tmp_path, RAFT, BestOf()).batch
    lengths = torch.tensor([3, 5, 2, 4, 6, 1, 1, 2])
    loss_mask = (torch.arange(batch.loss_mask.size(1)) < lengths.unsqueeze(1)).long()
    rewards = torch.tensor([0.0, 1.0, 0.5, 0.5, NAN, NAN, 2.0, 2.0]).unsqueeze(1)
    small = replace(batch, loss_mask=loss_mask, rewards=rewards, group_size=2, weights=torch.ones(1))
    weight = (3 + 5 + 2 + 4 + 6 + 1 + 1 + 2) / 5
    assert BestOf()(small).tolist() == pytest.approx([0, weight, 0, 0, 0, 0, 0, 0])
    assert BestOf()(replace(small, rewards=torch.ones(8, 1))).tolist() == [0.0] * 8
