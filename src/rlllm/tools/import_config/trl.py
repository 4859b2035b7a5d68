"""TRL's own configs, as `trl sft --config FILE` reads them (ScriptArguments, ModelConfig and the trainer's config in one file).

Such a file does not say which command it is for. The command is taken from keys that only one of them has, or from the file's
name; otherwise it has to be given.
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
    "grpo": {"reward_funcs", "num_generations", "scale_rewards", "epsilon_high"},
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
        ConfigError: its command cannot be determined, or names several data sets.
    """
    command = _command(config, stage, name)
    verb, method = _COMMANDS[command]
    recipe = Draft("trl", verb, method)
    recipe.read(_peft(recipe, config), _RULES)
    recipe.write_trl_defaults("RLOOConfig" if command == "rloo" else recipe.trainer.trl_config)
    return recipe


def _command(config: Mapping[str, Any], stage: str | None, name: str) -> str:
    hint = f"say which: --stage {'|'.join(_COMMANDS)}"
    if stage is not None:
        if stage not in _COMMANDS:
            raise ConfigError(f"trl has no command {stage} that rlllm can take over", given=stage, exists=_COMMANDS)
        return stage
    commands = [command for command, keys in _TELLING.items() if keys & config.keys()]
    if len(commands) != 1:
        words = re.split(r"[^a-z]+", name.lower())
        commands = [command for command in _COMMANDS if command in words and (not commands or command in commands)]
    if len(commands) != 1:
        raise ConfigError("a TRL config does not say which command it is for", given=name, hint=hint)
    return commands[0]


_LORA = {
    "lora_r": ("r", 16),
    "lora_alpha": ("alpha", 32),
    "lora_dropout": ("dropout", 0.05),
    "lora_target_modules": ("target_modules", "all-linear"),
}
"""ModelConfig's fields, rlllm's names, and TRL's defaults."""


def _peft(recipe: Draft, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without its adapter settings, which count only under `use_peft`."""
    rest = {key: value for key, value in config.items() if key not in _LORA and key != "use_peft"}
    if config.get("use_peft"):
        for key, (name, default) in _LORA.items():
            value = config.get(key, default)
            is_default = isinstance(value, list) and value == ["all-linear"]
            recipe.put(f"lora.{name}", "all-linear" if is_default or value is None else value)
        return rest
    for key in _LORA:
        if config.get(key) is not None:
            recipe.leave(key, config[key], "adapters are off: use_peft is not set")
    return rest


def _data_sets(recipe: Draft, key: str, value: Any) -> None:
    data_set = mapping(one_data_set(value if isinstance(value, list) else [value], key), key)
    path, files = data_set.pop("path", None), data_set.pop("data_files", None)
    if not path:
        raise ConfigError("a data set has no path", given=repr(data_set)[:120])
    name_or_file = files if isinstance(files, str) else path
    recipe.put("data.name", name_or_file)
    if files is not None and not isinstance(files, str):
        recipe.leave("datasets.data_files", files, "one file or folder is read: name it in data.name")
    for name, place in (("name", "subset"), ("split", "split")):
        item = data_set.pop(name, None)
        if item is not None and name_or_file == path:
            recipe.put(f"data.{place}", item)
    for name, item in data_set.items():
        if item is not None:
            recipe.leave(f"datasets.{name}", item, "a recipe reads one data set, all of its columns")


def _rewards(recipe: Draft, key: str, value: Any) -> None:
    for name in value if isinstance(value, list) else [value]:
        if isinstance(name, str) and name in REWARDS:
            recipe.values.setdefault("rewards", []).append({"name": REWARDS[name]})
        else:
            recipe.leave(
                key,
                name,
                "a reward of rlllm takes one sample and returns a score: wrap it, then --reward file.py:function",
            )


def _weights(recipe: Draft, key: str, value: Any) -> None:
    rewards = recipe.values.get("rewards", [])
    if not isinstance(value, list) or len(value) != len(rewards):
        recipe.leave(key, value, "each reward has its weight: rewards: [{name: math, weight: 0.5}]")
        return
    for reward, weight in zip(rewards, value, strict=True):
        reward["weight"] = weight


def _reward_model(recipe: Draft, key: str, value: Any) -> None:
    recipe.values.setdefault("rewards", []).append({"name": "model", "path": value})


def _losses(recipe: Draft, key: str, value: Any) -> None:
    """DPO takes a list of losses, the others one word."""
    in_list = recipe.trainer.trl_config == "DPOConfig" and isinstance(value, str)
    recipe.put_trl(key, [value] if in_list else value)


def _ratio(recipe: Draft, key: str, value: Any) -> None:
    """A share of all steps is given where steps are: TRL reads a number below 1 so."""
    if not isinstance(value, int | float):
        recipe.leave(key, value, "no number")
    elif recipe.values.get("trainer", {}).get("warmup_steps"):
        recipe.leave(key, value, "warmup_steps is given, which wins")
    else:
        recipe.put_trl("warmup_steps", float(value), key)


def _steps(recipe: Draft, key: str, value: Any) -> None:
    """Zero steps leave the warm-up to `warmup_ratio`."""
    if value or "warmup_steps" not in recipe.values.get("trainer", {}):
        recipe.put_trl(key, value)


def _generate_only(recipe: Draft, key: str, value: Any) -> None:
    """Settings of sampling that only the engine `hf` reads."""
    recipe.put_trl(key, value)
    recipe.put("rollout.engine", "hf")


def _boolean_scale(recipe: Draft, key: str, value: Any) -> None:
    """Older versions took true and false."""
    recipe.put_trl(key, {True: "group", False: "none"}.get(value, value) if isinstance(value, bool) else value)


def _completion_length(recipe: Draft, key: str, value: Any) -> None:
    """Where completions are sampled it is their limit. TRL's CPO and ORPO read it of encoder-decoder models only."""
    if recipe.trainer.samples:
        recipe.put_trl(key, value)
    else:
        recipe.leave(key, value, "prompt and completion are cut together: max_length")


_VLLM = left("rollouts are sampled by rlllm's own engines: rollout.engine")

SHARED: dict[str, Rule] = {
    "output_dir": to("output_dir"),
    "seed": to("seed"),
    "warmup_ratio": _ratio,
    "warmup_steps": _steps,
    "loss_type": _losses,
    "scale_rewards": _boolean_scale,
    "max_completion_length": _completion_length,
    "generate_during_eval": unless(False, NO_EVAL),
    "is_encoder_decoder": unless(False, "models are causal language models"),
    "padding_value": left("the tokenizer's padding token is used"),
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

_RULES: dict[str, Rule] = {
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
    "normalize_advantages": unless(False, "the method rloo takes advantages as they are"),
}
"""Key to what becomes of it; every other field of the trainer's config keeps its name."""
