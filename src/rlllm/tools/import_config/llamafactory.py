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
}
"""Columns of `dataset_info.json` to record fields."""


def draft(config: Mapping[str, Any], stage: str | None, path: Path) -> Draft:
    """The recipe of a LLaMA-Factory config.

    Raises:
        ConfigError: an unknown stage or loss, a way of training that rlllm lacks, or several data sets.
    """
    verb, method = _method(config, stage)
    recipe = Draft("llamafactory", verb, method)
    rest = {**_DEFAULTS, **{key: value for key, value in config.items() if value is not None}}
    _adapters(recipe, rest)
    _data(recipe, rest, path)
    if method != "ppo" and verb == "align":
        _preference(recipe, rest)
    for key in ("stage", "pref_loss"):
        rest.pop(key, None)
    recipe.read(rest, _RULES)
    return recipe


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
    recipe.put("lora.alpha", lora_settings["alpha"] or twice)
    recipe.put("lora.dropout", lora_settings["dropout"] or 0.0)
    target = lora_settings["target"] or "all"
    names = target if isinstance(target, list) else [name.strip() for name in str(target).split(",")]
    recipe.put("lora.target_modules", "all-linear" if names == ["all"] else names)


def _data(recipe: Draft, config: dict[str, Any], path: Path) -> None:
    names = config.pop("dataset", [])
    name = one_data_set(
        names if isinstance(names, list) else [n.strip() for n in str(names).split(",") if n], "dataset"
    )
    folder = Path(str(config.pop("dataset_dir", "data")))
    entry = _entry(str(name), [base / folder for base in (path.parent, Path())])
    if entry is None:
        recipe.put("data.name", str(name))
        recipe.leave("dataset_dir", str(folder), f"no dataset_info.json there names {name}: set data.name to its file")
        return
    folder_of_index, settings = entry
    _place(recipe, settings, folder_of_index)
    columns = mapping(settings.get("columns") or {}, "columns")
    mapped = {_COLUMNS[key]: str(column) for key, column in columns.items() if key in _COLUMNS}
    if "query" in columns and "prompt" in mapped:
        mapped["prompt"] += f"+{columns['query']}"
    if settings.get("ranking") and settings.get("formatting") == "sharegpt":
        content = mapping(settings.get("tags") or {}, "tags").get("content_tag", "value")
        mapped.update({side: f"{mapped[side]}.{content}" for side in ("chosen", "rejected") if side in mapped})
    recipe.columns(mapped)
    for key, column in columns.items():
        if key not in _COLUMNS and key != "query":
            recipe.leave(f"columns.{key}", column, "rows have system prompts and history as messages")


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


def _place(recipe: Draft, settings: Mapping[str, Any], folder_of_index: Path) -> None:
    if settings.get("hf_hub_url"):
        recipe.put("data.name", settings["hf_hub_url"])
        for key in ("subset", "split"):
            if settings.get(key):
                recipe.put(f"data.{key}", settings[key])
    elif settings.get("file_name"):
        recipe.put("data.name", str(folder_of_index / str(settings["file_name"])))
    else:
        raise ConfigError("the data set has neither file_name nor hf_hub_url", given=repr(dict(settings))[:120])


def _preference(recipe: Draft, config: dict[str, Any]) -> None:
    """`pref_*`: the scale of the loss, and imitation beside it."""
    beta, imitation = config.pop("pref_beta", 0.1), config.pop("pref_ftx", 0.0)
    recipe.put_trl("beta", beta, "pref_beta")
    if recipe.method == "simpo":
        recipe.put_trl("simpo_gamma", config.pop("simpo_gamma", 0.5))
    if not imitation:
        return
    losses = recipe.trainer.trl_config == "DPOConfig" and {"dpo": "sigmoid"}.get(recipe.method, recipe.method)
    if losses:
        recipe.put_trl("loss_type", [losses, "sft"], "pref_ftx")
        recipe.put_trl("loss_weights", [1.0, imitation], "pref_ftx")
    else:
        recipe.leave("pref_ftx", imitation, f"method {recipe.method} has no imitation term of this kind")


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


def _sampling(draft: Draft, key: str, value: Any) -> None:
    if draft.trainer.samples:
        draft.put(f"rollout.{key}", value)
    else:
        draft.leave(key, value, "nothing is generated in training")


_GALORE = "only TRL's own optimizers: optim"
_CACHE = "tokenised rows are cached by their content"

_RULES: dict[str, Rule] = {
    **SHARED,
    "model_name_or_path": to("model"),
    "adapter_name_or_path": left("merge the adapter into the model first: an adapter is no model here"),
    "trust_remote_code": unless(False, "code from model repositories is never run"),
    "quantization_bit": left(QUANTISED),
    "quantization_method": left(QUANTISED),
    "flash_attn": unless("auto", ATTENTION),
    "enable_liger_kernel": as_trl("use_liger_kernel"),
    "use_unsloth": unless(False, "TRL's own trainers are used"),
    "rope_scaling": left("positions are the model's own"),
    "template": left(TEMPLATE),
    "enable_thinking": left(TEMPLATE),
    "cutoff_len": text_length,
    "max_samples": to("data.rows"),
    "val_size": left("held out is a number of rows: data.holdout=N"),
    "eval_dataset": left(NO_EVAL),
    "overwrite_cache": left(_CACHE),
    "tokenized_path": left(_CACHE),
    "preprocessing_num_workers": as_trl("dataset_num_proc"),
    "preprocessing_batch_size": left(_CACHE),
    "streaming": unless(False, "rows are read before training; a Hub data set can be streamed: data.streaming"),
    "mix_strategy": left("a recipe reads one data set"),
    "neat_packing": unless(False, "packed rows see each other unless the attention keeps them apart: TRL's packing"),
    "train_on_prompt": _prompt_too,
    "mask_history": left("only the last turn is learned; assistant_only_loss=true learns them all"),
    "plot_loss": left("curves are in the run's report.html"),
    "pure_bf16": unless(False, "the number format is chosen by the hardware"),
    "ref_model": left("the reference is the model at the start"),
    "ref_model_adapters": left("the reference is the model at the start"),
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
    "use_rslora": unless(False, "adapters are plain LoRA: the scale is lora.alpha / lora.r"),
    "use_dora": unless(False, "adapters are plain LoRA"),
    "pissa_init": unless(False, "adapters start at zero"),
    "loraplus_lr_ratio": left("all adapter weights have one learning rate"),
    "create_new_adapter": unless(False, "adapters are new in every run"),
    "use_galore": unless(False, _GALORE),
    "use_badam": unless(False, _GALORE),
    "use_apollo": unless(False, _GALORE),
    "use_muon": unless(False, _GALORE),
    "use_swanlab": unless(False, "report_to names what is logged to"),
    "ddp_timeout": left(LAUNCHER),
    "ray_run_name": left(LAUNCHER),
}
"""Key to what becomes of it; what transformers takes under the same name keeps it."""
