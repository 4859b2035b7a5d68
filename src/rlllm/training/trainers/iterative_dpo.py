"""Iterative DPO (Xu et al. 2023, arXiv 2312.16682; Yuan et al. 2024, arXiv 2401.10020): the best sample against the worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask, Sample
from rlllm.core.runs import Run, RunOptions
from rlllm.rewards.composition import Composition
from rlllm.training.before_after import measure_alignment
from rlllm.training.flow import Job
from rlllm.training.plan import Plan, start_plan
from rlllm.training.trainers import dpo, iterative, preference
from rlllm.training.trainers.base import Trainer
from rlllm.training.trainers.iterative import IterativeSettings, Row


@dataclass(frozen=True, kw_only=True)
class IterativeDPOPlan(Plan[IterativeSettings]):
    """A plan with the rewards by which completions are chosen."""

    rewards: Composition = field()


def _plan(config: IterativeSettings, method: Any, trainer: Trainer[Any, Any]) -> IterativeDPOPlan:
    plan = preference.with_rewards(start_plan(config, method, trainer))
    if plan.rewards is None:
        raise ConfigError(
            f"method {method.name} picks completions by a reward, and none is named",
            hint="--reward RUN (a reward model), or a name from: rlllm rewards ls",
        )
    if plan.config.rollout.group_size < 2:
        raise ConfigError("a pair takes two completions", given="rollout.group_size=1", hint="rollout.group_size=4")
    return IterativeDPOPlan(**{**vars(plan), "rewards": plan.rewards})


def _run(plan: IterativeDPOPlan, options: RunOptions) -> Run:
    return iterative.run(plan, options, _best_against_worst)


def _best_against_worst(job: Job[IterativeDPOPlan], records: Sequence[Any], groups: list[list[Sample]]) -> list[Row]:
    """One pair for each group of samples in which the reward tells any two apart."""
    totals = iter(job.plan.rewards.score([sample for group in groups for sample in group]).totals)
    scored = [[(sample, next(totals)) for sample in group] for group in groups]
    rows = [pair for group in scored if (pair := extremes(group)) is not None]
    scores = [score for group in scored for _, score in group]
    seen = job.diagnostics
    seen.reward_rows = (seen.reward_rows or 0) + len(scores)
    seen.reward_undefined += scores.count(None)
    seen.reward_spread = max(
        [seen.reward_spread or 0.0, *(pair["chosen_score"] - pair["rejected_score"] for pair in rows)]
    )
    return rows


def extremes(group: Sequence[tuple[Sample, float | None]]) -> Row | None:
    """The best completion of a group against its worst, the first of equals; None where the scores do not differ.

    A blank completion is never chosen.
    """
    judged = [(sample, score) for sample, score in group if score is not None]
    candidates = [(sample, score) for sample, score in judged if sample.completion.strip()]
    if not candidates:
        return None
    best, high = max(candidates, key=lambda item: item[1])
    worst, low = min(judged, key=lambda item: item[1])
    if high <= low or best.completion == worst.completion:
        return None
    return {**iterative.row(best, best.completion, worst.completion), "chosen_score": high, "rejected_score": low}


TRAINER = Trainer(
    name="iterative-dpo",
    record=PromptTask,
    settings={"align": IterativeSettings},
    plan=_plan,
    run=_run,
    check=iterative.check,
    build=dpo.build,
    measure=measure_alignment,
    prompt_tokens=iterative.prompt_tokens,
    size_defaults="preferences",
)
