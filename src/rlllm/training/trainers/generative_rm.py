"""Generative reward models: a language model that reads two answers, writes a critique and then its verdict.

Trained by the loop with a verifiable reward. Every pair is asked in both orders, so that no side is right more often than
the other; pairs with identical sides are not asked, for they have no right side. Measured in both orders as well.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from rlllm.core.errors import DataError
from rlllm.core.records import PreferencePair, PromptTask
from rlllm.core.verdict import Diagnostics
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.judges.judge import read_rubric
from rlllm.training.flow import Job, train
from rlllm.training.pairs import note_pairs
from rlllm.training.plan import RLPlan, start_plan
from rlllm.training.reward_cards import with_cards
from rlllm.training.rl_plan import plan_rl
from rlllm.training.rl_settings import RLSettings
from rlllm.training.settings import ROLLOUT_ALIASES, HoldoutConfig
from rlllm.training.trainers import rl
from rlllm.training.trainers.base import Trainer

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured

REWARDS = [RewardSpec(name="verdict"), RewardSpec(name="verdict-form", weight=0.1)]
"""The rewards of a judgement where the settings name none: mostly its verdict, a little its form."""


class GenerativeSettings(RLSettings):
    """Settings of `rlllm train-rm` with the trainer generative."""

    stage: ClassVar[str] = "train-rm"
    aliases: ClassVar[Mapping[str, str]] = {**ROLLOUT_ALIASES, "kind": "method"}

    eval: HoldoutConfig = HoldoutConfig(rows=512)
    """Measurement before and after, on held-out rows."""
    rubric: str = ""
    """What the judge judges by: text, or a .txt or .md file."""


def _plan(config: GenerativeSettings, method: Any, trainer: Trainer[Any, Any]) -> RLPlan[GenerativeSettings]:
    read_rubric(config.rubric)  # a file that is not there is found before anything is loaded
    rewards = config.rewards or REWARDS
    return with_cards(plan_rl(start_plan(config, method, trainer), rewards), rewards)


def questions(pairs: Sequence[PreferencePair], rubric: str = "") -> list[PromptTask]:
    """Two tasks for each pair with different sides: the chosen text as A (answer "A"), then as B (answer "B")."""
    from rlllm.parsing.judge_prompts import both_orders

    return [task for pair in pairs if pair.chosen != pair.rejected for task in both_orders(pair, rubric)]


def _expect(plan: RLPlan[GenerativeSettings], diagnostics: Diagnostics) -> None:
    note_pairs(plan, diagnostics)
    diagnostics.rows = 2 * (len(plan.loaded.train) - diagnostics.identical_pairs)


def _build(job: Job[RLPlan[GenerativeSettings]], callbacks: list[Any]) -> Any:
    tasks = _fitting(job, questions(job.plan.loaded.train, read_rubric(job.plan.config.rubric)))
    loaded = replace(job.plan.loaded, train=tasks)
    return rl.build(replace(job, plan=replace(job.plan, loaded=loaded)), callbacks)


def _fitting(job: Job[RLPlan[GenerativeSettings]], tasks: list[PromptTask]) -> list[PromptTask]:
    """The tasks that leave room for a whole judgement. A pair is left out with both orders, and the number is reported."""
    from rlllm.evals.metrics.judge import fits
    from rlllm.policies.loading import context_length

    rollout = job.plan.config.rollout
    room = (context_length(job.model) or sys.maxsize) - rollout.max_new_tokens
    fit = fits(job.tokenizer, tasks, room)
    fitting = [task for index, task in enumerate(tasks) if fit[index] and fit[index ^ 1]]
    if not fitting:
        raise DataError(
            f"none of {len(tasks) // 2} pairs fits the model's context: a question may have {max(room, 0)} tokens",
            given=f"{job.plan.source.name}, rollout.max_new_tokens={rollout.max_new_tokens}",
            hint="lower max_new_tokens, shorten the rubric, or take a model with a longer context",
        )
    if len(fitting) < len(tasks):
        left = (len(tasks) - len(fitting)) // 2
        job.progress.note(f"{left} of {len(tasks) // 2} pairs are left out: longer than {room} tokens as a question")
    return fitting


def _measure(job: Job[RLPlan[GenerativeSettings]], model: Any) -> list[Measured]:
    """Share of held-out pairs that are judged right in both orders."""
    from rlllm.evals.metrics.judge import judge_measures, judge_pairs

    config, held_out = job.plan.config, job.plan.measured_on
    if not held_out:
        return []
    judged = judge_pairs(
        model, job.tokenizer, held_out, config.rollout.sampling, rubric=read_rubric(config.rubric), seed=config.seed
    )
    return judge_measures(judged, held_out)


TRAINER = Trainer(
    name="generative",
    record=PreferencePair,
    settings={"train-rm": GenerativeSettings},
    plan=_plan,
    run=train,
    build=_build,
    measure=_measure,
    expect=_expect,
    observe=rl.observe,
    size_defaults="loop",
)
