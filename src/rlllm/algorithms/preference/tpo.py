"""TPO: a contrast of log-probabilities without a reference, and imitation of a third, gold completion."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rlllm.algorithms.preference.contrastive import completion_logps, contrastive_loss, negative_log_likelihood
from rlllm.algorithms.preference.reference_free import ReferenceFreeTrainer, scored
from rlllm.algorithms.preference.settings import TPOLossSettings


def tpo_loss(
    chosen_logps: torch.Tensor,
    rejected_logps: torch.Tensor,
    settings: TPOLossSettings,
    beta: float,
    label_smoothing: float,
) -> torch.Tensor:
    """Loss of each pair without its imitation term, (pairs,).

    Saeidi et al. 2024, arXiv 2405.16681, equation 9; `tpo-l` is its version with means over tokens and a margin.

    Args:
        chosen_logps, rejected_logps: (pairs,), in nats; per token where `settings.per_token`.
        settings: of the loss.
        beta, label_smoothing: as in `contrastive_loss`.
    """
    return contrastive_loss(
        chosen_logps,
        rejected_logps,
        loss_type=settings.loss_type,
        beta=beta,
        label_smoothing=label_smoothing,
        margin=settings.margin,
    )


class TripleCollator:
    """Batches of TPO: DPO's rows, then as many of the gold completions, all padded to one length.

    Args:
        pairs: DPO's collator, which cuts and pads.
    """

    def __init__(self, pairs: Any) -> None:
        self.pairs = pairs

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        gold = [{**row, "chosen_ids": row["reference_ids"], "rejected_ids": row["reference_ids"]} for row in examples]
        columns = self.pairs([*examples, *gold])
        count = len(examples)
        order = [*range(count), *range(2 * count, 3 * count), *range(count, 2 * count)]
        return {name: values[order] for name, values in columns.items()}


class TPOTrainer(ReferenceFreeTrainer):
    """Trains on triples by `tpo_loss`, plus `tpo_alpha` times the negative log-likelihood of the gold completions.

    Rows have `prompt`, `chosen`, `rejected` and `reference`, the gold completion. With `tpo_alpha` 0 the gold completions
    are neither tokenized nor run through the model. It logs `nll_loss`, the mean over the tokens of the gold completions.
    """

    loss: TPOLossSettings

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.loss.tpo_alpha:
            self.data_collator = TripleCollator(self.data_collator)

    def imitated(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
        """The tokens of the gold completions, (pairs, tokens - 1)."""
        mask = inputs["completion_mask"][:, 1:]
        return mask[2 * len(mask) // 3 :] if self.loss.tpo_alpha else None

    def objective(
        self, log_probs: torch.Tensor, inputs: Mapping[str, torch.Tensor], tokens: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        mask = inputs["completion_mask"][:, 1:]
        rows = len(_pairs(inputs)["input_ids"]) if self.loss.tpo_alpha else len(mask)
        chosen, rejected = completion_logps(log_probs[:rows], mask[:rows], per_token=self.loss.per_token).chunk(2)
        loss = tpo_loss(chosen, rejected, self.loss, self.beta, self.label_smoothing).mean()
        gold = self.imitated(inputs)
        if gold is None:
            return loss, {}
        nll = negative_log_likelihood(log_probs[rows:], gold, tokens)
        return loss + self.loss.tpo_alpha * nll, {"nll_loss": nll}

    def pairs(self, inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        return _pairs(inputs) if self.loss.tpo_alpha else inputs

    def forward(self, model: Any, inputs: Mapping[str, torch.Tensor], arguments: dict[str, Any]) -> Any:
        """The outputs for pairs and gold completions, of one call of the model."""
        if not self.loss.tpo_alpha:
            return scored(model, arguments)
        batch = {name: inputs[name] for name in arguments if name in inputs}
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        if self.model.training:  # DPO counts the tokens of the pairs
            gold = inputs["attention_mask"][2 * len(labels) // 3 :].sum()
            self._total_train_tokens += self.accelerator.gather(gold).sum().item() // self._tp_size
        return scored(model, {**arguments, **batch, "labels": labels})

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        """DPO's rows with `reference_ids`. All three completions of a row start after the same prompt tokens."""
        prepare = super()._prepare_dataset
        if not self.loss.tpo_alpha or "reference_ids" in dataset.column_names:
            return prepare(dataset, processing_class, args, dataset_name)
        whole = copy.copy(args)
        whole.max_length = None  # rows are dropped below, once for all three completions
        pairs = prepare(dataset, processing_class, whole, dataset_name)
        twice = dataset.map(lambda row: {"chosen": row["reference"], "rejected": row["reference"]})
        gold = prepare(twice, processing_class, whole, dataset_name)
        rows = pairs.add_column("gold_prompt_ids", gold["prompt_ids"]).add_column("reference_ids", gold["chosen_ids"])
        rows = rows.map(_with_one_prompt, remove_columns="gold_prompt_ids")
        if args.max_length is not None and args.truncation_mode == "keep_start":
            rows = rows.filter(lambda row: len(row["prompt_ids"]) < args.max_length)
        return rows

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if "reference_ids" not in self._signature_columns:
            self._signature_columns.append("reference_ids")


def _pairs(inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The rows of chosen and rejected: the first two thirds."""
    return {name: values[: 2 * len(values) // 3] for name, values in inputs.items()}


def _with_one_prompt(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose prompt is the shorter of the pair's and the gold completion's; the rest of it goes to the completions."""
    prompts = (row["prompt_ids"], row["gold_prompt_ids"])
    length = min(map(len, prompts))
    pair_rest, gold_rest = (prompt[length:] for prompt in prompts)
    return {
        "prompt_ids": row["prompt_ids"][:length],
        "chosen_ids": pair_rest + row["chosen_ids"],
        "rejected_ids": pair_rest + row["rejected_ids"],
        "reference_ids": gold_rest + row["reference_ids"],
    }
