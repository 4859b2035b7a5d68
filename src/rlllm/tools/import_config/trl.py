"""TRL's own configs, as `trl sft --config FILE` reads them (ScriptArguments, ModelConfig and the trainer's config in one file).

Such a file does not say which command it is for. The command is taken from keys that only one of them has, or from the file's
name; otherwise it has to be given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
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
    TEMPLATE,
    Draft,
    Rule,
    Source,
    items,
    left,
    mapping,
    refuse_launcher,
    refused,
    revision,
    text_length,
    to,
    unless,
)
from rlllm.tools.import_config.trl_rewards import put_rewards

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
_FOLDERS = {**{command: command for command in _COMMANDS}, "cpt": "sft"}
"""Folders of published recipes that say which command their files are for."""


def draft(config: Mapping[str, Any], stage: str | None, path: Path) -> Draft:
    """The recipe of a TRL config, also of open-r1 and of the alignment handbook, whose scripts add a few settings.

    Raises:
        ConfigError: its command cannot be determined, or it asks for a way of training that rlllm lacks.
    """
    refuse_launcher(config)
    command = _command(config, stage, path)
    verb, method = _COMMANDS[command]
    recipe = Draft("trl", verb, method)
    rest = _peft(recipe, config)
    _data(recipe, rest)
    put_rewards(recipe, rest)
    recipe.read(rest if rest.get("use_vllm") else _without_vllm(rest), _RULES)
    if command == "sft" and not {"completion_only_loss", "assistant_only_loss"} & config.keys():
        reason = "TRL learns prompts too where rows are messages or text; the recipe learns answers: completion_only_loss=false"
        recipe.leave("completion_only_loss", None, reason)
    _check_groups(recipe)
    recipe.write_trl_defaults("RLOOConfig" if command == "rloo" else recipe.trainer.trl_config)
    return recipe


def _check_groups(recipe: Draft) -> None:
    """Raise ConfigError for a rollout that only several processes together can cut into whole groups."""
    trainer, group = recipe.values.get("trainer", {}), recipe.values.get("rollout", {}).get("group_size")
    size = trainer.get("per_device_train_batch_size")
    pieces = trainer.get("steps_per_generation") or trainer.get("gradient_accumulation_steps", 1)
    if isinstance(group, int) and isinstance(size, int) and group > 0 and size * pieces % group:
        raise ConfigError(
            f"the config is for several processes: {size * pieces} completions cannot be cut into groups of {group}",
            given=f"per_device_train_batch_size={size}, {pieces} batches a rollout",
            hint="write the batches of one process",
        )


def _command(config: Mapping[str, Any], stage: str | None, path: Path) -> str:
    hint = f"say which: --stage {'|'.join(_COMMANDS)}"
    if stage is not None:
        if stage not in _COMMANDS:
            raise ConfigError(f"trl has no command {stage} that rlllm can take over", given=stage, exists=_COMMANDS)
        return stage
    commands = [command for command, keys in _TELLING.items() if keys & config.keys()]
    if len(commands) != 1:
        words = re.split(r"[^a-z]+", path.stem.lower())
        commands = [command for command in _COMMANDS if command in words and (not commands or command in commands)]
    if len(commands) != 1:
        commands = [_FOLDERS[part] for part in path.absolute().parent.parts[-1:] if part in _FOLDERS]
    if len(commands) != 1:
        raise ConfigError("a TRL config does not say which command it is for", given=path.name, hint=hint)
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


_PLACES = {"path": "name", "id": "name", "name": "subset", "config": "subset", "split": "split", "revision": "revision"}
"""Settings of one data set of `datasets` or `dataset_mixture` to those of `data`."""


def _data(recipe: Draft, config: dict[str, Any]) -> None:
    """The data sets, in TRL's three ways and in the two of the alignment handbook. Takes their keys out of the config."""
    mixture = mapping(config.pop("dataset_mixture", None) or {}, "dataset_mixture")
    mixer = mapping(config.pop("dataset_mixer", None) or {}, "dataset_mixer")
    listed = config.pop("datasets", None)
    column = config.pop("dataset_prompt_column", None)
    if mixer:
        sources = _mixer(recipe, mixer, config)
    elif listed or mixture:
        key = "datasets" if listed else "dataset_mixture"
        entries = listed if listed else mixture.pop("datasets", [])
        sources = [_source(recipe, key, mapping(entry, key)) for entry in items(entries, key)]
    else:
        sources = [_named(config)] if config.get("dataset_name") else []
    for key in ("dataset_name", "dataset_config", "dataset_train_split"):
        if (value := config.pop(key, None)) is not None and (mixer or listed or mixture):
            recipe.leave(key, value, "the config names its data sets otherwise, too: dataset_name is not read")
    if column is not None and sources:
        sources[0].settings["columns"] = {"prompt": column}
    if sources:
        recipe.put_sources(sources, mixture.pop("seed", 0) if mixture else None)
    for key, value in mixture.items():
        if key == "test_split_size":
            recipe.put_holdout(f"dataset_mixture.{key}", value)
        elif key != "seed":
            recipe.leave(f"dataset_mixture.{key}", value, "the alignment handbook has no such setting")


def _named(config: Mapping[str, Any]) -> Source:
    places = {"dataset_name": "name", "dataset_config": "subset", "dataset_train_split": "split"}
    return Source({place: config[key] for key, place in places.items() if config.get(key) is not None})


def _source(recipe: Draft, key: str, entry: dict[str, Any]) -> Source:
    """One data set of a list. `fraction` (TRL) and `weight` (the alignment handbook) are a share of its rows."""
    share = entry.pop("fraction", None) if key == "datasets" else entry.pop("weight", None)
    files, columns = entry.pop("data_files", None), entry.pop("columns", None)
    settings = {_PLACES[name]: entry.pop(name) for name in list(entry) if name in _PLACES and entry[name] is not None}
    if "name" not in settings:
        raise ConfigError("a data set has no path", given=repr(entry)[:120])
    if isinstance(files, str):
        settings = {"name": files}
    elif files is not None:
        recipe.leave(f"{key}.data_files", files, "one file or folder is read: name it in data.name")
    if columns:
        settings["columns"] = recipe.fitting_columns({name: name for name in columns if name in _ROW_FIELDS})
        for name in columns:
            if name not in _ROW_FIELDS:
                recipe.leave(
                    f"{key}.columns", name, "the other columns of a row are kept, and nothing is trained on them"
                )
    if not settings.get("columns", True):
        del settings["columns"]
    for name, item in entry.items():
        if item is not None:
            recipe.leave(f"{key}.{name}", item, "a data set is read whole, by its name, subset and split")
    if share is not None and not isinstance(share, int | float):
        raise ConfigError("the share of a data set is a number", given=f"{key}: {share}")
    return Source(settings, fraction=share)


_ROW_FIELDS = ("prompt", "completion", "messages", "text", "chosen", "rejected", "label")


def _mixer(recipe: Draft, mixer: Mapping[str, Any], config: dict[str, Any]) -> list[Source]:
    """`dataset_mixer`: data sets with the share of their rows; `dataset_splits` and `dataset_configs` go with it."""
    splits = [str(split) for split in config.pop("dataset_splits", None) or ["train"]]
    subsets = config.pop("dataset_configs", None) or [None] * len(mixer)
    for split in splits:
        if "train" not in split:
            recipe.leave("dataset_splits", split, "held-out rows come from the training rows: data.holdout=N")
    train = [split for split in splits if "train" in split]
    return [
        Source({"name": name, **({"subset": subset} if subset else {}), "split": split}, fraction=share)
        for (name, share), subset in zip(mixer.items(), subsets, strict=False)
        for split in train
    ]


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


def _padding_free(recipe: Draft, key: str, value: Any) -> None:
    """Batches without padding change what fits into memory, and nothing that is learned."""
    if not value or recipe.trainer.trl_config == "SFTConfig":
        recipe.put_trl(key, value)
    else:
        recipe.leave(key, value, "TRL has batches without padding in supervised training only")


BEST = "the best model is that of the run's own measure: data.holdout=256 eval.every=50 eval.keep=best"
_VLLM = left("settings of TRL's own vLLM; those of rlllm's engines are under rollout.serving")


def _without_vllm(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without settings that TRL reads with `use_vllm` alone."""
    return {key: value for key, value in config.items() if not key.startswith("vllm_")}


def _use_vllm(recipe: Draft, key: str, value: Any) -> None:
    """vLLM in the process that trains, where it can run; a server's address is in other settings."""
    if value and "engine" not in recipe.values.get("rollout", {}):
        recipe.put("rollout.engine", "auto")


def _vllm_mode(recipe: Draft, key: str, value: Any) -> None:
    if value == "server":
        recipe.put("rollout.engine", "vllm-server")
        recipe.values["rollout"].setdefault("servers", ["http://localhost:8000"])


def _vllm_server(recipe: Draft, key: str, value: Any) -> None:
    recipe.put("rollout.engine", "vllm-server")
    recipe.put("rollout.servers", [str(value)])


def _vllm_memory(recipe: Draft, key: str, value: Any) -> None:
    recipe.put("rollout.serving.memory", value)


def _vllm_length(recipe: Draft, key: str, value: Any) -> None:
    recipe.put("rollout.serving.max_length", value)


SHARED: dict[str, Rule] = {
    "output_dir": to("output_dir"),
    "seed": to("seed"),
    "warmup_ratio": _ratio,
    "warmup_steps": _steps,
    "loss_type": _losses,
    "scale_rewards": _boolean_scale,
    "max_completion_length": _completion_length,
    "padding_free": _padding_free,
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
    "load_best_model_at_end": unless(False, BEST),
    "metric_for_best_model": left(BEST),
    "greater_is_better": left(BEST),
    "wandb_project": left(SHELL),
    "wandb_entity": left(SHELL),
    **{f"trackio_{name}": left(SHELL) for name in ("space_id", "project_name", "run_name")},
    "hub_private_repo": left("push the run's model folder yourself"),
    "hub_always_push": left("push the run's model folder yourself"),
    "hub_token": left(SHELL),
    "use_vllm": _use_vllm,
    "vllm_mode": _vllm_mode,
    "vllm_server_base_url": _vllm_server,
    "vllm_server_host": left("the server's address is written whole: rollout.servers=http://HOST:PORT"),
    "vllm_server_port": left("the server's address is written whole: rollout.servers=http://HOST:PORT"),
    "vllm_gpu_memory_utilization": _vllm_memory,
    "vllm_max_model_length": _vllm_length,
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
            "server_timeout",
            "tensor_parallel_size",
            "enable_sleep_mode",
            "device",
            "max_model_len",
            "model_impl",
            "importance_sampling_correction",
            "importance_sampling_cap",
        )
    },
}
"""What transformers' and TRL's arguments become, whichever tool passes them on."""

FILTERING = "filtering of a data set by pass rates, no training"
FILTER_HINT = "rlllm reason --method pass-band trains on prompts of middling pass rates"
_HUB = "push the run's model folder yourself"
_CODE = "programs run in rlllm's own sandbox"


def system_prompt(draft: Draft, key: str, value: Any) -> None:
    """A system prompt for every row."""
    draft.put("data.system_prompt", value)


_RULES: dict[str, Rule] = {
    **SHARED,
    "model_name_or_path": to("model"),
    "model_revision": revision,
    "dtype": unless("auto", BY_HARDWARE),
    "torch_dtype": unless("auto", BY_HARDWARE),
    "attn_implementation": left(ATTENTION),
    "trust_remote_code": unless(False, "code of a repository runs where model.trust_remote_code names it"),
    "load_in_4bit": unless(False, QUANTISED),
    "load_in_8bit": unless(False, QUANTISED),
    "bnb_4bit_quant_type": left(QUANTISED),
    "use_bnb_nested_quant": unless(False, QUANTISED),
    "use_dora": unless(False, "adapters are plain LoRA"),
    "use_rslora": unless(False, "adapters are plain LoRA: the scale is lora.alpha / lora.r"),
    "lora_modules_to_save": left("adapters are trained alone"),
    "lora_task_type": left("follows from the verb"),
    "dataset_test_split": left("held-out rows come from the training rows: data.holdout=N"),
    "dataset_streaming": unless(False, "rows are read before training; a Hub data set can be streamed: data.streaming"),
    "test_split_size": lambda draft, key, value: draft.put_holdout(key, value),
    "streaming": unless(False, "rows are read before training; a Hub data set can be streamed: data.streaming"),
    "max_seq_length": text_length,
    "chat_template": left(TEMPLATE),
    "system_prompt": system_prompt,
    "dataset_kwargs": left("rows are tokenised by rlllm, once with the marks of the template"),
    "remove_unused_columns": left("rlllm makes the columns that the trainer reads"),
    "use_peft": unless(False, "set lora"),
    "callbacks": left("callbacks of open-r1 are not those of rlllm"),
    "benchmarks": left("measure the run afterwards: rlllm eval"),
    "pass_rate_min": refused(FILTERING, 0, hint=FILTER_HINT),
    "pass_rate_max": refused(FILTERING, 1, hint=FILTER_HINT),
    "hub_model_revision": left(_HUB),
    "push_to_hub_revision": left(_HUB),
    "overwrite_hub_revision": left(_HUB),
    "code_provider": left(_CODE),
    "e2b_router_url": left(_CODE),
    "morph_router_url": left(_CODE),
    "parallel_code_exec_per_proc": left(_CODE),
    "wandb_run_group": left(SHELL),
    "wandb_log_unique_prompts": left(SHELL),
    "env": left(SHELL),
    "num_processes": left(LAUNCHER),
    "num_machines": left(LAUNCHER),
    "accelerate_config": left(LAUNCHER),
    "config_file": left(LAUNCHER),
    "ignore_bias_buffers": unless(False, LAUNCHER),
    "normalize_advantages": unless(False, "the method rloo takes advantages as they are"),
}
"""Key to what becomes of it; every other field of the trainer's config keeps its name."""
