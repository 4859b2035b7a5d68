"""TRL's trainers that compare with a reference model, with sealed checkpoints; nothing of theirs is changed."""

from __future__ import annotations

from rlllm.algorithms._trl import DPOTrainer, KTOTrainer
from rlllm.algorithms.checkpoints import SealedCheckpoints


class SealedDPOTrainer(SealedCheckpoints, DPOTrainer):
    """Direct preference optimisation on pairs, with any of TRL's losses."""


class SealedKTOTrainer(SealedCheckpoints, KTOTrainer):
    """KTO on single completions that are labelled good or bad."""
