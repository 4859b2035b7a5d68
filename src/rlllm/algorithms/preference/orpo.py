"""ORPO: imitation of the prompt with its chosen completion, and a penalty on the odds of the rejected one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from rlllm.algorithms.preference.contrastive import completion_logps, negative_log_likelihood
from rlllm.algorithms.preference.reference_free import ReferenceFreeTrainer, scored

_CERTAIN = -1e-7
"""Largest mean log-probability, in nats; 1 - p rounds to 0 above it."""


def log_odds_ratio(chosen_logps: torch.Tensor, rejected_logps: torch.Tensor) -> torch.Tensor:
    """Log of the odds of chosen over those of rejected, odds = p / (1 - p), (pairs,).

    Hong et al. 2024, arXiv 2403.07691, equations 4 and 5.

    Args:
        chosen_logps, rejected_logps: log p as the mean over the completion's tokens, in nats, below 0, (pairs,).
    """
    # a completion that the model is certain of, to the last bit, would have infinite odds
    chosen, rejected = (logps.float().clamp(max=_CERTAIN) for logps in (chosen_logps, rejected_logps))
    return (chosen - rejected) - (_log_one_minus_exp(chosen) - _log_one_minus_exp(rejected))


def orpo_loss(chosen_logps: torch.Tensor, rejected_logps: torch.Tensor, beta: float) -> torch.Tensor:
    """Weighted odds-ratio loss -beta log s(log odds ratio) of each pair, (pairs,): equation 7 times the paper's lambda.

    Args:
        chosen_logps, rejected_logps: as in `log_odds_ratio`.
        beta: the paper's lambda.
    """
    return -beta * functional.logsigmoid(log_odds_ratio(chosen_logps, rejected_logps))


def _log_one_minus_exp(values: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(x)) for x below 0, by the formula that is exact on either side of -log 2 (Mächler 2012)."""
    return torch.where(values < -0.6931471805599453, torch.log1p(-values.exp()), torch.log(-torch.expm1(values)))


class ORPOTrainer(ReferenceFreeTrainer):
    """Trains on pairs by `orpo_loss`, plus the negative log-likelihood of the prompts with their chosen completions.

    The likelihood runs over the tokens of prompt and chosen completion, as in TRL and in the authors' code. It logs
    `nll_loss`, `log_odds_chosen` (mean log odds ratio) and `log_odds_ratio` (mean of its log-sigmoid).
    """

    def imitated(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The tokens of the prompts with their chosen completions, but the first ones, (pairs, tokens - 1)."""
        mask = inputs["attention_mask"][:, 1:]
        return mask[: len(mask) // 2]

    def objective(
        self, log_probs: torch.Tensor, inputs: Mapping[str, torch.Tensor], tokens: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        mask = inputs["completion_mask"][:, 1:]
        chosen, rejected = completion_logps(log_probs * mask, mask, per_token=True).chunk(2)
        nll = negative_log_likelihood(log_probs[: len(chosen)], self.imitated(inputs), tokens)
        log_odds = log_odds_ratio(chosen, rejected).detach()
        loss = nll + orpo_loss(chosen, rejected, self.beta).mean()
        ratio = functional.logsigmoid(log_odds)
        return loss, {"nll_loss": nll, "log_odds_chosen": log_odds, "log_odds_ratio": ratio}

    def forward(self, model: Any, inputs: Mapping[str, torch.Tensor], arguments: dict[str, Any]) -> Any:
        """The outputs for the pairs, with log-probabilities of the chosen rows' prompts as well."""
        labels = arguments["labels"].clone()
        pairs = len(labels) // 2
        labels[:pairs] = inputs["input_ids"][:pairs].masked_fill(inputs["attention_mask"][:pairs] == 0, -100)
        return scored(model, {**arguments, "labels": labels})
