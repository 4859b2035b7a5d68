"""OpenRLHF's command lines (`python3 -m openrlhf.cli.train_ppo_ray --flag value ...`), with flags of version 0.10
(`--actor.adam.lr`) and of those before it (`--actor_learning_rate`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError, unknown
from rlllm.core.yaml_io import parse_scalar
from rlllm.tools.import_config import shell
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
    Source,
)

_MODULES = {
    "openrlhf.cli.train_sft": ("sft", "sft"),
    "openrlhf.cli.train_rm": ("train-rm", "bt"),
    "openrlhf.cli.train_dpo": ("align", "dpo"),
    "openrlhf.cli.train_kto": ("align", "kto"),
    "openrlhf.cli.train_ppo_ray": ("align", "ppo"),
    "openrlhf.cli.train_ppo": ("align", "ppo"),
}
_ESTIMATORS = {
    "gae": ("align", "ppo"),
    "reinforce": ("reason", "reinforce++"),
    "rloo": ("reason", "rloo"),
    "reinforce_baseline": ("reason", "reinforce++-baseline"),
    "group_norm": ("reason", "grpo"),
    "dr_grpo": ("reason", "dr-grpo"),
}
"""`--algo.advantage.estimator` to verb and method."""
_OLD = {
    "pretrain": "model",
    "save_path": "ckpt.output_dir",
    "ckpt_path": "ckpt.path",
    "prompt_data": "data.prompt_dataset",
    "dataset": "data.dataset",
    "max_len": "data.max_len",
    "prompt_max_len": "data.prompt_max_len",
    "generate_max_len": "rollout.max_new_tokens",
    "n_samples_per_prompt": "rollout.n_samples_per_prompt",
    "rollout_batch_size": "rollout.batch_size",
    "train_batch_size": "train.batch_size",
    "micro_train_batch_size": "train.micro_batch_size",
    "num_episodes": "train.num_episodes",
    "max_epochs": "train.max_epochs",
    "seed": "train.seed",
    "actor_learning_rate": "actor.adam.lr",
    "critic_learning_rate": "critic.adam.lr",
    "learning_rate": "actor.adam.lr",
    "adam.lr": "actor.adam.lr",
    "model.model_name_or_path": "model",
    "actor.model_name_or_path": "model",
    "init_kl_coef": "algo.kl.init_coef",
    "kl_target": "algo.kl.target",
    "kl_horizon": "algo.kl.horizon",
    "use_kl_loss": "algo.kl.use_loss",
    "kl_estimator": "algo.kl.estimator",
    "advantage_estimator": "algo.advantage.estimator",
    "gamma": "algo.advantage.gamma",
    "lambd": "algo.advantage.lambd",
    "eps_clip": "actor.eps_clip",
    "eps_clip_low_high": "actor.eps_clip_low_high",
    "value_clip": "critic.value_clip",
    "dynamic_filtering": "algo.dynamic_filtering_enable",
    "dynamic_filtering_reward_range": "algo.dynamic_filtering_range",
    "freezing_actor_steps": "critic.freezing_steps",
    "reward_pretrain": "reward.model_name_or_path",
    "remote_rm_url": "reward.remote_url",
    "agent_func_path": "train.agent_func_path",
    "beta": "model.beta",
    "ipo": "model.ipo_enable",
    "label_smoothing": "model.label_smoothing",
    "nll_loss_coef": "model.nll_loss_coef",
    "lora_rank": "ds.lora.rank",
    "lora_alpha": "ds.lora.alpha",
    "lora_dropout": "ds.lora.dropout",
    "target_modules": "ds.lora.target_modules",
    "packing_samples": "ds.packing_samples",
    "gradient_checkpointing": "actor.gradient_checkpointing_enable",
    "model.gradient_checkpointing_enable": "actor.gradient_checkpointing_enable",
    "temperature": "rollout.temperature",
    "top_p": "rollout.top_p",
    "save_steps": "ckpt.save_steps",
    "logging_steps": "logger.logging_steps",
    "entropy_loss_coef": "actor.entropy_coef",
    "max_norm": "actor.max_norm",
    "l2": "actor.adam.weight_decay",
    **{f"{name}_key": f"data.{name}_key" for name in ("input", "output", "label", "chosen", "rejected", "prompt")},
    "max_samples": "data.max_samples",
    "prompt_data_probs": "data.prompt_probs",
    "dataset_probs": "data.dataset_probs",
    "apply_chat_template": "data.apply_chat_template",
    "input_template": "data.input_template",
    "multiturn": "data.multiturn",
    "pretrain_mode": "model.pretrain_mode_enable",
    "load_in_4bit": "ds.load_in_4bit",
}
"""Flags under other names to those of version 0.10."""
_REFUSED = {
    "train.agent_func_path": "an agent of OpenRLHF's in a rollout",
    "actor.freeze_visual_encoder": "training of a part of the weights",
    "actor.muon.lr": "an optimiser of its own (Muon)",
    "train.partial_rollout_enable": "rollouts that go on in the next step",
    "data.multiturn": "only the marks of the data say which turns train",
}
_CLIPPED = "rollouts and training share one model and one engine, so that nothing is to be corrected"


def draft(path: Path) -> Draft:
    """The recipe of a script.

    Raises:
        ConfigError: it starts no training of OpenRLHF's, or one that rlllm lacks.
    """
    module, words = shell.command(path, list(_MODULES))
    given = _flags(words)
    for key, what in _REFUSED.items():
        if given.get(key) not in (None, False, "none") and key != "data.multiturn":
            raise ConfigError(f"{what}, which rlllm does not have", given=f"--{key} {given[key]}"[:120])
    verb, method = _MODULES[module]
    if method == "ppo":
        estimator = str(given.pop("algo.advantage.estimator", "gae"))
        if estimator not in _ESTIMATORS:
            raise unknown("advantage estimator of OpenRLHF that rlllm has", estimator, _ESTIMATORS)
        verb, method = _ESTIMATORS[estimator]
    elif given.pop("model.ipo_enable", False):
        method = "ipo"
    recipe = Draft("openrlhf", verb, method)
    model = given.pop("model", None)
    if not model or shell.UNKNOWN in str(model):
        raise ConfigError("the script names no model", given=model, hint="--pretrain MODEL")
    recipe.put("model", str(model))
    _data(recipe, given)
    _adapters(recipe, given)
    if recipe.trainer.samples:
        _reinforcement(recipe, given)
    else:
        _recorded(recipe, given)
    _shared(recipe, given)
    for key, value in given.items():
        recipe.leave(f"--{key}", value, next((reason for part, reason in _GROUPS if part in key), LAUNCHER))
    return recipe


def _flags(words: list[str]) -> dict[str, Any]:
    """Flag -> value, under the names of version 0.10: true without a value, a list for several."""
    flags: dict[str, Any] = {}
    for place, word in enumerate(words):
        if not word.startswith("--"):
            continue
        name, equals, text = word.removeprefix("--").partition("=")
        values = [text] if equals else []
        for value in words[place + 1 :] if not equals else []:
            if value.startswith("--"):
                break
            values.append(value)
        parsed = [parse_scalar(value) for value in values]
        key = _OLD.get(name, name)
        if key in flags:
            raise ConfigError("a flag is given twice", given=f"--{name}")
        flags[key] = True if not parsed else parsed[0] if len(parsed) == 1 else parsed
    return flags


def _data(recipe: Draft, given: dict[str, Any]) -> None:
    names = given.pop("data.prompt_dataset", None) or given.pop("data.dataset", None)
    if not names or shell.UNKNOWN in str(names):
        raise ConfigError("the script names no data set", given=names, hint="--dataset NAME or --prompt_data NAME")
    shares = given.pop("data.prompt_probs", given.pop("data.dataset_probs", None))
    listed = [name.strip() for name in str(names).split(",")]
    weights = _shares(shares) if shares is not None else [None] * len(listed)
    if len(weights) != len(listed):
        raise ConfigError(f"{len(weights)} shares for {len(listed)} data sets", given=str(shares))
    keys = {"input": "prompt", "prompt": "prompt", "output": "completion", "chosen": "chosen", "rejected": "rejected"}
    keys["image"] = "images"
    keys["label"] = "label" if recipe.method == "kto" else "answer"
    columns = {
        field: str(given.pop(f"data.{key}_key"))
        for key, field in keys.items()
        if given.get(f"data.{key}_key") is not None
    }
    if given.pop("model.pretrain_mode_enable", False) and "prompt" in columns:
        columns = {"text": columns.pop("prompt")}
    columns = recipe.fitting_columns(columns)
    rows = given.pop("data.max_samples", None)
    sources = []
    for name, weight in zip(listed, weights, strict=True):
        settings: dict[str, Any] = {"name": name, **({"columns": dict(columns)} if columns else {})}
        if isinstance(rows, int) and len(listed) == 1:
            settings["rows"] = rows
        sources.append(Source(settings, weight=weight))
    if rows is not None and len(listed) > 1:
        recipe.leave("--data.max_samples", rows, "rows of a mixture are limited for each data set: name#N")
    recipe.put_sources(sources)


def _shares(text: Any) -> list[float | None]:
    try:
        return [float(share) for share in str(text).split(",")]
    except ValueError as error:
        raise ConfigError(
            "no shares that can be read without the shell", given=str(text), hint="write the numbers: 0.5,0.5"
        ) from error


def _adapters(recipe: Draft, given: dict[str, Any]) -> None:
    rank, alpha = given.pop("ds.lora.rank", 0), given.pop("ds.lora.alpha", 16)
    dropout, modules = given.pop("ds.lora.dropout", 0.0), given.pop("ds.lora.target_modules", "all-linear")
    if rank:
        names = [modules] if isinstance(modules, str) and modules != "all-linear" else modules
        recipe.put("lora", {"r": rank, "alpha": alpha, "dropout": float(dropout), "target_modules": names})


def _whole(value: Any, key: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ConfigError("no number that can be read without the shell", given=f"--{key} {value}", hint="write the number")


def _reinforcement(recipe: Draft, given: dict[str, Any]) -> None:
    """Batches in completions, the KL term, clipping, the critic and the reward."""
    group = _whole(given.pop("rollout.n_samples_per_prompt", 1), "rollout.n_samples_per_prompt")
    rollout = _whole(given.pop("rollout.batch_size", 1024), "rollout.batch_size") * group
    batch = _whole(given.pop("train.batch_size", 128), "train.batch_size")
    micro = given.pop("train.micro_batch_size", 1)
    if rollout % batch:
        raise ConfigError("a rollout is no whole number of batches", given=f"{rollout} completions, {batch} a batch")
    if not isinstance(micro, int) or batch % micro:
        recipe.leave("--train.micro_batch_size", micro, "a batch is no whole number of these")
        micro = 1
    recipe.put("rollout.group_size", group)
    recipe.put_trl("per_device_train_batch_size", micro)
    recipe.put_trl("gradient_accumulation_steps", batch // micro)
    recipe.put_trl("steps_per_generation", rollout // micro)
    recipe.put_trl("num_iterations", given.pop("train.max_epochs", 1))
    recipe.put_trl("num_train_epochs", given.pop("train.num_episodes", 1))
    length, tokens = given.pop("data.max_len", None), given.pop("rollout.max_new_tokens", None)
    if tokens is None and length is not None:
        recipe.leave("--data.max_len", length, "prompts and completions together; here completions alone are limited")
    recipe.put("rollout.max_new_tokens", tokens if tokens is not None else length if length is not None else 1024)
    recipe.put("rollout.temperature", given.pop("rollout.temperature", 1.0))
    recipe.put("rollout.top_p", given.pop("rollout.top_p", 1.0))
    _kl(recipe, given)
    clip = given.pop("actor.eps_clip", 0.2)
    low, high = given.pop("actor.eps_clip_low_high", None) or (clip, clip)
    recipe.put_trl("epsilon", low, "--actor.eps_clip")
    recipe.put_trl("epsilon_high", high, "--actor.eps_clip")
    if given.pop("algo.dynamic_filtering_enable", False):
        recipe.put("sampler", {"name": "dynamic"})
    entropy = given.pop("actor.entropy_coef", None)
    if entropy:
        recipe.put_trl("entropy_coef", entropy, "--actor.entropy_coef")
    gamma, lam = given.pop("algo.advantage.gamma", 1.0), given.pop("algo.advantage.lambd", 1.0)
    rate, value_clip = given.pop("critic.adam.lr", 9e-6), given.pop("critic.value_clip", 0.5)
    frozen = given.pop("critic.freezing_steps", 0)
    if recipe.method == "ppo":
        recipe.put("advantage", {"name": "gae", "gamma": gamma, "lam": lam})
        warmup = max(frozen, 0) * (rollout // batch)
        recipe.put("critic", {"learning_rate": rate, "clip": value_clip, "warmup_steps": warmup})
    if isinstance(save := given.pop("ckpt.save_steps", -1), int) and save > 0:
        recipe.put_trl("save_steps", save * (rollout // batch))
    else:
        recipe.put_trl("save_strategy", "no")
    _reward(recipe, given)


def _kl(recipe: Draft, given: dict[str, Any]) -> None:
    recipe.put_trl("beta", given.pop("algo.kl.init_coef", 0.01), "--algo.kl.init_coef")
    in_loss, estimator = given.pop("algo.kl.use_loss", False), str(given.pop("algo.kl.estimator", "k1"))
    recipe.put("kl.where", "loss" if in_loss else "reward")
    usual = "k3" if in_loss else "k1"
    if estimator != usual:
        recipe.leave("--algo.kl.estimator", estimator, f"the KL term is estimated by {usual}")
    target, horizon = given.pop("algo.kl.target", None), given.pop("algo.kl.horizon", 10000)
    if target is not None:
        recipe.put("kl.target", target)
        recipe.put("kl.horizon", horizon)


def _reward(recipe: Draft, given: dict[str, Any]) -> None:
    model, remote = given.pop("reward.model_name_or_path", None), given.pop("reward.remote_url", None)
    if remote and str(remote).endswith(".py"):
        recipe.put("rewards", [{"name": f"{remote}:reward_func"}])
    elif remote:
        raise ConfigError(
            "a reward on a server of OpenRLHF's protocol",
            given=f"--reward.remote_url {remote}",
            hint="rlllm's reward remote asks a server of its own protocol: docs/guides/rewards.md",
        )
    elif model:
        recipe.put("rewards", [{"name": "model", "path": str(model)}])


def _recorded(recipe: Draft, given: dict[str, Any]) -> None:
    """Trainings on recorded rows."""
    batch = _whole(given.pop("train.batch_size", 128), "train.batch_size")
    micro = given.pop("train.micro_batch_size", 1)
    micro = micro if isinstance(micro, int) and micro > 0 and batch % micro == 0 else 1
    recipe.put_trl("per_device_train_batch_size", micro)
    recipe.put_trl("gradient_accumulation_steps", batch // micro)
    recipe.put_trl("num_train_epochs", given.pop("train.max_epochs", 1))
    recipe.put_trl("max_length", given.pop("data.max_len", 512 if recipe.method != "sft" else 2048))
    if recipe.verb == "align":
        recipe.put_trl("beta", given.pop("model.beta", 0.1), "--model.beta")
        if given.get("model.label_smoothing"):
            recipe.put_trl("label_smoothing", given.pop("model.label_smoothing"), "--model.label_smoothing")
        if coefficient := given.pop("model.nll_loss_coef", 0):
            recipe.put_trl("loss_type", ["sigmoid", "sft"], "--model.nll_loss_coef")
            recipe.put_trl("loss_weights", [1.0, coefficient], "--model.nll_loss_coef")
    if given.get("ds.packing_samples") and recipe.method == "sft":
        recipe.put_trl("packing", True, "--ds.packing_samples")
        given.pop("ds.packing_samples")


def _shared(recipe: Draft, given: dict[str, Any]) -> None:
    """Optimiser, schedule and folders."""
    rates = {"ppo": 1e-6, "sft": 5e-6, "dpo": 1e-6, "ipo": 1e-6, "bt": 9e-6, "kto": 5e-7}
    recipe.put_trl("learning_rate", given.pop("actor.adam.lr", rates.get(recipe.method, 1e-6)), "--adam.lr")
    recipe.put_trl(
        "lr_scheduler_type", given.pop("lr_scheduler", given.pop("actor.lr_scheduler", "cosine_with_min_lr"))
    )
    if recipe.values["trainer"].get("lr_scheduler_type") == "cosine_with_min_lr":
        recipe.put_trl("lr_scheduler_kwargs", {"min_lr_rate": given.pop("actor.min_lr_ratio", 0.1)})
    recipe.put_trl("warmup_steps", given.pop("lr_warmup_ratio", given.pop("actor.lr_warmup_ratio", 0.03)))
    betas = given.pop("adam_betas", given.pop("actor.adam.betas", given.pop("adam.betas", (0.9, 0.95))))
    recipe.put_trl("adam_beta1", betas[0])
    recipe.put_trl("adam_beta2", betas[1])
    places = {
        "actor.adam.weight_decay": "weight_decay",
        "actor.max_norm": "max_grad_norm",
        "logger.logging_steps": "logging_steps",
    }
    for key, name in places.items():
        if key in given:
            recipe.put_trl(name, given.pop(key), f"--{key}")
    save = given.pop("ckpt.save_steps", -1)
    if isinstance(save, int) and save > 0:
        recipe.put_trl("save_steps", save)
    if "actor.gradient_checkpointing_enable" in given:
        recipe.put_trl("gradient_checkpointing", bool(given.pop("actor.gradient_checkpointing_enable")))
    if "train.seed" in given:
        recipe.put("seed", given.pop("train.seed"))
    folder = given.pop("ckpt.output_dir", None)
    if folder and shell.UNKNOWN not in str(folder):
        recipe.put("output_dir", str(folder))


_GROUPS = (
    ("eval.", NO_EVAL),
    ("eval_", NO_EVAL),
    ("wandb", SHELL),
    ("logger.", "everything is logged into the run directory"),
    ("load_in_4bit", QUANTISED),
    ("prompt_max_len", PROMPT_LENGTH),
    ("template", TEMPLATE),
    ("attn", ATTENTION),
    ("param_dtype", BY_HARDWARE),
    ("bf16", BY_HARDWARE),
    ("is_correction", _CLIPPED),
    ("ckpt.load", "resume with --resume"),
    ("load_checkpoint", "resume with --resume"),
    ("ckpt.", "checkpoints are in the run's folder"),
    ("normalize", "advantages are normalised, rewards are not"),
    ("stop_properly", "rewards of completions that were cut stay as they are"),
    ("aux_loss", "the balance of experts is not part of the loss"),
    ("packing", "rows are packed where that changes nothing"),
    ("critic.", "the critic has critic.learning_rate, clip and warmup_steps"),
)
"""Part of a flag to why it has no counterpart; the first that fits."""
