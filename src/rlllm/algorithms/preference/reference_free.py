"""TRL's DPOTrainer with another loss and without the reference model.

DPO's own hooks do the rest: tokenization, truncation, padding, the fused output layer, the auxiliary loss of mixtures of
experts, adapters, and the metrics of pairs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rlllm.algorithms._trl import DPOTrainer, FusedCausalLMOutput
from rlllm.algorithms.checkpoints import SealedCheckpoints
from rlllm.algorithms.preference.imitation import StepTokens
from rlllm.algorithms.preference.settings import LossSettings
from rlllm.algorithms.token_logps import chosen_logps


class ReferenceFreeTrainer(StepTokens, SealedCheckpoints, DPOTrainer, ABC):
    """Trains a causal language model on pairs by the loss of a subclass.

    DPO's metrics are logged as with a reference whose log-probabilities are all 0: `logps/*` are log-probabilities of
    completions, per token where the loss takes means, and `rewards/*` are `beta` times these.

    Args:
        model, args: as in DPOTrainer; `args` is a DPOConfig.
        loss: settings of the loss.
        options: further arguments of DPOTrainer.
    """

    loss: LossSettings
    data_collator: Any

    def __init__(self, model: Any, args: Any, *, loss: LossSettings, **options: Any) -> None:
        self.loss = loss
        super().__init__(model, args=args, ref_model=_placeholder(), **options)
        self.ref_model = _zero_reference
        self.loss_types: list[str] = []  # what is left of DPO's loss is the auxiliary loss of mixtures of experts
        self.loss_weights: list[float] = []

    @abstractmethod
    def objective(
        self, log_probs: torch.Tensor, inputs: Mapping[str, torch.Tensor], tokens: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a batch, a scalar in nats, and what is logged beside DPO's metrics.

        Args:
            log_probs: of each token of `forward` given those before it, (rows, tokens - 1); 0 where it was not asked for.
            inputs: the collator's batch: `input_ids`, `attention_mask` and `completion_mask`, each (rows, tokens), first
                the rows of all chosen completions, then those of all rejected ones.
            tokens: `step_tokens`; None where the batch's own tokens count.
        """

    def forward(self, model: Any, inputs: Mapping[str, torch.Tensor], arguments: dict[str, Any]) -> Any:
        """The outputs for the rows and labels in `arguments`, by `scored`. A subclass asks for more tokens or rows."""
        return scored(model, arguments)

    def pairs(self, inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The part of a batch that holds chosen and rejected completions."""
        return inputs

    def _compute_loss(self, model: Any, inputs: Mapping[str, torch.Tensor], return_outputs: bool) -> Any:
        pairs = self.pairs(inputs)
        mask = pairs["completion_mask"][:, 1:]
        log_probs: list[torch.Tensor] = []

        def policy(**arguments: Any) -> Any:
            if not arguments.get("fused_lm_head"):
                return model(**arguments)
            outputs = self.forward(model, inputs, arguments)
            log_probs.append(
                outputs.log_probs[:, -mask.shape[1] :]
            )  # adapters of virtual tokens add columns on the left
            return _for_metrics(outputs, mask, per_token=self.loss.per_token)

        rest = super()._compute_loss(policy, pairs, return_outputs)
        loss, logged = self.objective(log_probs[0], inputs, self.step_tokens)
        mode = "train" if self.model.training else "eval"
        for name, values in logged.items():
            self._metrics[mode][name].append(self.accelerator.gather(values.detach()).mean().item())
        return (rest[0] + loss, rest[1]) if return_outputs else rest + loss


def scored(model: Any, arguments: Mapping[str, Any]) -> Any:
    """Log-probabilities of labels and what DPO logs of each token: the outputs of TRL's fused output layer.

    On a CPU they are made of whole logits. The fused layer computes every logit once more in the backward pass, in tiles
    for 32,768 words: with a vocabulary of 49,152 words a step takes half as long again, and more memory.

    Args:
        model: with TRL's fused output layer.
        arguments: of its call: `input_ids`, `attention_mask`, `labels` (-100 where nothing is asked), `fused_lm_head`.

    Returns:
        `log_probs` (0 where nothing was asked), `entropy`, `mean_logits` and `is_top1`, each (rows, tokens - 1).
    """
    if arguments["input_ids"].device.type != "cpu":
        return model(**arguments)
    labels = arguments["labels"][:, 1:]
    outputs = model(**{name: value for name, value in arguments.items() if name not in ("labels", "fused_lm_head")})
    logits = outputs.logits[:, -labels.shape[1] - 1 : -1]
    targets = labels.clamp(min=0)
    mean_logits, is_top1 = logits.detach().mean(-1), logits.detach().argmax(-1) == targets
    log_probs, entropy = chosen_logps(logits, targets)
    return FusedCausalLMOutput(
        log_probs=log_probs.masked_fill(labels == -100, 0),
        entropy=entropy,
        mean_logits=mean_logits,
        is_top1=is_top1,
        aux_loss=getattr(outputs, "aux_loss", None),
    )


def _for_metrics(outputs: Any, mask: torch.Tensor, *, per_token: bool) -> Any:
    """The outputs as DPO reads them: those of the pairs, and log-probabilities whose sum is what a completion counts."""
    rows, tokens = mask.shape
    log_probs = outputs.log_probs.detach()[:rows, -tokens:] * mask
    if per_token:
        log_probs = log_probs / mask.sum(-1, keepdim=True).clamp(min=1)
    parts = {name: getattr(outputs, name)[:rows] for name in ("entropy", "mean_logits", "is_top1")}
    return replace(outputs, log_probs=log_probs, **parts)


def _zero_reference(*, labels: torch.Tensor, **_: Any) -> SimpleNamespace:
    """What DPO asks of a reference model: log-probabilities of the labels, here all 0."""
    return SimpleNamespace(log_probs=torch.zeros(labels.shape[0], labels.shape[1] - 1, device=labels.device))


def _placeholder() -> Any:
    """A reference model of a few weights. Without one DPOTrainer would load the policy's folder a second time."""
    sizes = {"vocab_size": 1, "hidden_size": 2, "intermediate_size": 2}
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=1, num_attention_heads=1, pad_token_id=0, **sizes))
