"""Imitation terms of preference losses: means over the tokens of a whole optimizer step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


class StepTokens:
    """Mixin before DPOTrainer: counts the tokens that an optimizer step imitates, in all micro-batches and processes.

    A mean of the means of micro-batches would weigh a token by the length of the rows beside it, so that the gradient of a
    step would depend on how its batch is cut. It wraps `get_batch_samples` and `compute_loss`.
    """

    step_tokens: torch.Tensor | None = None
    """A scalar by which a sum over imitated tokens is divided: those of the optimizer step over its number of micro-batches.
    None where a batch is no part of a step, or nothing is imitated."""
    accelerator: Any
    current_gradient_accumulation_steps: int

    def imitated(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
        """0/1 mask of the tokens whose likelihood is a term of the loss, (rows, tokens - 1); None where there is none.

        Args:
            inputs: the collator's batch: `input_ids`, `attention_mask` and `completion_mask`, each (rows, tokens).
        """
        return None

    def get_batch_samples(self, *args: Any, **options: Any) -> tuple[list[Any], Any]:
        """The micro-batches of an optimizer step, and how many tokens they imitate."""
        batches, _ = super().get_batch_samples(*args, **options)  # type: ignore[misc]
        counts = [mask.sum() for batch in batches if (mask := self.imitated(batch)) is not None]
        if not counts:
            return batches, None
        return batches, self.accelerator.reduce(torch.stack(counts).sum().to(self.accelerator.device), reduction="sum")

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: torch.Tensor | None = None
    ) -> Any:
        """DPOTrainer's, with `step_tokens` set. The sum over micro-batches and processes is divided by their numbers later."""
        self.step_tokens = num_items_in_batch
        if num_items_in_batch is not None:
            parts = self.current_gradient_accumulation_steps * self.accelerator.num_processes
            self.step_tokens = num_items_in_batch / parts
        return super().compute_loss(model, inputs, return_outputs)  # type: ignore[misc]
