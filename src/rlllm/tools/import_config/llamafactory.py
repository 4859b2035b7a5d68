"""LLaMA-Factory's YAML, as `llamafactory-cli train FILE` reads it.

Its defaults differ from TRL's (a learning rate of 5e-5, 2048 tokens, adapters of rank 8), so the recipe writes them out. A
data set is a name in `dataset_info.json`; where that file is found, the name becomes the file or Hub id behind it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError, unknown
from rlllm.core.yaml_io import parse_scalar
from rlllm.tools.import_config.draft import (
    ATTENTION,
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
    reference,
    refuse_launcher,
    refused,
    rescaled,
    revision,
    text_length,
    to,
    unless,
)
from rlllm.tools.import_config.trl import SHARED, system_prompt

_DEFAULTS = {"learning_rate": 5e-5, "num_train_epochs": 3.0, "cutoff_len": 2048, "per_device_train_batch_size": 8}
"""LLaMA-Factory's defaults where TRL or rlllm has others."""
_STAGES = {
    "pt": ("sft", "sft"),
    "sft": ("sft", "sft"),
    "rm": ("train-rm", "bt"),
    "ppo": ("align", "ppo"),
    "dpo": ("align", "dpo"),
    "kto": ("align", "kto"),
}
_LOSSES = {"sigmoid": "dpo", "hinge": "hinge", "ipo": "ipo", "orpo": "orpo", "simpo": "simpo"}
"""`pref_loss` to method; `kto_pair` is gone from TRL."""
_COLUMNS = {
    "prompt": "prompt",
    "response": "completion",
    "messages": "messages",
    "chosen": "chosen",
    "rejected": "rejected",
    "kto_tag": "label",
    "system": "system",
    "history": "history",
    "tools": "tools",
    "images": "images",
}
"""Columns of `dataset_info.json` to record fields."""


def draft(config: Mapping[str, Any], stage: str | None, path: Path) -> Draft:
    """The recipe of a LLaMA-Factory config.

    Raises:
        ConfigError: an unknown stage or loss, a way of training that rlllm lacks, or a file that is for no training.
    """
    refuse_launcher(config)
    _refuse_no_training(config)
    verb, method = _method(config, stage)
    recipe = Draft("llamafactory", verb, method)
    rest = {**_DEFAULTS, **{key: value for key, value in config.items() if value is not None}}
    _adapters(recipe, rest)
    _data(recipe, rest, path)
    if (stage or config.get("stage")) == "pt":
        _plain_text(recipe, rest)
    if method != "ppo" and verb == "align":
        _preference(recipe, rest)
    for key in ("stage", "pref_loss"):
        rest.pop(key, None)
    recipe.read(rest, _RULES)
    return recipe


_NO_TRAINING = {
    "train_dataset": ("a config of LLaMA-Factory v1, whose keys are others", "write it for `llamafactory-cli train`"),
    "peft_config": ("a config of LLaMA-Factory v1, whose keys are others", "write it for `llamafactory-cli train`"),
    "export_dir": ("a config that merges or exports a model, no training", "a run's model folder is whole already"),
    "infer_backend": ("a config for talking to a model, no training", "rlllm chat MODEL"),
    "do_predict": ("a config that generates, no training", "rlllm eval MODEL --data FILE"),
}
"""Keys of files that are for no training: what the file is, and what to do instead."""


def _refuse_no_training(config: Mapping[str, Any]) -> None:
    for key, (what, hint) in _NO_TRAINING.items():
        if config.get(key):
            raise ConfigError(what, given=f"{key}={config[key]}"[:120], hint=hint)


def _method(config: Mapping[str, Any], stage: str | None) -> tuple[str, str]:
    name = stage or str(config.get("stage", "sft"))
    if name not in _STAGES:
        raise unknown("stage of LLaMA-Factory", name, _STAGES)
    verb, method = _STAGES[name]
    if name != "dpo":
        return verb, method
    loss = str(config.get("pref_loss", "sigmoid"))
    if loss not in _LOSSES:
        raise ConfigError(
            f"pref_loss {loss} is a loss that TRL no longer has", given=f"pref_loss={loss}", exists=_LOSSES
        )
    return verb, _LOSSES[loss]


def _adapters(recipe: Draft, config: dict[str, Any]) -> None:
    kind = str(config.pop("finetuning_type", "lora"))
    lora_settings = {name: config.pop(f"lora_{name}", None) for name in ("rank", "alpha", "dropout", "target")}
    if kind == "full":
        for name, value in lora_settings.items():
            if value is not None:
                recipe.leave(f"lora_{name}", value, "adapters are off: finetuning_type is full")
        return
    if kind != "lora":
        raise ConfigError(
            f"{kind} is a way of training that rlllm does not have",
            given=f"finetuning_type={kind}",
            exists=["full", "lora"],
        )
    rank = lora_settings["rank"] or 8
    rank = parse_scalar(rank) if isinstance(rank, str) else rank
    recipe.put("lora.r", rank)
    twice = 2 * rank if isinstance(rank, int) else rank  # what is no number is refused with the recipe
    alpha = lora_settings["alpha"] or twice
    recipe.put("lora.alpha", rescaled(rank, alpha, "use_rslora") if config.pop("use_rslora", False) else alpha)
    recipe.put("lora.dropout", lora_settings["dropout"] or 0.0)
    target = lora_settings["target"] or "all"
    names = target if isinstance(target, list) else [name.strip() for name in str(target).split(",")]
    recipe.put("lora.target_modules", "all-linear" if names == ["all"] else names)


_MIX_STRATEGIES = ("concat", "interleave_under", "interleave_over", "interleave_once")


def _data(recipe: Draft, config: dict[str, Any], path: Path) -> None:
    """The data sets of the config; several are mixed as `mix_strategy` says."""
    value = config.pop("dataset", [])
    value = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    names = [str(name) for name in items(value, "dataset")]
    folder, rows = Path(str(config.pop("dataset_dir", "data"))), config.pop("max_samples", None)
    strategy, shares = str(config.pop("mix_strategy", "concat")), config.pop("interleave_probs", None)
    weights = [float(share) for share in str(shares).split(",")] if shares is not None else [1.0] * len(names)
    if strategy not in _MIX_STRATEGIES:
        raise unknown("mix_strategy of LLaMA-Factory", strategy, _MIX_STRATEGIES)
    if len(weights) != len(names):
        raise ConfigError(f"{len(weights)} interleave_probs for {len(names)} data sets", given=f"{shares}")
    interleaved = strategy != "concat" and len(names) > 1
    if interleaved:
        recipe.leave("mix_strategy", strategy, "the rows are drawn without repeats, in these shares, and shuffled")
    sources = []
    for name, weight in zip(names, weights, strict=True):
        settings = _settings(recipe, name, folder, path)
        if rows is not None:
            settings["rows"] = rows
        sources.append(Source(settings, weight=weight if interleaved else None))
    recipe.put_sources(sources)


def _settings(recipe: Draft, name: str, folder: Path, path: Path) -> dict[str, Any]:
    """What `data` says of one data set, from `dataset_info.json` where it is found."""
    bases = [path.parent, *path.parent.absolute().parents][:4]
    entry = _entry(name, [base / folder for base in (*bases, Path())])
    if entry is None:
        recipe.leave("dataset_dir", str(folder), f"no dataset_info.json there names {name}: set data.name to its file")
        return {"name": name}
    folder_of_index, info = entry
    columns = mapping(info.get("columns") or {}, "columns")
    media = [key for key in ("videos", "audios") if key in columns]
    if media:
        raise ConfigError(f"a data set with {media[0]}, and only text and images are trained on", given=name)
    mapped = {_COLUMNS[key]: str(column) for key, column in columns.items() if key in _COLUMNS}
    if "prompt" in mapped and _is_text(recipe, columns):
        mapped = {"text": mapped["prompt"]}
    if "query" in columns and "prompt" in mapped:
        mapped["prompt"] += f"+{columns['query']}"
    if info.get("ranking") and info.get("formatting") == "sharegpt":
        content = mapping(info.get("tags") or {}, "tags").get("content_tag", "value")
        mapped.update({side: f"{mapped[side]}.{content}" for side in ("chosen", "rejected") if side in mapped})
    for key, column in columns.items():
        if key not in _COLUMNS and key != "query":
            recipe.leave(f"columns.{key}", column, "LLaMA-Factory has no such column")
    settings = _place(info, folder_of_index)
    if fitting := recipe.fitting_columns(mapped):
        settings["columns"] = fitting
    return settings


def _is_text(recipe: Draft, columns: Mapping[str, Any]) -> bool:
    """Whether a data set holds plain text: its only column is the prompt, and answers are imitated."""
    return recipe.method == "sft" and "response" not in columns and "messages" not in columns


def _plain_text(recipe: Draft, config: dict[str, Any]) -> None:
    """Stage pt: texts are joined and cut into pieces of equal length, unless packing is off."""
    if config.get("packing") is not False:
        config.setdefault("packing", True)
        recipe.put_trl("packing_strategy", "wrapped", "stage")


def _entry(name: str, folders: list[Path]) -> tuple[Path, dict[str, Any]] | None:
    """The folder and the settings of a data set in the first index that names it."""
    for folder in folders:
        index = folder / "dataset_info.json"
        if index.is_file():
            try:
                entries = mapping(json.loads(index.read_text(encoding="utf-8")), str(index))
            except (OSError, ValueError) as error:
                raise ConfigError(f"the index of data sets cannot be read: {error}", given=index) from error
            if name in entries:
                return folder, mapping(entries[name], f"{name} in {index}")
    return None


def _place(info: Mapping[str, Any], folder_of_index: Path) -> dict[str, Any]:
    if info.get("hf_hub_url"):
        return {
            "name": info["hf_hub_url"],
            **{key: info[key] for key in ("subset", "split") if info.get(key)},
        }
    if info.get("file_name"):
        return {"name": str(folder_of_index / str(info["file_name"]))}
    raise ConfigError("the data set has neither file_name nor hf_hub_url", given=repr(dict(info))[:120])


def _preference(recipe: Draft, config: dict[str, Any]) -> None:
    """`pref_*`: the scale of the loss, and other losses beside it."""
    beta, imitation = config.pop("pref_beta", 0.1), config.pop("pref_ftx", 0.0)
    recipe.put_trl("beta", beta, "pref_beta")
    if recipe.method == "simpo":
        recipe.put_trl("simpo_gamma", config.pop("simpo_gamma", 0.5))
    classifier = config.pop("pref_bco_weight", 0.0)
    main = recipe.trainer.trl_config == "DPOConfig" and {"dpo": "sigmoid"}.get(recipe.method, recipe.method)
    others = {"pref_ftx": ("sft", imitation), "pref_bco_weight": ("bco_pair", classifier)}
    added = {key: item for key, item in others.items() if item[1]}
    if not added:
        return
    if main:
        recipe.put_trl("loss_type", [main, *(name for name, _ in added.values())], "pref_ftx")
        recipe.put_trl("loss_weights", [1.0, *(weight for _, weight in added.values())], "pref_ftx")
        return
    for key, (_, weight) in added.items():
        recipe.leave(key, weight, f"method {recipe.method} has no second loss")


def _prompt_too(draft: Draft, key: str, value: Any) -> None:
    if value:
        draft.put_trl("completion_only_loss", False, key)


def _reward_model(draft: Draft, key: str, value: Any) -> None:
    draft.put("rewards", [{"name": "model", "path": value}])


def _new_tokens(draft: Draft, key: str, value: Any) -> None:
    if draft.trainer.samples:
        draft.put("rollout.max_new_tokens", value)
    else:
        draft.leave(key, value, "nothing is generated in training")


def _last_turn(draft: Draft, key: str, value: Any) -> None:
    """Only the last turn of the assistant is imitated."""
    if value and "turns" in draft.config.model_fields:
        draft.put("turns", "last")
    elif value:
        draft.leave(key, value, f"method {draft.method} learns one completion of each row")


def _neat_packing(draft: Draft, key: str, value: Any) -> None:
    """Packed rows that do not see each other, which is how TRL packs."""
    if value:
        draft.put_trl("packing", True, key)


def _dft(draft: Draft, key: str, value: Any) -> None:
    if value:
        draft.put_trl("loss_type", "dft", key)


def _no_checkpointing(draft: Draft, key: str, value: Any) -> None:
    draft.put_trl("gradient_checkpointing", not value, key)


def _sampling(draft: Draft, key: str, value: Any) -> None:
    if draft.trainer.samples:
        draft.put(f"rollout.{key}", value)
    else:
        draft.leave(key, value, "nothing is generated in training")


def _media_dir(draft: Draft, key: str, value: Any) -> None:
    if draft.preparation is None:
        draft.put("data.image_folder", str(value))
    else:
        draft.leave(key, value, "each source of a prepared folder has an image_folder of its own")


_VIDEOS = "only text and images are trained on"
_PIXELS = "the model's own processor says how large an image becomes"
_ALL_WEIGHTS = "without adapters every weight of the model trains, and with them what `peft` names"
_OPTIMISERS = ("galore", "badam", "apollo", "muon", "adam_mini")
_MACHINES = [
    "ddp_timeout",
    "ray_num_workers",
    "ray_init_kwargs",
    "ray_storage_path",
    "ray_storage_filesystem",
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "expert_model_parallel_size",
    "context_parallel_size",
    "sequence_parallel",
    "bias_activation_fusion",
    "apply_rope_fusion",
    "use_distributed_optimizer",
    "overlap_param_gather",
    "overlap_grad_reduce",
    "moe_grouped_gemm",
    "moe_token_dispatcher_type",
    "recompute_granularity",
    "mixed_precision",
    "use_packed_sequences",
    "export_hf_on_finish",
    "fsdp_transformer_layer_cls_to_wrap",
    "kt_config",
    "kt_cpu_activation",
    "kt_weight_path",
    "kt_non_expert_weight_path",
    "use_v1_kernels",
]
_CACHE = "tokenised rows are cached by their content"

_RULES: dict[str, Rule] = {
    **SHARED,
    "model_name_or_path": to("model"),
    "adapter_name_or_path": left("merge the adapter into the model first: an adapter is no model here"),
    "trust_remote_code": unless(False, "code of a repository runs where model.trust_remote_code names it"),
    "quantization_bit": left(QUANTISED),
    "quantization_method": left(QUANTISED),
    "flash_attn": unless("auto", ATTENTION),
    "enable_liger_kernel": as_trl("use_liger_kernel"),
    "use_unsloth": unless(False, "TRL's own trainers are used"),
    "rope_scaling": left("positions are the model's own"),
    "template": left(TEMPLATE),
    "enable_thinking": left(TEMPLATE),
    "cutoff_len": text_length,
    "val_size": lambda draft, key, value: draft.put_holdout(key, value),
    "eval_dataset": left(NO_EVAL),
    "overwrite_cache": left(_CACHE),
    "tokenized_path": left(_CACHE),
    "preprocessing_num_workers": as_trl("dataset_num_proc"),
    "preprocessing_batch_size": left(_CACHE),
    "streaming": unless(False, "rows are read before training; a Hub data set can be streamed: data.streaming"),
    "neat_packing": _neat_packing,
    "train_on_prompt": _prompt_too,
    "mask_history": _last_turn,
    "default_system": system_prompt,
    "tool_format": left(TEMPLATE),
    "use_dft_loss": _dft,
    "use_asft_loss": refused("a loss of LLaMA-Factory's own (ASFT)"),
    "use_eaft_loss": refused("a loss of LLaMA-Factory's own (EAFT)"),
    "disable_gradient_checkpointing": _no_checkpointing,
    "use_reentrant_gc": left("how activations are recomputed changes no result"),
    "mixture_of_depths": refused("another architecture (mixture of depths)"),
    "use_llama_pro": refused("training of some layers (LLaMA Pro)"),
    "shift_attn": refused("another attention (shifted sparse)"),
    "fp8": refused("arithmetic in 8 bits"),
    "moe_aux_loss_coef": left("the balance of experts is not part of the loss"),
    "resize_vocab": unless(False, "the vocabulary is the model's"),
    "add_tokens": left("the vocabulary is the model's"),
    "add_special_tokens": left("the vocabulary is the model's"),
    "disable_shuffling": unless(False, "rows are shuffled by the trainer, from the seed"),
    "do_predict": unless(False, "measure a run with: rlllm eval"),
    "predict_with_generate": unless(False, "measure a run with: rlllm eval"),
    "compute_accuracy": unless(False, "held-out rows are measured before and after"),
    "double_quantization": left(QUANTISED),
    **{f"fp8_{name}": left("arithmetic in 8 bits is off") for name in ("backend", "enable_fsdp_float8_all_gather")},
    "media_dir": _media_dir,
    **{name: left(_PIXELS) for name in ("image_max_pixels", "image_min_pixels")},
    **{f"video_{name}": left(_VIDEOS) for name in ("max_pixels", "min_pixels", "fps", "maxlen")},
    **{f"freeze_{name}": left(_ALL_WEIGHTS) for name in ("vision_tower", "multi_modal_projector", "language_model")},
    **{name: left(LAUNCHER) for name in _MACHINES},
    "plot_loss": left("curves are in the run's report.html"),
    "pure_bf16": unless(False, "the number format is chosen by the hardware"),
    "model_revision": revision,
    "ref_model": reference,
    "ref_model_adapters": refused("a reference with adapters of its own"),
    "ref_model_quantization_bit": left("the reference is the model at the start"),
    "reward_model_adapters": left("a reward is a whole model: merge the adapter first"),
    "reward_model_quantization_bit": left(QUANTISED),
    "reward_model": _reward_model,
    "reward_model_type": unless("full", "a reward is a whole model: merge the adapter first"),
    "dpo_label_smoothing": as_trl("label_smoothing"),
    "kto_chosen_weight": as_trl("desirable_weight"),
    "kto_rejected_weight": as_trl("undesirable_weight"),
    "ppo_epochs": as_trl("num_iterations"),
    "ppo_target": to("kl.target"),
    "ppo_buffer_size": left("batches are set by per_device_train_batch_size and steps_per_generation"),
    "ppo_score_norm": left("advantages are normalised, rewards are not"),
    "ppo_whiten_rewards": left("advantages are normalised, rewards are not"),
    "max_new_tokens": _new_tokens,
    "max_length": left("the length of a text is cutoff_len"),
    "temperature": _sampling,
    "top_p": _sampling,
    "top_k": _sampling,
    "do_sample": left("training always samples"),
    "additional_target": left("adapters are trained alone"),
    "use_rslora": unless(False, "adapters are off"),
    "use_dora": refused("adapters with a magnitude of their own (DoRA)"),
    "pissa_init": refused("adapters that start from the weights (PiSSA)"),
    "pissa_iter": left("pissa_init is off"),
    "pissa_convert": unless(False, "pissa_init is off"),
    "loraplus_lr_ratio": refused("two learning rates for adapters (LoRA+)"),
    "loraplus_lr_embedding": left("loraplus_lr_ratio is off"),
    "create_new_adapter": unless(False, "adapters are new in every run"),
    **{f"use_{name}": refused(f"an optimiser of LLaMA-Factory's own ({name})") for name in _OPTIMISERS},
    "use_swanlab": unless(False, "report_to names what is logged to"),
    **{f"swanlab_{name}": left(SHELL) for name in ("project", "workspace", "run_name", "mode", "api_key", "logdir")},
    "use_kt": unless(False, LAUNCHER),
    "use_mca": unless(False, LAUNCHER),
    "use_megatron_bridge": unless(False, LAUNCHER),
}
"""Key to what becomes of it; what transformers takes under the same name keeps it."""
