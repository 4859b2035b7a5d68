"""`rlllm rewards test`: test a reward on cases, and write its card.

Cases come from a file of labelled rows, from data with answers, or with the built-in reward. The reward passes if what it
accepts is right, what is right is accepted, scores are as stated, nothing fails, and the same text gets the same score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from rlllm.core.config import Section
from rlllm.core.errors import ConfigError, DataError, unknown
from rlllm.core.events import NullProgress, ProgressCallback
from rlllm.core.records import PromptTask
from rlllm.core.yaml_io import parse
from rlllm.data.config import DataConfig
from rlllm.data.io.files import read_file
from rlllm.data.load import load
from rlllm.rewards.bench.answer_variants import STYLES, Style
from rlllm.rewards.bench.cases import CaseSet, read_cases, shipped, shipped_names, shipped_params
from rlllm.rewards.bench.derived_cases import derive, golds
from rlllm.rewards.bench.outside_cases import OUTSIDE
from rlllm.rewards.bench.scoring import measure
from rlllm.rewards.composition import Composition, build
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.registry import REWARDS
from rlllm.training.reward_cards import save, typed
from rlllm.training.reward_findings import Bars, Card, card_of, passes
from rlllm.training.reward_specs import named_models

_DATA_ROWS = 32
"""Rows taken of a data set where the user does not say how many; each becomes some forty cases."""
_PROBED = 8
"""Tasks on which the ways to mark an answer are tried."""


class RewardTestConfig(Section):
    """Settings of `rlllm rewards test`."""

    reward: RewardSpec
    """The reward; its weight does not matter."""
    cases: Path | None = None
    """A file of rows with a prompt, a completion and a label or score; rows without a completion are tasks. `reward-doctor`:
    the cases of that package, if it is installed."""
    data: DataConfig | None = None
    """Rows with a prompt and an answer, from which cases are derived."""
    style: str | None = None
    """How derived completions mark the answer: hash, boxed, tag, fence or plain. Default: as the reward reads most of them."""
    accept: float = Field(1.0, allow_inf_nan=False)
    """A score of at least this much passes, as in `rlllm reason`."""
    min_precision: float = Field(0.99, ge=0, le=1)
    """Least share of right ones among the cases that pass."""
    min_recall: float = Field(0.95, ge=0, le=1)
    """Least share of the right cases that pass."""
    seed: int = 0
    """Of the order of the second scoring."""

    @classmethod
    def of(cls, reward: str, **values: Any) -> RewardTestConfig:
        """The settings, checked; `reward` as it is typed, a name or `{name: ..., ...}`.

        Raises:
            ConfigError: a value that does not fit.
        """
        spec = parse(reward, source="the reward") if reward.lstrip().startswith("{") else reward
        return cls.checked({"reward": spec, **values})


@dataclass(frozen=True, slots=True)
class RewardTestResult:
    """A card and where it was written."""

    card: Card
    path: Path


def run_reward_test(config: RewardTestConfig, progress: ProgressCallback | None = None) -> RewardTestResult:
    """Try the reward on all cases and write its card.

    Raises:
        ConfigError: an unknown reward, style or setting, or no cases at all.
        DataError: cases that cannot be read, or data without answers.
    """
    progress = progress or NullProgress()
    given, source = _given(config)
    spec = _bound(config, builtin=config.cases is None and config.data is None)
    rewards = build([spec], max_error_rate=1.0)
    if "path" in spec.params:
        from rlllm.launch import local

        local.prepare()
    style = _style(config, rewards, given.tasks)
    cases = [*given.cases, *(derive(given.tasks, style) if style else ())]
    if not cases:
        raise DataError("no row has an answer to derive cases from", given=source, hint="--columns answer=COLUMN")
    progress.phase(f"scoring {len(cases)} cases twice")
    outcomes = measure(rewards, cases, config.seed)
    bars = Bars(config.accept, config.min_precision, config.min_recall)
    card = card_of(spec, outcomes, bars, source=source, style=style.name if style else None)
    return RewardTestResult(card, save(card, spec))


def _bound(config: RewardTestConfig, *, builtin: bool) -> RewardSpec:
    """The reward as it is tried: of weight 1, its model as a folder, and under shipped cases with their arguments."""
    spec = named_models([config.reward])[0]
    defaults = shipped_params(spec.name) if builtin and not spec.params else {}
    return spec.model_copy(update={"weight": 1.0, "params": {**defaults, **spec.params}})


def _given(config: RewardTestConfig) -> tuple[CaseSet, str]:
    """Cases and tasks, and where they come from, in words."""
    name = config.reward.name
    if config.style is not None and config.style not in STYLES:
        raise unknown("style", config.style, STYLES)
    if name not in REWARDS and not Path(name).is_dir():
        REWARDS.load(name)  # a misspelt name is said before missing cases are
    sets, words = [], []
    if config.cases is not None:
        outside = OUTSIDE.get(str(config.cases)) if not config.cases.exists() else None
        sets.append(
            outside(name) if outside else read_cases([placed[:2] for placed in read_file(config.cases)], config.cases)
        )
        words.append(str(config.cases))
    if config.data is not None:
        rows = _DATA_ROWS if config.data.rows is None else config.data.rows
        loaded = load(config.data.model_copy(update={"rows": rows, "holdout": 0}), PromptTask)
        sets.append(CaseSet([], loaded.train))
        words.append(loaded.source)
    if not sets:
        own = shipped(name, config.reward.params)
        if own is None:
            raise ConfigError(
                f"the reward {name} brings no cases of its own{' for these arguments' if config.reward.params else ''}",
                given=config.reward.params or None,
                exists=() if config.reward.params else shipped_names(),
                hint=f"rlllm rewards test {typed(config.reward)} --data arithmetic, or --cases FILE with labelled rows",
            )
        sets, words = [own], ["shipped with the reward"]
    return CaseSet([c for s in sets for c in s.cases], [t for s in sets for t in s.tasks]), " and ".join(words)


def _style(config: RewardTestConfig, rewards: Composition, tasks: Sequence[PromptTask]) -> Style | None:
    """The style that was asked for, or the first of those in which the reward accepts most right answers."""
    if config.style is not None or not tasks:
        return STYLES[config.style] if config.style and tasks else None
    probed = [task for task in tasks if task.answer is not None][:_PROBED]
    accepted = {
        name: sum(passes(outcome, config.accept) for outcome in measure(rewards, golds(probed, style)))
        for name, style in STYLES.items()
    }
    return STYLES[max(accepted, key=lambda name: accepted[name])]
