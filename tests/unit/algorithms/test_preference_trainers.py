"""Trainers of `algorithms/preference`: rows, batches, metrics, adapters, and nothing spent on a reference model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig

from rlllm.algorithms.checkpoints import SealedCheckpoints
from rlllm.algorithms.preference.cpo import CPOTrainer
from rlllm.algorithms.preference.orpo import ORPOTrainer
from rlllm.algorithms.preference.reference_free import scored
from rlllm.algorithms.preference.rrhf import RRHFTrainer
from rlllm.algorithms.preference.settings import CPOLossSettings, ORPOLossSettings, RRHFLossSettings, TPOLossSettings
from rlllm.algorithms.preference.tpo import TPOTrainer
from rlllm.algorithms.preference.with_reference import SealedDPOTrainer, SealedKTOTrainer

ROWS = [
    {"prompt": "one two:", "chosen": " three", "rejected": " three four five", "reference": " three four"},
    {"prompt": "six:", "chosen": " seven eight nine", "rejected": " ten", "reference": " seven"},
]
TRAINERS = [
    (CPOTrainer, CPOLossSettings()),
    (ORPOTrainer, ORPOLossSettings()),
    (RRHFTrainer, RRHFLossSettings()),
    (TPOTrainer, TPOLossSettings()),
]


@pytest.fixture
def build(tiny_model: str, tmp_path: Path) -> Callable[..., Any]:
    def call(make: type, loss: Any, rows: list[dict[str, str]] = ROWS, peft_config: Any = None, **settings: Any) -> Any:
        common = {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "gradient_checkpointing": False}
        quiet = {"report_to": "none", "disable_tqdm": True, "logging_steps": 1, "per_device_train_batch_size": 2}
        return make(
            AutoModelForCausalLM.from_pretrained(tiny_model),
            DPOConfig(**{**common, **quiet, "max_steps": 1, **settings}),
            loss=loss,
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(tiny_model),
            peft_config=peft_config,
        )

    return call


@pytest.mark.parametrize("make", [SealedDPOTrainer, SealedKTOTrainer, *(make for make, _ in TRAINERS)])
def test_checkpoints_are_sealed(make: type) -> None:
    """The mixin stands before the classes of TRL."""
    places = [place for place, base in enumerate(make.__mro__) if base.__module__.startswith("trl.")]
    assert make.__mro__.index(SealedCheckpoints) < min(places)


def batch(trainer: Any) -> dict[str, torch.Tensor]:
    trainer.model.train()
    return next(iter(trainer.get_train_dataloader()))


@pytest.mark.parametrize(("make", "loss"), TRAINERS, ids=[make.__name__ for make, _ in TRAINERS])
def test_the_model_runs_once_a_batch_and_no_second_model_is_kept(
    build: Callable[..., Any], make: type, loss: Any
) -> None:
    trainer = build(make, loss)
    calls: list[int] = []
    trainer.model.base_model.register_forward_hook(lambda *_: calls.append(1))
    trainer.compute_loss(trainer.model, batch(trainer)).backward()
    assert len(calls) == 1
    assert not isinstance(trainer.ref_model, torch.nn.Module)


@pytest.mark.parametrize(("make", "loss"), TRAINERS, ids=[make.__name__ for make, _ in TRAINERS])
def test_adapters_train_and_the_loss_is_that_without_them_at_first(
    build: Callable[..., Any], make: type, loss: Any
) -> None:
    from peft import LoraConfig

    plain = build(make, loss)
    adapted = build(make, loss, peft_config=LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    rows = batch(plain)
    first = adapted.compute_loss(adapted.model, rows)
    torch.testing.assert_close(first, plain.compute_loss(plain.model, rows))
    first.backward()
    gradients = [values.grad for name, values in adapted.model.named_parameters() if "lora_B" in name]
    assert all(values is not None and values.abs().sum() > 0 for values in gradients)


def test_whole_logits_and_trls_fused_output_layer_agree(build: Callable[..., Any]) -> None:
    """The first is for CPUs, the second for other devices."""
    trainer = build(CPOTrainer, CPOLossSettings())
    rows = batch(trainer)
    labels = rows["input_ids"].masked_fill(rows["completion_mask"] == 0, -100)
    arguments = {"input_ids": rows["input_ids"], "attention_mask": rows["attention_mask"], "labels": labels}
    mask, found = labels[:, 1:] != -100, []
    for outputs in (scored(trainer.model, arguments), trainer.model(**arguments, fused_lm_head=True)):
        trainer.model.zero_grad()
        outputs.log_probs.sum().backward()
        gradients = {name: values.grad for name, values in trainer.model.named_parameters()}
        logged = [getattr(outputs, name)[mask] for name in ("entropy", "mean_logits", "is_top1")]
        found.append([outputs.log_probs, *logged, gradients])
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)


def test_outputs_on_request_leave_the_loss_as_it_is(build: Callable[..., Any]) -> None:
    trainer = build(CPOTrainer, CPOLossSettings())
    rows = batch(trainer)
    loss, outputs = trainer.compute_loss(trainer.model, rows, return_outputs=True)
    assert torch.equal(loss, trainer.compute_loss(trainer.model, rows))
    assert outputs.logits.shape[:2] == rows["input_ids"].shape


@pytest.mark.parametrize(("loss", "per_token"), [(CPOLossSettings(), False), (CPOLossSettings("simpo"), True)])
def test_logged_rewards_are_what_the_loss_compares(
    build: Callable[..., Any], loss: CPOLossSettings, per_token: bool
) -> None:
    trainer = build(CPOTrainer, loss, beta=0.5)
    rows = batch(trainer)
    trainer.compute_loss(trainer.model, rows)
    with torch.no_grad():
        logits = trainer.model(rows["input_ids"], attention_mask=rows["attention_mask"]).logits[:, :-1]
    mask = rows["completion_mask"][:, 1:]
    logps = (logits.log_softmax(-1).gather(-1, rows["input_ids"][:, 1:, None])[..., 0] * mask).sum(-1)
    logps = logps / mask.sum(-1) if per_token else logps
    logged = trainer._metrics["train"]
    assert logged["logps/chosen"] == [pytest.approx(logps[:2].mean().item(), rel=1e-5)]
    assert logged["rewards/rejected"] == [pytest.approx(0.5 * logps[2:].mean().item(), rel=1e-5)]


def test_a_triple_is_three_rows_of_one_length_and_all_its_tokens_are_counted(build: Callable[..., Any]) -> None:
    trainer = build(TPOTrainer, TPOLossSettings(), train_sampling_strategy="sequential")
    rows = batch(trainer)
    ids, mask = rows["input_ids"], rows["completion_mask"] == 1
    texts = [trainer.processing_class.decode(row[marks]) for row, marks in zip(ids, mask, strict=True)]
    end = trainer.processing_class.eos_token
    assert texts == [row[name] + end for name in ("chosen", "rejected", "reference") for row in ROWS]
    trainer.compute_loss(trainer.model, rows)
    assert trainer._metrics["train"]["num_tokens"] == [rows["attention_mask"].sum().item()]


def test_a_weight_of_0_leaves_the_gold_completion_unread(build: Callable[..., Any]) -> None:
    rows = [{name: text for name, text in row.items() if name != "reference"} for row in ROWS]
    trainer = build(TPOTrainer, TPOLossSettings(tpo_alpha=0.0), rows)
    assert len(batch(trainer)["input_ids"]) == 4
    assert torch.isfinite(trainer.compute_loss(trainer.model, batch(trainer)))


def test_a_triple_whose_prompt_fills_max_length_is_left_out(build: Callable[..., Any]) -> None:
    trainer = build(TPOTrainer, TPOLossSettings(), [*ROWS, {**ROWS[0], "prompt": "one " * 40}], max_length=32)
    assert len(trainer.train_dataset) == 2
    assert max(map(len, batch(trainer)["input_ids"])) <= 32


def test_completions_of_a_triple_start_after_the_same_tokens(build: Callable[..., Any]) -> None:
    """A gold completion whose first letters merge with the end of the prompt shortens the prompt of all three."""
    from rlllm.algorithms.preference.tpo import _with_one_prompt

    row = {"prompt_ids": [1, 2, 3], "chosen_ids": [4], "rejected_ids": [5, 6], "reference_ids": [7, 8]}
    assert _with_one_prompt({**row, "gold_prompt_ids": [1, 2]}) == {
        "prompt_ids": [1, 2],
        "chosen_ids": [3, 4],
        "rejected_ids": [3, 5, 6],
        "reference_ids": [7, 8],
    }
    assert _with_one_prompt({**row, "prompt_ids": [1], "gold_prompt_ids": [1, 2]})["reference_ids"] == [2, 7, 8]
