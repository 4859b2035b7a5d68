"""Reward functions that configs of TRL and open-r1 name, as rewards of rlllm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.tools.import_config.draft import Draft

_Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Counterpart:
    """A reward of rlllm that stands for one of theirs."""

    make: Callable[[Mapping[str, Any]], _Settings]
    """The config to the reward's settings. `weight` in them is a factor of the config's own weight."""
    difference: str | None = None
    """How its score differs from theirs."""
    reads: tuple[str, ...] = ()
    """Keys of the config that `make` reads."""


def _always(**settings: Any) -> _Counterpart:
    return _Counterpart(lambda config: dict(settings))


def _cosine(config: Mapping[str, Any]) -> _Settings:
    """`min` and `max` of open-r1 are in the order of its formula: a wrong answer goes from `min`, at length 0, to `max`."""
    correct = [config.get("cosine_max_value_correct", 1.0), config.get("cosine_min_value_correct", 0.5)]
    wrong = [config.get("cosine_min_value_wrong", 0.0), config.get("cosine_max_value_wrong", -0.5)]
    limit = config.get("cosine_max_len", 1000)
    ends = {"correct": correct, "wrong": wrong, "exceeded": None}
    return {"name": "cosine", "limit": limit, "unit": "characters", "reward": "math", **ends}


def _repetition(config: Mapping[str, Any]) -> _Settings:
    settings = {"name": "repetition", "size": config.get("repetition_n_grams", 3)}
    return {**settings, "weight": -float(config.get("repetition_max_penalty", -1.0))}


def _overlong(config: Mapping[str, Any]) -> _Settings:
    limit = config.get("max_completion_len", 16384)
    return {"name": "overlong", "limit": limit, "cache": config.get("soft_punish_cache", 4096)}


def _code(config: Mapping[str, Any]) -> _Settings:
    return {"name": "code", "partial": True}


_THINKS = r"(?s)\A<think>(?!.*<think>).*</think>"
_SECTIONS = r"(?s)<think>\n.*?\n</think>\n<answer>\n.*?\n</answer>"
_FENCED = r"(?s)<think>\n.*?\n</think>\n<answer>\n.*?```LANGUAGE\b.*?```.*?\n</answer>"
_COUNTERPARTS: dict[str, _Counterpart] = {
    "accuracy_reward": _always(name="math"),
    "reasoning_accuracy_reward": _Counterpart(
        lambda config: {"name": "math"}, "the end of the reasoning is not asked for; the marked answer decides"
    ),
    "think_format_reward": _always(name="regex", pattern=_THINKS),
    "get_soft_overlong_punishment": _always(name="overlong", limit=1280, cache=256),
    "accuracy": _always(name="math"),
    "format": _always(name="regex", pattern=_SECTIONS, full=True),
    "code": _Counterpart(_code),
    "binary_code": _always(name="code"),
    "code_format": _Counterpart(
        lambda config: {
            "name": "regex",
            "pattern": _FENCED.replace("LANGUAGE", str(config.get("code_language", "python"))),
            "full": True,
        },
        reads=("code_language",),
    ),
    "cosine": _Counterpart(
        _cosine,
        "beyond cosine_max_len characters it stays at its long end, where theirs goes back to the other",
        (
            "cosine_max_len",
            "cosine_min_value_wrong",
            "cosine_max_value_wrong",
            "cosine_min_value_correct",
            "cosine_max_value_correct",
        ),
    ),
    "repetition_penalty": _Counterpart(
        _repetition, "upper and lower case differ", ("repetition_n_grams", "repetition_max_penalty")
    ),
    "soft_overlong_punishment": _Counterpart(_overlong, reads=("max_completion_len", "soft_punish_cache")),
}
"""Names in TRL's and open-r1's registries to rewards of rlllm."""
_SHAPING = ("reasoning_steps", "length", "tag_count")
"""Names in open-r1's registry without a counterpart. They shape; the others check answers."""
_CHECKING = ("ioi_code", "cf_code")
_TEXTS_OF_ANSWERS = ("accuracy_reward", "reasoning_accuracy_reward", "accuracy", "cosine")
"""Rewards that read the answer from the column `solution`."""
_READ = (*{key for counterpart in _COUNTERPARTS.values() for key in counterpart.reads},)


def put_rewards(draft: Draft, config: dict[str, Any]) -> None:
    """Set the rewards with their weights, and take their keys out of the config. A reward model comes first, as in TRL.

    Raises:
        ConfigError: a reward that checks answers and has no counterpart: without it the recipe would train something else.
    """
    model, functions = config.pop("reward_model_name_or_path", None), config.pop("reward_funcs", None)
    functions = functions if isinstance(functions, list) else [] if functions is None else [functions]
    weights = config.pop("reward_weights", None)
    parameters = {key: config.pop(key) for key in _READ if key in config}
    names = [*([None] if model else []), *functions]
    fits = isinstance(weights, list) and len(weights) == len(names)
    if weights is not None and not fits:
        draft.leave("reward_weights", weights, f"TRL takes one weight for each of the {len(names)} rewards")
    rewards: list[_Settings] = []
    for name, weight in zip(names, weights if fits else [None] * len(names), strict=True):
        settings = {"name": "model", "path": model} if name is None else _reward(draft, str(name), weight, parameters)
        if settings is not None:
            rewards.append(_weighted(settings, weight))
    if rewards:
        draft.put("rewards", rewards)
    _answers(draft, functions)
    for key, value in parameters.items():
        if not any(key in counterpart.reads for name, counterpart in _COUNTERPARTS.items() if name in functions):
            draft.leave(key, value, "no reward of the config reads it")


def _reward(draft: Draft, name: str, weight: float | None, config: Mapping[str, Any]) -> _Settings | None:
    """The settings of one reward function; None where it is left out and noted."""
    short = name.removeprefix("trl.rewards.")
    if short in _COUNTERPARTS:
        counterpart = _COUNTERPARTS[short]
        if counterpart.difference:
            draft.leave("reward_funcs", name, f"taken over, and differs: {counterpart.difference}")
        return counterpart.make(config)
    if short in _CHECKING:
        raise ConfigError(
            "a reward that runs programs on a server of its own",
            given=f"reward_funcs: {name}",
            hint="rlllm's code reward reads tests of the layouts in docs/guides/code.md: name it in reward_funcs as `code`",
        )
    if short in _SHAPING or "." not in name:
        kept = "" if weight is None else f", its weight was {weight}"
        reason = f"no reward of rlllm measures this{kept}; a function of your own: --reward file.py:function"
        draft.leave("reward_funcs", name, reason)
        return None
    module, _, function = name.rpartition(".")
    return {"name": f"{module}:{function}"}


def _weighted(settings: _Settings, weight: Any) -> _Settings:
    """The reward with the config's weight, times the factor that its counterpart needs."""
    factor = settings.pop("weight", None)
    if weight is None and factor is None:
        return settings
    total = weight if factor in (None, 1) else factor if weight is None else weight * factor
    return settings if total is None else {**settings, "weight": total}


def _answers(draft: Draft, functions: list[Any]) -> None:
    """TRL's rewards compare with the column `solution`, whatever other columns a row has."""
    names = {str(name).removeprefix("trl.rewards.") for name in functions}
    data = draft.values.get("data", {})
    places = draft.preparation["sources"] if draft.preparation else data.get("mix") or ([data] if data else [])
    if names & {*_TEXTS_OF_ANSWERS}:
        for place in places:
            place.setdefault("columns", {}).setdefault("answer", "solution")
