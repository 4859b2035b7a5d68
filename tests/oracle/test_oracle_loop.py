"""The loop with its slots at rest is TRL's own trainer, to the bit; with a slot changed, it differs by that slot alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from rlllm.algorithms.advantages.group import LeaveOneOut, leave_one_out
from rlllm.algorithms.batch import RolloutBatch
from rlllm.algorithms.components import SlotSpec, component
from rlllm.algorithms.loss_computation import LossComputation
from rlllm.algorithms.losses.trl import BY_LOSS_TYPE
from rlllm.algorithms.masks.random_tokens import RandomTokens
from rlllm.algorithms.methods.base import Method
from rlllm.algorithms.methods.rl import rloo
from rlllm.algorithms.protocols import Advantage, Mask
from rlllm.algorithms.registry import METHODS as METHOD_REGISTRY
from rlllm.algorithms.rl_trainer import RLTrainer, Slots
from rlllm.algorithms.samplers.order import InOrder
from rlllm.core.records import PromptTask
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec

NAMES = ("grpo", "dr-grpo", "gspo", "cispo", "dapo", "bnpo", "sapo", "luspo", "vespo")
METHODS = [METHOD_REGISTRY.load(name) for name in NAMES]
TASKS = [PromptTask(f"{a} + {a} = ?", str(2 * a)) for a in range(12)]
REWARD = """
def vowels(sample): return value(sample.completion)
def value(text): return sum(c in "aeiou" for c in text) + 0.01 * len(text.encode())
"""


def value(text: str) -> float:
    return sum(c in "aeiou" for c in text) + 0.01 * len(text.encode())


def config(folder: Path, **settings: Any) -> GRPOConfig:
    defaults = {
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "max_completion_length": 6,
        "max_steps": 2,
        "learning_rate": 1e-2,
        "shuffle_dataset": False,
        "save_strategy": "no",
        "logging_strategy": "no",
        "seed": 3,
    }
    return GRPOConfig(str(folder), **{**defaults, **settings})


def rows() -> Dataset:
    return Dataset.from_list(
        [{"prompt": [{"role": "user", "content": t.prompt}], "row": i} for i, t in enumerate(TASKS)]
    )


class SameForward(LossComputation, GRPOTrainer):
    """TRL's trainer with the loop's forward passes and no slots: the two differ in the last bits otherwise.

    That these passes give TRL's own losses and gradients is shown in test_oracle_parity.
    """

    critic = None

    @property
    def slots(self) -> SimpleNamespace:
        return SimpleNamespace(loss=BY_LOSS_TYPE[self.args.loss_type]())


def stock_weights(model: str, args: GRPOConfig, kind: type[GRPOTrainer] = SameForward) -> dict[str, Tensor]:
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.response_template = None  # TRL's parsed text has the special tokens that a completion holds, and no calls
    trainer = kind(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        reward_funcs=lambda completions, **_: [value(completion[0]["content"]) for completion in completions],
        args=args,
        train_dataset=rows(),
        processing_class=tokenizer,
    )
    trainer.train()
    return trainer.model.state_dict()


def loop(model: str, folder: Path, args: GRPOConfig, records: list[dict[str, Any]], **slots: Any) -> RLTrainer:
    (folder / "reward.py").write_text(REWARD)
    rewards = build([RewardSpec(name=f"{folder / 'reward.py'}:vowels")])
    return RLTrainer(
        slots=Slots(rewards=rewards, **{"sampler": InOrder(), **slots}),
        tasks=TASKS,
        on_rollout=records.extend,
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        args=args,
        train_dataset=rows(),
        processing_class=AutoTokenizer.from_pretrained(model),
    )


def loop_weights(model: str, folder: Path, args: GRPOConfig, **slots: Any) -> dict[str, Tensor]:
    trainer = loop(model, folder, args, [], **slots)
    trainer.train()
    return trainer.model.state_dict()


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_method_with_group_credit_and_no_mask_is_trl_to_the_bit(
    tiny_model: str, tmp_path: Path, method: Method
) -> None:
    loss = component("loss", SlotSpec(name=method.components.get("loss", "grpo")))
    args = config(tmp_path, **loss.trl_settings, **method.settings)
    start = AutoModelForCausalLM.from_pretrained(tiny_model).state_dict()
    ours = loop_weights(tiny_model, tmp_path, args)
    assert differing(ours, stock_weights(tiny_model, args)) == []
    assert differing(ours, start) != []


SCHEDULES = [
    {"gradient_accumulation_steps": 2},
    {"steps_per_generation": 2},
    {"gradient_accumulation_steps": 2, "steps_per_generation": 4},
    {"num_iterations": 2},
    {"beta": 0.1},
    {"scale_rewards": "batch"},
    {"mask_truncated_completions": True, "max_completion_length": 40},
    {"loss_type": "dapo"},
    {"entropy_coef": 0.1},
]


@pytest.mark.parametrize("settings", SCHEDULES, ids=str)
def test_trls_own_settings_work_in_the_loop_as_in_trl(
    tiny_model: str, tmp_path: Path, settings: dict[str, Any]
) -> None:
    kind = GRPOTrainer if "entropy_coef" in settings else SameForward
    args = config(tmp_path, **settings)
    assert differing(loop_weights(tiny_model, tmp_path, args), stock_weights(tiny_model, args, kind)) == []


@pytest.mark.parametrize("settings", [{}, {"beta": 0.1}, {"top_entropy_quantile": 0.5}], ids=str)
def test_the_loop_stays_within_rounding_of_trls_untouched_trainer(
    tiny_model: str, tmp_path: Path, settings: dict[str, Any]
) -> None:
    args = config(tmp_path, optim="sgd", learning_rate=0.1, **settings)
    ours, theirs = loop_weights(tiny_model, tmp_path, args), stock_weights(tiny_model, args, GRPOTrainer)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-6, rtol=0)


def test_an_entropy_bonus_moves_the_weights(tiny_model: str, tmp_path: Path) -> None:
    plain = loop_weights(tiny_model, tmp_path, config(tmp_path))
    assert differing(plain, loop_weights(tiny_model, tmp_path, config(tmp_path, entropy_coef=0.1))) != []


@dataclass(frozen=True)
class PerToken(Advantage):
    """Group advantage, written out for every token."""

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return batch.trl_advantages.unsqueeze(1).expand(batch.loss_mask.shape).clone()


@dataclass(frozen=True)
class CopyOfAll(Mask):
    """A mask that keeps every token, but is another tensor than the batch's own."""

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return batch.loss_mask.clone()


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo", "cispo"])
@pytest.mark.parametrize("slots", [{"advantage": PerToken()}, {"mask": CopyOfAll()}], ids=["per token", "full mask"])
def test_the_long_way_round_changes_nothing(tiny_model: str, tmp_path: Path, loss: str, slots: dict[str, Any]) -> None:
    args = config(tmp_path, loss_type=loss)
    assert differing(loop_weights(tiny_model, tmp_path, args, **slots), loop_weights(tiny_model, tmp_path, args)) == []


def test_a_masked_batch_is_normalised_by_the_tokens_that_learn(tiny_model: str, tmp_path: Path) -> None:
    trainer = loop(tiny_model, tmp_path, config(tmp_path, loss_type="dapo"), [], mask=RandomTokens(0.5))
    inputs = [rows()[index // 4] for index in range(8)]
    output = trainer._generate_and_score_completions(inputs)
    assert output["num_items_in_batch"] == output["tool_mask"].sum()
    assert output["num_items_in_batch"] < output["completion_mask"].sum()
    assert bool((output["tool_mask"] <= output["completion_mask"]).all())


def test_leave_one_out_through_the_loop_is_the_formula(tiny_model: str, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    loop(
        tiny_model,
        tmp_path,
        config(tmp_path, **{**rloo.METHOD.settings, "beta": 0.0}),
        records,
        advantage=LeaveOneOut(),
    ).train()
    assert len(records) == 16
    rewards = torch.tensor([row["reward"] for row in records]).view(-1, 4)
    expected = leave_one_out(rewards).view(-1).tolist()
    assert [row["advantage"] for row in records] == pytest.approx(expected, abs=1e-5)
    assert any(row["advantage"] for row in records)


def test_rollouts_are_recorded_in_whole_groups_with_rewards_that_were_scored(tiny_model: str, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    trainer = loop(tiny_model, tmp_path, config(tmp_path), records)
    trainer.train()
    assert [row["prompt"] for row in records] == [TASKS[index // 4].prompt for index in range(16)]
    assert [row["reward"] for row in records] == pytest.approx([value(row["completion"]) for row in records], abs=1e-5)
    assert [row["truncated"] for row in records] == [row["tokens"] == 6 for row in records]
    assert (trainer.reward_rows, trainer.reward_undefined) == (16, 0)
    spreads = [max(group) - min(group) for group in torch.tensor([r["reward"] for r in records]).view(-1, 4).tolist()]
    assert trainer.reward_spread == pytest.approx(max(spreads))
    json.dumps(records)


def test_the_facts_of_an_earlier_start_are_taken_up(tiny_model: str, tmp_path: Path) -> None:
    trainer = loop(tiny_model, tmp_path, config(tmp_path), [])
    trainer.recall([{"step": 1, "reward": reward} for reward in (1.0, 1.0, 1.0, 1.0, None, 0.0, 0.0, 0.5)])
    assert (trainer.reward_rows, trainer.reward_undefined, trainer.reward_spread) == (8, 1, 0.5)
    trainer.recall([])
    assert trainer.reward_rows == 8
