"""The losses of `algorithms/preference` beside the trainers of TRL's experimental part that they were taken over from.

TRL drops experimental trainers without notice; a trainer that the installed TRL lacks is skipped here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig

from rlllm.algorithms.preference.cpo import CPOTrainer
from rlllm.algorithms.preference.orpo import ORPOTrainer
from rlllm.algorithms.preference.reference_free import ReferenceFreeTrainer
from rlllm.algorithms.preference.rrhf import RRHFTrainer
from rlllm.algorithms.preference.settings import (
    CPOLossSettings,
    LossSettings,
    ORPOLossSettings,
    RRHFLossSettings,
    TPOLossSettings,
)
from rlllm.algorithms.preference.tpo import TPOTrainer

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
CASES: dict[str, tuple[str, type[ReferenceFreeTrainer], LossSettings, dict[str, Any]]] = {
    "cpo": ("CPO", CPOTrainer, CPOLossSettings(), {"beta": 0.3, "label_smoothing": 0.1}),
    "cpo-hinge": ("CPO", CPOTrainer, CPOLossSettings("hinge", cpo_alpha=0.0), {"beta": 0.3}),
    "cpo-ipo": ("CPO", CPOTrainer, CPOLossSettings("ipo", cpo_alpha=0.5), {"beta": 0.3}),
    "simpo": ("CPO", CPOTrainer, CPOLossSettings("simpo", cpo_alpha=0.0, simpo_gamma=1.0), {"beta": 2.0}),
    "cpo-simpo": ("CPO", CPOTrainer, CPOLossSettings("simpo", simpo_gamma=1.0), {"beta": 2.0, "label_smoothing": 0.1}),
    "alphapo": ("CPO", CPOTrainer, CPOLossSettings("alphapo", alpha=0.25), {"beta": 0.5}),
    "rrhf": ("CPO", RRHFTrainer, RRHFLossSettings(cpo_alpha=0.7), {}),
    "orpo": ("ORPO", ORPOTrainer, ORPOLossSettings(), {"beta": 0.3}),
    "tpo": ("TPO", TPOTrainer, TPOLossSettings(), {"beta": 0.3, "label_smoothing": 0.1}),
    "tpo-pairs": ("TPO", TPOTrainer, TPOLossSettings(tpo_alpha=0.0), {"beta": 0.3}),
    "tpo-ipo": ("TPO", TPOTrainer, TPOLossSettings("ipo", tpo_alpha=0.5), {"beta": 0.3}),
    "tpo-l": ("TPO", TPOTrainer, TPOLossSettings("tpo-l", tpo_l_gamma=0.7), {"beta": 2.0}),
}
EQUAL = ("cpo-hinge", "simpo", "tpo-pairs")
"""Losses without imitation. TRL makes that term of the logits once more, by another kernel, whose last bits differ."""
WHOLE = {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 1}
"""A batch of one part. Of several, TRL adds up their mean imitation terms, where ours is the mean over the step's tokens."""


@pytest.fixture
def rows() -> Dataset:
    """Twelve triples of 1 to 20 words."""
    draw = random.Random(0)

    def text(longest: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, longest)))

    names = ("chosen", "rejected", "reference")
    return Dataset.from_list([{"prompt": text(8) + ":", **{name: text(20) for name in names}} for _ in range(12)])


@pytest.fixture
def trained(tiny_model: str, tmp_path: Path, rows: Dataset) -> Callable[..., Any]:
    """Four steps of six rows, by default in two batches, on a fresh model with larger weights than it was made with."""

    def call(make: type, config: type, options: dict[str, Any], **settings: Any) -> Any:
        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        model = AutoModelForCausalLM.from_pretrained(tiny_model)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.5)
        common = {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "gradient_checkpointing": False}
        steps = {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2, "max_steps": 4}
        steps |= {"optim": "sgd", "learning_rate": 0.05, "max_grad_norm": 1e9}  # a step is the gradient itself
        quiet = {"report_to": "none", "disable_tqdm": True, "logging_steps": 1, "save_strategy": "no"}
        args = config(**{**common, **steps, **quiet, **settings})
        trainer = make(model=model, args=args, train_dataset=rows, processing_class=tokenizer, **options)
        trainer.train()
        return trainer

    return call


def theirs(trained: Callable[..., Any], case: str) -> Any:
    """TRL's experimental trainer of a case, after its steps."""
    name, _, loss, settings = CASES[case]
    module = f"trl.experimental.{name.lower()}"
    if find_spec(module) is None:
        pytest.skip(f"the installed TRL has no {module}")
    make, config = (getattr(import_module(module), name + part) for part in ("Trainer", "Config"))
    own = asdict(loss)
    if case == "rrhf":
        own |= {"loss_type": "simpo"}
        make = type("Ranking", (_Ranking, make), {})
    return trained(make, config, {}, **_batch(case), **settings, **own)


class _Ranking:
    """RRHF's ranking term in the place of CPO's contrast."""

    def cpo_loss(self, policy_chosen_logps: Any, policy_rejected_logps: Any) -> tuple[Any, Any, Any]:
        losses = (policy_rejected_logps - policy_chosen_logps).relu()
        return losses, policy_chosen_logps.detach(), policy_rejected_logps.detach()


def ours(trained: Callable[..., Any], case: str) -> Any:
    """The trainer of `algorithms/preference` of a case, after its steps."""
    _, make, loss, settings = CASES[case]
    return trained(make, DPOConfig, {"loss": loss}, **_batch(case), **settings)


def _batch(case: str) -> dict[str, int]:
    """Two micro-batches of three rows, or one of six for a loss with imitation."""
    return {} if case in EQUAL else WHOLE


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    return trainer.model.state_dict()


@pytest.mark.parametrize("case", CASES)
def test_losses_gradients_and_weights_are_those_of_trls_trainer(trained: Callable[..., Any], case: str) -> None:
    theirs_, ours_ = theirs(trained, case), ours(trained, case)
    for old, new in zip(theirs_.state.log_history[:-1], ours_.state.log_history[:-1], strict=True):
        for name in ("loss", "grad_norm", "rewards/accuracies", "logps/chosen", "logps/rejected"):
            assert new[name] == pytest.approx(old[name], rel=2e-6, abs=1e-6), name
    for name, values in weights(theirs_).items():
        torch.testing.assert_close(weights(ours_)[name], values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", EQUAL)
def test_without_imitation_the_weights_are_equal_to_the_last_bit(trained: Callable[..., Any], case: str) -> None:
    theirs_, ours_ = weights(theirs(trained, case)), weights(ours(trained, case))
    assert all(torch.equal(ours_[name], values) for name, values in theirs_.items())
