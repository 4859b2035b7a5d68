"""TRL's supervised and reward-model trainers with sealed checkpoints; nothing of theirs is changed."""

from __future__ import annotations

from rlllm.algorithms._trl import RewardTrainer, SFTTrainer
from rlllm.algorithms.checkpoints import SealedCheckpoints


class Supervised(SealedCheckpoints, SFTTrainer):
    """Cross-entropy on completion tokens (on all tokens of plain text)."""


class PairwiseReward(SealedCheckpoints, RewardTrainer):
    """Bradley-Terry reward model, with margin where the pairs carry one."""
