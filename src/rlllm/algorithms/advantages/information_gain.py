"""The advantage of a thought by how much more likely it makes what follows (RLP)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rlllm.algorithms.advantages.group import leave_one_out
from rlllm.algorithms.protocols import Advantage, Setup
from rlllm.algorithms.signals.thought_gain import ThoughtGain
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch


@dataclass(frozen=True)
class InformationGain(Advantage):
    """The information gain of a thought minus the mean gain of the group's other thoughts; 0 behind the thought.

    The gain is that of the signal `thought_gain` (RLP: Hatamizadeh et al. 2025, arXiv 2510.01265). What is taken off, the
    log-probability without a thought, is the same for all thoughts of one position, so that it cancels: whether it is that of
    a slowly moving average of the policy, as in the paper, or of the policy itself, as here, changes what is logged and not
    what is learned.

    Args:
        marker: what ends a thought.
        thoughts: `others` scores each answer behind a thought of another position, the control `random-thought`.
    """

    marker: str = "</think>"
    thoughts: Literal["own", "others"] = "own"
    _logged: dict[str, float] = field(init=False, repr=False, compare=False, default_factory=dict)
    compares_group = True
    ignores_rewards = True
    reads_kl_penalty = False

    @property
    def needs(self) -> Sequence[ThoughtGain]:
        return (ThoughtGain(self.marker, others=self.thoughts == "others"),)

    def check(self, setup: Setup) -> None:
        """Raise ConfigError where no row has anything to predict."""
        if setup.tasks and not any(task.answer for task in setup.tasks):
            raise ConfigError(
                "information gain is of what follows a position, and no row has an answer",
                given="advantage=information-gain",
                hint="rlllm pretrain --method rlp --data FILE",
            )

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B, T) advantages in nats per token."""
        import torch

        tokens = batch.signals["thought_gain"]
        inside = batch.loss_mask.bool() & ~tokens.isnan()
        known = inside.any(1)
        gains = torch.where(known, tokens.masked_fill(~inside, -torch.inf).amax(1), torch.nan)
        mean, _ = batch.mean(gains.nan_to_num(), known.to(gains.dtype))
        paid, _ = batch.mean((gains > 0).to(gains.dtype), known.to(gains.dtype))
        self._logged.update({"information_gain": float(mean), "information_gain_positive": float(paid)})
        return leave_one_out(gains.view(-1, batch.group_size)).view(-1, 1) * inside

    @property
    def metrics(self) -> Mapping[str, float]:
        """For the log, after a rollout."""
        return self._logged
