"""Credit of several agents in the loop: an orchestrator's reaches its decision's tokens alone, and roles never share a mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fed_trainers import GROUP, TASKS, fed_loop, rows

from rlllm.algorithms.dialogues.stopping import Stopping
from rlllm.algorithms.protocols import Dialogue
from rlllm.algorithms.rl_trainer import RLTrainer
from rlllm.parsing.stopping_prompts import read_decision
from rlllm.rollouts.engines.base import Engine
from rlllm.tools.selftest import formulas

SETTINGS = {"per_device_train_batch_size": 16, "max_completion_length": 24, "num_generations": GROUP}
DECISIONS = ["STOP, they agree", "**CONTINUE** once more", "STOP", "hm, STOP"]


class Speaking(Engine):
    """An engine that attempts a problem with answers of two lengths, and decides in words where it is asked to."""

    said = 0

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Any) -> list[list[int]]:
        return [self._reply(self.tokenizer.decode(prompt)) for prompt in prompts]

    def _reply(self, prompt: str) -> list[int]:
        Speaking.said += 1
        texts = DECISIONS if "Reply STOP" in prompt else ["#### 4", "#### 15"]
        text = texts[Speaking.said % len(texts)]
        return [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]

    def stop_ids(self) -> set[int]:
        return {self.tokenizer.eos_token_id}


@pytest.fixture
def loop(tiny_model: str, tmp_path: Path) -> Any:
    def call(**slots: Any) -> tuple[RLTrainer, list[dict[str, Any]]]:
        written: list[dict[str, Any]] = []
        trainer = fed_loop(tiny_model, tmp_path, SETTINGS, engine=Speaking, **slots)
        trainer.on_rollout = written.extend
        return trainer, written

    return call


def rollout_of(trainer: RLTrainer) -> dict[str, Any]:
    trainer.model.train()
    torch.manual_seed(5)
    return trainer._generate_and_score_completions([row for row in rows() for _ in range(GROUP)])


def test_only_the_tokens_of_a_decision_have_its_advantage(loop: Any) -> None:
    trainer, written = loop(dialogue=Stopping(attempts=3, price=0.1, learn_by="outcome", decisions=0.5))
    output = rollout_of(trainer)
    matrix = output["advantages"].unsqueeze(1) * output["completion_mask"] * output["tool_mask"]
    roles = [row["dialogue_context"]["role"] for row in written]
    assert {*roles} == {"draft", "decision"}
    for row, ids, learned in zip(written, output["completion_ids"], matrix, strict=True):
        reached = trainer.processing_class.decode(ids[learned != 0], skip_special_tokens=True)
        if row["dialogue_context"]["role"] == "draft" or read_decision(row["completion"]) is None:
            assert reached in ("", row["completion"])
        else:
            assert reached in ("", "STOP", "**CONTINUE")
    decided = torch.tensor([read_decision(row["completion"]) is not None for row in written])
    assert matrix[decided].any()
    assert output["num_items_in_batch"] == (output["completion_mask"] * output["tool_mask"]).sum()


def test_every_role_is_normalised_inside_its_own_groups(loop: Any) -> None:
    trainer, written = loop(dialogue=Stopping(attempts=3, price=0.1, learn_by="outcome", decisions=0.5))
    advantages = rollout_of(trainer)["advantages"].view(-1, GROUP).numpy()
    for group, computed in enumerate(advantages):
        own = written[group * GROUP : (group + 1) * GROUP]
        assert len({(row["row"], row["dialogue_context"]["role"]) for row in own}) == 1
        rewards = np.array([[row["reward"] for row in own]])
        assert computed == pytest.approx(formulas.group(rewards)[0], abs=1e-5)


def test_a_dialogue_without_decisions_masks_nothing(loop: Any) -> None:
    trainer, _ = loop(dialogue=Dialogue())
    assert "tool_mask" not in rollout_of(trainer)
    assert len(TASKS) == 4
