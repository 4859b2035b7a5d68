"""TRL's supervised and reward-model trainers with sealed checkpoints; their losses are not changed."""

from __future__ import annotations

from typing import Any

from rlllm.algorithms._trl import RewardTrainer, SFTTrainer
from rlllm.algorithms.checkpoints import SealedCheckpoints


class Supervised(SealedCheckpoints, SFTTrainer):
    """Cross-entropy on completion tokens (on all tokens of plain text).

    The tokens seen are kept in the trainer's state, where checkpoints and budgets find them: TRL's own count of `num_tokens`
    begins at 0 again when a run is resumed.
    """

    _total_train_tokens: int

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """TRL's step; `state.num_input_tokens_seen` is what `num_tokens` is afterwards."""
        self._total_train_tokens = max(self._total_train_tokens, self.state.num_input_tokens_seen)
        loss = super().training_step(*args, **kwargs)
        self.state.num_input_tokens_seen = self._total_train_tokens
        return loss


class PairwiseReward(SealedCheckpoints, RewardTrainer):
    """Bradley-Terry reward model, with margin where the pairs carry one."""
