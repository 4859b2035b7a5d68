"""The mismatch in the training loop: measured once the trainer has log-probabilities too, corrected before the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor

from rlllm.algorithms.batch import RolloutBatch
from rlllm.algorithms.mismatch.measures import PREFIX, known, log_ratio, mismatch
from rlllm.core.errors import PluginError

SAMPLING = "sampling_per_token_logps"
"""TRL's name of the (B, T) log-probabilities that the sampler reports."""
WEIGHTS = "importance_sampling_ratio"
"""TRL's name of the weights of the tokens' losses."""


class MismatchInLoop:
    """Base of the mixin that computes the loss. Without a correction, and where no other part needs the policy's
    log-probabilities, they are those of the pass that computes the first loss on a rollout: measuring costs no pass."""

    slots: Any
    accelerator: Any
    model: Any
    use_vllm: bool
    vllm_importance_sampling_correction: bool
    _note: Any
    _logps: Tensor | None = None
    """(B, T) log-probabilities of the last forward pass of the loss, without gradient."""
    _measured_in_loss = False
    """Whether the rollout that is learned from now is measured by the loss."""

    def _settle_mismatch(self, output: dict[str, Any], batch: RolloutBatch, mask: Tensor) -> Tensor:
        """Measure and correct a rollout.

        Args:
            output: TRL's; gets weights.
            batch: the rollout, whose `loss_mask` holds every token that may learn.
            mask: (B, T) 0/1 tokens that the mask of the run lets learn.

        Returns:
            (B, T) 0/1 tokens of these that are not rejected.
        """
        if not self.model.training:
            return mask
        sampling, correction = output.get(SAMPLING), self.slots.correction
        self._measured_in_loss = sampling is not None and batch.logps is None
        if sampling is None or batch.logps is None:
            if correction is not None and sampling is None:
                raise PluginError(
                    "the engine reported no log-probabilities, without which the mismatch cannot be corrected",
                    given=correction.describe(),
                    hint="an engine whose generate sets self.logps in every call, or no rollout_correction",
                )
            return mask
        sampled = self._sampled_tokens(output, batch.loss_mask)
        self._note(mismatch(batch.logps, sampling, sampled, self.accelerator.gather))
        if correction is None:
            return mask
        difference = log_ratio(batch.logps, sampling, sampled)
        reduce = partial(self.accelerator.reduce, reduction="sum")
        if correction.rollout_is is not None:
            # a token that was not sampled, or whose probability is unknown, keeps the weight 1
            output[WEIGHTS], noted = correction.weights(difference, batch.loss_mask, reduce)
            self._note({PREFIX + name: value for name, value in noted.items()})
        if not correction.rs_bounds:
            return mask
        kept, noted = correction.keeps(difference, known(sampling, sampled), reduce)
        self._note({PREFIX + name: value for name, value in noted.items()})
        return mask * kept

    def _note_mismatch_of_loss(self, inputs: Mapping[str, Any], mask: Tensor) -> None:
        """Log the mismatch of a micro-batch by the log-probabilities that its loss was computed from."""
        if self._measured_in_loss and self._logps is not None and SAMPLING in inputs:
            sampled = self._sampled_tokens(inputs, mask)
            self._note(mismatch(self._logps, inputs[SAMPLING], sampled, self.accelerator.gather))

    @staticmethod
    def _sampled_tokens(output: Mapping[str, Any], mask: Tensor) -> Tensor:
        """(B, T) tokens under the mask that are no demonstrations."""
        return mask * ~output["off_policy"] if "off_policy" in output else mask

    @contextmanager
    def _weighted(self, inputs: Mapping[str, Any]) -> Iterator[None]:
        """TRL's losses read the weights under vLLM alone; here they do wherever a rollout has some."""
        if WEIGHTS not in inputs:
            yield
            return
        before = self.use_vllm, self.vllm_importance_sampling_correction
        self.use_vllm = self.vllm_importance_sampling_correction = True
        try:
            yield
        finally:
            self.use_vllm, self.vllm_importance_sampling_correction = before
