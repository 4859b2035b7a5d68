"""What is measured before and after training, where the model writes completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rlllm.core.records import PromptTask, prompt_key, task_of
from rlllm.data.load import Loaded
from rlllm.rewards.config import RewardSpec
from rlllm.training.flow import Job
from rlllm.training.plan import Plan, RLPlan

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured


def ground_truth_reward(loaded: Loaded) -> RewardSpec | None:
    """The utility of the simulated annotator, where the rows come from the procedural world that defines it."""
    rows = loaded.holdout or loaded.train
    if not rows:
        return None
    answer = ("answer",) if getattr(rows[0], "answer", None) is not None else ()
    return RewardSpec(name="gold") if {"task", "level", "answer"} <= {*rows[0].meta, *answer} else None


def measure_alignment(job: Job[Plan[Any]], model: Any) -> list[Measured]:
    """`Trainer.measure` of every alignment method: completions of held-out prompts, sampled once and scored by each reward.

    The eval reward comes first (with its win rate over the start model), then each reward of the run, then the KL divergence
    from the start model, which is left out during training: the start is not in memory then. Empty without held-out prompts or
    without rewards.
    """
    from rlllm.evals.before_after import measure_kl, measure_utility

    plan = job.plan
    rewards = [composition for composition in (plan.eval_reward, plan.rewards) if composition is not None]
    tasks = _distinct_tasks(plan.loaded.holdout)[: plan.config.eval.rows]
    if not tasks or not rewards:
        return []
    measured, samples = measure_utility(
        model,
        job.tokenizer,
        tasks,
        rewards,
        plan.config.rollout.sampling,
        samples=plan.config.eval.samples,
        seed=plan.config.seed,
    )
    if job.during:
        return measured
    return [*measured, measure_kl(model, _start_model(job, model), job.tokenizer, samples)]


def measure_reasoning(job: Job[RLPlan[Any]], model: Any) -> list[Measured]:
    """`Trainer.measure` of `rlllm reason`: pass@1 on held-out prompts, in the environment or by the dialogue if any."""
    from rlllm.evals.before_after import measure_pass
    from rlllm.training import dialogues, environment_runs

    plan = job.plan
    if not plan.measured_on:
        return []
    if plan.environment is not None:
        return environment_runs.measure(job, plan.environment, model)
    return [
        *dialogues.measure(job, model),
        *measure_pass(
            model,
            job.tokenizer,
            plan.measured_on,
            plan.rewards,
            plan.config.rollout.sampling,
            samples=plan.config.eval.samples,
            seed=plan.config.seed,
        ),
    ]


def _distinct_tasks(records: Sequence[Any]) -> list[PromptTask]:
    """One task for each different prompt."""
    tasks = {prompt_key(record.prompt): task_of(record) for record in records}
    return list(tasks.values())


def _start_model(job: Job[Plan[Any]], model: Any) -> Any:
    """The model the run began with; the model itself as long as nothing was trained."""
    if not job.run.model.is_dir():
        return model
    return job.plan.trainer.load(job.plan.source, job.tokenizer, job.hardware).to(model.device)
