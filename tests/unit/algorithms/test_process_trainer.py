"""The step loss against NumPy, and that neither padding nor the split of a batch changes what is learned."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from rlllm.algorithms.prm_trainer import IGNORED, ProcessReward, StepCollator, step_loss, step_rows
from rlllm.algorithms.trl_args import trl_arguments
from rlllm.core.errors import DataError
from rlllm.core.hardware import Hardware
from rlllm.core.records import StepwiseSolution
from rlllm.policies.loading import load_step_classifier, load_tokenizer
from rlllm.policies.model_sources import resolve_model

RECORDS = [
    StepwiseSolution("1 + 2 = ?", ("1+2=3", "#### 3"), (True, True)),
    StepwiseSolution("What is 17 + 25?", ("7+5=12", "1+2=3", "#### 32"), (True, False, False)),
    StepwiseSolution("2 - 2 = ?", ("#### 1",), (False,)),
    StepwiseSolution("9 + 8 = ?", ("9+8=17", "#### 17"), (True, True)),
]


def oracle(logits: Any, labels: Any) -> float:
    """Mean over marked tokens of log-sum-exp minus the label's logit, one by one."""
    terms = [
        np.log(np.exp(logits[row, place]).sum()) - logits[row, place, labels[row, place]]
        for row, place in np.ndindex(*labels.shape)
        if labels[row, place] != IGNORED
    ]
    return float(np.mean(terms))


def test_the_loss_is_the_mean_cross_entropy_of_the_marked_tokens() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(3, 5, 2))
    labels = generator.choice([IGNORED, 0, 1], size=(3, 5))
    found = step_loss(SimpleNamespace(logits=torch.tensor(logits)), torch.tensor(labels))
    assert float(found) == pytest.approx(oracle(logits, labels), abs=1e-6)


def test_parts_of_a_batch_add_up_to_its_loss_whatever_their_sizes() -> None:
    logits = torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.full((4, 6), IGNORED)
    labels[0, 1:5] = torch.tensor([1, 1, 0, 0])
    labels[3, 5] = 1
    items = torch.tensor(5)
    parts = [step_loss(SimpleNamespace(logits=logits[i:j]), labels[i:j], items) for i, j in ((0, 1), (1, 4))]
    assert float(sum(parts)) == pytest.approx(float(step_loss(SimpleNamespace(logits=logits), labels)), abs=1e-6)


def test_a_batch_without_a_step_has_no_loss() -> None:
    assert float(step_loss(SimpleNamespace(logits=torch.randn(1, 2, 2)), torch.full((1, 2), IGNORED))) == 0.0


def test_rows_mark_the_last_token_of_each_step_and_are_padded_on_the_right(tiny_model: str) -> None:
    tokenizer = load_tokenizer(resolve_model(tiny_model))
    rows = step_rows(RECORDS[1:3], tokenizer, None)
    marked = [[label for label in row["labels"] if label != IGNORED] for row in rows]
    assert marked == [[1, 0, 0], [0]]
    newline = tokenizer(text="\n", add_special_tokens=False)["input_ids"][-1]
    for row in rows:
        places = [place for place, label in enumerate(row["labels"]) if label != IGNORED]
        assert [row["input_ids"][place] for place in places] == [newline] * len(places)
    batch = StepCollator(7)(list(rows))
    short = len(rows[1]["input_ids"])
    assert batch["input_ids"][1, short:].unique().tolist() == [7]
    assert batch["labels"][1, short:].unique().tolist() == [IGNORED]
    assert batch["attention_mask"].sum(1).tolist() == [len(row["input_ids"]) for row in rows]


def test_solutions_that_are_too_long_are_left_out_and_none_left_is_an_error(tiny_model: str) -> None:
    tokenizer = load_tokenizer(resolve_model(tiny_model))
    longest = max(len(row["input_ids"]) for row in step_rows(RECORDS, tokenizer, None))
    assert len(step_rows(RECORDS, tokenizer, longest)) == len(RECORDS)
    assert len(step_rows(RECORDS, tokenizer, longest - 1)) == len(RECORDS) - 1
    with pytest.raises(DataError, match="every solution is longer than max_length=3"):
        step_rows(RECORDS, tokenizer, 3)


class KeepsGradients(TrainerCallback):
    """Copies every gradient just before the optimizer uses it."""

    def __init__(self) -> None:
        self.kept: list[torch.Tensor] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.kept = [p.grad.clone() for p in model.parameters() if p.grad is not None]


def gradients(folder: str, tmp_path: Path, size: int, accumulate: int) -> list[torch.Tensor]:
    """Gradients of one optimizer step over all records."""
    source = resolve_model(folder)
    tokenizer = load_tokenizer(source)
    torch.manual_seed(0)
    model = load_step_classifier(source, tokenizer)
    settings = {
        "max_steps": 1,
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": accumulate,
        "max_grad_norm": 0.0,
        "save_strategy": "no",
    }
    args = trl_arguments(
        "RewardConfig", settings, checkpoints=tmp_path, seed=0, hardware=Hardware("cpu", bf16=False, threads=1)
    )
    keeper = KeepsGradients()
    trainer = ProcessReward(model, args, step_rows(RECORDS, tokenizer, None), tokenizer, [keeper])
    trainer.train()
    assert "step_accuracy" in trainer.state.log_history[0]
    return keeper.kept


@pytest.mark.parametrize(("size", "accumulate"), [(1, 4), (2, 2)])
def test_steps_weigh_alike_however_the_batch_is_split_and_padded(
    tiny_model: str, tmp_path: Path, size: int, accumulate: int
) -> None:
    whole = gradients(tiny_model, tmp_path / "whole", 4, 1)
    parts = gradients(tiny_model, tmp_path / "parts", size, accumulate)
    assert any(gradient.abs().max() > 1e-4 for gradient in whole)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
