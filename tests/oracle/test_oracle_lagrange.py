"""Lagrangian advantage against plain Python: the mixture of two leave-one-out advantages, and how the multiplier moves."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from first_update import roll_out
from hypothesis import given
from hypothesis import strategies as st

from rlllm.algorithms.advantages.group import Group
from rlllm.algorithms.advantages.lagrange import Lagrange, constrained
from rlllm.algorithms.batch import RolloutBatch
from rlllm.algorithms.methods.rl.constrained import METHOD as CONSTRAINED
from rlllm.algorithms.protocols import Setup
from rlllm.core.errors import ConfigError
from rlllm.tools.selftest import formulas

NAN = math.nan
VALUES = st.floats(-100, 100, width=32) | st.just(NAN)
ROWS = st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=6)


@given(ROWS, st.floats(0.01, 100))
def test_the_advantage_is_the_formula(rows: list[tuple[float, float]], multiplier: float) -> None:
    rewards, costs = (torch.tensor([column], dtype=torch.float64) for column in zip(*rows, strict=True))
    computed = constrained(rewards, costs, math.log(multiplier))[0].tolist()
    expected = formulas.constrained(rewards.numpy(), costs.numpy(), multiplier)[0]
    assert computed == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_multiplier_beyond_every_float_leaves_the_cost_alone() -> None:
    computed = constrained(torch.tensor([[5.0, 0.0]]), torch.tensor([[1.0, 0.0]]), 10_000.0)
    assert computed.tolist() == [[-1.0, 1.0]]


@pytest.fixture
def batch(tiny_model: str, tmp_path: Path) -> RolloutBatch:
    """Two groups of four; the second reward is a cost of 1, 0, 0, 1 and so on, unknown once."""
    drawn = roll_out(tiny_model, tmp_path, CONSTRAINED, Group()).batch
    costs = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0, NAN, 1.0])
    rewards = torch.stack([drawn.rewards[:, 0], costs], dim=1)
    return replace(drawn, rewards=rewards, weights=torch.tensor([1.0, 0.0]), names=["vowels", "harm"])


def test_the_multiplier_rises_while_the_mean_cost_is_above_the_bound_and_falls_below_it(batch: RolloutBatch) -> None:
    advantage = Lagrange(cost="harm", bound=0.5, rate=0.1, start=2.0)
    first = advantage(batch)
    mean = 4 / 7
    assert advantage.metrics == pytest.approx(
        {"lagrange/lambda": 2.0 * math.exp(0.1 * (mean - 0.5)), "lagrange/cost": mean}
    )
    rewards, costs = batch.summed_reward.view(2, 4).numpy(), batch.rewards[:, 1].view(2, 4).numpy()
    expected = formulas.constrained(rewards, costs, 2.0).reshape(-1)
    assert first.tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert first[6] == 0
    lower = Lagrange(cost="harm", bound=0.9, start=2.0)
    lower(batch)
    assert lower.metrics["lagrange/lambda"] < 2.0


def test_a_rollout_without_any_known_cost_moves_nothing(batch: RolloutBatch) -> None:
    advantage = Lagrange(cost="harm", start=2.0)
    unknown = torch.stack([batch.rewards[:, 0], torch.full((8,), NAN)], dim=1)
    assert advantage(replace(batch, rewards=unknown)).tolist() == [0.0] * 8
    assert advantage.metrics["lagrange/lambda"] == pytest.approx(2.0)


def test_a_resumed_multiplier_continues_where_it_stood(batch: RolloutBatch) -> None:
    settings: dict[str, Any] = {"cost": "harm", "bound": 0.1, "rate": 0.5}
    whole, before, after = Lagrange(**settings), Lagrange(**settings), Lagrange(**settings)
    whole(batch)
    before(batch)
    after.load_state_dict(before.state_dict())
    assert after(batch).tolist() == whole(batch).tolist()
    assert (after.metrics, after.state_dict()) == (whole.metrics, whole.state_dict())


REFUSED = [
    ({"cost": ""}, [1.0, 0.0], "which is the cost"),
    ({"cost": "harms"}, [1.0, 0.0], "no reward is named harms"),
    ({"cost": "harm"}, [1.0, -0.5], "also part of the reward"),
]


@pytest.mark.parametrize(("fields", "weights", "words"), REFUSED)
def test_a_cost_that_is_no_monitored_reward_is_refused(
    fields: dict[str, str], weights: list[float], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Lagrange(**fields).check(Setup(4, [], ["vowels", "harm"], weights, "loss", off_policy=False))  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{"start": 0.0}, {"start": -1.0}, {"rate": -0.1}])
def test_a_multiplier_that_could_not_move_above_zero_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="lagrange"):
        Lagrange(cost="harm", **fields)
