"""Count rows that are left out, cut at `max_length` or beyond the context, and prompts that leave no room for a completion.

TRL reports none of them.
"""

from __future__ import annotations

from collections import Counter
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
_WHOLE = (("chosen_ids",), ("rejected_ids",))
"""The same of reward models, whose columns hold prompt and completion in one."""
"""Columns whose lengths in tokens add up to one sequence, in the data sets that TRL's trainers make."""
_ENCODED = 10_000
"""Prompts that are tokenized to be measured; of more, the longest."""
_SHOWN = 3
_EXCERPT = 60


def note_rows(job: Job[Any], trainer: Any, records: Sequence[Any] | None = None) -> Any:
    """Count what becomes of rows that are too long, name the first ones of each kind, and return the trainer.

    TRL leaves rows out without a word, cuts rows at `max_length`, and trains beyond a model's context; the diagnostics have a
    number for each.

    Args:
        records: what was given to the trainer; by default the training records.
    """
    _note_missing_rows(job, trainer, job.plan.loaded.train if records is None else records)
    rows = lengths(trainer.train_dataset)
    limit = trainer.args.max_length
    packed = getattr(trainer.args, "packing", False)
    if limit is not None and not packed:  # packed rows are all of that length
        reached = [index for index, tokens in enumerate(rows) if tokens >= limit]
        job.diagnostics.rows_cut = len(reached)
        _say(job, trainer, reached, f"reach max_length={limit} tokens and are cut there")
    context = context_length(job.model)
    if context is not None and (limit is None or limit > context) and not packed:
        beyond = [index for index, tokens in enumerate(rows) if tokens > context]
        job.diagnostics.rows_beyond_context = len(beyond)
        _say(job, trainer, beyond, f"are longer than the {context} positions that the model was made for")
    return trainer


def _say(job: Job[Any], trainer: Any, indices: Sequence[int], what: str) -> None:
    if indices:
        first = "; ".join(_begins(trainer.train_dataset[index]) for index in indices[:_SHOWN])
        job.progress.note(f"{len(indices):,} of {len(trainer.train_dataset):,} rows {what}: {first}")


def _note_missing_rows(job: Job[Any], trainer: Any, records: Sequence[Any]) -> None:
    """Count the rows that the trainer's data set does not have. Packed rows are several in one, and not counted."""
    if getattr(trainer.args, "packing", False):
        return
    dataset = trainer.train_dataset
    job.diagnostics.rows_dropped = len(records) - len(dataset)
    if not job.diagnostics.rows_dropped:
        return
    kept = (
        Counter(_begins(row) for row in dataset.select_columns(["prompt"])) if "prompt" in dataset.column_names else {}
    )
    missing = []
    for record in records:
        name = _begins({"prompt": record.prompt})
        if kept.get(name, 0):
            kept[name] -= 1
        else:
            missing.append(name)
    count = f"{job.diagnostics.rows_dropped:,} of {len(records):,} rows"
    first = f": {'; '.join(missing[:_SHOWN])}" if kept or not len(dataset) else ""
    job.progress.note(
        f"{count} are left out, since max_length={trainer.args.max_length} leaves nothing to learn from{first}"
    )


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

    if not len(dataset):
        return []
    table = dataset.with_format("arrow")[:]
    sides = [side for side in _SIDES if set(side) <= set(dataset.column_names)] or [
        side for side in _WHOLE if set(side) <= set(dataset.column_names)
    ]
    tokens = [sum(pc.list_value_length(table[name]).to_numpy() for name in side) for side in sides]
    return [int(max(row)) for row in zip(*tokens, strict=True)]


def _begins(row: dict[str, Any]) -> str:
    text = " ".join(prompt_text(row.get("prompt") or row.get("text") or "").split())
    return repr(text if len(text) <= _EXCERPT else text[: _EXCERPT - 3] + "...")
