"""Advantages with a bonus for right answers that follow from their reasoning more surely than the group's other right ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.protocols import Advantage, Setup
from rlllm.algorithms.signals.answer_logps import AnswerLogps
from rlllm.algorithms.signals.base import Signal
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch


@dataclass(frozen=True)
class GroupConsistency(Advantage):
    """The group advantage of reward + weight b, where b is 1 for a right completion whose answer is likelier, after its
    reasoning, than the mean of the group's right completions, and else 0.

    The likelihood is that of TRL's reference model, which follows the policy slowly (`sync_ref_model`), as in GRPO-CARE (arXiv
    2506.16141). Set `beta` above 0 with `kl.where=nowhere`, so that there is a reference and no KL term.

    Args:
        weight: of the bonus.
        correct: name of the reward that says what is right: at least 0.5.
        tag: name of the tag that holds the answer.
    """

    weight: float = 0.5
    correct: str = "tagged"
    tag: str = "answer"
    _logged: dict[str, float] = field(init=False, repr=False, compare=False, default_factory=dict)
    compares_group = True
    per_completion = True
    reads_kl_penalty = False

    @property
    def needs(self) -> Sequence[str | Signal]:
        return ("ref_logps", AnswerLogps(self.tag)) if self.weight else ()

    @property
    def trl_settings(self) -> Mapping[str, Any]:
        moving = {"sync_ref_model": True, "ref_model_sync_steps": 1, "ref_model_mixup_alpha": 0.01}
        return moving if self.weight else {}

    def same_as(self, settings: Mapping[str, Any]) -> str:
        return "" if self.weight else "group"

    def check(self, setup: Setup) -> None:
        """Raise ConfigError where no reward has the name of the one that says what is right."""
        if self.correct not in setup.reward_names:
            raise ConfigError(
                f"advantage vac-group: no reward is named {self.correct}",
                given=f"advantage.correct={self.correct}",
                exists=setup.reward_names,
            )

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B,) advantages."""
        import torch

        self._logged.clear()
        if not self.weight:
            return batch.trl_advantages
        right = batch.rewards[:, batch.names.index(self.correct)] >= 0.5
        bonus = above_mean_of_right(batch.signals["answer_logps"], right, batch.group_size)
        share, _ = batch.mean(bonus, right)
        self._logged["vac/bonus_share_of_right"] = float(share)
        bonus = bonus.masked_fill(batch.summed_reward.isnan(), torch.nan).to(batch.rewards.dtype)
        rewards = torch.cat([batch.rewards, bonus.unsqueeze(1)], dim=1)
        weights = torch.cat([batch.weights, batch.weights.new_full((1,), self.weight)])
        return batch.normalise(rewards, weights, batch.group_size)

    @property
    def metrics(self) -> Mapping[str, float]:
        """For the log, after a rollout: the share of right completions that got the bonus."""
        return self._logged


def above_mean_of_right(logps: Tensor, right: Tensor, group_size: int) -> Tensor:
    """(B,) 1 for right rows whose value is above the mean of their group's right rows, else 0; NaN counts as not right.

    Args:
        logps: (B,) float.
        right: (B,) bool.
    """
    usable = (right & ~logps.isnan()).view(-1, group_size)
    values = logps.nan_to_num(nan=0.0).view(-1, group_size)
    means = (values * usable).sum(1, keepdim=True) / usable.sum(1, keepdim=True).clamp(min=1)
    return (usable & (values > means)).to(logps.dtype).view(-1)
