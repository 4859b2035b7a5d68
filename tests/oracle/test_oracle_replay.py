"""Replayed groups, hinted prompts and demonstrations, as the loss sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from steered import GROUP, inputs, logged, loop, tasks, token_logps
from torch import Tensor

from rlllm.algorithms.losses.luffy import LUFFY
from rlllm.algorithms.off_policy.demonstrations import Demonstrations
from rlllm.algorithms.samplers.dynamic_sampling import Dynamic
from rlllm.algorithms.samplers.hints import Hints
from rlllm.algorithms.samplers.pass_band import PassBand
from rlllm.algorithms.samplers.replay import Replay
from rlllm.rollouts.engines.base import Engine

ROWS = 4 * GROUP


def completions(output: dict[str, Tensor], name: str) -> list[list[float]]:
    mask = output["completion_mask"].bool()
    return [row[own].tolist() for row, own in zip(output[name], mask, strict=True)]


def test_flat_groups_give_way_to_stored_ones_with_the_probabilities_they_were_sampled_with(
    tiny_model: str, tmp_path: Path
) -> None:
    records: list[dict[str, Any]] = []
    trainer = loop(tiny_model, tmp_path, records, sampler=Replay())
    first = trainer._generate_and_score_completions(inputs(trainer, 1, 3, 5, 7))
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.mul_(1.1)
    second = trainer._generate_and_score_completions(inputs(trainer, 0, 9, 2, 11))
    ids, logps = (completions(first, name) for name in ("completion_ids", "old_per_token_logps"))
    now, then = (completions(second, name) for name in ("completion_ids", "old_per_token_logps"))
    replayed = now[2 * GROUP :]
    assert all(row in ids for row in replayed)
    places = [ids.index(row) for row in replayed]
    assert [then[2 * GROUP + index] for index in range(2 * GROUP)] == [logps[place] for place in places]
    fresh = token_logps(trainer, second)[: 2 * GROUP] * second["completion_mask"][: 2 * GROUP]
    torch.testing.assert_close(
        fresh, second["old_per_token_logps"][: 2 * GROUP] * second["completion_mask"][: 2 * GROUP]
    )
    assert bool((second["advantages"].view(-1, GROUP) != 0).any(1).all())
    assert second["num_items_in_batch"] == second["completion_mask"].sum()
    assert logged(trainer, "sampling/replayed_share") == [0.0, 0.5]


def test_only_what_was_sampled_is_recorded_and_counted(tiny_model: str, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    trainer = loop(tiny_model, tmp_path, records, sampler=Replay())
    trainer._generate_and_score_completions(inputs(trainer, 1, 3, 5, 7))
    trainer._generate_and_score_completions(inputs(trainer, 0, 9, 2, 11))
    assert trainer.reward_rows == len(records) == 2 * ROWS
    assert [row["answer"] for row in records if not row.get("kept", True)] == ["flat"] * 2 * GROUP
    assert [row["prompt"] for row in records[ROWS::GROUP]] == [tasks()[row].prompt for row in (9, 11, 0, 2)]


def test_a_replayed_batch_trains_with_a_reference_and_a_masked_truncation(tiny_model: str, tmp_path: Path) -> None:
    settings = {"beta": 0.1, "mask_truncated_completions": True}
    trainer = loop(tiny_model, tmp_path, [], sampler=Replay(), settings=settings)
    start = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    trainer.train()
    assert any(not torch.equal(start[name], weight) for name, weight in trainer.model.state_dict().items())
    assert all(torch.isfinite(weight).all() for weight in trainer.model.parameters())


class Counting(Engine):
    """An engine that answers everything alike, and remembers how often it was asked."""

    asked: list[int] = []  # noqa: RUF012

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def generate(self, prompts: Any, sampling: Any) -> list[list[int]]:
        Counting.asked.append(len(prompts))
        return [[97 + index % 5, 98, self.tokenizer.eos_token_id] for index in range(len(prompts))]

    def stop_ids(self) -> set[int]:
        return {self.tokenizer.eos_token_id}


def test_the_last_completion_of_each_group_is_the_demonstration_and_is_not_sampled(
    tiny_model: str, tmp_path: Path
) -> None:
    records: list[dict[str, Any]] = []
    settings = {"max_completion_length": 40}
    trainer = loop(tiny_model, tmp_path, records, off_policy=Demonstrations(), engine=Counting, settings=settings)
    Counting.asked.clear()
    output = trainer._generate_and_score_completions(inputs(trainer, 0, 1, 2, 3))
    assert Counting.asked == [4 * (GROUP - 1)]
    demonstrations = [row for row in records if row.get("demonstration")]
    assert [row["completion"] for row in demonstrations] == [task.meta["solution"] for task in tasks()[:4]]
    assert not any(row["truncated"] for row in demonstrations)
    assert [row.get("demonstration", False) for row in records] == [False, False, False, True] * 4
    marked = output["off_policy"]
    assert marked.dtype == torch.bool
    assert torch.equal(
        marked, output["completion_mask"].bool() & (torch.arange(ROWS) % GROUP == GROUP - 1).unsqueeze(1)
    )
    rewards = torch.tensor([row["reward"] for row in records]).view(-1, GROUP)
    own = rewards[:, :-1].mean()
    assert logged(trainer, "sampling/demonstration_tokens") == [sum(row["tokens"] for row in demonstrations)]
    assert logged(trainer, "sampling/reward") == [pytest.approx(float(own))]
    centred = rewards - rewards.mean(1, keepdim=True)
    assert torch.equal(output["advantages"].view(-1, GROUP).sign(), centred.sign())


def test_a_demonstration_says_nothing_about_the_pass_rate_of_its_prompt(tiny_model: str, tmp_path: Path) -> None:
    """One sample a group: the pass rate is all or nothing, whatever the three demonstrations earn."""
    sampler = PassBand(threshold=50.0)
    trainer = loop(
        tiny_model, tmp_path, [], off_policy=Demonstrations(count=GROUP - 1), sampler=sampler, engine=Counting
    )
    rollout = trainer._sampled(inputs(trainer, 1, 3, 5, 7))
    own = rollout.of_policy(rollout.judged(0))
    assert own.isnan().tolist() == [[False, True, True, True]] * 4
    trainer._generate_and_score_completions(inputs(trainer, 1, 3, 5, 7))
    assert all(rate in (0.0, 1.0) for rate, _ in sampler.rates.seen.values())


def test_demonstrations_train_beside_trls_own_sampling_and_a_dynamic_sampler(tiny_model: str, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    slots = {"off_policy": Demonstrations(count=2), "loss": LUFFY(), "sampler": Dynamic()}
    trainer = loop(tiny_model, tmp_path, records, **slots)
    trainer.train()
    assert sum(bool(row.get("demonstration")) for row in records) == len(records) // 2
    assert all(torch.isfinite(weight).all() for weight in trainer.model.parameters())


def test_a_hinted_prompt_is_what_the_model_reads_and_what_is_recorded(tiny_model: str, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    trainer = loop(tiny_model, tmp_path, records, sampler=Hints(most=0.5, threshold=0.5))
    trainer.sampler.observe([1], torch.zeros(1, GROUP))
    output = trainer._generate_and_score_completions(inputs(trainer, 0, 1, 2, 3))
    shown = f"{tasks()[1].prompt}\nThe solution begins:\nabc"
    assert [row["prompt"] for row in records[::GROUP]] == [
        tasks()[0].prompt,
        shown,
        tasks()[2].prompt,
        tasks()[3].prompt,
    ]
    read = trainer.processing_class.batch_decode(output["prompt_ids"], skip_special_tokens=True)
    assert [shown in text for text in read] == [False] * GROUP + [True] * GROUP + [False] * 2 * GROUP
    assert trainer.sampler.rates.seen.keys() == {0, 1, 2, 3}
