"""What the start model's completions of the training rows are worth, for a sampler that orders rows by it.

Drawn before training by the run's own sampling and written to the run directory, so that a resumed run goes on with the same
values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rlllm.core.runs import read_run_file
from rlllm.launch import process_group
from rlllm.training.flow import Job
from rlllm.training.plan import RLPlan
from rlllm.training.random_state import random_state_kept
from rlllm.training.resumed_counts import keep_counts, recall_counts

FILE = "start_values.json"
"""In a run directory: the reward that judged, and its values by row; null where it could not judge."""


def give(job: Job[RLPlan[Any]], loop: Any) -> None:
    """Call the sampler's `measured`; measure first where it asks for it and the run has not done so.

    The random generators go on as if nothing had been drawn.
    """
    values = process_group.on_main(lambda: _values(job, loop)) if loop.sampler.start_samples else []
    loop.sampler.measured(loop.tasks, values)


def _values(job: Job[RLPlan[Any]], loop: Any) -> list[list[float | None]]:
    """(rows, samples) values of the reward by which the sampler judges groups."""
    from rlllm.evals.sampling import sample

    path, count, tasks = job.run.path / FILE, loop.sampler.start_samples, loop.tasks
    if path.exists():
        recall_counts(path, job.plan.rewards)
        values: list[list[float | None]] = read_run_file(path)["values"]
        return values
    job.progress.phase(f"measuring {len(tasks)} training rows, {count} completions each")
    rewards = loop.slots.rewards
    reward = rewards.rewards[loop.filter_column]
    config = job.plan.config
    with random_state_kept():
        groups = sample(loop.model, job.tokenizer, tasks, config.rollout.sampling, samples=count, seed=config.seed)
    judged = (
        replace(rewards, rewards=(reward,)).score([completion for group in groups for completion in group]).values[0]
    )
    values = [list(judged[start : start + count]) for start in range(0, len(judged), count)]
    keep_counts(path, job.plan.rewards)
    job.run.write(FILE, {"reward": reward.name, "samples": count, "values": values})
    return values
