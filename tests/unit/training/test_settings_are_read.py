"""No setting is accepted and read by nothing: for every method, each key is either read in a run or refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from rlllm.core import trl_fields
from rlllm.core.config import PartSpec, Section, StageConfig, accepts
from rlllm.core.errors import ConfigError
from rlllm.core.runs import RunOptions
from rlllm.data.config import DataConfig
from rlllm.launch.settings import LaunchConfig
from rlllm.rollouts.config import ServingConfig
from rlllm.stages.catalog import STAGES, config_class, resolve_settings, settings_classes, stage_function
from rlllm.training.registry import TRAINERS

TRAINING = [verb for verb in STAGES if STAGES[verb].method]
CLASSES = [(verb, cls) for verb in TRAINING for cls in settings_classes(verb)]
SMALL: dict[str, Any] = {
    "data": {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 2, "params": {"reference": True}},
    "trainer": {"max_steps": 1, "per_device_train_batch_size": 4, "save_strategy": "no"},
    "eval": {"rows": 2},
    "lora": {"r": 2},
}
SHORT = {"group_size": 2, "max_new_tokens": 4}
TEXT = {"name": "text:rlllm", "rows": 16, "holdout": 2}
RUNS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("pretrain", "rpt"): [{"data": TEXT, "rollout": SHORT, "advantage": "gae"}],
    ("pretrain", "plain"): [{"data": TEXT, "rollout": {"max_new_tokens": 4}, "max_tokens": 10}],
    ("sft", "sft"): [{}, {"eval_reward": "REWARD", "rollout": {"max_new_tokens": 4}, "max_tokens": 10}],
    ("train-rm", "bt"): [{}],
    ("train-rm", "ensemble"): [{"members": 2}],
    ("train-rm", "process"): [{}],
    ("train-rm", "generative"): [{"rollout": SHORT}, {"rollout": SHORT, "advantage": "gae"}],
    **{("align", name): [{"rollout": {"max_new_tokens": 4}}] for name in ("dpo", "kto", "orpo", "cpo", "tpo", "rrhf")},
    ("align", "iterative-dpo"): [{"iterations": 1, "rollout": SHORT, "rewards": ["REWARD"]}],
    ("align", "spin"): [{"iterations": 1, "rollout": SHORT}],
    ("align", "ppo"): [{"rewards": ["REWARD"], "rollout": {"max_new_tokens": 4}}],
    ("reason", "ppo"): [{"rewards": ["REWARD"], "rollout": {"max_new_tokens": 4}}],
}
"""Verb and method -> settings of runs that together read every key of the method's settings class."""


def leaves(cls: type[Section], prefix: str = "") -> Iterator[tuple[str, type[Section], str]]:
    """Dotted key, the section it stands in, and its name there. Data and named parts are read by rooms of their own, `launch`
    by the process that starts a run's processes, `rollout.serving` by engines that sample elsewhere and refused by others."""
    for name, field in cls.model_fields.items():
        yield f"{prefix}{name}", cls, name
        options = () if get_origin(field.annotation) is list else (field.annotation, *get_args(field.annotation))
        for option in options:
            if (
                isinstance(option, type)
                and issubclass(option, Section)
                and not issubclass(option, DataConfig | LaunchConfig | ServingConfig | PartSpec)
            ):
                yield from leaves(option, f"{prefix}{name}.")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> set[tuple[type, str]]:
    """(class of a section, field) of everything that is read from settings while the test runs."""
    seen: set[tuple[type, str]] = set()

    def recorded(self: Section, name: str) -> Any:
        if name in type(self).model_fields:
            seen.add((type(self), name))
        return object.__getattribute__(self, name)

    monkeypatch.setattr(Section, "__getattribute__", recorded, raising=False)
    return seen


def test_every_trainer_is_run_below() -> None:
    run = {config_class(verb, method) for verb, method in RUNS}
    assert {cls for _, cls in CLASSES} == run
    assert {cls for name in TRAINERS.builtins for cls in TRAINERS.load(name).settings.values()} == run


@pytest.mark.parametrize(("verb", "method"), RUNS)
def test_every_key_that_a_trainer_takes_is_read_in_a_run(
    tiny_model: str, tmp_path: Path, reads: set[tuple[type, str]], verb: str, method: str
) -> None:
    (tmp_path / "reward.py").write_text("def size(sample): return len(sample.completion.encode()) % 7 / 7\n")
    for number, settings in enumerate(RUNS[verb, method]):
        given = {**SMALL, "model": tiny_model, "method": method, "output_dir": str(tmp_path / str(number)), **settings}
        if "rewards" in given:
            given["rewards"] = [f"{tmp_path / 'reward.py'}:size"]
        if "eval_reward" in given:
            given["eval_reward"] = f"{tmp_path / 'reward.py'}:size"
        stage_function(verb)(resolve_settings(verb, given), RunOptions())
    keys = {key: (section, name) for key, section, name in leaves(config_class(verb, method))}
    unread = [key for key, place in keys.items() if place not in reads]
    assert unread == []


@pytest.mark.parametrize(("verb", "cls"), CLASSES)
def test_a_key_of_another_method_is_refused_with_the_methods_that_read_it(verb: str, cls: type[StageConfig]) -> None:
    method = next(iter(settings_classes(verb)[cls]))
    others = {key for _, other in CLASSES if other.stage == verb for key, _, _ in leaves(other)}
    others |= set(
        trl_fields.union(tuple(name for _, other in CLASSES if other.stage == verb for name in other.trl_configs))
    )
    refused = sorted(key for key in others - trl_fields.MANAGED.keys() if not accepts(cls, key))
    for key in refused:
        with pytest.raises(ConfigError, match=f"method {method} does not read {key}") as caught:
            resolve_settings(verb, {"method": method}, [(key, 1)])
        assert "it is read by methods of the trainer" in str(caught.value)
    own = {key for key, _, _ in leaves(cls)}
    assert own.isdisjoint(refused)


UNREAD = [
    ("train-rm", "sandbox", "none", "generative"),
    ("train-rm", "critic.init", "policy", "generative"),
    ("align", "rollout.group_size", 16, "rl"),
    ("align", "num_generations", 16, "rl"),
    ("align", "off_policy", "demonstrations", "rl"),
    ("align", "iterations", 2, "iterative-dpo"),
    ("sft", "kl.target", 2, ""),
]


@pytest.mark.parametrize(("verb", "key", "value", "reader"), UNREAD)
def test_what_the_default_method_does_not_read_is_an_error(verb: str, key: str, value: Any, reader: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_settings(verb, {}, [(key, value)])
    assert f"methods of the trainer {reader}" in str(caught.value) if reader else "unknown key" in str(caught.value)


@pytest.mark.parametrize("method", ["dpo", "grpo", "iterative-dpo"])
def test_align_runs_programs_as_the_sandbox_setting_says(tiny_model: str, method: str) -> None:
    from rlllm.stages.catalog import plan

    settings = {"model": tiny_model, "method": method, "rewards": ["code"], "sandbox": "none"}
    planned: Any = plan(resolve_settings("align", {**settings, "data": {"name": "arithmetic", "rows": 32}}))
    assert planned.rewards.rewards[0].target.isolation == "none"
