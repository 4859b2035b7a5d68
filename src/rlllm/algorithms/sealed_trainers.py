"""TRL's supervised and reward-model trainers with sealed checkpoints; their losses are not changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlllm.algorithms._trl import RewardTrainer, SFTTrainer
from rlllm.algorithms.checkpoints import SealedCheckpoints


class Supervised(SealedCheckpoints, SFTTrainer):
    """Cross-entropy on completion tokens (on all tokens of plain text).

    The tokens seen are kept in the trainer's state, where checkpoints and budgets find them: TRL's own count of `num_tokens`
    begins at 0 again when a run is resumed.
    """

    _total_train_tokens: int

    def __init__(self, *args: Any, encode: Callable[[Any], Any], **kwargs: Any) -> None:
        """As TRL's.

        Args:
            encode: tokenizer -> the training data. It is called once the template of `chat_template_path` is in place;
                `train_dataset` only shows TRL which columns there will be.
        """
        self._encode_rows = encode
        super().__init__(*args, **kwargs)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._prepare_dataset(self._encode_rows(processing_class), processing_class, *args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """TRL's step; `state.num_input_tokens_seen` is what `num_tokens` is afterwards."""
        self._total_train_tokens = max(self._total_train_tokens, self.state.num_input_tokens_seen)
        loss = super().training_step(*args, **kwargs)
        self.state.num_input_tokens_seen = self._total_train_tokens
        return loss


class PairwiseReward(SealedCheckpoints, RewardTrainer):
    """Bradley-Terry reward model, with margin where the pairs carry one."""
