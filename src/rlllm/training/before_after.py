"""What an aligned model is judged by: the judge's utility and wins, the rewards it was trained on, and how far it moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlllm.core.records import PromptTask, prompt_text, task_of
from rlllm.rewards.config import RewardSpec
from rlllm.training.flow import Job
from rlllm.training.plan import Plan

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured


def annotator(plan: Plan) -> RewardSpec | None:
    """The gold utility, where the rows come from the procedural world whose simulated annotator holds it."""
    rows = plan.loaded.holdout or plan.loaded.train
    known = bool(rows) and {"task", "level", "answer"} <= {*rows[0].meta, *_answered(rows[0])}
    return RewardSpec(name="gold") if known else None


def _answered(record: Any) -> tuple[str, ...]:
    return ("answer",) if getattr(record, "answer", None) is not None else ()


def measure_alignment(job: Job, model: Any) -> list[Measured]:
    """`Parts.measure` of every alignment method: samples held-out prompts once, scores them by everything that is known.

    The judge comes first (with its win rate over the start), then each reward of the run, then the KL from the start.
    """
    from rlllm.evals.before_after import measure_kl, measure_utility

    plan, config = job.plan, job.config
    rewards = [part for part in (plan.judge, plan.rewards) if part is not None]
    tasks = _tasks(plan.loaded.holdout)[: config.eval.rows]
    if not tasks or not rewards:
        return []
    sampling = config.rollout.sampling  # type: ignore[attr-defined]
    measured, drawn = measure_utility(
        model, job.tokenizer, tasks, rewards, sampling, samples=config.eval.samples, seed=config.seed
    )
    return [*measured, measure_kl(model, _start(job, model), job.tokenizer, drawn)]


def _tasks(records: list[Any]) -> list[PromptTask]:
    """Each prompt once: two labels of one pair are no two problems."""
    tasks = {prompt_text(record.prompt): task_of(record) for record in records}
    return list(tasks.values())


def _start(job: Job, model: Any) -> Any:
    """The model the run began with; the model itself as long as nothing was trained."""
    from rlllm.training.flow import load_causal_model

    if not job.run.model.is_dir():
        return model
    return load_causal_model(job.plan.source, job.tokenizer, job.hardware).to(model.device)
