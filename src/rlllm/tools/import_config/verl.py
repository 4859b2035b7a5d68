"""verl's launch scripts (`python3 -m verl.trainer.main_ppo key=value ...`, DAPO's among them), and its Hydra configs as YAML.

A batch is counted in prompts there and in completions here; what verl would take by default is written out. The loss is verl's:
clipped twice, and aggregated as `loss_agg_mode` says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlllm.algorithms.mismatch.correction import FORMER_CRITERIA
from rlllm.core.errors import ConfigError, unknown
from rlllm.core.yaml_io import parse_scalar
from rlllm.tools.import_config import shell
from rlllm.tools.import_config.draft import LAUNCHER, NO_EVAL, PROMPT_LENGTH, QUANTISED, Draft, Source, read_config

_RL = ("verl.trainer.main_ppo", "recipe.dapo.main_dapo", "recipe.dapo.src.main_dapo")
"""verl's own command, and the recipe of DAPO's, which takes the same keys."""
_SFT = ("verl.trainer.fsdp_sft_trainer", "verl.trainer.sft_trainer")
_METHODS = {
    "gae": ("align", "ppo"),
    "grpo": ("reason", "grpo"),
    "rloo": ("reason", "rloo"),
    "remax": ("reason", "remax"),
    "reinforce_plus_plus": ("reason", "reinforce++"),
    "reinforce_plus_plus_baseline": ("reason", "reinforce++-baseline"),
}
"""`algorithm.adv_estimator` to verb and method."""
_AGGREGATIONS = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm")
_REFUSED = {
    "data.custom_cls.path": "rows that a class of verl's makes",
    "data.sampler.class_path": "an order of prompts that a class of verl's makes",
    "actor_rollout_ref.rollout.multi_turn.enable": "several turns with tools in a rollout",
    "actor_rollout_ref.rollout.multi_turn.tool_config_path": "several turns with tools in a rollout",
    "actor_rollout_ref.rollout.multi_turn.interaction_config_path": "several turns in a rollout",
    "actor_rollout_ref.rollout.agent.agent_loop_config_path": "an agent of verl's in a rollout",
    "actor_rollout_ref.actor.freeze_vision_tower": "training of a part of the weights",
    "actor_rollout_ref.actor.router_replay.mode": "replayed routes of experts",
    "do_search": "a search engine in a rollout (Search-R1)",
    "algorithm.use_pf_ppo": "weighted drawing of samples (PF-PPO)",
    "algorithm.rollout_correction.loss_type": "a correction between two engines as the loss",
}
"""Keys of ways of training that rlllm lacks."""
_DEFAULTS: dict[str, Any] = {
    "data.train_batch_size": 1024,
    "data.max_response_length": 512,
    "actor_rollout_ref.rollout.n": 1,
    "actor_rollout_ref.rollout.temperature": 1.0,
    "actor_rollout_ref.rollout.top_p": 1.0,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 256,
    "actor_rollout_ref.actor.ppo_epochs": 1,
    "actor_rollout_ref.actor.optim.lr": 1e-6,
    "actor_rollout_ref.actor.optim.weight_decay": 0.01,
    "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
    "trainer.total_epochs": 30,
}
"""verl's defaults, which a recipe writes out."""
_ACTOR, _ROLLOUT, _MODEL = "actor_rollout_ref.actor.", "actor_rollout_ref.rollout.", "actor_rollout_ref.model."


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """The module that a script starts, and its settings by dotted key; of a YAML file, its nested settings.

    Raises:
        ConfigError: a script that starts no training of verl's that can be imported.
    """
    if path.suffix in (".yaml", ".yml", ".json"):
        value = read_config(path)
        return _RL[0] if "actor_rollout_ref" in value else _SFT[0], _flat(value)
    module, words = shell.command(path, [*_RL, *_SFT])
    settings: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if equals and not key.startswith("-"):
            settings[key.lstrip("+~")] = parse_scalar(text)
    return module, settings


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}{key}.") if isinstance(item, Mapping) and item else {f"{prefix}{key}": item}
    return flat


def draft(path: Path) -> Draft:
    """The recipe of a script or config of verl's.

    Raises:
        ConfigError: a way of training that rlllm lacks, or a value that only the shell knows.
    """
    module, given = read(path)
    given = {key: value for key, value in given.items() if value is not None}
    return _imitation(given) if module in _SFT else _reinforcement(given)


def _reinforcement(given: dict[str, Any]) -> Draft:
    for key, what in _REFUSED.items():
        if given.get(key) not in (None, False, "", 0):
            raise ConfigError(f"{what}, which rlllm does not have", given=f"{key}={given[key]}"[:120])
    estimator = str(given.pop("algorithm.adv_estimator", "gae"))
    if estimator not in _METHODS:
        raise unknown("adv_estimator of verl that rlllm has", estimator, _METHODS)
    recipe = Draft("verl", *_METHODS[estimator])
    rest = {**_DEFAULTS, **given}
    _required(recipe, rest, f"{_MODEL}path", "model")
    _data(recipe, rest)
    updates = _batches(recipe, rest)
    _losses(recipe, rest)
    _kl(recipe, rest)
    _rewards(recipe, rest)
    _adapters(recipe, rest, _MODEL)
    _correction(recipe, rest)
    for key, place in _PLACES.items():
        if key in rest:
            _put(recipe, place, rest.pop(key), key)
    _choices(recipe, rest, estimator)
    _steps(recipe, rest, estimator, updates)
    _leave_rest(recipe, rest)
    return recipe


_PLACES = {
    "data.max_response_length": "rollout.max_new_tokens",
    f"{_ROLLOUT}temperature": "rollout.temperature",
    f"{_ROLLOUT}top_p": "rollout.top_p",
    f"{_ACTOR}optim.lr": "trainer.learning_rate",
    f"{_ACTOR}optim.weight_decay": "trainer.weight_decay",
    f"{_ACTOR}ppo_epochs": "trainer.num_iterations",
    f"{_ACTOR}grad_clip": "trainer.max_grad_norm",
    f"{_ACTOR}optim.clip_grad": "trainer.max_grad_norm",
    f"{_MODEL}enable_gradient_checkpointing": "trainer.gradient_checkpointing",
    f"{_MODEL}use_liger": "trainer.use_liger_kernel",
    "trainer.total_epochs": "trainer.num_train_epochs",
    "trainer.default_local_dir": "output_dir",
}
"""Key to the place in a recipe that means the same."""


def _put(recipe: Draft, place: str, value: Any, key: str) -> None:
    if isinstance(value, str) and shell.UNKNOWN in value:
        recipe.leave(key, value, "the shell computes it")
    elif place.startswith("trainer."):
        recipe.put_trl(place.removeprefix("trainer."), value, key)
    else:
        recipe.put(place, value)


def _required(recipe: Draft, rest: dict[str, Any], key: str, place: str) -> None:
    value = rest.pop(key, None)
    if not value:
        raise ConfigError(f"the config names no {place}", hint=f"{key}=...")
    recipe.put(place, str(value))


def _data(recipe: Draft, rest: dict[str, Any]) -> None:
    files = rest.pop("data.train_files", None)
    names = files if isinstance(files, list) else [files]
    if not files:
        raise ConfigError("the config names no data set", hint="data.train_files=...")
    prompt = rest.pop("data.prompt_key", "prompt")
    columns = ({} if prompt == "prompt" else {"prompt": prompt}) | _images(rest)
    recipe.put_sources([Source({"name": str(name), **({"columns": columns} if columns else {})}) for name in names])


def _images(rest: dict[str, Any]) -> dict[str, str]:
    """The map of `data.image_key`, where it is not the column that is read anyway."""
    column = rest.pop("data.image_key", None)
    return {"images": str(column)} if column and column != "images" else {}


def _batches(recipe: Draft, rest: dict[str, Any]) -> int:
    """Prompts of a rollout and of a step, and completions of a micro-batch, in TRL's counts of completions.

    Returns the optimizer steps of a rollout, which verl counts as one step.
    """
    repeats = [
        f"{_ROLLOUT}n",
        f"{_ROLLOUT}n_agent",
    ]  # the latter is Search-R1's, which repeats prompts before a rollout
    group = math.prod(_number(rest.pop(key, 1), key) for key in repeats)
    prompts = _number(rest.pop("data.train_batch_size"), "data.train_batch_size")
    mini = _number(rest.pop(f"{_ACTOR}ppo_mini_batch_size"), f"{_ACTOR}ppo_mini_batch_size")
    key = f"{_ACTOR}ppo_micro_batch_size_per_gpu"
    micro = rest.pop(key, None)
    if mini > prompts:
        recipe.leave(
            f"{_ACTOR}ppo_mini_batch_size", mini, "a rollout has fewer prompts, so that a step takes all of it"
        )
        mini = prompts
    if prompts % mini:
        raise ConfigError(
            "a rollout is no whole number of mini-batches", given=f"{prompts} prompts, {mini} a mini-batch"
        )
    if not isinstance(micro, int) or micro < 1 or mini * group % micro:
        if micro is not None:
            recipe.leave(key, micro, "a step is no whole number of such batches: a group is taken at once")
        micro = group
    if group < 2 and recipe.method not in ("ppo", "remax", "reinforce++"):
        raise ConfigError(f"{recipe.method} compares completions of one prompt", given=f"{_ROLLOUT}n={group}")
    recipe.put("rollout.group_size", group)
    recipe.put_trl("per_device_train_batch_size", micro)
    recipe.put_trl("gradient_accumulation_steps", mini * group // micro)
    recipe.put_trl("steps_per_generation", prompts * group // micro)
    return prompts // mini * _number(rest[f"{_ACTOR}ppo_epochs"], f"{_ACTOR}ppo_epochs")


def _number(value: Any, key: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ConfigError("no number that can be read without the shell", given=f"{key}={value}", hint="write the number")


def _losses(recipe: Draft, rest: dict[str, Any]) -> None:
    """verl's policy loss, with its bounds and its aggregation."""
    mode = str(rest.pop(f"{_ACTOR}policy_loss.loss_mode", "vanilla"))
    how = str(rest.pop(f"{_ACTOR}loss_agg_mode"))
    both = rest.pop(f"{_ACTOR}clip_ratio", 0.2)
    low, high = (rest.pop(f"{_ACTOR}clip_ratio_{side}", both) for side in ("low", "high"))
    bound = rest.pop(f"{_ACTOR}clip_ratio_c", 3.0)
    if how not in _AGGREGATIONS:
        raise unknown("loss_agg_mode of verl", how, _AGGREGATIONS)
    entropy = rest.pop(f"{_ACTOR}entropy_coeff", 0)
    if mode == "vanilla":
        ends = {"clip_ratio_low": low, "clip_ratio_high": high, "clip_ratio_c": bound}
        if entropy:
            _with_entropy(recipe, how, entropy, ends)
        else:
            recipe.put("loss", {"name": "dual-clip", **ends, "aggregation": how})
        return
    if entropy:
        recipe.leave(f"{_ACTOR}entropy_coeff", entropy, f"the loss of verl's {mode} has no entropy bonus here")
    if mode not in ("gspo", "geo_mean", "cispo", "sapo"):
        raise ConfigError("a policy loss of verl's own, which rlllm does not have", given=f"loss_mode={mode}")
    if recipe.method != "grpo":
        raise ConfigError("this policy loss goes with adv_estimator=grpo", given=f"loss_mode={mode}")
    recipe.method = {"geo_mean": "gmpo"}.get(mode, mode)
    recipe.leave(f"{_ACTOR}loss_agg_mode", how, f"the method {recipe.method} has its paper's")
    if mode == "sapo":
        for key, side in (("tau_pos", "pos"), ("tau_neg", "neg")):
            if (value := rest.pop(f"{_ACTOR}{key}", None)) is not None:
                recipe.put_trl(f"sapo_temperature_{side}", value, f"{_ACTOR}{key}")
        return
    if mode == "geo_mean":
        recipe.leave(f"{_ACTOR}clip_ratio_low", low, "the method gmpo has its paper's bounds: loss={name: gmpo}")
        return
    if mode == "gspo":
        recipe.put_trl("epsilon", low, f"{_ACTOR}clip_ratio_low")
    recipe.put_trl("epsilon_high", high, f"{_ACTOR}clip_ratio_high")


def _correction(recipe: Draft, rest: dict[str, Any]) -> None:
    """verl's `rollout_correction`, whose keys are the same here; criteria of its earlier versions under their later names."""
    section = "algorithm.rollout_correction."
    given = {key: rest.pop(key) for key in list(rest) if key.startswith(f"{section}rollout_")}
    values = {key.removeprefix(section): value for key, value in given.items() if value not in (None, "null")}
    name, lower = values.get("rollout_rs"), values.pop("rollout_rs_threshold_lower", None)
    if name in FORMER_CRITERIA:
        values["rollout_rs"] = FORMER_CRITERIA[name]
        upper = float(values.get("rollout_rs_threshold", 2.0))
        least = 1 / upper if lower is None else float(lower)
        # earlier versions bounded trainer over sampler, a k1 bounds sampler over trainer
        values["rollout_rs_threshold"] = f"{1 / upper:g}_{1 / least:g}"
    if "rollout_is" in values or "rollout_rs" in values:
        for key, value in values.items():
            recipe.put(f"rollout_correction.{key}", value)


def _with_entropy(recipe: Draft, how: str, entropy: float, ends: Mapping[str, Any]) -> None:
    """An entropy bonus goes with TRL's losses, which clip once."""
    losses = {"token-mean": "dapo", "seq-mean-token-mean": "grpo", "seq-mean-token-sum-norm": "dr_grpo"}
    if how not in losses:
        raise ConfigError("an entropy bonus beside this aggregation", given=f"loss_agg_mode={how}", exists=losses)
    recipe.put("loss", losses[how])
    recipe.put_trl("epsilon", ends["clip_ratio_low"])
    recipe.put_trl("epsilon_high", ends["clip_ratio_high"])
    recipe.put_trl("entropy_coef", entropy, f"{_ACTOR}entropy_coeff")
    reason = "losses with an entropy bonus clip once, and the bound on negative advantages is not among them"
    recipe.leave(f"{_ACTOR}clip_ratio_c", ends["clip_ratio_c"], reason)


def _kl(recipe: Draft, rest: dict[str, Any]) -> None:
    in_loss, in_reward = rest.pop(f"{_ACTOR}use_kl_loss", False), rest.pop("algorithm.use_kl_in_reward", False)
    loss = rest.pop(f"{_ACTOR}kl_loss_coef", 0.001), str(rest.pop(f"{_ACTOR}kl_loss_type", "low_var_kl"))
    reward, kind = rest.pop("algorithm.kl_ctrl.kl_coef", 0.001), rest.pop("algorithm.kl_ctrl.type", "fixed")
    target, horizon = rest.pop("algorithm.kl_ctrl.target_kl", 0.1), rest.pop("algorithm.kl_ctrl.horizon", 10000)
    if in_loss and in_reward:
        raise ConfigError("a KL term in the loss and another in the reward; a recipe has one")
    recipe.put_trl("beta", loss[0] if in_loss else reward if in_reward else 0.0)
    if in_loss or in_reward:
        recipe.put("kl.where", "loss" if in_loss else "reward")
    if in_loss and loss[1] not in ("low_var_kl", "k3"):
        recipe.leave(f"{_ACTOR}kl_loss_type", loss[1], "the KL term is estimated by k3 (low_var_kl)")
    if in_reward and kind == "adaptive":
        recipe.put("kl.target", target)
        recipe.put("kl.horizon", horizon)


def _rewards(recipe: Draft, rest: dict[str, Any]) -> None:
    path, name = (rest.pop(f"custom_reward_function.{key}", None) for key in ("path", "name"))
    fixed = {key: rest.pop(key) for key in list(rest) if key.startswith("custom_reward_function.reward_kwargs.")}
    enabled, model = rest.pop("reward_model.enable", False), rest.pop("reward_model.model.path", None)
    rewards: list[dict[str, Any]] = []
    if path and shell.UNKNOWN not in str(path):
        arguments = {key.rpartition(".")[2]: value for key, value in fixed.items()}
        rewards.append({"name": f"{path}:{name or 'compute_score'}", **arguments})
    if enabled and model:
        rewards.append({"name": "model", "path": str(model)})
    if not rewards:
        rewards.append({"name": "math"})
        recipe.leave("custom_reward_function.path", path, "verl checks by data_source; math compares the marked answer")
    buffer = {key: rest.pop(key) for key in list(rest) if "overlong_buffer" in key}
    values = {key.rpartition(".")[2]: value for key, value in buffer.items()}
    if values.get("enable"):
        settings = {"limit": rest.get("data.max_response_length"), "cache": values.get("len")}
        rewards.append({"name": "overlong", "weight": float(values.get("penalty_factor", 1.0)), **settings})
    recipe.put("rewards", rewards)


def _adapters(recipe: Draft, rest: dict[str, Any], prefix: str) -> None:
    rank = rest.pop(f"{prefix}lora_rank", rest.pop(f"{prefix}lora.rank", 0))
    alpha = rest.pop(f"{prefix}lora_alpha", rest.pop(f"{prefix}lora.alpha", 16))
    modules = rest.pop(f"{prefix}target_modules", "all-linear")
    if rank:
        recipe.put("lora", {"r": rank, "alpha": alpha, "target_modules": modules})


def _choices(recipe: Draft, rest: dict[str, Any], estimator: str) -> None:
    """Settings that turn a part of the method on or off, or that only one method has."""
    if rest.pop("algorithm.norm_adv_by_std_in_grpo", True) is False and estimator == "grpo":
        recipe.put_trl("scale_rewards", "none", "algorithm.norm_adv_by_std_in_grpo")
    if rest.pop("algorithm.filter_groups.enable", False):
        rounds = rest.pop("algorithm.filter_groups.max_num_gen_batches", None)
        recipe.put("sampler", {"name": "dynamic", **({"max_rounds": rounds} if rounds else {})})
    gamma, lam = rest.pop("algorithm.gamma", 1.0), rest.pop("algorithm.lam", 1.0)
    if estimator == "gae":
        recipe.put("advantage", {"name": "gae", "gamma": gamma, "lam": lam})
        recipe.put("critic.learning_rate", rest.pop("critic.optim.lr", 1e-5))
        recipe.put("critic.clip", rest.pop("critic.cliprange_value", 0.5))
    kind = rest.pop(f"{_ACTOR}optim.warmup_style", rest.pop(f"{_ACTOR}optim.lr_scheduler_type", "constant"))
    recipe.put_trl("lr_scheduler_type", "constant_with_warmup" if kind == "constant" else kind)
    top_k = rest.pop(f"{_ROLLOUT}top_k", -1)
    if isinstance(top_k, int) and top_k > 0:
        recipe.put("rollout.top_k", top_k)


def _steps(recipe: Draft, rest: dict[str, Any], estimator: str, updates: int) -> None:
    """Counts of steps: a step of verl is a rollout, with `updates` steps of the optimizer."""
    warmup = rest.pop(f"{_ACTOR}optim.lr_warmup_steps", -1)
    share = rest.pop(f"{_ACTOR}optim.lr_warmup_steps_ratio", 0.0)
    recipe.put_trl("warmup_steps", warmup * updates if isinstance(warmup, int) and warmup > 0 else share)
    for key, name in (("trainer.total_training_steps", "max_steps"), ("trainer.save_freq", "save_steps")):
        value = rest.pop(key, None)
        if isinstance(value, int) and value > 0:
            recipe.put_trl(name, value * updates, key)
        elif name == "save_steps":
            recipe.put_trl("save_strategy", "no", key)
    if estimator == "gae":
        recipe.put("critic.warmup_steps", rest.pop("trainer.critic_warmup", 0) * updates)


_GROUPS = (
    ("rollout.val_kwargs", NO_EVAL),
    ("val_", NO_EVAL),
    ("test_freq", NO_EVAL),
    ("max_prompt_length", PROMPT_LENGTH),
    ("truncation", PROMPT_LENGTH),
    ("filter_overlong", PROMPT_LENGTH),
    ("quantiz", QUANTISED),
    ("rollout_correction", "the ratio of new to old policy starts at the trainer's own probabilities"),
    ("critic.model.path", "the critic starts where critic.init says"),
    ("critic.", "the critic shares the policy's batches and schedule"),
    ("reward_model.", "the reward says how it computes"),
    ("trust_remote_code", "code of a repository runs where model.trust_remote_code names it"),
    ("lora_adapter_path", "name the adapter's folder as model: it is a model here"),
    ("override_config", "the model's config is its own"),
    ("critic_warmup", "the method has no critic"),
    ("n_gpus_per_node", LAUNCHER),
    ("nnodes", LAUNCHER),
    ("resume", "resume with --resume"),
    ("filter_groups.metric", "the sampler judges groups by the first reward"),
    ("gen_batch_size", "the sampler draws as many prompts as a rollout takes"),
    ("data.shuffle", "the sampler orders prompts, from the seed"),
    ("data.", "rows are read by rlllm, under the tokenizer's own template"),
    ("algorithm.", "the method has no such setting"),
    ("trainer.", "logs and checkpoints are in the run's folder"),
)
"""Part of a key to why it has no counterpart; the first that fits."""


_SECTIONS = frozenset(
    {
        "data",
        "actor_rollout_ref",
        "critic",
        "reward",
        "reward_model",
        "reward_manager",
        "custom_reward_function",
        "algorithm",
        "trainer",
        "ray_init",
        "ray_kwargs",
        "global_profiler",
        "transfer_queue",
        "hydra",
        "model",
        "optim",
        "engine",
        "checkpoint",
        "profiler",
    }
)
"""What verl's keys begin with."""


def _leave_rest(recipe: Draft, rest: dict[str, Any]) -> None:
    for key, value in rest.items():
        usual = (
            LAUNCHER if key.partition(".")[0] in _SECTIONS else "no key of verl's: see what the program does with it"
        )
        recipe.leave(key, value, next((reason for part, reason in _GROUPS if part in key), usual))


def _imitation(given: dict[str, Any]) -> Draft:
    """`fsdp_sft_trainer` and `sft_trainer`: prompts and answers in two columns, or messages."""
    recipe = Draft("verl", "sft", "sft")
    rest = {
        "optim.lr": 1e-5,
        "data.train_batch_size": 256,
        "trainer.total_epochs": 4,
        "optim.weight_decay": 0.01,
        **given,
    }
    key = "model.partial_pretrain" if "model.partial_pretrain" in rest else "model.path"
    _required(recipe, rest, key, "model")
    files = rest.pop("data.train_files", None)
    if not files:
        raise ConfigError("the config names no data set", hint="data.train_files=...")
    columns = _sft_columns(recipe, rest) | _images(rest)
    names = files if isinstance(files, list) else [files]
    recipe.put_sources([Source({"name": str(name), **({"columns": columns} if columns else {})}) for name in names])
    batch = _number(rest.pop("data.train_batch_size"), "data.train_batch_size")
    micro = rest.pop("data.micro_batch_size_per_gpu", rest.pop("data.micro_batch_size", None))
    micro = micro if isinstance(micro, int) and micro > 0 and batch % micro == 0 else 1
    recipe.put_trl("per_device_train_batch_size", micro)
    recipe.put_trl("gradient_accumulation_steps", batch // micro)
    _adapters(recipe, rest, "model.")
    for name, place in _SFT_PLACES.items():
        if name in rest:
            _put(recipe, place, rest.pop(name), name)
    _leave_rest(recipe, rest)
    return recipe


def _sft_columns(recipe: Draft, rest: dict[str, Any]) -> dict[str, str]:
    many = rest.pop("data.multiturn.enable", False), rest.pop("data.multiturn.messages_key", "messages")
    if many[0]:
        return {"messages": str(many[1])}
    columns = {}
    for side, field in (("prompt", "prompt"), ("response", "completion")):
        name, inner = rest.pop(f"data.{side}_key", None), rest.pop(f"data.{side}_dict_keys", None)
        if name:
            inner = inner[0] if isinstance(inner, list) and inner else None
            columns[field] = f"{name}.{inner}" if inner else str(name)
    return columns


_SFT_PLACES = {
    "optim.lr": "trainer.learning_rate",
    "optim.weight_decay": "trainer.weight_decay",
    "optim.clip_grad": "trainer.max_grad_norm",
    "optim.lr_warmup_steps_ratio": "trainer.warmup_steps",
    "data.max_length": "trainer.max_length",
    "model.enable_gradient_checkpointing": "trainer.gradient_checkpointing",
    "model.use_liger": "trainer.use_liger_kernel",
    "trainer.total_epochs": "trainer.num_train_epochs",
    "trainer.total_training_steps": "trainer.max_steps",
    "trainer.default_local_dir": "output_dir",
}
