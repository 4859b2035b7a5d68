"""Count rows that are cut at `max_length`, and prompts that leave no room for a completion. TRL reports neither."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.records import Prompt, prompt_text
from rlllm.policies.chat import encode_prompts
from rlllm.policies.loading import context_length
from rlllm.training.flow import Job

_SIDES = (
    ("input_ids",),
    ("prompt_ids", "completion_ids"),
    ("prompt_ids", "chosen_ids"),
    ("prompt_ids", "rejected_ids"),
    ("prompt_ids", "reference_ids"),
)
"""Columns whose lengths in tokens add up to one sequence, in the data sets that TRL's trainers make."""
_ENCODED = 10_000
"""Prompts that are tokenized to be measured; of more, the longest."""
_SHOWN = 3
_EXCERPT = 60


def note_truncated_rows(job: Job[Any], trainer: Any) -> Any:
    """Count the rows that reach `max_length` into the run's diagnostics, name the first ones, and return the trainer."""
    limit = trainer.args.max_length
    if limit is None or getattr(trainer.args, "packing", False):  # packed rows are all of that length
        return trainer
    reached = [index for index, tokens in enumerate(lengths(trainer.train_dataset)) if tokens >= limit]
    job.diagnostics.rows_cut = len(reached)
    if reached:
        first = "; ".join(_begins(trainer.train_dataset[index]) for index in reached[:_SHOWN])
        count = f"{len(reached):,} of {len(trainer.train_dataset):,} rows"
        job.progress.note(f"{count} reach max_length={limit} tokens and are cut there: {first}")
    return trainer


def note_beyond_context(job: Job[Any], completion: int) -> None:
    """Count the prompts that are `beyond_context` into the run's diagnostics, and name the first ones.

    Args:
        job: of a run that samples completions.
        completion: tokens of a completion at most.
    """
    count_and_text = beyond_context(
        job.model, job.tokenizer, [task.prompt for task in job.plan.loaded.train], completion
    )
    if count_and_text is None:
        return
    job.diagnostics.prompts_beyond_context, text = count_and_text
    if text:
        job.progress.note(text)


def beyond_context(model: Any, tokenizer: Any, prompts: Sequence[Prompt], completion: int) -> tuple[int, str] | None:
    """How many prompts leave no room for a whole completion in the model's context, among the longest ones, and that in words.

    Args:
        completion: tokens of a completion at most.

    Returns:
        The words are empty where there are none; None where the context is not known.
    """
    context = context_length(model)
    if context is None:
        return None
    longest = sorted(prompts, key=lambda prompt: len(prompt_text(prompt)))[: -_ENCODED - 1 : -1]
    tokens = [len(ids) for ids in encode_prompts(tokenizer, longest)]
    beyond = [prompt for prompt, length in zip(longest, tokens, strict=True) if length + completion > context]
    first = "; ".join(_begins({"prompt": prompt}) for prompt in beyond[:_SHOWN])
    count = f"{len(beyond):,} of {len(prompts):,} prompts"
    text = f"{count} leave less than {completion} of the model's {context} positions: {first}"
    return len(beyond), text if beyond else ""


def lengths(dataset: Any) -> list[int]:
    """Tokens of every row's longest sequence, in the rows' order."""
    import pyarrow.compute as pc

    table = dataset.with_format("arrow")[:]
    sides = [side for side in _SIDES if set(side) <= set(dataset.column_names)]
    tokens = [sum(pc.list_value_length(table[name]).to_numpy() for name in side) for side in sides]
    return [int(max(row)) for row in zip(*tokens, strict=True)]


def _begins(row: dict[str, Any]) -> str:
    text = " ".join(prompt_text(row.get("prompt") or row.get("text") or "").split())
    return repr(text if len(text) <= _EXCERPT else text[: _EXCERPT - 3] + "...")
