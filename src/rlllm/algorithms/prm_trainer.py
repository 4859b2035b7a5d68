"""Trainer of a process reward model: cross-entropy on the last token of each step; other tokens have no label.

TRL has had none since 1.14. The loss is given to transformers' Trainer as `compute_loss_func`, which divides by the steps of
the whole optimizer step, so that each step of a solution weighs the same for any size of micro-batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import Trainer

from rlllm.algorithms.checkpoints import SealedCheckpoints
from rlllm.core.errors import DataError
from rlllm.core.records import StepwiseSolution
from rlllm.policies.padding import padded
from rlllm.rewards.models.process_reward_model import encode_steps

IGNORED = -100


class ProcessReward(SealedCheckpoints, Trainer):
    """Trains a token classifier with two labels (0 wrong, 1 right) on rows of `step_rows`.

    It logs `step_accuracy` as well: the share of steps, since the last log, whose label is the likelier one.
    """

    def __init__(self, model: Any, args: Any, train_dataset: Any, processing_class: Any, callbacks: list[Any]) -> None:
        if args.disable_dropout:
            for module in model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            processing_class=processing_class,
            data_collator=StepCollator(processing_class.pad_token_id or 0),
            compute_loss_func=step_loss,
            callbacks=callbacks,
        )
        self._right, self._steps = 0, 0

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **options: Any) -> Any:
        labels = inputs["labels"]
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **options)
        labelled = labels != IGNORED
        self._right += int((outputs.logits.argmax(-1) == labels)[labelled].sum())
        self._steps += int(labelled.sum())
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        if self._steps:
            logs["step_accuracy"] = self._right / self._steps
            self._right, self._steps = 0, 0
        super().log(logs, *args, **options)


class StepCollator:
    """Rows of `step_rows` to tensors, padded on the right: `input_ids`, `attention_mask` and `labels`, each (B, T)."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        ids, mask = padded([row["input_ids"] for row in rows], self.pad)
        labels, _ = padded([row["labels"] for row in rows], IGNORED)
        columns = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        return {name: torch.tensor(values) for name, values in columns.items()}


def step_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Mean over labelled tokens of -log p(label), in nats: a scalar.

    Args:
        outputs: with `logits` (B, T, 2).
        labels: (B, T); 0 wrong, 1 right, -100 without a label.
        num_items_in_batch: labelled tokens of the whole optimizer step; those of this batch if None.
    """
    logits = outputs.logits.float().flatten(0, 1)
    total = torch.nn.functional.cross_entropy(logits, labels.flatten(), ignore_index=IGNORED, reduction="sum")
    items = (labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
    return total / torch.as_tensor(items, device=total.device).clamp(min=1)


def step_rows(records: Sequence[StepwiseSolution], tokenizer: Any, max_length: int | None) -> Any:
    """Rows of `ProcessReward`: `input_ids`, and `labels`, which are -100 except at the last token of each step.

    Solutions of more than `max_length` tokens are left out, as TRL's RewardTrainer leaves out long pairs.

    Raises:
        DataError: none is short enough.
    """
    from datasets import Dataset

    rows = [_row(tokenizer, record) for record in records]
    short_enough = [row for row in rows if max_length is None or len(row["input_ids"]) <= max_length]
    if not short_enough:
        raise DataError(
            f"every solution is longer than max_length={max_length} tokens",
            given=f"{len(rows)} solutions; the shortest has {min(len(row['input_ids']) for row in rows)} tokens",
            hint="raise max_length",
        )
    return Dataset.from_list(short_enough)


def _row(tokenizer: Any, record: StepwiseSolution) -> dict[str, list[int]]:
    ids, ends = encode_steps(tokenizer, record.prompt, record.steps)
    labels = [IGNORED] * len(ids)
    for end, right in zip(ends, record.labels, strict=True):
        labels[end] = int(right)
    return {"input_ids": ids, "labels": labels}
