"""Defaults by the size of the model: one table, the sources of its numbers, and what of it holds for a run.

A row holds for one kind of trainer (`Trainer.size_defaults`) and one range of parameter counts. Its numbers lie over TRL's
defaults, and under the method's settings and those that are given. `defaults: trl` leaves the table out.
docs/reference/size-defaults.md is generated from `TABLE`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlllm.core import trl_fields
from rlllm.core.records import prompt_text
from rlllm.policies.model_sources import ModelSource

if TYPE_CHECKING:
    from rlllm.algorithms.methods.base import Method
    from rlllm.training.settings import TrainingConfig

PAGE = "docs/reference/size-defaults.md"
LORA_FACTOR = 10
"""Learning rate of adapters over that of full training (Schulman et al. 2025, LoRA Without Regret; in TRL's docs)."""
_M, _B = 10**6, 10**9
_TOGETHER = (
    {"max_steps", "num_train_epochs", "max_tokens"},
    {"lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"},
    {
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "steps_per_generation",
        "generation_batch_size",
        "auto_find_batch_size",
    },
)
"""Settings that mean something only together: where one of them is given, the table sets none of them."""
ROLLOUT_NAMES = {"group_size": "num_generations", "max_new_tokens": "max_completion_length"}
"""Settings of a rollout that the table has, to TRL's names."""
_WARM = 10
"""Steps below which a run has no warm-up: the learning rate of its first step would be 0."""
_TEMPLATE = 32
"""Tokens that a chat template may add to a prompt: the text alone is counted."""
_LONGEST = 200
"""Prompts, the longest by characters, whose tokens are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRow:
    """One row of the table.

    Args:
        kind: of trainers, as in `Trainer.size_defaults`.
        at_least: parameters from which the row holds.
        below: parameters below which it holds; None has no end.
        learning_rate: peak learning rate of full training; adapters take `LORA_FACTOR` times as much unless `lora_rate` says.
        lora_rate: peak learning rate of adapters, where it was measured.
        schedule: TRL's `lr_scheduler_type`.
        warmup: share of the steps in which the learning rate rises.
        batch: rows, or completions in the loop, of one optimizer step over all processes.
        micro: rows of one forward and backward pass of a process.
        epochs: passes over the data; None where `steps` is set.
        steps: optimizer steps; None where `epochs` is set.
        max_length: tokens of a recorded row; None leaves TRL's.
        group_size: completions of a prompt, in the loop.
        max_new_tokens: tokens of a completion, in the loop.
        sources: where the numbers are from.
    """

    kind: str
    at_least: int
    below: int | None
    learning_rate: float
    lora_rate: float | None = None
    schedule: str
    warmup: float
    batch: int
    micro: int
    epochs: float | None = None
    steps: int | None = None
    max_length: int | None = None
    group_size: int | None = None
    max_new_tokens: int | None = None
    sources: tuple[str, ...]

    @property
    def range_text(self) -> str:
        """The range of parameter counts in words."""
        if self.at_least == 0:
            return f"under {_short(self.below or 0)}"
        return f"{_short(self.at_least)} to {_short(self.below)}" if self.below else f"{_short(self.at_least)} and more"

    def rate(self, lora: bool) -> float:
        """The learning rate of full training, or of adapters."""
        if not lora:
            return self.learning_rate
        return self.lora_rate or float(f"{self.learning_rate * LORA_FACTOR:.6g}")


_OWN_RUNS = "own short runs on nano (docs/concepts/defaults.md)"
_SMOLLM2 = "SmolLM2 135M and 360M (huggingface/alignment-handbook, recipes/smollm2)"
_SMOLTULU = "SmolTulu (Alrashed 2024, arXiv 2412.08347)"
_ZEPHYR = "Zephyr 7B (huggingface/alignment-handbook, recipes/zephyr-7b-beta)"
_TULU = "Tulu 3 (Lambert et al. 2024, arXiv 2411.15124)"
_LLAMA2 = "Llama 2 (Touvron et al. 2023, arXiv 2307.09288)"
_TRL = "TRL's example scripts"
_OPENRLHF = "OpenRLHF's example scripts"
_VERL = "verl's examples/grpo_trainer"
_OPEN_R1 = "Open-R1, Qwen2.5 1.5B (huggingface/open-r1, recipes)"
_DEEPSEEK_MATH = "DeepSeekMath (Shao et al. 2024, arXiv 2402.03300)"
_ORPO = "ORPO (Hong et al. 2024, arXiv 2403.07691)"

_CHOSEN = "the learning rate is a choice of ours, not measured"
_CHOSEN_BATCH = "the batch is a choice of ours, not measured"
_CHOSEN_SIZES = "for all sizes from 10M to 10B, which is a choice of ours, not measured"

TABLE = (
    SizeRow(
        kind="sft",
        at_least=0,
        below=10 * _M,
        learning_rate=1e-3,
        schedule="cosine",
        warmup=0.1,
        batch=32,
        micro=32,
        epochs=3,
        sources=(_OWN_RUNS,),
    ),
    SizeRow(
        kind="sft",
        at_least=10 * _M,
        below=_B,
        learning_rate=1e-4,
        schedule="cosine",
        warmup=0.1,
        batch=32,
        micro=8,
        epochs=2,
        sources=(
            f"{_SMOLTULU}: 9e-5 at a batch of 8",
            f"{_SMOLLM2}: 1e-3 at a batch of 128, cosine, 2 epochs",
            f"{_CHOSEN}, near the first",
        ),
    ),
    SizeRow(
        kind="sft",
        at_least=_B,
        below=10 * _B,
        learning_rate=1e-5,
        schedule="cosine",
        warmup=0.1,
        batch=128,
        micro=8,
        epochs=2,
        max_length=2048,
        sources=(
            f"{_ZEPHYR}: 2e-5 at a batch of 128, cosine, 2048 tokens",
            f"{_TULU}: 5e-6 for 8B, 2 epochs",
            f"{_CHOSEN}, between the two",
        ),
    ),
    SizeRow(
        kind="sft",
        at_least=10 * _B,
        below=None,
        learning_rate=2e-6,
        schedule="linear",
        warmup=0.03,
        batch=128,
        micro=8,
        epochs=2,
        max_length=2048,
        sources=(f"{_TULU}: 2e-6 for 70B at a batch of 128, linear, 2 epochs",),
    ),
    SizeRow(
        kind="reward model",
        at_least=0,
        below=10 * _M,
        learning_rate=1e-3,
        schedule="cosine",
        warmup=0.1,
        batch=32,
        micro=32,
        epochs=3,
        sources=(_OWN_RUNS,),
    ),
    SizeRow(
        kind="reward model",
        at_least=10 * _M,
        below=_B,
        learning_rate=1e-5,
        schedule="cosine",
        warmup=0.1,
        batch=32,
        micro=8,
        epochs=1,
        sources=(f"{_TRL}: 1e-5 for 0.5B, and 1e-4 with adapters; 1 epoch", _CHOSEN_BATCH),
    ),
    SizeRow(
        kind="reward model",
        at_least=_B,
        below=10 * _B,
        learning_rate=9e-6,
        schedule="cosine",
        warmup=0.03,
        batch=128,
        micro=8,
        epochs=1,
        max_length=2048,
        sources=(f"{_OPENRLHF}: 9e-6 for 7B at a batch of 128", f"{_LLAMA2}: 1e-5, cosine, 3 % warm-up, 1 epoch"),
    ),
    SizeRow(
        kind="reward model",
        at_least=10 * _B,
        below=None,
        learning_rate=5e-6,
        schedule="cosine",
        warmup=0.03,
        batch=128,
        micro=8,
        epochs=1,
        max_length=2048,
        sources=(f"{_LLAMA2}: 5e-6 for 70B, cosine, 3 % warm-up, 1 epoch",),
    ),
    SizeRow(
        kind="preferences",
        at_least=0,
        below=10 * _M,
        learning_rate=1e-4,
        lora_rate=3e-4,
        schedule="cosine",
        warmup=0.1,
        batch=32,
        micro=32,
        epochs=1,
        sources=(_OWN_RUNS, "with adapters DPO got worse at 1e-3 and better at 3e-4"),
    ),
    SizeRow(
        kind="preferences",
        at_least=10 * _M,
        below=_B,
        learning_rate=1e-6,
        schedule="cosine",
        warmup=0.1,
        batch=128,
        micro=8,
        epochs=2,
        sources=(f"{_SMOLLM2}: 1e-6 at a batch of 128, cosine, 10 % warm-up, 2 epochs",),
    ),
    SizeRow(
        kind="preferences",
        at_least=_B,
        below=10 * _B,
        learning_rate=5e-7,
        schedule="cosine",
        warmup=0.1,
        batch=128,
        micro=8,
        epochs=1,
        max_length=2048,
        sources=(
            f"{_ZEPHYR}: 5e-7 at a batch of 128, cosine, 10 % warm-up, 1 epoch; 5e-6 with adapters",
            f"{_TULU}: 5e-7 for 8B, 2048 tokens",
        ),
    ),
    SizeRow(
        kind="preferences",
        at_least=10 * _B,
        below=None,
        learning_rate=2e-7,
        schedule="linear",
        warmup=0.1,
        batch=128,
        micro=8,
        epochs=1,
        max_length=2048,
        sources=(f"{_TULU}: 2e-7 for 70B at a batch of 128, linear, 10 % warm-up, 1 epoch",),
    ),
    SizeRow(
        kind="preferences with imitation",
        at_least=0,
        below=10 * _M,
        learning_rate=3e-4,
        lora_rate=1e-3,
        schedule="cosine",
        warmup=0.1,
        batch=32,
        micro=32,
        epochs=1,
        sources=(_OWN_RUNS, "adapters, not measured: the factor of the row for preferences"),
    ),
    SizeRow(
        kind="preferences with imitation",
        at_least=10 * _M,
        below=10 * _B,
        learning_rate=8e-6,
        schedule="linear",
        warmup=0.1,
        batch=64,
        micro=8,
        epochs=1,
        sources=(f"{_ORPO}: 8e-6", _CHOSEN_SIZES),
    ),
    SizeRow(
        kind="preferences with imitation",
        at_least=10 * _B,
        below=None,
        learning_rate=5e-6,
        schedule="linear",
        warmup=0.1,
        batch=64,
        micro=8,
        epochs=1,
        max_length=2048,
        sources=("Zephyr 141B by ORPO (huggingface/alignment-handbook, recipes/zephyr-141b-A35b): 5e-6",),
    ),
    SizeRow(
        kind="loop",
        at_least=0,
        below=10 * _M,
        learning_rate=2e-4,
        schedule="constant",
        warmup=0.0,
        batch=128,
        micro=128,
        steps=150,
        group_size=8,
        max_new_tokens=128,
        sources=(_OWN_RUNS,),
    ),
    SizeRow(
        kind="loop",
        at_least=10 * _M,
        below=_B,
        learning_rate=5e-6,
        schedule="constant_with_warmup",
        warmup=0.03,
        batch=128,
        micro=8,
        epochs=1,
        group_size=8,
        max_new_tokens=512,
        sources=(
            f"{_OPEN_R1}: 2e-5, 1 epoch",
            f"{_SMOLTULU}: 3e-6 (PPO, 1.7B)",
            f"{_VERL}: 1e-6, 512 tokens",
            f"{_CHOSEN}, between them; so is the batch",
        ),
    ),
    SizeRow(
        kind="loop",
        at_least=_B,
        below=10 * _B,
        learning_rate=1e-6,
        schedule="constant_with_warmup",
        warmup=0.03,
        batch=256,
        micro=8,
        epochs=1,
        group_size=8,
        max_new_tokens=1024,
        sources=(
            f"{_VERL}: 1e-6 for 7B, 1024 tokens, 1,280 completions a step",
            f"{_DEEPSEEK_MATH}: 1e-6, 1024 tokens",
            _CHOSEN_BATCH,
        ),
    ),
    SizeRow(
        kind="loop",
        at_least=10 * _B,
        below=None,
        learning_rate=5e-7,
        schedule="constant_with_warmup",
        warmup=0.03,
        batch=512,
        micro=8,
        epochs=1,
        group_size=8,
        max_new_tokens=1024,
        sources=(f"{_OPENRLHF}: 5e-7 for 70B (PPO), 1024 tokens", _CHOSEN_BATCH),
    ),
)
"""Every row. Batches of larger models are smaller than in some of the sources, which train on many devices."""
KINDS = tuple(dict.fromkeys(row.kind for row in TABLE))


@dataclass(frozen=True, kw_only=True)
class SizeDefaults:
    """What of the table holds for a run.

    Args:
        row: the row; None where TRL's defaults hold instead.
        reason: why there is no row; empty where there is one.
        parameters: of the model; None where they are not known.
        lora: whether adapters are trained.
        settings: TRL settings of the row that nothing else sets.
        rollout: settings of the rollout of the row that nothing else sets, under rlllm's names.
    """

    row: SizeRow | None = None
    reason: str = ""
    parameters: int | None = None
    lora: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    rollout: Mapping[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """`settings` and `rollout` together, under TRL's names."""
        return {**self.settings, **{ROLLOUT_NAMES[name]: value for name, value in self.rollout.items()}}

    @property
    def source(self) -> str:
        """Which row, or why none, in words."""
        if self.row is None:
            return self.reason
        how = "adapters" if self.lora else "full training"
        return f"{self.row.kind}, {_short(self.parameters or 0)} parameters ({self.row.range_text}), {how}: {PAGE}"

    def to_json(self) -> dict[str, Any]:
        return {
            "row": f"{self.row.kind}, {self.row.range_text}" if self.row else None,
            "reason": self.reason or PAGE,
            "parameters": self.parameters,
            "lora": self.lora,
        }


def row_for(kind: str, parameters: int) -> SizeRow:
    """The row of a kind of trainer for a parameter count."""
    return next(
        row
        for row in TABLE
        if row.kind == kind and row.at_least <= parameters and (row.below is None or parameters < row.below)
    )


def size_defaults(
    config: TrainingConfig,
    method: Method,
    kind: str,
    trl_config: str,
    source: ModelSource,
    records: Sequence[Any],
    processes: int,
) -> SizeDefaults:
    """The defaults of the table for a run.

    Args:
        config: the settings as they were given.
        method: the preset; what it sets, the table does not.
        kind: of the trainer (`Trainer.size_defaults`); empty for a trainer without rows.
        trl_config: the TRL config that the trainer takes.
        source: the model to start from.
        records: the training rows.
        processes: training processes.
    """
    lora = config.lora is not None
    if config.defaults == "trl":
        return SizeDefaults(reason="defaults=trl", lora=lora)
    if not kind:
        return SizeDefaults(reason="the table has no rows for this trainer", lora=lora)
    parameters = source.parameter_count()
    if parameters is None:
        return SizeDefaults(reason="the size of the model is not known before it is downloaded", lora=lora)
    row = row_for(kind, parameters)
    fields = trl_fields.table(trl_config)
    given = {*config.trainer, *(name for name in ("max_tokens",) if getattr(config, name, None))}
    rollout = _rollout(row, config, method, source, records)
    groups = {"group_size": row.group_size, **_set_rollout(config, method)}
    length = row.max_length and min(row.max_length, source.context_length() or row.max_length)
    wanted = {
        "learning_rate": row.rate(lora),
        "lr_scheduler_type": row.schedule,
        "warmup_steps": row.warmup,
        **_batch(row, groups["group_size"] if row.group_size else None, len(records), processes),
        **({"num_train_epochs": float(row.epochs)} if row.epochs else {"max_steps": row.steps}),
        **({"max_length": length} if length else {}),
    }
    closed = set().union(*(names for names in _TOGETHER if names & given))
    own = {
        name: value
        for name, value in wanted.items()
        if name in fields and name not in given | closed and name not in method.settings
    }
    rollout_steps = method.settings.get("steps_per_generation")
    if rollout_steps and "gradient_accumulation_steps" in own:  # the method counts optimizer steps, TRL passes
        own["steps_per_generation"] = rollout_steps * own["gradient_accumulation_steps"]
    if _steps(trl_config, {**own, **config.trainer}, len(records), processes) < _WARM:
        own.pop("warmup_steps", None)
    return SizeDefaults(row=row, parameters=parameters, lora=lora, settings=own, rollout=rollout)


def _steps(trl_config: str, settings: Mapping[str, Any], rows: int, processes: int) -> float:
    """Optimizer steps of a run on recorded rows, about; of the loop at least so many where `max_steps` is not set."""
    names = ("max_steps", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps")
    steps, epochs, micro, passes = (trl_fields.value(trl_config, settings, name) for name in names)
    return steps if steps > 0 else epochs * math.ceil(rows / max(micro * passes * processes, 1))


def given_rollout(config: TrainingConfig) -> dict[str, Any]:
    """The settings of the rollout that were given."""
    section = getattr(config, "rollout", None)
    return section.model_dump(exclude_unset=True) if section and "rollout" in config.model_fields_set else {}


def _set_rollout(config: TrainingConfig, method: Method) -> dict[str, Any]:
    """The settings of the rollout that the method sets, or that were given."""
    return {**method.defaults.get("rollout", {}), **given_rollout(config)}


def _rollout(
    row: SizeRow, config: TrainingConfig, method: Method, source: ModelSource, records: Sequence[Any]
) -> dict[str, Any]:
    """The row's settings of the rollout that nothing else sets."""
    if row.max_new_tokens is None:
        return {}
    wanted = {"group_size": row.group_size, "max_new_tokens": row.max_new_tokens}
    own = {name: value for name, value in wanted.items() if name not in _set_rollout(config, method)}
    room = _room(source, records) if "max_new_tokens" in own else None
    return {**own, "max_new_tokens": min(row.max_new_tokens, room)} if room else own


def _room(source: ModelSource, records: Sequence[Any]) -> int | None:
    """Positions that the longest prompt leaves in the model's context; None where that is not known, or none are left."""
    context, folder = source.context_length(), source.folder
    if context is None or folder is None or not (folder / "tokenizer.json").is_file():
        return None
    from tokenizers import Tokenizer

    texts = sorted((prompt_text(record.prompt) for record in records if record.prompt), key=len)[-_LONGEST:]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    longest = max((len(encoded.ids) for encoded in tokenizer.encode_batch(texts)), default=0)
    return max(context - longest - _TEMPLATE, 0) or None


def _batch(row: SizeRow, group_size: int | None, rows: int, processes: int) -> dict[str, int]:
    """Rows of a pass and passes of a step, so that a step has about `row.batch` rows; in the loop, whole groups of completions.

    Args:
        row: with batch and micro-batch.
        group_size: completions of a prompt; None for recorded rows.
        rows: training rows. A step of the loop has no more prompts than there are.
        processes: training processes; they share the batch.
    """
    unit = group_size or 1
    batch = min(row.batch, max(rows, 1) * unit) if group_size else row.batch
    share = max(batch // processes, 1)
    micro = min(row.micro, share)
    if micro > unit:
        micro -= micro % unit
    step = unit // math.gcd(unit, micro)
    passes = max(round(share / micro / step), 1) * step
    return {"per_device_train_batch_size": micro, "gradient_accumulation_steps": passes}


def _short(count: int) -> str:
    for unit, size in (("B", _B), ("M", _M), ("k", 1000)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
