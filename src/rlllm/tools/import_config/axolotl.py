"""Axolotl's YAML, as `axolotl train FILE` reads it.

Its batch size is `micro_batch_size`, its length `sequence_len`, its method `rl` (or `reward_model`), and the settings of GRPO
are in a section `trl`. The columns of a data set follow from its `type`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlllm.core.errors import ConfigError, unknown
from rlllm.data.messages import MARKS
from rlllm.tools.import_config.draft import (
    ATTENTION,
    BY_HARDWARE,
    LAUNCHER,
    NO_EVAL,
    QUANTISED,
    SHELL,
    TEMPLATE,
    Draft,
    Rule,
    Source,
    as_trl,
    items,
    left,
    mapping,
    refuse_launcher,
    refused,
    rescaled,
    revision,
    text_length,
    to,
    unless,
)
from rlllm.tools.import_config.trl import SHARED
from rlllm.tools.import_config.trl_rewards import put_rewards

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
    "text_column": "text",
    "field_system": "system",
    "field_tools": "tools",
}
"""Keys of a data set that name columns to record fields; instruction and input are joined."""
_ALPACA = {"prompt": "instruction+input", "completion": "output"}
_TYPES: dict[str, dict[str, str]] = {
    **dict.fromkeys(("alpaca", "alpaca:chat", "alpaca:phi", "alpaca_chat.load_qa", "alpaca_w_system"), _ALPACA),
    "jeopardy": {"prompt": "question", "completion": "answer"},
    "chat_template": {"messages": "messages"},
    "sharegpt": {"messages": "conversations"},
    "completion": {"text": "text"},
    "pretrain": {"text": "text"},
    "chat_template.default": {"prompt": "messages", "chosen": "chosen.content", "rejected": "rejected.content"},
    "chat_template.argilla_chat": {"chosen": "chosen", "rejected": "rejected"},
    "chat_template.argilla": {"chosen": "chosen", "rejected": "rejected"},
    "bradley_terry.chat_template": {"prompt": "input", "chosen": "chosen", "rejected": "rejected"},
    "stepwise_supervised": {"prompt": "prompt", "steps": "completions", "labels": "labels"},
}
"""Type of a data set to the columns it means; types with a template before the dot are in `_PROMPTS`."""
_PROMPTS = {
    "intel": "question",
    "icr": "input",
    "argilla": "instruction",
    "prompt_pairs": "prompt",
    "ultra": "prompt",
}
"""Second part of the types chatml.* and llama3.* of preferences to the column of the prompt."""


def draft(config: Mapping[str, Any], stage: str | None) -> Draft:
    """The recipe of an Axolotl config.

    Raises:
        ConfigError: a way of training that rlllm lacks, or a file that is for no training.
    """
    refuse_launcher(config)
    if "base_model" not in config:
        raise ConfigError("no training: the file names no base_model", given=", ".join(config)[:120])
    verb, method = _method(config, stage)
    recipe = Draft("axolotl", verb, method)
    rest = {**_DEFAULTS, **{key: value for key, value in config.items() if value is not None}}
    if "warmup_steps" not in rest:
        rest.setdefault("warmup_ratio", 0.03)
    for key in ("rl", "reward_model", "process_reward_model"):
        rest.pop(key, None)
    _adapters(recipe, rest)
    _data(recipe, rest)
    _lowest_rate(recipe, rest)
    section = mapping(rest.pop("trl", {}), "trl")
    put_rewards(recipe, section)
    _losses(recipe, rest)
    recipe.read(rest, _RULES)
    recipe.read(section, SHARED)
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
    if config.pop("peft_use_rslora", False):
        given = lora_settings["lora_r"], lora_settings["lora_alpha"]
        lora_settings["lora_alpha"] = rescaled(*given, "peft_use_rslora")
    for name in ("r", "alpha", "dropout"):
        if lora_settings[f"lora_{name}"] is not None:
            recipe.put(f"lora.{name}", lora_settings[f"lora_{name}"])
    modules = None if lora_settings["lora_target_linear"] else lora_settings["lora_target_modules"]
    recipe.put("lora.target_modules", modules or "all-linear")


def _data(recipe: Draft, config: dict[str, Any]) -> None:
    """The data sets; several are joined and shuffled. `pretraining_dataset` is plain text, packed."""
    texts, names = config.pop("pretraining_dataset", None), config.pop("datasets", None)
    if texts and names:
        raise ConfigError("pretraining_dataset and datasets at once, and a recipe trains on one kind of rows")
    if texts:
        entries = [{"path": item} if isinstance(item, str) else item for item in items(texts, "pretraining_dataset")]
        texts = [{"type": "pretrain", **mapping(entry, "pretraining_dataset")} for entry in entries]
        config.setdefault("sample_packing", True)
    sources = [_source(recipe, mapping(entry, "datasets")) for entry in items(texts or names, "datasets")]
    recipe.put_sources(sources)


def _source(recipe: Draft, data_set: dict[str, Any]) -> Source:
    path, files = data_set.pop("path", None), data_set.pop("data_files", None)
    one_file = files[0] if isinstance(files, list) and len(files) == 1 else files
    if not path:
        raise ConfigError("a data set has no path", given=repr(data_set)[:120])
    if one_file is not None and not isinstance(one_file, str):
        raise ConfigError("a recipe reads one file, or one folder", given=f"data_files={files}")
    local = "/" not in str(path) or str(path).startswith((".", "/", "~")) or data_set.get("ds_type")
    is_file = one_file is not None or (local and str(path).endswith((".json", ".jsonl", ".csv", ".parquet", ".arrow")))
    settings: dict[str, Any] = {"name": one_file or path}
    if one_file is not None and not local:
        recipe.leave("datasets.data_files", files, f"download the file from {path}, and name it in data.name")
    kind = data_set.pop("type", "")
    if columns := recipe.fitting_columns(_columns(recipe, kind, data_set)):
        settings["columns"] = columns
    for key, value in data_set.items():
        if value is None or (is_file and key in ("name", "split")):
            continue
        if key in _PLACES:
            settings[_PLACES[key]] = value
        else:
            _DATA_KEYS.get(key, left("rows are read whole, under the tokenizer's own template"))(
                recipe, f"datasets.{key}", value
            )
    return Source(settings)


_PLACES = {"name": "subset", "split": "split", "revision": "revision"}


def _roles_to_train(draft: Draft, key: str, value: Any) -> None:
    if value != ["assistant"]:
        raise ConfigError("turns of other roles are trained on, which rlllm does not do", given=f"{key}={value}")


def _marks(draft: Draft, key: str, value: Any) -> None:
    """The key of a message that says whether its turn is learned."""
    if value not in MARKS:
        raise ConfigError(
            "whether a turn is learned stands under a name that rlllm does not read",
            given=f"{key}={value}",
            exists=MARKS,
            hint="rename the key in the messages",
        )


def _message_keys(draft: Draft, key: str, value: Any) -> None:
    """Names of a message's parts. The usual ones are recognised."""
    names = mapping(value, key)
    usual = {"role": ("role", "from"), "content": ("content", "value")}
    strange = [f"{part}: {name}" for part, name in names.items() if name not in usual.get(part, ())]
    if strange:
        draft.leave(key, ", ".join(strange), "messages are read as role and content, or from and value")


_DATA_KEYS: dict[str, Rule] = {
    "ds_type": left("the file's suffix says what it is"),
    "chat_template": left(TEMPLATE),
    "roles": left("roles are recognised by their usual names"),
    "roles_to_train": _roles_to_train,
    "train_on_eos": unless("turn", "each learned turn ends with the mark of its end"),
    "message_property_mappings": _message_keys,
    "message_field_role": unless("from", "messages are read as role and content, or from and value"),
    "message_field_content": unless("value", "messages are read as role and content, or from and value"),
    "message_field_training": _marks,
    "message_field_training_detail": refused("learning of parts of a turn"),
    "field_thinking": unless("reasoning_content", TEMPLATE),
    "template_thinking_key": unless("reasoning_content", TEMPLATE),
    "step_separator": unless("\n", "steps are joined by a line break"),
    "max_completion_length": left("a solution is cut with its prompt: max_length"),
    "train_on_last_step_only": refused("learning of the last step alone"),
}


def _columns(recipe: Draft, kind: Any, settings: dict[str, Any]) -> dict[str, str]:
    """Record field -> column, from the name of a type, or from a type that spells its fields out."""
    spelled_out = mapping(kind, "type") if isinstance(kind, Mapping) else {}
    all_settings = {**settings, **spelled_out}
    mapped = dict(_columns_of(kind, recipe.method))
    if kind and not spelled_out:
        known = "the columns are recognised, or named in data.columns, and"
        if mapped:
            known = "its rows are read, a column system with them, and"
        recipe.leave("datasets.type", kind, f"{known} the tokenizer's own chat template lays out the text")
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


def _columns_of(kind: Any, method: str) -> dict[str, str]:
    """Record field -> column of a type by name; empty for one that is not known."""
    name = kind.removesuffix(".load") if isinstance(kind, str) else ""
    template, _, rest = name.partition(".")
    if template not in ("chatml", "llama3") or rest not in _PROMPTS:
        return dict(_TYPES.get(name, {}))
    if method == "kto":
        return {"prompt": _PROMPTS[rest], "completion": "completion", "label": "label"}
    suffix = "_response" if rest == "argilla" else ""
    return {"prompt": _PROMPTS[rest], "chosen": f"chosen{suffix}", "rejected": f"rejected{suffix}"}


_ALTERNATIVES = {"messages": ("prompt", "text"), "prompt": ("messages", "text")}
"""Fields that a named column takes the place of."""


def _lowest_rate(draft: Draft, config: dict[str, Any]) -> None:
    """`cosine_min_lr_ratio`: a cosine that ends above zero."""
    ratio = config.pop("cosine_min_lr_ratio", None)
    if ratio is None:
        return
    if config.get("lr_scheduler") == "cosine" and not config.get("lr_scheduler_kwargs"):
        config["lr_scheduler"] = "cosine_with_min_lr"
        config["lr_scheduler_kwargs"] = {"min_lr_rate": ratio}
    else:
        draft.leave("cosine_min_lr_ratio", ratio, "only a cosine without settings of its own ends above zero")


def _losses(draft: Draft, config: dict[str, Any]) -> None:
    """`dpo_loss_type` and `dpo_loss_weights`."""
    losses, weights = config.pop("dpo_loss_type", None), config.pop("dpo_loss_weights", None)
    if losses is not None:
        draft.put_trl("loss_type", losses if isinstance(losses, list) else [losses], "dpo_loss_type")
    if weights is not None:
        draft.put_trl("loss_weights", weights, "dpo_loss_weights")


def _beta(draft: Draft, key: str, value: Any) -> None:
    draft.put_trl("beta", value, key)


def _prompts(draft: Draft, key: str, value: Any) -> None:
    if value:
        draft.put_trl("completion_only_loss", False, key)


def _format(name: str) -> Rule:
    """bf16, fp16 and tf32: true or false; `auto` leaves it to the hardware, which rlllm does as well."""

    def rule(draft: Draft, key: str, value: Any) -> None:
        if isinstance(value, bool):
            draft.put_trl(name, value, key)
        else:
            draft.leave(key, value, BY_HARDWARE)

    return rule


def _plugins(draft: Draft, key: str, value: Any) -> None:
    """Plugins that make training faster or write logs are dropped; one that trains otherwise is refused."""
    for name in value if isinstance(value, list) else [value]:
        if not any(part in str(name) for part in _HARMLESS):
            raise ConfigError("a plugin of Axolotl that trains otherwise, which rlllm does not have", given=str(name))
        draft.leave(key, name, "it changes the speed or the logs, and not what is learned")


_HARMLESS = ("cut_cross_entropy", "liger", "kernels", "expert_parallel", "swanlab", "nvfp4", "spectrum.log")


def _checkpointing(draft: Draft, key: str, value: Any) -> None:
    """`offload` and `unsloth` are ways to do the same."""
    draft.put_trl(key, bool(value), key)


def _without_repeats(draft: Draft, key: str, value: Any) -> None:
    """Rows that are equal are dropped by `rlllm data build`."""
    if not value:
        return
    data = draft.values.pop("data")
    sources = data.get("mix", [data])
    draft.preparation = {
        "sources": sources,
        "kind": draft.trainer.record.__name__,
        "near_duplicates": {"threshold": 1.0, "words": 1},
        **({"holdout": held_out} if (held_out := data.pop("holdout", None)) else {}),
    }
    draft.leave(key, value, "taken over, and differs: case, white space and punctuation make no difference")


_LIGER = [
    "rms_norm",
    "glu_activation",
    "layer_norm",
    "rope",
    "fused_linear_cross_entropy",
    "cross_entropy",
    "rms_norm_gated",
]
_REFUSED = {
    "relora": "restarts of adapters (ReLoRA)",
    "lisa_n_layers": "training of some layers (LISA)",
    "diffusion": "diffusion",
    "qat": "training for a quantised model (QAT)",
    "gptq": "training on a quantised model (GPTQ)",
    "use_eaft": "a loss of Axolotl's own (EAFT)",
    "ebft": "training on features (EBFT)",
    "use_onebitllms": "weights of one bit",
    "fp8": "arithmetic in 8 bits",
    "llmcompressor": "training of pruned weights",
    "reinit_weights": "training from random weights",
    "kd_trainer": "distillation from stored logits",
    "noisy_embedding_alpha": "noise on embeddings",
    "curriculum_sampling": "rows in the order of the file",
    "cls_model_config": "another class of the model",
    "overrides_of_model_config": "another shape of the model",
    "lr_quadratic_warmup": "a quadratic warm-up",
    "jagged_restart_steps": "restarts of the learning rate",
    "lr_groups": "learning rates by weight",
    "multi_objective_aggregation": "rewards that are normalised each by itself (GDPO)",
    "eta_min": "a lowest learning rate of an optimiser's own",
}
"""Keys of ways of training that rlllm lacks."""
_PARTS_OF_REFUSED = [
    "relora_prune_ratio",
    "relora_cpu_offload",
    "lisa_step_interval",
    "lisa_layers_attribute",
    "gptq_groupsize",
    "gptq_model_v1",
    "gptq_disable_exllama",
    "eaft_alpha",
    "eaft_k",
    "fp8_enable_fsdp_float8_all_gather",
    "jagged_restart_warmup_steps",
    "jagged_restart_anneal_steps",
]
_MACHINES = [
    "dp_shard_size",
    "dp_replicate_size",
    "tensor_parallel_size",
    "context_parallel_size",
    "context_parapllel_size",
    "expert_parallel_size",
    "expert_parallel_num_nvl_bytes",
    "expert_parallel_token_capacity",
    "use_ray",
    "ray_num_workers",
    "accelerator_config",
    "device_map",
    "local_rank",
    "ddp_find_unused_parameters",
    "ddp_timeout",
    "low_cpu_mem_usage",
    "experimental_skip_move_to_device",
    "vllm",
]
_SPEEDS = [
    "use_kernels",
    "use_scattermoe",
    "use_sonicmoe",
    "use_dsv4_kernels",
    "use_glm_dsa_kernels",
    "fused_attn_kernel",
    "tiled_mlp",
    "cut_cross_entropy",
    "flash_attn_cross_entropy",
    "flash_attn_rms_norm",
    "flash_attn_fuse_mlp",
    "flash_optimum",
    "flex_attn_compile_kwargs",
    "torch_compile_mode",
    "experts_implementation",
    "gemma4_hybrid_attn_impl",
    "activation_offloading",
    "dsv4_fp4_grouped_mode",
    "sample_packing_eff_est",
    "sample_packing_seq_len_multiplier",
    "sample_packing_sequentially",
    "streaming_multipack_buffer_size",
    "pretrain_multipack_attn",
    "max_packed_sequence_len",
]
_LEFT = {
    **dict.fromkeys(("processor_type", "image_size", "image_resize_algorithm"), "the model's own processor is used"),
    "skip_prepare_dataset": "rows are always prepared",
    "remove_unused_columns": "rlllm makes the columns that the trainer reads",
    "eot_tokens": "the tokenizer's own chat template is used, with its marks",
    "loss_watchdog_threshold": "a run stops by itself where the loss is no number",
    "loss_watchdog_patience": "a run stops by itself where the loss is no number",
    "tokenizer_use_mistral_common": "the model's tokenizer is used",
    "tokenizer_use_fast": "the model's tokenizer is used",
    "tokenizer_legacy": "the model's tokenizer is used",
    "resize_token_embeddings_to_32x": "the vocabulary is the model's",
    "base_model_ignore_patterns": "the model's folder says what its files are",
    "hf_use_auth_token": SHELL,
    "model_config": "the model's config is its own",
    "llama4_linearized_experts": "the model's config says what it is",
    "quantize_moe_experts": QUANTISED,
    "bnb_config_kwargs": QUANTISED,
    "model_quantization_config": QUANTISED,
    "model_quantization_config_kwargs": QUANTISED,
    "nvfp4_merge_aware": QUANTISED,
    "freeze_mm_modules": "only text is trained on",
    "min_sample_len": "drop short rows from the data",
    "do_causal_lm_eval": NO_EVAL,
    "eval_causal_lm_metrics": NO_EVAL,
    "eval_max_new_tokens": NO_EVAL,
    "auto_resume_from_checkpoints": "resume with --resume",
    "save_safetensors": "weights are always saved as safetensors",
    "use_tensorboard": "give report_to=tensorboard",
    "use_wandb": "give report_to=wandb, and set the rest in the shell",
    "use_swanlab": "give report_to=swanlab, and set the rest in the shell",
    **{
        f"swanlab_{name}": "give report_to=swanlab, and set the rest in the shell"
        for name in [
            "project",
            "experiment_name",
            "description",
            "mode",
            "workspace",
            "log_completions",
            "completion_log_interval",
            "completion_max_buffer",
            "log_model",
        ]
    },
    **dict.fromkeys(
        ("use_otel_metrics", "otel_metrics_host", "otel_metrics_port"), "figures of the run are in its folder"
    ),
    "test_value": "Axolotl has no such setting",
    "debug": "a recipe trains",
}
"""Keys without a counterpart that change no gradient of text, and the reason for each."""
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
    "trust_remote_code": unless(False, "code of a repository runs where model.trust_remote_code names it"),
    "load_in_8bit": unless(False, QUANTISED),
    "load_in_4bit": unless(False, QUANTISED),
    "strict": unless(False, "every key of a recipe is checked"),
    "lora_model_dir": left("merge the adapter into the model first: an adapter is no model here"),
    "lora_modules_to_save": left("adapters are trained alone"),
    "lora_fan_in_fan_out": left("follows from the model"),
    "peft_use_dora": refused("adapters with a magnitude of their own (DoRA)"),
    "peft_use_rslora": unless(False, "adapters are off"),
    "lora_target_parameters": left("adapters sit on modules: lora.target_modules"),
    "peft": refused("adapters that start from a quantised model (LoftQ)"),
    "loraplus_lr_ratio": refused("two learning rates for adapters (LoRA+)"),
    **{name: refused(what) for name, what in _REFUSED.items()},
    **{name: left("the way of training that reads it is off") for name in _PARTS_OF_REFUSED},
    **{name: left(LAUNCHER) for name in _MACHINES},
    **dict.fromkeys(_SPEEDS, _SPEED),
    **{name: left(reason) for name, reason in _LEFT.items()},
    "gradient_checkpointing": _checkpointing,
    "float16": _format("fp16"),
    "bfloat16": _format("bf16"),
    "adam_eps": as_trl("adam_epsilon"),
    "evaluation_strategy": unless("no", NO_EVAL),
    "batch_size": left("the batch is micro_batch_size times gradient_accumulation_steps"),
    "full_finetune": unless(True, "adapters are trained: adapter"),
    "early_stopping": left(
        "data.holdout=256 eval.every=50 eval.stop_after=3 ends a run after three evaluations without a gain"
    ),
    "revision_of_model": revision,
    "cosine_constant_lr_ratio": unless(0, "the rate falls to the end of the run"),
    "dataset_exact_deduplication": _without_repeats,
    "streaming": unless(False, "rows are read before training; a Hub data set can be streamed: data.streaming"),
    "chat_template": left(TEMPLATE),
    "chat_template_jinja": left(TEMPLATE),
    "special_tokens": left("the tokenizer's own marks are used; see eos_token and pad_token"),
    "tokens": left("the vocabulary is the model's"),
    "test_datasets": left(NO_EVAL),
    "val_set_size": lambda draft, key, value: draft.put_holdout(key, value),
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
    **{f"liger_{name}": _SPEED for name in _LIGER},
    "plugins": _plugins,
    "evals_per_epoch": left(NO_EVAL),
    "eval_table_size": left(NO_EVAL),
    "early_stopping_patience": left(
        "data.holdout=256 eval.every=50 eval.stop_after=3 ends a run after three evaluations without a gain"
    ),
    "saves_per_epoch": _SAVES,
    "wandb_project": _WANDB,
    "wandb_entity": _WANDB,
    "wandb_watch": _WANDB,
    "wandb_name": _WANDB,
    "wandb_log_model": _WANDB,
    "wandb_run_id": _WANDB,
    "fsdp_version": left(LAUNCHER),
    "ddp": left(LAUNCHER),
    "unfrozen_parameters": refused("training of some weights only"),
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
