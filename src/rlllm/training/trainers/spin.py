"""SPIN (Chen et al. 2024, arXiv 2401.01335): the completion of the data against the model's own sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.records import Conversation, Sample
from rlllm.core.runs import Run, RunOptions
from rlllm.training.before_after import measure_alignment
from rlllm.training.flow import Job
from rlllm.training.plan import Plan
from rlllm.training.trainers import dpo, iterative, preference
from rlllm.training.trainers.base import Trainer
from rlllm.training.trainers.iterative import IterativeSettings, Row


def _run(plan: Plan[IterativeSettings], options: RunOptions) -> Run:
    return iterative.run(plan, options, data_against_samples)


def data_against_samples(
    job: Job[Plan[IterativeSettings]], records: Sequence[Any], groups: list[list[Sample]]
) -> list[Row]:
    """One pair for each sample that differs from the text of the data."""
    rows = [
        iterative.row(sample, record.completion, sample.completion)
        for record, group in zip(records, groups, strict=True)
        for sample in group
    ]
    different = [pair for pair in rows if pair["chosen"] != pair["rejected"]]
    job.diagnostics.pairs = (job.diagnostics.pairs or 0) + len(rows)
    job.diagnostics.identical_pairs += len(rows) - len(different)
    return different


TRAINER = Trainer(
    name="spin",
    record=Conversation,
    settings={"align": IterativeSettings},
    plan=preference.plan_preferences,
    run=_run,
    check=iterative.check,
    build=dpo.build,
    measure=measure_alignment,
    prompt_tokens=iterative.prompt_tokens,
    size_defaults="preferences",
)
