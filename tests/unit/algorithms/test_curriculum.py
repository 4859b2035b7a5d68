"""The curriculum: tiers, the draw around a position, how it moves, rows that are dropped, and a state that goes on alike."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest
import torch

from rlllm.algorithms.protocols import Setup
from rlllm.algorithms.samplers.curriculum import TIERS, Curriculum, moved, tier_of, tier_weight
from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.training.cost import cost_of

TABLE = [
    # pass rate, tier where channels agree, where they clash, without a relation
    (1.0, 1, 2, 1),
    (0.75, 1, 2, 1),
    (0.74, 2, 3, 2),
    (0.5, 2, 3, 2),
    (0.4, 2, 3, 3),
    (0.39, 3, 4, 3),
    (0.25, 3, 4, 3),
    (0.24, 3, 4, 4),
    (0.0, 3, 4, 4),
]


@pytest.mark.parametrize(("rate", "agree", "clash", "alone"), TABLE)
def test_the_tier_of_a_row_is_that_of_the_table(rate: float, agree: int, clash: int, alone: int) -> None:
    assert (tier_of(rate, "agree"), tier_of(rate, "clash"), tier_of(rate)) == (agree, clash, alone)


def test_weights_fall_with_the_distance_and_never_below_the_floor() -> None:
    assert [tier_weight(tier, 1.0) for tier in TIERS] == pytest.approx([1.05, 0.185335, 0.050335, 0.05], abs=1e-6)
    assert tier_weight(2, 1.5) == pytest.approx(math.exp(-0.5) + 0.05)


MOVES = [
    # position, means, position afterwards
    (1.0, {1: 0.71}, 1.25),
    (1.0, {1: 0.7}, 1.0),
    (1.0, {1: 0.35}, 1.0),
    (1.0, {1: 0.34}, 1.0),  # the lowest
    (2.0, {2: 0.34}, 1.75),
    (2.0, {2: 0.5}, 2.0),
    (4.0, {4: 0.9}, 4.0),  # the highest
    (1.5, {1: 0.9, 2: 0.2}, 1.25),  # the harder of two equally near
    (2.25, {2: 0.9, 3: 0.1}, 2.5),
    (3.0, {1: 0.9}, 3.0),  # tier 3 was never drawn
]


@pytest.mark.parametrize(("before", "means", "after"), MOVES)
def test_the_position_moves_up_moves_down_and_holds(before: float, means: dict[int, float], after: float) -> None:
    assert moved(before, means) == after


RATES = {1: 8, 2: 5, 3: 2, 4: 0}
"""Tier -> right completions of eight, of rows that have no relation."""


def sampler(rows: int = 10, **settings: object) -> Curriculum:
    """One with as many rows in each tier, tier 1 first; those of tier 4 were never solved."""
    made = Curriculum(**settings)  # type: ignore[arg-type]
    made.begin(4 * rows, 7)
    tasks = [PromptTask(f"{tier} {row}") for tier in TIERS for row in range(rows)]
    made.measured(tasks, [[1.0] * RATES[tier] + [0.0] * (8 - RATES[tier]) for tier in TIERS for _ in range(rows)])
    return made


def drawn(made: Curriculum, rollouts: int = 100, prompts: int = 8) -> Counter[int]:
    """How often each tier is proposed."""
    return Counter(made.tiers[row] for _ in range(rollouts) for row in made.propose(range(prompts)))


def test_tiers_come_from_the_pass_rates_of_the_start_model_or_from_a_column() -> None:
    assert sampler(2).tiers == [1, 1, 2, 2, 3, 3, 4, 4]
    made = Curriculum(column="tier")
    assert (made.start_samples, Curriculum().start_samples) == (0, 8)
    made.begin(2, 0)
    made.measured([PromptTask("a", meta={"tier": 4}), PromptTask("b", meta={"tier": 1})], [])
    assert made.tiers == [4, 1]
    made = Curriculum()
    made.begin(3, 0)
    tasks = [PromptTask("a", meta={"relation": "clash"}), PromptTask("b"), PromptTask("c", meta={"relation": "agree"})]
    made.measured(tasks, [[1.0, 1.0], [None, None], [0.0, 1.0]])
    assert made.tiers == [2, 4, 2]


@pytest.mark.parametrize("position", [1.0, 2.5, 4.0])
def test_the_mix_of_tiers_follows_the_position(position: float) -> None:
    made = sampler()
    made.position = position
    counts, total = drawn(made, 500), sum(tier_weight(tier, position) for tier in TIERS)
    for tier in TIERS:
        assert counts[tier] / 4000 == pytest.approx(tier_weight(tier, position) / total, abs=0.03)


def test_uniform_draws_every_tier_alike_and_none_leaves_the_order_as_it_is() -> None:
    assert drawn(sampler(scheduler="uniform"), 500)[4] / 4000 == pytest.approx(0.25, abs=0.03)
    assert sampler(scheduler="none").propose([5, 3, 9]) == [5, 3, 9]
    assert Curriculum(scheduler="none").same_as({}) == "shuffle"
    assert Curriculum().same_as({}) == ""


def test_no_row_is_proposed_twice_in_a_rollout_while_its_tier_has_others() -> None:
    made = sampler(8)
    for _ in range(50):
        rows = made.propose(range(8))
        assert len(set(rows)) == 8
    assert len(sampler(1).propose(range(8))) == 8


def test_the_linear_scheduler_goes_from_1_to_4_with_the_steps() -> None:
    made = sampler(scheduler="linear")
    positions = []
    for share in (0.0, 0.5, 1.0):
        made.advance(share)
        positions.append(made.position)
    assert positions == [1.0, 2.5, 4.0]
    made.observe([0], torch.tensor([[1.0, 1.0]]))
    assert made.position == 4.0


def test_means_are_exponential_and_the_log_says_what_was_drawn() -> None:
    made = sampler()
    made.observe([0, 1, 10], torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))
    assert made.means == {1: 0.75, 2: 0.0}
    made.observe([0], torch.tensor([[0.0, math.nan]]))
    assert made.means[1] == pytest.approx(0.9 * 0.75)
    assert made.position == 1.25  # up once from .75, held at .675
    assert made.metrics == {
        "curriculum/position": 1.25,
        "curriculum/mean_1": pytest.approx(0.675),
        "curriculum/mean_2": 0.0,
        "curriculum/drawn_1": 1.0,
        "curriculum/zero_std_1": 1.0,
        "curriculum/dropped": 0.0,
    }


def test_a_row_that_was_never_solved_is_dropped_once_it_failed_and_tier_4_was_tried() -> None:
    made = Curriculum()
    made.begin(4, 0)
    relations = ["agree", "agree", "clash", "clash"]
    tasks = [PromptTask(name, meta={"relation": name}) for name in relations]
    made.measured(tasks, [[0.0], [0.0], [0.0], [1.0]])
    assert made.tiers == [3, 3, 4, 2]
    made.observe([0, 1], torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    assert made.dropped == set()  # tier 4 was not tried
    made.observe([2], torch.tensor([[0.0, 0.0]]))
    assert made.dropped == {0, 2}  # row 1 was solved, row 3 is no such row
    assert {row for _ in range(30) for row in made.propose(range(2))} == {1, 3}
    assert made.metrics["curriculum/dropped"] == 0.5


def test_a_tier_without_rows_does_not_hold_the_position() -> None:
    made = Curriculum()
    made.begin(2, 0)
    made.measured([PromptTask("a"), PromptTask("b")], [[0.0], [0.0]])
    positions = []
    for _ in range(13):
        made.observe([0], torch.tensor([[0.0, 1.0]]))
        positions.append(made.position)
    assert positions == [*(1.25 + 0.25 * step for step in range(10)), 3.5, 3.5, 3.5]  # tier 4 with a mean of .5 does


def test_never_every_row_is_dropped() -> None:
    made = Curriculum()
    made.begin(1, 0)
    made.measured([PromptTask("a")], [[0.0]])
    made.observe([0], torch.tensor([[0.0, 0.0]]))
    assert made.propose([0]) == [0]


def test_weights_of_process_rewards_rise_from_0_at_position_1_to_full_at_2() -> None:
    made = sampler(raises=["consistency"])
    factors = []
    for made.position in (1.0, 1.25, 2.0, 3.5):
        factors.append(made.reward_factors["consistency"])
    assert factors == [0.0, 0.25, 1.0, 1.0]
    assert Curriculum().reward_factors == {"consistency": 0.0, "cues": 0.0}
    assert Curriculum(scheduler="uniform").reward_factors == {}


def test_restored_from_its_state_it_goes_on_alike() -> None:
    first, second = sampler(), sampler()
    for _ in range(5):
        rows = first.propose(range(4))
        first.observe(rows, torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 0.0]]))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.state_dict() == first.state_dict()
    for _ in range(20):
        rows = first.propose(range(4))
        assert second.propose(range(4)) == rows
        for made in (first, second):
            made.observe(rows, torch.tensor([[1.0, 0.0]] * 4))
    assert second.state_dict() == first.state_dict()


def setup(tasks: list[PromptTask]) -> Setup:
    return Setup(8, tasks, ["tagged"], [1.0], "loss", off_policy=False)


def test_refused_are_rewards_that_the_run_lacks_columns_without_tiers_and_numbers_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match="raises the weight of a reward"):
        Curriculum(raises=["cues"]).check(setup([]))
    with pytest.raises(ConfigError, match="1 of 2 rows have no tier"):
        Curriculum(column="tier").check(setup([PromptTask("a", meta={"tier": 5}), PromptTask("b", meta={"tier": 1})]))
    for wrong in ({"samples": 0}, {"width": 0.0}, {"keep": 1.0}, {"down": 0.8}):
        with pytest.raises(ConfigError, match="sampler curriculum"):
            Curriculum(**wrong)  # type: ignore[arg-type]
    Curriculum().check(setup([PromptTask("a")]))


def test_the_plan_counts_what_is_measured_before_the_first_step() -> None:
    data = {"name": "cues", "rows": 24, "holdout": 0}
    given = {
        "data": data,
        "rewards": ["tagged"],
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "max_steps": 1,
    }
    measuring, reading = (
        cost_of(plan(resolve_settings("reason", {}, [*{**given, "sampler": sampler}.items()])))
        for sampler in ({"name": "curriculum", "samples": 3}, {"name": "curriculum", "column": "level"})
    )
    assert measuring is not None
    assert reading is not None
    assert (measuring.measured_at_start, reading.measured_at_start) == (72, 0)
    assert any("72 completions of the start model" in text for _, text in measuring.lines())
