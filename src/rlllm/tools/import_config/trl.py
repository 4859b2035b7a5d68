"""TRL's own configs: what `trl sft --config FILE` reads (ScriptArguments, ModelConfig and the trainer's config in one file).

Such a file does not say which command it is for. The command is taken from keys that only one of them has, or from the
file's name; otherwise it has to be given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.tools.import_config.draft import (
    ATTENTION,
    BY_HARDWARE,
    LAUNCHER,
    NO_EVAL,
    PROMPT_LENGTH,
    QUANTISED,
    SHELL,
    Draft,
    Rule,
    left,
    mapping,
    one_data_set,
    to,
    unless,
)

_COMMANDS = {
    "sft": ("sft", "sft"),
    "reward": ("train-rm", "bt"),
    "dpo": ("align", "dpo"),
    "kto": ("align", "kto"),
    "cpo": ("align", "cpo"),
    "orpo": ("align", "orpo"),
    "tpo": ("align", "tpo"),
    "grpo": ("reason", "grpo"),
    "rloo": ("reason", "rloo"),
}
"""TRL's commands and example scripts to verb and method."""
_TELLING = {
    "grpo": {"reward_funcs", "num_generations", "scale_rewards", "epsilon_high", "max_completion_length"},
    "kto": {"desirable_weight", "undesirable_weight"},
    "dpo": {"precompute_ref_log_probs", "f_divergence_type", "discopop_tau", "ld_alpha", "loss_weights"},
    "reward": {"center_rewards_coefficient"},
    "cpo": {"cpo_alpha", "simpo_gamma"},
    "tpo": {"tpo_alpha", "tpo_l_gamma"},
    "sft": {"packing", "completion_only_loss", "assistant_only_loss", "dataset_text_field", "packing_strategy"},
}
"""Command to settings that no other has."""
REWARDS = {"accuracy_reward": "math", "trl.rewards.accuracy_reward": "math"}
"""Reward functions that ship with TRL, and what compares answers the same way (math-verify)."""


def draft(config: Mapping[str, Any], stage: str | None, name: str) -> Draft:
    """The recipe of a TRL config.

    Raises:
        ConfigError: it does not tell which command it is for, or names several data sets.
    """
    verb, method = _COMMANDS[_command(config, stage, name)]
    made = Draft("trl", verb, method)
    made.read(_peft(made, config), RULES)
    return made


def _command(config: Mapping[str, Any], stage: str | None, name: str) -> str:
    hint = f"say which: --stage {'|'.join(_COMMANDS)}"
    if stage is not None:
        if stage not in _COMMANDS:
            raise ConfigError(f"trl has no command {stage} that rlllm can take over", given=stage, exists=_COMMANDS)
        return stage
    found = [command for command, keys in _TELLING.items() if keys & config.keys()]
    if len(found) != 1:
        words = re.split(r"[^a-z]+", name.lower())
        found = [command for command in _COMMANDS if command in words and (not found or command in found)]
    if len(found) != 1:
        raise ConfigError("a TRL config does not say which command it is for", given=name, hint=hint)
    return found[0]


_LORA = {
    "lora_r": ("r", 16),
    "lora_alpha": ("alpha", 32),
    "lora_dropout": ("dropout", 0.05),
    "lora_target_modules": ("target_modules", "all-linear"),
}
"""ModelConfig's fields, rlllm's names, and TRL's defaults."""


def _peft(made: Draft, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without its adapter settings, which count only under `use_peft`."""
    rest = {key: value for key, value in config.items() if key not in _LORA and key != "use_peft"}
    if config.get("use_peft"):
        for key, (name, default) in _LORA.items():
            value = config.get(key, default)
            one = isinstance(value, list) and value == ["all-linear"]
            made.put(f"lora.{name}", "all-linear" if one or value is None else value)
        return rest
    for key in _LORA:
        if config.get(key) is not None:
            made.leave(key, config[key], "adapters are off: use_peft is not set")
    return rest


def _data_sets(made: Draft, key: str, value: Any) -> None:
    chosen = mapping(one_data_set(value if isinstance(value, list) else [value], key), key)
    path, files = chosen.pop("path", None), chosen.pop("data_files", None)
    if not path:
        raise ConfigError("a data set has no path", given=repr(chosen)[:120])
    named = files if isinstance(files, str) else path
    made.put("data.name", named)
    if files is not None and not isinstance(files, str):
        made.leave("datasets.data_files", files, "one file or folder is read: name it in data.name")
    for name, place in (("name", "subset"), ("split", "split")):
        item = chosen.pop(name, None)
        if item is not None and named == path:
            made.put(f"data.{place}", item)
    for name, item in chosen.items():
        if item is not None:
            made.leave(f"datasets.{name}", item, "a recipe reads one data set, all of its columns")


def _rewards(made: Draft, key: str, value: Any) -> None:
    for name in value if isinstance(value, list) else [value]:
        if isinstance(name, str) and name in REWARDS:
            made.values.setdefault("rewards", []).append({"name": REWARDS[name]})
        else:
            made.leave(
                key,
                name,
                "a reward of rlllm takes one sample and returns a score: wrap it, then --reward file.py:function",
            )


def _weights(made: Draft, key: str, value: Any) -> None:
    rewards = made.values.get("rewards", [])
    if not isinstance(value, list) or len(value) != len(rewards):
        made.leave(key, value, "each reward has its weight: rewards: [{name: math, weight: 0.5}]")
        return
    for reward, weight in zip(rewards, value, strict=True):
        reward["weight"] = weight


def _reward_model(made: Draft, key: str, value: Any) -> None:
    made.values.setdefault("rewards", []).append({"name": "model", "path": value})


def _losses(made: Draft, key: str, value: Any) -> None:
    """DPO takes a list of losses, the others one word."""
    in_list = made.trainer.trl_config == "DPOConfig" and isinstance(value, str)
    made.put_trl(key, [value] if in_list else value)


def _ratio(made: Draft, key: str, value: Any) -> None:
    """A share of all steps is given where steps are: TRL reads a number below 1 so."""
    if not isinstance(value, int | float):
        made.leave(key, value, "no number")
    elif made.values.get("trainer", {}).get("warmup_steps"):
        made.leave(key, value, "warmup_steps is given, which wins")
    else:
        made.put_trl("warmup_steps", float(value), key)


def _steps(made: Draft, key: str, value: Any) -> None:
    """Zero steps leave the warm-up to `warmup_ratio`."""
    if value or "warmup_steps" not in made.values.get("trainer", {}):
        made.put_trl(key, value)


def _generate_only(made: Draft, key: str, value: Any) -> None:
    """Settings of sampling that only the engine `hf` reads."""
    made.put_trl(key, value)
    made.put("rollout.engine", "hf")


def _boolean_scale(made: Draft, key: str, value: Any) -> None:
    """Older versions took true and false."""
    made.put_trl(key, {True: "group", False: "none"}.get(value, value) if isinstance(value, bool) else value)


_VLLM = left("rollouts are sampled by rlllm's own engines: rollout.engine")

SHARED: dict[str, Rule] = {
    "output_dir": to("output_dir"),
    "seed": to("seed"),
    "warmup_ratio": _ratio,
    "warmup_steps": _steps,
    "loss_type": _losses,
    "scale_rewards": _boolean_scale,
    "min_p": _generate_only,
    "repetition_penalty": _generate_only,
    "generation_kwargs": _generate_only,
    "resume_from_checkpoint": left("resume with --resume"),
    "overwrite_output_dir": left("replace a run with --overwrite"),
    "eval_strategy": unless("no", NO_EVAL),
    "eval_steps": left(NO_EVAL),
    "per_device_eval_batch_size": left(NO_EVAL),
    "do_train": unless(True, "a recipe trains"),
    "do_eval": left(NO_EVAL),
    "load_best_model_at_end": unless(False, NO_EVAL),
    "use_vllm": unless(False, "rollouts are sampled by rlllm's own engines: rollout.engine"),
    "max_prompt_length": left(PROMPT_LENGTH),
    "deepspeed": left(LAUNCHER),
    "fsdp": left(LAUNCHER),
    "fsdp_config": left(LAUNCHER),
    "push_to_hub": unless(False, "push the run's model folder yourself"),
    "hub_model_id": left("push the run's model folder yourself"),
    "hub_strategy": left("push the run's model folder yourself"),
    "logging_dir": left("everything is logged into the run directory"),
    **{
        f"vllm_{name}": _VLLM
        for name in (
            "mode",
            "server_host",
            "server_port",
            "server_base_url",
            "server_timeout",
            "gpu_memory_utilization",
            "tensor_parallel_size",
            "max_model_length",
            "enable_sleep_mode",
            "model_impl",
            "importance_sampling_correction",
            "importance_sampling_cap",
        )
    },
}
"""What transformers' and TRL's arguments become, whichever tool passes them on."""

RULES: dict[str, Rule] = {
    **SHARED,
    "model_name_or_path": to("model"),
    "model_revision": unless("main", "the model's default revision is read"),
    "dtype": unless("auto", BY_HARDWARE),
    "torch_dtype": unless("auto", BY_HARDWARE),
    "attn_implementation": left(ATTENTION),
    "trust_remote_code": unless(False, "code from model repositories is never run"),
    "load_in_4bit": unless(False, QUANTISED),
    "load_in_8bit": unless(False, QUANTISED),
    "bnb_4bit_quant_type": left(QUANTISED),
    "use_bnb_nested_quant": unless(False, QUANTISED),
    "use_dora": unless(False, "adapters are plain LoRA"),
    "use_rslora": unless(False, "adapters are plain LoRA: the scale is lora.alpha / lora.r"),
    "lora_modules_to_save": left("adapters are trained alone"),
    "lora_task_type": left("follows from the verb"),
    "dataset_name": to("data.name"),
    "dataset_config": to("data.subset"),
    "dataset_train_split": to("data.split"),
    "dataset_test_split": left("held-out rows come from the training rows: data.holdout=N"),
    "dataset_streaming": unless(False, "rows are read before training; a Hub data set can be streamed: data.streaming"),
    "test_split_size": left("held out is a number of rows: data.holdout=N"),
    "streaming": unless(False, "rows are read before training; a Hub data set can be streamed: data.streaming"),
    "datasets": _data_sets,
    "reward_funcs": _rewards,
    "reward_weights": _weights,
    "reward_model_name_or_path": _reward_model,
    "env": left(SHELL),
    "num_processes": left(LAUNCHER),
    "num_machines": left(LAUNCHER),
    "accelerate_config": left(LAUNCHER),
    "config_file": left(LAUNCHER),
    "ignore_bias_buffers": unless(False, LAUNCHER),
}
"""Key to what becomes of it; every other field of the trainer's config keeps its name."""
