"""Settings that TRL's trainers refuse together, or ignore without a word, found when a run is planned.

TRL finds out when a trainer is built, with the model in memory. What only a model tells (the kind of its layers, the tokens of
its tokenizer) is still found there, before anything is measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from rlllm.core import trl_fields
from rlllm.core.errors import ConfigError, unknown
from rlllm.training.settings import LoraConfig

_F_DIVERGENCE_LOSSES = ("sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft")
_SORTING_LOSSES = ("aot", "aot_unpaired")
_SFT_LOSSES = ("nll", "dft")


def check_combinations(trl_config: str, task: str, settings: Mapping[str, Any], lora: LoraConfig | None) -> None:
    """Raise ConfigError for settings that cannot be together; UnknownNameError for a loss that SFT does not know.

    Args:
        trl_config: name of the TRL config, such as `DPOConfig`.
        task: PEFT's task type of the model.
        settings: those of TRL that differ from its defaults.
        lora: the adapters; None for full training.
    """
    if task == "CAUSAL_LM":
        _check_adapted_head(lora)
    values = {name: trl_fields.value(trl_config, settings, name) for name in trl_fields.table(trl_config)}
    rules = {"SFTConfig": _of_sft, "DPOConfig": _of_dpo, "GRPOConfig": _of_grpo}
    problems = rules.get(trl_config, _of_others)(values, lora=lora is not None)
    for given, problem, hint in chain(_of_all(values), _of_the_hub(values, settings), problems):
        raise ConfigError(problem, given=given, hint=hint)


_Problems = Iterator[tuple[str, str, str]]
"""What was given, what is wrong with it, and what to do."""


def _check_adapted_head(lora: LoraConfig | None) -> None:
    modules = lora.target_modules if lora else []
    if "lm_head" in ([modules] if isinstance(modules, str) else modules):
        raise ConfigError(
            "the output layer takes no adapter: TRL computes log-probabilities from its weight alone",
            given=f"lora.target_modules={modules}",
            hint="leave lm_head out; all-linear takes every linear layer but the head",
        )


def _of_all(values: Mapping[str, Any]) -> _Problems:
    """What transformers refuses for every trainer, or trips over in the first step."""
    if values["fp16"] and values["bf16"]:
        yield "fp16=true bf16=true", "a run computes in one number format", "bf16=true alone"
    if values["dataloader_prefetch_factor"] and not values["dataloader_num_workers"]:
        prefetch = values["dataloader_prefetch_factor"]
        yield (
            f"dataloader_prefetch_factor={prefetch}",
            "rows are fetched ahead by processes of their own, and there are none",
            "dataloader_num_workers=2 beside it, or leave it out",
        )
    words = str(values["optim_args"] or "").replace(" ", "")
    if words and not all(re.fullmatch(r"[^=]+=[^=]+", word) for word in words.split(",")):
        yield (
            f"optim_args={values['optim_args']}",
            "optim_args has pairs NAME=NUMBER",
            "optim_args='eps=1e-6,beta1=0.8'",
        )
    yield from _of_the_schedule(values)


def _to_push(values: Mapping[str, Any]) -> _Problems:
    from huggingface_hub import constants, get_token

    given = "push_to_hub=true"
    if constants.is_offline_mode():
        yield (
            given,
            "the Hub cannot be pushed to: HF_HUB_OFFLINE is set",
            "unset HF_HUB_OFFLINE, or leave push_to_hub out",
        )
    if not values["hub_token"] and not get_token():
        yield given, "the Hub cannot be pushed to without a token", "hf auth login; or HF_TOKEN in the environment"


SCHEDULE_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "linear": (),
    "cosine": ("num_cycles",),
    "cosine_with_restarts": ("num_cycles",),
    "polynomial": ("lr_end", "power"),
    "constant": (),
    "constant_with_warmup": (),
    "inverse_sqrt": ("timescale",),
    "cosine_with_min_lr": ("num_cycles", "min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"),
    "warmup_stable_decay": (
        "num_decay_steps",
        "num_stable_steps",
        "warmup_type",
        "decay_type",
        "min_lr_ratio",
        "num_cycles",
    ),
}
"""Schedule -> what `lr_scheduler_kwargs` may hold for it; transformers finds out about others in the first step."""
_NEEDED_OF_SCHEDULE: Mapping[str, tuple[str, ...]] = {
    "cosine_with_min_lr": ("min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("min_lr", "min_lr_rate"),
    "warmup_stable_decay": ("num_decay_steps",),
}
"""Schedule -> arguments of which it needs one."""


def _of_the_schedule(values: Mapping[str, Any]) -> _Problems:
    name, arguments = values["lr_scheduler_type"], values["lr_scheduler_kwargs"] or {}
    known, needed = SCHEDULE_ARGUMENTS.get(name), _NEEDED_OF_SCHEDULE.get(name, ())
    if not isinstance(arguments, Mapping):
        yield (
            f"lr_scheduler_kwargs={arguments}",
            "lr_scheduler_kwargs is a mapping",
            "lr_scheduler_kwargs={NAME: NUMBER}",
        )
    elif known is not None and (unread := sorted(map(str, arguments.keys() - set(known)))):
        yield (
            f"lr_scheduler_kwargs={dict(arguments)}",
            f"the schedule {name} takes no {unread[0]}",
            f"what it takes: {', '.join(known) or 'nothing'}",
        )
    elif needed and not arguments.keys() & set(needed):
        yield (
            f"lr_scheduler_type={name}",
            f"the schedule {name} needs {' or '.join(needed)}",
            f"lr_scheduler_kwargs={{{needed[0]}: NUMBER}}",
        )


def _of_the_hub(values: Mapping[str, Any], settings: Mapping[str, Any]) -> _Problems:
    if values.get("push_to_hub"):
        yield from _to_push(values)
    names = [name for name in settings if name.startswith("hub_") and name != "hub_token" and settings[name]]
    if names and not values.get("push_to_hub"):
        yield (
            f"{names[0]}={settings[names[0]]}",
            f"without push_to_hub=true, {names[0]} has no effect",
            "push_to_hub=true",
        )


def _of_sft(values: Mapping[str, Any], *, lora: bool) -> _Problems:
    if values["loss_type"] not in _SFT_LOSSES:
        raise unknown("loss of method sft", str(values["loss_type"]), _SFT_LOSSES)
    if values["padding_free"] and not values["packing"] and values["max_length"] is not None:
        yield (
            f"padding_free=true max_length={values['max_length']}",
            "padding_free without packing cuts no row at max_length",
            "packing=true beside it, or max_length=null",
        )


def _of_dpo(values: Mapping[str, Any], *, lora: bool) -> _Problems:
    yield from _of_others(values, lora=lora)
    losses = values["loss_type"] if isinstance(values["loss_type"], list) else [values["loss_type"]]
    given = f"loss_type={','.join(losses)}"
    weights, divergence = values["loss_weights"], values["f_divergence_type"]
    if weights is not None and len(weights) != len(losses):
        yield f"{given} loss_weights={weights}", "loss_weights has one number for each loss", f"{len(losses)} numbers"
    if divergence != "reverse_kl" and not set(losses) <= set(_F_DIVERGENCE_LOSSES):
        yield (
            f"{given} f_divergence_type={divergence}",
            "this loss has no form with another divergence than reverse_kl",
            f"losses that have one: {', '.join(_F_DIVERGENCE_LOSSES)}",
        )
    if values["use_weighting"] and set(losses) & set(_SORTING_LOSSES):
        yield (
            f"{given} use_weighting=true",
            "this loss sorts pairs, so that no pair has a weight",
            "use_weighting=false",
        )
    if "exo_pair" in losses and not values["label_smoothing"]:
        yield (
            f"{given} label_smoothing=0",
            "exo_pair needs label_smoothing above 0",
            "the paper's: label_smoothing=1e-3",
        )
    yield from _moving_base(values, lora=lora)
    if values["sync_ref_model"] and values["precompute_ref_log_probs"]:
        yield (
            "sync_ref_model=true precompute_ref_log_probs=true",
            "log-probabilities of a reference that moves cannot be computed once for all",
            "leave one out",
        )


def _moving_base(values: Mapping[str, Any], *, lora: bool) -> _Problems:
    if values["sync_ref_model"] and lora:
        yield (
            "sync_ref_model=true with lora",
            "with adapters the reference is the base model, which does not move",
            "leave sync_ref_model out, or train all weights",
        )


def _of_grpo(values: Mapping[str, Any], *, lora: bool) -> _Problems:
    yield from _moving_base(values, lora=lora)
    if values["auto_find_batch_size"]:
        yield (
            "auto_find_batch_size=true",
            "a batch that is made smaller no longer holds whole groups",
            "a smaller per_device_train_batch_size, and more gradient_accumulation_steps",
        )
    if values["log_completions_hub_repo"] and not values["log_completions"]:
        yield (
            f"log_completions_hub_repo={values['log_completions_hub_repo']}",
            "without log_completions=true nothing is uploaded",
            "log_completions=true; every completion stands in samples.jsonl, too",
        )


def _of_others(values: Mapping[str, Any], *, lora: bool) -> _Problems:
    if values.get("padding_free"):
        yield "padding_free=true", "padding_free has no effect: TRL has it in supervised training only", "leave it out"
