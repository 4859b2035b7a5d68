"""One optimizer step has one gradient, however its batch is cut into micro-batches: 1 x 8 = 2 x 4 = 4 x 2.

Every method of the registry is planned and built as its verb builds it, and so is every loss that a trainer takes by name or in
the slot `loss`. Rows are ragged, so that a mean over the tokens of a micro-batch is not that of the step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from fed_trainers import save_llama
from torch import Tensor
from transformers import TrainerCallback

from rlllm.algorithms.preference.settings import CPOLossSettings, TPOLossSettings
from rlllm.algorithms.registry import METHODS, SLOTS
from rlllm.core.events import NullProgress
from rlllm.core.hardware import Hardware
from rlllm.core.records import Conversation, LabelledCompletion, PreferencePair, PromptTask, StepwiseSolution
from rlllm.core.runs import Run
from rlllm.policies.loading import load_tokenizer
from rlllm.training.flow import Job
from rlllm.training.registry import plan_run, trainer_of
from rlllm.training.rl_settings import RLSettings
from rlllm.training.trainers import dpo, kto
from rlllm.training.trainers.iterative import IterativeSettings

ROWS = 8
SPLITS = ((8, 1), (4, 2), (2, 4))
"""Rows of a micro-batch, and micro-batches of a step."""
AGREE = 1e-5
"""Largest difference, as a share of the largest gradient."""
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
ENGINE = r'''
"""An engine that answers with completions written beforehand, of one to six words, and a reward that tells them apart."""

from rlllm.plugins import Engine

WORDS = "one two three four five six seven eight nine ten".split()


class Written(Engine):
    def generate(self, prompts, sampling):
        prompts, seen, rows = [tuple(prompt) for prompt in prompts], {}, []
        for prompt in prompts:
            place = seen[prompt] = seen.get(prompt, -1) + 1
            start = sum(prompt) % 7 + 3 * place + (5 if sampling.temperature == 0 else 0)
            words = [WORDS[(start + step) % 10] for step in range(1 + start % 6)]
            text = " ".join(words) + f" \\boxed{{{int(place > 0)}}}"
            rows.append(self.tokenizer(text, add_special_tokens=False)["input_ids"] + [self.tokenizer.eos_token_id])
        return rows


def worth(sample):
    return sample.completion.count("e") / 7 + len(sample.completion) / 40


def length(sample):
    return len(sample.completion) / 30
'''


def _words(seed: int, most: int = 12) -> str:
    """One to `most` words."""
    return " ".join(WORDS[(seed * 7 + step * step) % 10] for step in range(1 + seed * 5 % most))


def _row(record: type, index: int) -> dict[str, Any]:
    """A row of a data file, from which a trainer reads its records."""
    prompt = f"{_words(index, 5)} {index}?"
    if record is PreferencePair:
        texts = {name: _words(index + place) for place, name in enumerate(("chosen", "rejected", "reference"), start=1)}
        return {"prompt": prompt, **texts}
    if record is LabelledCompletion:
        return {"prompt": prompt, "completion": _words(index + 1), "label": index % 3 != 0}
    if record is Conversation:
        return {"prompt": prompt, "completion": _words(index + 1)}
    if record is StepwiseSolution:
        steps = [_words(index + step, 6) for step in range(1 + index % 4)]
        return {
            "prompt": prompt,
            "completions": steps,
            "labels": [(index + step) % 3 != 0 for step in range(len(steps))],
        }
    assert record is PromptTask
    return {"prompt": prompt, "answer": "1", "solution": f"{_words(index + 1)} \\boxed{{1}}"}


@dataclass(frozen=True)
class Case:
    """One loss: a method with settings.

    Args:
        method: its name.
        trainer: TRL settings.
        settings: further settings of the verb.
    """

    method: str
    trainer: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


LOSSES: dict[str, Sequence[str]] = {
    "sft": ("nll", "dft"),
    "dpo": dpo.LOSSES,
    "kto": kto.LOSSES,
    "cpo": CPOLossSettings.losses,
    "tpo": TPOLossSettings.losses,
}
"""Trainer -> what it takes as `loss_type`; a method of the trainer's name is trained with it."""
_TEXT: dict[str, Any] = {"positions": {"min_entropy": 0}, "against": []}
"""All positions of a text are alike, and looked for nowhere."""
NEEDED: dict[str, dict[str, Any]] = {
    "constrained": {
        "rewards": ["CODE:worth", {"name": "CODE:length", "weight": 0}],
        "advantage": {"name": "lagrange", "cost": "length", "bound": 0.5},
    },
    **{name: {**_TEXT, "rewards": ["next-token", "CODE:worth"]} for name in ("rpt", "rlp")},
    "plain": _TEXT,
}
"""Settings without which a method cannot run."""
DEPENDS = {
    "aot-unpaired": "sorts the log-ratios of a micro-batch",
    "kto": "estimates the KL from the mismatched completions of a micro-batch",
    "bnpo": "is the mean over the tokens of a micro-batch",
    "loss bnpo": "the same, with a KL term",
    "entropy-80-20": "chooses tokens by their rank in a micro-batch",
    "kl-cov": "chooses tokens by their rank in a micro-batch",
    "loss kl-cov": "the same, with a KL term",
}
"""Case -> why its gradient depends on the size of micro-batches by definition; docs/methods/differences.md says so, too."""


def _cases() -> dict[str, Case]:
    """Every method that ships, every loss of a trainer that none of them presets, every loss of the slot with a KL term."""
    cases = {name: Case(name) for name in METHODS.builtins if not _in_child_runs(name)}
    methods = [METHODS.load(name) for name in METHODS.builtins]
    preset = {(method.trainer, str(loss)) for method in methods for loss in _losses(method)}
    for trainer, losses in LOSSES.items():
        cases |= {
            f"{trainer} {loss}": Case(trainer, {"loss_type": [loss] if trainer == "dpo" else loss})
            for loss in losses
            if (trainer, loss) not in preset
        }
    losses = sorted(name.removeprefix("loss.") for name in SLOTS.builtins if name.startswith("loss."))
    for loss in losses:
        method = "luffy" if loss == "luffy" else "grpo"
        cases[f"loss {loss}"] = Case(method, {"beta": 0.1}, {"loss": loss})
    return cases


def _losses(method: Any) -> list[str]:
    """What a method presets as `loss_type`; the trainer's default loss has its name, or is `sigmoid` or `nll`."""
    given = method.settings.get("loss_type", [method.trainer, "sigmoid", "nll"])
    return given if isinstance(given, list) else [given]


def _in_child_runs(name: str) -> bool:
    """Whether a method trains by runs of `dpo` on pairs that it makes, which are tested as such."""
    method = METHODS.load(name)
    return issubclass(trainer_of(method).settings[method.stages[0]], IterativeSettings)


CASES = _cases()


class _Gradients(TrainerCallback):
    """Copies the gradient of every optimizer step, of the policy and of the critic."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.critic: Any = None

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        named = model.named_parameters()
        self.steps.append({name: values.grad.clone() for name, values in named if values.grad is not None})
        if (
            self.critic is not None
        ):  # it took its step before; Adam's first moment is a tenth of the gradient and no more
            states = self.critic.optimizer.state.values()
            self.steps[-1] |= {f"critic {place}": state["exp_avg"].clone() for place, state in enumerate(states)}


def gradients(case: Case, model: str, folder: Path, size: int, accumulated: int) -> list[dict[str, Tensor]]:
    """The gradients of each step of a case, parameter by parameter. A loop takes two steps on one rollout."""
    folder.mkdir()
    code = folder / "written.py"
    code.write_text(ENGINE)
    method = METHODS.load(case.method)
    trainer, stage = trainer_of(method), method.stages[0]
    given: dict[str, Any] = {"method": case.method, "model": model}
    if stage == "pretrain":
        (folder / "text.txt").write_text(" ".join(_words(index) for index in range(300)))
        given["data"] = {"name": f"text:{folder / 'text.txt'}", "rows": ROWS, "holdout": 0}
    else:
        rows = "".join(json.dumps(_row(trainer.record, index)) + "\n" for index in range(ROWS))
        (folder / "rows.jsonl").write_text(rows)
        given["data"] = {"name": str(folder / "rows.jsonl"), "holdout": 0}
    needed = json.loads(json.dumps(NEEDED.get(case.method, {})).replace("CODE:", f"{code}:"))
    given |= {"output_dir": str(folder / "run"), **needed, **case.settings}
    steps = {"max_steps": 2, "per_device_train_batch_size": size, "gradient_accumulation_steps": accumulated}
    steps |= {"optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 1.0, "lr_scheduler_type": "constant"}
    if issubclass(trainer.settings[stage], RLSettings):
        steps["num_iterations"] = 2
        group = min(4, method.defaults.get("rollout", {}).get("group_size", 4))
        given["rollout"] = {"engine": f"{code}:Written", "max_new_tokens": 24, "group_size": group}
        given.setdefault("rewards", [method.reward or f"{code}:worth"])
    given["trainer"] = {**steps, "save_strategy": "no", **case.trainer}
    return _trained(trainer.settings[stage].checked(given))


def _trained(config: Any) -> list[dict[str, Tensor]]:
    plan = plan_run(config)
    torch.manual_seed(0)
    tokenizer = load_tokenizer(plan.source)
    hardware = Hardware("cpu", bf16=False, threads=1)
    model = plan.trainer.load(plan.source, tokenizer, hardware).double()
    kept = _Gradients()
    job = Job(plan, Run(config.output_dir), hardware, tokenizer, model, NullProgress())
    config.output_dir.mkdir()
    built = plan.trainer.build(job, [kept])
    kept.critic = getattr(built, "critic", None)
    built.train()
    return kept.steps


def largest_difference(first: list[dict[str, Tensor]], second: list[dict[str, Tensor]]) -> float:
    """Largest difference of two gradients, over the steps, as a share of a step's largest entry."""
    shares = []
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        scale = max(float(values.abs().max()) for values in one.values())
        shares.append(max(float((one[name] - other[name]).abs().max()) for name in one) / scale)
    return max(shares)


@pytest.fixture(scope="module")
def model(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights so large that values of different rows differ by more than rounding."""
    return save_llama(tmp_path_factory.mktemp("large"))


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_of_a_step_is_that_of_its_whole_batch(model: str, tmp_path: Path, name: str) -> None:
    sizes = [gradients(CASES[name], model, tmp_path / str(size), size, count) for size, count in SPLITS]
    shares = [largest_difference(sizes[0], other) for other in sizes[1:]]
    assert (max(shares) > AGREE) if name in DEPENDS else (max(shares) < AGREE)
