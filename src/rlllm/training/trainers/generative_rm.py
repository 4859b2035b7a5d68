"""Generative reward models: a language model that reads two answers, writes a critique and then its verdict.

Trained by the loop with a verifiable reward. Every pair is asked in both orders, so that no side is right more often than
the other; pairs with identical sides are not asked, for they have no right side. Measured in both orders as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rlllm.core.errors import DataError
from rlllm.core.records import PreferencePair, PromptTask
from rlllm.core.runs import Run
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.judges.judge import read_rubric
from rlllm.training.flow import Job, train
from rlllm.training.pairs import note_pairs
from rlllm.training.plan import Plan
from rlllm.training.reward_cards import attach
from rlllm.training.rl_settings import LoopSettings, plan_loop
from rlllm.training.trainers import rl

if TYPE_CHECKING:
    from rlllm.core.verdict import Diagnostics
    from rlllm.evals.before_after import Measured

REWARDS = [RewardSpec(name="verdict"), RewardSpec(name="verdict-form", weight=0.1)]
"""What a judgement is worth where the settings name nothing: mostly its verdict, a little its form."""


def prepare(plan: Plan) -> Plan:
    """The plan with slots, rewards and batches. Raises ConfigError for settings the loop refuses, or a missing rubric."""
    config = plan.config
    assert isinstance(config, LoopSettings)
    _rubric(plan)
    rewards = config.rewards or REWARDS
    return attach(plan_loop(plan, rewards), rewards, required=config.require_card)


def run(plan: Plan, **options: Any) -> Run:
    """Run a plan of the family `generative`; measures swap-consistent accuracy on held-out pairs before and after.

    Options are those of `training.flow.run_to_verdict`.
    """
    return train(plan, replace(rl.parts(_measure), build=_build, expect=_expect), **options)


def questions(pairs: Sequence[PreferencePair], rubric: str = "") -> list[PromptTask]:
    """Two tasks for each pair with different sides: the chosen text as A (answer "A"), then as B (answer "B")."""
    from rlllm.parsing.judge_prompts import both_orders

    return [task for pair in pairs if pair.chosen != pair.rejected for task in both_orders(pair, rubric)]


def _rubric(plan: Plan) -> str:
    return read_rubric(getattr(plan.config, "rubric", ""))


def _expect(plan: Plan, diagnostics: Diagnostics) -> None:
    note_pairs(plan, diagnostics)
    diagnostics.rows = 2 * (len(plan.loaded.train) - diagnostics.identical_pairs)


def _build(job: Job, callbacks: list[Any]) -> Any:
    tasks = _fitting(job, questions(job.plan.loaded.train, _rubric(job.plan)))
    loaded = replace(job.plan.loaded, train=tasks)
    return rl.build(replace(job, plan=replace(job.plan, loaded=loaded)), callbacks)


def _fitting(job: Job, tasks: list[PromptTask]) -> list[PromptTask]:
    """The tasks that leave room for a whole judgement; pairs go with both orders, and are counted aloud."""
    from rlllm.evals.metrics.judge import fits
    from rlllm.rewards.judges.local_judge import context_length

    config = job.config
    assert isinstance(config, LoopSettings)
    room = context_length(job.model) - config.rollout.max_new_tokens
    fit = fits(job.tokenizer, tasks, room)
    kept = [task for index, task in enumerate(tasks) if fit[index] and fit[index ^ 1]]
    if not kept:
        raise DataError(
            f"none of {len(tasks) // 2} pairs fits the model's context: a question may have {max(room, 0)} tokens",
            given=f"{job.plan.source.name}, rollout.max_new_tokens={config.rollout.max_new_tokens}",
            hint="lower max_new_tokens, shorten the rubric, or take a model with a longer context",
        )
    if len(kept) < len(tasks):
        left = (len(tasks) - len(kept)) // 2
        job.listener.note(f"{left} of {len(tasks) // 2} pairs are left out: longer than {room} tokens as a question")
    return kept


def _measure(job: Job, model: Any) -> list[Measured]:
    from rlllm.evals.metrics.judge import judge_measures, judge_pairs

    held_out = job.plan.measured_on
    if not held_out:
        return []
    judged = judge_pairs(
        model, job.tokenizer, held_out, rl.sampling(job), rubric=_rubric(job.plan), seed=job.config.seed
    )
    return judge_measures(judged, held_out)
