"""Dynamic sampling learns from mixed groups only, with the numbers TRL would have given them; at rest it changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from steered import GROUP, inputs, logged, loop, tasks

from rlllm.algorithms.batch import group_advantages
from rlllm.algorithms.protocols import Sampler
from rlllm.algorithms.samplers.dynamic_sampling import Dynamic
from rlllm.algorithms.samplers.pass_band import PassBand
from rlllm.algorithms.samplers.replay import Replay

ROWS = 4 * GROUP


class Seeded(Sampler):
    """`dynamic`'s order without its rounds."""


def test_flat_groups_are_replaced_by_mixed_ones_of_other_prompts(tiny_model: str, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    trainer = loop(tiny_model, tmp_path, records, sampler=Dynamic())
    output = trainer._generate_and_score_completions(inputs(trainer, 0, 1, 2, 4))
    kept = [row for row in records if row.get("kept", True)]
    rejected = [row for row in records if not row.get("kept", True)]
    assert len(kept) == len(output["completion_ids"]) == len(output["advantages"]) == ROWS
    assert {row["answer"] for row in kept} == {"varied"}
    assert "flat" in {row["answer"] for row in rejected}, "and mixed groups beyond the batch"
    assert len({row["prompt"] for row in kept}) == 4
    rewards = torch.tensor([row["reward"] for row in kept]).view(-1, GROUP)
    expected = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    torch.testing.assert_close(output["advantages"], expected.view(-1))
    assert [row["advantage"] for row in kept] == pytest.approx(expected.view(-1).tolist(), abs=1e-4)
    assert {row["advantage"] for row in rejected} == {0.0}
    assert output["num_items_in_batch"] == output["completion_mask"].sum() == sum(row["tokens"] for row in kept)


def test_what_it_cost_is_said_and_everything_sampled_is_counted(tiny_model: str, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    trainer = loop(tiny_model, tmp_path, records, sampler=Dynamic())
    trainer._generate_and_score_completions(inputs(trainer, 0, 1, 2, 4))
    tried = len(records) // GROUP
    flat = sum(row["answer"] == "flat" for row in records) // GROUP
    assert tried > 4
    assert logged(trainer, "sampling/prompts_tried") == [tried]
    assert logged(trainer, "sampling/kept_share") == [pytest.approx((tried - flat) / tried)]
    assert logged(trainer, "sampling/extra_tokens")[0] <= sum(row["tokens"] for row in records)
    assert logged(trainer, "frac_reward_zero_std") == [pytest.approx(flat / tried)]
    assert logged(trainer, "reward") == [pytest.approx(sum(row["reward"] for row in records) / len(records), rel=1e-5)]
    assert trainer.reward_rows == len(records)
    prompts = sum(
        len(ids)
        for ids in trainer.processing_class.apply_chat_template(
            [[{"role": "user", "content": row["prompt"]}] for row in records],
            add_generation_prompt=True,
            return_dict=True,
        )["input_ids"]
    )
    assert logged(trainer, "num_tokens") == [prompts + sum(row["tokens"] for row in records)]


SHAPED = (("form", 0.1), ("right", 1.0))
"""Completions of a flat prompt are all wrong and differ in their form alone."""


def values(row: dict[str, Any], reward: str) -> float:
    return row["rewards"][reward]["value"]


def groups_that_learn(records: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    kept = [row for row in records if row.get("kept", True)]
    return [kept[first : first + GROUP] for first in range(0, len(kept), GROUP)]


@pytest.mark.parametrize(
    "sampler",
    [Dynamic(max_rounds=8), Dynamic(max_rounds=8, reward="right"), Replay()],
    ids=["default", "named", "replay"],
)
def test_an_all_wrong_group_that_differs_in_form_is_rejected(tiny_model: str, tmp_path: Path, sampler: Sampler) -> None:
    trainer = loop(tiny_model, tmp_path, [], rewards=SHAPED, sampler=sampler)
    rollout = trainer._sampled(inputs(trainer, 0, 2, 4, 6))
    assert (rollout.grouped(trainer._weights).amax(1) > rollout.grouped(trainer._weights).amin(1)).all()
    assert trainer._accepted(rollout).tolist() == [[False] * 4]
    mixed = trainer._sampled(inputs(trainer, 1, 3, 5, 7))
    right = mixed.rewards[:, 1].view(-1, GROUP)
    assert trainer._accepted(mixed).tolist() == [(right.amax(1) > right.amin(1)).tolist()]
    assert bool(trainer._accepted(mixed).any())


def test_a_run_learns_from_groups_in_which_the_verifier_differs(tiny_model: str, tmp_path: Path) -> None:
    """With the form as the filter, which is what the sum of the rewards came to, it learns from all-wrong groups."""
    learned: dict[str, list[list[dict[str, Any]]]] = {}
    for reward in ("right", "form"):
        records: list[dict[str, Any]] = []
        trainer = loop(tiny_model, tmp_path, records, rewards=SHAPED, sampler=Dynamic(max_rounds=8, reward=reward))
        trainer.train()
        learned[reward] = groups_that_learn(records)
    assert all(len({values(row, "right") for row in group}) > 1 for group in learned["right"])
    wrong = [group for group in learned["form"] if not any(values(row, "right") for row in group)]
    assert any(row["advantage"] for group in wrong for row in group)


def test_pass_rates_are_those_of_the_verifier(tiny_model: str, tmp_path: Path) -> None:
    trainer = loop(tiny_model, tmp_path, [], rewards=SHAPED, sampler=PassBand())
    trainer._generate_and_score_completions(inputs(trainer, 0, 1, 2, 4))
    assert {row: trainer.sampler.rates.seen[row][0] for row in (0, 2, 4)} == {0: 0.0, 2: 0.0, 4: 0.0}


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_batch_keeps_its_size_where_no_group_is_ever_informative(
    tiny_model: str, tmp_path: Path, rounds: int
) -> None:
    records: list[dict[str, Any]] = []
    trainer = loop(tiny_model, tmp_path, records, data=tasks(flat_every=1), sampler=Dynamic(max_rounds=rounds))
    output = trainer._generate_and_score_completions(inputs(trainer, 0, 1, 2, 3))
    assert output["advantages"].tolist() == [0.0] * ROWS
    assert len(records) == ROWS * (1 + rounds)
    assert [row["prompt"] for row in records[:ROWS:GROUP]] == [task.prompt for task in tasks()[:4]]
    assert logged(trainer, "sampling/rounds") == [rounds]


@pytest.mark.parametrize("sampler", [Dynamic(), PassBand()], ids=["dynamic", "band"])
def test_where_every_group_is_mixed_nothing_changes(tiny_model: str, tmp_path: Path, sampler: Sampler) -> None:
    weights = []
    for chosen in (Seeded(), sampler):
        trainer = loop(
            tiny_model, tmp_path, [], data=tasks(flat_every=0), sampler=chosen, settings={"scale_rewards": "batch"}
        )
        trainer.train()
        weights.append(trainer.model.state_dict())
    assert [name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])] == []


def test_band_trains_on_prompts_inside_the_band(tiny_model: str, tmp_path: Path) -> None:
    """Flat prompts pay 1 throughout and lie above the band, once they are known."""
    records: list[dict[str, Any]] = []
    trainer = loop(tiny_model, tmp_path, records, sampler=PassBand(threshold=1.0))
    trainer.sampler.observe([0, 2, 4], torch.ones(3, GROUP))
    trainer._generate_and_score_completions(inputs(trainer, 0, 1, 2, 4))
    asked = {row["prompt"] for row in records}
    assert not asked & {tasks()[row].prompt for row in (0, 2, 4)}
    assert tasks()[1].prompt in asked
    assert [row["level"] for row in records if row["prompt"] == tasks()[1].prompt] == [2] * GROUP


KINDS = [{"scale_rewards": scale} for scale in ("group", "batch", "none")]


@pytest.mark.parametrize("settings", [*KINDS, {"multi_objective_aggregation": "normalize_then_sum"}], ids=str)
def test_advantages_made_anew_are_trls(tiny_model: str, tmp_path: Path, settings: dict[str, Any]) -> None:
    """Two rewards, one of which often cannot judge; a flat group and mixed ones."""
    rewards = (("varied", 1.0), ("vowels", 0.5))
    trainer = loop(tiny_model, tmp_path, [], rewards=rewards, settings=settings)
    for seed in range(4):
        torch.manual_seed(seed)
        rollout = trainer._sampled(inputs(trainer, 0, 1, 2, 3))
        assert bool(rollout.rewards.isnan().any())
        made = group_advantages(
            rollout.rewards,
            torch.tensor([1.0, 0.5]),
            GROUP,
            trainer.scale_rewards,
            trainer.multi_objective_aggregation,
        )
        torch.testing.assert_close(made, rollout.output["advantages"], rtol=1e-5, atol=1e-5)


def test_a_rollout_nothing_could_judge_has_no_advantages() -> None:
    rewards = torch.full((8, 2), torch.nan)
    for scale in ("group", "batch", "none"):
        assert group_advantages(rewards, torch.ones(2), GROUP, scale).tolist() == [0.0] * 8
