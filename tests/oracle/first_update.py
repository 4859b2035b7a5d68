"""The gradient of the first update on a rollout, through TRL's own loss, for advantages that claim to be another loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from rlllm.algorithms.batch import RolloutBatch
from rlllm.algorithms.components import SlotSpec, component
from rlllm.algorithms.kl_controller import KLController
from rlllm.algorithms.methods.base import Method
from rlllm.algorithms.protocols import Advantage
from rlllm.algorithms.rl_trainer import RLTrainer, Slots
from rlllm.core.records import PromptTask
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec

TASKS = [PromptTask(f"{a} + {a} = ?", str(2 * a)) for a in range(2)]
REWARD = """
def vowels(sample): return sum(c in "aeiou" for c in sample.completion) + 0.01 * len(sample.completion.encode())
"""


@dataclass
class Witness(Advantage):
    """An estimator that keeps the batch it was given."""

    inner: Callable[[RolloutBatch], Tensor]
    seen: list[RolloutBatch] = field(default_factory=list)

    @property
    def needs(self) -> Sequence[Any]:
        return getattr(self.inner, "needs", ())

    def __call__(self, batch: RolloutBatch) -> Tensor:
        self.seen.append(batch)
        return self.inner(batch)


@dataclass
class Rollout:
    """One rollout of the loop: two prompts, four completions each, of up to six tokens."""

    trainer: RLTrainer
    batch: RolloutBatch
    output: dict[str, Any]

    def logits(self) -> Tensor:
        """(B, T, V) of the completion tokens, with a gradient, from a plain forward pass."""
        ids = torch.cat([self.batch.prompt_ids, self.batch.completion_ids], dim=1)
        mask = torch.cat([self.batch.prompt_mask, self.output["completion_mask"]], dim=1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = self.trainer.model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
        return logits[:, self.batch.prompt_ids.size(1) - 1 : -1]

    def logps(self) -> Tensor:
        """(B,) log-probability of each completion, with a gradient."""
        ids = self.batch.completion_ids.unsqueeze(2)
        tokens = torch.log_softmax(self.logits(), -1).gather(2, ids).squeeze(2)
        return (tokens * self.batch.loss_mask).sum(1)

    def gradient(self, loss: Tensor) -> Tensor:
        """Of all weights, as one vector."""
        grads = torch.autograd.grad(loss, list(self.trainer.model.parameters()))
        return torch.cat([grad.flatten() for grad in grads])

    def update(self, advantages: Tensor | None = None) -> Tensor:
        """Gradient of TRL's loss under the estimator's advantages, or those given."""
        given = self.output["advantages"] if advantages is None else advantages
        return self.gradient(self.trainer._compute_loss(self.trainer.model, {**self.output, "advantages": given}))


def roll_out(model: str, folder: Path, method: Method, advantage: Callable[[RolloutBatch], Tensor]) -> Rollout:
    """One rollout under a method's TRL settings, with its KL placement and an advantage in place of its own."""
    (folder / "reward.py").write_text(REWARD)
    loss = component("loss", SlotSpec(name=method.components.get("loss", "grpo")))
    args = GRPOConfig(
        str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        num_generations=4,
        per_device_train_batch_size=8,
        max_completion_length=6,
        max_steps=1,
        seed=3,
        **loss.trl_settings,
        **method.settings,
    )
    chats = [{"prompt": [{"role": "user", "content": task.prompt}], "row": row} for row, task in enumerate(TASKS)]
    witness = Witness(advantage)
    rewards = build([RewardSpec(name=f"{folder / 'reward.py'}:vowels")])
    penalty = KLController(method.defaults.get("kl", {}).get("where", "loss"), args.beta)
    trainer = RLTrainer(
        slots=Slots(rewards=rewards, advantage=witness, kl=penalty),
        tasks=TASKS,
        on_rollout=lambda rows: None,
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        args=args,
        train_dataset=Dataset.from_list(chats),
        processing_class=AutoTokenizer.from_pretrained(model),
    )
    trainer.current_gradient_accumulation_steps = 1
    output = trainer._generate_and_score_completions([chats[row // 4] for row in range(8)])
    return Rollout(trainer, witness.seen[0], output)
