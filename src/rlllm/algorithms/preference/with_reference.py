"""TRL's trainers that compare with a reference model, with sealed checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from rlllm.algorithms._trl import DPOTrainer, KTOTrainer
from rlllm.algorithms.checkpoints import SealedCheckpoints
from rlllm.algorithms.preference.imitation import StepTokens


class SealedDPOTrainer(StepTokens, SealedCheckpoints, DPOTrainer):
    """Direct preference optimisation on pairs, with any of TRL's losses.

    Its loss `sft` is the mean over the chosen tokens of an optimizer step; TRL takes that of each micro-batch.
    """

    loss_types: list[str]
    loss_weights: list[float]

    def imitated(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
        """The tokens of the chosen completions, where the loss `sft` is one of those that are added."""
        return (
            inputs["completion_mask"][: len(inputs["completion_mask"]) // 2, 1:] if "sft" in self.loss_types else None
        )

    def _compute_loss(self, model: Any, inputs: Mapping[str, torch.Tensor], return_outputs: bool) -> Any:
        mask = None if self.step_tokens is None else self.imitated(inputs)
        if mask is None:
            return super()._compute_loss(model, inputs, return_outputs)
        weights, share = self.loss_weights, float(mask.sum() / self.step_tokens)
        named = zip(self.loss_types, weights, strict=True)
        self.loss_weights = [share * weight if name == "sft" else weight for name, weight in named]
        try:
            return super()._compute_loss(model, inputs, return_outputs)
        finally:
            self.loss_weights = weights


class SealedKTOTrainer(SealedCheckpoints, KTOTrainer):
    """KTO on single completions that are labelled good or bad."""
