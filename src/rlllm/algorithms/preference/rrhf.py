"""RRHF: a ranking hinge on log-probabilities per token, and imitation of the better completion."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from rlllm.algorithms.preference.contrastive import completion_logps, negative_log_likelihood
from rlllm.algorithms.preference.reference_free import ReferenceFreeTrainer
from rlllm.algorithms.preference.settings import RRHFLossSettings


def rrhf_loss(chosen_logps: torch.Tensor, rejected_logps: torch.Tensor) -> torch.Tensor:
    """Ranking loss max(0, rejected - chosen) of each pair, (pairs,).

    Yuan et al. 2023, arXiv 2304.05302, equation 2, for two completions.

    Args:
        chosen_logps, rejected_logps: mean log-probability per token, in nats, (pairs,).
    """
    return (rejected_logps - chosen_logps).relu()


class RRHFTrainer(ReferenceFreeTrainer):
    """Trains on pairs by `rrhf_loss`, plus `cpo_alpha` times the negative log-likelihood of the better completions.

    It logs `nll_loss`, the mean over the tokens of the better completions.
    """

    loss: RRHFLossSettings

    def imitated(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The tokens of the chosen completions, (pairs, tokens - 1)."""
        mask = inputs["completion_mask"][:, 1:]
        return mask[: len(mask) // 2]

    def objective(
        self, log_probs: torch.Tensor, inputs: Mapping[str, torch.Tensor], tokens: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        mask = inputs["completion_mask"][:, 1:]
        chosen, rejected = completion_logps(log_probs, mask, per_token=True).chunk(2)
        nll = negative_log_likelihood(log_probs[: len(chosen)], self.imitated(inputs), tokens)
        ranking = rrhf_loss(chosen, rejected).mean()
        return (ranking + self.loss.cpo_alpha * nll if self.loss.cpo_alpha else ranking), {"nll_loss": nll}
