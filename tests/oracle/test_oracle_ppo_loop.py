"""PPO inside the loop: the clipped loss against NumPy, a silent critic, a warm-up that holds the policy, and padding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import GRPOConfig

from rlllm.algorithms.advantages.gae import GAE
from rlllm.algorithms.batch import RolloutBatch
from rlllm.algorithms.forward_pass import completion_values
from rlllm.algorithms.ppo.critic import Critic
from rlllm.algorithms.protocols import Advantage
from rlllm.algorithms.rl_trainer import RLTrainer, Slots
from rlllm.algorithms.samplers.order import InOrder
from rlllm.core.records import PromptTask
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec

TASKS = [PromptTask(f"{a} + {a} = ?", str(2 * a)) for a in range(16)]
REWARD = 'def vowels(sample): return sum(c in "aeiou" for c in sample.completion) + 0.01 * len(sample.completion)\n'


@dataclass(frozen=True)
class Raw(Advantage):
    """The reward itself, for every token: REINFORCE without a baseline."""

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return batch.summed_reward.unsqueeze(1) * batch.loss_mask


def loop(model: str, folder: Path, advantage: Any, critic: Any = None, **settings: Any) -> RLTrainer:
    (folder / "reward.py").write_text(REWARD)
    defaults = {"loss_type": "bnpo", "num_generations": 4, "per_device_train_batch_size": 8, "max_completion_length": 6}
    quiet = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "disable_tqdm": True}
    args = GRPOConfig(
        str(folder / "out"),
        **{**defaults, **quiet, "max_steps": 3, "learning_rate": 1e-2, "logging_strategy": "no", **settings},
    )
    return RLTrainer(
        slots=Slots(build([RewardSpec(name=f"{folder / 'reward.py'}:vowels")]), sampler=InOrder(), advantage=advantage),
        tasks=TASKS,
        on_rollout=lambda rows: None,
        critic=critic and critic(args),
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        args=args,
        train_dataset=Dataset.from_list(
            [{"prompt": [{"role": "user", "content": t.prompt}], "row": i} for i, t in enumerate(TASKS)]
        ),
        processing_class=AutoTokenizer.from_pretrained(model),
    )


def classifier(model: str) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1, dtype=torch.float32)
    made.score.weight.data.zero_()
    return made


def weights(trainer: RLTrainer) -> dict[str, Tensor]:
    trainer.train()
    return trainer.model.state_dict()


def test_a_critic_that_says_nothing_leaves_reinforce_to_the_bit(tiny_model: str, tmp_path: Path) -> None:
    def silent(args: Any) -> Critic:
        model = classifier(tiny_model)
        return Critic(model.model, model.score, args, learning_rate=0.0)

    ppo = weights(loop(tiny_model, tmp_path, GAE(gamma=1.0, lam=1.0, whiten=False), silent))
    whole = loop(tiny_model, tmp_path, Raw())
    whole._divisible = lambda inputs: False  # type: ignore[method-assign]  # a critic needs every row: neither leaves any out
    plain = weights(whole)
    assert [name for name in plain if not ppo[name].equal(plain[name])] == []


def test_a_warm_up_moves_the_critic_and_holds_the_policy(tiny_model: str, tmp_path: Path) -> None:
    made: list[Critic] = []

    def warming(args: Any) -> Critic:
        model = classifier(tiny_model)
        made.append(Critic(model.model, model.score, args, warmup_steps=3))
        return made[0]

    start = AutoModelForCausalLM.from_pretrained(tiny_model).state_dict()
    end = weights(loop(tiny_model, tmp_path, GAE(), warming))
    assert [name for name in start if not start[name].equal(end[name])] == []
    assert made[0].head.weight.abs().sum() > 0


def test_the_clipped_loss_is_that_of_the_paper(tiny_model: str, tmp_path: Path) -> None:
    """Schulman et al. 2017, eq. 7, averaged over the loss_mask tokens, for old probabilities far enough to be clipped."""
    trainer = loop(tiny_model, tmp_path, Raw(), epsilon=0.2)
    trainer.current_gradient_accumulation_steps = 1
    inputs = trainer._generate_and_score_completions([trainer.train_dataset[index // 4] for index in range(8)])
    generator = torch.Generator().manual_seed(0)
    shape = inputs["completion_ids"].shape
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    with torch.no_grad():
        logps, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, shape[1])
    old = logps + 0.5 * torch.randn(shape, generator=generator)
    advantages = torch.randn(shape, generator=generator)
    loss = trainer._compute_loss(trainer.model, {**inputs, "advantages": advantages, "old_per_token_logps": old})
    ratio, a, m = np.exp((logps - old).numpy()), advantages.numpy(), inputs["completion_mask"].numpy()
    surrogate = np.minimum(ratio * a, np.clip(ratio, 0.8, 1.2) * a)
    assert float(loss.detach()) == pytest.approx(-(surrogate * m).sum() / m.sum(), rel=1e-5)
    assert ((ratio < 0.8) | (ratio > 1.2))[m.astype(bool)].any()


@pytest.mark.parametrize(("left", "right"), [(3, 0), (0, 4), (2, 5)])
def test_values_do_not_see_padding(tiny_model: str, left: int, right: int) -> None:
    model = classifier(tiny_model)
    torch.nn.init.normal_(model.score.weight)
    ids = torch.randint(5, 50, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    wide_ids = torch.nn.functional.pad(ids, (left, right), value=1)
    wide_mask = torch.nn.functional.pad(mask, (left, right))
    with torch.no_grad():
        tight = completion_values(model.model, model.score, ids, mask, 4)
        wide = completion_values(model.model, model.score, wide_ids, wide_mask, 4 + right)
    torch.testing.assert_close(wide[:, :4], tight, atol=1e-6, rtol=1e-5)
    assert not wide[:, 4:].any()
