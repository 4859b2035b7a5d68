"""CPO, SimPO and AlphaPO: a contrast of log-probabilities without a reference, and imitation of the chosen completion."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from rlllm.algorithms.preference.contrastive import completion_logps, contrastive_loss, negative_log_likelihood
from rlllm.algorithms.preference.reference_free import ReferenceFreeTrainer
from rlllm.algorithms.preference.settings import CPOLossSettings


def alpha_reward(logps: torch.Tensor, alpha: float) -> torch.Tensor:
    """AlphaPO's reward (1 - p^-alpha) / alpha of completions, (rows,); at alpha 0 its limit log p.

    Gupta et al. 2025, arXiv 2501.03884, equation 8. It is computed from log p, so that it stays finite where p itself
    would underflow.

    Args:
        logps: log p, (rows,), in nats.
        alpha: above 0 it punishes unlikely completions more than log p does, below 0 less.
    """
    return -torch.expm1(-alpha * logps) / alpha if alpha else logps


def cpo_loss(
    chosen_logps: torch.Tensor,
    rejected_logps: torch.Tensor,
    settings: CPOLossSettings,
    beta: float,
    label_smoothing: float,
) -> torch.Tensor:
    """Loss of each pair without its imitation term, (pairs,).

    Args:
        chosen_logps, rejected_logps: (pairs,), in nats; per token where `settings.per_token`.
        settings: of the loss.
        beta, label_smoothing: as in `contrastive_loss`.
    """
    return contrastive_loss(
        alpha_reward(chosen_logps, settings.alpha),
        alpha_reward(rejected_logps, settings.alpha),
        loss_type=settings.loss_type,
        beta=beta,
        label_smoothing=label_smoothing,
        margin=settings.margin,
    )


class CPOTrainer(ReferenceFreeTrainer):
    """Trains on pairs by `cpo_loss`, plus `cpo_alpha` times the negative log-likelihood of the chosen completions.

    It logs `nll_loss`, the mean over the tokens of the chosen completions, also where its weight is 0.
    """

    loss: CPOLossSettings

    def imitated(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The tokens of the chosen completions, (pairs, tokens - 1)."""
        mask = inputs["completion_mask"][:, 1:]
        return mask[: len(mask) // 2]

    def objective(
        self, log_probs: torch.Tensor, inputs: Mapping[str, torch.Tensor], tokens: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        mask = inputs["completion_mask"][:, 1:]
        chosen, rejected = completion_logps(log_probs, mask, per_token=self.loss.per_token).chunk(2)
        nll = negative_log_likelihood(log_probs[: len(chosen)], self.imitated(inputs), tokens)
        loss = cpo_loss(chosen, rejected, self.loss, self.beta, self.label_smoothing).mean()
        return (loss + self.loss.imitation * nll if self.loss.imitation else loss), {"nll_loss": nll}
