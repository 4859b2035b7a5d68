"""Resolve the rewards that a recipe names: reward models to folders, isolation of programs, one composition."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass

from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask, Sample, prompt_text, task_of
from rlllm.core.runs import ENSEMBLE
from rlllm.data.load import Loaded
from rlllm.policies.model_sources import resolve_model
from rlllm.rewards.bound import BoundReward
from rlllm.rewards.composition import Composition, build
from rlllm.rewards.config import RewardSpec, SandboxPlace
from rlllm.rewards.models.pretrained import declared, is_local
from rlllm.rewards.other_tools import FORMS
from rlllm.rewards.registry import REWARDS
from rlllm.rewards.score_parsing import Failure, scored

_MODEL_REWARDS = ("model", "process", "judge")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SCORERS = {"ForSequenceClassification": "model", "ForTokenClassification": "process"}
"""End of an architecture's name to the reward that scores with it."""


def resolve_rewards(
    specs: Sequence[RewardSpec], loaded: Loaded, *, monitored_only: bool = False, sandbox: SandboxPlace = "full"
) -> Composition:
    """The composition of the named rewards, or of the data source's own when none is named; `monitored_only` as in `build`.

    A reward written for another tool is tried on the first row, with its reference as the completion.

    Raises:
        ConfigError: such a reward fails on it, or a reward judges by answers and no row has one.
    """
    composition = build(chosen_rewards(specs, loaded, sandbox), monitored_only=monitored_only)
    _check_answers(composition.rewards, loaded)
    for reward in composition.rewards:
        if reward.convention is not None and loaded.train:
            _try(reward, task_of(loaded.train[0]))
    return composition


def _check_answers(rewards: Sequence[BoundReward], loaded: Loaded) -> None:
    """Raise ConfigError for a reward that can judge no row, since it judges by answers and the data has none."""
    judging = [reward.name for reward in rewards if reward.needs_answer]
    answers = (task_of(row).answer for row in (*loaded.train, *loaded.holdout))
    if judging and not any(answer and answer.strip() for answer in answers):
        raise ConfigError(
            f"the reward {judging[0]} compares with an answer, and no row has one",
            given=loaded.source,
            hint="name the column that holds it: data.columns=answer=COLUMN; or a reward that needs none: majority",
        )


def _try(reward: BoundReward, task: PromptTask) -> None:
    sample = Sample(task.prompt, task.answer or "", task.answer, task.meta)
    try:
        (result,) = scored(reward.score_sample, reward.score_batch, [sample])
    finally:
        if reward.release is not None:
            reward.release()
    if isinstance(result, Failure):
        raise ConfigError(
            f"the reward {reward.name}, called as {reward.convention} calls it, {result.phrase}",
            given=f"the first row: {prompt_text(sample.prompt)[:80]!r}, answered {sample.completion[:40]!r}",
            exists=FORMS,
            hint="call the function on one row yourself, or write it as def reward(sample): ...",
        )


def chosen_rewards(specs: Sequence[RewardSpec], loaded: Loaded, sandbox: SandboxPlace = "full") -> list[RewardSpec]:
    """The named rewards, or the data source's own when none is named, with every reward model as a folder.

    Those that run programs and say nothing of how they are isolated run them as `sandbox` says.
    """
    specs = list(specs) or [RewardSpec(name=name) for name in loaded.rewards]
    if not specs:
        raise ConfigError(
            "no reward: this data brings none of its own",
            given=loaded.source,
            hint="say which with --reward NAME; list them with: rlllm rewards ls",
        )
    return [_with_isolation(spec, sandbox) for spec in named_models(specs)]


def _with_isolation(spec: RewardSpec, sandbox: SandboxPlace) -> RewardSpec:
    if sandbox == "full" or "isolation" in spec.params:
        return spec
    target = REWARDS.load(spec.name)
    if not is_dataclass(target) or "isolation" not in {field.name for field in fields(target)}:
        return spec
    return spec.model_copy(update={"params": {**spec.params, "isolation": sandbox}})


def named_models(specs: Sequence[RewardSpec]) -> list[RewardSpec]:
    """The specs with every reward model given as the folder of its weights."""
    return [_with_model_folder(spec) for spec in specs]


def _with_model_folder(spec: RewardSpec) -> RewardSpec:
    """A reward model may be named like any model: as a run, a folder or a Hub id, alone or as the `path` of its reward."""
    if spec.name not in REWARDS and (is_local(spec.name) or _HUB_ID.fullmatch(spec.name)):
        name = "process" if reward_of(spec.name) == "process" else "model"
        spec = spec.model_copy(update={"name": name, "params": {**spec.params, "path": spec.name}})
    if spec.name not in _MODEL_REWARDS or "path" not in spec.params:
        return spec
    return spec.model_copy(update={"params": {**spec.params, "path": _model_path(spec)}})


def reward_of(reference: str) -> str:
    """Name of the reward that uses a model: `model` or `process` for one that scores, `judge` for one that writes.

    Raises:
        ModelError: no such model, or its config.json is unreadable.
    """
    source = resolve_model(reference, ensembles=True)
    folder = source.folder
    if folder is None or (folder / ENSEMBLE).is_file():
        return "judge" if folder is None else "model"
    architectures, _ = declared(source.reference, "model")
    scorers = (reward for end, reward in _SCORERS.items() if any(name.endswith(end) for name in architectures))
    return next(scorers, "judge")


def _model_path(spec: RewardSpec) -> str:
    return resolve_model(str(spec.params["path"]), ensembles=spec.name == "model").reference
