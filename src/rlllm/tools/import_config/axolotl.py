"""Axolotl's YAML, as `axolotl train FILE` reads it.

Its batch size is `micro_batch_size`, its length `sequence_len`, its method `rl` (or `reward_model`), and the settings of GRPO
are in a section `trl`. The columns of a data set follow from its `type`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlllm.core.errors import ConfigError, unknown
from rlllm.tools.import_config.draft import (
    ATTENTION,
    BY_HARDWARE,
    LAUNCHER,
    NO_EVAL,
    QUANTISED,
    TEMPLATE,
    Draft,
    Rule,
    as_trl,
    left,
    mapping,
    one_data_set,
    text_length,
    to,
    unless,
)
from rlllm.tools.import_config.trl import SHARED

_DEFAULTS = {
    "num_epochs": 1,
    "micro_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "sequence_len": 512,
    "lr_scheduler": "cosine",
}
"""Axolotl's defaults where TRL has others."""
_METHODS = {
    "sft": ("sft", "sft"),
    "dpo": ("align", "dpo"),
    "ipo": ("align", "ipo"),
    "kto": ("align", "kto"),
    "orpo": ("align", "orpo"),
    "simpo": ("align", "simpo"),
    "grpo": ("reason", "grpo"),
}
"""`rl` to verb and method; `sft` is our word for a config without `rl`."""
_FIELDS = {
    "field_messages": "messages",
    "field_prompt": "prompt",
    "field_chosen": "chosen",
    "field_rejected": "rejected",
    "field_completion": "completion",
    "field_label": "label",
    "field_output": "completion",
    "field_instruction": "prompt",
    "field": "text",
}
"""Keys of a data set that name columns to record fields; instruction and input are joined."""
_TYPES: dict[str, dict[str, str]] = {
    "alpaca": {"prompt": "instruction+input", "completion": "output"},
    "chat_template": {"messages": "messages"},
    "sharegpt": {"messages": "conversations"},
    "completion": {"text": "text"},
    "chatml.intel": {"prompt": "question", "chosen": "chosen", "rejected": "rejected"},
    "llama3.intel": {"prompt": "question", "chosen": "chosen", "rejected": "rejected"},
    "chatml.ultra": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    "llama3.ultra": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    "chatml.prompt_pairs": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    "llama3.prompt_pairs": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    "chat_template.default": {"prompt": "messages", "chosen": "chosen.content", "rejected": "rejected.content"},
    "chat_template.argilla": {"chosen": "chosen", "rejected": "rejected"},
}
"""Type of a data set to the columns it means; other types are left to be recognised."""


def draft(config: Mapping[str, Any], stage: str | None) -> Draft:
    """The recipe of an Axolotl config.

    Raises:
        ConfigError: a way of training that rlllm lacks, or several data sets.
    """
    verb, method = _method(config, stage)
    recipe = Draft("axolotl", verb, method)
    rest = {**_DEFAULTS, **{key: value for key, value in config.items() if value is not None}}
    for key in ("rl", "reward_model", "process_reward_model"):
        rest.pop(key, None)
    _adapters(recipe, rest)
    _data(recipe, rest)
    section = mapping(rest.pop("trl", {}), "trl")
    recipe.read(rest, _RULES)
    recipe.read(section, _TRL_SECTION)
    if method == "grpo":
        recipe.write_trl_defaults(recipe.trainer.trl_config)
    return recipe


def _method(config: Mapping[str, Any], stage: str | None) -> tuple[str, str]:
    if config.get("process_reward_model"):
        return "train-rm", "process"
    if config.get("reward_model"):
        return "train-rm", "bt"
    name = str(stage or config.get("rl") or "sft")
    if name not in _METHODS:
        raise unknown("method of Axolotl that rlllm has", name, _METHODS)
    return _METHODS[name]


def _adapters(recipe: Draft, config: dict[str, Any]) -> None:
    kind = str(config.pop("adapter", None) or "")
    keys = ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target_linear")
    lora_settings = {key: config.pop(key, None) for key in keys}
    if not kind:
        for key, value in lora_settings.items():
            if value is not None:
                recipe.leave(key, value, "adapters are off: adapter is not set")
        return
    if kind not in ("lora", "qlora"):
        raise ConfigError("an adapter that rlllm does not have", given=f"adapter={kind}", exists=["lora", "qlora"])
    if kind == "qlora":
        recipe.leave("adapter", kind, f"the recipe trains LoRA on the whole model: {QUANTISED}")
    for name in ("r", "alpha", "dropout"):
        if lora_settings[f"lora_{name}"] is not None:
            recipe.put(f"lora.{name}", lora_settings[f"lora_{name}"])
    modules = None if lora_settings["lora_target_linear"] else lora_settings["lora_target_modules"]
    recipe.put("lora.target_modules", modules or "all-linear")


def _data(recipe: Draft, config: dict[str, Any]) -> None:
    names = config.pop("datasets", [])
    data_set = mapping(one_data_set(names if isinstance(names, list) else [names], "datasets"), "datasets")
    path, files = data_set.pop("path", None), data_set.pop("data_files", None)
    one_file = files[0] if isinstance(files, list) and len(files) == 1 else files
    if not path:
        raise ConfigError("a data set has no path", given=repr(data_set)[:120])
    if one_file is not None and not isinstance(one_file, str):
        raise ConfigError("a recipe reads one file, or one folder", given=f"data_files={files}")
    recipe.put("data.name", one_file or path)
    kind = data_set.pop("type", "")
    recipe.columns(_columns(recipe, kind, data_set))
    for key, value in data_set.items():
        rule = _DATA_KEYS.get(key)
        if value is None or (rule is not None and one_file is not None and key in ("name", "split")):
            continue
        (rule or left("rows are read whole, under the tokenizer's own template"))(recipe, f"datasets.{key}", value)


_DATA_KEYS: dict[str, Rule] = {
    "name": lambda draft, key, value: draft.put("data.subset", value),
    "split": lambda draft, key, value: draft.put("data.split", value),
    "revision": lambda draft, key, value: draft.put("data.revision", value),
    "ds_type": left("the file's suffix says what it is"),
    "chat_template": left(TEMPLATE),
}


def _columns(recipe: Draft, kind: Any, settings: dict[str, Any]) -> dict[str, str]:
    """Record field -> column, from the name of a type, or from a type that spells its fields out."""
    spelled_out = mapping(kind, "type") if isinstance(kind, Mapping) else {}
    all_settings = {**settings, **spelled_out}
    columns_of_type = _TYPES.get(kind) if isinstance(kind, str) else None
    mapped = dict(columns_of_type or {})
    if kind and not spelled_out and columns_of_type is None:
        recipe.leave("datasets.type", kind, "the columns are recognised, or named in data.columns")
    for key, target in _FIELDS.items():
        if isinstance(all_settings.get(key), str):
            for name_to_replace in [name for name in mapped if name in _ALTERNATIVES.get(target, ())]:
                del mapped[name_to_replace]
            nested = mapped.get(target, "").partition(".")[2]
            mapped[target] = f"{all_settings[key]}.{nested}" if nested else all_settings[key]
    if isinstance(all_settings.get("field_input"), str) and "prompt" in mapped and "field_instruction" in all_settings:
        mapped["prompt"] = f"{mapped['prompt']}+{all_settings['field_input']}"
    for key in [*_FIELDS, "field_input"]:
        settings.pop(key, None)
    for key, value in spelled_out.items():
        if key not in _FIELDS and key != "field_input":
            recipe.leave(f"datasets.type.{key}", value, "the tokenizer's own chat template lays out the text")
    return mapped


_ALTERNATIVES = {"messages": ("prompt", "text"), "prompt": ("messages", "text")}
"""Fields that a named column takes the place of."""


def _holdout(draft: Draft, key: str, value: Any) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        draft.put("data.holdout", value)
    elif value:
        draft.leave(key, value, "held out is a number of rows: data.holdout=N")


def _beta(draft: Draft, key: str, value: Any) -> None:
    draft.put_trl("beta", value, key)


def _prompts(draft: Draft, key: str, value: Any) -> None:
    if value:
        draft.put_trl("completion_only_loss", False, key)


def _format(name: str) -> Rule:
    """bf16 and fp16: `auto` is what rlllm does."""

    def rule(draft: Draft, key: str, value: Any) -> None:
        if isinstance(value, bool):
            draft.put_trl(name, value, key)
        elif value not in ("auto", "full"):
            draft.leave(key, value, BY_HARDWARE)

    return rule


def _rewards(draft: Draft, key: str, value: Any) -> None:
    for name in value if isinstance(value, list) else [value]:
        draft.leave(
            f"trl.{key}",
            name,
            "a reward of rlllm takes one sample and returns a score: wrap it, then --reward file.py:function",
        )


_SAVES = left("give save_steps: checkpoints are counted in steps")
_WANDB = left("give report_to=wandb, and set the rest in the shell")
_SPEED = left("how fast is the hardware's and transformers' business")

_RULES: dict[str, Rule] = {
    **SHARED,
    "base_model": to("model"),
    "num_labels": left("a reward model gives one score"),
    "model_type": left("the model's config says what it is"),
    "tokenizer_type": left("the model's tokenizer is used"),
    "tokenizer_config": left("the model's tokenizer is used"),
    "trust_remote_code": unless(False, "code from model repositories is never run"),
    "load_in_8bit": unless(False, QUANTISED),
    "load_in_4bit": unless(False, QUANTISED),
    "strict": unless(False, "every key of a recipe is checked"),
    "lora_model_dir": left("merge the adapter into the model first: an adapter is no model here"),
    "lora_modules_to_save": left("adapters are trained alone"),
    "lora_fan_in_fan_out": left("follows from the model"),
    "peft_use_dora": unless(False, "adapters are plain LoRA"),
    "peft_use_rslora": unless(False, "adapters are plain LoRA: the scale is lora.alpha / lora.r"),
    "chat_template": left(TEMPLATE),
    "chat_template_jinja": left(TEMPLATE),
    "special_tokens": left("the tokenizer's own marks are used; see eos_token and pad_token"),
    "tokens": left("the vocabulary is the model's"),
    "test_datasets": left(NO_EVAL),
    "val_set_size": _holdout,
    "dataset_prepared_path": left("tokenised rows are cached by their content"),
    "dataset_processes": as_trl("dataset_num_proc"),
    "shuffle_merged_datasets": left("rows are shuffled by the trainer, from the seed"),
    "sequence_len": text_length,
    "sample_packing": as_trl("packing"),
    "eval_sample_packing": left(NO_EVAL),
    "pad_to_sequence_len": left("batches are padded to their longest row"),
    "train_on_inputs": _prompts,
    "group_by_length": left("rows keep the trainer's order"),
    "micro_batch_size": as_trl("per_device_train_batch_size"),
    "eval_batch_size": left(NO_EVAL),
    "num_epochs": as_trl("num_train_epochs"),
    "optimizer": as_trl("optim"),
    "lr_scheduler": as_trl("lr_scheduler_type"),
    "bf16": _format("bf16"),
    "fp16": _format("fp16"),
    "tf32": _format("tf32"),
    "flash_attention": unless(False, ATTENTION),
    "sdp_attention": unless(False, ATTENTION),
    "xformers_attention": unless(False, ATTENTION),
    "attn_implementation": left(ATTENTION),
    "liger_kernel": as_trl("use_liger_kernel"),
    "plugins": left("plugins of Axolotl are not those of rlllm"),
    "evals_per_epoch": left(NO_EVAL),
    "eval_table_size": left(NO_EVAL),
    "early_stopping_patience": left(NO_EVAL),
    "saves_per_epoch": _SAVES,
    "wandb_project": _WANDB,
    "wandb_entity": _WANDB,
    "wandb_watch": _WANDB,
    "wandb_name": _WANDB,
    "wandb_log_model": _WANDB,
    "wandb_run_id": _WANDB,
    "fsdp_version": left(LAUNCHER),
    "ddp": left(LAUNCHER),
    "unfrozen_parameters": left("all weights are trained, or adapters"),
    "rl_beta": _beta,
    "dpo_beta": _beta,
    "orpo_alpha": _beta,
    "beta": _beta,
    "dpo_label_smoothing": as_trl("label_smoothing"),
    "dpo_use_weighting": as_trl("use_weighting"),
    "kto_desirable_weight": as_trl("desirable_weight"),
    "kto_undesirable_weight": as_trl("undesirable_weight"),
    "rpo_alpha": left("TRL has no such term any more: loss_type=[sigmoid, sft] with loss_weights"),
    "torch_compile": _SPEED,
    "lora_mlp_kernel": _SPEED,
    "lora_qkv_kernel": _SPEED,
    "lora_o_kernel": _SPEED,
    "gradient_checkpointing_kwargs": as_trl("gradient_checkpointing_kwargs"),
}
"""Key to what becomes of it; what transformers takes under the same name keeps it."""
_TRL_SECTION: dict[str, Rule] = {
    **SHARED,
    "reward_funcs": _rewards,
    "reward_weights": left("each reward has its weight: rewards: [{name: math, weight: 0.5}]"),
}
"""Keys of the section `trl`; the others are TRL's fields under their own names."""
